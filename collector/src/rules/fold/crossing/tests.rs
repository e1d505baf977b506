//! Lines crossed, back and crossed again within seconds, held against looking at every moment.

mod hours;

use std::{collections::BTreeMap, sync::Arc};

use proptest::prelude::*;
use rusqlite::Connection;
use serde_json::{Value, json};

use super::super::{
    super::{
        SCHEMAS,
        file::Source,
        fired::{Listed, list},
        set::RuleSet,
    },
    Fold, InForce, Records,
};
use crate::{
    event_log::{Flags, Offset, Origin, Record, Timestamp, Trust},
    people,
};

const BEGIN_MS: i64 = 1_735_689_600_000;
const SECOND: i64 = 1000;
const MINUTE: i64 = 60 * SECOND;

const BURSTS: &str = r#"
[features.n]
on = "Tick"
count = true
window = "1m"
[rules.burst]
crosses = { feature = "n", above = 2, rearm_below = 1 }
"#;

#[derive(Default)]
struct Log(BTreeMap<Offset, Record>);

impl Records for Log {
    fn at(&self, offset: Offset) -> Option<Record> {
        self.0.get(&offset).cloned()
    }
}

struct World {
    db: Connection,
    people: people::Fold,
    rules: Fold,
    log: Log,
}

impl World {
    fn new(rules: &str) -> Self {
        let db = Connection::open_in_memory().unwrap();
        for tables in people::SCHEMAS.iter().chain(&SCHEMAS) {
            db.execute_batch(tables).unwrap();
        }
        let file = Source::new("rules.toml".to_owned(), rules.to_owned());
        let set = RuleSet::parse(&[file]).unwrap_or_else(|error| panic!("{error}"));
        let mut rules = Fold::new(Arc::new(set), InForce::default());
        rules.watch();
        let people = people::Fold::new(people::Limits::default(), Arc::new(|_, _| false));
        Self { db, people, rules, log: Log::default() }
    }

    /// Somebody does it on a device, or is said to be who they are.
    fn came(&mut self, (received, happened): (i64, i64), event: &Value) {
        let offset = Offset::from_number(i64::try_from(self.log.0.len()).unwrap() + 1);
        let record = Record {
            offset,
            received_at: Timestamp::from_unix_ms(BEGIN_MS + received),
            event_time: Timestamp::from_unix_ms(BEGIN_MS + happened),
            claimed_time: None,
            source: "web".parse().unwrap(),
            trust: Trust::Client,
            origin: Origin::Sent,
            order_key: "d".into(),
            message_id: offset.to_string().into(),
            sequence: None,
            schema_version: 0,
            flags: Flags::default(),
            json: event.to_string().into(),
        };
        self.pass(received);
        let folded = self.people.record(&self.db, &record).unwrap();
        self.log.0.insert(offset, record.clone());
        self.rules.record((&self.db, &mut self.people), &self.log, &record, &folded).unwrap();
    }

    fn tick(&mut self, ms: i64) {
        self.came((ms, ms), &tick("phone"));
    }

    fn pass(&mut self, ms: i64) {
        let position = Offset::from_number(i64::try_from(self.log.0.len()).unwrap());
        let people = (&self.db, &mut self.people);
        self.rules.until(people, &self.log, BEGIN_MS + ms, position).unwrap();
    }

    /// A transaction ends, and nothing is remembered.
    fn restart(&mut self) {
        self.people.flush(&self.db).unwrap();
        self.rules.flush(&self.db).unwrap();
        self.people.forget();
        self.rules.forget();
    }

    /// How long after the beginning each firing was.
    fn fired(&self) -> Vec<i64> {
        let all = list(&self.db, &Listed { limit: 1000, ..Listed::default() }).unwrap();
        let at = |text: &str| crate::event_time::parse(text).unwrap().unix_ms() - BEGIN_MS;
        all.iter().rev().map(|fired| at(&fired.at)).collect()
    }

    fn looks(&self) -> i64 {
        self.db.query_row("SELECT count(*) FROM look", [], |row| row.get(0)).unwrap()
    }
}

fn tick(device: &str) -> Value {
    json!({"type": "track", "event": "Tick", "anonymousId": device})
}

#[test]
fn a_second_burst_counts_although_nobody_looked_in_between() {
    for (rules, again) in
        [(BURSTS.to_owned(), 5 * MINUTE), (BURSTS.replace("1m", "5s"), 7 * SECOND)]
    {
        let mut world = World::new(&rules);
        let bursts = [0, again];
        for at in bursts.iter().flat_map(|begin| [0, 1, 2].map(|n| begin + n * SECOND / 2)) {
            world.tick(at);
        }
        assert_eq!(world.fired(), bursts.map(|begin| begin + SECOND), "{rules}");
    }
}

#[test]
fn who_was_back_between_two_events_is_armed_again_and_why_says_so() {
    let rules = "[features.a]\non = 'A'\ncount = true\nwindow = '1h'\n\
        [features.b]\non = 'B'\ncount = true\nwindow = '1h'\n\
        [scores.more]\nterms = { a = 'double(features.a)', b = '-double(features.b)' }\n\
        [rules.more]\ncrosses = { score = 'more', above = 1.5, rearm_below = 1.0 }\n";
    let mut world = World::new(rules);
    // Back for a minute, between two looks that are ten minutes apart: the last but one event makes it one again.
    for (event, minute) in [("A", 0), ("A", 1), ("A", 30), ("B", 55), ("A", 62), ("A", 63)] {
        let at = minute * MINUTE;
        world.came((at, at), &json!({"type": "track", "event": event, "anonymousId": "phone"}));
    }
    assert_eq!(world.fired(), [MINUTE, 63 * MINUTE]);
    let looked = world.rules.take_looked();
    let found = looked.iter().filter(|it| it.event == Some(Offset::from_number(5).to_string()));
    let said = found.map(|it| (it.outcome.as_str(), &it.measured.as_ref().unwrap()["value"]));
    let back = ("it was back before the event, and is armed again", &json!(0.0));
    assert_eq!(said.collect::<Vec<_>>(), [back, ("it is not beyond the line", &json!(1.0))]);
}

#[test]
fn what_falls_below_its_line_as_a_short_window_moves_fires_at_that_moment() {
    let rules = BURSTS.replace("above = 2, rearm_below = 1", "below = 1");
    let mut world = World::new(&rules);
    for at in [0, SECOND, 2 * SECOND] {
        world.tick(at);
    }
    world.pass(MINUTE + 2 * SECOND - 1);
    assert!(world.fired().is_empty());
    world.pass(20 * MINUTE);
    assert_eq!(world.fired(), [MINUTE + 2 * SECOND]);
}

#[test]
fn who_has_crossed_nothing_is_not_looked_at_again_where_time_only_brings_back() {
    let mut world = World::new(BURSTS);
    world.tick(0);
    world.tick(SECOND);
    assert_eq!(world.looks(), 0);
    world.tick(2 * SECOND);
    assert_eq!(world.looks(), 1);
    // A condition can come true by itself, and what falls below a line crosses it by time alone.
    for rules in [
        BURSTS.replace("rearm_below = 1 }", "rearm_below = 1 }\nif = \"traits.plan == 'pro'\""),
        BURSTS.replace("above = 2, rearm_below = 1", "below = 1"),
    ] {
        let mut world = World::new(&rules);
        world.tick(0);
        assert_eq!(world.looks(), 1, "{rules}");
    }
}

/// What crosses a line, said by its rules and as a number of when its events happened.
struct Told {
    rules: &'static str,
    value: fn(now: i64, happened: &[i64]) -> i64,
    above: i64,
    rearm_below: i64,
}

fn within(happened: &[i64], from: i64, to: i64) -> i64 {
    i64::try_from(happened.iter().filter(|at| from < **at && **at <= to).count()).unwrap()
}

const TOLD: [Told; 3] = [
    Told {
        rules: BURSTS,
        value: |now, all| within(all, now - MINUTE, now),
        above: 2,
        rearm_below: 1,
    },
    // Fewer than before, of windows of which one is longer than the other is ago.
    Told {
        rules: "[features.n]\non = 'Tick'\ncount = true\nwindow = '2m'\n\
            [features.before]\non = 'Tick'\ncount = true\nwindow = '3m'\nago = '2m'\n\
            [scores.fewer]\nterms = { now = '-double(features.n)', before = 'double(features.before)' }\n\
            [rules.fewer]\ncrosses = { score = 'fewer', above = 0.0 }\n",
        value: |now, all| {
            within(all, now - 5 * MINUTE, now - 2 * MINUTE) - within(all, now - 2 * MINUTE, now)
        },
        above: 0,
        rearm_below: 0,
    },
    // Below three, told as what is missing.
    Told {
        rules: "[features.n]\non = 'Tick'\ncount = true\nwindow = '90s'\n\
            [rules.few]\ncrosses = { feature = 'n', below = 3, rearm_above = 3 }\n",
        value: |now, all| -within(all, now - 90 * SECOND, now),
        above: -3,
        rearm_below: -3,
    },
];

/// When it fires for somebody of whom events came and happened at these times, said by looking at every moment
/// from when they are known.
fn by_looking_always(told: &Told, events: &[(i64, i64)], tick: i64, end: i64) -> Vec<i64> {
    let (mut is_crossed, mut fired) = (false, Vec::new());
    for now in (0..=end).step_by(usize::try_from(tick).unwrap()) {
        let before = events.iter().filter(|(came, _)| *came < now).count();
        let until = events.iter().filter(|(came, _)| *came <= now).count();
        // As the moment comes, and after each event of it.
        for known in before..=until {
            let happened: Vec<i64> = events[..known].iter().map(|it| it.1).collect();
            let value = (told.value)(now, &happened);
            // Where both are one, what is at the line is back.
            let at_the_line = told.rearm_below == told.above && value == told.above;
            let is_back = at_the_line || value < told.rearm_below;
            if is_crossed && is_back {
                is_crossed = false;
            } else if !is_crossed && value > told.above {
                is_crossed = true;
                fired.push(now);
            }
        }
    }
    fired
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    /// On two devices of one person, with events that come late, and with restarts and looks in between.
    #[test]
    fn with_short_windows_all_is_found_at_the_moment_it_is_so(
        events in prop::collection::vec((0..12_i64, prop_oneof![3 => Just(0), 1 => 1..25_i64], any::<bool>(), any::<bool>()), 1..30),
    ) {
        const TICK: i64 = 10 * SECOND;
        for told in &TOLD {
            let mut world = World::new(told.rules);
            for device in ["phone", "laptop"] {
                let user = json!({"type": "identify", "anonymousId": device, "userId": "u-1"});
                world.came((0, 0), &user);
            }
            let (mut now, mut all) = (0, Vec::new());
            for (pause, late, on_phone, restarts) in &events {
                now += pause * TICK;
                let happened = now - late * TICK;
                all.push((now, happened));
                world.came((now, happened), &tick(if *on_phone { "phone" } else { "laptop" }));
                if *restarts {
                    world.restart();
                    world.pass(now + TICK / 2);
                }
            }
            let end = now + 30 * MINUTE;
            world.pass(end);
            prop_assert_eq!(world.fired(), by_looking_always(told, &all, TICK, end), "{}", told.rules);
        }
    }
}
