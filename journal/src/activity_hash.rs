//! Computes the activity hash: one value after every record that two kernels with the same history share.
//!
//! Records stream into one BLAKE3 state per window of [`WINDOW`] places, and each window starts with the hash of the
//! one before. The hash after record n is therefore independent of how records were grouped, and costs one pass over
//! contiguous bytes instead of one finalisation for each record.
//!
//! ```text
//! hash(0)  = 32 zero bytes
//! start(w) = hash(w * WINDOW)
//! hash(n)  = BLAKE3(start(w) || frame(w * WINDOW + 1) || ... || frame(n))     where w = (n - 1) / WINDOW
//! frame(s) = LEB128 length of record s || record s
//! ```

use std::fmt;

use crankcase_vat::Seq;

/// How many places in the order share one streaming hash state. Part of the format: changing it changes every hash.
pub const WINDOW: u64 = 4096;

/// The activity hash after some record: equal on two kernels exactly when their histories up to there are.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ActivityHash(pub [u8; 32]);

impl ActivityHash {
    /// The hash before the first record.
    pub const ZERO: Self = Self([0; 32]);
}

impl fmt::Display for ActivityHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ActivityHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ActivityHash({self})")
    }
}

/// The last place before the window that contains `seq`: the chain can start there and nowhere else.
pub(crate) fn window_start_before(seq: Seq) -> Seq {
    Seq::new(seq.get().saturating_sub(1) / WINDOW * WINDOW)
}

/// Whether `seq` is the last place of its window.
pub(crate) fn ends_window(seq: Seq) -> bool {
    seq.get().is_multiple_of(WINDOW)
}

#[cfg_attr(crankcase_shuttle, derive(Clone))]
/// The hash state, advanced record by record or by whole runs of frames.
pub(crate) struct HashChain {
    hasher: blake3::Hasher,
    at: Seq,
    start: ActivityHash,
}

impl HashChain {
    /// Starts behind the window end `at`, where the hash is `start`.
    pub(crate) fn start(at: Seq, start: ActivityHash) -> Self {
        debug_assert!(ends_window(at), "a chain starts at a window's edge");
        let mut chain = Self {
            hasher: blake3::Hasher::new(),
            at,
            start,
        };
        chain.hasher.update(&start.0);
        chain
    }

    /// The last place that was hashed.
    pub(crate) fn at(&self) -> Seq {
        self.at
    }

    /// The hash after [`at`](Self::at).
    pub(crate) fn hash(&self) -> ActivityHash {
        // At a window's edge the new window's state holds nothing but its start, which is the hash sought.
        if ends_window(self.at) {
            self.start
        } else {
            ActivityHash(*self.hasher.finalize().as_bytes())
        }
    }

    /// Takes `frames`, which hold the records behind [`at`](Self::at) up to `last`. `edges` are the offsets in `frames`
    /// at which a window's last frame ends, in order. Calls `at_edge` with every window end that was passed.
    pub(crate) fn extend(
        &mut self,
        frames: &[u8],
        edges: &[usize],
        last: Seq,
        mut at_edge: impl FnMut(Seq, ActivityHash),
    ) {
        let mut from = 0;
        let mut window_end = self.at.get() / WINDOW * WINDOW;
        for &edge in edges {
            self.hasher.update(&frames[from..edge]);
            from = edge;
            window_end += WINDOW;
            self.turn(Seq::new(window_end), &mut at_edge);
        }
        self.hasher.update(&frames[from..]);
        self.at = last;
    }

    /// Takes the one `frame` of the record behind [`at`](Self::at).
    pub(crate) fn push(&mut self, frame: &[u8], mut at_edge: impl FnMut(Seq, ActivityHash)) {
        self.hasher.update(frame);
        let next = self.at.next();
        if ends_window(next) {
            self.turn(next, &mut at_edge);
        }
        self.at = next;
    }

    fn turn(&mut self, end: Seq, at_edge: &mut impl FnMut(Seq, ActivityHash)) {
        self.start = ActivityHash(*self.hasher.finalize().as_bytes());
        self.hasher.reset();
        self.hasher.update(&self.start.0);
        at_edge(end, self.start);
    }
}
