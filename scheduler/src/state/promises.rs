//! Promises: who decides each, what waits in it, who holds it.
//!
//! A promise is here from the record in which someone kept it until nobody holds it any more and
//! nothing waits in it. What it came to stays with it, for those who still name it; every vat that
//! keeps it is told, and has what it came to in its place from then on.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crankcase_vat::codec::{Reader, put_delivery_id, put_varint, put_vat};
use crankcase_vat::{
    DecodeError, DeliveryId, PromiseId, Reference, Resolution, Slot, Time, VatId, VatNumber,
};
use rustc_hash::FxHashMap;

use super::inbox::Wanted;

/// Whose word it is that the promise waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decider {
    /// The vat that made it.
    Maker,
    /// Whoever answers that message.
    Answer(DeliveryId),
    /// The vat that made it, when it handles the outcome that it watches for.
    Continuation(DeliveryId),
}

/// What waits in a promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Waiter {
    /// A message that goes where the promise goes.
    Message {
        id: DeliveryId,
        wanted: Wanted,
        /// The counted references in it.
        holds: Box<[Reference]>,
    },
    /// A vat that wants to know.
    Watch {
        id: DeliveryId,
        vat: VatId,
        wanted: Wanted,
        holds: Box<[Reference]>,
    },
    /// The host, for what that delivery comes to.
    Host { id: DeliveryId },
}

impl Waiter {
    /// The delivery that it is or will be.
    pub(crate) const fn id(&self) -> DeliveryId {
        match self {
            Self::Message { id, .. } | Self::Watch { id, .. } | Self::Host { id } => *id,
        }
    }

    /// Whether its body is kept for when it is delivered.
    pub(crate) const fn has_body(&self) -> bool {
        !matches!(self, Self::Host { .. })
    }
}

/// How far a promise is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is to be decided.
    Open {
        decider: Decider,
        waiters: VecDeque<Waiter>,
    },
    /// It came to that, at that time.
    Settled { resolution: Arc<[u8]>, time: Time },
}

/// A vat that keeps a promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Holder {
    pub(crate) times: u64,
    /// Whether the news of what it came to is in the vat's inbox.
    pub(crate) told: bool,
}

/// A promise that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Promise {
    pub(crate) fate: Fate,
    /// Vats whose states and stores hold it. There may be as many as there are vats.
    pub(crate) holders: BTreeMap<VatId, Holder>,
    /// How often messages, other promises and the host hold it.
    pub(crate) on_the_way: u64,
    /// Bookkeeping of the tables: the epoch of the last change, and whether a row is there.
    epoch: u32,
    stored: bool,
}

impl Promise {
    pub(crate) const fn new(fate: Fate) -> Self {
        Self {
            fate,
            holders: BTreeMap::new(),
            on_the_way: 0,
            // Before the first epoch of any incarnation, so that its first change is seen.
            epoch: u32::MAX,
            stored: false,
        }
    }

    /// Whether anyone could still name it or waits for it.
    fn is_needed(&self) -> bool {
        let waits = match &self.fate {
            Fate::Open { waiters, .. } => !waiters.is_empty(),
            Fate::Settled { .. } => false,
        };
        waits || self.on_the_way > 0 || !self.holders.is_empty()
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_varint(&mut out, self.on_the_way);
        put_varint(&mut out, self.holders.len() as u64);
        for (vat, holder) in &self.holders {
            put_vat(&mut out, *vat);
            put_varint(&mut out, holder.times);
            out.push(u8::from(holder.told));
        }
        match &self.fate {
            Fate::Settled { resolution, time } => {
                out.push(0);
                put_varint(&mut out, time.get());
                out.extend_from_slice(resolution);
            }
            Fate::Open { decider, waiters } => {
                match decider {
                    Decider::Maker => out.push(1),
                    Decider::Answer(id) => {
                        out.push(2);
                        put_delivery_id(&mut out, *id);
                    }
                    Decider::Continuation(id) => {
                        out.push(3);
                        put_delivery_id(&mut out, *id);
                    }
                }
                put_varint(&mut out, waiters.len() as u64);
                for waiter in waiters {
                    let wanted = |wanted: &Wanted| match wanted {
                        Wanted::No => 0,
                        Wanted::ByHost => 1,
                        Wanted::ByPromise => 2,
                    };
                    match waiter {
                        Waiter::Message {
                            id,
                            wanted: w,
                            holds,
                        } => {
                            out.push(wanted(w));
                            put_delivery_id(&mut out, *id);
                            put_references(&mut out, holds);
                        }
                        Waiter::Watch {
                            id,
                            vat,
                            wanted: w,
                            holds,
                        } => {
                            out.push(4 + wanted(w));
                            put_delivery_id(&mut out, *id);
                            put_vat(&mut out, *vat);
                            put_references(&mut out, holds);
                        }
                        Waiter::Host { id } => {
                            out.push(8);
                            put_delivery_id(&mut out, *id);
                        }
                    }
                }
            }
        }
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let invalid = |what, offset| DecodeError::Invalid { what, offset };
        let on_the_way = reader.varint("how often it is on the way")?;
        let mut holders = BTreeMap::new();
        for _ in 0..reader.varint("holders")? {
            let place = reader.offset();
            let vat = reader.vat("holder")?;
            let times = reader.varint("how often it is held")?;
            let offset = reader.offset();
            let told = match reader.byte("whether it is told")? {
                0 => false,
                1 => true,
                _ => return Err(invalid("whether it is told", offset)),
            };
            // One set of holders, one spelling.
            if holders
                .last_key_value()
                .is_some_and(|(last, _)| *last >= vat)
            {
                return Err(invalid("holder", place));
            }
            holders.insert(vat, Holder { times, told });
        }
        let offset = reader.offset();
        let decider = match reader.byte("fate of a promise")? {
            0 => {
                let time = reader.time("time of a promise")?;
                let resolution = &bytes[reader.offset()..];
                if let Resolution::Value(body) = Resolution::read(resolution)? {
                    body.each_reference(&mut |_| {})?;
                }
                let resolution = resolution.into();
                return Ok(Self {
                    holders,
                    on_the_way,
                    stored: true,
                    ..Self::new(Fate::Settled { resolution, time })
                });
            }
            1 => Decider::Maker,
            2 => Decider::Answer(reader.delivery_id("decider")?),
            3 => Decider::Continuation(reader.delivery_id("decider")?),
            _ => return Err(invalid("fate of a promise", offset)),
        };
        let mut waiters = VecDeque::new();
        for _ in 0..reader.varint("waiters")? {
            let offset = reader.offset();
            let what = reader.byte("waiter")?;
            let id = reader.delivery_id("waiter")?;
            let wanted = match what & 3 {
                0 => Wanted::No,
                1 => Wanted::ByHost,
                2 => Wanted::ByPromise,
                _ => return Err(invalid("waiter", offset)),
            };
            waiters.push_back(match what {
                0..=2 => Waiter::Message {
                    id,
                    wanted,
                    holds: read_references(&mut reader)?,
                },
                4..=6 => Waiter::Watch {
                    id,
                    wanted,
                    vat: reader.vat("watching vat")?,
                    holds: read_references(&mut reader)?,
                },
                8 => Waiter::Host { id },
                _ => return Err(invalid("waiter", offset)),
            });
        }
        reader.finish()?;
        Ok(Self {
            holders,
            on_the_way,
            stored: true,
            ..Self::new(Fate::Open { decider, waiters })
        })
    }
}

fn put_references(out: &mut Vec<u8>, references: &[Reference]) {
    put_varint(out, references.len() as u64);
    for reference in references {
        Slot::from(*reference).write(out);
    }
}

fn read_references(reader: &mut Reader<'_>) -> Result<Box<[Reference]>, DecodeError> {
    let mut references = Vec::new();
    for _ in 0..reader.varint("references")? {
        let offset = reader.offset();
        let reference = Slot::read(reader)?.reference();
        references.push(reference.ok_or(DecodeError::Invalid {
            what: "reference",
            offset,
        })?);
    }
    Ok(references.into())
}

/// What following a promise to its end leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Leads {
    /// To a promise that is to be decided.
    Open(PromiseId),
    /// To one that came to something other than a promise.
    Settled(PromiseId),
    /// Nowhere: it is not known.
    Nowhere,
}

/// See the module's text.
#[derive(Debug, Default)]
pub(crate) struct Promises {
    known: BTreeMap<PromiseId, Promise>,
    /// For deliveries that a promise waits for, which one.
    by_delivery: FxHashMap<DeliveryId, PromiseId>,
    epoch: u32,
    touched: Vec<PromiseId>,
    /// Gone, with rows that are left.
    gone: Vec<PromiseId>,
}

impl Promises {
    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    pub(crate) fn get(&self, id: PromiseId) -> Option<&Promise> {
        self.known.get(&id)
    }

    /// The promise, to be changed.
    pub(crate) fn touch(&mut self, id: PromiseId) -> Option<&mut Promise> {
        let promise = self.known.get_mut(&id)?;
        if promise.epoch != self.epoch {
            promise.epoch = self.epoch;
            self.touched.push(id);
        }
        Some(promise)
    }

    /// Adds a promise that is to be decided; says no if one of its name is known.
    pub(crate) fn open(&mut self, id: PromiseId, decider: Decider) -> bool {
        if self.known.contains_key(&id) {
            return false;
        }
        let waiters = VecDeque::new();
        let mut promise = Promise::new(Fate::Open { decider, waiters });
        promise.epoch = self.epoch;
        self.insert(id, promise);
        self.touched.push(id);
        true
    }

    pub(crate) fn insert(&mut self, id: PromiseId, promise: Promise) {
        if let Fate::Open {
            decider: Decider::Answer(delivery) | Decider::Continuation(delivery),
            ..
        } = &promise.fate
        {
            self.by_delivery.insert(*delivery, id);
        }
        self.known.insert(id, promise);
    }

    /// Takes note that a delivery came to its end; gives the promise that waits for it.
    #[inline]
    pub(crate) fn answered(&mut self, delivery: DeliveryId) -> Option<PromiseId> {
        self.by_delivery.remove(&delivery)
    }

    /// Sets what a promise came to; gives what waited in it. Nothing if it is not known or had
    /// come to its end before.
    pub(crate) fn settle(
        &mut self,
        id: PromiseId,
        resolution: &Arc<[u8]>,
        time: Time,
    ) -> Option<VecDeque<Waiter>> {
        let promise = self.known.get(&id)?;
        let Fate::Open { decider, .. } = &promise.fate else {
            return None;
        };
        if let Decider::Answer(delivery) | Decider::Continuation(delivery) = decider {
            self.by_delivery.remove(delivery);
        }
        let resolution = Arc::clone(resolution);
        let fate = Fate::Settled { resolution, time };
        let before = std::mem::replace(&mut self.touch(id)?.fate, fate);
        match before {
            Fate::Open { waiters, .. } => Some(waiters),
            Fate::Settled { .. } => None,
        }
    }

    /// Where a promise leads.
    pub(crate) fn follow(&self, mut id: PromiseId) -> Leads {
        // A promise is settled with another only if that leads elsewhere, so there is an end.
        loop {
            let Some(promise) = self.known.get(&id) else {
                return Leads::Nowhere;
            };
            let Fate::Settled { resolution, .. } = &promise.fate else {
                return Leads::Open(id);
            };
            match Resolution::read(resolution) {
                Ok(Resolution::Value(body)) => match body.sole_slot() {
                    Some(Slot::Promise(next)) => id = next,
                    _ => return Leads::Settled(id),
                },
                _ => return Leads::Settled(id),
            }
        }
    }

    /// What a promise came to, if it is known and did.
    pub(crate) fn resolution(&self, id: PromiseId) -> Option<(&Arc<[u8]>, Time)> {
        match &self.known.get(&id)?.fate {
            Fate::Settled { resolution, time } => Some((resolution, *time)),
            Fate::Open { .. } => None,
        }
    }

    /// Lets go of a promise that nobody needs; gives what it held by what it had come to.
    pub(crate) fn drop_if_unneeded(&mut self, id: PromiseId) -> Option<Promise> {
        if self.known.get(&id)?.is_needed() {
            return None;
        }
        let promise = self.known.remove(&id)?;
        if let Fate::Open {
            decider: Decider::Answer(delivery) | Decider::Continuation(delivery),
            ..
        } = &promise.fate
        {
            self.by_delivery.remove(delivery);
        }
        if promise.stored {
            self.gone.push(id);
        }
        Some(promise)
    }

    /// Promises with numbers from `from` on that a vat was to decide itself, at most `count`.
    pub(crate) fn undecided_by(
        &self,
        maker: VatNumber,
        from: u64,
        count: usize,
    ) -> impl Iterator<Item = PromiseId> + '_ {
        let range = PromiseId::new(maker, from)..=PromiseId::new(maker, u64::MAX);
        let of_maker = self.known.range(range);
        let own = of_maker.filter(|(_, promise)| {
            matches!(
                promise.fate,
                Fate::Open {
                    decider: Decider::Maker | Decider::Continuation(_),
                    ..
                }
            )
        });
        own.map(|(id, _)| *id).take(count)
    }

    /// The counters of promises that the vat has yet to decide by its own word.
    pub(crate) fn to_decide(&self, maker: VatNumber) -> Vec<u64> {
        let range = PromiseId::new(maker, 0)..=PromiseId::new(maker, u64::MAX);
        let own = self.known.range(range).filter(|(_, promise)| {
            let maker = Decider::Maker;
            matches!(&promise.fate, Fate::Open { decider, .. } if *decider == maker)
        });
        own.map(|(id, _)| id.counter).collect()
    }

    /// All that are known.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (PromiseId, &Promise)> {
        self.known.iter().map(|(id, promise)| (*id, promise))
    }

    /// Ends the epoch: calls `put` with each promise that changed, and its row unless it is gone.
    pub(crate) fn freeze(&mut self, mut put: impl FnMut(PromiseId, Option<Vec<u8>>)) {
        for id in self.gone.drain(..) {
            put(id, None);
        }
        let changed: BTreeSet<PromiseId> = self.touched.drain(..).collect();
        for id in changed {
            if let Some(promise) = self.known.get_mut(&id) {
                promise.stored = true;
                put(id, Some(promise.encode()));
            }
        }
        self.epoch += 1;
    }

    pub(crate) fn first_difference(&self, other: &Self) -> Option<String> {
        for (id, promise) in &self.known {
            let same = other.known.get(id).is_some_and(|twin| {
                (&promise.fate, &promise.holders, promise.on_the_way)
                    == (&twin.fate, &twin.holders, twin.on_the_way)
            });
            if !same {
                let twin = other.known.get(id);
                return Some(format!("promise {id}: {promise:?} against {twin:?}"));
            }
        }
        (self.known.len() != other.known.len())
            .then(|| "one side has promises that the other lacks".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crankcase_vat::{ObjectId, Seq};

    #[test]
    fn rows_come_back() {
        let delivery = |seq| DeliveryId::new(Seq::new(seq), 3);
        let vat = VatId::new(VatNumber::HOST, 7);
        let holds: Box<[Reference]> = [
            Reference::Object(ObjectId::new(vat, 4)),
            Reference::Promise(PromiseId::new(VatNumber::new(2), 9)),
        ]
        .into();
        let waiters = VecDeque::from([
            Waiter::Message {
                id: delivery(1),
                wanted: Wanted::ByHost,
                holds: holds.clone(),
            },
            Waiter::Watch {
                id: delivery(2),
                vat,
                wanted: Wanted::ByPromise,
                holds,
            },
            Waiter::Host { id: delivery(3) },
        ]);
        let deciders = [
            Decider::Maker,
            Decider::Answer(delivery(8)),
            Decider::Continuation(delivery(9)),
        ];
        let mut fates: Vec<Fate> = deciders
            .into_iter()
            .map(|decider| Fate::Open {
                decider,
                waiters: waiters.clone(),
            })
            .collect();
        fates.push(Fate::Settled {
            resolution: [0, 0, 5].into(),
            time: Time::new(77),
        });
        for fate in fates {
            let mut promise = Promise::new(fate);
            promise.stored = true;
            promise.on_the_way = 300;
            let holder = Holder {
                times: 2,
                told: true,
            };
            promise.holders.insert(vat, holder);
            let row = promise.encode();
            assert_eq!(Promise::decode(&row), Ok(promise));
            for len in 0..row.len() {
                let _ = Promise::decode(&row[..len]);
            }
        }
    }

    #[test]
    fn a_row_names_each_holder_once_and_in_order() {
        let row = |holders: &[u64]| {
            let mut out = vec![0, holders.len() as u8];
            for counter in holders {
                put_vat(&mut out, VatId::new(VatNumber::HOST, *counter));
                out.extend_from_slice(&[1, 0]);
            }
            out.extend_from_slice(&[1, 0]);
            Promise::decode(&out).is_ok()
        };
        assert!(row(&[1, 2, 300]));
        assert!(!row(&[2, 1]));
        assert!(!row(&[2, 2]));
    }
}
