//! A kernel as simple as it can be: one thread, everything in plain maps, every count made anew.
//!
//! It takes the inputs of a journal as they are, and says itself which records follow from them. It
//! runs cranks with the code of `vat`, as any kernel must, and shares nothing else with the one that
//! is tested: where messages go, what promises come to, who is told what, which objects nobody holds
//! and what is left of the dead is decided here once more, by other means. It keeps no counts: after
//! each record it looks at all that there is and adds up who holds what.

mod cranks;
mod ending;
mod routing;
mod settling;

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

use crate::laws::Broken;

/// Where identities and places begin that the kernel makes itself.
const MADE: u32 = 1 << 31;
/// What is let go of in one step, of what is left of a vat.
const AT_ONCE: usize = 32;

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
                match self.why_not_held(what) {
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

    fn why_not_held(&self, reference: Reference) -> Option<Rejection> {
        if let Reference::Object(object) = reference
            && !object.is_root()
            && let Some(owner) = self
                .vats
                .get(&object.vat)
                .filter(|_| self.lives(object.vat))
        {
            let news = owner
                .inbox
                .iter()
                .filter_map(|waiting| match waiting.delivery.what() {
                    What::Other(other) => match &**other {
                        Other::Dropped {
                            object: number,
                            counted,
                        } if *number == object.number => Some(*counted),
                        _ => None,
                    },
                    _ => None,
                });
            let goes = news
                .max()
                .is_some_and(|counted| owner.live.gave_away(object.number) <= Some(counted));
            if goes || object.number > owner.live.objects_made() {
                let why =
                    format!("object {object} was never made, or its owner is about to remove it");
                return Some(Rejection::with_cause(
                    Cause::NoSuchObject,
                    "no_such_object",
                    why,
                ));
            }
        }
        self.why_gone(reference)
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
}
