//! What the vendors publish for themselves, against what we send them: Slack's types check our messages, Twilio's client sends beside us.
//! `make test` installs both in `collector/tests/actions`.
#![allow(clippy::unwrap_used, reason = "what a test expects, it unwraps, in its functions too")]

use std::{collections::BTreeMap, fmt::Write as _, fs, os::unix::fs::symlink, process::Command};

use crate::actions::{self, Recorder, folder, message, open};
use serde_json::{Value, json};

fn installed() -> std::path::PathBuf {
    let modules = folder().join("node_modules");
    assert!(modules.is_dir(), "{} is not there: make .build/npm-actions", modules.display());
    modules
}

/// What the TypeScript compiler has against these messages.
fn type_check(messages: &[Value]) -> Result<(), String> {
    let place = tempfile::tempdir().unwrap();
    symlink(installed(), place.path().join("node_modules")).unwrap();
    let mut program = "import type { KnownBlock } from \"@slack/types\";\n\
         type Posted = { text: string; blocks: KnownBlock[]; channel?: string; unfurl_links?: boolean; unfurl_media?: boolean };\n"
        .to_owned();
    for (n, message) in messages.iter().enumerate() {
        writeln!(program, "export const message{n}: Posted = {message};").unwrap();
    }
    fs::write(place.path().join("messages.ts"), program).unwrap();
    let options =
        ["--noEmit", "--strict", "--module", "nodenext", "--target", "es2022", "messages.ts"];
    let tsc = installed().join(".bin/tsc");
    let said = Command::new(tsc).args(options).current_dir(place.path()).output().unwrap();
    match said.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&said.stdout).into_owned()),
    }
}

#[tokio::test]
async fn slacks_own_types_have_our_messages() {
    let server = Recorder::start().await;
    let url = &server.url;
    let bot = format!(
        "kind = 'slack'\ntoken = 'x'\nchannel = '#a'\napi_url = '{url}/api'\nallow_private = true"
    );
    let hook = format!("kind = 'slack'\nwebhook_url = '{url}/services/x'\nallow_private = true");
    let mut bare = message(None);
    bare.rendered.title = None;
    bare.context = json!({});
    let mut long = message(None);
    long.rendered.markdown = Some("# word\n\nand & [link](https://h/)\n".repeat(10_000));
    for lines in [bot, hook] {
        let slack = open(&lines).unwrap();
        for message in [&message(None), &bare, &long] {
            slack.send(message).await;
        }
    }
    let messages: Vec<_> = server.posted().iter().map(actions::Posted::json).collect();
    assert_eq!(messages.len(), 6);
    type_check(&messages).unwrap();
    // That the check sees what is wrong.
    for (from, to) in [
        ("\"verbatim\"", "\"verbatm\""),
        ("\"header\"", "\"heading\""),
        ("\"action_id\":\"", "\"action_id\":7,\"x\":\""),
    ] {
        let wrong = messages[0].to_string().replacen(from, to, 1);
        assert_ne!(wrong, messages[0].to_string());
        let said = type_check(&[serde_json::from_str(&wrong).unwrap()]).unwrap_err();
        assert!(said.contains("error TS"), "{said}");
    }
}

#[tokio::test]
async fn a_text_is_the_request_that_twilios_own_client_makes() {
    const SID: &str = "AC0123456789abcdef0123456789abcdef";
    const SERVICE: &str = "MG0123456789abcdef0123456789abcdef";
    let server = Recorder::start().await;
    server.answer(201, &[("content-type", "application/json")], r#"{"sid":"SM1"}"#);
    let (to, text) = ("+15005550010", message(None).rendered.text.unwrap());
    installed();
    for from in ["+15005550006", SERVICE, "Shop 24"] {
        let lines = format!(
            "kind = 'sms'\naccount_sid = '{SID}'\nauth_token = 't0:ken&'\nfrom = '{from}'\napi_url = '{}'\nallow_private = true",
            server.url
        );
        assert_eq!(open(&lines).unwrap().send(&message(Some(to))).await.as_str(), "accepted");
        let ours = server.last();
        let theirs = {
            let mut client = Command::new("node");
            client.arg(folder().join("twilio.mjs")).args([
                &server.url,
                SID,
                "t0:ken&",
                to,
                from,
                &text,
            ]);
            let said = tokio::task::spawn_blocking(move || client.output().unwrap()).await.unwrap();
            assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
            server.last()
        };
        assert_eq!(ours.target, theirs.target);
        for name in ["authorization", "content-type", "accept"] {
            assert_eq!(ours.header(name), theirs.header(name), "{name}");
        }
        let form = |body: &[u8]| -> BTreeMap<String, String> {
            form_urlencoded::parse(body).into_owned().collect()
        };
        assert_eq!(form(&ours.body), form(&theirs.body));
        assert_eq!(form(&ours.body)["Body"], text);
    }
    assert_eq!(server.posted().len(), 6);
}
