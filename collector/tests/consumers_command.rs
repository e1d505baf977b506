//! `headwater consumers` and `headwater tail` against a running server, and the server killed while it delivers.
#![allow(clippy::unwrap_used, reason = "what a test expects, it unwraps, in its functions too")]

use std::{
    collections::HashMap,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use crate::server::{PATIENCE, Receiver, Server, client, track};
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

fn headwater(arguments: &[&str], url: &str, token: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headwater"));
    command.args(arguments).args(["--url", url]).env("HEADWATER_ADMIN_TOKEN", token);
    command.env("HEADWATER_LOG", "warn").stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs it to its end, elsewhere: the server is in this runtime.
async fn output(arguments: &[&str], server: &Server, token: &str) -> Output {
    let mut command = headwater(arguments, &server.url, token);
    spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

async fn says(arguments: &[&str], server: &Server, token: &str) -> String {
    let output = output(arguments, server, token).await;
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn an_operator_looks_after_consumers_from_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::start().await;
    receiver.answer_with(|event| if event["messageId"] == "bad" { 422 } else { 200 });
    let server = Server::start_with(folder.path(), &receiver.consumer("crm")).await;
    let token = server.new_token.clone().unwrap();
    server.batch(&[track("bad", "a"), track("good", "b")]).await;
    receiver
        .wait_for("the third refusal", |all| all.iter().filter(|a| a.status == 422).count() == 3)
        .await;
    let parked = tokio::time::timeout(PATIENCE, async {
        while !says(&["consumers", "parked", "crm"], &server, &token).await.contains("bad") {}
    });
    parked.await.expect("it is parked");

    let table = says(&["consumers", "list"], &server, &token).await;
    let lines: Vec<Vec<_>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["NAME", "KIND", "STATE", "LAG", "SECONDS", "PARKED", "WHY"]);
    assert_eq!((lines[1][0], lines[1][1], lines[1][5]), ("crm", "webhook", "1"));
    let parked = says(&["consumers", "parked", "crm", "--events"], &server, &token).await;
    assert!(
        parked.contains("422 Unprocessable Entity: said no") && parked.contains("anonymousId"),
        "{parked}"
    );
    let paused = says(&["consumers", "pause", "crm", "--reason", "release"], &server, &token).await;
    assert_eq!(paused, "crm is paused\n");
    let list = says(&["consumers", "list", "--json"], &server, &token).await;
    let list: Value = serde_json::from_str(&list).unwrap();
    assert_eq!(list["consumers"][0]["reason"], "release");
    says(&["consumers", "retry", "crm"], &server, &token).await;
    receiver.answer_with(|_| 200);
    let redriven = says(&["consumers", "redrive", "crm", "--all"], &server, &token).await;
    assert_eq!(redriven, "1 parked event will be delivered again\n");
    receiver.wait_for_delivered(2).await;
    let seek = says(&["consumers", "seek", "crm", "start"], &server, &token).await;
    assert_eq!(seek, "crm goes on behind offset 0\n");
    for (arguments, token, message) in [
        (
            &["consumers", "pause", "other"][..],
            &*token,
            "no consumer has this name; `headwater consumers list` shows them",
        ),
        (&["consumers", "redrive", "crm"], &*token, "<OFFSET|--all>"),
        (&["consumers", "seek", "crm", "soon"], &*token, "a place is `start`"),
        (&["consumers", "drop", "crm", "77"], &*token, "none of these offsets is parked"),
        (&["consumers", "redrive", "crm", "77"], &*token, "`headwater consumers parked crm` shows"),
        (&["consumers", "drop", "crm", "--all"], &*token, "crm has parked no events"),
        (&["consumers", "list"], "wrong", "this token is not accepted by http://127.0.0.1"),
        (&["tail"], "wrong", "this token is not accepted"),
        (&["tail"], "two words", "HEADWATER_ADMIN_TOKEN holds no admin token"),
        (&["tail", "--type", "trak"], &*token, "[possible values: track, identify"),
    ] {
        let output = output(arguments, &server, token).await;
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && errors.contains(message), "{arguments:?}: {errors}");
        assert!(!errors.contains(token) || token == "wrong", "the token is not printed");
    }
    server.stop().await;
}

/// Ends with the test.
struct Ending(Child);

impl Drop for Ending {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[tokio::test]
async fn tail_follows_and_goes_on_where_it_was_after_a_restart_of_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let token = server.new_token.clone().unwrap();
    let mut evil = track("1", "device-1");
    evil["event"] = "Clicked\u{1b}]0;owned\u{7}".into();
    server.batch(&[evil, track("2", "device-1")]).await;
    let mut child = Ending(
        headwater(&["tail", "--after", "0", "--type", "track"], &server.url, &token)
            .spawn()
            .unwrap(),
    );
    let lines = BufReader::new(child.0.stdout.take().unwrap()).lines();
    let (give, mut lines_of) = tokio::sync::mpsc::unbounded_channel();
    let reading =
        spawn_blocking(move || lines.map_while(Result::ok).for_each(|line| drop(give.send(line))));
    let mut line =
        async || tokio::time::timeout(PATIENCE, lines_of.recv()).await.expect("a line").unwrap();
    let first = line().await;
    assert!(
        first.starts_with("      1 20")
            && first.ends_with(r"track    Clicked\u{1b}]0;owned\u{7} web        device-1"),
        "{first}"
    );
    assert!(!first.contains('\u{1b}'));
    assert!(line().await.ends_with(" web        device-1"));

    // The same address again, once the old one has let go of it.
    let address = server.url.strip_prefix("http://").unwrap().to_owned();
    server.stop().await;
    let listener = tokio::net::TcpListener::bind(&address).await.unwrap();
    let mut config =
        headwater_collector::config::Config::parse("", Path::new("test.toml")).unwrap();
    config.data = folder.path().to_owned();
    let disk = std::sync::Arc::new(headwater_collector::event_log::FileSystem);
    let collector = headwater_collector::Collector::open(config, disk).unwrap();
    let key = collector.default_write_key().unwrap().to_owned();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let served = tokio::spawn(collector.serve(listener, async { drop(stopped.await) }));
    let body = json!({"batch": [track("3", "device-3")], "writeKey": key}).to_string();
    let post = client().post(format!("http://{address}/v1/batch")).body(body).send().await.unwrap();
    assert_eq!(post.status(), 200);
    assert!(line().await.ends_with(" web        device-3"), "neither skipped nor told twice");
    drop(child);
    reading.await.unwrap();
    stop.send(()).unwrap();
    served.await.unwrap();
}

/// A server of its own process, to be killed.
struct Killable {
    process: Ending,
    url: String,
    /// Open as long as it runs: it has more to say.
    _out: BufReader<std::process::ChildStdout>,
}

impl Killable {
    async fn start(config: &Path, data: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_headwater"));
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--config"])
            .arg(config)
            .arg("--data")
            .arg(data);
        command.env("HEADWATER_LOG", "error").stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let mut out = BufReader::new(process.stdout.take().unwrap());
        let first = spawn_blocking(move || {
            let mut first = String::new();
            out.read_line(&mut first).unwrap();
            (first, out)
        });
        let (first, out) = first.await.unwrap();
        let url = first.trim().strip_prefix("headwater listens on ").unwrap().to_owned();
        Self { process: Ending(process), url, _out: out }
    }
}

#[tokio::test]
async fn consumers_skip_nothing_when_the_server_is_killed_while_they_deliver() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::start().await;
    let mut answered = 0;
    receiver.answer_with(move |_| {
        answered += 1;
        // A few failures, so that events rest while others pass.
        if answered % 17 == 0 { 500 } else { 200 }
    });
    let config = folder.path().join("headwater.toml");
    let toml = "[sources.web]\nwrite_key = 'k'\n".to_owned()
        + &receiver.consumer("crm")
        + "retry = ['2ms', '10ms']\n";
    std::fs::write(&config, toml).unwrap();
    let data = folder.path().join("data");
    let rounds: usize = std::env::var("HEADWATER_KILL_ROUNDS").map_or(4, |n| n.parse().unwrap());
    let mut acknowledged = 0_usize;
    for round in 0..rounds {
        let server = Killable::start(&config, &data).await;
        for n in 0..10 {
            let events: Vec<_> = (0..20)
                .map(|m| {
                    let number = round * 200 + n * 20 + m;
                    track(format!("{number:06}"), &format!("d{}", number % 7))
                })
                .collect();
            let body = json!({"batch": events, "writeKey": "k"}).to_string();
            let post = client().post(format!("{}/v1/batch", server.url)).body(body);
            assert_eq!(post.send().await.unwrap().status(), 200);
            acknowledged += 20;
        }
        // Killed when some of this round are delivered, and some are not.
        let enough = round * 200 + 60;
        receiver.wait_for("some of the round", |all| all.len() >= enough).await;
        drop(server.process);
    }
    let server = Killable::start(&config, &data).await;
    let attempts = receiver.wait_for_delivered(acknowledged).await;
    drop(server);
    let mut firsts: HashMap<String, Vec<String>> = HashMap::new();
    let mut seen = std::collections::HashSet::new();
    for attempt in attempts.iter().filter(|attempt| attempt.status < 300) {
        let event = attempt.event();
        let id = event["messageId"].as_str().unwrap().to_owned();
        if seen.insert(id.clone()) {
            firsts.entry(event["anonymousId"].as_str().unwrap().to_owned()).or_default().push(id);
        }
    }
    assert_eq!(seen.len(), acknowledged, "nothing is skipped");
    for (device, order) in firsts {
        assert!(order.is_sorted(), "{device} is out of order: {order:?}");
    }
}
