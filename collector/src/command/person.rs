//! `headwater person …`: who people are, what they did, and decisions about them.
//! Promises text for people and `--json` for programs, and that nothing is erased without the person's own id. Deliberately knows
//! only the HTTP API.

use std::io::Write as _;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Remote, Server, printable};

/// People of a running server: find them, see what they did, merge them and take them apart, export and erase them.
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

/// WHO is a person's id (`p_…`), an identifier with its kind (`user:u-1`, `email:…`, `phone:…`, `anonymous:…`,
/// `external:TYPE:ID`), or one without.
#[derive(Subcommand)]
enum Command {
    /// Find people and accounts by how an identifier or a trait begins.
    Find {
        /// The beginning.
        text: String,
    },
    /// Who somebody is and what is known.
    Show {
        /// Who.
        who: String,
    },
    /// What somebody did, the latest first.
    Timeline {
        /// Who.
        who: String,
        /// At most so many events, 1 to 1000.
        #[arg(long, default_value_t = 50)]
        limit: u32,
        /// Only what is before this: the last line of the page before says it.
        #[arg(long, value_name = "PLACE")]
        before: Option<String>,
    },
    /// Why these identifiers are one person: all that was said about them, and what became of it.
    Graph {
        /// Who.
        who: String,
    },
    /// These two are one person, whatever the limits of their kinds say. Can be taken back with `unmerge`.
    Merge {
        /// Who.
        who: String,
        /// And who.
        with: String,
        /// Change nothing: say who there would be.
        #[arg(long)]
        preview: bool,
    },
    /// What says that these two identifiers are one person is wrong. It counts no more, however often it is said again.
    Unmerge {
        /// One end of an edge, as `graph` shows it: `kind:value`.
        a: String,
        /// The other.
        b: String,
        /// Change nothing: say who there would be.
        #[arg(long)]
        preview: bool,
    },
    /// Everything that is stored about somebody, as lines of JSON.
    Export {
        /// Who.
        who: String,
    },
    /// Erase somebody for good: from the log, from what is known, from what waits for delivery; what still comes is refused.
    Erase {
        /// Who.
        who: String,
        /// The person's id, as `show` prints it: there is no way back.
        #[arg(long, value_name = "ID")]
        confirm: String,
    },
}

/// Does what was asked, and prints what came of it.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let server = arguments.remote.server()?;
    let mut out = std::io::stdout().lock();
    if let Command::Export { who } = &arguments.command {
        let mut answer = server.ask(Method::GET, &path(who, "/export"), &[], None).await?;
        while let Some(piece) = answer.chunk().await.context("the server broke off")? {
            out.write_all(&piece)?;
        }
        return Ok(());
    }
    let (answer, shown) = ask(&server, &arguments.command).await?;
    match arguments.json {
        true => writeln!(out, "{answer}")?,
        false => write!(out, "{shown}")?,
    }
    Ok(())
}

async fn ask(server: &Server, command: &Command) -> anyhow::Result<(Value, String)> {
    let get = async |path: String| server.json(Method::GET, &path, None).await;
    let post =
        async |path: String, body: Value| server.json(Method::POST, &path, Some(&body)).await;
    let decided = |answer: Value, preview: bool| {
        let shown = if preview { previewed(&answer) } else { profile(&answer) };
        (answer, shown)
    };
    Ok(match command {
        Command::Find { text } => {
            let answer = get(format!("/v1/people?q={}", encoded(text))).await?;
            let found = answer["found"].as_array().cloned().unwrap_or_default();
            if found.is_empty() {
                bail!("nobody is known by anything that begins with `{text}`");
            }
            let lines = found.iter().map(|one| {
                format!(
                    "{:<14} {:<30} {}\n",
                    said(&one["id"]),
                    said(&one["name"]),
                    said(&one["because"])
                )
            });
            let shown = lines.collect();
            (answer, shown)
        }
        Command::Show { who } => {
            let answer = get(path(who, "")).await?;
            let shown = profile(&answer);
            (answer, shown)
        }
        Command::Timeline { who, limit, before } => {
            let before = before.as_deref().map(|before| format!("&before={}", encoded(before)));
            let rest = format!("/timeline?limit={limit}{}", before.unwrap_or_default());
            let answer = get(path(who, &rest)).await?;
            let shown = timeline(&answer);
            (answer, shown)
        }
        Command::Graph { who } => {
            let answer = get(path(who, "/graph")).await?;
            let shown = graph(&answer);
            (answer, shown)
        }
        Command::Merge { who, with, preview } => {
            let body = json!({"with": with, "preview": preview});
            decided(post(path(who, "/merge"), body).await?, *preview)
        }
        Command::Unmerge { a, b, preview } => {
            let body = json!({"a": a, "b": b, "preview": preview});
            decided(post(path(a, "/unmerge"), body).await?, *preview)
        }
        Command::Erase { who, confirm } => {
            let answer = post(path(who, "/erase"), json!({ "confirm": confirm })).await?;
            let events = said(&answer["events"]);
            let shown = format!(
                "{} is erased: {events} events are gone from the log\n",
                said(&answer["person"])
            );
            (answer, shown)
        }
        Command::Export { .. } => bail!("an export is printed as it comes"),
    })
}

fn path(who: &str, rest: &str) -> String {
    format!("/v1/people/{}{rest}", encoded(who))
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// A value, for a terminal.
fn said(value: &Value) -> String {
    printable(&value.as_str().map_or_else(|| value.to_string(), str::to_owned))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn profile(person: &Value) -> String {
    let mut text = format!("{}  {}\n", said(&person["name"]), said(&person["id"]));
    for id in list(&person["identifiers"]) {
        text += &format!("  {:<10} {}\n", said(&id["kind"]), said(&id["value"]));
    }
    for part in ["traits", "facts"] {
        let members = person[part].as_object().into_iter().flatten();
        for (name, value) in members {
            let (shown, at, source) =
                (said(&value["value"]), said(&value["at"]), said(&value["source"]));
            text += &format!("  {} = {shown}  ({source}, {at})\n", printable(name));
        }
    }
    for account in list(&person["accounts"]) {
        text +=
            &format!("  member of {} ({})\n", said(&account["name"]), said(&account["account"]));
    }
    if let (Some(first), Some(last)) = (person["firstSeen"].as_str(), person["lastSeen"].as_str()) {
        let (events, visits) = (said(&person["events"]), said(&person["sessions"]));
        text += &format!(
            "  {events} events in {visits} visits, the first {}, the last {}\n",
            printable(first),
            printable(last)
        );
    }
    if let Some(kind) = person["device"]["kind"].as_str() {
        let parts = ["browser", "version", "os"].map(|part| &person["device"][part]);
        let parts: Vec<_> = parts.into_iter().filter(|part| part.is_string()).map(said).collect();
        text += &format!("  last with a {}: {}\n", printable(kind), parts.join(", "));
    }
    for channel in list(&person["channels"]) {
        let (source, events) = (said(&channel["source"]), said(&channel["events"]));
        text +=
            &format!("  {events} events from {source}, the last {}\n", said(&channel["lastSeen"]));
    }
    text
}

fn previewed(preview: &Value) -> String {
    let mut text = match preview["refused"].as_str() {
        Some(why) => format!("nothing would change: {}\n\n", printable(why)),
        None => String::new(),
    };
    for (name, values) in preview["conflicts"].as_object().into_iter().flatten() {
        let values: Vec<_> = list(values).iter().map(said).collect();
        text += &format!("{} is {}: the latest stays\n", printable(name), values.join(" and "));
    }
    let people: Vec<_> = list(&preview["people"]).iter().map(profile).collect();
    text + &people.join("\n")
}

fn timeline(page: &Value) -> String {
    let mut text = String::new();
    for chapter in list(&page["chapters"]) {
        let sources: Vec<_> = list(&chapter["sources"]).iter().map(said).collect();
        text += &format!(
            "{} to {}: {}\n",
            said(&chapter["from"]),
            said(&chapter["to"]),
            sources.join(", ")
        );
        for moment in list(&chapter["moments"]) {
            let (at, source) = (said(&moment["at"]), said(&moment["source"]));
            let line = format!(
                "  {at}  {source:<12} {:<9} {}  {}",
                said(&moment["type"]),
                said(&moment["name"]),
                details(&moment["event"])
            );
            text += line.trim_end();
            text.push('\n');
        }
    }
    if let Some(next) = page["next"].as_str() {
        text += &format!("more: --before {}\n", printable(next));
    }
    text
}

/// What an event says besides its name, as far as a line has room.
fn details(event: &Value) -> String {
    let members = ["properties", "traits"].map(|part| event[part].as_object());
    let simple = members
        .into_iter()
        .flatten()
        .flatten()
        .filter(|(_, value)| value.is_string() || value.is_number() || value.is_boolean());
    let told: Vec<_> = simple
        .take(DETAILS)
        .map(|(name, value)| {
            let value: String = said(value).chars().take(DETAIL).collect();
            format!("{}: {value}", printable(name))
        })
        .collect();
    told.join(", ")
}

/// Of an event's properties, and letters of each.
const DETAILS: usize = 4;
const DETAIL: usize = 40;

fn graph(graph: &Value) -> String {
    let mut text = String::new();
    for edge in list(&graph["edges"]) {
        let trust = if edge["trusted"] == true { "trusted" } else { "a public key" };
        text += &format!(
            "{:<9} {} = {}  ({} by {}, {trust}, {}, record {})\n",
            said(&edge["state"]),
            said(&edge["a"]),
            said(&edge["b"]),
            said(&edge["via"]),
            said(&edge["source"]),
            said(&edge["at"]),
            said(&edge["offset"])
        );
        if let Some(reason) = edge["reason"].as_str() {
            text += &format!("          {}\n", printable(reason));
        }
    }
    if text.is_empty() {
        let only = list(&graph["identifiers"]).first().map(|id| said(&id["value"]));
        text = format!(
            "{} is the only identifier; nothing was said about another\n",
            only.unwrap_or_default()
        );
    }
    text
}
