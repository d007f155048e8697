//! A vat's mailbox: deliveries in order, and whether someone is going to look.
//!
//! # States and who moves between them
//!
//! | state     | deliveries | who comes next                                            |
//! |-----------|------------|-----------------------------------------------------------|
//! | idle      | none       | a push makes it scheduled, and tells the pusher to run it |
//! | scheduled | any        | the one activation that was asked for takes deliveries;   |
//! |           |            | when it finds none left, the mailbox is idle again        |
//! | closed    | none       | nobody: the vat has ended, pushes are dropped             |
//!
//! All of it happens under one lock, which is held for a few instructions. The two faults that a
//! lock-free version invites (a push between "is it empty" and "it is idle", and a vat that is
//! queued and that nobody runs) cannot be written down here; the model in `loom-tests/` shows it.

use std::collections::VecDeque;

use crate::sync::{Mutex, lock};

/// What a push asks of the pusher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Pushed {
    /// Nobody was going to look: the vat must be made runnable, once.
    MakeRunnable,
    /// Someone is going to look.
    WillBeSeen,
}

/// What an activation that has run out of deliveries or of budget does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Rest {
    /// More came meanwhile: the vat goes to the back of the line.
    Again,
    /// Nothing is left: the next push makes it runnable.
    Idle,
}

struct Inner<T> {
    queue: VecDeque<T>,
    scheduled: bool,
    closed: bool,
}

/// See the module's text.
pub struct Mailbox<T>(Mutex<Inner<T>>);

impl<T> Mailbox<T> {
    /// An idle mailbox.
    pub fn new() -> Self {
        Self(Mutex::new(Inner {
            queue: VecDeque::new(),
            scheduled: false,
            closed: false,
        }))
    }

    /// A mailbox that counts as scheduled, for a vat that is being loaded: whoever loads it makes
    /// it runnable.
    pub fn scheduled() -> Self {
        let mailbox = Self::new();
        lock(&mailbox.0).scheduled = true;
        mailbox
    }

    /// Puts a delivery at the end.
    #[inline]
    pub fn push(&self, delivery: T) -> Pushed {
        let mut inner = lock(&self.0);
        if inner.closed {
            return Pushed::WillBeSeen;
        }
        inner.queue.push_back(delivery);
        if inner.scheduled {
            Pushed::WillBeSeen
        } else {
            inner.scheduled = true;
            Pushed::MakeRunnable
        }
    }

    /// Takes up to `budget` deliveries from the front.
    #[inline]
    pub fn take(&self, budget: usize, into: &mut VecDeque<T>) {
        let mut inner = lock(&self.0);
        if into.is_empty() && inner.queue.len() <= budget {
            std::mem::swap(&mut inner.queue, into);
        } else {
            let count = inner.queue.len().min(budget);
            into.extend(inner.queue.drain(..count));
        }
    }

    /// Puts back, in front, what an activation took and did not run.
    pub fn put_back(&self, untouched: &mut VecDeque<T>) {
        let mut inner = lock(&self.0);
        while let Some(delivery) = untouched.pop_back() {
            if !inner.closed {
                inner.queue.push_front(delivery);
            }
        }
    }

    /// Ends an activation.
    #[inline]
    pub fn rest(&self) -> Rest {
        let mut inner = lock(&self.0);
        if inner.queue.is_empty() {
            #[cfg(feature = "mutant-mailbox-idle-without-look")]
            {
                drop(inner);
                inner = lock(&self.0);
            }
            inner.scheduled = false;
            Rest::Idle
        } else {
            Rest::Again
        }
    }

    /// Drops what waits, and everything that comes: the vat has ended.
    pub fn close(&self) {
        let mut inner = lock(&self.0);
        inner.closed = true;
        let dropped = std::mem::take(&mut inner.queue);
        drop(inner);
        drop(dropped);
    }

    /// Whether nothing waits and nobody is going to look.
    pub fn is_idle(&self) -> bool {
        let inner = lock(&self.0);
        inner.queue.is_empty() && !inner.scheduled
    }
}
