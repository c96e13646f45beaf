//! The metrics of an api and a worker while the stores beneath them fail.

use std::process::Command;

use futures_util::future::join_all;
use reqwest::StatusCode;
use stampede_testkit::{Redis, SqliteFault, free_port};
use tempfile::TempDir;

use super::metrics::{ALWAYS, assert_listed};
use super::scrape::Page;
use super::support::{Api, Running, run, stampede};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// An api and a worker with the drop `friday`, of three units.
struct Deployment {
    redis: Redis,
    archive: String,
    shop: Api,
    /// Where the metrics of the api and of the worker are.
    api_metrics: String,
    worker_metrics: String,
    _roles: [Running; 2],
    _dir: TempDir,
}

impl Deployment {
    async fn start() -> Self {
        let (redis, dir) = (Redis::start().await, tempfile::tempdir().expect("a folder"));
        let archive = format!("sqlite:{}", dir.path().join("archive.db").display());
        let [origin, api_admin, worker_admin] = [(); 3].map(|()| format!("127.0.0.1:{}", free_port()));
        let role = |args: &[&str], admin: &str| -> Command {
            let mut command = stampede(args);
            command.env("STAMPEDE_REDIS_URL", redis.url()).env("STAMPEDE_ARCHIVE_URL", &archive);
            command.env("STAMPEDE_TOKEN_SECRET", SECRET).env("STAMPEDE_SIGN_IN", "handle").env("STAMPEDE_LOG", "error");
            command.env("STAMPEDE_ADMIN_LISTEN", admin).env("API_URL", format!("http://{origin}"));
            command
        };
        assert_eq!(run(&mut role(&["migrate"], &api_admin)).0, Some(0));
        let roles = [
            Running::start(&mut role(&["api", "--listen", &origin], &api_admin)),
            Running::start(&mut role(&["worker"], &worker_admin)),
        ];
        let shop = Api::new(&format!("http://{origin}/api/v1"));
        shop.wait_until_ready().await;
        let seed = ["seed", "--units", "3", "--limit", "2", "--drop-id", "friday"];
        let (code, _, stderr) = run(&mut role(&seed, &api_admin));
        assert_eq!(code, Some(0), "{stderr}");
        let [api_metrics, worker_metrics] = [api_admin, worker_admin].map(|admin| format!("http://{admin}/metrics"));
        let shop = shop.sign_in("ann").await;
        Self { redis, archive, shop, api_metrics, worker_metrics, _roles: roles, _dir: dir }
    }

    /// Changes a field of the drop behind the scripts' back.
    fn damage(&self, id: &str, field: &str, value: &str) {
        let key = self.redis.cli(&["KEYS", &format!("*:drop:{id}")]);
        self.redis.cli(&["HSET", key.trim(), field, value]);
    }
}

fn figures(page: &Page) -> usize {
    page.values("stampede_drop_stock_units", &[]).len() + page.values("stampede_log_entries", &[]).len()
}

#[tokio::test]
async fn a_redis_that_is_away_takes_only_its_own_figures_along() {
    let mut deployment = Deployment::start().await;
    let shown = |page: &Page| figures(page) == 4 + 8;
    let page = Page::once(&deployment.worker_metrics, "one drop and eight shards", shown).await;
    assert_eq!(page.sum("stampede_redis_connected", &[]), Some(1.0));
    assert_eq!(page.values("stampede_build_info", &[("role", "worker")]), [1.0]);
    assert_eq!(page.sum("stampede_shard_epoch", &[]), Some(8.0));
    page.assert_checked();
    assert_listed(&page);
    let page = Page::read(&deployment.api_metrics).await;
    assert_eq!((figures(&page), page.sum("stampede_redis_connected", &[])), (0, Some(1.0)));
    assert_eq!(page.values("stampede_build_info", &[("role", "api")]), [1.0]);
    page.assert_checked();
    assert_listed(&page);

    deployment.redis.kill().await;
    for metrics in [&deployment.worker_metrics, &deployment.api_metrics] {
        let gone = |page: &Page| page.sum("stampede_redis_connected", &[]) == Some(0.0) && figures(page) == 0;
        let page = Page::once(metrics, "that Redis is away", gone).await;
        for name in ALWAYS {
            assert!(page.families.contains_key(name), "{name} in:\n{}", page.text);
        }
        page.assert_checked();
        assert_listed(&page);
    }
    let failed =
        |page: &Page| ["drops", "shards"].map(|what| page.sum("stampede_scrape_errors_total", &[("reading", what)]));
    let page = Page::once(&deployment.worker_metrics, "errors", |page| failed(page) >= [Some(1.0); 2]).await;
    assert_eq!(page.content_type, "text/plain; version=0.0.4; charset=utf-8");

    deployment.redis.restart().await;
    let page = Page::once(&deployment.worker_metrics, "all figures", shown).await;
    assert_eq!(page.sum("stampede_redis_connected", &[]), Some(1.0));
    assert!(page.sum("stampede_shard_epoch", &[]) >= Some(16.0), "each shard was recovered");
    assert!(page.sum("stampede_recoveries_total", &[("outcome", "finished")]) >= Some(16.0));
}

#[tokio::test]
async fn a_redis_that_stands_still_holds_no_page_up() {
    let deployment = Deployment::start().await;
    Page::once(&deployment.worker_metrics, "one drop and eight shards", |page| figures(page) == 4 + 8).await;
    // The api knows the drop from now on.
    assert_eq!(deployment.shop.order("friday", "a").await.0, StatusCode::CREATED);
    deployment.redis.freeze();
    let gone = |page: &Page| figures(page) == 0 && page.sum("stampede_scrape_errors_total", &[]) >= Some(2.0);
    Page::once(&deployment.worker_metrics, "that nothing could be read", gone).await;
    let lost = |page: &Page| page.sum("stampede_redis_operations_total", &[("outcome", "lost")]) >= Some(1.0);
    Page::once(&deployment.worker_metrics, "lost answers", lost).await;
    // One order is on its way to Redis; the others gather behind it.
    let queued = |page: &Page| page.sum("stampede_group_queue_orders", &[]) >= Some(1.0);
    let orders = ["a", "b", "c"].map(|key| deployment.shop.order("friday", key));
    let thaw = async {
        Page::once(&deployment.api_metrics, "orders that wait", queued).await;
        deployment.redis.thaw();
    };
    tokio::join!(join_all(orders), thaw);
    let answered = |page: &Page| page.sum("stampede_group_queue_orders", &[]) == Some(0.0);
    Page::once(&deployment.api_metrics, "that none waits", answered).await;
    Page::once(&deployment.worker_metrics, "all figures", |page| figures(page) == 4 + 8).await;
}

#[tokio::test]
async fn those_who_ask_together_are_shown_one_reading() {
    let deployment = Deployment::start().await;
    let readings = |page: &Page| page.sum("stampede_redis_operations_total", &[("operation", "log/status")]);
    let before = Page::once(&deployment.worker_metrics, "a reading", |page| readings(page) >= Some(8.0)).await;
    let pages = join_all((0..10).map(|_| Page::read(&deployment.worker_metrics))).await;
    let after = pages.iter().filter_map(readings).fold(0.0, f64::max);
    let each_by_itself = readings(&before).map(|readings| readings + 10.0 * 8.0);
    assert!(Some(after) < each_by_itself, "{after}, {each_by_itself:?}");
}

#[tokio::test]
async fn damage_to_a_drop_shows_and_hides_no_other() {
    let deployment = Deployment::start().await;
    let (status, _, order) = deployment.shop.order_units("friday", "once", 2).await;
    assert_eq!(status, StatusCode::CREATED, "{order}");
    let of_drop = |page: &Page, name: &str| page.sum(name, &[("drop_id", "friday")]);
    Page::once(&deployment.worker_metrics, "the sold units", |page| {
        page.sum("stampede_drop_stock_units", &[("drop_id", "friday"), ("state", "sold")]) == Some(2.0)
    })
    .await;

    deployment.damage("friday", "total", "1");
    let oversold = |page: &Page| of_drop(page, "stampede_drop_oversold_units") == Some(1.0);
    let page = Page::once(&deployment.worker_metrics, "an oversold unit", oversold).await;
    assert_eq!(of_drop(&page, "stampede_drop_unbalanced_units"), Some(2.0));

    deployment.damage("friday", "available", "-1");
    let unreadable = |page: &Page| page.sum("stampede_scrape_errors_total", &[("reading", "drops")]) >= Some(1.0);
    let page = Page::once(&deployment.worker_metrics, "that the drop cannot be read", unreadable).await;
    assert_eq!(of_drop(&page, "stampede_drop_oversold_units"), None);
    assert_eq!(page.values("stampede_log_entries", &[]).len(), 8);
}

#[tokio::test]
async fn an_archive_that_is_away_shows_as_what_waits_for_it() {
    let deployment = Deployment::start().await;
    let fault = SqliteFault::open(&deployment.archive);
    fault.lock();
    let (status, _, order) = deployment.shop.order_units("friday", "once", 2).await;
    assert_eq!(status, StatusCode::CREATED, "{order}");
    // The drop's own entries may wait beside the order's.
    let waits = |page: &Page| {
        let refused = [("operation", "insert_facts"), ("outcome", "unavailable")];
        page.sum("stampede_archive_operations_total", &refused) >= Some(1.0)
            && page.sum("stampede_archive_failures_total", &[]) >= Some(1.0)
            && page.sum("stampede_log_backlog_orders", &[]) == Some(1.0)
            && page.sum("stampede_log_pending_entries", &[]) >= Some(1.0)
    };
    let page = Page::once(&deployment.worker_metrics, "what waits", waits).await;
    assert!(page.sum("stampede_log_entries", &[]) >= page.sum("stampede_log_pending_entries", &[]));
    assert!(page.sum("stampede_log_oldest_age_seconds", &[]) > Some(0.0));
    assert!(page.sum("stampede_log_backlog_bytes", &[]) > Some(0.0));
    fault.unlock();
    let page = Page::once(&deployment.worker_metrics, "an empty log", |page| {
        page.sum("stampede_log_entries", &[]) == Some(0.0)
    })
    .await;
    assert_eq!(page.sum("stampede_log_backlog_orders", &[]), Some(0.0));
}
