//! For whom a request is: the address of the client behind the proxies.

use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};

use axum::http::{HeaderMap, HeaderName};

use super::proxies::TrustedProxies;

/// The one header that is read. `Forwarded` (RFC 7239) is not: a proxy that writes only this one passes a `Forwarded` that
/// the client made up on untouched.
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// What counts as one client: an IPv4 address, or the first 64 bits of an IPv6 address, as the rest is each subscriber's
/// own to choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum AddressKey {
    V4(Ipv4Addr),
    V6([u16; 4]),
}

impl From<IpAddr> for AddressKey {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Self::V6([a, b, c, d])
            }
        }
    }
}

/// The client of a request that came from `peer`.
///
/// Each proxy writes behind the others' entries who asked it. So what a trusted proxy says is believed, from the right to
/// the left, up to the first address that is no trusted proxy. An entry that cannot be read is nobody: the proxy that
/// wrote it is the client then.
pub(crate) fn client_of(peer: IpAddr, headers: &HeaderMap, trusted: &TrustedProxies) -> IpAddr {
    let values = headers.get_all(X_FORWARDED_FOR).iter().rev();
    let entries = values.flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b','));
    let mut client = peer.to_canonical();
    for entry in entries.map(<[u8]>::trim_ascii).filter(|entry| !entry.is_empty()) {
        if !trusted.contains(client) {
            break;
        }
        match read_entry(entry) {
            Some(address) => client = address,
            None => break,
        }
    }
    client
}

/// An address, with a port or without; IPv6 in brackets or bare.
fn read_entry(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry).ok()?;
    let address = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            if !port.is_empty() {
                port.strip_prefix(':')?.parse::<u16>().ok()?;
            }
            IpAddr::V6(address.parse().ok()?)
        }
        None => match text.parse::<SocketAddrV4>() {
            Ok(with_port) => IpAddr::V4(*with_port.ip()),
            Err(_) => text.parse().ok()?,
        },
    };
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;
    use proptest::prelude::*;

    fn headers<V: AsRef<[u8]>>(values: &[V]) -> HeaderMap {
        let values = values.iter().filter_map(|value| HeaderValue::from_bytes(value.as_ref()).ok());
        values.map(|value| (X_FORWARDED_FOR, value)).collect()
    }

    fn trusted(entries: &[&str]) -> TrustedProxies {
        let entries: Vec<_> = entries.iter().map(|entry| (*entry).to_owned()).collect();
        TrustedProxies::parse(&entries).expect("proxies")
    }

    fn client(peer: &str, values: &[&str]) -> String {
        let trusted = trusted(&["10.0.0.0/8", "2001:db8::/32"]);
        client_of(peer.parse().expect("an address"), &headers(values), &trusted).to_string()
    }

    #[test]
    fn only_a_trusted_peer_is_believed() {
        assert_eq!(client("192.0.2.1", &["198.51.100.1"]), "192.0.2.1");
        assert_eq!(client("10.0.0.1", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(client("::ffff:10.0.0.1", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn what_a_client_wrote_itself_is_left_of_what_the_first_trusted_proxy_wrote() {
        assert_eq!(client("10.0.0.1", &["203.0.113.9, 198.51.100.1"]), "198.51.100.1");
        assert_eq!(client("10.0.0.1", &["203.0.113.9, 198.51.100.1, 10.0.0.2,2001:db8::1"]), "198.51.100.1");
        assert_eq!(client("10.0.0.1", &["203.0.113.9", "198.51.100.1", "10.0.0.2"]), "198.51.100.1");
        assert_eq!(client("10.0.0.1", &["10.0.0.3, 10.0.0.2"]), "10.0.0.3", "nobody but proxies");
    }

    #[test]
    fn an_entry_may_have_a_port_and_brackets() {
        for (entry, expected) in [
            ("198.51.100.1:4711", "198.51.100.1"),
            ("[2001:db9::1]", "2001:db9::1"),
            ("[2001:db9::1]:4711", "2001:db9::1"),
            ("2001:db9::1", "2001:db9::1"),
            ("::ffff:198.51.100.1", "198.51.100.1"),
            ("[::ffff:198.51.100.1]:80", "198.51.100.1"),
            ("198.51.100.1,, ", "198.51.100.1"),
        ] {
            assert_eq!(client("10.0.0.1", &[entry]), expected, "{entry}");
        }
    }

    #[test]
    fn an_entry_that_cannot_be_read_ends_the_way() {
        for entry in
            ["unknown", "_hidden", "198.51.100.1:", "198.51.100.1:99999", "[198.51.100.1]", "[::1", "[::1]x", "ü"]
        {
            assert_eq!(client("10.0.0.1", &[&format!("203.0.113.9, {entry}, 10.0.0.2")]), "10.0.0.2", "{entry}");
        }
    }

    #[test]
    fn a_subscriber_of_ipv6_is_one_client() {
        let key = |address: &str| AddressKey::from(address.parse::<IpAddr>().expect("an address"));
        assert_eq!(key("2001:db8:1:2::1"), key("2001:db8:1:2:ffff::2"));
        assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
    }

    /// Entries as proxies write them, and as nobody should.
    fn entries() -> impl Strategy<Value = String> {
        prop_oneof![
            any::<IpAddr>().prop_map(|address| address.to_string()),
            any::<std::net::SocketAddr>().prop_map(|address| address.to_string()),
            "10\\.0\\.0\\.[0-9]{1,2}",
            "[0-9a-f.:\\[\\], %]{0,30}",
            any::<String>(),
        ]
    }

    proptest! {
        #[test]
        fn whatever_is_forwarded_there_is_a_client(values in prop::collection::vec(any::<Vec<u8>>(), 0..4)) {
            let peer = IpAddr::from([10, 0, 0, 1]);
            client_of(peer, &headers(&values), &trusted(&["10.0.0.0/8"]));
        }

        #[test]
        fn a_client_cannot_choose_its_address(
            forged in prop::collection::vec(entries(), 0..5),
            address: IpAddr,
        ) {
            let (address, trusted) = (address.to_canonical(), trusted(&["10.0.0.0/8"]));
            prop_assume!(!trusted.contains(address));
            let direct = client_of(address, &headers(&forged), &trusted);
            prop_assert_eq!(direct, address, "an untrusted peer is the client, whatever it says");
            let mut values = forged;
            values.push(address.to_string());
            let proxied = client_of(IpAddr::from([10, 0, 0, 1]), &headers(&values), &trusted);
            prop_assert_eq!(proxied, address, "a trusted proxy's word stands behind the client's");
        }
    }
}
