//! Facts as documents.
//!
//! A granted order:
//! `{ _id: UUID("…"), kind: "granted", shard: 3, epoch: 2, number: 17, index: 0, entry_facts: 2, log_id: "1764234000120-5",
//! happened_at: ISODate("…"), drop_id: "demo", sku: "AIR-1", user_id: "auth0|a", units: 1, unit_price: { amount_minor: 12999,
//! currency: "EUR" }, key_digest: "7bc3…", fingerprint: "…" }`.
//! Anything else has `_id: "s03-e2-1764234000120-5.0"` and, in place of what follows `drop_id`, `details: { … }`.

use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, DateTime, Document, RawBson, RawDocumentBuf, cstr, rawdoc};
use serde::de::value::{Error as ValueError, StrDeserializer};
use serde::de::{Deserialize, IntoDeserializer};
use stampede_domain::{Epoch, Fact, FactBody, FactId, Grant, Money, Position, Shard};

use super::documents::{Fields, from_document, malformed, to_document, uuid};
use crate::ArchiveError;

const WHAT: &str = "fact";

/// The kind of the facts that are orders.
pub(super) const GRANTED: &str = "granted";

/// The kind of the facts that give back an order of which there is no other fact.
pub(super) const COMPENSATED: &str = "compensated";

pub(super) fn fact_id(id: FactId) -> Bson {
    match id {
        FactId::Order(id) => uuid(id),
        event @ FactId::Event { .. } => Bson::String(event.to_string()),
    }
}

/// The id, in the form of a document that is written at once as it is sent.
pub(super) fn raw_fact_id(id: FactId) -> RawBson {
    match id {
        FactId::Order(id) => RawBson::Binary(Binary { subtype: BinarySubtype::Uuid, bytes: id.as_bytes().to_vec() }),
        event @ FactId::Event { .. } => RawBson::String(event.to_string()),
    }
}

pub(super) fn write(fact: &Fact) -> Result<RawDocumentBuf, ArchiveError> {
    let log_id = fact.position.log_id;
    let mut document = rawdoc! {
        "_id": raw_fact_id(fact.id()),
        "kind": fact.body.kind(),
        "shard": i32::from(fact.shard.number()),
        "epoch": i64::from(fact.epoch.0),
        "number": i64::try_from(fact.number).map_err(|error| malformed(WHAT, &error))?,
        "index": i32::from(fact.position.index),
        "entry_facts": i32::from(fact.entry_facts),
        "log_id": log_id.to_string(),
        // Beside the log id, whose milliseconds it repeats, for whoever searches by time.
        "happened_at": DateTime::from_millis(log_id.ms.cast_signed()),
        "drop_id": fact.drop_id.as_str(),
    };
    match &fact.body {
        FactBody::Granted(grant) => write_grant(&mut document, grant),
        body => {
            let mut details = to_document(body, WHAT)?;
            details.remove("kind");
            let details = RawDocumentBuf::try_from(&details).map_err(|error| malformed(WHAT, &error))?;
            document.append(cstr!("details"), details);
        }
    }
    Ok(document)
}

fn write_grant(document: &mut RawDocumentBuf, grant: &Grant) {
    let unit_price = rawdoc! {
        "amount_minor": grant.unit_price.amount_minor,
        "currency": grant.unit_price.currency.as_str(),
    };
    document.append(cstr!("sku"), grant.sku.as_str());
    document.append(cstr!("user_id"), grant.user_id.as_str());
    document.append(cstr!("units"), i32::from(grant.units));
    document.append(cstr!("unit_price"), unit_price);
    document.append(cstr!("key_digest"), grant.key.to_string());
    document.append(cstr!("fingerprint"), grant.fingerprint.to_string());
}

pub(super) fn read(mut document: Document) -> Result<Fact, ArchiveError> {
    let details = document.remove("details");
    let fields = Fields::of(&document, WHAT);
    let kind = fields.text("kind")?;
    let body = if kind == GRANTED { FactBody::Granted(read_grant(&fields)?) } else { read_body(kind, details)? };
    let shard = Shard::new(fields.number("shard")?).ok_or_else(|| fields.wrong("shard", &"not a shard"))?;
    let log_id = fields.parsed("log_id")?;
    Ok(Fact {
        shard,
        epoch: Epoch(fields.number("epoch")?),
        number: fields.number("number")?,
        position: Position { log_id, index: fields.number("index")? },
        entry_facts: fields.number("entry_facts")?,
        drop_id: fields.parsed("drop_id")?,
        body,
    })
}

fn read_grant(fields: &Fields<'_>) -> Result<Grant, ArchiveError> {
    let price = fields.inner("unit_price")?;
    Ok(Grant {
        sku: fields.parsed("sku")?,
        user_id: fields.parsed("user_id")?,
        units: fields.number("units")?,
        unit_price: Money { amount_minor: price.number("amount_minor")?, currency: price.parsed("currency")? },
        key: digest(fields, "key_digest")?,
        fingerprint: digest(fields, "fingerprint")?,
    })
}

fn digest<'a, T: Deserialize<'a>>(fields: &Fields<'a>, name: &str) -> Result<T, ArchiveError> {
    let text: StrDeserializer<'a, ValueError> = fields.text(name)?.into_deserializer();
    T::deserialize(text).map_err(|error| fields.wrong(name, &error))
}

fn read_body(kind: &str, details: Option<Bson>) -> Result<FactBody, ArchiveError> {
    let Some(Bson::Document(mut details)) = details else { return Err(malformed(WHAT, &"it has no details")) };
    details.insert("kind", kind);
    from_document(details, WHAT)
}
