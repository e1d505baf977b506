//! What comes in by the front door beside a plain batch: every encoding.
#![allow(clippy::unwrap_used, reason = "what a test expects, it unwraps, in its functions too")]

mod server;

use std::io::Write as _;

use serde_json::json;
use server::{Server, client, ids, track};

fn deflate(text: &[u8]) -> Vec<u8> {
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    zlib.write_all(text).unwrap();
    zlib.finish().unwrap()
}

#[tokio::test]
async fn every_encoding_is_read_and_its_bombs_are_cut() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let post = |encoding: &str, body: Vec<u8>| {
        let request = client().post(server.at("/v1/batch")).header("content-encoding", encoding);
        request.basic_auth(&server.key, Some("")).body(body).send()
    };
    let body = |id: &str| json!({"batch": [track(id, "d")]}).to_string().into_bytes();
    // An empty batch, as Node's zlib compresses it.
    let brotli = b"\x8b\x05\x80{\"batch\":[]}\x03".to_vec();
    for (encoding, body) in [
        ("deflate", deflate(&body("a"))),
        ("zstd", zstd::bulk::compress(&body("b"), 3).unwrap()),
        ("br", brotli),
    ] {
        assert_eq!(post(encoding, body).await.unwrap().status(), 200, "{encoding}");
    }
    let spaces = vec![b' '; 16 << 20];
    for (encoding, bomb) in
        [("deflate", deflate(&spaces)), ("zstd", zstd::bulk::compress(&spaces, 3).unwrap())]
    {
        assert_eq!(post(encoding, bomb).await.unwrap().status(), 413, "{encoding}");
    }
    let unknown = post("compress", body("c")).await.unwrap();
    assert_eq!(unknown.headers()["accept-encoding"], "gzip, deflate, br, zstd, identity");
    let stored = server.events(server.new_token.as_ref().unwrap()).await;
    assert_eq!(ids(&stored), ["a", "b"]);
    server.stop().await;
}
