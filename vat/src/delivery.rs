//! A delivery: what a vat is handed for one crank.

use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::codec::{DecodeError, Reader};
use crate::ids::{DeliveryId, Time};
use crate::payload::{Payload, PayloadError, decode};
use crate::record::Act;

/// The encoded bytes of a record, shared by the deliveries that stand in it.
pub type RecordBytes = Arc<[u8]>;

/// One delivery, waiting or taken: its identity, and where its body stands in the record that
/// produced it. The body is not copied; it lives as long as a delivery of its record waits.
#[derive(Clone)]
pub struct Delivery {
    id: DeliveryId,
    time: Time,
    offset: usize,
    record: RecordBytes,
    answer_wanted: bool,
}

impl Delivery {
    /// The delivery whose act stands at `offset` in `record`.
    #[must_use]
    #[inline]
    pub const fn new(
        id: DeliveryId,
        time: Time,
        record: RecordBytes,
        offset: usize,
        answer_wanted: bool,
    ) -> Self {
        Self {
            id,
            time,
            offset,
            record,
            answer_wanted,
        }
    }

    /// Its identity.
    #[must_use]
    #[inline]
    pub const fn id(&self) -> DeliveryId {
        self.id
    }

    /// The time of what caused it.
    #[must_use]
    #[inline]
    pub const fn time(&self) -> Time {
        self.time
    }

    /// Whether someone outside waits for the answer, so that the record must carry it.
    #[must_use]
    #[inline]
    pub const fn answer_wanted(&self) -> bool {
        self.answer_wanted
    }

    /// Its body: a send or a spawn.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] when no delivery stands at the offset, which means that the record was
    /// not validated before.
    #[inline]
    pub fn act(&self) -> Result<Act<'_>, DecodeError> {
        let act = Act::read(&mut Reader::starting_at(&self.record, self.offset))?;
        if act.is_delivery() {
            Ok(act)
        } else {
            Err(DecodeError::Invalid {
                what: "delivery",
                offset: self.offset,
            })
        }
    }
}

impl std::fmt::Debug for Delivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Delivery")
            .field("id", &self.id)
            .field("time", &self.time)
            .field("act", &self.act())
            .finish_non_exhaustive()
    }
}

/// A message as the receiving vat sees it.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    method: &'a str,
    args: &'a [u8],
}

impl<'a> Message<'a> {
    #[inline]
    pub(crate) const fn new(method: &'a str, args: &'a [u8]) -> Self {
        Self { method, args }
    }

    /// The method's name.
    #[must_use]
    #[inline]
    pub const fn method(&self) -> &'a str {
        self.method
    }

    /// The arguments, decoded.
    ///
    /// # Errors
    ///
    /// [`PayloadError::Decode`] when they do not hold a `T` and nothing else. It turns into a
    /// [`Rejection`](crate::Rejection) with `?`.
    #[inline]
    pub fn args<T: DeserializeOwned>(&self) -> Result<T, PayloadError> {
        decode(self.args)
    }

    /// The arguments, as they came.
    #[must_use]
    pub const fn arg_bytes(&self) -> &'a [u8] {
        self.args
    }

    /// A copy of the arguments.
    #[must_use]
    pub fn payload(&self) -> Payload {
        Payload::from_bytes(self.args.to_vec())
    }
}
