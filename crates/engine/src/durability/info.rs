//! What a server says of itself in `INFO`.

use std::collections::BTreeSet;

/// `INFO replication`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Replication {
    /// The token: new after every start and every promotion.
    pub(crate) token: String,
    /// Whether it is a primary.
    pub(crate) is_primary: bool,
    /// How far its stream of changes is.
    pub(crate) offset: u64,
    /// The replicas that are connected.
    pub(crate) replicas: Vec<Replica>,
}

/// A replica, as its primary sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Replica {
    /// Host and port.
    pub(crate) address: (String, u16),
    /// Whether it follows the stream; until then it loads a copy.
    pub(crate) is_online: bool,
    /// How far it said that it has come.
    pub(crate) offset: u64,
}

impl Replication {
    /// Reads the section; `None` if it is not one.
    pub(crate) fn parse(info: &str) -> Option<Self> {
        let replicas = info.lines().filter_map(Replica::parse).collect();
        Some(Self {
            token: field(info, "master_replid")?.to_owned(),
            is_primary: field(info, "role")? == "master",
            offset: field(info, "master_repl_offset")?.parse().ok()?,
            replicas,
        })
    }

    /// The replicas that are connected.
    pub(crate) fn connected(&self) -> BTreeSet<(String, u16)> {
        self.replicas.iter().map(|replica| replica.address.clone()).collect()
    }

    /// Those that hold everything up to `offset`.
    pub(crate) fn holding(&self, offset: u64) -> BTreeSet<(String, u16)> {
        let holds = |replica: &&Replica| replica.is_online && replica.offset >= offset;
        self.replicas.iter().filter(holds).map(|replica| replica.address.clone()).collect()
    }
}

impl Replica {
    /// Reads `slave0:ip=127.0.0.1,port=6380,state=online,offset=42,lag=0`.
    fn parse(line: &str) -> Option<Self> {
        let (name, rest) = line.trim_end().split_once(':')?;
        name.strip_prefix("slave")?.parse::<u32>().ok()?;
        let value = |wanted: &str| rest.split(',').find_map(|pair| pair.strip_prefix(wanted)?.strip_prefix('='));
        Some(Self {
            address: (value("ip")?.to_owned(), value("port")?.parse().ok()?),
            is_online: value("state")? == "online",
            offset: value("offset")?.parse().ok()?,
        })
    }
}

/// A field of any section.
pub(crate) fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.trim_end().strip_prefix(name)?.strip_prefix(':'))
}

/// Whether `INFO persistence` says that there is an append-only file.
pub(crate) fn keeps_a_file(persistence: &str) -> bool {
    field(persistence, "aof_enabled") == Some("1")
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: &str = "# Replication\r\nrole:master\r\nconnected_slaves:2\r\nmin_slaves_good_slaves:2\r\n\
        slave0:ip=127.0.0.1,port=7001,state=online,offset=98,lag=1\r\n\
        slave1:ip=replica.example,port=7002,state=wait_bgsave,offset=0,lag=0,type=replica\r\n\
        master_replid:d3991572b3e96b1c38296132262a822420ef10be\r\nmaster_replid2:0\r\nmaster_repl_offset:98\r\n";

    #[test]
    fn a_primary_tells_how_far_its_replicas_are() {
        let info = Replication::parse(INFO).expect("readable");
        assert_eq!((info.token.as_str(), info.is_primary), ("d3991572b3e96b1c38296132262a822420ef10be", true));
        assert_eq!((info.offset, info.connected().len()), (98, 2));
        let first = BTreeSet::from([("127.0.0.1".to_owned(), 7001)]);
        assert_eq!((info.holding(98), info.holding(99)), (first, BTreeSet::new()));
        assert!(info.holding(0).len() == 1, "one that still loads holds nothing");
    }

    #[test]
    fn what_is_no_such_section_is_not_read() {
        assert_eq!(Replication::parse("# Server\r\nredis_version:7.0.15\r\n"), None);
        assert!(!keeps_a_file("aof_enabled:0\r\n") && keeps_a_file("# Persistence\r\naof_enabled:1\r\n"));
    }
}
