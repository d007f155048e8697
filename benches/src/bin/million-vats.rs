//! A journal of a million vats in a fresh process: opening it, what is resident, and how soon a vat
//! that is not in memory starts on a message.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use clap::Parser;
use crankcase::Kernel;
use crankcase_benches::Fallible;
use crankcase_benches::child::{Helper, say_and_wait};
use crankcase_benches::cold::{self, Anchor, Cold, cold_vat};
use crankcase_benches::measure::{Samples, head, row};
use crankcase_benches::memory::resident_bytes;
use crankcase_benches::scratch::Scratch;
use crankcase_benches::trial::CLOSING;

/// The part of the vats that have a message waiting in a promise: one in a hundred.
const WAITS_EVERY: u64 = 100;

/// Opening, resident memory and cold starts of many vats at rest.
#[derive(Parser)]
struct Options {
    /// How many vats.
    #[arg(long, default_value_t = 1_000_000)]
    vats: u64,
    /// How many of them are sent to.
    #[arg(long, default_value_t = 10_000)]
    touched: u64,
    /// How many times the journal is opened and measured.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds that the kernel idles before memory is looked at.
    #[arg(long, default_value_t = 10.0)]
    idle_seconds: f64,
    /// Where the journal goes.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// A few seconds in all, to see that everything runs.
    #[arg(long)]
    quick: bool,
    /// The program itself sets this: make a journal with that many vats.
    #[arg(long, hide = true, value_name = "JOURNAL")]
    make: Option<PathBuf>,
    /// The program itself sets this: open the journal, measure, and say what was found.
    #[arg(long, hide = true, value_name = "JOURNAL")]
    open: Option<PathBuf>,
}

fn main() -> Fallible<()> {
    let mut options = Options::parse();
    if let Some(journal) = &options.make {
        return make(journal, options.vats);
    }
    if let Some(journal) = &options.open {
        return open(journal, &options);
    }
    if options.quick {
        options.vats = 20_000;
        options.touched = 500;
        options.rounds = 1;
        options.idle_seconds = 1.0;
    }
    let scratch = Scratch::new(options.dir.as_deref())?;
    let journal = scratch.join("journal");
    let vats = format!("--vats={}", options.vats);
    let begun = Instant::now();
    Helper::start(&[format!("--make={}", journal.display()), vats.clone()])?
        .0
        .join()?;
    let made = begun.elapsed();
    let mut found: [Vec<f64>; 5] = Default::default();
    for _ in 0..options.rounds.max(1) {
        let (helper, said) = Helper::start(&[
            format!("--open={}", journal.display()),
            vats.clone(),
            format!("--touched={}", options.touched),
            format!("--idle-seconds={}", options.idle_seconds),
        ])?;
        helper.kill()?;
        let numbers = said.split_whitespace().map(str::parse::<f64>);
        let numbers = numbers.collect::<Result<Vec<_>, _>>()?;
        for (column, number) in found.iter_mut().zip(numbers) {
            column.push(number);
        }
    }
    println!(
        "{}",
        head(&[
            "vats",
            "vats in memory",
            "s to open (goal: 10)",
            "MiB resident (goal: 1024)",
            "ms to a cold start, median",
            "99th percentile (goal: 2)"
        ])
    );
    let [loaded, opened, resident, median, p99] = found.map(Samples::of);
    println!(
        "{}",
        row(&[
            options.vats.to_string(),
            format!("{:.0}", loaded.median()),
            opened.to_string(),
            resident.to_string(),
            median.to_string(),
            p99.to_string(),
        ])
    );
    println!("\nMaking the journal took {:.1} s.", made.as_secs_f64());
    Ok(())
}

fn make(journal: &Path, vats: u64) -> Fallible<()> {
    let kernel = Kernel::builder(journal)
        .kind::<Anchor>(())
        .kind::<Cold>(None)
        .open()?;
    cold::spawn(&kernel, vats, WAITS_EVERY)?;
    kernel.close(CLOSING)?;
    println!("made");
    Ok(())
}

fn open(journal: &Path, options: &Options) -> Fallible<()> {
    let (started, starts) = channel();
    let begun = Instant::now();
    let kernel = Kernel::builder(journal)
        .kind::<Anchor>(())
        .kind::<Cold>(Some(started))
        .open()?;
    let opened = begun.elapsed();
    // Idling is what is measured here: what the kernel does by itself has its time.
    std::thread::sleep(Duration::from_secs_f64(options.idle_seconds));
    let resident = resident_bytes()?;
    let stats = kernel.stats();
    if stats.vats != options.vats + 1 {
        return Err(format!("{} vats live instead of {}", stats.vats, options.vats + 1).into());
    }
    let mut delays = Vec::new();
    for vat in draws(options.touched.min(options.vats), options.vats) {
        let pushed = Instant::now();
        let ticket = kernel.send(cold_vat(vat), "touch", &())?;
        let start = starts.recv()?;
        delays.push((start - pushed).as_secs_f64() * 1e3);
        ticket.wait()??;
    }
    let delays = Samples::of(delays);
    let line = format!(
        "{} {} {} {} {}",
        stats.vats_in_memory,
        opened.as_secs_f64(),
        resident as f64 / f64::from(1 << 20),
        delays.median(),
        delays.quantile(0.99),
    );
    say_and_wait(&line)
}

/// So many numbers below `bound`, no two alike, in an order without a pattern that a disk could use.
/// They differ from opening to opening, so that no round finds its vats in the newest part.
fn draws(count: u64, bound: u64) -> Vec<u64> {
    let mut word = u64::from(std::process::id()) | 1 << 40;
    let mut seen = BTreeSet::new();
    let mut drawn = Vec::new();
    while (drawn.len() as u64) < count {
        word ^= word << 13;
        word ^= word >> 7;
        word ^= word << 17;
        let number = word % bound;
        if seen.insert(number) {
            drawn.push(number);
        }
    }
    drawn
}
