//! What follows in the same record when a promise comes to its end, and who is told.
//!
//! Promises that a record settles are worked off after its acts, in order, and with them those that
//! they settle in turn. At the end of the record what nobody needs any more is let go of, vats are
//! told of what they keep, and owners of what nobody holds. So a reference that is let go of and
//! taken up again within one record is never missed in between.

use std::collections::VecDeque;
use std::sync::Arc;

use crankcase_vat::{
    Body, Cause, CrankNumber, DeliveryId, ObjectId, PromiseId, Reference, Rejection, Resolution,
    Seq, Slot as Reach, Time, VatId, mutant,
};

use super::promises::Leads;
use super::routing::{no_such_vat, why_not_callable};
use super::{BodyAt, Contradiction, Delivered, Effect, Fate, Item, State, Waiter, Waiting, Wanted};

/// Identities and places with indices from here on are the kernel's own, and those below it those
/// of what stands in records.
const MADE: u32 = 1 << 31;

/// What is left to do for the record that is applied.
#[derive(Debug, Default)]
pub(super) struct Work {
    seq: Seq,
    pub(super) time: Time,
    made: u32,
    to_settle: VecDeque<(PromiseId, Arc<[u8]>)>,
    /// Promises that may be needed by nobody.
    to_look_at: Vec<PromiseId>,
    /// Objects that are held by nobody, unless that has changed since.
    unheld: Vec<ObjectId>,
    /// Vats that have come to keep a promise that had come to its end.
    to_tell: Vec<(PromiseId, VatId)>,
    /// Objects whose owners have heard that nobody holds them.
    heard: Vec<ObjectId>,
}

impl Work {
    pub(super) fn begin(&mut self, seq: Seq, time: Time) {
        self.seq = seq;
        self.time = time;
        self.made = 0;
    }

    #[inline]
    pub(super) fn is_pending(&self) -> bool {
        !(self.to_settle.is_empty()
            && self.to_look_at.is_empty()
            && self.unheld.is_empty()
            && self.to_tell.is_empty()
            && self.heard.is_empty())
    }

    /// Has a promise settled once the record's acts are done.
    pub(super) fn settle(&mut self, promise: PromiseId, resolution: Arc<[u8]>) {
        self.to_settle.push_back((promise, resolution));
    }

    /// Has it looked at whether anyone still needs a promise.
    pub(super) fn look_at(&mut self, promise: PromiseId) {
        self.to_look_at.push(promise);
    }

    /// The next identity and place of the kernel's own.
    pub(super) fn next_place(&mut self) -> DeliveryId {
        let place = DeliveryId::new(self.seq, MADE | self.made);
        self.made += 1;
        place
    }
}

impl State {
    /// Counts a reference that is on its way; `by` is the crank that sent it there.
    pub(super) fn on_the_way(
        &mut self,
        reference: Reference,
        times: u64,
        by: Option<(VatId, CrankNumber)>,
    ) -> Result<(), Contradiction> {
        match reference {
            Reference::Object(object) => self.count(object, times, by),
            Reference::Promise(promise) => {
                let entry = self.promises.touch(promise);
                let entry = entry.ok_or(Contradiction::NoSuchPromise { promise })?;
                entry.on_the_way += times;
            }
        }
        Ok(())
    }

    /// Counts an object more often. A root lives as long as its vat, and what a vat that has ended
    /// has made is of no use to anyone.
    fn count(&mut self, object: ObjectId, times: u64, by: Option<(VatId, CrankNumber)>) {
        if !object.is_root() && self.find(object.vat).is_some() {
            let given_away = by.filter(|(vat, _)| *vat == object.vat);
            let given_away = given_away.map(|(_, crank)| crank);
            self.counts.add(object, times, given_away);
        }
    }

    fn uncount(&mut self, object: ObjectId, times: u64) -> Result<(), Contradiction> {
        if object.is_root() || self.find(object.vat).is_none() {
            return Ok(());
        }
        match self.counts.sub(object, times) {
            None => Err(Contradiction::NotHeld {
                reference: Reference::Object(object),
            }),
            Some(0) => {
                self.work.unheld.push(object);
                Ok(())
            }
            Some(_) => Ok(()),
        }
    }

    /// Counts all references of a body that is on its way.
    pub(super) fn all_on_the_way(
        &mut self,
        body: &Body<'_>,
        by: Option<(VatId, CrankNumber)>,
    ) -> Result<(), Contradiction> {
        if body.has_roots_only() {
            return Ok(());
        }
        let mut counted = Vec::new();
        body.each_reference(&mut |reference| {
            if reference.is_counted() {
                counted.push(reference);
            }
        })?;
        for reference in counted {
            self.on_the_way(reference, 1, by)?;
        }
        Ok(())
    }

    /// Counts what a crank gave to nobody, and lets go of it at once. The vat that gave an object of
    /// its own away takes news from before for void, and so must hear anew.
    pub(super) fn pass_by(
        &mut self,
        body: &Body<'_>,
        by: Option<(VatId, CrankNumber)>,
    ) -> Result<(), Contradiction> {
        if !body.has_slots() {
            return Ok(());
        }
        let mut references = Vec::new();
        body.each_reference(&mut |reference| references.push(reference))?;
        for reference in references {
            self.on_the_way(reference, 1, by)?;
            self.reference_off_the_way(reference, 1)?;
        }
        Ok(())
    }

    /// A reference has come to where it was going.
    pub(super) fn off_the_way(&mut self, what: &Reach, times: u64) -> Result<(), Contradiction> {
        let reference = what.reference().ok_or(Contradiction::Misplaced)?;
        self.reference_off_the_way(reference, times)
    }

    fn reference_off_the_way(
        &mut self,
        reference: Reference,
        times: u64,
    ) -> Result<(), Contradiction> {
        match reference {
            Reference::Object(object) => self.uncount(object, times),
            Reference::Promise(promise) => {
                let entry = self.promises.touch(promise);
                let entry = entry.ok_or(Contradiction::NoSuchPromise { promise })?;
                let left = entry.on_the_way.checked_sub(times);
                entry.on_the_way = left.ok_or(Contradiction::NotHeld { reference })?;
                self.work.look_at(promise);
                Ok(())
            }
        }
    }

    /// A vat holds a reference more often in its state and its store.
    pub(super) fn keep(
        &mut self,
        vat: VatId,
        what: &Reach,
        times: u64,
    ) -> Result<(), Contradiction> {
        match what.reference().ok_or(Contradiction::Misplaced)? {
            Reference::Object(object) => self.count(object, times, None),
            Reference::Promise(promise) => {
                let entry = self.promises.touch(promise);
                let entry = entry.ok_or(Contradiction::NoSuchPromise { promise })?;
                entry.holders.entry(vat).or_default().times += times;
                if matches!(entry.fate, Fate::Settled { .. }) {
                    self.work.to_tell.push((promise, vat));
                }
            }
        }
        Ok(())
    }

    /// A vat holds a reference less often in its state and its store.
    pub(super) fn let_go(
        &mut self,
        vat: VatId,
        what: &Reach,
        times: u64,
    ) -> Result<(), Contradiction> {
        let reference = what.reference().ok_or(Contradiction::Misplaced)?;
        match reference {
            Reference::Object(object) => self.uncount(object, times),
            Reference::Promise(promise) => {
                let entry = self.promises.touch(promise);
                let entry = entry.ok_or(Contradiction::NoSuchPromise { promise })?;
                let holder = entry.holders.get_mut(&vat);
                let holder = holder.ok_or(Contradiction::NotHeld { reference })?;
                let left = holder.times.checked_sub(times);
                match left.ok_or(Contradiction::NotHeld { reference })? {
                    0 => drop(entry.holders.remove(&vat)),
                    left => holder.times = left,
                }
                self.work.look_at(promise);
                Ok(())
            }
        }
    }

    /// Notes what a vat gave to where it is not counted, or will be once it is settled.
    pub(super) fn note_given_away(
        &mut self,
        vat: VatId,
        crank: CrankNumber,
        resolution: &[u8],
    ) -> Result<(), Contradiction> {
        let Resolution::Value(body) = Resolution::read(resolution)? else {
            return Ok(());
        };
        let counts = &mut self.counts;
        body.each_reference(&mut |reference| {
            if let Reference::Object(object) = reference
                && object.vat == vat
            {
                counts.note_given_away(object, crank);
            }
        })?;
        Ok(())
    }

    /// A vat's crank has consumed something other than a message.
    pub(super) fn consume_other(&mut self, vat: VatId, item: Item) -> Result<(), Contradiction> {
        match item {
            Item::Outcome {
                promise: Some(promise),
            } => self.reference_off_the_way(Reference::Promise(promise), 1)?,
            Item::Settled { promise } => {
                if let Some(entry) = self.promises.touch(promise)
                    && let Some(holder) = entry.holders.get_mut(&vat)
                {
                    holder.told = false;
                }
                self.reference_off_the_way(Reference::Promise(promise), 1)?;
            }
            Item::Dropped { object, .. } => {
                self.work.heard.push(ObjectId::new(vat, object));
            }
            Item::Message | Item::Via { .. } | Item::Outcome { promise: None } | Item::Clean => {}
        }
        Ok(())
    }

    /// A crank that someone waits for has answered.
    pub(super) fn answered(
        &mut self,
        waited: &Waiting,
        answer: &[u8],
        by: (VatId, CrankNumber),
        effects: &mut Vec<Effect>,
    ) -> Result<(), Contradiction> {
        match waited.wanted {
            Wanted::No => {}
            Wanted::ByPromise => {
                if let Some(promise) = self.promises.answered(waited.delivery) {
                    self.work.settle(promise, answer.into());
                } else if let Resolution::Value(body) = Resolution::read(answer)? {
                    self.pass_by(&body, Some(by))?;
                }
            }
            Wanted::ByHost => {
                let answer = Resolution::read(answer)?;
                match &answer {
                    Resolution::Value(body) => match body.sole_slot() {
                        Some(on @ Reach::Promise(_)) => {
                            self.wait_for_host(waited.delivery, &on, effects)?;
                        }
                        _ => self.answer(waited.delivery, answer.to_outcome(), effects),
                    },
                    Resolution::Rejected(_) => {
                        self.answer(waited.delivery, answer.to_outcome(), effects);
                    }
                }
            }
        }
        Ok(())
    }

    /// A delivery that someone waits for was rejected.
    pub(super) fn refused(&mut self, waited: &Waiting, why: Rejection, effects: &mut Vec<Effect>) {
        match waited.wanted {
            Wanted::No => {}
            Wanted::ByHost => self.answer(waited.delivery, Err(why), effects),
            Wanted::ByPromise => self.reject_what_waits_for(waited.delivery, &why),
        }
    }

    /// Has the promise rejected that waits for what a delivery comes to.
    pub(super) fn reject_what_waits_for(&mut self, delivery: DeliveryId, why: &Rejection) {
        if let Some(promise) = self.promises.answered(delivery) {
            self.reject_promise(promise, why.clone());
        }
    }

    pub(super) fn reject_promise(&mut self, promise: PromiseId, why: Rejection) {
        let resolution = Resolution::Rejected(why).to_bytes();
        self.work.settle(promise, resolution.into());
    }

    /// Does all that is left to do for the record.
    #[cold]
    pub(super) fn finish_record(&mut self, effects: &mut Vec<Effect>) -> Result<(), Contradiction> {
        while let Some((promise, resolution)) = self.work.to_settle.pop_front() {
            self.settle(promise, resolution, effects)?;
        }
        for object in std::mem::take(&mut self.work.heard) {
            self.counts.heard(object);
        }
        // Letting go of a promise lets go of what it came to, which may be the last holder of more.
        while let Some(promise) = self.work.to_look_at.pop() {
            let Some(dropped) = self.promises.drop_if_unneeded(promise) else {
                continue;
            };
            if let Fate::Settled { resolution, .. } = &dropped.fate
                && let Resolution::Value(body) = Resolution::read(resolution)?
            {
                let mut held = Vec::new();
                body.each_reference(&mut |reference| held.push(reference))?;
                for reference in held {
                    self.reference_off_the_way(reference, 1)?;
                }
            }
        }
        let mut to_tell = std::mem::take(&mut self.work.to_tell);
        to_tell.sort_unstable();
        to_tell.dedup();
        for (promise, vat) in to_tell {
            self.tell(promise, vat, effects);
        }
        let mut unheld = std::mem::take(&mut self.work.unheld);
        unheld.sort_unstable();
        unheld.dedup();
        for object in unheld {
            let Some(slot) = self.find(object.vat) else {
                continue;
            };
            if !self.counts.note_news(object) {
                continue;
            }
            let place = self.work.next_place();
            let counted = self.vats.get(slot).progress.crank;
            let waiting = Waiting {
                delivery: place,
                place,
                wanted: Wanted::No,
                item: Item::Dropped {
                    object: object.number,
                    counted,
                },
            };
            let what = Delivered::Dropped {
                object: object.number,
                counted,
            };
            self.put_into_inbox(slot, waiting, Time::ZERO, what, effects);
        }
        Ok(())
    }

    /// Settles one promise, and sends on what waited in it.
    fn settle(
        &mut self,
        promise: PromiseId,
        resolution: Arc<[u8]>,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Contradiction> {
        // One that nobody keeps is not here, and one that came to its end stays as it is.
        if !matches!(
            self.promises.get(promise).map(|entry| &entry.fate),
            Some(Fate::Open { .. })
        ) {
            return Ok(());
        }
        let mut resolution = resolution;
        let mut leads_to = None;
        if let Resolution::Value(body) = Resolution::read(&resolution)?
            && let Some(Reach::Promise(next)) = body.sole_slot()
        {
            match self.promises.follow(next) {
                Leads::Open(end) if end == promise && mutant("circle-stays-open") => return Ok(()),
                Leads::Open(end) if end == promise => {
                    let why = format!("promise {promise} would follow itself");
                    let why = Rejection::with_cause(Cause::Cycle, "cycle", why);
                    resolution = Resolution::Rejected(why).to_bytes().into();
                }
                Leads::Open(end) => leads_to = Some(end),
                Leads::Settled(end) => {
                    let known = self.promises.resolution(end);
                    resolution = Arc::clone(known.expect("it is settled").0);
                }
                Leads::Nowhere => return Err(Contradiction::NoSuchPromise { promise: next }),
            }
        }
        let read = Resolution::read(&resolution)?;
        if let Resolution::Value(body) = &read {
            self.all_on_the_way(body, None)?;
        }
        let time = self.work.time;
        let waiters = self.promises.settle(promise, &resolution, time);
        let waiters = waiters.ok_or(Contradiction::NoSuchPromise { promise })?;
        self.work.look_at(promise);
        let holders = self.promises.get(promise).map(|entry| entry.holders.keys());
        let holders = holders.into_iter().flatten();
        self.work.to_tell.extend(holders.map(|vat| (promise, *vat)));
        if let Some(end) = leads_to {
            if let Some(Fate::Open { waiters: more, .. }) =
                self.promises.touch(end).map(|entry| &mut entry.fate)
                && !mutant("forwarded-queue-is-lost")
            {
                // Whichever is longer stays where it is: a chain of promises may pass a long queue on.
                if more.len() < waiters.len() {
                    let late = std::mem::replace(more, waiters);
                    for waiter in late.into_iter().rev() {
                        more.push_front(waiter);
                    }
                } else {
                    more.extend(waiters);
                }
            }
            return Ok(());
        }
        let mut waiters = waiters;
        if mutant("promise-queue-turns-round") {
            waiters = waiters.into_iter().rev().collect();
        }
        for waiter in waiters {
            self.send_on(promise, &read, waiter, effects)?;
        }
        Ok(())
    }

    /// Sends on what waited in a promise that came to an end that is no promise.
    fn send_on(
        &mut self,
        promise: PromiseId,
        came_to: &Resolution<'_>,
        waiter: Waiter,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Contradiction> {
        match waiter {
            Waiter::Host { id } => {
                self.answer(id, came_to.to_outcome(), effects);
                Ok(())
            }
            Waiter::Message { id, wanted, holds } => {
                let object = match came_to {
                    Resolution::Value(body) => match body.sole_slot() {
                        Some(Reach::Object(object)) => Some(object),
                        _ => None,
                    },
                    Resolution::Rejected(_) => None,
                };
                let why = match object {
                    None => why_not_callable(came_to),
                    Some(object) => match self.find(object.vat) {
                        None => no_such_vat(object.vat),
                        Some(slot) => {
                            let waiting = Waiting {
                                delivery: id,
                                place: self.work.next_place(),
                                wanted,
                                item: Item::Via {
                                    object: object.number,
                                },
                            };
                            let what = Delivered::Via {
                                body: BodyAt::Parked,
                                object: object.number,
                            };
                            self.put_into_inbox(slot, waiting, self.work.time, what, effects);
                            return Ok(());
                        }
                    },
                };
                effects.push(Effect::Unpark { delivery: id });
                match wanted {
                    Wanted::No => {}
                    Wanted::ByHost => self.answer(id, Err(why), effects),
                    Wanted::ByPromise => self.reject_what_waits_for(id, &why),
                }
                self.none_on_the_way(&holds)
            }
            Waiter::Watch {
                id,
                vat,
                wanted,
                holds,
            } => {
                let Some(slot) = self.find(vat) else {
                    // The vat has ended, and with it what was to come of the watch.
                    effects.push(Effect::Unpark { delivery: id });
                    return self.none_on_the_way(&holds);
                };
                let waiting = Waiting {
                    delivery: id,
                    place: self.work.next_place(),
                    wanted,
                    item: Item::Outcome {
                        promise: Some(promise),
                    },
                };
                self.deliver_outcome(slot, waiting, BodyAt::Parked, effects)
            }
        }
    }

    /// References that were on their way will not arrive.
    fn none_on_the_way(&mut self, references: &[Reference]) -> Result<(), Contradiction> {
        references
            .iter()
            .try_for_each(|reference| self.reference_off_the_way(*reference, 1))
    }

    /// Tells a vat what a promise came to that it keeps, unless the news is under way already.
    fn tell(&mut self, promise: PromiseId, vat: VatId, effects: &mut Vec<Effect>) {
        let Some(slot) = self.find(vat) else {
            return;
        };
        let Some((resolution, time)) = self.promises.resolution(promise) else {
            return;
        };
        let resolution = Arc::clone(resolution);
        let entry = self.promises.touch(promise).expect("it is settled");
        let holder = entry.holders.get_mut(&vat);
        let Some(holder) = holder.filter(|holder| !holder.told) else {
            return;
        };
        if mutant("keeper-is-not-told") {
            return;
        }
        holder.told = true;
        // The vat may let go of it before it hears, and then a restart must find what it came to.
        entry.on_the_way += 1;
        let place = self.work.next_place();
        let waiting = Waiting {
            delivery: place,
            place,
            wanted: Wanted::No,
            item: Item::Settled { promise },
        };
        let what = Delivered::Settled {
            promise,
            resolution,
        };
        self.put_into_inbox(slot, waiting, time, what, effects);
    }
}
