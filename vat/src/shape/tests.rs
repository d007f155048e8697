// What is only read to see its shape is not used for anything.
#![allow(dead_code)]

mod random;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::marker::PhantomData;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::num::{NonZeroI64, NonZeroU8, NonZeroU32};
use std::ops::{Bound, Range, RangeInclusive};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde::de::{self, DeserializeOwned, DeserializeSeed, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::{NoShape, ShapeError, shape_of};
use crate::{Promise, Ref};

/// The types have this shape.
#[track_caller]
fn check<T: DeserializeOwned>(expected: &str) {
    assert_eq!(shape_of::<T>().as_deref(), Ok(expected));
}

/// The two types do not have the same shape.
#[track_caller]
fn check_differ<A: DeserializeOwned, B: DeserializeOwned>() {
    assert_ne!(
        shape_of::<A>().expect("has a shape"),
        shape_of::<B>().expect("has a shape")
    );
}

/// The type has no shape. Returns why.
#[track_caller]
fn fails<T: DeserializeOwned>() -> ShapeError {
    shape_of::<T>().expect_err("has no shape")
}

#[test]
fn primitives_have_their_names() {
    check::<bool>("bool");
    check::<(u8, u16, u32, u64, u128)>("(u8, u16, u32, u64, u128)");
    check::<(i8, i16, i32, i64, i128)>("(i8, i16, i32, i64, i128)");
    check::<(f32, f64, char)>("(f32, f64, char)");
    check::<usize>("u64");
    check::<isize>("i64");
    check::<()>("unit");
    check::<PhantomData<u8>>("unit");
    check::<String>("string");
    check::<Box<str>>("string");
    check::<Cow<'static, str>>("string");
    check::<PathBuf>("string");
    check::<std::ffi::CString>("bytes");
}

#[test]
fn collections_say_what_is_in_them_and_not_what_they_are() {
    check::<Vec<u8>>("[u8]");
    check::<VecDeque<u8>>("[u8]");
    check::<BTreeSet<u8>>("[u8]");
    check::<Box<[u8]>>("[u8]");
    check::<BTreeMap<String, u64>>("{string => u64}");
    check::<HashMap<String, u64>>("{string => u64}");
    check::<Option<u8>>("?u8");
    check::<Option<Option<Vec<Option<u8>>>>>("??[?u8]");
    check::<Box<u8>>("u8");
    check::<Cow<'static, [u8]>>("[u8]");
}

#[test]
fn arrays_and_tuples_have_a_length() {
    check::<[u8; 32]>("(u8; 32)");
    check::<[u64; 3]>("(u64; 3)");
    check::<(u64, u64, u64)>("(u64; 3)");
    check::<(u64, u32, u64)>("(u64, u32, u64)");
    check::<(u64,)>("(u64)");
    check::<[u8; 0]>("()");
    check::<[Option<(u8, Result<u8, String>)>; 2]>("(?(u8, Ok(u8) | Err(string)); 2)");
}

#[test]
fn types_of_std_that_check_their_values() {
    check::<Duration>("{secs: u64, nanos: u32}");
    check::<SystemTime>("{secs_since_epoch: u64, nanos_since_epoch: u32}");
    check::<(NonZeroU8, NonZeroU32, NonZeroI64)>("(u8, u32, i64)");
    check::<[NonZeroU8; 32]>("(u8; 32)");
    check::<IpAddr>("V4((u8; 4)) | V6((u8; 16))");
    check::<SocketAddr>("V4(((u8; 4), u16)) | V6(((u8; 16), u16))");
    check::<Ipv6Addr>("(u8; 16)");
    check::<Result<u8, String>>("Ok(u8) | Err(string)");
    check::<Range<u8>>("{start: u8, end: u8}");
    check::<RangeInclusive<u8>>("{start: u8, end: u8}");
    check::<Bound<u8>>("Unbounded | Included(u8) | Excluded(u8)");
    check::<std::cmp::Reverse<u8>>("u8");
    check::<std::num::Wrapping<u8>>("u8");
    check::<std::sync::Mutex<u8>>("u8");
    check::<std::cell::RefCell<u8>>("u8");
}

#[derive(Deserialize)]
struct Account {
    owner: Ref,
    #[serde(rename = "balance")]
    sum: u128,
    #[serde(skip)]
    cache: Vec<u8>,
    #[serde(default)]
    notes: Vec<String>,
}

#[test]
fn a_struct_lists_what_stands_in_bytes_under_the_names_of_serde() {
    check::<Account>("{owner: ref, balance: u128, notes: [string]}");
    #[derive(Deserialize)]
    struct Nothing;
    #[derive(Deserialize)]
    struct Empty {}
    #[derive(Deserialize)]
    struct Pair(u8, String);
    check::<Nothing>("unit");
    check::<Empty>("{}");
    check::<Pair>("(u8, string)");
}

#[test]
fn the_name_of_a_type_and_newtypes_around_it_do_not_count() {
    mod other {
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "lowercase")]
        pub struct Konto {
            pub owner: Address,
            #[serde(rename = "balance")]
            pub amount: Amount,
            pub notes: std::collections::VecDeque<Box<str>>,
        }
        #[derive(serde::Deserialize)]
        pub struct Address(crate::Promise);
        #[derive(serde::Deserialize)]
        #[serde(transparent)]
        pub struct Amount {
            pub amount: u128,
        }
    }
    assert_eq!(shape_of::<other::Konto>(), shape_of::<Account>());
}

#[test]
fn whatever_changes_the_bytes_or_a_name_changes_the_text() {
    macro_rules! type_of {
        ($($body:tt)*) => {{
            #[derive(Deserialize)]
            $($body)*
            shape_of::<T>().expect("has a shape")
        }};
    }
    let all = [
        type_of!(
            struct T {
                a: u32,
                b: u32,
            }
        ),
        type_of!(
            struct T {
                b: u32,
                a: u32,
            }
        ),
        type_of!(
            struct T {
                a: u32,
                c: u32,
            }
        ),
        type_of!(
            struct T {
                a: u32,
            }
        ),
        type_of!(
            struct T {
                a: u32,
                b: u32,
                c: u32,
            }
        ),
        type_of!(
            struct T {
                a: u32,
                b: u64,
            }
        ),
        type_of!(
            struct T {
                a: u32,
                b: i32,
            }
        ),
        type_of!(
            struct T {
                a: u32,
                b: Option<u32>,
            }
        ),
        type_of!(
            struct T {
                a: u32,
                b: Vec<u32>,
            }
        ),
        type_of!(
            struct T {
                a: u32,
                b: [u32; 1],
            }
        ),
        type_of!(
            struct T {
                a: u32,
                b: [u32; 2],
            }
        ),
        type_of!(
            struct T(u32, u32);
        ),
        type_of!(
            enum T {
                A,
                B,
            }
        ),
        type_of!(
            enum T {
                B,
                A,
            }
        ),
        type_of!(
            enum T {
                A,
                C,
            }
        ),
        type_of!(
            enum T {
                A,
                B,
                C,
            }
        ),
        type_of!(
            enum T {
                A,
            }
        ),
        type_of!(
            enum T {
                A,
                B(u8),
            }
        ),
        type_of!(
            enum T {
                A,
                B(u16),
            }
        ),
        type_of!(
            enum T {
                A,
                B(u8, u8),
            }
        ),
        type_of!(
            enum T {
                A,
                B { a: u8, b: u8 },
            }
        ),
        type_of!(
            enum T {
                A,
                B { b: u8, a: u8 },
            }
        ),
    ];
    let distinct: BTreeSet<_> = all.iter().collect();
    assert_eq!(distinct.len(), all.len(), "{all:#?}");
}

#[derive(Deserialize)]
enum Event {
    Opened,
    Paid(u64),
    Moved(u64, Option<Promise>),
    Failed { code: Code, at: u64 },
    Marked(Code),
    Listed(Vec<Code>),
}

#[derive(Deserialize)]
enum Code {
    Mild,
    Severe(Result<u8, String>),
}

#[test]
fn enums_list_their_variants_whole_and_in_order() {
    const CODE: &str = "Mild | Severe(Ok(u8) | Err(string))";
    check::<Code>(CODE);
    check::<Event>(&format!(
        "Opened | Paid(u64) | Moved(u64, ?ref) | Failed{{code: {CODE}, at: u64}} | Marked({CODE}) \
         | Listed([{CODE}])"
    ));
    check::<Option<Code>>(&format!("?<{CODE}>"));
    check::<BTreeMap<u8, Vec<Option<Code>>>>(&format!("{{u8 => [?<{CODE}>]}}"));
}

#[test]
fn names_cannot_be_mistaken_for_shapes() {
    #[derive(Deserialize)]
    enum One {
        #[serde(rename = "u8")]
        _A,
    }
    #[derive(Deserialize)]
    struct Odd {
        #[serde(rename = "a: u8, b")]
        a: One,
        größe: u8,
    }
    check::<One>("<u8>");
    check::<Option<One>>("?<u8>");
    check_differ::<One, u8>();
    check::<Odd>(r#"{"a: u8, b": <u8>, größe: u8}"#);
}

#[test]
fn what_a_promise_comes_to_is_a_part_of_its_shape() {
    check::<Promise<u64>>("{\"a promise\": ref, of: u64}");
    check::<Option<Promise<(i64, Ref)>>>("?{\"a promise\": ref, of: (i64, ref)}");
    check::<Promise<Vec<Promise<bool>>>>(
        "{\"a promise\": ref, of: [{\"a promise\": ref, of: bool}]}",
    );
    #[derive(Deserialize)]
    struct Chain {
        next: Option<Promise<Chain>>,
    }
    check::<Chain>("{next: ?{\"a promise\": ref, of: ^3}}");
}

#[test]
fn references_and_promises_are_one_thing_in_bytes() {
    check::<Ref>("ref");
    check::<Promise>("ref");
    check::<Option<Promise>>("?ref");
    check::<BTreeMap<u8, (Ref, Promise)>>("{u8 => (ref; 2)}");

    #[derive(Deserialize)]
    #[serde(try_from = "Promise")]
    struct Pending;
    impl TryFrom<Promise> for Pending {
        type Error = &'static str;
        fn try_from(promise: Promise) -> Result<Self, Self::Error> {
            promise.id().map(|_| Self).ok_or("it is an object")
        }
    }
    check::<(Pending, u8)>("(ref, u8)");
}

#[test]
fn generic_types_are_told_apart_by_what_they_hold() {
    #[derive(Deserialize)]
    struct Versioned<T> {
        version: u32,
        value: T,
    }
    check::<Versioned<Versioned<u8>>>("{version: u32, value: {version: u32, value: u8}}");
    check::<(Versioned<u8>, Versioned<String>)>(
        "({version: u32, value: u8}, {version: u32, value: string})",
    );
}

#[test]
fn what_stands_twice_is_written_twice() {
    #[derive(Deserialize)]
    struct Order {
        give: Option<Code>,
        take: Option<Code>,
    }
    const CODE: &str = "?<Mild | Severe(Ok(u8) | Err(string))>";
    check::<Order>(&format!("{{give: {CODE}, take: {CODE}}}"));
}

mod recursive {
    use super::*;

    #[derive(Deserialize)]
    pub struct Tree {
        pub children: Vec<Tree>,
        pub parent: Option<Box<Tree>>,
        pub by_name: BTreeMap<String, Tree>,
        pub value: Code,
    }

    #[derive(Deserialize)]
    pub enum LeafFirst {
        Leaf(u8),
        Node(Box<LeafFirst>, Box<LeafFirst>),
    }

    #[derive(Deserialize)]
    pub enum LeafLast {
        Node(Code, Box<LeafLast>, Box<LeafLast>),
        Boxed(Box<LeafLast>),
        Named {
            left: Box<LeafLast>,
            right: Option<Box<LeafLast>>,
        },
        Leaf(u8),
    }

    #[derive(Deserialize)]
    pub struct Nested(pub Vec<Nested>);

    #[derive(Deserialize)]
    pub struct Chain(pub u8, pub Option<Box<Chain>>);

    #[derive(Deserialize)]
    pub enum Expr {
        Block(Block),
        Call { name: String, args: Vec<Expr> },
        If(Box<Expr>, Block, Option<Block>),
        Typed(Box<Expr>, Type),
        Number(i64),
    }

    #[derive(Deserialize)]
    pub struct Block {
        pub first: Box<Statement>,
        pub rest: Vec<Statement>,
    }

    #[derive(Deserialize)]
    pub enum Statement {
        Let(u8, Type, Expr),
        Return(Expr),
    }

    #[derive(Deserialize)]
    pub enum Type {
        Array(Box<Type>, Box<Expr>),
        Inferred,
    }

    /// A leaf must weigh enough, and so must what is around it.
    #[derive(Deserialize)]
    pub enum Crate {
        Full(Weighed),
        Empty,
    }

    #[derive(Deserialize)]
    #[serde(try_from = "Unweighed")]
    pub struct Weighed;

    #[derive(Deserialize)]
    pub struct Unweighed {
        weight: u8,
        beside: Option<Box<Weighed>>,
        inside: Vec<Crate>,
        under: Box<Crate>,
    }

    impl TryFrom<Unweighed> for Weighed {
        type Error = &'static str;

        fn try_from(crates: Unweighed) -> Result<Self, Self::Error> {
            match crates.weight > 50 && crates.inside.len() > 1 {
                true => Ok(Self),
                false => Err("too light"),
            }
        }
    }

    #[derive(Deserialize)]
    pub struct Endless {
        pub again: Box<Endless>,
    }

    #[derive(Deserialize)]
    pub enum AlsoEndless {
        Once(u8, Box<AlsoEndless>),
        Twice(Option<u8>, Box<AlsoEndless>, Box<AlsoEndless>),
    }

    #[derive(Deserialize)]
    pub struct Checked {
        pub inner: Option<Box<Checked>>,
        #[serde(deserialize_with = "at_least_two")]
        pub codes: Vec<Code>,
        pub inners: Vec<Checked>,
    }

    fn at_least_two<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Code>, D::Error> {
        let codes = Vec::deserialize(deserializer)?;
        if codes.len() < 2 {
            return Err(de::Error::custom("fewer than two"));
        }
        Ok(codes)
    }
}

#[test]
fn a_type_that_contains_itself_refers_to_the_shape_around_it() {
    const CODE: &str = "Mild | Severe(Ok(u8) | Err(string))";
    check::<recursive::Tree>(&format!(
        "{{children: [^2], parent: ?^2, by_name: {{string => ^2}}, value: {CODE}}}"
    ));
    check::<recursive::LeafFirst>("Leaf(u8) | Node(^2; 2)");
    check::<recursive::LeafLast>(&format!(
        "Node({CODE}, ^2, ^2) | Boxed(^2) | Named{{left: ^2, right: ?^3}} | Leaf(u8)"
    ));
    check::<recursive::Crate>("Full({weight: u8, beside: ?^2, inside: [^4], under: ^3}) | Empty");
    check::<recursive::Nested>("[^1]");
    check::<Vec<recursive::Nested>>("[[^1]]");
    check::<recursive::Chain>("(u8, ?^2)");
    check::<Option<recursive::Chain>>("?(u8, ?^2)");
    check::<(recursive::Chain, recursive::Nested)>("((u8, ?^2), [^1])");
    check::<recursive::Checked>(&format!("{{inner: ?^2, codes: [{CODE}], inners: [^2]}}"));
}

#[test]
fn types_that_contain_each_other_come_to_an_end() {
    let text = shape_of::<recursive::Expr>().expect("has a shape");
    assert_eq!(text, shape_of::<recursive::Expr>().expect("has a shape"));
    assert!(
        text.starts_with("Block({first: Let(u8, Array(^2, ^7) | Inferred, ^5)"),
        "{text}"
    );
    assert!(text.ends_with(" | Number(i64)"), "{text}");
    let other = shape_of::<recursive::Statement>().expect("has a shape");
    assert!(other.starts_with("Let(u8, Array(^2, Block("), "{other}");
    shape_of::<recursive::Type>().expect("has a shape");
    shape_of::<recursive::Block>().expect("has a shape");
}

#[test]
fn a_type_whose_values_would_never_end_is_refused() {
    let error = fails::<recursive::Endless>();
    assert!(
        error.to_string().contains("a value of it would never end"),
        "{error}"
    );
    let error = fails::<(u8, Vec<recursive::AlsoEndless>, u8)>();
    assert!(
        error.to_string().contains("a value of it would never end"),
        "{error}"
    );
    assert!(error.path.starts_with("1[]"), "{error}");
}

/// A hash, written as hexadecimal digits.
#[derive(Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(try_from = "String")]
struct Hash<const BYTES: usize>;

impl<const BYTES: usize> TryFrom<String> for Hash<BYTES> {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let is_hex = text.chars().all(|digit| digit.is_ascii_hexdigit());
        match is_hex && text.len() == 2 * BYTES {
            true => Ok(Self),
            false => Err(format!("`{text}` is no hash of {BYTES} bytes")),
        }
    }
}

/// A price that is not zero and says of what.
#[derive(Deserialize)]
#[serde(try_from = "UncheckedPrice")]
struct Price;

#[derive(Deserialize)]
struct UncheckedPrice {
    currency: String,
    least: Option<u64>,
    most: u64,
    tags: Vec<u8>,
    kind: Code,
}

impl TryFrom<UncheckedPrice> for Price {
    type Error = &'static str;

    fn try_from(price: UncheckedPrice) -> Result<Self, Self::Error> {
        let checks = [
            (price.currency.len() == 3, "no currency"),
            (
                price.least.is_some_and(|least| least < price.most),
                "no range",
            ),
            (price.tags.len() > 1, "too few tags"),
            (matches!(price.kind, Code::Severe(Err(_))), "it is mild"),
        ];
        match checks.into_iter().find(|(holds, _)| !holds) {
            Some((_, why)) => Err(why),
            None => Ok(Self),
        }
    }
}

#[test]
fn values_that_are_checked_are_found_by_trying() {
    check::<(Hash<20>, Hash<32>, Hash<1>, String)>("(string; 4)");
    check::<BTreeMap<u8, Option<Hash<32>>>>("{u8 => ?string}");
    const PRICE: &str = "{currency: string, least: ?u64, most: u64, tags: [u8], \
                         kind: Mild | Severe(Ok(u8) | Err(string))}";
    check::<Price>(PRICE);
    check::<Vec<(Price, u8, Hash<20>)>>(&format!("[({PRICE}, u8, string)]"));
    check::<[Option<Price>; 3]>(&format!("(?{PRICE}; 3)"));
}

#[test]
fn variants_that_are_refused_later_are_seen_all_the_same() {
    #[derive(Deserialize)]
    #[serde(try_from = "Code")]
    struct Mild;
    impl TryFrom<Code> for Mild {
        type Error = &'static str;
        fn try_from(code: Code) -> Result<Self, Self::Error> {
            match code {
                Code::Mild => Ok(Self),
                Code::Severe(_) => Err("it is severe"),
            }
        }
    }
    check::<(Mild, u8)>("(Mild | Severe(Ok(u8) | Err(string)), u8)");
}

#[test]
fn bytes_of_a_certain_length_are_found() {
    struct Bytes<const N: usize>;
    impl<'de, const N: usize> Deserialize<'de> for Bytes<N> {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_bytes(Self)
        }
    }
    impl<'de, const N: usize> Visitor<'de> for Bytes<N> {
        type Value = Self;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{N} bytes that are not all zero")
        }
        fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Self, E> {
            match bytes.len() == N && bytes.iter().any(|&byte| byte != 0) {
                true => Ok(self),
                false => Err(E::invalid_length(bytes.len(), &self)),
            }
        }
    }
    check::<(Bytes<16>, Bytes<32>, Bytes<20>)>("(bytes; 3)");
}

#[test]
fn a_fixed_number_of_elements_in_a_sequence_is_found() {
    fn three<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[Code; 3], D::Error> {
        let all = Vec::deserialize(deserializer)?;
        all.try_into()
            .map_err(|_| de::Error::custom("there must be three"))
    }
    #[derive(Deserialize)]
    struct Three {
        #[serde(deserialize_with = "three")]
        codes: [Code; 3],
        after: u8,
    }
    check::<Three>("{codes: [Mild | Severe(Ok(u8) | Err(string))], after: u8}");
}

#[test]
fn several_fields_with_functions_of_their_own_are_kept_apart() {
    mod as_text {
        use super::*;
        pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u8, D::Error> {
            String::deserialize(from)?
                .parse()
                .map_err(de::Error::custom)
        }
    }
    mod as_pair {
        use super::*;
        pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u8, D::Error> {
            <(u8, bool)>::deserialize(from).map(|pair| pair.0)
        }
    }
    #[derive(Deserialize)]
    struct Both {
        #[serde(with = "as_text")]
        text: u8,
        #[serde(with = "as_pair")]
        pair: u8,
        plain: u8,
    }
    check::<Both>("{text: string, pair: (u8, bool), plain: u8}");
}

#[test]
fn aliases_stand_in_the_text_since_nobody_says_whose_they_are() {
    #[derive(Deserialize)]
    struct Renamed {
        #[serde(alias = "old")]
        new: u8,
        other: Turned,
    }
    #[derive(Deserialize)]
    enum Turned {
        #[serde(alias = "Was")]
        Is(u8),
        Other,
    }
    check::<Turned>("<Is, Was, Other: 0(u8) | 1>");
    check::<Option<Turned>>("?<Is, Was, Other: 0(u8) | 1>");
    check::<Renamed>("{new, old, other: u8, <Is, Was, Other: 0(u8) | 1>}");
}

#[test]
fn what_asks_the_bytes_what_they_are_is_refused() {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Untagged {
        Number(u8),
        Text(String),
    }
    #[derive(Deserialize)]
    #[serde(tag = "type")]
    enum Tagged {
        Number { number: u8 },
    }
    #[derive(Deserialize)]
    #[serde(tag = "type", content = "content")]
    enum Adjacent {
        Number(u8),
    }
    #[derive(Deserialize)]
    struct Flat {
        #[serde(flatten)]
        inner: Account,
    }
    #[derive(Deserialize)]
    struct Outer<T> {
        orders: Vec<(u8, Option<T>)>,
    }
    let error = fails::<Outer<Untagged>>();
    assert_eq!(error.why, NoShape::AsksTheBytes);
    assert_eq!(error.path, "orders[].1");
    assert!(error.type_name.contains("Untagged"), "{error}");
    assert!(
        error.to_string().contains("cannot be read back either"),
        "{error}"
    );
    assert_eq!(fails::<Tagged>().why, NoShape::AsksTheBytes);
    assert_eq!(fails::<Outer<Adjacent>>().why, NoShape::AsksTheBytes);
    assert_eq!(fails::<Outer<Flat>>().why, NoShape::AsksTheBytes);
    assert_eq!(fails::<de::IgnoredAny>().why, NoShape::AsksTheBytes);
}

#[derive(Deserialize)]
#[serde(try_from = "u64")]
struct Never;

impl TryFrom<u64> for Never {
    type Error = String;

    fn try_from(number: u64) -> Result<Self, String> {
        Err(format!("{number} is not what was wanted"))
    }
}

#[test]
fn a_type_that_takes_nothing_is_named_with_its_place_and_what_it_said() {
    #[derive(Deserialize)]
    struct Order {
        amount: u64,
        price: Never,
    }
    #[derive(Deserialize)]
    enum Entry {
        None,
        Some { by_name: BTreeMap<String, Order> },
    }
    #[derive(Deserialize)]
    struct Book {
        entries: Vec<Entry>,
        after: u8,
    }
    let error = fails::<Book>();
    assert_eq!(error.path, "entries[]::Some.by_name{value}.price");
    assert!(error.type_name.ends_with("::Never"), "{error}");
    let said = "0 is not what was wanted".to_owned();
    assert_eq!(error.why, NoShape::Refuses { said });
    let text = error.to_string();
    assert!(text.contains("implement `Deserialize` so that"), "{text}");
    let error = fails::<Never>();
    assert_eq!(error.path, "");
    assert!(
        error
            .to_string()
            .starts_with("`crankcase_vat::shape::tests::Never` accepts none")
    );
}

/// Runs a function in place of a `Deserialize`.
macro_rules! hostile {
    ($name:ident, $deserializer:ident => $body:expr) => {
        struct $name;
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>($deserializer: D) -> Result<Self, D::Error> {
                $body
            }
        }
    };
}

#[test]
fn a_type_that_panics_is_an_error() {
    hostile!(Panics, from => match u8::deserialize(from)? {
        0 => panic!("no zero, please"),
        _ => Ok(Self),
    });
    let error = fails::<(u8, Vec<Panics>)>();
    assert_eq!(error.path, "1[]");
    let said = "no zero, please".to_owned();
    assert_eq!(error.why, NoShape::Panics { said });
}

#[test]
fn a_type_that_reads_nothing_has_no_bytes() {
    hostile!(Silent, _from => Ok(Self));
    check::<(Silent, u8)>("(unit, u8)");
}

#[test]
fn a_type_that_is_too_deep_or_too_wide_is_an_error() {
    struct Deep;
    impl<'de> Deserialize<'de> for Deep {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_seq(Self)
        }
    }
    impl<'de> Visitor<'de> for Deep {
        type Value = Self;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("itself")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<Self, A::Error> {
            while all.next_element::<Self>()?.is_some() {}
            Ok(self)
        }
    }
    assert_eq!(fails::<Deep>().why, NoShape::TooLarge);

    struct Wide;
    impl<'de> Deserialize<'de> for Wide {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_tuple(usize::MAX, Self)
        }
    }
    impl<'de> Visitor<'de> for Wide {
        type Value = Self;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("everything")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<Self, A::Error> {
            while all.next_element::<u8>()?.is_some() {}
            Ok(self)
        }
    }
    assert_eq!(fails::<Wide>().why, NoShape::TooLarge);
}

#[test]
fn a_type_that_asks_for_this_and_that_is_an_error() {
    struct Either;
    impl<'de> Deserialize<'de> for Either {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_seq(Self)
        }
    }
    impl<'de> Visitor<'de> for Either {
        type Value = Self;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a number and a text")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<Self, A::Error> {
            let too_short = || de::Error::custom("too short");
            all.next_element::<u8>()?.ok_or_else(too_short)?;
            all.next_element::<String>()?.ok_or_else(too_short)?;
            Ok(self)
        }
    }
    let error = fails::<Either>();
    let (before, now) = ("u8".to_owned(), "string".to_owned());
    assert_eq!(error.why, NoShape::Wavers { before, now });
    assert_eq!(error.path, "[]");
}

#[test]
fn a_type_that_swallows_errors_is_taken_as_it_is() {
    hostile!(Lenient, from => Ok(u8::deserialize(from).map_or(Self, |_| Self)));
    hostile!(Forgiving, from => Ok(Never::deserialize(from).map_or(Self, |_| Self)));
    hostile!(Blind, from => Ok(de::IgnoredAny::deserialize(from).map_or(Self, |_| Self)));
    check::<(Lenient, Forgiving)>("(u8, u64)");
    assert_eq!(fails::<(Blind, u8)>().why, NoShape::AsksTheBytes);
}

#[test]
fn seeds_that_are_no_types_work_as_well() {
    struct Matrix;
    struct Row(usize);
    impl<'de> Deserialize<'de> for Matrix {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            Row(2).deserialize(deserializer)?;
            Ok(Self)
        }
    }
    impl<'de> DeserializeSeed<'de> for Row {
        type Value = ();
        fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
            match self.0 {
                0 => u8::deserialize(deserializer).map(drop),
                _ => deserializer.deserialize_seq(self),
            }
        }
    }
    impl<'de> Visitor<'de> for Row {
        type Value = ();
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("rows")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<(), A::Error> {
            while all.next_element_seed(Row(self.0 - 1))?.is_some() {}
            Ok(())
        }
    }
    check::<Matrix>("[[u8]]");
}

#[test]
fn a_large_type_has_a_shape() {
    macro_rules! wide {
        ($name:ident of $inner:ty) => {
            #[derive(Deserialize)]
            struct $name {
                a: Vec<$inner>,
                b: Option<$inner>,
                c: BTreeMap<Hash<32>, $inner>,
                d: [$inner; 2],
                e: Result<$inner, Event>,
            }
        };
    }
    wide!(First of Event);
    wide!(Second of First);
    wide!(Third of Second);
    let text = shape_of::<Third>().expect("has a shape");
    assert!(text.len() > 10_000, "{}", text.len());
}
