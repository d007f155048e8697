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

/// Writes the length of all that was appended behind the byte at `before`, in place of that byte.
#[inline]
pub(crate) fn put_length(out: &mut Vec<u8>, before: usize) {
    let len = out.len() - before - 1;
    if len < 0x80 {
        out[before] = len as u8;
    } else {
        let mut length = Vec::new();
        put_varint(&mut length, len as u64);
        drop(out.splice(before..=before, length));
    }
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

/// The number that [`put_varint`] wrote at the front of `bytes`, and in how many of them: none when
/// no number stands there. So it comes back in two registers.
fn read_varint(bytes: &[u8]) -> (u64, usize) {
    let mut value = 0u64;
    for (at, &byte) in bytes.iter().take(10).enumerate() {
        let bits = u64::from(byte & 0x7f);
        if at == 9 && bits > 1 {
            break;
        }
        value |= bits << (7 * at);
        if byte & 0x80 == 0 {
            // One value, one spelling: otherwise two journals could differ and mean the same.
            return (value, if byte == 0 && at > 0 { 0 } else { at + 1 });
        }
    }
    (0, 0)
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

    /// The next byte, which stays there; 0 at the end.
    #[must_use]
    #[inline]
    pub(crate) fn peek(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or_default()
    }

    /// Takes one byte.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Truncated`] when nothing is left.
    #[inline(always)]
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
    #[inline(always)]
    pub fn varint(&mut self, what: &'static str) -> Result<u64, DecodeError> {
        // The common case: one byte.
        let (value, len) = match self.bytes.get(self.at) {
            Some(&byte) if byte < 0x80 => (u64::from(byte), 1),
            _ => read_varint(self.bytes.get(self.at..).unwrap_or_default()),
        };
        if len == 0 {
            return Err(self.no_varint(what));
        }
        self.at += len;
        Ok(value)
    }

    /// Why no number stands here.
    #[cold]
    fn no_varint(&self, what: &'static str) -> DecodeError {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        if rest.len() < 10 && rest.iter().all(|byte| byte & 0x80 != 0) {
            let offset = self.bytes.len();
            return DecodeError::Truncated { what, offset };
        }
        let offset = self.at;
        DecodeError::Invalid { what, offset }
    }

    /// Takes a number that fits 32 bits.
    ///
    /// # Errors
    ///
    /// As for [`varint`](Self::varint), and when it doesn't fit.
    #[inline]
    pub fn varint_u32(&mut self, what: &'static str) -> Result<u32, DecodeError> {
        let offset = self.at;
        u32::try_from(self.varint(what)?).map_err(|_| DecodeError::Invalid { what, offset })
    }

    /// Takes a length and that many bytes.
    ///
    /// # Errors
    ///
    /// When fewer bytes are left than the length says.
    #[inline(always)]
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
    #[inline(always)]
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
    #[inline(always)]
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
        fn numbers_come_back(value: u64, shorter in 0u32..64, behind in 0usize..10) {
            let value = value >> shorter;
            let mut out = vec![7];
            put_varint(&mut out, value);
            let mut expected = vec![7];
            let mut rest = value;
            while rest >= 0x80 {
                expected.push(rest as u8 | 0x80);
                rest >>= 7;
            }
            expected.push(rest as u8);
            prop_assert_eq!(&out, &expected);
            prop_assert_eq!(out.len(), 1 + varint_len(value));
            out.extend(std::iter::repeat_n(0xff, behind));
            let mut reader = Reader::starting_at(&out, 1);
            prop_assert_eq!(reader.varint("number"), Ok(value));
            prop_assert_eq!(reader.offset(), expected.len());
        }

        #[test]
        fn what_is_no_number_is_refused_with_the_place_and_the_reason(
            front in 0usize..3,
            bytes in proptest::collection::vec(prop_oneof![Just(0x80u8), Just(0xffu8), any::<u8>()], 0..12),
        ) {
            let mut all = vec![1; front];
            all.extend(&bytes);
            let (mut value, mut expected) = (0u128, None);
            for (at, byte) in bytes.iter().enumerate() {
                value |= u128::from(byte & 0x7f) << (7 * at);
                if byte & 0x80 == 0 || at == 9 {
                    let shortest = *byte != 0 || at == 0;
                    let good = shortest && byte & 0x80 == 0 && value <= u128::from(u64::MAX);
                    expected = Some(match good {
                        true => Ok(value as u64),
                        false => Err(DecodeError::Invalid { what: "number", offset: front }),
                    });
                    break;
                }
            }
            let truncated = DecodeError::Truncated { what: "number", offset: all.len() };
            let mut reader = Reader::starting_at(&all, front);
            prop_assert_eq!(reader.varint("number"), expected.unwrap_or(Err(truncated)));
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
    fn a_length_is_put_before_what_it_counts() {
        for len in [0, 1, 127, 128, 20_000] {
            let mut out = vec![9, 0];
            out.extend(std::iter::repeat_n(5, len));
            put_length(&mut out, 1);
            let mut expected = vec![9];
            put_bytes(&mut expected, &vec![5; len]);
            assert_eq!(out, expected);
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
