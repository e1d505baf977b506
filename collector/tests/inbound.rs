//! Webhooks of others against the real server: what each vendor signs is taken, what is forged, old, changed or not understood is
//! not, and a delivery that comes twice is stored once.
#![allow(clippy::unwrap_used, reason = "what a test expects, it unwraps, in its functions too")]

mod server;

use std::{
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};
use server::{SECRET, Server, client};

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

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

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

struct Answered {
    status: u16,
    body: Value,
}

impl Answered {
    fn code(&self) -> &str {
        self.body["error"]["code"].as_str().unwrap_or_default()
    }

    fn message(&self) -> &str {
        self.body["error"]["message"].as_str().unwrap_or_default()
    }
}

async fn answered(request: reqwest::RequestBuilder) -> Answered {
    let answer = request.send().await.unwrap();
    Answered { status: answer.status().as_u16(), body: server::json(answer).await }
}

/// Signs as Standard Webhooks says, at this time.
fn signed(server: &Server, id: &str, at: u64, body: &str) -> reqwest::RequestBuilder {
    let signer = standardwebhooks::Webhook::new(SECRET).unwrap();
    let signature = signer.sign(id, i64::try_from(at).unwrap(), body.as_bytes()).unwrap();
    client()
        .post(server.at("/v1/in/shop"))
        .header("webhook-id", id)
        .header("webhook-timestamp", at.to_string())
        .header("webhook-signature", signature)
        .body(body.to_owned())
}

async fn stored(server: &Server) -> Vec<Value> {
    server.events(server.new_token.as_ref().unwrap()).await
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
