//! Query parameters of lists: known ones, once each.

use std::borrow::Cow;
use std::str::FromStr;

use axum::http::Uri;
use serde::de::DeserializeOwned;

use super::decode_cursor;
use crate::problem::{FieldError, Problem};

/// The page size where a request says nothing, and the largest.
const PAGE: usize = 20;
const MAX_PAGE: usize = 100;

/// The parameters of one request.
#[derive(Debug)]
pub(crate) struct Query {
    pairs: Vec<(String, String)>,
}

/// Which part of a list is asked for.
#[derive(Debug)]
pub(crate) struct Page<C> {
    pub limit: usize,
    pub after: Option<C>,
}

impl Query {
    /// The parameters of this address, of which only `known` ones, `limit` and `cursor` may be there.
    pub fn read(uri: &Uri, known: &[&str]) -> Result<Self, Problem> {
        let pairs = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(uri);
        let pairs = pairs.map_err(|_| Problem::field("", "the query cannot be read"))?.0;
        let mut errors = Vec::new();
        for (at, (name, _)) in pairs.iter().enumerate() {
            if !known.contains(&name.as_str()) && name != "limit" && name != "cursor" {
                errors.push(FieldError::new(pointer(name), "there is no such parameter"));
            } else if pairs[..at].iter().any(|(earlier, _)| earlier == name) {
                errors.push(FieldError::new(pointer(name), "given twice"));
            }
        }
        if errors.is_empty() { Ok(Self { pairs }) } else { Err(Problem::InvalidRequest(errors)) }
    }

    /// The value of a parameter, if it is there.
    pub fn get<T: FromStr<Err: std::fmt::Display>>(&self, name: &'static str) -> Result<Option<T>, Problem> {
        let Some(value) = self.text(name) else { return Ok(None) };
        value.parse().map(Some).map_err(|error: T::Err| Problem::field(pointer(name), error.to_string()))
    }

    /// `limit` and `cursor`.
    pub fn page<C: DeserializeOwned>(&self) -> Result<Page<C>, Problem> {
        let limit = match self.text("limit") {
            None => PAGE,
            Some(text) => match text.parse() {
                Ok(limit @ 1..=MAX_PAGE) => limit,
                _ => return Err(Problem::field("/limit", "a limit is 1 to 100")),
            },
        };
        Ok(Page { limit, after: self.text("cursor").map(decode_cursor).transpose()? })
    }

    /// The text of a parameter, if it is there.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

fn pointer(name: &str) -> Cow<'static, str> {
    format!("/{}", name.replace('~', "~0").replace('/', "~1")).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use stampede_domain::Sku;

    fn query(text: &str) -> Result<Query, Problem> {
        Query::read(&format!("/x?{text}").parse().expect("an address"), &["sku"])
    }

    fn pointer_of<T: std::fmt::Debug>(result: Result<T, Problem>) -> String {
        let Err(Problem::InvalidRequest(errors)) = result else { panic!("{result:?}") };
        errors[0].pointer.to_string()
    }

    #[test]
    fn a_page_has_twenty_items_unless_it_says_otherwise() {
        let limit = |text| query(text).and_then(|query| query.page::<u8>()).map(|page| page.limit);
        assert_eq!(limit("").ok(), Some(20));
        assert_eq!(limit("limit=100").ok(), Some(100));
        for text in ["limit=0", "limit=101", "limit=-1", "limit=x", "limit="] {
            assert_eq!(pointer_of(limit(text)), "/limit", "{text}");
        }
    }

    #[test]
    fn parameters_are_known_and_there_once() {
        assert_eq!(pointer_of(query("skus=a")), "/skus");
        assert_eq!(pointer_of(query("sku=a&sku=b")), "/sku");
        assert_eq!(pointer_of(query("sku=a%20b").and_then(|query| query.get::<Sku>("sku"))), "/sku");
        assert_eq!(query("sku=a").expect("known").get::<Sku>("sku").expect("a sku"), "a".parse().ok());
    }
}
