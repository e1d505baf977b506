//! Who is erased while rules are busy with them: nothing that rules write comes after it, and no page keeps what a row once said.

use std::fs;

use serde_json::json;

use super::{World, client, get, send, until};

const RULES: &str = "[rules.a]\non = 'A'\nthen = [{ emit = 'Echo' }, { set = { traits = { seen = true } } }]\n\
    [features.last]\non = 'A'\nlast = 'event.properties.word'\n\
    [rules.b]\non = 'A'\nif = 'features.last != event.properties.word'\nthen = []\n";

#[tokio::test]
async fn nothing_is_written_about_who_was_erased_by_what_rules_had_still_to_do() {
    let world = World::new(&[("a.toml", RULES)]).await;
    let server = world.start().await;
    let token = server.new_token.clone().unwrap();
    for round in 0..3 {
        let user = format!("u-{round}");
        let event = |n| json!({"type": "track", "event": "A", "userId": user, "messageId": format!("{user}-{n}")});
        send(&server, "wk_web", (0..400).map(event).collect()).await;
        let at = server.at(&format!("/v1/people/{user}"));
        let person = until("them to be known", async || {
            let answer = client().get(&at).bearer_auth(&token).send().await.unwrap();
            let is_known = answer.status() == 200;
            let text = answer.text().await.unwrap();
            is_known.then(|| serde_json::from_str::<serde_json::Value>(&text).unwrap())
        })
        .await;
        let body = json!({"confirm": person["id"]}).to_string();
        let at = server.at(&format!("/v1/people/{user}/erase"));
        let erased = client().post(at).bearer_auth(&token).body(body).send().await.unwrap();
        assert_eq!(erased.status(), 200);
    }
    // What was refused is said in the log: once that is folded, all that rules had to do is over.
    until("the outbox to be empty", async || (world.pending() == 0).then_some(())).await;
    let left = server.events(&token).await;
    let is_of_them = |record: &&serde_json::Value| {
        let text = record.to_string();
        text.contains("\"u-") && !text.contains("Person Erased")
    };
    assert_eq!(left.iter().find(is_of_them), None);
    assert!(!left.is_empty(), "it says who was erased");
    server.stop().await;
}

#[tokio::test]
async fn no_page_keeps_what_a_row_said_of_who_was_erased() {
    let world = World::new(&[("a.toml", RULES)]).await;
    let server = world.start().await;
    let token = server.new_token.clone().unwrap();
    for n in 0..40 {
        let others = (0..5).map(|other| json!({"type": "identify", "userId": format!("o-{n}-{other}"), "messageId": format!("o-{n}-{other}"),
            "traits": {"email": format!("o-{n}-{other}@example.com")}}));
        let theirs = [
            json!({"type": "identify", "userId": "u-goes", "anonymousId": "d-goes", "messageId": format!("i-{n}"),
                "traits": {"email": "goes@example.com", "street": format!("Rumpelstiltskin {n}")}}),
            json!({"type": "track", "event": "A", "userId": "u-goes", "messageId": format!("a-{n}"),
                "properties": {"word": format!("Rumpelstiltskin {n}")}}),
        ];
        send(&server, "wk_app", theirs.into_iter().chain(others).collect()).await;
        // Each in a transaction of its own.
        let folded = format!("/v1/people/o-{n}-4");
        until("them to be folded", async || {
            let asked = client().get(server.at(&folded)).bearer_auth(&token).send().await.unwrap();
            (asked.status() == 200).then_some(())
        })
        .await;
    }
    let person = get(&server, &token, "/v1/people/u-goes").await;
    let body = json!({"confirm": person["id"]}).to_string();
    let erase = client().post(server.at("/v1/people/u-goes/erase")).bearer_auth(&token).body(body);
    assert_eq!(erase.send().await.unwrap().status(), 200);
    server.stop().await;
    for name in ["people.db", "people.db-wal"] {
        let Ok(bytes) = fs::read(world.data().join(name)) else { continue };
        for text in ["Rumpelstiltskin", "goes@example.com"] {
            let is_it = |part: &[u8]| part.eq_ignore_ascii_case(text.as_bytes());
            assert_eq!(
                bytes.windows(text.len()).filter(|part| is_it(part)).count(),
                0,
                "{name}: {text}"
            );
        }
    }
}
