//! The three watermarks of the total order, and the one inequality between them.
//!
//! ```text
//! released ≤ durable ≤ sequenced
//! ```
//!
//! * *Sequenced*: the place was given. Moved by the holder of the sequencer's role. Vats hear of it.
//! * *Durable*: the record is synced here. Moved by the committer.
//! * *Released*: it may be seen outside. Moved by the committer too, as long as nothing but this
//!   machine has to have it.
//!
//! |                     | sequenced | durable | released |
//! |---------------------|-----------|---------|----------|
//! | record 7 is applied | 7         | 4       | 4        |
//! | group 5..=7 synced  | 9         | 7       | 4        |
//! | tickets of 5..=7    | 9         | 7       | 7        |
//!
//! A place is stored with `Release` and loaded with `Acquire`, so that who sees it sees what was done for
//! it: `loom-tests/tests/group_commit.rs`, `nothing_is_seen_released_or_durable_that_is_not_on_disk`.
//!
//! A move that would break the inequality or go backwards is a bug that would lose data, so it is
//! checked in release builds as well.

use crankcase_vat::{Seq, mutant};

use crate::sync::{AtomicU64, Ordering};

/// See the module's text.
pub struct Watermarks {
    sequenced: AtomicU64,
    durable: AtomicU64,
    released: AtomicU64,
}

impl Watermarks {
    /// All three at the end of what was recovered.
    pub fn new(at: Seq) -> Self {
        let at = || AtomicU64::new(at.get());
        Self {
            sequenced: at(),
            durable: at(),
            released: at(),
        }
    }

    /// The last place given.
    pub fn sequenced(&self) -> Seq {
        Seq::new(self.sequenced.load(Ordering::Acquire))
    }

    /// The last place synced.
    pub fn durable(&self) -> Seq {
        Seq::new(self.durable.load(Ordering::Acquire))
    }

    /// The last place that may be seen outside.
    pub fn released(&self) -> Seq {
        Seq::new(self.released.load(Ordering::Acquire))
    }

    /// Moves *sequenced*. Only the holder of the role calls it, so a plain store is enough; it is
    /// a release so that who sees the place sees what was done for it.
    #[inline]
    pub fn sequence(&self, to: Seq) {
        debug_assert!(to >= self.sequenced());
        self.sequenced.store(to.get(), Ordering::Release);
    }

    /// Moves *durable*. Only the committer calls it.
    ///
    /// # Panics
    ///
    /// When it would pass *sequenced* or go backwards.
    pub fn make_durable(&self, to: Seq) {
        assert!(
            to <= self.sequenced(),
            "durable {to} would pass sequenced {}",
            self.sequenced()
        );
        assert!(
            to >= self.durable(),
            "durable would go back from {} to {to}",
            self.durable()
        );
        self.durable.store(to.get(), Ordering::Release);
    }

    /// Moves *released*. Only the committer calls it.
    ///
    /// # Panics
    ///
    /// When it would pass *durable* or go backwards.
    pub fn release(&self, to: Seq) {
        assert!(
            to <= self.durable(),
            "released {to} would pass durable {}",
            self.durable()
        );
        assert!(
            to >= self.released(),
            "released would go back from {} to {to}",
            self.released()
        );
        let order = match mutant("watermark-relaxed-release") {
            false => Ordering::Release,
            true => Ordering::Relaxed,
        };
        self.released.store(to.get(), order);
    }
}
