//! The committer: takes whole groups, writes each as one atomic batch, syncs, and hands out the proof.
//!
//! When something fails, by cases:
//!
//! 1. The group does not follow, or is too large: nothing was written, the committer goes on.
//! 2. The write or the sync failed, or making room for it: what the disk holds is unknown, and asking again would not
//!    tell (a second sync may report success for bytes that the first one lost). The group is *indeterminate*, this
//!    committer is finished, and the next open finds the group whole or not at all.
//! 3. The witness could not be written behind a synced group: the same as 2, because a journal without its witness
//!    could lose its tail unnoticed.
//!
//! fjall has no group commit of its own and one writer costs least, so there is one committer: it is not `Clone`.

use std::io;
use std::sync::Arc;

use crankcase_vat::{Seq, mutant};
use fjall::PersistMode;

use crate::activity_hash::{ActivityHash, HashChain, window_start_before};
use crate::crash_points::{self, CrashPoint, pass};
use crate::database::LogDatabase;
use crate::error::{CloseError, CommitError, ReadError, fjall_to_io};
use crate::faults::Faults;
use crate::group::Group;
use crate::groups::Fact;
use crate::layout::{FACT_PREFIX, RETAINED_KEY, seq_key, seq_of_key};
use crate::memory::MemoryJournal;
use crate::settings::{Durability, Retention, Settings};
use crate::shared::Shared;
use crate::witness::{Testimony, Witness};

/// The witness is synced once in this many groups.
const GROUPS_PER_WITNESS_SYNC: u64 = 256;
/// The most that one group may take, stored: fjall counts the bytes of a value in 32 bits.
const GROUP_LIMIT_BYTES: usize = 3 << 30;
/// The most groups that one call of [`Committer::retain_from`] deletes.
const DROPS_PER_CALL: usize = 256;

/// Proof that everything up to [`seq`](Self::seq) is as durable as the journal's [`Durability`] says. Only the committer
/// makes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Durable {
    seq: Seq,
    hash: ActivityHash,
}

impl Durable {
    /// The last durable place.
    #[must_use]
    pub fn seq(&self) -> Seq {
        self.seq
    }

    /// The activity hash there.
    #[must_use]
    pub fn hash(&self) -> ActivityHash {
        self.hash
    }
}

/// How often this incarnation waited for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SyncCounts {
    /// Syncs of groups, one each. Zero unless the durability is [`Durability::Sync`].
    pub groups: u64,
    /// Syncs of the witness beside them, those of checkpoints not counted.
    pub witness: u64,
}

/// What a call of [`Committer::retain_from`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetainProgress {
    /// The number of groups dropped.
    pub dropped: u64,
    /// Whether nothing is left to drop below the floor that was given. If not, call again.
    pub done: bool,
}

/// Where groups go.
pub(crate) enum LogStore {
    Memory(Arc<MemoryJournal>),
    Disk { log: LogDatabase, witness: Witness },
}

/// Makes groups durable, one after the other.
pub struct Committer {
    store: LogStore,
    shared: Arc<Shared>,
    chain: HashChain,
    durability: Durability,
    retention: Retention,
    failure_is_final: bool,
    faults: Option<Arc<dyn Faults>>,
    stopped: bool,
    groups: u64,
    group_syncs: u64,
    /// Bytes of groups since [`LogDatabase::make_room`] last made some.
    gathered: u64,
}

impl std::fmt::Debug for Committer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Committer")
            .field("last", &self.last())
            .field("stopped", &self.stopped)
            .finish_non_exhaustive()
    }
}

impl Committer {
    pub(crate) fn new(
        store: LogStore,
        shared: Arc<Shared>,
        chain: HashChain,
        settings: &Settings,
    ) -> Self {
        Self {
            store,
            shared,
            chain,
            durability: settings.durability,
            retention: settings.retention,
            failure_is_final: settings.guards.failure_is_final,
            faults: settings.faults.clone(),
            stopped: false,
            groups: 0,
            group_syncs: 0,
            gathered: 0,
        }
    }

    /// Writes `group` as one atomic batch and waits until it is durable. Only the header's room in `group` is changed.
    ///
    /// # Errors
    ///
    /// [`CommitError::OutOfOrder`] and [`CommitError::TooLarge`] change nothing. Every other error is final: the caller
    /// tells whoever waits that the group is indeterminate.
    ///
    /// # Panics
    ///
    /// When `group` is empty: a commit without a record is a mistake in the caller.
    pub fn commit(&mut self, group: &mut Group) -> Result<Durable, CommitError> {
        assert!(!group.is_empty(), "an empty group has nothing to commit");
        if self.stopped && self.failure_is_final {
            return Err(CommitError::Stopped);
        }
        let expected = self.shared.durable().next();
        if group.first() != expected {
            return Err(CommitError::OutOfOrder {
                expected,
                found: group.first(),
            });
        }
        if group.bytes_len() > GROUP_LIMIT_BYTES {
            return Err(CommitError::TooLarge {
                bytes: group.bytes_len(),
                limit_bytes: GROUP_LIMIT_BYTES,
            });
        }
        let (first, last) = (group.first(), group.last());
        let shared = &self.shared;
        self.chain
            .extend(group.frames(), group.edges(), last, |seq, hash| {
                shared.add_edge(seq, hash)
            });
        let hash = self.chain.hash();
        self.groups += 1;
        if let Err(source) = self.store(group, hash)
            && !mutant("failed-sync-is-forgiven")
        {
            self.stopped = true;
            return Err(CommitError::Indeterminate {
                first,
                last,
                source,
            });
        }
        self.shared.set_durable(last);
        Ok(Durable { seq: last, hash })
    }

    fn store(&mut self, group: &mut Group, hash: ActivityHash) -> io::Result<()> {
        let last = group.last();
        let key = group.first();
        pass(CrashPoint::CommitterBegun);
        if let Some(faults) = &self.faults {
            faults.group_write(self.groups)?;
        }
        match &mut self.store {
            LogStore::Memory(memory) => {
                let mut log = memory.log();
                log.notes.extend(group.notes().iter().cloned());
                log.groups.insert(key, Arc::from(group.seal(hash)));
                #[cfg(crankcase_shuttle)]
                {
                    log.chain = Some(self.chain.clone());
                }
                drop(log);
                if let Some(faults) = &self.faults {
                    faults.group_sync(self.groups)?;
                }
            }
            LogStore::Disk { log, witness } => {
                let mode = match self.durability {
                    Durability::Sync => PersistMode::SyncData,
                    Durability::Buffered | Durability::None => PersistMode::Buffer,
                };
                // Something comes between the write and the sync.
                let in_two_steps =
                    self.faults.is_some() || crash_points::is_armed(CrashPoint::CommitterWritten);
                let first_mode = if in_two_steps {
                    PersistMode::Buffer
                } else {
                    mode
                };
                log.make_room(&mut self.gathered, group.bytes_len())
                    .map_err(fjall_to_io)?;
                let mut batch = log.db.batch().durability(Some(first_mode));
                batch.insert(&log.groups, seq_key(key), group.seal(hash));
                for (seq, text) in group.notes() {
                    batch.insert(&log.notes, seq_key(*seq), text.as_bytes());
                }
                batch.commit().map_err(fjall_to_io)?;
                pass(CrashPoint::CommitterWritten);
                if let Some(faults) = &self.faults {
                    faults.group_sync(self.groups)?;
                }
                if in_two_steps {
                    log.db.persist(mode).map_err(fjall_to_io)?;
                }
                pass(CrashPoint::CommitterSynced);
                self.group_syncs += u64::from(self.durability == Durability::Sync);
                if let Some(faults) = &self.faults {
                    faults.witness_write(self.groups)?;
                }
                witness.write(&Testimony {
                    last,
                    hash,
                    durability: self.durability,
                    closed: false,
                })?;
                pass(CrashPoint::CommitterWitnessed);
                if self.durability == Durability::Sync
                    && self.groups.is_multiple_of(GROUPS_PER_WITNESS_SYNC)
                {
                    witness.sync()?;
                    pass(CrashPoint::CommitterWitnessSynced);
                }
            }
        }
        Ok(())
    }

    /// Keeps facts beside the order: what must last, and is no part of what the records say. They are durable, as the
    /// journal's [`Durability`] has it, when this returns; an older one with the same key is replaced.
    ///
    /// # Errors
    ///
    /// Why they were not written. That is final, as for [`commit`](Self::commit); no acknowledged group is in doubt.
    pub fn put_facts(&mut self, facts: &[Fact]) -> io::Result<()> {
        pass(CrashPoint::FactsBegun);
        match &self.store {
            LogStore::Memory(memory) => memory.log().facts.extend(facts.iter().cloned()),
            LogStore::Disk { log, .. } => {
                let mode = match self.durability {
                    Durability::Sync => PersistMode::SyncData,
                    Durability::Buffered | Durability::None => PersistMode::Buffer,
                };
                let mut batch = log.db.batch().durability(Some(mode));
                for (key, value) in facts {
                    batch.insert(&log.meta, [FACT_PREFIX, key].concat(), &value[..]);
                }
                if let Err(error) = batch.commit() {
                    self.stopped = true;
                    return Err(fjall_to_io(error));
                }
                pass(CrashPoint::FactsWritten);
            }
        }
        Ok(())
    }

    /// Lets go of groups that lie wholly below `floor`, a bounded number of them. What recovery and the activity hash
    /// need stays, and so does the newest group. Under [`Retention::KeepAll`] nothing is dropped from the disk.
    ///
    /// # Errors
    ///
    /// [`CommitError::Indeterminate`] is final, as for [`commit`](Self::commit), but no acknowledged group above the
    /// floor is in doubt.
    pub fn retain_from(&mut self, floor: Seq) -> Result<RetainProgress, CommitError> {
        if self.stopped && self.failure_is_final {
            return Err(CommitError::Stopped);
        }
        let needed = window_start_before(self.shared.checkpoint().next()).next();
        let bound = match mutant("retention-drops-what-recovery-needs") {
            false => floor.min(needed),
            true => self.shared.durable(),
        };
        let cursor = self.shared.first_retained();
        match &self.store {
            LogStore::Memory(memory) => {
                let mut log = memory.log();
                let keep = log
                    .groups
                    .range(..=floor)
                    .next_back()
                    .map(|(first, _)| *first);
                let Some(keep) = keep else {
                    return Ok(RetainProgress {
                        dropped: 0,
                        done: true,
                    });
                };
                self.shared.set_first_retained(keep.max(cursor));
                let kept = log.groups.split_off(&keep);
                let dropped = std::mem::replace(&mut log.groups, kept).len() as u64;
                log.notes = log.notes.split_off(&keep);
                Ok(RetainProgress {
                    dropped,
                    done: true,
                })
            }
            LogStore::Disk { .. } if self.retention == Retention::KeepAll => Ok(RetainProgress {
                dropped: 0,
                done: true,
            }),
            LogStore::Disk { log, .. } => {
                match drop_groups(log, &self.shared, cursor, bound, self.durability) {
                    Ok(progress) => Ok(progress),
                    Err(source) => {
                        self.stopped = true;
                        Err(CommitError::Indeterminate {
                            first: cursor,
                            last: bound,
                            source,
                        })
                    }
                }
            }
        }
    }

    /// The last durable place.
    #[must_use]
    pub fn last(&self) -> Seq {
        self.shared.durable()
    }

    /// The activity hash at [`last`](Self::last).
    #[must_use]
    pub fn hash(&self) -> ActivityHash {
        self.chain.hash()
    }

    /// Proof for what is durable now, which after opening is what recovery found.
    #[must_use]
    pub fn durable(&self) -> Durable {
        Durable {
            seq: self.last(),
            hash: self.hash(),
        }
    }

    /// How often this incarnation waited for the disk.
    #[must_use]
    pub fn syncs(&self) -> SyncCounts {
        let witness = match &self.store {
            LogStore::Memory(_) => 0,
            LogStore::Disk { witness, .. } => witness.syncs,
        };
        SyncCounts {
            groups: self.group_syncs,
            witness,
        }
    }

    /// Ends the incarnation cleanly: what was buffered is synced, and the witness says so. The directory is free for
    /// others when the checkpointer and all readers are gone too.
    ///
    /// # Errors
    ///
    /// [`CloseError::Io`] when the sync failed, or when a commit had failed before; the next open then finds an unclean
    /// end.
    pub fn close(mut self) -> Result<(), CloseError> {
        if self.stopped {
            return Err(CloseError::Io(io::Error::other("an earlier commit failed")));
        }
        let testimony = Testimony {
            last: self.last(),
            hash: self.hash(),
            durability: self.durability,
            closed: true,
        };
        if let LogStore::Disk { log, witness } = &mut self.store {
            log.db.persist(PersistMode::SyncData).map_err(fjall_to_io)?;
            pass(CrashPoint::ClosePersisted);
            if !mutant("witness-lags-behind-a-clean-end") {
                witness.write(&testimony)?;
            }
            pass(CrashPoint::CloseWitnessed);
            witness.sync()?;
            pass(CrashPoint::CloseWitnessSynced);
        }
        Ok(())
    }
}

/// Deletes the groups that lie wholly below `bound`, and moves the cursor in the same batch.
fn drop_groups(
    log: &LogDatabase,
    shared: &Shared,
    cursor: Seq,
    bound: Seq,
    durability: Durability,
) -> io::Result<RetainProgress> {
    let view = log.view();
    let mut starts = Vec::with_capacity(DROPS_PER_CALL + 1);
    for entry in view
        .range(&log.groups, seq_key(cursor)..=seq_key(bound))
        .take(DROPS_PER_CALL + 1)
    {
        let key = entry.key().map_err(fjall_to_io)?;
        starts.push(
            seq_of_key(&key).ok_or_else(|| io::Error::other("a group's key is not a place"))?,
        );
    }
    // The last start found is kept: its group reaches to the bound or beyond, or is for the next call.
    let done = starts.len() <= DROPS_PER_CALL;
    let Some(kept) = starts.pop() else {
        return Ok(RetainProgress { dropped: 0, done });
    };
    if starts.is_empty() {
        return Ok(RetainProgress { dropped: 0, done });
    }
    let mut batch = log.db.batch().durability(Some(match durability {
        Durability::Sync => PersistMode::SyncData,
        Durability::Buffered | Durability::None => PersistMode::Buffer,
    }));
    for start in &starts {
        batch.remove(&log.groups, seq_key(*start));
    }
    for entry in view.range(&log.notes, seq_key(cursor)..seq_key(kept)) {
        batch.remove(&log.notes, entry.key().map_err(fjall_to_io)?);
    }
    batch.insert(&log.meta, RETAINED_KEY, seq_key(kept));
    pass(CrashPoint::RetentionBegun);
    // Readers learn of the new floor first, so that a group they miss is one they can tell was dropped.
    shared.set_first_retained(kept);
    batch.commit().map_err(fjall_to_io)?;
    pass(CrashPoint::RetentionDropped);
    Ok(RetainProgress {
        dropped: starts.len() as u64,
        done,
    })
}

/// The first place that retention left, as stored.
pub(crate) fn stored_first_retained(log: &LogDatabase) -> Result<Seq, ReadError> {
    let place = "the row of the first retained place";
    let row = log
        .view()
        .get(&log.meta, RETAINED_KEY)
        .map_err(|error| ReadError::from_fjall(error, place))?;
    match row {
        None => Ok(Seq::ZERO.next()),
        Some(bytes) => seq_of_key(&bytes)
            .ok_or_else(|| crate::error::Damage::new("the row is not a place", place).into()),
    }
}
