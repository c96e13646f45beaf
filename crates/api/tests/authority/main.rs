//! Who may do what: every route of the description, every kind of caller.

mod callers;
mod routes;

use std::collections::BTreeSet;

use reqwest::Client;
use serde_json::{Value, json};
use stampede_testkit::{Answer, AppOptions, TestApp};

use callers::{Caller, Reader, Standing};
use routes::{DROPS, Route};

#[tokio::test(flavor = "multi_thread")]
async fn every_route_gives_every_caller_what_is_theirs() {
    let (app, order) = start().await;
    let (callers, routes) = (callers::callers(&app), routes::routes(&order));
    let client = stampede_testkit::http_client().build().expect("a client");
    let asked =
        || routes.iter().flat_map(|route| callers.iter().enumerate().map(move |(n, caller)| (route, n, caller)));

    let before = state(&app, &order).await;
    for (route, n, caller) in asked().filter(|(route, _, caller)| status(route, caller) >= 400) {
        let answer = ask(&app, &client, route, n, caller).await;
        expect(&answer, route, caller);
    }
    assert_eq!(state(&app, &order).await, before, "a refusal changes nothing");

    for (route, n, caller) in asked().filter(|(route, _, caller)| status(route, caller) < 400) {
        let answer = ask(&app, &client, route, n, caller).await;
        expect(&answer, route, caller);
        if route.template == "/api/v1/sessions" {
            let cookie = !answer.header("set-cookie").is_empty();
            assert_eq!(cookie, !caller.is_from_foreign_page(&app), "only our pages get a cookie set: {}", caller.name);
        }
        if route.template == "/api/v1/drops/{id}/stock" {
            let straight = matches!(caller.standing, Standing::Operator | Standing::StrayCookie(Reader::Operator));
            let cache = if straight { "no-store" } else { "no-cache" };
            assert_eq!(answer.header("cache-control"), cache, "only operators see the decider itself: {}", caller.name);
        }
    }
    app.finish().await;
}

#[test]
fn the_table_names_every_route_and_its_need_of_a_token() {
    let document = serde_json::to_value(stampede_api::openapi()).expect("JSON");
    let mut described = BTreeSet::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("a path") {
            let open = operation["security"].as_array().is_none_or(|ways| ways.contains(&json!({})));
            described.insert((path.clone(), method.clone(), !open));
        }
    }
    let routes = routes::routes("order");
    let named =
        |route: &Route| (route.template.to_owned(), route.method.as_str().to_ascii_lowercase(), route.needs_token());
    assert_eq!(routes.iter().map(named).collect::<BTreeSet<_>>(), described);
    assert_eq!(routes.len(), described.len(), "each route once");
}

/// A service with the drops of the table, and the id of the owner's order.
async fn start() -> (TestApp, String) {
    let mut options = AppOptions::default();
    options.api.tokens = callers::settings();
    let app = TestApp::start_with(options).await;
    for id in DROPS {
        app.operator().create_drop(id, 500, 100, &json!({"cancellable_for_s": 3_600})).await;
    }
    app.operator().post("/drops/resumed/pause", &json!({})).await.expect(200);
    let order = app.shopper("owner").order("table", 1, "k").await.expect(201).text("/id").to_owned();
    (app, order)
}

/// What the table says.
fn status(route: &Route, caller: &Caller) -> u16 {
    let [nobody, owner, other, operator] = route.statuses;
    match caller.standing {
        Standing::Nobody => nobody,
        Standing::Owner => owner,
        Standing::OtherShopper => other,
        Standing::Operator => operator,
        Standing::StrayCookie(_) if !route.needs_token() => nobody,
        Standing::StrayCookie(_) if !route.method.is_safe() => 403,
        Standing::StrayCookie(Reader::Owner) => owner,
        Standing::StrayCookie(Reader::Operator) => operator,
    }
}

async fn ask(app: &TestApp, client: &Client, route: &Route, n: usize, caller: &Caller) -> Answer {
    let request = client.request(route.method.clone(), format!("{}{}", app.origin, route.path()));
    let request = request.header("idempotency-key", format!("caller-{n}"));
    let request = match route.body(n) {
        Some(body) => request.json(&body),
        None => request,
    };
    app.with_token(None).send(caller.put_on(request)).await
}

fn expect(answer: &Answer, route: &Route, caller: &Caller) {
    let expected = status(route, caller);
    let place = format!("{} {} as {}", route.method, route.template, caller.name);
    assert_eq!(answer.status, expected, "{place}: {:?}", answer.body);
    let code = match expected {
        401 => "unauthenticated",
        403 => "forbidden",
        404 => "not-found",
        _ => return,
    };
    assert_eq!(answer.code(), code, "{place}");
    assert_eq!(answer.header("www-authenticate").is_empty(), expected != 401, "{place}");
}

/// What there is: products, drops with their stock, and the order.
async fn state(app: &TestApp, order: &str) -> Value {
    let operator = app.operator();
    let products = operator.get("/products?limit=100").await.expect(200).body;
    let mut drops = Vec::new();
    for id in DROPS {
        let mut drop = operator.get(&format!("/drops/{id}")).await.expect(200).body;
        drop["stock"] = operator.get(&format!("/drops/{id}/stock")).await.expect(200).body;
        // The start of a drop is a change of its own, whenever the timekeeper comes to write it down.
        for moving in ["as_of", "version"] {
            drop["stock"][moving] = Value::Null;
        }
        drops.push(drop);
    }
    let orders = operator.get("/orders?limit=100").await.expect(200).body;
    json!({"products": products, "drops": drops, "orders": orders, "order": order})
}
