//! The directory's own lock, taken before anything else is touched and let go when the last handle is gone.
//!
//! fjall locks its two folders too, but only after the look at them, and its refusal looks like any other error.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crankcase_vat::mutant;

use crate::error::OpenError;
use crate::layout::LOCK_FILE;

/// Holds the lock until dropped.
#[derive(Debug)]
pub(crate) struct DirectoryLock {
    file: Option<File>,
}

impl Drop for DirectoryLock {
    fn drop(&mut self) {
        if let Some(file) = &self.file {
            // Closing alone is not enough: a child that is being started has its own handle on the same lock until it
            // runs its program. If unlocking fails, closing is what is left.
            let _ = file.unlock();
        }
    }
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
            Err(TryLockError::WouldBlock) if mutant("lock-is-not-heard") => {
                Ok((Self { file: None }, MadeLockFile(None)))
            }
            Ok(()) => Ok((
                Self { file: Some(file) },
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
                return Ok(Self { file: None });
            }
            Err(source) => {
                return Err(OpenError::io(format!("opening {}", path.display()))(source));
            }
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(Self { file: Some(file) }),
            Err(TryLockError::WouldBlock) => Err(OpenError::OpenElsewhere),
            Err(TryLockError::Error(source)) => {
                Err(OpenError::io(format!("locking {}", path.display()))(source))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a child that is being started does to every handle of its parent.
    fn inherit(lock: &DirectoryLock) -> File {
        let file = lock.file.as_ref().expect("there is a lock file");
        file.try_clone().expect("a handle can be doubled")
    }

    #[test]
    fn lock_is_let_go_although_a_child_is_being_started() {
        let dir = tempfile::tempdir().expect("a folder");
        let (lock, made) = DirectoryLock::exclusive(dir.path()).expect("nobody has it");
        made.keep();
        let _inherited = inherit(&lock);
        drop(lock);
        let reader = DirectoryLock::shared(dir.path()).expect("nobody has it");
        let _inherited = inherit(&reader);
        drop(reader);
        assert!(DirectoryLock::exclusive(dir.path()).is_ok());
    }
}
