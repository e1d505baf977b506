//! TLS, HTTP/2 and proxies: what stands between a client and its request.
#![allow(clippy::unwrap_used, reason = "what a test expects, it unwraps, in its functions too")]

use std::{net::SocketAddr, path::Path, process::Command, sync::Arc, time::Duration};

use crate::server::{PATIENCE, Server, client, json as read_json, track};
use headwater_collector::{config::Config, event_log::FileSystem, limits::HttpLimits};
use reqwest::{Certificate, ClientBuilder, Version};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// Makes a certificate for `localhost` and puts it, with its key, into the folder.
fn certify(folder: &Path) -> Certificate {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    // The key first: until both are there they do not fit, and the old pair stays.
    std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    std::fs::write(folder.join("certificate.pem"), made.cert.pem()).unwrap();
    Certificate::from_pem(made.cert.pem().as_bytes()).unwrap()
}

fn configured(folder: &Path) -> String {
    let path = |name| folder.join(name).display().to_string();
    let (certificate, key) = (path("certificate.pem"), path("key.pem"));
    format!("[tls]\ncertificate = '{certificate}'\nkey = '{key}'\n[sources.web]\nwrite_key = 'key'")
}

/// A client that believes this certificate only, and makes a connection for each request.
fn trusting(certificate: &Certificate, address: SocketAddr) -> ClientBuilder {
    drop(client());
    reqwest::Client::builder()
        .timeout(PATIENCE)
        .pool_max_idle_per_host(0)
        .tls_certs_only([certificate.clone()])
        .resolve("localhost", address)
}

async fn send(client: ClientBuilder, server: &Server) -> reqwest::Result<reqwest::Response> {
    let url = format!("https://localhost:{}/v1/batch", server.address.port());
    let body = json!({"batch": [track("a", "d")], "writeKey": "key"}).to_string();
    client.build().unwrap().post(url).body(body).send().await
}

#[tokio::test]
async fn either_http_is_spoken_with_and_without_tls() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = certify(folder.path());
    let server = Server::start_with(folder.path(), &configured(folder.path())).await;
    let over = || trusting(&certificate, server.address);
    for (client, version) in [(over(), Version::HTTP_2), (over().http1_only(), Version::HTTP_11)] {
        let answer = send(client, &server).await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.version()), (200, version));
        assert!(answer.headers()["date"].to_str().unwrap().ends_with(" GMT"));
    }
    let plain = format!("http://{}/healthz", server.address);
    client().get(plain).send().await.unwrap_err();
    server.stop().await;

    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let http2 = reqwest::Client::builder().http2_prior_knowledge().timeout(PATIENCE).build();
    let http2 = http2.unwrap();
    let events: Vec<_> = (0..2000).map(|n| track(n, "d")).collect();
    let body = json!({"batch": events, "writeKey": server.key}).to_string();
    let sent =
        (0..20).map(|_| tokio::spawn(http2.post(server.at("/v1/batch")).body(body.clone()).send()));
    for answer in sent.collect::<Vec<_>>() {
        let answer = answer.await.unwrap().unwrap();
        assert_eq!((answer.status().as_u16(), answer.version()), (200, Version::HTTP_2));
    }
    // More than a window's worth, taken in pieces.
    let read = http2.get(server.at("/v1/events")).bearer_auth(server.new_token.as_ref().unwrap());
    assert_eq!(read.send().await.unwrap().text().await.unwrap().lines().count(), 2000);
    let settings = http2.get(server.at(&format!("/v1/projects/{}/settings", server.key)));
    let said = read_json(settings.send().await.unwrap()).await;
    assert_eq!(said["integrations"]["Segment.io"]["apiHost"], format!("{}/v1", server.address));
    drop(http2);
    server.stop().await;
}

#[tokio::test]
async fn a_handshake_that_does_not_end_is_cut() {
    let folder = tempfile::tempdir().unwrap();
    certify(folder.path());
    let limits =
        HttpLimits { handshake_timeout: Duration::from_millis(300), ..HttpLimits::default() };
    let toml = configured(folder.path());
    let server = Server::start_limited(folder.path(), &toml, Arc::new(FileSystem), limits).await;
    for begun in [&b""[..], b"\x16\x03\x01\x02", b"GET / HTTP/1.1\r\n\r\n"] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(begun).await.unwrap();
        let mut answer = Vec::new();
        let end = timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
        drop(end.expect("the server hangs up"));
    }
    server.stop().await;
}

#[tokio::test]
async fn a_new_certificate_is_used_and_a_wrong_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let old = certify(folder.path());
    let toml = configured(folder.path());
    let server = Server::start_with(folder.path(), &toml).await;
    assert_eq!(send(trusting(&old, server.address), &server).await.unwrap().status(), 200);

    let new = certify(folder.path());
    let seen = async { while send(trusting(&new, server.address), &server).await.is_err() {} };
    timeout(PATIENCE, seen).await.expect("the files are looked at");
    send(trusting(&old, server.address), &server).await.unwrap_err();

    std::fs::write(folder.path().join("key.pem"), "nonsense").unwrap();
    let reload = Arc::clone(&server.reload);
    let config = Config::parse(&toml, Path::new("t.toml")).unwrap();
    let error =
        tokio::task::spawn_blocking(move || reload.apply(&config)).await.unwrap().unwrap_err();
    assert!(error.to_string().contains("key.pem"), "{error}");
    assert_eq!(send(trusting(&new, server.address), &server).await.unwrap().status(), 200);
    server.stop().await;
}

#[tokio::test]
async fn only_a_trusted_proxy_says_what_scheme_a_client_used() {
    for (trusted, protocol) in [("127.0.0.0/8", "https"), ("10.0.0.0/8", "http")] {
        let folder = tempfile::tempdir().unwrap();
        let toml = format!("trusted_proxies = ['{trusted}']\n[sources.web]\nwrite_key = 'key'");
        let server = Server::start_with(folder.path(), &toml).await;
        for (header, value) in
            [("x-forwarded-proto", "https"), ("forwarded", "for=203.0.113.7;proto=https")]
        {
            let settings =
                client().get(server.at("/v1/projects/key/settings")).header(header, value);
            let said = read_json(settings.send().await.unwrap()).await;
            assert_eq!(said["integrations"]["Segment.io"]["protocol"], protocol);
        }
        // What cannot be read is no reason to lose an event.
        let strange = client().post(server.at("/v1/track")).basic_auth("key", Some(""));
        let strange =
            strange.header("x-forwarded-for", ",;=\"\u{fc}").header("forwarded", "for=\"");
        let answer = strange.body(track("a", "d").to_string()).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        server.stop().await;
    }
}

#[tokio::test]
async fn what_is_for_clients_is_found_under_the_prefix_too() {
    let folder = tempfile::tempdir().unwrap();
    let toml = "path_prefix = '/x7'\n[sources.web]\nwrite_key = 'key'";
    let server = Server::start_with(folder.path(), toml).await;
    for path in ["/v1/track", "/x7/v1/track", "/x7/v1/t"] {
        let post = client().post(server.at(path)).basic_auth("key", Some(""));
        assert_eq!(post.body(track(path, "d").to_string()).send().await.unwrap().status(), 200);
    }
    let settings = client().get(server.at("/x7/v1/projects/key/settings")).send().await.unwrap();
    let said = read_json(settings).await["integrations"]["Segment.io"]["apiHost"].clone();
    assert_eq!(said, format!("{}/x7/v1", server.address));
    // The same file, or the same word that there is none in this build.
    let file = |path| client().get(server.at(path)).send();
    let (plain, under) =
        (file("/headwater.js").await.unwrap(), file("/x7/headwater.js").await.unwrap());
    assert_eq!(plain.status(), under.status());
    assert_eq!(plain.text().await.unwrap(), under.text().await.unwrap());
    for path in
        ["/x7/v1/events", "/x7/metrics", "/x7/healthz", "/x7", "/x7v1/track", "/x7/x7/v1/track"]
    {
        assert_eq!(file(path).await.unwrap().status(), 404, "{path}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_page_of_the_same_site_gets_a_cookie_and_keeps_its_id() {
    let folder = tempfile::tempdir().unwrap();
    let toml = "[cookie]\nname = 'id'\n[sources.web]\nwrite_key = 'key'\n\
                origins = ['https://shop.example']";
    let server = Server::start_with(folder.path(), toml).await;
    let post = |origin: &str| {
        let post = client().post(server.at("/v1/track")).basic_auth("key", Some(""));
        post.header("origin", origin).body(track(origin, "d").to_string())
    };
    let answer = post("https://shop.example").send().await.unwrap();
    assert_eq!(answer.headers()["access-control-allow-origin"], "https://shop.example");
    assert_eq!(answer.headers()["access-control-allow-credentials"], "true");
    assert_eq!(answer.headers()["vary"], "Origin");
    let cookie = answer.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert!(cookie.contains("; HttpOnly; SameSite=Lax") && !cookie.contains("Secure"), "{cookie}");
    let id = cookie.split(';').next().unwrap();
    let again = post("https://shop.example").header("cookie", id).send().await.unwrap();
    assert!(again.headers()["set-cookie"].to_str().unwrap().starts_with(&format!("{id};")));

    let elsewhere = post("https://evil.example").send().await.unwrap();
    assert_eq!(elsewhere.status(), 403);
    assert_eq!(elsewhere.headers()["access-control-allow-origin"], "*");
    assert!(!elsewhere.headers().contains_key("access-control-allow-credentials"));
    assert!(!elsewhere.headers().contains_key("set-cookie"));
    let cross = post("https://shop.example").header("sec-fetch-site", "cross-site").send().await;
    assert!(!cross.unwrap().headers().contains_key("set-cookie"));
    server.stop().await;
}

#[tokio::test]
async fn a_disk_that_is_nearly_full_is_said_and_recovers() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with(folder.path(), "min_free_bytes = 9000000000000000000\n").await;
    let (status, said) = server.try_batch(&[track("a", "d")]).await;
    assert_eq!((status, &said["error"]["code"]), (503, &json!("disk_nearly_full")));
    assert_eq!(said["error"]["retry_after_ms"], 30_000);
    let ready = client().get(server.at("/readyz")).send().await.unwrap();
    assert_eq!(ready.status(), 503);
    assert_eq!(ready.text().await.unwrap(), "the disk is nearly full\n");

    let reload = Arc::clone(&server.reload);
    let config = Config::parse("min_free_bytes = 1", Path::new("t.toml")).unwrap();
    let later = tokio::task::spawn_blocking(move || reload.apply(&config)).await.unwrap().unwrap();
    assert_eq!(later, ["data"]);
    let recovers = async { while server.try_batch(&[track("a", "d")]).await.0 != 200 {} };
    timeout(PATIENCE, recovers).await.expect("it is looked at again");
    server.stop().await;
}

#[tokio::test]
async fn the_command_line_believes_the_certificates_it_is_given_and_no_others() {
    let folder = tempfile::tempdir().unwrap();
    certify(folder.path());
    let server = Server::start_with(folder.path(), &configured(folder.path())).await;
    let (url, token) =
        (format!("https://localhost:{}", server.address.port()), server.new_token.clone().unwrap());
    let list = async |ca: Option<&Path>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_headwater"));
        command.args(["consumers", "list", "--url", &url]).env("HEADWATER_ADMIN_TOKEN", &token);
        command.args(ca.iter().flat_map(|file| ["--ca".as_ref(), file.as_os_str()]));
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(list(Some(&folder.path().join("certificate.pem"))).await, (Some(0), String::new()));
    let mut plain = Command::new(env!("CARGO_BIN_EXE_headwater"));
    plain.args(["consumers", "list", "--url", &url.replace("https", "http")]);
    plain.env("HEADWATER_ADMIN_TOKEN", &token);
    let plain = tokio::task::spawn_blocking(move || plain.output().unwrap()).await.unwrap();
    let plain = String::from_utf8(plain.stderr).unwrap();
    assert!(plain.contains("if it speaks TLS, write https://"), "{plain}");
    let (code, wrong) = list(None).await;
    assert_eq!(code, Some(1));
    assert!(wrong.contains("name that with --ca"), "{wrong}");
    let other = tempfile::tempdir().unwrap();
    certify(other.path());
    let (code, wrong) = list(Some(&other.path().join("certificate.pem"))).await;
    assert_eq!(code, Some(1));
    assert!(wrong.contains("certificate.pem vouches for") && !wrong.contains("--ca"), "{wrong}");
    let (code, wrong) = list(Some(&folder.path().join("key.pem"))).await;
    assert_eq!(code, Some(1));
    assert!(wrong.contains("has no certificate in it"), "{wrong}");
    server.stop().await;
}

/// As `openssl req -x509` makes it: its own CA. For this name, until the end of that year.
fn certify_as_openssl_does(folder: &Path, name: &str, until: i32) {
    let mut about = rcgen::CertificateParams::new([name.to_owned()]).unwrap();
    about.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    (about.not_before, about.not_after) =
        (rcgen::date_time_ymd(2020, 1, 1), rcgen::date_time_ymd(until, 12, 31));
    let key = rcgen::KeyPair::generate().unwrap();
    std::fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
    std::fs::write(folder.join("certificate.pem"), about.self_signed(&key).unwrap().pem()).unwrap();
}

#[tokio::test]
async fn a_self_made_certificate_is_believed_by_name_and_while_it_is_valid() {
    let other = tempfile::tempdir().unwrap();
    certify_as_openssl_does(other.path(), "localhost", 4000);
    let other = other.path().join("certificate.pem");
    for (name, until, named, expected) in [
        ("localhost", 4000, None, ""),
        ("localhost", 2021, None, "expired"),
        ("elsewhere.example", 4000, None, "not valid for"),
        // The same name, another key.
        ("localhost", 4000, Some(&other), "certificate.pem vouches for"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        certify_as_openssl_does(folder.path(), name, until);
        let server = Server::start_with(folder.path(), &configured(folder.path())).await;
        let mut command = Command::new(env!("CARGO_BIN_EXE_headwater"));
        let url = format!("https://localhost:{}", server.address.port());
        command.args(["consumers", "list", "--url", &url, "--ca"]);
        command.arg(named.unwrap_or(&folder.path().join("certificate.pem")));
        command.env("HEADWATER_ADMIN_TOKEN", server.new_token.as_ref().unwrap());
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.success(), expected.is_empty(), "{name} {until}: {said}");
        assert!(said.contains(expected), "{name} {until}: {said}");
        server.stop().await;
    }
}
