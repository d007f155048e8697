//! Opening: tables, then `apply` of every later record, then the deliveries that wait.
//!
//! Everything that can be refused is refused before a thread is started.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use crankcase_journal::crash_points::{CrashPoint, pass};
use crankcase_journal::{
    Durability, Fact, Groups, Identity, Opened, PrivateCopy, RecordPlace, Tables,
};
use crankcase_vat::record::Record;
use crankcase_vat::{
    Delivery, DeliveryHead, DeliveryId, KindShape, Kinds, Other, RecordBytes, Seq, Span, Time,
    What, mutant,
};
use rustc_hash::FxHashMap;

use crate::admission::Admission;
use crate::builder::KernelBuilder;
use crate::clock::RunningClock;
use crate::engine::{Engine, Threads};
use crate::error::OpenError;
use crate::gate::Gate;
use crate::hand_over::HandOver;
use crate::kernel::Kernel;
use crate::order::CommitOrder;
use crate::parts::Parts;
use crate::run_queue::RunQueue;
use crate::sequencer::{Parked, Sequencer};
use crate::stall::Stall;
use crate::state::{Audit, Effect, Item, Slot, State, Waiting, Wanted};
use crate::stats::Counters;
use crate::sync::{AtomicBool, AtomicU64, AtomicUsize, Instant, Mutex, OnceLock, RwLock};
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
    pass(CrashPoint::RecoveryLoaded);
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
                drop(state.take_remains());
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
    pass(CrashPoint::RecoveryReplayed);
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

/// Everything that holds references in a journal that is not open, and the state that it makes.
///
/// # Errors
///
/// [`OpenError`] with what opening it would say.
pub(crate) fn look_into(
    order: CommitOrder,
    tables: &Tables,
    groups: &Groups,
    last: Seq,
) -> Result<(State, Audit), OpenError> {
    let state = recover(order, tables, groups, last)?.state;
    let audit = Bodies::of(&state, groups, u64::MAX)?.audit(&state, tables)?;
    Ok((state, audit))
}

/// What waits at the end of the order, with the bodies from the records that produced them.
#[derive(Default)]
pub(crate) struct Bodies {
    /// By vat, in the order of its inbox.
    pub(crate) deliveries: Vec<(Slot, Vec<Delivery>)>,
    /// What waits in promises.
    pub(crate) parked: Vec<(DeliveryId, Parked)>,
}

impl Bodies {
    /// Reads them, at most `at_once` of each inbox.
    pub(crate) fn of(state: &State, groups: &Groups, at_once: u64) -> Result<Self, OpenError> {
        let mut wanted: BTreeSet<DeliveryId> = state.parked().collect();
        let mut inboxes = Vec::new();
        for (slot, entry) in state.vats().iter() {
            let first = entry.waiting_range(0, at_once);
            wanted.extend(first.iter().filter(|w| has_body(w)).map(|w| w.delivery));
            if !first.is_empty() {
                inboxes.push((slot, first));
            }
        }
        // Read in the order of the records, so that each group is read once.
        let mut reader = BodyReader::new(groups.clone());
        let mut found = FxHashMap::default();
        for delivery in wanted {
            found.insert(delivery, reader.read(delivery)?);
        }
        let missing = |delivery: DeliveryId| damaged_body(delivery.seq);
        let mut bodies = Self::default();
        for delivery in state.parked() {
            let parked = found.remove(&delivery).ok_or_else(|| missing(delivery))?;
            bodies.parked.push((delivery, parked));
        }
        for (slot, first) in inboxes {
            let mut deliveries = Vec::with_capacity(first.len());
            for waiting in first {
                let body = found.remove(&waiting.delivery);
                let made = delivery_of(&waiting, body, settled_of(state, &waiting));
                deliveries.push(made.ok_or_else(|| missing(waiting.delivery))?);
            }
            bodies.deliveries.push((slot, deliveries));
        }
        Ok(bodies)
    }
}

impl Bodies {
    /// The recount of what is there.
    pub(crate) fn audit(&self, state: &State, tables: &Tables) -> Result<Audit, OpenError> {
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

/// How many deliveries of an inbox go into its mailbox at the beginning. How large they are is not
/// known before they are read.
fn mailbox_share(state: &State, inbox_bytes: usize) -> u64 {
    let at_work = state.vats().iter().filter(|(_, e)| e.waiting_count() > 0);
    let share = inbox_bytes / at_work.count().max(1);
    (share / 4096).clamp(16, 1 << 16) as u64
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

/// Reads bodies of deliveries from the records that produced them. What stands near what was read
/// last is found without reading again.
pub(crate) struct BodyReader {
    groups: Groups,
    group: Option<crankcase_journal::StoredGroup>,
    /// Where in the group reading goes on: what waits in an inbox comes in order.
    place: RecordPlace,
    last: Option<(Seq, RecordBytes, Time, Vec<Span>)>,
}

impl BodyReader {
    pub(crate) fn new(groups: Groups) -> Self {
        Self {
            groups,
            group: None,
            place: RecordPlace::default(),
            last: None,
        }
    }

    /// Reads one.
    ///
    /// # Errors
    ///
    /// [`OpenError`] when it is not there or cannot be read.
    pub(crate) fn read(&mut self, delivery: DeliveryId) -> Result<Parked, OpenError> {
        let seq = delivery.seq;
        let missing = || damaged_body(seq);
        if self.last.as_ref().is_none_or(|(known, ..)| *known != seq) {
            let holds_it = |group: &crankcase_journal::StoredGroup| {
                group.first() <= seq && seq <= group.last()
            };
            if !self.group.as_ref().is_some_and(holds_it) {
                self.group = self.groups.containing(seq)?;
                self.place = RecordPlace::default();
            }
            let group = self.group.as_ref();
            let bytes = group.and_then(|group| group.record_from(&mut self.place, seq));
            let record: RecordBytes = bytes.ok_or_else(missing)?.into();
            let (time, spans) = delivery_spans(&record).ok_or_else(missing)?;
            self.last = Some((seq, record, time, spans));
        }
        let (_, record, time, spans) = self.last.as_ref().ok_or_else(missing)?;
        let span = spans.get(delivery.index as usize).ok_or_else(missing)?;
        Ok(Parked {
            act: span.of(record),
            time: *time,
        })
    }
}

/// What a promise came to that a delivery is about, and when.
pub(crate) type Settled = (Arc<[u8]>, Time);

/// What the promise came to that a delivery is about, if it is about one.
pub(crate) fn settled_of(state: &State, waiting: &Waiting) -> Option<Settled> {
    match waiting.item {
        Item::Outcome {
            promise: Some(promise),
        }
        | Item::Settled { promise } => {
            let (resolution, time) = state.promises().resolution(promise)?;
            Some((Arc::clone(resolution), time))
        }
        _ => None,
    }
}

/// The delivery that waits; nothing when something of it is missing.
pub(crate) fn delivery_of(
    waiting: &Waiting,
    body: Option<Parked>,
    settled: Option<Settled>,
) -> Option<Delivery> {
    let other = |other| What::Other(Box::new(other));
    let (what, time) = match waiting.item {
        Item::Message => {
            let Parked { act, time } = body?;
            (What::Act(act), time)
        }
        Item::Via { object } => {
            let Parked { act, time } = body?;
            (other(Other::Via { act, object }), time)
        }
        Item::Outcome { promise } => {
            let Parked { act, time } = body?;
            let (resolution, time) = match promise {
                None => (None, time),
                Some(_) => settled.map(|(resolution, time)| (Some(resolution), time))?,
            };
            (other(Other::Outcome { act, resolution }), time)
        }
        Item::Settled { promise } => {
            let (resolution, time) = settled?;
            let settled = Other::Settled {
                promise,
                resolution,
            };
            (other(settled), time)
        }
        Item::Dropped { object, counted } => {
            (other(Other::Dropped { object, counted }), Time::ZERO)
        }
        Item::Clean => (other(Other::Clean), Time::ZERO),
    };
    let wanted = waiting.wanted != Wanted::No;
    let head = DeliveryHead::new(waiting.delivery, time, wanted);
    Some(Delivery::new(head, what))
}

/// Where the deliveries of a record stand in it, and the time they carry.
fn delivery_spans(record: &[u8]) -> Option<(Time, Vec<Span>)> {
    let mut spans = Vec::new();
    let mut gather = |mut acts: crankcase_vat::record::Acts<'_>| {
        while let Some(act) = acts.next_at() {
            let (offset, act) = act.ok()?;
            if act.is_delivery() {
                spans.push(Span::new(offset, acts.offset()));
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
    Some((time, spans))
}

/// Whether the host knows the kinds of all vats that live.
fn check_kinds(state: &State, kinds: &Kinds) -> Result<(), OpenError> {
    for stored in state.kinds().iter().filter(|kind| kind.live > 0) {
        let known = kinds.get_version(&stored.name, stored.version);
        match known.or_else(|| kinds.get(&stored.name)) {
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

/// What the shape of a version of a kind is kept under.
const SHAPE: &[u8] = b"shape/";

fn shape_key(shape: &KindShape) -> Vec<u8> {
    let name = shape.kind().as_bytes();
    [SHAPE, name, b"/", &shape.version().to_be_bytes()].concat()
}

/// The shapes that the journal's kinds had.
pub(crate) fn stored_shapes(groups: &Groups) -> Result<Vec<KindShape>, OpenError> {
    let mut shapes = Vec::new();
    for (key, value) in groups.facts()? {
        let Some(name) = key.strip_prefix(SHAPE) else {
            continue;
        };
        let shape = name.split_last_chunk::<4>().and_then(|(name, version)| {
            let name = std::str::from_utf8(name.strip_suffix(b"/")?).ok()?;
            KindShape::from_bytes(name, u32::from_be_bytes(*version), &value)
        });
        shapes.push(shape.ok_or_else(|| OpenError::Damaged {
            what: "the shape of a kind is none".to_owned(),
            place: "what stands beside the order".to_owned(),
        })?);
    }
    Ok(shapes)
}

/// Whether the host's kinds read what the journal's kinds wrote; gives the shapes that are new.
pub(crate) fn check_shapes(
    groups: &Groups,
    kinds: &Kinds,
    had_vats: impl Fn(&KindShape) -> bool,
) -> Result<Vec<Fact>, OpenError> {
    let stored = stored_shapes(groups)?;
    let mut new = Vec::new();
    for shape in kinds.iter().filter_map(|kind| kind.shape()) {
        let of_kind = stored.iter().filter(|stored| stored.kind() == shape.kind());
        for stored in of_kind {
            let read = shape.check_stored(stored, had_vats(stored));
            if mutant("shapes-are-not-looked-at") {
                continue;
            }
            read.map_err(|changed| OpenError::OtherShape(Box::new(changed)))?;
        }
        if !stored.contains(shape) {
            new.push((shape_key(shape), shape.to_bytes()));
        }
    }
    Ok(new)
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
    /// Where the tables stood, which closing moves without a record.
    checkpoint: Seq,
    recovered: Recovered,
    waiting: Bodies,
    /// Shapes of kinds that the journal does not have yet.
    new_shapes: Vec<Fact>,
}

impl Prior {
    fn of(
        builder: &KernelBuilder,
        order: CommitOrder,
        tables: &Tables,
        groups: &Groups,
        found: &crankcase_journal::Recovered,
    ) -> Result<Self, OpenError> {
        let last = found.last;
        let recovered = recover(order, tables, groups, last)?;
        check_kinds(&recovered.state, &builder.kinds)?;
        let had_vats = |shape: &KindShape| {
            let mut kinds = recovered.state.kinds().iter();
            kinds.any(|kind| kind.name == shape.kind() && kind.version == shape.version())
        };
        let new_shapes = check_shapes(groups, &builder.kinds, had_vats)?;
        // A recount looks at all of them.
        let at_once = match builder.audit_counts {
            true => u64::MAX,
            false => mailbox_share(&recovered.state, builder.pace.inbox_bytes),
        };
        let waiting = Bodies::of(&recovered.state, groups, at_once)?;
        Ok(Self {
            last,
            checkpoint: found.checkpoint,
            recovered,
            waiting,
            new_shapes,
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
        let found = copy.recovered();
        Self::of(builder, order, copy.tables(), copy.groups(), found).map(Some)
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
    pass(CrashPoint::RecoveryTried);
    let fresh = builder.fresh_identity();
    let opened = crankcase_journal::open(directory, &settings, &fresh)?;
    let Opened {
        identity,
        mut committer,
        checkpointer,
        groups,
        tables,
        recovered,
    } = opened;
    pass(CrashPoint::RecoveryOpened);
    let stored = check_identity(&builder, &identity)?;
    let still_so =
        |prior: &Prior| (prior.last, prior.checkpoint) == (recovered.last, recovered.checkpoint);
    let prior = match prior.filter(still_so) {
        Some(prior) => prior,
        // It was just made; or someone else had it since it was looked at.
        None => Prior::of(&builder, stored, &tables, &groups, &recovered)?,
    };
    let Prior {
        recovered: Recovered { state, replayed },
        waiting,
        new_shapes,
        ..
    } = prior;
    // Before a record of that code can be there.
    if !new_shapes.is_empty() {
        let written = committer.put_facts(&new_shapes);
        written.map_err(|source| crankcase_journal::OpenError::Io {
            doing: "keeping the shapes of the kinds".to_owned(),
            source,
        })?;
    }

    let audit = match builder.audit_counts {
        true => Some(waiting.audit(&state, &tables)?),
        false => None,
    };
    let share = mailbox_share(&state, builder.pace.inbox_bytes);
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
        tables: RwLock::new(Some(tables)),
        groups: Mutex::new(Some(groups)),
        store_cache_bytes: builder.store_cache_bytes,
        store_bytes: AtomicUsize::new(0),
        gate: Gate::new(),
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
        for (slot, mut deliveries) in waiting.deliveries {
            deliveries.truncate(share as usize);
            sequencer.restore(slot, deliveries);
        }
    });
    pass(CrashPoint::RecoveryRestored);
    let threads = Threads::start(&engine, workers, committer, checkpointer)?;
    pass(CrashPoint::RecoveryStarted);
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
