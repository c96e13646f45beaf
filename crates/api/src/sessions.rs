//! Tokens for those who ask here.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ORIGIN, SET_COOKIE, TRANSFER_ENCODING};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use stampede_domain::{Timestamp, UserId};
use utoipa::ToSchema;

use crate::auth::Caller;
use crate::extract::read_json;
use crate::openapi::problems;
use crate::problem::Problem;
use crate::settings::{Role, SignIn};
use crate::state::ApiState;
use crate::view::{NO_STORE, json};

/// A request for a token. The body may be left out where no handle is needed.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateSession {
    /// The user id to sign in as, where the deployment admits it: 3 to 50 of A-Z, a-z, 0-9 and underscore.
    #[schema(min_length = 3, max_length = 50, pattern = "^[A-Za-z0-9_]*$")]
    handle: Option<String>,
}

/// A token.
#[derive(Serialize, ToSchema)]
#[schema(as = Session)]
struct SessionView<'a> {
    /// For `Authorization: Bearer`; the answer sets it as a cookie too, unless a page of a foreign origin asked.
    token: &'a str,
    #[schema(value_type = String)]
    user_id: &'a UserId,
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

/// Who is asking.
#[derive(Serialize, ToSchema)]
#[schema(as = CurrentSession)]
struct CurrentView<'a> {
    #[schema(value_type = String)]
    user_id: &'a UserId,
    /// `shopper` or `operator`.
    #[schema(value_type = String, example = "shopper")]
    role: Role,
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

problems!(CreateProblems: MalformedRequest, InvalidRequest, Forbidden, BodyTooLarge, UnsupportedMediaType);
problems!(CurrentProblems: Unauthenticated);
problems!(DeleteProblems: Unauthenticated, Forbidden);

/// Gives a shopper's token, as the deployment's `sign_in` allows.
#[utoipa::path(
    post, path = "/sessions", tag = "sessions", request_body = CreateSession,
    responses((status = 201, description = "The token, and the cookie if no page of a foreign origin asked", body = SessionView), CreateProblems),
)]
pub(crate) async fn create_session(State(state): State<ApiState>, request: Request) -> Result<Response, Problem> {
    let origin = request.headers().get(ORIGIN).cloned();
    let asked = read_asked(request, &state).await?;
    let user_id = user_id(state.settings().sign_in, asked)?;
    let lifetime = state.settings().tokens.lifetime;
    let issued = state.tokens().issue(&user_id, Role::Shopper, lifetime).map_err(|error| {
        tracing::error!(%error, "a token could not be issued");
        Problem::Internal
    })?;
    let view = SessionView { token: &issued.token, user_id: &user_id, expires_at: issued.expires_at };
    let mut response = json(StatusCode::CREATED, NO_STORE, &view)?;
    // A foreign page must not put its own session in the place of the one that the browser has.
    let is_ours = origin.is_none() || state.origins().admit(origin.as_ref());
    if let Some(cookie) = state.cookie().give(&issued.token, issued.expires_at).filter(|_| is_ours) {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
    Ok(response)
}

/// Says who is asking.
#[utoipa::path(
    get, path = "/sessions/current", tag = "sessions", security(("bearer" = []), ("cookie" = [])),
    responses((status = 200, description = "Who is asking", body = CurrentView), CurrentProblems),
)]
pub(crate) async fn get_session(caller: Caller) -> Result<Response, Problem> {
    let Caller { user_id, role, expires_at } = &caller;
    json(StatusCode::OK, NO_STORE, &CurrentView { user_id, role: *role, expires_at: *expires_at })
}

/// Takes the cookie away. The token itself stays good until it expires.
#[utoipa::path(
    delete, path = "/sessions/current", tag = "sessions", security(("bearer" = []), ("cookie" = [])),
    responses((status = 204, description = "The cookie is gone"), DeleteProblems),
)]
pub(crate) async fn delete_session(State(state): State<ApiState>, _caller: Caller) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    if let Some(cookie) = state.cookie().take() {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
    response
}

/// The body; none at all is an empty one.
async fn read_asked(request: Request, state: &ApiState) -> Result<CreateSession, Problem> {
    let (parts, body): (_, Body) = request.into_parts();
    let headers = &parts.headers;
    let declared = headers.get(CONTENT_LENGTH).is_some_and(|length| length != "0");
    if !declared && !headers.contains_key(CONTENT_TYPE) && !headers.contains_key(TRANSFER_ENCODING) {
        return Ok(CreateSession::default());
    }
    read_json(headers, body, state.settings()).await
}

/// Who is to be signed in.
fn user_id(sign_in: SignIn, asked: CreateSession) -> Result<UserId, Problem> {
    let id = match (sign_in, asked.handle) {
        (SignIn::Off, _) => {
            return Err(Problem::Forbidden("Sign-in is off here: get a token from the shop's own sign-in."));
        }
        (SignIn::Anonymous, None) => format!("anon-{}", uuid::Builder::from_random_bytes(rand::random()).into_uuid()),
        (SignIn::Anonymous, Some(_)) => {
            return Err(Problem::field("/handle", "sign-in is anonymous here: leave it out"));
        }
        (SignIn::Handle, None) => return Err(Problem::field("/handle", "is required")),
        (SignIn::Handle, Some(handle)) if is_handle(&handle) => handle,
        (SignIn::Handle, Some(_)) => return Err(Problem::field("/handle", HANDLE_FORM)),
    };
    id.parse().map_err(|_| Problem::Internal)
}

const HANDLE_FORM: &str = "a handle is 3 to 50 of A-Z, a-z, 0-9 and underscore";

fn is_handle(text: &str) -> bool {
    (3..=50).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(handle: &str) -> CreateSession {
        CreateSession { handle: Some(handle.to_owned()) }
    }

    #[test]
    fn a_handle_is_the_user_id() {
        assert_eq!(user_id(SignIn::Handle, asked("ann_1")).expect("a handle").as_str(), "ann_1");
        let long = "a".repeat(51);
        for handle in ["ab", "a-b", "a b", "änn", long.as_str()] {
            assert!(matches!(user_id(SignIn::Handle, asked(handle)), Err(Problem::InvalidRequest(_))), "{handle}");
        }
        assert!(matches!(user_id(SignIn::Handle, CreateSession::default()), Err(Problem::InvalidRequest(_))));
    }

    #[test]
    fn an_anonymous_id_is_never_the_same() {
        let id = || user_id(SignIn::Anonymous, CreateSession::default()).expect("an id");
        assert!(id().as_str().starts_with("anon-"));
        assert_ne!(id(), id());
    }

    #[test]
    fn off_is_off() {
        assert!(matches!(user_id(SignIn::Off, asked("ann")), Err(Problem::Forbidden(_))));
    }
}
