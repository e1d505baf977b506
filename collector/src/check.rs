//! `headwater check`: what a start with this configuration would stumble over, found without starting.
//! Promises to change nothing and to deliver nothing, so that it may run beside a server, and to name the line of each thing.
//! Deliberately does not try the address to listen on, which a running server has, nor whether destinations answer.

use std::{
    collections::BTreeMap,
    fmt, io,
    path::{Path, PathBuf},
};

use rustix::fs::{Access, access};
use toml::de::{DeTable, DeValue};

use crate::{
    actions::{self, Destination},
    config::{Config, ConsumerConfig},
    http::{Door, TlsError},
    inbound::Inbound,
    sinks::{AnySink, SinkConfig},
    state::State,
};

/// Something that the configuration names, and that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Line of the file that names it, 1-based; `None` if none does.
    pub line: Option<usize>,
    /// What is wrong, and what to do.
    pub message: String,
}

impl fmt::Display for Problem {
    /// To follow the file's name: `:7: …`, or `: …`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, ":{line}: {}", self.message),
            None => write!(f, ": {}", self.message),
        }
    }
}

/// All that a start would stumble over; `text` is the file that the configuration was read from, for the lines. Needs a runtime
/// around it, as some clients of destinations do.
pub fn problems(config: &Config, text: &str) -> Vec<Problem> {
    let mut found = Vec::new();
    let mut add = |keys: &[&str], message: String| {
        found.push(Problem { line: line_of(text, keys), message });
    };
    if let Err(error) = Door::new(config, Vec::new()) {
        let key = match &error {
            TlsError::Unreadable { what: "key", .. } => "key",
            _ => "certificate",
        };
        add(&["tls", key], error.to_string());
    }
    if let Err(cause) = usable(&config.data) {
        let data = config.data.display();
        add(&["data"], format!("the data folder {data} cannot be used: {cause}"));
    } else if let Err(error) = State::refuse_later(&config.data.join("state.db")) {
        add(&["data"], error.to_string());
    }
    for (name, inbound) in &config.inbound {
        if let Err(cause) = Inbound::open(name, inbound) {
            add(&["inbound", name.as_str(), "map"], format!("inbound `{name}`: {cause}"));
        }
    }
    if let Some(folder) = &config.rules {
        let (listed, more) = actions::look(folder, Some(config)).wrong.into_listed();
        for error in listed {
            add(&["rules"], error.to_string());
        }
        if more > 0 {
            add(&["rules"], format!("{}: … and {more} more", folder.display()));
        }
    }
    let mut folders: BTreeMap<&PathBuf, &str> = BTreeMap::new();
    for (name, ConsumerConfig { sink, .. }) in &config.consumers {
        let name = name.as_str();
        match sink {
            // It would take the folder, and close what another process has open in it.
            Some(SinkConfig::Files(file)) => {
                let at = ["consumers", name, "path"];
                let path = file.path.display();
                if let Err(cause) = usable(&file.path) {
                    add(
                        &at,
                        format!("consumer `{name}`: the folder {path} cannot be used: {cause}"),
                    );
                }
                if let Some(other) = folders.insert(&file.path, name) {
                    add(
                        &at,
                        format!(
                            "consumers `{other}` and `{name}` cannot both write to {path}; give each its own folder"
                        ),
                    );
                }
            }
            Some(sink) => {
                if let Err(cause) = AnySink::open(sink.clone()) {
                    add(&["consumers", name], format!("consumer `{name}`: {cause}"));
                }
            }
            None => {}
        }
    }
    for (name, destination) in &config.destinations {
        if let Err(cause) = Destination::open(destination) {
            add(&["destinations", name.as_str()], format!("destination `{name}`: {cause}"));
        }
    }
    found
}

/// What to say of a server that others can reach and that speaks no TLS, unless proxies are named that may do so for it.
pub fn in_the_clear(config: &Config) -> Option<String> {
    let Config { listen, tls, trusted_proxies, .. } = config;
    if listen.ip().is_loopback() || tls.is_some() || !trusted_proxies.is_empty() {
        return None;
    }
    Some(format!(
        "{listen} is reached from other machines, and without TLS: whoever is on the way reads events and admin tokens; set `[tls]`, or \
         put a TLS proxy in front and name it in `trusted_proxies`"
    ))
}

/// Whether this user may write to the folder, or make it.
fn usable(folder: &Path) -> io::Result<()> {
    let mut there = folder;
    while !there.exists() {
        there = match there.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
    }
    if !there.is_dir() {
        let is = format!("{} is not a folder", there.display());
        return Err(io::Error::new(io::ErrorKind::NotADirectory, is));
    }
    access(there, Access::WRITE_OK | Access::EXEC_OK).map_err(|error| {
        let error = io::Error::from(error);
        io::Error::new(error.kind(), format!("{}: {error}", there.display()))
    })
}

/// The line where the last of these keys is, or the last one before it that is there.
fn line_of(text: &str, keys: &[&str]) -> Option<usize> {
    let document = DeTable::parse(text).ok()?;
    let (mut table, mut at) = (document.get_ref(), None);
    for key in keys {
        let Some((word, value)) = table.get_key_value(*key) else { break };
        at = Some(word.span().start);
        let DeValue::Table(inner) = value.get_ref() else { break };
        table = inner;
    }
    at.map(|at| 1 + text[..at].matches('\n').count())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, folder: &Path) -> Vec<String> {
        let text = text.replace('~', &folder.display().to_string());
        let config = Config::parse(&text, Path::new("headwater.toml")).unwrap();
        problems(&config, &text).iter().map(ToString::to_string).collect()
    }

    #[tokio::test]
    async fn each_thing_that_cannot_be_used_is_named_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), "").unwrap();
        let found = check(
            "data = '~/file/data'\n[tls]\ncertificate = '~/none.pem'\nkey = '~/none.key'\n\
             [consumers.a]\nkind = 'file'\npath = '~/out'\n\
             [consumers.b]\nkind = 'file'\npath = '~/out'\n\
             [consumers.c]\nkind = 'file'\npath = '~/file'\n\
             [consumers.d]\nkind = 'webhook'\nurl = 'http://127.0.0.1/'\nsecret = 'whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oDC2FVsBQIhrs='\n\
             [destinations.mail]\nkind = 'email'\nhost = '10.0.0.1'\nfrom = 'a@b.example'\n",
            folder.path(),
        );
        let expected = [
            (":3: cannot read the certificate", "none.pem"),
            (":1: the data folder", "file is not a folder"),
            (":10: consumers `a` and `b` cannot both write to", "its own folder"),
            (":13: consumer `c`: the folder", "is not a folder"),
            (":14: consumer `d`: ", "allow_private"),
            (":18: destination `mail`: ", "allow_private"),
        ];
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        for (found, (start, part)) in found.iter().zip(expected) {
            assert!(found.starts_with(start) && found.contains(part), "{found}");
        }
        assert!(!folder.path().join("out").exists(), "nothing is made");
    }

    #[test]
    fn leaving_this_machine_without_tls_is_said() {
        let warns = |text: &str| {
            in_the_clear(&Config::parse(text, Path::new("headwater.toml")).unwrap()).is_some()
        };
        for open in ["0.0.0.0:80", "[::]:80", "192.0.2.7:80"] {
            let listen = format!("listen = '{open}'\n");
            assert!(warns(&listen), "{open}");
            let tls = "[tls]\ncertificate = 'c'\nkey = 'k'\n";
            for covered in ["trusted_proxies = ['192.0.2.0/24']\n", tls] {
                assert!(!warns(&(listen.clone() + covered)), "{covered}");
            }
        }
        for closed in ["127.0.0.1:80", "127.0.0.9:80", "[::1]:80"] {
            assert!(!warns(&format!("listen = '{closed}'")), "{closed}");
        }
    }

    #[tokio::test]
    async fn nothing_is_wrong_with_what_can_be_made() {
        let folder = tempfile::tempdir().unwrap();
        let sound = "data = '~/new/data'\n[consumers.a]\nkind = 'file'\npath = '~/new/out'\n";
        assert_eq!(check(sound, folder.path()), Vec::<String>::new());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
