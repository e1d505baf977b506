//! The subcommands that have a file of their own, and, for those that speak to a running server, where it is and who is asking.
//! Promises that the admin token comes from the environment or a file, never from the command line, and is never printed.
//! Deliberately uses the public HTTP API and nothing else.

pub(crate) mod check;
pub(crate) mod consumers;
pub(crate) mod tail;
pub(crate) mod token;

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, bail};
use clap::Args;
use headwater_collector::outgoing;
use reqwest::{Client, Method, Response, redirect};
use serde_json::Value;

/// Where the server is, and who is asking.
#[derive(Args)]
pub(crate) struct Remote {
    /// The running server.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8420", global = true)]
    url: String,
    /// A file with the admin token. Without it, the environment variable `HEADWATER_ADMIN_TOKEN` has it.
    #[arg(long, value_name = "FILE", global = true)]
    token_file: Option<PathBuf>,
}

/// From connecting to the head of the answer: orders are answered within milliseconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A way to speak to the server.
pub(crate) struct Server {
    client: Client,
    url: String,
    token: String,
}

impl Remote {
    /// Reads the token. Connects only when something is asked.
    pub(crate) fn server(&self) -> anyhow::Result<Server> {
        let token = match &self.token_file {
            Some(file) => std::fs::read_to_string(file)
                .with_context(|| format!("cannot read the token in {}", file.display()))?,
            None => std::env::var("HEADWATER_ADMIN_TOKEN").context(
                "set HEADWATER_ADMIN_TOKEN to the admin token, or name a file with --token-file",
            )?,
        };
        let client = Client::builder()
            .tls_backend_preconfigured(outgoing::tls()?)
            // The token goes where it was meant to go, and nowhere else.
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .build()?;
        let (url, token) = (self.url.trim_end_matches('/').to_owned(), token.trim().to_owned());
        Ok(Server { client, url, token })
    }
}

impl Server {
    /// A request's answer, if it is a good one; else what the server says is wrong.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&'static str, &str)],
        body: Option<&Value>,
    ) -> anyhow::Result<Response> {
        let url = format!("{}{path}", self.url);
        let mut request = self.client.request(method, url).bearer_auth(&self.token);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        let answer = request.send().await.with_context(|| {
            format!("no answer from {}; is the server running there?", self.url)
        })?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status();
        let text = answer.text().await.unwrap_or_default();
        let message = serde_json::from_str::<Value>(&text)
            .ok()
            .and_then(|error| error["error"]["message"].as_str().map(str::to_owned));
        bail!("{}", message.unwrap_or_else(|| format!("{} answers {status}", self.url)))
    }

    /// The JSON that a request is answered with.
    pub(crate) async fn json(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Value> {
        let text = self.ask(method, path, &[], body).await?.text().await?;
        serde_json::from_str(&text)
            .with_context(|| format!("{} does not answer with JSON", self.url))
    }
}

/// Text from outside, for a terminal: what could drive it is shown as an escape.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        // Beside control characters: what turns the direction of text around, and cannot be seen.
        let hidden = matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
        if character.is_control() || hidden {
            shown.extend(character.escape_unicode());
        } else {
            shown.push(character);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_drive_a_terminal_is_shown() {
        assert_eq!(printable("Zürich 🚀"), "Zürich 🚀");
        assert_eq!(printable("\u{1b}[2J\r\n\t\u{9b}1m"), "\\u{1b}[2J\\u{d}\\u{a}\\u{9}\\u{9b}1m");
        assert_eq!(printable("a\u{202e}b"), "a\\u{202e}b");
    }
}
