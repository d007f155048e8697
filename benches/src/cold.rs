//! Vats that are there in great number and rarely run: a small state, a few references, a few rows.

use std::sync::mpsc::Sender;
use std::time::Instant;

use crankcase::raw::{Crank, Message, Vat};
use crankcase::{Answer, Kernel, Payload, Promise, Ref, Rejection, VatId, VatNumber};
use serde::{Deserialize, Serialize};

use crate::Fallible;
use crate::blob::Blob;

/// Bytes of a state beside its references.
const STATE_BYTES: usize = 64;
/// Rows of a store.
const ROWS: u8 = 5;
/// Bytes of a row's value.
const ROW_BYTES: usize = 16;

/// The vat of the cold one with that number, when the [`Anchor`] was the first vat of its kernel.
#[must_use]
pub fn cold_vat(number: u64) -> VatId {
    VatId::new(VatNumber::HOST, number + 2)
}

/// What is done with a cold vat when its crank starts, by the host.
pub type Started = Option<Sender<Instant>>;

/// One of many.
#[derive(Debug, Serialize, Deserialize)]
pub struct Cold {
    state: Blob,
    anchor: Ref,
    object: Ref,
    undecided: Option<Promise>,
}

impl Vat for Cold {
    const KIND: &'static str = "cold";
    const VERSION: u32 = 1;
    type Env = Started;

    fn create(cx: &Crank<'_>, _env: &Started, start: &Message<'_>) -> Result<Self, Rejection> {
        let (anchor, object, waits): (Ref, Ref, bool) = start.args()?;
        for row in 0..ROWS {
            cx.set(&[row], &[row; ROW_BYTES]);
        }
        let undecided = waits.then(|| {
            let promise = cx.promise();
            cx.send(&promise, "later", &());
            promise
        });
        Ok(Self {
            state: Blob(vec![0; STATE_BYTES]),
            anchor,
            object,
            undecided,
        })
    }

    fn receive(&mut self, _cx: &Crank<'_>, started: &Started, message: &Message<'_>) -> Answer {
        if let Some(started) = started {
            // When the host has left, nobody measures any more.
            let _ = started.send(Instant::now());
        }
        if message.method() != "touch" {
            return Err(Rejection::new("no_such_method", message.method()));
        }
        if let Some(first) = self.state.0.first_mut() {
            *first = first.wrapping_add(1);
        }
        Ok(Payload::empty())
    }
}

/// What the cold ones refer to: a vat with one object beside its root.
#[derive(Debug, Serialize, Deserialize)]
pub struct Anchor {
    object: Ref,
}

impl Vat for Anchor {
    const KIND: &'static str = "anchor";
    const VERSION: u32 = 1;
    type Env = ();

    fn create(cx: &Crank<'_>, _env: &(), _start: &Message<'_>) -> Result<Self, Rejection> {
        Ok(Self {
            object: cx.object("anchored", &()),
        })
    }

    fn receive(&mut self, _cx: &Crank<'_>, _env: &(), _message: &Message<'_>) -> Answer {
        Ok(Payload::of(&self.object)?)
    }
}

/// Makes an anchor and so many cold vats, the first vats of their kernel; a message of every
/// `waits_every`th waits in a promise that nobody resolves.
///
/// # Errors
///
/// Whatever went wrong.
pub fn spawn(kernel: &Kernel, vats: u64, waits_every: u64) -> Fallible<()> {
    let anchor = kernel.spawn(Anchor::KIND, &())?.wait()??;
    let object: Ref = kernel.send(anchor, "object", &())?.wait()??.decode()?;
    let mut number = 0;
    while number < vats {
        let mut batch = kernel.batch();
        for _ in 0..10_000.min(vats - number) {
            let waits = waits_every > 0 && number.is_multiple_of(waits_every);
            batch.spawn(Cold::KIND, &(Ref::to(anchor), object, waits))?;
            number += 1;
        }
        let spawned = batch.submit()?;
        for made in spawned.wait()? {
            made?;
        }
    }
    Ok(())
}
