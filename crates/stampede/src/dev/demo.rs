//! The product and the sale that a dev starts with.

use anyhow::{Context, bail};
use stampede_api::open_drop;
use stampede_archive::{CreateProduct, DefineDrop, DropRecord, DropStage};
use stampede_domain::{DropDefinition, Mode, Money, Product, Timestamp, Window};

use crate::config::Config;
use crate::roles::Stores;

/// The product's sku.
pub const SKU: &str = "demo-sneaker";
/// The drop's id.
pub const DROP: &str = "demo";

/// Makes sure that the demo is there. What became of it since it was made is left alone.
///
/// # Errors
/// If a store fails.
pub async fn create(stores: &Stores, config: &Config) -> anyhow::Result<()> {
    let id = DROP.parse()?;
    let record = match stores.archive.drop_record(&id).await? {
        Some(record) => record,
        None => {
            let definition = definition(&product(stores).await?, config)?;
            match stores.archive.define_drop(&definition).await? {
                DefineDrop::Defined => DropRecord { window: definition.window, stage: DropStage::Defined, definition },
                DefineDrop::Exists(record) => *record,
                // Somebody sells the demo's product already.
                DefineDrop::Overlaps(_) => return Ok(()),
                DefineDrop::UnknownSku => bail!("the demo's product is missing in the archive"),
            }
        }
    };
    open_drop(&stores.engine, stores.archive.as_ref(), &record).await.context("the demo sale cannot be opened")?;
    Ok(())
}

async fn product(stores: &Stores) -> anyhow::Result<Product> {
    let price = Money { amount_minor: 12_900, currency: "EUR".parse()? };
    let product = Product {
        sku: SKU.parse()?,
        name: "Demo Sneaker".to_owned(),
        description: Some("Sold by `stampede dev`, to try things on.".to_owned()),
        image_url: None,
        price,
        created_at: Timestamp::now(),
    };
    Ok(match stores.archive.create_product(&product).await? {
        CreateProduct::Created => product,
        CreateProduct::Exists(kept) => kept,
    })
}

fn definition(product: &Product, config: &Config) -> anyhow::Result<DropDefinition> {
    let now = Timestamp::now();
    Ok(DropDefinition {
        id: DROP.parse()?,
        sku: product.sku.clone(),
        mode: Mode::Instant,
        stock_units: 100,
        limit_per_user: 2,
        window: Window { starts_at: now, ends_at: None },
        price: product.price,
        cancellable_for_s: 300,
        cancellations_per_user: 3,
        durability: None,
        stripes: Default::default(),
        hold_ms: u32::try_from(config.filter_max_age_ms)?,
        created_at: now,
    })
}
