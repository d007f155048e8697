//! Crankcase: isolated vats in parallel, each crank a transaction, in one durable order.

#[cfg(not(crankcase_loom))]
mod builder;
#[cfg(not(crankcase_loom))]
mod cell;
#[cfg(not(crankcase_loom))]
mod checkpointer;
#[cfg(not(crankcase_loom))]
mod clock;
#[cfg(not(crankcase_loom))]
mod committer;
#[cfg(not(crankcase_loom))]
mod engine;
#[cfg(not(crankcase_loom))]
mod error;
#[cfg(not(crankcase_loom))]
mod host;
#[cfg(not(crankcase_loom))]
mod housekeeper;
#[cfg(not(crankcase_loom))]
pub mod inspect;
#[cfg(not(crankcase_loom))]
mod kernel;
#[cfg(not(crankcase_loom))]
mod known_kinds;
#[cfg(not(crankcase_loom))]
mod order;
#[cfg(not(crankcase_loom))]
mod parts;
#[cfg(not(crankcase_loom))]
mod recovery;
#[cfg(not(crankcase_loom))]
mod sequencer;
#[cfg(not(crankcase_loom))]
mod state;
#[cfg(not(crankcase_loom))]
mod stats;
#[cfg(not(crankcase_loom))]
mod ticket;
#[cfg(not(crankcase_loom))]
pub mod verify;
#[cfg(not(crankcase_loom))]
mod worker;

mod admission;
mod hand_over;
mod mailbox;
mod role;
mod run_queue;
mod stall;
mod sync;
mod watermarks;

#[cfg(not(crankcase_loom))]
pub use crankcase_journal::{ActivityHash, Durability, Identity, Recovered, Retention, TornTail};
#[cfg(not(crankcase_loom))]
pub use crankcase_vat::{
    Answer, Cause, Crank, CrankNumber, Cursor, DeliveryId, Exit, Limits, Message, Payload,
    PayloadError, Rejection, Seq, Time, Vat, VatId, VatNumber,
};

#[cfg(not(crankcase_loom))]
pub use builder::KernelBuilder;
#[cfg(not(crankcase_loom))]
pub use clock::Clock;
#[cfg(not(crankcase_loom))]
pub use error::{
    ClockError, CloseError, InspectError, OpenError, Poison, ReadError, RunError, SendError,
    TrySendError, WaitError,
};
#[cfg(not(crankcase_loom))]
pub use host::{Batch, Request, Unsent};
#[cfg(not(crankcase_loom))]
pub use kernel::Kernel;
#[cfg(not(crankcase_loom))]
pub use order::CommitOrder;
#[cfg(not(crankcase_loom))]
pub use state::Outcome;
#[cfg(not(crankcase_loom))]
pub use stats::Stats;
#[cfg(not(crankcase_loom))]
pub use ticket::{Ticket, TicketFuture};

/// The concurrent parts, for the models in `loom-tests/`.
#[cfg(crankcase_loom)]
#[doc(hidden)]
#[allow(missing_docs)]
pub mod model {
    pub use crate::admission::Admission;
    pub use crate::hand_over::HandOver;
    pub use crate::mailbox::{Mailbox, Pushed, Rest};
    pub use crate::role::{Duty, Role};
    pub use crate::run_queue::RunQueue;
    pub use crate::stall::Stall;
    pub use crate::watermarks::Watermarks;
}
