//! What the host asks of the holder of the role and waits for: whether a request is known, what a
//! name stands for, what a vat's state is.

use std::sync::Arc;

use crankcase_vat::VatId;

use super::{FoundState, InputItem, Sequencer};
use crate::committer::Release;
use crate::error::SendError;
use crate::explain::{Explanation, Question};
use crate::kernel::Taken;
use crate::ticket::TicketCell;

impl Sequencer {
    /// Takes an input that must be looked at before it becomes a record: one under a request id,
    /// or one that gives names.
    ///
    /// # Errors
    ///
    /// [`SendError::Conflict`] or [`SendError::NameTaken`]; nothing was sequenced then.
    pub(crate) fn admit(
        &mut self,
        request: Option<(&str, [u8; 32])>,
        names: &[String],
        input: InputItem,
    ) -> Result<Taken, SendError> {
        if let Some((id, digest)) = request
            && let Some(known) = self.known_request(id, digest)
        {
            known?;
            for entry in input.entries {
                for cell in entry.cells {
                    self.attach(id, cell);
                }
            }
            return Ok(Taken::Known);
        }
        self.check_names(names)?;
        self.sequence_input(input);
        Ok(Taken::New)
    }

    /// Whether the names are free.
    ///
    /// # Errors
    ///
    /// [`SendError::NameTaken`] with the first that is not.
    pub(crate) fn check_names(&self, names: &[String]) -> Result<(), SendError> {
        match names.iter().find(|name| self.state.root(name).is_some()) {
            None => Ok(()),
            Some(name) => Err(SendError::NameTaken { name: name.clone() }),
        }
    }

    /// Whether the request is known, and if so whether with the same body.
    pub(crate) fn known_request(
        &self,
        id: &str,
        digest: [u8; 32],
    ) -> Option<Result<(), SendError>> {
        let known = self.state.request(id)?;
        Some(if known.digest == digest {
            Ok(())
        } else {
            Err(SendError::Conflict { id: id.to_owned() })
        })
    }

    /// Has a ticket settle with the outcome of a request that is known.
    pub(crate) fn attach(&mut self, id: &str, cell: Arc<TicketCell>) {
        let Some(request) = self.state.request(id) else {
            return;
        };
        cell.take();
        if request.is_settled() {
            let outcomes = request.outcomes.iter().flatten().cloned().collect();
            self.release(Release { cell, outcomes });
        } else if self.failed {
            // Whoever waited was told already, and nobody will tell this one.
            self.parts.call_back(cell.fail(self.parts.why_unsettled()));
        } else {
            self.tickets.attach(request, cell);
        }
    }

    /// Settles a ticket once everything sequenced so far is released.
    pub(crate) fn release(&mut self, release: Release) {
        if self.failed {
            return self
                .parts
                .call_back(release.cell.fail(self.parts.why_unsettled()));
        }
        if self.group.is_empty() && self.committing.is_none() {
            return self
                .parts
                .call_back(release.cell.settle(Arc::new(release.outcomes)));
        }
        self.demanded |= release.cell.sequence();
        self.releases.push(release);
    }

    /// Settles a ticket once everything that can be seen now is released, and asks for that.
    pub(crate) fn settle_when_released(&mut self, cell: Arc<TicketCell>) {
        self.release(Release {
            cell,
            outcomes: Vec::new(),
        });
        self.demand();
    }

    /// Where a vat's state is found, with its kind and the version of its code.
    pub(crate) fn read(&self, vat: VatId) -> (FoundState, Option<(String, u32)>) {
        let Some(slot) = self.state.find(vat) else {
            return (FoundState::Nobody, None);
        };
        let entry = self.state.vat(slot);
        let found = match entry.newer_state() {
            Some(state) => FoundState::Bytes(state.to_vec()),
            None if entry.stored => match self.parts.snapshot() {
                Ok(tables) => FoundState::InTables(tables),
                Err(error) => FoundState::Unreadable(error.to_string()),
            },
            None => FoundState::Nobody,
        };
        (found, self.kind_of(vat))
    }

    /// The kind of a vat that lives, and the version of its code.
    pub(crate) fn kind_of(&self, vat: VatId) -> Option<(String, u32)> {
        let slot = self.state.find(vat)?;
        let kind = &self.state.kinds()[usize::from(self.state.vat(slot).kind)];
        Some((kind.name.clone(), kind.version))
    }

    /// The living vats of a kind, with the versions of their code.
    pub(crate) fn vats_of(&self, kind: &str) -> Vec<(VatId, u32)> {
        let kinds = self.state.kinds();
        let all = self.state.vats().iter();
        let living = all.filter(|(_, vat)| vat.ended().is_none());
        let mut found: Vec<(VatId, u32)> = living
            .map(|(_, vat)| (vat.id, &kinds[usize::from(vat.kind)]))
            .filter(|(_, found)| found.name == kind)
            .map(|(id, found)| (id, found.version))
            .collect();
        found.sort_unstable();
        found
    }

    /// How what is asked about stands, and what of it is in memory.
    pub(crate) fn explain(&self, question: &Question) -> Explanation {
        let vat = match question {
            Question::Vat(vat) => Some(*vat),
            _ => None,
        };
        let found = self.state.explain(question);
        let Some(vat) = vat.filter(|vat| self.state.vats().find(*vat).is_some()) else {
            return found;
        };
        let mailbox = self.why_not_running(vat);
        found.because([Explanation::new(format!("vat {vat}"), mailbox)])
    }

    /// Why a ticket has not settled.
    pub(crate) fn explain_ticket(&self, cell: &Arc<TicketCell>) -> Explanation {
        // A batch may wait for a million; the first few tell what holds it up.
        let missing = self.tickets.missing(cell).into_iter().take(8);
        let reasons = missing.map(|delivery| self.state.explain(&Question::Delivery(delivery)));
        Explanation::new("the ticket", cell.describe()).because(reasons)
    }
}
