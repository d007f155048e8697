//! Directories for journals, and whether anyone has touched them.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A directory that goes away with the test. The journal is a folder in it.
#[derive(Debug)]
pub struct Scratch {
    folder: tempfile::TempDir,
}

/// Every file and folder below a directory, with the bytes of the files.
#[derive(Debug, PartialEq, Eq)]
pub struct Contents(BTreeMap<PathBuf, Option<Vec<u8>>>);

impl Scratch {
    /// A new one. The journal's folder is not there yet.
    ///
    /// # Panics
    ///
    /// When the system has no room for temporary files.
    #[must_use]
    pub fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("the system has room for temporary files"),
        }
    }

    /// The journal's folder.
    #[must_use]
    pub fn dir(&self) -> PathBuf {
        self.folder.path().join("journal")
    }

    /// A copy of the journal's folder as it is now.
    ///
    /// # Panics
    ///
    /// When the folder cannot be copied.
    #[must_use]
    pub fn copy(&self) -> Self {
        let copy = Self::new();
        copy_folder(&self.dir(), &copy.dir()).expect("the folder can be copied");
        copy
    }

    /// What the journal's folder holds.
    ///
    /// # Panics
    ///
    /// When it cannot be read.
    #[must_use]
    pub fn contents(&self) -> Contents {
        let mut found = BTreeMap::new();
        if self.dir().is_dir() {
            gather(&self.dir(), &mut found).expect("the folder can be read");
        } else if self.dir().exists() {
            found.insert(
                self.dir(),
                Some(fs::read(self.dir()).expect("the file can be read")),
            );
        }
        Contents(found)
    }

    /// Checks that the folder holds, byte for byte, what it held before.
    ///
    /// # Panics
    ///
    /// When it does not.
    #[track_caller]
    pub fn check_unchanged(&self, before: &Contents) {
        let after = self.contents();
        let names = |contents: &Contents| contents.0.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(before), names(&after), "files came or went");
        for (path, bytes) in &before.0 {
            assert!(after.0[path] == *bytes, "{} was changed", path.display());
        }
    }

    /// All files below the journal's folder whose name ends so.
    ///
    /// # Panics
    ///
    /// When the folder cannot be read.
    #[must_use]
    pub fn files(&self, suffix: &str) -> Vec<PathBuf> {
        let files = self
            .contents()
            .0
            .into_iter()
            .filter(|(_, bytes)| bytes.is_some());
        let named = files.map(|(path, _)| path);
        named
            .filter(|path| path.to_string_lossy().ends_with(suffix))
            .collect()
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

fn gather(folder: &Path, found: &mut BTreeMap<PathBuf, Option<Vec<u8>>>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            gather(&path, found)?;
            found.insert(path, None);
        } else {
            let bytes = fs::read(&path)?;
            found.insert(path, Some(bytes));
        }
    }
    Ok(())
}

fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
