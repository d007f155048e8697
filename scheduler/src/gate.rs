//! The gate of `Dispatch` order: who may run ahead while too many records wait for their turn.
//!
//! Open, it lets everyone pass; closed, nobody but the vat whose turn it is, and not even that one
//! when it has run and waits for a place. The holder of the sequencer's role moves it, workers come to
//! it before each crank.
//!
//! # Why nobody is left outside
//!
//! A worker that was turned away looks once more, under the lock, before it leaves its vat here;
//! who moves the gate moves it first and then looks, under the lock, at who was left. So either the
//! worker sees the gate where it was moved to, or the vat is there when who moved it looks.

use crankcase_vat::mutant;

use crate::sync::{AtomicU64, Mutex, Ordering, lock};

/// What the gate says when everyone may pass.
pub const OPEN: u64 = u64::MAX;

/// What the gate says when nobody may pass.
pub const SHUT: u64 = u64::MAX - 1;

/// See the module's text.
pub struct Gate<T> {
    /// The slot of the vat that alone may pass, or [`OPEN`], or [`SHUT`]. A worker that sees it late, or
    /// before the holder of the role came to move it, runs further ahead, which no bound counts on; what
    /// must not be missed is ordered by the lock: `loom-tests/tests/gate.rs`,
    /// `nobody_is_left_outside_of_a_gate_that_is_moved`.
    only: AtomicU64,
    /// Those that were turned away, until they may pass.
    away: Mutex<Vec<(u64, T)>>,
}

impl<T> Gate<T> {
    /// An open gate.
    pub fn new() -> Self {
        Self {
            only: AtomicU64::new(OPEN),
            away: Mutex::new(Vec::new()),
        }
    }

    /// Whether the vat in that slot may run ahead of its turn.
    #[inline]
    pub fn lets_pass(&self, slot: u64) -> bool {
        let only = self.only.load(Ordering::SeqCst);
        only == OPEN || only == slot
    }

    /// Whether everyone may pass. For the holder of the role, who alone moves it.
    #[inline]
    pub fn is_open(&self) -> bool {
        self.only.load(Ordering::Relaxed) == OPEN
    }

    /// Leaves a vat that may not pass; gives it back when it may after all.
    pub fn turn_away(&self, slot: u64, vat: T) -> Option<T> {
        let mut away = lock(&self.away);
        if self.lets_pass(slot) && !mutant("turned-away-without-a-look") {
            return Some(vat);
        }
        away.push((slot, vat));
        None
    }

    /// Moves the gate, and lets in those that were turned away and may pass now. For the holder of the
    /// role.
    pub fn move_to(&self, only: u64, mut let_in: impl FnMut(T)) {
        if self.only.swap(only, Ordering::SeqCst) == only {
            return;
        }
        let mut away = lock(&self.away);
        let mut at = 0;
        while at < away.len() {
            if self.lets_pass(away[at].0) {
                let_in(away.swap_remove(at).1);
            } else {
                at += 1;
            }
        }
    }
}
