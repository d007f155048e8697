//! Places at which a test has the whole process die, as a kill would have it: no destructor runs, nothing is flushed.
//!
//! [`Faults`](crate::Faults) are the errors of a disk, which the code is to handle; these are ends, which it cannot. They
//! are named in one list, so that a test can ask whether each is reached. Without the feature `crash-points` passing one
//! is nothing at all; with it, it is one load, unless `CRANKCASE_CRASH_AT=name:n` was in the environment when the first
//! was passed: then the process ends the nth time that the place of that name is passed.

macro_rules! crash_points {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// A place at which a test can have the process die.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u32)]
        pub enum CrashPoint {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl CrashPoint {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// Its name: the part of the code, a dot, and what has just been done there.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

crash_points! {
    /// A record was applied to the state and stands in no group.
    SequencerApplied = "sequencer.applied",
    /// A record stands in the forming group, and what follows from it is not done.
    SequencerGrouped = "sequencer.grouped",
    /// What follows from a record was done.
    SequencerPerformed = "sequencer.performed",
    /// A group was cut, and is not with the committer.
    SequencerCut = "sequencer.cut",
    /// The committer's report was taken.
    SequencerReported = "sequencer.reported",

    /// A group is about to be written.
    CommitterBegun = "committer.begun",
    /// fjall has made room in memory: old groups go to files of their own meanwhile.
    CommitterMadeRoom = "committer.made-room",
    /// A group was handed to the system, and is not synced.
    CommitterWritten = "committer.written",
    /// A group is synced, and the witness has not seen it.
    CommitterSynced = "committer.synced",
    /// The witness has seen a group.
    CommitterWitnessed = "committer.witnessed",
    /// The witness was synced.
    CommitterWitnessSynced = "committer.witness-synced",
    /// A group is durable, and nobody knows.
    CommitterDurable = "committer.durable",
    /// The watermarks have moved, and no ticket is settled.
    CommitterReleased = "committer.released",
    /// The tickets of a group are settled.
    CommitterSettled = "committer.settled",

    /// Facts beside the order are about to be written.
    FactsBegun = "facts.begun",
    /// They are written.
    FactsWritten = "facts.written",

    /// An epoch was frozen.
    CheckpointFrozen = "checkpoint.frozen",
    /// The checkpointer has taken the epoch up.
    CheckpointTaken = "checkpoint.taken",
    /// The rows are gathered, and the batch is not written.
    CheckpointGathered = "checkpoint.gathered",
    /// The batch is written, and readers do not see it.
    CheckpointWritten = "checkpoint.written",
    /// Readers see it, and the witness is synced behind it.
    CheckpointSettled = "checkpoint.settled",
    /// The state knows that the tables have the epoch.
    CheckpointThawed = "checkpoint.thawed",
    /// Vats were unloaded after it.
    CheckpointUnloaded = "checkpoint.unloaded",

    /// Old groups are about to be dropped.
    RetentionBegun = "retention.begun",
    /// They were dropped.
    RetentionDropped = "retention.dropped",

    /// A vat has ended, by the record just applied.
    CleanUpEnded = "clean-up.ended",
    /// A step of a dead vat's clean-up was run, and its record is not handed over.
    CleanUpStep = "clean-up.step",
    /// The housekeeper has dropped what ended vats had in memory.
    CleanUpDropped = "clean-up.dropped",
    /// Rows of vats that ended were removed from the tables.
    CleanUpSwept = "clean-up.swept",

    /// A vat was read from the tables.
    LoadRead = "load.read",

    /// The directory of a new journal is marked as being made.
    MakingMarked = "making.marked",
    /// Its log and its tables are there, with nothing in them.
    MakingLog = "making.log",
    /// Its tables are there.
    MakingTables = "making.tables",
    /// Its witness is there.
    MakingWitness = "making.witness",
    /// Its identity is there, and so is the mark.
    MakingIdentity = "making.identity",
    /// The mark is gone.
    MakingUnmarked = "making.unmarked",

    /// A new identity was written beside the old one.
    IdentityWritten = "identity.written",
    /// It has taken the old one's place.
    IdentityRenamed = "identity.renamed",

    /// An opening has recovered from a private copy, and changed nothing.
    RecoveryTried = "recovery.tried",
    /// An opening holds the lock and has looked.
    RecoveryLooked = "recovery.looked",
    /// A torn tail was set aside, and is not cut off.
    RecoverySetAside = "recovery.set-aside",
    /// It was cut off.
    RecoveryCut = "recovery.cut",
    /// The timeline, if it had to, was raised.
    RecoveryTimeline = "recovery.timeline",
    /// fjall has opened the log.
    RecoveryLog = "recovery.log",
    /// fjall has opened the tables.
    RecoveryTables = "recovery.tables",
    /// What was found is synced, and the witness does not say that the journal is open.
    RecoverySynced = "recovery.synced",
    /// The witness says so, unsynced.
    RecoveryWitnessed = "recovery.witnessed",
    /// The journal is open.
    RecoveryOpened = "recovery.opened",
    /// The tables were read, and no record is applied.
    RecoveryLoaded = "recovery.loaded",
    /// All later records were applied.
    RecoveryReplayed = "recovery.replayed",
    /// What waits is back in the mailboxes, and no thread runs.
    RecoveryRestored = "recovery.restored",
    /// The threads run.
    RecoveryStarted = "recovery.started",

    /// Closing: the workers have left.
    CloseWorkersLeft = "close.workers-left",
    /// Closing: everything is durable.
    CloseLogSettled = "close.log-settled",
    /// Closing: the tables hold everything.
    CloseTablesSettled = "close.tables-settled",
    /// Closing: the log is synced, and the witness does not say that it is closed.
    ClosePersisted = "close.persisted",
    /// Closing: the witness says so, unsynced.
    CloseWitnessed = "close.witnessed",
    /// Closing: the witness is synced.
    CloseWitnessSynced = "close.witness-synced",
}

/// Notes that a place is passed, which may be the last thing that the process does.
#[cfg(not(feature = "crash-points"))]
#[inline(always)]
pub fn pass(_point: CrashPoint) {}

/// Whether the process is to die there, this time or a later one.
#[cfg(not(feature = "crash-points"))]
#[inline(always)]
pub const fn is_armed(_point: CrashPoint) -> bool {
    false
}

#[cfg(feature = "crash-points")]
pub use armed::{is_armed, pass};

#[cfg(feature = "crash-points")]
mod armed {
    use std::sync::Once;
    use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

    use super::CrashPoint;

    /// The variable that arms one.
    const VARIABLE: &str = "CRANKCASE_CRASH_AT";
    /// The variable has not been read.
    const UNKNOWN: u32 = u32::MAX;
    /// None is armed.
    const NONE: u32 = u32::MAX - 1;

    // Relaxed: whoever reads too early reads the variable once more, and each sets both to the same.
    static ARMED: AtomicU32 = AtomicU32::new(UNKNOWN);
    static LEFT: AtomicU64 = AtomicU64::new(u64::MAX);
    static READ: Once = Once::new();

    fn armed() -> u32 {
        match ARMED.load(Ordering::Relaxed) {
            UNKNOWN => look(),
            known => known,
        }
    }

    #[cold]
    fn look() -> u32 {
        READ.call_once(|| {
            let asked = std::env::var(VARIABLE).unwrap_or_default();
            let armed = asked.rsplit_once(':').and_then(|(name, times)| {
                let point = CrashPoint::ALL.iter().find(|point| point.name() == name)?;
                Some((
                    *point as u32,
                    times.parse().ok().filter(|&times| times > 0)?,
                ))
            });
            assert!(
                asked.is_empty() || armed.is_some(),
                "{VARIABLE}={asked} names no crash point and how often it is passed, as in \
                 committer.written:3"
            );
            let (point, times) = armed.unwrap_or((NONE, u64::MAX));
            LEFT.store(times, Ordering::Relaxed);
            ARMED.store(point, Ordering::Release);
        });
        ARMED.load(Ordering::Acquire)
    }

    /// Notes that a place is passed, which may be the last thing that the process does.
    #[inline]
    pub fn pass(point: CrashPoint) {
        if armed() == point as u32 {
            count_down();
        }
    }

    /// Whether the process is to die there, this time or a later one.
    #[inline]
    pub fn is_armed(point: CrashPoint) -> bool {
        armed() == point as u32
    }

    #[cold]
    fn count_down() {
        if LEFT.fetch_sub(1, Ordering::Relaxed) == 1 {
            die();
        }
    }

    /// Ends the process as a kill from outside does.
    fn die() -> ! {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        // Nothing is left to do about an error but what follows, which elsewhere has to do.
        let _ =
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        std::process::abort()
    }

    #[cfg(test)]
    mod tests {
        use super::CrashPoint;

        #[test]
        fn no_two_crash_points_have_one_name() {
            let mut names: Vec<&str> = CrashPoint::ALL.iter().map(|point| point.name()).collect();
            names.sort_unstable();
            let all = names.len();
            names.dedup();
            assert_eq!(names.len(), all);
        }
    }
}
