//! Whether settings make sense, each by itself and together.

use secrecy::ExposeSecret;
use stampede_api::{Tokens, TrustedProxies};
use stampede_archive::ArchiveUrl;
use tracing_subscriber::EnvFilter;

use super::table::SETTINGS;
use super::{Config, Loaded};

/// The beginnings of addresses that lead to a Redis.
const REDIS_SCHEMES: [&str; 6] =
    ["redis", "rediss", "redis-cluster", "rediss-cluster", "redis-sentinel", "rediss-sentinel"];

/// Everything that is wrong, in words for whoever sets it.
pub fn problems(loaded: &Loaded) -> Vec<String> {
    let config = &loaded.config;
    let mut problems = out_of_range(loaded);
    problems.extend(contradictions(config));
    if EnvFilter::try_new(&config.log).is_err() {
        problems.push("log is not a filter: write a level (`info`), or `info,stampede_worker=debug`".to_owned());
    }
    let scheme = config.redis_url.expose_secret().split_once("://").map(|(scheme, _)| scheme);
    if !scheme.is_some_and(|scheme| REDIS_SCHEMES.contains(&scheme)) {
        problems.push(format!("redis_url must begin with one of {}, and ://", REDIS_SCHEMES.join(", ")));
    }
    if let Some(url) = &config.archive_url
        && let Err(error) = url.expose_secret().parse::<ArchiveUrl>()
    {
        problems.push(format!("archive_url: {error}"));
    }
    if let Err(error) = Tokens::new(&config.token_settings()) {
        problems.push(format!("token_secret, token_keys, trusted_issuers: {error}"));
    }
    problems.extend(
        config.traces_url().err().into_iter().chain(config.traces_headers().err()).map(|error| format!("{error:#}")),
    );
    if let Err(error) = TrustedProxies::parse(&config.trusted_proxies) {
        problems.push(format!("trusted_proxies: {error}"));
    }
    problems.extend(bursts_without_rate(loaded));
    problems
}

/// Whoever sets a burst means to limit something.
fn bursts_without_rate(loaded: &Loaded) -> impl Iterator<Item = String> {
    let limits = [
        ("rate_limit_front_burst", "rate_limit_front_per_s", loaded.config.rate_limit_front_per_s),
        ("rate_limit_user_burst", "rate_limit_user_per_s", loaded.config.rate_limit_user_per_s),
    ];
    let idle = limits.into_iter().filter(|(burst, _, per_s)| *per_s == 0 && loaded.is_set(burst));
    idle.map(|(burst, rate, _)| format!("{burst} is set, but {rate} is 0, so nothing is limited: set both or neither"))
}

fn out_of_range(loaded: &Loaded) -> Vec<String> {
    let mut problems = Vec::new();
    for setting in SETTINGS.iter() {
        let Some(range) = &setting.range else { continue };
        let Some(number) = loaded.number(setting.name) else { continue };
        if !range.contains(&number) {
            let (name, least, most) = (setting.name, range.start(), range.end());
            let origin = loaded.origin(name).unwrap_or_default();
            problems.push(format!("{name} is {number} ({origin}): it must be from {least} to {most}"));
        }
    }
    problems
}

fn contradictions(config: &Config) -> Vec<String> {
    let mut problems = Vec::new();
    let mut longer = |long: (&str, u64), short: (&str, u64), strictly: bool, why: &str| {
        if long.1 < short.1 || (strictly && long.1 == short.1) {
            let than = if strictly { "longer than" } else { "at least as long as" };
            problems.push(format!("{} ({}) must be {than} {} ({}): {why}", long.0, long.1, short.0, short.1));
        }
    };
    let request = ("request_timeout_ms", config.request_timeout_ms);
    let command = ("command_timeout_ms", config.command_timeout_ms);
    longer(request, command, true, "a request waits for a command, and must have time left to answer");
    let body = ("body_read_timeout_ms", config.body_read_timeout_ms);
    longer(request, body, true, "a slow client would not be told what is wrong");
    let durability = ("durability_wait_ms", config.durability_wait_ms);
    longer(request, durability, true, "a request that waits for durability must have time left to say how it went");
    let deadline = ("call_deadline_ms", config.call_deadline_ms);
    longer(deadline, command, false, "a slow call would be refused while it is still awaited");
    let grace = ("shutdown_grace_ms", config.shutdown_grace_ms);
    longer(grace, request, false, "requests in flight would be cut off when the process stops");
    let window = ("reconcile_window_ms", config.reconcile_window_ms);
    longer(window, request, true, "a window that a request is changing right now would be put back");
    let age = ("snapshot_max_age_ms", config.snapshot_max_age_ms);
    let refresh = ("snapshot_refresh_ms", config.snapshot_refresh_ms);
    longer(age, refresh, true, "snapshots would be too old before they are refreshed");
    let (slow, fast) = (config.persist_poll_max_ms, config.persist_poll_min_ms);
    longer(("persist_poll_max_ms", slow), ("persist_poll_min_ms", fast), false, "pauses grow from one to the other");
    let (public, admin) = (config.listen, config.admin_listen);
    let one_address = public.ip() == admin.ip() || public.ip().is_unspecified() || admin.ip().is_unspecified();
    if public.port() != 0 && public.port() == admin.port() && one_address {
        problems.push(format!("listen ({public}) and admin_listen ({admin}) must differ: give them different ports"));
    }
    problems
}
