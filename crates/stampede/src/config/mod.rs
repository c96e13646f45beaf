//! The settings of a process: documented defaults, then a file, then the environment, then flags.

mod convert;
mod example;
mod otlp;
mod provenance;
mod table;
mod text;
mod validate;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod untrusted;

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use figment::Figment;
use figment::error::Kind as ErrorKind;

pub use example::example;
pub use provenance::{CONFIG_VARIABLE, Layer};
pub use table::{Config, LogFormat, SETTINGS, Setting};

/// Where the settings of a process come from, beside the environment.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// A settings file.
    pub file: Option<PathBuf>,
    /// The settings file of a `stampede dev`; counts more than the environment, as it was asked for by a flag.
    pub dev_file: Option<PathBuf>,
    /// Flags: the setting, the flag as it is written, the value.
    pub flags: Vec<(String, String, String)>,
}

/// The settings, and where each came from.
#[derive(Debug)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    figment: Figment,
}

/// One setting, its value and its origin, as `stampede config` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The setting's name.
    pub name: &'static str,
    /// Its value; `***` for a secret.
    pub value: String,
    /// Where the value came from.
    pub origin: String,
}

impl Sources {
    /// Reads the settings and checks them.
    ///
    /// # Errors
    /// Everything that is wrong, in words for whoever sets it.
    pub fn load(&self) -> anyhow::Result<Loaded> {
        self.load_with(environment_variables(), Vec::new(), Vec::new())
    }

    /// The same, with defaults that count more than the documented ones, and values that count more than anything.
    ///
    /// # Errors
    /// As [`Sources::load`].
    pub fn load_between(&self, defaults: Layer, fixed: Layer) -> anyhow::Result<Loaded> {
        self.load_with(environment_variables(), vec![defaults], vec![fixed])
    }

    fn load_with(
        &self,
        variables: impl Iterator<Item = (String, String)>,
        defaults: Vec<Layer>,
        fixed: Vec<Layer>,
    ) -> anyhow::Result<Loaded> {
        let mut figment = Figment::new().merge(Layer::defaults()?);
        for layer in defaults {
            figment = figment.merge(layer);
        }
        if let Some(path) = &self.file {
            figment = figment.merge(Layer::file(path)?);
        }
        let listen = figment.extract_inner::<String>("listen").ok();
        for layer in provenance::environment(variables, listen.as_deref())? {
            figment = figment.merge(layer);
        }
        if let Some(path) = &self.dev_file {
            figment = figment.merge(Layer::file(path)?);
        }
        for (name, flag, text) in &self.flags {
            figment = figment.merge(Layer::flag(name, flag, text)?);
        }
        for layer in fixed {
            figment = figment.merge(layer);
        }
        let config = figment.extract::<Config>().map_err(|error| in_words(&error))?;
        let loaded = Loaded { config, figment };
        match validate::problems(&loaded).as_slice() {
            [] => Ok(loaded),
            [one] => bail!("{one}"),
            many => bail!("the settings cannot be used:\n  - {}", many.join("\n  - ")),
        }
    }
}

impl Loaded {
    /// Where a setting's value came from; none if it has no value.
    pub fn origin(&self, name: &str) -> Option<String> {
        self.figment.find_metadata(name).map(provenance::origin)
    }

    /// Whether somebody set it, rather than left it to the defaults.
    pub fn is_set(&self, name: &str) -> bool {
        self.origin(name).is_some_and(|origin| !origin.starts_with("default"))
    }

    /// Every setting with its value and its origin.
    pub fn shown(&self) -> Vec<Shown> {
        SETTINGS.iter().map(|setting| self.show(setting)).collect()
    }

    fn show(&self, setting: &Setting) -> Shown {
        let value = self.figment.find_value(setting.name).ok().and_then(|value| serde_json::to_value(value).ok());
        let written = value.as_ref().map(|value| text::write(setting.kind, value)).unwrap_or_default();
        let is_default = !self.is_set(setting.name);
        let value = match value {
            None => "(not set)".to_owned(),
            Some(_) if setting.secret && !is_default => "***".to_owned(),
            Some(_) => written,
        };
        let origin = self.origin(setting.name).unwrap_or_else(|| "default".to_owned());
        Shown { name: setting.name, value, origin }
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.figment.extract_inner(name).ok()
    }
}

/// The environment's variables. One that is not UTF-8 is none of ours, unless its name says so; then it is refused as
/// unknown text rather than passed over.
fn environment_variables() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| {
        let name = name.into_string().ok()?;
        Some((name, value.to_string_lossy().into_owned()))
    })
}

/// A figment error, without the value where that is a secret.
fn in_words(error: &figment::Error) -> anyhow::Error {
    let messages: Vec<String> = error.clone().into_iter().map(|error| one_in_words(&error)).collect();
    anyhow!(messages.join("\n"))
}

fn one_in_words(error: &figment::Error) -> String {
    let name = error.path.first().map(String::as_str).unwrap_or_default();
    let place = if error.path.is_empty() { "a setting".to_owned() } else { error.path.join(".") };
    let origin = error.metadata.as_ref().map(|metadata| format!(" ({})", provenance::origin(metadata)));
    let secret = Setting::find(name).is_some_and(|setting| setting.secret);
    let what = match &error.kind {
        ErrorKind::InvalidType(_, expected) | ErrorKind::InvalidValue(_, expected) if secret => {
            format!("must be {expected}")
        }
        ErrorKind::UnknownVariant(_, known) if secret => format!("must be one of {}", known.join(", ")),
        ErrorKind::Message(_) if secret => "cannot be used as it is written".to_owned(),
        ErrorKind::UnknownVariant(found, known) => format!("is `{found}`, but must be one of {}", known.join(", ")),
        other => format!("cannot be used: {other}"),
    };
    format!("{place} {what}{}", origin.unwrap_or_default())
}

/// The settings file of a `stampede dev`.
///
/// # Errors
/// If that folder has none.
pub fn dev_file(dir: &Path) -> anyhow::Result<PathBuf> {
    let file = dir.join(crate::dev::SETTINGS_FILE);
    let there = file.try_exists().with_context(|| format!("{} cannot be read", file.display()))?;
    if there {
        return Ok(file);
    }
    bail!("{} holds no deployment: start one there with `stampede dev --dir {}`", dir.display(), dir.display())
}
