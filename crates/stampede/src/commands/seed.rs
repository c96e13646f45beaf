//! `stampede seed`.

use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use stampede_api::{Role, Tokens};
use stampede_domain::{DropId, Sku, Timestamp, UserId};

use super::{duration, print};
use crate::config::{Config, Loaded};
use crate::roles::reachable;

/// The longest time for one request.
const REQUEST: Duration = Duration::from_secs(30);
/// How long the token is good for: longer than the three requests take.
const TOKEN: Duration = Duration::from_secs(300);

const EXAMPLES: &str = "\
Examples:
  stampede --dir .stampede seed --sku cap --name Cap --price 2900 --units 500 --limit 2
  stampede seed --api-url https://shop.example --drop-id friday --starts-in 10m --ends-in 1h";

/// Creates a product and a drop over HTTP.
///
/// It signs an operator's token for itself, so it needs the deployment's key: run it with the settings of the deployment, or
/// with --dir for a `stampede dev`. With the same options again it changes nothing.
#[derive(clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Options {
    /// Where the API is, without /api/v1; the setting `listen` on this machine if it is not said.
    #[arg(long, value_name = "URL", env = "API_URL")]
    api_url: Option<String>,
    /// The product's sku.
    #[arg(long, default_value = "sneaker")]
    sku: Sku,
    /// The product's name.
    #[arg(long, default_value = "Sneaker")]
    name: String,
    /// The price of one unit, in minor units (cents).
    #[arg(long, value_name = "MINOR", default_value_t = 12_900)]
    price: u64,
    /// The price's currency, by ISO 4217.
    #[arg(long, default_value = "EUR")]
    currency: String,
    /// How many units are sold.
    #[arg(long, value_name = "N", default_value_t = 100)]
    units: u64,
    /// How many units one user may hold.
    #[arg(long, value_name = "N", default_value_t = 1)]
    limit: u64,
    /// The drop's id; made from the sku if it is not said.
    #[arg(long, value_name = "ID")]
    drop_id: Option<DropId>,
    /// When it starts, from now: 30s, 10m, 2h. At once if it is not said.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    starts_in: Option<Duration>,
    /// When it ends, from now. When it is closed, if it is not said.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    ends_in: Option<Duration>,
    /// For how many seconds after an order its shopper may cancel it.
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    cancellable_for_s: u64,
}

/// The API, as an operator.
struct Operator {
    client: Client,
    base: String,
    token: String,
}

/// Creates what the options say and prints it.
///
/// # Errors
/// If the API cannot be reached, or refuses.
pub async fn run(options: &Options, loaded: &Loaded) -> anyhow::Result<()> {
    let operator = Operator::new(options, &loaded.config)?;
    let product = json!({
        "sku": options.sku, "name": options.name,
        "price": { "amount_minor": options.price, "currency": options.currency },
    });
    let (created, product) = operator.send(Method::POST, "/products", Some(product)).await?;
    print(&told("Product", created, &product))?;
    let id = options.id()?;
    let kept = operator.find(&format!("/drops/{id}")).await?;
    let drop = options.drop(&id, kept.as_ref());
    let (created, drop) = operator.send(Method::POST, "/drops", Some(drop)).await?;
    print(&told("Drop", created, &drop))
}

fn told(what: &str, status: StatusCode, made: &Value) -> String {
    let done = if status == StatusCode::CREATED { "created" } else { "was there already" };
    format!("{what} {done}: {made:#}\n")
}

impl Options {
    fn id(&self) -> anyhow::Result<DropId> {
        let made = || self.sku.as_str().to_ascii_lowercase().replace(['.', '_'], "-");
        self.drop_id.clone().map_or_else(|| made().parse().context("give the drop an id: --drop-id"), Ok)
    }

    /// The drop to ask for. Times from now mean another moment at each run: those of the drop that is there count.
    fn drop(&self, id: &DropId, kept: Option<&Value>) -> Value {
        let now = Timestamp::now();
        let moment = |name: &str, after: Duration| match kept.map(|kept| &kept[name]) {
            Some(moment) => moment.clone(),
            None => json!(now.plus_ms(i64::try_from(after.as_millis()).unwrap_or(i64::MAX))),
        };
        let mut drop = json!({
            "id": id, "sku": self.sku, "mode": "instant", "stock_units": self.units, "limit_per_user": self.limit,
            "cancellable_for_s": self.cancellable_for_s,
        });
        for (name, after) in [("starts_at", self.starts_in), ("ends_at", self.ends_in)] {
            if let Some(after) = after {
                drop[name] = moment(name, after);
            }
        }
        drop
    }
}

impl Operator {
    fn new(options: &Options, config: &Config) -> anyhow::Result<Self> {
        let origin = match options.api_url.as_ref().filter(|url| !url.is_empty()) {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => format!("http://{}", reachable(config.listen)),
        };
        let tokens = Tokens::new(&config.token_settings())?;
        let user_id: UserId = "seed".parse()?;
        let issued = tokens.issue(&user_id, Role::Operator, TOKEN).context(
            "an operator's token is needed: set STAMPEDE_TOKEN_SECRET to the deployment's secret, or say with --dir whose \
             `stampede dev` is meant",
        )?;
        let client = Client::builder().timeout(REQUEST).build()?;
        Ok(Self { client, base: format!("{origin}/api/v1"), token: issued.token })
    }

    /// What is at the path; none if there is nothing.
    async fn find(&self, path: &str) -> anyhow::Result<Option<Value>> {
        let (status, body) = self.ask(Method::GET, path, None).await?;
        match status {
            StatusCode::NOT_FOUND => Ok(None),
            _ => accepted(status, body).map(|(_, body)| Some(body)),
        }
    }

    async fn send(&self, method: Method, path: &str, body: Option<Value>) -> anyhow::Result<(StatusCode, Value)> {
        let (status, body) = self.ask(method, path, body).await?;
        accepted(status, body)
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> anyhow::Result<(StatusCode, Value)> {
        let url = format!("{}{path}", self.base);
        let mut request = self.client.request(method, &url).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.map_err(|error| unreachable(&self.base, error))?;
        let status = response.status();
        let body = response.text().await.map_err(|error| unreachable(&self.base, error))?;
        Ok((status, serde_json::from_str(&body).unwrap_or(Value::String(body))))
    }
}

fn unreachable(base: &str, error: reqwest::Error) -> anyhow::Error {
    anyhow!(error).context(format!(
        "{base} does not answer: is `stampede api` or `stampede dev` running there? Otherwise say where it is: --api-url"
    ))
}

fn accepted(status: StatusCode, body: Value) -> anyhow::Result<(StatusCode, Value)> {
    if status.is_success() {
        return Ok((status, body));
    }
    let detail = body["detail"].as_str().or_else(|| body["title"].as_str()).unwrap_or("the API refused").to_owned();
    let fields = body["errors"].as_array().into_iter().flatten().map(|error| {
        format!("\n  {}: {}", error["pointer"].as_str().unwrap_or("/"), error["detail"].as_str().unwrap_or("is wrong"))
    });
    bail!("{detail} ({status}, {}){}", body["code"].as_str().unwrap_or("no code"), fields.collect::<String>())
}
