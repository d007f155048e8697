//! Appending to a file and syncing it, with nothing around it: what the disk allows.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::Fallible;

/// A file that is only appended to.
#[derive(Debug)]
pub struct Bare {
    file: File,
    bytes: Vec<u8>,
}

impl Bare {
    /// Makes the file; `group_bytes` is how much one append writes.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub fn new(path: &Path, group_bytes: usize) -> Fallible<Self> {
        // Bytes that do not compress, in case the disk is clever.
        let mut word = 0x9e37_79b9_7f4a_7c15_u64;
        let bytes = (0..group_bytes).map(|_| {
            word ^= word << 13;
            word ^= word >> 7;
            word ^= word << 17;
            word as u8
        });
        Ok(Self {
            file: File::create(path)?,
            bytes: bytes.collect(),
        })
    }

    /// One append and sync.
    ///
    /// # Errors
    ///
    /// When the disk says no.
    pub fn append(&mut self) -> Fallible<Duration> {
        let begun = Instant::now();
        self.file.write_all(&self.bytes)?;
        self.file.sync_data()?;
        Ok(begun.elapsed())
    }
}
