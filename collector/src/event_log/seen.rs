//! Which message ids are stored: for devices that saw no answer.
//! Promises that what it names is on disk: a likeness of fingerprints is confirmed against the log, as at the door.
//! Knows nothing of queues and their numbers, and remembers nothing.

use std::io;
use std::sync::Mutex;

use super::dedup::Memory;
use super::ids::{Id, SourceKey};
use super::reader::{Source, Walk};
use super::writer::{Confirm, lock};

/// For each id whether it is stored, as far back as ids are remembered.
pub(super) fn seen(
    memory: &Mutex<Memory>,
    source: &Source,
    key: &SourceKey,
    ids: impl Iterator<Item = impl AsRef<str>>,
) -> io::Result<Vec<bool>> {
    let ids: Vec<Id> = ids.map(|id| key.id(id.as_ref())).collect();
    // The writer waits for the memory, so it is not held while the disk is read.
    let candidates: Vec<Vec<u64>> = {
        let memory = lock(memory);
        ids.iter().map(|id| memory.ids.candidates(*id).collect()).collect()
    };
    let mut confirm = Confirm::new(Walk::new(source.clone()));
    let mut is_at = |id: Id, offset| {
        Ok::<_, io::Error>(confirm.stored(offset)?.is_some_and(|stored| stored.id == id))
    };
    let pairs = ids.into_iter().zip(candidates);
    pairs
        .map(|(id, offsets)| {
            for offset in offsets {
                if is_at(id, offset)? {
                    return Ok(true);
                }
            }
            Ok(false)
        })
        .collect()
}
