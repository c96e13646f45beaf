//! Everything that a request can be refused with: one enum, one table of codes.

use std::borrow::Cow;
use std::sync::LazyLock;
use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use stampede_archive::ArchiveError;
use stampede_domain::{Money, Phase, Window};
use stampede_engine::EngineError;

pub use codes::Code;

mod codes;

/// One thing that is wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct FieldError {
    /// Where: a JSON pointer into the body, or `/` and the name of a query parameter; empty for the whole.
    pub pointer: Cow<'static, str>,
    /// What is wrong and what would be right.
    pub detail: Cow<'static, str>,
}

impl FieldError {
    /// Something wrong at `pointer`.
    pub fn new(pointer: impl Into<Cow<'static, str>>, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { pointer: pointer.into(), detail: detail.into() }
    }
}

/// Why a request is refused. The outermost layer writes it as `application/problem+json`, with the request's id.
#[derive(Clone, Debug)]
pub enum Problem {
    /// The body is no JSON, or a key is not a key.
    MalformedRequest(Vec<FieldError>),
    /// The request is readable and wrong.
    InvalidRequest(Vec<FieldError>),
    /// The drop does not sell now.
    SaleNotActive {
        /// Its phase.
        phase: Phase,
        /// Its window.
        window: Window,
    },
    /// Nobody, or nobody that is known, asks.
    Unauthenticated(&'static str),
    /// The one who asks may not.
    Forbidden(&'static str),
    /// There is no such thing, or not for the one who asks.
    NotFound(&'static str),
    /// The resource does not know the method.
    MethodNotAllowed,
    /// The user would hold more units than allowed.
    LimitReached {
        /// The limit.
        limit: u32,
        /// What the user holds.
        owned: u32,
    },
    /// No unit is left.
    SoldOut,
    /// Fewer units are left than were asked for.
    InsufficientStock {
        /// How many are left.
        available: u64,
    },
    /// The order would cost something else than the client expects.
    PriceChanged {
        /// What a unit costs.
        unit_price: Money,
        /// What the order would cost.
        total_price: Money,
    },
    /// The request needs a key.
    IdempotencyKeyRequired,
    /// The key was used for another request.
    IdempotencyKeyReused,
    /// The sku is taken by another product.
    ProductExists,
    /// The id is taken by another drop.
    DropExists,
    /// Another drop of the sku sells in that window; which ones.
    DropOverlaps(String),
    /// The drop's phase does not admit the change.
    InvalidTransition(String),
    /// The order cannot be cancelled any more.
    CancellationClosed,
    /// The body is too large.
    BodyTooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The body is not declared as JSON.
    UnsupportedMediaType,
    /// The headers are too large.
    HeadersTooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// More requests came than one sender may send.
    RateLimited {
        /// Who sends too much: `your address`, `your user id`.
        sender: &'static str,
        /// When to come back, in seconds; at least 1.
        retry_after_s: u64,
    },
    /// The request may or may not have taken effect.
    OutcomeUnknown,
    /// The drop's shard is being recovered.
    ShardRecovering,
    /// New orders wait until the archive has caught up.
    ArchiveBehind,
    /// Something that the request needs does not answer; nothing happened.
    Unavailable(&'static str),
    /// A fault of the server.
    Internal,
}

impl Problem {
    /// A single wrong field.
    pub fn field(pointer: impl Into<Cow<'static, str>>, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::InvalidRequest(vec![FieldError::new(pointer, detail)])
    }

    /// What a failed reading means: it has no outcome that could be unknown.
    pub(crate) fn of_read(error: EngineError) -> Self {
        match error {
            EngineError::OutcomeUnknown => Self::Unavailable(HOT_STATE_SILENT),
            other => other.into(),
        }
    }

    /// What a failed write to the archive means: it may have come through all the same.
    pub(crate) fn of_write(error: ArchiveError) -> Self {
        tracing::warn!(%error, "the archive did not confirm a write");
        Self::OutcomeUnknown
    }

    /// The problem's stable code.
    pub const fn code(&self) -> Code {
        match self {
            Self::MalformedRequest(_) => Code::MalformedRequest,
            Self::InvalidRequest(_) => Code::InvalidRequest,
            Self::SaleNotActive { .. } => Code::SaleNotActive,
            Self::Unauthenticated(_) => Code::Unauthenticated,
            Self::Forbidden(_) => Code::Forbidden,
            Self::NotFound(_) => Code::NotFound,
            Self::MethodNotAllowed => Code::MethodNotAllowed,
            Self::LimitReached { .. } => Code::LimitReached,
            Self::SoldOut => Code::SoldOut,
            Self::InsufficientStock { .. } => Code::InsufficientStock,
            Self::PriceChanged { .. } => Code::PriceChanged,
            Self::IdempotencyKeyRequired => Code::IdempotencyKeyRequired,
            Self::IdempotencyKeyReused => Code::IdempotencyKeyReused,
            Self::ProductExists => Code::ProductExists,
            Self::DropExists => Code::DropExists,
            Self::DropOverlaps(_) => Code::DropOverlaps,
            Self::InvalidTransition(_) => Code::InvalidTransition,
            Self::CancellationClosed => Code::CancellationClosed,
            Self::BodyTooLarge { .. } => Code::BodyTooLarge,
            Self::UnsupportedMediaType => Code::UnsupportedMediaType,
            Self::HeadersTooLarge { .. } => Code::HeadersTooLarge,
            Self::RateLimited { .. } => Code::RateLimited,
            Self::OutcomeUnknown => Code::OutcomeUnknown,
            Self::ShardRecovering => Code::ShardRecovering,
            Self::ArchiveBehind => Code::ArchiveBehind,
            Self::Unavailable(_) => Code::Unavailable,
            Self::Internal => Code::Internal,
        }
    }

    /// The HTTP status.
    pub const fn status(&self) -> StatusCode {
        self.code().status()
    }

    /// The code's title.
    pub const fn title(&self) -> &'static str {
        self.code().title()
    }

    /// Whether the same request, with the same key, may succeed later. Repeating it never does a thing twice.
    pub const fn retryable(&self) -> bool {
        match self {
            // A drop that is over does not come back; one that has not begun, or is paused, does.
            Self::SaleNotActive { phase, .. } => !phase.is_over(),
            _ => self.code().retryable(),
        }
    }

    /// What is wrong here, and what to change.
    fn detail(&self) -> Cow<'static, str> {
        match self {
            Self::SaleNotActive { phase, .. } => format!("The drop does not sell: it is {}.", phase.as_str()).into(),
            Self::Unauthenticated(detail) | Self::Forbidden(detail) | Self::NotFound(detail) => (*detail).into(),
            Self::LimitReached { limit, owned } => {
                format!("One user may hold {limit} of this drop and you hold {owned}: ask for fewer.").into()
            }
            Self::InsufficientStock { available } => format!("Only {available} left: ask for at most as many.").into(),
            Self::DropOverlaps(drops) => {
                format!("The window overlaps that of {drops}: choose another, or end that drop first.").into()
            }
            Self::InvalidTransition(detail) => detail.clone().into(),
            Self::BodyTooLarge { limit } => format!("Send a body of at most {limit} bytes.").into(),
            Self::HeadersTooLarge { limit } => {
                format!("Send at most {limit} bytes of request line and headers.").into()
            }
            Self::RateLimited { sender, retry_after_s } => {
                format!("Too many requests from {sender}: wait {retry_after_s} s and send it again, with the same key.")
                    .into()
            }
            Self::Unavailable(what) => format!("{what}. Nothing happened: send it again, with the same key.").into(),
            _ => self.code().advice().into(),
        }
    }

    /// The problem as its JSON.
    pub(crate) fn to_json(&self, request_id: &str) -> Vec<u8> {
        /// What most shoppers of a drop are told, up to the id and after it: nothing else in it changes.
        static SOLD_OUT: LazyLock<Option<(String, String)>> = LazyLock::new(|| {
            const ID: &str = "the-id-of-a-request";
            let text = String::from_utf8(Problem::SoldOut.write_json(ID)).ok()?;
            text.split_once(ID).map(|(before, after)| (before.to_owned(), after.to_owned()))
        });
        match (self, SOLD_OUT.as_ref()) {
            (Self::SoldOut, Some((before, after))) if !request_id.contains(['"', '\\']) => {
                [before.as_bytes(), request_id.as_bytes(), after.as_bytes()].concat()
            }
            _ => self.write_json(request_id),
        }
    }

    fn write_json(&self, request_id: &str) -> Vec<u8> {
        let code = self.code();
        let mut document = Document {
            r#type: format_args!("/problems/{code}"),
            title: code.title(),
            status: code.status().as_u16(),
            detail: self.detail(),
            code: code.as_str(),
            request_id,
            retryable: self.retryable(),
            members: Members::default(),
        };
        let members = &mut document.members;
        match self {
            Self::MalformedRequest(errors) | Self::InvalidRequest(errors) => members.errors = Some(errors),
            Self::SaleNotActive { phase, window } => {
                members.phase = Some(*phase);
                members.window = Some(WindowMembers::from(window));
            }
            Self::LimitReached { limit, owned } => {
                members.limit = Some(u64::from(*limit));
                members.owned = Some(*owned);
            }
            Self::SoldOut => members.available = Some(0),
            Self::InsufficientStock { available } => members.available = Some(*available),
            Self::PriceChanged { unit_price, total_price } => {
                members.unit_price = Some(*unit_price);
                members.total_price = Some(*total_price);
            }
            Self::BodyTooLarge { limit } | Self::HeadersTooLarge { limit } => members.limit = Some(*limit as u64),
            _ => {}
        }
        // Maps with text keys and finite numbers: nothing that JSON cannot say.
        serde_json::to_vec(&document).unwrap_or_default()
    }

    /// What `Retry-After` should say, if anything.
    pub(crate) fn retry_after(&self, usual: Duration) -> Option<u64> {
        match self {
            Self::RateLimited { retry_after_s, .. } => Some(*retry_after_s),
            _ => (self.status() == StatusCode::SERVICE_UNAVAILABLE).then(|| usual.as_secs().max(1)),
        }
    }
}

const HOT_STATE_SILENT: &str = "The sale's hot state does not answer";

/// The content type of problems.
pub(crate) const PROBLEM_CONTENT_TYPE: &str = "application/problem+json";

/// A problem on its way to the layer that writes it.
#[derive(Clone, Debug)]
pub(crate) struct Pending(pub Problem);

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.status();
        response.extensions_mut().insert(Pending(self));
        response
    }
}

impl From<EngineError> for Problem {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::ShardRecovering | EngineError::ShardMoving => Self::ShardRecovering,
            EngineError::OutcomeUnknown => Self::OutcomeUnknown,
            EngineError::Unavailable(reason) => {
                tracing::debug!(%reason, "the hot state is unavailable");
                Self::Unavailable(HOT_STATE_SILENT)
            }
            EngineError::Superseded | EngineError::Malformed(_) => {
                tracing::error!(%error, "the hot state is not as it should be");
                Self::Internal
            }
        }
    }
}

impl From<ArchiveError> for Problem {
    fn from(error: ArchiveError) -> Self {
        tracing::warn!(%error, "the archive could not be asked");
        Self::Unavailable("The archive does not answer")
    }
}

/// The document that a client gets.
#[derive(Serialize)]
struct Document<'a> {
    #[serde(serialize_with = "as_text")]
    r#type: std::fmt::Arguments<'a>,
    title: &'static str,
    status: u16,
    detail: Cow<'static, str>,
    code: &'static str,
    request_id: &'a str,
    retryable: bool,
    #[serde(flatten)]
    members: Members<'a>,
}

fn as_text<S: serde::Serializer>(text: &std::fmt::Arguments<'_>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(text)
}

/// The fields that only some codes have.
#[derive(Default, Serialize)]
struct Members<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<&'a [FieldError]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    phase: Option<Phase>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    window: Option<WindowMembers>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    owned: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    available: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit_price: Option<Money>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_price: Option<Money>,
}

/// A window, its end always said.
#[derive(Serialize)]
struct WindowMembers {
    starts_at: stampede_domain::Timestamp,
    ends_at: Option<stampede_domain::Timestamp>,
}

impl From<&Window> for WindowMembers {
    fn from(window: &Window) -> Self {
        Self { starts_at: window.starts_at, ends_at: window.ends_at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stampede_domain::Timestamp;

    fn json(problem: &Problem) -> serde_json::Value {
        serde_json::from_slice(&problem.to_json("r1")).expect("JSON")
    }

    #[test]
    fn a_problem_says_what_its_code_and_its_case_say() {
        let document = json(&Problem::LimitReached { limit: 2, owned: 1 });
        assert_eq!(document["type"], "/problems/limit-reached");
        assert_eq!((document["status"].as_u64(), document["code"].as_str()), (Some(403), Some("limit-reached")));
        assert_eq!((document["limit"].as_u64(), document["owned"].as_u64()), (Some(2), Some(1)));
        assert_eq!((document["request_id"].as_str(), document["retryable"].as_bool()), (Some("r1"), Some(false)));
        assert!(document.get("errors").is_none() && document.get("starts_at").is_none());
    }

    #[test]
    fn what_is_written_in_advance_is_what_would_be_written() {
        for id in ["r1", "", "the-id-of-a-request", "a\"b", "a\\b"] {
            assert_eq!(Problem::SoldOut.to_json(id), Problem::SoldOut.write_json(id), "{id}");
            let document: serde_json::Value = serde_json::from_slice(&Problem::SoldOut.to_json(id)).expect("JSON");
            assert_eq!((document["request_id"].as_str(), document["available"].as_u64()), (Some(id), Some(0)));
        }
    }

    #[test]
    fn a_sale_that_will_start_is_worth_a_retry_and_one_that_is_over_is_not() {
        let window = Window { starts_at: Timestamp::from_ms(0), ends_at: None };
        let document = |phase| json(&Problem::SaleNotActive { phase, window });
        assert_eq!(document(Phase::Scheduled)["retryable"], true);
        assert_eq!(document(Phase::Ended)["retryable"], false);
        assert_eq!(document(Phase::Ended)["starts_at"], "1970-01-01T00:00:00.000Z");
        assert!(document(Phase::Ended)["ends_at"].is_null(), "present, and null");
    }

    #[test]
    fn every_503_says_when_to_come_back() {
        let after = |problem: Problem| problem.retry_after(Duration::from_millis(200));
        assert_eq!(after(Problem::ArchiveBehind), Some(1));
        assert_eq!(after(Problem::Unavailable("x")), Some(1));
        assert_eq!(after(Problem::SoldOut), None);
        assert_eq!(after(Problem::RateLimited { sender: "you", retry_after_s: 7 }), Some(7), "the limiter knows");
    }
}
