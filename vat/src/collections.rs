//! Typed collections in a vat's store.
//!
//! A collection is a name and two types. It is made as a constant, costs nothing, and is used
//! with the crank:
//!
//! ```
//! use crankcase_vat::collections::{Counter, OrderedMap};
//! use crankcase_vat::{Crank, Ref, Rejection};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! struct Order {
//!     of: Ref,
//!     pieces: u32,
//! }
//!
//! // `holding`, because its values hold references.
//! const DUE: OrderedMap<(u64, u64), Order> = OrderedMap::holding("due");
//! const TAKEN: Counter = Counter::new("taken");
//!
//! fn take(cx: &Crank<'_>, due: u64, order: &Order) -> Result<(), Rejection> {
//!     let number = TAKEN.add(cx, 1)?;
//!     DUE.insert(cx, &(due, number.unsigned_abs()), order)?;
//!     Ok(())
//! }
//!
//! fn ship(cx: &Crank<'_>) -> Result<(), Rejection> {
//!     for row in DUE.range(cx, ..(cx.now().get(), 0)) {
//!         let (key, order) = row?;
//!         cx.send(order.of, "shipped", &order.pieces);
//!         DUE.remove(cx, &key)?;
//!     }
//!     Ok(())
//! }
//! ```
//!
//! Writes are blind: they read nothing, so that a crank which only writes waits for no disk; except
//! those of collections whose values hold references (`holding`), which read the row that was
//! there. What is illegal for [`Crank::set`] dooms the crank here as well: a key or a value above
//! the [`Limits`](crate::Limits), a reference that the vat does not have.
//!
//! # In the store
//!
//! The keys of all rows of a collection are 255, a byte for its kind, its name with its length in
//! front, and then what tells the row apart. So two collections never share a row unless they are
//! of one kind and one name, and no key of bytes that the vat writes itself is among them unless
//! it begins with 255. The types are not written down: a collection whose types change needs
//! another name.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Bound, RangeBounds};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::crank::Crank;
use crate::cursor::Cursor;
use crate::payload::{PayloadError, decode, encode_into};
use crate::rejection::{Cause, Rejection};
use crate::rooms;

pub use crate::key::{AsKey, Key, KeyError};

/// The first byte of every key of a collection.
const COLLECTIONS: u8 = 255;

const MAP: u8 = 1;
const ORDERED_MAP: u8 = 2;
const LOG: u8 = 3;
const COUNTER: u8 = 4;

/// Why a collection could not do what it was asked for. The crank is best abandoned: `?` makes a
/// [`Rejection`] of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CollectionError {
    /// A key or a value could not be encoded, or a row holds none of the type. Where nobody wrote
    /// rows of a collection by hand, its types have changed.
    #[error("{collection:?}: {why}")]
    Value {
        /// The collection's name.
        collection: &'static str,
        /// What is wrong.
        why: PayloadError,
    },
    /// The key of a row is none of the collection's type. Its types have changed.
    #[error("{collection:?}: {why}")]
    Key {
        /// The collection's name.
        collection: &'static str,
        /// What is wrong.
        why: KeyError,
    },
    /// A counter would leave the range of its type.
    #[error("{collection:?}: {value} and {more} make a number that a counter cannot hold")]
    Overflow {
        /// The collection's name.
        collection: &'static str,
        /// What it holds.
        value: i64,
        /// What was to be added.
        more: i64,
    },
}

impl From<CollectionError> for Rejection {
    fn from(error: CollectionError) -> Self {
        Self::with_cause(Cause::Refused, "collection", error.to_string())
    }
}

/// How values stand in rows; the one place that knows.
mod values {
    use super::{DeserializeOwned, PayloadError, Serialize, decode, encode_into};

    pub(super) fn put<V: Serialize + ?Sized>(
        value: &V,
        out: &mut Vec<u8>,
    ) -> Result<(), PayloadError> {
        let mut slots = Vec::new();
        encode_into(value, out, &mut slots)?;
        match slots.is_empty() {
            true => Ok(()),
            false => Err(PayloadError::Encode {
                why: "it holds references: make the collection with `holding`, and keep them out \
                      of keys"
                    .to_owned(),
            }),
        }
    }

    pub(super) fn take<V: DeserializeOwned>(bytes: &[u8]) -> Result<V, PayloadError> {
        decode(bytes, &[])
    }
}

/// The part of the store that is a collection's.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Place {
    kind: u8,
    name: &'static str,
    /// Whether values hold references.
    holds: bool,
}

impl Place {
    const fn new(kind: u8, name: &'static str, holds: bool) -> Self {
        assert!(
            !name.is_empty() && name.len() <= 64,
            "a collection's name has 1 to 64 bytes"
        );
        Self { kind, name, holds }
    }

    /// The room of the store that its rows stand in.
    const fn room(self) -> u8 {
        match self.holds {
            true => rooms::WITH_REFS,
            false => rooms::PLAIN,
        }
    }

    /// What all of its keys begin with.
    fn prefix(self) -> Vec<u8> {
        let len = u8::try_from(self.name.len()).expect("a name has at most 64 bytes");
        let mut key = Vec::with_capacity(3 + self.name.len() + 16);
        key.extend_from_slice(&[COLLECTIONS, self.kind, len]);
        key.extend_from_slice(self.name.as_bytes());
        key
    }

    const fn prefix_len(self) -> usize {
        3 + self.name.len()
    }

    fn value_error(self, why: PayloadError) -> CollectionError {
        let collection = self.name;
        CollectionError::Value { collection, why }
    }

    fn key_error(self, why: KeyError) -> CollectionError {
        let collection = self.name;
        CollectionError::Key { collection, why }
    }

    /// The key of a row that is told apart by an ordered key.
    fn ordered<K: Key>(self, key: &(impl AsKey<K> + ?Sized)) -> Vec<u8> {
        let mut full = self.prefix();
        key.put_key(&mut full);
        full
    }

    fn set<V: Serialize + ?Sized>(
        self,
        cx: &Crank<'_>,
        key: &[u8],
        value: &V,
    ) -> Result<(), CollectionError> {
        if self.holds {
            cx.set_holding(key, value);
            return Ok(());
        }
        let mut bytes = Vec::new();
        values::put(value, &mut bytes).map_err(|why| self.value_error(why))?;
        cx.set(key, &bytes);
        Ok(())
    }

    /// The value of a row, which may be used with its references from now on.
    fn read<V: DeserializeOwned>(self, cx: &Crank<'_>, row: &[u8]) -> Result<V, CollectionError> {
        let value = match self.holds {
            true => cx.decode_row(row),
            false => values::take(row),
        };
        value.map_err(|why| self.value_error(why))
    }

    fn contains(self, cx: &Crank<'_>, key: &[u8]) -> bool {
        cx.get_row(self.room(), key).is_some()
    }

    fn delete(self, cx: &Crank<'_>, key: &[u8]) {
        match self.holds {
            true => cx.delete_holding(key),
            false => cx.delete(key),
        }
    }

    fn get<V: DeserializeOwned>(
        self,
        cx: &Crank<'_>,
        key: &[u8],
    ) -> Result<Option<V>, CollectionError> {
        let row = cx.get_row(self.room(), key);
        row.map(|row| self.read(cx, &row)).transpose()
    }

    /// Walks the rows whose ordered keys lie in the range.
    fn range<'c, 'a, K: Key, V>(
        self,
        cx: &'c Crank<'a>,
        range: &impl RangeBounds<K>,
    ) -> Range<'c, 'a, K, V> {
        let low = match range.start_bound() {
            Bound::Unbounded => Bound::Included(self.prefix()),
            bound => bound.map(|key| self.ordered(key)),
        };
        let high = match range.end_bound() {
            Bound::Unbounded => end_of(self.prefix()),
            bound => bound.map(|key| self.ordered(key)),
        };
        Range {
            cx,
            cursor: cx.walk::<Vec<u8>, _>(self.room(), (low, high)),
            place: self,
            of: PhantomData,
        }
    }
}

/// The end of all keys that begin with a collection's prefix. It ends with a byte of the name, and
/// in UTF-8 none is 255.
fn end_of(mut prefix: Vec<u8>) -> Bound<Vec<u8>> {
    if let Some(last) = prefix.last_mut() {
        *last += 1;
    }
    Bound::Excluded(prefix)
}

macro_rules! handle {
    ($type:ident<$($part:ident),*>, $kind:ident) => {
        impl<$($part),*> $type<$($part),*> {
            /// The collection of this name, which has 1 to 64 bytes and is part of each key.
            ///
            /// # Panics
            ///
            /// When the name is longer or empty; in a constant, the program does not compile.
            #[must_use]
            pub const fn new(name: &'static str) -> Self {
                Self {
                    place: Place::new($kind, name, false),
                    of: PhantomData,
                }
            }

            /// As [`new`](Self::new), with values that may hold references. Its rows are others
            /// than those of a collection without, whatever the name; writing one reads the row
            /// that was there, to know what is let go of.
            ///
            /// # Panics
            ///
            /// As [`new`](Self::new).
            #[must_use]
            pub const fn holding(name: &'static str) -> Self {
                Self {
                    place: Place::new($kind, name, true),
                    of: PhantomData,
                }
            }

            /// Its name.
            #[must_use]
            pub const fn name(&self) -> &'static str {
                self.place.name
            }
        }

        impl<$($part),*> Clone for $type<$($part),*> {
            fn clone(&self) -> Self {
                *self
            }
        }

        impl<$($part),*> Copy for $type<$($part),*> {}

        impl<$($part),*> fmt::Debug for $type<$($part),*> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($type)).field(&self.place.name).finish()
            }
        }
    };
}

/// Values by keys of any type that serde knows, in no order that means anything.
///
/// The key is encoded as a value is, so it must always encode to the same bytes.
pub struct Map<K, V> {
    place: Place,
    of: PhantomData<fn(K) -> V>,
}

handle!(Map<K, V>, MAP);

impl<K: Serialize, V: Serialize + DeserializeOwned> Map<K, V> {
    fn key(&self, key: &K) -> Result<Vec<u8>, CollectionError> {
        let mut full = self.place.prefix();
        values::put(key, &mut full).map_err(|why| self.place.value_error(why))?;
        Ok(full)
    }

    /// Puts a value under a key, in place of what was there.
    ///
    /// # Errors
    ///
    /// [`CollectionError::Value`] when one of them cannot be encoded.
    pub fn insert(&self, cx: &Crank<'_>, key: &K, value: &V) -> Result<(), CollectionError> {
        self.place.set(cx, &self.key(key)?, value)
    }

    /// The value under a key.
    ///
    /// # Errors
    ///
    /// [`CollectionError::Value`] when the row holds no `V`.
    pub fn get(&self, cx: &Crank<'_>, key: &K) -> Result<Option<V>, CollectionError> {
        self.place.get(cx, &self.key(key)?)
    }

    /// Whether there is a value under a key.
    ///
    /// # Errors
    ///
    /// [`CollectionError::Value`] when the key cannot be encoded.
    pub fn contains(&self, cx: &Crank<'_>, key: &K) -> Result<bool, CollectionError> {
        Ok(self.place.contains(cx, &self.key(key)?))
    }

    /// Removes what is under a key; that nothing is there is no error.
    ///
    /// # Errors
    ///
    /// [`CollectionError::Value`] when the key cannot be encoded.
    pub fn remove(&self, cx: &Crank<'_>, key: &K) -> Result<(), CollectionError> {
        self.place.delete(cx, &self.key(key)?);
        Ok(())
    }
}

impl<K: DeserializeOwned, V: DeserializeOwned> Map<K, V> {
    /// All keys and values, in the same order each time. The walk is one of [`Crank::range`].
    pub fn iter<'c, 'a>(
        &self,
        cx: &'c Crank<'a>,
    ) -> impl Iterator<Item = Result<(K, V), CollectionError>> + use<'c, 'a, K, V> {
        let place = self.place;
        cx.walk_prefix(place.room(), &place.prefix())
            .map(move |(key, row)| {
                let key = values::take(&key[place.prefix_len()..]);
                let key = key.map_err(|why| place.value_error(why))?;
                Ok((key, place.read(cx, &row)?))
            })
    }
}

/// Values by keys in the order of the keys; see [`Key`] for what can be one.
pub struct OrderedMap<K, V> {
    place: Place,
    of: PhantomData<fn(K) -> V>,
}

handle!(OrderedMap<K, V>, ORDERED_MAP);

impl<K: Key, V: Serialize + DeserializeOwned> OrderedMap<K, V> {
    /// Puts a value under a key, in place of what was there.
    ///
    /// # Errors
    ///
    /// [`CollectionError::Value`] when it cannot be encoded.
    pub fn insert(
        &self,
        cx: &Crank<'_>,
        key: &(impl AsKey<K> + ?Sized),
        value: &V,
    ) -> Result<(), CollectionError> {
        self.place.set(cx, &self.place.ordered(key), value)
    }

    /// The value under a key.
    ///
    /// # Errors
    ///
    /// [`CollectionError::Value`] when the row holds no `V`.
    pub fn get(
        &self,
        cx: &Crank<'_>,
        key: &(impl AsKey<K> + ?Sized),
    ) -> Result<Option<V>, CollectionError> {
        self.place.get(cx, &self.place.ordered(key))
    }

    /// Whether there is a value under a key.
    ///
    /// # Errors
    ///
    /// None today.
    pub fn contains(
        &self,
        cx: &Crank<'_>,
        key: &(impl AsKey<K> + ?Sized),
    ) -> Result<bool, CollectionError> {
        Ok(self.place.contains(cx, &self.place.ordered(key)))
    }

    /// Removes what is under a key; that nothing is there is no error.
    ///
    /// # Errors
    ///
    /// None today.
    pub fn remove(
        &self,
        cx: &Crank<'_>,
        key: &(impl AsKey<K> + ?Sized),
    ) -> Result<(), CollectionError> {
        self.place.delete(cx, &self.place.ordered(key));
        Ok(())
    }

    /// Walks the rows whose keys lie in the range, in the order of the keys, or with
    /// [`Range::rev`] against it. The crank may be used freely meanwhile, as with
    /// [`Crank::range`].
    pub fn range<'c, 'a>(
        &self,
        cx: &'c Crank<'a>,
        range: impl RangeBounds<K>,
    ) -> Range<'c, 'a, K, V> {
        self.place.range(cx, &range)
    }

    /// The row with the lowest key.
    ///
    /// # Errors
    ///
    /// [`CollectionError`] when the row is none of these types.
    pub fn first(&self, cx: &Crank<'_>) -> Result<Option<(K, V)>, CollectionError> {
        self.range(cx, ..).next().transpose()
    }

    /// The row with the highest key.
    ///
    /// # Errors
    ///
    /// [`CollectionError`] when the row is none of these types.
    pub fn last(&self, cx: &Crank<'_>) -> Result<Option<(K, V)>, CollectionError> {
        self.range(cx, ..).rev().next().transpose()
    }
}

/// A walk over rows of an [`OrderedMap`] or a [`Log`].
pub struct Range<'c, 'a, K, V> {
    cx: &'c Crank<'a>,
    cursor: Cursor<'c, 'a>,
    place: Place,
    of: PhantomData<fn() -> (K, V)>,
}

impl<K, V> Range<'_, '_, K, V> {
    /// Turns the walk around: what is left of it comes from its other end.
    #[must_use]
    pub fn rev(mut self) -> Self {
        self.cursor = self.cursor.rev();
        self
    }
}

impl<K: Key, V: DeserializeOwned> Iterator for Range<'_, '_, K, V> {
    type Item = Result<(K, V), CollectionError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (key, row) = self.cursor.next()?;
        let (cx, place) = (self.cx, self.place);
        let key = crate::key::whole(&key[place.prefix_len()..]);
        Some(
            key.map_err(|why| place.key_error(why))
                .and_then(|key| Ok((key, place.read(cx, &row)?))),
        )
    }
}

impl<K, V> fmt::Debug for Range<'_, '_, K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Range")
            .field("collection", &self.place.name)
            .finish_non_exhaustive()
    }
}

/// Values in the order in which they were appended, by their index from 0.
///
/// How many there are stands in a row of its own, which `append` reads and writes.
pub struct Log<T> {
    place: Place,
    of: PhantomData<fn() -> T>,
}

handle!(Log<T>, LOG);

impl<T: Serialize + DeserializeOwned> Log<T> {
    /// How many values were appended.
    ///
    /// # Errors
    ///
    /// [`CollectionError::Value`] when the row that says so does not.
    pub fn len(&self, cx: &Crank<'_>) -> Result<u64, CollectionError> {
        // The prefix alone is shorter than the key of any value.
        Ok(self.place.get(cx, &self.place.prefix())?.unwrap_or(0))
    }

    /// Whether none was.
    ///
    /// # Errors
    ///
    /// As [`len`](Self::len).
    pub fn is_empty(&self, cx: &Crank<'_>) -> Result<bool, CollectionError> {
        Ok(self.len(cx)? == 0)
    }

    /// Appends a value; gives its index.
    ///
    /// # Errors
    ///
    /// As [`len`](Self::len), and when the value cannot be encoded.
    pub fn append(&self, cx: &Crank<'_>, value: &T) -> Result<u64, CollectionError> {
        let index = self.len(cx)?;
        self.place
            .set(cx, &self.place.ordered::<u64>(&index), value)?;
        self.place.set(cx, &self.place.prefix(), &(index + 1))?;
        Ok(index)
    }

    /// The value at an index.
    ///
    /// # Errors
    ///
    /// [`CollectionError::Value`] when the row holds no `T`.
    pub fn get(&self, cx: &Crank<'_>, index: u64) -> Result<Option<T>, CollectionError> {
        self.place.get(cx, &self.place.ordered::<u64>(&index))
    }

    /// Walks the values whose indices lie in the range, with their indices, in order, or with
    /// [`Range::rev`] against it.
    pub fn range<'c, 'a>(
        &self,
        cx: &'c Crank<'a>,
        range: impl RangeBounds<u64>,
    ) -> Range<'c, 'a, u64, T> {
        let low = range.start_bound().cloned();
        let low = match low {
            // Behind the row that says how many there are.
            Bound::Unbounded => Bound::Included(0),
            bound => bound,
        };
        self.place.range(cx, &(low, range.end_bound().cloned()))
    }
}

/// A number.
#[derive(Clone, Copy)]
pub struct Counter {
    place: Place,
}

impl Counter {
    /// The counter of this name, which has 1 to 64 bytes and is its key.
    ///
    /// # Panics
    ///
    /// When the name is longer or empty; in a constant, the program does not compile.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self {
            place: Place::new(COUNTER, name, false),
        }
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.place.name
    }

    /// What it holds; 0 before anything was added.
    ///
    /// # Errors
    ///
    /// [`CollectionError::Value`] when the row holds no number.
    pub fn get(&self, cx: &Crank<'_>) -> Result<i64, CollectionError> {
        Ok(self.place.get(cx, &self.place.prefix())?.unwrap_or(0))
    }

    /// Adds to it; gives what it holds then.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get), and [`CollectionError::Overflow`]; it holds what it held then.
    pub fn add(&self, cx: &Crank<'_>, more: i64) -> Result<i64, CollectionError> {
        let value = self.get(cx)?;
        let sum = value.checked_add(more);
        let sum = sum.ok_or(CollectionError::Overflow {
            collection: self.place.name,
            value,
            more,
        })?;
        self.place.set(cx, &self.place.prefix(), &sum)?;
        Ok(sum)
    }
}

impl fmt::Debug for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Counter").field(&self.place.name).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::store::tests::in_a_crank;

    const PRICES: Map<(String, u8), f64> = Map::new("prices");
    const DUE: OrderedMap<(i64, String), Vec<u32>> = OrderedMap::new("due");
    const NAMES: OrderedMap<String, u8> = OrderedMap::new("names");
    const SEEN: Log<String> = Log::new("seen");
    const COUNT: Counter = Counter::new("count");

    fn all<K, V, E: fmt::Debug>(walk: impl Iterator<Item = Result<(K, V), E>>) -> Vec<(K, V)> {
        walk.collect::<Result<_, _>>().expect("rows of these types")
    }

    #[test]
    fn a_holding_collection_gives_its_references_back_to_be_used() {
        const PEERS: OrderedMap<u32, (crate::Ref, u8)> = OrderedMap::holding("peers");
        const PLAIN_PEERS: OrderedMap<u32, crate::Ref> = OrderedMap::new("peers");
        in_a_crank(|cx| {
            PEERS.insert(cx, &7, &(cx.me(), 1))?;
            PEERS.insert(cx, &3, &(cx.me(), 2))?;
            assert_eq!(PEERS.get(cx, &7), Ok(Some((cx.me(), 1))));
            assert_eq!(PEERS.contains(cx, &8), Ok(false));
            let keys: Vec<u32> = all(PEERS.range(cx, ..)).iter().map(|(k, _)| *k).collect();
            assert_eq!(keys, [3, 7]);
            PEERS.remove(cx, &3)?;
            assert_eq!(PEERS.first(cx), Ok(Some((7, (cx.me(), 1)))));
            // The same name without references is another collection, and takes none.
            assert_eq!(PLAIN_PEERS.contains(cx, &7), Ok(false));
            let refused = PLAIN_PEERS.insert(cx, &7, &cx.me());
            assert!(
                matches!(refused, Err(CollectionError::Value { .. })),
                "{refused:?}"
            );
            Ok(())
        });
    }

    #[test]
    fn a_map_gives_back_what_was_put_into_it() {
        in_a_crank(|cx| {
            let key = |name: &str| (name.to_owned(), 7);
            PRICES.insert(cx, &key("tin"), &2.5)?;
            PRICES.insert(cx, &key("lead"), &1.25)?;
            PRICES.insert(cx, &key("tin"), &3.0)?;
            assert_eq!(PRICES.get(cx, &key("tin")), Ok(Some(3.0)));
            assert_eq!(PRICES.get(cx, &key("zinc")), Ok(None));
            let mut found = all(PRICES.iter(cx));
            found.sort_by(|one, two| one.0.cmp(&two.0));
            assert_eq!(found, [(key("lead"), 1.25), (key("tin"), 3.0)]);
            PRICES.remove(cx, &key("tin"))?;
            assert_eq!(PRICES.contains(cx, &key("tin")), Ok(false));
            assert_eq!(PRICES.contains(cx, &key("lead")), Ok(true));
            Ok(())
        });
    }

    #[test]
    fn an_ordered_map_can_be_asked_by_what_stands_for_a_key() {
        in_a_crank(|cx| {
            NAMES.insert(cx, "b", &2)?;
            NAMES.insert(cx, &"a".to_owned(), &1)?;
            assert_eq!(NAMES.get(cx, "a"), Ok(Some(1)));
            assert_eq!(NAMES.first(cx), Ok(Some(("a".to_owned(), 1))));
            assert_eq!(NAMES.last(cx), Ok(Some(("b".to_owned(), 2))));
            NAMES.remove(cx, "b")?;
            assert_eq!(NAMES.contains(cx, "b"), Ok(false));
            Ok(())
        });
    }

    proptest! {
        #[test]
        fn an_ordered_map_is_what_a_model_says(
            rows in proptest::collection::vec((-3i64..3, "[a\0]{0,2}", any::<Option<u32>>()), 0..40),
            low: (i64, u8), high: (i64, u8),
        ) {
            let model = in_a_crank(|cx| {
                let mut model = BTreeMap::new();
                // Neighbours on both sides, which no walk may enter.
                OrderedMap::<u64, u8>::new("du").insert(cx, &1, &1)?;
                OrderedMap::<u64, u8>::new("duf").insert(cx, &1, &1)?;
                cx.set(&[255, 2, 3, b'd', b'u', b'd', 255], b"");
                for (first, second, value) in rows {
                    let key = (first, second);
                    match value {
                        Some(value) => {
                            DUE.insert(cx, &key, &vec![value])?;
                            model.insert(key, vec![value]);
                        }
                        None => {
                            DUE.remove(cx, &key)?;
                            model.remove(&key);
                        }
                    }
                }
                let key = |(first, second): (i64, u8)| {
                    (first % 4, "a\0a"[..usize::from(second % 4)].to_owned())
                };
                let (low, high) = (key(low), key(high));
                if low <= high {
                    let expected: Vec<_> = model.range(low.clone()..=high.clone()).collect();
                    let found = all(DUE.range(cx, low..=high));
                    assert!(found.iter().map(|(k, v)| (k, v)).eq(expected));
                }
                let mut backwards = all(DUE.range(cx, ..).rev());
                backwards.reverse();
                Ok((model, backwards))
            });
            prop_assert!(model.0.into_iter().eq(model.1));
        }
    }

    #[test]
    fn a_log_is_read_by_index_and_by_range() {
        in_a_crank(|cx| {
            assert_eq!(SEEN.is_empty(cx), Ok(true));
            for index in 0..300u64 {
                assert_eq!(SEEN.append(cx, &format!("entry {index}")), Ok(index));
            }
            assert_eq!(SEEN.len(cx), Ok(300));
            assert_eq!(SEEN.get(cx, 256), Ok(Some("entry 256".to_owned())));
            assert_eq!(SEEN.get(cx, 300), Ok(None));
            let indices = |range: Range<'_, '_, u64, String>| -> Vec<u64> {
                all(range).into_iter().map(|(index, _)| index).collect()
            };
            assert_eq!(indices(SEEN.range(cx, ..)), (0..300).collect::<Vec<_>>());
            assert_eq!(indices(SEEN.range(cx, 254..258)), [254, 255, 256, 257]);
            assert_eq!(indices(SEEN.range(cx, 298..).rev()), [299, 298]);
            Ok(())
        });
    }

    #[test]
    fn a_counter_adds_and_does_not_wrap() {
        in_a_crank(|cx| {
            assert_eq!(COUNT.get(cx), Ok(0));
            assert_eq!(COUNT.add(cx, 5), Ok(5));
            assert_eq!(COUNT.add(cx, -7), Ok(-2));
            let overflow = COUNT.add(cx, i64::MIN);
            assert!(matches!(overflow, Err(CollectionError::Overflow { .. })));
            assert_eq!(COUNT.get(cx), Ok(-2));
            Ok(())
        });
    }

    #[test]
    fn collections_of_one_name_and_several_kinds_share_nothing() {
        in_a_crank(|cx| {
            const SAME: &str = "same";
            let (map, ordered) = (Map::<u8, u8>::new(SAME), OrderedMap::<u8, u8>::new(SAME));
            let (log, counter) = (Log::<u8>::new(SAME), Counter::new(SAME));
            map.insert(cx, &1, &1)?;
            ordered.insert(cx, &1, &2)?;
            log.append(cx, &3)?;
            counter.add(cx, 4)?;
            assert_eq!(all(map.iter(cx)), [(1, 1)]);
            assert_eq!(all(ordered.range(cx, ..)), [(1, 2)]);
            assert_eq!(all(log.range(cx, ..)), [(0, 3)]);
            assert_eq!(counter.get(cx), Ok(4));
            Ok(())
        });
    }

    #[test]
    fn a_row_of_other_types_is_an_error_and_a_rejection() {
        in_a_crank(|cx| {
            NAMES.insert(cx, "a", &200)?;
            let shorter = OrderedMap::<u8, u8>::new("names");
            let found = shorter.range(cx, ..).next();
            assert!(matches!(found, Some(Err(CollectionError::Key { .. }))));
            let wider = OrderedMap::<String, (u8, u8)>::new("names");
            let error = wider.get(cx, "a").expect_err("one byte is no two");
            let rejection = Rejection::from(error);
            assert_eq!(rejection.code(), "collection");
            assert!(rejection.message().contains("names"), "{rejection}");
            Ok(())
        });
    }
}
