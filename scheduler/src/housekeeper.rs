//! The housekeeper: the thread that loads vats before they run, drops those that ended, and has
//! vats run later that are in no hurry.
//!
//! Loading reads the disk and dropping a vat's value runs its author's code; neither has a place
//! on a worker in the middle of the line or under the sequencer's role.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crankcase_journal::TableSnapshot;
use crankcase_journal::crash_points::{CrashPoint, pass};
use crankcase_vat::{
    Cause, CrankNumber, Kinds, LiveVat, Progress, Store, Stored, VatId, VatNumber,
};

use crate::cell::Cell;
use crate::engine;
use crate::error::Poison;
use crate::hand_over::Taken;
use crate::parts::Parts;
use crate::recovery::{BodyReader, delivery_of, has_body};
use crate::role::Role;
use crate::sequencer::{Item, Sequencer};
use crate::state::Remains;
use crate::state::rows::{STATES, STORES};
use crate::stats::Counters;
use crate::sync::{Instant, lock};

/// A store row that is newer than the tables': its key, and its value unless it was removed.
pub(crate) type NewerRow = (Box<[u8]>, Option<Box<[u8]>>);

/// What it takes to load a vat, gathered under the role.
pub(crate) struct Load {
    pub(crate) cell: Arc<Cell>,
    pub(crate) number: VatNumber,
    pub(crate) kind: String,
    pub(crate) version: u32,
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
    /// Drop vats that ended or were unloaded, and what the state has no use for any more.
    Drop(Vec<Arc<Cell>>, Vec<Remains>),
    /// Fill a mailbox again that is behind and has run empty.
    Refill(Arc<Cell>),
    /// Make a vat runnable after a rest. All that rest share their time: one's rest begins when that
    /// of the one before ends, so that many clean-ups take no more of the machine than one.
    Later(Duration, Arc<Cell>),
}

/// Runs until the kernel is dropped.
pub(crate) fn run(parts: &Parts, role: &Role<Sequencer>) {
    // What was read last, which is often the record that the next deliveries stand in too.
    let mut reader: Option<BodyReader> = None;
    // Vats that rest, in the order in which their rests end.
    let mut later: VecDeque<(Instant, Arc<Cell>)> = VecDeque::new();
    loop {
        match parts
            .chores
            .take_until(later.front().map(|(time, _)| *time))
        {
            Taken::Closed => return,
            Taken::TimeUp => {}
            Taken::Work(Chore::Later(rest, cell)) => {
                let now = Instant::now();
                let begin = later.back().map_or(now, |(time, _)| now.max(*time));
                later.push_back((begin + rest, cell));
            }
            Taken::Work(Chore::Drop(cells, remains)) => {
                drop((cells, remains));
                pass(CrashPoint::CleanUpDropped);
            }
            Taken::Work(Chore::Refill(cell)) => {
                if let Err(why) = refill(parts, role, &cell, &mut reader) {
                    let why = format!("the inbox of vat {}: {why}", cell.id);
                    cannot_load(parts, role, why);
                }
            }
            Taken::Work(Chore::Load(load)) => {
                let cell = Arc::clone(&load.cell);
                match load_from(parts, *load) {
                    Ok(live) => {
                        pass(CrashPoint::LoadRead);
                        parts.note_store(&cell, live.store_bytes());
                        *lock(&cell.live) = Some(live);
                        parts.run_queue.push(cell);
                    }
                    Err(why) => cannot_load(parts, role, why),
                }
            }
        }
        while later
            .front()
            .is_some_and(|(time, _)| *time <= Instant::now())
        {
            let due = later.pop_front();
            parts.run_queue.push_all(due.map(|(_, cell)| cell));
        }
    }
}

fn cannot_load(parts: &Parts, role: &Role<Sequencer>, why: String) {
    parts.poison(Poison::Load(why));
    role.submit_urgent(Item::Poisoned, &mut |after| after.perform(parts));
}

/// Reads what is next in a vat's inbox from the journal and puts it into its mailbox.
fn refill(
    parts: &Parts,
    role: &Role<Sequencer>,
    cell: &Arc<Cell>,
    reader: &mut Option<BodyReader>,
) -> Result<(), String> {
    let asked = Arc::clone(cell);
    let plan = engine::ask_urgently(parts, role, move |sequencer| sequencer.plan_refill(&asked));
    let Some(plan) = plan else {
        return Ok(());
    };
    if let Some(readable) = plan.readable
        && readable.wait_settled().is_err()
    {
        // The kernel has stopped, and whoever waits is told by whoever stopped it.
        return Ok(());
    }
    let reader = match reader {
        Some(known) => known,
        None => {
            let groups = parts.groups().ok_or("the kernel is closed")?;
            reader.insert(BodyReader::new(groups))
        }
    };
    let (mut deliveries, mut bytes) = (Vec::new(), 0);
    for (waiting, settled) in plan.waiting {
        let body = match has_body(&waiting) {
            true => Some(
                reader
                    .read(waiting.delivery)
                    .map_err(|error| error.to_string())?,
            ),
            false => None,
        };
        let delivery = delivery_of(&waiting, body, settled);
        let delivery = delivery.ok_or("a delivery that waits is not whole")?;
        bytes += delivery.bytes();
        deliveries.push(delivery);
        if bytes > plan.bytes {
            break;
        }
    }
    Counters::add(&parts.counters.inbox_refills, 1);
    let asked = Arc::clone(cell);
    engine::ask_urgently(parts, role, move |sequencer| {
        sequencer.refill(&asked, deliveries);
    });
    Ok(())
}

fn load_from(parts: &Parts, load: Load) -> Result<LiveVat, String> {
    let tables = parts.snapshot().map_err(|error| error.to_string())?;
    load_vat(&parts.crank.kinds, &tables, parts.store_cache_bytes, load)
}

/// Makes a vat of what the state and the tables have of it.
pub(crate) fn load_vat(
    kinds: &Kinds,
    tables: &TableSnapshot,
    store_cache_bytes: usize,
    load: Load,
) -> Result<LiveVat, String> {
    let id = load.cell.id;
    let (name, version) = (&load.kind, load.version);
    let kind = kinds.get_version(name, version).cloned();
    let kind = kind
        .ok_or_else(|| format!("vat {id} is of the unknown kind {name:?} (version {version})"))?;
    let state = match load.state {
        Some(state) => Some(state),
        None => stored_state(tables, id)?,
    };
    // Only as far as they fit: of a store that does not, rows are read as cranks ask for them.
    let rows = tables.prefix(STORES, &id.to_bytes()).map(|row| {
        row.map(|(mut key, value)| {
            key.drain(..id.to_bytes().len());
            (key, value)
        })
    });
    let (last, budget) = (load.progress.crank, store_cache_bytes);
    let store = Store::load(load.rows, last, rows, budget).map_err(|error| error.to_string())?;
    let stored = Stored {
        progress: load.progress,
        // Of a vat that lives no more the state is gone, and its row may be there still.
        state: state.filter(|_| load.ended.is_none()),
        store,
        to_decide: load.to_decide,
        given_away: load.given_away,
        ended: load.ended,
    };
    LiveVat::stored(id, load.number, kind, stored).map_err(|error| error.to_string())
}

/// The state that the tables hold of a vat.
pub(crate) fn stored_state(tables: &TableSnapshot, id: VatId) -> Result<Option<Vec<u8>>, String> {
    tables
        .get(STATES, &id.to_bytes())
        .map_err(|error| error.to_string())
}
