//! Connections: accepted, bounded in number and time, and drained at the end.
//! Promises that no client can hold a connection without sending, and that a request that has begun
//! when the server is told to stop is finished, within a stated time. Deliberately knows nothing of
//! SQL, sinks or segment files.

mod answer;
mod auth;
mod body;
mod consumers;
mod pixel;
mod read;
mod routes;
mod sdk;
mod settings;

use std::{convert::Infallible, sync::Arc, time::Duration};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinSet,
    time::timeout,
};

use crate::{
    consumer::Consumers,
    ingest::Ingest,
    limits::{DRAIN, HEAD_TIMEOUT, MAX_CONNECTIONS, MAX_HEAD_BYTES, MAX_HEADERS},
    vitals::Vitals,
};

/// What requests need.
pub(crate) struct Http {
    ingest: Ingest,
    admin_token_hash: [u8; 32],
    vitals: Vitals,
    draining: watch::Receiver<bool>,
    sdk: sdk::Sdk,
    bodies: body::Budget,
    consumers: Consumers,
}

/// After an error of `accept`, which is nearly always "too many open files": some close meanwhile.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Bytes of hyper's buffer for one connection: two typical batches of 20 events.
const CONNECTION_BUFFER: usize = 64 * 1024;

impl Http {
    pub(crate) fn new(
        ingest: Ingest,
        admin_token_hash: [u8; 32],
        vitals: Vitals,
        draining: watch::Receiver<bool>,
        consumers: Consumers,
    ) -> Self {
        let (sdk, bodies) = (sdk::Sdk::new(), body::Budget::new());
        Self { ingest, admin_token_hash, vitals, draining, sdk, bodies, consumers }
    }

    /// Serves until draining begins, then finishes what has begun.
    pub(crate) async fn serve(self, listener: TcpListener) {
        let http = Arc::new(self);
        let mut draining = http.draining.clone();
        let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                // First, so that a flood of connections cannot put off the end.
                biased;
                () = async { drop(draining.wait_for(|draining| *draining).await) } => break,
                Some(_) = connections.join_next() => continue,
                accepted = async {
                    let room = Arc::clone(&room).acquire_owned().await;
                    (room, listener.accept().await)
                } => accepted,
            };
            match accepted {
                (Ok(room), Ok((stream, _))) => {
                    let http = Arc::clone(&http);
                    connections.spawn(async move {
                        http.serve_connection(stream).await;
                        drop(room);
                    });
                }
                (_, Err(error)) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
                (Err(_closed), _) => break,
            }
        }
        drop(listener);
        let drained = timeout(DRAIN, async { while connections.join_next().await.is_some() {} });
        if drained.await.is_err() {
            tracing::warn!(connections = connections.len(), "cut connections that did not end");
        }
    }

    async fn serve_connection(self: Arc<Self>, stream: TcpStream) {
        let _counted = self.vitals.metrics().connection();
        // Answers are small and waited for.
        drop(stream.set_nodelay(true));
        let mut draining = self.draining.clone();
        let service = service_fn(move |request| {
            let http = Arc::clone(&self);
            async move { Ok::<_, Infallible>(http.answer(request).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_header_size(MAX_HEAD_BYTES)
            .max_headers(MAX_HEADERS)
            .max_buf_size(CONNECTION_BUFFER)
            .serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = async { drop(draining.wait_for(|draining| *draining).await) } => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            // A client that went away, or spoke no HTTP. Its events are with it.
            tracing::debug!(%error, "a connection ended early");
        }
    }
}
