//! What a sender of webhooks sees, and what is stored of it.
//! Promises nothing that a sender could not know. Knows no signature.
#![allow(clippy::unwrap_used, reason = "what a test expects, it unwraps, in its functions too")]

use std::time::{SystemTime, UNIX_EPOCH};

use reqwest::RequestBuilder;
use serde_json::Value;

use crate::server::{self, Server};

pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

impl Answered {
    pub(crate) fn code(&self) -> &str {
        self.body["error"]["code"].as_str().unwrap_or_default()
    }

    pub(crate) fn message(&self) -> &str {
        self.body["error"]["message"].as_str().unwrap_or_default()
    }
}

pub(crate) async fn answered(request: RequestBuilder) -> Answered {
    let answer = request.send().await.unwrap();
    Answered { status: answer.status().as_u16(), body: server::json(answer).await }
}

pub(crate) async fn stored(server: &Server) -> Vec<Value> {
    server.events(server.new_token.as_ref().unwrap()).await
}
