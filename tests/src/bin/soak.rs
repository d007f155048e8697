//! Runs everything that can be run for longer than CI does, for a given time, and prints a table of
//! what was tried.
//!
//! ```sh
//! cargo build --release -p crankcase-tests --bins && target/release/soak --seconds 3600
//! ```
//!
//! All programs are built, because children are the program `victim` beside this one.
//!
//! Two lanes run beside each other: what runs in this process (programs, crashes, damage, the test
//! kit), and what is built apart (models, shuttle, fuzzing, seeded faults). Each goes through its
//! layers again and again, so a short run has a little of each. Seeds are taken from the clock, or
//! from `--seed N`; `--own` leaves out what is built apart. A law that is broken is printed with how to repeat it, is
//! counted, and makes the exit status 1.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crankcase_tests::damage::flips::{self, Which};
use crankcase_tests::damage::{Ended, tails};
use crankcase_tests::oracle::{self, Comparison};
use crankcase_tests::{crash, kit};

/// What is counted, in the order of the table.
const ROWS: [&str; 18] = [
    "schedules explored by loom",
    "schedules explored by shuttle",
    "programs compared with the serial kernel",
    "records compared with the serial kernel",
    "outcomes compared with the serial kernel",
    "simulated runs of the bank and the order book",
    "simulated crashes survived",
    "records checked in simulations",
    "kernels lost in programs",
    "processes that died, at named places or killed",
    "power cuts survived",
    "processes with a call to the system that was made to fail or cut short",
    "journals checked after a death",
    "records checked after a death",
    "bits flipped",
    "logs cut, and sectors emptied",
    "inputs given to decoders",
    "seeded faults seen",
];

#[derive(Default)]
struct Table {
    counts: BTreeMap<&'static str, u64>,
    broken: u64,
}

struct Soak {
    table: Mutex<Table>,
    until: Instant,
}

impl Soak {
    fn is_over(&self) -> bool {
        Instant::now() >= self.until
    }

    fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    fn count(&self, row: &'static str, more: u64) {
        assert!(ROWS.contains(&row), "{row} stands in the table");
        let mut table = self.table.lock().expect("nobody panics with it");
        *table.counts.entry(row).or_default() += more;
    }

    fn broken(&self, what: &str) {
        eprintln!("A LAW IS BROKEN: {what}");
        self.table.lock().expect("nobody panics with it").broken += 1;
    }

    /// Does something that panics when a law is broken.
    fn attempt(&self, what: &str, attempt: impl FnOnce(&Self)) {
        if catch_unwind(AssertUnwindSafe(|| attempt(self))).is_err() {
            // The panic has said how to repeat it.
            self.broken(what);
        }
    }

    /// Runs a script of the project; gives what it printed, and counts a failure.
    fn script(&self, path: &str, words: &[String]) -> String {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
        let ran = Command::new(format!("{root}/{path}"))
            .args(words)
            .current_dir(root)
            .output();
        let ran = ran.unwrap_or_else(|error| panic!("{path} cannot be run: {error}"));
        let printed = String::from_utf8_lossy(&ran.stdout).into_owned();
        if !ran.status.success() {
            let said = String::from_utf8_lossy(&ran.stderr);
            self.broken(&format!("{path} {words:?}\n{printed}\n{said}"));
        }
        printed
    }
}

/// The numbers that stand before (or behind) a word in what was printed, added up.
fn numbers(printed: &str, line_has: &str, number: impl Fn(&str) -> Option<u64>) -> u64 {
    let lines = printed.lines().filter(|line| line.contains(line_has));
    lines.filter_map(number).sum()
}

fn number_before(word: &'static str) -> impl Fn(&str) -> Option<u64> {
    move |line| {
        let before = line.split(word).next()?;
        before.split_whitespace().last()?.parse().ok()
    }
}

fn number_behind(word: &'static str) -> impl Fn(&str) -> Option<u64> {
    move |line| {
        line.split(word)
            .nth(1)?
            .split_whitespace()
            .next()?
            .parse()
            .ok()
    }
}

/// A layer of children that die, by name.
type Deaths = (&'static str, fn(u64) -> crash::CrashFigures);

/// What runs in this process, one round of each layer after the other.
fn own_lane(soak: &Soak, first: u64) {
    for seed in first.. {
        for comparison in [
            Comparison::Dispatch,
            Comparison::Completion,
            Comparison::Crashes,
        ] {
            if soak.is_over() {
                return;
            }
            soak.attempt(&format!("{comparison:?}, seed {seed}"), |soak| {
                let figures = oracle::round(comparison, seed, 40);
                soak.count(ROWS[2], figures.programs);
                soak.count(ROWS[3], figures.records);
                soak.count(ROWS[4], figures.outcomes);
                soak.count(ROWS[8], figures.crashes);
            });
        }
        for part in 0..4 {
            if soak.is_over() {
                return;
            }
            let seed = seed * 4 + part;
            soak.attempt(&format!("the test kit, seed {seed}"), |soak| {
                let figures = kit::round(seed);
                soak.count(ROWS[5], figures.programs);
                soak.count(ROWS[6], figures.crashes_survived);
                soak.count(ROWS[7], figures.records_checked);
            });
        }
        let mut rounds: Vec<Deaths> = vec![("deaths", crash::round)];
        #[cfg(unix)]
        if crash::can_fail_below() {
            rounds.push(("disks that fail", crash::disk_round));
        }
        for (what, round) in rounds {
            for part in 0..2 {
                if soak.is_over() {
                    return;
                }
                let seed = seed * 2 + part;
                soak.attempt(&format!("{what}, seed {seed}"), |soak| {
                    let figures = round(seed);
                    soak.count(ROWS[9], figures.crashes);
                    soak.count(ROWS[10], figures.power_cuts);
                    soak.count(ROWS[11], figures.faults.values().sum());
                    soak.count(ROWS[12], figures.journals_checked);
                    soak.count(ROWS[13], figures.records_checked);
                });
            }
        }
        if soak.is_over() {
            return;
        }
        soak.attempt(&format!("flips, seed {seed}"), |soak| {
            let figures = flips::round(seed, Which::OneOfOneByteIn(8));
            soak.count(ROWS[14], figures.harmed);
        });
        if seed == first {
            for ended in [Ended::Closed, Ended::Killed, Ended::Unwitnessed] {
                soak.attempt("cuts and holes", |soak| {
                    soak.count(ROWS[15], tails::every_cut(ended, 1).harmed);
                    soak.count(ROWS[15], tails::every_hole(ended).harmed);
                });
            }
        }
    }
}

/// What is built apart.
fn lane_of_scripts(soak: &Soak) {
    let printed = soak.script("loom-tests/run", &[]);
    soak.count(
        ROWS[0],
        numbers(&printed, "explored ", number_before(" executions")),
    );
    soak.count(ROWS[17], numbers(&printed, " seen: ", |_| Some(1)));
    if soak.is_over() {
        return;
    }
    let printed = soak.script("tests/mutants/run", &[]);
    soak.count(
        ROWS[17],
        numbers(&printed, "| G", |line| {
            Some(u64::from(!line.contains("**")))
        }),
    );
    while !soak.is_over() {
        let slice = |most: u64| soak.left().as_secs().clamp(1, most).to_string();
        let printed = soak.script("shuttle-tests/run", &["--seconds".to_owned(), slice(240)]);
        soak.count(
            ROWS[1],
            numbers(
                &printed,
                "schedules explored: ",
                number_behind("schedules explored: "),
            ),
        );
        if soak.is_over() {
            return;
        }
        let printed = soak.script("fuzz/run", &[slice(30)]);
        soak.count(ROWS[16], numbers(&printed, " runs", number_before(" runs")));
    }
}

fn main() -> ExitCode {
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let mut seed = clock.map_or(1, |clock| clock.as_secs());
    let (mut seconds, mut own) = (60, false);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number = || words.next().and_then(|word| word.parse().ok());
        match (word.as_str(), &mut number) {
            ("--own", _) => own = true,
            ("--seconds", number) | ("--seed", number) => match number() {
                Some(said) if word == "--seconds" => seconds = said,
                Some(said) => seed = said,
                None => return usage(&format!("{word} wants a number")),
            },
            _ => return usage(&format!("{word} is not known")),
        }
    }
    let begun = Instant::now();
    let soak = Soak {
        table: Mutex::default(),
        until: begun + Duration::from_secs(seconds),
    };
    std::thread::scope(|scope| {
        if !own {
            scope.spawn(|| soak.attempt("a script", lane_of_scripts));
        }
        own_lane(&soak, seed);
    });
    let table = soak.table.into_inner().expect("nobody panics with it");
    let took = begun.elapsed().as_secs();
    println!("| tried in {took} s, from seed {seed} | |\n|---|---|");
    for row in ROWS {
        println!("| {row} | {} |", table.counts.get(row).unwrap_or(&0));
    }
    println!("| laws broken | {} |", table.broken);
    ExitCode::from(u8::from(table.broken > 0))
}

fn usage(what: &str) -> ExitCode {
    eprintln!("{what}\nusage: soak [--seconds N] [--seed N] [--own]");
    ExitCode::from(2)
}
