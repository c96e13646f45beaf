//! How others reach a dev: its settings file and its operator's token.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use figment::providers::{Format, Toml};
use figment::value::{Dict, Value};
use secrecy::{ExposeSecret, SecretString};
use stampede_api::{Role, Tokens};
use stampede_domain::{Timestamp, UserId};

use super::folder::Folder;
use super::redis::random_secret;
use crate::config::{Config, Layer};
use crate::private_file;

/// How long the operator's token is good for.
const LIFETIME: Duration = Duration::from_secs(30 * 24 * 3_600);
/// It is made anew when it is good for less than this.
const RENEW_BELOW: Duration = Duration::from_secs(7 * 24 * 3_600);
/// How often that is looked at.
const LOOK: Duration = Duration::from_secs(3_600);

/// The defaults of a dev, where they differ from the documented ones.
pub fn defaults() -> Layer {
    let text = |text: &str| Value::from(text);
    Layer::built_in(
        "default of dev",
        [
            ("listen", text("127.0.0.1:4000")),
            // Redis's client repeats what this program says itself when Redis ends.
            ("log", text("warn,fred=error")),
            ("sign_in", text("handle")),
            ("secure_cookies", Value::from(false)),
        ],
    )
}

/// What a dev decides by itself: its own stores and its own secret, whatever the environment says of others.
pub fn fixed(folder: &Folder, secret: &SecretString) -> Layer {
    Layer::built_in(
        "dev",
        [
            ("redis_url", Value::from("redis://127.0.0.1")),
            ("archive_url", Value::from(archive_url(folder))),
            ("token_secret", Value::from(secret.expose_secret())),
        ],
    )
}

fn archive_url(folder: &Folder) -> String {
    format!("sqlite://{}", folder.archive().display())
}

/// The secret that tokens of this folder are signed with: that of earlier runs, so that their tokens stay good.
///
/// # Errors
/// If the settings of earlier runs cannot be read.
pub fn token_secret(folder: &Folder) -> anyhow::Result<SecretString> {
    let path = folder.settings();
    if !path.exists() {
        return Ok(SecretString::from(random_secret()));
    }
    let kept = std::fs::read_to_string(&path).ok().and_then(|text| Toml::from_str::<Dict>(&text).ok());
    let secret = kept.as_ref().and_then(|kept| kept.get("token_secret")).and_then(Value::as_str);
    let secret =
        secret.with_context(|| format!("{} cannot be read; delete it, or start with --fresh", path.display()))?;
    Ok(SecretString::from(secret))
}

/// Writes the settings with which other commands reach this dev.
///
/// # Errors
/// If the file cannot be written.
pub fn write_settings(folder: &Folder, config: &Config) -> anyhow::Result<()> {
    let secret = config.token_secret.as_ref().map(ExposeSecret::expose_secret).unwrap_or_default();
    let mut file = String::from(
        "# Written by `stampede dev` at each start. Other commands read it: stampede --dir <this folder> token --operator\n",
    );
    let settings = [
        ("listen", config.listen.to_string()),
        ("admin_listen", config.admin_listen.to_string()),
        ("redis_url", config.redis_url.expose_secret().to_owned()),
        ("archive_url", archive_url(folder)),
        ("token_secret", secret.to_owned()),
        ("token_issuer", config.token_issuer.clone()),
        ("token_audience", config.token_audience.clone()),
        ("sign_in", config.sign_in.as_str().to_owned()),
    ];
    for (name, value) in settings {
        // A JSON string is a TOML string.
        file.push_str(&format!("{name} = {}\n", serde_json::to_string(&value)?));
    }
    file.push_str(&format!("secure_cookies = {}\n", config.secure_cookies));
    // Keys of another deployment, which a shell may hold, are not this one's. Its own are too rich for this file.
    let own = [("token_keys", config.token_keys.is_empty()), ("trusted_issuers", config.trusted_issuers.is_empty())];
    for (name, _) in own.iter().filter(|(_, empty)| *empty) {
        file.push_str(&format!("{name} = []\n"));
    }
    let path = folder.settings();
    private_file::write(&path, file.as_bytes()).with_context(|| format!("{} cannot be written", path.display()))
}

/// Keeps a good token in the operator's file: makes one now if there is none, and a new one before it expires.
///
/// # Errors
/// If the file cannot be written.
pub async fn keep_operator_token(folder: &Folder, config: &Config) -> anyhow::Result<()> {
    loop {
        renew_operator_token(&folder.operator_token(), config)?;
        tokio::time::sleep(LOOK).await;
    }
}

/// Makes the operator's token anew if it is not good for long.
///
/// # Errors
/// If the file cannot be written.
pub fn renew_operator_token(path: &Path, config: &Config) -> anyhow::Result<()> {
    let tokens = Tokens::new(&config.token_settings())?;
    let kept = std::fs::read_to_string(path).ok().and_then(|token| tokens.verify(token.trim()).ok());
    let renew_at = Timestamp::now().plus_ms(i64::try_from(RENEW_BELOW.as_millis()).unwrap_or(i64::MAX));
    if kept.is_some_and(|identity| identity.role == Role::Operator && identity.expires_at > renew_at) {
        return Ok(());
    }
    let user_id: UserId = "operator".parse()?;
    let token = tokens.issue(&user_id, Role::Operator, LIFETIME)?.token;
    private_file::write(path, format!("{token}\n").as_bytes())
        .with_context(|| format!("{} cannot be written", path.display()))
}
