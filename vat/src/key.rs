//! Keys whose bytes sort as their values do.
//!
//! | type                        | bytes                                                           |
//! |-----------------------------|-----------------------------------------------------------------|
//! | `u8` … `u128`               | big endian                                                      |
//! | `i8` … `i128`               | big endian, with the sign bit turned over                       |
//! | `bool`                      | 0 or 1                                                          |
//! | `[u8; N]`                   | as they are                                                     |
//! | [`VatId`], [`Time`]         | 16 and 8 bytes, big endian                                      |
//! | `Option<T>`                 | 0; or 1 and the value                                           |
//! | `String`                    | UTF-8, each 0 followed by 255, and 0, 0 at the end              |
//! | `Vec<u8>`                   | likewise                                                        |
//! | tuples                      | one part behind the other                                       |
//!
//! No key is the beginning of another of its type, so a part of a tuple needs no length in front.
//! The bytes stand in journals and do not change.

use crate::ids::{Time, VatId, VatNumber};

/// A key of an [`OrderedMap`](crate::collections::OrderedMap): its bytes sort as the keys do.
pub trait Key: Sized {
    /// Appends the bytes that stand for the key.
    fn put(&self, out: &mut Vec<u8>);

    /// Takes the key off the front of `bytes`.
    ///
    /// # Errors
    ///
    /// [`KeyError`] when the bytes do not begin with a key of the type.
    fn take(bytes: &mut &[u8]) -> Result<Self, KeyError>;
}

/// What a row can be looked up by whose key is a `K`: a `K`, or what stands for one without being
/// one, as a `str` does for a `String`.
pub trait AsKey<K: Key> {
    /// Appends the bytes that stand for the key.
    fn put_key(&self, out: &mut Vec<u8>);
}

impl<K: Key> AsKey<K> for K {
    fn put_key(&self, out: &mut Vec<u8>) {
        self.put(out);
    }
}

impl AsKey<Vec<u8>> for [u8] {
    fn put_key(&self, out: &mut Vec<u8>) {
        put_string(self, out);
    }
}

impl AsKey<String> for str {
    fn put_key(&self, out: &mut Vec<u8>) {
        put_string(self.as_bytes(), out);
    }
}

fn put_string(string: &[u8], out: &mut Vec<u8>) {
    for &byte in string {
        out.push(byte);
        if byte == 0 {
            out.push(u8::MAX);
        }
    }
    out.extend_from_slice(&[0, 0]);
}

/// Bytes that are no key of the type that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are no key of the type that was asked for")]
pub struct KeyError;

/// Takes a key that is all of `bytes`.
pub(crate) fn whole<K: Key>(mut bytes: &[u8]) -> Result<K, KeyError> {
    let key = K::take(&mut bytes)?;
    if bytes.is_empty() {
        Ok(key)
    } else {
        Err(KeyError)
    }
}

fn chunk<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], KeyError> {
    let (chunk, rest) = bytes.split_first_chunk().ok_or(KeyError)?;
    *bytes = rest;
    Ok(*chunk)
}

macro_rules! unsigned {
    ($($type:ty),*) => {$(
        impl Key for $type {
            fn put(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_be_bytes());
            }

            fn take(bytes: &mut &[u8]) -> Result<Self, KeyError> {
                chunk(bytes).map(Self::from_be_bytes)
            }
        }
    )*};
}

macro_rules! signed {
    ($($type:ty),*) => {$(
        impl Key for $type {
            fn put(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&(*self ^ Self::MIN).to_be_bytes());
            }

            fn take(bytes: &mut &[u8]) -> Result<Self, KeyError> {
                chunk(bytes).map(|bytes| Self::from_be_bytes(bytes) ^ Self::MIN)
            }
        }
    )*};
}

unsigned!(u8, u16, u32, u64, u128);
signed!(i8, i16, i32, i64, i128);

impl Key for bool {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }

    fn take(bytes: &mut &[u8]) -> Result<Self, KeyError> {
        match u8::take(bytes)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(KeyError),
        }
    }
}

impl<const N: usize> Key for [u8; N] {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }

    fn take(bytes: &mut &[u8]) -> Result<Self, KeyError> {
        chunk(bytes)
    }
}

impl Key for VatId {
    fn put(&self, out: &mut Vec<u8>) {
        self.creator.get().put(out);
        self.counter.put(out);
    }

    fn take(bytes: &mut &[u8]) -> Result<Self, KeyError> {
        let creator = VatNumber::new(u64::take(bytes)?);
        Ok(Self::new(creator, u64::take(bytes)?))
    }
}

impl Key for Time {
    fn put(&self, out: &mut Vec<u8>) {
        self.get().put(out);
    }

    fn take(bytes: &mut &[u8]) -> Result<Self, KeyError> {
        u64::take(bytes).map(Self::new)
    }
}

impl<T: Key> Key for Option<T> {
    fn put(&self, out: &mut Vec<u8>) {
        self.is_some().put(out);
        if let Some(value) = self {
            value.put(out);
        }
    }

    fn take(bytes: &mut &[u8]) -> Result<Self, KeyError> {
        bool::take(bytes)?.then(|| T::take(bytes)).transpose()
    }
}

impl Key for Vec<u8> {
    fn put(&self, out: &mut Vec<u8>) {
        put_string(self, out);
    }

    fn take(bytes: &mut &[u8]) -> Result<Self, KeyError> {
        let mut key = Self::new();
        loop {
            match u8::take(bytes)? {
                0 => match u8::take(bytes)? {
                    0 => return Ok(key),
                    u8::MAX => key.push(0),
                    _ => return Err(KeyError),
                },
                byte => key.push(byte),
            }
        }
    }
}

impl Key for String {
    fn put(&self, out: &mut Vec<u8>) {
        put_string(self.as_bytes(), out);
    }

    fn take(bytes: &mut &[u8]) -> Result<Self, KeyError> {
        Self::from_utf8(Vec::take(bytes)?).map_err(|_| KeyError)
    }
}

macro_rules! tuples {
    ($(($($part:ident $index:tt),+))*) => {$(
        impl<$($part: Key),+> Key for ($($part,)+) {
            fn put(&self, out: &mut Vec<u8>) {
                $(self.$index.put(out);)+
            }

            fn take(bytes: &mut &[u8]) -> Result<Self, KeyError> {
                Ok(($($part::take(bytes)?,)+))
            }
        }
    )*};
}

tuples! {
    (A 0)
    (A 0, B 1)
    (A 0, B 1, C 2)
    (A 0, B 1, C 2, D 3)
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use super::*;
    use proptest::prelude::*;

    fn bytes_of<K: Key>(key: &K) -> Vec<u8> {
        let mut out = Vec::new();
        key.put(&mut out);
        out
    }

    #[track_caller]
    fn check<K: Key + Ord + Debug>(one: &K, two: &K) {
        assert_eq!(whole::<K>(&bytes_of(one)).as_ref(), Ok(one));
        let bytes = (bytes_of(one), bytes_of(two));
        assert_eq!(bytes.0.cmp(&bytes.1), one.cmp(two), "{one:?} {two:?}");
        assert_eq!(bytes.1.starts_with(&bytes.0), one == two, "{one:?} {two:?}");
    }

    /// Texts of few letters, among them the least and the greatest.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let letter = prop_oneof![Just(0), Just(1), Just(254), Just(255), any::<u8>()];
        proptest::collection::vec(letter, 0..5)
    }

    fn text() -> impl Strategy<Value = String> {
        proptest::string::string_regex("[\0\u{1}a\u{10ffff}]{0,4}").expect("a regex")
    }

    proptest! {
        #[test]
        fn numbers_sort_as_their_bytes(one: (u64, i64, i8, u128), two: (u64, i64, i8, u128)) {
            check(&one, &two);
            check(&one.1, &two.1);
            check(&i128::from(one.1), &i128::from(two.1));
            check(&(one.2, one.0), &(one.2, two.0));
        }

        #[test]
        fn strings_sort_as_their_bytes(one in bytes(), two in bytes(), a in text(), b in text()) {
            check(&one, &two);
            check(&a, &b);
            check(&(one.clone(), a.clone(), 255u8), &(two.clone(), b.clone(), 0));
            check(&(Some(one), true), &(Some(two), false));
            check(&(Some(a.clone()), 1u16), &(None, 2));
            let mut out = Vec::new();
            a.as_str().put_key(&mut out);
            assert_eq!(bytes_of(&a), out);
        }

        #[test]
        fn ids_sort_as_their_bytes(one: (u64, u64), two: (u64, u64)) {
            let id = |(creator, counter)| VatId::new(VatNumber::new(creator), counter);
            check(&id(one), &id(two));
            check(&(Time::new(one.0), [1u8, 2]), &(Time::new(two.0), [1, 1]));
        }

        #[test]
        fn whatever_is_no_key_is_an_error(bytes in bytes()) {
            if let Ok(key) = whole::<(Vec<u8>, u8)>(&bytes) {
                assert_eq!(bytes_of(&key), bytes);
            }
            if let Ok(key) = whole::<Option<String>>(&bytes) {
                assert_eq!(bytes_of(&key), bytes);
            }
        }
    }
}
