//! Running a crank, and what its record does.

use super::*;

impl Serial {
    /// Runs the vat's next crank, and takes its record if it is the one that stands there.
    pub(super) fn run_crank(&mut self, record: &CrankRecord<'_>, bytes: &[u8]) -> Step {
        let id = record.vat;
        let vat = self.vats.get_mut(&id).ok_or("its vat is not there")?;
        let waiting = vat.inbox.pop_front().ok_or("nothing waits for its vat")?;
        let consumed = waiting.delivery.id();
        if consumed != record.consumed {
            return Err(format!("{consumed} waits first"));
        }
        let finished = vat
            .live
            .run(&waiting.delivery, &self.shared, &mut self.space);
        let left = finished.map_err(bad)?.record;
        if *left != *bytes {
            let left = Record::parse(&left).map_err(bad)?;
            let acts =
                |record: &CrankRecord<'_>| format!("{:?}", record.acts().collect::<Vec<_>>());
            let Record::Crank(left) = left else {
                return Err("a crank left an input".to_owned());
            };
            return Err(format!(
                "the crank leaves another record here\nin the journal: {record:?}\n{}\nhere: \
                 {left:?}\n{}",
                acts(record),
                acts(&left)
            ));
        }
        vat.crank = vat.crank.next();
        self.time = record.now;
        match waiting.sort {
            Sort::Plain => {}
            Sort::News(promise) => {
                self.told.remove(&(promise, id));
            }
            Sort::Dropped(object) => self.heard.push(ObjectId::new(id, object)),
        }
        self.lose(&waiting.holds);
        if let CrankEnd::Committed {
            state: Some(state), ..
        } = &record.end
        {
            self.take_state(id, state)?;
        }
        if let CrankEnd::Committed { vat: end, .. } | CrankEnd::Abandoned { vat: end, .. } =
            &record.end
            && end.has_ended()
        {
            let vat = self.vats.get_mut(&id).ok_or("it was there")?;
            let state = std::mem::take(&mut vat.state);
            self.lose_kept(id, &state);
        }
        self.perform(record, bytes)?;
        match &record.end {
            CrankEnd::Committed { answer, .. } => match (waiting.whom, answer) {
                (For::Nobody, _) => {}
                (_, None) => return Err("an answer is missing".to_owned()),
                (For::Host, Some(answer)) => {
                    let answer = Resolution::read(answer).map_err(bad)?;
                    match &answer {
                        Resolution::Value(body) => match body.sole_slot() {
                            Some(on @ Slot::Promise(_)) => self.tell_host(consumed, &on)?,
                            _ => self.answer(consumed, answer.to_outcome()),
                        },
                        Resolution::Rejected(_) => self.answer(consumed, answer.to_outcome()),
                    }
                }
                (For::Promise, Some(answer)) => match self.decided_by(consumed) {
                    Some(promise) => self.to_settle.push_back((promise, (*answer).into())),
                    None => {
                        if let Resolution::Value(body) = Resolution::read(answer).map_err(bad)? {
                            self.lose(&references(&body)?);
                        }
                    }
                },
            },
            CrankEnd::Abandoned { rejection, .. } => {
                self.reject(consumed, waiting.whom, rejection.clone());
            }
            CrankEnd::Cleaned { rows_left } => self.clean(id, *rows_left)?,
        }
        if let CrankEnd::Committed { vat: end, .. } | CrankEnd::Abandoned { vat: end, .. } =
            &record.end
            && let VatEnd::Ended { rows_left } = end
        {
            self.end_vat(id, *rows_left)?;
        }
        Ok(())
    }

    pub(super) fn take_state(&mut self, id: VatId, state: &[u8]) -> Step {
        let held = references(&Body::read(state).map_err(bad)?)?;
        let vat = self.vats.get_mut(&id).ok_or("it was there")?;
        let before = std::mem::replace(&mut vat.state, held);
        vat.encoded = state.to_vec();
        self.lose_kept(id, &before);
        Ok(())
    }

    pub(super) fn perform(&mut self, record: &CrankRecord<'_>, bytes: &[u8]) -> Step {
        let id = record.vat;
        let vat = self.vats.get(&id).ok_or("it was there")?;
        let (number, mut promised) = (vat.number, vat.promised);
        let bytes = RecordBytes::from(bytes);
        let mut acts = record.acts();
        let mut index = 0;
        while let Some(act) = acts.next_at() {
            let (offset, act) = act.map_err(bad)?;
            let at = Span::new(offset, acts.offset()).of(&bytes);
            let delivery = DeliveryId::new(self.seq, index);
            index += u32::from(act.is_delivery());
            let mut whom = For::Nobody;
            if let Some(kept) = act.made_promise() {
                promised += 1;
                let decider = match &act {
                    Act::Promise { .. } => Decider::Maker,
                    Act::Watch { .. } => Decider::Watch(delivery),
                    _ => Decider::Answer(delivery),
                };
                if kept {
                    whom = For::Promise;
                    let promise = PromiseId::new(number, promised);
                    let open = Fate::Open(decider, Vec::new());
                    if self.promises.insert(promise, open).is_some() {
                        return Err(format!("promise {promise} is made twice"));
                    }
                }
            }
            match act {
                Act::Send { to, args, .. } => {
                    self.send(&to, delivery, at, &args, whom, Some(id))?;
                }
                Act::Spawn {
                    counter,
                    kind,
                    version,
                    args,
                    ..
                } => {
                    let made = VatId::new(number, counter);
                    self.give_birth(made, kind, version)?;
                    let to = Slot::Object(made.into());
                    self.send(&to, delivery, at, &args, For::Nobody, Some(id))?;
                }
                Act::Put { key, value } => self.write_row(id, key, Some(value))?,
                Act::Delete { key } => self.write_row(id, key, None)?,
                Act::Promise { .. } => {}
                Act::Settle {
                    counter,
                    resolution,
                } => {
                    let promise = PromiseId::new(number, counter);
                    self.to_settle.push_back((promise, resolution.into()));
                }
                Act::Watch { on, context, .. } => {
                    self.watch(id, &on, delivery, at, &context, whom)?;
                }
                Act::Keep { what, .. } => {
                    // What is held is counted by looking; that it was taken up is to be told.
                    if let Slot::Promise(promise) = what {
                        self.taken_up.insert((promise, id));
                    }
                }
                Act::LetGo { .. } | Act::Took { .. } | Act::Became { .. } => {}
                other => return Err(format!("{other:?} in a crank")),
            }
        }
        self.vats.get_mut(&id).ok_or("it was there")?.promised = promised;
        // Only news of promises that came to their end before this record are news of what was
        // taken up; the others are told with all who hold them.
        let promises = &self.promises;
        self.taken_up
            .retain(|(promise, _)| matches!(promises.get(promise), Some(Fate::Settled(..))));
        Ok(())
    }

    pub(super) fn write_row(&mut self, id: VatId, key: &[u8], value: Option<&[u8]>) -> Step {
        if !row_holds_references(key) {
            return Ok(());
        }
        let held = match value {
            Some(value) => references(&Body::read(value).map_err(bad)?)?,
            None => Vec::new(),
        };
        let vat = self.vats.get_mut(&id).ok_or("it was there")?;
        let before = vat.rows.insert(key.to_vec(), held).unwrap_or_default();
        self.lose_kept(id, &before);
        Ok(())
    }

    pub(super) fn watch(
        &mut self,
        vat: VatId,
        on: &Slot,
        id: DeliveryId,
        act: ActAt,
        context: &Body<'_>,
        whom: For,
    ) -> Step {
        let mut holds = references(context)?;
        if let Slot::Promise(promise) = on {
            let end = self.follow_promise(*promise)?;
            let end = end.ok_or_else(|| format!("{promise} is not known"))?;
            let time = self.time;
            match self.promises.get_mut(&end).ok_or("it was found")? {
                Fate::Open(_, waiters) => {
                    let parked = Parked {
                        id,
                        whom,
                        act,
                        time,
                        holds,
                    };
                    waiters.push(Waiter::Watch(vat, parked));
                }
                Fate::Settled(..) => self.notify(vat, end, id, act, holds, whom)?,
            }
            return Ok(());
        }
        on.each_reference(&mut |reference| holds.push(reference))
            .map_err(bad)?;
        let resolution = None;
        let what = What::Other(Box::new(Other::Outcome { act, resolution }));
        self.put(vat, id, self.time, what, whom, Sort::Plain, holds);
        Ok(())
    }

    /// Tells a vat what a promise came to that it watches.
    pub(super) fn notify(
        &mut self,
        vat: VatId,
        promise: PromiseId,
        id: DeliveryId,
        act: ActAt,
        mut holds: Vec<Reference>,
        whom: For,
    ) -> Step {
        let Some(Fate::Settled(resolution, time)) = self.promises.get(&promise) else {
            return Err(format!("{promise} has not come to its end"));
        };
        let (resolution, time) = (Some(Arc::clone(resolution)), *time);
        holds.push(Reference::Promise(promise));
        let what = What::Other(Box::new(Other::Outcome { act, resolution }));
        self.put(vat, id, time, what, whom, Sort::Plain, holds);
        Ok(())
    }
}
