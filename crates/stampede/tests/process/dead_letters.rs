//! `stampede dead-letters`, beside the roles that it helps.

use std::process::Command;

use serde_json::Value;
use stampede_testkit::{Redis, SqliteFault, free_port};

use super::support::{Api, LIMIT, Running, run, signal, stampede};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// The documents of `list --json`.
fn listed(command: &mut Command) -> Vec<Value> {
    let (code, page, stderr) = run(command);
    assert_eq!(code, Some(0), "{stderr}");
    serde_json::from_str(&page).expect("JSON")
}

#[tokio::test]
async fn operators_see_replay_and_compensate_dead_letters() {
    let redis = Redis::start().await;
    let dir = tempfile::tempdir().expect("a folder");
    let archive = format!("sqlite:{}", dir.path().join("archive.db").display());
    let role = |args: &[&str]| -> Command {
        let mut command = stampede(args);
        command.env("STAMPEDE_REDIS_URL", redis.url()).env("STAMPEDE_ARCHIVE_URL", &archive);
        command.env("STAMPEDE_TOKEN_SECRET", SECRET).env("STAMPEDE_SIGN_IN", "handle").env("STAMPEDE_LOG", "warn");
        command.env("STAMPEDE_ADMIN_LISTEN", "127.0.0.1:0");
        command
    };
    let letters = |args: &[&str]| role(&[&["dead-letters"], args].concat());
    assert_eq!(run(&mut role(&["migrate"])).0, Some(0));
    let origin = format!("127.0.0.1:{}", free_port());
    let mut api = Running::start(&mut role(&["api", "--listen", &origin]));
    let mut worker = Running::start(&mut role(&["worker"]));
    let url = format!("http://{origin}");
    let shop = || Api::new(&format!("{url}/api/v1"));
    shop().wait_until_ready().await;
    let (code, _, stderr) = run(role(&["seed", "--units", "9", "--drop-id", "friday"]).env("API_URL", &url));
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(run(&mut letters(&["list"])), (Some(0), "There are no dead letters.\n".to_owned(), String::new()));

    let file = SqliteFault::open(&archive);
    file.refuse_kind("granted");
    let (ann, bob) = (shop().sign_in("ann").await, shop().sign_in("bob").await);
    let mut ids = Vec::new();
    for shopper in [&ann, &bob] {
        ids.push(shopper.order("friday", "once").await.2["id"].as_str().expect("an order").to_owned());
    }
    let deadline = std::time::Instant::now() + LIMIT;
    while listed(&mut letters(&["list", "--json"])).len() < 2 {
        assert!(std::time::Instant::now() < deadline, "the orders never became dead letters");
    }
    let documents = listed(&mut letters(&["list", "--json", "--drop", "friday"]));
    assert_eq!(
        documents.iter().map(|document| document["id"].as_str()).collect::<Vec<_>>(),
        [Some(&*ids[0]), Some(&*ids[1])]
    );
    assert_eq!((&documents[0]["state"], &documents[0]["kind"]), (&Value::from("dead"), &Value::from("granted")));
    assert!(documents[0]["reason"].as_str().is_some_and(|reason| reason.contains("refused by a test")));
    assert_eq!(listed(&mut letters(&["list", "--json", "--drop", "monday"])), Vec::<Value>::new());
    let (_, table, _) = run(&mut letters(&["list"]));
    let line = table.lines().find(|line| line.starts_with(&ids[0])).expect("a line");
    assert!(table.starts_with("FACT ") && line.contains("friday") && line.contains("refused by a test"), "{table}");

    // The archive still refuses it; a replay that failed says so.
    let (code, page, stderr) = run(&mut letters(&["replay", "--id", &ids[0]]));
    assert_eq!(
        (code, page.contains("refused again"), stderr.contains("1 of 1")),
        (Some(1), true, true),
        "{page}{stderr}"
    );
    file.accept_all();
    let (code, page, stderr) = run(&mut letters(&["replay", "--id", &ids[0]]));
    assert_eq!((code, page.contains("archived")), (Some(0), true), "{page}{stderr}");
    let (code, page, stderr) = run(&mut letters(&["compensate", "--all", "--drop", "friday", "--json"]));
    assert_eq!((code, page.contains("\"compensated\"")), (Some(0), true), "{page}{stderr}");
    for (shopper, id, status) in [(&ann, &ids[0], "confirmed"), (&bob, &ids[1], "compensated")] {
        assert_eq!(shopper.get(&format!("/orders/{id}")).await.2["status"], status);
    }
    let (code, page, _) = run(&mut letters(&["replay", "--id", &ids[0]]));
    assert_eq!((code, page.contains("no such dead letter")), (Some(1), true), "{page}");
    let (code, _, stderr) = run(&mut letters(&["list", "--shard", "8"]));
    assert_eq!((code, stderr.contains("no shard 8")), (Some(1), true), "{stderr}");

    for role in [&mut api, &mut worker] {
        signal(&role.pid(), "TERM");
        assert_eq!(role.wait().code(), Some(0));
    }
}

#[test]
fn letters_are_chosen_by_name() {
    for args in [&["dead-letters"][..], &["dead-letters", "replay"], &["dead-letters", "compensate", "--drop", "a"]] {
        assert_eq!(run(&mut stampede(args)).0, Some(2), "{args:?}");
    }
    assert_eq!(run(&mut stampede(&["dead-letters", "replay", "--all", "--id", "s00-e1-1-0.0"])).0, Some(2));
    assert_eq!(run(&mut stampede(&["dead-letters", "replay", "--id", "nonsense"])).0, Some(2));
}
