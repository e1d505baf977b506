//! What no client means well by, as bytes against the real server: smuggling, floods, bombs, silence.
//! After each the server still takes a good request, and nothing of the bad one is stored.
#![allow(clippy::unwrap_used, reason = "what a test expects, it unwraps, in its functions too")]

use std::{io::Write as _, sync::Arc, time::Duration};

use crate::server::{self, PATIENCE, Server, client, track};
use headwater_collector::{event_log::FileSystem, limits::HttpLimits};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// Time-outs that a test can wait for. The longest is not waited for: it shows that a shorter one did it.
fn impatient() -> HttpLimits {
    HttpLimits {
        head_timeout: Duration::from_millis(400),
        body_idle_timeout: Duration::from_millis(400),
        body_timeout: Duration::from_millis(1_500),
        write_timeout: Duration::from_millis(400),
        handshake_timeout: Duration::from_millis(400),
        ..HttpLimits::default()
    }
}

async fn start(limits: HttpLimits) -> (Server, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let toml = "[sources.web]\nwrite_key = 'key'";
    let server = Server::start_limited(folder.path(), toml, Arc::new(FileSystem), limits).await;
    (server, folder)
}

/// Sends these bytes and nothing more, and reads what comes until the server closes.
async fn say(server: &Server, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    // The server may hang up before it has seen all.
    drop(stream.write_all(bytes).await);
    let mut answer = Vec::new();
    let reading = async {
        let mut buffer = [0; 4096];
        while let Ok(size @ 1..) = stream.read(&mut buffer).await {
            answer.extend_from_slice(&buffer[..size]);
        }
    };
    timeout(PATIENCE, reading).await.expect("the server ends the connection");
    String::from_utf8_lossy(&answer).into_owned()
}

fn statuses(answer: &str) -> Vec<&str> {
    answer.split("HTTP/1.1 ").skip(1).map(|rest| &rest[..3]).collect()
}

/// The server still takes an event, and has stored that one only.
async fn is_unhurt(server: Server) {
    assert_eq!(server.batch(&[track("good", "d")]).await["accepted"], 1);
    let stored = server.events(server.new_token.as_ref().unwrap()).await;
    assert_eq!(server::ids(&stored), ["good"]);
    server.stop().await;
}

const EVENT: &str = r#"{"event":"Smuggled","userId":"u","writeKey":"key"}"#;

fn post(path: &str, headers: &str, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n{body}")
}

#[tokio::test]
async fn a_request_inside_another_is_never_taken() {
    let (server, _folder) = start(impatient()).await;
    let hidden = post("/v1/track", &format!("Content-Length: {}\r\n", EVENT.len()), EVENT);
    let chunked = format!("0\r\n\r\n{hidden}");
    let length = chunked.len();
    for headers in [
        format!("Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n"),
        format!("Transfer-Encoding: chunked\r\nContent-Length: {length}\r\n"),
        format!("Content-Length: {length}\r\nContent-Length: 5\r\n"),
        format!("Content-Length: 5\r\nContent-Length: {length}\r\n"),
        "Content-Length: 5, 6\r\n".to_owned(),
        "Content-Length: +5\r\n".to_owned(),
        "Content-Length: -1\r\n".to_owned(),
        "Content-Length: 0x5\r\n".to_owned(),
        "Content-Length: 18446744073709551616\r\n".to_owned(),
        "Content-Length : 5\r\n".to_owned(),
        "Content-Length: 5\r\n folded: 1\r\n".to_owned(),
        "Transfer-Encoding: chunked, chunked\r\n".to_owned(),
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n".to_owned(),
        "Transfer-Encoding: gzip, chunked\r\n".to_owned(),
        "Transfer-Encoding: chunked, identity\r\n".to_owned(),
        "Transfer-Encoding: xchunked\r\n".to_owned(),
        "Transfer-Encoding: \x0bchunked\r\n".to_owned(),
        "Transfer-Encoding : chunked\r\n".to_owned(),
        "X: a\0b\r\n".to_owned(),
        "X: a\x07b\r\n".to_owned(),
        "X\0: a\r\n".to_owned(),
        "X: a\rTransfer-Encoding: chunked\r\n".to_owned(),
        ": empty\r\n".to_owned(),
    ] {
        let answer = say(&server, post("/v1/track", &headers, &chunked).as_bytes()).await;
        let said = statuses(&answer);
        assert!(matches!(said[..], [] | ["400" | "501"]), "{headers:?}: {answer}");
    }
    is_unhurt(server).await;
}

#[tokio::test]
async fn what_is_no_http_is_answered_or_cut_and_never_taken() {
    let (server, _folder) = start(impatient()).await;
    for bytes in [
        &b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"[..],
        b"GET /v1/batch\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\0 HTTP/1.1\r\n\r\n",
        b"G\xffT / HTTP/1.1\r\n\r\n",
        b"\r\n\r\n\r\n\r\n\0\0\0\0",
        b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
        b"POST /v1/track HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000000\r\n{}",
        b"POST /v1/track HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n{}",
        b"POST /v1/track HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n{}",
        b"POST /v1/track HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}XX0\r\n\r\n",
        b"CONNECT /v1/track HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http://[::1/ HTTP/1.1\r\nHost: x\r\n\r\n",
    ] {
        let answer = say(&server, bytes).await;
        let said = statuses(&answer);
        let shown = String::from_utf8_lossy(bytes);
        assert!(matches!(said[..], [] | ["400" | "404" | "405" | "505"]), "{shown:?}: {answer}");
    }
    is_unhurt(server).await;
}

#[tokio::test]
async fn a_request_names_its_host_once() {
    let (server, _folder) = start(impatient()).await;
    let event = EVENT.replace("writeKey", "noKey");
    let length = event.len();
    for (version, hosts, status) in [
        ("1.1", "", "400"),
        ("1.1", "Host: x\r\nHost: x\r\n", "400"),
        ("1.1", "Host: x\r\nHost: y\r\n", "400"),
        ("1.1", "Host: \r\nhost: y\r\n", "400"),
        ("1.1", "Host: x y\r\n", "400"),
        ("1.1", "Host: x/y\r\n", "400"),
        ("1.1", "Host: x@y\r\n", "400"),
        ("1.1", "Host: \u{ff}\r\n", "400"),
        ("1.0", "Host: x\r\nHost: y\r\n", "400"),
        // No key: it got as far as that.
        ("1.1", "Host: x.example:8080\r\n", "401"),
        ("1.1", "Host: [::1]:8080\r\n", "401"),
        ("1.1", "Host:\r\n", "401"),
        ("1.0", "", "401"),
    ] {
        let request = format!(
            "POST /v1/track HTTP/{version}\r\n{hosts}Content-Length: {length}\r\n\r\n{event}"
        );
        let answer = say(&server, request.as_bytes()).await.replace("HTTP/1.0", "HTTP/1.1");
        assert_eq!(statuses(&answer), [status], "{version} {hosts:?}: {answer}");
        assert_eq!(answer.contains("bad_host"), status == "400", "{hosts:?}: {answer}");
    }
    is_unhurt(server).await;
}

#[tokio::test]
async fn what_does_not_end_is_cut_at_its_bound() {
    let (server, _folder) = start(impatient()).await;
    let begun = "POST /v1/track HTTP/1.1\r\nHost: x\r\n";
    let chunks = format!("{begun}Transfer-Encoding: chunked\r\n\r\n");
    for (what, start, more, expected) in [
        ("a name", begun, "a", &["431", "400"][..]),
        ("header fields", begun, "a: b\r\n", &["431"]),
        ("one address", "GET /", "a", &["414", "431"]),
        ("chunk extensions", &chunks, "1;a=b\r\nx\r\n", &["400", "413"]),
        ("one chunk extension", &format!("{chunks}1;"), "a", &["400"]),
        ("trailers", &format!("{chunks}0\r\n"), "a: b\r\n", &["400"]),
        ("a body", &chunks, "1\r\n{\r\n", &["400", "413", "408"]),
    ] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let (mut reader, mut writer) = stream.split();
        let flood = more.repeat(65_536 / more.len());
        let send = async {
            drop(writer.write_all(start.as_bytes()).await);
            // 64 MB, if nobody stops it.
            for _ in 0..1024 {
                if writer.write_all(flood.as_bytes()).await.is_err() {
                    return;
                }
            }
            panic!("{what}: all of it was read");
        };
        let mut answer = Vec::new();
        let read = async {
            let mut buffer = [0; 4096];
            while let Ok(size @ 1..) = reader.read(&mut buffer).await {
                answer.extend_from_slice(&buffer[..size]);
            }
        };
        timeout(PATIENCE, async { tokio::join!(send, read) }).await.expect(what);
        let answer = String::from_utf8_lossy(&answer);
        let said = statuses(&answer);
        // A reset can overtake the answer.
        assert!(
            said.is_empty() || said.len() == 1 && expected.contains(&said[0]),
            "{what}: {answer}"
        );
    }
    is_unhurt(server).await;
}

/// A silence, and what the server makes of it.
#[tokio::test]
async fn who_falls_silent_is_let_go() {
    let (server, _folder) = start(impatient()).await;
    let body = "POST /v1/track HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{";
    for (bytes, said) in [
        ("", &[][..]),
        ("P", &[]),
        ("PRI * HTTP/2.0\r\n", &[]),
        ("POST /v1/track HTTP/1.1\r\nHost", &[]),
        (body, &["408"]),
        ("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", &["200"]),
    ] {
        assert_eq!(statuses(&say(&server, bytes.as_bytes()).await), said, "{bytes:?}");
    }
    is_unhurt(server).await;
}

#[tokio::test]
async fn a_body_in_drops_has_a_time_as_a_whole() {
    // Only the body's time as a whole can end this: however slow this machine is, the drops are not idle for as long.
    let limits = HttpLimits { body_idle_timeout: PATIENCE * 2, ..impatient() };
    let (server, _folder) = start(limits).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = "POST /v1/track HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut reader, mut writer) = stream.split();
    let drip = async {
        // A pace at which the body would take an hour and a half; nothing depends on how well it is kept.
        while writer.write_all(b" ").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let mut answer = [0; 12];
    let read = async { reader.read_exact(&mut answer).await.unwrap() };
    tokio::select! {
        () = drip => panic!("hung up without an answer"),
        read = timeout(PATIENCE, read) => drop(read.expect("the server does not wait for ever")),
    }
    assert_eq!(&answer, b"HTTP/1.1 408");
    drop(stream);
    is_unhurt(server).await;
}

#[tokio::test]
async fn bodies_together_have_a_budget() {
    let (server, _folder) = start(HttpLimits { bodies_bytes: 100 * 1024, ..impatient() }).await;
    let mut holder = TcpStream::connect(server.address).await.unwrap();
    let head = "POST /v1/track HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n";
    holder.write_all(head.as_bytes()).await.unwrap();
    holder.write_all(&vec![b' '; 90_000]).await.unwrap();
    let other = || {
        let body = json!({"batch": [track("good", "d")], "writeKey": "key"}).to_string();
        client().post(server.at("/v1/batch")).body(body + &" ".repeat(20_000)).send()
    };
    // Once the first one's bytes have arrived there is no room beside them …
    let full = async {
        loop {
            let answer = other().await.unwrap();
            if answer.status() == 503 {
                return answer;
            }
        }
    };
    let answer = timeout(PATIENCE, full).await.expect("the budget is kept");
    assert_eq!(answer.headers()["retry-after"], "1");
    assert_eq!(server::json(answer).await["error"]["code"], "overloaded");
    // … and when it is gone, there is.
    drop(holder);
    let room = async { while other().await.unwrap().status() != 200 {} };
    timeout(PATIENCE, room).await.expect("the budget is given back");
    let stored = server.events(server.new_token.as_ref().unwrap()).await;
    assert_eq!(server::ids(&stored), ["good"]);
    server.stop().await;
}

#[tokio::test]
async fn who_does_not_read_answers_is_let_go() {
    let (server, _folder) = start(impatient()).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let request = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1000);
    let asking = async { while stream.write_all(request.as_bytes()).await.is_ok() {} };
    timeout(PATIENCE, asking).await.expect("the server hangs up");
    is_unhurt(server).await;
}

#[tokio::test]
async fn json_and_texts_that_are_meant_to_hurt_are_refused_alone() {
    let (server, _folder) = start(impatient()).await;
    let deep = "[".repeat(400_000);
    let deep_event = format!(
        r#"{{"event":"a","userId":"u","properties":{}1{}}}"#,
        "[".repeat(5000),
        "]".repeat(5000)
    );
    let huge_number = format!(r#"{{"event":"a","userId":"u","timestamp":1{}}}"#, "0".repeat(400));
    let many = format!(r#"{{"batch":[{}0]}}"#, "0,".repeat(200_000));
    let body = |body: &[u8]| {
        let request = client().post(server.at("/v1/track?receipt=1")).basic_auth("key", Some(""));
        request.body(body.to_vec()).send()
    };
    for (what, text) in [
        ("deep", deep.as_bytes()),
        ("a deep event", deep_event.as_bytes()),
        ("invalid UTF-8", b"{\"event\":\"\xff\xfe\",\"userId\":\"u\"}"),
        ("a lone surrogate's half", b"{\"event\":\"\\ud800"),
        ("NUL", b"\0\0\0\0"),
        ("nothing", b""),
    ] {
        let answer = body(text).await.unwrap();
        let (status, said) = (answer.status().as_u16(), server::json(answer).await);
        assert!(matches!(status, 400 | 413) || said["accepted"] == 0, "{what}: {status} {said}");
    }
    let batch = client().post(server.at("/v1/batch")).basic_auth("key", Some("")).body(many);
    assert_eq!(batch.send().await.unwrap().status(), 413);
    // A number nobody can hold is the sender's business where it is a property, and no time where it is one.
    assert!(body(huge_number.as_bytes()).await.unwrap().status().as_u16() < 500);
    assert_eq!(server.batch(&[track("good", "d")]).await["accepted"], 1);
    server.stop().await;
}

#[tokio::test]
async fn bombs_are_cut_in_every_encoding() {
    let (server, _folder) = start(impatient()).await;
    let spaces = vec![b' '; 8 << 20];
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(&spaces).unwrap();
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    zlib.write_all(&spaces).unwrap();
    // Sixteen megabytes of spaces, as Node's zlib compresses them.
    let brotli = b"\xcb\xff\xff\x3f\xf8\x25\x40\xe2\xb1\x40\x20\xf7\xfe\x2f\xff\xff\xff\xf0\x4b\x00\xc4\x61\x11\x80\xee\xfd\x1f".to_vec();
    for (encoding, bomb) in [
        ("gzip", gzip.finish().unwrap()),
        ("deflate", zlib.finish().unwrap()),
        ("br", brotli),
        ("zstd", zstd::bulk::compress(&spaces, 3).unwrap()),
    ] {
        let request = client().post(server.at("/v1/batch")).basic_auth("key", Some(""));
        let request = request.header("content-encoding", encoding).body(bomb);
        assert_eq!(request.send().await.unwrap().status(), 413, "{encoding}");
    }
    is_unhurt(server).await;
}

/// An HTTP/2 frame.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// `GET path` in HPACK without its table.
fn get(path: &str) -> Vec<u8> {
    let mut block = vec![0x82, 0x86, 0x01, 1, b'x', 0x04, u8::try_from(path.len()).unwrap()];
    block.extend(path.bytes());
    block
}

/// An HTTP/2 connection that says these settings.
async fn http2(server: &Server, settings: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    stream.write_all(&frame(SETTINGS, 0, 0, settings)).await.unwrap();
    stream
}

/// Sends on and on, reading all the while or not at all, until the server hangs up.
async fn flood(stream: &mut TcpStream, reads: bool, mut next: impl FnMut(u32) -> Vec<u8>) {
    let (mut reader, mut writer) = stream.split();
    let send = async {
        for turn in 0.. {
            if writer.write_all(&next(turn)).await.is_err() {
                return;
            }
        }
    };
    let read = async {
        let mut buffer = [0; 4096];
        while reads && matches!(reader.read(&mut buffer).await, Ok(1..)) {}
        if !reads {
            std::future::pending::<()>().await;
        }
    };
    let either = async {
        tokio::select! { () = send => {}, () = read => {} }
    };
    timeout(PATIENCE, either).await.expect("the server hangs up");
}

#[tokio::test]
async fn requests_that_are_taken_back_at_once_end_the_connection() {
    let (server, _folder) = start(HttpLimits::default()).await;
    let mut stream = http2(&server, &[]).await;
    flood(&mut stream, true, |turn| {
        let mut both = frame(HEADERS, END_HEADERS | END_STREAM, 2 * turn + 1, &get("/metrics"));
        both.extend(frame(RST_STREAM, 0, 2 * turn + 1, &[0, 0, 0, 8]));
        both.repeat(1)
    })
    .await;
    is_unhurt(server).await;
}

#[tokio::test]
async fn headers_without_end_end_the_connection() {
    let (server, _folder) = start(HttpLimits::default()).await;
    // A field whose name says it goes on for a while, in pieces.
    let mut stream = http2(&server, &[]).await;
    stream.write_all(&frame(HEADERS, END_STREAM, 1, &get("/metrics"))).await.unwrap();
    let field = [&[0x00, 1, b'a', 100][..], &[b'b'; 100]].concat();
    let piece = frame(CONTINUATION, 0, 1, &field.repeat(100));
    flood(&mut stream, true, |_| piece.clone()).await;
    // Nothing, again and again.
    let mut stream = http2(&server, &[]).await;
    stream.write_all(&frame(HEADERS, END_STREAM, 1, &get("/metrics"))).await.unwrap();
    let empty = frame(CONTINUATION, 0, 1, &[]).repeat(100);
    flood(&mut stream, true, |_| empty.clone()).await;
    is_unhurt(server).await;
}

#[tokio::test]
async fn pings_that_nobody_reads_the_answers_of_end_the_connection() {
    let (server, _folder) = start(impatient()).await;
    let mut stream = http2(&server, &[]).await;
    let pings = frame(PING, 0, 0, &[7; 8]).repeat(1000);
    // They keep it busy and would do so for ever: what ends it is that it cannot answer.
    flood(&mut stream, false, |_| pings.clone()).await;
    is_unhurt(server).await;
}

#[tokio::test]
async fn an_answer_that_has_no_window_ends_the_connection() {
    let (server, _folder) = start(impatient()).await;
    // SETTINGS_INITIAL_WINDOW_SIZE = 0
    let mut stream = http2(&server, &[0, 4, 0, 0, 0, 0]).await;
    let request = frame(HEADERS, END_HEADERS | END_STREAM, 1, &get("/metrics"));
    stream.write_all(&request).await.unwrap();
    let mut buffer = [0; 4096];
    let read = async { while let Ok(1..) = stream.read(&mut buffer).await {} };
    timeout(PATIENCE, read).await.expect("the server hangs up");
    is_unhurt(server).await;
}

#[tokio::test]
async fn an_idle_http2_connection_is_let_go_and_pings_do_not_keep_it() {
    let (server, _folder) = start(impatient()).await;
    let mut stream = http2(&server, &[]).await;
    flood(&mut stream, true, |_| frame(PING, 0, 0, &[7; 8])).await;
    is_unhurt(server).await;
}

#[tokio::test]
async fn connections_beyond_the_bound_wait_and_are_served_when_others_end() {
    let (server, _folder) = start(HttpLimits { connections: 2, ..impatient() }).await;
    let mut idle = Vec::new();
    for _ in 0..4 {
        idle.push(TcpStream::connect(server.address).await.unwrap());
    }
    // Served although four came before: silent ones do not keep their places.
    is_unhurt(server).await;
}
