//! A place where only one thread may be at a time.

use loom::cell::UnsafeCell;

/// Says that what happens in it is never done by two threads at once, nor unseen by the next.
///
/// Loom fails the model when two visits are not ordered by what the code under test does.
#[derive(Debug)]
pub struct Exclusive(UnsafeCell<()>);

impl Exclusive {
    /// Nobody is in there.
    #[must_use]
    pub fn new() -> Self {
        Self(UnsafeCell::new(()))
    }

    /// Goes in and out.
    ///
    /// # Panics
    ///
    /// When another visit is not ordered before or after this one.
    pub fn visit(&self) {
        // The cell is empty: what counts is that loom notes the write access.
        self.0.with_mut(|_| ());
    }
}

impl Default for Exclusive {
    fn default() -> Self {
        Self::new()
    }
}
