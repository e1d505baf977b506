//! `headwater features export`: what features stood at, at moments of the past, as a table for whoever trains a model.
//! Promises rows on standard output and nothing else there, and an exit code that says whether any of the log was missing.
//! Deliberately knows only files: it asks no server.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
    time::SystemTime,
};

use anyhow::{Context as _, bail};
use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use headwater_collector::{
    config::Config,
    event_log::Timestamp,
    people::Limits,
    rules::{self, Asked, Exported, Per, Row, RuleSet},
};

use super::rules::time;

/// Features: what they stood at in the past.
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write what features stood at, one row a line, with nothing in it that came later. Changes nothing; may run beside a server.
    ///
    /// A row is made of what the log had before the event of --on, or before the moment of --at, and of that only of what had
    /// happened before that moment. Exit code 1: some of the log could not be read, and is not in the rows; or the log has no event that
    /// was named with --on.
    Export(Export),
}

#[derive(Args)]
#[command(group(ArgGroup::new("moments").required(true)))]
struct Export {
    /// The data folder, or a copy of one.
    data: PathBuf,
    /// The folder of the rules that the features are in.
    #[arg(long, value_name = "FOLDER")]
    rules: PathBuf,
    /// A row for each of these events, as of who did it: as in a rule, "Subscription Cancelled" or page:Pricing. Again for more.
    #[arg(long, value_name = "EVENT", group = "moments")]
    on: Vec<String>,
    /// A row for everybody known at this moment, as 2026-01-31T00:00:00Z. Again for more.
    #[arg(long, value_name = "TIME", group = "moments", value_parser = time)]
    at: Vec<Timestamp>,
    /// Of whom: the features of people, or those of accounts.
    #[arg(long, value_enum, default_value_t = Whose::Person)]
    per: Whose,
    /// Only this feature. Again for more. [default: all]
    #[arg(long, value_name = "NAME")]
    feature: Vec<String>,
    /// Only events that happened from then on.
    #[arg(long, value_name = "TIME", value_parser = time)]
    from: Option<Timestamp>,
    /// Only events that happened before then.
    #[arg(long, value_name = "TIME", value_parser = time)]
    to: Option<Timestamp>,
    /// The configuration, where its [people] are not the default: they say who is one person.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// What a row is: one JSON object, or a line of CSV below a line of names. In CSV a text that a spreadsheet would take for a
    /// formula has an apostrophe before it.
    #[arg(long, value_enum, default_value_t = Format::Ndjson)]
    format: Format,
}

#[derive(Clone, Copy, ValueEnum)]
enum Whose {
    Person,
    Account,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Ndjson,
    Csv,
}

pub(crate) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Command::Export(export) = arguments.command;
    let Export { data, rules, on, at, per, feature, from, to, config, format } = export;
    let set = RuleSet::read(&rules)?;
    let limits = match &config {
        Some(path) => Config::read(path)?.0.people,
        None => Limits::default(),
    };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let is_to_come = |at: &&Timestamp| u128::try_from(at.unix_ms()).unwrap_or(0) > now.as_millis();
    if let Some(at) = at.iter().find(is_to_come) {
        bail!("{at} is still to come: nobody knows what features will stand at");
    }
    let per = match per {
        Whose::Person => Per::Person,
        Whose::Account => Per::Account,
    };
    let asked = Asked { on, at, per, features: feature, from, to };
    let mut said = 0;
    let told = |events: u64| {
        if events / 100_000 > said {
            said = events / 100_000;
            tracing::info!(events, "going through the log");
        }
    };
    let names = set.names_of_features(asked.per, &asked.features);
    let mut lines = Lines::new(format, &names, io::BufWriter::new(io::stdout().lock()))
        .context("the rows cannot be written")?;
    let (exported, in_vain) =
        rules::rows(&data, (set, limits), &asked, told, |row| lines.write(&row))?;
    lines.end().context("the rows cannot be written")?;
    let code = report(exported)?;
    if let Some(in_vain) = in_vain {
        bail!("{in_vain}; nothing was written of it");
    }
    Ok(code)
}

fn report(exported: Exported) -> anyhow::Result<ExitCode> {
    let Exported { rows, events, unreadable, begins, came_later } = exported;
    let mut err = io::stderr();
    writeln!(err, "{rows} rows from {events} events")?;
    if let Some(begins) = begins {
        writeln!(
            err,
            "the log begins at offset {begins}: what retention has deleted is not counted"
        )?;
    }
    if came_later > 0 {
        writeln!(
            err,
            "{came_later} events had happened by the last of the moments and came after it: they are not counted, as nobody knew of \
             them then; of an imported history ask with --on"
        )?;
    }
    if unreadable > 0 {
        bail!("{unreadable} stretches of the log cannot be read; `headwater doctor` says which");
    }
    Ok(ExitCode::SUCCESS)
}

/// Rows as text.
enum Lines<W: io::Write> {
    Ndjson(W),
    Csv(Box<csv::Writer<W>>),
}

impl<W: io::Write> Lines<W> {
    fn new(format: Format, features: &[String], out: W) -> io::Result<Self> {
        Ok(match format {
            Format::Ndjson => Self::Ndjson(out),
            Format::Csv => {
                let mut out = csv::Writer::from_writer(out);
                let features = features.iter().map(|name| format!("features.{name}"));
                out.write_record(NAMES.map(str::to_owned).into_iter().chain(features))?;
                Self::Csv(Box::new(out))
            }
        })
    }

    fn write(&mut self, row: &Row) -> io::Result<()> {
        let out = match self {
            Self::Ndjson(out) => {
                serde_json::to_writer(&mut *out, row)?;
                return out.write_all(b"\n");
            }
            Self::Csv(out) => out,
        };
        let of = |text: &Option<String>| cell(text.clone().unwrap_or_default());
        let who = [of(&row.person), of(&row.user_id), of(&row.account)];
        let when = [row.at.clone(), of(&row.event), of(&row.message_id), of(&row.name)];
        let features = row.features.values().map(|value| match value {
            serde_json::Value::Null => String::new(),
            serde_json::Value::String(text) => cell(text.clone()),
            // A list is its JSON.
            other => other.to_string(),
        });
        out.write_record(who.into_iter().chain(when).chain(features))?;
        Ok(())
    }

    fn end(self) -> io::Result<()> {
        match self {
            Self::Ndjson(mut out) => out.flush(),
            Self::Csv(mut out) => out.flush(),
        }
    }
}

/// A text of an event in a cell. What a spreadsheet would take for a formula, and carry out for whoever opens the file, gets an apostrophe
/// before it (OWASP, "CSV Injection"). A number is none, signed or not: a telephone number as an id stays what others join on.
fn cell(text: String) -> String {
    let is_number = || {
        let digits = text.strip_prefix(['+', '-']).unwrap_or(&text);
        digits.bytes().any(|it| it.is_ascii_digit())
            && digits.bytes().all(|it| it.is_ascii_digit() || it == b'.')
    };
    match text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) && !is_number() {
        true => format!("'{text}"),
        false => text,
    }
}

/// What stands before the features, as in JSON.
const NAMES: [&str; 7] = ["person", "userId", "account", "at", "event", "messageId", "name"];
