//! The kernel's state as a pure machine: what follows from a record, given all records before it.
//!
//! [`State::apply`] takes the next record of the total order and says what is to be done as
//! [`Effect`] values: this delivery goes to that vat, this answer is known. It reads no disk, no
//! clock and no configuration that is not in the journal, and it knows no thread. Live running,
//! recovery and verification drive the same `apply`, so what was recovered is what ran.
//!
//! It never refuses a record that a correct kernel made. A record that contradicts the ones before
//! it ([`Contradiction`]) means damage or a bug, and stops the kernel.
//!
//! What it must not know: where a message's body is kept (it handles identities; bodies stand in
//! the records), which vats are in memory, when something is written.

mod checkpoint;
mod inbox;
mod requests;
pub(crate) mod rows;
mod vats;

use std::collections::{BTreeMap, VecDeque};

use crankcase_vat::record::{Act, CrankEnd, CrankRecord, InputRecord, Record};
use crankcase_vat::{
    Cause, CrankNumber, DecodeError, DeliveryId, Payload, Rejection, Seq, Time, VatId, VatNumber,
};

pub use checkpoint::LoadError;
pub(crate) use checkpoint::{Frozen, ThawList, first_row_difference, store_rows};
use inbox::Waiting;
pub(crate) use requests::RequestState;
pub(crate) use vats::{Slot, VatEntry, Vats};

use requests::Requests;

use crate::order::CommitOrder;

/// What a delivery came to: the answer, or why it had no effect.
pub type Outcome = Result<Payload, Rejection>;

/// A kind of vat in the journal, as it was when a vat of it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JournalKind {
    pub(crate) name: String,
    pub(crate) version: u32,
    /// Vats of the kind that live.
    pub(crate) live: u64,
}

/// An index into the kinds that stand in the journal.
pub(crate) type KindIndex = u16;

/// What the shell must do because of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    /// A vat came to be; its start is the next [`Effect::Deliver`] for it.
    Born {
        slot: Slot,
        id: VatId,
        number: VatNumber,
        kind: KindIndex,
    },
    /// A delivery is to be put into a vat's mailbox. Its act stands at `offset` in the record.
    Deliver {
        slot: Slot,
        delivery: DeliveryId,
        time: Time,
        offset: usize,
        from_host: bool,
    },
    /// A delivery from the host came to an end.
    Answer {
        delivery: DeliveryId,
        outcome: Outcome,
    },
    /// The vat is no more.
    Ended { slot: Slot },
}

/// A record that cannot follow the records before it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Contradiction {
    /// The bytes are no record.
    #[error("the record cannot be decoded: {0}")]
    Undecodable(#[from] DecodeError),
    /// The record is of a vat that does not live.
    #[error("the record is of vat {vat}, which does not live")]
    NoSuchVat {
        /// The vat.
        vat: VatId,
    },
    /// A vat's cranks do not follow each other.
    #[error("vat {vat} has had {expected} as its next crank, and the record is of crank {found}")]
    Overtaken {
        /// The vat.
        vat: VatId,
        /// The crank that would be next.
        expected: CrankNumber,
        /// The crank in the record.
        found: CrankNumber,
    },
    /// The record consumes something other than the first delivery in the vat's inbox.
    #[error("the record of vat {vat} consumed {found}, which is not what was first in its inbox")]
    NotFirst {
        /// The vat.
        vat: VatId,
        /// What the record consumed.
        found: DeliveryId,
    },
    /// In `Dispatch` order, the record is not the one whose turn it is.
    #[error("the record of vat {vat} is not the one whose turn it is in dispatch order")]
    NotItsTurn {
        /// The vat.
        vat: VatId,
    },
    /// A vat that lives would be made again.
    #[error("vat {vat} would be made twice")]
    MadeTwice {
        /// The vat.
        vat: VatId,
    },
    /// A request id that is taken would be taken again.
    #[error("the request id {id:?} would be taken twice")]
    RequestTwice {
        /// The id.
        id: String,
    },
    /// The record does something that its kind of record cannot do.
    #[error("the record holds an act that is not for this kind of record")]
    Misplaced,
    /// More kinds than can be numbered.
    #[error("the journal holds more than 65,535 kinds")]
    TooManyKinds,
}

/// A run that was opened and has not spent its budget (`Dispatch` order).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OpenRun {
    /// Cranks that it may still take, or nothing for all there are.
    pub(crate) left: Option<u64>,
}

/// The kernel's state after some prefix of the order.
#[derive(Debug)]
pub(crate) struct State {
    order: CommitOrder,
    last: Seq,
    vats: Vats,
    kinds: Vec<JournalKind>,
    names: BTreeMap<String, VatId>,
    requests: Requests,
    /// Vats that the host has made.
    host_spawned: u64,
    /// The number that was last given to a vat.
    last_number: VatNumber,
    /// The time of the last input.
    time: Time,
    /// Deliveries in all inboxes.
    waiting: u64,
    /// All waiting deliveries in the order of their places (`Dispatch` order).
    turns: VecDeque<(DeliveryId, Slot)>,
    run: Option<OpenRun>,
    /// Cranks abandoned since this state was made; a figure, and no part of the state.
    abandoned: u64,
    /// What the next checkpoint must write besides vats and requests.
    dirty: checkpoint::Dirty,
}

impl State {
    /// The state before the first record.
    pub(crate) fn new(order: CommitOrder) -> Self {
        Self {
            order,
            last: Seq::ZERO,
            vats: Vats::default(),
            kinds: Vec::new(),
            names: BTreeMap::new(),
            requests: Requests::default(),
            host_spawned: 0,
            last_number: VatNumber::HOST,
            time: Time::ZERO,
            waiting: 0,
            turns: VecDeque::new(),
            run: None,
            abandoned: 0,
            dirty: checkpoint::Dirty::default(),
        }
    }

    /// Applies the next record and appends what follows from it to `effects`.
    ///
    /// # Errors
    ///
    /// [`Contradiction`] when the record cannot follow those before it. The state is then between
    /// two records and must not be used any further.
    #[inline]
    pub(crate) fn apply(
        &mut self,
        record: &[u8],
        effects: &mut Vec<Effect>,
    ) -> Result<Seq, Contradiction> {
        let seq = self.last.next();
        match Record::parse(record)? {
            Record::Crank(crank) => self.apply_crank(seq, &crank, effects)?,
            Record::Input(input) => self.apply_input(seq, &input, effects)?,
        }
        self.last = seq;
        self.close_spent_run();
        Ok(seq)
    }

    #[inline]
    fn apply_crank(
        &mut self,
        seq: Seq,
        record: &CrankRecord<'_>,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Contradiction> {
        let vat = record.vat;
        let slot = self
            .vats
            .find(vat)
            .ok_or(Contradiction::NoSuchVat { vat })?;
        if self.order == CommitOrder::Dispatch {
            if self.turn() != Some((record.consumed, slot)) {
                return Err(Contradiction::NotItsTurn { vat });
            }
            self.turns.pop_front();
            if let Some(OpenRun { left: Some(left) }) = &mut self.run {
                *left = left.saturating_sub(1);
            }
        }
        let entry = self.vats.touch(slot);
        let expected = entry.progress.crank.next();
        if record.number != expected {
            return Err(Contradiction::Overtaken {
                vat,
                expected,
                found: record.number,
            });
        }
        let waited = entry
            .pop_waiting(record.consumed)
            .ok_or(Contradiction::NotFirst {
                vat,
                found: record.consumed,
            })?;
        self.waiting -= 1;
        entry.progress.crank = record.number;
        entry.progress.now = record.now;

        let ended = match &record.end {
            CrankEnd::Committed {
                state,
                answer,
                vat_ended,
            } => {
                if let Some(state) = state {
                    entry.set_state(state);
                }
                let number = entry.number;
                self.apply_acts(seq, slot, number, record, effects)?;
                if waited.from_host {
                    let answer = Payload::from_bytes(answer.unwrap_or_default().to_vec());
                    self.answer(record.consumed, Ok(answer), effects);
                }
                *vat_ended
            }
            CrankEnd::Abandoned {
                rejection,
                vat_ended,
            } => {
                self.abandoned += 1;
                if waited.from_host {
                    self.answer(record.consumed, Err(rejection.clone()), effects);
                }
                *vat_ended
            }
        };
        if ended {
            // A vat's first crank is its start; when that is abandoned, it never lived.
            let abandoned = matches!(record.end, CrankEnd::Abandoned { .. });
            let started = !abandoned || record.number > CrankNumber::ZERO.next();
            self.end_vat(slot, started, effects);
        }
        Ok(())
    }

    #[inline]
    fn apply_acts(
        &mut self,
        seq: Seq,
        slot: Slot,
        number: VatNumber,
        record: &CrankRecord<'_>,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Contradiction> {
        let mut index = 0;
        let mut acts = record.acts();
        while let Some(act) = acts.next_at() {
            let (offset, act) = act?;
            let delivery = DeliveryId::new(seq, index);
            match act {
                Act::Send { to, .. } => {
                    index += 1;
                    self.deliver(to, delivery, record.now, offset, false, effects);
                }
                Act::Spawn {
                    counter,
                    kind,
                    version,
                    name: "",
                    ..
                } => {
                    index += 1;
                    let id = VatId::new(number, counter);
                    let made = &mut self.vats.touch(slot).progress.spawned;
                    *made = (*made).max(counter);
                    self.give_birth(id, kind, version, effects)?;
                    self.deliver(id, delivery, record.now, offset, false, effects);
                }
                Act::Put { key, value } => self.vats.touch(slot).write_row(key, Some(value)),
                Act::Delete { key } => self.vats.touch(slot).write_row(key, None),
                _ => return Err(Contradiction::Misplaced),
            }
        }
        Ok(())
    }

    fn apply_input(
        &mut self,
        seq: Seq,
        input: &InputRecord<'_>,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Contradiction> {
        self.time = self.time.max(input.time);
        self.dirty.counters = true;
        if let Some(left) = input.run {
            self.run = Some(OpenRun { left });
        }
        let mut index = 0;
        for entry in input.entries() {
            let entry = entry?;
            let first = index;
            let mut acts = entry.acts();
            // The request is there before its deliveries, because a delivery to nobody is
            // answered at once.
            if let Some(request) = entry.request {
                let mut count = 0;
                for act in entry.acts() {
                    count += u32::from(act?.is_delivery());
                }
                let first = DeliveryId::new(seq, first);
                if !self.requests.take(request, first, count) {
                    return Err(Contradiction::RequestTwice {
                        id: request.id.to_owned(),
                    });
                }
            }
            while let Some(act) = acts.next_at() {
                let (offset, act) = act?;
                let delivery = DeliveryId::new(seq, index);
                match act {
                    Act::Send { to, .. } => {
                        index += 1;
                        self.deliver(to, delivery, input.time, offset, true, effects);
                    }
                    Act::Spawn {
                        counter,
                        kind,
                        version,
                        name,
                        ..
                    } => {
                        index += 1;
                        let id = VatId::new(VatNumber::HOST, counter);
                        self.host_spawned = self.host_spawned.max(counter);
                        self.give_birth(id, kind, version, effects)?;
                        if !name.is_empty() {
                            self.names.insert(name.to_owned(), id);
                            self.dirty.names.insert(name.to_owned());
                        }
                        self.deliver(id, delivery, input.time, offset, true, effects);
                    }
                    Act::Forget { request } => self.requests.forget(request),
                    _ => return Err(Contradiction::Misplaced),
                }
            }
        }
        Ok(())
    }

    fn give_birth(
        &mut self,
        id: VatId,
        kind: &str,
        version: u32,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Contradiction> {
        if self.vats.find(id).is_some() {
            return Err(Contradiction::MadeTwice { vat: id });
        }
        let known = self
            .kinds
            .iter()
            .position(|k| k.name == kind && k.version == version);
        let index = match known {
            Some(index) => index,
            None => {
                self.kinds.push(JournalKind {
                    name: kind.to_owned(),
                    version,
                    live: 0,
                });
                self.kinds.len() - 1
            }
        };
        let kind = KindIndex::try_from(index).map_err(|_| Contradiction::TooManyKinds)?;
        self.kinds[index].live += 1;
        self.dirty.kinds = true;
        self.dirty.counters = true;
        self.last_number = self.last_number.next();
        let number = self.last_number;
        let slot = self.vats.insert(id, number, kind);
        effects.push(Effect::Born {
            slot,
            id,
            number,
            kind,
        });
        Ok(())
    }

    #[inline]
    fn deliver(
        &mut self,
        to: VatId,
        delivery: DeliveryId,
        time: Time,
        offset: usize,
        from_host: bool,
        effects: &mut Vec<Effect>,
    ) {
        let Some(slot) = self.vats.find(to) else {
            if from_host {
                let why = format!("vat {to} was never made, or it has ended");
                let rejection = Rejection::with_cause(Cause::NoSuchVat, "no_such_vat", why);
                self.answer(delivery, Err(rejection), effects);
            }
            return;
        };
        self.vats.touch(slot).push_waiting(Waiting {
            delivery,
            from_host,
        });
        self.waiting += 1;
        if self.order == CommitOrder::Dispatch {
            self.turns.push_back((delivery, slot));
        }
        effects.push(Effect::Deliver {
            slot,
            delivery,
            time,
            offset,
            from_host,
        });
    }

    fn answer(&mut self, delivery: DeliveryId, outcome: Outcome, effects: &mut Vec<Effect>) {
        self.requests.answer(delivery, &outcome);
        effects.push(Effect::Answer { delivery, outcome });
    }

    fn end_vat(&mut self, slot: Slot, started: bool, effects: &mut Vec<Effect>) {
        let entry = self.vats.remove(slot);
        self.kinds[usize::from(entry.kind)].live -= 1;
        self.dirty.kinds = true;
        let id = entry.id;
        let why = || match started {
            true => {
                let why = format!("vat {id} ended while this waited in its inbox");
                Rejection::with_cause(Cause::VatEnded, "vat_ended", why)
            }
            false => {
                let why = format!("the start of vat {id} was abandoned");
                Rejection::with_cause(Cause::NotStarted, "not_started", why)
            }
        };
        for waiting in entry.waiting() {
            self.waiting -= 1;
            if waiting.from_host {
                self.answer(waiting.delivery, Err(why()), effects);
            }
        }
        // Names of the dead stay: a root that is gone must not look as if it had never been.
        self.dirty.end(&entry);
        effects.push(Effect::Ended { slot });
    }

    fn close_spent_run(&mut self) {
        if self.order != CommitOrder::Dispatch {
            return;
        }
        if let Some(run) = self.run
            && (run.left == Some(0) || self.turn().is_none())
        {
            self.run = None;
        }
    }

    /// Whose turn it is (`Dispatch` order): the waiting delivery with the lowest place.
    #[inline]
    pub(crate) fn turn(&mut self) -> Option<(DeliveryId, Slot)> {
        // Deliveries of vats that ended meanwhile were rejected with them, and are passed over.
        while let Some(&(delivery, slot)) = self.turns.front() {
            if self.vats.is_first(slot, delivery) {
                return Some((delivery, slot));
            }
            self.turns.pop_front();
        }
        None
    }

    /// Cranks abandoned since this state was made.
    pub(crate) const fn abandoned(&self) -> u64 {
        self.abandoned
    }

    /// The last record applied.
    pub(crate) const fn last(&self) -> Seq {
        self.last
    }

    /// The commit order of the journal.
    pub(crate) const fn order(&self) -> CommitOrder {
        self.order
    }

    /// Deliveries in all inboxes.
    pub(crate) const fn waiting(&self) -> u64 {
        self.waiting
    }

    /// The run that is open (`Dispatch` order).
    pub(crate) const fn open_run(&self) -> Option<OpenRun> {
        self.run
    }

    /// Vats that the host has made.
    pub(crate) const fn host_spawned(&self) -> u64 {
        self.host_spawned
    }

    /// The time of the last input.
    pub(crate) const fn time(&self) -> Time {
        self.time
    }

    /// The vat's place in the table, if it lives.
    pub(crate) fn find(&self, vat: VatId) -> Option<Slot> {
        self.vats.find(vat)
    }

    /// The vat's entry.
    pub(crate) fn vat(&self, slot: Slot) -> &VatEntry {
        self.vats.get(slot)
    }

    /// The vats that live.
    pub(crate) const fn vats(&self) -> &Vats {
        &self.vats
    }

    /// The kinds that stand in the journal.
    pub(crate) fn kinds(&self) -> &[JournalKind] {
        &self.kinds
    }

    /// The vat that a root name stands for, whether it lives or not.
    pub(crate) fn root(&self, name: &str) -> Option<VatId> {
        self.names.get(name).copied()
    }

    /// What is known of a request.
    pub(crate) fn request(&self, id: &str) -> Option<&RequestState> {
        self.requests.get(id)
    }
}

/// Two states are equal when they will do the same with every record that may follow.
pub(crate) fn first_difference(one: &State, two: &State) -> Option<String> {
    let differ = |what: &str, one: &dyn std::fmt::Debug, two: &dyn std::fmt::Debug| {
        Some(format!("{what}: {one:?} against {two:?}"))
    };
    macro_rules! same {
        ($($field:ident),*) => {
            $(if one.$field != two.$field {
                return differ(stringify!($field), &one.$field, &two.$field);
            })*
        };
    }
    same!(
        order,
        last,
        kinds,
        names,
        host_spawned,
        last_number,
        time,
        waiting,
        run
    );
    if let Some(difference) = one.requests.first_difference(&two.requests) {
        return Some(difference);
    }
    one.vats.first_difference(&two.vats)
}

#[cfg(test)]
mod tests;
