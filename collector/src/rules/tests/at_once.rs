//! Rules that fire as an event comes: one event, the last of several, what is known of the person by it.

use super::*;

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
