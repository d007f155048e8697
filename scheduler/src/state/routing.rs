//! Where messages and watches go: into an inbox, or into a promise to wait there.

use crankcase_vat::{
    Body, Cause, CrankNumber, DeliveryHead, DeliveryId, ObjectId, Outcome, PromiseId, Reference,
    Rejection, Resolution, Slot as Reach, Span, VatId, mutant,
};

use super::promises::{Decider, Leads};
use super::{
    BodyAt, Contradiction, Delivered, Effect, Fate, Item, Slot, State, Waiter, Waiting, Wanted,
};
use crate::order::CommitOrder;

/// A message, a start or a watch in the record that is applied.
pub(super) struct Sent<'a> {
    /// Its identity.
    pub(super) delivery: DeliveryId,
    /// Where its act stands in the record.
    pub(super) at: Span,
    /// Who waits for what it comes to.
    pub(super) wanted: Wanted,
    /// What it carries.
    pub(super) args: Body<'a>,
    /// The vat and the crank that sent it; nothing when the host did.
    pub(super) by: Option<(VatId, CrankNumber)>,
}

/// Why a message to a vat that is not there is rejected.
pub(super) fn no_such_vat(vat: VatId) -> Rejection {
    let why = format!("vat {vat} was never made, or it has ended");
    Rejection::with_cause(Cause::NoSuchVat, "no_such_vat", why)
}

/// Why a message is rejected that leads to a promise which nobody knows any more.
fn no_such_promise(promise: PromiseId) -> Rejection {
    let why = format!("promise {promise} was never made, or nobody holds it any more");
    Rejection::with_cause(Cause::NoSuchPromise, "no_such_promise", why)
}

/// Why a message is rejected that waited in a promise which came to that.
pub(super) fn why_not_callable(resolution: &Resolution<'_>) -> Rejection {
    match resolution {
        Resolution::Rejected(why) => why.clone(),
        Resolution::Value(_) => Rejection::with_cause(
            Cause::NotCallable,
            "not_callable",
            "the promise came to a value that takes no messages",
        ),
    }
}

impl State {
    /// Has a promise wait for what a delivery comes to, if someone keeps one.
    pub(super) fn promise_answer(
        &mut self,
        promise: Option<PromiseId>,
        delivery: DeliveryId,
    ) -> Result<Wanted, Contradiction> {
        match promise {
            None => Ok(Wanted::No),
            Some(promise) => {
                self.open_promise(promise, Decider::Answer(delivery))?;
                Ok(Wanted::ByPromise)
            }
        }
    }

    pub(super) fn open_promise(
        &mut self,
        promise: PromiseId,
        decider: Decider,
    ) -> Result<(), Contradiction> {
        if !self.promises.open(promise, decider) {
            return Err(Contradiction::NoSuchPromise { promise });
        }
        self.work.look_at(promise);
        Ok(())
    }

    /// Sends a message to where it leads.
    #[inline]
    pub(super) fn send(
        &mut self,
        to: &Reach,
        sent: &Sent<'_>,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Contradiction> {
        match to {
            Reach::Object(object) => {
                let item = Item::Message;
                let what = Delivered::Message { at: sent.at };
                self.send_to_object(*object, item, what, sent, effects)
            }
            Reach::Promise(promise) => match self.promises.follow(*promise) {
                Leads::Open(promise) => {
                    let waiter = Waiter::Message {
                        id: sent.delivery,
                        wanted: sent.wanted,
                        holds: counted_references(&sent.args)?,
                    };
                    self.park(promise, waiter, sent, effects)
                }
                Leads::Settled(promise) => {
                    let (resolution, _) = self.promises.resolution(promise).expect("it is settled");
                    let resolution = std::sync::Arc::clone(resolution);
                    let read = Resolution::read(&resolution)?;
                    match &read {
                        Resolution::Value(body) => match body.sole_slot() {
                            Some(Reach::Object(object)) => {
                                let item = Item::Via {
                                    object: object.number,
                                };
                                let what = Delivered::Via {
                                    body: BodyAt::Here(sent.at),
                                    object: object.number,
                                };
                                self.send_to_object(object, item, what, sent, effects)
                            }
                            _ => self.reject_sent(sent, why_not_callable(&read), effects),
                        },
                        Resolution::Rejected(_) => {
                            self.reject_sent(sent, why_not_callable(&read), effects)
                        }
                    }
                }
                Leads::Nowhere => match sent.by {
                    None => self.reject_sent(sent, no_such_promise(*promise), effects),
                    // A vat names what it holds, and what is held is known.
                    Some(_) => Err(Contradiction::NoSuchPromise { promise: *promise }),
                },
            },
            // A vat that knows what a promise came to sends there; a host has no such reference.
            Reach::Settled(_) => Err(Contradiction::Misplaced),
        }
    }

    /// Sends a message to a vat's root, as [`send`](Self::send) does: most are, so nothing is put
    /// together for them that is only taken apart again.
    #[inline(always)]
    pub(super) fn send_to_root(
        &mut self,
        to: VatId,
        sent: &Sent<'_>,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Contradiction> {
        let Some(slot) = self.find(to) else {
            return self.reject_sent(sent, no_such_vat(to), effects);
        };
        if sent.args.has_slots() {
            self.all_on_the_way(&sent.args, sent.by)?;
        }
        self.vats
            .touch(slot)
            .push_message(sent.delivery, sent.wanted);
        self.waiting += 1;
        if self.order == CommitOrder::Dispatch {
            self.turns.push_back((sent.delivery, slot));
        }
        effects.push(Effect::Deliver {
            slot,
            head: DeliveryHead::new(sent.delivery, self.work.time, sent.wanted != Wanted::No),
            what: Delivered::Message { at: sent.at },
        });
        Ok(())
    }

    #[inline]
    fn send_to_object(
        &mut self,
        object: ObjectId,
        item: Item,
        what: Delivered,
        sent: &Sent<'_>,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Contradiction> {
        let Some(slot) = self.find(object.vat) else {
            return self.reject_sent(sent, no_such_vat(object.vat), effects);
        };
        if sent.args.has_slots() {
            self.all_on_the_way(&sent.args, sent.by)?;
        }
        let waiting = Waiting {
            delivery: sent.delivery,
            place: sent.delivery,
            wanted: sent.wanted,
            item,
        };
        self.put_into_inbox(slot, waiting, self.work.time, what, effects);
        Ok(())
    }

    /// Puts a delivery at the end of a vat's inbox.
    #[inline]
    pub(super) fn put_into_inbox(
        &mut self,
        slot: Slot,
        waiting: Waiting,
        time: crankcase_vat::Time,
        what: Delivered,
        effects: &mut Vec<Effect>,
    ) {
        self.vats.touch(slot).push_waiting(waiting);
        self.waiting += 1;
        if self.order == CommitOrder::Dispatch {
            self.turns.push_back((waiting.delivery, slot));
        }
        effects.push(Effect::Deliver {
            slot,
            head: DeliveryHead::new(waiting.delivery, time, waiting.wanted != Wanted::No),
            what,
        });
    }

    /// Has a message or a watch wait in a promise.
    fn park(
        &mut self,
        promise: PromiseId,
        waiter: Waiter,
        sent: &Sent<'_>,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Contradiction> {
        self.all_on_the_way(&sent.args, sent.by)?;
        let entry = self.promises.touch(promise);
        let entry = entry.ok_or(Contradiction::NoSuchPromise { promise })?;
        if let Fate::Open { waiters, .. } = &mut entry.fate {
            waiters.push_back(waiter);
        }
        effects.push(Effect::Park {
            delivery: sent.delivery,
            time: self.work.time,
            at: sent.at,
        });
        Ok(())
    }

    /// Tells whoever waits that a message of this record leads nowhere.
    fn reject_sent(
        &mut self,
        sent: &Sent<'_>,
        why: Rejection,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Contradiction> {
        if sent.by.is_some() {
            self.pass_by(&sent.args, sent.by)?;
        }
        match sent.wanted {
            Wanted::No => {}
            Wanted::ByHost => self.answer(sent.delivery, Err(why), effects),
            Wanted::ByPromise if mutant("message-to-the-dead-is-swallowed") => {}
            Wanted::ByPromise => self.reject_what_waits_for(sent.delivery, &why),
        }
        Ok(())
    }

    /// Has a vat watch what it names.
    pub(super) fn watch(
        &mut self,
        slot: Slot,
        vat: VatId,
        on: &Reach,
        sent: &Sent<'_>,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Contradiction> {
        let known = match on {
            Reach::Promise(promise) => match self.promises.follow(*promise) {
                Leads::Open(promise) => {
                    let waiter = Waiter::Watch {
                        id: sent.delivery,
                        vat,
                        wanted: sent.wanted,
                        holds: counted_references(&sent.args)?,
                    };
                    return self.park(promise, waiter, sent, effects);
                }
                Leads::Settled(promise) => Some(promise),
                Leads::Nowhere => {
                    return Err(Contradiction::NoSuchPromise { promise: *promise });
                }
            },
            Reach::Object(_) | Reach::Settled(_) => None,
        };
        self.all_on_the_way(&sent.args, sent.by)?;
        if known.is_none() {
            let mut references = Vec::new();
            on.each_reference(&mut |reference| references.push(reference))?;
            for reference in references {
                self.on_the_way(reference, 1, sent.by)?;
            }
        }
        let waiting = Waiting {
            delivery: sent.delivery,
            place: sent.delivery,
            wanted: sent.wanted,
            item: Item::Outcome { promise: known },
        };
        self.deliver_outcome(slot, waiting, BodyAt::Here(sent.at), effects)
    }

    /// Puts what a watched promise came to into the inbox of the vat that watches.
    pub(super) fn deliver_outcome(
        &mut self,
        slot: Slot,
        waiting: Waiting,
        body: BodyAt,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Contradiction> {
        let Item::Outcome { promise } = waiting.item else {
            return Err(Contradiction::Misplaced);
        };
        let (resolution, time) = match promise {
            None => (None, self.work.time),
            Some(promise) => {
                // The news holds what it is about.
                self.on_the_way(Reference::Promise(promise), 1, None)?;
                let known = self.promises.resolution(promise);
                let (resolution, time) = known.ok_or(Contradiction::NoSuchPromise { promise })?;
                (Some(std::sync::Arc::clone(resolution)), time)
            }
        };
        let what = Delivered::Outcome { body, resolution };
        self.put_into_inbox(slot, waiting, time, what, effects);
        Ok(())
    }

    /// Has the host wait for what a promise comes to, under the identity of a delivery.
    pub(super) fn wait_for_host(
        &mut self,
        delivery: DeliveryId,
        on: &Reach,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Contradiction> {
        let outcome: Outcome = match on {
            Reach::Promise(promise) => match self.promises.follow(*promise) {
                Leads::Open(promise) => {
                    let entry = self.promises.touch(promise);
                    if let Some(Fate::Open { waiters, .. }) = entry.map(|entry| &mut entry.fate) {
                        waiters.push_back(Waiter::Host { id: delivery });
                    }
                    return Ok(());
                }
                Leads::Settled(promise) => {
                    let (resolution, _) = self.promises.resolution(promise).expect("it is settled");
                    Resolution::read(resolution)?.to_outcome()
                }
                Leads::Nowhere => Err(no_such_promise(*promise)),
            },
            Reach::Object(_) => Ok(crankcase_vat::Payload::of_slot(on.clone())),
            Reach::Settled(resolution) => Resolution::read(resolution)?.to_outcome(),
        };
        self.answer(delivery, outcome, effects);
        Ok(())
    }

    /// Why the host cannot send there, or cannot send that.
    pub(super) fn why_unusable(
        &self,
        to: &Reach,
        args: &Body<'_>,
    ) -> Result<Option<Rejection>, Contradiction> {
        if let Reach::Settled(_) = to {
            return Err(Contradiction::Misplaced);
        }
        self.why_unusable_in(args)
    }

    /// Why the host cannot send that: a reference in it leads to what is gone.
    pub(super) fn why_unusable_in(
        &self,
        args: &Body<'_>,
    ) -> Result<Option<Rejection>, Contradiction> {
        let mut gone = None;
        args.each_reference(&mut |reference| {
            if gone.is_none() {
                gone = self.why_gone(reference);
            }
        })?;
        Ok(gone)
    }

    /// Why a reference of the host's leads nowhere, if it does.
    pub(super) fn why_gone(&self, reference: Reference) -> Option<Rejection> {
        match reference {
            Reference::Object(object) if self.find(object.vat).is_none() => {
                Some(no_such_vat(object.vat))
            }
            Reference::Promise(promise) if self.promises.get(promise).is_none() => {
                Some(no_such_promise(promise))
            }
            _ => None,
        }
    }

    /// Why the host cannot hold a reference, if it cannot.
    pub(super) fn why_not_held(&self, reference: Reference) -> Option<Rejection> {
        if let Reference::Object(object) = reference
            && !object.is_root()
            && let Some(slot) = self.find(object.vat)
            && self.is_on_its_way_out(slot, object)
            && !mutant("host-holds-what-goes")
        {
            let why = format!("object {object} was never made, or its owner is about to remove it");
            return Some(Rejection::with_cause(
                Cause::NoSuchObject,
                "no_such_object",
                why,
            ));
        }
        self.why_gone(reference)
    }

    /// Whether an object was never made, or its owner is about to hear that nobody holds it and has
    /// not given it away since. One that its owner removed by itself is known to the owner alone.
    fn is_on_its_way_out(&self, slot: Slot, object: ObjectId) -> bool {
        let owner = self.vats.get(slot);
        if object.number > owner.progress.objects {
            return true;
        }
        let Some(count) = self.counts.get(object) else {
            return false;
        };
        // Whoever holds it again by now came too late: the owner looks at what it did itself.
        if count.news == 0 {
            return false;
        }
        let news = owner
            .waiting_others()
            .filter_map(|waiting| match waiting.item {
                Item::Dropped {
                    object: number,
                    counted,
                } if number == object.number => Some(counted),
                _ => None,
            });
        news.max()
            .is_some_and(|counted| count.given_away <= counted)
    }
}

/// The references in a body that are counted.
fn counted_references(body: &Body<'_>) -> Result<Box<[Reference]>, Contradiction> {
    let mut counted = Vec::new();
    body.each_reference(&mut |reference| {
        if reference.is_counted() {
            counted.push(reference);
        }
    })?;
    Ok(counted.into())
}
