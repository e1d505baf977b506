//! What waited for a rule that is gone, switched off or another one after a start is not done, and counted as such: each action once,
//! by its rule and its kind, whatever is made anew later.

use super::*;

fn rule(name: &str, keys: &str) -> String {
    format!(
        "[rules.{name}]\non = 'A'\n{keys}\nthen = [{{ webhook = 'bank', expires = '1h' }}, {{ slack = 'success', template = 's.md', expires = '1h' }}]\n"
    )
}

/// Samples of actions that are not zero.
async fn counted(server: &Server) -> Vec<String> {
    let page = client().get(server.at("/metrics")).send().await.unwrap().text().await.unwrap();
    let of = |line: &&str| line.starts_with("headwater_actions_total") && !line.ends_with(" 0");
    let mut all: Vec<_> =
        page.lines().filter(of).map(|it| it.replace("headwater_actions_total", "")).collect();
    all.sort();
    all
}

fn withheld(rules: &[&str]) -> Vec<String> {
    let of = |rule: &&str| {
        ["slack", "webhook"]
            .map(|kind| format!("{{rule=\"{rule}\",kind=\"{kind}\",outcome=\"withheld\"}} 1"))
    };
    rules.iter().flat_map(of).collect()
}

async fn waiting(world: &World, server: &Server, token: &str, expected: i64) {
    until("the state of these rules", async || {
        let state = get(server, token, "/v1/projection").await;
        (state["rebuild"].is_null() && world.pending() == expected).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_change_of_rules_lets_go_is_counted_once_by_rule_and_kind() {
    let names = ["gone", "off", "other", "stays"];
    let files = names.map(|name| (format!("{name}.toml"), rule(name, "")));
    let mut files: Vec<(&str, &str)> =
        files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    files.push(("s.md", "Look.\n"));
    let mut world = World::new(&files).await;
    world.receiver.answer_with(|_| 503);
    let server = world.start().await;
    let token = server.new_token.clone().unwrap();
    let event = json!({"type": "track", "event": "A", "userId": "u-1", "messageId": "1"});
    send(&server, "wk_web", json!([event])).await;
    waiting(&world, &server, &token, 8).await;
    assert_eq!(counted(&server).await, [""; 0], "all of it waits");
    server.stop().await;

    let at = |name: &str| world.folder.path().join(format!("rules/{name}.toml"));
    fs::remove_file(at("gone")).unwrap();
    fs::write(at("off"), rule("off", "enabled = false")).unwrap();
    fs::write(at("other"), rule("other", "revision = 2\npending = 'drop'")).unwrap();
    let server = world.start().await;
    waiting(&world, &server, &token, 2).await;
    let expected = withheld(&["gone", "off", "other"]);
    until("all counts", async || (counted(&server).await == expected).then_some(())).await;
    // Made anew by the same rules: what was let go is not let go again.
    order(&server, &token, "/v1/projection/rebuild").await;
    waiting(&world, &server, &token, 2).await;
    assert_eq!(counted(&server).await, expected);
    server.stop().await;

    // Without any rules the state stays as it is, and what waits goes.
    world.toml = world
        .toml
        .lines()
        .filter(|it| !it.starts_with("rules"))
        .fold(String::new(), |all, it| all + it + "\n");
    let server = world.start().await;
    waiting(&world, &server, &token, 0).await;
    assert_eq!(counted(&server).await, withheld(&["stays"]));
    server.stop().await;
    let server = world.start().await;
    assert_eq!(counted(&server).await, [""; 0], "a start has nothing to let go");
    server.stop().await;
}
