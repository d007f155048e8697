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

#[cfg(crankcase_loom)]
pub(crate) use loom::sync::{
    Condvar, Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU64, Ordering, fence},
};
#[cfg(crankcase_loom)]
pub(crate) use modelled::{Baton, BatonGuard, Queue};
/// A model has no clock: it takes times and never asks for one.
#[cfg(crankcase_loom)]
pub(crate) use std::time::Instant;

#[cfg(crankcase_shuttle)]
pub(crate) use modelled::Queue;
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

use std::sync::PoisonError;
use std::time::Duration;

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

/// A queue with many producers, and consumers that never block on it.
///
/// In production it is a crossbeam channel; loom and shuttle know nothing of those, so a model runs
/// over a weaker queue of the same order: `sync/modelled.rs`.
#[cfg(not(any(crankcase_loom, crankcase_shuttle)))]
pub(crate) struct Queue<T> {
    sender: crossbeam_channel::Sender<T>,
    receiver: crossbeam_channel::Receiver<T>,
}

#[cfg(not(any(crankcase_loom, crankcase_shuttle)))]
impl<T> Queue<T> {
    pub(crate) fn new() -> Self {
        let (sender, receiver) = crossbeam_channel::unbounded();
        Self { sender, receiver }
    }

    #[inline]
    pub(crate) fn push(&self, item: T) {
        assert!(
            self.sender.send(item).is_ok(),
            "the queue owns its receiver"
        );
    }

    #[inline]
    pub(crate) fn pop(&self) -> Option<T> {
        self.receiver.try_recv().ok()
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.receiver.is_empty()
    }
}
