//! The one place where the parts meet: a call becomes a record that is committed before the call returns, the core is told, and what it
//! asks for is carried out. Promises that no call waits for the network, that one process of those that share the file leads (numbers and
//! sends) while the others only append, and that memory is bounded whatever waits on the disk. Knows no rule about events: the core has those.

mod draft;
mod leader;
mod parts;
mod upkeep;

use std::{
    path::PathBuf,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
};

use headwater_core::{
    Config,
    event::{Json, Kind},
    platform::{Consent, Input, Key, Now, Priority},
};
use rusqlite::Connection;
use serde_json::{Map, Value};

use self::{leader::Leader, parts::Parts};
use crate::{
    Answer, Error, Report,
    clock::Clock,
    identity::{CATEGORIES, Identity, new_id},
    lease::Lease,
    storage::{self, Change, Durability, Failure, Record},
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

/// Members of an event's context.
pub(crate) type Context = Map<String, Value>;

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
        let mut parts = Parts::open(&settings, now);
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
            // Not from 1: what an earlier process sent is none of this one's.
            next_upload: AtomicU64::new(uuid::Uuid::new_v4().as_u64_pair().1 >> 2),
            closed: AtomicBool::new(false),
        })
    }

    /// Makes an event and commits it; gives back its id, and whether it outlives the process.
    pub(crate) fn record(&self, said: Said) -> Result<(String, bool), Error> {
        let mut inner = self.lock()?;
        let now = self.clock.now();
        inner.follow(&self.settings, now, false);
        Ok(self.record_now(inner, said, now))
    }

    /// The same, with a change of who the person is, in one transaction and before the event.
    pub(crate) fn record_with(
        &self,
        said: Said,
        change: impl FnOnce(&mut Identity),
    ) -> Result<(String, bool), Error> {
        let mut inner = self.lock()?;
        let now = self.clock.now();
        inner.follow(&self.settings, now, false);
        inner.look_at_others(&self.settings, now);
        inner.parts.change(change);
        Ok(self.record_now(inner, said, now))
    }

    fn record_now(&self, mut inner: MutexGuard<'_, Inner>, said: Said, now: Now) -> (String, bool) {
        let answer = inner.parts.identity.of(said.category, &self.settings.consent);
        let message_id = uuid::Uuid::now_v7().to_string();
        let durable = answer != Answer::Denied && {
            let record = inner.parts.record(said, &message_id, answer, now);
            inner.store(record, &self.settings, now)
        };
        inner.parts.catch_up();
        self.finish(inner, now);
        (message_id, durable)
    }

    /// Changes who the person is, or what was answered.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Identity)) -> Result<(), Error> {
        let mut inner = self.lock()?;
        let now = self.clock.now();
        inner.follow(&self.settings, now, false);
        inner.look_at_others(&self.settings, now);
        let before = inner.parts.consent();
        inner.parts.change(change);
        inner.parts.catch_up();
        inner.consented(before, &self.settings, now);
        inner.parts.catch_up();
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
            let Inner { parts, role: Role::Leading(leader), .. } = &mut *inner else {
                return Ok(None);
            };
            let Some((mut draft, withdrawn)) = leader.draft(parts, now, &self.settings) else {
                return Ok(None);
            };
            let consent = parts.consent();
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
            let mut inner = self.lock()?;
            let settled = match &read {
                // A text that cannot be read now is not one that is gone.
                Err(_) => Some(Answered::Unreachable),
                // The core looks at each event again.
                Ok(()) if withdrawn || inner.parts.consent() != consent => {
                    Some(Answered::Unreachable)
                }
                Ok(()) => dispatched.places.is_empty().then(|| Answered::Delivered(Vec::new())),
            };
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
            leader.sent(id, request, dispatched, parts, now);
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
    pub(crate) fn tell_not_sending(&self, why: &str) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.parts.tell(Report::NotSending { detail: why.to_owned() });
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
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        // Behind the lock: whoever waited for it while the client was closed must not lead again.
        if self.closed.load(SeqCst) { Err(Error::Closed) } else { Ok(inner) }
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
        if beside.opening != opening || beside.connection.is_none() {
            *beside = Beside { opening, connection: self.lock()?.parts.storage.beside() };
        }
        Ok(())
    }
}

impl Inner {
    /// Stores a new event, through the core where nothing waits behind it, otherwise at the end of what waits on the disk: for its turn, or
    /// for the person.
    fn store(&mut self, record: Record, settings: &Settings, now: Now) -> bool {
        let Self { parts, role, .. } = self;
        let waits = record.entry.is_in(parts.consent().pending);
        if let Role::Leading(leader) = role
            && !waits
            && leader.takes_at_once(settings)
        {
            return leader.track(record, parts, now);
        }
        let lost = |reason: &str| Report::Dropped {
            message_id: transport::message_id(&record.text).map(str::to_owned),
            reason: reason.into(),
        };
        if record.entry.bytes > settings.core.max_event_bytes {
            parts.tell(lost("too_large"));
            return false;
        }
        match parts.write(&[Change::Add { text: &record.text, entry: &record.entry, stamp: None }])
        {
            Ok(_) => {
                parts.stored += 1;
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
                    Role::Following => {
                        parts.tell(lost(leader::STORAGE_LOST));
                        false
                    }
                }
            }
        }
    }

    /// Goes where the file goes, before anything is done with it.
    fn follow(&mut self, settings: &Settings, now: Now, eager: bool) {
        let Self { parts, role, .. } = self;
        if !parts.follow_the_file(now, eager) {
            return;
        }
        let Role::Leading(leader) = role else { return };
        if leader.takes_the_lease_again(&settings.folder.join(LOCK)) {
            if parts.storage.anew {
                leader.begin_anew(settings, parts, now);
            }
        } else if let Role::Leading(leader) = std::mem::replace(role, Role::Following) {
            // Another process was faster: it sends what this one has.
            for record in leader.into_memory() {
                let add = Change::Add { text: &record.text, entry: &record.entry, stamp: None };
                if parts.write(&[add]).is_err() {
                    let message_id = transport::message_id(&record.text).map(str::to_owned);
                    let reason = leader::STORAGE_LOST.into();
                    parts.tell(Report::Dropped { message_id, reason });
                }
            }
        }
    }

    /// Heeds what other processes have written since the last time.
    fn look_at_others(&mut self, settings: &Settings, now: Now) {
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
    fn consented(&mut self, before: Consent, settings: &Settings, now: Now) {
        let consent = self.parts.consent();
        if consent == before {
            return;
        }
        if let Role::Leading(leader) = &mut self.role {
            leader.look_from_the_start();
        }
        self.input(Input::Consent(consent), settings, now);
    }

    /// Rows behind this one are not in the core's window.
    fn cursor(&self) -> i64 {
        match &self.role {
            Role::Leading(leader) => leader.cursor(),
            Role::Following => 0,
        }
    }

    fn input(&mut self, input: Input<'_>, settings: &Settings, now: Now) {
        self.follow(settings, now, matches!(input, Input::Online | Input::Flush));
        if let Role::Leading(leader) = &mut self.role {
            leader.input(input, &mut self.parts, now);
        } else if let Some(lease) = Lease::take(&settings.folder.join(LOCK)) {
            self.begin(lease, settings, now);
        }
    }

    /// Leads from now on.
    fn begin(&mut self, lease: Lease, settings: &Settings, now: Now) {
        self.parts.heed();
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
            let (done, in_memory) = match role {
                Role::Leading(leader) => {
                    (leader.is_done(&mut flush.key, flush.row), leader.unstored())
                }
                // Another process sends: nothing to wait for.
                Role::Following => (true, 0),
            };
            if !done && now.monotonic_ms < flush.deadline_ms {
                return true;
            }
            parts.notices.push(Notice::Flushed(flush.token, parts.stored + in_memory));
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
    let text = Value::Object(context.clone()).to_string();
    Json::object(text).expect("it was checked when it came in")
}

/// The file of events, within the folder that the host names.
const FILE: &str = "headwater.db";
/// The file whose lock says who leads.
const LOCK: &str = "headwater.lock";
/// After so many commits the log beside the file is moved into it: about two megabytes.
const CHECKPOINT_COMMITS: u32 = 256;
