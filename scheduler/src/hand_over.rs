//! The hand-over of work to a thread that does it one piece at a time: the committer, the
//! checkpointer, the loader, the thread that calls the host back.
//!
//! The giver never waits. The taker sleeps until something is there, and is told when nothing will
//! come any more, which it hears only after it has taken everything that was given before.

use std::collections::VecDeque;

use crate::sync::{Condvar, Mutex, lock, wait};

struct Inner<T> {
    given: VecDeque<T>,
    closed: bool,
    /// Whether the taker sleeps, so that a giver that finds it awake pays nothing.
    asleep: bool,
}

/// See the module's text.
pub struct HandOver<T> {
    inner: Mutex<Inner<T>>,
    wake: Condvar,
}

impl<T> HandOver<T> {
    /// Nothing given yet.
    pub fn new() -> Self {
        let inner = Inner {
            given: VecDeque::new(),
            closed: false,
            asleep: false,
        };
        Self {
            inner: Mutex::new(inner),
            wake: Condvar::new(),
        }
    }

    /// Gives a piece of work; hands it back when the taker is gone.
    ///
    /// # Errors
    ///
    /// The work itself, once closed.
    pub fn give(&self, work: T) -> Result<(), T> {
        let mut inner = lock(&self.inner);
        if inner.closed {
            return Err(work);
        }
        inner.given.push_back(work);
        let asleep = inner.asleep;
        drop(inner);
        if asleep {
            self.wake.notify_one();
        }
        Ok(())
    }

    /// Takes the next piece, waiting for it; nothing once closed and empty.
    pub fn take(&self) -> Option<T> {
        let mut inner = lock(&self.inner);
        loop {
            if let Some(work) = inner.given.pop_front() {
                return Some(work);
            }
            if inner.closed {
                return None;
            }
            #[cfg(not(feature = "mutant-hand-over-forgets-sleeper"))]
            {
                inner.asleep = true;
            }
            inner = wait(&self.wake, inner);
            inner.asleep = false;
        }
    }

    /// Ends it because the taker is gone: nothing more can be given, and what was given comes back.
    pub fn abandon(&self) -> VecDeque<T> {
        let mut inner = lock(&self.inner);
        inner.closed = true;
        std::mem::take(&mut inner.given)
    }

    /// Ends it: what was given is still taken, nothing more can be given.
    pub fn close(&self) {
        lock(&self.inner).closed = true;
        self.wake.notify_all();
    }
}
