//! The servers of tests do what the tests of the other crates rely on.

use std::time::{Duration, Instant};

use fred::prelude::*;
use stampede_testkit::{Proxy, Redis, RedisCluster, RedisOptions, Sentinels};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(10);
/// Long enough for a byte to cross the loopback interface a hundred times over.
const A_WHILE: Duration = Duration::from_millis(200);

fn always() -> RedisOptions {
    RedisOptions { append_fsync: Some("always"), ..RedisOptions::default() }
}

#[tokio::test]
async fn a_killed_redis_that_syncs_always_comes_back_with_its_data() {
    let mut redis = Redis::start_with(always()).await;
    let port = redis.port();
    for n in 0..100 {
        assert_eq!(redis.cli(&["SET", &format!("key{n}"), "value"]), "OK");
    }
    redis.kill().await;
    assert!(!redis.is_running());
    assert!(redis.try_cli(&["PING"]).is_err());

    redis.restart().await;
    assert_eq!(redis.port(), port);
    assert_eq!(redis.cli(&["DBSIZE"]), "100");
    assert_eq!(redis.cli(&["GET", "key99"]), "value");
}

#[tokio::test]
async fn a_killed_redis_without_a_file_comes_back_empty() {
    let mut redis = Redis::start().await;
    redis.cli(&["SET", "key", "value"]);
    redis.kill().await;
    redis.restart().await;
    assert_eq!(redis.cli(&["DBSIZE"]), "0");
}

#[tokio::test]
async fn a_redis_that_is_stopped_in_order_keeps_what_was_not_synced() {
    let options = RedisOptions {
        append_fsync: Some("everysec"),
        extra: vec![("maxmemory".into(), "64mb".into())],
        ..RedisOptions::default()
    };
    let mut redis = Redis::start_with(options).await;
    assert_eq!(redis.cli(&["CONFIG", "GET", "maxmemory"]), "maxmemory\n67108864");
    redis.cli(&["SET", "key", "value"]);
    redis.stop().await;
    redis.restart().await;
    assert_eq!(redis.cli(&["GET", "key"]), "value");
}

#[tokio::test]
async fn restored_files_bring_back_older_data_and_wiped_ones_none() {
    let copy = tempfile::tempdir().expect("a directory");
    let mut redis = Redis::start_with(always()).await;
    redis.cli(&["SET", "key", "old"]);
    redis.stop().await;
    redis.copy_files_to(copy.path());
    redis.restart().await;
    redis.cli(&["SET", "key", "new"]);

    redis.kill().await;
    redis.restore_files_from(copy.path());
    redis.restart().await;
    assert_eq!(redis.cli(&["GET", "key"]), "old");

    redis.kill().await;
    redis.wipe();
    redis.restart().await;
    assert_eq!(redis.cli(&["DBSIZE"]), "0");
}

#[tokio::test]
async fn a_given_directory_outlives_the_server() {
    let dir = tempfile::tempdir().expect("a directory");
    let options = || RedisOptions { dir: Some(dir.path().join("a directory")), ..always() };
    let redis = Redis::start_with(options()).await;
    redis.cli(&["SET", "key", "value"]);
    drop(redis);

    let redis = Redis::start_with(options()).await;
    assert_eq!(redis.dir(), dir.path().join("a directory"));
    assert_eq!(redis.cli(&["GET", "key"]), "value");
}

#[tokio::test]
async fn a_frozen_redis_executes_what_was_sent_once_it_thaws() {
    let redis = Redis::start().await;
    let mut connection = TcpStream::connect(("127.0.0.1", redis.port())).await.expect("a connection");
    redis.freeze();
    connection.write_all(b"INCR n\r\n").await.expect("the command is sent");
    let mut reply = [0; 4];
    assert!(timeout(A_WHILE, connection.read_exact(&mut reply)).await.is_err(), "a frozen server answered");

    redis.thaw();
    timeout(SOON, connection.read_exact(&mut reply)).await.expect("an answer").expect("a reply");
    assert_eq!(&reply, b":1\r\n");
}

#[tokio::test]
async fn a_frozen_redis_can_be_killed_and_stopped() {
    let mut redis = Redis::start().await;
    redis.freeze();
    redis.kill().await;
    redis.restart().await;
    redis.freeze();
    redis.stop().await;
    assert!(!redis.is_running());
}

#[tokio::test]
#[should_panic(expected = "Bad directive")]
async fn a_redis_that_does_not_start_shows_its_log() {
    let extra = vec![("no-such-setting".into(), "1".into())];
    Redis::start_with(RedisOptions { extra, ..RedisOptions::default() }).await;
}

#[tokio::test]
async fn a_dropped_redis_is_gone() {
    let redis = Redis::start().await;
    let (port, dir) = (redis.port(), redis.dir().to_owned());
    drop(redis);
    assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err());
    assert!(!dir.exists());
}

#[tokio::test]
async fn replies_of_the_command_line_are_texts() {
    let redis = Redis::start().await;
    redis.cli(&["RPUSH", "list", "a b", "c"]);
    assert_eq!(redis.cli(&["LRANGE", "list", "0", "-1"]), "a b\nc");
    assert_eq!(redis.cli(&["GET", "nothing"]), "");
    assert!(redis.cli(&["GET", "list"]).starts_with("WRONGTYPE "));
}

#[tokio::test]
async fn a_cluster_answers_and_spreads_keys() {
    let mut cluster = RedisCluster::start(3).await;
    let client = Client::new(Config::from_url(&cluster.url()).expect("a URL of a cluster"), None, None, None);
    client.init().await.expect("a connection to the cluster");
    for n in 0..300 {
        let _: () = client.set(format!("key{n}"), n, None, None, false).await.expect("the key is set");
    }
    let holder = cluster.node_of("key7");
    assert_eq!(cluster.nodes_mut()[holder].cli(&["GET", "key7"]), "7");

    let held: Vec<u32> = cluster.nodes().iter().map(|node| node.cli(&["DBSIZE"]).parse().expect("a count")).collect();
    assert_eq!(held.iter().sum::<u32>(), 300);
    assert!(held.iter().all(|&count| count > 50), "the keys are not spread: {held:?}");
    client.quit().await.expect("the client leaves");
}

#[tokio::test]
async fn a_killed_node_joins_its_cluster_again() {
    let mut cluster = RedisCluster::start_with(2, always()).await;
    let holder = cluster.node_of("key");
    assert_eq!(cluster.nodes_mut()[holder].cli(&["SET", "key", "value"]), "OK");
    cluster.nodes_mut()[holder].kill().await;
    cluster.nodes_mut()[holder].restart().await;
    cluster.wait_until_ready().await;
    assert_eq!(cluster.nodes_mut()[holder].cli(&["GET", "key"]), "value");
}

#[tokio::test]
async fn a_replica_follows_and_can_lead() {
    let first = Redis::start_with(always()).await;
    let options = RedisOptions { replica_of: Some(first.port()), ..always() };
    let second = Redis::start_with(options).await;
    first.cli(&["SET", "key", "old"]);
    second.wait_until_level_with(&first).await;
    assert_eq!(second.cli(&["GET", "key"]), "old");
    assert!(first.is_primary() && !second.is_primary());

    second.lead();
    second.cli(&["SET", "key", "new"]);
    first.follow(&second);
    first.wait_until_level_with(&second).await;
    assert_eq!(first.cli(&["GET", "key"]), "new");
    assert!(second.is_primary() && !first.is_primary());
}

#[tokio::test]
async fn a_clusters_replica_takes_over_and_the_old_primary_follows_it() {
    let mut cluster = RedisCluster::start_with_replicas(3, 1, RedisOptions::default()).await;
    let old = cluster.node_of("key");
    cluster.nodes()[old].cli(&["SET", "key", "value"]);
    // `WAIT` would answer at once on a connection that has written nothing.
    cluster.nodes()[3 + old].wait_until_level_with(&cluster.nodes()[old]).await;
    cluster.nodes_mut()[old].kill().await;
    assert_eq!(cluster.primary_of("key"), None);
    cluster.wait_until_healed().await;
    let new = cluster.node_of("key");
    assert_eq!(new, 3 + old, "the replica of that master");
    assert_eq!(cluster.nodes()[new].cli(&["GET", "key"]), "value");

    cluster.nodes_mut()[old].restart().await;
    cluster.wait_until_healed().await;
    assert_eq!(cluster.node_of("key"), new);
    assert!(!cluster.nodes()[old].is_primary());
}

#[tokio::test]
async fn a_frozen_primary_is_replaced_and_gives_way_when_it_thaws() {
    let cluster = RedisCluster::start_with_replicas(3, 1, RedisOptions::default()).await;
    let old = cluster.node_of("key");
    cluster.nodes()[old].freeze();
    cluster.wait_until_healed().await;
    let new = cluster.node_of("key");
    assert_ne!(new, old);
    cluster.nodes()[old].thaw();
    cluster.wait_until_healed().await;
    assert_eq!(cluster.node_of("key"), new);
}

#[tokio::test]
async fn a_slot_moves_step_by_step() {
    let cluster = RedisCluster::start(2).await;
    let from = cluster.node_of("{slot}");
    let to = 1 - from;
    let (source, target) = (&cluster.nodes()[from], &cluster.nodes()[to]);
    source.cli(&["MSET", "{slot}a", "1", "{slot}b", "2"]);

    let moving = cluster.begin_move("{slot}", to);
    assert_eq!((moving.from(), moving.to()), (from, to));
    moving.move_key(&cluster, "{slot}a");
    assert_eq!(moving.keys(&cluster), ["{slot}b"]);
    assert!(source.cli(&["GET", "{slot}a"]).starts_with("ASK "));
    assert!(source.cli(&["MGET", "{slot}a", "{slot}b"]).starts_with("TRYAGAIN "));
    moving.give_up(&cluster);
    assert_eq!(source.cli(&["MGET", "{slot}a", "{slot}b"]), "\n2");
    moving.bring_back(&cluster);
    assert_eq!(source.cli(&["MGET", "{slot}a", "{slot}b"]), "1\n2");

    cluster.move_slot("{slot}", to);
    assert_eq!(cluster.node_of("{slot}"), to);
    assert_eq!(target.cli(&["MGET", "{slot}a", "{slot}b"]), "1\n2");
    assert!(source.cli(&["GET", "{slot}a"]).starts_with("MOVED "));
    cluster.wait_until_ready().await;
}

#[tokio::test]
async fn keys_that_are_not_brought_back_are_lost_to_their_slot() {
    let cluster = RedisCluster::start(2).await;
    let from = cluster.node_of("{slot}");
    cluster.nodes()[from].cli(&["MSET", "{slot}a", "1", "{slot}b", "2"]);
    let moving = cluster.begin_move("{slot}", 1 - from);
    assert_eq!(moving.move_keys(&cluster, 1), 1);
    moving.give_up(&cluster);
    moving.leave_behind(&cluster);
    assert_eq!(cluster.nodes()[from].cli(&["EXISTS", "{slot}a", "{slot}b"]), "1");
    cluster.wait_until_ready().await;
}

#[tokio::test]
async fn sentinels_replace_a_primary_on_demand() {
    let sentinels = Sentinels::start(1).await;
    let client = Client::new(Config::from_url(&sentinels.url()).expect("a URL of sentinels"), None, None, None);
    client.init().await.expect("a connection to the primary");
    let _: () = client.set("key", "value", None, None, false).await.expect("the key is set");
    assert_eq!(sentinels.nodes()[0].cli(&["GET", "key"]), "value");
    client.quit().await.expect("the client leaves");

    assert_eq!(sentinels.fail_over().await, 1);
    assert_eq!(sentinels.primary(), Some(1));
    assert_eq!(sentinels.nodes()[1].cli(&["GET", "key"]), "value");
    sentinels.wait_until_healed().await;
    assert!(!sentinels.nodes()[0].is_primary());
}

#[tokio::test]
async fn sentinels_replace_a_killed_primary_and_one_that_stands_still() {
    let mut sentinels = Sentinels::start(1).await;
    sentinels.nodes_mut()[0].kill().await;
    assert_eq!(sentinels.wait_until_replaced(0).await, 1);
    sentinels.nodes_mut()[0].restart().await;
    sentinels.wait_until_healed().await;
    assert!(!sentinels.nodes()[0].is_primary());

    sentinels.nodes()[1].freeze();
    assert_eq!(sentinels.wait_until_replaced(1).await, 0);
    assert!(sentinels.nodes()[0].is_primary());
    sentinels.nodes()[1].thaw();
    sentinels.wait_until_healed().await;
    assert!(!sentinels.nodes()[1].is_primary());
}

/// A connection through a proxy, and the server at its end.
struct Line {
    redis: Redis,
    proxy: Proxy,
    stream: TcpStream,
}

impl Line {
    async fn open() -> Line {
        let redis = Redis::start().await;
        let proxy = Proxy::start(redis.port()).await;
        let stream = TcpStream::connect(("127.0.0.1", proxy.port())).await.expect("a connection");
        let mut line = Line { redis, proxy, stream };
        line.send("PING").await;
        assert_eq!(line.reply().await.expect("a reply"), "+PONG");
        line
    }

    async fn send(&mut self, command: &str) {
        self.stream.write_all(format!("{command}\r\n").as_bytes()).await.expect("the command is sent");
    }

    /// The next line of a reply; `None` when the connection has ended.
    async fn reply(&mut self) -> Option<String> {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let byte = timeout(SOON, self.stream.read_u8()).await.expect("a reply or an end in time");
            line.push(byte.ok()?);
        }
        Some(String::from_utf8_lossy(&line).trim_end().to_owned())
    }

    async fn is_silent(&self) -> bool {
        timeout(A_WHILE, self.stream.peek(&mut [0])).await.is_err()
    }

    async fn until_server_says(&self, command: &[&str], wanted: &str) {
        let deadline = Instant::now() + SOON;
        while self.redis.cli(command) != wanted {
            assert!(Instant::now() < deadline, "{command:?} never answered {wanted}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

#[tokio::test]
async fn the_proxy_cuts() {
    let mut line = Line::open().await;
    assert_eq!(line.proxy.connections(), 1);
    line.proxy.cut();
    assert_eq!(line.proxy.connections(), 0);
    assert_eq!(line.reply().await, None);

    line.stream = TcpStream::connect(("127.0.0.1", line.proxy.port())).await.expect("a new connection");
    line.send("PING").await;
    assert_eq!(line.reply().await.as_deref(), Some("+PONG"));
}

#[tokio::test]
async fn the_proxy_refuses_new_connections_and_keeps_the_old() {
    let mut line = Line::open().await;
    line.proxy.refuse(true);
    assert!(TcpStream::connect(("127.0.0.1", line.proxy.port())).await.is_err());
    line.send("PING").await;
    assert_eq!(line.reply().await.as_deref(), Some("+PONG"));

    line.proxy.refuse(false);
    line.stream = TcpStream::connect(("127.0.0.1", line.proxy.port())).await.expect("a new connection");
    line.send("PING").await;
    assert_eq!(line.reply().await.as_deref(), Some("+PONG"));
}

#[tokio::test]
async fn the_proxy_delays() {
    let delay = Duration::from_millis(150);
    let mut line = Line::open().await;
    line.proxy.delay_to_server(delay);
    let sent = Instant::now();
    line.send("INCR n").await;
    assert_eq!(line.reply().await.as_deref(), Some(":1"));
    assert!(sent.elapsed() >= delay);

    line.proxy.delay_to_server(Duration::ZERO);
    line.proxy.delay_to_client(delay);
    let sent = Instant::now();
    line.send("INCR n").await;
    assert_eq!(line.reply().await.as_deref(), Some(":2"));
    assert!(sent.elapsed() >= delay);
}

#[tokio::test]
async fn the_proxy_holds_answers_while_requests_take_effect() {
    let mut line = Line::open().await;
    line.proxy.hold_to_client(true);
    line.send("INCR n").await;
    line.until_server_says(&["GET", "n"], "1").await;
    assert!(line.is_silent().await);

    line.proxy.release();
    assert_eq!(line.reply().await.as_deref(), Some(":1"));

    line.proxy.hold_to_client(true);
    line.send("INCR n").await;
    line.until_server_says(&["GET", "n"], "2").await;
    line.proxy.cut();
    assert_eq!(line.reply().await, None);
}

#[tokio::test]
async fn the_proxy_holds_requests_and_delivers_them_after_their_sender_has_gone() {
    let mut line = Line::open().await;
    line.proxy.hold_to_server(true);
    line.send("INCR n").await;
    // The proxy has the command before the client's side is closed: nothing can overtake what it has read.
    assert!(line.is_silent().await);
    line.proxy.cut_clients();
    assert_eq!(line.reply().await, None);
    assert_eq!(line.redis.cli(&["EXISTS", "n"]), "0");

    line.proxy.release();
    line.until_server_says(&["GET", "n"], "1").await;
}

/// Starts a Redis, says where it is, and never ends: the body of the test process that the next test kills.
#[tokio::test]
#[ignore = "run by servers_do_not_outlive_a_killed_test_process"]
async fn a_test_process_with_a_server() {
    let redis = Redis::start().await;
    println!("server {} {}", redis.port(), redis.dir().display());
    std::future::pending::<()>().await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn servers_do_not_outlive_a_killed_test_process() {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    let mut process = Command::new(std::env::current_exe().expect("this test's program"))
        .args(["a_test_process_with_a_server", "--exact", "--ignored", "--nocapture"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("a second test process");
    let output = BufReader::new(process.stdout.take().expect("its output"));
    let line = output.lines().map_while(Result::ok).find(|line| line.contains("server "));
    let line = line.expect("where its server is");
    let (_, server) = line.split_once("server ").expect("a port and a directory");
    let (port, dir) = server.split_once(' ').expect("a port and a directory");
    let port: u16 = port.parse().expect("a port");
    assert!(TcpStream::connect(("127.0.0.1", port)).await.is_ok());

    process.kill().expect("the process is killed");
    process.wait().expect("the process has ended");
    let deadline = Instant::now() + SOON;
    while TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
        assert!(Instant::now() < deadline, "the server outlived its test process");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    std::fs::remove_dir_all(dir).expect("the files that it could not delete");
}

#[tokio::test]
async fn the_proxy_refuses_at_once_while_processes_are_being_started() {
    // A process that is being started holds a copy of every open socket for a moment.
    let starting = std::thread::spawn(|| {
        for _ in 0..300 {
            std::process::Command::new("true").status().expect("a process");
        }
    });
    let line = Line::open().await;
    while !starting.is_finished() {
        line.proxy.refuse(true);
        assert!(TcpStream::connect(("127.0.0.1", line.proxy.port())).await.is_err());
        line.proxy.refuse(false);
        assert!(TcpStream::connect(("127.0.0.1", line.proxy.port())).await.is_ok());
    }
}

#[tokio::test]
async fn the_proxy_replaces_texts_of_the_same_length() {
    let mut line = Line::open().await;
    line.proxy.rewrite(&[("SET k yes".to_owned(), "SET k no ".to_owned())]);
    line.send("SET k yes").await;
    assert_eq!(line.reply().await.as_deref(), Some("+OK"));
    assert_eq!(line.redis.cli(&["GET", "k"]), "yes", "on new connections only");

    line.stream = TcpStream::connect(("127.0.0.1", line.proxy.port())).await.expect("a new connection");
    line.send("SET k yes").await;
    assert_eq!(line.reply().await.as_deref(), Some("+OK"));
    assert_eq!(line.redis.cli(&["GET", "k"]), "no");
}

#[tokio::test]
async fn a_redis_comes_back_with_its_clock_set_back() {
    if !stampede_testkit::can_set_clock_back() {
        eprintln!("left out: libfaketime is not installed (the package faketime)");
        return;
    }
    let seconds = |redis: &Redis| -> i64 {
        redis.cli(&["TIME"]).lines().next().and_then(|line| line.parse().ok()).expect("a number of seconds")
    };
    let mut redis = Redis::start_with(always()).await;
    redis.cli(&["SET", "key", "value"]);
    let before = seconds(&redis);
    redis.kill().await;
    redis.set_clock_back(3_600);
    redis.restart().await;
    assert!(seconds(&redis) < before - 1_800);
    assert_eq!(redis.cli(&["GET", "key"]), "value");
    redis.set_clock_back(0);
    redis.restart().await;
    assert!(seconds(&redis) >= before);
}
