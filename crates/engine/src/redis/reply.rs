//! Reading what a script returns.

use std::vec::IntoIter;

use bytes::Bytes;
use fred::types::Value;

use super::CallError;
use crate::scripts::Script;

/// A script's reply: a code that its header names, and what goes with it.
#[derive(Debug)]
pub(crate) struct Reply {
    /// The code.
    pub(crate) code: &'static str,
    /// What goes with it.
    pub(crate) fields: Fields,
}

impl Reply {
    pub(crate) fn new(script: &'static Script, value: Value) -> Result<Self, CallError> {
        let malformed = |what: &str| CallError::Malformed(format!("{}: {what}", script.name));
        let Value::Array(values) = value else { return Err(malformed("not a list")) };
        let mut fields = Fields { script: script.name, values: values.into_iter() };
        let code = fields.text()?;
        match script.returns.iter().find(|known| **known == code) {
            Some(code) => Ok(Self { code, fields }),
            None => Err(malformed(&format!("unknown code {code}"))),
        }
    }

    /// The error for a code that this caller cannot make sense of; the test of the calls keeps it from happening.
    pub(crate) fn unexpected(&self) -> CallError {
        CallError::Malformed(format!("{}: unexpected code {}", self.fields.script, self.code))
    }
}

/// Values of a reply, taken one after another.
#[derive(Debug)]
pub(crate) struct Fields {
    script: &'static str,
    values: IntoIter<Value>,
}

impl Fields {
    /// The elements of a command's reply.
    pub(crate) fn of(command: &'static str, value: Value) -> Result<Self, CallError> {
        match value {
            Value::Array(values) => Ok(Self { script: command, values: values.into_iter() }),
            _ => Err(CallError::Malformed(format!("{command}: not a list"))),
        }
    }

    /// How many are left.
    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    pub(crate) fn bytes(&mut self) -> Result<Bytes, CallError> {
        match self.values.next() {
            Some(Value::Bytes(bytes)) => Ok(bytes),
            Some(Value::String(text)) => Ok(text.into_inner()),
            Some(Value::Integer(number)) => Ok(Bytes::from(number.to_string())),
            Some(Value::Null) => Ok(Bytes::new()),
            _ => Err(self.malformed("bytes")),
        }
    }

    pub(crate) fn text(&mut self) -> Result<String, CallError> {
        String::from_utf8(self.bytes()?.to_vec()).map_err(|_| self.malformed("text"))
    }

    /// A value of any kind that is written as text: a number, an id.
    pub(crate) fn parse<T: std::str::FromStr>(&mut self) -> Result<T, CallError> {
        match self.values.next() {
            Some(Value::Integer(number)) => number.to_string().parse().map_err(|_| self.malformed("number")),
            Some(Value::Bytes(bytes)) => self.parse_bytes(&bytes),
            Some(Value::String(text)) => text.parse().map_err(|_| self.malformed("value")),
            _ => Err(self.malformed("value")),
        }
    }

    /// A value that may be missing: an empty text stands for none.
    pub(crate) fn optional<T: std::str::FromStr>(&mut self) -> Result<Option<T>, CallError> {
        let bytes = self.bytes()?;
        if bytes.is_empty() { Ok(None) } else { self.parse_bytes(&bytes).map(Some) }
    }

    /// A list inside the reply.
    pub(crate) fn list(&mut self) -> Result<Self, CallError> {
        match self.values.next() {
            Some(Value::Array(values)) => Ok(Self { script: self.script, values: values.into_iter() }),
            _ => Err(self.malformed("list")),
        }
    }

    /// A list inside the reply that may be missing.
    pub(crate) fn optional_list(&mut self) -> Result<Option<Self>, CallError> {
        match self.values.next() {
            Some(Value::Array(values)) => Ok(Some(Self { script: self.script, values: values.into_iter() })),
            Some(Value::Null) => Ok(None),
            _ => Err(self.malformed("list")),
        }
    }

    pub(crate) fn malformed(&self, what: &str) -> CallError {
        CallError::Malformed(format!("{}: expected {what}", self.script))
    }

    pub(crate) fn parse_bytes<T: std::str::FromStr>(&self, bytes: &[u8]) -> Result<T, CallError> {
        std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok()).ok_or_else(|| self.malformed("value"))
    }
}
