//! What a handler of the hot path has to say.

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

use crate::problem::Problem;

/// How many headers an answer may have before room is made for more.
const HEADERS: usize = 12;

/// Headers of its own, and a body or a problem. The router's handlers hide a problem within a response; one that is called
/// past the router says it, which saves the map of extensions and a box around the body.
pub(crate) struct Reply {
    /// Without what every answer carries.
    pub headers: HeaderMap,
    /// The body with its status, or what is wrong.
    pub outcome: Result<(StatusCode, Bytes), Problem>,
}

impl Reply {
    /// An answer with room for its headers.
    pub fn new(status: StatusCode, body: Bytes) -> Self {
        Self { headers: HeaderMap::with_capacity(HEADERS), outcome: Ok((status, body)) }
    }
}

impl From<Problem> for Reply {
    fn from(problem: Problem) -> Self {
        Self { headers: HeaderMap::with_capacity(HEADERS), outcome: Err(problem) }
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        let mut response = match self.outcome {
            Ok((status, body)) => {
                let mut response = Response::new(Body::from(body));
                *response.status_mut() = status;
                response
            }
            Err(problem) => problem.into_response(),
        };
        *response.headers_mut() = self.headers;
        response
    }
}
