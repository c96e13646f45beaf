//! Requests, one method each.

use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};

use super::Answer;

/// Somebody who sends requests, with a token or without.
#[derive(Clone, Debug)]
pub struct Caller {
    client: Client,
    origin: String,
    token: Option<String>,
}

impl Caller {
    pub(super) const fn new(client: Client, origin: String, token: Option<String>) -> Self {
        Self { client, origin, token }
    }

    /// The same caller, who asks another process.
    #[must_use]
    pub fn at(&self, origin: &str) -> Self {
        Self { origin: origin.to_owned(), ..self.clone() }
    }

    /// The caller's token.
    pub fn token(&self) -> &str {
        self.token.as_deref().unwrap_or_default()
    }

    /// A request to a path below `/api/v1`, for a test to add to.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method, format!("{}/api/v1{path}", self.origin));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// Sends a request.
    ///
    /// # Panics
    /// If no answer comes.
    pub async fn send(&self, request: RequestBuilder) -> Answer {
        let response = request.send().await.expect("the service answers");
        Answer::read(response).await.expect("the answer is whole")
    }

    /// `GET` of a path below `/api/v1`.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    /// `DELETE` of a path below `/api/v1`.
    pub async fn delete(&self, path: &str) -> Answer {
        self.send(self.request(Method::DELETE, path)).await
    }

    /// `POST` of JSON to a path below `/api/v1`.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    /// `PATCH` of JSON to a path below `/api/v1`.
    pub async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::PATCH, path).json(body)).await
    }

    /// Creates a drop of a product of its own, on sale now unless `more` says otherwise.
    ///
    /// # Panics
    /// If it is not created.
    pub async fn create_drop(&self, id: &str, stock_units: u32, limit_per_user: u32, more: &Value) -> Answer {
        let mut body = json!({
            "id": id, "mode": "instant", "stock_units": stock_units, "limit_per_user": limit_per_user,
            "product": {"sku": format!("SKU-{id}"), "name": id, "price": {"amount_minor": 12_900, "currency": "EUR"}},
        });
        for (name, value) in more.as_object().into_iter().flatten() {
            body[name] = value.clone();
        }
        self.post("/drops", &body).await.expect(201)
    }

    /// Orders units, with a key.
    pub async fn order(&self, drop_id: &str, quantity: u32, key: &str) -> Answer {
        self.send(self.order_request(drop_id, quantity, key)).await
    }

    /// The request of an order, for a test to send in its own way.
    pub fn order_request(&self, drop_id: &str, quantity: u32, key: &str) -> RequestBuilder {
        let body = json!({"drop_id": drop_id, "quantity": quantity});
        self.request(Method::POST, "/orders").header("Idempotency-Key", key).json(&body)
    }

    /// Sends a request like [`Self::send`], but an answer that does not come is no panic.
    ///
    /// # Errors
    /// The client's own.
    pub async fn try_send(&self, request: RequestBuilder) -> Result<Answer, reqwest::Error> {
        Answer::read(request.send().await?).await
    }
}
