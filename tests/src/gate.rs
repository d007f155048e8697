//! A place at which a crank can be held until the test lets it go.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

#[derive(Debug, Default)]
struct Inner {
    arrived: u64,
    open: bool,
}

/// A gate: whoever passes waits until it is open. It begins closed.
#[derive(Debug, Default)]
pub struct Gate {
    inner: Mutex<Inner>,
    changed: Condvar,
}

impl Gate {
    /// A closed gate.
    #[must_use]
    pub fn closed() -> Arc<Self> {
        Arc::default()
    }

    /// Comes to the gate and waits until it is open.
    pub fn pass(&self) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.arrived += 1;
        self.changed.notify_all();
        while !inner.open {
            inner = self
                .changed
                .wait(inner)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits until `count` have come to the gate since it was made.
    pub fn wait_for_arrivals(&self, count: u64) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        while inner.arrived < count {
            inner = self
                .changed
                .wait(inner)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Lets everyone through, from now on.
    pub fn open(&self) {
        self.inner
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .open = true;
        self.changed.notify_all();
    }

    /// How many have come to the gate.
    #[must_use]
    pub fn arrivals(&self) -> u64 {
        self.inner
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .arrived
    }
}
