//! Who can call the methods of a client, and what each gets in return.

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Crank;
use crate::interface::Interface;
use crate::reference::{Promise, Ref, Target};
use crate::vat::Vat;

/// Who calls a method: the first argument of each method of a client.
///
/// A vat calls with the crank in its hand and gets a [`Promise`]; a host calls with its kernel, a
/// request, a batch or `try_now()`, and gets what that gives.
///
/// Written by hand it is a vat's code that is generic over who calls:
///
/// ```
/// use crankcase_vat::Promise;
/// use crankcase_vat::{Crank, Ref};
/// use crankcase_vat::typed::Caller;
///
/// fn poke(cx: &Crank<'_>, to: Ref) -> Promise<u64> {
///     cx.call(to.into(), "poke", &())
/// }
/// ```
pub trait Caller: Sized {
    /// What a call gives, of a method that answers with a `T`.
    type Sent<T: DeserializeOwned>;

    /// Calls a method with the arguments as one value.
    fn call<T: DeserializeOwned, A: Serialize>(
        self,
        to: Target,
        method: &'static str,
        args: &A,
    ) -> Self::Sent<T>;
}

/// Who can make vats: the first argument of a kind's `spawn`.
pub trait Spawner: Sized {
    /// What making a vat of this kind gives.
    type Spawned<I: Interface>;

    /// Makes a vat of that version of the kind with that name.
    fn make<I: Interface, A: Serialize>(
        self,
        kind: (&'static str, u32),
        args: &A,
    ) -> Self::Spawned<I>;
}

/// Who can make vats with root names: a host, by all of its callers but `try_now()`.
pub trait NamedSpawner: Spawner {
    /// Makes a vat of that version of the kind with that name, with a root name.
    fn make_named<I: Interface, A: Serialize>(
        self,
        name: &str,
        kind: (&'static str, u32),
        args: &A,
    ) -> Self::Spawned<I>;
}

impl Caller for &crate::Crank<'_> {
    type Sent<T: DeserializeOwned> = Promise<T>;

    #[inline]
    fn call<T: DeserializeOwned, A: Serialize>(
        self,
        to: Target,
        method: &'static str,
        args: &A,
    ) -> Promise<T> {
        self.send(to, method, args).into_other()
    }
}

impl Spawner for &crate::Crank<'_> {
    type Spawned<I: Interface> = Ref<I>;

    fn make<I: Interface, A: Serialize>(self, kind: (&'static str, u32), args: &A) -> Ref<I> {
        self.spawn_version(kind.0, kind.1, args).cast()
    }
}

impl<V: Vat> Caller for &Crank<'_, '_, V> {
    type Sent<T: DeserializeOwned> = Promise<T>;

    #[inline]
    fn call<T: DeserializeOwned, A: Serialize>(
        self,
        to: Target,
        method: &'static str,
        args: &A,
    ) -> Promise<T> {
        self.raw().call(to, method, args)
    }
}

impl<V: Vat> Spawner for &Crank<'_, '_, V> {
    type Spawned<I: Interface> = Ref<I>;

    fn make<I: Interface, A: Serialize>(self, kind: (&'static str, u32), args: &A) -> Ref<I> {
        self.raw().make(kind, args)
    }
}

/// Whoever shares a caller may call with it.
impl<'c, C> Caller for &'c Arc<C>
where
    &'c C: Caller,
{
    type Sent<T: DeserializeOwned> = <&'c C as Caller>::Sent<T>;

    fn call<T: DeserializeOwned, A: Serialize>(
        self,
        to: Target,
        method: &'static str,
        args: &A,
    ) -> Self::Sent<T> {
        (&**self).call(to, method, args)
    }
}

impl<'c, C> Spawner for &'c Arc<C>
where
    &'c C: Spawner,
{
    type Spawned<I: Interface> = <&'c C as Spawner>::Spawned<I>;

    fn make<I: Interface, A: Serialize>(
        self,
        kind: (&'static str, u32),
        args: &A,
    ) -> Self::Spawned<I> {
        (&**self).make(kind, args)
    }
}

impl<'c, C> NamedSpawner for &'c Arc<C>
where
    &'c C: NamedSpawner,
{
    fn make_named<I: Interface, A: Serialize>(
        self,
        name: &str,
        kind: (&'static str, u32),
        args: &A,
    ) -> Self::Spawned<I> {
        (&**self).make_named(name, kind, args)
    }
}
