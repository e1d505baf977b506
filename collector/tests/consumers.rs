//! Webhooks over real HTTP: signed, in order, resumed after a restart, and no trouble for anyone else.
#![allow(clippy::unwrap_used, reason = "what a test expects, it unwraps, in its functions too")]

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use crate::server::{Attempt, Receiver, SECRET, Server, client, ids, track};
use serde_json::Value;

fn delivered(attempts: &[Attempt]) -> Vec<Value> {
    attempts.iter().filter(|attempt| attempt.status < 300).map(Attempt::event).collect()
}

#[tokio::test]
async fn each_event_is_delivered_once_signed_and_as_it_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::start().await;
    let server = Server::start_with(folder.path(), &receiver.consumer("crm")).await;
    let all: Vec<_> = (0..50).map(|n| track(n, &format!("d{}", n % 7))).collect();
    server.batch(&all).await;
    let attempts = receiver.wait_for_delivered(all.len()).await;
    let verifier = standardwebhooks::Webhook::new(SECRET).unwrap();
    for attempt in &attempts {
        verifier.verify(&attempt.body, &attempt.headers).unwrap();
        assert_eq!(attempt.headers["content-type"], "application/json");
        let mut forged = attempt.body.to_vec();
        forged[2] ^= 1;
        verifier.verify(&forged, &attempt.headers).unwrap_err();
    }
    let mut webhooks = delivered(&attempts);
    webhooks.sort_by_key(|event| event["offset"].as_str().unwrap().parse::<u64>().unwrap());
    assert_eq!(webhooks, server.events(server.new_token.as_ref().unwrap()).await);
    server.stop().await;
}

#[tokio::test]
async fn a_destination_that_is_down_stops_nobody_else_and_then_gets_all_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let (up, down) = (Receiver::start().await, Receiver::start().await);
    down.answer_with(|_| 503);
    let toml = up.consumer("up") + &down.consumer("down");
    let server = Server::start_with(folder.path(), &toml).await;
    let all: Vec<_> = (0..200).map(|n| track(n, &format!("d{}", n % 9))).collect();
    for batch in all.chunks(20) {
        server.batch(batch).await;
    }
    up.wait_for_delivered(all.len()).await;
    let failed = down.wait_for("a few failures", |attempts| attempts.len() >= 2).await;
    assert!(delivered(&failed).is_empty());
    assert!(failed.len() < 40, "it backs off instead of hammering: {}", failed.len());

    down.answer_with(|_| 200);
    let attempts = down.wait_for_delivered(all.len()).await;
    for device in 0..9 {
        let device = format!("d{device}");
        let of = |events: &[Value]| -> Vec<_> {
            ids(&events
                .iter()
                .filter(|event| event["anonymousId"] == *device)
                .cloned()
                .collect::<Vec<_>>())
        };
        assert_eq!(of(&delivered(&attempts)), of(&all), "in order for {device}");
    }
    server.stop().await;
}

#[tokio::test]
async fn an_event_that_is_refused_is_parked_and_those_behind_it_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::start().await;
    receiver.answer_with(|event| if event["messageId"] == "poison" { 422 } else { 200 });
    let server = Server::start_with(folder.path(), &receiver.consumer("crm")).await;
    server
        .batch(&[track("1", "d"), track("poison", "d"), track("2", "d"), track("3", "other")])
        .await;
    let attempts = receiver.wait_for_delivered(3).await;
    let tries: Vec<_> = attempts.iter().filter(|attempt| attempt.status == 422).collect();
    assert_eq!(tries.len(), 3);
    assert!(
        tries.iter().all(|attempt| attempt.id() == tries[0].id()),
        "the id is the same at every attempt"
    );
    let order: Vec<_> =
        delivered(&attempts).into_iter().filter(|e| e["anonymousId"] == "d").collect();
    assert_eq!(ids(&order), ["1", "2"]);
    let metrics = client().get(server.at("/metrics")).send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("headwater_parked_events{consumer=\"crm\"} 1"), "{metrics}");
    server.stop().await;

    let state = headwater_collector::state::State::open(&folder.path().join("state.db")).unwrap();
    let parked = state.parked(&"crm".to_owned().try_into().unwrap()).unwrap();
    assert_eq!((parked.len(), &*parked[0].message_id), (1, "poison"));
    assert_eq!(parked[0].reason, "422 Unprocessable Entity: said no");
}

#[tokio::test]
async fn a_restart_goes_on_from_the_cursor_and_a_new_consumer_from_the_beginning() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (Receiver::start().await, Receiver::start().await);
    let server = Server::start_with(folder.path(), &old.consumer("old")).await;
    server.batch(&[track("1", "d"), track("2", "d")]).await;
    old.wait_for_delivered(2).await;
    let key = server.key.clone();
    server.stop().await;

    let toml = old.consumer("old") + &new.consumer("new");
    let server = Server::start_with(folder.path(), &toml).await;
    assert_eq!((server.new_token.as_ref(), &server.key), (None, &key), "keys are made once");
    server.batch(&[track("2", "d"), track("3", "d")]).await;
    assert_eq!(ids(&delivered(&new.wait_for_delivered(3).await)), ["1", "2", "3"]);
    assert_eq!(ids(&delivered(&old.wait_for_delivered(3).await)), ["1", "2", "3"], "nothing twice");
    server.stop().await;
}

#[tokio::test]
async fn a_consumer_gets_what_it_wants() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::start().await;
    let toml = receiver.consumer("crm") + "events = ['Paid', 'identify']\n";
    let server = Server::start_with(folder.path(), &toml).await;
    let mut paid = track("paid", "d");
    paid["event"] = "Paid".into();
    let identify = serde_json::json!({"type": "identify", "messageId": "who", "userId": "u"});
    server.batch(&[track("other", "d"), paid, track("more", "d"), identify]).await;
    let mut got = ids(&delivered(&receiver.wait_for_delivered(2).await));
    got.sort();
    assert_eq!(got, ["paid", "who"]);
    server.stop().await;
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::start().await;
    let answered = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&answered);
    receiver
        .answer_with(move |_| if count.fetch_add(1, Ordering::Relaxed) < 2 { 307 } else { 200 });
    let server = Server::start_with(folder.path(), &receiver.consumer("crm")).await;
    server.batch(&[track("1", "d")]).await;
    let attempts = receiver.wait_for_delivered(1).await;
    assert_eq!(attempts.iter().map(|attempt| attempt.status).collect::<Vec<_>>(), [307, 307, 200]);
    server.stop().await;
}

#[tokio::test]
async fn what_was_not_delivered_when_the_server_stopped_is_delivered_after_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::start().await;
    // One device's first event finds the destination down; what another device sent before it is delivered.
    receiver.answer_with(|event| if event["anonymousId"] == "stuck" { 503 } else { 200 });
    let server = Server::start_with(folder.path(), &receiver.consumer("crm")).await;
    server.batch(&[track("1", "other"), track("2", "stuck"), track("3", "other")]).await;
    receiver
        .wait_for("the stuck event was tried", |attempts| attempts.iter().any(|a| a.status == 503))
        .await;
    server.stop().await;

    receiver.answer_with(|_| 200);
    let server = Server::start_with(folder.path(), &receiver.consumer("crm")).await;
    receiver
        .wait_for("each was delivered", |attempts| {
            let delivered = ids(&delivered(attempts));
            ["1", "2", "3"].iter().all(|id| delivered.contains(&(*id).to_owned()))
        })
        .await;
    server.stop().await;
}

/// Many commits of one event that the filter does not let through, and one that it does.
#[tokio::test]
async fn a_filter_that_lets_little_through_keeps_up_with_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::start().await;
    let toml = receiver.consumer("paid") + "events = ['Paid']\n";
    let server = Server::start_with(folder.path(), &toml).await;
    for n in 0..400 {
        server.batch(&[track(n, "d")]).await;
    }
    let mut paid = track("paid", "d");
    paid["event"] = "Paid".into();
    let sent = std::time::Instant::now();
    server.batch(&[paid]).await;
    let attempts = receiver.wait_for_delivered(1).await;
    assert_eq!(ids(&delivered(&attempts)), ["paid"]);
    // At one read for each pause of the cursor it took forty seconds.
    assert!(sent.elapsed() < std::time::Duration::from_secs(10), "{:?}", sent.elapsed());
    server.stop().await;
}
