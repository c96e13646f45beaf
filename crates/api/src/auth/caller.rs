//! Who is asking, as an extractor: a handler that names one of these cannot forget the check.

use axum::extract::FromRequestParts;
use axum::http::header::{AUTHORIZATION, ORIGIN};
use axum::http::request::Parts;
use stampede_domain::{Timestamp, UserId};

use crate::problem::Problem;
use crate::settings::Role;
use crate::state::ApiState;

/// A user with a valid token.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub user_id: UserId,
    pub role: Role,
    pub expires_at: Timestamp,
}

/// A user whose token says that they run sales.
#[derive(Clone, Debug)]
pub(crate) struct Operator;

/// Whether the one who asks is an operator, on a route that anyone may call: any other token, valid or not, says no.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MaybeOperator(pub bool);

impl Caller {
    /// Whether this user runs sales.
    pub fn is_operator(&self) -> bool {
        self.role == Role::Operator
    }

    /// Finds the token, verifies it, and counts the request as its user's.
    pub fn identify(parts: &Parts, state: &ApiState) -> Result<Self, Problem> {
        let (token, from_cookie) = match bearer(parts)? {
            Some(token) => (token, false),
            None => (state.cookie().find(&parts.headers).ok_or(MISSING)?, true),
        };
        let identity = state.tokens().verify(token).map_err(|reason| {
            tracing::debug!(%reason, "a token was refused");
            Problem::Unauthenticated("The token is not valid: it may have expired. Get a new one.")
        })?;
        // A browser sends the cookie along with what any page asks it to send; only `Origin` says which page that was.
        if from_cookie && !parts.method.is_safe() && !state.origins().admit(parts.headers.get(ORIGIN)) {
            return Err(Problem::Forbidden(
                "A write with the cookie must come from one of this service's own or listed origins. \
                 Send the token as `Authorization: Bearer` instead.",
            ));
        }
        state.limits().check_user(parts, &identity.user_id)?;
        Ok(Self { user_id: identity.user_id, role: identity.role, expires_at: identity.expires_at })
    }
}

const MISSING: Problem = Problem::Unauthenticated("Send a token as `Authorization: Bearer`.");

/// The bearer token, if the header is there; a header that is none is refused rather than passed over for the cookie.
fn bearer(parts: &Parts) -> Result<Option<&str>, Problem> {
    let Some(value) = parts.headers.get(AUTHORIZATION) else { return Ok(None) };
    // A header's value has no control characters, so that what is ASCII can be shown; and that is checked in large steps.
    let text = value.as_bytes().is_ascii().then(|| std::str::from_utf8(value.as_bytes()).ok()).flatten();
    let token = text.and_then(|text| {
        let (scheme, token) = text.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_start_matches(' '))
    });
    token.map(Some).ok_or(Problem::Unauthenticated("`Authorization` is not of the form `Bearer <token>`."))
}

impl FromRequestParts<ApiState> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Problem> {
        Self::identify(parts, state)
    }
}

impl FromRequestParts<ApiState> for Operator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Problem> {
        if Caller::identify(parts, state)?.is_operator() {
            Ok(Self)
        } else {
            Err(Problem::Forbidden("Only an operator may do this."))
        }
    }
}

impl FromRequestParts<ApiState> for MaybeOperator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Problem> {
        match Caller::identify(parts, state) {
            Err(limited @ Problem::RateLimited { .. }) => Err(limited),
            caller => Ok(Self(caller.is_ok_and(|caller| caller.is_operator()))),
        }
    }
}
