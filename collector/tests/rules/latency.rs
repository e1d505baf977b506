//! How long rules take, as the page of metrics says it: from the receipt of an event, and not from when it says that it happened; without
//! the time that somebody wanted to pass.

use super::*;

const RULES: &str = r#"
[rules.told]
on = "A"
late = "fire"
then = [{ emit = "Told", expires = "7d" }, { set = { told = true }, expires = "7d" }]

[rules.slow]
on = "B"
without = { event = "C", within = "1s" }
then = [{ emit = "Slow" }]
"#;

async fn page(server: &Server) -> String {
    client().get(server.at("/metrics")).send().await.unwrap().text().await.unwrap()
}

/// A sample of a histogram, `count` or `sum`.
fn sample(page: &str, of: &str, labels: &str) -> f64 {
    let line = format!("headwater_{of}{{{labels}}} ");
    page.lines().find_map(|it| it.strip_prefix(&line)).map_or(0.0, |it| it.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_takes_time_is_counted_from_the_receipt_by_rule_and_kind_and_no_pause_that_was_wanted()
{
    let world = World::new(&[("rules.toml", RULES)]).await;
    let server = world.start().await;
    let token = server.new_token.clone().unwrap();
    let did = |name: &str, id: &str| json!({"type": "track", "event": name, "userId": "u-1", "messageId": id});
    let mut late = did("A", "1");
    late["timestamp"] = json!(ms_ago(DAY / 12));
    send(&server, "wk_web", json!([late, did("B", "2")])).await;
    let shown = until("both rules have acted", async || {
        let shown = page(&server).await;
        let acted = |rule: &str| {
            sample(
                &shown,
                "action_duration_seconds_count",
                &format!("rule=\"{rule}\",kind=\"emit\""),
            )
        };
        (acted("told") >= 1.0 && acted("slow") >= 1.0).then_some(shown.clone())
    })
    .await;
    for (of, labels) in [
        ("firing", "rule=\"told\""),
        ("firing", "rule=\"slow\""),
        ("action", "rule=\"told\",kind=\"emit\""),
        ("action", "rule=\"slow\",kind=\"emit\""),
    ] {
        assert!(
            (sample(&shown, &format!("{of}_duration_seconds_count"), labels) - 1.0).abs() < 0.1
        );
        let sum = sample(&shown, &format!("{of}_duration_seconds_sum"), labels);
        assert!((0.0..60.0).contains(&sum), "{of} {labels}: {sum}");
    }

    // One that waits for its rule to go on takes as long as whoever has stopped it wants.
    order(&server, &token, "/v1/rules/told/stop").await;
    send(&server, "wk_web", json!([did("A", "3")])).await;
    let waiting = async |count: f64| {
        until("what waits", async || {
            let shown = page(&server).await;
            let now = sample(&shown, "actions_waiting", "rule=\"told\"");
            ((now - count).abs() < 0.1).then_some(shown)
        })
        .await
    };
    waiting(2.0).await;
    order(&server, &token, "/v1/rules/told/resume").await;
    let shown = waiting(0.0).await;
    let accepted = "rule=\"told\",kind=\"emit\",outcome=\"accepted\"";
    assert!((sample(&shown, "actions_total", accepted) - 2.0).abs() < 0.1, "{shown}");
    assert!((sample(&shown, "firing_duration_seconds_count", "rule=\"told\"") - 2.0).abs() < 0.1);
    let taken = sample(&shown, "action_duration_seconds_count", "rule=\"told\",kind=\"emit\"");
    assert!((taken - 1.0).abs() < 0.1, "{taken}");
}
