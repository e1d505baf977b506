//! Every input under `fuzz/seeds`, through the same functions that the fuzzers call: what a fuzzer once found stays found.
#![allow(clippy::unwrap_used, reason = "what a test expects, it unwraps, in its functions too")]
#![allow(clippy::print_stdout, reason = "shown only when a test fails")]

#[path = "../fuzz/targets/mod.rs"]
mod targets;

use std::{fs, path::Path};

fn replay(target: &str, run: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let mut inputs: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    inputs.sort();
    assert!(inputs.len() > 10, "{target} has seeds");
    for path in inputs {
        // What panics says only what it saw; this says where. Captured, unless the test fails.
        println!("{}", path.display());
        run(&fs::read(&path).unwrap());
    }
}

#[test]
fn decode() {
    replay("decode", targets::decode);
}

#[test]
fn validate() {
    replay("validate", targets::validate_text);
}

#[test]
fn recovery() {
    replay("recovery", targets::recovery);
}

#[test]
fn config() {
    replay("config", targets::config);
}

#[test]
fn rules() {
    replay("rules", targets::rules);
}
