//! The kernel in the host's hand.

use std::collections::HashMap;
use std::future::poll_fn;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crankcase_journal::{ActivityHash, Identity, Recovered};
use crankcase_vat::record::InputWriter;
use crankcase_vat::{Limits, Outcome, Payload, Promise, Rejection, Target, Vat, VatId};
use serde::Serialize;

use crate::builder::KernelBuilder;
use crate::clock::RunningClock;
use crate::engine::{Engine, Threads, asked};
use crate::error::{ClockError, CloseError, RunError, SendError, TrySendError, WaitError};
use crate::explain::{Explanation, Question};
use crate::host::{Batch, Draft, Host, Request, Unsent, check_request_id};
use crate::order::CommitOrder;
use crate::sequencer::{EntryTicket, InputItem, Item};
use crate::stats::{Counters, Stats};
use crate::sync::{AtomicU64, Mutex, MutexGuard, Ordering, lock, thread};
use crate::ticket::{Convert, Ticket, TicketCell};

/// Inputs that wait for a run (`Dispatch` order).
#[derive(Default)]
pub(crate) struct Waiting {
    pub(crate) writer: InputWriter,
    pub(crate) deliveries: u32,
    pub(crate) entries: Vec<EntryTicket>,
    /// Request ids among them, with the digest of the body and the entry.
    pub(crate) requests: HashMap<String, ([u8; 32], usize)>,
    pub(crate) names: Vec<String>,
}

impl Waiting {
    /// Has a ticket wait along with the one under that request id, if there is one.
    pub(crate) fn join(
        &mut self,
        id: &str,
        digest: [u8; 32],
        cell: &Arc<TicketCell>,
    ) -> Option<Result<(), SendError>> {
        let (known, entry) = self.requests.get(id).copied()?;
        if known != digest {
            return Some(Err(SendError::Conflict { id: id.to_owned() }));
        }
        self.entries[entry].cells.push(Arc::clone(cell));
        Some(Ok(()))
    }

    /// Keeps an entry.
    pub(crate) fn keep(&mut self, draft: Draft, request: Option<&str>, cell: &Arc<TicketCell>) {
        if let Some(id) = request {
            let entry = self.entries.len();
            self.requests.insert(id.to_owned(), (draft.digest(), entry));
        }
        draft.write(request, &mut self.writer);
        let first = self.deliveries;
        self.deliveries += draft.deliveries;
        self.entries.push(EntryTicket {
            first,
            count: draft.deliveries,
            cells: vec![Arc::clone(cell)],
            bytes: draft.bytes(),
        });
        self.names.extend(draft.names);
    }
}

/// A running kernel: vats, their order, and the journal that makes it last.
///
/// It is shared by reference or in an `Arc`; all calls may come from any thread, except from inside
/// a crank, where those that would wait say so instead. See the crate's page for a whole host.
pub struct Kernel {
    engine: Arc<Engine>,
    threads: Option<Threads>,
    clock: RunningClock,
    host_counter: AtomicU64,
    waiting: Mutex<Waiting>,
    /// Held by the run that is going on.
    run: Mutex<()>,
    identity: Identity,
    recovered: Recovered,
    drop_timeout: Duration,
}

/// What became of an input that was handed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It is on its way.
    New,
    /// Its request id was known, and nothing of it will run again.
    Known,
}

/// The outcome of an input with one delivery.
pub(crate) fn only(outcomes: &[Outcome]) -> Outcome {
    outcomes
        .first()
        .cloned()
        .unwrap_or_else(|| Ok(Payload::empty()))
}

/// The id of the vat that an input made.
pub(crate) fn only_id(outcomes: &[Outcome]) -> Result<VatId, Rejection> {
    Ok(only(outcomes)?.decode()?)
}

impl Kernel {
    /// Starts building a kernel whose journal is in the directory `path`.
    pub fn builder(path: impl AsRef<Path>) -> KernelBuilder {
        KernelBuilder::new(path.as_ref())
    }

    pub(crate) fn new(
        engine: Arc<Engine>,
        threads: Threads,
        clock: RunningClock,
        host_spawned: u64,
        identity: Identity,
        recovered: Recovered,
        drop_timeout: Duration,
    ) -> Self {
        Self {
            engine,
            threads: Some(threads),
            clock,
            host_counter: AtomicU64::new(host_spawned),
            waiting: Mutex::new(Waiting::default()),
            run: Mutex::new(()),
            identity,
            recovered,
            drop_timeout,
        }
    }

    /// Sends a message to a vat's root ([`VatId`]), to an object or to a promise. The ticket settles
    /// with what the vat answered, or with the rejection. When it answered with a promise, the
    /// ticket settles with what that comes to.
    ///
    /// References among the arguments are [`Ref`](crate::Ref)s and [`Promise`]s that came from the
    /// kernel, or `Ref::to` a vat that the host knows. The host's references are not counted: one
    /// whose object or promise is gone has the message rejected
    /// ([`Cause::NoSuchVat`](crate::Cause::NoSuchVat), `NoSuchObject` or `NoSuchPromise`). To keep
    /// one from going, [`hold`](Self::hold) it.
    ///
    /// Waits while the bound on inputs is exceeded ([`KernelBuilder::host_input_bytes`]); messages
    /// of one thread are sequenced in the order in which it sends them.
    ///
    /// # Errors
    ///
    /// [`SendError`]; the message was not sent.
    pub fn send<T: Serialize + ?Sized>(
        &self,
        to: impl Into<Target>,
        method: &str,
        args: &T,
    ) -> Result<Ticket<Outcome>, SendError> {
        self.send_payload(to, method, &Payload::of(args)?)
    }

    /// Sends a message whose arguments are encoded already.
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send).
    pub fn send_payload(
        &self,
        to: impl Into<Target>,
        method: &str,
        args: &Payload,
    ) -> Result<Ticket<Outcome>, SendError> {
        let mut draft = Draft::new();
        draft.send(self.limits(), &to.into(), method, args)?;
        self.submit(draft, None, only)
    }

    /// Sends a message if there is room for it now.
    ///
    /// # Errors
    ///
    /// [`TrySendError::Full`] with the message when there is none.
    pub fn try_send<T: Serialize + ?Sized>(
        &self,
        to: impl Into<Target>,
        method: &str,
        args: &T,
    ) -> Result<Ticket<Outcome>, TrySendError> {
        let to = to.into();
        let args = Payload::of(args).map_err(SendError::from)?;
        let mut draft = Draft::new();
        draft.send(self.limits(), &to, method, &args)?;
        self.check_open()?;
        if !self.engine.parts.admission.try_enter(draft.bytes()) {
            return Err(TrySendError::Full(Unsent {
                to,
                method: method.to_owned(),
                args,
            }));
        }
        Ok(self.submit_admitted(draft, None, only)?)
    }

    /// Waits, without blocking the thread, until there may be room for an input. Inside a crank it
    /// does not wait.
    pub async fn room(&self) {
        let parts = &self.engine.parts;
        poll_fn(|context| {
            // A crank must not wait for what other cranks have to do.
            if parts.is_own_thread() || parts.admission.poll_room(context.waker()) {
                std::task::Poll::Ready(())
            } else {
                std::task::Poll::Pending
            }
        })
        .await;
    }

    /// Makes a vat. The ticket settles with its id once its `create` has committed.
    ///
    /// # Errors
    ///
    /// [`SendError`]; nothing was made.
    pub fn spawn<T: Serialize + ?Sized>(
        &self,
        kind: &str,
        args: &T,
    ) -> Result<Ticket<Result<VatId, Rejection>>, SendError> {
        let mut draft = Draft::new();
        draft.spawn(self, "", self.newest(kind)?, &Payload::of(args)?)?;
        self.submit(draft, None, only_id)
    }

    /// Makes a vat with a root name, by which [`root`](Self::root) finds it for ever.
    ///
    /// # Errors
    ///
    /// [`SendError`]; nothing was made. [`SendError::NameTaken`] when the name stands for a vat.
    pub fn spawn_named<T: Serialize + ?Sized>(
        &self,
        name: &str,
        kind: &str,
        args: &T,
    ) -> Result<Ticket<Result<VatId, Rejection>>, SendError> {
        let mut batch = self.batch();
        batch.spawn_named(name, kind, args)?;
        let cell = batch.submit()?;
        Ok(cell.converted(only_id))
    }

    /// Starts a batch: several messages and new vats as one atomic input.
    pub fn batch(&self) -> Batch<'_> {
        Batch::new(self, None)
    }

    /// Starts an input under a request id of the host's choosing. The same id with the same body,
    /// also after a crash, gives the first outcome and does not run again; with another body it is
    /// a [`SendError::Conflict`]. Ids are kept until [`forget`](Self::forget).
    pub fn request(&self, id: impl Into<String>) -> Request<'_> {
        Request {
            kernel: self,
            id: id.into(),
        }
    }

    /// Waits for what a promise comes to, as an input of its own: the ticket settles with it. A
    /// promise that nobody holds any more rejects it
    /// ([`Cause::NoSuchPromise`](crate::Cause::NoSuchPromise)).
    ///
    /// # Errors
    ///
    /// [`SendError`]; nothing is waited for.
    pub fn watch(&self, promise: &Promise) -> Result<Ticket<Outcome>, SendError> {
        let mut draft = Draft::new();
        draft.watch(promise)?;
        self.submit(draft, None, only)
    }

    /// Holds an object or a promise, as an input of its own: from when the ticket settles with
    /// `Ok` until it is [released](Self::release) as often, it stays, over restarts too. Root names
    /// hold their vats without this.
    ///
    /// The ticket settles with a rejection when it is gone already: its vat has ended, it was never
    /// made, nobody holds the promise, or the object's vat is about to hear that nobody holds it
    /// ([`Cause::NoSuchObject`](crate::Cause::NoSuchObject)). Of the objects that it has removed a vat
    /// alone keeps a list: to hold one of those settles with `Ok`, and messages to it are rejected.
    ///
    /// # Errors
    ///
    /// [`SendError`]; nothing is held.
    pub fn hold(
        &self,
        what: impl Into<Target>,
    ) -> Result<Ticket<Result<(), Rejection>>, SendError> {
        let mut draft = Draft::new();
        draft.hold(&what.into())?;
        self.submit(draft, None, |outcomes| only(outcomes).map(drop))
    }

    /// Releases what was [held](Self::hold), once. What is not held is no error.
    ///
    /// # Errors
    ///
    /// [`SendError`]; nothing is released.
    pub fn release(&self, what: impl Into<Target>) -> Result<Ticket<()>, SendError> {
        let mut draft = Draft::new();
        draft.release(&what.into())?;
        self.submit(draft, None, |_| ())
    }

    /// Forgets a request id, as an input of its own. The ticket settles when that is released. An
    /// id that is not known is no error.
    ///
    /// # Errors
    ///
    /// [`SendError`]; nothing was forgotten.
    pub fn forget(&self, request: &str) -> Result<Ticket<()>, SendError> {
        let mut draft = Draft::new();
        draft.forget(request)?;
        self.submit(draft, None, |_| ())
    }

    /// Has a vat go on with the version `V` of its kind's code, as a delivery in its inbox: what
    /// waits before it is handled by the code that the vat has, what comes after it by `V`. The vat's
    /// state is made by `V`'s migration, in several steps when `V` takes over from a version that is
    /// itself newer than the vat's.
    ///
    /// The ticket settles with a rejection when the vat is of another kind, when there is no way from
    /// its version to `V`, when `V` has no watcher or no sort of objects that the vat's version has,
    /// or when the migration fails. Then nothing has happened, and the vat goes on with the version
    /// that it has. A vat that has the version already is left as it is.
    ///
    /// # Errors
    ///
    /// [`SendError`]; nothing was sent.
    pub fn upgrade<V: Vat>(
        &self,
        vat: impl Into<VatId>,
    ) -> Result<Ticket<Result<(), Rejection>>, SendError> {
        let mut draft = Draft::new();
        draft.upgrade::<V>(self, vat.into())?;
        self.submit(draft, None, |outcomes| only(outcomes).map(drop))
    }

    pub(crate) const fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// The newest version of a kind that the host has registered.
    pub(crate) fn newest<'n>(&self, kind: &'n str) -> Result<(&'n str, u32), SendError> {
        match self.engine.parts.crank.kinds.get(kind) {
            Some(known) => Ok((kind, known.version())),
            None => Err(SendError::UnknownKind {
                kind: kind.to_owned(),
            }),
        }
    }

    /// Takes back the counters of vats that were not made after all, if no others were given out
    /// since. A host that asks again for what it has would otherwise get other ids afterwards
    /// than one that did not have to, and in `Dispatch` order that would be a trace of a restart.
    pub(crate) fn give_back_counters(&self, counters: Option<&std::ops::RangeInclusive<u64>>) {
        if self.engine.parts.order == CommitOrder::Dispatch
            && let Some(counters) = counters
        {
            let (before, last) = (counters.start() - 1, *counters.end());
            // When others were given out since, these stay unused, which is no harm.
            let _ = self.host_counter.compare_exchange(
                last,
                before,
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
        }
    }

    fn check_open(&self) -> Result<(), SendError> {
        let parts = &self.engine.parts;
        if let Some(poison) = parts.poison.get() {
            return Err(SendError::Poisoned(poison.clone()));
        }
        if parts.closing.load(Ordering::SeqCst) {
            return Err(SendError::Closing);
        }
        Ok(())
    }

    /// Hands in an entry, waiting for room.
    pub(crate) fn submit<T>(
        &self,
        draft: Draft,
        request: Option<&str>,
        convert: Convert<T>,
    ) -> Result<Ticket<T>, SendError> {
        match self.enter(draft.bytes()) {
            Ok(()) => self.submit_admitted(draft, request, convert),
            Err(error) => {
                self.give_back_counters(draft.counters());
                Err(error)
            }
        }
    }

    /// Takes room for an input, waiting for it.
    fn enter(&self, bytes: u64) -> Result<(), SendError> {
        self.check_open()?;
        let parts = &self.engine.parts;
        if parts.admission.try_enter(bytes) {
            return Ok(());
        }
        if parts.is_own_thread() {
            let why = "the call comes from inside a crank";
            return Err(SendError::NoRoom { why });
        }
        if parts.order == CommitOrder::Dispatch {
            let why = "the inputs wait for `run`";
            return Err(SendError::NoRoom { why });
        }
        if !parts.admission.enter(bytes) {
            self.check_open()?;
            return Err(SendError::Closing);
        }
        Ok(())
    }

    /// Hands in an entry that has taken its room.
    fn submit_admitted<T>(
        &self,
        draft: Draft,
        request: Option<&str>,
        convert: Convert<T>,
    ) -> Result<Ticket<T>, SendError> {
        let (bytes, counters) = (draft.bytes(), draft.counters().cloned());
        let cell = TicketCell::new(self.engine.parts.order == CommitOrder::Completion);
        let taken = match self.engine.parts.order {
            CommitOrder::Completion => self.hand_in(draft, request, &cell),
            CommitOrder::Dispatch => self.keep_for_run(draft, request, &cell),
        };
        if !matches!(taken, Ok(Taken::New)) {
            let parts = &self.engine.parts;
            parts.call_back(parts.admission.leave(bytes));
            self.give_back_counters(counters.as_ref());
        }
        taken.map(|_| Ticket::new(cell, asked(&self.engine), convert))
    }

    fn hand_in(
        &self,
        draft: Draft,
        request: Option<&str>,
        cell: &Arc<TicketCell>,
    ) -> Result<Taken, SendError> {
        let mut writer = InputWriter::new();
        if let Some(id) = request {
            check_request_id(id)?;
        }
        draft.write(request, &mut writer);
        let entry = EntryTicket {
            first: 0,
            count: draft.deliveries,
            cells: vec![Arc::clone(cell)],
            bytes: draft.bytes(),
        };
        let record = writer.finish(self.clock.now(), None).into();
        let input = InputItem {
            record,
            entries: vec![entry],
        };
        if request.is_none() && draft.names.is_empty() {
            self.engine.submit(Item::Input(Box::new(input)));
            Ok(Taken::New)
        } else {
            if self.engine.parts.is_own_thread() {
                let why = "a crank cannot wait for the answer whether it is new";
                return Err(SendError::NoRoom { why });
            }
            let request = request.map(|id| (id.to_owned(), draft.digest()));
            let names = draft.names;
            self.engine.ask(move |sequencer| {
                let request = request.as_ref().map(|(id, digest)| (id.as_str(), *digest));
                sequencer.admit(request, &names, input)
            })
        }
    }

    fn keep_for_run(
        &self,
        draft: Draft,
        request: Option<&str>,
        cell: &Arc<TicketCell>,
    ) -> Result<Taken, SendError> {
        let mut waiting = self.waiting();
        if let Some(id) = request {
            check_request_id(id)?;
            let digest = draft.digest();
            if let Some(known) = waiting.join(id, digest, cell) {
                return known.map(|()| Taken::Known);
            }
            let (asked, to_attach) = (id.to_owned(), Arc::clone(cell));
            let known = self.engine.ask_urgently(move |sequencer| {
                let known = sequencer.known_request(&asked, digest);
                if let Some(Ok(())) = known {
                    sequencer.attach(&asked, to_attach);
                }
                known
            });
            if let Some(known) = known {
                return known.map(|()| Taken::Known);
            }
        }
        if let Some(name) = draft.names.iter().find(|name| waiting.names.contains(name)) {
            return Err(SendError::NameTaken { name: name.clone() });
        }
        let names = draft.names.clone();
        self.engine
            .ask_urgently(move |sequencer| sequencer.check_names(&names))?;
        waiting.keep(draft, request, cell);
        Ok(Taken::New)
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        lock(&self.waiting)
    }

    /// In `Dispatch` order, runs at most `budget` cranks: takes the inputs that wait, and returns
    /// when the budget is spent or nothing is left to run, and everything is released. Cranks
    /// beyond the budget may run ahead; none of them gets a place.
    ///
    /// # Errors
    ///
    /// [`RunError`]; [`RunError::RunsByItself`] in `Completion` order.
    pub fn run(&self, budget: u64) -> Result<(), RunError> {
        match self.engine.parts.order {
            CommitOrder::Completion => Err(RunError::RunsByItself),
            CommitOrder::Dispatch => self.open_run(Some(budget)),
        }
    }

    /// Returns when nothing is left to run and everything is released. In `Dispatch` order it is
    /// a run without a budget; in `Completion` order it waits for the kernel, which runs by
    /// itself.
    ///
    /// # Errors
    ///
    /// [`RunError`].
    pub fn run_until_idle(&self) -> Result<(), RunError> {
        match self.engine.parts.order {
            CommitOrder::Completion => {
                self.check_run()?;
                self.wait_for_idle()
            }
            CommitOrder::Dispatch => self.open_run(None),
        }
    }

    fn check_run(&self) -> Result<(), RunError> {
        if self.engine.parts.is_own_thread() {
            return Err(WaitError::InsideCrank.into());
        }
        match self.check_open() {
            Err(SendError::Poisoned(poison)) => Err(RunError::Poisoned(poison)),
            Err(_) => Err(RunError::Closing),
            Ok(()) => Ok(()),
        }
    }

    fn wait_for_idle(&self) -> Result<(), RunError> {
        let done = TicketCell::new(true);
        self.engine.submit(Item::WhenIdle(Arc::clone(&done)));
        Ok(Ticket::new(done, asked(&self.engine), |_| ()).wait()?)
    }

    fn open_run(&self, budget: Option<u64>) -> Result<(), RunError> {
        self.check_run()?;
        let run = lock(&self.run);
        // A run that a crash cut short goes to its end first, as it would have then.
        if self
            .engine
            .ask_urgently(|sequencer| sequencer.state().open_run().is_some())
        {
            self.wait_for_idle()?;
        }
        let done = TicketCell::new(true);
        let (settled, time) = (Arc::clone(&done), self.clock.now());
        // Held until the inputs are sequenced: a request id that stands neither here nor in the
        // state would be taken twice.
        let mut waiting = self.waiting();
        let inputs = std::mem::take(&mut *waiting);
        self.engine.ask_urgently(move |sequencer| {
            let anything =
                !inputs.writer.is_empty() || (sequencer.state().waiting() > 0 && budget != Some(0));
            let input = anything.then(|| InputItem {
                record: inputs.writer.finish(time, Some(budget)).into(),
                entries: inputs.entries,
            });
            sequencer.run(input, settled);
        });
        drop(waiting);
        let ended = Ticket::new(done, asked(&self.engine), |_| ()).wait();
        drop(run);
        Ok(ended?)
    }

    /// Sets the clock of a kernel that was built with [`Clock::Manual`](crate::Clock::Manual).
    ///
    /// # Errors
    ///
    /// [`ClockError`]; the clock was not set.
    pub fn set_time(&self, to: u64) -> Result<(), ClockError> {
        self.clock.set(to)
    }

    /// Why something has not come about: what a promise, a vat, a delivery or a request waits for,
    /// who decides that, where it stands, and what of the kernel holds it up. It waits for nothing
    /// and is exempt from release, as [`stats`](Self::stats) is; it looks at every inbox, so it is
    /// for people and not for programs.
    ///
    /// ```
    /// # use crankcase::{Kernel, Durability, VatId, VatNumber};
    /// # let kernel = Kernel::builder("unused").durability(Durability::None).open()?;
    /// let vat = VatId::new(VatNumber::HOST, 1);
    /// println!("{}", kernel.explain(vat));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn explain(&self, question: impl Into<Question>) -> Explanation {
        let question = question.into();
        let because = self
            .engine
            .ask_urgently(move |sequencer| sequencer.explain(&question));
        because.because([self.why_unreleased()])
    }

    /// Why a ticket has not settled; see [`explain`](Self::explain).
    #[must_use]
    pub fn explain_ticket<T>(&self, ticket: &Ticket<T>) -> Explanation {
        let cell = ticket.cell();
        let because = self
            .engine
            .ask_urgently(move |sequencer| sequencer.explain_ticket(&cell));
        because.because([self.why_unreleased()])
    }

    /// Which watermark is behind which.
    fn why_unreleased(&self) -> Explanation {
        let watermarks = &self.engine.parts.watermarks;
        let (sequenced, released) = (watermarks.sequenced(), watermarks.released());
        let durable = self.engine.parts.durable().seq();
        let says = match self.engine.parts.poison.get() {
            Some(poison) => format!("has stopped for good: {poison}"),
            None if durable < sequenced => format!(
                "is sequenced up to {sequenced} and durable up to {durable}: what came later is \
                 seen outside once its group is written"
            ),
            None => {
                format!("is sequenced and durable up to {sequenced}, and released up to {released}")
            }
        };
        Explanation::new("the journal", says)
    }

    /// Figures of the running kernel. They wait for nothing, and so are exempt from release.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let parts = &self.engine.parts;
        let (vats, in_memory, waiting, abandoned) = self.engine.ask_urgently(|sequencer| {
            let state = sequencer.state();
            let (vats, waiting) = (state.vats().len(), state.waiting());
            (vats, sequencer.in_memory(), waiting, state.abandoned())
        });
        let (promises, objects) = self.engine.ask_urgently(|sequencer| {
            let state = sequencer.state();
            (state.promises().len(), state.counts().len())
        });
        let durable = parts.durable();
        let counters = &parts.counters;
        let now = parts.born.elapsed();
        let running_for = parts.running.iter().filter_map(|since| {
            let since = Duration::from_nanos(since.load(Ordering::Relaxed));
            (!since.is_zero()).then(|| now.saturating_sub(since))
        });
        Stats {
            sequenced: parts.watermarks.sequenced(),
            durable: durable.seq(),
            released: parts.watermarks.released(),
            activity_hash: durable.hash(),
            cranks: Counters::get(&counters.cranks),
            abandoned,
            inputs: Counters::get(&counters.inputs),
            groups: Counters::get(&counters.groups),
            group_bytes: Counters::get(&counters.group_bytes),
            group_syncs: Counters::get(&counters.group_syncs),
            witness_syncs: Counters::get(&counters.witness_syncs),
            checkpoints: Counters::get(&counters.checkpoints),
            swept_rows: Counters::get(&counters.swept_rows),
            inbox_refills: Counters::get(&counters.inbox_refills),
            promises: promises as u64,
            objects: objects as u64,
            vats: vats as u64,
            vats_in_memory: in_memory as u64,
            store_bytes: parts.store_bytes.load(Ordering::Relaxed) as u64,
            waiting,
            longest_crank: Duration::from_nanos(Counters::get(&counters.longest_crank_ns)),
            running_for: running_for.max(),
            poison: parts.poison.get().cloned(),
        }
    }

    /// The activity hash of what is durable.
    #[must_use]
    pub fn activity_hash(&self) -> ActivityHash {
        self.engine.parts.durable().hash()
    }

    /// Who the journal is: its kernel id, timeline, order and seed.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// How the total order comes about: what the journal was made with.
    #[must_use]
    pub fn order(&self) -> CommitOrder {
        self.engine.parts.order
    }

    /// What opening found.
    #[must_use]
    pub const fn recovered(&self) -> &Recovered {
        &self.recovered
    }

    /// Closes the kernel: takes no more inputs, lets the cranks that run come to their end, makes
    /// everything sequenced durable, and closes the journal. Deliveries that wait stay in it.
    ///
    /// # Errors
    ///
    /// [`CloseError`]; what was released is safe in every case.
    pub fn close(mut self, timeout: Duration) -> Result<(), CloseError> {
        self.end(timeout)
    }

    fn end(&mut self, timeout: Duration) -> Result<(), CloseError> {
        let Some(threads) = self.threads.take() else {
            return Ok(());
        };
        self.fail_kept();
        let engine = Arc::clone(&self.engine);
        if !engine.parts.is_own_thread() {
            return threads.close(&engine, timeout);
        }
        // The crank that called this must end before its worker can.
        thread::spawn(move || {
            if let Err(error) = threads.close(&engine, timeout) {
                tracing::warn!(%error, "a kernel that was given up in a crank did not close cleanly");
            }
        });
        Err(CloseError::InsideCrank)
    }

    /// Tells whoever waits for inputs that no run has taken.
    fn fail_kept(&self) {
        for cell in std::mem::take(&mut *self.waiting())
            .entries
            .into_iter()
            .flat_map(|e| e.cells)
        {
            self.engine.parts.call_back(cell.fail(WaitError::Closed));
        }
    }
}

impl Host for Kernel {
    fn limits(&self) -> &Limits {
        &self.engine.parts.crank.limits
    }

    fn check_version(&self, kind: &str, version: u32) -> Result<(), SendError> {
        match self.engine.parts.crank.kinds.get_version(kind, version) {
            Some(_) => Ok(()),
            None => Err(SendError::UnknownVersion {
                kind: kind.to_owned(),
                version,
            }),
        }
    }

    fn next_host_counter(&self) -> u64 {
        self.host_counter.fetch_add(1, Ordering::Relaxed) + 1
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        if let Err(error) = self.end(self.drop_timeout) {
            tracing::warn!(%error, "a kernel that was dropped did not close cleanly");
        }
    }
}

impl std::fmt::Debug for Kernel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kernel")
            .field("order", &self.engine.parts.order)
            .field("sequenced", &self.engine.parts.watermarks.sequenced())
            .finish_non_exhaustive()
    }
}
