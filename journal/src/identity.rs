//! The identity file: who this journal is, fixed when it is made.
//!
//! ```text
//! 0..8    magic                    28..36  timeline, u64 little endian
//! 8..10   format, u16 LE           36      commit order
//! 10..12  zero                     37..40  zero
//! 12..28  kernel id                40..72  seed
//!                                  72..80  XXH3 of everything before, u64 LE
//! ```
//!
//! Replaced as a whole, by renaming a synced file over it: after a crash it is the old one or the new one.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use crankcase_vat::mutant;
use xxhash_rust::xxh3::xxh3_64;

use crate::crash_points::{CrashPoint, pass};
use crate::error::{Damage, OpenError};
use crate::layout::{DIRECTORY_FORMAT, IDENTITY_FILE, IDENTITY_TEMPORARY};
use crate::stored_group::{array, le_u64};

const MAGIC: [u8; 8] = *b"CRANKJNL";
const FILE_BYTES: usize = 80;

/// Who a journal is. Everything but the timeline is fixed when it is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// Names the kernel for ever.
    pub kernel_id: [u8; 16],
    /// Rises when a tail may have been lost, so that old numbers are never taken for new ones.
    pub timeline: u64,
    /// The commit order, as the kernel numbers them.
    pub order: u8,
    /// Keys all randomness in the kernel.
    pub seed: [u8; 32],
}

impl Identity {
    pub(crate) fn encode(&self) -> [u8; FILE_BYTES] {
        let mut bytes = [0; FILE_BYTES];
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[8..10].copy_from_slice(&DIRECTORY_FORMAT.to_le_bytes());
        bytes[12..28].copy_from_slice(&self.kernel_id);
        bytes[28..36].copy_from_slice(&self.timeline.to_le_bytes());
        bytes[36] = self.order;
        bytes[40..72].copy_from_slice(&self.seed);
        let checksum = xxh3_64(&bytes[..72]);
        bytes[72..80].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8], path: &Path) -> Result<Self, OpenError> {
        if bytes.len() < 10 || bytes[0..8] != MAGIC {
            return Err(OpenError::NotAJournal {
                path: path.parent().unwrap_or(path).to_path_buf(),
                why: format!("its file `{IDENTITY_FILE}` does not start like a journal's"),
            });
        }
        // Before the checksum: a newer format may be of another length.
        let format = u16::from_le_bytes(array(&bytes[8..10]));
        if format > DIRECTORY_FORMAT && !mutant("newer-format-is-read") {
            return Err(OpenError::NewerFormat {
                found: format,
                supported: DIRECTORY_FORMAT,
            });
        }
        if bytes.len() != FILE_BYTES || xxh3_64(&bytes[..72]) != le_u64(&bytes[72..80]) {
            return Err(Damage::new(
                "the identity file does not match its checksum",
                path.display().to_string(),
            )
            .into());
        }
        if format < DIRECTORY_FORMAT {
            return Err(OpenError::OlderFormat {
                found: format,
                supported: DIRECTORY_FORMAT,
            });
        }
        Ok(Self {
            kernel_id: array(&bytes[12..28]),
            timeline: le_u64(&bytes[28..36]),
            order: bytes[36],
            seed: array(&bytes[40..72]),
        })
    }

    /// Reads the identity of `dir`; `None` when it has none.
    pub(crate) fn read(dir: &Path) -> Result<Option<Self>, OpenError> {
        let path = dir.join(IDENTITY_FILE);
        match fs::read(&path) {
            Ok(bytes) => Self::decode(&bytes, &path).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(OpenError::io(format!("reading {}", path.display()))(source)),
        }
    }

    /// Puts the identity of `dir`, durably, in place of the one there.
    pub(crate) fn write(&self, dir: &Path) -> io::Result<()> {
        let temporary = dir.join(IDENTITY_TEMPORARY);
        let mut file = File::create(&temporary)?;
        file.write_all(&self.encode())?;
        file.sync_all()?;
        pass(CrashPoint::IdentityWritten);
        fs::rename(&temporary, dir.join(IDENTITY_FILE))?;
        pass(CrashPoint::IdentityRenamed);
        sync_folder(dir)
    }
}

/// Makes new and removed names in `folder` durable.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) {
        File::open(folder)?.sync_all()
    } else {
        Ok(())
    }
}

/// Makes all names in `folder` and in the folders below it durable.
pub(crate) fn sync_folders_below(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_folders_below(&entry.path())?;
        }
    }
    sync_folder(folder)
}
