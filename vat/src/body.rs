//! Bodies: a payload as it stands in records and rows, references first.
//!
//! ```text
//! body:        number of slots, slots, the bytes to the end
//! resolution:  byte 0, body to the end; or byte 1, rejection
//! ```

use crate::codec::{DecodeError, Reader};
use crate::payload::{Outcome, Payload};
use crate::record::crank::{read_rejection, write_rejection};
use crate::reference::{Reference, Slot, each_reference, put_slots};
use crate::rejection::Rejection;

/// An encoded payload, read in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Body<'a> {
    raw: &'a [u8],
    count: u32,
    /// Where the bytes begin.
    bytes_at: u32,
}

impl<'a> Body<'a> {
    /// Reads a body that fills all of `raw`.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] when it is none.
    #[inline(always)]
    pub fn read(raw: &'a [u8]) -> Result<Self, DecodeError> {
        // The common case by far: no references.
        let (count, bytes_at) = match raw.first() {
            Some(0) => (0, 1),
            _ => Self::pass_slots(raw)?,
        };
        Ok(Self {
            raw,
            count,
            bytes_at,
        })
    }

    /// How many references stand at the front, and where they end.
    fn pass_slots(raw: &[u8]) -> Result<(u32, u32), DecodeError> {
        let mut reader = Reader::new(raw);
        let count = reader.varint_u32("references")?;
        for _ in 0..count {
            Slot::skip(&mut reader)?;
        }
        let end = u32::try_from(reader.offset()).map_err(|_| DecodeError::Invalid {
            what: "references",
            offset: 0,
        })?;
        Ok((count, end))
    }

    /// A body that is empty, as `()` encodes to.
    #[must_use]
    pub const fn empty() -> Body<'static> {
        Body {
            raw: &[0],
            count: 0,
            bytes_at: 1,
        }
    }

    /// Appends the encoding of a body.
    #[inline]
    pub fn put(out: &mut Vec<u8>, slots: &[Slot], bytes: &[u8]) {
        if slots.is_empty() {
            out.push(0);
        } else {
            put_slots(out, slots);
        }
        out.extend_from_slice(bytes);
    }

    /// All of it, as it stands.
    #[must_use]
    pub const fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// The bytes beside the references.
    #[must_use]
    #[inline]
    pub fn bytes(&self) -> &'a [u8] {
        &self.raw[self.bytes_at as usize..]
    }

    /// Whether references stand in it.
    #[must_use]
    #[inline]
    pub const fn has_slots(&self) -> bool {
        self.count > 0
    }

    /// Whether only references to vats' roots stand in it, if any.
    #[must_use]
    #[inline]
    pub fn has_roots_only(&self) -> bool {
        let mut reader = Reader::new(&self.raw[..self.bytes_at as usize]);
        let _ = reader.varint("references");
        (0..self.count).all(|_| Slot::skip_root(&mut reader))
    }

    /// The references.
    #[inline]
    pub fn slots(&self) -> impl Iterator<Item = Result<Slot, DecodeError>> + use<'a> {
        let mut reader = Reader::new(&self.raw[..self.bytes_at as usize]);
        // Their count, which reading the body has passed.
        let _ = reader.varint("references");
        (0..self.count).map(move |_| Slot::read(&mut reader))
    }

    /// The references, in a list.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] when they cannot be read, which reading the body excludes.
    pub fn to_slots(&self) -> Result<Vec<Slot>, DecodeError> {
        self.slots().collect()
    }

    /// Every reference in it, those inside of what promises came to included.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] when what stands inside cannot be read.
    #[inline]
    pub fn each_reference(&self, see: &mut impl FnMut(Reference)) -> Result<(), DecodeError> {
        if self.count == 0 {
            return Ok(());
        }
        for slot in self.slots() {
            let slot = slot?;
            match slot.reference() {
                Some(reference) => see(reference),
                None => each_reference(std::slice::from_ref(&slot), see)?,
            }
        }
        Ok(())
    }

    /// The one reference that is all that stands in it: what a bare `Ref` or `Promise` encodes to.
    #[must_use]
    pub fn sole_slot(&self) -> Option<Slot> {
        if self.count != 1 || self.bytes() != [0] {
            return None;
        }
        self.slots().next()?.ok()
    }

    /// A copy that lasts.
    ///
    /// # Errors
    ///
    /// As for [`to_slots`](Self::to_slots).
    pub fn to_payload(&self) -> Result<Payload, DecodeError> {
        Ok(Payload::from_parts(self.bytes().to_vec(), self.to_slots()?))
    }
}

/// What a promise came to, read in place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution<'a> {
    /// It was fulfilled. A body that is one reference and nothing else resolves it to that: to an
    /// object, to which the messages that wait go; or to another promise, which it follows.
    Value(Body<'a>),
    /// It was rejected.
    Rejected(Rejection),
}

const VALUE: u8 = 0;
const REJECTED: u8 = 1;

impl<'a> Resolution<'a> {
    /// Reads one that fills all of `raw`.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] when it is none.
    pub fn read(raw: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(raw);
        match reader.byte("resolution")? {
            VALUE => Ok(Self::Value(Body::read(&raw[1..])?)),
            REJECTED => {
                let rejection = read_rejection(&mut reader)?;
                reader.finish()?;
                Ok(Self::Rejected(rejection))
            }
            _ => Err(DecodeError::Invalid {
                what: "resolution",
                offset: 0,
            }),
        }
    }

    /// Appends the encoding.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Value(body) => {
                out.push(VALUE);
                out.extend_from_slice(body.raw());
            }
            Self::Rejected(rejection) => {
                out.push(REJECTED);
                write_rejection(out, rejection);
            }
        }
    }

    /// The encoding.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }

    /// As a vat or a host is told of it.
    pub fn to_outcome(&self) -> Outcome {
        match self {
            Self::Value(body) => match body.to_payload() {
                Ok(payload) => Ok(payload),
                // Reading the body has walked its references.
                Err(error) => Err(Rejection::new("payload", error.to_string())),
            },
            Self::Rejected(rejection) => Err(rejection.clone()),
        }
    }
}

/// Encodes an outcome as a [`Resolution`].
#[must_use]
pub fn outcome_bytes(outcome: &Outcome) -> Vec<u8> {
    let mut out = Vec::new();
    match outcome {
        Ok(payload) => {
            out.push(VALUE);
            Body::put(&mut out, payload.slots(), payload.bytes());
        }
        Err(rejection) => Resolution::Rejected(rejection.clone()).write(&mut out),
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn hostile_bodies_are_refused_or_read_without_a_panic(
            raw in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            if let Ok(body) = Body::read(&raw) {
                let _ = body.each_reference(&mut |_| {});
                let is_root = |slot: Result<Slot, DecodeError>| {
                    matches!(slot, Ok(Slot::Object(object)) if object.is_root())
                };
                prop_assert_eq!(body.has_roots_only(), body.slots().all(is_root));
                let _ = body.sole_slot();
                prop_assert!(body.to_slots().is_ok());
            }
            if let Ok(resolution) = Resolution::read(&raw) {
                let _ = resolution.to_outcome();
            }
        }
    }
}
