//! `headwater tail`: follows the log in the terminal, one event a line.
//! Promises to go on where it was after a lost connection, and that no event can drive the terminal.
//! Deliberately keeps one event at a time.

use std::{
    io::{IsTerminal as _, Write as _},
    time::Duration,
};

use anyhow::Context as _;
use clap::Args;
use headwater_collector::decode::EventType;
use reqwest::{Method, Response};
use serde_json::Value;

use super::{Remote, Server, printable};

/// Follow the events of a running server as they are stored.
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    remote: Remote,
    /// Begin behind this offset instead of with what comes next; 0 is the beginning of the log.
    #[arg(long, value_name = "OFFSET")]
    after: Option<String>,
    /// Only events of this type.
    #[arg(long = "type", value_name = "TYPE", value_parser = EventType::ALL.map(EventType::as_str))]
    event_type: Option<String>,
    /// Only events with this name.
    #[arg(long, value_name = "NAME")]
    event: Option<String>,
    /// Print each event as a line of JSON.
    #[arg(long)]
    json: bool,
}

/// Between two attempts to connect: a restart of the server takes less than a few of them.
const RECONNECT: Duration = Duration::from_secs(1);
/// A silent stream says that it is alive every 15 s: one that has not for so long is dead.
const SILENCE: Duration = Duration::from_secs(40);
/// Bytes of one event of the stream, with its line: an event has at most 500 KB.
const LONGEST: usize = 2 * 1024 * 1024;

/// Why following ended.
enum Ended {
    /// The connection is gone: connect again.
    Lost,
    /// Nobody reads what is printed.
    OutputClosed,
}

/// Follows until nobody reads any more, or the server refuses.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let server = arguments.remote.server()?;
    let mut after = arguments.after.clone();
    // What is wrong at the first attempt is told; later, the server is only away for a moment.
    let mut answer = Some(connect(&server, after.as_deref()).await?);
    loop {
        if let Some(stream) = answer.take()
            && let Ended::OutputClosed = follow(&arguments, stream, &mut after).await?
        {
            return Ok(());
        }
        tokio::time::sleep(RECONNECT).await;
        match connect(&server, after.as_deref()).await {
            Ok(stream) => answer = Some(stream),
            Err(error) if error.is::<reqwest::Error>() => {}
            // The server is there and does not want us: its log was begun anew, or the token has changed.
            Err(error) => return Err(error),
        }
    }
}

async fn connect(server: &Server, after: Option<&str>) -> anyhow::Result<Response> {
    let mut headers = vec![("accept", "text/event-stream")];
    if let Some(after) = after {
        headers.push(("last-event-id", after));
    }
    server.ask(Method::GET, "/v1/live", &headers, None).await
}

async fn follow(
    arguments: &Arguments,
    mut stream: Response,
    after: &mut Option<String>,
) -> anyhow::Result<Ended> {
    let coloured = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let mut waiting = Vec::new();
    loop {
        let Ok(Ok(Some(piece))) = tokio::time::timeout(SILENCE, stream.chunk()).await else {
            return Ok(Ended::Lost);
        };
        waiting.extend_from_slice(&piece);
        while let Some(end) = waiting.windows(2).position(|two| two == b"\n\n") {
            let block: Vec<u8> = waiting.drain(..end + 2).collect();
            let Some((id, data)) = event(&block) else { continue };
            if let Some(line) = shown(arguments, data, coloured)
                && writeln!(std::io::stdout(), "{line}").is_err()
            {
                return Ok(Ended::OutputClosed);
            }
            *after = Some(id.to_owned());
        }
        anyhow::ensure!(waiting.len() <= LONGEST, "the server sends something else than events");
    }
}

/// The id and data of one server-sent event. What has none, like a sign of life, is none.
fn event(block: &[u8]) -> Option<(&str, &str)> {
    let mut lines = std::str::from_utf8(block).ok()?.lines();
    let id = lines.clone().find_map(|line| line.strip_prefix("id: "))?;
    Some((id, lines.find_map(|line| line.strip_prefix("data: "))?))
}

/// The line for an event, if it is wanted.
fn shown(arguments: &Arguments, data: &str, coloured: bool) -> Option<String> {
    let event: Value = serde_json::from_str(data).context("an event that is no JSON").ok()?;
    let wanted = |filter: &Option<String>, value: &Value| {
        filter.as_deref().is_none_or(|filter| value.as_str() == Some(filter))
    };
    if !wanted(&arguments.event_type, &event["type"]) || !wanted(&arguments.event, name(&event)) {
        return None;
    }
    if arguments.json {
        return Some(harmless(data));
    }
    let text = |value: &Value| printable(value.as_str().unwrap_or_default());
    let person = [&event["userId"], &event["anonymousId"], &event["orderKey"]];
    let person = person.into_iter().find(|id| id.is_string()).map_or_else(String::new, text);
    let (dim, bold, plain) =
        if coloured { ("\u{1b}[2m", "\u{1b}[1m", "\u{1b}[0m") } else { ("", "", "") };
    // As wide as most are; a longer one moves what is behind it.
    Some(format!(
        "{dim}{:>7} {}{plain} {:8} {bold}{:24}{plain} {dim}{:10}{plain} {person}",
        text(&event["offset"]),
        text(&event["receivedAt"]),
        text(&event["type"]),
        text(name(&event)),
        text(&event["source"]),
    ))
}

/// JSON whose strings hold no character that could drive a terminal: it must escape some of them, here all are.
fn harmless(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    for character in json.chars() {
        match character {
            // Between values; within a string it would be no JSON.
            '\0'..' ' => shown.push(' '),
            control if control.is_control() => {
                shown.push_str(&format!("\\u{:04x}", u32::from(control)));
            }
            other => shown.push(other),
        }
    }
    shown
}

/// What happened: the event's name, or a page's or screen's.
fn name(event: &Value) -> &Value {
    if event["event"].is_string() { &event["event"] } else { &event["name"] }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn arguments(line: &[&str]) -> Arguments {
        Line::parse_from(["tail"].iter().chain(line)).arguments
    }

    const EVENT: &str = r#"{"offset":"7","receivedAt":"2026-01-01T00:00:00.000Z","source":"web","orderKey":"d","type":"track","event":"Order\u001b[2J Paid\n","userId":"u-1"}"#;

    #[test]
    fn a_line_says_who_did_what_when_and_is_harmless() {
        let line = shown(&arguments(&[]), EVENT, false).unwrap();
        assert_eq!(
            line,
            "      7 2026-01-01T00:00:00.000Z track    Order\\u{1b}[2J Paid\\u{a} web        u-1"
        );
        let coloured = shown(&arguments(&[]), EVENT, true).unwrap();
        assert!(coloured.starts_with("\u{1b}[2m      7 2026"), "{coloured}");
        let json = shown(&arguments(&["--json"]), EVENT, false).unwrap();
        assert_eq!(json, EVENT);
        assert_eq!(harmless("{\"a\":\t\"\u{9b}1m\u{7f}ä\"}"), r#"{"a": "\u009b1m\u007fä"}"#);
    }

    #[test]
    fn only_what_was_asked_for_is_shown() {
        assert!(shown(&arguments(&["--type", "page"]), EVENT, false).is_none());
        assert!(shown(&arguments(&["--type", "track"]), EVENT, false).is_some());
        assert!(shown(&arguments(&["--event", "Other"]), EVENT, false).is_none());
        let wrong = Line::try_parse_from(["tail", "--type", "trak"]).err().unwrap().to_string();
        assert!(wrong.contains("track, identify") && wrong.contains("'track'"), "{wrong}");
    }

    #[test]
    fn signs_of_life_are_no_events() {
        assert_eq!(event(b":\n\n"), None);
        assert_eq!(event(b"retry: 1000\n\n"), None);
        assert_eq!(event(b"id: 7\ndata: {}\n\n"), Some(("7", "{}")));
    }
}
