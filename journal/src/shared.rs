//! What the committer, the checkpointer and the readers of one journal know of each other.

use std::collections::BTreeMap;

use crankcase_vat::{Seq, mutant};

use crate::activity_hash::{ActivityHash, window_start_before};
use crate::sync::{AtomicU64, Mutex, MutexGuard, Ordering};

/// Watermarks and the hash at each window's edge since the last checkpoint.
#[derive(Debug)]
pub struct Shared {
    /// Written by the committer after a sync, with `Release`; readers take it with `Acquire`, so that whoever reads a
    /// place here finds its group: `loom-tests/tests/journal.rs`, `who_reads_a_durable_place_finds_its_group`.
    durable: AtomicU64,
    /// Written by the committer before it deletes what lies below. A reader that took the older value meets a missing
    /// group only below the newer one, and asks again. The two steps stand in one place, in `Committer::retain_from`, and
    /// fjall's own locks order what readers see of the second; no model runs that.
    first_retained: AtomicU64,
    /// Written by the checkpointer after its sync; the committer reads it to know what retention may drop:
    /// `loom-tests/tests/journal.rs`, `who_drops_what_a_checkpoint_holds_sees_its_tables`.
    checkpoint: AtomicU64,
    /// The hash at each window's edge from the last checkpoint on: the committer adds, the checkpointer takes and trims.
    /// A lock and not a channel, because the two threads meet once in 4096 records.
    edges: Mutex<BTreeMap<Seq, ActivityHash>>,
}

impl Shared {
    /// As recovery found them.
    pub fn new(
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

    /// All of it as it is now, with tables that hold everything up to `checkpoint`.
    #[cfg(crankcase_shuttle)]
    pub(crate) fn with_checkpoint(&self, checkpoint: Seq) -> Self {
        let edges = self.edges().clone();
        Self::new(self.durable(), self.first_retained(), checkpoint, edges)
    }

    /// The last durable place.
    pub fn durable(&self) -> Seq {
        Seq::new(self.durable.load(Ordering::Acquire))
    }

    /// Moves it, after the sync.
    pub fn set_durable(&self, seq: Seq) {
        let order = match mutant("durable-is-relaxed") {
            false => Ordering::Release,
            true => Ordering::Relaxed,
        };
        self.durable.store(seq.get(), order);
    }

    /// The first place that retention left.
    pub fn first_retained(&self) -> Seq {
        Seq::new(self.first_retained.load(Ordering::Acquire))
    }

    /// Moves it, before what lies below is deleted.
    pub fn set_first_retained(&self, seq: Seq) {
        self.first_retained.store(seq.get(), Ordering::Release);
    }

    /// Where the tables stand.
    pub fn checkpoint(&self) -> Seq {
        Seq::new(self.checkpoint.load(Ordering::Acquire))
    }

    /// Moves the checkpoint and forgets the edges that only older ones needed.
    pub fn set_checkpoint(&self, seq: Seq) {
        self.checkpoint.store(seq.get(), Ordering::Release);
        let start = window_start_before(seq.next());
        let mut edges = self.edges();
        *edges = edges.split_off(&start);
    }

    /// Keeps the hash at a window's edge.
    pub fn add_edge(&self, seq: Seq, hash: ActivityHash) {
        self.edges().insert(seq, hash);
    }

    /// The hash at the window edge `seq`, which must not lie before the last checkpoint's window.
    pub fn edge(&self, seq: Seq) -> Option<ActivityHash> {
        if seq == Seq::ZERO {
            Some(ActivityHash::ZERO)
        } else {
            self.edges().get(&seq).copied()
        }
    }

    fn edges(&self) -> MutexGuard<'_, BTreeMap<Seq, ActivityHash>> {
        self.edges
            .lock()
            .expect("no code that can panic runs under this lock")
    }
}
