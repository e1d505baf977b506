//! The core at work: an input goes in, its effects are carried out on the storage, and its requests are drafted. Promises that a commit is
//! answered before anything that follows from it, that what storage refuses is kept in memory and tried again, and that no more of a
//! backlog is in memory than the window. Knows neither threads nor HTTP.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    path::Path,
};

use headwater_core::{
    Client, Config,
    platform::{
        Answer as CoreAnswer, Consent, Effect, Entry, Input, Key, Now, Report as Told, Request,
        Sending, Stamp,
    },
};

use super::{
    Parts, Settings, WINDOW_BYTES,
    draft::{Dispatched, Draft, Text},
    uploads,
};
use crate::{
    Report,
    lease::Lease,
    storage::{Change, Failure, Record},
    transport::{self, Answered},
};

/// One life of the core.
pub(super) struct Leader {
    lease: Option<Lease>,
    client: Client<Config>,
    /// What the core knows, by its key.
    pub(super) held: BTreeMap<Key, Holding>,
    held_bytes: u64,
    next_key: u64,
    /// Rows up to this one were handed to the core.
    cursor: i64,
    /// Rows behind the cursor that the core has all the same: it put them there.
    own: BTreeSet<i64>,
    /// Whether storage has nothing behind the cursor but `own`.
    caught_up: bool,
    /// Whether storage could not be read the last time.
    stalled: bool,
    turn: Changes,
    /// Events in memory that storage refused: tried again with each transaction.
    refused: BTreeSet<Key>,
    outgoing: VecDeque<(Sending, u64)>,
    announced: bool,
    /// Whether one is being put together, without the driver's lock.
    drafting: bool,
    /// Requests on their way, and since when.
    away: HashMap<u64, (Request, Dispatched, u64)>,
    wake_at_ms: Option<u64>,
    /// Rows that the host of an earlier life still has: they wait for its answer.
    pub(super) elsewhere: BTreeSet<i64>,
    /// Events that were refused alone, one after the other.
    refused_alone: u32,
    /// The event that the core has just let go of: it says why afterwards.
    forgotten: Option<Place>,
}

#[derive(Debug)]
pub(super) struct Holding {
    pub(super) place: Place,
    entry: Entry,
    /// Its number and session; none while the person has not answered.
    pub(super) stamp: Option<Stamp>,
}

#[derive(Debug)]
pub(super) enum Place {
    /// In storage.
    Row(i64),
    /// Here: its text is on its way to storage, or was refused there.
    Memory(String),
    /// Nowhere any more: an answer came that the core did not wait for. It hears of it with its next request.
    Answered,
}

/// What the next transaction does.
#[derive(Default)]
struct Changes {
    add: Vec<Key>,
    mark: Vec<(i64, Stamp)>,
    remove: Vec<i64>,
    save: Option<Vec<u8>>,
    /// A request that is answered for.
    uploaded: Option<u64>,
}

impl Holding {
    fn row(&self) -> Option<i64> {
        match self.place {
            Place::Row(row) => Some(row),
            Place::Memory(_) | Place::Answered => None,
        }
    }
}

impl Leader {
    /// Leads from now on, with what storage says.
    pub(super) fn begin(lease: Lease, settings: &Settings, parts: &mut Parts, now: Now) -> Self {
        let mut leader = Self::life(Some(lease), settings, parts, now);
        leader.start(parts, now);
        leader
    }

    fn life(lease: Option<Lease>, settings: &Settings, parts: &mut Parts, now: Now) -> Self {
        let saved = parts.storage.saved().ok().flatten();
        parts.storage.anew = false;
        Self {
            lease,
            client: Client::new(core(settings), seed(), saved.as_deref(), now),
            held: BTreeMap::new(),
            held_bytes: 0,
            next_key: 1,
            cursor: 0,
            own: BTreeSet::new(),
            caught_up: false,
            stalled: false,
            turn: Changes::default(),
            refused: BTreeSet::new(),
            outgoing: VecDeque::new(),
            announced: false,
            drafting: false,
            away: HashMap::new(),
            wake_at_ms: None,
            elsewhere: uploads::rows(parts, settings, now),
            refused_alone: 0,
            forgotten: None,
        }
    }

    fn start(&mut self, parts: &mut Parts, now: Now) {
        // What was answered may not have reached what the core saved.
        let consent = parts.consent();
        self.input(Input::Consent(consent), parts, now);
    }

    /// Another life, since storage is not what this one knows. What is in memory alone comes along.
    pub(super) fn begin_anew(&mut self, settings: &Settings, parts: &mut Parts, now: Now) {
        let lease = self.lease.take();
        let before = std::mem::replace(self, Self::life(lease, settings, parts, now));
        self.start(parts, now);
        for (_, Holding { place, entry, .. }) in before.held {
            if let Place::Memory(text) = place {
                self.track(Record { text, entry, stamp: None }, parts, now);
            }
        }
    }

    /// Whether a new event can go to the core: nothing waits on the disk that it would overtake, and there is room.
    pub(super) fn takes_at_once(&self, settings: &Settings) -> bool {
        self.caught_up && self.room(settings) > 0
    }

    fn room(&self, settings: &Settings) -> usize {
        if self.held_bytes >= window_bytes(settings) {
            return 0;
        }
        window(settings).saturating_sub(self.held.len())
    }

    /// Something lies behind the window: this process appended it, or another one may have.
    pub(super) fn look_again(&mut self) {
        self.caught_up = false;
    }

    /// What was passed over, since the person had not answered, may go now.
    pub(super) fn look_from_the_start(&mut self) {
        self.caught_up = false;
        self.cursor = 0;
        self.own = self.held.values().filter_map(Holding::row).collect();
        self.own.extend(&self.turn.remove);
    }

    /// Whether nobody else can have the lease.
    pub(super) fn holds_the_lease(&self, path: &Path) -> bool {
        self.lease.as_ref().is_some_and(|lease| lease.holds(path))
    }

    /// Another process may have taken the lease while its file was gone: gives it back, and says whether this one has it still.
    pub(super) fn takes_the_lease_again(&mut self, path: &Path) -> bool {
        self.lease = None;
        self.lease = Lease::take(path);
        self.lease.is_some()
    }

    /// Events that are in memory alone, with their texts.
    pub(super) fn into_memory(self) -> impl Iterator<Item = Record> {
        self.held.into_values().filter_map(|Holding { place, entry, .. }| match place {
            Place::Memory(text) => Some(Record { text, entry, stamp: None }),
            Place::Row(_) | Place::Answered => None,
        })
    }

    /// Storage may be read again.
    pub(super) fn try_again(&mut self) {
        self.stalled = false;
    }

    /// Rows without a number that the core knows all the same: they wait for the person.
    pub(super) fn unnumbered_rows(&self) -> BTreeSet<i64> {
        let waiting = self.held.values().filter(|holding| holding.stamp.is_none());
        waiting.filter_map(Holding::row).collect()
    }

    pub(super) fn wake_at_ms(&self) -> Option<u64> {
        self.wake_at_ms
    }

    pub(super) fn has_outgoing(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Whether nothing is under way, and nothing goes before a while has passed.
    pub(super) fn is_idle(&self, now: Now) -> bool {
        let soon_ms = now.monotonic_ms.saturating_add(SOON_MS);
        let nothing_soon = self.wake_at_ms.is_none_or(|at_ms| at_ms > soon_ms);
        let under_way = self.drafting || self.has_outgoing() || !self.away.is_empty();
        self.caught_up && !under_way && nothing_soon
    }

    /// Whether the host is to be told of what waits to be sent: once for each time that it looks.
    pub(super) fn announce(&mut self) -> bool {
        self.has_outgoing() && !std::mem::replace(&mut self.announced, true)
    }

    /// Events that are in memory alone.
    pub(super) fn unstored(&self) -> u64 {
        self.refused.len() as u64
    }

    /// Hands a new event to the core; says whether it is committed now.
    pub(super) fn track(&mut self, record: Record, parts: &mut Parts, now: Now) -> bool {
        let entry = self.hold(Place::Memory(record.text), record.entry, None);
        self.input(Input::Tracked(&[entry]), parts, now);
        matches!(self.held.get(&entry.key), Some(Holding { place: Place::Row(_), .. }))
    }

    pub(super) fn input(&mut self, input: Input<'_>, parts: &mut Parts, now: Now) {
        self.client.handle(input, now);
        self.carry_out(parts, now);
    }

    /// What follows each change: another life if storage is not what it was, what is due by now, the next part of a backlog.
    pub(super) fn go_on(&mut self, settings: &Settings, parts: &mut Parts, now: Now) {
        if parts.storage.anew {
            self.begin_anew(settings, parts, now);
        }
        if self.wake_at_ms.is_some_and(|at_ms| at_ms <= now.monotonic_ms) {
            self.wake_at_ms = None;
            self.input(Input::Woke, parts, now);
        }
        // Half a window at a time: each part costs a transaction that numbers it.
        while !self.caught_up && !self.stalled && self.room(settings) > window(settings) / 2 {
            self.input(Input::Changed, parts, now);
        }
    }

    fn hold(&mut self, place: Place, entry: Entry, stamp: Option<Stamp>) -> Entry {
        let entry = Entry { key: Key(self.next_key), ..entry };
        self.next_key += 1;
        self.held_bytes += u64::from(entry.bytes);
        self.held.insert(entry.key, Holding { place, entry, stamp });
        entry
    }

    fn carry_out(&mut self, parts: &mut Parts, now: Now) {
        while let Some(effect) = self.client.poll_effect() {
            match effect {
                Effect::Store { key, stamp } => self.store(key, stamp),
                Effect::Forget { key } => {
                    let denied = parts.consent().denied;
                    if self.held.get(&key).is_some_and(|holding| holding.entry.is_in(denied)) {
                        parts.make_unreadable();
                    }
                    self.forget(key);
                }
                Effect::Save { state } => self.turn.save = Some(state),
                Effect::Purge => {
                    // The rows themselves are deleted by who has heard the no: see `Parts::purged`.
                    self.turn = Changes::default();
                    self.held.clear();
                    self.held_bytes = 0;
                    self.refused.clear();
                    self.outgoing.clear();
                }
                Effect::Commit { turn } => {
                    let durable = self.commit(parts);
                    self.client.handle(Input::Committed { turn, durable }, now);
                }
                Effect::Load { limit } => self.load(limit as usize, parts, now),
                Effect::Send(sending) => {
                    self.outgoing.push_back((sending, now.monotonic_ms));
                    // A host that threw when it heard of the last one hears of this one.
                    self.announced = false;
                }
                Effect::WakeAt { monotonic_ms } => self.wake_at_ms = Some(monotonic_ms),
                Effect::Report(told) => self.tell(told, parts),
            }
        }
    }

    fn store(&mut self, key: Key, stamp: Stamp) {
        let Some(holding) = self.held.get_mut(&key) else { return };
        holding.stamp = (stamp.seq > 0).then_some(stamp);
        match (&holding.place, holding.stamp) {
            (Place::Memory(_), _) => self.turn.add.push(key),
            (Place::Row(row), Some(stamp)) => self.turn.mark.push((*row, stamp)),
            // It lies there without a number, as it should.
            (Place::Row(_), None) | (Place::Answered, _) => {}
        }
    }

    fn forget(&mut self, key: Key) {
        let Some(holding) = self.held.remove(&key) else { return };
        self.held_bytes -= u64::from(holding.entry.bytes);
        self.refused.remove(&key);
        match holding.place {
            Place::Row(row) => self.turn.remove.push(row),
            Place::Memory(_) => self.turn.add.retain(|added| *added != key),
            Place::Answered => {}
        }
        self.forgotten = Some(holding.place);
    }

    /// Everything since the last commit in one transaction. What storage refused before is tried again with it, without numbers: those
    /// were given up.
    fn commit(&mut self, parts: &mut Parts) -> bool {
        let turn = std::mem::take(&mut self.turn);
        let mut changes =
            Vec::with_capacity(turn.add.len() + turn.mark.len() + turn.remove.len() + 2);
        let adding: Vec<Key> = self.refused.iter().chain(&turn.add).copied().collect();
        for key in &adding {
            if let Some(Holding { place: Place::Memory(text), entry, stamp }) = self.held.get(key) {
                let stamp = stamp.filter(|_| !self.refused.contains(key));
                changes.push(Change::Add { text, entry, stamp });
            }
        }
        changes.extend(turn.mark.iter().map(|(row, stamp)| Change::Mark(*row, *stamp)));
        changes.extend(turn.remove.iter().map(|row| Change::Remove(*row)));
        changes.extend(turn.save.as_deref().map(Change::Save));
        changes.extend(turn.uploaded.map(Change::Uploaded));
        match parts.write(&changes) {
            Ok(rows) => {
                parts.stored += rows.len() as u64;
                parts.stored = parts.stored.saturating_sub(turn.remove.len() as u64);
                for row in &turn.remove {
                    self.own.remove(row);
                }
                self.refused.clear();
                for (key, row) in adding.into_iter().zip(rows) {
                    if let Some(holding) = self.held.get_mut(&key) {
                        holding.place = Place::Row(row);
                    }
                    if self.caught_up && row == self.cursor + 1 {
                        self.cursor = row;
                    } else {
                        self.own.insert(row);
                    }
                }
                true
            }
            Err(failure) => {
                self.refused.extend(turn.add);
                if let Failure::Damaged(why) = failure {
                    // Rows of the new file are others.
                    parts.replace(&why);
                } else {
                    self.turn.remove = turn.remove;
                }
                false
            }
        }
    }

    /// Hands over what lies behind the cursor, as far as there is room for it.
    fn load(&mut self, limit: usize, parts: &mut Parts, now: Now) {
        let limit = limit.min(parts.window.saturating_sub(self.held.len()));
        self.cursor = self.cursor.max(parts.purged());
        let rows = match parts.storage.read(self.cursor, limit, parts.consent().pending) {
            Ok(rows) => rows,
            Err(failure) => {
                // What cannot be read now is not taken for nothing: it is looked for again in a while, or in what was saved of it.
                if let Failure::Damaged(why) = failure {
                    parts.replace(&why);
                }
                self.stalled = true;
                self.client.handle(Input::Loaded { entries: &[], more: false }, now);
                return;
            }
        };
        self.caught_up = rows.len() < limit;
        let mut entries = Vec::with_capacity(rows.len());
        for row in rows {
            if self.elsewhere.contains(&row.id) {
                self.cursor = row.id;
                continue;
            }
            if self.held_bytes >= parts.window_bytes {
                self.caught_up = false;
                break;
            }
            self.cursor = row.id;
            if !self.own.remove(&row.id) {
                entries.push((self.hold(Place::Row(row.id), row.entry, row.stamp), row.stamp));
            }
        }
        let more = !self.caught_up
            && self.held.len() < parts.window
            && self.held_bytes < parts.window_bytes;
        self.client.handle(Input::Loaded { entries: &entries, more }, now);
    }

    fn tell(&mut self, told: Told, parts: &mut Parts) {
        let report = match told {
            Told::Dropped { reason, .. } => {
                let text = match self.forgotten.take() {
                    Some(Place::Memory(text)) => Some(text),
                    Some(Place::Row(row)) => parts.storage.text(row).ok().flatten(),
                    // It has arrived, whatever became of another attempt.
                    Some(Place::Answered) => return,
                    None => None,
                };
                let message_id = text.and_then(|text| transport::message_id(&text).map(str::to_owned));
                Report::Dropped { message_id, reason: reason.word().to_owned() }
            }
            Told::Stopped { status } => Report::Stopped { status },
            // Told with the reason by who writes.
            Told::NotDurable => return,
            Told::StateLost => Report::StateLost {
                detail: "what was kept of the queue cannot be read: a new one has begun, with the events that are stored".into(),
            },
        };
        parts.tell(report);
    }

    /// The next request, with the texts that are here, and whether the person has said no to some of it since; nothing if none is to be
    /// made.
    pub(super) fn draft(
        &mut self,
        parts: &Parts,
        now: Now,
        settings: &Settings,
    ) -> Option<(Draft, bool)> {
        self.announced = false;
        while let Some((sending, since_ms)) = self.outgoing.pop_front() {
            // Nobody fetched it in time: the core has given it up.
            if now.monotonic_ms.saturating_sub(since_ms) > settings.core.request_timeout_ms {
                continue;
            }
            let Consent { pending, denied } = parts.consent();
            let mut withdrawn = false;
            let mut texts = Vec::with_capacity(sending.events.len());
            for outgoing in &sending.events {
                texts.push(match self.held.get(&outgoing.key) {
                    Some(Holding { place, entry, stamp }) => {
                        withdrawn |= entry.is_in(pending | denied);
                        let (row, text) = match place {
                            Place::Memory(text) => (0, Text::Known(text.clone())),
                            Place::Row(row) => (*row, Text::At(*row)),
                            Place::Answered => (0, Text::Answered),
                        };
                        (*stamp, row, text)
                    }
                    None => (None, 0, Text::Gone),
                });
            }
            self.drafting = true;
            return Some((Draft::new(sending, self.client.queue_id(), texts), withdrawn));
        }
        None
    }

    /// A request is on its way.
    pub(super) fn sent(
        &mut self,
        id: u64,
        request: Request,
        dispatched: Dispatched,
        parts: &mut Parts,
        settings: &Settings,
        now: Now,
    ) {
        for _ in 0..dispatched.missing {
            parts.tell(Report::Dropped { message_id: None, reason: STORAGE_LOST.into() });
        }
        self.drafting = false;
        // What nobody has answered for so long, the core has given up.
        let forget_ms = FORGET_MS.max(settings.core.request_timeout_ms);
        self.away
            .retain(|_, (_, _, since_ms)| now.monotonic_ms.saturating_sub(*since_ms) < forget_ms);
        if settings.keeps_uploads && !dispatched.asking && !dispatched.places.is_empty() {
            // Where that fails, the events go again after this process: the collector knows them.
            drop(parts.write(&[Change::Uploading(id, now.unix_ms, &dispatched.rows)]));
        }
        self.away.insert(id, (request, dispatched, now.monotonic_ms));
    }

    /// Events in the body of this request; nothing if nobody waits for its answer.
    pub(super) fn events_of(&self, id: u64) -> Option<usize> {
        self.away.get(&id).map(|(_, dispatched, _)| dispatched.places.len())
    }

    /// What came of a request; says whether somebody waited for it.
    pub(super) fn completed(
        &mut self,
        id: u64,
        answered: &Answered,
        parts: &mut Parts,
        settings: &Settings,
        now: Now,
    ) -> bool {
        let Some((request, dispatched, _)) = self.away.remove(&id) else { return false };
        let mut room = Vec::new();
        let mut answer = answered.for_core(&dispatched.places, &mut room);
        match &mut answer {
            CoreAnswer::Delivered(_) => self.refused_alone = 0,
            CoreAnswer::Refused { status: 400 | 413 | 422, retry_after_ms }
                if dispatched.single =>
            {
                // Each costs a wait, so that a server gone wrong does not empty the queue. As the collector's own demand, no flush
                // shortens it.
                let wait_ms = POISON_WAIT_MS << self.refused_alone.min(6);
                *retry_after_ms = (*retry_after_ms).max(wait_ms.min(settings.core.backoff_max_ms));
                self.refused_alone += 1;
            }
            CoreAnswer::Refused { .. } | CoreAnswer::Unreachable => {}
        }
        self.turn.uploaded = settings.keeps_uploads.then_some(id);
        self.input(Input::Answered { request, answer }, parts, now);
        if let (Answered::Delivered(listed), false) = (answered, dispatched.asking) {
            // What is still here the core had given up, and would send again.
            self.answered_for(id, &dispatched.rows, listed, parts);
        }
        true
    }

    /// Whether everything up to this row (and key, once all of those rows are here) is answered for, but for what waits for the person.
    pub(super) fn is_done(&self, key: &mut Option<Key>, row: i64) -> bool {
        if key.is_none() && !self.caught_up && self.cursor < row {
            return false;
        }
        let key = *key.get_or_insert(Key(self.next_key));
        self.held.range(..key).all(|(_, holding)| holding.stamp.is_none())
    }
}

/// Without a bound of its own: what waits on the disk is bounded by who appends, and what storage refuses by the window.
fn core(settings: &Settings) -> Config {
    let events = u32::try_from(2 * window(settings)).unwrap_or(u32::MAX);
    let bounds = Config {
        max_queue_events: events,
        max_queue_bytes: 2 * WINDOW_BYTES,
        ..settings.core.clone()
    };
    // The host's requests may take as long as they take.
    Config { request_timeout_ms: settings.core.request_timeout_ms, ..bounds.checked() }
}

/// Events of which the core knows at once: more than the largest batch, few enough that looking at all of them takes microseconds.
pub(super) fn window(settings: &Settings) -> usize {
    usize::try_from(settings.max_events / 2).unwrap_or(WINDOW).clamp(1, WINDOW)
}

/// And bytes of their texts, most of which are on the disk: of a small file's bound half, the rest is for what may be given up.
pub(super) fn window_bytes(settings: &Settings) -> u64 {
    (settings.max_bytes / 2).min(WINDOW_BYTES)
}

/// 128 bits of the operating system's randomness. An id of version 4 has six bits that are always the same: a second one fills them in.
fn seed() -> [u64; 2] {
    let (one, other) = (uuid::Uuid::new_v4().as_u64_pair(), uuid::Uuid::new_v4().as_u64_pair());
    [one.0 ^ other.0.rotate_left(32), one.1 ^ other.1.rotate_left(32)]
}

const WINDOW: usize = 2_000;

/// After the first event that is refused alone, the next one waits so long, milliseconds; twice as long after each.
const POISON_WAIT_MS: u64 = 1_000;

/// What is gathered, or waits for the least time between two requests, goes by then, milliseconds.
const SOON_MS: u64 = 1_000;

/// An hour: longer than any request.
const FORGET_MS: u64 = 3_600_000;

/// Why an event is gone that storage had and has no longer: its number, if it had one, is told as refused by nobody.
const STORAGE_LOST: &str = "storage_lost";
