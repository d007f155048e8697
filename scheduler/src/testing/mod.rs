//! A test kit for those who write vats (feature `testing`).
//!
//! A host's author runs the vats under a scheduler that a seed decides, a clock that the test
//! moves, and crashes, and states laws that are looked at after every record and every crash.
//! It is one thread, in memory, and the same each time.

mod look;
mod luck;
mod options;
mod simulation;
mod world;

pub use look::Look;
pub use options::{Checked, Failure, Figures, Options, SEED_VARIABLE};
pub use simulation::{Batch, Request, Simulation, Ticket};
