//! Holds the wire to its golden files, which bind every platform's SDK and the collector's decoder. A released case is
//! never edited, only added to.
#![allow(clippy::unwrap_used, reason = "a test says what it expects by unwrapping it")]

use headwater_core::event::{Event, Json, Kind};
use headwater_core::platform::{DropReason, Dropped, Stamp};
use headwater_core::wire;
use serde_json::Value;

#[test]
fn events_have_the_golden_texts() {
    for case in events() {
        assert_eq!(wire::text(&event(&case["given"])), string(&case, "text"), "{}", case["name"]);
    }
}

#[test]
fn every_kind_has_a_golden_case() {
    for kind in ["track", "identify", "page", "screen", "group", "alias"] {
        assert!(events().iter().any(|case| case["given"]["type"] == kind), "{kind}");
    }
}

#[test]
fn batches_have_the_golden_bodies() {
    let golden: Vec<Value> = serde_json::from_str(include_str!("golden/batches.json")).unwrap();
    for case in golden {
        let id: Vec<u8> = serde_json::from_value(case["queue_id"].clone()).unwrap();
        let queue = wire::queue_id(id.try_into().unwrap());
        assert_eq!(queue, string(&case, "queue"));
        let mut batch = wire::Batch::new();
        for item in case["events"].as_array().unwrap() {
            let text = events().into_iter().find(|e| e["name"] == item["event"]).unwrap();
            let stamp = Stamp {
                seq: number(item, "seq"),
                session_ms: number(item, "session_ms"),
                session_start: item["session_start"] == true,
            };
            let dropped: Vec<Dropped> =
                item["dropped"].as_array().unwrap().iter().map(dropped).collect();
            let queue = (item["numbered"] == true).then_some(queue.as_str());
            batch.push(string(&text, "text"), wire::Sent { stamp, queue, dropped: &dropped });
        }
        let body = batch.finish(number(&case, "sent_at_ms"), string(&case, "write_key"));
        assert_eq!(body, string(&case, "body"));
        serde_json::from_str::<Value>(&body).unwrap();
    }
}

#[test]
fn a_stamp_fits_even_an_empty_context() {
    let case = &events()[0];
    let event = Event { context: Json::object("{}").unwrap(), ..event(&case["given"]) };
    let mut batch = wire::Batch::new();
    let stamp = Stamp { seq: 1, session_ms: 5, session_start: false };
    batch.push(&wire::text(&event), wire::Sent { stamp, queue: Some("q"), dropped: &[] });
    let body: Value = serde_json::from_str(&batch.finish(0, "k")).unwrap();
    assert_eq!(body["batch"][0]["context"]["headwater"]["seq"], 1);
}

fn events() -> Vec<Value> {
    serde_json::from_str(include_str!("golden/events.json")).unwrap()
}

fn event(given: &Value) -> Event {
    let text = |name: &str| given[name].as_str().map(String::from);
    let kind = match string(given, "type") {
        "track" => Kind::Track { event: text("event").unwrap() },
        "identify" => Kind::Identify,
        "page" => Kind::Page { category: text("category"), name: text("name") },
        "screen" => Kind::Screen { category: text("category"), name: text("name") },
        "group" => Kind::Group { group_id: text("groupId").unwrap() },
        "alias" => Kind::Alias { previous_id: text("previousId").unwrap() },
        other => panic!("a kind that is not one: {other}"),
    };
    Event {
        kind,
        message_id: text("messageId").unwrap(),
        anonymous_id: text("anonymousId"),
        user_id: text("userId"),
        at_ms: number(given, "at_ms"),
        fields: text("properties").or(text("traits")).map(|json| Json::object(json).unwrap()),
        context: Json::object(text("context").unwrap()).unwrap(),
    }
}

fn dropped(range: &Value) -> Dropped {
    use DropReason::{QueueFull, Refused, TooLarge, TooOld, Unnumbered};
    let word = range[2].as_str().unwrap();
    let reason = [QueueFull, TooOld, TooLarge, Refused, Unnumbered]
        .into_iter()
        .find(|r| r.word() == word)
        .unwrap();
    Dropped { first: range[0].as_u64().unwrap(), last: range[1].as_u64().unwrap(), reason }
}

fn string<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap()
}

fn number(value: &Value, name: &str) -> u64 {
    value[name].as_u64().unwrap()
}
