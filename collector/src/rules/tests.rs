//! Rules, told as stories and as properties, on virtual time.

mod absence;
mod accounts_model;
mod asked;
mod at_once;
mod called;
mod changed;
mod crossing;
mod decided;
mod held;
mod hints;
mod known;
mod mistakes;
mod nothing;
mod properties;
mod worded;
mod zones;

use std::{collections::BTreeMap, sync::Arc};

use rusqlite::Connection;
use serde_json::{Value, json};

use super::{file::Source, *};
use crate::{
    event_log::{Flags, Identity, Offset, Origin, Record, Timestamp, Trust},
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
