//! The front door in an operator's hands: SIGHUP, tokens, a lost first line, few open files, who may look.
#![allow(clippy::unwrap_used, reason = "what a test expects, it unwraps, in its functions too")]

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::mpsc,
};

use crate::server::{PATIENCE, client, track};
use serde_json::json;

const BINARY: &str = env!("CARGO_BIN_EXE_headwater");

/// A running binary, whose log is read line by line; killed if the test ends before it.
struct Running {
    process: Child,
    url: String,
    token: Option<String>,
    log: mpsc::Receiver<String>,
}

impl Running {
    fn start(mut command: Command, data: &Path) -> Self {
        let has_token = !data.join("state.db").exists();
        command.env("HEADWATER_LOG", "info").stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let (say, log) = mpsc::channel();
        let stderr = BufReader::new(process.stderr.take().unwrap());
        std::thread::spawn(move || {
            stderr.lines().map_while(Result::ok).try_for_each(|l| say.send(l))
        });
        let mut said = BufReader::new(process.stdout.take().unwrap()).lines().map_while(Result::ok);
        let url = said.next().unwrap().strip_prefix("headwater listens on ").unwrap().to_owned();
        let (send, token) = mpsc::channel();
        std::thread::spawn(move || {
            said.filter_map(|line| line.strip_prefix("admin token: ").map(str::to_owned))
                .try_for_each(|token| send.send(token))
        });
        let token = has_token.then(|| token.recv_timeout(PATIENCE).unwrap());
        Self { process, url, token, log }
    }

    fn serve(folder: &Path) -> Self {
        Self::start(serving(folder), &folder.join("data"))
    }

    /// Waits for a line of the log with this in it.
    fn says(&self, what: &str) -> String {
        loop {
            let line = self.log.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("waited in vain for {what}"));
            if line.contains(what) {
                return line;
            }
        }
    }

    fn hang_up(&self) {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args(["-HUP", &pid]).status().unwrap().success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn serving(folder: &Path) -> Command {
    let mut command = Command::new(BINARY);
    command.arg("serve").arg("--data").arg(folder.join("data"));
    command.args(["--listen", "127.0.0.1:0", "--config"]).arg(folder.join("hw.toml"));
    command
}

fn configure(folder: &Path, toml: &str) {
    fs::write(folder.join("hw.toml"), toml).unwrap();
}

async fn post(client: &reqwest::Client, url: &str, key: &str) -> u16 {
    let post = client.post(format!("{url}/v1/batch")).basic_auth(key, Some(""));
    let body = json!({"batch": [track(key, "d")]}).to_string();
    post.body(body).send().await.unwrap().status().as_u16()
}

async fn read(url: &str, token: &str) -> u16 {
    let read = client().get(format!("{url}/v1/events")).bearer_auth(token);
    read.send().await.unwrap().status().as_u16()
}

fn headwater(arguments: &[&str]) -> Output {
    Command::new(BINARY).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hangup_reads_the_configuration_again_and_drops_no_connection() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    configure(folder, "[sources.web]\nwrite_key = 'old'\nevents_per_second = 1\nburst = 2");
    let running = Running::serve(folder);
    drop(client());
    let one =
        reqwest::Client::builder().pool_max_idle_per_host(1).timeout(PATIENCE).build().unwrap();
    let live = client()
        .get(format!("{}/v1/live", running.url))
        .bearer_auth(running.token.as_ref().unwrap());
    let mut live = live.send().await.unwrap();
    live.chunk().await.unwrap().unwrap();
    assert_eq!(
        (post(&one, &running.url, "old").await, post(&one, &running.url, "new").await),
        (200, 401)
    );

    configure(
        folder,
        "listen = '127.0.0.1:1'\n[sources.web]\nwrite_key = 'new'\n[consumers.a]\nkind = 'webhook'\n\
        url = 'http://127.0.0.1:9/'\nsecret = 'whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oDC2FVsBQIhrs='",
    );
    running.hang_up();
    let said = running.says("was read again");
    assert!(said.contains("WARN") && said.ends_with("consumers.a needs a restart"), "{said}");
    assert_eq!(
        (post(&one, &running.url, "old").await, post(&one, &running.url, "new").await),
        (401, 200)
    );

    let wrong = folder.join("hw.toml");
    configure(folder, "[sources.web]\nwrite_key = 'third'\nbrust = 1");
    running.hang_up();
    let said = running.says("stays in force");
    assert!(said.contains(&format!("{}:3: unknown key `brust`", wrong.display())), "{said}");
    assert_eq!(
        (post(&one, &running.url, "third").await, post(&one, &running.url, "new").await),
        (401, 200)
    );
    // Two events, on the connection that was there before.
    let mut seen = String::new();
    while seen.matches("data: ").count() < 2 {
        let chunk = tokio::time::timeout(PATIENCE, live.chunk()).await.unwrap().unwrap().unwrap();
        seen.push_str(&text(&chunk));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hangup_says_what_the_rule_files_are_like() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let rules = folder.join("rules");
    fs::create_dir(&rules).unwrap();
    let write = |rule: &str| fs::write(rules.join("a.toml"), rule).unwrap();
    write("[rules.a]\non = 'A'\n");
    configure(folder, &format!("rules = '{}'\n[sources.web]\nwrite_key = 'k'", rules.display()));
    let running = Running::serve(folder);
    assert!(running.says("does nothing").contains("then = []"));
    running.hang_up();
    running.says("the rule files are those in use");
    write("[rules.a]\non = 'B'\nthen = []\n");
    running.hang_up();
    running.says("a restart puts them into force");
    write("[rules.a]\nonn = 'B'\n");
    running.hang_up();
    let said = running.says("a restart would fail");
    assert!(said.contains("a.toml:2: unknown key `onn`"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_made_and_ended_beside_a_running_server() {
    let folder = tempfile::tempdir().unwrap();
    configure(folder.path(), "");
    let running = Running::serve(folder.path());
    let first = running.token.clone().unwrap();
    let data = folder.path().join("data");
    let data = data.to_str().unwrap();
    let becomes = async |token: &str, status: u16| {
        let same = async { while read(&running.url, token).await != status {} };
        tokio::time::timeout(PATIENCE, same).await.expect("the server sees it");
    };
    let added = headwater(&["token", "add", "ci", data]);
    assert_eq!(text(&added.stderr), "a running server goes by it within a second");
    let ci = text(&added.stdout);
    becomes(&ci, 200).await;
    let rotated = text(&headwater(&["token", "rotate", "first", data]).stdout);
    becomes(&first, 401).await;
    becomes(&rotated, 200).await;
    let listed = text(&headwater(&["token", "list", data]).stdout);
    let names: Vec<_> = listed.lines().map(|line| line.split('\t').next().unwrap()).collect();
    assert_eq!(names, ["first", "ci"]);
    assert!(!listed.contains("admin_"));
    let revoked = headwater(&["token", "revoke", "ci", data]);
    assert!(revoked.status.success() && revoked.stderr.is_empty(), "{}", text(&revoked.stderr));
    assert!(text(&revoked.stdout).contains("within a second"));
    becomes(&ci, 401).await;

    let imported = folder.path().join("imported");
    fs::create_dir_all(imported.join("log")).unwrap();
    for (arguments, why) in [
        (["token", "add", "first", data], "already"),
        (["token", "revoke", "ci", data], "no token `ci`"),
        (["token", "rotate", "ci", data], "no token `ci`"),
        (["token", "add", "Not A Name", data], "is not a name"),
        (["token", "add", "x", "/nowhere"], "/nowhere is no data folder"),
        (["token", "add", "x", imported.to_str().unwrap()], "no server was started on it yet"),
    ] {
        let said = headwater(&arguments);
        assert!(!said.status.success());
        assert!(text(&said.stderr).contains(why), "{}", text(&said.stderr));
    }
    assert!(!Path::new("/nowhere").exists());
    let last = headwater(&["token", "revoke", "first", data]);
    assert!(text(&last.stderr).starts_with("that was the last token"), "{}", text(&last.stderr));
}

#[test]
fn a_first_token_that_nobody_saw_is_said_to_be_lost() {
    let folder = tempfile::tempdir().unwrap();
    configure(folder.path(), "");
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let mut process = serving(folder.path()).stdout(full).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(process.stderr.take().unwrap()).lines().map_while(Result::ok);
    let how = lines.find(|line| line.contains("headwater token rotate first")).expect("it is said");
    let data = folder.path().join("data");
    assert!(how.contains(data.to_str().unwrap()), "{how}");
    let token = headwater(&["token", "rotate", "first", data.to_str().unwrap()]);
    process.kill().unwrap();
    process.wait().unwrap();
    assert!(text(&token.stdout).starts_with("admin_"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_is_the_owner_s_only() {
    let folder = tempfile::tempdir().unwrap();
    configure(folder.path(), "[sources.web]\nwrite_key = 'k'");
    let data = folder.path().join("data");
    let running = Running::serve(folder.path());
    assert_eq!(post(&client(), &running.url, "k").await, 200);
    let backup = folder.path().join("backup");
    let copied = headwater(&["backup", data.to_str().unwrap(), backup.to_str().unwrap()]);
    assert!(copied.status.success(), "{}", text(&copied.stderr));
    drop(running);
    let mut seen = 0;
    let mut folders = vec![data.clone(), backup];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let (path, about) = entry.map(|e| (e.path(), e.metadata().unwrap())).unwrap();
            let mode = about.permissions().mode();
            assert_eq!(mode & 0o077, 0, "{} is {mode:o}", path.display());
            seen += 1;
            if about.is_dir() {
                folders.push(path);
            }
        }
    }
    assert!(seen > 6, "{seen}");

    fs::set_permissions(&data, fs::Permissions::from_mode(0o755)).unwrap();
    let running = Running::serve(folder.path());
    let said = running.says("others on this machine can look into");
    assert!(said.ends_with(&format!("chmod -R go= '{}'", data.display())), "{said}");
}

#[test]
fn few_open_files_are_said_and_left_to_the_log() {
    let folder = tempfile::tempdir().unwrap();
    configure(folder.path(), "");
    let serving = serving(folder.path());
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 300; exec \"$0\" \"$@\"", BINARY]).args(serving.get_args());
    let running = Running::start(command, &folder.path().join("data"));
    let said = running.says("the system allows few open files");
    assert!(said.contains("LimitNOFILE") && said.contains("connections=150"), "{said}");
}

#[test]
fn small_things_are_said_well() {
    assert_eq!(
        text(&headwater(&["--version"]).stdout),
        concat!("headwater ", env!("CARGO_PKG_VERSION"))
    );
    let said = headwater(&["serve", "--listen", "localhost"]);
    assert!(text(&said.stderr).contains("expected an IP address and a port, as `127.0.0.1:8420`"));
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    let data = folder.path().join("file/data");
    let said = text(
        &headwater(&["serve", "--listen", "127.0.0.1:0", "--data", data.to_str().unwrap()]).stderr,
    );
    assert_eq!(said.matches("Not a directory").count(), 1, "{said}");
    // A database that is a folder: the cause is said once, too.
    fs::create_dir_all(folder.path().join("d/state.db")).unwrap();
    let data = folder.path().join("d");
    let said = text(
        &headwater(&["serve", "--listen", "127.0.0.1:0", "--data", data.to_str().unwrap()]).stderr,
    );
    assert_eq!(said.matches("/state.db").count(), 1, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_cannot_be_read_keeps_no_later_one_out_nor_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hw.toml");
    configure(folder.path(), "[sources.web]\nwrite_key = 'old'");
    let mut running = Running::serve(folder.path());
    fs::remove_file(&file).unwrap();
    assert!(Command::new("mkfifo").arg(&file).status().unwrap().success());
    running.hang_up();
    let said = running.says("stays in force");
    assert!(said.contains("hw.toml is no file"), "{said}");
    fs::remove_file(&file).unwrap();
    configure(folder.path(), "[sources.web]\nwrite_key = 'new'");
    running.hang_up();
    running.says("was read again");
    assert_eq!(post(&client(), &running.url, "new").await, 200);
    let pid = running.process.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    let ended = async {
        while running.process.try_wait().unwrap().is_none() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, ended).await.expect("it ends");
}
