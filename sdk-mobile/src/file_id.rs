//! What tells one file from another of the same name. Promises that an open file which was deleted or replaced is noticed, where the
//! operating system allows that at all. Knows nothing of what is in it.

use std::{fs::File, path::Path};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileId(u64, u64);

#[cfg(unix)]
impl FileId {
    /// Of the file of this name; nothing if there is none.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        std::fs::metadata(path).ok().as_ref().map(Self::read)
    }

    /// Of an open file.
    pub(crate) fn of_open(file: &File) -> Option<Self> {
        file.metadata().ok().as_ref().map(Self::read)
    }

    fn read(file: &std::fs::Metadata) -> Self {
        use std::os::unix::fs::MetadataExt as _;
        Self(file.dev(), file.ino())
    }
}

/// Elsewhere an open file cannot be deleted.
#[cfg(not(unix))]
impl FileId {
    pub(crate) fn of(path: &Path) -> Option<Self> {
        std::fs::metadata(path).ok().map(|_| Self(0, 0))
    }

    pub(crate) fn of_open(_: &File) -> Option<Self> {
        Some(Self(0, 0))
    }
}
