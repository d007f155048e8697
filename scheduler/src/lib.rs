//! Crankcase: isolated vats in parallel, each crank a transaction, in one durable order.
//!
//! A host embeds a [`Kernel`]. It registers kinds of vats, calls their methods, and gets a [`Ticket`]
//! for each call. A **vat** is a serde value whose `impl` block is marked with
//! [`#[vat]`](macro@vat). It handles one message at a time, and handling one is a **crank**: through
//! [`Crank`] it sends, makes vats and writes rows, and all of that happens with its `Ok`, or nothing
//! of it with an `Err`, a panic, an illegal call or a broken limit. A finished crank leaves one
//! record; the records stand in one total order ([`Seq`] 1, 2, 3 …) in a journal on disk. Opening the
//! journal again brings back the state of a prefix of that order that covers everything a ticket or a
//! read ever told.
//!
//! # A complete host
//!
//! ```
#![doc = include_str!("../examples/bank.rs")]
//! ```
//!
//! # Where to look
//!
//! | for | see |
//! |---|---|
//! | writing a kind of vat | [`#[vat]`](macro@vat), [`Crank`], [`Answer`], [`Outcome`], [`Refusal`] |
//! | capabilities | [`Ref`], [`#[object]`](macro@object), [`Crank::export`](typed::Crank::export) |
//! | promises | [`Promise`], [`Crank::watch`](typed::Crank::watch), [`Watcher`] |
//! | what grows | [`collections`] |
//! | code that changes | [`Kernel::upgrade`], [`OpenError::OtherShape`] |
//! | vats without the attribute | [`raw`] |
//! | opening a journal, and all that can be chosen | [`Kernel::builder`], [`KernelBuilder`] |
//! | sending, alone or several as one input | [`Kernel::send`], [`Kernel::try_send`], [`Kernel::batch`] |
//! | outcomes, blocking or with `.await` | [`Ticket`], [`Outcome`], [`Rejection`] and its [`Cause`] |
//! | asking again after a crash without doing it twice | [`Kernel::request`], [`Kernel::forget`] |
//! | vats with names | [`Kernel::spawn_named`], [`Kernel::root`] |
//! | a vat's state, without a message | [`Kernel::read`] |
//! | figures, and what is stuck | [`Kernel::stats`], [`Stats`] |
//! | looking into a journal without touching it | [`inspect`], [`verify`](mod@verify), [`KernelBuilder::replay`] |
//!
//! # Two orders
//!
//! The order in which finished cranks get their places is fixed when a journal is made.
//!
//! * [`CommitOrder::Completion`], the default: as they complete. The kernel runs by itself, and
//!   [`Kernel::run_until_idle`] waits for it.
//! * [`CommitOrder::Dispatch`]: as if one worker ran one queue. Inputs wait until
//!   [`Kernel::run`] or [`Kernel::run_until_idle`]; until then they are not in the journal, and
//!   waiting for their tickets is [`WaitError::NotTaken`]. The same calls give the same records
//!   and the same [`ActivityHash`] with any number of workers, with or without restarts; the time
//!   of an input stands in its record, so that takes [`Clock::Manual`].
//!
//! # What settles when
//!
//! A record is *sequenced* when it has its place; other vats hear of it then. It is *durable* when
//! its group is written as [`Durability`] promises, and *released* when it may be seen outside.
//! Tickets settle and reads are answered when what they rest on is released, and not before.
//! [`Stats`] shows the three places.
//!
//! # When something fails
//!
//! A vat that fails is an [`Outcome`] and no error: the ticket settles with a [`Rejection`]. Errors
//! are about the kernel, one type for each operation: [`OpenError`], [`SendError`],
//! [`TrySendError`], [`WaitError`], [`ReadError`], [`RunError`], [`ClockError`], [`CloseError`],
//! [`inspect::Inspection`]'s [`InspectError`]. A failed write or sync is final: the kernel has a
//! [`Poison`], what was not settled is [`WaitError::Indeterminate`], and opening the journal again
//! tells what became of it. `SEMANTICS.md` beside the workspace has this as tables.
//!
//! No call that waits may come from inside a crank; those that would wait for themselves say so
//! ([`WaitError::InsideCrank`], [`SendError::NoRoom`], [`CloseError::InsideCrank`]).

#[cfg(not(crankcase_loom))]
mod builder;
#[cfg(not(crankcase_loom))]
mod callers;
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
pub mod explain;
#[cfg(not(crankcase_loom))]
mod workbench;

#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(not(crankcase_loom))]
mod host;
#[cfg(not(crankcase_loom))]
mod housekeeper;
#[cfg(not(crankcase_loom))]
pub mod inspect;
#[cfg(not(crankcase_loom))]
mod kernel;
#[cfg(not(crankcase_loom))]
mod order;
#[cfg(not(crankcase_loom))]
mod parts;
#[cfg(not(crankcase_loom))]
mod pool;
#[cfg(not(crankcase_loom))]
mod reads;
#[cfg(not(crankcase_loom))]
mod recovery;
#[cfg(not(crankcase_loom))]
pub mod replay;
#[cfg(not(crankcase_loom))]
mod sequencer;
#[cfg(not(crankcase_loom))]
mod state;
#[cfg(not(crankcase_loom))]
mod stats;
#[cfg(not(crankcase_loom))]
mod stores;
#[cfg(not(crankcase_loom))]
mod sweep;
#[cfg(all(feature = "testing", not(crankcase_loom)))]
pub mod testing;
#[cfg(not(crankcase_loom))]
mod ticket;
#[cfg(not(crankcase_loom))]
pub mod verify;
#[cfg(not(crankcase_loom))]
mod worker;

mod admission;
mod gate;
mod hand_over;
mod mailbox;
mod role;
mod run_queue;
mod stall;
mod sync;
mod watermarks;

#[cfg(not(crankcase_loom))]
pub use crankcase_journal::OpenError as JournalError;
#[cfg(not(crankcase_loom))]
pub use crankcase_journal::{ActivityHash, Durability, Identity, Recovered, Retention, TornTail};
#[cfg(not(crankcase_loom))]
pub use crankcase_macros::{object, vat};
#[cfg(not(crankcase_loom))]
pub use crankcase_vat::collections;
#[cfg(not(crankcase_loom))]
pub use crankcase_vat::typed::{Crank, Watcher};
#[cfg(not(crankcase_loom))]
pub use crankcase_vat::{
    Answer, Cause, CrankNumber, Cursor, DeliveryId, Exit, HoldingCursor, Limits, ObjectId,
    ObjectIdError, Outcome, Payload, PayloadError, Promise, PromiseId, PromiseIdError, Ref,
    Reference, Refusal, Rejection, Seq, Slot, Target, Time, VatId, VatIdError, VatNumber,
};

/// Vats without types: names of methods, payloads, and a match over them.
///
/// This is what `#[vat]` is made of, for those who build something else on it: a language, a
/// sandbox, a bridge. A kind implements [`Vat`](raw::Vat) by hand.
#[cfg(not(crankcase_loom))]
pub mod raw {
    pub use crankcase_vat::{Crank, Message, Notice, Object, Vat, join, race};
}

/// What the code that `#[vat]` and `#[object]` write refers to, and what generic code over callers
/// and interfaces needs.
#[cfg(not(crankcase_loom))]
pub mod typed {
    pub use crankcase_vat::typed::{
        Caller, Crank, NamedSpawner, Spawner, Travels, VatObject, Watcher, is_same, no_such_method,
        no_such_object_kind, no_such_watcher,
    };
    pub use crankcase_vat::{Any, Callee, Client, Interface, Nameless, PartWriter, ShapeWriter};
}

#[cfg(not(crankcase_loom))]
pub use builder::KernelBuilder;
#[cfg(not(crankcase_loom))]
pub use callers::{Part, TryNow};
#[cfg(not(crankcase_loom))]
pub use clock::Clock;
#[cfg(not(crankcase_loom))]
pub use error::{
    ClockError, CloseError, InspectError, OpenError, Poison, ReadError, RunError, SendError,
    TrySendError, WaitError,
};
#[cfg(not(crankcase_loom))]
pub use explain::{Explanation, Question};
#[cfg(not(crankcase_loom))]
pub use host::{Batch, Request, Unsent};
#[cfg(not(crankcase_loom))]
pub use kernel::Kernel;
#[cfg(not(crankcase_loom))]
pub use order::CommitOrder;
#[cfg(not(crankcase_loom))]
pub use stats::Stats;
#[cfg(not(crankcase_loom))]
pub use ticket::{Ticket, TicketFuture};

/// What a crank does things with at once in a schedule, where production has rayon: for
/// `shuttle-tests/`.
#[cfg(crankcase_shuttle)]
#[doc(hidden)]
pub mod schedule {
    pub use crate::pool::join;
}

/// The concurrent parts, for the models in `loom-tests/`.
#[cfg(crankcase_loom)]
#[doc(hidden)]
#[allow(missing_docs)]
pub mod model {
    pub use crate::admission::Admission;
    pub use crate::gate::{Gate, OPEN, SHUT};
    pub use crate::hand_over::{HandOver, Taken};
    pub use crate::mailbox::{Mailbox, Pushed, Rest, Weighs};
    pub use crate::role::{Duty, Role};
    pub use crate::run_queue::RunQueue;
    pub use crate::stall::Stall;
    pub use crate::watermarks::Watermarks;
}
