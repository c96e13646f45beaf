//! The kinds of faults.

/// What can be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    KillApi,
    KillWorker,
    KillRedis,
    RollingRestart,
    FreezeApi,
    FreezeWorker,
    FreezeRedis,
    StopArchive,
    KillArchive,
    FreezeArchive,
    LockArchive,
    FullDisk,
    ClockBack,
    LosePrimary,
    FreezePrimaryAndWorker,
    CutRedis,
    CutClients,
    Delay,
    HalfOpen,
    LateCommand,
    FlushScripts,
    KillConnections,
}

impl Kind {
    pub const ALL: [Self; 22] = [
        Self::KillApi,
        Self::KillWorker,
        Self::KillRedis,
        Self::RollingRestart,
        Self::FreezeApi,
        Self::FreezeWorker,
        Self::FreezeRedis,
        Self::StopArchive,
        Self::KillArchive,
        Self::FreezeArchive,
        Self::LockArchive,
        Self::FullDisk,
        Self::ClockBack,
        Self::LosePrimary,
        Self::FreezePrimaryAndWorker,
        Self::CutRedis,
        Self::CutClients,
        Self::Delay,
        Self::HalfOpen,
        Self::LateCommand,
        Self::FlushScripts,
        Self::KillConnections,
    ];

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::KillApi => "kill-api",
            Self::KillWorker => "kill-worker",
            Self::KillRedis => "kill-redis",
            Self::RollingRestart => "rolling-restart",
            Self::FreezeApi => "freeze-api",
            Self::FreezeWorker => "freeze-worker",
            Self::FreezeRedis => "freeze-redis",
            Self::StopArchive => "stop-archive",
            Self::KillArchive => "kill-archive",
            Self::FreezeArchive => "freeze-archive",
            Self::LockArchive => "lock-archive",
            Self::FullDisk => "full-disk",
            Self::ClockBack => "clock-back",
            Self::LosePrimary => "lose-primary",
            Self::FreezePrimaryAndWorker => "freeze-primary-and-worker",
            Self::CutRedis => "cut-redis",
            Self::CutClients => "cut-clients",
            Self::Delay => "delay",
            Self::HalfOpen => "half-open",
            Self::LateCommand => "late-command",
            Self::FlushScripts => "flush-scripts",
            Self::KillConnections => "kill-connections",
        }
    }

    /// Whether it breaks connections, not processes: one of each may go on at the same time.
    pub fn is_of_the_network(self) -> bool {
        self >= Self::CutRedis
    }
}
