//! Runs a scenario under many schedules, says how many, and how to repeat one that failed.
//!
//! Half of the schedules are random: at each step any thread that can go on may be next. The other
//! half are of PCT (Burckhardt and others, ASPLOS 2010) with two to five changes of priority: few
//! interruptions at well-chosen moments, which is what most faults need.
//!
//! The environment:
//!
//! * `CRANKCASE_SCHEDULES`: how many schedules each scenario is run under;
//! * `CRANKCASE_SEED`: where chance begins, a number; the same number gives the same schedules;
//! * `CRANKCASE_SCHEDULE`: what a failure printed. Then that schedule alone is run, by the scenario
//!   that it belongs to, and all others pass at once.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler, Task, TaskId};
use shuttle::{Config, FailurePersistence, MaxSteps, Runner};

use crate::schedule::Schedule;

/// Steps beyond which an execution is taken to run for ever, which fails it.
const STEPS: usize = 400_000;

/// What a thread of a scenario may put on its stack, in bytes.
const STACK: usize = 1 << 19;

/// The longest schedule that is printed; a longer one goes into a file, whose name is printed.
const PRINTED: usize = 100_000;

/// How many schedules a scenario is run under, if the environment does not say.
const SCHEDULES: u64 = 1000;

/// How many schedules are enough for every state that a scenario names.
const ENOUGH: usize = 400;

/// The schedule that is being run, as far as it has come.
type Record = Arc<Mutex<Schedule>>;

fn lock(record: &Record) -> MutexGuard<'_, Schedule> {
    record.lock().unwrap_or_else(PoisonError::into_inner)
}

/// SplitMix64.
fn mix(seed: u64) -> u64 {
    let mut mixed = seed;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Chance that a seed repeats.
#[derive(Debug, Default)]
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }
}

/// Lets another scheduler choose, and notes what it chose.
struct Recording<S> {
    choosing: S,
    chance: Chance,
    record: Record,
    next_seed: u64,
}

impl<S: Scheduler> Scheduler for Recording<S> {
    fn new_execution(&mut self) -> Option<shuttle::scheduler::Schedule> {
        let schedule = self.choosing.new_execution()?;
        let seed = mix(self.next_seed);
        self.next_seed += 1;
        self.chance = Chance(seed);
        let mut record = lock(&self.record);
        record.seed = seed;
        record.steps.clear();
        Some(schedule)
    }

    fn next_task(
        &mut self,
        runnable: &[&Task],
        now: Option<TaskId>,
        yields: bool,
    ) -> Option<TaskId> {
        let chosen = self.choosing.next_task(runnable, now, yields)?;
        lock(&self.record).steps.push(usize::from(chosen) as u32);
        Some(chosen)
    }

    fn next_u64(&mut self) -> u64 {
        self.chance.next()
    }
}

/// Runs one schedule once.
struct Repeating {
    schedule: Schedule,
    chance: Chance,
    at: Option<usize>,
}

impl Scheduler for Repeating {
    fn new_execution(&mut self) -> Option<shuttle::scheduler::Schedule> {
        if self.at.is_some() {
            return None;
        }
        self.at = Some(0);
        self.chance = Chance(self.schedule.seed);
        Some(shuttle::scheduler::Schedule::new(self.schedule.seed))
    }

    fn next_task(&mut self, runnable: &[&Task], _: Option<TaskId>, _: bool) -> Option<TaskId> {
        let at = self.at.get_or_insert(0);
        let Some(&thread) = self.schedule.steps.get(*at) else {
            panic!("the schedule ends after {at} steps, and the scenario goes on");
        };
        *at += 1;
        let next = runnable
            .iter()
            .find(|task| usize::from(task.id()) as u32 == thread);
        let Some(next) = next else {
            panic!(
                "thread {thread} cannot take step {at}: this is not the code that the schedule is of"
            );
        };
        Some(next.id())
    }

    fn next_u64(&mut self) -> u64 {
        self.chance.next()
    }
}

fn config() -> Config {
    let mut config = Config::new();
    config.stack_size = STACK;
    config.failure_persistence = FailurePersistence::None;
    config.max_steps = MaxSteps::FailAfter(STEPS);
    config.silence_warnings = true;
    config
}

fn number(variable: &str, otherwise: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => match text.parse() {
            Ok(number) => number,
            Err(_) => panic!("{variable} is {text:?}, and no number"),
        },
        Err(_) => otherwise,
    }
}

/// The schedule that is to be repeated, and the scenario it belongs to.
fn asked_for() -> Option<(String, Schedule)> {
    let asked = std::env::var("CRANKCASE_SCHEDULE").ok()?;
    let read = || {
        if let Some((name, file)) = asked.split_once('@') {
            let text = std::fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
            return Ok((name.to_owned(), text.trim().parse()?));
        }
        let (name, schedule) = asked.split_once('/').ok_or("there is no scenario's name")?;
        Ok((name.to_owned(), schedule.parse()?))
    };
    match read() {
        Ok(found) => Some(found),
        Err(why) => {
            let why: String = why;
            panic!("CRANKCASE_SCHEDULE holds no schedule: {why}");
        }
    }
}

/// What is to be given to `CRANKCASE_SCHEDULE`.
fn described(name: &str, schedule: &Schedule) -> String {
    let text = schedule.to_string();
    if text.len() <= PRINTED {
        return format!("{name}/{text}");
    }
    let mut file: PathBuf = std::env::temp_dir();
    file.push(format!(
        "crankcase-schedule-{}-{}.txt",
        std::process::id(),
        schedule.seed
    ));
    match std::fs::write(&file, &text) {
        Ok(()) => format!("{name}@{}", file.display()),
        Err(_) => format!("{name}/{text}"),
    }
}

/// Runs a scenario under schedules that a scheduler chooses.
///
/// # Errors
///
/// The first schedule that fails, and its panic.
fn run<S: Scheduler + 'static>(
    choosing: S,
    seed: u64,
    scenario: &Arc<impl Fn() + Send + Sync + 'static>,
) -> Result<usize, (Schedule, Box<dyn std::any::Any + Send>)> {
    let record = Record::default();
    let scheduler = Recording {
        choosing,
        chance: Chance::default(),
        record: Arc::clone(&record),
        next_seed: seed,
    };
    let scenario = Arc::clone(scenario);
    let runner = Runner::new(scheduler, config());
    catch_unwind(AssertUnwindSafe(|| runner.run(move || scenario())))
        .map_err(|panic| (lock(&record).clone(), panic))
}

/// Runs a scenario once, under a schedule that was noted.
///
/// # Panics
///
/// When the scenario fails, or the schedule is not one of this scenario and this code.
pub fn repeat(schedule: Schedule, scenario: impl Fn() + Send + Sync + 'static) {
    let scheduler = Repeating {
        schedule,
        chance: Chance::default(),
        at: None,
    };
    Runner::new(scheduler, config()).run(scenario);
}

/// Runs a scenario once, under a random schedule that the seed chooses, and gives the schedule.
///
/// # Panics
///
/// When the scenario fails.
pub fn once(seed: u64, scenario: impl Fn() + Send + Sync + 'static) -> Schedule {
    let record = Record::default();
    let scheduler = Recording {
        choosing: RandomScheduler::new_from_seed(seed, 1),
        chance: Chance::default(),
        record: Arc::clone(&record),
        next_seed: seed,
    };
    Runner::new(scheduler, config()).run(scenario);
    std::mem::take(&mut *lock(&record))
}

/// The states that a scenario must reach, and how often each was. It lives through all schedules and
/// is no part of them.
#[derive(Debug, Clone)]
pub struct Seen(Arc<Mutex<BTreeMap<&'static str, usize>>>);

impl Seen {
    fn new(states: &[&'static str]) -> Self {
        let states = states.iter().map(|state| (*state, 0));
        Self(Arc::new(Mutex::new(states.collect())))
    }

    fn states(&self) -> MutexGuard<'_, BTreeMap<&'static str, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a state was reached.
    ///
    /// # Panics
    ///
    /// When the scenario did not name the state.
    #[track_caller]
    pub fn note(&self, state: &'static str) {
        let mut states = self.states();
        let times = states.get_mut(state);
        *times.expect("the scenario names its states up front") += 1;
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

    fn missing(&self) -> Vec<&'static str> {
        let states = self.states();
        let missing = states.iter().filter(|(_, times)| **times == 0);
        missing.map(|(state, _)| *state).collect()
    }
}

/// Runs a scenario under as many schedules as the environment says. Under at least one of them it
/// must reach each state that it names.
///
/// # Panics
///
/// When the scenario fails under a schedule; the line that repeats it is printed before. When a
/// state of `must_reach` was never reached.
#[track_caller]
pub fn explore(must_reach: &[&'static str], scenario: impl Fn(&Seen) + Send + Sync + 'static) {
    let thread = std::thread::current();
    let name = thread
        .name()
        .expect("a test runs on a thread with its name");
    let seen = Seen::new(must_reach);
    let scenario = {
        let seen = seen.clone();
        move || scenario(&seen)
    };
    if let Some((of, schedule)) = asked_for() {
        if of == name {
            println!("repeating {} steps of {name}", schedule.steps.len());
            repeat(schedule, scenario);
            println!("the schedule did not fail");
        }
        return;
    }
    let wanted = number("CRANKCASE_SCHEDULES", SCHEDULES).max(8) as usize;
    let seed = mix(number("CRANKCASE_SEED", 0));
    let scenario = Arc::new(scenario);
    let random = RandomScheduler::new_from_seed(seed, wanted / 2);
    let explored = run(random, seed, &scenario).and_then(|random| {
        let mut explored = random;
        for depth in 2..=5 {
            let seed = mix(seed + depth);
            let changing = PctScheduler::new_from_seed(seed, depth as usize, wanted / 8);
            explored += run(changing, seed, &scenario)?;
        }
        Ok(explored)
    });
    let explored = match explored {
        Ok(explored) => explored,
        Err((schedule, panic)) => {
            println!(
                "failed {name} after {} steps; to repeat it:\nCRANKCASE_SCHEDULE='{}' shuttle-tests/run",
                schedule.steps.len(),
                described(name, &schedule)
            );
            resume_unwind(panic);
        }
    };
    println!("explored {name}: {explored} schedules");
    let missing = seen.missing();
    // A few schedules may well pass a rare state by.
    assert!(
        missing.is_empty() || wanted < ENOUGH,
        "never reached under {explored} schedules: {missing:?}"
    );
}
