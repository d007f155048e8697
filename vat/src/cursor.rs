//! Walks over the rows of a vat's store, by the crank that has it in hand.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Bound;

use serde::de::DeserializeOwned;

use crate::crank::Crank;
use crate::payload::PayloadError;
use crate::store::Walk;

/// A walk over the rows of a store; see [`Crank::range`].
pub struct Cursor<'c, 'a> {
    crank: &'c Crank<'a>,
    low: Bound<Vec<u8>>,
    high: Bound<Vec<u8>>,
    forward: bool,
    walk: Walk,
}

impl<'c, 'a> Cursor<'c, 'a> {
    pub(crate) fn new(crank: &'c Crank<'a>, low: Bound<Vec<u8>>, high: Bound<Vec<u8>>) -> Self {
        Self {
            crank,
            low,
            high,
            forward: true,
            walk: Walk::default(),
        }
    }

    /// Turns the walk around: what is left of it comes from its other end.
    #[must_use]
    pub fn rev(mut self) -> Self {
        self.forward = !self.forward;
        // What was read ahead lies on the other side now.
        self.walk = Walk::default();
        self
    }
}

impl Iterator for Cursor<'_, '_> {
    type Item = (Vec<u8>, Vec<u8>);

    fn next(&mut self) -> Option<Self::Item> {
        let gathered = self.crank.look()?;
        let bounds = (
            self.low.as_ref().map(|key| &key[..]),
            self.high.as_ref().map(|key| &key[..]),
        );
        let (store, writes) = (self.crank.store, &gathered.writes);
        let next = self
            .walk
            .next(store, self.crank.id, writes, bounds, self.forward);
        let (mut key, value) = self.crank.known(next)??;
        let passed = Bound::Excluded(key.clone());
        key.remove(0);
        let row = (key, value);
        if self.forward {
            self.low = passed;
        } else {
            self.high = passed;
        }
        Some(row)
    }
}

/// A walk over rows that hold references; see [`Crank::range_holding`].
#[derive(Debug)]
pub struct HoldingCursor<'c, 'a, T> {
    rows: Cursor<'c, 'a>,
    value: PhantomData<fn() -> T>,
}

impl<'c, 'a, T> HoldingCursor<'c, 'a, T> {
    pub(crate) const fn new(rows: Cursor<'c, 'a>) -> Self {
        Self {
            rows,
            value: PhantomData,
        }
    }

    /// Turns the walk around, as [`Cursor::rev`] does.
    #[must_use]
    pub fn rev(mut self) -> Self {
        self.rows = self.rows.rev();
        self
    }
}

impl<T: DeserializeOwned> Iterator for HoldingCursor<'_, '_, T> {
    type Item = (Vec<u8>, Result<T, PayloadError>);

    fn next(&mut self) -> Option<Self::Item> {
        let (key, row) = self.rows.next()?;
        let value = self.rows.crank.decode_row(&row);
        Some((key, value))
    }
}

impl fmt::Debug for Cursor<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cursor")
            .field("low", &self.low)
            .field("high", &self.high)
            .finish()
    }
}
