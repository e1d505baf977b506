//! Headwater for phones, servers and programs: the same core as in the browser, with SQLite, threads and HTTP around it. This file is the
//! surface that Kotlin and Swift see through UniFFI, and is conversions only.
//!
//! ```text
//!   track() ─▶ lib.rs ─▶ driver.rs ─▶ storage.rs      committed: the call returns
//!                          │   └─▶ driver/leader.rs    the core: numbers it, decides when it goes
//!                          │          └─▶ driver/draft.rs, transport.rs   a request
//!                          ├─ driver/upkeep.rs         the thread that wakes, tells and checkpoints
//!                          └─ driver/listening.rs      what rules say to whoever uses the app
//!   next_upload() ◀─ the host's HTTP, or uploader.rs ─▶ complete_upload()
//! ```
//!
//! **Promises.** An event that [`Core::track`] returned for survives the process (with [`Survives::Power`] the device's power), and is sent
//! until the collector answers for it, or is reported dropped. No call waits for the network. No call, whatever it is given, panics. Memory
//! is bounded whatever waits on the disk. Any thread may call anything, also from within a callback.
//!
//! **Not promised**: that an event whose commit failed survives ([`Recorded::durable`] says so, and [`Report::NotDurable`] why).

mod clock;
mod driver;
mod endpoint;
mod file_id;
mod identity;
mod lease;
mod lifecycle;
mod messages;
mod note;
mod storage;
mod transport;
#[cfg(feature = "reqwest")]
mod uploader;
#[cfg(all(feature = "reqwest", any(target_os = "android", feature = "testing")))]
mod verifier;

#[cfg(feature = "reqwest")]
use std::sync::Once;
use std::{collections::HashMap, fmt, path::PathBuf, sync::Arc, thread};

use headwater_core::{
    Config,
    event::{Json, Kind},
    platform::{Input, Priority},
};

use driver::{Driver, Heard, LISTEN_TIMEOUT_MS, Listener, Notice, Said, Settings};
use endpoint::Reach;
use identity::CATEGORIES;
use storage::Durability;
use transport::Answered;

pub use messages::{Act, Message};

uniffi::setup_scaffolding!();

/// Its program in Rust compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// What a client needs to know at its start. Only the first three have no default.
#[derive(Clone, Debug, uniffi::Record)]
pub struct Options {
    /// The source's public key.
    pub write_key: String,
    /// The collector: `https://…`, without `/v1`.
    pub endpoint: String,
    /// A folder of this client's own, in the app's private storage; made if it is not there.
    pub folder: String,
    /// What a commit survives. Default: the death of the process.
    #[uniffi(default = None)]
    pub survives: Option<Survives>,
    /// Who makes the requests. Default: this library.
    #[uniffi(default = None)]
    pub uploads: Option<Uploads>,
    /// How long a request of the host's may take, milliseconds. Default 30,000; a background session of Apple's may take seven days, and is
    /// waited for as long: also by a later process, if [`Core::complete_upload`] tells it.
    #[uniffi(default = None)]
    pub upload_timeout_ms: Option<u64>,
    /// Events kept while they cannot be sent; the oldest of the least important are dropped beyond it. Default 100,000.
    #[uniffi(default = 100_000)]
    pub max_events: u64,
    /// Bytes of the file they are kept in. Default 52,428,800: 50 MiB.
    #[uniffi(default = 52_428_800)]
    pub max_bytes: u64,
    /// Age at which an event is given up, milliseconds, judged when a request fails. Default none.
    #[uniffi(default = None)]
    pub max_age_ms: Option<u64>,
    /// How long the first event of a batch waits for others, milliseconds. Default 100; longer saves a phone's radio.
    #[uniffi(default = 100)]
    pub gather_ms: u64,
    /// Events in a batch. Default 100; a backlog goes in batches of up to eight times as many.
    #[uniffi(default = 100)]
    pub max_batch_events: u32,
    /// What holds for a category of events until the person was asked. Default: granted.
    #[uniffi(default)]
    pub consent: HashMap<Category, Answer>,
}

impl Options {
    /// The defaults, for what has none.
    #[must_use]
    pub fn new(write_key: &str, endpoint: &str, folder: &str) -> Self {
        Self {
            write_key: write_key.to_owned(),
            endpoint: endpoint.to_owned(),
            folder: folder.to_owned(),
            survives: None,
            uploads: None,
            upload_timeout_ms: None,
            max_events: 100_000,
            max_bytes: 50 << 20,
            max_age_ms: None,
            gather_ms: 100,
            max_batch_events: 100,
            consent: HashMap::new(),
        }
    }
}

/// What a commit survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, uniffi::Enum)]
pub enum Survives {
    /// The death of the process, however it dies.
    #[default]
    Process,
    /// The loss of power as well: each call waits for the disk.
    Power,
}

/// Who makes the requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, uniffi::Enum)]
pub enum Uploads {
    /// This library, on a thread of its own (builds with the feature `reqwest`, on Android once Kotlin has set up TLS).
    #[default]
    BuiltIn,
    /// The host, with [`Core::next_upload`] and [`Core::complete_upload`], each time that [`Host::upload_ready`] is called.
    Host,
}

/// What an event is collected for: each has its own answer about consent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, uniffi::Enum)]
pub enum Category {
    /// To know how the product is used. Events that name none are of this one.
    #[default]
    Analytics,
    /// To advertise.
    Marketing,
    /// To make the product work better for this person.
    Functional,
    /// To make it work at all.
    Necessary,
}

/// The person's answer about a category.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum Answer {
    /// Not given yet: events are kept, and not sent.
    Pending,
    /// Yes.
    Granted,
    /// No: what was kept is deleted, and nothing more is.
    Denied,
}

/// What a call may say beside its event.
#[derive(Clone, Debug, Default, uniffi::Record)]
pub struct EventOptions {
    /// What it is collected for. Default: analytics.
    #[uniffi(default = None)]
    pub category: Option<Category>,
    /// When it happened, unix milliseconds. Default now.
    #[uniffi(default = None)]
    pub timestamp_ms: Option<u64>,
    /// Members of its context that stand in place of the client's: a JSON object.
    #[uniffi(default = None)]
    pub context: Option<String>,
}

/// An event that was taken.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Recorded {
    /// Its id: a UUID, version 7.
    pub message_id: String,
    /// Whether it is committed. If not, the person said no to its category, or storage refused it and it is in memory alone.
    pub durable: bool,
}

/// A request for the host to make: a POST.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Upload {
    /// To be named in [`Core::complete_upload`].
    pub id: u64,
    /// Where to.
    pub url: String,
    /// Headers to set.
    pub headers: HashMap<String, String>,
    /// The body, compressed as the headers say.
    pub body: Vec<u8>,
    /// When to give it up, milliseconds.
    pub timeout_ms: u64,
}

/// Something that the app, or a human, may want to know.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum Report {
    /// An event was given up.
    Dropped {
        /// Which one, where it is known.
        message_id: Option<String>,
        /// `queue_full`, `too_old`, `too_large`, `refused`, `denied`, `storage_lost`.
        reason: String,
    },
    /// The collector does not know the write key (401, 403): nothing is sent until the next start or flush. Events are kept.
    Stopped {
        /// The status.
        status: u16,
    },
    /// Storage refuses: events are in memory alone until it takes them again. Told once.
    NotDurable {
        /// Why, and what to do.
        detail: String,
    },
    /// A file could not be read, and was set aside.
    StateLost {
        /// Which, and what was saved from it.
        detail: String,
    },
    /// Nothing goes out: the collector cannot be reached, or somebody else answers. Events are kept. Told once for each run of failures.
    NotSending {
        /// Which address, and why.
        detail: String,
    },
    /// The collector tells this device no messages. It is not asked again until the app comes to the front.
    NoMessages {
        /// Why.
        detail: String,
    },
}

/// Whoever owns a client. Called on a thread of the client's own, never within a call of yours.
#[uniffi::export(with_foreign)]
pub trait Host: Send + Sync {
    /// There is something to send: fetch it with [`Core::next_upload`] until that gives nothing.
    fn upload_ready(&self) -> Result<(), HostFailure>;
    /// Something happened.
    fn report(&self, report: Report) -> Result<(), HostFailure>;
    /// [`Core::flush`] with this token has ended, and so many events are still here.
    fn flushed(&self, token: u64, pending: u64) -> Result<(), HostFailure>;
    /// There is a message, after [`Core::listen`].
    fn message(&self, message: Message) -> Result<(), HostFailure>;
    /// There is a request for messages to make: fetch it with [`Core::next_listening`], once.
    fn listen_ready(&self) -> Result<(), HostFailure>;
}

/// A callback threw: what it was told is not told again.
#[derive(Debug, uniffi::Error)]
pub enum HostFailure {
    /// It did.
    Threw,
}

impl fmt::Display for HostFailure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a callback threw")
    }
}

impl From<uniffi::UnexpectedUniFFICallbackError> for HostFailure {
    fn from(_: uniffi::UnexpectedUniFFICallbackError) -> Self {
        Self::Threw
    }
}

/// Why a call was not taken. Nothing was recorded.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Error)]
pub enum Error {
    /// An option makes no sense.
    InvalidOptions {
        /// Which, and what to do.
        detail: String,
    },
    /// Properties, traits or a context are not a JSON object.
    InvalidJson {
        /// Where it stops being one.
        detail: String,
    },
    /// The client was closed.
    Closed,
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidOptions { detail } => write!(out, "invalid options: {detail}"),
            Self::InvalidJson { detail } => write!(out, "not a JSON object: {detail}"),
            Self::Closed => out.write_str("the client was closed"),
        }
    }
}

impl std::error::Error for Error {}

/// One client: one write key, one folder. Keep one for the life of the app.
#[derive(uniffi::Object)]
pub struct Core {
    driver: Arc<Driver>,
    reach: Arc<Reach>,
    #[cfg(feature = "reqwest")]
    uploads: Uploads,
    /// Who hears messages by this library's own HTTP: begun by the first who listens.
    #[cfg(feature = "reqwest")]
    listener: Once,
}

#[uniffi::export]
#[allow(clippy::needless_pass_by_value, reason = "what crosses the boundary is owned")]
impl Core {
    /// Opens the folder and begins to send what lies there.
    ///
    /// # Errors
    /// [`Error::InvalidOptions`]. A folder that cannot be used is none: events are then kept in memory, as [`Report::NotDurable`] says.
    #[uniffi::constructor]
    pub fn new(options: Options, host: Arc<dyn Host>) -> Result<Arc<Self>, Error> {
        let uploads = options.uploads.unwrap_or_default();
        let reach = Arc::new(Reach::new(&options.endpoint));
        let folder = options.folder.clone();
        let driver = Driver::open(settings(options)?);
        let told = Told { host, uploads, folder };
        let upkeep = Arc::clone(&driver);
        let failed = |error: std::io::Error| Error::InvalidOptions {
            detail: format!("no thread can be started: {error}"),
        };
        begin("headwater", Box::new(move || upkeep.keep_up(&told))).map_err(failed)?;
        #[cfg(feature = "reqwest")]
        if uploads == Uploads::BuiltIn {
            let (uploader, reach) = (Arc::clone(&driver), Arc::clone(&reach));
            begin("headwater-upload", Box::new(move || uploader::run(&uploader, &reach)))
                .map_err(failed)?;
        }
        Ok(Arc::new(Self {
            driver,
            reach,
            #[cfg(feature = "reqwest")]
            uploads,
            #[cfg(feature = "reqwest")]
            listener: Once::new(),
        }))
    }

    /// Somebody did something. `properties`: a JSON object.
    ///
    /// # Errors
    /// [`Error::InvalidJson`], [`Error::Closed`].
    pub fn track(
        &self,
        event: String,
        properties: Option<String>,
        options: EventOptions,
    ) -> Result<Recorded, Error> {
        self.say(Kind::Track { event }, properties, options)
    }

    /// Somebody saw a screen of an app.
    ///
    /// # Errors
    /// As [`Core::track`].
    pub fn screen(
        &self,
        name: Option<String>,
        category: Option<String>,
        properties: Option<String>,
        options: EventOptions,
    ) -> Result<Recorded, Error> {
        self.say(Kind::Screen { category, name }, properties, options)
    }

    /// Somebody saw a page.
    ///
    /// # Errors
    /// As [`Core::track`].
    pub fn page(
        &self,
        name: Option<String>,
        category: Option<String>,
        properties: Option<String>,
        options: EventOptions,
    ) -> Result<Recorded, Error> {
        self.say(Kind::Page { category, name }, properties, options)
    }

    /// Somebody is known by this user id from now on (without one: by what is known already), and by these traits.
    ///
    /// # Errors
    /// As [`Core::track`].
    pub fn identify(
        &self,
        user_id: Option<String>,
        traits: Option<String>,
        options: EventOptions,
    ) -> Result<Recorded, Error> {
        let said = said(Kind::Identify, traits, options)?;
        self.recorded(self.driver.record_with(said, |identity| {
            if user_id.is_some() {
                identity.user_id = user_id;
            }
        }))
    }

    /// Somebody belongs to this account.
    ///
    /// # Errors
    /// As [`Core::track`].
    pub fn group(
        &self,
        group_id: String,
        traits: Option<String>,
        options: EventOptions,
    ) -> Result<Recorded, Error> {
        self.say(Kind::Group { group_id }, traits, options)
    }

    /// The person known until now (or by `previous_id`) is the one with this user id.
    ///
    /// # Errors
    /// As [`Core::track`].
    pub fn alias(
        &self,
        user_id: String,
        previous_id: Option<String>,
        options: EventOptions,
    ) -> Result<Recorded, Error> {
        let previous_id = match previous_id {
            Some(previous_id) => previous_id,
            None => {
                let known = self.driver.identity()?;
                known.user_id.unwrap_or(known.anonymous_id)
            }
        };
        let said = said(Kind::Alias { previous_id }, None, options)?;
        self.recorded(self.driver.record_with(said, |identity| identity.user_id = Some(user_id)))
    }

    /// What every event says of where it happened, from now on: a JSON object with Segment's members (`app`, `device`, `os`, …).
    ///
    /// # Errors
    /// As [`Core::track`].
    pub fn set_context(&self, context: String) -> Result<(), Error> {
        self.driver.set_context(driver::context(&context)?)
    }

    /// The person's answers; categories that are not named keep theirs.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn set_consent(&self, answers: HashMap<Category, Answer>) -> Result<(), Error> {
        self.driver.change(|identity| {
            for (category, answer) in answers {
                identity.answers[category as usize] = Some(answer);
            }
        })
    }

    /// What holds for a category now.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn consent(&self, category: Category) -> Result<Answer, Error> {
        self.driver.consent(category as usize)
    }

    /// Somebody else uses the device from now on: a new anonymous id, no user id, a new session.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn reset(&self) -> Result<(), Error> {
        self.driver.reset()
    }

    /// The device's id.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn anonymous_id(&self) -> Result<String, Error> {
        Ok(self.driver.identity()?.anonymous_id)
    }

    /// Another id for the device, such as one that a web page gave it.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn set_anonymous_id(&self, anonymous_id: String) -> Result<(), Error> {
        self.driver.change(|identity| identity.anonymous_id = anonymous_id)
    }

    /// The person's id, once known.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn user_id(&self) -> Result<Option<String>, Error> {
        Ok(self.driver.identity()?.user_id)
    }

    /// Sends what there is without waiting for more. [`Host::flushed`] with this token is called when all of it is answered for, an attempt
    /// has failed, or the time is over.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn flush(&self, token: u64, timeout_ms: u64) -> Result<(), Error> {
        self.driver.flush(token, timeout_ms)
    }

    /// Events that are not answered for yet, by this process's knowledge.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn pending(&self) -> Result<u64, Error> {
        self.driver.pending()
    }

    /// The app was opened, in this version. Says so by `Application Installed` (the first time), `Application Updated` (in another version
    /// than before), and `Application Opened`, with these properties: a JSON object.
    ///
    /// # Errors
    /// As [`Core::track`].
    pub fn opened(
        &self,
        version: String,
        build: String,
        properties: Option<String>,
    ) -> Result<(), Error> {
        lifecycle::opened(&self.driver, &version, &build, properties)
    }

    /// The app is in front: events of other processes and a failed request are looked after at once.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn foreground(&self) -> Result<(), Error> {
        self.driver.be_in_front(true)
    }

    /// The app is about to be suspended: what was not sent yet is sent now, and asked about rather than sent again if no answer comes. Another
    /// process that shares the folder sends from then on, if there is one.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn background(&self) -> Result<(), Error> {
        self.driver.be_in_front(false)
    }

    /// The network came back, says the host.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn online(&self) -> Result<(), Error> {
        self.driver.input(Input::Online)
    }

    /// A request to be made now, if there is one. Each is to be answered by [`Core::complete_upload`].
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn next_upload(&self) -> Result<Option<Upload>, Error> {
        let Some(upload) = self.driver.next_upload()? else { return Ok(None) };
        self.reach.sends(upload.id, &upload.url);
        Ok(Some(given(upload, self.driver.timeout_ms())))
    }

    /// What came of a request: the status; the header `Retry-After`, if there was one; the body. If nobody answered, the status is 0 and the
    /// body says why, or nothing if the host gave it up on purpose. It may be a request of an earlier process, or a late answer: a receipt
    /// counts whenever it comes.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn complete_upload(
        &self,
        id: u64,
        status: u16,
        retry_after: Option<String>,
        body: String,
    ) -> Result<(), Error> {
        let Some(sent) = self.driver.sent(id)? else { return Ok(()) };
        let answered = Answered::read(status, retry_after.as_deref(), &body, sent);
        if let Some(why) = self.reach.told(id, &answered, status, &body) {
            self.driver.tell_not_sending(&why);
        }
        self.driver.complete_upload(id, &answered)
    }

    /// Somebody listens for messages from now on, or nobody does. They are told to [`Host::message`] while the app is in front (after
    /// [`Core::foreground`], until [`Core::background`]) and the person has agreed to `functional`.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn listen(&self, wanted: bool) -> Result<(), Error> {
        #[cfg(feature = "reqwest")]
        if wanted && self.uploads == Uploads::BuiltIn {
            self.listener.call_once(|| {
                let driver = Arc::clone(&self.driver);
                // Without it there are no messages, and everything else is well.
                drop(begin("headwater-listen", Box::new(move || uploader::listen(&driver))));
            });
        }
        self.driver.listen(wanted)
    }

    /// This became of a message that was told. `Clicked` and `Dismissed` are `Shown`, too; each is said once, by the event of that name.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn act(&self, message_id: String, act: Act) -> Result<(), Error> {
        self.driver.act(&message_id, act)
    }

    /// A request for messages to be made now, if there is one: beside those of [`Core::next_upload`], since its answer is held back until
    /// there is something to say. Each is to be answered by [`Core::complete_listening`].
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn next_listening(&self) -> Result<Option<Upload>, Error> {
        Ok(self.driver.next_listening()?.map(|upload| given(upload, LISTEN_TIMEOUT_MS)))
    }

    /// What came of it: see [`Core::complete_upload`].
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn complete_listening(
        &self,
        id: u64,
        status: u16,
        retry_after: Option<String>,
        body: String,
    ) -> Result<(), Error> {
        let retry_after = retry_after.as_deref();
        self.driver.complete_listening(id, &Heard { status, retry_after, body: &body })
    }

    /// Ends this client's threads; what is stored stays. Every later call is refused.
    pub fn close(&self) {
        self.driver.close();
    }
}

/// For tests: time as a value.
#[cfg(feature = "testing")]
#[uniffi::export]
impl Core {
    /// Moves both clocks on.
    pub fn pass(&self, ms: u32) {
        self.driver.clock.pass(ms);
        self.driver.ring();
    }

    /// Sets the device's clock forward, or back.
    pub fn set_clock_by(&self, ms: i64) {
        self.driver.clock.set_by(ms);
        self.driver.ring();
    }
}

impl Core {
    fn say(
        &self,
        kind: Kind,
        fields: Option<String>,
        options: EventOptions,
    ) -> Result<Recorded, Error> {
        self.recorded(self.driver.record(said(kind, fields, options)?))
    }

    #[allow(clippy::unused_self, reason = "reads as the end of a call")]
    fn recorded(&self, taken: Result<(String, bool), Error>) -> Result<Recorded, Error> {
        taken.map(|(message_id, durable)| Recorded { message_id, durable })
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        self.driver.close();
    }
}

/// A request as a host makes it.
fn given(upload: driver::Upload, timeout_ms: u64) -> Upload {
    let driver::Upload { id, url, encoding, body } = upload;
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let headers = HashMap::from([
        header("content-type", "application/json"),
        header("content-encoding", encoding),
    ]);
    Upload { id, url, headers, body, timeout_ms }
}

/// Begins a thread. A box, so that what a thread is made of is compiled once.
fn begin(name: &str, act: Box<dyn FnOnce() + Send>) -> std::io::Result<()> {
    thread::Builder::new().name(name.into()).spawn(act).map(drop)
}

struct Told {
    host: Arc<dyn Host>,
    uploads: Uploads,
    folder: String,
}

impl Listener for Told {
    fn hear(&self, notice: Notice) {
        // A host that throws has heard it all the same.
        drop(match notice {
            Notice::Report(Report::NotDurable { detail }) => {
                let folder = &self.folder;
                let detail = format!(
                    "{detail}. The folder is {folder}: it needs room, and to be this process's to write"
                );
                self.host.report(Report::NotDurable { detail })
            }
            Notice::Report(report) => self.host.report(report),
            Notice::Flushed(token, pending) => self.host.flushed(token, pending),
            Notice::UploadReady if self.uploads == Uploads::Host => self.host.upload_ready(),
            Notice::Message(message) => self.host.message(message),
            Notice::Listen if self.uploads == Uploads::Host => self.host.listen_ready(),
            Notice::UploadReady | Notice::Listen => Ok(()),
        });
    }
}

fn said(kind: Kind, fields: Option<String>, options: EventOptions) -> Result<Said, Error> {
    let priority = match &kind {
        Kind::Identify | Kind::Group { .. } | Kind::Alias { .. } => Priority::High,
        // Money is missed more than anything else.
        _ if fields.as_ref().is_some_and(|fields| fields.contains("\"revenue\":")) => {
            Priority::High
        }
        Kind::Track { .. } => Priority::Normal,
        Kind::Page { .. } | Kind::Screen { .. } => Priority::Low,
    };
    let fields = fields.map(Json::object).transpose();
    let fields = fields.map_err(|error| Error::InvalidJson { detail: error.to_string() })?;
    let EventOptions { category, timestamp_ms, context } = options;
    let context = context.as_deref().map(driver::context).transpose()?;
    let category = category.unwrap_or_default() as usize;
    Ok(Said { kind, fields, context, at_ms: timestamp_ms, category, priority })
}

fn settings(options: Options) -> Result<Settings, Error> {
    let invalid = |detail: &str| Err(Error::InvalidOptions { detail: detail.to_owned() });
    if options.write_key.trim().is_empty() {
        return invalid("write_key is empty: name the key of a source that the collector knows");
    }
    if let Err(wrong) = endpoint::check(&options.endpoint) {
        return invalid(&wrong);
    }
    if options.folder.trim().is_empty() {
        return invalid("folder is empty: name a folder in the app's private storage");
    }
    #[cfg(not(feature = "reqwest"))]
    if options.uploads.unwrap_or_default() == Uploads::BuiltIn {
        return invalid("this build has no HTTP of its own: use uploads = Host");
    }
    let mut consent = [Answer::Granted; CATEGORIES];
    for (category, answer) in options.consent {
        consent[category as usize] = answer;
    }
    let uploads = options.uploads.unwrap_or_default();
    let mut core = Config {
        gather_ms: options.gather_ms,
        interval_ms: INTERVAL_MS,
        max_batch_events: options.max_batch_events,
        max_age_ms: options.max_age_ms.unwrap_or(u64::MAX),
        ..Config::DEFAULT
    }
    .checked();
    if let (Uploads::Host, Some(timeout_ms)) = (uploads, options.upload_timeout_ms) {
        core.request_timeout_ms = timeout_ms.clamp(1, MAX_UPLOAD_MS);
    }
    Ok(Settings {
        write_key: options.write_key,
        endpoint: options.endpoint,
        folder: PathBuf::from(options.folder),
        durability: match options.survives.unwrap_or_default() {
            Survives::Process => Durability::Process,
            Survives::Power => Durability::Power,
        },
        max_events: options.max_events.max(1),
        max_bytes: options.max_bytes.max(1 << 20),
        consent,
        keeps_uploads: uploads == Uploads::Host,
        core,
    })
}

/// Thirty days: longer than any operating system keeps a request.
const MAX_UPLOAD_MS: u64 = 30 * 24 * 3_600_000;
/// Least time between two requests, milliseconds: a backlog of 100,000 events is gone in 125 requests.
const INTERVAL_MS: u64 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_commit_is_to_survive_reaches_the_file() {
        let folder = tempfile::tempdir().expect("a folder");
        for (survives, synchronous) in [(Survives::Process, 1), (Survives::Power, 2)] {
            let options = Options {
                write_key: "wk".into(),
                endpoint: "http://127.0.0.1:9".into(),
                folder: folder.path().display().to_string(),
                survives: Some(survives),
                uploads: None,
                upload_timeout_ms: None,
                max_events: 1,
                max_bytes: 1,
                max_age_ms: None,
                gather_ms: 1,
                max_batch_events: 1,
                consent: HashMap::new(),
            };
            let settings = settings(options).expect("they make sense");
            let path = folder.path().join(format!("{synchronous}.db"));
            let (storage, _) =
                storage::Storage::open(&path, settings.durability, settings.max_bytes);
            assert_eq!(storage.synchronous(), synchronous);
        }
    }
}
