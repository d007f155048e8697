//! The rooms of a vat's store: what stands before the keys of its rows.
//!
//! | room | keys                               | values                                         |
//! |------|------------------------------------|------------------------------------------------|
//! | 0    | the vat's own keys                 | bytes                                          |
//! | 1    | the vat's own keys                 | bodies, whose references are held              |
//! | 2    | number of an object (8 bytes)      | kind and state of the object, a body           |
//! | 3    | number of a promise, and of a part | what is known of promises that are combined    |
//! | 4    | a promise (16 bytes), key of a row | nothing: the row of another room holds it      |
//!
//! Numbers are big endian.

use crate::ids::PromiseId;

/// Rows of bytes.
pub(crate) const PLAIN: u8 = 0;
/// Rows whose values hold references.
pub(crate) const WITH_REFS: u8 = 1;
/// Objects beside the root.
pub(crate) const OBJECTS: u8 = 2;
/// What is known of promises that are combined.
pub(crate) const COMBINED: u8 = 3;
/// Which rows hold a promise.
pub(crate) const PROMISES: u8 = 4;

/// The key of a row of a room.
pub(crate) fn in_room(room: u8, key: &[u8]) -> Vec<u8> {
    let mut full = Vec::with_capacity(1 + key.len());
    full.push(room);
    full.extend_from_slice(key);
    full
}

/// The key of an object.
pub(crate) fn object(number: u64) -> Vec<u8> {
    in_room(OBJECTS, &number.to_be_bytes())
}

/// What the keys begin with that say which rows hold the promise.
pub(crate) fn holders_of(promise: PromiseId) -> Vec<u8> {
    in_room(PROMISES, &promise.to_bytes())
}

/// The key that says that a row holds the promise.
pub(crate) fn holder(promise: PromiseId, row: &[u8]) -> Vec<u8> {
    let mut key = holders_of(promise);
    key.extend_from_slice(row);
    key
}

/// The first bytes of the keys of all rows whose values hold references.
pub const ROOMS_THAT_HOLD: [u8; 3] = [WITH_REFS, OBJECTS, COMBINED];

/// Whether a row's value is a body, whose references are held.
#[must_use]
pub fn row_holds_references(key: &[u8]) -> bool {
    matches!(key.first(), Some(&WITH_REFS | &OBJECTS | &COMBINED))
}

/// The number of the object whose row that is.
#[must_use]
#[inline]
pub fn object_of_row(key: &[u8]) -> Option<u64> {
    match key {
        [OBJECTS, number @ ..] => number.try_into().ok().map(u64::from_be_bytes),
        _ => None,
    }
}
