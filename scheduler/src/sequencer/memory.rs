//! The vats in memory: how deliveries reach their mailboxes, and how vats come and go.

use std::sync::Arc;

use crankcase_vat::{
    Cause, CrankNumber, Delivery, DeliveryId, LiveVat, ObjectId, Seq, VatId, mutant,
};

use super::{Parked, Sequencer};
use crate::cell::Cell;
use crate::committer::Release;
use crate::housekeeper::{Chore, Load, NewerRow};
use crate::recovery::{Settled, has_body, settled_of};
use crate::state::{Item, Slot, State, Waiting};
use crate::sync::Ordering;
use crate::ticket::TicketCell;

/// A vat in memory.
pub(crate) struct InMemory {
    cell: Arc<Cell>,
    /// The number of the delivery that is to go into the mailbox next, as the state numbers them.
    next: u64,
    /// Whether deliveries from there on are not handed over as they come, because the mailbox was
    /// full. They stand in the state's inbox, and their bodies in the journal.
    behind: bool,
}

/// What a mailbox is to be filled with again.
pub(crate) struct Refill {
    /// The deliveries, with what promises came to that they are about.
    pub(crate) waiting: Vec<(Waiting, Option<Settled>)>,
    /// How many bytes of them the mailbox may take.
    pub(crate) bytes: usize,
    /// Settles when their bodies can be read; nothing when they can be now.
    pub(crate) readable: Option<Arc<TicketCell>>,
}

/// How many of those that wait, from the first on, have bodies that can be read once so much is
/// durable.
fn readable_now(waiting: &[Waiting], durable: Seq) -> usize {
    let is_readable = |waiting: &&Waiting| !has_body(waiting) || waiting.delivery.seq <= durable;
    waiting.iter().take_while(is_readable).count()
}

/// Deliveries that are looked at at once to fill a mailbox again.
const REFILL: u64 = 1 << 16;

/// What a mailbox may take in any case.
const LEAST_ALLOWANCE: usize = 16 << 10;

impl Sequencer {
    #[inline(always)]
    pub(super) fn deliver(&mut self, slot: Slot, delivery: Delivery) {
        if !matches!(self.cells.get(slot.index()), Some(Some(_))) {
            self.load(slot);
        }
        let allowance = self.allowance;
        let Some(Some(vat)) = self.cells.get_mut(slot.index()) else {
            return;
        };
        if vat.behind {
            return;
        }
        vat.next += 1;
        let pushed = vat.cell.mailbox.push(delivery, allowance);
        vat.behind = pushed.full;
        if pushed.make_runnable {
            let cell = Arc::clone(&vat.cell);
            self.runnable.push(cell);
        }
    }

    /// What holds up a vat's next crank, as far as memory goes.
    pub(super) fn why_not_running(&self, vat: VatId) -> String {
        let slot = self.state.vats().find(vat);
        let known = slot.and_then(|slot| self.cells.get(slot.index())?.as_ref());
        let Some(InMemory { cell, behind, .. }) = known else {
            return "is not in memory: it is loaded when something comes for it".to_owned();
        };
        // The lock is held for as long as an activation runs.
        let state = match cell.live.try_lock() {
            Ok(live) if live.is_none() => "is being loaded",
            Ok(_) if cell.mailbox.is_idle() => "is in memory and has nothing to do",
            Ok(_) if !self.parts.may_run(cell) => {
                "is in memory and has run ahead of its turn as far as it may"
            }
            Ok(live) if live.as_ref().is_some_and(LiveVat::has_ended) => {
                "has ended and is cleaned up in steps, with rests between them"
            }
            Ok(_) => "is in memory and waits for a worker",
            Err(_) => "is in a crank now",
        };
        match behind {
            true => format!("{state}; the rest of its inbox is read from the journal"),
            false => state.to_owned(),
        }
    }

    /// What is to go into a mailbox next that has run empty; nothing when the vat has ended.
    pub(crate) fn plan_refill(&mut self, cell: &Arc<Cell>) -> Option<Refill> {
        let vat = self.cells.get(cell.slot.index())?.as_ref()?;
        if !Arc::ptr_eq(&vat.cell, cell) {
            return None;
        }
        let entry = self.state.vat(cell.slot);
        let from = vat.next - entry.head();
        // Each takes some room in the mailbox, so more of them than that are not looked at.
        let most = (self.allowance / size_of::<Delivery>()) as u64 + 1;
        let waiting = entry.waiting_range(from, most.min(REFILL));
        let (now, rest) = waiting.split_at(readable_now(&waiting, self.parts.durable().seq()));
        // What can be read now is taken now: everyone else's commits would wait for this, and this
        // for them.
        let (waiting, readable) = match (now, rest) {
            ([], [_, ..]) => {
                let readable = TicketCell::new(true);
                self.release(Release {
                    cell: Arc::clone(&readable),
                    outcomes: Vec::new(),
                });
                self.demand();
                (rest, Some(readable))
            }
            _ => (now, None),
        };
        let waiting = waiting
            .iter()
            .map(|waiting| (*waiting, settled_of(&self.state, waiting)))
            .collect();
        Some(Refill {
            waiting,
            bytes: self.allowance,
            readable,
        })
    }

    /// Puts deliveries into a mailbox that follow on those that were there.
    pub(crate) fn refill(&mut self, cell: &Arc<Cell>, deliveries: Vec<Delivery>) {
        let Some(Some(vat)) = self.cells.get_mut(cell.slot.index()) else {
            return;
        };
        if !Arc::ptr_eq(&vat.cell, cell) {
            return;
        }
        vat.next += deliveries.len() as u64;
        let entry = self.state.vat(cell.slot);
        vat.behind = vat.next < entry.head() + entry.waiting_count();
        vat.cell.mailbox.refill(deliveries, vat.behind);
        self.runnable.push(Arc::clone(&vat.cell));
    }

    pub(super) fn put_cell(&mut self, cell: Arc<Cell>) {
        let index = cell.slot.index();
        if self.cells.len() <= index {
            self.cells.resize_with(index + 1, || None);
        }
        // A vat that comes into memory has had nothing in its inbox before.
        let next = self.state.vat(cell.slot).head();
        self.cells[index] = Some(InMemory {
            cell,
            next,
            behind: false,
        });
        self.in_memory += 1;
        self.share_out();
    }

    /// Has each vat in memory have its share of what mailboxes may hold.
    fn share_out(&mut self) {
        let share = self.pace.inbox_bytes / self.in_memory.max(1);
        self.allowance = share.max(LEAST_ALLOWANCE);
    }

    /// Has a vat that is not in memory loaded; its cell takes deliveries from now on.
    #[cold]
    pub(super) fn load(&mut self, slot: Slot) {
        let cell = Cell::loading(slot, self.state.vat(slot).id);
        let load = load_of(&self.state, slot, &cell);
        self.put_cell(cell);
        // Once the housekeeper has left, the kernel is closed and nothing runs any more.
        let _ = self.parts.chores.give(Chore::Load(Box::new(load)));
    }

    pub(super) fn end(&mut self, slot: Slot) {
        if let Some(vat) = self.cells.get_mut(slot.index()).and_then(Option::take) {
            vat.cell.mailbox.close();
            self.in_memory -= 1;
            self.parts.forget_store(&vat.cell);
            self.ended.push(vat.cell);
        }
        self.reorder.clear(slot);
    }

    /// Takes vats that are idle and wholly in the tables out of memory, until few enough are left
    /// and with them little enough of their stores, or all were looked at.
    pub(super) fn unload(&mut self) {
        let slots = self.cells.len() as u32;
        let mut looked_at = 0;
        while self.too_much_in_memory() && looked_at < slots {
            let index = (self.unload_from % slots) as usize;
            self.unload_from = self.unload_from.wrapping_add(1);
            looked_at += 1;
            let Some(InMemory { cell, .. }) = &self.cells[index] else {
                continue;
            };
            // Every delivery that was taken stands in the inbox until its record is applied, so a
            // cold entry with an idle mailbox has no record on its way.
            let cold = self.state.vat(cell.slot).is_cold() || mutant("busy-vats-are-unloaded");
            if cold && cell.mailbox.is_idle() {
                self.in_memory -= 1;
                self.parts.forget_store(cell);
                self.ended
                    .extend(self.cells[index].take().map(|vat| vat.cell));
            }
        }
        self.share_out();
    }

    fn too_much_in_memory(&self) -> bool {
        let store_bytes = self.parts.store_bytes.load(Ordering::Relaxed);
        self.in_memory > self.pace.vats_in_memory || store_bytes > self.pace.store_bytes
    }

    /// Keeps a body again that waits in a promise, after recovery.
    pub(crate) fn park(&mut self, delivery: DeliveryId, parked: Parked) {
        self.parked.insert(delivery, parked);
    }

    /// Puts a vat with waiting deliveries back into memory after recovery: `deliveries` are the
    /// first that wait.
    pub(crate) fn restore(&mut self, slot: Slot, deliveries: Vec<Delivery>) {
        let all = deliveries.len() as u64 == self.state.vat(slot).waiting_count();
        for delivery in deliveries {
            self.deliver(slot, delivery);
        }
        if let Some(Some(vat)) = self.cells.get_mut(slot.index())
            && !all
        {
            vat.behind = true;
            vat.cell.mailbox.stay_behind();
        }
    }
}

/// What a vat is made of that comes into memory.
pub(crate) fn load_of(state: &State, slot: Slot, cell: &Arc<Cell>) -> Load {
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
        version: state.kinds()[usize::from(entry.kind)].version,
        progress: entry.progress.clone(),
        state: entry.newer_state().map(<[u8]>::to_vec),
        rows,
        to_decide: state.promises().to_decide(entry.number),
        given_away,
        ended: entry.ended().map(|ended| match ended.started {
            true => Cause::VatEnded,
            false => Cause::NotStarted,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Wanted;

    #[test]
    fn what_is_durable_is_read_without_waiting_for_more() {
        let waiting = |seq, item| Waiting {
            delivery: DeliveryId::new(Seq::new(seq), 0),
            place: DeliveryId::new(Seq::new(seq), 0),
            wanted: Wanted::No,
            item,
        };
        let all = [
            waiting(3, Item::Message),
            waiting(5, Item::Message),
            // It has no body to be read.
            waiting(9, Item::Clean),
            waiting(7, Item::Message),
            waiting(4, Item::Via { object: 1 }),
        ];
        for (durable, count) in [(2, 0), (3, 1), (5, 3), (6, 3), (7, 5)] {
            assert_eq!(readable_now(&all, Seq::new(durable)), count, "{durable}");
        }
        assert_eq!(readable_now(&[], Seq::new(0)), 0);
    }
}
