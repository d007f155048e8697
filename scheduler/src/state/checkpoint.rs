//! What the tables get at a checkpoint, and how the state comes back from them.
//!
//! Changes gather in the entries themselves. Freezing an epoch copies what it changed into a batch of
//! rows and begins the next one; the entries keep their newer values until the batch is known to be
//! in the tables, so that a vat can be loaded at any moment from its entry over the tables, and
//! nothing is looked for in between.
//!
//! Store rows, of which one vat may have changed a million, are not copied: those of an epoch are set
//! aside as a whole, shared with whoever writes them, and let go of as a whole.

use std::collections::BTreeSet;
use std::sync::Arc;

use crankcase_journal::{ReadError, RowBatch, TableSnapshot};
use crankcase_vat::codec::{Reader, put_varint};
use crankcase_vat::{DecodeError, DeliveryId, PromiseId, Seq, VatId, mutant};

use super::counts::Count;
use super::inbox::{CHUNK, decode_chunk};
use super::promises::Promise;
use super::requests::RequestState;
use super::rows::{
    COUNTERS, Counters, HOLDS, INBOXES, KINDS, NAMES, OBJECTS, PROMISES, REQUESTS, STATES, STORES,
    SWEEPS, VATS, VatRow, inbox_key, object_key, object_of_key, reference_key, reference_of_key,
    store_key, vat_of_key,
};
use super::vats::{RowChanges, Slot, VatEntry};
use super::{Fate, JournalKind, Remains, State};
use crate::order::CommitOrder;

/// Changes since the last freeze that stand in no entry.
#[derive(Debug, Default)]
pub(super) struct Dirty {
    pub(super) counters: bool,
    pub(super) kinds: bool,
    pub(super) names: BTreeSet<String>,
    /// Vats with rows in the tables that ended.
    ended: Vec<Ended>,
}

#[derive(Debug)]
struct Ended {
    id: VatId,
    chunks: std::ops::Range<u32>,
}

impl Dirty {
    pub(super) fn end(&mut self, entry: &VatEntry) {
        if entry.stored {
            self.ended.push(Ended {
                id: entry.id,
                chunks: entry.stored_chunks.clone(),
            });
        }
    }
}

/// The rows that bring the tables up to a frozen epoch.
#[derive(Debug, Default)]
pub(crate) struct EpochRows {
    batch: RowBatch,
    stores: Vec<(VatId, Arc<RowChanges>)>,
}

impl EpochRows {
    /// All of them in one batch.
    pub(crate) fn into_batch(self) -> RowBatch {
        let Self { mut batch, stores } = self;
        for (id, rows) in stores {
            for (key, value) in rows.iter() {
                match value {
                    Some(value) => {
                        batch.put_shared(STORES, &store_key(id, key), Arc::clone(value));
                    }
                    None => batch.delete(STORES, &store_key(id, key)),
                }
            }
        }
        batch
    }
}

/// An epoch that was frozen: the rows that bring the tables up to `at`.
#[derive(Debug)]
pub(crate) struct Frozen {
    pub(crate) at: Seq,
    pub(crate) rows: EpochRows,
    pub(crate) epoch: u32,
    touched: Vec<Slot>,
    /// The lowest place in whose record a delivery stands that waits at `at`. What waits at any
    /// later place was waiting then, or was produced since.
    pub(crate) oldest_waiting: Option<Seq>,
}

/// Why the state cannot be made from the tables.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The tables cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A row holds what no kernel wrote.
    #[error("the row of {what} cannot be decoded: {why}")]
    Row {
        /// Whose row.
        what: String,
        /// What is wrong with it.
        why: String,
    },
}

fn bad_row(what: impl Into<String>) -> impl FnOnce(DecodeError) -> LoadError {
    let what = what.into();
    move |why| LoadError::Row {
        what,
        why: why.to_string(),
    }
}

impl State {
    /// How many vats changed since the last freeze.
    pub(crate) fn touched(&self) -> usize {
        self.vats.touched.len()
    }

    /// Ends the epoch: the rows that it changed, as of the last record applied.
    /// Looks for the oldest delivery that waits only when asked to, because it looks at all vats.
    pub(crate) fn freeze(&mut self, with_oldest: bool) -> Frozen {
        let mut frozen = EpochRows::default();
        let rows = &mut frozen.batch;
        let epoch = self.vats.epoch;
        let mut touched = std::mem::take(&mut self.vats.touched);
        self.vats.epoch += 1;
        for ended in std::mem::take(&mut self.dirty.ended) {
            rows.delete(VATS, &ended.id.to_bytes());
            rows.delete(STATES, &ended.id.to_bytes());
            rows.put(SWEEPS, &ended.id.to_bytes(), Vec::new());
            for chunk in ended.chunks {
                rows.delete(INBOXES, &inbox_key(ended.id, u64::from(chunk)));
            }
        }
        touched.retain(|&slot| match self.vats.get_mut(slot) {
            // It may have ended, and its slot may be another's, which then is in the list too.
            Some(entry) if entry.epoch == epoch => {
                freeze_vat(entry, epoch, rows, &mut frozen.stores);
                true
            }
            _ => false,
        });
        if std::mem::take(&mut self.dirty.counters) {
            rows.put(COUNTERS, &[], self.counters().encode());
        }
        if std::mem::take(&mut self.dirty.kinds) {
            for (index, kind) in self.kinds.iter().enumerate() {
                rows.put(KINDS, &(index as u16).to_be_bytes(), kind.encode());
            }
        }
        for name in std::mem::take(&mut self.dirty.names) {
            if let Some(id) = self.names.get(&name) {
                rows.put(NAMES, name.as_bytes(), id.to_bytes().to_vec());
            }
        }
        for id in self.requests.take_touched() {
            match self.requests.get(&id) {
                Some(request) => rows.put(REQUESTS, id.as_bytes(), request.encode()),
                None => rows.delete(REQUESTS, id.as_bytes()),
            }
        }
        self.promises.freeze(|id, row| match row {
            Some(row) => rows.put(PROMISES, &id.to_bytes(), row),
            None => rows.delete(PROMISES, &id.to_bytes()),
        });
        let changes = std::cell::RefCell::new(&mut *rows);
        self.counts.freeze(
            |object, count| match count {
                Some(count) => {
                    changes
                        .borrow_mut()
                        .put(OBJECTS, &object_key(object), count.encode());
                }
                None => changes.borrow_mut().delete(OBJECTS, &object_key(object)),
            },
            |reference, times| match times {
                Some(times) => {
                    let mut value = Vec::new();
                    put_varint(&mut value, times);
                    changes
                        .borrow_mut()
                        .put(HOLDS, &reference_key(reference), value);
                }
                None => changes
                    .borrow_mut()
                    .delete(HOLDS, &reference_key(reference)),
            },
        );
        // A run ends and turns pass by records that touch no counters row; its row is small.
        if self.order == CommitOrder::Dispatch {
            rows.put(COUNTERS, &[], self.counters().encode());
        }
        Frozen {
            at: self.last,
            rows: frozen,
            epoch,
            touched,
            oldest_waiting: with_oldest.then(|| self.oldest_waiting()).flatten(),
        }
    }

    fn counters(&self) -> Counters {
        Counters {
            host_spawned: self.host_spawned,
            last_number: self.last_number,
            time: self.time,
            run: self.run,
        }
    }

    /// Forgets what the tables hold now that the frozen epoch is in them.
    pub(crate) fn thaw(&mut self, frozen: &ThawList) {
        for &slot in &frozen.touched {
            let Some(entry) = self.vats.get_mut(slot) else {
                continue;
            };
            let Some(hot) = entry.hot.as_deref_mut() else {
                continue;
            };
            self.remains
                .extend(hot.frozen_rows.take().map(Remains::Rows));
            if hot
                .state
                .as_ref()
                .is_some_and(|(epoch, _)| *epoch <= frozen.epoch)
            {
                hot.state = None;
            }
            if hot.is_needless() {
                entry.hot = None;
            }
        }
    }

    /// The lowest place in whose record a waiting delivery stands.
    fn oldest_waiting(&self) -> Option<Seq> {
        let in_inboxes = self
            .vats
            .iter()
            .filter_map(|(_, entry)| entry.oldest_waiting());
        let parked = self.parked().map(|delivery| delivery.seq);
        in_inboxes.chain(parked).min()
    }

    /// Deliveries whose bodies wait in promises.
    pub(crate) fn parked(&self) -> impl Iterator<Item = DeliveryId> + '_ {
        self.promises.iter().flat_map(|(_, promise)| {
            let waiters = match &promise.fate {
                Fate::Open { waiters, .. } => Some(waiters),
                Fate::Settled { .. } => None,
            };
            let waiters = waiters.into_iter().flatten();
            waiters
                .filter(|waiter| waiter.has_body())
                .map(|waiter| waiter.id())
        })
    }

    /// The state that the tables hold.
    pub(crate) fn load(order: CommitOrder, tables: &TableSnapshot) -> Result<Self, LoadError> {
        let mut state = Self::new(order);
        state.last = tables.checkpoint();
        if let Some(bytes) = tables.get(COUNTERS, &[])? {
            let counters = Counters::decode(&bytes).map_err(bad_row("the counters"))?;
            state.host_spawned = counters.host_spawned;
            state.last_number = counters.last_number;
            state.time = counters.time;
            state.run = counters.run;
        }
        for row in tables.prefix(KINDS, &[]) {
            let (_, value) = row?;
            state
                .kinds
                .push(JournalKind::decode(&value).map_err(bad_row("a kind"))?);
        }
        for row in tables.prefix(NAMES, &[]) {
            let (key, value) = row?;
            let name = String::from_utf8(key);
            let id = vat_of_key(&value).filter(|_| value.len() == 16);
            let (Ok(name), Some(id)) = (name, id) else {
                let why = "neither a name nor a vat".to_owned();
                return Err(LoadError::Row {
                    what: "a root name".to_owned(),
                    why,
                });
            };
            state.names.insert(name, id);
        }
        for row in tables.prefix(REQUESTS, &[]) {
            let (key, value) = row?;
            let id = String::from_utf8_lossy(&key);
            let request = RequestState::decode(&value).map_err(bad_row("a request"))?;
            state.requests.insert(id.as_ref().into(), request);
        }
        for row in tables.prefix(VATS, &[]) {
            let (key, value) = row?;
            let id = vat_of_key(&key)
                .filter(|_| key.len() == 16)
                .ok_or_else(|| LoadError::Row {
                    what: "a vat".to_owned(),
                    why: "its key is no vat id".to_owned(),
                })?;
            let row = VatRow::decode(&value).map_err(bad_row(format!("vat {id}")))?;
            if usize::from(row.kind) >= state.kinds.len() {
                let why = "its kind does not stand in the tables".to_owned();
                return Err(LoadError::Row {
                    what: format!("vat {id}"),
                    why,
                });
            }
            let head = row.progress.crank.get();
            let slot = state.vats.put(VatEntry {
                id,
                number: row.number,
                progress: row.progress,
                stored_tail: head,
                stored_chunks: 0..0,
                epoch: 0,
                kind: row.kind,
                stored: true,
                hot: None,
            });
            if let (Some(ended), Some(entry)) = (row.ended, state.vats.get_mut(slot)) {
                entry.set_ended(ended);
            }
        }
        state.vats.epoch = 1;
        state.load_inboxes(tables)?;
        state.load_promises(tables)?;
        Ok(state)
    }

    fn load_promises(&mut self, tables: &TableSnapshot) -> Result<(), LoadError> {
        let odd = |what: &str| LoadError::Row {
            what: what.to_owned(),
            why: "its key names nothing".to_owned(),
        };
        for row in tables.prefix(PROMISES, &[]) {
            let (key, value) = row?;
            let id = key.as_slice().try_into().map(PromiseId::from_bytes);
            let id = id.map_err(|_| odd("a promise"))?;
            let promise = Promise::decode(&value).map_err(bad_row(format!("promise {id}")))?;
            self.promises.insert(id, promise);
        }
        for row in tables.prefix(OBJECTS, &[]) {
            let (key, value) = row?;
            let object = object_of_key(&key).ok_or_else(|| odd("an object"))?;
            let count = Count::decode(&value).map_err(bad_row(format!("object {object}")))?;
            self.counts.insert(object, count);
        }
        for row in tables.prefix(HOLDS, &[]) {
            let (key, value) = row?;
            let held = reference_of_key(&key).ok_or_else(|| odd("what the host holds"))?;
            let times = Reader::new(&value).varint("times");
            let times = times.map_err(bad_row(format!("what the host holds of {held}")))?;
            self.counts.insert_hold(held, times);
        }
        Ok(())
    }

    fn load_inboxes(&mut self, tables: &TableSnapshot) -> Result<(), LoadError> {
        let mut turns = Vec::new();
        for row in tables.prefix(INBOXES, &[]) {
            let (key, value) = row?;
            let what = || format!("the inbox of {:?}", vat_of_key(&key));
            let odd = |why: &str| LoadError::Row {
                what: what(),
                why: why.to_owned(),
            };
            let slot = vat_of_key(&key).and_then(|vat| self.vats.find(vat));
            let slot = slot.ok_or_else(|| odd("the vat does not live"))?;
            let (first, deliveries) = decode_chunk(&value).map_err(bad_row(what()))?;
            let chunk = key[16..].try_into().map(u64::from_be_bytes);
            let chunk = chunk.ok().and_then(|chunk| u32::try_from(chunk).ok());
            let chunk = chunk.ok_or_else(|| odd("its key holds no chunk number"))?;
            let entry = self.vats.get_mut(slot).expect("it was found");
            // What stands before the head was consumed after the chunk was written.
            let consumed = entry.head().saturating_sub(first);
            if first.max(entry.head()) != entry.head() + entry.waiting_count() {
                return Err(odd("deliveries are missing in front of it"));
            }
            if entry.stored_chunks.start == entry.stored_chunks.end {
                entry.stored_chunks = chunk..chunk;
            }
            entry.stored_chunks.end = chunk + 1;
            let mut deliveries = deliveries;
            if mutant("end-of-an-inbox-is-forgotten") {
                deliveries.pop();
            }
            for waiting in deliveries.into_iter().skip(consumed as usize) {
                entry.push_waiting(waiting);
                self.waiting += 1;
                let place = match mutant("place-is-stale-after-a-restart") {
                    false => waiting.place,
                    true => waiting.delivery,
                };
                turns.push((place, waiting.delivery, slot));
            }
            entry.stored_tail = entry.head() + entry.waiting_count();
        }
        if self.order == CommitOrder::Dispatch {
            turns.sort_unstable();
            let in_turn = turns.into_iter();
            self.turns = in_turn
                .map(|(_, delivery, slot)| (delivery, slot))
                .collect();
        }
        Ok(())
    }
}

fn freeze_vat(
    entry: &mut VatEntry,
    epoch: u32,
    rows: &mut RowBatch,
    stores: &mut Vec<(VatId, Arc<RowChanges>)>,
) {
    let id = entry.id;
    let head = entry.head();
    let waiting = entry.waiting_count();
    if let Some(hot) = entry.hot.as_deref_mut() {
        if !hot.rows.is_empty() {
            // One epoch at a time is on its way to the tables.
            assert!(
                hot.frozen_rows.is_none(),
                "the epoch before is not in the tables"
            );
            let changes = Arc::new(std::mem::take(&mut hot.rows));
            hot.frozen_rows = Some(Arc::clone(&changes));
            stores.push((id, changes));
        }
        if let Some((_, state)) = hot.state.as_ref().filter(|(written, _)| *written == epoch) {
            rows.put(STATES, &id.to_bytes(), state.clone());
        }
        let stored = &mut entry.stored_chunks;
        hot.inbox
            .chunks_from(head, entry.stored_tail.max(head), |chunk, bytes| {
                rows.put(INBOXES, &inbox_key(id, chunk), bytes);
                let chunk = u32::try_from(chunk).expect("a vat has had fewer than 2^44 deliveries");
                if stored.start == stored.end {
                    *stored = chunk..chunk;
                }
                stored.end = stored.end.max(chunk + 1);
            });
    }
    // Chunks in front of the head hold nothing that waits; with an empty inbox none does.
    let stored = &mut entry.stored_chunks;
    let keep_from = if waiting == 0 {
        stored.end
    } else {
        u32::try_from(head / CHUNK).expect("a vat has had fewer than 2^44 deliveries")
    };
    while stored.start < stored.end.min(keep_from) {
        rows.delete(INBOXES, &inbox_key(id, u64::from(stored.start)));
        stored.start += 1;
    }
    entry.stored_tail = head + waiting;
    entry.stored = true;
    let row = VatRow {
        number: entry.number,
        kind: entry.kind,
        progress: entry.progress.clone(),
        ended: entry.ended(),
    };
    if entry.ended().is_some() {
        rows.delete(STATES, &id.to_bytes());
    }
    rows.put(VATS, &id.to_bytes(), row.encode());
}

/// The vats that a frozen epoch changed, to be thawed once it is in the tables.
#[derive(Debug)]
pub(crate) struct ThawList {
    pub(crate) epoch: u32,
    touched: Vec<Slot>,
    /// As in [`Frozen`].
    pub(crate) oldest_waiting: Option<Seq>,
}

impl Frozen {
    /// Parts the rows from the list that stays with the state.
    pub(crate) fn split(self) -> (Seq, EpochRows, ThawList) {
        let thaw = ThawList {
            epoch: self.epoch,
            touched: self.touched,
            oldest_waiting: self.oldest_waiting,
        };
        (self.at, self.rows, thaw)
    }
}

/// Compares states and store rows of an applied state, which has them all as changes, with the
/// tables'; rows of vats that ended are left to be swept and mean nothing.
pub(crate) fn first_row_difference(
    applied: &State,
    tables: &TableSnapshot,
) -> Result<Option<String>, ReadError> {
    for (_, entry) in applied.vats.iter() {
        let id = entry.id;
        let stored = tables.get(STATES, &id.to_bytes())?;
        if stored.as_deref() != entry.newer_state() {
            return Ok(Some(format!("the state of vat {id}")));
        }
        let mut made = entry
            .newer_rows()
            .filter_map(|(key, value)| Some((key, value?)));
        for row in tables.prefix(STORES, &id.to_bytes()) {
            let (key, value) = row?;
            if made.next() != Some((&key[16..], &value[..])) {
                return Ok(Some(format!("the store of vat {id}")));
            }
        }
        if made.next().is_some() {
            return Ok(Some(format!("the store of vat {id}")));
        }
    }
    Ok(None)
}
