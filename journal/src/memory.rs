//! A journal that touches no disk: for tests and for measuring everything but the disk.
//!
//! Groups stay until [`retain_from`](crate::Committer::retain_from) drops them, whatever the retention says, because
//! memory is bounded.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use crankcase_vat::Seq;

use crate::activity_hash::{ActivityHash, HashChain};
use crate::identity::Identity;
use crate::shared::Shared;
use crate::sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// The stored things of a journal in memory.
#[derive(Default)]
pub(crate) struct MemoryJournal {
    /// The committer adds and drops groups, readers clone what they need and let go.
    log: Mutex<MemoryLog>,
    /// Written whole by one checkpoint, so that a reader between two takes never sees half of one.
    tables: RwLock<MemoryTables>,
}

#[cfg_attr(crankcase_shuttle, derive(Clone))]
#[derive(Default)]
pub(crate) struct MemoryLog {
    /// The hash chain behind the last group.
    #[cfg(crankcase_shuttle)]
    pub(crate) chain: Option<HashChain>,
    pub(crate) groups: BTreeMap<Seq, Arc<[u8]>>,
    pub(crate) notes: BTreeMap<Seq, String>,
    pub(crate) facts: BTreeMap<Vec<u8>, Vec<u8>>,
}

#[cfg_attr(crankcase_shuttle, derive(Clone))]
#[derive(Debug, Default)]
pub(crate) struct MemoryTables {
    pub(crate) checkpoint: Seq,
    pub(crate) rows: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// What a journal in memory is opened from.
pub(crate) struct MemoryParts {
    pub(crate) identity: Identity,
    pub(crate) memory: Arc<MemoryJournal>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) chain: HashChain,
}

impl MemoryParts {
    /// A new journal.
    pub(crate) fn fresh(identity: &Identity) -> Self {
        let shared = Shared::new(Seq::ZERO, Seq::ZERO.next(), Seq::ZERO, [].into());
        Self {
            identity: *identity,
            memory: Arc::default(),
            shared: Arc::new(shared),
            chain: HashChain::start(Seq::ZERO, ActivityHash::ZERO),
        }
    }
}

impl MemoryJournal {
    #[cfg(crankcase_shuttle)]
    pub(crate) fn holding(log: MemoryLog, tables: MemoryTables) -> Self {
        Self {
            log: Mutex::new(log),
            tables: RwLock::new(tables),
        }
    }

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

    /// The first `limit` rows whose keys lie within the bounds, in order, or the last ones, against it.
    pub(crate) fn rows_between(
        &self,
        (low, high): (Bound<&[u8]>, Bound<&[u8]>),
        forward: bool,
        limit: usize,
    ) -> Vec<(Vec<u8>, Vec<u8>)> {
        let tables = self.tables();
        let mut rows = tables.rows.range::<[u8], _>((low, high));
        let rows = std::iter::from_fn(|| {
            if forward {
                rows.next()
            } else {
                rows.next_back()
            }
        });
        rows.take(limit)
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }
}
