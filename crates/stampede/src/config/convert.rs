//! What each part of the program is told.

use std::time::Duration;

use secrecy::ExposeSecret;
use stampede_api::{ApiSettings, RateLimit, RateLimitSettings, TokenAlgorithm, TokenKey, TokenSettings, TraceSettings};
use stampede_engine::{EngineSettings, LogBound};
use stampede_worker::WorkerSettings;

use super::Config;

/// The name of the key that `token_secret` is.
const MAIN_KEY: &str = "main";

impl Config {
    /// What the engine is told.
    pub fn engine_settings(&self) -> EngineSettings {
        EngineSettings {
            redis_url: self.redis_url.expose_secret().to_owned(),
            command_timeout: ms(self.command_timeout_ms),
            call_deadline: ms(self.call_deadline_ms),
            group_max_orders: size(self.group_max_orders),
            group_interval: ms(self.group_interval_ms),
            queue_max_orders: size(self.queue_max_orders),
            log_bound: LogBound { orders: self.log_max_orders, bytes: self.log_max_bytes },
            dead_letters_max: self.dead_letters_max,
            durability: self.durability,
            durability_wait: ms(self.durability_wait_ms),
        }
    }

    /// What the API is told.
    pub fn api_settings(&self) -> ApiSettings {
        ApiSettings {
            public_origins: self.public_origins.clone(),
            cors_origins: self.cors_origins.clone(),
            secure_cookies: self.secure_cookies,
            sign_in: self.sign_in,
            tokens: self.token_settings(),
            require_idempotency_key: self.require_idempotency_key,
            request_timeout: ms(self.request_timeout_ms),
            header_read_timeout: ms(self.header_read_timeout_ms),
            body_read_timeout: ms(self.body_read_timeout_ms),
            max_connections: size(self.max_connections),
            shutdown_delay: ms(self.shutdown_delay_ms),
            rate_limits: self.rate_limit_settings(),
            shutdown_grace: ms(self.shutdown_grace_ms),
            body_max_bytes: size(self.body_max_bytes),
            header_max_bytes: size(self.header_max_bytes),
            json_max_depth: size(self.json_max_depth),
            quantity_max: u16::try_from(self.quantity_max_units).unwrap_or(u16::MAX),
            retry_after: Duration::from_secs(self.retry_after_s),
            snapshot_refresh: ms(self.snapshot_refresh_ms),
            snapshot_max_age: ms(self.snapshot_max_age_ms),
            snapshot_idle: ms(self.snapshot_idle_ms),
            snapshot_max_drops: size(self.snapshot_max_drops),
            filter_max_age: ms(self.filter_max_age_ms),
            filter_max_buyers: size(self.filter_max_buyers),
            filters_max: size(self.filters_max),
            sku_refresh: ms(self.sku_refresh_ms),
            ready_max_age: ms(self.ready_max_age_ms),
            traces: self.otlp_endpoint.as_ref().map(|_| TraceSettings {
                sample_ratio: self.trace_sample_ratio.get(),
                trust_clients: self.trace_trust_clients,
            }),
        }
    }

    /// How many requests are answered.
    fn rate_limit_settings(&self) -> RateLimitSettings {
        RateLimitSettings {
            front: RateLimit::per_second(count(self.rate_limit_front_per_s), count(self.rate_limit_front_burst)),
            user: RateLimit::per_second(count(self.rate_limit_user_per_s), count(self.rate_limit_user_burst)),
            keys_max: size(self.rate_limit_keys_max),
            trusted_proxies: self.trusted_proxies.clone(),
        }
    }

    /// The tokens that are issued and believed.
    pub fn token_settings(&self) -> TokenSettings {
        let main = self.token_secret.as_ref().map(|secret| TokenKey {
            kid: MAIN_KEY.to_owned(),
            algorithm: TokenAlgorithm::Hs256,
            secret: Some(secret.clone()),
            private_key: None,
            public_key: None,
        });
        TokenSettings {
            issuer: self.token_issuer.clone(),
            audience: self.token_audience.clone(),
            lifetime: Duration::from_secs(self.token_lifetime_s),
            keys: main.into_iter().chain(self.token_keys.iter().cloned()).collect(),
            trusted: self.trusted_issuers.clone(),
            cache_max_bytes: self.token_cache_max_bytes,
        }
    }

    /// What the workers are told.
    pub fn worker_settings(&self) -> WorkerSettings {
        WorkerSettings {
            batch_entries: self.persist_batch_entries,
            poll_min: ms(self.persist_poll_min_ms),
            poll_max: ms(self.persist_poll_max_ms),
            claim_idle: ms(self.claim_idle_ms),
            forget_idle: ms(self.forget_idle_ms),
            recovery_poll: ms(self.recovery_poll_ms),
            damage_poll: ms(self.damage_poll_ms),
            loss_patience: ms(self.loss_patience_ms),
            takeover_after: ms(self.takeover_after_ms),
            timer_poll: ms(self.timer_poll_ms),
            open_after: ms(self.open_after_ms),
            purge_after: Duration::from_secs(self.purge_after_s),
            reconcile_period: ms(self.reconcile_period_ms),
            reconcile_whole_every: ms(self.reconcile_whole_ms),
            reconcile_users: self.reconcile_users,
            reconcile_patience: ms(self.reconcile_patience_ms),
            reconcile_window_after: ms(self.reconcile_window_ms),
            backoff_max: ms(self.backoff_max_ms),
            drain_limit: ms(self.drain_limit_ms),
        }
    }
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// The table's ranges keep every count far below the largest `u32`.
fn count(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// The table's ranges keep every size far below the smallest `usize` that this program runs on.
fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
