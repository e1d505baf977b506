//! The paths of the suppression list: each is asked for everything that the document says it may answer.
//! Deliberately leaves to others what it holds back.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use headwater_collector::{event_log::FileSystem, limits::HttpLimits};
use serde_json::{Value, json};

use super::{
    Document,
    server::{PATIENCE, Server, client},
};

pub(super) fn are_at(path: &str) -> bool {
    path.starts_with("/v1/suppressions")
}

#[tokio::test]
async fn the_suppression_list_answers_all_that_the_document_names() {
    let folder = tempfile::tempdir().unwrap();
    let body_idle_timeout = Duration::from_millis(100);
    let limits = HttpLimits { body_idle_timeout, ..HttpLimits::default() };
    let server = Server::start_limited(folder.path(), "", Arc::new(FileSystem), limits).await;
    let mut document = Document::of(&server).await;
    let (http, token) = (client(), server.new_token.clone().unwrap());
    let (list, add, remove) =
        ("/v1/suppressions", "/v1/suppressions/add", "/v1/suppressions/remove");
    let get = |query: &str| http.get(server.at(&format!("{list}{query}"))).bearer_auth(&token);
    let post = |path: &str, body: String| http.post(server.at(path)).bearer_auth(&token).body(body);
    let schema = |document: &Document, path: &str| {
        document.text["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
            .clone()
    };

    let orders = [
        (
            add,
            json!({"suppressions": [{"address": "Ann@b.example"}, {"address": "+49 30 1234567"}, {"address": "ann@B.example", "reason": "bounced"}]}),
            json!({"added": 2, "already": 1}),
        ),
        (
            add,
            json!({"suppressions": [{"address": "ann@b.example"}, {"address": "bob@b.example", "reason": "complained"}]}),
            json!({"added": 1, "already": 1}),
        ),
        (
            remove,
            json!({"addresses": ["phone:+49301234567", "eve@b.example"]}),
            json!({"removed": 1, "absent": 1}),
        ),
    ];
    for (path, body, expected) in orders {
        document.fits(&schema(&document, path), &body).unwrap();
        let (status, _, answer) = document.ask_for(path, post(path, body.to_string())).await;
        assert_eq!(
            (status, serde_json::from_str(&answer).ok()),
            (200, Some(expected)),
            "{path} {body}"
        );
    }
    let mut listed = Vec::new();
    for query in
        ["", "?limit=1", "?reason=complained", "?address=ANN%40b.example", "?address=eve@b.example"]
    {
        let (status, _, answer) = document.ask_for(list, get(query)).await;
        assert_eq!(status, 200, "{query}");
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["count"], 2);
        listed.push(answer);
    }
    let addresses = |answer: &Value| -> Vec<String> {
        let all = answer["suppressions"].as_array().unwrap();
        all.iter()
            .map(|it| format!("{} {} {}", it["address"], it["reason"], it["by"]).replace('"', ""))
            .collect()
    };
    let (ann, bob) = ("ann@b.example manual first", "bob@b.example complained first");
    assert_eq!(addresses(&listed[0]), [bob, ann]);
    assert_eq!(listed[0]["next"], Value::Null);
    assert_eq!(
        (addresses(&listed[1]), addresses(&listed[2])),
        (vec![bob.to_owned()], vec![bob.to_owned()])
    );
    assert_eq!((addresses(&listed[3]), addresses(&listed[4])), (vec![ann.to_owned()], vec![]));
    let next = format!("?limit=1&before={}", listed[1]["next"].as_str().unwrap());
    let (_, _, answer) = document.ask_for(list, get(&next)).await;
    assert_eq!(addresses(&serde_json::from_str(&answer).unwrap()), [ann]);

    for query in [
        "?reason=because",
        "?before=yesterday",
        "?limit=0",
        "?address=nobody",
        "?adress=a@b.example",
        "?address=%FF",
    ] {
        assert_eq!(document.ask(list, get(query)).await, 400, "{query}");
    }
    assert_eq!(document.ask(list, http.get(server.at(list))).await, 401);
    let many: Vec<_> = (0..1001).map(|n| format!("{n}@b.example")).collect();
    // An order about these, with more in it or not.
    let order = |path: &str, addresses: &[&str], more: Value| {
        let mut order = match path == add {
            true => {
                json!({"suppressions": addresses.iter().map(|it| json!({"address": it})).collect::<Vec<_>>()})
            }
            false => json!({ "addresses": addresses }),
        };
        order.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
        order.to_string()
    };
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    for path in [add, remove] {
        let because = json!({"suppressions": [{"address": "c@b.example", "reason": "because"}]});
        for (body, part) in [
            ("{".to_owned(), "no JSON"),
            ("{}".to_owned(), "missing field"),
            (order(path, &[], Value::Null), "1 to 1000"),
            (order(path, &many, Value::Null), "and these are 1001"),
            (order(path, &["c@b.example", "ann"], Value::Null), "address 2: it is neither"),
            (order(path, &["030 1234567"], Value::Null), "with its country"),
            (order(path, &["c@b.example"], json!({"raeson": "manual"})), "raeson"),
            (because.to_string(), "unknown"),
        ] {
            let (status, _, answer) = document.ask_for(path, post(path, body.clone())).await;
            assert_eq!(status, 400, "{path} {body}");
            assert!(answer.contains(part), "{body}: {answer}");
        }
        let order = order(path, &["c@b.example"], Value::Null);
        assert_eq!(document.ask(path, post(&format!("{path}?x=1"), order.clone())).await, 400);
        assert_eq!(document.ask(path, http.post(server.at(path)).body(order)).await, 401);
        let admin = format!("Authorization: Bearer {token}\r\n");
        let chunked = admin.clone() + "Transfer-Encoding: chunked, chunked\r\n";
        assert_eq!(document.ask_raw(path, &server, &chunked).await, 501);
        assert_eq!(document.ask_raw(path, &server, &(admin + "Content-Length: 9\r\n")).await, 408);
        for bytes in [300_000, 600_000] {
            assert_eq!(document.ask(path, post(path, " ".repeat(bytes))).await, 413);
        }
    }
    let (_, _, answer) = document.ask_for(list, get("?address=c@b.example")).await;
    assert!(
        addresses(&serde_json::from_str(&answer).unwrap()).is_empty(),
        "an order is obeyed whole"
    );

    let database = rusqlite::Connection::open(folder.path().join("state.db")).unwrap();
    database.busy_timeout(PATIENCE).unwrap();
    database.execute_batch("DROP TABLE suppression_list").unwrap();
    assert_eq!(document.ask(list, get("")).await, 503);
    for path in [add, remove] {
        let order = order(path, &["c@b.example"], Value::Null);
        assert_eq!(document.ask(path, post(path, order)).await, 503);
    }
    server.stop().await;

    let paths = document.text["paths"].as_object().unwrap().clone();
    for (path, operations) in paths.iter().filter(|(path, _)| are_at(path)) {
        let operation = operations.as_object().unwrap().values().next().unwrap();
        let responses: BTreeMap<String, Value> =
            serde_json::from_value(operation["responses"].clone()).unwrap();
        for status in responses.keys().map(|status| status.parse().unwrap()) {
            let seen = document.seen.contains(&(path.clone(), status));
            assert!(seen, "{path} {status} was not seen");
        }
    }
}
