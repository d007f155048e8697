//! The directory's own lock, taken before anything else is touched and let go when the last handle is gone.
//!
//! fjall locks its two folders too, but only after the look at them, and its refusal looks like any other error.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::error::OpenError;
use crate::layout::LOCK_FILE;

/// Holds the lock until dropped.
#[derive(Debug)]
pub(crate) struct DirectoryLock {
    _file: Option<File>,
}

/// A lock file that this open made and that a refusal takes away again.
pub(crate) struct MadeLockFile(Option<PathBuf>);

impl MadeLockFile {
    /// The open went well: the file stays.
    pub(crate) fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for MadeLockFile {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            // Best effort: a left-over empty lock file harms nobody.
            let _ = std::fs::remove_file(path);
        }
    }
}

impl DirectoryLock {
    /// Locks `dir` against everyone else.
    pub(crate) fn exclusive(dir: &Path) -> Result<(Self, MadeLockFile), OpenError> {
        let path = dir.join(LOCK_FILE);
        let made = !path.exists();
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(OpenError::io(format!("opening {}", path.display())))?;
        match file.try_lock() {
            Ok(()) => Ok((
                Self { _file: Some(file) },
                MadeLockFile(made.then_some(path)),
            )),
            Err(TryLockError::WouldBlock) => Err(OpenError::OpenElsewhere),
            Err(TryLockError::Error(source)) => {
                Err(OpenError::io(format!("locking {}", path.display()))(source))
            }
        }
    }

    /// Keeps writers out of `dir` while it is read. Makes no file: where there is none, nobody can hold it.
    pub(crate) fn shared(dir: &Path) -> Result<Self, OpenError> {
        let path = dir.join(LOCK_FILE);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self { _file: None });
            }
            Err(source) => {
                return Err(OpenError::io(format!("opening {}", path.display()))(source));
            }
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(Self { _file: Some(file) }),
            Err(TryLockError::WouldBlock) => Err(OpenError::OpenElsewhere),
            Err(TryLockError::Error(source)) => {
                Err(OpenError::io(format!("locking {}", path.display()))(source))
            }
        }
    }
}
