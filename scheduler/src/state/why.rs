//! What the state knows of why something has not come about.

use crankcase_vat::{DeliveryId, PromiseId, Resolution, VatId, VatNumber};

use super::promises::Decider;
use super::{Fate, Item, State, VatEntry, Waiter, Waiting};
use crate::explain::{Explanation, Question};

/// How far reasons of reasons are followed.
const DEEPEST: usize = 16;

impl State {
    /// How what is asked about stands.
    pub(crate) fn explain(&self, question: &Question) -> Explanation {
        match question {
            Question::Promise(promise) => self.why_promise(*promise, 0),
            Question::Vat(vat) => self.why_vat(*vat, 0),
            Question::Delivery(delivery) => self.why_delivery(*delivery, 0),
            Question::Request(id) => self.why_request(id),
        }
    }

    fn why_promise(&self, id: PromiseId, depth: usize) -> Explanation {
        let about = format!("promise {id}");
        let Some(promise) = self.promises.get(id) else {
            return Explanation::new(
                about,
                "is not known: it was never made, or nobody holds it any more",
            );
        };
        let held = format!(
            "held by {} vats, {} times on its way",
            promise.holders.len(),
            promise.on_the_way
        );
        match &promise.fate {
            Fate::Settled { resolution, .. } => {
                let came_to = match Resolution::read(resolution) {
                    Ok(Resolution::Value(body)) => match body.sole_slot() {
                        Some(slot) => slot.to_string(),
                        None => format!("a value of {} bytes", body.bytes().len()),
                    },
                    Ok(Resolution::Rejected(why)) => format!("a rejection: {why}"),
                    Err(error) => error.to_string(),
                };
                let next = match Resolution::read(resolution) {
                    Ok(Resolution::Value(body)) => match body.sole_slot() {
                        Some(crankcase_vat::Slot::Promise(next)) => Some(next),
                        _ => None,
                    },
                    _ => None,
                };
                let untold = promise.holders.iter().filter(|(_, holder)| holder.told);
                let untold = untold.map(|(vat, _)| format!("vat {vat} has yet to hear of it"));
                let because = untold.map(|says| Explanation::new(&about, says)).chain(
                    next.filter(|_| depth < DEEPEST)
                        .map(|next| self.why_promise(next, depth + 1)),
                );
                Explanation::new(&about, format!("came to {came_to}; {held}")).because(because)
            }
            Fate::Open { decider, waiters } => {
                let (who, reason) = match decider {
                    Decider::Maker => {
                        let maker = self.vat_of_number(id.maker);
                        let who = match maker {
                            Some(entry) => format!("vat {} decides it by its own word", entry.id),
                            None => "its maker is gone".to_owned(),
                        };
                        (who, maker.map(|entry| self.why_vat(entry.id, depth + 1)))
                    }
                    Decider::Answer(delivery) => (
                        format!("the answer to delivery {delivery} decides it"),
                        Some(self.why_delivery(*delivery, depth + 1)),
                    ),
                    Decider::Continuation(delivery) => (
                        format!("what its maker makes of watch {delivery} decides it"),
                        Some(self.why_delivery(*delivery, depth + 1)),
                    ),
                };
                let waiting = waiters.len();
                let says = format!("is to be decided: {who}; {waiting} wait in it; {held}");
                Explanation::new(about, says).because(reason.filter(|_| depth < DEEPEST))
            }
        }
    }

    fn why_delivery(&self, delivery: DeliveryId, depth: usize) -> Explanation {
        let about = format!("delivery {delivery}");
        if delivery.seq > self.last {
            return Explanation::new(
                about,
                format!("is not there: the order ends at {}", self.last),
            );
        }
        for (_, entry) in self.vats.iter() {
            let found = entry
                .waiting()
                .enumerate()
                .find(|(_, waiting)| waiting.delivery == delivery);
            if let Some((position, waiting)) = found {
                let what = describe(&waiting);
                let (vat, all) = (entry.id, entry.waiting_count());
                let place = position + 1;
                let says = format!("({what}) is number {place} of {all} in the inbox of vat {vat}");
                let reason = (depth < DEEPEST).then(|| self.why_vat(vat, DEEPEST));
                return Explanation::new(about, says).because(reason);
            }
        }
        for (id, promise) in self.promises.iter() {
            let Fate::Open { waiters, .. } = &promise.fate else {
                continue;
            };
            let found = waiters.iter().position(|waiter| waiter.id() == delivery);
            if let Some(position) = found {
                let what = match &waiters[position] {
                    Waiter::Message { .. } => "message",
                    Waiter::Watch { .. } => "watch",
                    Waiter::Host { .. } => "the host's wish to know",
                };
                let (place, all) = (position + 1, waiters.len());
                let says = format!("({what}) is number {place} of {all} that wait in promise {id}");
                let reason = (depth < DEEPEST).then(|| self.why_promise(id, depth + 1));
                return Explanation::new(about, says).because(reason);
            }
        }
        Explanation::new(
            about,
            "waits nowhere: it was never made, or came to its end",
        )
    }

    fn why_vat(&self, id: VatId, depth: usize) -> Explanation {
        let about = format!("vat {id}");
        let Some(slot) = self.vats.find(id) else {
            return Explanation::new(about, "is not there: it was never made, or has ended");
        };
        let entry = self.vats.get(slot);
        let (cranks, waiting) = (entry.progress.crank, entry.waiting_count());
        let own = self
            .promises
            .undecided_by(entry.number, 0, usize::MAX)
            .count();
        let kind = &self.kinds[usize::from(entry.kind)].name;
        let lives = match entry.ended() {
            None => format!("lives, of kind {kind:?}"),
            Some(_) => "has ended, and what it leaves is being let go of".to_owned(),
        };
        let says = format!(
            "{lives}; it has had {cranks} cranks, {waiting} deliveries wait, and {own} promises \
             wait for its word"
        );
        let next = entry.waiting().next().filter(|_| depth < DEEPEST);
        let next = next.map(|waiting| {
            let (delivery, what) = (waiting.delivery, describe(&waiting));
            Explanation::new(format!("delivery {delivery}"), format!("({what}) is next"))
        });
        Explanation::new(about, says).because(next)
    }

    fn why_request(&self, id: &str) -> Explanation {
        let about = format!("request {id:?}");
        let Some(request) = self.requests.get(id) else {
            return Explanation::new(about, "is not known: it never came, or was forgotten");
        };
        let open: Vec<DeliveryId> = (0u32..)
            .zip(&request.outcomes)
            .filter(|(_, outcome)| outcome.is_none())
            .map(|(index, _)| DeliveryId::new(request.first.seq, request.first.index + index))
            .collect();
        let all = request.outcomes.len();
        let says = match open.len() {
            0 => format!("came with record {} and is settled", request.first.seq),
            missing => format!(
                "came with record {}; {missing} of its {all} outcomes are to come",
                request.first.seq
            ),
        };
        // A batch may have a million of them; the first few tell what holds it up.
        let reasons = open.into_iter().take(8).map(|d| self.why_delivery(d, 1));
        Explanation::new(about, says).because(reasons)
    }

    fn vat_of_number(&self, number: VatNumber) -> Option<&VatEntry> {
        let entries = self.vats.iter().map(|(_, entry)| entry);
        entries.into_iter().find(|entry| entry.number == number)
    }
}

fn describe(waiting: &Waiting) -> String {
    match waiting.item {
        Item::Message => "message or start".to_owned(),
        Item::Via { .. } => "message that came through a promise".to_owned(),
        Item::Outcome { .. } => "outcome that was watched for".to_owned(),
        Item::Settled { promise } => format!("news of promise {promise}"),
        Item::Dropped { object, .. } => format!("news that nobody holds object {object}"),
        Item::Clean => "letting go of what an ended vat leaves".to_owned(),
    }
}
