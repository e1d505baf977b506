//! The front door's part of the configuration: TLS, proxies, the path prefix, the cookie.
//! Promises that what was read can be put into a header, compared with an address, or looked for in a path as it is.
//! Deliberately opens no file and no socket.

use std::{fmt, net::IpAddr, path::PathBuf};

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, de::Error as _};

/// `[tls]`: with it, the collector speaks TLS, and nothing else, at `listen`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// The certificate and its chain, PEM. Looked at every few seconds, and read again when it changes.
    pub certificate: PathBuf,
    /// The certificate's private key, PEM.
    pub key: PathBuf,
}

/// `[cookie]`: a first-party cookie that the collector sets, for what browsers forget sooner than it: Safari
/// deletes what scripts have stored after seven days without a visit.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CookieConfig {
    /// Default `hw_id`.
    pub name: CookieName,
    /// The domain whose hosts all get it, such as `shop.example`. Default: only the collector's own host.
    pub domain: Option<CookieDomain>,
    /// Days until it ends, counted anew at each answer. Default 365; browsers cap it at 400.
    #[serde(deserialize_with = "cookie_days")]
    pub max_age_days: u16,
}

impl Default for CookieConfig {
    fn default() -> Self {
        Self { name: CookieName("hw_id".to_owned()), domain: None, max_age_days: 365 }
    }
}

/// 1 to 64 letters, digits, `_` and `-`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct CookieName(String);

impl CookieName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for CookieName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-".contains(&b);
        if (1..=64).contains(&name.len()) && name.bytes().all(plain) {
            Ok(Self(name))
        } else {
            Err("a cookie's name is 1 to 64 letters, digits, `_` and `-`".to_owned())
        }
    }
}

/// A domain as `Set-Cookie` has it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct CookieDomain(String);

impl CookieDomain {
    /// The domain as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for CookieDomain {
    type Error = String;

    fn try_from(domain: String) -> Result<Self, String> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b".-".contains(&b);
        let fits = (1..=253).contains(&domain.len()) && !domain.starts_with(['.', '-']);
        if fits && domain.bytes().all(plain) {
            Ok(Self(domain))
        } else {
            Err("expected a domain such as `shop.example`".to_owned())
        }
    }
}

/// Where all public paths are found a second time: `/x7`, one part of a path or several.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct PathPrefix(String);

impl PathPrefix {
    /// What follows the prefix, beginning with `/`.
    pub fn strip<'p>(&self, path: &'p str) -> Option<&'p str> {
        path.strip_prefix(self.0.as_str()).filter(|rest| rest.starts_with('/'))
    }

    /// The prefix as text: begins with `/`, does not end with one.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for PathPrefix {
    type Error = String;

    fn try_from(prefix: String) -> Result<Self, String> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-".contains(&b);
        let part = |part: &str| !part.is_empty() && part.bytes().all(plain);
        match prefix.strip_prefix('/') {
            Some(rest) if prefix.len() <= 64 && rest.split('/').all(part) => Ok(Self(prefix)),
            _ => Err(format!(
                "`{prefix}` is no prefix of a path: expected `/x7`, of letters, digits, `_`, `-` and `/`, \
                 without `/` at its end"
            )),
        }
    }
}

/// A network whose machines are believed about who they speak for: `10.0.0.0/8`, or one address.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Network(IpNet);

impl Network {
    /// Whether the address is in it. IPv4 written as IPv6 counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let one = || text.parse().ok().map(|address: IpAddr| IpNet::from(address.to_canonical()));
        text.parse().ok().or_else(one).map(Self).ok_or_else(|| {
            format!("`{text}` is no network: expected `10.0.0.0/8`, `fd00::/8` or one address")
        })
    }
}

fn cookie_days<'de, D: Deserializer<'de>>(number: D) -> Result<u16, D::Error> {
    match u16::deserialize(number)? {
        // 400: the most that browsers keep, says RFC 6265bis.
        days @ 1..=400 => Ok(days),
        days => Err(D::Error::custom(format!("{days} is not 1 to 400 days"))),
    }
}
