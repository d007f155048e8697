//! A store of which the tables hold a part that is not in memory.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use super::backing::Tables;
use super::cache::Cache;
use super::{RowKey, Unread, Writes, find, row_bytes};
use crate::ids::{CrankNumber, VatId};

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
    /// Every row that was written in a crank which the tables are not known to hold.
    pub(super) newer: BTreeMap<RowKey, Newer>,
    newer_bytes: usize,
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
        let generation = tables.backing.generation();
        if self.generation != Some(generation) && !self.newer.is_empty() {
            let included = tables.backing.included(vat)?;
            self.generation = Some(generation);
            self.settle(included, tables);
        }
        let limit = self.cache_limit(tables);
        self.cache.get_mut().shrink(limit);
        Ok(())
    }

    /// Moves the rows that the tables hold to where they can be let go.
    fn settle(&mut self, included: CrankNumber, tables: &Tables) {
        let (kept, settled): (BTreeMap<_, _>, Vec<_>) = {
            let mut settled = Vec::new();
            let kept = std::mem::take(&mut self.newer)
                .into_iter()
                .filter_map(|(key, row)| {
                    if row.number > included {
                        return Some((key, row));
                    }
                    settled.push((key, row.value));
                    None
                })
                .collect();
            (kept, settled)
        };
        self.newer = kept;
        self.newer_bytes = self.newer.iter().map(|(key, row)| row.bytes(key)).sum();
        let limit = self.cache_limit(tables);
        let cache = self.cache.get_mut();
        for (key, value) in settled {
            cache.put(key.into_boxed(), value, limit);
        }
    }
}
