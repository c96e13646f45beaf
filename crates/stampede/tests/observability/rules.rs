//! The alert rules as files: Prometheus takes them, each is tried both ways, each has its runbook.

use std::collections::BTreeSet;
use std::process::Command;

use super::files::{files, read, root};

/// Runs promtool in the folder of Prometheus's files.
fn promtool(args: &[&str]) {
    let output = Command::new("promtool").args(args).current_dir(root().join("prometheus")).output();
    let output = output.expect("promtool, which comes with Prometheus: run ./scripts/test.sh, which installs it");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "promtool {args:?}:\n{text}");
}

fn promtool_on(args: &[&str], dir: &str) {
    let files = files(dir, "yml");
    let files: Vec<&str> = files.iter().map(|path| path.to_str().expect("a plain name")).collect();
    promtool(&[args, &files].concat());
}

/// The names after `key` in the lines of all files of a folder.
fn names(dir: &str, key: &str) -> Vec<String> {
    let named = |text: String| {
        text.lines().filter_map(|line| Some(line.trim().strip_prefix(key)?.to_owned())).collect::<Vec<_>>()
    };
    files(dir, "yml").into_iter().flat_map(|path| named(read(path))).collect()
}

fn alerts() -> BTreeSet<String> {
    let alerts = names("prometheus/rules", "- alert: ");
    let distinct: BTreeSet<String> = alerts.iter().cloned().collect();
    assert_eq!(distinct.len(), alerts.len(), "each alert has a name of its own");
    distinct
}

#[test]
fn prometheus_takes_the_rules_and_the_configurations() {
    promtool_on(&["check", "rules"], "prometheus/rules");
    promtool(&["check", "config", "prometheus.yml", "prometheus.swarm.yml"]);
}

#[test]
fn alerts_fire_when_they_should_and_only_then() {
    promtool_on(&["test", "rules"], "prometheus/tests");
}

#[test]
fn each_alert_is_tried_both_ways() {
    let (mut fires, mut quiet) = (BTreeSet::new(), BTreeSet::new());
    for file in files("prometheus/tests", "yml") {
        let text = read(&file);
        let rules = format!("../rules/{}", file.file_name().expect("a name").to_string_lossy());
        assert!(text.contains(&rules), "{} tests the rules of its name", file.display());
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            let Some(alert) = line.trim().strip_prefix("alertname: ") else { continue };
            let expected = match lines.next().map(str::trim) {
                Some("exp_alerts: []") => &mut quiet,
                Some("exp_alerts:") => &mut fires,
                other => panic!("{}: {alert}: what is expected comes next, not {other:?}", file.display()),
            };
            expected.insert(alert.to_owned());
        }
    }
    assert_eq!(fires, alerts(), "each alert fires in a test");
    assert_eq!(quiet, alerts(), "each alert is quiet in a test");
}

#[test]
fn each_alert_has_a_runbook_and_each_runbook_an_alert() {
    let page = read("docs/alerts.md");
    let runbooks: BTreeSet<String> =
        page.lines().filter_map(|line| line.strip_prefix("## ")).map(str::to_owned).collect();
    assert_eq!(runbooks, alerts());
    let urls: BTreeSet<String> = names("prometheus/rules", "runbook_url: ").into_iter().collect();
    let anchors = runbooks.iter().map(|name| format!("docs/alerts.md#{}", name.to_lowercase())).collect();
    assert_eq!(urls, anchors, "each alert leads to its own runbook");
    for runbook in page.split("\n## ").skip(1) {
        let name = runbook.lines().next().unwrap_or_default();
        for part in ["- **Means**", "- **Do**"] {
            assert!(runbook.contains(part), "{name} says {part}");
        }
    }
    for (word, other) in page.match_indices("Stampede").map(|(at, _)| {
        let rest = &page[at..];
        let length = rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len());
        (&rest[..length], &rest[length..])
    }) {
        let is_name = word == "Stampede" || runbooks.contains(word);
        assert!(is_name, "{word} is no alert: …{}", &other[..other.len().min(40)]);
    }
}

#[test]
fn each_alert_says_how_bad_it_is_and_what_it_saw() {
    let count = alerts().len();
    for key in ["summary: ", "description: ", "runbook_url: "] {
        assert_eq!(names("prometheus/rules", key).len(), count, "every alert has a {key}");
    }
    let severities = names("prometheus/rules", "labels: ");
    assert_eq!(severities.len(), count);
    for severity in severities {
        assert!(["{ severity: critical }", "{ severity: warning }"].contains(&&*severity), "{severity}");
    }
}
