//! Events come in, new or from storage, are numbered, become durable, and are given up where bounds, age or consent demand it.
//! Promises that an event that is given up is reported, and what a page that was left may have sent is marked as doubtful.
//! Deliberately sends nothing.

use core::borrow::Borrow;

use super::Client;
use crate::config::Config;
use crate::platform::{Consent, DropReason, Effect, Entry, Key, Now, Report, Stamp, Turn};
use crate::queue::{Durability, Held};
use crate::saved::Left;
use crate::session;
use crate::transport::State;

impl<C: Borrow<Config>> Client<C> {
    /// Numbers a new event, and keeps it if it may be kept; without a number until its category is answered for.
    pub(super) fn admit(&mut self, entry: Entry) {
        let Consent { pending, denied } = self.saved.consent;
        if entry.is_in(denied) {
            return self.forget(entry.key);
        }
        if entry.is_in(pending) {
            self.turn_open = true;
            let stamp = Stamp { seq: 0, session_ms: 0, session_start: false };
            self.effects.push(Effect::Store { key: entry.key, stamp });
            // Its key is unlike any other's, and so is what stands for its number.
            let _ = self.queue.insert(Held::unanswered(entry));
            return;
        }
        let (session, session_start) = session::admit(
            self.saved.session,
            self.session_ended,
            entry.at_ms,
            entry.campaign,
            self.config.borrow().session_ms,
        );
        self.saved.session = Some(session);
        self.session_ended = false;
        let seq = self.saved.next_seq;
        self.saved.next_seq += 1;
        self.unsaved = true;
        if entry.bytes > self.config.borrow().max_event_bytes {
            self.forget(entry.key);
            return self.dropped(entry, seq, DropReason::TooLarge);
        }
        self.turn_open = true;
        let stamp = Stamp { seq, session_ms: session.start_ms, session_start };
        self.effects.push(Effect::Store { key: entry.key, stamp });
        // The number is new, so that the queue has none like it.
        let _ = self.queue.insert(Held::storing(entry, seq, self.turn));
    }

    pub(super) fn loaded(&mut self, entries: &[(Entry, Option<Stamp>)], more: bool) {
        for (entry, stamp) in entries {
            // A number of a queue whose identity is gone, one that was never given, or one that two events claim, is worth
            // nothing: such an event is numbered anew.
            let known = stamp
                .filter(|stamp| self.stamps_known && (1..self.saved.next_seq).contains(&stamp.seq));
            match known {
                Some(Stamp { seq, .. }) => {
                    let mut held = Held::committed(*entry, seq);
                    held.doubt = (self.saved.left.first..self.saved.left.end).contains(&seq);
                    // Outside of what was noted nobody knows: a page that was killed may have sent it, and its note is lost.
                    held.bare = !held.doubt || seq >= self.saved.left.bare;
                    self.doubting |= held.doubt;
                    if !self.queue.insert(held) {
                        self.admit(*entry);
                    }
                }
                _ => {
                    let seq = self.saved.next_seq;
                    self.admit(*entry);
                    if stamp.is_some_and(|stamp| stamp.seq == 0)
                        && let Some(held) = self.queue.get_mut(seq)
                    {
                        held.doubt = true;
                        held.bare = true;
                        self.doubting = true;
                    }
                }
            }
        }
        self.loading = false;
        if more || core::mem::take(&mut self.load_again) {
            self.load();
        }
    }

    pub(super) fn load(&mut self) {
        self.loading = true;
        self.effects.push(Effect::Load { limit: self.config.borrow().load_limit });
    }

    pub(super) fn committed(&mut self, turn: Turn, durable: bool) {
        // A turn that fails takes with it the ones asked for since.
        for held in self.queue.iter_mut() {
            match held.durability {
                Durability::Storing(stored_in) if durable && stored_in <= turn => {
                    held.durability = Durability::Committed;
                }
                Durability::Storing(_) if !durable => {
                    held.durability = Durability::Unnumbered;
                    self.saved.drops.add(held.seq, DropReason::Unnumbered);
                    self.turn_open = true;
                }
                _ => {}
            }
        }
        if !durable {
            // What it was to save is still to be saved, by the next turn that there is a reason for.
            self.unsaved = true;
            if !self.storage_failing {
                self.report(Report::NotDurable);
            }
        }
        self.storage_failing = !durable;
    }

    pub(super) fn consented(&mut self, consent: Consent) {
        self.saved.consent = consent;
        self.unsaved = true;
        self.turn_open = true;
        if consent == Consent::DENIED {
            self.queue.clear();
            self.saved.drops.clear();
            self.requests.clear();
            self.saved.session = None;
            // What is purged must not be recognised by what comes after it.
            self.saved.left = Left::default();
            self.saved.queue_id = self.random.id();
            self.saved.next_seq = 1;
            if let State::InFlight(_) = self.transport.state {
                self.transport.state = State::Ready;
            }
            self.effects.push(Effect::Purge);
        }
    }

    /// Looks anew at what was answered for otherwise since. What a request carries is looked at when that has its answer.
    pub(super) fn keep_consent(&mut self) {
        let Consent { pending, denied } = self.saved.consent;
        while let Some(seq) = self.queue.first_answered(pending, denied)
            && let Some(held) = self.queue.remove(seq)
        {
            if held.is_numbered() {
                let no = held.entry.is_in(denied);
                let reason = if no { DropReason::Denied } else { DropReason::Unnumbered };
                self.saved.drops.add(held.seq, reason);
                self.unsaved = true;
            }
            // Which numbers it, keeps it without a number, or forgets it.
            self.admit(held.entry);
        }
    }

    pub(super) fn keep_bounds(&mut self) {
        while let Some(seq) = self.queue.least_important(
            self.config.borrow().max_queue_events,
            self.config.borrow().max_queue_bytes,
        ) {
            self.give_up(seq, DropReason::QueueFull);
        }
    }

    /// Gives up what is too old. Only after a failure: what can be delivered is, whatever its age and whatever the device's
    /// clock says of it.
    pub(super) fn drop_too_old(&mut self, now: Now) {
        let since_start = now.monotonic_ms.saturating_sub(self.started.monotonic_ms);
        let unix_ms = self.started.unix_ms.saturating_add(since_start);
        let oldest_ms = unix_ms.saturating_sub(self.config.borrow().max_age_ms);
        while let Some(seq) = self.queue.older_than(oldest_ms) {
            self.give_up(seq, DropReason::TooOld);
        }
    }

    pub(super) fn give_up(&mut self, seq: u64, reason: DropReason) {
        if let Some(held) = self.queue.remove(seq) {
            self.forget(held.entry.key);
            if held.is_numbered() {
                self.dropped(held.entry, seq, reason);
            } else {
                self.report(Report::Dropped { key: held.entry.key, reason });
            }
        }
    }

    fn dropped(&mut self, entry: Entry, seq: u64, reason: DropReason) {
        self.saved.drops.add(seq, reason);
        self.unsaved = true;
        self.report(Report::Dropped { key: entry.key, reason });
    }

    pub(super) fn forget(&mut self, key: Key) {
        self.turn_open = true;
        self.effects.push(Effect::Forget { key });
    }
}
