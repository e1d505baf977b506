//! Firings of old and new rules, held against each other.

use std::sync::Arc;

use serde_json::json;

use super::{super::file::Source, *};
use crate::event_log::{Flags, Offset, Origin, Record, Trust};

const BEGIN_MS: i64 = 1_767_225_600_000;
const HOUR: i64 = 3_600_000;

fn once(rule: &str, who: &str, at: &str) -> Once {
    let (person, name) = (format!("p_{who}"), who.to_owned());
    Once { rule: rule.to_owned(), person, name, account: None, at: at.to_owned(), held: None }
}

fn told(all: &[Once]) -> Vec<[&str; 3]> {
    all.iter().map(|it| [it.rule.as_str(), it.name.as_str(), it.at.as_str()]).collect()
}

#[test]
fn what_comes_at_another_moment_has_moved_and_is_neither_new_nor_gone() {
    let all = |of: &[(&str, &str, &str)]| of.iter().map(|(a, b, c)| once(a, b, c)).collect();
    let old = all(&[("a", "ann", "1"), ("a", "ben", "2"), ("a", "ann", "4"), ("b", "ann", "1")]);
    let new = all(&[("a", "ann", "2"), ("a", "ben", "2"), ("a", "ann", "4"), ("a", "ben", "9")]);
    let mut compared = Compared::default();
    compared.tell_apart(old, new);
    assert_eq!(compared.moved, [once("a", "ann", "2").moved("1", "2")]);
    assert_eq!(told(&compared.only_new), [["a", "ben", "9"]]);
    assert_eq!(told(&compared.only_old), [["b", "ann", "1"]]);
    assert!(compared.acts_now.is_empty() && compared.acts_no_more.is_empty());
}

#[test]
fn what_the_other_still_waits_for_is_neither_new_nor_gone() {
    let at = |hour: i64| BEGIN_MS + hour * HOUR;
    let of_acme = Once { account: Some("acme".to_owned()), ..once("b", "ann", "2026-01-01T02") };
    let mut compared = Compared {
        only_old: vec![
            once("a", "12", "2026-01-01T01:00"),
            once("a", "1", "2026-01-01T01:00"),
            once("a", "1", "2026-01-01T01:30"),
        ],
        only_new: vec![of_acme.clone()],
        ..Compared::default()
    };
    let new = vec![("a".to_owned(), "p_1".to_owned(), at(3)), ("b".into(), "p_12".into(), at(3))];
    compared.set_apart((vec![("b".to_owned(), "acme".to_owned(), at(9))], new));
    let left = [["a", "12", "2026-01-01T01:00"], ["a", "1", "2026-01-01T01:30"]];
    assert_eq!(told(&compared.only_old), left);
    assert!(compared.only_new.is_empty());
    let due = |hour: i64| Timestamp::from_unix_ms(at(hour)).to_string();
    let first = once("a", "1", "").moved("2026-01-01T01:00", &due(3));
    assert_eq!(compared.not_due, [first, of_acme.moved(&due(9), "2026-01-01T02")]);
}

/// Forty people each do it twice, a minute apart, under the one rules and under the others.
fn compared(old: &str, new: &str) -> Compared {
    let trial = |text: &str| {
        let file = Source::new("rules.toml".to_owned(), text.to_owned());
        let set = RuleSet::parse(&[file]).unwrap_or_else(|error| panic!("{error}"));
        let mut trial = Trial::few(Arc::new(set), people::Limits::default()).unwrap();
        for n in 0..80 {
            let time = Timestamp::from_unix_ms(BEGIN_MS + n * 30_000);
            let event = json!({"type": "track", "event": "A", "userId": format!("u-{}", n / 2)});
            let record = Record {
                offset: Offset::from_number(n + 1),
                received_at: time,
                event_time: time,
                claimed_time: None,
                source: "web".parse().unwrap(),
                trust: Trust::Server,
                origin: Origin::Sent,
                order_key: "d".into(),
                message_id: n.to_string().into(),
                sequence: None,
                schema_version: 0,
                flags: Flags::default(),
                json: event.to_string().into(),
            };
            trial.record(&record).unwrap();
        }
        trial
    };
    let mut compared = Compared::default();
    compared.compare((&trial(old), &trial(new)), None).unwrap();
    compared
}

#[test]
fn a_wider_rollout_says_for_whom_it_acts_now() {
    let rule = |percent: u32| {
        format!("[rules.a]\non = 'A'\npercent = {percent}\nthen = [{{ emit = 'B' }}]\n")
    };
    let outside = |of: &Counted| of.held.get("outside the rollout").copied().unwrap_or(0);
    let wider = compared(&rule(20), &rule(60));
    let BeforeAndNow { before, now } = &wider.rules["a"];
    assert_eq!((before.fired, now.fired), (80, 80));
    assert!(0 < before.acts && before.acts < now.acts && now.acts < 80, "{before:?} {now:?}");
    assert_eq!((before.acts + outside(before), now.acts + outside(now)), (80, 80));
    let newly = wider.acts_now.iter();
    assert!(newly.clone().all(|it| it.held.as_deref() == Some("outside the rollout")));
    assert_eq!(newly.count(), usize::try_from(now.acts - before.acts).unwrap());
    assert!(wider.acts_no_more.is_empty() && wider.only_new.is_empty());
    let narrower = compared(&rule(60), &rule(20));
    assert_eq!(narrower.acts_no_more, wider.acts_now);
}

#[test]
fn a_dry_run_and_a_cap_hold_and_what_fires_anew_acts() {
    let rule = "[rules.a]\non = 'A'\nthen = [{ email = 'm', template = 't' }]\n";
    let cap = |times: u32| format!("[caps.email]\ntimes = {times}\nwithin = '1d'\n{rule}");
    let found = compared(&cap(1), &cap(5));
    let BeforeAndNow { before, now } = &found.rules["a"];
    assert_eq!((before.fired, before.acts, now.fired, now.acts), (80, 40, 80, 80));
    assert_eq!(found.acts_now.len(), 40);
    let capped =
        "the person is written to as often as the cap allows: at most once in 1 day (`caps.email`)";
    assert_eq!(before.held, [(capped.to_owned(), 40)].into(), "one reason, whatever was sent last");
    let found = compared(&rule.replace("\nthen", "\ndry_run = true\nthen"), rule);
    assert_eq!((found.rules["a"].before.held["dry run"], found.acts_now.len()), (80, 80));
    let found = compared("", rule);
    assert_eq!((found.acts_now.len(), found.only_new.len()), (80, 80));
    // Rows have names, and say who and what apart.
    let json = serde_json::to_value(&found).unwrap();
    let row = &json["actsNow"][0];
    let at = Timestamp::from_unix_ms(BEGIN_MS).to_string();
    let person = &found.only_new[0].person;
    assert_eq!(*row, json!({"rule": "a", "person": person, "name": "u-0", "at": at}));
    assert_eq!(json["notJudged"], NOT_JUDGED);
}
