//! What a handler of the hot path has to say.

use std::sync::LazyLock;

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

use crate::observe::prepare;
use crate::problem::{PROBLEM_CONTENT_TYPE, Problem};
use crate::view::NO_STORE;

/// Headers of its own, and a body or a problem. The router's handlers hide a problem within a response; one that is called
/// past the router says it, which saves the map of extensions and a box around the body.
pub(crate) struct Reply {
    /// All of them, as its template has what every answer carries; the request's id is put in at its end.
    pub headers: HeaderMap,
    /// The body with its status, or what is wrong.
    pub outcome: Result<(StatusCode, Bytes), Problem>,
}

/// The headers of answers of one kind, put together once: a copy of the whole map costs less than three headers that are
/// put into a new one.
#[derive(Clone, Debug)]
pub(crate) struct Template(HeaderMap);

impl Template {
    /// These, and what every answer carries.
    pub fn new(own: impl IntoIterator<Item = (HeaderName, HeaderValue)>) -> Self {
        let mut headers = HeaderMap::from_iter(own);
        prepare(&mut headers);
        Self(headers)
    }
}

impl Reply {
    /// An answer with the headers of its kind.
    pub fn new(template: &Template, status: StatusCode, body: Bytes) -> Self {
        Self { headers: template.0.clone(), outcome: Ok((status, body)) }
    }
}

/// The headers of a problem, but for what its code alone has.
static PROBLEM: LazyLock<Template> = LazyLock::new(|| {
    Template::new([(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_CONTENT_TYPE)), (CACHE_CONTROL, NO_STORE)])
});

impl From<Problem> for Reply {
    fn from(problem: Problem) -> Self {
        Self { headers: PROBLEM.0.clone(), outcome: Err(problem) }
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
