//! What is proven and what anyone can claim, where not both can hold: who gives way, told as stories and as properties.

use super::*;

fn signed(record: &mut Record) {
    record.flags.identity = Identity::Proven;
}

fn by_server(record: &mut Record) {
    record.trust = Trust::Server;
}

/// One device's statement of who uses it.
fn uses(device: &str, user: &str) -> Value {
    track("Read", &json!({"anonymousId": device, "userId": user}))
}

impl World {
    /// What became of a statement, and why.
    fn fate(&self, a: &str, b: &str) -> (&'static str, Option<String>) {
        let person = person_of(&self.db, a).unwrap().unwrap();
        let edges = graph_of(&self.db, person).unwrap().edges;
        let ends = |edge: &Statement| (edge.a == a && edge.b == b) || (edge.a == b && edge.b == a);
        let edge = edges.into_iter().find(ends).unwrap();
        (edge.state, edge.reason)
    }
}

#[test]
fn what_is_claimed_where_a_proof_is_asked_for_joins_nobody_and_is_found() {
    let mut world = World::new();
    let claimed = |record: &mut Record| record.flags.identity = Identity::Claimed;
    let proven = |record: &mut Record| record.flags.identity = Identity::Proven;
    world.record(&identify("d-1", "u-1", &json!({"email": "a@example.com"})), proven);
    let stranger =
        track("A", &json!({"anonymousId": "d-2", "userId": "u-1", "context": {"groupId": "g"}}));
    let stranger = world.record(&stranger, claimed);
    world.record(&track("A", &json!({"anonymousId": "d-1", "userId": "u-1"})), claimed);
    world.record(
        &json!({"type": "alias", "userId": "u-1", "anonymousId": "d-2", "previousId": "d-2"}),
        claimed,
    );
    let nobody = world.record(&track("A", &json!({"userId": "u-1"})), claimed);
    let who = world.who("u-1");
    let known: Vec<_> = who.identifiers.iter().map(|it| it.value.as_str()).collect();
    // The address is what the user says: a trait, and not an identifier.
    assert_eq!(known, ["u-1", "d-1"]);
    assert_eq!(who.traits["email"].value.get(), "\"a@example.com\"");
    assert_eq!((who.events, world.who("anonymous:d-2").events), (2, 2));
    assert!(person_of(&world.db, "email:a@example.com").unwrap().is_none());
    assert!(account(&world.db, "g", Timestamp::from_unix_ms(BEGIN_MS)).unwrap().is_none());
    // Who erases u-1 finds where others have named it; what its own device says is on its timeline.
    let user = "user:u-1".parse().unwrap();
    let found = trial::records(&world.db, &user, Offset::START, 9).unwrap();
    let alias = Offset::from_number(4);
    assert_eq!(found, [stranger, alias, nobody]);
}

#[test]
fn what_was_said_is_proven_by_whoever_proves_it_later() {
    let mut world = World::new();
    let leads = |world: &World, from: &str| {
        let node = profile::node_of(&world.db, from).unwrap().unwrap();
        Whole::proven(&world.db, node).unwrap().len()
    };
    world.said(&identify("d-1", "u-1", &json!({"email": "a@example.com"})));
    world.said(&identify("d-2", "u-1", &json!({})));
    assert_eq!(leads(&world, "anonymous:d-1"), 1);
    let again = identify("d-1", "u-1", &json!({"email": "a@example.com"}));
    for _ in 0..2 {
        world.record(&again, |record| record.flags.identity = Identity::Proven);
        assert_eq!(leads(&world, "anonymous:d-1"), 2, "the user, and not what was said beside");
    }
    world.record(&again, |record| record.trust = Trust::Server);
    assert_eq!((leads(&world, "anonymous:d-1"), leads(&world, "anonymous:d-2")), (3, 1));
    world.merge("user:u-1", "anonymous:d-2");
    assert_eq!(leads(&world, "anonymous:d-2"), 4, "an operator's word is proof");
    world.unmerge("user:u-1", "anonymous:d-1");
    assert_eq!(leads(&world, "anonymous:d-1"), 1);
    world.record(&again, |record| record.flags.identity = Identity::Proven);
    assert_eq!(leads(&world, "anonymous:d-1"), 1, "it stays taken back");
}

#[test]
fn a_hundred_devices_that_were_claimed_leave_room_for_the_true_one() {
    let mut world = World::new();
    for n in 0..100 {
        world.said(&uses(&format!("false-{n}"), "u-1"));
    }
    let before = world.everything();
    // Anyone's word is refused as ever, and what a signature says is not.
    world.said(&uses("mine", "u-1"));
    let full = Some("a person has at most 100 of kind `anonymous`".to_owned());
    assert_eq!(world.fate("anonymous:mine", "user:u-1"), ("refused", full.clone()));
    let proof = world.record(&uses("mine", "u-1"), signed);
    assert!(world.same("mine", "u-1"));
    assert_eq!(world.fate("anonymous:mine", "user:u-1"), ("accepted", None));
    let why = full.map(|full| format!("what is proven comes first: {full}"));
    assert_eq!(world.fate("anonymous:false-99", "user:u-1"), ("refused", why));
    assert!(!world.same("false-99", "u-1") && world.same("false-98", "u-1"), "one makes room");
    // The first again does not push the next one out, nor does what is only claimed come back.
    world.record(&uses("mine", "u-1"), signed);
    world.said(&uses("false-99", "u-1"));
    assert!(world.same("false-98", "u-1") && !world.same("false-99", "u-1"));
    assert_eq!(proof, Offset::from_number(102));
    // Taken back, it is as if it had never been said.
    world.unmerge("anonymous:mine", "user:u-1");
    let after = world.everything();
    let gone: Vec<_> = before.iter().filter(|row| !row.contains("FROM seen")).collect();
    assert!(gone.iter().all(|row| after.contains(row)), "{after:#?}");
}

#[test]
fn a_user_who_was_claimed_at_a_device_gives_way_to_the_one_who_is_proven() {
    for prove in [signed as fn(&mut Record), by_server] {
        let mut world = World::new();
        world.said(&uses("laptop", "thief"));
        world.said(&uses("phone", "thief"));
        world.said(&uses("laptop", "u-1"));
        assert!(world.same("laptop", "thief") && !world.same("laptop", "u-1"));
        world.record(&uses("laptop", "u-1"), prove);
        assert!(world.same("laptop", "u-1") && !world.same("laptop", "thief"));
        assert!(world.same("phone", "thief"), "what does not stand in the way stays");
        let why = "what is proven comes first: a person has at most 1 of kind `user`";
        assert_eq!(world.fate("anonymous:laptop", "user:thief"), ("refused", Some(why.to_owned())));
        // Whoever is proven second is refused as ever: a device is the first one's.
        world.record(&uses("laptop", "thief"), prove);
        assert!(world.same("laptop", "u-1") && !world.same("laptop", "thief"));
        let (state, why) = world.fate("anonymous:laptop", "user:thief");
        assert_eq!(
            (state, why.as_deref()),
            ("refused", Some("a person has at most 1 of kind `user`"))
        );
        // With the first one's taken back, the second one's proof holds.
        world.unmerge("anonymous:laptop", "user:u-1");
        assert!(world.same("laptop", "thief") && world.same("phone", "thief"));
    }
}

#[test]
fn nobody_s_claim_comes_to_hold_because_another_s_gives_way() {
    let mut world = World::new();
    world.said(&uses("laptop", "u-1"));
    world.said(&uses("phone", "u-1"));
    world.said(&uses("phone", "u-2"));
    world.record(&uses("laptop", "u-3"), signed);
    world.record(&uses("phone", "u-4"), signed);
    assert!(world.same("laptop", "u-3") && world.same("phone", "u-4"));
    assert!(!world.same("u-1", "u-2"));
    assert_eq!(world.fate("anonymous:phone", "user:u-2").0, "refused");
    assert_eq!(world.who("u-1").identifiers.len(), 1);
}

#[test]
fn no_operator_s_decision_gives_way_to_claims() {
    let limits = Limits { identifiers: 6, anonymous: 4, ..Limits::default() };
    let mut world = World::with(limits);
    for (device, user) in [("a", "u-1"), ("b", "u-1"), ("c", "u-2"), ("d", "u-2")] {
        world.said(&uses(device, user));
    }
    world.merge("user:u-1", "user:u-2");
    assert!(world.same("a", "d"));
    // The device of which both are sure, and no room.
    world.record(&uses("e", "u-2"), by_server);
    assert!(world.same("e", "u-2") && world.same("u-1", "u-2"));
    assert!(!world.same("d", "u-2"), "the last claim makes room");
    // A decision about people who are too many because of what was claimed of them.
    world.said(&uses("f", "u-3"));
    world.merge("user:u-3", "user:u-1");
    assert!(world.same("u-3", "u-1") && world.same("e", "u-3"));
    assert_eq!(world.who("u-1").identifiers.len(), 6);
}

#[test]
fn a_till_of_many_proven_customers_stays_the_first_one_s() {
    let mut world = World::new();
    for n in 0..300 {
        world.record(&uses("till", &format!("u-{n}")), by_server);
    }
    assert!(world.same("till", "u-0"));
    assert_eq!(world.who("till").identifiers.len(), 2);
}

/// What a public key says of whoever uses a device, where a proof is asked for.
fn claim(world: &mut World, device: &str, traits: &Value) {
    let event = json!({"type": "identify", "anonymousId": device, "traits": traits});
    world.record(&event, |record| record.flags.identity = Identity::Claimed);
}

fn values(of: &std::collections::BTreeMap<String, Said>) -> Vec<(&str, &str)> {
    of.iter().map(|(name, said)| (name.as_str(), said.value.get())).collect()
}

#[test]
fn what_is_claimed_is_a_device_s_trait_and_nobody_else_s() {
    let told = [("city", "\"Oslo\""), ("name", "\"Your Bank\"")];
    let traits = json!({"name": "Your Bank", "city": "Oslo", "gone": null});
    // Whoever it turns out to be: by a signature, by a server, by what a server says of the device, by an operator.
    let known: [fn(&mut World); 4] = [
        |world| _ = world.record(&uses("d", "u-1"), signed),
        |world| {
            let lead = json!({"type": "identify", "anonymousId": "d", "traits": {"email": "a@example.com"}});
            world.record(&lead, by_server);
        },
        |world| {
            let said = json!({"type": "identify", "anonymousId": "d", "traits": {"tier": "gold"}});
            world.record(&said, by_server);
        },
        |world| {
            world.record(&track("A", &json!({"userId": "u-1"})), by_server);
            world.merge("user:u-1", "anonymous:d");
        },
    ];
    for become_known in known {
        for claimed_first in [true, false] {
            let mut world = World::new();
            world.said(&track("A", &json!({"anonymousId": "d"})));
            if claimed_first {
                claim(&mut world, "d", &traits);
                let who = world.who("d");
                assert_eq!((values(&who.traits), who.name.as_str()), (told.to_vec(), "Your Bank"));
                assert_eq!(values(&who.claims), told);
            }
            become_known(&mut world);
            if !claimed_first {
                claim(&mut world, "d", &traits);
            }
            let who = world.who("d");
            assert!(values(&who.traits).iter().all(|of| !told.contains(of)), "{who:?}");
            assert_ne!(who.name, "Your Bank");
            assert_eq!(values(&who.claims), told, "it is still shown as what it is");
            let person = person_of(&world.db, "d").unwrap().unwrap();
            assert_eq!(name_of(&world.db, person).unwrap(), who.name);
            assert_eq!(search(&world.db, "your bank", 9).unwrap(), []);
        }
    }
}

#[test]
fn claims_write_over_nothing_and_take_nobody_s_room() {
    let mut world = World::new();
    let said = json!({"type": "identify", "anonymousId": "d", "traits": {"plan": "pro"}});
    world.record(&said, by_server);
    let many: serde_json::Map<_, _> = (0..290).map(|n| (format!("t{n}"), json!(n))).collect();
    claim(&mut world, "d", &Value::Object(many));
    claim(&mut world, "d", &json!({"plan": "free"}));
    let many: serde_json::Map<_, _> = (0..100).map(|n| (format!("s{n}"), json!(n))).collect();
    let said = json!({"type": "identify", "anonymousId": "d", "traits": many});
    world.record(&said, by_server);
    let who = world.who("d");
    assert_eq!((who.traits.len(), who.traits["plan"].value.get()), (101, "\"pro\""));
    assert!(who.claims.len() < 150);
}

/// People who soon have too much of something.
fn tight() -> Limits {
    Limits { anonymous: 2, email: 1, identifiers: 5, ..Limits::default() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_folded_as_it_came_is_what_all_statements_come_to(history in history()) {
        for limits in [tight(), Limits::default()] {
            let records = records(&history);
            let world = folded(limits.clone(), &records, &[4], false);
            let whole = world.everything();
            let again = folded(limits.clone(), &records, &[1], true).everything();
            prop_assert_eq!(&again, &whole);
            let mut all = world.db.prepare("SELECT id FROM identifier").unwrap();
            let all: Vec<Node> =
                all.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap();
            for node in all {
                graph::settle(&world.db, &limits, [node, node]).unwrap();
                prop_assert_eq!(&world.everything(), &whole);
            }
        }
    }

    #[test]
    fn what_is_proven_fares_as_if_nothing_had_been_claimed(history in history()) {
        // What operators decide is about people with all that was claimed of them; what an alias means hangs on who is known.
        let history: Vec<_> = history.into_iter().map(|mut event| {
            let is_order = event.get("merge").is_some() || event.get("unmerge").is_some();
            if is_order || event["type"] == "alias" {
                event = track("A", &json!({"userId": "u-0"}));
            }
            event
        }).collect();
        let with = records(&history);
        let mut without = with.clone();
        for record in &mut without {
            let is_proven = record.trust == Trust::Server || record.flags.identity == Identity::Proven;
            if !is_proven {
                record.json = track("A", &json!({"anonymousId": "somebody"})).to_string().into();
            }
        }
        let fates = |records: &[Record]| {
            let world = folded(tight(), records, &[3], false);
            let mut query = world.db.prepare(
                "SELECT a.value, b.value, e.state, e.reason, e.proven FROM edge e
                 JOIN identifier a ON a.id = e.a JOIN identifier b ON b.id = e.b WHERE e.proven IS NOT NULL",
            ).unwrap();
            let rows = query.query_map([], |row| {
                let mut ends: [String; 2] = [row.get(0)?, row.get(1)?];
                ends.sort();
                let (state, proven): (String, i64) = (row.get(2)?, row.get(4)?);
                Ok((ends, state, proven))
            }).unwrap();
            let mut all: Vec<_> = rows.collect::<Result<_, _>>().unwrap();
            all.sort();
            all
        };
        prop_assert_eq!(fates(&with), fates(&without));
    }
}
