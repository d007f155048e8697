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
use std::sync::mpsc::{Receiver, channel, sync_channel};
use std::time::{Duration, Instant};

use clap::Parser;
use crankcase::{Kernel, Outcome, Ticket};
use crankcase_benches::Fallible;
use crankcase_benches::actor::vat_of;
use crankcase_benches::measure::{Samples, head, rate, row};
use crankcase_benches::runner::{self, Runner, Track};
use crankcase_benches::scratch::Scratch;
use crankcase_benches::trial::CLOSING;

/// The kernel's defaults, set by their values so that the sampler can count along.
const EVERY: (u64, u64) = (2_000_000, 128 << 20);

/// Sends that may be under way while the saturated rate is looked for.
const UNDER_WAY: usize = 4_096;

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

/// A send and how long it took to settle.
#[derive(Clone, Copy)]
struct Settled {
    at: Instant,
    took: Duration,
}

/// From when to when a checkpoint was written.
type Span = (Instant, Instant);

fn main() -> Fallible<()> {
    let mut options = Options::parse();
    let mut every = EVERY;
    if options.quick {
        options.rounds = 1;
        options.seconds = 1.5;
        every = (100_000, 8 << 20);
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
        let during: Vec<f64> = settled
            .iter()
            .filter(|send| {
                spans
                    .iter()
                    .any(|span| send.at <= span.1 && send.at + send.took >= span.0)
            })
            .map(|send| send.took.as_secs_f64() * 1e3)
            .collect();
        if during.is_empty() {
            return Err("no checkpoint was written during a run: give it more --seconds".into());
        }
        with.push(Samples::of(during).quantile(0.99));
        checkpoints += spans.len();
        written += spans.iter().map(|span| span.1 - span.0).sum::<Duration>();

        let (settled, _) = run(paced, (u64::MAX, u64::MAX), &options)?;
        let took = settled.iter().map(|send| send.took.as_secs_f64() * 1e3);
        without.push(Samples::of(took).quantile(0.99));
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
    let (give, take) = sync_channel::<Ticket<Outcome>>(UNDER_WAY);
    let waiter = std::thread::spawn(move || -> Fallible<u64> {
        let mut settled = 0;
        for ticket in take {
            ticket.wait()??;
            settled += 1;
        }
        Ok(settled)
    });
    let begun = Instant::now();
    let end = begun + Duration::from_secs_f64(options.seconds / 3.0);
    let mut vats = (0..options.vats).cycle();
    while Instant::now() < end {
        let vat = vats.next().ok_or("there are no vats")?;
        if give
            .send(kernel.send(vat_of(vat), "start", &options.laps)?)
            .is_err()
        {
            break;
        }
    }
    drop(give);
    let settled = waiter.join().map_err(|_| "the waiter panicked")??;
    let elapsed = begun.elapsed();
    kernel.close(CLOSING)?;
    Ok(settled as f64 / elapsed.as_secs_f64())
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
        let (give, take) = channel();
        let waiter = scope.spawn(move || wait_for_all(&take));
        let sampler = scope.spawn(|| follow_checkpoints(&kernel, every, &sent_all));
        let sent = send_paced(&kernel, rate, options, |at, ticket| {
            give.send((at, ticket)).is_ok()
        });
        drop(give);
        let settled = waiter.join().map_err(|_| "the waiter panicked");
        sent_all.store(true, Ordering::Relaxed);
        let spans = sampler.join().map_err(|_| "the sampler panicked")?;
        sent?;
        Fallible::Ok((settled??, spans))
    });
    kernel.close(CLOSING)?;
    ran
}

/// Each send has its time on a timetable, and is counted from that time even when the host was
/// late, because a real client would have waited for that too.
fn send_paced(
    kernel: &Kernel,
    rate: f64,
    options: &Options,
    mut give: impl FnMut(Instant, Ticket<Outcome>) -> bool,
) -> Fallible<()> {
    let begun = Instant::now();
    let sends = (rate * options.seconds) as u64;
    for (send, vat) in (0..sends).zip((0..options.vats).cycle()) {
        let due = begun + Duration::from_secs_f64(send as f64 / rate);
        if let Some(early) = due.checked_duration_since(Instant::now()) {
            // Below that a sleep is coarser than the timetable, and sends come in small bursts.
            std::thread::sleep(early.max(Duration::from_micros(200)));
        }
        if !give(due, kernel.send(vat_of(vat), "start", &options.laps)?) {
            break;
        }
    }
    Ok(())
}

fn wait_for_all(tickets: &Receiver<(Instant, Ticket<Outcome>)>) -> Fallible<Vec<Settled>> {
    let mut settled = Vec::new();
    for (at, ticket) in tickets {
        ticket.wait()??;
        settled.push(Settled {
            at,
            took: at.elapsed(),
        });
    }
    Ok(settled)
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
