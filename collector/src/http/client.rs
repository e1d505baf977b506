//! Who is at the other end: the address and the scheme that a client used, seen through the proxies that are believed.
//! Promises that a header counts only if a trusted proxy sent it, that what it says about others is never an error,
//! and that two headers which contradict each other are not believed. Deliberately does no look-up of names.

use std::net::{IpAddr, SocketAddr};

use hyper::{HeaderMap, header};

use crate::config::Network;

/// The other end of the connection itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    pub(super) address: IpAddr,
    pub(super) tls: bool,
}

/// The client, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Client {
    /// `None` if a trusted proxy hides it, or two headers of it contradict each other.
    pub(super) address: Option<IpAddr>,
    /// Whether it spoke TLS, with us or with a trusted proxy.
    pub(super) secure: bool,
}

impl Client {
    pub(super) fn of(peer: Peer, headers: &HeaderMap, trusted: &[Network]) -> Self {
        let believed = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
        let peer_address = peer.address.to_canonical();
        if !believed(peer_address) {
            return Self { address: Some(peer_address), secure: peer.tls };
        }
        let standard = items(headers, "forwarded");
        let usual = items(headers, "x-forwarded-for");
        let by_standard =
            walk(peer_address, &standard, |item| address(field(item, "for")?), believed);
        let by_usual = walk(peer_address, &usual, address, believed);
        // A proxy writes one of them, and may pass on what a client wrote into the other.
        let address = match (standard.is_empty(), usual.is_empty()) {
            (true, _) => by_usual.0,
            (_, true) => by_standard.0,
            _ => by_usual.0.filter(|_| by_usual.0 == by_standard.0),
        };
        let proto = standard
            .get(by_standard.1)
            .and_then(|item| field(item, "proto"))
            .or_else(|| items(headers, "x-forwarded-proto").last().copied());
        let secure = proto.map_or(peer.tls, |proto| proto.eq_ignore_ascii_case("https"));
        Self { address, secure }
    }

    /// Whether whoever asks should send over TLS: it did, or its page is secure and may not send otherwise. A lie about
    /// the page reaches only the liar.
    pub(super) fn should_use_tls(&self, headers: &HeaderMap) -> bool {
        let origin = headers.get(header::ORIGIN).map_or(&b""[..], |origin| origin.as_bytes());
        self.secure || origin.get(..6).is_some_and(|start| start.eq_ignore_ascii_case(b"https:"))
    }
}

/// From the nearest hop outwards, past those that are believed. Also the place of the item that it ended at.
fn walk(
    peer: IpAddr,
    hops: &[&str],
    address: impl Fn(&str) -> Option<IpAddr>,
    believed: impl Fn(IpAddr) -> bool,
) -> (Option<IpAddr>, usize) {
    let mut found = (Some(peer), hops.len());
    for (at, hop) in hops.iter().enumerate().rev() {
        found = (address(hop), at);
        if !found.0.is_some_and(&believed) {
            break;
        }
    }
    found
}

/// The items of a list that may be spread over several headers. Commas in quotes do not occur in what is looked for.
fn items<'h>(headers: &'h HeaderMap, name: &str) -> Vec<&'h str> {
    let values = headers.get_all(name).iter();
    // What is no text stands for a hop that nobody can name.
    let values = values.map(|value| value.to_str().unwrap_or("unknown"));
    values.flat_map(|value| value.split(',')).map(str::trim).collect()
}

/// The value of `name` in an item of `Forwarded` (RFC 7239): `for="[2001:db8::1]:80";proto=https`.
fn field<'i>(item: &'i str, name: &str) -> Option<&'i str> {
    item.split(';').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        let value = value.trim();
        let value = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value);
        key.trim().eq_ignore_ascii_case(name).then_some(value)
    })
}

/// An address with or without port and brackets; `unknown` and the hidden ones (`_x`) are none.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let with_port = || text.parse().ok().map(|socket: SocketAddr| socket.ip());
    bare.parse().ok().or_else(with_port).map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(peer: &str, headers: &[(&'static str, &str)]) -> Client {
        let trusted = ["10.0.0.0/8", "fd00::/8"].map(|n| Network::try_from(n.to_owned()).unwrap());
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, header::HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let peer = Peer { address: peer.parse().unwrap(), tls: false };
        Client::of(peer, &map, &trusted)
    }

    fn address_of(peer: &str, headers: &[(&'static str, &str)]) -> Option<String> {
        seen(peer, headers).address.map(|address| address.to_string())
    }

    #[test]
    fn only_a_trusted_proxy_is_believed() {
        let claims = [("x-forwarded-for", "203.0.113.7"), ("x-forwarded-proto", "https")];
        let stranger = seen("192.0.2.1", &claims);
        assert_eq!((stranger.address, stranger.secure), ("192.0.2.1".parse().ok(), false));
        for peer in ["10.0.0.1", "::ffff:10.0.0.1", "fd00::1"] {
            let client = seen(peer, &claims);
            assert_eq!((client.address, client.secure), ("203.0.113.7".parse().ok(), true));
        }
    }

    #[test]
    fn hops_are_read_from_the_right_past_trusted_ones() {
        for (header, value, client) in [
            ("x-forwarded-for", "6.6.6.6, 203.0.113.7, 10.1.1.1", Some("203.0.113.7")),
            ("x-forwarded-for", "10.1.1.1", Some("10.1.1.1")),
            ("x-forwarded-for", "203.0.113.7:4711", Some("203.0.113.7")),
            ("x-forwarded-for", "[2001:db8::1]:80", Some("2001:db8::1")),
            ("x-forwarded-for", "::ffff:203.0.113.7", Some("203.0.113.7")),
            ("x-forwarded-for", "6.6.6.6, unknown, 10.1.1.1", None),
            ("x-forwarded-for", ",,", None),
            ("x-forwarded-for", "6.6.6.6, \u{fc}", None),
            (
                "forwarded",
                "for=6.6.6.6, For=203.0.113.7;proto=http;by=10.1.1.1",
                Some("203.0.113.7"),
            ),
            (
                "forwarded",
                "for=\"[2001:db8::1]:80\"; proto=https, for=10.2.2.2",
                Some("2001:db8::1"),
            ),
            ("forwarded", "for=_hidden", None),
            ("forwarded", "\";;==,\"", None),
            ("via", "x", Some("10.0.0.1")),
        ] {
            assert_eq!(address_of("10.0.0.1", &[(header, value)]).as_deref(), client, "{value}");
        }
        let lines = [("x-forwarded-for", "203.0.113.7"), ("x-forwarded-for", "10.1.1.1")];
        assert_eq!(address_of("10.0.0.1", &lines).as_deref(), Some("203.0.113.7"));
    }

    #[test]
    fn headers_that_contradict_each_other_are_not_believed() {
        let spoofed = [("forwarded", "for=6.6.6.6"), ("x-forwarded-for", "203.0.113.7")];
        assert_eq!(address_of("10.0.0.1", &spoofed), None);
        let agreed = [("forwarded", "for=203.0.113.7"), ("x-forwarded-for", "203.0.113.7")];
        assert_eq!(address_of("10.0.0.1", &agreed).as_deref(), Some("203.0.113.7"));
    }

    #[test]
    fn a_secure_page_should_use_tls_whatever_we_see() {
        let plain = seen("192.0.2.1", &[]);
        let origin = |o: &str| HeaderMap::from_iter([(header::ORIGIN, o.parse().unwrap())]);
        assert!(plain.should_use_tls(&origin("https://shop.example")));
        assert!(!plain.should_use_tls(&origin("http://shop.example")));
        assert!(!plain.should_use_tls(&HeaderMap::new()));
    }

    #[test]
    fn the_scheme_is_what_the_client_s_own_hop_says() {
        let standard = [("forwarded", "for=203.0.113.7;proto=https, for=10.2.2.2;proto=http")];
        assert!(seen("10.0.0.1", &standard).secure);
        assert!(!seen("10.0.0.1", &[("x-forwarded-proto", "https, http")]).secure);
        assert!(seen("10.0.0.1", &[("x-forwarded-proto", "HTTPS")]).secure);
    }
}
