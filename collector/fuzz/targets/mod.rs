//! What is fuzzed: bytes from outside in, and what must hold whatever they are. Run by cargo-fuzz with inputs of its own
//! (`make fuzz`), and by `tests/fuzz_seeds.rs` with those under `seeds`.
//! Promises to panic when, and only when, the collector breaks a promise. Deliberately knows nothing of who makes the bytes.
#![allow(dead_code, reason = "each fuzzer runs one of them")]

mod recovery;

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
    path::Path,
    time::{Duration, Instant},
};

use bytes::Bytes;
use headwater_collector::{
    config::{Config, Ip},
    decode::{Encoding, EventType, Shape, WireBatch, inflate},
    event_log::{Timestamp, Trust},
    limits::{MAX_BATCH_EVENTS, MAX_EVENT_BYTES},
    validate::{Memory, Sender, validate},
};

pub(crate) use recovery::recovery;

/// Enough for every path of a decoder, and little enough to be quick.
const INFLATED: usize = 64 * 1024;

/// The first byte says what the headers and the path would: encoding and shape. The rest is the body.
pub(crate) fn decode(input: &[u8]) {
    let Some((&how, body)) = input.split_first() else { return };
    let names: [&[u8]; 6] = [b"", b"gzip", b"deflate", b"br", b"zstd", b"x-gzip, identity"];
    let name = names[usize::from(how >> 3) % names.len()];
    let Ok(encoding) = Encoding::of([name].into_iter(), body) else { return };
    let Ok(text) = inflate(Bytes::copy_from_slice(body), encoding, INFLATED) else { return };
    assert!(
        text.len() <= INFLATED,
        "{} bytes, and no more than {INFLATED} were asked for",
        text.len()
    );
    check(&text, how, Trust::Client, MAX_EVENT_BYTES);
}

/// The first two bytes say the shape and what the source is; the rest is a body's text.
pub(crate) fn validate_text(input: &[u8]) {
    let [how, limit, text @ ..] = input else { return };
    let trust = if how & 8 == 0 { Trust::Client } else { Trust::Server };
    let max_event_bytes = match limit {
        0 => MAX_EVENT_BYTES,
        limit => usize::from(*limit) * 8,
    };
    check(text, *how, trust, max_event_bytes);
}

fn shape(how: u8) -> Shape {
    match EventType::ALL.get(usize::from(how & 7)) {
        Some(event_type) => Shape::Single(*event_type),
        None => Shape::Batch,
    }
}

/// Parses and validates: every event of the batch is in the result once, and what is taken is what it says it is.
fn check(text: &[u8], how: u8, trust: Trust, max_event_bytes: usize) {
    let shape = shape(how);
    let Ok(batch) = WireBatch::parse(text, shape) else { return };
    assert!(batch.len() <= MAX_BATCH_EVENTS);
    assert_eq!(batch.events().count(), batch.len());
    let received_at = Timestamp::from_unix_ms(1_763_769_700_000);
    let source = "web".parse().expect("a name");
    let ip = [Ip::Keep, Ip::Truncate, Ip::Drop][usize::from(how >> 3) % 3];
    let client = (how >> 5 & 1 == 1).then_some(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7)));
    let sender = Sender { trust, max_event_bytes, ip, client, ..Sender::new(source, received_at) };
    let memory = Memory::new();
    let sorted = validate(&batch, shape, &sender, &memory, || "fresh".into());

    assert_eq!(sorted.events.len(), sorted.indexes.len());
    let refused = sorted.refused.iter().map(|event| event.index);
    let all: Vec<_> = sorted.indexes.iter().copied().chain(refused).collect();
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len(), "an event has one outcome");
    assert!(
        all.len() == batch.len() && all.iter().all(|index| *index < batch.len()),
        "every event has one"
    );
    for event in &sorted.events {
        // Members that nobody reads are carried as they came, so they may hold what only some parsers take (a lone surrogate).
        let members = WireBatch::members_of(&event.json).expect("what is stored is a JSON object");
        let ids: Vec<String> = members
            .iter()
            .filter(|(name, _)| name == "messageId")
            .map(|(_, value)| serde_json::from_str(value.get()).expect("an id is a text"))
            .collect();
        assert_eq!(ids, [&*event.message_id], "it has its id, once");
        assert!(!event.order_key.is_empty(), "order is kept for someone");
        assert!(event.event_time.is_none_or(|at| at.unix_ms() <= received_at.unix_ms() + 5_000));
        assert!(!event.json.contains('\n'), "an event is one line");
    }
}

/// The text of a configuration file.
pub(crate) fn config(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    match Config::parse(text, Path::new("headwater.toml")) {
        Ok(config) => {
            let shown = format!("{config:?}");
            for source in config.sources.values() {
                for key in &source.write_keys {
                    let key = key.expose().as_str();
                    // Short ones stand in other words.
                    assert!(key.len() < 16 || !shown.contains(key), "a key is printed: {shown}");
                }
            }
        }
        Err(error) => {
            let message = error.to_string();
            let place = message.strip_prefix("headwater.toml:").expect("the file is named");
            let (line, what) = place.split_once(": ").expect("the line is named");
            let line: usize = line.parse().expect("a line has a number");
            assert!((1..=text.split('\n').count()).contains(&line), "line {line} of {text:?}");
            assert!(!what.trim().is_empty());
        }
    }
}

/// The text of a rule file. What is taken is folded over a few events, for ten years of the log's time.
pub(crate) fn rules(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let begun = Instant::now();
    let folded = headwater_collector::rules::testing::fold(text);
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?} for {} bytes", input.len());
    if let Err(error) = folded {
        for error in error.listed().0 {
            assert!(error.line > 0 && !error.message.is_empty(), "{error}");
        }
    }
}
