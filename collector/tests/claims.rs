//! What anyone can write with a public key, where a proof is asked for: which of it a message is sent to, and which it says.
//! Over the real server; waits for conditions only.
#![allow(clippy::unwrap_used, reason = "what a test expects, it unwraps, in its functions too")]
#![allow(dead_code, reason = "of what tests of messages share, this one sends and reads")]

use std::collections::BTreeMap;

use crate::actions::Recorder;
use crate::listening::{World, send};
use crate::server::{Server, until};
use reqwest::Method;
use serde_json::{Value, json};

const RULES: &str = "[rules.hello]\non = 'Came'\nthen = [{ sms = 'texts', template = 'hello.txt', expires = '1h' }]\n";
const HELLO: &str = "Hello {{ person.name }}! {{ person.traits }}\n";
const SECRET: &str = "a-secret-of-the-shop-s-backend";
const SECRET_LINE: &str = "identify_secret = 'a-secret-of-the-shop-s-backend'\n";
const SID: &str = "AC0123456789abcdef0123456789abcdef";
const HERS: &str = "+15005550010";
const FALSE: &str = "+15005550666";

struct Shop {
    world: World,
    texts: Recorder,
}

impl Shop {
    async fn new() -> Self {
        let texts = Recorder::start().await;
        texts.answer(201, &[("content-type", "application/json")], r#"{"sid":"SM1"}"#);
        let sources = format!(
            "[sources.web]\nwrite_key = 'wk_web'\n{SECRET_LINE}[sources.bank]\nwrite_key = 'wk_bank'\ntrust = 'server'\n\
             [destinations.texts]\nkind = 'sms'\naccount_sid = '{SID}'\nauth_token = 't0ken'\nfrom = '+15005550006'\n\
             api_url = '{}'\nallow_private = true\n",
            texts.url
        );
        let files = [("rules.toml", RULES), ("hello.txt", HELLO)];
        Self { world: World::new(&files, &sources), texts }
    }

    /// Somebody comes; what became of the message, and why.
    async fn comes(&self, server: &Server, device: &str, nth: usize) -> (String, String) {
        let came = event("track", device, json!({"event": "Came", "properties": {"n": nth}}));
        send(server, "wk_web", came).await;
        until("the message to be done with", async || {
            let found = self.world.get(server, "/v1/firings").await["firings"].clone();
            let found = found.as_array().unwrap();
            // The latest comes first.
            let action = &found.first()?["actions"][0];
            let state = action["state"].as_str()?.to_owned();
            let is_done = found.len() == nth && state != "pending";
            is_done.then(|| (state, action["detail"].as_str().unwrap_or_default().to_owned()))
        })
        .await
    }

    /// To whom each was sent, and what it said.
    fn sent(&self) -> Vec<(String, String)> {
        let form = |body: &[u8]| -> BTreeMap<String, String> {
            form_urlencoded::parse(body).into_owned().collect()
        };
        let posted = self.texts.posted();
        let posted = posted.iter().map(|posted| form(&posted.body));
        posted.map(|form| (form["To"].clone(), form["Body"].clone())).collect()
    }

    async fn person(&self, server: &Server, who: &str) -> Value {
        self.world.get(server, &format!("/v1/people/{who}")).await
    }
}

fn event(call: &str, device: &str, more: Value) -> Value {
    let mut event = json!({"type": call, "anonymousId": device, "messageId": format!("{call} {device} {more}")});
    let Value::Object(more) = more else { panic!("it says members") };
    event.as_object_mut().unwrap().extend(more);
    event
}

fn signed(device: &str, user: &str) -> Value {
    let mac = hmac_sha256::HMAC::mac(user, SECRET);
    let mac = mac.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    event("identify", device, json!({"userId": user, "context": {"signature": mac}}))
}

/// As a stranger writes it.
fn falsehood() -> Value {
    json!({"name": "Your Bank", "phone": FALSE, "email": "false@example.com"})
}

fn values(of: &Value) -> Vec<(&str, &str)> {
    let all = of.as_object().into_iter().flatten();
    all.map(|(name, said)| (name.as_str(), said["value"].as_str().unwrap())).collect()
}

#[tokio::test]
async fn what_a_stranger_writes_is_neither_sent_to_nor_said_of_anybody() {
    let shop = Shop::new().await;
    let server = shop.world.start().await;
    let none = (
        "withheld".to_owned(),
        "no telephone number of the person is known: an `identify` says it in the trait `phone`"
            .to_owned(),
    );
    // Of a device that nobody is known to use it is what the device says, and no address.
    send(&server, "wk_web", event("identify", "stranger", json!({"traits": falsehood()}))).await;
    assert_eq!(shop.comes(&server, "stranger", 1).await, none);
    let stranger = shop.person(&server, "anonymous:stranger").await;
    let all = [("email", "false@example.com"), ("name", "Your Bank"), ("phone", FALSE)];
    assert_eq!(stranger["name"], "Your Bank");
    assert_eq!(
        (values(&stranger["traits"]), values(&stranger["claims"])),
        (all.to_vec(), all.to_vec())
    );

    // At the device of somebody who is proven to be somebody: before, by whichever call, and after.
    for call in ["identify", "track"] {
        let says = match call {
            "identify" => json!({"traits": falsehood()}),
            _ => json!({"event": "Read", "context": {"traits": falsehood()}}),
        };
        send(&server, "wk_web", event(call, "laptop", says)).await;
    }
    send(&server, "wk_web", signed("laptop", "u-1")).await;
    assert_eq!(shop.comes(&server, "laptop", 2).await, none);
    let person = shop.person(&server, "u-1").await;
    assert_eq!((&person["name"], values(&person["traits"])), (&json!("u-1"), Vec::new()));
    assert_eq!(values(&person["claims"]), all);
    assert_eq!(shop.sent(), []);

    // What a server says is not written over, however late a stranger says something else.
    let hers = json!({"name": "Ada", "phone": HERS});
    send(
        &server,
        "wk_bank",
        json!({"type": "identify", "userId": "u-1", "messageId": "ada", "traits": hers}),
    )
    .await;
    let later = json!({"traits": falsehood(), "properties": {"again": true}});
    send(&server, "wk_web", event("identify", "laptop", later)).await;
    assert_eq!(shop.comes(&server, "laptop", 3).await.0, "accepted");
    let sent = shop.sent();
    assert_eq!(sent.len(), 1);
    assert!(sent[0].0 == HERS && sent[0].1.starts_with("Hello Ada!"), "{sent:?}");
    assert!(!sent[0].1.contains("Bank") && !sent[0].1.contains("false"), "{sent:?}");

    let before = shop.person(&server, "u-1").await;
    shop.world.ask(&server, Method::POST, "/v1/projection/rebuild", json!({})).await;
    until("people to be rebuilt", async || {
        let standing = shop.world.get(&server, "/v1/projection").await;
        standing["rebuild"].is_null().then_some(())
    })
    .await;
    assert_eq!(shop.person(&server, "u-1").await, before);

    // That nothing is wanted any more needs no proof.
    let enough = json!({"traits": {"consent_sms": false}});
    send(&server, "wk_web", event("identify", "laptop", enough)).await;
    let (state, why) = shop.comes(&server, "laptop", 4).await;
    assert!(state == "withheld" && why.contains("does not want"), "{state}: {why}");
    assert_eq!(shop.sent().len(), 1);
    server.stop().await;
}

#[tokio::test]
async fn an_address_that_was_claimed_before_is_used_only_where_nobody_sure_says_one() {
    let mut shop = Shop::new().await;
    let guarded = shop.world.toml.clone();
    shop.world.toml = guarded.replace(SECRET_LINE, "");
    let server = shop.world.start().await;
    let claimed = json!({"userId": "u-1", "traits": {"phone": FALSE}});
    send(&server, "wk_web", event("identify", "laptop", claimed)).await;
    server.stop().await;
    shop.world.toml = guarded;
    let server = shop.world.start().await;
    send(&server, "wk_web", signed("laptop", "u-1")).await;
    assert_eq!(shop.comes(&server, "laptop", 1).await.0, "accepted");
    let traits = json!({"phone": HERS});
    send(
        &server,
        "wk_bank",
        json!({"type": "identify", "userId": "u-1", "messageId": "ada", "traits": traits}),
    )
    .await;
    assert_eq!(shop.comes(&server, "laptop", 2).await.0, "accepted");
    let to: Vec<_> = shop.sent().into_iter().map(|(to, _)| to).collect();
    assert_eq!(to, [FALSE, HERS]);
    server.stop().await;
}

#[tokio::test]
async fn a_hundred_false_devices_from_before_do_not_keep_the_true_one_out() {
    let mut shop = Shop::new().await;
    let guarded = shop.world.toml.clone();
    shop.world.toml = guarded.replace(SECRET_LINE, "");
    let server = shop.world.start().await;
    for n in 0..100 {
        let device = format!("false-{n}");
        let says = json!({"event": "Read", "userId": "u-1"});
        send(&server, "wk_web", event("track", &device, says)).await;
    }
    send(&server, "wk_web", event("track", "laptop", json!({"event": "Read", "userId": "thief"})))
        .await;
    server.stop().await;
    shop.world.toml = guarded;
    let server = shop.world.start().await;
    send(&server, "wk_web", signed("laptop", "u-1")).await;
    let laptop = until("the laptop to be hers", async || {
        let laptop = shop.person(&server, "anonymous:laptop").await;
        let known = laptop["identifiers"].as_array().unwrap();
        known.iter().any(|it| it["value"] == "u-1").then_some(laptop)
    })
    .await;
    let known = laptop["identifiers"].as_array().unwrap();
    assert!(known.len() == 101 && known.iter().all(|it| it["value"] != "thief"), "{laptop}");
    let graph = shop.world.get(&server, "/v1/people/u-1/graph").await;
    let refused =
        graph["edges"].as_array().unwrap().iter().filter(|edge| edge["state"] == "refused");
    let mut refused: Vec<_> =
        refused.map(|edge| (&edge["b"], edge["reason"].as_str().unwrap())).collect();
    refused.sort_by_key(|(b, _)| b.to_string());
    let why = refused.iter().map(|(_, why)| *why);
    assert!(
        why.clone().count() == 2
            && why.clone().all(|why| why.starts_with("what is proven comes first")),
        "{refused:?}"
    );
    server.stop().await;
}
