//! Opening: tables, then `apply` of every later record, then the deliveries that wait.
//!
//! Everything that can be refused is refused before a thread is started.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Mutex, OnceLock};
use std::time::Instant;

use crankcase_journal::{Durability, Groups, Identity, Opened, PrivateCopy, Tables};
use crankcase_vat::record::Record;
use crankcase_vat::{ActAt, Delivery, DeliveryId, Kinds, Other, RecordBytes, Seq, Time, What};
use rustc_hash::FxHashMap;

use crate::admission::Admission;
use crate::builder::KernelBuilder;
use crate::clock::RunningClock;
use crate::engine::{Engine, Threads};
use crate::error::OpenError;
use crate::hand_over::HandOver;
use crate::kernel::Kernel;
use crate::order::CommitOrder;
use crate::parts::{GATE_OPEN, Parts};
use crate::run_queue::RunQueue;
use crate::sequencer::{Parked, Sequencer};
use crate::stall::Stall;
use crate::state::{Audit, Effect, Item, Slot, State, Waiting, Wanted};
use crate::stats::Counters;
use crate::watermarks::Watermarks;

/// A state brought up to the end of the order.
pub(crate) struct Recovered {
    pub(crate) state: State,
    /// Records applied behind the tables, and their bytes.
    pub(crate) replayed: (u64, u64),
}

/// The tables' state with every later record applied.
///
/// # Errors
///
/// [`OpenError::Damaged`] when a record cannot be read or contradicts those before it.
pub(crate) fn recover(
    order: CommitOrder,
    tables: &Tables,
    groups: &Groups,
    last: Seq,
) -> Result<Recovered, OpenError> {
    let mut state = State::load(order, &tables.snapshot()?)?;
    let mut replayed = (0, 0);
    let mut effects: Vec<Effect> = Vec::new();
    if state.last() < last {
        for group in groups.from(state.last().next()) {
            let group = group?;
            for (seq, record) in group.records() {
                if seq <= state.last() {
                    continue;
                }
                apply_validated(&mut state, seq, record, &mut effects)?;
                effects.clear();
                replayed.0 += 1;
                replayed.1 += record.len() as u64;
            }
        }
    }
    if state.last() != last {
        return Err(OpenError::Damaged {
            what: format!(
                "the log ends at record {last}, and the state at {}",
                state.last()
            ),
            place: "the journal".to_owned(),
        });
    }
    Ok(Recovered { state, replayed })
}

/// Applies a record that was read back.
pub(crate) fn apply_validated(
    state: &mut State,
    seq: Seq,
    record: &[u8],
    effects: &mut Vec<Effect>,
) -> Result<(), OpenError> {
    let applied = state.apply(record, effects);
    match applied {
        Ok(applied) if applied == seq => Ok(()),
        Ok(applied) => Err(OpenError::Damaged {
            what: format!("record {seq} was read where {applied} belongs"),
            place: format!("record {seq}"),
        }),
        Err(why) => Err(OpenError::contradiction(seq, &why)),
    }
}

/// What waits at the end of the order, with the bodies from the records that produced them.
#[derive(Default)]
struct Bodies {
    /// By vat, in the order of its inbox.
    deliveries: Vec<(Slot, Vec<Delivery>)>,
    /// What waits in promises.
    parked: Vec<(DeliveryId, Parked)>,
}

impl Bodies {
    fn of(state: &State, groups: &Groups) -> Result<Self, OpenError> {
        // Read in the order of the records, so that each group is read once.
        let mut wanted: BTreeSet<DeliveryId> = state.parked().collect();
        for (_, entry) in state.vats().iter() {
            for waiting in entry.waiting() {
                if has_body(&waiting) {
                    wanted.insert(waiting.delivery);
                }
            }
        }
        let mut found = read_bodies(&wanted, groups)?;
        let missing = |delivery: DeliveryId| damaged_body(delivery.seq);
        let mut bodies = Self::default();
        for delivery in state.parked() {
            let parked = found.remove(&delivery).ok_or_else(|| missing(delivery))?;
            bodies.parked.push((delivery, parked));
        }
        for (slot, entry) in state.vats().iter() {
            let mut deliveries = Vec::new();
            for waiting in entry.waiting() {
                let body = found.remove(&waiting.delivery);
                let made = delivery_of(state, &waiting, body);
                deliveries.push(made.ok_or_else(|| missing(waiting.delivery))?);
            }
            if !deliveries.is_empty() {
                bodies.deliveries.push((slot, deliveries));
            }
        }
        Ok(bodies)
    }
}

impl Bodies {
    /// The recount of what is there.
    fn audit(&self, state: &State, tables: &Tables) -> Result<Audit, OpenError> {
        let in_inboxes = self
            .deliveries
            .iter()
            .flat_map(|(_, deliveries)| deliveries);
        let in_inboxes = in_inboxes.filter_map(|delivery| {
            let act = match delivery.what() {
                What::Act(act) => act,
                What::Other(other) => match &**other {
                    Other::Via { act, .. } | Other::Outcome { act, .. } => act,
                    _ => return None,
                },
                _ => return None,
            };
            Some((delivery.id(), act))
        });
        let in_promises = self.parked.iter().map(|(id, parked)| (*id, &parked.act));
        let snapshot = tables.snapshot()?;
        Ok(Audit::of(state, &snapshot, in_inboxes.chain(in_promises))?)
    }
}

fn damaged_body(seq: Seq) -> OpenError {
    OpenError::Damaged {
        what: "a delivery that waits is not where it was produced".to_owned(),
        place: format!("record {seq}"),
    }
}

/// Whether a body stands in a record for what waits.
pub(crate) const fn has_body(waiting: &Waiting) -> bool {
    matches!(
        waiting.item,
        Item::Message | Item::Via { .. } | Item::Outcome { .. }
    )
}

/// Reads the bodies of deliveries from the records that produced them.
pub(crate) fn read_bodies(
    wanted: &BTreeSet<DeliveryId>,
    groups: &Groups,
) -> Result<FxHashMap<DeliveryId, Parked>, OpenError> {
    let mut found = FxHashMap::default();
    let mut group: Option<crankcase_journal::StoredGroup> = None;
    let mut last: Option<(Seq, RecordBytes, Time, Vec<usize>)> = None;
    for &delivery in wanted {
        let seq = delivery.seq;
        let missing = || damaged_body(seq);
        if !last.as_ref().is_some_and(|(known, ..)| *known == seq) {
            if !group
                .as_ref()
                .is_some_and(|group| group.first() <= seq && seq <= group.last())
            {
                group = groups.containing(seq)?;
            }
            let bytes = group.as_ref().and_then(|group| group.record(seq));
            let record: RecordBytes = bytes.ok_or_else(missing)?.into();
            let (time, offsets) = delivery_offsets(&record).ok_or_else(missing)?;
            last = Some((seq, record, time, offsets));
        }
        let (_, record, time, offsets) = last.as_ref().expect("it was just read");
        let offset = *offsets.get(delivery.index as usize).ok_or_else(missing)?;
        let act = ActAt {
            record: Arc::clone(record),
            offset,
        };
        found.insert(delivery, Parked { act, time: *time });
    }
    Ok(found)
}

/// The delivery that waits; nothing when something of it is missing.
pub(crate) fn delivery_of(
    state: &State,
    waiting: &Waiting,
    body: Option<Parked>,
) -> Option<Delivery> {
    let settled = |promise| {
        let (resolution, time) = state.promises().resolution(promise)?;
        Some((Arc::clone(resolution), time))
    };
    let (what, time) = match waiting.item {
        Item::Message => {
            let Parked { act, time } = body?;
            (What::Act(act), time)
        }
        other => {
            let (other, time) = match other {
                Item::Message => return None,
                Item::Via { object } => {
                    let Parked { act, time } = body?;
                    (Other::Via { act, object }, time)
                }
                Item::Outcome { promise } => {
                    let Parked { act, time } = body?;
                    match promise {
                        None => (
                            Other::Outcome {
                                act,
                                resolution: None,
                            },
                            time,
                        ),
                        Some(promise) => {
                            let (resolution, time) = settled(promise)?;
                            let resolution = Some(resolution);
                            (Other::Outcome { act, resolution }, time)
                        }
                    }
                }
                Item::Settled { promise } => {
                    let (resolution, time) = settled(promise)?;
                    (
                        Other::Settled {
                            promise,
                            resolution,
                        },
                        time,
                    )
                }
                Item::Dropped { object, counted } => {
                    (Other::Dropped { object, counted }, Time::ZERO)
                }
                Item::Clean => (Other::Clean, Time::ZERO),
            };
            (What::Other(Box::new(other)), time)
        }
    };
    let wanted = waiting.wanted != Wanted::No;
    Some(Delivery::new(waiting.delivery, time, wanted, what))
}

/// Where the deliveries of a record stand in it, and the time they carry.
fn delivery_offsets(record: &[u8]) -> Option<(Time, Vec<usize>)> {
    let mut offsets = Vec::new();
    let mut gather = |mut acts: crankcase_vat::record::Acts<'_>| {
        while let Some(act) = acts.next_at() {
            let (offset, act) = act.ok()?;
            if act.is_delivery() {
                offsets.push(offset);
            }
        }
        Some(())
    };
    let time = match Record::parse(record).ok()? {
        Record::Crank(crank) => {
            gather(crank.acts())?;
            crank.now
        }
        Record::Input(input) => {
            for entry in input.entries() {
                gather(entry.ok()?.acts())?;
            }
            input.time
        }
    };
    Some((time, offsets))
}

/// Whether the host knows the kinds of all vats that live.
fn check_kinds(state: &State, kinds: &Kinds) -> Result<(), OpenError> {
    for stored in state.kinds().iter().filter(|kind| kind.live > 0) {
        match kinds.get(&stored.name) {
            None => {
                return Err(OpenError::UnknownKind {
                    kind: stored.name.clone(),
                    version: stored.version,
                });
            }
            Some(kind) if kind.version() != stored.version => {
                return Err(OpenError::OtherKindVersion {
                    kind: stored.name.clone(),
                    stored: stored.version,
                    registered: kind.version(),
                });
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// The journal's order, if the host asked for that and for its seed.
fn check_identity(builder: &KernelBuilder, identity: &Identity) -> Result<CommitOrder, OpenError> {
    let stored = order_of(identity)?;
    if stored != builder.order {
        return Err(OpenError::OtherOrder {
            stored,
            asked: builder.order,
        });
    }
    if builder.seed.is_some_and(|seed| seed != identity.seed) {
        return Err(OpenError::OtherSeed);
    }
    Ok(stored)
}

/// The order that a journal was made with.
pub(crate) fn order_of(identity: &Identity) -> Result<CommitOrder, OpenError> {
    CommitOrder::from_code(identity.order).ok_or_else(|| OpenError::Damaged {
        what: format!("{} stands for no commit order", identity.order),
        place: "the journal's identity".to_owned(),
    })
}

/// What the order makes, and the deliveries that wait at its end.
struct Prior {
    last: Seq,
    recovered: Recovered,
    waiting: Bodies,
}

impl Prior {
    fn of(
        builder: &KernelBuilder,
        order: CommitOrder,
        tables: &Tables,
        groups: &Groups,
        last: Seq,
    ) -> Result<Self, OpenError> {
        let recovered = recover(order, tables, groups, last)?;
        check_kinds(&recovered.state, &builder.kinds)?;
        let waiting = Bodies::of(&recovered.state, groups)?;
        Ok(Self {
            last,
            recovered,
            waiting,
        })
    }

    /// Recovers from a private copy, so that whatever recovery refuses is refused before a byte of
    /// the directory has changed; opening it for real changes some.
    fn look(builder: &KernelBuilder, directory: &Path) -> Result<Option<Self>, OpenError> {
        let Some(identity) = crankcase_journal::identity_of(directory)? else {
            return Ok(None);
        };
        let order = check_identity(builder, &identity)?;
        let copy = PrivateCopy::of(directory)?;
        let last = copy.recovered().last;
        Self::of(builder, order, copy.tables(), copy.groups(), last).map(Some)
    }
}

/// Opens a kernel as its builder says.
pub(crate) fn open(builder: KernelBuilder) -> Result<Kernel, OpenError> {
    let settings = builder.settings();
    let directory = (builder.durability != Durability::None).then_some(builder.path.as_path());
    let prior = match directory {
        Some(directory) => Prior::look(&builder, directory)?,
        None => None,
    };
    let fresh = builder.fresh_identity();
    let opened = crankcase_journal::open(directory, &settings, &fresh)?;
    let Opened {
        identity,
        committer,
        checkpointer,
        groups,
        tables,
        recovered,
    } = opened;
    let stored = check_identity(&builder, &identity)?;
    let prior = match prior.filter(|prior| prior.last == recovered.last) {
        Some(prior) => prior,
        // It was just made; or someone else had it since it was looked at.
        None => Prior::of(&builder, stored, &tables, &groups, recovered.last)?,
    };
    let Prior {
        recovered: Recovered { state, replayed },
        waiting,
        ..
    } = prior;

    let audit = match builder.audit_counts {
        true => Some(waiting.audit(&state, &tables)?),
        false => None,
    };
    let workers = builder.workers;
    let parts = Arc::new(Parts {
        order: stored,
        crank: builder.shared(identity.seed),
        run_queue: RunQueue::new(workers),
        watermarks: Watermarks::new(recovered.last),
        admission: Admission::new(builder.host_input_bytes),
        commits: HandOver::new(),
        checkpoints: HandOver::new(),
        chores: HandOver::new(),
        callbacks: HandOver::new(),
        tables: Mutex::new(Some(tables)),
        gate: AtomicU64::new(GATE_OPEN),
        turned_away: Mutex::new(Vec::new()),
        closing: AtomicBool::new(false),
        stopping: AtomicBool::new(false),
        poison: OnceLock::new(),
        own_threads: OnceLock::new(),
        counters: Counters::default(),
        durable: Mutex::new(committer.durable()),
        in_commit: Mutex::new(Vec::new()),
        steps: AtomicU64::new(0),
        stall: Stall::new(),
        running: (0..workers).map(|_| AtomicU64::new(0)).collect(),
        born: Instant::now(),
    });
    let mut pace = builder.pace;
    pace.drop_below_checkpoint = builder.retention
        == crankcase_journal::Retention::DropBelowCheckpoint
        || builder.durability == Durability::None;
    let clock = RunningClock::new(builder.clock, state.time());
    let host_spawned = state.host_spawned();
    let sequencer = Sequencer::new(Arc::clone(&parts), pace, state, replayed);
    let engine = Engine::new(parts, sequencer, workers);
    engine.with(|sequencer| {
        if let Some(audit) = audit {
            sequencer.audit(audit);
        }
        for (delivery, parked) in waiting.parked {
            sequencer.park(delivery, parked);
        }
        for (slot, deliveries) in waiting.deliveries {
            sequencer.restore(slot, deliveries);
        }
    });
    let threads = Threads::start(&engine, workers, committer, checkpointer)?;
    Ok(Kernel::new(
        engine,
        threads,
        clock,
        host_spawned,
        identity,
        recovered,
        builder.drop_timeout,
    ))
}
