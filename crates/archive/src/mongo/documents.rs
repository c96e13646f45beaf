//! Values as documents that can be read in mongosh.

use std::str::FromStr;

use futures_util::TryStreamExt;
use mongodb::action::Find;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{self, Binary, Bson, DateTime, Document};
use serde::Serialize;
use serde::de::DeserializeOwned;
use stampede_domain::{OrderId, Timestamp};

use crate::ArchiveError;

/// The document of a value, in the names and forms of its JSON, but for what MongoDB has types of its own: times are dates
/// and order ids are UUIDs.
pub(super) fn to_document<T: Serialize>(value: &T, what: &'static str) -> Result<Document, ArchiveError> {
    // By way of JSON, since types may write themselves differently for formats that people do not read.
    let json = serde_json::to_value(value).map_err(|error| malformed(what, &error))?;
    let document = bson::serialize_to_document(&json).map_err(|error| malformed(what, &error))?;
    Ok(document.into_iter().map(|(name, value)| typed(name, value)).collect())
}

/// The value of a document that [`to_document`] made.
pub(super) fn from_document<T: DeserializeOwned>(document: Document, what: &'static str) -> Result<T, ArchiveError> {
    let plain = document.into_iter().map(|(name, value)| (name, as_text(value))).collect();
    let json: serde_json::Value = bson::deserialize_from_document(plain).map_err(|error| malformed(what, &error))?;
    serde_json::from_value(json).map_err(|error| malformed(what, &error))
}

/// All values of a query.
pub(super) async fn collect<T>(
    find: Find<'_, Document>,
    read: impl Fn(Document) -> Result<T, ArchiveError>,
) -> Result<Vec<T>, ArchiveError> {
    let mut cursor = find.await?;
    let mut values = Vec::new();
    while let Some(document) = cursor.try_next().await? {
        values.push(read(document)?);
    }
    Ok(values)
}

/// A limit as MongoDB takes it, where 0 would mean none.
pub(super) fn limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX).max(1)
}

/// A time as a date, which has milliseconds too.
pub(super) fn date(time: Timestamp) -> DateTime {
    DateTime::from_millis(time.as_ms())
}

/// An order's id as a UUID.
pub(super) fn uuid(id: OrderId) -> Bson {
    Bson::Binary(Binary { subtype: BinarySubtype::Uuid, bytes: id.as_bytes().to_vec() })
}

pub(super) fn malformed(what: &'static str, error: &dyn std::fmt::Display) -> ArchiveError {
    ArchiveError::Malformed { what, detail: error.to_string() }
}

/// Reads the fields of a document one by one, which is faster than by way of JSON.
pub(super) struct Fields<'a> {
    document: &'a Document,
    what: &'static str,
}

impl<'a> Fields<'a> {
    pub(super) const fn of(document: &'a Document, what: &'static str) -> Self {
        Self { document, what }
    }

    pub(super) fn text(&self, name: &str) -> Result<&'a str, ArchiveError> {
        self.document.get_str(name).map_err(|error| self.wrong(name, &error))
    }

    /// A text in the form of an id.
    pub(super) fn parsed<T: FromStr<Err: std::fmt::Display>>(&self, name: &str) -> Result<T, ArchiveError> {
        self.text(name)?.parse().map_err(|error| self.wrong(name, &error))
    }

    /// An integer of whichever width it was stored in.
    pub(super) fn number<T: TryFrom<i64>>(&self, name: &str) -> Result<T, ArchiveError> {
        let number = match self.document.get(name) {
            Some(Bson::Int64(number)) => Some(*number),
            Some(Bson::Int32(number)) => Some(i64::from(*number)),
            _ => None,
        };
        number.and_then(|number| number.try_into().ok()).ok_or_else(|| self.wrong(name, &"not a number in range"))
    }

    pub(super) fn inner(&self, name: &str) -> Result<Self, ArchiveError> {
        let document = self.document.get_document(name).map_err(|error| self.wrong(name, &error))?;
        Ok(Self { document, what: self.what })
    }

    pub(super) fn wrong(&self, name: &str, error: &dyn std::fmt::Display) -> ArchiveError {
        ArchiveError::Malformed { what: self.what, detail: format!("{name}: {error}") }
    }
}

/// Times are known by their names, which end in `_at` everywhere.
fn typed(name: String, value: Bson) -> (String, Bson) {
    let value = match value {
        Bson::Document(inner) => Bson::Document(inner.into_iter().map(|(name, value)| typed(name, value)).collect()),
        Bson::String(text) if name.ends_with("_at") => match text.parse() {
            Ok(time) => Bson::DateTime(date(time)),
            Err(_) => Bson::String(text),
        },
        Bson::String(text) if name == "order_id" => match text.parse() {
            Ok(id) => uuid(id),
            Err(_) => Bson::String(text),
        },
        Bson::Array(values) => Bson::Array(values.into_iter().map(|value| typed(String::new(), value).1).collect()),
        value => value,
    };
    (name, value)
}

fn as_text(value: Bson) -> Bson {
    match value {
        Bson::Document(inner) => {
            Bson::Document(inner.into_iter().map(|(name, value)| (name, as_text(value))).collect())
        }
        Bson::Array(values) => Bson::Array(values.into_iter().map(as_text).collect()),
        Bson::DateTime(time) => Bson::String(Timestamp::from_ms(time.timestamp_millis()).to_string()),
        Bson::Binary(Binary { subtype: BinarySubtype::Uuid, bytes }) if let Ok(id) = OrderId::from_bytes(&bytes) => {
            Bson::String(id.to_string())
        }
        value => value,
    }
}
