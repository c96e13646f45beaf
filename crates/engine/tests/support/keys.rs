//! Looking at a shard's keys, and damaging them.

use std::collections::BTreeMap;

use bytes::Bytes;
use fred::clients::Client;
use fred::interfaces::{ClientLike, LuaInterface};
use fred::types::config::Config;
use fred::types::{Builder, ClusterHash, CustomCommand, Value};
use stampede_domain::Shard;
use stampede_engine::Script;
use stampede_testkit::Redis;

/// The keys of a shard with all that they hold, as `DUMP` writes it: consumers and pending entries of a stream included.
pub type Image = BTreeMap<String, Bytes>;

/// A connection to the very server that holds a shard.
pub struct Probe<'a> {
    redis: &'a Redis,
    shard: Shard,
}

impl<'a> Probe<'a> {
    pub fn new(redis: &'a Redis, shard: Shard) -> Self {
        Self { redis, shard }
    }

    /// A client of that server, which must not be redirected.
    pub async fn client(&self) -> Client {
        let client =
            Builder::from_config(Config::from_url(&self.redis.url()).expect("a url")).build().expect("a client");
        client.init().await.expect("the server answers");
        client
    }

    /// All keys of the shard.
    pub async fn image(&self, client: &Client) -> Image {
        let keys = self.redis.cli(&["KEYS", &format!("{{{}}}:*", self.shard)]);
        let mut image = Image::new();
        for key in keys.lines().filter(|key| !key.is_empty()) {
            let dump: Bytes = call(client, "DUMP", vec![key.into()]).await.convert().expect("bytes");
            image.insert(key.to_owned(), dump);
        }
        image
    }

    /// Makes the shard's keys what they were.
    pub async fn restore(&self, client: &Client, image: &Image) {
        for key in self.redis.cli(&["KEYS", &format!("{{{}}}:*", self.shard)]).lines() {
            if !image.contains_key(key) {
                self.redis.cli(&["DEL", key]);
            }
        }
        for (key, dump) in image {
            let args = vec![key.as_str().into(), 0.into(), Value::Bytes(dump.clone()), "REPLACE".into()];
            call(client, "RESTORE", args).await;
        }
    }
}

async fn call(client: &Client, name: &'static str, args: Vec<Value>) -> Value {
    let command = CustomCommand::new_static(name, ClusterHash::FirstKey, false);
    client.custom(command, args).await.unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Runs a script as a sender with any arguments would. Returns the code, and what follows it.
pub async fn run_script(client: &Client, script: &Script, keys: Vec<String>, args: Vec<Value>) -> (String, Vec<Value>) {
    let reply: Value = client.eval(script.source, keys, args).await.unwrap_or_else(|error| panic!("{error}"));
    let mut values = reply.into_array().into_iter();
    let code = values.next().and_then(|code| code.into_string()).expect("a code");
    (code, values.collect())
}
