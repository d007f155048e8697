//! The hand-over of work to a thread that does it one piece at a time: the committer, the
//! checkpointer, the housekeeper, the thread that calls the host back.
//!
//! The giver never waits. The taker sleeps until something is there, or until a time of its choice,
//! and is told when nothing will come any more, which it hears only after it has taken everything
//! that was given before.

use std::collections::VecDeque;

use crankcase_vat::mutant;

use crate::sync::{Condvar, Instant, Mutex, lock, wait, wait_timeout};

/// What came of waiting for a piece of work.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken<T> {
    /// A piece.
    Work(T),
    /// None until the time that was given.
    TimeUp,
    /// None will come any more.
    Closed,
}

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
        match self.take_until(None) {
            Taken::Work(work) => Some(work),
            Taken::TimeUp | Taken::Closed => None,
        }
    }

    /// Takes the next piece, and waits for it no longer than until `time`, if there is one.
    pub fn take_until(&self, time: Option<Instant>) -> Taken<T> {
        let mut inner = lock(&self.inner);
        let mut late = false;
        loop {
            if let Some(work) = inner.given.pop_front() {
                return Taken::Work(work);
            }
            if inner.closed {
                return Taken::Closed;
            }
            if late {
                return Taken::TimeUp;
            }
            inner.asleep = !mutant("hand-over-forgets-sleeper");
            (inner, late) = match time {
                None => (wait(&self.wake, inner), false),
                Some(time) => {
                    let left = time.saturating_duration_since(Instant::now());
                    wait_timeout(&self.inner, &self.wake, inner, left)
                }
            };
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
