//! What a model runs over where production uses a primitive that loom or shuttle does not know, or
//! loom knows too well.
//!
//! Each of them is as weak as its name allows and weaker than what production uses, so that a
//! protocol that holds here holds there, and one that lacks a fence does not hold here. Each step
//! is one access to an atomic of the tool's, so it sees every dependency between threads; the values
//! behind it lie in locks of the standard library, which are never contended.

#[cfg(crankcase_loom)]
mod baton;

use std::collections::VecDeque;
use std::sync::PoisonError;

#[cfg(crankcase_loom)]
pub(crate) use baton::{Baton, BatonGuard};

use super::{AtomicU64, Ordering};

/// A channel. Other threads may come in before an item is in it, and before one is looked for.
pub(super) struct Channel<T> {
    sent: AtomicU64,
    items: std::sync::Mutex<VecDeque<T>>,
}

impl<T> Channel<T> {
    pub(super) fn new() -> Self {
        Self {
            sent: AtomicU64::new(0),
            items: std::sync::Mutex::new(VecDeque::new()),
        }
    }

    fn items(&self) -> std::sync::MutexGuard<'_, VecDeque<T>> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn send(&self, item: T) {
        self.sent.fetch_add(1, Ordering::Release);
        self.items().push_back(item);
    }

    pub(super) fn receive(&self) -> Option<T> {
        self.sent.load(Ordering::Acquire);
        self.items().pop_front()
    }
}
