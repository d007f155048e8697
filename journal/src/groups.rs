//! Reads groups back in order. Holds no lock and stops nobody; sees only what is durable.

use std::ops::Bound;
use std::sync::Arc;

use crankcase_vat::Seq;

use crate::database::{LogDatabase, View};
use crate::error::{Damage, ReadError};
use crate::layout::{FACT_PREFIX, seq_key, seq_of_key};
use crate::memory::MemoryJournal;
use crate::shared::Shared;
use crate::stored_group::{GroupBytes, StoredGroup};

#[derive(Clone)]
pub(crate) enum GroupSource {
    Memory(Arc<MemoryJournal>),
    Disk(LogDatabase),
}

/// A key, and what the owner of the journal keeps under it [beside the order](crate::Committer::put_facts).
pub type Fact = (Vec<u8>, Vec<u8>);

/// Gives stored groups back. Clones share the same journal.
#[derive(Clone)]
pub struct Groups {
    source: GroupSource,
    shared: Arc<Shared>,
    /// Whether scans start at the first retained group.
    cursor: bool,
}

impl std::fmt::Debug for Groups {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Groups")
            .field("shared", &self.shared)
            .finish_non_exhaustive()
    }
}

impl Groups {
    pub(crate) fn new(source: GroupSource, shared: Arc<Shared>, cursor: bool) -> Self {
        Self {
            source,
            shared,
            cursor,
        }
    }

    /// All durable groups in order, starting with the one that contains `seq`, or with the first retained one if `seq`
    /// lies before it. Each group is checked as it is read, and must follow on the one before.
    #[must_use]
    pub fn from(&self, seq: Seq) -> GroupsFrom {
        let durable = self.shared.durable();
        let first_retained = if self.cursor {
            self.shared.first_retained()
        } else {
            Seq::ZERO.next()
        };
        let seq = seq.max(first_retained);
        let walk = match &self.source {
            GroupSource::Memory(memory) => Walk::Memory {
                memory: Arc::clone(memory),
            },
            GroupSource::Disk(log) => {
                let view = log.view();
                // The group that contains `seq` is the last that starts at or before it.
                let start = view
                    .range(&log.groups, seq_key(first_retained)..=seq_key(seq))
                    .next_back()
                    .map(|entry| entry.key())
                    .transpose();
                match start {
                    Ok(start) => {
                        let from = match start {
                            Some(key) => {
                                Bound::Included(seq_of_key(&key).map_or(seq_key(seq), seq_key))
                            }
                            None => Bound::Included(seq_key(seq)),
                        };
                        let iter =
                            view.range(&log.groups, (from, Bound::Included(seq_key(durable))));
                        Walk::Disk { iter, _view: view }
                    }
                    Err(error) => {
                        Walk::Failed(Some(ReadError::from_fjall(error, "the keys of the groups")))
                    }
                }
            }
        };
        GroupsFrom {
            walk,
            wanted: seq,
            durable,
            expect_start: self.cursor,
            finished: seq > durable,
        }
    }

    /// The group that contains `seq`, if it is durable and retained.
    ///
    /// # Errors
    ///
    /// [`ReadError`] when it cannot be read, or is not what was written.
    pub fn containing(&self, seq: Seq) -> Result<Option<StoredGroup>, ReadError> {
        if seq < self.shared.first_retained() || seq > self.shared.durable() || seq == Seq::ZERO {
            return Ok(None);
        }
        match self.from(seq).next() {
            // Retention may have passed by in between.
            _ if seq < self.shared.first_retained() => Ok(None),
            found => found.transpose(),
        }
    }

    /// The diagnostic text stored with the record at `seq`, if there is one.
    ///
    /// # Errors
    ///
    /// [`ReadError`] when it cannot be read.
    pub fn note(&self, seq: Seq) -> Result<Option<String>, ReadError> {
        match &self.source {
            GroupSource::Memory(memory) => Ok(memory.log().notes.get(&seq).cloned()),
            GroupSource::Disk(log) => {
                let note = log
                    .view()
                    .get(&log.notes, &seq_key(seq))
                    .map_err(|error| ReadError::from_fjall(error, &format!("the note at {seq}")))?;
                Ok(note.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
            }
        }
    }

    /// What the owner of the journal keeps [beside the order](crate::Committer::put_facts), by key.
    ///
    /// # Errors
    ///
    /// [`ReadError`] when it cannot be read.
    pub fn facts(&self) -> Result<Vec<Fact>, ReadError> {
        let log = match &self.source {
            GroupSource::Memory(memory) => {
                let facts = memory.log().facts.clone();
                return Ok(facts.into_iter().collect());
            }
            GroupSource::Disk(log) => log,
        };
        let mut past = FACT_PREFIX.to_vec();
        *past.last_mut().expect("the prefix is not empty") += 1;
        let bounds = (Bound::Included(FACT_PREFIX.to_vec()), Bound::Excluded(past));
        let rows = log.view().between(&log.meta, bounds);
        rows.map(|row| {
            let (key, value) = row
                .into_inner()
                .map_err(|error| ReadError::from_fjall(error, "what stands beside the order"))?;
            Ok((key[FACT_PREFIX.len()..].to_vec(), value.to_vec()))
        })
        .collect()
    }

    /// The first place that retention left; groups before it are gone.
    #[must_use]
    pub fn first_retained(&self) -> Seq {
        self.shared.first_retained()
    }

    /// The last durable place.
    #[must_use]
    pub fn last(&self) -> Seq {
        self.shared.durable()
    }
}

enum Walk {
    Memory { memory: Arc<MemoryJournal> },
    Disk { iter: fjall::Iter, _view: View },
    Failed(Option<ReadError>),
}

/// Groups in order; see [`Groups::from`]. Ends at what was durable when it was made, and after the first error.
pub struct GroupsFrom {
    walk: Walk,
    /// The place that the next group must contain.
    wanted: Seq,
    durable: Seq,
    /// Whether a first group that starts behind `wanted` is damage. Without a cursor it may have been dropped.
    expect_start: bool,
    finished: bool,
}

impl std::fmt::Debug for GroupsFrom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GroupsFrom")
            .field("wanted", &self.wanted)
            .field("durable", &self.durable)
            .finish_non_exhaustive()
    }
}

impl GroupsFrom {
    fn read(&mut self) -> Result<Option<StoredGroup>, ReadError> {
        match &mut self.walk {
            Walk::Memory { memory } => {
                let log = memory.log();
                let found = log.groups.range(..=self.wanted).next_back();
                let Some((first, bytes)) = found.filter(|(_, bytes)| !bytes.is_empty()) else {
                    return Ok(None);
                };
                let (first, bytes) = (*first, Arc::clone(bytes));
                drop(log);
                Ok(Some(StoredGroup::decode(GroupBytes::Memory(bytes), first)?))
            }
            Walk::Disk { iter, .. } => {
                let Some(entry) = iter.next() else {
                    return Ok(None);
                };
                let place = format!("the group that contains {}", self.wanted);
                let (key, value) = entry
                    .into_inner()
                    .map_err(|error| ReadError::from_fjall(error, &place))?;
                let first = seq_of_key(&key)
                    .ok_or_else(|| Damage::new("a group's key is not a place", place))?;
                Ok(Some(StoredGroup::decode(GroupBytes::Stored(value), first)?))
            }
            Walk::Failed(error) => error.take().map_or(Ok(None), Err),
        }
    }

    fn missing(&self, what: &str) -> ReadError {
        Damage::new(what, format!("the group that contains {}", self.wanted)).into()
    }
}

impl Iterator for GroupsFrom {
    type Item = Result<StoredGroup, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.finished {
            return None;
        }
        let group = match self.read() {
            Ok(Some(group)) if group.last() < self.wanted => {
                Err(self.missing("a group is missing"))
            }
            Ok(Some(group)) if group.first() > self.wanted && self.expect_start => {
                Err(self.missing("a group is missing"))
            }
            Ok(Some(group)) => Ok(group),
            Ok(None) => Err(self.missing("a durable group is missing")),
            Err(error) => Err(error),
        };
        match &group {
            Ok(group) => {
                self.wanted = group.last().next();
                self.expect_start = true;
                self.finished = self.wanted > self.durable;
            }
            Err(_) => self.finished = true,
        }
        Some(group)
    }
}
