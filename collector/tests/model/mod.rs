//! A model, as a data team would serve it: asked over real HTTP, it answers as a test says; and a server whose rules ask it.
//! Promises a free port. Deliberately knows no rule, and not what is asked.
#![allow(clippy::unwrap_used, reason = "what a test expects, it unwraps, in its functions too")]

use std::{convert::Infallible, fs, sync::Arc};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::server::{SECRET, Server};

/// Serves what answers a question with a status and a body; where to ask.
pub(crate) async fn serve<A>(answer: impl Fn(Value) -> A + Send + Sync + 'static) -> String
where
    A: Future<Output = (u16, String)> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/score", listener.local_addr().unwrap());
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let answer = Arc::clone(&answer);
            let service = service_fn(move |request: Request<Incoming>| {
                let answer = Arc::clone(&answer);
                async move {
                    let (head, body) = request.into_parts();
                    assert!(head.headers.contains_key("webhook-signature"));
                    let body = body.collect().await.unwrap().to_bytes();
                    let (status, said) = answer(serde_json::from_slice(&body).unwrap()).await;
                    let response = Response::builder().status(status);
                    Ok::<_, Infallible>(response.body(Full::new(Bytes::from(said))).unwrap())
                }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    url
}

/// An answer with this number.
pub(crate) fn score(number: f64) -> (u16, String) {
    (200, json!({ "score": number }).to_string())
}

/// What a server of these tests is started from, and what a test knows of its model.
pub(crate) struct World<M> {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) toml: String,
    pub(crate) model: M,
}

impl<M> World<M> {
    /// With these rules, which ask the destinations of these names and addresses, for events of the trusted source `wk_app`.
    pub(crate) fn new(model: M, rules: &str, destinations: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let written = folder.path().join("rules");
        fs::create_dir(&written).unwrap();
        fs::write(written.join("rules.toml"), rules).unwrap();
        let mut toml = format!(
            "rules = '{}'\n[sources.app]\nwrite_key = 'wk_app'\ntrust = 'server'\n",
            written.display()
        );
        for (name, url) in destinations {
            toml += &format!(
                "[destinations.{name}]\nkind = 'webhook'\nurl = '{url}'\nsecret = '{SECRET}'\nallow_private = true\n"
            );
        }
        Self { folder, toml, model }
    }

    pub(crate) async fn start(&self) -> Server {
        Server::start_with(&self.folder.path().join("data"), &self.toml).await
    }

    /// As when the state is of another format, or gone: all is made anew from the log.
    pub(crate) fn forget_the_state(&self) {
        for file in ["people.db", "people.db-wal", "people.db-shm"] {
            drop(fs::remove_file(self.folder.path().join("data").join(file)));
        }
    }
}
