//! A value that is replaced while others use it: what a reload changes.
//! Promises that who has got the value keeps that one until it asks again. Knows nothing of what it holds.

use std::sync::{Arc, PoisonError, RwLock};

/// The value of now. Asking costs a reader's lock and a counter.
#[derive(Debug)]
pub(crate) struct Current<T>(RwLock<Arc<T>>);

impl<T> Current<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(RwLock::new(Arc::new(value)))
    }

    /// The value of now.
    pub(crate) fn get(&self) -> Arc<T> {
        // A pointer is whole whatever became of the thread that had the lock.
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on this one.
    pub(crate) fn set(&self, value: T) {
        let value = Arc::new(value);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = value;
    }
}
