//! Keeps the shape of the core: which module may know which, and that none of them touches the world.
#![allow(clippy::unwrap_used, reason = "a test says what it expects by unwrapping it")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Each file, and the siblings it may name: only what stands to its left on an event's path. `client`, in its four files, alone
/// calls them all.
const MAY_KNOW: &[(&str, &[&str])] = &[
    ("platform", &["Client", "config"]),
    ("config", &[]),
    ("json", &[]),
    ("random", &[]),
    ("event", &["json"]),
    ("wire", &["event", "json", "platform"]),
    ("session", &[]),
    ("queue", &["config", "platform"]),
    ("drops", &["config", "platform"]),
    ("batcher", &["config", "queue"]),
    ("retry", &["config", "random"]),
    ("saved", &["config", "drops", "platform", "session"]),
    ("transport", &["config", "platform", "random", "retry", "saved"]),
    (
        "client",
        &["batcher", "config", "drops", "platform", "queue", "random", "saved", "transport"],
    ),
    ("client/arrivals", &["config", "platform", "queue", "saved", "session", "transport"]),
    ("client/sending", &["batcher", "config", "platform", "queue", "transport"]),
    ("client/answers", &["config", "platform", "queue", "transport"]),
    ("testing", &["Client", "Config", "platform"]),
    ("lib", &[]),
];

#[test]
fn modules_know_only_what_stands_before_them() {
    let allowed: BTreeMap<&str, &[&str]> = MAY_KNOW.iter().copied().collect();
    for (name, text) in sources() {
        let known = allowed
            .get(name.as_str())
            .unwrap_or_else(|| panic!("{name}.rs is not in the table of this test"));
        for found in siblings(&text) {
            assert!(
                known.contains(&found.as_str()),
                "{name}.rs names crate::{found}, which it should not know"
            );
        }
    }
}

#[test]
fn nothing_touches_the_world() {
    let forbidden = [
        "std::",
        "extern crate std",
        "SystemTime",
        "Instant",
        "thread",
        "static mut",
        "println!",
        "unsafe",
        "async ",
    ];
    for (name, text) in sources() {
        for word in forbidden {
            assert!(!text.contains(word), "{name}.rs contains `{word}`");
        }
    }
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    assert!(!manifest.contains("[dependencies]"), "the core has no runtime dependency");
    assert!(fs::read_to_string(root().join("src/lib.rs")).unwrap().contains("no_std"));
}

#[test]
fn every_file_says_what_it_is_for() {
    for (name, text) in sources() {
        assert!(text.starts_with("//! "), "{name}.rs has no head");
    }
}

/// The names after `crate::` and inside `use crate::{…}`.
fn siblings(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for part in text.split("crate::").skip(1) {
        if let Some(list) = part.strip_prefix('{') {
            let list = list.split('}').next().unwrap_or_default();
            found.extend(
                list.split(',').map(str::trim).filter(|item| !item.is_empty()).map(first_word),
            );
        } else {
            found.push(first_word(part));
        }
    }
    found
}

fn first_word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// Every file of `src`, without its unit tests and comments.
fn sources() -> Vec<(String, String)> {
    let mut sources = Vec::new();
    let mut paths = files_in(&root().join("src"));
    paths.extend(files_in(&root().join("src/client")));
    for path in paths {
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        let head: String = code.lines().take(1).collect();
        let lines =
            code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>();
        let name = path.strip_prefix(root().join("src")).unwrap().with_extension("");
        let name = name.to_string_lossy().into_owned();
        sources.push((name, format!("{head}\n{}", lines.join("\n"))));
    }
    assert!(sources.len() > 10, "found only {} files", sources.len());
    sources
}

fn files_in(folder: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.is_file()).collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_map_names_only_what_exists() {
    let top = root().parent().unwrap();
    let map = fs::read_to_string(top.join("ARCHITECTURE.md")).unwrap();
    let mut named = 0;
    // `src/…` and `js/…` continue the folder named last on that page.
    let mut part = "";
    for word in map.split(|c: char| c.is_whitespace() || "`,;()|".contains(c)) {
        let word = word.trim_end_matches(['.', ':']);
        part = ["sdk-core", "sdk-wasm", "sdk-mobile", "collector"]
            .into_iter()
            .find(|p| word.starts_with(p))
            .unwrap_or(part);
        let looks_like_a_path =
            word.contains('/') && !word.starts_with('/') && word.contains(char::is_alphabetic)
                || [".rs", ".ts", ".md"].iter().any(|end| word.ends_with(end));
        if !looks_like_a_path || word.contains('?') {
            continue;
        }
        named += 1;
        let places = [
            word.to_owned(),
            format!("{part}/{word}"),
            format!("{part}/src/{word}"),
            format!("{part}/js/{word}"),
        ];
        assert!(
            places.iter().any(|place| top.join(place).exists()),
            "ARCHITECTURE.md names {word}, which does not exist"
        );
    }
    assert!(named > 25, "found only {named} paths: this test looks past them");
}
