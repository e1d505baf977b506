//! What a device is handed: the messages that wait for whoever it belongs to, each to one device at a time.
//! Promises that a device is told within a look of the state, that where a source demands a proof of who somebody is only proven
//! statements lead from a device to a message, and that what a device was handed and did not show is handed to another after [`OFFERED`]. Deliberately keeps nothing that outlives the process: what waits stands in the state.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::{
    sync::{broadcast, watch},
    task::spawn_blocking,
};

use super::kept;
use crate::{
    event_log::{Clock, EventLog, Offset, Origin, Timestamp},
    people::{Identifier, Kind, Node, Whole, first_record, node_of_identifier},
    projection::Handle,
    rules::Records as _,
    sources::Sources,
    state::{State, StateError},
};

/// How long a message is one device's: as long as somebody takes to look at a page.
const OFFERED: Duration = Duration::from_secs(30);
/// Messages that are handed to a device at once …
const MOST: usize = 20;
/// … of those that wait, which are looked for at once: what a page leaves lying must not keep from it what comes later.
const LOOKED_AT: usize = 1_000;
const ARRIVALS: usize = 1_000;
/// Groups of identifiers that a slow listener may leave unread; beyond, it looks for itself.
const UNREAD: usize = 1_024;
/// Offers that are remembered before those that have run out are swept.
const SWEEP: usize = 4_096;

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct Messages {
    projection: Handle,
    log: Arc<EventLog>,
    state: State,
    sources: Sources,
    clock: Clock,
    arrived: broadcast::Sender<Arc<[Node]>>,
    offers: Arc<Mutex<Offers>>,
}

/// Of a message, by its place in the log: which device it is offered to, and since when.
type Offers = HashMap<Offset, (Arc<str>, Instant)>;

/// A browser or an installed app, and the token that it shows.
#[derive(Clone)]
pub(crate) struct Device {
    anonymous_id: Arc<str>,
    token: Arc<str>,
}

/// A message, and where it stands in the log.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Waiting {
    pub(crate) at: Offset,
    pub(crate) message: Value,
}

/// What there is for a device.
#[derive(Debug)]
pub(crate) struct Found {
    /// The identifier that it is known by, once it is.
    pub(crate) node: Option<Node>,
    /// All that waits for whoever it belongs to.
    pub(crate) waits: Vec<Offset>,
    /// Of that, what it is handed.
    pub(crate) messages: Vec<Waiting>,
}

/// Why a device is told nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MessageError {
    #[error("messages cannot be read now: {0}")]
    Database(#[from] rusqlite::Error),
    #[error("messages cannot be read now: {0}")]
    Thread(#[from] tokio::task::JoinError),
    #[error(transparent)]
    State(#[from] StateError),
    #[error("this `anonymousId` names no device")]
    NoDevice,
    #[error(
        "another token came with this `anonymousId` first, or it is not known any more which did: a device keeps its token, and has a new \
         `anonymousId` when it has lost it"
    )]
    OtherToken,
}

impl Messages {
    /// `sources` say whether it counts only with a proof who somebody is.
    pub(crate) fn new(
        projection: Handle,
        log: Arc<EventLog>,
        (state, sources): (State, Sources),
        clock: Clock,
    ) -> Self {
        let (arrived, _) = broadcast::channel(UNREAD);
        Self { projection, log, state, sources, clock, arrived, offers: Arc::default() }
    }

    /// Tells listeners of what arrives, until `stop`.
    pub(crate) async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut applied = self.projection.applied.clone();
        let mut after = *applied.borrow_and_update();
        loop {
            tokio::select! {
                changed = applied.changed() => if changed.is_err() { return },
                () = async { drop(stop.wait_for(|stop| *stop).await) } => return,
            }
            let now = *applied.borrow_and_update();
            if self.arrived.receiver_count() == 0 {
                after = now;
                continue;
            }
            let readers = self.projection.readers.clone();
            let read = move || readers.read(|db| kept::arrivals(db, after, ARRIVALS));
            match spawn_blocking(read).await {
                Ok(Ok(arrivals)) => {
                    let is_all = arrivals.len() < ARRIVALS;
                    after = arrivals.last().map_or(after, |(at, _)| *at).max(if is_all {
                        now
                    } else {
                        after
                    });
                    for (_, nodes) in arrivals {
                        // Nobody listens any more: nothing is lost by it.
                        let _ = self.arrived.send(nodes.into());
                    }
                }
                Ok(Err(error)) => tracing::warn!(%error, "messages cannot be read; trying again"),
                Err(panic) => tracing::error!(%panic, "reading messages had stopped"),
            }
        }
    }

    /// Who has what arrives from now on.
    pub(crate) fn arrivals(&self) -> broadcast::Receiver<Arc<[Node]>> {
        self.arrived.subscribe()
    }

    /// The device, if this is its token. The first that comes is: a device makes it by itself, and says it to nobody else.
    pub(crate) async fn device(
        &self,
        anonymous_id: &str,
        token: &str,
    ) -> Result<Device, MessageError> {
        let identifier =
            Identifier::new(Kind::Anonymous, anonymous_id).ok_or(MessageError::NoDevice)?;
        let device = Device { anonymous_id: (&*identifier.value).into(), token: token.into() };
        let (messages, admitted) = (self.clone(), device.clone());
        spawn_blocking(move || messages.admit(&admitted)).await??;
        Ok(device)
    }

    /// The identifier that a device is known by, once it is, if it shows its token. Of one that no event has come from nothing is kept:
    /// tokens take less room than the events that they stand behind, however many someone makes up.
    fn admit(&self, device: &Device) -> Result<Option<Node>, MessageError> {
        let identifier =
            Identifier { kind: Kind::Anonymous, value: (&*device.anonymous_id).into() };
        let known = self.projection.readers.read(|db| node_of_identifier(db, &identifier))?;
        let Some(node) = known else { return Ok(None) };
        let may_begin = !self.is_lost(first_record(node))?;
        match self.state.admit_device(&device.anonymous_id, &device.token, may_begin)? {
            true => Ok(Some(node)),
            false => Err(MessageError::OtherToken),
        }
    }

    /// Whether the token that a device began with may be lost: it has been here before. What was imported has been elsewhere.
    fn is_lost(&self, first: Offset) -> Result<bool, StateError> {
        let is_imported = || self.log.at(first).is_some_and(|it| it.origin == Origin::Import);
        Ok(first <= self.state.lost_devices()? && !is_imported())
    }

    /// What there is for it now, but for what it was `told`.
    pub(crate) async fn waiting(
        &self,
        device: &Device,
        told: &[Offset],
    ) -> Result<Found, MessageError> {
        let (messages, device, told) = (self.clone(), device.clone(), told.to_vec());
        spawn_blocking(move || messages.read(&device, &told)).await?
    }

    fn read(&self, device: &Device, told: &[Offset]) -> Result<Found, MessageError> {
        let now = (self.clock)().unix_ms();
        let Some(node) = self.admit(device)? else {
            return Ok(Found { node: None, waits: Vec::new(), messages: Vec::new() });
        };
        let asks_proof = self.sources.ask_proof();
        let found = self.projection.readers.read(|db| {
            let whose = match asks_proof {
                true => Whole::proven(db, node)?,
                false => Whole::person(db, node)?.nodes,
            };
            kept::waiting(db, &whose, now, LOOKED_AT)
        })?;
        let waits: Vec<Offset> = found.into_iter().map(|(at, _)| at).collect();
        // What it was handed a moment ago, and has not shown, comes behind what it does not know.
        let (known, new): (Vec<_>, Vec<_>) = waits.iter().partition(|at| self.has(**at, device));
        let mut messages = Vec::new();
        for at in new.into_iter().chain(known).copied().filter(|at| !told.contains(at)) {
            if messages.len() >= MOST {
                break;
            }
            // Erased, or deleted with its time.
            let Some(record) = self.log.at(at) else { continue };
            let Some(message) = shown(&record.json) else { continue };
            if self.offer(at, device, Instant::now()) {
                messages.push(Waiting { at, message });
            }
        }
        Ok(Found { node: Some(node), waits, messages })
    }

    /// Whether this device was handed it last.
    fn has(&self, at: Offset, device: &Device) -> bool {
        let offers = self.offers.lock().unwrap_or_else(PoisonError::into_inner);
        offers.get(&at).is_some_and(|(to, _)| *to == device.anonymous_id)
    }

    /// Whether this device may have it now.
    fn offer(&self, at: Offset, device: &Device, now: Instant) -> bool {
        let mut offers = self.offers.lock().unwrap_or_else(PoisonError::into_inner);
        let runs = |since: Instant| now.duration_since(since) < OFFERED;
        if let Some((to, since)) = offers.get(&at)
            && *to != device.anonymous_id
            && runs(*since)
        {
            return false;
        }
        if offers.len() >= SWEEP {
            offers.retain(|_, (_, since)| runs(*since));
        }
        offers.insert(at, (Arc::clone(&device.anonymous_id), now));
        true
    }
}

/// What of it is for the device.
fn shown(json: &str) -> Option<Value> {
    let event: Value = serde_json::from_str(json).ok()?;
    let of = &event["properties"];
    let expires = Timestamp::from_unix_ms(of["expires_ms"].as_i64()?);
    Some(json!({
        "id": of["message_id"],
        "rule": of["rule"],
        "placement": of["placement"],
        "title": of["title"],
        "body": of["body"],
        "button": of["button"],
        "url": of["url"],
        "data": of["data"],
        "expiresAt": expires.to_string(),
    }))
}
