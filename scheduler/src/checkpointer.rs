//! The checkpointer: the thread that brings the tables up to a frozen epoch.

use crankcase_journal::crash_points::{CrashPoint, pass};
use crankcase_journal::{Checkpointer, Durable, RowBatch};
use crankcase_vat::Seq;

use crate::error::Poison;
use crate::parts::Parts;
use crate::role::Role;
use crate::sequencer::{Item, Sequencer};
use crate::state::EpochRows;
use crate::state::rows::{STORES, SWEEPS};
use crate::stats::Counters;
use crate::sync::mpsc;

/// Store rows of vats that ended that one checkpoint sweeps away.
const SWEEP_ROWS: usize = 4096;

/// Work for the checkpointer.
pub(crate) enum CheckpointJob {
    /// Write the rows; `durable` proves that the log reaches `at`.
    Write {
        at: Seq,
        durable: Durable,
        rows: EpochRows,
    },
    /// Let go of the tables.
    Close { done: mpsc::Sender<()> },
}

/// Runs until the journal is closed or the kernel dropped.
pub(crate) fn run(parts: &Parts, role: &Role<Sequencer>, mut checkpointer: Checkpointer) {
    while let Some(job) = parts.checkpoints.take() {
        match job {
            CheckpointJob::Write { at, durable, rows } => {
                pass(CrashPoint::CheckpointTaken);
                let mut rows = rows.into_batch();
                let written = match sweep(parts, &mut rows) {
                    Ok(()) => checkpointer
                        .write(at, &durable, rows)
                        .map_err(|e| e.to_string()),
                    Err(error) => Err(error.to_string()),
                };
                let item = match written {
                    Ok(()) => {
                        Counters::add(&parts.counters.checkpoints, 1);
                        Item::Checkpointed
                    }
                    Err(why) => {
                        parts.poison(Poison::Checkpoint(why));
                        Item::Poisoned
                    }
                };
                role.submit_urgent(item, &mut |after| after.perform(parts));
            }
            CheckpointJob::Close { done } => {
                drop(checkpointer);
                let _ = done.send(());
                return;
            }
        }
    }
}

/// Adds the removal of some store rows of vats that ended. Their ids are never used again, so the
/// rows are unreachable, and when they go is no part of the order.
fn sweep(parts: &Parts, rows: &mut RowBatch) -> Result<(), crankcase_journal::ReadError> {
    let snapshot = parts.snapshot()?;
    let mut left = SWEEP_ROWS;
    for sweep in snapshot.prefix(SWEEPS, &[]) {
        let (vat, _) = sweep?;
        for row in snapshot.prefix(STORES, &vat) {
            if left == 0 {
                return Ok(());
            }
            left -= 1;
            rows.delete(STORES, &row?.0);
        }
        rows.delete(SWEEPS, &vat);
        pass(CrashPoint::CleanUpSwept);
    }
    Ok(())
}
