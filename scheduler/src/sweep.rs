//! Sweeping: what the tables still hold of the stores of vats that ended is removed, a bounded number
//! of rows at a time, with rests.
//!
//! Such rows are unreachable, because ids are never used again, and what they held was let go of by
//! records before (`state/ending.rs`). So when they go is no part of the order, and steps are taken
//! beside it: whenever the checkpointer has nothing else to do and has rested long enough.

use std::ops::Bound;
use std::time::Duration;

use crankcase_journal::crash_points::{CrashPoint, pass};
use crankcase_journal::{Checkpointer, ReadError, RowBatch, TableView};

use crate::parts::Parts;
use crate::state::rows::{STORES, SWEEPS};
use crate::stats::Counters;
use crate::sync::{Instant, Ordering};

/// Rows that one step removes.
const ROWS_AT_ONCE: usize = 4096;

/// For how many times as long as a step took there is no other.
const REST: u32 = 39;
/// And for no longer than that, however long it took.
const LONGEST_REST: Duration = Duration::from_secs(1);

/// See the module's text.
pub(crate) struct Sweep {
    /// When the next step is due; never while nothing is known to be left.
    due: Option<Instant>,
    /// The key of the vat with which the next step goes on; from the first one when it is empty.
    from: Vec<u8>,
}

impl Sweep {
    /// Of tables in which something may be left.
    pub(crate) fn new() -> Self {
        Self {
            due: Some(Instant::now()),
            from: Vec::new(),
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

    /// Takes a step, unless the kernel is about to stop.
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
        let begun = Instant::now();
        let mut rows = RowBatch::new();
        let stops = || parts.stopping.load(Ordering::Relaxed);
        let gathered = parts.look(|view| self.gather(view, stops, &mut rows));
        let gathered = gathered.map_err(|error| error.to_string())?;
        if !rows.is_empty() {
            checkpointer
                .write_beside(&parts.durable(), rows)
                .map_err(|error| error.to_string())?;
            Counters::add(&parts.counters.swept_rows, gathered.rows);
            pass(CrashPoint::CleanUpSwept);
        }
        if gathered.more && !stops() {
            let rest = (begun.elapsed() * REST).min(LONGEST_REST);
            self.due = Some(Instant::now() + rest);
        }
        Ok(())
    }

    /// Gathers the removal of the rows that are next, unless `stops` says that nothing should be done
    /// any more. How far a vat was swept is kept in its mark: to find it out again takes long while
    /// the store below still has the places of what went.
    fn gather(
        &mut self,
        view: &TableView,
        stops: impl Fn() -> bool,
        changes: &mut RowBatch,
    ) -> Result<Gathered, ReadError> {
        let mut rows = 0;
        let marks = (Bound::Included(&self.from[..]), Bound::Unbounded);
        for mark in view.range(SWEEPS, &[], marks, true) {
            let (vat, swept) = mark?;
            let from = match &swept[..] {
                [] => Bound::Unbounded,
                key => Bound::Excluded(key),
            };
            let mut last = None;
            for row in view.range(STORES, &vat, (from, Bound::Unbounded), true) {
                if changes.len() >= ROWS_AT_ONCE || stops() {
                    if let Some(last) = last {
                        changes.put(SWEEPS, &vat, last);
                    }
                    self.from = vat;
                    return Ok(Gathered { rows, more: true });
                }
                let (key, _) = row?;
                changes.delete(STORES, &key);
                rows += 1;
                last = Some(key[vat.len()..].to_vec());
            }
            changes.delete(SWEEPS, &vat);
            if changes.len() >= ROWS_AT_ONCE || stops() {
                self.from = vat;
                return Ok(Gathered { rows, more: true });
            }
        }
        // Vats in front of where it began may have ended since.
        let more = !self.from.is_empty();
        self.from.clear();
        Ok(Gathered { rows, more })
    }
}

/// What was gathered.
struct Gathered {
    /// Rows of stores.
    rows: u64,
    /// Whether there may be more.
    more: bool,
}
