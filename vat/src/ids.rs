//! The names of things: places in the total order, vats, deliveries, cranks and time.
//!
//! Every id is a small value that is known before anything is sequenced, except [`Seq`] and
//! [`VatNumber`], which the sequencer hands out. An id is never used twice.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

macro_rules! counted {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(u64);

        impl $name {
            /// The value before the first one.
            pub const ZERO: Self = Self(0);

            /// Wraps a bare number.
            #[must_use]
            pub const fn new(value: u64) -> Self {
                Self(value)
            }

            /// The bare number.
            #[must_use]
            pub const fn get(self) -> u64 {
                self.0
            }

            /// The value after this one.
            ///
            /// # Panics
            ///
            /// When the 64 bits are used up, which takes centuries at any rate a machine can reach.
            #[must_use]
            pub const fn next(self) -> Self {
                match self.0.checked_add(1) {
                    Some(next) => Self(next),
                    None => panic!("an id counter of 64 bits is used up"),
                }
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

counted! {
    /// A place in the one total order: 1, 2, 3 … without a gap. [`Seq::ZERO`] is the state before
    /// the first record.
    Seq
}

counted! {
    /// The number of a crank within its vat: the vat's first crank is 1.
    CrankNumber
}

counted! {
    /// What a vat puts into the ids of what it makes.
    ///
    /// The host is number 0. A vat learns its number with its first delivery; it is given out in
    /// the total order, so it is the same on every run that writes the same order.
    VatNumber
}

counted! {
    /// Kernel time, in the unit of the kernel's clock: milliseconds since the Unix epoch for the
    /// system clock, whatever the host says for a manual one. It never runs backwards in a vat.
    Time
}

impl VatNumber {
    /// The largest number that a reference can carry; beside it stands what it refers to.
    pub const LARGEST: Self = Self(u64::MAX >> 2);

    /// The host, the creator of everything that no vat made.
    pub const HOST: Self = Self::ZERO;
}

/// The name of a vat: who made it, and that maker's own counter.
///
/// It is known to the maker before the crank that makes the vat has a [`Seq`], rolled back with
/// that crank when it is abandoned, and never names another vat afterwards.
///
/// ```
/// use crankcase_vat::{VatId, VatNumber};
///
/// let first = VatId::new(VatNumber::HOST, 1);
/// assert_eq!(first.to_string(), "v0.1");
/// assert_eq!("v0.1".parse::<VatId>(), Ok(first));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct VatId {
    /// The number of the vat that made it, or [`VatNumber::HOST`].
    pub creator: VatNumber,
    /// The maker's counter, from 1.
    pub counter: u64,
}

impl VatId {
    /// Puts an id together.
    #[must_use]
    pub const fn new(creator: VatNumber, counter: u64) -> Self {
        Self { creator, counter }
    }

    /// The id as 16 bytes that sort as the id does; the key of the vat's rows.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.creator.get().to_be_bytes());
        bytes[8..].copy_from_slice(&self.counter.to_be_bytes());
        bytes
    }

    /// The id that [`to_bytes`](Self::to_bytes) wrote.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        let half = |from: usize| {
            let mut half = [0; 8];
            half.copy_from_slice(&bytes[from..from + 8]);
            u64::from_be_bytes(half)
        };
        Self::new(VatNumber::new(half(0)), half(8))
    }
}

impl fmt::Display for VatId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}.{}", self.creator, self.counter)
    }
}

impl fmt::Debug for VatId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a text is not a [`VatId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a vat id: write it as `v<creator>.<counter>`, for example v0.1")]
pub struct VatIdError {
    /// The text as it was given.
    pub text: String,
}

/// The number in a name; none that a reference cannot carry.
fn named(number: &str) -> Option<VatNumber> {
    let number = VatNumber::new(number.parse().ok()?);
    (number <= VatNumber::LARGEST).then_some(number)
}

impl FromStr for VatId {
    type Err = VatIdError;

    fn from_str(text: &str) -> Result<Self, VatIdError> {
        let parts = text
            .strip_prefix('v')
            .and_then(|rest| rest.split_once('.'))
            .and_then(|(creator, counter)| Some((named(creator)?, counter.parse().ok()?)));
        match parts {
            Some((creator, counter)) => Ok(Self::new(creator, counter)),
            None => Err(VatIdError {
                text: text.to_owned(),
            }),
        }
    }
}

/// The name of an object in a vat: the vat's root, number 0, or one that the vat made beside it.
///
/// A name can be written down and compared. What may be used by a vat is a
/// [`Ref`](crate::Ref) that it was given.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectId {
    /// The vat that it lives in.
    pub vat: VatId,
    /// Its number there; 0 is the root.
    pub number: u64,
}

impl ObjectId {
    /// The number of a vat's root.
    pub const ROOT: u64 = 0;

    /// Puts a name together.
    #[must_use]
    pub const fn new(vat: VatId, number: u64) -> Self {
        Self { vat, number }
    }

    /// The root of a vat.
    #[must_use]
    pub const fn root(vat: VatId) -> Self {
        Self::new(vat, Self::ROOT)
    }

    /// Whether it is its vat's root, which lives as long as the vat.
    #[must_use]
    pub const fn is_root(self) -> bool {
        self.number == Self::ROOT
    }
}

impl From<VatId> for ObjectId {
    fn from(vat: VatId) -> Self {
        Self::root(vat)
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.is_root() {
            true => write!(f, "{}", self.vat),
            false => write!(f, "{}/{}", self.vat, self.number),
        }
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a text is not an [`ObjectId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not an object: write it as `v<creator>.<counter>` for a vat's root, or as \
     `v<creator>.<counter>/<number>`"
)]
pub struct ObjectIdError {
    /// The text as it was given.
    pub text: String,
}

impl FromStr for ObjectId {
    type Err = ObjectIdError;

    fn from_str(text: &str) -> Result<Self, ObjectIdError> {
        let wrong = || ObjectIdError {
            text: text.to_owned(),
        };
        let (vat, number) = match text.split_once('/') {
            Some((vat, number)) => (vat, number.parse().map_err(|_| wrong())?),
            None => (text, Self::ROOT),
        };
        Ok(Self::new(vat.parse().map_err(|_| wrong())?, number))
    }
}

/// The name of a promise: who made it, and that maker's own counter.
///
/// Like a vat's id it is known to the maker before its crank has a place, is rolled back with that
/// crank, and never names another promise.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PromiseId {
    /// The number of the vat that made it.
    pub maker: VatNumber,
    /// The maker's counter, from 1.
    pub counter: u64,
}

impl PromiseId {
    /// Puts a name together.
    #[must_use]
    pub const fn new(maker: VatNumber, counter: u64) -> Self {
        Self { maker, counter }
    }

    /// The name as 16 bytes that sort as the name does; the key of the promise's row.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        VatId::new(self.maker, self.counter).to_bytes()
    }

    /// The name that [`to_bytes`](Self::to_bytes) wrote.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        let VatId { creator, counter } = VatId::from_bytes(bytes);
        Self::new(creator, counter)
    }
}

impl fmt::Display for PromiseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{}.{}", self.maker, self.counter)
    }
}

impl fmt::Debug for PromiseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a text is not a [`PromiseId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a promise: write it as `p<maker>.<counter>`, for example p3.1")]
pub struct PromiseIdError {
    /// The text as it was given.
    pub text: String,
}

impl FromStr for PromiseId {
    type Err = PromiseIdError;

    fn from_str(text: &str) -> Result<Self, PromiseIdError> {
        let parts = text
            .strip_prefix('p')
            .and_then(|rest| rest.split_once('.'))
            .and_then(|(maker, counter)| Some((named(maker)?, counter.parse().ok()?)));
        match parts {
            Some((maker, counter)) => Ok(Self::new(maker, counter)),
            None => Err(PromiseIdError {
                text: text.to_owned(),
            }),
        }
    }
}

/// The identity of a delivery, for ever: the record that produced it and the delivery's position
/// among those which that record produced.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DeliveryId {
    /// The record that produced the delivery.
    pub seq: Seq,
    /// The delivery's position among that record's deliveries, from 0.
    pub index: u32,
}

impl DeliveryId {
    /// Puts an identity together.
    #[must_use]
    pub const fn new(seq: Seq, index: u32) -> Self {
        Self { seq, index }
    }
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.seq, self.index)
    }
}

impl fmt::Debug for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_as_their_bytes_do() {
        let ids = [
            VatId::new(VatNumber::HOST, 1),
            VatId::new(VatNumber::HOST, 256),
            VatId::new(VatNumber::new(1), 1),
            VatId::new(VatNumber::new(300), 2),
        ];
        for pair in ids.windows(2) {
            assert!(pair[0] < pair[1]);
            assert!(pair[0].to_bytes() < pair[1].to_bytes());
            assert_eq!(VatId::from_bytes(pair[0].to_bytes()), pair[0]);
        }
    }

    #[test]
    fn text_that_is_no_vat_id_is_refused() {
        for text in ["", "v", "v1", "v1.", "1.2", "v1.2.3", "v-1.2", "v1.x"] {
            assert!(text.parse::<VatId>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn text_with_a_number_that_no_reference_carries_is_no_name() {
        let most = VatNumber::LARGEST.get();
        for (number, is_one) in [(most, true), (most + 1, false)] {
            assert_eq!(format!("v{number}.1").parse::<VatId>().is_ok(), is_one);
            assert_eq!(format!("v{number}.1/3").parse::<ObjectId>().is_ok(), is_one);
            assert_eq!(format!("p{number}.1").parse::<PromiseId>().is_ok(), is_one);
        }
    }

    #[test]
    #[should_panic(expected = "used up")]
    fn a_counter_does_not_wrap() {
        let _ = Seq::new(u64::MAX).next();
    }
}
