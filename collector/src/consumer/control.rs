//! What others may ask of a consumer, and what it says of itself.
//! Promises that an order that was answered is in force and on disk. Deliberately carries none of them out:
//! they are handed to the consumer's own loop, so that nobody else touches its events.

use std::{collections::BTreeMap, io, time::Duration};

use tokio::{
    sync::{mpsc, oneshot, watch},
    task::spawn_blocking,
    time::Instant,
};

use super::{
    Surroundings,
    pull::{Lease, Settled},
    seek::{self, Place},
};
use crate::{
    config::Name,
    event_log::{Offset, Record, Timestamp},
    state::{Parked, Pause, Replay, State, StateError},
};

/// An order to a consumer's loop.
pub(super) enum Order {
    Pause {
        reason: String,
        done: Done,
    },
    Resume {
        done: Done,
    },
    Seek {
        to: Offset,
        done: Done,
    },
    /// There is something to deliver again.
    LookAgain,
    /// Forget parked events, also those that are on their way again.
    Drop {
        which: Option<Vec<Offset>>,
        dropped: oneshot::Sender<Result<usize, OrderError>>,
    },
    Take {
        most: usize,
        until: Instant,
        taken: oneshot::Sender<Result<Option<Lease>, OrderError>>,
    },
    Settle {
        lease: String,
        upto: Option<Offset>,
        failed: BTreeMap<Offset, String>,
        settled: oneshot::Sender<Result<Settled, OrderError>>,
    },
}

pub(super) type Done = oneshot::Sender<Result<(), OrderError>>;

/// Why an order was not carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OrderError {
    /// Ask again after the next start.
    #[error("the consumer is stopping")]
    Stopping,
    /// Resume it first.
    #[error("the consumer is paused: {0}")]
    Paused(String),
    /// Too many wait already.
    #[error("{0}")]
    Busy(&'static str),
    /// It cannot mean anything.
    #[error("{0}")]
    Invalid(String),
    /// The lease has ended, or there was none.
    #[error(
        "there is no such lease: it ran out, or was acknowledged otherwise before; what is not acknowledged comes again"
    )]
    NoLease,
    /// Only readers fetch from it.
    #[error("this consumer pushes its events; only one with `kind = \"pull\"` can be read from")]
    NotForReaders,
    /// The disk.
    #[error(transparent)]
    State(#[from] StateError),
    /// The disk.
    #[error("the event log could not be read: {0}")]
    Log(#[from] io::Error),
}

/// What a consumer is doing.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Status {
    pub(crate) standing: Standing,
    /// When the oldest event was received that it is not done with.
    pub(crate) oldest_unread: Option<Timestamp>,
    /// Deliveries, or leases, under way.
    pub(crate) under_way: usize,
    pub(crate) parked: u64,
}

/// Whether it goes on, and if not why.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Standing {
    Running,
    /// `until` is what `next_attempt` was made of.
    BackingOff {
        failures: u32,
        reason: String,
        next_attempt: Timestamp,
        until: Instant,
    },
    Paused(Pause),
}

impl Standing {
    /// The words that [`Standing::as_str`] has, for a metric that shows all of them, and `gone`.
    pub(crate) const WORDS: [&'static str; 5] =
        ["running", "drained", "backing_off", "paused", "gone"];

    /// The word for it. `drained` is to have nothing left to do.
    pub(crate) fn as_str(&self, drained: bool) -> &'static str {
        match self {
            Self::Running if drained => "drained",
            Self::Running => "running",
            Self::BackingOff { .. } => "backing_off",
            Self::Paused(_) => "paused",
        }
    }
}

/// All consumers, by name.
pub(crate) type Consumers = BTreeMap<Name, Handle>;

/// How to reach a consumer. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Handle {
    pub(super) name: Name,
    pub(super) kind: &'static str,
    pub(super) orders: mpsc::Sender<Order>,
    pub(super) cursor: watch::Receiver<Offset>,
    pub(super) status: watch::Receiver<Status>,
    pub(super) around: Surroundings,
}

/// A consumer as it is now.
pub(crate) struct Listed {
    pub(crate) name: Name,
    pub(crate) kind: &'static str,
    pub(crate) cursor: Offset,
    pub(crate) end: Offset,
    pub(crate) lag: Duration,
    pub(crate) status: Status,
    pub(crate) replays: Vec<Replay>,
}

impl Listed {
    /// The word for its state.
    pub(crate) fn state(&self) -> &'static str {
        self.status.standing.as_str(self.cursor >= self.end && self.status.under_way == 0)
    }
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Handle {
    /// How it is now.
    pub(crate) async fn listed(&self) -> Result<Listed, OrderError> {
        let name = self.name.clone();
        let replays = self.with_state(move |state| state.replays(&name)).await?;
        let (cursor, end) = (*self.cursor.borrow(), *self.around.log.end().borrow());
        let status = self.status.borrow().clone();
        let lag = self.lag();
        let (name, kind) = (self.name.clone(), self.kind);
        Ok(Listed { name, kind, cursor, end, lag, status, replays })
    }

    /// How long ago the oldest event was received that it is not done with.
    pub(crate) fn lag(&self) -> Duration {
        let now = (self.around.clock)().unix_ms();
        let oldest = self.status.borrow().oldest_unread;
        let ms = oldest.map_or(0, |oldest| now - oldest.unix_ms());
        Duration::from_millis(u64::try_from(ms).unwrap_or(0))
    }

    /// The word for its state in metrics: paused by its destination, which said that it wants nothing more, is `gone`.
    pub(crate) fn state(&self) -> &'static str {
        let status = self.status.borrow();
        if let Standing::Paused(Pause { by, .. }) = &status.standing
            && by == "destination"
        {
            return "gone";
        }
        let drained = *self.cursor.borrow() >= *self.around.log.end().borrow();
        status.standing.as_str(drained && status.under_way == 0)
    }

    /// Delivers nothing more until it is resumed.
    pub(crate) async fn pause(&self, reason: String) -> Result<(), OrderError> {
        self.order(|done| Order::Pause { reason, done }).await
    }

    /// Goes on, and tries at once.
    pub(crate) async fn resume(&self) -> Result<(), OrderError> {
        self.order(|done| Order::Resume { done }).await
    }

    /// Goes on from there. Returns the offset behind which it goes on.
    pub(crate) async fn seek(&self, place: Place) -> Result<Offset, OrderError> {
        let to = self.find(place).await?;
        self.order(|done| Order::Seek { to, done }).await?;
        Ok(to)
    }

    /// Delivers what lies behind `from` up to `to` once more, as far as there is such and it was delivered before. Returns the
    /// range.
    pub(crate) async fn replay(
        &self,
        from: Place,
        to: Place,
    ) -> Result<(Offset, Offset), OrderError> {
        let after = self.find(from).await?;
        // Not an error if it is beyond the end: whoever wants the first 5000 gets as many as there are.
        let upto = self.find_any(to).await?.min(*self.cursor.borrow());
        if after >= upto {
            let message = "there is nothing to replay: the range ends before it begins, or the consumer has not \
                           delivered any of it yet";
            return Err(OrderError::Invalid(message.to_owned()));
        }
        let name = self.name.clone();
        if !self.with_state(move |state| state.add_replay(&name, after, upto)).await? {
            return Err(OrderError::Busy("too many replays wait already; let one end first"));
        }
        self.look_again().await?;
        Ok((after, upto))
    }

    /// Parked events behind `after`, in the order of the log.
    pub(crate) async fn parked(
        &self,
        after: Offset,
        limit: usize,
    ) -> Result<Vec<Parked>, OrderError> {
        let name = self.name.clone();
        self.with_state(move |state| state.parked_after(&name, after, limit)).await
    }

    /// The record of a parked event, if the log still has it.
    pub(crate) async fn record(&self, offset: Offset) -> Result<Option<Record>, OrderError> {
        let log = self.around.log.clone();
        let found = spawn_blocking(move || seek::record_at(&log, offset)).await;
        Ok(found.map_err(io::Error::other)??)
    }

    /// Delivers these parked events, or all, again. How many there are.
    pub(crate) async fn redrive(&self, which: Option<Vec<Offset>>) -> Result<usize, OrderError> {
        let name = self.name.clone();
        let count = self.with_state(move |state| state.redrive(&name, which.as_deref())).await?;
        self.look_again().await?;
        Ok(count)
    }

    /// Forgets these parked events, or all: none of them goes out again. How many there were.
    pub(crate) async fn drop_parked(
        &self,
        which: Option<Vec<Offset>>,
    ) -> Result<usize, OrderError> {
        let (dropped, answer) = oneshot::channel();
        self.send(Order::Drop { which, dropped }).await?;
        answer.await.unwrap_or(Err(OrderError::Stopping))
    }

    /// Leases events to a reader: at most `most`, waiting for the first one until `until`. `None` if there are none.
    pub(crate) async fn take(
        &self,
        most: usize,
        until: Instant,
    ) -> Result<Option<Lease>, OrderError> {
        let (taken, answer) = oneshot::channel();
        self.send(Order::Take { most, until, taken }).await?;
        // A consumer that stops has nothing more to give.
        answer.await.unwrap_or(Ok(None))
    }

    /// The reader is done with what it leased: `failed` is parked, what lies behind `upto` is given out again.
    pub(crate) async fn settle(
        &self,
        lease: String,
        upto: Option<Offset>,
        failed: BTreeMap<Offset, String>,
    ) -> Result<Settled, OrderError> {
        let (settled, answer) = oneshot::channel();
        self.send(Order::Settle { lease, upto, failed, settled }).await?;
        answer.await.unwrap_or(Err(OrderError::Stopping))
    }

    async fn find_any(&self, place: Place) -> Result<Offset, OrderError> {
        let log = self.around.log.clone();
        Ok(spawn_blocking(move || place.find(&log)).await.map_err(io::Error::other)??)
    }

    async fn find(&self, place: Place) -> Result<Offset, OrderError> {
        let end = *self.around.log.end().borrow();
        let found = self.find_any(place).await?;
        if found > end {
            let message = format!("the log ends at {end}, before {found}");
            return Err(OrderError::Invalid(message));
        }
        Ok(found)
    }

    async fn look_again(&self) -> Result<(), OrderError> {
        self.send(Order::LookAgain).await
    }

    async fn order(&self, order: impl FnOnce(Done) -> Order) -> Result<(), OrderError> {
        let (done, answer) = oneshot::channel();
        self.send(order(done)).await?;
        answer.await.unwrap_or(Err(OrderError::Stopping))
    }

    async fn send(&self, order: Order) -> Result<(), OrderError> {
        self.orders.send(order).await.map_err(|_| OrderError::Stopping)
    }

    async fn with_state<T: Send + 'static>(
        &self,
        work: impl FnOnce(&State) -> Result<T, StateError> + Send + 'static,
    ) -> Result<T, OrderError> {
        let state = self.around.state.clone();
        let done = spawn_blocking(move || work(&state)).await;
        Ok(done.map_err(io::Error::other)??)
    }
}
