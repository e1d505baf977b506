//! Webhooks of whoever signs as Standard Webhooks says, against the real server: mapped, stored once, and what is not understood is
//! said with its place and comes again.
#![allow(clippy::unwrap_used, reason = "what a test expects, it unwraps, in its functions too")]

use std::path::Path;

use crate::server::{self, SECRET, Server, client};
use crate::webhooks::{answered, now, stored};
use headwater_collector::{
    config::Config,
    inbound::mapping::{About, Mapped, Mapping, Subject},
};
use reqwest::RequestBuilder;
use serde_json::{Value, json};

const SHOP: &str = r#"
[[event]]
on = 'body.type == "order.paid"'
event = "Order Paid"
user_id = 'body.?user'
timestamp = 'body.?at'
[event.properties]
total = 'body.total'
items = 'body.?items'
[event.traits]
email = 'body.?email'
[event.external_ids]
shop_customer_id = 'body.?customer'
email = 'body.?email'

[[event]]
on = 'body.type == "customer.changed"'
type = "identify"
user_id = 'body.user'
message_id = 'body.id'
traits = 'body.traits'
"#;

/// A collector with an inbound webhook `shop`.
async fn shop(folder: &Path, mapping: &str) -> Server {
    let map = folder.join("shop.toml");
    std::fs::write(&map, mapping).unwrap();
    let toml = format!(
        "[inbound.shop]\nkind = 'generic'\nsecret = '{SECRET}'\nmap = '{}'\n",
        map.display()
    );
    Server::start_with(&folder.join("data"), &toml).await
}

/// Signs as Standard Webhooks says, at this time.
fn signed(server: &Server, id: &str, at: u64, body: &str) -> RequestBuilder {
    let signer = standardwebhooks::Webhook::new(SECRET).unwrap();
    let signature = signer.sign(id, i64::try_from(at).unwrap(), body.as_bytes()).unwrap();
    client()
        .post(server.at("/v1/in/shop"))
        .header("webhook-id", id)
        .header("webhook-timestamp", at.to_string())
        .header("webhook-signature", signature)
        .body(body.to_owned())
}

#[tokio::test]
async fn what_is_signed_becomes_an_event_once() {
    let folder = tempfile::tempdir().unwrap();
    let server = shop(folder.path(), SHOP).await;
    let body =
        json!({"type": "order.paid", "total": 49.5, "customer": "c-1", "email": "pat@example.com",
                      "at": 1_790_000_000})
        .to_string();
    let first = answered(signed(&server, "msg_1", now(), &body)).await;
    assert_eq!(
        (first.status, &first.body),
        (200, &json!({"success": true, "accepted": 1, "duplicate": 0}))
    );
    let again = answered(signed(&server, "msg_1", now() - 60, &body)).await;
    assert_eq!(
        (again.status, &again.body),
        (200, &json!({"success": true, "accepted": 0, "duplicate": 1}))
    );

    let events = stored(&server).await;
    assert_eq!(events.len(), 1);
    let event = &events[0];
    assert_eq!(event["source"], "shop");
    assert_eq!(event["trust"], "server");
    assert_eq!(event["type"], "track");
    assert_eq!(event["event"], "Order Paid");
    assert_eq!(event["messageId"], "msg_1");
    assert_eq!(event["anonymousId"], "shop_customer_id:c-1");
    assert_eq!(event["timestamp"], "2026-09-21T14:13:20.000Z");
    assert_eq!(event["properties"], json!({"total": 49.5}));
    assert_eq!(
        event["context"],
        json!({
            "externalIds": [
                {"id": "c-1", "type": "shop_customer_id", "collection": "users", "encoding": "none"},
                {"id": "pat@example.com", "type": "email", "collection": "users", "encoding": "none"},
            ],
            "traits": {"email": "pat@example.com"},
        }),
        "and no address of the machine that posted it"
    );
    server.stop().await;
}

#[tokio::test]
async fn what_cannot_be_mapped_is_said_and_comes_again() {
    let folder = tempfile::tempdir().unwrap();
    let mapping = "each = 'body.orders'\n[[event]]\non = 'item.n > 0'\nevent = 'Order Paid'\nuser_id = 'item.user'\n\
                   [event.properties]\ntext = 'item.?text'\n";
    let server = shop(folder.path(), mapping).await;
    let post = |id: &str, body: &Value| answered(signed(&server, id, now(), &body.to_string()));
    let orders = json!({"orders": [{"n": 1, "user": "a"}, {"n": 1, "u": "pat@example.com"}, {"n": 0}, {"n": 1, "user": "b"}]});
    let answer = post("msg_1", &orders).await;
    assert_eq!((answer.status, answer.code()), (422, "mapping_failed"));
    let place = "shop.toml:5: `user_id`: there is no `user`; where it may be missing, write `.?user` (item 1)";
    assert!(answer.message().contains(place), "{}", answer.message());
    assert!(!answer.message().contains("pat@"), "{}", answer.message());
    assert_eq!(stored(&server).await.len(), 2, "the others are stored");

    // Too large for an event, as the event itself says; and what is no list.
    let large = json!({"orders": [{"n": 1, "user": "c", "text": "x".repeat(40_000)}]});
    let answer = post("msg_2", &large).await;
    assert!(
        answer
            .message()
            .contains("shop.toml:2: the event that is made here is not taken: too_large"),
        "{}",
        answer.message()
    );
    let answer = post("msg_3", &json!({"orders": 5})).await;
    assert!(
        answer.message().contains("shop.toml:1: `each`: expected a list, found int"),
        "{}",
        answer.message()
    );
    let answer = post("msg_4", &json!({"orders": [{"n": 0}, {"n": -1}]})).await;
    assert_eq!((answer.status, answer.body), (200, json!({"success": true, "ignored": true})));

    // The mapping is corrected, without a restart; the sender tries again.
    std::fs::write(
        folder.path().join("shop.toml"),
        mapping.replace("item.user'", "item.?user.or(item.?u)'"),
    )
    .unwrap();
    let config = format!(
        "[inbound.shop]\nkind = 'generic'\nsecret = '{SECRET}'\nmap = '{}'\n",
        folder.path().join("shop.toml").display()
    );
    let config = Config::parse(&config, Path::new("test.toml")).unwrap();
    let reload = std::sync::Arc::clone(&server.reload);
    let told = tokio::task::spawn_blocking(move || reload.apply(&config)).await.unwrap().unwrap();
    assert!(!told.iter().any(|key| key.contains("inbound")), "{told:?}");
    let answer = post("msg_1", &orders).await;
    assert_eq!(
        (answer.status, &answer.body["accepted"], &answer.body["duplicate"]),
        (200, &json!(1), &json!(2))
    );
    let ids: Vec<_> = server::ids(&stored(&server).await);
    assert_eq!(ids, ["msg_1:0", "msg_1:3", "msg_1:1"]);

    let metrics = client().get(server.at("/metrics")).send().await.unwrap().text().await.unwrap();
    for (reason, count) in [("ignored", 4), ("mapping_failed", 3)] {
        let line = format!(
            "headwater_inbound_not_events_total{{source=\"shop\",reason=\"{reason}\"}} {count}"
        );
        assert!(metrics.contains(&line), "{line}\n{metrics}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_mapping_that_is_wrong_changes_nothing_while_it_runs() {
    let folder = tempfile::tempdir().unwrap();
    let server = shop(folder.path(), SHOP).await;
    let map = folder.path().join("shop.toml");
    std::fs::write(&map, "[[event]]\nevent = 'A'\nuser_id = 'body.('").unwrap();
    let config = format!(
        "[inbound.shop]\nkind = 'generic'\nsecret = '{SECRET}'\nmap = '{}'\n",
        map.display()
    );
    let config = Config::parse(&config, Path::new("test.toml")).unwrap();
    let reload = std::sync::Arc::clone(&server.reload);
    let error =
        tokio::task::spawn_blocking(move || reload.apply(&config)).await.unwrap().unwrap_err();
    assert!(error.to_string().contains("shop.toml:3: `user_id`: is no CEL"), "{error}");
    let body =
        json!({"type": "customer.changed", "id": "c-1", "user": "u", "traits": {"plan": "pro"}});
    let answer = answered(signed(&server, "msg", now(), &body.to_string())).await;
    assert_eq!(answer.body["accepted"], 1);
    let event = &stored(&server).await[0];
    assert_eq!(
        (&event["type"], &event["traits"], &event["messageId"]),
        (&json!("identify"), &json!({"plan": "pro"}), &json!("c-1"))
    );
    server.stop().await;
}

#[tokio::test]
async fn what_is_no_webhook_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let server = shop(folder.path(), SHOP).await;
    let answer = answered(signed(&server, "m", now(), "{")).await;
    assert_eq!((answer.status, answer.code()), (400, "invalid_json"));
    let large = format!("{{\"x\":\"{}\"}}", "x".repeat(1024 * 1024));
    let answer = answered(signed(&server, "m", now(), &large)).await;
    assert_eq!((answer.status, answer.code()), (413, "body_too_large"));
    let many = format!("[{}1]", "{},".repeat(25_001));
    let answer = answered(signed(&server, "m", now(), &many)).await;
    assert_eq!((answer.status, answer.code()), (413, "body_too_large"));
    assert!(answer.message().contains("at most 50000 values"), "{}", answer.message());
    let answer = answered(client().post(server.at("/v1/in/nobody")).body(large)).await;
    assert_eq!((answer.status, answer.code()), (404, "unknown_inbound"));
    let answer = answered(client().get(server.at("/v1/in/shop"))).await;
    assert_eq!((answer.status, answer.code()), (405, "method_not_allowed"));
    // Nobody can send as the webhook's source with a key.
    let event = json!({"event": "A", "userId": "u", "writeKey": "shop"});
    let answer = answered(client().post(server.at("/v1/track")).body(event.to_string())).await;
    assert_eq!(answer.code(), "unknown_write_key");
    server.stop().await;
}

#[tokio::test]
async fn a_body_may_become_more_than_one_batch_can_hold() {
    let folder = tempfile::tempdir().unwrap();
    let mapping = "each = 'body'\n[[event]]\nevent = 'A'\nuser_id = 'item.u'\n[event.properties]\nx = 'item.x + item.x'\n";
    let server = shop(folder.path(), mapping).await;
    let items: Vec<_> = (0..60).map(|n| json!({"u": n, "x": "y".repeat(15_000)})).collect();
    let answer = answered(signed(&server, "m", now(), &json!(items).to_string())).await;
    assert_eq!(answer.body, json!({"success": true, "accepted": 60, "duplicate": 0}));
    server.stop().await;
}

/// The mapping that the README explains.
#[test]
fn the_mapping_of_the_readme_does_what_it_says() {
    let readme =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).unwrap();
    let mut blocks =
        readme.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let text = blocks.find(|block| block.contains("[[event]]")).unwrap();
    let mapping = Mapping::parse(text, "README.md", Subject::Request).unwrap();
    let body = json!({"orders": [
        {"state": "paid", "id": 7, "paid_at": 1_790_000_000, "total": 4900, "customer": {"id": "c-1", "email": "pat@example.com"}},
        {"state": "open"},
    ]});
    let about = About { subject: &body, headers: &[], id: None, until: None };
    let Mapped { events, ignored, failures } = mapping.map(&about);
    assert_eq!((events.len(), ignored, failures), (1, 1, Vec::new()));
    let event: Value = serde_json::from_str(&events[0].json).unwrap();
    assert_eq!(event["properties"], json!({"total": 49.0}));
    assert_eq!(
        (&event["messageId"], &event["anonymousId"]),
        (&json!("7"), &json!("shop_customer_id:c-1"))
    );
}
