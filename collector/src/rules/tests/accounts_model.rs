//! Scores of accounts that models compute: about which account one is asked, whose the answer is, and what is left of it when people
//! part, are erased, or all is made anew.

use proptest::prelude::*;

use super::*;
use crate::people::Whole;

const RULES: &str = "[features.visits]\non = 'page:*'\ncount = true\nper = 'account'\n\
    [scores.health]\nper = 'account'\nmodel = 'm'\non = 'page:*'\nif = 'features.visits < 100'\n\
    inputs = { n = 'features.visits', plan = 'account.plan' }\nfallback = 0.25\n\
    [scores.twice]\nper = 'account'\nterms = { health = 'scores.health * 2.0' }\n\
    [rules.well]\ncrosses = { score = 'twice', above = 1.0 }\n\
    [rules.heard]\nper = 'account'\non = 'Score Answered'\nif = 'event.properties.value > 0.5'\n\
    [rules.later]\nper = 'account'\non = 'Score Answered'\nwithout = { event = 'Never', within = '1h' }\n\
    [rules.paid]\nper = 'account'\non = 'Paid'\nif = 'scores.health > 0.5'\n";

fn page(user: &str) -> Value {
    json!({"type": "page", "name": "Home", "userId": user})
}

fn joins(user: &str, account: &str) -> Value {
    json!({"type": "group", "userId": user, "groupId": account, "traits": {"plan": account}})
}

/// What the collector says of an answer to the question of this firing.
fn answer(fired: &Fired, user: &str, value: f64) -> Value {
    let of =
        json!({ "score": "health", "value": value, "firing": fired.id, "account": fired.account });
    track("Score Answered", user, &of)
}

impl World {
    /// The model answers.
    fn answered(&mut self, ms: i64, fired: &Fired, user: &str, value: f64) -> Offset {
        self.record(ms, &answer(fired, user, value), |record| derived(record, fired))
    }

    /// Questions about an account, the earliest first.
    fn asked(&self, account: &str) -> Vec<Fired> {
        let mut all = self.fired();
        all.retain(|it| it.rule == "score:health" && it.account.as_deref() == Some(account));
        all
    }

    fn of_accounts(&self, rule: &str) -> Vec<String> {
        let all = self.fired().into_iter().filter(|it| it.rule == rule);
        all.map(|it| it.account.unwrap()).collect()
    }

    /// The score of an account, and why the fallback stands if it does; `None` of one that is gone.
    fn health(&self, account: &str) -> Option<(f64, Option<String>, Option<String>)> {
        let whose = Whole::account_of(&self.db, account).unwrap()?;
        let now = Timestamp::from_unix_ms(BEGIN_MS + 400 * DAY);
        let all = scores(&self.db, &set(RULES).unwrap(), &whose, now).unwrap();
        let health = all.into_iter().find(|it| it.score == "health").unwrap();
        let model = health.model.unwrap();
        Some((health.value, model.asked, model.fallback))
    }

    /// How many answers are kept.
    fn answers(&self) -> i64 {
        let query = "SELECT count(*) FROM answer";
        self.db.query_row(query, [], |row| row.get(0)).unwrap()
    }

    fn erase(&mut self, user: &str) {
        let node = people::node_of(&self.db, user).unwrap().unwrap();
        let nodes = Whole::person(&self.db, node).unwrap().nodes;
        people::forget(&self.db, &nodes).unwrap();
        forget(&self.db, &nodes).unwrap();
        self.people.forget();
        self.rules.forget();
    }
}

fn derived(record: &mut Record, asked: &Fired) {
    record.source = people::SOURCE.parse().unwrap();
    record.origin = Origin::Derived { by: "score:health".into(), depth: 1 };
    record.event_time = crate::event_time::parse(&asked.at).unwrap();
}

#[test]
fn a_model_is_asked_about_each_account_of_somebody_and_its_answer_is_of_one_alone() {
    let mut world = World::new(RULES);
    for account in ["acme", "beta"] {
        world.at(0, &joins("u-1", account));
    }
    world.at(0, &joins("u-2", "acme"));
    world.at(MINUTE, &page("u-2"));
    world.at(2 * MINUTE, &page("u-1"));
    let why =
        |fired: &Fired| serde_json::from_str::<Value>(fired.why.get()).unwrap()["asked"].clone();
    let (acme, beta) = (world.asked("acme"), world.asked("beta"));
    assert_eq!((acme.len(), beta.len()), (2, 1), "an event of each of its people asks");
    // All of its people's, the event counted; and what is known of the account.
    assert_eq!(why(&acme[1]), json!({"score": "health", "inputs": {"n": 2, "plan": "acme"}}));
    assert_eq!(why(&beta[0]), json!({"score": "health", "inputs": {"n": 1, "plan": "beta"}}));
    assert_eq!(world.health("acme").unwrap().0, 0.25);

    world.answered(3 * MINUTE, &acme[1], "u-1", 0.9);
    assert_eq!(world.health("acme").unwrap(), (0.9, Some(acme[1].at.clone()), None));
    let none = Some("it has not answered yet".to_owned());
    assert_eq!(world.health("beta").unwrap(), (0.25, None, none), "it was said of another");
    // Of two answers the one counts that was asked for later, whoever's event it was.
    world.answered(4 * MINUTE, &acme[0], "u-2", 0.1);
    assert_eq!(world.health("acme").unwrap().0, 0.9);
    world.at(5 * MINUTE, &did("Paid", "u-1"));
    world.pass(DAY);
    for rule in ["well", "heard", "paid"] {
        assert_eq!(world.of_accounts(rule), ["acme"], "{rule}");
    }
    assert_eq!(world.of_accounts("later"), ["acme", "acme"], "a timer rings for whom it is about");
    // What it was asked about is found where firings have other ids, too, as where a part of the log is gone through.
    world.db.execute("UPDATE firing SET id = 'other ' || id", []).unwrap();
    let whose = Whole::account_of(&world.db, "acme").unwrap().unwrap();
    let all = scores(&world.db, &set(RULES).unwrap(), &whose, Timestamp::from_unix_ms(BEGIN_MS));
    let model = all.unwrap().remove(0).model.unwrap();
    assert_eq!(Value::from(model.inputs), json!({"n": 2, "plan": "acme"}));
}

#[test]
fn an_answer_of_a_person_is_none_of_an_account_and_the_other_way_round() {
    let mut world = World::new(RULES);
    world.at(0, &joins("u-1", "acme"));
    world.at(MINUTE, &page("u-1"));
    let mut asked = world.asked("acme").remove(0);
    asked.account = None;
    world.answered(2 * MINUTE, &asked, "u-1", 0.9);
    assert_eq!(world.health("acme").unwrap().0, 0.25, "it says of no account");
    asked.account = Some("gone".to_owned());
    world.answered(3 * MINUTE, &asked, "u-1", 0.9);
    assert_eq!(world.health("acme").unwrap().0, 0.25, "it says of one that is not known");
    assert_eq!(world.of_accounts("heard"), ["acme"], "of the person that the first was said of");

    let people = RULES.replace("per = 'account'\n", "").replace(", plan = 'account.plan'", "");
    let mut world = World::new(&people);
    world.at(0, &joins("u-1", "acme"));
    world.at(MINUTE, &page("u-1"));
    let asked = Fired { account: Some("acme".to_owned()), ..world.fired().remove(0) };
    world.answered(2 * MINUTE, &asked, "u-1", 0.9);
    assert!(world.firings().iter().all(|it| it.0 != "well"), "it is said of an account");
    world.answered(2 * MINUTE, &Fired { account: None, ..asked }, "u-1", 0.9);
    assert!(world.firings().iter().any(|it| it.0 == "well"));
}

#[test]
fn what_is_said_of_an_account_stays_with_it_when_who_set_it_off_is_of_it_no_more() {
    let mut world = World::new(RULES);
    let device = |id: &str| format!("anonymous:{id}").parse().unwrap();
    for id in ["d-1", "d-2"] {
        world.at(0, &seen("A", id, &json!({})));
    }
    world.at(0, &json!({"type": "group", "anonymousId": "d-1", "groupId": "acme"}));
    world.order(MINUTE, &people::Order::Merge(device("d-1"), device("d-2")));
    world.at(2 * MINUTE, &json!({"type": "page", "name": "Home", "anonymousId": "d-2"}));
    let asked = world.asked("acme").remove(0);
    world.order(3 * MINUTE, &people::Order::Unmerge(device("d-1"), device("d-2")));
    let mut said = answer(&asked, "", 0.9);
    said.as_object_mut().unwrap().remove("userId");
    said["anonymousId"] = json!("d-2");
    world.record(4 * MINUTE, &said, |record| derived(record, &asked));
    // Its line is crossed, though the event is of somebody else by now.
    assert_eq!(world.health("acme").unwrap().0, 0.9);
    assert_eq!(world.of_accounts("well"), ["acme"]);
    // And goes with the account.
    world.erase("d-1");
    assert_eq!((world.health("acme"), world.answers()), (None, 0));
}

#[test]
fn of_who_is_erased_the_answer_goes_and_the_one_before_stands_again() {
    let mut world = World::new(RULES);
    for user in ["u-1", "u-2"] {
        world.at(0, &joins(user, "acme"));
    }
    for (minute, user, value) in [(1, "u-1", 0.6), (3, "u-2", 0.9)] {
        world.at(minute * MINUTE, &page(user));
        let asked = world.asked("acme").pop().unwrap();
        world.answered((minute + 1) * MINUTE, &asked, user, value);
    }
    assert_eq!(world.health("acme").unwrap().0, 0.9);
    world.erase("u-2");
    assert_eq!(world.health("acme").unwrap().0, 0.6);
    world.erase("u-1");
    assert_eq!(world.health("acme"), None);
    assert_eq!(world.answers(), 0);
}

#[test]
fn a_fixture_answers_about_an_account_and_says_which() {
    let run = |events: &str, expect: &str| {
        let folder = tempfile::tempdir().unwrap();
        let fixture = format!("[[test]]\nname = 'x'\nevents = [{events}]\nexpect = [{expect}]\n");
        std::fs::write(folder.path().join("a.test.toml"), fixture).unwrap();
        let rules = "[scores.health]\nper = 'account'\nmodel = 'm'\non = 'A'\ninputs = { n = '1' }\nfallback = 0.0\n\
            [scores.mine]\nmodel = 'm'\non = 'B'\ninputs = { n = '1' }\nfallback = 0.0\n\
            [rules.well]\ncrosses = { score = 'health', above = 0.5 }\ndecision = 'let'\n";
        let set = Arc::new(set(rules).unwrap());
        let tested = test(&set, folder.path(), &|_, _, _| Ok(None), None);
        tested.map(|(mut all, _)| all.remove(0)).map_err(|error| error.to_string())
    };
    let a = |at: &str, group: &str, decision: &str| {
        format!(
            "{{ at = '{at}', track = 'A', user = 'u-1', group = '{group}', trusted = true, decision = '{decision}' }}"
        )
    };
    // Who is of two accounts sets off a question about each: the answer is of the one that it names.
    let answered = "{ at = '2m', answered = { health = 0.9 }, account = 'acme' }";
    let events = [a("0s", "beta", "allow"), a("1m", "acme", "let"), answered.to_owned()].join(", ");
    let passed = run(&events, "{ rule = 'well', at = '2m', account = 'acme' }").unwrap();
    assert_eq!(passed.wrong, Vec::<String>::new());
    assert!(passed.rules.contains("score:health"));
    let failed = run(&events, "{ rule = 'well', at = '2m', account = 'beta' }").unwrap();
    assert!(failed.wrong[0].starts_with("did not fire"), "{failed}");
    // And about the event because of which it was asked it decides, not about another.
    let events = [a("0s", "beta", "let"), a("1m", "acme", "let"), answered.to_owned()].join(", ");
    let told = run(&events, "{ rule = 'well' }").unwrap().wrong;
    assert_eq!(told, ["decided \"allow\" about the event at 0s, and \"let\" was expected"]);
    // Nobody's name beside it: it is of whose event it was asked after, about this account.
    let other = a("1m", "acme", "allow").replace("u-1", "u-2");
    let answered = answered.replace("acme", "beta");
    let events = [a("0s", "beta", "let"), other, answered.clone()].join(", ");
    let passed = run(&events, "{ rule = 'well', at = '2m', account = 'beta', user = 'u-1' }");
    assert_eq!(passed.unwrap().wrong, Vec::<String>::new());
    for (event, expected) in [
        (
            "{ at = '2m', answered = { health = 0.9 }, user = 'u-1' }",
            "`health` is a score of accounts",
        ),
        (
            "{ at = '2m', answered = { mine = 0.9 }, account = 'acme' }",
            "`mine` is a score of people",
        ),
        (
            "{ at = '2m', answered = { mime = 0.9 }, user = 'u-1' }",
            "unknown score by a model `mime`; did you mean `mine`? Expected one of `health`, `mine`",
        ),
        (
            "{ at = '2m', track = 'A', user = 'u-1', account = 'acme' }",
            "`account` goes with `answered`",
        ),
        (&answered, "nobody has set off a question about the account `beta`"),
    ] {
        let told = run(event, "").unwrap_err();
        assert!(told.contains(expected), "{told}");
    }
}

/// One thing that may happen.
#[derive(Clone, Debug)]
enum Deed {
    Page(u8),
    Join(u8, u8),
    /// The answer to one of the questions so far, by its number.
    Answer(u8, u8),
    Merge(u8, u8),
    Unmerge(u8, u8),
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        4 => (0..3_u8).prop_map(Deed::Page),
        2 => (0..3_u8, 0..2_u8).prop_map(|(user, account)| Deed::Join(user, account)),
        4 => (any::<u8>(), 0..10_u8).prop_map(|(of, value)| Deed::Answer(of, value)),
        1 => (0..3_u8, 0..3_u8).prop_map(|(a, b)| Deed::Merge(a, b)),
        1 => (0..3_u8, 0..3_u8).prop_map(|(a, b)| Deed::Unmerge(a, b)),
    ]
}

/// Plays deeds, where `restart` says so beginning anew with nothing remembered; `ends` says whether each record is a transaction.
fn play(deeds: &[(u32, Deed)], ends: bool, restart: impl Fn(usize) -> bool) -> World {
    let mut world = World::new(RULES);
    world.ends = ends;
    let (mut now, user) = (0, |n: u8| format!("u-{n}"));
    let id = |n: u8| format!("user:u-{n}").parse().unwrap();
    for (at, (pause, deed)) in deeds.iter().enumerate() {
        now += i64::from(*pause) * MINUTE;
        match deed {
            Deed::Page(of) => {
                world.at(now, &page(&user(*of)));
            }
            Deed::Join(of, account) => {
                world.at(now, &joins(&user(*of), &format!("a-{account}")));
            }
            Deed::Answer(of, value) => {
                let asked = world.fired().into_iter().filter(|it| it.rule == "score:health");
                let asked: Vec<_> = asked.collect();
                let Some(asked) = asked.get(usize::from(*of) % asked.len().max(1)) else {
                    continue;
                };
                let who = asked.name.clone();
                world.answered(now, asked, &who, f64::from(*value) / 10.0);
            }
            Deed::Merge(a, b) if a != b => world.order(now, &people::Order::Merge(id(*a), id(*b))),
            Deed::Unmerge(a, b) if a != b => {
                world.order(now, &people::Order::Unmerge(id(*a), id(*b)));
            }
            Deed::Merge(..) | Deed::Unmerge(..) => {}
        }
        if restart(at) {
            world.end();
            world.people.forget();
            world.rules.forget();
        }
    }
    world.end();
    world.pass(now + DAY);
    world
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn restarts_change_no_answer_and_nothing_that_it_sets_off(
        deeds in prop::collection::vec((1..50_u32, deed()), 1..40),
        seed in any::<u64>(),
    ) {
        let once = play(&deeds, false, |_| false);
        let often = play(&deeds, true, |at| (seed >> (at % 64)) & 1 == 1);
        let told = |world: &World| {
            let why = |it: &Fired| (it.id.clone(), it.rule.clone(), it.at.clone(), it.why.get().to_owned());
            world.fired().iter().map(why).collect::<Vec<_>>()
        };
        prop_assert_eq!(told(&once), told(&often));
        for account in ["a-0", "a-1"] {
            prop_assert_eq!(once.health(account), often.health(account));
        }
    }

    /// Of who is erased nothing is in the log, and what is made anew from the rest is what was left.
    #[test]
    fn what_is_left_of_who_is_erased_is_what_the_rest_of_the_log_makes(
        deeds in prop::collection::vec((1..50_u32, deed()), 1..40),
        goes in 0..3_u8,
    ) {
        let alone = |(_, it): &(u32, Deed)| !matches!(it, Deed::Merge(..) | Deed::Unmerge(..));
        let deeds: Vec<_> = deeds.into_iter().filter(alone).collect();
        let mut world = play(&deeds, true, |_| false);
        let user = format!("u-{goes}");
        let mut anew = World::new(RULES);
        for record in world.log.0.values() {
            let event: Value = serde_json::from_str(&record.json).unwrap();
            if event["userId"] != user {
                anew.fold(record);
            }
        }
        if people::node_of(&world.db, &user).unwrap().is_some() {
            world.erase(&user);
        }
        for account in ["a-0", "a-1"] {
            prop_assert_eq!(world.health(account), anew.health(account));
        }
    }
}
