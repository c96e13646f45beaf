//! Ids in paths.

use std::str::FromStr;

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;

use crate::problem::Problem;

/// The only parameter of a route's path. One that cannot be an id names nothing, so it is not found.
pub(crate) struct PathId<T>(pub T);

const NOTHING: Problem = Problem::NotFound("There is nothing with this id.");

impl<T: FromStr, S: Send + Sync> FromRequestParts<S> for PathId<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Ok(Path(text)) = Path::<String>::from_request_parts(parts, state).await else { return Err(NOTHING) };
        text.parse().map(Self).map_err(|_| NOTHING)
    }
}
