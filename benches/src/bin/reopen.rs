//! How long a kernel takes to open after it was killed just before a checkpoint.

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Parser;
use crankcase::Kernel;
use crankcase_benches::Fallible;
use crankcase_benches::actor::vat_of;
use crankcase_benches::child::{Helper, say_and_wait};
use crankcase_benches::measure::{Samples, head, row};
use crankcase_benches::runner::{self, Runner, Track};
use crankcase_benches::scratch::Scratch;
use crankcase_benches::trial::CLOSING;

/// The distance of a kill from the checkpoint that would have come, in records: one burst of laps.
const BURST: u64 = 50_000;

/// Seconds to open after SIGKILL just before a checkpoint, with default settings.
#[derive(Parser)]
struct Options {
    /// How many kills for each number of cranks.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Cranks that ran before the kill, at least.
    #[arg(long, value_delimiter = ',', default_values_t = [1_000_000, 10_000_000])]
    cranks: Vec<u64>,
    /// How many vats.
    #[arg(long, default_value_t = 10_000)]
    vats: u32,
    /// Where the journals go.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// A few seconds in all, to see that everything runs.
    #[arg(long)]
    quick: bool,
    /// The program itself sets this: run until there, and wait to be killed.
    #[arg(long, hide = true, value_name = "JOURNAL")]
    run: Option<PathBuf>,
}

fn main() -> Fallible<()> {
    let mut options = Options::parse();
    if let Some(journal) = &options.run {
        return run(journal, options.vats, options.cranks[0]);
    }
    if options.quick {
        options.rounds = 1;
        options.cranks = vec![100_000];
    }
    println!(
        "{}",
        head(&[
            "cranks",
            "records",
            "checkpoints before",
            "since the last",
            "s to open",
            "s to a settled send"
        ])
    );
    for &cranks in &options.cranks {
        let mut opened = Vec::new();
        let mut settled = Vec::new();
        let mut said = String::new();
        for _ in 0..options.rounds.max(1) {
            let scratch = Scratch::new(options.dir.as_deref())?;
            let journal = scratch.join("journal");
            said = make_and_kill(&journal, options.vats, cranks)?;
            let (open, settle) = reopen(&journal, &said)?;
            opened.push(open);
            settled.push(settle);
        }
        let mut cells = vec![cranks.to_string()];
        cells.extend(said.split_whitespace().map(str::to_owned));
        cells.push(Samples::of(opened).to_string());
        cells.push(Samples::of(settled).to_string());
        println!("{}", row(&cells));
    }
    Ok(())
}

fn make_and_kill(journal: &Path, vats: u32, cranks: u64) -> Fallible<String> {
    let (helper, said) = Helper::start(&[
        format!("--run={}", journal.display()),
        format!("--vats={vats}"),
        format!("--cranks={cranks}"),
    ])?;
    helper.kill()?;
    Ok(said)
}

fn reopen(journal: &Path, said: &str) -> Fallible<(f64, f64)> {
    let records: u64 = said.split_whitespace().next().unwrap_or_default().parse()?;
    let begun = Instant::now();
    let kernel = Kernel::builder(journal)
        .kind::<Runner>(Track::default())
        .open()?;
    let opened = begun.elapsed();
    let found = kernel.stats().durable.get();
    kernel.send(vat_of(0), "start", &0_u64)?.wait()??;
    let settled = begun.elapsed();
    kernel.close(CLOSING)?;
    if found < records {
        return Err(format!("{records} records were durable, and {found} were found").into());
    }
    Ok((opened.as_secs_f64(), settled.as_secs_f64()))
}

/// Runs bursts until at least so many cranks have run and the next burst would bring a checkpoint;
/// says the number of records, of checkpoints, and of records since the last one.
fn run(journal: &Path, vats: u32, cranks: u64) -> Fallible<()> {
    // The defaults, by their values, to know when the next one comes.
    let (every_records, every_bytes) = (2_000_000, 128 << 20);
    let track = Track {
        payload_bytes: 16,
        turns: 0,
    };
    let kernel = Kernel::builder(journal).kind::<Runner>(track).open()?;
    runner::spawn(&kernel, vats)?;
    let mut last = kernel.stats();
    let mut base = (0, 0);
    let laps = (BURST / u64::from(vats)).max(1);
    let burst = laps.saturating_mul(u64::from(vats));
    loop {
        runner::run(&kernel, vats, laps)?;
        let now = kernel.stats();
        if now.checkpoints > last.checkpoints {
            base = (last.sequenced.get(), last.group_bytes);
        }
        let records = now.sequenced.get() - base.0;
        let bytes = now.group_bytes - base.1;
        // Starts and inputs stand in a burst too.
        let next = 2 * burst;
        let bytes_next = bytes / records.max(1) * next;
        let near = records + next >= every_records || bytes + bytes_next >= every_bytes;
        // With fewer cranks than a checkpoint needs, none has been written yet.
        let early = cranks < every_records;
        if now.cranks >= cranks && (near || early) {
            let line = format!("{} {} {records}", now.sequenced.get(), now.checkpoints);
            say_and_wait(&line);
        }
        last = now;
    }
}
