//! How long tickets take to settle at half the saturated rate, while checkpoints are written and
//! without them.
//!
//! The host sends to one vat after the other, and each vat sends itself some more messages, so that
//! records come as fast as inside a busy kernel. A sampler follows the kernel's figures: a
//! checkpoint begins when as many records or bytes stand behind the last one as the kernel's
//! defaults say, and it ends when it is counted. Sends that were under way in between are the ones
//! that count.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use crankcase::{Kernel, VatId};
use crankcase_benches::Fallible;
use crankcase_benches::actor::vat_of;
use crankcase_benches::load::{self, Settled, p99_millis};
use crankcase_benches::measure::{Samples, head, rate, row};
use crankcase_benches::runner::{self, Runner, Track};
use crankcase_benches::scratch::Scratch;
use crankcase_benches::trial::CLOSING;

/// The kernel's defaults, set by their values so that the sampler can count along.
const EVERY: (u64, u64) = (2_000_000, 128 << 20);

/// The 99th percentile of settling at half the saturated rate, with checkpoints and without.
#[derive(Parser)]
struct Options {
    /// How many interleaved rounds.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds that one run takes.
    #[arg(long, default_value_t = 15.0)]
    seconds: f64,
    /// How many vats.
    #[arg(long, default_value_t = 10_000)]
    vats: u32,
    /// Cranks that follow inside the kernel on each send.
    #[arg(long, default_value_t = 8)]
    laps: u64,
    /// Where the journals go.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// A few seconds in all, to see that everything runs.
    #[arg(long)]
    quick: bool,
}

/// From when to when a checkpoint was written.
type Span = (Instant, Instant);

fn main() -> Fallible<()> {
    let mut options = Options::parse();
    let mut every = EVERY;
    if options.quick {
        options.rounds = 1;
        options.seconds = 1.5;
        // So often that one falls into so short a run.
        every = (20_000, 2 << 20);
    }
    let saturated = saturated_rate(&options)?;
    let paced = saturated / 2.0;
    println!(
        "saturated: {} sends, paced: {} sends\n",
        rate(saturated),
        rate(paced)
    );
    let mut with = Vec::new();
    let mut without = Vec::new();
    let (mut checkpoints, mut written) = (0, Duration::ZERO);
    for _ in 0..options.rounds.max(1) {
        let (settled, spans) = run(paced, every, &options)?;
        let during = settled
            .iter()
            .filter(|send| spans.iter().any(|span| send.overlaps(*span)));
        with.push(p99_millis(during)?);
        checkpoints += spans.len();
        written += spans.iter().map(|span| span.1 - span.0).sum::<Duration>();

        let (settled, _) = run(paced, (u64::MAX, u64::MAX), &options)?;
        without.push(p99_millis(&settled)?);
    }
    println!(
        "{}",
        head(&[
            "99th percentile",
            "ms during checkpoints",
            "ms without checkpoints",
            "during / without"
        ])
    );
    println!(
        "{}",
        row(&[
            "send to settled".to_owned(),
            Samples::of(with.iter().copied()).to_string(),
            Samples::of(without.iter().copied()).to_string(),
            Samples::ratios(&with, &without).to_string(),
        ])
    );
    let each = written.as_secs_f64() * 1e3 / checkpoints as f64;
    println!("\n{checkpoints} checkpoints, {each:.0} ms each.");
    Ok(())
}

/// Sends per second with as many under way as the host can have.
fn saturated_rate(options: &Options) -> Fallible<f64> {
    let scratch = Scratch::new(options.dir.as_deref())?;
    let kernel = open(&scratch, EVERY, options)?;
    let rate = load::saturated_rate(options.seconds / 3.0, |send| {
        Ok(kernel.send(vat_at(send, options), "start", &options.laps)?)
    })?;
    kernel.close(CLOSING)?;
    Ok(rate)
}

/// The vats take their turns.
fn vat_at(send: u64, options: &Options) -> VatId {
    vat_of((send % u64::from(options.vats)) as u32)
}

fn open(scratch: &Scratch, every: (u64, u64), options: &Options) -> Fallible<Kernel> {
    let track = Track {
        payload_bytes: 16,
        turns: 0,
    };
    let builder = Kernel::builder(scratch.join("journal")).checkpoint_every(every.0, every.1);
    let kernel = builder.kind::<Runner>(track).open()?;
    runner::spawn(&kernel, options.vats)?;
    Ok(kernel)
}

/// Sends at that rate; gives what became of each send, and when checkpoints were written.
fn run(rate: f64, every: (u64, u64), options: &Options) -> Fallible<(Vec<Settled>, Vec<Span>)> {
    let scratch = Scratch::new(options.dir.as_deref())?;
    let kernel = open(&scratch, every, options)?;
    let sent_all = AtomicBool::new(false);
    let ran = std::thread::scope(|scope| {
        let sampler = scope.spawn(|| follow_checkpoints(&kernel, every, &sent_all));
        let settled = load::paced(rate, options.seconds, |send| {
            Ok(kernel.send(vat_at(send, options), "start", &options.laps)?)
        });
        sent_all.store(true, Ordering::Relaxed);
        let spans = sampler.join().map_err(|_| "the sampler panicked")?;
        let [settled] = settled?;
        Fallible::Ok((settled, spans))
    });
    kernel.close(CLOSING)?;
    ran
}

fn follow_checkpoints(kernel: &Kernel, every: (u64, u64), sent_all: &AtomicBool) -> Vec<Span> {
    let mut begun: VecDeque<Instant> = VecDeque::new();
    let mut spans = Vec::new();
    let mut counted = kernel.stats().checkpoints;
    // Nothing has been checkpointed yet, so what was there before counts too.
    let (mut records, mut bytes) = (0, 0);
    while !sent_all.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(1));
        let stats = kernel.stats();
        let sequenced = stats.sequenced.get();
        if sequenced - records >= every.0 || stats.group_bytes - bytes >= every.1 {
            (records, bytes) = (sequenced, stats.group_bytes);
            begun.push_back(Instant::now());
        }
        while counted < stats.checkpoints {
            counted += 1;
            let now = Instant::now();
            spans.push((begun.pop_front().unwrap_or(now), now));
        }
    }
    spans
}
