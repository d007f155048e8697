//! Building a kernel: everything that a host can choose, and opening it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crankcase_journal::{Durability, Identity, Retention, Settings};
use crankcase_vat::{KindError, Kinds, Limits, Shared, Vat};

use crate::clock::Clock;
use crate::error::OpenError;
use crate::kernel::Kernel;
use crate::order::CommitOrder;
use crate::sequencer::Pace;

/// Chooses how a kernel is opened. See [`Kernel::builder`].
#[must_use = "a builder opens nothing until `open` is called"]
pub struct KernelBuilder {
    pub(crate) path: PathBuf,
    pub(crate) workers: usize,
    pub(crate) order: CommitOrder,
    pub(crate) durability: Durability,
    pub(crate) retention: Retention,
    pub(crate) seed: Option<[u8; 32]>,
    pub(crate) clock: Clock,
    pub(crate) limits: Limits,
    pub(crate) kinds: Kinds,
    pub(crate) kind_error: Option<KindError>,
    pub(crate) check_canonical: bool,
    pub(crate) audit_counts: bool,
    pub(crate) host_input_bytes: u64,
    pub(crate) pace: Pace,
    pub(crate) cache_bytes: u64,
    pub(crate) store_cache_bytes: usize,
    pub(crate) drop_timeout: Duration,
    pub(crate) faults: Option<std::sync::Arc<dyn crankcase_journal::Faults>>,
    #[cfg(crankcase_shuttle)]
    pub(crate) kept: crankcase_journal::Kept,
}

impl KernelBuilder {
    pub(crate) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            order: CommitOrder::default(),
            durability: Durability::default(),
            retention: Retention::default(),
            seed: None,
            clock: Clock::default(),
            limits: Limits::default(),
            kinds: Kinds::new(),
            kind_error: None,
            check_canonical: false,
            audit_counts: false,
            host_input_bytes: 64 << 20,
            pace: Pace {
                group_bytes: 128 << 10,
                undurable_bytes: 64 << 20,
                checkpoint_bytes: 128 << 20,
                checkpoint_records: 2_000_000,
                checkpoint_vats: 1 << 17,
                vats_in_memory: 1 << 17,
                inbox_bytes: 256 << 20,
                store_bytes: 1 << 30,
                reorder_records: 4096,
                drop_below_checkpoint: false,
            },
            cache_bytes: 32 << 20,
            store_cache_bytes: 1 << 20,
            drop_timeout: Duration::from_secs(10),
            faults: None,
            #[cfg(crankcase_shuttle)]
            kept: crankcase_journal::Kept::default(),
        }
    }

    /// How many workers run cranks; at least one. The default is one for each core.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers.max(1);
        self
    }

    /// How the total order comes about. Fixed when the journal is made; opening it with another is
    /// an error. The default is [`CommitOrder::Completion`].
    pub fn order(mut self, order: CommitOrder) -> Self {
        self.order = order;
        self
    }

    /// How long an acknowledged record lasts. The default is [`Durability::Sync`]. With
    /// [`Durability::None`] the directory is neither made nor touched.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// What becomes of groups that recovery does not need. The default is to keep all.
    pub fn retention(mut self, retention: Retention) -> Self {
        self.retention = retention;
        self
    }

    /// The key of all randomness. Fixed when the journal is made; opening it with another is an
    /// error, and leaving it out takes the journal's. The default for a new journal is all zeros.
    pub fn seed(mut self, seed: [u8; 32]) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Where `now` comes from. The default is the system's clock.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Bounds for each crank.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Registers a kind of vat, with what the host gives to all vats of it.
    pub fn kind<V: Vat>(mut self, env: V::Env) -> Self {
        if let Err(error) = self.kinds.add::<V>(env) {
            self.kind_error.get_or_insert(error);
        }
        self
    }

    /// Encodes every state a second time after its crank, to catch a state that is not canonical.
    /// For debugging: it doubles the cost of a crank.
    pub fn check_canonical(mut self, check: bool) -> Self {
        self.check_canonical = check;
        self
    }

    /// How many bytes of deliveries may wait in memory, shared out evenly among the vats in memory;
    /// each may have 16 KiB in any case. What goes beyond stays in the journal and is read from
    /// there when its turn comes. The default is 256 MiB.
    pub fn inbox_bytes(mut self, bytes: usize) -> Self {
        self.pace.inbox_bytes = bytes;
        self
    }

    /// Counts anew from nothing, after every record, who holds which reference, and stops the kernel
    /// if that is not what was counted. For debugging: a record then costs as much as there are
    /// references.
    pub fn audit_counts(mut self, audit: bool) -> Self {
        self.audit_counts = audit;
        self
    }

    /// How many bytes of the host's inputs may be on their way at once: handed in, and not all of
    /// their deliveries handled. Above it `send` waits and `try_send` says no. The default is
    /// 64 MiB, and more than 1 GiB is taken as that.
    pub fn host_input_bytes(mut self, bytes: u64) -> Self {
        self.host_input_bytes = bytes.min(1 << 30);
        self
    }

    /// How many bytes may be sequenced and not durable; above it nothing more is sequenced until
    /// the committer has caught up. The default is 64 MiB, and more than 1 GiB is taken as that.
    pub fn undurable_bytes(mut self, bytes: usize) -> Self {
        self.pace.undurable_bytes = bytes.min(1 << 30);
        self
    }

    /// How many bytes of records gather before they are committed although nobody waits. The
    /// default is 128 KiB.
    pub fn group_bytes(mut self, bytes: usize) -> Self {
        self.pace.group_bytes = bytes;
        self
    }

    /// After how many records, or bytes of records, a checkpoint is written. They bound the time
    /// to reopen, and the memory for rows that the tables do not hold yet: vats that wrote without a
    /// pause made a process take 4 GiB at the default. The defaults are two million records and 128 MiB.
    pub fn checkpoint_every(mut self, records: u64, bytes: u64) -> Self {
        self.pace.checkpoint_records = records.max(1);
        self.pace.checkpoint_bytes = bytes.max(1);
        self
    }

    /// How many vats may stay in memory; after a checkpoint, idle ones above it are unloaded. The
    /// default is 131,072.
    pub fn vats_in_memory(mut self, vats: usize) -> Self {
        self.pace.vats_in_memory = vats;
        self
    }

    /// How much of each vat's store may stay in memory: bytes of keys and values, and 64 for each
    /// row. A store within it is read from memory alone; of a larger one this much is kept of what
    /// was touched, and the rest is read from the journal when a crank asks for it. What a crank
    /// sees is the same with any number. The default is 1 MiB.
    ///
    /// Rows that were written since the last checkpoint stay in any case; behind it, each crank of
    /// their vat lets go of a part of them. So together they are a small multiple of
    /// [`checkpoint_every`](Self::checkpoint_every), while their vats run.
    pub fn store_cache_bytes(mut self, bytes: usize) -> Self {
        self.store_cache_bytes = bytes;
        self
    }

    /// How much of all stores together may stay in memory, counted as
    /// [`store_cache_bytes`](Self::store_cache_bytes) counts it; after a checkpoint, idle vats are
    /// unloaded while there is more. The default is 1 GiB.
    ///
    /// Vats that are busy stay. So at most this is in memory, or what the busy ones may have by
    /// themselves, and the rows written since the last checkpoint or not yet let go of.
    pub fn stores_in_memory_bytes(mut self, bytes: usize) -> Self {
        self.pace.store_bytes = bytes;
        self
    }

    /// How many records may wait for their turn in `Dispatch` order; past it only the vat whose
    /// turn it is runs. The default is 4,096.
    pub fn reorder_records(mut self, records: usize) -> Self {
        self.pace.reorder_records = records.max(1);
        self
    }

    /// Memory for blocks read from the journal. The default is 32 MiB.
    pub fn cache_bytes(mut self, bytes: u64) -> Self {
        self.cache_bytes = bytes;
        self
    }

    /// How long dropping a kernel that was not closed waits for its cranks. The default is ten
    /// seconds.
    pub fn drop_timeout(mut self, timeout: Duration) -> Self {
        self.drop_timeout = timeout;
        self
    }

    /// Lets a test make the disk fail.
    #[doc(hidden)]
    pub fn faults(mut self, faults: std::sync::Arc<dyn crankcase_journal::Faults>) -> Self {
        self.faults = Some(faults);
        self
    }

    /// Lets a schedule open a journal in memory again.
    #[cfg(crankcase_shuttle)]
    #[doc(hidden)]
    pub fn kept(mut self, kept: crankcase_journal::Kept) -> Self {
        self.kept = kept;
        self
    }

    /// Opens the journal, or makes it when the directory is empty or not there, recovers, and
    /// starts the kernel.
    ///
    /// # Errors
    ///
    /// [`OpenError`]; what is refused is left as it was, byte for byte.
    pub fn open(self) -> Result<Kernel, OpenError> {
        if cfg!(panic = "abort") {
            return Err(OpenError::PanicAborts);
        }
        if let Some(error) = self.kind_error {
            return Err(error.into());
        }
        if self.durability != Durability::None && self.path.as_os_str().is_empty() {
            return Err(OpenError::NoDirectory);
        }
        crate::recovery::open(self)
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings {
            durability: self.durability,
            retention: self.retention,
            cache_bytes: self.cache_bytes,
            faults: self.faults.clone(),
            #[cfg(crankcase_shuttle)]
            kept: self.kept.clone(),
            ..Settings::default()
        }
    }

    /// Who a journal made now would be.
    pub(crate) fn fresh_identity(&self) -> Identity {
        Identity {
            kernel_id: fresh_kernel_id(),
            timeline: 1,
            order: self.order.code(),
            seed: self.seed.unwrap_or_default(),
        }
    }

    pub(crate) fn shared(&self, seed: [u8; 32]) -> Shared {
        Shared {
            kinds: self.kinds.clone(),
            limits: self.limits,
            seed,
            check_canonical: self.check_canonical,
        }
    }
}

impl std::fmt::Debug for KernelBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KernelBuilder")
            .field("path", &self.path)
            .field("workers", &self.workers)
            .field("order", &self.order)
            .field("durability", &self.durability)
            .field("kinds", &self.kinds)
            .finish_non_exhaustive()
    }
}

/// An id that no other journal has. It is no part of what is hashed, so it may come from the
/// machine: the process's own random hash keys, the time and the process.
fn fresh_kernel_id() -> [u8; 16] {
    use std::hash::{BuildHasher, Hasher, RandomState};
    let mut hasher = blake3::Hasher::new();
    for _ in 0..4 {
        hasher.update(&RandomState::new().build_hasher().finish().to_le_bytes());
    }
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    hasher.update(&now.map_or(0, |now| now.as_nanos()).to_le_bytes());
    hasher.update(&std::process::id().to_le_bytes());
    let mut id = [0; 16];
    hasher.finalize_xof().fill(&mut id);
    id
}
