//! Rows of the past, held against what a rule saw and against a count by hand.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::json;

use super::{super::file::Source, *};
use crate::event_log::{Flags, Origin, Trust};

const BEGIN_MS: i64 = 1_735_689_600_000;
const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

const RULES: &str = r#"
[features.count]
on = "Bought"
count = true
[features.count_2h]
on = "Bought"
count = true
window = "2h"
[features.count_before]
on = "Bought"
count = true
window = "2h"
ago = "1h"
[features.most]
on = "Bought"
if = "event.properties.amount > 1"
max = "event.properties.amount"
[features.last]
on = ["Bought", "Left"]
last = "event.properties.amount"
[features.all]
on = "Bought"
distinct = "event.properties.amount"
[features.of_account]
on = "Bought"
per = "account"
count = true
[rules.probe]
on = "Left"
if = ["features.count >= 0", "features.count_2h >= 0", "features.count_before >= 0", "features.most > 0.0", "features.last > 0", "size(features.all) > 0"]
[rules.probe_of_account]
on = "Left"
per = "account"
if = "features.of_account >= 0"
"#;

fn set() -> RuleSet {
    let file = Source::new("rules.toml", RULES);
    RuleSet::parse(&[file]).unwrap_or_else(|error| panic!("{error}"))
}

/// A record that came and happened so long after the beginning.
fn record(number: i64, (received, happened): (i64, i64), event: &Json) -> Record {
    let time = |ms: i64| Timestamp::from_unix_ms(BEGIN_MS + ms);
    Record {
        offset: Offset::from_number(number),
        received_at: time(received),
        event_time: time(happened),
        claimed_time: None,
        source: "web".parse().expect("it is three letters"),
        trust: Trust::Client,
        origin: Origin::Sent,
        order_key: "d".into(),
        message_id: format!("m-{number}").into(),
        sequence: None,
        schema_version: 0,
        flags: Flags::default(),
        json: event.to_string().into(),
    }
}

fn did(event: &str, device: &str, amount: i64) -> Json {
    json!({"type": "track", "event": event, "anonymousId": device, "properties": {"amount": amount}, "context": {"groupId": "acme"}})
}

fn rows_of(records: &[Record], asked: &Asked) -> (Vec<Row>, Exported) {
    let nobody: Gone = Arc::new(|_, _| false);
    let seen = Seen::Here(BTreeMap::new());
    let mut rows = Rows::new(set(), (people::Limits::default(), nobody), asked, seen).unwrap();
    let mut all = Vec::new();
    let mut out = |row| {
        all.push(row);
        Ok(())
    };
    for record in records {
        rows.record(record, &mut out).unwrap();
    }
    rows.end(&mut out).unwrap();
    let done = rows.done;
    (all, done)
}

fn on(event: &str) -> Asked {
    Asked { on: vec![event.to_owned()], ..Asked::default() }
}

/// What the features of one person stand at who bought for these amounts, each when and how much.
fn by_hand(bought: &[(i64, i64)], last: Option<i64>, moment: i64) -> Json {
    let within = |from: i64, to: i64| {
        bought.iter().filter(|(at, _)| moment - from < *at && *at <= moment - to).count()
    };
    let different: BTreeSet<i64> = bought.iter().map(|(_, amount)| *amount).collect();
    let most = bought.iter().map(|(_, amount)| *amount).filter(|amount| *amount > 1).max();
    json!({
        "count": bought.len(),
        "count_2h": within(2 * HOUR, 0),
        "count_before": within(3 * HOUR, HOUR),
        "most": most.map(|most| most as f64),
        "last": last,
        "all": different,
    })
}

#[test]
fn of_one_moment_what_came_first_counts_and_what_came_later_does_not() {
    // One batch without times.
    let records = [
        record(1, (0, 0), &did("Bought", "phone", 5)),
        record(2, (HOUR, HOUR), &did("Bought", "phone", 7)),
        record(3, (HOUR, HOUR), &did("Left", "phone", 1)),
        record(4, (HOUR, HOUR), &did("Bought", "phone", 9)),
        record(5, (HOUR, HOUR), &did("Left", "phone", 2)),
        // Something that happened later has been told of, so that all is counted again.
        record(6, (2 * HOUR, 3 * HOUR), &did("Bought", "phone", 11)),
        record(7, (2 * HOUR, HOUR), &did("Left", "phone", 3)),
    ];
    let (rows, _) = rows_of(&records, &on("Left"));
    let counts: Vec<_> = rows.iter().map(|row| row.features["count"].clone()).collect();
    assert_eq!(counts, [json!(2), json!(3), json!(3)]);
    let lasts: Vec<_> = rows.iter().map(|row| row.features["count_2h"].clone()).collect();
    assert_eq!(lasts, [json!(2), json!(3), json!(3)]);
    // Of a moment that is no event's only what was before.
    let asked = Asked { at: vec![Timestamp::from_unix_ms(BEGIN_MS + HOUR)], ..Asked::default() };
    assert_eq!(rows_of(&records, &asked).0[0].features["count"], json!(1));
}

#[test]
fn what_happened_later_does_not_count_however_early_it_came() {
    // It was left after an hour, and told after three; what the person did meanwhile was told at once.
    let records = [
        record(1, (0, 0), &did("Bought", "phone", 5)),
        record(2, (HOUR + 1, HOUR + 1), &did("Bought", "phone", 7)),
        record(3, (2 * HOUR, 2 * HOUR), &did("Bought", "phone", 9)),
        record(4, (3 * HOUR, HOUR), &did("Left", "phone", 1)),
        // It had happened before, and nobody knew.
        record(5, (4 * HOUR, MINUTE), &did("Bought", "phone", 11)),
    ];
    let (rows, done) = rows_of(&records, &on("Left"));
    assert_eq!(rows.len(), 1);
    assert_eq!(json!(rows[0].features), by_hand(&[(0, 5)], Some(5), HOUR));
    assert_eq!(rows[0].at, Timestamp::from_unix_ms(BEGIN_MS + HOUR).to_string());
    assert_eq!((rows[0].event.as_deref(), rows[0].message_id.as_deref()), (Some("4"), Some("m-4")));
    assert_eq!((done.rows, done.events), (1, 5));
}

#[test]
fn a_row_at_a_moment_has_what_was_known_then_and_says_what_came_later() {
    let records = [
        record(1, (0, 0), &did("Bought", "phone", 5)),
        record(2, (0, 0), &json!({"type": "identify", "anonymousId": "phone", "userId": "u-1"})),
        record(3, (MINUTE, MINUTE), &did("Bought", "other", 6)),
        record(4, (2 * HOUR, 2 * HOUR), &did("Bought", "phone", 7)),
        record(5, (3 * HOUR, HOUR), &did("Bought", "phone", 8)),
    ];
    let at = |hours: i64| Timestamp::from_unix_ms(BEGIN_MS + hours * HOUR);
    let asked = Asked { at: vec![at(9), at(2), at(2)], ..Asked::default() };
    let (rows, done) = rows_of(&records, &asked);
    let told: Vec<_> =
        rows.iter().map(|row| (row.user_id.as_deref(), json!(row.features))).collect();
    let of_u_1 = Some("u-1");
    assert_eq!(
        told,
        [
            (of_u_1, by_hand(&[(0, 5)], Some(5), 2 * HOUR)),
            (None, by_hand(&[(MINUTE, 6)], Some(6), 2 * HOUR)),
            (of_u_1, by_hand(&[(0, 5), (2 * HOUR, 7), (HOUR, 8)], Some(7), 9 * HOUR)),
            (None, by_hand(&[(MINUTE, 6)], Some(6), 9 * HOUR)),
        ]
    );
    assert_eq!(done.came_later, 0);
    let asked = Asked { at: vec![at(2)], per: Per::Account, ..Asked::default() };
    let (rows, done) = rows_of(&records, &asked);
    assert_eq!((rows.len(), rows[0].account.as_deref()), (1, Some("acme")));
    assert_eq!(json!(rows[0].features), json!({ "of_account": 2 }));
    assert_eq!(done.came_later, 1, "the fifth had happened, and came an hour later");
}

#[test]
fn what_cannot_be_told_is_said() {
    let error = |asked: Asked| {
        let seen = Seen::Here(BTreeMap::new());
        let nobody: Gone = Arc::new(|_, _| false);
        let rows = Rows::new(set(), (people::Limits::default(), nobody), &asked, seen);
        rows.map(drop).unwrap_err().to_string()
    };
    let other = error(Asked { features: vec!["of_account".to_owned()], ..on("Left") });
    assert!(other.contains("`of_account` is of an account: add `--per account`"));
    assert!(error(Asked::default()).contains("name events, or moments"));
    assert!(error(on("page:")).contains("is followed by a name"));
}

#[derive(Clone, Debug)]
enum Deed {
    Bought(u8, i64),
    Left(u8),
    Identify(u8, u8),
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        4 => (0..3_u8, 0..5_i64).prop_map(|(device, amount)| Deed::Bought(device, amount)),
        2 => (0..3_u8).prop_map(Deed::Left),
        1 => (0..3_u8, 0..2_u8).prop_map(|(device, user)| Deed::Identify(device, user)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Several devices, which may turn out to be one person's, nothing late: a row is what the rule on the same event looked at.
    #[test]
    fn where_nothing_is_late_a_row_is_what_a_rule_saw(deeds in prop::collection::vec((0..90_i64, deed()), 1..40)) {
        let mut now = 0;
        let mut records = Vec::new();
        for (number, (pause, deed)) in (1..).zip(&deeds) {
            now += pause * MINUTE;
            let event = match deed {
                Deed::Bought(device, amount) => did("Bought", &format!("d-{device}"), *amount),
                Deed::Left(device) => did("Left", &format!("d-{device}"), 9),
                Deed::Identify(device, user) => {
                    json!({"type": "identify", "anonymousId": format!("d-{device}"), "userId": format!("u-{user}")})
                }
            };
            records.push(record(number, (now, now), &event));
        }
        for (per, rule) in [(Per::Person, "probe"), (Per::Account, "probe_of_account")] {
            let mut live = Trial::new(Arc::new(set()), people::Limits::default()).unwrap();
            for record in &records {
                live.record(record).unwrap();
            }
            let looked = live.looked();
            let saw = looked.iter().filter(|looked| looked.rule == rule).map(|looked| {
                let of = looked.reasons.iter().flat_map(|reason| reason.of.clone());
                let name = |name: String| name.trim_start_matches("features.").to_owned();
                let of: Map<String, Json> = of.map(|(it, value)| (name(it), value)).collect();
                (looked.event.clone(), of)
            });
            let (rows, _) = rows_of(&records, &Asked { per, ..on("Left") });
            let told = rows.iter().map(|row| (row.event.clone(), row.features.clone()));
            prop_assert_eq!(told.collect::<Vec<_>>(), saw.collect::<Vec<_>>());
        }
    }

    /// Of one person, late by anything: a row is a count by hand of what had come and had happened, of one moment in the log's order.
    #[test]
    fn whatever_is_late_a_row_has_nothing_of_what_came_later(
        deeds in prop::collection::vec((0..60_i64, 0..200_i64, 0..5_i64, any::<bool>()), 1..40),
        at in 0..30_i64,
    ) {
        let mut now = 0;
        let mut records = Vec::new();
        for (number, (pause, late, amount, left)) in (1..).zip(&deeds) {
            now += pause * MINUTE;
            let event = if *left { did("Left", "phone", 9) } else { did("Bought", "phone", *amount) };
            records.push(record(number, (now, now - late * MINUTE), &event));
        }
        let told = |known: &[Record], (moment, until): (i64, i64)| {
            let of = |record: &Record| -> (i64, i64, bool) {
                let event: Json = serde_json::from_str(&record.json).unwrap();
                let amount = event["properties"]["amount"].as_i64().unwrap();
                (record.event_time.unix_ms() - BEGIN_MS, amount, event["event"] == "Left")
            };
            let all = known.iter().map(of).filter(|(happened, ..)| *happened < until);
            let all: Vec<_> = all.collect();
            let bought: Vec<_> = all.iter().filter(|it| !it.2).map(|it| (it.0, it.1)).collect();
            // Of two at the same time that with the greater value.
            let last = all.iter().map(|it| (it.0, it.1)).max().map(|it| it.1);
            by_hand(&bought, last, moment)
        };
        let (rows, _) = rows_of(&records, &on("Left"));
        let mut rows = rows.iter();
        for (place, record) in records.iter().enumerate().filter(|(place, _)| deeds[*place].3) {
            let moment = record.event_time.unix_ms() - BEGIN_MS;
            prop_assert_eq!(json!(rows.next().unwrap().features), told(&records[..place], (moment, moment + 1)));
        }
        let moment = at * HOUR;
        let time = Timestamp::from_unix_ms(BEGIN_MS + moment);
        let (rows, _) = rows_of(&records, &Asked { at: vec![time], ..Asked::default() });
        let known = records.partition_point(|record| record.received_at < time);
        prop_assert_eq!(rows.len(), usize::from(known > 0));
        for row in rows {
            prop_assert_eq!(json!(row.features), told(&records[..known], (moment, moment)));
        }
    }
}
