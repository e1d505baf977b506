//! Rules that are changed under the same revision, between two starts: nobody is told twice, what was sent stays listed, and what waits
//! goes on.

use super::*;

fn often(line: f64) -> String {
    format!(
        "[features.n]\non = 'A'\ncount = true\n[rules.often]\ncrosses = {{ feature = 'n', above = {line} }}\n\
         then = [{{ webhook = 'bank', expires = '1h' }}, {{ emit = 'Often', expires = '1h' }}]\n"
    )
}

async fn happens(server: &Server, user: &str, times: std::ops::Range<u32>) {
    let event = |n: u32| json!({"type": "track", "event": "A", "userId": user, "messageId": format!("{user}{n}")});
    send(server, "wk_web", json!(times.map(event).collect::<Vec<_>>())).await;
}

#[tokio::test]
async fn a_changed_line_tells_nobody_twice_keeps_what_was_sent_and_does_what_waits() {
    let world = World::new(&[("often.toml", &often(2.5))]).await;
    let change =
        |rules: &str| fs::write(world.folder.path().join("rules/often.toml"), rules).unwrap();
    let server = world.start().await;
    let token = server.new_token.clone().unwrap();
    happens(&server, "told", 0..3).await;
    happens(&server, "near", 0..2).await;
    let first = settled(&server, &token, 1).await;
    // For this one the webhook is away, and the event is not.
    world.receiver.answer_with(|_| 503);
    happens(&server, "waiting", 0..3).await;
    let one_waits = async |server: &Server| {
        until("an action that waits", async || {
            let found = get(server, &token, "/v1/firings").await["firings"].clone();
            let states = |at: usize| found[0]["actions"][at]["state"].clone();
            let is_it = found.as_array().unwrap().len() == 2;
            (is_it && states(0) == "pending" && states(1) == "accepted").then_some(found)
        })
        .await
    };
    let waiting = one_waits(&server).await;
    server.stop().await;

    // Another line, so that all three are beyond it, and were before now: on record, as held, and what was done beside it.
    change(&often(1.5));
    let server = world.start().await;
    until("the state that these rules have made", async || {
        let found = get(&server, &token, "/v1/firings").await["firings"].clone();
        (items(&found).count() == 5).then_some(())
    })
    .await;
    let listed = get(&server, &token, "/v1/firings").await["firings"].clone();
    let acting: Vec<_> = items(&listed).filter(|it| it["held"].is_null()).cloned().collect();
    let ids = |all: &[Value]| all.iter().map(|it| it["id"].clone()).collect::<Vec<_>>();
    let then = |all: &Value| ids(all.as_array().unwrap());
    assert_eq!(ids(&acting), then(&waiting), "{listed:#}");
    assert!(acting.iter().all(|it| it["earlier"] == true), "{acting:#?}");
    assert_eq!(acting[1]["why"], first[0]["why"], "why is known where it was");
    // The destination is back: what waited goes on, and nothing else.
    world.receiver.answer_with(|_| 204);
    happens(&server, "told", 3..5).await;
    happens(&server, "near", 2..4).await;
    assert_eq!(settled(&server, &token, 5).await.len(), 5);
    // Made anew, and under a line that is far away: it is said in the log what was done.
    server.stop().await;
    change(&often(99.0));
    fs::remove_file(world.data().join("people.db")).unwrap();
    let server = world.start().await;
    until("all that was sent", async || {
        let found = get(&server, &token, "/v1/firings").await["firings"].clone();
        let states: Vec<_> = items(&found).flat_map(|it| items(&it["actions"])).collect();
        let is_done = states.iter().all(|action| action["state"] == "accepted");
        (then(&found).len() == 2 && states.len() == 4 && is_done).then_some(())
    })
    .await;
    server.stop().await;
    let taken = world.receiver.wait_for("all", |_| true).await;
    let taken: Vec<_> = taken.iter().filter(|attempt| attempt.status == 204).collect();
    assert_eq!(taken.len(), 2, "one for each who was told");
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

#[tokio::test]
async fn what_waits_for_a_rule_that_is_gone_is_not_done() {
    let rule = |name: &str| {
        format!("[rules.{name}]\non = 'A'\nthen = [{{ webhook = 'bank', expires = '1h' }}]\n")
    };
    let world = World::new(&[("a.toml", &rule("gone")), ("b.toml", &rule("stays"))]).await;
    world.receiver.answer_with(|_| 503);
    let server = world.start().await;
    let token = server.new_token.clone().unwrap();
    happens(&server, "u", 0..1).await;
    until("two that wait", async || {
        let found = get(&server, &token, "/v1/firings").await["firings"].clone();
        (items(&found).count() == 2).then_some(())
    })
    .await;
    server.stop().await;
    fs::remove_file(world.folder.path().join("rules/a.toml")).unwrap();
    world.receiver.answer_with(|_| 204);
    let server = world.start().await;
    let all = settled(&server, &token, 2).await;
    let state = |rule: &str| {
        let of = all.iter().find(|it| it["rule"] == rule).unwrap();
        of["actions"][0].clone()
    };
    assert_eq!(state("stays")["state"], "accepted");
    assert_eq!(state("gone")["state"], "withheld");
    assert!(state("gone")["detail"].as_str().unwrap().contains("its rule is gone"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn why_nothing_came_of_a_firing_is_kept_when_its_rule_is_changed() {
    let rules = |dry: bool, times: u32| {
        format!(
            "caps.webhook = {{ times = {times}, within = '7d' }}\n\
             [rules.dry]\non = 'A'\ndry_run = {dry}\nthen = [{{ emit = 'B' }}]\n\
             [rules.capped]\non = 'A'\nthen = [{{ webhook = 'bank' }}]\n"
        )
    };
    let world = World::new(&[("often.toml", &rules(true, 1))]).await;
    let server = world.start().await;
    let token = server.new_token.clone().unwrap();
    happens(&server, "u", 0..1).await;
    settled(&server, &token, 2).await;
    happens(&server, "u", 1..2).await;
    settled(&server, &token, 4).await;
    server.stop().await;
    fs::write(world.folder.path().join("rules/often.toml"), rules(false, 2)).unwrap();
    let server = world.start().await;
    happens(&server, "u", 2..3).await;
    settled(&server, &token, 6).await;
    let of = async |rule: &str| {
        let found = get(&server, &token, &format!("/v1/firings?rule={rule}")).await;
        let firings = items(&found["firings"]).map(|it| {
            let action = &it["actions"][0];
            let word = |it: &Value| it.as_str().unwrap_or_default().to_owned();
            (
                word(&it["held"]),
                it["earlier"] == true,
                word(&action["state"]),
                // Up to the moment, which is another in each run.
                word(&action["detail"]).split(", the last set off").next().unwrap().to_owned(),
            )
        });
        firings.collect::<Vec<_>>()
    };
    let firing = |held: &str, earlier, state: &str, detail: &str| {
        (held.to_owned(), earlier, state.to_owned(), detail.to_owned())
    };
    let dry = firing("dry run", true, "", "");
    assert_eq!(of("dry").await, [firing("", false, "accepted", ""), dry.clone(), dry]);
    let cap = "the person is written to as often as the cap allows: at most once in 7 days (`caps.webhook`)";
    let (sent, capped) = (firing("", false, "accepted", ""), firing("", false, "withheld", cap));
    assert_eq!(of("capped").await, [sent.clone(), capped, sent]);
    let why = super::waiting::says(&server, &token, &["why", "dry", "u"]);
    let held = "it fired, and nothing is done: dry run\n    by an earlier form of this rule";
    assert_eq!(why.matches(held).count(), 2, "{why}");
    server.stop().await;
}

#[tokio::test]
async fn of_a_firing_that_stands_what_was_done_is_done_and_what_waits_goes_on() {
    let rule = |late: &str| {
        format!(
            "[rules.both]\non = 'A'\nlate = '{late}'\nthen = [{{ webhook = 'bank', expires = '1h' }}, {{ emit = 'B' }}]\n"
        )
    };
    let world = World::new(&[("often.toml", &rule("record"))]).await;
    world.receiver.answer_with(|_| 503);
    let server = world.start().await;
    let token = server.new_token.clone().unwrap();
    happens(&server, "u", 0..1).await;
    let states = async |server: &Server, state: &str| {
        until(state, async || {
            let found = get(server, &token, "/v1/firings").await["firings"][0].clone();
            let of = |at: usize| found["actions"][at]["state"].clone();
            (of(0) == state && of(1) == "accepted").then_some(found)
        })
        .await
    };
    let before = states(&server, "pending").await;
    server.stop().await;
    fs::write(world.folder.path().join("rules/often.toml"), rule("fire")).unwrap();
    world.receiver.answer_with(|_| 204);
    let server = world.start().await;
    let after = states(&server, "accepted").await;
    assert_eq!((&after["id"], &after["earlier"]), (&before["id"], &Value::Null), "{after}");
    server.stop().await;
}
