//! The paths below `/v1/consumers`: each is asked for everything that the document says it may answer, code by code.
//! Promises that an order that was taken is one that the document describes. Deliberately leaves to others what orders do.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use headwater_collector::{event_log::FileSystem, limits::HttpLimits};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{
    Document, begin,
    server::{PATIENCE, Receiver, Server, client, track},
};

const LIST: &str = "/v1/consumers";
const ONE: &str = "/v1/consumers/{name}";

pub(super) fn are_at(path: &str) -> bool {
    path.starts_with(LIST)
}

fn at(verb: &str) -> String {
    format!("{ONE}/{verb}")
}

/// Someone with a token, and the document.
struct Asking<'d> {
    document: &'d mut Document,
    server: Server,
    http: Client,
    token: String,
}

impl<'d> Asking<'d> {
    async fn of(document: &'d mut Document, server: Server) -> Self {
        let token = server.new_token.clone().unwrap();
        Self { document, server, http: client(), token }
    }

    async fn ask(
        &mut self,
        path: &str,
        name: &str,
        query: &str,
        body: Option<String>,
    ) -> (u16, Value) {
        let url = self.server.at(&(path.replace("{name}", name) + query));
        let method = if body.is_some() { Method::POST } else { Method::GET };
        let request = self.http.request(method, url).bearer_auth(&self.token);
        let request = request.body(body.clone().unwrap_or_default());
        let (status, _, answer) = self.document.ask_for(path, request).await;
        if let (200, Some(body)) = (status, body.filter(|body| !body.is_empty())) {
            let schema = &self.document.text["paths"][path]["post"]["requestBody"]["content"]["application/json"]
                ["schema"];
            let body = serde_json::from_str(&body).unwrap();
            self.document.fits(schema, &body).unwrap_or_else(|error| panic!("{path}: {error}"));
        }
        (status, serde_json::from_str(&answer).unwrap())
    }

    async fn get(&mut self, verb: &str, name: &str, query: &str) -> (u16, Value) {
        self.ask(&at(verb), name, query, None).await
    }

    async fn order(&mut self, verb: &str, name: &str, body: Value) -> (u16, Value) {
        self.ask(&at(verb), name, "", Some(body.to_string())).await
    }

    /// Asks until the consumer is as wanted.
    async fn wait_until(&mut self, name: &str, enough: impl Fn(&Value) -> bool) {
        let waited = timeout(PATIENCE, async {
            while !enough(&self.ask(ONE, name, "", None).await.1) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        waited.await.unwrap_or_else(|_| panic!("waited in vain for {name}"));
    }

    /// What every path answers to whom it does not serve, and to bodies that cannot be read.
    async fn refusals(&mut self) {
        let paths = self.document.text["paths"].as_object().unwrap().clone();
        for (path, operation) in paths.iter().filter(|(path, _)| are_at(path)) {
            let (method, operation) = operation.as_object().unwrap().iter().next().unwrap();
            let method: Method = method.to_uppercase().parse().unwrap();
            let says = |status: &str| operation["responses"].get(status).is_some();
            let url = |name| self.server.at(&path.replace("{name}", name));
            let ask = |name| self.http.request(method.clone(), url(name)).body("{}");
            assert_eq!(self.document.ask(path, ask("lake")).await, 401);
            assert_eq!(self.document.ask(path, ask("lake").bearer_auth("wrong")).await, 401);
            let ask = |name| ask(name).bearer_auth(&self.token);
            if path.contains("{name}") {
                assert_eq!(self.document.ask(path, ask("nobody")).await, 404);
            }
            let misspelt = path.replace("{name}", "lake") + "?limt=1";
            let misspelt = self.http.request(method.clone(), self.server.at(&misspelt));
            let misspelt = misspelt.bearer_auth(&self.token).body("{}");
            assert_eq!(self.document.ask(path, misspelt).await, 400, "{path}");
            let admin = format!("Authorization: Bearer {}\r\n", self.token);
            if method == Method::POST {
                let headers = admin.clone() + "Transfer-Encoding: chunked, chunked\r\n";
                assert_eq!(self.document.ask_raw(path, &self.server, &headers).await, 501);
            }
            if says("408") {
                let headers = admin + "Content-Length: 9\r\n";
                assert_eq!(self.document.ask_raw(path, &self.server, &headers).await, 408);
                assert_eq!(self.document.ask(path, ask("lake").body("{")).await, 400);
                assert_eq!(self.document.ask(path, ask("lake").body(r#"{"x":1}"#)).await, 400);
                for bytes in [300_000, 600_000] {
                    let large = ask("lake").body(" ".repeat(bytes));
                    assert_eq!(self.document.ask(path, large).await, 413);
                }
            }
        }
    }

    /// Orders to consumers that push, and what they have parked.
    async fn pushing(&mut self) {
        self.wait_until("crm", |crm| crm["parked"] == 2 && crm["state"] == "drained").await;
        self.wait_until("down", |down| down["state"] == "backing_off").await;
        let (status, all) = self.ask(LIST, "", "", None).await;
        assert_eq!((status, all["consumers"].as_array().unwrap().len()), (200, 4));

        let (_, page) = self.get("parked", "crm", "?limit=1&events=1").await;
        assert_eq!(page["parked"][0]["event"]["messageId"], "bad-1");
        let next = format!("?after={}", page["next"].as_str().unwrap());
        let (_, page) = self.get("parked", "crm", &next).await;
        assert_eq!(
            (&page["parked"][0]["messageId"], &page["next"]),
            (&json!("bad-2"), &json!(null))
        );
        for wrong in ["?limit=0", "?limit=x", "?after=x", "?events=yes", "?limit=1&limit=2", "?x=1"]
        {
            assert_eq!(self.get("parked", "crm", wrong).await.0, 400, "{wrong}");
        }
        let offset = &page["parked"][0]["offset"];
        let (status, count) =
            self.order("parked/redrive", "crm", json!({"offsets": [offset]})).await;
        assert_eq!((status, count), (200, json!({"events": 1})));
        for verb in ["parked/redrive", "parked/drop"] {
            for wrong in [json!({}), json!({"all": false}), json!({"all": true, "offsets": ["1"]})]
            {
                assert_eq!(self.order(verb, "crm", wrong).await.0, 400);
            }
            let many = json!({"offsets": vec!["1"; 1001]});
            assert_eq!(self.order(verb, "crm", many).await.0, 400);
        }
        let (status, count) = self.order("parked/drop", "crm", json!({"all": true})).await;
        assert_eq!((status, count), (200, json!({"events": 2})));

        for body in ["", "{}", r#"{"reason":"release"}"#] {
            let paused = self.ask(&at("pause"), "crm", "", Some(body.to_owned())).await;
            assert_eq!((paused.0, &paused.1["state"]), (200, &json!("paused")));
        }
        for (to, status) in [("soon", 400), ("999999", 400), ("2100-01-01T00:00:00Z", 200)] {
            assert_eq!(self.order("seek", "crm", json!({"to": to})).await.0, status, "{to}");
        }
        let (status, range) =
            self.order("replay", "crm", json!({"from": "start", "to": "2"})).await;
        assert_eq!((status, range), (200, json!({"after": "0", "upto": "2"})));
        assert_eq!(self.order("replay", "crm", json!({"from": "end"})).await.0, 400);
        // It is paused: none of them ends.
        for _ in 1..16 {
            assert_eq!(self.order("replay", "crm", json!({"from": "1"})).await.0, 200);
        }
        assert_eq!(self.order("replay", "crm", json!({"from": "1"})).await.0, 429);
        self.wait_until("crm", |crm| crm["replays"].as_array().is_some_and(|r| r.len() == 16))
            .await;
        let (status, crm) = self.ask(&at("resume"), "crm", "", Some(String::new())).await;
        assert_eq!((status, crm.get("paused_by")), (200, None));

        assert_eq!(self.get("events", "crm", "").await.0, 409);
        assert_eq!(self.order("ack", "crm", json!({"lease": "lease_0"})).await.0, 409);
    }

    /// Events for readers.
    async fn reading(&mut self) {
        let path = at("events");
        let url = self.server.at("/v1/consumers/lake/events?limit=2&wait=30");
        let lines =
            self.http.get(url).bearer_auth(&self.token).header("accept", "application/x-ndjson");
        let (status, headers, lines) = self.document.ask_for(&path, lines).await;
        let lines: Vec<Value> = lines.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        assert_eq!((status, lines.len()), (200, 2));
        let lease = headers["headwater-lease"].to_str().unwrap();
        let failed = json!([{"offset": lines[0]["offset"], "reason": "no such column"}]);
        let ack = json!({"lease": lease, "upto": lines[0]["offset"], "failed": failed});
        let (status, settled) = self.order("ack", "lake", ack).await;
        assert_eq!(
            (status, settled),
            (200, json!({"acknowledged": 0, "parked": 1, "returned": 1}))
        );
        assert_eq!(self.order("ack", "lake", json!({"lease": lease})).await.0, 410);

        let (status, lease) = self.get("events", "lake", "?limit=1000&wait=30").await;
        assert_eq!((status, lease["events"].is_array()), (200, true));
        let (status, nothing) = self.get("events", "lake", "").await;
        assert_eq!((status, nothing), (200, json!({"lease": null, "events": []})));
        for wrong in ["?limit=0", "?wait=-1", "?wait=1&wait=2", "?x=1"] {
            assert_eq!(self.get("events", "lake", wrong).await.0, 400, "{wrong}");
        }
        assert_eq!(self.order("ack", "lake", json!({"lease": lease["lease"]})).await.0, 200);
        let wrong = json!({"lease": lease["lease"], "upto": "last"});
        assert_eq!(self.order("ack", "lake", wrong).await.0, 400);
        self.order("replay", "lake", json!({"from": "start"})).await;
        let (_, lease) = self.get("events", "lake", "?wait=30").await;
        assert_eq!(lease["events"][0]["replay"], true);

        assert_eq!(self.order("pause", "lake", json!({})).await.0, 200);
        assert_eq!(self.get("events", "lake", "").await.0, 409);

        let url = self.server.at("/v1/consumers/crowd/events?limit=1&wait=30");
        for _ in 0..256 {
            let one = self.http.get(&url).bearer_auth(&self.token).send().await.unwrap();
            assert!(super::server::json(one).await["lease"].is_string());
        }
        assert_eq!(self.get("events", "crowd", "").await.0, 429);
    }

    /// The collector is told to stop; then the requests that were begun before go on.
    async fn stopping(mut self) {
        // Something to replay.
        self.server.batch(&[track("first", "d")]).await;
        let (_, lease) = self.get("events", "last", "?wait=30").await;
        assert_eq!(self.order("ack", "last", json!({"lease": lease["lease"]})).await.0, 200);
        let orders = [
            ("GET", "events", ""),
            ("POST", "resume", ""),
            ("POST", "pause", "{}"),
            ("POST", "seek", r#"{"to":"end"}"#),
            ("POST", "replay", r#"{"from":"start"}"#),
            ("POST", "parked/redrive", r#"{"all":true}"#),
            ("POST", "parked/drop", r#"{"all":true}"#),
            ("POST", "ack", r#"{"lease":"lease_0"}"#),
        ];
        let mut begun = Vec::new();
        for (method, verb, body) in orders {
            let head = format!(
                "{method} /v1/consumers/last/{verb} HTTP/1.1\r\nContent-Length: {}\r\nAuthorization: Bearer {}\r\n",
                body.len(),
                self.token
            );
            // More than one: it is not known when the consumer is told.
            let mut streams = Vec::new();
            for _ in 0..8 {
                streams.push(begin(&self.server, &head).await);
            }
            begun.push((verb, body, streams));
        }
        // Connections are taken in turn: this one is, so those are.
        self.server.batch(&[track("last", "d")]).await;
        let stopping = self.server.begin_to_stop();
        for (verb, body, streams) in begun {
            let mut told = false;
            for stream in streams {
                let status = self.document.end_raw(&at(verb), stream, &format!("\r\n{body}")).await;
                assert!(!told || status == 503, "{verb}: {status} after a 503");
                told = status == 503;
            }
        }
        timeout(PATIENCE, stopping).await.unwrap().unwrap();
    }
}

const LAKE: &str = "[consumers.lake]\nkind = 'pull'\n";

/// All goes well, and some ask for what they cannot have.
async fn everyday(document: &mut Document) {
    let folder = tempfile::tempdir().unwrap();
    let (crm, down) = (Receiver::start().await, Receiver::start().await);
    let bad = |event: &Value| event["messageId"].as_str().unwrap().starts_with("bad");
    crm.answer_with(move |event| if bad(event) { 422 } else { 200 });
    down.answer_with(|_| 503);
    let toml = crm.consumer("crm")
        + &down.consumer("down")
        + "retry = ['24h']\n"
        + LAKE
        + "[consumers.crowd]\nkind = 'pull'\n";
    let limits =
        HttpLimits { body_idle_timeout: Duration::from_millis(100), ..HttpLimits::default() };
    let server = Server::start_limited(folder.path(), &toml, Arc::new(FileSystem), limits).await;
    let mut events = vec![track("bad-1", "a"), track("bad-2", "b")];
    events.extend((0..258).map(|n| track(n, &format!("d{n}"))));
    server.batch(&events).await;
    let mut asking = Asking::of(document, server).await;
    asking.refusals().await;
    asking.pushing().await;
    asking.reading().await;
    asking.server.stop().await;
}

/// There is no memory for any body.
async fn crowded(document: &mut Document) {
    let folder = tempfile::tempdir().unwrap();
    let limits = HttpLimits { bodies_bytes: 0, ..HttpLimits::default() };
    let server = Server::start_limited(folder.path(), LAKE, Arc::new(FileSystem), limits).await;
    let mut asking = Asking::of(document, server).await;
    for verb in ["pause", "seek", "replay", "parked/redrive", "parked/drop", "ack"] {
        assert_eq!(asking.order(verb, "lake", json!({})).await.0, 503, "{verb}");
    }
    asking.server.stop().await;
}

/// The database of states takes nothing, and gives nothing.
async fn broken(document: &mut Document) {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with(folder.path(), LAKE).await;
    server.batch(&[track("1", "a"), track("2", "b")]).await;
    let mut asking = Asking::of(document, server).await;
    let (_, first) = asking.get("events", "lake", "?limit=1&wait=30").await;
    assert_eq!(asking.order("ack", "lake", json!({"lease": first["lease"]})).await.0, 200);
    let (_, second) = asking.get("events", "lake", "?limit=1&wait=30").await;
    let database = rusqlite::Connection::open(folder.path().join("state.db")).unwrap();
    for table in ["cursor", "parked", "pause", "replay"] {
        database.execute(&format!("DROP TABLE {table}"), []).unwrap();
    }
    assert_eq!(asking.ask(LIST, "", "", None).await.0, 503);
    assert_eq!(asking.ask(ONE, "lake", "", None).await.0, 503);
    assert_eq!(asking.get("parked", "lake", "").await.0, 503);
    for (verb, body) in [
        ("ack", json!({"lease": second["lease"]})),
        ("pause", json!({})),
        ("resume", json!({})),
        ("replay", json!({"from": "start"})),
        ("seek", json!({"to": "start"})),
        ("parked/redrive", json!({"all": true})),
        ("parked/drop", json!({"all": true})),
    ] {
        assert_eq!(asking.order(verb, "lake", body).await.0, 503, "{verb}");
    }
    asking.server.stop().await;
}

#[tokio::test]
async fn every_answer_about_consumers_is_given_and_is_as_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with(folder.path(), "[consumers.last]\nkind = 'pull'\n").await;
    let mut document = Document::of(&server).await;
    everyday(&mut document).await;
    crowded(&mut document).await;
    broken(&mut document).await;
    Asking::of(&mut document, server).await.stopping().await;

    let (mut statuses, mut errors) = (BTreeSet::new(), BTreeSet::new());
    for (path, operation) in document.text["paths"].as_object().unwrap() {
        let operation = operation.as_object().unwrap().values().next().unwrap();
        for (status, said) in operation["responses"].as_object().unwrap() {
            let status: u16 = status.parse().unwrap();
            statuses.insert((path.clone(), status));
            let codes =
                "/content/application~1json/schema/allOf/1/properties/error/properties/code/enum";
            let codes = document.find(said).pointer(codes).and_then(Value::as_array);
            for code in codes.into_iter().flatten().map(|code| code.as_str().unwrap()) {
                errors.insert((path.clone(), status, code.to_owned()));
            }
        }
    }
    let unseen: Vec<_> = statuses.difference(&document.seen).filter(|(p, _)| are_at(p)).collect();
    assert!(unseen.is_empty(), "{unseen:?} were not seen");
    // A body that breaks off has nobody to answer to.
    let unseen = errors.difference(&document.errors);
    let unseen: Vec<_> = unseen.filter(|(p, _, code)| are_at(p) && code != "broken_body").collect();
    assert!(unseen.is_empty(), "{unseen:?} were not seen");
}
