//! Random programs on the kernel that is tested and on one that is as simple as can be, side by side.
//!
//! | part | is |
//! |---|---|
//! | [`mod@puppet`] | a small language, and the vat that speaks it |
//! | [`mod@program`] | what a host does with puppets, made up at random and cut down by proptest |
//! | [`mod@play`] | a program on a real kernel, with all that its host was told |
//! | [`mod@serial`] | the simple kernel: one thread, plain maps, counts made anew after each record |
//!
//! In dispatch order everything is compared: each record byte for byte, for several numbers of
//! workers and for settings that move vats, rows and bodies to the disk and back. In completion order
//! the journal says whose crank came next, and everything else is compared: the record that the
//! simple kernel makes of that crank, and what the host was told. The laws ([`crate::laws`]) are
//! checked on every journal.

pub mod play;
pub mod program;
pub mod puppet;
pub mod serial;

use std::collections::BTreeMap;

use crankcase::CommitOrder;
use crankcase_vat::record::{Act, Record};
use crankcase_vat::{Body, Kinds, RecordBytes};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use self::play::{Played, Told, play};
use self::program::{Program, Settings, Trouble, program, settings};
use self::puppet::{Newer, Older};
use self::serial::Serial;
use crate::laws::{self, Laws};
use crate::watch::Watch;

/// What was compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Figures {
    /// Programs.
    pub programs: u64,
    /// Kernels that played them.
    pub kernels: u64,
    /// Records that the simple kernel made as well, and on which the laws were checked.
    pub records: u64,
    /// Outcomes that a host was told and that the simple kernel came to as well.
    pub outcomes: u64,
    /// Kernels that were lost.
    pub crashes: u64,
    /// Kernels that were opened again.
    pub reopenings: u64,
}

impl std::ops::AddAssign for Figures {
    fn add_assign(&mut self, more: Self) {
        self.programs += more.programs;
        self.kernels += more.kernels;
        self.records += more.records;
        self.outcomes += more.outcomes;
        self.crashes += more.crashes;
        self.reopenings += more.reopenings;
    }
}

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// Dispatch order: one journal for 1, 2, 3 and 8 workers and any settings, over restarts.
    Dispatch,
    /// Completion order, over restarts.
    Completion,
    /// Both orders, with kernels that are lost.
    Crashes,
}

/// How many deliveries of the host stand in these records.
#[must_use]
pub fn asked_in(records: &[RecordBytes]) -> usize {
    let mut asked = 0;
    for bytes in records {
        if let Ok(Record::Input(input)) = Record::parse(bytes) {
            for act in input.entries().flatten().flat_map(|entry| entry.acts()) {
                asked += usize::from(act.is_ok_and(|act| act.is_delivery()));
            }
        }
    }
    asked
}

/// The request ids that are known after these records, and which of the host's deliveries each stands for.
#[must_use]
pub fn requests_in(records: &[RecordBytes]) -> BTreeMap<String, usize> {
    let (mut known, mut asked) = (BTreeMap::new(), 0);
    for bytes in records {
        let Ok(Record::Input(input)) = Record::parse(bytes) else {
            continue;
        };
        for entry in input.entries().flatten() {
            if let Some(request) = entry.request {
                known.insert(request.id.to_owned(), asked);
            }
            for act in entry.acts().flatten() {
                if let Act::Forget { request } = act {
                    known.remove(request);
                }
                asked += usize::from(act.is_delivery());
            }
        }
    }
    known
}

/// Makes up `programs` programs from a seed, and compares.
///
/// # Panics
///
/// When something differs: with the smallest program that shows it, and the seed.
pub fn round(comparison: Comparison, seed: u64, programs: u32) -> Figures {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &key);
    // What the environment says of shrinking holds.
    let known = Config::default();
    let config = Config {
        cases: programs,
        failure_persistence: None,
        max_shrink_iters: known.max_shrink_iters.min(2000),
        ..known
    };
    let mut runner = TestRunner::new_with_rng(config, random);
    let figures = std::cell::Cell::new(Figures::default());
    let note = |more: Figures| {
        let mut sum = figures.get();
        sum += more;
        figures.set(sum);
    };
    let compared = match comparison {
        Comparison::Dispatch => {
            let four = [1usize, 2, 3, 8].map(|workers| settings(proptest::prelude::Just(workers)));
            let made_up = (program(Trouble::Reopenings, 24), four);
            runner
                .run(&made_up, |(program, settings)| {
                    note(guarded(|| in_dispatch_order(&program, settings))?);
                    Ok(())
                })
                .map_err(|error| told(&error))
        }
        Comparison::Completion => {
            let workers = proptest::sample::select(vec![1usize, 2, 3, 8]);
            let made_up = (program(Trouble::Reopenings, 30), settings(workers));
            runner
                .run(&made_up, |(program, settings)| {
                    note(guarded(|| {
                        one(CommitOrder::Completion, &program, settings)
                    })?);
                    Ok(())
                })
                .map_err(|error| told(&error))
        }
        Comparison::Crashes => {
            let workers = proptest::sample::select(vec![1usize, 2, 3]);
            let order =
                proptest::sample::select(vec![CommitOrder::Completion, CommitOrder::Dispatch]);
            let made_up = (program(Trouble::Crashes, 30), settings(workers), order);
            runner
                .run(&made_up, |(program, settings, order)| {
                    note(guarded(|| one(order, &program, settings))?);
                    Ok(())
                })
                .map_err(|error| told(&error))
        }
    };
    if let Err(what) = compared {
        panic!("{comparison:?}, seed {seed}, {programs} programs: {what}");
    }
    figures.get()
}

fn told<T: std::fmt::Debug>(error: &TestError<T>) -> String {
    match error {
        TestError::Abort(why) => why.to_string(),
        TestError::Fail(why, program) => format!("{why}\nthe smallest found: {program:#?}"),
    }
}

/// Takes a panic for what failed, so that it is cut down. A program that hangs ends all.
fn guarded(compare: impl FnOnce() -> Figures) -> Result<Figures, TestCaseError> {
    let _watch = Watch::new("a random program".to_owned());
    let compared = std::panic::catch_unwind(std::panic::AssertUnwindSafe(compare));
    compared.map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        TestCaseError::fail(text.unwrap_or_else(|| "a panic without words".to_owned()))
    })
}

fn in_dispatch_order(program: &Program, settings: [Settings; 4]) -> Figures {
    let mut figures = Figures::default();
    let mut first: Option<Played> = None;
    for settings in settings {
        // One must keep all records, to be followed.
        let drops = settings.drops && first.is_some();
        let settings = Settings { drops, ..settings };
        let played = play(CommitOrder::Dispatch, settings, program);
        figures.kernels += 1;
        figures.reopenings += played.reopenings;
        match &first {
            None => first = Some(played),
            Some(first) => {
                assert_eq!(first.end, played.end, "one order with {settings:?}");
                assert_eq!(first.told, played.told, "one answer with {settings:?}");
                assert_eq!(first.states, played.states, "one state with {settings:?}");
            }
        }
    }
    let first = first.expect("there is one");
    figures += followed(CommitOrder::Dispatch, &first);
    figures.programs = 1;
    figures
}

fn one(order: CommitOrder, program: &Program, settings: Settings) -> Figures {
    let settings = Settings {
        drops: false,
        ..settings
    };
    let played = play(order, settings, program);
    let mut figures = followed(order, &played);
    figures.programs = 1;
    figures.kernels = 1;
    figures.crashes = played.crashes;
    figures.reopenings = played.reopenings;
    figures
}

/// Checks a journal and what its host was told against the laws and the simple kernel.
fn followed(order: CommitOrder, played: &Played) -> Figures {
    let records = laws::records_of(&played.scratch.dir());
    let records = records.expect("it keeps all records");
    let laws = Laws::check(&records).unwrap_or_else(|broken| panic!("{broken}"));
    let mut kinds = Kinds::new();
    kinds.add::<Older>(()).expect("a kind");
    kinds.add::<Newer>(()).expect("a kind");
    let mut serial = Serial::new(order, kinds, play::SEED);
    for bytes in &records {
        if let Err(broken) = serial.follow(bytes) {
            panic!("{broken}");
        }
    }
    let mut figures = Figures {
        records: laws.records(),
        ..Figures::default()
    };
    if played.idle {
        assert_eq!(serial.waiting(), 0, "nothing waits at the end");
        laws.nothing_waits()
            .unwrap_or_else(|broken| panic!("{broken}"));
    }
    let asked: Vec<_> = serial.asked().to_vec();
    assert_eq!(asked.len(), played.told.len(), "what was asked is there");
    for (id, told) in asked.iter().zip(&played.told) {
        let answer = serial.answers().get(id);
        match told {
            // Not to be told is no untruth; not to be told when there was time for it is.
            Told::Nothing => {
                let due = played.idle && played.reopenings == 0 && played.crashes == 0;
                assert!(
                    !due || answer.is_none(),
                    "nobody was told of {id}: {answer:?}"
                );
                continue;
            }
            Told::Outcome(outcome) => assert_eq!(Some(outcome), answer, "delivery {id}"),
            Told::Done(done) => {
                let answer = answer.map(|answer| answer.clone().map(drop));
                assert_eq!(Some(done.clone()), answer, "delivery {id}");
            }
        }
        figures.outcomes += 1;
    }
    let states: Vec<_> = serial.living().collect();
    let ids: Vec<_> = states.iter().map(|(vat, _)| *vat).collect();
    assert_eq!(
        ids,
        played.states.keys().copied().collect::<Vec<_>>(),
        "who lives"
    );
    for (vat, encoded) in states {
        let state = Body::read(encoded).and_then(|body| body.to_payload());
        let state = state.expect("a state is a body");
        assert_eq!(played.states[&vat], state, "the state of {vat}");
    }
    figures
}
