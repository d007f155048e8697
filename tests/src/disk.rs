//! A disk that fails when it is told to.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crankcase_journal::Faults;

/// The table that holds the rows of stores.
const STORES: u8 = 3;

/// Says no at the chosen group, checkpoint or read of an incarnation and ever after; 0 is never.
#[derive(Debug, Default)]
pub struct FailingDisk {
    /// The first group whose write fails.
    pub group_write: AtomicU64,
    /// The first group whose sync fails, with all its bytes handed over.
    pub group_sync: AtomicU64,
    /// The first group after which the witness cannot be written.
    pub witness_write: AtomicU64,
    /// The first checkpoint that cannot be written.
    pub checkpoint_write: AtomicU64,
    /// The first row of a store that cannot be read, counted since the last time this was set
    /// from 0.
    pub store_read: AtomicU64,
    store_reads: AtomicU64,
    groups: AtomicU64,
    /// Whether a group whose write is to fail waits before it does.
    holds: Mutex<bool>,
    let_go: Condvar,
}

impl FailingDisk {
    /// A disk that works, until it is told otherwise.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// The number of the last group that was begun.
    #[must_use]
    pub fn groups(&self) -> u64 {
        self.groups.load(Ordering::SeqCst)
    }

    /// Has the group whose write is to fail wait until [`let_go`](Self::let_go).
    pub fn hold(&self) {
        *self.holds.lock().unwrap_or_else(PoisonError::into_inner) = true;
    }

    /// The group that waits fails.
    pub fn let_go(&self) {
        *self.holds.lock().unwrap_or_else(PoisonError::into_inner) = false;
        self.let_go.notify_all();
    }

    fn check(from: &AtomicU64, number: u64, what: &str) -> io::Result<()> {
        match from.load(Ordering::SeqCst) {
            0 => Ok(()),
            from if number < from => Ok(()),
            _ => Err(io::Error::other(format!(
                "{what} {number} fails on purpose"
            ))),
        }
    }
}

impl Faults for FailingDisk {
    fn group_write(&self, number: u64) -> io::Result<()> {
        self.groups.store(number, Ordering::SeqCst);
        Self::check(&self.group_write, number, "the write of group").inspect_err(|_| {
            let holds = self.holds.lock().unwrap_or_else(PoisonError::into_inner);
            drop(self.let_go.wait_while(holds, |holds| *holds));
        })
    }

    fn group_sync(&self, number: u64) -> io::Result<()> {
        Self::check(&self.group_sync, number, "the sync of group")
    }

    fn witness_write(&self, number: u64) -> io::Result<()> {
        Self::check(&self.witness_write, number, "the witness after group")
    }

    fn checkpoint_write(&self, number: u64) -> io::Result<()> {
        Self::check(&self.checkpoint_write, number, "checkpoint")
    }

    fn table_read(&self, table: u8) -> io::Result<()> {
        if table != STORES || self.store_read.load(Ordering::SeqCst) == 0 {
            return Ok(());
        }
        let number = self.store_reads.fetch_add(1, Ordering::SeqCst) + 1;
        Self::check(&self.store_read, number, "the read of store row")
    }
}
