//! What a consumer knows of the other side, and whom it blames for a failure: the destination, or one event.
//! Promises that nothing is blamed for a failure that it shares with another event, so that a destination that is down
//! costs no event its place; and that an event that fails while others pass is found.
//! Deliberately has no clock, no randomness and no I/O: they are handed in.
//!
//! ```text
//!            ┌── an event fails ──▶ Doubtful ── another event fails ──▶ BackingOff ◀─┐ fails
//!  Healthy ──┤                        │  ▲                                │  ▲       │
//!     ▲      └─ Retry-After ──────────│──┼───────────────────────────▶    │  └──── Probed
//!     └──── another passes: blame it ─┘  └─ the same one fails again      └─ time ──▶│
//!     └───────────────────────────────────────────────────────────────── it passes ──┘
//! ```

use std::time::Duration;

use tokio::time::Instant;

use super::lanes::Ticket;

/// What is known of the other side.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Destination {
    /// It takes events, or nothing else is known.
    Healthy,
    /// These deliveries failed, and nothing passed since: it may be they, or the destination. They rest, and others go, one
    /// at a time. More than one only if the others had failed before while others passed.
    Doubtful { accused: Vec<Vec<Ticket>>, failure: Failure },
    /// Different events failed, or it asked to be left alone: it is, until then.
    BackingOff { failure: Failure },
    /// It has been left alone, and gets one delivery to show that it is back.
    Probed { failure: Failure },
}

/// The last failure.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Failure {
    /// How many there were in a row.
    pub(super) count: u32,
    /// What was said.
    pub(super) reason: String,
    /// When it is tried again.
    pub(super) until: Instant,
}

/// What to do with events that failed.
#[derive(Debug, PartialEq)]
pub(super) struct AfterFailure {
    /// Whether they rest until the failure's time; else they may go when the destination may be tried.
    pub(super) rest: bool,
    /// Events that rest as accused and are cleared: they may go as well.
    pub(super) cleared: Vec<Ticket>,
}

/// What follows from a delivery that passed.
#[derive(Debug, PartialEq)]
pub(super) enum AfterPass {
    /// Nothing new.
    Nothing,
    /// It answers again.
    Back,
    /// These failed although the destination takes others: the reason that was given then.
    Blame(Vec<Vec<Ticket>>, String),
}

impl Destination {
    /// How many deliveries may be under way.
    pub(super) fn most(&self, when_healthy: usize) -> usize {
        match self {
            Self::Healthy => when_healthy,
            Self::Doubtful { .. } | Self::Probed { .. } => 1,
            Self::BackingOff { .. } => 0,
        }
    }

    /// Whether this one should not be tried next, where there are others.
    pub(super) fn accuses(&self, ticket: Ticket) -> bool {
        matches!(self, Self::Doubtful { accused, .. } if accused.iter().flatten().any(|one| *one == ticket))
    }

    /// The last failure, unless all is well.
    pub(super) fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Healthy => None,
            Self::Doubtful { failure, .. }
            | Self::BackingOff { failure }
            | Self::Probed { failure } => Some(failure),
        }
    }

    /// The destination could not take these. `suspected`: they have failed before while others passed, so that this says
    /// little of the destination. `pause` says how long to wait after so many failures in a row.
    pub(super) fn failed(
        &mut self,
        tickets: &[Ticket],
        suspected: bool,
        reason: &str,
        retry_after: Option<Duration>,
        now: Instant,
        pause: impl Fn(u32) -> Duration,
    ) -> AfterFailure {
        let failure = |count: u32| {
            let wait = pause(count).max(retry_after.unwrap_or_default());
            Failure { count, reason: reason.to_owned(), until: now + wait }
        };
        let mut after = AfterFailure { rest: false, cleared: Vec::new() };
        *self = match std::mem::replace(self, Self::Healthy) {
            // Who says when to come back speaks for itself, not of an event.
            Self::Healthy if retry_after.is_none() => {
                after.rest = true;
                Self::Doubtful { accused: vec![tickets.to_vec()], failure: failure(1) }
            }
            Self::Healthy => Self::BackingOff { failure: failure(1) },
            Self::Doubtful { mut accused, failure: last } => {
                let known =
                    |delivery: &Vec<Ticket>| delivery.iter().any(|one| tickets.contains(one));
                let again = accused.iter().any(known);
                if retry_after.is_none() && (again || suspected) {
                    after.rest = true;
                    accused.retain(|delivery| !known(delivery));
                    let count = if again { last.count.saturating_add(1) } else { last.count };
                    accused.push(tickets.to_vec());
                    Self::Doubtful { accused, failure: failure(count) }
                } else {
                    after.cleared = accused.into_iter().flatten().collect();
                    after.cleared.retain(|ticket| !tickets.contains(ticket));
                    Self::BackingOff { failure: failure(last.count) }
                }
            }
            // Others that were under way when the first failed: one outage counts once.
            Self::BackingOff { failure: last } => {
                let mut failure = failure(last.count);
                failure.until = failure.until.max(last.until);
                Self::BackingOff { failure }
            }
            Self::Probed { failure: last } => {
                Self::BackingOff { failure: failure(last.count.saturating_add(1)) }
            }
        };
        after
    }

    /// The destination took these.
    pub(super) fn passed(&mut self, tickets: &[Ticket]) -> AfterPass {
        match std::mem::replace(self, Self::Healthy) {
            Self::Healthy => AfterPass::Nothing,
            Self::Doubtful { mut accused, failure } => {
                accused.retain(|delivery| !delivery.iter().any(|one| tickets.contains(one)));
                match accused.is_empty() {
                    true => AfterPass::Back,
                    false => AfterPass::Blame(accused, failure.reason),
                }
            }
            // Under way since before; what was asked for or found out since still holds.
            backing_off @ Self::BackingOff { .. } => {
                *self = backing_off;
                AfterPass::Nothing
            }
            Self::Probed { .. } => AfterPass::Back,
        }
    }

    /// The destination answered, without taking anything. Returns accused events that may go again.
    pub(super) fn answered(&mut self) -> Vec<Ticket> {
        match std::mem::replace(self, Self::Healthy) {
            Self::Doubtful { accused, .. } => accused.into_iter().flatten().collect(),
            backing_off @ Self::BackingOff { .. } => {
                *self = backing_off;
                Vec::new()
            }
            Self::Healthy | Self::Probed { .. } => Vec::new(),
        }
    }

    /// The time of the pause has come.
    pub(super) fn probe(&mut self) {
        if let Self::BackingOff { failure } = self {
            *self = Self::Probed { failure: failure.clone() };
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const A: Ticket = Ticket::Log(1);
    const B: Ticket = Ticket::Log(2);

    fn fail(destination: &mut Destination, ticket: Ticket) -> AfterFailure {
        let pause = |failures| Duration::from_secs(u64::from(failures));
        destination.failed(&[ticket], false, "500", None, Instant::now(), pause)
    }

    #[test]
    fn an_event_is_blamed_when_another_passes_after_it() {
        let mut destination = Destination::Healthy;
        assert!(fail(&mut destination, A).rest);
        assert_eq!(
            (destination.most(16), destination.accuses(A), destination.accuses(B)),
            (1, true, false)
        );
        assert_eq!(destination.passed(&[B]), AfterPass::Blame(vec![vec![A]], "500".into()));
        assert_eq!(destination, Destination::Healthy);
        // And not when it passes itself.
        fail(&mut destination, A);
        assert_eq!(destination.passed(&[A]), AfterPass::Back);
    }

    #[test]
    fn a_failure_that_is_shared_is_nobody_s_fault() {
        let mut destination = Destination::Healthy;
        fail(&mut destination, A);
        let after = fail(&mut destination, B);
        assert_eq!(after, AfterFailure { rest: false, cleared: vec![A] });
        assert_eq!(destination.most(16), 0);
        fail(&mut destination, A);
        assert_eq!(destination.failure().unwrap().count, 1, "one outage counts once");
        destination.probe();
        fail(&mut destination, B);
        assert_eq!(destination.failure().unwrap().count, 2);
        destination.probe();
        assert_eq!(destination.passed(&[A]), AfterPass::Back);
    }

    #[test]
    fn suspects_are_blamed_together_and_cleared_by_one_that_is_above_suspicion() {
        let pause = |_| Duration::from_secs(1);
        let c = Ticket::Log(3);
        let mut destination = Destination::Healthy;
        for suspect in [A, B] {
            assert!(destination.failed(&[suspect], true, "500", None, Instant::now(), pause).rest);
        }
        assert_eq!(
            destination.clone().passed(&[c]),
            AfterPass::Blame(vec![vec![A], vec![B]], "500".into())
        );
        assert_eq!(destination.clone().passed(&[B]), AfterPass::Blame(vec![vec![A]], "500".into()));
        assert_eq!(fail(&mut destination, c), AfterFailure { rest: false, cleared: vec![A, B] });
    }

    #[test]
    fn alone_it_is_tried_less_and_less_and_never_blamed() {
        let mut destination = Destination::Healthy;
        for count in 1..20 {
            assert!(fail(&mut destination, A).rest);
            assert_eq!(destination.failure().unwrap().count, count);
        }
        assert_eq!(destination.passed(&[A]), AfterPass::Back);
    }

    #[test]
    fn a_destination_that_says_when_speaks_for_itself() {
        let mut destination = Destination::Healthy;
        let (now, hour) = (Instant::now(), Duration::from_secs(3600));
        let pause = |_| Duration::from_secs(1);
        let after = destination.failed(&[A], false, "503", Some(hour), now, pause);
        assert!(!after.rest);
        assert_eq!(destination.failure().unwrap().until, now + hour);
        assert_eq!(destination.passed(&[B]), AfterPass::Nothing, "the wish still holds");
        assert_eq!(destination.most(16), 0);
    }

    proptest! {
        #[test]
        fn nobody_is_blamed_by_a_destination_that_is_down(
            tickets in prop::collection::vec(0_u64..5, 1..80),
        ) {
            let mut destination = Destination::Healthy;
            for ticket in tickets {
                if destination.most(16) == 0 {
                    destination.probe();
                }
                fail(&mut destination, Ticket::Log(ticket));
                prop_assert!(destination != Destination::Healthy);
            }
        }
    }
}
