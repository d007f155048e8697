//! A workload's actor as a vat.
//!
//! Actors know each other by number, vats by reference. A message carries a reference only where its
//! receiver needs one, beside the same 16 bytes of numbers as on the floor; the one vat that an actor
//! always sends to stands in its state; many stand in an address book, in rows of its store, because a
//! state is encoded anew in every crank.
//!
//! The host makes all actors of a run first and in their order, so the actor with number `n` is the
//! vat that the host made as its `n + 1`th.

use crankcase::raw::{Crank, Message, Vat};
use crankcase::{Answer, Kernel, Payload, Ref, Rejection, VatId, VatNumber};
use serde::{Deserialize, Serialize};

use crate::Fallible;
use crate::trial::spawn_all;
use crate::workloads::{Actor, Args, Method, Note, Plan, Step};

/// The numbers under which an actor sees itself and those that came with a note. No plan has as
/// many actors.
const ME: u32 = u32::MAX;
const FROM: u32 = ME - 1;
const OTHER: u32 = ME - 2;

/// What the host says to hand over the vat that an actor always sends to.
const MEET: &str = "meet";
/// What the host says to hand over a page of an address book.
const BOOK: &str = "book";

/// As many entries stand in one message of the host at most.
const PAGE: usize = 1_000;

/// The vat of the actor with that number.
#[must_use]
pub fn vat_of(actor: u32) -> VatId {
    VatId::new(VatNumber::HOST, u64::from(actor) + 1)
}

/// An actor with what it holds of others.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Member {
    actor: Actor,
    /// The one that it always sends to; without one, it looks in its address book.
    near: Option<Ref>,
}

impl From<&Actor> for Member {
    fn from(actor: &Actor) -> Self {
        Self {
            actor: actor.clone(),
            near: None,
        }
    }
}

/// The references that came with a message.
#[derive(Clone, Copy, Default)]
struct Came {
    from: Option<Ref>,
    other: Option<Ref>,
}

/// How many references a message of that method carries.
const fn references_of(method: Method) -> usize {
    match method {
        Method::Ping | Method::Work | Method::Get | Method::Credit => 1,
        Method::Debit => 2,
        _ => 0,
    }
}

impl Came {
    #[inline]
    fn read(method: Method, message: &Message<'_>) -> Result<(Args, Self), Rejection> {
        let (mut args, came) = match references_of(method) {
            0 => return Ok((message.args()?, Self::default())),
            1 => {
                let (args, from): (Args, Ref) = message.args()?;
                (args, (Some(from), None))
            }
            _ => {
                let (args, from, other): (Args, Ref, Ref) = message.args()?;
                (args, (Some(from), Some(other)))
            }
        };
        args.from = FROM;
        args.other = OTHER;
        let (from, other) = came;
        Ok((args, Self { from, other }))
    }

    /// Sends a note; says no when a number in it leads nowhere.
    #[inline]
    fn send(self, cx: &Crank<'_>, near: Option<Ref>, to: u32, note: Note) -> Option<()> {
        let find = |number| match number {
            ME => Some(cx.me()),
            FROM => self.from,
            OTHER => self.other,
            number => near.or_else(|| cx.get_holding(&number.to_be_bytes()).ok().flatten()),
        };
        let (to, name, args) = (find(to)?, note.method.name(), note.args);
        match references_of(note.method) {
            0 => cx.send(to, name, &args),
            1 => cx.send(to, name, &(args, find(args.from)?)),
            _ => cx.send(to, name, &(args, find(args.from)?, find(args.other)?)),
        };
        Some(())
    }
}

impl Member {
    /// What the host hands over before a run.
    #[cold]
    fn hand_over(&mut self, cx: &Crank<'_>, message: &Message<'_>) -> Answer {
        match message.method() {
            MEET => self.near = Some(message.args()?),
            BOOK => {
                let (first, page): (u32, Vec<Ref>) = message.args()?;
                for (number, entry) in (first..).zip(page) {
                    cx.set_holding(&number.to_be_bytes(), &entry);
                }
            }
            other => return Err(Rejection::new("no_such_method", other)),
        }
        Ok(Payload::empty())
    }
}

impl Vat for Member {
    const KIND: &'static str = "actor";
    const VERSION: u32 = 1;
    type Env = ();

    fn create(_cx: &Crank<'_>, _env: &(), start: &Message<'_>) -> Result<Self, Rejection> {
        Ok(start.args()?)
    }

    #[inline]
    fn receive(&mut self, cx: &Crank<'_>, _env: &(), message: &Message<'_>) -> Answer {
        let Some(method) = Method::named(message.method()) else {
            return self.hand_over(cx, message);
        };
        let (args, came) = Came::read(method, message)?;
        let near = self.near;
        let mut lost = false;
        let step = self
            .actor
            .receive(ME, Note { method, args }, &mut |to, note| {
                lost |= came.send(cx, near, to, note).is_none();
            });
        if lost {
            return Err(Rejection::new("stranger", "no such number is known here"));
        }
        match step {
            Step::Going | Step::Done => Ok(Payload::empty()),
            Step::Unexpected => Err(Rejection::new("unexpected", message.method())),
        }
    }
}

/// Makes the actors of a plan, the first vats of their kernel, and hands each what it is to know.
///
/// # Errors
///
/// Whatever went wrong.
pub fn spawn(kernel: &Kernel, plan: &Plan) -> Fallible<()> {
    let members: Vec<Member> = plan.actors.iter().map(Member::from).collect();
    spawn_all(kernel, &members)?;
    let mut batch = kernel.batch();
    for &(actor, near) in &plan.near {
        batch.send(vat_of(actor), MEET, &Ref::to(vat_of(near)))?;
    }
    for (actor, known) in &plan.books {
        for first in known.clone().step_by(PAGE) {
            let page = first..known.end.min(first + PAGE as u32);
            let page: Vec<Ref> = page.map(vat_of).map(Ref::to).collect();
            batch.send(vat_of(*actor), BOOK, &(first, page))?;
        }
    }
    if !batch.is_empty() {
        let handed_over = batch.submit()?;
        kernel.run_until_idle()?;
        handed_over
            .wait()?
            .into_iter()
            .collect::<Result<Vec<_>, Rejection>>()?;
    }
    Ok(())
}
