//! The bytes that a message, an answer or a start carries.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::rejection::{Cause, Rejection};

/// Arguments or an answer, encoded.
///
/// The encoding is [postcard](https://docs.rs/postcard): compact, and not self-describing, so the
/// reader must ask for the type that the writer had.
///
/// ```
/// use crankcase_vat::Payload;
///
/// let payload = Payload::of(&(7u32, "seven"))?;
/// assert_eq!(payload.decode::<(u32, String)>()?, (7, "seven".to_owned()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Payload(Vec<u8>);

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
        Self(Vec::new())
    }

    /// Encodes a value.
    ///
    /// # Errors
    ///
    /// [`PayloadError::Encode`] when the value cannot be encoded.
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Result<Self, PayloadError> {
        let mut bytes = Vec::new();
        encode_into(value, &mut bytes)?;
        Ok(Self(bytes))
    }

    /// Takes bytes that are an encoding already, or that only the receiver understands.
    #[must_use]
    pub const fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Decodes the value.
    ///
    /// # Errors
    ///
    /// [`PayloadError::Decode`] when the bytes do not hold a `T` and nothing else.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, PayloadError> {
        decode(&self.0)
    }
}

impl std::fmt::Debug for Payload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Payload({} bytes", self.0.len())?;
        if !self.0.is_empty() {
            f.write_str(": ")?;
            for byte in self.0.iter().take(16) {
                write!(f, "{byte:02x}")?;
            }
            if self.0.len() > 16 {
                f.write_str("…")?;
            }
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

/// Appends the encoding of `value`; on an error, what was appended before it stays there.
#[inline]
pub(crate) fn encode_into<T: Serialize + ?Sized>(
    value: &T,
    out: &mut Vec<u8>,
) -> Result<(), PayloadError> {
    postcard::serialize_with_flavor(value, Append(out)).map_err(|why| PayloadError::Encode {
        why: why.to_string(),
    })
}

/// Decodes a value that fills all of `bytes`.
#[inline]
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, PayloadError> {
    let fail = |why: String| PayloadError::Decode {
        len: bytes.len(),
        type_name: std::any::type_name::<T>(),
        why,
    };
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        // Bytes left over mean that the writer meant another type: never a value by accident.
        Ok((_, rest)) => Err(fail(format!("{} bytes are left over", rest.len()))),
        Err(why) => Err(fail(why.to_string())),
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
