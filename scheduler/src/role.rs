//! The sequencer's role: one duty, done by whoever is there.
//!
//! # The protocol
//!
//! A [`Role`] guards a [`Duty`] that must be done by one thread at a time, item by item. No thread
//! owns it: a thread that has an item tries to take the role and does the item in place; when the
//! role is taken, it leaves the item in a queue for the holder. A hop to a thread of its own costs
//! microseconds, and this costs a tenth of one.
//!
//! * **Submitter.** Try the lock. *Taken by us*: work off what is queued, then do our own item.
//!   *Taken by another*: push the item; then look once more, as a putter-down does.
//! * **Putting down.** Unlock; then look: if something is queued, try the lock again and work it
//!   off. Whoever fails to get the lock leaves it to the holder, who looks after unlocking.
//! * **Full.** A duty may say that it takes no more ordinary items for now. They then stay queued
//!   and nobody looks for them, until an *urgent* item changes that. Urgent items pass the others
//!   and are done whether it is full or not.
//!
//! # Why no item is left lying
//!
//! The danger is a store and a load on each of two threads: the pusher stores its item and loads
//! the lock; the holder stores the lock (free) and loads the queue. Were both loads to see the old
//! values, the item would stay. Both sides have a sequentially consistent fence between their
//! store and their load, so at least one sees the other's. The same argument covers `full`, which
//! is stored before the lock is freed and loaded after the fence.
//!
//! # Order
//!
//! Items of one submitter are done in the order in which it submits them: an item is done in place
//! only when the queue was seen empty under the lock, and is queued behind the others if not. The
//! same holds for items that are handed from thread to thread, because a hand-over happens after
//! the push.
//!
//! `loom-tests/` models all of this with the production code, and with a mutant that forgets to
//! look again.

use std::sync::{PoisonError, TryLockError};

use crankcase_vat::mutant;

use crate::sync::{AtomicBool, Baton, BatonGuard, Ordering, Queue, fence};

/// What the holder of a role does.
pub trait Duty {
    /// What it is done to.
    type Item;
    /// What is left to be done outside the role, for each tenure.
    type After;

    /// Does one item.
    fn accept(&mut self, item: Self::Item);

    /// Whether ordinary items must wait.
    fn is_full(&self) -> bool;

    /// The last holder panicked in the middle of an item: nothing may be done any more but to say
    /// so to whoever waits.
    fn broken(&mut self) {}

    /// Ends a tenure: what remains to be done once the role is put down.
    fn finish(&mut self) -> Self::After;
}

/// Items that one tenure takes from the queue before the role is put down once, so that a holder
/// does not work for the others for ever.
#[cfg(not(crankcase_loom))]
const STRETCH: usize = 256;
#[cfg(crankcase_loom)]
const STRETCH: usize = 2;

/// A duty and the items that wait for it.
pub struct Role<D: Duty> {
    /// Touched by the holder only.
    duty: Baton<D>,
    urgent: Queue<D::Item>,
    ordinary: Queue<D::Item>,
    /// Whether ordinary items wait for an urgent one: written by the holder before it unlocks.
    full: AtomicBool,
}

impl<D: Duty> Role<D> {
    /// A role that nobody holds.
    pub fn new(duty: D) -> Self {
        Self {
            duty: Baton::new(duty),
            urgent: Queue::new(),
            ordinary: Queue::new(),
            full: AtomicBool::new(false),
        }
    }

    /// Has an item done, here or by the holder. Calls `after` at the end of each tenure of this
    /// thread, when the role is put down.
    #[inline]
    pub fn submit(&self, item: D::Item, after: &mut impl FnMut(D::After)) {
        match self.try_take() {
            Some(mut duty) => {
                let emptied = self.work_off(&mut duty);
                if emptied && !duty.is_full() {
                    duty.accept(item);
                } else {
                    self.ordinary.push(item);
                }
                self.put_down(duty, after);
            }
            None => self.ordinary.push(item),
        }
        self.look_again(after);
    }

    /// Has an item done before the ordinary ones, and even when the duty is full.
    pub fn submit_urgent(&self, item: D::Item, after: &mut impl FnMut(D::After)) {
        self.urgent.push(item);
        self.look_again(after);
    }

    /// Whether ordinary items wait for an urgent one.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// Takes the role, waiting for it, for something that is not an item. Not for threads that
    /// run cranks.
    pub fn with<R>(&self, act: impl FnOnce(&mut D) -> R, after: &mut impl FnMut(D::After)) -> R {
        let mut duty = self.duty.lock().unwrap_or_else(|poisoned| {
            let mut duty = PoisonError::into_inner(poisoned);
            duty.broken();
            duty
        });
        let result = act(&mut duty);
        self.put_down(duty, after);
        self.look_again(after);
        result
    }

    #[inline]
    fn try_take(&self) -> Option<BatonGuard<'_, D>> {
        match self.duty.try_lock() {
            Ok(duty) => Some(duty),
            Err(TryLockError::Poisoned(poisoned)) => {
                let mut duty = poisoned.into_inner();
                duty.broken();
                Some(duty)
            }
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Does queued items, a stretch at most; says whether the queue of ordinary items was seen
    /// empty.
    #[inline]
    fn work_off(&self, duty: &mut D) -> bool {
        // The common case: nobody was in the way, so nothing is queued.
        if self.urgent.is_empty() && self.ordinary.is_empty() {
            return true;
        }
        for _ in 0..STRETCH {
            if let Some(item) = self.urgent.pop() {
                duty.accept(item);
            } else if duty.is_full() {
                return false;
            } else if let Some(item) = self.ordinary.pop() {
                duty.accept(item);
            } else {
                return true;
            }
        }
        false
    }

    #[inline]
    fn put_down(&self, mut duty: BatonGuard<'_, D>, after: &mut impl FnMut(D::After)) {
        self.full.store(duty.is_full(), Ordering::Relaxed);
        let left = duty.finish();
        drop(duty);
        after(left);
    }

    /// Makes sure that what is queued has a holder; see the module's text.
    #[inline]
    fn look_again(&self, after: &mut impl FnMut(D::After)) {
        loop {
            // Pairs with itself on the other side: pusher against putter-down. Checked by
            // `loom-tests/tests/role.rs`, `two_submitters_of_one_item_each_lose_none`.
            if !mutant("role-no-fence") {
                fence(Ordering::SeqCst);
            }
            let waiting = !self.urgent.is_empty()
                || (!self.full.load(Ordering::Relaxed) && !self.ordinary.is_empty());
            if !waiting || mutant("role-no-second-look") {
                return;
            }
            let Some(mut duty) = self.try_take() else {
                return;
            };
            self.work_off(&mut duty);
            self.put_down(duty, after);
        }
    }
}
