//! The metrics of running processes, as Prometheus would read them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;

use reqwest::{Method, StatusCode};
use serde_json::json;

use super::scrape::Page;
use super::support::{Api, Dev, run, stampede};

/// What is on every page of every role, Redis or no Redis.
pub const ALWAYS: [&str; 8] = [
    "stampede_build_info",
    "stampede_redis_connected",
    "stampede_log_bound_orders",
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "process_open_fds",
    "stampede_tokio_workers",
    "stampede_tokio_busy_seconds_total",
];

/// A metric as docs/metrics.md has it: kind, labels, help text.
type Listed = (String, BTreeSet<String>, String);

fn listed() -> BTreeMap<String, Listed> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md");
    let page = std::fs::read_to_string(path).expect("the page is there");
    let rows = page.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [name, kind, labels, help] = cells[..] else { panic!("four cells: {row}") };
        let plain = |text: &str| text.replace('`', "");
        let labels = labels.split(", ").filter(|label| !label.is_empty()).map(plain).collect();
        (plain(name), (kind.to_owned(), labels, help.to_owned()))
    })
    .collect()
}

/// Asserts that everything on a page is listed, with its kind, its labels and its help text.
pub fn assert_listed(page: &Page) {
    let listed = listed();
    for (name, (kind, help)) in &page.families {
        let (listed_kind, _, listed_help) =
            listed.get(name).unwrap_or_else(|| panic!("{name} is not in docs/metrics.md"));
        assert_eq!((kind, help), (listed_kind, listed_help), "{name}");
    }
    for sample in &page.samples {
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| sample.name.strip_suffix(suffix));
        let family = family.filter(|name| listed.contains_key(*name)).unwrap_or(&sample.name);
        let labels: BTreeSet<String> = sample.labels.keys().filter(|label| *label != "le").cloned().collect();
        assert_eq!(labels, listed[family].1, "{}", sample.name);
    }
}

fn operator(dev: &Dev) -> Api {
    let token = std::fs::read_to_string(dev.dir.join("operator.token")).expect("dev writes it");
    dev.api().with_token(&token)
}

async fn create_drop(operator: &Api, id: &str, stock_units: u32, stripes: u16, starts_at: &str) {
    let body = json!({
        "id": id, "mode": "instant", "stock_units": stock_units, "stripes": stripes, "limit_per_user": 4, "cancellable_for_s": 600,
        "starts_at": starts_at, "ends_at": "2999-01-01T00:00:00Z",
        "product": {"sku": format!("SKU-{id}"), "name": id, "price": {"amount_minor": 100, "currency": "EUR"}},
    });
    let (status, drop) = operator.post("/drops", &body).await;
    assert_eq!(status, StatusCode::CREATED, "{drop}");
}

#[tokio::test]
async fn what_is_sold_is_counted() {
    let dir = tempfile::tempdir().expect("a folder");
    let dev = Dev::start(dir.path());
    create_drop(&operator(&dev), "friday", 5, 1, "2020-01-01T00:00:00Z").await;
    let [ann, bob, carl] = [dev.api(), dev.api(), dev.api()];
    let (ann, bob, carl) = (ann.sign_in("ann").await, bob.sign_in("bob").await, carl.sign_in("carl").await);
    let (status, _, order) = ann.order_units("friday", "ann-1", 2).await;
    assert_eq!(status, StatusCode::CREATED, "{order}");
    let asked = [
        (&ann, "ann-1", 2, StatusCode::CREATED),
        (&ann, "ann-2", 3, StatusCode::FORBIDDEN),
        (&bob, "bob-1", 1, StatusCode::CREATED),
        (&carl, "carl-1", 3, StatusCode::CONFLICT),
        (&carl, "carl-2", 2, StatusCode::CREATED),
        (&bob, "bob-2", 1, StatusCode::CONFLICT),
    ];
    for (shopper, key, units, expected) in asked {
        let (status, _, answer) = shopper.order_units("friday", key, units).await;
        assert_eq!(status, expected, "{key}: {answer}");
    }
    let order = format!("/orders/{}", order["id"].as_str().expect("an id"));
    assert_eq!(ann.delete(&order).await.0, StatusCode::OK);

    let stock = |page: &Page, state| page.sum("stampede_drop_stock_units", &[("drop_id", "friday"), ("state", state)]);
    // The drop was sold out, so its units are held for a moment.
    let back = |page: &Page| stock(page, "available") == Some(2.0);
    let page = Page::once(&dev.address("Metrics "), "the cancelled order", back).await;
    let state = |state| stock(&page, state);
    assert_eq!([state("total"), state("sold"), state("held")], [Some(5.0), Some(3.0), Some(0.0)]);
    let of_drop = |name| page.sum(name, &[("drop_id", "friday")]);
    assert_eq!(of_drop("stampede_drop_oversold_units"), Some(0.0));
    assert_eq!(of_drop("stampede_drop_unbalanced_units"), Some(0.0));
    assert_eq!(of_drop("stampede_drop_starts_at_seconds"), Some(1_577_836_800.0));
    let info = [("drop_id", "friday"), ("sku", "SKU-friday"), ("mode", "instant"), ("phase", "live")];
    assert_eq!(page.values("stampede_drop_info", &info), [1.0]);

    let outcome = |outcome| page.sum("stampede_orders_total", &[("outcome", outcome)]);
    let outcomes = ["granted", "replayed", "limit_reached", "insufficient_stock", "sold_out", "not_active"];
    assert_eq!(outcomes.map(outcome), [3.0, 1.0, 1.0, 1.0, 1.0, 0.0].map(Some));
    assert_eq!(page.label("stampede_orders_total", "outcome").len(), 14, "all are there from the start");
    assert_eq!(page.sum("stampede_ordered_units_total", &[]), Some(5.0));
    assert_eq!(page.sum("stampede_group_orders_sum", &[]), Some(7.0));
    assert_eq!(page.sum("stampede_group_wait_duration_seconds_count", &[]), Some(7.0));
    assert_eq!(page.sum("stampede_group_queue_orders", &[]), Some(0.0));
    let grants = page.sum("stampede_redis_operations_total", &[("operation", "sale/grant"), ("outcome", "ok")]);
    assert_eq!(grants, page.sum("stampede_redis_operation_duration_seconds_count", &[("operation", "sale/grant")]));
    assert_eq!(grants, Some(7.0), "one after the other, each order is a group");

    let answered =
        |status| page.sum("stampede_http_requests_total", &[("route", "/api/v1/orders"), ("status", status)]);
    assert_eq!(["201", "403", "409"].map(answered), [4.0, 1.0, 2.0].map(Some));
    for sample in page.samples.iter().filter(|sample| sample.name == "stampede_http_requests_total") {
        let labels: Vec<_> = sample.labels.iter().map(|(label, value)| (label.as_str(), value.as_str())).collect();
        assert_eq!(page.values("stampede_http_request_duration_seconds_count", &labels), [sample.value], "{labels:?}");
    }
    assert_eq!(page.sum("stampede_http_requests_in_flight", &[]), Some(0.0));

    // Both drops' openings, friday's three orders, the cancellation: each an entry of its own, and archived by and by.
    let archived = |page: &Page| page.sum("stampede_archived_facts_total", &[]).is_some_and(|facts| facts >= 6.0);
    let page = Page::once(&dev.address("Metrics "), "what was archived", archived).await;
    assert!(page.sum("stampede_persister_lag_seconds_count", &[]) >= Some(6.0));
    let inserted = page.sum("stampede_archive_operations_total", &[("operation", "insert_facts"), ("outcome", "ok")]);
    assert!(inserted >= Some(1.0), "{inserted:?}");
    assert_eq!(dev.process.stop().code(), Some(0));
}

#[tokio::test]
async fn units_that_move_between_stripes_are_counted() {
    let dir = tempfile::tempdir().expect("a folder");
    let dev = Dev::start(dir.path());
    create_drop(&operator(&dev), "friday", 4, 2, "2020-01-01T00:00:00Z").await;
    create_drop(&operator(&dev), "monday", 4, 1, "2020-01-01T00:00:00Z").await;
    let shopper = dev.api().sign_in("ann").await;
    for id in ["friday", "monday"] {
        let (status, _, answer) = shopper.order_units(id, id, 4).await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
    }
    let moved = |page: &Page, end| page.sum("stampede_transferred_units_total", &[("end", end)]);
    let on_their_way = |page: &Page| page.sum("stampede_drop_in_transit_units", &[("drop_id", "friday")]);
    let arrived = |page: &Page| on_their_way(page) == Some(0.0);
    let page = Page::once(&dev.address("Metrics "), "what is on its way", arrived).await;
    assert_eq!([moved(&page, "sent"), moved(&page, "received")], [Some(2.0); 2], "each stripe had two");
    assert_eq!(
        page.label("stampede_drop_in_transit_units", "drop_id"),
        BTreeSet::from(["friday"]),
        "no other is striped"
    );
    assert_eq!(dev.process.stop().code(), Some(0));
}

#[tokio::test]
async fn every_metric_is_shown_as_the_page_describes_it() {
    let dir = tempfile::tempdir().expect("a folder");
    // Limiters count when they are on; here so wide that nobody meets them. Spans are counted though nobody takes them.
    let limits = ["rate_limit_front_per_s=100000", "rate_limit_user_per_s=100000"];
    let set = ["reconcile_period_ms=200", limits[0], limits[1], "otlp_endpoint=http://127.0.0.1:1"];
    let dev = Dev::start_with(stampede(&["dev"]).args(set.map(|set| format!("--set={set}"))), dir.path());
    // Of a drop with stripes it is also told what is on its way.
    create_drop(&operator(&dev), "friday", 5, 2, "2020-01-01T00:00:00Z").await;
    let shopper = dev.api().sign_in("ann").await;
    assert_eq!(shopper.order("friday", "once").await.0, StatusCode::CREATED);
    // What is no HTTP is counted too.
    let address = dev.address("API ").replace("http://", "").replace("/api/v1", "");
    let mut rude = TcpStream::connect(address).expect("a connection");
    rude.write_all(b"nonsense\r\n\r\n").expect("sent");
    rude.read_to_end(&mut Vec::new()).expect("an answer, and the end");

    let listed: BTreeSet<String> = listed().into_keys().collect();
    let shown = |page: &Page| page.families.keys().cloned().collect::<BTreeSet<_>>() == listed;
    let page = Page::once(&dev.address("Metrics "), &format!("each of {listed:?}"), shown).await;
    assert_listed(&page);
    page.assert_checked();
    assert_eq!(page.content_type, "text/plain; version=0.0.4; charset=utf-8");
    assert_eq!(page.values("stampede_build_info", &[("role", "dev"), ("version", env!("CARGO_PKG_VERSION"))]), [1.0]);
    for must_stay_0 in
        ["stampede_log_lost_entries_total", "stampede_refused_facts_total", "stampede_scrape_errors_total"]
    {
        assert_eq!(page.sum(must_stay_0, &[]), Some(0.0), "{must_stay_0}");
    }
    assert_eq!(page.values("stampede_reconcile_drift_units", &[]), [0.0; 16]);
    assert_eq!(dev.process.stop().code(), Some(0));
}

#[tokio::test]
async fn labels_do_not_grow_with_what_clients_send() {
    let dir = tempfile::tempdir().expect("a folder");
    let dev = Dev::start(dir.path());
    let client = stampede_testkit::http_client().build().expect("a client");
    let (api, metrics) = (dev.address("API "), dev.address("Metrics "));
    let send = async |method: &str, path: String| {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        client.request(method, format!("{api}/{path}")).send().await.expect("an answer")
    };
    for method in ["GET", "PROPFIND"] {
        send(method, "nowhere".to_owned()).await;
        send(method, "drops/none".to_owned()).await;
        send(method, "products/none/sale-status".to_owned()).await;
    }
    let requests = |page: &Page| page.values("stampede_http_requests_total", &[]).len();
    let before = Page::read(&metrics).await;
    for number in 0..20 {
        send("GET", format!("nowhere/{number}")).await;
        send("GET", format!("drops/none-{number}?phase={number}")).await;
        send("GET", format!("products/none-{number}/sale-status")).await;
        send(&format!("VERB{number}"), format!("drops/{number}")).await;
    }
    let after = Page::read(&metrics).await;
    assert_eq!(requests(&after), requests(&before), "{}", after.text);
    let counted = |page: &Page| page.sum("stampede_http_requests_total", &[]);
    assert_eq!(counted(&after), counted(&before).map(|requests| requests + 80.0));
    assert_eq!(dev.process.stop().code(), Some(0));
}

#[tokio::test]
async fn only_as_many_drops_are_shown_as_the_setting_allows_and_none_that_is_purged() {
    let dir = tempfile::tempdir().expect("a folder");
    let dev = Dev::start_with(&mut stampede(&["dev", "--set", "metrics_drops_max=2"]), dir.path());
    let (operator, metrics) = (operator(&dev), dev.address("Metrics "));
    for number in 0..12 {
        create_drop(&operator, &format!("later-{number}"), 1, 1, "2998-01-01T00:00:00Z").await;
    }
    create_drop(&operator, "friday", 5, 1, "2020-01-01T00:00:00Z").await;
    let drops = |page: &Page| -> Vec<String> {
        page.label("stampede_drop_stock_units", "drop_id").into_iter().map(str::to_owned).collect()
    };
    let on_sale = ["demo", "friday"];
    let page = Page::once(&metrics, "what is on sale", |page| drops(page) == on_sale).await;
    assert_eq!(page.sum("stampede_drops_not_shown", &[]), Some(12.0));
    assert_eq!(page.values("stampede_drop_info", &[]).len(), 2);

    assert_eq!(operator.post("/drops/friday/cancel", &json!({})).await.0, StatusCode::OK);
    let page = Page::once(&metrics, "what follows", |page| drops(page) != on_sale).await;
    assert!(drops(&page)[1].starts_with("later-"), "{:?}", drops(&page));
    assert_eq!(page.sum("stampede_drops_not_shown", &[]), Some(12.0), "friday among them");
    while run(stampede(&["purge", "--drop", "friday", "--dir"]).arg(dir.path())).0 != Some(0) {}
    Page::once(&metrics, "one drop less", |page| page.sum("stampede_drops_not_shown", &[]) == Some(11.0)).await;
    assert_eq!(dev.process.stop().code(), Some(0));
}
