//! A vat in memory, and the running of one crank over it: delivery in, record out.
//!
//! This decides how a crank ends. It knows no thread and no disk, and nothing of other vats: the
//! record is a function of the vat's own earlier cranks, of the delivery, and of nothing else.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::crank::{Crank, Exit, Gathered, Shared};
use crate::delivery::{Delivery, Message, RecordBytes};
use crate::ids::{CrankNumber, Time, VatId, VatNumber};
use crate::payload::Payload;
use crate::record::{Act, CrankEnd, CrankRecord};
use crate::rejection::{Cause, Rejection, cut};
use crate::store::Rows;
use crate::vat::{AnyKind, AnyVat};

/// Buffers that a worker keeps from crank to crank.
#[derive(Default)]
pub struct Workspace {
    gathered: Gathered,
    state: Vec<u8>,
    acts: Vec<u8>,
    record: Vec<u8>,
}

impl Workspace {
    /// Empty buffers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl std::fmt::Debug for Workspace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Workspace")
            .field("record_bytes", &self.record.capacity())
            .finish()
    }
}

/// What a crank left.
#[derive(Debug)]
pub struct Finished {
    /// The encoded record.
    pub record: RecordBytes,
    /// Whether the vat ended with it.
    pub vat_ended: bool,
    /// What a panic said. It may differ between runs, so it stands beside the order.
    pub note: Option<String>,
}

/// What is kept of a vat between cranks, other than its store.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Progress {
    /// The number of its last crank.
    pub crank: CrankNumber,
    /// How many vats it has made.
    pub spawned: u64,
    /// The `now` of its last crank.
    pub now: Time,
}

/// A vat in memory.
pub struct LiveVat {
    id: VatId,
    number: VatNumber,
    kind: Arc<dyn AnyKind>,
    progress: Progress,
    /// The decoded value. Nothing before the first crank, and after a crank that was abandoned:
    /// it is then decoded again from `encoded` when it is next needed.
    value: Option<Box<dyn AnyVat>>,
    /// The encoding of the value after the last committed crank.
    encoded: Vec<u8>,
    started: bool,
    rows: Rows,
}

impl LiveVat {
    /// A vat that has yet to be started.
    #[must_use]
    pub fn unborn(id: VatId, number: VatNumber, kind: Arc<dyn AnyKind>) -> Self {
        Self {
            id,
            number,
            kind,
            progress: Progress::default(),
            value: None,
            encoded: Vec::new(),
            started: false,
            rows: Rows::new(),
        }
    }

    /// A vat as it was stored.
    #[must_use]
    pub fn stored(
        id: VatId,
        number: VatNumber,
        kind: Arc<dyn AnyKind>,
        progress: Progress,
        state: Option<Vec<u8>>,
        rows: Rows,
    ) -> Self {
        let started = state.is_some();
        let encoded = state.unwrap_or_default();
        Self {
            id,
            number,
            kind,
            progress,
            value: None,
            encoded,
            started,
            rows,
        }
    }

    /// Its id.
    #[must_use]
    pub const fn id(&self) -> VatId {
        self.id
    }

    /// The number of its last crank.
    #[must_use]
    pub const fn crank(&self) -> CrankNumber {
        self.progress.crank
    }

    /// Hands it a delivery and runs one crank to its end, whatever the vat's code does.
    ///
    /// # Panics
    ///
    /// Never for what the vat does. When the delivery's body is no delivery, which validation
    /// before applying excludes.
    #[inline]
    pub fn run(&mut self, delivery: &Delivery, shared: &Shared, space: &mut Workspace) -> Finished {
        let number = self.progress.crank.next();
        let now = self.progress.now.max(delivery.time());
        space.gathered.clear();
        space.state.clear();
        space.acts.clear();
        space.record.clear();

        let act = delivery
            .act()
            .expect("a record is validated before its deliveries are made");
        let cx = Crank::new(
            self.id,
            self.number,
            number,
            delivery.id(),
            now,
            shared,
            &self.rows,
            self.progress.spawned,
            &mut space.gathered,
        );
        let ran = catch_unwind(AssertUnwindSafe(|| {
            drive(
                &self.kind,
                &mut self.value,
                &self.encoded,
                self.started,
                &act,
                &cx,
                &mut space.state,
                delivery.answer_wanted(),
            )
        }));
        let (answer, note) = match ran {
            Ok(answer) => (answer, None),
            Err(panic) => {
                let note = panic_text(&*panic);
                // The payload's own drop is user code, and may panic again.
                let _ = catch_unwind(AssertUnwindSafe(|| drop(panic)));
                let rejection =
                    Rejection::with_cause(Cause::Panicked, "panicked", "the vat's code panicked");
                (Err(rejection), Some(note))
            }
        };
        let exit = cx.exit.get();
        let doom = cx.doom.take();
        drop(cx);

        let ended = match (doom, exit, answer) {
            (Some(doom), _, _) => Err((doom, false)),
            (None, _, Err(rejection)) if rejection.cause() == Cause::Panicked => {
                Err((rejection, false))
            }
            (None, Some(Exit::Failure), answer) => {
                let why = match answer {
                    Err(rejection) => rejection.message().to_owned(),
                    Ok(_) => "the vat ended itself as failed".to_owned(),
                };
                Err((
                    Rejection::with_cause(Cause::ExitFailure, "exit_failure", why),
                    true,
                ))
            }
            (None, _, Err(rejection)) => Err((rejection, false)),
            (None, exit, Ok(answer)) => Ok((answer, exit == Some(Exit::Success))),
        };

        self.progress.crank = number;
        self.progress.now = now;
        let vat_ended = match ended {
            Ok((answer, vat_ended)) => {
                self.commit(space, delivery, number, now, answer.as_ref(), vat_ended);
                vat_ended
            }
            Err((rejection, exited)) => {
                // A vat that was never started has nothing to go back to.
                let vat_ended = exited || !self.started;
                self.abandon(space, delivery, number, now, rejection, vat_ended);
                vat_ended
            }
        };
        Finished {
            record: RecordBytes::from(&space.record[..]),
            vat_ended,
            note,
        }
    }

    #[inline]
    fn commit(
        &mut self,
        space: &mut Workspace,
        delivery: &Delivery,
        number: CrankNumber,
        now: Time,
        answer: Option<&Payload>,
        vat_ended: bool,
    ) {
        let changed = !self.started || space.state != self.encoded;
        let end = CrankEnd::Committed {
            state: changed.then_some(&space.state[..]),
            answer: answer.map(Payload::bytes),
            vat_ended,
        };
        let record = CrankRecord::new(self.id, number, delivery.id(), now, end);
        let gathered = &mut space.gathered;
        if gathered.writes.is_empty() {
            record.write(&gathered.acts, &mut space.record);
        } else {
            space.acts.extend_from_slice(&gathered.acts);
            for (key, value) in &gathered.writes {
                match value {
                    Some(value) => Act::Put { key, value }.write(&mut space.acts),
                    None => Act::Delete { key }.write(&mut space.acts),
                }
            }
            record.write(&space.acts, &mut space.record);
            for (key, value) in std::mem::take(&mut gathered.writes) {
                match value {
                    Some(value) => self.rows.insert(key, value),
                    None => self.rows.remove(&key),
                };
            }
        }
        self.progress.spawned += gathered.spawned;
        if changed {
            std::mem::swap(&mut self.encoded, &mut space.state);
        }
        self.started = true;
    }

    #[cold]
    fn abandon(
        &mut self,
        space: &mut Workspace,
        delivery: &Delivery,
        number: CrankNumber,
        now: Time,
        rejection: Rejection,
        vat_ended: bool,
    ) {
        if let Some(value) = self.value.take() {
            // The value's drop is user code.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(value)));
        }
        let end = CrankEnd::Abandoned {
            rejection,
            vat_ended,
        };
        CrankRecord::new(self.id, number, delivery.id(), now, end).write(&[], &mut space.record);
    }
}

impl std::fmt::Debug for LiveVat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LiveVat")
            .field("id", &self.id)
            .field("kind", &self.kind.name())
            .field("progress", &self.progress)
            .field("state_bytes", &self.encoded.len())
            .field("rows", &self.rows.len())
            .finish_non_exhaustive()
    }
}

impl Drop for LiveVat {
    fn drop(&mut self) {
        if let Some(value) = self.value.take() {
            let _ = catch_unwind(AssertUnwindSafe(|| drop(value)));
        }
    }
}

/// The abortable part: everything in here may panic, and nothing outside the buffers remembers it.
/// Gives the answer if someone wants it.
#[expect(
    clippy::too_many_arguments,
    reason = "the fields of a vat, borrowed apart"
)]
#[inline]
fn drive(
    kind: &Arc<dyn AnyKind>,
    value: &mut Option<Box<dyn AnyVat>>,
    encoded: &[u8],
    started: bool,
    act: &Act<'_>,
    cx: &Crank<'_>,
    state: &mut Vec<u8>,
    answer_wanted: bool,
) -> Result<Option<Payload>, Rejection> {
    let answer = match *act {
        Act::Spawn {
            kind: name, args, ..
        } => {
            *value = Some(
                kind.create(cx, &Message::new(name, args))
                    .map_err(Rejection::refused)?,
            );
            // Who made it under a request id and asks again must be told the first vat's id.
            Payload::of(&cx.me())
                .map_err(|error| Rejection::with_cause(Cause::State, "id", error.to_string()))?
        }
        Act::Send { .. } if !started => {
            return Err(Rejection::with_cause(
                Cause::NotStarted,
                "not_started",
                "the vat was never started",
            ));
        }
        Act::Send { method, args, .. } => {
            let value = match value {
                Some(value) => value,
                None => value.insert(kind.decode(encoded).map_err(|error| {
                    Rejection::with_cause(Cause::State, "state", error.to_string())
                })?),
            };
            value
                .receive(cx, &Message::new(method, args))
                .map_err(Rejection::refused)?
        }
        _ => {
            return Err(Rejection::with_cause(
                Cause::Illegal,
                "delivery",
                "not a delivery",
            ));
        }
    };
    if cx.doomed.get() {
        return Ok(None);
    }
    if let Some(value) = value {
        value
            .encode(state)
            .map_err(|error| Rejection::with_cause(Cause::State, "state", error.to_string()))?;
        if cx.shared.check_canonical {
            check_canonical(kind, state)?;
        }
    }
    let limits = &cx.shared.limits;
    if state.len() > limits.state_bytes {
        let (len, limit) = (state.len(), limits.state_bytes);
        let message = format!("a state of {len} bytes is above the limit of {limit} bytes");
        return Err(Rejection::with_cause(Cause::Limit, "state_bytes", message));
    }
    if answer.bytes().len() > limits.payload_bytes {
        let (len, limit) = (answer.bytes().len(), limits.payload_bytes);
        let message = format!("an answer of {len} bytes is above the limit of {limit} bytes");
        return Err(Rejection::with_cause(
            Cause::Limit,
            "payload_bytes",
            message,
        ));
    }
    Ok(answer_wanted.then_some(answer))
}

/// Whether the encoding survives being decoded and encoded again.
fn check_canonical(kind: &Arc<dyn AnyKind>, state: &[u8]) -> Result<(), Rejection> {
    let fail = |message: String| Rejection::with_cause(Cause::State, "not_canonical", message);
    let mut again = Vec::with_capacity(state.len());
    kind.decode(state)
        .and_then(|value| value.encode(&mut again))
        .map_err(|error| fail(error.to_string()))?;
    if again == state {
        Ok(())
    } else {
        Err(fail(
            "the state encodes to other bytes after a round trip".to_owned(),
        ))
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned());
    cut(text.unwrap_or_else(|| "a panic without a text".to_owned()))
}

#[cfg(test)]
mod tests;
