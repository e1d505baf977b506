//! Decisions over the real server: what only looks as if it decided does not, and who asks again gets the same answer.
#![allow(clippy::unwrap_used, reason = "what a test expects, it unwraps, in its functions too")]

mod server;

use std::fs;

use serde_json::{Value, json};
use server::{Server, client};

const RULES: &str = r#"
[rules.freeze]
on = "Card Used"
from = "server"
decision = "freeze"

[rules.freeze_more]
on = "Card Tried"
from = "server"
dry_run = true
decision = "freeze"
"#;

async fn decide(server: &Server, event: &str, id: &str) -> Value {
    let body = json!({"type": "track", "event": event, "userId": "u-1", "messageId": id});
    let request = client().post(server.at("/v1/decide?deadline_ms=5000"));
    let answer = request.basic_auth("wk_app", Some("")).body(body.to_string()).send().await;
    serde_json::from_str(&answer.unwrap().text().await.unwrap()).unwrap()
}

#[tokio::test]
async fn a_dry_run_or_a_stopped_rule_decides_nothing_and_a_repeated_question_has_the_same_answer() {
    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("rules");
    fs::create_dir(&rules).unwrap();
    fs::write(rules.join("card.toml"), RULES).unwrap();
    let toml = format!(
        "rules = '{}'\n[sources.app]\nwrite_key = 'wk_app'\ntrust = 'server'\n",
        rules.display()
    );
    let server = Server::start_with(&folder.path().join("data"), &toml).await;
    let first = decide(&server, "Card Used", "m-1").await;
    assert_eq!((&first["decision"], &first["by"]), (&json!("freeze"), &json!("freeze")), "{first}");
    let again = decide(&server, "Card Used", "m-1").await;
    assert_eq!((&again["duplicate"], &again["complete"]), (&json!(true), &json!(true)), "{again}");
    assert_eq!((&again["decision"], &again["firings"]), (&first["decision"], &first["firings"]));

    let dry = decide(&server, "Card Tried", "m-2").await;
    assert_eq!((&dry["decision"], &dry["complete"]), (&json!("allow"), &json!(true)), "{dry}");
    assert_eq!(dry["firings"][0]["held"], "dry run");

    let token = server.new_token.clone().unwrap();
    let stop = client().post(server.at("/v1/rules/freeze/stop")).bearer_auth(token).send();
    assert_eq!(stop.await.unwrap().status(), 200);
    let stopped = decide(&server, "Card Used", "m-3").await;
    assert_eq!((&stopped["decision"], &stopped["by"]), (&json!("allow"), &Value::Null));
    server.stop().await;
}
