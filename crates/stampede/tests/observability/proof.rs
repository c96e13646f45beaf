//! The proof: a real Prometheus scrapes a running sale, and every question of every dashboard and rule has an answer.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::dashboards::{self, Dashboard};
use super::prometheus::{Prometheus, Rule};
use super::promql::{Selector, compared, selectors};
use super::sale::Site;
use super::support::{LIMIT, run};

/// How often what has no answer yet is asked again.
const AGAIN: Duration = Duration::from_millis(500);
/// Values of labels that a sale without a fault of our own never shows. Their metric and label must be there all the same.
const NEVER_SEEN: [&str; 1] = ["status=\"500\""];
/// The alert on what the test breaks, and mends.
const BROKEN: &str = "StampedeDeadLetters";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_dashboard_and_every_rule_finds_what_it_asks_for() {
    let site = Site::start().await;
    let prometheus =
        Prometheus::start(&[("stampede-api", site.api_admin), ("stampede-worker", site.worker_admin)]).await;
    let mut crowd = site.open().await;
    let fault = site.make_dead_letter().await;
    site.stall_redis().await;
    prometheus.wait_for("min(count_over_time(up[5m])) > 2").await;
    prometheus.wait_for(&format!("ALERTS{{alertname=\"{BROKEN}\", alertstate=\"firing\"}}")).await;

    let dashboards = dashboards::all();
    variables_have_values(&prometheus, &dashboards).await;
    panels_have_data(&prometheus, &dashboards).await;
    let rules = rules_are_evaluated(&prometheus).await;
    let shown = series_exist(&prometheus, &dashboards, &rules).await;
    metrics_are_shown(&prometheus, &shown).await;

    // What was broken is what fires. Other alerts may have waited long enough since Redis stood still, if the machine is slow.
    let at_once: BTreeSet<_> = rules.iter().filter(|rule| rule.fires_at_once).map(|rule| rule.name.clone()).collect();
    let firing = prometheus.firing().await;
    assert_eq!(firing.intersection(&at_once).collect::<Vec<_>>(), [BROKEN]);
    fault.accept_all();
    let (code, page, stderr) = run(&mut site.command(&["dead-letters", "replay", "--all"]));
    assert_eq!(code, Some(0), "{page}{stderr}");
    let deadline = Instant::now() + LIMIT;
    while prometheus.firing().await.contains(BROKEN) {
        assert!(Instant::now() < deadline, "{BROKEN} does not end");
        tokio::time::sleep(AGAIN).await;
    }
    assert!(crowd.try_join_next().is_none(), "the crowd sold and bought to the end");
}

/// Asks until everything has an answer; says what has none in the end.
async fn until_answered(what: &str, mut open: Vec<(String, String)>, prometheus: &Prometheus) {
    let deadline = Instant::now() + LIMIT;
    loop {
        let mut left = Vec::new();
        for (place, expr) in open {
            let values = prometheus.query(&expr).await.unwrap_or_else(|error| panic!("{place}: {expr}: {error}"));
            if values.is_empty() {
                left.push((place, expr));
            }
        }
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "{what} without data: {left:#?}");
        open = left;
        tokio::time::sleep(AGAIN).await;
    }
}

async fn variables_have_values(prometheus: &Prometheus, dashboards: &[Dashboard]) {
    for variable in dashboards.iter().flat_map(Dashboard::label_values) {
        let values = prometheus.label_values(&variable.selector, &variable.label).await;
        assert!(!values.is_empty(), "{} has no values", variable.place);
    }
}

async fn panels_have_data(prometheus: &Prometheus, dashboards: &[Dashboard]) {
    let queries: Vec<_> =
        dashboards.iter().flat_map(Dashboard::queries).map(|query| (query.place, query.expr)).collect();
    assert!(queries.len() > 100, "{} queries", queries.len());
    until_answered("panels", queries, prometheus).await;
}

/// Every rule was evaluated without an error, and what it compares has values. Returns them.
async fn rules_are_evaluated(prometheus: &Prometheus) -> Vec<Rule> {
    let rules = prometheus.rules().await;
    assert!(!rules.is_empty());
    let mut values = Vec::new();
    for rule in &rules {
        assert_eq!(rule.health, "ok", "{}", rule.name);
        let parts = compared(&rule.expr);
        assert!(!parts.is_empty(), "{} compares nothing", rule.name);
        let seen = |part: &String| !NEVER_SEEN.iter().any(|never| part.contains(never));
        values.extend(parts.into_iter().filter(seen).map(|part| (rule.name.clone(), part)));
    }
    until_answered("rules", values, prometheus).await;
    rules
}

/// Every series that is asked for was there. Returns the metrics that dashboards show.
async fn series_exist(prometheus: &Prometheus, dashboards: &[Dashboard], rules: &[Rule]) -> BTreeSet<String> {
    let mut wanted: BTreeMap<Selector, String> = BTreeMap::new();
    for rule in rules {
        wanted.extend(selectors(&rule.expr).into_iter().map(|selector| (selector, rule.name.clone())));
    }
    let mut shown = BTreeSet::new();
    for query in dashboards.iter().flat_map(Dashboard::queries) {
        for selector in selectors(&query.expr) {
            shown.insert(selector.name.clone());
            wanted.insert(selector, query.place.clone());
        }
    }
    let mut unknown = Vec::new();
    for (selector, place) in wanted {
        let never = NEVER_SEEN.iter().any(|never| selector.text.contains(never));
        let asked = if never { &selector.any_value } else { &selector.text };
        if prometheus.series(asked).await == 0 {
            unknown.push((place, asked.clone()));
        }
    }
    assert!(unknown.is_empty(), "series that do not exist: {unknown:#?}");
    shown
}

/// Every metric of ours is on a dashboard: what nobody sees need not be counted.
async fn metrics_are_shown(prometheus: &Prometheus, shown: &BTreeSet<String>) {
    let names = prometheus.label_values("{job=~\"stampede-.+\"}", "__name__").await;
    let family = |name: &str| {
        ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name).to_owned()
    };
    let shown: BTreeSet<String> = shown.iter().map(|name| family(name)).collect();
    let hidden: BTreeSet<String> = names
        .iter()
        .filter(|name| name.starts_with("stampede_"))
        .map(|name| family(name))
        .filter(|name| !shown.contains(name))
        .collect();
    assert!(hidden.is_empty(), "no dashboard shows {hidden:?}");
}
