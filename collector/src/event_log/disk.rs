//! What the log asks of a disk: a folder of files, positional reads and writes, and the two syncs that make them last.
//! Promises nothing about durability before a sync returns `Ok`; that is the point of having it as a value.
//! Knows nothing of segments, chunks or events.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A folder's worth of storage. Every call may block.
pub trait Disk: Send + Sync {
    /// Makes the folder and its parents, durably, if they are not there.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// Takes the folder for this process; `WouldBlock` when another holds it. Held until the value is dropped.
    fn lock(&self, dir: &Path) -> io::Result<Box<dyn Send + Sync>>;
    /// Names of the files in the folder, in no order.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// A new file, for reading and writing; fails if it exists. Not durable before [`Disk::sync_dir`].
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    /// An existing file, for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    /// Removes a file. Not durable before [`Disk::sync_dir`].
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Gives a file another name, in one step. Not durable before [`Disk::sync_dir`].
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Makes creations, removals and new names in the folder durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
}

/// An open file. Reads may run beside writes.
pub trait File: Send + Sync {
    /// Fills as much of `buffer` as there is from `position` on; less than all only at the end of the file.
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize>;
    /// Writes all of `bytes` at `position`, extending the file as needed.
    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()>;
    /// Makes what was written durable (fdatasync). After an error nothing about the unsynced bytes is known.
    fn sync_data(&self) -> io::Result<()>;
    /// Cuts the file.
    fn truncate(&self, len: u64) -> io::Result<()>;
    /// The file's length in bytes.
    fn size(&self) -> io::Result<u64>;
}

/// A new file where an attempt that failed may have left one.
pub(super) fn create_anew(disk: &dyn Disk, path: &Path) -> io::Result<Arc<dyn File>> {
    match disk.remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => disk.create(path),
    }
}

/// The file system.
#[derive(Debug, Default, Clone, Copy)]
pub struct FileSystem;

const LOCK_FILE: &str = "lock";
/// A server is there for longer than these take together.
const LOCK_ATTEMPTS: u32 = 5;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

impl Disk for FileSystem {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        if dir.is_dir() {
            return Ok(());
        }
        std::fs::create_dir_all(dir)?;
        // The folder's own name lives in its parent.
        match dir.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => self.sync_dir(parent),
            _ => self.sync_dir(Path::new(".")),
        }
    }

    fn lock(&self, dir: &Path) -> io::Result<Box<dyn Send + Sync>> {
        let path = dir.join(LOCK_FILE);
        let file = std::fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path)?;
        // The folder too: whoever takes a lock file for a leftover and removes it must not let a second server in.
        #[cfg(unix)]
        let folder = std::fs::File::open(dir)?;
        let try_lock = || {
            #[cfg(unix)]
            folder.try_lock()?;
            file.try_lock()
        };
        let mut questions = 0;
        loop {
            match try_lock() {
                #[cfg(unix)]
                Ok(()) => return Ok(Box::new((file, folder))),
                #[cfg(not(unix))]
                Ok(()) => return Ok(Box::new(file)),
                // Someone may only be asking, for microseconds; see [`ReadOnly::is_held`].
                Err(std::fs::TryLockError::WouldBlock) if questions < LOCK_ATTEMPTS => {
                    questions += 1;
                    std::thread::sleep(LOCK_PAUSE);
                }
                Err(std::fs::TryLockError::WouldBlock) => {
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                Err(std::fs::TryLockError::Error(error)) => return Err(error),
            }
        }
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(dir)? {
            // A name that is not UTF-8 is not one of ours.
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let file =
            std::fs::OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        Ok(Arc::new(file))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(std::fs::OpenOptions::new().read(true).write(true).open(path)?))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        std::fs::File::open(dir)?.sync_all()
    }
}

/// The file system, to look at only: what would change a file or the folder is refused.
#[derive(Debug, Default, Clone, Copy)]
pub struct ReadOnly;

impl ReadOnly {
    /// Whether a server holds the folder. Takes no longer than asking, so that one may start meanwhile.
    pub fn is_held(self, dir: &Path) -> io::Result<bool> {
        let is_held = |path: &Path| {
            let file = match std::fs::File::open(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
                file => file?,
            };
            match file.try_lock_shared() {
                Ok(()) => Ok(false),
                Err(std::fs::TryLockError::WouldBlock) => Ok(true),
                Err(std::fs::TryLockError::Error(error)) => Err(error),
            }
        };
        Ok(is_held(&dir.join(LOCK_FILE))? || cfg!(unix) && is_held(dir)?)
    }

    fn refuse<T>() -> io::Result<T> {
        Err(io::Error::new(io::ErrorKind::ReadOnlyFilesystem, "opened to look at only"))
    }
}

impl Disk for ReadOnly {
    fn create_dir(&self, _dir: &Path) -> io::Result<()> {
        Self::refuse()
    }

    fn lock(&self, _dir: &Path) -> io::Result<Box<dyn Send + Sync>> {
        Self::refuse()
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        FileSystem.list(dir)
    }

    fn create(&self, _path: &Path) -> io::Result<Arc<dyn File>> {
        Self::refuse()
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        // Opened for reading only, so that the system refuses writes, also where it would grant them.
        Ok(Arc::new(std::fs::File::open(path)?))
    }

    fn remove(&self, _path: &Path) -> io::Result<()> {
        Self::refuse()
    }

    fn rename(&self, _from: &Path, _to: &Path) -> io::Result<()> {
        Self::refuse()
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        Self::refuse()
    }
}

impl File for std::fs::File {
    fn read_at(&self, mut buffer: &mut [u8], mut position: u64) -> io::Result<usize> {
        let wanted = buffer.len();
        while !buffer.is_empty() {
            match std::os::unix::fs::FileExt::read_at(self, buffer, position) {
                Ok(0) => break,
                Ok(n) => {
                    buffer = &mut buffer[n..];
                    position += n as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(wanted - buffer.len())
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::write_all_at(self, bytes, position)
    }

    fn sync_data(&self) -> io::Result<()> {
        std::fs::File::sync_data(self)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.set_len(len)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What cannot be synced says so to whoever asks the kernel, and to nobody else.
    #[test]
    fn syncing_asks_the_kernel() {
        let null = FileSystem.open(Path::new("/dev/null")).unwrap();
        assert!(null.sync_data().is_err(), "a sync that asks nobody always succeeds");
        let folder = tempfile::tempdir().unwrap();
        FileSystem.sync_dir(folder.path()).unwrap();
        assert!(FileSystem.sync_dir(&folder.path().join("absent")).is_err());
    }
}
