//! How long a lone `send` takes to settle, against one bare append and sync of as many bytes.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Parser;
use crankcase::{Kernel, Stats};
use crankcase_benches::Fallible;
use crankcase_benches::actor::{self, Member, vat_of};
use crankcase_benches::bare::Bare;
use crankcase_benches::measure::{Samples, head, micros, row, seconds};
use crankcase_benches::scratch::Scratch;
use crankcase_benches::trial::CLOSING;
use crankcase_benches::workloads::{Args, Method, Workload};

/// From `send` to a settled ticket, against one bare append and fdatasync.
#[derive(Parser)]
struct Options {
    /// How many interleaved rounds.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Sends, and bare appends, in one round.
    #[arg(long, default_value_t = 200)]
    sends: usize,
    /// Milliseconds between two sends on an idle kernel.
    #[arg(long, default_value_t = 5)]
    pause_millis: u64,
    /// Where the journal goes.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// A few seconds in all, to see that everything runs.
    #[arg(long)]
    quick: bool,
}

fn main() -> Fallible<()> {
    let mut options = Options::parse();
    if options.quick {
        options.rounds = 1;
        options.sends = 20;
    }
    let scratch = Scratch::new(options.dir.as_deref())?;
    let kernel = Kernel::builder(scratch.join("journal"))
        .kind::<Member>(())
        .open()?;
    // The counter of the counting workload: a small state, and nothing is sent on.
    actor::spawn(&kernel, &Workload::Counting.plan(0))?;
    let before = kernel.stats();
    let mut sends = 0;
    for _ in 0..16 {
        send(&kernel)?;
        sends += 1;
    }
    let after = kernel.stats();
    let group_bytes = (after.group_bytes - before.group_bytes) / sends;
    let mut bare = Bare::new(&scratch.join("bare"), group_bytes as usize)?;

    let titles = [
        "",
        "send to settled",
        "bare append and sync",
        "send / bare",
        "syncs per send",
    ];
    println!("{}", head(&titles));
    let mut exact = true;
    for (name, pause) in [
        (
            "idle kernel",
            Some(Duration::from_millis(options.pause_millis)),
        ),
        ("back to back", None),
    ] {
        let before = kernel.stats();
        let (mut settled, mut synced) = (Vec::new(), Vec::new());
        for _ in 0..options.rounds.max(1) {
            let round = (0..options.sends).map(|_| {
                if let Some(pause) = pause {
                    std::thread::sleep(pause);
                }
                send(&kernel)
            });
            let sends = round.collect::<Fallible<Vec<_>>>()?;
            let round = (0..options.sends).map(|_| {
                if let Some(pause) = pause {
                    std::thread::sleep(pause);
                }
                bare.append()
            });
            let appends = round.collect::<Fallible<Vec<_>>>()?;
            settled.push(seconds(&sends).median());
            synced.push(seconds(&appends).median());
        }
        let sends = (options.rounds.max(1) * options.sends) as u64;
        let syncs = syncs_per_send(&before, &kernel.stats(), sends);
        exact &= syncs == 1.0;
        println!(
            "{}",
            row(&[
                name.to_owned(),
                micros(Samples::of(settled.iter().copied()).median()),
                micros(Samples::of(synced.iter().copied()).median()),
                Samples::ratios(&settled, &synced).to_string(),
                format!("{syncs:.3}"),
            ])
        );
    }
    println!("\nOne group has {group_bytes} bytes: an input record and the record of its crank.");
    kernel.close(CLOSING)?;
    // No matter of speed: a send and its answer share one group.
    if exact {
        Ok(())
    } else {
        Err("a send took more or less than one sync of the journal".into())
    }
}

fn send(kernel: &Kernel) -> Fallible<Duration> {
    let begun = Instant::now();
    let ticket = kernel.send(vat_of(1), Method::Increment.name(), &Args::default())?;
    ticket.wait()??;
    Ok(begun.elapsed())
}

/// How many syncs of the journal each send took, on average.
fn syncs_per_send(before: &Stats, after: &Stats, sends: u64) -> f64 {
    (after.group_syncs - before.group_syncs) as f64 / sends as f64
}
