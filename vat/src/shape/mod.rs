//! How values of a type stand in bytes, found out from its `Deserialize` alone.
//!
//! The encoding is not self-describing: bytes that were written with one type and are read with
//! another can come out as a value all the same. So whoever keeps bytes keeps the shape of their
//! type beside them, and compares it before it reads them.
//!
//! A type says what it expects in the bytes by what it asks a deserializer for. [`hand`] is a
//! deserializer without bytes: it notes what is asked for and hands over made-up values. One pass
//! over the type sees one variant of each enum, so [`trace`] makes as many passes as it takes, and
//! decides what is handed over in each. [`text`] writes down what was seen. The manner is that of
//! the `serde-reflection` crate.
//!
//! ```text
//! shape:   bool  i8 … i128  u8 … u128  f32  f64  char  string  bytes  unit  ref
//!          ?shape                   one or none
//!          [shape]                  any number
//!          {shape => shape}         any number of entries
//!          (shape, shape, …)        one after the other; (shape; 3) when three are alike
//!          {name: shape, …}         a struct
//!          {"a promise": ref, of: shape}   a promise, and what it comes to
//!          {name, …: shape, …}      a struct that takes fewer values than it names
//!          variant | variant | …    an enum, by index; in <…> after ? and when it has one variant
//!          <name, …: variant | …>   an enum that takes fewer indices than it names; the variants
//!                                   have their index for a name
//!          ^3                       the shape that is the third around this place
//! variant: name  name(shape)  name(shape, …)  name(shape; 3)  name{name: shape, …}
//! name:    plain when it is letters, digits, - and _; otherwise in quotes, with escapes
//! ```
//!
//! Around a place are `?`, `[`, `{`, `(` and enums; an enum counts once, and what a variant has in
//! brackets once more. Newtype structs leave no trace in the bytes and none in the text, and
//! neither do the names of types. A type that does not contain itself is written out wherever it
//! stands. Two types of one text read each other's bytes, short of what their `Deserialize`
//! refuses.
//!
//! What a text does not show: what a hand-written `Deserialize` asks for only after certain values,
//! in another way than in an enum.

mod hand;
mod samples;
#[cfg(test)]
mod tests;
mod text;
mod trace;

use std::fmt;

use serde::de::DeserializeOwned;

/// The shape of `T`: how its values stand in bytes, as text that is the same for the same shape.
///
/// `T::deserialize` is run, many times and with made-up values, so it should be free of effects.
/// The time goes with the size of the text: milliseconds for thousands of fields and variants.
///
/// ```
/// use crankcase_vat::{Ref, shape_of};
/// use serde::Deserialize;
///
/// #[derive(Deserialize)]
/// struct Account {
///     owner: Ref,
///     history: Vec<(u64, Event)>,
/// }
///
/// #[derive(Deserialize)]
/// enum Event {
///     Pay { amount: u128 },
///     Close,
/// }
///
/// assert_eq!(
///     shape_of::<Account>()?,
///     "{owner: ref, history: [(u64, Pay{amount: u128} | Close)]}"
/// );
/// # Ok::<(), crankcase_vat::ShapeError>(())
/// ```
///
/// # Errors
///
/// [`ShapeError`] when `T` cannot be read from an encoding like ours, when it or a part of it
/// refuses all that it is offered or has no values that end, and when it is too large: 131,072
/// places, 128 within each other, or a text of 1 MiB.
pub fn shape_of<T: DeserializeOwned>() -> Result<String, ShapeError> {
    let mut trace = trace::Trace::new();
    while !trace.is_complete() {
        trace.pass::<T>()?;
    }
    text::write(&trace)
}

/// Why the shape of a type is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShapeError {
    /// The type that it was found in.
    pub type_name: &'static str,
    /// Where that type stands in the one that was asked about, as in `orders[].price`; empty when
    /// it is that type itself.
    pub path: String,
    /// What is in the way.
    pub why: NoShape,
}

impl fmt::Display for ShapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.type_name)?;
        if !self.path.is_empty() {
            write!(f, " at `{}`", self.path)?;
        }
        write!(f, " {}", self.why)
    }
}

impl std::error::Error for ShapeError {}

/// What is in the way of knowing a type's shape.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoShape {
    /// No value that was made up for it is good enough.
    #[error(
        "accepts none of the sample values that were tried and says: {said}; implement \
         `Deserialize` so that it accepts whatever its parts can hold and check the value where it \
         is used, or keep it in another form"
    )]
    Refuses {
        /// What it said to the first of them.
        said: String,
    },
    /// It leaves it to the bytes what stands there.
    #[error(
        "asks the bytes what stands in them, which they do not say, so it cannot be read back \
         either; do without `serde(untagged)`, `serde(flatten)` and `serde(tag)`, or keep the \
         value in another form"
    )]
    AsksTheBytes,
    /// What stands there depends on what stands elsewhere, in another way than in an enum.
    #[error("asks for {now} where it asked for {before}; use an enum for what can be either")]
    Wavers {
        /// What it asked for first.
        before: String,
        /// What it asked for another time.
        now: String,
    },
    /// It consists of too many parts, or is nested too deep.
    #[error("is too large to be described; keep parts of it in another form")]
    TooLarge,
    /// Its `Deserialize` panicked on a sample value.
    #[error("panics on a sample value: {said}; have its `Deserialize` return an error")]
    Panics {
        /// With what.
        said: String,
    },
}
