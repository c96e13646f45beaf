//! Redis and the archive, as real servers that can be broken.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use rusqlite::Connection;
use stampede_testkit::{OwnMongo, Redis, RedisCluster, RedisOptions};

/// Room for the archive of a round; what a full disk is made of.
const DISK_BYTES: usize = 160 * 1024 * 1024;

/// One Redis, or several.
pub enum HotState {
    Single(Redis),
    Cluster(RedisCluster),
}

impl HotState {
    /// One that keeps all that it has answered.
    pub async fn single() -> Self {
        Self::Single(Redis::start_with(always()).await)
    }

    /// Three primaries with a replica each; a primary without its replica takes no writes.
    pub async fn cluster() -> Self {
        let mut options = always();
        options.extra.push(("min-replicas-to-write".to_owned(), "1".to_owned()));
        options.extra.push(("min-replicas-max-lag".to_owned(), "2".to_owned()));
        Self::Cluster(RedisCluster::start_with_replicas(3, 1, options).await)
    }

    pub fn url(&self) -> String {
        match self {
            Self::Single(redis) => redis.url(),
            Self::Cluster(cluster) => cluster.url(),
        }
    }

    /// The port of a single Redis.
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Single(redis) => Some(redis.port()),
            Self::Cluster(_) => None,
        }
    }

    /// Sends a command to every node that answers; whether one did.
    pub fn tell(&self, command: &[&str]) -> bool {
        let nodes = match self {
            Self::Single(redis) => std::slice::from_ref(redis),
            Self::Cluster(cluster) => cluster.nodes(),
        };
        let awake = nodes.iter().filter(|node| node.is_awake());
        awake.filter(|node| node.try_cli(command).is_ok()).count() > 0
    }

    /// Brings back every node that is gone, with the right time.
    pub async fn mend(&mut self, clock_is_back: bool) {
        match self {
            Self::Single(redis) => {
                if clock_is_back {
                    redis.set_clock_back(0);
                    redis.restart().await;
                } else if !redis.is_running() {
                    redis.restart().await;
                }
            }
            Self::Cluster(cluster) => {
                for node in cluster.nodes_mut() {
                    if !node.is_running() {
                        node.restart().await;
                    } else if !node.is_awake() {
                        node.thaw();
                    }
                }
                cluster.wait_until_healed().await;
            }
        }
    }
}

fn always() -> RedisOptions {
    RedisOptions { append_fsync: Some("always"), ..RedisOptions::default() }
}

/// The archive.
pub enum Store {
    Sqlite { path: PathBuf, disk: Option<Disk> },
    Mongo(OwnMongo),
}

impl Store {
    /// A file, on a small disk of its own if one can be had.
    pub fn sqlite(dir: &Path) -> Self {
        let disk = Disk::mount(&dir.join("disk"));
        let home = disk.as_ref().map_or(dir, |disk| &disk.mounted);
        Self::Sqlite { path: home.join("archive.db"), disk }
    }

    pub fn url(&self) -> String {
        match self {
            Self::Sqlite { path, .. } => format!("sqlite:{}", path.display()),
            Self::Mongo(mongo) => mongo.url("stampede"),
        }
    }

    pub fn disk(&self) -> Option<&Disk> {
        match self {
            Self::Sqlite { disk, .. } => disk.as_ref(),
            Self::Mongo(_) => None,
        }
    }

    /// Keeps everybody from writing, as long as it is held. Only a file can be locked.
    pub fn lock(&self) -> rusqlite::Result<Option<Connection>> {
        let Self::Sqlite { path, .. } = self else { return Ok(None) };
        let connection = Connection::open(path)?;
        connection.busy_timeout(std::time::Duration::from_secs(10))?;
        connection.execute_batch("BEGIN IMMEDIATE")?;
        Ok(Some(connection))
    }
}

/// A small file system in memory.
pub struct Disk {
    mounted: PathBuf,
}

impl Disk {
    /// None where the system does not let us.
    fn mount(at: &Path) -> Option<Self> {
        std::fs::create_dir_all(at).ok()?;
        let size = format!("size={DISK_BYTES}");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(at);
        let mounted = mount.output().is_ok_and(|output| output.status.success());
        mounted.then(|| Self { mounted: at.to_owned() })
    }

    /// Uses up what is left.
    pub fn fill(&self) {
        let Ok(mut file) = File::create(self.filler()) else { return };
        let mut piece = vec![1; 1 << 20];
        while !piece.is_empty() {
            if file.write_all(&piece).is_err() {
                piece.truncate(piece.len() / 2);
            }
        }
    }

    /// Gives it back.
    pub fn clear(&self) {
        let _ = std::fs::remove_file(self.filler());
    }

    fn filler(&self) -> PathBuf {
        self.mounted.join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Whoever still has it open keeps it until then.
        let _ = Command::new("umount").arg("--lazy").arg(&self.mounted).output();
    }
}
