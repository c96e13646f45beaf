//! Whatever stands in the environment, in flags and in files: it is read or refused in words, never a panic.

use figment::value::Value;
use proptest::prelude::*;

use super::table::Kind;
use super::*;

fn load(variables: &[(&str, &str)], sources: &Sources) -> anyhow::Result<Loaded> {
    let variables: Vec<_> = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    sources.load_with(variables.into_iter(), Vec::new(), Vec::new())
}

/// Any text, and such as settings have.
fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "-?[0-9_]{0,25}",
        "(true|false|null|off|info|[a-z_]{1,9})",
        "[\\[{\"][\\[\\]{}:,\"a-z0-9 ]{0,40}",
        "(redis|rediss|sqlite|mongodb|http)s?://[a-z0-9.:@/?=%-]{0,40}",
        "[0-9.:\\[\\]]{0,25}",
    ]
}

proptest! {
    #[test]
    fn any_text_of_any_setting_is_read_or_refused(text in texts(), at: prop::sample::Index) {
        let setting = at.get(&SETTINGS);
        match text::parse(setting, &text) {
            Ok(value) if setting.kind == Kind::Text => prop_assert_eq!(value.as_str(), Some(text.as_str())),
            Ok(value) => {
                let written = text::write(setting.kind, &serde_json::to_value(&value).expect("JSON"));
                let again = text::parse(setting, &written).expect("what was written is read");
                prop_assert_eq!(without_tags(&value), without_tags(&again), "{}", setting.name);
            }
            Err(wrong) => prop_assert!(!wrong.is_empty()),
        }
    }

    #[test]
    fn any_variable_is_taken_or_refused_by_its_name(text in texts(), at: prop::sample::Index) {
        let name = at.get(&SETTINGS).variable();
        if let Err(error) = load(&[(&name, &text)], &Sources::default()) {
            let (message, stem) = (format!("{error:#}"), name.to_lowercase().replace("stampede_", ""));
            let lower = message.to_lowercase();
            // What contradicts another setting is said of both.
            prop_assert!(lower.contains(&stem), "{} for {}={:?}", message, name, text);
        }
    }

    #[test]
    fn a_secret_that_is_refused_is_not_shown(secret in "s3cr[a-z0-9]{12}", at: prop::sample::Index) {
        let secrets: Vec<_> = SETTINGS.iter().filter(|setting| setting.secret).collect();
        let name = at.get(&secrets).variable();
        match load(&[(&name, &secret)], &Sources::default()) {
            Ok(loaded) => prop_assert!(loaded.shown().iter().all(|shown| !shown.value.contains(&secret))),
            Err(error) => {
                let message = format!("{error:#}");
                prop_assert!(!message.contains(&secret), "{}", message);
            },
        }
    }

    #[test]
    fn any_file_is_read_or_refused(
        text in prop_oneof![any::<String>(), "((shards|listen|log|sign_in|token_keys|cors_origins|[a-z]{3}) ?= ?[\\[\\]{}\"a-z0-9.:,= -]{0,20}\n){0,4}"],
    ) {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("stampede.toml");
        std::fs::write(&path, &text).expect("written");
        if let Err(error) = load(&[], &Sources { file: Some(path), ..Sources::default() }) {
            prop_assert!(!error.to_string().is_empty());
        }
    }
}

/// A value as it is compared: figment marks each with where it came from.
fn without_tags(value: &Value) -> serde_json::Value {
    serde_json::to_value(value).expect("JSON")
}
