//! The attributes of Crankcase. Hosts use them through the `crankcase` crate, where they are
//! described.

mod block;
mod expand;
mod options;

use proc_macro::TokenStream;

/// Makes a kind of vat of an `impl` block: what dispatches its messages, the methods of references
/// to it, and what the journal keeps of its shape.
///
/// ```
/// use crankcase::{Answer, Crank};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Counter {
///     count: u64,
/// }
///
/// #[crankcase::vat(kind = "counter", version = 1)]
/// impl Counter {
///     #[create]
///     fn new(_cx: &Crank<Self>, count: u64) -> Answer<Self> {
///         Ok(Counter { count })
///     }
///
///     pub fn add(&mut self, _cx: &Crank<Self>, more: u64) -> Answer<u64> {
///         self.count += more;
///         Ok(self.count)
///     }
/// }
/// ```
///
/// | in the block | is |
/// |---|---|
/// | `#[create] fn(cx, …) -> Answer<Self>` | the vat's first crank; `Counter::spawn(caller, …)` makes a vat |
/// | `pub fn(&mut self, cx, …) -> Answer<T>` | a method: `reference.add(caller, …)` sends a message |
/// | `pub fn(&self, cx, …) -> Answer<T>` | a method that leaves the state as it was, which is then not even encoded |
/// | `#[watcher] fn(&mut self, cx, …, outcome: Outcome<T>) -> Answer<R>` | a continuation, for `cx.watch(&promise, Self::NAME, …)`; no message reaches it |
/// | `#[dropped] fn(&mut self, cx, object: u64) -> Answer<()>` | is told that nobody outside holds an object of the vat any more |
/// | `#[migrate] fn(cx, old: Old) -> Answer<Self>` | makes the state from that of an older version |
/// | any other function that is not `pub` | a helper that is left as it is; `pub` ones stand in an `impl` block of their own |
///
/// The state must be written through `&mut self` alone: a cell in it does not compile; an atomic or a
/// lock does, and what a `&self` method writes through one is lost with the process. Programs with
/// debug assertions, and `KernelBuilder::check_canonical`, abandon such a crank.
///
/// A watcher hears of an answer that is no `T` as of a rejection with the code `payload`. That takes a
/// reference that was cast to what it is not.
///
/// Arguments and answers are owned values that derive `Serialize` and `Deserialize`. `Err` abandons
/// the crank; a method that answers `Answer<Promise<T>>` gives its caller a `Promise<T>`.
///
/// Options: `kind = "…"` and `version = N` must be there. `env = Type` says what the host gives to
/// all vats of the kind (`cx.env()`), `objects(A, B)` which [`object`](macro@object)s it has,
/// `client = Name` names the type with the generated methods, and `crate = path` says where
/// `crankcase` is when that is not its name.
#[proc_macro_attribute]
pub fn vat(options: TokenStream, block: TokenStream) -> TokenStream {
    expand::vat(options.into(), block.into()).into()
}

/// Makes a sort of objects inside of vats of an `impl` block. An object has a state of its own and
/// is a capability of its own: whoever has a reference to it can do what it offers, and nothing
/// else with its vat.
///
/// ```
/// use crankcase::{Answer, Crank, Ref};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Counter {
///     count: u64,
/// }
///
/// #[crankcase::vat(kind = "counter", version = 1, objects(Viewer))]
/// impl Counter {
///     #[create]
///     fn new(_cx: &Crank<Self>) -> Answer<Self> {
///         Ok(Counter { count: 0 })
///     }
///
///     pub fn viewer(&mut self, cx: &Crank<Self>) -> Answer<Ref<Viewer>> {
///         Ok(cx.export(Viewer {}))
///     }
/// }
///
/// #[derive(Serialize, Deserialize)]
/// struct Viewer {}
///
/// #[crankcase::object(kind = "viewer", vat = Counter)]
/// impl Viewer {
///     pub fn count(&self, counter: &mut Counter, _cx: &Crank<Counter>) -> Answer<u64> {
///         Ok(counter.count)
///     }
/// }
/// ```
///
/// The vat lists it, `#[crankcase::vat(…, objects(Viewer))]`, and makes one with
/// `cx.export(Viewer { … })`. Each method is `pub fn(&mut self, vat: &mut Vat, cx, …) ->
/// Answer<T>`; with `&self` the object's state is not written. Watchers are the vat's.
#[proc_macro_attribute]
pub fn object(options: TokenStream, block: TokenStream) -> TokenStream {
    expand::object(options.into(), block.into()).into()
}
