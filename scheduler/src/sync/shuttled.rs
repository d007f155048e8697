//! What shuttle lacks: time, and waits that end with it.
//!
//! # Time
//!
//! A schedule has no clock, so time passes as shuttle's random numbers say, which are a part of the
//! schedule: cranks come out as cheap, costly or stuck, and a schedule that is replayed has the
//! same times again.
//!
//! # Waits for a time
//!
//! * A wait for less than [`PATIENCE`] may end at any moment, as if its time were over, or with a
//!   notification. One notification goes to one waiter, with a time or without.
//! * A wait for longer never ends by time. It is someone's patience, and that it came to its end
//!   would be the hang that the test looks for; so it shows as a deadlock, and not as a time-out.

use std::cell::Cell;
use std::ops::{Add, Sub};
use std::sync::{LockResult, PoisonError};
use std::time::Duration;

use shuttle::rand::{Rng, thread_rng};
use shuttle::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicBool, Ordering},
};

/// How long someone must be willing to wait for never to be told that the time is over.
const PATIENCE: Duration = Duration::from_secs(1);

/// A moment, in nanoseconds after nothing in particular.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Instant(u64);

std::thread_local! {
    /// All threads of a schedule are one of the system's. It runs on from schedule to schedule:
    /// only differences are ever looked at.
    static NOW: Cell<u64> = const { Cell::new(0) };
}

fn pass(time: Duration) -> u64 {
    let now = NOW.get() + u64::try_from(time.as_nanos()).unwrap_or(u64::MAX >> 8);
    NOW.set(now);
    now
}

impl Instant {
    pub(crate) fn now() -> Self {
        let passed = match thread_rng().gen_range(0..16u8) {
            // A cheap crank.
            0..12 => Duration::from_nanos(400),
            // A costly one.
            12..15 => Duration::from_micros(5),
            // One that is stuck for longer than a round of the watcher.
            _ => Duration::from_millis(3),
        };
        Self(pass(passed))
    }

    pub(crate) fn elapsed(self) -> Duration {
        Self::now() - self
    }

    pub(crate) fn checked_add(self, time: Duration) -> Option<Self> {
        let time = u64::try_from(time.as_nanos()).ok()?;
        self.0.checked_add(time).map(Self)
    }

    pub(crate) fn checked_duration_since(self, earlier: Self) -> Option<Duration> {
        self.0.checked_sub(earlier.0).map(Duration::from_nanos)
    }

    pub(crate) fn saturating_duration_since(self, earlier: Self) -> Duration {
        self.checked_duration_since(earlier).unwrap_or_default()
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, time: Duration) -> Self {
        self.checked_add(time).expect("times are of this century")
    }
}

impl Sub for Instant {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.saturating_duration_since(earlier)
    }
}

/// A condition variable with waits for a time.
pub(crate) struct Condvar {
    /// Those that wait without one.
    patient: shuttle::sync::Condvar,
    /// Those that wait for a time and were not notified, by their numbers. Never contended.
    timed: std::sync::Mutex<Timed>,
}

#[derive(Default)]
struct Timed {
    waiting: Vec<u64>,
    next: u64,
    /// How many wait without a time; some of them may have been notified.
    patient: usize,
}

impl Condvar {
    pub(crate) fn new() -> Self {
        Self {
            patient: shuttle::sync::Condvar::new(),
            timed: std::sync::Mutex::default(),
        }
    }

    fn timed(&self) -> std::sync::MutexGuard<'_, Timed> {
        self.timed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> LockResult<MutexGuard<'a, T>> {
        self.timed().patient += 1;
        let guard = self.patient.wait(guard);
        self.timed().patient -= 1;
        guard
    }

    /// Waits for a time; says whether it is over.
    pub(crate) fn wait_timeout<'a, T>(
        &self,
        mutex: &'a Mutex<T>,
        guard: MutexGuard<'a, T>,
        time: Duration,
    ) -> (MutexGuard<'a, T>, bool) {
        if time >= PATIENCE {
            let guard = self.wait(guard).unwrap_or_else(PoisonError::into_inner);
            return (guard, false);
        }
        // Before the lock is let go of: whoever takes it next finds this one waiting.
        let me = {
            let mut timed = self.timed();
            timed.next += 1;
            let me = timed.next;
            timed.waiting.push(me);
            me
        };
        drop(guard);
        let over = loop {
            shuttle::thread::yield_now();
            let over = thread_rng().gen_range(0..4u8) == 0;
            let mut timed = self.timed();
            let Some(at) = timed.waiting.iter().position(|&waiting| waiting == me) else {
                break false;
            };
            if over {
                timed.waiting.remove(at);
                break true;
            }
        };
        if over {
            pass(time);
        }
        let guard = mutex.lock().unwrap_or_else(PoisonError::into_inner);
        (guard, over)
    }

    pub(crate) fn notify_one(&self) {
        let (timed, patient) = {
            let timed = self.timed();
            (timed.waiting.len(), timed.patient)
        };
        if timed > 0 {
            let one = thread_rng().gen_range(0..timed + patient);
            let mut timed = self.timed();
            if one < timed.waiting.len() {
                timed.waiting.remove(one);
                return;
            }
        }
        self.patient.notify_one();
    }

    pub(crate) fn notify_all(&self) {
        self.patient.notify_all();
        self.timed().waiting.clear();
    }
}

/// A cell that is set once. The looking and the setting are steps that a schedule can come between.
#[derive(Debug)]
pub(crate) struct OnceLock<T> {
    step: AtomicBool,
    value: std::sync::OnceLock<T>,
}

impl<T> OnceLock<T> {
    pub(crate) fn new() -> Self {
        Self {
            step: AtomicBool::new(false),
            value: std::sync::OnceLock::new(),
        }
    }

    pub(crate) fn get(&self) -> Option<&T> {
        self.step.load(Ordering::SeqCst);
        self.value.get()
    }

    pub(crate) fn set(&self, value: T) -> Result<(), T> {
        self.step.store(true, Ordering::SeqCst);
        self.value.set(value)
    }
}
