//! Who is told what is meant for a person, over the real server: with a public key anyone can say that he is somebody.
//! Waits for conditions only.
#![allow(clippy::unwrap_used, reason = "what a test expects, it unwraps, in its functions too")]

use std::fs;

use crate::listening::{OTHER, TOKEN, World, ask, send, told};
use crate::server::{self, Server, client, until};
use reqwest::Method;
use serde_json::{Value, json};

const RULES: &str = r#"
[rules.payment_failed]
on = "Payment Failed"
from = "server"
late = "fire"
then = [{ in_app = "card", template = "payment.txt", expires = "1h" }]

[rules.hello]
on = "Came"
then = [{ in_app = "banner", template = "hello.txt", expires = "1h" }]
"#;
const HELLO: &str = "+++\n[data]\naccount = \"{{ account.name if account else '' }}\"\n+++\n\
    {{ person.name }} {{ person.traits }} {{ person.identifiers }}\n";
const SECRET: &str = "a-secret-of-the-shop-s-backend";
const PROTECTED: &str = "[sources.web]\nwrite_key = 'wk_web'\nidentify_secret = 'a-secret-of-the-shop-s-backend'\n\
    [sources.app]\nwrite_key = 'wk_app'\n[sources.bank]\nwrite_key = 'wk_bank'\ntrust = 'server'\n";
/// What only Ada's own devices may read of her.
const ADAS: [&str; 3] = ["Ada", "Acme", "crm:"];

fn world(sources: &str) -> World {
    let files = [
        ("rules.toml", RULES),
        ("payment.txt", "Ada, your payment did not go through.\n"),
        ("hello.txt", HELLO),
    ];
    World::new(&files, sources)
}

fn signed(text: &str) -> Value {
    let mac = hmac_sha256::HMAC::mac(text, SECRET);
    json!(mac.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

/// An event of a device's, with all that it says besides.
fn event(call: &str, device: &str, more: Value) -> Value {
    let mut event = json!({"type": call, "anonymousId": device, "messageId": format!("{call} {device} {more}")});
    let Value::Object(more) = more else { panic!("it says members") };
    event.as_object_mut().unwrap().extend(more);
    event
}

fn identify(device: &str, user: &str) -> Value {
    let context = json!({ "signature": signed(user) });
    event("identify", device, json!({"userId": user, "context": context}))
}

fn failed(order: &str) -> Value {
    json!({"type": "track", "event": "Payment Failed", "userId": "u-1", "messageId": order})
}

/// What the bank's and the shop's own servers know of her.
async fn ada(server: &Server) {
    let traits = json!({"name": "Ada", "email": "ada@example.com", "phone": "+4930123456"});
    let known = json!({"type": "identify", "userId": "u-1", "messageId": "ada", "traits": traits,
                       "context": {"externalIds": [{"type": "crm", "id": "c-1"}]}});
    send(server, "wk_bank", known).await;
    let group = json!({"type": "group", "userId": "u-1", "groupId": "acme", "messageId": "acme", "traits": {"name": "Acme"}});
    send(server, "wk_bank", group).await;
    // Of this address nothing is known but what a server says.
    let lead = json!({"type": "identify", "messageId": "lead", "anonymousId": "email:lead@example.com",
                      "traits": {"name": "Ada Lead"}, "context": {"externalIds": [{"type": "email", "id": "lead@example.com"}]}});
    send(server, "wk_bank", lead).await;
}

/// Whether it is refused for want of a signature.
async fn is_refused(server: &Server, key: &str, event: Value) -> bool {
    let body = json!({ "writeKey": key, "batch": [event] }).to_string();
    let answer = client().post(server.at("/v1/batch?receipt=1")).body(body).send().await.unwrap();
    let receipt: Value = server::json(answer).await;
    receipt["events"][0]["reason"] == "bad_signature"
}

/// All ways to say that one is Ada with the key of the page, or of an app whose key asks for nothing; each on a device of its own.
async fn steal(server: &Server) -> Vec<String> {
    let (traits, external) = (
        json!({"email": "ada@example.com", "phone": "+4930123456"}),
        json!([{"type": "crm", "id": "c-1"}]),
    );
    let lead = json!({"email": "lead@example.com"});
    let mut thieves = Vec::new();
    for key in ["wk_web", "wk_app"] {
        let claims = [
            ("track", json!({"event": "Came", "userId": "u-1"})),
            ("page", json!({"userId": "u-1"})),
            ("screen", json!({"userId": "u-1"})),
            (
                "track",
                json!({"event": "Came", "userId": "u-1", "context": {"signature": signed("u-2")}}),
            ),
            ("track", json!({"event": "Came", "context": {"traits": traits}})),
            ("track", json!({"event": "Came", "context": {"traits": lead}})),
            ("track", json!({"event": "Came", "context": {"externalIds": external}})),
            ("identify", json!({"traits": traits})),
            ("identify", json!({"traits": lead})),
            ("group", json!({"groupId": "acme"})),
            ("track", json!({"event": "Came", "context": {"groupId": "acme"}})),
            // A user of the shop's, who adds what is another's to his own id, or whose id looks like another's.
            (
                "identify",
                json!({"userId": "u-2", "traits": lead, "context": {"signature": signed("u-2"), "externalIds": external}}),
            ),
            ("identify", json!({"userId": " u-1", "context": {"signature": signed(" u-1")}})),
        ];
        for (number, (call, says)) in claims.into_iter().enumerate() {
            let device = format!("{key}-thief-{number}");
            send(server, key, event(call, &device, says)).await;
            thieves.push(device);
        }
        let device = format!("{key}-thief-alias");
        for (call, says) in [
            ("identify", json!({"userId": "u-1"})),
            ("group", json!({"userId": "u-1", "groupId": "acme"})),
            ("alias", json!({"userId": "u-1", "previousId": device})),
            (
                "alias",
                json!({"userId": "u-2", "previousId": "u-1", "context": {"signature": signed("u-2")}}),
            ),
        ] {
            let says = event(call, &device, says);
            match key {
                "wk_web" => assert!(is_refused(server, key, says.clone()).await, "{says}"),
                _ => send(server, key, says).await,
            }
        }
        send(server, key, event("track", &device, json!({"event": "Came", "userId": "u-1"}))).await;
        thieves.push(device);
    }
    thieves
}

/// That none of these devices reads anything of hers, nor what is about her because the device has done something.
async fn read_nothing(server: &Server, thieves: &[String], round: &str) {
    let came = |device: &str| {
        let says = json!({"event": "Came", "userId": "u-1", "properties": {"round": round}});
        event("track", device, says)
    };
    for thief in thieves {
        send(server, "wk_web", came(thief)).await;
    }
    // By then what the others did has been seen, too.
    let witness = format!("witness of {round}");
    send(server, "wk_web", came(&witness)).await;
    assert_eq!(told(server, &witness, TOKEN, 10_000).await.len(), 1);
    for thief in thieves {
        let waits = json!(told(server, thief, TOKEN, 50).await).to_string();
        assert!(ADAS.iter().all(|word| !waits.contains(word)), "{thief} reads {waits}");
    }
}

#[tokio::test]
async fn where_a_proof_is_asked_for_only_who_has_it_is_told() {
    let world = world(PROTECTED);
    let server = world.start().await;
    ada(&server).await;
    let thieves = steal(&server).await;
    send(&server, "wk_web", identify("laptop", "u-1")).await;
    // As each call of a page's names its user, without a signature.
    send(&server, "wk_web", event("track", "laptop", json!({"event": "Read", "userId": "u-1"})))
        .await;
    send(&server, "wk_bank", failed("o-1")).await;
    let found = told(&server, "laptop", TOKEN, 10_000).await;
    assert_eq!(found[0]["body"], "Ada, your payment did not go through.");
    read_nothing(&server, &thieves, "round 1").await;
    // Nor is it over because a stranger says so.
    let seen = json!({"event": "Message Shown", "userId": "u-1", "properties": {"message_id": found[0]["id"]}});
    send(&server, "wk_web", event("track", &thieves[0], seen)).await;

    let person = world.get(&server, "/v1/people/u-1").await;
    let known: Vec<_> =
        person["identifiers"].as_array().unwrap().iter().map(|it| &it["value"]).collect();
    assert_eq!(known, ["u-1", "crm:c-1", "ada@example.com", "+4930123456", "laptop"]);
    let graph = world.get(&server, "/v1/people/u-1/graph").await;
    let laptop = graph["edges"]
        .as_array()
        .unwrap()
        .iter()
        .find(|it| it["b"] == "anonymous:laptop" || it["a"] == "anonymous:laptop");
    assert_eq!(
        (&laptop.unwrap()["proven"], &laptop.unwrap()["trusted"]),
        (&json!(true), &json!(false))
    );

    world.ask(&server, Method::POST, "/v1/projection/rebuild", json!({})).await;
    until("people to be rebuilt", async || {
        let standing: Value = world.get(&server, "/v1/projection").await;
        standing["rebuild"].is_null().then_some(())
    })
    .await;
    assert_eq!(told(&server, "laptop", TOKEN, 0).await, found);
    read_nothing(&server, &thieves, "round 2").await;

    // What an operator has taken apart stays apart, whatever is signed again.
    let parted = json!({"a": "user:u-1", "b": "anonymous:laptop"});
    world.ask(&server, Method::POST, "/v1/people/u-1/unmerge", parted).await;
    until("the laptop to be a stranger's", async || {
        told(&server, "laptop", TOKEN, 0).await.is_empty().then_some(())
    })
    .await;
    let mut again = identify("laptop", "u-1");
    again["messageId"] = json!("again");
    send(&server, "wk_web", again).await;
    assert!(told(&server, "laptop", TOKEN, 300).await.is_empty());
    let joined = json!({"with": "anonymous:laptop"});
    world.ask(&server, Method::POST, "/v1/people/u-1/merge", joined).await;
    until("the laptop to be hers", async || {
        (told(&server, "laptop", TOKEN, 0).await == found).then_some(())
    })
    .await;

    // Erased, she is named nowhere, by whoever has claimed to be her either.
    let confirm = json!({"confirm": person["id"]});
    world.ask(&server, Method::POST, "/v1/people/u-1/erase", confirm).await;
    let token = world.admin_token();
    let events = client().get(server.at("/v1/events")).bearer_auth(token).send().await.unwrap();
    let events = events.text().await.unwrap();
    assert!(events.contains("thief") && !events.contains("\"u-1\""), "{events}");
    server.stop().await;
}

#[tokio::test]
async fn where_nobody_asks_for_a_proof_who_says_to_be_somebody_is_told() {
    let sources = PROTECTED.lines().filter(|line| !line.starts_with("identify_secret"));
    let world = world(&sources.collect::<Vec<_>>().join("\n"));
    let server = world.start().await;
    ada(&server).await;
    send(&server, "wk_web", event("track", "laptop", json!({"event": "Read", "userId": "u-1"})))
        .await;
    let traits = json!({"traits": {"email": "ada@example.com"}});
    send(&server, "wk_app", event("track", "phone", json!({"event": "Read", "context": traits})))
        .await;
    send(&server, "wk_bank", failed("o-1")).await;
    assert_eq!(told(&server, "laptop", TOKEN, 10_000).await.len(), 1);
    send(&server, "wk_bank", failed("o-2")).await;
    assert_eq!(told(&server, "phone", TOKEN, 10_000).await.len(), 1);
    server.stop().await;
}

#[tokio::test]
async fn what_was_said_before_a_proof_was_asked_for_leads_to_nothing_until_it_is_signed() {
    let sources = PROTECTED.lines().filter(|line| !line.starts_with("identify_secret"));
    let mut world = world(&sources.collect::<Vec<_>>().join("\n"));
    let server = world.start().await;
    ada(&server).await;
    send(&server, "wk_web", event("identify", "laptop", json!({"userId": "u-1"}))).await;
    send(&server, "wk_web", event("track", "thief", json!({"event": "Read", "userId": "u-1"})))
        .await;
    send(&server, "wk_bank", failed("o-1")).await;
    assert_eq!(told(&server, "laptop", TOKEN, 10_000).await.len(), 1);
    server.stop().await;
    world.toml = world
        .toml
        .replace("wk_web'", "wk_web'\nidentify_secret = 'a-secret-of-the-shop-s-backend'");
    let server = world.start().await;
    assert!(told(&server, "laptop", TOKEN, 0).await.is_empty());
    read_nothing(&server, &["thief".to_owned()], "round 3").await;
    send(&server, "wk_web", identify("laptop", "u-1")).await;
    let found = told(&server, "laptop", TOKEN, 10_000).await;
    assert_eq!(found[0]["body"], "Ada, your payment did not go through.");
    read_nothing(&server, &["thief".to_owned()], "round 4").await;
    server.stop().await;
}

#[tokio::test]
async fn a_device_whose_token_is_lost_is_told_nothing_and_its_place_is_taken_by_nobody() {
    let world = world(PROTECTED);
    let server = world.start().await;
    send(&server, "wk_web", identify("laptop", "u-1")).await;
    send(&server, "wk_bank", failed("o-1")).await;
    assert_eq!(told(&server, "laptop", TOKEN, 10_000).await.len(), 1);
    server.stop().await;
    let file = |name: &str| world.folder.path().join("data").join(name);
    for name in ["state.db", "state.db-wal", "state.db-shm"] {
        let _ = fs::remove_file(file(name));
    }
    let server = world.start().await;
    for token in [OTHER, TOKEN] {
        let asked = json!({"writeKey": "wk_web", "anonymousId": "laptop", "token": token});
        assert_eq!(ask(&server, asked).await.status(), 403);
    }
    server.stop().await;
    let server = world.start().await;
    let asked = json!({"writeKey": "wk_web", "anonymousId": "laptop", "token": OTHER});
    assert_eq!(ask(&server, asked).await.status(), 403, "it stays lost");
    send(&server, "wk_web", identify("laptop after reset", "u-1")).await;
    assert_eq!(told(&server, "laptop after reset", OTHER, 10_000).await.len(), 1);
    server.stop().await;
}

#[tokio::test]
async fn of_devices_that_nobody_has_heard_of_nothing_is_kept() {
    let world = world(PROTECTED);
    let server = world.start().await;
    for n in 0..200 {
        assert!(told(&server, &format!("made-up-{n}"), TOKEN, 0).await.is_empty());
    }
    send(&server, "wk_web", identify("laptop", "u-1")).await;
    send(&server, "wk_bank", failed("o-1")).await;
    assert_eq!(told(&server, "laptop", TOKEN, 10_000).await.len(), 1);
    server.stop().await;
    let state = rusqlite::Connection::open(world.folder.path().join("data/state.db")).unwrap();
    let rows: i64 = state.query_row("SELECT count(*) FROM device", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 1);
}
