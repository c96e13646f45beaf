//! The OpenAPI document: generated from the handlers, locked by a snapshot test.

use std::collections::BTreeMap;

use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ContentBuilder, ObjectBuilder, OpenApi, Ref, RefOr, Response, ResponseBuilder, Type};
use utoipa::{Modify, OpenApi as _, ToSchema};

use crate::problem::{Code, FieldError, PROBLEM_CONTENT_TYPE};

/// Declares the problems that a handler may answer with, for its description.
macro_rules! problems {
    ($name:ident: $($code:ident),* $(,)?) => {
        $crate::openapi::problems!(unlimited $name: $($code,)* RateLimited);
    };
    // Of a route that no rate limit counts.
    (unlimited $name:ident: $($code:ident),* $(,)?) => {
        /// The problems of a handler, for its description.
        struct $name;

        impl utoipa::IntoResponses for $name {
            fn responses() -> std::collections::BTreeMap<String, utoipa::openapi::RefOr<utoipa::openapi::Response>> {
                $crate::openapi::problem_responses(&[$($crate::problem::Code::$code,)*])
            }
        }
    };
}
pub(crate) use problems;

/// What any request may be answered with.
const EVERYWHERE: [Code; 2] = [Code::HeadersTooLarge, Code::Internal];

/// The headers of a refusal by a rate limit; a 503 has the first one too.
const LIMITED_HEADERS: [(&str, &str); 4] = [
    ("Retry-After", "When to come back, in seconds"),
    ("RateLimit-Limit", "The most requests at once"),
    ("RateLimit-Remaining", "How many more may be sent now"),
    ("RateLimit-Reset", "In how many seconds as many as the limit may be sent again"),
];

/// The responses for these codes and those that any request may get: one for each status.
pub(crate) fn problem_responses(codes: &[Code]) -> BTreeMap<String, RefOr<Response>> {
    let mut by_status: BTreeMap<String, Vec<Code>> = BTreeMap::new();
    for code in codes.iter().chain(&EVERYWHERE) {
        by_status.entry(code.status().as_str().to_owned()).or_default().push(*code);
    }
    by_status.into_iter().map(|(status, codes)| (status, problem_response(&codes).into())).collect()
}

fn problem_response(codes: &[Code]) -> Response {
    let description: Vec<String> = codes.iter().map(|code| format!("`{code}`: {}", code.meaning())).collect();
    let schema = Ref::from_schema_name("Problem");
    let content = ContentBuilder::new().schema(Some(schema)).build();
    let mut response = ResponseBuilder::new().description(description.join(" ")).content(PROBLEM_CONTENT_TYPE, content);
    let numbers: &[(&str, &str)] = match codes.iter().map(|code| code.status().as_u16()).max() {
        Some(429) => &LIMITED_HEADERS,
        Some(503) => &LIMITED_HEADERS[..1],
        _ => &[],
    };
    for (name, description) in numbers {
        let number = ObjectBuilder::new().schema_type(Type::Integer).build();
        let header = HeaderBuilder::new().schema(Some(number)).description(Some(*description));
        response = response.header(*name, header.build());
    }
    response.build()
}

/// Why a request is refused (RFC 9457). Which of the optional members are there depends on `code`.
#[derive(ToSchema)]
#[schema(as = Problem)]
#[expect(dead_code, reason = "it describes what `Problem::to_json` writes")]
pub(crate) struct ProblemDocument {
    /// The page about the code, relative to this service.
    #[schema(example = "/problems/sold-out")]
    r#type: String,
    title: String,
    #[schema(example = 409)]
    status: u16,
    /// What is wrong here, and what to change.
    detail: String,
    /// The stable name of the kind of problem.
    #[schema(example = "sold-out")]
    code: String,
    /// As in `X-Request-Id`.
    request_id: String,
    /// Whether the same request, with the same key, may succeed later. Repeating it never does a thing twice.
    retryable: bool,
    /// What is wrong, field by field: `malformed-request`, `invalid-request`.
    #[schema(required = false)]
    errors: Vec<FieldError>,
    /// The drop's phase: `sale-not-active`.
    phase: Option<String>,
    /// When the drop starts: `sale-not-active`.
    #[schema(value_type = Option<String>, format = DateTime)]
    starts_at: Option<String>,
    /// When the drop ends, if it does: `sale-not-active`.
    #[schema(value_type = Option<String>, format = DateTime)]
    ends_at: Option<String>,
    /// The limit per user, or the limit in bytes: `limit-reached`, `body-too-large`, `headers-too-large`.
    limit: Option<u64>,
    /// What the user holds: `limit-reached`.
    owned: Option<u32>,
    /// Units that are left: `sold-out`, `insufficient-stock`.
    available: Option<u64>,
    /// What a unit costs: `price-changed`.
    unit_price: Option<crate::view::MoneyDocument>,
    /// What the order would cost: `price-changed`.
    total_price: Option<crate::view::MoneyDocument>,
}

struct Security;

impl Modify for Security {
    fn modify(&self, openapi: &mut OpenApi) {
        let components = openapi.components.get_or_insert_default();
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
        let cookie = ApiKeyValue::with_description(
            "__Host-stampede",
            "The same token as a cookie (`stampede` on plain HTTP in development). Writes need an `Origin` that is listed.",
        );
        components.add_security_scheme("cookie", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
    }
}

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Stampede",
        description = "A flash-sale engine: it never sells a unit twice and never loses a sale that it has confirmed. Where \
            rate limits are on, the answer to each request that they count says in `RateLimit-Limit`, `RateLimit-Remaining` \
            and `RateLimit-Reset` how many more may be sent.",
        license(name = "MIT", identifier = "MIT"),
    ),
    tags(
        (name = "sessions", description = "Who is asking"),
        (name = "products", description = "Things that can be sold"),
        (name = "drops", description = "Sales of a product: a stock, a window, a limit per user"),
        (name = "orders", description = "Confirmed sales to one user"),
        (name = "health", description = "Whether this process lives and can take orders"),
        (name = "problems", description = "What a problem's code means"),
    ),
    components(schemas(ProblemDocument, FieldError)),
    modifiers(&Security),
)]
struct Base;

/// What is described before the routes are.
pub(crate) fn base() -> OpenApi {
    Base::openapi()
}

/// The description of everything that the main listener answers.
pub fn openapi() -> OpenApi {
    crate::router::table().into_openapi()
}
