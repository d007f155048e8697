//! The same vats written by hand and with `#[vat]`, in turn: what the typed interface costs.

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::{Parser, ValueEnum};
use crankcase::raw::Vat;
use crankcase::{Kernel, Ref};
use crankcase_benches::Fallible;
use crankcase_benches::actor::vat_of;
use crankcase_benches::measure::{Samples, head, rate, row};
use crankcase_benches::scratch::Scratch;
use crankcase_benches::trial::{CLOSING, check_cranks};

/// Messages per second of vats with and without `#[vat]`.
#[derive(Parser)]
struct Options {
    /// How many interleaved pairs.
    #[arg(long, default_value_t = 9)]
    pairs: usize,
    /// Steps of a run; one to three messages each.
    #[arg(long, default_value_t = 1_000_000)]
    steps: u64,
    /// Threads that run vats.
    #[arg(long, default_value_t = 2)]
    workers: usize,
    /// Where the journals go.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// A few seconds in all, to see that everything runs.
    #[arg(long)]
    quick: bool,
}

/// What is run, with how many vats in a ring, and how many cranks a step takes.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Load {
    /// Two vats, and one message between them.
    Pingpong,
    /// Accounts that pay the next one, in 64 places of the ring at once.
    Bank,
    /// The same, and each waits for what the payment came to.
    WatchedBank,
}

impl Load {
    const fn vats(self) -> u32 {
        match self {
            Self::Pingpong => 2,
            Self::Bank | Self::WatchedBank => 1_024,
        }
    }

    const fn starts(self) -> u32 {
        match self {
            Self::Pingpong => 1,
            Self::Bank | Self::WatchedBank => 64,
        }
    }

    const fn cranks_per_step(self) -> u64 {
        match self {
            Self::Pingpong => 1,
            Self::Bank => 2,
            Self::WatchedBank => 3,
        }
    }

    const fn method(self) -> &'static str {
        match self {
            Self::Pingpong => "ping",
            Self::Bank => "pay",
            Self::WatchedBank => "pay_watched",
        }
    }
}

mod by_hand {
    use crankcase::raw::{Crank, Message, Notice, Vat};
    use crankcase::{Answer, Payload, Ref, Rejection};
    use serde::{Deserialize, Serialize};

    #[derive(Serialize, Deserialize)]
    pub(crate) struct Account {
        balance: u64,
        next: Option<Ref>,
    }

    impl Account {
        fn next(&self) -> Result<Ref, Rejection> {
            self.next
                .ok_or_else(|| Rejection::new("alone", "it has not met anybody"))
        }
    }

    impl Vat for Account {
        const KIND: &'static str = "account";
        const VERSION: u32 = 1;
        type Env = ();

        fn create(_cx: &Crank<'_>, (): &(), start: &Message<'_>) -> Result<Self, Rejection> {
            let (balance,) = start.args()?;
            let next = None;
            Ok(Self { balance, next })
        }

        fn receive(&mut self, cx: &Crank<'_>, (): &(), message: &Message<'_>) -> Answer {
            match message.method() {
                "meet" => {
                    let (next,): (Ref,) = message.args()?;
                    self.next = Some(next);
                }
                "ping" => {
                    let (left,): (u64,) = message.args()?;
                    if left > 0 {
                        cx.send(self.next()?, "ping", &(left - 1,));
                    }
                }
                "pay" => {
                    let (left,): (u64,) = message.args()?;
                    if left > 0 {
                        let next = self.next()?;
                        self.balance -= 1;
                        cx.send(next, "credit", &(1u64,));
                        cx.send(next, "pay", &(left - 1,));
                    }
                }
                "pay_watched" => {
                    let (left,): (u64,) = message.args()?;
                    if left > 0 {
                        let next = self.next()?;
                        self.balance -= 1;
                        let credited = cx.send(next, "credit", &(1u64,));
                        cx.watch(&credited, "credited", &1u64);
                        cx.send(next, "pay_watched", &(left - 1,));
                    }
                }
                "credit" => {
                    let (value,): (u64,) = message.args()?;
                    self.balance += value;
                }
                other => return Err(Rejection::new("no_such_method", other)),
            }
            Ok(Payload::of(&())?)
        }

        fn notified(&mut self, _cx: &Crank<'_>, (): &(), notice: &Notice<'_>) -> Answer {
            match notice.method() {
                "credited" => {
                    let value: u64 = notice.context()?;
                    if notice.value::<()>().is_err() {
                        self.balance += value;
                    }
                    Ok(Payload::of(&())?)
                }
                other => Err(Rejection::new("no_such_continuation", other)),
            }
        }
    }
}

mod by_attribute {
    use crankcase::{Answer, Crank, Outcome, Ref, Rejection};
    use serde::{Deserialize, Serialize};

    #[derive(Serialize, Deserialize)]
    pub(crate) struct Account {
        balance: u64,
        next: Option<Ref<Account>>,
    }

    #[crankcase::vat(kind = "account", version = 1)]
    impl Account {
        #[create]
        fn open(_cx: &Crank<Self>, balance: u64) -> Answer<Self> {
            let next = None;
            Ok(Self { balance, next })
        }

        fn next(&self) -> Result<Ref<Account>, Rejection> {
            self.next
                .ok_or_else(|| Rejection::new("alone", "it has not met anybody"))
        }

        pub fn meet(&mut self, _cx: &Crank<Self>, next: Ref<Account>) -> Answer<()> {
            self.next = Some(next);
            Ok(())
        }

        // It could borrow its vat only, and would be faster than by hand.
        pub fn ping(&mut self, cx: &Crank<Self>, left: u64) -> Answer<()> {
            if left > 0 {
                self.next()?.ping(cx, left - 1);
            }
            Ok(())
        }

        pub fn pay(&mut self, cx: &Crank<Self>, left: u64) -> Answer<()> {
            if left > 0 {
                let next = self.next()?;
                self.balance -= 1;
                next.credit(cx, 1);
                next.pay(cx, left - 1);
            }
            Ok(())
        }

        pub fn pay_watched(&mut self, cx: &Crank<Self>, left: u64) -> Answer<()> {
            if left > 0 {
                let next = self.next()?;
                self.balance -= 1;
                cx.watch(&next.credit(cx, 1), Self::CREDITED, 1);
                next.pay_watched(cx, left - 1);
            }
            Ok(())
        }

        pub fn credit(&mut self, _cx: &Crank<Self>, value: u64) -> Answer<()> {
            self.balance += value;
            Ok(())
        }

        #[watcher]
        fn credited(&mut self, _cx: &Crank<Self>, value: u64, outcome: Outcome<()>) -> Answer<()> {
            if outcome.is_err() {
                self.balance += value;
            }
            Ok(())
        }
    }
}

/// Runs a load once, from nothing, and gives its messages per second.
fn run<V: Vat<Env = ()>>(load: Load, options: &Options) -> Fallible<f64> {
    let scratch = Scratch::new(options.dir.as_deref())?;
    let kernel = open::<V>(&scratch.join("journal"), options)?;
    let vats = load.vats();
    let mut batch = kernel.batch();
    for _ in 0..vats {
        batch.spawn(V::KIND, &(1_000_000_000u64,))?;
    }
    for vat in 0..vats {
        let next = Ref::to(vat_of((vat + 1) % vats));
        batch.send(vat_of(vat), "meet", &(next,))?;
    }
    for made in batch.submit()?.wait()? {
        made?;
    }
    kernel.run_until_idle()?;
    let steps = options.steps / u64::from(load.starts());
    let before = kernel.stats();
    let begun = Instant::now();
    let mut batch = kernel.batch();
    for start in 0..load.starts() {
        let at = start * (vats / load.starts());
        batch.send(vat_of(at), load.method(), &(steps,))?;
    }
    let started = batch.submit()?;
    kernel.run_until_idle()?;
    let elapsed = begun.elapsed();
    for start in started.wait()? {
        start?;
    }
    let starts = u64::from(load.starts());
    let messages = starts * steps * load.cranks_per_step();
    check_cranks(&before, &kernel.stats(), messages + starts)?;
    kernel.close(CLOSING)?;
    Ok(messages as f64 / elapsed.as_secs_f64())
}

fn open<V: Vat<Env = ()>>(journal: &Path, options: &Options) -> Fallible<Kernel> {
    let builder = Kernel::builder(journal).workers(options.workers);
    Ok(builder.kind::<V>(()).open()?)
}

fn main() -> Fallible<()> {
    let mut options = Options::parse();
    if options.quick {
        options.pairs = 1;
        options.steps = 50_000;
    }
    println!(
        "{}",
        head(&[
            "load",
            "by hand",
            "with `#[vat]`",
            "with / by hand (goal: 0.9)"
        ])
    );
    for load in Load::value_variants() {
        let (mut by_hand, mut typed) = (Vec::new(), Vec::new());
        for _ in 0..options.pairs.max(1) {
            by_hand.push(run::<by_hand::Account>(*load, &options)?);
            typed.push(run::<by_attribute::Account>(*load, &options)?);
        }
        let median = |rates: &[f64]| rate(Samples::of(rates.iter().copied()).median());
        println!(
            "{}",
            row(&[
                format!("{load:?}").to_lowercase(),
                median(&by_hand),
                median(&typed),
                Samples::ratios(&typed, &by_hand).to_string(),
            ])
        );
    }
    Ok(())
}
