//! What is not known is not done again, and what another source has said decides nothing.

use super::*;

#[tokio::test]
async fn without_state_db_nothing_is_sent_that_may_have_been_sent_where_nobody_would_know_it_again()
{
    let rule = "[rules.a]\non = 'A'\nthen = [{ slack = 'success', template = 'a.md', expires = '1h' }, { webhook = 'bank', expires = '1h' }]\n";
    let world = World::new(&[("a.toml", rule), ("a.md", "Hello")]).await;
    let server = world.start().await;
    let token = server.new_token.clone().unwrap();
    // It waits, and nobody can tell this from having been sent once the database is gone.
    order(&server, &token, "/v1/rules/stop").await;
    let event = json!([{"type": "track", "event": "A", "userId": "u-1", "messageId": "1"}]);
    send(&server, "wk_web", event).await;
    until("a firing", async || {
        get(&server, &token, "/v1/firings").await["firings"].get(0).cloned()
    })
    .await;
    server.stop().await;
    for name in ["state.db", "state.db-wal", "state.db-shm"] {
        let _ = fs::remove_file(world.data().join(name));
    }
    let server = world.start().await;
    let token = server.new_token.clone().unwrap();
    let all = settled(&server, &token, 1).await;
    let actions = all[0]["actions"].as_array().unwrap();
    assert_eq!((&actions[0]["kind"], &actions[0]["state"]), (&json!("slack"), &json!("unknown")));
    assert!(actions[0]["detail"].as_str().unwrap().contains("`state.db` was lost"));
    // A destination that knows what it had gets it.
    assert_eq!(
        (&actions[1]["kind"], &actions[1]["state"]),
        (&json!("webhook"), &json!("accepted"))
    );
    server.stop().await;
    assert_eq!(world.receiver.wait_for("one", |_| true).await.len(), 1);
}

#[tokio::test]
async fn a_decision_is_not_that_of_another_sources_event_of_the_same_id() {
    let rule = "[rules.odd]\non = 'Card Used'\nif = 'event.properties.amount > 10'\ndecision = 'freeze'\nthen = []\n";
    let world = World::new(&[("odd.toml", rule)]).await;
    let server = world.start().await;
    let token = server.new_token.clone().unwrap();
    let card = |amount: u32| json!({"type": "track", "event": "Card Used", "userId": "u-1", "messageId": "m", "properties": {"amount": amount}});
    for is_again in [false, true] {
        let ask = client().post(server.at("/v1/decide?deadline_ms=5000"));
        let answer = ask.basic_auth("wk_app", Some("")).body(card(5).to_string()).send().await;
        let decided = server::json(answer.unwrap()).await;
        let told = (&decided["decision"], &decided["complete"], &decided["duplicate"]);
        assert_eq!(told, (&json!("allow"), &json!(true), &json!(is_again)), "{decided}");
        // It comes between the first question and the same again, and is the later one.
        send(&server, "wk_web", json!([card(50)])).await;
        settled(&server, &token, 1).await;
    }
    server.stop().await;
}
