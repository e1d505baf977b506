//! Starts the real server on a free port and speaks real HTTP with it; and a place for webhooks to go.
//! Promises no fixed ports and no sleeping for luck: every wait is for a condition, with a limit.
//! Deliberately knows nothing that a client could not know.
#![allow(clippy::unwrap_used, reason = "what a test expects, it unwraps, in its functions too")]

pub(crate) mod running;

use std::{
    convert::Infallible,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use headwater_collector::{
    Collector, Reload,
    config::Config,
    event_log::{Disk, FileSystem},
    limits::HttpLimits,
};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    HeaderMap, Request, Response, body::Incoming, server::conn::http1, service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{
    net::TcpListener,
    sync::{oneshot, watch},
    task::JoinHandle,
    time::timeout,
};

/// How long anything may take before the test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// Signs the webhooks of these tests.
pub(crate) const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oDC2FVsBQIhrs=";

/// A collector in this process.
pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) key: String,
    /// Only at the first start on a data folder.
    pub(crate) new_token: Option<String>,
    pub(crate) address: SocketAddr,
    pub(crate) reload: Arc<Reload>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start(data: &Path) -> Self {
        Self::start_with(data, "").await
    }

    /// With the rest of a configuration file.
    pub(crate) async fn start_with(data: &Path, toml: &str) -> Self {
        Self::start_on(data, toml, Arc::new(FileSystem)).await
    }

    pub(crate) async fn start_on(data: &Path, toml: &str, disk: Arc<dyn Disk>) -> Self {
        Self::start_limited(data, toml, disk, HttpLimits::default()).await
    }

    /// With other bounds on connections and requests.
    pub(crate) async fn start_limited(
        data: &Path,
        toml: &str,
        disk: Arc<dyn Disk>,
        limits: HttpLimits,
    ) -> Self {
        let mut config = Config::parse(toml, Path::new("test.toml")).unwrap();
        config.data = data.to_owned();
        let key = config
            .sources
            .values()
            .next()
            .map(|source| source.write_keys[0].expose().as_str().to_owned());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let scheme = if config.tls.is_some() { "https" } else { "http" };
        let address = listener.local_addr().unwrap();
        let url = format!("{scheme}://{address}");
        let collector = Collector::open(config, disk).unwrap().with_limits(limits);
        let reload = Arc::new(collector.reload());
        let key = key.or_else(|| collector.default_write_key().map(str::to_owned)).unwrap();
        let new_token = collector.new_admin_token().map(str::to_owned);
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(collector.serve(listener, async { drop(stopped.await) }));
        Self { url, key, new_token, address, reload, stop, task }
    }

    /// Drains and waits for the end.
    pub(crate) async fn stop(self) {
        self.stop.send(()).unwrap();
        timeout(PATIENCE, self.task).await.expect("the server drains").unwrap();
    }

    /// Tells it to stop; what it returns ends with it.
    pub(crate) fn begin_to_stop(self) -> JoinHandle<()> {
        self.stop.send(()).unwrap();
        self.task
    }

    pub(crate) fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// Posts a batch and returns the receipt.
    pub(crate) async fn batch(&self, events: &[Value]) -> Value {
        let (status, receipt) = self.try_batch(events).await;
        assert_eq!(status, 200, "{receipt}");
        receipt
    }

    pub(crate) async fn try_batch(&self, events: &[Value]) -> (u16, Value) {
        let body = serde_json::json!({"batch": events, "writeKey": self.key}).to_string();
        let answer = client().post(self.at("/v1/batch?receipt=1")).body(body).send().await.unwrap();
        (answer.status().as_u16(), json(answer).await)
    }

    /// All that is stored.
    pub(crate) async fn events(&self, token: &str) -> Vec<Value> {
        self.events_at(token, "/v1/events").await
    }

    pub(crate) async fn events_at(&self, token: &str, path: &str) -> Vec<Value> {
        let answer = client().get(self.at(path)).bearer_auth(token).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let text = answer.text().await.unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

pub(crate) fn client() -> reqwest::Client {
    // The first of the tests in this process installs it.
    drop(rustls::crypto::ring::default_provider().install_default());
    reqwest::Client::builder().timeout(PATIENCE).build().unwrap()
}

pub(crate) async fn json(answer: reqwest::Response) -> Value {
    serde_json::from_str(&answer.text().await.unwrap()).unwrap()
}

/// Reads until there is what is looked for.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = std::time::Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What is decided about an event by the rules of a server that `wk_app` is a trusted source of.
pub(crate) async fn decide(server: &Server, event: &Value, deadline_ms: u64) -> Value {
    let request = client().post(server.at(&format!("/v1/decide?deadline_ms={deadline_ms}")));
    let answer = request.basic_auth("wk_app", Some("")).body(event.to_string()).send().await;
    json(answer.unwrap()).await
}

/// A track event with this id, of this device.
#[allow(clippy::needless_pass_by_value, reason = "called with literals, numbers and fresh texts")]
pub(crate) fn track(id: impl ToString, device: &str) -> Value {
    serde_json::json!({"type": "track", "event": "Clicked", "messageId": id.to_string(), "anonymousId": device})
}

pub(crate) fn ids(events: &[Value]) -> Vec<String> {
    events.iter().map(|event| event["messageId"].as_str().unwrap().to_owned()).collect()
}

/// Somewhere for webhooks to go: remembers them in order and answers as told.
pub(crate) struct Receiver {
    pub(crate) url: String,
    attempts: watch::Receiver<Vec<Attempt>>,
    answer_with: Arc<Mutex<AnswerWith>>,
    task: JoinHandle<()>,
}

/// A request that came.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) headers: HeaderMap,
    pub(crate) body: bytes::Bytes,
    pub(crate) status: u16,
}

type AnswerWith = Box<dyn FnMut(&Value) -> u16 + Send>;

impl Attempt {
    pub(crate) fn event(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn id(&self) -> &str {
        self.headers["webhook-id"].to_str().unwrap()
    }
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/in", listener.local_addr().unwrap());
        let (add, attempts) = watch::channel(Vec::new());
        let add = Arc::new(add);
        let answer_with: Arc<Mutex<AnswerWith>> = Arc::new(Mutex::new(Box::new(|_| 204)));
        let answers = Arc::clone(&answer_with);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (add, answers) = (Arc::clone(&add), Arc::clone(&answers));
                let service = service_fn(move |request: Request<Incoming>| {
                    let (add, answers) = (Arc::clone(&add), Arc::clone(&answers));
                    async move {
                        let (head, body) = request.into_parts();
                        let body = body.collect().await.unwrap().to_bytes();
                        let status =
                            answers.lock().unwrap()(&serde_json::from_slice(&body).unwrap());
                        let attempt = Attempt { headers: head.headers, body, status };
                        add.send_modify(|all| all.push(attempt));
                        let answer = Response::builder().status(status);
                        Ok::<_, Infallible>(
                            answer.body(Full::new(bytes::Bytes::from("said no"))).unwrap(),
                        )
                    }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { url, attempts, answer_with, task }
    }

    /// From now on answers with what this says for the event.
    pub(crate) fn answer_with(&self, status: impl FnMut(&Value) -> u16 + Send + 'static) {
        *self.answer_with.lock().unwrap() = Box::new(status);
    }

    /// Waits until all attempts so far fulfil this.
    pub(crate) async fn wait_for(
        &self,
        what: &str,
        mut enough: impl FnMut(&[Attempt]) -> bool,
    ) -> Vec<Attempt> {
        let mut attempts = self.attempts.clone();
        let waited = timeout(PATIENCE, attempts.wait_for(|all| enough(all))).await;
        waited.unwrap_or_else(|_| panic!("waited in vain for {what}")).unwrap().clone()
    }

    /// Waits until this many different events were taken with a 2xx.
    pub(crate) async fn wait_for_delivered(&self, count: usize) -> Vec<Attempt> {
        let taken = |all: &[Attempt]| {
            let mut ids: Vec<_> =
                all.iter().filter(|a| a.status < 300).map(|a| a.id().to_owned()).collect();
            ids.sort();
            ids.dedup();
            ids.len()
        };
        self.wait_for(&format!("{count} deliveries"), |all| taken(all) >= count).await
    }

    pub(crate) fn consumer(&self, name: &str) -> String {
        format!(
            "[consumers.{name}]\nkind = 'webhook'\nurl = '{}'\nsecret = '{SECRET}'\nallow_private = true\n",
            self.url
        )
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}
