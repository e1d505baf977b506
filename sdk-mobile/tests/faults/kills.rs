//! SIGKILL at random moments, while a caller calls and the library sends: nothing that `track()` returned for may be missing, none may be
//! stored twice. `HEADWATER_KILL_ROUNDS` says how often, default 20; a failure names the seed (`HEADWATER_SEED`).

use std::{
    collections::{HashMap, HashSet},
    thread,
    time::{Duration, SystemTime},
};

use serde_json::json;

use crate::{
    caller::{Caller, languages},
    collector::Collector,
    run::no_gaps,
    server::{Mood, Server},
};

#[test]
fn nothing_that_was_called_for_is_lost_by_kills() {
    let rounds =
        std::env::var("HEADWATER_KILL_ROUNDS").map_or(20, |rounds| rounds.parse().unwrap());
    let seed = std::env::var("HEADWATER_SEED").map_or_else(
        |_| SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos(),
        |seed| seed.parse().unwrap(),
    );
    for language in languages() {
        kill(&language, rounds, u64::try_from(seed & u128::from(u64::MAX)).unwrap());
    }
}

fn kill(language: &str, rounds: u32, seed: u64) {
    let about = format!("{language}, HEADWATER_SEED={seed}");
    let folder = tempfile::tempdir().unwrap();
    let collector = Collector::start(folder.path());
    let server = Server::start(collector.endpoint());
    let mut dice = seed;
    let mut roll = |below: u64| {
        // xorshift64*: even enough for moments.
        dice ^= dice >> 12;
        dice ^= dice << 25;
        dice ^= dice >> 27;
        dice.wrapping_mul(0x2545_F491_4F6C_DD1D) % below
    };
    let open = json!({
        "do": "open", "writeKey": "wk_test", "endpoint": server.endpoint(),
        "folder": folder.path().join("app").display().to_string(), "gatherMs": 5,
    });
    let mut returned: HashSet<String> = HashSet::new();
    for round in 0..rounds {
        server.set(if roll(3) == 0 { Mood::Deaf } else { Mood::Up });
        let mut caller = Caller::start(language);
        caller.tell(&open);
        assert_eq!(caller.hear(), json!({"ok": true}), "{about}");
        let count = 1 + roll(400);
        caller.tell(
            &json!({"do": "track", "event": "E", "properties": {"round": round}, "count": count}),
        );
        // Mostly in the midst of the calls, which begin late where a virtual machine has to warm up.
        let mut said = Vec::new();
        if roll(4) > 0 {
            said.push(caller.hear());
        }
        thread::sleep(Duration::from_micros(roll(60_000)));
        caller.kill();
        said.extend(caller.heard());
        for said in said {
            let id = said["messageId"].as_str().unwrap_or_else(|| panic!("{about}: {said}"));
            assert_eq!(said["durable"], true, "{about}: {said}");
            returned.insert(id.to_owned());
        }
    }
    server.set(Mood::Up);
    let mut caller = Caller::start(language);
    caller.tell(&open);
    caller.hear();
    caller.tell(&json!({"do": "flush", "timeoutMs": 60_000}));
    assert_eq!(caller.hear(), json!({"flushed": 0}), "{about}");
    caller.end();
    let log = collector.log();
    let mut times: HashMap<&str, u32> = HashMap::new();
    for event in &log {
        *times.entry(event["messageId"].as_str().unwrap()).or_default() += 1;
    }
    let lost: Vec<_> = returned.iter().filter(|id| !times.contains_key(id.as_str())).collect();
    assert!(lost.is_empty(), "{about}: {} of {} are lost: {lost:?}", lost.len(), returned.len());
    assert!(times.values().all(|times| *times == 1), "{about}: some are stored twice");
    assert!(
        returned.len() > rounds as usize,
        "{about}: {} calls returned in {rounds} rounds",
        returned.len()
    );
    no_gaps(&log, &about);
    eprintln!(
        "{about}: {rounds} kills, {} calls returned, {} events in the log",
        returned.len(),
        log.len()
    );
}
