//! The crank in the hand of a vat that was written with `#[vat]`.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use serde::Serialize;

use crate::interface::Interface;
use crate::payload::Outcome;
use crate::reference::{Promise, Ref, Target};
use crate::rejection::Rejection;
use crate::vat::Vat;

/// The crank in the hand of a vat of the type `V`: everything that it can do to the world while it
/// handles a delivery.
///
/// What stands here has types in the place of names and payloads. The rest, the time, randomness,
/// the store and ending oneself, is that of the raw [crank](crate::Crank), which this one
/// dereferences to: `cx.now()`, `cx.set(key, value)`, `cx.exit(…)`, and all
/// [collections](crate::collections).
pub struct Crank<'c, 'a, V: Vat> {
    raw: &'c crate::Crank<'a>,
    env: &'c V::Env,
}

impl<'c, 'a, V: Vat> Crank<'c, 'a, V> {
    /// Puts types on a crank.
    #[must_use]
    #[inline]
    pub const fn new(raw: &'c crate::Crank<'a>, env: &'c V::Env) -> Self {
        Self { raw, env }
    }

    /// The crank without the types.
    #[must_use]
    #[inline]
    pub const fn raw(&self) -> &'c crate::Crank<'a> {
        self.raw
    }

    /// What the host gave to all vats of this kind. It is not in the journal, so nothing that
    /// decides an outcome belongs there unless it is the same on every run.
    #[must_use]
    pub const fn env(&self) -> &'c V::Env {
        self.env
    }

    /// Makes a promise that this vat, and nobody else, decides, in this crank or in a later one;
    /// see [`Crank::promise`](crate::Crank::promise).
    pub fn promise<T>(&self) -> Promise<T> {
        self.raw.promise().into_other()
    }

    /// Fulfils a promise that this vat made; see [`Crank::fulfil`](crate::Crank::fulfil).
    pub fn fulfil<T: Serialize>(&self, promise: &Promise<T>, value: T) {
        self.raw.fulfil(&promise.cast(), &value);
    }

    /// Has a promise that this vat made follow another one from now on. A promise that would follow
    /// itself is rejected ([`Cause::Cycle`](crate::Cause::Cycle)).
    ///
    /// Illegal, and dooms the crank: what is illegal for [`fulfil`](Self::fulfil).
    pub fn forward<T>(&self, promise: &Promise<T>, to: &Promise<T>) {
        self.raw.fulfil(&promise.cast(), to);
    }

    /// Rejects a promise that this vat made; see [`Crank::reject`](crate::Crank::reject).
    pub fn reject<T>(&self, promise: &Promise<T>, why: impl Into<Rejection>) {
        self.raw.reject(&promise.cast(), why.into());
    }

    /// A promise that is fulfilled with a value.
    pub fn resolved<T: Serialize>(&self, value: T) -> Promise<T> {
        self.raw.resolved(&value).into_other()
    }

    /// A promise that is rejected. A method that answers with one keeps its effects and still tells
    /// whoever asked that the answer is no; one that returns `Err` keeps nothing.
    pub fn rejected<T>(&self, why: impl Into<Rejection>) -> Promise<T> {
        self.raw.rejected(why.into()).into_other()
    }

    /// The promise that comes to what is known already.
    pub fn settled<T: Serialize>(&self, outcome: Outcome<T>) -> Promise<T> {
        match outcome {
            Ok(value) => self.resolved(value),
            Err(why) => self.rejected(why),
        }
    }

    /// Watches a promise: once it comes to its end, the watcher is called with that and with the
    /// context, in a crank of its own, whatever happened to the vat, the kernel or the machine in
    /// between. What the watcher answers is what the promise comes to that is given here. See
    /// [`Crank::watch`](crate::Crank::watch).
    pub fn watch<T, C: Serialize, R>(
        &self,
        promise: &Promise<T>,
        then: Watcher<V, C, T, R>,
        context: C,
    ) -> Promise<R> {
        let on = Target::from(promise);
        self.raw.watch(on, then.method, &context).into_other()
    }

    /// A promise for what all of them come to, in their order; the first that is rejected rejects
    /// it. See [`join`](crate::join).
    pub fn join<T>(&self, promises: &[Promise<T>]) -> Promise<Vec<Promise<T>>> {
        let promises: Vec<Promise> = promises.iter().map(Promise::cast).collect();
        crate::join(self.raw, &promises).into_other()
    }

    /// A promise for what the first of them comes to. See [`race`](crate::race).
    pub fn race<T>(&self, promises: &[Promise<T>]) -> Promise<T> {
        let promises: Vec<Promise> = promises.iter().map(Promise::cast).collect();
        crate::race(self.raw, &promises).into_other()
    }
}

impl<V: Vat + Interface> Crank<'_, '_, V> {
    /// A reference to the vat's root. It holds nothing: a vat does not keep itself alive.
    #[must_use]
    pub fn me(&self) -> Ref<V> {
        self.raw.me().cast()
    }
}

impl<'a, V: Vat> Deref for Crank<'_, 'a, V> {
    type Target = crate::Crank<'a>;

    #[inline]
    fn deref(&self) -> &crate::Crank<'a> {
        self.raw
    }
}

impl<V: Vat> fmt::Debug for Crank<'_, '_, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.raw.fmt(f)
    }
}

/// The name of one of a vat's continuations: that of `V` which is called with a context `C` when a
/// promise of a `T` has come to its end, and which answers with an `R`. `#[watcher]` makes one for
/// each method that it stands on, as a constant in capitals, that only the vat's own code sees.
pub struct Watcher<V, C, T, R> {
    method: &'static str,
    of: PhantomData<Continuation<V, C, T, R>>,
}

/// What a watcher is, as a type: nothing of it is held.
type Continuation<V, C, T, R> = fn(V, C, Outcome<T>) -> R;

impl<V, C, T, R> Watcher<V, C, T, R> {
    /// The continuation of that name. `#[watcher]` writes this.
    #[must_use]
    pub const fn new(method: &'static str) -> Self {
        let of = PhantomData;
        Self { method, of }
    }
}

impl<V, C, T, R> Clone for Watcher<V, C, T, R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<V, C, T, R> Copy for Watcher<V, C, T, R> {}

impl<V, C, T, R> fmt::Debug for Watcher<V, C, T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Watcher").field(&self.method).finish()
    }
}
