//! Reading rows in the order of their columns.

use std::error::Error;
use std::str::FromStr;

use rusqlite::Row;
use rusqlite::types::{FromSql, Type};
use serde::de::DeserializeOwned;
use stampede_domain::{Money, Shard, Timestamp};

/// The stored value is not what this version writes.
#[derive(Debug, thiserror::Error)]
#[error("not {0}")]
pub(super) struct NotA(pub(super) &'static str);

/// Takes values off a row from left to right; each statement selects its columns in the order in which they are read.
pub(super) struct Columns<'a> {
    row: &'a Row<'a>,
    next: usize,
}

impl<'a> Columns<'a> {
    pub(super) const fn of(row: &'a Row<'a>) -> Self {
        Self { row, next: 0 }
    }

    pub(super) fn value<T: FromSql>(&mut self) -> rusqlite::Result<T> {
        self.next += 1;
        self.row.get(self.next - 1)
    }

    pub(super) fn shard(&mut self) -> rusqlite::Result<Shard> {
        let number = self.value()?;
        Shard::new(number).ok_or_else(|| self.malformed(Type::Integer, NotA("a shard")))
    }

    /// A text in the form of an id.
    pub(super) fn text<T: FromStr<Err: Error + Send + Sync + 'static>>(&mut self) -> rusqlite::Result<T> {
        let text: String = self.value()?;
        text.parse().map_err(|error| self.malformed(Type::Text, error))
    }

    /// A value that is kept as JSON.
    pub(super) fn json<T: DeserializeOwned>(&mut self) -> rusqlite::Result<T> {
        let text: String = self.value()?;
        serde_json::from_str(&text).map_err(|error| self.malformed(Type::Text, error))
    }

    /// A count, which [`sql_number`] let in.
    pub(super) fn number(&mut self) -> rusqlite::Result<u64> {
        let number: i64 = self.value()?;
        u64::try_from(number).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(self.next - 1, number))
    }

    pub(super) fn time(&mut self) -> rusqlite::Result<Timestamp> {
        self.value().map(Timestamp::from_ms)
    }

    /// An amount and its currency, in two columns.
    pub(super) fn money(&mut self) -> rusqlite::Result<Money> {
        Ok(Money { amount_minor: self.value()?, currency: self.text()? })
    }

    /// A failure of the column that was read last.
    pub(super) fn malformed(&self, form: Type, error: impl Error + Send + Sync + 'static) -> rusqlite::Error {
        rusqlite::Error::FromSqlConversionFailure(self.next.saturating_sub(1), form, Box::new(error))
    }
}

/// A limit or a length as SQLite takes it.
pub(super) fn sql_limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// A count as SQLite stores it; refused if it is beyond what it can.
pub(super) fn sql_number(number: u64) -> rusqlite::Result<i64> {
    i64::try_from(number).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}
