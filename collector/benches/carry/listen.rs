//! Those who wait for events: a reader of the live stream, and a receiver of webhooks.
//! Promises to note the moment at which an event was there in full, and to be cheap about it. Checks no signatures: tests do.

use std::{
    convert::Infallible,
    io::{BufRead as _, BufReader},
    net::{SocketAddr, TcpStream},
    sync::mpsc,
    time::Instant,
};

use http_body_util::{BodyExt as _, Empty};
use hyper::{Response, body::Bytes, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;

use crate::{events::read_message_id, server::member};

/// Who listens.
#[derive(Clone, Copy)]
pub(crate) enum Listener {
    Sse,
    Webhook { batch: usize },
}

/// An event's id, and when it was there.
pub(crate) type Arrivals = mpsc::Receiver<((usize, usize), Instant)>;

/// A reader of `/v1/live`, on a thread of its own.
pub(crate) struct Sse {
    pub(crate) arrivals: Arrivals,
}

impl Sse {
    pub(crate) fn open(mut answer: BufReader<TcpStream>) -> Self {
        let (tell, arrivals) = mpsc::channel();
        std::thread::spawn(move || {
            let mut line = Vec::new();
            while answer.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                let now = Instant::now();
                let id = member(&line, b"\"messageId\":\"").and_then(read_message_id);
                if id.is_some_and(|id| tell.send((id, now)).is_err()) {
                    return;
                }
                line.clear();
            }
        });
        Self { arrivals }
    }
}

/// A receiver of webhooks, on a thread of its own.
pub(crate) struct Webhook {
    address: SocketAddr,
    pub(crate) arrivals: Arrivals,
}

impl Webhook {
    pub(crate) fn open() -> anyhow::Result<Self> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (tell, arrivals) = mpsc::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::spawn(move || runtime.block_on(serve(listener, tell)));
        Ok(Self { address, arrivals })
    }

    /// Where it is.
    #[allow(dead_code, reason = "each benchmark uses its own part of it")]
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// A collector that delivers here.
    pub(crate) fn config(&self, batch: usize) -> String {
        format!(
            "[consumers.bench]\nkind = 'webhook'\nurl = 'http://{}/'\nallow_private = true\nbatch = {batch}\n\
             secret = 'whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oDC2FVsBQIhrs='\n",
            self.address
        )
    }
}

async fn serve(
    listener: std::net::TcpListener,
    tell: mpsc::Sender<((usize, usize), Instant)>,
) -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let tell = tell.clone();
        let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
            let tell = tell.clone();
            async move {
                let body =
                    request.into_body().collect().await.map(http_body_util::Collected::to_bytes);
                let (now, body) = (Instant::now(), body.unwrap_or_default());
                for at in memchr::memmem::find_iter(&body, b"\"messageId\":\"") {
                    let id = member(&body[at..], b"\"messageId\":\"").and_then(read_message_id);
                    // Nobody counts any more: the run is over.
                    let _told = id.map(|id| tell.send((id, now)));
                }
                Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
            }
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}
