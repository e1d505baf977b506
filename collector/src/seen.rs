//! A question instead of events: which of these are stored? A page that is left sends what it has and never sees the answer;
//! the next one asks, and sends only what is missing. Promises to say no more than a repetition would: that an event is a
//! duplicate. Deliberately stores nothing, and knows nothing of HTTP.

use std::{borrow::Cow, sync::Arc};

use serde::Deserialize;

use crate::{
    decode::{DecodeError, inflate},
    ingest::{Incoming, Ingest, NotAccepted, NotTaken, Receipt, Sent},
    limits::{MAX_BATCH_EVENTS, MAX_BODY_BYTES},
};

/// What is asked: `{"ids":["…"],"writeKey":"…"}`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Question<'a> {
    #[serde(borrow)]
    ids: Vec<Cow<'a, str>>,
    #[serde(borrow)]
    write_key: Option<Cow<'a, str>>,
}

impl Ingest {
    /// Answers a question as a receipt: those that are stored are duplicates, of the others nothing is said.
    pub async fn seen(&self, incoming: Incoming) -> Result<Receipt, NotTaken> {
        let text = inflate(incoming.body, incoming.encoding, MAX_BODY_BYTES)?;
        let question: Question<'_> = serde_json::from_slice(&text).map_err(|error| {
            DecodeError::BadJson(format!("a question is {{\"ids\":[…]}}: {error}"))
        })?;
        let Question { ids, write_key } = question;
        if ids.len() > MAX_BATCH_EVENTS {
            return Err(DecodeError::TooManyEvents { limit: MAX_BATCH_EVENTS }.into());
        }
        // Each id counts as an event does: it costs a look, and may cost a read.
        let origin = incoming.origin.as_deref();
        let sent = Sent { origin, bytes: text.len(), events: ids.len() };
        let source = self.admit(incoming.source, || write_key, &sent)?;

        let (log, ids) = (Arc::clone(&self.log), ids.into_iter().map(Cow::into_owned));
        let (name, ids) = (source.name.clone(), ids.collect::<Vec<String>>());
        let looked = tokio::task::spawn_blocking(move || log.seen(&name, &ids)).await;
        let stored = looked.map_err(|_| NotTaken::StorageFailed)?;
        let stored = stored.map_err(|_| NotTaken::StorageFailed)?;
        let mut receipt = Receipt::default();
        for (index, _) in stored.into_iter().enumerate().filter(|(_, stored)| *stored) {
            receipt.duplicate += 1;
            receipt.not_accepted.push(NotAccepted { index, refused: None });
        }
        Ok(receipt)
    }
}
