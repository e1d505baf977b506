//! Rules, told as stories and as properties, on virtual time.

mod changed;
mod mistakes;

use std::{collections::BTreeMap, sync::Arc};

use proptest::prelude::*;
use rusqlite::Connection;
use serde_json::{Value, json};

use super::{file::Source, *};
use crate::{
    event_log::{Flags, Offset, Origin, Record, Timestamp, Trust},
    people,
};

const BEGIN_MS: i64 = 1_735_689_600_000;
const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

#[derive(Default)]
struct Log(BTreeMap<Offset, Record>);

impl Records for Log {
    fn at(&self, offset: Offset) -> Option<Record> {
        self.0.get(&offset).cloned()
    }
}

/// People and rules over records that a test writes.
struct World {
    db: Connection,
    people: people::Fold,
    rules: Fold,
    log: Log,
    next: i64,
    /// Whether a transaction ends with each record.
    ends: bool,
}

fn set(text: &str) -> Result<RuleSet, RuleErrors> {
    RuleSet::parse(&[Source::new("rules.toml", text)])
}

impl World {
    fn new(rules: &str) -> Self {
        Self::since(rules, InForce::default())
    }

    /// Of rules that count since then.
    fn since(rules: &str, in_force: InForce) -> Self {
        let db = Connection::open_in_memory().unwrap();
        for tables in people::SCHEMAS.iter().chain(&SCHEMAS) {
            db.execute_batch(tables).unwrap();
        }
        let set = set(rules).unwrap_or_else(|error| panic!("{error}"));
        Self {
            db,
            people: people::Fold::new(people::Limits::default(), Arc::new(|_, _| false)),
            rules: Fold::new(Arc::new(set), in_force),
            log: Log::default(),
            next: 1,
            ends: true,
        }
    }

    /// An event at a time after the beginning.
    fn at(&mut self, ms: i64, event: &Value) -> Offset {
        self.record(ms, event, |_| {})
    }

    fn record(&mut self, ms: i64, event: &Value, change: impl FnOnce(&mut Record)) -> Offset {
        let time = Timestamp::from_unix_ms(BEGIN_MS + ms);
        let mut record = Record {
            offset: Offset::from_number(self.next),
            received_at: time,
            event_time: time,
            claimed_time: None,
            source: "web".parse().unwrap(),
            trust: Trust::Client,
            origin: Origin::Sent,
            order_key: "d".into(),
            message_id: self.next.to_string().into(),
            sequence: None,
            schema_version: 0,
            flags: Flags::default(),
            json: event.to_string().into(),
        };
        change(&mut record);
        self.next += 1;
        self.fold(&record)
    }

    fn fold(&mut self, record: &Record) -> Offset {
        let offset = record.offset;
        self.pass(record.received_at.unix_ms() - BEGIN_MS);
        let folded = self.people.record(&self.db, record).unwrap();
        self.log.0.insert(offset, record.clone());
        self.rules.record((&self.db, &mut self.people), &self.log, record, &folded).unwrap();
        if self.ends {
            self.end();
        }
        offset
    }

    /// A transaction ends.
    fn end(&mut self) {
        self.people.flush(&self.db).unwrap();
        self.rules.flush(&self.db).unwrap();
    }

    /// Time passes, and nothing happens.
    fn pass(&mut self, ms: i64) {
        let position = Offset::from_number(self.next - 1);
        let people = (&self.db, &mut self.people);
        self.rules.until(people, &self.log, BEGIN_MS + ms, position).unwrap();
        if self.ends {
            self.end();
        }
    }

    fn order(&mut self, ms: i64, order: &people::Order) {
        let event = order.event("order", "first");
        let json: Value = serde_json::from_str(&event.json).unwrap();
        self.record(ms, &json, |record| {
            (record.origin, record.source) = (event.origin.clone(), event.source.clone());
        });
    }

    fn fired(&self) -> Vec<Fired> {
        let mut all = list(&self.db, &Listed { limit: 1000, ..Listed::default() }).unwrap();
        all.reverse();
        all
    }

    /// Rule, and how long after the beginning.
    fn firings(&self) -> Vec<(String, i64)> {
        let at = |text: &str| crate::event_time::parse(text).unwrap().unix_ms() - BEGIN_MS;
        self.fired().iter().map(|fired| (fired.rule.clone(), at(&fired.at))).collect()
    }
}

fn track(event: &str, user: &str, properties: &Value) -> Value {
    json!({"type": "track", "event": event, "userId": user, "properties": properties})
}

fn did(event: &str, user: &str) -> Value {
    track(event, user, &json!({}))
}

fn seen(event: &str, device: &str, properties: &Value) -> Value {
    json!({"type": "track", "event": event, "anonymousId": device, "properties": properties})
}

const CART: &str = r#"
[rules.cart_abandoned]
on = "Product Added"
without = { event = "Order Completed", within = "1h", match = "event.properties.cart_id == trigger.properties.cart_id" }
then = [{ emit = "Cart Abandoned" }]
"#;

fn cart(id: &str) -> Value {
    json!({ "cart_id": id })
}

#[test]
fn a_cart_is_abandoned_an_hour_later_unless_it_was_ordered() {
    let mut world = World::new(CART);
    world.at(0, &track("Product Added", "u-1", &cart("a")));
    world.at(10 * MINUTE, &track("Product Added", "u-2", &cart("b")));
    world.at(20 * MINUTE, &track("Order Completed", "u-2", &cart("b")));
    world.at(21 * MINUTE, &track("Order Completed", "u-1", &cart("another")));
    world.pass(HOUR - 1);
    assert_eq!(world.firings(), []);
    world.pass(3 * HOUR);
    assert_eq!(world.firings(), [("cart_abandoned".to_owned(), HOUR)]);
    let fired = &world.fired()[0];
    assert_eq!((fired.name.as_str(), fired.held.as_deref()), ("u-1", None));
    assert_eq!(fired.actions[0].kind, "emit");
}

#[test]
fn an_order_on_another_device_counts_once_it_is_known_to_be_the_same_person() {
    for merged in [true, false] {
        let mut world = World::new(CART);
        world.at(0, &seen("Product Added", "laptop", &cart("a")));
        world.at(MINUTE, &seen("Order Completed", "phone", &cart("a")));
        if merged {
            for (ms, device) in [(30 * MINUTE, "laptop"), (40 * MINUTE, "phone")] {
                let user = json!({"type": "identify", "anonymousId": device, "userId": "u-1"});
                world.at(ms, &user);
            }
        }
        world.pass(DAY);
        assert_eq!(world.firings().is_empty(), merged);
    }
}

#[test]
fn a_merge_that_is_taken_back_before_the_time_has_passed_was_never_there() {
    let mut world = World::new(CART);
    world.at(0, &seen("Product Added", "laptop", &cart("a")));
    world.at(MINUTE, &seen("Order Completed", "phone", &cart("a")));
    let ends = ("anonymous:laptop".parse().unwrap(), "anonymous:phone".parse().unwrap());
    world.order(2 * MINUTE, &people::Order::Merge(ends.0, ends.1));
    let ends = ("anonymous:laptop".parse().unwrap(), "anonymous:phone".parse().unwrap());
    world.order(3 * MINUTE, &people::Order::Unmerge(ends.0, ends.1));
    world.pass(DAY);
    assert_eq!(world.firings(), [("cart_abandoned".to_owned(), HOUR)]);
}

const CHURN: &str = r#"
[features.core_last]
on = "Report Built"
per = "account"
last = "event.time"

[features.cancel_looks_1d]
on = ["page:Cancel", "page:Pricing"]
per = "account"
count = true
window = "1d"

[scores.churn_risk]
per = "account"
terms = { gap = "days_since(features.core_last) / 11.0", cancel = "features.cancel_looks_1d > 0 ? 0.5 : 0.0" }

[rules.churn]
crosses = { score = "churn_risk", above = 1.0, rearm_below = 0.5 }
then = [{ slack = "success", template = "churn.md" }]
"#;

fn of_account(mut event: Value, account: &str) -> Value {
    event["context"] = json!({ "groupId": account });
    event
}

#[test]
fn eleven_quiet_days_fire_without_any_event_and_once_until_it_is_armed_again() {
    let mut world = World::new(CHURN);
    world.at(0, &of_account(did("Report Built", "u-1"), "acme"));
    world.at(HOUR, &of_account(did("Report Built", "u-2"), "acme"));
    world.pass(11 * DAY);
    assert_eq!(world.firings(), []);
    world.pass(12 * DAY);
    let firings = world.firings();
    assert_eq!(firings.len(), 1, "{firings:?}");
    let exact = 11 * DAY + HOUR;
    assert!((exact..exact + 2000).contains(&firings[0].1), "{firings:?}");
    let fired = &world.fired()[0];
    assert_eq!(fired.account.as_deref(), Some("acme"));
    let why: Value = serde_json::from_str(fired.why.get()).unwrap();
    assert_eq!(why["crossed"]["terms"][0]["term"], "gap");
    assert!(why["crossed"]["value"].as_f64().unwrap() > 1.0, "{why}");
    world.pass(30 * DAY);
    assert_eq!(world.firings().len(), 1);
    // They are back, and gone again.
    world.at(31 * DAY, &of_account(did("Report Built", "u-2"), "acme"));
    world.pass(60 * DAY);
    let again = world.firings();
    assert_eq!(again.len(), 2);
    assert!((42 * DAY..42 * DAY + 2000).contains(&again[1].1), "{again:?}");
}

#[test]
fn a_look_at_the_cancellation_page_brings_it_forward() {
    let mut world = World::new(CHURN);
    world.at(0, &of_account(did("Report Built", "u-1"), "acme"));
    let page =
        json!({"type": "page", "name": "Cancel", "userId": "u-2", "context": {"groupId": "acme"}});
    world.at(6 * DAY, &page);
    assert_eq!(world.firings(), [("churn".to_owned(), 6 * DAY)]);
    assert_eq!(world.fired()[0].event.as_deref(), Some("2"));
}

const BASELINE: &str = r#"
[features.logins]
on = "Signed In"
count = true
window = "2h"
[features.logins_before]
on = "Signed In"
count = true
window = "3h"
ago = "2h"
[scores.fewer]
terms = { now = "-double(features.logins)", before = "double(features.logins_before)" }
[rules.fewer]
crosses = { score = "fewer", above = 0.5 }
"#;

#[test]
fn somebody_who_does_less_than_before_is_found_as_time_passes_and_again_once_that_is_over() {
    let mut world = World::new(BASELINE);
    world.at(0, &did("Signed In", "u-1"));
    world.pass(2 * HOUR - 1);
    assert_eq!(world.firings(), []);
    // It leaves the one window and enters the other, and leaves that after three hours: armed again without any event.
    world.pass(4 * HOUR);
    assert_eq!(world.firings(), [("fewer".to_owned(), 2 * HOUR)]);
    let why: Value = serde_json::from_str(world.fired()[0].why.get()).unwrap();
    let terms = &why["crossed"]["terms"];
    assert_eq!(terms[0]["of"]["features.logins"], json!(0), "{why}");
    assert_eq!(terms[1]["of"]["features.logins_before"], json!(1), "{why}");
    world.at(20 * HOUR, &did("Signed In", "u-1"));
    // One more keeps the balance only for as long as it is in the window.
    world.at(21 * HOUR, &did("Signed In", "u-1"));
    world.pass(40 * HOUR);
    let again = [2, 20 + 3].map(|hour| ("fewer".to_owned(), hour * HOUR));
    assert_eq!(world.firings(), again);
}

#[test]
fn a_window_that_is_over_is_compared_with_at_an_event_too() {
    let rules = format!(
        "{BASELINE}[rules.keen]\non = 'Signed In'\nif = 'features.logins >= features.logins_before * 2 && features.logins_before > 0'\n"
    );
    let mut world = World::new(&rules);
    for minute in [0, 130, 131, 132] {
        world.at(minute * MINUTE, &did("Signed In", "u-1"));
    }
    let keen: Vec<_> = world.firings().into_iter().filter(|it| it.0 == "keen").collect();
    assert_eq!(keen, [("keen".to_owned(), 132 * MINUTE)], "features are as they stood before it");
}

#[test]
fn what_a_model_has_answered_crosses_a_line_and_of_two_answers_the_later_question_counts() {
    let rules = "[features.visits]\non = 'page:*'\ncount = true\n\
        [scores.churn]\nmodel = 'm'\non = 'page:*'\ninputs = { n = 'features.visits' }\nfallback = 0.0\n\
        [scores.twice]\nterms = { churn = 'scores.churn * 2.0' }\n\
        [rules.leaving]\ncrosses = { score = 'twice', above = 1.0 }\n";
    let mut world = World::new(rules);
    let page = json!({"type": "page", "name": "Home", "userId": "u-1"});
    world.at(0, &page);
    world.at(MINUTE, &page);
    let fired = world.fired();
    let asked: Vec<Value> =
        fired.iter().map(|it| serde_json::from_str(it.why.get()).unwrap()).collect();
    assert_eq!(
        asked[1]["asked"],
        json!({ "score": "churn", "inputs": { "n": 2 } }),
        "the event counts"
    );
    assert_eq!(
        (fired[1].rule.as_str(), fired[1].actions[0].kind.as_str()),
        ("score:churn", "score")
    );
    let answer = |world: &mut World, at: i64, firing: usize, value: f64| {
        let of = json!({ "score": "churn", "value": value, "firing": fired[firing].id });
        world.record(at, &track("Score Answered", "u-1", &of), |record| {
            record.source = people::SOURCE.parse().unwrap();
            record.origin = Origin::Derived { by: "score:churn".into(), depth: 1 };
            let asked = crate::event_time::parse(&fired[firing].at).unwrap();
            record.event_time = asked;
        });
    };
    let leaving =
        |world: &World| world.firings().into_iter().filter(|it| it.0 == "leaving").count();
    answer(&mut world, 2 * MINUTE, 1, 0.3);
    // Of the first question, and too late to count.
    answer(&mut world, 3 * MINUTE, 0, 0.9);
    assert_eq!(leaving(&world), 0);
    answer(&mut world, 4 * MINUTE, 1, 0.6);
    assert_eq!(leaving(&world), 1);
}

#[test]
fn an_events_local_time_is_that_of_where_it_happened_and_not_of_where_the_person_is_now() {
    let rules = "[features.at_night]\non = 'A'\nif = 'event_hour() < 5'\ncount = true\n\
        [rules.night]\non = 'A'\nif = 'event_hour() == 2 && event_weekday() == 4'\n\
        [rules.later]\non = 'A'\nif = 'event_hour() == 2'\nat = 'event.time + 3600000'\nstill = 'event_hour() == 2'\n";
    let mut world = World::new(rules);
    let there = |zone: &str| {
        let mut event = did("A", "u-1");
        event["context"] = json!({ "timezone": zone });
        event
    };
    // The beginning is a Wednesday; 17:30 there is 02:30 on Thursday in Tokyo.
    let night = 17 * HOUR + 30 * MINUTE;
    world.at(night - HOUR, &there("Europe/Oslo"));
    world.record(night + HOUR, &there("Asia/Tokyo"), |record| {
        record.event_time = Timestamp::from_unix_ms(BEGIN_MS + night);
    });
    world.at(night + 2 * HOUR, &did("A", "u-1"));
    world.at(night + 2 * HOUR, &there("Nowhere"));
    world.pass(2 * DAY);
    assert_eq!(world.firings(), [("night".to_owned(), night), ("later".to_owned(), night + HOUR)]);
}

#[test]
fn how_long_somebody_was_there_falls_back_as_the_window_moves_on() {
    let rules = "[features.there]\non = 'page:*'\ndwell = '30m'\nwindow = '1d'\n\
        [rules.reader]\ncrosses = { feature = 'there', above = 2400 }\n\
        [rules.gone]\ncrosses = { feature = 'there', below = 1800 }\n";
    let mut world = World::new(rules);
    let page = |device: &str| json!({"type": "page", "name": "Docs", "anonymousId": device});
    for device in ["phone", "laptop"] {
        world.at(0, &json!({"type": "identify", "anonymousId": device, "userId": "u-1"}));
    }
    // Fifty minutes on two devices; after that a pause.
    world.at(HOUR, &page("phone"));
    world.at(HOUR + 25 * MINUTE, &page("laptop"));
    world.at(HOUR + 50 * MINUTE, &page("phone"));
    world.at(3 * HOUR, &page("phone"));
    world.pass(3 * DAY);
    let fired = world.firings();
    let of = |rule: &str| fired.iter().filter(|it| it.0 == rule).map(|it| it.1).collect::<Vec<_>>();
    assert_eq!(of("reader"), [HOUR + 50 * MINUTE]);
    // Nobody was there at first; a day and twenty minutes after the visit began half an hour of it is left in the window.
    let (first, second) = (of("gone")[0], of("gone")[1]);
    assert_eq!(first, 0);
    let exact = DAY + HOUR + 20 * MINUTE;
    assert!((exact..exact + 2000).contains(&second), "{fired:?}");
    assert_eq!(of("gone").len(), 2);
}

#[test]
fn a_fixture_says_what_a_model_has_answered_and_need_not_expect_that_it_was_asked() {
    let rules = "[scores.risk]\nmodel = 'm'\non = 'A'\ninputs = { n = '1' }\nfallback = 0.0\n\
        [rules.high]\ncrosses = { score = 'risk', above = 0.5 }\n";
    let fixture = "[[test]]\nname = 'high'\nevents = [{ at = '0s', track = 'A', user = 'u-1' }, \
        { at = '1m', answered = { risk = 0.9 }, user = 'u-1' }, { at = '2m', track = 'A', user = 'u-1' }]\n\
        expect = [{ rule = 'high', at = '1m', user = 'u-1' }]\n";
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.test.toml"), fixture).unwrap();
    let set = Arc::new(set(rules).unwrap());
    let (tested, _) = test(&set, folder.path(), &|_, _, _| Ok(None), None).unwrap();
    assert_eq!((tested.len(), &tested[0].wrong), (1, &Vec::new()));
}

const CARD: &str = r#"
[features.countries]
on = "Card Used"
distinct = "event.properties.country"

[features.largest]
on = "Card Used"
max = "event.properties.amount"

[rules.stolen_card]
on = "Card Used"
from = "server"
if = [
  "local_hour() < 5",
  "!(event.properties.country in features.countries)",
  "event.properties.amount > features.largest",
]
then = [{ emit = "Card Frozen" }]
"#;

#[test]
fn a_card_that_is_used_at_night_abroad_for_more_than_ever_is_found_before_it_counts_itself() {
    let mut world = World::new(CARD);
    let spend = |country: &str, amount: f64| {
        let mut event = track("Card Used", "u-1", &json!({"country": country, "amount": amount}));
        event["context"] = json!({"timezone": "Asia/Tokyo"});
        event
    };
    let server = |record: &mut Record| record.trust = Trust::Server;
    world.record(0, &spend("JP", 40.0), server);
    world.record(HOUR, &spend("JP", 90.0), server);
    // 02:47 in Tokyo is 17:47 before.
    let night = 17 * HOUR + 47 * MINUTE;
    world.at(night, &spend("BR", 900.0));
    assert_eq!(world.firings(), [], "a client can have forged it");
    world.record(night + DAY, &spend("US", 950.0), server);
    assert_eq!(world.firings(), [("stolen_card".to_owned(), night + DAY)]);
    let why: Value = serde_json::from_str(world.fired()[0].why.get()).unwrap();
    assert_eq!(why["conditions"][1]["of"]["features.countries"], json!(["BR", "JP"]));
    // Now it is known.
    world.record(night + 2 * DAY, &spend("US", 940.0), server);
    assert_eq!(world.firings().len(), 1);
}

#[test]
fn four_times_within_three_days_is_a_sequence_and_starts_over() {
    let mut world =
        World::new("[rules.keen]\non = 'page:Product'\nsequence = { times = 4, within = '3d' }\n");
    let look = json!({"type": "page", "name": "Product", "userId": "u-1"});
    for day in [0, 1, 5, 6, 7] {
        world.at(day * DAY, &look);
    }
    assert_eq!(world.firings(), []);
    world.at(7 * DAY + HOUR, &look);
    assert_eq!(world.firings(), [("keen".to_owned(), 7 * DAY + HOUR)]);
    world.at(7 * DAY + 2 * HOUR, &look);
    assert_eq!(world.firings().len(), 1, "those that it has fired for are used up");
}

#[test]
fn steps_come_one_after_the_other() {
    let rules = "[rules.stuck]\nsequence = { steps = ['Checkout Started', 'page:Help', 'Checkout Left'], within = '30m' }\n";
    let help = json!({"type": "page", "name": "Help", "userId": "u-1"});
    let mut world = World::new(rules);
    world.at(0, &help);
    world.at(MINUTE, &did("Checkout Started", "u-1"));
    world.at(2 * MINUTE, &did("Checkout Left", "u-1"));
    assert_eq!(world.firings(), []);
    world.at(3 * MINUTE, &help);
    world.at(4 * MINUTE, &did("Checkout Left", "u-1"));
    assert_eq!(world.firings(), [("stuck".to_owned(), 4 * MINUTE)]);
}

#[test]
fn a_rule_that_is_new_acts_on_what_time_brings_although_the_log_stands_still() {
    // In force since an hour after the last event.
    let since = (Offset::from_number(1), BEGIN_MS + HOUR);
    let rules = format!(
        "{CART}[features.added]\non = 'Product Added'\nlast = 'event.time'\n\
        [scores.gone]\nterms = {{ gap = 'days_since(features.added)' }}\n\
        [rules.gone]\ncrosses = {{ score = 'gone', above = 1.0 }}\n\
        [rules.soon]\non = 'Product Added'\nwithout = {{ event = 'B', within = '30m' }}\n\
        [rules.drop]\non = 'Product Added'\npending = 'drop'\nwithout = {{ event = 'B', within = '2h' }}\n\
        [rules.wait]\non = 'Product Added'\nwithout = {{ event = 'B', within = '2h' }}\n"
    );
    let names = ["cart_abandoned", "gone", "soon", "drop", "wait"];
    let in_force = names.iter().map(|name| (((*name).to_owned(), 1), since)).collect();
    let mut world = World::since(&rules, Arc::new(in_force));
    world.at(0, &track("Product Added", "u-1", &cart("a")));
    world.pass(3 * DAY);
    let before = Some("before the rule came into force");
    let held: BTreeMap<_, _> =
        world.fired().iter().map(|it| (it.rule.clone(), it.held.clone())).collect();
    let held = |rule: &str| held[rule].as_deref();
    assert_eq!((held("soon"), held("drop")), (before, before));
    assert_eq!((held("wait"), held("gone")), (None, None));
}

#[test]
fn a_renewal_is_told_of_a_week_before_the_time_that_the_event_names() {
    let mut world = World::new(
        "[rules.renewal]\non = 'Subscription Renewed'\nat = 'event.properties.until'\nbefore = '7d'\n",
    );
    let until = Timestamp::from_unix_ms(BEGIN_MS + 30 * DAY).to_string();
    world.at(0, &track("Subscription Renewed", "u-1", &json!({ "until": until })));
    world.at(DAY, &track("Subscription Renewed", "u-2", &json!({ "until": "never" })));
    world.pass(40 * DAY);
    assert_eq!(world.firings(), [("renewal".to_owned(), 23 * DAY)]);
}

#[test]
fn what_holds_a_firing_back_is_on_record() {
    let rules = "[rules.a]\non = 'A'\nthen = [{ emit = 'B' }]\nlimit = { times = 2, within = '1d' }\n\
                 [rules.quiet]\non = 'A'\ndry_run = true\nthen = [{ emit = 'C' }]\n";
    let mut world = World::new(rules);
    world.record(0, &did("A", "u-1"), |record| record.origin = Origin::Import);
    let late = |record: &mut Record| {
        record.event_time = Timestamp::from_unix_ms(record.received_at.unix_ms() - 2 * HOUR);
    };
    world.record(DAY, &did("A", "u-2"), late);
    for minute in 0..4 {
        world.at(2 * DAY + minute * MINUTE, &did("A", "u-3"));
    }
    let fired = world.fired();
    let of = |rule: &str| {
        let of_rule = fired.iter().filter(|it| it.rule == rule);
        of_rule.map(|it| (it.held.as_deref(), it.actions.len())).collect::<Vec<_>>()
    };
    let (imported, late) = ((Some("imported"), 0), (Some("late"), 0));
    assert_eq!(of("a"), [imported, late, (None, 1), (None, 1)], "the limit holds for the rest");
    let dry = (Some("dry run"), 0);
    assert_eq!(of("quiet"), [imported, late, dry, dry, dry, dry]);
}

#[test]
fn what_an_event_says_of_a_person_is_known_to_the_rules_that_it_sets_off() {
    let rules = "[rules.pro]\non = 'identify'\nif = \"traits.plan == 'pro'\"\n\
        [rules.night]\non = 'A'\nif = 'local_hour() == 9'\n";
    let mut world = World::new(rules);
    world.ends = false;
    let plan = |plan: &str| json!({"type": "identify", "userId": "u-1", "traits": {"plan": plan}});
    world.at(0, &plan("free"));
    world.at(MINUTE, &plan("pro"));
    let mut event = did("A", "u-1");
    event["context"] = json!({"timezone": "Asia/Tokyo"});
    world.at(2 * MINUTE, &event);
    assert_eq!(world.firings(), [("pro".to_owned(), MINUTE), ("night".to_owned(), 2 * MINUTE)]);
}

#[test]
fn what_does_nothing_uses_up_no_limit_and_a_late_event_no_crossing() {
    let rules = "[features.n]\non = 'A'\ncount = true\n[rules.a]\non = 'A'\nlimit = { times = 1, within = '7d' }\n\
        [rules.many]\ncrosses = { feature = 'n', above = 1 }\n";
    let mut world = World::new(rules);
    world.record(0, &did("A", "u-1"), |record| record.origin = Origin::Import);
    world.record(DAY, &did("A", "u-1"), |record| {
        record.event_time = Timestamp::from_unix_ms(record.received_at.unix_ms() - 2 * HOUR);
    });
    world.at(DAY + HOUR, &did("A", "u-1"));
    world.at(DAY + 2 * HOUR, &did("A", "u-1"));
    let fired = world.fired();
    let of = |rule: &str| {
        let of_rule = fired.iter().filter(|it| it.rule == rule);
        of_rule.map(|it| it.held.as_deref()).collect::<Vec<_>>()
    };
    assert_eq!(of("a"), [Some("imported"), Some("late"), None]);
    assert_eq!(of("many"), [None]);
}

#[test]
fn what_is_not_so_any_more_when_the_timer_rings_does_not_fire() {
    let rules = "[features.until]\non = 'Renewed'\nlast = 'event.properties.until'\n[rules.renewal]\non = 'Renewed'\n\
        at = 'event.properties.until'\nbefore = '1d'\nstill = 'features.until == event.properties.until'\n";
    let mut world = World::new(rules);
    let until = |ms: i64| json!({ "until": Timestamp::from_unix_ms(BEGIN_MS + ms).to_string() });
    world.at(0, &track("Renewed", "u-1", &until(10 * DAY)));
    world.at(DAY, &track("Renewed", "u-1", &until(20 * DAY)));
    world.pass(30 * DAY);
    assert_eq!(world.firings(), [("renewal".to_owned(), 19 * DAY)]);
    let error = set("[rules.a]\non = 'A'\nstill = 'true'\n").map(drop).unwrap_err();
    assert!(error.to_string().contains("`still` is asked when a timer rings"), "{error}");
}

#[test]
fn rules_that_set_each_other_off_come_to_an_end() {
    let mut world = World::new("[rules.a]\non = 'A'\nthen = [{ emit = 'A' }]\n");
    for depth in 0..8_u8 {
        world.record(i64::from(depth) * MINUTE, &did("A", "u-1"), |record| {
            record.origin = Origin::Derived { by: "a".into(), depth };
        });
    }
    assert_eq!(world.firings().len(), 4);
}

#[test]
fn scores_that_rules_throw_back_and_forth_come_to_an_end_too() {
    let rules = "[features.x]\non = 'identify'\nlast = 'event.traits.flag ? 1.0 : 0.0'\n\
        [rules.up]\ncrosses = { feature = 'x', above = 0.5 }\nthen = [{ set = { flag = false } }]\n\
        [rules.down]\ncrosses = { feature = 'x', below = 0.5 }\nthen = [{ set = { flag = true } }]\n";
    let mut world = World::new(rules);
    for depth in 0..10_u8 {
        let flag = depth % 2 == 0;
        let event = json!({"type": "identify", "userId": "u-1", "traits": {"flag": flag}});
        world.record(i64::from(depth) * MINUTE, &event, |record| {
            record.origin = Origin::Derived { by: "up".into(), depth };
        });
    }
    assert_eq!(world.firings().len(), 4);
    world.pass(DAY);
    assert_eq!(world.firings().len(), 4);
}

#[test]
fn a_cap_holds_within_one_firing_and_quiet_hours_are_those_of_now() {
    let rules = "[caps.email]\ntimes = 2\nwithin = '1d'\n[quiet_hours]\nfrom = '21:00'\nto = '08:00'\n\
        [rules.a]\non = 'A'\nlate = 'fire'\nthen = [{ email = 'm', template = 't' }, { email = 'm', template = 't' }, \
        { email = 'm', template = 't' }, { webhook = 'w' }]\n";
    let mut world = World::new(rules);
    let waiting = |world: &World| -> Vec<(String, i64)> {
        let query = "SELECT a.state, a.after FROM action a ORDER BY a.firing, a.id";
        let mut query = world.db.prepare(query).unwrap();
        let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.map(Result::unwrap).collect()
    };
    // It happened at noon, and came at ten at night in Oslo, on the night in which clocks go forward there.
    let mut event = did("A", "u-1");
    event["context"] = json!({"timezone": "Europe/Oslo"});
    let night = 87 * DAY + 21 * HOUR;
    world.record(night, &event, |record| {
        record.event_time = Timestamp::from_unix_ms(BEGIN_MS + 87 * DAY + 11 * HOUR);
    });
    let morning = BEGIN_MS + 88 * DAY + 6 * HOUR;
    let expected = [("pending", morning), ("pending", morning), ("refused", 0), ("pending", 0)];
    let expected = expected.map(|(state, after)| (state.to_owned(), after));
    assert_eq!(waiting(&world), expected, "eight o'clock there is six in summer");
}

#[test]
fn why_says_what_the_event_said_what_was_waited_for_until_when_and_what_came() {
    let rules = "[rules.left]\non = 'Product Added'\nif = 'event.properties.price > 10.0 && event.trust != \"x\"'\n\
        without = { event = 'Order Completed', within = '1h', match = 'event.properties.cart_id == trigger.properties.cart_id' }\n";
    let mut world = World::new(rules);
    world.rules.watch();
    let added = json!({"cart_id": "a", "price": 12.5, "of": {"large": true}});
    let added = world.at(0, &track("Product Added", "u-1", &added));
    world.at(MINUTE, &track("Order Completed", "u-1", &cart("b")));
    world.pass(2 * HOUR);
    let looked = world.rules.take_looked();
    let [begun, ended] = &looked[..] else { panic!("{looked:?}") };
    let time = |ms: i64| Timestamp::from_unix_ms(BEGIN_MS + ms).to_string();
    for it in [begun, ended] {
        let of: Vec<_> = it.reasons[0].of.iter().map(|(name, value)| (&**name, value)).collect();
        let expected =
            [("event.properties.price", &json!(12.5)), ("event.trust", &json!("client"))];
        assert_eq!(of, expected);
        let waited = it.waited.as_ref().unwrap();
        assert_eq!(
            (&waited.what[..], &waited.until),
            (&["Order Completed".to_owned()][..], &time(HOUR))
        );
        assert_eq!(it.event, Some(added.to_string()));
    }
    assert_eq!((begun.outcome.as_str(), ended.outcome.as_str()), ("it waits", "it fired"));
    assert!(begun.waited.as_ref().unwrap().came.is_empty());
    let [came] = &ended.waited.as_ref().unwrap().came[..] else { panic!("{ended:?}") };
    assert_eq!((came.matches, &came.at), (false, &time(MINUTE)));
}

#[test]
fn what_is_no_file_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/dev/zero", folder.path().join("a.toml")).unwrap();
    let error = RuleSet::read(folder.path()).map(drop).unwrap_err();
    assert!(error.to_string().ends_with(": is no file"), "{error}");
    let gone = RuleSet::read(&folder.path().join("gone")).map(drop).unwrap_err().to_string();
    assert!(gone.contains("/gone: cannot be read: No such file"), "{gone}");
}

#[test]
fn firings_of_somebody_and_of_one_rule_are_all_found() {
    let mut world = World::new("[rules.a]\non = 'A'\n[rules.b]\non = 'A'\n");
    for minute in 0..5 {
        world.at(minute * MINUTE, &did("A", "u-1"));
    }
    let node = people::node_of(&world.db, "u-1").unwrap().unwrap();
    let of = |rule: &str, limit| Listed {
        rule: Some(rule.to_owned()),
        nodes: Some(vec![node]),
        limit,
        ..Listed::default()
    };
    for rule in ["a", "b"] {
        assert_eq!(list(&world.db, &of(rule, 5)).unwrap().len(), 5, "{rule}");
        assert_eq!(list(&world.db, &of(rule, 3)).unwrap().len(), 3, "{rule}");
    }
}

/// One thing that may happen.
#[derive(Clone, Debug)]
enum Deed {
    Track(&'static str, u8),
    Identify(u8, u8),
    Merge(u8, u8),
    Unmerge(u8, u8),
}

fn deed() -> impl Strategy<Value = Deed> {
    let names = prop_oneof![Just("Product Added"), Just("Order Completed"), Just("Report Built")];
    prop_oneof![
        5 => (names, 0..4_u8).prop_map(|(name, who)| Deed::Track(name, who)),
        1 => (0..4_u8, 0..3_u8).prop_map(|(device, user)| Deed::Identify(device, user)),
        1 => (0..4_u8, 0..4_u8).prop_map(|(a, b)| Deed::Merge(a, b)),
        1 => (0..4_u8, 0..4_u8).prop_map(|(a, b)| Deed::Unmerge(a, b)),
    ]
}

const ALL_KINDS: &str = r#"
[features.built]
on = "Report Built"
last = "event.time"
[features.adds]
on = "Product Added"
count = true
window = "2h"
[features.adds_before]
on = "Product Added"
count = true
window = "3h"
ago = "2h"
[features.there]
on = "*"
dwell = "30m"
window = "5h"
[rules.there]
crosses = { feature = "there", above = 3600, rearm_below = 1800 }
[scores.gone]
terms = { gap = "hours_since(features.built) / 5.0", adds = "double(features.adds)" }
[scores.fewer]
terms = { now = "-double(features.adds)", before = "double(features.adds_before)" }
[rules.fewer]
crosses = { score = "fewer", above = 0.5 }
[rules.gone]
crosses = { score = "gone", above = 1.5, rearm_below = 1.0 }
then = [{ emit = "Gone" }]
[rules.abandoned]
on = "Product Added"
without = { event = "Order Completed", within = "1h" }
then = [{ emit = "Abandoned" }]
[rules.keen]
on = "Product Added"
sequence = { times = 3, within = "5h" }
[rules.first_order]
on = "Order Completed"
if = "features.adds > 1"
[rules.known]
on = "*"
if = ["traits.plan == 'u-1'", "person.events > 3"]
"#;

/// Plays deeds, where `restart` says so beginning anew with nothing remembered; `ends` says whether each record is a transaction.
fn play(deeds: &[(u32, Deed)], ends: bool, restart: impl Fn(usize) -> bool) -> World {
    let mut world = World::new(ALL_KINDS);
    world.ends = ends;
    let mut now = 0;
    let device = |n: u8| format!("anonymous:d-{n}").parse().unwrap();
    for (at, (pause, deed)) in deeds.iter().enumerate() {
        now += i64::from(*pause) * MINUTE;
        match deed {
            Deed::Track(name, who) => {
                world.at(now, &seen(name, &format!("d-{who}"), &json!({})));
            }
            Deed::Identify(d, u) => {
                let user = format!("u-{u}");
                let event = json!({"type": "identify", "anonymousId": format!("d-{d}"), "userId": user, "traits": {"plan": user}});
                world.at(now, &event);
            }
            Deed::Merge(a, b) => world.order(now, &people::Order::Merge(device(*a), device(*b))),
            Deed::Unmerge(a, b) => {
                world.order(now, &people::Order::Unmerge(device(*a), device(*b)));
            }
        }
        if restart(at) {
            world.end();
            world.people.forget();
            world.rules.forget();
            // The clock goes on between two events, too.
            world.pass(now + MINUTE / 2);
        }
    }
    world.pass(now + 30 * DAY);
    world
}

/// When [`BASELINE`] fires for somebody who signed in at these times, in order, said by looking at every moment.
fn by_looking_always(signed_in: &[i64], tick: i64, end: i64) -> Vec<i64> {
    let (mut is_crossed, mut fired) = (false, Vec::new());
    for now in (0..=end).step_by(usize::try_from(tick).unwrap()) {
        let before = signed_in.iter().filter(|at| **at < now).count();
        let until = signed_in.iter().filter(|at| **at <= now).count();
        // As the moment comes, and after each event of it.
        for known in before..=until {
            let known = &signed_in[..known];
            let within = |from: i64, to: i64| {
                known.iter().filter(|at| now - from < **at && **at <= now - to).count()
            };
            let is_beyond = within(5 * HOUR, 2 * HOUR) > within(2 * HOUR, 0);
            if is_beyond && !is_crossed {
                fired.push(now);
            }
            is_crossed = is_beyond;
        }
    }
    fired
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// On two devices of one person. Time alone is looked at ten minutes after an event at the soonest, so that nothing is sooner here.
    #[test]
    fn what_two_windows_come_to_is_found_at_the_moment_it_is_so(pauses in prop::collection::vec((0..20_i64, any::<bool>()), 1..20)) {
        const TICK: i64 = 20 * MINUTE;
        let mut world = World::new(BASELINE);
        for device in ["phone", "laptop"] {
            world.at(0, &json!({"type": "identify", "anonymousId": device, "userId": "u-1"}));
        }
        let (mut now, mut signed_in) = (0, Vec::new());
        for (pause, on_phone) in pauses {
            now += pause * TICK;
            signed_in.push(now);
            world.at(now, &seen("Signed In", if on_phone { "phone" } else { "laptop" }, &json!({})));
        }
        let end = now + 10 * HOUR;
        world.pass(end);
        let fired: Vec<i64> = world.firings().into_iter().map(|it| it.1).collect();
        prop_assert_eq!(fired, by_looking_always(&signed_in, TICK, end));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn restarts_and_looks_in_between_change_no_firing(
        deeds in prop::collection::vec((1..200_u32, deed()), 1..40),
        seed in any::<u64>(),
    ) {
        let once = play(&deeds, false, |_| false);
        let often = play(&deeds, true, |at| (seed >> (at % 64)) & 1 == 1);
        let told = |world: &World| {
            let why = |it: &Fired| (it.id.clone(), it.rule.clone(), it.at.clone(), it.why.get().to_owned());
            world.fired().iter().map(why).collect::<Vec<_>>()
        };
        prop_assert_eq!(told(&once), told(&often));
    }
}
