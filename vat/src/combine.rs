//! Several promises as one: code over [`Crank::watch`], as a vat could write it for itself.
//!
//! What is known so far stands in rows of the vat's store, in a room of its own, so it lasts as
//! everything else does. The continuations have names that no vat can give to its own.

use serde::{Deserialize, Serialize};

use crate::body::outcome_bytes;
use crate::crank::Crank;
use crate::delivery::Notice;
use crate::payload::{Outcome, Payload};
use crate::reference::{Promise, Slot};
use crate::rejection::{Cause, Rejection};
use crate::vat::Answer;

/// The first character of these continuations' names; no name that a vat gives may have it.
const RESERVED: char = '\u{1}';
const JOIN: &str = "\u{1}join";
const RACE: &str = "\u{1}race";

/// What is known of promises that are joined.
#[derive(Serialize, Deserialize)]
struct Joined {
    all: Promise,
    count: u32,
    missing: u32,
}

/// A promise for all of them. Once each has been fulfilled it is fulfilled with a list of promises
/// (`Vec<Promise>`), in the same order, each of which knows its [outcome](Promise::outcome) or is
/// the object that it came to; as soon as one is rejected it is rejected with that. When the vat
/// ends before, it is rejected, and so it is ([`Cause::Limit`]) when what they came to is together
/// above what one crank may leave, or wrapped in too many others.
///
/// ```
/// # use crankcase_vat::{Answer, Crank, Promise, Ref, join};
/// fn both(cx: &Crank<'_>, one: Ref, other: Ref) -> Answer {
///     let asked = [cx.send(one, "get", &()), cx.send(other, "get", &())];
///     let all = join(cx, &asked);
///     Ok(cx.watch(all, "got_both", &()).into())
/// }
/// ```
///
/// Illegal, and dooms the crank: a promise that the vat does not have.
pub fn join(cx: &Crank<'_>, promises: &[Promise]) -> Promise {
    if promises.is_empty() {
        return cx.resolved(&Vec::<Promise>::new());
    }
    let count = promises.len() as u32;
    let all = cx.promise();
    let Some(key) = key_of(&all) else { return all };
    let joined = Joined {
        all: all.clone(),
        count,
        missing: count,
    };
    cx.set_combined(&key, &joined);
    for (index, promise) in (0u32..).zip(promises) {
        cx.watch_reserved(promise, JOIN, &(key, index));
    }
    all
}

/// A promise that comes to what the first of them comes to. Of none it is rejected at once, and as
/// [`join`] is when that is above what one crank may leave.
///
/// Illegal, and dooms the crank: a promise that the vat does not have.
pub fn race(cx: &Crank<'_>, promises: &[Promise]) -> Promise {
    if promises.is_empty() {
        return cx.rejected(Rejection::new("empty_race", "no promise was given"));
    }
    let first = cx.promise();
    let Some(key) = key_of(&first) else {
        return first;
    };
    cx.set_combined(&key, &first);
    for promise in promises {
        cx.watch_reserved(promise, RACE, &key);
    }
    first
}

/// The key of what is known: the number of the promise for all.
fn key_of(promise: &Promise) -> Option<[u8; 8]> {
    promise.id().map(|id| id.counter.to_be_bytes())
}

fn key_of_part(key: [u8; 8], index: u32) -> [u8; 12] {
    let mut part = [0; 12];
    part[..8].copy_from_slice(&key);
    part[8..].copy_from_slice(&index.to_be_bytes());
    part
}

/// Whether a notice is for this code and not for the vat's.
pub(crate) fn is_reserved(method: &str) -> bool {
    method.starts_with(RESERVED)
}

/// A promise that came to its end, in the hand.
fn settled(outcome: &Outcome) -> Promise {
    match outcome {
        Ok(payload) => match (payload.slots(), payload.bytes()) {
            ([slot @ Slot::Object(_)], [0]) => Promise::of_slot(slot.clone()),
            _ => Promise::of_slot(Slot::Settled(outcome_bytes(outcome).into())),
        },
        Err(_) => Promise::of_slot(Slot::Settled(outcome_bytes(outcome).into())),
    }
}

/// Takes note of what one of the promises came to.
pub(crate) fn notified(cx: &Crank<'_>, notice: &Notice<'_>) -> Answer {
    match notice.method() {
        JOIN => {
            let (key, index): ([u8; 8], u32) = notice.context()?;
            // Nothing is there once one of them has been rejected.
            let Some(mut joined) = cx.get_combined::<Joined>(&key)? else {
                return Ok(Payload::empty());
            };
            if let Err(why) = notice.outcome() {
                cx.reject(&joined.all, why.clone());
                forget(cx, key, joined.count);
                return Ok(Payload::empty());
            }
            joined.missing -= 1;
            let part = settled(notice.outcome());
            if joined.missing > 0 {
                cx.set_combined(&key_of_part(key, index), &part);
                cx.set_combined(&key, &joined);
                return Ok(Payload::empty());
            }
            let mut parts = Vec::with_capacity(joined.count as usize);
            for number in 0..joined.count {
                if number == index {
                    parts.push(part.clone());
                } else {
                    parts.extend(cx.get_combined::<Promise>(&key_of_part(key, number))?);
                }
            }
            cx.fulfil(&joined.all, &parts);
            forget(cx, key, joined.count);
        }
        RACE => {
            let key: [u8; 8] = notice.context()?;
            if let Some(first) = cx.get_combined::<Promise>(&key)? {
                match notice.outcome() {
                    Ok(value) => cx.fulfil_encoded(&first, value),
                    Err(why) => cx.reject(&first, why.clone()),
                }
                cx.forget_combined(&key);
            }
        }
        _ => {}
    }
    Ok(Payload::empty())
}

/// Decides after [`notified`] could not, because what it would have written is above a limit or too
/// deep: there is no other notice that would.
pub(crate) fn give_up(cx: &Crank<'_>, notice: &Notice<'_>, why: &Rejection) -> Answer {
    let rejected = |promise: &Promise| {
        let why = format!("what the promises came to cannot be put together: {why}");
        cx.reject(
            promise,
            Rejection::with_cause(Cause::Limit, "combined", why),
        );
    };
    match notice.method() {
        JOIN => {
            let (key, _): ([u8; 8], u32) = notice.context()?;
            if let Some(joined) = cx.get_combined::<Joined>(&key)? {
                rejected(&joined.all);
                forget(cx, key, joined.count);
            }
        }
        RACE => {
            let key: [u8; 8] = notice.context()?;
            if let Some(first) = cx.get_combined::<Promise>(&key)? {
                rejected(&first);
                cx.forget_combined(&key);
            }
        }
        _ => {}
    }
    Ok(Payload::empty())
}

fn forget(cx: &Crank<'_>, key: [u8; 8], count: u32) {
    for number in 0..count {
        cx.forget_combined(&key_of_part(key, number));
    }
    cx.forget_combined(&key);
}
