//! The subcommands that have a file of their own, and, for those that speak to a running server, where it is and who is asking.
//! Promises that the admin token comes from the environment or a file, never from the command line, and is never printed.
//! Deliberately uses the public HTTP API and nothing else.

pub(crate) mod check;
pub(crate) mod consumers;
pub(crate) mod features;
pub(crate) mod person;
pub(crate) mod rules;
pub(crate) mod suppressions;
pub(crate) mod tail;
pub(crate) mod token;

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, bail};
use clap::Args;
use headwater_collector::outgoing;
use reqwest::{Client, Method, Response, StatusCode, Url, redirect};
use serde_json::Value;

/// Where the server is, and who is asking.
#[derive(Args)]
pub(crate) struct Remote {
    /// The running server.
    #[arg(long, help_heading = SERVER, value_name = "URL", default_value = "http://127.0.0.1:8420", global = true, value_parser = server_url)]
    url: String,
    /// A file with the certificates (PEM) that vouch for an https server, where the system's do not: of a CA of your own, or a
    /// self-made one.
    #[arg(long, help_heading = SERVER, value_name = "FILE", global = true)]
    ca: Option<PathBuf>,
    /// A file with the admin token. Without it, the environment variable `HEADWATER_ADMIN_TOKEN` has it.
    #[arg(long, help_heading = SERVER, value_name = "FILE", global = true)]
    token_file: Option<PathBuf>,
}

/// What the options above are about, in every command's help.
const SERVER: &str = "The server";
/// From connecting to the head of the answer: orders are answered within milliseconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A way to speak to the server.
pub(crate) struct Server {
    client: Client,
    url: String,
    token: String,
    ca: Option<PathBuf>,
}

impl Remote {
    /// Reads the token. Connects only when something is asked.
    pub(crate) fn server(&self) -> anyhow::Result<Server> {
        let token = match &self.token_file {
            Some(file) => std::fs::read_to_string(file)
                .with_context(|| format!("cannot read the token in {}", file.display()))?,
            None => match std::env::var("HEADWATER_ADMIN_TOKEN") {
                Ok(token) => token,
                Err(_) => bail!(
                    "set HEADWATER_ADMIN_TOKEN to the admin token, or name a file with --token-file"
                ),
            },
        };
        let token = token.trim().to_owned();
        if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
            let place = self.token_file.as_ref().map(|file| file.display().to_string());
            let place = place.unwrap_or_else(|| "HEADWATER_ADMIN_TOKEN".to_owned());
            bail!("{place} holds no admin token: a token is one word, as it was printed");
        }
        let tls = match &self.ca {
            Some(file) => outgoing::tls_trusting(file)?,
            None => outgoing::tls()?,
        };
        let client = Client::builder()
            .tls_backend_preconfigured(tls)
            // The token goes where it was meant to go, and nowhere else.
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .build()?;
        Ok(Server { client, url: self.url.clone(), token, ca: self.ca.clone() })
    }
}

/// The address of a server, without the `/` at its end.
fn server_url(text: &str) -> Result<String, String> {
    let (scheme, rest) = text.split_once("://").unwrap_or_default();
    let url = Url::parse(text).ok().filter(|url| url.has_host());
    match url {
        Some(_) if ["http", "https"].contains(&scheme) => Ok(text.trim_end_matches('/').to_owned()),
        _ if scheme.is_empty() && Url::parse(&format!("http://{text}")).is_ok() => {
            Err(format!("write http://{text}, or https://{text} if the server speaks TLS"))
        }
        _ if scheme.is_empty() || rest.is_empty() => {
            Err("write it as http://127.0.0.1:8420 or https://in.shop.example".to_owned())
        }
        _ => Err("it must begin with http:// or https://".to_owned()),
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
        let answer = request.send().await.map_err(|error| {
            let url = &self.url;
            let why = match (tls_error(&error), &self.ca) {
                (Some(rustls::Error::InvalidCertificate(_)), None) => format!(
                    "{url} is not who this machine believes; if its certificate comes from a CA of your own, name that with --ca"
                ),
                (Some(rustls::Error::InvalidCertificate(_)), Some(ca)) => {
                    format!("{url} is not who {} vouches for", ca.display())
                }
                _ if url.starts_with("http:") && is_no_http(&error) => format!(
                    "{url} answers, but not in plain HTTP; if it speaks TLS, write https://"
                ),
                _ => format!("no answer from {url}; is the server running there?"),
            };
            anyhow::Error::new(error).context(why)
        })?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status();
        if status == StatusCode::UNAUTHORIZED {
            bail!(
                "this token is not accepted by {}; `headwater token list DATA`, where the server runs, shows which there are",
                self.url
            );
        }
        let text = answer.text().await.unwrap_or_default();
        let message = serde_json::from_str::<Value>(&text)
            .ok()
            .and_then(|error| error["error"]["message"].as_str().map(str::to_owned))
            // Here there is a command for it.
            .map(|message| {
                COMMANDS.iter().fold(message, |said, (path, command)| said.replace(path, command))
            });
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

/// What a server says of its paths, and what there is for it here.
const COMMANDS: [(&str, &str); 3] = [
    ("`GET /v1/consumers` lists", "`headwater consumers list` shows"),
    ("`GET /v1/rules` lists", "`headwater rules list` shows"),
    ("`GET /v1/people?q=…` finds", "`headwater person find …` finds"),
];

/// What TLS says is wrong, if that is why a connection ended.
fn tls_error(error: &reqwest::Error) -> Option<&rustls::Error> {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(cause) = next {
        if let Some(tls) = cause.downcast_ref() {
            return Some(tls);
        }
        next = match cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            // Its source is that of the error it wraps, not that error.
            Some(wrapped) => Some(wrapped),
            None => cause.source(),
        };
    }
    None
}

/// Whether what came back is no HTTP.
fn is_no_http(error: &reqwest::Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if error.downcast_ref().is_some_and(hyper::Error::is_parse) {
            return true;
        }
        cause = error.source();
    }
    false
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
    fn the_address_of_a_server_has_a_scheme() {
        for (given, taken) in [
            ("http://127.0.0.1:8420/", "http://127.0.0.1:8420"),
            ("https://in.shop.example/hw/", "https://in.shop.example/hw"),
        ] {
            assert_eq!(server_url(given).as_deref(), Ok(taken));
        }
        for (wrong, message) in [
            ("127.0.0.1:8420", "write http://127.0.0.1:8420, or https://127.0.0.1:8420"),
            ("localhost:8420", "write http://localhost:8420, or"),
            ("in.shop.example", "write http://in.shop.example, or"),
            ("", "write it as http://127.0.0.1:8420"),
            ("http://", "write it as"),
            ("ftp://h", "must begin with http:// or https://"),
        ] {
            assert!(server_url(wrong).unwrap_err().contains(message), "{wrong}");
        }
    }

    #[test]
    fn what_could_drive_a_terminal_is_shown() {
        assert_eq!(printable("Zürich 🚀"), "Zürich 🚀");
        assert_eq!(printable("\u{1b}[2J\r\n\t\u{9b}1m"), "\\u{1b}[2J\\u{d}\\u{a}\\u{9}\\u{9b}1m");
        assert_eq!(printable("a\u{202e}b"), "a\\u{202e}b");
    }
}
