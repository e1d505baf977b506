//! Why, asked of a running server: what came of each firing and for what reason, of a person and of an account.

use super::{waiting::says, *};

const SEVERAL: &str = r#"
caps.webhook = { times = 1, within = "7d" }

[rules.told]
on = "A"
then = [{ webhook = "bank" }]

[rules.written]
on = "B"
limit = { times = 1, within = "1d" }
then = [{ slack = "success", template = "hole.md" }]

[features.c]
on = "C"
count = true

[rules.crossed]
crosses = { feature = "c", above = 1.5, rearm_below = 0.5 }
then = [{ slack = "success", template = "hole.md" }]

[rules.off]
on = "A"
enabled = false
"#;
const HOLE: &str = "+++\ntitle = \"x\"\n+++\nSomething about {{ event.properties.nothing }}\n";

fn did(name: &str, id: &str) -> Value {
    json!({"type": "track", "event": name, "userId": "u-1", "messageId": id})
}

fn lines<'a>(said: &'a str, part: &str) -> Vec<&'a str> {
    said.lines().filter(|line| line.contains(part)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn why_says_what_came_of_each_firing_and_when_it_fires_again_where_nothing_did() {
    let world = World::new(&[("several.toml", SEVERAL), ("hole.md", HOLE)]).await;
    let server = world.start().await;
    let token = server.new_token.clone().unwrap();
    send(&server, "wk_web", json!([did("A", "1")])).await;
    settled(&server, &token, 1).await;
    let late = json!({"type": "track", "event": "A", "userId": "u-1", "messageId": "3", "timestamp": ms_ago(DAY)});
    send(
        &server,
        "wk_web",
        json!([did("A", "2"), late, did("B", "4"), did("C", "5"), did("C", "6")]),
    )
    .await;
    settled(&server, &token, 5).await;
    let why =
        async |rule: &str| get(&server, &token, &format!("/v1/rules/{rule}/why?who=u-1")).await;

    let told = why("told").await;
    let came = told["looked"].as_array().unwrap().iter().map(|looked| {
        let action = &looked["firing"]["actions"][0];
        let detail = action["detail"]
            .as_str()
            .map(|it| it.split(", the last set off at 20").next().unwrap());
        (looked["outcome"].as_str().unwrap(), action["state"].as_str(), detail)
    });
    let came: Vec<_> = came.collect();
    let cap = "the person is written to as often as the cap allows: at most once in 7 days (`caps.webhook`)";
    assert_eq!(
        came,
        [
            ("it fired, and nothing is done: late", None, None),
            ("it fired", Some("withheld"), Some(cap)),
            ("it fired", Some("accepted"), None),
        ]
    );
    assert_eq!((&told["enabled"], &told["others"]), (&json!(true), &Value::Null), "{told:#}");
    let said = says(&server, &token, &["why", "told", "u-1"]);
    assert_eq!(lines(&said, "webhook withheld: the person is written").len(), 1, "{said}");
    assert_eq!(lines(&said, "webhook accepted").len(), 1, "{said}");

    // A message with a hole is not sent, and its rule says what that means.
    let written = why("written").await;
    let firing = &written["looked"][0]["firing"];
    assert_eq!(firing["actions"][0]["state"], "refused", "{written:#}");
    assert_eq!(firing["again"], "it counts for the limit all the same: at most once within 1 day");
    let again = "it fires for them again only after `c` was back below 0.5, and then above 1.5";
    assert_eq!(why("crossed").await["looked"][0]["firing"]["again"], again);
    for said in [
        says(&server, &token, &["why", "crossed", "u-1"]),
        says(&server, &token, &["firings", "--rule", "crossed"]),
    ] {
        assert_eq!(
            (lines(&said, "slack refused: ").len(), lines(&said, again).len()),
            (1, 1),
            "{said}"
        );
    }
    assert!(says(&server, &token, &["why", "off", "u-1"]).contains("the rule is not enabled"));

    // A rule that is new knows the past, and says why nothing came of it.
    server.stop().await;
    let rules = format!(
        "{SEVERAL}\n[rules.later]\non = 'A'\nlimit = {{ times = 1, within = '1d' }}\nthen = [{{ emit = 'Later' }}]\n"
    );
    fs::write(world.folder.path().join("rules/several.toml"), rules).unwrap();
    let server = world.start().await;
    send(&server, "wk_web", json!([did("A", "7")])).await;
    until("the new rule's firing", async || {
        let found = get(&server, &token, "/v1/firings?rule=later").await;
        let last = found["firings"][0]["actions"][0]["state"].clone();
        (last == "accepted").then_some(())
    })
    .await;
    let later = get(&server, &token, "/v1/rules/later/why?who=u-1").await;
    let outcomes: Vec<_> = later["looked"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["outcome"].as_str().unwrap())
        .collect();
    let before = "it fired, and nothing is done: before the rule came into force";
    // What was before counts for no limit, here as there; and what came late then did so for itself.
    let late = "it fired, and nothing is done: late";
    assert_eq!(outcomes, ["it fired", late, before, before], "{later:#}");
    assert_eq!(later["looked"][0]["firing"]["actions"][0]["state"], "accepted");
    server.stop().await;
}

const ACCOUNTS: &str = r#"
[features.looks]
on = "page:Cancel"
per = "account"
count = true

[rules.leaving]
crosses = { feature = "looks", above = 1.5 }
then = [{ webhook = "bank" }]

[rules.looked]
on = "page:Cancel"
then = []
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_about_accounts_is_asked_by_the_accounts_id_and_by_one_of_its_people() {
    let world = World::new(&[("accounts.toml", ACCOUNTS)]).await;
    let server = world.start().await;
    let token = server.new_token.clone().unwrap();
    let page = |user: &str, account: &str, id: &str| {
        json!({"type": "page", "name": "Cancel", "userId": user, "messageId": id,
        "context": {"groupId": account}})
    };
    // One person is of two accounts.
    send(
        &server,
        "wk_web",
        json!([page("u-1", "acme", "1"), page("u-1", "bolt", "2"), page("u-2", "acme", "3"), page("u-9", "other", "4"),
               {"type": "track", "event": "Seen", "userId": "u-7", "messageId": "5"}]),
    )
    .await;
    settled(&server, &token, 5).await;
    let found = get(&server, &token, "/v1/firings?account=acme").await;
    let of = |it: &Value| (it["rule"].clone(), it["account"].clone());
    let found: Vec<_> = found["firings"].as_array().unwrap().iter().map(of).collect();
    assert_eq!(found, [(json!("leaving"), json!("acme"))]);
    let said = says(&server, &token, &["firings", "--account", "acme"]);
    assert!(said.contains(" of acme") && lines(&said, "leaving").len() == 1, "{said}");
    let nobody = says(&server, &token, &["firings", "--account", "u-1"]);
    assert!(nobody.contains("no account has this id"), "{nobody}");

    let why = get(&server, &token, "/v1/rules/leaving/why?who=acme").await;
    assert_eq!((&why["person"], &why["accounts"]), (&Value::Null, &json!(["acme"])));
    let looked = why["looked"].as_array().unwrap();
    assert!(looked.iter().all(|it| it["account"] == "acme"), "{why:#}");
    let fired: Vec<_> = looked.iter().filter(|it| it["outcome"] == "it fired").collect();
    assert_eq!(fired.len(), 1, "{why:#}");
    assert_eq!(fired[0]["firing"]["actions"][0]["state"], "accepted");
    // Of one of its people, all accounts that they are of.
    let why = get(&server, &token, "/v1/rules/leaving/why?who=u-1").await;
    assert_eq!(why["accounts"], json!(["acme", "bolt"]));
    let accounts: std::collections::BTreeSet<_> =
        why["looked"].as_array().unwrap().iter().filter_map(|it| it["account"].as_str()).collect();
    assert_eq!(accounts.into_iter().collect::<Vec<_>>(), ["acme", "bolt"]);
    let said = says(&server, &token, &["why", "leaving", "acme"]);
    assert!(said.contains(" of acme: it fired") && said.contains("webhook accepted"), "{said}");
    assert!(says(&server, &token, &["why", "leaving", "u-7"]).contains("they are of none"));
    for (rule, who, looked_for) in [
        (
            "leaving",
            "nobody",
            "the rule is about accounts: none has this id, nor is anybody known by it",
        ),
        ("looked", "acme", "this is an account, and the rule is about people"),
        ("looked", "nobody", "nobody is known by this"),
    ] {
        let said = says(&server, &token, &["why", rule, who]);
        assert!(said.contains(looked_for), "{rule} {who}: {said}");
    }
    server.stop().await;
}

const WAITING: &str = r#"
[features.shares]
on = "Shared"
count = true

[rules.left]
on = "Product Added"
without = { event = "Order Completed", within = "14d" }
then = []

[rules.quiet]
on = "Product Added"
without = { event = "Order Completed", within = "1s" }
then = []

[rules.nudge]
on = "Joined"
at = "event.time"
after = "1s"
still = "features.shares == 0"
then = []
"#;

#[tokio::test(flavor = "multi_thread")]
async fn why_says_what_has_come_while_a_rule_waits_and_what_did_not_hold_still() {
    let world = World::new(&[("waiting.toml", WAITING)]).await;
    let server = world.start().await;
    let token = server.new_token.clone().unwrap();
    let names = ["Product Added", "Joined", "Shared", "Order Completed"];
    let events: Vec<_> = names.iter().map(|name| did(name, name)).collect();
    send(&server, "wk_web", json!(events)).await;
    let why =
        async |rule: &str| get(&server, &token, &format!("/v1/rules/{rule}/why?who=u-1")).await;
    let left = until("the order", async || {
        let left = why("left").await;
        let has_come = left["looked"][0]["waited"]["came"][0]["matches"] == true;
        has_come.then_some(left)
    })
    .await;
    let vain = "what it waits to see missing has happened: it will not fire";
    assert_eq!(left["looked"][0]["outcome"], vain, "{left:#}");
    let said = says(&server, &token, &["why", "left", "u-1"]);
    assert_eq!(lines(&said, "waited for Order Completed to stay away until ").len(), 1, "{said}");
    assert_eq!(lines(&said, " came at ").len(), 1, "{said}");

    let still = until("the timer", async || {
        let why = why("nudge").await;
        let is_over = why["looked"][0]["outcome"] == "it is not so any more";
        is_over.then(|| why["looked"][0]["reasons"].clone())
    })
    .await;
    assert_eq!(
        still,
        json!([{"text": "features.shares == 0", "value": false, "of": {"features.shares": 1}, "still": true}])
    );
    let said = says(&server, &token, &["why", "nudge", "u-1"]);
    assert_eq!(lines(&said, "    false  still features.shares == 0").len(), 1, "{said}");
    assert_eq!(lines(&said, "        features.shares = 1").len(), 1, "{said}");
    let said = says(&server, &token, &["list"]);
    assert_eq!(
        lines(&said, "    and, at that time, still features.shares == 0").len(),
        1,
        "{said}"
    );

    // Of who stays away the firing says so.
    send(
        &server,
        "wk_web",
        json!([{"type": "track", "event": "Product Added", "userId": "u-2", "messageId": "9"}]),
    )
    .await;
    let fired = until("a firing", async || {
        let found = get(&server, &token, "/v1/firings?rule=quiet").await;
        found["firings"][0]["why"]["waited"]["text"].as_str().map(str::to_owned)
    })
    .await;
    assert_eq!(fired, "no Order Completed within 1 second");
    server.stop().await;
}
