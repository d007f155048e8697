//! A workload's actor as a vat.
//!
//! The host makes all actors of a run first and in their order, so the actor with number `n` is the
//! vat that the host made as its `n + 1`th.

use crankcase::{Answer, Crank, Message, Payload, Rejection, Vat, VatId, VatNumber};

use crate::workloads::{Actor, Method, Note, Step};

/// The vat of the actor with that number.
#[must_use]
pub fn vat_of(actor: u32) -> VatId {
    VatId::new(VatNumber::HOST, u64::from(actor) + 1)
}

impl Vat for Actor {
    const KIND: &'static str = "actor";
    const VERSION: u32 = 1;
    type Env = ();

    fn create(_cx: &Crank<'_>, _env: &(), start: &Message<'_>) -> Result<Self, Rejection> {
        Ok(start.args()?)
    }

    #[inline]
    fn receive(&mut self, cx: &Crank<'_>, _env: &(), message: &Message<'_>) -> Answer {
        let Some(method) = Method::named(message.method()) else {
            return Err(Rejection::new("no_such_method", message.method()));
        };
        let note = Note {
            method,
            args: message.args()?,
        };
        // Hosts of this crate make fewer vats than that.
        let me = (cx.me().counter - 1) as u32;
        let mut send = |to, note: Note| cx.send(vat_of(to), note.method.name(), &note.args);
        match Self::receive(self, me, note, &mut send) {
            Step::Going | Step::Done => Ok(Payload::empty()),
            Step::Unexpected => Err(Rejection::new("unexpected", message.method())),
        }
    }
}
