//! Where messages go, and who is told that they lead nowhere.

use super::*;

impl Serial {
    /// References are not held any more where they were.
    pub(super) fn lose(&mut self, references: &[Reference]) {
        for reference in references {
            if let Reference::Object(object) = reference
                && !object.is_root()
                && self.lives(object.vat)
            {
                self.let_go.insert(*object);
            }
        }
    }

    /// What a vat kept it keeps no more. Its own objects it holds uncounted.
    pub(super) fn lose_kept(&mut self, vat: VatId, references: &[Reference]) {
        let own = |reference: &&Reference| matches!(reference, Reference::Object(object) if object.vat == vat);
        let others: Vec<_> = references
            .iter()
            .filter(|kept| !own(kept))
            .copied()
            .collect();
        self.lose(&others);
    }

    /// Where a promise leads: to one that is open, or to one that came to something else.
    pub(super) fn follow_promise(&self, mut id: PromiseId) -> Step<Option<PromiseId>> {
        loop {
            match self.promises.get(&id) {
                None => return Ok(None),
                Some(Fate::Open(..)) => return Ok(Some(id)),
                Some(Fate::Settled(resolution, _)) => {
                    let next = match Resolution::read(resolution).map_err(bad)? {
                        Resolution::Value(body) => body.sole_slot(),
                        Resolution::Rejected(_) => None,
                    };
                    match next {
                        Some(Slot::Promise(next)) => id = next,
                        _ => return Ok(Some(id)),
                    }
                }
            }
        }
    }

    pub(super) fn send(
        &mut self,
        to: &Slot,
        id: DeliveryId,
        act: ActAt,
        args: &Body<'_>,
        whom: For,
        by: Option<VatId>,
    ) -> Step {
        let holds = references(args)?;
        let object = match to {
            Slot::Object(object) => Ok((*object, None)),
            Slot::Promise(promise) => match self.follow_promise(*promise)? {
                None if by.is_some() => return Err(format!("{promise} is not known")),
                None => Err(no_such_promise(*promise)),
                Some(end) => {
                    let time = self.time;
                    match self.promises.get_mut(&end).ok_or("it was found")? {
                        Fate::Open(_, waiters) => {
                            waiters.push(Waiter::Message(Parked {
                                id,
                                whom,
                                act,
                                time,
                                holds,
                            }));
                            return Ok(());
                        }
                        Fate::Settled(resolution, _) => {
                            let read = Resolution::read(resolution).map_err(bad)?;
                            match object_in(&read) {
                                Some(object) => Ok((object, Some(object.number))),
                                None => Err(not_callable(&read)),
                            }
                        }
                    }
                }
            },
            Slot::Settled(_) => return Err("a message to what has come to its end".to_owned()),
        };
        let why = match object {
            Ok((object, _)) if !self.lives(object.vat) => no_such_vat(object.vat),
            Ok((object, via)) => {
                let what = match via {
                    None => What::Act(act),
                    Some(object) => What::Other(Box::new(Other::Via { act, object })),
                };
                self.put(object.vat, id, self.time, what, whom, Sort::Plain, holds);
                return Ok(());
            }
            Err(why) => why,
        };
        if by.is_some() {
            self.lose(&holds);
        }
        self.reject(id, whom, why);
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "it is what a delivery has")]
    pub(super) fn put(
        &mut self,
        vat: VatId,
        id: DeliveryId,
        time: Time,
        what: What,
        whom: For,
        sort: Sort,
        holds: Vec<Reference>,
    ) {
        let delivery = Delivery::new(DeliveryHead::new(id, time, whom != For::Nobody), what);
        let waiting = Waiting {
            delivery,
            whom,
            sort,
            holds,
        };
        if self.order == CommitOrder::Dispatch {
            self.line.push_back((id, vat));
        }
        let vat = self.vats.get_mut(&vat);
        vat.expect("who puts has looked").inbox.push_back(waiting);
    }

    /// Whoever waits for a delivery is told that it comes to nothing.
    pub(super) fn reject(&mut self, id: DeliveryId, whom: For, why: Rejection) {
        match whom {
            For::Nobody => {}
            For::Host => self.answer(id, Err(why)),
            For::Promise => {
                if let Some(promise) = self.decided_by(id) {
                    let resolution = Resolution::Rejected(why).to_bytes();
                    self.to_settle.push_back((promise, resolution.into()));
                }
            }
        }
    }

    /// The open promise that a delivery decides.
    pub(super) fn decided_by(&self, id: DeliveryId) -> Option<PromiseId> {
        let mut open = self
            .promises
            .iter()
            .filter_map(|(promise, fate)| match fate {
                Fate::Open(decider, _) => Some((promise, *decider)),
                Fate::Settled(..) => None,
            });
        let of_delivery = |decider| decider == Decider::Answer(id) || decider == Decider::Watch(id);
        open.find(|(_, decider)| of_delivery(*decider))
            .map(|(promise, _)| *promise)
    }

    pub(super) fn tell_host(&mut self, id: DeliveryId, on: &Slot) -> Step {
        let outcome = match on {
            Slot::Object(_) => Ok(Payload::of_slot(on.clone())),
            Slot::Settled(resolution) => Resolution::read(resolution).map_err(bad)?.to_outcome(),
            Slot::Promise(promise) => match self.follow_promise(*promise)? {
                None => Err(no_such_promise(*promise)),
                Some(end) => match self.promises.get_mut(&end).ok_or("it was found")? {
                    Fate::Open(_, waiters) => {
                        waiters.push(Waiter::Host(id));
                        return Ok(());
                    }
                    Fate::Settled(resolution, _) => {
                        Resolution::read(resolution).map_err(bad)?.to_outcome()
                    }
                },
            },
        };
        self.answer(id, outcome);
        Ok(())
    }
}
