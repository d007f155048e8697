//! The primitives of everything here that threads share, from one place: the standard library's,
//! or loom's under `--cfg crankcase_loom`, so that models run the production code.
//!
//! The cfg is the project's own because `RUSTFLAGS` reach every dependency, and many of them react
//! to `--cfg loom`. Code that uses this module knows neither rayon nor fjall.

#[cfg(crankcase_loom)]
mod modelled;

#[cfg(crankcase_loom)]
pub(crate) use loom::sync::{
    Condvar, Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU64, Ordering, fence},
};
#[cfg(crankcase_loom)]
pub(crate) use modelled::{Baton, BatonGuard, Queue};
#[cfg(not(crankcase_loom))]
pub(crate) use std::sync::{
    Condvar, Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU64, Ordering, fence},
};

/// A lock that is mostly tried and seldom waited for. A model gives it no more order than its
/// acquire and its release: `sync/modelled.rs`.
#[cfg(not(crankcase_loom))]
pub(crate) use std::sync::{Mutex as Baton, MutexGuard as BatonGuard};

use std::sync::PoisonError;

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

/// A queue with many producers, and consumers that never block on it.
///
/// In production it is a crossbeam channel; loom knows nothing of those, so a model runs over a
/// weaker queue of the same order: `sync/modelled.rs`.
#[cfg(not(crankcase_loom))]
pub(crate) struct Queue<T> {
    sender: crossbeam_channel::Sender<T>,
    receiver: crossbeam_channel::Receiver<T>,
}

#[cfg(not(crankcase_loom))]
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
