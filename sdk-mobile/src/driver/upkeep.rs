//! The thread that does what no call should wait for: it wakes the core, tells the host, moves the log beside the file into it, looks for
//! what other processes wrote, and takes over when the one that led is gone. Promises to sleep while there is nothing to do.

use std::{
    sync::{Arc, PoisonError, atomic::Ordering::SeqCst},
    time::Duration,
};

use headwater_core::platform::{Input, Now};

use super::{
    Beside, CHECKPOINT_COMMITS, Driver, Listener, Settings,
    inner::{Inner, Role},
};
use crate::storage;

impl Driver {
    /// Runs until the client is closed.
    pub(crate) fn keep_up(self: Arc<Self>, listener: &dyn Listener) {
        let mut beside = Beside::default();
        while let Some(notices) = self.one_round(&mut beside) {
            for notice in notices {
                listener.hear(notice);
            }
        }
    }

    /// Sleeps until there is something to do and does it; what is to be told is given back, so that nobody is told under the lock.
    fn one_round(&self, beside: &mut Beside) -> Option<Vec<super::Notice>> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let now = loop {
            if self.closed.load(SeqCst) {
                return None;
            }
            let now = self.clock.now();
            let until_ms = inner.next_ms(&self.settings);
            if until_ms <= now.monotonic_ms
                || !inner.parts.notices.is_empty()
                || inner.parts.commits >= CHECKPOINT_COMMITS
                || inner.parts.owes()
            {
                break now;
            }
            inner.asleep_until_ms = until_ms;
            let nap = Duration::from_millis(until_ms - now.monotonic_ms);
            let (woken, slept) =
                self.alarm.wait_timeout(inner, nap).unwrap_or_else(PoisonError::into_inner);
            inner = woken;
            if slept.timed_out() {
                break self.clock.now();
            }
        };
        // Awake: nobody need ring.
        inner.asleep_until_ms = 0;
        if inner.look_at_ms <= now.monotonic_ms {
            inner.look_at_ms = now.monotonic_ms + LOOK_MS;
            inner.look_around(&self.settings, now);
        }
        if inner.parts.owes() {
            inner.parts.delete_on();
        }
        inner.settle(&self.settings, now);
        let notices = std::mem::take(&mut inner.parts.notices);
        let due = inner.parts.commits >= CHECKPOINT_COMMITS;
        if due {
            inner.parts.commits = 0;
        }
        let opening = inner.parts.opening;
        if due && (beside.opening != opening || beside.connection.is_none()) {
            *beside = Beside { opening, connection: inner.parts.storage.beside() };
        }
        let outgoing = inner.listening.announced
            || matches!(&inner.role, Role::Leading(leader) if leader.has_outgoing());
        drop(inner);
        if outgoing {
            self.alarm.notify_all();
        }
        if let (true, Some(connection)) = (due, &beside.connection) {
            // Where it cannot be done now, it is after as many commits again.
            if storage::checkpoint(connection) == Ok(true) {
                let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
                drop(inner.parts.storage.restart_log());
            }
        }
        Some(notices)
    }
}

impl Inner {
    /// When something is due, monotonic milliseconds.
    fn next_ms(&self, settings: &Settings) -> u64 {
        let wake = match &self.role {
            Role::Leading(leader) => leader.wake_at_ms(),
            Role::Following(_) => None,
        };
        let flush = self.flushes.iter().map(|flush| flush.deadline_ms).min();
        let listen = self.listen_at_ms(settings);
        wake.into_iter().chain(flush).chain(listen).fold(self.look_at_ms, u64::min)
    }

    /// What other processes did meanwhile, and what could not be written when it should have been.
    fn look_around(&mut self, settings: &Settings, now: Now) {
        self.follow(settings, now, false);
        self.keep_the_lease(settings, now);
        self.parts.try_again();
        match &mut self.role {
            Role::Leading(leader) => {
                leader.try_again();
                leader.look_at_uploads(&mut self.parts, settings, now);
            }
            // Leads if the one that did is gone.
            Role::Following(waiting) => {
                // Told where it fails.
                drop(waiting.write(&mut self.parts));
                if self.behind_since_ms.is_none() {
                    self.input(Input::Woke, settings, now);
                } else if self.is_awake(now) {
                    self.send_from_behind(settings, now);
                }
            }
        }
        self.look_at_note(settings, now);
        self.parts.catch_up();
        self.look_at_others(settings, now);
    }
}

/// How often is looked at what others did, milliseconds. A look takes microseconds.
const LOOK_MS: u64 = 2_000;
