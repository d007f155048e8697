//! What can go wrong for a host, one type for each operation. Every message says what happened,
//! what state things are in now, and what to do.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crankcase_journal as journal;
use crankcase_vat::{KindError, PayloadError, ShapeChanged, VatId};

use crate::order::CommitOrder;
use crate::state::{Contradiction, LoadError};

/// Why a kernel did not open. Unless it says otherwise, nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The directory holds something that is not a journal, the format is newer, another process
    /// has it open, it is damaged, or the disk said no.
    #[error(transparent)]
    Journal(#[from] journal::OpenError),
    /// The journal holds records that cannot follow each other, or tables that are no state.
    #[error(
        "the journal is damaged: {what} at {place}; the kernel is not open. Restore the directory \
         from a copy; `crankcase verify` says what else is wrong"
    )]
    Damaged {
        /// What is wrong.
        what: String,
        /// Where.
        place: String,
    },
    /// A vat in the journal is of a kind that the host did not register.
    #[error(
        "the journal has vats of the kind {kind:?} (version {version}), which this host has not \
         registered; nothing was changed. Register the kind and open again"
    )]
    UnknownKind {
        /// The kind's name.
        kind: String,
        /// Its version in the journal.
        version: u32,
    },
    /// A vat in the journal was made by another version of its kind's code.
    #[error(
        "the journal has vats of the kind {kind:?} in version {stored}, and the host registered \
         version {registered} without it; nothing was changed. Register version {stored} as well: \
         a newer one can then take over its vats"
    )]
    OtherKindVersion {
        /// The kind's name.
        kind: String,
        /// The version in the journal.
        stored: u32,
        /// The version of the host's code.
        registered: u32,
    },
    /// A kind's code reads what the journal holds otherwise than it was written.
    #[error("{0}. Nothing was changed")]
    OtherShape(Box<ShapeChanged>),
    /// The journal was made with another commit order.
    #[error(
        "the journal was made in {stored} order and cannot be opened in {asked} order; nothing \
         was changed. Open it in {stored} order"
    )]
    OtherOrder {
        /// The order the journal was made with.
        stored: CommitOrder,
        /// The order that was asked for.
        asked: CommitOrder,
    },
    /// The journal was made with another seed.
    #[error(
        "the journal was made with another seed; nothing was changed. Open it with the seed it \
         was made with, or without naming one"
    )]
    OtherSeed,
    /// A kind cannot be registered.
    #[error(transparent)]
    Kind(#[from] KindError),
    /// A journal needs a directory, and none was named.
    #[error("a kernel with this durability needs a directory for its journal: name one")]
    NoDirectory,
    /// The process would not survive a panic.
    #[error(
        "this program is built with panic = \"abort\", so a vat that panics would take the process \
         with it; build it with panic = \"unwind\""
    )]
    PanicAborts,
    /// A thread could not be started.
    #[error("a thread of the kernel could not be started: {0}; the kernel is not open")]
    Threads(String),
}

impl OpenError {
    pub(crate) fn contradiction(place: impl std::fmt::Display, why: &Contradiction) -> Self {
        Self::Damaged {
            what: why.to_string(),
            place: format!("record {place}"),
        }
    }
}

impl From<LoadError> for OpenError {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Read(error) => error.into(),
            LoadError::Row { .. } => Self::Damaged {
                what: error.to_string(),
                place: "the tables".to_owned(),
            },
        }
    }
}

impl From<journal::ReadError> for OpenError {
    fn from(error: journal::ReadError) -> Self {
        Self::Journal(match error {
            journal::ReadError::Damaged(damage) => damage.into(),
            other => journal::OpenError::Io {
                doing: "reading the journal".to_owned(),
                source: match other {
                    journal::ReadError::Io(source) => source,
                    other => io::Error::other(other),
                },
            },
        })
    }
}

/// Why a kernel stopped for good. Reopening brings it back to a prefix of the order that holds
/// everything that was released.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Poison {
    /// A group could not be written or synced.
    #[error("the journal could not be written ({0}); the last group is indeterminate")]
    Commit(String),
    /// A checkpoint could not be written.
    #[error("a checkpoint could not be written ({0}); what was acknowledged is in the log")]
    Checkpoint(String),
    /// A vat could not be read from the journal.
    #[error("a vat could not be loaded ({0})")]
    Load(String),
    /// A row of a vat's store could not be read while a crank asked for it. The crank had no
    /// effect; its delivery waits in the journal.
    #[error(
        "a row of the store of vat {vat} could not be read ({why}); the crank that asked for it \
         had no effect. `crankcase verify` says whether the journal is damaged"
    )]
    Store {
        /// The vat.
        vat: VatId,
        /// What could not be read, and why.
        why: String,
    },
    /// A record contradicts those before it: a bug in the kernel.
    #[error("a record contradicts those before it ({0}); this is a bug in the kernel")]
    Contradiction(String),
    /// A thread of the kernel panicked: a bug in the kernel.
    #[error("a thread of the kernel panicked ({0}); this is a bug in the kernel")]
    Panic(String),
}

/// Why an input was not taken. Nothing of it will happen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The arguments cannot be encoded.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// A name, an id or arguments are malformed or too large.
    #[error("{what} cannot be sent: {why}; nothing was sent")]
    Malformed {
        /// What.
        what: &'static str,
        /// Why.
        why: String,
    },
    /// No kind of that name is registered.
    #[error("no kind {kind:?} is registered with this host; nothing was made")]
    UnknownKind {
        /// The name.
        kind: String,
    },
    /// That version of the kind is not registered.
    #[error(
        "version {version} of the kind {kind:?} is not registered with this host; nothing was done"
    )]
    UnknownVersion {
        /// The kind's name.
        kind: String,
        /// The version.
        version: u32,
    },
    /// The request id came with another body before.
    #[error(
        "the request id {id:?} came with another body before; nothing was sent. Use a new id for a \
         new request, or forget the old one first"
    )]
    Conflict {
        /// The id.
        id: String,
    },
    /// The root name stands for a vat already.
    #[error("the root name {name:?} is taken; nothing was sent. Use another name")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// The bound on inputs is reached, and waiting for room would wait for ever: the call came
    /// from inside a crank, or the inputs wait for a run that this thread has to start.
    #[error(
        "the kernel has no room for more inputs, and waiting here would never end ({why}); \
         nothing was sent"
    )]
    NoRoom {
        /// Why waiting would not end.
        why: &'static str,
    },
    /// The kernel is closing.
    #[error("the kernel is closing; nothing was sent")]
    Closing,
    /// The kernel stopped for good.
    #[error("the kernel has stopped: {0}; nothing was sent. Open it again")]
    Poisoned(Poison),
}

/// Why [`try_send`](crate::Kernel::try_send) did not take an input.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrySendError {
    /// There is no room now. The message is handed back as it would be sent.
    #[error(
        "the kernel has no room for more inputs now; the message is handed back. Wait for \
         `Kernel::room` and send it again"
    )]
    Full(crate::host::Unsent),
    /// As for [`send`](crate::Kernel::send).
    #[error(transparent)]
    Refused(#[from] SendError),
}

/// Why waiting for a ticket ended without its outcome.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WaitError {
    /// In `Dispatch` order, no run has taken the input, so nothing will ever settle it.
    #[error(
        "no run has taken this input yet, so waiting would never end; call `run` or \
         `run_until_idle` first. The input is kept"
    )]
    NotTaken,
    /// The call came from inside a crank, which the outcome may have to wait for.
    #[error("a crank cannot wait for an outcome: it would wait for itself. The input is kept")]
    InsideCrank,
    /// The kernel closed first. Whether the input happened is what the journal says: ask again
    /// under the same request id after reopening.
    #[error(
        "the kernel closed before the outcome was known; the input is in the journal or is not. \
         Ask again under its request id after reopening"
    )]
    Closed,
    /// The journal could not be written: the input may be in it or not.
    #[error(
        "the outcome is indeterminate: {0}. Open the kernel again and ask under the request id"
    )]
    Indeterminate(Poison),
}

/// Why a read gave nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// No vat of that id lives.
    #[error("no vat {vat} lives: it was never made, has ended, or its start is yet to run")]
    NoSuchVat {
        /// The id.
        vat: VatId,
    },
    /// The vat is of another kind than was asked for.
    #[error("vat {vat} is of kind {found:?}, not {asked:?}")]
    OtherKind {
        /// The id.
        vat: VatId,
        /// Its kind.
        found: String,
        /// The kind that was asked for.
        asked: &'static str,
    },
    /// The vat has another version of its kind's code than was asked for.
    #[error(
        "vat {vat} has version {found} of the kind {kind:?}, not {asked}: read it as that, or \
         upgrade it first"
    )]
    OtherVersion {
        /// The id.
        vat: VatId,
        /// Its kind.
        kind: String,
        /// The version that it has.
        found: u32,
        /// The version that was asked for.
        asked: u32,
    },
    /// The state does not decode.
    #[error(transparent)]
    State(#[from] PayloadError),
    /// The journal could not be read.
    #[error("the journal could not be read: {0}")]
    Journal(String),
    /// The wait for the release ended early.
    #[error(transparent)]
    Wait(#[from] WaitError),
}

/// Why a run did not end as it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// `run(budget)` is for `Dispatch` order only.
    #[error("in completion order the kernel runs by itself; use `run_until_idle` to wait for it")]
    RunsByItself,
    /// The kernel is closing.
    #[error("the kernel is closing; nothing was run")]
    Closing,
    /// The wait ended early.
    #[error(transparent)]
    Wait(#[from] WaitError),
    /// The kernel stopped for good.
    #[error("the kernel has stopped: {0}. Open it again")]
    Poisoned(Poison),
}

/// Why the clock was not set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClockError {
    /// The kernel runs on the system's clock.
    #[error("the kernel runs on the system's clock; build it with `Clock::Manual` to set it")]
    NotManual,
    /// Time would go back.
    #[error("the clock stands at {now} and cannot go back to {asked}; it was not set")]
    Backwards {
        /// Where it stands.
        now: u64,
        /// What was asked for.
        asked: u64,
    },
}

/// Why a kernel did not close cleanly. What was released is safe in every case.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CloseError {
    /// Cranks did not end in time.
    #[error(
        "{running} cranks were still running after {waited:?}; everything sequenced is durable and \
         the journal is closed; those cranks had no effect and will run again after reopening, and \
         their threads are left to themselves"
    )]
    Timeout {
        /// How many workers were still in a crank.
        running: usize,
        /// How long was waited.
        waited: Duration,
    },
    /// The call came from inside a crank.
    #[error(
        "a crank cannot wait for its kernel to close: it would wait for itself; the kernel is \
         being closed in the background"
    )]
    InsideCrank,
    /// The kernel had stopped before.
    #[error("the kernel had stopped before: {0}")]
    Poisoned(Poison),
    /// The journal could not be closed.
    #[error(transparent)]
    Journal(#[from] journal::CloseError),
}

/// Why a journal cannot be inspected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InspectError {
    /// It cannot be opened for reading.
    #[error(transparent)]
    Open(#[from] journal::OpenError),
    /// It can, and holds something that cannot be read.
    #[error("{what} at {place} in {}", path.display())]
    Damaged {
        /// The directory.
        path: PathBuf,
        /// What is wrong.
        what: String,
        /// Where.
        place: String,
    },
    /// There is no such record.
    #[error("there is no record {seq}: the journal holds records {first} to {last}")]
    NoSuchRecord {
        /// What was asked for.
        seq: u64,
        /// The first record.
        first: u64,
        /// The last record.
        last: u64,
    },
    /// The disk said no.
    #[error(transparent)]
    Io(#[from] io::Error),
}
