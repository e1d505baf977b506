//! Writes a data folder as this release does, with every kind of record in it, for `tests/formats`: see there.
//! Promises small files, several segments, a checkpoint, cursors and parked events, and beside the folder what is in it.
//! Deliberately not a test: what a release wrote is written once and never again.
#![allow(clippy::print_stdout, reason = "a tool that is called by hand")]

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use headwater_collector::{
    config::Name,
    event_log::*,
    export::{Selection, export},
    state::{Parked, State},
};
use serde_json::json;

/// Every event is stored a second after the one before, from here on.
const BEGIN_MS: i64 = 1_763_769_600_000;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::args().nth(1).ok_or("name the folder to make")?);
    let data = folder.join("stored");
    fs::create_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    fs::create_dir(&data)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(write_log(&data.join("log")))?;
    // A start finds several segments and leaves a checkpoint of them.
    drop(open(&data.join("log"))?);
    fs::remove_file(data.join("log/lock"))?;

    let state = State::open(&data.join("state.db"))?;
    let token = state.first_admin_token()?;
    let (crm, mail) = (Name::try_from("crm".to_owned())?, Name::try_from("mail".to_owned())?);
    state.save_cursor(&crm, "30".parse()?)?;
    let parked = Parked {
        record: "7".parse()?,
        source: "web".into(),
        message_id: "7".into(),
        reason: "400: no \"such\" person".into(),
        parked_at: Timestamp::from_unix_ms(BEGIN_MS + 60_000),
        redrive: false,
    };
    state.park(&mail, &parked)?;
    let expected = json!({
        "adminToken": token.map(|token| token.expose().clone()),
        "writeKey": state.default_write_key()?.expose(),
        "cursors": { "crm": "30" },
        "parked": { "mail": [{ "record": "7", "source": "web", "messageId": "7", "reason": parked.reason,
            "parkedAtMs": BEGIN_MS + 60_000 }] },
    });
    drop(state);
    fs::write(folder.join("expected.json"), format!("{expected:#}\n"))?;
    let mut events = fs::File::create(folder.join("events.ndjson"))?;
    let exported = export(&data, &Selection::default(), &mut events)?;
    println!("{} events, {} unreadable", exported.events, exported.unreadable.len());
    Ok(())
}

fn open(dir: &Path) -> Result<EventLog, OpenError> {
    let now = AtomicI64::new(BEGIN_MS);
    let clock: Clock =
        Arc::new(move || Timestamp::from_unix_ms(now.fetch_add(1000, Ordering::Relaxed)));
    let options = Options { segment_bytes: 1500, zero_ahead_bytes: 0, ..Options::default() };
    EventLog::open(dir, options, Arc::new(FileSystem), clock).map(|(log, _)| log)
}

/// 43 events: offsets 1 to 43, of which 5 is erased and 41 was sent twice.
async fn write_log(dir: &Path) -> Result<(), Box<dyn Error>> {
    let log = open(dir)?;
    for n in 1..=40 {
        log.append(vec![event(n)]).await?;
    }
    // A batch large enough to be compressed, with a repetition in it.
    let long = |n: u64| NewEvent {
        json: format!(
            r#"{{"type":"page","name":"{}","messageId":"{n}","userId":"u"}}"#,
            "long ".repeat(60)
        )
        .into(),
        ..event(n)
    };
    log.append(vec![long(41), long(41), long(42)]).await?;
    log.erase(&["5".parse()?]).await?;
    log.append(vec![event(43)]).await?;
    Ok(())
}

fn event(n: u64) -> NewEvent<'static> {
    let at = BEGIN_MS + i64::try_from(n).unwrap_or(0) * 500;
    let dropped = if n == 20 { vec![DroppedRange { first: 16, last: 19 }] } else { Vec::new() };
    let numbered = n.is_multiple_of(2) && !(16..20).contains(&n);
    NewEvent {
        message_id: n.to_string().into(),
        source: if n.is_multiple_of(9) { "shop.backend".parse() } else { "web".parse() }
            .unwrap_or_else(|_| unreachable!()),
        trust: if n.is_multiple_of(9) { Trust::Server } else { Trust::Client },
        origin: match n % 10 {
            3 => Origin::Import,
            4 => Origin::Derived { by: "rule/trial".into(), depth: 2 },
            _ => Origin::Sent,
        },
        order_key: format!("device-{}", n % 4).into(),
        sequence: numbered.then(|| Sequence { queue: "q".into(), seq: n }),
        dropped,
        event_time: n.is_multiple_of(3).then(|| Timestamp::from_unix_ms(at)),
        claimed_time: n.is_multiple_of(3).then(|| Timestamp::from_unix_ms(at - 7_200_000)),
        schema_version: u32::from(n == 11) * 3,
        flags: Flags { test: n == 12, no_actions: n == 13, ..Flags::default() },
        body_hash: body_hash([n.to_string().as_bytes()]),
        json: format!(
            r#"{{"type":"track","event":"Clicked","messageId":"{n}","anonymousId":"device-{}","properties":{{"n":{n},"text":"Ünïcode \" \\ 🛒"}}}}"#,
            n % 4
        )
        .into(),
    }
}
