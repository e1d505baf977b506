//! What the operator decides: one plain struct, parsed once, each field with unit and default.
//! Promises that an unknown key or a wrong value is an error that names file and line, and that no
//! secret shows up in a log. Deliberately knows nothing of sockets, databases or what a sink does.

mod consumer;
mod log;
mod name;
mod reading;
mod source;

use std::{
    collections::BTreeMap,
    fmt,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use serde::Deserialize;

pub use consumer::{ConsumerConfig, HttpUrl, SinkKind, WebhookSecret};
pub use log::LogConfig;
pub use name::{Name, Secret};
pub use reading::{Period, Pick, RetrySchedule, Types};
pub use source::{EventFilter, IdentitySecret, Origin, SourceConfig, WriteKey};

/// Everything that can be set. [`Config::default`] is the collector that starts without a file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Address to listen on. Default `127.0.0.1:8420`; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Folder of everything that is kept: the event log and the state database. Default `./data`.
    pub data: PathBuf,
    /// What of the address is stored that a device sends from, and of `context.ip` that it claims: `keep`, `truncate` (to its
    /// network: the first three of four numbers, of IPv6 the first three of eight groups) or `drop`. Default `keep`.
    pub ip: Ip,
    /// How much history is kept. Default: all of it.
    pub log: LogConfig,
    /// Producers by name. Without any, a source `web` gets a write key of its own, kept in `data`.
    pub sources: BTreeMap<Name, SourceConfig>,
    /// Readers of the log that the collector delivers to, by name. Default none.
    pub consumers: BTreeMap<Name, ConsumerConfig>,
}

/// What of an address is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ip {
    /// All of it.
    #[default]
    Keep,
    /// The network it is in.
    Truncate,
    /// Nothing.
    Drop,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8420)),
            data: PathBuf::from("./data"),
            ip: Ip::Keep,
            log: LogConfig::default(),
            sources: BTreeMap::new(),
            consumers: BTreeMap::new(),
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
        config
            .refuse_unknown_sources(text)
            .map_err(|(at, message)| wrong(Some(at..at), message))?;
        Ok(config)
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

    /// A consumer that waits for a source that is not there would wait for ever.
    fn refuse_unknown_sources(&self, text: &str) -> Result<(), (usize, String)> {
        let default: Name = "web".to_owned().try_into().expect("`web` is three letters");
        let known = |word: &str| match self.sources.is_empty() {
            true => word == default.as_str(),
            false => self.sources.keys().any(|source| source.as_str() == word),
        };
        for (name, consumer) in &self.consumers {
            let mut words = consumer.sources.iter().flat_map(Pick::words);
            if let Some(unknown) = words.find(|word| !known(word)) {
                let section = text.find(&format!("[consumers.{name}]")).unwrap_or(0);
                let at = text[section..].find("sources").map_or(section, |at| section + at);
                return Err((
                    at,
                    format!(
                        "consumer `{name}` wants events of `{unknown}`, and there is no such source"
                    ),
                ));
            }
        }
        Ok(())
    }
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
    use std::{num::NonZeroU32, time::Duration};

    use super::*;
    use crate::event_log::{Retention, Trust};

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
    fn how_long_events_are_kept() {
        let log = parse("[log]\nkeep_days = 30\nkeep_bytes = 1_000_000\ndelete_unread = true\nremembered_ids = 5").unwrap().log;
        let limits = (log.retention().max_age, log.retention().max_bytes);
        assert_eq!(limits, (Some(Duration::from_secs(30 * 86_400)), Some(1_000_000)));
        assert!(log.delete_unread);
        assert_eq!(log.options().remembered_ids, 5);
        assert_eq!(LogConfig::default().retention(), Retention::default());
        let error = parse("[log]\n\nkeep_days = 0").unwrap_err();
        assert!(error.starts_with("headwater.toml:3: "), "{error}");
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
            ("write_keys = []", "one of these, or two"),
            ("write_keys = ['a', 'b', 'c']", "one of these, or two"),
            ("identify_secret = 'short'", "16 to 256 bytes"),
        ] {
            let key = if wrong.starts_with("write") { "" } else { "write_key = 'k'" };
            let error = parse(&format!("[sources.a]\n{key}\n{wrong}")).unwrap_err();
            let at_its_line = error.starts_with("headwater.toml:3: ");
            assert!(at_its_line && error.contains(message), "{error}");
        }
    }

    #[test]
    fn a_consumer_s_filters_and_patience_are_checked() {
        let with = |line: &str| {
            parse(&format!("[sources.shop]\nwrite_key = 'k'\n[consumers.a]\nkind = 'pull'\n{line}"))
        };
        for right in
            ["sources = ['shop']", "types = ['!page']", "retry = ['1s', '5m']", "lease = '2m'"]
        {
            with(right).unwrap();
        }
        for (wrong, message) in [
            ("sources = ['web']", "`a` wants events of `web`, and there is no such source"),
            ("sources = ['!web']", "no such source"),
            ("types = ['pages']", "`pages` is no event type"),
            ("retry = ['soon']", "`soon` is no length of time"),
            ("retry = []", "1 to 64 pauses"),
            ("lease = '0s'", "no length of time"),
        ] {
            let error = with(wrong).unwrap_err();
            assert!(error.starts_with("headwater.toml:5: ") && error.contains(message), "{error}");
        }
        parse("[consumers.a]\nkind = 'pull'\nsources = ['web']").unwrap();
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
