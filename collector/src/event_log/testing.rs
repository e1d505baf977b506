//! Disks that misbehave on command, for tests of this crate and of others: one that delays and fails, one that loses power.
//! Promises: does exactly what it is told; the same seed loses the same writes.
//! Knows nothing of the log's format. Never part of a release build.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::disk::{Disk, File};

/// What goes wrong. Shared by the disk and all its files; change it at any time.
#[derive(Debug, Default)]
pub struct Faults {
    sync_delay_ms: AtomicU64,
    fail_syncs: AtomicBool,
    fail_writes: AtomicBool,
    tear_writes: AtomicBool,
    fail_creates: AtomicBool,
    fail_reads: AtomicBool,
    syncs: AtomicU64,
    dir_syncs: AtomicU64,
    /// Changes asked for so far, and which of them fail: from the first, so many.
    changes: AtomicU64,
    failing: Mutex<(u64, u64)>,
}

impl Faults {
    /// Of all changes from now on (creations, writes, syncs, cuts, new names, removals), the `n`th and the `count - 1` after it fail.
    pub fn fail_changes(&self, n: u64, count: u64) {
        *held(&self.failing) = (self.changes() + n, count);
    }

    /// Changes that were asked for.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }

    fn change(&self) -> io::Result<()> {
        let n = self.changes.fetch_add(1, Ordering::SeqCst);
        let (from, count) = *held(&self.failing);
        if (from..from + count).contains(&n) {
            Err(io::Error::other("told to fail"))
        } else {
            Ok(())
        }
    }

    /// Every fdatasync takes this much longer.
    pub fn delay_syncs(&self, by: Duration) {
        self.sync_delay_ms
            .store(u64::try_from(by.as_millis()).unwrap_or(u64::MAX), Ordering::SeqCst);
    }

    /// Every fdatasync fails from now on, or no longer. What it should have synced stays readable, as in a page cache.
    pub fn fail_syncs(&self, fail: bool) {
        self.fail_syncs.store(fail, Ordering::SeqCst);
    }

    /// Every write fails from now on without writing, or no longer.
    pub fn fail_writes(&self, fail: bool) {
        self.fail_writes.store(fail, Ordering::SeqCst);
    }

    /// Every write fails after its first half, or no longer.
    pub fn tear_writes(&self, tear: bool) {
        self.tear_writes.store(tear, Ordering::SeqCst);
    }

    /// No file can be created from now on, or again.
    pub fn fail_creates(&self, fail: bool) {
        self.fail_creates.store(fail, Ordering::SeqCst);
    }

    /// No file can be read from now on, or again.
    pub fn fail_reads(&self, fail: bool) {
        self.fail_reads.store(fail, Ordering::SeqCst);
    }

    /// fdatasyncs that succeeded.
    pub fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::SeqCst)
    }

    /// Folder syncs.
    pub fn dir_syncs(&self) -> u64 {
        self.dir_syncs.load(Ordering::SeqCst)
    }

    fn check(&self, fault: &AtomicBool) -> io::Result<()> {
        if fault.load(Ordering::SeqCst) { Err(io::Error::other("told to fail")) } else { Ok(()) }
    }
}

/// A disk whose faults are injected; otherwise the one beneath.
#[derive(Clone)]
pub struct FaultyDisk {
    beneath: Arc<dyn Disk>,
    /// The switches.
    pub faults: Arc<Faults>,
}

impl FaultyDisk {
    /// Works as `beneath` until told otherwise.
    pub fn over(beneath: Arc<dyn Disk>) -> Self {
        Self { beneath, faults: Arc::default() }
    }

    fn wrap(&self, file: Arc<dyn File>) -> Arc<dyn File> {
        Arc::new(FaultyFile { beneath: file, faults: Arc::clone(&self.faults) })
    }
}

struct FaultyFile {
    beneath: Arc<dyn File>,
    faults: Arc<Faults>,
}

impl Disk for FaultyDisk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.beneath.create_dir(dir)
    }

    fn lock(&self, dir: &Path) -> io::Result<Box<dyn Send + Sync>> {
        self.beneath.lock(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.beneath.list(dir)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.faults.change()?;
        self.faults.check(&self.faults.fail_creates)?;
        Ok(self.wrap(self.beneath.create(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(self.wrap(self.beneath.open(path)?))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.faults.change()?;
        self.beneath.remove(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.faults.change()?;
        self.beneath.rename(from, to)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.faults.change()?;
        self.faults.check(&self.faults.fail_syncs)?;
        self.faults.dir_syncs.fetch_add(1, Ordering::SeqCst);
        self.beneath.sync_dir(dir)
    }
}

impl File for FaultyFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.faults.check(&self.faults.fail_reads)?;
        self.beneath.read_at(buffer, position)
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.faults.change()?;
        self.faults.check(&self.faults.fail_writes)?;
        if self.faults.tear_writes.load(Ordering::SeqCst) {
            self.beneath.write_at(&bytes[..bytes.len() / 2], position)?;
            return Err(io::Error::other("told to tear"));
        }
        self.beneath.write_at(bytes, position)
    }

    fn sync_data(&self) -> io::Result<()> {
        let delay = Duration::from_millis(self.faults.sync_delay_ms.load(Ordering::SeqCst));
        if !delay.is_zero() {
            std::thread::sleep(delay);
        }
        self.faults.change()?;
        self.faults.check(&self.faults.fail_syncs)?;
        self.beneath.sync_data()?;
        self.faults.syncs.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.faults.change()?;
        self.beneath.truncate(len)
    }

    fn size(&self) -> io::Result<u64> {
        self.beneath.size()
    }
}

/// A disk in memory that knows what was synced. [`PowerlessDisk::cut_power`] makes the disk as a machine would find it that
/// lost power now: each unsynced sector, file length and name is there or not, as the seed has it.
#[derive(Clone, Default)]
pub struct PowerlessDisk(Arc<Mutex<Platter>>);

#[derive(Default)]
struct Platter {
    /// The folder as programs see it, and as it is durable.
    names: BTreeMap<PathBuf, Arc<Content>>,
    durable_names: BTreeMap<PathBuf, Arc<Content>>,
    /// Changes of names since the last folder sync, in order.
    renames: Vec<Change>,
    locked: bool,
    /// Changes to the disk so far.
    operations: u64,
    /// The power cut to come: before which operation, with which seed.
    cut_at: Option<(u64, u64)>,
    after_cut: Option<PowerlessDisk>,
    syncs_fail: bool,
}

#[derive(Clone)]
enum Change {
    Set(PathBuf, Arc<Content>),
    Gone(PathBuf),
    Moved(PathBuf, PathBuf),
}

#[derive(Default)]
struct Content(Mutex<Bytes>);

#[derive(Default)]
struct Bytes {
    seen: Vec<u8>,
    durable: Vec<u8>,
    /// Sectors written since the last sync, successful or not: as Linux does, a failed one marks them clean.
    dirty: BTreeSet<usize>,
}

/// A content, opened.
struct Handle(Arc<Content>, PowerlessDisk);

/// What disks write at once.
const SECTOR: usize = 512;

impl PowerlessDisk {
    /// The disk that is found after a power cut at this moment. This one may be used on; it is as if that never happened.
    pub fn cut_power(&self, seed: u64) -> PowerlessDisk {
        held(&self.0).cut_power(seed)
    }

    /// Arranges for a power cut before the `n`th change from now on; see [`PowerlessDisk::after_cut`].
    pub fn cut_power_at(&self, n: u64, seed: u64) {
        let mut platter = held(&self.0);
        platter.cut_at = Some((platter.operations + n, seed));
    }

    /// The disk as the arranged power cut left it; `None` before.
    pub fn after_cut(&self) -> Option<PowerlessDisk> {
        held(&self.0).after_cut.clone()
    }

    /// Every sync fails from now on, and what it should have written never will be; or no longer.
    pub fn fail_syncs(&self, fail: bool) {
        held(&self.0).syncs_fail = fail;
    }

    /// Counts a change; the power may go just before it.
    fn operate(&self) -> MutexGuard<'_, Platter> {
        let mut platter = held(&self.0);
        if let Some((at, seed)) = platter.cut_at
            && platter.operations == at
        {
            platter.after_cut = Some(platter.cut_power(seed));
        }
        platter.operations += 1;
        platter
    }
    /// Reads a file, for tests that look at or harm its bytes.
    pub fn bytes(&self, path: &Path) -> Option<Vec<u8>> {
        let content = held(&self.0).names.get(path).cloned()?;
        let seen = held(&content.0).seen.clone();
        Some(seen)
    }

    /// Replaces a file's bytes, durably.
    pub fn set_bytes(&self, path: &Path, bytes: &[u8]) {
        let (content, mut platter) = (Arc::new(Content::durable(bytes.to_vec())), held(&self.0));
        platter.names.insert(path.to_owned(), Arc::clone(&content));
        platter.durable_names.insert(path.to_owned(), content);
    }
}

impl Platter {
    fn cut_power(&self, seed: u64) -> PowerlessDisk {
        let mut random = Random(seed);
        let mut names = self.durable_names.clone();
        // File systems order changes of names: those of a journal survive up to some point.
        let survive = random.below(self.renames.len() as u64 + 1);
        for (_, change) in (0..survive).zip(&self.renames) {
            change.apply(&mut names);
        }
        let names: BTreeMap<_, _> = names
            .into_iter()
            .map(|(path, content)| (path, Arc::new(content.after_power_cut(&mut random))))
            .collect();
        let found = Platter { durable_names: names.clone(), names, ..Platter::default() };
        PowerlessDisk(Arc::new(Mutex::new(found)))
    }
}

impl Change {
    fn apply(&self, names: &mut BTreeMap<PathBuf, Arc<Content>>) {
        match self {
            Change::Set(path, content) => drop(names.insert(path.clone(), Arc::clone(content))),
            Change::Gone(path) => drop(names.remove(path)),
            Change::Moved(from, to) => {
                if let Some(content) = names.remove(from) {
                    names.insert(to.clone(), content);
                }
            }
        }
    }
}

impl Content {
    fn durable(bytes: Vec<u8>) -> Self {
        let dirty = BTreeSet::new();
        Self(Mutex::new(Bytes { seen: bytes.clone(), durable: bytes, dirty }))
    }

    fn after_power_cut(&self, random: &mut Random) -> Content {
        let bytes = held(&self.0);
        let (seen, durable) = (&bytes.seen, &bytes.durable);
        // Either length, or one between: extending a file is not atomic.
        let len = match random.below(3) {
            0 => seen.len(),
            1 => durable.len(),
            _ => {
                let (least, most) = (seen.len().min(durable.len()), seen.len().max(durable.len()));
                least + usize::try_from(random.below((most - least) as u64 + 1)).unwrap_or(0)
            }
        };
        let mut found = vec![0; len];
        for (at, sector) in found.chunks_mut(SECTOR).enumerate() {
            let from = if random.below(2) == 0 { seen } else { durable };
            let stored = from.get(at * SECTOR..).unwrap_or_default();
            let len = stored.len().min(sector.len());
            sector[..len].copy_from_slice(&stored[..len]);
        }
        Content::durable(found)
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Unlock(Arc<Mutex<Platter>>);

impl Drop for Unlock {
    fn drop(&mut self) {
        held(&self.0).locked = false;
    }
}

impl Disk for PowerlessDisk {
    fn create_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self, _dir: &Path) -> io::Result<Box<dyn Send + Sync>> {
        if std::mem::replace(&mut held(&self.0).locked, true) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(Unlock(Arc::clone(&self.0))))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let platter = held(&self.0);
        let inside = platter.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside.filter_map(|path| path.file_name()?.to_str().map(str::to_owned)).collect())
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut platter = self.operate();
        if platter.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let content = Arc::new(Content::default());
        platter.names.insert(path.to_owned(), Arc::clone(&content));
        platter.renames.push(Change::Set(path.to_owned(), Arc::clone(&content)));
        Ok(Arc::new(Handle(content, self.clone())))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        match held(&self.0).names.get(path) {
            Some(content) => Ok(Arc::new(Handle(Arc::clone(content), self.clone()))),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut platter = self.operate();
        platter.names.remove(path).ok_or(io::ErrorKind::NotFound)?;
        platter.renames.push(Change::Gone(path.to_owned()));
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut platter = self.operate();
        let content = platter.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        platter.names.insert(to.to_owned(), content);
        platter.renames.push(Change::Moved(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        let mut platter = self.operate();
        if platter.syncs_fail {
            return Err(io::Error::other("told to fail"));
        }
        platter.renames.clear();
        platter.durable_names = platter.names.clone();
        Ok(())
    }
}

impl File for Handle {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let bytes = held(&self.0.0);
        let from = usize::try_from(position).ok().and_then(|at| bytes.seen.get(at..));
        let from = from.unwrap_or_default();
        let len = from.len().min(buffer.len());
        buffer[..len].copy_from_slice(&from[..len]);
        Ok(len)
    }

    fn write_at(&self, written: &[u8], position: u64) -> io::Result<()> {
        let position = usize::try_from(position).map_err(io::Error::other)?;
        let _platter = self.1.operate();
        let bytes = &mut *held(&self.0.0);
        let end = position + written.len();
        if bytes.seen.len() < end {
            bytes.seen.resize(end, 0);
        }
        bytes.seen[position..end].copy_from_slice(written);
        bytes.dirty.extend(position / SECTOR..end.div_ceil(SECTOR));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let platter = self.1.operate();
        let bytes = &mut *held(&self.0.0);
        let dirty = std::mem::take(&mut bytes.dirty);
        if platter.syncs_fail {
            return Err(io::Error::other("told to fail"));
        }
        bytes.durable.resize(bytes.seen.len(), 0);
        for sector in dirty {
            let end = ((sector + 1) * SECTOR).min(bytes.seen.len());
            if let Some(from) = bytes.seen.get(sector * SECTOR..end) {
                bytes.durable[sector * SECTOR..end].copy_from_slice(from);
            }
        }
        Ok(())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(io::Error::other)?;
        let _platter = self.1.operate();
        held(&self.0.0).seen.resize(len, 0);
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(held(&self.0.0).seen.len() as u64)
    }
}

/// SplitMix64: the same seed, the same run.
pub struct Random(pub u64);

impl Random {
    /// The next number below `limit`, which must not be 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }
}
