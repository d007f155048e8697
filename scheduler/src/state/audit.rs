//! A recount from nothing: what states, stores, messages and promises hold, against what was counted.
//!
//! [`State::apply`](super::State::apply) counts by the changes that records carry. This reads what
//! the records put where (the states, rows and bodies themselves), adds all of it up anew after each
//! record, and compares. It shares no arithmetic with what it checks. It takes as long as there are
//! references, so it is a switch for debugging, and a part of verification.

use std::collections::BTreeMap;

use crankcase_journal::{ReadError, TableSnapshot};
use crankcase_vat::record::{Act, CrankEnd, Record};
use crankcase_vat::{
    ActAt, Body, DecodeError, DeliveryId, ObjectId, PromiseId, ROOMS_THAT_HOLD, Reference,
    Resolution, Seq, VatId, row_holds_references,
};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::explain::Holder;

use super::rows::{STATES, STORES, store_key};
use super::{Fate, Item, State};

/// What stands where; see the module's text.
#[derive(Debug, Default)]
pub(crate) struct Audit {
    states: FxHashMap<VatId, Vec<Reference>>,
    rows: FxHashMap<VatId, BTreeMap<Box<[u8]>, Vec<Reference>>>,
    /// What the bodies of deliveries hold that are on their way.
    bodies: FxHashMap<DeliveryId, Vec<Reference>>,
}

/// A tally of who holds what.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    objects: BTreeMap<ObjectId, u64>,
    /// By promise: how often it is on the way, and how often each vat holds it.
    promises: BTreeMap<PromiseId, (u64, BTreeMap<VatId, u64>)>,
}

impl Tally {
    fn held_by(&mut self, vat: VatId, reference: Reference) {
        match reference {
            Reference::Object(object) if object.vat == vat => {}
            Reference::Object(object) => *self.objects.entry(object).or_default() += 1,
            Reference::Promise(promise) => {
                let (_, holders) = self.promises.entry(promise).or_default();
                *holders.entry(vat).or_default() += 1;
            }
        }
    }

    fn on_the_way(&mut self, reference: Reference, times: u64) {
        match reference {
            Reference::Object(object) => *self.objects.entry(object).or_default() += times,
            Reference::Promise(promise) => self.promises.entry(promise).or_default().0 += times,
        }
    }
}

fn references(body: &Body<'_>) -> Result<Vec<Reference>, DecodeError> {
    let mut found = Vec::new();
    body.each_reference(&mut |reference| found.push(reference))?;
    Ok(found)
}

/// What the body of a delivery holds.
fn held_by_act(act: &Act<'_>) -> Result<Option<Vec<Reference>>, DecodeError> {
    Ok(match act {
        Act::Send { args, .. } | Act::Spawn { args, .. } => Some(references(args)?),
        Act::Watch { on, context, .. } => {
            let mut held = references(context)?;
            if !matches!(on, crankcase_vat::Slot::Promise(_)) {
                on.each_reference(&mut |reference| held.push(reference))?;
            }
            Some(held)
        }
        _ => None,
    })
}

impl Audit {
    /// What stands in a state that was recovered, with the bodies of what waits.
    ///
    /// # Errors
    ///
    /// [`ReadError`] when the tables cannot be read.
    pub(crate) fn of<'a>(
        state: &State,
        tables: &TableSnapshot,
        bodies: impl Iterator<Item = (DeliveryId, &'a ActAt)>,
    ) -> Result<Self, ReadError> {
        let mut audit = Self::default();
        for (_, entry) in state.vats.iter() {
            let id = entry.id;
            let kept = match entry.newer_state() {
                Some(state) => Some(state.to_vec()),
                None if entry.stored => tables.get(STATES, &id.to_bytes())?,
                None => None,
            };
            if let Some(kept) = kept.filter(|_| entry.ended().is_none()) {
                audit.states.insert(id, held_in(&kept));
            }
            for room in ROOMS_THAT_HOLD {
                for row in tables.prefix(STORES, &store_key(id, &[room])) {
                    let (key, value) = row?;
                    audit.put_row(id, &key[16..], &value);
                }
            }
            for (key, value) in entry.newer_rows() {
                match value {
                    Some(value) => audit.put_row(id, key, value),
                    None => audit.delete_row(id, key),
                }
            }
        }
        for (delivery, act) in bodies {
            if let Ok(Some(held)) = act.read().and_then(|act| held_by_act(&act)) {
                audit.bodies.insert(delivery, held);
            }
        }
        Ok(audit)
    }

    fn put_row(&mut self, vat: VatId, key: &[u8], value: &[u8]) {
        if row_holds_references(key) {
            let rows = self.rows.entry(vat).or_default();
            rows.insert(key.into(), held_in(value));
        }
    }

    fn delete_row(&mut self, vat: VatId, key: &[u8]) {
        if let Some(rows) = self.rows.get_mut(&vat) {
            rows.remove(key);
        }
    }

    /// Takes note of what a record puts where; `state` is what follows from it.
    ///
    /// # Errors
    ///
    /// What differs between the count and the recount.
    pub(crate) fn check(&mut self, seq: Seq, record: &[u8], state: &State) -> Result<(), String> {
        self.note(seq, record).map_err(|error| error.to_string())?;
        self.compare(state)
    }

    pub(crate) fn note(&mut self, seq: Seq, record: &[u8]) -> Result<(), DecodeError> {
        let mut index = 0;
        let mut note_body = |act: &Act<'_>| {
            let delivery = DeliveryId::new(seq, index);
            index += u32::from(act.is_delivery());
            if let Some(held) = held_by_act(act)?.filter(|held| !held.is_empty()) {
                self.bodies.insert(delivery, held);
            }
            Ok::<(), DecodeError>(())
        };
        match Record::parse(record)? {
            Record::Input(input) => {
                for entry in input.entries() {
                    for act in entry?.acts() {
                        note_body(&act?)?;
                    }
                }
            }
            Record::Crank(crank) => {
                for act in crank.acts() {
                    note_body(&act?)?;
                }
                for act in crank.acts() {
                    match act? {
                        Act::Put { key, value } => self.put_row(crank.vat, key, value),
                        Act::Delete { key } => self.delete_row(crank.vat, key),
                        _ => {}
                    }
                }
                match &crank.end {
                    CrankEnd::Committed { vat, .. } | CrankEnd::Abandoned { vat, .. }
                        if vat.has_ended() =>
                    {
                        self.states.remove(&crank.vat);
                    }
                    CrankEnd::Committed {
                        state: Some(state), ..
                    } => {
                        self.states.insert(crank.vat, held_in(state));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Who holds a reference.
    pub(crate) fn holders(&self, state: &State, of: Reference) -> Vec<Holder> {
        let times = |held: &[Reference]| held.iter().filter(|held| **held == of).count() as u64;
        let mut holders = Vec::new();
        let mut note = |who: String, place: String, times: u64| {
            if times > 0 {
                holders.push(Holder::new(who, place, times));
            }
        };
        for (vat, held) in &self.states {
            note(format!("vat {vat}"), "its state".to_owned(), times(held));
        }
        for (vat, rows) in &self.rows {
            for (key, held) in rows {
                note(format!("vat {vat}"), row_name(key), times(held));
            }
        }
        for (delivery, held) in &self.bodies {
            let place = "its body, on its way".to_owned();
            note(format!("delivery {delivery}"), place, times(held));
        }
        for (id, promise) in state.promises.iter() {
            if let Fate::Settled { resolution, .. } = &promise.fate
                && let Ok(Resolution::Value(body)) = Resolution::read(resolution)
                && let Ok(held) = references(&body)
            {
                note(
                    format!("promise {id}"),
                    "what it came to".to_owned(),
                    times(&held),
                );
            }
        }
        for (held, times) in state.counts.held_by_host() {
            if held == of {
                note("the host".to_owned(), "its holds".to_owned(), times);
            }
        }
        if let Reference::Object(object) = of
            && object.is_root()
        {
            for (name, vat) in &state.names {
                let times = u64::from(*vat == object.vat);
                note(
                    "the host".to_owned(),
                    format!("the root name {name:?}"),
                    times,
                );
            }
        }
        holders
    }

    /// Adds everything up, and compares it with what was counted.
    ///
    /// # Errors
    ///
    /// The first difference.
    pub(crate) fn compare(&mut self, state: &State) -> Result<(), String> {
        let mut tally = Tally::default();
        self.rows.retain(|vat, _| state.vats.find(*vat).is_some());
        self.states.retain(|vat, _| state.vats.find(*vat).is_some());
        for (vat, held) in &self.states {
            held.iter().for_each(|held| tally.held_by(*vat, *held));
        }
        for (vat, rows) in &self.rows {
            for held in rows.values().flatten() {
                tally.held_by(*vat, *held);
            }
        }
        let mut on_the_way: FxHashSet<DeliveryId> = state.parked().collect();
        for (_, entry) in state.vats.iter() {
            for waiting in entry.waiting() {
                on_the_way.insert(waiting.delivery);
                if let Item::Outcome {
                    promise: Some(promise),
                }
                | Item::Settled { promise } = waiting.item
                {
                    tally.on_the_way(Reference::Promise(promise), 1);
                }
            }
        }
        self.bodies
            .retain(|delivery, _| on_the_way.contains(delivery));
        for held in self.bodies.values().flatten() {
            tally.on_the_way(*held, 1);
        }
        for (_, promise) in state.promises.iter() {
            if let Fate::Settled { resolution, .. } = &promise.fate
                && let Ok(Resolution::Value(body)) = Resolution::read(resolution)
            {
                for held in references(&body).map_err(|error| error.to_string())? {
                    tally.on_the_way(held, 1);
                }
            }
        }
        for (held, times) in state.counts.held_by_host() {
            tally.on_the_way(held, times);
        }
        tally
            .objects
            .retain(|object, _| !object.is_root() && state.find(object.vat).is_some());
        let counted = Self::counted(state);
        if tally == counted {
            return Ok(());
        }
        for (object, times) in &tally.objects {
            let found = counted.objects.get(object);
            if found != Some(times) {
                return Err(format!(
                    "object {object} is held {times} times, counted: {found:?}"
                ));
            }
        }
        for (promise, holders) in &tally.promises {
            let found = counted.promises.get(promise);
            if found != Some(holders) {
                return Err(format!(
                    "promise {promise} is held {holders:?}, counted: {found:?}"
                ));
            }
        }
        Err(format!(
            "more is counted than held: {counted:?} against {tally:?}"
        ))
    }

    fn counted(state: &State) -> Tally {
        let mut counted = Tally::default();
        for (object, count) in state.counts.iter() {
            if count.times > 0 && state.find(object.vat).is_some() {
                counted.objects.insert(object, count.times);
            }
        }
        for (id, promise) in state.promises.iter() {
            let holders: BTreeMap<VatId, u64> = promise
                .holders
                .iter()
                .map(|(vat, holder)| (*vat, holder.times))
                .collect();
            if promise.on_the_way > 0 || !holders.is_empty() {
                counted.promises.insert(id, (promise.on_the_way, holders));
            }
        }
        counted
    }
}

/// A row of a store, for people.
fn row_name(key: &[u8]) -> String {
    use std::fmt::Write;
    match crankcase_vat::object_of_row(key) {
        Some(number) => format!("the state of its object {number}"),
        None => {
            let mut name = "the row ".to_owned();
            for byte in key.get(1..).unwrap_or_default() {
                // Writing to a string cannot fail.
                let _ = write!(name, "{byte:02x}");
            }
            name
        }
    }
}

/// What a body holds that a kernel wrote.
fn held_in(body: &[u8]) -> Vec<Reference> {
    let body = Body::read(body);
    body.and_then(|body| references(&body)).unwrap_or_default()
}
