//! The witness: what was durable last, in a small file of its own.
//!
//! Written after each group's sync and never before, so it is never ahead of the log; synced only now and then, so
//! after a power loss it may lag. Two slots are written in turn, a disk block apart: a torn write costs the newer one,
//! and the older stays true.
//!
//! ```text
//! slot n at n * 4096:   0..8  magic    8..16  counter    16..24  last durable Seq    24..56  hash there
//!                       56    durability    57  closed cleanly    58..64  zero    64..72  XXH3 of what is before
//! ```

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use crankcase_vat::Seq;
use xxhash_rust::xxh3::xxh3_64;

use crate::activity_hash::ActivityHash;
use crate::error::{Damage, OpenError};
use crate::layout::WITNESS_FILE;
use crate::settings::Durability;
use crate::stored_group::{array, le_u64};

const MAGIC: [u8; 8] = *b"CRANKWIT";
const SLOT_BYTES: usize = 72;
const SLOT_DISTANCE: u64 = 4096;
const FILE_BYTES: usize = SLOT_DISTANCE as usize + SLOT_BYTES;

/// What the witness says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Testimony {
    pub(crate) last: Seq,
    pub(crate) hash: ActivityHash,
    /// What an acknowledgement meant in the incarnation that wrote this.
    pub(crate) durability: Durability,
    pub(crate) closed: bool,
}

impl Testimony {
    pub(crate) fn encode(&self, counter: u64) -> [u8; SLOT_BYTES] {
        let mut bytes = [0; SLOT_BYTES];
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[8..16].copy_from_slice(&counter.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.last.get().to_le_bytes());
        bytes[24..56].copy_from_slice(&self.hash.0);
        bytes[56] = u8::from(self.durability == Durability::Buffered);
        bytes[57] = u8::from(self.closed);
        let checksum = xxh3_64(&bytes[..64]);
        bytes[64..72].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<(u64, Self)> {
        if bytes.len() < SLOT_BYTES
            || bytes[0..8] != MAGIC
            || xxh3_64(&bytes[..64]) != le_u64(&bytes[64..72])
        {
            return None;
        }
        let durability = if bytes[56] == 1 {
            Durability::Buffered
        } else {
            Durability::Sync
        };
        let testimony = Self {
            last: Seq::new(le_u64(&bytes[16..24])),
            hash: ActivityHash(array(&bytes[24..56])),
            durability,
            closed: bytes[57] == 1,
        };
        Some((le_u64(&bytes[8..16]), testimony))
    }

    /// Reads the witness of `dir`, and the counter of the slot it stands in.
    pub(crate) fn read(dir: &Path) -> Result<(u64, Self), OpenError> {
        let path = dir.join(WITNESS_FILE);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(
                    Damage::new("the witness file is missing", path.display().to_string()).into(),
                );
            }
            Err(source) => {
                return Err(OpenError::io(format!("reading {}", path.display()))(source));
            }
        };
        let slots = [Some(&bytes[..]), bytes.get(SLOT_DISTANCE as usize..)];
        slots
            .into_iter()
            .flatten()
            .filter_map(Self::decode)
            .max_by_key(|(counter, _)| *counter)
            .ok_or_else(|| {
                Damage::new(
                    "neither slot of the witness is whole",
                    path.display().to_string(),
                )
                .into()
            })
    }
}

/// The witness file, open for writing.
#[derive(Debug)]
pub(crate) struct Witness {
    file: File,
    counter: u64,
    pub(crate) syncs: u64,
}

impl Witness {
    /// Makes the file of a new journal.
    pub(crate) fn create(dir: &Path, testimony: &Testimony) -> io::Result<()> {
        let mut bytes = [0; FILE_BYTES];
        bytes[..SLOT_BYTES].copy_from_slice(&testimony.encode(0));
        bytes[SLOT_DISTANCE as usize..].copy_from_slice(&testimony.encode(1));
        let mut file = File::create(dir.join(WITNESS_FILE))?;
        file.write_all(&bytes)?;
        file.sync_all()
    }

    /// Goes on behind slot counter `counter`.
    pub(crate) fn open(dir: &Path, counter: u64) -> io::Result<Self> {
        let file = OpenOptions::new()
            .write(true)
            .open(dir.join(WITNESS_FILE))?;
        Ok(Self {
            file,
            counter,
            syncs: 0,
        })
    }

    /// Writes the older slot over. Durable against the end of the process, and against more only after [`sync`](Self::sync).
    pub(crate) fn write(&mut self, testimony: &Testimony) -> io::Result<()> {
        let counter = self.counter + 1;
        write_at(
            &self.file,
            &testimony.encode(counter),
            counter % 2 * SLOT_DISTANCE,
        )?;
        self.counter = counter;
        Ok(())
    }

    /// Makes what was written durable.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        self.syncs += 1;
        Ok(())
    }
}

#[cfg(unix)]
fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
}

#[cfg(not(unix))]
fn write_at(mut file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    use std::io::{Seek, SeekFrom};
    file.seek(SeekFrom::Start(offset))?;
    file.write_all(bytes)
}
