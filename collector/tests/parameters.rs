//! Parameters and bodies that mean nothing: where we are asked something they are named, and what clients send is taken all the same.
#![allow(clippy::unwrap_used, reason = "what a test expects, it unwraps, in its functions too")]

use crate::server::{Server, client};
use serde_json::{Value, json};

const TOML: &str =
    "[sources.app]\nwrite_key = 'wk_app'\ntrust = 'server'\n[consumers.lake]\nkind = 'pull'\n";

async fn started(folder: &std::path::Path) -> Server {
    Server::start_with(&folder.join("data"), TOML).await
}

async fn error(request: reqwest::RequestBuilder) -> (u16, String, String) {
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    let body: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    let said = |member: &str| body["error"][member].as_str().unwrap_or_default().to_owned();
    (status, said("code"), said("message"))
}

#[tokio::test]
async fn a_parameter_that_nobody_knows_is_named_by_every_path_of_consumers_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let server = started(folder.path()).await;
    let token = server.new_token.clone().unwrap();
    let none = "`forever`: there are no parameters here";
    for (path, message) in [
        ("pause?forever=1", none),
        ("resume?forever=1", none),
        ("seek?forever=1", none),
        ("replay?forever=1", none),
        ("parked/redrive?forever=1", none),
        ("parked/drop?forever=1", none),
        ("ack?forever=1", none),
    ] {
        let order = client().post(server.at(&format!("/v1/consumers/lake/{path}"))).body("{}");
        let expected = (400, "invalid_parameter".to_owned(), message.to_owned());
        assert_eq!(error(order.bearer_auth(&token)).await, expected, "{path}");
    }
    for (path, message) in [
        ("?forever=1", none),
        ("/lake?forever=1", none),
        (
            "/lake/parked?forever=1",
            "`forever` is no parameter here; there are `after`, `events`, `limit`",
        ),
        ("/lake/events?forever=1", "`forever` is no parameter here; there are `limit`, `wait`"),
    ] {
        let asked = client().get(server.at(&format!("/v1/consumers{path}"))).bearer_auth(&token);
        let expected = (400, "invalid_parameter".to_owned(), message.to_owned());
        assert_eq!(error(asked).await, expected, "{path}");
    }
    let lake = client().get(server.at("/v1/consumers/lake")).bearer_auth(&token).send();
    let lake: Value = serde_json::from_str(&lake.await.unwrap().text().await.unwrap()).unwrap();
    assert_eq!(lake["state"], "drained", "it is not paused: {lake}");
    server.stop().await;
}

#[tokio::test]
async fn what_clients_and_proxies_add_to_an_address_costs_no_event() {
    let folder = tempfile::tempdir().unwrap();
    let server = started(folder.path()).await;
    let event = json!({"type": "track", "event": "A", "userId": "u", "messageId": "1"});
    for (path, body) in [
        ("/v1/track?utm_source=x&receipt=1&receipt=1", event.clone()),
        ("/v1/batch?v=2", json!({"batch": [event]})),
        ("/v1/seen?v=2", json!({"ids": ["1"]})),
    ] {
        let sent = client().post(server.at(path)).basic_auth("wk_app", Some(""));
        assert_eq!(error(sent.body(body.to_string())).await.0, 200, "{path}");
    }
    for path in ["/healthz?x=1", "/metrics?x=1", "/openapi.json?x=1", "/console?utm_source=mail"] {
        let answer = client().get(server.at(path)).send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
    }
    server.stop().await;
}

#[tokio::test]
async fn what_cannot_be_read_of_an_event_to_decide_about_is_said_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let server = started(folder.path()).await;
    for (body, code, message) in [
        (
            "{\"event\":\"A\",\"userId\":\"u\",\"messageId\":\"m\",\n\"properties\":{\"amount\":1e999}}",
            "invalid_json",
            "the event cannot be read: number out of range at line 2 column 28",
        ),
        (
            "{\"event\":\"A\",\"messageId\":\"m\"",
            "invalid_json",
            "the event cannot be read: EOF while parsing an object at line 1 column 28",
        ),
        (
            "[1]",
            "invalid_json",
            "what is decided about is one event, a JSON object with a `messageId`",
        ),
        (
            "{\"event\":\"A\",\"userId\":\"u\"}",
            "invalid_parameter",
            "`messageId` is missing: who asks again under the same one gets the same answer",
        ),
        (
            "{\"event\":\"A\",\"userId\":\"u\",\"messageId\":7}",
            "invalid_parameter",
            "`messageId` is a text of your own: who asks again gives the same one",
        ),
        (
            "{\"event\":\"A\",\"userId\":\"u\",\"messageId\":\"\"}",
            "invalid_parameter",
            "`messageId` is empty: who asks again under the same one gets the same answer",
        ),
    ] {
        let asked = client().post(server.at("/v1/decide")).basic_auth("wk_app", Some(""));
        let expected = (400, code.to_owned(), message.to_owned());
        assert_eq!(error(asked.body(body)).await, expected, "{body}");
    }
    server.stop().await;
}
