//! `stampede dev`: what it keeps, and what it refuses.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use reqwest::StatusCode;

use super::support::{Api, Dev, is_alive, run, signal, stampede};

async fn granted(api: &Api, key: &str) -> String {
    let (status, replayed, order) = api.order("demo", key).await;
    assert_eq!((status, replayed), (StatusCode::CREATED, false), "{order}");
    order["id"].as_str().expect("an id").to_owned()
}

async fn assert_kept(api: &Api, key: &str, id: &str) {
    let (status, _, order) = api.get(&format!("/orders/{id}")).await;
    assert_eq!((status, order["status"].as_str()), (StatusCode::OK, Some("confirmed")), "{order}");
    let (status, replayed, order) = api.order("demo", key).await;
    assert_eq!((status, replayed, order["id"].as_str()), (StatusCode::CREATED, true, Some(id)), "{order}");
}

#[tokio::test]
async fn a_killed_dev_goes_on_where_it_was() {
    let dir = tempfile::tempdir().expect("a folder");
    let dev = Dev::start(dir.path());
    let api = dev.api().sign_in("ann").await;
    let id = granted(&api, "once").await;
    let token = api.token;
    dev.process.kill();

    let dev = Dev::start(dir.path());
    let api = dev.api().with_token(&token);
    assert_kept(&api, "once", &id).await;
    let redis = dev.redis_pid();
    assert_eq!(dev.process.stop().code(), Some(0));
    assert!(!is_alive(&redis), "its Redis ends with it");

    let dev = Dev::start(dir.path());
    assert_kept(&dev.api().with_token(&token), "once", &id).await;
}

#[tokio::test]
async fn a_redis_that_was_left_behind_is_stopped_in_order() {
    let dir = tempfile::tempdir().expect("a folder");
    // Without setpriv nobody tells Redis that its dev was killed, as on macOS.
    let path = search_path(&["redis-server"]);
    let dev = Dev::start_with(stampede(&["dev"]).env("PATH", path.path()), dir.path());
    let api = dev.api().sign_in("ann").await;
    let (id, redis) = (granted(&api, "once").await, dev.redis_pid());
    dev.process.kill();
    assert!(is_alive(&redis), "it was left behind");

    let dev = Dev::start(dir.path());
    assert!(!is_alive(&redis) && dev.redis_pid() != redis);
    assert_kept(&dev.api().with_token(&api.token), "once", &id).await;
}

#[tokio::test]
async fn a_redis_that_dies_is_started_again() {
    let dir = tempfile::tempdir().expect("a folder");
    let dev = Dev::start(dir.path());
    let api = dev.api().sign_in("ann").await;
    let (id, redis) = (granted(&api, "once").await, dev.redis_pid());
    signal(&redis, "KILL");
    // The server's pid file is that of the new one as soon as it runs.
    while dev.redis_pid() == redis {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    api.wait_until_ready().await;
    assert_kept(&api, "once", &id).await;
    granted(&api, "twice").await;
}

#[tokio::test]
async fn fresh_begins_anew() {
    let dir = tempfile::tempdir().expect("a folder");
    let dev = Dev::start(dir.path());
    let api = dev.api().sign_in("ann").await;
    granted(&api, "once").await;
    assert_eq!(dev.process.stop().code(), Some(0));

    let dev = Dev::start_with(&mut stampede(&["dev", "--fresh"]), dir.path());
    let (status, ..) = dev.api().with_token(&api.token).get("/orders").await;
    assert_eq!(status, StatusCode::UNAUTHORIZED, "the old secret is gone");
    granted(&dev.api().sign_in("ann").await, "once").await;
}

#[test]
fn a_folder_that_it_did_not_make_is_left_alone() {
    let dir = tempfile::tempdir().expect("a folder");
    fs::write(dir.path().join("archive.db"), "precious").expect("written");
    let (code, _, stderr) = run(stampede(&["dev", "--fresh", "--dir"]).arg(dir.path()));
    assert_eq!((code, stderr.contains("was not made by `stampede dev`")), (Some(1), true), "{stderr}");
    assert_eq!(fs::read(dir.path().join("archive.db")).expect("there"), b"precious");
}

#[test]
fn one_folder_has_one_dev_and_one_port_one_listener() {
    let (dir, other) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let dev = Dev::start(dir.path());
    let (code, _, stderr) = run(stampede(&["dev", "--dir"]).arg(dir.path()));
    let pid = dev.process.pid();
    assert_eq!((code, stderr.contains(&format!("process {pid}"))), (Some(1), true), "{stderr}");

    let taken = dev.address("API ").trim_start_matches("http://").trim_end_matches("/api/v1").to_owned();
    let (code, _, stderr) = run(stampede(&["dev", "--listen", &taken, "--dir"]).arg(other.path()));
    assert_eq!((code, stderr.contains("is taken") && stderr.contains("--listen")), (Some(1), true), "{stderr}");
}

#[test]
fn what_is_missing_is_said_plainly() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = search_path(&[]);
    let (code, _, stderr) = run(stampede(&["dev", "--dir"]).arg(dir.path()).env("PATH", path.path()));
    assert_eq!((code, stderr.contains("apt-get install redis-server")), (Some(1), true), "{stderr}");
    let file = dir.path().join("file");
    fs::write(&file, "").expect("written");
    let (code, _, stderr) = run(stampede(&["dev", "--dir"]).arg(file.join("below")));
    assert_eq!((code, stderr.contains("--dir")), (Some(1), true), "{stderr}");
}

#[tokio::test]
async fn its_secrets_are_its_owners_and_let_other_commands_reach_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let dev = Dev::start_with(stampede(&["dev"]).env("STAMPEDE_REDIS_URL", "redis://production.example"), dir.path());
    for name in ["settings.toml", "operator.token", "redis/redis.conf"] {
        let mode = fs::metadata(dir.path().join(name)).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let in_dir = |args: &[&str]| {
        let mut command = stampede(args);
        // What a shell holds for another deployment does not count against --dir.
        command.arg("--dir").arg(dir.path()).env("STAMPEDE_TOKEN_SECRET", "another deployment's secret, 32 bytes");
        let key = r#"[{"kid":"main","algorithm":"HS256","secret":"another deployment's secret, 32 bytes"}]"#;
        command.env("STAMPEDE_TOKEN_KEYS", key).env("STAMPEDE_CONFIG", "");
        run(&mut command)
    };
    let (code, token, stderr) = in_dir(&["token", "--operator"]);
    assert_eq!(code, Some(0), "{stderr}");
    let (status, _, session) = dev.api().with_token(&token).get("/sessions/current").await;
    assert_eq!((status, session["role"].as_str()), (StatusCode::OK, Some("operator")), "{session}");

    let (code, page, stderr) = in_dir(&["config"]);
    assert_eq!(code, Some(0), "{stderr}");
    let settings = fs::read_to_string(dir.path().join("settings.toml")).expect("readable");
    let secrets = settings.lines().filter(|line| line.starts_with("token_secret") || line.starts_with("redis_url"));
    for secret in secrets.filter_map(|line| line.split('"').nth(1)) {
        assert!(!page.contains(secret) && page.contains("***"), "{page}");
    }
    assert!(page.contains("settings.toml"), "{page}");

    let seed = ["seed", "--sku", "hat", "--units", "7", "--starts-in", "1h"];
    let (code, made, stderr) = in_dir(&seed);
    assert_eq!((code, made.matches(" created: ").count()), (Some(0), 2), "{made}{stderr}");
    let (code, made, stderr) = in_dir(&seed);
    assert_eq!((code, made.matches("was there already").count()), (Some(0), 2), "{made}{stderr}");
    let (code, _, stderr) = in_dir(&["seed", "--sku", "hat", "--units", "8", "--starts-in", "1h"]);
    assert_eq!((code, stderr.contains("drop-exists")), (Some(1), true), "{stderr}");
}

/// A search path with these programs alone.
fn search_path(programs: &[&str]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    for program in programs {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file());
        symlink(found.expect("it is installed"), Path::new(dir.path()).join(program)).expect("linked");
    }
    dir
}
