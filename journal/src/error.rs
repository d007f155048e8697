//! The errors, one enum for each operation, each saying what happened, what state things are in, and what to do.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crankcase_vat::Seq;

/// Something stored is not what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// What is wrong.
    pub what: String,
    /// Where: a file and an offset, or a place in the order.
    pub place: String,
    /// What the owner of the journal can do about it.
    pub advice: String,
}

impl Damage {
    pub(crate) const RESTORE: &str =
        "restore the directory from a copy, or keep it for examination; nothing in it was changed";

    pub(crate) fn new(what: impl Into<String>, place: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            place: place.into(),
            advice: Self::RESTORE.into(),
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the journal is damaged: {} ({}); {}",
            self.what, self.place, self.advice
        )
    }
}

impl std::error::Error for Damage {}

/// Why a journal could not be opened. A refusal leaves every byte of the directory as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The path holds something else.
    #[error("{} is not a journal: {why}; nothing was changed; give the path of a journal, or of an empty or absent directory to make one", path.display())]
    NotAJournal {
        /// The path that was given.
        path: PathBuf,
        /// What speaks against it.
        why: String,
    },
    /// A later version of this library wrote it.
    #[error(
        "the journal has format {found}, and this version reads formats up to {supported}; nothing was changed; open it with a newer version"
    )]
    NewerFormat {
        /// The version found.
        found: u16,
        /// The newest version that can be read.
        supported: u16,
    },
    /// The directory was written by an older version, before 1.0, whose format is not read any more.
    #[error(
        "the journal has format {found}, and this version reads format {supported} alone; nothing was changed; open it with the version that wrote it"
    )]
    OlderFormat {
        /// The format of the directory.
        found: u16,
        /// The format that can be read here.
        supported: u16,
    },
    /// Another process, or another kernel in this one, has it open.
    #[error("the journal is open elsewhere; nothing was changed; close the other user first")]
    OpenElsewhere,
    /// Something stored is not what was written.
    #[error(transparent)]
    Damaged(#[from] Damage),
    /// The settings contradict each other or the path.
    #[error("the settings do not fit: {why}; nothing was changed")]
    Settings {
        /// What does not fit.
        why: &'static str,
    },
    /// The operating system said no.
    #[error(
        "{doing}: {source}; acknowledged groups were not changed; mend the cause and open again"
    )]
    Io {
        /// What was being done.
        doing: String,
        /// What the system said.
        source: io::Error,
    },
}

impl OpenError {
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }
}

/// Why a group was not committed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// The write or the sync failed. Whether the group is there is known only after the next open.
    #[error(
        "the write or sync of the group {first} to {last} failed: {source}; the group is indeterminate until the journal is opened again, and this committer takes nothing more"
    )]
    Indeterminate {
        /// The group's first place.
        first: Seq,
        /// The group's last place.
        last: Seq,
        /// What the system said.
        source: io::Error,
    },
    /// An earlier commit failed, which is final for this incarnation.
    #[error(
        "an earlier commit failed, so nothing was written; open the journal again to learn what is durable"
    )]
    Stopped,
    /// The group does not follow on the last one. Nothing was written and the committer can go on.
    #[error("the group starts at {found} but {expected} is next; nothing was written")]
    OutOfOrder {
        /// The place that must come next.
        expected: Seq,
        /// The place at which the group starts.
        found: Seq,
    },
    /// The group is larger than the format allows. Nothing was written and the committer can go on.
    #[error(
        "the group takes {bytes} bytes, more than the {limit_bytes} that one group may take; nothing was written"
    )]
    TooLarge {
        /// The group's size.
        bytes: usize,
        /// The most that one group may take.
        limit_bytes: usize,
    },
}

/// Why a checkpoint was not written. The tables stand where they stood, or, after `Indeterminate`, at either of both.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The place is not durable yet, or behind the last checkpoint. Nothing was written.
    #[error(
        "a checkpoint at {at} does not lie between the last one, {checkpoint}, and the durable place {durable}; nothing was written"
    )]
    OutOfRange {
        /// The place asked for.
        at: Seq,
        /// The last checkpoint.
        checkpoint: Seq,
        /// The durable place shown.
        durable: Seq,
    },
    /// The write or the sync failed. The next open tells which of the two checkpoints stands; both are sound.
    #[error(
        "the write or sync of the checkpoint at {at} failed: {source}; the tables stand at it or at the one before, both sound; this checkpointer takes nothing more"
    )]
    Indeterminate {
        /// The place of the checkpoint.
        at: Seq,
        /// What the system said.
        source: io::Error,
    },
    /// An earlier checkpoint failed.
    #[error("an earlier checkpoint failed, so nothing was written; open the journal again")]
    Stopped,
    /// Reading what the tables held failed. Nothing was written.
    #[error("reading the tables failed, so nothing was written: {0}")]
    Read(#[from] ReadError),
}

/// Why something stored could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// It is there and not what was written.
    #[error(transparent)]
    Damaged(#[from] Damage),
    /// The operating system said no.
    #[error(
        "reading the journal failed: {0}; nothing was changed; try again when the cause is mended"
    )]
    Io(#[from] io::Error),
}

impl ReadError {
    /// Sorts what fjall reports into damage and trouble of the system.
    pub(crate) fn from_fjall(error: fjall::Error, place: &str) -> Self {
        match error {
            fjall::Error::Io(error) | fjall::Error::Storage(fjall::LsmError::Io(error)) => {
                match error.kind() {
                    // A file that ends early or is gone is damage: nothing but this journal may touch its files.
                    io::ErrorKind::UnexpectedEof
                    | io::ErrorKind::NotFound
                    | io::ErrorKind::InvalidData => Self::Damaged(Damage::new(
                        format!("a stored file is cut or missing: {error}"),
                        place,
                    )),
                    _ => Self::Io(error),
                }
            }
            other => Self::Damaged(Damage::new(
                format!("stored bytes do not decode: {other}"),
                place,
            )),
        }
    }
}

/// Why closing failed. Everything acknowledged is durable all the same; the next open finds an unclean end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CloseError {
    /// The last sync failed.
    #[error(
        "the journal was not closed cleanly: {0}; acknowledged groups are durable, and the next open checks them"
    )]
    Io(#[from] io::Error),
}

/// What fjall reports, as a system error for those callers who can only stop.
pub(crate) fn fjall_to_io(error: fjall::Error) -> io::Error {
    match error {
        fjall::Error::Io(error) | fjall::Error::Storage(fjall::LsmError::Io(error)) => error,
        other => io::Error::other(other),
    }
}
