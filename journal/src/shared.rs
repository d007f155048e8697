//! What the committer, the checkpointer and the readers of one journal know of each other.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crankcase_vat::Seq;

use crate::activity_hash::{ActivityHash, window_start_before};

/// Watermarks and the hash at each window's edge since the last checkpoint.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Written by the committer after a sync, with `Release`; readers take it with `Acquire`, so that whoever reads a
    /// place here finds its group.
    durable: AtomicU64,
    /// Written by the committer before it deletes what lies below. A reader that took the older value meets a missing
    /// group only below the newer one, and asks again.
    first_retained: AtomicU64,
    /// Written by the checkpointer after its sync; the committer reads it to know what retention may drop.
    checkpoint: AtomicU64,
    /// The hash at each window's edge from the last checkpoint on: the committer adds, the checkpointer takes and trims.
    /// A lock and not a channel, because the two threads meet once in 4096 records.
    edges: Mutex<BTreeMap<Seq, ActivityHash>>,
}

impl Shared {
    pub(crate) fn new(
        durable: Seq,
        first_retained: Seq,
        checkpoint: Seq,
        edges: BTreeMap<Seq, ActivityHash>,
    ) -> Self {
        Self {
            durable: AtomicU64::new(durable.get()),
            first_retained: AtomicU64::new(first_retained.get()),
            checkpoint: AtomicU64::new(checkpoint.get()),
            edges: Mutex::new(edges),
        }
    }

    pub(crate) fn durable(&self) -> Seq {
        Seq::new(self.durable.load(Ordering::Acquire))
    }

    pub(crate) fn set_durable(&self, seq: Seq) {
        self.durable.store(seq.get(), Ordering::Release);
    }

    pub(crate) fn first_retained(&self) -> Seq {
        Seq::new(self.first_retained.load(Ordering::Acquire))
    }

    pub(crate) fn set_first_retained(&self, seq: Seq) {
        self.first_retained.store(seq.get(), Ordering::Release);
    }

    pub(crate) fn checkpoint(&self) -> Seq {
        Seq::new(self.checkpoint.load(Ordering::Acquire))
    }

    /// Moves the checkpoint and forgets the edges that only older ones needed.
    pub(crate) fn set_checkpoint(&self, seq: Seq) {
        self.checkpoint.store(seq.get(), Ordering::Release);
        let start = window_start_before(seq.next());
        let mut edges = self.edges();
        *edges = edges.split_off(&start);
    }

    pub(crate) fn add_edge(&self, seq: Seq, hash: ActivityHash) {
        self.edges().insert(seq, hash);
    }

    /// The hash at the window edge `seq`, which must not lie before the last checkpoint's window.
    pub(crate) fn edge(&self, seq: Seq) -> Option<ActivityHash> {
        if seq == Seq::ZERO {
            Some(ActivityHash::ZERO)
        } else {
            self.edges().get(&seq).copied()
        }
    }

    fn edges(&self) -> std::sync::MutexGuard<'_, BTreeMap<Seq, ActivityHash>> {
        self.edges
            .lock()
            .expect("no code that can panic runs under this lock")
    }
}
