//! The pages that a problem's `type` points to.

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use crate::extract::PathId;
use crate::problem::{Code, Problem};

/// The page about one code: what it means, what to change, whether a retry is safe.
#[utoipa::path(
    get, path = "/problems/{code}", tag = "problems",
    params(("code" = String, Path, description = "The problem's code")),
    responses((status = 200, description = "A page about the code", content_type = "text/html", body = String), PageProblems),
)]
pub(crate) async fn get_problem_page(PathId(code): PathId<Code>) -> Response {
    let retry = if code.retryable() {
        "Yes. The same request with the same key may succeed later, and is never done twice."
    } else {
        "It is safe, but will be answered the same until the request is changed."
    };
    let page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title>\
         <h1>{title}</h1><p><code>{code}</code>, HTTP status {status}</p>\
         <h2>What it means</h2><p>{meaning}</p><h2>What to do</h2><p>{advice}</p>\
         <h2>Is a retry safe?</h2><p>{retry}</p></html>\n",
        title = code.title(),
        status = code.status().as_u16(),
        meaning = code.meaning(),
        advice = code.advice(),
    );
    ([(CONTENT_TYPE, "text/html; charset=utf-8")], page).into_response()
}

crate::openapi::problems!(PageProblems: NotFound);

impl std::str::FromStr for Code {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::parse(text).ok_or(())
    }
}

/// The answer to an address that does not exist.
pub(crate) async fn not_found() -> Problem {
    Problem::NotFound("There is nothing at this address.")
}

/// The answer to a method that an address does not know.
pub(crate) async fn method_not_allowed() -> Problem {
    Problem::MethodNotAllowed
}
