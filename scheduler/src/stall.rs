//! Where workers sleep while no more may be sequenced, and where they are woken from.

use crankcase_vat::mutant;

use crate::sync::{Condvar, Mutex, lock, wait};

/// Sleepers that wait for a condition that someone else changes and then announces.
pub struct Stall {
    lock: Mutex<()>,
    over: Condvar,
}

impl Stall {
    /// Nobody sleeps.
    pub fn new() -> Self {
        Self {
            lock: Mutex::new(()),
            over: Condvar::new(),
        }
    }

    /// Sleeps while the condition holds. It is looked at under the lock, so an announcement that
    /// follows a change is never missed.
    pub fn sleep_while(&self, holds: impl Fn() -> bool) {
        let mut guard = lock(&self.lock);
        while holds() {
            guard = wait(&self.over, guard);
        }
        drop(guard);
    }

    /// Announces that the condition may have changed.
    pub fn announce(&self) {
        if !mutant("stall-announce-without-lock") {
            drop(lock(&self.lock));
        }
        self.over.notify_all();
    }
}
