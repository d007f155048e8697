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

mod audit;
mod checkpoint;
mod counts;
mod ending;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod inbox;
mod promises;
mod requests;
mod routing;
pub(crate) mod rows;
mod settling;
mod vats;
mod why;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crankcase_vat::record::{Act, CrankEnd, CrankRecord, InputRecord, Record};
use crankcase_vat::{
    CrankNumber, DecodeError, DeliveryHead, DeliveryId, Outcome, Payload, PromiseId, Reference,
    Seq, Span, Time, VatId, VatNumber, mutant,
};

pub(crate) use audit::Audit;
pub use checkpoint::LoadError;
pub(crate) use checkpoint::{EpochRows, Frozen, ThawList, first_row_difference};
pub(crate) use counts::Counts;
pub(crate) use inbox::{Item, Waiting, Wanted};
pub(crate) use promises::{Fate, Promises, Waiter};
pub(crate) use requests::RequestState;
pub(crate) use vats::{Slot, VatEntry, Vats};

use promises::Decider;
use requests::Requests;

use crate::order::CommitOrder;

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

/// Where the body of a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyAt {
    /// There in the record that is applied.
    Here(Span),
    /// Where the shell put it when it was told to park it.
    Parked,
}

/// What is delivered, and where the shell finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Delivered {
    /// A message or a start.
    Message { at: Span },
    /// A message that came through a promise, for the object of that number.
    Via { body: BodyAt, object: u64 },
    /// What a watched promise came to; nothing when the watch itself says it.
    Outcome {
        body: BodyAt,
        resolution: Option<Arc<[u8]>>,
    },
    /// A promise that the vat keeps came to its end.
    Settled {
        promise: PromiseId,
        resolution: Arc<[u8]>,
    },
    /// Nobody holds the object any more.
    Dropped { object: u64, counted: CrankNumber },
    /// The vat has ended, and something of it is left.
    Clean,
}

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
    /// A delivery is to be put into a vat's mailbox.
    Deliver {
        slot: Slot,
        head: DeliveryHead,
        what: Delivered,
    },
    /// A body in the record waits in a promise: it is to be kept.
    Park {
        delivery: DeliveryId,
        time: Time,
        at: Span,
    },
    /// What was parked under that identity will not be delivered.
    Unpark { delivery: DeliveryId },
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
    /// The record names a promise that is not there.
    #[error("the record names promise {promise}, which is not there or not as the record has it")]
    NoSuchPromise {
        /// The promise.
        promise: PromiseId,
    },
    /// The record lets go of what is not held as often.
    #[error("the record lets go of {reference} more often than it is held")]
    NotHeld {
        /// What it lets go of.
        reference: Reference,
    },
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
    promises: Promises,
    counts: Counts,
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
    /// What is left to do for the record that is applied.
    work: settling::Work,
    /// What is to be dropped, until it is taken away; no part of the state.
    remains: Vec<Remains>,
}

/// What is of no use any more, and may be many rows, which take long to drop.
#[derive(Debug)]
#[expect(dead_code, reason = "it is only dropped")]
pub(crate) enum Remains {
    /// Of a vat that ended.
    Vat(Box<vats::Hot>),
    /// What the tables hold now.
    Rows(Arc<vats::RowChanges>),
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
            promises: Promises::default(),
            counts: Counts::default(),
            host_spawned: 0,
            last_number: VatNumber::HOST,
            time: Time::ZERO,
            waiting: 0,
            turns: VecDeque::new(),
            run: None,
            abandoned: 0,
            dirty: checkpoint::Dirty::default(),
            work: settling::Work::default(),
            remains: Vec::new(),
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
        // By reference, because moving a record is a part of what applying it costs.
        match &Record::parse(record) {
            Ok(Record::Crank(crank)) => {
                self.work.begin(seq, crank.now);
                self.apply_crank(seq, crank, effects)?;
            }
            Ok(Record::Input(input)) => {
                self.work.begin(seq, input.time);
                self.apply_input(seq, input, effects)?;
            }
            Err(why) => return Err(why.clone().into()),
        }
        if self.work.is_pending() {
            self.finish_record(effects)?;
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
            if let Some(OpenRun { left: Some(left) }) = &mut self.run
                && !mutant("budget-is-not-spent")
            {
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
        let number = entry.number;

        if waited.item != Item::Message {
            self.consume_other(vat, waited.item)?;
        }
        match &record.end {
            CrankEnd::Committed { state, answer, .. } => {
                if let Some(state) = state {
                    self.vats.touch(slot).set_state(state);
                }
                self.apply_acts(seq, slot, number, record, effects)?;
                if waited.wanted != Wanted::No {
                    let answer = answer.ok_or(Contradiction::Misplaced)?;
                    self.answered(&waited, answer, (vat, record.number), effects)?;
                    self.note_given_away(vat, record.number, answer)?;
                }
            }
            CrankEnd::Abandoned { rejection, .. } => {
                self.abandoned += 1;
                self.apply_acts(seq, slot, number, record, effects)?;
                if waited.wanted != Wanted::No {
                    self.refused(&waited, rejection.clone(), effects);
                }
            }
            CrankEnd::Cleaned { rows_left } => {
                self.apply_acts(seq, slot, number, record, effects)?;
                self.clean_up(slot, *rows_left, effects)?;
            }
        }
        if let CrankEnd::Committed { vat: end, .. } | CrankEnd::Abandoned { vat: end, .. } =
            &record.end
            && let crankcase_vat::record::VatEnd::Ended { rows_left } = end
        {
            // A vat's first crank is its start; when that is abandoned, it never lived.
            let abandoned = matches!(record.end, CrankEnd::Abandoned { .. });
            let started = !abandoned || record.number > CrankNumber::ZERO.next();
            self.end_vat(slot, started, *rows_left, effects);
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
        let before = self.vats.get(slot).progress.promised;
        let mut made = before;
        let mut acts = record.acts();
        let by = Some((record.vat, record.number));
        loop {
            let offset = acts.offset();
            let delivery = DeliveryId::new(seq, index);
            if let Some(message) = acts.next_to_root()? {
                index += 1;
                made += 1;
                let promised = message.kept.then(|| PromiseId::new(number, made));
                let at = Span::new(offset, acts.offset());
                let sent = routing::Sent {
                    delivery,
                    at,
                    wanted: self.promise_answer(promised, delivery)?,
                    args: message.args,
                    by,
                };
                self.send_to_root(message.to, &sent, effects)?;
                continue;
            }
            let Some(act) = acts.next_at() else {
                break;
            };
            let (offset, act) = act?;
            let at = Span::new(offset, acts.offset());
            index += u32::from(act.is_delivery());
            let promised = match act.made_promise() {
                None => None,
                Some(kept) => {
                    made += 1;
                    kept.then(|| PromiseId::new(number, made))
                }
            };
            match act {
                Act::Send { to, args, .. } => {
                    let sent = routing::Sent {
                        delivery,
                        at,
                        wanted: self.promise_answer(promised, delivery)?,
                        args,
                        by,
                    };
                    self.send(&to, &sent, effects)?;
                }
                Act::Spawn {
                    counter,
                    kind,
                    version,
                    args,
                    name: "",
                } => {
                    let id = VatId::new(number, counter);
                    let made = &mut self.vats.touch(slot).progress.spawned;
                    *made = (*made).max(counter);
                    self.give_birth(id, kind, version, effects)?;
                    let sent = routing::Sent {
                        delivery,
                        at,
                        wanted: Wanted::No,
                        args,
                        by,
                    };
                    self.send(&crankcase_vat::Slot::Object(id.into()), &sent, effects)?;
                }
                Act::Put { key, value } => self.vats.touch(slot).write_row(key, Some(value)),
                Act::Delete { key } => self.vats.touch(slot).write_row(key, None),
                Act::Promise { .. } => {
                    if let Some(promise) = promised
                        && !self.promises.open(promise, Decider::Maker)
                    {
                        return Err(Contradiction::NoSuchPromise { promise });
                    }
                    if let Some(promise) = promised {
                        self.work.look_at(promise);
                    }
                }
                Act::Settle {
                    counter,
                    resolution,
                } => {
                    let promise = PromiseId::new(number, counter);
                    self.note_given_away(record.vat, record.number, resolution)?;
                    self.work.settle(promise, resolution.into());
                }
                Act::Watch {
                    on,
                    object: _,
                    context,
                    ..
                } => {
                    let wanted = match promised {
                        None => Wanted::No,
                        Some(promise) => {
                            self.open_promise(promise, Decider::Continuation(delivery))?;
                            Wanted::ByPromise
                        }
                    };
                    let sent = routing::Sent {
                        delivery,
                        at,
                        wanted,
                        args: context,
                        by,
                    };
                    self.watch(slot, record.vat, &on, &sent, effects)?;
                }
                Act::Keep { what, times } => self.keep(record.vat, &what, times)?,
                Act::LetGo { what, times } => self.let_go(record.vat, &what, times)?,
                Act::Took { .. } if mutant("delivered-reference-stays-counted") => {}
                Act::Took { what, times } => self.off_the_way(&what, times)?,
                Act::Spawn { .. }
                | Act::Forget { .. }
                | Act::Hold { .. }
                | Act::Release { .. }
                | Act::Await { .. }
                | Act::Upgrade { .. } => return Err(Contradiction::Misplaced),
                Act::Became { version } => self.become_version(slot, version)?,
                _ => return Err(Contradiction::Misplaced),
            }
        }
        if made > before {
            self.vats.touch(slot).progress.promised = made;
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
                let at = Span::new(offset, acts.offset());
                let delivery = DeliveryId::new(seq, index);
                index += u32::from(act.is_delivery());
                self.apply_input_act(delivery, at, act, effects)?;
            }
        }
        Ok(())
    }

    fn apply_input_act(
        &mut self,
        delivery: DeliveryId,
        at: Span,
        act: Act<'_>,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Contradiction> {
        let sent = |args| routing::Sent {
            delivery,
            at,
            wanted: Wanted::ByHost,
            args,
            by: None,
        };
        match act {
            Act::Send {
                to,
                args,
                kept: false,
                ..
            } => match self.why_unusable(&to, &args)? {
                Some(why) => self.answer(delivery, Err(why), effects),
                None => self.send(&to, &sent(args), effects)?,
            },
            Act::Spawn {
                counter,
                kind,
                version,
                args,
                name,
            } => {
                let id = VatId::new(VatNumber::HOST, counter);
                self.host_spawned = self.host_spawned.max(counter);
                let to = crankcase_vat::Slot::Object(id.into());
                let unusable = self.why_unusable_in(&args)?;
                if let Some(why) = unusable {
                    self.answer(delivery, Err(why), effects);
                    return Ok(());
                }
                self.give_birth(id, kind, version, effects)?;
                if !name.is_empty() {
                    self.names.insert(name.to_owned(), id);
                    self.dirty.names.insert(name.to_owned());
                }
                self.send(&to, &sent(args), effects)?;
            }
            Act::Forget { request } => self.requests.forget(request),
            Act::Hold { what } => {
                let outcome = match what.reference() {
                    Some(reference) => match self.why_not_held(reference) {
                        Some(why) => Err(why),
                        None => {
                            self.counts.hold(reference);
                            self.on_the_way(reference, 1, None)?;
                            Ok(Payload::empty())
                        }
                    },
                    None => return Err(Contradiction::Misplaced),
                };
                self.answer(delivery, outcome, effects);
            }
            Act::Release { what } => {
                if let Some(reference) = what.reference()
                    && self.counts.release(reference)
                {
                    self.off_the_way(&what, 1)?;
                }
            }
            Act::Await { on } => self.wait_for_host(delivery, &on, effects)?,
            Act::Upgrade { vat, .. } => {
                let to = crankcase_vat::Slot::Object(vat.into());
                self.send(&to, &sent(crankcase_vat::Body::empty()), effects)?;
            }
            _ => return Err(Contradiction::Misplaced),
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
        let kind = self.one_more_of(kind, version)?;
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

    /// Counts one more vat of that version of a kind.
    fn one_more_of(&mut self, kind: &str, version: u32) -> Result<KindIndex, Contradiction> {
        let known = self
            .kinds
            .iter()
            .position(|k| k.name == kind && k.version == version);
        let index = known.unwrap_or(self.kinds.len());
        let kind_index = KindIndex::try_from(index).map_err(|_| Contradiction::TooManyKinds)?;
        if known.is_none() {
            self.kinds.push(JournalKind {
                name: kind.to_owned(),
                version,
                live: 0,
            });
        }
        self.kinds[index].live += 1;
        self.dirty.kinds = true;
        Ok(kind_index)
    }

    /// The vat goes on with another version of its kind's code.
    fn become_version(&mut self, slot: Slot, version: u32) -> Result<(), Contradiction> {
        let had = usize::from(self.vat(slot).kind);
        let name = self.kinds[had].name.clone();
        let has = self.one_more_of(&name, version)?;
        let left = self.kinds[had].live.checked_sub(1);
        self.kinds[had].live = left.ok_or(Contradiction::Misplaced)?;
        self.vats.touch(slot).kind = has;
        Ok(())
    }

    fn answer(&mut self, delivery: DeliveryId, outcome: Outcome, effects: &mut Vec<Effect>) {
        self.requests.answer(delivery, &outcome);
        effects.push(Effect::Answer { delivery, outcome });
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

    pub(crate) const fn has_remains(&self) -> bool {
        !self.remains.is_empty()
    }

    /// What is to be dropped off the role.
    pub(crate) fn take_remains(&mut self) -> Vec<Remains> {
        std::mem::take(&mut self.remains)
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
        self.vats
            .find(vat)
            .filter(|slot| self.vats.get(*slot).ended().is_none())
    }

    /// The promises that are known.
    pub(crate) const fn promises(&self) -> &Promises {
        &self.promises
    }

    /// How objects are held.
    pub(crate) const fn counts(&self) -> &Counts {
        &self.counts
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
    let parts = one
        .requests
        .first_difference(&two.requests)
        .or_else(|| one.promises.first_difference(&two.promises))
        .or_else(|| one.counts.first_difference(&two.counts));
    if parts.is_some() {
        return parts;
    }
    one.vats.first_difference(&two.vats)
}

#[cfg(test)]
mod tests;
