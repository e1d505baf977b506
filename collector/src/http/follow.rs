//! What is followed as it changes: sent again, as server-sent events, when the state of people has changed.
//! Promises that a follower costs one look for each change of the state, and no more of them than it asked for; that it ends when
//! what it follows is gone, when it may not follow any more, and when the server does. Deliberately knows nothing of who follows.

use std::time::Duration;

use bytes::Bytes;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::{
    Http,
    answer::{Answer, Failure, stream},
};
use crate::{
    desk::{Desk, DeskError},
    limits::HEARTBEAT,
};

/// What is followed.
pub(super) trait Followed: Send + 'static {
    /// What is other than it was, as server-sent events, or nothing; `None` if what is followed is gone.
    fn look(
        &mut self,
        desk: &Desk,
    ) -> impl Future<Output = Result<Option<Bytes>, DeskError>> + Send;
}

/// A comment: says that the stream is alive.
const ALIVE: Bytes = Bytes::from_static(b":\n\n");

impl Http {
    /// Follows it, looking at most once in `pause`, for as long as `may_go_on`.
    pub(super) fn follow(
        &self,
        mut followed: impl Followed,
        pause: Duration,
        may_go_on: impl Fn() -> bool + Send + 'static,
    ) -> Result<Answer, Failure> {
        let seat = self.seats.take()?;
        let (pieces, answer) = mpsc::channel(1);
        let (desk, mut draining) = (self.desk.clone(), self.draining.clone());
        tokio::spawn(async move {
            let _seat = seat;
            let mut changes = desk.changes();
            // Before there is anything to say.
            if pieces.send(Ok(ALIVE)).await.is_err() {
                return;
            }
            loop {
                changes.borrow_and_update();
                let next = Instant::now() + pause;
                if *draining.borrow() || !may_go_on() {
                    return;
                }
                let changed = match followed.look(&desk).await {
                    Ok(Some(changed)) => changed,
                    Ok(None) => return,
                    Err(error) => {
                        return tracing::warn!(%error, "what is followed cannot be read");
                    }
                };
                if !changed.is_empty() && pieces.send(Ok(changed)).await.is_err() {
                    return;
                }
                sleep_until(next).await;
                tokio::select! {
                    changed = changes.changed() => if changed.is_err() { return },
                    () = async { drop(draining.wait_for(|draining| *draining).await) } => return,
                    () = pieces.closed() => return,
                    () = tokio::time::sleep(HEARTBEAT) => {
                        if pieces.send(Ok(ALIVE)).await.is_err() {
                            return;
                        }
                    }
                }
            }
        });
        Ok(stream("text/event-stream", answer))
    }
}
