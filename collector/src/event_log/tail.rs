//! The newest chunks, kept in memory so that consumers at the log's end, and the confirmation of fresh duplicates, never
//! touch the disk.
//! Promises: holds only what is durable, and no more bytes than it was given, but for one chunk.
//! Knows nothing of files; what it lacks is read from them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use super::chunk::Chunk;

/// A queue of chunks without holes, newest last.
pub(super) struct Tail {
    chunks: Mutex<Chunks>,
    limit: usize,
}

#[derive(Default)]
struct Chunks {
    queue: VecDeque<Arc<Chunk>>,
    bytes: usize,
}

impl Tail {
    /// Empty; holds at most about `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self { chunks: Mutex::default(), limit }
    }

    /// Adds the chunk behind the last one, and lets the oldest go.
    pub(super) fn push(&self, chunk: Arc<Chunk>) {
        let mut freed = Vec::new();
        let mut chunks = self.chunks.lock().unwrap_or_else(PoisonError::into_inner);
        chunks.bytes += chunk.memory();
        chunks.queue.push_back(chunk);
        while chunks.bytes > self.limit && chunks.queue.len() > 1 {
            if let Some(oldest) = chunks.queue.pop_front() {
                chunks.bytes -= oldest.memory();
                freed.push(oldest);
            }
        }
        // Freed outside the lock: readers wait for it.
        drop(chunks);
        drop(freed);
    }

    /// Lets go of `offset` and everything before it.
    pub(super) fn forget(&self, offset: u64) {
        let mut chunks = self.chunks.lock().unwrap_or_else(PoisonError::into_inner);
        while chunks.queue.front().is_some_and(|chunk| chunk.first <= offset) {
            if let Some(oldest) = chunks.queue.pop_front() {
                chunks.bytes -= oldest.memory();
            }
        }
    }

    /// The chunk that holds `offset`.
    pub(super) fn chunk(&self, offset: u64) -> Option<Arc<Chunk>> {
        let chunks = self.chunks.lock().unwrap_or_else(PoisonError::into_inner);
        let at = chunks.queue.partition_point(|chunk| chunk.end() <= offset);
        chunks.queue.get(at).filter(|chunk| chunk.first <= offset).cloned()
    }
}
