//! JSON bodies: bounded, declared as such, and refused by the name of the field.

use std::borrow::Cow;
use std::pin::pin;

use axum::body::HttpBody;
use axum::extract::{FromRequest, Request};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use serde::de::DeserializeOwned;
use serde_path_to_error::{Path, Segment};

use crate::problem::{FieldError, Problem};
use crate::settings::ApiSettings;
use crate::state::ApiState;
use crate::within::within;

/// A request's body.
pub(crate) struct ApiJson<T>(pub T);

impl<T: DeserializeOwned> FromRequest<ApiState> for ApiJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &ApiState) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        read_json(&parts.headers, body, state.settings()).await.map(Self)
    }
}

/// Reads a body of JSON.
pub(crate) async fn read_json<T, B>(headers: &HeaderMap, body: B, settings: &ApiSettings) -> Result<T, Problem>
where
    T: DeserializeOwned,
    B: HttpBody<Data = Bytes> + Unpin,
{
    if !headers.get(CONTENT_TYPE).is_some_and(|value| is_json(value.as_bytes())) {
        return Err(Problem::UnsupportedMediaType);
    }
    let limit = settings.body_max_bytes;
    let declared = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|bytes| bytes > limit as u64) {
        return Err(Problem::BodyTooLarge { limit });
    }
    let read = within(settings.body_read_timeout, pin!(read_body(body, limit))).await;
    let late = |_| {
        let seconds = settings.body_read_timeout.as_secs_f64();
        let detail = format!("the body did not arrive within {seconds} s: send it faster, or a smaller one");
        Problem::MalformedRequest(vec![FieldError::new("", detail)])
    };
    parse(&read.map_err(late)??, settings.json_max_depth)
}

fn is_json(content_type: &[u8]) -> bool {
    let end = content_type.iter().position(|byte| *byte == b';').unwrap_or(content_type.len());
    content_type[..end].trim_ascii().eq_ignore_ascii_case(b"application/json")
}

async fn read_body<B>(mut body: B, limit: usize) -> Result<Bytes, Problem>
where
    B: HttpBody<Data = Bytes> + Unpin,
{
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let broken = |_: B::Error| {
            Problem::MalformedRequest(vec![FieldError::new(
                "",
                "the body ended too early, or is not in the form that `Transfer-Encoding` says",
            )])
        };
        let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
        if first.len() + rest.len() + data.len() > limit {
            return Err(Problem::BodyTooLarge { limit });
        }
        if first.is_empty() {
            first = data;
        } else {
            rest.extend_from_slice(&data);
        }
    }
    if rest.is_empty() {
        return Ok(first);
    }
    Ok([first, rest.freeze()].concat().into())
}

fn parse<T: DeserializeOwned>(body: &[u8], max_depth: usize) -> Result<T, Problem> {
    if nests_deeper_than(body, max_depth) {
        let detail = format!("nested deeper than {max_depth}");
        return Err(Problem::MalformedRequest(vec![FieldError::new("", detail)]));
    }
    // A struct would be read from an array too, by the order of its fields.
    if body.trim_ascii_start().first() == Some(&b'[') {
        return Err(Problem::field("", "the body must be an object"));
    }
    serde_json::from_slice(body).map_err(|error| explain::<T>(body, &error))
}

/// What is wrong with a body that was refused. It is read a second time, with its path kept, which only refusals pay for.
fn explain<T: DeserializeOwned>(body: &[u8], error: &serde_json::Error) -> Problem {
    if !error.is_data() {
        return Problem::MalformedRequest(vec![FieldError::new("", format!("not JSON: {error}"))]);
    }
    let reader = &mut serde_json::Deserializer::from_slice(body);
    let pointer = match serde_path_to_error::deserialize::<_, T>(reader) {
        Ok(_) => String::new(),
        Err(error) => pointer(error.path()),
    };
    // The place in the text says nothing that the pointer does not.
    let text = error.to_string();
    let detail = text.rsplit_once(" at line ").map_or(text.as_str(), |(detail, _)| detail).to_owned();
    let pointer = pointer + &twice(&detail).map(|field| format!("/{field}")).unwrap_or_default();
    Problem::field(pointer, detail)
}

/// The field that comes twice, if that is what is wrong: its path is not kept, as it ends at the object around it. Only
/// names of our own structs stand there, which need no escapes.
fn twice(detail: &str) -> Option<&str> {
    detail.strip_prefix("duplicate field `")?.strip_suffix('`')
}

fn pointer(path: &Path) -> String {
    let segments = path.iter().map(|segment| match segment {
        Segment::Seq { index } => Cow::from(index.to_string()),
        Segment::Map { key } | Segment::Enum { variant: key } => Cow::from(key.replace('~', "~0").replace('/', "~1")),
        Segment::Unknown => Cow::from("?"),
    });
    segments.fold(String::new(), |pointer, segment| pointer + "/" + &segment)
}

/// Whether arrays and objects nest deeper than `max`. Text is skipped; that it is JSON at all is the parser's to see.
fn nests_deeper_than(json: &[u8], max: usize) -> bool {
    // What opens fewer of them in all, text included, needs no closer look.
    if json.iter().filter(|byte| matches!(byte, b'{' | b'[')).count() <= max {
        return false;
    }
    let (mut depth, mut in_text, mut escaped) = (0usize, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            _ if in_text => {}
            b'{' | b'[' => {
                depth += 1;
                if depth > max {
                    return true;
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use stampede_domain::{DropId, Money};

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Order {
        #[serde(rename = "drop_id")]
        _drop_id: Option<DropId>,
        #[serde(rename = "quantity")]
        _quantity: Option<u64>,
        #[serde(rename = "expected_total")]
        _expected_total: Option<Money>,
    }

    fn refusal(body: &str) -> (u16, String, String) {
        let problem = parse::<Order>(body.as_bytes(), 32).expect_err(body);
        let status = problem.status().as_u16();
        let (Problem::InvalidRequest(errors) | Problem::MalformedRequest(errors)) = problem else { panic!("{body}") };
        (status, errors[0].pointer.to_string(), errors[0].detail.to_string())
    }

    #[test]
    fn a_wrong_field_is_named() {
        let pointer = |body| {
            let (status, pointer, _) = refusal(body);
            assert_eq!(status, 422, "{body}");
            pointer
        };
        assert_eq!(pointer(r#"{"quantitty":1}"#), "/quantitty");
        assert_eq!(pointer(r#"{"quantity":"2"}"#), "/quantity");
        assert_eq!(pointer(r#"{"quantity":1.5}"#), "/quantity");
        assert_eq!(pointer(r#"{"quantity":-1}"#), "/quantity");
        assert_eq!(pointer(r#"{"drop_id":"A b"}"#), "/drop_id");
        assert_eq!(pointer(r#"{"expected_total":{"amount_minor":1,"currency":"EUR","x":1}}"#), "/expected_total/x");
        assert_eq!(pointer("[]"), "");
    }

    #[test]
    fn a_field_that_comes_twice_is_refused() {
        let (status, pointer, detail) = refusal(r#"{"quantity":1,"quantity":1}"#);
        assert_eq!((status, pointer.as_str(), detail.as_str()), (422, "/quantity", "duplicate field `quantity`"));
        let (_, pointer, _) = refusal(r#"{"expected_total":{"amount_minor":1,"amount_minor":1}}"#);
        assert_eq!(pointer, "/expected_total/amount_minor");
    }

    #[test]
    fn what_is_no_json_is_malformed() {
        let deep = format!("{}{}", "[".repeat(33), "]".repeat(33));
        for body in ["", "{", "{}x", "{\"quantity\":1,}", "\u{feff}{}", deep.as_str()] {
            assert_eq!(refusal(body).0, 400, "{body}");
        }
    }

    #[test]
    fn depth_is_counted_outside_of_text() {
        assert!(!nests_deeper_than(br#"{"a":"[[[\"[[["}"#, 1));
        assert!(nests_deeper_than(b"[[]]", 1));
        assert!(!nests_deeper_than(b"[[],[],[]]", 2));
    }

    #[test]
    fn json_is_declared_with_or_without_parameters() {
        assert!(is_json(b"application/json") && is_json(b"Application/JSON ; charset=utf-8"));
        assert!(!is_json(b"text/plain") && !is_json(b"application/json-seq") && !is_json(b""));
    }
}
