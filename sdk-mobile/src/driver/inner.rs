//! What the driver's lock guards: a record is stored through the core or at the end of what waits on the disk, other processes and the
//! file's fate are heeded, bounds are kept. Promises that this process leads only while it holds the lease. Knows neither threads nor HTTP.

use std::collections::BTreeSet;

use headwater_core::platform::{Consent, Input, Key, Now};

use super::{
    CHECKPOINT_COMMITS, LOCK, Notice, Settings, leader::Leader, listening::Listening, parts::Parts,
    waiting::Waiting,
};
use crate::{
    Report,
    lease::Lease,
    storage::{Change, Failure, Record},
    transport,
};

pub(super) struct Inner {
    pub(super) parts: Parts,
    pub(super) role: Role,
    pub(super) flushes: Vec<Flush>,
    pub(super) listening: Listening,
    /// Until when the thread of upkeep sleeps, monotonic milliseconds.
    pub(super) asleep_until_ms: u64,
    /// When it looks at what others did, monotonic milliseconds.
    pub(super) look_at_ms: u64,
    /// Since when the app is in the background, or has last led there, monotonic milliseconds.
    pub(super) behind_since_ms: Option<u64>,
}

pub(super) enum Role {
    /// Numbers and sends.
    Leading(Box<Leader>),
    /// Another process does; what storage refuses waits here.
    Following(Waiting),
}

pub(super) struct Flush {
    pub(super) token: u64,
    pub(super) deadline_ms: u64,
    /// Events up to this row, and up to this key, are meant.
    pub(super) row: i64,
    pub(super) key: Option<Key>,
}

impl Inner {
    /// Stores a new event, through the core where nothing waits behind it, otherwise at the end of what waits on the disk: for its turn, or
    /// for the person.
    pub(super) fn store(&mut self, record: Record, settings: &Settings, now: Now) -> bool {
        let Self { parts, role, .. } = self;
        let waits = record.entry.is_in(parts.consent().pending);
        if let Role::Leading(leader) = role
            && !waits
            && leader.takes_at_once(settings)
        {
            let durable = leader.track(record, parts, now);
            if !durable {
                self.make_room(settings);
            }
            return durable;
        }
        let lost = |reason: &str| Report::Dropped {
            message_id: transport::message_id(&record.text).map(str::to_owned),
            reason: reason.into(),
        };
        if record.entry.bytes > settings.core.max_event_bytes {
            parts.tell(lost("too_large"));
            return false;
        }
        let add = Change::Add { text: &record.text, entry: &record.entry, stamp: None };
        let write = |inner: &mut Self| match &mut inner.role {
            // In the order of the calls.
            Role::Following(waiting) => {
                waiting.write(&mut inner.parts).and_then(|()| inner.parts.write(&[add]))
            }
            Role::Leading(_) => inner.parts.write(&[add]),
        };
        let mut written = write(self);
        if matches!(written, Err(Failure::Refused(_))) && self.make_room(settings) {
            written = write(self);
        }
        let Self { parts, role, .. } = self;
        match written {
            Ok(_) => {
                parts.stored += 1;
                parts.unweighed += u64::from(record.entry.bytes);
                if let (Role::Leading(leader), false) = (role, waits) {
                    leader.look_again();
                }
                self.keep_bounds(settings);
                true
            }
            Err(failure) => {
                if let Failure::Damaged(why) = failure {
                    parts.replace(&why);
                }
                match role {
                    Role::Leading(leader) => leader.track(record, parts, now),
                    Role::Following(waiting) => {
                        waiting.push(record, parts);
                        false
                    }
                }
            }
        }
    }

    /// Goes where the file goes, before anything is done with it.
    pub(super) fn follow(&mut self, settings: &Settings, now: Now, eager: bool) {
        let Self { parts, role, .. } = self;
        if !parts.follow_the_file(now, eager) {
            return;
        }
        let Role::Leading(leader) = role else { return };
        if leader.takes_the_lease_again(&settings.folder.join(LOCK)) {
            if parts.storage.anew {
                leader.begin_anew(settings, parts, now);
            }
        } else {
            self.give_way();
        }
    }

    /// Leads no longer than this process has the lease: its file may have been deleted, and another one made.
    pub(super) fn keep_the_lease(&mut self, settings: &Settings, now: Now) {
        let path = settings.folder.join(LOCK);
        let Self { parts, role: Role::Leading(leader), .. } = self else { return };
        if leader.holds_the_lease(&path) {
            return;
        }
        if leader.takes_the_lease_again(&path) {
            // Another process may have led since.
            leader.begin_anew(settings, parts, now);
        } else {
            self.give_way();
        }
    }

    /// Another process was faster: it sends what this one has.
    fn give_way(&mut self) {
        let following = Role::Following(Waiting::default());
        if let Role::Leading(leader) = std::mem::replace(&mut self.role, following)
            && let Role::Following(waiting) = &mut self.role
        {
            for record in leader.into_memory() {
                waiting.push(record, &mut self.parts);
            }
            // Tried again with what is called for next.
            drop(waiting.write(&mut self.parts));
        }
    }

    /// Heeds what another process has noted that could not write it.
    pub(super) fn look_at_note(&mut self, settings: &Settings, now: Now) {
        let before = self.parts.consent();
        self.parts.heed_note();
        self.consented(before, settings, now);
    }

    /// Heeds what other processes have written since the last time.
    pub(super) fn look_at_others(&mut self, settings: &Settings, now: Now) {
        if !self.parts.others_wrote() {
            return;
        }
        self.parts.stored = self.parts.storage.count().unwrap_or(self.parts.stored);
        let before = self.parts.consent();
        self.parts.heed();
        self.consented(before, settings, now);
        if let Role::Leading(leader) = &mut self.role {
            leader.look_again();
        }
    }

    /// Tells the core what the person has answered, if that is new.
    pub(super) fn consented(&mut self, before: Consent, settings: &Settings, now: Now) {
        let consent = self.parts.consent();
        if consent == before {
            return;
        }
        if let Role::Leading(leader) = &mut self.role {
            leader.look_from_the_start();
        }
        if let Role::Following(waiting) = &mut self.role {
            waiting.deny(consent.denied);
        }
        self.input(Input::Consent(consent), settings, now);
    }

    pub(super) fn input(&mut self, input: Input<'_>, settings: &Settings, now: Now) {
        self.follow(settings, now, matches!(input, Input::Online | Input::Flush));
        if let Role::Leading(leader) = &mut self.role {
            leader.input(input, &mut self.parts, now);
        } else if let Some(lease) = Lease::take(&settings.folder.join(LOCK)) {
            self.begin(lease, settings, now);
        }
    }

    /// Leads from now on.
    pub(super) fn begin(&mut self, lease: Lease, settings: &Settings, now: Now) {
        self.parts.heed();
        let leader = Leader::begin(lease, settings, &mut self.parts, now);
        let before = std::mem::replace(&mut self.role, Role::Leading(Box::new(leader)));
        if let Role::Following(waiting) = before {
            for record in waiting.into_records() {
                self.store(record, settings, now);
            }
        }
    }

    /// Gives up the oldest of the least important events that wait on the disk, where the bounds demand it.
    fn keep_bounds(&mut self, settings: &Settings) {
        let excess = self.parts.stored.saturating_sub(settings.max_events);
        if excess > 0 {
            self.give_up(excess, 0);
        }
        // Weighing costs as much as a tenth of a call.
        if self.parts.unweighed > settings.max_bytes / 128 {
            self.parts.unweighed = 0;
            self.make_room(settings);
        }
    }

    /// The same for the bytes of the file, which may also be why it takes no more. Says whether there is more room than before.
    fn make_room(&mut self, settings: &Settings) -> bool {
        let mut any = false;
        while let Ok(bytes) = self.parts.storage.bytes()
            && bytes > settings.max_bytes
            && self.give_up(0, bytes - settings.max_bytes)
        {
            any = true;
        }
        any
    }

    /// Gives up so many events, or so many bytes of them: of those that the core does not know. Says whether there were any.
    fn give_up(&mut self, events: u64, bytes: u64) -> bool {
        let Self { parts, role, .. } = self;
        let held = match role {
            Role::Leading(leader) => leader.unnumbered_rows(),
            Role::Following(_) => BTreeSet::new(),
        };
        let Ok(rows) = parts.storage.least_important(&held, events, bytes) else { return false };
        let removals: Vec<_> = rows.iter().map(|(row, _)| Change::Remove(*row)).collect();
        if rows.is_empty() || parts.write(&removals).is_err() {
            return false;
        }
        parts.stored = parts.stored.saturating_sub(rows.len() as u64);
        for (_, text) in rows {
            let message_id = transport::message_id(&text).map(str::to_owned);
            parts.tell(Report::Dropped { message_id, reason: "queue_full".into() });
        }
        true
    }

    /// In the background the system may suspend this process at any moment, with the lease, and nobody else would send: it leads there only
    /// as long as it has something to send.
    fn rest(&mut self, now: Now) {
        if self.behind_since_ms.is_some()
            && self.flushes.is_empty()
            && matches!(&self.role, Role::Leading(leader) if leader.is_idle(now))
        {
            self.behind_since_ms = Some(now.monotonic_ms);
            self.give_way();
        }
    }

    /// Sends what there is without waiting for company, if nobody else leads.
    pub(super) fn send_from_behind(&mut self, settings: &Settings, now: Now) {
        if let Role::Following(_) = self.role {
            self.input(Input::Woke, settings, now);
        }
        if let Role::Leading(_) = self.role {
            self.input(Input::Flush, settings, now);
        }
    }

    /// Whether it is time to try that in the background.
    pub(super) fn is_awake(&self, now: Now) -> bool {
        let since_ms = self.behind_since_ms.unwrap_or(0);
        self.parts.stored > 0 && now.monotonic_ms.saturating_sub(since_ms) >= REST_MS
    }

    pub(super) fn settle(&mut self, settings: &Settings, now: Now) {
        let Self { parts, role, flushes, .. } = &mut *self;
        if let Role::Leading(leader) = role {
            leader.go_on(settings, parts, now);
            if leader.announce() {
                parts.notices.push(Notice::UploadReady);
            }
        }
        flushes.retain_mut(|flush| {
            let (done, in_memory) = match role {
                Role::Leading(leader) => {
                    (leader.is_done(&mut flush.key, flush.row), leader.unstored())
                }
                // Another process sends: nothing to wait for.
                Role::Following(waiting) => (true, waiting.len()),
            };
            if !done && now.monotonic_ms < flush.deadline_ms {
                return true;
            }
            parts.notices.push(Notice::Flushed(flush.token, parts.stored + in_memory));
            false
        });
        self.rest(now);
        self.look_after_listening(settings, now);
    }

    pub(super) fn wants_thread(&self, settings: &Settings) -> bool {
        let (outgoing, wake_at_ms) = match &self.role {
            Role::Leading(leader) => (leader.has_outgoing(), leader.wake_at_ms()),
            Role::Following(_) => (false, None),
        };
        let deadline = self.flushes.iter().map(|flush| flush.deadline_ms).min();
        let listen = self.listen_at_ms(settings);
        let next = [wake_at_ms, deadline, listen].into_iter().flatten().min();
        outgoing
            || self.listening.announced
            || !self.parts.notices.is_empty()
            || self.parts.commits >= CHECKPOINT_COMMITS
            || self.parts.owes()
            || next.is_some_and(|at_ms| at_ms < self.asleep_until_ms)
    }
}

/// How often an app in the background tries to send what waits there, milliseconds: as long as the longest wait after a failure.
const REST_MS: u64 = 60_000;
