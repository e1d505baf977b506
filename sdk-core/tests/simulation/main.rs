//! Thousands of seeds of virtual time: one device, several lives, a storage that crashes and fills up, a network and a
//! collector that do their worst. Each run asserts the core's promises; a failure prints its seed.
//!
//! `HEADWATER_SEEDS=20000 cargo test …` runs more of them, `HEADWATER_SEED=17` that one alone.
#![allow(clippy::unwrap_used, reason = "a test says what it expects by unwrapping it")]

mod collector;
mod dice;
mod run;

use headwater_core::Client;
use headwater_core::Config;
use headwater_core::platform::{
    Answer, Consent, Entry, Input, Key, Listed, Now, Outcome, Priority, Request, Stamp, Turn,
};

use dice::Dice;
use run::{Covered, Run, Weather};

fn seeds(default: u64) -> Vec<u64> {
    let number = |name| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    match number("HEADWATER_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("HEADWATER_SEEDS").unwrap_or(default)).collect(),
    }
}

fn run_all(default: u64, weather: fn(&mut Dice) -> Weather) -> Covered {
    let mut covered = Covered::default();
    let seeds = seeds(default);
    for seed in &seeds {
        let run = std::panic::catch_unwind(|| {
            let mut dice = Dice::new(*seed);
            let weather = weather(&mut dice);
            Run::new(*seed, dice, weather).play()
        });
        match run {
            Ok(this) => covered.add(&this),
            Err(panic) => {
                let said = panic.downcast_ref::<String>().map(String::as_str);
                let said = said.or(panic.downcast_ref::<&str>().copied()).unwrap_or_default();
                panic!("HEADWATER_SEED={seed}: {said}");
            }
        }
    }
    assert!(covered.delivered > 0, "the runs did nothing");
    covered
}

#[test]
fn nothing_is_lost_without_a_report_whatever_happens() {
    let covered = run_all(3_000, Weather::any);
    if std::env::var_os("HEADWATER_SEED").is_none() {
        covered.assert_everything_happened();
    }
}

#[test]
fn order_is_kept_while_storage_works() {
    let steady = |dice: &mut Dice| Weather { full_storage: false, ..Weather::any(dice) };
    run_all(1_000, steady);
}

#[test]
fn a_small_queue_gives_up_events_but_never_silently() {
    run_all(1_000, |dice| Weather {
        config: Config {
            max_queue_events: 1 + dice.small(20),
            max_queue_bytes: 40_000,
            ..Config::default()
        },
        ..Weather::any(dice)
    });
}

#[test]
fn same_seed_same_effects() {
    for seed in seeds(100) {
        let effects = || {
            let mut dice = Dice::new(seed);
            let weather = Weather::any(&mut dice);
            Run::new(seed, dice, weather).play().effects
        };
        let (first, second) = (effects(), effects());
        assert!(first.len() > 20, "the run did nothing");
        assert_eq!(first, second, "seed {seed}");
    }
}

/// A device that was offline for long comes back with a backlog far over what is kept in memory at once.
#[test]
fn memory_is_bounded_whatever_the_backlog() {
    let config = Config { max_queue_events: 200, ..Config::default() };
    let mut run = Run::new(1, Dice::new(1), Weather { config, ..Weather::calm() });
    run.backlog(20_000);
    let covered = run.play();
    assert!(covered.most_pending <= 200 + 500, "{} events held", covered.most_pending);
}

/// Inputs that no platform would make, in any order.
#[test]
fn no_input_panics() {
    for seed in seeds(2_000) {
        let mut dice = Dice::new(seed);
        let wild = |dice: &mut Dice| match dice.up_to(3) {
            0 => 0,
            1 => u64::MAX,
            2 => dice.up_to(5),
            _ => dice.next(),
        };
        let small = |n: u64| u32::try_from(n & 0xFFFF_FFFF).unwrap();
        let config = Config {
            max_queue_events: small(wild(&mut dice)).min(50),
            max_queue_bytes: wild(&mut dice),
            max_age_ms: wild(&mut dice),
            max_event_bytes: small(wild(&mut dice)),
            max_batch_events: small(wild(&mut dice)),
            max_batch_bytes: small(wild(&mut dice)),
            max_batch_growth: small(wild(&mut dice)),
            doubt_ms: wild(&mut dice),
            gather_ms: wild(&mut dice),
            interval_ms: wild(&mut dice),
            backoff_base_ms: wild(&mut dice),
            backoff_max_ms: wild(&mut dice),
            retry_after_max_ms: wild(&mut dice),
            request_timeout_ms: wild(&mut dice),
            leaving_bytes: small(wild(&mut dice)),
            session_ms: wild(&mut dice),
            load_limit: small(wild(&mut dice)),
        };
        let saved: Vec<u8> = (0..dice.up_to(120)).map(|_| dice.next().to_le_bytes()[0]).collect();
        let now = |dice: &mut Dice| Now { monotonic_ms: wild(dice), unix_ms: wild(dice) };
        let start = now(&mut dice);
        let mut client = Client::new(config.checked(), [dice.next(), 0], Some(&saved), start);
        for _ in 0..200 {
            let entry = |dice: &mut Dice| Entry {
                key: Key(wild(dice)),
                bytes: small(wild(dice)),
                priority: [Priority::Low, Priority::Normal, Priority::High][dice.index(2)],
                at_ms: wild(dice),
                campaign: small(wild(dice)),
                category: wild(dice).to_le_bytes()[0],
            };
            let entries: Vec<Entry> = (0..dice.up_to(4)).map(|_| entry(&mut dice)).collect();
            let loaded: Vec<(Entry, Option<Stamp>)> = (0..dice.up_to(4))
                .map(|_| {
                    let stamp = Stamp {
                        seq: wild(&mut dice),
                        session_ms: wild(&mut dice),
                        session_start: false,
                    };
                    (entry(&mut dice), (dice.up_to(1) == 0).then_some(stamp))
                })
                .collect();
            let outcome =
                [Outcome::Accepted, Outcome::Duplicate, Outcome::Quarantined, Outcome::Refused];
            let listed: Vec<Listed> = (0..dice.up_to(3))
                .map(|_| Listed { index: small(wild(&mut dice)), outcome: outcome[dice.index(3)] })
                .collect();
            let status = u16::try_from(dice.up_to(999)).unwrap();
            let answer = match dice.up_to(2) {
                0 => Answer::Delivered(&listed),
                1 => Answer::Refused { status, retry_after_ms: wild(&mut dice) },
                _ => Answer::Unreachable,
            };
            let input = match dice.up_to(11) {
                0 | 1 => Input::Tracked(&entries),
                2 => Input::Loaded { entries: &loaded, more: dice.up_to(3) == 0 },
                3 => Input::Changed,
                4 => Input::Committed {
                    turn: Turn(small(dice.up_to(40))),
                    durable: dice.up_to(3) > 0,
                },
                5 | 6 => Input::Answered { request: Request(small(dice.up_to(20))), answer },
                7 => Input::Woke,
                8 => Input::Flush,
                9 => Input::Leaving,
                10 => Input::Consent(
                    [
                        Consent::PENDING,
                        Consent::GRANTED,
                        Consent::DENIED,
                        Consent { pending: 1, denied: 2 },
                    ][dice.index(3)],
                ),
                _ => [Input::Reset, Input::Online][dice.index(1)],
            };
            let at = now(&mut dice);
            client.handle(input, at);
            while client.poll_effect().is_some() {}
        }
    }
}
