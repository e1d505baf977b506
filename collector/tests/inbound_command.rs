//! Inbound webhooks as an operator meets them: what is wrong with a mapping is said by `check` and by the start, with its place,
//! and nothing that is secret or was sent shows up in the server's log.
#![allow(clippy::unwrap_used, reason = "what a test expects, it unwraps, in its functions too")]

use std::{
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
    process::{Child, Command, Stdio},
    time::{SystemTime, UNIX_EPOCH},
};

const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oDC2FVsBQIhrs=";

fn headwater(folder: &Path, command: &str) -> Command {
    let mut process = Command::new(env!("CARGO_BIN_EXE_headwater"));
    process.current_dir(folder).arg(command).args(["--config", "hw.toml", "--data", "data"]);
    process.stdin(Stdio::null());
    process
}

fn configure(folder: &Path, mapping: &str) {
    let text = format!(
        "# one\n[inbound.shop]\nkind = 'generic'\nsecret = '{SECRET}'\nmap = 'shop.toml'\n"
    );
    std::fs::write(folder.join("hw.toml"), text).unwrap();
    std::fs::write(folder.join("shop.toml"), mapping).unwrap();
}

#[test]
fn a_mapping_that_is_wrong_is_named_by_check_and_by_the_start() {
    let folder = tempfile::tempdir().unwrap();
    for (mapping, said) in [
        (
            "[[event]]\nevent = 'A'\nuser_id = 'bdy.u'",
            "shop.toml:3: `user_id`: the variable `bdy` is not known; did you mean `body`? There is `body`, `headers`",
        ),
        (
            "[[event]]\nevent = 'A'\nuser_id = 'body.u'\non = 'body.a.exists(x, x.b.exists(y, y))'",
            "shop.toml:4: `on`: a macro (map, filter, all, exists) within another",
        ),
        (
            "[[event]]\nevnt = 'A'\n",
            "shop.toml:2: unknown key `evnt`; did you mean `event`? Expected one of",
        ),
        ("[[event]", "shop.toml:1: "),
    ] {
        configure(folder.path(), mapping);
        let checked = headwater(folder.path(), "check").output().unwrap();
        let error = String::from_utf8(checked.stderr).unwrap();
        assert_eq!(checked.status.code(), Some(1));
        assert!(error.starts_with(&format!("error: hw.toml:5: inbound `shop`: {said}")), "{error}");
        let started =
            headwater(folder.path(), "serve").args(["--listen", "127.0.0.1:0"]).output().unwrap();
        let error = String::from_utf8(started.stderr).unwrap();
        assert_eq!(started.status.code(), Some(1));
        assert!(error.contains(&format!("error: inbound `shop`: {said}")), "{error}");
        assert!(!error.contains("panicked"), "{error}");
    }
    std::fs::remove_file(folder.path().join("shop.toml")).unwrap();
    let checked = headwater(folder.path(), "check").output().unwrap();
    let error = String::from_utf8(checked.stderr).unwrap();
    assert!(
        error.starts_with("error: hw.toml:5: inbound `shop`: cannot read the mapping shop.toml"),
        "{error}"
    );
}

/// Killed if the test ends before it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[tokio::test]
async fn no_secret_and_nothing_that_was_sent_is_logged() {
    let folder = tempfile::tempdir().unwrap();
    configure(folder.path(), "[[event]]\nevent = 'A'\nuser_id = 'body.u'\ntimestamp = 'body.at'\n");
    let mut command = headwater(folder.path(), "serve");
    command.args(["--listen", "127.0.0.1:0"]).env("HEADWATER_LOG", "trace");
    let process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut running = Running(process);
    let mut said = BufReader::new(running.0.stdout.take().unwrap()).lines();
    let mut log = running.0.stderr.take().unwrap();
    // A full pipe would stop the server.
    let log = std::thread::spawn(move || {
        let mut text = String::new();
        log.read_to_string(&mut text).map(|_| text)
    });
    let url = said.next().unwrap().unwrap();
    let url = format!("{}/v1/in/shop", url.strip_prefix("headwater listens on ").unwrap());
    drop(rustls::crypto::ring::default_provider().install_default());
    let http = reqwest::Client::new();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let signer = standardwebhooks::Webhook::new(SECRET).unwrap();
    for (body, tamper, status) in [
        (r#"{"u": "pat@example.com", "at": 1790000000}"#, false, 200),
        (r#"{"u": "pat@example.com", "at": 1790000000}"#, true, 401),
        (r#"{"u": "pat@example.com", "at": "sam@example.com"}"#, false, 422),
        (r#"{"u": ["pat@example.com"], "at": 1790000000}"#, false, 422),
    ] {
        let signature = signer.sign("msg", i64::try_from(now).unwrap(), body.as_bytes()).unwrap();
        let body = if tamper { body.replace(' ', "") } else { body.to_owned() };
        let request = http.post(&url).header("webhook-id", "msg").body(body);
        let request = request.header("webhook-timestamp", now.to_string());
        let answer = request.header("webhook-signature", &signature).send().await.unwrap();
        assert_eq!(answer.status(), status);
        let text = answer.text().await.unwrap();
        assert!(!text.contains("example.com") && !text.contains(&signature[3..]), "{text}");
    }
    running.0.kill().unwrap();
    let log = log.join().unwrap().unwrap();
    assert!(log.contains("shop.toml:4: `timestamp`: is no time"), "{log}");
    assert!(log.contains("shop.toml:3: `user_id`: expected a text, found list"), "{log}");
    for hidden in ["example.com", "C2FVsBQIhrscChlQIMV", "v1,"] {
        assert!(!log.contains(hidden), "{hidden}: {log}");
    }
}
