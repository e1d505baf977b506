//! Rules over the real server: from an event to a message in a channel, to a webhook and to another event, and what became of each,
//! through a restart and through people being made anew. Waits for conditions only.
#![allow(clippy::unwrap_used, reason = "what a test expects, it unwraps, in its functions too")]

mod server;

use std::{
    fs,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use headwater_collector::event_log::Timestamp;
use serde_json::{Value, json};
use server::{PATIENCE, Receiver, SECRET, Server, client};

const CHURN: &str = r#"
[features.core_last]
on = "Report Built"
per = "account"
last = "event.time"

[features.cancel_looks_1d]
on = ["page:Pricing", "page:Cancel"]
per = "account"
count = true
window = "1d"

[scores.churn_risk]
per = "account"
description = "How close an account is to leaving"
terms = { core_gap = "days_since(features.core_last) / 22.0", cancel_page = "features.cancel_looks_1d > 0 ? 0.5 : 0.0" }

[rules.churn]
description = "An account that is about to leave"
crosses = { score = "churn_risk", above = 0.7, rearm_below = 0.5 }
then = [{ slack = "success", template = "churn.md", expires = "1h" }]
"#;

const SLACK: &str = "+++\ntitle = \"{{ account.name }} may leave\"\n+++\nAsk **{{ account.main_user.name }}** how *reports* are going.\n";

fn ms_ago(ms: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let then = now.checked_sub(Duration::from_millis(ms)).unwrap();
    Timestamp::from_unix_ms(i64::try_from(then.as_millis()).unwrap()).to_string()
}

const DAY: u64 = 24 * 3600 * 1000;

/// A server with rules.
struct World {
    folder: tempfile::TempDir,
    toml: String,
    receiver: Receiver,
}

impl World {
    async fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let rules = folder.path().join("rules");
        fs::create_dir(&rules).unwrap();
        for (name, text) in files {
            fs::write(rules.join(name), text).unwrap();
        }
        let receiver = Receiver::start().await;
        let toml = format!(
            "rules = '{}'\n[sources.web]\nwrite_key = 'wk_web'\n[sources.app]\nwrite_key = 'wk_app'\ntrust = 'server'\n\
             [destinations.success]\nkind = 'slack'\nwebhook_url = '{}'\nallow_private = true\n\
             [destinations.bank]\nkind = 'webhook'\nurl = '{}'\nsecret = '{SECRET}'\nallow_private = true\n",
            rules.display(),
            receiver.url,
            receiver.url,
        );
        Self { folder, toml, receiver }
    }

    async fn start(&self) -> Server {
        Server::start_with(&self.data(), &self.toml).await
    }

    fn data(&self) -> std::path::PathBuf {
        self.folder.path().join("data")
    }
}

async fn send(server: &Server, key: &str, events: Value) {
    let body = json!({ "writeKey": key, "batch": events }).to_string();
    let answer = client().post(server.at("/v1/batch")).body(body).send().await.unwrap();
    assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
}

fn of_account(event: &str, user: &str, ms: u64) -> Value {
    json!({"type": "track", "event": event, "userId": user, "messageId": format!("{event}{user}{ms}"), "timestamp": ms_ago(ms),
           "context": {"groupId": "acme"}})
}

/// Reads until there is what is looked for.
async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn an_account_that_is_about_to_leave_is_told_to_a_channel_with_the_reasons_once() {
    let world = World::new(&[("churn.toml", CHURN), ("churn.md", SLACK)]).await;
    let server = world.start().await;
    send(
        &server,
        "wk_app",
        json!([
            {"type": "group", "userId": "u-1", "groupId": "acme", "messageId": "g", "traits": {"name": "Acme"}},
            {"type": "identify", "userId": "u-1", "messageId": "i", "traits": {"name": "A Shopper"}},
            of_account("Report Built", "u-1", 11 * DAY),
        ]),
    )
    .await;
    let page = json!([{"type": "page", "name": "Pricing", "userId": "u-1", "messageId": "p", "context": {"groupId": "acme"}}]);
    send(&server, "wk_web", page).await;
    let told = world.receiver.wait_for("a message", |all| !all.is_empty()).await;
    let message = told[0].event();
    let text = message.to_string();
    for part in ["Acme may leave", "A Shopper", "core gap: 0.5", "cancel page: 0.5"] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    // A second look changes nothing; nor does a restart.
    let page = json!([{"type": "page", "name": "Cancel", "userId": "u-1", "messageId": "q", "context": {"groupId": "acme"}}]);
    send(&server, "wk_web", page).await;
    let token = server.new_token.clone().unwrap();
    let done = until("the outcome", async || {
        let events = server.events(&token).await;
        events.into_iter().find(|event| event["event"] == "Action Done")
    })
    .await;
    assert_eq!(done["properties"]["outcome"], "accepted");
    assert_eq!(done["properties"]["rule"], "churn");
    server.stop().await;
    let server = world.start().await;
    send(&server, "wk_app", json!([of_account("Report Built", "u-2", 1000)])).await;
    send(&server, "wk_app", json!([of_account("Report Built", "u-2", 500)])).await;
    server.stop().await;
    assert_eq!(world.receiver.wait_for("all", |_| true).await.len(), 1);
}
