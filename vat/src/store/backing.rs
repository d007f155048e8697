//! What stands behind a store of which only a part is in memory.

use std::ops::Bound;

use crate::ids::{CrankNumber, VatId};

/// Where a range of keys begins and where it ends.
pub type KeyBounds<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

/// A row: its key and its value.
pub type Row = (Vec<u8>, Vec<u8>);

/// The tables behind the stores of vats in memory.
///
/// Tables hold each vat as it was after one of its own earlier cranks, whole. They move on, from a
/// crank to a later one, at moments that nothing in a vat may depend on; so a store keeps what its
/// vat has written since, and lays it over whatever is read here. That is sound as long as
///
/// * the tables never go back, and
/// * each call answers from tables that hold the vat up to the crank that
///   [`included`](Self::included) named before, or a later one.
///
/// Two calls, or two rows of one call, may well see different cranks of the vat. A row in which
/// they differ was written by a crank above the one that was named, so the store has it itself and
/// does not look at what is read of it.
///
/// An error is a row that cannot be known: damage, or a disk that says no. The text says what and
/// where, for people.
pub trait Backing: Send {
    /// The value of one row.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    fn get(&self, vat: VatId, key: &[u8]) -> Result<Option<Vec<u8>>, String>;

    /// The first rows within the bounds, in the order of their keys, or the last ones, against it:
    /// as many as `limit` allows.
    ///
    /// # Errors
    ///
    /// When one of them cannot be read.
    fn rows(
        &self,
        vat: VatId,
        bounds: KeyBounds<'_>,
        forward: bool,
        limit: ChunkLimit,
    ) -> Result<Chunk, String>;

    /// The last crank of the vat that the tables hold; [`CrankNumber::ZERO`] when they do not know
    /// the vat.
    ///
    /// # Errors
    ///
    /// When that cannot be read.
    fn included(&self, vat: VatId) -> Result<CrankNumber, String>;

    /// A number that moves when [`included`](Self::included) may have moved, and is cheap to ask.
    fn generation(&self) -> u64;
}

/// How much one call of [`Backing::rows`] may give: as soon as one of the two is reached, it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkLimit {
    /// Rows, at least one.
    pub rows: usize,
    /// Bytes of keys and values. The row that reaches it is given still.
    pub bytes: usize,
}

/// What one call of [`Backing::rows`] found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chunk {
    /// The rows, in the direction that was asked for.
    pub rows: Vec<Row>,
    /// Whether the limit ended it, so that more may lie behind the last of the rows. Never without
    /// a row.
    pub more: bool,
}

/// The tables as a worker has them: what to read from, and how much a store may keep of it.
pub(crate) struct Tables {
    pub(crate) backing: Box<dyn Backing>,
    /// For each vat, in bytes.
    pub(crate) budget_bytes: usize,
}
