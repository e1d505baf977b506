//! Every fault, for every language: a scenario of `faults/` is played by a caller of that language against the real collector with a
//! hostile server before it. `HEADWATER_CALLERS=rust,kotlin,swift` says which languages; see `faults/README.md` for the steps.
#![allow(clippy::unwrap_used, reason = "what a test expects, it unwraps, in its functions too")]
#![allow(clippy::print_stderr, reason = "what was skipped, and how many kills there were, is said")]

mod caller;
#[path = "../collector/mod.rs"]
mod collector;
mod kills;
mod run;
mod server;

use std::{collections::BTreeSet, fs, path::Path};

use caller::languages;
use run::Run;

fn play(name: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("faults/{name}.json"));
    let text = fs::read_to_string(&path).unwrap();
    let scenario = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
    for language in languages() {
        Run::new(name, &language, &scenario).play();
    }
}

macro_rules! scenarios {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                play(stringify!($name));
            }
        )*

        #[test]
        fn each_file_is_played() {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("faults");
            let files: BTreeSet<String> = fs::read_dir(folder)
                .unwrap()
                .filter_map(|file| file.unwrap().file_name().to_str()?.strip_suffix(".json").map(str::to_owned))
                .collect();
            let played: BTreeSet<String> = [$(stringify!($name)),*].map(str::to_owned).into();
            assert_eq!(files, played);
        }
    };
}

scenarios! {
    airplane
    answer_lost
    backlog
    bad_request
    background_killed
    captive_portal
    clock_back
    clock_forward
    consent_backlog
    consent_in_flight
    consent_pending
    corrupted_front
    corrupted_middle
    corrupted_while_open
    deleted_while_open
    disk_full
    file_of_a_later_version
    file_of_version_1
    file_of_version_2
    file_of_version_3
    locked
    log_deleted_while_open
    max_age
    no_and_read_only
    no_answer
    no_noted_on_a_full_disk
    no_noted_while_locked
    no_while_locked
    outage
    pending_backlog
    poison
    proxy_refuses
    quota
    read_only
    refuses_everything
    reset_behind_a_backlog
    reset_killed
    reset_noted_while_locked
    same_device
    stopped
    throttled
    too_large
    two_processes
    unavailable
}
