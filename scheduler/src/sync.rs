//! The primitives of everything here that threads share, from one place.
//!
//! | built with | the primitives are | so that |
//! |---|---|---|
//! | nothing else | the standard library's, crossbeam's and rayon's | |
//! | `--cfg crankcase_loom` | loom's | models run the production code of the parts in every interleaving |
//! | `--cfg crankcase_shuttle` | shuttle's | the whole kernel runs under schedules that a test chooses |
//!
//! The cfgs are the project's own because `RUSTFLAGS` reach every dependency, and many of them react
//! to `--cfg loom`. Code that uses this module knows neither rayon nor fjall.

#[cfg(any(crankcase_loom, crankcase_shuttle))]
mod modelled;
#[cfg(crankcase_shuttle)]
mod shuttled;

#[cfg(not(any(crankcase_loom, crankcase_shuttle)))]
mod production {
    pub(crate) use std::sync::{
        Condvar, Mutex, MutexGuard, OnceLock, RwLock,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence},
        mpsc,
    };
    pub(crate) use std::thread;
    pub(crate) use std::time::Instant;

    /// A lock that is mostly tried and seldom waited for. A model gives it no more order than its
    /// acquire and its release: `sync/modelled.rs`.
    pub(crate) use std::sync::{Mutex as Baton, MutexGuard as BatonGuard};
}

#[cfg(not(any(crankcase_loom, crankcase_shuttle)))]
pub(crate) use production::*;
#[cfg(not(any(crankcase_loom, crankcase_shuttle)))]
use std::thread::yield_now;

#[cfg(crankcase_loom)]
pub(crate) use loom::sync::{
    Condvar, Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU64, Ordering, fence},
};
#[cfg(crankcase_loom)]
pub(crate) use modelled::{Baton, BatonGuard};
/// A model has no clock: it takes times and never asks for one.
#[cfg(crankcase_loom)]
pub(crate) use std::time::Instant;
#[cfg(crankcase_loom)]
use {loom::thread::yield_now, modelled::Channel};

#[cfg(crankcase_shuttle)]
pub(crate) use shuttle::{
    sync::{
        Mutex, Mutex as Baton, MutexGuard, MutexGuard as BatonGuard, RwLock,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence},
        mpsc,
    },
    thread,
};
#[cfg(crankcase_shuttle)]
pub(crate) use shuttled::{Condvar, Instant, OnceLock};
#[cfg(crankcase_shuttle)]
use {modelled::Channel, shuttle::thread::yield_now};

use std::sync::PoisonError;
use std::time::Duration;

use crankcase_vat::mutant;

/// Locks. No user code ever runs under one of our locks, so a poisoned one means that a thread of
/// ours panicked between two of its own statements; the data is then as good as it was.
#[inline]
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits on a condition variable, as [`lock`] locks.
pub(crate) fn wait<'a, T>(condvar: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    condvar.wait(guard).unwrap_or_else(PoisonError::into_inner)
}

/// Waits on a condition variable of this mutex for a time; says whether it is over.
#[cfg(not(any(crankcase_loom, crankcase_shuttle)))]
pub(crate) fn wait_timeout<'a, T>(
    _: &'a Mutex<T>,
    condvar: &Condvar,
    guard: MutexGuard<'a, T>,
    time: Duration,
) -> (MutexGuard<'a, T>, bool) {
    let waited = condvar.wait_timeout(guard, time);
    let (guard, waited) = waited.unwrap_or_else(PoisonError::into_inner);
    (guard, waited.timed_out())
}

/// What a time is worth in a schedule: `sync/shuttled.rs`.
#[cfg(crankcase_shuttle)]
pub(crate) fn wait_timeout<'a, T>(
    mutex: &'a Mutex<T>,
    condvar: &Condvar,
    guard: MutexGuard<'a, T>,
    time: Duration,
) -> (MutexGuard<'a, T>, bool) {
    condvar.wait_timeout(mutex, guard, time)
}

/// A model has no clock: the time may be over at any moment, and nothing else ends the wait.
#[cfg(crankcase_loom)]
pub(crate) fn wait_timeout<'a, T>(
    mutex: &'a Mutex<T>,
    _: &Condvar,
    guard: MutexGuard<'a, T>,
    _: Duration,
) -> (MutexGuard<'a, T>, bool) {
    drop(guard);
    loom::thread::yield_now();
    (lock(mutex), true)
}

/// A queue with many producers, and one consumer at a time, as under a role.
///
/// Whether it is empty is asked several times for each crank and hardly ever denied, so its length is
/// counted beside the channel. An item is counted *before* it goes in: so none is in there without its
/// count, and none is taken on the count of another. `loom-tests/tests/role.rs`,
/// `no_item_is_passed_by_a_later_one_while_a_third_goes_in`.
pub(crate) struct Queue<T> {
    /// Never less than there are.
    len: AtomicU64,
    items: Channel<T>,
}

impl<T> Queue<T> {
    pub(crate) fn new() -> Self {
        Self {
            len: AtomicU64::new(0),
            items: Channel::new(),
        }
    }

    pub(crate) fn push(&self, item: T) {
        if mutant("queue-counts-too-late") {
            self.items.send(item);
            self.len.fetch_add(1, Ordering::Relaxed);
        } else {
            self.len.fetch_add(1, Ordering::Relaxed);
            self.items.send(item);
        }
    }

    /// Takes the first item. Waits for one that was counted and is about to go in, which is the next
    /// that its thread does.
    #[inline]
    pub(crate) fn pop(&self) -> Option<T> {
        if self.is_empty() {
            return None;
        }
        loop {
            if let Some(item) = self.items.receive() {
                self.len.fetch_sub(1, Ordering::Relaxed);
                return Some(item);
            }
            yield_now();
        }
    }

    /// Whether nothing is there or about to go in, as far as this thread can know.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len.load(Ordering::Relaxed) == 0
    }
}

/// What carries the items of a [`Queue`]. loom and shuttle know nothing of crossbeam's channel, so a
/// model runs over one of the same order: `sync/modelled.rs`.
#[cfg(not(any(crankcase_loom, crankcase_shuttle)))]
struct Channel<T> {
    sender: crossbeam_channel::Sender<T>,
    receiver: crossbeam_channel::Receiver<T>,
}

#[cfg(not(any(crankcase_loom, crankcase_shuttle)))]
impl<T> Channel<T> {
    fn new() -> Self {
        let (sender, receiver) = crossbeam_channel::unbounded();
        Self { sender, receiver }
    }

    fn send(&self, item: T) {
        assert!(
            self.sender.send(item).is_ok(),
            "the channel owns its receiver"
        );
    }

    fn receive(&self) -> Option<T> {
        self.receiver.try_recv().ok()
    }
}
