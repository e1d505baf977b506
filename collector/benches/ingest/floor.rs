//! The floor: the least that a collector can do which answers 200 only after an fdatasync.
//! Promises to be fast and honest: it parses each batch in the connection's task, appends its events to one file from one
//! thread, syncs once for all that waited, then answers. Deliberately has nothing else: no keys, no checks, no
//! deduplication, no checksums, no compression, no limits.

use std::{
    convert::Infallible,
    fs::File,
    io::Write as _,
    path::Path,
    sync::{Arc, Condvar, Mutex, PoisonError},
};

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::{net::TcpListener, sync::oneshot};

/// What waits for the writer.
#[derive(Default)]
struct Waiting {
    bytes: Vec<u8>,
    answers: Vec<oneshot::Sender<()>>,
}

#[derive(Default)]
struct Inbox {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
}

#[derive(Deserialize)]
struct Batch<'a> {
    #[serde(borrow)]
    batch: Vec<&'a RawValue>,
}

/// Serves until it is killed; says where on its first line of standard output.
pub(crate) fn serve(folder: &Path) -> anyhow::Result<()> {
    let file = File::create_new(folder.join("floor.log")).context("cannot create the file")?;
    let inbox = Arc::new(Inbox::default());
    let writers = Arc::clone(&inbox);
    std::thread::spawn(move || write(&writers, file));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        writeln!(std::io::stdout(), "floor listens on http://{}", listener.local_addr()?)?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let inbox = Arc::clone(&inbox);
            let service = service_fn(move |request| take(request, Arc::clone(&inbox)));
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    })
}

async fn take(
    request: Request<Incoming>,
    inbox: Arc<Inbox>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let is_batch = request.uri().path() == "/v1/batch";
    let body = match request.into_body().collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return Ok(failure(400, &error)),
    };
    let parsed = if is_batch {
        serde_json::from_slice(&body).map(|Batch { batch }| batch)
    } else {
        serde_json::from_slice(&body).map(|event| vec![event])
    };
    let events = match parsed {
        Ok(events) => events,
        Err(error) => return Ok(failure(400, &error)),
    };
    match inbox.put(&events).await {
        Ok(()) => Ok(Response::new(Full::from(&br#"{"success":true}"#[..]))),
        Err(error) => Ok(failure(503, &error)),
    }
}

fn failure(status: u16, error: &dyn std::fmt::Display) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::from(error.to_string()));
    *answer.status_mut() = status.try_into().unwrap_or_default();
    answer
}

impl Inbox {
    fn put(&self, events: &[&RawValue]) -> oneshot::Receiver<()> {
        let (answer, answered) = oneshot::channel();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for event in events {
            waiting.bytes.extend_from_slice(event.get().as_bytes());
            waiting.bytes.push(b'\n');
        }
        waiting.answers.push(answer);
        let first = waiting.answers.len() == 1;
        drop(waiting);
        if first {
            self.arrived.notify_one();
        }
        answered
    }
}

/// Writes, syncs and answers until a write or sync fails: then whoever waits gets a 503.
fn write(inbox: &Inbox, mut file: File) {
    let mut group = Waiting::default();
    loop {
        let mut waiting = inbox.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        while waiting.answers.is_empty() {
            waiting = inbox.arrived.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        // What was written last gives its memory to what comes next.
        std::mem::swap(&mut *waiting, &mut group);
        drop(waiting);
        if file.write_all(&group.bytes).and_then(|()| file.sync_data()).is_err() {
            return;
        }
        group.bytes.clear();
        for answer in group.answers.drain(..) {
            // Whoever went away needs no answer.
            let _answered = answer.send(());
        }
    }
}
