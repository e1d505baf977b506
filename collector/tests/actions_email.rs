//! Mail, handed to a real mail server in a process of its own (aiosmtpd, which `make test` installs): with each kind of TLS, and with each way
//! of not being taken.
#![allow(clippy::unwrap_used, reason = "what a test expects, it unwraps, in its functions too")]

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::actions::{mail::MailServer, message, open, reason};
use headwater_collector::actions::Outcome;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

const TO: &str = "ann@b.example";

async fn send(lines: &str, to: &str) -> Outcome {
    let outcome = open(lines).unwrap().send(&message(Some(to))).await;
    let printed = format!("{outcome:?}");
    assert!(!printed.contains("b.example") && !printed.contains("sesame"), "{printed}");
    outcome
}

#[tokio::test]
async fn a_mail_arrives_as_it_was_written_with_each_kind_of_tls() {
    let server = MailServer::start();
    for tls in ["implicit", "starttls", "none"] {
        let outcome = send(&server.lines(tls), TO).await;
        let Outcome::Accepted { reference: Some(id) } = outcome else {
            panic!("{tls}: {outcome:?}")
        };
        let mail = server.next();
        assert_eq!(mail["tls"], tls != "none", "{tls}");
        assert_eq!(mail["login"], if tls == "none" { "" } else { "shop" });
        assert_eq!((&mail["from"], &mail["to"][0]), (&"hello@shop.example".into(), &TO.into()));
        let data = mail["data"].as_str().unwrap();
        for header in [
            &*format!("Message-ID: {id}"),
            "List-Unsubscribe: <https://shop.example/u/u%201>",
            "List-Unsubscribe-Post: List-Unsubscribe=One-Click",
        ] {
            assert!(data.lines().any(|line| line == header), "{header} in {data}");
        }
        assert_eq!(parts(data), read_parts(), "{data}");
    }
    assert!(!open(&server.lines("none")).unwrap().takes_key());
}

/// What Python's own reader of mail finds in it: the subject, then each part.
fn parts(data: &str) -> Vec<String> {
    use std::io::Write as _;
    let program = "import email, email.policy, json, sys\n\
         mail = email.message_from_bytes(sys.stdin.buffer.read(), policy=email.policy.default)\n\
         print(json.dumps([mail['subject'], str(mail['from'])] + [part.get_content() for part in mail.iter_parts()]))";
    let mut python = Command::new("python3")
        .args(["-c", program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    python.stdin.take().unwrap().write_all(data.as_bytes()).unwrap();
    let said = python.wait_with_output().unwrap();
    let parts: Vec<String> = serde_json::from_slice(&said.stdout).unwrap();
    parts.iter().map(|part| part.replace("\r\n", "\n").trim_end().to_owned()).collect()
}

fn read_parts() -> Vec<String> {
    let message = message(None).rendered;
    let from = "Größe <hello@shop.example>".to_owned();
    let all = [message.subject.unwrap(), from, message.text.unwrap(), message.html.unwrap()];
    all.map(|part| part.trim_end().to_owned()).to_vec()
}

#[tokio::test]
async fn a_mail_cannot_end_itself_and_begin_another() {
    let server = MailServer::start();
    for end in ["\r\n.\r\n", "\n.\n", "\r.\r", "\n.\r\n", "\r\n.\n", "\r\n.\r"] {
        let mut two = message(Some(TO));
        let text =
            format!("one{end}MAIL FROM:<x@y.example>\r\nRCPT TO:<x@y.example>\r\nDATA\r\ntwo");
        (two.rendered.text, two.rendered.html) = (Some(text), None);
        let outcome = open(&server.lines("none")).unwrap().send(&two).await;
        assert_eq!(outcome.as_str(), "accepted", "{outcome:?}");
        let mail = server.next();
        assert_eq!(mail["to"], serde_json::json!([TO]));
        assert!(mail["data"].as_str().unwrap().contains("two"), "{mail}");
    }
    assert!(server.took_nothing());
}

#[tokio::test]
async fn each_no_of_a_mail_server_is_understood() {
    let server = MailServer::start();
    for (to, is, code) in [
        ("refused@b.example", "refused", "550"),
        ("policy@b.example", "refused", "550"),
        ("bare@b.example", "refused", "550"),
        ("busy@b.example", "failed", "451"),
        ("later@b.example", "failed", "452"),
        ("spam@b.example", "refused", "554"),
    ] {
        for tls in ["implicit", "starttls", "none"] {
            let outcome = send(&server.lines(tls), to).await;
            assert_eq!(outcome.as_str(), is, "{to}: {outcome:?}");
            assert!(reason(&outcome).contains(code), "{outcome:?}");
            // Only one of them says that there is nobody.
            let is_nobody = matches!(outcome, Outcome::NeverAgain { .. });
            assert_eq!(is_nobody, to == "refused@b.example", "{to}: {outcome:?}");
        }
    }
    assert!(server.took_nothing());
}

#[tokio::test]
async fn a_mail_whose_answer_is_lost_is_unknown() {
    let server = MailServer::start();
    for tls in ["implicit", "starttls", "none"] {
        let outcome = send(&server.lines(tls), "lost@b.example").await;
        assert_eq!(outcome.as_str(), "unknown", "{tls}: {outcome:?}");
        assert_eq!(server.next()["to"][0], "lost@b.example", "the server had it");
    }
    let start = Instant::now();
    let outcome = send(&(server.lines("starttls") + "timeout_seconds = 1"), "slow@b.example").await;
    assert_eq!(outcome, Outcome::Unknown { reason: "time-out: no answer to the mail".to_owned() });
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

#[tokio::test]
async fn what_goes_wrong_before_the_mail_is_failed_and_nothing_is_sent() {
    let server = MailServer::start();
    let gone = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap().port()
    };
    let port = |tls: &str| format!("port = {}", server.ports[tls]);
    let strangers = |lines: String| -> String {
        lines
            .lines()
            .filter(|line| !line.starts_with("authorities"))
            .map(|line| format!("{line}\n"))
            .collect()
    };
    let of = |tls: &str| server.lines(tls);
    for (what, lines, part) in [
        (
            "nobody listens",
            of("implicit").replace(&port("implicit"), &format!("port = {gone}")),
            "cannot connect",
        ),
        ("a stranger's certificate", strangers(of("implicit")), "certificate"),
        ("a stranger's certificate", strangers(of("starttls")), "certificate"),
        ("another's name", of("implicit").replace("'localhost'", "'127.0.0.1'"), "certificate"),
        ("a wrong password", of("implicit").replace("open sesame", "please sesame"), "535"),
        ("a wrong password", of("starttls").replace("open sesame", "please sesame"), "535"),
        (
            "no password",
            of("starttls").replace("username = 'shop'\npassword = 'open sesame'\n", ""),
            "530",
        ),
        ("no TLS there", of("starttls").replace(&port("starttls"), &port("plain")), "before TLS"),
        ("TLS is wanted", of("none").replace(&port("plain"), &port("starttls")), "530"),
    ] {
        let outcome = send(&lines, TO).await;
        assert_eq!(outcome.as_str(), "failed", "{what}: {outcome:?}");
        assert!(reason(&outcome).contains(part), "{what}: {outcome:?}");
    }
    assert!(server.took_nothing());
}

#[tokio::test]
async fn a_server_that_says_nothing_ends_with_the_time_out() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    for tls in ["none", "starttls", "implicit"] {
        let lines = format!(
            "kind = 'email'\nhost = '127.0.0.1'\nport = {port}\ntls = '{tls}'\nfrom = 'a@c.example'\ntimeout_seconds = 1"
        );
        let outcome = send(&lines, TO).await;
        assert_eq!(
            (outcome.as_str(), reason(&outcome)),
            ("failed", "time-out: the mail server takes too long")
        );
    }
}

/// What someone in between says before TLS must not be taken for the server's answer after it.
#[tokio::test]
async fn what_is_said_before_tls_does_not_count_after_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let (read, mut write) = stream.into_split();
        let (mut read, mut line) = (tokio::io::BufReader::new(read), String::new());
        write.write_all(b"220-mail.example\r\n220 ready\r\n").await.unwrap();
        read.read_line(&mut line).await.unwrap();
        write.write_all(b"250-mail.example\r\n250 STARTTLS\r\n").await.unwrap();
        read.read_line(&mut line).await.unwrap();
        write
            .write_all(b"220 go\r\n250 mail.example\r\n250 ok\r\n250 ok\r\n354 go\r\n250 taken\r\n")
            .await
            .unwrap();
        let mut rest = Vec::new();
        drop(read.read_to_end(&mut rest).await);
        (line, rest)
    });
    let lines = format!(
        "kind = 'email'\nhost = '127.0.0.1'\nport = {port}\ntls = 'starttls'\nfrom = 'a@c.example'"
    );
    assert_eq!(send(&lines, TO).await.as_str(), "failed");
    let (said, rest) = heard.await.unwrap();
    assert_eq!(said, "EHLO [127.0.0.1]\r\nSTARTTLS\r\n");
    assert!(!rest.windows(9).any(|piece| piece == b"MAIL FROM"), "no mail goes without TLS");
}

#[tokio::test]
async fn mail_goes_to_this_machine_or_where_it_may() {
    let lines = |host: &str, more: &str| {
        format!("kind = 'email'\nhost = '{host}'\nfrom = 'a@c.example'\n{more}")
    };
    let error = open(&lines("10.0.0.1", "")).unwrap_err().to_string();
    assert!(error.contains("`10.0.0.1` is at 10.0.0.1, which is not a public address"), "{error}");
    for (host, more) in
        [("10.0.0.1", "allow_private = ['10.0.0.0/8']"), ("::1", ""), ("mail.example", "")]
    {
        open(&lines(host, more)).unwrap();
    }
    let outcome = send(&lines("1.1.1.1", "tls = 'none'\nallow_private = true"), TO).await;
    assert!(reason(&outcome).contains("`tls = \"none\"` is for this machine"), "{outcome:?}");
    for (more, part) in [
        ("authorities = '/nowhere'", "/nowhere"),
        (
            "unsubscribe = 'https://h/{{ persn }}'",
            "`unsubscribe`: unknown variable `persn`; did you mean `person`?",
        ),
    ] {
        let error = open(&lines("mail.example", more)).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    assert!(
        open(&lines("a b", "")).unwrap_err().to_string().contains("neither a name nor an address")
    );
}
