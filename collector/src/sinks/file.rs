//! Appends events to files in a folder, one line of JSON each, and begins a new file as one is full or old.
//! Promises that a delivery is synced before it counts, and that a file holds whole lines only, also after a crash or on a
//! full disk. Deliberately deletes nothing: whoever reads the files does.

mod config;
mod folder;

use std::{
    path::PathBuf,
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::{
    sync::Mutex,
    task::spawn_blocking,
    time::{sleep, timeout_at},
};

use super::{Parcel, Sink, Verdict};
use crate::limits::{DELIVERY_TIMEOUT, FILE_SINK_BATCH};
pub use config::FileConfig;
pub use folder::FileError;
use folder::Folder;

/// A folder that events are written to.
pub struct Files {
    path: PathBuf,
    max_age: Duration,
    /// Whoever writes takes it along to the thread that may block: on a disk that hangs, one thread waits and no more.
    folder: Arc<Mutex<Folder>>,
}

impl std::fmt::Debug for Files {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Files").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Files {
    /// Takes the folder, and finishes what an earlier run has left there.
    pub fn open(config: FileConfig) -> Result<Self, FileError> {
        let (path, max_age) = (config.path.clone(), config.max_age);
        let folder = Arc::new(Mutex::new(Folder::open(config)?));
        Ok(Self { path, max_age, folder })
    }

    /// Closes the file that was just begun once it is old enough, should nothing more come to close it.
    fn close_in_time(&self) {
        let (folder, max_age): (Weak<_>, _) = (Arc::downgrade(&self.folder), self.max_age);
        tokio::spawn(async move {
            sleep(max_age).await;
            let Some(folder) = folder.upgrade() else { return };
            let mut folder = folder.lock_owned().await;
            // If it fails, the next delivery meets the same trouble, and has someone to tell.
            drop(spawn_blocking(move || folder.finish_if_due()).await);
        });
    }
}

impl Sink for Files {
    fn most_at_once(&self) -> usize {
        FILE_SINK_BATCH
    }

    /// One sync after the other: more at once would only wait for each other.
    fn most_in_flight(&self) -> usize {
        1
    }

    async fn deliver(&self, parcels: &[Parcel]) -> Verdict {
        let mut lines = Vec::with_capacity(parcels.iter().map(|p| p.line.len() + 1).sum());
        for parcel in parcels {
            lines.extend_from_slice(&parcel.line);
            lines.push(b'\n');
        }
        let until = tokio::time::Instant::now() + DELIVERY_TIMEOUT;
        let slow = || {
            let path = self.path.display();
            Verdict::unavailable(format!("{path}: the disk took longer than {DELIVERY_TIMEOUT:?}"))
        };
        let Ok(mut folder) = timeout_at(until, Arc::clone(&self.folder).lock_owned()).await else {
            return slow();
        };
        let appending = spawn_blocking(move || folder.append(&lines));
        match timeout_at(until, appending).await {
            Ok(Ok(Ok(begun))) => {
                if begun {
                    self.close_in_time();
                }
                Verdict::Delivered
            }
            Ok(Ok(Err(error))) => Verdict::unavailable(format!("{}: {error}", self.path.display())),
            Ok(Err(panic)) => Verdict::unavailable(panic.to_string()),
            Err(_) => slow(),
        }
    }
}
