//! Events that a working destination always fails on, hundreds of them, and outages among them: in simulated time, with the
//! default pauses. The pauses and who is tried are random: the bounds are several times what ten runs showed.

use std::collections::{HashMap, HashSet};

use super::*;

const MINUTE: Duration = Duration::from_secs(60);
/// As the default of the configuration: quick for a minute, then up to a day.
const PAUSES: &str = "['250ms', '500ms', '1s', '2s', '5s', '10s', '20s', '30s', '5m', '30m', '2h', '5h', '10h', '14h', '20h', '24h']";

/// Which of the backlog always fail.
type Poison = fn(usize) -> bool;

/// Simulated time stands still meanwhile: it waits for threads of the blocking kind, not for the log's.
async fn store(log: &Arc<EventLog>, id: &str) {
    let (log, id, handle) = (Arc::clone(log), id.to_owned(), tokio::runtime::Handle::current());
    spawn_blocking(move || handle.block_on(append(&log, &[(&id, &id)]))).await.unwrap();
}

struct Outcome {
    /// When each event was taken.
    taken: HashMap<String, Duration>,
    /// How often each was tried.
    attempts: HashMap<String, u32>,
    parked: Vec<String>,
    /// Until nothing was left.
    took: Duration,
}

/// A backlog, then a good event every five seconds until all is done. The destination says `no` to `poison`, and during `outage` to
/// all.
async fn run(
    no: fn() -> Verdict,
    at_once: usize,
    backlog: usize,
    poison: Poison,
    outage: std::ops::Range<Duration>,
) -> Outcome {
    let began = Instant::now();
    let log = Arc::new(Mutex::new((HashMap::new(), HashMap::new())));
    let kept = Arc::clone(&log);
    let mut sink = Scripted::new(at_once, move |ids| {
        let now = began.elapsed();
        let fails = |id: &String| id[1..].parse().is_ok_and(poison);
        let (taken, attempts) = &mut *kept.lock().unwrap();
        ids.iter().for_each(|id| *attempts.entry(id.clone()).or_insert(0) += 1);
        if outage.contains(&now) || ids.iter().any(fails) {
            return no();
        }
        taken.extend(ids.iter().map(|id| (id.clone(), now)));
        Verdict::Delivered
    });
    (sink.takes, sink.in_flight) = (Duration::from_millis(20), 16);
    let events = many(backlog, backlog);
    let running = Running::start_with(sink, &borrowed(&events), PAUSES).await;
    let mut fresh = 0;
    while *running.handle.cursor.borrow() < *running.around.log.end().borrow()
        || running.came.borrow().is_empty()
    {
        tokio::time::sleep(Duration::from_secs(1)).await;
        // Once there is nothing left to compare with; with one under way the end is never the end.
        if fresh % 5 == 0 {
            let id = format!("fresh{fresh}");
            store(&running.around.log, &id).await;
        }
        fresh += 1;
        assert!(fresh < 50_000, "not done: {:?}", running.handle.status.borrow());
    }
    let took = began.elapsed();
    let parked = running.handle.parked(Offset::START, 10_000).await.unwrap();
    let parked = parked.into_iter().map(|parked| parked.message_id).collect();
    running.stop().await;
    let (taken, attempts) = std::mem::take(&mut *log.lock().unwrap());
    Outcome { taken, attempts, parked, took }
}

fn assert_sound(outcome: &Outcome, backlog: usize, poison: Poison) {
    let bad: Vec<_> = (0..backlog).filter(|n| poison(*n)).map(|n| format!("m{n}")).collect();
    assert_eq!(sorted(outcome.parked.clone()), sorted(bad.clone()), "these, and no other");
    let good = (0..backlog).filter(|n| !poison(*n)).map(|n| format!("m{n}"));
    assert_eq!(good.filter(|id| outcome.taken.contains_key(id)).count(), backlog - bad.len());
}

/// When the last good event of the backlog was taken.
fn last(outcome: &Outcome) -> Duration {
    let backlog = outcome.taken.iter().filter(|(id, _)| id.starts_with('m'));
    backlog.map(|(_, at)| *at).max().unwrap()
}

#[tokio::test(start_paused = true)]
async fn hundreds_of_poison_events_are_parked_and_the_others_wait_for_minutes_at_most() {
    let scattered = |n: usize| n % 10 < 3;
    let together = |n: usize| (0..300).contains(&n);
    let in_the_middle = |n: usize| (400..700).contains(&n);
    let cases: [(Poison, usize); 3] = [(scattered, 1), (together, 1), (in_the_middle, 10)];
    for ((poison, at_once), no) in
        cases.into_iter().flat_map(|case| [(case, down as fn() -> _), (case, refused)])
    {
        let outcome = run(no, at_once, 1000, poison, Duration::ZERO..Duration::ZERO).await;
        assert_sound(&outcome, 1000, poison);
        // Two pauses of a destination that looks as if it were down, with something to try.
        assert!(last(&outcome) < 11 * MINUTE, "the others waited {:?}", last(&outcome));
        assert!(outcome.took < 20 * MINUTE, "{:?}", outcome.took);
        let most = outcome.attempts.values().max().unwrap();
        assert!(*most < 60, "one was tried {most} times");
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_among_poison_events_parks_no_good_one_and_is_over_in_minutes() {
    let poison = |n: usize| n % 10 < 3;
    for (backlog, length) in [(300, Duration::from_secs(30)), (1000, 100 * MINUTE)] {
        let begins = Duration::from_millis(500);
        let outcome = run(down, 1, backlog, poison, begins..begins + length).await;
        assert_sound(&outcome, backlog, poison);
        assert!(outcome.taken.values().any(|at| *at < begins), "it begins in the middle");
        assert!(outcome.taken.values().any(|at| *at > begins + length), "and ends there");
        let late = last(&outcome).saturating_sub(begins + length);
        assert!(late < 10 * MINUTE, "{late:?} after an outage of {length:?}");
        assert!(outcome.took < begins + length + 20 * MINUTE, "{:?}", outcome.took);
        let most = outcome.attempts.values().max().unwrap();
        assert!(*most < 60, "one was tried {most} times");
    }
}

/// With nothing new to compare with, nobody can say of the last ones whose fault it is; but none may wait for hours for that.
#[tokio::test(start_paused = true)]
async fn good_events_that_failed_beside_poison_are_delivered_though_nothing_new_comes() {
    let poison = |n: usize| n % 10 == 3;
    let say = move |ids: &[String]| match ids.iter().any(|id| id[1..].parse().is_ok_and(poison)) {
        true => down(),
        false => Verdict::Delivered,
    };
    let taken = Arc::new(Mutex::new(HashSet::new()));
    let kept = Arc::clone(&taken);
    let mut sink = Scripted::new(100, move |ids| {
        let verdict = say(ids);
        if verdict == Verdict::Delivered {
            kept.lock().unwrap().extend(ids.iter().cloned());
        }
        verdict
    });
    (sink.takes, sink.in_flight) = (Duration::from_millis(20), 16);
    let began = Instant::now();
    let events = many(1000, 1000);
    let running = Running::start_with(sink, &borrowed(&events), PAUSES).await;
    while taken.lock().unwrap().len() < 900 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let missing = 900 - taken.lock().unwrap().len();
        assert!(began.elapsed() < 30 * MINUTE, "{missing} good ones still wait");
    }
    running.stop().await;
}

/// Nothing passes for hours, since nothing comes that could: that is no reason to make the next one wait for hours.
#[tokio::test(start_paused = true)]
async fn an_event_that_comes_after_hours_of_failures_is_tried_soon() {
    let say = |ids: &[String]| if ids[0].starts_with('m') { down() } else { Verdict::Delivered };
    let events = many(40, 40);
    let running = Running::start_with(Scripted::new(1, say), &borrowed(&events), PAUSES).await;
    tokio::time::sleep(600 * MINUTE).await;
    let attempts = running.came.borrow().len();
    assert!((40..1000).contains(&attempts), "all were tried, and it backs off: {attempts}");
    let began = Instant::now();
    store(&running.around.log, "good").await;
    let mut came = running.came.clone();
    let good = came.wait_for(|came| came.iter().any(|(ids, _)| ids == &["good"]));
    timeout(600 * MINUTE, good).await.expect("it is tried").unwrap();
    assert!(began.elapsed() <= 5 * MINUTE, "{:?}", began.elapsed());
    assert_eq!(running.parked().await, []);
    running.stop().await;
}
