//! The frame of the models in `tests/`: explores all executions of one, and checks that it did.
//!
//! Without `--cfg crankcase_loom` there is nothing in here; see `README.md` for how to run them.

#[cfg(crankcase_loom)]
mod exclusive;
#[cfg(crankcase_loom)]
mod explore;
#[cfg(crankcase_loom)]
mod pipeline;

#[cfg(crankcase_loom)]
pub use exclusive::Exclusive;
#[cfg(crankcase_loom)]
pub use explore::{Seen, explore, explore_preempted};
#[cfg(crankcase_loom)]
pub use pipeline::{Pace, Pipeline};
