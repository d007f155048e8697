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

/// A queue whose consumers may see it shorter than it is, until something orders them after the
/// push. One consumer at a time pops, as under a role.
pub(crate) struct Queue<T> {
    len: AtomicU64,
    items: std::sync::Mutex<VecDeque<T>>,
}

impl<T> Queue<T> {
    pub(crate) fn new() -> Self {
        Self {
            len: AtomicU64::new(0),
            items: std::sync::Mutex::new(VecDeque::new()),
        }
    }

    fn items(&self) -> std::sync::MutexGuard<'_, VecDeque<T>> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn push(&self, item: T) {
        self.len.fetch_add(1, Ordering::Release);
        self.items().push_back(item);
    }

    pub(crate) fn pop(&self) -> Option<T> {
        if self.len.load(Ordering::Relaxed) == 0 {
            return None;
        }
        self.len.fetch_sub(1, Ordering::Acquire);
        self.items().pop_front()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len.load(Ordering::Relaxed) == 0
    }
}
