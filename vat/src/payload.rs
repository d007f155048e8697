//! The bytes that a message, an answer or a start carries.

use std::cell::RefCell;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::reference::Slot;
use crate::rejection::{Cause, Rejection};
use crate::slots::{PuttingBack, TakingOut};

/// What a delivery or a promise came to: the value, or why there is none. A plain `Outcome` has the
/// value as it is encoded.
pub type Outcome<T = Payload> = Result<T, Rejection>;

/// Arguments or an answer, encoded.
///
/// The encoding is [postcard](https://docs.rs/postcard): compact, and not self-describing, so the
/// reader must ask for the type that the writer had. References in the value do not stand in the
/// bytes but beside them, as [`slots`](Self::slots).
///
/// ```
/// use crankcase_vat::Payload;
///
/// let payload = Payload::of(&(7u32, "seven"))?;
/// assert_eq!(payload.decode::<(u32, String)>()?, (7, "seven".to_owned()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Payload {
    bytes: Vec<u8>,
    slots: Vec<Slot>,
}

/// Why a value could not be encoded or decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PayloadError {
    /// The value's `Serialize` said no.
    #[error("the value cannot be encoded: {why}")]
    Encode {
        /// What the encoder said.
        why: String,
    },
    /// The bytes do not hold a value of that type.
    #[error("the {len} bytes do not decode as {type_name}: {why}")]
    Decode {
        /// How many bytes there were.
        len: usize,
        /// The type that was asked for.
        type_name: &'static str,
        /// What the decoder said.
        why: String,
    },
}

impl From<PayloadError> for Rejection {
    fn from(error: PayloadError) -> Self {
        Self::with_cause(Cause::Refused, "payload", error.to_string())
    }
}

impl Payload {
    /// No bytes at all, which is also what `()` encodes to.
    #[must_use]
    pub const fn empty() -> Self {
        Self {
            bytes: Vec::new(),
            slots: Vec::new(),
        }
    }

    /// Encodes a value.
    ///
    /// # Errors
    ///
    /// [`PayloadError::Encode`] when the value cannot be encoded.
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Result<Self, PayloadError> {
        let mut payload = Self::empty();
        encode_into(value, &mut payload.bytes, &mut payload.slots)?;
        Ok(payload)
    }

    /// Takes bytes that are an encoding already, or that only the receiver understands.
    #[must_use]
    pub const fn from_bytes(bytes: Vec<u8>) -> Self {
        Self {
            bytes,
            slots: Vec::new(),
        }
    }

    /// Puts together what [`bytes`](Self::bytes) and [`slots`](Self::slots) gave.
    #[must_use]
    pub const fn from_parts(bytes: Vec<u8>, slots: Vec<Slot>) -> Self {
        Self { bytes, slots }
    }

    /// What a bare reference encodes to.
    #[must_use]
    pub fn of_slot(slot: Slot) -> Self {
        Self {
            bytes: vec![0],
            slots: vec![slot],
        }
    }

    /// The bytes beside the references.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The references, in the order in which they stand in the value.
    #[must_use]
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// Decodes the value.
    ///
    /// # Errors
    ///
    /// [`PayloadError::Decode`] when the bytes do not hold a `T` and nothing else.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, PayloadError> {
        decode(&self.bytes, &self.slots)
    }
}

impl<T> From<crate::Promise<T>> for Payload {
    fn from(promise: crate::Promise<T>) -> Self {
        Self::of_slot(promise.slot().clone())
    }
}

impl<I: crate::Interface> From<crate::Ref<I>> for Payload {
    fn from(object: crate::Ref<I>) -> Self {
        Self::of_slot(Slot::Object(object.object()))
    }
}

impl std::fmt::Debug for Payload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Payload({} bytes", self.bytes.len())?;
        if !self.bytes.is_empty() {
            f.write_str(": ")?;
            for byte in self.bytes.iter().take(16) {
                write!(f, "{byte:02x}")?;
            }
            if self.bytes.len() > 16 {
                f.write_str("…")?;
            }
        }
        if !self.slots.is_empty() {
            write!(f, ", {:?}", self.slots)?;
        }
        f.write_str(")")
    }
}

/// Appends to a vector the caller keeps, so that the hot path reuses its buffers.
struct Append<'a>(&'a mut Vec<u8>);

impl postcard::ser_flavors::Flavor for Append<'_> {
    type Output = ();

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// Appends the encoding of `value` and its references; on an error, what was appended before it
/// stays there.
#[inline(always)]
pub(crate) fn encode_into<T: Serialize + ?Sized>(
    value: &T,
    out: &mut Vec<u8>,
    slots: &mut Vec<Slot>,
) -> Result<(), PayloadError> {
    let slots = RefCell::new(slots);
    let mut plain = postcard::Serializer {
        output: Append(out),
    };
    value
        .serialize(TakingOut::new(&mut plain, &slots))
        .map(drop)
        .map_err(|why| PayloadError::Encode {
            why: why.to_string(),
        })
}

/// Decodes a value that fills all of `bytes` and has its references in `slots`.
#[inline(always)]
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8], slots: &[Slot]) -> Result<T, PayloadError> {
    let fail = |why: String| PayloadError::Decode {
        len: bytes.len(),
        type_name: std::any::type_name::<T>(),
        why,
    };
    let mut plain = postcard::Deserializer::from_bytes(bytes);
    let value = T::deserialize(PuttingBack::new(&mut plain, slots));
    let value = value.map_err(|why| fail(why.to_string()))?;
    match plain.finalize().map_err(|why| fail(why.to_string()))? {
        [] => Ok(value),
        // Bytes left over mean that the writer meant another type: never a value by accident.
        rest => Err(fail(format!("{} bytes are left over", rest.len()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_left_over_are_an_error() {
        let payload = Payload::of(&(1u8, 2u8)).expect("encodes");
        assert!(payload.decode::<u8>().is_err());
        assert_eq!(payload.decode::<(u8, u8)>(), Ok((1, 2)));
    }

    #[test]
    fn unit_is_empty() {
        assert_eq!(Payload::of(&()), Ok(Payload::empty()));
        assert_eq!(Payload::empty().decode::<()>(), Ok(()));
    }
}
