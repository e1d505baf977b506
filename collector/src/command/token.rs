//! `headwater token`: the admin tokens of a data folder, by name.
//! Promises that a token is printed once and never again, and that a server on the folder goes by a change within
//! a second, which it says. Deliberately makes no data folder: a wrong path is an error.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use headwater_collector::{
    config::{Name, Secret},
    state::State,
};

#[derive(Subcommand)]
pub(crate) enum Token {
    /// Make a token and print it, this once. A running server takes it within a second.
    Add(Named),
    /// List names and when each was made.
    List {
        /// The data folder.
        data: PathBuf,
    },
    /// End a token: within a second it opens nothing any more.
    Revoke(Named),
    /// End a token and print another one under its name. A running server goes by it within a second.
    ///
    /// The token that the first start made and printed is called `first`.
    Rotate(Named),
}

#[derive(Args)]
pub(crate) struct Named {
    /// What the token is called, for you.
    #[arg(value_parser = |name: &str| Name::try_from(name.to_owned()))]
    name: Name,
    /// The data folder.
    data: PathBuf,
}

impl Token {
    pub(crate) fn run(&self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Add(Named { name, data }) => {
                let token = open(data)?.add_admin_token(name)?;
                let Some(token) = token else {
                    bail!(
                        "there is a token `{name}` already; take another name, or `token rotate {name}`"
                    );
                };
                show(&token, name)?;
            }
            Self::Rotate(Named { name, data }) => {
                let token = open(data)?.rotate_admin_token(name)?;
                let Some(token) = token else {
                    bail!(
                        "there is no token `{name}`; `headwater token list` shows them, `token add` makes one"
                    );
                };
                show(&token, name)?;
            }
            Self::Revoke(Named { name, data }) => {
                if !open(data)?.revoke_admin_token(name)? {
                    bail!("there is no token `{name}`; `headwater token list` shows them");
                }
                let mut out = std::io::stdout();
                writeln!(
                    out,
                    "`{name}` opens nothing any more, of a running server within a second"
                )?;
                if open(data)?.admin_tokens()?.is_empty() {
                    writeln!(
                        std::io::stderr(),
                        "that was the last token: nobody can read events or operate the collector until \
                         `headwater token add NAME DATA` makes one"
                    )?;
                }
            }
            Self::List { data } => {
                let mut out = std::io::stdout().lock();
                for token in open(data)?.admin_tokens()? {
                    let made = token.made_at.map_or_else(|| "-".to_owned(), |at| at.to_string());
                    writeln!(out, "{}\t{made}", token.name)?;
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn open(data: &Path) -> anyhow::Result<State> {
    let file = data.join("state.db");
    if !file.is_file() && data.join("log").is_dir() {
        bail!(
            "{} has no tokens: no server was started on it yet; its first start makes one and prints it",
            data.display()
        );
    }
    if !file.is_file() {
        bail!(
            "{} is no data folder of a collector; name the one that `state.db` is in",
            data.display()
        );
    }
    Ok(State::open(&file)?)
}

fn show(token: &Secret<String>, name: &Name) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{}", token.expose()).and_then(|()| out.flush()).with_context(|| {
        format!("nobody has seen the new token; make another with `headwater token rotate {name}`")
    })?;
    // Not to standard output, which goes into a file. Nobody is left to tell if standard error is closed.
    drop(writeln!(std::io::stderr(), "a running server goes by it within a second"));
    Ok(())
}
