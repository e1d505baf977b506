//! What the operator decides: one plain struct, parsed once, each field with unit and default.
//! Promises that an unknown key or a wrong value is an error that names file and line, and that no
//! secret shows up in a log. Deliberately knows nothing of sockets, databases or what a sink does.

use std::{
    collections::BTreeMap,
    fmt,
    net::{Ipv4Addr, SocketAddr},
    num::NonZeroU32,
    path::{Path, PathBuf},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, SeqAccess, Visitor},
};

use crate::{
    event_log::{SourceName, Trust},
    limits::{MAX_BATCH_BYTES, MAX_EVENT_BYTES},
};

/// Everything that can be set. [`Config::default`] is the collector that starts without a file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Address to listen on. Default `127.0.0.1:8420`; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Folder of everything that is kept: the event log and the state database. Default `./data`.
    pub data: PathBuf,
    /// Producers by name. Without any, a source `web` gets a write key of its own, kept in `data`.
    pub sources: BTreeMap<Name, SourceConfig>,
    /// Readers of the log that the collector delivers to, by name. Default none.
    pub consumers: BTreeMap<Name, ConsumerConfig>,
}

/// `[sources.NAME]`: who may send, with which key, and how far it is believed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceConfig {
    /// The keys its clients send: `write_key = "…"`, or two as `write_keys = ["new", "old"]` while a key is
    /// being replaced. Public when they sit in a page or an app.
    #[serde(alias = "write_key", deserialize_with = "one_or_two")]
    pub write_keys: Vec<Secret<WriteKey>>,
    /// `client` or `server`. Default `client`: a key in a page or an app is public, and anyone can
    /// forge its events.
    #[serde(default = "client", deserialize_with = "trust")]
    pub trust: Trust,
    /// What it may send: event types (`identify`) and names of track events (`Order Completed`).
    /// Default: anything.
    #[serde(default)]
    pub events: Option<EventFilter>,
    /// The origins of pages that may send, as browsers name them: `https://shop.example`. What is no page
    /// names none, and is not asked. Default: any.
    #[serde(default)]
    pub origins: Option<Vec<Origin>>,
    /// Events a second, on average; beyond them 429. Default: no limit.
    #[serde(default)]
    pub events_per_second: Option<NonZeroU32>,
    /// Events at once, after a pause, where there is such a limit. Default: one second's.
    #[serde(default)]
    pub burst: Option<NonZeroU32>,
    /// Marks its events as tests. Default `false`.
    #[serde(default)]
    pub test: bool,
    /// Most bytes of an event, 1 to 512,000. Default 32,768: Segment's limit, which clients keep.
    #[serde(default = "max_event_bytes", deserialize_with = "bytes_of_a_batch")]
    pub max_event_bytes: usize,
    /// Most bytes of a batch, inflated, 1 to 512,000. Default 512,000: Segment's limit, and the most that
    /// the collector reads before it knows the source.
    #[serde(default = "max_batch_bytes", deserialize_with = "bytes_of_a_batch")]
    pub max_batch_bytes: usize,
}

impl SourceConfig {
    /// A source with this key, and the default of everything else.
    pub fn new(write_key: Secret<WriteKey>) -> Self {
        Self {
            write_keys: vec![write_key],
            trust: client(),
            events: None,
            origins: None,
            events_per_second: None,
            burst: None,
            test: false,
            max_event_bytes: max_event_bytes(),
            max_batch_bytes: max_batch_bytes(),
        }
    }
}

/// `[consumers.NAME]`: what it wants, and where it goes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsumerConfig {
    /// The kind of destination.
    pub kind: SinkKind,
    /// Where events are posted. `http` or `https`.
    pub url: HttpUrl,
    /// Signs every delivery, in the form of Standard Webhooks: `whsec_` and base64 of 24–64 bytes.
    pub secret: Secret<WebhookSecret>,
    /// Which events it wants: event types and names of track events. Default: all.
    #[serde(default)]
    pub events: Option<EventFilter>,
}

fn client() -> Trust {
    Trust::Client
}

fn max_event_bytes() -> usize {
    MAX_EVENT_BYTES
}

fn max_batch_bytes() -> usize {
    MAX_BATCH_BYTES
}

fn bytes_of_a_batch<'de, D: Deserializer<'de>>(number: D) -> Result<usize, D::Error> {
    match usize::deserialize(number)? {
        bytes @ 1..=MAX_BATCH_BYTES => Ok(bytes),
        bytes => Err(D::Error::custom(format!("{bytes} is not 1 to {MAX_BATCH_BYTES} bytes"))),
    }
}

fn one_or_two<'de, D: Deserializer<'de>>(keys: D) -> Result<Vec<Secret<WriteKey>>, D::Error> {
    struct Keys;
    impl<'de> Visitor<'de> for Keys {
        type Value = Vec<Secret<WriteKey>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a write key, or a list of one or two")
        }

        fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<Self::Value, E> {
            let key = WriteKey::try_from(key.to_owned()).map_err(E::custom)?;
            Ok(vec![Secret::new(key)])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut keys = Vec::new();
            while let Some(key) = list.next_element()? {
                keys.push(key);
            }
            if (1..=2).contains(&keys.len()) {
                Ok(keys)
            } else {
                let message = "a source has one write key, or two while one replaces the other";
                Err(A::Error::custom(message))
            }
        }
    }
    keys.deserialize_any(Keys)
}

fn trust<'de, D: Deserializer<'de>>(word: D) -> Result<Trust, D::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Word {
        Client,
        Server,
    }
    Ok(match Word::deserialize(word)? {
        Word::Client => Trust::Client,
        Word::Server => Trust::Server,
    })
}

/// The kinds of destination that can be configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SinkKind {
    /// An HTTP POST per event, signed as Standard Webhooks says.
    Webhook,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8420)),
            data: PathBuf::from("./data"),
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
}

/// The name of a source or a consumer: 1–64 of `a-z 0-9 _ -`, starting with a letter or digit. It is
/// written into every record and every metric label, so it is plain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Name(Box<str>);

impl Name {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as the log has it.
    pub fn to_source_name(&self) -> SourceName {
        self.0.parse().expect("a name's characters and length are within a source name's")
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let starts_well = name.bytes().next().is_some_and(plain);
        if starts_well && name.len() <= 64 && name.bytes().all(|b| plain(b) || b"_-".contains(&b)) {
            Ok(Self(name.into()))
        } else {
            Err(format!(
                "`{name}` is not a name: expected 1 to 64 of a-z, 0-9, `_` and `-`, \
                 starting with a letter or digit"
            ))
        }
    }
}

/// A write key: 1–256 visible ASCII characters without `:`, which ends it in Basic authorization.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct WriteKey(String);

impl WriteKey {
    /// The key as clients send it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for WriteKey {
    type Error = String;

    fn try_from(key: String) -> Result<Self, String> {
        let fits = (1..=256).contains(&key.len());
        if fits && key.bytes().all(|b| b.is_ascii_graphic() && b != b':') {
            Ok(Self(key))
        } else {
            Err("a write_key is 1 to 256 visible ASCII characters without `:`".to_owned())
        }
    }
}

/// An origin as browsers name it: scheme, host, and the port unless it is the scheme's own.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Origin(String);

impl Origin {
    /// Whether a browser's `Origin` header means this one.
    pub fn is(&self, header: &str) -> bool {
        self.0.eq_ignore_ascii_case(header)
    }
}

impl TryFrom<String> for Origin {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let origin = reqwest::Url::parse(&text).map(|url| url.origin().ascii_serialization());
        match origin {
            Ok(origin) if origin.eq_ignore_ascii_case(&text) => Ok(Self(origin)),
            Ok(origin) if origin != "null" => Err(format!(
                "`{text}` is no origin; did you mean `{origin}`? An origin has no path"
            )),
            _ => Err(format!("`{text}` is no origin; expected `https://shop.example`")),
        }
    }
}

/// The bytes that sign webhooks, read from `whsec_` and base64.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct WebhookSecret(Vec<u8>);

impl WebhookSecret {
    /// The key itself, decoded.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl TryFrom<String> for WebhookSecret {
    type Error = String;

    // The errors never repeat the value: it is a secret even when it is malformed.
    fn try_from(secret: String) -> Result<Self, String> {
        let how = "make one with: echo whsec_$(head -c 32 /dev/urandom | base64)";
        let Some(encoded) = secret.strip_prefix("whsec_") else {
            return Err(format!("a webhook secret starts with `whsec_`; {how}"));
        };
        let bytes = BASE64_STANDARD
            .decode(encoded)
            .map_err(|_| format!("a webhook secret is `whsec_` and base64; {how}"))?;
        // 24 to 64 bytes: standard-webhooks/spec, "Signature scheme".
        if (24..=64).contains(&bytes.len()) {
            Ok(Self(bytes))
        } else {
            Err(format!("a webhook secret has 24 to 64 bytes, this has {}; {how}", bytes.len()))
        }
    }
}

/// An absolute `http://` or `https://` address.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct HttpUrl(reqwest::Url);

impl HttpUrl {
    /// The address, parsed.
    pub fn as_url(&self) -> &reqwest::Url {
        &self.0
    }
}

/// Without user, password and query: people put credentials there.
impl fmt::Debug for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = &self.0;
        write!(f, "{}://{}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path())
    }
}

impl TryFrom<String> for HttpUrl {
    type Error = String;

    fn try_from(url: String) -> Result<Self, String> {
        match reqwest::Url::parse(&url) {
            Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(Self(url)),
            Ok(_) => Err("expected a URL that starts with http:// or https://".to_owned()),
            Err(error) => Err(format!("expected an absolute http(s) URL: {error}")),
        }
    }
}

/// A list of event types (`page`) and names of track events (`Product Added`).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct EventFilter(Vec<String>);

impl EventFilter {
    /// Whether an event of this type, and, for `track`, of this name, is on the list.
    pub fn admits(&self, event_type: &str, name: Option<&str>) -> bool {
        self.0.iter().any(|listed| listed == event_type || Some(listed.as_str()) == name)
    }
}

/// A value that must not be seen: its `Debug` says only that it is there.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    /// Hides a value.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// The value, for the one place that needs it. Never log it.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
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
    use super::*;

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
