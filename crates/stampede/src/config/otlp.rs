//! Where traces are sent, and what is sent with them.

use std::collections::HashMap;

use anyhow::{Context as _, bail};
use reqwest::Url;
use reqwest::header::{HeaderName, HeaderValue};
use secrecy::ExposeSecret as _;

use super::Config;

/// Where a receiver takes traces, below its address.
const TRACES_PATH: &str = "/v1/traces";

impl Config {
    /// The address to which traces are sent; none if they are not.
    ///
    /// # Errors
    /// In words that say what to change.
    pub fn traces_url(&self) -> anyhow::Result<Option<Url>> {
        const FORM: &str = "write it as http://collector:4318";
        let Some(endpoint) = &self.otlp_endpoint else { return Ok(None) };
        let mut url: Url = endpoint.parse().with_context(|| format!("otlp_endpoint is no address: {FORM}"))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            bail!("otlp_endpoint must begin with http:// or https://: {FORM}");
        }
        if !url.username().is_empty() || url.password().is_some() {
            bail!("otlp_endpoint must hold no password, as it is shown: put one into otlp_headers");
        }
        if url.query().is_some() || url.fragment().is_some() {
            bail!("otlp_endpoint must end with its path: {FORM}");
        }
        // The address of the receiver, as its documentation gives it, or of its traces.
        let path = url.path().trim_end_matches('/').to_owned();
        if !path.ends_with(TRACES_PATH) {
            url.set_path(&format!("{path}{TRACES_PATH}"));
        }
        Ok(Some(url))
    }

    /// The headers that are sent with traces.
    ///
    /// # Errors
    /// In words that say what to change, without the headers themselves.
    pub fn traces_headers(&self) -> anyhow::Result<HashMap<String, String>> {
        const FORM: &str = "otlp_headers must be name=value, with commas between them";
        let Some(headers) = &self.otlp_headers else { return Ok(HashMap::new()) };
        let header = |text: &str| {
            let (name, value) = text.split_once('=').context(FORM)?;
            let name: HeaderName = name.trim().parse().ok().context(FORM)?;
            let value: HeaderValue = value.trim().parse().ok().context(FORM)?;
            Ok((name.to_string(), value.to_str().context(FORM)?.to_owned()))
        };
        headers.expose_secret().split(',').filter(|text| !text.trim().is_empty()).map(header).collect()
    }
}
