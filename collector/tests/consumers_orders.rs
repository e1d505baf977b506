//! What operators order of consumers over HTTP: in force at once, kept across a restart, and harmless when wrong.
#![allow(clippy::unwrap_used, reason = "what a test expects, it unwraps, in its functions too")]

use crate::server::{self, Attempt, PATIENCE, Receiver, Server, client, ids, track};
use serde_json::{Value, json};
use tokio::time::timeout;

fn delivered(attempts: &[Attempt]) -> Vec<Value> {
    attempts.iter().filter(|attempt| attempt.status < 300).map(Attempt::event).collect()
}

struct Operator {
    server: Server,
    token: String,
}

impl Operator {
    async fn start(folder: &std::path::Path, toml: &str) -> Self {
        let server = Server::start_with(folder, toml).await;
        let token = match &server.new_token {
            Some(token) => {
                std::fs::write(folder.join("token"), token).unwrap();
                token.clone()
            }
            None => std::fs::read_to_string(folder.join("token")).unwrap(),
        };
        Self { server, token }
    }

    async fn get(&self, path: &str) -> Value {
        let answer =
            client().get(self.server.at(path)).bearer_auth(&self.token).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        server::json(answer).await
    }

    async fn try_post(&self, path: &str, body: Value) -> (u16, Value) {
        let post = client().post(self.server.at(path)).bearer_auth(&self.token);
        let answer = post.body(body.to_string()).send().await.unwrap();
        (answer.status().as_u16(), server::json(answer).await)
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.try_post(path, body).await;
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    /// Asks until the consumer is as wanted.
    async fn wait_until(&self, what: &str, enough: impl Fn(&Value) -> bool) -> Value {
        let waited = timeout(PATIENCE, async {
            loop {
                let consumer = self.get("/v1/consumers/crm").await;
                if enough(&consumer) {
                    return consumer;
                }
            }
        });
        waited.await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
    }
}

const QUICK: &str = "retry = ['5ms', '20ms']\n";

#[tokio::test]
async fn a_paused_consumer_delivers_nothing_also_after_a_restart_until_it_is_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::start().await;
    let toml = receiver.consumer("crm");
    let operator = Operator::start(folder.path(), &toml).await;
    let paused = operator.post("/v1/consumers/crm/pause", json!({"reason": "migration"})).await;
    assert_eq!((&paused["state"], &paused["paused_by"]), (&json!("paused"), &json!("operator")));
    operator.server.batch(&[track("1", "d"), track("2", "d")]).await;
    operator.server.stop().await;

    let operator = Operator::start(folder.path(), &toml).await;
    let shown = operator
        .wait_until("the backlog is seen", |consumer| consumer["oldest_unread"].is_string())
        .await;
    assert_eq!((&shown["state"], &shown["reason"]), (&json!("paused"), &json!("migration")));
    assert_eq!((&shown["lag_events"], &shown["under_way"]), (&json!(2), &json!(0)));
    assert!(shown["lag_seconds"].as_f64().unwrap() > 0.0);
    assert!(receiver.wait_for("nothing", |_| true).await.is_empty());

    operator.post("/v1/consumers/crm/resume", json!({})).await;
    assert_eq!(ids(&delivered(&receiver.wait_for_delivered(2).await)), ["1", "2"]);
    let shown = operator.wait_until("all is done", |consumer| consumer["state"] == "drained").await;
    assert_eq!((&shown["lag_events"], &shown["lag_seconds"]), (&json!(0), &json!(0.0)));
    let metrics = client().get(operator.server.at("/metrics")).send().await.unwrap();
    let metrics = metrics.text().await.unwrap();
    for line in ["state=\"drained\"} 1", "state=\"paused\"} 0"] {
        let line = format!("headwater_consumer_state{{consumer=\"crm\",{line}");
        assert!(metrics.contains(&line), "{line} in {metrics}");
    }
    operator.server.stop().await;
}

#[tokio::test]
async fn a_destination_that_is_gone_is_told_from_a_consumer_that_someone_paused() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::start().await;
    receiver.answer_with(|_| 410);
    let toml = receiver.consumer("crm");
    let operator = Operator::start(folder.path(), &toml).await;
    let is = async |operator: &Operator, state: &str| {
        let page = client().get(operator.server.at("/metrics")).send().await.unwrap();
        let page = page.text().await.unwrap();
        let line = |state: &str| {
            format!("headwater_consumer_state{{consumer=\"crm\",state=\"{state}\"}} 1")
        };
        let all = ["running", "drained", "backing_off", "paused", "gone"];
        let now: Vec<_> = all.into_iter().filter(|state| page.contains(&line(state))).collect();
        assert_eq!(now, [state]);
    };
    operator.server.batch(&[track("1", "d")]).await;
    operator.wait_until("it is gone", |consumer| consumer["paused_by"] == "destination").await;
    is(&operator, "gone").await;
    operator.server.stop().await;

    let operator = Operator::start(folder.path(), &toml).await;
    is(&operator, "gone").await;
    receiver.answer_with(|_| 200);
    operator.post("/v1/consumers/crm/resume", json!({})).await;
    receiver.wait_for_delivered(1).await;
    operator.post("/v1/consumers/crm/pause", json!({})).await;
    is(&operator, "paused").await;
    operator.server.stop().await;
}

#[tokio::test]
async fn an_operator_sees_why_it_waits_and_can_have_it_try_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::start().await;
    receiver.answer_with(|_| 503);
    let toml = receiver.consumer("crm") + "retry = ['24h']\n";
    let operator = Operator::start(folder.path(), &toml).await;
    operator.server.batch(&[track("1", "d")]).await;
    let shown =
        operator.wait_until("it backs off", |consumer| consumer["state"] == "backing_off").await;
    assert_eq!((&shown["failures"], &shown["lag_events"]), (&json!(1), &json!(1)));
    assert_eq!(shown["reason"], "503 Service Unavailable: said no");
    assert!(shown["next_attempt"].as_str().unwrap().starts_with("20"));
    receiver.answer_with(|_| 200);
    operator.post("/v1/consumers/crm/resume", json!({})).await;
    receiver.wait_for_delivered(1).await;
    operator.server.stop().await;
}

#[tokio::test]
async fn seeking_moves_the_cursor_and_a_replay_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::start().await;
    let operator = Operator::start(folder.path(), &receiver.consumer("crm")).await;
    let all: Vec<_> = (0..300).map(|n| track(n, &format!("d{}", n % 7))).collect();
    operator.server.batch(&all).await;
    receiver.wait_for_delivered(300).await;
    let drained = |consumer: &Value| consumer["state"] == "drained";
    let before = operator.wait_until("drained", drained).await;

    let answer =
        operator.post("/v1/consumers/crm/replay", json!({"from": "100", "to": "250"})).await;
    assert_eq!(answer, json!({"after": "100", "upto": "250"}));
    let attempts = receiver.wait_for("the replay", |all| all.len() >= 450).await;
    let replayed: Vec<_> =
        delivered(&attempts).into_iter().filter(|event| event["replay"] == true).collect();
    let expected: Vec<_> = (100..250).map(|n| n.to_string()).collect();
    let mut numbers: Vec<_> = ids(&replayed);
    numbers.sort_by_key(|id| id.parse::<u32>().unwrap());
    assert_eq!(numbers, expected);
    for lane in 0..7 {
        let of = |events: &[Value]| -> Vec<u32> {
            let numbers = ids(events).into_iter().map(|id| id.parse::<u32>().unwrap());
            numbers.filter(|n| n % 7 == lane).collect()
        };
        assert!(of(&replayed).is_sorted(), "in order per order key");
    }
    let id = |attempt: &&Attempt| attempt.event()["messageId"] == "100";
    let twice: Vec<_> = attempts.iter().filter(id).map(Attempt::id).collect();
    assert_eq!((twice.len(), twice[0]), (2, twice[1]), "the receiver can recognise it");
    let after = operator
        .wait_until("the replay is over", |consumer| consumer.get("replays").is_none())
        .await;
    assert_eq!(after["cursor"], before["cursor"]);

    let answer = operator.post("/v1/consumers/crm/seek", json!({"to": "298"})).await;
    assert_eq!(answer["after"], "298");
    let attempts = receiver.wait_for("two more", |all| all.len() >= 452).await;
    let mut again = ids(&delivered(&attempts[450..]));
    again.sort();
    assert_eq!(again, ["298", "299"]);
    let start = "1970-01-01T00:00:00Z";
    let answer = operator.post("/v1/consumers/crm/seek", json!({"to": start})).await;
    assert_eq!(answer["after"], "0");
    receiver.wait_for("all again", |all| all.len() >= 752).await;
    operator.wait_until("drained", drained).await;
    let answer =
        operator.post("/v1/consumers/crm/seek", json!({"to": "2100-01-01T00:00:00Z"})).await;
    assert_eq!(answer["after"], "300");
    // A range that ends beyond the log ends with it; one that begins there is a mistake.
    let answer =
        operator.post("/v1/consumers/crm/replay", json!({"from": "299", "to": "5000"})).await;
    assert_eq!(answer, json!({"after": "299", "upto": "300"}));
    let order = json!({"from": "5000", "to": "6000"});
    let (status, answer) = operator.try_post("/v1/consumers/crm/replay", order).await;
    assert_eq!((status, &answer["error"]["code"]), (400, &json!("invalid_order")));
    operator.server.stop().await;
}

#[tokio::test]
async fn parked_events_are_shown_delivered_again_in_order_or_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::start().await;
    receiver.answer_with(
        |event| if event["messageId"].as_str().unwrap().len() == 1 { 422 } else { 200 },
    );
    let operator = Operator::start(folder.path(), &receiver.consumer("crm")).await;
    let all: Vec<_> = (0..12).map(|n| track(n, &format!("d{n}"))).collect();
    operator.server.batch(&all).await;
    operator.wait_until("ten are parked", |consumer| consumer["parked"] == 10).await;
    operator.wait_until("the cursor has passed them", |consumer| consumer["lag_events"] == 0).await;

    let page = operator.get("/v1/consumers/crm/parked?limit=4&events=1").await;
    assert_eq!(page["parked"].as_array().unwrap().len(), 4);
    assert_eq!((&page["next"], &page["parked"][0]["offset"]), (&json!("4"), &json!("1")));
    assert_eq!(page["parked"][0]["reason"], "422 Unprocessable Entity: said no");
    assert_eq!(page["parked"][0]["event"]["messageId"], "0");
    let page = operator.get("/v1/consumers/crm/parked?limit=100&after=4").await;
    assert_eq!((page["parked"].as_array().unwrap().len(), &page["next"]), (6, &Value::Null));

    // One that still fails stays, with its new reason.
    receiver.answer_with(|event| if event["messageId"] == "5" { 400 } else { 200 });
    let answer =
        operator.post("/v1/consumers/crm/parked/drop", json!({"offsets": ["1", "2"]})).await;
    assert_eq!(answer["events"], 2);
    let before = receiver.wait_for("now", |_| true).await.len();
    let answer = operator.post("/v1/consumers/crm/parked/redrive", json!({"all": true})).await;
    assert_eq!(answer["events"], 8);
    operator.wait_until("one is left", |consumer| consumer["parked"] == 1).await;
    let left = timeout(PATIENCE, async {
        loop {
            let page = operator.get("/v1/consumers/crm/parked").await;
            if page["parked"][0]["redrive"] == false {
                return page;
            }
        }
    });
    let left = left.await.unwrap();
    assert_eq!(left["parked"][0]["messageId"], "5");
    assert_eq!(left["parked"][0]["reason"], "400 Bad Request: said no");
    let attempts = receiver.wait_for("now", |_| true).await;
    let mut again = ids(&delivered(&attempts[before..]));
    again.sort();
    assert_eq!(again, ["2", "3", "4", "6", "7", "8", "9"], "and not those that were dropped");
    operator.server.stop().await;

    // What is left outlives a restart.
    let operator = Operator::start(folder.path(), &receiver.consumer("crm")).await;
    receiver.answer_with(|_| 200);
    operator.post("/v1/consumers/crm/parked/redrive", json!({"offsets": ["6"]})).await;
    operator.wait_until("none is left", |consumer| consumer["parked"] == 0).await;
    operator.server.stop().await;
}

#[tokio::test]
async fn one_event_that_the_receiver_always_fails_on_is_parked_and_the_rest_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::start().await;
    receiver.answer_with(|event| if event["messageId"] == "poison" { 500 } else { 200 });
    let operator = Operator::start(folder.path(), &(receiver.consumer("crm") + QUICK)).await;
    operator.server.batch(&[track("poison", "p"), track("behind", "p")]).await;
    // It is found as long as there are others to compare it with.
    let found = timeout(PATIENCE, async {
        for n in 0.. {
            operator.server.batch(&[track(n, &format!("d{n}"))]).await;
            if operator.get("/v1/consumers/crm").await["parked"] == 1 {
                return n + 1;
            }
        }
        unreachable!()
    });
    let others = found.await.expect("the poisonous event is found");
    let attempts = receiver.wait_for_delivered(others + 1).await;
    assert!(ids(&delivered(&attempts)).contains(&"behind".to_owned()));
    let parked = operator.get("/v1/consumers/crm/parked").await;
    assert_eq!(parked["parked"][0]["messageId"], "poison");
    let reason = parked["parked"][0]["reason"].as_str().unwrap();
    assert!(reason.starts_with("500 Internal Server Error: said no (failed "), "{reason}");
    operator.server.stop().await;
}

#[tokio::test]
async fn a_consumer_gets_the_types_and_sources_it_wants() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::start().await;
    let toml = "[sources.web]\nwrite_key = 'k-web'\n[sources.shop]\nwrite_key = 'k-shop'\n"
        .to_owned()
        + &receiver.consumer("crm")
        + "types = ['!page']\nsources = ['shop']\n";
    let operator = Operator::start(folder.path(), &toml).await;
    for (key, id) in [("k-web", "web"), ("k-shop", "shop")] {
        let page = json!({"type": "page", "name": "Home", "messageId": format!("{id}-page"), "anonymousId": "d"});
        let batch = json!({"batch": [page, track(format!("{id}-track"), "d")], "writeKey": key});
        let post = client().post(operator.server.at("/v1/batch")).body(batch.to_string());
        assert_eq!(post.send().await.unwrap().status(), 200);
    }
    operator
        .wait_until("all was read", |consumer| {
            consumer["state"] == "drained" && consumer["cursor"] == "4"
        })
        .await;
    assert_eq!(ids(&delivered(&receiver.wait_for_delivered(1).await)), ["shop-track"]);
    operator.server.stop().await;
}

/// Takes connections and never answers.
async fn silent() -> (String, tokio::task::JoinHandle<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/in", listener.local_addr().unwrap());
    let task = tokio::spawn(async move {
        let mut held = Vec::new();
        loop {
            held.push(listener.accept().await.unwrap());
        }
    });
    (url, task)
}

#[tokio::test]
async fn a_destination_that_hangs_delays_nobody_and_holds_little() {
    let folder = tempfile::tempdir().unwrap();
    let fast = Receiver::start().await;
    let (url, hanging) = silent().await;
    let secret = server::SECRET;
    let toml = fast.consumer("fast")
        + &format!(
            "[consumers.crm]\nkind = 'webhook'\nurl = '{url}'\nsecret = '{secret}'\nallow_private = true\n"
        );
    let operator = Operator::start(folder.path(), &toml).await;
    let all: Vec<_> = (0..800).map(|n| track(n, &format!("d{}", n % 50))).collect();
    for batch in all.chunks(100) {
        operator.server.batch(batch).await;
    }
    assert_eq!(fast.wait_for_delivered(800).await.len(), 800, "each once");
    let shown = operator.get("/v1/consumers/crm").await;
    assert_eq!(shown["lag_events"], 800);
    assert!((1..=16).contains(&shown["under_way"].as_u64().unwrap()), "{shown}");
    // Orders are obeyed meanwhile: what hangs is given up, and what comes from there is not tried.
    operator.post("/v1/consumers/crm/pause", json!({})).await;
    operator.post("/v1/consumers/crm/seek", json!({"to": "end"})).await;
    operator.wait_until("nothing is under way", |consumer| consumer["under_way"] == 0).await;
    operator.server.stop().await;
    hanging.abort();
}

#[tokio::test]
async fn what_cannot_be_meant_is_explained_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::start().await;
    let operator = Operator::start(folder.path(), &receiver.consumer("crm")).await;
    operator.server.batch(&[track("1", "d")]).await;
    receiver.wait_for_delivered(1).await;
    operator.wait_until("drained", |consumer| consumer["state"] == "drained").await;
    let crm = "/v1/consumers/crm";
    for (path, body, status, code) in [
        (format!("{crm}/seek"), json!({"to": "yesterday"}), 400, "invalid_order"),
        (format!("{crm}/seek"), json!({"to": "2"}), 400, "invalid_order"),
        (format!("{crm}/seek"), json!({"too": "1"}), 400, "invalid_order"),
        (format!("{crm}/seek"), json!([1]), 400, "invalid_order"),
        (format!("{crm}/replay"), json!({"from": "1"}), 400, "invalid_order"),
        (format!("{crm}/parked/drop"), json!({}), 400, "invalid_order"),
        (format!("{crm}/parked/drop"), json!({"all": true, "offsets": []}), 400, "invalid_order"),
        (
            format!("{crm}/parked/redrive"),
            json!({"offsets": vec!["1"; 1001]}),
            400,
            "invalid_order",
        ),
        (format!("{crm}/pause"), json!({"reason": "x".repeat(300_000)}), 413, "body_too_large"),
        (format!("{crm}/ack"), json!({"lease": "lease_0"}), 409, "not_for_readers"),
        ("/v1/consumers/other/pause".to_owned(), json!({}), 404, "not_found"),
        (crm.to_owned(), json!({}), 405, "method_not_allowed"),
    ] {
        let (got, answer) = operator.try_post(&path, body).await;
        assert_eq!((got, &answer["error"]["code"]), (status, &json!(code)), "{path}: {answer}");
        assert!(answer["error"]["message"].as_str().unwrap().len() > 10);
    }
    for path in ["/v1/consumers", crm, "/v1/consumers/crm/parked", "/v1/consumers/crm/events"] {
        let answer = client().get(operator.server.at(path)).send().await.unwrap();
        assert_eq!(answer.status(), 401, "{path}");
    }
    let post = client().post(operator.server.at("/v1/consumers/crm/pause"));
    assert_eq!(post.bearer_auth("wrong").send().await.unwrap().status(), 401);
    let (status, answer) = {
        let get = client().get(operator.server.at("/v1/consumers/crm/events"));
        let answer = get.bearer_auth(&operator.token).send().await.unwrap();
        (answer.status().as_u16(), server::json(answer).await)
    };
    assert_eq!((status, &answer["error"]["code"]), (409, &json!("not_for_readers")));
    let shown = operator.get(crm).await;
    assert_eq!((&shown["state"], &shown["cursor"]), (&json!("drained"), &json!("1")));
    assert_eq!(receiver.wait_for("now", |_| true).await.len(), 1);
    operator.server.stop().await;
}
