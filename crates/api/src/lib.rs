//! The HTTP interface: one file per resource, extractors, problems, OpenAPI.
//!
//! A handler extracts, authorises, makes one call into the engine or the archive, and maps the answer. Every refusal is a
//! [`Problem`] with a stable code. [`router`] is everything that the main listener answers; [`serve`] runs it.

mod app;
mod auth;
mod drops;
mod extract;
mod filters;
mod health;
mod limits;
mod metrics;
mod minute;
mod observe;
mod openapi;
mod orders;
mod page;
mod problem;
mod products;
mod reply;
mod router;
mod sale_status;
mod server;
mod sessions;
mod settings;
mod snapshots;
mod state;
mod terms;
#[cfg(test)]
mod untrusted;
mod view;
mod within;

pub use app::App;
pub use auth::{Identity, InvalidTokens, IssuedToken, TokenRefused, Tokens};
pub use drops::open_drop;
pub use limits::{InvalidProxy, TrustedProxies};
pub use metrics::METRICS;
pub use openapi::openapi;
pub use problem::{Code, FieldError, Problem};
pub use router::router;
pub use server::serve;
pub use settings::{
    ApiSettings, RateLimit, RateLimitSettings, Role, SignIn, TokenAlgorithm, TokenKey, TokenSettings, TraceSettings,
    TrustedIssuer,
};
pub use state::{ApiState, InvalidSettings};
