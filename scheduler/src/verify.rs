//! Checking a whole journal: chain, contiguity, witness, and that the tables are what `apply` makes
//! of the records.

use std::fmt;
use std::path::Path;

use crankcase_journal::{ActivityHash, PrivateCopy, ReadError};
use crankcase_vat::Seq;
use crankcase_vat::record::Record;

use crate::error::OpenError;
use crate::recovery::{order_of, stored_shapes};
use crate::state::{Audit, Effect, State, first_difference, first_row_difference};

/// What a verification checked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifyReport {
    /// The first record that is kept.
    pub first: Seq,
    /// The last record.
    pub last: Seq,
    /// The activity hash there.
    pub activity_hash: ActivityHash,
    /// Groups read.
    pub groups: u64,
    /// Records read.
    pub records: u64,
    /// The record from which on the hash chain was checked.
    pub hashed_from: Seq,
    /// The record at which the tables stand.
    pub checkpoint: Seq,
    /// Rows in the tables, all of which agree with their digest.
    pub rows: u64,
    /// Whether the tables were compared with what `apply` makes of all records from the first.
    /// Not possible once retention has dropped the first.
    pub replayed: bool,
}

impl fmt::Display for VerifyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "ok: records {} to {} in {} groups, hashed from {}, activity hash {}; tables at {} with {} rows",
            self.first,
            self.last,
            self.groups,
            self.hashed_from,
            self.activity_hash,
            self.checkpoint,
            self.rows,
        )?;
        f.write_str(if self.replayed {
            ", equal to what the records make"
        } else {
            ", equal to their digest; they could not be compared with the records, of which the \
             first were dropped"
        })
    }
}

/// Why a journal is not in order, or could not be checked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// It cannot be opened for reading: not a journal, newer, open elsewhere, damaged, or the disk
    /// said no.
    #[error(transparent)]
    Open(#[from] crankcase_journal::OpenError),
    /// The first thing that is wrong.
    #[error("{what}; nothing was changed")]
    Damaged {
        /// What, and where.
        what: String,
    },
    /// The disk said no.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl From<ReadError> for VerifyError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Io(error) => Self::Io(error),
            damaged => Self::damaged(&damaged),
        }
    }
}

impl VerifyError {
    fn damaged(what: &dyn fmt::Display) -> Self {
        Self::Damaged {
            what: what.to_string(),
        }
    }
}

/// Checks everything that is stored in the journal at `path`, on a private copy. Every byte of the
/// directory stays as it is.
///
/// # Errors
///
/// [`VerifyError`] with the first thing wrong.
pub fn verify(path: impl AsRef<Path>) -> Result<VerifyReport, VerifyError> {
    let copy = PrivateCopy::of(path.as_ref())?;
    let order =
        order_of(copy.identity()).map_err(|error: OpenError| VerifyError::damaged(&error))?;
    stored_shapes(copy.groups()).map_err(|error| VerifyError::damaged(&error))?;
    let tables = copy.tables().snapshot()?;
    let checkpoint = copy.recovered().checkpoint;
    let stored = State::load(order, &tables).map_err(|error| VerifyError::damaged(&error))?;
    let from_first = copy.groups().first_retained() <= Seq::ZERO.next();

    // From nothing when all records are there, so that the tables can be compared on the way;
    // otherwise from the tables, so that at least the later records are applied.
    let mut state = if from_first {
        State::new(order)
    } else {
        stored
    };
    let mut compared: Option<Result<(), String>> = None;
    let mut effects: Vec<Effect> = Vec::new();
    let mut audit = Audit::default();
    let mut on_record = |seq: Seq, bytes: &[u8]| {
        let record = Record::parse(bytes).map_err(|error| error.to_string())?;
        record.validate().map_err(|error| error.to_string())?;
        if seq <= state.last() {
            return Ok(());
        }
        state
            .apply(bytes, &mut effects)
            .map_err(|error| error.to_string())?;
        effects.clear();
        drop(state.take_remains());
        audit.note(seq, bytes).map_err(|error| error.to_string())?;
        if from_first && seq == checkpoint {
            compared = Some(compare(order, &tables, &state));
        }
        Ok(())
    };
    let log = copy.verify_log(&mut on_record)?;
    if from_first && checkpoint == Seq::ZERO {
        compared = Some(compare(order, &tables, &State::new(order)));
    }
    if from_first {
        audit
            .compare(&state)
            .map_err(|difference| VerifyError::damaged(&format!("recounted: {difference}")))?;
    }
    let digest = copy.verify_tables_digest()?;
    if let Some(Err(difference)) = compared {
        return Err(VerifyError::damaged(&format!(
            "the tables at record {checkpoint} are not what the records make: {difference}"
        )));
    }
    Ok(VerifyReport {
        first: log.first,
        last: log.last,
        activity_hash: log.hash,
        groups: log.groups,
        records: log.records,
        hashed_from: log.hashed_from,
        checkpoint,
        rows: digest.rows,
        replayed: from_first,
    })
}

fn compare(
    order: crate::order::CommitOrder,
    tables: &crankcase_journal::TableSnapshot,
    applied: &State,
) -> Result<(), String> {
    let stored = State::load(order, tables).map_err(|error| error.to_string())?;
    if let Some(difference) = first_difference(&stored, applied) {
        return Err(difference);
    }
    match first_row_difference(applied, tables).map_err(|error| error.to_string())? {
        Some(difference) => Err(difference),
        None => Ok(()),
    }
}
