//! Where the time of inputs comes from.

use std::time::{SystemTime, UNIX_EPOCH};

use crankcase_vat::Time;

use crate::error::ClockError;
use crate::sync::{AtomicU64, Ordering};

/// Where `now` comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Clock {
    /// The system's clock, in milliseconds since the Unix epoch. If it is set back, kernel time
    /// stands still until it has caught up.
    #[default]
    System,
    /// What the host says with [`Kernel::set_time`](crate::Kernel::set_time), in its own unit. It
    /// starts at 0, or where the journal left it.
    Manual,
}

/// The clock of a running kernel.
#[derive(Debug)]
pub(crate) struct RunningClock {
    clock: Clock,
    /// The last time that was given; it only grows.
    last: AtomicU64,
}

impl RunningClock {
    pub(crate) fn new(clock: Clock, last: Time) -> Self {
        Self {
            clock,
            last: AtomicU64::new(last.get()),
        }
    }

    /// The time for an input that comes now.
    pub(crate) fn now(&self) -> Time {
        match self.clock {
            Clock::Manual => Time::new(self.last.load(Ordering::SeqCst)),
            Clock::System => {
                let now = SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .unwrap_or_default();
                let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
                Time::new(self.last.fetch_max(now, Ordering::SeqCst).max(now))
            }
        }
    }

    pub(crate) fn set(&self, to: u64) -> Result<(), ClockError> {
        if self.clock != Clock::Manual {
            return Err(ClockError::NotManual);
        }
        let before = self.last.fetch_max(to, Ordering::SeqCst);
        if before > to {
            return Err(ClockError::Backwards {
                now: before,
                asked: to,
            });
        }
        Ok(())
    }
}
