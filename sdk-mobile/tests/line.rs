//! One event's whole way, on the real collector: committed, sent, in the log. And what a program sees that only uses the public surface.

mod collector;

use std::sync::Arc;

use collector::{Collector, Heard, options};
use headwater_mobile::{Core, EventOptions};

#[test]
fn an_event_reaches_the_log_with_its_number_and_identity() {
    let folder = tempfile::tempdir().unwrap();
    let collector = Collector::start(folder.path());
    let heard = Arc::new(Heard::default());
    let core = Core::new(options(folder.path(), &collector.endpoint()), heard.clone()).unwrap();
    core.set_context(r#"{"app":{"name":"Shop","version":"1.2"}}"#.into()).unwrap();
    let first = core
        .track("Cart Viewed".into(), Some(r#"{"items":2}"#.into()), EventOptions::default())
        .unwrap();
    assert!(first.durable);
    core.identify(Some("u-1".into()), Some(r#"{"plan":"pro"}"#.into()), EventOptions::default())
        .unwrap();
    let own = EventOptions {
        context: Some(r#"{"app":{"name":"Other"},"sessionId":7}"#.into()),
        ..EventOptions::default()
    };
    core.screen(Some("Checkout".into()), None, None, own).unwrap();
    core.flush(1, 20_000).unwrap();
    assert_eq!(heard.flushed(1), 0);

    let events = collector.events(3);
    assert_eq!(events[0]["messageId"], first.message_id);
    assert_eq!(events[0]["properties"]["items"], 2);
    assert_eq!(events[0]["context"]["app"]["version"], "1.2");
    assert_eq!(events[0]["context"]["headwater"]["seq"], 1);
    assert!(events[0].get("userId").is_none());
    assert_eq!(events[1]["type"], "identify");
    assert_eq!((&events[1]["userId"], &events[2]["userId"]), (&"u-1".into(), &"u-1".into()));
    assert_eq!(events[2]["context"]["app"]["name"], "Other");
    assert_eq!(events[2]["context"]["sessionId"], events[0]["context"]["sessionId"]);
    assert_eq!(events[2]["context"]["headwater"]["seq"], 3);
    assert_eq!(core.pending().unwrap(), 0);
}
