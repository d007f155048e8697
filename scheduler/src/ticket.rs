//! Tickets: what a host holds while its input is on its way.
//!
//! A ticket settles when the records that its outcome rests on are *released*. Waiting for one is
//! what makes the kernel write: a ticket that is waited for asks for a commit as soon as its outcome
//! is sequenced, and not before, so that a lone input and its answer share one sync.
//!
//! The wakers of async tasks are host code. They are called by the thread that calls the host
//! back, never by one that sequences or commits. Threads that block in [`Ticket::wait`] are woken
//! through a condition variable, which runs no code of theirs.

use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crankcase_vat::{Outcome, mutant};

use crate::error::WaitError;
use crate::sync::{Condvar, Instant, Mutex, lock, wait, wait_timeout};

/// Where an input stands.
#[derive(Debug, Clone)]
enum Phase {
    /// Waits for a run (`Dispatch` order).
    NotTaken,
    /// On its way.
    Open,
    /// Its outcome has a place, which is not released yet.
    Sequenced,
    Settled(Arc<Vec<Outcome>>),
    Failed(WaitError),
}

/// What waiting ends with.
pub(crate) type Known = Result<Arc<Vec<Outcome>>, WaitError>;

struct Inner {
    phase: Phase,
    /// Whether someone waits, so that sequencing it asks for a commit.
    waited: bool,
    waker: Option<Waker>,
}

/// The part of a ticket that the kernel holds.
pub(crate) struct TicketCell {
    inner: Mutex<Inner>,
    settled: Condvar,
}

impl TicketCell {
    pub(crate) fn new(taken: bool) -> Arc<Self> {
        let phase = if taken { Phase::Open } else { Phase::NotTaken };
        let inner = Inner {
            phase,
            waited: false,
            waker: None,
        };
        Arc::new(Self {
            inner: Mutex::new(inner),
            settled: Condvar::new(),
        })
    }

    /// A run has taken the input.
    pub(crate) fn take(&self) {
        let mut inner = lock(&self.inner);
        if let Phase::NotTaken = inner.phase {
            inner.phase = Phase::Open;
        }
    }

    /// The outcome has a place. Says whether someone waits for it.
    pub(crate) fn sequence(&self) -> bool {
        let mut inner = lock(&self.inner);
        if let Phase::Open | Phase::NotTaken = inner.phase {
            inner.phase = Phase::Sequenced;
        }
        inner.waited
    }

    /// Settles it; gives the wakers that are to be called.
    pub(crate) fn settle(&self, outcomes: Arc<Vec<Outcome>>) -> Vec<Waker> {
        self.finish(Phase::Settled(outcomes))
    }

    /// Ends it without an outcome; gives the wakers that are to be called.
    pub(crate) fn fail(&self, error: WaitError) -> Vec<Waker> {
        self.finish(Phase::Failed(error))
    }

    fn finish(&self, phase: Phase) -> Vec<Waker> {
        let mut inner = lock(&self.inner);
        if let Phase::Settled(_) | Phase::Failed(_) = inner.phase {
            return Vec::new();
        }
        inner.phase = phase;
        let waited = inner.waited;
        let wakers = inner.waker.take().into_iter().collect();
        drop(inner);
        if waited {
            self.settled.notify_all();
        }
        wakers
    }

    /// What is known, and whether the caller, who now counts as waiting, must ask for a commit.
    fn ask(&self, waker: Option<&Waker>) -> (Option<Known>, bool) {
        // A waker is host code, cloning and dropping included, and has no place under the lock.
        let waker = waker.cloned();
        let mut replaced = None;
        let mut inner = lock(&self.inner);
        match &inner.phase {
            Phase::Settled(outcomes) => return (Some(Ok(Arc::clone(outcomes))), false),
            Phase::Failed(error) => return (Some(Err(error.clone())), false),
            Phase::NotTaken => return (Some(Err(WaitError::NotTaken)), false),
            Phase::Open | Phase::Sequenced => {}
        }
        let sequenced = matches!(inner.phase, Phase::Sequenced);
        let first = !std::mem::replace(&mut inner.waited, !mutant("ticket-forgets-who-waits"));
        if let Some(waker) = waker {
            // A ticket has one future, so the last waker is the one that counts.
            replaced = inner.waker.replace(waker);
        }
        drop(inner);
        drop(replaced);
        (None, sequenced && first)
    }

    /// What is known, without waiting.
    #[cfg(feature = "testing")]
    pub(crate) fn known(&self) -> Option<Known> {
        self.ask(None).0
    }

    /// Where it stands, for people.
    pub(crate) fn describe(&self) -> String {
        match &lock(&self.inner).phase {
            Phase::NotTaken => "waits for a run: call `run` or `run_until_idle`".to_owned(),
            Phase::Open => "is on its way".to_owned(),
            Phase::Sequenced => {
                "has an outcome, and settles when the record with it is released".to_owned()
            }
            Phase::Settled(_) => "has settled".to_owned(),
            Phase::Failed(error) => format!("has failed: {error}"),
        }
    }

    /// Blocks until it is settled, for a thread of the kernel that has asked for a commit itself.
    pub(crate) fn wait_settled(&self) -> Result<(), WaitError> {
        let (known, _) = self.ask(None);
        match known.or_else(|| self.block(None)) {
            Some(known) => known.map(drop),
            // Without a deadline it ends with what is known.
            None => Ok(()),
        }
    }

    /// Blocks until it is settled or the deadline has passed.
    fn block(&self, deadline: Option<Instant>) -> Option<Known> {
        let mut inner = lock(&self.inner);
        loop {
            match &inner.phase {
                Phase::Settled(outcomes) => return Some(Ok(Arc::clone(outcomes))),
                Phase::Failed(error) => return Some(Err(error.clone())),
                _ => {}
            }
            inner = match deadline {
                None => wait(&self.settled, inner),
                Some(deadline) => {
                    let left = deadline.checked_duration_since(Instant::now())?;
                    wait_timeout(&self.inner, &self.settled, inner, left).0
                }
            };
        }
    }
}

/// What a ticket needs of its kernel.
pub(crate) trait Asked: Send + Sync {
    /// Someone waits for something that is sequenced.
    fn demand_commit(&self);
    /// Whether the calling thread runs cranks of this kernel.
    fn is_own_thread(&self) -> bool;
}

/// How the outcomes of an input's deliveries become what the ticket promises.
pub(crate) type Convert<T> = fn(&[Outcome]) -> T;

/// The promise of an outcome. Dropping it cancels nothing.
///
/// It can be waited for by blocking ([`wait`](Self::wait), [`wait_timeout`](Self::wait_timeout)) or
/// with `.await` on any async runtime.
#[must_use = "the outcome is known only to who waits for it; dropping a ticket cancels nothing"]
pub struct Ticket<T> {
    cell: Arc<TicketCell>,
    /// Weak, so that a ticket that outlives its kernel does not keep the journal locked.
    kernel: Weak<dyn Asked>,
    convert: Convert<T>,
}

impl<T> Ticket<T> {
    pub(crate) fn new(cell: Arc<TicketCell>, kernel: Weak<dyn Asked>, convert: Convert<T>) -> Self {
        Self {
            cell,
            kernel,
            convert,
        }
    }

    pub(crate) fn cell(&self) -> Arc<TicketCell> {
        Arc::clone(&self.cell)
    }

    /// The same wait with another view of its outcomes.
    pub(crate) fn converted<U>(self, convert: Convert<U>) -> Ticket<U> {
        Ticket {
            cell: self.cell,
            kernel: self.kernel,
            convert,
        }
    }

    /// Blocks until the outcome is released.
    ///
    /// # Errors
    ///
    /// [`WaitError`]: the outcome will not come this way. It is an outcome, and no error, when the
    /// vat rejected the delivery.
    pub fn wait(&self) -> Result<T, WaitError> {
        let settled = self.wait_until(None)?;
        Ok(settled.expect("without a deadline the wait ends with the outcome"))
    }

    /// Blocks until the outcome is released, for at most `timeout`; `None` when it was not by
    /// then. The ticket can be waited for again.
    ///
    /// # Errors
    ///
    /// As for [`wait`](Self::wait).
    pub fn wait_timeout(&self, timeout: Duration) -> Result<Option<T>, WaitError> {
        self.wait_until(Instant::now().checked_add(timeout))
    }

    fn wait_until(&self, deadline: Option<Instant>) -> Result<Option<T>, WaitError> {
        let known = match self.cell.ask(None) {
            (Some(known), _) => Some(known),
            (None, must_demand) => {
                if let Some(kernel) = self.kernel.upgrade() {
                    if kernel.is_own_thread() {
                        return Err(WaitError::InsideCrank);
                    }
                    if must_demand {
                        kernel.demand_commit();
                    }
                }
                self.cell.block(deadline)
            }
        };
        known
            .transpose()
            .map(|known| known.map(|outcomes| (self.convert)(&outcomes)))
    }
}

impl<T> std::fmt::Debug for Ticket<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ticket")
            .field("phase", &lock(&self.cell.inner).phase)
            .finish()
    }
}

/// The future of a [`Ticket`].
#[must_use = "futures do nothing unless polled"]
pub struct TicketFuture<T> {
    ticket: Ticket<T>,
    output: PhantomData<fn() -> T>,
}

impl<T> std::fmt::Debug for TicketFuture<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.ticket.fmt(f)
    }
}

impl<T> Future for TicketFuture<T> {
    type Output = Result<T, WaitError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let ticket = &self.ticket;
        match ticket.cell.ask(Some(context.waker())) {
            (Some(known), _) => Poll::Ready(known.map(|outcomes| (ticket.convert)(&outcomes))),
            (None, must_demand) => {
                if let Some(kernel) = ticket.kernel.upgrade() {
                    if kernel.is_own_thread() {
                        return Poll::Ready(Err(WaitError::InsideCrank));
                    }
                    if must_demand {
                        kernel.demand_commit();
                    }
                }
                Poll::Pending
            }
        }
    }
}

impl<T> IntoFuture for Ticket<T> {
    type Output = Result<T, WaitError>;
    type IntoFuture = TicketFuture<T>;

    fn into_future(self) -> TicketFuture<T> {
        TicketFuture {
            ticket: self,
            output: PhantomData,
        }
    }
}
