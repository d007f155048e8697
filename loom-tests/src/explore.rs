//! Explores a model to its end.
//!
//! Loom stops *successfully* when a limit of duration or of permutations is reached, and a model
//! can pass because the interesting state never came up. So no limit is ever set here, whatever
//! the environment says; each execution must come to the end of its body; and every state that a
//! model names must have been reached in at least one execution. Where a model is too large, the
//! number of preemptions is bounded, in the model's own text; within that bound it is complete.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use loom::model::Builder;

/// Steps in one execution beyond which a model is taken to run for ever, which fails it.
const STEPS: usize = 10_000;

/// The states that a model must reach, and how often each was.
///
/// It is no part of the model: loom sees nothing of it, and it lives through all executions.
#[derive(Debug, Clone)]
pub struct Seen(Arc<Mutex<BTreeMap<&'static str, usize>>>);

impl Seen {
    fn new(states: &[&'static str]) -> Self {
        Self(Arc::new(Mutex::new(
            states.iter().map(|state| (*state, 0)).collect(),
        )))
    }

    /// Notes that a state was reached.
    ///
    /// # Panics
    ///
    /// When the model did not name the state.
    #[track_caller]
    pub fn note(&self, state: &'static str) {
        let mut states = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *states
            .get_mut(state)
            .expect("the model names its states up front") += 1;
    }

    /// Notes it if the condition holds.
    ///
    /// # Panics
    ///
    /// As [`note`](Self::note).
    #[track_caller]
    pub fn note_if(&self, condition: bool, state: &'static str) {
        if condition {
            self.note(state);
        }
    }

    /// What must be reached and was not.
    fn missing(&self) -> Vec<&'static str> {
        let states = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        states
            .iter()
            .filter(|(_, count)| **count == 0)
            .map(|(state, _)| *state)
            .collect()
    }
}

/// Runs a model in every execution that loom can tell apart.
///
/// # Panics
///
/// When an execution panics, deadlocks, leaks or runs for ever; when one did not come to its end;
/// when a state of `must_reach` was never reached.
#[track_caller]
pub fn explore(must_reach: &[&'static str], body: impl Fn(&Seen) + Send + Sync + 'static) {
    explore_within(None, must_reach, body);
}

/// Runs a model in every execution in which a thread that could go on is interrupted at most
/// `preemptions` times. Threads that block or end may hand over any number of times.
///
/// For models of three threads, of which the executions without a bound are too many.
///
/// # Panics
///
/// As [`explore`].
#[track_caller]
pub fn explore_preempted(
    preemptions: usize,
    must_reach: &[&'static str],
    body: impl Fn(&Seen) + Send + Sync + 'static,
) {
    explore_within(Some(preemptions), must_reach, body);
}

#[track_caller]
fn explore_within(
    preemptions: Option<usize>,
    must_reach: &[&'static str],
    body: impl Fn(&Seen) + Send + Sync + 'static,
) {
    let seen = Seen::new(must_reach);
    let begun = Arc::new(AtomicUsize::new(0));
    let ended = Arc::new(AtomicUsize::new(0));

    let mut builder = Builder::new();
    // Each of these can be set by the environment, and each would end the exploration early.
    builder.max_duration = None;
    builder.max_permutations = None;
    builder.preemption_bound = preemptions;
    builder.checkpoint_file = None;
    builder.max_branches = STEPS;
    {
        let (seen, begun, ended) = (seen.clone(), Arc::clone(&begun), Arc::clone(&ended));
        builder.check(move || {
            begun.fetch_add(1, Ordering::Relaxed);
            body(&seen);
            ended.fetch_add(1, Ordering::Relaxed);
        });
    }

    let (begun, ended) = (begun.load(Ordering::Relaxed), ended.load(Ordering::Relaxed));
    let name = std::thread::current().name().unwrap_or("model").to_owned();
    let bound = preemptions.map_or(String::new(), |most| {
        format!(", at most {most} preemptions")
    });
    println!("explored {name}: {ended} executions{bound}");
    assert!(
        begun == ended && ended > 1,
        "{ended} of {begun} executions came to their end"
    );
    let missing = seen.missing();
    assert!(
        missing.is_empty(),
        "never reached in {ended} executions: {missing:?}"
    );
}
