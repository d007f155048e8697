//! The bytes under records and rows: variable-length numbers, and byte strings with their length.
//!
//! Reading never trusts a length: it is checked against what is there before anything is taken.

use crate::ids::{CrankNumber, DeliveryId, Seq, Time, VatId, VatNumber};

/// Why bytes could not be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes end in the middle of something.
    #[error("the bytes end at offset {offset}, in the middle of {what}")]
    Truncated {
        /// What was being read.
        what: &'static str,
        /// Where the bytes end.
        offset: usize,
    },
    /// A value stands where it has no meaning.
    #[error("{what} at offset {offset} has no meaning here")]
    Invalid {
        /// What was being read.
        what: &'static str,
        /// Where it starts.
        offset: usize,
    },
    /// The bytes were written by a newer version.
    #[error("the bytes are of format {found}, and this version reads up to {supported}")]
    Newer {
        /// The version in the bytes.
        found: u8,
        /// The newest version that can be read here.
        supported: u8,
    },
    /// Bytes follow where the value should have ended.
    #[error("{count} bytes follow the end of the value")]
    Trailing {
        /// How many.
        count: usize,
    },
}

/// Appends an unsigned number in 1 to 10 bytes, seven bits a byte, lowest first.
#[inline]
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// How many bytes [`put_varint`] appends for `value`.
#[must_use]
pub const fn varint_len(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// Appends a length and the bytes.
#[inline]
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends a vat's id.
#[inline]
pub fn put_vat(out: &mut Vec<u8>, vat: VatId) {
    put_varint(out, vat.creator.get());
    put_varint(out, vat.counter);
}

/// Appends a delivery's identity.
#[inline]
pub fn put_delivery_id(out: &mut Vec<u8>, id: DeliveryId) {
    put_varint(out, id.seq.get());
    put_varint(out, u64::from(id.index));
}

/// Takes values off the front of a byte slice.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Reads from the start of `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Reads from `at` on; past the end, nothing is there to be read.
    #[must_use]
    pub const fn starting_at(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    /// The offset of the next byte.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.at
    }

    /// Whether everything was read.
    #[must_use]
    pub const fn is_at_end(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// Takes one byte.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Truncated`] when nothing is left.
    #[inline]
    pub fn byte(&mut self, what: &'static str) -> Result<u8, DecodeError> {
        match self.bytes.get(self.at) {
            Some(&byte) => {
                self.at += 1;
                Ok(byte)
            }
            None => Err(DecodeError::Truncated {
                what,
                offset: self.bytes.len(),
            }),
        }
    }

    /// Takes a number written by [`put_varint`].
    ///
    /// # Errors
    ///
    /// When the bytes end in the middle of it, or it is not in its shortest form or above 64 bits.
    #[inline]
    pub fn varint(&mut self, what: &'static str) -> Result<u64, DecodeError> {
        let offset = self.at;
        let mut value = 0u64;
        let mut shift = 0;
        loop {
            let byte = self.byte(what)?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(DecodeError::Invalid { what, offset });
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                // One value, one spelling: otherwise two journals could differ and mean the same.
                if byte == 0 && shift > 0 {
                    return Err(DecodeError::Invalid { what, offset });
                }
                return Ok(value);
            }
            if shift == 63 {
                return Err(DecodeError::Invalid { what, offset });
            }
            shift += 7;
        }
    }

    /// Takes a number that fits 32 bits.
    ///
    /// # Errors
    ///
    /// As for [`varint`](Self::varint), and when it doesn't fit.
    pub fn varint_u32(&mut self, what: &'static str) -> Result<u32, DecodeError> {
        let offset = self.at;
        u32::try_from(self.varint(what)?).map_err(|_| DecodeError::Invalid { what, offset })
    }

    /// Takes a length and that many bytes.
    ///
    /// # Errors
    ///
    /// When fewer bytes are left than the length says.
    #[inline]
    pub fn bytes(&mut self, what: &'static str) -> Result<&'a [u8], DecodeError> {
        let len = self.varint(what)?;
        let len = usize::try_from(len).map_err(|_| DecodeError::Truncated {
            what,
            offset: self.bytes.len(),
        })?;
        self.take(len, what)
    }

    /// Takes `len` bytes.
    ///
    /// # Errors
    ///
    /// When fewer are left.
    #[inline]
    pub fn take(&mut self, len: usize, what: &'static str) -> Result<&'a [u8], DecodeError> {
        let taken = self
            .at
            .checked_add(len)
            .and_then(|end| self.bytes.get(self.at..end))
            .ok_or(DecodeError::Truncated {
                what,
                offset: self.bytes.len(),
            })?;
        self.at += len;
        Ok(taken)
    }

    /// Takes a text with its length.
    ///
    /// # Errors
    ///
    /// As for [`bytes`](Self::bytes), and when it is not UTF-8.
    #[inline]
    pub fn text(&mut self, what: &'static str) -> Result<&'a str, DecodeError> {
        let offset = self.at;
        std::str::from_utf8(self.bytes(what)?).map_err(|_| DecodeError::Invalid { what, offset })
    }

    /// Takes a vat's id.
    ///
    /// # Errors
    ///
    /// As for [`varint`](Self::varint).
    #[inline]
    pub fn vat(&mut self, what: &'static str) -> Result<VatId, DecodeError> {
        Ok(VatId::new(
            VatNumber::new(self.varint(what)?),
            self.varint(what)?,
        ))
    }

    /// Takes a delivery's identity.
    ///
    /// # Errors
    ///
    /// As for [`varint`](Self::varint).
    #[inline]
    pub fn delivery_id(&mut self, what: &'static str) -> Result<DeliveryId, DecodeError> {
        Ok(DeliveryId::new(
            Seq::new(self.varint(what)?),
            self.varint_u32(what)?,
        ))
    }

    /// Takes a crank number.
    ///
    /// # Errors
    ///
    /// As for [`varint`](Self::varint).
    #[inline]
    pub fn crank_number(&mut self, what: &'static str) -> Result<CrankNumber, DecodeError> {
        Ok(CrankNumber::new(self.varint(what)?))
    }

    /// Takes a time.
    ///
    /// # Errors
    ///
    /// As for [`varint`](Self::varint).
    #[inline]
    pub fn time(&mut self, what: &'static str) -> Result<Time, DecodeError> {
        Ok(Time::new(self.varint(what)?))
    }

    /// Checks that everything was read.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Trailing`] when bytes are left.
    pub fn finish(&self) -> Result<(), DecodeError> {
        match self.bytes.len().saturating_sub(self.at) {
            0 => Ok(()),
            count => Err(DecodeError::Trailing { count }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_come_back(value: u64) {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            prop_assert_eq!(out.len(), varint_len(value));
            let mut reader = Reader::new(&out);
            prop_assert_eq!(reader.varint("number"), Ok(value));
            prop_assert_eq!(reader.finish(), Ok(()));
        }

        #[test]
        fn a_number_has_one_spelling(bytes in proptest::collection::vec(any::<u8>(), 0..12)) {
            let mut reader = Reader::new(&bytes);
            if let Ok(value) = reader.varint("number") {
                let mut out = Vec::new();
                put_varint(&mut out, value);
                prop_assert_eq!(&out[..], &bytes[..reader.offset()]);
            }
        }
    }

    #[test]
    fn edges_of_the_number_encoding() {
        for value in [0, 1, 127, 128, 16_383, 16_384, u64::MAX - 1, u64::MAX] {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            assert_eq!(out.len(), varint_len(value), "{value}");
            assert_eq!(Reader::new(&out).varint("number"), Ok(value));
        }
        let too_large = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02];
        assert!(matches!(
            Reader::new(&too_large).varint("number"),
            Err(DecodeError::Invalid { .. })
        ));
    }

    #[test]
    fn a_length_that_lies_takes_nothing() {
        let mut out = Vec::new();
        put_varint(&mut out, u64::MAX);
        out.push(1);
        assert!(matches!(
            Reader::new(&out).bytes("body"),
            Err(DecodeError::Truncated { .. })
        ));
    }
}
