//! Where values come from: layers, each with its origin.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, bail};
use figment::providers::Format;
use figment::value::{Dict, Map, Value};
use figment::{Metadata, Profile, Provider, Source};

use super::table::{PREFIX, SETTINGS, Setting};
use super::text;

/// Names a settings file; it is no setting itself.
pub const CONFIG_VARIABLE: &str = "STAMPEDE_CONFIG";
/// Sets the port of the API's listener, as many platforms do.
const PORT_VARIABLE: &str = "PORT";
/// Sets the filter of logs, as Rust programs do.
const RUST_LOG_VARIABLE: &str = "RUST_LOG";
/// Behind the name of a secret's variable: the value is the path of a file that holds it.
const FILE_SUFFIX: &str = "_FILE";

/// Values that come from one place.
pub struct Layer {
    metadata: Metadata,
    values: Dict,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        self.metadata.clone()
    }

    fn data(&self) -> figment::Result<Map<Profile, Dict>> {
        Ok(Map::from([(Profile::Default, self.values.clone())]))
    }
}

impl Layer {
    /// Values that this program itself chose.
    pub fn built_in(origin: &'static str, values: impl IntoIterator<Item = (&'static str, Value)>) -> Self {
        let values = values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Self { metadata: Metadata::named(origin), values }
    }

    /// The documented defaults.
    pub fn defaults() -> anyhow::Result<Self> {
        let mut values = Dict::new();
        for setting in SETTINGS.iter().filter(|setting| !setting.default.is_null()) {
            values.insert(setting.name.to_owned(), Value::serialize(&setting.default)?);
        }
        Ok(Self { metadata: Metadata::named("default"), values })
    }

    /// A settings file.
    pub fn file(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let text =
            std::fs::read_to_string(path).with_context(|| format!("the settings file {shown} cannot be read"))?;
        let values: Dict = figment::providers::Toml::from_str(&text)
            .map_err(|error| anyhow::anyhow!("{shown} is not TOML: {}", without_excerpt(&error.to_string())))?;
        if let Some(name) = values.keys().find(|name| Setting::find(name).is_none()) {
            bail!("{shown} sets {}", not_a_setting(name, SETTINGS.iter().map(|setting| setting.name)));
        }
        Ok(Self { metadata: Metadata::from("file", Source::File(path.to_owned())), values })
    }

    /// A value from the command line.
    pub fn flag(name: &str, flag: &str, text: &str) -> anyhow::Result<Self> {
        let setting = Setting::find(name);
        let known = SETTINGS.iter().map(|setting| setting.name);
        let setting = setting.with_context(|| format!("{flag} sets {}", not_a_setting(name, known)))?;
        if setting.secret {
            bail!("{flag}: every user of this machine can read command lines; set {} instead", setting.variable());
        }
        let value = text::parse(setting, text).map_err(|wrong| anyhow::anyhow!("{flag}: {wrong}"))?;
        Ok(Self::one("flag", flag.to_owned(), name, value))
    }

    fn one(kind: &'static str, origin: String, name: &str, value: Value) -> Self {
        Self { metadata: Metadata::from(kind, Source::Custom(origin)), values: Dict::from([(name.to_owned(), value)]) }
    }
}

fn not_a_setting<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    format!("{name}, which is not a setting{}; `stampede config` lists them all", text::did_you_mean(name, known))
}

/// What the environment sets, one layer for each variable. An empty variable sets nothing. `listen` is the address whose
/// port `PORT` replaces.
///
/// # Errors
/// An unknown `STAMPEDE_` variable, or one whose value cannot be.
pub fn environment(
    variables: impl Iterator<Item = (String, String)>,
    listen: Option<&str>,
) -> anyhow::Result<Vec<Layer>> {
    let variables: BTreeMap<String, String> = variables.filter(|(_, value)| !value.is_empty()).collect();
    let mut layers = Vec::new();
    for (name, value) in &variables {
        let Some(stem) = name.strip_prefix(PREFIX).filter(|_| name != CONFIG_VARIABLE) else { continue };
        layers.push(variable(name, stem, value, &variables)?);
    }
    if let (Some(port), None) = (variables.get(PORT_VARIABLE), variables.get("STAMPEDE_LISTEN")) {
        let port: u16 = port.parse().with_context(|| format!("{PORT_VARIABLE} must be a number from 0 to 65535"))?;
        let host = listen.and_then(|listen| listen.rsplit_once(':')).map_or("0.0.0.0", |(host, _)| host);
        let value = Value::from(format!("{host}:{port}"));
        layers.push(Layer::one("environment", PORT_VARIABLE.to_owned(), "listen", value));
    }
    if let (Some(filter), None) = (variables.get(RUST_LOG_VARIABLE), variables.get("STAMPEDE_LOG")) {
        let value = Value::from(filter.as_str());
        layers.push(Layer::one("environment", RUST_LOG_VARIABLE.to_owned(), "log", value));
    }
    Ok(layers)
}

fn variable(name: &str, stem: &str, value: &str, all: &BTreeMap<String, String>) -> anyhow::Result<Layer> {
    let find = |stem: &str| SETTINGS.iter().find(|setting| setting.variable().strip_prefix(PREFIX) == Some(stem));
    if let Some(setting) = find(stem) {
        let value = text::parse(setting, value).map_err(|wrong| anyhow::anyhow!("{name} {wrong}"))?;
        return Ok(Layer::one("environment", name.to_owned(), setting.name, value));
    }
    let secret = stem.strip_suffix(FILE_SUFFIX).and_then(find).filter(|setting| setting.secret);
    if let Some(setting) = secret {
        if all.contains_key(&setting.variable()) {
            bail!("{} and {name} are both set: take one of them away", setting.variable());
        }
        let text = std::fs::read_to_string(value).with_context(|| format!("{name}: {value} cannot be read"))?;
        // Editors and `echo` end a file with a line break, which is no part of the secret.
        let value_of = text::parse(setting, text.trim_end_matches(['\r', '\n']));
        let value_of = value_of.map_err(|wrong| anyhow::anyhow!("{name}: {value} {wrong}"))?;
        return Ok(Layer::one("environment", format!("{name}, in {value}"), setting.name, value_of));
    }
    let known: Vec<String> = SETTINGS.iter().map(Setting::variable).collect();
    bail!("the environment sets {}", not_a_setting(name, known.iter().map(String::as_str)))
}

/// The origin of a value, in words.
pub fn origin(metadata: &Metadata) -> String {
    match &metadata.source {
        Some(Source::File(path)) => format!("file {}", path.display()),
        Some(Source::Custom(place)) => format!("{} {place}", metadata.name),
        _ => metadata.name.to_string(),
    }
}

/// A TOML error without the line of the file that it quotes, which may hold a secret.
fn without_excerpt(message: &str) -> String {
    let excerpt = |line: &&str| {
        let rest = line.trim_start().trim_start_matches(|letter: char| letter.is_ascii_digit());
        !rest.trim_start().starts_with('|')
    };
    message.lines().filter(excerpt).map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_does_not_quote_the_file() {
        let error = figment::providers::Toml::from_str::<Dict>("a = 1\ntoken_secret = \"s3cret").expect_err("no TOML");
        let message = without_excerpt(&error.to_string());
        assert!(message.contains("line 2") && !message.contains("s3cret"), "{message}");
    }
}
