//! What a server can keep, judged by its settings: in words that say what to change.

use std::collections::BTreeSet;

use super::info::Replication;

/// What was found out about a primary.
#[derive(Clone, Debug)]
pub(crate) struct Findings {
    /// What it says of its replicas.
    pub(crate) replication: Replication,
    /// Whether it keeps an append-only file.
    pub(crate) keeps_a_file: bool,
    /// Its settings; none where it forbids `CONFIG`.
    pub(crate) config: Option<ServerConfig>,
    /// Whether it knows `WAITAOF`.
    pub(crate) knows_waitaof: bool,
    /// Who may promote one of its replicas.
    pub(crate) promoter: Promoter,
    /// How many replicas may be promoted, connected or not; or why nobody knows.
    pub(crate) promotable: Result<usize, String>,
    /// Why a replica that is connected cannot be relied on; none if all can.
    pub(crate) bad_replica: Option<String>,
}

/// The settings that matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerConfig {
    /// `appendfsync`.
    pub(crate) append_fsync: String,
    /// `no-appendfsync-on-rewrite`.
    pub(crate) no_fsync_on_rewrite: bool,
    /// `min-replicas-to-write`; 0 also where `min-replicas-max-lag` turns it off.
    pub(crate) min_replicas: usize,
}

/// Who may make another server the primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Promoter {
    /// Nobody but a person.
    Operator,
    /// Sentinel.
    Sentinel,
    /// The cluster.
    Cluster,
}

/// When a server's file is synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Syncing {
    /// Before each answer: there is nothing to wait for.
    BeforeTheAnswer,
    /// After it: `WAITAOF` tells.
    AfterTheAnswer,
}

impl Findings {
    /// Whether a write is on disk when an answer is given, or can be waited for.
    pub(crate) fn syncing(&self) -> Result<Syncing, String> {
        const ALWAYS: &str = "set `appendfsync always`";
        let promotable = self.promotable.clone()?;
        match self.promoter {
            Promoter::Sentinel => return Err(promotes("Sentinel")),
            Promoter::Cluster if promotable > 0 => return Err(promotes("the cluster")),
            Promoter::Cluster | Promoter::Operator => {}
        }
        self.file()?;
        let Some(config) = &self.config else {
            let unknown = "it forbids CONFIG, so nobody can know whether it syncs before it answers; and it does not know \
                           WAITAOF, which would tell (Redis 7.2)";
            return if self.knows_waitaof { Ok(Syncing::AfterTheAnswer) } else { Err(unknown.to_owned()) };
        };
        match config.append_fsync.as_str() {
            "always" if !config.no_fsync_on_rewrite => Ok(Syncing::BeforeTheAnswer),
            "no" => Err(format!("`appendfsync no` never syncs: {ALWAYS}")),
            _ if self.knows_waitaof => Ok(Syncing::AfterTheAnswer),
            "always" => {
                Err("`no-appendfsync-on-rewrite yes` skips syncs while the file is rewritten: set it to `no`"
                    .to_owned())
            }
            other => Err(format!(
                "`appendfsync {other}` syncs after the answer, and this server does not know WAITAOF (Redis 7.2): {ALWAYS}"
            )),
        }
    }

    /// The replicas that must hold a write before an answer is given.
    pub(crate) fn replicas(&self) -> Result<BTreeSet<(String, u16)>, String> {
        let promotable = self.promotable.clone()?;
        if promotable == 0 {
            return Err("it has no replica: attach one, with an append-only file".to_owned());
        }
        self.file()?;
        let connected = self.replication.connected();
        if connected.len() != promotable {
            let found = connected.len();
            return Err(format!("{promotable} of its replicas may be promoted, and {found} are connected"));
        }
        if let Some(loading) = self.replication.replicas.iter().find(|replica| !replica.is_online) {
            return Err(format!("its replica {} still loads a copy", name(&loading.address)));
        }
        if let Some(bad) = &self.bad_replica {
            return Err(bad.clone());
        }
        match &self.config {
            None => Err("it forbids CONFIG, so nobody can know its `min-replicas-to-write`".to_owned()),
            Some(config) if config.min_replicas != promotable => Err(format!(
                "`min-replicas-to-write` is in effect {}, and {promotable} replicas may be promoted: set it to {promotable} \
                 (and `min-replicas-max-lag` above 0), or attach the replicas that are missing",
                config.min_replicas
            )),
            Some(_) => Ok(connected),
        }
    }

    fn file(&self) -> Result<(), String> {
        if self.keeps_a_file { Ok(()) } else { Err("it keeps no append-only file: set `appendonly yes`".to_owned()) }
    }
}

fn promotes(who: &str) -> String {
    format!("{who} may promote a replica that lacks what is on this server's disk: use durability `replica`")
}

/// A server's address in words.
pub(crate) fn name((host, port): &(String, u16)) -> String {
    format!("{host}:{port}")
}

#[cfg(test)]
mod tests {
    use super::super::info::Replica;
    use super::*;

    fn replica(port: u16) -> Replica {
        Replica { address: ("127.0.0.1".to_owned(), port), is_online: true, offset: 7 }
    }

    /// A server that can keep everything.
    fn good() -> Findings {
        let replication =
            Replication { token: "t".to_owned(), is_primary: true, offset: 7, replicas: vec![replica(1), replica(2)] };
        let config = ServerConfig { append_fsync: "always".to_owned(), no_fsync_on_rewrite: false, min_replicas: 2 };
        Findings {
            replication,
            keeps_a_file: true,
            config: Some(config),
            knows_waitaof: false,
            promoter: Promoter::Operator,
            promotable: Ok(2),
            bad_replica: None,
        }
    }

    fn with(change: impl FnOnce(&mut Findings)) -> Findings {
        let mut findings = good();
        change(&mut findings);
        findings
    }

    fn set(change: impl FnOnce(&mut ServerConfig)) -> Findings {
        with(|findings| change(findings.config.as_mut().expect("there")))
    }

    #[test]
    fn a_file_is_synced_before_the_answer_or_waited_for() {
        assert_eq!(good().syncing(), Ok(Syncing::BeforeTheAnswer));
        let everysec = |findings: &mut Findings| {
            let config = findings.config.as_mut().expect("there");
            config.append_fsync = "everysec".to_owned();
            findings.knows_waitaof = true;
        };
        assert_eq!(with(everysec).syncing(), Ok(Syncing::AfterTheAnswer));
        let managed = |findings: &mut Findings| (findings.config, findings.knows_waitaof) = (None, true);
        assert_eq!(with(managed).syncing(), Ok(Syncing::AfterTheAnswer));
    }

    #[test]
    fn each_setting_that_breaks_fsync_is_named() {
        let wrong = [
            (with(|f| f.keeps_a_file = false), "appendonly yes"),
            (set(|c| c.append_fsync = "everysec".to_owned()), "appendfsync always"),
            (set(|c| c.append_fsync = "no".to_owned()), "appendfsync always"),
            (set(|c| c.no_fsync_on_rewrite = true), "no-appendfsync-on-rewrite"),
            (with(|f| f.config = None), "CONFIG"),
            (with(|f| f.promoter = Promoter::Sentinel), "Sentinel"),
            (with(|f| f.promoter = Promoter::Cluster), "the cluster"),
            (with(|f| f.promotable = Err("Sentinel is silent".to_owned())), "Sentinel is silent"),
        ];
        for (findings, word) in wrong {
            let reason = findings.syncing().expect_err(word);
            assert!(reason.contains(word), "{word}: {reason}");
        }
        let alone = with(|f| (f.promoter, f.promotable) = (Promoter::Cluster, Ok(0)));
        assert_eq!(alone.syncing(), Ok(Syncing::BeforeTheAnswer), "a cluster without replicas promotes nobody");
    }

    #[test]
    fn all_replicas_that_may_be_promoted_are_waited_for() {
        assert_eq!(good().replicas().map(|replicas| replicas.len()), Ok(2));
        let wrong = [
            (with(|f| f.keeps_a_file = false), "appendonly yes"),
            (with(|f| f.promotable = Ok(0)), "no replica"),
            (with(|f| f.promotable = Ok(3)), "2 are connected"),
            (with(|f| f.promotable = Ok(1)), "2 are connected"),
            (with(|f| f.promotable = Err("Sentinel is silent".to_owned())), "Sentinel is silent"),
            (with(|f| f.replication.replicas[1].is_online = false), "127.0.0.1:2 still loads"),
            (with(|f| f.bad_replica = Some("no file there".to_owned())), "no file there"),
            (set(|c| c.min_replicas = 1), "min-replicas-to-write"),
            (set(|c| c.min_replicas = 3), "min-replicas-to-write"),
            (with(|f| f.config = None), "CONFIG"),
        ];
        for (findings, word) in wrong {
            let reason = findings.replicas().expect_err(word);
            assert!(reason.contains(word), "{word}: {reason}");
        }
    }
}
