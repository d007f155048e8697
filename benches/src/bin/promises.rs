//! Ping-pong in which every ping has a promise that is resolved and watched, beside ping-pong without.
//!
//! With promises the answer to a ping is the crank's own answer: it resolves the promise of the ping,
//! and the one who asked is told because it watches. Both ways a round trip is two deliveries.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Parser;
use crankcase::raw::{Crank, Message, Notice, Vat};
use crankcase::{Answer, CommitOrder, Kernel, Payload, Ref, Rejection};
use crankcase_benches::Fallible;
use crankcase_benches::actor::vat_of;
use crankcase_benches::measure::{Samples, head, rate, row};
use crankcase_benches::scratch::Scratch;
use crankcase_benches::trial::{CLOSING, Runner, Trial, check_cranks, spawn_all};
use crankcase_benches::workloads::{Args, Workload};
use serde::{Deserialize, Serialize};

/// Messages per second with a promise resolved and watched for each, against without.
#[derive(Parser)]
struct Options {
    /// How many interleaved pairs.
    #[arg(long, default_value_t = 5)]
    pairs: usize,
    /// Seconds that one run takes, about.
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Threads that run vats, on every side.
    #[arg(long, default_value_t = 2)]
    workers: usize,
    /// Where the journals go.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// A few seconds in all, to see that everything runs.
    #[arg(long)]
    quick: bool,
}

/// Asks by sending and watching, or answers.
#[derive(Clone, Serialize, Deserialize)]
struct Player {
    left: u64,
    answered: u64,
    partner: Option<Ref>,
}

impl Player {
    fn ask(&mut self, cx: &Crank<'_>) -> Answer {
        if let (Some(partner), Some(left)) = (self.partner, self.left.checked_sub(1)) {
            self.left = left;
            let answer = cx.send(partner, "ping", &Args::default());
            cx.watch(answer, "pong", &());
        }
        Ok(Payload::empty())
    }
}

impl Vat for Player {
    const KIND: &'static str = "player";
    const VERSION: u32 = 1;
    type Env = ();

    fn create(_cx: &Crank<'_>, _env: &(), start: &Message<'_>) -> Result<Self, Rejection> {
        Ok(start.args()?)
    }

    fn receive(&mut self, cx: &Crank<'_>, _env: &(), message: &Message<'_>) -> Answer {
        match message.method() {
            "ping" => {
                let args: Args = message.args()?;
                self.answered += 1;
                Ok(Payload::of(&args)?)
            }
            "start" => {
                let (left, partner) = message.args()?;
                self.left = left;
                self.partner = Some(partner);
                self.ask(cx)
            }
            other => Err(Rejection::new("no_such_method", other)),
        }
    }

    fn notified(&mut self, cx: &Crank<'_>, _env: &(), notice: &Notice<'_>) -> Answer {
        notice.value::<Args>()?;
        self.ask(cx)
    }
}

fn main() -> Fallible<()> {
    let mut options = Options::parse();
    if options.quick {
        options.pairs = 1;
        options.seconds = 0.1;
    }
    let dir = options.dir.as_deref();
    let workers = options.workers;
    let target = Duration::from_secs_f64(options.seconds);
    let plain = Runner::Kernel {
        order: CommitOrder::Completion,
        workers,
    };
    let floor = Runner::Floor { workers };
    let workload = Workload::PingPong;
    let plain_scale = plain.calibrate(workload, target, dir)?;
    let floor_scale = floor.calibrate(workload, target, dir)?;
    let mut scale = workload.first_scale();
    let scale = loop {
        let trial = with_promises(scale, workers, dir)?;
        if trial.elapsed >= target.min(Duration::from_millis(150)) {
            let wanted = target.as_secs_f64() / trial.elapsed.as_secs_f64();
            break ((scale as f64 * wanted) as u64).max(1);
        }
        scale *= 4;
    };
    let [mut floors, mut plains, mut promises] = [const { Vec::new() }; 3];
    for _ in 0..options.pairs.max(1) {
        floors.push(floor.run(workload, floor_scale, dir)?.rate());
        plains.push(plain.run(workload, plain_scale, dir)?.rate());
        promises.push(with_promises(scale, workers, dir)?.rate());
    }
    let median = |rates: &[f64]| Samples::of(rates.iter().copied()).median();
    println!(
        "{}",
        head(&[
            "workload",
            "floor",
            "without",
            "with promises",
            "promises",
            "with / without",
            "with / floor (a prototype: 0.2 to 0.7)"
        ])
    );
    println!(
        "{}",
        row(&[
            workload.name().to_owned(),
            rate(median(&floors)),
            rate(median(&plains)),
            rate(median(&promises)),
            rate(median(&promises) / 2.0),
            Samples::ratios(&promises, &plains).to_string(),
            Samples::ratios(&promises, &floors).to_string(),
        ])
    );
    Ok(())
}

/// So many round trips with a promise each.
fn with_promises(round_trips: u64, workers: usize, dir: Option<&Path>) -> Fallible<Trial> {
    let scratch = Scratch::new(dir)?;
    let kernel = Kernel::builder(scratch.join("journal"))
        .workers(workers)
        .kind::<Player>(())
        .open()?;
    let player = Player {
        left: 0,
        answered: 0,
        partner: None,
    };
    spawn_all(&kernel, &[player.clone(), player])?;
    let before = kernel.stats();
    let begun = Instant::now();
    let start = (round_trips, Ref::to(vat_of(1)));
    let started = kernel.send(vat_of(0), "start", &start)?;
    kernel.run_until_idle()?;
    let elapsed = begun.elapsed();
    started.wait()??;
    let messages = 2 * round_trips;
    check_cranks(&before, &kernel.stats(), messages + 1)?;
    kernel.close(CLOSING)?;
    Ok(Trial { messages, elapsed })
}
