//! The host's callers: what a method of a reference gives whoever calls it from outside.
//!
//! | caller | a method gives | `spawn` gives |
//! |---|---|---|
//! | `&kernel`, `kernel.request(id)` | a [`Ticket`] of its [`Outcome`] | a [`Ticket`] of a [`Ref`] |
//! | `&mut batch` | a [`Part`] of the batch's outcomes | a [`Ref`], which can be sent to in the batch |
//! | `kernel.try_now()` | a [`Ticket`], if there is room now | – |

use std::marker::PhantomData;

use crankcase_vat::typed::{Caller, NamedSpawner, Spawner};
use crankcase_vat::{Interface, Outcome, Ref, Target};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{SendError, TrySendError};
use crate::host::{Batch, Request};
use crate::kernel::{Kernel, only, only_id};
use crate::ticket::Ticket;

/// What a method that the host calls gives it: the call was taken, or it was not.
type Called<T, E = SendError> = Result<Ticket<Outcome<T>>, E>;

/// What `spawn` gives a host.
type Spawned<I> = Result<Ticket<Outcome<Ref<I>>>, SendError>;

/// A call that does not wait for room. See [`Kernel::try_now`].
#[derive(Debug, Clone, Copy)]
#[must_use = "nothing is sent until a method is called with it"]
pub struct TryNow<'k> {
    kernel: &'k Kernel,
}

impl Kernel {
    /// A caller that does not wait for room: `account.credit(kernel.try_now(), 5)` is to
    /// `account.credit(&kernel, 5)` what [`try_send`](Self::try_send) is to
    /// [`send`](Self::send).
    pub const fn try_now(&self) -> TryNow<'_> {
        TryNow { kernel: self }
    }
}

/// Which of a batch's outcomes is that of a call.
pub struct Part<T> {
    index: usize,
    of: PhantomData<fn() -> T>,
}

impl<T> Part<T> {
    pub(crate) const fn at(index: usize) -> Self {
        let of = PhantomData;
        Self { index, of }
    }
}

impl<T: DeserializeOwned> Part<T> {
    /// The outcome of the call, out of those that the batch's ticket settled with.
    ///
    /// # Panics
    ///
    /// When the outcomes are those of a batch with fewer parts, so of another one.
    pub fn of(&self, outcomes: &[Outcome]) -> Outcome<T> {
        let outcome = outcomes.get(self.index);
        decoded(
            outcome
                .expect("the outcomes are those of this part's batch")
                .clone(),
        )
    }
}

impl<T> std::fmt::Debug for Part<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Part").field(&self.index).finish()
    }
}

pub(crate) fn decoded<T: DeserializeOwned>(outcome: Outcome) -> Outcome<T> {
    Ok(outcome?.decode()?)
}

impl Ticket<Outcome> {
    /// The same wait, for the value that the answer is.
    ///
    /// An answer that is no `T` gives a rejection with the code `payload`; the crank that gave it
    /// has happened all the same.
    pub fn decoded<T: DeserializeOwned>(self) -> Ticket<Outcome<T>> {
        self.converted(|outcomes| decoded(only(outcomes)))
    }
}

/// Makes a vat as an input of its own.
fn spawned<I: Interface, A: Serialize>(
    mut batch: Batch<'_>,
    name: Option<&str>,
    kind: (&str, u32),
    args: &A,
) -> Spawned<I> {
    batch.spawn_version(name, kind, args)?;
    let ticket = batch.submit()?;
    Ok(ticket.converted(|outcomes| Ok(Ref::to(only_id(outcomes)?).cast())))
}

impl Caller for &Kernel {
    type Sent<T: DeserializeOwned> = Called<T>;

    fn call<T: DeserializeOwned, A: Serialize>(
        self,
        to: Target,
        method: &'static str,
        args: &A,
    ) -> Called<T> {
        self.send(to, method, args).map(Ticket::decoded)
    }
}

impl Spawner for &Kernel {
    type Spawned<I: Interface> = Spawned<I>;

    fn make<I: Interface, A: Serialize>(self, kind: (&'static str, u32), args: &A) -> Spawned<I> {
        spawned(self.batch(), None, kind, args)
    }
}

impl NamedSpawner for &Kernel {
    fn make_named<I: Interface, A: Serialize>(
        self,
        name: &str,
        kind: (&'static str, u32),
        args: &A,
    ) -> Spawned<I> {
        spawned(self.batch(), Some(name), kind, args)
    }
}

impl Caller for TryNow<'_> {
    type Sent<T: DeserializeOwned> = Called<T, TrySendError>;

    fn call<T: DeserializeOwned, A: Serialize>(
        self,
        to: Target,
        method: &'static str,
        args: &A,
    ) -> Called<T, TrySendError> {
        self.kernel.try_send(to, method, args).map(Ticket::decoded)
    }
}

impl Caller for Request<'_> {
    type Sent<T: DeserializeOwned> = Called<T>;

    fn call<T: DeserializeOwned, A: Serialize>(
        self,
        to: Target,
        method: &'static str,
        args: &A,
    ) -> Called<T> {
        self.send(to, method, args).map(Ticket::decoded)
    }
}

impl Spawner for Request<'_> {
    type Spawned<I: Interface> = Spawned<I>;

    fn make<I: Interface, A: Serialize>(self, kind: (&'static str, u32), args: &A) -> Spawned<I> {
        spawned(self.batch(), None, kind, args)
    }
}

impl NamedSpawner for Request<'_> {
    fn make_named<I: Interface, A: Serialize>(
        self,
        name: &str,
        kind: (&'static str, u32),
        args: &A,
    ) -> Spawned<I> {
        spawned(self.batch(), Some(name), kind, args)
    }
}

impl Caller for &mut Batch<'_> {
    type Sent<T: DeserializeOwned> = Result<Part<T>, SendError>;

    fn call<T: DeserializeOwned, A: Serialize>(
        self,
        to: Target,
        method: &'static str,
        args: &A,
    ) -> Result<Part<T>, SendError> {
        let part = Part::at(self.len());
        self.send(to, method, args)?;
        Ok(part)
    }
}

impl Spawner for &mut Batch<'_> {
    type Spawned<I: Interface> = Result<Ref<I>, SendError>;

    fn make<I: Interface, A: Serialize>(
        self,
        kind: (&'static str, u32),
        args: &A,
    ) -> Result<Ref<I>, SendError> {
        Ok(Ref::to(self.spawn_version(None, kind, args)?).cast())
    }
}

impl NamedSpawner for &mut Batch<'_> {
    fn make_named<I: Interface, A: Serialize>(
        self,
        name: &str,
        kind: (&'static str, u32),
        args: &A,
    ) -> Result<Ref<I>, SendError> {
        Ok(Ref::to(self.spawn_version(Some(name), kind, args)?).cast())
    }
}
