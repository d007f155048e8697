//! A vat in memory, and the running of one crank over it: delivery in, record out.
//!
//! This decides how a crank ends. It knows no thread and no disk, and nothing of other vats: the
//! record is a function of the vat's own earlier cranks, of the delivery, and of nothing else.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::body::{Body, Resolution};
use crate::call::{After, Task, drive, panic_text};
use crate::crank::{Crank, Exit, Gathered, Shared, each_own_object};
use crate::delivery::{Delivery, Other, RecordBytes, What};
use crate::held::Held;
use crate::ids::{CrankNumber, PromiseId, Time, VatId, VatNumber};
use crate::limits::Limits;
use crate::mutants::mutant;
use crate::record::{Act, CrankEnd, CrankRecord, VatEnd};
use crate::reference::{Reference, Slot, check_depth, put_slots, replaced, settled_bytes};
use crate::rejection::{Cause, Rejection};
use crate::rooms;
use crate::store::{self, Backing, Committed, Store, Tables, Unread, Walk};
use crate::vat::{AnyKind, AnyVat};

/// Rows that one crank lets go of, or rewrites because a promise came to its end.
const ROWS_AT_ONCE: usize = 32;

/// Buffers that a worker keeps from crank to crank.
#[derive(Default)]
pub struct Workspace {
    gathered: Gathered,
    /// The state after the crank: its bytes, its references, and both as a body.
    bytes: Vec<u8>,
    slots: Vec<Slot>,
    state: Vec<u8>,
    /// Whether the state is as it was before, and so was not encoded.
    state_left: bool,
    /// The version of its code that the vat goes on with, if it is another.
    became: Option<Arc<dyn AnyKind>>,
    /// The references of the state after the crank.
    held: Held,
    /// The answer as a resolution.
    answer: Vec<u8>,
    /// The references that stand in the delivery's own body, and all that came with it.
    arrived: Vec<Slot>,
    came: Held,
    changes: Vec<(Reference, i64)>,
    acts: Vec<u8>,
    record: Vec<u8>,
    /// What a panic said.
    note: Option<String>,
    tables: Option<Tables>,
}

impl Workspace {
    /// Empty buffers, for vats whose stores are in memory whole and stay there.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Empty buffers, for vats whose stores may be larger than memory: what is not there is read
    /// from `backing`, and of each store about `budget_bytes` are kept, counted as
    /// [`Store::bytes`] counts them. What the tables do not hold yet is kept in any case, and what
    /// they have come to hold is let go of over several cranks.
    #[must_use]
    pub fn with_tables(backing: Box<dyn Backing>, budget_bytes: usize) -> Self {
        Self {
            tables: Some(Tables {
                backing,
                budget_bytes,
            }),
            ..Self::default()
        }
    }
}

impl std::fmt::Debug for Workspace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Workspace")
            .field("record_bytes", &self.record.capacity())
            .finish()
    }
}

/// What a crank left.
#[derive(Debug)]
pub struct Finished {
    /// The encoded record.
    pub record: RecordBytes,
    /// Whether the vat ended with it.
    pub vat_ended: bool,
    /// What a panic said. It may differ between runs, so it stands beside the order.
    pub note: Option<String>,
}

/// A crank that was not run to its end, because a row of its vat's store could not be read.
///
/// Nothing has happened: there is no record, and the vat is as it was before. The delivery may be
/// handed to it again, but whoever hands over what comes of *other* deliveries instead would have
/// lost this one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the store of vat {vat} could not be read: {why}")]
pub struct StoreUnread {
    /// The vat.
    pub vat: VatId,
    /// What and where, for people.
    pub why: String,
}

/// What is kept of a vat between cranks, other than its store.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Progress {
    /// The number of its last crank.
    pub crank: CrankNumber,
    /// How many vats it has made.
    pub spawned: u64,
    /// How many promises it has made, those that nobody kept included.
    pub promised: u64,
    /// How many objects it has made beside its root.
    pub objects: u64,
    /// The `now` of its last crank.
    pub now: Time,
}

/// What is stored of a vat, to bring it back into memory.
#[derive(Debug, Default)]
pub struct Stored {
    /// Its numbers.
    pub progress: Progress,
    /// Its encoded state, a body; nothing before its start has committed.
    pub state: Option<Vec<u8>>,
    /// Its store.
    pub store: Store,
    /// The counters of the promises that it is to decide.
    pub to_decide: Vec<u64>,
    /// For objects of which it is about to hear that nobody holds them: in which crank it gave
    /// them away last.
    pub given_away: Vec<(u64, CrankNumber)>,
    /// Why it lives no more, if it does not: what waits for it is rejected with that cause.
    pub ended: Option<Cause>,
}

/// A vat in memory.
pub struct LiveVat {
    id: VatId,
    number: VatNumber,
    kind: Arc<dyn AnyKind>,
    progress: Progress,
    /// The decoded value. Nothing before the first crank, and after a crank that was abandoned:
    /// it is then decoded again from `encoded` when it is next needed.
    value: Option<Box<dyn AnyVat>>,
    /// The encoding of the value after the last committed crank, a body.
    encoded: Vec<u8>,
    /// The references beside its bytes, and all that are in them.
    slots: Vec<Slot>,
    held: Held,
    started: bool,
    store: Store,
    /// Promises that it made for itself to decide and has not, by counter.
    to_decide: BTreeSet<u64>,
    /// In which crank it gave its objects away last.
    given_away: FxHashMap<u64, CrankNumber>,
    /// Why it lives no more: what waits for it is rejected with that cause.
    ended: Option<Cause>,
    /// The last row that was let go of since it lives no more and is in memory. The rows up to there
    /// are still in the store; that they are gone is known from this alone. A vat that comes into
    /// memory has them as deleted rows, and finds out how far it came by passing over them.
    cleaned: Option<Vec<u8>>,
}

impl LiveVat {
    /// A vat that has yet to be started.
    #[must_use]
    pub fn unborn(id: VatId, number: VatNumber, kind: Arc<dyn AnyKind>) -> Self {
        Self {
            id,
            number,
            kind,
            progress: Progress::default(),
            value: None,
            encoded: Vec::new(),
            slots: Vec::new(),
            held: Held::default(),
            started: false,
            store: Store::default(),
            to_decide: BTreeSet::new(),
            given_away: FxHashMap::default(),
            ended: None,
            cleaned: None,
        }
    }

    /// A vat as it was stored.
    ///
    /// # Errors
    ///
    /// [`DecodeError`](crate::DecodeError) when its state is no body.
    pub fn stored(
        id: VatId,
        number: VatNumber,
        kind: Arc<dyn AnyKind>,
        stored: Stored,
    ) -> Result<Self, crate::DecodeError> {
        let mut vat = Self::unborn(id, number, kind);
        vat.progress = stored.progress;
        if let Some(state) = stored.state {
            vat.slots = Body::read(&state)?.to_slots()?;
            vat.held.add(&vat.slots)?;
            vat.encoded = state;
            vat.started = true;
        }
        vat.store = stored.store;
        vat.to_decide.extend(stored.to_decide);
        vat.given_away.extend(stored.given_away);
        vat.ended = stored.ended;
        Ok(vat)
    }

    /// Its id.
    #[must_use]
    pub const fn id(&self) -> VatId {
        self.id
    }

    /// The number of its last crank.
    #[must_use]
    pub const fn crank(&self) -> CrankNumber {
        self.progress.crank
    }

    /// How many objects it has made beside its root.
    #[must_use]
    pub const fn objects_made(&self) -> u64 {
        self.progress.objects
    }

    /// In which crank it gave an object of its own away last, as far as it has that in mind: news
    /// that is older than that says nothing.
    #[must_use]
    pub fn gave_away(&self, object: u64) -> Option<CrankNumber> {
        self.given_away.get(&object).copied()
    }

    /// Whether it lives no more, and is here only until what it leaves is let go of.
    #[must_use]
    #[inline]
    pub const fn has_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// How much of its store is in memory, in bytes; see [`Store::bytes`]. Nothing once the vat has
    /// ended: then it is on its way out, and may be gone before this is asked.
    #[must_use]
    pub fn store_bytes(&self) -> usize {
        match self.ended {
            None => self.store.bytes(),
            Some(_) => 0,
        }
    }

    /// Hands it a delivery and runs one crank to its end, whatever the vat's code does.
    ///
    /// # Errors
    ///
    /// [`StoreUnread`] when the crank needed a row that could not be read. That says nothing of
    /// the vat or the delivery, so there is no record, not even of an abandoned crank.
    ///
    /// # Panics
    ///
    /// Never for what the vat does. When the delivery's body is no delivery, which validation
    /// before applying excludes.
    #[inline]
    pub fn run(
        &mut self,
        delivery: &Delivery,
        shared: &Shared,
        space: &mut Workspace,
    ) -> Result<Finished, StoreUnread> {
        let vat = self.id;
        if let Some(tables) = &space.tables
            && self.store.wants_room(tables)
        {
            let made = self.store.make_room(vat, self.progress.crank, tables);
            made.map_err(|why| StoreUnread { vat, why })?;
        }
        let number = self.progress.crank.next();
        let now = self.progress.now.max(delivery.time());
        space.gathered.clear();
        space.bytes.clear();
        space.slots.clear();
        space.state.clear();
        space.state_left = false;
        space.became = None;
        space.answer.clear();
        space.arrived.clear();
        space.came.clear();
        space.changes.clear();
        space.acts.clear();
        space.record.clear();
        space.note = None;
        let ran = match (delivery.what(), self.ended) {
            (What::Other(other), ended) => match (&**other, ended) {
                (Other::Clean, _) => self.clean(space),
                (Other::Settled { .. } | Other::Dropped { .. }, Some(_)) => Ok(End::NOTHING),
                (
                    Other::Settled {
                        promise,
                        resolution,
                    },
                    None,
                ) => self.settle(&shared.limits, space, *promise, resolution),
                (Other::Dropped { object, counted }, None)
                    if self.given_away.get(object) > Some(counted)
                        && !mutant("re-exported-object-is-dropped") =>
                {
                    Ok(End::NOTHING)
                }
                (_, ended) => self.handle(delivery, number, now, shared, space, ended),
            },
            (What::Act(_), ended) => self.handle(delivery, number, now, shared, space, ended),
        };
        let end = match ran {
            Ok(end) => end,
            Err(why) => {
                self.value_dropped();
                return Err(StoreUnread { vat, why });
            }
        };
        self.progress.crank = number;
        self.progress.now = now;
        let vat_ended = end.vat().has_ended();
        self.finish(&end, delivery, number, space);
        Ok(Finished {
            record: RecordBytes::from(&space.record[..]),
            vat_ended,
            note: space.note.take(),
        })
    }

    /// Runs the vat's code over a delivery.
    #[inline]
    fn handle(
        &mut self,
        delivery: &Delivery,
        number: CrankNumber,
        now: Time,
        shared: &Shared,
        space: &mut Workspace,
        ended: Option<Cause>,
    ) -> Result<End, String> {
        let task = Task::of(delivery, &mut space.arrived, &mut space.came)
            .expect("a record is validated before its deliveries are made");
        if let Some(cause) = ended {
            let why = why_ended(self.id, cause);
            return Ok(End::Abandoned(why, VatEnd::Lives));
        }
        let cx = Crank {
            id: self.id,
            vat_number: self.number,
            number,
            delivery: delivery.id(),
            now,
            shared,
            store: Committed::new(&self.store, space.tables.as_ref()),
            before: &self.progress,
            held: &self.held,
            came: &space.came,
            object: task.object(),
            to_decide: &self.to_decide,
            gathered: RefCell::new(&mut space.gathered),
            doom: RefCell::new(None),
            doomed: Cell::new(false),
            exit: Cell::new(None),
            state_left: Cell::new(false),
            random: RefCell::new(None),
            stays_on_its_thread: PhantomData,
        };
        let mut after = After {
            bytes: &mut space.bytes,
            slots: &mut space.slots,
            answer: &mut space.answer,
            state_left: &mut space.state_left,
            became: &mut space.became,
            answer_wanted: delivery.answer_wanted(),
        };
        let ran = catch_unwind(AssertUnwindSafe(|| {
            drive(
                &self.kind,
                &mut self.value,
                &self.encoded,
                self.started,
                &task,
                &space.arrived,
                &cx,
                &mut after,
            )
        }));
        let done = match ran {
            Ok(done) => done,
            Err(panic) if mutant("panic-escapes") => std::panic::resume_unwind(panic),
            Err(panic) => {
                space.note = Some(panic_text(&*panic));
                // The payload's own drop is user code, and may panic again.
                let _ = catch_unwind(AssertUnwindSafe(|| drop(panic)));
                let rejection =
                    Rejection::with_cause(Cause::Panicked, "panicked", "the vat's code panicked");
                Err(rejection)
            }
        };
        let exit = cx.exit.get();
        let doom = cx.doom.take();
        let unread = cx.store.take_failure();
        drop(cx);
        if let Some(why) = unread {
            return Err(why);
        }

        let ended = match (doom, exit, done) {
            (Some(doom), _, _) => Err((doom, false)),
            (None, _, Err(rejection)) if rejection.cause() == Cause::Panicked => {
                Err((rejection, false))
            }
            (None, Some(Exit::Failure), done) => {
                let why = match done {
                    Err(rejection) => rejection.message().to_owned(),
                    Ok(()) => "the vat ended itself as failed".to_owned(),
                };
                Err((
                    Rejection::with_cause(Cause::ExitFailure, "exit_failure", why),
                    true,
                ))
            }
            (None, _, Err(rejection)) => Err((rejection, false)),
            (None, exit, Ok(())) => Ok(exit == Some(Exit::Success)),
        };
        let end = match ended {
            Ok(exited) => {
                let rows_left = exited && self.rows_left(space)?;
                let state_changed = self.commit(space, number, exited);
                if let What::Other(other) = delivery.what()
                    && let Other::Dropped { object, .. } = &**other
                    && self.given_away.get(object) != Some(&number)
                {
                    self.given_away.remove(object);
                }
                End::Committed {
                    state_changed,
                    answered: delivery.answer_wanted(),
                    vat: self.end_of(exited, Cause::VatEnded, rows_left),
                }
            }
            Err((rejection, exited)) => {
                // A vat that was never started has nothing to go back to.
                let cause = match self.started {
                    true => Cause::VatEnded,
                    false => Cause::NotStarted,
                };
                let ends = exited || !self.started;
                if mutant("abandoned-crank-writes") {
                    Self::write_rows(space);
                }
                space.gathered.writes.clear();
                let rows_left = ends && self.rows_left(space)?;
                let vat = self.end_of(ends, cause, rows_left);
                self.abandon(space, vat.has_ended());
                End::Abandoned(rejection, vat)
            }
        };
        Ok(end)
    }

    /// Whether the vat ends, and if so what is left of it.
    fn end_of(&mut self, ends: bool, cause: Cause, rows_left: bool) -> VatEnd {
        if !ends {
            return VatEnd::Lives;
        }
        self.ended = Some(cause);
        self.value_dropped();
        VatEnd::Ended { rows_left }
    }

    /// Whether rows that hold references are left after what was written.
    fn rows_left(&self, space: &Workspace) -> Result<bool, String> {
        let store = Committed::new(&self.store, space.tables.as_ref());
        let next = next_held(store, self.id, &space.gathered, &mut Walk::default(), None);
        next.map(|row| row.is_some())
            .map_err(|unread| why(store, unread))
    }

    /// Takes over what a crank did that commits; says whether the state is another.
    #[inline]
    fn commit(&mut self, space: &mut Workspace, number: CrankNumber, exits: bool) -> bool {
        let gathered = &mut space.gathered;
        self.progress.spawned += gathered.spawned;
        self.progress.promised += gathered.promises.len() as u64;
        self.progress.objects += gathered.objects;
        if !gathered.given_away.is_empty() {
            for object in gathered.given_away.drain(..) {
                self.given_away.insert(object, number);
            }
        }
        // What nobody can name any more needs no decision.
        let before = self.progress.promised - gathered.promises.len() as u64;
        if !gathered.to_decide.is_empty() {
            let to_decide = std::mem::take(&mut gathered.to_decide);
            for &counter in &to_decide {
                if gathered.is_kept((counter - before - 1) as usize) {
                    self.to_decide.insert(counter);
                }
            }
            gathered.to_decide = to_decide;
        }
        for (counter, resolution) in &gathered.decided {
            self.to_decide.remove(counter);
            if *counter <= before || gathered.is_kept((counter - before - 1) as usize) {
                Act::Settle {
                    counter: *counter,
                    resolution,
                }
                .write(&mut space.acts);
                each_own_object(self.id, resolution, |object| {
                    self.given_away.insert(object, number);
                });
            }
        }
        if let Some(became) = space.became.take() {
            let version = became.version();
            Act::Became { version }.write(&mut space.acts);
            self.kind = became;
        }
        let id = self.id;
        let mut note = |reference: Reference, change: i64| {
            note_change(&mut space.changes, id, reference, change);
        };
        if !gathered.row_changes.is_empty() {
            for (reference, change) in gathered.row_changes.drain(..) {
                note(reference, change);
            }
        }
        let mut state_changed = false;
        if exits {
            // The state ends with the vat, whatever it has become.
            self.held.list().iter().for_each(|held| note(*held, -1));
            self.held.clear();
        } else if !space.state_left {
            if space.slots.is_empty() {
                space.state.push(0);
            } else {
                put_slots(&mut space.state, &space.slots);
            }
            space.state.extend_from_slice(&space.bytes);
            if space.state != self.encoded || !self.started {
                if space.slots != self.slots {
                    note_fresh(&mut gathered.fresh, &self.slots, &space.slots);
                    space.held.clear();
                    // They were walked when they were checked.
                    let _ = space.held.add(&space.slots);
                    self.held.list().iter().for_each(|held| note(*held, -1));
                    space.held.list().iter().for_each(|held| note(*held, 1));
                    std::mem::swap(&mut self.held, &mut space.held);
                    std::mem::swap(&mut self.slots, &mut space.slots);
                }
                std::mem::swap(&mut self.encoded, &mut space.state);
                state_changed = true;
            }
            self.started = true;
        }
        Self::write_rows(space);
        state_changed
    }

    /// Writes what was written into the acts.
    #[inline]
    fn write_rows(space: &mut Workspace) {
        for (key, value) in &space.gathered.writes {
            match value {
                Some(value) => Act::Put { key, value }.write(&mut space.acts),
                None => Act::Delete { key }.write(&mut space.acts),
            }
        }
    }

    #[cold]
    fn abandon(&mut self, space: &mut Workspace, vat_ended: bool) {
        if !mutant("abandoned-crank-keeps-its-value") {
            self.value_dropped();
        }
        space.gathered.fresh.clear();
        if vat_ended {
            for held in self.held.list() {
                note_change(&mut space.changes, self.id, *held, -1);
            }
            self.held.clear();
        }
    }

    fn value_dropped(&mut self) {
        if let Some(value) = self.value.take() {
            // The value's drop is user code.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(value)));
        }
    }

    /// A promise that the vat keeps came to its end: what it keeps is from now on what that is.
    fn settle(
        &mut self,
        limits: &Limits,
        space: &mut Workspace,
        promise: PromiseId,
        resolution: &Arc<[u8]>,
    ) -> Result<End, String> {
        // Both were validated with their records.
        let Ok(read) = Resolution::read(resolution) else {
            return Ok(End::NOTHING);
        };
        let by = Slot::of_resolution(resolution, &read);
        // What no vat could make itself would doom every later crank of this one.
        if check_depth(std::slice::from_ref(&by)).is_err() {
            return Ok(End::NOTHING);
        }
        let mut rewritten = None;
        let fits = |slots: &[Slot], bytes: &[u8], most: usize| {
            settled_bytes(slots).saturating_add(bytes.len()) <= most
        };
        if !mutant("kept-promise-stays-one")
            && let Some(slots) = replaced(&self.slots, promise, &by)
            && let Ok(body) = Body::read(&self.encoded)
            // Nor what it must not have: the next crank that leaves a state would be over its limit.
            && fits(&slots, body.bytes(), limits.state_bytes)
        {
            let (mut encoded, mut held) = (Vec::new(), Held::default());
            Body::put(&mut encoded, &slots, body.bytes());
            // What it came to was validated with its record, and the rest with the state.
            let _ = held.add(&slots);
            for (held, change) in [(&self.held, -1), (&held, 1)] {
                for reference in held.list() {
                    note_change(&mut space.changes, self.id, *reference, change);
                }
            }
            rewritten = Some((encoded, slots, held));
        }
        let state_changed = rewritten.is_some();
        let store = Committed::new(&self.store, space.tables.as_ref());
        let index_of = rooms::holders_of(promise);
        let mut at = store::prefix_bounds(&index_of);
        let (id, mut walk) = (self.id, Walk::default());
        let gathered = &mut space.gathered;
        let most_written = limits.most_output();
        let mut rewrite = || {
            // It fits into no row, and there may be many.
            if !fits(std::slice::from_ref(&by), &[], limits.value_bytes) {
                return Ok(());
            }
            let mut left = ROWS_AT_ONCE;
            while left > 0 && gathered.write_bytes <= most_written {
                let bounds = (
                    at.0.as_ref().map(|key| &key[..]),
                    at.1.as_ref().map(|key| &key[..]),
                );
                let Some((index, _)) = walk.next(store, id, &gathered.writes, bounds, true)? else {
                    return Ok(());
                };
                let key = &index[index_of.len()..];
                let row = gathered.row(store, id, key)?;
                let body = row.as_deref().and_then(|row| Body::read(row).ok());
                let new = body.and_then(|body| {
                    let slots = replaced(&body.to_slots().ok()?, promise, &by)?;
                    Some((slots, body.bytes()))
                });
                match new {
                    Some((slots, bytes)) if !fits(&slots, bytes, limits.value_bytes) => {}
                    Some((slots, bytes)) => {
                        let mut new = Vec::new();
                        Body::put(&mut new, &slots, bytes);
                        gathered.replace_holding(key, row.as_deref(), Some(&new));
                        left -= 1;
                    }
                    None => {
                        gathered.write(&index, None);
                        left -= 1;
                    }
                }
                at.0 = std::ops::Bound::Excluded(index);
            }
            // So that it is told again, and goes on.
            gathered.fresh.push(promise);
            Ok(())
        };
        rewrite().map_err(|unread| why(store, unread))?;
        if let Some((encoded, slots, held)) = rewritten {
            self.encoded = encoded;
            self.slots = slots;
            self.held = held;
            self.value_dropped();
        }
        self.take_row_changes(space);
        Ok(End::Committed {
            state_changed,
            answered: false,
            vat: VatEnd::Lives,
        })
    }

    /// Lets go of some rows of a vat that has ended.
    fn clean(&mut self, space: &mut Workspace) -> Result<End, String> {
        let store = Committed::new(&self.store, space.tables.as_ref());
        let gathered = &mut space.gathered;
        let (id, mut cleaned) = (self.id, self.cleaned.clone());
        let mut walk = Walk::of(ROWS_AT_ONCE + 1);
        let mut let_go = || {
            for _ in 0..ROWS_AT_ONCE {
                let next = next_held(store, id, gathered, &mut walk, cleaned.as_deref())?;
                let Some((key, row)) = next else {
                    return Ok(false);
                };
                gathered.replace_holding(&key, Some(&row), None);
                cleaned = Some(key);
            }
            let next = next_held(store, id, gathered, &mut walk, cleaned.as_deref())?;
            Ok(next.is_some())
        };
        let rows_left = let_go().map_err(|unread| why(store, unread))?;
        self.cleaned = cleaned;
        self.take_row_changes(space);
        Ok(End::Cleaned { rows_left })
    }

    fn take_row_changes(&mut self, space: &mut Workspace) {
        for (reference, change) in space.gathered.row_changes.drain(..) {
            note_change(&mut space.changes, self.id, reference, change);
        }
        Self::write_rows(space);
    }

    /// Writes the record, and takes over the rows that were written, unless the vat lives no more.
    #[inline]
    fn finish(
        &mut self,
        end: &End,
        delivery: &Delivery,
        number: CrankNumber,
        space: &mut Workspace,
    ) {
        // What a clean-up lets go of lies behind its cursor, and nothing ever looks there: the store
        // need not know.
        if matches!(end, End::Committed { .. }) && !space.gathered.writes.is_empty() {
            let writes = std::mem::take(&mut space.gathered.writes);
            self.store.commit(number, writes, space.tables.is_some());
        }
        if !space.changes.is_empty() {
            space.gathered.fresh.sort_unstable();
            write_changes(&mut space.changes, &space.gathered.fresh, &mut space.acts);
        }
        if !space.arrived.is_empty() {
            write_taken(&space.arrived, &mut space.acts);
        }
        // What was sent by a crank that was abandoned was not.
        let sent = match end {
            End::Abandoned(..) if !mutant("abandoned-crank-sends") => &[][..],
            End::Abandoned(..) => &space.gathered.acts[..],
            End::Committed { .. } | End::Cleaned { .. } => &space.gathered.acts[..],
        };
        let end = match end {
            End::Committed {
                state_changed,
                answered,
                vat,
            } => CrankEnd::Committed {
                state: state_changed.then_some(&self.encoded[..]),
                answer: answered.then_some(&space.answer[..]),
                vat: *vat,
            },
            End::Abandoned(rejection, vat) => CrankEnd::Abandoned {
                rejection: rejection.clone(),
                vat: *vat,
            },
            End::Cleaned { rows_left } => CrankEnd::Cleaned {
                rows_left: *rows_left,
            },
        };
        CrankRecord::new(
            self.id,
            self.progress.crank,
            delivery.id(),
            self.progress.now,
            end,
        )
        .write([sent, &space.acts], &mut space.record);
    }
}

/// The first row behind `after` that holds references, after what was written.
fn next_held(
    store: Committed<'_>,
    id: VatId,
    gathered: &Gathered,
    walk: &mut Walk,
    after: Option<&[u8]>,
) -> Result<Option<store::Row>, Unread> {
    let from = std::ops::Bound::Included(&[rooms::WITH_REFS][..]);
    let bounds = (
        after.map_or(from, std::ops::Bound::Excluded),
        std::ops::Bound::Excluded(&[rooms::PROMISES][..]),
    );
    walk.next(store, id, &gathered.writes, bounds, true)
}

/// Why a row could not be read.
fn why(store: Committed<'_>, _: Unread) -> String {
    store.take_failure().unwrap_or_default()
}

/// How a crank ended, before it is written down.
enum End {
    Committed {
        state_changed: bool,
        answered: bool,
        vat: VatEnd,
    },
    Abandoned(Rejection, VatEnd),
    Cleaned {
        rows_left: bool,
    },
}

impl End {
    /// A crank in which nothing was to be done.
    const NOTHING: Self = Self::Committed {
        state_changed: false,
        answered: false,
        vat: VatEnd::Lives,
    };

    const fn vat(&self) -> VatEnd {
        match self {
            Self::Committed { vat, .. } | Self::Abandoned(_, vat) => *vat,
            Self::Cleaned { .. } => VatEnd::Lives,
        }
    }
}

/// Notes that a vat holds something more or less often. Its own objects it holds uncounted.
fn note_change(changes: &mut Vec<(Reference, i64)>, id: VatId, reference: Reference, change: i64) {
    let own = matches!(reference, Reference::Object(object) if object.vat == id);
    if reference.is_counted() && !own {
        changes.push((reference, change));
    }
}

/// Notes the promises that stand in a new state for themselves and did not in the old one.
#[inline]
fn note_fresh(fresh: &mut Vec<PromiseId>, old: &[Slot], new: &[Slot]) {
    let promise_in = |slot: &Slot| match slot {
        Slot::Promise(promise) => Some(*promise),
        _ => None,
    };
    if !new.iter().any(|slot| promise_in(slot).is_some()) {
        return;
    }
    let old: FxHashSet<PromiseId> = old.iter().filter_map(promise_in).collect();
    let new = new.iter().filter_map(promise_in);
    fresh.extend(new.filter(|promise| !old.contains(promise)));
}

/// Writes what the vat holds more and less often, once for each reference, in their order.
///
/// A vat is told what a promise came to when it comes to hold it. One that is `fresh` stands where
/// it can be replaced and did not stand there before; if it was held elsewhere and the sum does not
/// show it, it is taken up once more and let go of as often. `fresh` is sorted.
#[cold]
fn write_changes(changes: &mut [(Reference, i64)], fresh: &[PromiseId], acts: &mut Vec<u8>) {
    changes.sort_unstable();
    let mut rest = &changes[..];
    while let Some(&(reference, _)) = rest.first() {
        let many = rest.partition_point(|(other, _)| *other <= reference);
        let sum: i64 = rest[..many].iter().map(|(_, change)| change).sum();
        rest = &rest[many..];
        let what = Slot::from(reference);
        let times = sum.unsigned_abs();
        let is_fresh = || match reference {
            Reference::Promise(promise) => fresh.binary_search(&promise).is_ok(),
            Reference::Object(_) => false,
        };
        match sum {
            ..=0 if is_fresh() => {
                let taken_up = what.clone();
                Act::Keep {
                    what: taken_up,
                    times: 1,
                }
                .write(acts);
                let times = times + 1;
                Act::LetGo { what, times }.write(acts);
            }
            0 => {}
            1.. => Act::Keep { what, times }.write(acts),
            _ => Act::LetGo { what, times }.write(acts),
        }
    }
}

/// Writes what came with the delivery and is on its way no longer.
#[inline]
fn write_taken(arrived: &[Slot], acts: &mut Vec<u8>) {
    let is_root = |slot: &Slot| matches!(slot, Slot::Object(object) if object.is_root());
    if !arrived.iter().all(is_root) {
        write_counted(arrived, acts);
    }
}

#[cold]
fn write_counted(arrived: &[Slot], acts: &mut Vec<u8>) {
    let mut taken: Vec<Reference> = Vec::new();
    // They were validated with the record that they stand in.
    let _ = crate::reference::each_reference(arrived, &mut |reference| {
        if reference.is_counted() {
            taken.push(reference);
        }
    });
    taken.sort_unstable();
    for same in taken.chunk_by(|one, two| one == two) {
        let what = Slot::from(same[0]);
        let times = same.len() as u64;
        Act::Took { what, times }.write(acts);
    }
}

/// Why what waits for a vat that has ended is rejected.
fn why_ended(id: VatId, cause: Cause) -> Rejection {
    match cause {
        Cause::NotStarted => {
            let why = format!("the start of vat {id} was abandoned");
            Rejection::with_cause(cause, "not_started", why)
        }
        _ => {
            let why = format!("vat {id} ended while this waited in its inbox");
            Rejection::with_cause(Cause::VatEnded, "vat_ended", why)
        }
    }
}

impl std::fmt::Debug for LiveVat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LiveVat")
            .field("id", &self.id)
            .field("kind", &self.kind.name())
            .field("progress", &self.progress)
            .field("state_bytes", &self.encoded.len())
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}

impl Drop for LiveVat {
    fn drop(&mut self) {
        self.value_dropped();
    }
}

#[cfg(test)]
mod tests;
