//! A vat's ordered key-value store: what the vat has written, over what the tables hold.
//!
//! A store begins *complete*: all of its rows are in memory, and a read touches nothing else. It
//! stays so while they are within the budget. When they are not, it becomes *partial*: in memory
//! are the rows that the tables may not hold yet, which must stay, and of those that they hold as
//! many as the budget has room for; everything else is read from the tables when it is asked for.
//!
//! What a crank reads is the same in both, with any budget, and whenever the tables move on. The
//! argument stands with [`Backing`]: the tables hold the vat as of one of its own cranks, every
//! row that it wrote in a later one is in [`Partial`]'s overlay, and a row leaves the overlay only
//! when the tables are known to have it.
//!
//! This holds for vats that live. What the clean-up of one that has ended removes is not written
//! here, so behind its cursor there may be rows that are gone; nothing reads them (`live.rs`).
//!
//! This knows no disk, and of a key nothing but its bytes.

mod backing;
mod cache;
mod key;
mod partial;
mod walk;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Bound;

use crate::ids::{CrankNumber, VatId};

pub use backing::{Backing, Chunk, ChunkLimit, KeyBounds, Row};

pub(crate) use backing::Tables;
pub(crate) use key::{RowKey, find};
pub(crate) use walk::Walk;

use partial::Partial;

/// All rows of a complete store.
pub(crate) type Rows = BTreeMap<RowKey, Box<[u8]>>;

/// What a crank has written: a value, or nothing for a deleted row.
pub(crate) type Writes = BTreeMap<RowKey, Option<Box<[u8]>>>;

/// What a row is taken to cost in memory besides its key and its value.
const ROW_OVERHEAD_BYTES: usize = 64;

const fn row_bytes(key: usize, value: usize) -> usize {
    key + value + ROW_OVERHEAD_BYTES
}

/// A vat's store in memory, or the part of it that is there.
pub struct Store(Held);

enum Held {
    Complete(Complete),
    Partial(Box<Partial>),
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("complete", &self.is_complete())
            .field("bytes", &self.bytes())
            .finish()
    }
}

#[derive(Default)]
struct Complete {
    rows: Rows,
    bytes: usize,
    /// Rows that are gone and that the tables may still have. No read looks here; a store that
    /// becomes partial must know them.
    deleted: Option<Box<Deleted>>,
}

/// Deleted rows in the order in which they went, with the cranks that removed them.
#[derive(Default)]
struct Deleted {
    keys: Vec<(CrankNumber, RowKey)>,
    bytes: usize,
    /// With so many bytes, it is worth asking whether the tables have moved on.
    enough_bytes: usize,
    generation: u64,
}

/// Deleted rows below this are not worth a question to the tables.
const FEW_DELETED_BYTES: usize = 16 << 10;

impl Default for Store {
    /// The store of a vat that was just made.
    fn default() -> Self {
        Self(Held::Complete(Complete::default()))
    }
}

impl Store {
    /// The store of a vat that comes into memory: `newer` over `stored`.
    ///
    /// `stored` gives the rows that the tables hold of the vat, in the order of their keys, and is
    /// read only as far as they fit the budget, which is bytes of keys and values and 64 for each
    /// row. `newer` are rows that the tables may not hold, each once, the last crank in which one
    /// of them was written being `number` or an earlier one.
    ///
    /// # Errors
    ///
    /// The first error of `stored`.
    pub fn load<E>(
        newer: impl IntoIterator<Item = (Box<[u8]>, Option<Box<[u8]>>)>,
        number: CrankNumber,
        stored: impl IntoIterator<Item = Result<Row, E>>,
        budget_bytes: usize,
    ) -> Result<Self, E> {
        let newer = newer.into_iter();
        let newer: Writes = newer
            .map(|(key, value)| (RowKey::from(&key[..]), value))
            .collect();
        let mut all = Complete::default();
        let live = newer
            .iter()
            .filter_map(|(key, value)| Some((key, value.as_ref()?)));
        all.bytes = live
            .map(|(key, value)| row_bytes(key.len(), value.len()))
            .sum();
        let mut stored = stored.into_iter();
        while all.bytes <= budget_bytes {
            let Some(row) = stored.next() else {
                for (key, value) in newer {
                    match value {
                        Some(value) => drop(all.rows.insert(key, value)),
                        None => all.note_deleted(number, key),
                    }
                }
                return Ok(Self(Held::Complete(all)));
            };
            let (key, value) = row?;
            if find(&newer, &key).is_none() {
                all.bytes += row_bytes(key.len(), value.len());
                all.rows.insert(RowKey::from(&key[..]), value.into());
            }
        }
        let newer = newer.into_iter();
        let newer = newer.map(|(key, value)| (key, number, value));
        Ok(Self(Held::Partial(Box::new(Partial::of(newer)))))
    }

    /// Bytes of keys and values in memory, and 64 for each row.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match &self.0 {
            Held::Complete(all) => all.bytes + all.deleted.as_ref().map_or(0, |gone| gone.bytes),
            Held::Partial(part) => part.bytes(),
        }
    }

    /// Whether all rows are in memory.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        matches!(self.0, Held::Complete(_))
    }

    /// Whether there is something that [`make_room`](Self::make_room) might let go.
    #[inline]
    pub(crate) fn wants_room(&self, tables: &Tables) -> bool {
        match &self.0 {
            Held::Complete(all) => {
                let gone = all.deleted.as_ref();
                all.bytes > tables.budget_bytes
                    || gone.is_some_and(|gone| gone.bytes >= gone.enough_bytes)
            }
            Held::Partial(part) => part.bytes() > tables.budget_bytes,
        }
    }

    /// Makes room before the crank that follows `last`: what the tables are found to hold is let
    /// go where the store is above its budget.
    ///
    /// # Errors
    ///
    /// When the tables cannot be read. The store is as it was, or nearer to its budget.
    #[cold]
    pub(crate) fn make_room(
        &mut self,
        vat: VatId,
        last: CrankNumber,
        tables: &Tables,
    ) -> Result<(), String> {
        match &mut self.0 {
            Held::Complete(all) => {
                if all.bytes > tables.budget_bytes {
                    let part = std::mem::take(all).into_partial(last);
                    self.0 = Held::Partial(Box::new(part));
                    return self.make_room(vat, last, tables);
                }
                match &mut all.deleted {
                    Some(gone) => gone.forget(vat, tables),
                    None => Ok(()),
                }
            }
            Held::Partial(part) => part.make_room(vat, tables),
        }
    }

    /// The rows that are in memory.
    #[cfg(test)]
    pub(crate) fn rows_in_memory(&self) -> Rows {
        match &self.0 {
            Held::Complete(all) => all.rows.clone(),
            Held::Partial(part) => part
                .newer
                .iter()
                .filter_map(|(key, row)| Some((key.clone(), row.value.clone()?)))
                .collect(),
        }
    }

    /// Takes over what a crank has written.
    pub(crate) fn commit(&mut self, number: CrankNumber, writes: Writes, has_tables: bool) {
        match &mut self.0 {
            Held::Complete(all) => all.commit(number, writes, has_tables),
            Held::Partial(part) => part.commit(number, writes),
        }
    }
}

impl Complete {
    fn commit(&mut self, number: CrankNumber, writes: Writes, has_tables: bool) {
        for (key, value) in writes {
            match value {
                Some(value) => {
                    self.bytes += row_bytes(key.len(), value.len());
                    match self.rows.entry(key) {
                        Entry::Vacant(entry) => drop(entry.insert(value)),
                        Entry::Occupied(mut entry) => {
                            self.bytes -= row_bytes(entry.key().len(), entry.get().len());
                            entry.insert(value);
                        }
                    }
                }
                None => {
                    // A row that is not here is not in the tables either, or was noted before.
                    let Some((key, value)) = self.rows.remove_entry(&key) else {
                        continue;
                    };
                    self.bytes -= row_bytes(key.len(), value.len());
                    if has_tables {
                        self.note_deleted(number, key);
                    }
                }
            }
        }
    }

    fn note_deleted(&mut self, number: CrankNumber, key: RowKey) {
        let gone = self.deleted.get_or_insert_with(|| {
            Box::new(Deleted {
                enough_bytes: FEW_DELETED_BYTES,
                ..Deleted::default()
            })
        });
        gone.bytes += row_bytes(key.len(), 0);
        gone.keys.push((number, key));
    }

    /// The same rows in a store that may let go of some. Which of them the tables hold is not
    /// known, so all count as written in the last crank.
    fn into_partial(self, last: CrankNumber) -> Partial {
        let deleted = self.deleted.into_iter().flat_map(|gone| gone.keys);
        // A row that came back after it was deleted is among the rows, which stand behind.
        let deleted = deleted.map(|(number, key)| (key, number, None));
        let rows = self.rows.into_iter();
        let rows = rows.map(|(key, value)| (key, last, Some(value)));
        let mut part = Partial::of(deleted.chain(rows));
        // They are the budget's and those of the last crank, and all are looked at at once.
        part.written = part.newer.len();
        part
    }
}

impl Deleted {
    /// Forgets what the tables no longer have.
    fn forget(&mut self, vat: VatId, tables: &Tables) -> Result<(), String> {
        let generation = tables.backing.generation();
        if self.generation != generation {
            let included = tables.backing.included(vat)?;
            self.generation = generation;
            self.keys.retain(|(number, _)| *number > included);
            let bytes = self.keys.iter().map(|(_, key)| row_bytes(key.len(), 0));
            self.bytes = bytes.sum();
        }
        self.enough_bytes = FEW_DELETED_BYTES.max(2 * self.bytes);
        Ok(())
    }
}

/// A store as one crank reads it: what was committed before.
#[derive(Clone, Copy)]
pub(crate) struct Committed<'a> {
    store: &'a Store,
    tables: Option<&'a Tables>,
}

impl<'a> Committed<'a> {
    #[inline]
    pub(crate) const fn new(store: &'a Store, tables: Option<&'a Tables>) -> Self {
        Self { store, tables }
    }

    /// Why what the crank did rests on something that could not be read, if it does.
    #[inline]
    pub(crate) fn take_failure(self) -> Option<String> {
        match &self.store.0 {
            Held::Complete(_) => None,
            Held::Partial(part) => part.take_failure(),
        }
    }

    /// The value of a row where it stands, if all of them are in memory.
    #[inline]
    pub(crate) fn in_memory(self, key: &[u8]) -> Option<Option<&'a [u8]>> {
        match &self.store.0 {
            Held::Complete(all) => Some(find(&all.rows, key).map(AsRef::as_ref)),
            Held::Partial(_) => None,
        }
    }

    /// The value of a row; an error if it cannot be known, which stays with the store until it is
    /// taken.
    #[inline]
    pub(crate) fn get(self, vat: VatId, key: &[u8]) -> Result<Option<Vec<u8>>, Unread> {
        match &self.store.0 {
            Held::Complete(all) => Ok(find(&all.rows, key).map(|value| value.to_vec())),
            Held::Partial(part) => part.read(self.tables, |tables| part.get(vat, key, tables)),
        }
    }
}

/// Something could not be read; why is kept in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unread;

/// The first row of a complete store within the bounds under the writes of a crank, or the last.
fn edge<'a>(
    rows: &'a Rows,
    writes: &'a Writes,
    bounds: KeyBounds<'_>,
    forward: bool,
) -> Option<(&'a [u8], &'a [u8])> {
    if is_empty(bounds) {
        return None;
    }
    let mut committed = rows
        .range::<[u8], _>(bounds)
        .map(|(key, value)| (&**key, &**value));
    let mut written = writes
        .range::<[u8], _>(bounds)
        .map(|(key, value)| (&**key, value.as_deref()));
    let mut next = || {
        if forward {
            committed.next()
        } else {
            committed.next_back()
        }
    };
    let mut next_written = || {
        if forward {
            written.next()
        } else {
            written.next_back()
        }
    };
    let mut row = next();
    let mut write = next_written();
    loop {
        let write_first = match (row, write) {
            (_, None) => return row,
            (None, Some(_)) => true,
            (Some((row_key, _)), Some((write_key, _))) => {
                if row_key == write_key {
                    // The write stands above the row: the row is not seen.
                    row = next();
                    true
                } else {
                    (write_key < row_key) == forward
                }
            }
        };
        if !write_first {
            return row;
        }
        match write {
            Some((key, Some(value))) => return Some((key, value)),
            _ => write = next_written(),
        }
    }
}

/// The bounds of all keys that begin with `prefix`.
pub(crate) fn prefix_bounds(prefix: &[u8]) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    // The first key behind all that begin with the prefix: its last byte below 255, raised.
    let mut end = prefix.to_vec();
    while end.last() == Some(&u8::MAX) {
        end.pop();
    }
    let high = match end.last_mut() {
        Some(last) => {
            *last += 1;
            Bound::Excluded(end)
        }
        None => Bound::Unbounded,
    };
    (Bound::Included(prefix.to_vec()), high)
}

/// Whether no key can lie within the bounds; `BTreeMap::range` panics on some of those.
fn is_empty(bounds: KeyBounds<'_>) -> bool {
    match bounds {
        (Bound::Included(low), Bound::Included(high)) => low > high,
        (Bound::Included(low) | Bound::Excluded(low), Bound::Excluded(high))
        | (Bound::Excluded(low), Bound::Included(high)) => low >= high,
        _ => false,
    }
}

#[cfg(test)]
pub(crate) mod tests;
