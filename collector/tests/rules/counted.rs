//! What rules came to, as the page of metrics says it: each firing and each action once, whatever is made anew meanwhile.

use super::*;

const RULES: &str = r#"
caps.webhook = { times = 1, within = "7d" }

[rules.left]
on = "Cart Left"
then = [{ email = "mail", template = "left.txt" }]

[rules.told]
on = "A"
limit = { times = 2, within = "1d" }
late = "record"
then = [{ webhook = "bank" }]

[rules.tried]
on = "A"
dry_run = true
then = [{ webhook = "bank" }]

[rules.slow]
on = "B"
without = { event = "C", within = "1s" }
then = [{ emit = "Slow" }]
"#;
const MAIL: &str = "+++\nsubject = \"Your cart\"\n+++\nIt waits.\n";

async fn page(server: &Server) -> String {
    client().get(server.at("/metrics")).send().await.unwrap().text().await.unwrap()
}

/// Samples of rules that are not zero, without the prefix.
fn counted(page: &str) -> Vec<String> {
    let of = |line: &&str| {
        ["headwater_firings_total", "headwater_actions_total"].iter().any(|it| line.starts_with(it))
            && !line.ends_with(" 0")
    };
    let mut all: Vec<_> = page.lines().filter(of).map(|it| it.replace("headwater_", "")).collect();
    all.sort();
    all
}

fn firing(rule: &str, outcome: &str, count: u32) -> String {
    format!("firings_total{{rule=\"{rule}\",outcome=\"{outcome}\"}} {count}")
}

fn action(rule: &str, kind: &str, outcome: &str) -> String {
    format!("actions_total{{rule=\"{rule}\",kind=\"{kind}\",outcome=\"{outcome}\"}} 1")
}

#[tokio::test(flavor = "multi_thread")]
async fn firings_and_actions_count_once_each_by_what_came_of_them_through_rebuild_and_restart() {
    let mut world = World::new(&[("rules.toml", RULES), ("left.txt", MAIL)]).await;
    world.toml.push_str(
        "[destinations.mail]\nkind = 'email'\nhost = '127.0.0.1'\nfrom = 'Shop <hello@shop.example>'\n",
    );
    let server = world.start().await;
    let token = server.new_token.clone().unwrap();
    let did = |name: &str, id: &str| json!({"type": "track", "event": name, "userId": "u-1", "messageId": id});
    let left =
        json!({"type": "track", "event": "Cart Left", "anonymousId": "a-1", "messageId": "1"});
    let mut late = did("A", "2");
    late["timestamp"] = json!(ms_ago(2 * DAY));
    let events = json!([left, late, did("A", "3"), did("A", "4"), did("A", "5"), did("B", "6")]);
    send(&server, "wk_web", events).await;
    settled(&server, &token, 9).await;
    let expected = [
        // Nobody knows where to write to: not wanted, and nothing is broken.
        action("left", "email", "withheld"),
        action("slow", "emit", "accepted"),
        action("told", "webhook", "accepted"),
        // A cap's word, too.
        action("told", "webhook", "withheld"),
        firing("left", "fired", 1),
        firing("slow", "fired", 1),
        firing("told", "fired", 2),
        firing("told", "late", 1),
        firing("told", "over_limit", 1),
        firing("tried", "dry_run", 3),
        firing("tried", "late", 1),
    ];
    let mut expected = Vec::from(expected);
    expected.sort();
    let shown = until("all counts", async || {
        let shown = counted(&page(&server).await);
        (shown.len() >= expected.len()).then_some(shown)
    })
    .await;
    assert_eq!(shown, expected);

    // Made anew beside the state in use, nothing counts again; what comes then does.
    order(&server, &token, "/v1/projection/rebuild").await;
    until("the end of the rebuild", async || {
        let state = get(&server, &token, "/v1/projection").await;
        state["rebuild"].is_null().then_some(())
    })
    .await;
    assert_eq!(counted(&page(&server).await), expected);
    server.stop().await;
    let server = world.start().await;
    send(&server, "wk_web", json!([did("B", "7")])).await;
    let expected = [action("slow", "emit", "accepted"), firing("slow", "fired", 1)];
    let shown = until("what came after the start", async || {
        let shown = counted(&page(&server).await);
        (shown.len() >= 2).then_some(shown)
    })
    .await;
    assert_eq!(shown, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_what_is_stopped_and_what_is_decided_is_told() {
    let rules = "[rules.told]\non = 'A'\nthen = [{ webhook = 'bank' }]\n[rules.risky]\non = 'Order'\nfrom = 'server'\ndecision = 'review'\nthen = []\n";
    let world = World::new(&[("rules.toml", rules)]).await;
    world.receiver.answer_with(|_| 503);
    let server = world.start().await;
    let token = server.new_token.clone().unwrap();
    let has = async |line: &str| page(&server).await.lines().any(|it| it == line).then_some(());
    for (rule, stopped) in [("told", 0), ("risky", 0)] {
        has(&format!("headwater_rule_stopped{{rule=\"{rule}\"}} {stopped}")).await.unwrap();
    }
    let did = json!({"type": "track", "event": "A", "userId": "u-1", "messageId": "1"});
    send(&server, "wk_web", json!([did])).await;
    until("one that waits", async || has("headwater_actions_waiting{rule=\"told\"} 1").await).await;
    order(&server, &token, "/v1/rules/told/stop").await;
    until("that it is stopped", async || has("headwater_rule_stopped{rule=\"told\"} 1").await)
        .await;
    for (event, id) in [("Order", "2"), ("Order", "3"), ("Else", "4")] {
        let asked = json!({"event": event, "userId": "u-1", "messageId": id}).to_string();
        let request = client().post(server.at("/v1/decide?deadline_ms=2000")).body(asked);
        let answer = request.basic_auth("wk_app", Some("")).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
    }
    for line in [
        "headwater_decisions_total{rule=\"risky\",decision=\"review\",complete=\"true\"} 2",
        "headwater_decisions_total{rule=\"\",decision=\"allow\",complete=\"true\"} 1",
        "headwater_decision_duration_seconds_count 3",
    ] {
        assert!(has(line).await.is_some(), "{line} is not in {}", page(&server).await);
    }
}
