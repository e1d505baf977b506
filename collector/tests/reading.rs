//! Reading the log over real HTTP: the token, paging, and a live stream that can be taken up again.
#![allow(clippy::unwrap_used, reason = "what a test expects, it unwraps, in its functions too")]

use crate::server::{self, PATIENCE, Server, client, ids, json as read_json, track};
use serde_json::json;
use tokio::time::timeout;

#[tokio::test]
async fn reading_needs_the_admin_token() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    for path in ["/v1/events", "/v1/live"] {
        let without = client().get(server.at(path));
        let with_key = client().get(server.at(path)).bearer_auth(&server.key);
        let basic =
            client().get(server.at(path)).basic_auth(server.new_token.as_ref().unwrap(), Some(""));
        for request in [without, with_key, basic] {
            let answer = request.send().await.unwrap();
            assert_eq!(
                (answer.status().as_u16(), &answer.headers()["www-authenticate"]),
                (401, &"Bearer".parse().unwrap())
            );
            assert_eq!(read_json(answer).await["error"]["code"], "admin_token_needed");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn pages_follow_each_other_and_end_where_the_log_ends() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let token = server.new_token.clone().unwrap();
    assert!(server.events(&token).await.is_empty());
    let all: Vec<_> = (0..700).map(|n| track(n, "d")).collect();
    for batch in all.chunks(90) {
        server.batch(batch).await;
    }
    assert_eq!(ids(&server.events(&token).await), ids(&all));

    let (mut after, mut read) = (String::new(), Vec::new());
    loop {
        let page = server.events_at(&token, &format!("/v1/events?limit=150{after}")).await;
        let Some(last) = page.last() else { break };
        after = format!("&after={}", last["offset"].as_str().unwrap());
        assert!(page.len() <= 150);
        read.extend(ids(&page));
    }
    assert_eq!(read, ids(&all));
    assert!(server.events_at(&token, "/v1/events?limit=0").await.is_empty());
    let wrong =
        ["after=x", "after=-1", "limit=many", "limit=-1", "limit=1&limit=2", "limits=1", "after="];
    let events = wrong.map(|wrong| format!("/v1/events?{wrong}"));
    let live = ["after=x", "after=1&after=2", "limit=1"].map(|wrong| format!("/v1/live?{wrong}"));
    for wrong in events.iter().chain(&live) {
        let answer = client().get(server.at(wrong)).bearer_auth(&token).send().await.unwrap();
        assert_eq!(answer.status(), 400, "{wrong}");
        let said = server::json(answer).await;
        assert_eq!(said["error"]["code"], "invalid_parameter", "{wrong}");
    }
    server.stop().await;
}

/// Reads a live stream until it has shown this many events; returns their ids and the last offset.
async fn live(
    server: &Server,
    path: &str,
    last_seen: Option<&str>,
    count: usize,
    then: impl AsyncFnOnce(),
) -> (Vec<String>, String) {
    let mut request = client().get(server.at(path)).bearer_auth(server.new_token.as_ref().unwrap());
    if let Some(id) = last_seen {
        request = request.header("last-event-id", id);
    }
    let mut stream = request.send().await.unwrap();
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    let mut text = String::new();
    let mut then = Some(then);
    while text.matches("\ndata: ").count() < count || !text.ends_with("\n\n") {
        let piece = timeout(PATIENCE, stream.chunk()).await.unwrap().unwrap().unwrap();
        text.push_str(std::str::from_utf8(&piece).unwrap());
        if let Some(then) = then.take() {
            then().await;
        }
    }
    let last = text.lines().filter_map(|line| line.strip_prefix("id: ")).next_back().unwrap();
    let events = text.lines().filter_map(|line| line.strip_prefix("data: "));
    let events: Vec<_> = events.map(|event| serde_json::from_str(event).unwrap()).collect();
    (ids(&events), last.to_owned())
}

#[tokio::test]
async fn a_live_stream_shows_what_comes_and_is_taken_up_where_it_broke() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    server.batch(&[track("before", "d")]).await;
    let send = async || drop(server.batch(&[track("1", "d"), track("2", "d")]).await);
    let (seen, last) = live(&server, "/v1/live", None, 2, send).await;
    assert_eq!(seen, ["1", "2"], "from now on");
    server.batch(&[track("3", "d")]).await;
    let (seen, _) = live(&server, "/v1/live?after=0", Some(&last), 1, async || ()).await;
    assert_eq!(seen, ["3"], "what was seen last counts");
    let (seen, _) = live(&server, "/v1/live?after=0", None, 4, async || ()).await;
    assert_eq!(seen, ["before", "1", "2", "3"]);
    server.stop().await;
}

#[tokio::test]
async fn a_silent_live_stream_does_not_hold_up_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let request =
        client().get(server.at("/v1/live")).bearer_auth(server.new_token.as_ref().unwrap());
    let mut stream = request.send().await.unwrap();
    assert_eq!(stream.chunk().await.unwrap().unwrap(), "retry: 1000\n\n");
    server.stop().await;
    assert_eq!(stream.chunk().await.unwrap(), None, "ended, not broken");
}

#[tokio::test]
async fn what_a_record_says_of_itself_cannot_be_forged() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let forged = json!({"type": "page", "userId": "u", "messageId": "m", "trust": "server", "source": "bank",
        "offset": "99", "receivedAt": "1970-01-01T00:00:00.000Z", "timestamp": "2999-01-01T00:00:00Z"});
    server.batch(&[forged]).await;
    let stored = server.events(server.new_token.as_ref().unwrap()).await.remove(0);
    assert_eq!(
        (&stored["trust"], &stored["source"], &stored["offset"]),
        (&json!("client"), &json!("web"), &json!("1"))
    );
    assert_eq!(stored["originalTimestamp"], "2999-01-01T00:00:00.000Z");
    assert!(stored["timestamp"].as_str().unwrap() < "2999", "the future is not believed");
    server.stop().await;
}

#[tokio::test]
async fn a_reader_that_has_seen_more_than_there_is_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let token = server.new_token.clone().unwrap();
    server.batch(&[track(1, "d"), track(2, "d")]).await;
    for path in ["/v1/events?after=3", "/v1/live?after=3"] {
        let answer = client().get(server.at(path)).bearer_auth(&token).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 410, "{path}");
        assert_eq!(read_json(answer).await["error"]["code"], "offset_beyond_end");
    }
    assert!(server.events_at(&token, "/v1/events?after=2").await.is_empty());
    server.stop().await;
}
