//! Vats on a workbench: a state and the vats that it speaks of, on one thread, without a journal.
//!
//! It does what follows from a record as the sequencer does, with inboxes in place of mailboxes. When
//! a crank runs and when its record gets its place is for whoever has the workbench to say.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crankcase_vat::{
    Delivery, DeliveryId, LiveVat, Outcome, RecordBytes, Shared, StoreUnread, Workspace,
};
use rustc_hash::FxHashMap;

use crate::order::CommitOrder;
use crate::sequencer::{Parked, delivery_of};
use crate::state::{Effect, Slot, State};

/// A vat with what waits for it.
#[derive(Default)]
pub(crate) struct Place {
    /// Nothing while the vat is not in memory.
    pub(crate) live: Option<LiveVat>,
    /// Deliveries that no crank has taken.
    pub(crate) inbox: VecDeque<Delivery>,
}

/// See the module's text.
pub(crate) struct Workbench {
    pub(crate) state: State,
    pub(crate) shared: Shared,
    pub(crate) space: Workspace,
    /// By slot, in an order that is the same in every run.
    pub(crate) places: BTreeMap<Slot, Place>,
    pub(crate) parked: FxHashMap<DeliveryId, Parked>,
}

/// What cannot be done that follows from a record.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Undoable {
    #[error("the kind {kind:?} (version {version}) is not registered")]
    UnknownKind { kind: String, version: u32 },
    #[error("the body of delivery {0} is not kept")]
    NoBody(DeliveryId),
}

impl Workbench {
    /// Nothing on it, and no record yet.
    pub(crate) fn new(order: CommitOrder, shared: Shared, space: Workspace) -> Self {
        Self {
            state: State::new(order),
            shared,
            space,
            places: BTreeMap::new(),
            parked: FxHashMap::default(),
        }
    }

    /// Runs the next crank of a vat that is in memory and has something waiting; nothing when it is
    /// not or has not.
    pub(crate) fn run(&mut self, slot: Slot) -> Option<Result<Ran, StoreUnread>> {
        let place = self.places.get_mut(&slot)?;
        let live = place.live.as_mut()?;
        let delivery = place.inbox.pop_front()?;
        let ran = live.run(&delivery, &self.shared, &mut self.space);
        Some(ran.map(|finished| Ran {
            record: finished.record,
            note: finished.note,
        }))
    }

    /// Takes up what follows from a record; gives the outcome when that is what follows.
    pub(crate) fn perform(
        &mut self,
        effect: Effect,
        record: &RecordBytes,
    ) -> Result<Option<(DeliveryId, Outcome)>, Undoable> {
        match effect {
            Effect::Born {
                slot,
                id,
                number,
                kind,
            } => {
                let kind = &self.state.kinds()[usize::from(kind)];
                let (name, version) = (&kind.name, kind.version);
                let known = self.shared.kinds.get_version(name, version);
                let known = known.ok_or_else(|| Undoable::UnknownKind {
                    kind: name.clone(),
                    version,
                })?;
                let live = Some(LiveVat::unborn(id, number, Arc::clone(known)));
                let inbox = VecDeque::new();
                self.places.insert(slot, Place { live, inbox });
            }
            Effect::Deliver { slot, head, what } => {
                let delivery = delivery_of(head, what, record, &mut self.parked);
                let delivery = delivery.ok_or(Undoable::NoBody(head.id()))?;
                // The state delivers to vats that it has; one without a place is not in memory.
                let place = self.places.entry(slot).or_default();
                place.inbox.push_back(delivery);
            }
            Effect::Park { delivery, time, at } => {
                let act = at.of(record);
                self.parked.insert(delivery, Parked { act, time });
            }
            Effect::Unpark { delivery } => drop(self.parked.remove(&delivery)),
            Effect::Answer { delivery, outcome } => return Ok(Some((delivery, outcome))),
            Effect::Ended { slot } => drop(self.places.remove(&slot)),
        }
        Ok(None)
    }
}

/// What a crank left.
pub(crate) struct Ran {
    pub(crate) record: RecordBytes,
    #[cfg_attr(
        not(feature = "testing"),
        expect(dead_code, reason = "replay compares records")
    )]
    pub(crate) note: Option<String>,
}
