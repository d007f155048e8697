//! How long sends to hot vats take to settle while half of all deliveries load vats from the tables,
//! against the same rate to hot vats alone.

use std::path::{Path, PathBuf};

use clap::Parser;
use crankcase::{Kernel, Outcome, Ticket};
use crankcase_benches::Fallible;
use crankcase_benches::child::Helper;
use crankcase_benches::cold::{self, Anchor, Cold, cold_vat};
use crankcase_benches::load::{self, p99_millis};
use crankcase_benches::measure::{Samples, head, rate, row};
use crankcase_benches::scratch::Scratch;
use crankcase_benches::trial::CLOSING;

/// The 99th percentile of settling for hot vats, with half of all deliveries going to cold ones.
#[derive(Parser)]
struct Options {
    /// How many interleaved rounds.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds that one run takes.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// How many vats there are that are sent to once at most.
    #[arg(long, default_value_t = 1_000_000)]
    cold: u64,
    /// How many vats are sent to all the time.
    #[arg(long, default_value_t = 1_000)]
    hot: u64,
    /// Where the journals go.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// A few seconds in all, to see that everything runs.
    #[arg(long)]
    quick: bool,
    /// The program itself sets this: make a journal with those vats.
    #[arg(long, hide = true, value_name = "JOURNAL")]
    make: Option<PathBuf>,
}

fn main() -> Fallible<()> {
    let mut options = Options::parse();
    if let Some(journal) = &options.make {
        let kernel = open(journal)?;
        cold::spawn(&kernel, options.cold + options.hot, 0)?;
        kernel.close(CLOSING)?;
        println!("made");
        return Ok(());
    }
    if options.quick {
        options.rounds = 1;
        options.seconds = 1.0;
        options.cold = 50_000;
        options.hot = 100;
    }
    let scratch = Scratch::new(options.dir.as_deref())?;
    let journal = scratch.join("journal");
    // In another process, so that nothing of making them is in this one's memory.
    Helper::start(&[
        format!("--make={}", journal.display()),
        format!("--cold={}", options.cold),
        format!("--hot={}", options.hot),
    ])?
    .0
    .join()?;

    // Saturated with the mixture, because what it cannot carry would only measure a queue.
    let mut next_cold = 0;
    let saturated = run(&journal, &options, |kernel, options| {
        load::saturated_rate(options.seconds / 3.0, |send| {
            mixed(kernel, options, send, &mut next_cold)
        })
    })?;
    let paced = saturated / 2.0;
    println!(
        "saturated: {} sends, paced: {} sends\n",
        rate(saturated),
        rate(paced)
    );
    let [mut with, mut without, mut colds] = [const { Vec::new() }; 3];
    for _ in 0..options.rounds.max(1) {
        let [hot, cold] = run(&journal, &options, |kernel, options| {
            load::paced(paced, options.seconds, |send| {
                mixed(kernel, options, send, &mut next_cold)
            })
        })?;
        with.push(p99_millis(&hot)?);
        colds.push(p99_millis(&cold)?);
        // The other half goes to hot vats too, so both sides have as many deliveries.
        let [hot, _] = run(&journal, &options, |kernel, options| {
            load::paced(paced, options.seconds, |send| {
                Ok(kernel.send(hot_vat(options, send), "touch", &())?)
            })
        })?;
        without.push(p99_millis(&hot)?);
    }
    println!(
        "{}",
        head(&[
            "99th percentile",
            "ms with cold deliveries",
            "ms without",
            "with / without (goal: 2)",
            "ms of the cold ones"
        ])
    );
    println!(
        "{}",
        row(&[
            "send to settled, hot".to_owned(),
            Samples::of(with.iter().copied()).to_string(),
            Samples::of(without.iter().copied()).to_string(),
            Samples::ratios(&with, &without).to_string(),
            Samples::of(colds).to_string(),
        ])
    );
    Ok(())
}

fn open(journal: &Path) -> Fallible<Kernel> {
    Ok(Kernel::builder(journal)
        .kind::<Anchor>(())
        .kind::<Cold>(None)
        .open()?)
}

/// Opens the journal, in which then no vat is in memory, warms the hot ones up, and measures.
fn run<T>(
    journal: &Path,
    options: &Options,
    measure: impl FnOnce(&Kernel, &Options) -> Fallible<T>,
) -> Fallible<T> {
    let kernel = open(journal)?;
    for send in 0..options.hot {
        drop(kernel.send(hot_vat(options, send), "touch", &())?);
    }
    kernel.run_until_idle()?;
    let measured = measure(&kernel, options)?;
    kernel.close(CLOSING)?;
    Ok(measured)
}

/// Hot vats stand behind the cold ones, and take their turns.
fn hot_vat(options: &Options, send: u64) -> crankcase::VatId {
    cold_vat(options.cold + send % options.hot)
}

/// Every second send goes to a cold vat, a step far enough on that it shares no block with the last.
fn mixed(
    kernel: &Kernel,
    options: &Options,
    send: u64,
    next_cold: &mut u64,
) -> Fallible<Ticket<Outcome>> {
    let vat = if send.is_multiple_of(2) {
        hot_vat(options, send / 2)
    } else {
        *next_cold += 1;
        cold_vat(next_cold.wrapping_mul(STEP) % options.cold)
    };
    Ok(kernel.send(vat, "touch", &())?)
}

/// A prime, so that every cold vat is met once before any is met again.
const STEP: u64 = 7_368_787;
