//! The checkpointer: moves the tables from one place in the order to a later one, in one atomic batch.
//!
//! The tables are never ahead of the log: a checkpoint takes a [`Durable`] as proof, and with
//! [`Durability::Buffered`] it first syncs the log.
//!
//! ```text
//! checkpoint row:  0  format    1..8  zero    8..16  Seq, u64 little endian
//!                  16..48  hash at the edge of the window that contains the next Seq
//!                  48..80  digest of all rows    80..88  number of rows, u64 LE    88..96  XXH3 of what is before
//! ```

use std::fs::File;
use std::sync::Arc;

use crankcase_vat::{Seq, mutant};
use fjall::PersistMode;
use xxhash_rust::xxh3::xxh3_64;

use crate::activity_hash::{ActivityHash, window_start_before};
use crate::committer::Durable;
use crate::crash_points::{CrashPoint, pass};
use crate::database::{LogDatabase, TablesDatabase, View};
use crate::digest::TablesDigest;
use crate::error::{CheckpointError, Damage, ReadError, fjall_to_io};
use crate::faults::Faults;
use crate::layout::CHECKPOINT_KEY;
use crate::memory::MemoryJournal;
use crate::rows::{Change, RowBatch};
use crate::settings::Durability;
use crate::shared::Shared;
use crate::stored_group::{array, le_u64};

const FORMAT: u8 = 1;
const ROW_BYTES: usize = 96;

/// What the tables stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CheckpointRow {
    pub(crate) at: Seq,
    /// The hash at [`window_start_before`] the next place: where recovery starts the chain.
    pub(crate) chain_start: ActivityHash,
    pub(crate) digest: TablesDigest,
    pub(crate) rows: u64,
}

impl Default for CheckpointRow {
    fn default() -> Self {
        Self {
            at: Seq::ZERO,
            chain_start: ActivityHash::ZERO,
            digest: TablesDigest::default(),
            rows: 0,
        }
    }
}

impl CheckpointRow {
    pub(crate) fn encode(&self) -> [u8; ROW_BYTES] {
        let mut bytes = [0; ROW_BYTES];
        bytes[0] = FORMAT;
        bytes[8..16].copy_from_slice(&self.at.get().to_le_bytes());
        bytes[16..48].copy_from_slice(&self.chain_start.0);
        bytes[48..80].copy_from_slice(&self.digest.to_bytes());
        bytes[80..88].copy_from_slice(&self.rows.to_le_bytes());
        let checksum = xxh3_64(&bytes[..88]);
        bytes[88..96].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Damage> {
        if bytes.len() != ROW_BYTES
            || bytes[0] != FORMAT
            || xxh3_64(&bytes[..88]) != le_u64(&bytes[88..96])
        {
            return Err(Damage::new(
                "the checkpoint's row does not match its checksum",
                "the tables",
            ));
        }
        Ok(Self {
            at: Seq::new(le_u64(&bytes[8..16])),
            chain_start: ActivityHash(array(&bytes[16..48])),
            digest: TablesDigest::from_bytes(array(&bytes[48..80])),
            rows: le_u64(&bytes[80..88]),
        })
    }

    /// The place behind which the chain starts.
    pub(crate) fn chain_start_at(&self) -> Seq {
        window_start_before(self.at.next())
    }
}

/// The checkpoint's row in `view`; the empty one before the first checkpoint.
pub(crate) fn stored_checkpoint(
    tables: &TablesDatabase,
    view: &View,
) -> Result<CheckpointRow, ReadError> {
    let row = view
        .get(&tables.meta, CHECKPOINT_KEY)
        .map_err(|error| ReadError::from_fjall(error, "the checkpoint's row"))?;
    Ok(row
        .map(|bytes| CheckpointRow::decode(&bytes))
        .transpose()?
        .unwrap_or_default())
}

/// Where checkpoints go.
pub(crate) enum TableStore {
    Memory(Arc<MemoryJournal>),
    Disk {
        tables: TablesDatabase,
        /// Only to sync it.
        log: LogDatabase,
        /// Only to sync it.
        witness: File,
    },
}

/// Writes checkpoints. There is one, and it is not `Clone`.
pub struct Checkpointer {
    store: TableStore,
    shared: Arc<Shared>,
    durability: Durability,
    faults: Option<Arc<dyn Faults>>,
    number: u64,
    stopped: bool,
}

impl std::fmt::Debug for Checkpointer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Checkpointer")
            .field("stopped", &self.stopped)
            .finish_non_exhaustive()
    }
}

impl Checkpointer {
    pub(crate) fn new(
        store: TableStore,
        shared: Arc<Shared>,
        durability: Durability,
        faults: Option<Arc<dyn Faults>>,
    ) -> Self {
        Self {
            store,
            shared,
            durability,
            faults,
            number: 0,
            stopped: false,
        }
    }

    /// Applies `rows` to the tables and moves the checkpoint to `at`, in one batch, durable when this returns (with
    /// [`Durability::Sync`] and [`Durability::Buffered`]).
    ///
    /// `durable` proves that the log reaches `at`.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::OutOfRange`] and [`CheckpointError::Read`] change nothing. Others are final.
    pub fn write(
        &mut self,
        at: Seq,
        durable: &Durable,
        rows: RowBatch,
    ) -> Result<(), CheckpointError> {
        if self.stopped {
            return Err(CheckpointError::Stopped);
        }
        let checkpoint = self.shared.checkpoint();
        let edge = self.shared.edge(window_start_before(at.next()));
        let proven = at <= durable.seq() || mutant("tables-are-ahead-of-the-log");
        let (true, true, Some(chain_start)) = (at >= checkpoint, proven, edge) else {
            return Err(CheckpointError::OutOfRange {
                at,
                checkpoint,
                durable: durable.seq(),
            });
        };
        let changes = rows.into_last_changes();
        self.number += 1;
        match &self.store {
            TableStore::Memory(memory) => {
                if let Some(faults) = &self.faults {
                    faults
                        .checkpoint_write(self.number)
                        .map_err(|source| CheckpointError::Indeterminate { at, source })?;
                }
                let mut tables = memory.tables_mut();
                for (key, value) in changes {
                    match value {
                        Some(value) => tables.rows.insert(key, value.into()),
                        None => tables.rows.remove(&key),
                    };
                }
                tables.checkpoint = at;
            }
            TableStore::Disk {
                tables,
                log,
                witness,
            } => {
                let row = next_row(tables, &changes, at, chain_start)?;
                let bytes = changes
                    .iter()
                    .map(|(key, value)| bytes_of(key, value.as_deref()));
                let bytes = bytes.sum();
                let written = (|| {
                    if let Some(faults) = &self.faults {
                        faults.checkpoint_write(self.number)?;
                    }
                    if self.durability == Durability::Buffered {
                        log.db.persist(PersistMode::SyncData).map_err(fjall_to_io)?;
                    }
                    let mut batch = tables.db.batch().durability(Some(PersistMode::SyncData));
                    for (key, value) in changes {
                        match value {
                            Some(value) => batch.insert(&tables.rows, key, &*value),
                            None => batch.remove(&tables.rows, key),
                        }
                    }
                    batch.insert(&tables.meta, CHECKPOINT_KEY, row.encode());
                    pass(CrashPoint::CheckpointGathered);
                    tables.commit(batch, bytes).map_err(fjall_to_io)?;
                    pass(CrashPoint::CheckpointWritten);
                    tables.settle();
                    witness.sync_data()?;
                    pass(CrashPoint::CheckpointSettled);
                    Ok(())
                })();
                if let Err(source) = written {
                    self.stopped = true;
                    return Err(CheckpointError::Indeterminate { at, source });
                }
            }
        }
        self.shared.set_checkpoint(at);
        Ok(())
    }

    /// Applies `rows` to the tables where they stand, in one batch: what may change beside the order. `durable` is as for
    /// [`write`](Self::write).
    ///
    /// # Errors
    ///
    /// As for [`write`](Self::write).
    pub fn write_beside(
        &mut self,
        durable: &Durable,
        rows: RowBatch,
    ) -> Result<(), CheckpointError> {
        self.write(self.shared.checkpoint(), durable, rows)
    }
}

/// What a change takes in fjall's memory, about.
fn bytes_of(key: &[u8], value: Option<&[u8]>) -> u64 {
    const OVERHEAD_BYTES: usize = 64;
    (key.len() + value.map_or(0, <[u8]>::len) + OVERHEAD_BYTES) as u64
}

/// What the checkpoint's row says after `changes`: the digest moves by the rows that change, each read once.
fn next_row(
    tables: &TablesDatabase,
    changes: &[Change],
    at: Seq,
    chain_start: ActivityHash,
) -> Result<CheckpointRow, ReadError> {
    let view = tables.view();
    let mut row = CheckpointRow {
        at,
        chain_start,
        ..stored_checkpoint(tables, &view)?
    };
    for (key, value) in changes {
        let old = view
            .get(&tables.rows, key)
            .map_err(|error| ReadError::from_fjall(error, "a row of the tables"))?;
        if let Some(old) = old {
            row.digest.remove(key, &old);
            row.rows = row.rows.wrapping_sub(1);
        }
        if let Some(value) = value {
            row.digest.add(key, value);
            row.rows = row.rows.wrapping_add(1);
        }
    }
    Ok(row)
}
