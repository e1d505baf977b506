//! Headwater's collector: takes events over HTTP, makes them durable, and carries them to consumers.
//!
//! ```text
//!  request ─▶ http ─▶ ingest ─▶ decode ─▶ validate ─▶ event_log ──▶ fdatasync ─▶ receipt (200)
//!            accept,  the path   bytes →   wire →      append,         │
//!            limits,  of an      wire      events,     deduplicate     │ "the log now ends at N"
//!            drain    event      batch     refusals                    ▼
//!  webhooks of others ─▶ inbound (signature, mapping) ─▶ ingest
//!                                              GET /v1/events, /v1/live: http::read
//!                                              consumer ─▶ sinks: webhook, file, kafka
//!                                                 └─▶ state: cursor, parked
//! ```
//! Promises:
//! - A receipt says `accepted` only for events that are on disk, and each is stored once as far as the
//!   memory of ids, or the sequence, reaches.
//! - Each consumer gets each event it wants at least once, in order per order key, under an id that stays
//!   the same; one that is down stops neither another nor the write path.
//! - Memory and waiting are bounded by the numbers in [`limits`].
//!
//! Deliberately no globals: everything hangs from a [`Collector`], so that a test starts the real server
//! on port 0 in one line.

pub mod actions;
pub mod backup;
pub mod check;
pub mod config;
mod console;
mod consumer;
pub mod countries;
mod current;
pub mod decode;
mod desk;
pub mod doctor;
pub mod event_log;
pub mod event_time;
pub mod export;
mod expression;
mod http;
pub mod import;
pub mod inbound;
pub mod ingest;
pub mod limits;
mod messages;
pub mod metrics;
pub mod open_files;
pub mod outgoing;
pub mod people;
pub mod projection;
mod reload;
pub mod rules;
mod seen;
pub mod sinks;
pub mod sources;
pub mod stamp;
pub mod state;
pub mod suppressed;
mod upkeep;
pub mod validate;
mod vitals;

use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

pub use http::TlsError;
pub use reload::{Reload, ReloadError, RuleFiles};

use tokio::{net::TcpListener, sync::watch, task::JoinSet};

use crate::{
    actions::{ActionsError, Hands, Reports, Worker},
    config::{Config, ConsumerConfig, Name, Secret, SourceConfig, WriteKey},
    consumer::{Consumer, Outlet, Surroundings},
    countries::{Countries, CountriesError},
    desk::{Desk, Fixtures},
    event_log::{Disk, EventLog, FileSystem, Offset, OpenError, Recovered, system_clock},
    http::{Door, Http, Lookout},
    inbound::{InboundError, Inbounds},
    ingest::Ingest,
    limits::HttpLimits,
    messages::Messages,
    metrics::Metrics,
    projection::{DatabaseError, Projection, Rules},
    rules::{RuleErrors, RuleSet},
    sinks::{Opening, SinkConfig, SinkError},
    sources::{Source, Sources},
    state::{State, StateError},
    suppressed::Suppressed,
    vitals::Vitals,
};

/// Runs a collector until `shutdown`, then drains it. [`Collector`] does the same in two steps, for who
/// wants to know its keys.
pub async fn run(
    listener: TcpListener,
    config: Config,
    shutdown: impl Future<Output = ()>,
) -> Result<(), StartError> {
    run_on(listener, config, Arc::new(FileSystem), shutdown).await
}

/// [`run`], with the event log on another disk: one that delays or fails.
pub async fn run_on(
    listener: TcpListener,
    config: Config,
    disk: Arc<dyn Disk>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), StartError> {
    Collector::open(config, disk)?.serve(listener, shutdown).await;
    Ok(())
}

/// A collector whose data folder is open, before it serves.
pub struct Collector {
    ingest: Ingest,
    inbounds: Inbounds,
    consumers: Vec<Consumer<Opening>>,
    projection: Projection,
    worker: Worker,
    reports: Reports,
    /// A name for the texts that rules and templates were read from.
    rules_read: Option<String>,
    rules: Arc<RuleSet>,
    /// Since when each of them counts.
    in_force: rules::InForce,
    door: Arc<Door>,
    state: State,
    config: Config,
    limits: HttpLimits,
    new_admin_token: Option<Secret<String>>,
    tag_key: Option<Secret<String>>,
}

/// Why a collector cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Nothing can be kept there: correct `data`, or the folder's owner.
    #[error("the data folder {path} cannot be used: {cause}")]
    DataFolder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The event log cannot be opened.
    #[error(transparent)]
    Log(#[from] OpenError),
    /// The state database cannot be opened.
    #[error(transparent)]
    State(#[from] StateError),
    /// The database of people cannot be opened.
    #[error(transparent)]
    People(#[from] DatabaseError),
    /// The certificate or its key cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The mapping of an inbound webhook cannot be used.
    #[error(transparent)]
    Inbound(#[from] InboundError),
    /// A rule file cannot be used.
    #[error(transparent)]
    Rules(#[from] RuleErrors),
    /// What rules send cannot be sent.
    #[error(transparent)]
    Actions(#[from] ActionsError),
    /// The file of countries cannot be used.
    #[error(transparent)]
    Countries(#[from] CountriesError),
    /// A consumer cannot deliver as configured.
    #[error("consumer `{consumer}`: {cause}")]
    Consumer {
        /// Its name.
        consumer: Name,
        /// What is wrong.
        cause: SinkError,
    },
}

impl Collector {
    /// Opens or begins what is kept in the data folder. Blocks: the log reads the ids of all its events.
    pub fn open(config: Config, disk: Arc<dyn Disk>) -> Result<Self, StartError> {
        let folder = |cause| StartError::DataFolder { path: config.data.clone(), cause };
        create_private(&config.data).map_err(folder)?;
        warn_if_others_can_read(&config.data);
        let clock = system_clock();
        let inbounds = Inbounds::open(&config)?;
        // Before them: what changes meanwhile is another text.
        let rules_read = config.rules.as_deref().and_then(actions::texts);
        let rules = config.rules.as_deref().map(RuleSet::read).transpose()?.unwrap_or_default();
        for (file, rule) in rules.idle() {
            tracing::warn!(
                file,
                rule,
                "a rule does nothing, and is only on record; if that is meant, say `then = []`"
            );
        }
        let (destinations, templates) = actions::open(&config, &rules)?;
        let countries = Arc::new(Countries::open(config.countries.as_deref())?);
        // Before anything is changed: a later release may have been here.
        State::refuse_later(&config.data.join("state.db"))?;
        // The log first: it locks the folder, so that two servers never share a database either.
        let (log, recovered) = EventLog::open(
            &config.data.join("log"),
            config.log.options(),
            disk,
            Arc::clone(&clock),
        )?;
        report(&recovered);
        let state = State::open(&config.data.join("state.db"))?;
        if recovered.events > 0 && state.is_new()? {
            // Who comes first now need not be who came first then.
            state.lose_devices(recovered.end)?;
        }
        let new_admin_token = state.first_admin_token()?;
        if new_admin_token.is_some() && recovered.events > 0 {
            tracing::warn!(
                events = recovered.events,
                "the log has events, and nothing is known of consumers, tokens and keys: right after an import; otherwise `state.db` was \
                 lost, and consumers begin anew: stop, and put it back from a backup"
            );
        }
        let door = Arc::new(Door::new(&config, state.admin_tokens()?)?);

        let (log, metrics) = (Arc::new(log), Arc::new(Metrics::new()));
        let (sources, tag_key) = sources_of(&config, &state)?;
        let sources = Sources::new(sources);
        let around = Surroundings {
            log: Arc::clone(&log),
            state: state.clone(),
            metrics: Arc::clone(&metrics),
            clock: Arc::clone(&clock),
        };
        let consumers = config.consumers.clone().into_iter();
        let consumers = consumers
            .map(|(name, consumer)| open_consumer(name, &consumer, around.clone()))
            .collect::<Result<_, _>>()?;
        let suppressed = Suppressed::read(&state)?;
        let ip = config.ip;
        let ingest = Ingest { log, sources, metrics, clock, ip, countries, suppressed };
        let (known, erasures) = (ingest.suppressed.clone(), state.clone());
        let gone = Arc::new(move || known.gone(&erasures.erasures().unwrap_or_default()));
        let end = *ingest.log.end().borrow();
        let in_force = Arc::new(state.in_force(rules.revisions(), (end, (ingest.clock)()))?);
        let set = Arc::new(rules);
        let since = Arc::clone(&in_force);
        let rules = Rules {
            set: Arc::clone(&set),
            in_force: since,
            clock: Arc::clone(&ingest.clock),
            lately: Arc::default(),
            tally: Some(Arc::new(rules::Tally::new(
                Arc::clone(&ingest.metrics),
                Arc::clone(&ingest.clock),
            ))),
        };
        let limits = config.people.clone();
        let projection = Projection::open(&config.data, &ingest.log, limits, gone, rules)?;
        let is_lost = new_admin_token.is_some() && recovered.events > 0;
        let forgotten_until = is_lost.then(|| (ingest.clock)().unix_ms());
        let hands = Hands::new(
            projection.handle(),
            (Arc::clone(&ingest.log), state.clone(), Arc::clone(&ingest.clock)),
            (Arc::clone(&ingest.metrics), ingest.suppressed.clone()),
            (destinations, templates),
            (config.actions_per_minute, forgotten_until),
            Arc::clone(&set),
        );
        for rule in set.enabled() {
            ingest.metrics.knows_rule(rule);
        }
        for (rule, kind) in set.kinds() {
            ingest.metrics.knows_actions(rule, &kind);
        }
        let worker = Worker::new(hands);
        let reports = Reports::open(
            Arc::clone(&ingest.log),
            (state.clone(), Arc::clone(&ingest.clock)),
            (ingest.sources.clone(), inbounds.clone()),
        )?;
        let limits = HttpLimits::default();
        Ok(Self {
            ingest,
            inbounds,
            consumers,
            projection,
            worker,
            reports,
            rules_read,
            rules: set,
            in_force,
            door,
            state,
            config,
            limits,
            new_admin_token,
            tag_key,
        })
    }

    /// With other bounds on connections and requests.
    #[must_use]
    pub fn with_limits(self, limits: HttpLimits) -> Self {
        Self { limits, ..self }
    }

    /// Hands it another configuration while it serves.
    pub fn reload(&self) -> Reload {
        Reload {
            door: Arc::clone(&self.door),
            sources: self.ingest.sources.clone(),
            inbounds: self.inbounds.clone(),
            state: self.state.clone(),
            started_with: self.config.clone(),
            rules_read: self.rules_read.clone(),
        }
    }

    /// The admin token, if this start has made it: the only time anyone sees it.
    pub fn new_admin_token(&self) -> Option<&str> {
        self.new_admin_token.as_ref().map(|token| token.expose().as_str())
    }

    /// The write key of the source that exists because none is configured.
    pub fn default_write_key(&self) -> Option<&str> {
        self.tag_key.as_ref().map(|key| key.expose().as_str())
    }

    /// Serves until `shutdown`; then accepts no more, finishes the requests and deliveries under way,
    /// saves the cursors and closes the log.
    pub async fn serve(self, listener: TcpListener, shutdown: impl Future<Output = ()>) {
        let (drain, draining) = watch::channel(false);
        let log = Arc::clone(&self.ingest.log);
        let cursors =
            self.consumers.iter().map(|consumer| (consumer.name().clone(), consumer.cursor()));
        let metrics = Arc::clone(&self.ingest.metrics);
        // What the projection has not folded is not read either.
        let projection = self.projection.handle();
        let folded = Name::try_from("people".to_owned()).expect("it is six letters");
        let mut to_keep: Vec<_> = cursors.collect();
        let cursors = to_keep.clone();
        to_keep.push((folded, projection.applied.clone()));
        let upkeep = upkeep::run(
            Arc::clone(&log),
            (self.config.log.clone(), self.state.clone()),
            to_keep,
            draining.clone(),
        );
        let clock = Arc::clone(&self.ingest.clock);
        let vitals = Vitals::new(
            metrics,
            Arc::clone(&log),
            cursors.clone(),
            projection.applied.clone(),
            self.config.data.clone(),
            Arc::clone(&clock),
        );
        let handles: BTreeMap<_, _> = self
            .consumers
            .iter()
            .map(|consumer| (consumer.name().clone(), consumer.handle()))
            .collect();
        let messages = Messages::new(
            projection.clone(),
            Arc::clone(&log),
            (self.state.clone(), self.ingest.sources.clone()),
            Arc::clone(&clock),
        );
        let telling = tokio::spawn(messages.clone().run(draining.clone()));
        let desk = Desk {
            projection,
            log: Arc::clone(&log),
            limits: self.config.people.clone(),
            clock,
            state: self.state.clone(),
            suppressed: self.ingest.suppressed.clone(),
            consumers: handles.clone(),
            rules: Arc::clone(&self.rules),
            in_force: Arc::clone(&self.in_force),
            fixtures: Fixtures::beside(self.config.rules.clone(), self.rules_read.clone()),
            messages,
            trying: self.worker.trying(),
            erasing: Arc::default(),
        };
        let finish_erasures = tokio::spawn(desk.clone().finish_erasures(draining.clone()));
        let follow = tokio::spawn(self.projection.follow(log.end(), draining.clone()));
        let working = tokio::spawn(self.worker.run(draining.clone()));
        let listening = tokio::spawn(self.reports.run(draining.clone()));

        let mut consumers = JoinSet::new();
        for consumer in self.consumers {
            consumers.spawn(consumer.run(draining.clone()));
        }
        let mut lookout = Lookout::new(
            Arc::clone(&self.door),
            self.state,
            self.config.data,
            Arc::clone(&self.ingest.countries),
        );
        let looked = tokio::task::spawn_blocking(move || {
            lookout.look();
            lookout
        });
        if let Ok(lookout) = looked.await {
            tokio::spawn(lookout.run(draining.clone()));
        }
        let http = Http::new(
            self.ingest,
            self.inbounds,
            self.door,
            self.limits,
            vitals,
            draining,
            (handles, desk),
        );
        let drain_at_the_end = async {
            shutdown.await;
            tracing::info!("stopping: finishing what is under way");
            let begun = (Instant::now(), Offsets::of(&log, &cursors));
            drain.send_replace(true);
            begun
        };
        let ((begun, before), (), ()) =
            tokio::join!(drain_at_the_end, http.serve(listener), upkeep);
        while let Some(ended) = consumers.join_next().await {
            if let Err(panic) = ended {
                tracing::error!(%panic, "a consumer had stopped");
            }
        }
        if let Err(panic) = working.await {
            tracing::error!(%panic, "actions had stopped");
        }
        let _ = listening.await;
        let _ = follow.await;
        let _ = telling.await;
        let _ = finish_erasures.await;
        let projection = self.projection;
        let _ = tokio::task::spawn_blocking(move || drop(projection)).await;
        let closing = Arc::clone(&log);
        let closed = tokio::task::spawn_blocking(move || closing.close()).await;
        if let Err(panic) = closed {
            tracing::error!(%panic, "the event log was not closed");
        }
        Offsets::of(&log, &cursors).report(&before, begun.elapsed());
    }
}

/// Where the log and its consumers are.
struct Offsets {
    end: Offset,
    cursors: Vec<(Name, Offset)>,
}

impl Offsets {
    fn of(log: &EventLog, cursors: &upkeep::Cursors) -> Self {
        let cursors = cursors.iter().map(|(name, cursor)| (name.clone(), *cursor.borrow()));
        Self { end: *log.end().borrow(), cursors: cursors.collect() }
    }

    /// The last line of the log: what the drain did, in which time, and what waits for the next start.
    fn report(&self, before: &Self, took: Duration) {
        let behind = self.cursors.iter().map(|(name, at)| (name, self.end.since(*at)));
        let behind = behind.filter(|(_, events)| *events > 0);
        let waiting: Vec<_> =
            behind.map(|(name, events)| format!("{events} for {}", name.as_str())).collect();
        let moved = self.cursors.iter().zip(&before.cursors);
        let done: u64 = moved.map(|((_, now), (_, then))| now.since(*then)).sum();
        tracing::info!(
            "stopped after {:.1} s, in which {} events were stored and consumers got done with {done}; {}",
            took.as_secs_f64(),
            self.end.since(before.end),
            match waiting.is_empty() {
                true => "no events wait".to_owned(),
                false => format!("events that wait: {}", waiting.join(", ")),
            }
        );
    }
}

/// The sources, and the key for the script tag if it is ours to print.
fn sources_of(
    config: &Config,
    state: &State,
) -> Result<(Vec<Source>, Option<Secret<String>>), StateError> {
    if !config.sources.is_empty() {
        let configured = config.sources.iter().map(|(name, source)| Source::new(name, source));
        let configured: Vec<_> = configured.collect();
        for source in sources::without_proof(&configured) {
            tracing::warn!(
                source = &*source.name,
                "another source has an `identify_secret` and this one has none: its events count for the device alone, whatever user or \
                 address they name. Give it one, or `trust = \"server\"` if its key is secret"
            );
        }
        return Ok((configured, None));
    }
    let key = state.default_write_key()?;
    let name = Name::try_from("web".to_owned()).expect("`web` is three letters");
    let write_key =
        Secret::new(WriteKey::try_from(key.expose().clone()).map_err(StateError::BadKey)?);
    let web = SourceConfig::new(write_key);
    Ok((vec![Source::new(&name, &web)], Some(key)))
}

fn open_consumer(
    name: Name,
    config: &ConsumerConfig,
    around: Surroundings,
) -> Result<Consumer<Opening>, StartError> {
    let wrong = |cause| StartError::Consumer { consumer: name.clone(), cause };
    let outlet = match &config.sink {
        Some(sink) => Outlet::Push(Arc::new(Opening::open(sink.clone()).map_err(wrong)?)),
        None => Outlet::Pull { lease: config.lease.as_duration() },
    };
    let kind = config.sink.as_ref().map_or("pull", SinkConfig::kind);
    Ok(Consumer::open(name, config, kind, outlet, around)?)
}

/// Makes the folder for its owner only: it holds what people did. Its name lasts, and those of the parents that were missing.
fn create_private(folder: &std::path::Path) -> io::Result<()> {
    let missing: Vec<_> = folder.ancestors().take_while(|folder| !folder.exists()).collect();
    let mut builder = std::fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(folder)?;
    for made in missing {
        match made.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => FileSystem.sync_dir(parent)?,
            _ => FileSystem.sync_dir(std::path::Path::new("."))?,
        }
    }
    Ok(())
}

/// A folder that was there before may be open to others, and what is in it with it.
fn warn_if_others_can_read(folder: &std::path::Path) {
    #[cfg(unix)]
    if let Ok(about) = std::fs::metadata(folder)
        && std::os::unix::fs::PermissionsExt::mode(&about.permissions()) & 0o077 != 0
    {
        let folder = folder.display();
        tracing::warn!(
            "others on this machine can look into {folder}, which holds what people did; close it with: \
             chmod -R go= '{folder}'"
        );
    }
}

fn report(recovered: &Recovered) {
    tracing::info!(events = recovered.events, end = %recovered.end, "opened the event log");
    if let Some(cut) = &recovered.cut {
        tracing::info!(
            "cut a commit that a crash had left unfinished, and that nobody was told was stored: {cut}"
        );
    }
}
