//! A kernel as simple as it can be: one thread, everything in plain maps, every count made anew.
//!
//! It takes the inputs of a journal as they are, and says itself which records follow from them. It
//! runs cranks with the code of `vat`, as any kernel must, and shares nothing else with the one that
//! is tested: where messages go, what promises come to, who is told what, which objects nobody holds
//! and what is left of the dead is decided here once more, by other means. It keeps no counts: after
//! each record it looks at all that there is and adds up who holds what.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;

use crankcase::CommitOrder;
use crankcase_vat::record::{Act, CrankEnd, CrankRecord, InputRecord, Record, VatEnd};
use crankcase_vat::{
    ActAt, Body, Cause, CrankNumber, Delivery, DeliveryHead, DeliveryId, Kinds, Limits, LiveVat,
    ObjectId, Other, Outcome, Payload, PromiseId, RecordBytes, Reference, Rejection, Resolution,
    Seq, Shared, Slot, Span, Time, VatId, VatNumber, What, Workspace, row_holds_references,
};

/// Where identities and places begin that the kernel makes itself.
const MADE: u32 = 1 << 31;
/// What is let go of in one step, of what is left of a vat.
const AT_ONCE: usize = 32;

/// A record that does not follow from those before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Its place.
    pub seq: Seq,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "record {}: {}", self.seq, self.what)
    }
}

type Step<T = ()> = Result<T, String>;

/// Whom a delivery's outcome is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum For {
    Nobody,
    Host,
    /// For the promise that names the delivery as its decider.
    Promise,
}

/// What kind of a delivery it is, where that matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    Plain,
    News(PromiseId),
    Dropped(u64),
}

struct Waiting {
    delivery: Delivery,
    whom: For,
    sort: Sort,
    /// What it holds while it waits.
    holds: Vec<Reference>,
}

/// What is left of a vat that ended.
struct Remains {
    promises_from: u64,
    /// Objects that were known: whether one was held, and how often its owner was still to hear.
    objects: BTreeMap<u64, (bool, u64)>,
}

struct Resident {
    live: LiveVat,
    number: VatNumber,
    crank: CrankNumber,
    promised: u64,
    inbox: VecDeque<Waiting>,
    /// Its state as it is encoded, and what that holds.
    encoded: Vec<u8>,
    state: Vec<Reference>,
    rows: BTreeMap<Vec<u8>, Vec<Reference>>,
    remains: Option<Remains>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decider {
    Maker,
    Answer(DeliveryId),
    Watch(DeliveryId),
}

enum Waiter {
    Message(Parked),
    Watch(VatId, Parked),
    Host(DeliveryId),
}

/// What waits in a promise.
struct Parked {
    id: DeliveryId,
    whom: For,
    act: ActAt,
    time: Time,
    holds: Vec<Reference>,
}

enum Fate {
    Open(Decider, Vec<Waiter>),
    Settled(Arc<[u8]>, Time),
}

/// What a record of the journal was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Took {
    /// An input.
    Input,
    /// A crank that the serial kernel ran as well, with the same bytes.
    Crank,
}

/// See the module's text.
pub struct Serial {
    order: CommitOrder,
    shared: Shared,
    space: Workspace,
    seq: Seq,
    last_number: VatNumber,
    vats: BTreeMap<VatId, Resident>,
    promises: BTreeMap<PromiseId, Fate>,
    held_by_host: BTreeMap<Reference, u64>,
    /// Vats that have been told, or are about to be, what a promise came to that they keep.
    told: BTreeSet<(PromiseId, VatId)>,
    /// Whose turn it is, in `Dispatch` order.
    line: VecDeque<(DeliveryId, VatId)>,
    /// The run that is open, and what is left of its budget.
    run: Option<Option<u64>>,
    /// The host's deliveries, in order.
    asked: Vec<DeliveryId>,
    /// What came of them.
    answers: BTreeMap<DeliveryId, Outcome>,
    // Of the record at hand.
    time: Time,
    made: u32,
    to_settle: VecDeque<(PromiseId, Arc<[u8]>)>,
    let_go: BTreeSet<ObjectId>,
    heard: Vec<ObjectId>,
    settled: BTreeSet<PromiseId>,
    taken_up: BTreeSet<(PromiseId, VatId)>,
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serial")
            .field("seq", &self.seq)
            .field("vats", &self.vats.len())
            .field("promises", &self.promises.len())
            .finish_non_exhaustive()
    }
}

fn bad(error: impl fmt::Display) -> String {
    error.to_string()
}

fn references(body: &Body<'_>) -> Step<Vec<Reference>> {
    let mut found = Vec::new();
    body.each_reference(&mut |reference| found.push(reference))
        .map_err(bad)?;
    Ok(found)
}

fn no_such_vat(vat: VatId) -> Rejection {
    let why = format!("vat {vat} was never made, or it has ended");
    Rejection::with_cause(Cause::NoSuchVat, "no_such_vat", why)
}

fn no_such_promise(promise: PromiseId) -> Rejection {
    let why = format!("promise {promise} was never made, or nobody holds it any more");
    Rejection::with_cause(Cause::NoSuchPromise, "no_such_promise", why)
}

fn not_callable(resolution: &Resolution<'_>) -> Rejection {
    match resolution {
        Resolution::Rejected(why) => why.clone(),
        Resolution::Value(_) => Rejection::with_cause(
            Cause::NotCallable,
            "not_callable",
            "the promise came to a value that takes no messages",
        ),
    }
}

/// The object that a promise came to.
fn object_in(resolution: &Resolution<'_>) -> Option<ObjectId> {
    match resolution {
        Resolution::Value(body) => match body.sole_slot() {
            Some(Slot::Object(object)) => Some(object),
            _ => None,
        },
        Resolution::Rejected(_) => None,
    }
}

impl Serial {
    /// Before the first record. The limits are the ones that a host has who sets none.
    #[must_use]
    pub fn new(order: CommitOrder, kinds: Kinds, seed: [u8; 32]) -> Self {
        let shared = Shared {
            kinds,
            limits: Limits::default(),
            seed,
            check_canonical: false,
        };
        Self {
            order,
            shared,
            space: Workspace::new(),
            seq: Seq::ZERO,
            last_number: VatNumber::HOST,
            vats: BTreeMap::new(),
            promises: BTreeMap::new(),
            held_by_host: BTreeMap::new(),
            told: BTreeSet::new(),
            line: VecDeque::new(),
            run: None,
            asked: Vec::new(),
            answers: BTreeMap::new(),
            time: Time::ZERO,
            made: 0,
            to_settle: VecDeque::new(),
            let_go: BTreeSet::new(),
            heard: Vec::new(),
            settled: BTreeSet::new(),
            taken_up: BTreeSet::new(),
        }
    }

    /// Takes the next record of a journal.
    ///
    /// # Errors
    ///
    /// [`Broken`] when it is not the record that follows.
    pub fn follow(&mut self, bytes: &[u8]) -> Result<Took, Broken> {
        self.seq = self.seq.next();
        let seq = self.seq;
        self.step(bytes).map_err(|what| Broken { seq, what })
    }

    /// The host's deliveries so far, in order.
    #[must_use]
    pub fn asked(&self) -> &[DeliveryId] {
        &self.asked
    }

    /// What came of the host's deliveries so far.
    #[must_use]
    pub const fn answers(&self) -> &BTreeMap<DeliveryId, Outcome> {
        &self.answers
    }

    /// The vats that live and have started, with their encoded states.
    pub fn living(&self) -> impl Iterator<Item = (VatId, &[u8])> + '_ {
        let living = self.vats.iter().filter(|(_, vat)| vat.remains.is_none());
        let started = living.filter(|(_, vat)| !vat.encoded.is_empty());
        started.map(|(id, vat)| (*id, &vat.encoded[..]))
    }

    /// How many promises are known.
    #[must_use]
    pub fn promises(&self) -> usize {
        self.promises.len()
    }

    /// How many deliveries wait in inboxes.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.vats.values().map(|vat| vat.inbox.len()).sum()
    }

    fn step(&mut self, bytes: &[u8]) -> Step<Took> {
        let record = Record::parse(bytes).map_err(bad)?;
        record.validate().map_err(bad)?;
        self.made = 0;
        match &record {
            Record::Input(input) => {
                if self.order == CommitOrder::Dispatch && self.run.is_some() {
                    return Err("an input stands within a run".to_owned());
                }
                let bytes = RecordBytes::from(bytes);
                self.time = input.time;
                self.take_input(input, &bytes)?;
                self.finish()?;
                self.end_run();
                Ok(Took::Input)
            }
            Record::Crank(crank) => {
                if self.order == CommitOrder::Dispatch {
                    if self.run.is_none() {
                        return Err("a crank stands outside of a run".to_owned());
                    }
                    let turn = self.line.pop_front();
                    if turn != Some((crank.consumed, crank.vat)) {
                        return Err(format!("it is the turn of {turn:?}"));
                    }
                    if let Some(Some(left)) = &mut self.run {
                        *left -= 1;
                    }
                }
                self.run_crank(crank, bytes)?;
                self.finish()?;
                self.end_run();
                Ok(Took::Crank)
            }
        }
    }

    fn end_run(&mut self) {
        if self.run == Some(Some(0)) || self.line.is_empty() {
            self.run = None;
        }
    }

    fn place(&mut self) -> DeliveryId {
        self.made += 1;
        DeliveryId::new(self.seq, MADE | (self.made - 1))
    }

    fn lives(&self, vat: VatId) -> bool {
        self.vats.get(&vat).is_some_and(|vat| vat.remains.is_none())
    }

    fn take_input(&mut self, input: &InputRecord<'_>, bytes: &RecordBytes) -> Step {
        if let Some(budget) = input.run {
            self.run = Some(budget);
        }
        let mut index = 0;
        for entry in input.entries() {
            let mut acts = entry.map_err(bad)?.acts();
            while let Some(act) = acts.next_at() {
                let (offset, act) = act.map_err(bad)?;
                let at = Span::new(offset, acts.offset()).of(bytes);
                let id = DeliveryId::new(self.seq, index);
                if act.is_delivery() {
                    index += 1;
                    self.asked.push(id);
                }
                self.take_input_act(id, at, act)?;
            }
        }
        Ok(())
    }

    fn take_input_act(&mut self, id: DeliveryId, at: ActAt, act: Act<'_>) -> Step {
        match act {
            Act::Send { to, args, .. } => match self.why_gone_in(&args)? {
                Some(why) => self.answer(id, Err(why)),
                None => self.send(&to, id, at, &args, For::Host, None)?,
            },
            Act::Spawn {
                counter,
                kind,
                version,
                args,
                ..
            } => match self.why_gone_in(&args)? {
                Some(why) => self.answer(id, Err(why)),
                None => {
                    let vat = VatId::new(VatNumber::HOST, counter);
                    self.give_birth(vat, kind, version)?;
                    let to = Slot::Object(vat.into());
                    self.send(&to, id, at, &args, For::Host, None)?;
                }
            },
            Act::Upgrade { vat, .. } => {
                let to = Slot::Object(vat.into());
                self.send(&to, id, at, &Body::empty(), For::Host, None)?;
            }
            Act::Hold { what } => {
                let what = what.reference().ok_or("what is held is no reference")?;
                match self.why_gone(what) {
                    Some(why) => self.answer(id, Err(why)),
                    None => {
                        *self.held_by_host.entry(what).or_default() += 1;
                        self.answer(id, Ok(Payload::empty()));
                    }
                }
            }
            Act::Release { what } => {
                let what = what.reference().ok_or("what is released is no reference")?;
                if let Some(times) = self.held_by_host.get_mut(&what) {
                    *times -= 1;
                    if *times == 0 {
                        self.held_by_host.remove(&what);
                    }
                    self.lose(&[what]);
                }
            }
            Act::Await { on } => self.tell_host(id, &on)?,
            Act::Forget { .. } => {}
            other => return Err(format!("{other:?} in an input")),
        }
        Ok(())
    }

    fn answer(&mut self, id: DeliveryId, outcome: Outcome) {
        self.answers.insert(id, outcome);
    }

    fn why_gone(&self, reference: Reference) -> Option<Rejection> {
        match reference {
            Reference::Object(object) if !self.lives(object.vat) => Some(no_such_vat(object.vat)),
            Reference::Promise(promise) if !self.promises.contains_key(&promise) => {
                Some(no_such_promise(promise))
            }
            _ => None,
        }
    }

    fn why_gone_in(&self, body: &Body<'_>) -> Step<Option<Rejection>> {
        let mut references = references(body)?.into_iter();
        Ok(references.find_map(|reference| self.why_gone(reference)))
    }

    fn give_birth(&mut self, id: VatId, kind: &str, version: u32) -> Step {
        let kind = self.shared.kinds.get_version(kind, version);
        let kind = Arc::clone(kind.ok_or("a vat of an unknown kind")?);
        self.last_number = self.last_number.next();
        let number = self.last_number;
        let vat = Resident {
            live: LiveVat::unborn(id, number, kind),
            number,
            crank: CrankNumber::ZERO,
            promised: 0,
            inbox: VecDeque::new(),
            encoded: Vec::new(),
            state: Vec::new(),
            rows: BTreeMap::new(),
            remains: None,
        };
        match self.vats.insert(id, vat) {
            None => Ok(()),
            Some(_) => Err(format!("vat {id} is made twice")),
        }
    }

    /// References are not held any more where they were.
    fn lose(&mut self, references: &[Reference]) {
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
    fn lose_kept(&mut self, vat: VatId, references: &[Reference]) {
        let own = |reference: &&Reference| matches!(reference, Reference::Object(object) if object.vat == vat);
        let others: Vec<_> = references
            .iter()
            .filter(|kept| !own(kept))
            .copied()
            .collect();
        self.lose(&others);
    }

    /// Where a promise leads: to one that is open, or to one that came to something else.
    fn follow_promise(&self, mut id: PromiseId) -> Step<Option<PromiseId>> {
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

    fn send(
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
    fn put(
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
    fn reject(&mut self, id: DeliveryId, whom: For, why: Rejection) {
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
    fn decided_by(&self, id: DeliveryId) -> Option<PromiseId> {
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

    fn tell_host(&mut self, id: DeliveryId, on: &Slot) -> Step {
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

    /// Runs the vat's next crank, and takes its record if it is the one that stands there.
    fn run_crank(&mut self, record: &CrankRecord<'_>, bytes: &[u8]) -> Step {
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

    fn take_state(&mut self, id: VatId, state: &[u8]) -> Step {
        let held = references(&Body::read(state).map_err(bad)?)?;
        let vat = self.vats.get_mut(&id).ok_or("it was there")?;
        let before = std::mem::replace(&mut vat.state, held);
        vat.encoded = state.to_vec();
        self.lose_kept(id, &before);
        Ok(())
    }

    fn perform(&mut self, record: &CrankRecord<'_>, bytes: &[u8]) -> Step {
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

    fn write_row(&mut self, id: VatId, key: &[u8], value: Option<&[u8]>) -> Step {
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

    fn watch(
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
    fn notify(
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

    /// Who holds what, added up anew: by objects and promises, without what vats hold of their own.
    fn holdings(&self) -> BTreeMap<Reference, u64> {
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
    fn news_of(&self, object: ObjectId) -> u64 {
        let inbox = self.vats.get(&object.vat).map(|vat| &vat.inbox);
        let news = inbox.into_iter().flatten();
        news.filter(|waiting| waiting.sort == Sort::Dropped(object.number))
            .count() as u64
    }

    fn undecided(&self, number: VatNumber, from: u64) -> Vec<PromiseId> {
        let range = PromiseId::new(number, from)..=PromiseId::new(number, u64::MAX);
        let own = self
            .promises
            .range(range)
            .filter(|(_, fate)| matches!(fate, Fate::Open(Decider::Maker | Decider::Watch(_), _)));
        own.map(|(promise, _)| *promise).take(AT_ONCE).collect()
    }

    fn end_vat(&mut self, id: VatId, rows_left: bool) -> Step {
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

    fn ask_to_clean(&mut self, id: VatId) {
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

    fn clean(&mut self, id: VatId, rows_left: bool) -> Step {
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

    /// Does what follows from the record once its acts are done.
    fn finish(&mut self) -> Step {
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

    fn settle(&mut self, promise: PromiseId, mut resolution: Arc<[u8]>) -> Step {
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
    fn forget_promises(&mut self) -> Step {
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
    fn tell_holders(&mut self) {
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
    fn tell_owners(&mut self) {
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
