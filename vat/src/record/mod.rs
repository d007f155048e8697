//! Records: the self-contained values that the total order is made of.
//!
//! Two kinds exist. An *input* came from outside and says what the host asked for; a *crank record*
//! is what one finished crank leaves. Both are bytes from the moment they are made, and everything
//! that acts on them (the sequencer, recovery, verification, `inspect`) reads them through
//! [`Record::parse`], so that what is applied is what is durable.
//!
//! A record's first byte is its kind and version. The layouts are in [`crank`] and [`input`].

pub mod act;
pub mod crank;
pub mod input;

pub use act::{Act, Acts, ToRoot};
pub use crank::{CrankEnd, CrankRecord, VatEnd};
pub use input::{Entries, Entry, InputRecord, InputWriter, RequestRef};

use crate::codec::{DecodeError, Reader};

/// The newest version of the record encoding that this crate reads and the one that it writes.
pub const RECORD_VERSION: u8 = 2;

const KIND_INPUT: u8 = 0;
const KIND_CRANK: u8 = 1;

/// The first byte of a record of this kind.
const fn head(kind: u8) -> u8 {
    RECORD_VERSION << 4 | kind
}

/// A record, read in place.
#[derive(Debug, Clone)]
pub enum Record<'a> {
    /// What came from outside.
    Input(InputRecord<'a>),
    /// What a crank left.
    Crank(CrankRecord<'a>),
}

impl<'a> Record<'a> {
    /// Reads a record's fixed part. Its acts are read as they are walked; [`validate`] walks them
    /// all beforehand.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] when the bytes are not the start of a record of a version known here.
    ///
    /// [`validate`]: Self::validate
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let first = reader.byte("record kind")?;
        if first >> 4 > RECORD_VERSION {
            return Err(DecodeError::Newer {
                found: first >> 4,
                supported: RECORD_VERSION,
            });
        }
        match first {
            f if f == head(KIND_CRANK) => Ok(Self::Crank(CrankRecord::parse(bytes, reader)?)),
            f if f == head(KIND_INPUT) => Ok(Self::Input(InputRecord::parse(bytes, reader)?)),
            _ => Err(DecodeError::Invalid {
                what: "record kind",
                offset: 0,
            }),
        }
    }

    /// Walks everything in the record, so that a later walk cannot fail.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] with the place of the first thing that is wrong.
    pub fn validate(&self) -> Result<(), DecodeError> {
        match self {
            Self::Input(input) => {
                for entry in input.entries() {
                    for act in entry?.acts() {
                        act?.validate()?;
                    }
                }
                Ok(())
            }
            Self::Crank(crank) => {
                if let CrankEnd::Committed {
                    answer: Some(answer),
                    ..
                } = &crank.end
                    && let crate::Resolution::Value(body) = crate::Resolution::read(answer)?
                {
                    body.each_reference(&mut |_| {})?;
                }
                if let CrankEnd::Committed {
                    state: Some(state), ..
                } = &crank.end
                {
                    crate::Body::read(state)?.each_reference(&mut |_| {})?;
                }
                for act in crank.acts() {
                    act?.validate()?;
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn hostile_bytes_are_refused_or_read_without_a_panic(
            first in prop_oneof![Just(head(KIND_INPUT)), Just(head(KIND_CRANK)), any::<u8>()],
            rest in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let mut bytes = vec![first];
            bytes.extend(rest);
            if let Ok(record) = Record::parse(&bytes) {
                let _ = record.validate();
            }
        }
    }

    #[test]
    fn a_newer_record_says_so() {
        assert!(matches!(
            Record::parse(&[0x31, 0, 0]),
            Err(DecodeError::Newer {
                found: 3,
                supported: 2
            })
        ));
        assert!(Record::parse(&[]).is_err());
        assert!(Record::parse(&[0x2f]).is_err());
    }
}
