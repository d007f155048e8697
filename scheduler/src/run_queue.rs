//! The line of vats that can run, and the sleep of the workers that find it empty.
//!
//! # Who is awake
//!
//! When messages cost nothing, a second worker only gets in the way: two threads that hand a chatty
//! vat back and forth did six tenths of what one did. When a crank takes a microsecond or more, a
//! second worker does almost as much again. So:
//!
//! * A push wakes a sleeper if no worker is awake, or if cranks are *costly* just now.
//! * Otherwise one sleeper is a **watcher**: it wakes every [`WATCH`], and takes over if the line
//!   is not empty and either cranks are costly or no crank has been finished since it last looked,
//!   that is, if the workers that are awake are stuck in long cranks.
//! * A worker that is awake with another while cranks are cheap goes to watch, unless it took over
//!   from one that is stuck and has not come out of its crank since.
//!
//! # Why no runnable vat is left lying
//!
//! Pushes and the decision to sleep are made under one lock. A worker sleeps without a time limit
//! only when the line is empty or another sleeper watches; a push that finds no watcher and a
//! sleeper wakes one, which becomes the watcher; so does a worker that takes a vat and leaves others.
//! So a vat in the line is seen by a worker that is awake, or by the watcher within two of its rounds.

use std::collections::VecDeque;
use std::time::Duration;

use crankcase_vat::mutant;

use crate::sync::{
    AtomicBool, AtomicU64, Condvar, Mutex, MutexGuard, Ordering, lock, wait, wait_timeout,
};

/// How often the watcher looks.
pub(crate) const WATCH: Duration = Duration::from_millis(1);

struct Inner<T> {
    line: VecDeque<T>,
    /// Workers that are not in here.
    awake: usize,
    /// Workers that sleep without a time limit.
    sleeping: usize,
    /// Workers that sleep and look now and then.
    watching: usize,
    stopped: bool,
}

/// See the module's text.
pub struct RunQueue<T> {
    inner: Mutex<Inner<T>>,
    wake: Condvar,
    /// Whether cranks are costly enough for a second worker; a hint, so nothing hangs on it.
    costly: AtomicBool,
    /// Whether a watcher found the others stuck in long cranks, and took over; a hint.
    stuck: AtomicBool,
    /// Cranks finished by all workers, roughly; only compared with itself.
    progress: AtomicU64,
    /// Length of the line; a hint for workers that hold a vat of their own.
    len: AtomicU64,
}

impl<T> RunQueue<T> {
    /// An empty line for `workers` workers, all of which count as awake until they first ask.
    pub fn new(workers: usize) -> Self {
        Self {
            inner: Mutex::new(Inner {
                line: VecDeque::new(),
                awake: workers,
                sleeping: 0,
                watching: 0,
                stopped: false,
            }),
            wake: Condvar::new(),
            costly: AtomicBool::new(false),
            stuck: AtomicBool::new(false),
            progress: AtomicU64::new(0),
            len: AtomicU64::new(0),
        }
    }

    /// Puts runnable vats at the back of the line.
    #[inline]
    pub fn push_all(&self, runnable: impl IntoIterator<Item = T>) {
        let mut inner = lock(&self.inner);
        let before = inner.line.len();
        inner.line.extend(runnable);
        if inner.line.len() == before {
            return;
        }
        self.len.store(inner.line.len() as u64, Ordering::Relaxed);
        let asleep = inner.sleeping + inner.watching;
        let wanted = inner.awake == 0
            || self.costly.load(Ordering::Relaxed)
            || (inner.watching == 0 && inner.sleeping > 0);
        if asleep > 0 && wanted {
            drop(inner);
            if !mutant("run-queue-no-wake") {
                self.wake.notify_one();
            }
        }
    }

    /// Puts one runnable vat at the back of the line.
    #[inline]
    pub fn push(&self, runnable: T) {
        self.push_all(std::iter::once(runnable));
    }

    /// Whether the line looked empty a moment ago.
    #[inline]
    pub fn looks_empty(&self) -> bool {
        self.len.load(Ordering::Relaxed) == 0
    }

    /// Notes that cranks were finished, and whether they are costly.
    #[inline]
    pub fn note(&self, cranks: u64, costly: bool) {
        self.progress.fetch_add(cranks, Ordering::Relaxed);
        if self.costly.load(Ordering::Relaxed) != costly {
            self.costly.store(costly, Ordering::Relaxed);
        }
    }

    /// Notes that a worker has come out of a crank that took longer than a watcher's round.
    pub fn come_unstuck(&self) {
        self.stuck.store(false, Ordering::Relaxed);
    }

    /// Whether a worker that is awake would only be in the way of the others.
    #[inline]
    fn is_one_too_many(&self, inner: &Inner<T>) -> bool {
        inner.awake > 1 && !self.is_costly() && !self.stuck.load(Ordering::Relaxed)
    }

    /// Whether cranks are costly just now.
    #[inline]
    pub fn is_costly(&self) -> bool {
        self.costly.load(Ordering::Relaxed)
    }

    /// Gives up `mine`, if there is one, for the first in the line.
    #[inline]
    pub fn exchange(&self, mine: Option<T>) -> Option<T> {
        let mut inner = lock(&self.inner);
        inner.line.extend(mine);
        let first = inner.line.pop_front();
        self.left(inner);
        first
    }

    /// Notes what an awake worker leaves in the line, and sees to it that someone watches it.
    #[inline]
    fn left(&self, inner: MutexGuard<'_, Inner<T>>) {
        self.len.store(inner.line.len() as u64, Ordering::Relaxed);
        if !inner.line.is_empty() && inner.watching == 0 && inner.sleeping > 0 {
            drop(inner);
            self.wake.notify_one();
        }
    }

    /// The first in the line for a worker that is awake, unless it is one too many.
    #[inline]
    pub fn take(&self) -> Option<T> {
        if self.looks_empty() {
            return None;
        }
        let mut inner = lock(&self.inner);
        if inner.stopped || self.is_one_too_many(&inner) {
            return None;
        }
        let first = inner.line.pop_front();
        self.left(inner);
        first
    }

    /// The next vat to run, waiting for one; nothing once the queue is stopped.
    pub fn next(&self) -> Option<T> {
        let mut inner = lock(&self.inner);
        // With another worker awake and cheap cranks, this one would only be in the way.
        let mut surplus = self.is_one_too_many(&inner);
        let mut seen = self.progress.load(Ordering::Relaxed);
        inner.awake -= 1;
        loop {
            if inner.stopped {
                inner.awake += 1;
                return None;
            }
            let wanted = inner.awake == 0 || self.is_costly();
            if !inner.line.is_empty() && (wanted || !surplus) {
                if !wanted {
                    // They finish nothing: this worker is not in anyone's way until they do.
                    self.stuck.store(true, Ordering::Relaxed);
                }
                inner.awake += 1;
                let first = inner.line.pop_front();
                self.left(inner);
                return first;
            }
            if inner.awake > 0 && inner.watching == 0 {
                inner.watching += 1;
                (inner, _) = wait_timeout(&self.inner, &self.wake, inner, WATCH);
                inner.watching -= 1;
                let now = self.progress.load(Ordering::Relaxed);
                surplus = now != seen;
                seen = now;
            } else {
                inner.sleeping += 1;
                inner = wait(&self.wake, inner);
                inner.sleeping -= 1;
                surplus = true;
                seen = self.progress.load(Ordering::Relaxed);
            }
        }
    }

    /// Makes every [`next`](Self::next) return nothing.
    pub fn stop(&self) {
        lock(&self.inner).stopped = true;
        match mutant("run-queue-stop-wakes-one") {
            false => self.wake.notify_all(),
            true => self.wake.notify_one(),
        }
    }
}
