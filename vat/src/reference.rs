//! References: what a vat may hold of others, as values in its hand and as they stand in bytes.
//!
//! ```text
//! slot:  number  creator or maker, times four, plus the kind
//!        kind 0  a vat's root:      number counter
//!        kind 1  another object:    number counter, number of the object
//!        kind 2  a promise:         number counter
//!        kind 3  a promise that came to its end, with what it came to: bytes resolution
//! ```

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};

use crate::body::{Body, Resolution};
use crate::codec::{DecodeError, Reader, put_bytes, put_varint};
use crate::ids::{ObjectId, PromiseId, VatId, VatNumber};
use crate::interface::{Any, Client, Interface};
use crate::payload::Outcome;
use crate::slots::{AROUND_PROMISE, SLOT};

const ROOT: u64 = 0;
const OBJECT: u64 = 1;
const PROMISE: u64 = 2;
const SETTLED: u64 = 3;

/// What a slot refers to. It is what is held, counted and checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reference {
    /// An object in a vat.
    Object(ObjectId),
    /// A promise.
    Promise(PromiseId),
}

impl Reference {
    /// Whether those who hold it are counted: a vat's root lives as long as its vat, whoever
    /// holds it.
    #[must_use]
    #[inline]
    pub const fn is_counted(&self) -> bool {
        match self {
            Self::Object(object) => !object.is_root(),
            Self::Promise(_) => true,
        }
    }
}

impl From<Reference> for Slot {
    fn from(reference: Reference) -> Self {
        match reference {
            Reference::Object(object) => Self::Object(object),
            Reference::Promise(promise) => Self::Promise(promise),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Object(object) => fmt::Display::fmt(object, f),
            Self::Promise(promise) => fmt::Display::fmt(promise, f),
        }
    }
}

/// A reference as it stands beside a payload's bytes.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Slot {
    /// An object in a vat.
    Object(ObjectId),
    /// A promise.
    Promise(PromiseId),
    /// A promise that came to its end: the encoded [`Resolution`].
    Settled(Arc<[u8]>),
}

impl Slot {
    /// Appends the encoding.
    #[inline]
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Object(object) => {
                let creator = object.vat.creator.get() << 2;
                if object.is_root() {
                    put_varint(out, creator | ROOT);
                    put_varint(out, object.vat.counter);
                } else {
                    put_varint(out, creator | OBJECT);
                    put_varint(out, object.vat.counter);
                    put_varint(out, object.number);
                }
            }
            Self::Promise(promise) => {
                put_varint(out, promise.maker.get() << 2 | PROMISE);
                put_varint(out, promise.counter);
            }
            Self::Settled(resolution) => {
                put_varint(out, SETTLED);
                put_bytes(out, resolution);
            }
        }
    }

    /// Reads one.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] when none stands there.
    #[inline(always)]
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let offset = reader.offset();
        let head = reader.varint("reference")?;
        if head & 3 == ROOT {
            let vat = VatId::new(VatNumber::new(head >> 2), reader.varint("vat counter")?);
            return Ok(Self::Object(ObjectId::root(vat)));
        }
        Self::read_other(reader, offset, head)
    }

    /// Reads one that is no vat's root.
    fn read_other(reader: &mut Reader<'_>, offset: usize, head: u64) -> Result<Self, DecodeError> {
        let invalid = DecodeError::Invalid {
            what: "reference",
            offset,
        };
        let number = VatNumber::new(head >> 2);
        Ok(match head & 3 {
            OBJECT => {
                let vat = VatId::new(number, reader.varint("vat counter")?);
                let object = ObjectId::new(vat, reader.varint("object number")?);
                if object.is_root() {
                    return Err(invalid);
                }
                Self::Object(object)
            }
            PROMISE => Self::Promise(PromiseId::new(number, reader.varint("promise counter")?)),
            _ if head == SETTLED => Self::Settled(reader.bytes("resolution")?.into()),
            _ => return Err(invalid),
        })
    }

    /// Passes over one.
    ///
    /// # Errors
    ///
    /// As for [`read`](Self::read).
    #[inline]
    pub(crate) fn skip(reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        let mut ahead = reader.clone();
        let head = ahead.varint("reference")?;
        match head & 3 {
            ROOT | PROMISE => {
                ahead.varint("counter of a reference")?;
                *reader = ahead;
            }
            // The rarer ones are read, which checks them.
            _ => drop(Self::read(reader)?),
        }
        Ok(())
    }

    /// Passes over one to a vat's root; says no when it is none.
    #[inline]
    pub(crate) fn skip_root(reader: &mut Reader<'_>) -> bool {
        let is_root = reader
            .varint("reference")
            .is_ok_and(|head| head & 3 == ROOT);
        is_root && reader.varint("vat counter").is_ok()
    }

    /// What it refers to itself, unless it came to its end.
    #[must_use]
    #[inline]
    pub const fn reference(&self) -> Option<Reference> {
        match self {
            Self::Object(object) => Some(Reference::Object(*object)),
            Self::Promise(promise) => Some(Reference::Promise(*promise)),
            Self::Settled(_) => None,
        }
    }

    /// What a holder of a promise has in its place once that came to this end.
    #[must_use]
    pub fn of_resolution(encoded: &Arc<[u8]>, resolution: &Resolution<'_>) -> Self {
        match resolution {
            Resolution::Value(body) => body
                .sole_slot()
                .unwrap_or_else(|| Self::Settled(Arc::clone(encoded))),
            Resolution::Rejected(_) => Self::Settled(Arc::clone(encoded)),
        }
    }

    /// Every reference in it, those inside of what a promise came to included.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] when what stands inside cannot be read.
    pub fn each_reference(&self, see: &mut impl FnMut(Reference)) -> Result<(), DecodeError> {
        each_reference(std::slice::from_ref(self), see)
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Object(object) => fmt::Display::fmt(object, f),
            Self::Promise(promise) => fmt::Display::fmt(promise, f),
            Self::Settled(resolution) => write!(f, "settled({} bytes)", resolution.len()),
        }
    }
}

/// Every reference in the slots, those inside of what promises came to included.
///
/// # Errors
///
/// [`DecodeError`] when what stands inside cannot be read.
pub fn each_reference(slots: &[Slot], see: &mut impl FnMut(Reference)) -> Result<(), DecodeError> {
    // Vats can wrap what they hold as deep as they like, so this does not recurse.
    let mut inside: Vec<Arc<[u8]>> = Vec::new();
    let mut look = |slot: &Slot, inside: &mut Vec<Arc<[u8]>>| match slot {
        Slot::Object(object) => see(Reference::Object(*object)),
        Slot::Promise(promise) => see(Reference::Promise(*promise)),
        Slot::Settled(resolution) => inside.push(Arc::clone(resolution)),
    };
    for slot in slots {
        look(slot, &mut inside);
    }
    while let Some(resolution) = inside.pop() {
        if let Resolution::Value(body) = Resolution::read(&resolution)? {
            for slot in body.slots() {
                look(&slot?, &mut inside);
            }
        }
    }
    Ok(())
}

/// How deep promises that came to their end may be wrapped in each other in what a vat makes.
const DEEPEST: u32 = 64;

/// Checks that no reference is wrapped too deep.
///
/// # Errors
///
/// [`DecodeError`] when one is.
pub(crate) fn check_depth(slots: &[Slot]) -> Result<(), DecodeError> {
    let mut inside: Vec<(Arc<[u8]>, u32)> = Vec::new();
    let settled = |slot: &Slot| match slot {
        Slot::Settled(resolution) => Some(Arc::clone(resolution)),
        _ => None,
    };
    inside.extend(slots.iter().filter_map(settled).map(|found| (found, 1)));
    while let Some((resolution, depth)) = inside.pop() {
        if depth > DEEPEST {
            return Err(DecodeError::Invalid {
                what: "a promise wrapped in more than 64 others",
                offset: 0,
            });
        }
        if let Resolution::Value(body) = Resolution::read(&resolution)? {
            let found = body.to_slots()?;
            inside.extend(
                found
                    .iter()
                    .filter_map(settled)
                    .map(|found| (found, depth + 1)),
            );
        }
    }
    Ok(())
}

/// The slots with a promise replaced that came to its end; nothing when it does not stand in them.
///
/// What stands inside of what other promises came to is left as it is. There it may stand in a
/// circle, or in more places than there is room for, and would never come to an end.
pub(crate) fn replaced(slots: &[Slot], promise: PromiseId, by: &Slot) -> Option<Vec<Slot>> {
    let old = Slot::Promise(promise);
    let new = |slot: &Slot| if *slot == old { by } else { slot }.clone();
    slots
        .contains(&old)
        .then(|| slots.iter().map(new).collect())
}

/// Bytes of what promises came to, which stands in a value in their place.
pub(crate) fn settled_bytes(slots: &[Slot]) -> usize {
    let of_slot = |slot: &Slot| match slot {
        Slot::Settled(resolution) => resolution.len(),
        Slot::Object(_) | Slot::Promise(_) => 0,
    };
    slots
        .iter()
        .fold(0, |sum, slot| sum.saturating_add(of_slot(slot)))
}

/// A reference on its way between a value and the list beside the bytes: its kind and its numbers,
/// or kind 3 and the resolution. It has a fixed length where that saves an allocation for each.
const IN_TRANSIT: usize = 25;

#[inline(always)]
fn in_transit(kind: u8, numbers: [u64; 3]) -> [u8; IN_TRANSIT] {
    let mut bytes = [kind; IN_TRANSIT];
    for (part, number) in bytes[1..].chunks_exact_mut(8).zip(numbers) {
        part.copy_from_slice(&number.to_le_bytes());
    }
    bytes
}

impl Slot {
    /// Hands it over as the one byte string that a reference writes.
    #[inline(always)]
    pub(crate) fn transit<R>(&self, hand_over: impl FnOnce(&[u8]) -> R) -> R {
        match self {
            Self::Object(ObjectId { vat, number }) => {
                let numbers = [vat.creator.get(), vat.counter, *number];
                hand_over(&in_transit(OBJECT as u8, numbers))
            }
            Self::Promise(PromiseId { maker, counter }) => {
                hand_over(&in_transit(PROMISE as u8, [maker.get(), *counter, 0]))
            }
            Self::Settled(resolution) => {
                let mut bytes = vec![SETTLED as u8];
                bytes.extend_from_slice(resolution);
                hand_over(&bytes)
            }
        }
    }

    /// What was handed over.
    #[inline(always)]
    pub(crate) fn from_transit(bytes: &[u8]) -> Option<Self> {
        let (&kind, rest) = bytes.split_first()?;
        if u64::from(kind) == SETTLED {
            return Some(Self::Settled(rest.into()));
        }
        let mut numbers = [0; 3];
        if rest.len() != IN_TRANSIT - 1 {
            return None;
        }
        for (number, part) in numbers.iter_mut().zip(rest.chunks_exact(8)) {
            *number = u64::from_le_bytes(part.try_into().ok()?);
        }
        let [first, counter, number] = numbers;
        let maker = VatNumber::new(first);
        match u64::from(kind) {
            OBJECT => Some(Self::Object(ObjectId::new(
                VatId::new(maker, counter),
                number,
            ))),
            PROMISE => Some(Self::Promise(PromiseId::new(maker, counter))),
            _ => None,
        }
    }
}

#[inline]
fn write_slot<S: Serializer>(slot: &Slot, serializer: S) -> Result<S::Ok, S::Error> {
    struct Bytes<'a>(&'a [u8]);
    impl Serialize for Bytes<'_> {
        #[inline(always)]
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_bytes(self.0)
        }
    }
    slot.transit(|bytes| serializer.serialize_newtype_struct(SLOT, &Bytes(bytes)))
}

#[inline]
fn read_slot<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Slot, D::Error> {
    struct Wanted;
    impl<'de> Visitor<'de> for Wanted {
        type Value = Slot;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a reference")
        }

        #[inline(always)]
        fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Slot, E> {
            Slot::from_transit(bytes).ok_or_else(|| E::custom("no reference stands there"))
        }

        #[inline(always)]
        fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<Slot, D::Error> {
            inner.deserialize_bytes(self)
        }
    }
    deserializer.deserialize_newtype_struct(SLOT, Wanted)
}

/// A reference to an object: a capability to send it messages.
///
/// A vat has one because it was given it: with a message, as what a promise came to, or because
/// it made the object. It keeps it by having it in its state or in a row of its store. Using one
/// that it has not dooms the crank, wherever the value came from.
///
/// `I` says what the object understands: a `Ref<Account>` has the methods of an account. Nothing of
/// it stands in the bytes, and a plain `Ref` is one to [`Any`] object.
///
/// Serialised as a part of a payload or of a state it becomes an index into the references beside
/// the bytes.
///
/// ```
/// use crankcase_vat::{ObjectId, Payload, Ref, VatId, VatNumber};
///
/// let bob = Ref::to(VatId::new(VatNumber::HOST, 2));
/// let payload = Payload::of(&("pay", bob))?;
/// assert_eq!(payload.slots().len(), 1);
/// assert_eq!(payload.decode::<(String, Ref)>()?.1, bob);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Ref<I: Interface = Any>(I::Client);

impl Ref {
    /// The reference to an object of that name. Hosts make references this way; a vat that does
    /// gets nothing that it may use.
    #[must_use]
    pub fn to(object: impl Into<ObjectId>) -> Self {
        Self::named(object.into())
    }
}

impl<I: Interface> Ref<I> {
    fn named(object: ObjectId) -> Self {
        Self(I::Client::to(object))
    }

    /// The object's name.
    #[must_use]
    #[inline]
    pub fn object(self) -> ObjectId {
        self.0.object()
    }

    /// The vat that the object lives in.
    #[must_use]
    pub fn vat(self) -> VatId {
        self.object().vat
    }

    /// The same reference, as one to an object that understands something else. Nothing is checked:
    /// what is sent through it is rejected by an object that does not understand it.
    #[must_use]
    pub fn cast<J: Interface>(self) -> Ref<J> {
        Ref::named(self.object())
    }
}

/// Its methods are those of the interface.
impl<I: Interface> Deref for Ref<I> {
    type Target = I::Client;

    #[inline]
    fn deref(&self) -> &I::Client {
        &self.0
    }
}

impl<I: Interface> Clone for Ref<I> {
    #[inline]
    fn clone(&self) -> Self {
        *self
    }
}

impl<I: Interface> Copy for Ref<I> {}

impl<I: Interface> PartialEq for Ref<I> {
    fn eq(&self, other: &Self) -> bool {
        self.object() == other.object()
    }
}

impl<I: Interface> Eq for Ref<I> {}

impl<I: Interface> PartialOrd for Ref<I> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<I: Interface> Ord for Ref<I> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.object().cmp(&other.object())
    }
}

impl<I: Interface> std::hash::Hash for Ref<I> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.object().hash(state);
    }
}

impl<I: Interface> From<Ref<I>> for VatId {
    fn from(object: Ref<I>) -> Self {
        object.vat()
    }
}

impl<I: Interface> From<Ref<I>> for ObjectId {
    fn from(object: Ref<I>) -> Self {
        object.object()
    }
}

impl<I: Interface> fmt::Display for Ref<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.object(), f)
    }
}

impl<I: Interface> fmt::Debug for Ref<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ref({})", self.object())
    }
}

impl<I: Interface> Serialize for Ref<I> {
    #[inline]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        write_slot(&Slot::Object(self.object()), serializer)
    }
}

impl<'de, I: Interface> Deserialize<'de> for Ref<I> {
    #[inline]
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match read_slot(deserializer)? {
            Slot::Object(object) => Ok(Self::named(object)),
            Slot::Promise(promise) => Err(de::Error::custom(format_args!(
                "{promise} is a promise that is not resolved to an object; take it as a `Promise`"
            ))),
            Slot::Settled(_) => Err(de::Error::custom(
                "a promise that did not come to an object; take it as a `Promise`",
            )),
        }
    }
}

/// A promise: the outcome of a message or of a watch, or one that a vat made to resolve it later.
///
/// It can be sent to at once: messages wait in it, in order, and follow it to the object that it
/// comes to. It can be passed on and kept like a [`Ref`], and [watched](crate::Crank::watch). One
/// that a vat keeps becomes, in its hands, what it came to: an object, another promise, or its
/// [outcome](Self::outcome). Promises inside of that outcome are as they were, until the vat keeps
/// them for themselves.
///
/// `T` is what it comes to if all goes well. Nothing of it stands in the bytes, and a plain
/// `Promise` is one of a [`Payload`](crate::Payload) that is yet to be decoded.
pub struct Promise<T = crate::Payload>(Slot, PhantomData<fn() -> T>);

impl Promise {
    /// The promise of that name. As with [`Ref::to`], a vat that makes one up may not use it.
    #[must_use]
    pub const fn pending(id: PromiseId) -> Self {
        Self::of_slot(Slot::Promise(id))
    }

    /// What it came to, if that is known here. To be told of it when it comes, watch it.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        match &self.0 {
            Slot::Promise(_) => None,
            Slot::Object(_) => Some(Ok(crate::Payload::of_slot(self.0.clone()))),
            Slot::Settled(resolution) => Resolution::read(resolution).ok().map(|r| r.to_outcome()),
        }
    }
}

impl<T> Promise<T> {
    pub(crate) const fn of_slot(slot: Slot) -> Self {
        Self(slot, PhantomData)
    }

    /// Its name, as long as it is a promise in this hand.
    #[must_use]
    pub const fn id(&self) -> Option<PromiseId> {
        match self.0 {
            Slot::Promise(id) => Some(id),
            _ => None,
        }
    }

    /// The object that it came to, if it did and that is known here.
    #[must_use]
    pub fn object(&self) -> Option<Ref> {
        match self.0 {
            Slot::Object(object) => Some(Ref::to(object)),
            _ => None,
        }
    }

    /// What stands for it beside a payload's bytes.
    #[must_use]
    pub const fn slot(&self) -> &Slot {
        &self.0
    }

    /// The same promise, as one of something else. Nothing is checked: what it comes to is decoded
    /// as that, which fails when it is none.
    #[must_use]
    pub fn cast<U>(&self) -> Promise<U> {
        self.clone().into_other()
    }

    #[inline]
    pub(crate) fn into_other<U>(self) -> Promise<U> {
        Promise::of_slot(self.0)
    }
}

impl<T: de::DeserializeOwned> Promise<T> {
    /// What it came to, decoded, if that is known here. A value that is no `T` is a rejection.
    #[must_use]
    pub fn value(&self) -> Option<Outcome<T>> {
        let outcome = self.cast::<crate::Payload>().outcome()?;
        Some(outcome.and_then(|payload| Ok(payload.decode()?)))
    }
}

impl<I: Interface> Promise<Ref<I>> {
    /// The methods of the object that it will come to: what is sent waits in the promise and
    /// follows it there, without a round trip.
    #[must_use]
    pub fn pipelined(&self) -> I::Eventual {
        I::Eventual::from(self.cast())
    }
}

impl<T> Clone for Promise<T> {
    fn clone(&self) -> Self {
        Self::of_slot(self.0.clone())
    }
}

impl<T> PartialEq for Promise<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<T> Eq for Promise<T> {}

impl<T> std::hash::Hash for Promise<T> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl<I: Interface> From<Ref<I>> for Promise {
    fn from(object: Ref<I>) -> Self {
        Self::of_slot(Slot::Object(object.object()))
    }
}

impl<I: Interface> From<Ref<I>> for Promise<Ref<I>> {
    fn from(object: Ref<I>) -> Self {
        Self::of_slot(Slot::Object(object.object()))
    }
}

impl<T> fmt::Debug for Promise<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Promise({:?})", self.0)
    }
}

impl<T> Serialize for Promise<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        write_slot(&self.0, serializer)
    }
}

/// A reference of any sort, alone.
struct Bare(Slot);

impl<'de> Deserialize<'de> for Bare {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read_slot(deserializer).map(Self)
    }
}

/// What a promise can come to: what can be decoded, or a [`Payload`](crate::Payload) that is not yet.
pub trait Promised {
    /// Whether it is known what is decoded.
    #[doc(hidden)]
    const IS_KNOWN: bool;

    /// Asks for one where shapes are looked for.
    #[doc(hidden)]
    fn ask<'de, A: SeqAccess<'de>>(parts: &mut A) -> Result<(), A::Error>;
}

impl<T: de::DeserializeOwned> Promised for T {
    const IS_KNOWN: bool = true;

    fn ask<'de, A: SeqAccess<'de>>(parts: &mut A) -> Result<(), A::Error> {
        parts.next_element::<T>().map(drop)
    }
}

impl Promised for crate::Payload {
    const IS_KNOWN: bool = false;

    fn ask<'de, A: SeqAccess<'de>>(_: &mut A) -> Result<(), A::Error> {
        Ok(())
    }
}

impl<'de, T: Promised> Deserialize<'de> for Promise<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Wanted<T>(PhantomData<fn() -> T>);
        impl<'de, T: Promised> Visitor<'de> for Wanted<T> {
            type Value = Promise<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a promise")
            }

            #[inline]
            fn visit_newtype_struct<D: Deserializer<'de>>(
                self,
                inner: D,
            ) -> Result<Promise<T>, D::Error> {
                read_slot(inner).map(Promise::of_slot)
            }

            /// Where shapes are looked for.
            fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Promise<T>, A::Error> {
                let slot = parts.next_element::<Bare>()?;
                T::ask(&mut parts)?;
                let missing = || de::Error::custom("no promise stands there");
                slot.map(|Bare(slot)| Promise::of_slot(slot))
                    .ok_or_else(missing)
            }
        }
        if !T::IS_KNOWN {
            return read_slot(deserializer).map(Self::of_slot);
        }
        deserializer.deserialize_newtype_struct(AROUND_PROMISE, Wanted(PhantomData))
    }
}

/// What a message can be sent to: an object or a promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target(pub(crate) Slot);

impl Target {
    /// What stands for it beside a payload's bytes.
    #[must_use]
    pub const fn slot(&self) -> &Slot {
        &self.0
    }
}

impl<I: Interface> From<Ref<I>> for Target {
    #[inline]
    fn from(object: Ref<I>) -> Self {
        Self(Slot::Object(object.object()))
    }
}

impl<I: Interface> From<&Ref<I>> for Target {
    #[inline]
    fn from(object: &Ref<I>) -> Self {
        Self(Slot::Object(object.object()))
    }
}

impl From<ObjectId> for Target {
    fn from(object: ObjectId) -> Self {
        Self(Slot::Object(object))
    }
}

impl From<VatId> for Target {
    #[inline]
    fn from(vat: VatId) -> Self {
        Self(Slot::Object(ObjectId::root(vat)))
    }
}

impl<T> From<Promise<T>> for Target {
    fn from(promise: Promise<T>) -> Self {
        Self(promise.0)
    }
}

impl<T> From<&Promise<T>> for Target {
    fn from(promise: &Promise<T>) -> Self {
        Self(promise.0.clone())
    }
}

/// Appends slots with their count.
#[inline]
pub(crate) fn put_slots(out: &mut Vec<u8>, slots: &[Slot]) {
    put_varint(out, slots.len() as u64);
    slots.iter().for_each(|slot| slot.write(out));
}

/// The body whose one reference is that one and which holds nothing else: what a bare [`Ref`] or
/// [`Promise`] encodes to.
#[must_use]
pub fn sole_body(slot: &Slot) -> Vec<u8> {
    let mut out = Vec::with_capacity(16);
    Body::put(&mut out, std::slice::from_ref(slot), &[0]);
    out
}
