//! The collector reads the bodies that the core's golden files say every SDK writes, event by event, as they are.
#![allow(clippy::unwrap_used, reason = "a test says what it expects by unwrapping it")]

use headwater_collector::decode::{Shape, WireBatch};
use headwater_collector::event_log::{NewEvent, Timestamp};
use headwater_collector::validate::{Memory, Sender, validate};
use serde_json::Value;

const BATCHES: &str = include_str!("../../sdk-core/tests/golden/batches.json");
const EVENTS: &str = include_str!("../../sdk-core/tests/golden/events.json");

fn read(body: &str) -> Vec<NewEvent<'static>> {
    let batch = WireBatch::parse(body.as_bytes(), Shape::Batch).unwrap();
    let received_at = Timestamp::from_unix_ms(1_763_769_700_000);
    let sender = Sender::new("web".parse().unwrap(), received_at);
    let memory = Memory::new();
    let fresh_id = || panic!("each event has its id");
    let sorted = validate(&batch, Shape::Batch, &sender, &memory, fresh_id);
    assert!(sorted.refused.is_empty(), "{:?}", sorted.refused);
    sorted.events.into_iter().map(NewEvent::into_owned).collect()
}

#[test]
fn every_golden_event_is_taken_with_the_fields_it_has() {
    for case in serde_json::from_str::<Vec<Value>>(EVENTS).unwrap() {
        let text = case["text"].as_str().unwrap();
        let body = format!("{{\"batch\":[{text}],\"writeKey\":\"k\"}}");
        let event = read(&body).pop().unwrap();
        let mut sent: Value = serde_json::from_str(text).unwrap();
        let stored: Value = serde_json::from_str(&event.json).unwrap();
        // The time is the record's: as claimed, and as corrected.
        assert_eq!(event.claimed_time.unwrap().to_string(), sent["timestamp"].as_str().unwrap());
        sent.as_object_mut().unwrap().remove("timestamp");
        assert_eq!(stored, sent, "{}", case["name"]);
        assert_eq!(&*event.order_key, sent["anonymousId"].as_str().unwrap());
        assert_eq!(&*event.message_id, sent["messageId"].as_str().unwrap());
    }
}

#[test]
fn every_golden_stamp_is_understood() {
    for case in serde_json::from_str::<Vec<Value>>(BATCHES).unwrap() {
        let events = read(case["body"].as_str().unwrap());
        let given = case["events"].as_array().unwrap();
        assert_eq!(events.len(), given.len());
        for (event, given) in events.iter().zip(given) {
            let number = event.sequence.as_ref().map(|sequence| (&*sequence.queue, sequence.seq));
            let expected = (given["numbered"] == true)
                .then(|| (case["queue"].as_str().unwrap(), given["seq"].as_u64().unwrap()));
            assert_eq!(number, expected);
            let dropped: Vec<_> =
                event.dropped.iter().map(|range| (range.first, range.last)).collect();
            let expected: Vec<_> = given["dropped"]
                .as_array()
                .unwrap()
                .iter()
                .map(|r| (r[0].as_u64().unwrap(), r[1].as_u64().unwrap()))
                .collect();
            assert_eq!(dropped, expected);
        }
    }
}
