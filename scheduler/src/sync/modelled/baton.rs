//! A lock whose unlocking is a step of its own.

use std::ops::{Deref, DerefMut};
use std::sync::{LockResult, PoisonError, TryLockError, TryLockResult};

use crate::sync::{AtomicBool, Ordering};

/// A lock whose unlocking is a plain release store.
///
/// Loom's own mutex has no step for unlocking, so no load of the thread that unlocks can pass it;
/// the race between putting a role down and leaving an item would be invisible.
pub(crate) struct Baton<T> {
    taken: AtomicBool,
    value: std::sync::Mutex<T>,
}

/// Who holds the baton.
pub(crate) struct BatonGuard<'a, T> {
    taken: &'a AtomicBool,
    /// There until the guard is dropped.
    value: Option<std::sync::MutexGuard<'a, T>>,
}

impl<T> Baton<T> {
    pub(crate) fn new(value: T) -> Self {
        Self {
            taken: AtomicBool::new(false),
            value: std::sync::Mutex::new(value),
        }
    }

    pub(crate) fn try_lock(&self) -> TryLockResult<BatonGuard<'_, T>> {
        let took = self
            .taken
            .compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed)
            .is_ok();
        if !took {
            return Err(TryLockError::WouldBlock);
        }
        let value = self.value.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(BatonGuard {
            taken: &self.taken,
            value: Some(value),
        })
    }

    pub(crate) fn lock(&self) -> LockResult<BatonGuard<'_, T>> {
        loop {
            if let Ok(guard) = self.try_lock() {
                return Ok(guard);
            }
            loom::thread::yield_now();
        }
    }
}

impl<T> Deref for BatonGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value
            .as_ref()
            .expect("the value is let go of in drop only")
    }
}

impl<T> DerefMut for BatonGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.value
            .as_mut()
            .expect("the value is let go of in drop only")
    }
}

impl<T> Drop for BatonGuard<'_, T> {
    fn drop(&mut self) {
        self.value = None;
        // After a failed assertion loom is gone, and a second panic would hide the first.
        if !std::thread::panicking() {
            self.taken.store(false, Ordering::Release);
        }
    }
}
