//! A vat's inbox as the state machine sees it: identities in the order of their places.
//!
//! An inbox is stored in chunks: the deliveries a vat was ever given are numbered from 0, and chunk
//! `n` holds those from `n * CHUNK` on. The vat's row says how many it has consumed, so a chunk
//! stays as it is while deliveries are taken from its front, and only the chunks that got new
//! deliveries are written at a checkpoint. Runs of one record's messages take a few bytes, in memory
//! and in the tables.

use std::collections::VecDeque;

use crankcase_vat::codec::{Reader, put_delivery_id, put_varint};
use crankcase_vat::{CrankNumber, DecodeError, DeliveryId, PromiseId, Seq, VatNumber};

/// Deliveries in a chunk.
pub(crate) const CHUNK: u64 = 4096;

/// Who waits for what a delivery comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Nobody.
    No,
    /// The host that sent it.
    ByHost,
    /// A promise.
    ByPromise,
}

impl Wanted {
    const fn code(self) -> u64 {
        match self {
            Self::No => 0,
            Self::ByHost => 1,
            Self::ByPromise => 2,
        }
    }

    const fn from_code(code: u64) -> Option<Self> {
        match code {
            0 => Some(Self::No),
            1 => Some(Self::ByHost),
            2 => Some(Self::ByPromise),
            _ => None,
        }
    }
}

/// What waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Item {
    /// A message or a start, whose body stands in the record of its identity.
    Message,
    /// A message that came through a promise, for the object of that number.
    Via { object: u64 },
    /// What a watched promise came to: that promise, or nothing when the watch itself says it.
    Outcome { promise: Option<PromiseId> },
    /// A promise that the vat keeps came to its end.
    Settled { promise: PromiseId },
    /// Nobody holds the object any more, as of that crank of the vat.
    Dropped { object: u64, counted: CrankNumber },
    /// The vat has ended, and something of it is left.
    Clean,
}

/// A delivery that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Waiting {
    /// Its identity. Its body stands in the record of that place.
    pub(crate) delivery: DeliveryId,
    /// Where it stands among all deliveries: its identity, unless it waited in a promise before.
    pub(crate) place: DeliveryId,
    pub(crate) wanted: Wanted,
    pub(crate) item: Item,
}

impl Waiting {
    /// A message that goes straight into the inbox.
    pub(crate) const fn message(delivery: DeliveryId, wanted: Wanted) -> Self {
        Self {
            delivery,
            place: delivery,
            wanted,
            item: Item::Message,
        }
    }
}

/// Deliveries that stand one behind the other.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Run {
    /// Messages with consecutive indices of one record.
    Messages {
        first: DeliveryId,
        count: u32,
        wanted: Wanted,
    },
    /// One that is rarer.
    Other(Box<Waiting>),
}

impl Run {
    fn len(&self) -> u64 {
        match self {
            Self::Messages { count, .. } => u64::from(*count),
            Self::Other(_) => 1,
        }
    }

    /// The delivery at a position in it.
    fn at(&self, position: u64) -> Waiting {
        match self {
            Self::Messages { first, wanted, .. } => {
                let index = first.index + position as u32;
                Waiting::message(DeliveryId::new(first.seq, index), *wanted)
            }
            Self::Other(waiting) => **waiting,
        }
    }
}

/// Deliveries that wait for one vat.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Inbox {
    runs: VecDeque<Run>,
    len: u64,
}

impl Inbox {
    #[inline]
    pub(crate) fn push(&mut self, waiting: Waiting) {
        if waiting.item == Item::Message {
            self.push_message(waiting.delivery, waiting.wanted);
        } else {
            self.len += 1;
            self.runs.push_back(Run::Other(Box::new(waiting)));
        }
    }

    /// Pushes a message that goes straight into the inbox.
    #[inline]
    pub(crate) fn push_message(&mut self, delivery: DeliveryId, by_whom: Wanted) {
        self.len += 1;
        if let Some(Run::Messages {
            first,
            count,
            wanted,
        }) = self.runs.back_mut()
            && first.seq == delivery.seq
            && *wanted == by_whom
            && first.index.checked_add(*count) == Some(delivery.index)
        {
            *count += 1;
            return;
        }
        self.runs.push_back(Run::Messages {
            first: delivery,
            count: 1,
            wanted: by_whom,
        });
    }

    #[inline]
    pub(crate) fn front(&self) -> Option<Waiting> {
        self.runs.front().map(|run| run.at(0))
    }

    #[inline]
    pub(crate) fn pop(&mut self) -> Option<Waiting> {
        let run = self.runs.front_mut()?;
        let popped = run.at(0);
        self.len -= 1;
        match run {
            Run::Messages { first, count, .. } if *count > 1 => {
                first.index += 1;
                *count -= 1;
            }
            _ => {
                self.runs.pop_front();
            }
        }
        Some(popped)
    }

    pub(crate) const fn len(&self) -> u64 {
        self.len
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Waiting> + '_ {
        self.runs
            .iter()
            .flat_map(|run| (0..run.len()).map(|position| run.at(position)))
    }

    /// Those that are no messages straight to an object.
    pub(crate) fn others(&self) -> impl Iterator<Item = Waiting> + '_ {
        self.runs.iter().filter_map(|run| match run {
            Run::Messages { .. } => None,
            Run::Other(waiting) => Some(**waiting),
        })
    }

    /// The lowest record in which a body stands that waits here.
    pub(crate) fn oldest(&self) -> Option<Seq> {
        // Messages of later runs stand in later records, but what came through a promise may be
        // older than what it stands behind.
        let mut messages = None;
        let mut others = None;
        for run in &self.runs {
            match run {
                Run::Messages { first, .. } => {
                    messages.get_or_insert(first.seq);
                }
                Run::Other(waiting) => match waiting.item {
                    Item::Message | Item::Via { .. } | Item::Outcome { .. } => {
                        let seq = waiting.delivery.seq;
                        others = Some(others.map_or(seq, |oldest: Seq| oldest.min(seq)));
                    }
                    Item::Settled { .. } | Item::Dropped { .. } | Item::Clean => {}
                },
            }
        }
        messages.into_iter().chain(others).min()
    }

    /// The deliveries from the position `from` on, at most `count` of them.
    pub(crate) fn range(&self, from: u64, count: u64) -> Vec<Waiting> {
        // From the nearer end: what is asked for is mostly what came first or last.
        let (mut start, mut at) = (0, 0);
        if from <= self.len / 2 {
            while at < self.runs.len() && start + self.runs[at].len() <= from {
                start += self.runs[at].len();
                at += 1;
            }
        } else {
            (start, at) = (self.len, self.runs.len());
            while at > 0 && start > from {
                at -= 1;
                start -= self.runs[at].len();
            }
        }
        let mut found = Vec::new();
        for run in self.runs.range(at..) {
            for position in 0..run.len() {
                if start + position >= from {
                    if found.len() as u64 == count {
                        return found;
                    }
                    found.push(run.at(position));
                }
            }
            start += run.len();
        }
        found
    }

    /// The chunks that hold deliveries numbered `from` and above, encoded; `head` is the number
    /// of the inbox's first delivery.
    pub(crate) fn chunks_from(&self, head: u64, from: u64, mut put: impl FnMut(u64, Vec<u8>)) {
        let tail = head + self.len();
        if from >= tail {
            return;
        }
        let first = from.max(head) / CHUNK;
        let begin = (first * CHUNK).max(head);
        let all = self.range(begin - head, tail - begin);
        for chunk in first..=(tail - 1) / CHUNK {
            let start = (chunk * CHUNK).max(head);
            let end = ((chunk + 1) * CHUNK).min(tail);
            let part = &all[(start - begin) as usize..(end - begin) as usize];
            put(chunk, encode_chunk(start, part));
        }
    }
}

const VIA: u64 = 3;
const OUTCOME: u64 = 4;
const KNOWN_OUTCOME: u64 = 5;
const SETTLED: u64 = 6;
const DROPPED: u64 = 7;
const CLEAN: u64 = 8;

/// `number` of the first delivery, then runs: what it is (for messages who wants the outcome, below
/// 3), identity, then for messages a count and for others their place and what else there is.
fn encode_chunk(number: u64, deliveries: &[Waiting]) -> Vec<u8> {
    let mut runs = Inbox::default();
    deliveries.iter().for_each(|waiting| runs.push(*waiting));
    let mut out = Vec::new();
    put_varint(&mut out, number);
    let put_promise = |out: &mut Vec<u8>, promise: &PromiseId| {
        put_varint(out, promise.maker.get());
        put_varint(out, promise.counter);
    };
    for run in &runs.runs {
        match run {
            Run::Messages {
                first,
                count,
                wanted,
            } => {
                put_varint(&mut out, wanted.code());
                put_delivery_id(&mut out, *first);
                put_varint(&mut out, u64::from(*count));
            }
            Run::Other(other) => {
                let what = match other.item {
                    Item::Message | Item::Via { .. } => VIA,
                    Item::Outcome { promise: Some(_) } => OUTCOME,
                    Item::Outcome { promise: None } => KNOWN_OUTCOME,
                    Item::Settled { .. } => SETTLED,
                    Item::Dropped { .. } => DROPPED,
                    Item::Clean => CLEAN,
                };
                put_varint(&mut out, what);
                put_delivery_id(&mut out, other.delivery);
                put_delivery_id(&mut out, other.place);
                put_varint(&mut out, other.wanted.code());
                match &other.item {
                    Item::Via { object } => put_varint(&mut out, *object),
                    Item::Outcome {
                        promise: Some(promise),
                    }
                    | Item::Settled { promise } => put_promise(&mut out, promise),
                    Item::Dropped { object, counted } => {
                        put_varint(&mut out, *object);
                        put_varint(&mut out, counted.get());
                    }
                    Item::Message | Item::Outcome { promise: None } | Item::Clean => {}
                }
            }
        }
    }
    out
}

/// Reads a chunk: the number of its first delivery, and the deliveries.
pub(crate) fn decode_chunk(bytes: &[u8]) -> Result<(u64, Vec<Waiting>), DecodeError> {
    let mut reader = Reader::new(bytes);
    let number = reader.varint("number of the first delivery")?;
    let mut deliveries = Vec::new();
    while !reader.is_at_end() {
        let offset = reader.offset();
        let invalid = || DecodeError::Invalid {
            what: "run of deliveries",
            offset,
        };
        let room = CHUNK - deliveries.len() as u64;
        let what = reader.varint("run of deliveries")?;
        let delivery = reader.delivery_id("delivery")?;
        if let Some(wanted) = Wanted::from_code(what) {
            let count = reader.varint("run of deliveries")?;
            let first = u64::from(delivery.index);
            if count == 0 || count > room || first > u64::from(u32::MAX) + 1 - count {
                return Err(invalid());
            }
            deliveries.extend((first..first + count).map(|index| {
                Waiting::message(DeliveryId::new(delivery.seq, index as u32), wanted)
            }));
            continue;
        }
        if room == 0 {
            return Err(invalid());
        }
        let place = reader.delivery_id("place of a delivery")?;
        let wanted = Wanted::from_code(reader.varint("who waits")?).ok_or_else(invalid)?;
        let promise = |reader: &mut Reader<'_>| {
            Ok::<_, DecodeError>(PromiseId::new(
                VatNumber::new(reader.varint("promise")?),
                reader.varint("promise")?,
            ))
        };
        let item = match what {
            VIA => Item::Via {
                object: reader.varint("object number")?,
            },
            OUTCOME => Item::Outcome {
                promise: Some(promise(&mut reader)?),
            },
            KNOWN_OUTCOME => Item::Outcome { promise: None },
            SETTLED => Item::Settled {
                promise: promise(&mut reader)?,
            },
            DROPPED => Item::Dropped {
                object: reader.varint("object number")?,
                counted: CrankNumber::new(reader.varint("crank number")?),
            },
            CLEAN => Item::Clean,
            _ => return Err(invalid()),
        };
        deliveries.push(Waiting {
            delivery,
            place,
            wanted,
            item,
        });
    }
    Ok((number, deliveries))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(seq: u64, index: u32, by_host: bool) -> Waiting {
        let wanted = if by_host { Wanted::ByHost } else { Wanted::No };
        Waiting::message(DeliveryId::new(Seq::new(seq), index), wanted)
    }

    fn other(seq: u64, choice: u8) -> Waiting {
        let promise = PromiseId::new(VatNumber::new(3), seq);
        let item = match choice % 6 {
            0 => Item::Via { object: seq },
            1 => Item::Outcome {
                promise: Some(promise),
            },
            2 => Item::Outcome { promise: None },
            3 => Item::Settled { promise },
            4 => Item::Dropped {
                object: 7,
                counted: CrankNumber::new(seq),
            },
            _ => Item::Clean,
        };
        Waiting {
            delivery: DeliveryId::new(Seq::new(seq), 1),
            place: DeliveryId::new(Seq::new(seq + 1), 1 << 31),
            wanted: Wanted::ByPromise,
            item,
        }
    }

    proptest! {
        #[test]
        fn chunks_come_back(
            runs in proptest::collection::vec((1u64..50, 0u32..5, 1u32..3000, any::<u8>()), 0..8),
            head in 0u64..10_000,
        ) {
            let mut inbox = Inbox::default();
            for (seq, first, count, choice) in runs {
                (first..first + count).for_each(|i| inbox.push(message(seq, i, choice & 1 == 1)));
                inbox.push(other(seq, choice >> 1));
            }
            let mut read = Vec::new();
            inbox.chunks_from(head, head, |chunk, bytes| {
                let (number, deliveries) = decode_chunk(&bytes).expect("a chunk");
                assert_eq!(number, (chunk * CHUNK).max(head));
                read.extend(deliveries);
            });
            prop_assert_eq!(&read, &inbox.iter().collect::<Vec<_>>());
            let mut popped = Vec::new();
            let mut rest = inbox.clone();
            while let Some(front) = rest.front() {
                prop_assert_eq!(rest.pop(), Some(front));
                popped.push(front);
            }
            prop_assert_eq!(&popped, &read);
            for from in [0, inbox.len() / 2, inbox.len()] {
                let expected: Vec<_> = read.iter().skip(from as usize).take(5).copied().collect();
                prop_assert_eq!(inbox.range(from, 5), expected);
            }
        }

        #[test]
        fn hostile_chunks_are_refused_without_a_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            let _ = decode_chunk(&bytes);
        }
    }

    #[test]
    fn a_count_near_the_end_of_the_numbers_is_refused() {
        for count in [u64::MAX, u64::MAX - 1, CHUNK + 1] {
            let mut bytes = Vec::new();
            for number in [0, 1, 0, 1, 1, 4, count] {
                put_varint(&mut bytes, number);
            }
            assert!(decode_chunk(&bytes).is_err(), "{count}");
        }
    }

    #[test]
    fn a_million_deliveries_of_one_record_take_few_bytes() {
        let mut inbox = Inbox::default();
        (0..1_000_000).for_each(|index| inbox.push(message(9, index, false)));
        assert_eq!(inbox.runs.len(), 1);
        let mut total = 0;
        inbox.chunks_from(0, 0, |_, bytes| total += bytes.len());
        assert!(total < 5_000, "{total} bytes");
    }
}
