//! Sweeping: what the tables still hold of the stores of vats that ended is removed, a bounded number
//! of rows at a time, with rests.
//!
//! Such rows are unreachable, because ids are never used again, and what they held was let go of by
//! records before (`state/ending.rs`). So when they go is no part of the order, and steps are taken
//! beside it: whenever the checkpointer has nothing else to do and has rested long enough.

use std::ops::Bound;

use crankcase_journal::crash_points::{CrashPoint, pass};
use crankcase_journal::{Checkpointer, ReadError, RowBatch, TableView};

use crate::parts::Parts;
use crate::state::rows::{STORES, SWEEPS};
use crate::sync::{Instant, Ordering};

/// Rows that one step removes.
const ROWS_AT_ONCE: usize = 4096;

/// For how many times as long as a step took there is no other.
const REST: u32 = 9;

/// See the module's text.
pub(crate) struct Sweep {
    /// When the next step is due; never while nothing is known to be left.
    due: Option<Instant>,
    /// The last row that was removed, under its whole key. None of that vat's is left up to there; to
    /// find that out again takes long while the store below still has the marks of what went.
    last: Vec<u8>,
}

impl Sweep {
    /// Of tables in which something may be left.
    pub(crate) fn new() -> Self {
        Self {
            due: Some(Instant::now()),
            last: Vec::new(),
        }
    }

    /// When the next step is due.
    pub(crate) const fn due(&self) -> Option<Instant> {
        self.due
    }

    /// More vats may have ended.
    pub(crate) fn look_again(&mut self) {
        self.due.get_or_insert_with(Instant::now);
    }

    /// Takes a step, if the kernel goes on.
    ///
    /// # Errors
    ///
    /// Why the tables could not be read or written, for people.
    pub(crate) fn step(
        &mut self,
        parts: &Parts,
        checkpointer: &mut Checkpointer,
    ) -> Result<(), String> {
        self.due = None;
        if parts.stopping.load(Ordering::SeqCst) {
            return Ok(());
        }
        let begun = Instant::now();
        let mut rows = RowBatch::new();
        let more = match parts.look(|view| self.gather(view, &mut rows)) {
            Ok(more) => more,
            // Who closed the kernel did not wait for this.
            Err(_) if parts.is_closed() => return Ok(()),
            Err(error) => return Err(error.to_string()),
        };
        if !rows.is_empty() {
            checkpointer
                .write_beside(&parts.durable(), rows)
                .map_err(|error| error.to_string())?;
            pass(CrashPoint::CleanUpSwept);
        }
        if more {
            self.due = Some(Instant::now() + begun.elapsed() * REST);
        }
        Ok(())
    }

    /// Gathers the removal of the rows that are next; says whether there are more.
    fn gather(&mut self, view: &TableView, rows: &mut RowBatch) -> Result<bool, ReadError> {
        let all = (Bound::Unbounded, Bound::Unbounded);
        for sweep in view.range(SWEEPS, &[], all, true) {
            if rows.len() >= ROWS_AT_ONCE {
                return Ok(true);
            }
            let (vat, _) = sweep?;
            let from = match self.last.strip_prefix(&vat[..]) {
                Some(key) => Bound::Excluded(key),
                None => Bound::Unbounded,
            };
            for row in view.range(STORES, &vat, (from, Bound::Unbounded), true) {
                if rows.len() >= ROWS_AT_ONCE {
                    return Ok(true);
                }
                let (key, _) = row?;
                rows.delete(STORES, &key);
                self.last = key;
            }
            rows.delete(SWEEPS, &vat);
        }
        Ok(false)
    }
}
