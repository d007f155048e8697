//! The vats in memory: how deliveries reach their mailboxes, and how vats come and go.

use std::sync::Arc;

use crankcase_vat::{Cause, CrankNumber, Delivery, DeliveryId, ObjectId};

use super::{Parked, Sequencer};
use crate::cell::Cell;
use crate::housekeeper::{Chore, Load, NewerRow};
use crate::mailbox::Pushed;
use crate::state::{Item, Slot, State};

impl Sequencer {
    #[inline]
    pub(super) fn deliver(&mut self, slot: Slot, delivery: Delivery) {
        let cell = match self.cells.get(slot.index()) {
            Some(Some(cell)) => cell,
            _ => self.load(slot),
        };
        if cell.mailbox.push(delivery) == Pushed::MakeRunnable {
            let cell = Arc::clone(cell);
            self.runnable.push(cell);
        }
    }

    pub(super) fn put_cell(&mut self, cell: Arc<Cell>) {
        let index = cell.slot.index();
        if self.cells.len() <= index {
            self.cells.resize(index + 1, None);
        }
        self.cells[index] = Some(cell);
        self.in_memory += 1;
    }

    /// Has a vat that is not in memory loaded; its cell takes deliveries from now on.
    #[cold]
    pub(super) fn load(&mut self, slot: Slot) -> &Arc<Cell> {
        let cell = Cell::loading(slot, self.state.vat(slot).id);
        let load = load_of(&self.state, slot, &cell);
        self.put_cell(cell);
        // Once the housekeeper has left, the kernel is closed and nothing runs any more.
        let _ = self.parts.chores.give(Chore::Load(Box::new(load)));
        self.cells[slot.index()]
            .as_ref()
            .expect("it was just put there")
    }

    pub(super) fn end(&mut self, slot: Slot) {
        if let Some(cell) = self.cells.get_mut(slot.index()).and_then(Option::take) {
            cell.mailbox.close();
            self.in_memory -= 1;
            self.ended.push(cell);
        }
        self.reorder.clear(slot);
    }

    /// Takes vats that are idle and wholly in the tables out of memory, until few enough are left
    /// or all were looked at.
    pub(super) fn unload(&mut self) {
        let slots = self.cells.len() as u32;
        let mut looked_at = 0;
        while self.in_memory > self.pace.vats_in_memory && looked_at < slots {
            let index = (self.unload_from % slots) as usize;
            self.unload_from = self.unload_from.wrapping_add(1);
            looked_at += 1;
            let Some(cell) = &self.cells[index] else {
                continue;
            };
            // Every delivery that was taken stands in the inbox until its record is applied, so a
            // cold entry with an idle mailbox has no record on its way.
            if self.state.vat(cell.slot).is_cold() && cell.mailbox.is_idle() {
                self.in_memory -= 1;
                self.ended.extend(self.cells[index].take());
            }
        }
    }

    /// Keeps a body again that waits in a promise, after recovery.
    pub(crate) fn park(&mut self, delivery: DeliveryId, parked: Parked) {
        self.parked.insert(delivery, parked);
    }

    /// Puts vats with waiting deliveries back into memory after recovery.
    pub(crate) fn restore(&mut self, slot: Slot, deliveries: Vec<Delivery>) {
        for delivery in deliveries {
            self.deliver(slot, delivery);
        }
    }
}

fn load_of(state: &State, slot: Slot, cell: &Arc<Cell>) -> Load {
    let entry = state.vat(slot);
    let rows: Vec<NewerRow> = entry
        .newer_rows()
        .map(|(key, value)| (key.into(), value.map(Into::into)))
        .collect();
    // What the vat gave away after it was counted matters only to news of that count that waits.
    let mut given_away: Vec<(u64, CrankNumber)> = Vec::new();
    for waiting in entry.waiting_others() {
        if let Item::Dropped { object, .. } = waiting.item
            && let Some(count) = state.counts().get(ObjectId::new(entry.id, object))
        {
            given_away.push((object, count.given_away));
        }
    }
    Load {
        cell: Arc::clone(cell),
        number: entry.number,
        kind: state.kinds()[usize::from(entry.kind)].name.clone(),
        progress: entry.progress.clone(),
        state: entry.newer_state().map(<[u8]>::to_vec),
        rows,
        to_decide: state.promises().to_decide(entry.number),
        given_away,
        ended: entry.ended.map(|ended| match ended.started {
            true => Cause::VatEnded,
            false => Cause::NotStarted,
        }),
    }
}
