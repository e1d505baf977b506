//! Everything that can be wrong at a start, against the real binary: exit code 1, one line that says what and where, no panic,
//! and nothing that was there is changed. Deliberately does not rely on permissions: tests may run as root.
#![allow(clippy::unwrap_used, reason = "what a test expects, it unwraps, in its functions too")]

use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
};

use headwater_collector::event_log::{EventLog, FileSystem, Options, system_clock};

const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oDC2FVsBQIhrs=";

/// Starts it in the folder, on a port that nobody else has; it is expected not to stay.
fn start(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headwater"));
    command.arg("serve").args(arguments).current_dir(folder).env("HEADWATER_LOG", "error");
    command.stdin(Stdio::null()).output().unwrap()
}

/// The one line that it ends with.
fn refusal(folder: &Path, arguments: &[&str]) -> String {
    let Output { status, stdout, stderr } = start(folder, arguments);
    let error = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(1), "{arguments:?}: {error}");
    assert_eq!(stdout, b"", "{arguments:?}: it does not say that it listens");
    assert!(error.starts_with("error: ") && error.ends_with('\n'), "{error:?}");
    assert_eq!(error.lines().count(), 1, "one line: {error}");
    let said: Vec<_> = error.trim_end().split(": ").collect();
    assert!(said.windows(2).all(|two| two[0] != two[1]), "said once: {error}");
    assert!(!error.contains("panicked") && !error.contains("RUST_BACKTRACE"), "{error}");
    error
}

#[test]
fn a_wrong_configuration_is_refused_at_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let source = "[sources.web]\nwrite_key = 'k'\n";
    let consumer = |rest: &str| format!("[consumers.crm]\nkind = 'webhook'\n{rest}");
    let cases: &[(&str, &str, &[&str])] = &[
        ("no TOML", "listen = \n", &["hw.toml:1: "]),
        ("cut short", "[sources.web", &["hw.toml:1: "]),
        ("a key twice", "data = 'a'\ndata = 'b'\n", &["hw.toml:2: ", "duplicate key"]),
        ("a table twice", &format!("{source}{source}"), &["hw.toml:3: ", "duplicate key"]),
        ("an unknown key", "lisen = '127.0.0.1:0'\n", &["hw.toml:1: ", "did you mean `listen`"]),
        (
            "an unknown table",
            "[source.web]\nwrite_key = 'k'\n",
            &["hw.toml:1: ", "did you mean `sources`"],
        ),
        ("a number for a text", "data = 7\n", &["hw.toml:1: ", "expected"]),
        ("a text for a number", &format!("{source}burst = 'many'\n"), &["hw.toml:3: ", "expected"]),
        ("a number that is too large", &format!("{source}burst = 99999999999\n"), &["hw.toml:3: "]),
        ("less than nothing", &format!("{source}events_per_second = -1\n"), &["hw.toml:3: "]),
        ("no address", "listen = '8420'\n", &["hw.toml:1: ", "address"]),
        ("a name for an address", "listen = 'localhost:8420'\n", &["hw.toml:1: ", "address"]),
        ("a port beyond all", "listen = '127.0.0.1:70000'\n", &["hw.toml:1: "]),
        ("no key", "[sources.web]\ntrust = 'server'\n", &["hw.toml:1: ", "write_key"]),
        ("an empty key", "[sources.web]\nwrite_key = ''\n", &["hw.toml:2: "]),
        (
            "another trust",
            &format!("{source}trust = 'yes'\n"),
            &["hw.toml:3: ", "`client` or `server`"],
        ),
        (
            "a name with a space",
            "[sources.'a b']\nwrite_key = 'k'\n",
            &["hw.toml:1: ", "`a b` is not a name"],
        ),
        ("another kind", "[consumers.crm]\nkind = 'pigeon'\n", &["hw.toml:2: ", "`webhook`"]),
        (
            "a path for a URL",
            &consumer(&format!("url = '/in'\nsecret = '{SECRET}'\n")),
            &["hw.toml:3: ", "URL"],
        ),
        (
            "an ftp URL",
            &consumer(&format!("url = 'ftp://h/'\nsecret = '{SECRET}'\n")),
            &["hw.toml:3: ", "http"],
        ),
        (
            "a short secret",
            &consumer("url = 'http://h/'\nsecret = 'whsec_aa=='\n"),
            &["hw.toml:4: ", "secret"],
        ),
    ];
    for (what, text, parts) in cases {
        fs::write(folder.path().join("hw.toml"), text).unwrap();
        let error = refusal(folder.path(), &["--config", "hw.toml", "--data", "d"]);
        assert!(parts.iter().all(|part| error.contains(part)), "{what}: {error}");
        assert!(!folder.path().join("d").exists(), "{what}: nothing is made for it");
    }
}

#[test]
fn a_configuration_that_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("latin1.toml"), b"data = 'caf\xe9'\n").unwrap();
    fs::create_dir(folder.path().join("folder.toml")).unwrap();
    for (name, why) in
        [("missing.toml", "No such file"), ("folder.toml", "directory"), ("latin1.toml", "UTF-8")]
    {
        let error = refusal(folder.path(), &["--config", name]);
        assert!(error.contains(name) && error.contains(why), "{error}");
    }
}

#[test]
fn an_address_that_cannot_be_had_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    // The second is of a network for documentation: no machine has it.
    for (address, why) in [(&*taken, "in use"), ("192.0.2.1:8420", "assign")] {
        let error = refusal(folder.path(), &["--listen", address, "--data", "d"]);
        assert!([address, why, "--listen"].iter().all(|part| error.contains(part)), "{error}");
        assert!(!folder.path().join("d").exists(), "nothing is made for it");
    }
    let wrong = start(folder.path(), &["--listen", "nowhere"]);
    assert_eq!(wrong.status.code(), Some(2), "called wrongly");
    assert!(String::from_utf8(wrong.stderr).unwrap().contains("--listen"));
}

#[test]
fn a_data_folder_that_is_none_is_named_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let begin = |name: &str| fs::create_dir_all(at(name)).unwrap();
    fs::write(at("file"), "mine").unwrap();
    begin("log-is-a-file");
    fs::write(at("log-is-a-file/log"), "mine").unwrap();
    begin("state-is-a-folder/state.db");
    begin("state-is-no-database");
    fs::write(
        at("state-is-no-database/state.db"),
        "not a database, but long enough to be read as one ".repeat(20),
    )
    .unwrap();
    begin("segment-is-a-folder/log/00000000000000000001-00000001.log");
    for (data, parts) in [
        ("file", ["file", "data folder"]),
        ("file/below", ["file/below", "data folder"]),
        // Nothing can be made there, by anyone.
        ("/proc/headwater", ["/proc/headwater", "data folder"]),
        ("log-is-a-file", ["log", "exists"]),
        ("state-is-a-folder", ["state database", "error"]),
        ("state-is-no-database", ["state database", "not a database"]),
        ("segment-is-a-folder", ["event log", "directory"]),
    ] {
        let error = refusal(folder.path(), &["--listen", "127.0.0.1:0", "--data", data]);
        assert!(parts.iter().all(|part| error.contains(part)), "{data}: {error}");
    }
    assert_eq!(fs::read(at("file")).unwrap(), b"mine");
    assert_eq!(fs::read(at("log-is-a-file/log")).unwrap(), b"mine");
    assert!(
        fs::read(at("state-is-no-database/state.db")).unwrap().starts_with(b"not a database, but")
    );
}

#[test]
fn a_second_server_on_a_data_folder_refuses_and_the_first_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("d/log");
    let (held, _) =
        EventLog::open(&log, Options::default(), std::sync::Arc::new(FileSystem), system_clock())
            .unwrap();
    let error = refusal(folder.path(), &["--listen", "127.0.0.1:0", "--data", "d"]);
    assert!(error.contains("d/log") && error.contains("in use by another process"), "{error}");
    assert!(held.is_healthy());
}
