//! How many runs, of what, with what going wrong; and what is said of one that broke a law.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crankcase_vat::{KindError, Kinds, Limits, Seq, Shared, Vat};

use super::simulation::Simulation;
use super::world::{Stopped, World};
use crate::inspect::RecordView;
use crate::order::CommitOrder;

/// The environment variable that says which run is to be done alone: a seed, and behind it,
/// separated by commas, `crashes=N` (no more than the first N crashes) and `steps=N` (no further
/// than the Nth step).
pub const SEED_VARIABLE: &str = "CRANKCASE_SEED";

/// Seeds that are tried to find a shorter run that breaks a law too.
const SHORTER: u64 = 200;

/// What a body returns: anything may go wrong in a test.
pub type Checked = Result<(), Box<dyn std::error::Error>>;

/// Chooses what is simulated. Nothing of it but the seed differs between two runs.
#[derive(Clone)]
#[must_use = "nothing is run until `check` or `run` is called"]
pub struct Options {
    kinds: Kinds,
    kind_error: Option<KindError>,
    limits: Limits,
    check_canonical: bool,
    seeds: u64,
    pub(super) order: CommitOrder,
    pub(super) random_seed: [u8; 32],
    pub(super) crash_every: Option<u64>,
    pub(super) crashes: Option<u64>,
    pub(super) steps: Option<u64>,
}

/// What a run, or several, came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Figures {
    /// Runs.
    pub runs: u64,
    /// Things that the seeds picked.
    pub steps: u64,
    /// Records in the orders at their ends, each of them run again.
    pub records: u64,
    /// Crashes that were recovered from.
    pub crashes: u64,
    /// How often a law was looked at.
    pub laws_checked: u64,
}

impl Figures {
    /// Adds what others came to.
    pub fn add(&mut self, other: &Self) {
        self.runs += other.runs;
        self.steps += other.steps;
        self.records += other.records;
        self.crashes += other.crashes;
        self.laws_checked += other.laws_checked;
    }
}

/// A run that broke a law.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failure {
    /// Its seed.
    pub seed: u64,
    /// At which step.
    pub step: u64,
    /// Crashes before it.
    pub crashes: u64,
    /// What is wrong.
    pub what: String,
    /// The last record that had its place.
    pub seq: Seq,
    /// That record.
    pub record: Option<RecordView>,
    pub(super) limits: String,
}

impl Failure {
    /// What [`SEED_VARIABLE`] is to be for this run.
    #[must_use]
    pub fn again(&self) -> String {
        format!("{}{}", self.seed, self.limits)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seed, step, crashes, seq) = (self.seed, self.step, self.crashes, self.seq);
        writeln!(
            f,
            "seed {seed}, step {step}, crashes {crashes}, record {seq}:"
        )?;
        writeln!(f, "{}", self.what)?;
        if let Some(record) = &self.record {
            writeln!(f, "the last record:\n{record}")?;
        }
        write!(
            f,
            "alone again: {SEED_VARIABLE}={} cargo test",
            self.again()
        )?;
        match std::thread::current().name() {
            Some(name) if name != "main" => write!(f, " {name}"),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for Failure {}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}

impl Options {
    /// A hundred seeds, [`CommitOrder::Completion`], no crashes but those that the body asks for.
    pub fn new() -> Self {
        Self {
            kinds: Kinds::new(),
            kind_error: None,
            limits: Limits::default(),
            check_canonical: false,
            seeds: 100,
            order: CommitOrder::default(),
            random_seed: [0; 32],
            crash_every: None,
            crashes: None,
            steps: None,
        }
    }

    /// Registers a kind of vat, as [`KernelBuilder::kind`](crate::KernelBuilder::kind). What the host
    /// gives to all vats of it is shared by all runs.
    pub fn kind<V: Vat>(mut self, env: V::Env) -> Self {
        if let Err(error) = self.kinds.add::<V>(env) {
            self.kind_error.get_or_insert(error);
        }
        self
    }

    /// How the total order comes about. In [`CommitOrder::Dispatch`] the seed does not change the
    /// order of records; it changes how far cranks run ahead, what is in memory, and crashes.
    pub fn order(mut self, order: CommitOrder) -> Self {
        self.order = order;
        self
    }

    /// Bounds for each crank.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The key of all randomness of the vats.
    pub fn random_seed(mut self, seed: [u8; 32]) -> Self {
        self.random_seed = seed;
        self
    }

    /// As [`KernelBuilder::check_canonical`](crate::KernelBuilder::check_canonical). Without it a state
    /// that is not canonical is found by its effects, when a vat has left memory and come back.
    pub fn check_canonical(mut self, check: bool) -> Self {
        self.check_canonical = check;
        self
    }

    /// How many seeds [`check`](Self::check) runs: the first that many.
    pub fn seeds(mut self, seeds: u64) -> Self {
        self.seeds = seeds;
        self
    }

    /// Has each step be a crash with a chance of one in `every`, which loses a suffix of the order
    /// that nobody was told of. The body then meets
    /// [`WaitError::Indeterminate`](crate::WaitError::Indeterminate) anywhere.
    pub fn crash_every(mut self, every: u64) -> Self {
        self.crash_every = (every > 0).then_some(every);
        self
    }

    /// No more than the first `most` of the crashes that [`crash_every`](Self::crash_every) gives.
    /// Up to there a run is the same as with more: for finding the crash that matters.
    pub fn most_crashes(mut self, most: u64) -> Self {
        self.crashes = Some(most);
        self
    }

    /// Ends each run, as one that broke no law, behind that many steps: for halving.
    pub fn most_steps(mut self, most: u64) -> Self {
        self.steps = Some(most);
        self
    }

    pub(super) fn shared(&self) -> Shared {
        Shared {
            kinds: self.kinds.clone(),
            limits: self.limits,
            seed: self.random_seed,
            check_canonical: self.check_canonical,
        }
    }

    pub(super) fn limits_text(&self) -> String {
        let limit = |name: &str, most: Option<u64>| match most {
            Some(most) => format!(",{name}={most}"),
            None => String::new(),
        };
        limit("crashes", self.crashes) + &limit("steps", self.steps)
    }

    /// Runs `body` once for each seed, or for the one that [`SEED_VARIABLE`] names.
    ///
    /// # Panics
    ///
    /// With a [`Failure`] of the first seed that breaks a law, and a shorter run that does too if one
    /// is found: a law of the body's, an error or a panic of the body, or one that holds of every run.
    pub fn check(self, body: impl Fn(&Simulation) -> Checked) -> Figures {
        let mut figures = Figures::default();
        if let Ok(again) = std::env::var(SEED_VARIABLE) {
            let (options, seed) = self.again(&again);
            match options.run(seed, body) {
                Ok(run) => figures.add(&run),
                Err(failure) => panic!("{failure}"),
            }
            return figures;
        }
        for seed in 0..self.seeds {
            match self.run(seed, &body) {
                Ok(run) => figures.add(&run),
                Err(failure) => panic!("{}", self.report(&failure, &body)),
            }
        }
        figures
    }

    fn again(mut self, text: &str) -> (Self, u64) {
        let number = |text: &str| {
            let number = text.parse::<u64>();
            number.unwrap_or_else(|_| panic!("{SEED_VARIABLE}: {text:?} is no number"))
        };
        let mut parts = text.split(',');
        let seed = number(parts.next().unwrap_or_default());
        for part in parts {
            match part.split_once('=') {
                Some(("crashes", most)) => self.crashes = Some(number(most)),
                Some(("steps", most)) => self.steps = Some(number(most)),
                _ => panic!("{SEED_VARIABLE}: {part:?} is neither crashes=N nor steps=N"),
            }
        }
        (self, seed)
    }

    /// The failure, and one of a shorter run.
    fn report(&self, failure: &Failure, body: &impl Fn(&Simulation) -> Checked) -> String {
        match self.shorter(failure, body) {
            None => failure.to_string(),
            Some(shorter) => format!("{failure}\n\na shorter run that fails:\n{shorter}"),
        }
    }

    /// A run with fewer crashes or fewer steps that fails too.
    fn shorter(
        &self,
        failure: &Failure,
        body: &impl Fn(&Simulation) -> Checked,
    ) -> Option<Box<Failure>> {
        let mut best: Option<Box<Failure>> = None;
        let mut options = self.clone();
        for most in 0..failure.crashes {
            options.crashes = Some(most);
            if let Err(found) = options.run(failure.seed, body) {
                best = Some(found);
                break;
            }
        }
        if best.is_none() {
            options = self.clone();
        }
        for seed in 0..SHORTER {
            let most = best.as_ref().map_or(failure.step, |best| best.step);
            options.steps = Some(most.checked_sub(1)?);
            if let Err(found) = options.run(seed, body) {
                best = Some(found);
            }
        }
        best
    }

    /// Does one run.
    ///
    /// # Errors
    ///
    /// [`Failure`] when it breaks a law.
    pub fn run(
        &self,
        seed: u64,
        body: impl Fn(&Simulation) -> Checked,
    ) -> Result<Figures, Box<Failure>> {
        if let Some(error) = &self.kind_error {
            panic!("{error}");
        }
        let world = World::new(self, seed);
        let sim = Simulation::new(world.unwrap_or_else(|why| panic!("{why}")), self.shared());
        let ran = catch_unwind(AssertUnwindSafe(|| {
            if let Err(error) = body(&sim) {
                sim.fail(format!("the body failed: {error}"));
            }
            sim.end();
        }));
        if let Err(why) = ran
            && !why.is::<Stopped>()
        {
            return Err(Box::new(match why.downcast::<Failure>() {
                Ok(failure) => *failure,
                Err(panic) => sim.failure(format!("a panic: {}", said(&*panic))),
            }));
        }
        match sim.check_replay() {
            Ok(figures) => Ok(figures),
            Err(why) => Err(Box::new(sim.failure(why))),
        }
    }
}

fn said(panic: &(dyn Any + Send)) -> &str {
    match (panic.downcast_ref::<String>(), panic.downcast_ref::<&str>()) {
        (Some(said), _) => said,
        (_, Some(said)) => said,
        _ => "it said nothing",
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("kinds", &self.kinds)
            .field("order", &self.order)
            .field("seeds", &self.seeds)
            .field("crash_every", &self.crash_every)
            .field("most_crashes", &self.crashes)
            .field("most_steps", &self.steps)
            .finish_non_exhaustive()
    }
}
