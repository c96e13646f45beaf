//! Every route, with the status that each kind of caller gets.

use reqwest::Method;
use serde_json::{Value, json};

/// What a request carries.
pub enum Body {
    /// Nothing.
    None,
    /// The same for everybody.
    Same(Value),
    /// Something else for each caller, by number, as a repetition would be answered otherwise.
    Fresh(fn(usize) -> Value),
}

/// A route and what callers get: anonymous, owner, another shopper, operator.
pub struct Route {
    /// The method.
    pub method: Method,
    /// The path, as the description of the API writes it.
    pub template: &'static str,
    /// What stands in the place of its parameter.
    pub parameter: String,
    /// The body.
    pub body: Body,
    /// The statuses.
    pub statuses: [u16; 4],
}

impl Route {
    /// The path to call.
    pub fn path(&self) -> String {
        match (self.template.find('{'), self.template.find('}')) {
            (Some(from), Some(to)) => {
                format!("{}{}{}", &self.template[..from], self.parameter, &self.template[to + 1..])
            }
            _ => self.template.to_owned(),
        }
    }

    /// The body for the n-th caller.
    pub fn body(&self, n: usize) -> Option<Value> {
        match &self.body {
            Body::None => None,
            Body::Same(body) => Some(body.clone()),
            Body::Fresh(body) => Some(body(n)),
        }
    }

    /// Whether it asks who is asking.
    pub fn needs_token(&self) -> bool {
        self.statuses[0] == 401
    }
}

/// The drops that the table's requests are about: each change has one of its own, so that no row depends on another.
pub const DROPS: [&str; 6] = ["table", "amended", "paused", "resumed", "closed", "called-off"];

/// What only operators may do, and may repeat.
const OPERATORS: [u16; 4] = [401, 403, 403, 200];
const EVERYBODY: [u16; 4] = [200; 4];

/// All routes; `order` is the owner's.
pub fn routes(order: &str) -> Vec<Route> {
    let get = |template, parameter: &str, statuses| row(Method::GET, template, parameter, Body::None, statuses);
    let post = |template, parameter: &str, body, statuses| row(Method::POST, template, parameter, body, statuses);
    let nothing = || Body::Same(json!({}));
    vec![
        get("/healthz", "", EVERYBODY),
        get("/readyz", "", EVERYBODY),
        get("/problems/{code}", "sold-out", EVERYBODY),
        post("/api/v1/sessions", "", Body::Fresh(|n| json!({"handle": format!("visitor_{n}")})), [201; 4]),
        get("/api/v1/sessions/current", "", [401, 200, 200, 200]),
        row(Method::DELETE, "/api/v1/sessions/current", "", Body::None, [401, 204, 204, 204]),
        post("/api/v1/products", "", Body::Fresh(product), [401, 403, 403, 201]),
        get("/api/v1/products", "", EVERYBODY),
        get("/api/v1/products/{sku}", "SKU-table", EVERYBODY),
        get("/api/v1/products/{sku}/sale-status", "SKU-table", EVERYBODY),
        post("/api/v1/drops", "", Body::Fresh(drop), [401, 403, 403, 201]),
        get("/api/v1/drops", "", EVERYBODY),
        get("/api/v1/drops/{id}", "table", EVERYBODY),
        get("/api/v1/drops/{id}/stock", "table", EVERYBODY),
        row(
            Method::PATCH,
            "/api/v1/drops/{id}",
            "amended",
            Body::Same(json!({"ends_at": "2090-01-01T00:00:00Z"})),
            OPERATORS,
        ),
        post("/api/v1/drops/{id}/pause", "paused", nothing(), OPERATORS),
        post("/api/v1/drops/{id}/resume", "resumed", nothing(), OPERATORS),
        post("/api/v1/drops/{id}/close", "closed", nothing(), OPERATORS),
        post("/api/v1/drops/{id}/cancel", "called-off", nothing(), OPERATORS),
        post("/api/v1/drops/{id}/restock", "amended", Body::Same(json!({"units": 1})), OPERATORS),
        post("/api/v1/orders", "", Body::Same(json!({"drop_id": "table"})), [401, 201, 201, 201]),
        get("/api/v1/orders", "", [401, 200, 200, 200]),
        get("/api/v1/orders/{id}", order, [401, 200, 404, 200]),
        row(Method::DELETE, "/api/v1/orders/{id}", order, Body::None, [401, 200, 404, 200]),
    ]
}

fn row(method: Method, template: &'static str, parameter: &str, body: Body, statuses: [u16; 4]) -> Route {
    Route { method, template, parameter: parameter.to_owned(), body, statuses }
}

fn product(n: usize) -> Value {
    json!({"sku": format!("NEW-{n}"), "name": "new", "price": {"amount_minor": 1, "currency": "EUR"}})
}

fn drop(n: usize) -> Value {
    let mut product = product(n);
    product["sku"] = json!(format!("DROP-{n}"));
    json!({"id": format!("new-{n}"), "product": product, "mode": "instant", "stock_units": 1})
}
