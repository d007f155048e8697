//! How a vat's code is called: what for, with what in its hands, and where it leaves what it made.

use std::any::Any;
use std::sync::Arc;

use crate::body::{Body, Resolution};
use crate::combine;
use crate::crank::{Crank, write_answer};
use crate::delivery::{Delivery, Message, Notice, Other, What, known_outcome, object_of, parts};
use crate::held::Held;
use crate::ids::ObjectId;
use crate::payload::Payload;
use crate::record::Act;
use crate::reference::{Slot, settled_bytes};
use crate::rejection::{Cause, Rejection, cut};
use crate::vat::{AnyKind, AnyVat};

/// What the vat's code is called for.
pub(crate) enum Task<'a> {
    Start {
        kind: &'a str,
        args: &'a [u8],
    },
    Message {
        object: u64,
        method: &'a str,
        args: &'a [u8],
    },
    Notice {
        object: u64,
        method: &'a str,
        context: &'a [u8],
        outcome: crate::Outcome,
    },
    Dropped {
        object: u64,
    },
    Upgrade {
        kind: &'a str,
        version: u32,
    },
}

impl<'a> Task<'a> {
    /// Reads it from a delivery, with the references that stand in its body and all that came.
    #[inline]
    pub(crate) fn of(
        delivery: &'a Delivery,
        arrived: &mut Vec<Slot>,
        came: &mut Held,
    ) -> Result<Self, crate::DecodeError> {
        let invalid = crate::DecodeError::Invalid {
            what: "delivery",
            offset: 0,
        };
        let (act, via) = match delivery.what() {
            What::Act(at) => match at.read_to_root()? {
                Some(message) => {
                    let args = parts(&message.args, arrived)?;
                    if !arrived.is_empty() {
                        came.add(arrived)?;
                    }
                    return Ok(Self::Message {
                        object: ObjectId::ROOT,
                        method: message.method()?,
                        args,
                    });
                }
                None => (at.read()?, None),
            },
            What::Other(other) => match &**other {
                Other::Via { act, object } => (act.read()?, Some(*object)),
                Other::Outcome { act, resolution } => {
                    let Act::Watch {
                        on,
                        object,
                        method,
                        context,
                        ..
                    } = act.read()?
                    else {
                        return Err(invalid);
                    };
                    let context = parts(&context, arrived)?;
                    let outcome = match resolution {
                        Some(resolution) => Resolution::read(resolution)?.to_outcome(),
                        None => {
                            // What was watched came with the watch itself.
                            on.each_reference(&mut |reference| came.push(reference))?;
                            known_outcome(&on).ok_or(invalid)?
                        }
                    };
                    came.add(arrived)?;
                    if let Ok(value) = &outcome {
                        came.add(value.slots())?;
                    }
                    if resolution.is_none() {
                        arrived.push(on);
                    }
                    return Ok(Self::Notice {
                        object,
                        method,
                        context,
                        outcome,
                    });
                }
                Other::Dropped { object, .. } => return Ok(Self::Dropped { object: *object }),
                Other::Settled { .. } | Other::Clean => return Err(invalid),
            },
        };
        let task = match act {
            Act::Spawn { kind, args, .. } => Self::Start {
                kind,
                args: parts(&args, arrived)?,
            },
            Act::Send {
                to, method, args, ..
            } => Self::Message {
                object: via.unwrap_or_else(|| object_of(&to)),
                method,
                args: parts(&args, arrived)?,
            },
            Act::Upgrade { kind, version, .. } => return Ok(Self::Upgrade { kind, version }),
            _ => return Err(invalid),
        };
        if !arrived.is_empty() {
            came.add(arrived)?;
        }
        Ok(task)
    }

    pub(crate) const fn object(&self) -> u64 {
        match self {
            Self::Start { .. } | Self::Upgrade { .. } => ObjectId::ROOT,
            Self::Message { object, .. }
            | Self::Notice { object, .. }
            | Self::Dropped { object } => *object,
        }
    }
}

/// Where what a crank leaves goes.
pub(crate) struct After<'a> {
    pub(crate) bytes: &'a mut Vec<u8>,
    pub(crate) slots: &'a mut Vec<Slot>,
    pub(crate) answer: &'a mut Vec<u8>,
    /// Whether the state is as it was before, and is not encoded.
    pub(crate) state_left: &'a mut bool,
    /// The version of its code that the vat goes on with, if it is another.
    pub(crate) became: &'a mut Option<Arc<dyn AnyKind>>,
    pub(crate) answer_wanted: bool,
}

/// The abortable part: everything in here may panic, and nothing outside the buffers remembers it.
#[expect(
    clippy::too_many_arguments,
    reason = "the fields of a vat, borrowed apart"
)]
#[inline]
pub(crate) fn drive(
    kind: &Arc<dyn AnyKind>,
    value: &mut Option<Box<dyn AnyVat>>,
    encoded: &[u8],
    started: bool,
    task: &Task<'_>,
    arrived: &[Slot],
    cx: &Crank<'_>,
    after: &mut After<'_>,
) -> Result<(), Rejection> {
    let bad_state = |why: String| Rejection::with_cause(Cause::State, "state", why);
    if let Task::Start { kind: name, args } = task {
        let made = kind.create(cx, &Message::new(name, args, arrived));
        *value = Some(made.map_err(Rejection::refused)?);
    } else if !started {
        return Err(Rejection::with_cause(
            Cause::NotStarted,
            "not_started",
            "the vat was never started",
        ));
    }
    if let Task::Upgrade {
        kind: name,
        version,
    } = task
    {
        if *name != kind.name() {
            let why = format!("the vat is of the kind {:?}, and not {name:?}", kind.name());
            return Err(Rejection::new("upgrade", why));
        }
        let body = Body::read(encoded).and_then(|body| body.to_payload());
        let state = body.map_err(|error| bad_state(error.to_string()))?;
        if let Some((became, upgraded)) = upgrade(kind, *version, state, cx)? {
            *value = Some(upgraded);
            *after.became = Some(became);
        }
    }
    let value = match value {
        Some(value) => value,
        None => {
            let body = Body::read(encoded).map_err(|error| bad_state(error.to_string()))?;
            let slots = body
                .to_slots()
                .map_err(|error| bad_state(error.to_string()))?;
            let decoded = kind.decode(body.bytes(), &slots);
            value.insert(decoded.map_err(|error| bad_state(error.to_string()))?)
        }
    };
    let answered = match task {
        // Who made it under a request id and asks again must be told the first vat's id.
        Task::Start { .. } => {
            Ok(Payload::of(&cx.id()).map_err(|error| bad_state(error.to_string()))?)
        }
        Task::Message {
            object: ObjectId::ROOT,
            method,
            args,
        } => value.receive(cx, &Message::new(method, args, arrived)),
        Task::Message {
            object,
            method,
            args,
        } => {
            let found = cx.read_object(*object).ok_or_else(|| {
                let why = format!("vat {} has no object {object}", cx.id());
                Rejection::with_cause(Cause::NoSuchObject, "no_such_object", why)
            })?;
            value.receive_at(cx, &found, &Message::new(method, args, arrived))
        }
        Task::Notice {
            object,
            method,
            context,
            outcome,
        } => {
            // The list of what came with the delivery ends with what was watched.
            let notice = Notice::new(method, context, arrived, *object, outcome.clone());
            match combine::is_reserved(method) {
                true => match combine::notified(cx, &notice) {
                    done if !cx.doomed.get() => done,
                    _ => combine::give_up(cx, &notice, &cx.begin_again()),
                },
                false => value.notified(cx, &notice),
            }
        }
        Task::Dropped { object } => value.dropped(cx, *object).map(|()| Payload::empty()),
        Task::Upgrade { .. } => Ok(Payload::empty()),
    };
    // Looked at where it is, because moving it is a part of what a crank costs.
    let answer = match &answered {
        Ok(answer) => answer,
        Err(_) => return answered.map(drop).map_err(Rejection::refused),
    };
    if cx.doomed.get() {
        return Ok(());
    }
    let limits = &cx.shared.limits;
    if after.answer_wanted {
        if answer.bytes().len() > limits.payload_bytes {
            let (len, limit) = (answer.bytes().len(), limits.payload_bytes);
            let message = format!("an answer of {len} bytes is above the limit of {limit} bytes");
            return Err(Rejection::with_cause(
                Cause::Limit,
                "payload_bytes",
                message,
            ));
        }
        let carried = settled_bytes(answer.slots());
        if carried > limits.most_output() {
            let limit = limits.most_output();
            let message = format!(
                "what the promises in an answer came to takes {carried} bytes, above the limit of \
                 {limit} bytes"
            );
            return Err(Rejection::with_cause(Cause::Limit, "output_bytes", message));
        }
        if !write_answer(cx, answer, after.answer) {
            return Ok(());
        }
    }
    let makes_state = matches!(task, Task::Start { .. } | Task::Upgrade { .. });
    let leaves_state = cx.state_left.get() && !makes_state;
    let checks = cx.shared.check_canonical || cfg!(debug_assertions);
    if leaves_state && !checks {
        *after.state_left = true;
        return Ok(());
    }
    value
        .encode(after.bytes, after.slots)
        .map_err(|error| bad_state(error.to_string()))?;
    if leaves_state {
        check_left(encoded, after.bytes, after.slots)?;
    }
    if !after.slots.is_empty() {
        let mut gathered = cx.gathered.borrow_mut();
        if !cx.check_slots(after.slots, &mut gathered, false) {
            return Ok(());
        }
    }
    if cx.shared.check_canonical {
        let kind = after.became.as_ref().unwrap_or(kind);
        check_canonical(kind, after.bytes, after.slots)?;
    }
    let len = after.bytes.len().saturating_add(settled_bytes(after.slots));
    if len > limits.state_bytes {
        let limit = limits.state_bytes;
        let message = format!("a state of {len} bytes is above the limit of {limit} bytes");
        return Err(Rejection::with_cause(Cause::Limit, "state_bytes", message));
    }
    Ok(())
}

/// A version of a kind's code, and a value as that has it.
type Upgraded = (Arc<dyn AnyKind>, Box<dyn AnyVat>);

/// The vat's value as another version of its code has it, which may take several steps: each version
/// takes over the states of one before it. Nothing when it has that version already.
fn upgrade(
    kind: &Arc<dyn AnyKind>,
    version: u32,
    state: Payload,
    cx: &Crank<'_>,
) -> Result<Option<Upgraded>, Rejection> {
    let (name, has) = (kind.name(), kind.version());
    let fail = |why: String| Rejection::new("upgrade", why);
    if version == has {
        return Ok(None);
    }
    let mut steps = Vec::new();
    let mut next = version;
    while next != has {
        let Some(step) = cx.shared.kinds.get_version(name, next) else {
            let why =
                format!("no version {next} of the kind {name:?} is registered with this host");
            return Err(fail(why));
        };
        match step.migrates_from() {
            Some(from) if from < next && from >= has => next = from,
            _ => {
                let why = format!(
                    "the vat has version {has} of the kind {name:?}, and version {next} does not \
                     take over its states"
                );
                return Err(fail(why));
            }
        }
        steps.push(step);
    }
    let (mut state, mut before) = (state, kind);
    loop {
        let Some(step) = steps.pop() else {
            return Ok(None);
        };
        if let (Some(shape), Some(old)) = (step.shape(), before.shape()) {
            let taken_over = shape.check_takes_over(old);
            taken_over.map_err(|left_out| fail(left_out.to_string()))?;
        }
        let value = step.migrate(cx, &state).map_err(Rejection::refused)?;
        if steps.is_empty() {
            return Ok(Some((Arc::clone(step), value)));
        }
        let (mut bytes, mut slots) = (Vec::new(), Vec::new());
        let encoded = value.encode(&mut bytes, &mut slots);
        encoded.map_err(|error| fail(error.to_string()))?;
        (state, before) = (Payload::from_parts(bytes, slots), step);
    }
}

/// Whether a state that the vat says it has left as it was is that.
fn check_left(encoded: &[u8], state: &[u8], slots: &[Slot]) -> Result<(), Rejection> {
    let mut now = Vec::with_capacity(encoded.len());
    Body::put(&mut now, slots, state);
    if now == encoded {
        return Ok(());
    }
    let why = "a crank that said it leaves the state as it was has changed it: a cell, a lock or an \
               atomic in the state was written through a shared reference";
    Err(Rejection::with_cause(Cause::State, "state_written", why))
}

/// Whether the encoding survives being decoded and encoded again.
fn check_canonical(kind: &Arc<dyn AnyKind>, state: &[u8], slots: &[Slot]) -> Result<(), Rejection> {
    let fail = |message: String| Rejection::with_cause(Cause::State, "not_canonical", message);
    let (mut again, mut slots_again) = (Vec::with_capacity(state.len()), Vec::new());
    kind.decode(state, slots)
        .and_then(|value| value.encode(&mut again, &mut slots_again))
        .map_err(|error| fail(error.to_string()))?;
    if again == state && slots_again == slots {
        Ok(())
    } else {
        Err(fail(
            "the state encodes to other bytes after a round trip".to_owned(),
        ))
    }
}

pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned());
    cut(text.unwrap_or_else(|| "a panic without a text".to_owned()))
}
