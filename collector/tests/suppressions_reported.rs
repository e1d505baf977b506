//! What mail services report after they took a mail, over the real server: bounces and complaints that a server's event tells go onto the
//! suppression list by themselves, once; and nothing that anybody can claim does. Waits for conditions only.
#![allow(clippy::unwrap_used, reason = "what a test expects, it unwraps, in its functions too")]

use std::{
    path::Path,
    time::{Duration, Instant},
};

use crate::server::{self, PATIENCE, Server, client};
use serde_json::{Value, json};

struct World {
    folder: tempfile::TempDir,
    toml: &'static str,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let toml = "[sources.app]\nwrite_key = 'app'\ntrust = 'server'\n[sources.page]\nwrite_key = 'page'\n\
                    [sources.trial]\nwrite_key = 'trial'\ntrust = 'server'\ntest = true\n";
        Self { folder, toml }
    }

    fn data(&self) -> std::path::PathBuf {
        self.folder.path().join("data")
    }

    async fn start(&self) -> Server {
        Server::start_with(&self.data(), self.toml).await
    }
}

async fn send(server: &Server, path: &str, key: &str, events: &[Value]) {
    let body = json!({ "writeKey": key, "batch": events }).to_string();
    let answer = client().post(server.at(path)).body(body).send().await.unwrap();
    assert_eq!(answer.status(), 200);
}

/// Each address on the list with its reason and whose word it was, in the order of addresses.
async fn list(server: &Server, token: &str) -> Vec<String> {
    let request = client().get(server.at("/v1/suppressions?limit=1000")).bearer_auth(token);
    let list = server::json(request.send().await.unwrap()).await;
    let words = |it: &Value| format!("{} {} {}", it["address"], it["reason"], it["by"]);
    let all = list["suppressions"].as_array().unwrap();
    let mut all: Vec<_> = all.iter().map(|it| words(it).replace('"', "")).collect();
    all.sort();
    all
}

/// The list once this address is on it.
async fn list_with(server: &Server, token: &str, address: &str) -> Vec<String> {
    let begun = Instant::now();
    loop {
        let list = list(server, token).await;
        if list.iter().any(|it| it.starts_with(&format!("{address} "))) {
            return list;
        }
        assert!(begun.elapsed() < PATIENCE, "{address} is not in {list:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn remove(server: &Server, token: &str, address: &str) {
    let body = json!({ "addresses": [address] }).to_string();
    let request = client().post(server.at("/v1/suppressions/remove")).bearer_auth(token);
    let answer = server::json(request.body(body).send().await.unwrap()).await;
    assert_eq!(answer["removed"], 1);
}

/// One that says it of an address, by way of its properties.
fn event(name: &str, address: &str, more: &Value) -> Value {
    let mut properties = json!({ "email": address });
    let members = more.as_object().cloned().unwrap_or_default();
    properties.as_object_mut().unwrap().extend(members);
    let id = format!("{name}:{address}");
    json!({"type": "track", "event": name, "userId": "u-1", "messageId": id, "properties": properties})
}

fn bounced(address: &str) -> Value {
    event("Email Bounced", address, &Value::Null)
}

#[tokio::test]
async fn what_a_server_reports_goes_onto_the_list_and_what_passes_does_not() {
    let world = World::new();
    let server = world.start().await;
    let token = server.new_token.clone().unwrap();
    let of = |name: &str, who: &str, more: Value| event(name, &format!("{who}@b.example"), &more);
    let mut events = vec![
        of("Email Bounced", "bare", Value::Null),
        of("Email Bounced", "Hard", json!({"bounce_type": "HardBounce", "status": "5.1.1"})),
        of("Email Bounced", "permanent", json!({"bounce_type": "Permanent"})),
        of("Email Bounced", "sendgrid", json!({"bounce_type": "bounce", "status": "5.0.0"})),
        of("Email Marked as Spam", "spam", Value::Null),
        of("Unsubscribed", "stop", Value::Null),
        of("Email Unsubscribed", "stop-too", Value::Null),
    ];
    let context = json!({ "traits": { "email": "trait@b.example" } });
    events.push(json!({"type": "track", "event": "Email Bounced", "anonymousId": "d-1", "messageId": "t-1", "context": context}));
    // What passes, what is somebody's, what is of one list, and what is something else.
    for (n, more) in [
        json!({"bounce_type": "soft"}),
        json!({"bounce_type": "SoftBounce"}),
        json!({"bounce_type": "blocked"}),
        json!({"bounce_type": "Transient"}),
        json!({"status": "4.2.1"}),
        json!({"status": "5.2.2"}),
        json!({"bounce_type": "hard", "status": "5.7.1"}),
    ]
    .into_iter()
    .enumerate()
    {
        events.push(of("Email Bounced", &format!("no-{n}"), more));
    }
    events.push(of("Unsubscribed", "no-list", json!({"list_id": "weekly"})));
    events.push(of("Email Unsubscribed", "no-group", json!({"group_id": 10})));
    events.push(of("Email Dropped", "no-drop", Value::Null));
    events.push(of("email bounced", "no-case", Value::Null));
    let page = json!({"type": "page", "name": "Email Bounced", "event": "Email Bounced", "userId": "u-1", "messageId": "p-1", "properties": {"email": "no-page@b.example"}});
    events.push(page);
    events.push(event("Email Bounced", "nobody", &Value::Null));
    events.push(event("Email Bounced", "+49301234567", &Value::Null));
    events.push(bounced("zz-last@b.example"));
    send(&server, "/v1/batch", "app", &events).await;
    let all = list_with(&server, &token, "zz-last@b.example").await;
    let expected = [
        "bare@b.example bounced app",
        "hard@b.example bounced app",
        "permanent@b.example bounced app",
        "sendgrid@b.example bounced app",
        "spam@b.example complained app",
        "stop-too@b.example unsubscribed app",
        "stop@b.example unsubscribed app",
        "trait@b.example bounced app",
        "zz-last@b.example bounced app",
    ];
    assert_eq!(all, expected);
    server.stop().await;
}

#[tokio::test]
async fn nobody_else_is_believed() {
    let world = World::new();
    let server = world.start().await;
    let token = server.new_token.clone().unwrap();
    send(&server, "/v1/batch", "page", &[bounced("page@b.example")]).await;
    send(&server, "/v1/batch", "trial", &[bounced("trial@b.example")]).await;
    send(&server, "/v1/batch", "app", &[bounced("last@b.example")]).await;
    let all = list_with(&server, &token, "last@b.example").await;
    assert_eq!(all, ["last@b.example bounced app"]);
    server.stop().await;
}

#[tokio::test]
async fn what_was_taken_off_the_list_stays_off_it() {
    let world = World::new();
    let server = world.start().await;
    let token = server.new_token.clone().unwrap();
    let first = bounced("first@b.example");
    send(&server, "/v1/batch", "app", std::slice::from_ref(&first)).await;
    list_with(&server, &token, "first@b.example").await;
    remove(&server, &token, "first@b.example").await;
    // The same delivery again, and the same log again.
    send(&server, "/v1/batch", "app", &[first, bounced("second@b.example")]).await;
    assert_eq!(
        list_with(&server, &token, "second@b.example").await,
        ["second@b.example bounced app"]
    );
    remove(&server, &token, "second@b.example").await;
    server.stop().await;
    let server = world.start().await;
    send(&server, "/v1/batch", "app", &[bounced("third@b.example")]).await;
    assert_eq!(
        list_with(&server, &token, "third@b.example").await,
        ["third@b.example bounced app"]
    );
    server.stop().await;
}

/// As after a kill: what was stored and not yet listened to.
#[tokio::test]
async fn what_came_as_the_collector_ended_is_heard_at_the_next_start() {
    let world = World::new();
    let server = world.start().await;
    let token = server.new_token.clone().unwrap();
    send(&server, "/v1/batch", "app", &[bounced("first@b.example")]).await;
    list_with(&server, &token, "first@b.example").await;
    server.stop().await;
    set(&world.data(), "DELETE FROM suppression_list; UPDATE heard SET up_to = 0");
    let server = world.start().await;
    assert_eq!(
        list_with(&server, &token, "first@b.example").await,
        ["first@b.example bounced app"]
    );
    server.stop().await;
    // Where nobody knows how far it was heard, it begins at the end: with another log, with an older release's file.
    for sql in ["UPDATE heard SET up_to = 1000000", "DELETE FROM heard"] {
        set(&world.data(), &format!("DELETE FROM suppression_list; {sql}"));
        let server = world.start().await;
        let last = format!("{}@b.example", sql.len());
        send(&server, "/v1/batch", "app", &[bounced(&last)]).await;
        assert_eq!(list_with(&server, &token, &last).await, [format!("{last} bounced app")]);
        server.stop().await;
    }
}

fn set(data: &Path, sql: &str) {
    rusqlite::Connection::open(data.join("state.db")).unwrap().execute_batch(sql).unwrap();
}
