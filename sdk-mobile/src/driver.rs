//! The one place where the parts meet: a call becomes a record that is committed before the call returns, the core is told, and what it
//! asks for is carried out. Promises that no call waits for the network, that one process of those that share the file leads (numbers and
//! sends) while the others only append, and that memory is bounded whatever waits on the disk. Knows no rule about events: the core has those.

mod draft;
mod inner;
mod leader;
mod listening;
mod parts;
mod upkeep;
mod uploads;
mod waiting;

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
    platform::{Input, Now, Priority},
};
use rusqlite::Connection;
use serde_json::{Map, Value};

use self::{
    inner::{Flush, Inner, Role},
    leader::Leader,
    listening::Listening,
    parts::Parts,
    waiting::Waiting,
};
use crate::{
    Answer, Error, Report,
    clock::Clock,
    identity::{CATEGORIES, Identity},
    lease::Lease,
    messages::Message,
    storage::{self, Change, Durability, Failure},
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
    /// Whether the host makes the requests, whose answers may come to a later process.
    pub(crate) keeps_uploads: bool,
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
    /// Of the body: `gzip` or `identity`.
    pub(crate) encoding: &'static str,
    pub(crate) body: Vec<u8>,
}

/// Something for the host to hear, on the thread of upkeep.
#[derive(Debug)]
pub(crate) enum Notice {
    Report(Report),
    UploadReady,
    /// There is a request for messages to make.
    Listen,
    Message(Message),
    /// A flush has ended; so many of the events before it are still here.
    Flushed(u64, u64),
}

pub(crate) use self::listening::{Heard, LISTEN_TIMEOUT_MS};

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
            None => Role::Following(Waiting::default()),
        };
        let inner = Inner {
            parts,
            role,
            flushes: Vec::new(),
            listening: Listening::new(),
            asleep_until_ms: 0,
            look_at_ms: 0,
            behind_since_ms: None,
        };
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
        let (inner, now) = self.up_to_date()?;
        Ok(self.record_now(inner, said, now))
    }

    /// The same, with a change of who the person is, in one transaction and before the event.
    pub(crate) fn record_with(
        &self,
        said: Said,
        change: impl FnOnce(&mut Identity),
    ) -> Result<(String, bool), Error> {
        let (mut inner, now) = self.up_to_date()?;
        inner.parts.change(change);
        Ok(self.record_now(inner, said, now))
    }

    fn record_now(&self, mut inner: MutexGuard<'_, Inner>, said: Said, now: Now) -> (String, bool) {
        let answer = inner.parts.identity.of(said.category, &self.settings.consent);
        let message_id = message_id(now);
        let durable = answer != Answer::Denied && {
            let record = inner.parts.record(said, &message_id, answer, now);
            inner.store(record, &self.settings, now)
        };
        inner.parts.catch_up();
        if durable && inner.behind_since_ms.is_some() {
            inner.send_from_behind(&self.settings, now);
        }
        self.finish(inner, now);
        (message_id, durable)
    }

    /// Changes who the person is, or what was answered.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Identity)) -> Result<(), Error> {
        let (mut inner, now) = self.up_to_date()?;
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
        self.change(Identity::become_another)
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
        if let Input::Online = input {
            inner.listening.begin(now);
        }
        inner.input(input, &self.settings, now);
        self.finish(inner, now);
        Ok(())
    }

    /// The app is in front, or no longer is.
    pub(crate) fn be_in_front(&self, in_front: bool) -> Result<(), Error> {
        let mut inner = self.lock()?;
        let now = self.clock.now();
        inner.behind_since_ms = (!in_front).then_some(now.monotonic_ms);
        inner.listening.be_in_front(in_front, now);
        let input = if in_front { Input::Online } else { Input::Leaving };
        // Whoever does not lead has nothing to send as it leaves.
        if in_front || matches!(inner.role, Role::Leading(_)) {
            inner.input(input, &self.settings, now);
        }
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
            Role::Following(waiting) => waiting.len(),
        };
        Ok(parts.stored + in_memory)
    }

    /// A request that is to be made now, if there is one.
    pub(crate) fn next_upload(&self) -> Result<Option<Upload>, Error> {
        loop {
            let now = self.clock.now();
            let mut inner = self.lock()?;
            inner.keep_the_lease(&self.settings, now);
            inner.look_at_note(&self.settings, now);
            inner.look_at_others(&self.settings, now);
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
            leader.sent(id, request, dispatched, parts, &self.settings, now);
            drop(inner);
            if let Some(answered) = settled {
                self.complete_upload(id, &answered)?;
                continue;
            }
            let url = path.url(&self.settings.endpoint);
            return Ok(Some(Upload { id, url, encoding: "gzip", body: transport::packed(&text) }));
        }
    }

    /// How many events the body of this upload has; nothing if nobody waits for its answer any more.
    pub(crate) fn sent(&self, id: u64) -> Result<Option<usize>, Error> {
        let inner = self.lock()?;
        let here = match &inner.role {
            Role::Leading(leader) => leader.events_of(id),
            Role::Following(_) => None,
        };
        // One of an earlier process, or given up long ago.
        Ok(here.or_else(|| uploads::given(&inner.parts, id).map(|rows| rows.len())))
    }

    /// What came of a request.
    pub(crate) fn complete_upload(&self, id: u64, answered: &Answered) -> Result<(), Error> {
        let mut inner = self.lock()?;
        let now = self.clock.now();
        if let Answered::Delivered(_) = answered {
            inner.listening.events_arrived(now);
        }
        let Inner { parts, role, flushes, .. } = &mut *inner;
        let ours = match role {
            Role::Leading(leader) => leader.completed(id, answered, parts, &self.settings, now),
            Role::Following(_) => false,
        };
        if !ours && let Some(rows) = uploads::given(parts, id) {
            match (answered, role) {
                (Answered::Delivered(listed), Role::Leading(leader)) => {
                    leader.answered_for(id, &rows, listed, parts);
                }
                (Answered::Delivered(listed), Role::Following(_)) => {
                    uploads::settle(id, &rows, listed, parts);
                }
                // They may go again: whoever leads sees that the host has done with them.
                _ => drop(parts.write(&[Change::Uploaded(id)])),
            }
        } else if ours
            && let Role::Leading(leader) = role
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
        inner.role = Role::Following(Waiting::default());
        drop(inner);
        self.alarm.notify_all();
    }

    /// What most calls begin with: the file may be another one by now, and somebody may have signed out, or said no, in another process.
    #[inline(never)]
    fn up_to_date(&self) -> Result<(MutexGuard<'_, Inner>, Now), Error> {
        let mut inner = self.lock()?;
        let now = self.clock.now();
        inner.follow(&self.settings, now, false);
        inner.look_at_others(&self.settings, now);
        Ok((inner, now))
    }

    fn lock(&self) -> Result<MutexGuard<'_, Inner>, Error> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        // Behind the lock: whoever waited for it while the client was closed must not lead again.
        if self.closed.load(SeqCst) { Err(Error::Closed) } else { Ok(inner) }
    }

    /// What every change ends with: new life where it is needed, flushes that are done, threads that have something to do.
    fn finish(&self, mut inner: MutexGuard<'_, Inner>, now: Now) {
        inner.settle(&self.settings, now);
        let wake = inner.wants_thread(&self.settings);
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

/// A UUID of version 7, by the client's own clock: the device's may stand before 1970.
fn message_id(now: Now) -> String {
    let [a, b, c, d, e, f, _, _, _, _, g, h, i, j, _, _] = uuid::Uuid::new_v4().into_bytes();
    let random = [a, b, c, d, e, f, g, h, i, j];
    let unix_ms = now.unix_ms.min((1 << 48) - 1);
    uuid::Builder::from_unix_timestamp_millis(unix_ms, &random).into_uuid().to_string()
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
/// The file for what a person has decided and that one would not take.
const NOTE: &str = "headwater.note";
/// The file whose lock says who leads.
const LOCK: &str = "headwater.lock";
/// After so many commits the log beside the file is moved into it: about two megabytes.
const CHECKPOINT_COMMITS: u32 = 256;
/// Bytes of the texts of the events that the core knows, most of which are on the disk.
const WINDOW_BYTES: u64 = 8 * 1024 * 1024;
