//! `headwater import --map`: a table in any shape becomes events as a mapping says, once, and what does not is named.
#![allow(clippy::unwrap_used, reason = "what a test expects, it unwraps, in its functions too")]

use crate::stored;
use std::{
    path::Path,
    process::{Command, Output},
};

use headwater_collector::event_log::*;
use serde_json::{Value, json};

const ORDERS: &str = r#"
[[event]]
on = 'row.state == "paid"'
event = "Order Paid"
message_id = '"order-" + row.id'
timestamp = 'row.at'
user_id = 'row.customer'
[event.properties]
total = 'double(row.total)'
note = 'row.note'
[event.traits]
email = 'row.email'

[[event]]
on = 'row.state == "new customer"'
type = "identify"
timestamp = 'row.at'
[event.external_ids]
crm_id = 'row.customer'
[event.traits]
email = 'row.email'
"#;

struct Imported {
    code: i32,
    said: String,
}

fn import(
    folder: &Path,
    file: &str,
    content: impl AsRef<[u8]>,
    mapping: &str,
    more: &[&str],
) -> Imported {
    std::fs::write(folder.join("map.toml"), mapping).unwrap();
    std::fs::write(folder.join(file), content).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_headwater"));
    command.current_dir(folder).args(["import", "data", file, "--map", "map.toml"]).args(more);
    let Output { status, stderr, .. } = command.output().unwrap();
    Imported { code: status.code().unwrap(), said: String::from_utf8(stderr).unwrap() }
}

fn events(folder: &Path) -> Vec<Record> {
    stored::read_all(&stored::open(&folder.join("data")))
}

fn json_of(record: &Record) -> Value {
    serde_json::from_str(&record.json).unwrap()
}

#[test]
fn a_table_becomes_events_once_and_bad_rows_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let table = "\u{feff}id;state; at ;customer;email;total;note\n\
                 1;paid;2021-03-04T05:06:07Z;u-1;pat@example.com;49.50;\"two\nlines; and \"\"quotes\"\"\"\n\
                 2;open;2021-03-05;u-2;sam@example.com;1;\n\
                 3;paid;yesterday;u-3;;1;\n\
                 4;paid;2021-03-05\n\
                 5;new customer;2021-03-06;c-5;kim@example.com;;Grüße\n\
                 6;paid;2021-03-07;u-6;;not a number;\n";
    let semicolon = ["--source", "shop", "--delimiter", ";"];
    let done = import(folder.path(), "orders.csv", table, ORDERS, &semicolon);
    let said: Vec<_> = done.said.lines().collect();
    assert_eq!(done.code, 1, "{}", done.said);
    assert!(said[0].starts_with("line 5: map.toml:6: `timestamp`: is no time"), "{}", done.said);
    assert_eq!(said[1], "line 6: 3 values, and the first line has 7 names");
    assert_eq!(said[2], "line 8: map.toml:9: `properties.total`: `double` cannot work on this");
    assert_eq!(said[3], "8 lines: 2 accepted, 0 duplicate, 3 refused, 1 ignored");
    assert!(!done.said.contains("yesterday"), "what is in a row is not repeated");

    let stored = events(folder.path());
    assert_eq!(stored.len(), 2);
    let (paid, known) = (&stored[0], &stored[1]);
    assert_eq!((&*paid.source, paid.trust, &paid.origin), ("shop", Trust::Server, &Origin::Import));
    assert_eq!(paid.message_id.as_ref(), "order-1");
    assert_eq!(paid.event_time.to_string(), "2021-03-04T05:06:07.000Z");
    let note = "two\nlines; and \"quotes\"";
    assert_eq!(json_of(paid)["properties"], json!({"total": 49.5, "note": note}));
    assert_eq!(json_of(known)["type"], "identify");
    assert_eq!(json_of(known)["anonymousId"], "crm_id:c-5");
    assert_eq!(json_of(known)["traits"], json!({"email": "kim@example.com"}));

    // Also those whose id is made of the row.
    let again = import(folder.path(), "orders.csv", table, ORDERS, &semicolon);
    assert!(
        again.said.ends_with("8 lines: 0 accepted, 2 duplicate, 3 refused, 1 ignored\n"),
        "{}",
        again.said
    );
}

#[test]
fn lines_of_json_in_any_shape_become_events_too() {
    let folder = tempfile::tempdir().unwrap();
    let mapping =
        "each = 'row.items'\n[[event]]\nevent_from = 'item.what'\nuser_id = 'item.?user'\n";
    let lines = "{\"items\": [{\"what\": \"A\", \"user\": 7}, {\"what\": \"A\", \"user\": 7}]}\n\n{\n{\"items\": [{\"what\": \"B\"}]}\n";
    let done = import(folder.path(), "old.ndjson", lines, mapping, &["--source", "old"]);
    assert_eq!(done.code, 1);
    let said: Vec<_> = done.said.lines().collect();
    assert!(said[0].starts_with("line 3: not JSON"), "{}", done.said);
    assert!(
        said[1].starts_with("line 4: map.toml:2: says nothing of who it is about"),
        "{}",
        done.said
    );
    assert!(said[1].ends_with("(item 0)"), "{}", done.said);
    assert_eq!(said[2], "4 lines: 2 accepted, 0 duplicate, 2 refused");
    let users: Vec<_> =
        events(folder.path()).iter().map(|record| json_of(record)["userId"].clone()).collect();
    assert_eq!(users, ["7", "7"]);
    let again = import(folder.path(), "old.ndjson", lines, mapping, &["--source", "old"]);
    assert!(
        again.said.ends_with("4 lines: 0 accepted, 2 duplicate, 2 refused\n"),
        "{}",
        again.said
    );
}

#[test]
fn what_cannot_be_imported_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let source = ["--source", "shop"];
    for (content, mapping, more, part) in [
        ("a\n1\n", ORDERS, &[][..], "--source"),
        (
            "a\n1\n",
            "[[event]]\nevent = 'A'\nuser_id = 'body.a'",
            &source,
            "map.toml:3: `user_id`: the variable `body` is not known; there is `row`",
        ),
        (
            "a\n1\n",
            "[[event]]\nevent = 'A'\nuser_id = 'row.a'\non = 'row.a.map(x, row.a.map(y, y))'",
            &source,
            "map.toml:4: `on`: a macro",
        ),
        ("a\n1\n", ORDERS, &["--source", "shop", "--delimiter", "ab"], "expected one character"),
    ] {
        let done = import(folder.path(), "t.csv", content, mapping, more);
        assert_ne!(done.code, 0);
        assert!(done.said.contains(part), "{}", done.said);
        assert!(!folder.path().join("data").exists());
    }
    // Of two columns of one name a row would have the last.
    let twice = "id,name,name\n1,a,b\n";
    let done = import(folder.path(), "t.csv", twice, ORDERS, &source);
    assert_ne!(done.code, 0);
    assert!(
        done.said.contains("line 1 cannot be read: two columns are called `name`"),
        "{}",
        done.said
    );
    // A quote that is not closed ends the import where it stands, not the memory.
    let long = format!("a\n1\n\"{}\n", "x\n".repeat(600_000));
    let mapping = "[[event]]\nevent = 'A'\nuser_id = 'row.a'";
    let done = import(folder.path(), "t.csv", long, mapping, &source);
    assert_eq!(done.code, 1);
    assert!(done.said.contains("line 3 cannot be read: a row has at most"), "{}", done.said);
}
