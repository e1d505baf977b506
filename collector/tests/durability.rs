//! What a 200 means: a slow disk delays it, a broken one denies it, and a drain or a kill keeps it.
#![allow(clippy::unwrap_used, reason = "what a test expects, it unwraps, in its functions too")]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::server::{self, Receiver, Server, client, ids, track};
use headwater_collector::event_log::{FileSystem, testing::FaultyDisk};
use serde_json::json;

fn faulty() -> (Arc<FaultyDisk>, Arc<headwater_collector::event_log::testing::Faults>) {
    let disk = FaultyDisk::over(Arc::new(FileSystem));
    let faults = Arc::clone(&disk.faults);
    (Arc::new(disk), faults)
}

#[tokio::test]
async fn no_answer_comes_before_the_disk_has_the_events() {
    let folder = tempfile::tempdir().unwrap();
    let (disk, faults) = faulty();
    let server = Server::start_on(folder.path(), "", disk).await;
    let slow = Duration::from_millis(200);
    faults.delay_syncs(slow);
    for n in 0..3 {
        let started = Instant::now();
        server.batch(&[track(n, "d")]).await;
        assert!(started.elapsed() >= slow, "{:?}", started.elapsed());
    }
    faults.delay_syncs(Duration::ZERO);
    server.stop().await;
}

#[tokio::test]
async fn what_the_disk_refuses_is_denied_and_seen_by_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let (disk, faults) = faulty();
    let receiver = Receiver::start().await;
    let server = Server::start_on(folder.path(), &receiver.consumer("crm"), disk).await;
    let token = server.new_token.clone().unwrap();
    server.batch(&[track("before", "d")]).await;

    faults.fail_syncs(true);
    let post = client().post(server.at("/v1/batch")).basic_auth(&server.key, Some(""));
    let answer =
        post.body(json!({"batch": [track("lost?", "d")]}).to_string()).send().await.unwrap();
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().contains_key("retry-after"));
    let error = server::json(answer).await;
    assert_eq!(error["error"]["code"], "storage_failed");
    assert!(error["error"]["retry_after_ms"].as_u64().unwrap() > 0);
    assert_eq!(client().get(server.at("/readyz")).send().await.unwrap().status(), 503);
    assert_eq!(client().get(server.at("/healthz")).send().await.unwrap().status(), 200);
    assert_eq!(ids(&server.events(&token).await), ["before"]);

    faults.fail_syncs(false);
    // The log mends itself in its own time; a client does what clients do.
    let retried = tokio::time::timeout(server::PATIENCE, async {
        while server.try_batch(&[track("lost?", "d"), track("after", "d")]).await.0 != 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    retried.await.expect("the log comes back when the disk does");
    assert_eq!(client().get(server.at("/readyz")).send().await.unwrap().status(), 200);
    assert_eq!(ids(&server.events(&token).await), ["before", "lost?", "after"]);
    let webhooks: Vec<_> = receiver.wait_for_delivered(3).await.iter().map(|a| a.event()).collect();
    assert_eq!(ids(&webhooks), ["before", "lost?", "after"]);
    server.stop().await;
}

#[tokio::test]
async fn a_drain_finishes_what_has_begun() {
    let folder = tempfile::tempdir().unwrap();
    let (disk, faults) = faulty();
    let server = Server::start_on(folder.path(), "", disk).await;
    let token = server.new_token.clone().unwrap();
    faults.delay_syncs(Duration::from_millis(300));
    let (url, key) = (server.at("/v1/batch"), server.key.clone());
    let syncs = faults.syncs();
    let request = tokio::spawn(async move {
        let post = client().post(url).basic_auth(key, Some(""));
        post.body(json!({"batch": [track("in flight", "d")]}).to_string())
            .send()
            .await
            .unwrap()
            .status()
    });
    // The server is at work on it once the disk is asked to sync.
    tokio::time::timeout(server::PATIENCE, async {
        while faults.syncs() == syncs {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the request reaches the disk");
    let address = server.url.clone();
    let ended = server.begin_to_stop();
    assert_eq!(request.await.unwrap(), 200);
    ended.await.unwrap();
    client().get(address).send().await.expect_err("nobody listens any more");

    faults.delay_syncs(Duration::ZERO);
    let server = Server::start(folder.path()).await;
    assert_eq!(ids(&server.events(&token).await), ["in flight"]);
    server.stop().await;
}

#[tokio::test]
async fn ids_are_remembered_across_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let token = server.new_token.clone().unwrap();
    server.batch(&[track("1", "d")]).await;
    server.stop().await;
    let server = Server::start(folder.path()).await;
    assert_eq!(server.batch(&[track("1", "d")]).await["duplicate"], 1);
    assert_eq!(server.events(&token).await.len(), 1);
    server.stop().await;
}
