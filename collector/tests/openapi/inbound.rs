//! `/v1/in/{name}`: asked for everything that the document says it may answer.
//! Promises that each status and code was seen. Deliberately leaves to others what signatures and mappings do.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use headwater_collector::{config::Config, event_log::FileSystem, limits::HttpLimits};
use reqwest::RequestBuilder;
use serde_json::Value;
use tokio::time::timeout;

use super::{
    Document,
    server::{PATIENCE, SECRET, Server, client},
};

const PATH: &str = "/v1/in/{name}";

pub(super) fn are_at(path: &str) -> bool {
    path == PATH
}

fn post(server: &Server, name: &str, age: u64, body: &str) -> RequestBuilder {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() - age;
    let signer = standardwebhooks::Webhook::new(SECRET).unwrap();
    let signature = signer.sign("msg", i64::try_from(now).unwrap(), body.as_bytes()).unwrap();
    let request = client().post(server.at(&PATH.replace("{name}", name)));
    let request = request.header("webhook-id", "msg").header("webhook-timestamp", now.to_string());
    request.header("webhook-signature", signature).body(body.to_owned())
}

pub(super) async fn every_answer_is_given(document: &mut Document) {
    let folder = tempfile::tempdir().unwrap();
    let map = folder.path().join("map.toml");
    std::fs::write(&map, "[[event]]\non = 'body.n > 0'\nevent = 'A'\nuser_id = 'body.u'\n")
        .unwrap();
    let config = format!(
        "[inbound.lake]\nkind = 'generic'\nsecret = '{SECRET}'\nmap = '{}'\n",
        map.display()
    );
    let body_idle_timeout = Duration::from_millis(100);
    // One body of the largest fits, but not into one address's share.
    let limits = HttpLimits { body_idle_timeout, bodies_bytes: 1_200_000, ..HttpLimits::default() };
    let data = folder.path().join("data");
    let server = Server::start_limited(&data, &config, Arc::new(FileSystem), limits).await;

    let event = r#"{"n": 1, "u": "u"}"#;
    for (request, status) in [
        (post(&server, "lake", 0, event), 200),
        (post(&server, "lake", 0, event), 200),
        (post(&server, "lake", 0, r#"{"n": 0}"#), 200),
        (post(&server, "lake", 0, "{"), 400),
        (post(&server, "lake", 900, event), 401),
        (post(&server, "lake", 0, event).body("{}"), 401),
        (post(&server, "nobody", 0, event), 404),
        (post(&server, "lake", 0, r#"{"n": 1}"#), 422),
        (post(&server, "lake", 0, &" ".repeat(900_000)), 429),
    ] {
        assert_eq!(document.ask(PATH, request).await, status);
    }
    assert_eq!(document.ask_raw(PATH, &server, "Content-Length: 9\r\n").await, 408);
    let framing = "Transfer-Encoding: chunked, chunked\r\n";
    assert_eq!(document.ask_raw(PATH, &server, framing).await, 501);

    let reload = Arc::clone(&server.reload);
    let full = format!("min_free_bytes = 9000000000000000000\n{config}");
    let full = Config::parse(&full, std::path::Path::new("t.toml")).unwrap();
    tokio::task::spawn_blocking(move || reload.apply(&full)).await.unwrap().unwrap();
    let full = async { while document.ask(PATH, post(&server, "lake", 0, event)).await != 503 {} };
    timeout(PATIENCE, full).await.unwrap();
    server.stop().await;

    let server = Server::start_with(&data, &config).await;
    let large = post(&server, "lake", 0, &" ".repeat(1_100_000));
    assert_eq!(document.ask(PATH, large).await, 413);
    server.stop().await;

    let responses = document.text["paths"][PATH]["post"]["responses"].clone();
    for status in responses.as_object().unwrap().keys() {
        let seen = (PATH.to_owned(), status.parse().unwrap());
        assert!(document.seen.contains(&seen), "{PATH} {status} was not seen");
    }
    let said: Value = document.text["components"]["responses"]["NotBelieved"].clone();
    for code in ["bad_signature", "stale_signature"] {
        assert!(said.to_string().contains(code));
        assert!(document.errors.contains(&(PATH.to_owned(), 401, code.to_owned())));
    }
}
