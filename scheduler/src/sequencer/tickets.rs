//! Tickets whose outcomes are to come: which deliveries each waits for.

use std::sync::Arc;

use crankcase_vat::{DeliveryId, Outcome, Seq};
use rustc_hash::FxHashMap;

use crate::committer::Release;
use crate::state::RequestState;
use crate::ticket::TicketCell;

/// What waits for one entry of an input.
pub(crate) struct EntryTicket {
    /// The index of the entry's first delivery in the record.
    pub(crate) first: u32,
    /// How many deliveries the entry makes.
    pub(crate) count: u32,
    /// Who waits.
    pub(crate) cells: Vec<Arc<TicketCell>>,
    /// The room that the entry takes until all of its deliveries have come to an end.
    pub(crate) bytes: u64,
}

struct Open {
    first: DeliveryId,
    outcomes: Vec<Option<Outcome>>,
    left: usize,
    cells: Vec<Arc<TicketCell>>,
    bytes: u64,
}

/// An entry of which every outcome is known.
pub(crate) struct Done {
    /// Whether someone waits for it.
    pub(crate) waited: bool,
    /// The room that it gives back.
    pub(crate) bytes: u64,
}

/// See the module's text.
#[derive(Default)]
pub(crate) struct Tickets {
    open: Vec<Option<Open>>,
    free: Vec<usize>,
    by_delivery: FxHashMap<DeliveryId, usize>,
}

impl Tickets {
    /// Registers what waits for an entry of the input at `seq`. An entry that makes no delivery is
    /// done with that.
    pub(crate) fn register(
        &mut self,
        seq: Seq,
        entry: EntryTicket,
        releases: &mut Vec<Release>,
    ) -> Option<Done> {
        entry.cells.iter().for_each(|cell| cell.take());
        if entry.count == 0 {
            let mut done = Done {
                waited: false,
                bytes: entry.bytes,
            };
            for cell in entry.cells {
                done.waited |= cell.sequence();
                releases.push(Release {
                    cell,
                    outcomes: Vec::new(),
                });
            }
            return Some(done);
        }
        let first = DeliveryId::new(seq, entry.first);
        let count = entry.count as usize;
        self.insert(Open {
            first,
            outcomes: vec![None; count],
            left: count,
            cells: entry.cells,
            bytes: entry.bytes,
        });
        None
    }

    fn insert(&mut self, open: Open) {
        let key = self.free.pop().unwrap_or_else(|| {
            self.open.push(None);
            self.open.len() - 1
        });
        for (index, outcome) in open.outcomes.iter().enumerate() {
            if outcome.is_none() {
                let delivery = DeliveryId::new(open.first.seq, open.first.index + index as u32);
                self.by_delivery.insert(delivery, key);
            }
        }
        self.open[key] = Some(open);
    }

    /// Has a ticket wait for a request that came before and is not settled.
    pub(crate) fn attach(&mut self, request: &RequestState, cell: Arc<TicketCell>) {
        let missing = request.outcomes.iter().position(Option::is_none);
        let missing = missing.expect("a request that is not settled misses an outcome");
        let delivery = DeliveryId::new(request.first.seq, request.first.index + missing as u32);
        let known = self
            .by_delivery
            .get(&delivery)
            .and_then(|&key| self.open[key].as_mut());
        match known {
            Some(open) => open.cells.push(cell),
            // Nobody has asked since the journal was opened.
            None => self.insert(Open {
                first: request.first,
                outcomes: request.outcomes.clone(),
                left: request
                    .outcomes
                    .iter()
                    .filter(|outcome| outcome.is_none())
                    .count(),
                cells: vec![cell],
                bytes: 0,
            }),
        }
    }

    /// The deliveries whose outcomes a ticket waits for.
    pub(crate) fn missing(&self, cell: &Arc<TicketCell>) -> Vec<DeliveryId> {
        let open = self.open.iter().flatten();
        let mut of_ticket = open.filter(|open| open.cells.iter().any(|own| Arc::ptr_eq(own, cell)));
        let Some(open) = of_ticket.next() else {
            return Vec::new();
        };
        (0u32..)
            .zip(&open.outcomes)
            .filter(|(_, outcome)| outcome.is_none())
            .map(|(index, _)| DeliveryId::new(open.first.seq, open.first.index + index))
            .collect()
    }

    /// Notes the outcome of a delivery; when it is the last of its entry, whoever waits for the
    /// entry is released with the record that is being sequenced.
    pub(crate) fn answer(
        &mut self,
        delivery: DeliveryId,
        outcome: Outcome,
        releases: &mut Vec<Release>,
    ) -> Option<Done> {
        let key = self.by_delivery.remove(&delivery)?;
        let open = self.open[key].as_mut()?;
        open.outcomes[(delivery.index - open.first.index) as usize] = Some(outcome);
        open.left -= 1;
        if open.left > 0 {
            return None;
        }
        let open = self.open[key].take()?;
        self.free.push(key);
        let mut done = Done {
            waited: false,
            bytes: open.bytes,
        };
        let mut outcomes: Vec<Outcome> = open.outcomes.into_iter().flatten().collect();
        let mut cells = open.cells.into_iter().peekable();
        while let Some(cell) = cells.next() {
            done.waited |= cell.sequence();
            let last = cells.peek().is_none();
            let outcomes = if last {
                std::mem::take(&mut outcomes)
            } else {
                outcomes.clone()
            };
            releases.push(Release { cell, outcomes });
        }
        Some(done)
    }

    /// Takes everyone who waits.
    pub(crate) fn drain(&mut self) -> Vec<Arc<TicketCell>> {
        self.by_delivery.clear();
        self.free.clear();
        self.open
            .drain(..)
            .flatten()
            .flat_map(|open| open.cells)
            .collect()
    }
}
