//! The HTTP client of tests.

use reqwest::ClientBuilder;

/// A client to be built. It chooses the cryptography first, which the client wants even for plain HTTP.
pub fn http_client() -> ClientBuilder {
    // Another test of this process may have chosen it before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    ClientBuilder::new()
}
