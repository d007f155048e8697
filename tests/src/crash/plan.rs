//! What a crash round is made of, chosen from its seed, in words that a child can be given.

use std::path::Path;

use crankcase::{CommitOrder, Durability, KernelBuilder, Retention};

use super::till::{Till, sign};
use crate::host::Shape;
use crate::luck::Luck;
use crate::yard::Yard;

/// Threads of the host that ask for something.
pub const CLIENTS: usize = 3;

/// How a child works on its journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What the requests are chosen from.
    pub seed: u64,
    /// The order and the workers.
    pub shape: Shape,
    /// Whether syncing is left to the system.
    pub buffered: bool,
    /// Whether old groups are dropped. Then the load has enough records for that to happen.
    pub drops: bool,
    /// Bytes of padding in each payment.
    pub padding: u64,
    /// How many requests each client makes before the child closes its journal.
    pub requests: u64,
    /// After how many records a checkpoint is due.
    pub checkpoint_records: u64,
    /// Bytes after which a group is committed though nobody waits.
    pub group_bytes: u64,
    /// The number of the first request of each client.
    pub starts: [u64; CLIENTS],
}

impl Plan {
    /// One of all that there are.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let mut luck = Luck::new(seed);
        let order = match luck.below(3) {
            0 => CommitOrder::Dispatch,
            _ => CommitOrder::Completion,
        };
        let workers = [1, 2, 4][luck.below(3) as usize];
        Self {
            seed,
            shape: Shape { order, workers },
            buffered: luck.below(4) == 0,
            drops: luck.below(8) == 0,
            padding: [0, 0, 0, 10_000][luck.below(4) as usize],
            requests: 12 + luck.below(30),
            checkpoint_records: 10 + luck.below(150),
            group_bytes: 1 << (8 + luck.below(6)),
            starts: [0; CLIENTS],
        }
    }

    /// The same in words.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let dispatch = self.shape.order == CommitOrder::Dispatch;
        let numbers = [
            self.seed,
            u64::from(dispatch),
            self.shape.workers as u64,
            u64::from(self.buffered),
            u64::from(self.drops),
            self.padding,
            self.requests,
            self.checkpoint_records,
            self.group_bytes,
        ];
        let numbers = numbers.into_iter().chain(self.starts);
        numbers.map(|number| number.to_string()).collect()
    }

    /// Reads the words.
    #[must_use]
    pub fn from_words(words: &[String]) -> Option<Self> {
        let numbers: Vec<u64> = words.iter().map_while(|word| word.parse().ok()).collect();
        let (first, starts) = numbers.split_at_checked(9)?;
        Some(Self {
            seed: first[0],
            shape: Shape {
                order: match first[1] {
                    0 => CommitOrder::Completion,
                    _ => CommitOrder::Dispatch,
                },
                workers: usize::try_from(first[2]).ok()?,
            },
            buffered: first[3] != 0,
            drops: first[4] != 0,
            padding: first[5],
            requests: first[6],
            checkpoint_records: first[7],
            group_bytes: first[8],
            starts: starts.try_into().ok()?,
        })
    }

    /// A builder in which everything that happens now and then happens all the time.
    pub fn builder(&self, dir: &Path) -> KernelBuilder {
        let durability = match self.buffered {
            true => Durability::Buffered,
            false => Durability::Sync,
        };
        let retention = match self.drops {
            true => Retention::DropBelowCheckpoint,
            false => Retention::KeepAll,
        };
        let builder = self.shape.builder(dir, &Yard::new());
        builder
            .kind::<Till>(())
            .kind::<sign::Sign>(())
            .kind::<sign::two::Sign>(())
            // The recount after every record is the affair of scenarios; here there are many records.
            .audit_counts(false)
            .durability(durability)
            .retention(retention)
            .checkpoint_every(self.checkpoint_records, u64::MAX)
            .vats_in_memory(2)
            .store_cache_bytes(512)
            .group_bytes(usize::try_from(self.group_bytes).unwrap_or(usize::MAX))
    }
}
