//! Settings from all their places.

use std::collections::HashSet;

use stampede_api::{ApiSettings, RateLimit};
use stampede_engine::EngineSettings;
use stampede_worker::WorkerSettings;

use super::*;

fn load(sources: &Sources, variables: &[(&str, &str)]) -> anyhow::Result<Loaded> {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    sources.load_with(variables.collect::<Vec<_>>().into_iter(), Vec::new(), Vec::new())
}

fn problem(variables: &[(&str, &str)]) -> String {
    format!("{:#}", load(&Sources::default(), variables).expect_err("refused"))
}

fn file(text: &str) -> (tempfile::TempDir, Sources) {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("stampede.toml");
    std::fs::write(&path, text).expect("written");
    (dir, Sources { file: Some(path), ..Sources::default() })
}

#[test]
fn the_example_lists_every_setting_with_its_default() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../.env.example");
    let written = std::fs::read_to_string(path).expect(".env.example is at the root");
    assert_eq!(written, example(), "write it anew: stampede config --example > .env.example");
    for setting in SETTINGS.iter() {
        assert!(written.contains(&format!("\n#{}=", setting.variable())), "{}", setting.name);
    }
}

#[test]
fn every_setting_says_what_it_is() {
    let mut names = HashSet::new();
    for setting in SETTINGS.iter() {
        assert!(names.insert(setting.name), "{} is there twice", setting.name);
        assert!(setting.doc.len() > 20 && setting.doc.len() < 120, "{}: {}", setting.name, setting.doc);
        assert_eq!(setting.range.is_some(), setting.default.is_u64(), "{}: a whole number has a range", setting.name);
        if let (Some(range), Some(default)) = (&setting.range, setting.default.as_u64()) {
            assert!(range.contains(&default), "{}", setting.name);
        }
    }
}

#[test]
fn the_documented_defaults_are_those_of_the_parts() {
    let config = load(&Sources::default(), &[]).expect("defaults").config;
    assert_eq!(format!("{:?}", config.engine_settings()), format!("{:?}", EngineSettings::default()));
    assert_eq!(format!("{:?}", config.api_settings()), format!("{:?}", ApiSettings::default()));
    assert_eq!(format!("{:?}", config.worker_settings()), format!("{:?}", WorkerSettings::default()));
}

#[test]
fn later_places_win_and_are_named() {
    let (_dir, mut sources) = file("shards = 2\ngroup_max_orders = 100\nlisten = \"127.0.0.1:5000\"\n");
    sources.flags = vec![("log".to_owned(), "--set log".to_owned(), "debug".to_owned())];
    let variables = [("STAMPEDE_SHARDS", "4"), ("STAMPEDE_LOG", "warn"), ("STAMPEDE_LOG_FORMAT", ""), ("PORT", "80")];
    let loaded = load(&sources, &variables).expect("good");
    let origin = |name| loaded.origin(name).expect("a value");
    assert_eq!((loaded.config.shards, origin("shards")), (4, "environment STAMPEDE_SHARDS".to_owned()));
    assert_eq!((loaded.config.log.as_str(), origin("log")), ("debug", "flag --set log".to_owned()));
    assert_eq!(loaded.config.group_max_orders, 100);
    assert!(origin("group_max_orders").starts_with("file ") && origin("group_max_orders").ends_with("stampede.toml"));
    assert_eq!(
        (loaded.config.listen.to_string(), origin("listen")),
        ("127.0.0.1:80".into(), "environment PORT".into())
    );
    assert_eq!(origin("log_format"), "default", "an empty variable sets nothing");
    assert!(loaded.is_set("shards") && !loaded.is_set("log_format"));
}

#[test]
fn rust_log_and_port_give_way_to_our_own_names() {
    let variables = [("RUST_LOG", "warn"), ("STAMPEDE_LOG", "debug"), ("PORT", "80"), ("STAMPEDE_LISTEN", "[::1]:90")];
    let config = load(&Sources::default(), &variables).expect("good").config;
    assert_eq!((config.log.as_str(), config.listen.to_string().as_str()), ("debug", "[::1]:90"));
    let config = load(&Sources::default(), &variables[..1]).expect("good").config;
    assert_eq!(config.log, "warn");
}

#[test]
fn what_is_no_setting_is_refused_by_name() {
    let message = problem(&[("STAMPEDE_REDIS_ULR", "redis://x")]);
    assert!(
        message.contains("STAMPEDE_REDIS_ULR") && message.contains("did you mean STAMPEDE_REDIS_URL?"),
        "{message}"
    );
    assert!(problem(&[("STAMPEDE_LISTEN_FILE", "/etc/hosts")]).contains("STAMPEDE_LISTEN_FILE"), "no secret");
    assert!(problem(&[("STAMPEDE_listen", "127.0.0.1:1")]).contains("STAMPEDE_listen"));
    let (_dir, sources) = file("shard = 3\n");
    let message = format!("{:#}", load(&sources, &[]).expect_err("refused"));
    assert!(message.contains("sets shard,") && message.contains("did you mean shards?"), "{message}");
}

#[test]
fn a_secret_is_read_from_a_file_and_never_shown() {
    let secret = "s3cret".repeat(6);
    let (dir, _) = file("");
    let path = dir.path().join("secret");
    std::fs::write(&path, format!("{secret}\n")).expect("written");
    let path = path.to_str().expect("UTF-8");
    let variables = [("STAMPEDE_TOKEN_SECRET_FILE", path), ("STAMPEDE_REDIS_URL", "redis://:s3cret@db")];
    let loaded = load(&Sources::default(), &variables).expect("good");
    let shown = format!("{:?} {:?}", loaded.shown(), loaded.config);
    assert!(!shown.contains("s3cret") && shown.contains("***"), "{shown}");
    assert!(loaded.config.api_settings().tokens.keys.first().is_some_and(|key| key.kid == "main"));
    let both = [("STAMPEDE_TOKEN_SECRET_FILE", path), ("STAMPEDE_TOKEN_SECRET", secret.as_str())];
    assert!(problem(&both).contains("both set"));
}

#[test]
fn a_secret_that_is_wrong_is_not_quoted() {
    let (_dir, sources) = file("token_secret = 53475\n[[token_keys]]\nkid = \"a\"\nalgorithm = \"s3cret\"\n");
    let message = format!("{:#}", load(&sources, &[]).expect_err("refused"));
    assert!(!message.contains("53475") && !message.contains("s3cret"), "{message}");
    assert!(!problem(&[("STAMPEDE_ARCHIVE_URL", "mongodb://me:s3c/ret@x")]).contains("s3c"));
    assert!(!problem(&[("STAMPEDE_TOKEN_KEYS", "s3cret")]).contains("s3cret"));
    let flags = vec![("token_secret".to_owned(), "--set token_secret".to_owned(), "s3cret".to_owned())];
    let message = format!("{:#}", load(&Sources { flags, ..Sources::default() }, &[]).expect_err("refused"));
    assert!(message.contains("STAMPEDE_TOKEN_SECRET") && !message.contains("s3cret"), "{message}");
}

#[test]
fn keys_and_issuers_are_tables_in_a_file_and_json_in_the_environment() {
    let secret = "0123456789abcdef0123456789abcdef";
    let (_dir, sources) = file(&format!(
        "[[token_keys]]\nkid = \"new\"\nalgorithm = \"HS256\"\nsecret = \"{secret}\"\n[[trusted_issuers]]\nname = \"acme\"\n\
         issuer = \"https://acme.example\"\naudience = \"shop\"\nkeys = []\nroles = {{ admin = \"operator\" }}\n"
    ));
    let config = load(&sources, &[]).expect("good").config;
    assert_eq!((config.token_keys[0].kid.as_str(), config.trusted_issuers[0].name.as_str()), ("new", "acme"));
    let keys = format!(r#"[{{"kid":"env","algorithm":"HS256","secret":"{secret}"}}]"#);
    let config = load(&sources, &[("STAMPEDE_TOKEN_KEYS", &keys)]).expect("good").config;
    assert_eq!(config.token_keys.iter().map(|key| key.kid.as_str()).collect::<Vec<_>>(), ["env"]);
}

#[test]
fn settings_that_contradict_each_other_are_refused_together() {
    let variables = [
        ("STAMPEDE_REQUEST_TIMEOUT_MS", "2000"),
        ("STAMPEDE_SHARDS", "5000"),
        ("STAMPEDE_ADMIN_LISTEN", "127.0.0.1:4000"),
        ("STAMPEDE_GROUP_MAX_ORDERS", "1025"),
        ("STAMPEDE_TOKEN_SECRET", "short"),
        ("STAMPEDE_REDIS_URL", "http://localhost"),
        ("STAMPEDE_LOG", "=="),
    ];
    let message = problem(&variables);
    let named = [
        "request_timeout_ms",
        "durability_wait_ms",
        "shards is 5000",
        "admin_listen",
        "group_max_orders",
        "32",
        "redis_url",
        "log is",
    ];
    for part in named {
        assert!(message.contains(part), "{part}: {message}");
    }
}

#[test]
fn rate_limits_are_off_until_a_rate_is_set() {
    let limits = |variables: &[(&str, &str)]| {
        load(&Sources::default(), variables).expect("good").config.api_settings().rate_limits
    };
    assert_eq!((limits(&[]).front, limits(&[]).user), (None, None));
    let set = limits(&[
        ("STAMPEDE_RATE_LIMIT_FRONT_PER_S", "50"),
        ("STAMPEDE_RATE_LIMIT_USER_PER_S", "2"),
        ("STAMPEDE_RATE_LIMIT_USER_BURST", "7"),
        ("STAMPEDE_TRUSTED_PROXIES", "10.0.0.0/8, ::1"),
    ]);
    assert_eq!((set.front, set.user), (RateLimit::per_second(50, 100), RateLimit::per_second(2, 7)));
    assert_eq!(set.trusted_proxies, ["10.0.0.0/8", "::1"]);
}

#[test]
fn rate_limits_that_cannot_be_meant_are_refused() {
    let message = problem(&[("STAMPEDE_RATE_LIMIT_USER_BURST", "5")]);
    assert!(message.contains("rate_limit_user_per_s is 0"), "{message}");
    let message = problem(&[("STAMPEDE_RATE_LIMIT_FRONT_PER_S", "5"), ("STAMPEDE_RATE_LIMIT_FRONT_BURST", "0")]);
    assert!(message.contains("rate_limit_front_burst is 0") && message.contains("from 1 to"), "{message}");
    let message = problem(&[("STAMPEDE_TRUSTED_PROXIES", "10.0.0.1/8")]);
    assert!(message.contains("trusted_proxies: 10.0.0.1/8") && message.contains("write 10.0.0.0/8"), "{message}");
}
