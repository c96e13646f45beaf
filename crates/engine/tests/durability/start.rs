//! Whom an engine refuses to start on, in words that say what to change.

use stampede_domain::Durability;
use stampede_engine::{ConnectError, Engine, EngineSettings};
use stampede_testkit::Redis;

use crate::servers::{knows_waitaof, options, replica_of};
use crate::support::deployment;

async fn start(server: &Redis, durability: Durability) -> Result<Engine, ConnectError> {
    let settings = EngineSettings { redis_url: server.url(), durability, ..EngineSettings::default() };
    Engine::connect(settings, deployment()).await
}

async fn refusal(server: &Redis, durability: Durability) -> String {
    match start(server, durability).await {
        Err(error @ ConnectError::NotDurable { .. }) => error.to_string(),
        Err(other) => panic!("{other}"),
        Ok(_) => String::new(),
    }
}

/// Commands that set something, to a server.
type Commands<'a> = &'a [&'a [&'a str]];

fn tell(server: &Redis, commands: Commands<'_>) {
    for command in commands {
        assert_eq!(server.cli(command), "OK", "{command:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_may_lose_its_file_is_refused() {
    let server = Redis::start_with(stampede_testkit::RedisOptions {
        append_fsync: Some("always"),
        ..stampede_testkit::RedisOptions::default()
    })
    .await;
    assert_eq!(refusal(&server, Durability::Fsync).await, "");
    let waits = knows_waitaof(&server);
    let cases: &[(Commands<'_>, &str, Commands<'_>, bool)] = &[
        (
            &[&["CONFIG", "SET", "appendonly", "no"]],
            "appendonly yes",
            &[&["CONFIG", "SET", "appendonly", "yes"]],
            false,
        ),
        (
            &[&["CONFIG", "SET", "appendfsync", "no"]],
            "appendfsync always",
            &[&["CONFIG", "SET", "appendfsync", "always"]],
            false,
        ),
        // What can be asked whether it has synced need not sync before it answers.
        (
            &[&["CONFIG", "SET", "appendfsync", "everysec"]],
            "appendfsync always",
            &[&["CONFIG", "SET", "appendfsync", "always"]],
            waits,
        ),
        (
            &[&["CONFIG", "SET", "no-appendfsync-on-rewrite", "yes"]],
            "no-appendfsync-on-rewrite",
            &[&["CONFIG", "SET", "no-appendfsync-on-rewrite", "no"]],
            waits,
        ),
        (&[&["ACL", "SETUSER", "default", "-config"]], "CONFIG", &[&["ACL", "SETUSER", "default", "+config"]], waits),
    ];
    for (wrong, word, right, accepted) in cases {
        tell(&server, wrong);
        let reason = refusal(&server, Durability::Fsync).await;
        assert_eq!(reason.is_empty(), *accepted, "{wrong:?}: {reason}");
        assert!(*accepted || (reason.contains(word) && reason.contains("`fsync`")), "{wrong:?}: {reason}");
        assert_eq!(refusal(&server, Durability::Memory).await, "", "{wrong:?}");
        tell(&server, right);
        assert_eq!(refusal(&server, Durability::Fsync).await, "", "{right:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_replicas_may_lack_something_is_refused() {
    let server = Redis::start_with(options(1)).await;
    assert!(refusal(&server, Durability::Replica).await.contains("no replica"));
    let replica = replica_of(&server, Some("everysec")).await;
    assert_eq!(refusal(&server, Durability::Replica).await, "");
    let cases: &[(&Redis, Commands<'_>, &str, Commands<'_>)] = &[
        (
            &server,
            &[&["CONFIG", "SET", "appendonly", "no"]],
            "appendonly yes",
            &[&["CONFIG", "SET", "appendonly", "yes"]],
        ),
        (
            &replica,
            &[&["CONFIG", "SET", "appendonly", "no"]],
            "its replica",
            &[&["CONFIG", "SET", "appendonly", "yes"]],
        ),
        (
            &server,
            &[&["CONFIG", "SET", "min-replicas-to-write", "0"]],
            "set it to 1",
            &[&["CONFIG", "SET", "min-replicas-to-write", "1"]],
        ),
        (
            &server,
            &[&["CONFIG", "SET", "min-replicas-to-write", "2"]],
            "set it to 1",
            &[&["CONFIG", "SET", "min-replicas-to-write", "1"]],
        ),
        (
            &server,
            &[&["CONFIG", "SET", "min-replicas-max-lag", "0"]],
            "min-replicas-max-lag",
            &[&["CONFIG", "SET", "min-replicas-max-lag", "10"]],
        ),
        (&server, &[&["ACL", "SETUSER", "default", "-config"]], "CONFIG", &[&["ACL", "SETUSER", "default", "+config"]]),
    ];
    for (who, wrong, word, right) in cases {
        tell(who, wrong);
        let reason = refusal(&server, Durability::Replica).await;
        assert!(reason.contains(word) && reason.contains("`replica`"), "{wrong:?}: {reason}");
        assert_eq!(refusal(&server, Durability::Memory).await, "", "{wrong:?}");
        tell(who, right);
        assert_eq!(refusal(&server, Durability::Replica).await, "", "{right:?}");
    }
    // Whoever cannot be asked is not relied on.
    replica.freeze();
    assert!(refusal(&server, Durability::Replica).await.contains("cannot be asked"));
    replica.thaw();
}
