//! The event log through its public face, on a real folder and on a disk that fails, delays and loses power on command.

#![allow(clippy::unwrap_used, reason = "a test says what it expects by unwrapping it")]
use std::sync::Arc;

use headwater_collector::event_log::*;

fn event(id: &str) -> NewEvent {
    NewEvent {
        message_id: id.into(),
        source: "web".parse().unwrap(),
        trust: Trust::Client,
        origin: Origin::Sent,
        order_key: "anon".into(),
        sequence: None,
        dropped: Vec::new(),
        event_time: None,
        claimed_time: None,
        schema_version: 0,
        flags: Flags::default(),
        body_hash: 0,
        json: format!(r#"{{"type":"track","event":"Clicked","messageId":"{id}"}}"#).into(),
    }
}

#[tokio::test]
async fn what_is_appended_is_read_once_and_again_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    for life in 0..3 {
        let (log, recovered) =
            EventLog::open(dir.path(), Options::default(), Arc::new(FileSystem), system_clock())
                .unwrap();
        assert_eq!((recovered.cut, recovered.damaged), (None, Vec::new()));
        let expected = if life == 0 { [Appended::Accepted; 3] } else { [Appended::Duplicate; 3] };
        let answer = log.append(vec![event("1"), event("2"), event("3")]).await;
        assert_eq!(answer.unwrap(), expected);
        let records = log.reader(None).next_chunk(100).unwrap();
        let ids: Vec<&str> = records.iter().map(|r| &*r.message_id).collect();
        assert_eq!(ids, ["1", "2", "3"]);
    }
}
