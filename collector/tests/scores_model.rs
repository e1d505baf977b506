//! A score that a model computes, asked over real HTTP: what it answers, slowly, wrongly or not at all, and that a replay asks nobody.
//! Waits for conditions only.
#![allow(clippy::unwrap_used, reason = "what a test expects, it unwraps, in its functions too")]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::model;
use crate::server::{self, PATIENCE, Server, client, until};
use serde_json::{Value, json};

const RULES: &str = r#"
[features.visits]
on = "page:*"
count = true

[scores.churn]
description = "What the data team's model says"
model = "model"
on = "Signed Out"
if = "event.properties.ask != false"
inputs = { visits = "features.visits", who = "traits.plan" }
timeout = "1s"
fallback = 0.25

[rules.leaving]
crosses = { score = "churn", above = 0.5 }
then = [{ emit = "Leaving" }]
"#;

/// Answers by who is asked about; remembers what it was asked.
#[derive(Clone, Default)]
struct Model(Arc<Mutex<Vec<Value>>>);

impl Model {
    async fn start(&self) -> String {
        let this = self.clone();
        model::serve(move |asked| {
            let this = this.clone();
            async move {
                let who = asked["userId"].as_str().unwrap_or_default().to_owned();
                this.0.lock().unwrap().push(asked);
                match who.as_str() {
                    "u-good" => (200, r#"{"score": 0.9, "version": 7}"#.to_owned()),
                    "u-slow" => {
                        tokio::time::sleep(PATIENCE).await;
                        model::score(0.9)
                    }
                    "u-500" => (500, model::score(0.9).1),
                    "u-400" => (400, "no such customer".to_owned()),
                    "u-nonsense" => (200, "<html>0.9</html>".to_owned()),
                    "u-nan" => (200, r#"{"score": NaN}"#.to_owned()),
                    "u-huge" => (200, format!("{}{{\"score\": 0.9}}", " ".repeat(3 << 20))),
                    other => panic!("{other}"),
                }
            }
        })
        .await
    }

    fn asked(&self) -> Vec<Value> {
        self.0.lock().unwrap().clone()
    }
}

type World = model::World<Model>;

async fn world() -> World {
    let model = Model::default();
    let url = model.start().await;
    World::new(model, RULES, &[("model", &url)])
}

async fn send(server: &Server, events: Value) {
    let body = json!({ "writeKey": "wk_app", "batch": events }).to_string();
    let answer = client().post(server.at("/v1/batch")).body(body).send().await.unwrap();
    assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
}

async fn get(server: &Server, token: &str, path: &str) -> Value {
    let answer = client().get(server.at(path)).bearer_auth(token).send().await.unwrap();
    assert_eq!(answer.status(), 200, "{path}");
    server::json(answer).await
}

fn visit(user: &str) -> Value {
    json!({"type": "page", "name": "Home", "userId": user, "messageId": format!("page of {user}")})
}

fn signed_out(user: &str) -> Value {
    json!({"type": "track", "event": "Signed Out", "userId": user, "messageId": format!("out of {user}"), "properties": {"ask": true}})
}

const ALL: [&str; 7] = ["u-good", "u-slow", "u-500", "u-400", "u-nonsense", "u-nan", "u-huge"];

async fn answered(server: &Server, token: &str) -> Vec<Value> {
    until("an answer for each", async || {
        let events = server.events(token).await;
        let is_it = |event: &Value| event["event"] == "Score Answered";
        let found: Vec<_> = events.into_iter().filter(is_it).collect();
        (found.len() >= ALL.len()).then_some(found)
    })
    .await
}

async fn score(server: &Server, token: &str, user: &str) -> Value {
    get(server, token, &format!("/v1/people/{user}/scores")).await["scores"][0].clone()
}

/// The score of somebody who is known by now.
async fn known(server: &Server, token: &str, user: &str) -> Option<Value> {
    let path = server.at(&format!("/v1/people/{user}"));
    let answer = client().get(path).bearer_auth(token).send().await.unwrap();
    if answer.status() == 200 { Some(score(server, token, user).await) } else { None }
}

#[tokio::test]
async fn a_model_is_asked_once_and_its_answer_or_the_fallback_is_the_score_also_made_anew() {
    let world = world().await;
    let server = world.start().await;
    let token = server.new_token.clone().unwrap();
    // Before it is asked, the fallback stands.
    send(&server, json!(ALL.map(visit))).await;
    let before = until("the person", async || known(&server, &token, "u-good").await).await;
    assert_eq!((&before["value"], &before["model"]["by"]), (&json!(0.25), &json!("model")));
    assert_eq!(before["model"]["fallback"], "it has not answered yet");

    send(&server, json!(ALL.map(signed_out))).await;
    let answers = answered(&server, &token).await;
    let of = |user: &str| {
        let found = answers.iter().find(|event| event["userId"] == user).unwrap();
        found["properties"].clone()
    };
    let good = of("u-good");
    assert_eq!(
        (&good["value"], &good["fallback"], &good["score"]),
        (&json!(0.9), &json!(false), &json!("churn"))
    );
    assert_eq!(good["inputs"], json!({"visits": 1, "who": null}), "after the event, as it stood");
    for (user, reason) in [
        ("u-slow", "time-out: there was no answer in time"),
        ("u-500", "500"),
        ("u-400", "400"),
        ("u-nonsense", "no JSON object with a number `score`"),
        ("u-nan", "no JSON object with a number `score`"),
        ("u-huge", "no JSON object with a number `score`"),
    ] {
        let answer = of(user);
        assert_eq!((&answer["value"], &answer["fallback"]), (&json!(0.25), &json!(true)), "{user}");
        let said = answer["reason"].as_str().unwrap();
        assert!(said.contains(reason), "{user}: {said}");
    }
    let asked = world.model.asked();
    let times = |user: &str| asked.iter().filter(|asked| asked["userId"] == user).count();
    assert_eq!((times("u-good"), times("u-nan"), times("u-400")), (1, 1, 1));
    assert!(times("u-500") > 1, "it may be well again before the time is over");

    let crossed = until("what the score sets off", async || {
        let found = get(&server, &token, "/v1/firings?rule=leaving").await;
        found["firings"].as_array().filter(|all| !all.is_empty()).cloned()
    })
    .await;
    assert_eq!((crossed.len(), &crossed[0]["name"]), (1, &json!("u-good")));
    let why = &crossed[0]["why"]["crossed"];
    assert_eq!(
        (&why["value"], &why["model"]["inputs"]["visits"]),
        (&json!(0.9), &json!(1)),
        "{why}"
    );
    let bad = until("the fallback", async || {
        let found = score(&server, &token, "u-nan").await;
        (found["model"]["fallback"] != "it has not answered yet").then_some(found)
    })
    .await;
    assert_eq!(bad["value"], 0.25);
    assert!(bad["model"]["fallback"].as_str().unwrap().contains("no JSON object"), "{bad}");
    assert_eq!(bad["model"]["inputs"], json!({"visits": 1, "who": null}));
    until("what became of all questions", async || {
        let found = get(&server, &token, "/v1/firings?rule=score:churn").await;
        let all = found["firings"].as_array()?.clone();
        all.iter().all(|it| it["actions"][0]["state"] != "pending").then_some(())
    })
    .await;
    let why = get(&server, &token, "/v1/rules/leaving/why?who=u-nan").await;
    // When it was asked last, about what, and why the fallback counts.
    let asked = &why["asked"][0];
    assert_eq!(
        (&asked["rule"], &asked["actions"][0]["state"]),
        (&json!("score:churn"), &json!("refused"))
    );
    assert!(asked["actions"][0]["detail"].as_str().unwrap().contains("no JSON object"), "{why:#}");
    let model = &why["looked"][0]["measured"]["model"];
    assert!(model["fallback"].as_str().unwrap().contains("no JSON object"), "{why:#}");
    assert_eq!((&model["asked"], &model["inputs"]["visits"]), (&asked["at"], &json!(1)), "{why:#}");
    server.stop().await;

    // Made anew from the log: nobody is asked, and the scores are what they were.
    let asked = world.model.asked().len();
    world.forget_the_state();
    let server = world.start().await;
    send(&server, json!([visit("u-other")])).await;
    until("the state", async || known(&server, &token, "u-other").await).await;
    for (user, value) in [("u-good", 0.9), ("u-huge", 0.25)] {
        assert_eq!(score(&server, &token, user).await["value"], value, "{user}");
    }
    let fired = get(&server, &token, "/v1/firings?rule=leaving").await;
    assert_eq!(fired["firings"].as_array().unwrap().len(), 1);
    server.stop().await;
    assert_eq!(world.model.asked().len(), asked, "a replay asks nobody");
}

#[tokio::test]
async fn a_model_that_could_not_be_asked_in_time_is_told_of_as_such() {
    let world = world().await;
    let server = world.start().await;
    let token = server.new_token.clone().unwrap();
    send(&server, json!([signed_out("u-500")])).await;
    until("an attempt", async || (!world.model.asked().is_empty()).then_some(())).await;
    server.stop().await;
    // What was said at that attempt nobody knows any more, and there is no time for another.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let server = world.start().await;
    let asked = until("the end of it", async || {
        let found = get(&server, &token, "/v1/firings?rule=score:churn").await;
        let action = found["firings"][0]["actions"][0].clone();
        (action["state"] == "expired").then_some(action)
    })
    .await;
    assert_eq!(asked["detail"], "the model could not be asked in time");
    let fallback = until("the fallback", async || {
        let model = score(&server, &token, "u-500").await["model"].clone();
        model["asked"].is_string().then_some(model)
    })
    .await;
    assert_eq!(fallback["fallback"], "the model could not be asked in time");
    server.stop().await;
}

#[tokio::test]
async fn whoever_forges_an_answer_changes_no_score() {
    let world = world().await;
    let server = world.start().await;
    let token = server.new_token.clone().unwrap();
    let forged = json!({"type": "track", "event": "Score Answered", "userId": "u-1", "messageId": "f",
        "properties": {"score": "churn", "value": 0.99, "firing": "x"}});
    send(&server, json!([forged])).await;
    let found = until("the person", async || known(&server, &token, "u-1").await).await;
    assert_eq!(found["value"], 0.25, "{found}");
    server.stop().await;
}

#[tokio::test]
async fn a_question_about_who_is_erased_meanwhile_ends() {
    let world = world().await;
    let server = world.start().await;
    let token = server.new_token.clone().unwrap();
    send(&server, json!([visit("u-slow"), signed_out("u-slow")])).await;
    until("the question", async || (!world.model.asked().is_empty()).then_some(())).await;
    let person = get(&server, &token, "/v1/people/u-slow").await;
    let body = json!({"confirm": person["id"]}).to_string();
    let order = client().post(server.at("/v1/people/u-slow/erase")).bearer_auth(&token);
    assert_eq!(order.body(body).send().await.unwrap().status(), 200);
    // Nothing stands for a score of nobody's, and what asked does not go on with it for ever.
    let ended = "headwater_actions_total{rule=\"score:churn\"";
    until("its end", async || {
        let answer = client().get(server.at("/metrics")).bearer_auth(&token).send().await.unwrap();
        let text = answer.text().await.unwrap();
        let counts = text.lines().filter(|line| line.starts_with(ended));
        counts.map(|line| line.rsplit(' ').next().unwrap()).any(|count| count == "1").then_some(())
    })
    .await;
    let left = server.events(&token).await;
    assert!(left.iter().all(|it| it["event"] != "Score Answered"), "{left:#?}");
    server.stop().await;
}
