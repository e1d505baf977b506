//! The file sink on a real disk: whole lines, synced, in files that close by size and age, also when the disk is full.
#![allow(clippy::unwrap_used, reason = "what a test expects, it unwraps, in its functions too")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use crate::server::{self, PATIENCE, Server, track};
use headwater_collector::{
    config::Config,
    sinks::{AnySink, Parcel, Sink as _, SinkError, Verdict},
};
use serde_json::Value;

fn open(path: &Path, more: &str) -> Result<AnySink, SinkError> {
    let text = format!("[consumers.x]\nkind = 'file'\npath = {path:?}\n{more}");
    let config = Config::parse(&text, Path::new("test.toml")).unwrap();
    AnySink::open(config.consumers.into_values().next().unwrap().sink.unwrap())
}

fn parcel(n: usize, bytes: usize) -> Parcel {
    let line = format!("{{\"n\":{n},\"filler\":\"{}\"}}", "x".repeat(bytes));
    Parcel { id: format!("msg_{n}"), order_key: "a".into(), line: line.into() }
}

/// The folder's files but its lock, in the order of their names.
fn files(path: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(path).unwrap().map(|file| file.unwrap().path()).collect();
    files.retain(|file| file.file_name().unwrap() != "lock");
    files.sort();
    files
}

/// All lines, each of which must be whole.
fn lines(path: &Path) -> Vec<Value> {
    let texts = files(path).into_iter().map(|file| fs::read_to_string(file).unwrap());
    let all: String =
        texts.inspect(|text| assert!(text.is_empty() || text.ends_with('\n'))).collect();
    all.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn numbers(path: &Path) -> Vec<u64> {
    lines(path).iter().map(|line| line["n"].as_u64().unwrap()).collect()
}

async fn wait_until(what: &str, fulfilled: impl Fn() -> bool) {
    let start = Instant::now();
    while !fulfilled() {
        assert!(start.elapsed() < PATIENCE, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn the_collector_writes_each_event_as_it_is_stored_for_its_owner_only() {
    let (data, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let out = out.path().join("made/by/the/sink");
    let toml = format!("[consumers.archive]\nkind = 'file'\npath = {out:?}\n");
    let server = Server::start_with(data.path(), &toml).await;
    let all: Vec<_> = (0..200).map(|n| track(n, &format!("d{}", n % 7))).collect();
    server.batch(&all).await;
    wait_until("all lines", || lines(&out).len() == all.len()).await;
    assert!(files(&out)[0].to_str().unwrap().ends_with("Z.ndjson.part"), "still being written");
    let mut written = lines(&out);
    written.sort_by_key(|event| event["offset"].as_str().unwrap().parse::<u64>().unwrap());
    assert_eq!(written, server.events(server.new_token.as_ref().unwrap()).await);
    server.stop().await;
    let closed = files(&out);
    assert!(closed.len() == 1 && closed[0].to_str().unwrap().ends_with("Z.ndjson"), "{closed:?}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&closed[0]), mode(&out)), (0o600, 0o700));
    }
}

#[tokio::test]
async fn a_file_closes_when_it_is_full_and_names_sort_by_time() {
    let out = tempfile::tempdir().unwrap();
    let sink = open(out.path(), "max_bytes = 10000").unwrap();
    for n in 0..100 {
        assert_eq!(sink.deliver(&[parcel(n, 1000)]).await, Verdict::Delivered);
    }
    let many: Vec<_> = (100..1100).map(|n| parcel(n, 10)).collect();
    assert_eq!((sink.most_at_once(), sink.deliver(&many).await), (1000, Verdict::Delivered));
    assert_eq!(numbers(out.path()), (0..1100).collect::<Vec<_>>());
    let files = files(out.path());
    assert_eq!(files.len(), 11, "ten lines in each, and one with many");
    assert!(files[..10].iter().all(|file| file.to_str().unwrap().ends_with(".ndjson")));
    assert!(files[..10].iter().all(|file| fs::metadata(file).unwrap().len() < 12_000));
}

#[tokio::test]
async fn a_file_closes_when_it_is_old_though_nothing_more_comes() {
    let out = tempfile::tempdir().unwrap();
    let sink = open(out.path(), "max_age_seconds = 1").unwrap();
    assert_eq!(sink.deliver(&[parcel(0, 1)]).await, Verdict::Delivered);
    assert!(files(out.path())[0].to_str().unwrap().ends_with(".part"));
    wait_until("the file to close", || files(out.path())[0].extension().unwrap() == "ndjson").await;
    assert_eq!(sink.deliver(&[parcel(1, 1)]).await, Verdict::Delivered);
    assert_eq!(files(out.path()).len(), 2);
    assert_eq!(numbers(out.path()), [0, 1]);
}

#[tokio::test]
async fn closed_files_are_compressed_if_that_is_wanted() {
    let out = tempfile::tempdir().unwrap();
    let sink = open(out.path(), "max_bytes = 10000\ncompress = true").unwrap();
    for n in 0..25 {
        assert_eq!(sink.deliver(&[parcel(n, 1000)]).await, Verdict::Delivered);
    }
    drop(sink);
    let mut all = String::new();
    for file in files(out.path()) {
        assert!(file.to_str().unwrap().ends_with("Z.ndjson.zst"), "{file:?}");
        let compressed = fs::read(file).unwrap();
        assert!(compressed.len() < 1000);
        all += std::str::from_utf8(&zstd::decode_all(&*compressed).unwrap()).unwrap();
    }
    let numbers = all.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["n"].clone());
    assert_eq!(numbers.collect::<Vec<_>>(), (0..25).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_folder_belongs_to_one_sink() {
    let out = tempfile::tempdir().unwrap();
    let first = open(out.path(), "").unwrap();
    let error = open(out.path(), "").unwrap_err().to_string();
    assert!(error.contains("is being written by another consumer"), "{error}");
    drop(first);
    open(out.path(), "").unwrap();
    let file = out.path().join("lock");
    assert!(open(&file, "").unwrap_err().to_string().contains("cannot be used"));
}

#[tokio::test]
async fn a_file_or_folder_that_is_taken_away_is_noticed() {
    let out = tempfile::tempdir().unwrap();
    let folder = out.path().join("out");
    let sink = open(&folder, "").unwrap();
    assert_eq!(sink.deliver(&[parcel(0, 1)]).await, Verdict::Delivered);
    fs::remove_file(&files(&folder)[0]).unwrap();
    assert_eq!(sink.deliver(&[parcel(1, 1)]).await, Verdict::Delivered);
    assert_eq!(numbers(&folder), [1], "not into a file that has no name any more");

    fs::rename(&folder, out.path().join("away")).unwrap();
    assert_eq!(sink.deliver(&[parcel(2, 1)]).await, Verdict::Delivered);
    assert_eq!((numbers(&out.path().join("away")), numbers(&folder)), (vec![1], vec![2]));
    fs::remove_dir_all(&folder).unwrap();
    assert_eq!(sink.deliver(&[parcel(3, 1)]).await, Verdict::Delivered);
    assert_eq!(numbers(&folder), [3]);
    assert!(open(&folder, "").unwrap_err().to_string().contains("being written"), "it is ours");

    // By someone else meanwhile.
    fs::remove_dir_all(&folder).unwrap();
    let other = open(&folder, "").unwrap();
    let verdict = sink.deliver(&[parcel(4, 1)]).await;
    let Verdict::Unavailable { reason, .. } = verdict else { panic!("{verdict:?}") };
    assert!(reason.contains("is being written by another"), "{reason}");
    drop(other);
    assert_eq!(sink.deliver(&[parcel(4, 1)]).await, Verdict::Delivered);
    assert_eq!(numbers(&folder), [4]);
}

#[tokio::test]
async fn what_the_folder_stands_in_is_waited_for() {
    let out = tempfile::tempdir().unwrap();
    let disk = out.path().join("disk");
    let folder = disk.join("out");
    let sink = open(&folder, "").unwrap();
    assert_eq!(sink.deliver(&[parcel(0, 1)]).await, Verdict::Delivered);
    fs::rename(&disk, out.path().join("unmounted")).unwrap();
    let verdict = sink.deliver(&[parcel(1, 1)]).await;
    let Verdict::Unavailable { reason, .. } = verdict else { panic!("{verdict:?}") };
    assert!(reason.contains("out: No such file"), "{reason}");
    assert!(!disk.exists());
    fs::rename(out.path().join("unmounted"), &disk).unwrap();
    assert_eq!(sink.deliver(&[parcel(1, 1)]).await, Verdict::Delivered);
    assert_eq!(numbers(&folder), [0, 1]);
}

/// Nothing that is delivered while its folder comes and goes is missing from all that ever was there.
/// Before the first event comes, which may be days.
#[tokio::test]
async fn a_destination_that_cannot_be_used_says_so_from_the_start_and_when_it_can() {
    let folder = tempfile::tempdir().unwrap();
    let mount = folder.path().join("mount");
    std::fs::write(&mount, "not a folder").unwrap();
    let path = mount.join("lines");
    let toml = format!("[consumers.archive]\nkind = 'file'\npath = {path:?}\nretry = ['5ms']\n");
    let server = Server::start_with(&folder.path().join("data"), &toml).await;
    let token = server.new_token.clone().unwrap();
    let until = async |state: &str| {
        let waited = tokio::time::timeout(server::PATIENCE, async {
            loop {
                let get = server::client().get(server.at("/v1/consumers/archive"));
                let shown = server::json(get.bearer_auth(&token).send().await.unwrap()).await;
                if shown["state"] == state {
                    return shown;
                }
            }
        });
        waited.await.unwrap_or_else(|_| panic!("waited in vain for {state}"))
    };
    let shown = until("backing_off").await;
    let reason = shown["reason"].as_str().unwrap();
    assert!(reason.contains("mount/lines") && reason.contains("cannot be used"), "{reason}");
    std::fs::remove_file(&mount).unwrap();
    until("drained").await;
    assert!(path.is_dir());
    server.stop().await;
}

#[tokio::test]
async fn a_folder_that_is_taken_away_under_load_costs_nothing() {
    let (data, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let folder = out.path().join("out");
    let toml = format!("[consumers.archive]\nkind = 'file'\npath = {folder:?}\nretry = ['5ms']\n");
    let server = Server::start_with(data.path(), &toml).await;
    let mut taken = Vec::new();
    for round in 0..20 {
        server.batch(&[track(format!("{round}-a"), "d"), track(format!("{round}-b"), "e")]).await;
        wait_until("the folder", || folder.exists()).await;
        taken.push(out.path().join(format!("taken-{round}")));
        fs::rename(&folder, &taken[round]).unwrap();
    }
    server.batch(&[track("last", "d")]).await;
    let written = || -> Vec<String> {
        let folders = taken.iter().chain([&folder]).filter(|folder| folder.exists());
        let all = folders.flat_map(|folder| lines(folder));
        let mut ids: Vec<_> =
            all.map(|event| event["messageId"].as_str().unwrap().to_owned()).collect();
        ids.sort();
        ids.dedup();
        ids
    };
    wait_until("all lines", || written().len() == 41).await;
    server.stop().await;
}

/// In a process of its own, whose files cannot grow beyond 100,000 bytes: then a write takes a part, and the next one fails.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_tears_no_line_and_is_survived() {
    const IN_CHILD: &str = "HEADWATER_TEST_FULL_DISK";
    if let Some(folder) = std::env::var_os(IN_CHILD) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        return runtime.block_on(fill(Path::new(&folder)));
    }
    let out = tempfile::tempdir().unwrap();
    let child = Command::new("env")
        .args(["--ignore-signal=XFSZ", "prlimit", "--fsize=100000:unlimited"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "sinks_file::a_full_disk_tears_no_line_and_is_survived", "--nocapture"])
        .env(IN_CHILD, out.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && said.contains("1 passed"), "{child:?}");
    assert_eq!(numbers(out.path()), (0..60).collect::<Vec<_>>());
}

#[cfg(target_os = "linux")]
async fn fill(folder: &Path) {
    let sink = open(folder, "").unwrap();
    let (mut delivered, mut was_full) = (0, false);
    let parcels: Vec<_> = (0..60).map(|n| parcel(n, 3000)).collect();
    for chunk in parcels.chunks(7) {
        match sink.deliver(chunk).await {
            Verdict::Delivered => delivered += chunk.len(),
            Verdict::Unavailable { reason, .. } => {
                assert!(reason.contains("File too large"), "{reason}");
                was_full = true;
                // Again and again: what failed is no obstacle, and no half line is left of it.
                for _ in 0..3 {
                    assert_eq!(lines(folder).len(), delivered);
                    assert_eq!(sink.deliver(chunk).await.as_str(), "unavailable");
                }
                let pid = std::process::id().to_string();
                let room = ["--pid", &pid, "--fsize=unlimited"];
                assert!(Command::new("prlimit").args(room).status().unwrap().success());
                assert_eq!(sink.deliver(chunk).await, Verdict::Delivered);
                delivered += chunk.len();
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(was_full && delivered == 60);
    let whole: Vec<_> = lines(folder).iter().map(|line| line["n"].as_u64().unwrap()).collect();
    assert_eq!(whole, (0..60).collect::<Vec<_>>());
}
