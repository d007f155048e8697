//! Figures of a running kernel.

use std::time::Duration;

use crankcase_journal::ActivityHash;
use crankcase_vat::Seq;

use crate::error::Poison;
use crate::sync::{AtomicU64, Ordering};

/// Figures of a running kernel. They are exempt from release: they may show what a crash loses.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Stats {
    /// The last place given.
    pub sequenced: Seq,
    /// The last place synced.
    pub durable: Seq,
    /// The last place that may be seen outside.
    pub released: Seq,
    /// The activity hash at `durable`.
    pub activity_hash: ActivityHash,
    /// Cranks sequenced since the kernel opened.
    pub cranks: u64,
    /// Cranks among them that were abandoned.
    pub abandoned: u64,
    /// Inputs sequenced since the kernel opened.
    pub inputs: u64,
    /// Groups made durable since the kernel opened.
    pub groups: u64,
    /// Bytes of their records.
    pub group_bytes: u64,
    /// Syncs for groups: one each with [`Durability::Sync`](crate::Durability::Sync), none
    /// otherwise.
    pub group_syncs: u64,
    /// Syncs of the witness.
    pub witness_syncs: u64,
    /// Checkpoints written since the kernel opened.
    pub checkpoints: u64,
    /// Rows of vats that ended that were swept from the tables since the kernel opened.
    pub swept_rows: u64,
    /// How often an inbox went on from the journal since the kernel opened, because its bodies were
    /// more than may wait in memory.
    pub inbox_refills: u64,
    /// Promises that are known: to be decided, or named by someone.
    pub promises: u64,
    /// Objects beside roots that someone outside of their vats holds, or whose owners are yet to
    /// hear that nobody does.
    pub objects: u64,
    /// Vats that live, and those that have ended and of which something is left to be let go of.
    pub vats: u64,
    /// Vats in memory.
    pub vats_in_memory: u64,
    /// How much of their stores is in memory, in bytes, as
    /// [`store_cache_bytes`](crate::KernelBuilder::store_cache_bytes) counts it.
    pub store_bytes: u64,
    /// Deliveries in all inboxes.
    pub waiting: u64,
    /// A bound on the longest that one crank has taken, with what its worker did for the order
    /// besides. While cranks take less than a microsecond or so, eight are timed together.
    pub longest_crank: Duration,
    /// How long the crank that has been running longest has been running; nothing when no worker
    /// is in one. While cranks take less than a microsecond or so this counts from up to eight
    /// cranks earlier.
    pub running_for: Option<Duration>,
    /// Why the kernel stopped, if it has.
    pub poison: Option<Poison>,
}

/// What the threads count. Nothing is decided by these, so all accesses are relaxed.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) cranks: AtomicU64,
    pub(crate) inputs: AtomicU64,
    pub(crate) groups: AtomicU64,
    pub(crate) group_bytes: AtomicU64,
    pub(crate) group_syncs: AtomicU64,
    pub(crate) witness_syncs: AtomicU64,
    pub(crate) checkpoints: AtomicU64,
    pub(crate) swept_rows: AtomicU64,
    pub(crate) inbox_refills: AtomicU64,
    pub(crate) longest_crank_ns: AtomicU64,
}

impl Counters {
    /// Adds to a counter that one thread at a time writes.
    #[inline]
    pub(crate) fn add(counter: &AtomicU64, count: u64) {
        counter.store(counter.load(Ordering::Relaxed) + count, Ordering::Relaxed);
    }

    pub(crate) fn get(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }
}
