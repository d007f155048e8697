//! Reads the tables as they stood at a checkpoint.

use std::sync::Arc;

use crankcase_vat::Seq;

use crate::checkpointer::{CheckpointRow, stored_checkpoint};
use crate::database::{TablesDatabase, View};
use crate::error::ReadError;
use crate::memory::MemoryJournal;
use crate::rows::stored_key;

#[derive(Clone)]
pub(crate) enum TableSource {
    Memory(Arc<MemoryJournal>),
    Disk(TablesDatabase),
}

/// Gives views of the tables. Clones share the same journal.
#[derive(Clone)]
pub struct Tables {
    source: TableSource,
}

impl std::fmt::Debug for Tables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tables").finish_non_exhaustive()
    }
}

impl Tables {
    pub(crate) fn new(source: TableSource) -> Self {
        Self { source }
    }

    /// The tables as the last checkpoint left them. Later checkpoints do not show in it, except with
    /// [`Durability::None`](crate::Durability::None), where each read sees the tables of its moment.
    ///
    /// A snapshot keeps old rows on disk for as long as it lives.
    ///
    /// # Errors
    ///
    /// [`ReadError`] when the checkpoint's row cannot be read.
    pub fn snapshot(&self) -> Result<TableSnapshot, ReadError> {
        Ok(match &self.source {
            TableSource::Memory(memory) => {
                let row = CheckpointRow {
                    at: memory.tables().checkpoint,
                    ..CheckpointRow::default()
                };
                TableSnapshot {
                    row,
                    view: SnapshotView::Memory(Arc::clone(memory)),
                }
            }
            TableSource::Disk(tables) => {
                let view = tables.view();
                let row = stored_checkpoint(tables, &view)?;
                TableSnapshot {
                    row,
                    view: SnapshotView::Disk(tables.clone(), view),
                }
            }
        })
    }
}

#[derive(Clone)]
enum SnapshotView {
    Memory(Arc<MemoryJournal>),
    Disk(TablesDatabase, View),
}

/// The tables at one checkpoint.
#[derive(Clone)]
pub struct TableSnapshot {
    row: CheckpointRow,
    view: SnapshotView,
}

impl std::fmt::Debug for TableSnapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TableSnapshot")
            .field("checkpoint", &self.row.at)
            .finish_non_exhaustive()
    }
}

impl TableSnapshot {
    /// The place up to which the rows contain the records' effects; [`Seq::ZERO`] before the first checkpoint.
    #[must_use]
    pub fn checkpoint(&self) -> Seq {
        self.row.at
    }

    pub(crate) fn row(&self) -> &CheckpointRow {
        &self.row
    }

    /// One row.
    ///
    /// # Errors
    ///
    /// [`ReadError`] when it cannot be read, or is not what was written.
    pub fn get(&self, table: u8, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        let stored = stored_key(table, key);
        match &self.view {
            SnapshotView::Memory(memory) => Ok(memory.tables().rows.get(&stored).cloned()),
            SnapshotView::Disk(tables, view) => view
                .get(&tables.rows, &stored)
                .map(|row| row.map(|bytes| bytes.to_vec()))
                .map_err(|error| ReadError::from_fjall(error, &format!("a row of table {table}"))),
        }
    }

    /// The rows of `table` whose key starts with `prefix`, in the order of their keys. Ends after the first error.
    #[must_use]
    pub fn prefix(&self, table: u8, prefix: &[u8]) -> Rows {
        self.stored_rows(stored_key(table, prefix), 1)
    }

    /// All rows with the key under which they are stored.
    pub(crate) fn all(&self) -> Rows {
        self.stored_rows(Vec::new(), 0)
    }

    fn stored_rows(&self, prefix: Vec<u8>, strip: usize) -> Rows {
        let walk = match &self.view {
            SnapshotView::Memory(memory) => RowWalk::Memory {
                memory: Arc::clone(memory),
                prefix,
                after: None,
                chunk: Vec::new().into_iter(),
            },
            SnapshotView::Disk(tables, view) => {
                let iter = view.prefix(&tables.rows, &prefix);
                RowWalk::Disk {
                    iter,
                    _view: view.clone(),
                    _tables: tables.clone(),
                }
            }
        };
        Rows {
            walk,
            strip,
            failed: false,
        }
    }
}

enum RowWalk {
    Memory {
        memory: Arc<MemoryJournal>,
        prefix: Vec<u8>,
        after: Option<Vec<u8>>,
        chunk: std::vec::IntoIter<(Vec<u8>, Vec<u8>)>,
    },
    Disk {
        iter: fjall::Iter,
        _view: View,
        _tables: TablesDatabase,
    },
}

/// Rows in the order of their keys; see [`TableSnapshot::prefix`].
pub struct Rows {
    walk: RowWalk,
    /// How many bytes of the stored key are not part of the row's own key.
    strip: usize,
    failed: bool,
}

impl std::fmt::Debug for Rows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rows").finish_non_exhaustive()
    }
}

/// Rows copied out of memory under one hold of the lock.
const ROWS_PER_CHUNK: usize = 256;

impl Iterator for Rows {
    type Item = Result<(Vec<u8>, Vec<u8>), ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let strip = self.strip;
        match &mut self.walk {
            RowWalk::Memory {
                memory,
                prefix,
                after,
                chunk,
            } => {
                let row = chunk.next().or_else(|| {
                    *chunk = memory
                        .rows_after(prefix, after.as_deref(), ROWS_PER_CHUNK)
                        .into_iter();
                    chunk.next()
                });
                let (key, value) = row?;
                *after = Some(key.clone());
                Some(Ok((key[strip..].to_vec(), value)))
            }
            RowWalk::Disk { iter, .. } => match iter.next()?.into_inner() {
                Ok((key, value)) => Some(Ok((key[strip..].to_vec(), value.to_vec()))),
                Err(error) => {
                    self.failed = true;
                    Some(Err(ReadError::from_fjall(error, "the rows of the tables")))
                }
            },
        }
    }
}
