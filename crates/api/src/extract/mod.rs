//! Reading requests: bodies, queries, paths, keys. What cannot be read never reaches a handler.

mod cursor;
mod json;
mod key;
mod path;
mod query;

pub(crate) use cursor::{decode_cursor, encode_cursor};
pub(crate) use json::{ApiJson, read_json};
pub(crate) use key::{IDEMPOTENCY_KEY, RequestKey};
pub(crate) use path::PathId;
pub(crate) use query::{Page, Query};
