//! What is still to be done says how it stands: that the destination is away, that the rule is stopped, that it is night.

use std::process::Command;

use super::*;

/// What the terminal says.
pub(super) fn says(server: &Server, token: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headwater"));
    let url = server.at("");
    command.arg("rules").args(arguments).args(["--url", url.trim_end_matches('/')]);
    let output = command.env("HEADWATER_ADMIN_TOKEN", token).output().unwrap();
    let (said, errors) = (output.stdout, String::from_utf8_lossy(&output.stderr).into_owned());
    format!("{}{errors}", String::from_utf8_lossy(&said))
}

async fn action(server: &Server, token: &str) -> Value {
    get(server, token, "/v1/firings").await["firings"][0]["actions"][0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_is_away_is_told_of_with_attempts_the_last_error_and_the_next_try() {
    let rule = "[rules.bought]\non = 'Bought'\nthen = [{ webhook = 'bank' }]\n";
    let world = World::new(&[("bought.toml", rule)]).await;
    world.receiver.answer_with(|_| 503);
    let server = world.start().await;
    let token = server.new_token.clone().unwrap();
    // The first that is lost is more than there was before.
    let page = client().get(server.at("/metrics")).send().await.unwrap().text().await.unwrap();
    for outcome in ["accepted", "refused", "withheld", "expired", "unknown"] {
        let series = format!(
            "headwater_actions_total{{rule=\"bought\",kind=\"webhook\",outcome=\"{outcome}\"}} 0"
        );
        assert!(page.contains(&series), "{series} is not in {page}");
    }
    let bought = json!([{"type": "track", "event": "Bought", "userId": "u-1", "messageId": "1"}]);
    send(&server, "wk_web", bought).await;
    let tried = until("a second attempt", async || {
        let action = action(&server, &token).await;
        (action["attempts"].as_u64() >= Some(2)).then_some(action)
    })
    .await;
    assert_eq!(tried["state"], "pending");
    let error = tried["lastError"].as_str().unwrap();
    assert!(error.contains("503") && !error.contains("127.0.0.1"), "{error}");
    assert!(tried["nextTry"].as_str() > Some("2026") && tried["expires"].as_str() > Some("2026"));
    let shown = says(&server, &token, &["firings"]);
    for part in ["webhook pending: tried ", " times, the last time: ", "503", "of no use after"] {
        assert!(shown.contains(part), "{part} is not in {shown}");
    }

    order(&server, &token, "/v1/rules/bought/stop").await;
    let waits = action(&server, &token).await;
    assert_eq!(
        (&waits["waitsFor"], &waits["nextTry"]),
        (&json!("the rule is stopped"), &Value::Null)
    );
    assert!(says(&server, &token, &["firings"]).contains("waits: the rule is stopped"));
    let why = says(&server, &token, &["why", "bought", "u-1"]);
    assert!(
        why.contains("the rule is STOPPED by first")
            && why.contains("webhook pending: waits: the rule is stopped"),
        "{why}"
    );
    // What was done says no more of how it stood.
    world.receiver.answer_with(|_| 204);
    order(&server, &token, "/v1/rules/bought/resume").await;
    settled(&server, &token, 1).await;
    let done = action(&server, &token).await;
    assert_eq!(
        (&done["attempts"], &done["waitsFor"], &done["expires"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
    server.stop().await;
}

#[tokio::test]
async fn what_has_waited_into_somebodys_night_waits_for_their_morning_and_holds_up_nobody() {
    // Wherever it is now between midnight and noon, it is quiet.
    let hour = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / 3600 % 24;
    let there = |local: u64| match (24 + hour - local) % 24 {
        west @ 0..=12 => format!("Etc/GMT+{west}"),
        west => format!("Etc/GMT-{}", 24 - west),
    };
    let (day, night) = (there(17), there(6));
    let rule = "quiet_hours = { from = '00:00', to = '12:00', kinds = ['webhook'] }\n\
        [rules.bought]\non = 'Bought'\nthen = [{ webhook = 'bank', expires = '1d' }]\n";
    let world = World::new(&[("bought.toml", rule)]).await;
    world.receiver.answer_with(|_| 503);
    let server = world.start().await;
    let token = server.new_token.clone().unwrap();
    let of = |name: &str, user: &str, zone: &str| json!([{"type": "track", "event": name, "userId": user, "messageId": format!("{name}{user}{zone}"), "context": {"timezone": zone}}]);
    send(&server, "wk_web", of("Bought", "u-1", &day)).await;
    world.receiver.wait_for("an attempt by day", |all| !all.is_empty()).await;
    send(&server, "wk_web", of("Flown", "u-1", &night)).await;
    let waits = until("the night", async || {
        let action = action(&server, &token).await;
        (action["waitsFor"] == "quiet hours").then_some(action)
    })
    .await;
    assert!(waits["nextTry"].as_str() > Some("2026"), "{waits}");
    assert_eq!(waits["state"], "pending");
    // By day it goes at once, beside it.
    world.receiver.answer_with(|_| 204);
    send(&server, "wk_web", of("Bought", "u-2", &day)).await;
    let taken =
        world.receiver.wait_for("the other", |all| all.iter().any(|it| it.status == 204)).await;
    until("the other's outcome", async || {
        (action(&server, &token).await["state"] == "accepted").then_some(())
    })
    .await;
    assert!(taken.last().unwrap().event().to_string().contains("u-2"));
    let all = get(&server, &token, "/v1/firings").await;
    assert_eq!(all["firings"][1]["actions"][0]["waitsFor"], "quiet hours", "{all:#}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_terminal_says_which_rules_there_are_and_that_all_are_stopped_still() {
    let rule = "[rules.bought]\non = 'Bought'\nthen = [{ webhook = 'bank' }]\n[rules.seen]\non = 'Seen'\nthen = []\n";
    let world = World::new(&[("bought.toml", rule)]).await;
    world.receiver.answer_with(|_| 503);
    let server = world.start().await;
    let token = server.new_token.clone().unwrap();
    let known = "there is no rule `nope`; there are `bought`, `seen`";
    for arguments in [&["firings", "--rule", "nope"][..], &["stop", "nope"], &["why", "nope", "u"]]
    {
        let said = says(&server, &token, arguments);
        assert!(said.contains(known), "{arguments:?}: {said}");
    }
    assert!(says(&server, &token, &["firings", "--rule", "bought"]).contains("no rule has fired"));
    let nobody = says(&server, &token, &["firings", "--who", "nobody"]);
    assert!(nobody.contains("headwater person find") && !nobody.contains("/v1/"), "{nobody}");
    // One line or two on what has changed, and what is stopped still.
    let now = |arguments: &[&str], expected: &[&str]| {
        let said = says(&server, &token, arguments);
        assert!(said.lines().count() <= 2, "{said}");
        for part in expected {
            assert!(said.contains(part), "{arguments:?}: {part} is not in {said}");
        }
    };
    now(&["resume", "bought"], &["bought was not stopped"]);
    now(&["stop", "bought"], &["bought is stopped: ", "`headwater rules resume bought`"]);
    now(&["stop", "bought"], &["bought is stopped already, by first, 2"]);
    now(
        &["resume"],
        &["there was no stop of all", "bought is stopped by its name still, by first"],
    );
    now(&["stop"], &["all 2 rules are stopped: ", "`headwater rules resume`"]);
    now(&["stop"], &["all 2 rules are stopped already, by first"]);
    let one = "bought is stopped by its name still, by first";
    now(
        &["resume"],
        &["the stop of all rules is lifted", one, "`headwater rules resume bought` lets it"],
    );
    assert!(says(&server, &token, &["list"]).contains("STOPPED by first"));
    now(&["stop"], &["all 2 rules are stopped: "]);
    let still = [
        "not stopped by its name any more, but all rules still are, by first",
        "`headwater rules resume` lets them",
    ];
    now(&["resume", "bought"], &still);
    now(&["resume"], &["the stop of all rules is lifted"]);
    now(&["stop", "bought"], &[]);
    now(&["resume", "bought"], &["bought goes on"]);
    assert!(!says(&server, &token, &["list"]).contains("STOPPED"));
    // What waits was not done yet.
    let bought = json!([{"type": "track", "event": "Bought", "userId": "u-1", "messageId": "1"}]);
    send(&server, "wk_web", bought).await;
    until("a firing", async || action(&server, &token).await["attempts"].as_u64()).await;
    let counts = async || {
        let rules = get(&server, &token, "/v1/rules").await;
        (rules["rules"][0]["fired"].clone(), rules["rules"][0]["acted"].clone())
    };
    assert_eq!(counts().await, (json!(1), json!(0)));
    world.receiver.answer_with(|_| 204);
    settled(&server, &token, 1).await;
    assert_eq!(counts().await, (json!(1), json!(1)));
    server.stop().await;
}
