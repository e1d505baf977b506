//! `/v1/messages`: asked for everything that the document says it may answer.
//! Promises that each status and code was seen. Deliberately leaves to others who is told what.

use std::{fs, sync::Arc, time::Duration};

use headwater_collector::{event_log::FileSystem, limits::HttpLimits};
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt as _, net::TcpStream, time::timeout};

use super::{
    Document,
    server::{PATIENCE, Server, client},
};

const PATH: &str = "/v1/messages";
const TOKEN: &str = "a-token-of-22-letters-";

pub(super) fn are_at(path: &str) -> bool {
    path == PATH
}

pub(super) async fn every_answer_is_given(document: &mut Document) {
    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("rules");
    fs::create_dir(&rules).unwrap();
    let rule =
        "[rules.hello]\non = 'Hello'\nthen = [{ in_app = 'card', template = 'hello.txt' }]\n";
    fs::write(rules.join("hello.toml"), rule).unwrap();
    fs::write(rules.join("hello.txt"), "+++\ntitle = 'Hello'\n+++\nThere you are.\n").unwrap();
    let config = format!(
        "rules = '{}'\n[sources.web]\nwrite_key = 'key'\norigins = ['https://shop.example']\n",
        rules.display()
    );
    // One listener; one body of the largest is all of an address's share.
    let limits = HttpLimits {
        body_idle_timeout: Duration::from_millis(500),
        connections: 3,
        bodies_bytes: 1_200_000,
        ..HttpLimits::default()
    };
    let data = folder.path().join("data");
    let server = Server::start_limited(&data, &config, Arc::new(FileSystem), limits).await;
    let http = || client().post(server.at(PATH));
    let body =
        |token: &str| json!({"anonymousId": "d", "token": token, "waitMs": 10_000}).to_string();
    let listen = |key: &str| http().basic_auth(key, Some("")).body(body(TOKEN));

    let event = json!({"event": "Hello", "anonymousId": "d", "writeKey": "key", "messageId": "1"});
    let said = client().post(server.at("/v1/track")).body(event.to_string()).send().await.unwrap();
    assert_eq!(said.status(), 200);
    let (status, _, told) = document.ask_for(PATH, listen("key")).await;
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((status, &told["messages"][0]["title"]), (200, &json!("Hello")));

    assert_eq!(document.ask(PATH, listen("key").body("{")).await, 400);
    assert_eq!(document.ask(PATH, listen("nobody")).await, 401);
    assert_eq!(document.ask(PATH, http().body(body(TOKEN))).await, 401);
    let broken = http().header("authorization", "Basic %").body(body(TOKEN));
    assert_eq!(document.ask(PATH, broken).await, 401);
    let other = listen("key").body(body("another-token-of-22-or-more"));
    assert_eq!(document.ask(PATH, other).await, 403);
    let page = listen("key").header("origin", "https://x.example");
    assert_eq!(document.ask(PATH, page).await, 403);
    assert_eq!(document.ask_raw(PATH, &server, "Content-Length: 9\r\n").await, 408);
    assert_eq!(document.ask(PATH, listen("key").body(" ".repeat(5_000))).await, 413);
    // Somebody at this address sends a large body, and has not come to its end.
    let crowded = async {
        loop {
            let mut large = TcpStream::connect(server.address).await.unwrap();
            let head = "POST /v1/batch HTTP/1.1\r\nHost: h\r\nAuthorization: Basic a2V5Og==\r\nContent-Length: 530000\r\n\r\n";
            large.write_all(head.as_bytes()).await.unwrap();
            large.write_all(&[b' '; 529_000]).await.unwrap();
            if document.ask(PATH, listen("key")).await == 429 {
                return;
            }
        }
    };
    timeout(PATIENCE, crowded).await.unwrap();
    let chunked = "Transfer-Encoding: chunked, chunked\r\n";
    assert_eq!(document.ask_raw(PATH, &server, chunked).await, 501);
    let stream = listen("key").header("accept", "text/event-stream").send().await.unwrap();
    assert_eq!(stream.status(), 200);
    assert_eq!(document.ask(PATH, listen("key")).await, 503);
    drop(stream);
    let freed = async {
        while document.ask(PATH, listen("key")).await != 200 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, freed).await.unwrap();
    server.stop().await;
}
