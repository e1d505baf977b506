//! One client against all others: what a stranger is refused before he costs anything, and what one address can take from
//! the rest. The other clients come from 127.0.0.2, another address of the loopback.
#![allow(clippy::unwrap_used, reason = "what a test expects, it unwraps, in its functions too")]

use std::{io::Write as _, sync::Arc};

use crate::server::{self, PATIENCE, Server, client, track};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use headwater_collector::{event_log::FileSystem, limits::HttpLimits};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

async fn start(toml: &str, limits: HttpLimits) -> (Server, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let toml = format!("{toml}\n[sources.web]\nwrite_key = 'key'");
    let server = Server::start_limited(folder.path(), &toml, Arc::new(FileSystem), limits).await;
    (server, folder)
}

fn elsewhere() -> reqwest::Client {
    drop(client());
    let builder = reqwest::Client::builder().timeout(PATIENCE);
    builder.local_address(Some([127, 0, 0, 2].into())).build().unwrap()
}

fn basic(key: &str) -> String {
    format!("Authorization: Basic {}\r\n", BASE64_STANDARD.encode(format!("{key}:")))
}

fn head(headers: &str, length: usize) -> String {
    format!("POST /v1/batch HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: {length}\r\n\r\n")
}

/// The status and body of the next answer on this connection.
async fn answer(stream: &mut TcpStream) -> (u16, String) {
    let mut read = String::new();
    let reading = async {
        loop {
            let whole = read.split_once("\r\n\r\n").and_then(|(head, body)| {
                let lower = head.to_lowercase();
                let length =
                    lower.lines().find_map(|line| line.strip_prefix("content-length: "))?;
                let status = head.split(' ').nth(1)?.parse().ok()?;
                (body.len() >= length.parse().ok()?).then(|| (status, body.to_owned()))
            });
            if let Some(whole) = whole {
                return whole;
            }
            let mut buffer = [0; 4096];
            let size = stream.read(&mut buffer).await.unwrap();
            assert_ne!(size, 0, "hung up after {read:?}");
            read.push_str(std::str::from_utf8(&buffer[..size]).unwrap());
        }
    };
    timeout(PATIENCE, reading).await.expect("an answer")
}

#[tokio::test]
async fn who_says_a_wrong_key_first_is_refused_before_his_body_costs_room() {
    // There is no room for any body, so that whatever is kept of one is answered 503.
    let (server, _folder) =
        start("", HttpLimits { bodies_bytes: 0, ..HttpLimits::default() }).await;
    for size in [10, 500_000, 3_000_000] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        for headers in [basic("nobody"), "Authorization: Basic %\r\n".to_owned()] {
            stream.write_all(head(&headers, size).as_bytes()).await.unwrap();
            stream.write_all(&vec![b' '; size]).await.unwrap();
            // Readable, and the connection is good for more: nothing of the body is left in it.
            assert_eq!(answer(&mut stream).await.0, 401, "{size}");
        }
        stream.write_all((head(&basic("key"), size) + &" ".repeat(size)).as_bytes()).await.unwrap();
        assert_eq!(answer(&mut stream).await.0, 503, "whose key is known is read");
    }
    // Who asks first need not send it.
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let asks = format!("{}Expect: 100-continue\r\n", basic("nobody"));
    stream.write_all(head(&asks, 500_000).as_bytes()).await.unwrap();
    assert_eq!(answer(&mut stream).await.0, 401);
    server.stop().await;
}

#[tokio::test]
async fn one_address_with_sixty_half_bodies_leaves_room_for_the_others() {
    let limits = HttpLimits { bodies_bytes: 4 << 20, ..HttpLimits::default() };
    let (server, _folder) = start("", limits).await;
    let mut hostile = Vec::new();
    for n in 0..60 {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        // No key, as pages send that have no header for it; or one that is known, for it is public.
        let headers = if n % 2 == 0 { String::new() } else { basic("key") };
        stream.write_all(head(&headers, 500_000).as_bytes()).await.unwrap();
        stream.write_all(&vec![b' '; 250_000]).await.unwrap();
        hostile.push(stream);
    }
    let padded = |id: &str, bytes: usize| {
        let batch = json!({"batch": [track(id, "d")], "writeKey": "key"}).to_string();
        batch + &" ".repeat(bytes)
    };
    let batch = |id: &str| padded(id, 100_000);
    // Once its share is used up, that address is told so … What is left of it is at most what the last one that was refused had held.
    let own = async {
        loop {
            let sent = client().post(server.at("/v1/batch")).body(padded("own", 450_000)).send();
            let answer = sent.await.unwrap();
            if answer.status() != 200 {
                return answer;
            }
        }
    };
    let refused = timeout(PATIENCE, own).await.expect("it has a share");
    assert_eq!(refused.status(), 429);
    assert_eq!(refused.headers()["retry-after"], "1");
    assert_eq!(server::json(refused).await["error"]["code"], "too_many_bodies");
    // … and nobody else notices, not with large bodies, nor with compressed ones.
    let others = elsewhere();
    for n in 0..20 {
        let sent = others.post(server.at("/v1/batch")).body(batch(&n.to_string())).send();
        assert_eq!(sent.await.unwrap().status(), 200);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(batch(&format!("gzip {n}")).as_bytes()).unwrap();
        let sent = others.post(server.at("/v1/batch")).body(gzip.finish().unwrap());
        let sent = sent.header("content-encoding", "gzip").send();
        assert_eq!(sent.await.unwrap().status(), 200);
    }
    // What is refused or given up is given back.
    drop(hostile);
    let room = async {
        while client()
            .post(server.at("/v1/batch"))
            .body(batch("own"))
            .send()
            .await
            .unwrap()
            .status()
            != 200
        {}
    };
    timeout(PATIENCE, room).await.expect("the share is given back");
    server.stop().await;
}

#[tokio::test]
async fn behind_a_trusted_proxy_each_client_has_its_own_share() {
    let limits = HttpLimits { bodies_bytes: 4 << 20, ..HttpLimits::default() };
    let (server, _folder) = start("trusted_proxies = ['127.0.0.0/8']", limits).await;
    let mut hostile = Vec::new();
    for _ in 0..8 {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream
            .write_all(head("X-Forwarded-For: 203.0.113.7\r\n", 500_000).as_bytes())
            .await
            .unwrap();
        stream.write_all(&vec![b' '; 250_000]).await.unwrap();
        hostile.push(stream);
    }
    let send = async |client_address: &str| {
        let body = json!({"batch": [track("a", "d")], "writeKey": "key"}).to_string();
        let request = client().post(server.at("/v1/batch")).body(body + &" ".repeat(300_000));
        request.header("x-forwarded-for", client_address).send().await.unwrap().status()
    };
    let own = async { while send("203.0.113.7").await != 429 {} };
    timeout(PATIENCE, own).await.expect("it has a share");
    assert_eq!(send("203.0.113.8").await, 200);
    drop(hostile);
    server.stop().await;
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const END_HEADERS: u8 = 4;

/// `POST /v1/batch` in HPACK without its table, and so many fields more.
fn open_request(fields: u8) -> Vec<u8> {
    let mut block = [&[0x83, 0x86, 0x01, 1, b'x', 0x04, 9][..], b"/v1/batch"].concat();
    for n in 0..fields {
        block.extend([0, 2, b'a' + n / 26, b'a' + n % 26, 1, b'x']);
    }
    block
}

/// An HTTP/2 connection that begins with so many requests whose bodies never come.
async fn opens(server: &Server, requests: u32, fields: u8) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let mut begin = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    begin.extend(frame(SETTINGS, 0, 0, &[]));
    for n in 0..requests {
        begin.extend(frame(HEADERS, END_HEADERS, 2 * n + 1, &open_request(fields)));
    }
    begin.extend(frame(PING, 0, 0, &[7; 8]));
    stream.write_all(&begin).await.unwrap();
    stream
}

/// The kinds of the frames that come until the ping is answered, and what they say.
async fn said_until_pong(stream: &mut TcpStream) -> (Vec<u8>, String) {
    let (mut kinds, mut said) = (Vec::new(), String::new());
    let reading = async {
        while kinds.last() != Some(&PING) {
            let mut head = [0; 9];
            stream.read_exact(&mut head).await.unwrap();
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length.try_into().unwrap()];
            stream.read_exact(&mut payload).await.unwrap();
            kinds.push(head[3]);
            said.push_str(&String::from_utf8_lossy(&payload));
        }
    };
    timeout(PATIENCE, reading).await.expect("the connection is served");
    (kinds, said)
}

#[tokio::test]
async fn open_requests_of_http2_take_room_from_their_address_alone() {
    // A share of a megabyte, 35 requests of 90 fields: 5 KB and 90 times 259 bytes.
    let limits = HttpLimits { bodies_bytes: 4 << 20, ..HttpLimits::default() };
    let (server, _folder) = start("", limits).await;
    let mut hostile = Vec::new();
    let send = async |client: reqwest::Client| {
        let body = json!({"batch": [track("a", "d")], "writeKey": "key"}).to_string();
        let sent = client.post(server.at("/v1/batch")).body(body + &" ".repeat(40_000));
        sent.send().await.unwrap().status().as_u16()
    };
    let mut first = opens(&server, 30, 90).await;
    said_until_pong(&mut first).await;
    assert_eq!(send(client()).await, 200, "thirty are no harm");
    for _ in 0..8 {
        hostile.push(opens(&server, 30, 90).await);
    }
    let full = async { while send(client()).await != 429 {} };
    timeout(PATIENCE, full).await.expect("they count as its bodies do");
    assert_eq!(send(elsewhere()).await, 200);
    // Whoever is refused is told so, though not all thirty times.
    let mut refused = opens(&server, 30, 90).await;
    let mut words = String::new();
    let reading = async {
        while words.matches("too_many_bodies").count() < 4 {
            let mut buffer = [0; 4096];
            let size = refused.read(&mut buffer).await.unwrap();
            assert_ne!(size, 0, "hung up after {words:?}");
            words.push_str(&String::from_utf8_lossy(&buffer[..size]));
        }
    };
    timeout(PATIENCE, reading).await.expect("it is said");
    drop((hostile, refused));
    let room = async { while send(client()).await != 200 {} };
    timeout(PATIENCE, room).await.expect("what they took is given back");
    drop(first);
    server.stop().await;
}

#[tokio::test]
async fn fields_of_http2_are_counted_by_name_and_cookies_may_come_one_by_one() {
    let (server, _folder) = start("", HttpLimits::default()).await;
    let http2 = reqwest::Client::builder().http2_prior_knowledge().timeout(PATIENCE).build();
    let http2 = http2.unwrap();
    let post = || {
        let body = json!({"batch": [track("a", "d")], "writeKey": "key"}).to_string();
        http2.post(server.at("/v1/batch")).body(body)
    };
    let cookies = (0..180).fold(post(), |post, n| post.header("cookie", format!("c{n}=1")));
    assert_eq!(cookies.send().await.unwrap().status(), 200);
    let named = (0..101).fold(post(), |post, n| post.header(format!("x-{n}"), ""));
    let refused = named.send().await.unwrap();
    assert_eq!(refused.status(), 431);
    assert_eq!(server::json(refused).await["error"]["code"], "too_many_headers");
    // HTTP/2 counts 32 bytes for each field.
    let long = post().header("x", "x".repeat(12 * 1024)).send().await.unwrap();
    assert_eq!(long.status(), 431);
    assert_eq!(post().send().await.unwrap().status(), 200);
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_begins_with_a_hundred_requests_is_told_to_wait_with_most() {
    let (server, _folder) = start("", HttpLimits::default()).await;
    let mut stream = opens(&server, 100, 0).await;
    let (kinds, _) = said_until_pong(&mut stream).await;
    let sent_back = kinds.iter().filter(|kind| **kind == RST_STREAM).count();
    assert_eq!(sent_back, 100 - 32, "{kinds:?}");
    // The connection is as good as before.
    stream.write_all(&frame(PING, 0, 0, &[8; 8])).await.unwrap();
    said_until_pong(&mut stream).await;
    drop(stream);
    server.stop().await;
}
