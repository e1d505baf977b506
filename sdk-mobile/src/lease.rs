//! Which process numbers and sends: the one that holds the lock on a file beside the events. Promises that the operating system gives
//! it back when its holder dies, however it dies. Knows nothing of what is done with it.

use std::{
    fs::{self, File, TryLockError},
    path::Path,
};

/// Held for as long as this lives.
#[derive(Debug)]
pub(crate) struct Lease {
    _file: Option<File>,
}

impl Lease {
    /// Takes the lease, if nobody else has it. Where files cannot be locked, or not be made, this process is taken to be alone.
    pub(crate) fn take(path: &Path) -> Option<Self> {
        if let Some(folder) = path.parent() {
            drop(fs::create_dir_all(folder));
        }
        let opened = File::options().create(true).truncate(false).write(true).open(path);
        let Ok(file) = opened else { return Some(Self { _file: None }) };
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => None,
            Ok(()) | Err(TryLockError::Error(_)) => Some(Self { _file: Some(file) }),
        }
    }
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
}
