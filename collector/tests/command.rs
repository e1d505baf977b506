//! The binary as an operator meets it: what it prints, how it fails, and that neither SIGTERM nor
//! SIGKILL under load costs an acknowledged event.
#![allow(clippy::unwrap_used, reason = "what a test expects, it unwraps, in its functions too")]

use std::{
    collections::HashSet,
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use crate::server::{PATIENCE, client, ids, track};
use serde_json::json;
use tokio::sync::watch;

fn headwater(arguments: &[&str], data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headwater"));
    command.arg("serve").arg("--data").arg(data).args(arguments);
    command.env("HEADWATER_LOG", "warn").stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A running binary, killed if the test ends before it.
struct Running {
    process: Child,
    url: String,
    key: Option<String>,
    token: Option<String>,
}

impl Running {
    fn start(data: &Path) -> Self {
        let mut process =
            headwater(&["--listen", "127.0.0.1:0"], data).stderr(Stdio::inherit()).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let first = lines.next().unwrap().unwrap();
        let url = first.strip_prefix("headwater listens on ").unwrap().to_owned();
        lines.next();
        let tag = lines.next().unwrap().unwrap();
        let (before, key) = tag.split_once("data-write-key=\"").unwrap();
        assert_eq!(before.trim(), format!("<script async src=\"{url}/headwater.js\""));
        let key = key.strip_suffix("\"></script>").map(str::to_owned);
        // Its output ends with the process, so only read on where there is more to come.
        let has_token = !data.join("token").exists();
        let token = has_token.then(|| {
            lines.next();
            let line = lines.next().unwrap().unwrap();
            line.strip_prefix("admin token: ").unwrap().to_owned()
        });
        if let Some(token) = &token {
            std::fs::write(data.join("token"), token).unwrap();
        }
        Self { process, url, key, token }
    }

    fn end(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    fn terminate(&self) {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn fails(arguments: &[&str], data: &Path) -> String {
    let Output { status, stderr, .. } = headwater(arguments, data).output().unwrap();
    assert!(!status.success());
    String::from_utf8(stderr).unwrap()
}

#[test]
fn errors_read_like_help() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hw.toml");
    std::fs::write(
        &file,
        "listen = '127.0.0.1:0'\n[sources.web]\nwrite_key = 'k'\ntrsut = 'server'\n",
    )
    .unwrap();
    let path = file.to_str().unwrap();
    let error = fails(&["--config", path], folder.path());
    assert!(error.starts_with(&format!("error: {path}:4: unknown key `trsut`")), "{error}");
    assert!(error.contains("did you mean `trust`?"), "{error}");

    let error = fails(&["--config", "/nowhere.toml"], folder.path());
    assert!(error.contains("/nowhere.toml"), "{error}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let error = fails(&["--listen", &address], folder.path());
    assert!(error.contains(&address) && error.contains("--listen"), "{error}");
    assert!(fails(&["--nonsense"], folder.path()).contains("Usage"));
}

fn check(config: &Path, data: &Path) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headwater"));
    command.arg("check").arg("--config").arg(config).arg("--data").arg(data);
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[test]
fn a_configuration_is_checked_without_a_start() {
    let folder = tempfile::tempdir().unwrap();
    let (file, data) = (folder.path().join("hw.toml"), folder.path().join("data"));
    let path = file.display();
    std::fs::write(&file, "[sources.web]\nwrite_key = 'k'\n").unwrap();
    let (code, said, wrong) = check(&file, &data);
    assert_eq!((code, wrong.as_str()), (Some(0), ""));
    assert!(said.starts_with(&format!("{path}: sound; 1 source, 0 consumers, http://")), "{said}");
    assert!(!data.exists(), "nothing is made");
    let running = Running::start(&data);
    assert_eq!(check(&file, &data).0, Some(0), "beside a server");
    running.end();

    std::fs::write(&file, "listen = '0.0.0.0:80'\n[sources.web]\nwrite_key = 'k'\n").unwrap();
    let (code, said, wrong) = check(&file, &data);
    assert_eq!(code, Some(0), "no mistake: {wrong}");
    assert!(said.contains("http://0.0.0.0:80"), "{said}");
    assert!(wrong.starts_with(&format!("warning: {path}: 0.0.0.0:80 is reached")), "{wrong}");

    std::fs::write(&file, "[sources.web]\nwrite_kee = 'k'\n").unwrap();
    let (code, _, wrong) = check(&file, &data);
    assert_eq!(code, Some(1));
    assert!(wrong.starts_with(&format!("error: {path}:2: ")), "{wrong}");

    let rules = folder.path().join("rules");
    std::fs::create_dir(&rules).unwrap();
    std::fs::write(
        &file,
        format!("rules = '{}'\n[sources.web]\nwrite_key = 'k'\n", rules.display()),
    )
    .unwrap();
    for (text, part) in [
        ("[rules.a]\nonn = 'A'\n", "a.toml:2: unknown key `onn`"),
        ("[rules.a]\non = 'A'\nthen = [{ webhook = 'bank' }]\n", "there is no destination `bank`"),
    ] {
        std::fs::write(rules.join("a.toml"), text).unwrap();
        let (code, _, wrong) = check(&file, &data);
        assert_eq!(code, Some(1), "{wrong}");
        assert!(
            wrong.starts_with(&format!("error: {path}:1: ")) && wrong.contains(part),
            "{wrong}"
        );
    }

    let certificate = folder.path().join("c.pem");
    let tls = format!("[tls]\nkey = 'k.pem'\ncertificate = '{}'\n", certificate.display());
    std::fs::write(&file, tls).unwrap();
    let (code, said, wrong) = check(&file, &data);
    assert_eq!((code, said.as_str()), (Some(1), ""));
    assert!(wrong.starts_with(&format!("error: {path}:3: cannot read the certificate")), "{wrong}");
    assert!(wrong.contains("c.pem") && wrong.lines().count() == 1, "{wrong}");
}

#[test]
fn two_servers_cannot_share_a_data_folder() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path());
    let error = fails(&["--listen", "127.0.0.1:0"], folder.path());
    assert!(error.contains("in use by another process"), "{error}");
    running.end();
}

#[tokio::test]
async fn the_key_stays_and_the_token_is_shown_once() {
    let folder = tempfile::tempdir().unwrap();
    let first = Running::start(folder.path());
    let (key, token) = (first.key.clone(), first.token.clone().unwrap());
    first.terminate();
    let mut first = first;
    let status = tokio::task::spawn_blocking(move || first.process.wait().unwrap());
    assert_eq!(status.await.unwrap().code(), Some(0));

    let second = Running::start(folder.path());
    assert_eq!((&second.key, &second.token), (&key, &None));
    let read = client().get(format!("{}/v1/events", second.url)).bearer_auth(token);
    assert_eq!(read.send().await.unwrap().status(), 200);
    second.end();
}

#[tokio::test]
async fn its_last_line_says_how_it_ended() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("hw.toml");
    let consumer = "[sources.web]\nwrite_key = 'k'\n[consumers.reader]\nkind = 'pull'\n";
    std::fs::write(&config, consumer).unwrap();
    let arguments = ["--listen", "127.0.0.1:0", "--config", config.to_str().unwrap()];
    let mut command = headwater(&arguments, &folder.path().join("data"));
    let mut process = command.env("HEADWATER_LOG", "info").spawn().unwrap();
    let mut out = BufReader::new(process.stdout.take().unwrap());
    let mut first = String::new();
    out.read_line(&mut first).unwrap();
    let running = Running {
        process,
        url: first.trim().strip_prefix("headwater listens on ").unwrap().to_owned(),
        key: None,
        token: None,
    };
    let batch = [track("1", "d"), track("2", "d")];
    let body = json!({"batch": batch, "writeKey": "k"}).to_string();
    let post = client().post(format!("{}/v1/batch", running.url)).body(body);
    assert_eq!(post.send().await.unwrap().status(), 200);
    running.terminate();
    let mut running = running;
    let said = tokio::task::spawn_blocking(move || {
        let mut said = String::new();
        running.process.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!(running.process.wait().unwrap().code(), Some(0));
        said
    });
    let said = tokio::time::timeout(PATIENCE, said).await.expect("it ends").unwrap();
    let last = said.lines().last().unwrap();
    let (_, stopped) = last.split_once(": stopped after ").expect(last);
    let ending = " s, in which 0 events were stored and consumers got done with 0; events that wait: 2 for reader";
    assert!(stopped.ends_with(ending), "{last}");
}

/// Sends batches until the server goes away; returns what was acknowledged and what was not.
async fn load(
    url: String,
    key: String,
    name: String,
    progress: watch::Sender<usize>,
) -> (Vec<String>, Vec<String>) {
    let (client, mut acknowledged) = (client(), Vec::new());
    for batch in 0.. {
        let events: Vec<_> = (0..10).map(|n| track(format!("{name}-{batch}-{n}"), &name)).collect();
        let body = json!({"batch": events}).to_string();
        let post = client.post(format!("{url}/v1/batch")).basic_auth(&key, Some("")).body(body);
        match post.send().await {
            Ok(answer) if answer.status() == 200 => {
                acknowledged.extend(ids(&events));
                progress.send_modify(|batches| *batches += 1);
            }
            _ => return (acknowledged, ids(&events)),
        }
    }
    unreachable!("the loop ends with the server")
}

#[tokio::test]
async fn killed_under_load_it_keeps_every_acknowledged_event_once() {
    let rounds: u32 = std::env::var("HEADWATER_KILL_ROUNDS").map_or(30, |n| n.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let (mut acknowledged, mut doubtful) = (Vec::new(), Vec::new());
    let mut token = None;
    for round in 0..rounds {
        let running = Running::start(folder.path());
        token = token.or_else(|| running.token.clone());
        let (url, key) = (running.url.clone(), running.key.clone().unwrap());
        // What the last kill left in doubt is sent again: it must not be stored twice.
        let again: Vec<_> = doubtful.drain(..).map(|id: String| track(id, "again")).collect();
        if !again.is_empty() {
            let post = client().post(format!("{url}/v1/batch")).basic_auth(&key, Some(""));
            let answer = post.body(json!({"batch": again}).to_string()).send().await.unwrap();
            assert_eq!(answer.status(), 200);
            acknowledged.extend(ids(&again));
        }
        let (progress, mut done) = watch::channel(0);
        let senders: Vec<_> = (0..4)
            .map(|n| {
                let name = format!("{round}-{n}");
                tokio::spawn(load(url.clone(), key.clone(), name, progress.clone()))
            })
            .collect();
        // A different moment of the work each time, with requests under way: the other senders have not stopped.
        let enough = 4 + round as usize * 37 % 100;
        let reached = tokio::time::timeout(PATIENCE, done.wait_for(|batches| *batches >= enough));
        reached.await.expect("there is load").unwrap();
        running.end();
        for sender in senders {
            let (kept, unknown) = tokio::time::timeout(PATIENCE, sender).await.unwrap().unwrap();
            acknowledged.extend(kept);
            doubtful.extend(unknown);
        }
    }
    let running = Running::start(folder.path());
    let read = client().get(format!("{}/v1/events", running.url)).bearer_auth(token.unwrap());
    let text = read.send().await.unwrap().text().await.unwrap();
    let stored: Vec<_> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let stored = ids(&stored);
    let once: HashSet<_> = stored.iter().collect();
    assert_eq!(once.len(), stored.len(), "none twice");
    let lost: Vec<_> = acknowledged.iter().filter(|id| !once.contains(id)).collect();
    assert!(lost.is_empty(), "{} of {} lost: {lost:?}", lost.len(), acknowledged.len());
    assert!(acknowledged.len() > rounds as usize * 20, "there was load: {}", acknowledged.len());
    running.end();
}

#[test]
fn what_asks_no_server_has_no_options_of_one() {
    let rules = |arguments: &[&str]| {
        let mut headwater = Command::new(env!("CARGO_BIN_EXE_headwater"));
        let Output { status, stdout, stderr } = headwater
            .arg("rules")
            .args(arguments)
            .env_remove("HEADWATER_ADMIN_TOKEN")
            .output()
            .unwrap();
        let said = String::from_utf8(stdout).unwrap() + &String::from_utf8(stderr).unwrap();
        (status.code(), said)
    };
    for (command, has_server) in [
        ("check", false),
        ("test", false),
        ("backtest", false),
        ("list", true),
        ("firings", true),
        ("why", true),
        ("stop", true),
        ("resume", true),
    ] {
        let (code, help) = rules(&[command, "--help"]);
        assert_eq!(code, Some(0), "{help}");
        for option in ["--url", "--ca", "--token-file"] {
            assert_eq!(help.contains(option), has_server, "{command} {option}");
        }
        assert_eq!(help.contains("--json"), has_server || command == "backtest", "{command}");
    }
    let (code, said) = rules(&["check", ".", "--url", "http://127.0.0.1:1"]);
    assert!(code == Some(2) && said.contains("'--url'"), "{said}");
    let (_, said) = rules(&["list", "--url", "http://127.0.0.1:1"]);
    assert!(said.contains("HEADWATER_ADMIN_TOKEN"), "it would be asked: {said}");
}

#[test]
fn fixtures_are_not_run_beside_what_cannot_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
    let rules = |command: &str| {
        let mut headwater = Command::new(env!("CARGO_BIN_EXE_headwater"));
        let Output { status, stdout, stderr } =
            headwater.args(["rules", command]).arg(folder).output().unwrap();
        let said = String::from_utf8(stdout).unwrap();
        (status.code(), said, String::from_utf8(stderr).unwrap())
    };
    write("a.toml", "[rules.a]\non = 'A'\nthen = [{ in_app = 'card', template = 'a' }]\n");
    write("a.txt", "+++\ntitle = 'Hello'\n+++\n{{ person.nam }}\n");
    write(
        "a.test.toml",
        "[[test]]\nname = 'one'\nevents = [{ at = '0s', user = 'u', track = 'A' }]\nexpect = [{ rule = 'a', user = 'u' }]\n",
    );
    let (code, said, wrong) = rules("check");
    assert_eq!((code, said.as_str()), (Some(1), ""), "{wrong}");
    assert!(wrong.contains("a.txt:4") && wrong.contains("1 mistake in "), "{wrong}");
    // The same, and nothing is said to be well.
    assert_eq!(rules("test").0, Some(1));
    assert_eq!(rules("test").1, "");
    assert!(rules("test").2.contains("a.txt:4"), "{}", rules("test").2);

    write("a.txt", "+++\ntitle = 'Hello'\n+++\n{{ person.name }}\n");
    let (code, said, wrong) = rules("check");
    assert_eq!((code, said.as_str()), (Some(0), "ok: 0 features, 0 scores, 1 rule\n"), "{wrong}");
    let (code, said, wrong) = rules("test");
    assert_eq!(code, Some(0), "{said}{wrong}");
    assert!(said.ends_with("1 ran, 0 failed\n"), "{said}");

    // What never ends is not read.
    let pipe = folder.join("z.toml");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let (code, _, wrong) = rules("check");
    assert_eq!(code, Some(1));
    assert!(wrong.contains("z.toml") && wrong.contains("is no file"), "{wrong}");
}
