//! A walk over the rows of a store within a crank, in either direction.
//!
//! Three layers come together, of which the upper hides the lower: what the crank has written,
//! what its vat has written before and the tables may not hold, and the tables. The first changes
//! while the walk goes on and is looked at for every step; so a row that the crank writes ahead of
//! the walk is seen, and one behind it is not. The other two stand still during a crank, as far as
//! it can see, so rows of theirs are read ahead, a chunk at a time.

use std::collections::VecDeque;
use std::ops::Bound;

use super::backing::{ChunkLimit, KeyBounds, Row, Tables};
use super::partial::Partial;
use super::{Committed, Held, Unread, Writes, edge, is_empty};
use crate::ids::VatId;

/// The first chunk of a walk; each further one is twice as long.
const FIRST_CHUNK_ROWS: usize = 8;
const LAST_CHUNK_ROWS: usize = 256;
/// A chunk ends with the row that reaches this, whatever its number of rows.
const CHUNK_BYTES: usize = 64 << 10;

/// What a walk has read ahead of what the crank may write.
#[derive(Default)]
pub(crate) struct Walk {
    ahead: VecDeque<Row>,
    /// The last key that reading ahead has passed.
    passed: Option<Vec<u8>>,
    /// Nothing lies behind what was read ahead.
    ended: bool,
    chunk_rows: usize,
}

impl Walk {
    /// A walk that will take so many steps, and reads all of them at once where it reads the tables.
    pub(crate) fn of(rows: usize) -> Self {
        Self {
            // Doubled before it is used.
            chunk_rows: rows.div_ceil(2),
            ..Self::default()
        }
    }

    /// The next row within the bounds, which end where the walk stands.
    #[inline]
    pub(crate) fn next(
        &mut self,
        committed: Committed<'_>,
        vat: VatId,
        writes: &Writes,
        bounds: KeyBounds<'_>,
        forward: bool,
    ) -> Result<Option<Row>, Unread> {
        match &committed.store.0 {
            Held::Complete(all) => Ok(edge(&all.rows, writes, bounds, forward)
                .map(|(key, value)| (key.to_vec(), value.to_vec()))),
            Held::Partial(part) => part.read(committed.tables, |tables| {
                self.step(part, vat, tables, writes, bounds, forward)
            }),
        }
    }

    fn step(
        &mut self,
        part: &Partial,
        vat: VatId,
        tables: &Tables,
        writes: &Writes,
        bounds: KeyBounds<'_>,
        forward: bool,
    ) -> Result<Option<Row>, String> {
        if is_empty(bounds) {
            return Ok(None);
        }
        let mut written = writes.range::<[u8], _>(bounds);
        let mut next_written = || {
            if forward {
                written.next()
            } else {
                written.next_back()
            }
        };
        let mut write = next_written();
        loop {
            if self.ahead.is_empty() && !self.ended {
                self.read_ahead(part, vat, tables, bounds, forward)?;
            }
            let Some((key, value)) = write else {
                return Ok(self.ahead.pop_front());
            };
            if let Some((ahead, _)) = self.ahead.front() {
                if ahead[..] == key[..] {
                    // The write stands above the row: the row is not seen.
                    self.ahead.pop_front();
                } else if (ahead[..] < key[..]) == forward {
                    return Ok(self.ahead.pop_front());
                }
            }
            match value {
                Some(value) => return Ok(Some((key.to_vec(), value.to_vec()))),
                None => write = next_written(),
            }
        }
    }

    /// Reads until there is a row ahead, or nothing more.
    fn read_ahead(
        &mut self,
        part: &Partial,
        vat: VatId,
        tables: &Tables,
        bounds: KeyBounds<'_>,
        forward: bool,
    ) -> Result<(), String> {
        while self.ahead.is_empty() && !self.ended {
            let passed = self.passed.take();
            let rest = match (&passed, forward) {
                (None, _) => bounds,
                (Some(key), true) => (Bound::Excluded(&key[..]), bounds.1),
                (Some(key), false) => (bounds.0, Bound::Excluded(&key[..])),
            };
            if is_empty(rest) {
                self.ended = true;
                break;
            }
            let rows = (self.chunk_rows * 2).clamp(FIRST_CHUNK_ROWS, LAST_CHUNK_ROWS);
            self.chunk_rows = rows;
            let limit = ChunkLimit {
                rows,
                bytes: CHUNK_BYTES,
            };
            let chunk = tables.backing.rows(vat, rest, forward, limit)?;
            let mut newer = part.newer.range::<[u8], _>(rest);
            let newer = std::iter::from_fn(|| {
                if forward {
                    newer.next()
                } else {
                    newer.next_back()
                }
            });
            let newer = newer.map(|(key, row)| (&**key, row.value.as_deref()));
            self.merge(chunk.rows, chunk.more, newer, forward, limit);
        }
        Ok(())
    }

    /// Lays the newer rows over those that were read, as far as both are known.
    fn merge<'n>(
        &mut self,
        stored: Vec<Row>,
        more: bool,
        newer: impl Iterator<Item = (&'n [u8], Option<&'n [u8]>)>,
        forward: bool,
        limit: ChunkLimit,
    ) {
        let mut newer = newer.peekable();
        let mut bytes = 0;
        let mut stored = stored.into_iter().peekable();
        loop {
            // The stored rows that were asked for come out whole, or reading them was for nothing;
            // but of the newer ones there may be any number between two of them.
            let enough = self.ahead.len() >= 2 * limit.rows || bytes >= 2 * limit.bytes;
            if enough {
                self.passed = self.ahead.back().map(|(key, _)| key.clone());
                return;
            }
            let order = match (stored.peek(), newer.peek()) {
                (None, None) => {
                    self.ended = true;
                    return;
                }
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some((key, _)), Some((newer_key, _))) => {
                    let order = key[..].cmp(newer_key);
                    if forward { order } else { order.reverse() }
                }
            };
            let mut passed = None;
            if order.is_le() {
                let row = stored.next().expect("it was there to be compared");
                if order.is_lt() {
                    bytes += row.0.len() + row.1.len();
                    self.ahead.push_back(row);
                } else {
                    passed = Some(row.0);
                }
            }
            if order.is_ge() {
                let (key, value) = newer.next().expect("it was there to be compared");
                if let Some(value) = value {
                    bytes += key.len() + value.len();
                    self.ahead.push_back((key.to_vec(), value.to_vec()));
                }
            }
            if more && stored.peek().is_none() && order.is_le() {
                // What the tables hold behind this is not known yet.
                let last = || self.ahead.back().map(|(key, _)| key.clone());
                self.passed = passed.or_else(last);
                return;
            }
        }
    }
}
