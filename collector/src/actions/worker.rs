//! Does what stands in the outbox: reads what is pending in the projection's state, tries until it is done or of no use any more, and
//! says in the log what became of it, which is how the state hears of it.
//! Promises that nothing is done twice at a destination that takes keys, and that at another nothing is tried again after an answer
//! was lost. Deliberately decides nothing about rules.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::{
    sync::{Semaphore, watch},
    task::{JoinSet, spawn_blocking},
};

use super::{
    Destination, Outcome, Templates,
    trying::{CEILING, QUIET, STOPPED, Tried, Trying, untried},
};
use crate::{
    event_log::{Clock, EventLog},
    metrics::Metrics,
    people, projection,
    rules::{self, ActionState, DONE, Pending, RuleSet, What},
    state::{State, Stopped},
    suppressed::Suppressed,
};

/// Actions of one lane that are in hand at a time; the rest waits in the table, and no lane for another.
const IN_HAND: usize = 256;
/// Pages of waiting actions that are looked through at a time for some that may be done now.
const PAGES: usize = 64;
/// The pauses between attempts: twice as long each time, from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How soon it is looked again at what a stopped rule has set off, or what waits for somebody's night to end.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How soon it is asked again whether somebody's night is over: they may have gone elsewhere.
const WAITS_AGAIN_MS: i64 = 60_000;
/// How soon the table is read again when it could not be.
pub(super) const READ_AGAIN: Duration = Duration::from_millis(500);
/// Of what is sent in a minute, beyond which nobody meant it.
const MINUTE: Duration = Duration::from_secs(60);

/// What does the actions of a running collector.
pub(crate) struct Worker {
    hands: Arc<Hands>,
}

/// What every attempt needs.
pub(crate) struct Hands {
    pub(crate) projection: projection::Handle,
    pub(crate) log: Arc<EventLog>,
    pub(crate) state: State,
    pub(crate) clock: Clock,
    pub(crate) metrics: Arc<Metrics>,
    /// Whom nothing is written about any more.
    pub(crate) suppressed: Suppressed,
    pub(crate) destinations: BTreeMap<String, Destination>,
    pub(crate) templates: Option<Templates>,
    /// Most that is done in a minute.
    pub(crate) per_minute: u64,
    /// What was set off before then may have been sent: nobody knows, since the database that says so is new.
    pub(crate) forgotten_until: Option<i64>,
    pub(crate) at_once: Mutex<BTreeMap<String, Arc<Semaphore>>>,
    pub(crate) sent: Mutex<(Option<Instant>, u64)>,
    /// Its state's rules: others' actions are left to who made them anew.
    pub(crate) rules: Arc<RuleSet>,
    /// How it stands with what is in hand, for who asks.
    pub(crate) trying: Arc<Trying>,
    /// When the collector has started, in milliseconds of unix time.
    pub(super) since_ms: i64,
}

impl Hands {
    pub(crate) fn new(
        projection: projection::Handle,
        (log, state, clock): (Arc<EventLog>, State, Clock),
        (metrics, suppressed): (Arc<Metrics>, Suppressed),
        (destinations, templates): (BTreeMap<String, Destination>, Option<Templates>),
        (per_minute, forgotten_until): (u64, Option<i64>),
        rules: Arc<RuleSet>,
    ) -> Self {
        let since_ms = clock().unix_ms();
        Self {
            projection,
            log,
            state,
            clock,
            metrics,
            suppressed,
            destinations,
            templates,
            per_minute,
            forgotten_until,
            at_once: Mutex::default(),
            sent: Mutex::default(),
            rules,
            trying: Arc::default(),
            since_ms,
        }
    }
}

impl Worker {
    pub(crate) fn new(hands: Hands) -> Self {
        Self { hands: Arc::new(hands) }
    }

    /// How it stands with what is in hand.
    pub(crate) fn trying(&self) -> Arc<Trying> {
        Arc::clone(&self.hands.trying)
    }

    /// Works until `stop`: what is under way then is finished, or known to have been begun. Begins once all is folded that the log
    /// has at the start: in a state that is made anew an action is still to be done until the log says that it was.
    pub(crate) async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut changed = self.hands.projection.applied.clone();
        let end = *self.hands.log.end().borrow();
        tokio::select! {
            folded = changed.wait_for(|applied| *applied >= end) => if folded.is_err() { return },
            () = async { drop(stop.wait_for(|stop| *stop).await) } => return,
        }
        let (mut in_hand, mut tasks) = (InHand::default(), JoinSet::new());
        while !*stop.borrow() {
            let look_again = match self.take(&mut in_hand, &mut tasks, &stop).await {
                Ok(some_wait) => some_wait.then_some(LOOK_AGAIN),
                Err(error) => {
                    tracing::warn!(%error, "what is to be done because of rules cannot be read; trying again");
                    Some(READ_AGAIN)
                }
            };
            tokio::select! {
                Some(done) = tasks.join_next(), if !tasks.is_empty() => {
                    let mut ended = Some(done);
                    while let Some(done) = ended {
                        match done {
                            Ok(id) => in_hand.let_go(&id),
                            // Its id is not known any more: with the next start it is in hand again.
                            Err(panic) => tracing::error!(%panic, "an action had stopped"),
                        }
                        ended = tasks.try_join_next();
                    }
                }
                changed = changed.changed() => if changed.is_err() { break },
                () = async { drop(stop.wait_for(|stop| *stop).await) } => break,
                () = tokio::time::sleep(look_again.unwrap_or_default()), if look_again.is_some() => {}
            }
        }
        while tasks.join_next().await.is_some() {}
    }

    /// Takes what may be done now into hand; whether some has to wait that nothing will tell of.
    async fn take(
        &self,
        in_hand: &mut InHand,
        tasks: &mut JoinSet<String>,
        stop: &watch::Receiver<bool>,
    ) -> Result<bool, String> {
        let (readers, rules) =
            (self.hands.projection.readers.clone(), Arc::clone(&self.hands.rules));
        let lanes = spawn_blocking(move || readers.read(|db| rules::lanes(db, rules.hash()))).await;
        let lanes = lanes.map_err(|panic| panic.to_string())?.map_err(|error| error.to_string())?;
        if lanes.is_empty() {
            return Ok(false);
        }
        let stopped = self.hands.stopped().await?;
        let mut some_wait = false;
        for lane in lanes {
            let mut after = (0, String::new());
            for _ in 0..PAGES {
                if in_hand.of(&lane) >= IN_HAND {
                    break;
                }
                let (readers, of, from) =
                    (self.hands.projection.readers.clone(), lane.clone(), after.clone());
                let read = move || readers.read(|db| rules::pending(db, &of, &from, IN_HAND));
                let found = spawn_blocking(read).await.map_err(|panic| panic.to_string())?;
                let found = found.map_err(|error| error.to_string())?;
                let Some(last) = found.last() else { break };
                after = (last.number, last.id.clone());
                let now = (self.hands.clock)().unix_ms();
                for pending in found {
                    let is_over = pending.expires_ms <= now;
                    let waits =
                        pending.after_ms.max(self.hands.trying.not_before(&pending.id)) > now;
                    let is_stopped = stopped.has(&pending.rule);
                    if is_stopped {
                        self.hands.trying.wanted_later(&pending.id);
                    }
                    if !is_over && (waits || is_stopped) {
                        some_wait = true;
                    } else if in_hand.of(&lane) < IN_HAND && in_hand.take(&pending.id, &lane) {
                        let (hands, stop) = (Arc::clone(&self.hands), stop.clone());
                        tasks.spawn(async move {
                            let id = pending.id.clone();
                            hands.see_through(pending, stop).await;
                            id
                        });
                    }
                }
            }
        }
        Ok(some_wait)
    }
}

/// What is in hand, by its id, and how much of each lane.
#[derive(Default)]
struct InHand {
    lanes: HashMap<String, String>,
    counts: HashMap<String, usize>,
}

impl InHand {
    fn of(&self, lane: &str) -> usize {
        self.counts.get(lane).copied().unwrap_or_default()
    }

    /// Whether it was not in hand yet.
    fn take(&mut self, id: &str, lane: &str) -> bool {
        if self.lanes.contains_key(id) {
            return false;
        }
        self.lanes.insert(id.to_owned(), lane.to_owned());
        *self.counts.entry(lane.to_owned()).or_default() += 1;
        true
    }

    fn let_go(&mut self, id: &str) {
        let lane = self.lanes.remove(id);
        if let Some(count) = lane.and_then(|lane| self.counts.get_mut(&lane)) {
            *count -= 1;
        }
    }
}

/// The rules that an operator has stopped.
struct StoppedRules(Vec<Stopped>);

impl StoppedRules {
    fn has(&self, rule: &str) -> bool {
        self.0.iter().any(|it| it.is_of(rule))
    }
}

/// What became of an action in the end.
pub(super) struct Ended {
    pub(super) state: ActionState,
    pub(super) detail: Option<String>,
}

impl Ended {
    fn new(state: ActionState, detail: impl Into<Option<String>>) -> Self {
        Self { state, detail: detail.into() }
    }
}

impl Hands {
    /// Tries until it is known what becomes of an action, and says so in the log; then until the state has heard of it.
    async fn see_through(&self, pending: Pending, mut stop: watch::Receiver<bool>) {
        let Some(ended) = self.end(&pending, &mut stop).await else { return };
        if self.fall_back(&pending, &ended, &mut stop).await {
            return;
        }
        self.metrics.action(&pending.rule, &pending.what.kind(), ended.state.as_str());
        if ended.state == ActionState::Accepted {
            self.took(&pending).await;
        }
        let properties = rules::said(&pending, ended.state, ended.detail.as_deref());
        let message = format!("{}:{}", pending.id, ended.state.as_str());
        loop {
            match self.log.append([people::said(&message, DONE, &properties)]).await {
                Ok(_) => break,
                Err(error) => {
                    tracing::warn!(%error, action = pending.id, "what became of an action is not stored yet");
                    if wait(READ_AGAIN, &mut stop).await {
                        return;
                    }
                }
            }
        }
        let end = *self.log.end().borrow();
        tokio::select! {
            () = self.projection.wait_for(end) => {}
            () = async { drop(stop.wait_for(|stop| *stop).await) } => return,
        }
        self.trying.forget(&pending.id);
        // Also of what has said nothing: a model that is not to be asked any more.
        self.trying.awaited.ended(&pending.id);
        let (state, id) = (self.state.clone(), pending.id);
        let _ = spawn_blocking(move || state.end_action(&id)).await;
    }

    /// Tries until it is known what becomes of it; `None` if the collector stops before, or it is put back: what waits for somebody must
    /// not hold up others.
    async fn end(&self, pending: &Pending, stop: &mut watch::Receiver<bool>) -> Option<Ended> {
        let mut last = None;
        loop {
            let tried = self.trying.of(&pending.id).unwrap_or_default();
            let waits = self.waits(pending).await;
            let left = pending.expires_ms - (self.clock)().unix_ms();
            if left <= 0 {
                let in_the_way = waits.ok().flatten().map(|(why, _)| why.to_owned());
                // A night, or who has stopped the rule, wants it so: nothing is broken.
                let state = match in_the_way {
                    Some(_) => ActionState::Withheld,
                    None => ActionState::Expired,
                };
                let detail = in_the_way.or(last).or(tried.error);
                let detail = detail.unwrap_or_else(|| untried(&pending.what.what).to_owned());
                return Some(Ended::new(state, detail));
            }
            if let Ok(Some((why, pause))) = waits {
                // Whether a rule goes on is looked at for all that wait.
                let pause_ms = if why == QUIET { WAITS_AGAIN_MS } else { 0 };
                let again = (self.clock)().unix_ms() + pause_ms;
                self.next(pending, pause, |tried| {
                    (tried.waits, tried.not_before_ms) = (Some(why), again);
                    tried.was_wanted_later = true;
                });
                return None;
            }
            // Once for each action: a destination that is away must not use up what others may do. What asks a model reaches nobody.
            let asks = matches!(pending.what.what, What::Ask { .. });
            if !(tried.is_counted || asks)
                && let Some(over) = self.too_many()
            {
                last = Some(CEILING.to_owned());
                let pause = over.min(Duration::from_millis(left.unsigned_abs()));
                self.next(pending, pause, |tried| tried.waits = Some(CEILING));
                if wait(pause, stop).await {
                    return None;
                }
                continue;
            }
            self.trying.note(&pending.id, |tried| (tried.waits, tried.is_counted) = (None, true));
            let attempted = match waits {
                Ok(_) => self.attempt(pending).await,
                Err(reason) => Outcome::failed(reason),
            };
            let (reason, wanted) = match attempted {
                Outcome::Accepted { reference } => {
                    return Some(Ended::new(ActionState::Accepted, reference));
                }
                Outcome::Refused { reason } | Outcome::NeverAgain { reason, .. } => {
                    return Some(Ended::new(ActionState::Refused, reason));
                }
                Outcome::Withheld { reason } => {
                    return Some(Ended::new(ActionState::Withheld, reason));
                }
                Outcome::Unknown { reason } if !self.takes_key(pending) => {
                    return Some(Ended::new(ActionState::Unknown, reason));
                }
                Outcome::Unknown { reason } => (reason, None),
                Outcome::Failed { reason, retry_after } => (reason, retry_after),
            };
            tracing::debug!(action = pending.id, reason, "an action is tried again");
            let pause = FIRST_PAUSE.saturating_mul(1 << tried.attempts.min(16)).min(LONGEST_PAUSE);
            let wait_for = wanted.unwrap_or(pause).min(Duration::from_millis(left.unsigned_abs()));
            self.next(pending, wait_for, |tried| {
                tried.attempts = tried.attempts.saturating_add(1);
                tried.error = Some(reason.clone());
            });
            last = Some(reason);
            if wait(wait_for, stop).await {
                return None;
            }
        }
    }

    /// Notes how it stands with an action that is tried again after a pause.
    fn next(&self, pending: &Pending, pause: Duration, change: impl FnOnce(&mut Tried)) {
        let pause = i64::try_from(pause.as_millis()).unwrap_or(i64::MAX);
        let next_ms = (self.clock)().unix_ms().saturating_add(pause);
        self.trying.note(&pending.id, |tried| {
            change(tried);
            tried.next_ms = Some(next_ms);
        });
    }

    /// What is in the way now, and for how long: that the rule is stopped, or that it is night where the person is. It was asked when the
    /// rule fired; a message that had to wait may meet the next night.
    async fn waits(&self, pending: &Pending) -> Result<Option<(&'static str, Duration)>, String> {
        if self.is_stopped(pending).await? {
            return Ok(Some((STOPPED, Duration::ZERO)));
        }
        if !self.rules.is_quiet_for(&pending.rule, &pending.what) {
            return Ok(None);
        }
        let (readers, rules) = (self.projection.readers.clone(), Arc::clone(&self.rules));
        let (node, now) = (pending.node, (self.clock)().unix_ms());
        let ends = spawn_blocking(move || readers.read(|db| rules.quiet_until(db, node, now)));
        // What cannot be read of the person is found by the attempt, which says so.
        let ends = ends.await.ok().and_then(Result::ok).flatten();
        Ok(ends.map(|ends| (QUIET, Duration::from_millis((ends - now).max(1).unsigned_abs()))))
    }

    fn takes_key(&self, pending: &Pending) -> bool {
        match &pending.what.what {
            What::Send { destination, .. } => {
                self.destinations.get(destination).is_none_or(Destination::takes_key)
            }
            What::Emit { .. } | What::Set { .. } | What::InApp { .. } | What::Ask { .. } => true,
        }
    }

    /// Whether an operator has stopped the rule.
    pub(super) async fn is_stopped(&self, pending: &Pending) -> Result<bool, String> {
        Ok(self.stopped().await?.has(&pending.rule))
    }

    async fn stopped(&self) -> Result<StoppedRules, String> {
        let state = self.state.clone();
        let stopped = spawn_blocking(move || state.stopped_rules()).await;
        let stopped = stopped.map_err(|panic| panic.to_string())?;
        Ok(StoppedRules(stopped.map_err(|error| error.to_string())?))
    }

    /// Counts one more; how long to wait if that is too many within a minute.
    fn too_many(&self) -> Option<Duration> {
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let begun = *sent.0.get_or_insert(now);
        if now.duration_since(begun) >= MINUTE {
            *sent = (Some(now), 0);
        }
        if sent.1 < self.per_minute {
            sent.1 += 1;
            return None;
        }
        if sent.1 == self.per_minute {
            sent.1 += 1;
            self.metrics.actions_over();
            tracing::error!(
                per_minute = self.per_minute,
                "rules do more than `actions_per_minute` allows: the rest waits. Stop them with `headwater rules stop`, or raise it"
            );
        }
        Some(MINUTE.saturating_sub(now.duration_since(begun)).max(FIRST_PAUSE))
    }
}

/// Waits; whether the collector stops.
pub(super) async fn wait(pause: Duration, stop: &mut watch::Receiver<bool>) -> bool {
    tokio::select! {
        () = tokio::time::sleep(pause) => false,
        () = async { drop(stop.wait_for(|stop| *stop).await) } => true,
    }
}
