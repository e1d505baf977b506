//! One event's whole way, on the real collector: committed, sent, in the log. And what a program sees that only uses the public surface.

mod collector;

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use collector::{Collector, Heard, options};
use headwater_mobile::{Answer, Category, Core, Error, EventOptions, Options, Report, Uploads};

#[test]
fn an_event_reaches_the_log_with_its_number_and_identity() {
    let folder = tempfile::tempdir().unwrap();
    let collector = Collector::start(folder.path());
    let heard = Arc::new(Heard::default());
    let core = Core::new(options(folder.path(), &collector.endpoint()), heard.clone()).unwrap();
    core.set_context(r#"{"app":{"name":"Shop","version":"1.2"}}"#.into()).unwrap();
    let first = core
        .track("Cart Viewed".into(), Some(r#"{"items":2}"#.into()), EventOptions::default())
        .unwrap();
    assert!(first.durable);
    core.identify(Some("u-1".into()), Some(r#"{"plan":"pro"}"#.into()), EventOptions::default())
        .unwrap();
    let own = EventOptions {
        context: Some(r#"{"app":{"name":"Other"},"sessionId":7}"#.into()),
        ..EventOptions::default()
    };
    core.screen(Some("Checkout".into()), None, None, own).unwrap();
    core.flush(1, 20_000).unwrap();
    assert_eq!(heard.flushed(1), 0);

    let events = collector.events(3);
    assert_eq!(events[0]["messageId"], first.message_id);
    assert_eq!(events[0]["properties"]["items"], 2);
    assert_eq!(events[0]["context"]["app"]["version"], "1.2");
    assert_eq!(events[0]["context"]["headwater"]["seq"], 1);
    assert!(events[0].get("userId").is_none());
    assert_eq!(events[1]["type"], "identify");
    assert_eq!((&events[1]["userId"], &events[2]["userId"]), (&"u-1".into(), &"u-1".into()));
    assert_eq!(events[2]["context"]["app"]["name"], "Other");
    assert_eq!(events[2]["context"]["sessionId"], events[0]["context"]["sessionId"]);
    assert_eq!(events[2]["context"]["headwater"]["seq"], 3);
    assert_eq!(core.pending().unwrap(), 0);
}

/// A host that makes the requests itself, and is slow to fetch them.
#[test]
fn a_no_reaches_what_was_not_fetched_yet() {
    let folder = tempfile::tempdir().unwrap();
    let heard = Arc::new(Heard::default());
    let options =
        Options { uploads: Some(Uploads::Host), ..options(folder.path(), "http://127.0.0.1:9") };
    let core = Core::new(options, heard.clone()).unwrap();
    let of = |category| EventOptions { category: Some(category), ..EventOptions::default() };
    let ready = |times| heard.until("an upload", |said| (said.ready >= times).then_some(()));
    core.track("Seen".into(), None, of(Category::Marketing)).unwrap();
    ready(1);
    core.set_consent(HashMap::from([(Category::Marketing, Answer::Denied)])).unwrap();
    assert_eq!(core.next_upload().unwrap(), None);
    assert_eq!(core.pending().unwrap(), 0);

    core.pass(5_000);
    core.track("Kept".into(), None, of(Category::Analytics)).unwrap();
    ready(2);
    let upload = core.next_upload().unwrap().expect("the other category goes");
    assert_eq!(upload.headers["content-encoding"], "gzip");
    // An answer to a request that this process has not made counts for nothing.
    core.complete_upload(upload.id ^ 1, 200, None, r#"{"success":true}"#.into()).unwrap();
    assert_eq!(core.pending().unwrap(), 1);
    core.complete_upload(upload.id, 200, None, r#"{"success":true}"#.into()).unwrap();
    assert_eq!(core.pending().unwrap(), 0);
}

/// What threw, or was asleep, is asked again once the core has given the request up.
#[test]
fn a_host_that_missed_an_upload_hears_of_the_next_one() {
    let folder = tempfile::tempdir().unwrap();
    let heard = Arc::new(Heard::default());
    let options =
        Options { uploads: Some(Uploads::Host), ..options(folder.path(), "http://127.0.0.1:9") };
    let core = Core::new(options, heard.clone()).unwrap();
    core.track("Seen".into(), None, EventOptions::default()).unwrap();
    heard.until("an upload", |said| (said.ready == 1).then_some(()));
    // The request's time is over, and then the wait after it.
    let mut time = Instant::now();
    heard.until("another upload", |said| {
        if time.elapsed() > Duration::from_millis(50) {
            core.pass(36_000);
            time = Instant::now();
        }
        (said.ready == 2).then_some(())
    });
}

#[test]
fn a_device_whose_clock_stands_before_all_time_has_ids_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let core = Core::new(options(folder.path(), "http://127.0.0.1:9"), Arc::new(Heard::default()))
        .unwrap();
    core.set_clock_by(-(100 * 365 * 86_400_000));
    let recorded = core.track("Seen".into(), None, EventOptions::default()).unwrap();
    assert!(recorded.durable);
    assert!(recorded.message_id.starts_with("00000000-0000-7"), "{}", recorded.message_id);
}

#[test]
fn a_closed_client_refuses_and_lets_another_one_lead() {
    let folder = tempfile::tempdir().unwrap();
    let collector = Collector::start(folder.path());
    let first = Core::new(options(folder.path(), "http://127.0.0.1:9"), Arc::new(Heard::default()))
        .unwrap();
    assert!(first.track("One".into(), None, EventOptions::default()).unwrap().durable);
    first.close();
    assert_eq!(first.track("Two".into(), None, EventOptions::default()), Err(Error::Closed));
    assert_eq!(first.flush(1, 1), Err(Error::Closed));
    let heard = Arc::new(Heard::default());
    let second = Core::new(options(folder.path(), &collector.endpoint()), heard.clone()).unwrap();
    second.flush(1, 20_000).unwrap();
    assert_eq!(heard.flushed(1), 0);
    assert_eq!(collector.events(1)[0]["event"], "One");
}

#[test]
fn what_makes_no_sense_is_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let open = |change: &dyn Fn(&mut Options)| {
        let mut options = options(folder.path(), "http://127.0.0.1:9");
        change(&mut options);
        Core::new(options, Arc::new(Heard::default())).map(drop)
    };
    let refused = |said: Result<(), Error>, word: &str| match said {
        Err(Error::InvalidOptions { detail }) => assert!(detail.contains(word), "{detail}"),
        other => panic!("{other:?}"),
    };
    refused(open(&|options| options.write_key = " ".into()), "write_key");
    refused(open(&|options| options.endpoint = "events.example.com".into()), "https://");
    refused(open(&|options| options.folder = String::new()), "folder");
    let core = Core::new(options(folder.path(), "http://127.0.0.1:9"), Arc::new(Heard::default()))
        .unwrap();
    for bad in ["", "[1]", "{\"a\":}", "{", "null", &"{\"a\":".repeat(100)] {
        let said = core.track("E".into(), Some(bad.into()), EventOptions::default());
        assert!(matches!(said, Err(Error::InvalidJson { .. })), "{bad}: {said:?}");
    }
    assert_eq!(core.pending().unwrap(), 0);
}

#[test]
fn why_nothing_goes_out_is_told_once_for_each_run_of_failures() {
    let folder = tempfile::tempdir().unwrap();
    let collector = Collector::start(folder.path());
    let port = collector.port();
    collector.kill();
    let heard = Arc::new(Heard::default());
    let endpoint = format!("http://127.0.0.1:{port}");
    let core = Core::new(options(folder.path(), &endpoint), heard.clone()).unwrap();
    let not_sending = || {
        let told = heard.reports().into_iter().filter_map(|report| match report {
            Report::NotSending { detail } => Some(detail),
            _ => None,
        });
        told.collect::<Vec<_>>()
    };
    let flush = |token| {
        core.flush(token, 20_000).unwrap();
        heard.flushed(token)
    };
    core.track("E".into(), None, EventOptions::default()).unwrap();
    assert_eq!((flush(1), flush(2)), (1, 1));
    let told = not_sending();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with(&format!("{endpoint} cannot be reached: ")), "{told:?}");
    assert!(told[0].to_lowercase().contains("refused"), "{told:?}");

    let collector = Collector::start_at(folder.path(), port);
    assert_eq!(flush(3), 0);
    collector.kill();
    core.track("E".into(), None, EventOptions::default()).unwrap();
    assert_eq!(flush(4), 1);
    assert_eq!(not_sending().len(), 2);
}

#[test]
fn a_host_says_why_nobody_answered_or_that_it_gave_up_on_purpose() {
    let folder = tempfile::tempdir().unwrap();
    let heard = Arc::new(Heard::default());
    let options =
        Options { uploads: Some(Uploads::Host), ..options(folder.path(), "http://127.0.0.1:9") };
    let core = Core::new(options, heard.clone()).unwrap();
    core.track("E".into(), None, EventOptions::default()).unwrap();
    for (token, cause) in [(1, ""), (2, "no such host"), (3, "no such host")] {
        core.flush(token, 20_000).unwrap();
        let upload = heard.until("an upload", |_| core.next_upload().unwrap());
        core.complete_upload(upload.id, 0, None, cause.into()).unwrap();
        heard.flushed(token);
    }
    let detail = "http://127.0.0.1:9 cannot be reached: no such host. Events are kept, and it is tried again";
    assert_eq!(heard.reports(), [Report::NotSending { detail: detail.into() }]);
}

#[test]
fn a_folder_that_cannot_be_used_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("app");
    std::fs::write(&file, "no folder").unwrap();
    let heard = Arc::new(Heard::default());
    let core = Core::new(options(folder.path(), "http://127.0.0.1:9"), heard.clone()).unwrap();
    assert!(!core.track("E".into(), None, EventOptions::default()).unwrap().durable);
    let detail = heard.until("a report", |said| {
        said.reports.iter().find_map(|report| match report {
            Report::NotDurable { detail } => Some(detail.clone()),
            _ => None,
        })
    });
    assert!(detail.contains(&format!("The folder is {}: ", file.display())), "{detail}");
}

/// Rust's own programs ignore the signal; those of others die of it. The mask is what counts for both.
#[cfg(target_os = "linux")]
#[test]
fn a_server_that_hangs_up_ends_no_process() {
    use std::fs::{read_dir, read_to_string};

    const SIGPIPE: u64 = 1 << (13 - 1);
    let folder = tempfile::tempdir().unwrap();
    let heard = Arc::new(Heard::default());
    let core = Core::new(options(folder.path(), "http://127.0.0.1:9"), heard.clone()).unwrap();
    core.track("E".into(), None, EventOptions::default()).unwrap();
    core.flush(1, 20_000).unwrap();
    heard.flushed(1);
    // Names are cut to fifteen letters. The second one is reqwest's, which writes to the sockets.
    for name in ["headwater-uploa", "reqwest-interna"] {
        heard.until("a thread with the mask", |_| {
            let threads =
                read_dir("/proc/self/task").unwrap().flatten().map(|thread| thread.path());
            let masks = threads.filter_map(|thread| {
                let status = read_to_string(thread.join("status")).ok()?;
                let field = |name: &str| {
                    status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
                };
                (field("Name:")? == name)
                    .then(|| u64::from_str_radix(field("SigBlk:")?, 16).ok())?
            });
            let masks: Vec<_> = masks.collect();
            (!masks.is_empty() && masks.iter().all(|mask| mask & SIGPIPE != 0)).then_some(())
        });
    }
    core.close();
}
