//! What is read at the moment when somebody asks for the metrics.
//!
//! A page is bounded: in time, so that a Redis that is away holds nobody up, and in drops. What is read from Redis is shown
//! for a moment to everybody who asks, so that two scrapers are no more work than one.

mod drops;
mod figures;
mod process;
mod shards;

use std::sync::OnceLock;
use std::time::Duration;

use metrics::{Counter, counter};
use stampede_engine::{Engine, EngineError};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use self::drops::DropReader;
use self::figures::Figures;
use super::catalogue::{REDIS_CONNECTED, SCRAPE_ERRORS};

/// The longest that reading from Redis may take.
const LIMIT: Duration = Duration::from_secs(2);

/// For how long what was read from Redis is shown again.
const FRESH_FOR: Duration = Duration::from_secs(1);

/// How many shards are read at a time.
const SHARDS_AT_ONCE: usize = 32;

/// Reads what is not counted.
pub struct Scraper {
    engine: OnceLock<Engine>,
    stores: Option<Mutex<Stores>>,
}

/// What is read from Redis.
struct Stores {
    drops: DropReader,
    errors: Errors,
    /// The last reading, and when it was made.
    last: Option<(Instant, String)>,
}

/// Readings that failed.
struct Errors {
    drops: Counter,
    shards: Counter,
}

impl Scraper {
    /// A scraper that reads from Redis too, if it is to; at most `drops_max` drops are shown.
    pub fn new(reads_stores: bool, drops_max: usize) -> Self {
        let stores = reads_stores.then(|| Mutex::new(Stores::new(drops_max)));
        Self { engine: OnceLock::new(), stores }
    }

    /// From now on the hot state can be read.
    pub fn connected(&self, engine: &Engine) {
        let _ = self.engine.set(engine.clone());
    }

    /// Everything, in Prometheus's text format.
    pub async fn read(&self) -> String {
        let engine = self.engine.get();
        let is_connected = engine.is_some_and(Engine::is_connected);
        let mut figures = Figures::default();
        figures.one(&REDIS_CONNECTED, f64::from(u8::from(is_connected)));
        process::read(&mut figures);
        let mut page = figures.text();
        if let (Some(engine), Some(stores)) = (engine, &self.stores) {
            page.push_str(&stores.lock().await.read(engine, is_connected).await);
        }
        page
    }
}

impl Stores {
    fn new(drops_max: usize) -> Self {
        Self { drops: DropReader::new(drops_max), errors: Errors::new(), last: None }
    }

    async fn read(&mut self, engine: &Engine, is_connected: bool) -> String {
        if let Some((at, text)) = &self.last
            && at.elapsed() < FRESH_FOR
        {
            return text.clone();
        }
        let mut figures = Figures::default();
        if is_connected {
            let (drops, shards) = tokio::join!(
                timeout(LIMIT, self.drops.read(engine, &self.errors.drops)),
                timeout(LIMIT, shards::read(engine, &self.errors.shards)),
            );
            match drops {
                Ok(seen) => seen.put(&mut figures),
                Err(_) => self.errors.drops.increment(1),
            }
            match shards {
                Ok(seen) => shards::put(&seen, &mut figures),
                Err(_) => self.errors.shards.increment(1),
            }
        } else {
            self.errors.drops.increment(1);
            self.errors.shards.increment(1);
        }
        let text = figures.text();
        self.last = Some((Instant::now(), text.clone()));
        text
    }
}

impl Errors {
    fn new() -> Self {
        let errors = |reading| counter!(SCRAPE_ERRORS.name, "reading" => reading);
        Self { drops: errors("drops"), shards: errors("shards") }
    }
}

/// Whether a shard could not be read for a reason that has metrics of its own: it is fenced, or on its way.
const fn is_expected(error: &EngineError) -> bool {
    matches!(error, EngineError::ShardRecovering | EngineError::ShardMoving)
}
