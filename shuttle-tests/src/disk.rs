//! A disk of a schedule: it fails, or stalls, where it is told to.

use std::io;
use std::sync::Arc;

use crankcase_journal::Faults;

use crate::world::{Gate, below};

/// The table that holds the rows of stores.
const STORES: u8 = 3;

/// What a disk does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// That group cannot be written.
    GroupWrite(u64),
    /// That group is written and not acknowledged.
    GroupSync(u64),
    /// That checkpoint cannot be written.
    Checkpoint(u64),
    /// Rows of stores cannot be read.
    StoreRead,
}

/// See the module's text.
#[derive(Debug)]
pub struct Disk {
    fault: Option<Fault>,
    stalls: Stalls,
}

/// What groups and checkpoints wait for.
#[derive(Debug)]
enum Stalls {
    /// Others, for that many steps of theirs at most.
    Steps(u64),
    Gate(Arc<Gate>),
}

impl Disk {
    /// A disk with a fault, which now and then is slow.
    #[must_use]
    pub fn failing(fault: Fault) -> Arc<Self> {
        let stalls = Stalls::Steps(below(6));
        Arc::new(Self {
            fault: Some(fault),
            stalls,
        })
    }

    /// A disk that takes its time over everything.
    #[must_use]
    pub fn slow() -> Arc<Self> {
        Arc::new(Self {
            fault: None,
            stalls: Stalls::Steps(40),
        })
    }

    /// A disk that does nothing until a gate is opened.
    #[must_use]
    pub fn stalled(gate: &Arc<Gate>) -> Arc<Self> {
        Arc::new(Self {
            fault: None,
            stalls: Stalls::Gate(Arc::clone(gate)),
        })
    }

    fn at(&self, here: Fault) -> io::Result<()> {
        match &self.stalls {
            Stalls::Steps(0) => {}
            Stalls::Steps(most) => {
                for _ in 0..below(*most) {
                    shuttle::thread::yield_now();
                }
            }
            Stalls::Gate(gate) => gate.pass(),
        }
        if self.fault == Some(here) {
            return Err(io::Error::other(format!("{here:?} fails on purpose")));
        }
        Ok(())
    }
}

impl Faults for Disk {
    fn group_write(&self, number: u64) -> io::Result<()> {
        self.at(Fault::GroupWrite(number))
    }

    fn group_sync(&self, number: u64) -> io::Result<()> {
        self.at(Fault::GroupSync(number))
    }

    fn checkpoint_write(&self, number: u64) -> io::Result<()> {
        self.at(Fault::Checkpoint(number))
    }

    fn table_read(&self, table: u8) -> io::Result<()> {
        if table == STORES && self.fault == Some(Fault::StoreRead) {
            return Err(io::Error::other(
                "a row of a store is unreadable on purpose",
            ));
        }
        Ok(())
    }
}
