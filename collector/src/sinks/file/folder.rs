//! A folder of files with one line per event: `2026-01-02T03-04-05.678Z.ndjson`, named for when they were begun, and `.part`
//! behind the name of the one that is being written.
//! Promises whole lines in every file: what was not synced is cut off before anything is written behind it. Blocks; deliberately
//! knows nothing of events.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use super::config::FileConfig;
use crate::event_log::Timestamp;

const LOCK: &str = "lock";
const CLOSED: &str = ".ndjson";
const OPEN: &str = ".ndjson.part";
const COMPRESSED: &str = ".ndjson.zst";
const COMPRESSING: &str = ".ndjson.zst.part";
/// zstd's own default: a third of the size of the next cheaper, at 200 MB/s.
const ZSTD_LEVEL: i32 = 3;

/// Why a folder cannot be written to.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Correct `path`, or the folder's owner.
    #[error("the folder {path} cannot be used: {cause}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// Give each consumer a folder of its own, and stop the other process.
    #[error("the folder {0} is being written by another consumer or another process")]
    InUse(PathBuf),
}

/// The folder, held for this process.
pub(super) struct Folder {
    path: PathBuf,
    max_bytes: u64,
    max_age: Duration,
    compress: bool,
    active: Option<Active>,
    /// When the newest file was begun: names go forward, whatever the clock does.
    newest: SystemTime,
    lock: File,
    #[cfg(test)]
    sync_fails: bool,
}

/// The file that is being written.
struct Active {
    file: File,
    path: PathBuf,
    /// Up to here it is synced.
    synced: u64,
    begun: Instant,
    state: State,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    /// It ends where it is synced.
    Whole,
    /// A write failed: there may be something behind what is synced.
    Torn,
    /// A sync failed. A later one would not repair it, so that nothing more is written to this file.
    Doubtful,
}

impl Folder {
    /// Takes the folder, and closes what an earlier run has left open.
    pub(super) fn open(config: FileConfig) -> Result<Self, FileError> {
        let FileConfig { path, max_bytes, max_age, compress } = config;
        let wrong = |cause| FileError::Folder { path: path.clone(), cause };
        let lock =
            make(&path, true).and_then(|()| lock(&path)).map_err(|error| match error.kind() {
                io::ErrorKind::WouldBlock => FileError::InUse(path.clone()),
                _ => wrong(error),
            })?;
        let mut folder = Self {
            path: path.clone(),
            max_bytes,
            max_age,
            compress,
            active: None,
            newest: SystemTime::UNIX_EPOCH,
            lock,
            #[cfg(test)]
            sync_fails: false,
        };
        folder.close_leftovers().map_err(wrong)?;
        Ok(folder)
    }

    /// Writes whole lines and syncs them. Whether they were the first of a new file. After an error none of them is there, or
    /// none will be before the next ones are written.
    pub(super) fn append(&mut self, lines: &[u8]) -> io::Result<bool> {
        self.hold()?;
        self.mend()?;
        self.finish_if_due()?;
        if self.active.as_ref().is_some_and(|active| !active.is_in_place()) {
            tracing::warn!(folder = %self.path.display(),
                "the file that was being written was taken away; a new one is begun");
            self.active = None;
        }
        let begun = self.active.is_none();
        let mut active = match self.active.take() {
            Some(active) => active,
            None => self.begin()?,
        };
        let written = active.file.write_all(lines).inspect_err(|_| active.state = State::Torn);
        let synced = written
            .and_then(|()| self.sync(&active.file).inspect_err(|_| active.state = State::Doubtful));
        match synced {
            Ok(()) => active.synced += lines.len() as u64,
            // Should the process end before the next attempt, the next start cuts it.
            Err(_) => drop(active.cut()),
        }
        let in_place = active.is_in_place();
        self.active = Some(active);
        synced?;
        // Nobody would find what counts as delivered.
        if in_place {
            Ok(begun)
        } else {
            Err(io::Error::other("the file was taken away as it was written"))
        }
    }

    /// Makes sure that the folder is there, and ours. One that was taken away is made anew, but not what it stands in: a disk
    /// that is not mounted should not be mistaken for an empty one.
    fn hold(&mut self) -> io::Result<()> {
        if is_at(&self.lock, &self.path.join(LOCK)) {
            return Ok(());
        }
        make(&self.path, false)?;
        self.lock = lock(&self.path).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => io::Error::other(FileError::InUse(self.path.clone())),
            _ => error,
        })?;
        tracing::warn!(folder = %self.path.display(), "the folder, or its lock, was taken away; it is made anew");
        Ok(())
    }

    /// Closes the file that is being written if it is full or old.
    pub(super) fn finish_if_due(&mut self) -> io::Result<()> {
        match &self.active {
            Some(active)
                if active.synced >= self.max_bytes || active.begun.elapsed() >= self.max_age =>
            {
                self.finish()
            }
            _ => Ok(()),
        }
    }

    /// Puts right what an earlier failure has left.
    fn mend(&mut self) -> io::Result<()> {
        let Some(active) = &mut self.active else { return Ok(()) };
        if active.state == State::Whole || !active.is_in_place() {
            return Ok(());
        }
        active.cut()?;
        if active.state == State::Doubtful {
            return self.finish();
        }
        active.state = State::Whole;
        Ok(())
    }

    fn begin(&mut self) -> io::Result<Active> {
        let begun = SystemTime::now().max(self.newest + Duration::from_millis(1));
        let path = self.path.join(format!("{}{OPEN}", name(begun)));
        let file = private(OpenOptions::new().create_new(true), &path)?;
        self.sync_folder()?;
        self.newest = begun;
        Ok(Active { file, path, synced: 0, begun: Instant::now(), state: State::Whole })
    }

    /// Gives the file that was being written its final name. If that fails it stays as it is.
    fn finish(&mut self) -> io::Result<()> {
        let Some(active) = &self.active else { return Ok(()) };
        if active.is_in_place() {
            self.close(&active.path)?;
        }
        self.active = None;
        Ok(())
    }

    /// Closes a file that is whole.
    fn close(&self, open: &Path) -> io::Result<()> {
        // Only the file's own name: the folder may be called anything.
        let name = open.file_name().map(|name| name.to_string_lossy().into_owned());
        let to = |end| open.with_file_name(name.as_deref().unwrap_or_default().replace(OPEN, end));
        if fs::metadata(open)?.len() == 0 {
            fs::remove_file(open)?;
        } else if self.compress {
            let (compressing, compressed) = (to(COMPRESSING), to(COMPRESSED));
            let file = private(OpenOptions::new().create(true).truncate(true), &compressing)?;
            let mut encoder = zstd::stream::Encoder::new(&file, ZSTD_LEVEL)?;
            encoder.include_checksum(true)?;
            io::copy(&mut File::open(open)?, &mut encoder)?;
            encoder.finish()?;
            file.sync_all()?;
            fs::rename(compressing, compressed)?;
            self.sync_folder()?;
            fs::remove_file(open)?;
        } else {
            fs::rename(open, to(CLOSED))?;
        }
        self.sync_folder()
    }

    fn close_leftovers(&mut self) -> io::Result<()> {
        for entry in fs::read_dir(&self.path)? {
            let Ok(name) = entry?.file_name().into_string() else { continue };
            if let Some(begun) = begun(&name) {
                self.newest = self.newest.max(begun);
            }
            let path = self.path.join(&name);
            if name.ends_with(COMPRESSING) {
                fs::remove_file(path)?;
            } else if let Some(stem) = name.strip_suffix(OPEN) {
                if self.path.join(format!("{stem}{COMPRESSED}")).exists() {
                    fs::remove_file(path)?;
                } else {
                    cut_torn_line(&path)?;
                    self.close(&path)?;
                }
            }
        }
        Ok(())
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        #[cfg(test)]
        if self.sync_fails {
            return Err(io::Error::other("the disk is broken"));
        }
        file.sync_data()
    }

    fn sync_folder(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What fails now is done by the next start.
        drop(self.mend().and_then(|()| self.finish()));
    }
}

impl Active {
    /// Cuts off what is not synced.
    fn cut(&mut self) -> io::Result<()> {
        self.file.set_len(self.synced)?;
        self.file.seek(SeekFrom::Start(self.synced))?;
        self.file.sync_all()
    }

    /// Whether what is written can be found under its name, rather than having been moved or deleted by someone.
    fn is_in_place(&self) -> bool {
        is_at(&self.file, &self.path)
    }
}

/// Whether the path leads to this file.
fn is_at(file: &File, path: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        let same = |(a, b): (fs::Metadata, fs::Metadata)| a.dev() == b.dev() && a.ino() == b.ino();
        fs::metadata(path).and_then(|there| Ok((there, file.metadata()?))).is_ok_and(same)
    }
    #[cfg(not(unix))]
    {
        let _ = file;
        path.exists()
    }
}

/// Makes the folder if it is not there, so that it survives a power cut; and what it stands in if `all`.
fn make(folder: &Path, all: bool) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let (true, Some(parent)) = (all, parent) {
        make(parent, all)?;
    }
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)?;
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

fn lock(folder: &Path) -> io::Result<File> {
    let lock = private(OpenOptions::new().create(true), &folder.join(LOCK))?;
    lock.try_lock()?;
    Ok(lock)
}

/// A file for its owner only: it holds what people did.
fn private(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options.write(true).open(path)
}

/// Sorted by name is sorted by time. Without colons, which some systems do not take.
fn name(begun: SystemTime) -> String {
    Timestamp::from(begun).to_string().replace(':', "-")
}

/// When a file of this name was begun.
fn begun(name: &str) -> Option<SystemTime> {
    let (day, rest) = name.split_once('T')?;
    let (time, end) = rest.split_at_checked("00-00-00.000Z".len())?;
    if ![CLOSED, OPEN, COMPRESSED, COMPRESSING].contains(&end) {
        return None;
    }
    let text = format!("{day}T{}", time.replace('-', ":"));
    let ms = crate::event_time::parse(&text)?.unix_ms();
    Some(SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(ms).ok()?))
}

/// What a crash has left behind the last whole line.
fn cut_torn_line(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let mut end = file.metadata()?.len();
    let whole = end;
    let mut piece = vec![0; 64 * 1024];
    while end > 0 {
        let begin = end.saturating_sub(piece.len() as u64);
        let piece = &mut piece[..usize::try_from(end - begin).unwrap_or(0)];
        file.seek(SeekFrom::Start(begin))?;
        file.read_exact(piece)?;
        if let Some(at) = piece.iter().rposition(|byte| *byte == b'\n') {
            end = begin + at as u64 + 1;
            break;
        }
        end = begin;
    }
    if end < whole {
        tracing::info!(file = %path.display(), bytes = whole - end,
            "cut a line that a crash had left unfinished; it is delivered again");
        file.set_len(end)?;
    }
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &Path) -> Folder {
        let (path, max_age) = (path.to_owned(), Duration::from_secs(3600));
        Folder::open(FileConfig { path, max_bytes: 1 << 20, max_age, compress: false }).unwrap()
    }

    /// Each file's name and text, by name.
    fn files(path: &Path) -> Vec<(String, String)> {
        let names = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
        names.retain(|name| name != "lock");
        names.sort();
        let text = |name: &String| fs::read_to_string(path.join(name)).unwrap();
        names.into_iter().map(|name| (name.clone(), text(&name))).collect()
    }

    #[test]
    fn after_a_failed_sync_nothing_more_is_written_to_that_file() {
        let temporary = tempfile::tempdir().unwrap();
        let mut folder = open(temporary.path());
        assert!(folder.append(b"1\n").unwrap());
        folder.sync_fails = true;
        assert!(folder.append(b"2\n").is_err());
        assert_eq!(files(temporary.path())[0].1, "1\n", "what is not known to be there is cut off");
        folder.sync_fails = false;
        assert!(folder.append(b"2\n").unwrap(), "in a new file");
        assert!(!folder.append(b"3\n").unwrap());
        let files = files(temporary.path());
        let texts: Vec<_> = files.iter().map(|(_, text)| &**text).collect();
        assert_eq!(texts, ["1\n", "2\n3\n"]);
        assert!(files[0].0.ends_with(CLOSED) && files[1].0.ends_with(OPEN));
    }

    #[test]
    fn names_go_forward_also_when_the_clock_goes_back() {
        let temporary = tempfile::tempdir().unwrap();
        let future = "2999-12-31T23-59-59.998Z";
        fs::write(temporary.path().join(format!("{future}{CLOSED}")), "old\n").unwrap();
        let mut folder = open(temporary.path());
        folder.append(b"new\n").unwrap();
        drop(folder);
        let names: Vec<_> = files(temporary.path()).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names[1], "2999-12-31T23-59-59.999Z.ndjson");
    }

    #[test]
    fn a_start_leaves_whole_lines_and_no_temporary_file_however_the_last_run_ended() {
        let long = "y".repeat(200_000);
        for (torn, whole) in [
            ("a\nb\n", "a\nb\n"),
            ("a\nb\nhalf", "a\nb\n"),
            ("a\n\0\0\0", "a\n"),
            (&*format!("a\n{long}"), "a\n"),
            (&*format!("{long}\n{long}"), &*format!("{long}\n")),
        ] {
            let temporary = tempfile::tempdir().unwrap();
            let at = |end| temporary.path().join(format!("2026-01-01T00-00-00.000Z{end}"));
            fs::write(at(OPEN), torn).unwrap();
            fs::write(at(COMPRESSING), "half").unwrap();
            drop(open(temporary.path()));
            let closed = ("2026-01-01T00-00-00.000Z.ndjson".to_owned(), whole.to_owned());
            assert_eq!(files(temporary.path()), [closed]);
        }
        for nothing in ["", "no line", &long] {
            let temporary = tempfile::tempdir().unwrap();
            let path = temporary.path().join("2026-01-01T00-00-00.000Z.ndjson.part");
            fs::write(path, nothing).unwrap();
            drop(open(temporary.path()));
            assert_eq!(files(temporary.path()), []);
        }
        // It had ended between the compressed file's name and the removal of the other.
        let temporary = tempfile::tempdir().unwrap();
        let at = |end| temporary.path().join(format!("2026-01-01T00-00-00.000Z{end}"));
        fs::write(at(OPEN), "a\n").unwrap();
        fs::write(at(COMPRESSED), "compressed").unwrap();
        drop(open(temporary.path()));
        assert_eq!(files(temporary.path()).len(), 1);
        assert!(at(COMPRESSED).exists());
    }
}
