//! Every test of the collector as others see it, in one program: each file beside this one is a module of it.
//! One program, because each would link all of the collector again: 55 of them took 9 GB and a third of the time.
//! Promises that no file is left out. `sinks_conformance` looks at the memory of its process, and is one of its own. The Kafka sink's tests, which start a broker, are a program of their own.

mod abuse;
mod accounts_model;
mod actions;
mod actions_email;
mod actions_post;
mod actions_vendors;
mod backup;
mod checkpoint;
mod claims;
mod command;
mod consumers;
mod consumers_command;
mod consumers_killed;
mod consumers_orders;
mod consumers_pull;
mod decide;
mod decide_model;
mod decide_unjudged;
mod doctor;
mod durability;
mod erase;
mod event_log;
mod faults;
mod faults_metrics;
mod faults_start;
mod features_command;
mod formats;
mod front_door;
mod front_door_operate;
mod front_door_peers;
mod front_door_readers;
mod front_door_tls;
mod fuzz_seeds;
mod golden;
mod import_map;
mod inbound;
mod inbound_command;
mod inbound_vendors;
mod ingest;
mod listening;
mod log_faults;
mod log_recovery;
mod messages;
mod messages_who;
mod model;
mod openapi;
mod parameters;
mod people;
mod people_killed;
mod reading;
mod retention;
mod rules;
mod rules_killed;
mod scores_model;
mod server;
mod sinks_file;
mod sinks_webhook;
mod stored;
mod suppressions;
mod suppressions_reported;
mod transfer;
mod webhooks;

#[test]
fn every_file_here_is_a_module_of_this_program() {
    let here = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests"))
        .expect("the folder of this file");
    let left_out: Vec<String> = here
        .map(|entry| entry.expect("a name").file_name().to_string_lossy().into_owned())
        .filter_map(|name| name.strip_suffix(".rs").map(str::to_owned))
        .filter(|name| {
            !["main", "sinks_conformance"].contains(&name.as_str())
                && !include_str!("main.rs").contains(&format!("\nmod {name};\n"))
        })
        .collect();
    assert_eq!(left_out, Vec::<String>::new(), "add `mod …;` for each to tests/main.rs");
}
