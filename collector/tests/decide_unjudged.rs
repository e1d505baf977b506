//! A condition that cannot be worked out does not hold: who asks for a decision is told, and so is who watches the collector.
#![allow(clippy::unwrap_used, reason = "what a test expects, it unwraps, in its functions too")]

use std::fs;

use crate::server::{self, SECRET, Server, client};
use serde_json::{Value, json};

const CONDITION: &str = "event.properties.amount > 500";
const RULES: &str = "
[features.latest]
on = 'Card Used'
last = 'event.properties.amount'

[rules.fraud]
on = 'Card Used'
if = 'event.properties.amount > 500'
decision = 'freeze'

[rules.new]
on = 'Card Used'
if = 'features.latest > 500'
decision = 'ask'

[rules.careful]
on = 'Card Used'
if = 'has(event.properties.country) && event.properties.country > 3'
decision = 'block'

[rules.dry]
on = 'Card Used'
if = 'event.properties.amount > 500'
decision = 'freeze'
dry_run = true

[rules.silent]
on = 'Card Used'
if = 'event.properties.amount > 500'
then = []

[scores.risk]
model = 'm'
on = 'Card Asked'
inputs = { n = '1' }
timeout = '1s'
fallback = 0.9

[rules.answered]
on = 'Score Answered'
if = 'event.properties.value > event.properties.nothing'
decision = 'freeze'
";

async fn decide(server: &Server, event: &str, id: &str, properties: Value) -> Value {
    let body = json!({"type": "track", "event": event, "userId": "u-1", "messageId": id, "properties": properties});
    server::decide(server, &body, 5000).await
}

async fn counted(server: &Server, rule: &str) -> u64 {
    let page = client().get(server.at("/metrics")).bearer_auth(server.new_token.clone().unwrap());
    let page = page.send().await.unwrap().text().await.unwrap();
    let name = format!("headwater_rule_unjudged_total{{rule=\"{rule}\"}} ");
    page.lines().find_map(|it| it.strip_prefix(&name)).unwrap().parse().unwrap()
}

async fn started(folder: &std::path::Path) -> Server {
    let rules = folder.join("rules");
    fs::create_dir_all(&rules).unwrap();
    fs::write(rules.join("card.toml"), RULES).unwrap();
    let toml = format!(
        "rules = '{}'\n[sources.app]\nwrite_key = 'wk_app'\ntrust = 'server'\n\
         [destinations.m]\nkind = 'webhook'\nurl = 'http://127.0.0.1:1/'\nsecret = '{SECRET}'\nallow_private = true\n",
        rules.display()
    );
    Server::start_with(&folder.join("data"), &toml).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_cannot_be_judged_is_named_in_the_answer_the_metrics_and_the_list() {
    let folder = tempfile::tempdir().unwrap();
    let server = started(folder.path()).await;
    let fine = decide(&server, "Card Used", "m-1", json!({"amount": 2900})).await;
    assert_eq!(
        (&fine["decision"], &fine["unjudged"]),
        (&json!("freeze"), &json!([])),
        "what is not known of somebody yet is no mistake: {fine}"
    );
    assert_eq!(counted(&server, "fraud").await, 0);

    let text = decide(&server, "Card Used", "m-2", json!({"amount": "2900"})).await;
    let why = "`>` does not work on a text and a whole number";
    let unjudged = json!([{ "rule": "fraud", "condition": CONDITION, "why": why }]);
    assert_eq!(text["unjudged"], unjudged, "{text}");
    assert_eq!(text["complete"], true);
    let again = decide(&server, "Card Used", "m-2", json!({"amount": "2900"})).await;
    assert_eq!((&again["duplicate"], &again["unjudged"]), (&json!(true), &unjudged));

    let missing = decide(&server, "Card Used", "m-3", json!({})).await;
    let of: Vec<_> = missing["unjudged"].as_array().unwrap().iter().map(|it| &it["rule"]).collect();
    // What was kept last is the text.
    assert_eq!(of, [&json!("fraud"), &json!("new")], "{missing}");
    let why = missing["unjudged"][0]["why"].as_str().unwrap();
    assert!(why.starts_with("there is no `amount`"), "{why}");
    for (rule, count) in [("fraud", 2), ("new", 1), ("dry", 2), ("silent", 2), ("careful", 0)] {
        assert_eq!(counted(&server, rule).await, count, "{rule}");
    }

    let token = server.new_token.clone().unwrap();
    let rules = client().get(server.at("/v1/rules")).bearer_auth(&token).send().await.unwrap();
    let rules: Value = serde_json::from_str(&rules.text().await.unwrap()).unwrap();
    let of = |name: &str| {
        let mut all = rules["rules"].as_array().unwrap().iter();
        all.find(|it| it["name"] == name).unwrap()["unjudged"].clone()
    };
    assert_eq!((&of("fraud")["times"], &of("fraud")["condition"]), (&json!(2), &json!(CONDITION)));
    assert_eq!(of("careful"), Value::Null);
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_headwater"));
    let url = server.at("");
    command.args(["rules", "list", "--url", url.trim_end_matches('/')]);
    let said = command.env("HEADWATER_ADMIN_TOKEN", &token).output().unwrap().stdout;
    let said = String::from_utf8(said).unwrap();
    let line = "could not be judged 2 times since the start, last at ";
    assert!(said.contains(line) && said.contains("there is no `amount`"), "{said}");

    // Of a rule that is stopped nothing would come anyway.
    let stop = client().post(server.at("/v1/rules/fraud/stop")).bearer_auth(&token).send();
    assert_eq!(stop.await.unwrap().status(), 200);
    let stopped = decide(&server, "Card Used", "m-4", json!({"amount": "1"})).await;
    assert!(!stopped["unjudged"].to_string().contains("fraud"), "{stopped}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_models_answer_cannot_be_judged_by_is_told_with_the_event_it_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let server = started(folder.path()).await;
    let asked = decide(&server, "Card Asked", "m-1", json!({})).await;
    assert_eq!(asked["unjudged"][0]["rule"], "answered", "{asked}");
}
