//! Settings as text: reading them from variables and flags, and writing them on pages.

use figment::value::Value;

use super::table::{Kind, Setting};

/// The value that a text stands for.
///
/// # Errors
/// What the text should be. The text itself is left out, since it may be a secret.
pub fn parse(setting: &Setting, text: &str) -> Result<Value, String> {
    match setting.kind {
        Kind::Text => Ok(Value::from(text)),
        Kind::Number => match text.replace('_', "").parse::<u64>() {
            Ok(number) => Ok(Value::from(number)),
            Err(_) => Err("must be a whole number".to_owned()),
        },
        Kind::Ratio => match text.parse::<f64>() {
            Ok(share) if share.is_finite() => Ok(Value::from(share)),
            _ => Err("must be a number from 0 to 1".to_owned()),
        },
        Kind::Flag => match text.parse::<bool>() {
            Ok(flag) => Ok(Value::from(flag)),
            Err(_) => Err("must be `true` or `false`".to_owned()),
        },
        Kind::List if text.trim_start().starts_with('[') => json(text),
        Kind::List => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            Ok(Value::from(items.map(Value::from).collect::<Vec<_>>()))
        }
        Kind::Json => json(text),
    }
}

fn json(text: &str) -> Result<Value, String> {
    let wrong = |error: serde_json::Error| format!("is not JSON (line {}, column {})", error.line(), error.column());
    let json: serde_json::Value = serde_json::from_str(text).map_err(wrong)?;
    if json.is_null() {
        return Err("is null: write `[]` for nothing".to_owned());
    }
    Value::serialize(json).map_err(|_| "holds something that a setting cannot".to_owned())
}

/// The text of a value, as the environment would write it: [`parse`] reads the same value from it.
pub fn write(kind: Kind, value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Null => String::new(),
        serde_json::Value::String(text) if kind != Kind::Json => text.clone(),
        serde_json::Value::Array(items) if kind == Kind::List => joined(items).unwrap_or_else(|| value.to_string()),
        other => other.to_string(),
    }
}

/// A list with commas between its items; `None` if that would be read as another list.
fn joined(items: &[serde_json::Value]) -> Option<String> {
    let texts: Vec<_> = items.iter().map(serde_json::Value::as_str).collect::<Option<_>>()?;
    let plain = |text: &&str| !text.is_empty() && text.trim() == *text && !text.contains(',');
    let first_is_plain = texts.first().is_none_or(|first| !first.starts_with('['));
    (first_is_plain && texts.iter().all(plain)).then(|| texts.join(","))
}

/// The name among `known` that somebody probably meant, as a question; nothing if none is near.
pub fn did_you_mean<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    nearest(name, known).map(|near| format!(" (did you mean {near}?)")).unwrap_or_default()
}

fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // Every short word is near to every other one.
    let far = (name.len() / 4).min(3);
    known.map(|known| (distance(name, known), known)).filter(|(steps, _)| *steps <= far).min().map(|near| near.1)
}

/// How many letters must be put in, taken out or changed to make one name of the other.
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, letter) in one.bytes().enumerate() {
        let mut diagonal = at;
        row[0] = at + 1;
        for (to, other_letter) in other.bytes().enumerate() {
            let changed = diagonal + usize::from(letter != other_letter);
            diagonal = row[to + 1];
            row[to + 1] = changed.min(diagonal + 1).min(row[to] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_name_finds_its_neighbour() {
        let known = || ["redis_url", "archive_url", "shards"].into_iter();
        assert_eq!(nearest("redis_ulr", known()), Some("redis_url"));
        assert_eq!(nearest("shard", known()), Some("shards"));
        assert_eq!(nearest("something_else", known()), None);
        assert_eq!(nearest("foo", ["log"].into_iter()), None);
        assert_eq!(distance("", "abc"), 3);
    }

    #[test]
    fn a_text_is_read_as_its_setting_says() {
        let read = |name: &str, text: &str| parse(Setting::find(name).expect("a setting"), text);
        assert_eq!(read("shards", "1_0").map(|value| value.to_u128()), Ok(Some(10)));
        assert!(read("shards", "-1").is_err() && read("secure_cookies", "yes").is_err());
        assert_eq!(read("token_secret", "12345").expect("text").as_str(), Some("12345"));
        let list = |text: &str| read("cors_origins", text).expect("a list").into_array().expect("a list").len();
        assert_eq!((list(""), list("https://a, https://b,"), list(r#"["https://a"]"#)), (0, 2, 1));
        assert_eq!(read("token_keys", "s3cret"), Err("is not JSON (line 1, column 1)".to_owned()));
        assert!(read("token_keys", "null").is_err() && read("trace_sample_ratio", "NaN").is_err());
    }

    #[test]
    fn what_is_written_is_read_as_the_same() {
        for (name, text) in [
            ("token_keys", "[]"),
            ("token_keys", r#"["a"]"#),
            ("cors_origins", ""),
            ("cors_origins", r#"["a,b","c"]"#),
            ("cors_origins", r#"["[a","b"]"#),
            ("cors_origins", "a,b"),
        ] {
            let setting = Setting::find(name).expect("a setting");
            let value = serde_json::to_value(parse(setting, text).expect("read")).expect("JSON");
            assert_eq!(write(setting.kind, &value), text);
        }
    }
}
