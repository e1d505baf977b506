//! The paths of rules: each is asked for everything that the document says it may answer.
//! Deliberately leaves to others what rules are.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc, time::Duration};

use headwater_collector::{config::Config, event_log::FileSystem, limits::HttpLimits};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{
    Document,
    server::{PATIENCE, Server, client},
};

pub(super) fn are_at(path: &str) -> bool {
    ["/v1/rules", "/v1/firings", "/v1/decide"].iter().any(|known| path.starts_with(known))
}

const RULES: &str = "[features.spent]\non = 'Card Used'\nsum = 'event.properties.amount'\n\
    [scores.risk]\ndescription = 'How odd it is'\nterms = { spent = 'features.spent / 100.0' }\n\
    [rules.stolen]\ndescription = 'Odd'\non = 'Card Used'\nif = 'event.properties.amount > 10'\ndecision = 'freeze'\n\
    then = [{ emit = 'Card Frozen' }]\n\
    [rules.much]\ncrosses = { score = 'risk', above = 0.1 }\n\
    [features.seen]\non = 'Card Seen'\nper = 'account'\ncount = true\n\
    [rules.seen]\ncrosses = { feature = 'seen', above = 0.5 }\ndry_run = true\nthen = [{ emit = 'Seen' }]\n";

#[tokio::test]
async fn rules_answer_all_that_the_document_names() {
    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("rules");
    fs::create_dir(&rules).unwrap();
    fs::write(rules.join("card.toml"), RULES).unwrap();
    let toml = format!(
        "rules = '{}'\n[sources.web]\nwrite_key = 'web'\norigins = ['https://shop.example']\n\
         [sources.bank]\nwrite_key = 'bank'\ntrust = 'server'\nmax_batch_bytes = 100000\norigins = ['https://shop.example']\n\
         [sources.slow]\nwrite_key = 'slow'\ntrust = 'server'\nevents_per_second = 1\nburst = 1\n",
        rules.display()
    );
    let body_idle_timeout = Duration::from_millis(100);
    let limits = HttpLimits { body_idle_timeout, ..HttpLimits::default() };
    let data = folder.path().join("data");
    let server = Server::start_limited(&data, &toml, Arc::new(FileSystem), limits).await;
    let mut document = Document::of(&server).await;
    let (http, token) = (client(), server.new_token.clone().unwrap());

    let decide = "/v1/decide";
    let card = |id: &str, amount: u32| {
        json!({"messageId": id, "event": "Card Used", "userId": "u-1", "properties": {"amount": amount}}).to_string()
    };
    let post_to = |path: &str, key: &str, body: String| {
        http.post(server.at(path)).basic_auth(key, Some("")).body(body)
    };
    let post = |key: &str, body: String| post_to(decide, key, body);
    let slow = format!("{decide}?deadline_ms=5000");
    let (status, _, body) = document.ask_for(decide, post_to(&slow, "bank", card("a", 50))).await;
    let decided: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        (status, &decided["decision"], &decided["by"]),
        (200, &json!("freeze"), &json!("stolen"))
    );
    let (status, _, body) = document.ask_for(decide, post_to(&slow, "bank", card("b", 5))).await;
    let decided: Value = serde_json::from_str(&body).unwrap();
    let expected = (200, &json!("allow"), &Value::Null, &json!(true));
    assert_eq!((status, &decided["decision"], &decided["by"], &decided["complete"]), expected);
    let again = post_to(&slow, "bank", card("b", 5));
    let (_, _, body) = document.ask_for(decide, again).await;
    assert!(body.contains("\"duplicate\":true"), "{body}");
    for (query, body) in [
        ("", "{".to_owned()),
        ("", "{}".to_owned()),
        ("", card("", 1).replace("Card Used", "")),
        ("?deadline_ms=0", card("c", 1)),
        ("?deadlin=1", card("c", 1)),
        ("?deadline_ms=", card("c", 1)),
        ("?deadline_ms", card("c", 1)),
        ("?deadline_ms=5&deadline_ms=5", card("c", 1)),
    ] {
        let wrong = post_to(&format!("{decide}{query}"), "bank", body);
        assert_eq!(document.ask(decide, wrong).await, 400);
    }
    let zipped = post("bank", card("c", 1)).header("content-encoding", "gzip");
    assert_eq!(document.ask(decide, zipped).await, 400);
    assert_eq!(document.ask(decide, post("nobody", card("c", 1))).await, 401);
    let broken = http.post(server.at(decide)).header("authorization", "Basic %");
    assert_eq!(document.ask(decide, broken).await, 401);
    assert_eq!(document.ask(decide, post("web", card("c", 1))).await, 403);
    assert_eq!(document.ask(decide, http.post(server.at(decide)).body(card("c", 1))).await, 403);
    let page = post("bank", card("c", 1)).header("origin", "https://x.example");
    assert_eq!(document.ask(decide, page).await, 403);
    assert_eq!(document.ask_raw(decide, &server, "Content-Length: 9\r\n").await, 408);
    let large = " ".repeat(200_000) + &card("c", 1);
    assert_eq!(document.ask(decide, post("bank", large)).await, 413);
    for encoding in ["x", "gzip, br"] {
        let unknown = post("bank", card("c", 1)).header("content-encoding", encoding);
        assert_eq!(document.ask(decide, unknown).await, 415);
    }
    let chunked = "Transfer-Encoding: chunked, chunked\r\n";
    assert_eq!(document.ask_raw(decide, &server, chunked).await, 501);
    let limited = async {
        let mut n = 0;
        while document.ask(decide, post("slow", card(&format!("s{n}"), 1))).await != 429 {
            n += 1;
        }
    };
    timeout(PATIENCE, limited).await.unwrap();

    // An account of that name, of which nothing was done.
    let seen = json!({"messageId": "s", "event": "Card Seen", "userId": "u-1", "context": {"groupId": "u-1"}});
    let (_, _, body) = document.ask_for(decide, post_to(&slow, "bank", seen.to_string())).await;
    let decided: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(decided["firings"][0]["account"], "u-1", "{decided}");
    let two = http.get(server.at("/v1/firings?who=u-1&account=u-1")).bearer_auth(&token);
    assert_eq!(document.ask("/v1/firings", two).await, 400);
    let why = http.get(server.at("/v1/rules/seen/why?who=u-1")).bearer_auth(&token);
    let (status, _, body) = document.ask_for("/v1/rules/{rule}/why", why).await;
    let why: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &why["accounts"]), (200, &json!(["u-1"])), "{why}");
    let again = &why["looked"][0]["firing"]["again"];
    assert!(again.as_str().unwrap().contains("this account again only after `seen`"), "{why}");

    for (path, method, query) in [
        ("/v1/rules", Method::GET, ""),
        ("/v1/rules/{rule}/why", Method::GET, "?who=u-1"),
        ("/v1/firings", Method::GET, "?rule=stolen&who=u-1&limit=5"),
        ("/v1/firings", Method::GET, "?account=u-1"),
        // More than a page has is a page.
        ("/v1/firings", Method::GET, "?who=u-1&limit=1001"),
        ("/v1/firings", Method::GET, ""),
        ("/v1/rules/{rule}/stop", Method::POST, ""),
        ("/v1/rules/stop", Method::POST, ""),
        ("/v1/rules", Method::GET, ""),
        ("/v1/rules/resume", Method::POST, ""),
        ("/v1/rules/{rule}/resume", Method::POST, ""),
    ] {
        let url = |rule: &str, query: &str| server.at(&(path.replace("{rule}", rule) + query));
        let ask = |rule: &str, query: &str| http.request(method.clone(), url(rule, query));
        let admin = |rule: &str, query: &str| ask(rule, query).bearer_auth(&token);
        assert_eq!(document.ask(path, admin("stolen", query)).await, 200, "{path}");
        assert_eq!(document.ask(path, admin("stolen", "?wrong=1")).await, 400, "{path}");
        assert_eq!(document.ask(path, ask("stolen", query)).await, 401, "{path}");
        if path.contains("{rule}") {
            assert_eq!(document.ask(path, admin("nothing", query)).await, 404, "{path}");
        }
        if let Some((name, _)) = query.trim_start_matches('?').split_once('=') {
            for (wrong, why) in [
                (format!("{query}&{name}=u-2"), "is there twice"),
                (format!("?{name}="), "has no value"),
                (format!("?{name}"), "has no value"),
            ] {
                let (status, _, said) = document.ask_for(path, admin("stolen", &wrong)).await;
                assert!(status == 400 && said.contains(why), "{path}{wrong}: {status} {said}");
            }
            let nobody = query.replace("u-1", "nobody");
            assert_eq!(document.ask(path, admin("stolen", &nobody)).await, 404, "{path}");
        }
    }

    // From now on there is no room, and the tables are gone.
    let reload = Arc::clone(&server.reload);
    let config = format!("min_free_bytes = 9000000000000000000\n{toml}");
    let config = Config::parse(&config, Path::new("t.toml")).unwrap();
    tokio::task::spawn_blocking(move || reload.apply(&config)).await.unwrap().unwrap();
    let full = async {
        let mut n = 0;
        while document.ask(decide, post("bank", card(&format!("f{n}"), 1))).await != 503 {
            n += 1;
        }
    };
    timeout(PATIENCE, full).await.unwrap();
    let db = rusqlite::Connection::open(data.join("people.db")).unwrap();
    db.busy_timeout(PATIENCE).unwrap();
    db.execute_batch("DROP TABLE firing; DROP TABLE moment").unwrap();
    for (path, method) in [
        ("/v1/rules", Method::GET),
        ("/v1/rules/{rule}/why?who=u-1", Method::GET),
        ("/v1/firings", Method::GET),
        ("/v1/rules/{rule}/stop", Method::POST),
        ("/v1/rules/stop", Method::POST),
        ("/v1/rules/resume", Method::POST),
        ("/v1/rules/{rule}/resume", Method::POST),
    ] {
        let url = server.at(&path.replace("{rule}", "stolen"));
        let known = path.split('?').next().unwrap();
        let asked = http.request(method, url).bearer_auth(&token);
        assert_eq!(document.ask(known, asked).await, 503, "{path}");
    }
    server.stop().await;

    let paths = document.text["paths"].as_object().unwrap().clone();
    for (path, operations) in paths.iter().filter(|(path, _)| are_at(path)) {
        let responses =
            operations.as_object().unwrap().values().next().unwrap()["responses"].clone();
        let responses: BTreeMap<String, Value> = serde_json::from_value(responses).unwrap();
        for status in responses.keys().map(|status| status.parse().unwrap()) {
            let seen = document.seen.contains(&(path.clone(), status));
            assert!(seen, "{path} {status} was not seen");
        }
    }
}
