//! A journal in a scratch folder, and the ways to harm it. Shared by all scenarios.
#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crankcase_journal::{
    Durability, Group, Guards, Identity, OpenError, Opened, PrivateCopy, Settings, open,
};
use crankcase_vat::Seq;

pub(crate) const FRESH: Identity = Identity {
    kernel_id: [7; 16],
    timeline: 1,
    order: 0,
    seed: [3; 32],
};

pub(crate) fn settings() -> Settings {
    Settings::default()
}

pub(crate) fn buffered() -> Settings {
    Settings {
        durability: Durability::Buffered,
        ..Settings::default()
    }
}

pub(crate) fn without(switch: impl FnOnce(&mut Guards)) -> Settings {
    let mut settings = settings();
    switch(&mut settings.guards);
    settings
}

pub(crate) struct Scratch {
    folder: tempfile::TempDir,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn dir(&self) -> PathBuf {
        self.folder.path().join("journal")
    }

    #[track_caller]
    pub(crate) fn open(&self) -> Opened {
        self.open_with(&settings())
    }

    #[track_caller]
    pub(crate) fn open_with(&self, settings: &Settings) -> Opened {
        self.try_open(settings).unwrap()
    }

    pub(crate) fn try_open(&self, settings: &Settings) -> Result<Opened, OpenError> {
        open(Some(&self.dir()), settings, &FRESH)
    }

    /// An independent copy of the directory as it is now.
    pub(crate) fn copy(&self) -> Self {
        let copy = Self::new();
        copy_folder(&self.dir(), &copy.dir());
        copy
    }

    /// The newest log file of `database`.
    pub(crate) fn log_file(&self, database: &str) -> PathBuf {
        let mut files: Vec<(u64, PathBuf)> = fs::read_dir(self.dir().join(database))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "jnl"))
            .map(|path| {
                (
                    path.file_stem().unwrap().to_str().unwrap().parse().unwrap(),
                    path,
                )
            })
            .collect();
        files.sort();
        files.pop().unwrap().1
    }

    /// Asserts that an open and a private copy both refuse with `word` in the message, and that neither changes a byte.
    #[track_caller]
    pub(crate) fn check_refused(&self, word: &str) {
        let before = files_below(&self.dir());
        let opened = self
            .try_open(&settings())
            .expect_err("the open must be refused")
            .to_string();
        assert!(opened.contains(word), "{opened:?} does not say {word:?}");
        let copied = PrivateCopy::of(&self.dir())
            .expect_err("the copy must be refused")
            .to_string();
        assert_eq!(opened, copied, "both refuse with the same words");
        let after = files_below(&self.dir());
        assert_eq!(
            before.keys().collect::<Vec<_>>(),
            after.keys().collect::<Vec<_>>()
        );
        for (path, bytes) in &before {
            assert!(after[path] == *bytes, "{} was changed", path.display());
        }
    }
}

/// A record that can be found again in any file.
pub(crate) fn record(seq: u64) -> String {
    format!("record <{seq}> of the scenario")
}

/// Commits the next `count` records in groups of `group`.
#[track_caller]
pub(crate) fn commit(journal: &mut Opened, count: u64, group: u64) {
    let mut buffer = Group::new();
    let start = journal.committer.last().next().get();
    buffer.reset(Seq::new(start));
    for seq in start..start + count {
        buffer.push(record(seq).as_bytes());
        if buffer.len() as u64 == group || seq + 1 == start + count {
            journal.committer.commit(&mut buffer).unwrap();
            buffer.reset(Seq::new(seq + 1));
        }
    }
}

/// All records from `from` on.
#[track_caller]
pub(crate) fn records(journal: &Opened, from: u64) -> Vec<String> {
    let mut found = Vec::new();
    for group in journal.groups.from(Seq::new(from)) {
        let group = group.unwrap();
        found.extend(
            group
                .records()
                .filter(|(seq, _)| seq.get() >= from)
                .map(|(_, record)| String::from_utf8(record.to_vec()).unwrap()),
        );
    }
    found
}

/// Checks that the journal holds exactly the records `from..=last`.
#[track_caller]
pub(crate) fn check_records(journal: &Opened, from: u64, last: u64) {
    assert_eq!(
        records(journal, from),
        (from..=last).map(record).collect::<Vec<_>>()
    );
}

/// A directory with 30 records in groups of 3, closed cleanly.
pub(crate) fn thirty() -> Scratch {
    let scratch = Scratch::new();
    let mut journal = scratch.open();
    commit(&mut journal, 30, 3);
    journal.committer.close().unwrap();
    scratch
}

/// The offset of the first byte of `needle` in the file.
#[track_caller]
pub(crate) fn offset_of(file: &Path, needle: &[u8]) -> usize {
    let bytes = fs::read(file).unwrap();
    bytes
        .windows(needle.len())
        .position(|window| window == needle)
        .expect("the file holds the bytes")
}

pub(crate) fn holds(file: &Path, needle: &[u8]) -> bool {
    fs::read(file)
        .unwrap()
        .windows(needle.len())
        .any(|window| window == needle)
}

/// Where the batch that holds `needle` begins and ends in fjall's log.
#[track_caller]
pub(crate) fn batch_around(file: &Path, needle: &[u8]) -> (usize, usize) {
    let bytes = fs::read(file).unwrap();
    let at = offset_of(file, needle);
    let trailer = |window: &[u8]| window == b"FJL\x03";
    let start = bytes[..at]
        .windows(4)
        .rposition(trailer)
        .map_or(0, |before| before + 4);
    let end = at + bytes[at..].windows(4).position(trailer).unwrap() + 4;
    (start, end)
}

pub(crate) fn edit(file: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(file).unwrap();
    change(&mut bytes);
    fs::write(file, bytes).unwrap();
}

pub(crate) fn flip(file: &Path, offset: usize) {
    edit(file, |bytes| bytes[offset] ^= 0x10);
}

pub(crate) fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Every file below `dir` with its bytes, and every folder.
pub(crate) fn files_below(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.insert(entry.path(), Vec::new());
            found.extend(files_below(&entry.path()));
        } else {
            found.insert(entry.path(), fs::read(entry.path()).unwrap());
        }
    }
    found
}
