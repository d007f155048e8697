//! What a second worker brings for independent vats whose cranks take a while, and what
//! durability costs one worker.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use crankcase::{CommitOrder, Durability, Kernel};
use crankcase_benches::Fallible;
use crankcase_benches::measure::{Samples, head, rate, row};
use crankcase_benches::runner::{self, Runner, Track};
use crankcase_benches::scratch::Scratch;
use crankcase_benches::trial::CLOSING;

/// Independent vats with cranks of 100 µs: two workers against one, and Sync against None.
#[derive(Parser)]
struct Options {
    /// How many interleaved rounds.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds that one run takes with one worker, about.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Microseconds that one crank takes.
    #[arg(long, default_value_t = 100)]
    crank_micros: u64,
    /// Vats that run beside each other.
    #[arg(long, default_value_t = 64)]
    vats: u32,
    /// Where the journals go.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// A few seconds in all, to see that everything runs.
    #[arg(long)]
    quick: bool,
}

#[derive(Clone, Copy)]
struct Side {
    order: CommitOrder,
    workers: usize,
    durability: Durability,
}

fn main() -> Fallible<()> {
    let mut options = Options::parse();
    if options.quick {
        options.rounds = 1;
        options.seconds = 0.2;
    }
    let turns = runner::turns_of(Duration::from_micros(options.crank_micros));
    let side = |order, workers, durability| Side {
        order,
        workers,
        durability,
    };
    let sides = [
        side(CommitOrder::Completion, 1, Durability::Sync),
        side(CommitOrder::Completion, 2, Durability::Sync),
        side(CommitOrder::Dispatch, 1, Durability::Sync),
        side(CommitOrder::Dispatch, 2, Durability::Sync),
        side(CommitOrder::Completion, 1, Durability::None),
    ];
    let mut rates: [Vec<f64>; 5] = Default::default();
    for _ in 0..options.rounds.max(1) {
        for (side, rates) in sides.iter().zip(&mut rates) {
            rates.push(run(*side, turns, &options)?);
        }
    }
    let [completion_1, completion_2, dispatch_1, dispatch_2, none_1] = &rates;
    println!(
        "{}",
        head(&["cranks per second", "first", "second", "second / first"])
    );
    for (name, first, second) in [
        ("completion, 1 and 2 workers", completion_1, completion_2),
        ("dispatch, 1 and 2 workers", dispatch_1, dispatch_2),
        ("completion, 1 worker, None and Sync", none_1, completion_1),
    ] {
        let median = |rates: &Vec<f64>| rate(Samples::of(rates.iter().copied()).median());
        let ratio = Samples::ratios(second, first).to_string();
        println!(
            "{}",
            row(&[name.to_owned(), median(first), median(second), ratio])
        );
    }
    Ok(())
}

fn run(side: Side, turns: u64, options: &Options) -> Fallible<f64> {
    let scratch = Scratch::new(options.dir.as_deref())?;
    let track = Track {
        payload_bytes: 16,
        turns,
    };
    let kernel = Kernel::builder(scratch.join("journal"))
        .order(side.order)
        .workers(side.workers)
        .durability(side.durability)
        .kind::<Runner>(track)
        .open()?;
    runner::spawn(&kernel, options.vats)?;
    let cranks = options.seconds * 1e6 / options.crank_micros as f64;
    let laps = (cranks / f64::from(options.vats)).ceil() as u64;
    let trial = runner::run(&kernel, options.vats, laps)?;
    kernel.close(CLOSING)?;
    Ok(trial.rate())
}
