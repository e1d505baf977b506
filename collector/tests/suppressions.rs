//! The suppression list over the real server, with a real mail server and a receiving end that answers as Twilio does: what is on it is
//! not sent to, what is refused for good goes onto it, and an erasure leaves no name on it. Waits for conditions only.
#![allow(clippy::unwrap_used, reason = "what a test expects, it unwraps, in its functions too")]

use std::{
    fs,
    io::Write as _,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use crate::actions::{Recorder, mail::MailServer};
use crate::server::{self, PATIENCE, Server, client};
use headwater_collector::{event_log::FileSystem, limits::HttpLimits};
use serde_json::{Value, json};

/// The e-mail is sent, or not, beside what has no address.
const RULES: &str = "[rules.bought]\non = 'Bought'\nthen = [{ email = 'mail', template = 'thanks' }, { emit = 'Thanked' }]\n\
    [rules.called]\non = 'Called'\nthen = [{ sms = 'texts', template = 'thanks' }]\n";

struct World {
    folder: tempfile::TempDir,
    mail: MailServer,
    texts: Recorder,
    toml: String,
}

impl World {
    async fn new() -> Self {
        let (mail, texts) = (MailServer::start(), Recorder::start().await);
        let folder = tempfile::tempdir().unwrap();
        let rules = folder.path().join("rules");
        fs::create_dir(&rules).unwrap();
        fs::write(rules.join("a.toml"), RULES).unwrap();
        fs::write(rules.join("thanks.txt"), "+++\nsubject = 'Thanks'\n+++\nThank you.\n").unwrap();
        let toml = format!(
            "rules = '{}'\n[sources.app]\nwrite_key = 'app'\ntrust = 'server'\n\
             [sources.page]\nwrite_key = 'page'\n[sources.signed]\nwrite_key = 'signed'\nidentify_secret = 'secret-of-sixteen'\n\
             [destinations.mail]\n{}\n[destinations.texts]\nkind = 'sms'\napi_url = '{}'\naccount_sid = 'AC{}'\n\
             auth_token = 'x'\nfrom = '+15005550006'\nallow_private = true\n",
            rules.display(),
            mail.lines("none"),
            texts.url,
            "0".repeat(32)
        );
        Self { folder, mail, texts, toml }
    }

    async fn start(&self) -> Server {
        Server::start_with(&self.folder.path().join("data"), &self.toml).await
    }

    /// One that closes a connection on which nothing is said for a moment.
    async fn start_impatient(&self) -> Server {
        let head_timeout = Duration::from_millis(200);
        let limits = HttpLimits { head_timeout, ..HttpLimits::default() };
        let data = self.folder.path().join("data");
        Server::start_limited(&data, &self.toml, Arc::new(FileSystem), limits).await
    }

    /// Whether a text stands anywhere on the list's disk.
    fn is_on_disk(&self, text: &str) -> bool {
        ["state.db", "state.db-wal"].iter().any(|name| {
            let bytes = fs::read(self.folder.path().join("data").join(name)).unwrap_or_default();
            bytes.windows(text.len()).any(|part| part == text.as_bytes())
        })
    }
}

/// Somebody who operates a server.
struct Operator<'s> {
    server: &'s Server,
    token: String,
}

impl Operator<'_> {
    async fn ask(&self, method: reqwest::Method, path: &str, body: Value) -> Value {
        let request = client().request(method, self.server.at(path)).bearer_auth(&self.token);
        let answer = request.body(body.to_string()).send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert_eq!(status, 200, "{path}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    async fn get(&self, path: &str) -> Value {
        self.ask(reqwest::Method::GET, path, Value::Null).await
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        self.ask(reqwest::Method::POST, path, body).await
    }

    /// All that is stored about somebody.
    async fn export(&self, who: &str) -> String {
        let path = format!("/v1/people/{who}/export");
        let request = client().get(self.server.at(&path)).bearer_auth(&self.token);
        request.send().await.unwrap().text().await.unwrap()
    }

    /// Each address on the list with its reason and who put it there, the latest first.
    async fn list(&self) -> Vec<String> {
        let list = self.get("/v1/suppressions").await;
        let all = list["suppressions"].as_array().unwrap();
        let words = |it: &Value| format!("{} {} {}", it["address"], it["reason"], it["by"]);
        all.iter().map(|it| words(it).replace('"', "")).collect()
    }

    async fn send(&self, key: &str, events: Value) {
        let body = json!({ "writeKey": key, "batch": events }).to_string();
        let answer = client().post(self.server.at("/v1/batch")).body(body).send().await.unwrap();
        assert_eq!(answer.status(), 200);
    }

    /// Somebody with an address buys something: what became of the first action, once `is` holds.
    async fn buys(&self, user: &str, n: u32, is: impl Fn(&Value) -> bool) -> Value {
        let id = format!("{user}-{n}");
        let traits = json!({ "email": format!("{user}@b.example") });
        self.send(
            "app",
            json!([
                {"type": "identify", "userId": user, "messageId": format!("i-{id}"), "traits": traits},
                {"type": "track", "event": "Bought", "userId": user, "messageId": id},
            ]),
        )
        .await;
        self.acted(user, n, is).await
    }

    /// What becomes of the first action of somebody's firing of this number.
    async fn acted(&self, who: &str, n: u32, is: impl Fn(&Value) -> bool) -> Value {
        let path = format!("/v1/firings?who={who}");
        let begun = Instant::now();
        loop {
            let request = client().get(self.server.at(&path)).bearer_auth(&self.token);
            let answer = request.send().await.unwrap();
            if answer.status() == 200 {
                let firings = server::json(answer).await;
                let firings = firings["firings"].as_array().unwrap();
                let action = firings.first().map(|it| it["actions"][0].clone());
                if let Some(action) = action.filter(|it| firings.len() == n as usize && is(it)) {
                    return action;
                }
            }
            assert!(begun.elapsed() < PATIENCE, "waited in vain for {who}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// `headwater suppressions …`, begun.
    fn begin(&self, arguments: &[&str]) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_headwater"));
        let url = self.server.at("");
        command.arg("suppressions").args(arguments).args(["--url", url.trim_end_matches('/')]);
        let command = command.env("HEADWATER_ADMIN_TOKEN", &self.token).stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// What it says, and its exit code.
    fn terminal(&self, arguments: &[&str], input: &str) -> (i32, String) {
        let mut running = self.begin(arguments);
        // One that needs no input may be gone already.
        drop(running.stdin.take().unwrap().write_all(input.as_bytes()));
        end(running)
    }
}

fn end(running: Child) -> (i32, String) {
    let output = running.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(said).unwrap())
}

fn is_done(action: &Value) -> bool {
    action["state"] != "pending"
}

fn withheld(action: &Value) -> &str {
    assert_eq!(action["state"], "withheld", "{action}");
    action["detail"].as_str().unwrap()
}

fn refused(action: &Value) -> &str {
    assert_eq!(action["state"], "refused", "{action}");
    action["detail"].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_to_an_address_on_the_list_until_it_is_taken_off() {
    let world = World::new().await;
    let server = world.start().await;
    let token = server.new_token.clone().unwrap();
    let on = Operator { server: &server, token: token.clone() };
    let said = on.terminal(&["add", "ANN@b.example", "--reason", "complained"], "");
    assert_eq!(said, (0, "1 added, 0 already on the list\n".to_owned()));
    server.stop().await;

    let server = world.start().await;
    let on = Operator { server: &server, token };
    let action = on.buys("ann", 1, is_done).await;
    let why = withheld(&action);
    assert!(
        why.starts_with("the address is on the suppression list: complained, since 20"),
        "{why}"
    );
    let firings = on.get("/v1/firings?who=ann").await;
    let others = firings["firings"][0]["actions"].as_array().unwrap();
    assert_eq!(others[1]["kind"], "emit", "{others:?}");
    assert_eq!(others[1]["state"], "accepted", "what has no address goes on");
    let looked = on.get("/v1/rules/bought/why?who=ann").await.to_string();
    assert!(looked.contains("is on the suppression list: complained"), "{looked}");
    let page = client().get(server.at("/metrics")).send().await.unwrap().text().await.unwrap();
    let series = "headwater_actions_total{rule=\"bought\",kind=\"email\",outcome=\"withheld\"} 1";
    assert!(page.contains(series), "{page}");

    assert_eq!(on.buys("bob", 1, is_done).await["state"], "accepted");
    assert_eq!(world.mail.next()["to"], json!(["bob@b.example"]));
    let said = on.terminal(&["remove", "ann@b.example", "eve@b.example"], "");
    assert_eq!(said, (0, "1 removed, 1 not on the list\n".to_owned()));
    assert_eq!(on.buys("ann", 2, is_done).await["state"], "accepted");
    assert_eq!(world.mail.next()["to"], json!(["ann@b.example"]));
    assert!(world.mail.took_nothing());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_international_domain_is_held_back_however_it_is_written() {
    let world = World::new().await;
    let server = world.start().await;
    let on = Operator { server: &server, token: server.new_token.clone().unwrap() };
    let said =
        on.terminal(&["import", "-"], "Email\nann@bücher.example\nANN@xn--bcher-kva.example.\n");
    assert_eq!(said, (0, "1 added, 1 already on the list\n".to_owned()));
    for (user, domain) in [("letters", "BÜCHER.example"), ("ascii", "xn--bcher-kva.example")] {
        let traits = json!({ "email": format!("ann@{domain}") });
        on.send(
            "app",
            json!([
                {"type": "identify", "userId": user, "messageId": format!("i-{user}"), "traits": traits},
                {"type": "track", "event": "Bought", "userId": user, "messageId": user},
            ]),
        )
        .await;
        let action = on.acted(user, 1, is_done).await;
        assert!(
            withheld(&action).starts_with("the address is on the suppression list"),
            "{action}"
        );
        let person = on.export(user).await;
        assert!(person.contains("{\"suppression\":{"), "{person}");
    }
    assert!(world.mail.took_nothing());
    let person = on.get("/v1/people/letters").await;
    on.post("/v1/people/letters/erase", json!({ "confirm": person["id"] })).await;
    assert_eq!(on.list().await, ["null manual first"]);
    let (_, said) = on.terminal(&["remove", "ann@ｂücher.example"], "");
    assert_eq!(said, "1 removed, 0 not on the list\n");
    server.stop().await;
}

#[tokio::test]
async fn an_address_that_comes_onto_the_list_while_an_action_is_tried_again_counts() {
    let world = World::new().await;
    let server = world.start().await;
    let on = Operator { server: &server, token: server.new_token.clone().unwrap() };
    // The mail server is busy, for this one for ever.
    let waits = on.buys("busy", 1, |action| action["attempts"].as_u64() >= Some(1)).await;
    assert!(waits["lastError"].as_str().unwrap().contains("451"), "{waits}");
    on.post("/v1/suppressions/add", json!({"suppressions": [{"address": "busy@b.example"}]})).await;
    let action = on.acted("busy", 1, is_done).await;
    assert!(withheld(&action).contains("suppression list: manual"), "{action}");
    server.stop().await;
}

#[tokio::test]
async fn who_has_no_mailbox_is_put_on_the_list_and_who_is_only_refused_is_not() {
    let world = World::new().await;
    let server = world.start().await;
    let on = Operator { server: &server, token: server.new_token.clone().unwrap() };
    for (user, code) in [("policy", "5.7.1"), ("bare", "550"), ("spam", "554")] {
        let action = on.buys(user, 1, is_done).await;
        let why = refused(&action);
        assert!(why.contains(code) && !why.contains("list"), "{why}");
    }
    assert!(on.list().await.is_empty());
    let action = on.buys("refused", 1, is_done).await;
    let why = refused(&action);
    assert!(
        why.contains("5.1.1") && why.ends_with("; the address is on the suppression list now"),
        "{why}"
    );
    assert!(!why.contains("b.example"), "{why}");
    assert_eq!(on.list().await, ["refused@b.example bounced mail"]);
    let action = on.buys("refused", 2, is_done).await;
    assert!(
        withheld(&action).starts_with("the address is on the suppression list: bounced"),
        "{action}"
    );
    assert!(world.mail.took_nothing());
    server.stop().await;
}

#[tokio::test]
async fn who_has_answered_stop_is_put_on_the_list_and_no_request_is_made_any_more() {
    let world = World::new().await;
    world.texts.answer(
        400,
        &[],
        r#"{"code":21610,"message":"Attempt to send to unsubscribed recipient","status":400}"#,
    );
    let server = world.start().await;
    let on = Operator { server: &server, token: server.new_token.clone().unwrap() };
    for n in 1..=2 {
        on.send(
            "app",
            json!([
                {"type": "identify", "userId": "u-1", "messageId": format!("i-{n}"), "traits": {"phone": "0049 30 1234567"}},
                {"type": "track", "event": "Called", "userId": "u-1", "messageId": format!("c-{n}")},
            ]),
        )
        .await;
        let action = on.acted("u-1", n, is_done).await;
        let (why, part) = match n {
            1 => (refused(&action), "21610; the number is on the suppression list now"),
            _ => (withheld(&action), "list: unsubscribed, since"),
        };
        assert!(why.contains(part), "{why}");
        assert_eq!(on.list().await, ["+49301234567 unsubscribed texts"]);
        assert_eq!(world.texts.posted().len(), 1);
    }
    server.stop().await;
}

#[tokio::test]
async fn who_was_erased_is_named_no_more_and_still_not_sent_to() {
    let world = World::new().await;
    let server = world.start().await;
    let on = Operator { server: &server, token: server.new_token.clone().unwrap() };
    // One whose address is known, and one who has only said it, where a proof is asked for.
    on.buys("refused", 1, is_done).await;
    let said = json!([
        {"type": "identify", "anonymousId": "d-1", "messageId": "s-1", "traits": {"email": "said@b.example"}},
        {"type": "track", "event": "Bought", "anonymousId": "d-1", "messageId": "s-2"},
    ]);
    on.send("page", said).await;
    let action = on.acted("d-1", 1, is_done).await;
    assert!(withheld(&action).starts_with("no e-mail address of the person is known"), "{action}");
    let because = |address: &str| json!({ "address": address, "reason": "unsubscribed" });
    let more = json!({ "suppressions": [because("said@b.example"), because("stays@b.example")] });
    on.post("/v1/suppressions/add", more).await;
    for (who, address) in [("refused", "refused@b.example"), ("d-1", "said@b.example")] {
        assert!(world.is_on_disk(address));
        let exported = on.export(who).await;
        let line = format!("{{\"suppression\":{{\"address\":\"{address}\",");
        assert!(exported.contains(&line), "{exported}");
        let person = on.get(&format!("/v1/people/{who}")).await;
        on.post(&format!("/v1/people/{who}/erase"), json!({ "confirm": person["id"] })).await;
        assert!(!world.is_on_disk(address), "{address}");
    }
    assert!(world.is_on_disk("stays@b.example"));
    let mut list = on.list().await;
    list.sort();
    assert_eq!(
        list,
        ["null bounced mail", "null unsubscribed first", "stays@b.example unsubscribed first"]
    );
    let asked = on.get("/v1/suppressions?address=refused@b.example").await;
    assert_eq!(asked["suppressions"][0]["reason"], "bounced");
    // Somebody new with that address.
    on.send(
        "app",
        json!([
            {"type": "identify", "userId": "u-new", "messageId": "n-1", "traits": {"email": "refused@b.example"}},
            {"type": "track", "event": "Bought", "userId": "u-new", "messageId": "n-2"},
        ]),
    )
    .await;
    let action = on.acted("u-new", 1, is_done).await;
    assert!(
        withheld(&action).starts_with("the address is on the suppression list: bounced"),
        "{action}"
    );
    assert!(!world.is_on_disk("refused@b.example"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_bounces_after_its_person_was_erased_has_no_name_either() {
    let world = World::new().await;
    let server = world.start().await;
    let on = Operator { server: &server, token: server.new_token.clone().unwrap() };
    on.buys("held", 1, |action| action["state"] == "pending").await;
    assert_eq!(world.mail.next()["held"], "held@b.example", "the mail server has not answered");
    let person = on.get("/v1/people/held").await;
    on.post("/v1/people/held/erase", json!({ "confirm": person["id"] })).await;
    on.buys("frees", 1, is_done).await;
    let begun = Instant::now();
    while on.list().await != ["null bounced mail"] || world.is_on_disk("held@b.example") {
        assert!(begun.elapsed() < PATIENCE, "{:?}", on.list().await);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let asked = on.get("/v1/suppressions?address=held@b.example").await;
    assert_eq!(asked["suppressions"][0]["reason"], "bounced");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_taken_line_by_line_and_comes_back_as_it_was() {
    let world = World::new().await;
    let server = world.start().await;
    let on = Operator { server: &server, token: server.new_token.clone().unwrap() };
    assert_eq!(on.terminal(&["list"], ""), (0, "nothing is on the list\n".to_owned()));
    let many: String = (0..2500).map(|n| format!("many-{n}@b.example\n")).collect();
    let file = format!(
        "Email,Reason\nann@b.example,BOUNCE\nnobody\nbob@b.example,unsubscribe\n030 1234567,\nANN@b.example,manual\n{many}"
    );
    let (code, said) = on.terminal(&["import", "-"], &file);
    for part in [
        "2502 added, 1 already on the list\n",
        "error: line 3: `nobody`: it is neither an e-mail address nor a phone number",
        "error: line 5: `030 1234567`: a phone number is written with its country",
        "error: 2 lines have no address, and nothing was done with them",
    ] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
    assert_eq!((code, said.lines().count()), (1, 4), "{said}");
    let (_, said) = on.terminal(&["list", "--reason", "bounced"], "");
    assert!(
        said.starts_with("ann@b.example ")
            && said.contains(" bounced ")
            && said.ends_with("  by first\n"),
        "{said}"
    );
    let (_, said) = on.terminal(&["list"], "");
    assert_eq!(
        (said.lines().count(), said.ends_with("… 2502 in all; --csv lists them\n")),
        (51, true),
        "{said}"
    );
    let (_, said) = on.terminal(&["list", "eve@b.example"], "");
    assert_eq!(said, "eve@b.example is not on the list\n");
    let (_, said) = on.terminal(&["list", "Bob@b.example"], "");
    assert!(said.starts_with("bob@b.example ") && said.lines().count() == 1, "{said}");

    // What is written is read again, here and elsewhere.
    let (code, csv) = on.terminal(&["list", "--csv"], "");
    assert_eq!((code, csv.lines().count()), (0, 2503));
    assert!(csv.starts_with("address,reason,since,by\nemail:many-"), "{csv}");
    let (_, said) = on.terminal(&["import", "-"], &csv);
    assert_eq!(said, "0 added, 2502 already on the list\n");
    let (_, bounced) = on.terminal(&["list", "--csv", "--reason", "bounced"], "");
    let (_, said) = on.terminal(&["remove", "--file", "-"], &bounced);
    assert_eq!(said, "1 removed, 0 not on the list\n");
    let (_, said) = on.terminal(&["remove", "--file", "-"], &csv);
    assert_eq!(said, "2501 removed, 1 not on the list\n");
    let (_, said) = on.terminal(&["import", "-"], &csv);
    assert_eq!(said, "2502 added, 0 already on the list\n");
    let (_, said) = on.terminal(&["list", "bob@b.example", "--json"], "");
    assert!(said.contains("\"reason\":\"unsubscribed\""), "{said}");

    for (arguments, part) in [
        (&["add", "ann@b.example", "ann"][..], "`ann`: it is neither"),
        (&["add"], "ADDRESS"),
        (&["remove"], "ADDRESS"),
        (
            &["add", "ann@b.example", "--reason", "because"],
            "manual, bounced, complained, unsubscribed",
        ),
        (&["import", "/nowhere/at/all"], "cannot read /nowhere/at/all"),
    ] {
        let (code, said) = on.terminal(arguments, "");
        assert!(code != 0 && said.contains(part), "{arguments:?}: {said}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_is_interrupted_says_how_far_it_got() {
    let world = World::new().await;
    let server = world.start().await;
    let on = Operator { server: &server, token: server.new_token.clone().unwrap() };
    // From the first thousand on, the disk refuses.
    let database = rusqlite::Connection::open(world.folder.path().join("data/state.db")).unwrap();
    database.busy_timeout(PATIENCE).unwrap();
    let full = "CREATE TRIGGER full BEFORE INSERT ON suppression_list
                WHEN (SELECT count(*) FROM suppression_list) >= 1200 BEGIN SELECT RAISE(ABORT, 'no room'); END";
    database.execute_batch(full).unwrap();
    let many: String = (0..2500).map(|n| format!("{n}@b.example\n")).collect();
    let (code, said) = on.terminal(&["import", "-"], &many);
    assert_eq!(code, 1);
    let part =
        "interrupted: 1000 added, 0 already on the list. Run it again: what is done stays done";
    assert!(said.contains(part) && said.contains("no room"), "{said}");
    database.execute_batch("DROP TRIGGER full").unwrap();
    let (code, said) = on.terminal(&["import", "-"], &many);
    assert_eq!((code, &*said), (0, "1500 added, 1000 already on the list\n"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_comes_in_bits_is_taken_whole() {
    let world = World::new().await;
    let server = world.start_impatient().await;
    let on = Operator { server: &server, token: server.new_token.clone().unwrap() };
    let mut running = on.begin(&["import", "-"]);
    let mut input = running.stdin.take().unwrap();
    for part in 0..2 {
        let lines: String = (0..1000).map(|n| format!("{part}-{n}@b.example\n")).collect();
        input.write_all(lines.as_bytes()).unwrap();
        let begun = Instant::now();
        while on.get("/v1/suppressions").await["count"] != 1000 * (part + 1) {
            assert!(begun.elapsed() < PATIENCE, "waited in vain for part {part}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // Longer than the server keeps a connection for nothing.
        tokio::time::sleep(Duration::from_millis(600)).await;
    }
    drop(input);
    assert_eq!(end(running), (0, "2000 added, 0 already on the list\n".to_owned()));
    server.stop().await;
}
