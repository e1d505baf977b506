//! What is told of each time that a rule was looked at, and of each firing: enough for who asks why to see it without the log.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    super::{
        Fired, RuleSet, Trial,
        file::Source,
        testing::{BEGIN_MS, record},
    },
    Looked,
};
use crate::people;

/// What was noted with a firing.
fn why(fired: &Fired) -> Value {
    serde_json::from_str(fired.why.get()).unwrap()
}

const MINUTE: i64 = 60_000;
const DAY: i64 = 24 * 60 * MINUTE;

/// Rules over events of one person, which a test writes.
struct Story {
    trial: Trial,
    next: i64,
}

impl Story {
    fn of(rules: &str) -> Self {
        let file = Source::new("rules.toml", rules);
        let set = RuleSet::parse(&[file]).unwrap_or_else(|errors| panic!("{errors}"));
        let trial = Trial::new(Arc::new(set), people::Limits::default()).unwrap();
        Self { trial, next: 1 }
    }

    /// Something is done, so many milliseconds after the beginning.
    fn does(&mut self, after_ms: i64, name: &str, properties: &Value) {
        let event =
            json!({"type": "track", "event": name, "userId": "u-1", "properties": properties});
        self.trial.record(&record(self.next, after_ms, &event)).unwrap();
        self.next += 1;
    }

    fn pass(&mut self, after_ms: i64) {
        self.trial.pass(BEGIN_MS + after_ms).unwrap();
    }

    fn fired(&self) -> Vec<Fired> {
        self.trial.fired().unwrap()
    }

    fn looked(&mut self) -> Vec<Looked> {
        self.trial.looked()
    }
}

#[test]
fn what_a_cap_refuses_names_the_cap_and_what_was_sent_last() {
    let mut story = Story::of(
        "caps.email = { times = 2, within = '7d' }\ncaps.sms = { times = 0, within = '1d' }\n\
         [rules.a]\non = 'A'\nthen = [{ email = 'm', template = 't' }, { sms = 's', template = 't' }]\n\
         [rules.b]\non = 'B'\nthen = [{ email = 'm', template = 't' }, { email = 'm', template = 't' }]\n",
    );
    story.does(0, "A", &json!({}));
    story.does(DAY, "B", &json!({}));
    story.does(2 * DAY, "A", &json!({}));
    let of = |fired: &Fired, at: usize| fired.actions[at].detail.clone().unwrap_or_default();
    let fired = story.fired();
    let cap = "the person is written to as often as the cap allows";
    assert_eq!(of(&fired[0], 0), "");
    assert_eq!(of(&fired[0], 1), format!("{cap}: never in 1 day (`caps.sms`)"));
    let most = format!("{cap}: at most 2 times in 7 days (`caps.email`), the last");
    assert_eq!(of(&fired[1], 1), format!("{most} by this same firing"));
    assert_eq!(of(&fired[2], 0), format!("{most} set off at 2025-01-02T00:00:00.000Z"));
}

#[test]
fn a_time_that_is_none_is_told_as_it_was_named() {
    let mut story = Story::of(
        "[rules.a]\non = 'A'\nat = 'event.properties.ends_at'\nafter = '1h'\nthen = []\n",
    );
    let long = "a".repeat(1000);
    for named in [json!({"ends_at": "soon"}), json!({}), json!({"ends_at": long})] {
        story.does(0, "A", &named);
    }
    story.does(0, "A", &json!({"ends_at": "2025-01-01T00:00:00Z"}));
    let looked = story.looked();
    let said: Vec<&str> = looked.iter().map(|it| it.outcome.as_str()).collect();
    let none = "the event names no time: `event.properties.ends_at`";
    assert_eq!(said[0], format!("{none} is \"soon\""));
    assert!(said[1].starts_with(&format!("{none}: ")), "{}", said[1]);
    assert_eq!(said[2], format!("{none} is \"{}…", "a".repeat(59)));
    assert_eq!(said[3], "it waits");
}

const STILL: &str = "[features.shares]\non = 'Shared'\ncount = true\n\
    [rules.nudge]\non = 'Joined'\nif = 'event.properties.free'\nwithout = { event = 'Left', within = '1m' }\n\
    still = 'features.shares == 0'\nthen = []\n";

#[test]
fn what_is_to_hold_still_is_told_with_what_it_looked_at_where_it_holds_and_where_not() {
    for (shares, outcome) in [(0, "it fired"), (1, "it is not so any more")] {
        let mut story = Story::of(STILL);
        story.does(0, "Joined", &json!({"free": true}));
        (0..shares).for_each(|_| story.does(1000, "Shared", &json!({})));
        story.pass(2 * MINUTE);
        let looked = story.looked();
        let [begun, ended] = &looked[..] else { panic!("{looked:?}") };
        assert_eq!((begun.outcome.as_str(), ended.outcome.as_str()), ("it waits", outcome));
        assert_eq!(begun.reasons.len(), 1, "nothing is asked again yet: {begun:?}");
        let told = serde_json::to_value(&ended.reasons).unwrap();
        let still = json!({"text": "features.shares == 0", "value": shares == 0, "of": {"features.shares": shares}, "still": true});
        assert_eq!(told[1], still);
        assert_eq!(told[0]["still"], Value::Null, "{told}");
        for fired in story.fired() {
            assert_eq!(why(&fired)["conditions"], told);
        }
        assert_eq!(story.fired().len(), 1 - shares);
    }
}

#[test]
fn what_is_to_hold_still_is_told_as_it_stands_while_the_rule_waits() {
    let at = "[features.shares]\non = 'Shared'\ncount = true\n\
        [rules.nudge]\non = 'Joined'\nif = 'event.properties.free'\nat = 'event.properties.at'\n\
        still = 'features.shares == 0'\nthen = []\n";
    for rules in [STILL, at] {
        for shares in [0, 1] {
            let mut story = Story::of(rules);
            story.does(0, "Joined", &json!({"free": true, "at": "2025-01-01T00:01:00Z"}));
            (0..shares).for_each(|_| story.does(1000, "Shared", &json!({})));
            story.trial.look_at_waiting(BEGIN_MS + 2000).unwrap();
            let looked = story.looked();
            let [waits] = &looked[..] else { panic!("{looked:?}") };
            assert_eq!((waits.outcome.as_str(), waits.waits()), ("it waits", true), "{rules}");
            let told = serde_json::to_value(&waits.reasons[1..]).unwrap();
            let still = json!([{"text": "features.shares == 0", "value": shares == 0, "of": {"features.shares": shares}, "still": true}]);
            assert_eq!(told, still, "{rules}");
            story.pass(2 * MINUTE);
            assert!(!story.looked()[0].waits());
        }
    }
}

#[test]
fn numbers_in_reasons_are_told_as_they_were_meant_and_compared_as_they_are() {
    let mut story = Story::of(
        "[features.n]\non = 'A'\nsum = 'event.properties.x'\n\
         [scores.s]\nterms = { a = '0.3', b = 'features.n' }\n\
         [rules.a]\ncrosses = { score = 's', above = 0.3 }\nif = 'features.n > 0.3 && scores.s < 0.6000000000000002'\nthen = []\n\
         [rules.f]\ncrosses = { feature = 'n', above = 0.3 }\nthen = []\n",
    );
    story.does(0, "A", &json!({"x": 0.1}));
    story.does(0, "A", &json!({"x": 0.2}));
    let fired = story.fired();
    let of = |rule: &str| why(fired.iter().find(|it| it.rule == rule).unwrap());
    let crossed = &of("a")["crossed"];
    let told = [&crossed["value"], &crossed["terms"][1]["brings"], &crossed["terms"][1]["value"]];
    assert_eq!(told, [&json!(0.6), &json!(0.3), &json!(0.3)], "{crossed}");
    let looked_at = &of("a")["conditions"][0]["of"];
    assert_eq!(looked_at, &json!({"features.n": 0.3, "scores.s": 0.6}));
    // It is a little more than 0.3, or it had not fired.
    assert_eq!(of("f")["crossed"], json!({"feature": "n", "value": 0.3, "above": 0.3}));
}

const LEFT: &str = "[rules.left]\non = 'Product Added'\n\
    without = { event = 'Order Completed', within = '14d', match = 'event.properties.cart == trigger.properties.cart' }\nthen = []\n";

#[test]
fn what_is_to_stay_away_and_has_come_is_told_while_the_rule_waits() {
    let mut story = Story::of(LEFT);
    story.does(0, "Product Added", &json!({"cart": "a"}));
    story.does(MINUTE, "Product Added", &json!({"cart": "b"}));
    story.does(2 * MINUTE, "Order Completed", &json!({"cart": "a"}));
    story.trial.look_at_waiting(BEGIN_MS + 3 * MINUTE).unwrap();
    let looked = story.looked();
    let [ordered, waits] = &looked[..] else { panic!("{looked:?}") };
    let came = |looked: &Looked| {
        let came = looked.waited.iter().flat_map(|waited| &waited.came);
        came.map(|it| (it.event.clone(), it.matches)).collect::<Vec<_>>()
    };
    let order = super::Offset::from_number(3).to_string();
    let vain = "what it waits to see missing has happened: it will not fire";
    assert_eq!((ordered.outcome.as_str(), came(ordered)), (vain, vec![(order.clone(), true)]));
    assert_eq!((waits.outcome.as_str(), came(waits)), ("it waits", vec![(order, false)]));
    assert!(!ordered.fired);
    // Nothing has rung because of it: what was said holds when the time is over.
    story.pass(15 * DAY);
    let ended: Vec<_> = story.looked().into_iter().map(|it| it.outcome).collect();
    assert_eq!(ended, ["what it waited to see missing has happened", "it fired"]);
    assert_eq!(story.fired().len(), 1);
}

#[test]
fn a_firing_by_absence_says_what_has_stayed_away() {
    let mut story = Story::of(LEFT);
    story.does(0, "Product Added", &json!({"cart": "a"}));
    story.pass(15 * DAY);
    let waited = json!({
        "for": ["Order Completed"],
        "until": "2025-01-15T00:00:00.000Z",
        "text": "no Order Completed with the same cart within 14 days",
    });
    assert_eq!(why(&story.fired()[0]), json!({"conditions": [], "waited": waited}));
}
