//! The script that every kind of sink is run through, with a destination that can be healthy, down, hanging or refusing.
//! Promises to panic with what was promised and not kept; see [`run`] for the list. Deliberately knows no kind of sink, and is
//! never part of a release build.

use std::{
    collections::{HashMap, HashSet},
    fmt::Debug,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{sync::Mutex, task::JoinSet, time::timeout};

use super::{Parcel, Sink, Verdict};
use crate::limits::MAX_EVENT_BYTES;

/// The other side, as the script needs it.
pub trait Destination {
    /// What delivers to it.
    type Sink: Sink + Debug;

    /// A sink for it, opened anew.
    fn open(&self) -> Self::Sink;

    /// From now on it is like this. False if it cannot be: then what that would show is not asked for.
    fn turn(&mut self, condition: Condition) -> impl Future<Output = bool>;

    /// All that it has accepted, repetitions too; what has one order key in the order in which it came.
    fn accepted(&mut self) -> impl Future<Output = Vec<Accepted>>;

    /// The longest that a delivery may take.
    fn bound(&self) -> Duration;

    /// Makes of an event one that it refuses while it is [`Condition::Refusing`], for that event's fault.
    fn spoil(&self, parcel: Parcel) -> Parcel;

    /// Texts of its configuration that nobody may see.
    fn secrets(&self) -> Vec<String>;
}

/// How a destination is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It takes everything.
    Healthy,
    /// It cannot be reached, or says that it cannot take anything.
    Down,
    /// It can be reached and says nothing.
    Hanging,
    /// It takes everything but what is spoilt.
    Refusing,
}

/// An event that a destination has accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The parcel's id, where the destination is told one for each event.
    pub id: Option<String>,
    /// Its line.
    pub line: String,
}

/// Deliveries while it is down, together: more than that must not be left in memory …
const PUSHED: usize = 32 * 1024 * 1024;
/// … which may grow by what a delivery or two need, and what the allocator keeps for later.
const GROWTH: usize = 24 * 1024 * 1024;
/// Attempts until a destination that is back has everything.
const ATTEMPTS: usize = 20;

/// Memory is the whole process's: one run at a time, so that none is blamed for another's.
static ALONE: Mutex<()> = Mutex::const_new(());

/// Runs a kind of sink through all of it:
///
/// - healthy: each event is accepted once, as it is, in order per order key, under one id that is the same when it comes again;
/// - refusing: `Refused` for the spoilt event only;
/// - hanging: `Unavailable` within the bound, also with all deliveries at once that the sink allows;
/// - down: `Unavailable` within the bound, with nothing left in memory; and after it everything, in order;
/// - ever: no secret is printed, nor told as a reason.
pub async fn run(destination: &mut impl Destination) {
    let _alone = ALONE.lock().await;
    let sink = Arc::new(destination.open());
    assert!(sink.most_at_once() > 0 && sink.most_in_flight() > 0, "it takes no events at all");
    let mut script = Script { destination, sink, made: 0, reasons: Vec::new() };
    script.healthy().await;
    script.refusing().await;
    script.hanging().await;
    script.down().await;
    let shown = format!("{:?}", script.sink);
    for secret in script.destination.secrets() {
        assert!(!shown.contains(&secret), "a secret is in the sink's `Debug`");
        let told = script.reasons.iter().any(|reason| reason.contains(&secret));
        assert!(!told, "a secret is in a reason");
    }
}

struct Script<'a, D: Destination> {
    destination: &'a mut D,
    sink: Arc<D::Sink>,
    made: usize,
    reasons: Vec<String>,
}

impl<D: Destination> Script<'_, D> {
    async fn healthy(&mut self) {
        assert!(self.destination.turn(Condition::Healthy).await, "it must be healthy at times");
        let mut all = self.parcels(7, 100);
        for parcel in &all {
            self.accepts(std::slice::from_ref(parcel)).await;
        }
        for _ in 0..3 {
            let together = self.parcels(self.sink.most_at_once().min(300), 100);
            self.accepts(&together).await;
            all.extend(together);
        }
        let once = self.has_all(&all, "delivered while healthy").await;
        assert_eq!(once.len(), all.len(), "each event is accepted once while all is well");

        self.accepts(&all[..1]).await;
        let twice = self.has_all(&all, "delivered again").await;
        let again: Vec<_> = twice.iter().filter(|a| a.line.as_bytes() == &*all[0].line).collect();
        assert_eq!(again.len(), 2, "what is delivered again comes again");
        assert_eq!(again[0].id, again[1].id, "the id is the same at every attempt");
    }

    async fn refusing(&mut self) {
        if !self.destination.turn(Condition::Refusing).await {
            return;
        }
        let good = self.parcels(2, 100);
        let spoilt = self.parcels(1, 100).pop().map(|parcel| self.destination.spoil(parcel));
        let spoilt = [spoilt.expect("one was made")];
        self.accepts(&good[..1]).await;
        for _ in 0..2 {
            match self.deliver(&spoilt).await {
                Verdict::Refused { reason } => assert!(!reason.is_empty(), "refused for no reason"),
                other => panic!("a spoilt event is refused, not {other:?}"),
            }
        }
        self.accepts(&good[1..]).await;
        let accepted = self.has_all(&good, "delivered beside a refused one").await;
        let line = spoilt[0].line.as_ref();
        assert!(!accepted.iter().any(|a| a.line.as_bytes() == line), "refused, and accepted");
        self.destination.turn(Condition::Healthy).await;
    }

    async fn hanging(&mut self) {
        if !self.destination.turn(Condition::Hanging).await {
            return;
        }
        let parcels = self.parcels(1, 100);
        self.waits(&parcels).await;
        let mut at_once = JoinSet::new();
        for _ in 0..self.sink.most_in_flight() {
            let (sink, parcels) = (Arc::clone(&self.sink), parcels.clone());
            at_once.spawn(async move { sink.deliver(&parcels).await });
        }
        let all = timeout(self.destination.bound() * 2, at_once.join_all()).await;
        let all = all.expect("as many at once as are allowed end in time, too");
        assert!(all.iter().all(|verdict| verdict.as_str() == "unavailable"), "{all:?}");
        self.destination.turn(Condition::Healthy).await;
        self.gets_through(&parcels).await;
        self.has_all(&parcels, "delivered after it had hung").await;
    }

    async fn down(&mut self) {
        if !self.destination.turn(Condition::Down).await {
            return;
        }
        let parcels = self.parcels(self.sink.most_at_once().min(300), 100);
        for _ in 0..2 {
            self.waits(&parcels).await;
        }
        let large = self.parcels(self.sink.most_at_once().min(200), MAX_EVENT_BYTES - 1000);
        let size: usize = large.iter().map(|parcel| parcel.line.len()).sum();
        let (before, mut pushed) = (resident(), 0);
        while pushed < PUSHED {
            self.waits(&large).await;
            pushed += size;
        }
        if let (Some(before), Some(after)) = (before, resident()) {
            let grown = after.saturating_sub(before);
            assert!(grown < GROWTH, "after {pushed} bytes in vain, {grown} are left in memory");
        }
        drop(large);

        self.destination.turn(Condition::Healthy).await;
        let more = self.parcels(self.sink.most_at_once().min(300), 100);
        self.gets_through(&parcels).await;
        self.gets_through(&more).await;
        self.has_all(&[parcels, more].concat(), "delivered after it was down").await;
    }

    /// One attempt, within the bound.
    async fn deliver(&mut self, parcels: &[Parcel]) -> Verdict {
        let (start, bound) = (Instant::now(), self.destination.bound());
        let ended = timeout(bound, self.sink.deliver(parcels)).await;
        let verdict = ended.unwrap_or_else(|_| panic!("{:?} and no verdict", start.elapsed()));
        if let Verdict::Refused { reason }
        | Verdict::Unavailable { reason, .. }
        | Verdict::Gone { reason } = &verdict
        {
            self.reasons.push(reason.clone());
        }
        verdict
    }

    async fn accepts(&mut self, parcels: &[Parcel]) {
        let verdict = self.deliver(parcels).await;
        assert_eq!(verdict, Verdict::Delivered, "it is healthy");
    }

    async fn waits(&mut self, parcels: &[Parcel]) {
        match self.deliver(parcels).await {
            Verdict::Unavailable { reason, .. } => {
                assert!(!reason.is_empty(), "unavailable for no reason");
            }
            other => panic!("no event is to blame for a destination's failure: {other:?}"),
        }
    }

    /// Tries until it is delivered, as a consumer does.
    async fn gets_through(&mut self, parcels: &[Parcel]) {
        for _ in 0..ATTEMPTS {
            match self.deliver(parcels).await {
                Verdict::Delivered => return,
                Verdict::Unavailable { .. } => tokio::time::sleep(Duration::from_millis(50)).await,
                other => panic!("it is back, and says {other:?}"),
            }
        }
        panic!("it is back, and {ATTEMPTS} attempts were in vain");
    }

    /// That all of these were accepted: as they are, under their ids, each before the next of its order key.
    async fn has_all(&mut self, parcels: &[Parcel], when: &str) -> Vec<Accepted> {
        let accepted = self.destination.accepted().await;
        let mut first = HashMap::new();
        for (n, one) in accepted.iter().enumerate() {
            first.entry(one.line.as_bytes()).or_insert(n);
        }
        let (mut latest, mut ids) = (HashMap::new(), HashSet::new());
        for parcel in parcels {
            let Some(&at) = first.get(&*parcel.line) else {
                panic!("{when}, and never accepted as it is: {parcel:?}");
            };
            if let Some(id) = &accepted[at].id {
                assert_eq!(id, &parcel.id, "{when}, under another id");
                assert!(ids.insert(id), "{when}, under the id of another");
            }
            let before = latest.insert(&parcel.order_key, at);
            assert!(before.is_none_or(|before| before < at), "{when}, and out of order");
        }
        accepted
    }

    /// New events of three order keys.
    fn parcels(&mut self, count: usize, bytes: usize) -> Vec<Parcel> {
        let parcel = |n: usize| {
            let key = format!("key-{}", n % 3);
            let line = format!(
                "{{\"offset\":\"{n}\",\"source\":\"conformance\",\"timestamp\":\"2026-01-02T03:04:05.678Z\",\
                 \"orderKey\":\"{key}\",\"type\":\"track\",\"event\":\"Tested\",\"messageId\":\"m-{n}\",\
                 \"properties\":{{\"filler\":\"{}\"}}}}",
                "x".repeat(bytes)
            );
            Parcel { id: format!("msg_{n:032x}"), order_key: key.into(), line: line.into() }
        };
        self.made += count;
        (self.made - count..self.made).map(parcel).collect()
    }
}

/// Bytes of memory that this process has. `None` where the system does not say it this way.
fn resident() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<usize>().ok()? * 1024)
}
