//! What a host chooses when it opens a journal.

use std::sync::Arc;

use crate::faults::Faults;

/// How long an acknowledged group lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// Until the disk is lost: each group is synced before it is acknowledged.
    #[default]
    Sync,
    /// Until the machine stops: each group is handed to the operating system. Opening after an unclean end raises the
    /// timeline, because acknowledged groups may be gone.
    Buffered,
    /// Until the process ends: no directory is touched.
    None,
}

/// Which groups stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Retention {
    /// All of them.
    #[default]
    KeepAll,
    /// Those that recovery or the activity hash still needs. [`Committer::retain_from`](crate::Committer::retain_from)
    /// drops the others.
    DropBelowCheckpoint,
}

/// How to open a journal.
#[derive(Clone)]
pub struct Settings {
    /// How long an acknowledged group lasts.
    pub durability: Durability,
    /// Which groups stay.
    pub retention: Retention,
    /// Memory for blocks read from the tables, in bytes.
    pub cache_bytes: u64,
    /// See [`Guards`].
    #[doc(hidden)]
    pub guards: Guards,
    /// Lets a test make the disk fail.
    #[doc(hidden)]
    pub faults: Option<Arc<dyn Faults>>,
    /// Lets a schedule open a journal in memory again.
    #[cfg(crankcase_shuttle)]
    #[doc(hidden)]
    pub kept: crate::Kept,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            durability: Durability::default(),
            retention: Retention::default(),
            cache_bytes: 32 * 1024 * 1024,
            guards: Guards::default(),
            faults: None,
            #[cfg(crankcase_shuttle)]
            kept: crate::Kept::default(),
        }
    }
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("durability", &self.durability)
            .field("retention", &self.retention)
            .field("cache_bytes", &self.cache_bytes)
            .finish_non_exhaustive()
    }
}

/// One switch for each guard against a hazard of the store below. All are on; a test turns one off to show that what
/// it guards against is real.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guards {
    /// Rows and groups are read through a snapshot, so that half a batch is never seen.
    pub snapshot_reads: bool,
    /// Snapshots of the tables are taken while no batch is being put in, because fjall's worker can make half of one
    /// visible to a snapshot taken in between.
    pub settled_snapshots: bool,
    /// After a failed commit the committer refuses everything.
    pub failure_is_final: bool,
    /// A torn last batch, never acknowledged, is set aside and cut off before fjall meets it.
    pub cut_torn_tail: bool,
    /// fjall's log is examined before fjall, which cuts it at the first thing it does not understand.
    pub look_first: bool,
    /// What is found must reach the witness.
    pub witness: bool,
    /// Large values are not compressed in fjall's log.
    pub plain_log: bool,
    /// fjall's log is bounded, because closing does not empty it.
    pub bounded_log: bool,
    /// The filter and the index of a file of the tables are read in parts, so that a look for one row does not read
    /// megabytes. A journal keeps what it was made with.
    pub files_in_parts: bool,
    /// Scans start at the first retained group and not among the deleted ones.
    pub cursor: bool,
}

impl Default for Guards {
    fn default() -> Self {
        Self {
            snapshot_reads: true,
            settled_snapshots: true,
            failure_is_final: true,
            cut_torn_tail: true,
            look_first: true,
            witness: true,
            plain_log: true,
            bounded_log: true,
            files_in_parts: true,
            cursor: true,
        }
    }
}
