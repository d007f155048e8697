//! Looks at a directory before fjall does, and decides whether it may be opened. Changes nothing.
//!
//! Even an undamaged open by fjall changes its log, and one flipped byte makes it cut later, acknowledged batches off
//! for good. So everything that can be refused is refused here:
//!
//! 1. The witness is read, the lists of fjall's files are checked by [`crate::manifests`], and fjall's log files of both databases are read to the end by [`crate::log_file`].
//! 2. How each file ends is looked up in [`CASES`]: go on, set the tail aside and cut it, or refuse.
//! 3. The groups from the start of the checkpoint's hash window to the newest are checked: contiguous, whole, and each
//!    with the hash that the chain gives. They usually all stand in fjall's log, which is in memory already. If some do
//!    not, the same is read through fjall from a private copy, in which fjall may change what it likes.
//! 4. What was found must reach the witness with the witness's hash, and the checkpoint.
//!
//! What cannot be told apart: after a power loss, a damaged tail younger than the last synced witness looks like a torn
//! one.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use crankcase_vat::{Seq, mutant};

use crate::activity_hash::{ActivityHash, HashChain, ends_window};
use crate::checkpointer::{CheckpointRow, stored_checkpoint};
use crate::database::{DatabaseOptions, LogDatabase, TablesDatabase};
use crate::error::{Damage, OpenError, ReadError};
use crate::layout::{
    CHECKPOINT_KEY, GROUPS, LOG_FOLDER, TABLES_FOLDER, TABLES_META, fjall_names, seq_key,
    seq_of_key,
};
use crate::log_file::{FileScan, Tail, log_files, scan_file};
use crate::manifests::check_manifests;
use crate::private_copy::CopiedFolders;
use crate::settings::Durability;
use crate::stored_group::{check_group, frames_of, split_frame};
use crate::witness::Testimony;

/// Whether a log file is the one that was being written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Position {
    Newest,
    Sealed,
}

/// What the last incarnation promised about the tail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Promise {
    /// Each batch was synced before the next was written.
    Kept,
    /// It ended uncleanly and had left syncing to the system, which writes pages in any order.
    Open,
}

/// What to do about a log file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    GoOn,
    CutOff,
    Refuse,
}

/// Every way in which a log file can end, and what follows.
pub(crate) const CASES: [(Position, Tail, Promise, Action); 16] = [
    (Position::Newest, Tail::Clean, Promise::Kept, Action::GoOn),
    (Position::Newest, Tail::Clean, Promise::Open, Action::GoOn),
    // The last batch was being written: it was never acknowledged. If it was, the witness says so in step 4.
    (Position::Newest, Tail::Torn, Promise::Kept, Action::CutOff),
    (Position::Newest, Tail::Torn, Promise::Open, Action::CutOff),
    // A later batch was only written after this one was synced: the bytes went bad since.
    (Position::Newest, Tail::Holed, Promise::Kept, Action::Refuse),
    (Position::Newest, Tail::Holed, Promise::Open, Action::CutOff),
    // Pages that were lost make no whole batch: the number has gone bad since.
    (
        Position::Newest,
        Tail::Misnumbered,
        Promise::Kept,
        Action::Refuse,
    ),
    (
        Position::Newest,
        Tail::Misnumbered,
        Promise::Open,
        Action::Refuse,
    ),
    (Position::Sealed, Tail::Clean, Promise::Kept, Action::GoOn),
    (Position::Sealed, Tail::Clean, Promise::Open, Action::GoOn),
    // fjall syncs a file before it begins the next one, whatever was promised.
    (Position::Sealed, Tail::Torn, Promise::Kept, Action::Refuse),
    (Position::Sealed, Tail::Torn, Promise::Open, Action::Refuse),
    (Position::Sealed, Tail::Holed, Promise::Kept, Action::Refuse),
    (Position::Sealed, Tail::Holed, Promise::Open, Action::Refuse),
    (
        Position::Sealed,
        Tail::Misnumbered,
        Promise::Kept,
        Action::Refuse,
    ),
    (
        Position::Sealed,
        Tail::Misnumbered,
        Promise::Open,
        Action::Refuse,
    ),
];

pub(crate) fn decide(position: Position, tail: Tail, promise: Promise) -> Action {
    if tail == Tail::Holed && mutant("hole-is-taken-for-a-torn-tail") {
        return Action::CutOff;
    }
    CASES
        .iter()
        .find(|(p, t, q, _)| (*p, *t, *q) == (position, tail, promise))
        .map_or(Action::Refuse, |(_, _, _, action)| *action)
}

/// A torn tail that is to be set aside and cut off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cut {
    /// The database's folder and the file in it.
    pub(crate) folder: &'static str,
    pub(crate) path: PathBuf,
    pub(crate) whole_bytes: u64,
    pub(crate) why: &'static str,
}

/// What recovery needs to know of the order.
pub(crate) struct OrderState {
    pub(crate) checkpoint: CheckpointRow,
    pub(crate) chain: HashChain,
    pub(crate) last: Seq,
    pub(crate) edges: BTreeMap<Seq, ActivityHash>,
}

/// What the look found.
pub(crate) struct Looked {
    pub(crate) witness_counter: u64,
    pub(crate) testimony: Testimony,
    pub(crate) cuts: Vec<Cut>,
    pub(crate) state: OrderState,
}

/// Looks at `dir` and decides. `options` are those of the open that may follow.
pub(crate) fn look(dir: &Path, options: &DatabaseOptions) -> Result<Looked, OpenError> {
    let (witness_counter, testimony) = Testimony::read(dir)?;
    let promise = promise_of(&testimony);
    for folder in [LOG_FOLDER, TABLES_FOLDER] {
        for needed in [fjall_names::VERSION_FILE, fjall_names::KEYSPACES_FOLDER] {
            let path = dir.join(folder).join(needed);
            if !path.exists() {
                return Err(Damage::new(
                    "a part of the store is missing",
                    path.display().to_string(),
                )
                .into());
            }
        }
        check_manifests(&dir.join(folder))?;
    }

    let mut cuts = Vec::new();
    let mut checkpoint = None;
    scan_database(dir, TABLES_FOLDER, promise, &mut cuts, &mut |item| {
        if item.keyspace == TABLES_META.id
            && item.key == CHECKPOINT_KEY
            && let Some(value) = item.value
        {
            checkpoint = Some(CheckpointRow::decode(value)?);
        }
        Ok(())
    })?;
    let expected = options.guards.witness.then_some(&testimony);
    // Without the checkpoint's row the log cannot be judged yet; its files are looked at all the same.
    let mut check = OrderCheck::new(checkpoint.unwrap_or_default(), expected);
    let mut complete = checkpoint.is_some();
    let mut seen = false;
    scan_database(dir, LOG_FOLDER, promise, &mut cuts, &mut |item| {
        if item.keyspace != GROUPS.id {
            return Ok(());
        }
        let first = seq_of_key(item.key)
            .ok_or_else(|| Damage::new("a group's key is not a place", "the log"))?;
        let Some(value) = item.value else {
            return check.deleted(first);
        };
        if !seen && first > check.chain.at().next() {
            complete = false;
        }
        seen = true;
        if complete {
            check.accept(first, value)?;
        } else {
            // These are the newest groups, so even alone they show whether the tail is there.
            check.accept_unchained(first, value)?;
        }
        Ok(())
    })?;
    if seen {
        check.reaches_witness()?;
    }
    let state = if complete && seen {
        check.finish()?
    } else {
        look_at_copy(dir, &cuts, options, expected)?
    };
    Ok(Looked {
        witness_counter,
        testimony,
        cuts,
        state,
    })
}

fn promise_of(testimony: &Testimony) -> Promise {
    if testimony.durability == Durability::Buffered && !testimony.closed {
        Promise::Open
    } else {
        Promise::Kept
    }
}

/// Reads all log files of one database; `on_item` sees every change in the order in which they were made.
fn scan_database(
    dir: &Path,
    folder: &'static str,
    promise: Promise,
    cuts: &mut Vec<Cut>,
    on_item: &mut dyn FnMut(&crate::log_file::LogItem<'_>) -> Result<(), Damage>,
) -> Result<(), OpenError> {
    let path = dir.join(folder);
    let reading = |path: &Path| OpenError::io(format!("reading {}", path.display()));
    let files = log_files(&path).map_err(reading(&path))?;
    let newest = files.len().saturating_sub(1);
    let mut last_number = None;
    for (index, file) in files.iter().enumerate() {
        let mut damage = None;
        let scan = scan_file(file, &mut last_number, &mut |batch| {
            for item in &batch.items {
                if damage.is_none() {
                    damage = on_item(item).err();
                }
            }
        })
        .map_err(reading(file))?;
        let position = if index == newest {
            Position::Newest
        } else {
            Position::Sealed
        };
        match decide(position, scan.tail, promise) {
            Action::GoOn => {}
            Action::CutOff => cuts.push(Cut {
                folder,
                path: file.clone(),
                whole_bytes: scan.whole_bytes as u64,
                why: scan.why,
            }),
            Action::Refuse => return Err(damaged_log(&scan, position).into()),
        }
        if let Some(damage) = damage {
            return Err(damage.into());
        }
    }
    Ok(())
}

fn damaged_log(scan: &FileScan, position: Position) -> Damage {
    let what = match (position, scan.tail) {
        (_, Tail::Misnumbered) => scan.why.to_owned(),
        (Position::Sealed, _) => {
            format!("a finished log file does not read to its end: {}", scan.why)
        }
        _ => format!("{}, and acknowledged batches follow behind", scan.why),
    };
    Damage::new(
        what,
        format!("{}, offset {}", scan.path.display(), scan.whole_bytes),
    )
}

/// Step 3 for what no longer stands in fjall's log: fjall reads it, in a copy.
fn look_at_copy(
    dir: &Path,
    cuts: &[Cut],
    options: &DatabaseOptions,
    witness: Option<&Testimony>,
) -> Result<OrderState, OpenError> {
    let copy = CopiedFolders::make(dir, cuts)?;
    let idle = DatabaseOptions {
        idle: true,
        ..options.clone()
    };
    let log = open_guarded(dir, LOG_FOLDER, || {
        LogDatabase::open(&copy.path().join(LOG_FOLDER), &idle, None)
    })?;
    let tables = open_guarded(dir, TABLES_FOLDER, || {
        TablesDatabase::open(&copy.path().join(TABLES_FOLDER), &idle, None)
    })?;
    read_state(&log, &tables, witness)
}

/// Opens a database of ours and says what went wrong in our words, and in which of the two folders of `dir`, whichever
/// copy of it is opened. fjall panics on some damaged files.
pub(crate) fn open_guarded<T>(
    dir: &Path,
    folder: &str,
    open: impl FnOnce() -> fjall::Result<T>,
) -> Result<T, OpenError> {
    let place = dir.join(folder).display().to_string();
    match catch_unwind(AssertUnwindSafe(open)) {
        Ok(Ok(opened)) => Ok(opened),
        Ok(Err(fjall::Error::Locked)) => Err(OpenError::OpenElsewhere),
        Ok(Err(error)) => Err(open_error(ReadError::from_fjall(error, &place))),
        Err(_) => Err(Damage::new("the store does not open", place).into()),
    }
}

pub(crate) fn open_error(error: ReadError) -> OpenError {
    match error {
        ReadError::Damaged(damage) => damage.into(),
        ReadError::Io(source) => OpenError::Io {
            doing: "reading the journal".into(),
            source,
        },
    }
}

/// Steps 3 and 4, reading through fjall.
pub(crate) fn read_state(
    log: &LogDatabase,
    tables: &TablesDatabase,
    witness: Option<&Testimony>,
) -> Result<OrderState, OpenError> {
    let read = || -> Result<OrderState, ReadError> {
        let checkpoint = stored_checkpoint(tables, &tables.view())?;
        let mut check = OrderCheck::new(checkpoint, witness);
        let view = log.view();
        let start = seq_key(checkpoint.chain_start_at().next());
        let place = "the groups that recovery reads";
        // From the group that contains the place behind the chain's start.
        let first = view
            .range(&log.groups, ..=start)
            .next_back()
            .map(|entry| entry.key())
            .transpose();
        let first = first.map_err(|error| ReadError::from_fjall(error, place))?;
        let from = first.as_deref().and_then(seq_of_key).map_or(start, seq_key);
        for entry in view.range(&log.groups, from..) {
            let (key, value) = entry
                .into_inner()
                .map_err(|error| ReadError::from_fjall(error, place))?;
            let first = seq_of_key(&key)
                .ok_or_else(|| Damage::new("a group's key is not a place", place))?;
            check.accept(first, &value)?;
        }
        check.reaches_witness()?;
        Ok(check.finish()?)
    };
    catch_unwind(AssertUnwindSafe(read))
        .unwrap_or_else(|_| {
            Err(Damage::new("the store does not read", "the groups that recovery reads").into())
        })
        .map_err(open_error)
}

/// Checks groups in order against the chain, the witness and the checkpoint.
pub(crate) struct OrderCheck<'a> {
    checkpoint: CheckpointRow,
    chain: HashChain,
    edges: BTreeMap<Seq, ActivityHash>,
    witness: Option<&'a Testimony>,
    last: Seq,
    /// The first place of the group in which the chain starts: the oldest that recovery needs.
    oldest_needed: Option<Seq>,
    /// Offsets of window edges in the group at hand; kept to keep its memory.
    group_edges: Vec<usize>,
}

impl<'a> OrderCheck<'a> {
    pub(crate) fn new(checkpoint: CheckpointRow, witness: Option<&'a Testimony>) -> Self {
        let start = checkpoint.chain_start_at();
        Self {
            checkpoint,
            chain: HashChain::start(start, checkpoint.chain_start),
            edges: BTreeMap::from([(start, checkpoint.chain_start)]),
            witness,
            last: Seq::ZERO,
            oldest_needed: None,
            group_edges: Vec::new(),
        }
    }

    /// Takes the next group.
    pub(crate) fn accept(&mut self, first: Seq, value: &[u8]) -> Result<(), Damage> {
        let chained_from = self.chain.at();
        if first > chained_from.next() {
            return Err(Damage::new(
                format!(
                    "a group is missing: {} is next and {first} is found",
                    chained_from.next()
                ),
                format!("the groups before {first}"),
            ));
        }
        let header = self.accept_unchained(first, value)?;
        if header.last <= chained_from {
            return Ok(());
        }
        self.oldest_needed.get_or_insert(first);
        let frames = frames_of(value);
        let mut rest = frames;
        let mut seq = first;
        let mut skip = 0;
        self.group_edges.clear();
        while let Some((_, behind)) = split_frame(rest) {
            let offset = frames.len() - behind.len();
            if seq <= chained_from {
                skip = offset;
            } else if ends_window(seq) {
                self.group_edges.push(offset - skip);
            }
            rest = behind;
            seq = seq.next();
        }
        let edges = &mut self.edges;
        self.chain.extend(
            &frames[skip..],
            &self.group_edges,
            header.last,
            |seq, hash| {
                edges.insert(seq, hash);
            },
        );
        if self.chain.hash() != header.hash && !mutant("hashes-are-not-looked-at") {
            return Err(Damage::new(
                "the activity hash stored with the group is not that of the records",
                format!("the group at {first}"),
            ));
        }
        Ok(())
    }

    /// A group was deleted, which only retention does, and only below what recovery needs.
    pub(crate) fn deleted(&self, first: Seq) -> Result<(), Damage> {
        let needed = self
            .oldest_needed
            .unwrap_or_else(|| self.checkpoint.chain_start_at().next());
        if first < needed {
            return Ok(());
        }
        Err(Damage::new(
            format!("a group is missing: the one at {first} was deleted"),
            format!("the group at {first}"),
        ))
    }

    /// Takes the next group without following the chain: whole, behind the last one, and what the witness saw.
    pub(crate) fn accept_unchained(
        &mut self,
        first: Seq,
        value: &[u8],
    ) -> Result<crate::stored_group::GroupHeader, Damage> {
        let header = check_group(value, first)?;
        if self.last > Seq::ZERO && first != self.last.next() {
            return Err(Damage::new(
                format!(
                    "a group is missing: {} is next and {first} is found",
                    self.last.next()
                ),
                format!("the groups before {first}"),
            ));
        }
        self.last = header.last;
        if let Some(witness) = self.witness
            && (header.first..=header.last).contains(&witness.last)
            && (witness.last != header.last || witness.hash != header.hash)
        {
            return Err(Damage::new(
                format!(
                    "the groups are not those that the witness saw at {}",
                    witness.last
                ),
                format!("the group at {first}"),
            ));
        }
        Ok(header)
    }

    /// The newest group reaches the witness, as far as that was promised.
    pub(crate) fn reaches_witness(&self) -> Result<(), Damage> {
        match self.witness {
            Some(witness)
                if self.last < witness.last
                    && promise_of(witness) == Promise::Kept
                    && !mutant("witness-is-not-heard") =>
            {
                Err(Damage::new(
                    format!(
                        "acknowledged groups are missing: the witness saw {} and the last record found is {}",
                        witness.last, self.last
                    ),
                    format!("the records from {} on", self.last.next()),
                ))
            }
            _ => Ok(()),
        }
    }

    /// All groups were taken.
    pub(crate) fn finish(self) -> Result<OrderState, Damage> {
        if self.last < self.checkpoint.at {
            return Err(Damage::new(
                format!(
                    "acknowledged groups are missing: the tables stand at {} and the last record found is {}",
                    self.checkpoint.at, self.last
                ),
                format!("the records from {} on", self.last.next()),
            ));
        }
        Ok(OrderState {
            checkpoint: self.checkpoint,
            chain: self.chain,
            last: self.last,
            edges: self.edges,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn look_cases_every_combination_stands_once_and_only_the_newest_file_is_ever_cut() {
        for position in [Position::Newest, Position::Sealed] {
            for tail in [Tail::Clean, Tail::Torn, Tail::Holed, Tail::Misnumbered] {
                for promise in [Promise::Kept, Promise::Open] {
                    let rows = CASES
                        .iter()
                        .filter(|(p, t, q, _)| (*p, *t, *q) == (position, tail, promise))
                        .count();
                    assert_eq!(rows, 1, "{position:?} {tail:?} {promise:?}");
                    let action = decide(position, tail, promise);
                    assert_eq!(action == Action::GoOn, tail == Tail::Clean);
                    assert!(action != Action::CutOff || position == Position::Newest);
                    assert!(
                        (tail, promise) != (Tail::Holed, Promise::Kept) || action == Action::Refuse
                    );
                    assert!(tail != Tail::Misnumbered || action == Action::Refuse);
                }
            }
        }
    }
}
