//! A `match`, or a feature's `if`, that cannot be worked out is counted and named as a rule's own condition is, with where it stands.

use super::*;

const RULES: &str = r#"
[features.large]
on = "Paid"
if = "event.properties.amount > 500"
count = true

[features.unread]
on = "Paid"
if = "event.properties.amount > 700"
count = true

[scores.risk]
terms = { large = "double(features.large)" }

[rules.scored]
crosses = { score = "risk", above = 1.5 }
decision = "review"

[rules.looks]
on = "Order"
if = "features.large > 3"
decision = "ask"

[rules.off]
on = "Order"
if = "features.large > 3"
enabled = false
then = []

[rules.left]
on = "Cart Left"
without = { event = "Order", within = "1s", match = "event.properties.items > trigger.properties.items" }
then = []
"#;

async fn counted(server: &Server) -> Vec<(String, u64)> {
    let page = client().get(server.at("/metrics")).send().await.unwrap().text().await.unwrap();
    let of = |line: &str| {
        let (rule, count) =
            line.strip_prefix("headwater_rule_unjudged_total{rule=\"")?.split_once("\"} ")?;
        Some((rule.to_owned(), count.parse().unwrap()))
    };
    let mut all: Vec<_> = page.lines().filter_map(of).collect();
    all.sort();
    all
}

fn counts(all: [(&str, u64); 3]) -> Vec<(String, u64)> {
    all.map(|(rule, count)| (rule.to_owned(), count)).into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_match_and_a_features_condition_that_cannot_be_worked_out_are_counted_and_named() {
    let world = World::new(&[("rules.toml", RULES)]).await;
    let server = world.start().await;
    let token = server.new_token.clone().unwrap();
    let paid = async |id: &str, amount: Value| {
        let body = json!({"type": "track", "event": "Paid", "userId": "u-1", "messageId": id, "properties": {"amount": amount}});
        server::decide(&server, &body, 5000).await
    };
    assert_eq!(paid("1", json!(10)).await["unjudged"], json!([]));
    assert_eq!(counted(&server).await, counts([("left", 0), ("looks", 0), ("scored", 0)]));
    let text = paid("2", json!("900")).await;
    let why = |of: &str| format!("`>` does not work on {of}");
    let expected = json!([
        { "rule": "scored", "where": "features.large", "condition": "event.properties.amount > 500", "why": why("a text and a whole number") },
    ]);
    assert_eq!(
        text["unjudged"], expected,
        "`looks` decides by what the feature was before: {text}"
    );
    paid("3", json!(20)).await;
    paid("4", json!("x")).await;
    assert_eq!(counted(&server).await, counts([("left", 0), ("looks", 2), ("scored", 2)]));

    let event = |name: &str, id: &str, items: Value| json!({"type": "track", "event": name, "userId": "u-2", "messageId": id, "properties": {"items": items}});
    send(
        &server,
        "wk_web",
        json!([
            event("Cart Left", "5", json!(1)),
            event("Order", "6", json!("two")),
            event("Order", "7", json!("three"))
        ]),
    )
    .await;
    // Two that it cannot be compared with are one look back.
    let expected = counts([("left", 1), ("looks", 2), ("scored", 2)]);
    until("the timer", async || (counted(&server).await == expected).then_some(())).await;

    let rules = get(&server, &token, "/v1/rules").await["rules"].clone();
    let place = |name: &str| {
        let rule = rules.as_array().unwrap().iter().find(|it| it["name"] == name).unwrap();
        rule["unjudged"]["where"].clone()
    };
    let places = ["left", "scored", "looks", "off"].map(place);
    assert_eq!(json!(places), json!(["match", "features.large", "features.large", null]));
    let said = super::waiting::says(&server, &token, &["list"]);
    for place in
        ["`match`: `event.properties.items > ", "`features.large`: `event.properties.amount > 500`"]
    {
        assert!(said.contains(&format!("Z, in {place}")), "{place}: {said}");
    }
    server.stop().await;
}
