//! The commands that look after a deployment.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Instant;

use stampede_testkit::{Redis, free_port};

use super::support::{LIMIT, Running, run, signal, stampede};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

#[test]
fn usage_errors_are_told_from_failures() {
    assert_eq!(run(&mut stampede(&["--help"])).0, Some(0));
    assert_eq!(run(&mut stampede(&[])).0, Some(2));
    assert_eq!(run(&mut stampede(&["sell"])).0, Some(2));
    assert_eq!(run(&mut stampede(&["dev", "--listen", "somewhere"])).0, Some(2));
    assert_eq!(run(&mut stampede(&["token"])).0, Some(2));
    assert_eq!(run(&mut stampede(&["token", "--operator", "--shopper", "ann"])).0, Some(2));
    assert_eq!(run(&mut stampede(&["token", "--shoppers", "5"])).0, Some(2), "without a file");
    assert_eq!(run(&mut stampede(&["token", "--operator"])).0, Some(1), "without a key");
}

#[test]
fn help_teaches_with_examples() {
    for command in ["", "token", "seed", "dead-letters", "rebuild", "reconcile", "health"] {
        let command: Vec<&str> = command.split_whitespace().chain(["--help"]).collect();
        let command = &command[..];
        let (_, help, _) = run(&mut stampede(command));
        assert!(help.contains("Examples:"), "{command:?}: {help}");
    }
}

#[test]
fn migrate_says_whether_the_schema_is_up_to_date() {
    let dir = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite:{}", dir.path().join("archive.db").display());
    let with = |args: &[&str]| run(stampede(args).env("STAMPEDE_ARCHIVE_URL", &url));
    let (code, _, stderr) = with(&["migrate", "--check"]);
    assert_eq!((code, stderr.contains("stampede migrate")), (Some(1), true), "{stderr}");
    for role in ["api", "worker"] {
        let mut command = stampede(&[role, "--admin-listen", "127.0.0.1:0", "--set", "listen=127.0.0.1:0"]);
        command.env("STAMPEDE_ARCHIVE_URL", &url).env("STAMPEDE_TOKEN_SECRET", SECRET);
        let (code, _, stderr) = run(command.env("STAMPEDE_STARTUP_TIMEOUT_MS", "0"));
        assert_eq!((code, stderr.contains("stampede migrate")), (Some(1), true), "{role}: {stderr}");
    }
    assert_eq!(with(&["migrate"]).0, Some(0));
    assert_eq!(with(&["migrate"]).0, Some(0), "it may be run again");
    assert_eq!(with(&["migrate", "--check"]).0, Some(0));
}

#[test]
fn a_role_without_what_it_needs_says_what_to_set() {
    let refused = |role: &str, variables: &[(&str, &str)]| {
        let (code, _, stderr) = run(stampede(&[role]).envs(variables.iter().copied()));
        assert_eq!(code, Some(1), "{stderr}");
        stderr
    };
    let ports = [("STAMPEDE_LISTEN", "127.0.0.1:0"), ("STAMPEDE_ADMIN_LISTEN", "127.0.0.1:0")];
    assert!(refused("api", &ports).contains("STAMPEDE_TOKEN_SECRET"));
    assert!(refused("worker", &ports).contains("archive_url"));
    assert!(refused("worker", &[("STAMPEDE_SHARD", "8")]).contains("STAMPEDE_SHARDS"));
    assert!(refused("worker", &[("STAMPEDE_SHARDS", "0")]).contains("from 1 to 4096"));
}

#[test]
fn config_shows_where_each_value_came_from_and_no_secret() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("stampede.toml");
    fs::write(&file, format!("token_secret = \"{SECRET}\"\nshards = 16\n")).expect("written");
    let mut command = stampede(&["config", "--set", "log=debug"]);
    command.env("STAMPEDE_CONFIG", &file).env("PORT", "8080").env("STAMPEDE_REDIS_URL", "redis://:s3cret@db:6379");
    let (code, page, stderr) = run(&mut command);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(!page.contains(SECRET) && !page.contains("s3cret"), "{page}");
    let line = |name: &str| {
        let line = page.lines().find(|line| line.split_whitespace().next() == Some(name)).expect("a line");
        line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(line("token_secret"), format!("*** file {}", file.display()));
    assert_eq!(line("shards"), format!("16 file {}", file.display()));
    assert_eq!(line("redis_url"), "*** environment STAMPEDE_REDIS_URL");
    assert_eq!(line("listen"), "0.0.0.0:8080 environment PORT");
    assert_eq!(line("log"), "debug flag --set log");
    assert_eq!(line("archive_url"), "(not set) default");
}

#[test]
fn many_tokens_go_to_a_file_of_their_owner() {
    let dir = tempfile::tempdir().expect("a folder");
    let out = dir.path().join("tokens.txt");
    let mut command = stampede(&["token", "--shoppers", "70000", "--out"]);
    let (code, _, stderr) = run(command.arg(&out).env("STAMPEDE_TOKEN_SECRET", SECRET));
    assert_eq!(code, Some(0), "{stderr}");
    let text = fs::read_to_string(&out).expect("readable");
    let tokens: std::collections::HashSet<&str> = text.lines().collect();
    assert_eq!((tokens.len(), text.lines().count()), (70_000, 70_000));
    assert!(tokens.iter().all(|token| token.split('.').count() == 3));
    assert_eq!(fs::metadata(&out).expect("there").permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn health_tells_a_process_that_answers_from_one_that_does_not() {
    let dir = tempfile::tempdir().expect("a folder");
    let redis = Redis::start().await;
    let (listen, admin) = (free_port(), free_port());
    let with = |args: &[&str]| {
        let mut command = stampede(args);
        command.env("STAMPEDE_ARCHIVE_URL", format!("sqlite:{}", dir.path().join("archive.db").display()));
        command.env("STAMPEDE_REDIS_URL", redis.url()).env("STAMPEDE_TOKEN_SECRET", SECRET);
        // On all addresses, as in a container; the check asks on the loopback one.
        command.env("STAMPEDE_LISTEN", format!("0.0.0.0:{listen}"));
        command.env("STAMPEDE_ADMIN_LISTEN", format!("0.0.0.0:{admin}"));
        command
    };
    let (code, _, stderr) = run(&mut with(&["health"]));
    assert_eq!((code, stderr.contains("does not answer")), (Some(1), true), "{stderr}");

    // The api waits for the migration, as its container may start first.
    let mut api = Running::start(&mut with(&["api"]));
    let deadline = Instant::now() + LIMIT;
    while run(&mut with(&["health"])).0 != Some(0) {
        assert!(Instant::now() < deadline, "the admin listener does not answer");
    }
    assert_eq!(run(&mut with(&["migrate"])).0, Some(0));
    while run(&mut with(&["health", "--api"])).0 != Some(0) {
        assert!(Instant::now() < deadline, "the api does not answer");
    }
    let nowhere = format!("http://127.0.0.1:{listen}/nowhere");
    let (code, _, stderr) = run(&mut with(&["health", "--url", &nowhere]));
    assert_eq!((code, stderr.contains("404")), (Some(1), true), "{stderr}");
    signal(&api.pid(), "TERM");
    assert_eq!(api.wait().code(), Some(0));
    assert_eq!(run(&mut with(&["health", "--api"])).0, Some(1));
}
