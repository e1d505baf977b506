//! A server with rules that say something to people, and devices that ask for it.
//! Waits for conditions only. Deliberately knows no rule.
#![allow(clippy::unwrap_used, reason = "what a test expects, it unwraps, in its functions too")]

use std::{fs, sync::Mutex};

use reqwest::Response;
use serde_json::{Value, json};

use crate::server::{self, Server, client};

pub(crate) const TOKEN: &str = "a-token-of-22-letters-";
pub(crate) const OTHER: &str = "another-token-of-22-or-more";

pub(crate) struct World {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) toml: String,
    token: Mutex<String>,
}

impl World {
    /// With these rules and templates, by their files' names, and these sources.
    pub(crate) fn new(files: &[(&str, &str)], sources: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let rules = folder.path().join("rules");
        fs::create_dir(&rules).unwrap();
        for (name, text) in files {
            fs::write(rules.join(name), text).unwrap();
        }
        let toml = format!("rules = '{}'\n{sources}", rules.display());
        Self { folder, toml, token: Mutex::default() }
    }

    pub(crate) async fn start(&self) -> Server {
        let server = Server::start_with(&self.folder.path().join("data"), &self.toml).await;
        if let Some(token) = &server.new_token {
            self.token.lock().unwrap().clone_from(token);
        }
        server
    }

    pub(crate) fn admin_token(&self) -> String {
        self.token.lock().unwrap().clone()
    }

    /// Speaks to the server as an operator.
    pub(crate) async fn get(&self, server: &Server, path: &str) -> Value {
        self.ask(server, reqwest::Method::GET, path, json!({})).await
    }

    pub(crate) async fn ask(
        &self,
        server: &Server,
        method: reqwest::Method,
        path: &str,
        body: Value,
    ) -> Value {
        let token = self.admin_token();
        let request = client().request(method, server.at(path)).bearer_auth(token);
        let answer = request.body(body.to_string()).send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.text().await.unwrap());
        server::json(answer).await
    }
}

pub(crate) async fn send(server: &Server, key: &str, event: Value) {
    let body = json!({ "writeKey": key, "batch": [event] }).to_string();
    let answer = client().post(server.at("/v1/batch?receipt=1")).body(body).send().await.unwrap();
    let receipt: Value = server::json(answer).await;
    assert_eq!(receipt["accepted"], 1, "{receipt}");
}

pub(crate) async fn ask(server: &Server, body: Value) -> Response {
    client().post(server.at("/v1/messages")).body(body.to_string()).send().await.unwrap()
}

/// What one device is told within so long.
pub(crate) async fn told(server: &Server, device: &str, token: &str, wait_ms: u64) -> Vec<Value> {
    let asked =
        json!({ "writeKey": "wk_web", "anonymousId": device, "token": token, "waitMs": wait_ms });
    let answer = ask(server, asked).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["cache-control"], "no-store");
    assert_eq!(answer.headers()["access-control-allow-origin"], "*");
    let mut answer: Value = server::json(answer).await;
    serde_json::from_value(answer["messages"].take()).unwrap()
}
