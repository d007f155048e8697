//! Handing over what has gathered: groups to the committer, frozen epochs to the checkpointer.

use std::sync::Arc;

use crankcase_journal::Durable;
use crankcase_journal::crash_points::{CrashPoint, pass};
use crankcase_vat::{Seq, mutant};

use super::Sequencer;
use crate::checkpointer::CheckpointJob;
use crate::committer::{CommitJob, Committed};
use crate::state::{EpochRows, Frozen, ThawList};

/// An epoch that is frozen and not yet in the tables.
pub(super) enum Checkpoint {
    None,
    /// Its records are not all durable.
    Frozen {
        at: Seq,
        rows: EpochRows,
        thaw: ThawList,
    },
    /// The checkpointer has it.
    Writing {
        at: Seq,
        thaw: ThawList,
    },
}

impl Sequencer {
    /// Whether a checkpoint is due.
    pub(super) fn checkpoint_due(&self) -> bool {
        matches!(self.checkpoint, Checkpoint::None)
            && (self.bytes_since_checkpoint >= self.pace.checkpoint_bytes
                || self.records_since_checkpoint >= self.pace.checkpoint_records
                || self.state.touched() >= self.pace.checkpoint_vats)
    }

    /// Hands the forming group over, with the epoch that ends with it if a checkpoint is due.
    pub(super) fn cut_group(&mut self) -> CommitJob {
        self.bytes_since_checkpoint += self.group.bytes_len() as u64;
        self.records_since_checkpoint += self.group.len() as u64;
        self.committing = Some(self.group.bytes_len());
        self.demanded = false;
        let (mut group, releases) = self.spare.pop().unwrap_or_default();
        group.reset(self.state.last().next());
        let group = std::mem::replace(&mut self.group, group);
        let releases = std::mem::replace(&mut self.releases, releases);
        if self.checkpoint_due() {
            self.freeze();
            if mutant("tables-are-ahead-of-the-log") {
                self.write_checkpoint(self.parts.durable());
            }
        }
        pass(CrashPoint::SequencerCut);
        CommitJob::Commit { group, releases }
    }

    pub(super) fn freeze(&mut self) {
        let (at, rows, thaw) = Frozen::split(self.state.freeze(self.pace.drop_below_checkpoint));
        self.checkpoint = Checkpoint::Frozen { at, rows, thaw };
        self.bytes_since_checkpoint = 0;
        self.records_since_checkpoint = 0;
        pass(CrashPoint::CheckpointFrozen);
    }

    pub(super) fn committed(&mut self, committed: Committed) {
        let Committed {
            group,
            releases,
            durable,
        } = committed;
        self.committing = None;
        pass(CrashPoint::SequencerReported);
        if self.spare.len() < 2 {
            self.spare.push((group, releases));
        }
        match durable {
            None => self.fail_waiters(),
            Some(durable) => {
                self.write_checkpoint(durable);
                // What was asked while that group was on its way, and rests on nothing newer.
                if self.group.is_empty() {
                    self.demanded = false;
                    for release in self.releases.drain(..) {
                        let wakers = release.cell.settle(Arc::new(release.outcomes));
                        self.parts.call_back(wakers);
                    }
                }
            }
        }
    }

    /// Has the frozen epoch written, once all of its records are durable.
    pub(super) fn write_checkpoint(&mut self, durable: Durable) {
        match std::mem::replace(&mut self.checkpoint, Checkpoint::None) {
            Checkpoint::Frozen { at, rows, thaw }
                if at <= durable.seq() || mutant("tables-are-ahead-of-the-log") =>
            {
                self.checkpoint = Checkpoint::Writing { at, thaw };
                // Once the checkpointer has left, the kernel is closed.
                let _ = self
                    .parts
                    .checkpoints
                    .give(CheckpointJob::Write { at, durable, rows });
            }
            other => self.checkpoint = other,
        }
    }

    pub(super) fn checkpointed(&mut self) {
        let Checkpoint::Writing { at, thaw } =
            std::mem::replace(&mut self.checkpoint, Checkpoint::None)
        else {
            return;
        };
        self.state.thaw(&thaw);
        pass(CrashPoint::CheckpointThawed);
        self.unload();
        pass(CrashPoint::CheckpointUnloaded);
        if self.pace.drop_below_checkpoint {
            // As of the checkpoint, and not as of now: what was consumed since may have been
            // consumed by a record that a crash loses.
            let floor = thaw.oldest_waiting.unwrap_or(at.next()).min(at.next());
            let _ = self.parts.commits.give(CommitJob::Retain { floor });
        }
    }

    /// Takes a step towards tables that hold everything sequenced; says whether they do. While
    /// they do not, a group or a checkpoint is on its way, and this is to be asked again.
    pub(crate) fn settle_tables(&mut self) -> bool {
        if !matches!(self.checkpoint, Checkpoint::None) || self.committing.is_some() {
            return false;
        }
        if !self.group.is_empty() {
            self.demanded = true;
            // What a stopped kernel has not committed it never will.
            return self.failed;
        }
        if self.records_since_checkpoint == 0 {
            return true;
        }
        self.freeze();
        self.write_checkpoint(self.parts.durable());
        false
    }

    /// Whether everything sequenced is durable.
    pub(crate) fn settle_log(&mut self) -> bool {
        self.demanded = true;
        let settled = self.group.is_empty() && self.committing.is_none();
        self.failed || settled || mutant("close-waits-for-no-group")
    }
}
