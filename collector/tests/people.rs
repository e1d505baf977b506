//! People over the real server: one line from every channel to one profile, taken apart again, erased, rebuilt, and never
//! different from a clean fold. Waits for conditions only.
#![allow(clippy::unwrap_used, reason = "what a test expects, it unwraps, in its functions too")]

use std::{
    fs,
    path::Path,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crate::server::{self, PATIENCE, Receiver, SECRET, Server, client};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use headwater_collector::{
    event_log::Timestamp,
    import, people,
    state::{Erasure, State},
};
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};

const SOURCES: &str = "[sources.web]\nwrite_key = 'wk_web'\n[sources.app]\nwrite_key = 'wk_app'\n\
    [sources.payments]\nwrite_key = 'wk_pay'\ntrust = 'server'\n\
    [sources.support]\nwrite_key = 'wk_help'\ntrust = 'server'\n";

const STRIPE_SECRET: &str = "whsec_0123456789abcdef0123456789abcdef";
const ZENDESK_SECRET: &str = "dGhpc19zZWNyZXRfaXNfZm9yX3Rlc3Rpbmdfb25seQ==";

/// A web page, an app, and two systems that post what they document.
fn four_channels() -> String {
    format!(
        "[sources.web]\nwrite_key = 'wk_web'\n[sources.app]\nwrite_key = 'wk_app'\n\
         [inbound.payments]\nkind = 'stripe'\nsecret = '{STRIPE_SECRET}'\n\
         [inbound.support]\nkind = 'zendesk'\nsecret = '{ZENDESK_SECRET}'\n"
    )
}

fn minutes_ago(minutes: u64) -> String {
    Timestamp::from_unix_ms(i64::try_from((now() - minutes * 60) * 1000).unwrap()).to_string()
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// As Zendesk posts and signs it.
fn zendesk(call: &str, ticket: &Value) -> ([(&'static str, String); 3], String) {
    let at = Timestamp::from_unix_ms(i64::try_from(now() * 1000).unwrap()).to_string();
    let body = ticket.to_string();
    let mac = hmac_sha256::HMAC::mac(format!("{at}{body}").as_bytes(), ZENDESK_SECRET.as_bytes());
    let headers = [
        ("x-zendesk-webhook-invocation-id", call.to_owned()),
        ("x-zendesk-webhook-signature", BASE64_STANDARD.encode(mac)),
        ("x-zendesk-webhook-signature-timestamp", at),
    ];
    (headers, body)
}

/// Speaks to a server as an operator.
struct Operator<'s> {
    server: &'s Server,
    token: String,
}

impl Operator<'_> {
    async fn ask(&self, method: reqwest::Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let mut request = client().request(method, self.server.at(path)).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or_default())
    }

    async fn get(&self, path: &str) -> Value {
        let (status, answer) = self.ask(reqwest::Method::GET, path, None).await;
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    async fn order(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.ask(reqwest::Method::POST, path, Some(body)).await;
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    async fn send(&self, key: &str, events: Value) {
        let post = client().post(self.server.at("/v1/batch")).basic_auth(key, Some(""));
        let answer = post.body(json!({"batch": events}).to_string()).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        self.caught_up().await;
    }

    /// What another system posts.
    async fn delivered(&self, to: &str, headers: &[(&'static str, String)], body: String) -> Value {
        let mut post = client().post(self.server.at(&format!("/v1/in/{to}"))).body(body);
        for (name, value) in headers {
            post = post.header(*name, value);
        }
        let answer = post.send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert_eq!(status, 200, "{text}");
        self.caught_up().await;
        serde_json::from_str(&text).unwrap()
    }

    /// Waits until people have what the log has.
    async fn caught_up(&self) {
        let begun = Instant::now();
        loop {
            let at = self.get("/v1/projection").await;
            if at["applied"] == at["end"] && at["rebuild"].is_null() {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{at}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn names(timeline: &Value) -> Vec<(String, String)> {
    let chapters = timeline["chapters"].as_array().unwrap();
    let moments = chapters.iter().flat_map(|chapter| chapter["moments"].as_array().unwrap());
    moments
        .map(|moment| {
            let text = |name: &str| moment[name].as_str().unwrap().to_owned();
            (text("source"), text("name"))
        })
        .collect()
}

/// All that is known, in words.
fn everything(data: &Path) -> Vec<String> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
    let db = Connection::open_with_flags(data.join("people.db"), flags).unwrap();
    people::testing::everything(&db)
}

#[tokio::test]
async fn one_person_across_web_app_payments_and_support() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with(folder.path(), &four_channels()).await;
    let operator = Operator { server: &server, token: server.new_token.clone().unwrap() };
    operator
        .send(
            "wk_web",
            json!([{"type": "page", "name": "Pricing", "anonymousId": "d-1", "messageId": "1", "timestamp": minutes_ago(30)}]),
        )
        .await;
    operator
        .send(
            "wk_web",
            json!([{"type": "identify", "anonymousId": "d-1", "userId": "u-1", "messageId": "2", "timestamp": minutes_ago(29),
            "traits": {"email": "Shopper@example.com", "name": "A shopper"}}]),
        )
        .await;
    operator
        .send("wk_app", json!([{"type": "screen", "name": "Home", "anonymousId": "phone", "userId": "u-1", "messageId": "3", "timestamp": minutes_ago(20)}]))
        .await;

    // A page that is open sees what comes, as it comes.
    let live = server.at("/v1/people/u-1/live");
    let mut live = client().get(live).bearer_auth(&operator.token).send().await.unwrap();
    assert_eq!(live.headers()["content-type"], "text/event-stream");
    let mut next = async || {
        loop {
            let piece =
                tokio::time::timeout(PATIENCE, live.chunk()).await.unwrap().unwrap().unwrap();
            let piece = String::from_utf8(piece.to_vec()).unwrap();
            if let Some(data) = piece.lines().find_map(|line| line.strip_prefix("data: ")) {
                return serde_json::from_str::<Value>(data).unwrap();
            }
        }
    };
    assert_eq!(next().await["events"], 3);
    let failed = json!({
        "id": "evt_1", "object": "event", "type": "invoice.payment_failed",
        "created": now() - 600,
        "data": {"object": {
            "id": "in_1", "object": "invoice", "customer": "cus_1",
            "customer_email": "shopper@EXAMPLE.com", "amount_due": 4900, "currency": "usd",
        }},
    });
    let (at, body) = (now(), failed.to_string());
    let mac = hmac_sha256::HMAC::mac(format!("{at}.{body}").as_bytes(), STRIPE_SECRET.as_bytes());
    let hex: String = mac.iter().map(|byte| format!("{byte:02x}")).collect();
    let signature = [("stripe-signature", format!("t={at},v1={hex}"))];
    operator.delivered("payments", &signature, body).await;
    assert_eq!(next().await["events"], 4);

    // Ten minutes later, by the address alone.
    let ticket = json!({
        "type": "ticket.opened",
        "ticket": {"id": "77", "subject": "My card?", "priority": "high", "channel": "email"},
        "requester": {"id": "9", "email": "shopper@example.com"},
    });
    let (headers, body) = zendesk("call-1", &ticket);
    operator.delivered("support", &headers, body).await;
    assert_eq!(next().await["events"], 5);

    let person = operator.get("/v1/people/shopper%40example.com").await;
    assert_eq!(person["name"], "A shopper");
    for known in [
        "u-1",
        "user:u-1",
        "anonymous:d-1",
        "phone",
        "external:stripe_customer_id:cus_1",
        "zendesk_user_id:9",
    ] {
        assert_eq!(operator.get(&format!("/v1/people/{known}")).await, person, "{known}");
    }
    let whole = operator.get("/v1/people/u-1/timeline").await;
    let expected = [
        ("support", "Ticket Opened"),
        ("payments", "Payment Failed"),
        ("app", "Home"),
        ("web", ""),
        ("web", "Pricing"),
    ];
    assert_eq!(names(&whole), expected.map(|(source, name)| (source.to_owned(), name.to_owned())));
    assert_eq!(whole["chapters"].as_array().unwrap().len(), 1);
    // In pages, and in part.
    let first = operator.get("/v1/people/u-1/timeline?limit=2").await;
    let next = first["next"].as_str().unwrap();
    let second = operator.get(&format!("/v1/people/u-1/timeline?limit=9&before={next}")).await;
    assert_eq!([names(&first), names(&second)].concat(), names(&whole));
    assert!(second.get("next").is_none());
    let failed = operator.get("/v1/people/u-1/timeline?event=Payment+Failed").await;
    assert_eq!(names(&failed), [("payments".to_owned(), "Payment Failed".to_owned())]);
    assert_eq!(names(&operator.get("/v1/people/u-1/timeline?source=web").await).len(), 2);
    assert_eq!(names(&operator.get("/v1/people/u-1/timeline?type=screen").await).len(), 1);
    let found = operator.get("/v1/people?q=a%20shop").await;
    assert_eq!(found["found"][0]["id"], person["id"]);

    // One statement taken back: two people, each with its own.
    let order = json!({"a": "anonymous:d-1", "b": "user:u-1"});
    let mut preview = order.clone();
    preview["preview"] = json!(true);
    let seen = operator.order("/v1/people/u-1/unmerge", preview).await;
    assert_eq!(operator.get("/v1/people/u-1").await, person, "a preview changes nothing");
    operator.order("/v1/people/u-1/unmerge", order.clone()).await;
    assert_eq!(seen["people"][0], operator.get("/v1/people/anonymous:d-1").await);
    assert_eq!(seen["people"][1], operator.get("/v1/people/u-1").await);
    assert_eq!(
        names(&operator.get("/v1/people/d-1/timeline").await),
        [("web".to_owned(), "Pricing".to_owned())]
    );
    let (status, again) =
        operator.ask(reqwest::Method::POST, "/v1/people/u-1/unmerge", Some(order)).await;
    assert_eq!((status, again["error"]["code"].as_str().unwrap()), (409, "changes_nothing"));
    let graph = operator.get("/v1/people/u-1/graph").await;
    let states: Vec<_> = graph["edges"]
        .as_array()
        .unwrap()
        .iter()
        .map(|edge| edge["state"].as_str().unwrap())
        .collect();
    assert_eq!(states.iter().filter(|state| **state == "retracted").count(), 1);
    let merged = operator.order("/v1/people/u-1/merge", json!({"with": "d-1"})).await;
    assert_eq!(merged["events"], 5);
    let graph = operator.get("/v1/people/u-1/graph").await;
    let mut by_hand = graph["edges"].as_array().unwrap().iter().filter(|e| e["via"] == "operator");
    assert_eq!(by_hand.next().unwrap()["source"], "first", "the name of the token");
    // A merge is taken back with the words it was made with.
    let made_up = json!({"with": "external:zendesk_user_id:9"});
    operator
        .send(
            "wk_web",
            json!([{"type": "track", "event": "Seen", "anonymousId": "d-2", "messageId": "6"}]),
        )
        .await;
    assert_eq!(operator.order("/v1/people/d-2/merge", made_up).await["events"], 6);
    let same = json!({"a": "anonymous:d-2", "b": "external:zendesk_user_id:9"});
    operator.order("/v1/people/d-2/unmerge", same).await;
    assert_eq!(operator.get("/v1/people/u-1").await["events"], 5);
    let (status, answer) =
        operator.ask(reqwest::Method::GET, "/v1/people/u-1/timeline?name=Seen", None).await;
    assert_eq!((status, &answer["error"]["code"]), (400, &json!("invalid_parameter")));

    // After a restart it is the same, and so it is made anew.
    let token = operator.token.clone();
    server.stop().await;
    let before = everything(folder.path());
    let server = Server::start_with(folder.path(), &four_channels()).await;
    let operator = Operator { server: &server, token };
    assert_eq!(operator.get("/v1/people/u-1").await, merged);
    operator.order("/v1/projection/rebuild", json!({})).await;
    operator.caught_up().await;
    assert_eq!(operator.get("/v1/people/u-1").await, merged);
    server.stop().await;
    assert_eq!(everything(folder.path()), before);
    assert!(!folder.path().join("people.rebuild.db").exists());
}

#[tokio::test]
async fn who_is_erased_is_nowhere_and_stays_away() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::start().await;
    let hook = format!(
        "{SOURCES}[consumers.crm]\nkind = 'webhook'\nurl = '{}'\nsecret = '{SECRET}'\nallow_private = true\n\
         [inbound.desk]\nkind = 'zendesk'\nsecret = '{ZENDESK_SECRET}'\n\
         [sources.trial]\nwrite_key = 'wk_trial'\ntest = true\n",
        receiver.url
    );
    let server = Server::start_with(folder.path(), &hook).await;
    let operator = Operator { server: &server, token: server.new_token.clone().unwrap() };
    // Before anybody knows who that is, too.
    operator
        .send("wk_trial", json!([
            {"type": "track", "event": "Tried", "anonymousId": "device-goes", "messageId": "t-1", "properties": {"secret": "Rumpelstiltskin"}},
            {"type": "track", "event": "Tried", "anonymousId": "d-2", "messageId": "t-2"},
        ]))
        .await;
    operator
        .send("wk_web", json!([
            {"type": "identify", "anonymousId": "device-goes", "userId": "user-goes", "messageId": "1",
                "traits": {"email": "goes@example.com", "secret": "Rumpelstiltskin"}},
            {"type": "identify", "anonymousId": "d-2", "userId": "u-2", "messageId": "2", "traits": {"name": "Stays"}},
            {"type": "track", "event": "Bought", "anonymousId": "device-goes", "messageId": "3"},
        ]))
        .await;
    let stays = operator.get("/v1/people/u-2").await;
    let exported =
        client().get(server.at("/v1/people/user-goes/export")).bearer_auth(&operator.token);
    let exported = exported.send().await.unwrap().text().await.unwrap();
    let lines: Vec<Value> =
        exported.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 5, "{exported}");
    assert_eq!(lines[0]["profile"]["traits"]["secret"]["value"], "Rumpelstiltskin");
    assert_eq!(lines[2]["event"]["event"], "Bought");
    assert_eq!(lines[4]["event"]["event"], "Tried");

    let id = operator.get("/v1/people/user-goes").await["id"].as_str().unwrap().to_owned();
    let erase = format!("/v1/people/{id}/erase");
    let (status, unsure) =
        operator.ask(reqwest::Method::POST, &erase, Some(json!({"confirm": "yes"}))).await;
    assert_eq!((status, unsure["error"]["code"].as_str().unwrap()), (400, "invalid_order"));
    let erased = operator.order(&erase, json!({ "confirm": id })).await;
    assert_eq!(erased["events"], 3);
    for gone in [&*id, "user-goes", "device-goes", "goes@example.com"] {
        let (status, _) =
            operator.ask(reqwest::Method::GET, &format!("/v1/people/{gone}"), None).await;
        assert_eq!(status, 404, "{gone}");
    }
    assert_eq!(operator.get("/v1/people?q=rumpel").await["found"], json!([]));
    assert_eq!(operator.get("/v1/people/u-2").await, stays);

    // What still comes from its devices is refused, one by one; others' is not.
    let late = json!({"batch": [
        {"type": "track", "event": "Late", "anonymousId": "device-goes", "messageId": "4"},
        {"type": "track", "event": "Late", "anonymousId": "d-9", "userId": "user-goes", "messageId": "5"},
        {"type": "track", "event": "Late", "anonymousId": "d-2", "messageId": "6"},
    ]});
    let post = client().post(server.at("/v1/batch?receipt=1")).basic_auth("wk_web", Some(""));
    let receipt = server::json(post.body(late.to_string()).send().await.unwrap()).await;
    assert_eq!(receipt["accepted"], 1);
    assert_eq!(receipt["events"][0]["reason"], "suppressed");
    assert_eq!(receipt["events"][1]["reason"], "suppressed");
    // Another system need not send it again.
    let ticket = json!({"type": "ticket.opened", "ticket": {"id": "1"}, "requester": {"id": "9", "external_id": "user-goes"}});
    let (headers, body) = zendesk("call-2", &ticket);
    let answer = operator.delivered("desk", &headers, body).await;
    assert_eq!(answer, json!({"success": true, "accepted": 0, "duplicate": 0, "suppressed": 1}));

    let events = server.events(&operator.token).await;
    let said: Vec<_> = events.iter().map(|event| event["event"].as_str().unwrap_or("-")).collect();
    assert_eq!(said, ["Tried", "-", "Person Erased", "Late"]);
    assert_eq!(events[2]["properties"]["person"], json!(id));
    let said =
        |attempt: &server::Attempt| -> Value { serde_json::from_slice(&attempt.body).unwrap() };
    let passed_on = receiver
        .wait_for("Person Erased", |all| {
            all.iter().any(|one| said(one)["event"] == "Person Erased")
        })
        .await;
    let passed_on = passed_on.iter().map(said).find(|event| event["event"] == "Person Erased");
    assert_eq!(
        passed_on.unwrap()["properties"]["identifiers"],
        json!(["user:user-goes", "anonymous:device-goes"])
    );

    let token = operator.token.clone();
    server.stop().await;
    // In no file at all, but for the ids that consumers need to pass it on.
    for file in walk(folder.path()) {
        let bytes = fs::read(&file).unwrap();
        for text in ["Rumpelstiltskin", "goes@example.com"] {
            let found =
                bytes.windows(text.len()).any(|part| part.eq_ignore_ascii_case(text.as_bytes()));
            assert!(!found, "{text} is in {}", file.display());
        }
    }
    let audited = State::open(&folder.path().join("state.db")).unwrap().audited().unwrap();
    assert_eq!((&*audited[0].action, &*audited[0].subject, audited[0].events), ("erase", &*id, 3));

    // And it does not come back with a file, a restart or a rebuild.
    let lines = [
        json!({"type": "track", "event": "Old", "userId": "user-goes", "messageId": "7"}),
        json!({"type": "track", "event": "Old", "userId": "u-3", "messageId": "8"}),
    ];
    let lines = lines.map(|line| format!("{line}\n")).concat();
    let source = "legacy".parse().unwrap();
    let imported =
        import::import(folder.path(), &mut lines.as_bytes(), Some(&source), &mut Refusals).await;
    let imported = imported.unwrap();
    assert_eq!((imported.accepted, imported.refused), (1, 1));
    let server = Server::start_with(folder.path(), &hook).await;
    let operator = Operator { server: &server, token };
    operator.order("/v1/projection/rebuild", json!({})).await;
    operator.caught_up().await;
    let (status, _) = operator.ask(reqwest::Method::GET, "/v1/people/user-goes", None).await;
    assert_eq!(status, 404);
    assert_eq!(operator.get("/v1/people/u-2").await["events"], 2);
    server.stop().await;
}

/// Asserts that it is said why.
struct Refusals;

impl import::Progress for Refusals {
    fn refused(&mut self, line: u64, why: &str) {
        assert_eq!((line, why.split(':').next()), (1, Some("suppressed")), "{why}");
    }

    fn reached(&mut self, _imported: import::Imported) {}
}

#[tokio::test]
async fn what_operators_decided_goes_along_into_another_log() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with(folder.path(), SOURCES).await;
    let operator = Operator { server: &server, token: server.new_token.clone().unwrap() };
    let seen = |n: u32| json!({"type": "track", "event": "Seen", "userId": format!("u-{n}"), "messageId": n.to_string()});
    operator.send("wk_web", json!([seen(1), seen(2), seen(3)])).await;
    operator.order("/v1/people/u-1/merge", json!({"with": "u-2"})).await;
    operator.order("/v1/people/u-1/merge", json!({"with": "u-3"})).await;
    operator.order("/v1/people/u-1/unmerge", json!({"a": "user:u-1", "b": "user:u-3"})).await;
    let lines = client().get(server.at("/v1/events")).bearer_auth(&operator.token).send().await;
    let lines = lines.unwrap().text().await.unwrap();
    server.stop().await;

    let other = tempfile::tempdir().unwrap();
    let imported = import::import(other.path(), &mut lines.as_bytes(), None, &mut Refusals).await;
    assert_eq!(imported.unwrap().accepted, 6);
    // A source that only calls itself by our name decides nothing.
    let forged = lines.lines().find(|line| line.contains("u-3") && line.contains("Merged"));
    let forged = forged.unwrap().replace("\"derivedBy\":\"operator\"", "\"derivedBy\":\"someone\"");
    let forged = forged.replace("\"messageId\":\"", "\"messageId\":\"forged-");
    let forged = import::import(other.path(), &mut forged.as_bytes(), None, &mut Refusals).await;
    assert_eq!(forged.unwrap().accepted, 1);
    let server = Server::start_with(other.path(), SOURCES).await;
    let operator = Operator { server: &server, token: server.new_token.clone().unwrap() };
    operator.caught_up().await;
    let [one, two, three] = [1, 2, 3].map(|n| format!("/v1/people/u-{n}"));
    let id = operator.get(&one).await["id"].clone();
    assert_eq!(operator.get(&two).await["id"], id);
    assert_ne!(operator.get(&three).await["id"], id);
    server.stop().await;
}

/// All events that readers get, as one text.
async fn all_events(server: &Server, token: &str) -> String {
    server.events(token).await.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_erased_while_its_events_pour_in_is_in_no_file_and_in_no_rebuild() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with(folder.path(), SOURCES).await;
    let operator = Operator { server: &server, token: server.new_token.clone().unwrap() };
    let people = 6;
    for round in 0..people {
        let who = format!("leaves-{round}");
        let url = server.at("/v1/batch");
        let sent = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let writers = (0..4).map(|writer| {
            let (who, url, sent) = (who.clone(), url.clone(), std::sync::Arc::clone(&sent));
            let client = client();
            tokio::spawn(async move {
                for n in 0.. {
                    let event = json!({"type": "track", "event": "Seen", "userId": who, "messageId": format!("{who}-{writer}-{n}")});
                    let post = client.post(&url).basic_auth("wk_web", Some(""));
                    let post = post.body(json!({"batch": [event]}).to_string());
                    let answer = post.send().await.unwrap();
                    assert_eq!(answer.status(), 200);
                    if sent.load(std::sync::atomic::Ordering::SeqCst) {
                        return;
                    }
                }
            })
        });
        let writers: Vec<_> = writers.collect();
        // Somebody else, at the same device: what is said of both is the other's.
        let shared = json!([{"type": "track", "event": "Seen", "userId": who, "anonymousId": "till"},
            {"type": "track", "event": "Bought", "userId": "stays", "anonymousId": "till"}]);
        operator.send("wk_web", shared).await;
        let id =
            operator.get(&format!("/v1/people/{who}")).await["id"].as_str().unwrap().to_owned();
        operator.order(&format!("/v1/people/{id}/erase"), json!({ "confirm": id })).await;
        sent.store(true, std::sync::atomic::Ordering::SeqCst);
        for writer in writers {
            writer.await.unwrap();
        }
        let events = all_events(&server, &operator.token).await;
        let of_them = events.lines().filter(|line| line.contains(&who));
        assert_eq!(of_them.filter(|line| !line.contains("Person Erased")).count(), 0, "{who}");
    }
    operator.caught_up().await;
    let before = everything(folder.path());
    operator.order("/v1/projection/rebuild", json!({})).await;
    operator.caught_up().await;
    assert_eq!(operator.get("/v1/people/stays").await["events"], people);
    assert_eq!(everything(folder.path()), before, "made anew it is the same");
    server.stop().await;
}

#[tokio::test]
async fn an_erasure_that_a_crash_cut_short_is_finished_after_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with(folder.path(), SOURCES).await;
    let operator = Operator { server: &server, token: server.new_token.clone().unwrap() };
    operator
        .send(
            "wk_web",
            json!([{"type": "track", "event": "Seen", "userId": "half-gone", "messageId": "1"}]),
        )
        .await;
    let id = operator.get("/v1/people/half-gone").await["id"].as_str().unwrap().to_owned();
    let token = operator.token.clone();
    server.stop().await;
    let state = State::open(&folder.path().join("state.db")).unwrap();
    let erasure = Erasure {
        id: "erasure-1".to_owned(),
        person: id.clone(),
        by: "first".to_owned(),
        at: Timestamp::from_unix_ms(1),
        identifiers: vec!["user:half-gone".to_owned()],
        events: 0,
    };
    state.begin_erasure(&erasure).unwrap();
    drop(state);

    let server = Server::start_with(folder.path(), SOURCES).await;
    let operator = Operator { server: &server, token };
    let begun = Instant::now();
    while !all_events(&server, &operator.token).await.contains("Person Erased") {
        assert!(begun.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let gone = operator.ask(reqwest::Method::GET, "/v1/people/half-gone", None).await.0;
    assert_eq!(gone, 404);
    assert_eq!(server.events(&operator.token).await.len(), 1);
    server.stop().await;
    let state = State::open(&folder.path().join("state.db")).unwrap();
    assert_eq!(state.erasures().unwrap(), []);
    assert_eq!(state.audited().unwrap()[0].subject, id);
}

#[tokio::test]
async fn a_damaged_database_is_made_anew_while_the_server_runs() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with(folder.path(), SOURCES).await;
    let operator = Operator { server: &server, token: server.new_token.clone().unwrap() };
    let some = |from: usize| -> Value {
        let event = |n: usize| json!({"type": "identify", "userId": format!("u-{n}"), "messageId": n.to_string(), "traits": {"name": format!("Number {n}")}});
        (from..from + 300).map(event).collect()
    };
    operator.send("wk_web", some(0)).await;
    let token = operator.token.clone();
    server.stop().await;
    let path = folder.path().join("people.db");
    let mut bytes = fs::read(&path).unwrap();
    let pages = bytes.len() / 4096;
    // Beyond the schema's own pages.
    bytes[4096 * (pages / 2)..].fill(0xA5);
    fs::write(&path, bytes).unwrap();

    let server = Server::start_with(folder.path(), SOURCES).await;
    let operator = Operator { server: &server, token };
    operator.send("wk_web", some(300)).await;
    for known in ["u-0", "u-299", "u-300", "u-599"] {
        assert_eq!(operator.get(&format!("/v1/people/{known}")).await["events"], 1, "{known}");
    }
    server.stop().await;
}

fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files.extend(walk(&path)),
            false => files.push(path),
        }
    }
    files
}

#[tokio::test]
async fn what_is_asked_wrongly_is_answered_helpfully() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let operator = Operator { server: &server, token: server.new_token.clone().unwrap() };
    let (get, post) = (reqwest::Method::GET, reqwest::Method::POST);
    for (method, path, body, status, code) in [
        (get.clone(), "/v1/people/nobody-here", None, 404, "not_found"),
        (get.clone(), "/v1/people/%FF", None, 400, "invalid_parameter"),
        (get.clone(), "/v1/people/u/timeline?limit=0", None, 400, "invalid_parameter"),
        (get.clone(), "/v1/people/u/timeline?before=x", None, 400, "invalid_parameter"),
        (get.clone(), "/v1/accounts/none", None, 404, "not_found"),
        (get.clone(), "/v1/people/u/merge", None, 405, "method_not_allowed"),
        (post.clone(), "/v1/people/u", None, 405, "method_not_allowed"),
        (post.clone(), "/v1/people/u/merge", Some("{"), 400, "invalid_json"),
        (post.clone(), "/v1/people/u/merge", Some("{\"wiht\":1}"), 400, "invalid_order"),
        (post.clone(), "/v1/people/u/merge", Some("{\"with\":\"v\"}"), 404, "not_found"),
        (
            post,
            "/v1/people/u/unmerge",
            Some("{\"a\":\"x\",\"b\":\"user:y\"}"),
            400,
            "invalid_order",
        ),
    ] {
        let request = client().request(method, server.at(path)).bearer_auth(&operator.token);
        let answer = request.body(body.unwrap_or_default()).send().await.unwrap();
        let found = answer.status().as_u16();
        let error = server::json(answer).await;
        assert_eq!(
            (found, error["error"]["code"].as_str().unwrap()),
            (status, code),
            "{path}: {error}"
        );
    }
    let stranger = client().get(server.at("/v1/people/u")).send().await.unwrap();
    assert_eq!(stranger.status(), 401);
    server.stop().await;
}

#[tokio::test]
async fn a_file_of_another_format_or_a_damaged_one_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with(folder.path(), SOURCES).await;
    let operator = Operator { server: &server, token: server.new_token.clone().unwrap() };
    let event = json!([{"type": "identify", "userId": "u-1", "messageId": "1", "traits": {"email": "a@example.com"}}]);
    operator.send("wk_web", event).await;
    let token = operator.token.clone();
    server.stop().await;
    let before = everything(folder.path());
    let file = folder.path().join("people.db");
    let spoil: [(&str, &dyn Fn()); 5] = [
        ("limits", &|| {}),
        ("format", &|| {
            Connection::open(&file)
                .unwrap()
                .execute("UPDATE projection SET format = 'x'", [])
                .unwrap();
        }),
        ("no database", &|| {
            fs::write(&file, "not a database, but long enough to be one".repeat(99)).unwrap();
        }),
        ("ahead of the log", &|| {
            Connection::open(&file)
                .unwrap()
                .execute("UPDATE projection SET applied = 99", [])
                .unwrap();
        }),
        ("of another log, as long", &|| {
            Connection::open(&file)
                .unwrap()
                .execute_batch(
                    "UPDATE projection SET received = received - 1; UPDATE seen SET events = 9;",
                )
                .unwrap();
        }),
    ];
    for (what, spoil) in spoil {
        spoil();
        let limits = if what == "limits" { "[people]\nemail = 7\n" } else { "" };
        let server = Server::start_with(folder.path(), &format!("{SOURCES}{limits}")).await;
        let operator = Operator { server: &server, token: token.clone() };
        operator.caught_up().await;
        assert_eq!(operator.get("/v1/people/a@example.com").await["events"], 1, "{what}");
        server.stop().await;
        assert_eq!(everything(folder.path()), before, "{what}");
    }
}
