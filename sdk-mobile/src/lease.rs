//! Which process numbers and sends: the one that holds the lock on a file beside the events. Promises that the operating system gives
//! it back when its holder dies, however it dies. Knows nothing of what is done with it.

use std::{
    fs::{self, File, TryLockError},
    io::ErrorKind,
    path::Path,
};

use crate::file_id::FileId;

/// Held for as long as this lives, and the file is there.
#[derive(Debug)]
pub(crate) struct Lease {
    /// Nothing where there is no such file, and none can be made.
    file: Option<File>,
}

impl Lease {
    /// Takes the lease, if nobody else has it. Where files cannot be locked, or none can be made, this process is taken to be alone.
    pub(crate) fn take(path: &Path) -> Option<Self> {
        if let Some(folder) = path.parent() {
            drop(fs::create_dir_all(folder));
        }
        let opened = File::options().create(true).truncate(false).write(true).open(path);
        // A lock needs no right to write.
        let Ok(file) = opened.or_else(|_| File::open(path)) else {
            // One that is there and cannot be opened may be another process's.
            return (!exists(path)).then_some(Self { file: None });
        };
        let taken = match file.try_lock() {
            Ok(()) => true,
            Err(TryLockError::Error(error)) => error.kind() == ErrorKind::Unsupported,
            Err(TryLockError::WouldBlock) => false,
        };
        let lease = Self { file: Some(file) };
        // Deleted in between: another process may have the one that is there now.
        (taken && lease.holds(path)).then_some(lease)
    }

    /// Whether it is the one that any other process would ask for.
    pub(crate) fn holds(&self, path: &Path) -> bool {
        match &self.file {
            Some(file) => FileId::of_open(file).is_some_and(|id| FileId::of(path) == Some(id)),
            None => !exists(path),
        }
    }
}

fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_has_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("new/lock");
        let first = Lease::take(&path);
        assert!(first.is_some());
        assert!(Lease::take(&path).is_none());
        drop(first);
        assert!(Lease::take(&path).is_some());
    }

    #[test]
    #[cfg(unix)]
    fn nobody_has_what_cannot_be_opened_or_is_gone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("lock");
        let first = Lease::take(&path).expect("the lease");
        assert!(first.holds(&path));
        fs::remove_file(&path).expect("it is there");
        assert!(!first.holds(&path));
        let second = Lease::take(&path).expect("a new one");
        assert!(second.holds(&path) && !first.holds(&path));
        // There, and it cannot be opened.
        let odd = folder.path().join("odd");
        std::os::unix::fs::symlink("nowhere/at/all", &odd).expect("a link");
        assert!(Lease::take(&odd).is_none());
    }
}
