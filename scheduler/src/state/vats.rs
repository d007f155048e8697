//! The table of vats: a lean entry for each that lives, and more only for those that have work or
//! have changed since the last checkpoint.
//!
//! An entry at rest is what a vat costs that is not in memory, so its fields are few. Its state and
//! its rows are in the tables; [`Hot`] holds what is newer than they are.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::sync::Arc;

use crankcase_vat::{DeliveryId, Progress, VatId, VatNumber, mutant};
use hashbrown::HashTable;
use rustc_hash::FxBuildHasher;

use super::KindIndex;
use super::inbox::{Inbox, Waiting, Wanted};

/// A vat's place in the table. It is used again once the vat has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Slot(u32);

impl Slot {
    #[inline]
    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Changes of store rows by key: the new value, or nothing for a row that was removed.
pub(crate) type RowChanges = BTreeMap<Box<[u8]>, Option<Arc<[u8]>>>;

/// What a vat has that the tables do not hold yet.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hot {
    pub(crate) inbox: Inbox,
    /// The encoded state, when it is newer than the tables', with the epoch that made it.
    pub(crate) state: Option<(u32, Vec<u8>)>,
    /// Whether the vat lives no more. Such a vat has work, so this costs those at rest nothing.
    pub(crate) ended: Option<Ended>,
    /// Store rows that changed in this epoch.
    pub(crate) rows: RowChanges,
    /// Those of the epoch that is on its way to the tables, shared with who brings it there.
    pub(crate) frozen_rows: Option<Arc<RowChanges>>,
}

impl Hot {
    /// Changes of store rows that the tables may not hold, in the order of their keys.
    fn newer_rows(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        let mut newer = self.rows.iter().peekable();
        let mut older = self
            .frozen_rows
            .iter()
            .flat_map(|rows| rows.iter())
            .peekable();
        std::iter::from_fn(move || {
            let order = match (newer.peek(), older.peek()) {
                (Some((new, _)), Some((old, _))) => new.cmp(old),
                (None, Some(_)) => Ordering::Greater,
                (_, None) => Ordering::Less,
            };
            if order == Ordering::Equal {
                older.next();
            }
            let next = match order {
                Ordering::Greater => older.next(),
                _ => newer.next(),
            };
            next.map(|(key, value)| (&**key, value.as_deref()))
        })
    }

    fn has_no_newer_rows(&self) -> bool {
        self.rows.is_empty() && self.frozen_rows.is_none()
    }

    /// Whether the tables hold all of it and nothing waits.
    pub(crate) fn is_needless(&self) -> bool {
        self.state.is_none()
            && self.inbox.is_empty()
            && self.has_no_newer_rows()
            && self.ended.is_none()
    }
}

/// A vat that lives.
#[derive(Debug, Clone)]
pub(crate) struct VatEntry {
    pub(crate) id: VatId,
    pub(crate) number: VatNumber,
    pub(crate) progress: Progress,
    /// Deliveries below this number stand in stored chunks.
    pub(crate) stored_tail: u64,
    /// The chunks of the inbox that stand in the tables.
    pub(crate) stored_chunks: std::ops::Range<u32>,
    /// The epoch in which the vat last changed.
    pub(crate) epoch: u32,
    pub(crate) kind: KindIndex,
    /// Whether the tables have a row of it.
    pub(crate) stored: bool,
    pub(crate) hot: Option<Box<Hot>>,
}

/// How a vat that lives no more came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ended {
    /// Whether it ever lived.
    pub(crate) started: bool,
    /// Promises below this number that it was to decide were looked at.
    pub(crate) promises_from: u64,
}

impl VatEntry {
    #[inline]
    fn hot(&mut self) -> &mut Hot {
        self.hot.get_or_insert_default()
    }

    #[inline]
    pub(crate) fn push_waiting(&mut self, waiting: Waiting) {
        self.hot().inbox.push(waiting);
    }

    #[inline]
    pub(crate) fn push_message(&mut self, delivery: DeliveryId, wanted: Wanted) {
        self.hot().inbox.push_message(delivery, wanted);
    }

    /// Takes the first delivery, if it is the one that is expected.
    #[inline]
    pub(crate) fn pop_waiting(&mut self, expected: DeliveryId) -> Option<Waiting> {
        let inbox = &mut self.hot.as_mut()?.inbox;
        if inbox.front()?.delivery != expected {
            return None;
        }
        inbox.pop()
    }

    /// Notes that the vat lives no more; its state is of no use to anyone.
    pub(crate) fn end(&mut self, started: bool) {
        let hot = self.hot();
        hot.state = None;
        hot.ended = Some(Ended {
            started,
            promises_from: 0,
        });
    }

    /// Whether it lives no more, and is here only until what it leaves is let go of.
    #[inline]
    pub(crate) fn ended(&self) -> Option<Ended> {
        self.hot.as_ref()?.ended
    }

    /// Changes how far a vat is that lives no more.
    pub(crate) fn set_ended(&mut self, ended: Ended) {
        self.hot().ended = Some(ended);
    }

    /// The number of the first delivery in the inbox: each crank has consumed one.
    #[inline]
    pub(crate) const fn head(&self) -> u64 {
        self.progress.crank.get()
    }

    /// Replaces the encoded state, reusing its memory.
    #[inline]
    pub(crate) fn set_state(&mut self, state: &[u8]) {
        let epoch = self.epoch;
        let (written, kept) = self.hot().state.get_or_insert_default();
        *written = epoch;
        kept.clear();
        kept.extend_from_slice(state);
    }

    /// Changes a store row.
    pub(crate) fn write_row(&mut self, key: &[u8], value: Option<&[u8]>) {
        // An object's row is written when it is made, and its number is never given again.
        if let Some(number) = crankcase_vat::object_of_row(key) {
            self.progress.objects = self.progress.objects.max(number);
        }
        let value = value.map(Into::into);
        let rows = &mut self.hot().rows;
        match rows.get_mut(key) {
            Some(_) if value.is_none() && mutant("row-not-born-in-its-epoch-vanishes") => {
                rows.remove(key);
            }
            Some(row) => *row = value,
            None => {
                rows.insert(key.into(), value);
            }
        }
    }

    /// The deliveries that wait, in order.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = Waiting> + '_ {
        self.hot.iter().flat_map(|hot| hot.inbox.iter())
    }

    /// Those that wait from a position on, at most `count`.
    pub(crate) fn waiting_range(&self, from: u64, count: u64) -> Vec<Waiting> {
        let hot = self.hot.as_ref();
        hot.map_or_else(Vec::new, |hot| hot.inbox.range(from, count))
    }

    /// Those that wait and are no messages straight to an object.
    pub(crate) fn waiting_others(&self) -> impl Iterator<Item = Waiting> + '_ {
        self.hot.iter().flat_map(|hot| hot.inbox.others())
    }

    /// The lowest record in which a body stands that waits.
    pub(crate) fn oldest_waiting(&self) -> Option<crankcase_vat::Seq> {
        self.hot.as_ref().and_then(|hot| hot.inbox.oldest())
    }

    /// How many deliveries wait.
    pub(crate) fn waiting_count(&self) -> u64 {
        self.hot.as_ref().map_or(0, |hot| hot.inbox.len())
    }

    /// The encoded state, if it is newer than the tables'.
    pub(crate) fn newer_state(&self) -> Option<&[u8]> {
        self.hot
            .as_ref()?
            .state
            .as_ref()
            .map(|(_, state)| &state[..])
    }

    /// Store rows that are newer than the tables'.
    pub(crate) fn newer_rows(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        self.hot.iter().flat_map(|hot| hot.newer_rows())
    }

    /// Whether the tables hold all of it and nothing waits, so that it needs no memory.
    pub(crate) fn is_cold(&self) -> bool {
        self.hot.is_none()
    }
}

/// Entries in pages, so that growing moves nothing and leaves no slack.
const PAGE: usize = 1024;

/// The vats that live, by slot and by id.
#[derive(Debug, Default)]
pub(crate) struct Vats {
    pages: Vec<Vec<Option<VatEntry>>>,
    /// Slots by the hash of their vat's id. The id itself stands in the entry only: with a million
    /// vats at rest a map that repeats it would be a third of what they cost.
    by_id: HashTable<Slot>,
    free: Vec<Slot>,
    slots: u32,
    /// The epoch that gathers changes now.
    pub(super) epoch: u32,
    /// The vats that changed in it.
    pub(super) touched: Vec<Slot>,
}

#[inline]
fn hash_of(id: VatId) -> u64 {
    FxBuildHasher.hash_one(id)
}

impl Vats {
    /// The vat's slot, if it lives.
    #[inline]
    pub(crate) fn find(&self, id: VatId) -> Option<Slot> {
        let found = self.by_id.find(hash_of(id), |&slot| {
            self.cell(slot).is_some_and(|entry| entry.id == id)
        });
        found.copied()
    }

    /// How many vats live.
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    #[inline]
    fn cell(&self, slot: Slot) -> Option<&VatEntry> {
        self.pages
            .get(slot.index() / PAGE)?
            .get(slot.index() % PAGE)?
            .as_ref()
    }

    /// The entry in a slot that [`find`](Self::find) or an effect gave.
    #[inline]
    pub(crate) fn get(&self, slot: Slot) -> &VatEntry {
        self.cell(slot)
            .expect("a slot that was given out is in use until its vat ends")
    }

    /// The entry in a slot, if one is there.
    pub(crate) fn try_get(&self, slot: u32) -> Option<(Slot, &VatEntry)> {
        self.cell(Slot(slot)).map(|entry| (Slot(slot), entry))
    }

    #[inline]
    pub(super) fn get_mut(&mut self, slot: Slot) -> Option<&mut VatEntry> {
        self.pages
            .get_mut(slot.index() / PAGE)?
            .get_mut(slot.index() % PAGE)?
            .as_mut()
    }

    /// The entry, to be changed in the current epoch.
    #[inline]
    pub(super) fn touch(&mut self, slot: Slot) -> &mut VatEntry {
        let epoch = self.epoch;
        let entry = self.pages[slot.index() / PAGE][slot.index() % PAGE]
            .as_mut()
            .expect("a slot that was given out is in use until its vat ends");
        if entry.epoch != epoch {
            entry.epoch = epoch;
            self.touched.push(slot);
        }
        entry
    }

    pub(super) fn insert(&mut self, id: VatId, number: VatNumber, kind: KindIndex) -> Slot {
        let entry = VatEntry {
            id,
            number,
            progress: Progress::default(),
            stored_tail: 0,
            stored_chunks: 0..0,
            epoch: self.epoch,
            kind,
            stored: false,
            hot: None,
        };
        let slot = self.put(entry);
        self.touched.push(slot);
        slot
    }

    /// Puts an entry into a free slot.
    pub(super) fn put(&mut self, entry: VatEntry) -> Slot {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots += 1;
            Slot(self.slots - 1)
        });
        if slot.index() / PAGE == self.pages.len() {
            self.pages.push(Vec::with_capacity(PAGE));
        }
        let id = entry.id;
        let page = &mut self.pages[slot.index() / PAGE];
        if slot.index() % PAGE == page.len() {
            page.push(Some(entry));
        } else {
            page[slot.index() % PAGE] = Some(entry);
        }
        let pages = &self.pages;
        self.by_id.insert_unique(hash_of(id), slot, |&slot| {
            let entry = pages[slot.index() / PAGE][slot.index() % PAGE].as_ref();
            hash_of(entry.expect("a slot in the table is in use").id)
        });
        slot
    }

    pub(super) fn remove(&mut self, slot: Slot) -> VatEntry {
        let entry = self.pages[slot.index() / PAGE][slot.index() % PAGE]
            .take()
            .expect("a slot that was given out is in use until its vat ends");
        if let Ok(found) = self
            .by_id
            .find_entry(hash_of(entry.id), |&known| known == slot)
        {
            found.remove();
        }
        self.free.push(slot);
        entry
    }

    /// Whether the slot's vat lives and `delivery` is the first in its inbox.
    #[inline]
    pub(super) fn is_first(&self, slot: Slot, delivery: DeliveryId) -> bool {
        let first = self
            .cell(slot)
            .and_then(|entry| entry.hot.as_ref()?.inbox.front());
        first.is_some_and(|first| first.delivery == delivery)
    }

    /// All vats, in the order of their slots.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Slot, &VatEntry)> {
        (0..self.slots).filter_map(|slot| self.try_get(slot))
    }

    pub(super) fn first_difference(&self, other: &Self) -> Option<String> {
        for (_, entry) in self.iter() {
            let Some(slot) = other.find(entry.id) else {
                return Some(format!("vat {} is on one side only", entry.id));
            };
            let twin = other.get(slot);
            let facts = |e: &VatEntry| (e.number, e.progress.clone(), e.kind, e.ended());
            if facts(entry) != facts(twin) {
                return Some(format!(
                    "vat {}: {:?} against {:?}",
                    entry.id,
                    facts(entry),
                    facts(twin)
                ));
            }
            if !entry.waiting().eq(twin.waiting()) {
                return Some(format!("the inboxes of vat {} differ", entry.id));
            }
        }
        (self.len() != other.len()).then(|| "one side has vats that the other lacks".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_the_frozen_epoch_stand_behind_those_that_changed_since() {
        let changes = |rows: &[(u8, Option<u8>)]| -> RowChanges {
            let row = |&(key, value): &(u8, Option<u8>)| {
                ([key].into(), value.map(|value| [value].as_slice().into()))
            };
            rows.iter().map(row).collect()
        };
        let frozen = [(1, Some(1)), (2, Some(2)), (4, None), (6, Some(6))];
        let rows = [(2, None), (3, Some(3)), (4, Some(9)), (7, Some(7))];
        let expected = [
            (1, Some(1)),
            (2, None),
            (3, Some(3)),
            (4, Some(9)),
            (6, Some(6)),
            (7, Some(7)),
        ];
        for (rows, frozen, expected) in [
            (&rows[..], &frozen[..], &expected[..]),
            (&rows, &[], &rows),
            (&[], &frozen, &frozen),
            (&[], &[], &[]),
        ] {
            let hot = Hot {
                rows: changes(rows),
                frozen_rows: (!frozen.is_empty()).then(|| Arc::new(changes(frozen))),
                ..Hot::default()
            };
            let found: Vec<_> = hot
                .newer_rows()
                .map(|(key, value)| (key[0], value.map(|value| value[0])))
                .collect();
            assert_eq!(found, expected);
        }
    }
}
