//! Who holds what, added up anew, and what is left of vats that have ended.

use super::*;

impl Serial {
    /// Who holds what, added up anew: by objects and promises, without what vats hold of their own.
    pub(super) fn holdings(&self) -> BTreeMap<Reference, u64> {
        let mut held = BTreeMap::new();
        let mut add = |reference: &Reference| *held.entry(*reference).or_default() += 1;
        for (id, vat) in &self.vats {
            let own = |reference: &&Reference| match reference {
                Reference::Object(object) => object.vat == *id,
                Reference::Promise(_) => false,
            };
            let kept = vat.state.iter().chain(vat.rows.values().flatten());
            kept.filter(|reference| !own(reference)).for_each(&mut add);
            vat.inbox
                .iter()
                .flat_map(|waiting| &waiting.holds)
                .for_each(&mut add);
        }
        for fate in self.promises.values() {
            match fate {
                Fate::Open(_, waiters) => {
                    for waiter in waiters {
                        if let Waiter::Message(parked) | Waiter::Watch(_, parked) = waiter {
                            parked.holds.iter().for_each(&mut add);
                        }
                    }
                }
                Fate::Settled(resolution, _) => {
                    if let Ok(Resolution::Value(body)) = Resolution::read(resolution) {
                        // It was read when the promise was settled.
                        let _ = body.each_reference(&mut |reference| add(&reference));
                    }
                }
            }
        }
        self.held_by_host.keys().for_each(add);
        held
    }

    /// How often an owner is still to hear that nobody holds an object of it.
    pub(super) fn news_of(&self, object: ObjectId) -> u64 {
        let inbox = self.vats.get(&object.vat).map(|vat| &vat.inbox);
        let news = inbox.into_iter().flatten();
        news.filter(|waiting| waiting.sort == Sort::Dropped(object.number))
            .count() as u64
    }

    pub(super) fn undecided(&self, number: VatNumber, from: u64) -> Vec<PromiseId> {
        let range = PromiseId::new(number, from)..=PromiseId::new(number, u64::MAX);
        let own = self
            .promises
            .range(range)
            .filter(|(_, fate)| matches!(fate, Fate::Open(Decider::Maker | Decider::Watch(_), _)));
        own.map(|(promise, _)| *promise).take(AT_ONCE).collect()
    }

    pub(super) fn end_vat(&mut self, id: VatId, rows_left: bool) -> Step {
        // Objects that are known: held, about to be told of, or let go of just now.
        let mut objects: BTreeMap<u64, (bool, u64)> = BTreeMap::new();
        let mut numbers: BTreeSet<(ObjectId, bool)> = BTreeSet::new();
        for reference in self.holdings().into_keys() {
            if let Reference::Object(object) = reference {
                numbers.insert((object, true));
            }
        }
        numbers.extend(self.let_go.iter().map(|object| (*object, false)));
        numbers.extend(self.heard.iter().map(|object| (*object, false)));
        let vat = self.vats.get(&id).ok_or("it was there")?;
        for waiting in &vat.inbox {
            if let Sort::Dropped(object) = waiting.sort {
                numbers.insert((ObjectId::new(id, object), false));
            }
        }
        for (object, held) in numbers {
            if object.vat == id && !object.is_root() {
                let hears = self.heard.iter().filter(|heard| **heard == object).count();
                let news = self.news_of(object) + hears as u64;
                let known = objects.entry(object.number).or_insert((held, news));
                known.0 |= held;
            }
        }
        let (number, empty) = (vat.number, vat.inbox.is_empty());
        let nothing_left =
            empty && !rows_left && objects.is_empty() && self.undecided(number, 0).is_empty();
        if nothing_left {
            self.vats.remove(&id);
            return Ok(());
        }
        let vat = self.vats.get_mut(&id).ok_or("it was there")?;
        vat.remains = Some(Remains {
            promises_from: 0,
            objects,
        });
        self.ask_to_clean(id);
        Ok(())
    }

    pub(super) fn ask_to_clean(&mut self, id: VatId) {
        let place = self.place();
        let what = What::Other(Box::new(Other::Clean));
        self.put(
            id,
            place,
            Time::ZERO,
            what,
            For::Nobody,
            Sort::Plain,
            Vec::new(),
        );
    }

    pub(super) fn clean(&mut self, id: VatId, rows_left: bool) -> Step {
        let vat = self.vats.get(&id).ok_or("it was there")?;
        let from = vat.remains.as_ref().ok_or("it lives")?.promises_from;
        let orphans = self.undecided(vat.number, from);
        for promise in &orphans {
            let why = format!("vat {id} ended before it decided the promise");
            let why = Rejection::with_cause(Cause::VatEnded, "vat_ended", why);
            let resolution = Resolution::Rejected(why).to_bytes();
            self.to_settle.push_back((*promise, resolution.into()));
        }
        let vat = self.vats.get_mut(&id).ok_or("it was there")?;
        let remains = vat.remains.as_mut().ok_or("it lives")?;
        for _ in 0..AT_ONCE {
            remains.objects.pop_first();
        }
        let more_promises = orphans.len() == AT_ONCE;
        remains.promises_from = match orphans.last() {
            Some(last) if more_promises => last.counter + 1,
            _ => u64::MAX,
        };
        if rows_left || more_promises || !remains.objects.is_empty() {
            self.ask_to_clean(id);
        } else {
            self.vats.remove(&id);
        }
        Ok(())
    }
}
