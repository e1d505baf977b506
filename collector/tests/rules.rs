//! Rules over the real server: from an event to a message in a channel, to a webhook and to another event, and what became of each,
//! through a restart and through people being made anew. Waits for conditions only.
#![allow(clippy::unwrap_used, reason = "what a test expects, it unwraps, in its functions too")]

mod changed;
mod counted;
mod erased;
mod latency;
mod let_go;
mod lost;
mod unjudged;
mod waiting;
mod why;

use std::{
    fs,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::server::{self, Receiver, SECRET, Server, client, until};
use headwater_collector::event_log::Timestamp;
use serde_json::{Value, json};

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
            "rules = '{}'\nactions_per_minute = 100000\n[sources.web]\nwrite_key = 'wk_web'\n[sources.app]\nwrite_key = 'wk_app'\ntrust = 'server'\n\
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

    /// How many actions are still to be done.
    fn pending(&self) -> i64 {
        let db = rusqlite::Connection::open(self.data().join("people.db")).unwrap();
        let query = "SELECT count(*) FROM action WHERE state = 'pending'";
        db.query_row(query, [], |row| row.get(0)).unwrap()
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
    for part in ["Acme may leave", "A Shopper", "\"core gap +0.5\"", "\"cancel page +0.5\""] {
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

/// Speaks to a server as an operator.
async fn ask(server: &Server, token: &str, method: reqwest::Method, path: &str) -> Value {
    let request = client().request(method, server.at(path)).bearer_auth(token).body("{}");
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 200, "{path}");
    server::json(answer).await
}

async fn get(server: &Server, token: &str, path: &str) -> Value {
    ask(server, token, reqwest::Method::GET, path).await
}

async fn order(server: &Server, token: &str, path: &str) -> Value {
    ask(server, token, reqwest::Method::POST, path).await
}

/// Firings, once each of their actions has come to its end.
async fn settled(server: &Server, token: &str, count: usize) -> Vec<Value> {
    until("firings whose actions are done", async || {
        let found = get(server, token, "/v1/firings?limit=1000").await;
        let all = found["firings"].as_array().unwrap().clone();
        let is_done = |firing: &Value| {
            firing["actions"].as_array().unwrap().iter().all(|action| action["state"] != "pending")
        };
        (all.len() >= count && all.iter().all(is_done)).then_some(all)
    })
    .await
}

const CART: &str = r#"
[rules.cart_abandoned]
on = "Product Added"
without = { event = "Order Completed", within = "1s", match = "event.properties.cart_id == trigger.properties.cart_id" }
then = [{ emit = "Cart Abandoned" }, { webhook = "bank" }]

[rules.thanked]
on = "Cart Abandoned"
then = [{ set = { reminded = true } }]
"#;

fn cart(event: &str, user: &str, cart: &str) -> Value {
    json!({"type": "track", "event": event, "userId": user, "messageId": format!("{event}{cart}"),
           "properties": {"cart_id": cart}})
}

#[tokio::test]
async fn a_cart_without_an_order_sets_off_an_event_a_webhook_and_a_trait_once_through_rebuild_and_restart()
 {
    let world = World::new(&[("cart.toml", CART)]).await;
    let server = world.start().await;
    let token = server.new_token.clone().unwrap();
    send(
        &server,
        "wk_web",
        json!([cart("Product Added", "u-1", "a"), cart("Product Added", "u-2", "b")]),
    )
    .await;
    send(&server, "wk_web", json!([cart("Order Completed", "u-2", "b")])).await;
    let firings = settled(&server, &token, 2).await;
    let rules: Vec<_> = firings.iter().map(|firing| firing["rule"].as_str().unwrap()).collect();
    assert_eq!(rules, ["thanked", "cart_abandoned"], "what it emits is an event like any other");
    let states = |firing: &Value| -> Vec<String> {
        let actions = firing["actions"].as_array().unwrap();
        actions
            .iter()
            .map(|it| format!("{} {}", it["kind"], it["state"]).replace('"', ""))
            .collect()
    };
    assert_eq!(states(&firings[1]), ["emit accepted", "webhook accepted"]);
    let posted = world.receiver.wait_for("a webhook", |all| !all.is_empty()).await;
    assert_eq!(posted[0].id(), firings[1]["actions"][1]["id"].as_str().unwrap());
    let reminded = until("the trait", async || {
        let person = get(&server, &token, "/v1/people/u-1").await;
        person["traits"].get("reminded").cloned()
    })
    .await;
    assert_eq!(reminded["value"], true);
    let timeline = get(&server, &token, "/v1/people/u-1/timeline?event=Cart%20Abandoned").await;
    let event = &timeline["chapters"][0]["moments"][0]["event"];
    assert_eq!(event["source"], "headwater");

    // Made anew, and started anew: what was done is done.
    order(&server, &token, "/v1/projection/rebuild").await;
    until("the rebuilt state", async || {
        get(&server, &token, "/v1/projection").await["rebuild"].is_null().then_some(())
    })
    .await;
    let ids = |firings: &[Value]| firings.iter().map(|it| it["id"].clone()).collect::<Vec<_>>();
    assert_eq!(ids(&settled(&server, &token, 2).await), ids(&firings));
    server.stop().await;
    let server = world.start().await;
    send(&server, "wk_web", json!([cart("Product Added", "u-3", "c")])).await;
    let all = settled(&server, &token, 4).await;
    assert_eq!(all.len(), 4, "{all:?}");
    server.stop().await;
    assert_eq!(world.receiver.wait_for("all", |_| true).await.len(), 2);
}

#[tokio::test]
async fn a_stopped_rule_does_nothing_until_it_goes_on() {
    let rule = "[rules.bought]\non = 'Bought'\nthen = [{ webhook = 'bank' }]\n";
    let world = World::new(&[("bought.toml", rule)]).await;
    let server = world.start().await;
    let token = server.new_token.clone().unwrap();
    let stopped = order(&server, &token, "/v1/rules/bought/stop").await;
    assert_eq!(stopped["rules"][0]["stopped"]["by"], "first");
    send(
        &server,
        "wk_web",
        json!([{"type": "track", "event": "Bought", "userId": "u-1", "messageId": "1"}]),
    )
    .await;
    let waiting = until("a firing", async || {
        get(&server, &token, "/v1/firings").await["firings"].get(0).cloned()
    })
    .await;
    assert_eq!(waiting["actions"][0]["state"], "pending");
    // All being stopped beside it, one that goes on is stopped still.
    order(&server, &token, "/v1/rules/stop").await;
    order(&server, &token, "/v1/rules/bought/resume").await;
    let rules = get(&server, &token, "/v1/rules").await;
    assert_eq!(rules["rules"][0]["stopped"]["all"], true);
    assert_eq!(world.receiver.wait_for("nothing", |_| true).await.len(), 0);
    order(&server, &token, "/v1/rules/resume").await;
    world.receiver.wait_for("the webhook", |all| all.len() == 1).await;
    server.stop().await;
}

#[tokio::test]
async fn a_rule_that_is_new_knows_the_past_and_acts_from_now_on() {
    let world = World::new(&[]).await;
    let server = world.start().await;
    let token = server.new_token.clone().unwrap();
    let spend = |id: &str, amount: u32| json!({"type": "track", "event": "Card Used", "userId": "u-1", "messageId": id, "properties": {"amount": amount}});
    send(&server, "wk_app", json!([spend("1", 40), spend("2", 90)])).await;
    server.stop().await;
    let rule = "[features.largest]\non = 'Card Used'\nmax = 'event.properties.amount'\n\
        [rules.large]\non = 'Card Used'\nif = 'event.properties.amount > features.largest'\n\
        then = [{ webhook = 'bank' }]\n[rules.each]\non = 'Card Used'\nthen = [{ webhook = 'bank' }]\n";
    fs::write(world.folder.path().join("rules/card.toml"), rule).unwrap();
    let server = world.start().await;
    send(&server, "wk_app", json!([spend("3", 80), spend("4", 100)])).await;
    let firings = settled(&server, &token, 6).await;
    let held = |rule: &str| {
        let of = firings.iter().filter(|firing| firing["rule"] == rule);
        of.map(|firing| firing["held"].as_str().map(str::to_owned)).collect::<Vec<_>>()
    };
    let before = Some("before the rule came into force".to_owned());
    let largest = "80 is not the largest: 90 was, before the rule";
    assert_eq!(held("large"), [None, before.clone()], "{largest}");
    assert_eq!(held("each"), [None, None, before.clone(), before]);
    world.receiver.wait_for("three webhooks", |all| all.len() == 3).await;
    // The same rules again fire for nothing that was.
    server.stop().await;
    let server = world.start().await;
    assert_eq!(settled(&server, &token, 6).await.len(), 6);
    server.stop().await;
    assert_eq!(world.receiver.wait_for("all", |_| true).await.len(), 3);
}

#[tokio::test]
async fn what_is_asked_why_is_answered_with_each_condition_and_its_value() {
    let rule = "[features.visits]\non = 'Visited'\ncount = true\n[rules.keen]\non = 'Visited'\nif = ['features.visits >= 1', \
        'event.properties.page == \"pricing\"']\n";
    let world = World::new(&[("keen.toml", rule)]).await;
    let server = world.start().await;
    let token = server.new_token.clone().unwrap();
    let visit = |id: &str, page: &str| json!({"type": "track", "event": "Visited", "userId": "u-1", "messageId": id, "properties": {"page": page}});
    send(
        &server,
        "wk_web",
        json!([visit("1", "pricing"), visit("2", "home"), visit("3", "pricing")]),
    )
    .await;
    settled(&server, &token, 1).await;
    let why = get(&server, &token, "/v1/rules/keen/why?who=u-1").await;
    let outcomes: Vec<_> =
        why["looked"].as_array().unwrap().iter().map(|it| it["outcome"].clone()).collect();
    assert_eq!(outcomes, ["it fired", "its conditions do not hold", "its conditions do not hold"]);
    let first = &why["looked"][2]["reasons"];
    assert_eq!(first[0]["value"], false);
    assert_eq!(first[0]["of"]["features.visits"], 0);
    assert_eq!(first[1]["value"], true);
    server.stop().await;
}

#[tokio::test]
async fn a_destination_that_is_away_gets_it_later_and_what_is_of_no_use_any_more_is_not_sent() {
    let rule = "[rules.soon]\non = 'A'\nthen = [{ webhook = 'bank', expires = '1s' }]\n[rules.later]\non = 'B'\n\
        then = [{ webhook = 'bank' }]\n";
    let world = World::new(&[("away.toml", rule)]).await;
    world.receiver.answer_with(|_| 503);
    let server = world.start().await;
    let token = server.new_token.clone().unwrap();
    let event =
        |name: &str| json!([{"type": "track", "event": name, "userId": "u-1", "messageId": name}]);
    send(&server, "wk_web", event("A")).await;
    send(&server, "wk_web", event("B")).await;
    until("what has expired", async || {
        let found = get(&server, &token, "/v1/firings?rule=soon").await;
        (found["firings"][0]["actions"][0]["state"] == "expired").then_some(())
    })
    .await;
    let later = get(&server, &token, "/v1/firings?rule=later").await;
    assert_eq!(later["firings"][0]["actions"][0]["state"], "pending");
    world.receiver.answer_with(|_| 204);
    settled(&server, &token, 2).await;
    let later = get(&server, &token, "/v1/firings?rule=later").await;
    assert_eq!(later["firings"][0]["actions"][0]["state"], "accepted");
    let all = world.receiver.wait_for("all", |_| true).await;
    let taken: Vec<_> = all.iter().filter(|attempt| attempt.status == 204).collect();
    assert_eq!(taken.len(), 1);
    server.stop().await;
}

#[tokio::test]
async fn who_is_erased_is_gone_from_what_rules_keep() {
    let rule = "[features.n]\non = 'A'\ncount = true\n[rules.a]\non = 'A'\nthen = [{ emit = 'B' }]\n\
        [rules.wait]\non = 'A'\nwithout = { event = 'C', within = '1h' }\n";
    let world = World::new(&[("a.toml", rule)]).await;
    let server = world.start().await;
    let token = server.new_token.clone().unwrap();
    send(
        &server,
        "wk_web",
        json!([{"type": "track", "event": "A", "userId": "u-1", "messageId": "1"}]),
    )
    .await;
    settled(&server, &token, 1).await;
    let person = get(&server, &token, "/v1/people/u-1").await;
    let body = json!({"confirm": person["id"]}).to_string();
    let erase = client().post(server.at("/v1/people/u-1/erase")).bearer_auth(&token).body(body);
    assert_eq!(erase.send().await.unwrap().status(), 200);
    server.stop().await;
    let db = rusqlite::Connection::open(world.data().join("people.db")).unwrap();
    for table in ["feature", "firing", "action", "timer", "happened", "look", "crossed"] {
        let query = format!("SELECT count(*) FROM {table}");
        let left: i64 = db.query_row(&query, [], |row| row.get(0)).unwrap();
        assert_eq!(left, 0, "{table}");
    }
}

#[tokio::test]
async fn attempts_at_a_destination_that_is_away_use_up_nothing_of_what_others_may_do() {
    let rule = "[rules.away]\non = 'A'\nthen = [{ webhook = 'bank' }]\n[rules.here]\non = 'B'\nthen = [{ emit = 'C' }]\n";
    let mut world = World::new(&[("away.toml", rule)]).await;
    // One for each of the two actions, and not for each attempt.
    world.toml = world.toml.replace("actions_per_minute = 100000", "actions_per_minute = 2");
    world.receiver.answer_with(|_| 503);
    let server = world.start().await;
    let token = server.new_token.clone().unwrap();
    let event =
        |name: &str| json!([{"type": "track", "event": name, "userId": "u-1", "messageId": name}]);
    send(&server, "wk_web", event("A")).await;
    world.receiver.wait_for("three attempts", |all| all.len() >= 3).await;
    send(&server, "wk_web", event("B")).await;
    until("the event of the other rule", async || {
        let found = get(&server, &token, "/v1/firings?rule=here").await;
        (found["firings"][0]["actions"][0]["state"] == "accepted").then_some(())
    })
    .await;
    server.stop().await;
}
