//! `headwater rules …`: whether rule files are sound and do what their fixtures say, what other rules would have come to, and, of a
//! running server, what its rules came to, why, and the switch. Promises text for people and `--json` for programs, and an exit code
//! that says whether all is well. Deliberately knows only files and the HTTP API.

mod compared;
mod switched;
mod why;

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use headwater_collector::{
    actions,
    config::Config,
    event_log::Timestamp,
    event_time,
    rules::{self, RuleSet},
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Method;
use serde_json::Value;

use super::{Remote, Server, printable};

/// Rules: check and test their files, and ask a running server what they came to and why.
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    #[command(flatten)]
    OnFiles(OnFiles),
    #[command(flatten)]
    Asked(Question),
}

/// What needs no server.
#[derive(Subcommand)]
pub(crate) enum OnFiles {
    /// Say whether the rule files and templates of a folder can be used.
    ///
    /// Exit code 1: not; all that is wrong is listed with file and line. What looks unintended is a warning. A rule without actions is noted,
    /// unless it says `then = []`.
    Check {
        /// The folder.
        folder: PathBuf,
        /// A configuration, to look up the destinations in, and what sources may send.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Run the fixtures beside the rules of a folder, `*.test.toml`, on virtual time.
    ///
    /// Exit code 1: one failed, there is none, or the rules and templates cannot be used, as `check` says.
    Test {
        /// The folder.
        folder: PathBuf,
    },
    /// What other rules would have come to: both over a data folder's log, nothing sent. May run beside a server.
    ///
    /// Time passes to the last event, or to `--to`: what fired under one set and is still waiting under the other is listed as not due yet.
    /// A firing acts, or is held: by the rollout, a dry run, as late. Not judged: consent, addresses, and whether anything is delivered.
    Backtest {
        /// The data folder.
        data: PathBuf,
        /// The folder of the rules as they are.
        #[arg(long, value_name = "FOLDER")]
        old: PathBuf,
        /// The folder of the rules as they would be.
        #[arg(long, value_name = "FOLDER")]
        rules: PathBuf,
        /// Firings from then on, as 2026-01-31T00:00:00Z.
        #[arg(long, value_name = "TIME", value_parser = time)]
        from: Option<Timestamp>,
        /// Events until then; a time to come lets what waits fire.
        #[arg(long, value_name = "TIME", value_parser = time)]
        to: Option<Timestamp>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// What a running server is asked.
#[derive(Subcommand)]
pub(crate) enum Question {
    /// The rules of a running server.
    List {
        #[command(flatten)]
        of: Asked,
    },
    /// List firings, the newest first.
    Firings {
        /// Only of this rule.
        #[arg(long)]
        rule: Option<String>,
        /// Only for somebody.
        #[arg(long, conflicts_with = "account")]
        who: Option<String>,
        /// Only about an account, by its id.
        #[arg(long)]
        account: Option<String>,
        /// At most so many, 1 to 1000.
        #[arg(long, default_value_t = 20)]
        limit: u32,
        #[command(flatten)]
        of: Asked,
    },
    /// Why a rule fired for somebody, and why it did not: each time that it was looked at, the latest first, with what came of it.
    Why {
        /// The rule.
        rule: String,
        /// Who: as with `headwater person`; of a rule about accounts an account's id, or one of its people.
        who: String,
        #[command(flatten)]
        of: Asked,
    },
    /// Stop a rule, or all: its pending actions wait, and expire unless it is resumed in time.
    Stop {
        /// The rule; without it, all.
        rule: Option<String>,
        #[command(flatten)]
        of: Asked,
    },
    /// Resume a rule; without a name, lift the stop of all.
    ///
    /// A rule that was stopped by its name stays stopped when the stop of all is lifted, and is named.
    Resume {
        /// The rule; without it, the stop of all is lifted.
        rule: Option<String>,
        #[command(flatten)]
        of: Asked,
    },
}

/// Which server is asked, and how its answer is shown.
#[derive(Args)]
pub(crate) struct Asked {
    #[command(flatten)]
    remote: Remote,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn time(text: &str) -> Result<Timestamp, String> {
    event_time::parse(text).ok_or_else(|| "write it as 2026-01-31T00:00:00Z".to_owned())
}

impl Question {
    fn of(&self) -> &Asked {
        match self {
            Self::List { of }
            | Self::Firings { of, .. }
            | Self::Why { of, .. }
            | Self::Stop { of, .. }
            | Self::Resume { of, .. } => of,
        }
    }
}

/// The rules of a folder, if all that is in it can be used; else what is wrong is listed, with what is doubted.
fn usable(folder: &Path, config: Option<&Config>) -> anyhow::Result<RuleSet> {
    let actions::Looked { set, wrong, doubtful } = actions::look(folder, config);
    let (listed, more) = wrong.listed();
    let mut error = std::io::stderr().lock();
    for one in listed {
        writeln!(error, "error: {}", printable(&one.to_string()))?;
    }
    if more > 0 {
        writeln!(error, "error: … and {more} more")?;
    }
    for one in doubtful.listed().0 {
        writeln!(error, "warning: {}", printable(&one.to_string()))?;
    }
    match wrong.len() {
        0 => Ok(set),
        1 => bail!("1 mistake in {}: none of its rules can be used", folder.display()),
        n => bail!("{n} mistakes in {}: none of its rules can be used", folder.display()),
    }
}

/// What needs no server.
pub(crate) fn on_files(command: &OnFiles) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match command {
        OnFiles::Check { folder, config } => {
            let config = config.as_ref().map(|path| Config::read(path)).transpose()?;
            let set = usable(folder, config.as_ref().map(|(config, _)| config))?;
            let mut error = std::io::stderr().lock();
            if config.is_none() {
                let unknown = "destinations were not looked up, nor what sources may send: give the configuration with --config FILE";
                writeln!(error, "note: {unknown}")?;
            }
            let (features, scores, rules) = set.counts();
            if set.is_empty() {
                bail!(
                    "there are no rules in {}: files `*.toml` with [features], [scores], [rules]",
                    folder.display()
                );
            }
            for (file, rule) in set.idle() {
                writeln!(
                    error,
                    "note: {file}: the rule `{rule}` does nothing, and is only on record; if that is meant, say `then = []`"
                )?;
            }
            let count =
                |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
            let (features, scores) = (count(features, "feature"), count(scores, "score"));
            writeln!(out, "ok: {features}, {scores}, {}", count(rules, "rule"))?;
        }
        OnFiles::Test { folder } => {
            let set = Arc::new(usable(folder, None)?);
            let tested = actions::test(&set, folder)?;
            if tested.is_empty() {
                bail!(
                    "there is nothing to run in {}: fixtures are files `*.test.toml` beside the rules",
                    folder.display()
                );
            }
            for one in &tested {
                writeln!(out, "{}", printable_lines(&one.to_string()))?;
            }
            let failed = tested.iter().filter(|one| !one.wrong.is_empty()).count();
            writeln!(out, "{} ran, {failed} failed", tested.len())?;
            if failed > 0 {
                bail!("{failed} of {} fixtures failed", tested.len());
            }
        }
        OnFiles::Backtest { data, old, rules, from, to, json } => {
            let sets = (Arc::new(RuleSet::read(old)?), Arc::new(RuleSet::read(rules)?));
            let mut said = 0;
            let told = |events: u64| {
                if events / 100_000 > said {
                    said = events / 100_000;
                    tracing::info!(events, "going through the log");
                }
            };
            let compared = rules::backtest(data, sets, (*from, *to), told)?;
            if *json {
                let json = serde_json::to_string(&compared).context("no JSON")?;
                writeln!(out, "{json}")?;
                return Ok(());
            }
            write!(out, "{}", compared::shown(&compared, to.is_some()))?;
            if compared.unreadable > 0 {
                bail!(
                    "{} stretches of the log cannot be read; `headwater doctor` says which",
                    compared.unreadable
                );
            }
        }
    }
    Ok(())
}

/// Asks the server, and prints what it says.
pub(crate) async fn run(question: Question) -> anyhow::Result<()> {
    let server = question.of().remote.server()?;
    let answer = ask(&server, &question).await?;
    let mut out = std::io::stdout().lock();
    if question.of().json {
        writeln!(out, "{answer}")?;
        return Ok(());
    }
    let shown = match &question {
        Question::Firings { .. } => firings(&answer),
        Question::Why { .. } => why::shown(&answer),
        Question::Stop { rule, .. } => switched::stopped(&answer, rule.as_deref()),
        Question::Resume { rule, .. } => switched::resumed(&answer, rule.as_deref()),
        Question::List { .. } => list(&answer),
    };
    write!(out, "{shown}")?;
    Ok(())
}

async fn ask(server: &Server, question: &Question) -> anyhow::Result<Value> {
    let part = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let of = |rule: &Option<String>, order: &str| match rule {
        Some(rule) => format!("/v1/rules/{}/{order}", part(rule)),
        None => format!("/v1/rules/{order}"),
    };
    match question {
        Question::Firings { rule, who, account, limit, .. } => {
            let mut path = format!("/v1/firings?limit={limit}");
            for (name, value) in [("rule", rule), ("who", who), ("account", account)] {
                if let Some(value) = value {
                    path += &format!("&{name}={}", part(value));
                }
            }
            server.json(Method::GET, &path, None).await
        }
        Question::Why { rule, who, .. } => {
            let path = format!("/v1/rules/{}/why?who={}", part(rule), part(who));
            server.json(Method::GET, &path, None).await
        }
        Question::Stop { rule, .. } => server.json(Method::POST, &of(rule, "stop"), None).await,
        Question::Resume { rule, .. } => server.json(Method::POST, &of(rule, "resume"), None).await,
        Question::List { .. } => server.json(Method::GET, "/v1/rules", None).await,
    }
}

fn printable_lines(text: &str) -> String {
    text.lines().map(printable).collect::<Vec<_>>().join("\n")
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => printable(text),
        Value::Null => "nothing".to_owned(),
        Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
            Some(fraction) => legible(fraction),
            None => number.to_string(),
        },
        other => printable(&other.to_string()),
    }
}

/// A number with a fraction, to six digits: 0.8999999 is 0.9 for who reads it. Those in front of the point all stay.
fn legible(number: f64) -> String {
    if number.abs() >= 1e5 {
        return ((number * 10.0).round() / 10.0).to_string();
    }
    let rounded: f64 = format!("{number:.5e}").parse().unwrap_or(number);
    rounded.to_string()
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn list(answer: &Value) -> String {
    let mut shown = String::new();
    for rule in items(&answer["rules"]) {
        let mut state = Vec::new();
        match rule["stopped"].as_object() {
            Some(stopped) if stopped["all"] == true => {
                state.push(format!("STOPPED, as all are, by {}", text(&stopped["by"])));
            }
            Some(stopped) => state.push(format!("STOPPED by {}", text(&stopped["by"]))),
            None if rule["enabled"] == false => state.push("not enabled".to_owned()),
            None => state.push("on".to_owned()),
        }
        if rule["urgent"] == true {
            state.push("past caps and quiet hours".to_owned());
        }
        if rule["dryRun"] == true {
            state.push("dry run".to_owned());
        }
        if rule["percent"] != 100 {
            state.push(format!("for {} of 100", rule["percent"]));
        }
        shown += &format!(
            "{} (revision {}): {}; fired: {}, acted: {}\n    {}\n",
            text(&rule["name"]),
            rule["revision"],
            state.join(", "),
            rule["fired"],
            rule["acted"],
            text(&rule["when"]),
        );
        if let Some(times) = rule["unjudged"]["times"].as_u64() {
            let times = if times == 1 { "once".to_owned() } else { format!("{times} times") };
            let of = |member: &str| text(&rule["unjudged"][member]);
            shown += &format!(
                "    ! could not be judged {times} since the start, last at {}{}: `{}`: {}\n",
                of("at"),
                rule["unjudged"]["where"]
                    .as_str()
                    .map_or_else(String::new, |of| format!(", in `{of}`")),
                of("condition"),
                of("why")
            );
        }
        for condition in items(&rule["conditions"]) {
            shown += &format!("    and {}\n", text(condition));
        }
        for condition in items(&rule["still"]) {
            shown += &format!("    and, at that time, still {}\n", text(condition));
        }
        if let Some(decision) = rule["decision"].as_str() {
            shown += &format!("    decides {}\n", printable(decision));
        }
        for deed in items(&rule["then"]) {
            shown += &format!("    then {}\n", text(deed));
        }
    }
    if shown.is_empty() {
        "there are no rules; set `rules` in the configuration\n".to_owned()
    } else {
        shown
    }
}

fn firings(answer: &Value) -> String {
    let mut shown = String::new();
    for fired in items(&answer["firings"]) {
        let account = fired["account"]
            .as_str()
            .map_or_else(String::new, |it| format!(" of {}", printable(it)));
        shown += &format!(
            "{}  {}  {}{account}\n",
            text(&fired["at"]),
            text(&fired["rule"]),
            text(&fired["name"]),
        );
        shown += &came_of(fired);
    }
    if shown.is_empty() { "no rule has fired\n".to_owned() } else { shown }
}

/// What came of a firing: why nothing was done, or what is done, and how it stands with what is still to be done.
fn came_of(fired: &Value) -> String {
    let mut shown = String::new();
    if fired["earlier"] == true {
        shown += "    by an earlier form of this rule\n";
    }
    if let Some(held) = fired["held"].as_str() {
        shown += &format!("    held: {}\n", printable(held));
    }
    match (fired["decision"].as_str(), fired["undecided"].as_str()) {
        (Some(decision), None) => shown += &format!("    decided {}\n", printable(decision)),
        (Some(decision), Some(why)) => {
            shown += &format!("    did not decide {}: {}\n", printable(decision), printable(why));
        }
        (None, _) => {}
    }
    for action in items(&fired["actions"]) {
        let mut said = Vec::new();
        if let Some(waits_for) = action["waitsFor"].as_str() {
            said.push(format!("waits: {}", printable(waits_for)));
        }
        match (action["attempts"].as_u64(), action["lastError"].as_str()) {
            (None | Some(0), _) => {}
            (Some(times), error) => {
                let times = if times == 1 { "once".to_owned() } else { format!("{times} times") };
                let error = error.map_or_else(String::new, |it| format!(", the last time: {it}"));
                said.push(printable(&format!("tried {times}{error}")));
            }
        }
        for (member, words) in [("nextTry", "next try"), ("expires", "of no use after")] {
            if let Some(time) = action[member].as_str() {
                said.push(format!("{words} {}", printable(time)));
            }
        }
        said.extend(action["detail"].as_str().map(printable));
        let said = if said.is_empty() { String::new() } else { format!(": {}", said.join("; ")) };
        shown += &format!("    {} {}{said}\n", text(&action["kind"]), text(&action["state"]));
    }
    if let Some(again) = fired["again"].as_str() {
        shown += &format!("    {}\n", printable(again));
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_as_exact_as_anyone_reads_them() {
        let shown =
            [0.899_999_9, 2.0 / 3.0, 1e-7, 12.0, 123_456.789, 1_764_000_000_123.0, -0.5, 0.0];
        let shown = shown.map(legible);
        let expected =
            ["0.9", "0.666667", "0.0000001", "12", "123456.8", "1764000000123", "-0.5", "0"];
        assert_eq!(shown, expected);
        assert_eq!(text(&serde_json::json!(1_764_000_000_123_456_i64)), "1764000000123456");
    }
}
