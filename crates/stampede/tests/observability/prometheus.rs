//! A real Prometheus that scrapes the processes of a test, and what it can be asked.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::time::{Duration, Instant};

use reqwest::{Client, Url};
use serde_json::Value;
use stampede_testkit::{Program, free_port};
use tempfile::TempDir;

use super::files::root;
use super::support::LIMIT;

/// How often a question is asked again that has no answer yet.
const AGAIN: Duration = Duration::from_millis(200);

pub struct Prometheus {
    client: Client,
    base: String,
    dir: TempDir,
    _program: Program,
}

/// A rule as Prometheus has it.
pub struct Rule {
    pub name: String,
    pub expr: String,
    /// `ok` once it was evaluated without an error.
    pub health: String,
    /// Whether it fires as soon as it is true.
    pub fires_at_once: bool,
}

impl Prometheus {
    /// Starts one with the rules of the repository, which scrapes these jobs every second.
    pub async fn start(jobs: &[(&str, u16)]) -> Self {
        let dir = tempfile::Builder::new().prefix("stampede-prometheus-").tempdir().expect("a folder");
        let mut config = format!(
            "global:\n  scrape_interval: 1s\n  scrape_timeout: 1s\n  evaluation_interval: 1s\nrule_files: [\"{}/prometheus/rules/*.yml\"]\nscrape_configs:\n",
            root().display()
        );
        for (job, port) in jobs {
            config += &format!("- job_name: {job}\n  static_configs: [{{ targets: [\"127.0.0.1:{port}\"] }}]\n");
        }
        fs::write(dir.path().join("prometheus.yml"), config).expect("a configuration");
        let listen = format!("127.0.0.1:{}", free_port());
        let log = File::create(dir.path().join("log")).expect("a log");
        let program = Program::start("prometheus", |command| {
            command.arg(format!("--config.file={}", dir.path().join("prometheus.yml").display()));
            command.arg(format!("--storage.tsdb.path={}", dir.path().join("data").display()));
            command.arg(format!("--web.listen-address={listen}")).stderr(log);
        });
        let program = program.expect("Prometheus: run ./scripts/test.sh, which installs it");
        let prometheus = Self {
            client: stampede_testkit::http_client().build().expect("a client"),
            base: format!("http://{listen}"),
            dir,
            _program: program,
        };
        let ready = format!("{}/-/ready", prometheus.base);
        let deadline = Instant::now() + LIMIT;
        while !prometheus.client.get(&ready).send().await.is_ok_and(|answer| answer.status().is_success()) {
            assert!(Instant::now() < deadline, "Prometheus does not start:\n{}", prometheus.log());
            tokio::time::sleep(AGAIN).await;
        }
        prometheus
    }

    /// The values of an expression now; those that are no number are left out.
    pub async fn query(&self, expr: &str) -> Result<Vec<f64>, String> {
        let data = self.ask("query", &[("query", expr)]).await?;
        let result = data["result"].as_array().cloned().unwrap_or_default();
        let value = |sample: &Value| sample["value"][1].as_str().and_then(|text| text.parse::<f64>().ok());
        Ok(result.iter().filter_map(value).filter(|value| !value.is_nan()).collect())
    }

    /// How many series there are, or were since it runs.
    pub async fn series(&self, selector: &str) -> usize {
        self.ask("series", &[("match[]", selector)]).await.expect("a selector").as_array().map_or(0, Vec::len)
    }

    /// The values that a label has.
    pub async fn label_values(&self, selector: &str, label: &str) -> Vec<String> {
        let data = self.ask(&format!("label/{label}/values"), &[("match[]", selector)]).await.expect("a selector");
        let values = data.as_array().cloned().unwrap_or_default();
        values.iter().filter_map(|value| value.as_str().map(str::to_owned)).collect()
    }

    /// Every rule that was loaded.
    pub async fn rules(&self) -> Vec<Rule> {
        let data = self.ask("rules", &[]).await.expect("the rules");
        let groups = data["groups"].as_array().cloned().unwrap_or_default();
        let rules = groups.iter().flat_map(|group| group["rules"].as_array().cloned().unwrap_or_default());
        let text = |rule: &Value, field: &str| rule[field].as_str().unwrap_or_default().to_owned();
        rules
            .map(|rule| Rule {
                name: text(&rule, "name"),
                expr: text(&rule, "query"),
                health: text(&rule, "health"),
                fires_at_once: rule["duration"].as_f64() == Some(0.0),
            })
            .collect()
    }

    /// The alerts that fire.
    pub async fn firing(&self) -> BTreeSet<String> {
        let data = self.ask("alerts", &[]).await.expect("the alerts");
        let firing = data["alerts"].as_array().into_iter().flatten().filter(|alert| alert["state"] == "firing");
        firing.map(|alert| alert["labels"]["alertname"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Waits until an expression has a value.
    pub async fn wait_for(&self, expr: &str) {
        let deadline = Instant::now() + LIMIT;
        while self.query(expr).await.unwrap_or_else(|error| panic!("{expr}: {error}")).is_empty() {
            assert!(Instant::now() < deadline, "{expr} has no value");
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn ask(&self, what: &str, params: &[(&str, &str)]) -> Result<Value, String> {
        let url = format!("{}/api/v1/{what}", self.base);
        let url = Url::parse_with_params(&url, params).expect("an address");
        let mut answer: Value = self.client.get(url).send().await.expect("an answer").json().await.expect("JSON");
        match answer["status"].as_str() {
            Some("success") => Ok(answer["data"].take()),
            _ => Err(answer["error"].to_string()),
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}
