//! `headwater consumers …`: lists consumers, and gives them orders.
//! Promises a table for people and `--json` for programs. Deliberately knows only the HTTP API.

use std::io::Write as _;

use anyhow::bail;
use clap::{ArgGroup, Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Remote, Server, printable};

/// Consumers of a running server: how they are, and orders to them.
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    remote: Remote,
    /// Print the server's answer as it is: JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Each consumer with its state, its lag in events and seconds, and what it has parked.
    List,
    /// Deliver nothing more until it is resumed, also after a restart.
    Pause {
        /// The consumer.
        name: String,
        /// Why, for whoever finds it paused.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Go on, and try a destination that failed at once.
    #[command(visible_alias = "retry")]
    Resume {
        /// The consumer.
        name: String,
    },
    /// Go on from another place: what lies between is delivered again, or never.
    Seek {
        /// The consumer.
        name: String,
        /// `start`, `end`, an offset (to go on behind it), or a time like 2026-01-31T12:00:00Z.
        #[arg(value_name = "PLACE")]
        to: String,
    },
    /// Deliver a range once more, marked as a replay, beside what is delivered anyway.
    Replay {
        /// The consumer.
        name: String,
        /// A place, as in `seek`.
        #[arg(value_name = "FROM")]
        from: String,
        /// A place, as in `seek`; at most what was delivered before.
        #[arg(value_name = "TO", default_value = "end")]
        to: String,
    },
    /// The events that it has set aside, with the reason.
    Parked {
        /// The consumer.
        name: String,
        /// At most so many, 1 to 1000.
        #[arg(long, default_value_t = 100)]
        limit: u32,
        /// Only behind this offset: the `next` of the page before.
        #[arg(long, value_name = "OFFSET")]
        after: Option<String>,
        /// With the events themselves.
        #[arg(long)]
        events: bool,
    },
    /// Deliver parked events again; what succeeds is parked no more. Exit code 1 if there was none.
    Redrive(Which),
    /// Forget parked events: they are never delivered. The log keeps them. Exit code 1 if there was none.
    Drop(Which),
}

#[derive(Args)]
#[command(group(ArgGroup::new("which").required(true)))]
struct Which {
    /// The consumer.
    name: String,
    /// Offsets of parked events.
    #[arg(value_name = "OFFSET", group = "which")]
    offsets: Vec<String>,
    /// All that it has parked.
    #[arg(long, group = "which")]
    all: bool,
}

impl Which {
    /// Nothing was changed.
    fn none(&self) -> anyhow::Result<()> {
        let name = &self.name;
        match self.all {
            true => bail!("nothing has changed: {name} has parked no events"),
            false => bail!(
                "nothing has changed: none of these offsets is parked; `headwater consumers parked {name}` shows which are"
            ),
        }
    }

    /// How many it was about, in a sentence.
    fn said(answer: &Value, what: &str) -> String {
        match answer["events"].as_u64() {
            Some(0) => String::new(),
            Some(1) => format!("1 parked event {what}\n"),
            _ => format!("{} parked events {what}\n", text(&answer["events"])),
        }
    }

    fn order(&self) -> Value {
        if self.all { json!({"all": true}) } else { json!({"offsets": self.offsets}) }
    }
}

/// Does what was asked, and prints what came of it.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let server = arguments.remote.server()?;
    let (answer, shown) = ask(&server, &arguments.command).await?;
    let mut out = std::io::stdout().lock();
    if arguments.json {
        writeln!(out, "{answer}")?;
    } else {
        write!(out, "{shown}")?;
    }
    match &arguments.command {
        // A wrong offset must not look like a job done.
        Command::Redrive(which) | Command::Drop(which) if answer["events"] == 0 => which.none(),
        _ => Ok(()),
    }
}

async fn ask(server: &Server, command: &Command) -> anyhow::Result<(Value, String)> {
    let post = async |name: &str, verb: &str, body: Value| {
        server
            .json(Method::POST, &format!("/v1/consumers/{}/{verb}", plain(name)?), Some(&body))
            .await
    };
    Ok(match command {
        Command::List => {
            let answer = server.json(Method::GET, "/v1/consumers", None).await?;
            let shown = list(&answer);
            (answer, shown)
        }
        Command::Pause { name, reason } => {
            let order = reason.as_ref().map_or(json!({}), |reason| json!({"reason": reason}));
            (post(name, "pause", order).await?, format!("{name} is paused\n"))
        }
        Command::Resume { name } => {
            (post(name, "resume", json!({})).await?, format!("{name} goes on\n"))
        }
        Command::Seek { name, to } => {
            let answer = post(name, "seek", json!({"to": to})).await?;
            let shown = format!("{name} goes on behind offset {}\n", text(&answer["after"]));
            (answer, shown)
        }
        Command::Replay { name, from, to } => {
            let answer = post(name, "replay", json!({"from": from, "to": to})).await?;
            let (after, upto) = (text(&answer["after"]), text(&answer["upto"]));
            let shown =
                format!("{name} delivers what lies behind offset {after} up to {upto} again\n");
            (answer, shown)
        }
        Command::Parked { name, limit, after, events } => {
            let after = after.as_deref().map_or(Ok("0"), plain)?;
            let path = format!(
                "/v1/consumers/{}/parked?limit={limit}&after={after}&events={}",
                plain(name)?,
                u8::from(*events)
            );
            let answer = server.json(Method::GET, &path, None).await?;
            let shown = parked(&answer);
            (answer, shown)
        }
        Command::Redrive(which) => {
            let answer = post(&which.name, "parked/redrive", which.order()).await?;
            let shown = Which::said(&answer, "will be delivered again");
            (answer, shown)
        }
        Command::Drop(which) => {
            let answer = post(&which.name, "parked/drop", which.order()).await?;
            let shown = Which::said(&answer, "dropped");
            (answer, shown)
        }
    })
}

/// A word that can stand in an address as it is.
fn plain(word: &str) -> anyhow::Result<&str> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    anyhow::ensure!(
        !word.is_empty() && word.bytes().all(fits),
        "`{}` names nothing",
        printable(word)
    );
    Ok(word)
}

fn list(answer: &Value) -> String {
    let mut rows =
        vec![["NAME", "KIND", "STATE", "LAG", "SECONDS", "PARKED", "WHY"].map(str::to_owned)];
    for consumer in answer["consumers"].as_array().into_iter().flatten() {
        let mut why = text(&consumer["reason"]);
        if let Some(next) = consumer["next_attempt"].as_str() {
            why = format!("{why} (next attempt {next})");
        }
        if let Some(by) = consumer["paused_by"].as_str() {
            why = format!("by the {by}: {why}");
        }
        rows.push([
            text(&consumer["name"]),
            text(&consumer["kind"]),
            text(&consumer["state"]),
            text(&consumer["lag_events"]),
            format!("{:.1}", consumer["lag_seconds"].as_f64().unwrap_or(0.0)),
            text(&consumer["parked"]),
            why,
        ]);
    }
    table(&rows)
}

fn parked(answer: &Value) -> String {
    let mut rows =
        vec![["OFFSET", "PARKED AT", "SOURCE", "MESSAGE ID", "REASON", "EVENT"].map(str::to_owned)];
    for parked in answer["parked"].as_array().into_iter().flatten() {
        let event = parked.get("event").map_or_else(String::new, ToString::to_string);
        let columns = ["offset", "parkedAt", "source", "messageId", "reason"];
        let [offset, at, source, id, reason] = columns.map(|column| text(&parked[column]));
        rows.push([offset, at, source, id, reason, printable(&event)]);
    }
    let mut shown = table(&rows);
    if let Some(next) = answer["next"].as_str() {
        shown.push_str(&format!("there are more: --after {}\n", printable(next)));
    }
    shown
}

/// A value as a person writes it, harmless to a terminal.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => printable(text),
        other => printable(&other.to_string()),
    }
}

/// Columns as wide as they need to be, but for the last.
fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let width =
        |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let mut shown = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            line.push_str(&format!("{cell:width$}  "));
        }
        shown.push_str(line.trim_end());
        shown.push('\n');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_why_and_cannot_drive_the_terminal() {
        let shown = list(&json!({"consumers": [
            {"name": "crm", "kind": "webhook", "state": "backing_off", "lag_events": 12, "lag_seconds": 3.25,
             "parked": 1, "reason": "500: \u{1b}[2J", "next_attempt": "2026-01-01T00:00:00.000Z"},
            {"name": "warehouse", "kind": "pull", "state": "drained", "lag_events": 0, "lag_seconds": 0, "parked": 0},
        ]}));
        let lines: Vec<_> = shown.lines().collect();
        assert_eq!(lines[0], "NAME       KIND     STATE        LAG  SECONDS  PARKED  WHY");
        assert_eq!(
            lines[1],
            "crm        webhook  backing_off  12   3.2      1       500: \\u{1b}[2J (next attempt 2026-01-01T00:00:00.000Z)"
        );
        assert_eq!(lines[2], "warehouse  pull     drained      0    0.0      0");
    }

    #[test]
    fn a_name_cannot_lead_elsewhere() {
        for wrong in ["", "a/b", "..", "a?x", "a b"] {
            assert!(plain(wrong).is_err(), "{wrong}");
        }
    }
}
