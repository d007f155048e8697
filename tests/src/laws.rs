//! The laws of an order, checked on nothing but its records.
//!
//! No vat's code is run and no state is kept but who was made, what was sent and what was consumed. A
//! journal that passes has not done the right things, but nothing twice, out of turn, or by halves.
//!
//! | law | of |
//! |---|---|
//! | a delivery is consumed once, by a vat that was made before, after the record that caused it | G5, G3 |
//! | a vat's cranks are numbered without a gap, in the order in which they stand | G2, G3 |
//! | a vat's `now` never goes back, and is never ahead of the inputs | G3 |
//! | what one vat sends through one reference is consumed in the order in which it was sent | G3 |
//! | a message to an object is consumed by the object's vat and no other | G2 |
//! | a vat's first crank consumes its start | G3 |
//! | an abandoned crank has no effect | G1 |
//! | a vat that has ended does nothing any more but let go | G1 |
//! | a request id that is known is not taken again | G5 |
//! | when nothing waits, every message straight to a vat that lives was consumed | G5 |

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use crankcase_journal::PrivateCopy;
use crankcase_vat::record::{Act, CrankEnd, CrankRecord, InputRecord, Record, VatEnd};
use crankcase_vat::{CrankNumber, DeliveryId, RecordBytes, Seq, Slot, Time, VatId, VatNumber};

/// A record that breaks a law, or does not follow from those before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// The record.
    pub seq: Seq,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "record {}: {}", self.seq, self.what)
    }
}

/// Where identities begin that the kernel makes itself.
const MADE: u32 = 1 << 31;

/// Where a message was sent from and to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Route {
    /// The sender; nothing for the host.
    from: Option<VatId>,
    /// The encoded receiver.
    to: Vec<u8>,
}

struct Sent {
    route: Option<Route>,
    /// The vat that must consume it, where that is known.
    to: Option<VatId>,
    /// Whether it is the start of that vat.
    starts: bool,
    /// Whether it may be rejected without reaching the vat: the host sent it, with references, of
    /// which one may lead to what is gone.
    may_turn_back: bool,
}

#[derive(Debug, Default)]
struct Known {
    crank: CrankNumber,
    now: Time,
    /// Which the kernel gives to each vat with its birth; what the vat makes bears it.
    number: VatNumber,
    ended: bool,
}

/// The laws, over the records so far.
#[derive(Default)]
pub struct Laws {
    seq: Seq,
    time: Time,
    last_number: VatNumber,
    /// Vats that have had a crank, in all of the order.
    started: BTreeSet<VatId>,
    vats: BTreeMap<VatId, Known>,
    sent: BTreeMap<DeliveryId, Sent>,
    consumed: BTreeSet<DeliveryId>,
    /// What was consumed last of each route.
    last: BTreeMap<Route, DeliveryId>,
    requests: BTreeSet<String>,
}

impl fmt::Debug for Laws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Laws")
            .field("seq", &self.seq)
            .finish_non_exhaustive()
    }
}

type Step = Result<(), String>;

fn demand(law: bool, what: impl FnOnce() -> String) -> Step {
    if law { Ok(()) } else { Err(what()) }
}

impl Laws {
    /// Goes through an order from its first record.
    ///
    /// # Errors
    ///
    /// [`Broken`], with the first record that breaks a law.
    pub fn check(records: &[RecordBytes]) -> Result<Self, Broken> {
        let mut laws = Self::default();
        for bytes in records {
            if let Ok(Record::Crank(crank)) = Record::parse(bytes) {
                laws.started.insert(crank.vat);
            }
        }
        for bytes in records {
            laws.seq = laws.seq.next();
            let seq = laws.seq;
            laws.step(bytes).map_err(|what| Broken { seq, what })?;
        }
        Ok(laws)
    }

    /// Says that the order ends here and nothing waits in any inbox.
    ///
    /// # Errors
    ///
    /// [`Broken`], with what was lost.
    pub fn nothing_waits(&self) -> Result<(), Broken> {
        for (id, sent) in &self.sent {
            let Some(to) = sent.to else { continue };
            let lives = self.vats.get(&to).is_some_and(|vat| !vat.ended);
            if lives && !sent.may_turn_back && !self.consumed.contains(id) {
                let what = format!("delivery {id} to {to} was never consumed");
                let seq = self.seq;
                return Err(Broken { seq, what });
            }
        }
        Ok(())
    }

    /// The records so far.
    #[must_use]
    pub const fn records(&self) -> u64 {
        self.seq.get()
    }

    fn step(&mut self, bytes: &[u8]) -> Step {
        let record = Record::parse(bytes).map_err(|error| error.to_string())?;
        record.validate().map_err(|error| error.to_string())?;
        match &record {
            Record::Input(input) => self.input(input),
            Record::Crank(crank) => self.crank(crank),
        }
    }

    fn input(&mut self, input: &InputRecord<'_>) -> Step {
        self.time = self.time.max(input.time);
        let mut index = 0;
        for entry in input.entries() {
            let entry = entry.map_err(|error| error.to_string())?;
            if let Some(request) = entry.request {
                demand(self.requests.insert(request.id.to_owned()), || {
                    format!("request {:?} is taken twice", request.id)
                })?;
            }
            for act in entry.acts() {
                let act = act.map_err(|error| error.to_string())?;
                if let Act::Forget { request } = act {
                    self.requests.remove(request);
                }
                self.act(None, VatNumber::HOST, &act, &mut index);
            }
        }
        Ok(())
    }

    /// Takes note of what an act makes and sends.
    fn act(&mut self, from: Option<VatId>, number: VatNumber, act: &Act<'_>, index: &mut u32) {
        let id = DeliveryId::new(self.seq, *index);
        *index += u32::from(act.is_delivery());
        let route = |to: &Slot| {
            let mut bytes = Vec::new();
            to.write(&mut bytes);
            Some(Route { from, to: bytes })
        };
        let sent = match act {
            Act::Send { to, args, .. } => Sent {
                route: route(to),
                to: match to {
                    Slot::Object(object) => Some(object.vat),
                    _ => None,
                },
                starts: false,
                may_turn_back: from.is_none() && args.has_slots(),
            },
            Act::Upgrade { vat, .. } => Sent {
                route: route(&Slot::Object((*vat).into())),
                to: Some(*vat),
                starts: false,
                may_turn_back: false,
            },
            Act::Watch { .. } => Sent {
                route: None,
                // It comes when what is watched does.
                to: None,
                starts: false,
                may_turn_back: false,
            },
            Act::Spawn { counter, args, .. } => {
                let vat = VatId::new(number, *counter);
                // A start that the host sends with a reference to what is gone makes no vat. One
                // that has not started yet is taken for that.
                if from.is_none() && args.has_slots() && !self.started.contains(&vat) {
                    return;
                }
                self.last_number = self.last_number.next();
                let known = Known {
                    number: self.last_number,
                    ..Known::default()
                };
                self.vats.insert(vat, known);
                Sent {
                    route: None,
                    to: Some(vat),
                    starts: true,
                    may_turn_back: false,
                }
            }
            _ => return,
        };
        self.sent.insert(id, sent);
    }

    fn crank(&mut self, record: &CrankRecord<'_>) -> Step {
        let (id, consumed) = (record.vat, record.consumed);
        let seq = self.seq;
        let known = self.vats.get_mut(&id);
        let known = known.ok_or_else(|| format!("vat {id} was never made"))?;
        demand(record.number == known.crank.next(), || {
            format!(
                "vat {id} has had crank {}, and this is {}",
                known.crank, record.number
            )
        })?;
        demand(record.now >= known.now, || {
            format!("the time of vat {id} goes back")
        })?;
        demand(record.now <= self.time, || {
            format!("the time of vat {id} is ahead")
        })?;
        let is_first = known.crank == CrankNumber::ZERO;
        known.crank = record.number;
        known.now = record.now;
        let was_over = known.ended;
        demand(consumed.seq < seq, || {
            format!("{consumed} is consumed before its cause")
        })?;
        demand(self.consumed.insert(consumed), || {
            format!("{consumed} is consumed twice")
        })?;
        let sent = self.sent.get(&consumed);
        demand(sent.is_some() || consumed.index >= MADE, || {
            format!("{consumed} was never sent")
        })?;
        let starts = sent.is_some_and(|sent| sent.starts);
        demand(starts == is_first, || {
            format!("{consumed} is no start, or one too late")
        })?;
        if let Some(sent) = sent {
            demand(sent.to.is_none_or(|to| to == id), || {
                format!("{consumed} was sent to another vat than {id}")
            })?;
            if let Some(route) = &sent.route {
                let before = self.last.insert(route.clone(), consumed);
                demand(before.is_none_or(|before| before < consumed), || {
                    format!("{consumed} comes behind {before:?}, which was sent later: {route:?}")
                })?;
            }
        }
        self.effects(record, was_over)
    }

    fn effects(&mut self, record: &CrankRecord<'_>, was_over: bool) -> Step {
        let id = record.vat;
        let only_lets_go = match &record.end {
            CrankEnd::Abandoned { .. } => true,
            CrankEnd::Committed { state, .. } => {
                demand(!(was_over && state.is_some()), || {
                    format!("vat {id} had ended and has a new state")
                })?;
                was_over
            }
            CrankEnd::Cleaned { .. } => {
                demand(was_over, || format!("vat {id} lives and is cleaned up"))?;
                true
            }
        };
        let number = self
            .vats
            .get(&id)
            .map_or(VatNumber::HOST, |known| known.number);
        let mut index = 0;
        for act in record.acts() {
            let act = act.map_err(|error| error.to_string())?;
            let lets_go = matches!(
                act,
                Act::Took { .. } | Act::LetGo { .. } | Act::Delete { .. }
            );
            demand(!only_lets_go || lets_go, || {
                format!("a crank that must have no effect has one: {act:?}")
            })?;
            self.act(Some(id), number, &act, &mut index);
        }
        if let CrankEnd::Committed { vat: end, .. } | CrankEnd::Abandoned { vat: end, .. } =
            &record.end
            && let VatEnd::Ended { .. } = end
            && let Some(known) = self.vats.get_mut(&id)
        {
            demand(!known.ended, || format!("vat {id} ends twice"))?;
            known.ended = true;
        }
        Ok(())
    }
}

/// All records of a journal that nobody has open; nothing when the first of them were dropped.
///
/// # Panics
///
/// When it cannot be read.
#[must_use]
#[track_caller]
pub fn records_of(dir: &Path) -> Option<Vec<RecordBytes>> {
    let copy = PrivateCopy::of(dir).expect("the journal can be looked into");
    let mut records = Vec::new();
    copy.verify_log(&mut |_, record| {
        records.push(RecordBytes::from(record));
        Ok(())
    })
    .expect("the journal is sound");
    (copy.groups().first_retained() == Seq::new(1)).then_some(records)
}
