//! What is on the device: how long, how much of it, and what a no leaves there.

#![allow(clippy::unwrap_used, reason = "what a test expects, it unwraps, in its functions too")]

mod collector;

use std::{
    collections::HashMap,
    fs,
    io::ErrorKind,
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use collector::{Heard, PATIENCE, options};
use headwater_mobile::{Answer, Category, Core, EventOptions, Options, Report};

/// Nobody listens there.
const NOWHERE: &str = "http://127.0.0.1:9";
const ALL: [Category; 4] =
    [Category::Analytics, Category::Marketing, Category::Functional, Category::Necessary];

fn open(folder: &Path) -> (Arc<Core>, Arc<Heard>) {
    let heard = Arc::new(Heard::default());
    (Core::new(options(folder, NOWHERE), heard.clone()).unwrap(), heard)
}

/// Lets virtual time pass until it is so.
fn until(core: &Core, what: &str, so: impl Fn() -> bool) {
    let start = Instant::now();
    while !so() {
        assert!(start.elapsed() < PATIENCE, "waited for {what}");
        core.pass(500);
        thread::sleep(Duration::from_millis(10));
    }
}

/// The files that hold this word, whatever else they are.
fn with(folder: &Path, word: &str) -> Vec<String> {
    let mut names = Vec::new();
    for file in fs::read_dir(folder.join("app")).unwrap() {
        let file = file.unwrap();
        let bytes = match fs::read(file.path()) {
            Ok(bytes) => bytes,
            // It was removed meanwhile, as it is to be.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => panic!("{error}"),
        };
        if bytes.windows(word.len()).any(|part| part == word.as_bytes()) {
            names.push(file.file_name().into_string().unwrap());
        }
    }
    names
}

fn say_no_to(categories: &[Category], damaged: bool) {
    let folder = tempfile::tempdir().unwrap();
    let (core, _) = open(folder.path());
    for n in 0..300 {
        let properties = format!(r#"{{"note":"plugh-{n}"}}"#);
        core.track("E".into(), Some(properties), EventOptions::default()).unwrap();
    }
    if damaged {
        fs::write(folder.path().join("app/headwater.db.damaged-1"), "also plugh").unwrap();
    }
    assert!(!with(folder.path(), "plugh").is_empty());
    let no =
        categories.iter().map(|category| (*category, Answer::Denied)).collect::<HashMap<_, _>>();
    core.set_consent(no).unwrap();
    until(&core, "the last trace", || with(folder.path(), "plugh").is_empty());
}

#[test]
fn a_no_leaves_no_trace_of_what_was_stored() {
    say_no_to(&ALL, true);
    say_no_to(&[Category::Analytics], true);
}

#[test]
fn a_no_of_a_backlog_leaves_no_trace_either() {
    let folder = tempfile::tempdir().unwrap();
    let (core, heard) = open(folder.path());
    for n in 0..6_000 {
        let properties = format!(r#"{{"note":"plugh-{n}"}}"#);
        core.track("E".into(), Some(properties), EventOptions::default()).unwrap();
    }
    core.set_consent(HashMap::from(ALL.map(|category| (category, Answer::Denied)))).unwrap();
    core.set_consent(HashMap::from(ALL.map(|category| (category, Answer::Granted)))).unwrap();
    let after = core.track("After".into(), None, EventOptions::default()).unwrap();
    assert!(after.durable);
    until(&core, "the last trace", || with(folder.path(), "plugh").is_empty());
    assert_eq!(core.pending().unwrap(), 1);
    assert_eq!(dropped(&heard), [""; 0], "what a no deletes is not told as lost");
}

/// The ids of the events in the file, by their rows.
fn stored(folder: &Path) -> Vec<String> {
    let file = rusqlite::Connection::open(folder.join("app/headwater.db")).unwrap();
    let mut select = file.prepare("SELECT text ->> 'messageId' FROM event ORDER BY id").unwrap();
    let ids = select.query_map([], |row| row.get(0)).unwrap();
    ids.map(Result::unwrap).collect()
}

fn dropped(heard: &Heard) -> Vec<String> {
    let reports = heard.reports().into_iter().filter_map(|report| match report {
        Report::Dropped { message_id, reason } if reason == "queue_full" => message_id,
        // Nobody listens, and it is said when that was found out.
        Report::NotSending { .. } => None,
        other => panic!("{other:?}"),
    });
    reports.collect()
}

/// The same once there are so many.
fn all_dropped(heard: &Heard, count: usize) -> Vec<String> {
    let is_one = |report: &&Report| matches!(report, Report::Dropped { .. });
    heard.until("the reports", |said| {
        (said.reports.iter().filter(is_one).count() == count).then_some(())
    });
    dropped(heard)
}

#[test]
fn beyond_the_bytes_the_oldest_of_the_least_important_go() {
    let folder = tempfile::tempdir().unwrap();
    let heard = Arc::new(Heard::default());
    let options = Options { max_bytes: 1 << 20, ..options(folder.path(), NOWHERE) };
    let core = Core::new(options, heard.clone()).unwrap();
    let traits = Some(format!(r#"{{"long":"{:>20000}"}}"#, ""));
    let identify = core.identify(Some("u-1".into()), traits, EventOptions::default()).unwrap();
    let called: Vec<String> = (0..300)
        .map(|_| {
            let properties = Some(format!(r#"{{"long":"{:>20000}"}}"#, ""));
            let recorded = core.track("E".into(), properties, EventOptions::default()).unwrap();
            assert!(recorded.durable);
            recorded.message_id
        })
        .collect();
    let left = stored(folder.path());
    assert!((30..60).contains(&left.len()), "{} of 20,000 bytes each", left.len());
    assert_eq!(core.pending().unwrap(), left.len() as u64);
    let gone = all_dropped(&heard, 301 - left.len());
    assert!(left.contains(&identify.message_id));
    // What the core has already may stay, whatever comes; of the rest the oldest go, in their order.
    let kept_by_core = called.iter().position(|id| *id == gone[0]).unwrap();
    assert!(kept_by_core < 30, "{kept_by_core}");
    assert_eq!(gone, called[kept_by_core..kept_by_core + gone.len()]);
}

#[test]
fn what_waits_for_an_answer_has_no_more_room_than_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let heard = Arc::new(Heard::default());
    let options = Options {
        max_events: 100,
        consent: HashMap::from([(Category::Analytics, Answer::Pending)]),
        ..options(folder.path(), NOWHERE)
    };
    let core = Core::new(options, heard.clone()).unwrap();
    let track = || core.track("E".into(), None, EventOptions::default()).unwrap().message_id;
    let called: Vec<String> = (0..300).map(|_| track()).collect();
    assert_eq!(all_dropped(&heard, 200), called[..200]);
    assert_eq!(stored(folder.path()), called[200..]);
}

/// Of several, since a busy machine may make any one of them longer.
fn shortest(mut call: impl FnMut() -> Duration) -> Duration {
    (0..4).map(|_| call()).min().unwrap()
}

#[test]
fn no_call_waits_twice_for_a_file_that_is_held() {
    let folder = tempfile::tempdir().unwrap();
    let (core, _) = open(folder.path());
    let ok = || core.track("E".into(), None, EventOptions::default()).unwrap();
    let held = |call: &dyn Fn()| {
        until(&core, "the file", || ok().durable);
        let file = rusqlite::Connection::open(folder.path().join("app/headwater.db")).unwrap();
        file.execute_batch("PRAGMA busy_timeout = 60000; BEGIN IMMEDIATE").unwrap();
        let start = Instant::now();
        call();
        start.elapsed()
    };
    let answer = |said| core.set_consent(HashMap::from([(Category::Marketing, said)])).unwrap();
    let track = shortest(|| held(&|| drop(ok())));
    let identify = shortest(|| {
        held(&|| {
            core.identify(Some("u-1".into()), None, EventOptions::default()).unwrap();
            core.reset().unwrap();
        })
    });
    let consent =
        shortest(|| held(&|| answer(Answer::Denied)).min(held(&|| answer(Answer::Granted))));
    for took in [track, identify, consent] {
        assert!(took < Duration::from_millis(90), "{track:?}, {identify:?}, {consent:?}");
    }
}

#[test]
fn a_folder_counts_what_it_has_without_looking_at_each() {
    let folder = tempfile::tempdir().unwrap();
    let (core, _) = open(folder.path());
    for _ in 0..700 {
        core.track("E".into(), None, EventOptions::default()).unwrap();
    }
    let (other, _) = open(folder.path());
    assert_eq!(other.pending().unwrap(), 700);
    let marketing = EventOptions { category: Some(Category::Marketing), ..EventOptions::default() };
    other.track("E".into(), None, marketing.clone()).unwrap();
    core.track("E".into(), None, marketing).unwrap();
    core.set_consent(HashMap::from([(Category::Analytics, Answer::Denied)])).unwrap();
    until(&core, "the deletion", || stored(folder.path()).len() == 2);
    assert_eq!(core.pending().unwrap(), 2);
    let (third, _) = open(folder.path());
    assert_eq!(third.pending().unwrap(), 2);
    let base: Vec<u8> = rusqlite::Connection::open(folder.path().join("app/headwater.db"))
        .unwrap()
        .query_row("SELECT value FROM state WHERE name = 'count'", [], |row| row.get(0))
        .unwrap();
    assert!(base[8] != 0 || base[9] != 0, "rows up to one that is not the first are counted");
}

#[test]
fn what_was_committed_is_moved_from_the_log_into_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let (core, _) = open(folder.path());
    let bytes = || fs::metadata(folder.path().join("app/headwater.db")).unwrap().len();
    let properties = format!(r#"{{"long":"{:>1000}"}}"#, "");
    for _ in 0..2_000 {
        core.track("E".into(), Some(properties.clone()), EventOptions::default()).unwrap();
    }
    until(&core, "the checkpoint", || bytes() > 1_500_000);
}

#[test]
fn of_files_that_were_set_aside_the_last_one_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("app")).unwrap();
    for _ in 0..3 {
        for part in ["", "-wal", "-shm"] {
            drop(fs::remove_file(folder.path().join(format!("app/headwater.db{part}"))));
        }
        fs::write(folder.path().join("app/headwater.db"), [0xA5; 8_192]).unwrap();
        let (_core, heard) = open(folder.path());
        heard.until("a report", |said| (!said.reports.is_empty()).then_some(()));
    }
    let names = fs::read_dir(folder.path().join("app")).unwrap();
    let names: Vec<_> =
        names.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    let aside = names.iter().filter(|name| name.contains(".damaged-") && !name.contains("-wal"));
    assert_eq!(aside.filter(|name| !name.contains("-shm")).count(), 1, "{names:?}");
}
