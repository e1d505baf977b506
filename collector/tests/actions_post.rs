//! Actions that are posted, Slack's, webhooks and texts, over real TCP: what is sent, and what each way of not being answered means.
#![allow(clippy::unwrap_used, reason = "what a test expects, it unwraps, in its functions too")]

use std::time::Duration;

use crate::actions::{Recorder, message, open, reason};
use headwater_collector::actions::{Message, Outcome, Templates};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oDC2FVsBQIhrs=";
const SID: &str = "AC0123456789abcdef0123456789abcdef";
const NUMBER: &str = "+15005550010";

/// One of each kind, at this address; of Slack, both.
fn each_kind(url: &str) -> [(&'static str, String); 4] {
    [
        (
            "webhook",
            format!(
                "kind = 'webhook'\nurl = '{url}/in?key=t0ken'\nsecret = '{SECRET}'\nallow_private = true\ntimeout_seconds = 2"
            ),
        ),
        (
            "slack",
            format!("kind = 'slack'\nwebhook_url = '{url}/services/t0ken'\nallow_private = true"),
        ),
        (
            "slack",
            format!(
                "kind = 'slack'\ntoken = 'xoxb-t0ken'\nchannel = '#sales'\napi_url = '{url}/api/'\nallow_private = true"
            ),
        ),
        (
            "sms",
            format!(
                "kind = 'sms'\naccount_sid = '{SID}'\nauth_token = 't0ken'\nfrom = '+15005550006'\napi_url = '{url}'\nallow_private = true"
            ),
        ),
    ]
}

fn of(lines: &str) -> headwater_collector::actions::Destination {
    open(lines).unwrap()
}

#[tokio::test]
async fn a_webhook_is_signed_and_has_the_key_at_every_attempt() {
    let server = Recorder::start().await;
    let [(_, lines), ..] = each_kind(&server.url);
    let webhook = of(&lines);
    assert!(webhook.takes_key() && webhook.kind() == "webhook");
    for status in [500, 204] {
        server.answer(status, &[], "");
        webhook.send(&message(None)).await;
    }
    let verifier = standardwebhooks::Webhook::new(SECRET).unwrap();
    let [first, second] = &server.posted()[..] else { panic!("two were posted") };
    for posted in [first, second] {
        assert_eq!(posted.target, "POST /in?key=t0ken");
        assert_eq!(
            (posted.header("webhook-id"), posted.header("idempotency-key")),
            ("act_01HZX", "act_01HZX")
        );
        verifier.verify(&posted.body, &posted.headers).unwrap();
    }
    assert_eq!(first.body, second.body);
    let body = first.json();
    assert_eq!(body["id"], "act_01HZX");
    assert_eq!(body["person"], json!({"id": "u 1", "name": "Ann"}));
}

#[tokio::test]
async fn a_webhooks_status_says_what_became_of_it() {
    let server = Recorder::start().await;
    let [(_, lines), ..] = each_kind(&server.url);
    let webhook = of(&lines);
    for (status, is) in [
        (204, "accepted"),
        (400, "refused"),
        (410, "refused"),
        (401, "failed"),
        (302, "failed"),
        (429, "failed"),
        (500, "failed"),
    ] {
        server.answer(status, &[("retry-after", "7")], "no, ann@b.example, +1 500 555 00 10");
        let outcome = webhook.send(&message(Some("ann@b.example"))).await;
        assert_eq!(outcome.as_str(), is, "{status}");
        let printed = format!("{outcome:?}");
        assert!(
            !printed.contains("ann@") && !printed.contains("500 555") && !printed.contains("t0ken"),
            "{printed}"
        );
        if let Outcome::Failed { retry_after, .. } = outcome {
            assert_eq!(retry_after, Some(Duration::from_secs(7)));
        }
    }
}

#[tokio::test]
async fn a_bot_posts_blocks_with_buttons_and_says_where_the_message_is() {
    let server = Recorder::start().await;
    let [_, _, (_, lines), _] = each_kind(&server.url);
    let bot = of(&lines);
    assert!(!bot.takes_key());
    server.answer(200, &[], r#"{"ok":true,"channel":"C1","ts":"1503435956.000247","message":{}}"#);
    let posted = Outcome::Accepted { reference: Some("C1:1503435956.000247".to_owned()) };
    assert_eq!(bot.send(&message(None)).await, posted);
    let request = server.last();
    assert_eq!(request.target, "POST /api/chat.postMessage");
    assert_eq!(request.header("authorization"), "Bearer xoxb-t0ken");
    assert_eq!(request.header("content-type"), "application/json; charset=utf-8");
    let body = request.json();
    assert_eq!(
        (&body["channel"], &body["text"]),
        (&json!("#sales"), &json!("Ann's trial &amp; &lt;more&gt;"))
    );
    let kinds: Vec<_> = body["blocks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|block| block["type"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["header", "section", "context", "actions"]);
    assert_eq!(
        body["blocks"][1]["text"]["text"],
        "*Ann* did not come back\n\n• <https://h/p?a=1&amp;b=2|profile>\n• &lt;!channel&gt;"
    );
    bot.send(&message(Some("C777"))).await;
    assert_eq!(server.last().json()["channel"], "C777");
}

#[tokio::test]
async fn no_name_becomes_a_header_or_a_line_of_a_title() {
    let server = Recorder::start().await;
    let folder = tempfile::tempdir().unwrap();
    let text = "+++\ntitle = \"For {{ person.name }}, today\"\n+++\nHello {{ person.name }}\n";
    std::fs::write(folder.path().join("a.md"), text).unwrap();
    std::fs::write(folder.path().join("a.txt"), "Hello {{ person.name }}").unwrap();
    let templates = Templates::read(folder.path()).unwrap();
    let name = "Ann\r\nX-Injected: yes\r\n\r\nPOST /other HTTP/1.1";
    let context = |name: &str| json!({"person": {"id": name, "name": name}});
    for (kind, lines) in each_kind(&server.url) {
        let destination = of(&lines);
        let mut heads = Vec::new();
        for name in ["Ann", name] {
            let context = context(name);
            let rendered = templates.render("a", &context).unwrap();
            let to = (kind == "sms").then_some("+15005550010");
            destination.send(&Message { rendered, context, ..message(to) }).await;
            let posted = server.last();
            let names: Vec<String> = posted.headers.keys().map(ToString::to_string).collect();
            heads.push((posted.target.clone(), names));
            match kind {
                "slack" => {
                    let title = &posted.json()["blocks"][0]["text"]["text"];
                    let on_one_line = name.replace("\r\n\r\n", " ").replace("\r\n", " ");
                    assert_eq!(*title, format!("For {on_one_line}, today"));
                }
                "webhook" => assert_eq!(posted.json()["person"]["name"], name, "a body keeps it"),
                _ => {}
            }
        }
        assert_eq!(heads[0], heads[1], "{kind}");
    }
    assert_eq!(server.posted().len(), 8, "one request for each");
}

#[tokio::test]
async fn slack_says_in_a_word_why_not() {
    let server = Recorder::start().await;
    let [_, (_, hook), (_, bot), _] = each_kind(&server.url);
    let (hook, bot) = (of(&hook), of(&bot));
    server.answer(200, &[], r#"{"ok":false,"error":"channel_not_found"}"#);
    let configured = bot.send(&message(None)).await;
    let own = bot.send(&message(Some("C777"))).await;
    assert_eq!((configured.as_str(), own.as_str()), ("failed", "refused"));
    assert_eq!(reason(&own), "channel_not_found");
    server.answer(429, &[("retry-after", "30")], "");
    for slack in [&hook, &bot] {
        let outcome = slack.send(&message(None)).await;
        assert!(
            matches!(outcome, Outcome::Failed { retry_after: Some(wait), .. } if wait.as_secs() == 30),
            "{outcome:?}"
        );
    }
    server.answer(200, &[], "ok");
    assert_eq!(hook.send(&message(None)).await, Outcome::Accepted { reference: None });
    let body = server.last().json();
    assert_eq!(body["channel"], json!(null));
    assert!(body["blocks"].as_array().unwrap().iter().all(|block| block["type"] != "actions"));
    server.answer(403, &[], "invalid_token");
    assert_eq!(
        hook.send(&message(None)).await,
        Outcome::Failed { reason: "invalid_token".into(), retry_after: None }
    );
    let mut nothing = message(None);
    nothing.rendered = Default::default();
    let before = server.posted().len();
    assert_eq!(bot.send(&nothing).await.as_str(), "refused");
    assert_eq!(server.posted().len(), before);
}

/// Slack's answer has all of the message in it again.
#[tokio::test]
async fn a_long_answer_is_read_to_its_end_and_one_that_breaks_off_says_nothing() {
    let server = Recorder::start().await;
    let [_, _, (_, lines), _] = each_kind(&server.url);
    let again = "x".repeat(300_000);
    server.answer(
        200,
        &[],
        &format!(r#"{{"ok":true,"message":"{again}","channel":"C1","ts":"1.2"}}"#),
    );
    assert_eq!(
        of(&lines).send(&message(None)).await,
        Outcome::Accepted { reference: Some("C1:1.2".to_owned()) }
    );

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let task = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            drop(stream.read(&mut [0; 64 * 1024]).await);
            let half = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"ok\":true,";
            drop(stream.write_all(half).await);
        }
    });
    for ((kind, lines), is) in
        each_kind(&url).into_iter().zip(["accepted", "accepted", "unknown", "accepted"])
    {
        let outcome = of(&lines).send(&message(Some(NUMBER))).await;
        assert_eq!(outcome.as_str(), is, "{kind}: {outcome:?}");
    }
    task.abort();
}

#[tokio::test]
async fn no_kind_follows_a_redirect() {
    let (server, elsewhere) = (Recorder::start().await, Recorder::start().await);
    server.answer(307, &[("location", &format!("{}/?key=hidden", elsewhere.url))], "");
    for (kind, lines) in each_kind(&server.url) {
        let outcome = of(&lines).send(&message(Some(NUMBER))).await;
        assert_eq!(outcome.as_str(), "failed", "{kind}: {outcome:?}");
        let reason = reason(&outcome);
        assert!(
            reason.contains("redirects are not followed") && !reason.contains("hidden"),
            "{reason}"
        );
    }
    assert!(elsewhere.posted().is_empty());
}

#[tokio::test]
async fn a_text_needs_a_number_and_something_to_say() {
    let server = Recorder::start().await;
    let [.., (_, lines)] = each_kind(&server.url);
    let sms = of(&lines);
    for to in [None, Some("ann@b.example"), Some("0123456"), Some("+1")] {
        let outcome = sms.send(&message(to)).await;
        assert_eq!(outcome.as_str(), "refused");
        assert!(!reason(&outcome).contains("ann"), "{outcome:?}");
    }
    let mut long = message(Some(NUMBER));
    long.rendered.text = Some("é".repeat(1601));
    assert!(reason(&sms.send(&long).await).contains("1600"));
    assert!(server.posted().is_empty());
    server.answer(
        400,
        &[],
        r#"{"code":21211,"message":"Invalid 'To' Phone Number: +15005550010","status":400}"#,
    );
    let outcome = sms.send(&message(Some(NUMBER))).await;
    assert_eq!(
        reason(&outcome),
        "400 Bad Request: Twilio's error 21211, https://www.twilio.com/docs/errors/21211"
    );
    server.answer(201, &[], r#"{"sid":"SM1"}"#);
    assert_eq!(
        sms.send(&message(Some(NUMBER))).await,
        Outcome::Accepted { reference: Some("SM1".into()) }
    );
}

#[tokio::test]
async fn nobody_there_is_failed_and_an_answer_that_was_lost_is_unknown() {
    let nobody = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    // Reads what comes, and closes: before any answer, or in the middle of its head.
    for said in ["", "HTTP/1.1 20"] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let task = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                drop(stream.read(&mut [0; 64 * 1024]).await);
                drop(stream.write_all(said.as_bytes()).await);
            }
        });
        for ((kind, gone), (_, lost)) in each_kind(&nobody).into_iter().zip(each_kind(&url)) {
            let gone = of(&gone).send(&message(Some(NUMBER))).await;
            assert_eq!(gone.as_str(), "failed", "{kind}: {gone:?}");
            assert!(reason(&gone).starts_with("cannot connect"), "{gone:?}");
            let lost = of(&lost).send(&message(Some(NUMBER))).await;
            assert_eq!(lost.as_str(), "unknown", "{kind}: {lost:?}");
            for outcome in [gone, lost] {
                let printed = format!("{outcome:?}");
                assert!(!printed.contains("t0ken") && !printed.contains(NUMBER), "{printed}");
            }
        }
        task.abort();
    }
}

#[tokio::test]
async fn no_answer_in_time_is_unknown() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let [(_, lines), ..] = each_kind(&format!("http://{}", listener.local_addr().unwrap()));
    let hangs = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        while stream.read(&mut [0; 1024]).await.is_ok_and(|count| count > 0) {}
    });
    let outcome = of(&lines).send(&message(None)).await;
    assert_eq!(outcome.as_str(), "unknown");
    assert!(reason(&outcome).starts_with("time-out"), "{outcome:?}");
    hangs.await.unwrap();
}

#[tokio::test]
async fn no_kind_reaches_a_private_address_unless_it_may() {
    let server = Recorder::start().await;
    for (kind, lines) in each_kind(&server.url) {
        let strict = lines.replace("allow_private = true", "");
        let error = open(&strict).unwrap_err().to_string();
        assert!(error.contains("is not a public address"), "{kind}: {error}");
        let outcome =
            of(&strict.replace("127.0.0.1", "localhost")).send(&message(Some(NUMBER))).await;
        assert_eq!(outcome.as_str(), "failed", "{kind}: {outcome:?}");
        assert!(reason(&outcome).contains("not a public address"), "{outcome:?}");
    }
    assert!(server.posted().is_empty());
}
