//! The reorder buffer of `Dispatch` order: records of cranks that ran ahead of their turn.
//!
//! A vat's cranks end in the order of its inbox, and its deliveries have their turns in that order
//! too, so a queue for each vat is all the order there is to keep.

use std::collections::VecDeque;

use super::CrankItem;
use crate::state::Slot;

/// See the module's text.
#[derive(Default)]
pub(super) struct Reorder {
    by_slot: Vec<VecDeque<CrankItem>>,
    len: usize,
}

impl Reorder {
    /// Keeps a record until its turn.
    pub(super) fn push(&mut self, item: CrankItem) {
        let index = item.slot.index();
        if self.by_slot.len() <= index {
            self.by_slot.resize_with(index + 1, VecDeque::new);
        }
        self.by_slot[index].push_back(item);
        self.len += 1;
    }

    /// The record whose turn it is, if the vat whose turn it is has run it.
    pub(super) fn pop(&mut self, slot: Slot) -> Option<CrankItem> {
        let item = self.by_slot.get_mut(slot.index())?.pop_front()?;
        self.len -= 1;
        Some(item)
    }

    /// Whether a record of the vat is there.
    pub(super) fn has(&self, slot: Slot) -> bool {
        let of_vat = self.by_slot.get(slot.index());
        of_vat.is_some_and(|items| !items.is_empty())
    }

    /// Drops what a vat that has ended left.
    pub(super) fn clear(&mut self, slot: Slot) {
        if let Some(items) = self.by_slot.get_mut(slot.index()) {
            self.len -= items.len();
            items.clear();
        }
    }

    /// How many records wait.
    pub(super) const fn len(&self) -> usize {
        self.len
    }
}
