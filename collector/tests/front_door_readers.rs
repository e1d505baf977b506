//! Readers over HTTP in numbers, and before a log with a hole: `GET /v1/events` and `GET /v1/live`.
#![allow(clippy::unwrap_used, reason = "what a test expects, it unwraps, in its functions too")]

use crate::stored;
use std::{path::Path, sync::Arc};

use crate::server::{PATIENCE, Server, client, json as read_json, track};
use headwater_collector::{event_log::FileSystem, limits::HttpLimits};
use serde_json::{Value, json};
use tokio::time::timeout;

#[tokio::test]
async fn readers_have_places_and_a_place_that_is_left_is_free() {
    let folder = tempfile::tempdir().unwrap();
    let limits = HttpLimits { readers: 2, ..HttpLimits::default() };
    let server = Server::start_limited(folder.path(), "", Arc::new(FileSystem), limits).await;
    let token = server.new_token.clone().unwrap();
    let read = async |path| client().get(server.at(path)).bearer_auth(&token).send().await.unwrap();
    let mut sitting = vec![read("/v1/live").await, read("/v1/live").await];
    for path in ["/v1/live", "/v1/events"] {
        let answer = read(path).await;
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["retry-after"]),
            (503, &"5".parse().unwrap())
        );
        assert_eq!(read_json(answer).await["error"]["code"], "too_many_readers");
        let head = client().head(server.at(path)).bearer_auth(&token).send().await.unwrap();
        assert_eq!(head.status(), 200, "nobody sits down to ask");
    }
    assert_eq!(server.batch(&[track("a", "d")]).await["accepted"], 1, "senders are not readers");
    sitting.pop();
    let free = async { while read("/v1/events").await.status() != 200 {} };
    timeout(PATIENCE, free).await.expect("its place is free");
    drop(sitting);
    server.stop().await;
}

/// Changes a byte of one stored event, and says its offset.
fn damage(data: &Path) -> u64 {
    let sealed = stored::segments(data)[1].clone();
    let mut bytes = std::fs::read(&sealed).unwrap();
    let at = bytes.windows(11).rposition(|window| window == b"\"messageId\"").unwrap();
    let id: String = bytes[at + 13..]
        .iter()
        .map(|&byte| char::from(byte))
        .take_while(char::is_ascii_digit)
        .collect();
    bytes[at] ^= 1;
    std::fs::write(&sealed, bytes).unwrap();
    // Event `0` is at offset 1.
    id.parse::<u64>().unwrap() + 1
}

#[tokio::test]
async fn who_reads_past_damage_is_told_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    stored::fill(folder.path(), 100).await;
    let damaged = damage(folder.path());
    let server = Server::start(folder.path()).await;
    let token = server.new_token.as_ref().unwrap();
    let offset = damaged.to_string();
    let is_told = |line: &Value| {
        let detail = line["detail"].as_str().unwrap();
        assert!(detail.contains("damaged"), "{detail}");
        let range = json!({"from": offset, "to": offset});
        assert_eq!(
            line,
            &json!({"type": "damage", "offset": offset, "damaged": range, "detail": detail})
        );
    };
    let openapi = read_json(client().get(server.at("/openapi.json")).send().await.unwrap()).await;
    let schema =
        json!({"$ref": "#/components/schemas/Damage", "components": openapi["components"]});
    let schema = jsonschema::validator_for(&schema).unwrap();

    // In its place among the lines, …
    let lines = server.events(token).await;
    let offsets: Vec<u64> =
        lines.iter().map(|line| line["offset"].as_str().unwrap().parse().unwrap()).collect();
    assert_eq!(offsets, (1..=100).collect::<Vec<_>>());
    let place = usize::try_from(damaged).unwrap() - 1;
    for (at, line) in lines.iter().enumerate() {
        assert_eq!(line["type"], if at == place { "damage" } else { "track" });
    }
    is_told(&lines[place]);
    assert!(schema.is_valid(&lines[place]), "{}", lines[place]);
    // … also where a page begins with it; it is no event, which a limit would count; and behind it all goes on.
    let page = format!("/v1/events?after={}&limit=2", damaged - 1);
    let page = server.events_at(token, &page).await;
    is_told(&page[0]);
    assert_eq!(page.len(), 3);
    let behind = server.events_at(token, &format!("/v1/events?after={damaged}&limit=2")).await;
    assert_eq!(behind, page[1..]);

    // The live stream has a kind of message for it, with an id to go on from.
    let after = format!("/v1/live?after={}", damaged - 2);
    let mut stream = client().get(server.at(&after)).bearer_auth(token).send().await.unwrap();
    let mut text = String::new();
    while text.matches("\ndata: ").count() < 3 || !text.ends_with("\n\n") {
        let piece = timeout(PATIENCE, stream.chunk()).await.unwrap().unwrap().unwrap();
        text.push_str(std::str::from_utf8(&piece).unwrap());
    }
    let messages: Vec<&str> =
        text.split("\n\n").filter(|message| message.contains("data: ")).collect();
    let begin = format!("event: damage\nid: {offset}\ndata: ");
    is_told(&serde_json::from_str(messages[1].strip_prefix(&begin).unwrap()).unwrap());
    assert!(messages[0].starts_with(&format!("id: {}\n", damaged - 1)), "{}", messages[0]);
    assert!(messages[2].starts_with(&format!("id: {}\n", damaged + 1)), "{}", messages[2]);
    drop(stream);
    server.stop().await;
}

#[tokio::test]
async fn who_exports_a_person_is_told_what_cannot_be_read() {
    let folder = tempfile::tempdir().unwrap();
    stored::fill(folder.path(), 100).await;
    let server = Server::start(folder.path()).await;
    let token = server.new_token.clone().unwrap();
    let read = async |server: &Server, path: &str| {
        client().get(server.at(path)).bearer_auth(&token).send().await.unwrap()
    };
    let up_to_date = async |server: &Server| {
        let at = read_json(read(server, "/v1/projection").await).await;
        at["applied"] == at["end"]
    };
    let caught_up = async { while !up_to_date(&server).await {} };
    timeout(PATIENCE, caught_up).await.unwrap();
    server.stop().await;
    damage(folder.path());

    let server = Server::start(folder.path()).await;
    let exported = read(&server, "/v1/people/anonymous:anon/export").await.text().await.unwrap();
    let lines: Vec<Value> =
        exported.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2 + 99 + 1);
    assert_eq!(lines.last().unwrap(), &json!({"unreadable": 1}));
    let timeline = "/v1/people/anonymous:anon/timeline?limit=1000";
    assert_eq!(read_json(read(&server, timeline).await).await["unreadable"], 1);
    server.stop().await;
}
