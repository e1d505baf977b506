//! What the operator decides: one plain struct, parsed once, each field with unit and default.
//! Promises that an unknown key or a wrong value is an error that names file and line, and that no
//! secret shows up in a log. Deliberately knows nothing of sockets, databases or what a sink does.

mod consumer;
mod door;
mod name;
mod source;

use std::{
    collections::BTreeMap,
    fmt,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Deserializer, de::Error as _};

pub use consumer::{ConsumerConfig, HttpUrl, SinkKind, WebhookSecret};
pub use door::{CookieConfig, CookieDomain, CookieName, Network, PathPrefix, TlsConfig};
pub use name::{Name, Secret};
pub use source::{EventFilter, Origin, SourceConfig, WriteKey};

/// Everything that can be set. [`Config::default`] is the collector that starts without a file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Address to listen on. Default `127.0.0.1:8420`; port 0 takes a free one.
    #[serde(deserialize_with = "address_to_listen_on")]
    pub listen: SocketAddr,
    /// Folder of everything that is kept: the event log and the state database. Default `./data`.
    pub data: PathBuf,
    /// Producers by name. Without any, a source `web` gets a write key of its own, kept in `data`.
    pub sources: BTreeMap<Name, SourceConfig>,
    /// Readers of the log that the collector delivers to, by name. Default none.
    pub consumers: BTreeMap<Name, ConsumerConfig>,
    /// Speak TLS. Default: plain HTTP.
    pub tls: Option<TlsConfig>,
    /// The proxies that are believed about who they speak for (`Forwarded`, `X-Forwarded-For`, `X-Forwarded-Proto`).
    /// Default: none.
    pub trusted_proxies: Vec<Network>,
    /// A path under which all that is for clients is found as well, such as `/x7`: content blockers know the usual
    /// ones. Default: none.
    pub path_prefix: Option<PathPrefix>,
    /// Set a first-party cookie. Default: no.
    pub cookie: Option<CookieConfig>,
    /// With less than this free on the disk, events are answered 503, while the log can still be closed in order.
    /// Default: 512 MiB or a twentieth of the disk, whichever is less.
    pub min_free_bytes: Option<u64>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8420)),
            data: PathBuf::from("./data"),
            sources: BTreeMap::new(),
            consumers: BTreeMap::new(),
            tls: None,
            trusted_proxies: Vec::new(),
            path_prefix: None,
            cookie: None,
            min_free_bytes: None,
        }
    }
}

impl Config {
    /// Reads a TOML file. The error's text names the file, the line and what was expected there.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|cause| ConfigError::Unreadable { path: path.to_owned(), cause })?;
        Self::parse(&text, path)
    }

    /// Parses the text of a file; `path` only appears in errors.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let wrong = |span: Option<std::ops::Range<usize>>, message: String| ConfigError::Wrong {
            path: path.to_owned(),
            line: span.map_or(1, |span| 1 + text[..span.start].matches('\n').count()),
            message,
        };
        let config: Self = toml::from_str(text).map_err(|error| {
            let message = error.message();
            wrong(error.span(), format!("{message}{}", nearest_key(message)))
        })?;
        config.refuse_shared_keys(text).map_err(|(at, message)| wrong(Some(at..at), message))?;
        Ok(config)
    }

    /// What is different in `next` and cannot be changed while a collector runs. A field that is added has to say
    /// here whether it can.
    pub fn needs_restart(&self, next: &Self) -> Vec<&'static str> {
        let Self {
            listen,
            data,
            consumers,
            sources: _,
            tls: _,
            trusted_proxies: _,
            path_prefix: _,
            cookie: _,
            min_free_bytes: _,
        } = self;
        let changed = [
            ("listen", *listen != next.listen),
            ("data", *data != next.data),
            ("consumers", *consumers != next.consumers),
        ];
        changed.into_iter().filter_map(|(key, changed)| changed.then_some(key)).collect()
    }

    /// The key names the source, so two sources cannot have the same one.
    fn refuse_shared_keys(&self, text: &str) -> Result<(), (usize, String)> {
        let mut owners: BTreeMap<&str, &Name> = BTreeMap::new();
        let keys = self.sources.iter().flat_map(|(name, source)| {
            source.write_keys.iter().map(move |key| (name, key.expose().as_str()))
        });
        for (name, key) in keys {
            if let Some(owner) = owners.insert(key, name) {
                let message = format!(
                    "sources `{owner}` and `{name}` have the same write_key; \
                     the key says which source an event comes from"
                );
                return Err((text.rfind(key).unwrap_or(0), message));
            }
        }
        Ok(())
    }
}

/// What `listen` and `--listen` have to be.
pub fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!("`{text}` is no address to listen on: expected an IP address and a port, as `127.0.0.1:8420` or `[::]:8420`")
    })
}

fn address_to_listen_on<'de, D: Deserializer<'de>>(text: D) -> Result<SocketAddr, D::Error> {
    parse_listen(&String::deserialize(text)?).map_err(D::Error::custom)
}

/// Why there is no configuration.
#[derive(Debug)]
pub enum ConfigError {
    /// The file cannot be read: correct the path or its permissions.
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The file says something that is not understood: correct the line.
    Wrong {
        /// The file.
        path: PathBuf,
        /// 1-based.
        line: usize,
        /// What was found and what was expected.
        message: String,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, cause } => write!(f, "{}: {cause}", path.display()),
            Self::Wrong { path, line, message } => {
                write!(f, "{}:{line}: {message}", path.display())
            }
        }
    }
}

impl std::error::Error for ConfigError {}

/// "did you mean": the nearest of the keys that serde lists after an unknown one.
fn nearest_key(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let (true, Some(unknown)) = (message.starts_with("unknown "), quoted.next()) else {
        return String::new();
    };
    quoted
        .map(|known| (strsim::jaro_winkler(unknown, known), known))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map_or_else(String::new, |(_, known)| format!("; did you mean `{known}`?"))
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::event_log::Trust;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(text, Path::new("headwater.toml")).map_err(|error| error.to_string())
    }

    const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oDC2FVsBQIhrs=";

    #[test]
    fn everything_can_be_set() {
        let config = parse(&format!(
            "listen = '0.0.0.0:80'\ndata = '/srv'\n\
             [sources.shop]\nwrite_key = 'k1'\ntrust = 'server'\nevents = ['identify', 'Paid']\n\
             origins = ['https://shop.example']\nevents_per_second = 5\nburst = 9\ntest = true\n\
             max_event_bytes = 65536\nmax_batch_bytes = 100000\n\
             [consumers.crm]\nkind = 'webhook'\nurl = 'https://example.com/in'\nsecret = '{SECRET}'"
        ))
        .unwrap();
        let shop = &config.sources[&Name::try_from("shop".to_owned()).unwrap()];
        assert_eq!(shop.write_keys[0].expose().as_str(), "k1");
        assert_eq!((shop.trust, shop.test, shop.burst), (Trust::Server, true, NonZeroU32::new(9)));
        assert_eq!((shop.max_event_bytes, shop.max_batch_bytes), (65_536, 100_000));
        let events = shop.events.as_ref().unwrap();
        assert!(events.admits("identify", None) && events.admits("track", Some("Paid")));
        assert!(!events.admits("page", None) && !events.admits("track", Some("Viewed")));
        assert_eq!(config.consumers.len(), 1);
    }

    #[test]
    fn an_empty_file_is_the_default() {
        assert_eq!(parse("").unwrap(), Config::default());
    }

    #[test]
    fn errors_name_the_line_and_the_nearest_key() {
        let error = parse("listen = '127.0.0.1:1'\n\n[sources.web]\nwrite_kye = 'a'").unwrap_err();
        assert!(error.starts_with("headwater.toml:4: unknown field `write_kye`"), "{error}");
        assert!(error.ends_with("did you mean `write_key`?"), "{error}");
        let error = parse("\nlisten = 'nowhere'").unwrap_err();
        assert!(error.starts_with("headwater.toml:2: "), "{error}");
        let error = parse("[sources.web]\nwrite_key = 'a'\n[consumers.x]\nkind = 'kafka'");
        assert!(error.as_ref().unwrap_err().starts_with("headwater.toml:4: "), "{error:?}");
        let error = parse("[sources.'Web Shop']\nwrite_key = 'a'").unwrap_err();
        assert!(error.starts_with("headwater.toml:1: `Web Shop` is not a name"), "{error}");
    }

    #[test]
    fn what_a_source_cannot_be_is_explained_at_its_line() {
        for (wrong, message) in [
            ("events_per_second = 0", "expected a nonzero u32"),
            ("max_event_bytes = 512001", "512001 is not 1 to 512000 bytes"),
            ("origins = ['https://shop.example/cart']", "did you mean `https://shop.example`?"),
            ("origins = ['shop.example']", "is no origin; expected `https://"),
            ("write_keys = []", "one write key, or two"),
            ("write_keys = ['a', 'b', 'c']", "one write key, or two"),
        ] {
            let key = if wrong.starts_with("write") { "" } else { "write_key = 'k'" };
            let error = parse(&format!("[sources.a]\n{key}\n{wrong}")).unwrap_err();
            let at_its_line = error.starts_with("headwater.toml:3: ");
            assert!(at_its_line && error.contains(message), "{error}");
        }
    }

    #[test]
    fn the_front_door_can_be_set_and_what_it_cannot_be_is_explained() {
        let config = parse(
            "trusted_proxies = ['10.0.0.0/8', '::1']\npath_prefix = '/x7/in'\nmin_free_bytes = 1\n\
             [tls]\ncertificate = 'c.pem'\nkey = 'k.pem'\n[cookie]\ndomain = 'shop.example'",
        )
        .unwrap();
        let cookie = config.cookie.unwrap();
        assert_eq!((cookie.name.as_str(), cookie.max_age_days), ("hw_id", 365));
        assert!(config.trusted_proxies[0].contains("::ffff:10.1.2.3".parse().unwrap()));
        assert!(!config.trusted_proxies[1].contains("::2".parse().unwrap()));
        let prefix = config.path_prefix.unwrap();
        assert_eq!(prefix.strip("/x7/in/v1/t"), Some("/v1/t"));
        assert_eq!(prefix.strip("/x7/inn/v1/t"), None);
        for (wrong, message) in [
            ("listen = 'localhost'", "expected an IP address and a port, as `127.0.0.1:8420`"),
            ("trusted_proxies = ['10.0.0.0/33']", "`10.0.0.0/33` is no network"),
            ("path_prefix = 'x7'", "`x7` is no prefix"),
            ("path_prefix = '/x7/'", "without `/` at its end"),
            ("cookie = { name = 'a;b' }", "a cookie's name"),
            ("cookie = { max_age_days = 401 }", "401 is not 1 to 400 days"),
            ("cookie = { domain = '.x' }", "expected a domain"),
            ("tls = { certificate = 'c.pem' }", "missing field `key`"),
        ] {
            let error = parse(wrong).unwrap_err();
            assert!(error.starts_with("headwater.toml:1: ") && error.contains(message), "{error}");
        }
    }

    #[test]
    fn what_needs_a_restart_is_named() {
        let old = parse("[sources.a]\nwrite_key = 'k'").unwrap();
        let new = parse("data = 'x'\nlisten = '127.0.0.1:1'\npath_prefix = '/a'").unwrap();
        assert_eq!(old.needs_restart(&new), ["listen", "data"]);
        assert!(old.needs_restart(&old).is_empty());
    }

    #[test]
    fn two_sources_cannot_share_a_key() {
        let error = parse("[sources.a]\nwrite_key = 'k-1'\n[sources.b]\nwrite_key = 'k-1'");
        assert!(error.unwrap_err().starts_with("headwater.toml:4: sources `a` and `b`"));
    }

    #[test]
    fn a_bad_secret_is_explained_without_being_shown() {
        for bad in ["hunter2hunter2", "whsec_%%%hunter2", "whsec_aHVudGVyMg=="] {
            let error = parse(&format!(
                "[consumers.a]\nkind = 'webhook'\nurl = 'http://h/'\nsecret = '{bad}'"
            ))
            .unwrap_err();
            assert!(error.starts_with("headwater.toml:4: a webhook secret"), "{error}");
            assert!(!error.contains("hunter2") && !error.contains("aHVud"), "{error}");
        }
    }

    #[test]
    fn secrets_and_credentials_are_not_printed() {
        let config = parse(&format!(
            "[sources.a]\nwrite_key = 'visible-key'\n[consumers.a]\nkind = 'webhook'\n\
             url = 'http://user:pass@h/in?token=t0k'\nsecret = '{SECRET}'"
        ));
        let shown = format!("{:?}", config.unwrap());
        for hidden in ["visible-key", "pass", "t0k", "C2FV"] {
            assert!(!shown.contains(hidden), "{hidden} in {shown}");
        }
    }
}
