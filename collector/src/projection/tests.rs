//! The thread as a whole, over a real log: what is found after a crash, and what a log without its beginning may not be used for.

use rusqlite::Connection;

use super::*;
use crate::event_log::{FileSystem, NewEvent, Options, Retention, system_clock};

fn log(folder: &Path, options: Options) -> Arc<EventLog> {
    let disk = Arc::new(FileSystem);
    let opened = EventLog::open(&folder.join("log"), options, disk, system_clock());
    Arc::new(opened.unwrap().0)
}

fn open(folder: &Path, log: &Arc<EventLog>, email: u32) -> Result<Projection, DatabaseError> {
    let limits = people::Limits { email, ..people::Limits::default() };
    Projection::open(folder, log, limits, Arc::new(|| Arc::new(|_, _| false)), Rules::none())
}

/// Who is found by how a trait begins.
fn found(of: &Projection, text: &str) -> usize {
    let search = |db: &Connection| people::search(db, text, 10);
    of.handle().readers.read(search).unwrap().len()
}

async fn identified(log: &EventLog, users: std::ops::Range<u64>) -> Offset {
    for n in users {
        let json = format!(
            r#"{{"type":"identify","messageId":"{n}","userId":"u-{n}","traits":{{"name":"Shopper {n}"}}}}"#
        );
        let event = NewEvent::new("web".parse().unwrap(), n.to_string(), "d", json);
        log.append([event]).await.unwrap();
    }
    *log.end().borrow()
}

#[tokio::test]
async fn who_is_folded_is_found_after_a_crash_too() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let log = log(folder, Options::default());
    let end = identified(&log, 0..3).await;
    let all = open(folder, &log, 5).unwrap();
    all.handle().wait_for(end).await;
    assert_eq!(found(&all, "shopper"), 3);
    drop(all);

    // As a crash leaves it that comes before the log's end: one was found already, the others' texts wait.
    let crashed = || {
        let db = Connection::open(folder.join(FILE)).unwrap();
        db.execute_batch(
            "DELETE FROM trait_text WHERE identifier > 16; UPDATE gathered SET below = 17;",
        )
        .unwrap();
    };
    crashed();
    let all = open(folder, &log, 5).unwrap();
    // Nothing else is new.
    let begun = Instant::now();
    while found(&all, "shopper") < 3 {
        assert!(begun.elapsed() < Duration::from_secs(60), "they are not found");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(all);

    crashed();
    let end = identified(&log, 3..5).await;
    let all = open(folder, &log, 5).unwrap();
    all.handle().wait_for(end).await;
    assert_eq!(found(&all, "shopper"), 5);
    drop(all);
}

#[tokio::test]
async fn nobody_is_forgotten_because_the_log_has_lost_its_beginning() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let log = log(folder, Options { segment_bytes: 64 << 10, ..Options::default() });
    // What does not compress.
    for n in 0..200_u64 {
        let noise: String = (n * 100..n * 100 + 100)
            .map(|n| format!("{:016x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
            .collect();
        let json = format!(
            r#"{{"type":"track","event":"Seen","messageId":"{n}","userId":"u-{n}","properties":{{"n":"{noise}"}}}}"#
        );
        let event = NewEvent::new("web".parse().unwrap(), n.to_string(), "d", json);
        log.append([event]).await.unwrap();
    }
    let end = *log.end().borrow();
    let all = open(folder, &log, 5).unwrap();
    all.handle().wait_for(end).await;
    drop(all);

    let retention = Retention { max_age: None, max_bytes: Some(1) };
    log.upkeep(retention, end).await.unwrap();
    assert!(lost_its_beginning(&log));
    // As they are they go on; made anew they would be fewer.
    let gone = |opened: Result<Projection, _>| {
        matches!(opened.map(drop), Err(DatabaseError::BeginningGone(_)))
    };
    assert!(gone(open(folder, &log, 6)));
    let all = open(folder, &log, 5).unwrap();
    let rebuilt = all.handle().rebuild().await;
    assert!(matches!(rebuilt, Err(DatabaseError::BeginningGone(_))), "{rebuilt:?}");
    let first = |db: &Connection| people::person_of(db, "u-0");
    assert!(all.handle().readers.read(first).unwrap().is_some());
    drop(all);
    // Whoever moves the file away has decided.
    Database::remove(&folder.join(FILE)).unwrap();
    let fewer = open(folder, &log, 6).unwrap();
    fewer.handle().wait_for(end).await;
    assert!(fewer.handle().readers.read(first).unwrap().is_none());
}

#[tokio::test]
async fn what_rules_looked_at_is_told_before_it_is_committed_and_a_decision_ends_a_transaction() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let log = log(folder, Options::default());
    // Each a chunk of its own.
    for (n, name) in ["Seen", "Card Used", "Seen"].into_iter().enumerate() {
        let json = format!(
            r#"{{"type":"track","event":"{name}","messageId":"{n}","userId":"u","properties":{{}}}}"#
        );
        let event = NewEvent::new("web".parse().unwrap(), n.to_string(), "d", json);
        log.append([event]).await.unwrap();
    }
    let end = *log.end().borrow();
    let rules = "[rules.freeze]\non = \"Card Used\"\ndecision = \"freeze\"\n";
    let written = folder.join("rules");
    std::fs::create_dir(&written).unwrap();
    std::fs::write(written.join("rules.toml"), rules).unwrap();
    let set = Arc::new(rules::RuleSet::read(&written).unwrap());
    let rules = Rules { set, ..Rules::none() };
    let limits = people::Limits::default();
    let made_by = ("as in the test", rules.set.hash());
    let database = Database::open(&folder.join(FILE), made_by, &log).unwrap().unwrap();
    let mut place = Place::new(&log, database, limits, Arc::new(|_, _| false), &rules);
    let (looking, looked) = looked::channel(Offset::START);
    let long = Duration::from_secs(60);

    place.database.connection.commit_hook(Some(|| true)).unwrap();
    assert!(place.step(long, Some(&looking)).is_err(), "the commit is refused");
    let decides = Offset::from_number(2);
    let told = tokio::time::timeout(Duration::from_secs(10), looked.wait_for(decides));
    assert!(told.await.expect("rules have looked at it"));
    assert_eq!(place.database.applied, Offset::START);

    place.database.connection.commit_hook(None::<fn() -> bool>).unwrap();
    assert!(place.step(long, Some(&looking)).unwrap());
    assert_eq!(place.database.applied, decides, "what follows a decision does not hold it up");
    assert!(place.step(long, Some(&looking)).unwrap());
    assert_eq!(place.database.applied, end);
}

#[tokio::test]
async fn who_reads_what_is_erased_holds_up_the_erasure_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let log = log(folder, Options::default());
    let end = identified(&log, 0..3).await;
    let all = open(folder, &log, 5).unwrap();
    let handle = all.handle();
    handle.wait_for(end).await;

    let reader = Connection::open(folder.join(FILE)).unwrap();
    let reading = reader.unchecked_transaction().unwrap();
    reading.query_row("SELECT count(*) FROM identifier", [], |_| Ok(())).unwrap();
    let erasing = {
        let handle = handle.clone();
        tokio::spawn(async move { handle.forget(vec![1]).await })
    };
    let begun = Instant::now();
    while begun.elapsed() < READERS / 2 {
        let end = identified(&log, 3..4).await;
        let folded = tokio::time::timeout(READERS / 4, handle.wait_for(end));
        folded.await.expect("it goes on");
        assert!(!erasing.is_finished());
        tokio::time::sleep(READ_AGAIN).await;
    }
    drop(reading);
    erasing.await.unwrap().unwrap();
}

#[tokio::test]
async fn who_waits_for_rules_of_a_thread_that_is_gone_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let log = log(folder, Options::default());
    let end = identified(&log, 0..3).await;
    let all = open(folder, &log, 5).unwrap();
    let handle = all.handle();
    assert!(handle.wait_for_a_look(end).await && handle.wait_for_rules(end).await);
    assert!(handle.is_running());
    drop(all);
    let end = identified(&log, 3..4).await;
    assert!(!handle.wait_for_a_look(end).await && !handle.wait_for_rules(end).await);
    assert!(!handle.is_running());
}
