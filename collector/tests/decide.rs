//! Decisions over the real server: what only looks as if it decided does not, and who asks again gets the same answer.
#![allow(clippy::unwrap_used, reason = "what a test expects, it unwraps, in its functions too")]

use std::{fs, io::Write as _};

use crate::server::{self, Server, client};
use serde_json::{Value, json};

const RULES: &str = r#"
[rules.freeze]
on = "Card Used"
from = "server"
decision = "freeze"
urgent = true

[rules.noted]
on = "Card Used"
then = []

[rules.lost]
on = "Card Lost"
decision = "block"

[rules.lost_too]
on = "Card Lost"
decision = "ask"

[rules.freeze_more]
on = "Card Tried"
from = "server"
dry_run = true
decision = "freeze"
"#;

async fn decide(server: &Server, event: &str, id: &str) -> Value {
    decide_about(server, event, "u-1", id).await
}

async fn decide_about(server: &Server, event: &str, user: &str, id: &str) -> Value {
    // A retry may say another time.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let now = u64::try_from(now.as_millis()).unwrap();
    let body =
        json!({"type": "track", "event": event, "userId": user, "messageId": id, "timestamp": now});
    server::decide(server, &body, 5000).await
}

#[tokio::test(flavor = "multi_thread")]
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

    // Another event under this id is not what was decided about, whoever it names.
    for (event, user) in [("Card Lost", "u-1"), ("Card Used", "u-2")] {
        let other = decide_about(&server, event, user, "m-1").await;
        assert_eq!((&other["decision"], &other["by"]), (&json!("allow"), &Value::Null), "{other}");
        assert_eq!((&other["duplicate"], &other["complete"]), (&json!(true), &json!(false)));
        assert_eq!(other["firings"], json!([]));
        let why = other["undecided"].as_str().unwrap();
        assert!(why.starts_with("another event is stored under this `messageId`"), "{why}");
    }
    assert_eq!((&first["undecided"], &again["undecided"]), (&Value::Null, &Value::Null));

    // Compressed as any other call may be.
    let body = json!({"type": "track", "event": "Card Used", "userId": "u-1", "messageId": "m-gz"});
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(body.to_string().as_bytes()).unwrap();
    let request = client().post(server.at("/v1/decide?deadline_ms=5000"));
    let request = request.basic_auth("wk_app", Some("")).header("content-encoding", "gzip");
    let packed = request.body(gz.finish().unwrap()).send().await.unwrap().text().await.unwrap();
    assert!(packed.contains(r#""decision":"freeze""#), "{packed}");

    let dry = decide(&server, "Card Tried", "m-2").await;
    assert_eq!((&dry["decision"], &dry["complete"]), (&json!("allow"), &json!(true)), "{dry}");
    assert_eq!(dry["firings"][0]["held"], "dry run");
    assert_eq!(dry["firings"][0]["undecided"], "it is held: dry run");
    assert_eq!(first["firings"].as_array().unwrap().len(), 2, "{first}");
    let of = |answer: &Value, rule: &str| {
        let mut all = answer["firings"].as_array().unwrap().iter();
        all.find(|it| it["rule"] == rule).unwrap()["undecided"].clone()
    };
    assert_eq!((of(&first, "freeze"), of(&first, "noted")), (Value::Null, Value::Null));

    let token = server.new_token.clone().unwrap();
    let stop = client().post(server.at("/v1/rules/freeze/stop")).bearer_auth(&token).send();
    assert_eq!(stop.await.unwrap().status(), 200);
    let stopped = decide(&server, "Card Used", "m-3").await;
    assert_eq!((&stopped["decision"], &stopped["by"]), (&json!("allow"), &Value::Null));
    assert_eq!(of(&stopped, "freeze"), "the rule was stopped when the event came");
    // Who asks again about what was decided before is told the same as then.
    let before = decide(&server, "Card Used", "m-1").await;
    assert_eq!((&before["decision"], &before["firings"]), (&first["decision"], &first["firings"]));
    // Of two that decide one does, and the other says so.
    let two = decide(&server, "Card Lost", "m-4").await;
    let by = two["by"].as_str().unwrap();
    let other = if by == "lost" { "lost_too" } else { "lost" };
    assert_eq!(
        (of(&two, by), of(&two, other)),
        (Value::Null, json!(format!("`{by}` decides"))),
        "{two}"
    );
    // Who reads of it later is told the same, on the list of rules too.
    let read = async |path: &str| -> Value {
        let answer = client().get(server.at(path)).bearer_auth(&token).send().await.unwrap();
        serde_json::from_str(&answer.text().await.unwrap()).unwrap()
    };
    let firings = read("/v1/firings").await;
    let later = |rule: &str| {
        let mut all = firings["firings"].as_array().unwrap().iter();
        let fired = all.find(|it| it["rule"] == rule).unwrap();
        (fired["decision"].clone(), fired["undecided"].clone(), fired["why"]["decision"].clone())
    };
    let decision = |rule: &str| if rule == "lost" { json!("block") } else { json!("ask") };
    assert_eq!(later(by), (decision(by), Value::Null, decision(by)));
    let instead = json!(format!("`{by}` decides"));
    assert_eq!(later(other), (decision(other), instead, decision(other)));
    assert_eq!(later("freeze").1, "the rule was stopped when the event came");
    assert_eq!(later("freeze_more").1, "it is held: dry run");
    assert_eq!(later("noted"), (Value::Null, Value::Null, Value::Null));
    let why = read("/v1/rules/lost/why?who=u-1").await;
    assert_eq!(why["looked"][0]["firing"]["decision"], "block", "{why}");
    let rules = read("/v1/rules").await;
    let rules: Vec<_> = rules["rules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (it["name"].clone(), it["decision"].clone(), it["urgent"].clone()))
        .collect();
    assert!(rules.contains(&(json!("freeze"), json!("freeze"), json!(true))), "{rules:?}");
    assert!(rules.contains(&(json!("noted"), Value::Null, json!(false))), "{rules:?}");
    let says = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_headwater"));
        let url = server.at("");
        command.arg("rules").args(arguments).args(["--url", url.trim_end_matches('/')]);
        let output = command.env("HEADWATER_ADMIN_TOKEN", &token).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let list = says(&["list"]);
    let freeze = list.find("freeze (revision 1): STOPPED by first, past caps and quiet hours");
    let freeze = &list[freeze.unwrap_or_else(|| panic!("{list}"))..];
    assert!(freeze.contains("\n    decides freeze\n"), "{list}");
    let said = says(&["firings"]);
    assert!(said.contains(&format!("    decided {}\n", decision(by).as_str().unwrap())), "{said}");
    assert!(
        said.contains("    did not decide freeze: the rule was stopped when the event came\n"),
        "{said}"
    );
    // And so it stays when the rule goes on, for what came meanwhile and what came before.
    let resume = client().post(server.at("/v1/rules/freeze/resume")).bearer_auth(&token).send();
    assert_eq!(resume.await.unwrap().status(), 200);
    let again = decide(&server, "Card Used", "m-3").await;
    assert_eq!(
        (&again["decision"], &again["firings"]),
        (&stopped["decision"], &stopped["firings"])
    );
    assert_eq!(decide(&server, "Card Used", "m-1").await["decision"], "freeze");
    assert_eq!(decide(&server, "Card Used", "m-5").await["decision"], "freeze");
    let said = says(&["firings"]);
    assert!(said.contains("    did not decide freeze: the rule was stopped"), "{said}");
    server.stop().await;
}

const SEVERAL: [(&str, &str); 2] = [
    (
        "a.toml",
        "[features.n]\non = 'Card Used'\ncount = true\nwindow = '1d'\n\
         [rules.crosses]\ncrosses = { feature = 'n', above = 0 }\ndecision = 'crosses'\n\
         [rules.z_first]\non = 'Card Used'\ndecision = 'first'\n\
         [rules.a_second]\non = 'Card Used'\ndecision = 'second'\n",
    ),
    ("b.toml", "[rules.a_third]\non = 'Card Used'\ndecision = 'third'\n"),
];

#[tokio::test(flavor = "multi_thread")]
async fn of_several_rules_the_one_that_fired_last_decides_the_last_in_the_order_of_the_files() {
    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("rules");
    fs::create_dir(&rules).unwrap();
    for (name, text) in SEVERAL {
        fs::write(rules.join(name), text).unwrap();
    }
    let toml = format!(
        "rules = '{}'\n[sources.app]\nwrite_key = 'wk_app'\ntrust = 'server'\n",
        rules.display()
    );
    let server = Server::start_with(&folder.path().join("data"), &toml).await;
    let token = server.new_token.clone().unwrap();
    // What crosses a line is looked at once the event counts, after all that is set off by the event itself.
    let order = ["crosses", "a_third", "a_second", "z_first"];
    for (at, by) in order.iter().enumerate() {
        // Each of somebody of whom nothing is known yet.
        let user = format!("u-{at}");
        let answer = decide_about(&server, "Card Used", &user, &format!("m-{at}")).await;
        assert_eq!(answer["by"], json!(by), "{answer}");
        for fired in answer["firings"].as_array().unwrap() {
            let of = fired["rule"].as_str().unwrap();
            let place = order.iter().position(|rule| *rule == of).unwrap();
            let undecided = match place.cmp(&at) {
                std::cmp::Ordering::Less => json!("the rule was stopped when the event came"),
                std::cmp::Ordering::Equal => Value::Null,
                std::cmp::Ordering::Greater => json!(format!("`{by}` decides")),
            };
            assert_eq!(fired["undecided"], undecided, "{of}: {answer}");
        }
        let path = format!("/v1/rules/{by}/stop");
        let stop = client().post(server.at(&path)).bearer_auth(&token).send().await;
        assert_eq!(stop.unwrap().status(), 200);
    }
    let answer = decide_about(&server, "Card Used", "u-9", "m-9").await;
    assert_eq!((&answer["by"], &answer["decision"]), (&Value::Null, &json!("allow")), "{answer}");
    server.stop().await;
}

/// A rule, and how it is changed: what is big now was not before, or the other way round.
fn big(than: &str) -> String {
    format!(
        "[features.steps]\non = 'Step Taken'\ncount = true\n[rules.freeze]\non = 'Card Used'\nif = 'features.steps >= 0 && 7.0 > {than}'\ndecision = 'freeze'\nthen = []\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_waits_for_rules_that_have_changed_and_what_was_decided_before_stays() {
    let folder = tempfile::tempdir().unwrap();
    let (rules, data) = (folder.path().join("rules"), folder.path().join("data"));
    fs::create_dir(&rules).unwrap();
    let toml = format!(
        "rules = '{}'\n[sources.app]\nwrite_key = 'wk_app'\ntrust = 'server'\n",
        rules.display()
    );
    fs::write(rules.join("card.toml"), big("5.0")).unwrap();
    let server = Server::start_with(&data, &toml).await;
    let frozen = decide(&server, "Card Used", "m-1").await;
    assert_eq!(frozen["decision"], "freeze", "{frozen}");
    // So many that what rules come to is not made anew at once.
    for batch in 0..20 {
        let events: Vec<_> = (0..500)
            .map(|n| json!({"type": "track", "event": "Step Taken", "userId": format!("u-{n}"), "messageId": format!("s-{batch}-{n}")}))
            .collect();
        let body = json!({ "batch": events }).to_string();
        let sent = client().post(server.at("/v1/batch")).basic_auth("wk_app", Some("")).body(body);
        assert_eq!(sent.send().await.unwrap().status(), 200);
    }
    server.stop().await;

    // Others fire now than did: nobody is told that nothing has fired before it is known.
    fs::write(rules.join("card.toml"), big("6.0")).unwrap();
    let server = Server::start_with(&data, &toml).await;
    let ask = async |id| decide(&server, "Card Used", id).await;
    let answers = tokio::join!(ask("n-1"), ask("n-2"), ask("n-3"), ask("n-4"));
    for answer in [answers.0, answers.1, answers.2, answers.3] {
        let said = (&answer["decision"], &answer["complete"]);
        assert_eq!(said, (&json!("freeze"), &json!(true)), "{answer}");
    }
    server.stop().await;

    // What was decided stays so, though the rule would not decide it any more.
    fs::write(rules.join("card.toml"), big("8.0")).unwrap();
    let server = Server::start_with(&data, &toml).await;
    let now = decide(&server, "Card Used", "m-9").await;
    assert_eq!((&now["decision"], &now["complete"]), (&json!("allow"), &json!(true)), "{now}");
    let again = decide(&server, "Card Used", "m-1").await;
    assert_eq!((&again["decision"], &again["by"]), (&json!("freeze"), &json!("freeze")), "{again}");
    assert_eq!(again["firings"][0]["id"], frozen["firings"][0]["id"]);
    server.stop().await;
}
