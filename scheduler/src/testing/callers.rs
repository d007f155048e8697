//! What calls the typed methods of vats in a simulation: the simulation itself, a request, a batch.

use std::fmt;

use crankcase_vat::typed::{Caller, NamedSpawner, Spawner};
use crankcase_vat::{Interface, Outcome, Payload, Ref, Target};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::simulation::{Simulation, Ticket};
use crate::callers::{Part, decoded};
use crate::error::SendError;
use crate::host::{Draft, Host};
use crate::kernel::{only, only_id};

/// An input under a request id, as [`crate::Request`].
#[derive(Debug)]
#[must_use = "nothing is sent until one of its methods is called"]
pub struct Request<'s> {
    pub(super) sim: &'s Simulation,
    pub(super) id: String,
}

impl<'s> Request<'s> {
    /// As [`Kernel::batch`](crate::Kernel::batch).
    pub fn batch(self) -> Batch<'s> {
        Batch {
            request: Some(self.id),
            ..self.sim.batch()
        }
    }
}

/// Several messages and new vats as one atomic input, as [`crate::Batch`].
#[must_use = "nothing is sent until `submit` is called"]
pub struct Batch<'s> {
    pub(super) sim: &'s Simulation,
    pub(super) request: Option<String>,
    /// How many crashes there had been: the ids that it has given are good until the next.
    pub(super) crashes: u64,
    pub(super) draft: Draft,
}

impl<'s> Batch<'s> {
    /// Hands it in; see [`crate::Batch::submit`].
    ///
    /// # Errors
    ///
    /// [`SendError`]; [`SendError::Closing`] when there was a crash since it was begun.
    pub fn submit(self) -> Result<Ticket<'s, Vec<Outcome>>, SendError> {
        if self.crashes != self.sim.crashes() {
            return Err(SendError::Closing);
        }
        let request = self.request.as_deref();
        self.sim.submit(self.draft, request, <[Outcome]>::to_vec)
    }

    fn spawn<I: Interface, A: Serialize>(
        &mut self,
        name: &str,
        kind: (&str, u32),
        args: &A,
    ) -> Result<Ref<I>, SendError> {
        let args = Payload::of(args)?;
        Ok(Ref::to(self.draft.spawn(self.sim, name, kind, &args)?).cast())
    }
}

impl fmt::Debug for Batch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("request", &self.request)
            .field("deliveries", &self.draft.deliveries)
            .finish_non_exhaustive()
    }
}

/// What a method that the host calls gives it.
type Called<'s, T> = Result<Ticket<'s, Outcome<T>>, SendError>;

/// What `spawn` gives a host.
type Spawned<'s, I> = Result<Ticket<'s, Outcome<Ref<I>>>, SendError>;

fn made<I: Interface>(outcomes: &[Outcome]) -> Outcome<Ref<I>> {
    Ok(Ref::to(only_id(outcomes)?).cast())
}

macro_rules! calls_with {
    ($caller:ty, |$self:ident| $sim:expr, $request:expr) => {
        impl<'s> Caller for $caller {
            type Sent<T: DeserializeOwned> = Called<'s, T>;

            fn call<T: DeserializeOwned, A: Serialize>(
                $self,
                to: Target,
                method: &'static str,
                args: &A,
            ) -> Called<'s, T> {
                let outcome = |outcomes: &[Outcome]| decoded(only(outcomes));
                $sim.send_as($request, to, method, args, outcome)
            }
        }

        impl<'s> Spawner for $caller {
            type Spawned<I: Interface> = Spawned<'s, I>;

            fn make<I: Interface, A: Serialize>(
                $self,
                kind: (&'static str, u32),
                args: &A,
            ) -> Spawned<'s, I> {
                $sim.spawn_as($request, "", kind, args, made)
            }
        }

        impl<'s> NamedSpawner for $caller {
            fn make_named<I: Interface, A: Serialize>(
                $self,
                name: &str,
                kind: (&'static str, u32),
                args: &A,
            ) -> Spawned<'s, I> {
                $sim.spawn_as($request, name, kind, args, made)
            }
        }
    };
}

calls_with!(&'s Simulation, |self| self, None);
calls_with!(Request<'s>, |self| self.sim, Some(&self.id));

impl Caller for &mut Batch<'_> {
    type Sent<T: DeserializeOwned> = Result<Part<T>, SendError>;

    fn call<T: DeserializeOwned, A: Serialize>(
        self,
        to: Target,
        method: &'static str,
        args: &A,
    ) -> Result<Part<T>, SendError> {
        let part = Part::at(self.draft.deliveries as usize);
        let limits = self.sim.limits();
        self.draft.send(limits, &to, method, &Payload::of(args)?)?;
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
        self.spawn("", kind, args)
    }
}

impl NamedSpawner for &mut Batch<'_> {
    fn make_named<I: Interface, A: Serialize>(
        self,
        name: &str,
        kind: (&'static str, u32),
        args: &A,
    ) -> Result<Ref<I>, SendError> {
        self.spawn(name, kind, args)
    }
}
