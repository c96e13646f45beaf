//! Rate limits, from the settings to the metrics.

use std::time::{Duration, Instant};

use reqwest::StatusCode;

use super::support::{Dev, LIMIT, stampede};

#[tokio::test]
async fn a_limit_that_is_set_is_kept_and_counted() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut command = stampede(&["dev", "--no-demo", "--set", "rate_limit_user_per_s=1"]);
    command.env("STAMPEDE_RATE_LIMIT_FRONT_PER_S", "1").env("STAMPEDE_RATE_LIMIT_FRONT_BURST", "30");
    let dev = Dev::start_with(&mut command, dir.path());
    let (api, metrics_url) = (dev.api(), dev.address("Metrics "));
    let client = stampede_testkit::http_client().build().expect("a client");
    let metrics = async || {
        let answer = client.get(&metrics_url).send().await.expect("the admin listener answers");
        answer.text().await.expect("text")
    };
    let shown = metrics().await;
    for line in ["stampede_rate_limited_total{limiter=\"front\"} 0", "stampede_rate_limited_total{limiter=\"user\"} 0"]
    {
        assert!(shown.contains(line), "{line} before anything was limited:\n{shown}");
    }
    let mut limited = 0;
    let deadline = Instant::now() + LIMIT;
    loop {
        let (status, _, answer) = api.get("/drops").await;
        if status == StatusCode::TOO_MANY_REQUESTS {
            assert_eq!(answer["code"], "rate-limited");
            limited += 1;
            let shown = metrics().await;
            assert!(
                shown.contains(&format!("stampede_rate_limited_total{{limiter=\"front\"}} {limited}\n")),
                "{shown}"
            );
            if shown.contains("stampede_rate_limiter_keys{limiter=\"front\"} 1\n") {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(Instant::now() < deadline, "the limiter's key is not shown");
    }
    let shown = metrics().await;
    assert!(shown.contains("stampede_rate_limited_total{limiter=\"user\"} 0\n"), "{shown}");
    assert!(shown.contains("stampede_rate_limiter_keys{limiter=\"user\"} 0\n"), "{shown}");
    assert_eq!(dev.process.stop().code(), Some(0));
}
