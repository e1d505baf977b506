//! Webhooks to destinations that are strange, hostile or not to be reached: over real TCP, through the public sink.
#![allow(clippy::unwrap_used, reason = "what a test expects, it unwraps, in its functions too")]

use std::{
    path::Path,
    time::{Duration, Instant},
};

use crate::server::{PATIENCE, Receiver, SECRET, Server, track};
use headwater_collector::{
    config::Config,
    sinks::{AnySink, Parcel, Sink as _, SinkError, Verdict},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::timeout,
};

const OLD_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=";

/// The sink that these lines of a configuration describe, with the rest that a webhook needs.
fn open(lines: &str) -> Result<AnySink, SinkError> {
    let secret = if lines.contains("secret") { "" } else { SECRET };
    let secret = if secret.is_empty() { String::new() } else { format!("secret = '{secret}'\n") };
    let text = format!("[consumers.x]\nkind = 'webhook'\n{secret}{lines}");
    let config = Config::parse(&text, Path::new("test.toml")).unwrap();
    AnySink::open(config.consumers.into_values().next().unwrap().sink.unwrap())
}

fn parcel(id: &str) -> Parcel {
    let line = json!({"offset": "1", "source": "web", "timestamp": "2026-01-02T03:04:05.678Z",
        "type": "track", "event": "Paid", "messageId": id});
    Parcel { id: format!("msg_{id}"), order_key: "a".into(), line: line.to_string().into() }
}

/// A destination that does this with each connection once it has read the head of a request.
struct Hostile {
    url: String,
    task: JoinHandle<()>,
}

impl Hostile {
    async fn start<F: Future<Output = ()> + Send + 'static>(
        behave: impl Fn(TcpStream) -> F + Send + Sync + Clone + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/in", listener.local_addr().unwrap());
        let task = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let behave = behave.clone();
                tokio::spawn(async move {
                    let (mut read, mut piece) = (Vec::new(), [0; 4096]);
                    while !read.windows(4).any(|end| end == b"\r\n\r\n") {
                        match stream.read(&mut piece).await {
                            Ok(count) if count > 0 => read.extend_from_slice(&piece[..count]),
                            _ => return,
                        }
                    }
                    behave(stream).await;
                });
            }
        });
        Self { url, task }
    }

    /// Answers with these bytes and closes.
    async fn saying(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::start(move |mut stream| {
            let answer = answer.clone();
            async move { drop(stream.write_all(&answer).await) }
        })
        .await
    }

    async fn deliver(&self) -> Verdict {
        let sink =
            open(&format!("url = '{}'\nallow_private = true\ntimeout_seconds = 1", self.url));
        timeout(PATIENCE, sink.unwrap().deliver(&[parcel("1")])).await.expect("it ends by itself")
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn unavailable(verdict: &Verdict) -> &str {
    match verdict {
        Verdict::Unavailable { reason, .. } => reason,
        other => panic!("{other:?} is not for an event's fault or success"),
    }
}

#[tokio::test]
async fn while_a_secret_is_replaced_each_delivery_is_signed_with_both() {
    let receiver = Receiver::start().await;
    let url = &receiver.url;
    let sink = open(&format!(
        "url = '{url}'\nallow_private = ['127.0.0.0/8']\nsecrets = ['{SECRET}', '{OLD_SECRET}']"
    ));
    assert_eq!(sink.unwrap().deliver(&[parcel("1")]).await, Verdict::Delivered);
    let attempt = &receiver.wait_for_delivered(1).await[0];
    let signatures = attempt.headers["webhook-signature"].to_str().unwrap();
    assert_eq!(signatures.split(' ').filter(|one| one.starts_with("v1,")).count(), 2);
    for secret in [SECRET, OLD_SECRET] {
        let verifier = standardwebhooks::Webhook::new(secret).unwrap();
        verifier.verify(&attempt.body, &attempt.headers).unwrap();
    }
    let other = standardwebhooks::Webhook::new(&SECRET.replace('C', "D")).unwrap();
    other.verify(&attempt.body, &attempt.headers).unwrap_err();
}

#[tokio::test]
async fn a_batch_is_an_array_under_one_id_and_one_signature() {
    let receiver = Receiver::start().await;
    let sink = open(&format!("url = '{}'\nallow_private = true\nbatch = 1000", receiver.url));
    let sink = sink.unwrap();
    assert_eq!(sink.most_at_once(), 1000);
    let parcels: Vec<_> = (0..300).map(|n| parcel(&n.to_string())).collect();
    assert_eq!(sink.deliver(&parcels).await, Verdict::Delivered);
    assert_eq!(sink.deliver(&parcels).await, Verdict::Delivered);
    assert_eq!(sink.deliver(&parcels[..1]).await, Verdict::Delivered);
    let attempts = receiver.wait_for("three", |all| all.len() >= 3).await;
    let verifier = standardwebhooks::Webhook::new(SECRET).unwrap();
    for attempt in &attempts {
        verifier.verify(&attempt.body, &attempt.headers).unwrap();
    }
    let ids: Vec<_> = attempts[0].event().as_array().unwrap().iter().map(id_of).collect();
    assert_eq!(ids, (0..300).map(|n| n.to_string()).collect::<Vec<_>>());
    assert_eq!(attempts[0].id(), attempts[1].id(), "the id is the same at every attempt");
    assert_eq!((attempts[2].event().as_array().unwrap().len(), attempts[2].id()), (1, "msg_0"));
}

fn id_of(event: &Value) -> String {
    event["messageId"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_collector_delivers_cloud_events() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::start().await;
    let toml = receiver.consumer("crm") + "format = 'cloudevents'\n";
    let server = Server::start_with(folder.path(), &toml).await;
    server.batch(&[track("one", "device-1")]).await;
    let attempt = &receiver.wait_for_delivered(1).await[0];
    assert_eq!(attempt.headers["content-type"], "application/cloudevents+json");
    standardwebhooks::Webhook::new(SECRET)
        .unwrap()
        .verify(&attempt.body, &attempt.headers)
        .unwrap();
    let stored = server.events(server.new_token.as_ref().unwrap()).await;
    let event = attempt.event();
    let attributes =
        ["specversion", "id", "source", "type", "subject", "time", "partitionkey", "data"];
    assert_eq!(
        attributes.map(|name| event[name].clone()),
        [
            json!("1.0"),
            json!(attempt.id()),
            json!("/sources/web"),
            json!("headwater.track"),
            json!("Clicked"),
            stored[0]["timestamp"].clone(),
            stored[0]["orderKey"].clone(),
            stored[0].clone()
        ]
    );
    server.stop().await;
}

#[tokio::test]
async fn a_private_address_is_refused_at_the_start_and_a_name_for_one_when_it_is_looked_up() {
    for url in ["http://127.0.0.1/", "http://[::1]:9/", "http://169.254.169.254/latest/meta-data"] {
        let error = open(&format!("url = '{url}'")).unwrap_err().to_string();
        assert!(error.contains("is not a public address; if it is meant"), "{error}");
    }
    // A name that means this machine everywhere; a port where someone does listen, to see that nothing is sent.
    let receiver = Receiver::start().await;
    let url = receiver.url.replace("127.0.0.1", "localhost");
    let verdict = open(&format!("url = '{url}'")).unwrap().deliver(&[parcel("1")]).await;
    let reason = unavailable(&verdict);
    assert!(reason.contains("`localhost` is at"), "{reason}");
    assert!(reason.contains("not a public address"), "{reason}");
    // The same name with leave: nothing else was in the way.
    let allowed = open(&format!("url = '{url}'\nallow_private = ['127.0.0.1', '::1']")).unwrap();
    assert_eq!(allowed.deliver(&[parcel("2")]).await, Verdict::Delivered);
    let attempts = receiver.wait_for_delivered(1).await;
    assert_eq!(attempts.iter().map(|a| id_of(&a.event())).collect::<Vec<_>>(), ["2"]);
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_says_what_to_do() {
    let inside = Receiver::start().await;
    let answer = format!(
        "HTTP/1.1 307 Temporary Redirect\r\nlocation: {}?key=hidden\r\ncontent-length: 0\r\n\r\n",
        inside.url
    );
    let verdict = Hostile::saying(answer).await.deliver().await;
    let reason = unavailable(&verdict);
    let expected = format!("307 Temporary Redirect to {}: redirects are not followed", inside.url);
    assert!(reason.starts_with(&expected) && reason.contains("set `url`"), "{reason}");
    assert!(inside.wait_for("no one", |all| all.is_empty()).await.is_empty());
}

#[tokio::test]
async fn a_destination_that_wants_nothing_more_is_gone_and_one_that_asks_for_time_gets_it() {
    let gone = Hostile::saying("HTTP/1.1 410 Gone\r\ncontent-length: 3\r\n\r\nbye").await;
    assert_eq!(gone.deliver().await, Verdict::Gone { reason: "410 Gone: bye".to_owned() });
    let busy = "HTTP/1.1 503 Service Unavailable\r\ndate: Fri, 01 Jan 1999 00:00:00 GMT\r\n\
                retry-after: Fri, 01 Jan 1999 00:02:00 GMT\r\ncontent-length: 0\r\n\r\n";
    let verdict = Hostile::saying(busy).await.deliver().await;
    let Verdict::Unavailable { retry_after, .. } = verdict else { panic!("{verdict:?}") };
    assert_eq!(retry_after, Some(Duration::from_secs(120)));
}

#[tokio::test]
async fn a_destination_that_does_not_speak_http_is_unavailable() {
    for answer in
        ["", "\0\0\0\0", "SSH-2.0-OpenSSH_9.2\r\n", "HTTP/1.1 2000 OK\r\n\r\n", "HTTP/1.1 20"]
    {
        let verdict = Hostile::saying(answer).await.deliver().await;
        assert!(!unavailable(&verdict).is_empty(), "{answer}");
    }
}

#[tokio::test]
async fn one_that_hangs_or_dribbles_its_head_ends_with_the_time_out() {
    let hangs = Hostile::start(|stream| async move {
        let _open = stream;
        std::future::pending::<()>().await;
    });
    let dribbles = Hostile::start(|mut stream| async move {
        let mut head = b"HTTP/1.1 200 OK\r\nx: ".iter().chain(std::iter::repeat(&b'x'));
        while let Some(byte) = head.next()
            && stream.write_all(&[*byte]).await.is_ok()
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    for hostile in [hangs.await, dribbles.await] {
        let start = Instant::now();
        let verdict = hostile.deliver().await;
        assert!(unavailable(&verdict).starts_with("time-out"), "{verdict:?}");
        assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    }
}

/// The status is the answer; what follows it is read a little and not waited for.
#[tokio::test]
async fn a_body_that_breaks_off_or_never_ends_changes_nothing_about_the_status() {
    for (status, delivered) in [("200 OK", true), ("400 Bad Request", false)] {
        let head = format!("HTTP/1.1 {status}\r\ncontent-length: 1000000\r\n\r\nno, because ");
        let breaks_off = Hostile::saying(head.clone()).await;
        let dribbles = Hostile::start(move |mut stream| {
            let head = head.clone();
            async move {
                drop(stream.write_all(head.as_bytes()).await);
                while stream.write_all(b"x").await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        });
        for hostile in [breaks_off, dribbles.await] {
            let start = Instant::now();
            match hostile.deliver().await {
                Verdict::Delivered => assert!(delivered),
                Verdict::Refused { reason } => {
                    assert!(!delivered && reason.contains("no, because"), "{reason}");
                }
                other => panic!("{other:?}"),
            }
            assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
        }
    }
}

/// Sends without end, and counts what could be sent: the kernel's buffers and what was read.
#[tokio::test]
async fn of_an_endless_answer_only_a_little_is_read() {
    for head in ["HTTP/1.1 500 Oops\r\ntransfer-encoding: chunked\r\n\r\n", "HTTP/1.1 500 Oops\r\n"]
    {
        let (count, counted) = tokio::sync::mpsc::unbounded_channel();
        let hostile = Hostile::start(move |mut stream| {
            let count = count.clone();
            async move {
                drop(stream.write_all(head.as_bytes()).await);
                let in_body = head.contains("chunked");
                let piece = if in_body {
                    format!("10000\r\n{}\r\n", "x".repeat(0x10000))
                } else {
                    format!("x-filler: {}\r\n", "x".repeat(0x10000))
                };
                let mut sent = 0_usize;
                while let Ok(now) = stream.write(&piece.as_bytes()[sent % piece.len()..]).await {
                    sent += now;
                    if sent > 256 * 1024 * 1024 {
                        break;
                    }
                }
                let _ = count.send(sent);
            }
        })
        .await;
        let mut counted = counted;
        let verdict = hostile.deliver().await;
        unavailable(&verdict);
        let sent = timeout(PATIENCE, counted.recv()).await.unwrap().unwrap();
        // Linux lets a socket's two buffers on loopback grow to 4 and 6 MiB.
        assert!(sent < 16 * 1024 * 1024, "{sent} bytes were taken");
    }
}
