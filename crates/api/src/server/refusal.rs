//! Refusals by the HTTP library itself, of what it cannot read as a request: given the form of every other problem.
//!
//! The library answers such a request with a bare status, before anything of ours has seen it, and closes the connection.
//! A client is told no more by that than that something is wrong.

use crate::observe::RequestId;
use crate::problem::{FieldError, PROBLEM_CONTENT_TYPE, Problem};

/// Every answer of ours has it, and no refusal of the library.
const OURS: &[u8] = b"x-request-id";
const END_OF_HEAD: &[u8] = b"\r\n\r\n";
const VERSION: &[u8] = b"HTTP/1.";

/// Where the library's refusal begins in what it writes, and what it means; it always stands at the end, since the
/// connection is closed behind it.
pub(super) fn find_refusal(written: &[u8], header_max_bytes: usize) -> Option<(usize, Problem)> {
    if !written.ends_with(END_OF_HEAD) {
        return None;
    }
    let at = written.windows(VERSION.len()).rposition(|window| window == VERSION)?;
    let head = &written[at..];
    if head.windows(OURS.len()).any(|window| window == OURS) {
        return None;
    }
    let status = head.splitn(3, |byte| *byte == b' ').nth(1)?;
    let problem = match status {
        b"400" => Problem::MalformedRequest(vec![FieldError::new(
            "",
            "the request line or a header cannot be read: send HTTP/1.1 with an encoded path and headers of visible ASCII",
        )]),
        b"414" | b"431" => Problem::HeadersTooLarge { limit: header_max_bytes },
        _ => return None,
    };
    Some((at, problem))
}

/// The whole answer that stands in its place.
pub(super) fn write_refusal(problem: &Problem) -> Vec<u8> {
    let id = RequestId::new();
    let (status, body) = (problem.status(), problem.to_json(id.as_str()));
    tracing::debug!(request_id = id.as_str(), code = problem.code().as_str(), "a request could not be read");
    let head = format!(
        "HTTP/1.1 {} {}\r\ncontent-type: {PROBLEM_CONTENT_TYPE}\r\ncontent-length: {}\r\ncache-control: no-store\r\n\
         x-request-id: {}\r\nx-content-type-options: nosniff\r\nconnection: close\r\n\r\n",
        status.as_u16(),
        status.canonical_reason().unwrap_or_default(),
        body.len(),
        id.as_str(),
    );
    [head.into_bytes(), body].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSAL: &str =
        "HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

    fn found(written: &str) -> Option<(usize, u16)> {
        find_refusal(written.as_bytes(), 1_024).map(|(at, problem)| (at, problem.status().as_u16()))
    }

    #[test]
    fn a_refusal_is_found_behind_an_answer() {
        let answer = "HTTP/1.1 200 OK\r\nx-request-id: a\r\ncontent-length: 2\r\n\r\n{}";
        assert_eq!(found(REFUSAL), Some((0, 431)));
        assert_eq!(found(&format!("{answer}{REFUSAL}")), Some((answer.len(), 431)));
        assert_eq!(found("HTTP/1.0 400 Bad Request\r\ncontent-length: 0\r\n\r\n"), Some((0, 400)));
    }

    #[test]
    fn answers_of_ours_and_interim_ones_are_left_alone() {
        for written in [
            "HTTP/1.1 204 No Content\r\nx-request-id: a\r\n\r\n",
            "HTTP/1.1 400 Bad Request\r\nx-request-id: a\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\n",
            "HTTP/1.1 431",
            "\r\n\r\n",
            "",
        ] {
            assert_eq!(found(written), None, "{written}");
        }
    }

    #[test]
    fn what_stands_in_its_place_is_a_problem() {
        let written = write_refusal(&Problem::HeadersTooLarge { limit: 7 });
        let text = String::from_utf8(written).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
        assert!(head.starts_with("HTTP/1.1 431 ") && head.contains(&format!("content-length: {}", body.len())));
        let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
        assert_eq!((body["code"].as_str(), body["limit"].as_u64()), (Some("headers-too-large"), Some(7)));
    }
}
