//! Request ids: which came, with what body, and to what end. They are kept until forgotten.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crankcase_vat::codec::{Reader, put_bytes, put_delivery_id, put_varint};
use crankcase_vat::record::RequestRef;
use crankcase_vat::record::input::RequestDigest;
use crankcase_vat::{DecodeError, DeliveryId, Outcome, Resolution, outcome_bytes};
use rustc_hash::FxHashMap;

/// What is known of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RequestState {
    /// The digest of its body.
    pub(crate) digest: RequestDigest,
    /// The identity of its first delivery; the others follow it.
    pub(crate) first: DeliveryId,
    /// The outcome of each of its deliveries, as far as known.
    pub(crate) outcomes: Vec<Option<Outcome>>,
    /// How many of them are not known.
    left: usize,
}

impl RequestState {
    fn new(digest: RequestDigest, first: DeliveryId, outcomes: Vec<Option<Outcome>>) -> Self {
        let left = outcomes.iter().filter(|outcome| outcome.is_none()).count();
        Self {
            digest,
            first,
            outcomes,
            left,
        }
    }

    /// Whether every outcome is known.
    pub(crate) fn is_settled(&self) -> bool {
        self.left == 0
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(&self.digest);
        put_delivery_id(&mut out, self.first);
        put_varint(&mut out, self.outcomes.len() as u64);
        for outcome in &self.outcomes {
            match outcome {
                None => out.push(0),
                Some(outcome) => {
                    out.push(1);
                    put_bytes(&mut out, &outcome_bytes(outcome));
                }
            }
        }
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let mut digest = [0; 32];
        digest.copy_from_slice(reader.take(32, "request digest")?);
        let first = reader.delivery_id("first delivery")?;
        let count = reader.varint("outcomes")?;
        let mut outcomes = Vec::new();
        for _ in 0..count {
            let offset = reader.offset();
            outcomes.push(match reader.byte("outcome")? {
                0 => None,
                1 => Some(Resolution::read(reader.bytes("outcome")?)?.to_outcome()),
                _ => {
                    return Err(DecodeError::Invalid {
                        what: "outcome",
                        offset,
                    });
                }
            });
        }
        reader.finish()?;
        Ok(Self::new(digest, first, outcomes))
    }
}

/// The requests that the kernel remembers.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    by_id: FxHashMap<Arc<str>, RequestState>,
    /// Those with outcomes to come, by their first delivery.
    open: BTreeMap<DeliveryId, Arc<str>>,
    /// Changed since the last checkpoint.
    touched: BTreeSet<Arc<str>>,
}

impl Requests {
    /// Notes a request; says no when its id is taken.
    pub(super) fn take(&mut self, request: RequestRef<'_>, first: DeliveryId, count: u32) -> bool {
        if self.by_id.contains_key(request.id) {
            return false;
        }
        let id: Arc<str> = request.id.into();
        let outcomes = vec![None; count as usize];
        let state = RequestState::new(request.digest, first, outcomes);
        self.insert(Arc::clone(&id), state);
        self.touched.insert(id);
        true
    }

    pub(super) fn insert(&mut self, id: Arc<str>, state: RequestState) {
        if !state.is_settled() {
            self.open.insert(state.first, Arc::clone(&id));
        }
        self.by_id.insert(id, state);
    }

    pub(super) fn answer(&mut self, delivery: DeliveryId, outcome: &Outcome) {
        if self.open.is_empty() {
            return;
        }
        let Some((&first, id)) = self.open.range(..=delivery).next_back() else {
            return;
        };
        if first.seq != delivery.seq {
            return;
        }
        let Some(state) = self.by_id.get_mut(id) else {
            return;
        };
        let index = (delivery.index - first.index) as usize;
        let Some(slot) = state.outcomes.get_mut(index) else {
            return;
        };
        if slot.replace(outcome.clone()).is_none() {
            state.left -= 1;
        }
        let settled = state.is_settled();
        self.touched.insert(Arc::clone(id));
        if settled {
            self.open.remove(&first);
        }
    }

    pub(super) fn forget(&mut self, id: &str) {
        if let Some((id, state)) = self.by_id.remove_entry(id) {
            self.open.remove(&state.first);
            self.touched.insert(id);
        }
    }

    pub(super) fn get(&self, id: &str) -> Option<&RequestState> {
        self.by_id.get(id)
    }

    /// Takes the ids that changed since this was last asked.
    pub(super) fn take_touched(&mut self) -> BTreeSet<Arc<str>> {
        std::mem::take(&mut self.touched)
    }

    pub(super) fn first_difference(&self, other: &Self) -> Option<String> {
        for (id, state) in &self.by_id {
            if other.by_id.get(id) != Some(state) {
                return Some(format!("the request {id:?} differs"));
            }
        }
        (self.by_id.len() != other.by_id.len())
            .then(|| "one side has requests that the other lacks".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crankcase_vat::{Payload, Rejection, Seq};

    fn delivery(seq: u64, index: u32) -> DeliveryId {
        DeliveryId::new(Seq::new(seq), index)
    }

    #[test]
    fn outcomes_find_their_request_among_others_of_the_same_record() {
        let mut requests = Requests::default();
        let take = |requests: &mut Requests, id, first, count| {
            requests.take(
                RequestRef {
                    id,
                    digest: [1; 32],
                },
                first,
                count,
            )
        };
        assert!(take(&mut requests, "a", delivery(1, 0), 2));
        assert!(take(&mut requests, "b", delivery(1, 2), 1));
        assert!(!take(&mut requests, "a", delivery(2, 0), 1));
        requests.answer(delivery(1, 2), &Ok(Payload::empty()));
        requests.answer(delivery(1, 1), &Err(Rejection::new("no", "")));
        // A delivery of the record that came under no request.
        requests.answer(delivery(1, 3), &Ok(Payload::empty()));
        assert!(requests.get("b").expect("kept").is_settled());
        assert!(!requests.get("a").expect("kept").is_settled());
        requests.answer(delivery(1, 0), &Ok(Payload::empty()));
        let a = requests.get("a").expect("kept").clone();
        assert!(a.is_settled());
        assert_eq!(RequestState::decode(&a.encode()), Ok(a));
        requests.forget("a");
        assert!(requests.get("a").is_none());
        assert!(
            take(&mut requests, "a", delivery(9, 0), 1),
            "a forgotten id is free again"
        );
    }
}
