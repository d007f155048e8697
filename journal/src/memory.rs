//! A journal that touches no disk: for tests and for measuring everything but the disk.
//!
//! Groups stay until [`retain_from`](crate::Committer::retain_from) drops them, whatever the retention says, because
//! memory is bounded.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crankcase_vat::Seq;

/// The stored things of a journal in memory.
#[derive(Debug, Default)]
pub(crate) struct MemoryJournal {
    /// The committer adds and drops groups, readers clone what they need and let go.
    log: Mutex<MemoryLog>,
    /// Written whole by one checkpoint, so that a reader between two takes never sees half of one.
    tables: RwLock<MemoryTables>,
}

#[derive(Debug, Default)]
pub(crate) struct MemoryLog {
    pub(crate) groups: BTreeMap<Seq, Arc<[u8]>>,
    pub(crate) notes: BTreeMap<Seq, String>,
}

#[derive(Debug, Default)]
pub(crate) struct MemoryTables {
    pub(crate) checkpoint: Seq,
    pub(crate) rows: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl MemoryJournal {
    pub(crate) fn log(&self) -> MutexGuard<'_, MemoryLog> {
        self.log
            .lock()
            .expect("no code that can panic runs under this lock")
    }

    pub(crate) fn tables(&self) -> RwLockReadGuard<'_, MemoryTables> {
        self.tables
            .read()
            .expect("no code that can panic runs under this lock")
    }

    pub(crate) fn tables_mut(&self) -> RwLockWriteGuard<'_, MemoryTables> {
        self.tables
            .write()
            .expect("no code that can panic runs under this lock")
    }

    /// Up to `limit` rows whose key starts with `prefix` and is greater than `after`.
    pub(crate) fn rows_after(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Vec<(Vec<u8>, Vec<u8>)> {
        let start = match after {
            Some(after) => Bound::Excluded(after),
            None => Bound::Included(prefix),
        };
        self.tables()
            .rows
            .range::<[u8], _>((start, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .take(limit)
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }
}
