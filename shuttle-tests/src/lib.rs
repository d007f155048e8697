//! The frame of the scenarios in `tests/`: runs the whole kernel under schedules that shuttle
//! chooses, and repeats one that failed.
//!
//! Without `--cfg crankcase_shuttle` there is nothing in here; see `README.md` for how to run them.

#[cfg(crankcase_shuttle)]
pub mod crowd;
#[cfg(crankcase_shuttle)]
pub mod disk;
#[cfg(crankcase_shuttle)]
mod explore;
#[cfg(crankcase_shuttle)]
mod schedule;
#[cfg(crankcase_shuttle)]
pub mod world;

#[cfg(crankcase_shuttle)]
pub use explore::{Seen, explore, once, repeat};
#[cfg(crankcase_shuttle)]
pub use schedule::Schedule;
