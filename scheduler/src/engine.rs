//! The running kernel behind the host's handle: its parts, its role, its threads.

use std::sync::{Arc, Weak};
use std::time::Duration;

use crankcase_journal::crash_points::{CrashPoint, pass};
use crankcase_journal::{Checkpointer, Committer};

use crate::checkpointer::{self, CheckpointJob};
use crate::committer::{self, CommitJob};
use crate::error::{CloseError, OpenError, Poison};
use crate::housekeeper;
use crate::parts::Parts;
use crate::pool::Pool;
use crate::role::Role;
use crate::sequencer::{Item, Sequencer};
use crate::sync::thread::{self, JoinHandle};
use crate::sync::{Condvar, Instant, Mutex, Ordering, lock, mpsc, wait, wait_timeout};
use crate::ticket::Asked;
use crate::worker;

/// What every thread of a kernel holds.
pub(crate) struct Engine {
    pub(crate) parts: Arc<Parts>,
    pub(crate) role: Role<Sequencer>,
    /// Workers that have not left.
    at_work: Mutex<usize>,
    left: Condvar,
}

impl Engine {
    pub(crate) fn new(parts: Arc<Parts>, sequencer: Sequencer, workers: usize) -> Arc<Self> {
        Arc::new(Self {
            parts,
            role: Role::new(sequencer),
            at_work: Mutex::new(workers),
            left: Condvar::new(),
        })
    }

    /// Has an item done by whoever holds the role.
    pub(crate) fn submit(&self, item: Item) {
        self.role
            .submit(item, &mut |after| after.perform(&self.parts));
    }

    /// Has something done by whoever holds the role, in the order of the items that this thread
    /// has submitted, and waits for the answer. It waits while the role is full.
    ///
    /// The role is not taken by blocking on its lock: a worker that takes it for each crank would
    /// keep a blocked thread out for as long as there is work.
    pub(crate) fn ask<R: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Sequencer) -> R + Send + 'static,
    ) -> R {
        let (call, answer) = call(act);
        self.submit(call);
        answer.wait()
    }

    /// As [`ask`](Self::ask), ahead of the items that wait, and also when the role is full.
    pub(crate) fn ask_urgently<R: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Sequencer) -> R + Send + 'static,
    ) -> R {
        ask_urgently(&self.parts, &self.role, act)
    }

    /// Does something under the role. Only where nobody else is at work: when the kernel opens,
    /// and when its workers have left.
    pub(crate) fn with<R>(&self, act: impl FnOnce(&mut Sequencer) -> R) -> R {
        self.role.with(act, &mut |after| after.perform(&self.parts))
    }

    fn leave(&self) {
        *lock(&self.at_work) -= 1;
        self.left.notify_all();
    }

    /// Waits for the workers to leave; gives how many are still there at the deadline.
    fn wait_for_workers(&self, deadline: Instant) -> usize {
        let mut at_work = lock(&self.at_work);
        while *at_work > 0 {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else {
                break;
            };
            at_work = wait_timeout(&self.at_work, &self.left, at_work, left).0;
        }
        *at_work
    }

    /// Has the threads beside the workers end, and lets go of the journal, so that the directory is
    /// free when this returns, whoever may still hold the engine for a moment.
    fn end(&self, others: Vec<JoinHandle<()>>) {
        let parts = &self.parts;
        parts.commits.close();
        parts.checkpoints.close();
        parts.chores.close();
        parts.callbacks.close();
        for thread in others {
            // A panic there has poisoned the kernel, which closing reports.
            let _ = thread.join();
        }
        parts.let_go_of_tables();
    }

    /// Repeats a step under the role, once for each group or checkpoint that is done, until it
    /// says that it is through or the kernel has stopped.
    fn step_until(&self, mut step: impl FnMut(&mut Sequencer) -> bool) {
        loop {
            let seen = self.parts.steps.load(Ordering::SeqCst);
            // Before a step too: what a stopped kernel has in memory may be half of a record's.
            let stopped = || self.parts.poison.get().is_some();
            if stopped() || self.with(&mut step) || stopped() {
                return;
            }
            self.parts.stall.sleep_while(|| {
                self.parts.steps.load(Ordering::SeqCst) == seen && self.parts.poison.get().is_none()
            });
        }
    }
}

/// Has something done by whoever holds the role, ahead of the items that wait, and waits for the
/// answer. Not for threads that run cranks.
pub(crate) fn ask_urgently<R: Send + 'static>(
    parts: &Parts,
    role: &Role<Sequencer>,
    act: impl FnOnce(&mut Sequencer) -> R + Send + 'static,
) -> R {
    let (call, answer) = call(act);
    role.submit_urgent(call, &mut |after| after.perform(parts));
    answer.wait()
}

/// An answer that another thread may give.
struct Answer<R>(Arc<(Mutex<Option<R>>, Condvar)>);

fn call<R: Send + 'static>(
    act: impl FnOnce(&mut Sequencer) -> R + Send + 'static,
) -> (Item, Answer<R>) {
    let answer = Answer(Arc::new((Mutex::new(None), Condvar::new())));
    let given = Arc::clone(&answer.0);
    let call = Item::Call(Box::new(move |sequencer| {
        let result = act(sequencer);
        *lock(&given.0) = Some(result);
        given.1.notify_all();
    }));
    (call, answer)
}

impl<R> Answer<R> {
    fn wait(self) -> R {
        let (slot, given) = &*self.0;
        let mut slot = lock(slot);
        loop {
            if let Some(answer) = slot.take() {
                return answer;
            }
            slot = wait(given, slot);
        }
    }
}

impl Asked for Engine {
    fn demand_commit(&self) {
        self.role
            .submit_urgent(Item::DemandCommit, &mut |after| after.perform(&self.parts));
    }

    fn is_own_thread(&self) -> bool {
        self.parts.is_own_thread()
    }
}

/// Cleans up when a thread of the kernel is gone. When it panicked, the kernel is poisoned:
/// others would otherwise wait for it for ever.
struct Gone<'a> {
    engine: &'a Engine,
    name: &'static str,
    /// What only this thread would have done.
    clean_up: fn(&Engine),
}

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        let engine = self.engine;
        if !std::thread::panicking() {
            return (self.clean_up)(engine);
        }
        let why = Poison::Panic(format!("the {}", self.name));
        engine.parts.poison(why);
        (self.clean_up)(engine);
        engine
            .role
            .submit_urgent(Item::Poisoned, &mut |after| after.perform(&engine.parts));
        engine.parts.stall.announce();
    }
}

/// A thread beside the workers: its name, what it cleans up, what it does.
type Body = (&'static str, fn(&Engine), Box<dyn FnOnce(&Engine) + Send>);

/// The threads of a kernel.
pub(crate) struct Threads {
    pool: Pool,
    others: Vec<JoinHandle<()>>,
}

impl Threads {
    /// Starts them.
    ///
    /// # Errors
    ///
    /// [`OpenError::Threads`] when the system does not give one.
    pub(crate) fn start(
        engine: &Arc<Engine>,
        workers: usize,
        committer: Committer,
        checkpointer: Checkpointer,
    ) -> Result<Self, OpenError> {
        let cannot = |error: &dyn std::fmt::Display| OpenError::Threads(error.to_string());
        let pool = Pool::new(workers).map_err(|error| cannot(&error))?;
        let mut others: Vec<JoinHandle<()>> = Vec::new();
        let bodies: [Body; 4] = [
            (
                "committer",
                |e| e.parts.abandon_commits(),
                Box::new(move |e| committer::run(&e.parts, &e.role, committer)),
            ),
            (
                "checkpointer",
                |e| drop(e.parts.checkpoints.abandon()),
                Box::new(move |e| checkpointer::run(&e.parts, &e.role, checkpointer)),
            ),
            (
                "housekeeper",
                |e| drop(e.parts.chores.abandon()),
                Box::new(|e| housekeeper::run(&e.parts, &e.role)),
            ),
            (
                "callbacks",
                |e| drop(e.parts.callbacks.abandon()),
                Box::new(|e| {
                    while let Some(wakers) = e.parts.callbacks.take() {
                        for waker in wakers {
                            // Host code: a panic in it is the host's, and is not to end this thread.
                            let wake = std::panic::AssertUnwindSafe(|| waker.wake());
                            if std::panic::catch_unwind(wake).is_err() {
                                tracing::error!("a waker of the host panicked");
                            }
                        }
                    }
                }),
            ),
        ];
        for (name, clean_up, body) in bodies {
            let for_thread = Arc::clone(engine);
            let thread = thread::Builder::new().name(format!("crankcase-{name}"));
            let thread = thread.spawn(move || {
                let gone = Gone {
                    engine: &for_thread,
                    name,
                    clean_up,
                };
                body(&for_thread);
                drop(gone);
            });
            match thread {
                Ok(thread) => others.push(thread),
                Err(error) => {
                    // Those that run hold the journal, which would stay locked.
                    engine.end(others);
                    return Err(cannot(&error));
                }
            }
        }
        let mut own_threads = pool.ids();
        own_threads.extend(others.iter().map(|thread| thread.thread().id()));
        // This is the one place that sets it.
        let _ = engine.parts.own_threads.set(own_threads);
        let for_workers = Arc::clone(engine);
        pool.start(move |index| {
            let gone = Gone {
                engine: &for_workers,
                name: "worker",
                clean_up: Engine::leave,
            };
            worker::run(&for_workers.parts, &for_workers.role, index);
            drop(gone);
        });
        Ok(Self { pool, others })
    }

    /// Ends them all: no more inputs, the cranks that run are finished, all that is sequenced is
    /// made durable, the tables are brought up to it, the journal is closed.
    ///
    /// # Errors
    ///
    /// [`CloseError`].
    pub(crate) fn close(self, engine: &Arc<Engine>, timeout: Duration) -> Result<(), CloseError> {
        let Self { pool, others } = self;
        let parts = &engine.parts;
        let deadline = Instant::now().checked_add(timeout);
        let deadline = deadline.unwrap_or_else(|| Instant::now() + Duration::from_secs(1 << 30));
        parts.closing.store(true, Ordering::SeqCst);
        parts.call_back(parts.admission.close());
        parts.stop_workers();
        let running = engine.wait_for_workers(deadline);
        pass(CrashPoint::CloseWorkersLeft);
        engine.step_until(Sequencer::settle_log);
        pass(CrashPoint::CloseLogSettled);
        // From here on nothing more is sequenced, whatever a stuck crank may still hand over.
        engine.with(Sequencer::fail_waiters);
        engine.step_until(Sequencer::settle_tables);
        pass(CrashPoint::CloseTablesSettled);
        let (done, checkpointer_left) = mpsc::channel();
        if parts
            .checkpoints
            .give(CheckpointJob::Close { done })
            .is_ok()
        {
            // An error means that it panicked, which has poisoned the kernel.
            let _ = checkpointer_left.recv();
        }
        let (done, closed) = mpsc::channel();
        let closed = match parts.commits.give(CommitJob::Close { done }) {
            Ok(()) => closed.recv().unwrap_or(Ok(())),
            Err(_) => Ok(()),
        };
        engine.end(others);
        drop(pool);
        match parts.poison.get() {
            Some(poison) => Err(CloseError::Poisoned(poison.clone())),
            None if running > 0 => Err(CloseError::Timeout {
                running,
                waited: timeout,
            }),
            None => Ok(closed?),
        }
    }
}

/// What tickets hold of the kernel: nothing that keeps it, so that a ticket that outlives it does
/// not keep the journal locked.
pub(crate) fn asked(engine: &Arc<Engine>) -> Weak<dyn Asked> {
    let weak: Weak<Engine> = Arc::downgrade(engine);
    weak
}
