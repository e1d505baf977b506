//! The OpenAPI document against the server: every method and status that it names is asked for, and every answer
//! is what it says. That it names every path is a test beside the table of paths.
#![allow(clippy::unwrap_used, reason = "what a test expects, it unwraps, in its functions too")]

mod consumers;
mod inbound;
mod messages;
mod people;
mod rules;
mod suppressions;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use crate::server::{self, PATIENCE, Server, client, track};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use headwater_collector::{config::Config, event_log::FileSystem, limits::HttpLimits};
use reqwest::{RequestBuilder, header::HeaderMap};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// The document, and what of it was seen.
struct Document {
    text: Value,
    seen: BTreeSet<(String, u16)>,
    codes: BTreeSet<String>,
    /// Path, status and code.
    errors: BTreeSet<(String, u16, String)>,
}

impl Document {
    async fn of(server: &Server) -> Self {
        let got = client().get(server.at("/openapi.json")).send().await.unwrap();
        let (seen, codes, errors) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        Self { text: server::json(got).await, seen, codes, errors }
    }

    /// What is said of an answer, or of a part of one.
    fn find<'d>(&'d self, said: &'d Value) -> &'d Value {
        let place = said["$ref"].as_str().and_then(|place| place.strip_prefix('#'));
        place.map_or(said, |place| self.text.pointer(place).unwrap())
    }

    /// Holds a value to a schema.
    fn fits(&self, schema: &Value, value: &Value) -> Result<(), String> {
        let mut schema = schema.clone();
        schema["components"] = self.text["components"].clone();
        let schema = jsonschema::validator_for(&schema).unwrap();
        schema.validate(value).map_err(|error| format!("{error} in {value}"))
    }

    /// Holds an answer to what is said of its path.
    fn holds(&mut self, path: &str, status: u16, headers: &HeaderMap, body: &str) {
        let content_type = headers.get("content-type").map_or("", |t| t.to_str().unwrap());
        let operations = self.text["paths"][path].as_object().unwrap();
        let operation = operations.values().next().unwrap();
        let said = &operation["responses"][status.to_string()];
        assert!(!said.is_null(), "{path} answers {status}, which is not in the document: {body}");
        let said = self.find(said).clone();
        let waits = headers.contains_key("retry-after");
        assert_eq!(waits, said["headers"].get("Retry-After").is_some(), "{path} {status}: {body}");
        self.seen.insert((path.to_owned(), status));
        let Some(contents) = said["content"].as_object() else {
            return assert_eq!(body, "", "{path} {status}");
        };
        let content = contents.get(content_type);
        let content =
            content.unwrap_or_else(|| panic!("{path} {status} is {content_type}: {body}"));
        let schema = &content["schema"];
        if schema.is_null() || content_type == "text/plain" {
            return;
        }
        let values: Vec<Value> = match content_type {
            "application/x-ndjson" => {
                body.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
            }
            _ => vec![serde_json::from_str(body).unwrap()],
        };
        assert!(!values.is_empty(), "{path} {status}");
        for value in values {
            if let Err(error) = self.fits(schema, &value) {
                panic!("{path} {status}: {error}");
            }
            if let Some(code) = value["error"]["code"].as_str() {
                self.codes.insert(code.to_owned());
                self.errors.insert((path.to_owned(), status, code.to_owned()));
                assert_eq!(value["error"].get("retry_after_ms").is_some(), waits, "{path}: {body}");
            }
        }
    }

    async fn ask(&mut self, path: &str, request: RequestBuilder) -> u16 {
        self.ask_for(path, request).await.0
    }

    async fn ask_for(&mut self, path: &str, request: RequestBuilder) -> (u16, HeaderMap, String) {
        let mut answer = request.send().await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let body = match headers.get("content-type") {
            // It has no end.
            Some(text) if text == "text/event-stream" => answer.chunk().await.unwrap().unwrap(),
            _ => answer.bytes().await.unwrap(),
        };
        let body = String::from_utf8_lossy(&body).into_owned();
        self.holds(path, status, &headers, &body);
        (status, headers, body)
    }

    /// For what no client of good manners sends.
    async fn ask_raw(&mut self, path: &str, server: &Server, headers: &str) -> u16 {
        let head = format!(
            "POST {} HTTP/1.1\r\n{headers}",
            path.replace("{name}", "lake").replace("{person}", "u-1")
        );
        let stream = begin(server, &head).await;
        self.end_raw(path, stream, "\r\n{").await
    }

    /// The rest of a request that was begun, and its answer.
    async fn end_raw(&mut self, path: &str, mut stream: TcpStream, rest: &str) -> u16 {
        stream.write_all(rest.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // What was not read may reset the connection, behind the answer.
        drop(timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap());
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let lines = head.lines().skip(1).filter_map(|line| line.split_once(": "));
        let headers = lines.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        let headers: HeaderMap = headers.collect();
        assert_eq!(headers["content-type"], "application/json", "{head}");
        self.holds(path, status, &headers, body);
        status
    }
}

/// Sends the beginning of a request.
async fn begin(server: &Server, head: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = format!("{head}Host: x\r\nConnection: close\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

const SOURCES: &str = "[sources.web]\nwrite_key = 'key'\norigins = ['https://shop.example']\nmax_batch_bytes = 100000\n\
                       [sources.slow]\nwrite_key = 'slow'\nevents_per_second = 1\nburst = 1\n";

#[tokio::test]
async fn every_answer_that_it_names_is_given_and_is_as_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let body_idle_timeout = Duration::from_millis(100);
    let limits = HttpLimits { body_idle_timeout, readers: 16, ..HttpLimits::default() };
    let server = Server::start_limited(folder.path(), SOURCES, Arc::new(FileSystem), limits).await;
    let http = client();
    let mut document = Document::of(&server).await;
    assert_eq!(document.text["info"]["version"], env!("CARGO_PKG_VERSION"));
    let paths = document.text["paths"].as_object().unwrap().keys();
    let elsewhere = |path: &&String| {
        let known = [
            consumers::are_at,
            inbound::are_at,
            messages::are_at,
            people::are_at,
            rules::are_at,
            suppressions::are_at,
        ];
        known.iter().any(|are_at| are_at(path))
    };
    let paths: Vec<String> = paths.filter(|path| !elsewhere(path)).cloned().collect();
    let token = server.new_token.clone().unwrap();

    for path in &paths {
        let operation = document.text["paths"][path.as_str()]["post"]["operationId"].clone();
        let Some(kind) = operation.as_str() else { continue };
        let event = || json!({"event": "A", "userId": "u", "groupId": "g", "previousId": "p"});
        let body = match matches!(kind, "batch" | "b" | "import") {
            true => json!({"batch": [track(kind, "d"), track(kind, "d"), 7]}),
            false if kind == "seen" => json!({"ids": ["batch", "never"]}),
            false => event(),
        }
        .to_string();
        let post_to = |path: &str, key: &str| {
            http.post(server.at(path)).basic_auth(key, Some("")).body(body.clone())
        };
        let post = |key: &str| post_to(path, key);
        let broken = http.post(server.at(path)).header("authorization", "Basic %");
        let in_detail = post_to(&format!("{path}?receipt=1"), "key");
        assert_eq!(document.ask(path, post("key")).await, 200);
        assert_eq!(document.ask(path, in_detail).await, 200);
        assert_eq!(document.ask(path, post("key").body("{")).await, 400);
        assert_eq!(document.ask(path, post("key").header("content-encoding", "gzip")).await, 400);
        assert_eq!(document.ask(path, post("nobody")).await, 401);
        assert_eq!(document.ask(path, http.post(server.at(path)).body(body.clone())).await, 401);
        assert_eq!(document.ask(path, broken).await, 401);
        assert_eq!(
            document.ask(path, post("key").header("origin", "https://x.example")).await,
            403
        );
        assert_eq!(document.ask_raw(path, &server, "Content-Length: 9\r\n").await, 408);
        assert_eq!(document.ask(path, post("key").body(" ".repeat(200_000) + &body)).await, 413);
        assert_eq!(document.ask(path, post("key").header("content-encoding", "x")).await, 415);
        assert_eq!(
            document.ask(path, post("key").header("content-encoding", "gzip, br")).await,
            415
        );
        assert_eq!(
            document.ask_raw(path, &server, "Transfer-Encoding: chunked, chunked\r\n").await,
            501
        );
        let limited = async { while document.ask(path, post("slow")).await != 429 {} };
        timeout(PATIENCE, limited).await.unwrap();
    }
    let many = json!({"batch": vec![0; 12_001]}).to_string();
    let many = http.post(server.at("/v1/batch")).basic_auth("key", Some("")).body(many);
    assert_eq!(document.ask("/v1/batch", many).await, 413);

    for path in paths.iter().filter(|path| path.starts_with("/v1/pixel/")) {
        let pixel = |key: &str| {
            let event = json!({"writeKey": key, "userId": "u", "event": "A", "groupId": "g", "previousId": "p"});
            let data = BASE64_URL_SAFE_NO_PAD.encode(event.to_string());
            http.get(server.at(&format!("{path}?data={data}")))
        };
        assert_eq!(document.ask(path, pixel("key")).await, 200);
        assert_eq!(document.ask(path, http.get(server.at(path))).await, 400);
        assert_eq!(document.ask(path, pixel("nobody")).await, 401);
        assert_eq!(
            document.ask(path, pixel("key").header("origin", "https://x.example")).await,
            403
        );
        let limited = async { while document.ask(path, pixel("slow")).await != 429 {} };
        timeout(PATIENCE, limited).await.unwrap();
    }
    let settings = "/v1/projects/{writeKey}/settings";
    for (key, status) in [("key", 200), ("nobody", 404)] {
        let asked = http.get(server.at(&settings.replace("{writeKey}", key)));
        assert_eq!(document.ask(settings, asked).await, status);
    }
    let get = |path: &str| http.get(server.at(path));
    for (last_seen, status) in [("0", 200), ("x", 400), ("999999", 410)] {
        let live = get("/v1/live?after=0").bearer_auth(&token).header("last-event-id", last_seen);
        assert_eq!(document.ask("/v1/live", live).await, status, "{last_seen} wins over `after`");
    }
    for path in ["/v1/events", "/v1/live"] {
        assert_eq!(document.ask(path, get(path).bearer_auth(&token)).await, 200);
        assert_eq!(
            document.ask(path, get(&format!("{path}?after=x")).bearer_auth(&token)).await,
            400
        );
        assert_eq!(document.ask(path, get(path)).await, 401);
        assert_eq!(
            document.ask(path, get(&format!("{path}?after=999999")).bearer_auth(&token)).await,
            410
        );
    }
    let mut readers = Vec::new();
    while document.ask("/v1/events", get("/v1/events").bearer_auth(&token)).await == 200 {
        readers.push(get("/v1/live").bearer_auth(&token).send().await.unwrap());
    }
    assert_eq!(document.ask("/v1/live", get("/v1/live").bearer_auth(&token)).await, 503);
    drop(readers);
    for path in ["/healthz", "/readyz", "/metrics", "/openapi.json"] {
        assert_eq!(document.ask(path, get(path)).await, 200);
    }
    for path in paths.iter().filter(|path| path.starts_with("/headwater")) {
        // Built into the binary or not.
        if document.ask(path, get(path)).await == 200 {
            let tag = get(path).send().await.unwrap().headers()["etag"].clone();
            assert_eq!(document.ask(path, get(path).header("if-none-match", tag)).await, 304);
        }
    }

    // From now on there is no room.
    let reload = Arc::clone(&server.reload);
    let config = format!("min_free_bytes = 9000000000000000000\n{SOURCES}");
    let config = Config::parse(&config, std::path::Path::new("t.toml")).unwrap();
    tokio::task::spawn_blocking(move || reload.apply(&config)).await.unwrap().unwrap();
    let full = async { while document.ask("/readyz", get("/readyz")).await != 503 {} };
    timeout(PATIENCE, full).await.unwrap();
    for path in &paths {
        if path.starts_with("/v1/pixel/") {
            assert_eq!(document.ask(path, get(&format!("{path}?data=e30"))).await, 503);
        } else if document.text["paths"][path.as_str()].get("post").is_some() {
            let post = http.post(server.at(path)).body("{}");
            assert_eq!(document.ask(path, post).await, 503);
        }
    }
    server.stop().await;

    for path in &paths {
        let operations = &document.text["paths"][path];
        let responses =
            operations.as_object().unwrap().values().next().unwrap()["responses"].clone();
        let responses: BTreeMap<String, Value> = serde_json::from_value(responses).unwrap();
        for status in responses.keys().map(|status| status.parse().unwrap()) {
            // Whichever of the two this build has.
            let either = path.starts_with("/headwater");
            assert!(
                either || document.seen.contains(&(path.clone(), status)),
                "{path} {status} was not seen"
            );
        }
    }
    inbound::every_answer_is_given(&mut document).await;
    messages::every_answer_is_given(&mut document).await;
    let known =
        document.text.pointer("/components/schemas/Error/properties/error/properties/code/enum");
    let known: BTreeSet<String> = serde_json::from_value(known.unwrap().clone()).unwrap();
    let unseen: Vec<_> = known.difference(&document.codes).map(String::as_str).collect();
    // A body that breaks off has nobody to answer to; the others need a broken disk, a stop or a crowd, and are
    // those of other tests, as are 404 and 405, and what only consumers answer.
    let elsewhere = [
        "bad_host",
        "broken_body",
        "busy",
        "changes_nothing",
        "closing",
        "consumer_paused",
        "invalid_event",
        "invalid_order",
        "method_not_allowed",
        "no_such_lease",
        "not_for_readers",
        "not_found",
        "not_trusted",
        "overloaded",
        "people_behind",
        "sdk_not_built",
        "storage_failed",
        "too_many_bodies",
        "too_many_headers",
    ];
    let unseen: Vec<_> = unseen.into_iter().filter(|code| !elsewhere.contains(code)).collect();
    assert!(unseen.is_empty(), "{unseen:?} were not seen");
}

#[tokio::test]
async fn what_is_not_there_is_said_in_the_form_of_every_error() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let text = client().get(server.at("/openapi.json")).send().await.unwrap().text().await.unwrap();
    let text: Value = serde_json::from_str(&text).unwrap();
    let error = json!({"$ref": "#/components/schemas/Error", "components": text["components"]});
    let error = jsonschema::validator_for(&error).unwrap();
    let nothing = client().get(server.at("/nothing"));
    let delete = client().delete(server.at("/v1/batch"));
    for (request, status, code) in
        [(nothing, 404, "not_found"), (delete, 405, "method_not_allowed")]
    {
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), status);
        let said = server::json(answer).await;
        assert_eq!(said["error"]["code"], code);
        assert!(error.is_valid(&said), "{said}");
    }
    for path in text["paths"].as_object().unwrap().keys() {
        let methods = text["paths"][path].as_object().unwrap();
        let path = path.replace("{writeKey}", "k").replace("{name}", "n");
        let answer = client().patch(server.at(&path)).send().await.unwrap();
        assert_eq!(answer.status(), 405, "{path}");
        let allowed = answer.headers()["allow"].to_str().unwrap().to_lowercase();
        for method in methods.keys() {
            assert!(allowed.split(", ").any(|allowed| allowed == method), "{path} takes {allowed}");
        }
        let said = server::json(answer).await;
        assert_eq!(said["error"]["code"], "method_not_allowed");
        assert!(error.is_valid(&said), "{said}");
    }
    server.stop().await;
}
