//! Products.

use rusqlite::{Connection, OptionalExtension, Row, params};
use stampede_domain::{Product, Sku, Timestamp};

use super::columns::{Columns, sql_limit};
use crate::{ArchiveError, CreateProduct};

pub(super) fn create(db: &Connection, product: &Product) -> Result<CreateProduct, ArchiveError> {
    if let Some(existing) = one(db, &product.sku)? {
        return Ok(CreateProduct::Exists(existing));
    }
    db.prepare_cached(
        "INSERT INTO products (sku, name, description, image_url, price_minor, currency, created_at_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![
        product.sku.as_str(),
        product.name,
        product.description,
        product.image_url,
        product.price.amount_minor,
        product.price.currency.as_str(),
        product.created_at.as_ms(),
    ])?;
    Ok(CreateProduct::Created)
}

pub(super) fn one(db: &Connection, sku: &Sku) -> Result<Option<Product>, ArchiveError> {
    let mut select = db.prepare_cached(
        "SELECT sku, name, description, image_url, price_minor, currency, created_at_ms FROM products WHERE sku = ?1",
    )?;
    Ok(select.query_row([sku.as_str()], read).optional()?)
}

pub(super) fn page(
    db: &Connection,
    after: Option<(Timestamp, Sku)>,
    limit: usize,
) -> Result<Vec<Product>, ArchiveError> {
    let (ms, sku) = after.map_or((i64::MAX, String::new()), |(time, sku)| (time.as_ms(), sku.to_string()));
    let mut select = db.prepare_cached(
        "SELECT sku, name, description, image_url, price_minor, currency, created_at_ms FROM products
         WHERE (created_at_ms, sku) < (?1, ?2) ORDER BY created_at_ms DESC, sku DESC LIMIT ?3",
    )?;
    let products = select.query_map(params![ms, sku, sql_limit(limit)], read)?;
    Ok(products.collect::<Result<_, _>>()?)
}

fn read(row: &Row<'_>) -> rusqlite::Result<Product> {
    let mut columns = Columns::of(row);
    Ok(Product {
        sku: columns.text()?,
        name: columns.value()?,
        description: columns.value()?,
        image_url: columns.value()?,
        price: columns.money()?,
        created_at: columns.time()?,
    })
}
