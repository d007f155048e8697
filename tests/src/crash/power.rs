//! What a directory holds after the power was cut: what was synced, and of what was not whatever the
//! disk happened to keep.
//!
//! The disk under a child ([`super::shim`]) writes down every change. This goes through them with
//! two copies of each file, the one that programs see and the one that a cut leaves, and with the
//! names in each folder likewise. That it knows every change is checked each time: what programs see
//! must be what the directory holds.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use crate::luck::Luck;

const OPEN: u32 = 1;
const WRITE: u32 = 2;
const TRUNCATE: u32 = 3;
const SYNC: u32 = 4;
const RENAME: u32 = 5;
const UNLINK: u32 = 6;
const MKDIR: u32 = 7;
const RMDIR: u32 = 8;
const DUP: u32 = 10;
const DONE: u32 = 11;
const FAULT: u32 = 12;
const HEADER_BYTES: usize = 48;
/// `O_TRUNC` of Linux.
const TRUNCATES: u64 = 0o1000;
const CREATES: u64 = 1 << 32;

/// Bytes with zeros behind them up to a length: log files are allocated far beyond what is in them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Bytes {
    bytes: Vec<u8>,
    len: u64,
}

impl Bytes {
    fn of(mut bytes: Vec<u8>) -> Self {
        let len = bytes.len() as u64;
        let meant = bytes
            .chunks(4096)
            .rposition(|page| page.iter().any(|&byte| byte != 0));
        bytes.truncate(meant.map_or(0, |page| (page + 1) * 4096));
        Self { bytes, len }
    }

    fn put(&mut self, offset: u64, bytes: &[u8]) {
        let offset = usize::try_from(offset).expect("files of tests are small");
        let end = offset + bytes.len();
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        self.bytes[offset..end].copy_from_slice(bytes);
        self.len = self.len.max(end as u64);
    }

    fn set_len(&mut self, len: u64) {
        self.len = len;
        let meant = usize::try_from(len).unwrap_or(usize::MAX);
        self.bytes.truncate(meant);
    }

    /// The bytes without the zeros at their end.
    fn meant(&self) -> &[u8] {
        let meant = self.bytes.iter().rposition(|&byte| byte != 0);
        &self.bytes[..meant.map_or(0, |last| last + 1)]
    }

    fn same(&self, other: &Self) -> bool {
        self.len == other.len && self.meant() == other.meant()
    }

    fn write(&self, path: &Path) {
        fs::write(path, self.meant()).expect("a file can be written");
        let file = fs::OpenOptions::new().write(true).open(path);
        let file = file.expect("a file can be opened");
        file.set_len(self.len).expect("a file can be made longer");
    }
}

#[derive(Debug, Clone)]
enum Change {
    Put(u64, Vec<u8>),
    Len(u64),
}

impl Change {
    fn make(&self, bytes: &mut Bytes) {
        match self {
            Self::Put(offset, put) => bytes.put(*offset, put),
            Self::Len(len) => bytes.set_len(*len),
        }
    }
}

#[derive(Debug, Default)]
struct File {
    seen: Bytes,
    synced: Bytes,
    /// What is in `seen` and not in `synced`, in order.
    unsynced: Vec<Change>,
    /// Changes that left `unsynced`, to count by.
    settled: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    Folder,
    File(usize),
}

#[derive(Debug)]
struct NameChange {
    folder: PathBuf,
    sets: Vec<(PathBuf, Option<Node>)>,
    /// Where it stands among all of them.
    number: u64,
    /// Something was synced after it, with which a file system that keeps a journal keeps this too.
    covered: bool,
}

#[derive(Debug, Clone)]
enum Handle {
    File(usize),
    Folder(PathBuf),
}

/// What a sync covers.
enum Covers {
    File(usize, usize),
    Folder(PathBuf, u64),
    Nothing,
}

#[derive(Debug)]
struct Entry<'a> {
    kind: u32,
    fd: u32,
    id: u64,
    offset: u64,
    result: i64,
    path: &'a [u8],
    other: &'a [u8],
    data: &'a [u8],
}

/// The entries, and how many bytes of an entry that was cut short follow.
fn entries(bytes: &[u8]) -> Vec<Entry<'_>> {
    let mut entries = Vec::new();
    let mut rest = bytes;
    while rest.len() >= HEADER_BYTES {
        let (header, behind) = rest.split_at(HEADER_BYTES);
        let word =
            |at: usize| u32::from_ne_bytes(header[at..at + 4].try_into().expect("four bytes"));
        let long =
            |at: usize| u64::from_ne_bytes(header[at..at + 8].try_into().expect("eight bytes"));
        let lengths = [word(32), word(36), word(40)].map(|len| len as usize);
        let Some((path, behind)) = behind.split_at_checked(lengths[0]) else {
            break;
        };
        let Some((other, behind)) = behind.split_at_checked(lengths[1]) else {
            break;
        };
        let Some((data, behind)) = behind.split_at_checked(lengths[2]) else {
            break;
        };
        entries.push(Entry {
            kind: word(0),
            fd: word(4),
            id: long(8),
            offset: long(16),
            result: long(24).cast_signed(),
            path,
            other,
            data,
        });
        rest = behind;
    }
    entries
}

/// A directory as it was before a child began, and what it has changed since.
#[derive(Debug)]
pub(super) struct Recording {
    dir: PathBuf,
    folder: tempfile::TempDir,
    log: PathBuf,
    base: BTreeMap<PathBuf, Option<Bytes>>,
}

/// What a power cut did.
#[derive(Debug, Default)]
pub(super) struct Cut {
    /// Changes of files that were lost.
    pub(super) changes: u64,
    /// What was lost, a line each.
    pub(super) lines: Vec<String>,
}

fn gather(root: &Path, folder: &Path, found: &mut BTreeMap<PathBuf, Option<Bytes>>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries {
        let path = entry.expect("a folder can be read").path();
        let name = path.strip_prefix(root).expect("it is below").to_owned();
        if path.is_dir() {
            found.insert(name, None);
            gather(root, &path, found);
        } else {
            let bytes = fs::read(&path).expect("a file can be read");
            found.insert(name, Some(Bytes::of(bytes)));
        }
    }
}

impl Recording {
    /// Takes the directory as it is, all of it synced.
    pub(super) fn begin(dir: &Path) -> Self {
        let folder = tempfile::tempdir().expect("the system has room for temporary files");
        let mut base = BTreeMap::new();
        gather(dir, dir, &mut base);
        Self {
            dir: dir.to_owned(),
            log: folder.path().join("changes"),
            folder,
            base,
        }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn log(&self) -> &Path {
        &self.log
    }

    /// Goes through what was changed.
    pub(super) fn end(self) -> Disk {
        // A child that died before it began has written nothing down.
        let bytes = fs::read(&self.log).unwrap_or_default();
        let mut disk = Disk::of(&self.dir, self.base);
        let mut intended = HashMap::new();
        let mut syncs = HashMap::new();
        for entry in entries(&bytes) {
            match entry.kind {
                DONE => {
                    if let Some(covers) = syncs.remove(&entry.id) {
                        disk.synced(covers, entry.result == 0);
                    } else if let Some(intent) = intended.remove(&entry.id)
                        && entry.result >= 0
                    {
                        disk.change(&intent, entry.result);
                    }
                }
                FAULT => {
                    let fault = String::from_utf8_lossy(entry.path).into_owned();
                    disk.faults.push(fault);
                }
                SYNC => {
                    syncs.insert(entry.id, disk.covered_by(entry.fd));
                }
                _ => {
                    intended.insert(entry.id, entry);
                }
            }
        }
        // At most one change was being made when the child died.
        disk.in_flight = intended.values().next().map(|entry| match entry.kind {
            WRITE | TRUNCATE => match disk.fds.get(&entry.fd) {
                Some(Handle::File(file)) => InFlight::File(*file),
                _ => InFlight::Name,
            },
            _ => InFlight::Name,
        });
        drop(self.folder);
        disk
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InFlight {
    File(usize),
    Name,
}

/// What a child's disk held when it ended.
#[derive(Debug)]
pub(super) struct Disk {
    dir: PathBuf,
    files: Vec<File>,
    seen: BTreeMap<PathBuf, Node>,
    synced: BTreeMap<PathBuf, Node>,
    names: Vec<NameChange>,
    name_changes: u64,
    fds: HashMap<u32, Handle>,
    in_flight: Option<InFlight>,
    /// The faults that struck.
    pub(super) faults: Vec<String>,
}

impl Disk {
    fn of(dir: &Path, base: BTreeMap<PathBuf, Option<Bytes>>) -> Self {
        let mut files = Vec::new();
        let mut seen = BTreeMap::new();
        for (name, bytes) in base {
            let node = bytes.map_or(Node::Folder, |bytes| {
                files.push(File {
                    seen: bytes.clone(),
                    synced: bytes,
                    ..File::default()
                });
                Node::File(files.len() - 1)
            });
            seen.insert(name, node);
        }
        Self {
            dir: dir.to_owned(),
            files,
            synced: seen.clone(),
            seen,
            names: Vec::new(),
            name_changes: 0,
            fds: HashMap::new(),
            in_flight: None,
            faults: Vec::new(),
        }
    }

    /// The name below the directory; the directory's own is empty.
    fn name(&self, path: &[u8]) -> PathBuf {
        let path = Path::new(std::str::from_utf8(path).expect("paths of tests are text"));
        let name = path.strip_prefix(&self.dir);
        name.expect("changes are below the directory").to_owned()
    }

    fn set_names(&mut self, sets: Vec<(PathBuf, Option<Node>)>) {
        for (name, node) in &sets {
            match node {
                Some(node) => self.seen.insert(name.clone(), *node),
                None => self.seen.remove(name),
            };
        }
        let folder = sets[0].0.parent().map(Path::to_owned).unwrap_or_default();
        self.name_changes += 1;
        self.names.push(NameChange {
            folder,
            sets,
            number: self.name_changes,
            covered: false,
        });
    }

    fn change_file(&mut self, fd: u32, change: Change) {
        if let Some(Handle::File(file)) = self.fds.get(&fd) {
            let file = &mut self.files[*file];
            change.make(&mut file.seen);
            file.unsynced.push(change);
        }
    }

    fn change(&mut self, entry: &Entry<'_>, result: i64) {
        match entry.kind {
            OPEN => {
                let fd = u32::try_from(result).expect("a handle is a small number");
                let name = self.name(entry.path);
                if entry.offset & CREATES != 0 {
                    self.files.push(File::default());
                    let node = Node::File(self.files.len() - 1);
                    self.set_names(vec![(name.clone(), Some(node))]);
                }
                let handle = match self.seen.get(&name) {
                    Some(Node::File(file)) => Handle::File(*file),
                    _ => Handle::Folder(name),
                };
                self.fds.insert(fd, handle);
                if entry.offset & TRUNCATES != 0 {
                    self.change_file(fd, Change::Len(0));
                }
            }
            WRITE => {
                let wrote = usize::try_from(result).expect("it was checked");
                let put = Change::Put(entry.offset, entry.data[..wrote].to_vec());
                self.change_file(entry.fd, put);
            }
            TRUNCATE => self.change_file(entry.fd, Change::Len(entry.offset)),
            RENAME => {
                let (from, to) = (self.name(entry.path), self.name(entry.other));
                let node = self.seen.get(&from).copied();
                self.set_names(vec![(from, None), (to, node)]);
            }
            UNLINK | RMDIR => {
                let name = self.name(entry.path);
                self.set_names(vec![(name, None)]);
            }
            MKDIR => {
                let name = self.name(entry.path);
                if !name.as_os_str().is_empty() {
                    self.set_names(vec![(name, Some(Node::Folder))]);
                }
            }
            DUP => {
                if let Some(handle) = self.fds.get(&entry.fd).cloned() {
                    let made = u32::try_from(result).expect("a handle is a small number");
                    self.fds.insert(made, handle);
                }
            }
            other => panic!("{other} is no kind of change"),
        }
    }

    fn covered_by(&self, fd: u32) -> Covers {
        match self.fds.get(&fd) {
            Some(Handle::File(file)) => {
                let found = &self.files[*file];
                Covers::File(*file, found.settled + found.unsynced.len())
            }
            Some(Handle::Folder(folder)) => Covers::Folder(folder.clone(), self.name_changes),
            None => Covers::Nothing,
        }
    }

    fn synced(&mut self, covers: Covers, well: bool) {
        let upto = self.name_changes;
        match covers {
            Covers::File(file, upto) => {
                let file = &mut self.files[file];
                let covered = upto.saturating_sub(file.settled);
                for change in file.unsynced.drain(..covered.min(file.unsynced.len())) {
                    // A failed sync takes what it covered with it: the system thinks that it is
                    // clean, and a later sync does not write it.
                    if well {
                        change.make(&mut file.synced);
                    }
                    file.settled += 1;
                }
            }
            Covers::Folder(folder, upto) if well => {
                let (mut kept, mut now) = (Vec::new(), Vec::new());
                for change in self.names.drain(..) {
                    match change.folder == folder && change.number <= upto {
                        true => now.push(change),
                        false => kept.push(change),
                    }
                }
                self.names = kept;
                for change in now {
                    set(&mut self.synced, change.sets);
                }
            }
            Covers::Folder(..) | Covers::Nothing => {}
        }
        if well {
            for change in &mut self.names {
                change.covered |= change.number <= upto;
            }
        }
    }

    /// Checks that every change was seen: what programs see is what the directory holds.
    pub(super) fn check_complete(&self) {
        let mut there = BTreeMap::new();
        gather(&self.dir, &self.dir, &mut there);
        if self.in_flight == Some(InFlight::Name) {
            return;
        }
        let names: Vec<_> = there.keys().collect();
        assert_eq!(
            names,
            self.seen.keys().collect::<Vec<_>>(),
            "names came or went unseen"
        );
        for (name, bytes) in &there {
            match (self.seen[name], bytes) {
                (Node::Folder, None) => {}
                (Node::File(file), Some(_)) if self.in_flight == Some(InFlight::File(file)) => {}
                (Node::File(file), Some(bytes)) => assert!(
                    self.files[file].seen.same(bytes),
                    "{} was changed unseen",
                    name.display()
                ),
                _ => panic!("{} is a file or a folder", name.display()),
            }
        }
    }

    /// Makes `to` what the directory is after the power was cut now.
    /// `harsh` is a disk that keeps nothing that was not synced.
    pub(super) fn cut(mut self, to: &Path, luck: &mut Luck, harsh: bool) -> Cut {
        let mut cut = Cut::default();
        // A file system may keep names in the order in which they were changed, and all of them
        // when anything is synced; or keep those alone whose folder was synced.
        let ordered = luck.below(2) == 0;
        let keep_all = luck.below(4) == 0;
        let last = self.names.len() as u64;
        let keep = luck.below(last + 1);
        let mut stopped: Vec<PathBuf> = Vec::new();
        for (index, change) in std::mem::take(&mut self.names).into_iter().enumerate() {
            let kept = match (keep_all, ordered) {
                _ if harsh => false,
                (true, _) => true,
                (_, true) => change.covered || (index as u64) < keep,
                // In the order of each folder.
                (_, false) => !stopped.contains(&change.folder) && luck.below(2) == 0,
            };
            if kept {
                set(&mut self.synced, change.sets);
            } else {
                cut.lines.push(format!("names {:?}", change.sets));
                stopped.push(change.folder);
            }
        }
        fs::create_dir_all(to).expect("a folder can be made");
        for (name, node) in &self.synced {
            let path = to.join(name);
            // What stands in a folder that is not there is not there either.
            if !path.parent().is_some_and(Path::is_dir) {
                continue;
            }
            match node {
                Node::Folder => fs::create_dir(&path).expect("a folder can be made"),
                Node::File(file) => {
                    let file_there = &self.files[*file];
                    let (bytes, lost) = match harsh {
                        true => (file_there.synced.clone(), file_there.unsynced.len() as u64),
                        false => file_there.after_cut(luck),
                    };
                    bytes.write(&path);
                    cut.changes += lost;
                    if lost > 0 {
                        let of = self.files[*file].unsynced.len();
                        cut.lines
                            .push(format!("{lost} of {of} changes of {}", name.display()));
                    }
                }
            }
        }
        cut
    }
}

fn set(names: &mut BTreeMap<PathBuf, Node>, sets: Vec<(PathBuf, Option<Node>)>) {
    for (name, node) in sets {
        match node {
            Some(node) => names.insert(name, node),
            None => names.remove(&name),
        };
    }
}

impl File {
    /// The bytes that a cut leaves, and how many changes it takes.
    fn after_cut(&self, luck: &mut Luck) -> (Bytes, u64) {
        let unsynced = self.unsynced.len() as u64;
        let mut left = self.synced.clone();
        let block = match luck.below(5) {
            0 => return (left, unsynced),
            1 => {
                self.unsynced
                    .iter()
                    .for_each(|change| change.make(&mut left));
                return (left, 0);
            }
            2 => {
                let kept = luck.below(unsynced + 1);
                let kept_changes = &self.unsynced[..kept as usize];
                kept_changes
                    .iter()
                    .for_each(|change| change.make(&mut left));
                return (left, unsynced - kept);
            }
            3 => 4096,
            _ => 512,
        };
        // Blocks reach the disk in any order, each as it was after some of its changes.
        let mut versions: HashMap<u64, u64> = HashMap::new();
        let mut version = |block: u64| {
            *versions
                .entry(block)
                .or_insert_with(|| match luck.below(3) {
                    0 => 0,
                    1 => unsynced,
                    _ => luck.below(unsynced + 1),
                })
        };
        const LENGTH: u64 = u64::MAX;
        let mut lost = 0;
        for (number, change) in (0..).zip(&self.unsynced) {
            let mut whole = true;
            match change {
                Change::Len(len) if number < version(LENGTH) => left.set_len(*len),
                Change::Len(_) => whole = false,
                Change::Put(offset, bytes) => {
                    let mut at = *offset;
                    let mut rest = &bytes[..];
                    while !rest.is_empty() {
                        let room = block - at % block;
                        let (now, behind) = rest.split_at(rest.len().min(room as usize));
                        if number < version(at / block) {
                            left.put(at, now);
                        } else {
                            whole = false;
                        }
                        at += now.len() as u64;
                        rest = behind;
                    }
                }
            }
            lost += u64::from(!whole);
        }
        (left, lost)
    }
}
