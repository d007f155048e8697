//! What the seed decides: which crank runs next, which record gets the next place, when a group
//! becomes durable, what a checkpoint writes and when, which vat leaves memory, when it all crashes.
//!
//! The deciding of the kernel is the kernel's own: `State`, `LiveVat::run`, the journal in memory, the
//! recovery of `open`. Only the threads are missing, and what they would have left to chance is drawn
//! here.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crankcase_journal::{
    ActivityHash, Checkpointer, Committer, Durability, Group, Groups, Identity, Opened, ReadError,
    Settings, TableView, Tables,
};
use crankcase_vat::{RecordBytes, Seq, Shared, Time, VatId, Workspace};

use super::look::Look;
use super::luck::Luck;
use super::options::{Failure, Options};
use crate::cell::Cell;
use crate::committer::Release;
use crate::error::{Poison, WaitError};
use crate::explain::Question;
use crate::housekeeper::load_vat;
use crate::inspect::RecordView;
use crate::kernel::Waiting;
use crate::order::CommitOrder;
use crate::reads::KindAndVersion;
use crate::recovery::{Bodies, recover};
use crate::replay::Replay;
use crate::sequencer::{InputItem, Tickets, load_of};
use crate::state::{Audit, EpochRows, Slot, State, ThawList, first_difference};
use crate::stores::{HasTables, StoreTables};
use crate::ticket::TicketCell;
use crate::workbench::Workbench;

/// A law, as a host states it.
pub(super) type Law = Box<dyn FnMut(&Look<'_>) -> Result<(), Box<dyn std::error::Error>>>;

/// A crank's record that has no place yet, with what a panic said.
type Left = (RecordBytes, Option<String>);

/// Cranks of one vat that may have run ahead of their places.
const AHEAD: usize = 6;

/// The tables of the journal in memory, as stores read them.
struct Rows {
    tables: Arc<Tables>,
    checkpoints: Arc<AtomicU64>,
}

impl HasTables for Rows {
    fn look<R>(
        &self,
        look: impl FnOnce(&TableView) -> Result<R, ReadError>,
    ) -> Result<R, ReadError> {
        look(&self.tables.view())
    }

    fn checkpoints(&self) -> u64 {
        self.checkpoints.load(Ordering::Relaxed)
    }
}

/// How often what happens in a run, in a hundred. Each seed has its own habits: a run in which
/// nothing is ever unloaded finds other faults than one in which everything is.
struct Habits {
    run: u64,
    commit: u64,
    checkpoint: u64,
    unload: u64,
    /// Steps, at most, that happen by themselves between two calls of the host.
    alone: u64,
    store_cache_bytes: usize,
}

impl Habits {
    fn of(luck: &mut Luck) -> Self {
        let mut one = |of: [u64; 4]| of[luck.below(4) as usize];
        Self {
            run: one([20, 50, 50, 85]),
            commit: one([2, 10, 10, 40]),
            checkpoint: one([0, 3, 3, 20]),
            unload: one([0, 5, 20, 50]),
            alone: one([1, 3, 8, 30]),
            store_cache_bytes: one([0, 256, 4096, 1 << 20]) as usize,
        }
    }
}

pub(super) struct World {
    pub(super) bench: Workbench,
    committer: Committer,
    checkpointer: Checkpointer,
    groups: Groups,
    pub(super) tables: Arc<Tables>,
    checkpoints: Arc<AtomicU64>,
    /// All records that stand in the order.
    records: Vec<RecordBytes>,
    notes: BTreeMap<Seq, String>,
    /// Records of cranks that ran and have no places yet, by vat.
    ahead: BTreeMap<Slot, VecDeque<Left>>,
    tickets: Tickets,
    /// What settles when the record is durable.
    releases: VecDeque<(Seq, Release)>,
    /// An epoch that is frozen and not in the tables.
    frozen: Option<(Seq, EpochRows, ThawList)>,
    audit: Audit,
    pub(super) kept: Waiting,
    pub(super) time: u64,
    /// Vats that the host has made.
    pub(super) host_counter: u64,
    pub(super) laws: Vec<(String, Law)>,
    luck: Luck,
    habits: Habits,
    /// Drawn from by itself, so that the same seed without its crashes runs the same up to the first.
    crash_luck: Luck,
    pub(super) body_luck: Luck,
    pub(super) options: Options,
    pub(super) seed: u64,
    pub(super) steps: u64,
    pub(super) crashes: u64,
    pub(super) laws_checked: u64,
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

impl World {
    pub(super) fn new(options: &Options, seed: u64) -> Result<Self, String> {
        let settings = Settings {
            durability: Durability::None,
            ..Settings::default()
        };
        let identity = Identity {
            kernel_id: [0; 16],
            timeline: 1,
            order: options.order.code(),
            seed: options.random_seed,
        };
        let opened = crankcase_journal::open(None, &settings, &identity).map_err(text)?;
        let Opened {
            committer,
            checkpointer,
            groups,
            tables,
            ..
        } = opened;
        let mut luck = Luck::new(seed);
        let habits = Habits::of(&mut luck);
        let mut world = Self {
            bench: Workbench::new(options.order, options.shared(), Workspace::new()),
            committer,
            checkpointer,
            groups,
            tables: Arc::new(tables),
            checkpoints: Arc::default(),
            records: Vec::new(),
            notes: BTreeMap::new(),
            ahead: BTreeMap::new(),
            tickets: Tickets::default(),
            releases: VecDeque::new(),
            frozen: None,
            audit: Audit::default(),
            kept: Waiting::default(),
            time: 0,
            host_counter: 0,
            laws: Vec::new(),
            crash_luck: Luck::new(!seed),
            body_luck: Luck::new(seed.rotate_left(32) ^ 0xb0d4),
            luck,
            habits,
            options: options.clone(),
            seed,
            steps: 0,
            crashes: 0,
            laws_checked: 0,
        };
        world.bench.space = world.workspace();
        Ok(world)
    }

    fn workspace(&self) -> Workspace {
        let rows = Rows {
            tables: Arc::clone(&self.tables),
            checkpoints: Arc::clone(&self.checkpoints),
        };
        Workspace::with_tables(
            Box::new(StoreTables::of(rows)),
            self.habits.store_cache_bytes,
        )
    }

    pub(super) fn order(&self) -> CommitOrder {
        self.bench.state.order()
    }

    pub(super) fn records(&self) -> u64 {
        self.records.len() as u64
    }

    pub(super) fn hash(&self) -> ActivityHash {
        self.committer.hash()
    }

    /// The last record that a ticket or a read may have told of.
    pub(super) fn released(&self) -> Seq {
        self.committer.last()
    }

    pub(super) fn kind_of(&self, vat: VatId) -> Option<KindAndVersion> {
        let slot = self.bench.state.find(vat)?;
        let kind = &self.bench.state.kinds()[usize::from(self.bench.state.vat(slot).kind)];
        Some((kind.name.clone(), kind.version))
    }

    pub(super) fn last_record(&self) -> Option<RecordView> {
        let bytes = self.records.last()?;
        let seq = self.bench.state.last();
        RecordView::of(seq, bytes, self.notes.get(&seq).cloned()).ok()
    }

    /// Ends the run: a law is broken.
    pub(super) fn fail(&self, what: impl Into<String>) -> ! {
        std::panic::resume_unwind(Box::new(self.failure(what.into())))
    }

    pub(super) fn failure(&self, what: String) -> Failure {
        Failure {
            seed: self.seed,
            step: self.steps,
            crashes: self.crashes,
            what,
            seq: self.bench.state.last(),
            record: self.last_record(),
            limits: self.options.limits_text(),
        }
    }

    /// Gives a record its place and does what follows.
    fn sequence(&mut self, (record, note): Left) {
        let mut effects = Vec::new();
        let seq = match self.bench.state.apply(&record, &mut effects) {
            Ok(seq) => seq,
            Err(why) => self.fail(format!("a record contradicts those before it: {why}")),
        };
        drop(self.bench.state.take_remains());
        self.records.push(Arc::clone(&record));
        if let Some(note) = note {
            self.notes.insert(seq, note);
        }
        if let Err(difference) = self.audit.check(seq, &record, &self.bench.state) {
            self.fail(format!("references, recounted: {difference}"));
        }
        let mut releases = Vec::new();
        for effect in effects {
            let ended = match effect {
                crate::state::Effect::Ended { slot } => Some(slot),
                _ => None,
            };
            match self.bench.perform(effect, &record) {
                Ok(Some((delivery, outcome))) => {
                    self.tickets.answer(delivery, outcome, &mut releases);
                }
                Ok(None) => {}
                Err(why) => self.fail(why.to_string()),
            }
            if let Some(slot) = ended {
                self.ahead.remove(&slot);
            }
        }
        self.releases
            .extend(releases.into_iter().map(|release| (seq, release)));
        self.check_laws(false);
    }

    pub(super) fn check_laws(&mut self, after_crash: bool) {
        let mut laws = std::mem::take(&mut self.laws);
        for (name, law) in &mut laws {
            self.laws_checked += 1;
            let look = Look {
                world: self,
                after_crash,
            };
            if let Err(broken) = law(&look) {
                let when = if after_crash { "after a crash, " } else { "" };
                self.fail(format!("{when}the law {name:?} is broken: {broken}"));
            }
        }
        self.laws = laws;
    }

    /// Sequences an input and registers who waits for it.
    pub(super) fn input(&mut self, input: InputItem) {
        let seq = self.bench.state.last().next();
        let mut releases = Vec::new();
        for entry in input.entries {
            self.tickets.register(seq, entry, &mut releases);
        }
        self.releases
            .extend(releases.into_iter().map(|release| (seq, release)));
        self.sequence((input.record, None));
    }

    /// Has a ticket settle with the outcome of a request that is known.
    pub(super) fn attach(&mut self, id: &str, cell: Arc<TicketCell>) {
        let Some(request) = self.bench.state.request(id) else {
            return;
        };
        cell.take();
        if request.is_settled() {
            let outcomes = request.outcomes.iter().flatten().cloned().collect();
            let last = self.bench.state.last();
            self.releases.push_back((last, Release { cell, outcomes }));
        } else {
            self.tickets.attach(request, cell);
        }
    }

    /// What the kernel does by itself before the host does anything else.
    pub(super) fn go_on_alone(&mut self) {
        // Also when nothing is left to run: what is idle is committed, written and unloaded.
        for _ in 0..self.luck.below(self.habits.alone) {
            self.step();
        }
    }

    /// One thing that the seed picks; says whether a crank ran or a record got its place.
    pub(super) fn step(&mut self) -> bool {
        self.steps += 1;
        if self.options.steps.is_some_and(|most| self.steps > most) {
            std::panic::resume_unwind(Box::new(Stopped));
        }
        if let Some(every) = self.options.crash_every
            && self.crash_luck.below(every) == 0
            && self.options.crashes.is_none_or(|most| self.crashes < most)
        {
            self.crash(None);
            return true;
        }
        if self.luck.percent(self.habits.commit) {
            let some = self.luck.below(self.unsynced() + 1);
            self.commit(some);
        }
        if self.luck.percent(self.habits.checkpoint) {
            self.checkpoint();
            // Often nothing comes in between until all of it is written.
            if self.luck.percent(50) {
                self.commit_all();
                self.checkpoint();
            }
        }
        if self.luck.percent(self.habits.unload) {
            self.unload();
        }
        let run: Vec<Slot> = (self.bench.places.iter())
            .filter(|(slot, place)| {
                !place.inbox.is_empty() && self.ahead.get(slot).is_none_or(|a| a.len() < AHEAD)
            })
            .map(|(&slot, _)| slot)
            .collect();
        let ready: Vec<Slot> = match self.order() {
            CommitOrder::Completion => self.ahead.keys().copied().collect(),
            CommitOrder::Dispatch if self.bench.state.open_run().is_none() => Vec::new(),
            CommitOrder::Dispatch => (self.bench.state.turn().into_iter())
                .map(|(_, slot)| slot)
                .filter(|slot| self.ahead.contains_key(slot))
                .collect(),
        };
        let runs = match (run.is_empty(), ready.is_empty()) {
            (true, true) => return false,
            (false, false) => self.luck.percent(self.habits.run),
            (nobody, _) => !nobody,
        };
        let from = if runs { &run } else { &ready };
        let slot = from[self.luck.below(from.len() as u64) as usize];
        if runs {
            self.run(slot);
            return true;
        }
        let left = self.ahead.get_mut(&slot).and_then(VecDeque::pop_front);
        if self.ahead.get(&slot).is_some_and(VecDeque::is_empty) {
            self.ahead.remove(&slot);
        }
        if let Some(left) = left {
            self.sequence(left);
        }
        true
    }

    fn run(&mut self, slot: Slot) {
        if let Some(place) = self.bench.places.get(&slot)
            && place.live.is_none()
        {
            let cell = Cell::loading(slot, self.bench.state.vat(slot).id);
            let load = load_of(&self.bench.state, slot, &cell);
            let live = self.tables.snapshot().map_err(text).and_then(|tables| {
                let kinds = &self.bench.shared.kinds;
                load_vat(kinds, &tables, self.habits.store_cache_bytes, load)
            });
            match live {
                Ok(live) => {
                    if let Some(place) = self.bench.places.get_mut(&slot) {
                        place.live = Some(live);
                    }
                }
                Err(why) => self.fail(format!("a vat could not be loaded: {why}")),
            }
        }
        match self.bench.run(slot) {
            None => {}
            Some(Err(unread)) => self.fail(unread.to_string()),
            Some(Ok(ran)) => {
                let left = (ran.record, ran.note);
                self.ahead.entry(slot).or_default().push_back(left);
            }
        }
    }

    /// Records that have places and are not durable.
    fn unsynced(&self) -> u64 {
        self.records() - self.committer.last().get()
    }

    /// Makes the first `count` of the records durable that are not, and tells of nothing.
    fn sync(&mut self, count: u64) {
        if count == 0 {
            return;
        }
        let first = self.committer.last().next();
        let mut group = Group::new();
        group.reset(first);
        let from = first.get() as usize - 1;
        for record in &self.records[from..from + count as usize] {
            group.push(record);
        }
        if let Err(error) = self.committer.commit(&mut group) {
            self.fail(format!("the journal in memory: {error}"));
        }
    }

    /// Makes the first `count` of the records durable that are not, and tells whoever waits.
    fn commit(&mut self, count: u64) {
        self.sync(count);
        let durable = self.committer.last();
        while let Some((seq, _)) = self.releases.front()
            && *seq <= durable
            && let Some((_, release)) = self.releases.pop_front()
        {
            for waker in release.cell.settle(Arc::new(release.outcomes)) {
                waker.wake();
            }
        }
    }

    pub(super) fn commit_all(&mut self) {
        self.commit(self.unsynced());
    }

    /// A step of a checkpoint: freezes an epoch, or writes the one that is frozen if it is durable.
    fn checkpoint(&mut self) {
        match self.frozen.take() {
            None if self.records.is_empty() => {}
            None => self.frozen = Some(self.bench.state.freeze(false).split()),
            Some((at, rows, thaw)) if at <= self.committer.last() => {
                let durable = self.committer.durable();
                let written = self.checkpointer.write(at, &durable, rows.into_batch());
                if let Err(error) = written {
                    self.fail(format!("the tables in memory: {error}"));
                }
                self.checkpoints.fetch_add(1, Ordering::Relaxed);
                self.bench.state.thaw(&thaw);
                drop(self.bench.state.take_remains());
            }
            waits => self.frozen = waits,
        }
    }

    /// Takes a vat out of memory that is idle and wholly in the tables, if there is one.
    fn unload(&mut self) {
        let mut idle: Vec<Slot> = Vec::new();
        for (&slot, place) in &self.bench.places {
            if place.inbox.is_empty()
                && !self.ahead.contains_key(&slot)
                && self.bench.state.vat(slot).is_cold()
            {
                idle.push(slot);
            }
        }
        if !idle.is_empty() {
            let slot = idle[self.luck.below(idle.len() as u64) as usize];
            self.bench.places.remove(&slot);
        }
    }

    /// Loses a suffix of the order that nobody was told of: everything behind `last`, or behind a
    /// place that the seed picks.
    pub(super) fn crash(&mut self, last: Option<Seq>) {
        let (released, sequenced) = (self.released(), self.bench.state.last());
        let count = match last {
            Some(last) => last.clamp(released, sequenced).get() - released.get(),
            None => self.crash_luck.below(self.unsynced() + 1),
        };
        self.crashes += 1;
        self.sync(count);
        let last = self.committer.last();
        self.records.truncate(last.get() as usize);
        self.notes.retain(|seq, _| *seq <= last);
        self.frozen = None;
        self.ahead.clear();
        let kept = std::mem::take(&mut self.kept).entries;
        let kept = kept.into_iter().flat_map(|entry| entry.cells);
        let waited = std::mem::take(&mut self.tickets).drain();
        let untold = std::mem::take(&mut self.releases);
        let untold = untold.into_iter().map(|(_, release)| release.cell);
        for cell in waited.into_iter().chain(untold).chain(kept) {
            let poison = Poison::Commit("the simulation crashed".to_owned());
            for waker in cell.fail(WaitError::Indeterminate(poison)) {
                waker.wake();
            }
        }
        if let Err(why) = self.recover(last) {
            self.fail(format!("after a crash at {last}: {why}"));
        }
        self.check_laws(true);
    }

    /// As opening the journal does.
    fn recover(&mut self, last: Seq) -> Result<(), String> {
        let order = self.order();
        let recovered = recover(order, &self.tables, &self.groups, last).map_err(text)?;
        let bodies = Bodies::of(&recovered.state, &self.groups, u64::MAX).map_err(text)?;
        self.audit = bodies.audit(&recovered.state, &self.tables).map_err(text)?;
        let mut applied = State::new(order);
        for record in &self.records {
            applied.apply(record, &mut Vec::new()).map_err(text)?;
        }
        if let Some(difference) = first_difference(&recovered.state, &applied) {
            return Err(format!("it is not the state of a prefix: {difference}"));
        }
        self.bench.space = self.workspace();
        self.bench.state = recovered.state;
        self.host_counter = self.bench.state.host_spawned();
        self.bench.parked = bodies.parked.into_iter().collect();
        self.bench.places.clear();
        for (slot, deliveries) in bodies.deliveries {
            let place = self.bench.places.entry(slot).or_default();
            place.inbox = deliveries.into();
        }
        Ok(())
    }

    /// What holds of every run: run again from nothing, the cranks leave the same records.
    pub(super) fn check_replay(&self, shared: Shared) -> Result<(), String> {
        let mut replay = Replay::new(self.order(), shared);
        for (seq, record) in (1..).map(Seq::new).zip(&self.records) {
            if let Some(different) = replay.step(seq, record).map_err(text)? {
                return Err(format!(
                    "record {seq} is not left again by the same code: what a vat does depends on \
                     more than its state and what it is handed, or its state does not come back \
                     whole from its bytes\nin the run:\n{}\nagain:\n{}",
                    different.stored, different.now
                ));
            }
        }
        Ok(())
    }

    /// Why a ticket will never settle.
    pub(super) fn why_stuck(&self, cell: &Arc<TicketCell>) -> String {
        let missing = self.tickets.missing(cell).into_iter().take(4);
        let why = missing.map(|delivery| {
            let why = self.bench.state.explain(&Question::Delivery(delivery));
            format!("\n{why}")
        });
        format!(
            "a ticket is waited for that nothing will settle: it {}{}",
            cell.describe(),
            why.collect::<String>()
        )
    }

    pub(super) fn now(&self) -> Time {
        Time::new(self.time)
    }
}

/// The run was to take no more steps than that.
pub(super) struct Stopped;
