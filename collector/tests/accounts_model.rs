//! A score of accounts that a model computes, asked over real HTTP: what it is told, whose its answer is, what a decision says of it, and
//! what is left of it after a restart, made anew, and of who is erased. Waits for conditions only.
#![allow(clippy::unwrap_used, reason = "what a test expects, it unwraps, in its functions too")]

use std::{
    fs,
    process::Command,
    sync::{Arc, Mutex},
};

use crate::model;
use crate::server::{self, Server, client, until};
use serde_json::{Value, json};
use tokio::sync::watch;

const RULES: &str = r#"
[features.seats]
on = "Seat Added"
count = true
per = "account"

[scores.health]
description = "How well an account does"
per = "account"
model = "model"
on = ["Seat Added", "Seat Removed"]
inputs = { seats = "features.seats", plan = "account.plan" }
timeout = "1m"
fallback = 0.5

[rules.well]
crosses = { score = "health", above = 0.8 }
decision = "grow"

[rules.checked]
per = "account"
on = "Seat Checked"
if = "scores.health > 0.8"
then = []
"#;

/// Answers by which account is asked about; remembers what it was asked.
#[derive(Clone)]
struct Model {
    asked: Arc<Mutex<Vec<Value>>>,
    /// Whether what is slow may be answered.
    lets: Arc<watch::Sender<bool>>,
}

impl Model {
    async fn start(&self) -> String {
        let this = self.clone();
        model::serve(move |asked| {
            let this = this.clone();
            async move {
                let account = asked["account"].as_str().unwrap().to_owned();
                let is_last = asked["userId"] == "u-last";
                this.asked.lock().unwrap().push(asked);
                model::score(match account.as_str() {
                    "acme" if is_last => 0.7,
                    "acme" => 0.9,
                    "beta" => 0.1,
                    "slow" => {
                        this.lets.subscribe().wait_for(|lets| *lets).await.unwrap();
                        0.9
                    }
                    other => panic!("{other}"),
                })
            }
        })
        .await
    }

    fn asked(&self) -> Vec<Value> {
        self.asked.lock().unwrap().clone()
    }
}

type World = model::World<Model>;

async fn world() -> World {
    let model = Model { asked: Arc::default(), lets: Arc::new(watch::channel(false).0) };
    let url = model.start().await;
    World::new(model, RULES, &[("model", &url)])
}

async fn joins(server: &Server, user: &str, account: &str) {
    let body = json!({ "writeKey": "wk_app", "batch": [{"type": "group", "userId": user, "groupId": account,
        "messageId": format!("{user} joins {account}"), "traits": {"plan": "pro"}}] });
    let answer = client().post(server.at("/v1/batch")).body(body.to_string()).send().await.unwrap();
    assert_eq!(answer.status(), 200);
}

async fn decide(server: &Server, event: &str, user: &str, deadline_ms: u64) -> Value {
    let id = format!("{event} of {user}");
    let body = json!({"type": "track", "event": event, "userId": user, "messageId": id});
    server::decide(server, &body, deadline_ms).await
}

async fn get(server: &Server, path: &str) -> Option<Value> {
    let token = TOKEN.with_borrow(Clone::clone);
    let answer = client().get(server.at(path)).bearer_auth(token).send().await.unwrap();
    if answer.status() == 200 { Some(server::json(answer).await) } else { None }
}

/// What a command prints that asks no server.
async fn offline(arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headwater"));
    command.args(arguments);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

thread_local! {
    /// Each test has a thread, and a server.
    static TOKEN: std::cell::RefCell<String> = const { std::cell::RefCell::new(String::new()) };
}

/// The score of an account as it stands.
async fn health(server: &Server, account: &str) -> Value {
    let path = format!("/v1/accounts/{account}/scores");
    until("the account", async || get(server, &path).await).await["scores"][0].clone()
}

#[tokio::test]
async fn a_model_is_asked_about_an_account_and_its_answer_is_the_accounts_also_made_anew() {
    let world = world().await;
    let server = world.start().await;
    TOKEN.set(server.new_token.clone().unwrap());
    for (user, account) in [("u-1", "acme"), ("u-2", "acme"), ("u-2", "beta")] {
        joins(&server, user, account).await;
    }
    // The decision waits for it, and says of which account that is.
    let first = decide(&server, "Seat Added", "u-1", 5000).await;
    assert_eq!((&first["decision"], &first["by"]), (&json!("grow"), &json!("well")), "{first:#}");
    let said = json!([{"score": "health", "account": "acme", "value": 0.9, "fallback": false}]);
    assert_eq!((&first["scores"], &first["complete"]), (&said, &json!(true)));
    let asked = world.model.asked();
    let [question] = &asked[..] else { panic!("{asked:?}") };
    let person = get(&server, "/v1/people/u-1").await.unwrap();
    let firing =
        &get(&server, "/v1/firings?rule=score:health&account=acme").await.unwrap()["firings"][0];
    assert_eq!(
        question,
        &json!({"id": firing["actions"][0]["id"], "score": "health", "account": "acme", "person": person["id"],
            "userId": "u-1", "at": firing["at"], "inputs": {"seats": 1, "plan": "pro"}})
    );
    assert_eq!(firing["account"], "acme");
    // Who is of two accounts: it is asked about each, and each has its own.
    let second = decide(&server, "Seat Added", "u-2", 5000).await;
    let mut said = second["scores"].as_array().unwrap().clone();
    said.sort_by_key(|it| it["account"].to_string());
    assert_eq!(
        said,
        [("acme", 0.9), ("beta", 0.1)].map(
            |(account, value)| json!({"score": "health", "account": account, "value": value, "fallback": false})
        )
    );
    assert_eq!(
        second["decision"], "allow",
        "acme was over the line before, and beta is not: {second:#}"
    );
    assert_eq!(world.model.asked().len(), 3);
    let answers = server.events(&TOKEN.with_borrow(Clone::clone)).await;
    let of_beta =
        |it: &&Value| it["event"] == "Score Answered" && it["properties"]["account"] == "beta";
    let answer = answers.iter().find(of_beta).unwrap();
    assert_eq!((&answer["userId"], &answer["properties"]["value"]), (&json!("u-2"), &json!(0.1)));

    let before = (health(&server, "acme").await, health(&server, "beta").await);
    assert_eq!((&before.0["value"], &before.1["value"]), (&json!(0.9), &json!(0.1)));
    assert_eq!(before.0["model"]["inputs"], json!({"seats": 2, "plan": "pro"}));
    assert!(before.0["model"].get("fallback").is_none(), "{before:?}");
    // A condition that looks at it, and why, of an account and of one of its people.
    decide(&server, "Seat Checked", "u-2", 5000).await;
    let checked = get(&server, "/v1/firings?rule=checked").await.unwrap();
    let accounts: Vec<_> =
        checked["firings"].as_array().unwrap().iter().map(|it| &it["account"]).collect();
    assert_eq!(accounts, ["acme"]);
    let why = get(&server, "/v1/rules/well/why?who=beta").await.unwrap();
    let looked = &why["looked"][0];
    assert_eq!(
        (&looked["measured"]["value"], &looked["account"]),
        (&json!(0.1), &json!("beta")),
        "{why:#}"
    );
    assert_eq!(looked["measured"]["model"]["inputs"], json!({"seats": 1, "plan": "pro"}));
    assert_eq!(
        (why["asked"].as_array().unwrap().len(), &why["asked"][0]["account"]),
        (1, &json!("beta"))
    );
    let why = get(&server, "/v1/rules/well/why?who=u-2").await.unwrap();
    assert_eq!(why["asked"].as_array().unwrap().len(), 2, "once for each account");
    let run = |arguments: &[&str]| {
        let (url, token) = (server.at(""), TOKEN.with_borrow(Clone::clone));
        let mut command = Command::new(env!("CARGO_BIN_EXE_headwater"));
        command.args(arguments).args(["--url", &url]).env("HEADWATER_ADMIN_TOKEN", token);
        tokio::task::spawn_blocking(move || {
            String::from_utf8(command.output().unwrap().stdout).unwrap()
        })
    };
    let text = run(&["rules", "why", "well", "beta"]).await.unwrap();
    for part in [
        "score:health was last asked of beta at ",
        "health = 0.1, and fires above 0.8",
        "by model, asked at ",
        "seats = 1",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let text = run(&["rules", "firings", "--account", "acme"]).await.unwrap();
    assert!(text.contains("score:health") && text.contains("acme"), "{text}");
    // Under other rules the answers that the log has set off something else, and nobody is asked.
    let other = world.folder.path().join("other");
    fs::create_dir(&other).unwrap();
    let below = "crosses = { score = \"health\", below = 0.2 }";
    let rules = RULES.replace("crosses = { score = \"health\", above = 0.8 }", below);
    fs::write(other.join("health.toml"), rules).unwrap();
    let path = |name: &str| world.folder.path().join(name).display().to_string();
    let (data, old, other) = (path("data"), path("rules"), path("other"));
    let backtest = ["rules", "backtest", &data, "--old", &old, "--rules", &other, "--json"];
    let compared: Value = serde_json::from_str(&offline(&backtest).await).unwrap();
    for (list, account) in [("onlyOld", "acme"), ("onlyNew", "beta")] {
        let well = compared[list].as_array().unwrap().iter().filter(|it| it["rule"] == "well");
        let accounts: Vec<_> = well.map(|it| &it["account"]).collect();
        assert_eq!(accounts, [account], "{list}: {compared:#}");
    }
    // Features alone are exported: what keeps the answers is none.
    let on = "Seat Checked";
    let export = ["features", "export", &data, "--rules", &old, "--per", "account", "--on", on];
    let rows = offline(&export).await;
    let rows: Vec<Value> = rows.lines().map(|row| serde_json::from_str(row).unwrap()).collect();
    let of_acme = rows.iter().find(|row| row["account"] == "acme").unwrap();
    assert_eq!((rows.len(), &of_acme["features"]), (2, &json!({"seats": 2})), "{rows:?}");
    server.stop().await;

    let server = world.start().await;
    assert_eq!(health(&server, "acme").await, before.0, "after a restart");
    server.stop().await;
    world.forget_the_state();
    let server = world.start().await;
    assert_eq!(decide(&server, "Seat Added", "u-1", 5000).await["scores"], first["scores"]);
    assert_eq!((health(&server, "acme").await, health(&server, "beta").await), before, "made anew");
    assert_eq!(world.model.asked().len(), 3, "a replay asks nobody");
    server.stop().await;
}

#[tokio::test]
async fn a_model_that_is_late_is_named_with_the_account() {
    let world = world().await;
    let server = world.start().await;
    TOKEN.set(server.new_token.clone().unwrap());
    joins(&server, "u-1", "slow").await;
    let late = decide(&server, "Seat Added", "u-1", 300).await;
    assert_eq!((&late["decision"], &late["complete"]), (&json!("allow"), &json!(false)));
    assert_eq!(late["undecided"], "a model had not answered after 300 ms: `health` of `slow`");
    let model = &health(&server, "slow").await["model"];
    assert_eq!(model["fallback"], "it has not answered yet");
    // Who asks again hears what it has said by then.
    world.model.lets.send_replace(true);
    let again = decide(&server, "Seat Added", "u-1", 5000).await;
    assert_eq!(
        (&again["decision"], &again["scores"][0]["account"]),
        (&json!("grow"), &json!("slow"))
    );
    let token = TOKEN.with_borrow(Clone::clone);
    let stop = client().post(server.at("/v1/rules/score:health/stop")).bearer_auth(token).send();
    assert_eq!(stop.await.unwrap().status(), 200);
    let unasked = decide(&server, "Seat Removed", "u-1", 5000).await;
    assert_eq!(
        unasked["undecided"],
        "a model is not asked, since its rule is stopped: `health` of `slow`"
    );
    server.stop().await;
}

#[tokio::test]
async fn what_was_said_after_an_event_of_who_is_erased_goes_with_them() {
    let world = world().await;
    let server = world.start().await;
    TOKEN.set(server.new_token.clone().unwrap());
    for user in ["u-1", "u-last"] {
        joins(&server, user, "acme").await;
        decide(&server, "Seat Added", user, 5000).await;
    }
    let stands = async |server: &Server| health(server, "acme").await["value"].as_f64();
    assert_eq!(stands(&server).await, Some(0.7));
    let token = TOKEN.with_borrow(Clone::clone);
    let erase = async |user: &str| {
        let person = get(&server, &format!("/v1/people/{user}")).await.unwrap();
        let body = json!({"confirm": person["id"]}).to_string();
        let order =
            client().post(server.at(&format!("/v1/people/{user}/erase"))).bearer_auth(&token);
        assert_eq!(order.body(body).send().await.unwrap().status(), 200);
    };
    erase("u-last").await;
    assert_eq!(stands(&server).await, Some(0.9), "what was said before");
    server.stop().await;
    world.forget_the_state();
    let server = world.start().await;
    assert_eq!(stands(&server).await, Some(0.9), "made anew");
    let person = get(&server, "/v1/people/u-1").await.unwrap();
    let body = json!({"confirm": person["id"]}).to_string();
    let order = client().post(server.at("/v1/people/u-1/erase")).bearer_auth(&token);
    assert_eq!(order.body(body).send().await.unwrap().status(), 200);
    assert_eq!(get(&server, "/v1/accounts/acme/scores").await, None);
    let left = server.events(&token).await;
    assert!(left.iter().all(|it| it["event"] != "Score Answered"), "{left:#?}");
    server.stop().await;
}
