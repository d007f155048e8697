//! Reads the tables as they stood at a checkpoint.

use std::ops::Bound;
use std::sync::Arc;

use crankcase_vat::Seq;

use crate::checkpointer::{CheckpointRow, stored_checkpoint};
use crate::database::{TablesDatabase, View};
use crate::error::ReadError;
use crate::faults::Faults;
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
    faults: Option<Arc<dyn Faults>>,
}

impl std::fmt::Debug for Tables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tables").finish_non_exhaustive()
    }
}

impl Tables {
    pub(crate) fn new(source: TableSource, faults: Option<Arc<dyn Faults>>) -> Self {
        Self { source, faults }
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
        let view = self.view();
        let row = match &view.source {
            ViewSource::Memory(memory) => CheckpointRow {
                at: memory.tables().checkpoint,
                ..CheckpointRow::default()
            },
            ViewSource::Disk(tables, view) => stored_checkpoint(tables, view)?,
        };
        Ok(TableSnapshot { row, view })
    }

    /// As [`snapshot`](Self::snapshot), without a look at where the checkpoint stands: cheap enough to be taken for a
    /// single row.
    #[must_use]
    pub fn view(&self) -> TableView {
        let source = match &self.source {
            TableSource::Memory(memory) => ViewSource::Memory(Arc::clone(memory)),
            TableSource::Disk(tables) => ViewSource::Disk(tables.clone(), tables.view()),
        };
        TableView {
            source,
            faults: self.faults.clone(),
        }
    }
}

#[derive(Clone)]
enum ViewSource {
    Memory(Arc<MemoryJournal>),
    Disk(TablesDatabase, View),
}

/// The rows of the tables at one checkpoint; see [`Tables::view`].
#[derive(Clone)]
pub struct TableView {
    source: ViewSource,
    faults: Option<Arc<dyn Faults>>,
}

impl std::fmt::Debug for TableView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TableView").finish_non_exhaustive()
    }
}

/// The tables at one checkpoint.
#[derive(Clone)]
pub struct TableSnapshot {
    row: CheckpointRow,
    view: TableView,
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
        self.view.get(table, key)
    }

    /// The rows of `table` whose key starts with `prefix`, in the order of their keys. Ends after the first error.
    #[must_use]
    pub fn prefix(&self, table: u8, prefix: &[u8]) -> Rows {
        self.view
            .range(table, prefix, (Bound::Unbounded, Bound::Unbounded), true)
    }

    /// All rows with the key under which they are stored.
    pub(crate) fn all(&self) -> Rows {
        self.view
            .rows((Bound::Unbounded, Bound::Unbounded), true, 0, None)
    }
}

impl TableView {
    /// One row.
    ///
    /// # Errors
    ///
    /// [`ReadError`] when it cannot be read, or is not what was written.
    pub fn get(&self, table: u8, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        if let Some(faults) = &self.faults {
            faults.table_read(table)?;
        }
        let stored = stored_key(table, key);
        match &self.source {
            ViewSource::Memory(memory) => Ok(memory.tables().rows.get(&stored).cloned()),
            ViewSource::Disk(tables, view) => view
                .get(&tables.rows, &stored)
                .map(|row| row.map(|bytes| bytes.to_vec()))
                .map_err(|error| ReadError::from_fjall(error, &format!("a row of table {table}"))),
        }
    }

    /// The rows of `table` whose key starts with `prefix`, and of which the rest of the key lies within the bounds: in
    /// the order of their keys, or from the last one, against it. Ends after the first error.
    #[must_use]
    pub fn range(
        &self,
        table: u8,
        prefix: &[u8],
        (low, high): (Bound<&[u8]>, Bound<&[u8]>),
        forward: bool,
    ) -> Rows {
        let prefix = stored_key(table, prefix);
        let full = |rest: &[u8]| [&prefix[..], rest].concat();
        let low = match low {
            Bound::Unbounded => Bound::Included(prefix.clone()),
            bound => bound.map(full),
        };
        let high = match high {
            Bound::Unbounded => end_of(&prefix),
            bound => bound.map(full),
        };
        self.rows((low, high), forward, 1, Some(table))
    }

    fn rows(
        &self,
        bounds: (Bound<Vec<u8>>, Bound<Vec<u8>>),
        forward: bool,
        strip: usize,
        table: Option<u8>,
    ) -> Rows {
        let walk = match &self.source {
            _ if is_empty(&bounds) => RowWalk::Nothing,
            ViewSource::Memory(memory) => RowWalk::Memory {
                memory: Arc::clone(memory),
                bounds,
                chunk: Vec::new().into_iter(),
                chunk_rows: FIRST_CHUNK_ROWS,
            },
            ViewSource::Disk(tables, view) => RowWalk::Disk {
                iter: view.between(&tables.rows, bounds),
                _view: view.clone(),
                _tables: tables.clone(),
            },
        };
        let faults = self.faults.clone();
        Rows {
            walk,
            forward,
            strip,
            faults: faults.zip(table),
            failed: false,
        }
    }
}

/// The bound behind all keys that start with `prefix`: its last byte below 255, raised.
fn end_of(prefix: &[u8]) -> Bound<Vec<u8>> {
    let mut end = prefix.to_vec();
    while end.last() == Some(&u8::MAX) {
        end.pop();
    }
    match end.last_mut() {
        Some(last) => {
            *last += 1;
            Bound::Excluded(end)
        }
        None => Bound::Unbounded,
    }
}

/// Whether no key can lie within the bounds; neither store below likes to be asked for some of those.
fn is_empty(bounds: &(Bound<Vec<u8>>, Bound<Vec<u8>>)) -> bool {
    match bounds {
        (Bound::Included(low), Bound::Included(high)) => low > high,
        (Bound::Included(low) | Bound::Excluded(low), Bound::Excluded(high))
        | (Bound::Excluded(low), Bound::Included(high)) => low >= high,
        _ => false,
    }
}

enum RowWalk {
    Nothing,
    Memory {
        memory: Arc<MemoryJournal>,
        /// They end where the walk stands.
        bounds: (Bound<Vec<u8>>, Bound<Vec<u8>>),
        chunk: std::vec::IntoIter<(Vec<u8>, Vec<u8>)>,
        chunk_rows: usize,
    },
    Disk {
        iter: fjall::Iter,
        _view: View,
        _tables: TablesDatabase,
    },
}

/// Rows in the order of their keys, or against it; see [`TableView::range`].
pub struct Rows {
    walk: RowWalk,
    forward: bool,
    /// How many bytes of the stored key are not part of the row's own key.
    strip: usize,
    /// Where a test makes the disk fail, and the table that is read.
    faults: Option<(Arc<dyn Faults>, u8)>,
    failed: bool,
}

impl std::fmt::Debug for Rows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rows").finish_non_exhaustive()
    }
}

/// Rows copied out of memory under one hold of the lock, at first; then twice as many each time.
const FIRST_CHUNK_ROWS: usize = 8;
const LAST_CHUNK_ROWS: usize = 256;

impl Iterator for Rows {
    type Item = Result<(Vec<u8>, Vec<u8>), ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        if let Some((faults, table)) = &self.faults
            && let Err(error) = faults.table_read(*table)
        {
            self.failed = true;
            return Some(Err(error.into()));
        }
        let (strip, forward) = (self.strip, self.forward);
        match &mut self.walk {
            RowWalk::Nothing => None,
            RowWalk::Memory {
                memory,
                bounds,
                chunk,
                chunk_rows,
            } => {
                let row = chunk.next().or_else(|| {
                    if is_empty(bounds) {
                        return None;
                    }
                    let between = (
                        bounds.0.as_ref().map(|key| &key[..]),
                        bounds.1.as_ref().map(|key| &key[..]),
                    );
                    *chunk = memory
                        .rows_between(between, forward, *chunk_rows)
                        .into_iter();
                    *chunk_rows = (*chunk_rows * 2).min(LAST_CHUNK_ROWS);
                    chunk.next()
                });
                let (key, value) = row?;
                let passed = Bound::Excluded(key.clone());
                if forward {
                    bounds.0 = passed;
                } else {
                    bounds.1 = passed;
                }
                Some(Ok((key[strip..].to_vec(), value)))
            }
            RowWalk::Disk { iter, .. } => {
                let row = if forward {
                    iter.next()
                } else {
                    iter.next_back()
                };
                match row?.into_inner() {
                    Ok((key, value)) => Some(Ok((key[strip..].to_vec(), value.to_vec()))),
                    Err(error) => {
                        self.failed = true;
                        Some(Err(ReadError::from_fjall(error, "the rows of the tables")))
                    }
                }
            }
        }
    }
}
