//! What follows from a record once its acts are done.

use super::*;

impl Serial {
    /// Does what follows from the record once its acts are done.
    pub(super) fn finish(&mut self) -> Step {
        while let Some((promise, resolution)) = self.to_settle.pop_front() {
            self.settle(promise, resolution)?;
        }
        for object in std::mem::take(&mut self.heard) {
            let remains = self.vats.get_mut(&object.vat);
            if let Some(remains) = remains.and_then(|vat| vat.remains.as_mut())
                && let Some((held, news)) = remains.objects.get_mut(&object.number)
            {
                *news -= 1;
                if !*held && *news == 0 {
                    remains.objects.remove(&object.number);
                }
            }
        }
        self.forget_promises()?;
        self.tell_holders();
        self.tell_owners();
        Ok(())
    }

    pub(super) fn settle(&mut self, promise: PromiseId, mut resolution: Arc<[u8]>) -> Step {
        if !matches!(self.promises.get(&promise), Some(Fate::Open(..))) {
            return Ok(());
        }
        let next = match Resolution::read(&resolution).map_err(bad)? {
            Resolution::Value(body) => match body.sole_slot() {
                Some(Slot::Promise(next)) => Some(next),
                _ => None,
            },
            Resolution::Rejected(_) => None,
        };
        let mut joins = None;
        if let Some(next) = next {
            let end = self.follow_promise(next)?;
            let end = end.ok_or_else(|| format!("{next} is not known"))?;
            match &self.promises[&end] {
                Fate::Open(..) if end == promise => {
                    let why = format!("promise {promise} would follow itself");
                    let why = Rejection::with_cause(Cause::Cycle, "cycle", why);
                    resolution = Resolution::Rejected(why).to_bytes().into();
                }
                Fate::Open(..) => joins = Some(end),
                Fate::Settled(known, _) => resolution = Arc::clone(known),
            }
        }
        let settled = Fate::Settled(Arc::clone(&resolution), self.time);
        let Some(Fate::Open(_, waiters)) = self.promises.insert(promise, settled) else {
            return Err(format!("{promise} was open"));
        };
        self.settled.insert(promise);
        if let Some(end) = joins {
            if let Some(Fate::Open(_, more)) = self.promises.get_mut(&end) {
                more.extend(waiters);
            }
            return Ok(());
        }
        let read = Resolution::read(&resolution).map_err(bad)?;
        for waiter in waiters {
            match waiter {
                Waiter::Host(id) => self.answer(id, read.to_outcome()),
                Waiter::Message(parked) => {
                    let object = object_in(&read).ok_or_else(|| not_callable(&read));
                    let object = object.and_then(|object| match self.lives(object.vat) {
                        true => Ok(object),
                        false => Err(no_such_vat(object.vat)),
                    });
                    match object {
                        Ok(object) => {
                            self.place();
                            let (vat, object) = (object.vat, object.number);
                            let act = parked.act;
                            let what = What::Other(Box::new(Other::Via { act, object }));
                            let Parked {
                                id, whom, holds, ..
                            } = parked;
                            self.put(vat, id, parked.time, what, whom, Sort::Plain, holds);
                        }
                        Err(why) => {
                            self.reject(parked.id, parked.whom, why);
                            self.lose(&parked.holds);
                        }
                    }
                }
                Waiter::Watch(vat, parked) => {
                    if self.lives(vat) {
                        self.place();
                        let Parked {
                            id,
                            act,
                            holds,
                            whom,
                            ..
                        } = parked;
                        self.notify(vat, promise, id, act, holds, whom)?;
                    } else {
                        self.lose(&parked.holds);
                    }
                }
            }
        }
        Ok(())
    }

    /// Promises that nobody holds and nothing waits in are not known any more.
    pub(super) fn forget_promises(&mut self) -> Step {
        loop {
            let held = self.holdings();
            let unneeded = |(id, fate): (&PromiseId, &Fate)| {
                let waits = matches!(fate, Fate::Open(_, waiters) if !waiters.is_empty());
                (!waits && !held.contains_key(&Reference::Promise(*id))).then_some(*id)
            };
            let unneeded: Vec<_> = self.promises.iter().filter_map(unneeded).collect();
            if unneeded.is_empty() {
                return Ok(());
            }
            for promise in unneeded {
                let fate = self.promises.remove(&promise);
                if let Some(Fate::Settled(resolution, _)) = fate
                    && let Resolution::Value(body) = Resolution::read(&resolution).map_err(bad)?
                {
                    self.lose(&references(&body)?);
                }
            }
        }
    }

    /// Vats that keep a promise which came to its end hear of it, once.
    pub(super) fn tell_holders(&mut self) {
        let mut holders: BTreeSet<(PromiseId, VatId)> = BTreeSet::new();
        for (id, vat) in &self.vats {
            for reference in vat.state.iter().chain(vat.rows.values().flatten()) {
                if let Reference::Promise(promise) = reference {
                    holders.insert((*promise, *id));
                }
            }
        }
        self.told.retain(|told| holders.contains(told));
        let settled = std::mem::take(&mut self.settled);
        let taken_up = std::mem::take(&mut self.taken_up);
        for holder in holders {
            let (promise, vat) = holder;
            let is_news = settled.contains(&promise) || taken_up.contains(&holder);
            if !is_news || !self.lives(vat) || self.told.contains(&holder) {
                continue;
            }
            let Some(Fate::Settled(resolution, time)) = self.promises.get(&promise) else {
                continue;
            };
            let (resolution, time) = (Arc::clone(resolution), *time);
            self.told.insert(holder);
            let place = self.place();
            let what = What::Other(Box::new(Other::Settled {
                promise,
                resolution,
            }));
            let holds = vec![Reference::Promise(promise)];
            self.put(
                vat,
                place,
                time,
                what,
                For::Nobody,
                Sort::News(promise),
                holds,
            );
        }
    }

    /// Owners hear of objects that were let go of and that nobody holds.
    pub(super) fn tell_owners(&mut self) {
        let held = self.holdings();
        for object in std::mem::take(&mut self.let_go) {
            if held.contains_key(&Reference::Object(object)) || !self.lives(object.vat) {
                continue;
            }
            let place = self.place();
            let counted = self.vats[&object.vat].crank;
            let what = What::Other(Box::new(Other::Dropped {
                object: object.number,
                counted,
            }));
            let sort = Sort::Dropped(object.number);
            self.put(
                object.vat,
                place,
                Time::ZERO,
                what,
                For::Nobody,
                sort,
                Vec::new(),
            );
        }
    }
}
