//! What rules say to whoever uses the app: when the collector is asked, what of its answers is told, and what is said of it. A host that makes
//! the requests itself stands in for the collector, so that time is a value; the library's own HTTP is played against the real one.

#![allow(clippy::unwrap_used, reason = "what a test expects, it unwraps, in its functions too")]

mod collector;

use std::{
    collections::HashMap,
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    path::Path,
    sync::{Arc, mpsc::channel},
    thread,
    time::{Duration, Instant},
};

use collector::{Collector, Heard, PATIENCE, options};
use flate2::read::GzDecoder;
use headwater_mobile::{
    Act, Answer, Category, Core, EventOptions, Options, Report, Upload, Uploads,
};
use serde_json::{Value, json};

const NO_MESSAGES: &str = r#"{"messages":[]}"#;

fn open(folder: &Path) -> (Arc<Core>, Arc<Heard>) {
    let heard = Arc::new(Heard::default());
    let options = Options { uploads: Some(Uploads::Host), ..options(folder, "http://127.0.0.1:9") };
    (Core::new(options, heard.clone()).unwrap(), heard)
}

/// One that listens, in front.
fn listening(folder: &Path) -> (Arc<Core>, Arc<Heard>) {
    let (core, heard) = open(folder);
    core.listen(true).unwrap();
    core.foreground().unwrap();
    (core, heard)
}

/// The request that is there by now, or comes within so much time.
fn within(core: &Core, ms: u32) -> Option<Upload> {
    for _ in 0..=ms / 100 {
        if let Some(request) = core.next_listening().unwrap() {
            return Some(request);
        }
        core.pass(100);
    }
    None
}

fn request(core: &Core) -> Upload {
    within(core, 60_000).expect("a request for messages")
}

fn body(request: &Upload) -> Value {
    serde_json::from_slice(&request.body).unwrap()
}

fn answer(core: &Core, request: &Upload, body: &str) {
    core.complete_listening(request.id, 200, None, body.into()).unwrap();
}

fn messages(ids: &[&str]) -> String {
    let one = |id: &&str| {
        json!({"id": id, "rule": "r", "placement": "card", "title": "Hello", "body": null, "button": null, "url": "/a",
               "data": {"order": "o-1"}, "expiresAt": "2100-01-01T00:00:00.000Z"})
    };
    json!({ "messages": ids.iter().map(one).collect::<Vec<_>>() }).to_string()
}

/// The events that wait, oldest first.
fn stored(folder: &Path) -> Vec<Value> {
    let file = rusqlite::Connection::open(folder.join("app/headwater.db")).unwrap();
    let mut select = file.prepare("SELECT text FROM event ORDER BY id").unwrap();
    let texts = select.query_map([], |row| row.get::<_, String>(0)).unwrap();
    texts.map(|text| serde_json::from_str(&text.unwrap()).unwrap()).collect()
}

fn names(folder: &Path) -> Vec<String> {
    stored(folder).iter().map(|event| event["event"].as_str().unwrap().to_owned()).collect()
}

fn until(what: &str, so: impl Fn() -> bool) {
    let start = Instant::now();
    while !so() {
        assert!(start.elapsed() < PATIENCE, "waited for {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_message_is_told_once_and_never_again_once_it_was_shown() {
    let folder = tempfile::tempdir().unwrap();
    let (core, heard) = listening(folder.path());
    let first = request(&core);
    assert_eq!(first.url, "http://127.0.0.1:9/v1/messages");
    assert_eq!(first.headers["content-type"], "application/json");
    assert_eq!(first.headers["content-encoding"], "identity");
    let said = body(&first);
    assert_eq!(said["writeKey"], "wk_test");
    assert_eq!(said["anonymousId"], core.anonymous_id().unwrap());
    assert_eq!(said["waitMs"], 20_000);
    let token = said["token"].as_str().unwrap().to_owned();
    assert!(token.len() >= 22 && token.chars().all(|c| c.is_ascii_alphanumeric()), "{token}");
    assert_eq!(core.next_listening().unwrap(), None, "one at a time");
    let mut both: Value = serde_json::from_str(&messages(&["m-1", "old"])).unwrap();
    both["messages"][1]["expiresAt"] = "2020-01-01T00:00:00.000Z".into();
    answer(&core, &first, &both.to_string());
    let message = heard.until("a message", |said| said.messages.first().cloned());
    assert_eq!((&*message.id, &*message.rule, &*message.placement), ("m-1", "r", "card"));
    assert_eq!((message.title.as_deref(), message.body), (Some("Hello"), None));
    assert_eq!(message.url.as_deref(), Some("/a"));
    assert_eq!(message.data, HashMap::from([("order".into(), "o-1".into())]));
    assert_eq!(message.expires_at_ms, 4_102_444_800_000);

    // It comes at once each time until the collector hears that it was shown.
    assert_eq!(within(&core, 9_000), None);
    let second = request(&core);
    answer(&core, &second, &messages(&["m-1", "m-2"]));
    heard.until("the second", |said| (said.messages.len() == 2).then_some(()));
    for act in [Act::Clicked, Act::Clicked, Act::Shown, Act::Dismissed] {
        core.act("m-1".into(), act).unwrap();
    }
    core.act("nobody's".into(), Act::Shown).unwrap();
    assert_eq!(names(folder.path()), ["Message Shown", "Message Clicked", "Message Dismissed"]);
    let about = json!({"message_id": "m-1", "rule": "r", "placement": "card"});
    assert!(stored(folder.path()).iter().all(|event| event["properties"] == about));
    core.close();

    let (core, heard) = listening(folder.path());
    let third = request(&core);
    assert_eq!(body(&third)["token"], token, "kept");
    answer(&core, &third, &messages(&["m-1", "m-2"]));
    heard.until("what was not shown", |said| (!said.messages.is_empty()).then_some(()));
    assert_eq!(heard.messages(), ["m-2"]);
}

#[test]
fn nothing_is_asked_but_in_front_for_a_listener_and_for_who_has_agreed() {
    let folder = tempfile::tempdir().unwrap();
    let (core, heard) = open(folder.path());
    let functional = |answer| HashMap::from([(Category::Functional, answer)]);
    let silent = |what: &str| assert_eq!(within(&core, 120_000), None, "{what}");
    core.foreground().unwrap();
    silent("nobody listens");
    core.listen(true).unwrap();
    core.background().unwrap();
    silent("in the background");
    core.set_consent(functional(Answer::Pending)).unwrap();
    core.foreground().unwrap();
    silent("not asked yet");
    core.set_consent(functional(Answer::Denied)).unwrap();
    silent("no");
    core.set_consent(functional(Answer::Granted)).unwrap();
    let asked = request(&core);
    // What comes after a no, or in the background, is told to nobody; it comes again.
    core.set_consent(functional(Answer::Denied)).unwrap();
    answer(&core, &asked, &messages(&["m-1"]));
    core.set_consent(functional(Answer::Granted)).unwrap();
    let asked = request(&core);
    core.background().unwrap();
    answer(&core, &asked, &messages(&["m-1"]));
    core.foreground().unwrap();
    let asked = request(&core);
    assert_eq!(heard.messages(), [""; 0]);
    answer(&core, &asked, &messages(&["m-1"]));
    heard.until("the message", |said| (said.messages.len() == 1).then_some(()));
    // Of what was told before a no nothing is said after it.
    core.set_consent(functional(Answer::Denied)).unwrap();
    core.act("m-1".into(), Act::Shown).unwrap();
    assert_eq!(core.pending().unwrap(), 0);
    core.listen(false).unwrap();
    core.set_consent(functional(Answer::Granted)).unwrap();
    silent("nobody listens any more");
}

#[test]
fn somebody_else_hears_nothing_of_what_was_for_the_one_before() {
    let folder = tempfile::tempdir().unwrap();
    let (core, heard) = listening(folder.path());
    let first = request(&core);
    answer(&core, &first, &messages(&["told"]));
    heard.until("the message", |said| (said.messages.len() == 1).then_some(()));
    let second = request(&core);
    core.reset().unwrap();
    answer(&core, &second, &messages(&["late"]));
    core.act("told".into(), Act::Clicked).unwrap();
    assert_eq!(core.pending().unwrap(), 0, "said in the name of somebody else");
    let third = within(&core, 2_000).expect("asked at once for the new one");
    let (before, after) = (body(&first), body(&third));
    assert!(before["token"] != after["token"] && before["anonymousId"] != after["anonymousId"]);
    // The old one's secret is not on the device any more.
    let device = rusqlite::Connection::open(folder.path().join("app/headwater.db")).unwrap();
    let tokens: i64 =
        device.query_row("SELECT count(*) FROM device", [], |row| row.get(0)).unwrap();
    assert_eq!(tokens, 1);
    // An answer that was for another user of the same device is dropped as well.
    core.identify(Some("u-2".into()), None, EventOptions::default()).unwrap();
    answer(&core, &third, &messages(&["before the sign-in"]));
    let fourth = within(&core, 2_000).expect("asked at once for who signed in");
    assert_eq!(body(&fourth)["token"], after["token"]);
    answer(&core, &fourth, &messages(&["hers"]));
    heard.until("her message", |said| (said.messages.len() == 2).then_some(()));
    assert_eq!(heard.messages(), ["told", "hers"]);
    core.set_anonymous_id("from-a-page".into()).unwrap();
    assert!(body(&request(&core))["token"] != after["token"]);
}

#[test]
fn who_says_no_to_everything_has_no_device_either() {
    let folder = tempfile::tempdir().unwrap();
    let (core, heard) = listening(folder.path());
    let asked = request(&core);
    answer(&core, &asked, &messages(&["m-1"]));
    heard.until("the message", |said| (said.messages.len() == 1).then_some(()));
    core.act("m-1".into(), Act::Shown).unwrap();
    let count = |table: &str| {
        let file = rusqlite::Connection::open(folder.path().join("app/headwater.db")).unwrap();
        file.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get::<_, i64>(0))
            .unwrap()
    };
    assert_eq!((count("device"), count("shown")), (1, 1));
    let all = [Category::Analytics, Category::Marketing, Category::Functional, Category::Necessary];
    core.set_consent(all.map(|category| (category, Answer::Denied)).into()).unwrap();
    assert_eq!((count("device"), count("shown")), (0, 0));
}

#[test]
fn failures_wait_longer_each_time_and_as_long_as_the_collector_asks() {
    let folder = tempfile::tempdir().unwrap();
    let (core, heard) = listening(folder.path());
    let waited = |most: u32| {
        let waited = (0..most / 100).find_map(|n| match core.next_listening().unwrap() {
            Some(request) => Some((n * 100, request)),
            None => {
                core.pass(100);
                None
            }
        });
        waited.unwrap_or_else(|| panic!("no request within {most} ms"))
    };
    let mut asked = request(&core);
    for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
        core.complete_listening(asked.id, 0, None, "no such host".into()).unwrap();
        let (ms, next) = waited(80_000);
        let (least, most) = (seconds * 750 - 200, seconds * 1_250 + 200);
        assert!((least..=most).contains(&ms), "{ms} ms after a failure, not {least} to {most}");
        asked = next;
    }
    // A network that is back is worth a try, a collector that wants to be left alone is not.
    core.complete_listening(asked.id, 0, None, String::new()).unwrap();
    core.online().unwrap();
    let asked = core.next_listening().unwrap().expect("tried at once");
    core.complete_listening(asked.id, 503, Some("120".into()), String::new()).unwrap();
    core.online().unwrap();
    let (ms, asked) = waited(200_000);
    assert!((119_800..=150_200).contains(&ms), "{ms} ms");
    // A hotel's page is no answer.
    core.complete_listening(asked.id, 200, None, "<html>Welcome</html>".into()).unwrap();
    assert_eq!(core.next_listening().unwrap(), None);
    let asked = request(&core);
    // One that is never answered is given up.
    assert_eq!(within(&core, 34_000), None);
    let next = request(&core);
    answer(&core, &asked, &messages(&["too late"]));
    assert_eq!(heard.messages(), [""; 0]);

    let other = r#"{"error":{"code":"other_token","message":"another token came first"}}"#;
    core.complete_listening(next.id, 403, None, other.into()).unwrap();
    assert_eq!(within(&core, 600_000), None);
    let detail = "the collector tells this device no messages (403): another token came first";
    heard.until("why", |said| (!said.reports.is_empty()).then_some(()));
    assert_eq!(heard.reports(), [Report::NoMessages { detail: detail.into() }]);
    core.background().unwrap();
    core.foreground().unwrap();
    assert!(core.next_listening().unwrap().is_some());
}

#[test]
fn a_host_is_told_once_that_there_is_a_request_each_time_that_there_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let (core, heard) = listening(folder.path());
    for round in 1..=3 {
        heard.until("the word", |said| (said.listens == round).then_some(()));
        let asked = core.next_listening().unwrap().expect("a request");
        core.pass(20_000);
        answer(&core, &asked, NO_MESSAGES);
    }
    core.background().unwrap();
    let asked = within(&core, 60_000);
    assert_eq!(asked, None);
}

#[test]
fn events_that_arrive_are_a_reason_to_ask_again() {
    let folder = tempfile::tempdir().unwrap();
    let (core, heard) = listening(folder.path());
    let asked = request(&core);
    answer(&core, &asked, &messages(&["m-1"]));
    heard.until("the message", |said| (said.messages.len() == 1).then_some(()));
    core.act("m-1".into(), Act::Shown).unwrap();
    let upload = heard.until("an upload", |_| {
        core.pass(100);
        core.next_upload().unwrap()
    });
    let mut text = String::new();
    GzDecoder::new(&upload.body[..]).read_to_string(&mut text).unwrap();
    assert!(text.contains(r#""event":"Message Shown""#), "{text}");
    assert_eq!(core.next_listening().unwrap(), None);
    core.complete_upload(upload.id, 200, None, r#"{"success":true}"#.into()).unwrap();
    assert!(within(&core, 1_100).is_some());
}

#[test]
fn the_last_hundred_that_were_shown_are_known_also_to_other_processes_and_in_another_file() {
    let folder = tempfile::tempdir().unwrap();
    let (core, heard) = listening(folder.path());
    let ids: Vec<String> = (0..105).map(|n| format!("m-{n}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let asked = request(&core);
    answer(&core, &asked, &messages(&ids));
    heard.until("all of them", |said| (said.messages.len() == 105).then_some(()));
    for id in &ids {
        core.act((*id).into(), Act::Shown).unwrap();
    }
    let token = body(&asked)["token"].clone();
    // Another process, while this one is there.
    let (other, heard) = listening(folder.path());
    let asked = request(&other);
    assert_eq!(body(&asked)["token"], token);
    answer(&other, &asked, &messages(&ids));
    heard.until("the oldest", |said| (said.messages.len() == 5).then_some(()));
    assert_eq!(heard.messages(), ids[..5]);
    drop((core, other));

    // A file that is deleted is written again.
    let (core, heard) = listening(folder.path());
    for part in ["", "-wal", "-shm"] {
        fs::remove_file(folder.path().join(format!("app/headwater.db{part}"))).unwrap();
    }
    core.track("E".into(), None, EventOptions::default()).unwrap();
    let asked = request(&core);
    assert_eq!(body(&asked)["token"], token);
    answer(&core, &asked, &messages(&ids[100..]));
    assert_eq!(core.next_listening().unwrap(), None);
    assert_eq!(heard.messages(), [""; 0]);
}

/// A file as this release wrote it: the device's secret and what was shown on it are kept.
#[test]
fn a_file_of_version_3_has_the_device_s_secret_and_what_was_shown() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("app")).unwrap();
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/formats/v3.db");
    fs::copy(kept, folder.path().join("app/headwater.db")).unwrap();
    let (core, heard) = listening(folder.path());
    let asked = request(&core);
    let (said, token) =
        (body(&asked), "9b12fb82ecd54ea9a84d06f3452e988772924a9a019347859728bb934206ab0c");
    assert_eq!(said["token"], token);
    assert_eq!(said["anonymousId"], "1575b9bf-0b23-45d7-97f3-d8fceed06da0");
    answer(&core, &asked, &messages(&["shown-1", "shown-2", "new"]));
    heard.until("the message", |said| (!said.messages.is_empty()).then_some(()));
    assert_eq!(heard.messages(), ["new"]);
    assert_eq!(heard.reports(), []);
}

#[test]
fn events_go_while_the_collector_holds_its_answer_back() {
    let folder = tempfile::tempdir().unwrap();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", server.local_addr().unwrap());
    let (say, paths) = channel();
    thread::spawn(move || {
        // Those that ask for messages are held, and never answered.
        let mut held = Vec::new();
        for stream in server.incoming() {
            let mut stream = stream.unwrap();
            let mut head = [0; 4_096];
            let count = stream.read(&mut head).unwrap();
            let text = String::from_utf8_lossy(&head[..count]).into_owned();
            let path = text.split(' ').nth(1).unwrap_or_default().to_owned();
            if path == "/v1/messages" {
                held.push(stream);
            } else {
                let body = r#"{"success":true}"#;
                drop(write!(
                    stream,
                    "HTTP/1.1 200 x\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                    body.len()
                ));
            }
            if say.send(path).is_err() {
                return;
            }
        }
    });
    let heard = Arc::new(Heard::default());
    let core = Core::new(options(folder.path(), &endpoint), heard.clone()).unwrap();
    core.listen(true).unwrap();
    core.foreground().unwrap();
    assert_eq!(paths.recv_timeout(PATIENCE).unwrap(), "/v1/messages");
    for token in 1..=5 {
        core.track("E".into(), None, EventOptions::default()).unwrap();
        let begun = Instant::now();
        core.flush(token, 20_000).unwrap();
        assert_eq!(heard.flushed(token), 0);
        assert!(begun.elapsed() < Duration::from_secs(15), "an event waited for a message");
    }
    let later: Vec<String> = paths.try_iter().collect();
    assert!(later.iter().all(|path| path == "/v1/batch?receipt=1"), "{later:?}");
    core.close();
}

#[test]
fn a_rule_of_the_collector_reaches_the_app_and_is_over_when_it_was_shown() {
    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("rules");
    fs::create_dir(&rules).unwrap();
    fs::write(
        rules.join("rules.toml"),
        "[rules.cart]\non = \"Cart Left\"\nthen = [{ in_app = \"card\", template = \"cart.txt\", expires = \"1h\" }]\n",
    )
    .unwrap();
    let template = "+++\ntitle = \"Your {{ event.properties.sku }} waits\"\nbutton = \"Look\"\nurl = \"/cart\"\n[data]\n\
        sku = \"{{ event.properties.sku }}\"\n+++\nWe kept it.\n";
    fs::write(rules.join("cart.txt"), template).unwrap();
    let collector = Collector::start_with(
        folder.path(),
        0,
        &format!("rules = {:?}\n", rules.display().to_string()),
    );
    let heard = Arc::new(Heard::default());
    let core = Core::new(options(folder.path(), &collector.endpoint()), heard.clone()).unwrap();
    core.listen(true).unwrap();
    core.foreground().unwrap();
    let left = || {
        core.track("Cart Left".into(), Some(r#"{"sku":"kettle"}"#.into()), EventOptions::default())
    };
    left().unwrap();
    let message = heard.until("the message", |said| said.messages.first().cloned());
    assert_eq!(message.title.as_deref(), Some("Your kettle waits"));
    assert_eq!(message.body.as_deref(), Some("We kept it."));
    assert_eq!((message.button.as_deref(), message.url.as_deref()), (Some("Look"), Some("/cart")));
    assert_eq!(message.data["sku"], "kettle");
    assert_eq!((&*message.rule, &*message.placement), ("cart", "card"));
    core.act(message.id.clone(), Act::Dismissed).unwrap();
    core.flush(1, 20_000).unwrap();
    assert_eq!(heard.flushed(1), 0);
    until("the words of the device in the log", || {
        let log = collector.log();
        let said = |name: &str| {
            log.iter().any(|event| {
                event["event"] == name && event["properties"]["message_id"] == *message.id
            })
        };
        said("Message Shown") && said("Message Dismissed")
    });
    // The collector has nothing for this device any more: it holds its answer back until there is something.
    left().unwrap();
    heard.until("the second message", |said| said.messages.get(1).cloned());
    assert_eq!(heard.reports(), []);
    core.close();
}
