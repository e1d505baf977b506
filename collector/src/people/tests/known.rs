//! What is known of people and accounts: what they said last, how often they were there, and how they are found.

use super::*;

#[test]
fn what_the_collector_says_of_somebody_is_on_their_timeline_and_nothing_that_they_did() {
    let mut world = World::new();
    world.said(&track("Seen", &json!({"userId": "u-1", "context": {"groupId": "acme"}})));
    let before = world.who("u-1");
    world.record(&track("In-App Message", &json!({"userId": "u-1"})), |record| {
        record.source = SOURCE.parse().unwrap();
        record.trust = Trust::Server;
        record.origin = Origin::Derived { by: "cart_left".into(), depth: 1 };
    });
    let after = world.who("u-1");
    assert_eq!((after.events, &after.last_seen), (before.events, &before.last_seen));
    let now = Timestamp::from_unix_ms(i64::MAX / 2);
    let recent = |from: Timestamp| account(&world.db, "acme", from).unwrap().unwrap().recent_events;
    assert_eq!((recent(Timestamp::from_unix_ms(0)), recent(now)), (1, 0));
    let on_timeline = "SELECT count(*) FROM moment";
    let count: u32 = world.db.query_row(on_timeline, [], |row| row.get(0)).unwrap();
    assert_eq!(count, 2, "both are on the timeline");
}

#[test]
fn the_latest_by_event_time_wins_and_null_takes_away() {
    let mut world = World::new();
    let late = |seconds: i64| {
        move |record: &mut Record| {
            record.event_time = Timestamp::from_unix_ms(BEGIN_MS + seconds * 1000);
        }
    };
    world.record(&identify("d", "u", &json!({"plan": "pro", "seats": 5})), late(100));
    world.record(&identify("d", "u", &json!({"plan": "free"})), late(50));
    assert_eq!(world.who("u").traits["plan"].value.get(), "\"pro\"");
    world.record(&identify("d", "u", &json!({"plan": null})), late(200));
    world.record(&identify("d", "u", &json!({"plan": "trial"})), late(150));
    let traits = world.who("u").traits;
    assert_eq!(traits.keys().collect::<Vec<_>>(), ["seats"]);
}

#[test]
fn sessions_are_counted_once_over_a_login() {
    let mut world = World::new();
    let visit = |device: &str, session: &str| json!({"anonymousId": device, "context": {"sessionId": session}});
    world.said(&track("Seen", &visit("d", "s-1")));
    let mut login = identify("d", "u", &json!({}));
    login["context"] = json!({"sessionId": "s-1"});
    world.said(&login);
    assert_eq!(world.who("u").sessions, 1);
    world.said(&track("Seen", &visit("d", "s-2")));
    assert_eq!(world.who("u").sessions, 2);
    // Without numbers, half an hour's silence.
    let mut world = World::new();
    for (n, sessions) in [(0, 1), (1_700, 1), (3_600, 2)] {
        world.record(&track("Seen", &json!({"anonymousId": "d"})), |record| {
            record.event_time = Timestamp::from_unix_ms(BEGIN_MS + n * 1000);
        });
        assert_eq!(world.who("d").sessions, sessions, "{n}");
    }
    world.record(&identify("d", "u", &json!({})), |record| {
        record.event_time = Timestamp::from_unix_ms(BEGIN_MS + 3_700 * 1000);
    });
    assert_eq!(world.who("u").sessions, 2, "a login does not begin one");
}

#[test]
fn an_account_is_its_members_and_moves_with_them() {
    let mut world = World::new();
    world.said(&json!({"type": "group", "groupId": "g-1", "userId": "u-1", "traits": {"name": "Example Ltd", "plan": "team"}}));
    world.said(&track("Report Built", &json!({"userId": "u-2", "context": {"groupId": "g-1"}})));
    world.said(&track("Report Built", &json!({"userId": "u-2"})));
    let now = Timestamp::from_unix_ms(BEGIN_MS + 10_000);
    let account = account(&world.db, "g-1", now).unwrap().unwrap();
    assert_eq!((&*account.name, account.recent_events), ("Example Ltd", 3));
    let members: Vec<_> = account.members.iter().map(|m| (&*m.name, m.recent_events)).collect();
    assert_eq!(members, [("u-2", 2), ("u-1", 1)], "the main user first");
    assert_eq!(world.who("u-2").accounts[0].name, "Example Ltd");
    let later = Timestamp::from_unix_ms(BEGIN_MS + 40 * 24 * 3600 * 1000);
    assert_eq!(crate::people::account(&world.db, "g-1", later).unwrap().unwrap().recent_events, 0);
    world.merge("user:u-1", "user:u-2");
    assert_eq!(crate::people::account(&world.db, "g-1", now).unwrap().unwrap().members.len(), 1);
    world.unmerge("user:u-1", "user:u-2");
    assert_eq!(crate::people::account(&world.db, "g-1", now).unwrap().unwrap().members.len(), 2);
}

#[test]
fn people_are_found_by_how_something_begins() {
    let mut world = World::new();
    world.said(&identify(
        "d-1",
        "u-1",
        &json!({"email": "first@example.com", "name": "Ada", "company": "Example Ltd"}),
    ));
    world.said(&identify("d-2", "u-2", &json!({"email": "second@example.com", "name": "Adam"})));
    let names = |text: &str| -> Vec<String> {
        let found = search(&world.db, text, 10).unwrap();
        found
            .into_iter()
            .map(|found| match found {
                Found::Person { name, .. } | Found::Account { name, .. } => name,
            })
            .collect()
    };
    assert_eq!(names("FIRST@"), ["Ada"]);
    assert_eq!(names("ada"), ["Ada", "Adam"]);
    assert_eq!(names("example"), ["Ada"]);
    assert_eq!(names("u-"), ["Ada", "Adam"]);
    assert_eq!(names("user:u-2"), ["Adam"]);
    assert_eq!(names(""), Vec::<String>::new());
    assert_eq!(names("%"), Vec::<String>::new());
    // What a trait was is no longer found.
    world.said(&identify("d-1", "u-1", &json!({"name": "Grace"})));
    assert_eq!(search(&world.db, "ada", 10).unwrap().len(), 1);
}

#[test]
fn people_are_found_by_a_surname_and_by_what_another_system_calls_them() {
    let mut world = World::new();
    world.said(&identify("d-1", "u-1", &json!({"name": "Ada  King Lovelace"})));
    let ids = json!([{"type": "stripe_customer_id", "id": "cus_N42"}, {"type": "email", "id": "Ada@Example.com"}]);
    let mut paid = track("Paid", &json!({"userId": "u-1"}));
    paid["context"] = json!({ "externalIds": ids });
    world.said(&paid);
    world.said(&json!({"type": "group", "userId": "u-1", "groupId": "g-7", "messageId": "g",
        "traits": {"name": "Example Holding"}}));
    for (text, because) in [
        ("lovelace", "name: lovelace"),
        ("King Love", "name: king lovelace"),
        ("cus_N", "external:stripe_customer_id:cus_N42"),
        // An address is one, wherever it is said.
        ("ada@example.com", "ada@example.com"),
    ] {
        let found = search(&world.db, text, 10).unwrap();
        let [Found::Person { because: said, .. }] = &found[..] else { panic!("{text}: {found:?}") };
        assert_eq!(said, because);
    }
    for text in ["example h", "g-"] {
        let found = search(&world.db, text, 10).unwrap();
        let [Found::Account { id, .. }] = &found[..] else { panic!("{text}: {found:?}") };
        assert_eq!(id, "g-7");
    }
    assert!(world.same("cus_N42", "email:ada@example.com"), "also without its system's name");
    // What a name was is no longer found, in none of its words.
    world.said(&identify("d-1", "u-1", &json!({"name": "Ada King"})));
    assert_eq!(search(&world.db, "lovelace", 10).unwrap(), []);
    assert_eq!(search(&world.db, "king", 10).unwrap().len(), 1);
}
