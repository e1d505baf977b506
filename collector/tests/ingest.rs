//! Taking events over real HTTP: receipts, refusals, keys, encodings, errors, and what browsers ask.
#![allow(clippy::unwrap_used, reason = "what a test expects, it unwraps, in its functions too")]

use std::io::Write as _;

use crate::server::{Server, client, ids, json as read_json, track};
use serde_json::{Value, json};

#[tokio::test]
async fn a_mixed_batch_is_sorted_and_the_receipt_names_what_was_not_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let receipt = server
        .batch(&[
            track("a", "d"),
            json!(7),
            track("a", "d"),
            json!({"type": "page"}),
            track("b", "d"),
        ])
        .await;
    assert_eq!(
        receipt,
        json!({"success": true, "accepted": 2, "duplicate": 1, "events": [
            {"index": 1, "outcome": "refused", "reason": "not_an_object", "detail": "an event is a JSON object"},
            {"index": 2, "outcome": "duplicate"},
            {"index": 3, "outcome": "refused", "reason": "missing_user_id",
             "detail": "an event has a `userId` or an `anonymousId`, not empty"},
        ]})
    );
    let again = server.batch(&[track("b", "d"), track("c", "d")]).await;
    assert_eq!((&again["accepted"], &again["duplicate"]), (&json!(1), &json!(1)));
    let token = server.new_token.clone().unwrap();
    assert_eq!(ids(&server.events(&token).await), ["a", "b", "c"]);

    let metrics = client().get(server.at("/metrics")).send().await.unwrap().text().await.unwrap();
    for line in [
        "headwater_events_total{source=\"web\",outcome=\"accepted\",reason=\"\"} 3",
        "headwater_events_total{source=\"web\",outcome=\"duplicate\",reason=\"\"} 2",
        "headwater_events_total{source=\"web\",outcome=\"refused\",reason=\"not_an_object\"} 1",
        "headwater_log_end_offset 3",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    server.stop().await;
}

#[tokio::test]
async fn without_asking_the_receipt_is_segment_s() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    for (path, body) in [
        ("track", json!({"event": "A", "userId": "u"})),
        ("identify", json!({"userId": "u", "traits": {"plan": "pro"}})),
        ("page", json!({"anonymousId": "a", "name": "Home"})),
        ("screen", json!({"anonymousId": "a"})),
        ("group", json!({"userId": "u", "groupId": "g"})),
        ("alias", json!({"userId": "u", "previousId": "p"})),
    ] {
        let request =
            client().post(server.at(&format!("/v1/{path}"))).basic_auth(&server.key, Some(""));
        let answer = request.body(body.to_string()).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.text().await.unwrap(), r#"{"success":true}"#);
    }
    let stored = server.events(server.new_token.as_ref().unwrap()).await;
    let types: Vec<_> = stored.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["track", "identify", "page", "screen", "group", "alias"]);
    assert!(stored.iter().all(|event| event["messageId"].as_str().unwrap().len() == 36));
    assert_eq!((&stored[0]["source"], &stored[0]["trust"]), (&json!("web"), &json!("client")));
    assert_eq!(stored[4]["orderKey"], "u");
    server.stop().await;
}

#[tokio::test]
async fn a_key_comes_by_header_or_body_and_a_wrong_one_stores_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let toml = "[sources.shop]\nwrite_key = 'right'\ntrust = 'server'\nevents = ['page']\n";
    let server = Server::start_with(folder.path(), toml).await;
    let post = |body: Value| client().post(server.at("/v1/batch?receipt=1")).body(body.to_string());
    let page = json!({"type": "page", "userId": "u"});

    let by_body = post(json!({"batch": [page, track("x", "d")], "writeKey": "right"}));
    let receipt = read_json(by_body.send().await.unwrap()).await;
    assert_eq!(receipt["accepted"], 1);
    assert_eq!(receipt["events"][0]["reason"], "type_not_allowed");
    let by_header =
        post(json!({"batch": [page], "writeKey": "wrong"})).basic_auth("right", Some(""));
    assert_eq!(by_header.send().await.unwrap().status(), 200, "the header wins");

    for (request, code) in [
        (post(json!({"batch": [page]})), "no_write_key"),
        (post(json!({"batch": [page], "writeKey": "wrong"})), "unknown_write_key"),
        (post(json!({"batch": [page], "writeKey": 7})), "no_write_key"),
        (
            post(json!({"batch": [page], "writeKey": "right"})).basic_auth("wrong", Some("")),
            "unknown_write_key",
        ),
        (post(json!({"batch": [page]})).header("authorization", "Basic %%"), "bad_authorization"),
    ] {
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 401);
        assert_eq!(read_json(answer).await["error"]["code"], code);
    }
    let stored = server.events(server.new_token.as_ref().unwrap()).await;
    assert_eq!(stored.len(), 2);
    assert_eq!(stored[0]["trust"], "server");
    server.stop().await;
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gz.write_all(text).unwrap();
    gz.finish().unwrap()
}

#[tokio::test]
async fn bodies_come_plain_or_compressed_under_any_content_type() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let body = |id: &str| json!({"batch": [track(id, "d")], "writeKey": server.key}).to_string();
    let post = |body: Vec<u8>, headers: &[(&str, &str)]| {
        let request = client().post(server.at("/v1/batch")).body(body);
        headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).send()
    };
    let form = ("content-type", "application/x-www-form-urlencoded");
    for (id, compressed, headers) in [
        ("a", false, &[("content-type", "application/json")][..]),
        ("b", false, &[("content-type", "text/plain;charset=UTF-8")]),
        ("c", false, &[]),
        ("d", true, &[("content-encoding", "gzip"), ("content-type", "text/plain")]),
        ("e", true, &[form]),
    ] {
        let body = body(id).into_bytes();
        let answer = post(if compressed { gzip(&body) } else { body }, headers).await.unwrap();
        assert_eq!(answer.status(), 200, "{id}");
    }
    let bomb = gzip(&vec![b' '; 8 << 20]);
    assert!(bomb.len() < 500_000);
    let large = vec![b' '; 2 << 20];
    for (body, headers, status, code) in [
        (bomb, &[("content-encoding", "gzip")][..], 413, "body_too_large"),
        (large, &[], 413, "body_too_large"),
        (b"{}".to_vec(), &[("content-encoding", "gzip")], 400, "corrupt_body"),
        (b"{}".to_vec(), &[("content-encoding", "lzma")], 415, "unknown_encoding"),
        (b"{}".to_vec(), &[("content-encoding", "gzip, br")], 415, "many_encodings"),
        (b"{\"batch\":".to_vec(), &[], 400, "invalid_json"),
        (b"\xff".to_vec(), &[], 400, "invalid_json"),
    ] {
        let answer = post(body, headers).await.unwrap();
        assert_eq!(answer.status(), status);
        assert_eq!(
            answer.headers()["access-control-allow-origin"],
            "*",
            "scripts must see the error"
        );
        assert_eq!(read_json(answer).await["error"]["code"], code);
    }
    let stored = server.events(server.new_token.as_ref().unwrap()).await;
    assert_eq!(ids(&stored), ["a", "b", "c", "d", "e"]);
    server.stop().await;
}

#[tokio::test]
async fn a_page_of_any_origin_may_send() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let preflight = client().request(reqwest::Method::OPTIONS, server.at("/v1/track"));
    let answer = preflight.header("origin", "https://shop.example").send().await.unwrap();
    assert_eq!(answer.status(), 204);
    let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header("access-control-allow-origin"), "*");
    assert_eq!(
        header("access-control-allow-headers"),
        "authorization, content-type, content-encoding, x-retry-count"
    );
    assert_eq!(header("access-control-max-age"), "86400");

    let answer = client().get(server.at("/v1/batch")).send().await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["allow"]),
        (405, &"POST, OPTIONS".parse().unwrap())
    );
    assert_eq!(answer.headers()["access-control-expose-headers"], "Retry-After");
    assert_eq!(client().post(server.at("/v1/events")).send().await.unwrap().status(), 405);
    assert_eq!(client().get(server.at("/nothing")).send().await.unwrap().status(), 404);
    assert_eq!(client().get(server.at("/healthz")).send().await.unwrap().status(), 200);
    assert_eq!(client().get(server.at("/readyz")).send().await.unwrap().status(), 200);
    server.stop().await;
}
