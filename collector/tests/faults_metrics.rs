//! What the metrics say while something is wrong, and once it is right again: alerts depend on it.
//! That each of them is there and documented is a matter of `examples/operations`.
#![allow(clippy::unwrap_used, reason = "what a test expects, it unwraps, in its functions too")]

use crate::stored;
use std::{sync::Arc, time::Duration};

use crate::server::{PATIENCE, Receiver, Server, client, track};
use headwater_collector::event_log::{FileSystem, testing::FaultyDisk};

/// A sample by its name and labels, as they are printed.
async fn sample(server: &Server, name: &str) -> Option<f64> {
    let page = client().get(server.at("/metrics")).send().await.unwrap().text().await.unwrap();
    let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.map(|value| value.parse().unwrap())
}

async fn until(server: &Server, name: &str, so: impl Fn(f64) -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !sample(server, name).await.is_some_and(&so) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("waited in vain for {name}"));
}

#[tokio::test]
async fn a_disk_that_refuses_shows_and_so_does_its_return() {
    let folder = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::over(Arc::new(FileSystem));
    let faults = Arc::clone(&disk.faults);
    let server = Server::start_on(folder.path(), "", Arc::new(disk)).await;
    assert_eq!(sample(&server, "headwater_log_oldest_event_timestamp_seconds").await, None);
    server.batch(&[track("1", "d")]).await;
    assert_eq!(sample(&server, "headwater_log_writable").await, Some(1.0));
    faults.fail_syncs(true);
    assert_eq!(server.try_batch(&[track("2", "d")]).await.0, 503);
    assert_eq!(sample(&server, "headwater_log_writable").await, Some(0.0));
    assert!(sample(&server, "headwater_log_failures_total").await.unwrap() >= 1.0);
    let refused = "headwater_requests_total{route=\"batch\",status=\"503\"}";
    assert_eq!(sample(&server, refused).await, Some(1.0));
    faults.fail_syncs(false);
    until(&server, "headwater_log_writable", |writable| writable == 1.0).await;
    server.stop().await;
}

#[tokio::test]
async fn a_consumer_that_is_behind_shows_in_events_and_in_seconds() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::start().await;
    receiver.answer_with(|_| 503);
    let server = Server::start_with(folder.path(), &receiver.consumer("crm")).await;
    server.batch(&[track("1", "d"), track("2", "d"), track("3", "d")]).await;
    let (events, seconds) = (
        "headwater_consumer_lag_events{consumer=\"crm\"}",
        "headwater_consumer_lag_seconds{consumer=\"crm\"}",
    );
    until(&server, seconds, |age| age > 0.0).await;
    assert_eq!(sample(&server, events).await, Some(3.0));
    until(&server, "headwater_deliveries_total{consumer=\"crm\",result=\"unavailable\"}", |n| {
        n > 0.0
    })
    .await;
    receiver.answer_with(|_| 204);
    until(&server, events, |lag| lag == 0.0).await;
    assert_eq!(sample(&server, seconds).await, Some(0.0));
    server.stop().await;
}

#[tokio::test]
async fn every_stage_of_the_write_path_is_measured_once_a_request() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    for n in 0..5 {
        server.batch(&[track(n, "d")]).await;
    }
    for stage in [
        "request_duration_seconds",
        "decode_duration_seconds",
        "append_duration_seconds",
        "inbox_wait_seconds",
        "log_sync_seconds",
    ] {
        let count = sample(&server, &format!("headwater_{stage}_count")).await;
        assert_eq!(count, Some(5.0), "{stage}: one at a time, nothing shares a commit");
        let all = sample(&server, &format!("headwater_{stage}_bucket{{le=\"+Inf\"}}")).await;
        assert_eq!(all, count, "{stage}");
        assert!(sample(&server, &format!("headwater_{stage}_sum")).await.unwrap() > 0.0, "{stage}");
    }
    let free = sample(&server, "headwater_disk_free_bytes").await.unwrap();
    assert!(free > 0.0 && free <= sample(&server, "headwater_disk_size_bytes").await.unwrap());
    server.stop().await;
}

#[tokio::test]
async fn damage_shows_once_whether_the_start_finds_it_or_a_reader() {
    let folder = tempfile::tempdir().unwrap();
    stored::fill(folder.path(), 100).await;
    let flip = |segment: usize, at: fn(&[u8]) -> usize| {
        let file = stored::segments(folder.path())[segment].clone();
        let mut bytes = std::fs::read(&file).unwrap();
        let at = at(&bytes);
        bytes[at] ^= 1;
        std::fs::write(&file, bytes).unwrap();
    };
    let (ranges, events) = ("headwater_log_damaged_ranges", "headwater_log_damaged_events");
    // The start reads no bodies of sealed segments.
    flip(1, |bytes| bytes.windows(11).rposition(|window| window == b"\"messageId\"").unwrap());
    let server = Server::start(folder.path()).await;
    let token = server.new_token.clone().unwrap();
    // People are folded from the log at once: theirs is the first reader that meets it.
    until(&server, events, |count| count == 1.0).await;
    for _ in 0..2 {
        let read = client().get(server.at("/v1/events")).bearer_auth(&token).send().await.unwrap();
        read.text().await.unwrap();
        assert_eq!(sample(&server, events).await, Some(1.0), "met by a reader, counted once");
        assert_eq!(sample(&server, ranges).await, Some(1.0));
    }
    server.stop().await;

    // Headers it does read.
    flip(0, |_| 64 + 3);
    let server = Server::start(folder.path()).await;
    assert_eq!(sample(&server, events).await, Some(1.0), "found by the start");
    server.stop().await;
}
