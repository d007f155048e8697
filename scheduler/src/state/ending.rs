//! What becomes of a vat that lives no more.
//!
//! From the record of its last crank on nothing new reaches it. What waits in its inbox is rejected
//! one by one, by cranks that run none of its code; then, a bounded number at a time, the rows of
//! its store that hold references are let go of, and the promises that it was to decide are
//! rejected. Each step is a delivery in its own inbox, so all of it has places in the order, and
//! goes on where it was after a restart. Rows that hold nothing are swept beside the order.

use crankcase_vat::{Cause, Rejection, Time, VatId, mutant};

use super::vats::Ended;
use super::{Contradiction, Delivered, Effect, Item, Remains, Slot, State, Waiting, Wanted};

/// Promises and counts that one step lets go of.
const AT_ONCE: usize = 32;

impl State {
    /// A vat's last crank was sequenced.
    pub(super) fn end_vat(
        &mut self,
        slot: Slot,
        started: bool,
        rows_left: bool,
        effects: &mut Vec<Effect>,
    ) {
        let entry = self.vats.touch(slot);
        let (id, number) = (entry.id, entry.number);
        let inbox_is_empty = entry.waiting_count() == 0;
        entry.end(started);
        let nothing_left = inbox_is_empty
            && !rows_left
            && !self.counts.has_any(id)
            && self.promises.undecided_by(number, 0, 1).next().is_none();
        if nothing_left {
            self.remove_vat(slot, effects);
        } else {
            self.ask_to_clean(slot, effects);
        }
    }

    fn ask_to_clean(&mut self, slot: Slot, effects: &mut Vec<Effect>) {
        let place = self.work.next_place();
        let waiting = Waiting {
            delivery: place,
            place,
            wanted: Wanted::No,
            item: Item::Clean,
        };
        self.put_into_inbox(slot, waiting, Time::ZERO, Delivered::Clean, effects);
    }

    /// Takes one step of what is left of a vat that lives no more.
    pub(super) fn clean_up(
        &mut self,
        slot: Slot,
        rows_left: bool,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Contradiction> {
        let entry = self.vats.get(slot);
        let (id, number) = (entry.id, entry.number);
        let ended = entry.ended().ok_or(Contradiction::Misplaced)?;
        let orphans: Vec<_> = self
            .promises
            .undecided_by(number, ended.promises_from, AT_ONCE)
            .collect();
        for promise in &orphans {
            if mutant("orphans-wait-for-ever") {
                break;
            }
            self.reject_promise(*promise, decider_ended(id));
        }
        let counts_left = self.counts.forget(id, AT_ONCE);
        let entry = self.vats.touch(slot);
        // No more of them come, so once they have run out no later step looks for any.
        let promises_from = match orphans.last() {
            Some(last) if orphans.len() == AT_ONCE => last.counter + 1,
            _ => u64::MAX,
        };
        entry.set_ended(Ended {
            promises_from,
            ..ended
        });
        let more = rows_left || counts_left || orphans.len() == AT_ONCE;
        if more && !mutant("clean-up-stops-after-a-step") {
            self.ask_to_clean(slot, effects);
        } else {
            self.remove_vat(slot, effects);
        }
        Ok(())
    }

    fn remove_vat(&mut self, slot: Slot, effects: &mut Vec<Effect>) {
        let entry = self.vats.remove(slot);
        self.kinds[usize::from(entry.kind)].live -= 1;
        self.dirty.kinds = true;
        // Names of the dead stay: a root that is gone must not look as if it had never been.
        self.dirty.end(&entry);
        self.remains.extend(entry.hot.map(Remains::Vat));
        effects.push(Effect::Ended { slot });
    }
}

/// Why a promise is rejected that a vat was to decide.
fn decider_ended(vat: VatId) -> Rejection {
    let why = format!("vat {vat} ended before it decided the promise");
    Rejection::with_cause(Cause::VatEnded, "vat_ended", why)
}
