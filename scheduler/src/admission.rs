//! Room for inputs: how many bytes of the host's messages may be on their way.
//!
//! An input takes its bytes when it is handed in and gives them back when all of its deliveries
//! have come to an end. An input larger than the bound is let in when the bound is not exceeded
//! yet; otherwise it could never enter.

use std::task::Waker;

use crankcase_vat::mutant;

use crate::sync::{AtomicBool, AtomicU64, Condvar, Mutex, Ordering, fence, lock, wait};

/// See the module's text.
pub struct Admission {
    /// Bytes on their way.
    taken: AtomicU64,
    bound: u64,
    /// Whether someone may be waiting: set before the wait is decided, so that giving back needs
    /// the lock only when it is worth it.
    awaited: AtomicBool,
    waiting: Mutex<Waiting>,
    room: Condvar,
}

#[derive(Default)]
struct Waiting {
    wakers: Vec<Waker>,
    /// Nobody waits any more: the kernel closes.
    closed: bool,
}

impl Admission {
    /// Room for `bound` bytes.
    pub fn new(bound: u64) -> Self {
        Self {
            taken: AtomicU64::new(0),
            bound,
            awaited: AtomicBool::new(false),
            waiting: Mutex::new(Waiting::default()),
            room: Condvar::new(),
        }
    }

    /// Takes room if there is some.
    pub fn try_enter(&self, bytes: u64) -> bool {
        let mut taken = self.taken.load(Ordering::SeqCst);
        loop {
            if taken > self.bound {
                return false;
            }
            let entered = taken + bytes;
            match self
                .taken
                .compare_exchange(taken, entered, Ordering::SeqCst, Ordering::SeqCst)
            {
                Ok(_) => return true,
                Err(now) => taken = now,
            }
        }
    }

    /// Takes room, waiting for it; says no when the kernel closes first.
    pub fn enter(&self, bytes: u64) -> bool {
        loop {
            if self.try_enter(bytes) {
                return true;
            }
            let mut waiting = lock(&self.waiting);
            if waiting.closed {
                return false;
            }
            self.awaited.store(true, Ordering::SeqCst);
            // Pairs with the fence in `leave`: either that sees `awaited`, or this sees the room. Checked by
            // `loom-tests/tests/backpressure.rs`, `whoever_waits_for_room_gets_in_when_it_is_given_back`.
            fence(Ordering::SeqCst);
            let must_wait =
                self.taken.load(Ordering::SeqCst) > self.bound || mutant("admission-no-recheck");
            if must_wait {
                waiting = wait(&self.room, waiting);
            }
            drop(waiting);
        }
    }

    /// Whether there is room now; if not, `waker` is called when there may be.
    pub fn poll_room(&self, waker: &Waker) -> bool {
        // A waker is host code, cloning and dropping included, and has no place under the lock.
        let waker = waker.clone();
        let mut waiting = lock(&self.waiting);
        self.awaited.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        if self.taken.load(Ordering::SeqCst) <= self.bound || waiting.closed {
            return true;
        }
        waiting.wakers.push(waker);
        false
    }

    /// Gives room back. The wakers that are returned are host code, to be called elsewhere.
    #[must_use]
    pub fn leave(&self, bytes: u64) -> Vec<Waker> {
        let before = self.taken.fetch_sub(bytes, Ordering::SeqCst);
        debug_assert!(before >= bytes, "more room was given back than taken");
        fence(Ordering::SeqCst);
        if before - bytes > self.bound || !self.awaited.load(Ordering::SeqCst) {
            return Vec::new();
        }
        let mut waiting = lock(&self.waiting);
        self.awaited.store(false, Ordering::SeqCst);
        let wakers = std::mem::take(&mut waiting.wakers);
        self.room.notify_all();
        wakers
    }

    /// Lets everyone who waits go.
    #[must_use]
    pub fn close(&self) -> Vec<Waker> {
        let mut waiting = lock(&self.waiting);
        waiting.closed = true;
        let wakers = std::mem::take(&mut waiting.wakers);
        self.room.notify_all();
        wakers
    }
}
