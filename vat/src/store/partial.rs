//! A store of which the tables hold a part that is not in memory.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::Bound;

use super::backing::Tables;
use super::cache::Cache;
use super::{RowKey, Unread, Writes, find, row_bytes};
use crate::ids::{CrankNumber, VatId};

/// Rows that are looked at before a crank, of those that the tables may hold by now: so many, or
/// that part of all if it is more, and some for each row that was written since the last look. So no
/// crank waits for what many have written, and looking keeps ahead of writing.
const LOOKS_AT_ONCE: usize = if cfg!(test) { 4 } else { 256 };
const LOOKS_PER_ALL: usize = 64;
const LOOKS_PER_WRITE: usize = 4;

/// A row that the vat wrote: its value unless it deleted it, and the crank that did.
pub(super) struct Newer {
    number: CrankNumber,
    pub(super) value: Option<Box<[u8]>>,
}

impl Newer {
    fn bytes(&self, key: &[u8]) -> usize {
        row_bytes(
            key.len(),
            self.value.as_ref().map_or(0, |value| value.len()),
        )
    }
}

/// See the module's text.
pub(super) struct Partial {
    /// Every row that was written in a crank which the tables are not known to hold, and those that
    /// they are known to hold and that have yet to be looked at.
    pub(super) newer: BTreeMap<RowKey, Newer>,
    newer_bytes: usize,
    /// What of them has yet to be looked at, because the tables have moved on.
    settling: Option<Settling>,
    /// How many were written since room was last made.
    pub(super) written: usize,
    /// Rows as the tables hold them. None of them is in `newer`, and none was written since the
    /// tables held it; so a row that is here is as good as one that is read now.
    cache: RefCell<Cache>,
    /// That of the tables when they were last asked what they hold.
    generation: Option<u64>,
    /// Why a row could not be read in the crank that runs.
    failure: RefCell<Option<String>>,
    /// Whether the tables are being read. It stays so when reading them panics, which must not
    /// pass for a panic of the vat's.
    reading: Cell<bool>,
}

/// A pass over the newer rows, in the order of their keys.
struct Settling {
    /// The last crank that the tables hold.
    included: CrankNumber,
    /// The last row that was looked at.
    after: Option<RowKey>,
}

impl Partial {
    /// A store with nothing in memory but these rows. Where a key comes twice, the later counts.
    pub(super) fn of(
        newer: impl Iterator<Item = (RowKey, CrankNumber, Option<Box<[u8]>>)>,
    ) -> Self {
        let newer: BTreeMap<_, _> = newer
            .map(|(key, number, value)| (key, Newer { number, value }))
            .collect();
        Self {
            newer_bytes: newer.iter().map(|(key, row)| row.bytes(key)).sum(),
            newer,
            settling: None,
            written: 0,
            cache: RefCell::default(),
            generation: None,
            failure: RefCell::default(),
            reading: Cell::new(false),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.newer_bytes + self.cache.borrow().bytes()
    }

    /// What the budget leaves for rows that the tables hold.
    const fn cache_limit(&self, tables: &Tables) -> usize {
        tables.budget_bytes.saturating_sub(self.newer_bytes)
    }

    /// Reads the tables, and remembers when that fails. After a failure nothing is read any more.
    pub(super) fn read<R>(
        &self,
        tables: Option<&Tables>,
        read: impl FnOnce(&Tables) -> Result<R, String>,
    ) -> Result<R, Unread> {
        if self.reading.get() || self.failure.borrow().is_some() {
            return Err(Unread);
        }
        self.reading.set(true);
        let found = match tables {
            Some(tables) => read(tables),
            None => Err("it is not in memory whole, and no tables were given".to_owned()),
        };
        self.reading.set(false);
        found.map_err(|why| {
            *self.failure.borrow_mut() = Some(why);
            Unread
        })
    }

    /// Why something could not be read since this was last asked.
    pub(super) fn take_failure(&self) -> Option<String> {
        if self.reading.take() {
            return Some("reading the tables panicked".to_owned());
        }
        self.failure.take()
    }

    pub(super) fn get(
        &self,
        vat: VatId,
        key: &[u8],
        tables: &Tables,
    ) -> Result<Option<Vec<u8>>, String> {
        if let Some(row) = find(&self.newer, key) {
            return Ok(row.value.as_deref().map(<[u8]>::to_vec));
        }
        let limit = self.cache_limit(tables);
        if let Some(known) = self.cache.borrow_mut().get(key, limit) {
            return Ok(known);
        }
        let value = tables.backing.get(vat, key)?;
        let kept = value.as_deref().map(Into::into);
        self.cache.borrow_mut().put(key.into(), kept, limit);
        Ok(value)
    }

    pub(super) fn commit(&mut self, number: CrankNumber, writes: Writes) {
        let cache = self.cache.get_mut();
        self.written += writes.len();
        for (key, value) in writes {
            cache.remove(&key);
            let row = Newer { number, value };
            let key_len = key.len();
            self.newer_bytes += row.bytes(&key);
            if let Some(replaced) = self.newer.insert(key, row) {
                self.newer_bytes -=
                    row_bytes(key_len, replaced.value.map_or(0, |value| value.len()));
            }
        }
    }

    pub(super) fn make_room(&mut self, vat: VatId, tables: &Tables) -> Result<(), String> {
        let written = std::mem::take(&mut self.written);
        let generation = tables.backing.generation();
        if self.generation != Some(generation) && !self.newer.is_empty() {
            let included = tables.backing.included(vat)?;
            self.generation = Some(generation);
            self.settling = Some(Settling {
                included,
                after: None,
            });
        }
        if let Some(settling) = self.settling.take() {
            self.settle(settling, written, tables);
        }
        let limit = self.cache_limit(tables);
        self.cache.get_mut().shrink(limit);
        Ok(())
    }

    /// Moves rows that the tables hold to where they can be let go, and looks at a bounded number.
    fn settle(&mut self, settling: Settling, written: usize, tables: &Tables) {
        let some = LOOKS_AT_ONCE.max(self.newer.len() / LOOKS_PER_ALL);
        let looks = some + LOOKS_PER_WRITE * written;
        let Settling { included, after } = settling;
        let behind = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut last: Option<&RowKey> = None;
        let mut settled = Vec::new();
        let rows = self.newer.range((behind, Bound::Unbounded));
        for (looked, (key, row)) in rows.enumerate() {
            if looked == looks {
                let after = last.cloned();
                self.settling = Some(Settling { included, after });
                break;
            }
            if row.number <= included {
                settled.push(key.clone());
            }
            last = Some(key);
        }
        for key in settled {
            let Some(row) = self.newer.remove(&key) else {
                continue;
            };
            self.newer_bytes -= row.bytes(&key);
            let limit = self.cache_limit(tables);
            let cache = self.cache.get_mut();
            cache.put(key.into_boxed(), row.value, limit);
        }
    }
}
