//! What stays when a leader goes: storage, who the person is, what is to be told. Promises that who the person is, and what a no deletes, is
//! written until it is written, before anything that follows from it; and that a file which comes, goes or breaks is followed. Knows
//! neither the core nor requests.

use headwater_core::{
    event::{Event, Json},
    platform::{Consent, Entry, Key, Now},
    wire,
};

use super::{Context, FILE, NOTE, Notice, Said, Settings, context_text, leader};
use crate::{
    Answer, Report,
    identity::{CATEGORIES, Identity},
    note::Note,
    storage::{Change, Durability, Failure, Found, Record, Storage},
};

pub(super) struct Parts {
    pub(super) storage: Storage,
    /// Counts how often the storage was opened: rows and connections of one opening mean nothing in the next.
    pub(super) opening: u64,
    pub(super) identity: Identity,
    /// What it was taken for while the file that has it cannot be used.
    guessed: Option<Identity>,
    /// Messages that were shown, and that is still to be written.
    pub(super) shown: Vec<String>,
    /// Whether it is to be written.
    unsaved: bool,
    /// Where a decision is noted that storage does not take.
    note: Note,
    /// Whether an answer or a signing out is still to be noted, if storage does not take it.
    to_note: bool,
    /// Whether somebody signed out since who the person is was last written.
    signed_out: bool,
    /// Whether this process has noted something that is still to be written.
    noted: bool,
    /// Events up to this row that a no is still to delete: all, or those of these categories.
    owed: Option<(i64, Option<u8>)>,
    /// Whether what was deleted is still to be made unreadable.
    scrub: bool,
    /// Whether that, or what is owed, did not go and is for later.
    stuck: bool,
    /// What holds where the person was not asked.
    initial: [Answer; CATEGORIES],
    pub(super) context: Context,
    /// The same as text, made once.
    pub(super) context_text: Json,
    pub(super) notices: Vec<Notice>,
    /// Commits since the last checkpoint.
    pub(super) commits: u32,
    /// Events in storage, as far as this process knows.
    pub(super) stored: u64,
    /// Bytes of the texts that were stored since the file was last weighed.
    pub(super) unweighed: u64,
    /// Whether storage refuses: told once.
    refusing: bool,
    /// When the file was last tried to be opened without success, monotonic milliseconds.
    tried_ms: Option<u64>,
    /// What others have written is known up to this version.
    pub(super) version: i64,
    /// See [`leader::window`].
    pub(super) window: usize,
    /// See [`leader::window_bytes`].
    pub(super) window_bytes: u64,
}

impl Parts {
    /// Opens the storage, and finds out who the person is.
    pub(super) fn open(settings: &Settings, now: Now) -> Self {
        let file = settings.folder.join(FILE);
        let (storage, found) = Storage::open(&file, settings.durability, settings.max_bytes);
        let (identity, guessed) = if storage.in_memory() && file.exists() {
            // Somebody who said no there has said no. If not even that can be read, nothing leaves the device until it can.
            let kept = Storage::identity_in(&file);
            let guess = Identity::read(Some(kept.as_deref().unwrap_or_default()));
            (guess.clone(), Some(guess))
        } else {
            (Identity::read(storage.identity().ok().flatten().as_deref()), None)
        };
        let mut parts = Self {
            unsaved: storage.identity() == Ok(None),
            stored: storage.count().unwrap_or(0),
            version: storage.version().unwrap_or(0),
            tried_ms: storage.in_memory().then_some(now.monotonic_ms),
            storage,
            opening: 1,
            identity,
            guessed,
            shown: Vec::new(),
            note: Note::open(settings.folder.join(NOTE), settings.durability == Durability::Power),
            to_note: false,
            signed_out: false,
            noted: false,
            owed: None,
            scrub: false,
            stuck: false,
            initial: settings.consent,
            context: Context::new(),
            context_text: context_text(&Context::new()),
            notices: Vec::new(),
            commits: 0,
            unweighed: 0,
            refusing: false,
            window: leader::window(settings),
            window_bytes: leader::window_bytes(settings),
        };
        parts.tell_found(found);
        parts.heed_note();
        // A process that died in the midst of it.
        if parts.nobody() {
            parts.owe_all();
        }
        parts.scrub = parts.identity.consent().denied != 0;
        parts
    }

    /// A no to everything deletes what is there now.
    fn owe_all(&mut self) {
        let upto = self.storage.last_row().unwrap_or(i64::MAX);
        self.owed = Some((upto, None));
    }

    /// Something was deleted for a no.
    pub(super) fn make_unreadable(&mut self) {
        self.scrub = true;
    }

    /// Rows up to this one are as good as deleted.
    pub(super) fn purged(&self) -> i64 {
        match self.owed {
            Some((upto, None)) => upto,
            _ => 0,
        }
    }

    /// What was decided while storage took nothing, by an earlier process or by another one, is done now.
    pub(super) fn heed_note(&mut self) {
        if !self.noted
            && let Some(noted) = self.note.read()
        {
            self.noted = true;
            self.change(|identity| noted.apply(identity));
            // It may be written as it is.
            self.unsaved = true;
            self.catch_up();
        }
    }

    /// The answers, for the core.
    pub(super) fn consent(&self) -> Consent {
        if self.nobody() { Consent::DENIED } else { self.identity.consent() }
    }

    /// Whether the person has said no to everything.
    fn nobody(&self) -> bool {
        (0..CATEGORIES).all(|at| self.identity.of(at, &self.initial) == Answer::Denied)
    }

    /// Changes who the person is. What is written next takes it along.
    pub(super) fn change(&mut self, change: impl FnOnce(&mut Identity)) {
        let before = self.identity.clone();
        change(&mut self.identity);
        if before == self.identity {
            return;
        }
        self.unsaved = true;
        if before.anonymous_id != self.identity.anonymous_id && self.identity.user_id.is_none() {
            self.signed_out = true;
            self.to_note = true;
        }
        if before.answers != self.identity.answers {
            self.to_note = true;
            // Later ones are called after this answer.
            let denied = self.identity.consent().denied;
            if self.nobody() {
                self.owe_all();
            } else if denied != 0 && !matches!(self.owed, Some((_, None))) {
                let upto = self.storage.last_row().unwrap_or(i64::MAX);
                self.owed = Some((upto, Some(denied)));
            }
            self.scrub |= denied != 0;
            self.stuck = false;
        }
    }

    /// Writes what is still to be written, whatever else there is to do.
    pub(super) fn catch_up(&mut self) {
        if self.unsaved || !self.shown.is_empty() {
            // Told where it fails, and tried again.
            drop(self.write(&[]));
        }
        if self.owed.is_some() && !self.stuck && !self.unsaved {
            self.pay();
        }
        if self.unsaved && self.to_note && self.note.write(&self.identity, self.signed_out) {
            self.noted = true;
            self.to_note = false;
        }
    }

    /// Deletes a part of what a no is still to delete: a backlog takes longer than a call should.
    fn pay(&mut self) {
        let Some((upto, which)) = self.owed else { return };
        match self.storage.delete(upto, which) {
            Ok(0) => self.owed = None,
            Ok(deleted) => {
                self.commits += 1;
                self.stored = self.stored.saturating_sub(deleted);
            }
            Err(failure) => {
                self.stuck = true;
                self.refused(&failure);
            }
        }
    }

    /// Whether the thread of upkeep has something to delete.
    pub(super) fn owes(&self) -> bool {
        (self.owed.is_some() || self.scrub) && !self.stuck
    }

    /// What takes longer than a call should: deletes what a no deletes, and makes it unreadable.
    pub(super) fn delete_on(&mut self) {
        if self.owed.is_some() {
            self.catch_up();
        } else if self.scrub {
            self.scrub = !self.storage.scrub().unwrap_or(false);
            self.stuck |= self.scrub;
        }
    }

    /// What did not go before may go now.
    pub(super) fn try_again(&mut self) {
        self.stuck = false;
        // Fails where the next change does.
        drop(self.storage.wait_for_others(true));
    }

    /// Another process may have changed who the person is.
    pub(super) fn heed(&mut self) {
        if self.unsaved || self.guessed.is_some() {
            return;
        }
        let Ok(Some(kept)) = self.storage.identity() else { return };
        let other = Identity::read(Some(&kept));
        let before = self.nobody();
        if other.anonymous_id_is_new(&kept) {
            // Of somebody who said no only the answers are kept.
            self.identity.answers = other.answers;
        } else {
            self.identity = other;
        }
        if !before && self.nobody() {
            // Whoever said so deletes it as well; and may not come to its end.
            self.owe_all();
            self.scrub = true;
        }
    }

    /// Whether others have written since this was last asked.
    pub(super) fn others_wrote(&mut self) -> bool {
        let version = self.storage.version().unwrap_or(self.version);
        std::mem::replace(&mut self.version, version) != version
    }

    /// The secret by which the collector knows this device: made when it is first asked for, and nothing if it cannot be kept.
    pub(super) fn token(&mut self) -> Option<String> {
        let device = self.identity.anonymous_id.clone();
        if let Ok(Some(token)) = self.storage.token(&device) {
            return Some(token);
        }
        let half = || uuid::Uuid::new_v4().simple();
        self.write(&[Change::Token(&device, &format!("{}{}", half(), half()))]).ok()?;
        self.storage.token(&device).ok()?
    }

    /// Whether this message was shown on this device, by any process.
    pub(super) fn was_shown(&self, id: &str) -> bool {
        self.shown.iter().any(|shown| shown == id) || self.storage.was_shown(id).unwrap_or(false)
    }

    /// The text and the measures of an event.
    pub(super) fn record(&self, said: Said, message_id: &str, answer: Answer, now: Now) -> Record {
        let Said { kind, fields, context, at_ms, category, priority } = said;
        let at_ms = at_ms.unwrap_or(now.unix_ms);
        let context = match context {
            Some(own) => {
                let mut all = self.context.clone();
                all.extend(own);
                context_text(&all)
            }
            None => self.context_text.clone(),
        };
        let text = wire::text(&Event {
            kind,
            message_id: message_id.to_owned(),
            anonymous_id: Some(self.identity.anonymous_id.clone()),
            user_id: self.identity.user_id.clone(),
            at_ms,
            fields,
            context,
        });
        let waits = if answer == Answer::Pending { CATEGORIES } else { 0 };
        let entry = Entry {
            key: Key(0),
            bytes: u32::try_from(text.len()).unwrap_or(u32::MAX),
            priority,
            at_ms,
            // A change of it begins a session.
            campaign: self.identity.person,
            category: u8::try_from(category + waits).unwrap_or(0),
        };
        Record { text, entry, stamp: None }
    }

    /// One transaction, and who the person is with it if that is still to be written. What fails is told once, until it works again.
    pub(super) fn write(&mut self, changes: &[Change<'_>]) -> Result<Vec<i64>, Failure> {
        let identifies = self.unsaved && self.guessed.is_none();
        let shown = std::mem::take(&mut self.shown);
        let written = if identifies || !shown.is_empty() {
            let identity = self.identity.text(&self.initial);
            let device = if self.nobody() { "" } else { &self.identity.anonymous_id };
            let mut all = Vec::with_capacity(changes.len() + shown.len() + 2);
            if identifies {
                all.extend([Change::Identify(&identity), Change::OnlyDevice(device)]);
            }
            all.extend(shown.iter().map(|id| Change::Shown(id)));
            all.extend_from_slice(changes);
            self.storage.write(&all)
        } else {
            self.storage.write(changes)
        };
        if written.is_err() {
            self.shown = shown;
        }
        match &written {
            Ok(_) => {
                self.unsaved &= self.guessed.is_some();
                if !self.unsaved {
                    self.to_note = false;
                    self.signed_out = false;
                    if std::mem::take(&mut self.noted) {
                        self.note.clear();
                    }
                }
                self.commits += 1;
                self.refusing = false;
            }
            Err(failure) => self.refused(failure),
        }
        written
    }

    /// Told once, until it works again.
    fn refused(&mut self, failure: &Failure) {
        if !std::mem::replace(&mut self.refusing, true) {
            self.tell(Report::NotDurable { detail: failure.to_string() });
        }
    }

    /// Notices that the file was deleted, or can be opened by now, and takes everything to the one that is there now. Says whether it
    /// has done so.
    pub(super) fn follow_the_file(&mut self, now: Now, eager: bool) -> bool {
        if self.storage.is_durable() {
            return false;
        }
        let pause = |tried_ms| now.monotonic_ms.saturating_sub(tried_ms) < RETRY_MS;
        if self.tried_ms.is_some_and(pause) && !eager {
            return false;
        }
        match self.storage.reopen() {
            Ok(others) => {
                self.tried_ms = None;
                self.opening += 1;
                self.refusing = false;
                self.storage.anew |= others;
                self.stored = self.storage.count().unwrap_or(0);
                self.know_again(others);
                true
            }
            Err(Failure::Damaged(why)) => {
                self.replace(&why);
                true
            }
            Err(_) => {
                self.tried_ms = Some(now.monotonic_ms);
                false
            }
        }
    }

    /// Who the person is, says the file, but for what has changed since it was guessed.
    fn know_again(&mut self, others: bool) {
        let guessed = self.guessed.take();
        let Ok(Some(kept)) = self.storage.identity() else {
            self.unsaved = true;
            return;
        };
        if !others || (guessed.is_none() && self.unsaved) {
            return;
        }
        let now = std::mem::replace(&mut self.identity, Identity::read(Some(&kept)));
        let Some(guessed) = guessed else { return };
        if now.user_id != guessed.user_id {
            self.identity.user_id = now.user_id;
        }
        if now.person != guessed.person {
            // Whoever signed out since is not the one that the file knows.
            self.identity.person = self.identity.person.checked_add(1).unwrap_or(1);
        }
        if now.anonymous_id != guessed.anonymous_id {
            self.identity.anonymous_id = now.anonymous_id;
        }
        for at in 0..CATEGORIES {
            if now.answers[at] != guessed.answers[at] {
                self.identity.answers[at] = now.answers[at];
            }
        }
        self.unsaved = true;
    }

    /// Goes on with a new file.
    pub(super) fn replace(&mut self, why: &str) {
        let found = self.storage.replace(why);
        self.opening += 1;
        self.storage.anew = true;
        // What was damaged may have been just this.
        self.unsaved = true;
        self.stored = self.storage.count().unwrap_or(0);
        self.tell_found(found);
    }

    fn tell_found(&mut self, found: Found) {
        if let Some(why) = found.set_aside {
            let saved = found.saved_from_it;
            self.tell(Report::StateLost {
                detail: format!("{why}; {saved} events were saved from it"),
            });
        }
        if let Some(detail) = found.memory {
            self.refusing = true;
            self.tell(Report::NotDurable { detail });
        }
    }

    pub(super) fn tell(&mut self, report: Report) {
        // A host that does not come back from a callback hears no more than this.
        if self.notices.len() < MAX_NOTICES {
            self.notices.push(Notice::Report(report));
        }
    }
}

/// Reports that wait for the host to hear them.
const MAX_NOTICES: usize = 10_000;
/// How often a file that cannot be opened is tried, milliseconds.
const RETRY_MS: u64 = 5_000;
