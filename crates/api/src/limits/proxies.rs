//! Which proxies are believed when they say for whom they ask.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

/// The most entries: each request may be compared with all of them.
const MAX: usize = 1_024;
/// How long the beginning of an IPv6 address is that stands for IPv4.
const MAPPED_BITS: u8 = 96;

/// Addresses and networks of proxies whose `X-Forwarded-For` is believed.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(Vec<IpNet>);

/// An entry cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidProxy {
    /// It is neither.
    #[error("{0:?} is no address and no network: write 192.0.2.7, 10.0.0.0/8 or 2001:db8::/32")]
    Form(String),
    /// Its address is longer than its prefix, so one of the two is a slip.
    #[error("{0} goes beyond its prefix: write {1} for the network, or the address without the prefix")]
    HostBits(String, IpNet),
    /// Everybody would be a proxy, and so could say to be anybody.
    #[error("{0} is everybody: name only the proxies, or every client could choose its own address")]
    Everybody(String),
    /// Too many entries.
    #[error("more than {MAX} entries: join them to larger networks")]
    TooMany,
}

impl TrustedProxies {
    /// Reads addresses (`192.0.2.7`) and networks (`10.0.0.0/8`).
    ///
    /// # Errors
    /// [`InvalidProxy`] for the first that is neither.
    pub fn parse(entries: &[String]) -> Result<Self, InvalidProxy> {
        if entries.len() > MAX {
            return Err(InvalidProxy::TooMany);
        }
        entries.iter().map(|entry| parse(entry)).collect::<Result<_, _>>().map(Self)
    }

    /// Whether it is one of them; the address in its shortest form, not as IPv4 within IPv6.
    pub(super) fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

fn parse(entry: &str) -> Result<IpNet, InvalidProxy> {
    let entry = entry.trim();
    let network = match entry.parse::<IpAddr>() {
        Ok(address) => IpNet::from(address),
        Err(_) => entry.parse().map_err(|_| InvalidProxy::Form(entry.to_owned()))?,
    };
    if network.trunc() != network {
        return Err(InvalidProxy::HostBits(entry.to_owned(), network.trunc()));
    }
    match unmapped(network) {
        network if network.prefix_len() == 0 => Err(InvalidProxy::Everybody(entry.to_owned())),
        network => Ok(network),
    }
}

/// The IPv4 network that an IPv6 one stands for, if it does.
fn unmapped(network: IpNet) -> IpNet {
    let IpNet::V6(v6) = network else { return network };
    let v4 = v6.network().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(MAPPED_BITS));
    v4.and_then(|(address, bits)| Ipv4Net::new(address, bits).ok()).map_or(network, IpNet::V4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(entries: &[&str]) -> Result<TrustedProxies, InvalidProxy> {
        TrustedProxies::parse(&entries.iter().map(|entry| (*entry).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn addresses_and_networks_are_read() {
        let proxies = proxies(&["192.0.2.7", " 10.0.0.0/8", "2001:db8::/32", "::ffff:172.16.0.0/108"]).expect("good");
        let trusted = |address: &str| proxies.contains(address.parse().expect("an address"));
        for address in ["192.0.2.7", "10.255.0.1", "2001:db8:1::1", "172.31.0.1"] {
            assert!(trusted(address), "{address}");
        }
        for address in ["192.0.2.8", "11.0.0.1", "2001:db9::1", "172.32.0.1", "::1"] {
            assert!(!trusted(address), "{address}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_what_could_be() {
        let message = |entry: &str| proxies(&[entry]).expect_err(entry).to_string();
        for entry in ["proxy.example", "10.0.0.0/33", "", "10.0.0.1:80", "*"] {
            assert!(message(entry).contains("write 192.0.2.7"), "{entry}");
        }
        assert!(message("10.0.0.1/8").contains("write 10.0.0.0/8"));
        for entry in ["0.0.0.0/0", "::/0", "::ffff:0.0.0.0/96"] {
            assert!(message(entry).contains("everybody"), "{entry}");
        }
        assert_eq!(proxies(&["10.0.0.1"; MAX + 1]).expect_err("too many"), InvalidProxy::TooMany);
        assert!(proxies(&["10.0.0.1"; MAX]).is_ok());
    }
}
