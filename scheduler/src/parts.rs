//! What the threads of one kernel share beside the sequencer's role: the lines between them.

use std::sync::{Arc, PoisonError};
use std::task::Waker;

use crankcase_journal::{Durable, Groups, ReadError, TableSnapshot, TableView, Tables};
use crankcase_vat::Shared as CrankShared;

use crate::admission::Admission;
use crate::cell::Cell;
use crate::checkpointer::CheckpointJob;
use crate::committer::{CommitJob, Release};
use crate::error::{Poison, WaitError};
use crate::gate::Gate;
use crate::hand_over::HandOver;
use crate::housekeeper::Chore;
use crate::order::CommitOrder;
use crate::run_queue::RunQueue;
use crate::stall::Stall;
use crate::stats::Counters;
use crate::sync::thread::{self, ThreadId};
use crate::sync::{
    AtomicBool, AtomicU64, AtomicUsize, Instant, Mutex, MutexGuard, OnceLock, Ordering, RwLock,
    lock,
};
use crate::watermarks::Watermarks;

/// See the module's text.
pub(crate) struct Parts {
    pub(crate) order: CommitOrder,
    /// What every crank needs: kinds, limits, seed.
    pub(crate) crank: CrankShared,
    pub(crate) run_queue: RunQueue<Arc<Cell>>,
    pub(crate) watermarks: Watermarks,
    pub(crate) admission: Admission,
    pub(crate) commits: HandOver<CommitJob>,
    pub(crate) checkpoints: HandOver<CheckpointJob>,
    pub(crate) chores: HandOver<Chore>,
    /// Wakers of the host's tasks, for the thread that calls the host back.
    pub(crate) callbacks: HandOver<Vec<Waker>>,
    /// Nothing once the kernel is closed. Held for as long as a store is being read, so that who
    /// closes waits for that; written by whoever closes, and by nobody else.
    pub(crate) tables: RwLock<Option<Tables>>,
    /// Nothing once the kernel is closed.
    pub(crate) groups: Mutex<Option<Groups>>,
    /// How much of one vat's store may stay in memory, in bytes.
    pub(crate) store_cache_bytes: usize,
    /// How much of all stores is in memory, in bytes: what [`Cell::store_bytes`] says of each.
    pub(crate) store_bytes: AtomicUsize,
    /// Lets only one vat run while the reorder buffer is full.
    pub(crate) gate: Gate<Arc<Cell>>,
    /// No more inputs.
    pub(crate) closing: AtomicBool,
    /// Workers put down what they have and leave.
    pub(crate) stopping: AtomicBool,
    pub(crate) poison: OnceLock<Poison>,
    /// The workers and the kernel's other threads.
    pub(crate) own_threads: OnceLock<Vec<ThreadId>>,
    pub(crate) counters: Counters,
    /// The last proof of what is durable. Set by the committer before it releases, so that who was
    /// answered never sees an older one.
    pub(crate) durable: Mutex<Durable>,
    /// What is to be released with the group that the committer has in its hands.
    pub(crate) in_commit: Mutex<Vec<Release>>,
    /// Groups and checkpoints done; whoever closes the kernel waits for it to move.
    pub(crate) steps: AtomicU64,
    /// Where workers sleep while the role is full.
    pub(crate) stall: Stall,
    /// For each worker, when the crank began that it is in, in nanoseconds after `born`, or 0.
    pub(crate) running: Vec<AtomicU64>,
    pub(crate) born: Instant,
}

impl Parts {
    /// Whether the calling thread is one of the kernel's: it runs cranks, drops values of vats or
    /// calls the host back, and must not wait for what such threads have to do.
    pub(crate) fn is_own_thread(&self) -> bool {
        let me = thread::current().id();
        self.own_threads.get().is_some_and(|own| own.contains(&me))
    }

    /// Stops the kernel for good; the first reason stays. The tickets are failed by the holder of
    /// the role.
    pub(crate) fn poison(&self, why: Poison) {
        if self.poison.set(why.clone()).is_ok() {
            tracing::error!(%why, "the kernel stops");
        }
        self.stop_workers();
        self.call_back(self.admission.close());
    }

    /// Tells those who wait for these that they will not be told.
    pub(crate) fn fail_releases(&self, releases: impl IntoIterator<Item = Release>) {
        for release in releases {
            self.call_back(release.cell.fail(self.why_unsettled()));
        }
    }

    /// What is to be released with the group at hand. It stands where others find it if the
    /// committer should panic.
    pub(crate) fn in_commit(&self) -> MutexGuard<'_, Vec<Release>> {
        lock(&self.in_commit)
    }

    /// Cleans up behind the committer, which is gone.
    pub(crate) fn abandon_commits(&self) {
        for job in self.commits.abandon() {
            // Dropping a request to close tells who asked.
            if let CommitJob::Commit { releases, .. } = job {
                self.fail_releases(releases);
            }
        }
        let in_commit = std::mem::take(&mut *self.in_commit());
        self.fail_releases(in_commit);
    }

    /// Has the workers leave at the end of their cranks.
    pub(crate) fn stop_workers(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.run_queue.stop();
        self.stall.announce();
    }

    /// What a ticket is told that the kernel cannot settle any more.
    pub(crate) fn why_unsettled(&self) -> WaitError {
        match self.poison.get() {
            Some(poison) => WaitError::Indeterminate(poison.clone()),
            None => WaitError::Closed,
        }
    }

    /// Has the host's wakers called by the thread that does that.
    pub(crate) fn call_back(&self, wakers: Vec<Waker>) {
        if wakers.is_empty() {
            return;
        }
        if let Err(wakers) = self.callbacks.give(wakers) {
            // The kernel is closed, so no thread of it is left that must not run host code.
            wakers.into_iter().for_each(Waker::wake);
        }
    }

    /// The tables as they are now.
    pub(crate) fn snapshot(&self) -> Result<TableSnapshot, ReadError> {
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        match &*tables {
            Some(tables) => tables.snapshot(),
            None => Err(std::io::Error::other("the kernel is closed").into()),
        }
    }

    /// The groups of the journal, unless the kernel is closed.
    pub(crate) fn groups(&self) -> Option<Groups> {
        lock(&self.groups).clone()
    }

    /// Looks at the rows of the tables as they are now, which stay there for so long.
    pub(crate) fn look<R>(
        &self,
        look: impl FnOnce(&TableView) -> Result<R, ReadError>,
    ) -> Result<R, ReadError> {
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        match &*tables {
            Some(tables) => look(&tables.view()),
            None => Err(std::io::Error::other("the kernel is closed").into()),
        }
    }

    /// Whether the tables were let go of.
    pub(crate) fn is_closed(&self) -> bool {
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        tables.is_none()
    }

    /// Notes how much of a vat's store is in memory now. For whoever has its activation.
    #[inline]
    pub(crate) fn note_store(&self, cell: &Cell, bytes: usize) {
        let before = cell.store_bytes.load(Ordering::Relaxed);
        if before != bytes {
            cell.store_bytes.store(bytes, Ordering::Relaxed);
            // It wraps, as the difference does.
            self.store_bytes
                .fetch_add(bytes.wrapping_sub(before), Ordering::Relaxed);
        }
    }

    /// Notes that a vat leaves memory. For the holder of the role, when nobody has its activation.
    pub(crate) fn forget_store(&self, cell: &Cell) {
        self.note_store(cell, 0);
    }

    /// Lets go of the tables and groups, which keep the journal's directory locked.
    pub(crate) fn let_go_of_tables(&self) {
        let groups = lock(&self.groups).take();
        drop(groups);
        let tables = self
            .tables
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        drop(tables);
    }

    /// The last proof of what is durable.
    pub(crate) fn durable(&self) -> Durable {
        *lock(&self.durable)
    }

    /// Whether a vat may run ahead of its turn.
    #[inline]
    pub(crate) fn may_run(&self, cell: &Cell) -> bool {
        self.gate.lets_pass(cell.slot.index() as u64)
    }
}
