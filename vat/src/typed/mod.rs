//! The interface that vats written with `#[vat]` meet: what a crank does, with types.
//!
//! It adds nothing to what a crank can do. Everything here is the raw [`Crank`](crate::Crank) with
//! methods in the place of names and values in the place of payloads.

mod caller;
mod crank;
mod object;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::rejection::{Cause, Rejection};

pub use caller::{Caller, NamedSpawner, Spawner};
pub use crank::{Crank, Watcher};
pub use object::VatObject;

/// What can stand in a message, an answer or a state: whatever derives both of serde's traits and
/// borrows nothing.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot stand in a message, an answer or a state",
    label = "derive `serde::Serialize` and `serde::Deserialize` for `{Self}`",
    note = "what travels is encoded: `#[derive(serde::Serialize, serde::Deserialize)]`"
)]
pub trait Travels: Serialize + DeserializeOwned {}

impl<T: Serialize + DeserializeOwned> Travels for T {}

/// Why a message is not delivered to a method that its receiver does not have.
#[must_use]
#[cold]
pub fn no_such_method(kind: &str, method: &str) -> Rejection {
    let why = format!("{kind:?} has no method {method:?}");
    Rejection::with_cause(Cause::Refused, "no_such_method", why)
}

/// Why a message is not delivered to an object of a sort that its vat does not have.
#[must_use]
#[cold]
pub fn no_such_object_kind(kind: &str, object: &str) -> Rejection {
    let why = format!("{kind:?} has no objects of the kind {object:?}");
    Rejection::with_cause(Cause::Refused, "no_such_object_kind", why)
}

/// Why a vat is not told of what a promise came to.
#[must_use]
#[cold]
pub fn no_such_watcher(kind: &str, watcher: &str) -> Rejection {
    let why = format!("{kind:?} has no watcher {watcher:?}");
    Rejection::with_cause(Cause::Refused, "no_such_continuation", why)
}

/// Whether two names are the same, in a constant.
#[must_use]
pub const fn is_same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let mut at = 0;
    while at < one.len() && at < other.len() && one[at] == other[at] {
        at += 1;
    }
    at == one.len() && at == other.len()
}
