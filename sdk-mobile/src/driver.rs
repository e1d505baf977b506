//! The one place where the parts meet: a call becomes a record that is committed before the call returns, the core is told, and what it
//! asks for is carried out. Promises that no call waits for the network, that one process of those that share the file leads (numbers and
//! sends) while the others only append, and that memory is bounded whatever waits on the disk. Knows no rule about events: the core has those.

mod draft;
mod leader;
mod upkeep;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
};

use headwater_core::{
    Config,
    event::{Event, Json, Kind},
    platform::{Entry, Input, Key, Now, Priority},
    wire,
};
use rusqlite::Connection;
use serde_json::value::RawValue;

use self::leader::Leader;
use crate::{
    Answer, Error, Report,
    clock::Clock,
    identity::{CATEGORIES, Identity, new_id},
    lease::Lease,
    storage::{self, Change, Durability, Failure, Found, Record, Storage},
    transport::{self, Answered},
};

/// What a client is made of.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) write_key: String,
    pub(crate) endpoint: String,
    pub(crate) folder: PathBuf,
    pub(crate) durability: Durability,
    pub(crate) max_events: u64,
    pub(crate) max_bytes: u64,
    /// What holds where the person was not asked.
    pub(crate) consent: [Answer; CATEGORIES],
    pub(crate) core: Config,
}

/// One call, as its verb has understood it.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) kind: Kind,
    pub(crate) fields: Option<Json>,
    pub(crate) context: Option<Context>,
    pub(crate) at_ms: Option<u64>,
    pub(crate) category: usize,
    pub(crate) priority: Priority,
}

/// Members of an event's context, each with its JSON.
pub(crate) type Context = BTreeMap<String, Box<RawValue>>;

/// A request for somebody to make.
#[derive(Debug)]
pub(crate) struct Upload {
    pub(crate) id: u64,
    pub(crate) url: String,
    pub(crate) body: Vec<u8>,
}

/// Something for the host to hear, on the thread of upkeep.
#[derive(Debug)]
pub(crate) enum Notice {
    Report(Report),
    UploadReady,
    /// A flush has ended; so many of the events before it are still here.
    Flushed(u64, u64),
}

/// Whoever owns the client.
pub(crate) trait Listener: Send + Sync {
    fn hear(&self, notice: Notice);
}

/// One client: see the module.
pub(crate) struct Driver {
    settings: Settings,
    pub(crate) clock: Clock,
    inner: Mutex<Inner>,
    /// The threads' alarm: something is to be sent, told or done earlier than they thought.
    alarm: Condvar,
    /// Reads the texts of a batch while others write.
    reader: Mutex<Beside>,
    next_upload: AtomicU64,
    closed: AtomicBool,
}

/// A second connection, and which opening of the storage it belongs to.
#[derive(Default)]
struct Beside {
    opening: u64,
    connection: Option<Connection>,
}

struct Inner {
    parts: Parts,
    role: Role,
    flushes: Vec<Flush>,
    /// Until when the thread of upkeep sleeps, monotonic milliseconds.
    asleep_until_ms: u64,
    /// When it looks at what others did, monotonic milliseconds.
    look_at_ms: u64,
}

/// What a leader works with, and what stays when it goes.
struct Parts {
    storage: Storage,
    /// Counts how often the storage was opened: rows and connections of one opening mean nothing in the next.
    opening: u64,
    identity: Identity,
    context: Context,
    /// The same as text, made once.
    context_text: Json,
    notices: Vec<Notice>,
    /// Commits since the last checkpoint.
    commits: u32,
    /// Events in storage, as far as this process knows.
    stored: u64,
    /// Since when storage has refused, to be told once.
    refusing: bool,
    /// When memory was last tried to be brought to a file, monotonic milliseconds.
    tried_ms: u64,
    /// What others have written is known up to this version.
    version: i64,
    /// See [`leader::window`].
    window: usize,
}

enum Role {
    /// Numbers and sends.
    Leading(Box<Leader>),
    /// Another process does.
    Following,
}

struct Flush {
    token: u64,
    deadline_ms: u64,
    /// Events up to this row, and up to this key, are meant.
    row: i64,
    key: Option<Key>,
}

impl Driver {
    /// Opens the storage and leads, if nobody else does.
    pub(crate) fn open(settings: Settings) -> Arc<Self> {
        let clock = Clock::new();
        let now = clock.now();
        let file = settings.folder.join(FILE);
        let (storage, found) = Storage::open(&file, settings.durability, settings.max_bytes);
        let identity = Identity::read(storage.identity().ok().flatten().as_deref());
        let mut parts = Parts {
            stored: storage.count().unwrap_or(0),
            version: storage.version().unwrap_or(0),
            storage,
            window: leader::window(&settings),
            opening: 1,
            identity,
            context: Context::new(),
            context_text: context_text(&Context::new()),
            notices: Vec::new(),
            commits: 0,
            refusing: false,
            tried_ms: now.monotonic_ms,
        };
        parts.tell_found(found);
        let role = match Lease::take(&settings.folder.join(LOCK)) {
            Some(lease) => {
                Role::Leading(Box::new(Leader::begin(lease, &settings, &mut parts, now)))
            }
            None => Role::Following,
        };
        let inner = Inner { parts, role, flushes: Vec::new(), asleep_until_ms: 0, look_at_ms: 0 };
        Arc::new(Self {
            settings,
            clock,
            inner: Mutex::new(inner),
            alarm: Condvar::new(),
            reader: Mutex::default(),
            next_upload: AtomicU64::new(1),
            closed: AtomicBool::new(false),
        })
    }

    /// Makes an event and commits it; gives back its id, and whether it outlives the process.
    pub(crate) fn record(&self, said: Said) -> Result<(String, bool), Error> {
        self.record_with(said, |_| ())
    }

    /// The same, with a change of who the person is, in one transaction and before the event.
    pub(crate) fn record_with(
        &self,
        said: Said,
        change: impl FnOnce(&mut Identity),
    ) -> Result<(String, bool), Error> {
        let mut inner = self.lock()?;
        let now = self.clock.now();
        let before = inner.parts.identity.clone();
        change(&mut inner.parts.identity);
        let answer = inner.parts.identity.of(said.category, &self.settings.consent);
        let changed = (before != inner.parts.identity)
            .then(|| inner.parts.identity.text(&self.settings.consent));
        let message_id = uuid::Uuid::now_v7().to_string();
        if answer == Answer::Denied {
            inner.keep_identity(changed);
            return Ok((message_id, false));
        }
        let record = inner.parts.record(said, &message_id, answer, now);
        let durable = inner.store(record, changed.as_deref(), &self.settings, now);
        self.finish(inner, now);
        Ok((message_id, durable))
    }

    /// Changes who the person is, or what was answered.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Identity)) -> Result<(), Error> {
        let mut inner = self.lock()?;
        let now = self.clock.now();
        let before = inner.parts.identity.clone();
        change(&mut inner.parts.identity);
        if before != inner.parts.identity {
            let text = inner.parts.identity.text(&self.settings.consent);
            inner.keep_identity(Some(text));
            if before.answers != inner.parts.identity.answers {
                inner.consented(&self.settings, now);
            }
        }
        self.finish(inner, now);
        Ok(())
    }

    /// Somebody else from now on.
    pub(crate) fn reset(&self) -> Result<(), Error> {
        self.change(|identity| {
            identity.anonymous_id = new_id();
            identity.user_id = None;
        })?;
        self.input(Input::Reset)
    }

    /// Who the person is.
    pub(crate) fn identity(&self) -> Result<Identity, Error> {
        Ok(self.lock()?.parts.identity.clone())
    }

    /// What every event says of where it happened, from now on.
    pub(crate) fn set_context(&self, context: Context) -> Result<(), Error> {
        let mut inner = self.lock()?;
        inner.parts.context_text = context_text(&context);
        inner.parts.context = context;
        Ok(())
    }

    /// Any input that needs no answer.
    pub(crate) fn input(&self, input: Input<'_>) -> Result<(), Error> {
        let mut inner = self.lock()?;
        let now = self.clock.now();
        inner.input(input, &self.settings, now);
        self.finish(inner, now);
        Ok(())
    }

    /// Sends what there is; [`Notice::Flushed`] with this token tells how that ended.
    pub(crate) fn flush(&self, token: u64, timeout_ms: u64) -> Result<(), Error> {
        let mut inner = self.lock()?;
        let now = self.clock.now();
        let row = inner.parts.storage.last_row().unwrap_or(0);
        let deadline_ms = now.monotonic_ms.saturating_add(timeout_ms);
        inner.flushes.push(Flush { token, deadline_ms, row, key: None });
        inner.input(Input::Flush, &self.settings, now);
        self.finish(inner, now);
        Ok(())
    }

    /// Events that are not answered for yet.
    pub(crate) fn pending(&self) -> Result<u64, Error> {
        let mut inner = self.lock()?;
        let Inner { parts, role, .. } = &mut *inner;
        let in_memory = match role {
            Role::Leading(leader) => leader.unstored(),
            Role::Following => 0,
        };
        Ok(parts.stored + in_memory)
    }

    /// A request that is to be made now, if there is one.
    pub(crate) fn next_upload(&self) -> Result<Option<Upload>, Error> {
        loop {
            let now = self.clock.now();
            let mut inner = self.lock()?;
            let opening = inner.parts.opening;
            let Role::Leading(leader) = &mut inner.role else { return Ok(None) };
            let Some(mut draft) = leader.draft(now, &self.settings) else { return Ok(None) };
            drop(inner);
            let mut read = Ok(());
            if draft.is_open() {
                let mut beside = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
                self.renew(&mut beside, opening)?;
                read = match &beside.connection {
                    Some(connection) => draft.read(|row| storage::text(connection, row)),
                    None => Err(Failure::Refused("no second connection".into())),
                };
            }
            let id = self.next_upload.fetch_add(1, SeqCst);
            let request = draft.request();
            let (path, text, dispatched) = draft.body(&self.settings.write_key, now.unix_ms);
            let settled = match &read {
                // A text that cannot be read now is not one that is gone.
                Err(_) => Some(Answered::Unreachable),
                Ok(()) => dispatched.places.is_empty().then(|| Answered::Delivered(Vec::new())),
            };
            let mut inner = self.lock()?;
            if let Err(Failure::Damaged(why)) = &read
                && inner.parts.opening == opening
            {
                inner.parts.replace(why);
                self.finish(inner, now);
                continue;
            }
            let Inner { parts, role: Role::Leading(leader), .. } = &mut *inner else { continue };
            if parts.opening != opening {
                continue;
            }
            leader.sent(id, request, dispatched, parts);
            drop(inner);
            if let Some(answered) = settled {
                self.complete_upload(id, &answered)?;
                continue;
            }
            let url = path.url(&self.settings.endpoint);
            return Ok(Some(Upload { id, url, body: transport::packed(&text) }));
        }
    }

    /// How many events the body of this upload has; nothing if nobody waits for its answer any more.
    pub(crate) fn sent(&self, id: u64) -> Result<Option<usize>, Error> {
        match &self.lock()?.role {
            Role::Leading(leader) => Ok(leader.events_of(id)),
            Role::Following => Ok(None),
        }
    }

    /// What came of a request.
    pub(crate) fn complete_upload(&self, id: u64, answered: &Answered) -> Result<(), Error> {
        let mut inner = self.lock()?;
        let now = self.clock.now();
        let Inner { parts, role, flushes, .. } = &mut *inner;
        if let Role::Leading(leader) = role
            && leader.completed(id, answered, parts, now)
            && !matches!(answered, Answered::Delivered(_))
        {
            let pending = parts.stored + leader.unstored();
            for flush in flushes.drain(..) {
                parts.notices.push(Notice::Flushed(flush.token, pending));
            }
        }
        self.finish(inner, now);
        Ok(())
    }

    /// Waits until there is something to send; says no once the client is closed.
    #[cfg_attr(not(feature = "reqwest"), allow(dead_code, reason = "the host is told instead"))]
    pub(crate) fn wait_for_upload(&self) -> bool {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if self.closed.load(SeqCst) {
                return false;
            }
            if let Role::Leading(leader) = &inner.role
                && leader.has_outgoing()
            {
                return true;
            }
            inner = self.alarm.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// When a request is given up, milliseconds.
    pub(crate) fn timeout_ms(&self) -> u64 {
        self.settings.core.request_timeout_ms
    }

    /// What holds for a category now.
    pub(crate) fn consent(&self, category: usize) -> Result<Answer, Error> {
        Ok(self.lock()?.parts.identity.of(category, &self.settings.consent))
    }

    /// Nothing will be sent, for this reason.
    #[cfg(feature = "reqwest")]
    pub(crate) fn tell_not_sending(&self, why: &str) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.parts.tell(Report::NotDurable { detail: why.to_owned() });
        drop(inner);
        self.alarm.notify_all();
    }

    /// Time has passed in a way that no thread can feel.
    #[cfg(feature = "testing")]
    pub(crate) fn ring(&self) {
        drop(self.inner.lock().unwrap_or_else(PoisonError::into_inner));
        self.alarm.notify_all();
    }

    /// Ends both threads; what is stored stays.
    pub(crate) fn close(&self) {
        self.closed.store(true, SeqCst);
        // Taken so that nobody is between looking and sleeping.
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        // The lease goes to another process at once, not when the last reference does.
        inner.role = Role::Following;
        drop(inner);
        self.alarm.notify_all();
    }

    fn lock(&self) -> Result<MutexGuard<'_, Inner>, Error> {
        if self.closed.load(SeqCst) {
            return Err(Error::Closed);
        }
        Ok(self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What every change ends with: new life where it is needed, flushes that are done, threads that have something to do.
    fn finish(&self, mut inner: MutexGuard<'_, Inner>, now: Now) {
        inner.settle(&self.settings, now);
        let wake = inner.wants_thread();
        drop(inner);
        if wake {
            self.alarm.notify_all();
        }
    }

    fn renew(&self, beside: &mut Beside, opening: u64) -> Result<(), Error> {
        if beside.opening != opening {
            *beside = Beside { opening, connection: self.lock()?.parts.storage.beside() };
        }
        Ok(())
    }
}

impl Inner {
    /// Stores a new event, through the core where nothing waits behind it, otherwise at the end of what waits on the disk.
    fn store(
        &mut self,
        record: Record,
        identity: Option<&str>,
        settings: &Settings,
        now: Now,
    ) -> bool {
        let Self { parts, role, .. } = self;
        parts.follow_the_file(now, false);
        if let Role::Leading(leader) = role
            && leader.takes_at_once(settings)
        {
            return leader.track(record, identity, parts, now);
        }
        if record.entry.bytes > settings.core.max_event_bytes {
            self.keep_identity(identity.map(str::to_owned));
            let id = transport::message_id(&record.text).map(str::to_owned);
            self.parts.tell(Report::Dropped { message_id: id, reason: "too_large".into() });
            return false;
        }
        let mut changes = Vec::with_capacity(2);
        changes.extend(identity.map(Change::Identify));
        changes.push(Change::Add { text: &record.text, entry: &record.entry, stamp: None });
        match parts.write(&changes) {
            Ok(rows) => {
                parts.stored += 1;
                if let (Role::Leading(leader), Some(row)) = (role, rows.first()) {
                    leader.appended(*row);
                }
                self.keep_bounds(settings);
                true
            }
            Err(_) => match role {
                Role::Leading(leader) => leader.track(record, identity, parts, now),
                Role::Following => {
                    let id = transport::message_id(&record.text).map(str::to_owned);
                    parts.tell(Report::Dropped {
                        message_id: id,
                        reason: leader::STORAGE_LOST.into(),
                    });
                    false
                }
            },
        }
    }

    /// Rows behind this one are not in the core's window.
    fn cursor(&self) -> i64 {
        match &self.role {
            Role::Leading(leader) => leader.cursor(),
            Role::Following => 0,
        }
    }

    fn keep_identity(&mut self, text: Option<String>) {
        if let Some(text) = text {
            // Where that fails it is told, and the identity is that of this process.
            drop(self.parts.write(&[Change::Identify(&text)]));
        }
    }

    fn consented(&mut self, settings: &Settings, now: Now) {
        let consent = self.parts.identity.consent();
        let nobody = (0..CATEGORIES)
            .all(|at| self.parts.identity.of(at, &settings.consent) == Answer::Denied);
        if nobody {
            drop(self.parts.write(&[Change::Purge]));
            self.parts.stored = 0;
        } else if consent.denied != 0 {
            // Of what the core knows it deletes itself; the rest of a backlog waits behind its window.
            let after = self.cursor();
            drop(self.parts.write(&[Change::Deny { after, denied: consent.denied }]));
            self.parts.stored = self.parts.storage.count().unwrap_or(self.parts.stored);
        }
        self.input(Input::Consent(consent), settings, now);
    }

    /// What another process has changed of who the person is.
    fn heed_identity(&mut self, settings: &Settings, now: Now) {
        let Ok(Some(kept)) = self.parts.storage.identity() else { return };
        let other = Identity::read(Some(&kept));
        let answered = other.answers != self.parts.identity.answers;
        if !other.anonymous_id_is_new(&kept) {
            self.parts.identity = other;
        } else {
            self.parts.identity.answers = other.answers;
        }
        if answered {
            self.consented(settings, now);
        }
    }

    fn input(&mut self, input: Input<'_>, settings: &Settings, now: Now) {
        self.parts.follow_the_file(now, matches!(input, Input::Online | Input::Flush));
        if let Role::Leading(leader) = &mut self.role {
            leader.input(input, &mut self.parts, now);
        } else if let Some(lease) = Lease::take(&settings.folder.join(LOCK)) {
            self.begin(lease, settings, now);
        }
    }

    /// Leads from now on.
    fn begin(&mut self, lease: Lease, settings: &Settings, now: Now) {
        let kept = self.parts.storage.identity().ok().flatten();
        if let Some(kept) = kept {
            self.parts.identity = Identity::read(Some(&kept));
        }
        let leader = Leader::begin(lease, settings, &mut self.parts, now);
        self.role = Role::Leading(Box::new(leader));
    }

    /// Gives up the oldest of the least important events that wait on the disk, where the bounds demand it.
    fn keep_bounds(&mut self, settings: &Settings) {
        let after = self.cursor();
        let parts = &mut self.parts;
        let mut excess = parts.stored.saturating_sub(settings.max_events);
        if parts.stored.is_multiple_of(64)
            && parts.storage.bytes().is_ok_and(|bytes| bytes > settings.max_bytes)
        {
            excess = excess.max(64);
        }
        if excess == 0 {
            return;
        }
        let Ok(rows) = parts.storage.least_important(after, excess) else { return };
        let texts: Vec<_> = rows.iter().map(|row| parts.storage.text(*row)).collect();
        let removals: Vec<_> = rows.iter().map(|row| Change::Remove(*row)).collect();
        if parts.write(&removals).is_err() {
            return;
        }
        parts.stored = parts.stored.saturating_sub(rows.len() as u64);
        for text in texts.into_iter().flatten().flatten() {
            let message_id = transport::message_id(&text).map(str::to_owned);
            parts.tell(Report::Dropped { message_id, reason: "queue_full".into() });
        }
    }

    fn settle(&mut self, settings: &Settings, now: Now) {
        let Self { parts, role, flushes, .. } = self;
        if let Role::Leading(leader) = role {
            leader.go_on(settings, parts, now);
            if leader.announce() {
                parts.notices.push(Notice::UploadReady);
            }
        }
        flushes.retain_mut(|flush| {
            let left = match role {
                Role::Leading(leader) => leader.left_before(&mut flush.key, flush.row),
                // Another process sends: nothing to wait for.
                Role::Following => Some(parts.stored),
            };
            let over = flush.deadline_ms <= now.monotonic_ms;
            match left {
                Some(left) => parts.notices.push(Notice::Flushed(flush.token, left)),
                None if over => parts.notices.push(Notice::Flushed(flush.token, parts.stored)),
                None => return true,
            }
            false
        });
    }

    fn wants_thread(&self) -> bool {
        let (outgoing, wake_at_ms) = match &self.role {
            Role::Leading(leader) => (leader.has_outgoing(), leader.wake_at_ms()),
            Role::Following => (false, None),
        };
        let deadline = self.flushes.iter().map(|flush| flush.deadline_ms).min();
        let next = [wake_at_ms, deadline].into_iter().flatten().min();
        outgoing
            || !self.parts.notices.is_empty()
            || self.parts.commits >= CHECKPOINT_COMMITS
            || next.is_some_and(|at_ms| at_ms < self.asleep_until_ms)
    }
}

impl Parts {
    fn record(&mut self, said: Said, message_id: &str, answer: Answer, now: Now) -> Record {
        let Said { kind, fields, context, at_ms, category, priority } = said;
        let at_ms = at_ms.unwrap_or(now.unix_ms);
        let text = {
            let context = match context {
                Some(own) => {
                    let mut all = self.context.clone();
                    all.extend(own);
                    context_text(&all)
                }
                None => self.context_text.clone(),
            };
            wire::text(&Event {
                kind,
                message_id: message_id.to_owned(),
                anonymous_id: Some(self.identity.anonymous_id.clone()),
                user_id: self.identity.user_id.clone(),
                at_ms,
                fields,
                context,
            })
        };
        let waits = if answer == Answer::Pending { CATEGORIES } else { 0 };
        let entry = Entry {
            key: Key(0),
            bytes: u32::try_from(text.len()).unwrap_or(u32::MAX),
            priority,
            at_ms,
            campaign: 0,
            category: u8::try_from(category + waits).unwrap_or(0),
        };
        Record { text, entry, stamp: None }
    }

    /// One transaction. What fails is told once, until it works again.
    fn write(&mut self, changes: &[Change<'_>]) -> Result<Vec<i64>, Failure> {
        let written = self.storage.write(changes);
        match &written {
            Ok(_) => {
                self.commits += 1;
                self.refusing = false;
            }
            Err(failure) if !self.refusing => {
                self.refusing = true;
                let detail = failure.to_string();
                self.tell(Report::NotDurable { detail });
            }
            Err(_) => {}
        }
        written
    }

    /// Notices that the file was deleted, or can be opened by now, and takes everything to the one that is there now.
    fn follow_the_file(&mut self, now: Now, eager: bool) {
        if self.storage.is_durable() {
            return;
        }
        let pause = now.monotonic_ms.saturating_sub(self.tried_ms) < RETRY_MS;
        if self.storage.in_memory() && pause && !eager {
            return;
        }
        self.tried_ms = now.monotonic_ms;
        match self.storage.reopen() {
            Ok(others) => {
                self.opening += 1;
                self.refusing = false;
                self.storage.anew |= others;
                self.stored = self.storage.count().unwrap_or(0);
            }
            Err(Failure::Damaged(why)) => self.replace(&why),
            Err(_) => {}
        }
    }

    /// Goes on with a new file.
    fn replace(&mut self, why: &str) {
        let found = self.storage.replace(why);
        self.opening += 1;
        self.storage.anew = true;
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

    fn tell(&mut self, report: Report) {
        // A host that does not come back from a callback hears no more than this.
        if self.notices.len() < MAX_NOTICES {
            self.notices.push(Notice::Report(report));
        }
    }
}

/// Reads members of a context; those that are the client's own to write are left out.
pub(crate) fn context(text: &str) -> Result<Context, Error> {
    let invalid = |detail: String| Error::InvalidJson { detail: format!("context: {detail}") };
    Json::object(text).map_err(|error| invalid(error.to_string()))?;
    let mut context: Context =
        serde_json::from_str(text).map_err(|error| invalid(error.to_string()))?;
    for own in ["headwater", "sessionId", "sessionStart"] {
        context.remove(own);
    }
    Ok(context)
}

fn context_text(context: &Context) -> Json {
    let text = serde_json::to_string(context).expect("a map of JSON is JSON");
    Json::object(text).expect("it was checked when it came in")
}

/// The file of events, within the folder that the host names.
const FILE: &str = "headwater.db";
/// The file whose lock says who leads.
const LOCK: &str = "headwater.lock";
/// After so many commits the log beside the file is moved into it: about two megabytes.
const CHECKPOINT_COMMITS: u32 = 256;
/// Reports that wait for the host to hear them.
const MAX_NOTICES: usize = 10_000;
/// How often memory is tried to be brought to a file, milliseconds.
const RETRY_MS: u64 = 5_000;
