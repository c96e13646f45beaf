//! Things that can be sold.

use axum::extract::State;
use axum::http::header::LOCATION;
use axum::http::{HeaderValue, StatusCode, Uri};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use stampede_archive::CreateProduct as Created;
use stampede_domain::{Money, Product, Sku, Timestamp};
use utoipa::ToSchema;

use crate::auth::Operator;
use crate::extract::{ApiJson, PathId, Query, encode_cursor};
use crate::openapi::problems;
use crate::problem::{FieldError, Problem};
use crate::state::ApiState;
use crate::view::{Items, MoneyDocument, NO_CACHE, NO_STORE, ProductView, json};

/// A product to create.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateProduct {
    /// 1 to 64 of A-Z, a-z, 0-9, dot, underscore and hyphen.
    #[schema(value_type = String, example = "AIR-1", pattern = "^[A-Za-z0-9._-]{1,64}$")]
    sku: Option<Sku>,
    /// 1 to 200 characters, not all of them blank, and no control characters.
    #[schema(value_type = String, example = "Air One", min_length = 1, max_length = 200, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    name: Option<String>,
    /// At most 5,000 characters; of control characters only tabs and line breaks.
    #[schema(max_length = 5_000, pattern = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]*$")]
    description: Option<String>,
    /// An absolute http(s) address of at most 2,048 bytes.
    #[schema(max_length = 2_048, example = "https://img.example/air-1.png")]
    image_url: Option<String>,
    /// The price of one unit, at most 10^12 minor units.
    #[schema(value_type = MoneyDocument)]
    price: Option<Money>,
}

impl CreateProduct {
    const MAX_NAME_CHARS: usize = 200;
    const MAX_DESCRIPTION_CHARS: usize = 5_000;
    const MAX_URL_BYTES: usize = 2_048;

    /// The product, or everything that is wrong with it; `at` is where it stands in the body.
    pub fn check(self, at: &str) -> Result<Product, Vec<FieldError>> {
        let mut errors = Vec::new();
        let mut wrong =
            |field: &str, detail: &'static str| errors.push(FieldError::new(format!("{at}/{field}"), detail));
        if self.sku.is_none() {
            wrong("sku", "is required");
        }
        match &self.name {
            None => wrong("name", "is required"),
            Some(name) if name.trim().is_empty() || name.chars().count() > Self::MAX_NAME_CHARS => {
                wrong("name", "a name is 1 to 200 characters, not all of them blank");
            }
            Some(name) if name.chars().any(char::is_control) => wrong("name", "a name has no control characters"),
            Some(_) => {}
        }
        if self.description.as_ref().is_some_and(|text| text.chars().count() > Self::MAX_DESCRIPTION_CHARS) {
            wrong("description", "a description is at most 5000 characters");
        }
        let stray = |letter: char| letter.is_control() && !matches!(letter, '\t' | '\n' | '\r');
        if self.description.as_ref().is_some_and(|text| text.contains(stray)) {
            wrong("description", "of control characters a description has only tabs and line breaks");
        }
        if self.image_url.as_ref().is_some_and(|url| !is_web_address(url)) {
            wrong("image_url", "an absolute http(s) address of at most 2048 bytes");
        }
        match &self.price {
            None => wrong("price", "is required"),
            Some(price) if !(0..=Money::MAX_PRICE_MINOR).contains(&price.amount_minor) => {
                wrong("price/amount_minor", "a price is 0 to 1000000000000 minor units");
            }
            Some(_) => {}
        }
        let (Some(sku), Some(name), Some(price), true) = (self.sku, self.name, self.price, errors.is_empty()) else {
            return Err(errors);
        };
        let (description, image_url) = (self.description, self.image_url);
        Ok(Product { sku, name, description, image_url, price, created_at: Timestamp::now() })
    }
}

fn is_web_address(text: &str) -> bool {
    let host = |uri: &Uri| uri.host().is_some_and(|host| !host.is_empty());
    let web = |uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https"));
    text.len() <= CreateProduct::MAX_URL_BYTES && text.parse::<Uri>().is_ok_and(|uri| web(&uri) && host(&uri))
}

/// A place in the list of products.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    t: i64,
    k: Sku,
}

problems!(
    CreateProblems: MalformedRequest, InvalidRequest, Unauthenticated, Forbidden, ProductExists, BodyTooLarge,
    UnsupportedMediaType, OutcomeUnknown, Unavailable,
);
problems!(ListProblems: InvalidRequest, Unavailable);
problems!(GetProblems: NotFound, Unavailable);

/// Creates a product. Sent again, it is the same product.
#[utoipa::path(
    post, path = "/products", tag = "products", request_body = CreateProduct,
    security(("bearer" = []), ("cookie" = [])),
    responses(
        (status = 201, description = "Created", body = ProductView),
        (status = 200, description = "It was created before, with the same content", body = ProductView),
        CreateProblems,
    ),
)]
pub(crate) async fn create_product(
    _operator: Operator,
    State(state): State<ApiState>,
    ApiJson(asked): ApiJson<CreateProduct>,
) -> Result<Response, Problem> {
    let product = asked.check("").map_err(Problem::InvalidRequest)?;
    let (status, product) = put_product(&state, product).await?;
    let location = HeaderValue::try_from(format!("/api/v1/products/{}", product.sku));
    let mut response = json(status, NO_STORE, &ProductView::from(product))?;
    if let (StatusCode::CREATED, Ok(location)) = (status, location) {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

/// Creates a product unless it is there with the same content: 201 or 200, and the product as it is kept.
pub(crate) async fn put_product(state: &ApiState, product: Product) -> Result<(StatusCode, Product), Problem> {
    match state.archive().create_product(&product).await.map_err(Problem::of_write)? {
        Created::Created => Ok((StatusCode::CREATED, product)),
        Created::Exists(kept) if kept.same_content(&product) => Ok((StatusCode::OK, kept)),
        Created::Exists(_) => Err(Problem::ProductExists),
    }
}

/// Lists products, newest first.
#[utoipa::path(
    get, path = "/products", tag = "products",
    params(
        ("limit" = Option<u8>, Query, minimum = 1, maximum = 100, description = "1 to 100; 20 if it is not said"),
        ("cursor" = Option<String>, Query, description = "The `next_cursor` of the page before"),
    ),
    responses((status = 200, description = "A page of products", body = Items<ProductView>), ListProblems),
)]
pub(crate) async fn list_products(State(state): State<ApiState>, uri: Uri) -> Result<Response, Problem> {
    let page = Query::read(&uri, &[])?.page::<Place>()?;
    let after = page.after.map(|place| (Timestamp::from_ms(place.t), place.k));
    let mut products = state.archive().products(after.as_ref(), page.limit + 1).await?;
    let more = products.len() > page.limit;
    products.truncate(page.limit);
    let last = products.last().filter(|_| more);
    let next_cursor = last.map(|last| encode_cursor(&Place { t: last.created_at.as_ms(), k: last.sku.clone() }));
    let items = products.into_iter().map(ProductView::from).collect();
    json(StatusCode::OK, NO_CACHE, &Items { items, next_cursor })
}

/// Shows a product.
#[utoipa::path(
    get, path = "/products/{sku}", tag = "products", params(("sku" = String, Path, description = "The product's sku")),
    responses((status = 200, description = "The product", body = ProductView), GetProblems),
)]
pub(crate) async fn get_product(State(state): State<ApiState>, PathId(sku): PathId<Sku>) -> Result<Response, Problem> {
    let product = state.archive().product(&sku).await?.ok_or(NO_SUCH_PRODUCT)?;
    json(StatusCode::OK, NO_CACHE, &ProductView::from(product))
}

/// There is no such product.
pub(crate) const NO_SUCH_PRODUCT: Problem = Problem::NotFound("There is no such product.");

#[cfg(test)]
mod tests {
    use super::*;

    fn product() -> CreateProduct {
        CreateProduct {
            sku: "AIR-1".parse().ok(),
            name: Some("Air One".to_owned()),
            description: None,
            image_url: Some("https://img.example/a.png".to_owned()),
            price: Some(Money { amount_minor: 12_900, currency: "EUR".parse().expect("valid") }),
        }
    }

    fn pointers(asked: CreateProduct) -> Vec<String> {
        let errors = asked.check("/product").expect_err("wrong");
        errors.into_iter().map(|error| error.pointer.into_owned()).collect()
    }

    #[test]
    fn everything_that_is_wrong_is_named_at_once() {
        assert!(product().check("").is_ok());
        let empty = CreateProduct { sku: None, name: None, description: None, image_url: None, price: None };
        assert_eq!(pointers(empty), ["/product/sku", "/product/name", "/product/price"]);
        let price = Money { amount_minor: Money::MAX_PRICE_MINOR + 1, ..product().price.expect("set") };
        assert_eq!(pointers(CreateProduct { price: Some(price), ..product() }), ["/product/price/amount_minor"]);
        let long = Some("ü".repeat(201));
        assert_eq!(pointers(CreateProduct { name: long, ..product() }), ["/product/name"]);
        let nul = || Some("a\u{0}b".to_owned());
        let stray = CreateProduct { name: nul(), description: nul(), ..product() };
        assert_eq!(pointers(stray), ["/product/name", "/product/description"]);
    }

    #[test]
    fn an_image_has_a_web_address() {
        assert!(is_web_address("http://a/b.png?x=1"));
        for text in ["", "/a.png", "ftp://a/b", "javascript:alert(1)", "https://", "data:image/png,x"] {
            assert!(!is_web_address(text), "{text}");
        }
    }
}
