//! What `validate` takes, refuses and stores, case by case.

use proptest::prelude::*;

use super::*;
use crate::limits::MAX_EVENT_BYTES;

const NOW: i64 = 1_795_000_000_000;

fn run(shape: Shape, body: &str, may_send: Option<&EventFilter>) -> Validated<'static> {
    let batch = WireBatch::parse(body.as_bytes(), shape).unwrap();
    let sender = Sender {
        may_send,
        flags: Flags { test: true, ..Flags::default() },
        ..Sender::new("web".parse().unwrap(), Timestamp::from_unix_ms(NOW))
    };
    owned(validate(&batch, shape, &sender, &Memory::new(), || "fresh".into()))
}

fn owned(sorted: Validated<'_>) -> Validated<'static> {
    let Validated { events, indexes, refused } = sorted;
    Validated { events: events.into_iter().map(NewEvent::into_owned).collect(), indexes, refused }
}

fn one(event: &str) -> Result<NewEvent<'static>, Reason> {
    let mut sorted = run(Shape::Batch, &format!("{{\"batch\":[{event}]}}"), None);
    assert_eq!(sorted.events.len() + sorted.refused.len(), 1);
    sorted.events.pop().ok_or_else(|| sorted.refused[0].reason)
}

#[test]
fn every_refusal_has_its_word() {
    let long = "x".repeat(MAX_MESSAGE_ID_BYTES + 1);
    let deep = format!("{}{}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
    let large = "x".repeat(MAX_EVENT_BYTES);
    for (event, reason) in [
        ("7", "not_an_object"),
        ("{}", "unknown_type"),
        (r#"{"type":"click","userId":"u"}"#, "unknown_type"),
        (r#"{"type":"track","userId":"u"}"#, "missing_event"),
        (r#"{"type":"track","userId":"u","event":""}"#, "missing_event"),
        (r#"{"type":"page"}"#, "missing_user_id"),
        (r#"{"type":"page","userId":"","anonymousId":null}"#, "missing_user_id"),
        (r#"{"type":"group","userId":"u"}"#, "missing_group_id"),
        (r#"{"type":"alias","userId":"u"}"#, "missing_previous_id"),
        (r#"{"type":"page","userId":7}"#, "invalid_field"),
        (r#"{"type":"page","userId":"\ud800"}"#, "invalid_field"),
        (r#"{"type":"page","userId":"u","properties":[]}"#, "invalid_field"),
        (r#"{"type":"page","userId":"u","context":{"headwater":1}}"#, "invalid_field"),
        (&format!(r#"{{"type":"page","userId":"u","messageId":"{long}"}}"#), "message_id_too_long"),
        (&format!(r#"{{"type":"page","userId":"u","properties":{{"a":{deep}}}}}"#), "too_deep"),
        (&format!(r#"{{"type":"page","userId":"u","name":"{large}"}}"#), "too_large"),
    ] {
        assert_eq!(one(event).map_err(Reason::as_str), Err(reason), "{event:.80}");
    }
}

#[test]
fn a_source_sends_what_its_list_says() {
    #[derive(serde::Deserialize)]
    struct List {
        events: EventFilter,
    }
    let list: List = toml::from_str("events = ['page', 'Paid']").unwrap();
    let body = r#"{"batch":[{"type":"page","userId":"u"},{"type":"track","event":"Paid","userId":"u"},
        {"type":"track","event":"Other","userId":"u"},{"type":"identify","event":"Paid","userId":"u"}]}"#;
    let sorted = run(Shape::Batch, body, Some(&list.events));
    assert_eq!(sorted.indexes, [0, 1]);
    assert!(sorted.refused.iter().all(|refused| refused.reason == Reason::TypeNotAllowed));
    assert_eq!(sorted.refused.iter().map(|refused| refused.index).collect::<Vec<_>>(), [2, 3]);
}

#[test]
fn who_a_person_is_needs_a_signature_where_the_source_demands_it() {
    #[derive(serde::Deserialize)]
    struct Keys {
        secrets: Vec<Secret<IdentitySecret>>,
    }
    let keys = "secrets = ['new-secret-new-secret', 'old-secret-old-secret']";
    let Keys { secrets } = toml::from_str(keys).unwrap();
    let judged = |event: &str| {
        let batch = WireBatch::parse(event.as_bytes(), Shape::Single(EventType::Identify)).unwrap();
        let sender = Sender {
            identity_secrets: &secrets,
            ..Sender::new("web".parse().unwrap(), Timestamp::from_unix_ms(NOW))
        };
        let shape = Shape::Single(EventType::Identify);
        let memory = Memory::new();
        let mut sorted = owned(validate(&batch, shape, &sender, &memory, || "fresh".into()));
        sorted.events.pop().ok_or_else(|| sorted.refused[0].reason)
    };
    // printf u-1 | openssl dgst -sha256 -hmac new-secret-new-secret
    let signed = |signature: &str| {
        judged(&format!(r#"{{"userId":"u-1","context":{{"a":1,"signature":"{signature}"}}}}"#))
    };
    let (new, old) = (
        "99c15fb7d21b1f830f8647238021151d18f24ae8d73d0db95dc476c8429cbe81",
        "e83aa3f1a7116e98d493e3e5e88afb601d50d7be741e1c9c73532c39de3dcea2",
    );
    for signature in [new, old] {
        assert_eq!(
            signed(signature).unwrap().json.matches("signature").count(),
            0,
            "not for readers"
        );
    }
    for wrong in ["", &new[..63], &new.to_uppercase(), &new.replace(&new[..1], "x")] {
        assert_eq!(signed(wrong), Err(Reason::BadSignature), "{wrong}");
    }
    assert_eq!(judged(r#"{"userId":"u-1"}"#), Err(Reason::BadSignature));
    assert_eq!(judged(r#"{"userId":"u-2","context":{"signature":1}}"#), Err(Reason::BadSignature));
    judged(r#"{"anonymousId":"a"}"#).unwrap();
    // What merely names a user is taken, and marked where a proof is asked for: with a signature as proven.
    let named = |event: &str, asks_proof: bool, trust: Trust| {
        let shape = Shape::Single(EventType::Track);
        let batch = WireBatch::parse(event.as_bytes(), shape).unwrap();
        let sender = Sender {
            identity_secrets: if asks_proof { &secrets } else { &[] },
            asks_proof,
            trust,
            ..Sender::new("web".parse().unwrap(), Timestamp::from_unix_ms(NOW))
        };
        let memory = Memory::new();
        validate(&batch, shape, &sender, &memory, || "fresh".into()).events[0].flags.identity
    };
    let track = |user: &str, signature: &str| {
        format!(r#"{{"event":"A","userId":"{user}","context":{{"signature":"{signature}"}}}}"#)
    };
    for (event, identity) in [
        (track("u-1", new), Identity::Proven),
        (track("u-1", old), Identity::Proven),
        (track("u-2", new), Identity::Claimed),
        (track("u-1", ""), Identity::Claimed),
        (r#"{"event":"A","userId":"u-1"}"#.to_owned(), Identity::Claimed),
        (r#"{"event":"A","anonymousId":"a"}"#.to_owned(), Identity::Claimed),
    ] {
        assert_eq!(named(&event, true, Trust::Client), identity, "{event}");
        assert_eq!(named(&event, false, Trust::Client), Identity::Unasked);
    }
    assert_eq!(named(&track("u-1", ""), true, Trust::Server), Identity::Unasked);
    // Another is meant than was signed: spaces around an id are no part of it.
    let spaced = hmac_sha256::HMAC::mac(" u-1", "new-secret-new-secret");
    let spaced: String = spaced.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(named(&track(" u-1", &spaced), true, Trust::Client), Identity::Claimed);
    // Signed as one id, it would be signed for the pair of an alias: no such id is.
    let hex = |text: &str| -> String {
        let mac = hmac_sha256::HMAC::mac(text, "new-secret-new-secret");
        mac.iter().map(|byte| format!("{byte:02x}")).collect()
    };
    assert_eq!(hex("u-1"), new);
    for id in ["a\\nb", "a\\u0000b", "a\\u0085b"] {
        let signature = hex(&serde_json::from_str::<String>(&format!("\"{id}\"")).unwrap());
        assert_eq!(named(&track(id, &signature), true, Trust::Client), Identity::Claimed, "{id}");
        let identify = format!(r#"{{"userId":"{id}","context":{{"signature":"{signature}"}}}}"#);
        assert_eq!(judged(&identify), Err(Reason::BadSignature), "{id}");
    }
    let umlaut = hex("a b-ü");
    assert_eq!(named(&track("a b-ü", &umlaut), true, Trust::Client), Identity::Proven);
    // Nor can I bring somebody else into an account.
    let group = |event: &str| {
        let shape = Shape::Single(EventType::Group);
        let batch = WireBatch::parse(event.as_bytes(), shape).unwrap();
        let sender = Sender {
            identity_secrets: &secrets,
            ..Sender::new("web".parse().unwrap(), Timestamp::from_unix_ms(NOW))
        };
        validate(&batch, shape, &sender, &Memory::new(), || "fresh".into()).events.len()
    };
    assert_eq!(group(r#"{"userId":"u-1","groupId":"g"}"#), 0);
    let with = format!(r#"{{"userId":"u-1","groupId":"g","context":{{"signature":"{new}"}}}}"#);
    assert_eq!((group(&with), group(r#"{"anonymousId":"a","groupId":"g"}"#)), (1, 1));
    // An alias has to be signed for both: with my own signature I cannot take what another has.
    let alias = |signature: &str| {
        let event = format!(
            r#"{{"userId":"u-1","previousId":"victim","context":{{"signature":"{signature}"}}}}"#
        );
        let shape = Shape::Single(EventType::Alias);
        let batch = WireBatch::parse(event.as_bytes(), shape).unwrap();
        let sender = Sender {
            identity_secrets: &secrets,
            ..Sender::new("web".parse().unwrap(), Timestamp::from_unix_ms(NOW))
        };
        validate(&batch, shape, &sender, &Memory::new(), || "fresh".into()).events.len()
    };
    assert_eq!((alias(new), alias("")), (0, 0));
    let pair = |previous: &str, user: &str| {
        let signature = hex("a\nb\nc");
        let event = format!(
            r#"{{"userId":"{user}","previousId":"{previous}","context":{{"signature":"{signature}"}}}}"#
        );
        let batch = WireBatch::parse(event.as_bytes(), Shape::Single(EventType::Alias)).unwrap();
        let sender = Sender {
            identity_secrets: &secrets,
            ..Sender::new("web".parse().unwrap(), Timestamp::from_unix_ms(NOW))
        };
        let shape = Shape::Single(EventType::Alias);
        validate(&batch, shape, &sender, &Memory::new(), || "fresh".into()).events.len()
    };
    assert_eq!((pair("a", "b\\nc"), pair("a\\nb", "c")), (0, 0), "two pairs, one text");
    assert_eq!(alias("7f97663a6d0a0265978a216e933c27ee442a6cf62d580f48a3807c46c024f690"), 1);
}

#[test]
fn the_record_s_own_fields_cannot_be_forged() {
    let event = one(
        r#"{"type":"track","event":"A","messageId":"m","anonymousId":"a","userId":"u","offset":"9",
        "source":"bank","trust":"server","orderKey":"x","origin":"import","receivedAt":"r","writeKey":"k",
        "timestamp":"2026-11-22T00:00:00Z","originalTimestamp":"o","sentAt":"s","properties":{ "a" : [1,
        2]},"custom":1}"#,
    )
    .unwrap();
    assert_eq!(
        &*event.json,
        r#"{"type":"track","event":"A","messageId":"m","anonymousId":"a","userId":"u","properties":{ "a" : [1,         2]},"custom":1}"#
    );
    assert_eq!((&*event.order_key, &*event.message_id, &*event.source), ("a", "m", "web"));
    assert_eq!(event.claimed_time.unwrap().to_string(), "2026-11-22T00:00:00.000Z");
    assert!(event.flags.test, "as the source says");
}

#[test]
fn the_path_gives_a_single_event_its_type() {
    let body = r#"{"type":"page","event":"A","userId":"u","writeKey":"k"}"#;
    let event = run(Shape::Single(EventType::Track), body, None).events.remove(0);
    assert_eq!(&*event.json, r#"{"type":"track","messageId":"fresh","event":"A","userId":"u"}"#);
    assert_eq!((&*event.order_key, &*event.message_id), ("u", "fresh"));
    assert_eq!((event.event_time, event.claimed_time), (None, None));
}

#[test]
fn what_a_batch_says_for_all_is_merged_in() {
    let body = r#"{"context":{"app":"x","ip":"1"},"integrations":{"All":true},"batch":[
        {"type":"page","messageId":"1","userId":"u","context":{"ip":"2","headwater":{"queue":"q","seq":3}}},
        {"type":"page","messageId":"2","userId":"u","integrations":{"All":false}},
        {"type":"page","messageId":"3","userId":"u","context":null,"integrations":null}]}"#;
    let stored: Vec<_> = run(Shape::Batch, body, None).events;
    let json: Vec<_> = stored.iter().map(|event| &*event.json).collect();
    assert_eq!(
        json,
        [
            r#"{"type":"page","messageId":"1","userId":"u","context":{"app":"x","ip":"2","headwater":{"queue":"q","seq":3}},"integrations":{"All":true}}"#,
            r#"{"type":"page","messageId":"2","userId":"u","integrations":{"All":false},"context":{"app":"x","ip":"1"}}"#,
            r#"{"type":"page","messageId":"3","userId":"u","context":{"app":"x","ip":"1"},"integrations":{"All":true}}"#,
        ]
    );
    assert_eq!(stored[0].sequence.as_ref().unwrap().seq, 3);
}

#[test]
fn a_repeated_name_counts_once_and_the_last_wins() {
    let event =
        one(r#"{"type":"page","userId":"a","messageId":"1","userId":"b","message\u0049d":"2"}"#);
    let event = event.unwrap();
    assert_eq!((&*event.order_key, &*event.message_id), ("b", "2"));
    assert_eq!(&*event.json, r#"{"type":"page","userId":"b","messageId":"2"}"#);
}

#[test]
fn the_body_s_hash_is_blind_to_the_stamp_only() {
    let hash = |event: &str| one(event).unwrap().body_hash;
    let event = |name: &str, seq: u32| {
        format!(
            r#"{{"type":"track","event":"{name}","messageId":"m","userId":"u","context":{{"headwater":{{"queue":"q","seq":{seq}}}}}}}"#
        )
    };
    assert_eq!(hash(&event("A", 1)), hash(&event("A", 2)));
    assert_ne!(hash(&event("A", 1)), hash(&event("B", 1)));
}

#[test]
fn time_is_corrected_by_when_it_was_sent() {
    let body = r#"{"sentAt":"2020-01-01T00:00:10Z","batch":[
        {"type":"page","userId":"u","timestamp":"2020-01-01T00:00:00Z"},
        {"type":"page","userId":"u","timestamp":"yesterday"},
        {"type":"page","userId":"u","timestamp":1577836800000}]}"#;
    let events = run(Shape::Batch, body, None).events;
    assert_eq!(events[2].event_time, events[0].event_time);
    assert!(
        events[1].json.ends_with(r#","originalTimestamp":"yesterday"}"#),
        "kept as it was claimed"
    );
    assert_eq!(events[0].event_time.unwrap().unix_ms(), NOW - 10_000);
    assert_eq!((events[1].event_time, events[1].claimed_time), (None, None));
}

#[test]
fn rudderstack_s_clients_claim_a_time_under_its_other_name() {
    let event = |times: &str| one(&format!(r#"{{"type":"page","userId":"u",{times}}}"#)).unwrap();
    let other = r#""originalTimestamp":"2020-01-01T00:00:00Z""#;
    assert_eq!(event(other).claimed_time.unwrap().to_string(), "2020-01-01T00:00:00.000Z");
    let both = event(&format!(r#"{other},"timestamp":"2021-01-01T00:00:00Z""#));
    assert_eq!(both.claimed_time.unwrap().to_string(), "2021-01-01T00:00:00.000Z");
}

#[test]
fn brackets_in_texts_are_not_depth() {
    let text = "[{".repeat(200);
    one(&format!(r#"{{"type":"page","userId":"u","properties":{{"a":"\"{text}"}}}}"#)).unwrap();
}

/// JSON that looks like events, often enough.
fn json() -> impl Strategy<Value = String> {
    let names = fields::FIELDS.map(|(name, _)| name.to_owned());
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("\"track\"".to_owned()),
        Just("\"2026-01-01T00:00:00Z\"".to_owned()),
        Just(r#"{"headwater":{"queue":"q","seq":1}}"#.to_owned()),
        any::<i64>().prop_map(|n| n.to_string()),
        any::<String>().prop_map(|text| serde_json::Value::from(text).to_string()),
    ];
    leaf.prop_recursive(4, 32, 6, move |inner| {
        let name = prop_oneof![prop::sample::select(names.to_vec()), any::<String>()];
        let member = (name, inner.clone())
            .prop_map(|(name, value)| format!("{}:{value}", serde_json::Value::from(name)));
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(|items| format!("[{}]", items.join(",\n"))),
            prop::collection::vec(member, 0..9).prop_map(|all| format!("{{{}}}", all.join(","))),
        ]
    })
}

proptest! {
    #[test]
    fn each_event_has_one_outcome_and_is_stored_as_one_line_of_json(
        events in prop::collection::vec(json(), 0..5),
        shared in json(),
    ) {
        let body = format!("{{\"context\":{shared},\"integrations\":{shared},\"batch\":[{}]}}", events.join(","));
        let sorted = run(Shape::Batch, &body, None);
        prop_assert_eq!(sorted.events.len(), sorted.indexes.len());
        let mut all: Vec<_> = sorted.indexes.clone();
        all.extend(sorted.refused.iter().map(|refused| refused.index));
        all.sort_unstable();
        prop_assert_eq!(all, (0..events.len()).collect::<Vec<_>>());
        for event in sorted.events {
            prop_assert!(!event.json.contains(['\n', '\r']));
            let stored: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&event.json).unwrap();
            prop_assert_eq!(stored["messageId"].as_str(), Some(&*event.message_id));
        }
    }
}

#[test]
fn what_a_batch_says_for_all_counts_for_each_and_is_bounded_in_sum() {
    let batch = |shared: usize, events: usize| {
        let event = r#"{"type":"page","userId":"u"}"#;
        let events = vec![event; events].join(",");
        let body = format!(r#"{{"context":{{"a":"{}"}},"batch":[{events}]}}"#, "x".repeat(shared));
        run(Shape::Batch, &body, None)
    };
    assert_eq!(batch(1_000, 100).refused.len(), 0);
    assert_eq!(batch(MAX_EVENT_BYTES, 3).refused.len(), 3);
    let sorted = batch(20_000, 9_000);
    let stored: usize = sorted.events.iter().map(|event| event.json.len()).sum();
    assert!(stored < 2 * MAX_SHARED_BYTES, "{stored} bytes of a request of 300 KB");
    assert!(
        !sorted.events.is_empty() && sorted.refused.iter().all(|r| r.reason == Reason::TooLarge)
    );
}

#[test]
fn a_context_that_cannot_be_taken_apart_is_refused_and_never_replaced() {
    let odd = r#"{"\ud800":1,"page":{"url":"https://shop.example/"}}"#;
    let own = format!(
        r#"{{"context":{{"ip":"1"}},"batch":[{{"type":"page","userId":"u","context":{odd}}}]}}"#
    );
    let shared = format!(r#"{{"context":{odd},"batch":[{{"type":"page","userId":"u"}}]}}"#);
    for body in [own, shared] {
        let sorted = run(Shape::Batch, &body, None);
        assert_eq!(
            (sorted.events.len(), sorted.refused[0].reason),
            (0, Reason::InvalidField),
            "{body}"
        );
    }
}
