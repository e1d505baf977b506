//! What the tests of actions share: a message, a destination as a configuration describes it, and a server that keeps what it is posted.
//! Promises free ports and an end to every wait. Deliberately knows no vendor.
#![allow(clippy::unwrap_used, reason = "what a test expects, it unwraps, in its functions too")]

pub(crate) mod mail;

use std::{
    convert::Infallible,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use headwater_collector::{
    actions::{Destination, DestinationError, Message, Outcome, Rendered},
    config::Config,
};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    HeaderMap, Request, Response, body::Incoming, server::conn::http1, service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

/// The destination that these lines describe.
pub(crate) fn open(lines: &str) -> Result<Destination, DestinationError> {
    let config =
        Config::parse(&format!("[destinations.x]\n{lines}"), Path::new("test.toml")).unwrap();
    Destination::open(&config.destinations.into_values().next().unwrap())
}

/// A message with everything in it.
pub(crate) fn message(to: Option<&str>) -> Message {
    let rendered = Rendered {
        subject: Some("Grüße & <more>".to_owned()),
        title: Some("Ann's trial & <more>".to_owned()),
        markdown: Some(
            "**Ann** did not come back\n\n- [profile](https://h/p?a=1&b=2)\n- \\<!channel\\>"
                .to_owned(),
        ),
        text: Some("Grüße & <more> +\n.\n..two".to_owned()),
        html: Some("<p>Grüße</p>\n.\n".to_owned()),
        ..Rendered::default()
    };
    let context = json!({
        "person": {"id": "u 1", "name": "Ann"},
        "reasons": [{"text": "logins", "value": -0.4, "words": "logins −0.4"}, {"text": "sessions", "value": 3}, {"text": "new <card>"}],
    });
    Message {
        key: "act_01HZX".to_owned(),
        rule: "trial-ends".to_owned(),
        to: to.map(str::to_owned),
        rendered,
        context,
    }
}

pub(crate) fn reason(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Refused { reason }
        | Outcome::NeverAgain { reason, .. }
        | Outcome::Withheld { reason }
        | Outcome::Failed { reason, .. }
        | Outcome::Unknown { reason } => reason,
        Outcome::Accepted { .. } => panic!("it was accepted, without a reason"),
    }
}

/// `collector/tests/actions`, and what `make` puts beside the project.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/actions")
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Posted {
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Posted {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

type Answer = (u16, Vec<(String, String)>, String);

/// Keeps what it is posted, and gives one answer.
pub(crate) struct Recorder {
    pub(crate) url: String,
    posted: Arc<Mutex<Vec<Posted>>>,
    answer: Arc<Mutex<Answer>>,
    task: JoinHandle<()>,
}

impl Recorder {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let posted: Arc<Mutex<Vec<Posted>>> = Arc::default();
        let answer = Arc::new(Mutex::new((200, Vec::new(), "ok".to_owned())));
        let (keep, give) = (Arc::clone(&posted), Arc::clone(&answer));
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (keep, give) = (Arc::clone(&keep), Arc::clone(&give));
                let service = service_fn(move |request: Request<Incoming>| {
                    let (keep, give) = (Arc::clone(&keep), Arc::clone(&give));
                    async move {
                        let (head, body) = request.into_parts();
                        let body = body.collect().await.unwrap().to_bytes().to_vec();
                        let target = format!("{} {}", head.method, head.uri);
                        keep.lock().unwrap().push(Posted { target, headers: head.headers, body });
                        let (status, headers, text) = give.lock().unwrap().clone();
                        let mut answer = Response::builder().status(status);
                        for (name, value) in headers {
                            answer = answer.header(name, value);
                        }
                        Ok::<_, Infallible>(
                            answer.body(Full::new(bytes::Bytes::from(text))).unwrap(),
                        )
                    }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { url, posted, answer, task }
    }

    pub(crate) fn answer(&self, status: u16, headers: &[(&str, &str)], text: &str) {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        *self.answer.lock().unwrap() = (status, headers.collect(), text.to_owned());
    }

    pub(crate) fn posted(&self) -> Vec<Posted> {
        self.posted.lock().unwrap().clone()
    }

    pub(crate) fn last(&self) -> Posted {
        self.posted().pop().expect("something was posted")
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.task.abort();
    }
}
