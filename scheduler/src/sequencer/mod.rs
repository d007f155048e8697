//! What the holder of the sequencer's role does: gives completed records their places, applies
//! them, and passes on what follows.
//!
//! The deciding is in [`State::apply`]; this is the doing: the group that is forming, the mailboxes
//! of the vats in memory, the tickets, the reorder buffer of `Dispatch` order, and the moments at
//! which a group is handed to the committer or an epoch is frozen. It never waits: what takes time
//! goes to another thread through a hand-over.

mod asked;
mod checkpoints;
mod deliveries;
mod memory;
mod reorder;
mod tickets;

use std::sync::Arc;

use crankcase_journal::crash_points::{CrashPoint, pass};
use crankcase_journal::{Group, TableSnapshot};
use crankcase_vat::{
    ActAt, Delivery, DeliveryId, LiveVat, Outcome, RecordBytes, Seq, What, mutant,
};
use rustc_hash::FxHashMap;

use crate::cell::Cell;
use crate::committer::{CommitJob, Committed, Release};
use crate::error::Poison;
use crate::gate;
use crate::housekeeper::Chore;
use crate::order::CommitOrder;
use crate::parts::Parts;
use crate::role::Duty;
use crate::state::{Audit, Delivered, Effect, JournalKind, Slot, State};
use crate::stats::Counters;
use crate::sync::Ordering;
use crate::ticket::TicketCell;

pub(crate) use deliveries::{Parked, delivery_of};
pub(crate) use tickets::EntryTicket;
#[cfg(feature = "testing")]
pub(crate) use {memory::load_of, tickets::Tickets};

use checkpoints::Checkpoint;
pub(crate) use memory::InMemory;
use reorder::Reorder;
use tickets::Done;
#[cfg(not(feature = "testing"))]
use tickets::Tickets;

/// A crank's record, on its way to its place.
pub(crate) struct CrankItem {
    pub(crate) slot: Slot,
    pub(crate) record: RecordBytes,
    pub(crate) note: Option<Box<str>>,
}

/// An input's record with what waits for its outcomes, one for each entry.
pub(crate) struct InputItem {
    pub(crate) record: RecordBytes,
    pub(crate) entries: Vec<EntryTicket>,
}

/// Where a read of a vat's state finds it.
#[derive(Debug, Clone)]
pub(crate) enum FoundState {
    /// No such vat, or it has not been started.
    Nobody,
    /// Here are its bytes.
    Bytes(Vec<u8>),
    /// The tables have it, as they are now: later they may have what a later crank made of it.
    InTables(TableSnapshot),
    /// The tables have it and cannot be looked at.
    Unreadable(String),
}

/// What the holder of the role is asked to do.
pub(crate) enum Item {
    /// Sequence a crank's record.
    Crank(CrankItem),
    /// Sequence an input.
    Input(Box<InputItem>),
    /// Settle the ticket when the kernel is idle and everything is released.
    WhenIdle(Arc<TicketCell>),
    /// Someone waits for what is sequenced.
    DemandCommit,
    /// The committer has done a group.
    Committed(Box<Committed>),
    /// The checkpointer has written the epoch that was frozen.
    Checkpointed,
    /// The kernel was stopped: whoever waits is to be told.
    Poisoned,
    /// Do something that someone outside waits for.
    Call(Box<dyn FnOnce(&mut Sequencer) + Send>),
}

/// How the sequencer paces itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// Bytes in the forming group that ask for a commit.
    pub(crate) group_bytes: usize,
    /// Bytes sequenced and not durable above which nothing more is sequenced.
    pub(crate) undurable_bytes: usize,
    /// Bytes of records after which an epoch is frozen.
    pub(crate) checkpoint_bytes: u64,
    /// Records after which an epoch is frozen.
    pub(crate) checkpoint_records: u64,
    /// Changed vats after which an epoch is frozen.
    pub(crate) checkpoint_vats: usize,
    /// Vats that may stay in memory.
    pub(crate) vats_in_memory: usize,
    /// Bytes of deliveries that mailboxes may hold together.
    pub(crate) inbox_bytes: usize,
    /// Bytes of their stores that may stay in memory while their vats are idle.
    pub(crate) store_bytes: usize,
    /// Records that may wait for their turn in `Dispatch` order.
    pub(crate) reorder_records: usize,
    /// Whether groups below the checkpoint are dropped.
    pub(crate) drop_below_checkpoint: bool,
}

/// See the module's text.
pub(crate) struct Sequencer {
    parts: Arc<Parts>,
    pace: Pace,
    state: State,
    group: Group,
    releases: Vec<Release>,
    /// Vats in memory, by slot.
    cells: Vec<Option<InMemory>>,
    in_memory: usize,
    /// Bytes that one mailbox may take before deliveries stay with the journal.
    allowance: usize,
    /// Where the search for vats to unload goes on.
    unload_from: u32,
    effects: Vec<Effect>,
    runnable: Vec<Arc<Cell>>,
    ended: Vec<Arc<Cell>>,
    tickets: Tickets,
    /// Bodies of messages and watches that wait in promises.
    parked: FxHashMap<DeliveryId, Parked>,
    /// The recount, when the host asks for it.
    audit: Option<Box<Audit>>,
    reorder: Reorder,
    /// Those that wait for the kernel to be idle.
    idle_waiters: Vec<Arc<TicketCell>>,
    /// Whether someone outside waits for something in the forming group.
    demanded: bool,
    /// Bytes of the group that the committer has.
    committing: Option<usize>,
    spare: Vec<(Group, Vec<Release>)>,
    checkpoint: Checkpoint,
    bytes_since_checkpoint: u64,
    records_since_checkpoint: u64,
    was_full: bool,
    failed: bool,
    /// Groups and checkpoints that were done in this tenure.
    steps: u64,
}

/// What is left to do when the role is put down.
#[derive(Default)]
#[must_use]
pub(crate) struct After {
    run: Option<Arc<Cell>>,
    commit: Option<CommitJob>,
    announce: bool,
}

impl After {
    /// Does it.
    pub(crate) fn perform(self, parts: &Parts) {
        if let Some(cell) = self.perform_but_run(parts) {
            parts.run_queue.push(cell);
        }
    }

    /// Does it, except for the one vat that became runnable, if it is just one: a worker runs it
    /// itself.
    #[inline]
    pub(crate) fn perform_but_run(self, parts: &Parts) -> Option<Arc<Cell>> {
        if let Some(job) = self.commit {
            give_commit(parts, job);
        }
        if self.announce {
            parts.stall.announce();
        }
        self.run
    }
}

fn give_commit(parts: &Parts, job: CommitJob) {
    if let Err(CommitJob::Commit { releases, .. }) = parts.commits.give(job) {
        // The committer has left, so the kernel is closed.
        for release in releases {
            parts.call_back(release.cell.fail(parts.why_unsettled()));
        }
    }
}

impl Sequencer {
    /// A sequencer that goes on from `state`; `since` is what was recovered behind the tables.
    pub(crate) fn new(parts: Arc<Parts>, pace: Pace, state: State, since: (u64, u64)) -> Self {
        let mut group = Group::new();
        group.reset(state.last().next());
        Self {
            parts,
            pace,
            group,
            releases: Vec::new(),
            cells: Vec::new(),
            in_memory: 0,
            allowance: pace.inbox_bytes,
            unload_from: 0,
            effects: Vec::new(),
            runnable: Vec::new(),
            ended: Vec::new(),
            tickets: Tickets::default(),
            parked: FxHashMap::default(),
            audit: None,
            reorder: Reorder::default(),
            idle_waiters: Vec::new(),
            demanded: false,
            committing: None,
            spare: Vec::new(),
            checkpoint: Checkpoint::None,
            records_since_checkpoint: since.0,
            bytes_since_checkpoint: since.1,
            was_full: false,
            failed: false,
            steps: 0,
            state,
        }
    }

    /// Has everything recounted from now on.
    pub(crate) fn audit(&mut self, audit: Audit) {
        self.audit = Some(Box::new(audit));
    }

    /// Sequences one record.
    #[inline]
    fn sequence(&mut self, record: &RecordBytes) -> Option<Seq> {
        let seq = match self.state.apply(record, &mut self.effects) {
            Ok(seq) => seq,
            Err(why) => {
                self.fail(Poison::Contradiction(why.to_string()));
                return None;
            }
        };
        pass(CrashPoint::SequencerApplied);
        if let Some(audit) = &mut self.audit
            && let Err(difference) = audit.check(seq, record, &self.state)
        {
            let why = format!("record {seq}, recounted: {difference}");
            self.fail(Poison::Contradiction(why));
            return None;
        }
        let placed = self.group.push(record);
        assert_eq!(placed, seq, "the group and the state count records alike");
        self.parts.watermarks.sequence(seq);
        pass(CrashPoint::SequencerGrouped);
        Some(seq)
    }

    fn sequence_crank(&mut self, item: CrankItem) {
        let Some(seq) = self.sequence(&item.record) else {
            return;
        };
        if let Some(note) = &item.note {
            self.group.push_note(seq, note.to_string());
        }
        Counters::add(&self.parts.counters.cranks, 1);
        self.perform(item.record);
    }

    /// Sequences an input and registers what waits for it.
    pub(crate) fn sequence_input(&mut self, input: InputItem) {
        if self.failed {
            return self.refuse(input);
        }
        let seq = self.state.last().next();
        // Registered first: a delivery to nobody is answered by the record itself.
        for entry in input.entries {
            if let Some(done) = self.tickets.register(seq, entry, &mut self.releases) {
                self.entry_done(&done);
            }
        }
        if self.sequence(&input.record).is_some() {
            Counters::add(&self.parts.counters.inputs, 1);
            self.perform(input.record);
        }
    }

    fn refuse(&self, input: InputItem) {
        for entry in input.entries {
            for cell in entry.cells {
                self.parts.call_back(cell.fail(self.parts.why_unsettled()));
            }
            self.parts
                .call_back(self.parts.admission.leave(entry.bytes));
        }
    }

    /// Does what follows from the record that was just applied.
    #[inline]
    fn perform(&mut self, record: RecordBytes) {
        let mut effects = std::mem::take(&mut self.effects);
        // Most records have one message and nothing else follow, which may have the record then: to
        // count who shares it costs as much as half of what is done here.
        match effects.pop() {
            Some(Effect::Deliver {
                slot,
                head,
                what: Delivered::Message { at },
            }) => {
                if !effects.is_empty() {
                    self.perform_all(effects.drain(..), &record);
                }
                let act = ActAt { record, span: at };
                self.deliver(slot, Delivery::new(head, What::Act(act)));
            }
            Some(last) => {
                effects.push(last);
                self.perform_all(effects.drain(..), &record);
            }
            None => {}
        }
        self.effects = effects;
        pass(CrashPoint::SequencerPerformed);
    }

    fn perform_all(&mut self, effects: impl Iterator<Item = Effect>, record: &RecordBytes) {
        for effect in effects {
            match effect {
                Effect::Deliver {
                    slot,
                    head,
                    what: Delivered::Message { at },
                } => self.deliver(slot, Delivery::new(head, What::Act(at.of(record)))),
                rarer => self.perform_rarer(rarer, record),
            }
        }
    }

    /// Does what does not follow from every record.
    #[inline(never)]
    fn perform_rarer(&mut self, effect: Effect, record: &RecordBytes) {
        match effect {
            Effect::Deliver { slot, head, what } => {
                let Some(delivery) = delivery_of(head, what, record, &mut self.parked) else {
                    let why = format!("the body of delivery {} is not kept", head.id());
                    return self.fail(Poison::Contradiction(why));
                };
                self.deliver(slot, delivery);
            }
            Effect::Park { delivery, time, at } => {
                let act = at.of(record);
                self.parked.insert(delivery, Parked { act, time });
            }
            Effect::Unpark { delivery } => drop(self.parked.remove(&delivery)),
            Effect::Answer { delivery, outcome } => self.answer(delivery, outcome),
            Effect::Born {
                slot,
                id,
                number,
                kind,
            } => {
                let JournalKind { name, version, .. } = &self.state.kinds()[usize::from(kind)];
                match self.parts.crank.kinds.get_version(name, *version) {
                    Some(kind) => {
                        let live = LiveVat::unborn(id, number, Arc::clone(kind));
                        self.put_cell(Cell::born(slot, live));
                    }
                    None => {
                        let why =
                            format!("vat {id} is of the unknown kind {name:?} (version {version})");
                        self.fail(Poison::Contradiction(why));
                    }
                }
            }
            Effect::Ended { slot } => {
                self.end(slot);
                pass(CrashPoint::CleanUpEnded);
            }
        }
    }

    #[inline]
    fn answer(&mut self, delivery: DeliveryId, outcome: Outcome) {
        let done = self.tickets.answer(delivery, outcome, &mut self.releases);
        if let Some(done) = done {
            self.entry_done(&done);
        }
    }

    /// Every outcome of an entry is known: its room is free.
    fn entry_done(&mut self, done: &Done) {
        self.demanded |= done.waited;
        self.parts.call_back(self.parts.admission.leave(done.bytes));
    }

    fn is_idle(&self) -> bool {
        match self.state.order() {
            CommitOrder::Completion => self.state.waiting() == 0,
            // Without an open run nothing more is sequenced, whatever waits.
            CommitOrder::Dispatch => self.state.open_run().is_none(),
        }
    }

    /// The state, for whoever holds the role.
    pub(crate) const fn state(&self) -> &State {
        &self.state
    }

    /// Vats in memory.
    pub(crate) const fn in_memory(&self) -> usize {
        self.in_memory
    }

    /// In `Dispatch` order, sequences every record whose turn has come, while a run is open.
    fn take_turns(&mut self) {
        while !self.failed && !self.is_full() && self.state.open_run().is_some() {
            let Some((_, slot)) = self.state.turn() else {
                break;
            };
            let Some(item) = self.reorder.pop(slot) else {
                break;
            };
            self.sequence_crank(item);
        }
        self.move_gate();
    }

    /// Closes the gate while too many records wait for their turn, for all but the vat whose turn
    /// it is and that has not run, and lets in those that were turned away and may pass.
    fn move_gate(&mut self) {
        let closed = self.reorder.len() >= self.pace.reorder_records;
        if !closed && self.parts.gate.is_open() {
            return;
        }
        let only = match self.state.turn() {
            // It waits for a run or for the disk, and running on would help nobody.
            Some((_, slot)) if closed && self.reorder.has(slot) => gate::SHUT,
            Some((_, slot)) if closed => slot.index() as u64,
            _ => gate::OPEN,
        };
        let runnable = &mut self.runnable;
        self.parts.gate.move_to(only, |cell| runnable.push(cell));
    }

    /// Someone waits for what is sequenced. When all of that is durable or on its way, there is
    /// nothing to hurry: a demand that came late would have the next input committed without the
    /// crank that answers it.
    pub(super) fn demand(&mut self) {
        self.demanded |= !self.group.is_empty() || !self.releases.is_empty();
    }

    /// Stops the kernel because of what was found here.
    fn fail(&mut self, why: Poison) {
        self.parts.poison(why);
        self.fail_waiters();
    }

    /// Tells everyone who waits that the kernel has stopped.
    pub(crate) fn fail_waiters(&mut self) {
        self.failed = true;
        let why = self.parts.why_unsettled();
        let waiting = self.tickets.drain();
        let released = self.releases.drain(..).map(|release| release.cell);
        for cell in waiting
            .into_iter()
            .chain(released)
            .chain(self.idle_waiters.drain(..))
        {
            self.parts.call_back(cell.fail(why.clone()));
        }
    }

    /// Opens a run, with the inputs that waited for it (`Dispatch` order), and has `done` settle
    /// when it is spent or the kernel is idle, and all is released.
    pub(crate) fn run(&mut self, input: Option<InputItem>, done: Arc<TicketCell>) {
        if let Some(input) = input {
            self.sequence_input(input);
        }
        self.take_turns();
        self.accept(Item::WhenIdle(done));
    }
}

impl Duty for Sequencer {
    type Item = Item;
    type After = After;

    #[inline]
    fn accept(&mut self, item: Item) {
        match item {
            Item::Crank(item) => {
                if self.failed {
                    return;
                }
                match self.state.order() {
                    CommitOrder::Dispatch if !mutant("dispatch-takes-who-comes") => {
                        self.reorder.push(item);
                        self.take_turns();
                    }
                    _ => self.sequence_crank(item),
                }
            }
            Item::Input(input) => {
                self.sequence_input(*input);
                if self.state.order() == CommitOrder::Dispatch {
                    self.take_turns();
                }
            }
            Item::WhenIdle(cell) => {
                if self.failed {
                    self.parts.call_back(cell.fail(self.parts.why_unsettled()));
                } else {
                    self.idle_waiters.push(cell);
                }
            }
            Item::DemandCommit => self.demand(),
            Item::Committed(committed) => {
                self.steps += 1;
                self.committed(*committed);
                if self.state.order() == CommitOrder::Dispatch {
                    self.take_turns();
                }
            }
            Item::Checkpointed => {
                self.steps += 1;
                self.checkpointed();
                // It may have been what everything waited for, as a commit may.
                if self.state.order() == CommitOrder::Dispatch {
                    self.take_turns();
                }
            }
            Item::Poisoned if mutant("poison-tells-nobody") => {}
            Item::Poisoned => self.fail_waiters(),
            Item::Call(call) => call(self),
        }
    }

    #[cold]
    fn broken(&mut self) {
        if !self.failed {
            self.fail(Poison::Panic(
                "the holder of the sequencer's role".to_owned(),
            ));
        }
    }

    #[inline]
    fn is_full(&self) -> bool {
        // A kernel that has stopped refuses whatever comes, and has nothing to wait for.
        let forming = if self.group.is_empty() {
            0
        } else {
            self.group.bytes_len()
        };
        let undurable = forming + self.committing.unwrap_or(0) > self.pace.undurable_bytes;
        // While the tables are slower than the log, what is to go into them next must not grow
        // without bound.
        let unwritten = !matches!(self.checkpoint, Checkpoint::None)
            && self.bytes_since_checkpoint > self.pace.checkpoint_bytes.saturating_mul(2);
        (undurable || unwritten) && !self.failed
    }

    #[inline]
    fn finish(&mut self) -> After {
        let mut after = After::default();
        let idle = self.is_idle();
        if idle && !self.idle_waiters.is_empty() {
            for cell in std::mem::take(&mut self.idle_waiters) {
                self.release(Release {
                    cell,
                    outcomes: Vec::new(),
                });
                self.demanded = true;
            }
        }
        if self.group.is_empty() && self.releases.is_empty() {
            // Nothing waits that a commit could release. A demand that stayed would have the next
            // input committed without the crank that answers it.
            self.demanded = false;
        }
        if self.committing.is_none()
            && !self.failed
            && !self.group.is_empty()
            && (idle
                || self.demanded
                || self.group.bytes_len() >= self.pace.group_bytes
                || self.is_full())
        {
            after.commit = Some(self.cut_group());
        }
        match self.runnable.len() {
            0 => {}
            1 => after.run = self.runnable.pop(),
            _ => self.parts.run_queue.push_all(self.runnable.drain(..)),
        }
        if !self.ended.is_empty() || self.state.has_remains() {
            let cells = std::mem::take(&mut self.ended);
            let remains = self.state.take_remains();
            let _ = self.parts.chores.give(Chore::Drop(cells, remains));
        }
        let full = self.is_full();
        let steps = std::mem::take(&mut self.steps);
        self.parts.steps.fetch_add(steps, Ordering::SeqCst);
        after.announce =
            self.was_full && !full || steps > 0 && self.parts.closing.load(Ordering::SeqCst);
        self.was_full = full;
        after
    }
}
