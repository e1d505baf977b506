//! A model, as a data team would serve it: asked over real HTTP, it answers as a test says.
//! Promises a free port. Deliberately knows no rule, and not what is asked.
#![allow(clippy::unwrap_used, reason = "what a test expects, it unwraps, in its functions too")]

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

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
