//! The serde adapter that takes references out of payloads and puts them back.
//!
//! A [`Ref`](crate::Ref) or a [`Promise`](crate::Promise) serialises itself as a newtype struct of a
//! name that nobody else uses. The adapter knows the name: it appends the reference to a list beside
//! the bytes and writes its index in the list. Reading goes the other way. Everything else passes
//! through to the serializer underneath, so the bytes of a payload without references are those of
//! plain postcard.
//!
//! Nothing of it stands in a thread-local: the list travels in the adapter, from value to value, in
//! the manner of `serde_path_to_error`.

use std::cell::RefCell;
use std::fmt;

use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, Visitor};
use serde::ser::{self, Impossible, Serialize, Serializer};

use crate::reference::Slot;

/// The name of the newtype struct that stands for a reference.
pub(crate) const SLOT: &str = "crankcase::Slot";

/// The name of the newtype around a promise. It leaves no trace in the bytes; whoever looks for shapes
/// asks for what it comes to as well.
pub(crate) const AROUND_PROMISE: &str = "crankcase::Promise";

/// Writes the values below it with their references taken out into a list.
pub(crate) struct TakingOut<'s, S> {
    inner: S,
    slots: &'s RefCell<&'s mut Vec<Slot>>,
}

impl<'s, S> TakingOut<'s, S> {
    pub(crate) const fn new(inner: S, slots: &'s RefCell<&'s mut Vec<Slot>>) -> Self {
        Self { inner, slots }
    }
}

/// A value or a part of one, with the list that its references go to.
pub(crate) struct Under<'s, C> {
    inner: C,
    slots: &'s RefCell<&'s mut Vec<Slot>>,
}

impl<T: Serialize + ?Sized> Serialize for Under<'_, &T> {
    #[inline]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.inner.serialize(TakingOut {
            inner: serializer,
            slots: self.slots,
        })
    }
}

macro_rules! write_plainly {
    ($($method:ident($($arg:ident: $type:ty),*);)*) => {
        $(#[inline]
        fn $method(self, $($arg: $type),*) -> Result<S::Ok, S::Error> {
            self.inner.$method($($arg),*)
        })*
    };
}

macro_rules! write_parts {
    ($($method:ident($($arg:ident: $type:ty),*) -> $part:ident;)*) => {
        $(#[inline]
        fn $method(self, $($arg: $type),*) -> Result<Self::$part, S::Error> {
            Ok(Under { inner: self.inner.$method($($arg),*)?, slots: self.slots })
        })*
    };
}

impl<'s, S: Serializer> Serializer for TakingOut<'s, S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Under<'s, S::SerializeSeq>;
    type SerializeTuple = Under<'s, S::SerializeTuple>;
    type SerializeTupleStruct = Under<'s, S::SerializeTupleStruct>;
    type SerializeTupleVariant = Under<'s, S::SerializeTupleVariant>;
    type SerializeMap = Under<'s, S::SerializeMap>;
    type SerializeStruct = Under<'s, S::SerializeStruct>;
    type SerializeStructVariant = Under<'s, S::SerializeStructVariant>;

    write_plainly! {
        serialize_bool(v: bool);
        serialize_i8(v: i8);
        serialize_i16(v: i16);
        serialize_i32(v: i32);
        serialize_i64(v: i64);
        serialize_i128(v: i128);
        serialize_u8(v: u8);
        serialize_u16(v: u16);
        serialize_u32(v: u32);
        serialize_u64(v: u64);
        serialize_u128(v: u128);
        serialize_f32(v: f32);
        serialize_f64(v: f64);
        serialize_char(v: char);
        serialize_str(v: &str);
        serialize_bytes(v: &[u8]);
        serialize_none();
        serialize_unit();
        serialize_unit_struct(name: &'static str);
        serialize_unit_variant(name: &'static str, index: u32, variant: &'static str);
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.inner.serialize_some(&Under {
            inner: value,
            slots: self.slots,
        })
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        if name != SLOT {
            return self.inner.serialize_newtype_struct(
                name,
                &Under {
                    inner: value,
                    slots: self.slots,
                },
            );
        }
        let slot = value
            .serialize(Capture)
            .map_err(|error| ser::Error::custom(error.0))?;
        let mut slots = self.slots.borrow_mut();
        let index = u32::try_from(slots.len())
            .map_err(|_| ser::Error::custom("more references than can be numbered"))?;
        slots.push(slot);
        drop(slots);
        self.inner.serialize_u32(index)
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        let value = Under {
            inner: value,
            slots: self.slots,
        };
        self.inner
            .serialize_newtype_variant(name, index, variant, &value)
    }

    write_parts! {
        serialize_seq(len: Option<usize>) -> SerializeSeq;
        serialize_tuple(len: usize) -> SerializeTuple;
        serialize_tuple_struct(name: &'static str, len: usize) -> SerializeTupleStruct;
        serialize_tuple_variant(name: &'static str, index: u32, variant: &'static str, len: usize)
            -> SerializeTupleVariant;
        serialize_map(len: Option<usize>) -> SerializeMap;
        serialize_struct(name: &'static str, len: usize) -> SerializeStruct;
        serialize_struct_variant(name: &'static str, index: u32, variant: &'static str, len: usize)
            -> SerializeStructVariant;
    }

    #[inline]
    fn collect_str<T: fmt::Display + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.inner.collect_str(value)
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

macro_rules! parts {
    ($($part:ident::$method:ident($($name:ident: $type:ty)?);)*) => {
        $(impl<C: ser::$part> ser::$part for Under<'_, C> {
            type Ok = C::Ok;
            type Error = C::Error;

            #[inline]
            fn $method<T: Serialize + ?Sized>(
                &mut self,
                $($name: $type,)?
                value: &T,
            ) -> Result<(), C::Error> {
                self.inner.$method($($name,)? &Under { inner: value, slots: self.slots })
            }

            #[inline]
            fn end(self) -> Result<C::Ok, C::Error> {
                self.inner.end()
            }
        })*
    };
}

parts! {
    SerializeSeq::serialize_element();
    SerializeTuple::serialize_element();
    SerializeTupleStruct::serialize_field();
    SerializeTupleVariant::serialize_field();
    SerializeStruct::serialize_field(name: &'static str);
    SerializeStructVariant::serialize_field(name: &'static str);
}

impl<C: ser::SerializeMap> ser::SerializeMap for Under<'_, C> {
    type Ok = C::Ok;
    type Error = C::Error;

    #[inline]
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), C::Error> {
        self.inner.serialize_key(&Under {
            inner: key,
            slots: self.slots,
        })
    }

    #[inline]
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), C::Error> {
        self.inner.serialize_value(&Under {
            inner: value,
            slots: self.slots,
        })
    }

    #[inline]
    fn end(self) -> Result<C::Ok, C::Error> {
        self.inner.end()
    }
}

/// Takes the one byte string that a reference writes.
struct Capture;

/// Why it was not one.
#[derive(Debug)]
struct NoSlot(String);

impl fmt::Display for NoSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NoSlot {}

impl ser::Error for NoSlot {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

macro_rules! no_slot {
    ($($method:ident($($type:ty),*) -> $result:ty;)*) => {
        $(fn $method(self, $(_: $type),*) -> Result<$result, NoSlot> {
            Err(NoSlot("no reference stands where one is written".to_owned()))
        })*
    };
}

impl Serializer for Capture {
    type Ok = Slot;
    type Error = NoSlot;
    type SerializeSeq = Impossible<Slot, NoSlot>;
    type SerializeTuple = Impossible<Slot, NoSlot>;
    type SerializeTupleStruct = Impossible<Slot, NoSlot>;
    type SerializeTupleVariant = Impossible<Slot, NoSlot>;
    type SerializeMap = Impossible<Slot, NoSlot>;
    type SerializeStruct = Impossible<Slot, NoSlot>;
    type SerializeStructVariant = Impossible<Slot, NoSlot>;

    #[inline(always)]
    fn serialize_bytes(self, bytes: &[u8]) -> Result<Slot, NoSlot> {
        Slot::from_transit(bytes).ok_or_else(|| NoSlot("no reference stands there".to_owned()))
    }

    no_slot! {
        serialize_bool(bool) -> Slot;
        serialize_i8(i8) -> Slot;
        serialize_i16(i16) -> Slot;
        serialize_i32(i32) -> Slot;
        serialize_i64(i64) -> Slot;
        serialize_u8(u8) -> Slot;
        serialize_u16(u16) -> Slot;
        serialize_u32(u32) -> Slot;
        serialize_u64(u64) -> Slot;
        serialize_f32(f32) -> Slot;
        serialize_f64(f64) -> Slot;
        serialize_char(char) -> Slot;
        serialize_str(&str) -> Slot;
        serialize_none() -> Slot;
        serialize_unit() -> Slot;
        serialize_unit_struct(&'static str) -> Slot;
        serialize_unit_variant(&'static str, u32, &'static str) -> Slot;
        serialize_seq(Option<usize>) -> Self::SerializeSeq;
        serialize_tuple(usize) -> Self::SerializeTuple;
        serialize_tuple_struct(&'static str, usize) -> Self::SerializeTupleStruct;
        serialize_tuple_variant(&'static str, u32, &'static str, usize)
            -> Self::SerializeTupleVariant;
        serialize_map(Option<usize>) -> Self::SerializeMap;
        serialize_struct(&'static str, usize) -> Self::SerializeStruct;
        serialize_struct_variant(&'static str, u32, &'static str, usize)
            -> Self::SerializeStructVariant;
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _: &T) -> Result<Slot, NoSlot> {
        self.serialize_unit()
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: &T,
    ) -> Result<Slot, NoSlot> {
        self.serialize_unit()
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<Slot, NoSlot> {
        self.serialize_unit()
    }
}

/// Reads the values below it, with their references put back from a list.
pub(crate) struct PuttingBack<'s, D> {
    inner: D,
    slots: &'s [Slot],
}

impl<'s, D> PuttingBack<'s, D> {
    pub(crate) const fn new(inner: D, slots: &'s [Slot]) -> Self {
        Self { inner, slots }
    }
}

macro_rules! read_under {
    ($($method:ident($($arg:ident: $type:ty),*);)*) => {
        $(#[inline]
        fn $method<V: Visitor<'de>>(
            self,
            $($arg: $type,)*
            visitor: V,
        ) -> Result<V::Value, D::Error> {
            let visitor = PuttingBack { inner: visitor, slots: self.slots };
            self.inner.$method($($arg,)* visitor)
        })*
    };
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for PuttingBack<'_, D> {
    type Error = D::Error;

    read_under! {
        deserialize_any();
        deserialize_bool();
        deserialize_i8();
        deserialize_i16();
        deserialize_i32();
        deserialize_i64();
        deserialize_i128();
        deserialize_u8();
        deserialize_u16();
        deserialize_u32();
        deserialize_u64();
        deserialize_u128();
        deserialize_f32();
        deserialize_f64();
        deserialize_char();
        deserialize_str();
        deserialize_string();
        deserialize_bytes();
        deserialize_byte_buf();
        deserialize_option();
        deserialize_unit();
        deserialize_unit_struct(name: &'static str);
        deserialize_seq();
        deserialize_tuple(len: usize);
        deserialize_tuple_struct(name: &'static str, len: usize);
        deserialize_map();
        deserialize_struct(name: &'static str, fields: &'static [&'static str]);
        deserialize_enum(name: &'static str, variants: &'static [&'static str]);
        deserialize_identifier();
        deserialize_ignored_any();
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        if name != SLOT {
            let visitor = PuttingBack {
                inner: visitor,
                slots: self.slots,
            };
            return self.inner.deserialize_newtype_struct(name, visitor);
        }
        let index = u32::deserialize(self.inner)?;
        let slot = self.slots.get(index as usize).ok_or_else(|| {
            de::Error::custom(format_args!(
                "reference {index} of {} is asked for",
                self.slots.len()
            ))
        })?;
        slot.transit(|bytes| visitor.visit_bytes(bytes))
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

macro_rules! visit_plainly {
    ($($method:ident($type:ty);)*) => {
        $(#[inline]
        fn $method<E: de::Error>(self, value: $type) -> Result<V::Value, E> {
            self.inner.$method(value)
        })*
    };
}

impl<'de, V: Visitor<'de>> Visitor<'de> for PuttingBack<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    visit_plainly! {
        visit_bool(bool);
        visit_i8(i8);
        visit_i16(i16);
        visit_i32(i32);
        visit_i64(i64);
        visit_i128(i128);
        visit_u8(u8);
        visit_u16(u16);
        visit_u32(u32);
        visit_u64(u64);
        visit_u128(u128);
        visit_f32(f32);
        visit_f64(f64);
        visit_char(char);
        visit_str(&str);
        visit_borrowed_str(&'de str);
        visit_string(String);
        visit_bytes(&[u8]);
        visit_borrowed_bytes(&'de [u8]);
        visit_byte_buf(Vec<u8>);
    }

    #[inline]
    fn visit_none<E: de::Error>(self) -> Result<V::Value, E> {
        self.inner.visit_none()
    }

    #[inline]
    fn visit_unit<E: de::Error>(self) -> Result<V::Value, E> {
        self.inner.visit_unit()
    }

    #[inline]
    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.inner.visit_some(PuttingBack {
            inner,
            slots: self.slots,
        })
    }

    #[inline]
    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.inner.visit_newtype_struct(PuttingBack {
            inner,
            slots: self.slots,
        })
    }

    #[inline]
    fn visit_seq<A: de::SeqAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        self.inner.visit_seq(PuttingBack {
            inner,
            slots: self.slots,
        })
    }

    #[inline]
    fn visit_map<A: de::MapAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        self.inner.visit_map(PuttingBack {
            inner,
            slots: self.slots,
        })
    }

    #[inline]
    fn visit_enum<A: de::EnumAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        self.inner.visit_enum(PuttingBack {
            inner,
            slots: self.slots,
        })
    }
}

impl<'de, T: DeserializeSeed<'de>> DeserializeSeed<'de> for PuttingBack<'_, T> {
    type Value = T::Value;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<T::Value, D::Error> {
        self.inner.deserialize(PuttingBack {
            inner,
            slots: self.slots,
        })
    }
}

impl<'de, A: de::SeqAccess<'de>> de::SeqAccess<'de> for PuttingBack<'_, A> {
    type Error = A::Error;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, A::Error> {
        self.inner.next_element_seed(PuttingBack {
            inner: seed,
            slots: self.slots,
        })
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'de, A: de::MapAccess<'de>> de::MapAccess<'de> for PuttingBack<'_, A> {
    type Error = A::Error;

    #[inline]
    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        self.inner.next_key_seed(PuttingBack {
            inner: seed,
            slots: self.slots,
        })
    }

    #[inline]
    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, A::Error> {
        self.inner.next_value_seed(PuttingBack {
            inner: seed,
            slots: self.slots,
        })
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'de, 's, A: de::EnumAccess<'de>> de::EnumAccess<'de> for PuttingBack<'s, A> {
    type Error = A::Error;
    type Variant = PuttingBack<'s, A::Variant>;

    #[inline]
    fn variant_seed<T: DeserializeSeed<'de>>(
        self,
        seed: T,
    ) -> Result<(T::Value, Self::Variant), A::Error> {
        let slots = self.slots;
        let (value, inner) = self
            .inner
            .variant_seed(PuttingBack { inner: seed, slots })?;
        Ok((value, PuttingBack { inner, slots }))
    }
}

impl<'de, A: de::VariantAccess<'de>> de::VariantAccess<'de> for PuttingBack<'_, A> {
    type Error = A::Error;

    #[inline]
    fn unit_variant(self) -> Result<(), A::Error> {
        self.inner.unit_variant()
    }

    #[inline]
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, A::Error> {
        self.inner.newtype_variant_seed(PuttingBack {
            inner: seed,
            slots: self.slots,
        })
    }

    #[inline]
    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        self.inner.tuple_variant(
            len,
            PuttingBack {
                inner: visitor,
                slots: self.slots,
            },
        )
    }

    #[inline]
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        self.inner.struct_variant(
            fields,
            PuttingBack {
                inner: visitor,
                slots: self.slots,
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Serialize};

    use crate::{ObjectId, Payload, Promise, PromiseId, Ref, VatId, VatNumber};

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    enum Shape {
        Unit,
        One(Ref),
        Two(Ref, u8),
        Named { to: Option<Ref>, also: Promise },
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Everything {
        shapes: Vec<Shape>,
        by_name: BTreeMap<String, (Ref, i128)>,
        text: String,
        tuple: (u8, Ref, [Option<Promise>; 2]),
        number: f64,
        letter: char,
    }

    fn object(counter: u64, export: u64) -> Ref {
        Ref::to(ObjectId::new(VatId::new(VatNumber::HOST, counter), export))
    }

    fn promise(counter: u64) -> Promise {
        Promise::pending(PromiseId::new(VatNumber::new(7), counter))
    }

    #[test]
    fn references_anywhere_in_a_value_come_back() {
        let value = Everything {
            shapes: vec![
                Shape::Unit,
                Shape::One(object(1, 0)),
                Shape::Two(object(2, 5), 9),
                Shape::Named {
                    to: Some(object(1, 0)),
                    also: promise(3),
                },
                Shape::Named {
                    to: None,
                    also: promise(4),
                },
            ],
            by_name: BTreeMap::from([("x".to_owned(), (object(3, 1), -5))]),
            text: "ü".to_owned(),
            tuple: (1, object(4, 0), [None, Some(promise(9))]),
            number: 0.5,
            letter: 'ß',
        };
        let payload = Payload::of(&value).expect("encodes");
        assert_eq!(payload.slots().len(), 8, "one for each place it stands in");
        assert_eq!(payload.decode::<Everything>(), Ok(value));
    }

    #[test]
    fn a_payload_without_references_is_plain_postcard() {
        let value = (1u32, "two".to_owned(), vec![Some(3i64), None]);
        let payload = Payload::of(&value).expect("encodes");
        assert_eq!(
            payload.bytes(),
            postcard::to_stdvec(&value).expect("encodes")
        );
        assert!(payload.slots().is_empty());
    }

    #[test]
    fn an_index_without_a_reference_is_an_error() {
        let forged = Payload::from_bytes(vec![0]);
        assert!(forged.decode::<Ref>().is_err());
        let data = Payload::of(&object(1, 0)).expect("encodes");
        assert_eq!(data.bytes(), [0]);
        assert!(
            data.decode::<Promise>().is_ok(),
            "an object is what a promise may have become"
        );
        let pending = Payload::of(&promise(1)).expect("encodes");
        assert!(pending.decode::<Ref>().is_err(), "it is no object yet");
    }
}
