//! The workers: long-lived loops in a private rayon pool (`pool.rs`) that run cranks.
//!
//! # When they end
//!
//! * *Stopping* (close, poison): a worker ends its crank, hands the record over, drops the
//!   deliveries it had taken (they still stand in the vat's inbox in the state) and leaves.
//! * *Full*: past the bound of undurable bytes a worker that has ended a crank sleeps until the
//!   committer has made room. It never sleeps in a crank.
//!
//! # What a crank may not do to a worker
//!
//! Panics are caught around the vat's code. A crank that uses rayon inside runs its pieces on this
//! thread: the loops never return to rayon, so no other vat's crank can be stolen onto its stack,
//! and there is nothing of ours in a thread-local that such a piece could meet.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crankcase_journal::crash_points::{CrashPoint, pass};
use crankcase_vat::{Delivery, StoreUnread, Workspace};

use crate::cell::Cell;
use crate::error::Poison;
use crate::housekeeper::Chore;
use crate::mailbox::Rest;
use crate::order::CommitOrder;
use crate::parts::Parts;
use crate::pool;
use crate::role::Role;
use crate::run_queue::WATCH;
use crate::sequencer::{After, CrankItem, Item, Sequencer};
use crate::stores::StoreTables;
use crate::sync::{Instant, Ordering, lock};

/// Deliveries that one activation takes before the vat goes to the back of the line.
const BUDGET: usize = 64;

/// Above this, a crank is costly enough for a second worker to be of use.
const COSTLY: Duration = Duration::from_nanos(1500);

/// Cheap cranks are timed this many at a time.
const SAMPLE: u32 = 8;

/// For how many times as long as a step of a clean-up took there is no other. What a step leaves to
/// others costs several times what it takes here: its record is committed, its rows are deleted at
/// the next checkpoint, and the store below merges its files sooner.
const REST: u32 = 39;
/// And for no longer than that, however long it took.
const LONGEST_REST: Duration = Duration::from_millis(200);

struct Worker<'a> {
    index: usize,
    parts: &'a Parts,
    role: &'a Role<Sequencer>,
    space: Workspace,
    /// Deliveries of the vat that is running.
    taken: VecDeque<Delivery>,
    /// A vat that this worker made runnable and that nobody else knows of.
    mine: Option<Arc<Cell>>,
    clock: Clock,
}

/// How long cranks take.
struct Clock {
    since: Instant,
    cranks: u32,
    average: Duration,
}

impl Clock {
    /// Notes the end of a crank; says whether it looked at the clock.
    #[inline]
    fn tick(&mut self, parts: &Parts) -> bool {
        self.cranks += 1;
        let sample = self.cranks >= SAMPLE || self.average > COSTLY;
        if sample {
            self.sample(parts);
        }
        sample
    }

    fn sample(&mut self, parts: &Parts) {
        let now = Instant::now();
        let took = now - self.since;
        let each = took / self.cranks.max(1);
        self.average = (self.average * 7 + each) / 8;
        if took > WATCH {
            parts.run_queue.come_unstuck();
        }
        let longest = if self.cranks == 1 { each } else { took };
        let ns = u64::try_from(longest.as_nanos()).unwrap_or(u64::MAX);
        if ns > parts.counters.longest_crank_ns.load(Ordering::Relaxed) {
            parts
                .counters
                .longest_crank_ns
                .fetch_max(ns, Ordering::Relaxed);
        }
        parts
            .run_queue
            .note(u64::from(self.cranks), self.average > COSTLY);
        self.since = now;
        self.cranks = 0;
    }
}

/// Runs cranks until the kernel stops.
pub(crate) fn run(parts: &Arc<Parts>, role: &Role<Sequencer>, index: usize) {
    let stores = StoreTables::of(Arc::clone(parts));
    let mut worker = Worker {
        index,
        parts,
        role,
        space: Workspace::with_tables(Box::new(stores), parts.store_cache_bytes),
        taken: VecDeque::new(),
        mine: None,
        clock: Clock {
            since: Instant::now(),
            cranks: 0,
            average: Duration::ZERO,
        },
    };
    // Its first vat may stand in the line already.
    worker.show_running();
    while let Some(cell) = worker.next() {
        worker.activate(&cell);
    }
}

impl Worker<'_> {
    /// The vat to run next: one's own, unless others wait in line.
    #[inline]
    fn next(&mut self) -> Option<Arc<Cell>> {
        if self.parts.stopping.load(Ordering::Relaxed) {
            return None;
        }
        if let Some(mine) = self.mine.take() {
            if self.parts.run_queue.looks_empty() {
                return Some(mine);
            }
            return self.parts.run_queue.exchange(Some(mine));
        }
        if let Some(next) = self.parts.run_queue.take() {
            return Some(next);
        }
        // Pieces of a crank elsewhere in the pool are helped along before sleeping.
        pool::help_along();
        self.parts.running[self.index].store(0, Ordering::Relaxed);
        let next = self.parts.run_queue.next();
        self.clock.since = Instant::now();
        self.show_running();
        next
    }

    /// Shows since when this worker has been in its crank.
    #[inline]
    fn show_running(&self) {
        let since = (self.clock.since - self.parts.born).as_nanos();
        let since = u64::try_from(since).unwrap_or(u64::MAX).max(1);
        self.parts.running[self.index].store(since, Ordering::Relaxed);
    }

    #[inline]
    fn activate(&mut self, cell: &Arc<Cell>) {
        let mut slot = lock(&cell.live);
        let live = slot
            .as_mut()
            .expect("a vat is in memory before it is made runnable");
        let has_ended = live.has_ended();
        if has_ended && let Some(rest) = cell.take_rest() {
            drop(slot);
            // Once the housekeeper has left, the kernel is closed, and what is left stands in the
            // state.
            let _ = self.parts.chores.give(Chore::Later(rest, Arc::clone(cell)));
            return;
        }
        cell.mailbox.take(BUDGET, &mut self.taken);
        while let Some(delivery) = self.taken.pop_front() {
            if self.must_pause(cell) {
                self.taken.push_front(delivery);
                self.parts.note_store(cell, live.store_bytes());
                drop(slot);
                return self.pause(cell);
            }
            let begun = (has_ended && delivery.is_clean()).then(Instant::now);
            let ran = live.run(&delivery, &self.parts.crank, &mut self.space);
            if let Some(begun) = begun {
                pass(CrashPoint::CleanUpStep);
                self.rest_after(begun, cell);
            }
            drop(delivery);
            let finished = match ran {
                Ok(finished) => finished,
                Err(unread) => {
                    drop(slot);
                    return self.give_up(&unread);
                }
            };
            if self.clock.tick(self.parts) {
                self.show_running();
            }
            if finished.vat_ended {
                // Before its record is handed over: then the holder of the role takes it out.
                self.parts.note_store(cell, live.store_bytes());
            }
            let item = CrankItem {
                slot: cell.slot,
                record: finished.record,
                note: finished.note.map(Into::into),
            };
            self.hand_over(item);
        }
        self.parts.note_store(cell, live.store_bytes());
        drop(slot);
        match cell.mailbox.rest() {
            Rest::Idle => {}
            Rest::Again => self.keep(Arc::clone(cell)),
            Rest::Refill => {
                // Once the housekeeper has left, the kernel is closed.
                let _ = self.parts.chores.give(Chore::Refill(Arc::clone(cell)));
            }
        }
    }

    /// Stops the kernel: what the crank would have done is not known, and nothing may pass it.
    #[cold]
    fn give_up(&self, unread: &StoreUnread) {
        // A crank that outlived the closing finds no tables. Nothing of it would have counted.
        if self.parts.is_closed() {
            return;
        }
        self.parts.poison(Poison::Store {
            vat: unread.vat,
            why: unread.why.clone(),
        });
        let parts = self.parts;
        self.role
            .submit_urgent(Item::Poisoned, &mut |after| after.perform(parts));
    }

    /// Hands a record over and takes up what follows from it.
    #[inline]
    fn hand_over(&mut self, item: CrankItem) {
        let (parts, mine, more) = (self.parts, &mut self.mine, !self.taken.is_empty());
        self.role.submit(Item::Crank(item), &mut |after: After| {
            if let Some(cell) = after.perform_but_run(parts) {
                // A vat that only this worker knows of must not wait behind a long activation.
                if more || mine.is_some() || parts.run_queue.is_costly() {
                    parts.run_queue.push(cell);
                } else {
                    *mine = Some(cell);
                }
            }
        });
    }

    /// Has a vat that has ended rest before the next step of its clean-up, so that those that live
    /// have most of the machine. In `Dispatch` order others wait for its next record.
    #[cold]
    fn rest_after(&mut self, begun: Instant, cell: &Cell) {
        let took = begun.elapsed();
        if self.parts.order == CommitOrder::Completion {
            cell.rest_for((took * REST).min(LONGEST_REST));
        }
        // It says nothing of what cranks cost.
        self.clock.since = Instant::now();
        self.clock.cranks = 0;
    }

    #[inline]
    fn keep(&mut self, cell: Arc<Cell>) {
        match &self.mine {
            None => self.mine = Some(cell),
            Some(_) => self.parts.run_queue.push(cell),
        }
    }

    /// Whether no crank of this vat may start now.
    #[inline]
    fn must_pause(&self, cell: &Cell) -> bool {
        self.parts.stopping.load(Ordering::Relaxed)
            || self.role.is_full()
            || !self.parts.may_run(cell)
    }

    #[cold]
    fn pause(&mut self, cell: &Arc<Cell>) {
        let parts = self.parts;
        cell.mailbox.put_back(&mut self.taken);
        if parts.stopping.load(Ordering::SeqCst) {
            return;
        }
        if !parts.may_run(cell) {
            let slot = cell.slot.index() as u64;
            if let Some(cell) = parts.gate.turn_away(slot, Arc::clone(cell)) {
                parts.run_queue.push(cell);
            }
            return;
        }
        parts.run_queue.push(Arc::clone(cell));
        parts
            .stall
            .sleep_while(|| self.role.is_full() && !parts.stopping.load(Ordering::SeqCst));
        // The sleep was no crank.
        self.clock.since = Instant::now();
        self.clock.cranks = 0;
    }
}
