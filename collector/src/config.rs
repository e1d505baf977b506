//! What the operator decides: one plain struct, parsed once, each field with unit and default.
//! Promises that an unknown key or a wrong value is an error that names file and line, and that no
//! secret shows up in a log. Deliberately knows nothing of sockets, databases or what a sink does.

mod consumer;
pub(crate) mod destination;
mod door;
mod inbound;
mod log;
mod name;
mod reading;
mod source;
mod twice;
mod wording;

use std::{
    collections::BTreeMap,
    fmt,
    net::{Ipv4Addr, SocketAddr},
    ops::Range,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Deserializer, de::Error as _};
use toml::de::DeTable;

use crate::people::Limits;

pub use consumer::{ConsumerConfig, HttpUrl, WebhookSecret};
pub(crate) use consumer::{keys_of, within};
pub use destination::{
    ActionWebhookConfig, DestinationConfig, EmailConfig, SlackConfig, SlackEntry, SmsConfig,
    SmtpTls,
};
pub use door::{CookieConfig, CookieDomain, CookieName, Network, PathPrefix, TlsConfig};
pub use inbound::{EcKey, InboundConfig, InboundKind, SharedSecret};
pub use log::LogConfig;
pub use name::{Name, Secret};
pub use reading::{Period, Pick, RetrySchedule, Types};
pub use source::{EventFilter, IdentitySecret, Origin, SourceConfig, WriteKey};

/// Everything that can be set. [`Config::default`] is the collector that starts without a file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Address to listen on. Default `127.0.0.1:8420`; port 0 takes a free one.
    #[serde(deserialize_with = "address_to_listen_on")]
    pub listen: SocketAddr,
    /// Folder of everything that is kept: the event log and the state database. Default `./data`.
    pub data: PathBuf,
    /// What of the address is stored that a device sends from, and of `context.ip` that it claims: `keep`, `truncate` (to its
    /// network: the first three of four numbers, of IPv6 the first three of eight groups) or `drop`. Default `keep`.
    pub ip: Ip,
    /// A file in MaxMind's format by which the country of a device's address is written into its events, as `context.ipCountry`:
    /// `GeoLite2-Country.mmdb` or the like. Read again when it changes. Default: none.
    pub countries: Option<PathBuf>,
    /// How much history is kept. Default: all of it.
    pub log: LogConfig,
    /// Producers by name. Without any, a source `web` gets a write key of its own, kept in `data`.
    pub sources: BTreeMap<Name, SourceConfig>,
    /// Webhooks that others post to us, by name. Default none.
    pub inbound: BTreeMap<Name, InboundConfig>,
    /// Readers of the log that the collector delivers to, by name. Default none.
    pub consumers: BTreeMap<Name, ConsumerConfig>,
    /// Where the actions of rules go, by name. Default none.
    pub destinations: BTreeMap<Name, DestinationConfig>,
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
    /// A folder of rule files, `*.toml`: see `headwater rules`. Default: none.
    pub rules: Option<PathBuf>,
    /// Most that rules do in a minute, all together; the rest waits, and an error in the log says so. Default 600: what is more was
    /// not meant.
    pub actions_per_minute: u64,
    /// How much one person may be. Changed, people are made anew from the log at the next start.
    pub people: Limits,
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
            countries: None,
            log: LogConfig::default(),
            sources: BTreeMap::new(),
            inbound: BTreeMap::new(),
            consumers: BTreeMap::new(),
            destinations: BTreeMap::new(),
            tls: None,
            trusted_proxies: Vec::new(),
            path_prefix: None,
            cookie: None,
            min_free_bytes: None,
            rules: None,
            actions_per_minute: 600,
            people: Limits::default(),
        }
    }
}

impl Config {
    /// Reads a TOML file; also returns its text. The error's text names the file, the line and what was expected there.
    pub fn read(path: &Path) -> Result<(Self, String), ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|cause| ConfigError::Unreadable { path: path.to_owned(), cause })?;
        Ok((Self::parse(&text, path)?, text))
    }

    /// Parses the text of a file; `path` only appears in errors.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let said = |span: Option<Range<usize>>, message: String| ConfigError::Wrong {
            path: path.to_owned(),
            line: span.map_or(1, |span| 1 + text[..span.start].matches('\n').count()),
            message,
        };
        let toml_error = |error: toml::de::Error| said(error.span(), explained(text, &error, 1));
        let nested = |(at, message): (Range<usize>, String)| said(Some(at), plain_words(&message));
        let wrong = |(at, message): (usize, String)| said(Some(at..at), message);
        let mut document = DeTable::parse(text).map_err(toml_error)?;
        consumer::nest_sinks(document.get_mut()).map_err(nested)?;
        destination::nest_kinds(document.get_mut()).map_err(nested)?;
        let config = Self::deserialize(toml::Deserializer::from(document)).map_err(toml_error)?;
        config.refuse_shared_keys(text).map_err(wrong)?;
        config.refuse_shared_names(text).map_err(wrong)?;
        config.refuse_unknown_sources(text).map_err(wrong)?;
        Ok(config)
    }

    /// What is different in `next` and cannot be changed while a collector runs, consumers and destinations each by its name. A
    /// field that is added has to say here whether it can.
    pub fn needs_restart(&self, next: &Self) -> Vec<String> {
        let Self {
            listen,
            data,
            ip,
            countries,
            log,
            consumers,
            destinations,
            sources: _,
            inbound: _,
            tls: _,
            trusted_proxies: _,
            path_prefix: _,
            cookie: _,
            min_free_bytes: _,
            rules,
            actions_per_minute,
            people,
        } = self;
        let changed = [
            ("listen", *listen != next.listen),
            ("data", *data != next.data),
            ("ip", *ip != next.ip),
            ("countries", *countries != next.countries),
            ("log", *log != next.log),
            ("people", *people != next.people),
            ("rules", *rules != next.rules),
            ("actions_per_minute", *actions_per_minute != next.actions_per_minute),
        ];
        let keys = changed.into_iter().filter(|(_, changed)| *changed).map(|(key, _)| key.into());
        keys.chain(other("consumers", consumers, &next.consumers))
            .chain(other("destinations", destinations, &next.destinations))
            .collect()
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

    /// Whether there is a source of this name, the one without configuration included.
    fn has_source(&self, word: &str) -> bool {
        match self.sources.is_empty() {
            true => word == "web",
            false => self.sources.keys().any(|source| source.as_str() == word),
        }
    }

    /// An event tells by its source where it comes from.
    fn refuse_shared_names(&self, text: &str) -> Result<(), (usize, String)> {
        let Some(name) = self.inbound.keys().find(|name| self.has_source(name.as_str())) else {
            return Ok(());
        };
        let message = format!(
            "`{name}` is a source too; an inbound webhook's name is the source of its events, so choose another"
        );
        Err((text.find(&format!("[inbound.{name}]")).unwrap_or(0), message))
    }

    /// A consumer that waits for a source that is not there would wait for ever.
    fn refuse_unknown_sources(&self, text: &str) -> Result<(), (usize, String)> {
        let posts = |word: &str| self.inbound.keys().any(|name| name.as_str() == word);
        let known = |word: &str| self.has_source(word) || posts(word);
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

/// `consumers.crm` for each that is gone, is another, or is new.
fn other<T: PartialEq>(key: &str, old: &BTreeMap<Name, T>, new: &BTreeMap<Name, T>) -> Vec<String> {
    let gone_or_other = old.iter().filter(|(name, part)| new.get(*name) != Some(part));
    let added = new.iter().filter(|(name, _)| !old.contains_key(*name));
    gone_or_other.chain(added).map(|(name, _)| format!("{key}.{name}")).collect()
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

/// What a parser says of a text whose first line has this number, in the words of those who write the file.
pub(crate) fn explained(text: &str, error: &toml::de::Error, first_line: usize) -> String {
    twice::said(text, error, first_line).unwrap_or_else(|| plain_words(error.message()))
}

/// The same of a message without its text.
pub(crate) fn plain_words(message: &str) -> String {
    let plain = wording::plain(message);
    let Some(meant) = nearest_key(message) else { return plain };
    // Most want the one that they meant; the list may be long.
    match plain.split_once("`, expected ") {
        Some((unknown, known)) => format!("{unknown}`; did you mean `{meant}`? Expected {known}"),
        None => format!("{plain}; did you mean `{meant}`?"),
    }
}

/// The nearest of the keys that serde lists after an unknown one.
fn nearest_key(message: &str) -> Option<&str> {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let unknown = quoted.next().filter(|_| message.starts_with("unknown "))?;
    nearest(unknown, quoted)
}

/// The word among those that there are which is most likely meant; `None` if none is much like it.
pub(crate) fn nearest<'a>(
    unknown: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    known
        .into_iter()
        .map(|known| (strsim::jaro_winkler(unknown, known), known))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| known)
}

/// The same as the end of a sentence, `; did you mean `it`?`; nothing if none is much like it.
pub(crate) fn did_you_mean<'a>(unknown: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(unknown, known).map_or_else(String::new, |it| format!("; did you mean `{it}`?"))
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
        assert_eq!((log.options().remembered_ids, log.options().segment_bytes), (5, 1 << 20));
        let large = parse("[log]\nkeep_bytes = 400_000_000").unwrap().log;
        assert_eq!(large.options().segment_bytes, 100_000_000);
        assert_eq!(LogConfig::default().options(), crate::event_log::Options::default());
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
        assert!(error.starts_with("headwater.toml:4: unknown key `write_kye`"), "{error}");
        assert!(error.contains("; did you mean `write_key`? Expected one of `"), "{error}");
        let error = parse("\nlisten = 'nowhere'").unwrap_err();
        assert!(error.starts_with("headwater.toml:2: "), "{error}");
        let error = parse("[sources.web]\nwrite_key = 'a'\n[consumers.x]\nkind = 'fax'");
        let expected = "headwater.toml:4: unknown kind `fax`, expected one of `webhook`, `file`";
        assert!(error.as_ref().unwrap_err().starts_with(expected), "{error:?}");
        let error = parse("[sources.'Web Shop']\nwrite_key = 'a'").unwrap_err();
        assert!(error.starts_with("headwater.toml:1: `Web Shop` is not a name"), "{error}");
    }

    #[test]
    fn the_words_are_not_those_of_a_parser() {
        for (text, message) in [
            ("listen = 127.0.0.1:80", "1: this is no number; a text stands in quotes"),
            ("ip = 5", "1: expected a word in quotes"),
            ("\nip = 'all'", "2: unknown word `all`, expected one of `keep`, `truncate`, `drop`"),
            ("[log]\nkeep_days = 'x'", "2: expected a whole number, 1 or more, found a text"),
            ("[sources.web]\ntest = true", "1: the key `write_key` is missing"),
            (
                "[sources.web]\nwrite_key = 'a'\nwrite_keys = ['a']",
                "1: `write_key` and `write_keys` are both set; use one of the two",
            ),
            (
                "[sources.web]\nwrite_key = 'a'\nidentify_secret = '0123456789abcdef'\nidentify_secrets = ['0123456789abcdef']",
                "1: `identify_secret` and `identify_secrets` are both set; use one of the two",
            ),
        ] {
            assert_eq!(parse(text).unwrap_err(), format!("headwater.toml:{message}"), "{text}");
        }
    }

    #[test]
    fn a_kind_has_its_own_keys_and_each_mistake_is_found_at_its_line() {
        let url = "url = 'http://h/'";
        for (text, line, message) in [
            ("", 1, "the key `kind` is missing; expected one of `webhook`, `file`"),
            ("kind = 1", 2, "unknown kind ``"),
            ("kind = 'webhok'", 2, "did you mean `webhook`?"),
            ("kind = 'webhook'", 2, "the key `url` is missing"),
            (&format!("{url}\nkind = 'webhook'"), 3, "the key `secret` is missing"),
            (&format!("{url}\nevent = []\nkind = 'webhook'"), 3, "did you mean `events`?"),
            (&format!("kind = 'webhook'\n{url}\nurll = ''"), 4, "did you mean `url`?"),
            (&format!("kind = 'webhook'\n{url}\nsink = {{}}"), 4, "unknown key `sink`"),
            (&format!("kind = 'webhook'\n{url}\nsecret = 5"), 4, "found the number 5"),
            ("kind = 'webhook'\nurl = 'ftp://h/'", 3, "http:// or https://"),
            (&format!("kind = 'webhook'\n{url}\nsecrets = []"), 4, "one secret, or two"),
            (&format!("kind = 'webhook'\n{url}\nbatch = 1001"), 4, "within 1 to 1000"),
            (&format!("kind = 'webhook'\n{url}\nbatch = 0"), 4, "within 1 to 1000"),
            (
                &format!("kind = 'webhook'\n{url}\nbatch = -1"),
                4,
                "expected a whole number, 0 or more",
            ),
            (&format!("kind = 'webhook'\n{url}\ntimeout_seconds = 61"), 4, "within 1 to 60"),
            (&format!("kind = 'webhook'\n{url}\nformat = 'xml'"), 4, "`json`"),
            (&format!("kind = 'webhook'\n{url}\nallow_private = 1"), 4, "expected true, false"),
            (&format!("kind = 'webhook'\n{url}\nallow_private = ['me']"), 4, "`me`: expected"),
            ("kind = 'file'", 2, "the key `path` is missing"),
            ("kind = 'file'\nurl = 'http://h/'", 3, "unknown key `url`, expected one of `kind`"),
            ("kind = 'file'\npath = 'p'\nmax_bytes = 1000", 4, "within 1024 to 1073741824"),
            ("kind = 'file'\npath = 'p'\nmax_age_seconds = 0", 4, "within 1 to 2678400"),
            ("kind = 'webhook'\nevents = 'a'", 3, "found a text"),
        ] {
            let error = parse(&format!("[consumers.a]\n{text}")).unwrap_err();
            let at_its_line = error.starts_with(&format!("headwater.toml:{line}: "));
            assert!(at_its_line && error.contains(message), "{text}: {error}");
        }
        for text in ["consumers = 5", "[consumers]\na = 5", "[[consumers]]"] {
            assert!(parse(text).unwrap_err().contains("expected a table, found "), "{text}");
        }
    }

    #[test]
    fn what_a_source_cannot_be_is_explained_at_its_line() {
        for (wrong, message) in [
            ("events_per_second = 0", "expected a whole number, 1 or more"),
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
            ("tls = { certificate = 'c.pem' }", "the key `key` is missing"),
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

        let of = |texts: [&str; 3]| parse(&texts.concat()).unwrap();
        let (same, other) =
            ("[consumers.same]\nkind = 'pull'\n", "[consumers.other]\nkind = 'pull'\n");
        let old = of([same, other, "[consumers.gone]\nkind = 'pull'"]);
        let new = of([same, other, "lease = '1m'\n[consumers.new]\nkind = 'pull'"]);
        assert_eq!(old.needs_restart(&new), ["consumers.gone", "consumers.other", "consumers.new"]);
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
