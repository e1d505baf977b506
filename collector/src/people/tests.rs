//! People, told as stories and as properties: any cut, any restart and any order that the clamp allows give the same people,
//! and what is taken back was never there.

mod known;
mod proven;

use std::sync::Arc;

use proptest::prelude::*;
use rusqlite::Connection;
use serde_json::{Value, json};

use super::{orders::SOURCE, testing::everything, *};
use crate::event_log::{Flags, Identity, Offset, Origin, Record, Timestamp, Trust};

/// People of records that a test writes.
struct World {
    db: Connection,
    fold: Fold,
    next: i64,
}

impl World {
    fn new() -> Self {
        Self::with(Limits::default())
    }

    fn with(limits: Limits) -> Self {
        let db = Connection::open_in_memory().unwrap();
        for tables in SCHEMAS {
            db.execute_batch(tables).unwrap();
        }
        Self { db, fold: Fold::new(limits, Arc::new(|_, _| false)), next: 1 }
    }

    /// One event, folded at once. Its time is `n` seconds after 2025 began, `n` its place in the log.
    fn said(&mut self, event: &Value) -> Offset {
        self.record(event, |_| {})
    }

    fn record(&mut self, event: &Value, change: impl FnOnce(&mut Record)) -> Offset {
        let mut record = record(self.next, event);
        change(&mut record);
        self.next += 1;
        self.fold(&record);
        record.offset
    }

    /// As what comes when all before it is folded.
    fn fold(&mut self, record: &Record) {
        self.fold.record(&self.db, record).unwrap();
        self.fold.flush(&self.db).unwrap();
        self.fold.gather(&self.db, record.offset).unwrap();
    }

    fn ordered(&mut self, order: &Order) {
        let event = order.event("order", "first");
        let json: Value = serde_json::from_str(&event.json).unwrap();
        self.record(&json, |record| {
            (record.origin, record.source) = (event.origin.clone(), event.source.clone());
        });
    }

    fn merge(&mut self, a: &str, b: &str) {
        self.ordered(&Order::Merge(a.parse().unwrap(), b.parse().unwrap()));
    }

    fn unmerge(&mut self, a: &str, b: &str) {
        self.ordered(&Order::Unmerge(a.parse().unwrap(), b.parse().unwrap()));
    }

    fn who(&self, text: &str) -> Profile {
        let person = person_of(&self.db, text).unwrap().expect(text);
        profile(&self.db, person).unwrap()
    }

    fn same(&self, a: &str, b: &str) -> bool {
        self.who(a).id == self.who(b).id
    }

    fn edges(&self, of: &str) -> Vec<(String, String, &'static str)> {
        let person = person_of(&self.db, of).unwrap().unwrap();
        let edges = graph_of(&self.db, person).unwrap().edges;
        edges.into_iter().map(|edge| (edge.a, edge.b, edge.state)).collect()
    }

    /// Everything that is kept, in words.
    fn everything(&self) -> Vec<String> {
        everything(&self.db)
    }
}

const BEGIN_MS: i64 = 1_735_689_600_000;

fn record(n: i64, event: &Value) -> Record {
    let time = Timestamp::from_unix_ms(BEGIN_MS + n * 1000);
    Record {
        offset: Offset::from_number(n),
        received_at: time,
        event_time: time,
        claimed_time: None,
        source: "web".parse().unwrap(),
        trust: Trust::Client,
        origin: Origin::Sent,
        order_key: "d".into(),
        message_id: n.to_string().into(),
        sequence: None,
        schema_version: 0,
        flags: Flags::default(),
        json: event.to_string().into(),
    }
}

fn track(event: &str, who: &Value) -> Value {
    let mut json = json!({"type": "track", "event": event});
    json.as_object_mut().unwrap().extend(who.as_object().unwrap().clone());
    json
}

fn identify(device: &str, user: &str, traits: &Value) -> Value {
    json!({"type": "identify", "anonymousId": device, "userId": user, "traits": traits})
}

#[test]
fn a_visitor_who_signs_in_is_one_person_on_all_devices_and_in_all_channels() {
    let mut world = World::new();
    world.said(&json!({"type": "page", "name": "Pricing", "anonymousId": "d-1"}));
    let visitor = world.who("anonymous:d-1");
    assert_eq!(visitor.name, "Visitor d-1");
    world.said(&identify("d-1", "u-1", &json!({"email": "Shopper@Example.com", "plan": "pro"})));
    world.said(&track("Opened", &json!({"anonymousId": "phone-1", "userId": "u-1"})));
    world.record(
        &track(
            "Ticket Opened",
            &json!({"anonymousId": "zendesk_user_id:9", "context": {
            "externalIds": [{"type": "zendesk_user_id", "id": "9"}],
            "traits": {"email": "shopper@example.com"}}}),
        ),
        |record| (record.source, record.trust) = ("support".parse().unwrap(), Trust::Server),
    );
    let person = world.who("shopper@example.com");
    assert_eq!(person.id, visitor.id, "the first identifier names the person for good");
    for known in
        ["u-1", "user:u-1", "phone-1", "external:zendesk_user_id:9", &visitor.id.to_string()]
    {
        assert_eq!(world.who(known).id, person.id, "{known}");
    }
    assert_eq!(person.name, "shopper@example.com");
    assert_eq!((person.events, person.identifiers.len()), (4, 5));
    assert_eq!(person.traits["plan"].value.get(), "\"pro\"");
    assert_eq!((&*person.traits["plan"].offset, &*person.traits["plan"].source), ("2", "web"));
    let channels: Vec<_> = person.channels.iter().map(|c| (&*c.source, c.events)).collect();
    assert_eq!(channels, [("support", 1), ("web", 3)]);
    assert_eq!(person.first_seen.as_deref(), Some("2025-01-01T00:00:01.000Z"));
    assert_eq!(person.last_seen.as_deref(), Some("2025-01-01T00:00:04.000Z"));
}

#[test]
fn a_second_login_at_one_device_does_not_fuse_two_people() {
    let mut world = World::new();
    world.said(&identify("shared", "u-1", &json!({})));
    world.said(&identify("shared", "u-2", &json!({})));
    world.said(&track("Bought", &json!({"anonymousId": "shared", "userId": "u-2"})));
    assert!(world.same("user:u-1", "anonymous:shared"));
    assert!(!world.same("user:u-1", "user:u-2"));
    assert_eq!(world.who("user:u-2").events, 2, "what names the second is the second's");
    let refused = world.edges("user:u-2");
    assert_eq!(refused, [("anonymous:shared".into(), "user:u-2".into(), "refused")]);
    // Once the first is taken from the device, the second has it: as if the first had never been there.
    world.unmerge("anonymous:shared", "user:u-1");
    assert!(world.same("user:u-2", "anonymous:shared"));
    assert_eq!(world.who("user:u-1").identifiers.len(), 1);
}

#[test]
fn what_is_taken_back_stays_so_however_often_it_is_said_again_until_someone_orders_it() {
    let mut world = World::new();
    world.said(&identify("d-1", "u-1", &json!({"name": "A"})));
    world.said(&track("Seen", &json!({"anonymousId": "d-1"})));
    world.unmerge("user:u-1", "anonymous:d-1");
    world.said(&track("Seen", &json!({"anonymousId": "d-1", "userId": "u-1"})));
    assert!(!world.same("d-1", "u-1"));
    assert_eq!((world.who("d-1").events, world.who("u-1").events), (1, 2));
    world.merge("user:u-1", "anonymous:d-1");
    assert!(world.same("d-1", "u-1"));
    assert_eq!(world.who("d-1").events, 3);
}

#[test]
fn someone_may_merge_two_users_but_no_more_identifiers_than_a_person_can_have() {
    let mut world = World::with(Limits { identifiers: 3, ..Limits::default() });
    for user in ["u-1", "u-2", "u-3", "u-4"] {
        world.said(&track("Seen", &json!({"userId": user})));
    }
    world.merge("user:u-1", "user:u-2");
    world.merge("user:u-2", "user:u-3");
    world.merge("user:u-3", "user:u-4");
    assert!(world.same("u-1", "u-3"));
    assert!(!world.same("u-1", "u-4"));
    let person = person_of(&world.db, "u-4").unwrap().unwrap();
    let reason = graph_of(&world.db, person).unwrap().edges[0].reason.clone();
    assert_eq!(reason.as_deref(), Some("a person has at most 3 identifiers in all"));
}

#[test]
fn who_was_merged_goes_on_gaining_devices_and_addresses() {
    let mut world = World::new();
    world.said(&identify("d-1", "u-1", &json!({})));
    world.said(&identify("d-2", "u-2", &json!({})));
    world.merge("user:u-1", "user:u-2");
    world.said(&identify("d-3", "u-1", &json!({"email": "one@example.com"})));
    assert!(world.same("d-3", "u-2") && world.same("one@example.com", "u-2"));
    // A third login is still somebody else's.
    world.said(&identify("d-3", "u-3", &json!({})));
    assert!(!world.same("u-3", "u-1"));
}

#[test]
fn a_merge_of_two_who_shared_a_device_takes_nothing_from_either() {
    let mut world = World::new();
    for (user, addresses) in [("u-1", ["a@x.org", "b@x.org"]), ("u-2", ["c@x.org", "d@x.org"])] {
        for email in addresses {
            world.said(&identify("shared", user, &json!({ "email": email })));
        }
    }
    assert!(!world.same("u-1", "u-2"));
    world.merge("user:u-1", "user:u-2");
    for email in ["a@x.org", "b@x.org", "c@x.org", "d@x.org"] {
        assert!(world.same(email, "u-1"), "{email}");
    }
    // By the statement that was refused, too.
    let mut world = World::new();
    world.said(&identify("shared", "u-1", &json!({"email": "a@x.org"})));
    world.said(&identify("shared", "u-2", &json!({"email": "c@x.org"})));
    world.merge("user:u-2", "anonymous:shared");
    for known in ["a@x.org", "c@x.org", "shared", "u-2"] {
        assert!(world.same(known, "u-1"), "{known}");
    }
}

#[test]
fn a_shared_device_fuses_nobody_even_by_a_server_s_alias() {
    let mut world = World::new();
    for user in ["u-1", "u-2"] {
        let alias =
            json!({"type": "alias", "userId": user, "previousId": "till", "messageId": user});
        world.record(&alias, |record| record.trust = Trust::Server);
    }
    assert!(world.same("till", "u-1") && !world.same("u-2", "u-1"));
}

#[test]
fn what_an_operator_blocks_names_nobody() {
    let blocked = ["anonymous:kiosk", "info@shop.example"].map(str::to_owned).to_vec();
    let mut world = World::with(Limits { blocked, ..Limits::default() });
    for user in ["u-1", "u-2"] {
        world.said(&identify("kiosk", user, &json!({"email": "info@shop.example"})));
    }
    world.said(&track("Seen", &json!({"anonymousId": "kiosk"})));
    world.said(&json!({"type": "alias", "userId": "u-1", "previousId": "kiosk", "messageId": "a"}));
    assert_eq!(world.who("u-1").identifiers.len(), 1);
    assert_eq!(world.who("u-2").identifiers.len(), 1);
    let nobody = person_of(&world.db, "kiosk").unwrap();
    assert!(nobody.is_none());
}

#[test]
fn an_alias_from_a_public_key_fuses_no_two_users_and_one_from_a_server_does() {
    let mut world = World::new();
    for user in ["u-1", "u-2"] {
        world.said(&track("Seen", &json!({"userId": user})));
    }
    let alias = json!({"type": "alias", "userId": "u-2", "previousId": "u-1"});
    world.said(&alias);
    assert!(!world.same("u-1", "u-2"));
    let mut world = World::new();
    for user in ["u-1", "u-2"] {
        world.said(&track("Seen", &json!({"userId": user})));
    }
    world.record(&alias, |record| record.trust = Trust::Server);
    assert!(world.same("u-1", "u-2"));
}

#[test]
fn what_an_operator_takes_back_no_server_says_again() {
    let mut world = World::new();
    for user in ["u-1", "u-2"] {
        world.said(&track("Seen", &json!({"userId": user})));
    }
    let alias = json!({"type": "alias", "userId": "u-2", "previousId": "u-1"});
    // From a public key first: what a server says then still counts.
    world.said(&alias);
    for together in [true, false] {
        world.record(&alias, |record| record.trust = Trust::Server);
        assert_eq!(world.same("u-1", "u-2"), together);
        world.unmerge("user:u-1", "user:u-2");
        assert!(!world.same("u-1", "u-2"));
    }
    world.merge("user:u-1", "user:u-2");
    assert!(world.same("u-1", "u-2"));
}

#[test]
fn nobody_else_can_write_an_order() {
    let mut world = World::new();
    for user in ["u-1", "u-2"] {
        world.said(&track("Seen", &json!({"userId": user})));
    }
    let order = Order::Merge("user:u-1".parse().unwrap(), "user:u-2".parse().unwrap());
    let json: Value = serde_json::from_str(&order.event("m", "first").json).unwrap();
    world.record(&json, |record| record.source = SOURCE.parse().unwrap());
    world.record(&json, |record| {
        record.origin = Origin::Derived { by: "operator".into(), depth: 1 };
    });
    assert!(!world.same("u-1", "u-2"));
    let before = world.everything().len();
    world.ordered(&Order::Merge("user:u-1".parse().unwrap(), "user:u-2".parse().unwrap()));
    assert!(world.same("u-1", "u-2"));
    assert_eq!(world.everything().len(), before + 3, "an order is an edge, and nobody's event");
}

#[test]
fn what_names_nobody_is_nobodys() {
    let mut world = World::new();
    world.said(&track("Seen", &json!({"userId": "null"})));
    world.said(&track("Seen", &json!({"userId": "undefined", "anonymousId": "d-1"})));
    world.record(&track("Seen", &json!({"userId": "u-1"})), |record| record.flags.test = true);
    assert_eq!(person_of(&world.db, "null").unwrap(), None);
    assert_eq!(person_of(&world.db, "u-1").unwrap(), None);
    assert_eq!(world.who("d-1").identifiers.len(), 1);
}

#[test]
fn a_preview_is_what_comes_to_pass() {
    let mut world = World::new();
    world.said(&identify("d-1", "u-1", &json!({"plan": "pro", "city": "Oslo"})));
    world.said(&identify("d-2", "u-2", &json!({"plan": "free", "city": "Oslo"})));
    let (a, b) = ("user:u-1".parse().unwrap(), "user:u-2".parse().unwrap());
    let limits = Limits::default();
    let text = |profile: &Profile| serde_json::to_string(profile).unwrap();

    let before = world.everything();
    let seen = preview(&world.db, &limits, (&a, &b), true).unwrap().unwrap();
    assert_eq!(world.everything(), before, "it changes nothing");
    assert_eq!(seen.conflicts.keys().collect::<Vec<_>>(), ["plan"]);
    world.merge("user:u-1", "user:u-2");
    assert_eq!(seen.people.iter().map(text).collect::<Vec<_>>(), [text(&world.who("u-1"))]);

    let seen = preview(&world.db, &limits, (&a, &b), false).unwrap().unwrap();
    world.unmerge("user:u-1", "user:u-2");
    let now = [text(&world.who("u-1")), text(&world.who("u-2"))];
    assert_eq!(seen.people.iter().map(text).collect::<Vec<_>>(), now);
    let again = preview(&world.db, &limits, (&a, &b), false).unwrap().unwrap();
    assert!(again.refused.is_some());
    let unknown = "user:nobody-here".parse().unwrap();
    assert!(preview(&world.db, &limits, (&a, &unknown), true).unwrap().is_none());
}

#[test]
fn who_is_forgotten_is_in_no_table() {
    let mut world = World::new();
    world.said(&identify("d-2", "u-2", &json!({"name": "Stays"})));
    let before = world.everything();
    world.said(&identify("d-1", "u-1", &json!({"name": "Goes", "email": "goes@example.com"})));
    world.said(&identify("d-2", "u-1", &json!({})));
    world.said(
        &json!({"type": "group", "groupId": "g", "userId": "u-1", "traits": {"name": "Goes Ltd"}}),
    );
    world
        .said(&json!({"type": "page", "name": "Orders of u-1", "userId": "u-1", "messageId": "p"}));
    let person = person_of(&world.db, "u-1").unwrap().unwrap();
    let nodes: Vec<_> = graph::members(&world.db, person.node())
        .unwrap()
        .into_iter()
        .map(|(node, _)| node)
        .collect();
    forget(&world.db, &nodes).unwrap();
    assert_eq!(world.everything(), before);
}

/// A history: events of a few people on a few devices, with orders between them.
fn history() -> impl Strategy<Value = Vec<Value>> {
    let id = |prefix: &'static str, n: u8| (0..n).prop_map(move |i| format!("{prefix}-{i}"));
    let event = prop_oneof![
        4 => (id("d", 4), "[A-C]").prop_map(|(d, e)| track(&e, &json!({"anonymousId": d}))),
        3 => (id("d", 4), id("u", 3), "[A-C]")
            .prop_map(|(d, u, e)| track(&e, &json!({"anonymousId": d, "userId": u}))),
        3 => (id("d", 4), id("u", 3), id("e", 3), "[a-c]").prop_map(|(d, u, e, plan)| {
            identify(&d, &u, &json!({"email": format!("{e}@example.com"), "plan": plan}))
        }),
        1 => (id("u", 3), id("u", 3)).prop_map(|(a, b)| json!({"type": "alias", "userId": a, "previousId": b})),
        1 => (id("u", 3), id("g", 2), "[x-z]").prop_map(|(u, g, plan)| {
            json!({"type": "group", "userId": u, "groupId": g, "traits": {"plan": plan}})
        }),
        1 => (id("u", 3), id("d", 4)).prop_map(|(u, d)| json!({"unmerge": [format!("user:{u}"), format!("anonymous:{d}")]})),
        1 => (id("u", 3), id("u", 3)).prop_map(|(a, b)| json!({"merge": [format!("user:{a}"), format!("user:{b}")]})),
    ];
    let identity = prop_oneof![
        4 => Just(Identity::Unasked),
        1 => Just(Identity::Proven),
        1 => Just(Identity::Claimed),
    ];
    let from_server = (event, any::<bool>(), identity).prop_map(|(mut event, server, identity)| {
        event["server"] = json!(server);
        event["identity"] = json!(identity);
        event
    });
    prop::collection::vec(from_server, 1..40)
}

fn records(history: &[Value]) -> Vec<Record> {
    let numbered = (1..).zip(history);
    let records = numbered.map(|(n, event)| {
        let order = |name: &str| {
            let ends = event.get(name)?;
            let end = |i: usize| ends[i].as_str().unwrap().parse().unwrap();
            Some((end(0), end(1)))
        };
        let order = match (order("merge"), order("unmerge")) {
            (Some((a, b)), _) => Some(Order::Merge(a, b)),
            (_, Some((a, b))) => Some(Order::Unmerge(a, b)),
            _ => None,
        };
        let Some(order) = order else {
            let mut record = record(n, event);
            if event["server"] == true {
                record.trust = Trust::Server;
            }
            record.flags.identity =
                serde_json::from_value(event["identity"].clone()).unwrap_or_default();
            return record;
        };
        let said = order.event(&n.to_string(), "first");
        let json = serde_json::from_str(&said.json).unwrap();
        Record { origin: said.origin, source: said.source, trust: said.trust, ..record(n, &json) }
    });
    records.collect()
}

/// Folds in transactions of these sizes, each with a fold that remembers nothing if `restarts`.
fn folded(limits: Limits, records: &[Record], cuts: &[usize], restarts: bool) -> World {
    let (mut world, mut rest) = (World::with(limits), records);
    let mut cuts = cuts.iter().cycle();
    while !rest.is_empty() {
        let (now, later) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
        let change = world.db.unchecked_transaction().unwrap();
        for record in now {
            world.fold.record(&change, record).unwrap();
        }
        world.fold.flush(&change).unwrap();
        change.commit().unwrap();
        if restarts {
            world.fold.forget();
        }
        rest = later;
    }
    let end = Offset::from_number(records.len() as i64);
    world.fold.gather(&world.db, end).unwrap();
    world
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, max_global_rejects: 10_000, ..ProptestConfig::default() })]

    #[test]
    fn any_cut_and_any_restart_give_the_same_people(
        history in history(),
        cuts in prop::collection::vec(1_usize..9, 1..5),
    ) {
        let records = records(&history);
        let whole = folded(Limits::default(), &records, &[records.len()], false).everything();
        prop_assert_eq!(&folded(Limits::default(), &records, &cuts, false).everything(), &whole);
        prop_assert_eq!(&folded(Limits::default(), &records, &cuts, true).everything(), &whole);
    }

    #[test]
    fn what_is_merged_and_taken_apart_was_never_merged(
        history in history(),
        at in 0_usize..40,
        a in 0..3,
        b in 0..3,
    ) {
        let (a, b) = (format!("user:u-{a}"), format!("user:u-{b}"));
        let ends = |edge: &(String, String, &str)| {
            (edge.0 == a && edge.1 == b) || (edge.0 == b && edge.1 == a)
        };
        let history: Vec<_> = history.into_iter().map(|mut event| {
            // Nobody else says so.
            if event.get("merge").is_some() || event["type"] == "alias" {
                event = track("A", &json!({"userId": "u-0"}));
            }
            event
        }).collect();
        let mut records = records(&history);
        let at = at.min(records.len());
        let later = records.split_off(at);
        let mut without = folded(Limits::default(), &records, &[7], false);
        let mut with = folded(Limits::default(), &records, &[5], true);
        let said = |world: &World, id: &str| person_of(&world.db, id).unwrap().is_some();
        prop_assume!(a != b && said(&with, &a) && said(&with, &b));
        with.next = 1_000;
        with.merge(&a, &b);
        for record in later {
            // Behind the merge.
            let offset = Offset::from_number(2_000 + record.offset.to_number());
            let record = Record { offset, ..record };
            for world in [&mut with, &mut without] {
                world.fold(&record);
            }
        }
        with.next = 5_000;
        with.unmerge(&a, &b);
        prop_assert!(with.edges(&a).iter().any(ends));
        // Nor where somebody is named by who was not known to be them then.
        let is_theirs = |row: &String| {
            !["operator", "FROM decision", "FROM trial"].iter().any(|it| row.contains(it))
        };
        let after: Vec<_> = with.everything().into_iter().filter(is_theirs).collect();
        let without: Vec<_> = without.everything().into_iter().filter(is_theirs).collect();
        prop_assert_eq!(after, without);
    }

    #[test]
    fn traits_are_the_same_in_whatever_order_events_arrive(
        plans in prop::collection::vec(("[a-d]", 0_i64..6, 0_u8..2), 1..12).prop_flat_map(|plans| {
            (Just(plans.clone()), Just(plans).prop_shuffle())
        }),
    ) {
        let people = |plans: &[(String, i64, u8)]| {
            let mut world = World::new();
            for (plan, time, device) in plans {
                let event = identify(&format!("d-{device}"), "u", &json!({"plan": plan}));
                world.record(&event, |record| {
                    record.event_time = Timestamp::from_unix_ms(BEGIN_MS + time * 1000);
                });
            }
            let who = world.who("u");
            (who.traits["plan"].value.get().to_owned(), who.first_seen, who.last_seen, who.events)
        };
        prop_assert_eq!(people(&plans.0), people(&plans.1));
    }
}
