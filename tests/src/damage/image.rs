//! A journal's directory held in memory, to be written again and compared.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const SECTOR_BYTES: usize = 512;

/// Every file below a directory, with its bytes. The zeros behind what is written in fjall's logs, 64 MiB of them, are
/// left out: fjall itself cuts them off when it opens a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image(BTreeMap<PathBuf, Vec<u8>>);

impl Image {
    /// The directory as it is now.
    ///
    /// # Panics
    ///
    /// When it cannot be read.
    #[must_use]
    pub fn of(dir: &Path) -> Self {
        let mut files = BTreeMap::new();
        gather(dir, dir, &mut files);
        for (path, bytes) in &mut files {
            if path.extension().is_some_and(|extension| extension == "jnl") {
                bytes.truncate(used(bytes));
            }
        }
        Self(files)
    }

    /// Writes it to `dir`, in place of whatever is there.
    ///
    /// # Panics
    ///
    /// When that cannot be done.
    pub fn write(&self, dir: &Path) {
        if dir.exists() {
            fs::remove_dir_all(dir).expect("the scratch directory can be emptied");
        }
        for (path, bytes) in &self.0 {
            let to = dir.join(path);
            fs::create_dir_all(to.parent().expect("it stands in a folder")).expect("a folder");
            fs::write(to, bytes).expect("the file can be written");
        }
    }

    /// The files with their bytes, by their paths in the directory.
    pub fn files(&self) -> impl Iterator<Item = (&Path, &[u8])> {
        self.0.iter().map(|(path, bytes)| (&**path, &**bytes))
    }

    /// The bytes of one file.
    ///
    /// # Panics
    ///
    /// When there is none of that name.
    #[must_use]
    pub fn file(&self, path: &Path) -> &[u8] {
        &self.0[path]
    }

    /// The same with other bytes in one file.
    #[must_use]
    pub fn with(&self, path: &Path, bytes: Vec<u8>) -> Self {
        let mut files = self.0.clone();
        files.insert(path.to_path_buf(), bytes);
        Self(files)
    }

    /// The first file in which `dir` differs from this, if any.
    ///
    /// # Panics
    ///
    /// When it cannot be read.
    #[must_use]
    pub fn difference(&self, dir: &Path) -> Option<PathBuf> {
        let mut files = BTreeMap::new();
        gather(dir, dir, &mut files);
        let here = self.0.keys().chain(files.keys());
        let mut differ = here.filter(|path| self.0.get(*path) != files.get(*path));
        differ.next().cloned()
    }

    /// Bytes in use: of each file up to its last byte that is not zero, but for sectors of zeros.
    #[must_use]
    pub fn bytes_in_use(&self) -> usize {
        let of_file = |bytes: &Vec<u8>| {
            let sectors = bytes[..used(bytes)].chunks(SECTOR_BYTES);
            let written = sectors.filter(|sector| sector.iter().any(|&byte| byte != 0));
            written.map(<[u8]>::len).sum::<usize>()
        };
        self.0.values().map(of_file).sum()
    }
}

/// How many bytes there are up to the last that is not zero.
pub(super) fn used(bytes: &[u8]) -> usize {
    let last = bytes.iter().rposition(|&byte| byte != 0);
    last.map_or(0, |last| last + 1)
}

fn gather(root: &Path, folder: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(folder).expect("the folder can be read") {
        let path = entry.expect("the folder can be read").path();
        if path.is_dir() {
            gather(root, &path, files);
        } else {
            let bytes = fs::read(&path).expect("the file can be read");
            let name = path.strip_prefix(root).expect("it stands below");
            files.insert(name.to_path_buf(), bytes);
        }
    }
}
