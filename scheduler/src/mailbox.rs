//! A vat's mailbox: deliveries in order, and whether someone is going to look.
//!
//! # States and who moves between them
//!
//! | state     | deliveries | who comes next                                            |
//! |-----------|------------|-----------------------------------------------------------|
//! | idle      | none       | a push makes it scheduled, and tells the pusher to run it |
//! | scheduled | any        | the one activation that was asked for takes deliveries;   |
//! |           |            | when it finds none left, the mailbox is idle again; a vat |
//! |           |            | that ended may rest before, and the housekeeper ends that |
//! | closed    | none       | nobody: the vat has ended, pushes are dropped             |
//!
//! A mailbox holds what it may, and no more: the push that goes over is told so, and from then on
//! the pusher keeps what comes until the mailbox is filled again. It is then *behind*:
//!
//! | a mailbox that is behind | who comes next                                                  |
//! |--------------------------|-----------------------------------------------------------------|
//! | with deliveries          | the activation that was asked for, as always                    |
//! | without                  | the activation that finds that stays, and has it filled again;   |
//! |                          | whoever fills it makes it runnable                              |
//!
//! All of it happens under one lock, which is held for a few instructions. The two faults that a
//! lock-free version invites (a push between "is it empty" and "it is idle", and a vat that is
//! queued and that nobody runs) cannot be written down here; the model in `loom-tests/` shows it.

use std::collections::VecDeque;

use crankcase_vat::mutant;

use crate::sync::{Mutex, lock};

/// What a push asks of the pusher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Pushed {
    /// Nobody was going to look: the vat must be made runnable, once. Otherwise someone is.
    pub make_runnable: bool,
    /// The mailbox has what it may hold. Nothing is to be pushed until it is filled again.
    pub full: bool,
}

/// What takes room in a mailbox.
pub trait Weighs {
    /// How many bytes, about.
    fn weight(&self) -> usize;
}

/// What an activation that has run out of deliveries or of budget does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Rest {
    /// More came meanwhile: the vat goes to the back of the line.
    Again,
    /// Nothing is left: the next push makes it runnable.
    Idle,
    /// Nothing is left here, and more was kept back: it is to be filled again, which makes it
    /// runnable.
    Refill,
}

struct Inner<T> {
    queue: VecDeque<T>,
    /// The weights of what is in the queue.
    weight: usize,
    scheduled: bool,
    behind: bool,
    closed: bool,
}

/// See the module's text.
pub struct Mailbox<T>(Mutex<Inner<T>>);

impl<T: Weighs> Mailbox<T> {
    /// An idle mailbox.
    pub fn new() -> Self {
        Self(Mutex::new(Inner {
            queue: VecDeque::new(),
            weight: 0,
            scheduled: false,
            behind: false,
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

    /// Puts a delivery at the end; `most` is what may be in here before it is full.
    #[inline(always)]
    pub fn push(&self, delivery: T, most: usize) -> Pushed {
        let mut inner = lock(&self.0);
        if inner.closed {
            return Pushed {
                make_runnable: false,
                full: false,
            };
        }
        inner.weight += delivery.weight();
        inner.queue.push_back(delivery);
        let full = inner.weight > most;
        inner.behind = full;
        Pushed {
            make_runnable: !std::mem::replace(&mut inner.scheduled, true),
            full,
        }
    }

    /// Notes that more waits than what is in here.
    pub fn stay_behind(&self) {
        lock(&self.0).behind = true;
    }

    /// Fills a mailbox that is behind and whose activation waits for it; `behind` says whether it
    /// still is afterwards. The vat is to be made runnable.
    pub fn refill(&self, deliveries: impl IntoIterator<Item = T>, behind: bool) {
        let mut inner = lock(&self.0);
        if inner.closed {
            return;
        }
        for delivery in deliveries {
            inner.weight += delivery.weight();
            inner.queue.push_back(delivery);
        }
        inner.behind = behind;
    }

    /// Takes up to `budget` deliveries from the front.
    #[inline]
    pub fn take(&self, budget: usize, into: &mut VecDeque<T>) {
        let mut inner = lock(&self.0);
        if into.is_empty() && inner.queue.len() <= budget {
            std::mem::swap(&mut inner.queue, into);
            inner.weight = 0;
        } else {
            let count = inner.queue.len().min(budget);
            let inner = &mut *inner;
            for delivery in inner.queue.drain(..count) {
                inner.weight -= delivery.weight();
                into.push_back(delivery);
            }
        }
    }

    /// Puts back, in front, what an activation took and did not run.
    pub fn put_back(&self, untouched: &mut VecDeque<T>) {
        let mut inner = lock(&self.0);
        while let Some(delivery) = untouched.pop_back() {
            if !inner.closed {
                inner.weight += delivery.weight();
                inner.queue.push_front(delivery);
            }
        }
    }

    /// Ends an activation.
    #[inline]
    pub fn rest(&self) -> Rest {
        let mut inner = lock(&self.0);
        if inner.queue.is_empty() {
            if mutant("mailbox-idle-without-look") {
                drop(inner);
                inner = lock(&self.0);
            }
            if inner.behind && !inner.closed && !mutant("mailbox-rests-behind") {
                return Rest::Refill;
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
