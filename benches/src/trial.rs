//! One run of a workload, on a kernel or on the floor, and finding the scale for it.

use std::path::Path;
use std::time::{Duration, Instant};

use crankcase::raw::Vat;
use crankcase::{CommitOrder, Kernel, KernelBuilder, Rejection, Stats};

use crate::Fallible;
use crate::actor::{self, Member, vat_of};
use crate::floor;
use crate::scratch::Scratch;
use crate::workloads::{Plan, Workload};

/// How long a kernel of a measurement may take to close.
pub const CLOSING: Duration = Duration::from_secs(60);

/// What one run took.
#[derive(Debug, Clone, Copy)]
pub struct Trial {
    /// The messages that are counted.
    pub messages: u64,
    /// From handing in the first note until everything was durable.
    pub elapsed: Duration,
}

impl Trial {
    /// Messages per second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.messages as f64 / self.elapsed.as_secs_f64()
    }
}

/// Who runs a workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runner {
    /// The kernel, all defaults but these.
    Kernel {
        /// The commit order.
        order: CommitOrder,
        /// How many workers.
        workers: usize,
    },
    /// The floor of this crate.
    Floor {
        /// How many threads run actors.
        workers: usize,
    },
}

impl Runner {
    /// Runs a workload once, from nothing.
    ///
    /// # Errors
    ///
    /// Whatever went wrong; nothing of the trial counts then.
    pub fn run(self, workload: Workload, scale: u64, dir: Option<&Path>) -> Fallible<Trial> {
        let plan = workload.plan(scale);
        match self {
            Self::Floor { workers } => {
                let scratch = Scratch::new(dir)?;
                let messages = plan.messages;
                let elapsed = floor::run(plan, workers, &scratch.join("floor.log"))?;
                Ok(Trial { messages, elapsed })
            }
            Self::Kernel { order, workers } => {
                let scratch = Scratch::new(dir)?;
                let builder = Kernel::builder(scratch.join("journal"));
                let run = KernelRun::prepare(builder.workers(workers).order(order), &plan)?;
                let trial = run.start(&plan)?;
                run.kernel.close(CLOSING)?;
                Ok(trial)
            }
        }
    }

    /// The scale at which a run takes about `target`.
    ///
    /// # Errors
    ///
    /// As for [`run`](Self::run).
    pub fn calibrate(
        self,
        workload: Workload,
        target: Duration,
        dir: Option<&Path>,
    ) -> Fallible<u64> {
        let enough = target.min(Duration::from_millis(150));
        let mut scale = workload.first_scale();
        loop {
            let trial = self.run(workload, scale, dir)?;
            if trial.elapsed >= enough || scale >= workload.max_scale() {
                let wanted = target.as_secs_f64() / trial.elapsed.as_secs_f64();
                // Rounded down to a whole number of round trips, hops or rounds.
                let scale = (scale as f64 * wanted) as u64;
                return Ok(scale.clamp(1, workload.max_scale()));
            }
            scale = (scale * 4).min(workload.max_scale());
        }
    }
}

/// A kernel with a workload's actors in it, ready to start.
#[derive(Debug)]
pub struct KernelRun {
    /// The kernel.
    pub kernel: Kernel,
}

impl KernelRun {
    /// Opens the kernel and makes the actors.
    ///
    /// # Errors
    ///
    /// Whatever went wrong.
    pub fn prepare(builder: KernelBuilder, plan: &Plan) -> Fallible<Self> {
        let kernel = builder.kind::<Member>(()).open()?;
        actor::spawn(&kernel, plan)?;
        Ok(Self { kernel })
    }

    /// Runs the workload to its end, durable.
    ///
    /// # Errors
    ///
    /// Whatever went wrong; also when other cranks ran than the plan foresees, because the rate
    /// would then be one of something else.
    pub fn start(&self, plan: &Plan) -> Fallible<Trial> {
        let before = self.kernel.stats();
        let begun = Instant::now();
        let mut batch = self.kernel.batch();
        for &actor in &plan.starts {
            batch.send(vat_of(actor), plan.first.method.name(), &plan.first.args)?;
        }
        let started = batch.submit()?;
        self.kernel.run_until_idle()?;
        let elapsed = begun.elapsed();
        started
            .wait()?
            .into_iter()
            .collect::<Result<Vec<_>, Rejection>>()?;
        check_cranks(&before, &self.kernel.stats(), plan.received)?;
        Ok(Trial {
            messages: plan.messages,
            elapsed,
        })
    }
}

/// Makes vats of one kind from their states, in their order, and waits until they live.
///
/// # Errors
///
/// Whatever went wrong.
pub fn spawn_all<V: Vat>(kernel: &Kernel, states: &[V]) -> Fallible<()> {
    // Below the bound on a host's input, whatever the states hold.
    for chunk in states.chunks(10_000) {
        let mut batch = kernel.batch();
        for state in chunk {
            batch.spawn(V::KIND, state)?;
        }
        let spawned = batch.submit()?;
        kernel.run_until_idle()?;
        spawned
            .wait()?
            .into_iter()
            .collect::<Result<Vec<_>, Rejection>>()?;
    }
    Ok(())
}

/// An error unless so many cranks ran in between, none abandoned.
///
/// # Errors
///
/// When it was otherwise.
pub fn check_cranks(before: &Stats, after: &Stats, expected: u64) -> Fallible<()> {
    let cranks = after.cranks - before.cranks;
    let abandoned = after.abandoned - before.abandoned;
    if cranks == expected && abandoned == 0 {
        Ok(())
    } else {
        Err(format!("{cranks} cranks ran instead of {expected}, {abandoned} abandoned").into())
    }
}
