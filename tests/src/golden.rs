//! Journals that earlier versions wrote, as they stand in the repository, and the kinds in them.
//!
//! `cargo run -p crankcase-tests --bin golden -- tests/golden/VERSION` writes one with the code at
//! hand. One is added when the format changes or a version is released, and none is ever changed:
//! what they are for is that every later version opens them.
//!
//! The files of a database are allocated far beyond what stands in them, so they are kept without
//! the zeros at their ends, and `lengths` says how long they were.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crankcase::collections::OrderedMap;
use crankcase::{
    Answer, Clock, CommitOrder, Crank, Exit, Kernel, KernelBuilder, Outcome, Promise, Ref, Refusal,
};
use serde::{Deserialize, Serialize};

use crate::Fallible;
use crate::host::PATIENCE;

/// A vat that keeps a bit of everything.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Keeper {
    /// Its number.
    pub count: u64,
    friend: Option<Ref<Keeper>>,
    box_of_friend: Option<Ref<Box>>,
    later: Option<Promise<u64>>,
}

/// Why a keeper does not count down.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TooFew {
    /// What is there.
    pub count: u64,
}

impl std::fmt::Display for TooFew {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "only {} are there", self.count)
    }
}

impl Refusal for TooFew {
    const CODE: &'static str = "too_few";
}

const NOTES: OrderedMap<u64, String> = OrderedMap::new("notes");

#[crankcase::vat(kind = "keeper", version = 1, objects(Box))]
impl Keeper {
    #[create]
    fn new(_cx: &Crank<Self>, count: u64) -> Answer<Self> {
        Ok(Self {
            count,
            ..Self::default()
        })
    }

    /// Counts down.
    pub fn take(&mut self, cx: &Crank<Self>, less: u64) -> Answer<u64> {
        let count = self.count;
        self.count = count.checked_sub(less).ok_or(TooFew { count })?;
        NOTES.insert(cx, &self.count, &format!("took {less}"))?;
        Ok(self.count)
    }

    /// Meets another one, and takes a box of it.
    pub fn meet(&mut self, cx: &Crank<Self>, friend: Ref<Keeper>) -> Answer<Promise<()>> {
        self.friend = Some(friend);
        Ok(cx.watch(&friend.make_box(cx, 3), Self::GOT_BOX, ()))
    }

    #[watcher]
    fn got_box(&mut self, _cx: &Crank<Self>, made: Outcome<Ref<Box>>) -> Answer<()> {
        self.box_of_friend = Some(made?);
        Ok(())
    }

    /// Makes a box.
    pub fn make_box(&mut self, cx: &Crank<Self>, holds: u64) -> Answer<Ref<Box>> {
        Ok(cx.export(Box { holds }))
    }

    /// What is in the box of the friend.
    pub fn look(&self, cx: &Crank<Self>) -> Answer<Promise<u64>> {
        Ok(match self.box_of_friend {
            Some(it) => it.holds(cx),
            None => cx.resolved(0),
        })
    }

    /// Waits until it is told.
    pub fn wait(&mut self, cx: &Crank<Self>) -> Answer<Promise<u64>> {
        let later = cx.promise();
        self.later = Some(later.clone());
        Ok(cx.watch(&later, Self::TOLD, 1_000))
    }

    /// Tells it.
    pub fn tell(&mut self, cx: &Crank<Self>, value: u64) -> Answer<()> {
        if let Some(later) = self.later.take() {
            cx.fulfil(&later, value);
        }
        Ok(())
    }

    #[watcher]
    fn told(&mut self, _cx: &Crank<Self>, more: u64, outcome: Outcome<u64>) -> Answer<u64> {
        Ok(outcome? + more)
    }

    /// What it noted last.
    pub fn last_note(&self, cx: &Crank<Self>) -> Answer<Option<String>> {
        let first = NOTES.range(cx, ..).next().transpose()?;
        Ok(first.map(|(_, note)| note))
    }

    /// Ends.
    pub fn end(&mut self, cx: &Crank<Self>) -> Answer<()> {
        cx.exit(Exit::Success);
        Ok(())
    }
}

/// An object with a number in it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Box {
    holds: u64,
}

#[crankcase::object(kind = "box", vat = Keeper)]
impl Box {
    /// The number.
    pub fn holds(&self, _keeper: &mut Keeper, _cx: &Crank<Keeper>) -> Answer<u64> {
        Ok(self.holds)
    }
}

/// A builder that knows the kinds.
pub fn builder(dir: &Path) -> KernelBuilder {
    Kernel::builder(dir)
        .order(CommitOrder::Dispatch)
        .clock(Clock::Manual)
        .kind::<Keeper>(())
}

/// Makes a journal with a bit of everything: named vats, rows, an object and who holds it, a promise
/// that nobody has decided and who watches it, a refusal, request ids, a vat that ended, and a message
/// that waits.
///
/// # Errors
///
/// Whatever went wrong.
pub fn write(dir: &Path) -> Fallible<()> {
    write_with(dir, 8)
}

/// The same, with a checkpoint after so many records each time.
///
/// # Errors
///
/// Whatever went wrong.
pub fn write_with(dir: &Path, checkpoint_every: u64) -> Fallible<()> {
    let kernel = builder(dir)
        .checkpoint_every(checkpoint_every, u64::MAX)
        .open()?;
    let mut batch = kernel.batch();
    let ann = Keeper::spawn_named(&mut batch, "ann", 10)?;
    let bob = Keeper::spawn_named(&mut batch, "bob", 20)?;
    let cat = Keeper::spawn_named(&mut batch, "cat", 30)?;
    drop(batch.submit()?);
    kernel.run_until_idle()?;
    drop(ann.meet(&kernel, bob)?);
    drop(ann.take(kernel.request("take"), 4)?);
    drop(bob.take(kernel.request("too many"), 21)?);
    kernel.run_until_idle()?;
    kernel.set_time(7)?;
    drop(bob.wait(kernel.request("wait"))?);
    drop(cat.end(&kernel)?);
    kernel.run_until_idle()?;
    drop(ann.take(kernel.request("waits"), 1)?);
    kernel.run(0)?;
    kernel.close(PATIENCE)?;
    Ok(())
}

/// Copies a journal into the repository.
///
/// # Errors
///
/// Whatever went wrong.
pub fn pack(journal: &Path, golden: &Path) -> io::Result<()> {
    let mut lengths = String::new();
    let mut files = Vec::new();
    files_in(journal, &mut files)?;
    files.sort();
    for file in files {
        let name = file.strip_prefix(journal).map_err(io::Error::other)?;
        let bytes = fs::read(&file)?;
        let end = bytes
            .iter()
            .rposition(|&byte| byte != 0)
            .map_or(0, |last| last + 1);
        let to = golden.join("files").join(name);
        fs::create_dir_all(to.parent().expect("it stands in a folder"))?;
        fs::write(to, &bytes[..end])?;
        lengths += &format!("{} {}\n", bytes.len(), name.display());
    }
    fs::write(golden.join("lengths"), lengths)
}

/// Brings a journal of the repository back.
///
/// # Errors
///
/// Whatever went wrong.
pub fn unpack(golden: &Path, journal: &Path) -> io::Result<()> {
    for line in fs::read_to_string(golden.join("lengths"))?.lines() {
        let (length, name) = line
            .split_once(' ')
            .ok_or_else(|| io::Error::other("a line"))?;
        let to = journal.join(name);
        fs::create_dir_all(to.parent().expect("it stands in a folder"))?;
        fs::copy(golden.join("files").join(name), &to)?;
        let length = length.parse().map_err(io::Error::other)?;
        fs::OpenOptions::new()
            .write(true)
            .open(&to)?
            .set_len(length)?;
    }
    Ok(())
}

fn files_in(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        match path.is_dir() {
            true => files_in(&path, files)?,
            false => files.push(path),
        }
    }
    Ok(())
}
