//! Bytes made durable per second by a saturated kernel, against a bare append and sync of groups
//! of the same size and number.

use std::path::PathBuf;

use clap::Parser;
use crankcase::Kernel;
use crankcase_benches::Fallible;
use crankcase_benches::bare::Bare;
use crankcase_benches::measure::{Samples, byte_rate, head, row};
use crankcase_benches::runner::{self, Runner, Track};
use crankcase_benches::scratch::Scratch;
use crankcase_benches::trial::CLOSING;

/// What a record holds beside the message's body, about; the table shows the true size.
const RECORD_HEAD_BYTES: usize = 32;

/// Durable bytes per second of a saturated kernel against a bare append and fdatasync.
#[derive(Parser)]
struct Options {
    /// How many interleaved pairs for each size.
    #[arg(long, default_value_t = 5)]
    pairs: usize,
    /// Bytes that one run makes durable, in millions.
    #[arg(long, default_value_t = 400)]
    megabytes: u64,
    /// Sizes of a record, in bytes.
    #[arg(long, value_delimiter = ',', default_values_t = [200, 4096])]
    record_bytes: Vec<usize>,
    /// Vats that send to themselves.
    #[arg(long, default_value_t = 128)]
    vats: u32,
    /// Where the journals go.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// A few seconds in all, to see that everything runs.
    #[arg(long)]
    quick: bool,
}

/// One pair of runs.
struct Pair {
    kernel: f64,
    bare: f64,
    record_bytes: f64,
    group_bytes: f64,
}

fn main() -> Fallible<()> {
    let mut options = Options::parse();
    if options.quick {
        options.pairs = 1;
        options.megabytes = 20;
    }
    println!(
        "{}",
        head(&[
            "record",
            "bytes per record",
            "bytes per group",
            "kernel",
            "bare",
            "kernel / bare"
        ])
    );
    for &size in &options.record_bytes {
        let mut pairs = Vec::new();
        for _ in 0..options.pairs.max(1) {
            pairs.push(pair(size, &options)?);
        }
        let column = |of: fn(&Pair) -> f64| pairs.iter().map(of).collect::<Vec<_>>();
        let median = |of| Samples::of(column(of)).median();
        println!(
            "{}",
            row(&[
                format!("{size} B"),
                format!("{:.0}", median(|pair| pair.record_bytes)),
                format!("{:.0}", median(|pair| pair.group_bytes)),
                byte_rate(median(|pair| pair.kernel)),
                byte_rate(median(|pair| pair.bare)),
                Samples::ratios(&column(|pair| pair.kernel), &column(|pair| pair.bare)).to_string(),
            ])
        );
    }
    Ok(())
}

fn pair(size: usize, options: &Options) -> Fallible<Pair> {
    let scratch = Scratch::new(options.dir.as_deref())?;
    let payload_bytes = size.saturating_sub(RECORD_HEAD_BYTES);
    let track = Track {
        payload_bytes,
        turns: 0,
    };
    let kernel = Kernel::builder(scratch.join("journal"))
        .kind::<Runner>(track)
        .open()?;
    runner::spawn(&kernel, options.vats)?;
    let before = kernel.stats();
    let laps = options.megabytes * 1_000_000 / size as u64 / u64::from(options.vats);
    let trial = runner::run(&kernel, options.vats, laps)?;
    let after = kernel.stats();
    kernel.close(CLOSING)?;
    let bytes = after.group_bytes - before.group_bytes;
    let groups = after.groups - before.groups;
    let records = after.sequenced.get() - before.sequenced.get();
    let group_bytes = bytes as f64 / groups as f64;

    let mut bare = Bare::new(&scratch.join("bare"), group_bytes as usize)?;
    let mut elapsed = 0.0;
    for _ in 0..groups {
        elapsed += bare.append()?.as_secs_f64();
    }
    Ok(Pair {
        kernel: bytes as f64 / trial.elapsed.as_secs_f64(),
        bare: bytes as f64 / elapsed,
        record_bytes: bytes as f64 / records as f64,
        group_bytes,
    })
}
