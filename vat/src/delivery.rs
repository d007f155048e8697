//! A delivery: what a vat is handed for one crank.

use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::body::Body;
use crate::codec::{DecodeError, Reader};
use crate::ids::{CrankNumber, DeliveryId, ObjectId, PromiseId, Seq, Time};
use crate::payload::{Outcome, Payload, PayloadError, decode};
use crate::record::{Act, ToRoot};
use crate::reference::Slot;

/// The encoded bytes of a record, shared by the deliveries that stand in it.
pub type RecordBytes = Arc<[u8]>;

/// Where in a record something stands.
///
/// One number, because it is moved about for each message: what is put together from parts and moved
/// at once has to wait for the parts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Span(u64);

impl Span {
    /// From an offset up to another. Records hold less than 4 GiB, which
    /// [`Limits::MAX_OUTPUT_BYTES`](crate::Limits::MAX_OUTPUT_BYTES) sees to.
    #[must_use]
    #[inline]
    pub const fn new(from: usize, to: usize) -> Self {
        Self(from as u64 | ((to - from) as u64) << 32)
    }

    /// Where it begins.
    #[must_use]
    #[inline]
    pub const fn offset(self) -> usize {
        self.0 as u32 as usize
    }

    /// The act that stands there.
    #[must_use]
    #[inline(always)]
    pub fn of(self, record: &RecordBytes) -> ActAt {
        ActAt {
            record: Arc::clone(record),
            span: self,
        }
    }

    /// How many bytes it has.
    #[must_use]
    #[inline]
    pub const fn byte_count(self) -> usize {
        (self.0 >> 32) as usize
    }
}

impl std::fmt::Debug for Span {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let end = self.offset() + self.byte_count();
        write!(f, "{}..{end}", self.offset())
    }
}

/// An act, where it stands.
#[derive(Clone)]
pub struct ActAt {
    /// The record.
    pub record: RecordBytes,
    /// Where in it the act stands.
    pub span: Span,
}

impl ActAt {
    /// Reads the act.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] when none stands there, which means that the record was not validated
    /// before.
    #[inline]
    pub fn read(&self) -> Result<Act<'_>, DecodeError> {
        Act::read(&mut Reader::starting_at(&self.record, self.span.offset()))
    }

    /// Reads the act, if it is a message to a vat's root.
    ///
    /// # Errors
    ///
    /// As for [`read`](Self::read).
    #[inline]
    pub(crate) fn read_to_root(&self) -> Result<Option<ToRoot<'_>>, DecodeError> {
        ToRoot::read(&mut Reader::starting_at(&self.record, self.span.offset()))
    }
}

impl std::fmt::Debug for ActAt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.read())
    }
}

/// What is delivered. Bodies are not copied; they stand in the records that produced them.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum What {
    /// A message to the object that its act names, or a start.
    Act(ActAt),
    /// Something rarer.
    Other(Box<Other>),
}

/// The rarer deliveries.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Other {
    /// A message that was sent to a promise which came to an object of this vat.
    Via {
        /// The message.
        act: ActAt,
        /// The number of the object.
        object: u64,
    },
    /// What a watched promise came to.
    Outcome {
        /// The watch.
        act: ActAt,
        /// The encoded resolution; nothing when the watch itself says it, because it was known
        /// to the vat already.
        resolution: Option<Arc<[u8]>>,
    },
    /// A promise that the vat keeps came to its end.
    Settled {
        /// The promise.
        promise: PromiseId,
        /// The encoded resolution.
        resolution: Arc<[u8]>,
    },
    /// Nobody holds an object of the vat any more.
    Dropped {
        /// The number of the object.
        object: u64,
        /// The vat's last crank that was taken into account; if it gave the object away in a later
        /// one, this says nothing.
        counted: CrankNumber,
    },
    /// The vat has ended, and some of what it leaves is to be let go of.
    Clean,
}

/// What every delivery has, whatever is delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeliveryHead {
    seq: Seq,
    /// Twice its index, and one more when someone waits for the answer: one number for what
    /// [`Span`] says.
    index_and_wanted: u64,
    time: Time,
}

impl DeliveryHead {
    /// Of the delivery with that identity, that was caused at that time.
    #[must_use]
    #[inline(always)]
    pub const fn new(id: DeliveryId, time: Time, answer_wanted: bool) -> Self {
        Self {
            seq: id.seq,
            index_and_wanted: (id.index as u64) << 1 | answer_wanted as u64,
            time,
        }
    }

    /// Its identity.
    #[must_use]
    #[inline]
    pub const fn id(self) -> DeliveryId {
        DeliveryId::new(self.seq, (self.index_and_wanted >> 1) as u32)
    }

    /// The time of what caused it.
    #[must_use]
    #[inline]
    pub const fn time(self) -> Time {
        self.time
    }

    /// Whether someone waits for the answer, so that the record must carry it.
    #[must_use]
    #[inline]
    pub const fn answer_wanted(self) -> bool {
        self.index_and_wanted & 1 != 0
    }
}

/// One delivery, waiting or taken.
#[derive(Debug, Clone)]
pub struct Delivery {
    head: DeliveryHead,
    what: What,
}

impl Delivery {
    /// Puts a delivery together.
    #[must_use]
    #[inline(always)]
    pub const fn new(head: DeliveryHead, what: What) -> Self {
        Self { head, what }
    }

    /// Its identity.
    #[must_use]
    #[inline]
    pub const fn id(&self) -> DeliveryId {
        self.head.id()
    }

    /// The time of what caused it.
    #[must_use]
    #[inline]
    pub const fn time(&self) -> Time {
        self.head.time()
    }

    /// Whether someone waits for the answer, so that the record must carry it.
    #[must_use]
    #[inline]
    pub const fn answer_wanted(&self) -> bool {
        self.head.answer_wanted()
    }

    /// What is delivered.
    #[must_use]
    #[inline]
    pub const fn what(&self) -> &What {
        &self.what
    }

    /// Whether it has a vat that ended let go of some of what it leaves.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        matches!(&self.what, What::Other(other) if matches!(**other, Other::Clean))
    }

    /// The bytes that its body takes, about.
    #[must_use]
    #[inline]
    pub fn bytes(&self) -> usize {
        let body = match &self.what {
            What::Act(act) => act.span.byte_count(),
            What::Other(other) => match &**other {
                Other::Via { act, .. } => act.span.byte_count(),
                Other::Outcome { act, resolution } => {
                    act.span.byte_count() + resolution.as_ref().map_or(0, |bytes| bytes.len())
                }
                Other::Settled { resolution, .. } => resolution.len(),
                Other::Dropped { .. } | Other::Clean => 0,
            },
        };
        body + std::mem::size_of::<Self>()
    }
}

/// A message as the receiving vat sees it.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    method: &'a str,
    args: &'a [u8],
    slots: &'a [Slot],
}

impl<'a> Message<'a> {
    #[inline]
    pub(crate) const fn new(method: &'a str, args: &'a [u8], slots: &'a [Slot]) -> Self {
        Self {
            method,
            args,
            slots,
        }
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
        decode(self.args, self.slots)
    }

    /// The bytes of the arguments, as they came.
    #[must_use]
    pub const fn arg_bytes(&self) -> &'a [u8] {
        self.args
    }

    /// A copy of the arguments.
    #[must_use]
    pub fn payload(&self) -> Payload {
        Payload::from_parts(self.args.to_vec(), self.slots.to_vec())
    }
}

/// What a watched promise came to, as the vat that watches sees it.
#[derive(Debug)]
pub struct Notice<'a> {
    method: &'a str,
    context: &'a [u8],
    slots: &'a [Slot],
    object: u64,
    outcome: Outcome,
}

impl<'a> Notice<'a> {
    pub(crate) const fn new(
        method: &'a str,
        context: &'a [u8],
        slots: &'a [Slot],
        object: u64,
        outcome: Outcome,
    ) -> Self {
        Self {
            method,
            context,
            slots,
            object,
            outcome,
        }
    }

    /// The name under which it was watched.
    #[must_use]
    pub const fn method(&self) -> &'a str {
        self.method
    }

    /// The number of the object that watched; [`ObjectId::ROOT`] for the vat's root.
    #[must_use]
    pub const fn object(&self) -> u64 {
        self.object
    }

    /// What was to be known now, decoded.
    ///
    /// # Errors
    ///
    /// [`PayloadError::Decode`] when it is no `T`.
    pub fn context<T: DeserializeOwned>(&self) -> Result<T, PayloadError> {
        decode(self.context, self.slots)
    }

    /// What the promise came to.
    pub const fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// The value that the promise came to, decoded; a rejection is passed on with `?`.
    ///
    /// # Errors
    ///
    /// The promise's rejection, or that the value is no `T`.
    pub fn value<T: DeserializeOwned>(&self) -> Result<T, crate::Rejection> {
        match &self.outcome {
            Ok(payload) => Ok(payload.decode()?),
            Err(rejection) => Err(rejection.clone()),
        }
    }
}

/// An object of the vat beside its root, as it is when a message for it comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    number: u64,
    kind: String,
    state: Payload,
}

impl Object {
    pub(crate) const fn new(number: u64, kind: String, state: Payload) -> Self {
        Self {
            number,
            kind,
            state,
        }
    }

    /// Its number in the vat, from 1.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// The name of what it is, as it was made.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// Its state, decoded.
    ///
    /// # Errors
    ///
    /// [`PayloadError::Decode`] when it is no `T`.
    pub fn state<T: DeserializeOwned>(&self) -> Result<T, PayloadError> {
        self.state.decode()
    }
}

/// The number of the object that a message's act names, or the root's.
pub(crate) const fn object_of(to: &Slot) -> u64 {
    match to {
        Slot::Object(object) => object.number,
        _ => ObjectId::ROOT,
    }
}

/// The outcome that stands in a watch of what was known already.
pub(crate) fn known_outcome(on: &Slot) -> Option<Outcome> {
    crate::Promise::of_slot(on.clone()).outcome()
}

/// A body's payload with its references, for reading.
#[inline(always)]
pub(crate) fn parts<'a>(body: &Body<'a>, slots: &mut Vec<Slot>) -> Result<&'a [u8], DecodeError> {
    slots.clear();
    if body.has_slots() {
        for slot in body.slots() {
            slots.push(slot?);
        }
    }
    Ok(body.bytes())
}
