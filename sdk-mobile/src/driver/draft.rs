//! A request being put together: the core's list of events becomes a body. Promises that an event whose text is gone keeps no other from
//! going, and that a text that cannot be read now is not taken for one that is gone. Knows no storage: whoever has one lends a way to read.

use headwater_core::{
    platform::{Request, Sending, Stamp},
    wire::{self, Batch, Sent},
};

use crate::{
    storage::Failure,
    transport::{self, Path},
};

/// A request, with the texts that are at hand and the rows of those that are not.
pub(super) struct Draft {
    sending: Sending,
    queue: String,
    events: Vec<(Option<Stamp>, i64, Text)>,
}

pub(super) enum Text {
    Known(String),
    /// In storage, in this row.
    At(i64),
    /// Nowhere any more.
    Gone,
    /// Not needed: it was answered for late, or elsewhere.
    Answered,
}

/// What of a request is in its body.
pub(super) struct Dispatched {
    /// The positions in the core's request of the events in the body.
    pub(super) places: Vec<u32>,
    /// Their rows; 0 for one in memory.
    pub(super) rows: Vec<i64>,
    /// Whether it is a question.
    pub(super) asking: bool,
    /// Events that should be in it, and are nowhere.
    pub(super) missing: usize,
    /// Whether it is of one event alone, which a refusal is then the fault of.
    pub(super) single: bool,
}

impl Draft {
    pub(super) fn new(
        sending: Sending,
        queue: [u8; 16],
        events: Vec<(Option<Stamp>, i64, Text)>,
    ) -> Self {
        Self { sending, queue: wire::queue_id(queue), events }
    }

    pub(super) fn request(&self) -> Request {
        self.sending.request
    }

    /// Whether texts are still to be read.
    pub(super) fn is_open(&self) -> bool {
        self.events.iter().any(|(_, _, text)| matches!(text, Text::At(_)))
    }

    /// Reads them.
    pub(super) fn read(
        &mut self,
        mut text_of: impl FnMut(i64) -> Result<Option<String>, Failure>,
    ) -> Result<(), Failure> {
        for (_, _, text) in &mut self.events {
            if let Text::At(row) = text {
                *text = text_of(*row)?.map_or(Text::Gone, Text::Known);
            }
        }
        Ok(())
    }

    /// The body as JSON, and what is in it.
    pub(super) fn body(self, write_key: &str, now_ms: u64) -> (Path, String, Dispatched) {
        let Sending { events, dropped, dropped_at, asking, .. } = self.sending;
        let single = events.len() == 1 && !asking;
        let mut dispatched = Dispatched {
            places: Vec::with_capacity(events.len()),
            rows: Vec::with_capacity(events.len()),
            asking,
            missing: 0,
            single,
        };
        let mut ids = Vec::new();
        // Whichever event should have told of them: one that is in the body does.
        let known = |place: u32| {
            let event = self.events.get(place as usize);
            matches!(event, Some((_, _, Text::Known(_))))
        };
        let telling = if known(dropped_at) {
            Some(dropped_at)
        } else {
            (0..).take(events.len()).find(|at| known(*at))
        };
        let mut batch = Batch::new();
        for ((place, outgoing), (stamp, row, text)) in (0..).zip(&events).zip(self.events) {
            let Text::Known(text) = text else {
                dispatched.missing += usize::from(!asking && !matches!(text, Text::Answered));
                continue;
            };
            dispatched.places.push(place);
            dispatched.rows.push(row);
            if asking {
                ids.push(transport::message_id(&text).unwrap_or_default().to_owned());
                continue;
            }
            let stamp = stamp.unwrap_or(Stamp { seq: 0, session_ms: 0, session_start: false });
            let dropped = if Some(place) == telling { &dropped[..] } else { &[] };
            let queue = outgoing.numbered.then_some(self.queue.as_str());
            batch.push(&text, Sent { stamp, queue, dropped });
        }
        if asking {
            (Path::Seen, transport::question(&ids, write_key), dispatched)
        } else {
            (Path::Batch, batch.finish(now_ms, write_key), dispatched)
        }
    }
}
