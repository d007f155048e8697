//! The housekeeper: the thread that loads vats before they run, and drops those that ended.
//!
//! Loading reads the disk and dropping a vat's value runs its author's code; neither has a place
//! on a worker in the middle of the line or under the sequencer's role.

use std::sync::Arc;

use crankcase_journal::TableSnapshot;
use crankcase_vat::{Cause, CrankNumber, LiveVat, Progress, Stored, VatId, VatNumber};

use crate::cell::Cell;
use crate::error::Poison;
use crate::parts::Parts;
use crate::role::Role;
use crate::sequencer::{Item, Sequencer};
use crate::state::rows::STATES;
use crate::state::store_rows;

/// A store row that is newer than the tables': its key, and its value unless it was removed.
pub(crate) type NewerRow = (Box<[u8]>, Option<Box<[u8]>>);

/// What it takes to load a vat, gathered under the role.
pub(crate) struct Load {
    pub(crate) cell: Arc<Cell>,
    pub(crate) number: VatNumber,
    pub(crate) kind: String,
    pub(crate) progress: Progress,
    /// The state, if the tables have an older one.
    pub(crate) state: Option<Vec<u8>>,
    pub(crate) rows: Vec<NewerRow>,
    /// As in [`Stored`].
    pub(crate) to_decide: Vec<u64>,
    /// As in [`Stored`].
    pub(crate) given_away: Vec<(u64, CrankNumber)>,
    /// As in [`Stored`].
    pub(crate) ended: Option<Cause>,
}

/// Work for the housekeeper.
pub(crate) enum Chore {
    /// Load a vat and make it runnable.
    Load(Box<Load>),
    /// Drop vats that ended or were unloaded.
    Drop(Vec<Arc<Cell>>),
}

/// Runs until the kernel is dropped.
pub(crate) fn run(parts: &Parts, role: &Role<Sequencer>) {
    while let Some(chore) = parts.chores.take() {
        match chore {
            Chore::Drop(cells) => drop(cells),
            Chore::Load(load) => {
                let cell = Arc::clone(&load.cell);
                match load_vat(parts, *load) {
                    Ok(live) => {
                        *cell
                            .live
                            .lock()
                            .unwrap_or_else(std::sync::PoisonError::into_inner) = Some(live);
                        parts.run_queue.push(cell);
                    }
                    Err(why) => {
                        parts.poison(Poison::Load(why));
                        role.submit_urgent(Item::Poisoned, &mut |after| after.perform(parts));
                    }
                }
            }
        }
    }
}

fn load_vat(parts: &Parts, load: Load) -> Result<LiveVat, String> {
    let id = load.cell.id;
    let kind = parts.crank.kinds.get(&load.kind).cloned();
    let kind = kind.ok_or_else(|| format!("vat {id} is of the unknown kind {:?}", load.kind))?;
    let tables = parts.snapshot().map_err(|error| error.to_string())?;
    let state = match load.state {
        Some(state) => Some(state),
        None => stored_state(&tables, id)?,
    };
    let newer = load
        .rows
        .iter()
        .map(|(key, value)| (&**key, value.as_deref()));
    let rows = store_rows(id, &tables, newer).map_err(|error| error.to_string())?;
    let stored = Stored {
        progress: load.progress,
        // Of a vat that lives no more the state is gone, and its row may be there still.
        state: state.filter(|_| load.ended.is_none()),
        rows,
        to_decide: load.to_decide,
        given_away: load.given_away,
        ended: load.ended,
    };
    LiveVat::stored(id, load.number, kind, stored).map_err(|error| error.to_string())
}

/// The state that the tables hold of a vat now.
pub(crate) fn state_in_tables(parts: &Parts, id: VatId) -> Result<Option<Vec<u8>>, String> {
    stored_state(&parts.snapshot().map_err(|error| error.to_string())?, id)
}

fn stored_state(tables: &TableSnapshot, id: VatId) -> Result<Option<Vec<u8>>, String> {
    tables
        .get(STATES, &id.to_bytes())
        .map_err(|error| error.to_string())
}
