//! Inserts an archive's own documents again by a plain loop of `insert_many`, to compare how fast the persister fills it:
//! `insert_many URL ORDERS BATCH`.
//!
//! URL is that of an archive in MongoDB. So many of its ORDERS are read, and inserted into a collection with the same indexes,
//! a BATCH at a time, one after another, each acknowledged as the archive demands it. The collection is dropped afterwards.
//! Prints one line, `RESULT` and a JSON object.

use std::error::Error;
use std::time::Instant;

use mongodb::bson::{Document, doc};
use mongodb::options::WriteConcern;
use mongodb::{Client, Collection};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, orders, batch] = &arguments[..] else { return Err("usage: insert_many URL ORDERS BATCH".into()) };
    let client = Client::with_uri_str(url).await?;
    let database = client.default_database().ok_or("the URL names no database")?;
    let facts = read(&database.collection("facts"), orders.parse()?).await?;
    let copy: Collection<Document> = database.collection("bench_insert_many");
    copy_indexes(&database.collection("facts"), &copy).await?;
    let mut durable = WriteConcern::majority();
    durable.journal = Some(true);
    let started = Instant::now();
    for batch in facts.chunks(batch.parse()?) {
        copy.insert_many(batch).ordered(false).write_concern(durable.clone()).await?;
    }
    let duration_us = started.elapsed().as_micros();
    copy.drop().await?;
    println!("RESULT {{\"requests\": {}, \"duration_us\": {duration_us}}}", facts.len());
    Ok(())
}

/// As many orders, as the archive has them.
async fn read(facts: &Collection<Document>, orders: i64) -> mongodb::error::Result<Vec<Document>> {
    let mut cursor = facts.find(doc! { "kind": "granted" }).limit(orders).await?;
    let mut documents = Vec::new();
    while cursor.advance().await? {
        documents.push(cursor.deserialize_current()?);
    }
    Ok(documents)
}

async fn copy_indexes(from: &Collection<Document>, to: &Collection<Document>) -> mongodb::error::Result<()> {
    let mut cursor = from.list_indexes().await?;
    while cursor.advance().await? {
        let index = cursor.deserialize_current()?;
        // Every collection has this one.
        if index.keys != doc! { "_id": 1 } {
            to.create_index(index).await?;
        }
    }
    Ok(())
}
