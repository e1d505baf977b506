//! A simulated platform: virtual clocks, a storage that can be slow, full, damaged or crash, and a driver that carries out
//! effects. Promises the same run for the same calls; knows nothing of what a test wants to see, and has no network: requests
//! are handed to the test, which answers them.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use crate::platform::{
    Answer, Consent, Dropped, Effect, Entry, Input, Key, Now, Priority, Report, Request, Sending,
    Stamp, Turn,
};
use crate::{Client, Config};

/// One event of a test, by a number of the test's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The test's number for it: its message id, so to speak.
    pub id: u64,
    /// Bytes of its text.
    pub bytes: u32,
    /// Its priority.
    pub priority: Priority,
    /// When it happened, unix milliseconds.
    pub at_ms: u64,
    /// Its category: see [`crate::platform::Consent`].
    pub category: u8,
}

/// One event as the collector sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arriving {
    /// The event.
    pub sample: Sample,
    /// Its queue and number, if it travels with them.
    pub number: Option<([u8; 16], u64)>,
    /// Numbers told with it.
    pub dropped: Vec<Dropped>,
}

/// A request that the core wants made.
#[derive(Clone, Debug)]
pub struct Outbound {
    /// To be answered.
    pub request: Request,
    /// What it carries.
    pub events: Vec<Arriving>,
    /// Whether it was made while leaving.
    pub leaving: bool,
    /// Whether it asks which of its events the collector has.
    pub asking: bool,
}

/// What happens to a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StorageMode {
    /// It is committed.
    Works,
    /// It fails, and says so.
    Full,
}

/// The device: what survives a crash, and the life that runs on it.
#[derive(Debug)]
pub struct Device {
    config: Config,
    now: Now,
    rows: BTreeMap<u64, (Sample, Option<Stamp>)>,
    saved: Option<Vec<u8>>,
    next_row: u64,
    /// How the next transactions end.
    pub mode: StorageMode,
    /// The answers about consent that the platform keeps by itself. Each life begins with them: what the core saved may have died
    /// with the life before.
    pub consent: Option<Consent>,
    life: Life,
}

#[derive(Debug)]
struct Life {
    client: Client,
    held: BTreeMap<Key, Holding>,
    next_key: u64,
    /// Rows up to this one were handed to the core, or are its own.
    handed: u64,
    building: Vec<Operation>,
    transactions: VecDeque<(Turn, Vec<Operation>)>,
    /// The latest turn that was asked for, and the latest that fails because one before it did.
    asked: Turn,
    failed_up_to: Turn,
    wake_at_ms: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Holding {
    sample: Sample,
    row: Option<u64>,
    stamp: Option<Stamp>,
}

#[derive(Clone, Debug)]
enum Operation {
    Store(Key, Stamp),
    Forget(Key),
    Save(Vec<u8>),
    Purge,
}

/// What a step brought to light.
#[derive(Debug, Default)]
pub struct Happened {
    /// Requests to be made.
    pub requests: Vec<Outbound>,
    /// Reports, with the event they speak of.
    pub reports: Vec<(Report, Option<u64>)>,
    /// A copy of every effect, for comparing two runs.
    pub effects: Vec<Effect>,
}

impl Device {
    /// A device on which nothing was ever stored, in its first life.
    #[must_use]
    pub fn new(config: Config, seed: [u64; 2], now: Now) -> (Self, Happened) {
        let client = Client::new(config.clone(), seed, None, now);
        let mut device = Self {
            config,
            now,
            rows: BTreeMap::new(),
            saved: None,
            next_row: 1,
            mode: StorageMode::Works,
            consent: None,
            life: Life::new(client),
        };
        let happened = device.carry_out();
        (device, happened)
    }

    /// Ends this life without warning. Of the transactions under way the first `surviving` are durable. Then the next
    /// life begins.
    pub fn crash(&mut self, surviving: usize, seed: [u64; 2]) -> Happened {
        for _ in 0..surviving {
            self.commit_one();
        }
        let client = Client::new(self.config.clone(), seed, self.saved.as_deref(), self.now);
        self.life = Life::new(client);
        if let Some(consent) = self.consent {
            self.life.client.handle(Input::Consent(consent), self.now);
        }
        self.carry_out()
    }

    /// Moves both clocks on.
    pub fn pass(&mut self, ms: u64) {
        self.now.monotonic_ms += ms;
        self.now.unix_ms = self.now.unix_ms.saturating_add(ms);
    }

    /// Sets the device's clock; the monotonic one goes on.
    pub fn set_clock(&mut self, unix_ms: u64) {
        self.now.unix_ms = unix_ms;
    }

    /// Both clocks.
    #[must_use]
    pub fn now(&self) -> Now {
        self.now
    }

    /// Calls a verb of the SDK: the core is asked first, then text and stamp are committed together.
    pub fn track(&mut self, samples: &[Sample]) -> Happened {
        let entries: Vec<Entry> =
            samples.iter().map(|sample| self.life.hold(*sample, None, None)).collect();
        self.input(Input::Tracked(&entries))
    }

    /// Another writer (a tab that is not the leader, a page whose core is not up yet) commits an event without a stamp.
    pub fn write_beside(&mut self, sample: Sample) -> Happened {
        self.rows.insert(self.next_row, (sample, None));
        self.next_row += 1;
        self.input(Input::Changed)
    }

    /// Flips bits of what is saved, or loses it.
    pub fn damage_saved(&mut self, byte: usize) {
        if let Some(saved) = &mut self.saved
            && !saved.is_empty()
        {
            let at = byte % saved.len();
            saved[at] ^= 0x55;
        }
    }

    /// Any other input.
    pub fn input(&mut self, input: Input<'_>) -> Happened {
        self.life.client.handle(input, self.now);
        self.carry_out()
    }

    /// Answers a request.
    pub fn answer(&mut self, request: Request, answer: Answer<'_>) -> Happened {
        self.input(Input::Answered { request, answer })
    }

    /// Ends the oldest transaction under way, if there is one.
    pub fn finish_transaction(&mut self) -> Option<Happened> {
        let (turn, durable) = self.commit_one()?;
        Some(self.input(Input::Committed { turn, durable }))
    }

    /// Transactions under way.
    #[must_use]
    pub fn transactions(&self) -> usize {
        self.life.transactions.len()
    }

    /// When the core wants to be woken, monotonic milliseconds.
    #[must_use]
    pub fn wake_at_ms(&self) -> Option<u64> {
        self.life.wake_at_ms
    }

    /// Wakes the core.
    pub fn wake(&mut self) -> Happened {
        self.life.wake_at_ms = None;
        self.input(Input::Woke)
    }

    /// Whether this event is in storage.
    #[must_use]
    pub fn has_stored(&self, id: u64) -> bool {
        self.rows.values().any(|(sample, _)| sample.id == id)
    }

    /// Events in storage.
    #[must_use]
    pub fn stored(&self) -> usize {
        self.rows.len()
    }

    /// The events in storage.
    pub fn stored_ids(&self) -> impl Iterator<Item = u64> + '_ {
        self.rows.values().map(|(sample, _)| sample.id)
    }

    /// The events that this life has in memory.
    pub fn held_ids(&self) -> impl Iterator<Item = u64> + '_ {
        self.life.held.values().map(|holding| holding.sample.id)
    }

    /// The client.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.life.client
    }

    /// Bytes that are saved.
    #[must_use]
    pub fn saved_bytes(&self) -> usize {
        self.saved.as_ref().map_or(0, Vec::len)
    }

    fn commit_one(&mut self) -> Option<(Turn, bool)> {
        let (turn, operations) = self.life.transactions.pop_front()?;
        if self.mode == StorageMode::Full {
            self.life.failed_up_to = self.life.asked;
        }
        let durable = turn > self.life.failed_up_to;
        for operation in operations {
            match operation {
                Operation::Forget(key) => {
                    let row = self.life.held.remove(&key).and_then(|holding| holding.row);
                    if let (Some(row), true) = (row, durable) {
                        self.rows.remove(&row);
                    }
                }
                Operation::Store(key, stamp) if durable => {
                    if let Some(holding) = self.life.held.get_mut(&key) {
                        let row = *holding.row.get_or_insert_with(|| {
                            self.next_row += 1;
                            self.next_row - 1
                        });
                        self.rows.insert(row, (holding.sample, numbered(stamp)));
                    }
                }
                Operation::Save(state) if durable => self.saved = Some(state),
                Operation::Purge if durable => {
                    self.rows.clear();
                    self.life.held.clear();
                }
                Operation::Store(..) | Operation::Save(_) | Operation::Purge => {}
            }
        }
        Some((turn, durable))
    }

    fn carry_out(&mut self) -> Happened {
        let mut happened = Happened::default();
        while let Some(effect) = self.life.client.poll_effect() {
            happened.effects.push(effect.clone());
            match effect {
                Effect::Store { key, stamp } => {
                    if let Some(holding) = self.life.held.get_mut(&key) {
                        holding.stamp = numbered(stamp);
                    }
                    self.life.building.push(Operation::Store(key, stamp));
                }
                Effect::Forget { key } => self.life.building.push(Operation::Forget(key)),
                Effect::Save { state } => self.life.building.push(Operation::Save(state)),
                Effect::Purge => self.life.building.push(Operation::Purge),
                Effect::Commit { turn } => {
                    let operations = core::mem::take(&mut self.life.building);
                    self.life.asked = turn;
                    self.life.transactions.push_back((turn, operations));
                }
                Effect::Load { limit } => self.load(limit),
                Effect::Send(sending) => happened.requests.push(self.outbound(&sending)),
                Effect::WakeAt { monotonic_ms } => self.life.wake_at_ms = Some(monotonic_ms),
                Effect::Report(report) => {
                    let id = match report {
                        Report::Dropped { key, .. } => {
                            self.life.held.get(&key).map(|holding| holding.sample.id)
                        }
                        _ => None,
                    };
                    happened.reports.push((report, id));
                }
            }
        }
        happened
    }

    fn load(&mut self, limit: u32) {
        let own: Vec<u64> = self.life.held.values().filter_map(|holding| holding.row).collect();
        let found: Vec<(u64, Sample, Option<Stamp>)> = self
            .rows
            .range(self.life.handed + 1..)
            .filter(|(row, _)| !own.contains(row))
            .take(limit as usize)
            .map(|(row, (sample, stamp))| (*row, *sample, *stamp))
            .collect();
        let more = found.len() == limit as usize;
        if let Some((row, _, _)) = found.last() {
            self.life.handed = *row;
        }
        let entries: Vec<(Entry, Option<Stamp>)> = found
            .into_iter()
            .map(|(row, sample, stamp)| (self.life.hold(sample, Some(row), stamp), stamp))
            .collect();
        self.life.client.handle(Input::Loaded { entries: &entries, more }, self.now);
    }

    fn outbound(&self, sending: &Sending) -> Outbound {
        let queue = self.life.client.queue_id();
        let events = (0u32..)
            .zip(&sending.events)
            .filter_map(|(index, outgoing)| {
                let holding = self.life.held.get(&outgoing.key)?;
                Some(Arriving {
                    sample: holding.sample,
                    number: holding
                        .stamp
                        .filter(|_| outgoing.numbered)
                        .map(|stamp| (queue, stamp.seq)),
                    dropped: if index == sending.dropped_at {
                        sending.dropped.clone()
                    } else {
                        Vec::new()
                    },
                })
            })
            .collect();
        let Sending { request, leaving, asking, .. } = *sending;
        Outbound { request, events, leaving, asking }
    }
}

/// What an event without a number is stored with: nothing.
fn numbered(stamp: Stamp) -> Option<Stamp> {
    (stamp.seq > 0).then_some(stamp)
}

impl Life {
    fn new(client: Client) -> Self {
        Self {
            client,
            held: BTreeMap::new(),
            next_key: 1,
            handed: 0,
            building: Vec::new(),
            transactions: VecDeque::new(),
            asked: Turn(0),
            failed_up_to: Turn(0),
            wake_at_ms: None,
        }
    }

    fn hold(&mut self, sample: Sample, row: Option<u64>, stamp: Option<Stamp>) -> Entry {
        let key = Key(self.next_key);
        self.next_key += 1;
        self.held.insert(key, Holding { sample, row, stamp });
        Entry {
            key,
            bytes: sample.bytes,
            priority: sample.priority,
            at_ms: sample.at_ms,
            campaign: 0,
            category: sample.category,
        }
    }
}
