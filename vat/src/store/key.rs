//! Keys of rows in memory: short ones stand in the tree itself.
//!
//! A look-up compares a dozen keys or more. Behind a pointer each would be a step into memory that
//! is nowhere near, and a call to compare a few bytes; most keys are short, and two of those compare
//! as two numbers.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Deref;

/// Keys up to here have no memory of their own.
const SHORT: usize = 16;

/// A key, in the order of its bytes.
#[derive(Clone)]
pub(crate) struct RowKey {
    /// The first bytes of the key, and behind a shorter key zeros.
    head: [u8; SHORT],
    /// How many of them there are.
    len: u8,
    /// All of a key that is longer.
    long: Option<Box<[u8]>>,
}

impl RowKey {
    /// A key that needs no memory of its own, if this one doesn't.
    #[inline]
    fn short(key: &[u8]) -> Option<Self> {
        let mut head = [0; SHORT];
        head.get_mut(..key.len())?.copy_from_slice(key);
        Some(Self {
            head,
            len: key.len() as u8,
            long: None,
        })
    }

    pub(super) fn into_boxed(self) -> Box<[u8]> {
        match self.long {
            None => self.head[..usize::from(self.len)].into(),
            Some(long) => long,
        }
    }

    /// The first half of the head as a number, and the second.
    #[inline]
    fn halves(&self) -> (u64, u64) {
        let number = u128::from_be_bytes(self.head);
        ((number >> 64) as u64, number as u64)
    }
}

/// The value under a key.
#[inline]
pub(crate) fn find<'m, V>(rows: &'m BTreeMap<RowKey, V>, key: &[u8]) -> Option<&'m V> {
    if rows.is_empty() {
        return None;
    }
    match RowKey::short(key) {
        Some(short) => rows.get(&short),
        None => rows.get(key),
    }
}

impl From<&[u8]> for RowKey {
    fn from(key: &[u8]) -> Self {
        Self::short(key).unwrap_or_else(|| {
            let (head, _) = key.split_first_chunk().expect("it is longer");
            Self {
                head: *head,
                len: SHORT as u8,
                long: Some(key.into()),
            }
        })
    }
}

impl Deref for RowKey {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.long {
            None => &self.head[..usize::from(self.len)],
            Some(long) => long,
        }
    }
}

impl Borrow<[u8]> for RowKey {
    fn borrow(&self) -> &[u8] {
        self
    }
}

impl PartialEq for RowKey {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for RowKey {}

impl PartialOrd for RowKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for RowKey {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        // Most differ in the first half.
        let ((first, second), (others_first, others_second)) = (self.halves(), other.halves());
        if first != others_first {
            return first.cmp(&others_first);
        }
        let heads = second.cmp(&others_second);
        heads.then_with(|| match (&self.long, &other.long) {
            // What differs are zeros at the end of one.
            (None, None) => self.len.cmp(&other.len),
            _ => (**self).cmp(&**other),
        })
    }
}

impl std::fmt::Debug for RowKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        (**self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Few different bytes, zero among them, so that keys share what they begin with.
    fn keys() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(prop_oneof![Just(0), Just(1), Just(255)], 0..20)
    }

    proptest! {
        #[test]
        fn keys_stand_in_the_order_of_their_bytes(one in keys(), two in keys()) {
            let (a, b) = (RowKey::from(&one[..]), RowKey::from(&two[..]));
            prop_assert_eq!(&*a, &one[..]);
            prop_assert_eq!(a.cmp(&b), one.cmp(&two));
            prop_assert_eq!(a == b, one == two);
            prop_assert_eq!(a.into_boxed(), one.into());
        }

        #[test]
        fn what_was_put_in_is_found(present in proptest::collection::btree_set(keys(), 0..40), key in keys()) {
            let rows: BTreeMap<RowKey, ()> =
                present.iter().map(|key| (RowKey::from(&key[..]), ())).collect();
            prop_assert_eq!(find(&rows, &key).is_some(), present.contains(&key));
            prop_assert!(rows.keys().map(|key| &**key).eq(present.iter().map(|key| &key[..])));
        }
    }
}
