//! `headwater check`: whether a server would start with this configuration, and if not, all that is in its way.
//! Promises one line for each thing, with file and line, on standard error, and exit code 0 only if there is none.
//! Deliberately takes the arguments of `serve`, so that one word changes.

use std::{io::Write as _, process::ExitCode};

use headwater_collector::check;

use crate::Serve;

pub(crate) fn run(arguments: &Serve) -> anyhow::Result<ExitCode> {
    let (config, text) = arguments.configured()?;
    // Clients of destinations are made, and some of them want a runtime around them.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let found = runtime.block_on(async { check::problems(&config, &text) });
    let file = match &arguments.config {
        Some(file) => file.display().to_string(),
        None => "without a configuration file".to_owned(),
    };
    for problem in &found {
        writeln!(std::io::stderr(), "error: {file}{problem}")?;
    }
    if let Some(warning) = check::in_the_clear(&config) {
        writeln!(std::io::stderr(), "warning: {file}: {warning}")?;
    }
    if !found.is_empty() {
        return Ok(ExitCode::FAILURE);
    }
    let sources = match config.sources.len() {
        0 => "one source, `web`, with a key of its own".to_owned(),
        1 => "1 source".to_owned(),
        n => format!("{n} sources"),
    };
    let consumers = match config.consumers.len() {
        1 => "1 consumer".to_owned(),
        n => format!("{n} consumers"),
    };
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    writeln!(
        std::io::stdout(),
        "{file}: sound; {sources}, {consumers}, {scheme}://{}, data in {}",
        config.listen,
        config.data.display()
    )?;
    Ok(ExitCode::SUCCESS)
}
