//! What a deployment stands on.

use super::kinds::Kind;

/// A deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// One Redis whose append-only file is synced with every command; SQLite.
    Sqlite,
    /// The same Redis; a server of the MongoDB protocol.
    Mongodb,
    /// Three primaries with a replica each; SQLite.
    Cluster,
}

impl Scenario {
    pub const ALL: [Self; 3] = [Self::Sqlite, Self::Mongodb, Self::Cluster];

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Mongodb => "mongodb",
            Self::Cluster => "cluster",
        }
    }

    /// What an answer waits for, where the binary knows the setting. A Redis that syncs with every command keeps what it
    /// answered in any case, if the same one comes back.
    pub fn durability(self) -> &'static str {
        match self {
            Self::Sqlite | Self::Mongodb => "fsync",
            Self::Cluster => "replica",
        }
    }

    /// Whether a fault makes sense here.
    pub fn has(self, kind: Kind) -> bool {
        let single = self != Self::Cluster;
        match kind {
            Kind::KillRedis | Kind::FreezeRedis | Kind::ClockBack => single,
            Kind::CutRedis | Kind::LateCommand => single,
            Kind::StopArchive | Kind::KillArchive | Kind::FreezeArchive => self == Self::Mongodb,
            Kind::LockArchive => self != Self::Mongodb,
            Kind::FullDisk => self == Self::Sqlite,
            Kind::LosePrimary | Kind::FreezePrimaryAndWorker => self == Self::Cluster,
            _ => true,
        }
    }
}
