//! The references that a vat may use: what it holds, what came, what it made or read.

use rustc_hash::FxHashSet;

use crate::codec::DecodeError;
use crate::reference::{Reference, Slot, each_reference};

/// Above this many a look-up goes by a set.
const FEW: usize = 12;

/// References with their repetitions, quick to ask for one of them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Held {
    list: Vec<Reference>,
    /// All of the list, once that is long.
    set: FxHashSet<Reference>,
}

impl Held {
    #[inline]
    pub(crate) fn clear(&mut self) {
        self.list.clear();
        if !self.set.is_empty() {
            self.set.clear();
        }
    }

    #[inline]
    pub(crate) fn push(&mut self, reference: Reference) {
        self.list.push(reference);
        if self.list.len() > FEW {
            if self.set.is_empty() {
                self.set.extend(self.list.iter().copied());
            } else {
                self.set.insert(reference);
            }
        }
    }

    /// Adds every reference in the slots.
    #[inline]
    pub(crate) fn add(&mut self, slots: &[Slot]) -> Result<(), DecodeError> {
        for slot in slots {
            match slot.reference() {
                Some(reference) => self.push(reference),
                None => each_reference(std::slice::from_ref(slot), &mut |reference| {
                    self.push(reference);
                })?,
            }
        }
        Ok(())
    }

    #[inline(always)]
    pub(crate) fn contains(&self, reference: &Reference) -> bool {
        if self.list.len() > FEW {
            self.set.contains(reference)
        } else {
            self.list.contains(reference)
        }
    }

    pub(crate) fn list(&self) -> &[Reference] {
        &self.list
    }
}
