//! What is asked for when a drop is created, and whether it makes sense.

use serde::Deserialize;
use stampede_domain::{DropDefinition, DropId, Durability, Mode, Money, Product, Sku, Stripes, Timestamp, Window};
use utoipa::ToSchema;

use crate::problem::FieldError;
use crate::products::CreateProduct;
use crate::view::DurabilityDocument;

/// A drop to create.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateDrop {
    /// 1 to 64 of a-z, 0-9 and hyphen; made from the sku if it is left out.
    #[schema(value_type = Option<String>, example = "air-1-launch", pattern = "^[a-z0-9-]{1,64}$")]
    pub id: Option<DropId>,
    /// The product; or else `product`.
    #[schema(value_type = Option<String>, example = "AIR-1", pattern = "^[A-Za-z0-9._-]{1,64}$")]
    pub sku: Option<Sku>,
    /// The product, to be created with the drop; or else `sku`.
    pub product: Option<CreateProduct>,
    /// How it sells. This version sells `instant`: an order is placed at once.
    #[schema(value_type = String, example = "instant")]
    pub mode: Option<String>,
    /// 1 to 1,000,000,000.
    #[schema(value_type = u32, example = 100, minimum = 1, maximum = 1_000_000_000)]
    pub stock_units: Option<u64>,
    /// Units that one user may hold: 1 to 1,000; 1 if it is not said.
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 1_000)]
    pub limit_per_user: Option<u64>,
    /// Now, if it is not said.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub starts_at: Option<Timestamp>,
    /// Never, if it is not said: until it is closed.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ends_at: Option<Timestamp>,
    /// For how long after its order a shopper may cancel, in seconds; 0 (never) if it is not said, at most 90 days.
    #[schema(value_type = Option<u32>, maximum = 7_776_000)]
    pub cancellable_for_s: Option<u64>,
    /// How many orders one user may cancel: at most 100; 3 if it is not said.
    #[schema(value_type = Option<u32>, maximum = 100)]
    pub cancellations_per_user: Option<u64>,
    /// What an answer waits for, and so what it survives; the deployment's setting if it is not said.
    #[schema(value_type = Option<DurabilityDocument>)]
    pub durability: Option<String>,
    /// Over how many shards its stock is divided, for a drop that must outrun one Redis: at most as many as there are; 1 if it
    /// is not said.
    #[schema(value_type = Option<u16>, minimum = 1, maximum = 64)]
    pub stripes: Option<u64>,
}

/// Which product a drop sells.
#[derive(Clone, Debug)]
pub(crate) enum Sells {
    /// One that is there.
    Sku(Sku),
    /// One that is to be created with the drop.
    New(Product),
}

/// A drop that makes sense, apart from the moment.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub id: Option<DropId>,
    pub sells: Sells,
    pub starts_at: Option<Timestamp>,
    ends_at: Option<Timestamp>,
    stock_units: u32,
    limit_per_user: u32,
    cancellable_for_s: u32,
    cancellations_per_user: u32,
    /// What the drop says, against the deployment's setting.
    pub durability: Option<Durability>,
    /// Over how many shards its stock is divided.
    pub stripes: u16,
}

const CANCELLATIONS_PER_USER: u64 = 3;

impl CreateDrop {
    /// The plan, or everything that is wrong with it.
    pub fn check(self) -> Result<Plan, Vec<FieldError>> {
        let mut errors = Vec::new();
        let sells = sells(self.sku, self.product, &mut errors);
        match self.mode.as_deref() {
            Some("instant") => {}
            Some("reserve" | "lottery") => {
                errors.push(FieldError::new(
                    "/mode",
                    "this version sells `instant` only; reserve and lottery come later",
                ));
            }
            Some(_) => errors.push(FieldError::new("/mode", "the mode of this version is `instant`")),
            None => errors.push(FieldError::new("/mode", "is required: `instant`")),
        }
        let durability = match self.durability.as_deref().map(str::parse) {
            None => None,
            Some(Ok(durability)) => Some(durability),
            Some(Err(_)) => {
                errors.push(FieldError::new("/durability", "one of `memory`, `fsync` and `replica`"));
                None
            }
        };
        if self.stock_units.is_none() {
            errors.push(FieldError::new("/stock_units", "is required"));
        }
        let mut number = |pointer: &'static str, value: u64, least: u32, most: u32| {
            let number = u32::try_from(value).ok().filter(|number| (least..=most).contains(number));
            if number.is_none() {
                errors.push(FieldError::new(pointer, format!("a number from {least} to {most}")));
            }
            number.unwrap_or(least)
        };
        let most_cancellations = DropDefinition::MAX_CANCELLATIONS_PER_USER;
        let most_seconds = DropDefinition::MAX_CANCELLABLE_FOR_S;
        let stock_units = number("/stock_units", self.stock_units.unwrap_or(1), 1, DropDefinition::MAX_UNITS);
        let limit_per_user =
            number("/limit_per_user", self.limit_per_user.unwrap_or(1), 1, DropDefinition::MAX_LIMIT_PER_USER);
        let cancellable_for_s = number("/cancellable_for_s", self.cancellable_for_s.unwrap_or(0), 0, most_seconds);
        let cancellations = self.cancellations_per_user.unwrap_or(CANCELLATIONS_PER_USER);
        let cancellations_per_user = number("/cancellations_per_user", cancellations, 0, most_cancellations);
        let stripes = number("/stripes", self.stripes.unwrap_or(1), 1, u32::from(Stripes::MAX));
        if let (Some(starts_at), Some(ends_at)) = (self.starts_at, self.ends_at)
            && ends_at <= starts_at
        {
            errors.push(FieldError::new("/ends_at", "must be after `starts_at`"));
        }
        let (Some(sells), true) = (sells, errors.is_empty()) else { return Err(errors) };
        let (id, starts_at, ends_at) = (self.id, self.starts_at, self.ends_at);
        Ok(Plan {
            id,
            sells,
            starts_at,
            ends_at,
            stock_units,
            limit_per_user,
            cancellable_for_s,
            cancellations_per_user,
            durability,
            stripes: u16::try_from(stripes).unwrap_or(Stripes::MAX),
        })
    }
}

fn sells(sku: Option<Sku>, product: Option<CreateProduct>, errors: &mut Vec<FieldError>) -> Option<Sells> {
    match (sku, product) {
        (Some(sku), None) => Some(Sells::Sku(sku)),
        (None, Some(product)) => product.check("/product").map(Sells::New).map_err(|wrong| errors.extend(wrong)).ok(),
        (None, None) => {
            errors.push(FieldError::new("/sku", "is required, or else `product`"));
            None
        }
        (Some(_), Some(_)) => {
            errors.push(FieldError::new("/product", "give either `sku` or `product`"));
            None
        }
    }
}

impl Plan {
    /// Whether the plan's end has passed: a drop that would be over at once is a mistake.
    pub fn ends_before(&self, now: Timestamp) -> bool {
        self.ends_at.is_some_and(|ends_at| ends_at <= now)
    }

    /// The drop to define, with its stock in these stripes; `hold_ms` is a setting of the process that defines it.
    pub fn define(
        &self,
        id: DropId,
        sku: Sku,
        price: Money,
        stripes: Stripes,
        hold_ms: u32,
        now: Timestamp,
    ) -> DropDefinition {
        DropDefinition {
            id,
            sku,
            mode: Mode::Instant,
            stock_units: self.stock_units,
            limit_per_user: self.limit_per_user,
            window: Window { starts_at: self.starts_at.unwrap_or(now), ends_at: self.ends_at },
            price,
            cancellable_for_s: self.cancellable_for_s,
            cancellations_per_user: self.cancellations_per_user,
            durability: self.durability,
            stripes,
            hold_ms,
            created_at: now,
        }
    }

    /// Whether a drop is what this plan would define: then creating it again is a repetition, not a conflict.
    pub fn is(&self, kept: &DropDefinition) -> bool {
        let sku = match &self.sells {
            Sells::Sku(sku) => sku,
            Sells::New(product) => &product.sku,
        };
        // Which shards they are depends on the moment.
        if self.stripes != kept.stripes.count() {
            return false;
        }
        let (stripes, hold_ms) = (kept.stripes.clone(), kept.hold_ms);
        let mut planned = self.define(kept.id.clone(), sku.clone(), kept.price, stripes, hold_ms, kept.created_at);
        if self.starts_at.is_none() {
            planned.window.starts_at = kept.window.starts_at;
        }
        planned == *kept
    }
}

/// An id for a drop of this sku: readable, and not to be guessed or met twice.
pub(super) fn made_id(sku: &Sku) -> Option<DropId> {
    const MAX_STEM: usize = 48;
    const TAIL: usize = 8;
    let alphabet = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let clean = |byte: u8| if byte.is_ascii_alphanumeric() { char::from(byte.to_ascii_lowercase()) } else { '-' };
    let stem: String = sku.as_str().bytes().take(MAX_STEM).map(clean).collect();
    let tail: String = (0..TAIL).map(|_| char::from(alphabet[rand::random_range(0..alphabet.len())])).collect();
    format!("{}-{tail}", stem.trim_matches('-')).trim_start_matches('-').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> CreateDrop {
        let body = r#"{"sku":"AIR-1","mode":"instant","stock_units":100}"#;
        serde_json::from_str(body).expect("a drop")
    }

    fn pointers(asked: CreateDrop) -> Vec<String> {
        asked.check().expect_err("wrong").into_iter().map(|error| error.pointer.into_owned()).collect()
    }

    #[test]
    fn what_is_not_said_has_the_contracts_defaults() {
        let now = Timestamp::from_ms(1_000);
        let plan = asked().check().expect("makes sense");
        let price = Money { amount_minor: 1, currency: "EUR".parse().expect("valid") };
        let (id, sku) = ("d".parse().expect("valid"), "AIR-1".parse().expect("valid"));
        let drop = plan.define(id, sku, price, Stripes::default(), 250, now);
        assert_eq!((drop.limit_per_user, drop.cancellable_for_s, drop.cancellations_per_user), (1, 0, 3));
        assert_eq!((drop.window.starts_at, drop.window.ends_at, drop.durability), (now, None, None));
    }

    #[test]
    fn everything_that_is_wrong_is_named_at_once() {
        let wrong = CreateDrop {
            sku: None,
            mode: Some("lottery".to_owned()),
            stock_units: Some(0),
            limit_per_user: Some(1_001),
            durability: Some("disk".to_owned()),
            cancellable_for_s: Some(u64::MAX),
            stripes: Some(0),
            ..asked()
        };
        let expected =
            ["/sku", "/mode", "/durability", "/stock_units", "/limit_per_user", "/cancellable_for_s", "/stripes"];
        assert_eq!(pointers(wrong), expected);
        let time = |s: i64| Some(Timestamp::from_ms(s));
        assert_eq!(pointers(CreateDrop { starts_at: time(5), ends_at: time(5), ..asked() }), ["/ends_at"]);
        assert_eq!(pointers(CreateDrop { stock_units: None, mode: None, ..asked() }), ["/mode", "/stock_units"]);
    }

    #[test]
    fn each_durability_may_be_asked_for() {
        for durability in Durability::ALL {
            let asked = CreateDrop { durability: Some(durability.to_string()), ..asked() };
            assert_eq!(asked.check().expect("makes sense").durability, Some(durability));
        }
    }

    #[test]
    fn the_same_request_is_the_same_drop_whenever_it_comes() {
        let (early, late) = (Timestamp::from_ms(1_000), Timestamp::from_ms(9_000));
        let price = Money { amount_minor: 1, currency: "EUR".parse().expect("valid") };
        let plan = asked().check().expect("makes sense");
        let (id, sku) = ("d".parse().expect("valid"), "AIR-1".parse().expect("valid"));
        let kept = plan.define(id, sku, price, Stripes::default(), 250, early);
        assert!(plan.is(&kept), "it starts when it was first asked for");
        let other = CreateDrop { starts_at: Some(late), ..asked() }.check().expect("makes sense");
        assert!(!other.is(&kept));
        let other = CreateDrop { stock_units: Some(99), ..asked() }.check().expect("makes sense");
        assert!(!other.is(&kept));
        let striped = CreateDrop { stripes: Some(2), ..asked() }.check().expect("makes sense");
        assert!(!striped.is(&kept));
        let shards = [3, 5].map(|number| stampede_domain::Shard::new(number).expect("in range"));
        let stripes = Stripes::over(shards.to_vec()).expect("distinct");
        assert!(striped.is(&DropDefinition { stripes, ..kept }), "whichever shards they are in");
    }

    #[test]
    fn an_id_is_made_from_any_sku() {
        let made = |sku: &str| made_id(&sku.parse().expect("a sku")).expect("an id").to_string();
        assert!(made("AIR_1.b").starts_with("air-1-b-"));
        assert_eq!(made("...").len(), 8);
        assert!(made(&"A".repeat(64)).len() <= DropId::MAX_BYTES);
        assert_ne!(made("a"), made("a"));
    }
}
