//! A vat's inbox as the state machine sees it: identities in the order of their places.
//!
//! An inbox is stored in chunks: the deliveries a vat was ever given are numbered from 0, and chunk
//! `n` holds those from `n * CHUNK` on. The vat's row says how many it has consumed, so a chunk
//! stays as it is while deliveries are taken from its front, and only the chunks that got new
//! deliveries are written at a checkpoint. Runs of one record's deliveries take a few bytes.

use std::collections::VecDeque;

use crankcase_vat::codec::{Reader, put_varint};
use crankcase_vat::{DecodeError, DeliveryId, Seq};

/// Deliveries in a chunk.
pub(crate) const CHUNK: u64 = 4096;

/// A delivery that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Waiting {
    /// Its identity. Its body stands in the record of that place.
    pub(crate) delivery: DeliveryId,
    /// Whether the host sent it, and so waits for its outcome.
    pub(crate) from_host: bool,
}

/// Deliveries that wait for one vat.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Inbox {
    queue: VecDeque<Waiting>,
}

impl Inbox {
    #[inline]
    pub(crate) fn push(&mut self, waiting: Waiting) {
        self.queue.push_back(waiting);
    }

    #[inline]
    pub(crate) fn front(&self) -> Option<Waiting> {
        self.queue.front().copied()
    }

    #[inline]
    pub(crate) fn pop(&mut self) -> Option<Waiting> {
        self.queue.pop_front()
    }

    pub(crate) fn len(&self) -> u64 {
        self.queue.len() as u64
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Waiting> + '_ {
        self.queue.iter().copied()
    }

    /// The chunks that hold deliveries numbered `from` and above, encoded; `head` is the number
    /// of the inbox's first delivery.
    pub(crate) fn chunks_from(&self, head: u64, from: u64, mut put: impl FnMut(u64, Vec<u8>)) {
        let tail = head + self.len();
        if from >= tail {
            return;
        }
        for chunk in from.max(head) / CHUNK..=(tail - 1) / CHUNK {
            let start = (chunk * CHUNK).max(head);
            let end = ((chunk + 1) * CHUNK).min(tail);
            let deliveries = self
                .queue
                .range((start - head) as usize..(end - head) as usize);
            put(chunk, encode_chunk(start, deliveries.copied()));
        }
    }
}

/// `number` of the first delivery, then runs: record, first index and whether from the host,
/// count. Runs of consecutive indices of one record are one.
fn encode_chunk(number: u64, deliveries: impl Iterator<Item = Waiting>) -> Vec<u8> {
    let mut out = Vec::new();
    put_varint(&mut out, number);
    let mut run: Option<(Waiting, u64)> = None;
    let mut put = |(first, count): (Waiting, u64)| {
        put_varint(&mut out, first.delivery.seq.get());
        put_varint(
            &mut out,
            u64::from(first.delivery.index) << 1 | u64::from(first.from_host),
        );
        put_varint(&mut out, count);
    };
    for waiting in deliveries {
        run = Some(match run {
            Some((first, count))
                if waiting.delivery.seq == first.delivery.seq
                    && waiting.from_host == first.from_host
                    && u64::from(waiting.delivery.index)
                        == u64::from(first.delivery.index) + count =>
            {
                (first, count + 1)
            }
            Some(done) => {
                put(done);
                (waiting, 1)
            }
            None => (waiting, 1),
        });
    }
    if let Some(last) = run {
        put(last);
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
        let invalid = DecodeError::Invalid {
            what: "run of deliveries",
            offset,
        };
        let seq = Seq::new(reader.varint("record of a delivery")?);
        let packed = reader.varint("index of a delivery")?;
        let count = reader.varint("run of deliveries")?;
        let first = packed >> 1;
        if count == 0
            || count > CHUNK - deliveries.len() as u64
            || first > u64::from(u32::MAX) + 1 - count
        {
            return Err(invalid);
        }
        deliveries.extend((first..first + count).map(|index| Waiting {
            delivery: DeliveryId::new(seq, index as u32),
            from_host: packed & 1 == 1,
        }));
    }
    Ok((number, deliveries))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn waiting(seq: u64, index: u32, from_host: bool) -> Waiting {
        Waiting {
            delivery: DeliveryId::new(Seq::new(seq), index),
            from_host,
        }
    }

    proptest! {
        #[test]
        fn chunks_come_back(
            runs in proptest::collection::vec((1u64..50, 0u32..5, 1u32..3000, any::<bool>()), 0..8),
            head in 0u64..10_000,
        ) {
            let mut inbox = Inbox::default();
            for (seq, first, count, from_host) in runs {
                (first..first + count).for_each(|i| inbox.push(waiting(seq, i, from_host)));
            }
            let mut read = Vec::new();
            inbox.chunks_from(head, head, |chunk, bytes| {
                let (number, deliveries) = decode_chunk(&bytes).expect("a chunk");
                assert_eq!(number, (chunk * CHUNK).max(head));
                read.extend(deliveries);
            });
            prop_assert_eq!(read, inbox.iter().collect::<Vec<_>>());
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
        (0..1_000_000).for_each(|index| inbox.push(waiting(9, index, false)));
        let mut total = 0;
        inbox.chunks_from(0, 0, |_, bytes| total += bytes.len());
        assert!(total < 5_000, "{total} bytes");
    }
}
