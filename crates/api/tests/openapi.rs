//! The description of the API, as clients may rely on it.

use std::collections::BTreeMap;

use serde_json::Value;

/// Every route of the contract, and whether it needs a token.
const ROUTES: &[(&str, &str, bool)] = &[
    ("/api/v1/drops", "get", false),
    ("/api/v1/drops", "post", true),
    ("/api/v1/drops/{id}", "get", false),
    ("/api/v1/drops/{id}", "patch", true),
    ("/api/v1/drops/{id}/cancel", "post", true),
    ("/api/v1/drops/{id}/close", "post", true),
    ("/api/v1/drops/{id}/pause", "post", true),
    ("/api/v1/drops/{id}/restock", "post", true),
    ("/api/v1/drops/{id}/resume", "post", true),
    ("/api/v1/drops/{id}/stock", "get", false),
    ("/api/v1/orders", "get", true),
    ("/api/v1/orders", "post", true),
    ("/api/v1/orders/{id}", "delete", true),
    ("/api/v1/orders/{id}", "get", true),
    ("/api/v1/products", "get", false),
    ("/api/v1/products", "post", true),
    ("/api/v1/products/{sku}", "get", false),
    ("/api/v1/products/{sku}/sale-status", "get", false),
    ("/api/v1/sessions", "post", false),
    ("/api/v1/sessions/current", "delete", true),
    ("/api/v1/sessions/current", "get", true),
    ("/healthz", "get", false),
    ("/problems/{code}", "get", false),
    ("/readyz", "get", false),
];

fn document() -> Value {
    serde_json::to_value(stampede_api::openapi()).expect("JSON")
}

/// Each operation by path and method.
fn operations(document: &Value) -> BTreeMap<(String, String), Value> {
    let paths = document["paths"].as_object().expect("paths");
    let of_path = |(path, item): (&String, &Value)| {
        let item = item.as_object().expect("a path").clone();
        let path = path.clone();
        item.into_iter().map(move |(method, operation)| ((path.clone(), method), operation)).collect::<Vec<_>>()
    };
    paths.iter().flat_map(of_path).collect()
}

#[test]
fn the_description_changes_only_on_purpose() {
    insta::assert_json_snapshot!(document());
}

#[test]
fn every_route_is_described() {
    let document = document();
    let described: Vec<_> = operations(&document).into_keys().collect();
    let contract: Vec<_> = ROUTES.iter().map(|(path, method, _)| ((*path).to_owned(), (*method).to_owned())).collect();
    assert_eq!(described, contract);
    assert!(document["openapi"].as_str().expect("a version").starts_with("3.1"));
}

#[test]
fn every_route_says_who_may_call_it_and_how_it_refuses() {
    let document = document();
    let operations = operations(&document);
    for (path, method, needs_token) in ROUTES {
        let operation = &operations[&((*path).to_owned(), (*method).to_owned())];
        let place = format!("{method} {path}");
        let responses = operation["responses"].as_object().expect("responses");
        assert!(responses.contains_key("500") && responses.contains_key("431"), "{place}");
        let is_probe = ["/healthz", "/readyz"].contains(path);
        assert_eq!(responses.contains_key("429"), !is_probe, "{place}: all but the probes are limited");
        assert_eq!(responses.contains_key("401"), *needs_token, "{place}");
        let open_to_all = operation["security"].as_array().is_none_or(|ways| ways.contains(&serde_json::json!({})));
        assert_eq!(open_to_all, !needs_token, "{place}");
        if operation.get("requestBody").is_some() {
            for status in ["400", "413", "415", "422"] {
                assert!(responses.contains_key(status), "{place} {status}");
            }
        }
        for (status, response) in responses.iter().filter(|(status, _)| status.as_str() >= "400" && *path != "/readyz")
        {
            let schema = &response["content"]["application/problem+json"]["schema"]["$ref"];
            assert_eq!(schema, "#/components/schemas/Problem", "{place} {status}");
        }
        assert!(operation["summary"].is_string() && operation["tags"].is_array(), "{place}");
    }
}

#[test]
fn every_reference_leads_somewhere() {
    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                found.extend(map.get("$ref").and_then(Value::as_str).map(str::to_owned));
                map.values().for_each(|value| references(value, found));
            }
            Value::Array(values) => values.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
    let document = document();
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(!found.is_empty());
    for reference in found {
        let pointer = reference.strip_prefix('#').expect("within the document");
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}
