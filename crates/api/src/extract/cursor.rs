//! Cursors: where a list goes on, opaque to clients.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::problem::Problem;

/// The longest cursor: a time and an id of 64 bytes have far less.
const MAX_BYTES: usize = 512;

/// A place in a list as a cursor.
pub(crate) fn encode_cursor(place: &impl Serialize) -> String {
    // Places are small structs of numbers and text.
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(place).unwrap_or_default())
}

/// The place that a cursor means.
pub(crate) fn decode_cursor<T: DeserializeOwned>(cursor: &str) -> Result<T, Problem> {
    let garbage = || Problem::field("/cursor", "not a cursor of this list: use the `next_cursor` of its last page");
    if cursor.len() > MAX_BYTES {
        return Err(garbage());
    }
    let json = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| garbage())?;
    serde_json::from_slice(&json).map_err(|_| garbage())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Place {
        t: i64,
        k: String,
    }

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        let place = Place { t: 1_764_234_000_120, k: "AIR-1".to_owned() };
        let cursor = encode_cursor(&place);
        assert!(cursor.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'));
        assert_eq!(decode_cursor::<Place>(&cursor).expect("ours"), place);
    }

    #[test]
    fn garbage_is_refused_by_name() {
        let foreign = encode_cursor(&["x"]);
        let long = "A".repeat(MAX_BYTES + 1);
        for cursor in ["", "%%%", "AAAA", foreign.as_str(), long.as_str()] {
            let Err(Problem::InvalidRequest(errors)) = decode_cursor::<Place>(cursor) else { panic!("{cursor}") };
            assert_eq!(errors[0].pointer, "/cursor");
        }
    }
}
