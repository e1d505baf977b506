//! Answers come back: what they settle, what goes again, and what is given up for them.
//! Promises that each event of a request ends in one of the three. Deliberately sends nothing: what may go again waits for its turn.

use core::borrow::Borrow;

use super::{Carrying, Client};
use crate::config::Config;
use crate::platform::{Answer, DropReason, Listed, Now, Outcome, Report, Request};
use crate::queue::Durability;
use crate::transport::{Failed, Failure};

impl<C: Borrow<Config>> Client<C> {
    pub(super) fn answered(&mut self, request: Request, answer: Answer<'_>, now: Now) {
        let Some(at) = self.requests.iter().position(|carrying| carrying.request == request) else {
            return;
        };
        let carrying = self.requests.swap_remove(at);
        match answer {
            Answer::Delivered(listed) => self.delivered(&carrying, listed, now),
            Answer::Refused { status, retry_after_ms } => {
                self.failed(&carrying, status, retry_after_ms, now);
            }
            Answer::Unreachable => self.failed(&carrying, 0, 0, now),
        }
    }

    fn delivered(&mut self, carrying: &Carrying, listed: &[Listed], now: Now) {
        self.transport.delivered(carrying.request, self.config.borrow());
        let known = if carrying.asking { Outcome::Quarantined } else { Outcome::Accepted };
        let outcome_of = |index: u32| {
            listed.iter().find(|line| line.index == index).map_or(known, |line| line.outcome)
        };
        if let Some(index) = carrying.telling {
            let heard = matches!(outcome_of(index), Outcome::Accepted | Outcome::Quarantined);
            self.saved.drops.told(heard);
            self.unsaved = true;
        }
        let sure = self.ask_again_ms.is_some();
        for (index, (seq, numbered)) in (0u32..).zip(&carrying.events) {
            let outcome = outcome_of(index);
            if carrying.asking && outcome != Outcome::Duplicate {
                // It did not arrive, or not yet: the second time decides.
                let at_ms = now.monotonic_ms.saturating_add(self.config.borrow().doubt_ms);
                self.ask_again_ms.get_or_insert(at_ms);
                self.unsaved = true;
                if let Some(held) = self.queue.get_mut(*seq) {
                    held.in_flight = None;
                    held.doubt = !sure;
                }
                continue;
            }
            if outcome == Outcome::Refused {
                self.give_up(*seq, DropReason::Refused);
                continue;
            }
            let Some(held) = self.queue.remove(*seq) else { continue };
            self.forget(held.entry.key);
            if !numbered && held.durability != Durability::Unnumbered {
                // It went without its number, which was still being stored: nobody will ever see that number.
                self.saved.drops.add(*seq, DropReason::Unnumbered);
                self.unsaved = true;
            }
        }
    }

    fn failed(&mut self, carrying: &Carrying, status: u16, retry_after_ms: u64, now: Now) {
        // A server that does not know the question (a Segment-compatible one, an older collector) says anything, or nothing that a
        // page may read: what was in doubt goes again, unless the collector says that it has no time, or no ear for this key.
        let unasked = carrying.asking && !matches!(status, 401 | 403 | 408 | 425 | 429 | 500..=599);
        if carrying.telling.is_some() {
            self.saved.drops.told(false);
        }
        self.free(carrying, unasked || (status != 0 && !carrying.asking));
        let status = if unasked { 0 } else { status };
        let events = u32::try_from(carrying.events.len()).unwrap_or(u32::MAX);
        let failed = Failed { request: carrying.request, events, status, retry_after_ms };
        let failure =
            self.transport.failed(failed, now.monotonic_ms, self.config.borrow(), &mut self.random);
        self.unsaved = true;
        self.turn_open = true;
        match failure {
            Failure::Again => self.drop_too_old(now),
            Failure::Smaller => {}
            Failure::Stop => self.report(Report::Stopped { status }),
            Failure::Poison => {
                let reason = if status == 413 { DropReason::TooLarge } else { DropReason::Refused };
                for (seq, _) in &carrying.events {
                    self.give_up(*seq, reason);
                }
            }
        }
    }

    /// Its events may go again. Without an answer they may have arrived; one that went without its number is asked for then, since
    /// otherwise nobody would know that its number never comes.
    fn free(&mut self, carrying: &Carrying, sure: bool) {
        for held in self.queue.iter_mut() {
            if held.in_flight == Some(carrying.request) {
                held.in_flight = None;
                held.doubt &= !sure && (carrying.asking || held.bare);
                self.doubting |= held.doubt;
            }
        }
    }
}
