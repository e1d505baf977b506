//! Every kind of sink through the conformance script, and sinks that break one promise each, to see that the script notices.
//! Kafka's, which needs a broker, is in `kafka`.
#![allow(clippy::unwrap_used, reason = "what a test expects, it unwraps, in its functions too")]

use std::{
    convert::Infallible,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use headwater_collector::{
    config::Config,
    sinks::{
        AnySink, Parcel, Sink, Verdict,
        conformance::{self, Accepted, Condition, Destination},
    },
};
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::{net::TcpListener, sync::watch};

const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oDC2FVsBQIhrs=";

fn open(lines: &str) -> AnySink {
    let text = format!("[consumers.x]\n{lines}");
    let config = Config::parse(&text, Path::new("test.toml")).unwrap();
    AnySink::open(config.consumers.into_values().next().unwrap().sink.unwrap()).unwrap()
}

// ---- webhook

/// An HTTP server that does what the script asks for.
struct Server {
    url: String,
    options: &'static str,
    condition: watch::Sender<Condition>,
    accepted: Arc<Mutex<Vec<Accepted>>>,
}

impl Server {
    async fn start(options: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/in?token=hidden-token", listener.local_addr().unwrap());
        let (condition, now) = watch::channel(Condition::Healthy);
        let accepted = Arc::default();
        tokio::spawn(serve(listener, now, Arc::clone(&accepted)));
        Self { url, options, condition, accepted }
    }
}

async fn serve(
    listener: TcpListener,
    now: watch::Receiver<Condition>,
    accepted: Arc<Mutex<Vec<Accepted>>>,
) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (mut changed, now, accepted) = (now.clone(), now.clone(), Arc::clone(&accepted));
        let service = service_fn(move |request: Request<Incoming>| {
            let (now, accepted) = (now.clone(), Arc::clone(&accepted));
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                let condition = *now.borrow();
                let status = match condition {
                    Condition::Hanging => std::future::pending().await,
                    Condition::Refusing if body.windows(6).any(|w| w == b"spoilt") => 422,
                    _ => {
                        let id = head.headers["webhook-id"].to_str().unwrap();
                        accepted.lock().unwrap().extend(read(id, &body));
                        200
                    }
                };
                let answer = Response::builder().status(status);
                Ok::<_, Infallible>(answer.body(Full::new(bytes::Bytes::from("so it is"))).unwrap())
            }
        });
        tokio::spawn(async move {
            let serving = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::select! {
                _ = serving => {}
                // Down: every connection is cut, those that come too.
                _ = changed.wait_for(|now| *now == Condition::Down) => {}
            }
        });
    }
}

/// The events of a body, in whichever form it has.
fn read(id: &str, body: &[u8]) -> Vec<Accepted> {
    #[derive(Deserialize)]
    struct CloudEvent<'a> {
        id: String,
        #[serde(borrow)]
        data: &'a RawValue,
    }
    let accepted = |id, line: &RawValue| Accepted { id, line: line.get().to_owned() };
    let one = |event: CloudEvent<'_>| accepted(Some(event.id), event.data);
    if let Ok(events) = serde_json::from_slice::<Vec<CloudEvent<'_>>>(body) {
        events.into_iter().map(one).collect()
    } else if let Ok(event) = serde_json::from_slice::<CloudEvent<'_>>(body) {
        assert_eq!(event.id, id);
        vec![one(event)]
    } else if let Ok(lines) = serde_json::from_slice::<Vec<&RawValue>>(body) {
        lines.into_iter().map(|line| accepted(None, line)).collect()
    } else {
        vec![accepted(Some(id.to_owned()), serde_json::from_slice(body).unwrap())]
    }
}

impl Destination for Server {
    type Sink = AnySink;

    fn open(&self) -> AnySink {
        open(&format!(
            "kind = 'webhook'\nurl = '{}'\nsecret = '{SECRET}'\nallow_private = true\n\
             timeout_seconds = 1\n{}",
            self.url, self.options
        ))
    }

    async fn turn(&mut self, condition: Condition) -> bool {
        self.condition.send_replace(condition);
        true
    }

    async fn accepted(&mut self) -> Vec<Accepted> {
        self.accepted.lock().unwrap().clone()
    }

    fn bound(&self) -> Duration {
        Duration::from_secs(10)
    }

    fn spoil(&self, parcel: Parcel) -> Parcel {
        let line = std::str::from_utf8(&parcel.line).unwrap().replace("Tested", "spoilt");
        Parcel { line: line.into(), ..parcel }
    }

    fn secrets(&self) -> Vec<String> {
        vec![SECRET.trim_start_matches("whsec_").to_owned(), "hidden-token".to_owned()]
    }
}

#[tokio::test]
async fn webhook_one_by_one() {
    conformance::run(&mut Server::start("").await).await;
}

#[tokio::test]
async fn webhook_in_batches() {
    conformance::run(&mut Server::start("batch = 100").await).await;
}

#[tokio::test]
async fn webhook_as_cloud_events() {
    conformance::run(&mut Server::start("batch = 1000\nformat = 'cloudevents'").await).await;
    conformance::run(&mut Server::start("format = 'cloudevents'").await).await;
}

// ---- file

/// A folder on a disk, which can be moved away.
struct Folder {
    _temporary: tempfile::TempDir,
    here: PathBuf,
    away: PathBuf,
}

impl Destination for Folder {
    type Sink = AnySink;

    fn open(&self) -> AnySink {
        open(&format!("kind = 'file'\npath = {:?}\nmax_bytes = 20000", self.here.join("out")))
    }

    async fn turn(&mut self, condition: Condition) -> bool {
        match condition {
            Condition::Healthy => drop(fs::rename(&self.away, &self.here)),
            Condition::Down => fs::rename(&self.here, &self.away).unwrap(),
            // A disk refuses no event for what it is, and one that hangs cannot be had.
            Condition::Refusing | Condition::Hanging => return false,
        }
        true
    }

    async fn accepted(&mut self) -> Vec<Accepted> {
        let entries = fs::read_dir(self.here.join("out")).unwrap();
        let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        let texts: String = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
        texts.lines().map(|line| Accepted { id: None, line: line.to_owned() }).collect()
    }

    fn bound(&self) -> Duration {
        Duration::from_secs(20)
    }

    fn spoil(&self, parcel: Parcel) -> Parcel {
        parcel
    }

    fn secrets(&self) -> Vec<String> {
        Vec::new()
    }
}

#[tokio::test]
async fn file() {
    let temporary = tempfile::tempdir().unwrap();
    let (here, away) = (temporary.path().join("here"), temporary.path().join("away"));
    conformance::run(&mut Folder { _temporary: temporary, here, away }).await;
}

// ---- sinks that break a promise

#[derive(Clone, Copy, Debug, PartialEq)]
enum Flaw {
    Nothing,
    LosesTheLast,
    Repeats,
    Reverses,
    ChangesLines,
    MakesNewIds,
    RefusesTheGood,
    BlamesTheDestination,
    BlamesTheEvent,
    ClaimsSuccess,
    WaitsForever,
    KeepsAll,
    GivesUp,
    ShowsItsSecret,
    TellsItsSecret,
}

/// A destination in memory.
struct Memory {
    flaw: Flaw,
    condition: Arc<Mutex<Condition>>,
    accepted: Arc<Mutex<Vec<Accepted>>>,
}

struct Flawed {
    flaw: Flaw,
    condition: Arc<Mutex<Condition>>,
    accepted: Arc<Mutex<Vec<Accepted>>>,
    kept: Mutex<Vec<Vec<u8>>>,
    attempts: AtomicUsize,
}

impl std::fmt::Debug for Flawed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.flaw == Flaw::ShowsItsSecret { "hunter2" } else { "Flawed" })
    }
}

impl Sink for Flawed {
    fn most_at_once(&self) -> usize {
        100
    }

    async fn deliver(&self, parcels: &[Parcel]) -> Verdict {
        let unavailable =
            |reason: &str| Verdict::Unavailable { reason: reason.into(), retry_after: None };
        let refused = || Verdict::Refused { reason: "no".into() };
        let condition = *self.condition.lock().unwrap();
        let spoilt = parcels.iter().any(|parcel| parcel.line.ends_with(b"spoilt"));
        let attempt = self.attempts.fetch_add(1, Ordering::Relaxed);
        match (condition, self.flaw) {
            (Condition::Refusing, Flaw::RefusesTheGood) => return refused(),
            (Condition::Refusing, Flaw::BlamesTheDestination) if spoilt => {
                return unavailable("no");
            }
            (Condition::Refusing, _) if spoilt => return refused(),
            (Condition::Hanging, Flaw::WaitsForever) => std::future::pending().await,
            (Condition::Down, Flaw::BlamesTheEvent) => return refused(),
            (Condition::Down, Flaw::ClaimsSuccess) => return Verdict::Delivered,
            (Condition::Down, Flaw::TellsItsSecret) => return unavailable("hunter2 was not taken"),
            (Condition::Down | Condition::Hanging, flaw) => {
                if flaw == Flaw::KeepsAll {
                    self.kept.lock().unwrap().extend(parcels.iter().map(|p| p.line.to_vec()));
                }
                self.attempts.store(1_000_000, Ordering::Relaxed);
                return unavailable("down");
            }
            (_, Flaw::GivesUp) if attempt >= 1_000_000 => return unavailable("I gave up"),
            _ => {}
        }
        let mut all: Vec<_> = parcels
            .iter()
            .map(|parcel| Accepted {
                id: Some(match self.flaw {
                    Flaw::MakesNewIds => format!("{attempt}-{}", parcel.id),
                    _ => parcel.id.clone(),
                }),
                line: String::from_utf8(parcel.line.to_vec()).unwrap(),
            })
            .collect();
        match self.flaw {
            Flaw::LosesTheLast if all.len() > 1 => drop(all.pop()),
            Flaw::Repeats => all.push(all[0].clone()),
            Flaw::Reverses => all.reverse(),
            Flaw::ChangesLines => all[0].line.push(' '),
            _ => {}
        }
        self.accepted.lock().unwrap().extend(all);
        Verdict::Delivered
    }
}

impl Destination for Memory {
    type Sink = Flawed;

    fn open(&self) -> Flawed {
        Flawed {
            flaw: self.flaw,
            condition: Arc::clone(&self.condition),
            accepted: Arc::clone(&self.accepted),
            kept: Mutex::default(),
            attempts: AtomicUsize::new(0),
        }
    }

    async fn turn(&mut self, condition: Condition) -> bool {
        *self.condition.lock().unwrap() = condition;
        true
    }

    async fn accepted(&mut self) -> Vec<Accepted> {
        self.accepted.lock().unwrap().clone()
    }

    fn bound(&self) -> Duration {
        Duration::from_millis(500)
    }

    fn spoil(&self, parcel: Parcel) -> Parcel {
        Parcel { line: [&*parcel.line, b"spoilt"].concat().into(), ..parcel }
    }

    fn secrets(&self) -> Vec<String> {
        vec!["hunter2".to_owned()]
    }
}

#[tokio::test]
async fn the_script_notices_every_broken_promise() {
    for (flaw, noticed) in [
        (Flaw::Nothing, ""),
        (Flaw::LosesTheLast, "never accepted as it is"),
        (Flaw::Repeats, "accepted once"),
        (Flaw::Reverses, "out of order"),
        (Flaw::ChangesLines, "never accepted as it is"),
        (Flaw::MakesNewIds, "under another id"),
        (Flaw::RefusesTheGood, "it is healthy"),
        (Flaw::BlamesTheDestination, "a spoilt event is refused"),
        (Flaw::BlamesTheEvent, "no event is to blame"),
        (Flaw::ClaimsSuccess, "no event is to blame"),
        (Flaw::WaitsForever, "and no verdict"),
        (Flaw::KeepsAll, "are left in memory"),
        (Flaw::GivesUp, "attempts were in vain"),
        (Flaw::ShowsItsSecret, "a secret is in the sink's `Debug`"),
        (Flaw::TellsItsSecret, "a secret is in a reason"),
    ] {
        let condition = Arc::new(Mutex::new(Condition::Healthy));
        let mut memory = Memory { flaw, condition, accepted: Arc::default() };
        let run = tokio::spawn(async move { conformance::run(&mut memory).await }).await;
        let said = run.err().map_or_else(String::new, |panic| {
            let panic = panic.into_panic();
            let text = panic.downcast_ref::<String>().cloned();
            text.unwrap_or_else(|| (*panic.downcast::<&str>().unwrap()).to_owned())
        });
        assert_eq!(said.is_empty(), noticed.is_empty(), "{flaw:?}: {said}");
        assert!(said.contains(noticed), "{flaw:?}: {said}");
    }
}
