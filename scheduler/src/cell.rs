//! A vat that is in memory, or on its way there.

use std::sync::Arc;
use std::time::Duration;

use crankcase_vat::{Delivery, LiveVat, VatId};

use crate::mailbox::{Mailbox, Weighs};
use crate::state::Slot;
use crate::sync::{AtomicUsize, Mutex, lock};

/// What the kernel keeps of a vat that is in memory.
pub(crate) struct Cell {
    pub(crate) id: VatId,
    pub(crate) slot: Slot,
    /// Pushed to by the holder of the role, taken from by the worker that has the activation.
    pub(crate) mailbox: Mailbox<Delivery>,
    /// Locked by the worker that has the activation, for as long as it has it, so never waited
    /// for. Nothing while the vat is being loaded, which counts as an activation.
    pub(crate) live: Mutex<Option<LiveVat>>,
    /// How much of its store is in memory, in bytes. Written by whoever has the activation, and by
    /// the holder of the role when the vat leaves; a figure, by which nothing else is ordered.
    pub(crate) store_bytes: AtomicUsize,
    /// For how long the vat is to rest before the next step of its clean-up. Touched by whoever has
    /// the activation.
    rest: Mutex<Option<Duration>>,
}

impl Weighs for Delivery {
    #[inline]
    fn weight(&self) -> usize {
        self.bytes()
    }
}

impl Cell {
    pub(crate) fn rest_for(&self, rest: Duration) {
        *lock(&self.rest) = Some(rest);
    }

    pub(crate) fn take_rest(&self) -> Option<Duration> {
        lock(&self.rest).take()
    }

    /// A vat that was just made.
    pub(crate) fn born(slot: Slot, live: LiveVat) -> Arc<Self> {
        let mailbox = Mailbox::new();
        Arc::new(Self {
            id: live.id(),
            slot,
            mailbox,
            live: Mutex::new(Some(live)),
            store_bytes: AtomicUsize::new(0),
            rest: Mutex::new(None),
        })
    }

    /// A vat that is to be loaded before it runs.
    pub(crate) fn loading(slot: Slot, id: VatId) -> Arc<Self> {
        Arc::new(Self {
            id,
            slot,
            mailbox: Mailbox::scheduled(),
            live: Mutex::new(None),
            store_bytes: AtomicUsize::new(0),
            rest: Mutex::new(None),
        })
    }
}
