//! What a consumer knows of the other side, and whom it blames for a failure: the destination, or one event.
//! Promises that nothing is blamed for a failure that it shares with another event, so that a destination that is down
//! costs no event its place; and that events that fail while others pass are found, however many they are.
//! Deliberately has no clock, no randomness and no I/O: they are handed in.
//!
//! ```text
//!            ┌── an event fails ──▶ Doubtful ── another event fails ──▶ Probed ◀── time ──┐
//!  Healthy ──┤                       │  ▲                             │  ▲ │             │
//!     ▲      └─ Retry-After ─────────│──┼─────────────────────────────│──┼─│──▶ BackingOff
//!     │                              │  └─ a suspect fails            │  │ └─ so do all ─▶┘
//!     └── another passes: blame it ──┘                                │  └─ another fails
//!     └────────────────────────────────────────────────── one passes ─┘
//! ```
//!
//! A suspect is an event that has failed before: that it fails again says little of the destination.

use std::time::Duration;

use tokio::time::Instant;

use super::lanes::Ticket;
use crate::limits::{PROBES, UNTRIED_PAUSE};

/// What is known of the other side.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Destination {
    /// It takes events, or nothing else is known.
    Healthy,
    /// These deliveries failed, and nothing passed since: it may be they, or the destination. They rest, and others go, one
    /// at a time. More than one only if the others had failed before.
    Doubtful { accused: Vec<Vec<Ticket>>, failure: Failure },
    /// Different events failed: more of them are tried, one at a time, since it may be just these. So many have failed.
    Probed { failure: Failure, tried: u32 },
    /// All that were tried failed, or it asked to be left alone: it is, until then.
    BackingOff { failure: Failure, asked: bool },
}

/// The last failure.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Failure {
    /// How many there were in a row.
    pub(super) count: u32,
    /// What was said.
    pub(super) reason: String,
    /// When it was.
    pub(super) at: Instant,
    /// When it is tried again.
    pub(super) until: Instant,
}

/// A delivery that the destination could not take.
pub(super) struct Failed<'a> {
    pub(super) tickets: &'a [Ticket],
    /// How often it has failed, this time included.
    pub(super) attempts: u32,
    pub(super) reason: &'a str,
    /// What the destination asked for.
    pub(super) retry_after: Option<Duration>,
    pub(super) now: Instant,
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
    /// It answers again. These rest as accused and are cleared.
    Back(Vec<Ticket>),
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

    /// The last failure, unless all is well.
    pub(super) fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Healthy => None,
            Self::Doubtful { failure, .. }
            | Self::Probed { failure, .. }
            | Self::BackingOff { failure, .. } => Some(failure),
        }
    }

    /// The destination could not take these. `pause` says how long to wait after so many failures in a row.
    pub(super) fn failed(
        &mut self,
        failed: &Failed<'_>,
        pause: impl Fn(u32) -> Duration,
    ) -> AfterFailure {
        let &Failed { tickets, attempts, reason, retry_after, now } = failed;
        let failure = |count: u32| {
            let wait = pause(count).max(retry_after.unwrap_or_default());
            Failure { count, reason: reason.to_owned(), at: now, until: now + wait }
        };
        // Who says when to come back speaks for itself, not of an event.
        let asked = retry_after.is_some();
        let suspected = attempts > 1;
        let mut after = AfterFailure { rest: false, cleared: Vec::new() };
        *self = match std::mem::replace(self, Self::Healthy) {
            Self::Healthy if asked => Self::BackingOff { failure: failure(1), asked },
            Self::Healthy => {
                after.rest = true;
                Self::Doubtful { accused: vec![tickets.to_vec()], failure: failure(attempts) }
            }
            Self::Doubtful { mut accused, .. } if suspected && !asked => {
                after.rest = true;
                accused.retain(|delivery| !delivery.iter().any(|one| tickets.contains(one)));
                accused.push(tickets.to_vec());
                Self::Doubtful { accused, failure: failure(attempts) }
            }
            Self::Doubtful { accused, .. } => {
                after.cleared = accused.into_iter().flatten().collect();
                after.cleared.retain(|ticket| !tickets.contains(ticket));
                match asked {
                    true => Self::BackingOff { failure: failure(1), asked },
                    false => Self::Probed { failure: failure(1), tried: 2 },
                }
            }
            // Others that were under way when the first failed: one outage counts once.
            Self::BackingOff { failure: last, asked: before } => {
                let mut failure = failure(last.count);
                failure.until = failure.until.max(last.until);
                Self::BackingOff { failure, asked: before || asked }
            }
            Self::Probed { failure: last, tried } => {
                let tried = if suspected { tried.max(1) } else { tried + 1 };
                match asked || tried >= PROBES {
                    true => {
                        let failure = failure(last.count.saturating_add(1));
                        Self::BackingOff { failure, asked }
                    }
                    false => Self::Probed { failure: Failure { at: now, ..last }, tried },
                }
            }
        };
        after
    }

    /// Something failed, and there is nothing else to try: the destination is left alone for a while.
    pub(super) fn leave_alone(&mut self, now: Instant, pause: impl Fn(u32) -> Duration) {
        if let Self::Probed { failure, tried: 1.. } = self {
            let count = failure.count.saturating_add(1);
            let reason = std::mem::take(&mut failure.reason);
            let failure = Failure { count, reason, at: now, until: now + pause(count) };
            *self = Self::BackingOff { failure, asked: false };
        }
    }

    /// The destination took these. `suspected`: they had failed before.
    pub(super) fn passed(&mut self, tickets: &[Ticket], suspected: bool) -> AfterPass {
        match std::mem::replace(self, Self::Healthy) {
            Self::Healthy => AfterPass::Nothing,
            Self::Doubtful { mut accused, failure } => {
                accused.retain(|delivery| !delivery.iter().any(|one| tickets.contains(one)));
                match accused.is_empty() || (suspected && accused.len() > 1) {
                    // Of several that have failed one passes after all: a destination that comes and goes.
                    true => AfterPass::Back(accused.into_iter().flatten().collect()),
                    false => AfterPass::Blame(accused, failure.reason),
                }
            }
            // Under way since before; what was asked for still holds.
            asked @ Self::BackingOff { asked: true, .. } => {
                *self = asked;
                AfterPass::Nothing
            }
            Self::BackingOff { failure, .. } => {
                *self = Self::Probed { failure, tried: 0 };
                AfterPass::Nothing
            }
            Self::Probed { .. } => AfterPass::Back(Vec::new()),
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

    /// When it may be tried again; `untried`: there is an event that has not failed yet.
    pub(super) fn probed_at(&self, untried: bool) -> Option<Instant> {
        match self {
            Self::BackingOff { failure, asked: false } if untried => {
                Some(failure.until.min(failure.at + UNTRIED_PAUSE))
            }
            Self::BackingOff { failure, .. } => Some(failure.until),
            _ => None,
        }
    }

    /// The time of the pause has come.
    pub(super) fn probe(&mut self) {
        if let Self::BackingOff { failure, .. } = self {
            *self = Self::Probed { failure: failure.clone(), tried: 0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const A: Ticket = Ticket::Log(1);
    const B: Ticket = Ticket::Log(2);

    fn seconds(count: u32) -> Duration {
        Duration::from_secs(u64::from(count))
    }

    fn fail(destination: &mut Destination, ticket: Ticket, attempts: u32) -> AfterFailure {
        let (reason, now) = ("500", Instant::now());
        let tickets = &[ticket];
        destination.failed(&Failed { tickets, attempts, reason, retry_after: None, now }, seconds)
    }

    #[test]
    fn an_event_is_blamed_when_another_passes_after_it() {
        let mut destination = Destination::Healthy;
        assert!(fail(&mut destination, A, 1).rest);
        assert_eq!(destination.most(16), 1);
        assert_eq!(destination.passed(&[B], false), AfterPass::Blame(vec![vec![A]], "500".into()));
        assert_eq!(destination, Destination::Healthy);
        // And not when it passes itself.
        fail(&mut destination, A, 1);
        assert_eq!(destination.passed(&[A], true), AfterPass::Back(vec![]));
    }

    #[test]
    fn a_failure_that_is_shared_is_nobody_s_fault_and_others_are_tried_before_it_is_the_destination_s()
     {
        let mut destination = Destination::Healthy;
        fail(&mut destination, A, 1);
        let after = fail(&mut destination, B, 1);
        assert_eq!(after, AfterFailure { rest: false, cleared: vec![A] });
        assert_eq!(destination.clone().passed(&[Ticket::Log(3)], false), AfterPass::Back(vec![]));
        for ticket in 3..=u64::from(PROBES) {
            assert_eq!(destination.most(16), 1, "before {ticket}");
            fail(&mut destination, Ticket::Log(ticket), 1);
        }
        assert_eq!((destination.most(16), destination.failure().unwrap().count), (0, 2));
        fail(&mut destination, A, 2);
        assert_eq!(destination.failure().unwrap().count, 2, "one outage counts once");
        destination.probe();
        fail(&mut destination, B, 2);
        assert_eq!(destination.most(16), 1, "there may be others");
        destination.leave_alone(Instant::now(), seconds);
        assert_eq!((destination.most(16), destination.failure().unwrap().count), (0, 3));
        destination.probe();
        destination.leave_alone(Instant::now(), seconds);
        assert_eq!(destination.most(16), 1, "not before something was tried");
        assert_eq!(destination.passed(&[A], true), AfterPass::Back(vec![]));
    }

    #[test]
    fn one_that_was_under_way_and_passes_ends_the_pause() {
        let mut destination = Destination::Healthy;
        (0..20).for_each(|ticket| drop(fail(&mut destination, Ticket::Log(ticket), 1)));
        assert_eq!(destination.most(16), 0);
        assert_eq!(destination.passed(&[Ticket::Log(21)], false), AfterPass::Nothing);
        assert_eq!(destination.most(16), 1);
    }

    #[test]
    fn an_event_that_was_not_tried_need_not_wait_for_the_end_of_a_long_pause() {
        let mut destination = Destination::Healthy;
        let (reason, now, day) = ("500", Instant::now(), Duration::from_secs(24 * 3600));
        for ticket in 0..20 {
            let tickets = &[Ticket::Log(ticket)];
            let failed = Failed { tickets, attempts: 1, reason, retry_after: None, now };
            destination.failed(&failed, |_| day);
        }
        assert_eq!(destination.probed_at(false), Some(now + day));
        assert_eq!(destination.probed_at(true), Some(now + UNTRIED_PAUSE));
    }

    #[test]
    fn suspects_are_blamed_together_by_one_above_suspicion_and_cleared_by_one_of_them() {
        let c = Ticket::Log(3);
        let mut destination = Destination::Healthy;
        for suspect in [A, B, A] {
            assert!(fail(&mut destination, suspect, 2).rest);
        }
        assert_eq!(
            destination.clone().passed(&[c], false),
            AfterPass::Blame(vec![vec![B], vec![A]], "500".into())
        );
        assert_eq!(destination.clone().passed(&[c], true), AfterPass::Back(vec![B, A]));
        assert_eq!(
            destination.clone().passed(&[B], true),
            AfterPass::Blame(vec![vec![A]], "500".into())
        );
        assert_eq!(fail(&mut destination, c, 1), AfterFailure { rest: false, cleared: vec![B, A] });
    }

    #[test]
    fn alone_it_is_tried_less_and_less_and_never_blamed() {
        let mut destination = Destination::Healthy;
        for count in 1..20 {
            assert!(fail(&mut destination, A, count).rest);
            assert_eq!(destination.failure().unwrap().count, count);
        }
        assert_eq!(destination.passed(&[A], true), AfterPass::Back(vec![]));
    }

    #[test]
    fn a_destination_that_says_when_speaks_for_itself() {
        let mut destination = Destination::Healthy;
        let (now, hour) = (Instant::now(), Duration::from_secs(3600));
        let retry_after = Some(hour);
        let failed = Failed { tickets: &[A], attempts: 1, reason: "503", retry_after, now };
        assert!(!destination.failed(&failed, seconds).rest);
        assert_eq!(destination.probed_at(true), Some(now + hour));
        assert_eq!(destination.passed(&[B], false), AfterPass::Nothing, "the wish still holds");
        assert_eq!(destination.most(16), 0);
    }

    proptest! {
        #[test]
        fn nobody_is_blamed_by_a_destination_that_is_down(
            tickets in prop::collection::vec(0_u64..20, 1..80),
        ) {
            let mut destination = Destination::Healthy;
            let mut attempts = [0; 20];
            for ticket in tickets {
                if destination.most(16) == 0 {
                    destination.probe();
                }
                let tried = &mut attempts[usize::try_from(ticket).unwrap()];
                *tried += 1;
                fail(&mut destination, Ticket::Log(ticket), *tried);
                prop_assert!(destination != Destination::Healthy);
            }
        }
    }
}
