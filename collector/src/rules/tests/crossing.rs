//! Scores and features that cross a line, by events, by time alone, and by what models answer.

use super::*;

const CHURN: &str = r#"
[features.core_last]
on = "Report Built"
per = "account"
last = "event.time"

[features.cancel_looks_1d]
on = ["page:Cancel", "page:Pricing"]
per = "account"
count = true
window = "1d"

[scores.churn_risk]
per = "account"
terms = { gap = "days_since(features.core_last) / 11.0", cancel = "features.cancel_looks_1d > 0 ? 0.5 : 0.0" }

[rules.churn]
crosses = { score = "churn_risk", above = 1.0, rearm_below = 0.5 }
then = [{ slack = "success", template = "churn.md" }]
"#;

fn of_account(mut event: Value, account: &str) -> Value {
    event["context"] = json!({ "groupId": account });
    event
}

#[test]
fn eleven_quiet_days_fire_without_any_event_and_once_until_it_is_armed_again() {
    let mut world = World::new(CHURN);
    world.at(0, &of_account(did("Report Built", "u-1"), "acme"));
    world.at(HOUR, &of_account(did("Report Built", "u-2"), "acme"));
    world.pass(11 * DAY);
    assert_eq!(world.firings(), []);
    world.pass(12 * DAY);
    let firings = world.firings();
    assert_eq!(firings.len(), 1, "{firings:?}");
    let exact = 11 * DAY + HOUR;
    assert!((exact..exact + 2000).contains(&firings[0].1), "{firings:?}");
    let fired = &world.fired()[0];
    assert_eq!(fired.account.as_deref(), Some("acme"));
    let why: Value = serde_json::from_str(fired.why.get()).unwrap();
    assert_eq!(why["crossed"]["terms"][0]["term"], "gap");
    assert!(why["crossed"]["value"].as_f64().unwrap() > 1.0, "{why}");
    world.pass(30 * DAY);
    assert_eq!(world.firings().len(), 1);
    // They are back, and gone again.
    world.at(31 * DAY, &of_account(did("Report Built", "u-2"), "acme"));
    world.pass(60 * DAY);
    let again = world.firings();
    assert_eq!(again.len(), 2);
    assert!((42 * DAY..42 * DAY + 2000).contains(&again[1].1), "{again:?}");
}

#[test]
fn a_look_at_the_cancellation_page_brings_it_forward() {
    let mut world = World::new(CHURN);
    world.at(0, &of_account(did("Report Built", "u-1"), "acme"));
    let page =
        json!({"type": "page", "name": "Cancel", "userId": "u-2", "context": {"groupId": "acme"}});
    world.at(6 * DAY, &page);
    assert_eq!(world.firings(), [("churn".to_owned(), 6 * DAY)]);
    assert_eq!(world.fired()[0].event.as_deref(), Some("2"));
}

#[test]
fn somebody_who_does_less_than_before_is_found_as_time_passes_and_again_once_that_is_over() {
    let mut world = World::new(BASELINE);
    world.at(0, &did("Signed In", "u-1"));
    world.pass(2 * HOUR - 1);
    assert_eq!(world.firings(), []);
    // It leaves the one window and enters the other, and leaves that after three hours: armed again without any event.
    world.pass(4 * HOUR);
    assert_eq!(world.firings(), [("fewer".to_owned(), 2 * HOUR)]);
    let why: Value = serde_json::from_str(world.fired()[0].why.get()).unwrap();
    let terms = &why["crossed"]["terms"];
    assert_eq!(terms[0]["of"]["features.logins"], json!(0), "{why}");
    assert_eq!(terms[1]["of"]["features.logins_before"], json!(1), "{why}");
    world.at(20 * HOUR, &did("Signed In", "u-1"));
    // One more keeps the balance only for as long as it is in the window.
    world.at(21 * HOUR, &did("Signed In", "u-1"));
    world.pass(40 * HOUR);
    let again = [2, 20 + 3].map(|hour| ("fewer".to_owned(), hour * HOUR));
    assert_eq!(world.firings(), again);
}

#[test]
fn a_window_that_is_over_is_compared_with_at_an_event_too() {
    let rules = format!(
        "{BASELINE}[rules.keen]\non = 'Signed In'\nif = 'features.logins >= features.logins_before * 2 && features.logins_before > 0'\n"
    );
    let mut world = World::new(&rules);
    for minute in [0, 130, 131, 132] {
        world.at(minute * MINUTE, &did("Signed In", "u-1"));
    }
    let keen: Vec<_> = world.firings().into_iter().filter(|it| it.0 == "keen").collect();
    assert_eq!(keen, [("keen".to_owned(), 132 * MINUTE)], "features are as they stood before it");
}

#[test]
fn what_a_model_has_answered_crosses_a_line_and_of_two_answers_the_later_question_counts() {
    let rules = "[features.visits]\non = 'page:*'\ncount = true\n\
        [scores.churn]\nmodel = 'm'\non = 'page:*'\ninputs = { n = 'features.visits' }\nfallback = 0.0\n\
        [scores.twice]\nterms = { churn = 'scores.churn * 2.0' }\n\
        [rules.leaving]\ncrosses = { score = 'twice', above = 1.0 }\n";
    let mut world = World::new(rules);
    let page = json!({"type": "page", "name": "Home", "userId": "u-1"});
    world.at(0, &page);
    world.at(MINUTE, &page);
    let fired = world.fired();
    let asked: Vec<Value> =
        fired.iter().map(|it| serde_json::from_str(it.why.get()).unwrap()).collect();
    assert_eq!(
        asked[1]["asked"],
        json!({ "score": "churn", "inputs": { "n": 2 } }),
        "the event counts"
    );
    assert_eq!(
        (fired[1].rule.as_str(), fired[1].actions[0].kind.as_str()),
        ("score:churn", "score")
    );
    let answer = |world: &mut World, at: i64, firing: usize, value: f64| {
        let of = json!({ "score": "churn", "value": value, "firing": fired[firing].id });
        world.record(at, &track("Score Answered", "u-1", &of), |record| {
            record.source = people::SOURCE.parse().unwrap();
            record.origin = Origin::Derived { by: "score:churn".into(), depth: 1 };
            let asked = crate::event_time::parse(&fired[firing].at).unwrap();
            record.event_time = asked;
        });
    };
    let leaving =
        |world: &World| world.firings().into_iter().filter(|it| it.0 == "leaving").count();
    answer(&mut world, 2 * MINUTE, 1, 0.3);
    // Of the first question, and too late to count.
    answer(&mut world, 3 * MINUTE, 0, 0.9);
    assert_eq!(leaving(&world), 0);
    answer(&mut world, 4 * MINUTE, 1, 0.6);
    assert_eq!(leaving(&world), 1);
}

#[test]
fn how_long_somebody_was_there_falls_back_as_the_window_moves_on() {
    let rules = "[features.there]\non = 'page:*'\ndwell = '30m'\nwindow = '1d'\n\
        [rules.reader]\ncrosses = { feature = 'there', above = 2400 }\n\
        [rules.gone]\ncrosses = { feature = 'there', below = 1800 }\n";
    let mut world = World::new(rules);
    let page = |device: &str| json!({"type": "page", "name": "Docs", "anonymousId": device});
    for device in ["phone", "laptop"] {
        world.at(0, &json!({"type": "identify", "anonymousId": device, "userId": "u-1"}));
    }
    // Fifty minutes on two devices; after that a pause.
    world.at(HOUR, &page("phone"));
    world.at(HOUR + 25 * MINUTE, &page("laptop"));
    world.at(HOUR + 50 * MINUTE, &page("phone"));
    world.at(3 * HOUR, &page("phone"));
    world.pass(3 * DAY);
    let fired = world.firings();
    let of = |rule: &str| fired.iter().filter(|it| it.0 == rule).map(|it| it.1).collect::<Vec<_>>();
    assert_eq!(of("reader"), [HOUR + 50 * MINUTE]);
    // Nobody was there at first; a day and twenty minutes after the visit began half an hour of it is left in the window.
    let (first, second) = (of("gone")[0], of("gone")[1]);
    assert_eq!(first, 0);
    let exact = DAY + HOUR + 20 * MINUTE;
    assert!((exact..exact + 2000).contains(&second), "{fired:?}");
    assert_eq!(of("gone").len(), 2);
}

#[test]
fn scores_that_rules_throw_back_and_forth_come_to_an_end_too() {
    let rules = "[features.x]\non = 'identify'\nlast = 'event.traits.flag ? 1.0 : 0.0'\n\
        [rules.up]\ncrosses = { feature = 'x', above = 0.5 }\nthen = [{ set = { flag = false } }]\n\
        [rules.down]\ncrosses = { feature = 'x', below = 0.5 }\nthen = [{ set = { flag = true } }]\n";
    let mut world = World::new(rules);
    for depth in 0..10_u8 {
        let flag = depth % 2 == 0;
        let event = json!({"type": "identify", "userId": "u-1", "traits": {"flag": flag}});
        world.record(i64::from(depth) * MINUTE, &event, |record| {
            record.origin = Origin::Derived { by: "up".into(), depth };
        });
    }
    assert_eq!(world.firings().len(), 4);
    world.pass(DAY);
    assert_eq!(world.firings().len(), 4);
}
