//! Looking after a deployment: comparing Redis with the archive, and rebuilding what Redis lost.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use stampede_archive::ArchiveUrl;
use stampede_testkit::{Redis, RedisOptions, fill_archive};
use tempfile::TempDir;

use super::support::{LIMIT, Running, run, stampede};

/// A filled archive and a Redis that holds nothing.
struct Deployment {
    redis: Redis,
    dir: TempDir,
}

impl Deployment {
    /// With so many orders in two drops, in one shard.
    async fn filled(orders: u64) -> Self {
        let deployment = Self {
            redis: Redis::start_with(RedisOptions { append_fsync: Some("everysec"), ..RedisOptions::default() }).await,
            dir: tempfile::tempdir().expect("a folder"),
        };
        let url: ArchiveUrl = deployment.url().parse().expect("an address");
        let archive = stampede_archive::connect(&url).await.expect("the archive opens");
        fill_archive(&*archive, 1, 2, orders).await;
        deployment
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("archive.db")
    }

    fn url(&self) -> String {
        format!("sqlite:{}", self.file().display())
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = stampede(args);
        command.env("STAMPEDE_REDIS_URL", self.redis.url()).env("STAMPEDE_ARCHIVE_URL", self.url());
        command.env("STAMPEDE_STARTUP_TIMEOUT_MS", "2000").env("STAMPEDE_TAKEOVER_AFTER_MS", "200");
        command
    }

    fn json(&self, args: &[&str]) -> (Option<i32>, Value) {
        let (code, out, stderr) = run(&mut self.command(args));
        (code, serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}\n{stderr}")))
    }

    fn archive_epoch(&self) -> u32 {
        let file = rusqlite::Connection::open(self.file()).expect("the archive's file");
        file.query_row("SELECT epoch FROM epochs WHERE shard = 0", [], |row| row.get(0)).expect("an epoch")
    }

    fn stock(&self) -> String {
        self.redis.cli(&["HMGET", "{s00}:drop:filled-1", "total", "available", "sold"])
    }
}

#[tokio::test]
async fn an_empty_redis_is_rebuilt_and_a_sound_one_is_left_as_it_is() {
    let mut deployment = Deployment::filled(3_001).await;
    for _ in 0..2 {
        let (code, plan) = deployment.json(&["rebuild", "--all", "--dry-run", "--json"]);
        assert_eq!((code, plan["shards"][0]["facts"].as_u64()), (Some(0), Some(3_003)), "{plan}");
        assert_eq!((&plan["shards"][0]["base"], &plan["shards"][0]["wipes"]), (&0.into(), &false.into()));
    }
    assert_eq!((deployment.archive_epoch(), deployment.redis.cli(&["DBSIZE"])), (1, "0".to_owned()), "only looked");
    let (code, page, stderr) = run(&mut deployment.command(&["rebuild", "--all"]));
    assert_eq!(code, Some(0), "{stderr}");
    assert!(page.contains("then 3003 facts up to entry 33") && page.contains("2 drops were put into Redis"), "{page}");
    assert!(stderr.contains("shard s00: "), "its progress is told: {stderr}");
    assert_eq!(deployment.stock(), "1500\n0\n1500");

    // Whoever runs it again, whatever they name, changes nothing.
    let epoch = deployment.archive_epoch();
    let image = |deployment: &Deployment| deployment.redis.cli(&["HGETALL", "{s00}:meta"]);
    let before = image(&deployment);
    for args in [&["rebuild", "--all"][..], &["rebuild", "--drop", "filled-0"], &["rebuild", "--all", "--dry-run"]] {
        let (code, page, stderr) = run(&mut deployment.command(args));
        assert_eq!(code, Some(0), "{stderr}");
        assert!(page.contains("shard s00: sound") && page.contains("Every shard is sound: nothing"), "{page}");
    }
    assert_eq!((deployment.archive_epoch(), image(&deployment)), (epoch, before));
    assert_eq!(run(&mut deployment.command(&["reconcile"])).0, Some(0));

    // A drop that is lost whole is not sold again as new.
    deployment.redis.cli(&["DEL", "{s00}:drop:filled-1", "{s00}:drop:filled-1:users"]);
    deployment.redis.cli(&["SREM", "{s00}:drops", "filled-1"]);
    let (_, plan) = deployment.json(&["rebuild", "--drop", "filled-1", "--dry-run", "--json"]);
    assert_eq!(plan["shards"][0]["wipes"], true, "{plan}");
    let (code, report) = deployment.json(&["rebuild", "--drop", "filled-1", "--json"]);
    let shard = &report["shards"][0];
    assert_eq!((code, &shard["outcome"], &shard["wiped"]), (Some(0), &"rebuilt".into(), &true.into()), "{report}");
    assert_eq!(deployment.stock(), "1500\n0\n1500");
    assert_eq!(run(&mut deployment.command(&["reconcile"])).0, Some(0));

    let (code, _, stderr) = run(&mut deployment.command(&["rebuild", "--drop", "never"]));
    assert_eq!((code, stderr.contains("there is no drop never")), (Some(1), true), "{stderr}");
    assert_eq!(run(&mut deployment.command(&["rebuild"])).0, Some(2));
    assert_eq!(run(&mut deployment.command(&["rebuild", "--all", "--drop", "filled-0"])).0, Some(2));
    deployment.redis.kill().await;
    assert_eq!(run(&mut deployment.command(&["rebuild", "--all"])).0, Some(1));
}

#[tokio::test]
async fn a_rebuild_that_is_killed_is_taken_over_by_the_next() {
    let deployment = Deployment::filled(40_000).await;
    let killed = Running::start(&mut deployment.command(&["rebuild", "--all"]));
    let number = || deployment.redis.cli(&["HGET", "{s00}:meta", "number"]).parse::<u64>().unwrap_or_default();
    let deadline = Instant::now() + LIMIT;
    while number() == 0 {
        assert!(Instant::now() < deadline, "it never applied anything");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    killed.kill();
    let reached = number();
    assert_eq!(deployment.redis.cli(&["HGET", "{s00}:meta", "token"]), "", "killed at entry {reached}: still fenced");
    let (_, plan) = deployment.json(&["rebuild", "--all", "--dry-run", "--json"]);
    assert_eq!((&plan["shards"][0]["base"], &plan["shards"][0]["wipes"]), (&reached.into(), &false.into()), "{plan}");
    let (code, report) = deployment.json(&["rebuild", "--all", "--json"]);
    let shard = &report["shards"][0];
    assert_eq!((code, &shard["outcome"], &shard["base"]), (Some(0), &"rebuilt".into(), &reached.into()), "{report}");
    assert_eq!(deployment.stock(), "20000\n0\n20000");
    let (code, found) = deployment.json(&["reconcile", "--json"]);
    assert_eq!((code, &found["verdict"]), (Some(0), &"clean".into()), "{found}");
    let users = |at: usize| found["shards"][0]["drops"][at]["users_checked"].as_u64();
    assert_eq!((users(0), users(1)), (Some(20_000), Some(20_000)));
}

#[tokio::test]
async fn reconcile_says_by_its_exit_code_what_it_found() {
    let mut deployment = Deployment::filled(500).await;
    let unset = run(&mut deployment.command(&["reconcile"]));
    assert_eq!(unset.0, Some(2), "a shard that is fenced: {unset:?}");
    assert_eq!(run(&mut deployment.command(&["rebuild", "--all"])).0, Some(0));
    let (code, page, stderr) = run(&mut deployment.command(&["reconcile"]));
    assert_eq!(code, Some(0), "{stderr}");
    assert!(page.contains("drop filled-0: sound") && page.contains("tell the same"), "{page}");

    deployment.redis.cli(&["HINCRBY", "{s00}:drop:filled-1", "available", "2"]);
    let (code, page, _) = run(&mut deployment.command(&["reconcile"]));
    assert_eq!(code, Some(1));
    assert!(page.contains("drop filled-1: DIFFERS") && page.contains("available: 2 units"), "{page}");
    let (code, found) = deployment.json(&["reconcile", "--drop", "filled-1", "--json"]);
    let drops = found["shards"][0]["drops"].as_array().expect("a list");
    assert_eq!((code, &found["verdict"], drops.len()), (Some(1), &"drift".into(), 1), "{found}");
    assert_eq!(drops[0]["drift"][1]["kind"], "available", "{found}");
    assert_eq!(run(&mut deployment.command(&["reconcile", "--drop", "filled-0"])).0, Some(0), "the other is sound");

    let (code, _, stderr) = run(&mut deployment.command(&["reconcile", "--drop", "never"]));
    assert_eq!((code, stderr.contains("there is no drop never")), (Some(2), true), "{stderr}");
    deployment.redis.kill().await;
    assert_eq!(run(&mut deployment.command(&["reconcile"])).0, Some(2), "Redis is away");
}
