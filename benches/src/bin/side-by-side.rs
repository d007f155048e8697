//! The workloads on the kernel and on the durable floor, interleaved, as ratios of pairs.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use clap::Parser;
use crankcase::CommitOrder;
use crankcase_benches::Fallible;
use crankcase_benches::measure::{Samples, head, rate, row};
use crankcase_benches::trial::Runner;
use crankcase_benches::workloads::Workload;

/// Messages per second of the kernel in both commit orders against a hand-written durable floor.
#[derive(Parser)]
struct Options {
    /// How many interleaved pairs for each workload.
    #[arg(long, default_value_t = 5)]
    pairs: usize,
    /// Seconds that one run takes, about.
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Threads that run actors, on every side.
    #[arg(long, default_value_t = 2)]
    workers: usize,
    /// Only these workloads.
    #[arg(long, value_enum, value_delimiter = ',')]
    workloads: Vec<Workload>,
    /// Another floor to run in turn: a program that, called with
    /// `seq_async_b1 WORKLOAD SECONDS 1`, prints messages per second as its third field.
    #[arg(long)]
    peers: Option<PathBuf>,
    /// Where the journals go.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// A few seconds in all, to see that everything runs.
    #[arg(long)]
    quick: bool,
}

fn main() -> Fallible<()> {
    let mut options = Options::parse();
    if options.quick {
        options.pairs = 1;
        options.seconds = 0.1;
    }
    let workloads = match options.workloads.as_slice() {
        [] => Workload::ALL.to_vec(),
        some => some.to_vec(),
    };
    let mut columns = vec![
        "workload",
        "floor",
        "completion",
        "dispatch",
        "completion / floor",
        "dispatch / completion",
    ];
    if options.peers.is_some() {
        columns.extend(["peers' floor", "completion / peers' floor"]);
    }
    println!("{}", head(&columns));
    for workload in workloads {
        println!("{}", compare(workload, &options)?);
    }
    Ok(())
}

fn compare(workload: Workload, options: &Options) -> Fallible<String> {
    let dir = options.dir.as_deref();
    let workers = options.workers;
    let sides = [
        Runner::Floor { workers },
        Runner::Kernel {
            order: CommitOrder::Completion,
            workers,
        },
        Runner::Kernel {
            order: CommitOrder::Dispatch,
            workers,
        },
    ];
    let target = Duration::from_secs_f64(options.seconds);
    let mut scales = [0; 3];
    for (scale, side) in scales.iter_mut().zip(sides) {
        *scale = side.calibrate(workload, target, dir)?;
    }
    let mut rates: [Vec<f64>; 3] = Default::default();
    let mut peers = Vec::new();
    for _ in 0..options.pairs.max(1) {
        for ((side, scale), rates) in sides.iter().zip(scales).zip(&mut rates) {
            rates.push(side.run(workload, scale, dir)?.rate());
        }
        if let Some(program) = &options.peers {
            peers.push(run_peers(program, workload, options.seconds, dir)?);
        }
    }
    let [floor, completion, dispatch] = &rates;
    let median = |rates: &[f64]| rate(Samples::of(rates.iter().copied()).median());
    let mut cells = vec![
        workload.name().to_owned(),
        median(floor),
        median(completion),
        median(dispatch),
        Samples::ratios(completion, floor).to_string(),
        Samples::ratios(dispatch, completion).to_string(),
    ];
    if !peers.is_empty() {
        cells.push(median(&peers));
        cells.push(Samples::ratios(completion, &peers).to_string());
    }
    Ok(row(&cells))
}

fn run_peers(
    program: &Path,
    workload: Workload,
    seconds: f64,
    dir: Option<&Path>,
) -> Fallible<f64> {
    let mut command = Command::new(program);
    command.args(["seq_async_b1", workload.name(), &seconds.to_string(), "1"]);
    // Its log goes where the journals go.
    command.env(
        "TMPDIR",
        dir.map_or_else(std::env::temp_dir, Path::to_path_buf),
    );
    let output = command.output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let rate = text
        .split('\t')
        .nth(2)
        .and_then(|field| field.trim().parse().ok());
    rate.ok_or_else(|| {
        let said = String::from_utf8_lossy(&output.stderr);
        format!("{} did not print a rate: {text}{said}", program.display()).into()
    })
}
