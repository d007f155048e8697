//! The simulation in the host's hand: what a kernel is to a host, on one thread.

use std::cell::{RefCell, RefMut};
use std::fmt;
use std::sync::Arc;

use crankcase_journal::ActivityHash;
use crankcase_vat::record::InputWriter;
use crankcase_vat::{
    Interface, Limits, Outcome, Payload, Promise, Ref, Rejection, Seq, Shared, Target, Vat, VatId,
};
use serde::Serialize;

use super::callers::{Batch, Request};
use super::look::Look;
use super::options::{Checked, Failure, Figures};
use super::world::World;
use crate::error::{ClockError, Poison, ReadError, RunError, SendError, WaitError};
use crate::host::{Draft, Host, check_request_id};
use crate::kernel::{Taken, only};
use crate::order::CommitOrder;
use crate::sequencer::{EntryTicket, InputItem};
use crate::ticket::{Convert, TicketCell};

/// A kernel whose threads, disk and clock are chance, as a seed has it. It takes the calls that a
/// [`Kernel`](crate::Kernel) takes, and does between them what the seed picks.
pub struct Simulation {
    world: RefCell<World>,
    shared: Shared,
}

/// The promise of an outcome, as [`crate::Ticket`].
#[must_use = "the outcome is known only to who waits for it; dropping a ticket cancels nothing"]
pub struct Ticket<'s, T> {
    sim: &'s Simulation,
    cell: Arc<TicketCell>,
    convert: Convert<T>,
}

impl<T> Ticket<'_, T> {
    /// Has the simulation go on until the outcome is released.
    ///
    /// # Errors
    ///
    /// [`WaitError::Indeterminate`] when a crash came first: the input may have happened or not.
    /// [`WaitError::NotTaken`] in `Dispatch` order before a run.
    pub fn wait(&self) -> Result<T, WaitError> {
        loop {
            if let Some(known) = self.outcome() {
                self.sim.world().go_on_alone();
                return known;
            }
            let mut world = self.sim.world();
            if !world.step() {
                world.commit_all();
                if self.cell.known().is_none() {
                    let why = world.why_stuck(&self.cell);
                    world.fail(why);
                }
            }
        }
    }

    /// What is known by now; nothing while it is on its way.
    pub fn outcome(&self) -> Option<Result<T, WaitError>> {
        let known = self.cell.known()?;
        Some(known.map(|outcomes| (self.convert)(&outcomes)))
    }
}

impl<T> fmt::Debug for Ticket<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ticket")
            .field(&self.cell.describe())
            .finish()
    }
}

impl Simulation {
    pub(super) const fn new(world: World, shared: Shared) -> Self {
        Self {
            world: RefCell::new(world),
            shared,
        }
    }

    fn world(&self) -> RefMut<'_, World> {
        self.world
            .try_borrow_mut()
            .expect("a law or a vat looks at the simulation that it is in: look at `Look` instead")
    }

    pub(super) fn failure(&self, what: String) -> Failure {
        self.world().failure(what)
    }

    pub(super) fn fail(&self, what: String) -> ! {
        self.world().fail(what)
    }

    /// What comes behind the body: everything comes to rest, and what is durable is opened again.
    pub(super) fn end(&self) {
        self.settle();
        let mut world = self.world();
        world.check_laws(false);
        world.commit_all();
        world.crash(None);
    }

    pub(super) fn check_replay(&self) -> Result<Figures, String> {
        let world = self.world();
        world.check_replay(world.options.shared())?;
        Ok(Figures {
            runs: 1,
            steps: world.steps,
            records: world.records(),
            crashes: world.crashes,
            laws_checked: world.laws_checked,
        })
    }

    /// States a law: it is looked at after every record and after every crash, from now on and once
    /// now. What it says when it is broken stands in the report.
    pub fn law(
        &self,
        name: impl Into<String>,
        mut law: impl FnMut(&Look<'_>) -> Checked + 'static,
    ) {
        let name = name.into();
        if let Err(broken) = self.look(|look| law(look)) {
            self.fail(format!(
                "the law {name:?} is broken from the first: {broken}"
            ));
        }
        self.world().laws.push((name, Box::new(law)));
    }

    /// Looks at everything sequenced so far, released or not.
    pub fn look<R>(&self, look: impl FnOnce(&Look<'_>) -> R) -> R {
        look(&Look {
            world: &self.world(),
            after_crash: false,
        })
    }

    /// The seed of this run.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.world().seed
    }

    /// A number below `end`, for what the body itself leaves to chance: drawn from the seed, and by
    /// itself, so that it does not depend on what the simulation did.
    ///
    /// # Panics
    ///
    /// When `end` is 0.
    #[must_use]
    pub fn below(&self, end: u64) -> u64 {
        assert!(end > 0, "there is no number below 0");
        self.world().body_luck.below(end)
    }

    /// Crashes so far.
    #[must_use]
    pub fn crashes(&self) -> u64 {
        self.world().crashes
    }

    /// The last record that has its place.
    #[must_use]
    pub fn sequenced(&self) -> Seq {
        self.world().bench.state.last()
    }

    /// The last record that a ticket or a read may have told of.
    #[must_use]
    pub fn released(&self) -> Seq {
        self.world().released()
    }

    /// The activity hash of what is durable, as [`Kernel::activity_hash`](crate::Kernel::activity_hash).
    #[must_use]
    pub fn activity_hash(&self) -> ActivityHash {
        self.world().hash()
    }

    /// How the total order comes about.
    #[must_use]
    pub fn order(&self) -> CommitOrder {
        self.world().order()
    }

    /// Sets the clock, which stands still otherwise and begins at 0. What has happened stays as it is
    /// over a crash, and so does the clock.
    ///
    /// # Errors
    ///
    /// [`ClockError::Backwards`].
    pub fn set_time(&self, to: u64) -> Result<(), ClockError> {
        let mut world = self.world();
        if to < world.time {
            return Err(ClockError::Backwards {
                now: world.time,
                asked: to,
            });
        }
        world.time = to;
        Ok(())
    }

    /// Moves the clock on.
    pub fn advance(&self, by: u64) {
        let mut world = self.world();
        world.time = world.time.saturating_add(by);
    }

    /// One thing that the seed picks; says whether there was any left.
    pub fn step(&self) -> bool {
        self.world().step()
    }

    /// Crashes at a place that the seed picks: any that no ticket and no read has told of may be lost.
    pub fn crash(&self) {
        self.world().crash(None);
    }

    /// Crashes behind that record, or the nearest place to it that a crash can leave.
    pub fn crash_behind(&self, last: Seq) {
        self.world().crash(Some(last));
    }

    /// As [`Kernel::run`](crate::Kernel::run).
    ///
    /// # Errors
    ///
    /// [`RunError`]; [`RunError::Wait`] when a crash came first.
    pub fn run(&self, budget: u64) -> Result<(), RunError> {
        match self.order() {
            CommitOrder::Completion => Err(RunError::RunsByItself),
            CommitOrder::Dispatch => self.open_run(Some(budget)),
        }
    }

    /// As [`Kernel::run_until_idle`](crate::Kernel::run_until_idle).
    ///
    /// # Errors
    ///
    /// [`RunError::Wait`] when a crash came first.
    pub fn run_until_idle(&self) -> Result<(), RunError> {
        match self.order() {
            CommitOrder::Completion => {
                self.go_on_while(|world| world.bench.state.waiting() > 0)?;
                self.world().commit_all();
                Ok(())
            }
            CommitOrder::Dispatch => self.open_run(None),
        }
    }

    /// Goes on until nothing is left to run, over crashes.
    pub fn settle(&self) {
        while self.run_until_idle().is_err() {}
    }

    fn go_on_while(&self, more: impl Fn(&World) -> bool) -> Result<(), RunError> {
        let before = self.crashes();
        loop {
            let mut world = self.world();
            if world.crashes > before {
                let poison = Poison::Commit("the simulation crashed".to_owned());
                return Err(WaitError::Indeterminate(poison).into());
            }
            if !more(&world) {
                return Ok(());
            }
            if !world.step() {
                world.fail("something waits for a vat, and no crank can run");
            }
        }
    }

    fn open_run(&self, budget: Option<u64>) -> Result<(), RunError> {
        let is_open = |world: &World| world.bench.state.open_run().is_some();
        // A run that a crash cut short goes to its end first.
        self.go_on_while(is_open)?;
        let mut world = self.world();
        let kept = std::mem::take(&mut world.kept);
        if !kept.writer.is_empty() || (world.bench.state.waiting() > 0 && budget != Some(0)) {
            let record = kept.writer.finish(world.now(), Some(budget)).into();
            let entries = kept.entries;
            world.input(InputItem { record, entries });
        }
        drop(world);
        self.go_on_while(is_open)?;
        self.world().commit_all();
        Ok(())
    }

    /// As [`Kernel::send`](crate::Kernel::send).
    ///
    /// # Errors
    ///
    /// [`SendError`]; the message was not sent.
    pub fn send<T: Serialize + ?Sized>(
        &self,
        to: impl Into<Target>,
        method: &str,
        args: &T,
    ) -> Result<Ticket<'_, Outcome>, SendError> {
        self.send_as(None, to.into(), method, args, only)
    }

    /// As [`Kernel::watch`](crate::Kernel::watch).
    ///
    /// # Errors
    ///
    /// [`SendError`]; nothing is waited for.
    pub fn watch(&self, promise: &Promise) -> Result<Ticket<'_, Outcome>, SendError> {
        let mut draft = Draft::new();
        draft.watch(promise)?;
        self.submit(draft, None, only)
    }

    /// As [`Kernel::hold`](crate::Kernel::hold).
    ///
    /// # Errors
    ///
    /// [`SendError`]; nothing is held.
    pub fn hold(
        &self,
        what: impl Into<Target>,
    ) -> Result<Ticket<'_, Result<(), Rejection>>, SendError> {
        let mut draft = Draft::new();
        draft.hold(&what.into())?;
        self.submit(draft, None, |outcomes| only(outcomes).map(drop))
    }

    /// As [`Kernel::release`](crate::Kernel::release).
    ///
    /// # Errors
    ///
    /// [`SendError`]; nothing is released.
    pub fn release(&self, what: impl Into<Target>) -> Result<Ticket<'_, ()>, SendError> {
        let mut draft = Draft::new();
        draft.release(&what.into())?;
        self.submit(draft, None, |_| ())
    }

    /// As [`Kernel::forget`](crate::Kernel::forget).
    ///
    /// # Errors
    ///
    /// [`SendError`]; nothing was forgotten.
    pub fn forget(&self, request: &str) -> Result<Ticket<'_, ()>, SendError> {
        let mut draft = Draft::new();
        draft.forget(request)?;
        self.submit(draft, None, |_| ())
    }

    /// As [`Kernel::upgrade`](crate::Kernel::upgrade).
    ///
    /// # Errors
    ///
    /// [`SendError`]; nothing was sent.
    pub fn upgrade<V: Vat>(
        &self,
        vat: impl Into<VatId>,
    ) -> Result<Ticket<'_, Result<(), Rejection>>, SendError> {
        let mut draft = Draft::new();
        draft.upgrade::<V>(self, vat.into())?;
        self.submit(draft, None, |outcomes| only(outcomes).map(drop))
    }

    /// As [`Kernel::request`](crate::Kernel::request).
    pub fn request(&self, id: impl Into<String>) -> Request<'_> {
        let id = id.into();
        Request { sim: self, id }
    }

    /// Asks under a request id until the outcome is told, over crashes: what a careful host does.
    ///
    /// # Errors
    ///
    /// [`SendError`] as `ask` gives it.
    pub fn insist<'s, T>(
        &'s self,
        id: &str,
        ask: impl Fn(Request<'s>) -> Result<Ticket<'s, T>, SendError>,
    ) -> Result<T, SendError> {
        loop {
            let ticket = ask(self.request(id))?;
            match ticket.wait() {
                Ok(outcome) => return Ok(outcome),
                Err(WaitError::NotTaken) => {
                    if self.run_until_idle().is_ok()
                        && let Ok(outcome) = ticket.wait()
                    {
                        return Ok(outcome);
                    }
                }
                Err(_) => {}
            }
        }
    }

    /// As [`Kernel::batch`](crate::Kernel::batch).
    pub fn batch(&self) -> Batch<'_> {
        Batch {
            sim: self,
            request: None,
            crashes: self.crashes(),
            draft: Draft::new(),
        }
    }

    /// As [`Kernel::read`](crate::Kernel::read): what was seen is released, and will not be lost.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    pub fn read<V: Vat, R>(
        &self,
        vat: impl Into<VatId>,
        look: impl FnOnce(&V) -> R,
    ) -> Result<R, ReadError> {
        self.world().commit_all();
        self.look(|now| now.read(vat, look))
    }

    /// As [`Kernel::root_as`](crate::Kernel::root_as).
    ///
    /// # Errors
    ///
    /// [`ReadError::OtherKind`].
    pub fn root_as<V: Vat + Interface>(&self, name: &str) -> Result<Option<Ref<V>>, ReadError> {
        self.world().commit_all();
        self.look(|now| now.root_as(name))
    }

    pub(super) fn send_as<T, A: Serialize + ?Sized>(
        &self,
        request: Option<&str>,
        to: Target,
        method: &str,
        args: &A,
        convert: Convert<T>,
    ) -> Result<Ticket<'_, T>, SendError> {
        let mut draft = Draft::new();
        draft.send(&self.shared.limits, &to, method, &Payload::of(args)?)?;
        self.submit(draft, request, convert)
    }

    pub(super) fn spawn_as<T, A: Serialize>(
        &self,
        request: Option<&str>,
        name: &str,
        kind: (&str, u32),
        args: &A,
        convert: Convert<T>,
    ) -> Result<Ticket<'_, T>, SendError> {
        let mut draft = Draft::new();
        draft.spawn(self, name, kind, &Payload::of(args)?)?;
        self.submit(draft, request, convert)
    }

    /// Hands in an entry.
    pub(super) fn submit<T>(
        &self,
        draft: Draft,
        request: Option<&str>,
        convert: Convert<T>,
    ) -> Result<Ticket<'_, T>, SendError> {
        let mut world = self.world();
        let order = world.order();
        let cell = TicketCell::new(order == CommitOrder::Completion);
        let counters = draft.counters().cloned();
        let taken = hand_in(&mut world, draft, request, &cell);
        if !matches!(taken, Ok(Taken::New))
            && order == CommitOrder::Dispatch
            && let Some(counters) = counters
            && world.host_counter == *counters.end()
        {
            world.host_counter = counters.start() - 1;
        }
        taken?;
        world.go_on_alone();
        Ok(Ticket {
            sim: self,
            cell,
            convert,
        })
    }
}

fn hand_in(
    world: &mut World,
    draft: Draft,
    request: Option<&str>,
    cell: &Arc<TicketCell>,
) -> Result<Taken, SendError> {
    if let Some(id) = request {
        check_request_id(id)?;
        let digest = draft.digest();
        if let Some(known) = world.kept.join(id, digest, cell) {
            return known.map(|()| Taken::Known);
        }
        if let Some(known) = world.bench.state.request(id) {
            if known.digest != digest {
                return Err(SendError::Conflict { id: id.to_owned() });
            }
            world.attach(id, Arc::clone(cell));
            return Ok(Taken::Known);
        }
    }
    let taken =
        |name: &&String| world.kept.names.contains(name) || world.bench.state.root(name).is_some();
    if let Some(name) = draft.names.iter().find(taken) {
        return Err(SendError::NameTaken { name: name.clone() });
    }
    match world.order() {
        CommitOrder::Dispatch => world.kept.keep(draft, request, cell),
        CommitOrder::Completion => {
            let mut writer = InputWriter::new();
            draft.write(request, &mut writer);
            let entry = EntryTicket {
                first: 0,
                count: draft.deliveries,
                cells: vec![Arc::clone(cell)],
                bytes: draft.bytes(),
            };
            let record = writer.finish(world.now(), None).into();
            let entries = vec![entry];
            world.input(InputItem { record, entries });
        }
    }
    Ok(Taken::New)
}

impl Host for Simulation {
    fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    fn check_version(&self, kind: &str, version: u32) -> Result<(), SendError> {
        match self.shared.kinds.get_version(kind, version) {
            Some(_) => Ok(()),
            None => Err(SendError::UnknownVersion {
                kind: kind.to_owned(),
                version,
            }),
        }
    }

    fn next_host_counter(&self) -> u64 {
        let mut world = self.world();
        world.host_counter += 1;
        world.host_counter
    }
}

impl fmt::Debug for Simulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulation").finish_non_exhaustive()
    }
}
