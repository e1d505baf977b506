//! `headwater suppressions …`: the suppression list of a running server: what is on it, and what goes on and off.
//! Promises that of several addresses on the command line all count, or none. Deliberately knows only the HTTP API, and how an address is
//! written.

mod file;
mod lines;

use std::{io::Write as _, path::PathBuf, process::ExitCode};

use anyhow::bail;
use clap::{Args, Subcommand, ValueEnum};
use headwater_collector::state;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Remote, Server, printable};

/// The suppression list of a running server: addresses and numbers that no action sends to.
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

/// ADDRESS is an e-mail address, or a phone number with its country, as +49301234567.
#[derive(Subcommand)]
enum Command {
    /// What is on the list, the latest first.
    List {
        /// Only this address: whether it is on the list.
        #[arg(conflicts_with_all = ["reason", "csv"])]
        address: Option<String>,
        /// Only for this reason.
        #[arg(long)]
        reason: Option<Reason>,
        /// At most so many, 1 to 1000.
        #[arg(long, default_value_t = 50)]
        limit: u32,
        /// All of them, as lines of CSV that `import` and `remove --file` read.
        #[arg(long, conflicts_with_all = ["limit", "json"])]
        csv: bool,
    },
    /// Send nothing to these any more, whatever a rule says. Counts at once, also for what waits or is tried again; what a server is just being given still goes.
    Add {
        /// Addresses.
        #[arg(required = true, value_name = "ADDRESS")]
        addresses: Vec<String>,
        /// Why.
        #[arg(long, default_value = "manual")]
        reason: Reason,
    },
    /// Send to these again.
    Remove {
        /// Addresses.
        #[arg(value_name = "ADDRESS", required_unless_present = "file")]
        addresses: Vec<String>,
        /// Those of a file, as `import` reads it; `-` is the standard input.
        #[arg(long, conflicts_with = "addresses")]
        file: Option<PathBuf>,
        /// The name of the column that is read.
        #[arg(long, value_name = "NAME", requires = "file")]
        column: Option<String>,
    },
    /// Put the addresses of a file on the list: one a line, or CSV.
    ///
    /// In CSV the address is in the first column, or, if the first line has names, in the first called `address`, `email`, `email address`,
    /// `phone`, `phone number`, `number` or `recipient`; others of these names are told, and --column reads them. A column `reason` counts where it says one of the reasons below (`BOUNCE`, `COMPLAINT`
    /// and the like too); else --reason does. What is on the list already stays as it is, so that a file can be imported again. A line
    /// without an address is named with its number and left out; the others go onto the list. Exit code 1: there were such lines.
    Import {
        /// The file; `-` is the standard input.
        file: PathBuf,
        /// Why, where the file does not say it.
        #[arg(long, default_value = "manual")]
        reason: Reason,
        /// The name of the column that is read.
        #[arg(long, value_name = "NAME")]
        column: Option<String>,
    },
}

/// Why nothing is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Reason {
    /// Somebody has decided it.
    Manual,
    /// There is no such mailbox.
    Bounced,
    /// A mail was called spam.
    Complained,
    /// They want no more.
    Unsubscribed,
}

impl Reason {
    fn as_str(self) -> &'static str {
        match self {
            Self::Manual => "manual",
            Self::Bounced => "bounced",
            Self::Complained => "complained",
            Self::Unsubscribed => "unsubscribed",
        }
    }
}

/// Addresses of one order: what the server takes.
const AT_ONCE: usize = 1000;

/// Does what was asked, and prints what came of it.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let server = arguments.remote.server()?;
    let mut out = std::io::stdout().lock();
    let (answer, shown) = match &arguments.command {
        Command::List { csv: true, reason, .. } => {
            export(&server, *reason).await?;
            return Ok(ExitCode::SUCCESS);
        }
        Command::List { address, reason, limit, .. } => {
            let query = match address {
                Some(address) => format!("address={}", encoded(address)),
                None => asked_for(*reason, *limit, None),
            };
            let answer = get(&server, &query).await?;
            let shown = match address {
                Some(address) => one(&answer, address),
                None => list(&answer),
            };
            (answer, shown)
        }
        Command::Import { file, reason, column } => {
            let (file, order) = ((&**file, column.as_deref()), Order::Add(*reason));
            return file::go_through(&server, file, order, arguments.json).await;
        }
        Command::Remove { file: Some(file), column, .. } => {
            let file = (&**file, column.as_deref());
            return file::go_through(&server, file, Order::Remove, arguments.json).await;
        }
        Command::Add { addresses, reason } => {
            let answer = Order::Add(*reason).give(&server, &few(addresses)?).await?;
            let shown = Order::Add(*reason).came_of(&answer);
            (answer, shown)
        }
        Command::Remove { addresses, file: None, .. } => {
            let answer = Order::Remove.give(&server, &few(addresses)?).await?;
            let shown = Order::Remove.came_of(&answer);
            (answer, shown)
        }
    };
    match arguments.json {
        true => writeln!(out, "{answer}")?,
        false => write!(out, "{shown}")?,
    }
    Ok(ExitCode::SUCCESS)
}

/// All or none of them: a mistyped one is said before anything is done.
fn few(addresses: &[String]) -> anyhow::Result<Vec<(String, Option<Reason>)>> {
    if addresses.len() > AT_ONCE {
        bail!("these are more than {AT_ONCE}: write them into a file");
    }
    let read = |text: &String| match state::address(text) {
        Ok(address) => Ok((address.to_string(), None)),
        Err(error) => bail!("`{}`: {error}", printable(text)),
    };
    addresses.iter().map(read).collect()
}

/// What is done with addresses.
#[derive(Clone, Copy)]
enum Order {
    /// For this reason, where none is said of one.
    Add(Reason),
    Remove,
}

impl Order {
    async fn give(
        self,
        server: &Server,
        addresses: &[(String, Option<Reason>)],
    ) -> anyhow::Result<Value> {
        let (path, body) = match self {
            Self::Add(else_for) => {
                let with_reason = |(address, reason): &(String, Option<Reason>)| json!({ "address": address, "reason": reason.unwrap_or(else_for).as_str() });
                let all: Vec<_> = addresses.iter().map(with_reason).collect();
                ("add", json!({ "suppressions": all }))
            }
            Self::Remove => {
                let all: Vec<_> = addresses.iter().map(|(address, _)| address).collect();
                ("remove", json!({ "addresses": all }))
            }
        };
        server.json(Method::POST, &format!("/v1/suppressions/{path}"), Some(&body)).await
    }

    /// The members of an answer: what was changed, and what was so already.
    fn members(self) -> (&'static str, &'static str) {
        match self {
            Self::Add(_) => ("added", "already"),
            Self::Remove => ("removed", "absent"),
        }
    }

    fn came_of(self, answer: &Value) -> String {
        let (changed, same) = self.members();
        let (changed, same) = (&answer[changed], &answer[same]);
        match self {
            Self::Add(_) => format!("{changed} added, {same} already on the list\n"),
            Self::Remove => format!("{changed} removed, {same} not on the list\n"),
        }
    }
}

/// All that is on the list, as CSV. With its kind in front, no address is a number or a formula to a spreadsheet.
async fn export(server: &Server, reason: Option<Reason>) -> anyhow::Result<()> {
    let mut out = csv::Writer::from_writer(std::io::stdout().lock());
    out.write_record(["address", "reason", "since", "by"])?;
    let (mut before, mut erased) = (None, 0_u64);
    loop {
        let page = get(server, &asked_for(reason, 1000, before.as_deref())).await?;
        for it in items(&page) {
            let text = |member: &str| it[member].as_str().unwrap_or_default();
            match it["address"].as_str() {
                None => erased += 1,
                Some(address) => {
                    let address = format!("{}:{address}", text("kind"));
                    out.write_record([&address, text("reason"), text("since"), text("by")])?;
                }
            }
        }
        before = page["next"].as_str().map(str::to_owned);
        if before.is_none() {
            break;
        }
    }
    out.flush()?;
    if erased > 0 {
        writeln!(
            std::io::stderr(),
            "note: {erased} more are of people who were erased: not sent to, and not named"
        )?;
    }
    Ok(())
}

async fn get(server: &Server, query: &str) -> anyhow::Result<Value> {
    server.json(Method::GET, &format!("/v1/suppressions?{query}"), None).await
}

fn asked_for(reason: Option<Reason>, limit: u32, before: Option<&str>) -> String {
    let mut query = format!("limit={limit}");
    if let Some(reason) = reason {
        query += &format!("&reason={}", reason.as_str());
    }
    if let Some(before) = before {
        query += &format!("&before={before}");
    }
    query
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

fn items(answer: &Value) -> &[Value] {
    answer["suppressions"].as_array().map_or(&[], Vec::as_slice)
}

fn text<'a>(it: &'a Value, member: &str) -> &'a str {
    it[member].as_str().unwrap_or_default()
}

fn row(it: &Value) -> String {
    let address = it["address"].as_str().map_or_else(|| "(erased)".to_owned(), printable);
    let [reason, since, by] = ["reason", "since", "by"].map(|member| printable(text(it, member)));
    format!("{address:<32} {reason:<13} {since}  by {by}\n")
}

fn list(answer: &Value) -> String {
    let shown: String = items(answer).iter().map(row).collect();
    if shown.is_empty() {
        return match answer["count"].as_u64() {
            Some(0) | None => "nothing is on the list\n".to_owned(),
            Some(count) => format!("none of the {count} on the list\n"),
        };
    }
    match answer["next"].is_null() {
        true => shown,
        false => format!("{shown}… {} in all; --csv lists them\n", answer["count"]),
    }
}

fn one(answer: &Value, address: &str) -> String {
    match items(answer) {
        [] => format!("{} is not on the list\n", printable(address)),
        found => found.iter().map(row).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reasons_are_the_servers() {
        let ours = Reason::value_variants().iter().map(|reason| reason.as_str());
        assert!(ours.eq(state::SuppressionReason::ALL.map(state::SuppressionReason::as_str)));
    }
}
