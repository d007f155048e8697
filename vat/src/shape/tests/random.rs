//! Types made up at random: their shape is what they were made of, whatever they check.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use proptest::prelude::*;
use serde::de::{
    self, Deserialize, DeserializeSeed, Deserializer, EnumAccess, SeqAccess, VariantAccess, Visitor,
};

use crate::shape_of;

type Names = &'static [&'static str];

/// What a type is made of, and which values it takes. The size of a value is a number, the length
/// of a text or a sequence, how many there are of an option, the index of a variant, or the sizes
/// of parts together.
#[derive(Debug, Clone)]
enum Spec {
    Number(u64),
    Text(u64),
    /// Of sizes from the one to the other.
    Option(Box<Spec>, u64, u64),
    Seq(Box<Spec>, u64),
    Tuple(Vec<Spec>),
    Struct(Names, Vec<Spec>, u64),
    /// All but the first may be refused, and it is the last that is not.
    Enum(Names, Vec<Option<Spec>>, u64),
    /// An enum that stands around it, counted from the inside.
    Back(usize),
}

/// Where a [`Spec`] stands: the enums around it.
type Around<'s> = Vec<&'s Spec>;

struct Reading<'s> {
    spec: &'s Spec,
    around: Around<'s>,
}

impl<'s> Reading<'s> {
    fn inside(&self, spec: &'s Spec) -> Self {
        let mut around = self.around.clone();
        if let Spec::Enum(..) = self.spec {
            around.push(self.spec);
        }
        Reading { spec, around }
    }
}

impl<'de> DeserializeSeed<'de> for Reading<'_> {
    type Value = u64;

    fn deserialize<D: Deserializer<'de>>(mut self, from: D) -> Result<u64, D::Error> {
        if let Spec::Back(count) = self.spec {
            let index = self.around.len() - 1 - count % self.around.len();
            self.spec = self.around[index];
            self.around.truncate(index);
        }
        let (size, least, most) = match self.spec {
            Spec::Number(least) => (u8::deserialize(from)?.into(), *least, u64::MAX),
            Spec::Text(least) => (String::deserialize(from)?.len() as u64, *least, u64::MAX),
            Spec::Option(_, least, most) => (from.deserialize_option(self)?, *least, *most),
            Spec::Seq(_, least) => (from.deserialize_seq(self)?, *least, u64::MAX),
            Spec::Tuple(parts) => (from.deserialize_tuple(parts.len(), self)?, 0, u64::MAX),
            Spec::Struct(names, _, least) => {
                (from.deserialize_struct("S", names, self)?, *least, u64::MAX)
            }
            Spec::Enum(names, _, least) => {
                (from.deserialize_enum("E", names, self)?, *least, u64::MAX)
            }
            Spec::Back(_) => unreachable!(),
        };
        match least <= size && size <= most {
            true => Ok(size),
            false => Err(de::Error::custom(format_args!("{size} is a bad size"))),
        }
    }
}

impl<'de> Visitor<'de> for Reading<'_> {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.spec)
    }

    fn visit_none<E>(self) -> Result<u64, E> {
        Ok(0)
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<u64, D::Error> {
        match self.spec {
            Spec::Option(inner, ..) => self.inside(inner).deserialize(from).map(|_| 1),
            _ => unreachable!(),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<u64, A::Error> {
        let mut size = 0;
        match self.spec {
            Spec::Seq(inner, _) => {
                while from.next_element_seed(self.inside(inner))?.is_some() {
                    size += 1;
                }
            }
            Spec::Tuple(parts) | Spec::Struct(_, parts, _) => {
                for part in parts {
                    size += from.next_element_seed(self.inside(part))?.unwrap_or(0);
                }
            }
            _ => unreachable!(),
        }
        Ok(size)
    }

    fn visit_enum<A: EnumAccess<'de>>(self, from: A) -> Result<u64, A::Error> {
        let Spec::Enum(_, variants, _) = self.spec else {
            unreachable!()
        };
        let (index, held) = from.variant::<u32>()?;
        match &variants[index as usize] {
            None => held.unit_variant()?,
            Some(inner) => {
                held.newtype_variant_seed(self.inside(inner))?;
            }
        }
        Ok(index.into())
    }
}

/// The text that the type should have; `around` has, from the outside, what counts for `^`.
fn text<'s>(spec: &'s Spec, around: &mut Vec<Option<&'s Spec>>) -> String {
    if let Spec::Back(count) = spec {
        let is_enum = |spec: &Option<&Spec>| matches!(spec, Some(Spec::Enum(..)));
        let enums = around.iter().filter(|spec| is_enum(spec)).count();
        let mut inner = around.iter().rev().enumerate();
        let mut found = inner.by_ref().filter(|(_, spec)| is_enum(spec));
        return format!("^{}", found.nth(count % enums).expect("in an enum").0 + 1);
    }
    around.push(Some(spec));
    let mut all = |parts: &'s [Spec]| -> Vec<String> {
        parts.iter().map(|part| text(part, around)).collect()
    };
    let written = match spec {
        Spec::Number(_) => "u8".to_owned(),
        Spec::Text(_) => "string".to_owned(),
        Spec::Option(inner, ..) => match **inner {
            Spec::Enum(..) => format!("?<{}>", text(inner, around)),
            _ => format!("?{}", text(inner, around)),
        },
        Spec::Seq(inner, _) => format!("[{}]", text(inner, around)),
        Spec::Tuple(parts) => match &*all(parts) {
            [first, others @ ..] if !others.is_empty() && others.iter().all(|p| p == first) => {
                format!("({first}; {})", parts.len())
            }
            parts => format!("({})", parts.join(", ")),
        },
        Spec::Struct(names, parts, _) => {
            let fields = names.iter().zip(all(parts));
            let fields: Vec<_> = fields
                .map(|(name, part)| format!("{name}: {part}"))
                .collect();
            format!("{{{}}}", fields.join(", "))
        }
        Spec::Enum(names, variants, _) => {
            let mut written = Vec::new();
            for (name, variant) in names.iter().zip(variants) {
                around.push(None);
                written.push(match variant {
                    None => (*name).to_owned(),
                    Some(inner) => format!("{name}({})", text(inner, around)),
                });
                around.pop();
            }
            written.join(" | ")
        }
        Spec::Back(_) => unreachable!(),
    };
    around.pop();
    written
}

/// Gives all fields and variants names of their own. That tells apart what the name of its visitor
/// does not tell apart here.
fn name(spec: &mut Spec, given: &mut usize) {
    let mut fresh = |count: usize| -> Names {
        let first = *given;
        *given += count;
        let names = (first..*given).map(|number| &*format!("n{number}").leak());
        names.collect::<Vec<_>>().leak()
    };
    match spec {
        Spec::Number(_) | Spec::Text(_) | Spec::Back(_) => {}
        Spec::Option(inner, ..) | Spec::Seq(inner, _) => name(inner, given),
        Spec::Tuple(parts) => parts.iter_mut().for_each(|part| name(part, given)),
        Spec::Struct(names, parts, _) => {
            *names = fresh(parts.len());
            parts.iter_mut().for_each(|part| name(part, given));
        }
        Spec::Enum(names, variants, _) => {
            *names = fresh(variants.len());
            variants
                .iter_mut()
                .flatten()
                .for_each(|part| name(part, given));
        }
    }
}

/// Types that check all kinds of things, or types that contain themselves and check sums.
fn specs(recursive: bool) -> impl Strategy<Value = Spec> {
    let some = move |most: u64| prop_oneof![3 => Just(0), 1 => 0..if recursive { 1 } else { most }];
    let leaf = prop_oneof![
        some(60).prop_map(Spec::Number),
        some(20).prop_map(Spec::Text),
        (0usize..3).prop_map(move |count| if recursive {
            Spec::Back(count)
        } else {
            Spec::Number(0)
        }),
    ];
    let spec = leaf.prop_recursive(7, 150, 8, move |inner| {
        let parts = |range| prop::collection::vec(inner.clone(), range);
        let variants = prop::collection::vec(prop::option::of(inner.clone()), 1..8);
        prop_oneof![
            (inner.clone(), some(2), some(2)).prop_map(|(inner, least, most)| {
                Spec::Option(Box::new(inner), least, least.max(1 - most))
            }),
            (inner.clone(), some(4)).prop_map(|(inner, least)| Spec::Seq(Box::new(inner), least)),
            parts(0..5).prop_map(Spec::Tuple),
            parts(1..8).prop_map(|parts| Spec::Struct(&[], parts, 0)),
            parts(0..8).prop_map(|mut parts| {
                parts.insert(0, Spec::Number(0));
                Spec::Struct(&[], parts, 50)
            }),
            (variants, some(2)).prop_map(|(mut variants, least)| {
                variants.push(None);
                Spec::Enum(&[], variants, least)
            }),
        ]
    });
    spec.prop_map(|spec| {
        let mut spec = Spec::Enum(&[], vec![Some(spec), None], 0);
        name(&mut spec, &mut 0);
        spec
    })
}

thread_local!(static SPEC: RefCell<Rc<Spec>> = RefCell::new(Rc::new(Spec::Number(0))));

struct AsSpecified;

impl<'de> Deserialize<'de> for AsSpecified {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let spec = SPEC.with(|spec| Rc::clone(&spec.borrow()));
        let (spec, around) = (&*spec, Vec::new());
        Reading { spec, around }.deserialize(from).map(|_| Self)
    }
}

/// The type has the shape that it was made of.
#[track_caller]
fn check(spec: Spec) {
    let expected = text(&spec, &mut Vec::new());
    SPEC.with(|now| *now.borrow_mut() = Rc::new(spec));
    assert_eq!(shape_of::<AsSpecified>(), Ok(expected));
}

proptest! {
    #[test]
    fn types_that_check_their_values(spec in specs(false)) {
        check(spec);
    }

    #[test]
    fn types_that_contain_themselves(spec in specs(true)) {
        check(spec);
    }
}
