//! A journal in memory that outlives its kernel, for schedules: it is closed, or copied in the middle as a crash would
//! leave it, and opened again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::identity::Identity;
use crate::memory::{MemoryJournal, MemoryParts};
use crate::shared::Shared;

/// See the module's text. Clones are the same journal.
#[derive(Clone, Default)]
pub struct Kept(Arc<Mutex<Option<Stored>>>);

#[derive(Clone)]
struct Stored {
    identity: Identity,
    memory: Arc<MemoryJournal>,
    shared: Arc<Shared>,
}

impl Kept {
    /// One that no kernel has opened yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn stored(&self) -> MutexGuard<'_, Option<Stored>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The journal that was kept, or a new one.
    pub(crate) fn open(&self, fresh: &Identity) -> MemoryParts {
        let mut parts = MemoryParts::fresh(fresh);
        let stored = self.stored().clone();
        let Some(stored) = stored else {
            *self.stored() = Some(Stored {
                identity: parts.identity,
                memory: Arc::clone(&parts.memory),
                shared: Arc::clone(&parts.shared),
            });
            return parts;
        };
        if let Some(chain) = stored.memory.log().chain.clone() {
            parts.chain = chain;
        }
        // What was written is durable now, also the group whose acknowledgement failed.
        stored.shared.set_durable(parts.chain.at());
        MemoryParts {
            identity: stored.identity,
            memory: stored.memory,
            shared: stored.shared,
            chain: parts.chain,
        }
    }

    /// What a crash now would leave: every group that was written, acknowledged or not, and the tables of the last
    /// checkpoint.
    ///
    /// # Panics
    ///
    /// When no kernel has opened it.
    #[must_use]
    pub fn crashed(&self) -> Self {
        let stored = self.stored().clone().expect("a kernel has opened it");
        // All of one moment, so both locks are held: tables that are newer than the log are damage.
        let log = stored.memory.log();
        let tables = stored.memory.tables();
        let shared = stored.shared.with_checkpoint(tables.checkpoint);
        let memory = MemoryJournal::holding(log.clone(), tables.clone());
        drop((log, tables));
        Self(Arc::new(Mutex::new(Some(Stored {
            identity: stored.identity,
            memory: Arc::new(memory),
            shared: Arc::new(shared),
        }))))
    }
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kept").finish_non_exhaustive()
    }
}
