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
/// assert_eq!("v0.1".parse::<VatId>().unwrap(), first);
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

impl FromStr for VatId {
    type Err = VatIdError;

    fn from_str(text: &str) -> Result<Self, VatIdError> {
        let parts = text
            .strip_prefix('v')
            .and_then(|rest| rest.split_once('.'))
            .and_then(|(creator, counter)| Some((creator.parse().ok()?, counter.parse().ok()?)));
        match parts {
            Some((creator, counter)) => Ok(Self::new(VatNumber::new(creator), counter)),
            None => Err(VatIdError {
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
    #[should_panic(expected = "used up")]
    fn a_counter_does_not_wrap() {
        let _ = Seq::new(u64::MAX).next();
    }
}
