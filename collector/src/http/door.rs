//! What the front door goes by and what may change while it stands open: the configuration's part, the admin
//! tokens, the certificate, and whether the disk has room; and the task that looks after the last three.
//! Promises that a look that fails leaves what was known, and says so once. Deliberately answers no request.

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::SystemTime,
};

use tokio::sync::watch;

use super::{
    connection::has_date,
    tls::{self, Stamp, TlsError},
};
use crate::{
    config::{Config, CookieConfig, Network, PathPrefix, TlsConfig},
    countries::Countries,
    current::Current,
    limits::{LOOK_PAUSE, MIN_FREE_BYTES},
    state::{AdminToken, State, StateError},
};

/// Shared by connections, reloads and the lookout.
#[derive(Debug)]
pub(crate) struct Door {
    pub(super) tls: Current<Option<Arc<rustls::ServerConfig>>>,
    pub(super) front: Current<Front>,
    pub(super) admins: Current<Vec<AdminToken>>,
    disk_nearly_full: AtomicBool,
}

/// The configuration's part.
#[derive(Debug)]
pub(super) struct Front {
    pub(super) trusted_proxies: Vec<Network>,
    pub(super) path_prefix: Option<PathPrefix>,
    pub(super) cookie: Option<CookieConfig>,
    tls: Option<TlsConfig>,
    min_free_bytes: Option<u64>,
}

impl Front {
    fn of(config: &Config) -> Self {
        Self {
            trusted_proxies: config.trusted_proxies.clone(),
            path_prefix: config.path_prefix.clone(),
            cookie: config.cookie.clone(),
            tls: config.tls.clone(),
            min_free_bytes: config.min_free_bytes,
        }
    }
}

impl Door {
    pub(crate) fn new(config: &Config, admins: Vec<AdminToken>) -> Result<Self, TlsError> {
        Ok(Self {
            tls: Current::new(config.tls.as_ref().map(tls::read).transpose()?),
            front: Current::new(Front::of(config)),
            admins: Current::new(admins),
            disk_nearly_full: AtomicBool::new(false),
        })
    }

    /// Goes by another configuration from the next connection and request on, or changes nothing.
    pub(crate) fn replace(&self, config: &Config) -> Result<(), TlsError> {
        let tls = config.tls.as_ref().map(tls::read).transpose()?;
        self.tls.set(tls);
        self.front.set(Front::of(config));
        Ok(())
    }

    pub(super) fn disk_nearly_full(&self) -> bool {
        self.disk_nearly_full.load(Ordering::Relaxed)
    }
}

/// Looks at what others change.
pub(crate) struct Lookout {
    pub(crate) door: Arc<Door>,
    pub(crate) state: State,
    /// The folder whose disk must have room.
    pub(crate) data: PathBuf,
    countries: Arc<Countries>,
    certificate: Option<(TlsConfig, Stamp)>,
    troubled: [bool; 3],
}

impl Lookout {
    pub(crate) fn new(
        door: Arc<Door>,
        state: State,
        data: PathBuf,
        countries: Arc<Countries>,
    ) -> Self {
        Self { door, state, data, countries, certificate: None, troubled: [false; 3] }
    }

    /// Looks until draining begins.
    pub(crate) async fn run(mut self, mut draining: watch::Receiver<bool>) {
        loop {
            let look = tokio::task::spawn_blocking(move || {
                self.look();
                self
            });
            self = match look.await {
                Ok(lookout) => lookout,
                Err(panic) => return tracing::error!(%panic, "nobody looks at the disk any more"),
            };
            tokio::select! {
                () = async { drop(draining.wait_for(|draining| *draining).await) } => return,
                () = tokio::time::sleep(LOOK_PAUSE) => {}
            }
        }
    }

    /// One look at everything. Blocks for as long as the disk takes.
    pub(crate) fn look(&mut self) {
        self.look_at_disk(|data| {
            let about = rustix::fs::statvfs(data)?;
            Ok((about.f_bavail * about.f_frsize, about.f_blocks * about.f_frsize))
        });
        self.look_at_tokens();
        self.look_at_certificate();
        self.look_at_countries();
        self.look_at_clock(SystemTime::now());
    }

    fn look_at_clock(&mut self, now: SystemTime) {
        if has_date(now) {
            self.troubled[2] = false;
        } else {
            let message = "the clock is before 1970 or beyond 9999: connections are closed until it is set right";
            self.trouble(2, || tracing::error!("{message}"));
        }
    }

    fn look_at_disk(&mut self, room: impl FnOnce(&PathBuf) -> io::Result<(u64, u64)>) {
        let (free, of) = match room(&self.data) {
            Ok(room) => room,
            Err(error) => {
                let message = "cannot see how much room the disk has";
                return self.trouble(0, || tracing::warn!(%error, "{message}"));
            }
        };
        self.troubled[0] = false;
        let wanted = self.door.front.get().min_free_bytes.unwrap_or(MIN_FREE_BYTES.min(of / 20));
        let full = free < wanted;
        if full != self.door.disk_nearly_full.swap(full, Ordering::Relaxed) {
            match full {
                true => tracing::error!(
                    free,
                    wanted,
                    "the disk is nearly full: events are answered 503 until there is room"
                ),
                false => tracing::info!(free, "the disk has room again: events are taken"),
            }
        }
    }

    fn look_at_tokens(&mut self) {
        match self.state.admin_tokens() {
            Ok(tokens) => {
                self.troubled[1] = false;
                if tokens != *self.door.admins.get() {
                    tracing::info!(tokens = tokens.len(), "the admin tokens have changed");
                    self.door.admins.set(tokens);
                }
            }
            Err(error) => self.trouble(1, || warn_of_tokens(&error)),
        }
    }

    fn look_at_certificate(&mut self) {
        let Some(config) = self.door.front.get().tls.clone() else {
            self.certificate = None;
            return;
        };
        let stamp = Stamp::of(&config);
        let seen = self.certificate.replace((config.clone(), stamp.clone()));
        if seen == Some((config.clone(), stamp)) {
            return;
        }
        match tls::read(&config) {
            Ok(tls) => {
                self.door.tls.set(Some(tls));
                if seen.is_some() {
                    tracing::info!("new connections get the new certificate");
                }
            }
            Err(error) => tracing::error!(%error, "the old certificate stays in force"),
        }
    }

    fn look_at_countries(&self) {
        match self.countries.look() {
            Ok(true) => tracing::info!("addresses are looked up in the new file of countries"),
            Ok(false) => {}
            Err(error) => tracing::error!(%error, "the countries of before stay in use"),
        }
    }

    /// Says it the first time in a row.
    fn trouble(&mut self, what: usize, say: impl FnOnce()) {
        if !std::mem::replace(&mut self.troubled[what], true) {
            say();
        }
    }
}

fn warn_of_tokens(error: &StateError) {
    tracing::warn!(%error, "cannot see whether admin tokens have changed");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookout(config: &Config) -> (Lookout, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(&folder.path().join("state.db")).unwrap();
        let door = Arc::new(Door::new(config, Vec::new()).unwrap());
        (Lookout::new(door, state, folder.path().to_owned(), Arc::default()), folder)
    }

    #[test]
    fn the_disk_is_nearly_full_until_there_is_room_again() {
        const MIB: u64 = 1 << 20;
        let (mut lookout, _folder) = lookout(&Config::default());
        for (free, of, full) in [
            (513 * MIB, 100_000 * MIB, false),
            (511 * MIB, 100_000 * MIB, true),
            (51 * MIB, 1_000 * MIB, false),
            (49 * MIB, 1_000 * MIB, true),
        ] {
            lookout.look_at_disk(|_| Ok((free, of)));
            assert_eq!(lookout.door.disk_nearly_full(), full, "{free} of {of}");
        }
        lookout.look_at_disk(|_| Err(io::ErrorKind::NotFound.into()));
        assert!(lookout.door.disk_nearly_full(), "what was known stays");
        lookout.look_at_disk(|_| Ok((60 * MIB, 1_000 * MIB)));
        assert!(!lookout.door.disk_nearly_full());
    }

    #[test]
    fn tokens_are_seen_when_another_process_changes_them() {
        let (mut lookout, folder) = lookout(&Config::default());
        let other = State::open(&folder.path().join("state.db")).unwrap();
        let name = crate::config::Name::try_from("ci".to_owned()).unwrap();
        other.add_admin_token(&name).unwrap().unwrap();
        lookout.look();
        assert_eq!(lookout.door.admins.get()[0].name, "ci");
        other.revoke_admin_token(&name).unwrap();
        lookout.look();
        assert!(lookout.door.admins.get().is_empty());
    }
}
