//! One run: a device in some weather, from its first event to the day when everything works again; then the verdict.

use std::collections::{BTreeMap, BTreeSet};

use headwater_core::Config;
use headwater_core::config::MAX_STATE_BYTES;
use headwater_core::platform::{
    Answer, Consent, DropReason, Effect, Input, Now, Priority, Report, Request,
};
use headwater_core::testing::{Device, Happened, Outbound, Sample, StorageMode};

use crate::collector::Collector;
use crate::dice::Dice;

const START: Now = Now { monotonic_ms: 5_000, unix_ms: 1_763_769_600_000 };

/// What can happen in a run.
#[derive(Clone)]
pub(crate) struct Weather {
    pub(crate) config: Config,
    pub(crate) steps: u64,
    pub(crate) bad_network: bool,
    pub(crate) crashes: bool,
    pub(crate) full_storage: bool,
    pub(crate) leaving: bool,
    pub(crate) other_tabs: bool,
    pub(crate) clock_jumps: bool,
    pub(crate) poison: bool,
    /// The person answers for categories, again and again.
    pub(crate) answers: bool,
}

impl Weather {
    pub(crate) fn any(dice: &mut Dice) -> Self {
        let config = Config {
            load_limit: 1 + dice.small(30),
            max_age_ms: if dice.one_in(3) { 30 * 86_400_000 } else { u64::MAX },
            ..Config::default()
        };
        Self {
            config,
            steps: 20 + dice.up_to(200),
            bad_network: !dice.one_in(8),
            crashes: !dice.one_in(3),
            full_storage: dice.one_in(3),
            leaving: dice.one_in(2),
            other_tabs: dice.one_in(2),
            clock_jumps: dice.one_in(3),
            poison: dice.one_in(3),
            answers: dice.one_in(3),
        }
    }

    pub(crate) fn calm() -> Self {
        Self {
            config: Config::default(),
            steps: 10,
            bad_network: false,
            crashes: false,
            full_storage: false,
            leaving: false,
            other_tabs: false,
            clock_jumps: false,
            poison: false,
            answers: false,
        }
    }
}

/// What happened in a run, or in many: a simulation in which the interesting things never happen proves nothing.
#[derive(Default)]
pub(crate) struct Covered {
    pub(crate) delivered: usize,
    pub(crate) duplicates: u64,
    pub(crate) crashes: u64,
    pub(crate) not_durable: u64,
    pub(crate) dropped: BTreeMap<&'static str, u64>,
    pub(crate) told: usize,
    pub(crate) leaving: u64,
    pub(crate) asked: u64,
    pub(crate) demanded_waits: u64,
    pub(crate) answers: u64,
    pub(crate) most_pending: usize,
    pub(crate) effects: Vec<Effect>,
}

impl Covered {
    pub(crate) fn add(&mut self, other: &Self) {
        self.delivered += other.delivered;
        self.duplicates += other.duplicates;
        self.crashes += other.crashes;
        self.not_durable += other.not_durable;
        self.told += other.told;
        self.leaving += other.leaving;
        self.asked += other.asked;
        self.demanded_waits += other.demanded_waits;
        self.answers += other.answers;
        for (reason, count) in &other.dropped {
            *self.dropped.entry(reason).or_default() += count;
        }
    }

    pub(crate) fn assert_everything_happened(&self) {
        let Self { delivered, duplicates, crashes, not_durable, told, demanded_waits, .. } = self;
        assert!(
            *delivered > 1_000 && *duplicates > 100 && *crashes > 100,
            "{delivered} {duplicates} {crashes}"
        );
        assert!(
            *not_durable > 50 && *told > 50 && *demanded_waits > 50,
            "{not_durable} {told} {demanded_waits}"
        );
        assert!(self.asked > 100, "{} questions", self.asked);
        assert!(self.answers > 100, "{} answers about consent", self.answers);
        assert!(self.dropped.contains_key("refused"), "{:?}", self.dropped);
    }
}

/// A request under way.
struct Travelling {
    outbound: Outbound,
    begun_ms: u64,
    arrives_ms: u64,
    fate: Fate,
}

enum Fate {
    /// Never arrives; the device learns of it, or not.
    Lost {
        noticed: bool,
    },
    /// Arrives; the answer is lost.
    AnswerLost {
        noticed: bool,
    },
    Delivered,
    Refused {
        status: u16,
        retry_after_ms: u64,
    },
}

pub(crate) struct Run {
    dice: Dice,
    weather: Weather,
    device: Device,
    collector: Collector,
    travelling: Vec<Travelling>,
    next_id: u64,
    /// Events that the device had in storage at some time: the ones that were accepted.
    accepted: BTreeSet<u64>,
    /// Which tab an event came from, for order.
    tab: BTreeMap<u64, u64>,
    given_up: BTreeMap<u64, DropReason>,
    /// The category of each event that has another than the first.
    category: BTreeMap<u64, u8>,
    /// The answers in force.
    consent: Consent,
    /// Events that a no may have deleted.
    refused: BTreeSet<u64>,
    /// Events that a request made while leaving may have overtaken.
    overtaken: BTreeSet<u64>,
    /// Nothing may be sent before this time of the monotonic clock: the collector said so.
    not_before_ms: u64,
    covered: Covered,
}

impl Run {
    pub(crate) fn new(seed: u64, dice: Dice, weather: Weather) -> Self {
        let (device, happened) = Device::new(weather.config.clone(), [seed, 1], START);
        let mut run = Self {
            dice,
            weather,
            device,
            collector: Collector::default(),
            travelling: Vec::new(),
            next_id: 1,
            accepted: BTreeSet::new(),
            tab: BTreeMap::new(),
            given_up: BTreeMap::new(),
            category: BTreeMap::new(),
            consent: Consent::GRANTED,
            refused: BTreeSet::new(),
            overtaken: BTreeSet::new(),
            not_before_ms: 0,
            covered: Covered::default(),
        };
        run.note(happened);
        run
    }

    pub(crate) fn backlog(&mut self, events: u64) {
        for _ in 0..events {
            let sample = self.sample(1);
            let happened = self.device.write_beside(sample);
            self.note(happened);
        }
    }

    pub(crate) fn play(mut self) -> Covered {
        for _ in 0..self.weather.steps {
            self.step();
        }
        let weather = self.weather.clone();
        self.make_everything_work();
        self.drain();
        // What a full storage would not delete is found by the next life, and sent once more.
        let happened = self.device.crash(0, [7, 7]);
        self.note(happened);
        self.drain();
        // Drops of the last minute are told with the next event.
        for _ in 0..8 {
            self.track(1);
            self.drain();
        }
        self.weather = weather;
        self.judge();
        self.covered.delivered = self.collector.log.len();
        self.covered.duplicates = self.collector.duplicates;
        self.covered.told = self.collector.told.len();
        self.covered
    }

    fn step(&mut self) {
        match self.dice.up_to(19) {
            0..=6 => {
                let events = if self.dice.one_in(8) { 60 } else { 1 + self.dice.up_to(4) };
                self.track(events);
            }
            7 if self.weather.other_tabs => {
                let tab = 2 + self.dice.up_to(1);
                let sample = self.sample(tab);
                let happened = self.device.write_beside(sample);
                self.note(happened);
            }
            8 if self.weather.crashes => self.crash(),
            9 if self.weather.leaving => {
                let happened = self.device.input(Input::Leaving);
                self.note(happened);
                if self.dice.one_in(2) {
                    self.crash();
                }
            }
            10 if self.weather.full_storage => {
                self.device.mode =
                    if self.dice.one_in(2) { StorageMode::Full } else { StorageMode::Works };
            }
            11 if self.weather.clock_jumps => {
                let day = 86_400_000;
                let jump = [
                    START.unix_ms - day,
                    START.unix_ms + 365 * day,
                    START.unix_ms,
                    0,
                    u64::MAX / 2,
                ];
                let to = jump[self.dice.index(4)];
                self.device.set_clock(to);
            }
            12 => {
                let input = if self.dice.one_in(2) { Input::Flush } else { Input::Online };
                let happened = self.device.input(input);
                self.note(happened);
            }
            13 => {
                let happened = self.device.input(Input::Reset);
                self.note(happened);
            }
            14 if self.weather.answers => {
                // For two of three categories: the first is always granted.
                let bits = |dice: &mut Dice| [0, 0b010, 0b100, 0b110][dice.index(3)];
                let denied = if self.dice.one_in(3) { bits(&mut self.dice) } else { 0 };
                let pending = bits(&mut self.dice);
                self.answer(Consent { pending, denied });
            }
            _ => {
                let ms = [1, 5, 25, 250, 3_000, 70_000][self.dice.index(5)];
                self.pass(ms);
            }
        }
        self.check_bounds();
    }

    fn answer(&mut self, consent: Consent) {
        self.consent = consent;
        let refused =
            |(id, category): (&u64, &u8)| (consent.denied & 1 << category != 0).then_some(*id);
        self.refused.extend(self.category.iter().filter_map(refused));
        // What is taken back goes behind what was under way just then.
        let waits = |id: &u64| {
            self.category.get(id).is_some_and(|category| consent.pending & 1 << category != 0)
        };
        self.overtaken.extend(self.device.held_ids().chain(self.device.stored_ids()).filter(waits));
        self.device.consent = Some(consent);
        let happened = self.device.input(Input::Consent(consent));
        self.note(happened);
        self.covered.answers += 1;
    }

    fn sample(&mut self, tab: u64) -> Sample {
        let id = self.next_id;
        self.next_id += 1;
        let category = if self.weather.answers { [0, 1, 2][self.dice.index(2)] } else { 0 };
        if category > 0 {
            self.category.insert(id, category);
            if self.consent.denied & 1 << category != 0 {
                self.refused.insert(id);
            }
        }
        // Order is kept within a category: what waits for an answer is overtaken.
        self.tab.insert(id, tab * 8 + u64::from(category));
        if self.weather.poison && self.dice.one_in(25) {
            self.collector.poison.insert(id);
        }
        let bytes = if self.weather.poison && self.dice.one_in(60) {
            40_000
        } else {
            200 + self.dice.small(1_500)
        };
        Sample {
            id,
            bytes,
            priority: [Priority::Low, Priority::Normal, Priority::High][self.dice.index(2)],
            at_ms: self.device.now().unix_ms,
            category,
        }
    }

    fn track(&mut self, events: u64) {
        let samples: Vec<Sample> = (0..events).map(|_| self.sample(1)).collect();
        let happened = self.device.track(&samples);
        self.note(happened);
    }

    /// Lets time pass, and everything that comes due in it happen at its time.
    fn pass(&mut self, ms: u64) {
        let end = self.device.now().monotonic_ms + ms;
        loop {
            let now = self.device.now().monotonic_ms;
            let storage = (self.device.transactions() > 0).then_some(now + self.dice.up_to(8));
            let wake = self.device.wake_at_ms().map(|at| at.max(now));
            let arrival = self.travelling.iter().map(|t| t.arrives_ms.max(now)).min();
            let next = [storage, wake, arrival].into_iter().flatten().min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.device.pass(next - now);
            if storage == Some(next) {
                let happened = self.device.finish_transaction().expect("one is under way");
                self.note(happened);
            } else if arrival == Some(next) {
                let at =
                    self.travelling.iter().position(|t| t.arrives_ms <= next).expect("one arrives");
                let travelling = self.travelling.remove(at);
                self.arrive(travelling);
            } else {
                let happened = self.device.wake();
                self.note(happened);
            }
        }
        let now = self.device.now().monotonic_ms;
        self.device.pass(end.saturating_sub(now));
    }

    fn arrive(&mut self, Travelling { outbound, fate, .. }: Travelling) {
        let request = outbound.request;
        match fate {
            Fate::Lost { noticed } => self.unreachable(request, noticed),
            Fate::AnswerLost { noticed } => {
                if !outbound.asking {
                    self.collector.take(&outbound.events);
                }
                self.unreachable(request, noticed);
            }
            Fate::Delivered => {
                let listed = if outbound.asking {
                    self.collector.known(&outbound.events)
                } else {
                    self.collector.take(&outbound.events)
                };
                let happened = self.device.answer(request, Answer::Delivered(&listed));
                self.note(happened);
            }
            Fate::Refused { status, retry_after_ms } => {
                if retry_after_ms > 0 && ![400, 401, 403, 413, 422].contains(&status) {
                    self.not_before_ms =
                        self.not_before_ms.max(self.device.now().monotonic_ms + retry_after_ms);
                    self.covered.demanded_waits += 1;
                }
                let happened =
                    self.device.answer(request, Answer::Refused { status, retry_after_ms });
                self.note(happened);
            }
        }
    }

    fn unreachable(&mut self, request: Request, noticed: bool) {
        if noticed {
            let happened = self.device.answer(request, Answer::Unreachable);
            self.note(happened);
        }
    }

    fn fate(&mut self, outbound: &Outbound) -> Fate {
        let poison = |collector: &Collector| {
            outbound.events.iter().any(|event| collector.poison.contains(&event.sample.id))
        };
        if !self.weather.bad_network {
            return Fate::Delivered;
        }
        let noticed = !self.dice.one_in(6);
        match self.dice.up_to(13) {
            0 | 1 => Fate::Lost { noticed },
            2 | 3 => Fate::AnswerLost { noticed },
            4 => Fate::Refused {
                status: [429, 503, 500, 404, 301, 408, 502][self.dice.index(6)],
                retry_after_ms: [0, 0, 1_000, 20_000][self.dice.index(3)],
            },
            5 if self.dice.one_in(6) => Fate::Refused { status: 401, retry_after_ms: 0 },
            // A collector that takes a batch whole or not at all.
            6 | 7 if poison(&self.collector) => Fate::Refused { status: 400, retry_after_ms: 0 },
            8 if outbound.events.len() > 1 => Fate::Refused { status: 413, retry_after_ms: 0 },
            _ => Fate::Delivered,
        }
    }

    fn crash(&mut self) {
        let surviving = self.dice.index(self.device.transactions());
        // What the collector has not seen yet dies with the page, or arrives although nobody waits for the answer.
        for travelling in std::mem::take(&mut self.travelling) {
            if matches!(travelling.fate, Fate::Delivered | Fate::AnswerLost { .. })
                && !travelling.outbound.asking
                && !self.dice.one_in(3)
            {
                self.collector.take(&travelling.outbound.events);
            }
        }
        // A wait outlives the life in which it began if it was saved, and as far as the device's clock tells the time.
        let lost = self.device.transactions() > surviving;
        if lost || self.weather.full_storage || self.weather.clock_jumps {
            self.not_before_ms = 0;
        }
        let seed = [self.dice.next(), self.dice.next()];
        // The next page may open long after.
        let away = [0, 10, 60_000, 40 * 86_400_000][self.dice.index(3)];
        self.device.pass(away);
        self.covered.crashes += 1;
        let happened = self.device.crash(surviving, seed);
        self.note(happened);
    }

    fn note(&mut self, happened: Happened) {
        self.covered.effects.extend(happened.effects);
        for (report, id) in happened.reports {
            match report {
                Report::Dropped { reason, .. } => {
                    *self.covered.dropped.entry(reason.word()).or_default() += 1;
                    self.given_up.insert(id.expect("the platform holds what is dropped"), reason);
                }
                Report::NotDurable => self.covered.not_durable += 1,
                Report::Stopped { .. } => {}
                Report::StateLost => panic!("nobody damaged the state"),
            }
        }
        for outbound in happened.requests {
            self.begin(outbound);
        }
    }

    fn begin(&mut self, outbound: Outbound) {
        let now = self.device.now().monotonic_ms;
        assert!(!outbound.events.is_empty(), "an empty request");
        assert!(
            now >= self.not_before_ms,
            "sent {} ms before the collector's Retry-After",
            self.not_before_ms - now
        );
        if outbound.leaving {
            self.covered.leaving += 1;
            // What is under way may be lost, and what is in doubt is not sent again yet.
            let own: BTreeSet<u64> = outbound.events.iter().map(|event| event.sample.id).collect();
            let others = self.device.held_ids().chain(self.device.stored_ids());
            self.overtaken.extend(others.filter(|id| !own.contains(id)));
        } else {
            // The core gives up a request that is never answered; it may go on travelling.
            let patience = self.weather.config.request_timeout_ms + 5_000;
            let in_flight = self.travelling.iter().any(|t| now < t.begun_ms + patience);
            assert!(!in_flight, "a second request in flight");
            let bytes: u64 =
                outbound.events.iter().map(|event| u64::from(event.sample.bytes)).sum();
            assert!(
                bytes
                    <= u64::from(self.weather.config.max_batch_bytes)
                        * u64::from(self.weather.config.max_batch_growth)
                    || outbound.asking
                    || outbound.events.len() == 1
            );
        }
        self.covered.asked += u64::from(outbound.asking);
        for event in &outbound.events {
            let Consent { pending, denied } = self.consent;
            assert!(
                (pending | denied) & 1 << event.sample.category == 0,
                "event {} is sent without consent",
                event.sample.id
            );
            assert!(
                event.number.is_none() || self.device.has_stored(event.sample.id),
                "numbered before it is stored"
            );
        }
        let fate = self.fate(&outbound);
        let slow = self.weather.bad_network && self.dice.one_in(15);
        let unanswered =
            matches!(fate, Fate::Lost { noticed: false } | Fate::AnswerLost { noticed: false });
        let takes_ms = match (unanswered, slow) {
            (true, _) => self.weather.config.request_timeout_ms + 10_000,
            (false, true) => self.dice.up_to(29_000),
            (false, false) => self.dice.up_to(60),
        };
        self.travelling.push(Travelling {
            outbound,
            begun_ms: now,
            arrives_ms: now + takes_ms,
            fate,
        });
    }

    fn check_bounds(&mut self) {
        let pending = self.device.client().pending();
        self.covered.most_pending = self.covered.most_pending.max(pending);
        let bound =
            self.weather.config.max_queue_events + self.weather.config.max_batch_events + 200;
        assert!(pending <= bound as usize, "{pending} events are held");
        assert!(self.device.saved_bytes() <= MAX_STATE_BYTES);
        self.accepted.extend(self.device.stored_ids());
    }

    fn make_everything_work(&mut self) {
        self.check_bounds();
        self.weather.bad_network = false;
        self.weather.full_storage = false;
        self.device.mode = StorageMode::Works;
        if self.weather.answers {
            self.answer(Consent::GRANTED);
        }
        self.pass(100_000);
        let happened = self.device.input(Input::Flush);
        self.note(happened);
    }

    /// Lets time pass until nothing is pending. Works or fails in bounded time: an hour for the longest `Retry-After`.
    fn drain(&mut self) {
        for _ in 0..200 {
            self.pass(1_000);
            self.check_bounds();
            if self.device.client().pending() == 0 && self.device.transactions() == 0 {
                return;
            }
            self.pass(70_000);
        }
        panic!("{} events were never sent", self.device.client().pending());
    }

    fn judge(&self) {
        let log: BTreeSet<u64> = self.collector.log.iter().copied().collect();
        assert_eq!(log.len(), self.collector.log.len(), "stored twice");
        for id in &self.accepted {
            let outcome =
                log.contains(id) || self.given_up.contains_key(id) || self.refused.contains(id);
            assert!(outcome, "event {id} was accepted, and nobody knows what became of it");
        }
        for (id, reason) in &self.given_up {
            if *reason == DropReason::Refused {
                assert!(
                    self.collector.poison.contains(id),
                    "event {id} is good, and was dropped as refused"
                );
            }
        }
        assert_eq!(self.device.stored(), 0, "the storage keeps what was answered for");
        let unexplained = self.collector.unexplained();
        assert!(
            unexplained.is_empty(),
            "{} numbers neither came nor were told, the first {}",
            unexplained.len(),
            unexplained[0].1
        );
        // An event that could not be stored with its number is numbered anew by the next life, behind later ones.
        if !self.weather.full_storage {
            let mut latest: BTreeMap<u64, u64> = BTreeMap::new();
            // What was given up may still arrive, with a request that nobody waits for any more.
            let orderly =
                |id: &&u64| !self.given_up.contains_key(id) && !self.overtaken.contains(id);
            for id in self.collector.log.iter().filter(orderly) {
                let before = latest.insert(self.tab[id], *id);
                assert!(
                    before.is_none_or(|before| before < *id),
                    "event {id} came after {before:?}"
                );
            }
        }
    }
}
