//! Things that can be sold.

use serde::{Deserialize, Serialize};

use crate::{Money, Sku, Timestamp};

/// A product, as the archive keeps it. It never changes: a drop's orders refer to it for as long as they are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Product {
    /// The shop's article number.
    pub sku: Sku,
    /// What shoppers see as its name.
    pub name: String,
    /// A longer text.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub description: Option<String>,
    /// An absolute http(s) address of a picture.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub image_url: Option<String>,
    /// The price of one unit.
    pub price: Money,
    /// When it was created.
    pub created_at: Timestamp,
}

impl Product {
    /// Whether both say the same, times of creation aside: then creating one again is a repetition, not a conflict.
    pub fn same_content(&self, other: &Self) -> bool {
        Self { created_at: other.created_at, ..self.clone() } == *other
    }
}
