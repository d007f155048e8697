//! Hosts in every shape that a kernel has.

use std::ops::Deref;
use std::panic::PanicHookInfo;
use std::path::Path;
use std::sync::{Arc, Once};
use std::time::Duration;

use crankcase::{
    CommitOrder, Kernel, KernelBuilder, Outcome, Ref, RunError, SendError, Target, Ticket, VatId,
    WaitError,
};

use crate::actor::{Actor, PLAY, Said, Step};
use crate::watch::Watch;
use crate::yard::Yard;

/// How long a test waits for what must come. Far above what it takes: a wait that ends by it is a
/// hang.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// In which order, and by how many workers, cranks run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// The order.
    pub order: CommitOrder,
    /// The workers.
    pub workers: usize,
}

/// The shape that tests use to which the shape is all one.
pub const PLAIN: Shape = Shape {
    order: CommitOrder::Completion,
    workers: 2,
};

/// Goes through a scenario in both orders with one, two and four workers.
#[track_caller]
pub fn in_every_shape(scenario: impl FnMut(Shape)) {
    in_each_order_with(&[1, 2, 4], scenario);
}

/// Goes through a scenario in both orders with one and four workers, for scenarios of which there
/// are many.
#[track_caller]
pub fn in_each_order_with_one_and_four_workers(scenario: impl FnMut(Shape)) {
    in_each_order_with(&[1, 4], scenario);
}

#[track_caller]
fn in_each_order_with(workers: &[usize], mut scenario: impl FnMut(Shape)) {
    for order in [CommitOrder::Completion, CommitOrder::Dispatch] {
        for &workers in workers {
            let shape = Shape { order, workers };
            let watch = Watch::new(format!("{shape:?}"));
            // A failed assertion says its line and not the shape, which is half of the news.
            let shown = ShowOnPanic(shape);
            scenario(shape);
            drop((watch, shown));
        }
    }
}

struct ShowOnPanic(Shape);

impl Drop for ShowOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("… with {:?}", self.0);
        }
    }
}

impl Shape {
    /// A builder of this shape that knows the [`Actor`].
    pub fn builder(self, dir: impl AsRef<Path>, yard: &Arc<Yard>) -> KernelBuilder {
        keep_planned_panics_quiet();
        let builder = Kernel::builder(dir).order(self.order).workers(self.workers);
        // What is counted is counted again from nothing, after every record of every scenario.
        let builder = builder.audit_counts(true);
        builder.kind::<Actor>(Arc::clone(yard))
    }

    /// Opens a host.
    ///
    /// # Panics
    ///
    /// When it does not open.
    #[must_use]
    #[track_caller]
    pub fn open(self, dir: impl AsRef<Path>) -> Host {
        self.open_with(dir, |builder| builder)
    }

    /// Opens a host with more settings.
    ///
    /// # Panics
    ///
    /// When it does not open.
    #[must_use]
    #[track_caller]
    pub fn open_with(
        self,
        dir: impl AsRef<Path>,
        settings: impl FnOnce(KernelBuilder) -> KernelBuilder,
    ) -> Host {
        let yard = Yard::new();
        match settings(self.builder(dir, &yard)).open() {
            Ok(kernel) => Host {
                kernel,
                yard,
                order: self.order,
            },
            Err(error) => panic!("the kernel does not open: {error}"),
        }
    }
}

/// A kernel and what its vats can reach. It settles tickets in both orders.
#[derive(Debug)]
pub struct Host {
    kernel: Kernel,
    /// What its vats can reach.
    pub yard: Arc<Yard>,
    order: CommitOrder,
}

impl Deref for Host {
    type Target = Kernel;

    fn deref(&self) -> &Kernel {
        &self.kernel
    }
}

impl Host {
    /// The outcome of a ticket, after a run where the order needs one.
    ///
    /// # Panics
    ///
    /// When none comes.
    #[track_caller]
    pub fn settled<T>(&self, ticket: &Ticket<T>) -> T {
        self.run_if_needed().expect("the run ends well");
        settled(ticket)
    }

    /// In `Dispatch` order, runs until idle.
    ///
    /// # Errors
    ///
    /// What the run said.
    pub fn run_if_needed(&self) -> Result<(), RunError> {
        match self.order {
            CommitOrder::Dispatch => self.kernel.run_until_idle(),
            CommitOrder::Completion => Ok(()),
        }
    }

    /// Makes an actor.
    ///
    /// # Panics
    ///
    /// When it is not made.
    #[must_use]
    #[track_caller]
    pub fn actor(&self) -> Ref {
        let made = self.kernel.spawn("actor", &Vec::<Step>::new());
        let made = self.settled(&made.expect("the spawn is taken"));
        Ref::to(made.expect("an actor starts"))
    }

    /// Makes that many actors in one input.
    ///
    /// # Panics
    ///
    /// When they are not made.
    #[must_use]
    #[track_caller]
    pub fn actors(&self, count: usize) -> Vec<Ref> {
        let mut batch = self.kernel.batch();
        let none = Vec::<Step>::new();
        let ids = (0..count).map(|_| batch.spawn("actor", &none).expect("the batch takes it"));
        let ids: Vec<Ref> = ids.map(Ref::to).collect();
        let made = self.settled(&batch.submit().expect("the batch is taken"));
        assert!(made.iter().all(Result::is_ok), "actors start: {made:?}");
        ids
    }

    /// Sends steps to an actor.
    ///
    /// # Errors
    ///
    /// What the kernel says to them.
    pub fn tell(
        &self,
        to: impl Into<Target>,
        steps: &[Step],
    ) -> Result<Ticket<Outcome>, SendError> {
        self.kernel.send(to, PLAY, steps)
    }

    /// Sends steps to an actor and waits for the outcome.
    ///
    /// # Panics
    ///
    /// When none comes.
    #[track_caller]
    pub fn play(&self, to: impl Into<Target>, steps: &[Step]) -> Outcome {
        self.settled(&self.tell(to, steps).expect("the message is taken"))
    }

    /// What an actor says to steps that must succeed.
    ///
    /// # Panics
    ///
    /// When they do not.
    #[must_use]
    #[track_caller]
    pub fn said(&self, to: impl Into<Target>, steps: &[Step]) -> Vec<Said> {
        said(&self.play(to, steps))
    }

    /// An actor as it is.
    ///
    /// # Panics
    ///
    /// When it cannot be read.
    #[must_use]
    #[track_caller]
    pub fn look(&self, at: impl Into<VatId>) -> Actor {
        self.kernel
            .read(at.into(), Actor::clone)
            .expect("the actor can be read")
    }

    /// Waits until nothing is left to run.
    ///
    /// # Panics
    ///
    /// When that does not come about.
    #[track_caller]
    pub fn idle(&self) {
        self.kernel
            .run_until_idle()
            .expect("the kernel becomes idle");
    }

    /// Closes the kernel.
    ///
    /// # Panics
    ///
    /// When it does not close well.
    #[track_caller]
    pub fn close(self) {
        self.kernel.close(PATIENCE).expect("the kernel closes");
    }

    /// Gives the kernel, for a test that wants to close it in its own way or share it.
    #[must_use]
    pub fn into_kernel(self) -> Kernel {
        self.kernel
    }
}

/// The outcome of a ticket that settles without a run.
///
/// # Panics
///
/// When none comes.
#[track_caller]
pub fn settled<T>(ticket: &Ticket<T>) -> T {
    match ticket.wait_timeout(PATIENCE) {
        Ok(Some(outcome)) => outcome,
        Ok(None) => panic!("the ticket does not settle: {ticket:?}"),
        Err(error) => panic!("the ticket fails: {error}"),
    }
}

/// How a ticket failed.
///
/// # Panics
///
/// When it did not.
#[track_caller]
pub fn failed<T: std::fmt::Debug>(ticket: &Ticket<T>) -> WaitError {
    match ticket.wait_timeout(PATIENCE) {
        Ok(outcome) => panic!("the ticket has not failed: {outcome:?}"),
        Err(error) => error,
    }
}

/// What an actor said.
///
/// # Panics
///
/// When it was rejected.
#[must_use]
#[track_caller]
pub fn said(outcome: &Outcome) -> Vec<Said> {
    match outcome {
        Ok(answer) => answer.decode().expect("an actor answers with what it said"),
        Err(rejection) => panic!("the actor was rejected: {rejection}"),
    }
}

/// Panics that a test has planned are no news on its output.
pub(crate) fn keep_planned_panics_quiet() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let tell = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
            if !info.to_string().contains("on purpose") {
                tell(info);
            }
        }));
    });
}
