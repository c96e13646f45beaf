//! The dashboards as files: Grafana can show them, and every reference in them leads somewhere.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use serde_json::Value;

use super::files::{files, read};

/// What every panel and query names as its data source: the one that was chosen at the top of the dashboard.
const DATASOURCE: &str = "${datasource}";
/// Variables that Grafana sets itself, and what stands for them here: the time that the proof's sale takes.
const BUILT_IN: [(&str, &str); 2] = [("__rate_interval", "2m"), ("__range", "2m")];

pub struct Dashboard {
    pub name: String,
    pub json: Value,
}

/// A query of a panel.
pub struct Query {
    /// Where it stands: dashboard, panel, letter.
    pub place: String,
    /// The expression, as Grafana would send it with everything chosen.
    pub expr: String,
}

/// A variable that asks Prometheus for a label's values.
pub struct LabelValues {
    pub place: String,
    pub selector: String,
    pub label: String,
}

/// All dashboards of the repository.
pub fn all() -> Vec<Dashboard> {
    let load = |path: &std::path::PathBuf| {
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let json = serde_json::from_str(&read(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Dashboard { name, json }
    };
    files("grafana/dashboards", "json").iter().map(load).collect()
}

impl Dashboard {
    fn items(&self, pointer: &str) -> &[Value] {
        self.json.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    /// The panels that show something.
    fn panels(&self) -> impl Iterator<Item = &Value> {
        self.items("/panels").iter().filter(|panel| panel["type"] != "row")
    }

    fn variables(&self) -> &[Value] {
        self.items("/templating/list")
    }

    /// Every query of every panel.
    pub fn queries(&self) -> Vec<Query> {
        let mut queries = Vec::new();
        for panel in self.panels() {
            for target in panel["targets"].as_array().expect("targets") {
                let place = format!("{}: {} ({})", self.name, text(&panel["title"]), text(&target["refId"]));
                queries.push(Query { place, expr: self.substitute(text(&target["expr"])) });
            }
        }
        queries
    }

    /// The variables whose values Prometheus knows.
    pub fn label_values(&self) -> Vec<LabelValues> {
        let queried = self.variables().iter().filter(|variable| variable["type"] == "query");
        let parse = |variable: &Value| {
            let query = text(&variable["query"]["query"]);
            let inner = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
            let (selector, label) = inner
                .and_then(|inner| inner.rsplit_once(", "))
                .unwrap_or_else(|| panic!("{query}: label_values(metric, label)"));
            let place = format!("{}: ${}", self.name, text(&variable["name"]));
            LabelValues { place, selector: selector.to_owned(), label: label.to_owned() }
        };
        queried.map(parse).collect()
    }

    /// Puts in what Grafana does while "All" is chosen everywhere.
    fn substitute(&self, expr: &str) -> String {
        let all = |variable: &Value| {
            (text(&variable["name"]).to_owned(), variable["allValue"].as_str().unwrap_or_default().to_owned())
        };
        let mut values: HashMap<String, String> = self.variables().iter().map(all).collect();
        values.extend(BUILT_IN.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let mut out = String::new();
        let mut rest = expr;
        while let Some((before, after)) = rest.split_once('$') {
            let length = after.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(after.len());
            let (name, next) = after.split_at(length);
            let value = values.get(name).unwrap_or_else(|| panic!("{}: ${name} is no variable", self.name));
            out.push_str(before);
            out.push_str(value);
            rest = next;
        }
        out + rest
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[test]
fn grafanas_schema_allows_every_dashboard() {
    static SCHEMA: LazyLock<Value> =
        LazyLock::new(|| serde_json::from_str(&read("grafana/schema/dashboard.schema.json")).expect("a schema"));
    let whole = jsonschema::validator_for(&SCHEMA).expect("a schema");
    let kinds = SCHEMA.pointer("/definitions/DashboardFile/properties/panels/items/anyOf").and_then(Value::as_array);
    let kinds: HashMap<&str, jsonschema::Validator> = kinds
        .expect("the kinds of panels")
        .iter()
        .map(|kind| (text(&kind["properties"]["type"]["const"]), jsonschema::validator_for(kind).expect("a schema")))
        .collect();
    for dashboard in all() {
        // A panel is held to its own kind first, as the whole says only that no kind fits.
        for panel in dashboard.items("/panels") {
            let kind = text(&panel["type"]);
            let schema = kinds.get(kind).unwrap_or_else(|| panic!("{}: {kind} is no known panel", dashboard.name));
            let errors: Vec<String> =
                schema.iter_errors(panel).map(|error| format!("{}: {error}", error.instance_path())).collect();
            assert!(errors.is_empty(), "{}: {}: {errors:#?}", dashboard.name, panel["title"]);
        }
        let errors: Vec<String> =
            whole.iter_errors(&dashboard.json).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(errors.is_empty(), "{}: {errors:#?}", dashboard.name);
    }
}

#[test]
fn the_schema_refuses_what_grafana_does_not_know() {
    let schema: Value = serde_json::from_str(&read("grafana/schema/dashboard.schema.json")).expect("a schema");
    let schema = jsonschema::validator_for(&schema).expect("a schema");
    let spoil: [fn(&mut Value); 4] = [
        |json| json["refesh"] = "5s".into(),
        |json| json["panels"][1]["options"]["colorMode"] = "loud".into(),
        |json| json["panels"][1]["fieldConfig"]["defaults"]["color"]["mode"] = "rainbow".into(),
        |json| json["templating"]["list"][1]["type"] = "guess".into(),
    ];
    for spoil in spoil {
        let mut json = all().remove(0).json;
        assert!(schema.is_valid(&json));
        spoil(&mut json);
        assert!(!schema.is_valid(&json));
    }
}

#[test]
fn every_panel_says_what_it_shows_and_in_which_unit() {
    for dashboard in all() {
        let mut titles = HashSet::new();
        for panel in dashboard.panels() {
            let place = format!("{}: {}", dashboard.name, panel["title"]);
            assert!(titles.insert(text(&panel["title"])), "{place}: two panels have this title");
            for field in ["/title", "/description", "/fieldConfig/defaults/unit"] {
                assert!(panel.pointer(field).is_some_and(|value| !text(value).is_empty()), "{place} has no {field}");
            }
            assert!(text(&panel["description"]).ends_with('.'), "{place}: a description is made of sentences");
            let targets = panel["targets"].as_array().expect("targets");
            assert!(!targets.is_empty(), "{place} asks nothing");
            let letters: HashSet<&str> = targets.iter().map(|target| text(&target["refId"])).collect();
            assert_eq!(letters.len(), targets.len(), "{place}: each query has a letter of its own");
            for value in targets.iter().map(|target| &target["datasource"]).chain([&panel["datasource"]]) {
                assert_eq!((text(&value["type"]), text(&value["uid"])), ("prometheus", DATASOURCE), "{place}");
            }
        }
    }
}

#[test]
fn panels_have_ids_and_places_of_their_own() {
    for dashboard in all() {
        let (mut ids, mut taken) = (HashSet::new(), HashSet::new());
        for panel in dashboard.items("/panels") {
            let place = format!("{}: {}", dashboard.name, panel["title"]);
            assert!(ids.insert(panel["id"].as_u64().expect("an id")), "{place}: another panel has its id");
            if panel["type"] == "row" {
                assert_eq!(panel["panels"], Value::Array(Vec::new()), "{place}: a row is open, its panels follow it");
            }
            let side = |name: &str| panel["gridPos"][name].as_u64().expect("a place");
            assert!(side("x") + side("w") <= 24, "{place} is too wide");
            for x in side("x")..side("x") + side("w") {
                for y in side("y")..side("y") + side("h") {
                    assert!(taken.insert((x, y)), "{place} covers another panel");
                }
            }
        }
    }
}

#[test]
fn variables_and_links_lead_somewhere() {
    let dashboards = all();
    let mut uids = HashSet::new();
    for dashboard in &dashboards {
        let (name, json) = (&dashboard.name, &dashboard.json);
        assert_eq!(json["uid"], format!("stampede-{name}"), "links to it outlive a change of its title");
        assert!(uids.insert(text(&json["uid"])));
        assert_eq!((&json["refresh"], &json["time"]["from"]), (&"5s".into(), &"now-15m".into()), "{name}");
        let exprs: Vec<&str> = dashboard
            .panels()
            .flat_map(|panel| panel["targets"].as_array().expect("targets"))
            .map(|target| text(&target["expr"]))
            .collect();
        let variables: Vec<&str> = dashboard.variables().iter().map(|variable| text(&variable["name"])).collect();
        assert_eq!(variables.first(), Some(&"datasource"), "{name}");
        for variable in &variables[1..] {
            let used = format!("\"${variable}\"");
            assert!(exprs.iter().any(|expr| expr.contains(&used)), "{name}: no query uses ${variable}");
        }
        // A variable that does not exist fails here.
        dashboard.queries();
        for variable in dashboard.variables().iter().filter(|variable| variable["type"] == "query") {
            assert_eq!(variable["datasource"]["uid"], DATASOURCE, "{name}");
            assert_eq!((&variable["allValue"], &variable["includeAll"]), (&".+".into(), &true.into()), "{name}");
        }
        for link in dashboard.items("/links") {
            let tags: Vec<&str> = link["tags"].as_array().expect("tags").iter().map(text).collect();
            let led: Vec<&str> = dashboards
                .iter()
                .filter(|other| tags.iter().all(|tag| other.items("/tags").iter().any(|found| found == tag)))
                .map(|other| &*other.name)
                .collect();
            assert_eq!((text(&link["type"]), led.len()), ("dashboards", dashboards.len()), "{name}: {led:?}");
        }
        assert!(!dashboard.items("/links").is_empty(), "{name} leads to the others");
    }
}

#[test]
fn grafana_is_given_the_data_source_and_the_folder_that_the_dashboards_name() {
    let source = read("grafana/provisioning/datasources/prometheus.yaml");
    for dashboard in all() {
        let uid = text(&dashboard.variables()[0]["current"]["value"]);
        assert!(source.contains(&format!("uid: {uid}\n")), "{}: {uid}", dashboard.name);
    }
    assert!(read("grafana/provisioning/dashboards/stampede.yaml").contains("path: /var/lib/grafana/dashboards\n"));
    // Grafana makes a rate's interval of it: with another one, rates are empty or blurred.
    for config in ["prometheus/prometheus.yml", "prometheus/prometheus.swarm.yml"] {
        let interval =
            read(config).lines().find_map(|line| line.trim().strip_prefix("scrape_interval: ").map(str::to_owned));
        assert!(source.contains(&format!("timeInterval: {}\n", interval.expect("an interval"))), "{config}");
    }
}
