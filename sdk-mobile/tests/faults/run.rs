//! Plays the steps of one scenario and checks what it expects. Promises that a step nobody knows fails the test, and that a failure names
//! scenario, language and step.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    caller::Caller,
    collector::{Collector, PATIENCE},
    server::{Mood, Server},
};

/// One scenario on its way.
pub(crate) struct Run<'a> {
    name: String,
    language: &'a str,
    scenario: &'a Value,
    folder: TempDir,
    collector: Collector,
    server: Server,
    callers: BTreeMap<String, Caller>,
    /// Ids in the order of their calls, and whether each was committed as its call returned.
    called: Vec<(String, bool)>,
    reports: Vec<Value>,
    flushed: Option<u64>,
    device: Option<Value>,
    lock: Option<Connection>,
    mounted: bool,
}

impl<'a> Run<'a> {
    pub(crate) fn new(name: &str, language: &'a str, scenario: &'a Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let collector = Collector::start(folder.path());
        let server = Server::start(collector.endpoint());
        Self {
            name: format!("{name} ({language})"),
            language,
            scenario,
            folder,
            collector,
            server,
            callers: BTreeMap::new(),
            called: Vec::new(),
            reports: Vec::new(),
            flushed: None,
            device: None,
            lock: None,
            mounted: false,
        }
    }

    pub(crate) fn play(mut self) {
        if self.scenario["needs"] == "mount" && !self.mount() {
            eprintln!(
                "{}: SKIPPED, a file system of a bounded size can only be mounted by root",
                self.name
            );
            return;
        }
        for (at, step) in self.scenario["steps"].as_array().unwrap().iter().enumerate() {
            self.name = format!("{}, step {at}: {step}", self.name.split(", step").next().unwrap());
            self.step(step);
        }
        for (_, caller) in std::mem::take(&mut self.callers) {
            caller.end();
        }
    }

    fn step(&mut self, step: &Value) {
        let name = step["as"].as_str().unwrap_or("a").to_owned();
        let has = |key: &str| step.get(key).is_some();
        if has("do") {
            self.command(&name, step);
        } else if has("server") {
            self.server.set(mood(&step["server"]));
        } else if has("next") {
            for next in step["next"].as_array().unwrap() {
                self.server.then(mood(next));
            }
        } else if has("start") {
            self.start(&name);
        } else if has("kill") {
            self.callers.get_mut(&name).unwrap().kill();
            self.callers.remove(&name);
        } else if has("end") {
            self.callers.remove(&name).unwrap().end();
        } else if has("file") {
            self.file(step["file"].as_str().unwrap());
        } else if has("until") {
            self.until(&name, &step["until"]);
        } else if has("expect") {
            self.expect(&name, step["expect"].as_object().unwrap());
        } else {
            panic!("{}: an unknown step", self.name);
        }
    }

    fn start(&mut self, name: &str) {
        let mut caller = Caller::start(self.language);
        let mut open = json!({
            "do": "open",
            "writeKey": "wk_test",
            "endpoint": self.server.endpoint(),
            "folder": self.app().display().to_string(),
            "gatherMs": 5,
        });
        for (option, value) in self.scenario["open"].as_object().into_iter().flatten() {
            open[option] = value.clone();
        }
        caller.tell(&open);
        assert_eq!(caller.hear(), json!({"ok": true}), "{}", self.name);
        self.callers.insert(name.to_owned(), caller);
    }

    fn command(&mut self, name: &str, step: &Value) {
        let mut step = step.clone();
        if step["count"] == "backlog" {
            step["count"] = backlog().into();
        }
        let caller =
            self.callers.get_mut(name).unwrap_or_else(|| panic!("{}: start it first", self.name));
        caller.tell(&step);
        let answers = if step["do"] == "track" { step["count"].as_u64().unwrap_or(1) } else { 1 };
        for _ in 0..answers {
            let said = caller.hear();
            if let Some(id) = said["messageId"].as_str() {
                let durable = said["durable"].as_bool().unwrap();
                if let Some(expected) = step["durable"].as_bool() {
                    assert_eq!(durable, expected, "{}: {said}", self.name);
                }
                self.called.push((id.to_owned(), durable));
            }
            if let Some(left) = said["flushed"].as_u64() {
                self.flushed = Some(left);
            }
        }
    }

    fn ask(&mut self, name: &str, what: &str) -> Value {
        let caller = self.callers.get_mut(name).unwrap();
        caller.tell(&json!({"do": what}));
        caller.hear()
    }

    fn until(&mut self, name: &str, what: &Value) {
        let mut start = Instant::now();
        let mut least = u64::MAX;
        loop {
            let there = if let Some(count) = what["requests"].as_u64() {
                self.server.bodies().len() as u64 >= count
            } else if let Some(left) = what["pending"].as_u64() {
                let pending = self.ask(name, "pending")["pending"].as_u64().unwrap();
                // A long backlog has time for as long as it gets shorter.
                if pending < least {
                    (least, start) = (pending, Instant::now());
                }
                pending == left
            } else if let Some(count) = what["log"].as_u64() {
                self.collector.log().len() as u64 >= count
            } else if what.get("report").is_some() {
                self.hear_reports(name);
                self.reports.iter().any(|report| matches(report, &what["report"]))
            } else {
                panic!("{}: until what?", self.name)
            };
            if there {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "{}: {:?}", self.name, self.reports);
            // Virtual time goes on while somebody waits, if the step says so.
            if let Some(ms) = what["passing"].as_u64() {
                let caller = self.callers.get_mut(name).unwrap();
                caller.tell(&json!({"do": "pass", "ms": ms}));
                caller.hear();
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn hear_reports(&mut self, name: &str) {
        let said = self.ask(name, "reports");
        self.reports.extend(said["reports"].as_array().unwrap().iter().cloned());
    }

    fn expect(&mut self, name: &str, expected: &serde_json::Map<String, Value>) {
        for (what, value) in expected {
            let about = self.name.clone();
            match what.as_str() {
                // Every event that was called for, in the order of the calls, once; and nothing else.
                "log" => self.expect_log(value),
                "pending" => {
                    assert_eq!(self.ask(name, "pending")["pending"], *value, "{about}");
                }
                "pendingAtLeast" => {
                    let pending = self.ask(name, "pending")["pending"].as_u64().unwrap();
                    assert!(pending >= value.as_u64().unwrap(), "{about}: {pending}");
                }
                "flushed" => {
                    assert_eq!(self.flushed.map(Value::from).as_ref(), Some(value), "{about}");
                }
                "logHasLast" => {
                    let log = self.collector.log();
                    let count = usize::try_from(value.as_u64().unwrap()).unwrap();
                    for (id, _) in self.called.iter().rev().take(count) {
                        assert!(
                            log.iter().any(|event| event["messageId"] == **id),
                            "{about}: {id}"
                        );
                    }
                }
                "logAtLeast" => {
                    let count = self.collector.log().len() as u64;
                    assert!(count >= value.as_u64().unwrap(), "{about}: {count}");
                }
                "logHasFirst" => {
                    let log = self.collector.log();
                    let count = usize::try_from(value.as_u64().unwrap()).unwrap();
                    for (id, _) in self.called.iter().take(count) {
                        assert!(
                            log.iter().any(|event| event["messageId"] == **id),
                            "{about}: {id}"
                        );
                    }
                }
                // So many were told as dropped, each by its id: those that were called for one after the other, from this one on.
                "dropped" => self.expect_dropped(name, value),
                "anonymousId" => {
                    let user = self.ask(name, "user");
                    let id = user["anonymousId"].clone();
                    assert_eq!(*self.device.get_or_insert(id.clone()), id, "{about}");
                }
                "userId" => {
                    assert_eq!(self.ask(name, "user")["userId"], *value, "{about}");
                }
                "requestsAtMost" => {
                    let bodies = self.server.bodies().len() as u64;
                    assert!(bodies <= value.as_u64().unwrap(), "{about}: {bodies} requests");
                }
                "sentAtMost" => {
                    let sent: u64 = self.server.bodies().iter().map(events_in).sum();
                    assert!(sent <= value.as_u64().unwrap(), "{about}: {sent} events were sent");
                }
                "sentAtDiffers" => {
                    let bodies = self.server.bodies();
                    let stamps: BTreeSet<&str> =
                        bodies.iter().filter_map(|body| body["sentAt"].as_str()).collect();
                    assert_eq!(stamps.len(), bodies.len(), "{about}: {stamps:?}");
                }
                "reports" => {
                    for wanted in value.as_array().unwrap() {
                        self.until(name, &json!({ "report": wanted }));
                    }
                }
                "noReport" => {
                    self.hear_reports(name);
                    let heard = self.reports.iter().find(|report| matches(report, value));
                    assert!(heard.is_none(), "{about}: {heard:?}");
                }
                "sessions" => {
                    let log = self.collector.log();
                    let sessions: BTreeSet<u64> = log
                        .iter()
                        .filter_map(|event| event["context"]["sessionId"].as_u64())
                        .collect();
                    assert_eq!(sessions.len() as u64, value.as_u64().unwrap(), "{about}");
                }
                // Events of the session that the latest one belongs to.
                "inLastSession" => {
                    let log = self.collector.log();
                    let session = |event: &Value| event["context"]["sessionId"].as_u64().unwrap();
                    let last = log.iter().map(session).max();
                    let count = log.iter().filter(|event| Some(session(event)) == last).count();
                    assert_eq!(Value::from(count), *value, "{about}");
                }
                "residentBelow" => {
                    let bytes = self.ask(name, "memory")["residentBytes"].as_u64().unwrap();
                    // A JVM and what it takes for itself is not ours to bound.
                    let own = if self.language == "kotlin" { 400 << 20 } else { 0 };
                    assert!(bytes < own + value.as_u64().unwrap(), "{about}: {bytes} bytes");
                }
                "storedOnDevice" => {
                    let count: u64 = Connection::open(self.app().join("headwater.db"))
                        .and_then(|file| {
                            file.query_row("SELECT count(*) FROM event", [], |row| {
                                row.get::<_, i64>(0)
                            })
                        })
                        .map(i64::cast_unsigned)
                        .unwrap();
                    assert_eq!(Value::from(count), *value, "{about}");
                }
                _ => panic!("{about}: expect what?"),
            }
        }
    }

    /// `"all"`: each event that was called for, once, in the order of the calls, with numbers that have no gap but those that were told.
    /// `"once"`: the same without the order. `"durable"`: at least those that were committed. A number: so many of them.
    fn expect_log(&self, value: &Value) {
        let about = &self.name;
        let enough = match value.as_str() {
            Some("all" | "once") => self.called.len(),
            Some("durable") => self.called.iter().filter(|(_, durable)| *durable).count(),
            _ => usize::try_from(value.as_u64().unwrap()).unwrap(),
        };
        if enough > 0 {
            self.collector.events(enough);
        }
        let log = self.collector.log();
        let ids: Vec<&str> = log.iter().map(|event| event["messageId"].as_str().unwrap()).collect();
        let mut times: HashMap<&str, u32> = HashMap::new();
        for id in &ids {
            *times.entry(*id).or_default() += 1;
        }
        assert!(
            times.values().all(|times| *times == 1),
            "{about}: an event is in the log more than once"
        );
        let called: Vec<&str> = self.called.iter().map(|(id, _)| id.as_str()).collect();
        match value.as_str() {
            Some("all") => assert_eq!(ids, called, "{about}"),
            Some("once") => {
                assert_eq!(ids.iter().collect::<BTreeSet<_>>(), called.iter().collect(), "{about}");
            }
            Some("durable") => {
                for (id, durable) in &self.called {
                    assert!(!durable || times.contains_key(id.as_str()), "{about}: {id} is lost");
                }
            }
            _ => assert_eq!(ids.len(), enough, "{about}"),
        }
        no_gaps(&log, about);
    }

    fn expect_dropped(&mut self, name: &str, value: &Value) {
        let number = |what: &str| usize::try_from(value[what].as_u64().unwrap()).unwrap();
        let (from, count) = (number("from"), number("count"));
        let start = Instant::now();
        loop {
            self.hear_reports(name);
            let dropped = self.reports.iter().filter(|report| report["kind"] == "dropped");
            let ids: Vec<&str> =
                dropped.map(|report| report["messageId"].as_str().unwrap_or("?")).collect();
            if ids.len() >= count {
                let wanted: Vec<&str> =
                    self.called[from..from + count].iter().map(|(id, _)| id.as_str()).collect();
                assert_eq!(ids, wanted, "{}", self.name);
                return;
            }
            assert!(start.elapsed() < PATIENCE, "{}: {} dropped", self.name, ids.len());
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn file(&mut self, what: &str) {
        let file = self.app().join("headwater.db");
        match what {
            "corruptFront" | "corruptMiddle" => {
                // What lies in the log beside the file would stand in for it.
                let whole = Connection::open(&file).unwrap();
                whole.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
                drop(whole);
                let length = fs::metadata(&file).unwrap().len();
                if what == "corruptFront" {
                    overwrite(&file, 0, 100);
                } else {
                    overwrite(&file, length / 2, length / 4);
                }
            }
            "delete" => {
                for part in ["", "-wal", "-shm"] {
                    drop(fs::remove_file(format!("{}{part}", file.display())));
                }
            }
            "deleteLog" => fs::remove_file(format!("{}-wal", file.display())).unwrap(),
            "deleteLogAndIndex" => {
                for part in ["-wal", "-shm"] {
                    fs::remove_file(format!("{}{part}", file.display())).unwrap();
                }
            }
            "lock" => {
                let connection = Connection::open(&file).unwrap();
                connection.busy_timeout(PATIENCE).unwrap();
                connection.execute_batch("BEGIN EXCLUSIVE").unwrap();
                self.lock = Some(connection);
            }
            "unlock" => self.lock = None,
            "later" => {
                let connection = Connection::open(&file).unwrap();
                connection.pragma_update(None, "user_version", 99).unwrap();
            }
            "version1" | "version2" | "version3" => {
                fs::create_dir_all(self.app()).unwrap();
                let name = what.replace("ersion", "");
                let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/formats");
                fs::copy(kept.join(format!("{name}.db")), &file).unwrap();
            }
            "fill" => {
                let rest = self.app().join("rest");
                let mut size = 1 << 20;
                let mut all = Vec::new();
                while size > 0 {
                    all.extend(std::iter::repeat_n(b'x', size));
                    if fs::write(&rest, &all).is_err() {
                        all.truncate(usize::try_from(fs::metadata(&rest).unwrap().len()).unwrap());
                        size /= 2;
                    }
                }
            }
            "empty" => fs::remove_file(self.app().join("rest")).unwrap(),
            "readOnly" => self.remount("ro"),
            "writable" => self.remount("rw"),
            _ => panic!("{}: what with the file?", self.name),
        }
    }

    fn app(&self) -> PathBuf {
        self.folder.path().join("app")
    }

    fn mount(&mut self) -> bool {
        fs::create_dir_all(self.app()).unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"])
            .arg(self.app())
            .output();
        self.mounted = mount.is_ok_and(|mount| mount.status.success());
        self.mounted
    }

    fn remount(&self, how: &str) {
        let options = format!("remount,{how}");
        let done = Command::new("mount").args(["-o", &options]).arg(self.app()).status().unwrap();
        // Busy for writing, while somebody has it open: then it is made so by force of the file system's own switch.
        assert!(done.success(), "{}", self.name);
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        self.callers.clear();
        if self.mounted {
            drop(Command::new("umount").arg("-l").arg(self.app()).status());
        }
    }
}

fn mood(said: &Value) -> Mood {
    match said.as_str() {
        Some("up") => Mood::Up,
        Some("down") => Mood::Down,
        Some("silent") => Mood::Silent,
        Some("deaf") => Mood::Deaf,
        Some(other) => panic!("no mood: {other}"),
        None => Mood::Says(said.clone()),
    }
}

fn events_in(body: &Value) -> u64 {
    body["batch"].as_array().map_or(0, |batch| batch.len() as u64)
}

/// Whether it has all of these members.
fn matches(report: &Value, wanted: &Value) -> bool {
    wanted.as_object().unwrap().iter().all(|(name, value)| match (name.as_str(), value.as_str()) {
        ("detail", Some(part)) => report[name].as_str().is_some_and(|detail| detail.contains(part)),
        _ => report[name] == *value,
    })
}

/// Numbers of each queue rise from 1 without a gap, but for those that were told as dropped.
pub(crate) fn no_gaps(log: &[Value], about: &str) {
    let mut queues: HashMap<&str, BTreeSet<u64>> = HashMap::new();
    for event in log {
        let ours = &event["context"]["headwater"];
        let Some(queue) = ours["queue"].as_str() else { continue };
        let numbers = queues.entry(queue).or_default();
        assert!(numbers.insert(ours["seq"].as_u64().unwrap()), "{about}: a number was given twice");
        for range in ours["dropped"].as_array().into_iter().flatten() {
            numbers.extend(range[0].as_u64().unwrap()..=range[1].as_u64().unwrap());
        }
    }
    for (queue, numbers) in queues {
        let last = *numbers.last().unwrap();
        let missing: Vec<u64> = (1..=last).filter(|number| !numbers.contains(number)).collect();
        assert!(missing.is_empty(), "{about}: of {queue} {missing:?} are nowhere");
    }
}

fn overwrite(file: &Path, from: u64, length: u64) {
    use std::os::unix::fs::FileExt as _;
    let file = fs::File::options().write(true).open(file).unwrap();
    file.write_all_at(&vec![0xA5; usize::try_from(length).unwrap()], from).unwrap();
}

/// Events of a backlog: `HEADWATER_BACKLOG`, default 10,000.
fn backlog() -> u64 {
    std::env::var("HEADWATER_BACKLOG").map_or(10_000, |count| count.parse().unwrap())
}
