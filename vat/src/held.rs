//! The references that a vat may use: what it holds, what came, what it made or read.

use std::cell::RefCell;

use rustc_hash::FxHashSet;

use crate::codec::DecodeError;
use crate::reference::{Reference, Slot, each_reference};

/// A look-up goes through so many before it asks a set.
const FEW: usize = 12;

/// References with their repetitions, quick to ask for one of them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Held {
    list: Vec<Reference>,
    /// The front of the list, as far as anyone had to ask for it: what is used was mostly added
    /// just before.
    older: RefCell<Older>,
}

#[derive(Debug, Clone, Default)]
struct Older {
    set: FxHashSet<Reference>,
    /// How many of the list are in the set.
    count: usize,
}

impl Held {
    #[inline]
    pub(crate) fn clear(&mut self) {
        self.list.clear();
        let older = self.older.get_mut();
        if older.count > 0 {
            older.set.clear();
            older.count = 0;
        }
    }

    #[inline]
    pub(crate) fn push(&mut self, reference: Reference) {
        self.list.push(reference);
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
        let recent = self.list.len().saturating_sub(FEW);
        self.list[recent..].iter().rev().any(|one| one == reference)
            || recent > 0 && self.is_older(reference, recent)
    }

    #[cold]
    fn is_older(&self, reference: &Reference, recent: usize) -> bool {
        let older = &mut *self.older.borrow_mut();
        older.set.extend(&self.list[older.count..recent]);
        older.count = recent;
        older.set.contains(reference)
    }

    pub(crate) fn list(&self) -> &[Reference] {
        &self.list
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ObjectId, VatId, VatNumber};

    #[test]
    fn all_that_was_added_is_found_however_long_ago() {
        let root =
            |counter| Reference::Object(ObjectId::root(VatId::new(VatNumber::HOST, counter)));
        let mut held = Held::default();
        for round in 0..2 {
            for counter in 1..100 {
                held.push(root(counter));
                assert!(held.contains(&root(counter)), "{round}");
                assert!(held.contains(&root(counter / 2 + 1)), "{round}");
                assert!(!held.contains(&root(counter + 1)), "{round}");
            }
            held.clear();
            assert!(!held.contains(&root(1)));
        }
    }
}
