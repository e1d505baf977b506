//! Readers that fetch events: leased to one at a time, in order, until they are acknowledged.
#![allow(clippy::unwrap_used, reason = "what a test expects, it unwraps, in its functions too")]

use std::{
    collections::{HashMap, HashSet},
    path::Path,
    time::{Duration, Instant},
};

use crate::server::{self, PATIENCE, Server, client, ids, track};
use serde_json::{Value, json};

struct Reader {
    url: String,
    token: String,
}

impl Reader {
    fn of(server: &Server, folder: &Path) -> Self {
        if let Some(token) = &server.new_token {
            std::fs::write(folder.join("token"), token).unwrap();
        }
        let token = std::fs::read_to_string(folder.join("token")).unwrap();
        Self { url: server.at("/v1/consumers/lake"), token }
    }

    async fn take(&self, query: &str) -> Value {
        let get = client().get(format!("{}/events?{query}", self.url)).bearer_auth(&self.token);
        let answer = get.send().await.unwrap();
        assert_eq!(answer.status(), 200);
        server::json(answer).await
    }

    async fn ack(&self, body: Value) -> (u16, Value) {
        let post = client().post(format!("{}/ack", self.url)).bearer_auth(&self.token);
        let answer = post.body(body.to_string()).send().await.unwrap();
        (answer.status().as_u16(), server::json(answer).await)
    }

    async fn order(&self, path: &str, body: Value) -> Value {
        let post = client().post(format!("{}{path}", self.url)).bearer_auth(&self.token);
        let answer = post.body(body.to_string()).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        server::json(answer).await
    }

    async fn get(&self, path: &str) -> Value {
        let get = client().get(format!("{}{path}", self.url)).bearer_auth(&self.token);
        server::json(get.send().await.unwrap()).await
    }
}

fn events(lease: &Value) -> Vec<String> {
    ids(lease["events"].as_array().unwrap())
}

const PULL: &str = "[consumers.lake]\nkind = 'pull'\n";

#[tokio::test]
async fn what_is_acknowledged_is_done_and_the_rest_comes_again_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with(folder.path(), PULL).await;
    let reader = Reader::of(&server, folder.path());
    assert_eq!(reader.take("").await, json!({"lease": null, "events": []}));
    let all: Vec<_> = (0..6).map(|n| track(n, "d")).collect();
    server.batch(&all).await;
    let lease = reader.take("limit=4&wait=20").await;
    assert_eq!(
        (events(&lease), &lease["lease_ms"]),
        (vec!["0".into(), "1".into(), "2".into(), "3".into()], &json!(30_000))
    );
    // Same device: what comes after waits until this is acknowledged.
    assert_eq!(reader.take("").await["lease"], Value::Null);
    let offset = &lease["events"][2]["offset"];
    // The second time since the answer may have been lost; it changes nothing, and is not about what others have now.
    for _ in 0..2 {
        let (status, settled) = reader.ack(json!({"lease": lease["lease"], "upto": offset})).await;
        let expected = json!({"acknowledged": 3, "parked": 0, "returned": 1});
        assert_eq!((status, settled), (200, expected));
    }
    let (status, other) = reader.ack(json!({"lease": lease["lease"]})).await;
    assert_eq!((status, &other["error"]["code"]), (410, &json!("no_such_lease")));
    assert_eq!(events(&reader.take("limit=2").await), ["3", "4"]);
    assert_eq!(reader.ack(json!({"lease": lease["lease"], "upto": offset})).await.0, 200);
    assert_eq!(reader.get("").await["under_way"], 1, "the lease of 3 and 4 stands");
    server.stop().await;

    let server = Server::start_with(folder.path(), PULL).await;
    let reader = Reader::of(&server, folder.path());
    let lease = reader.take("wait=20").await;
    assert_eq!(
        events(&lease),
        ["3", "4", "5"],
        "the lease ended with the server, the cursor did not"
    );
    reader.ack(json!({"lease": lease["lease"]})).await;
    let shown = reader.get("").await;
    assert_eq!(
        (&shown["state"], &shown["kind"], &shown["lag_events"]),
        (&json!("drained"), &json!("pull"), &json!(0))
    );
    server.stop().await;
}

#[tokio::test]
async fn a_reader_that_dies_loses_nothing_its_events_go_to_another() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with(folder.path(), &format!("{PULL}lease = '3s'\n")).await;
    let reader = Reader::of(&server, folder.path());
    server.batch(&[track("1", "d"), track("2", "d")]).await;
    let dead = reader.take("wait=20").await;
    let next = reader.take("wait=20").await;
    assert_eq!(events(&dead), events(&next));
    let (status, _) = reader.ack(json!({"lease": dead["lease"]})).await;
    assert_eq!(status, 410, "it is another's now");
    let (status, _) = reader.ack(json!({"lease": next["lease"]})).await;
    assert_eq!(status, 200);
    server.stop().await;
}

#[tokio::test]
async fn a_waiting_reader_gets_an_event_as_it_is_stored_and_nothing_when_its_time_is_up() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with(folder.path(), PULL).await;
    let reader = Reader::of(&server, folder.path());
    let began = Instant::now();
    assert_eq!(reader.take("wait=1").await["lease"], Value::Null);
    assert!(began.elapsed() >= Duration::from_secs(1));
    let waiting = Reader { url: reader.url.clone(), token: reader.token.clone() };
    let waiting = tokio::spawn(async move { waiting.take("wait=25").await });
    let began = Instant::now();
    server.batch(&[track("1", "d")]).await;
    assert_eq!(events(&waiting.await.unwrap()), ["1"]);
    assert!(began.elapsed() < Duration::from_secs(20), "it did not wait to the end");
    // One that waits does not hold up the end of the server.
    let waiting = Reader { url: reader.url.clone(), token: reader.token.clone() };
    let waiting = tokio::spawn(async move { waiting.take("wait=30").await });
    let shown =
        tokio::time::timeout(PATIENCE, async { while reader.get("").await["under_way"] != 1 {} });
    shown.await.unwrap();
    server.stop().await;
    drop(waiting);
}

#[tokio::test]
async fn failed_events_are_parked_and_can_be_fetched_again() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with(folder.path(), PULL).await;
    let reader = Reader::of(&server, folder.path());
    server.batch(&[track("1", "d"), track("2", "d"), track("3", "d")]).await;
    let lease = reader.take("wait=20").await;
    let failed = json!([{"offset": lease["events"][1]["offset"], "reason": "no such column"}]);
    let (status, settled) = reader.ack(json!({"lease": lease["lease"], "failed": failed})).await;
    assert_eq!((status, settled), (200, json!({"acknowledged": 2, "parked": 1, "returned": 0})));
    let parked = reader.get("/parked").await;
    assert_eq!(
        (&parked["parked"][0]["messageId"], &parked["parked"][0]["reason"]),
        (&json!("2"), &json!("no such column"))
    );
    reader.order("/parked/redrive", json!({"all": true})).await;
    let lease = reader.take("wait=20").await;
    assert_eq!(events(&lease), ["2"]);
    reader.ack(json!({"lease": lease["lease"]})).await;
    assert_eq!(reader.get("/parked").await["parked"], json!([]));
    server.stop().await;
}

#[tokio::test]
async fn a_parked_event_that_is_dropped_while_a_reader_has_it_does_not_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with(folder.path(), PULL).await;
    let reader = Reader::of(&server, folder.path());
    server.batch(&[track("1", "d"), track("2", "e")]).await;
    let lease = reader.take("wait=20").await;
    let all = lease["events"].as_array().unwrap().iter();
    let failed: Vec<_> = all.map(|event| json!({"offset": event["offset"]})).collect();
    reader.ack(json!({"lease": lease["lease"], "failed": failed})).await;
    assert_eq!(reader.order("/parked/redrive", json!({"all": true})).await["events"], 2);
    let lease = reader.take("wait=20").await;
    assert_eq!(events(&lease), ["1", "2"]);
    assert_eq!(reader.order("/parked/drop", json!({"offsets": ["1"]})).await["events"], 1);
    // It is done with: what is behind it goes at once, and not when the lease ends.
    server.batch(&[track("3", "d")]).await;
    let next = reader.take("wait=20").await;
    assert_eq!(events(&next), ["3"]);
    // Nobody parks it any more, and nobody is told so.
    let (status, settled) = reader.ack(json!({"lease": lease["lease"], "failed": failed})).await;
    assert_eq!((status, settled), (200, json!({"acknowledged": 0, "parked": 1, "returned": 0})));
    let parked = reader.get("/parked").await;
    assert_eq!(parked["parked"].as_array().unwrap().len(), 1, "{parked}");
    assert_eq!(parked["parked"][0]["messageId"], "2");
    // Before anyone has it, too.
    reader.order("/parked/redrive", json!({"all": true})).await;
    reader.order("/parked/drop", json!({"all": true})).await;
    server.batch(&[track("4", "e")]).await;
    assert_eq!(events(&reader.take("wait=20").await), ["4"]);
    assert_eq!(reader.take("").await["lease"], Value::Null);
    server.stop().await;
}

#[tokio::test]
async fn lines_of_json_have_the_lease_in_a_header() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with(folder.path(), PULL).await;
    let reader = Reader::of(&server, folder.path());
    server.batch(&[track("1", "d"), track("2", "e")]).await;
    let get = client().get(format!("{}/events?wait=20", reader.url)).bearer_auth(&reader.token);
    let answer = get.header("accept", "application/x-ndjson").send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "application/x-ndjson");
    let lease = answer.headers()["headwater-lease"].to_str().unwrap().to_owned();
    let text = answer.text().await.unwrap();
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(ids(&events), ["1", "2"]);
    assert_eq!(reader.ack(json!({"lease": lease})).await.0, 200);
    server.stop().await;
}

#[tokio::test]
async fn many_readers_share_the_work_and_each_device_keeps_its_order() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with(folder.path(), PULL).await;
    let reader = Reader::of(&server, folder.path());
    let all: Vec<_> = (0..1500).map(|n| track(n, &format!("d{}", n % 13))).collect();
    for batch in all.chunks(100) {
        server.batch(batch).await;
    }
    let (done, mut finished) = tokio::sync::mpsc::unbounded_channel();
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let (reader, done) =
            (Reader { url: reader.url.clone(), token: reader.token.clone() }, done.clone());
        readers.spawn(async move {
            loop {
                let lease = reader.take("limit=40&wait=1").await;
                if lease["lease"].is_null() {
                    return;
                }
                for event in lease["events"].as_array().unwrap() {
                    let device = event["anonymousId"].as_str().unwrap().to_owned();
                    done.send((device, event["messageId"].as_str().unwrap().to_owned())).unwrap();
                }
                assert_eq!(reader.ack(json!({"lease": lease["lease"]})).await.0, 200);
            }
        });
    }
    drop(done);
    let (mut seen, mut last) = (HashSet::new(), HashMap::new());
    while let Some((device, id)) = finished.recv().await {
        let number: u32 = id.parse().unwrap();
        assert!(seen.insert(number), "{number} came twice");
        let before = last.insert(device.clone(), number);
        assert!(before.is_none_or(|before| before < number), "{device}: {number} after {before:?}");
    }
    assert_eq!(seen.len(), 1500);
    while let Some(ended) = readers.join_next().await {
        ended.unwrap();
    }
    server.stop().await;
}
