//! The checkpointer: the thread that writes the tables. It brings them up to a frozen epoch, and when
//! there is none, it sweeps.

use crankcase_journal::crash_points::{CrashPoint, pass};
use crankcase_journal::{Checkpointer, Durable};
use crankcase_vat::Seq;

use crate::error::Poison;
use crate::hand_over::Taken;
use crate::parts::Parts;
use crate::role::Role;
use crate::sequencer::{Item, Sequencer};
use crate::state::EpochRows;
use crate::stats::Counters;
use crate::sweep::Sweep;
use crate::sync::mpsc;

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
    let mut sweep = Sweep::new();
    loop {
        match parts.checkpoints.take_until(sweep.due()) {
            Taken::Closed => return,
            Taken::TimeUp => {
                if let Err(why) = sweep.step(parts, &mut checkpointer) {
                    stop(parts, role, why);
                }
            }
            Taken::Work(CheckpointJob::Write { at, durable, rows }) => {
                pass(CrashPoint::CheckpointTaken);
                match checkpointer.write(at, &durable, rows.into_batch()) {
                    Ok(()) => {
                        Counters::add(&parts.counters.checkpoints, 1);
                        sweep.look_again();
                        role.submit_urgent(Item::Checkpointed, &mut |after| after.perform(parts));
                    }
                    Err(error) => stop(parts, role, error.to_string()),
                }
            }
            Taken::Work(CheckpointJob::Close { done }) => {
                drop(checkpointer);
                let _ = done.send(());
                return;
            }
        }
    }
}

fn stop(parts: &Parts, role: &Role<Sequencer>, why: String) {
    parts.poison(Poison::Checkpoint(why));
    role.submit_urgent(Item::Poisoned, &mut |after| after.perform(parts));
}
