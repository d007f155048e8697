//! Hosts whose kernels are in memory, the chances a scenario takes, and gates of its threads.

use std::sync::Arc;
use std::time::Duration;

use crankcase::{Clock, CommitOrder, Durability, KernelBuilder};
use crankcase_tests::{Host, Shape};
use shuttle::rand::{Rng, thread_rng};
use shuttle::sync::{Condvar, Mutex};

/// As long as a schedule can be: who waits for this waits for ever, and a wait that does not end
/// shows as a deadlock.
pub const FOR_EVER: Duration = Duration::from_secs(1 << 20);

/// A number below `end`. It is a part of the schedule.
#[must_use]
pub fn below(end: u64) -> u64 {
    thread_rng().gen_range(0..end)
}

/// One of these.
#[must_use]
pub fn one_of<T: Copy>(these: &[T]) -> T {
    these[below(these.len() as u64) as usize]
}

/// Opens a host in memory.
///
/// # Panics
///
/// When it does not open.
#[must_use]
pub fn open(
    order: CommitOrder,
    workers: usize,
    settings: impl FnOnce(KernelBuilder) -> KernelBuilder,
) -> Host {
    Shape { order, workers }.open_with("", |builder| {
        let builder = builder
            .durability(Durability::None)
            .clock(Clock::Manual)
            .drop_timeout(FOR_EVER);
        settings(builder)
    })
}

/// A gate that threads of a schedule can be held at.
#[derive(Debug, Default)]
pub struct Gate {
    open: Mutex<bool>,
    changed: Condvar,
}

impl Gate {
    /// A closed one.
    #[must_use]
    pub fn closed() -> Arc<Self> {
        Arc::default()
    }

    /// Waits until it is open.
    ///
    /// # Panics
    ///
    /// When a thread panicked at it.
    pub fn pass(&self) {
        let mut open = self.open.lock().expect("nobody panics at a gate");
        while !*open {
            open = self.changed.wait(open).expect("nobody panics at a gate");
        }
    }

    /// Lets everyone through, from now on.
    ///
    /// # Panics
    ///
    /// When a thread panicked at it.
    pub fn open(&self) {
        *self.open.lock().expect("nobody panics at a gate") = true;
        self.changed.notify_all();
    }
}

/// Settings under which everything that a kernel does now and then happens all the time: groups of
/// one record, checkpoints after each, vats that are never left in memory, mailboxes that are full.
///
/// How many bytes of inputs may be on their way is left to the scenario, because `send` waits for
/// that.
#[must_use = "a builder opens nothing until `open` is called"]
pub fn narrow(builder: KernelBuilder) -> KernelBuilder {
    builder
        .group_bytes(one_of(&[1, 300, 128 << 10]))
        .undurable_bytes(one_of(&[1, 300, 64 << 20]))
        .checkpoint_every(one_of(&[1, 3, 1 << 20]), 1 << 30)
        .vats_in_memory(one_of(&[0, 1, 100]))
        .store_cache_bytes(one_of(&[0, 200, 1 << 20]))
        .stores_in_memory_bytes(one_of(&[0, 1 << 30]))
        .inbox_bytes(one_of(&[0, 1 << 30]))
        .reorder_records(one_of(&[1, 2, 4096]))
        .audit_counts(one_of(&[false, true]))
}
