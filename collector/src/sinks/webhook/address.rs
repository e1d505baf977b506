//! Which addresses a webhook may go to: public ones, and those that the operator allows.
//! Promises that the answer is about the very addresses that are then connected to: it stands between looking a name up and
//! connecting, at every connection. Deliberately does not remember: a name may mean another address in a second.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::config::AllowPrivate;
use crate::config::HttpUrl;

/// Lets a webhook reach only what it may.
#[derive(Clone, Debug)]
pub(crate) struct Guard(Arc<AllowPrivate>);

/// A webhook would go where it may not.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{host}` is at {address}, which is not a public address; \
     if it is meant, set allow_private = [\"{address}\"]"
)]
pub struct NotPublic {
    host: String,
    address: IpAddr,
}

impl Guard {
    pub(crate) fn new(allowed: AllowPrivate) -> Self {
        Self(Arc::new(allowed))
    }

    /// A host that is an address is never looked up, so it is judged at once.
    pub(crate) fn check(&self, url: &HttpUrl) -> Result<(), NotPublic> {
        let host = url.as_url().host_str().unwrap_or_default();
        match host.trim_matches(['[', ']']).parse() {
            Ok(address) if !self.admits(address) => {
                Err(NotPublic { host: host.to_owned(), address })
            }
            _ => Ok(()),
        }
    }

    fn admits(&self, address: IpAddr) -> bool {
        match &*self.0 {
            AllowPrivate::Everything => true,
            AllowPrivate::Networks(allowed) if allowed.iter().any(|net| net.contains(&address)) => {
                true
            }
            _ => is_public(address),
        }
    }

    /// Those of a name's addresses that may be connected to.
    pub(crate) fn select(
        &self,
        host: &str,
        found: Vec<SocketAddr>,
    ) -> Result<Vec<SocketAddr>, NotPublic> {
        let (may, may_not): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|address| self.admits(address.ip()));
        match may_not.first() {
            Some(address) if may.is_empty() => {
                Err(NotPublic { host: host.to_owned(), address: address.ip() })
            }
            _ => Ok(may),
        }
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.clone();
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let may = guard.select(name.as_str(), found.collect())?;
            Ok(Box::new(may.into_iter()) as Addrs)
        })
    }
}

/// Whether everyone may be there. By IANA's registries of special-purpose addresses (RFC 6890 and what followed), October 2025;
/// where a block has parts of both kinds, the whole is taken for special.
pub(crate) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    !matches!(
        address.octets(),
        [0 | 10 | 127, ..]              // this network, private, loopback
            | [100, 64..=127, ..]       // shared by carriers (CGNAT)
            | [169, 254, ..]            // link-local: the clouds' metadata are here
            | [172, 16..=31, ..]        // private
            | [192, 0, 0 | 2, _]        // protocol assignments, documentation
            | [192, 88, 99, _]          // 6to4 relays
            | [192, 168, ..]            // private
            | [198, 18..=19, ..]        // benchmarks
            | [198, 51, 100, _]         // documentation
            | [203, 0, 113, _]          // documentation
            | [224..=255, ..] // multicast, reserved, broadcast
    )
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, c, d, e, f, g, h] = address.segments();
    match (a, b) {
        // NAT64: the address that a network without IPv4 is given for an IPv4 one. It goes where that goes.
        (0x64, 0xff9b) if (c, d, e, f) == (0, 0, 0, 0) => {
            let ([g1, g2], [h1, h2]) = (g.to_be_bytes(), h.to_be_bytes());
            is_public_v4(Ipv4Addr::new(g1, g2, h1, h2))
        }
        // Protocol assignments with Teredo; documentation; 6to4, which wraps any IPv4 address; documentation.
        (0x2001, 0..=0x1ff | 0xdb8) | (0x2002, _) | (0x3fff, 0..=0xfff) => false,
        // Everything that is given out to networks. Beyond are loopback, IPv4-mapped, unique local, link-local, multicast.
        (0x2000..=0x3fff, _) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_where_everyone_may_be_are_public() {
        for public in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "169.253.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "192.169.0.1",
            "198.17.0.1",
            "198.20.0.1",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00:1450::1",
            "2001:200::1",
            "2001:4860::8888",
            "64:ff9b::101:101",
        ] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for not in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.170",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.1.1.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "::ffff:127.0.0.1",
            "::ffff:1.1.1.1",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::101:101",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_public(not.parse().unwrap()), "{not}");
        }
    }

    fn allowing(list: &[&str]) -> Guard {
        let networks = list.iter().map(|net| net.parse().unwrap());
        Guard::new(AllowPrivate::Networks(networks.collect()))
    }

    #[test]
    fn an_address_in_the_url_is_judged_however_it_is_written() {
        let check = |guard: &Guard, url: &str| guard.check(&url.to_owned().try_into().unwrap());
        let strict = Guard::new(AllowPrivate::Nothing);
        for private in [
            "http://127.0.0.1/",
            "http://127.1:80/",
            "http://0x7f.0.0.1/",
            "http://2130706433/",
            "http://0177.0.0.1/",
            "http://127.0.0.1./",
            "http://[::1]/",
            "http://user@[::1]:80/",
            "http://[::ffff:10.0.0.1]/",
            "http://169.254.169.254/latest",
        ] {
            let error = check(&strict, private).unwrap_err().to_string();
            assert!(error.contains("not a public address"), "{private}: {error}");
            assert!(check(&Guard::new(AllowPrivate::Everything), private).is_ok());
        }
        assert!(check(&strict, "http://1.1.1.1/").is_ok());
        assert!(check(&strict, "http://a.name.is.looked.up/").is_ok());
        let some = allowing(&["127.0.0.0/8"]);
        assert!(check(&some, "http://127.0.0.1/").is_ok());
        assert!(check(&some, "http://10.0.0.1/").is_err());
    }

    #[test]
    fn of_a_names_addresses_only_those_are_left_that_may_be_reached() {
        let addresses = |list: &[&str]| -> Vec<SocketAddr> {
            list.iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), 0)).collect()
        };
        let strict = Guard::new(AllowPrivate::Nothing);
        let mixed = addresses(&["10.0.0.1", "1.1.1.1", "::1"]);
        assert_eq!(strict.select("h", mixed).unwrap(), addresses(&["1.1.1.1"]));
        let error = strict.select("inside.example", addresses(&["::1", "10.0.0.1"])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`inside.example` is at ::1, which is not a public address; \
             if it is meant, set allow_private = [\"::1\"]"
        );
        let some = allowing(&["10.0.0.0/8"]);
        let both = addresses(&["192.168.0.1", "10.0.0.1"]);
        assert_eq!(some.select("h", both).unwrap(), addresses(&["10.0.0.1"]));
    }
}
