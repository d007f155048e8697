//! The deserializer that has no bytes and hands over what a [`Trace`] picks.
//!
//! It asks visitors for the same things in the same way as postcard does, so that a type is seen
//! as it will be read.

use std::any::type_name;
use std::fmt;

use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};

use super::NoShape;
use super::samples::{
    BOOLEANS, BYTE_LENGTHS, FLOATS, INTEGERS, LENGTHS, LETTERS, ONES, TEXTS, ZEROS,
};
use super::trace::{Kind, Place, Trace};
use crate::ids::{ObjectId, PromiseId, VatId, VatNumber};
use crate::reference::Slot;
use crate::slots::{AROUND_PROMISE, SLOT};

/// How a promise is shown: nothing of what it comes to stands in its bytes, and is decoded from them
/// all the same. No field of a type is called like that.
const PROMISE_PARTS: [&str; 2] = ["a promise", "of"];

/// Why a pass ends early.
#[derive(Debug)]
pub(super) struct Stop(pub(super) String);

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Stop {}

impl de::Error for Stop {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

/// Hands over what stands in one place.
pub(super) struct Hand<'t> {
    trace: &'t mut Trace,
    place: Place,
}

impl<'t> Hand<'t> {
    pub(super) const fn new(trace: &'t mut Trace, place: Place) -> Self {
        Self { trace, place }
    }

    /// Lets a part be read.
    fn read<R>(
        &mut self,
        part: usize,
        type_name: &'static str,
        read: impl FnOnce(Hand<'_>) -> Result<R, Stop>,
    ) -> Result<R, Stop> {
        let part = Place {
            node: self.trace.part(self.place.node, part)?,
            ..self.place
        };
        let read = |trace: &mut Trace| read(Hand::new(trace, part));
        self.trace.enter(part, type_name, read)
    }

    fn note(&mut self, kind: Kind) -> Result<(), Stop> {
        self.trace.note(self.place.node, kind)
    }

    fn sample<T: Copy>(mut self, name: &'static str, samples: &[T]) -> Result<T, Stop> {
        self.note(Kind::Leaf(name))?;
        Ok(samples[self.trace.pick(self.place, samples.len())])
    }

    fn bytes(mut self) -> Result<&'static [u8], Stop> {
        let lengths = BYTE_LENGTHS.len();
        self.note(Kind::Leaf("bytes"))?;
        let pick = self.trace.pick(self.place, 2 * lengths);
        let all = if pick < lengths { &ZEROS } else { &ONES };
        Ok(&all[..BYTE_LENGTHS[pick % lengths]])
    }

    fn unit<'de, V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Stop> {
        self.note(Kind::Leaf("unit"))?;
        visitor.visit_unit()
    }

    fn reference<'de, V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Stop> {
        let slots = [
            Slot::Object(ObjectId::root(VatId::new(VatNumber::HOST, 0))),
            Slot::Promise(PromiseId::new(VatNumber::HOST, 0)),
        ];
        self.note(Kind::Leaf("ref"))?;
        let slot = &slots[self.trace.pick(self.place, slots.len())];
        slot.transit(|bytes| visitor.visit_bytes(bytes))
    }

    /// Goes to where the type stands that is asked for.
    fn of_type<V>(mut self, kind: Kind) -> Result<Self, Stop> {
        let node = self
            .trace
            .note_type(self.place.node, kind, type_name::<V>())?;
        self.place.shortest |= node != self.place.node;
        self.place.node = node;
        Ok(self)
    }

    /// Whether a part has still something to show.
    fn is_unseen(&mut self, part: usize) -> Result<bool, Stop> {
        let part = self.trace.part(self.place.node, part)?;
        Ok(!self.place.shortest && !self.trace.complete(part))
    }

    fn length(&mut self) -> usize {
        LENGTHS[self.trace.pick(self.place, LENGTHS.len())]
    }

    const fn parts(self, count: usize) -> Parts<'t> {
        Parts {
            whole: self,
            next: 0,
            left: count,
        }
    }

    fn tuple<'de, V: Visitor<'de>>(mut self, count: usize, visitor: V) -> Result<V::Value, Stop> {
        self.note(Kind::Tuple)?;
        visitor.visit_seq(self.parts(count))
    }
}

macro_rules! samples {
    ($($method:ident, $visit:ident, $name:literal, $samples:ident $(as $type:ty)?;)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
            visitor.$visit(self.sample($name, $samples)? $(as $type)?)
        })*
    };
}

macro_rules! asks_the_bytes {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Stop> {
            Err(self.trace.fail(NoShape::AsksTheBytes))
        })*
    };
}

impl<'de> Deserializer<'de> for Hand<'_> {
    type Error = Stop;

    samples! {
        deserialize_bool, visit_bool, "bool", BOOLEANS;
        deserialize_i8, visit_i8, "i8", INTEGERS as i8;
        deserialize_i16, visit_i16, "i16", INTEGERS as i16;
        deserialize_i32, visit_i32, "i32", INTEGERS as i32;
        deserialize_i64, visit_i64, "i64", INTEGERS as i64;
        deserialize_i128, visit_i128, "i128", INTEGERS;
        deserialize_u8, visit_u8, "u8", INTEGERS as u8;
        deserialize_u16, visit_u16, "u16", INTEGERS as u16;
        deserialize_u32, visit_u32, "u32", INTEGERS as u32;
        deserialize_u64, visit_u64, "u64", INTEGERS as u64;
        deserialize_u128, visit_u128, "u128", INTEGERS as u128;
        deserialize_f32, visit_f32, "f32", FLOATS as f32;
        deserialize_f64, visit_f64, "f64", FLOATS;
        deserialize_char, visit_char, "char", LETTERS;
        deserialize_str, visit_borrowed_str, "string", TEXTS;
        deserialize_string, visit_str, "string", TEXTS;
    }

    asks_the_bytes!(deserialize_any deserialize_identifier deserialize_ignored_any);

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        visitor.visit_borrowed_bytes(self.bytes()?)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        visitor.visit_bytes(self.bytes()?)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        self.unit(visitor)
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Stop> {
        self.unit(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Stop> {
        self.note(Kind::Option)?;
        if !self.is_unseen(0)? && self.trace.pick(self.place, 2) == 0 {
            return visitor.visit_none();
        }
        self.read(0, type_name::<V::Value>(), |inner| {
            visitor.visit_some(inner)
        })
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Stop> {
        if name == SLOT {
            return self.reference(visitor);
        }
        if name == AROUND_PROMISE {
            let own = self.of_type::<V>(Kind::Struct(&PROMISE_PARTS))?;
            return visitor.visit_seq(own.parts(PROMISE_PARTS.len()));
        }
        let read = |inner: Hand<'_>| visitor.visit_newtype_struct(inner);
        let mut own = self.of_type::<V>(Kind::Newtype)?;
        own.read(0, type_name::<V::Value>(), read)
    }

    fn deserialize_seq<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Stop> {
        self.note(Kind::Seq)?;
        let least = usize::from(self.is_unseen(0)?);
        let length = self.length().max(least);
        visitor.visit_seq(self.parts(length))
    }

    fn deserialize_map<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Stop> {
        self.note(Kind::Map)?;
        let least = usize::from(self.is_unseen(0)? | self.is_unseen(1)?);
        let length = self.length().max(least);
        visitor.visit_map(self.parts(length))
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        count: usize,
        visitor: V,
    ) -> Result<V::Value, Stop> {
        self.tuple(count, visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        count: usize,
        visitor: V,
    ) -> Result<V::Value, Stop> {
        self.of_type::<V>(Kind::Tuple)?.tuple(count, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stop> {
        let own = self.of_type::<V>(Kind::Struct(fields))?;
        visitor.visit_seq(own.parts(fields.len()))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stop> {
        let own = self.of_type::<V>(Kind::Enum(variants))?;
        let picks = own.trace.variants(own.place);
        if picks.is_empty() {
            return Err(de::Error::custom("no variant of it can be read"));
        }
        let index = picks[own.trace.pick(own.place, picks.len())];
        visitor.visit_enum(Variant { whole: own, index })
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

/// Hands over what stands in the parts of one place.
struct Parts<'t> {
    whole: Hand<'t>,
    next: usize,
    left: usize,
}

impl Parts<'_> {
    fn read<'de, T: DeserializeSeed<'de>>(
        &mut self,
        index: usize,
        seed: T,
    ) -> Result<T::Value, Stop> {
        let read = |part: Hand<'_>| seed.deserialize(part);
        self.whole.read(index, type_name::<T::Value>(), read)
    }

    fn take(&mut self) -> bool {
        let is_left = self.left > 0;
        self.left -= usize::from(is_left);
        is_left
    }
}

impl<'de> SeqAccess<'de> for Parts<'_> {
    type Error = Stop;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Stop> {
        if !self.take() {
            return Ok(None);
        }
        let index = self.next;
        if self.whole.trace.nodes[self.whole.place.node].kind != Kind::Seq {
            self.next += 1;
        }
        self.read(index, seed).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

impl<'de> MapAccess<'de> for Parts<'_> {
    type Error = Stop;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Stop> {
        if !self.take() {
            return Ok(None);
        }
        self.read(0, seed).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Stop> {
        self.read(1, seed)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

/// Hands over one variant: first its index, then, as a place of its own, what it holds.
struct Variant<'t> {
    whole: Hand<'t>,
    index: usize,
}

impl<'t> Variant<'t> {
    fn read<R>(
        self,
        kind: Kind,
        read: impl FnOnce(Hand<'_>) -> Result<R, Stop>,
    ) -> Result<R, Stop> {
        let mut whole = self.whole;
        let type_name = whole.trace.nodes[whole.place.node].type_name;
        whole.read(self.index, type_name, |mut variant| {
            variant.note(kind)?;
            read(variant)
        })
    }
}

impl<'de> EnumAccess<'de> for Variant<'_> {
    type Error = Stop;
    type Variant = Self;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Self), Stop> {
        let index = u32::try_from(self.index).map_err(de::Error::custom)?;
        match seed.deserialize(index.into_deserializer()) {
            Ok(value) => Ok((value, self)),
            Err(stop) => {
                let variant = self.whole.trace.part(self.whole.place.node, self.index)?;
                self.whole.trace.note_refusal(variant);
                Err(stop)
            }
        }
    }
}

impl<'de> VariantAccess<'de> for Variant<'_> {
    type Error = Stop;

    fn unit_variant(self) -> Result<(), Stop> {
        self.read(Kind::Nothing, |_| Ok(()))
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Stop> {
        self.read(Kind::Newtype, |own| own.parts(1).read(0, seed))
    }

    fn tuple_variant<V: Visitor<'de>>(self, count: usize, visitor: V) -> Result<V::Value, Stop> {
        self.read(Kind::Tuple, |own| visitor.visit_seq(own.parts(count)))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stop> {
        self.read(Kind::Struct(fields), |own| {
            visitor.visit_seq(own.parts(fields.len()))
        })
    }
}
