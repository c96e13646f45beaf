//! Reading a page of metrics.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::support::LIMIT;

/// A page of metrics.
pub struct Page {
    pub content_type: String,
    pub text: String,
    /// Kind and help text of each family.
    pub families: BTreeMap<String, (String, String)>,
    pub samples: Vec<Sample>,
}

/// One line with a value.
pub struct Sample {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

impl Page {
    /// The page at this address.
    pub async fn read(url: &str) -> Self {
        let client = stampede_testkit::http_client().build().expect("a client");
        let answer = client.get(url).send().await.expect("an answer");
        assert_eq!(answer.status(), 200, "{url}");
        let content_type = answer.headers()["content-type"].to_str().expect("text").to_owned();
        Self::parse(content_type, answer.text().await.expect("text"))
    }

    /// The page at this address, once it says so.
    pub async fn once(url: &str, what: &str, mut says: impl FnMut(&Self) -> bool) -> Self {
        let deadline = Instant::now() + LIMIT;
        loop {
            let page = Self::read(url).await;
            if says(&page) {
                return page;
            }
            assert!(Instant::now() < deadline, "{what} is not shown:\n{}", page.text);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn parse(content_type: String, text: String) -> Self {
        let mut page = Self { content_type, text: String::new(), families: BTreeMap::new(), samples: Vec::new() };
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, help) = help.split_once(' ').expect("a help text");
                page.families.entry(name.to_owned()).or_default().1 = help.to_owned();
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').expect("a kind");
                page.families.entry(name.to_owned()).or_default().0 = kind.to_owned();
            } else {
                page.samples.push(Sample::parse(line));
            }
        }
        page.text = text;
        page
    }

    /// The values of the series of this name that have these labels among theirs.
    pub fn values(&self, name: &str, labels: &[(&str, &str)]) -> Vec<f64> {
        let has =
            |sample: &Sample| labels.iter().all(|(label, value)| sample.labels.get(*label).is_some_and(|v| v == value));
        self.samples.iter().filter(|sample| sample.name == name && has(sample)).map(|sample| sample.value).collect()
    }

    /// Their sum; `None` if there are none.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let values = self.values(name, labels);
        (!values.is_empty()).then(|| values.iter().sum())
    }

    /// The values that a label has in the series of this name.
    pub fn label(&self, name: &str, label: &str) -> BTreeSet<&str> {
        let samples = self.samples.iter().filter(|sample| sample.name == name);
        samples.filter_map(|sample| sample.labels.get(label).map(String::as_str)).collect()
    }

    /// Asserts that Prometheus's own tool finds nothing to say about the page.
    pub fn assert_checked(&self) {
        let mut command = Command::new("promtool");
        let mut child = command
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("promtool, which comes with Prometheus, is installed");
        child.stdin.take().expect("piped").write_all(self.text.as_bytes()).expect("written");
        let output = child.wait_with_output().expect("promtool ends");
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
    }
}

impl Sample {
    fn parse(line: &str) -> Self {
        let (series, value) = line.rsplit_once(' ').expect("a value");
        let (name, labels) = match series.split_once('{') {
            Some((name, labels)) => (name, labels.strip_suffix("\"}").expect("labels end")),
            None => (series, ""),
        };
        let labels = labels.split("\",").filter(|label| !label.is_empty()).map(|label| {
            let (label, value) = label.split_once("=\"").expect("a label");
            (label.to_owned(), value.to_owned())
        });
        Self { name: name.to_owned(), labels: labels.collect(), value: value.parse().expect("a number") }
    }
}
