//! A file of addresses, put on the list or taken off it.
//! Promises that every good line is taken and every other named by its number, in constant memory; and that whoever is interrupted is
//! told how far it got. Deliberately knows nothing of how lines are read.

use std::{
    io::{Read, Write as _},
    path::Path,
    process::ExitCode,
};

use anyhow::{Context as _, bail};
use headwater_collector::state;
use serde_json::json;

use super::{
    AT_ONCE, Order, Reason, Server,
    lines::{Lines, NoColumn},
    printable,
};

/// Bytes of the texts of an order: the server takes 256 KiB, and JSON may double what it writes.
const AT_ONCE_BYTES: usize = 64 * 1024;
/// Bad lines that are named; beyond, they are counted.
const NAMED: u64 = 20;

/// What was done so far.
#[derive(Default)]
struct Done {
    changed: u64,
    same: u64,
    bad: u64,
}

/// Does it with each address of a file.
pub(super) async fn go_through(
    server: &Server,
    (file, column): (&Path, Option<&str>),
    order: Order,
    as_json: bool,
) -> anyhow::Result<ExitCode> {
    let input: Box<dyn Read> = match file.to_str() {
        Some("-") => Box::new(std::io::stdin().lock()),
        _ => Box::new(
            std::fs::File::open(file).with_context(|| format!("cannot read {}", file.display()))?,
        ),
    };
    let mut done = Done::default();
    let ended = each(server, Lines::of(input, column), order, &mut done).await;
    let (changed, same) = order.members();
    let answer = json!({ changed: done.changed, same: done.same, "bad": done.bad });
    let said = order.came_of(&answer);
    ended.map_err(|error| match error.is::<NoColumn>() {
        true => error,
        false => error.context(format!(
            "interrupted: {}. Run it again: what is done stays done",
            said.trim_end()
        )),
    })?;
    let mut out = std::io::stdout().lock();
    match as_json {
        true => writeln!(out, "{answer}")?,
        false => write!(out, "{said}")?,
    }
    match done.bad {
        0 => Ok(ExitCode::SUCCESS),
        1 => bail!("1 line has no address, and nothing was done with it"),
        bad => bail!("{bad} lines have no address, and nothing was done with them"),
    }
}

async fn each(
    server: &Server,
    mut lines: Lines<Box<dyn Read>>,
    order: Order,
    done: &mut Done,
) -> anyhow::Result<()> {
    let mut error = std::io::stderr();
    let (mut gathered, mut bytes) = (Vec::new(), 0);
    let mut is_said = false;
    while let Some(line) = lines.next() {
        let line = line.map_err(|error| match error.downcast::<NoColumn>() {
            Ok(none) => anyhow::Error::new(none),
            Err(error) => anyhow::Error::new(error).context("the file cannot be read any further"),
        })?;
        if let Some((read, others)) = &lines.read
            && !is_said
            && !others.is_empty()
        {
            let others = others.join("`, `");
            writeln!(
                error,
                "note: addresses are read from the column `{read}`, and not from `{others}`; --column NAME reads another"
            )?;
            is_said = true;
        }
        let found = line.address.map_err(str::to_owned).and_then(|text| {
            let short: String = text.chars().take(80).collect();
            state::address(&text).map_err(|error| format!("`{}`: {error}", printable(&short)))
        });
        let address = match found {
            Ok(address) => address.to_string(),
            Err(why) => {
                done.bad += 1;
                if done.bad <= NAMED {
                    writeln!(error, "error: line {}: {why}", line.number)?;
                }
                continue;
            }
        };
        bytes += address.len();
        gathered.push((address, line.reason));
        if gathered.len() >= AT_ONCE || bytes >= AT_ONCE_BYTES {
            send(server, order, &gathered, done).await?;
            gathered.clear();
            bytes = 0;
        }
    }
    if !gathered.is_empty() {
        send(server, order, &gathered, done).await?;
    }
    if done.bad > NAMED {
        writeln!(error, "error: … and {} more", done.bad - NAMED)?;
    }
    Ok(())
}

async fn send(
    server: &Server,
    order: Order,
    addresses: &[(String, Option<Reason>)],
    done: &mut Done,
) -> anyhow::Result<()> {
    let answer = match order.give(server, addresses).await {
        // While the file was waited for, the server has closed a connection that said nothing. Twice is as good as once.
        Err(error) if error.downcast_ref::<reqwest::Error>().is_some() => {
            order.give(server, addresses).await?
        }
        answer => answer?,
    };
    let (changed, same) = order.members();
    done.changed += answer[changed].as_u64().unwrap_or_default();
    done.same += answer[same].as_u64().unwrap_or_default();
    Ok(())
}

#[cfg(test)]
mod tests {
    use headwater_collector::{limits::MAX_ORDER_BYTES, people::MAX_IDENTIFIER_BYTES};

    use super::*;

    #[test]
    fn an_order_is_one_that_the_server_takes_whatever_its_addresses() {
        let around = "{\"suppressions\":[]}".len()
            + AT_ONCE * "{\"address\":\"\",\"reason\":\"unsubscribed\"},".len();
        let most = (AT_ONCE_BYTES + "email:".len() + MAX_IDENTIFIER_BYTES) * 2 + around;
        assert!(most <= MAX_ORDER_BYTES, "{most}");
    }
}
