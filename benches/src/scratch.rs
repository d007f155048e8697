//! Directories that a measurement writes into, and that go away with it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::Fallible;

/// A directory of its own, removed with all that is in it when this is dropped.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Makes one in `parent`, or in the system's directory for such things.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub fn new(parent: Option<&Path>) -> Fallible<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let parent = parent.map_or_else(std::env::temp_dir, Path::to_path_buf);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("crankcase-bench-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Self { path })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A path in it.
    #[must_use]
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Returns when nothing in it has changed for two seconds: then the database has come to its end
    /// with putting in order what was written before.
    ///
    /// # Errors
    ///
    /// When it cannot be looked at.
    pub fn wait_until_quiet(&self) -> Fallible<()> {
        let (mut last, mut quiet) = (Vec::new(), 0);
        while quiet < 8 {
            std::thread::sleep(Duration::from_millis(250));
            let mut now = Vec::new();
            files_in(&self.path, &mut now)?;
            now.sort_unstable();
            quiet = if now == last { quiet + 1 } else { 0 };
            last = now;
        }
        Ok(())
    }
}

/// Appends the files below a directory with their lengths; one that goes away meanwhile is left out.
fn files_in(directory: &Path, files: &mut Vec<(PathBuf, u64)>) -> Fallible<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        match entry.metadata() {
            Ok(found) if found.is_dir() => files_in(&entry.path(), files)?,
            Ok(found) => files.push((entry.path(), found.len())),
            Err(gone) if gone.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            eprintln!("{} is left behind: {error}", self.path.display());
        }
    }
}
