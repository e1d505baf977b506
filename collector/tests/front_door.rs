//! Segment's API beside the batch: short forms, import, pixel, settings, beacons; and every encoding.
#![allow(clippy::unwrap_used, reason = "what a test expects, it unwraps, in its functions too")]

use std::io::Write as _;

use crate::server::{Server, client, ids, json as read_json, track};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};

#[tokio::test]
async fn every_path_of_segment_s_api_takes_its_event() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    for (path, body) in [
        ("t", json!({"event": "A", "userId": "u"})),
        ("i", json!({"userId": "u", "traits": {"plan": "pro"}})),
        ("p", json!({"anonymousId": "a", "name": "Home"})),
        ("s", json!({"anonymousId": "a"})),
        ("g", json!({"userId": "u", "groupId": "g"})),
        ("a", json!({"userId": "u", "previousId": "p"})),
        ("b", json!({"batch": [track("b", "d")]})),
        ("import", json!({"batch": [track("c", "d")], "context": {"direct": true}})),
    ] {
        let request = client().post(server.at(&format!("/v1/{path}")));
        let request = request.basic_auth(&server.key, Some("")).body(body.to_string());
        assert_eq!(request.send().await.unwrap().status(), 200, "{path}");
    }
    let stored = server.events(server.new_token.as_ref().unwrap()).await;
    let types: Vec<_> = stored.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["track", "identify", "page", "screen", "group", "alias", "track", "track"]);
    assert_eq!(stored[7]["context"]["direct"], true);
    for path in ["/v1/", "/v1/x", "/v1/tr", "/v1/pixel", "/v1/pixel/t", "/v1/projects/k"] {
        let answer = client().post(server.at(path)).body("{}").send().await.unwrap();
        assert_eq!(answer.status(), 404, "{path}");
    }
    server.stop().await;
}

#[tokio::test]
async fn an_image_is_an_event() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let pixel = |event: &Value, path: &str| {
        let data = BASE64_URL_SAFE_NO_PAD.encode(event.to_string());
        client().get(server.at(&format!("/v1/pixel/{path}?data={data}"))).send()
    };
    let opened = json!({"writeKey": server.key, "userId": "u", "event": "Mail Opened",
        "properties": {"subject": "Ünïcode >>>???"}});
    let answer = pixel(&opened, "track").await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["content-type"]),
        (200, &"image/gif".parse().unwrap())
    );
    assert!(answer.bytes().await.unwrap().starts_with(b"GIF89a"));
    let page = json!({"writeKey": server.key, "anonymousId": "a", "name": "Home"});
    assert_eq!(pixel(&page, "page").await.unwrap().status(), 200);

    let wrong = json!({"writeKey": "wrong", "userId": "u", "event": "A"});
    let answer = pixel(&wrong, "track").await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["content-type"]),
        (401, &"image/gif".parse().unwrap())
    );
    let head = client().head(server.at("/v1/pixel/track?data=e30")).send().await.unwrap();
    assert_eq!((head.status().as_u16(), &head.headers()["allow"]), (405, &"GET".parse().unwrap()));

    let stored = server.events(server.new_token.as_ref().unwrap()).await;
    assert_eq!(stored.len(), 2);
    assert_eq!(stored[0]["properties"], opened["properties"]);
    assert_eq!((&stored[1]["type"], &stored[1]["name"]), (&json!("page"), &json!("Home")));
    assert!(stored.iter().all(|event| event.get("writeKey").is_none()));
    server.stop().await;
}

#[tokio::test]
async fn a_device_that_saw_no_answer_asks_what_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    let sources = "[sources.web]\nwrite_key = 'web'\n[sources.app]\nwrite_key = 'app'\n";
    let server = Server::start_with(folder.path(), sources).await;
    let sent = json!({"writeKey": "web", "batch": [track("1", "d"), track("2", "d")]});
    client().post(server.at("/v1/batch")).body(sent.to_string()).send().await.unwrap();
    server.stop().await;
    // Also what is not in memory any more.
    let server = Server::start_with(folder.path(), sources).await;
    let asked = async |question: Value| {
        let asked = client().post(server.at("/v1/seen")).body(question.to_string());
        asked.header("origin", "http://shop.example").send().await.unwrap()
    };
    let answer = asked(json!({"ids": ["0", "1", "3", "2"], "writeKey": "web"})).await;
    assert_eq!(answer.headers()["access-control-allow-origin"], "*");
    let stored =
        json!([{"index": 1, "outcome": "duplicate"}, {"index": 3, "outcome": "duplicate"}]);
    let receipt = json!({"success": true, "accepted": 0, "duplicate": 2, "events": stored});
    assert_eq!(read_json(answer).await, receipt);
    let of_another = read_json(asked(json!({"ids": ["1"], "writeKey": "app"})).await).await;
    assert_eq!(of_another["events"], json!([]), "a source has its own ids");
    assert_eq!(asked(json!({"ids": ["1"], "writeKey": "nobody"})).await.status(), 401);
    assert_eq!(asked(json!({"id": "1", "writeKey": "web"})).await.status(), 400);
    let many = asked(json!({"ids": vec!["1"; 12_001], "writeKey": "web"})).await;
    assert_eq!(many.status(), 413);
    server.stop().await;
}

#[tokio::test]
async fn the_settings_document_names_this_server_for_a_known_key() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let settings = |key: &str| {
        let address = server.at(&format!("/v1/projects/{key}/settings"));
        client().get(address).header("origin", "http://shop.example").send()
    };
    let answer = settings(&server.key).await.unwrap();
    assert_eq!(answer.headers()["access-control-allow-origin"], "*");
    let segment = read_json(answer).await["integrations"]["Segment.io"].clone();
    assert_eq!(segment["apiKey"], server.key.as_str());
    assert_eq!(
        format!(
            "{}://{}",
            segment["protocol"].as_str().unwrap(),
            segment["apiHost"].as_str().unwrap()
        ),
        server.at("/v1")
    );
    let unknown = settings("nobody").await.unwrap();
    assert_eq!(
        (unknown.status().as_u16(), &unknown.headers()["access-control-allow-origin"]),
        (404, &"*".parse().unwrap())
    );
    server.stop().await;
}

fn deflate(text: &[u8]) -> Vec<u8> {
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    zlib.write_all(text).unwrap();
    zlib.finish().unwrap()
}

#[tokio::test]
async fn every_encoding_is_read_and_its_bombs_are_cut() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let post = |encoding: &str, body: Vec<u8>| {
        let request = client().post(server.at("/v1/batch")).header("content-encoding", encoding);
        request.basic_auth(&server.key, Some("")).body(body).send()
    };
    let body = |id: &str| json!({"batch": [track(id, "d")]}).to_string().into_bytes();
    // An empty batch, as Node's zlib compresses it.
    let brotli = b"\x8b\x05\x80{\"batch\":[]}\x03".to_vec();
    for (encoding, body) in [
        ("deflate", deflate(&body("a"))),
        ("zstd", zstd::bulk::compress(&body("b"), 3).unwrap()),
        ("br", brotli),
    ] {
        assert_eq!(post(encoding, body).await.unwrap().status(), 200, "{encoding}");
    }
    let spaces = vec![b' '; 4 << 20];
    for (encoding, bomb) in
        [("deflate", deflate(&spaces)), ("zstd", zstd::bulk::compress(&spaces, 3).unwrap())]
    {
        assert_eq!(post(encoding, bomb).await.unwrap().status(), 413, "{encoding}");
    }
    let unknown = post("compress", body("c")).await.unwrap();
    assert_eq!(unknown.headers()["accept-encoding"], "gzip, deflate, br, zstd, identity");
    let stored = server.events(server.new_token.as_ref().unwrap()).await;
    assert_eq!(ids(&stored), ["a", "b"]);
    server.stop().await;
}

#[tokio::test]
async fn a_beacon_has_no_header_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let body = |id: &str| json!({"batch": [track(id, "d")], "writeKey": server.key}).to_string();
    // A text, a Blob without a type, and a Blob that says it is a form.
    for (id, content_type) in [
        ("a", Some("text/plain;charset=UTF-8")),
        ("b", None),
        ("c", Some("application/x-www-form-urlencoded")),
    ] {
        let request = client().post(server.at("/v1/b")).body(body(id));
        let request = match content_type {
            Some(content_type) => request.header("content-type", content_type),
            None => request,
        };
        let answer = request.header("origin", "https://shop.example").send().await.unwrap();
        assert_eq!(answer.status(), 200);
    }
    let stored = server.events(server.new_token.as_ref().unwrap()).await;
    assert_eq!(ids(&stored), ["a", "b", "c"]);
    server.stop().await;
}

#[tokio::test]
async fn a_source_is_held_to_its_rate_its_origins_and_its_sizes() {
    let folder = tempfile::tempdir().unwrap();
    let toml = "[sources.web]\nwrite_keys = ['new', 'old']\norigins = ['https://shop.example']\n\
                max_event_bytes = 300\nmax_batch_bytes = 1000\n\
                [sources.slow]\nwrite_key = 'slow'\nevents_per_second = 1\nburst = 2\n";
    let server = Server::start_with(folder.path(), toml).await;
    let post = |key: &str, events: Vec<Value>| {
        let request = client().post(server.at("/v1/batch?receipt=1"));
        request.basic_auth(key, Some("")).body(json!({"batch": events}).to_string())
    };
    for (id, key) in [("a", "new"), ("b", "old")] {
        let request = post(key, vec![track(id, "d")]).header("origin", "https://shop.example");
        assert_eq!(request.send().await.unwrap().status(), 200, "either key is the source's");
    }
    let elsewhere = post("new", vec![track("c", "d")]).header("origin", "https://evil.example");
    let answer = elsewhere.send().await.unwrap();
    assert_eq!(answer.status(), 403);
    assert_eq!(answer.headers()["access-control-allow-origin"], "*", "its author may read why");
    assert_eq!(read_json(answer).await["error"]["code"], "origin_not_allowed");

    let large = json!({"type": "page", "userId": "u", "name": "x".repeat(300)});
    let receipt = read_json(post("new", vec![large]).send().await.unwrap()).await;
    assert_eq!(receipt["events"][0]["reason"], "too_large");
    let many = vec![track("y".repeat(200), "d"); 200];
    assert_eq!(post("new", many).send().await.unwrap().status(), 413);

    // One batch more than the burst, then a wait for what it took too much.
    let events: Vec<_> = (0..60).map(|n| track(n, "d")).collect();
    assert_eq!(post("slow", events).send().await.unwrap().status(), 200);
    let answer = post("slow", vec![track("late", "d")]).send().await.unwrap();
    assert_eq!(answer.status(), 429);
    let seconds: u64 = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    let error = read_json(answer).await["error"].clone();
    assert_eq!(error["code"], "rate_limited");
    let wait = error["retry_after_ms"].as_u64().unwrap();
    assert!((20_000..=59_000).contains(&wait) && seconds == wait.div_ceil(1000), "{wait}");

    let stored = server.events(server.new_token.as_ref().unwrap()).await;
    assert_eq!(ids(&stored)[..2], ["a", "b"]);
    assert_eq!(stored.len(), 62);
    server.stop().await;
}
