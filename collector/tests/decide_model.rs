//! Decisions about events because of which a model is asked, over real HTTP: the answer decides, and where none comes in time what stands
//! without it, which says so. Waits for conditions only.
#![allow(clippy::unwrap_used, reason = "what a test expects, it unwraps, in its functions too")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use crate::model;
use crate::server::{self, Server, client};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::watch};

const RULES: &str = r#"
default_decision = "wait"

[features.uses]
on = "Card Used"
count = true

[scores.fraud]
model = "model"
on = "Card Used"
inputs = { uses = "features.uses" }
timeout = "1m"
fallback = 0.5

[rules.block]
crosses = { score = "fraud", above = 0.8 }
decision = "block"

[rules.pass]
on = "Score Answered"
from = "server"
if = ['event.properties.score == "fraud"', "event.properties.value < 0.2"]
decision = "pass"

[scores.theft]
model = "dead"
on = "Card Lost"
inputs = { uses = "features.uses" }
timeout = "1s"
fallback = 0.9

[scores.insult]
model = "model"
on = "Score Answered"
if = ['event.properties.score == "theft"']
inputs = { uses = "features.uses" }
fallback = 0.0

[rules.freeze]
on = "Score Answered"
if = ['event.properties.score == "theft"', "event.properties.fallback", "event.properties.value > 0.8"]
decision = "freeze"

[rules.known]
on = "Card Known"
decision = "known"

[rules.unknown]
on = "Score Answered"
if = ['event.properties.score == "known"', "event.properties.value > 0.8"]
decision = "unknown"

[scores.left]
model = "model"
on = "Card Doubted"
inputs = { uses = "features.uses" }
fallback = 0.0

[rules.by_left]
on = "Score Answered"
if = 'event.properties.score == "left"'
decision = "left"

[scores.right]
model = "model"
on = "Card Doubted"
inputs = { uses = "features.uses" }
fallback = 0.0

[rules.by_right]
on = "Score Answered"
if = 'event.properties.score == "right"'
decision = "right"

[scores.known]
model = "model"
on = "Card Known"
inputs = { uses = "features.uses" }
fallback = 0.0
"#;

/// Answers by how the one is called that it is asked about: at once, or not before it is let.
struct Model {
    asked: AtomicUsize,
    lets: watch::Sender<bool>,
}

async fn start(model: &Arc<Model>) -> String {
    let model = Arc::clone(model);
    model::serve(move |asked| {
        let model = Arc::clone(&model);
        async move {
            model.asked.fetch_add(1, Ordering::Relaxed);
            let who = asked["userId"].as_str().unwrap();
            model::score(match who.split('-').next().unwrap() {
                "bad" => 0.95,
                "good" => 0.05,
                "slow" => {
                    model.lets.subscribe().wait_for(|lets| *lets).await.unwrap();
                    0.95
                }
                other => panic!("{other}"),
            })
        }
    })
    .await
}

type World = model::World<Arc<Model>>;

async fn world() -> World {
    let model = Arc::new(Model { asked: AtomicUsize::new(0), lets: watch::channel(false).0 });
    let url = start(&model).await;
    // Nobody listens there any more.
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let dead = format!("http://{dead}/");
    let mut world = World::new(model, RULES, &[("model", &url), ("dead", &dead)]);
    // Of which questions are none, however many are asked.
    world.toml = format!("actions_per_minute = 1\n{}", world.toml);
    world
}

async fn decide(server: &Server, event: &str, user: &str, deadline_ms: u64) -> Value {
    let id = format!("{event} of {user}");
    let body = json!({"type": "track", "event": event, "userId": user, "messageId": id});
    server::decide(server, &body, deadline_ms).await
}

/// What is decided, by whom, and whether that is all.
fn decided(answer: &Value) -> (&str, Option<&str>, bool) {
    let text = |name: &str| answer[name].as_str();
    (text("decision").unwrap(), text("by"), answer["complete"].as_bool().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_model_answers_decides_about_the_event_because_of_which_it_was_asked() {
    let world = world().await;
    let server = world.start().await;
    let token = server.new_token.clone().unwrap();
    let bad = decide(&server, "Card Used", "bad-1", 5000).await;
    assert_eq!(decided(&bad), ("block", Some("block"), true), "{bad:#}");
    assert_eq!(bad["scores"], json!([{"score": "fraud", "value": 0.95, "fallback": false}]));
    let good = decide(&server, "Card Used", "good-1", 5000).await;
    assert_eq!(decided(&good), ("pass", Some("pass"), true), "{good:#}");
    assert!(good.get("undecided").is_none(), "{good}");

    // The same question has the same answer, and asks nobody, also of a collector that was started anew.
    let asked = world.model.asked.load(Ordering::Relaxed);
    let same = |again: &Value, first: &Value| {
        assert_eq!(decided(again), decided(first), "{again:#}");
        assert_eq!((&again["scores"], &again["duplicate"]), (&first["scores"], &json!(true)));
    };
    same(&decide(&server, "Card Used", "bad-1", 5000).await, &bad);
    server.stop().await;
    let server = world.start().await;
    same(&decide(&server, "Card Used", "bad-1", 5000).await, &bad);
    same(&decide(&server, "Card Used", "good-1", 5000).await, &good);
    server.stop().await;
    world.forget_the_state();
    let server = world.start().await;
    same(&decide(&server, "Card Used", "bad-1", 5000).await, &bad);
    assert_eq!(world.model.asked.load(Ordering::Relaxed), asked);

    // What the event itself has set off gives way to what the answer does, and stands where that sets off nothing.
    let known = decide(&server, "Card Known", "good-2", 5000).await;
    assert_eq!(decided(&known), ("known", Some("known"), true), "{known:#}");
    assert_eq!(known["scores"][0]["score"], "known");
    let unknown = decide(&server, "Card Known", "bad-2", 5000).await;
    assert_eq!(decided(&unknown), ("unknown", Some("unknown"), true), "{unknown:#}");
    // Who reads of it later is told the same.
    let read = client().get(server.at("/v1/firings?rule=known&who=bad-2")).bearer_auth(&token);
    let later = server::json(read.send().await.unwrap()).await;
    let before = unknown["firings"].as_array().unwrap().iter().find(|it| it["rule"] == "known");
    for fired in [before.unwrap(), &later["firings"][0]] {
        assert_eq!(
            (&fired["decision"], &fired["undecided"]),
            (&json!("known"), &json!("`unknown` decides"))
        );
    }
    // Of two models' answers the later one decides, and both are heard.
    let doubted = decide(&server, "Card Doubted", "bad-3", 5000).await;
    let by = doubted["by"].as_str().unwrap();
    let other = if by == "by_left" { "by_right" } else { "by_left" };
    let mut fired = doubted["firings"].as_array().unwrap().iter();
    let other = fired.find(|it| it["rule"] == other).unwrap();
    assert_eq!(other["undecided"], format!("`{by}` decides"), "{doubted:#}");
    assert_eq!(doubted["scores"].as_array().unwrap().len(), 2);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_is_not_there_leaves_the_decision_to_the_fallback() {
    let world = world().await;
    let server = world.start().await;
    // And a model that is asked because of what another has said is waited for as well.
    let lost = decide(&server, "Card Lost", "bad-1", 5000).await;
    assert_eq!(decided(&lost), ("freeze", Some("freeze"), true), "{lost:#}");
    let [theft, insult] = &lost["scores"].as_array().unwrap()[..] else { panic!("{lost:#}") };
    assert_eq!(
        (&theft["score"], &theft["value"], &theft["fallback"]),
        (&json!("theft"), &json!(0.9), &json!(true))
    );
    assert!(theft["reason"].as_str().unwrap().contains("connect"), "{theft}");
    assert_eq!(insult, &json!({"score": "insult", "value": 0.95, "fallback": false}));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_there_is_no_answer_in_time_the_default_or_the_event_decides_and_that_is_said() {
    let world = world().await;
    let server = world.start().await;
    let slow = decide(&server, "Card Used", "slow-1", 300).await;
    assert_eq!(decided(&slow), ("wait", None, false), "{slow:#}");
    assert_eq!(slow["undecided"], "a model had not answered after 300 ms: `fraud`");
    assert_eq!((&slow["scores"], &slow["firings"][0]["rule"]), (&json!([]), &json!("score:fraud")));
    let known = decide(&server, "Card Known", "slow-1", 300).await;
    assert_eq!(decided(&known), ("known", Some("known"), false), "{known:#}");
    let why = known["undecided"].as_str().unwrap();
    assert!(why.ends_with(": `known`"), "{why}");
    // Whoever asks again hears what the model has said by then.
    let again = tokio::join!(decide(&server, "Card Used", "slow-1", 5000), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        world.model.lets.send_replace(true);
    });
    assert_eq!(decided(&again.0), ("block", Some("block"), true), "{:#}", again.0);

    // A model whose rule is stopped is not asked, and nobody waits for it.
    let token = server.new_token.clone().unwrap();
    let stop = client().post(server.at("/v1/rules/score:fraud/stop")).bearer_auth(&token).send();
    assert_eq!(stop.await.unwrap().status(), 200);
    let stopped = decide(&server, "Card Used", "bad-9", 5000).await;
    assert_eq!(decided(&stopped), ("wait", None, false), "{stopped:#}");
    assert_eq!(stopped["undecided"], "a model is not asked, since its rule is stopped: `fraud`");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_are_each_decided_by_their_own_answer() {
    let world = world().await;
    let server = Arc::new(world.start().await);
    let mut all = tokio::task::JoinSet::new();
    for number in 0..100 {
        let server = Arc::clone(&server);
        all.spawn(async move {
            let (who, expected) = match number % 2 {
                0 => ("bad", ("block", Some("block"), true)),
                _ => ("good", ("pass", Some("pass"), true)),
            };
            let answer = decide(&server, "Card Used", &format!("{who}-{number}"), 5000).await;
            assert_eq!(decided(&answer), expected, "{answer:#}");
        });
    }
    while let Some(done) = all.join_next().await {
        done.unwrap();
    }
    assert_eq!(world.model.asked.load(Ordering::Relaxed), 100);
    Arc::into_inner(server).unwrap().stop().await;
}
