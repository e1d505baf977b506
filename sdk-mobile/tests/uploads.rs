//! A host that makes the requests itself, and whose answers come late, or to a later process: as a background session of Apple's does.

#![allow(clippy::unwrap_used, reason = "what a test expects, it unwraps, in its functions too")]

mod collector;

use std::{
    io::Read as _,
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use collector::{Heard, PATIENCE, options};
use flate2::read::GzDecoder;
use headwater_mobile::{Core, EventOptions, Options, Upload, Uploads};

const SUCCESS: &str = r#"{"success":true}"#;
const DAY_MS: u64 = 86_400_000;

fn open(folder: &Path, upload_timeout_ms: Option<u64>) -> (Arc<Core>, Arc<Heard>) {
    let heard = Arc::new(Heard::default());
    let options = Options {
        uploads: Some(Uploads::Host),
        upload_timeout_ms,
        ..options(folder, "http://127.0.0.1:9")
    };
    (Core::new(options, heard.clone()).unwrap(), heard)
}

fn track(core: &Core) -> String {
    let recorded = core.track("E".into(), None, EventOptions::default()).unwrap();
    assert!(recorded.durable);
    recorded.message_id
}

/// The next upload, once there is one; virtual time passes meanwhile.
fn upload(core: &Core) -> Upload {
    let start = Instant::now();
    loop {
        if let Some(upload) = core.next_upload().unwrap() {
            return upload;
        }
        assert!(start.elapsed() < PATIENCE, "waited for an upload");
        core.pass(100);
        thread::sleep(Duration::from_millis(5));
    }
}

/// The ids of its events.
fn ids(upload: &Upload) -> Vec<String> {
    let mut text = String::new();
    GzDecoder::new(&upload.body[..]).read_to_string(&mut text).unwrap();
    let body: serde_json::Value = serde_json::from_str(&text).unwrap();
    let events = body["batch"].as_array().unwrap().iter();
    events.map(|event| event["messageId"].as_str().unwrap().to_owned()).collect()
}

/// Whether nothing is sent while so much time passes; the client's threads have a moment for each part of it.
fn is_silent_for(core: &Core, ms: u64) -> bool {
    (0..20).all(|_| {
        core.pass(u32::try_from(ms / 20).unwrap());
        thread::sleep(Duration::from_millis(10));
        core.next_upload().unwrap().is_none()
    })
}

#[test]
fn a_receipt_that_comes_late_counts() {
    let folder = tempfile::tempdir().unwrap();
    let (core, heard) = open(folder.path(), None);
    let first = track(&core);
    let late = upload(&core);
    assert_eq!(ids(&late), [first]);
    // The core has given it up, and would send it again.
    core.pass(36_000);
    thread::sleep(Duration::from_millis(20));
    core.complete_upload(late.id, 200, None, SUCCESS.into()).unwrap();
    assert_eq!(core.pending().unwrap(), 0);
    assert!(is_silent_for(&core, DAY_MS / 24));
    let second = track(&core);
    assert_eq!(ids(&upload(&core)), [second]);
    assert_eq!(heard.reports(), []);
}

#[test]
fn a_host_that_takes_days_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let (core, _) = open(folder.path(), Some(7 * DAY_MS));
    track(&core);
    let slow = upload(&core);
    assert_eq!(slow.timeout_ms, 7 * DAY_MS);
    assert!(is_silent_for(&core, 6 * DAY_MS));
    core.complete_upload(slow.id, 200, None, SUCCESS.into()).unwrap();
    assert_eq!(core.pending().unwrap(), 0);
}

#[test]
fn a_later_process_waits_for_the_answer_and_takes_it() {
    let folder = tempfile::tempdir().unwrap();
    let (before, _) = open(folder.path(), Some(7 * DAY_MS));
    track(&before);
    track(&before);
    let given = upload(&before);
    let sent = ids(&given).len() as u64;
    before.close();
    let (core, heard) = open(folder.path(), Some(7 * DAY_MS));
    let own = track(&core);
    let mut others = ids(&upload(&core));
    others.retain(|id| ids(&given).contains(id));
    assert!(others.is_empty(), "sent by both: {others:?}");
    assert!(is_silent_for(&core, DAY_MS));
    let pending = core.pending().unwrap();
    core.complete_upload(given.id, 200, None, SUCCESS.into()).unwrap();
    assert_eq!(core.pending().unwrap(), pending - sent);
    assert_eq!(heard.reports(), []);
    assert!(!own.is_empty());
}

#[test]
fn what_an_earlier_process_could_not_deliver_goes_again() {
    for answered in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let (before, _) = open(folder.path(), Some(DAY_MS));
        track(&before);
        let given = upload(&before);
        before.close();
        let (core, _) = open(folder.path(), Some(DAY_MS));
        assert!(is_silent_for(&core, DAY_MS / 2));
        if answered {
            core.complete_upload(given.id, 503, None, String::new()).unwrap();
        } else {
            core.pass(u32::try_from(DAY_MS).unwrap());
        }
        assert_eq!(ids(&upload(&core)), ids(&given));
    }
}
