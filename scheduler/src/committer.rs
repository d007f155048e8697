//! The committer: the one thread that makes groups durable and releases what waited for them.
//!
//! # When it ends
//!
//! * *Close*: it commits what it was given before, closes the journal and leaves.
//! * *A commit fails*: the group is indeterminate until the next open. Its tickets are told so, the
//!   kernel is poisoned, and every later job is refused in the same way.
//! * *A panic in here* would be a bug; it poisons the kernel too, so that no ticket waits for ever.

use std::sync::Arc;

use crankcase_journal::crash_points::{CrashPoint, pass};
use crankcase_journal::{CloseError, Committer, Durable, Group};
use crankcase_vat::{Outcome, Seq, mutant};

use crate::error::Poison;
use crate::parts::Parts;
use crate::role::Role;
use crate::sequencer::{Item, Sequencer};
use crate::stats::Counters;
use crate::sync::{lock, mpsc};
use crate::ticket::TicketCell;

/// A ticket that may be settled once its group is released.
pub(crate) struct Release {
    pub(crate) cell: Arc<TicketCell>,
    pub(crate) outcomes: Vec<Outcome>,
}

/// Work for the committer.
pub(crate) enum CommitJob {
    /// Make the group durable, then release.
    Commit {
        group: Group,
        releases: Vec<Release>,
    },
    /// Let go of groups below the floor.
    Retain { floor: Seq },
    /// End the incarnation.
    Close {
        done: mpsc::Sender<Result<(), CloseError>>,
    },
}

/// What the committer tells the sequencer.
pub(crate) struct Committed {
    /// The group's buffers, to be used again.
    pub(crate) group: Group,
    pub(crate) releases: Vec<Release>,
    /// Proof of what is durable; nothing when the commit failed.
    pub(crate) durable: Option<Durable>,
}

/// Runs until the journal is closed or the kernel dropped.
pub(crate) fn run(parts: &Parts, role: &Role<Sequencer>, mut committer: Committer) {
    while let Some(job) = parts.commits.take() {
        match job {
            CommitJob::Commit {
                mut group,
                mut releases,
            } => {
                std::mem::swap(&mut *parts.in_commit(), &mut releases);
                let durable = commit(parts, &mut committer, &mut group);
                // Empty now; it goes back with the group for its memory.
                std::mem::swap(&mut *parts.in_commit(), &mut releases);
                let committed = Committed {
                    group,
                    releases,
                    durable,
                };
                role.submit_urgent(Item::Committed(Box::new(committed)), &mut |after| {
                    after.perform(parts);
                });
            }
            CommitJob::Retain { floor } => match committer.retain_from(floor) {
                Ok(progress) if progress.done => {}
                Ok(_) => {
                    // A bounded number of groups went; the rest goes behind what waits meanwhile.
                    // Once nothing more can be given, the next open's first checkpoint goes on.
                    let _ = parts.commits.give(CommitJob::Retain { floor });
                }
                Err(error) => {
                    parts.poison(Poison::Commit(error.to_string()));
                    role.submit_urgent(Item::Poisoned, &mut |after| after.perform(parts));
                }
            },
            CommitJob::Close { done } => {
                // Who asked may have stopped waiting.
                let _ = done.send(committer.close());
                return;
            }
        }
    }
}

fn commit(parts: &Parts, committer: &mut Committer, group: &mut Group) -> Option<Durable> {
    let poisoned = parts.poison.get().cloned();
    if mutant("tickets-settle-before-the-sync") {
        for release in parts.in_commit().drain(..) {
            parts.call_back(release.cell.settle(Arc::new(release.outcomes)));
        }
    }
    let before = committer.syncs();
    let committed = match poisoned {
        Some(poison) => Err(poison),
        None => committer
            .commit(group)
            .map_err(|error| Poison::Commit(error.to_string())),
    };
    // All figures first: whoever is released may look at them.
    let syncs = committer.syncs();
    Counters::add(&parts.counters.group_syncs, syncs.groups - before.groups);
    Counters::add(
        &parts.counters.witness_syncs,
        syncs.witness - before.witness,
    );
    match committed {
        Ok(durable) => {
            pass(CrashPoint::CommitterDurable);
            Counters::add(&parts.counters.groups, 1);
            Counters::add(&parts.counters.group_bytes, group.bytes_len() as u64);
            *lock(&parts.durable) = durable;
            parts.watermarks.make_durable(durable.seq());
            // Nothing but this machine has to have it yet, so what is durable is released.
            parts.watermarks.release(durable.seq());
            pass(CrashPoint::CommitterReleased);
            for release in parts.in_commit().drain(..) {
                parts.call_back(release.cell.settle(Arc::new(release.outcomes)));
            }
            pass(CrashPoint::CommitterSettled);
            Some(durable)
        }
        Err(poison) => {
            parts.poison(poison);
            let releases = std::mem::take(&mut *parts.in_commit());
            parts.fail_releases(releases);
            None
        }
    }
}
