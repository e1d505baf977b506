//! A note, left when the log is closed, of where it ended. While it is there nothing has been written since, so that a last
//! chunk that cannot be read is damage, and not a commit that a crash tore. Promises: a note that is not whole says nothing.
//! Knows nothing of segments.
//!
//! 24 bytes: magic `HWcl` · version u16 · zero u16 · the offset after the last record u64 · zero u32 · CRC32C u32.

use std::io;
use std::path::Path;

use super::disk::{Disk, create_anew};

const NAME: &str = "closed";
const MAGIC: [u8; 4] = *b"HWcl";
const VERSION: u16 = 1;
const LEN: usize = 24;

/// Where the log ended; `None` if it was not closed, or is open.
pub(super) fn read(disk: &dyn Disk, dir: &Path) -> io::Result<Option<u64>> {
    let file = match disk.open(&dir.join(NAME)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut bytes = [0; LEN];
    let whole = file.read_at(&mut bytes, 0)? == LEN && file.size()? == LEN as u64;
    Ok(decode(&bytes).filter(|_| whole))
}

/// Leaves the note. What it says must be durable.
pub(super) fn write(disk: &dyn Disk, dir: &Path, next: u64) -> io::Result<()> {
    let file = create_anew(disk, &dir.join(NAME))?;
    file.write_at(&encode(next), 0)?;
    file.sync_data()?;
    disk.sync_dir(dir)
}

/// Takes the note away, before anything is written.
pub(super) fn remove(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    match disk.remove(&dir.join(NAME)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.and_then(|()| disk.sync_dir(dir)),
    }
}

fn encode(next: u64) -> [u8; LEN] {
    let mut bytes = [0; LEN];
    bytes[..4].copy_from_slice(&MAGIC);
    bytes[4..6].copy_from_slice(&VERSION.to_le_bytes());
    bytes[8..16].copy_from_slice(&next.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..20]);
    bytes[20..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

fn decode(bytes: &[u8; LEN]) -> Option<u64> {
    let (covered, crc) = bytes.split_last_chunk::<4>()?;
    let whole = bytes[..4] == MAGIC
        && bytes[4..6] == VERSION.to_le_bytes()
        && crc32c::crc32c(covered) == u32::from_le_bytes(*crc);
    Some(u64::from_le_bytes(*bytes[8..].first_chunk()?)).filter(|_| whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes_and_any_other_bit_says_nothing() {
        let bytes = encode(7);
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, include_str!("golden/closed-v1.hex").trim_end());
        assert_eq!(decode(&bytes), Some(7));
        for bit in 0..LEN * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&flipped), None, "bit {bit}");
        }
    }
}
