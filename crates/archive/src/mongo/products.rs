//! Products. Their documents also keep the windows of their drops, which [`super::windows`] looks after.

use mongodb::bson::{Bson, Document, doc};
use stampede_domain::{Product, Sku, Timestamp};

use super::client::Collections;
use super::documents::{collect, date, from_document, limit as to_limit, to_document};
use super::errors::{is_duplicate, not_yet_readable};
use crate::{ArchiveError, CreateProduct};

const WHAT: &str = "product";

pub(super) async fn create(collections: &Collections, product: &Product) -> Result<CreateProduct, ArchiveError> {
    match collections.products.insert_one(write(product)?).await {
        Ok(_) => return Ok(CreateProduct::Created),
        Err(error) if is_duplicate(&error) => {}
        Err(error) => return Err(error.into()),
    }
    let existing = one(collections, &product.sku).await?;
    existing.map(CreateProduct::Exists).ok_or_else(|| not_yet_readable(WHAT))
}

pub(super) async fn one(collections: &Collections, sku: &Sku) -> Result<Option<Product>, ArchiveError> {
    let found = collections.products.find_one(doc! { "_id": sku.as_str() }).projection(projection()).await?;
    found.map(read).transpose()
}

pub(super) async fn page(
    collections: &Collections,
    after: Option<&(Timestamp, Sku)>,
    limit: usize,
) -> Result<Vec<Product>, ArchiveError> {
    if limit == 0 {
        return Ok(Vec::new());
    }
    let filter = after.map_or_else(Document::new, |(time, sku)| {
        let earlier = doc! { "created_at": { "$lt": date(*time) } };
        let same_time = doc! { "created_at": date(*time), "_id": { "$lt": sku.as_str() } };
        doc! { "$or": [earlier, same_time] }
    });
    let newest_first = doc! { "created_at": -1, "_id": -1 };
    let find = collections.products.find(filter).sort(newest_first).limit(to_limit(limit)).projection(projection());
    collect(find, read).await
}

fn projection() -> Document {
    doc! { "windows": 0, "windows_version": 0 }
}

fn write(product: &Product) -> Result<Document, ArchiveError> {
    let mut document = to_document(product, WHAT)?;
    let sku = document.remove("sku");
    document.insert("_id", sku);
    // The version goes before what it is of: should a server ever write out a document while it changes, a reader then
    // has too old a version, which fails, and never too new a one.
    document.insert("windows_version", 0_i64);
    document.insert("windows", Bson::Array(Vec::new()));
    Ok(document)
}

fn read(mut document: Document) -> Result<Product, ArchiveError> {
    let sku = document.remove("_id");
    document.insert("sku", sku);
    from_document(document, WHAT)
}
