//! Events go out: what is due in one request, what is asked about first, and what a page sends as it is left.
//! Promises one request at a time but for that last one, and that nothing overtakes what is in doubt.
//! Deliberately knows nothing of answers.

use alloc::vec::Vec;
use core::borrow::Borrow;

use super::{Carrying, Client};
use crate::batcher::{self, Waiting};
use crate::config::Config;
use crate::platform::{Effect, Now, Outgoing, Request, Sending};
use crate::queue::Durability;
use crate::transport::State;

impl<C: Borrow<Config>> Client<C> {
    pub(super) fn send_if_due(&mut self, now: Now) {
        let (events, bytes) = self.queue.ready();
        if events == 0 {
            self.waiting_since_ms = None;
            return;
        }
        let since_ms = *self.waiting_since_ms.get_or_insert(now.monotonic_ms);
        if !self.may_send() {
            return;
        }
        let waiting = Waiting { events, bytes, since_ms };
        let due = batcher::due_at_ms(waiting, self.transport.last_sent_ms, self.config.borrow());
        let mut picked = Vec::new();
        if self.doubting {
            // Nothing overtakes what is in doubt.
            if self.ask_again_ms.is_some_and(|at_ms| at_ms > now.monotonic_ms) {
                return;
            }
            self.doubting = false;
            for held in self.queue.iter().filter(|held| held.doubt).take(MAX_ASKED) {
                self.doubting = true;
                if held.ready() {
                    picked.push(held.seq);
                }
            }
            if self.doubting && picked.is_empty() {
                return;
            }
        }
        if !self.doubting {
            if due > now.monotonic_ms && !self.flushing() {
                return;
            }
            if self.storage_failing {
                // What is in memory alone should go in requests that can outlive the page.
                self.transport.growth = 1;
            }
            let max_bytes = self.config.borrow().max_batch_bytes;
            for held in batcher::pick(
                self.queue.ready_events(),
                self.transport.batch_events(),
                max_bytes.saturating_mul(self.transport.growth.max(1)),
            ) {
                picked.push(held.seq);
            }
        }
        let request = self.send(&picked, false, now);
        self.transport.sent(request, now.monotonic_ms);
        if self.queue.ready().0 == 0 {
            self.waiting_since_ms = None;
            self.transport.growth = 0;
        }
    }

    pub(super) fn may_send(&self) -> bool {
        self.transport.state == State::Ready && self.requests.is_empty() && !self.loading
    }

    fn flushing(&self) -> bool {
        self.queue.ready_events().next().is_some_and(|first| first.seq < self.flush_to_seq)
    }

    /// Sends all that was not sent yet, as far as the browsers' budget for requests that outlive a page goes, beside the
    /// request under way, and notes both: whoever comes back asks the collector what of it arrived.
    pub(super) fn leave(&mut self, now: Now) {
        let silent = match self.transport.state {
            State::Ready | State::InFlight(_) => false,
            State::BackingOff { demanded, .. } => demanded,
            State::Stopped => true,
        };
        if silent {
            return;
        }
        let mut budget = self.config.borrow().leaving_bytes;
        for carrying in self.requests.iter().filter(|carrying| !carrying.asking) {
            for (seq, numbered) in &carrying.events {
                if let Some(held) = self.queue.get_mut(*seq) {
                    budget = budget.saturating_sub(held.entry.bytes);
                    held.doubt = true;
                    held.bare |= !numbered;
                }
            }
            self.unsaved = true;
            self.turn_open = true;
        }
        let mut picked = Vec::new();
        for held in self.queue.not_in_flight() {
            if held.doubt {
                continue;
            }
            let Some(left) = budget.checked_sub(held.entry.bytes) else { break };
            budget = left;
            picked.push(held.seq);
        }
        if !picked.is_empty() {
            self.send(&picked, true, now);
        }
    }

    fn send(&mut self, picked: &[u64], leaving: bool, now: Now) -> Request {
        let request = Request(self.next_request);
        self.next_request = self.next_request.wrapping_add(1);
        let asking = self.doubting && !leaving;
        let mut events = Vec::new();
        let mut carried = Vec::new();
        // Drops are told with an event that the collector cannot have seen: only then is it certain to keep them.
        let mut dropped_at = None;
        for (index, seq) in (0u32..).zip(picked) {
            let Some(held) = self.queue.get_mut(*seq) else { continue };
            let mut numbered = held.durability == Durability::Committed;
            if asking {
                numbered = !held.bare;
            } else if leaving {
                held.doubt = true;
                held.bare |= !numbered;
            }
            if numbered && !held.maybe_seen && dropped_at.is_none() && self.saved.drops.can_tell() {
                dropped_at = Some(index);
            }
            held.in_flight = Some(request);
            held.maybe_seen = true;
            events.push(Outgoing { key: held.entry.key, numbered });
            carried.push((*seq, numbered));
        }
        let dropped = if dropped_at.is_some() { self.saved.drops.tell() } else { Vec::new() };
        if leaving {
            self.unsaved = true;
            self.turn_open = true;
        }
        self.requests.push(Carrying {
            request,
            events: carried,
            telling: dropped_at,
            started_ms: now.monotonic_ms,
            asking,
        });
        let dropped_at = dropped_at.unwrap_or(0);
        let sending = Sending { request, events, dropped, dropped_at, leaving, asking };
        self.effects.push(Effect::Send(sending));
        request
    }
}

/// Events that one question asks about: more than a page can send while it is left.
const MAX_ASKED: usize = 100;
