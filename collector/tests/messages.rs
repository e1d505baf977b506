//! Messages to the page that somebody has open, over the real server: who hears of which, which device has it, until when.
//! Waits for conditions only.
#![allow(clippy::unwrap_used, reason = "what a test expects, it unwraps, in its functions too")]

use crate::listening::{OTHER, TOKEN, World, ask, send, told};
use crate::server::{self, PATIENCE, Server, client, until};
use reqwest::Response;
use serde_json::{Value, json};

const RULES: &str = r#"
[rules.payment_failed]
on = "Payment Failed"
from = "server"
late = "fire"
then = [{ in_app = "card", template = "payment.txt", expires = "1h" }]

[rules.brief]
on = "Brief"
then = [{ in_app = "banner", template = "brief.txt", expires = "1s" }]
"#;
const PAYMENT: &str = "+++\ntitle = \"Your payment of {{ event.properties.total }} did not go through\"\nbutton = \"Pay again\"\n\
    url = \"/pay?order={{ event.properties.order }}\"\n[data]\norder = \"{{ event.properties.order }}\"\n+++\nNothing is lost: your cart is kept.\n";

const SOURCES: &str = "[sources.web]\nwrite_key = 'wk_web'\norigins = ['https://shop.example']\n\
     [sources.bank]\nwrite_key = 'wk_bank'\ntrust = 'server'\n";

fn world() -> World {
    let files = [("rules.toml", RULES), ("payment.txt", PAYMENT), ("brief.txt", "Only now.\n")];
    World::new(&files, SOURCES)
}

fn identify(device: &str, user: &str) -> Value {
    json!({"type": "identify", "anonymousId": device, "userId": user, "messageId": format!("{device}{user}")})
}

fn failed(user: &str, order: &str) -> Value {
    json!({"type": "track", "event": "Payment Failed", "userId": user, "messageId": order,
           "properties": {"total": 12, "order": order}})
}

/// A stream, and what it has said so far.
struct Listening(Response, String);

impl Listening {
    async fn open(server: &Server, device: &str, token: &str) -> Self {
        let body =
            json!({ "writeKey": "wk_web", "anonymousId": device, "token": token }).to_string();
        let request =
            client().post(server.at("/v1/messages")).header("accept", "text/event-stream");
        let answer = request.body(body).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        let mut listening = Self(answer, String::new());
        // It listens once it says that it is alive.
        listening.piece().await;
        listening
    }

    async fn piece(&mut self) -> Option<()> {
        let piece =
            tokio::time::timeout(PATIENCE, self.0.chunk()).await.expect("it says something");
        self.1 += std::str::from_utf8(&piece.unwrap()?).unwrap();
        Some(())
    }

    /// The next message.
    async fn message(&mut self) -> Value {
        loop {
            if let Some((found, rest)) = self.1.split_once("\n\n") {
                let data = found.lines().find_map(|line| line.strip_prefix("data: "));
                let message = data.map(|data| serde_json::from_str(data).unwrap());
                self.1 = rest.to_owned();
                match message {
                    Some(message) => return message,
                    None => continue,
                }
            }
            self.piece().await.expect("it goes on");
        }
    }
}

fn shown(device: &str, message: &Value) -> Value {
    json!({"type": "track", "event": "Message Shown", "anonymousId": device,
           "messageId": format!("shown {device} {}", message["id"]), "properties": {"message_id": message["id"]}})
}

#[tokio::test]
async fn a_message_reaches_the_page_that_is_open_and_no_other_and_is_over_when_it_was_shown() {
    let world = world();
    let server = world.start().await;
    for (device, user) in [("laptop-1", "u-1"), ("phone-1", "u-1"), ("laptop-2", "u-2")] {
        send(&server, "wk_web", identify(device, user)).await;
    }
    let mut laptop = Listening::open(&server, "laptop-1", TOKEN).await;
    let _stranger = Listening::open(&server, "laptop-2", TOKEN).await;
    // Anyone can forge what has only a public key.
    send(&server, "wk_web", failed("u-1", "forged")).await;
    send(&server, "wk_bank", failed("u-1", "o-1")).await;
    let message = laptop.message().await;
    assert_eq!(message["title"], "Your payment of 12 did not go through");
    assert_eq!(message["body"], "Nothing is lost: your cart is kept.");
    assert_eq!(message["button"], "Pay again");
    assert_eq!(message["url"], "/pay?order=o-1");
    assert_eq!(message["data"], json!({"order": "o-1"}));
    assert_eq!(message["placement"], "card");
    assert_eq!(message["rule"], "payment_failed");

    // It is the laptop's now, which may ask for it again; nobody else has it.
    assert_eq!(told(&server, "phone-1", TOKEN, 0).await, Vec::<Value>::new());
    assert_eq!(told(&server, "laptop-2", TOKEN, 0).await, Vec::<Value>::new());
    assert_eq!(told(&server, "laptop-1", TOKEN, 0).await, std::slice::from_ref(&message));

    // A stranger's word that it was shown counts for nothing.
    send(&server, "wk_web", shown("laptop-2", &message)).await;
    send(&server, "wk_web", shown("laptop-1", &json!({"id": "no such message"}))).await;
    assert_eq!(told(&server, "laptop-1", TOKEN, 0).await, std::slice::from_ref(&message));
    send(&server, "wk_web", shown("laptop-1", &message)).await;
    until("the message to be over", async || {
        told(&server, "laptop-1", TOKEN, 0).await.is_empty().then_some(())
    })
    .await;
    let firings: Value = until("the firing to say so", async || {
        let firings: Value = world.get(&server, "/v1/firings?rule=payment_failed").await;
        (firings["firings"][0]["actions"][0]["detail"] == "shown").then_some(firings)
    })
    .await;
    assert_eq!(firings["firings"].as_array().unwrap().len(), 1, "{firings}");
    assert_eq!(firings["firings"][0]["actions"][0]["state"], "accepted");
    server.stop().await;
}

#[tokio::test]
async fn a_message_waits_for_the_next_visit_through_a_restart_and_a_rebuild_and_for_who_signs_in() {
    let world = world();
    let server = world.start().await;
    send(&server, "wk_bank", failed("u-1", "o-1")).await;
    until("the firing's action", async || {
        let firings: Value = world.get(&server, "/v1/firings").await;
        (firings["firings"][0]["actions"][0]["state"] == "accepted").then_some(())
    })
    .await;
    server.stop().await;
    let server = world.start().await;
    // Nobody knows the device yet: it waits, signs in, and is told.
    let mut tablet = Listening::open(&server, "tablet-1", TOKEN).await;
    send(&server, "wk_web", identify("tablet-1", "u-1")).await;
    send(&server, "wk_bank", failed("u-1", "o-2")).await;
    let orders = [tablet.message().await, tablet.message().await];
    assert_eq!([&orders[0]["data"]["order"], &orders[1]["data"]["order"]], ["o-1", "o-2"]);
    send(&server, "wk_web", shown("tablet-1", &orders[0])).await;
    until("one to be over", async || {
        (told(&server, "tablet-1", TOKEN, 0).await.len() == 1).then_some(())
    })
    .await;
    world.ask(&server, reqwest::Method::POST, "/v1/projection/rebuild", json!({})).await;
    until("people to be rebuilt", async || {
        let standing: Value = world.get(&server, "/v1/projection").await;
        standing["rebuild"].is_null().then_some(())
    })
    .await;
    assert_eq!(told(&server, "tablet-1", TOKEN, 0).await, [orders[1].clone()]);
    // Whoever is erased is told nothing any more, and the device may begin again.
    let person = world.get(&server, "/v1/people/u-1").await;
    let confirm = json!({"confirm": person["id"]});
    world.ask(&server, reqwest::Method::POST, "/v1/people/u-1/erase", confirm).await;
    assert!(told(&server, "tablet-1", OTHER, 0).await.is_empty());
    server.stop().await;
}

#[tokio::test]
async fn a_message_that_is_of_no_use_any_more_is_not_told() {
    let world = world();
    let server = world.start().await;
    let brief =
        json!({"type": "track", "event": "Brief", "anonymousId": "laptop-1", "messageId": "b"});
    send(&server, "wk_web", brief).await;
    let found = told(&server, "laptop-1", TOKEN, 10_000).await;
    assert_eq!(found[0]["body"], "Only now.");
    until("it to expire", async || {
        told(&server, "laptop-1", TOKEN, 0).await.is_empty().then_some(())
    })
    .await;
    server.stop().await;
}

#[tokio::test]
async fn who_knows_a_write_key_and_a_device_s_id_alone_is_told_nothing() {
    let world = world();
    let server = world.start().await;
    send(&server, "wk_web", identify("laptop-1", "u-1")).await;
    send(&server, "wk_bank", failed("u-1", "o-1")).await;
    // Its token is kept once the state knows the device.
    assert_eq!(told(&server, "laptop-1", TOKEN, 10_000).await.len(), 1);
    let asked = |key: &str, device: &str, token: &str| json!({"writeKey": key, "anonymousId": device, "token": token});
    for (body, status, code) in [
        (asked("wk_web", "laptop-1", OTHER), 403, "other_token"),
        (asked("wk_web", "laptop-1", ""), 400, "invalid_parameter"),
        (asked("wk_web", "laptop-1", "short"), 400, "invalid_parameter"),
        (asked("wk_web", "laptop-1", &"x".repeat(129)), 400, "invalid_parameter"),
        (asked("wk_web", "laptop-1", "with a space and 22 letters"), 400, "invalid_parameter"),
        (asked("wk_web", "undefined", TOKEN), 400, "invalid_parameter"),
        (asked("wk_other", "laptop-1", TOKEN), 401, "unknown_write_key"),
        (json!({"anonymousId": "laptop-1", "token": TOKEN}), 401, "no_write_key"),
        (json!({"writeKey": "wk_web", "anonymousId": "laptop-1"}), 400, "invalid_parameter"),
        (json!([]), 400, "invalid_parameter"),
        (asked("wk_web", &"x".repeat(5_000), TOKEN), 413, "body_too_large"),
    ] {
        let answer = ask(&server, body.clone()).await;
        assert_eq!(answer.status(), status, "{body}");
        let said: Value = server::json(answer).await;
        assert_eq!(said["error"]["code"], code, "{said}");
    }
    let from = |origin: &str| {
        let body = asked("wk_web", "laptop-1", TOKEN).to_string();
        client().post(server.at("/v1/messages")).header("origin", origin).body(body).send()
    };
    assert_eq!(from("https://evil.example").await.unwrap().status(), 403);
    assert_eq!(from("https://shop.example").await.unwrap().status(), 200);
    assert_eq!(told(&server, "laptop-1", TOKEN, 10_000).await.len(), 1);
    server.stop().await;
}

#[tokio::test]
async fn what_a_page_leaves_lying_keeps_nothing_from_it_that_comes_later() {
    let world = world();
    let server = world.start().await;
    send(&server, "wk_web", identify("laptop-1", "u-1")).await;
    for n in 0..45 {
        send(&server, "wk_bank", failed("u-1", &format!("o-{n}"))).await;
    }
    let mut laptop = Listening::open(&server, "laptop-1", TOKEN).await;
    let mut orders = std::collections::BTreeSet::new();
    while orders.len() < 45 {
        let message = laptop.message().await;
        assert!(orders.insert(message["data"]["order"].to_string()), "told once: {message}");
    }
    server.stop().await;
}
