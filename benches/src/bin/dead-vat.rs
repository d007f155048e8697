//! How long sends to others take to settle while what a large vat left behind is cleaned up, against
//! the same load without.
//!
//! When the vat has ended is seen in its ticket. When the last of its rows that hold references is let
//! go of is an event too: they all hold the one object of a witness, which is then told that nobody
//! holds it any more.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant;

use clap::Parser;
use crankcase::raw::{Crank, Message, Vat};
use crankcase::{Answer, Exit, Kernel, Payload, Ref, Rejection, VatId, VatNumber};
use crankcase_benches::Fallible;
use crankcase_benches::load::{self, Settled, p99_millis};
use crankcase_benches::measure::{Samples, head, rate, row};
use crankcase_benches::runner::{Runner, Track};
use crankcase_benches::scratch::Scratch;
use crankcase_benches::trial::CLOSING;
use serde::{Deserialize, Serialize};

/// Rows that one crank writes; half of them hold a reference.
const AT_ONCE: u64 = 20_000;

/// Cranks that follow inside the kernel on each send.
const LAPS: u64 = 8;

/// The 99th percentile of settling for others while a large vat is cleaned up.
#[derive(Parser)]
struct Options {
    /// How many interleaved rounds.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds that one run takes, from when the vat is told to end.
    #[arg(long, default_value_t = 20.0)]
    seconds: f64,
    /// Rows of the vat that ends, half of them holding a reference.
    #[arg(long, default_value_t = 10_000_000)]
    rows: u64,
    /// How many vats work beside it.
    #[arg(long, default_value_t = 10_000)]
    vats: u64,
    /// Where the journals go.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// A few seconds in all, to see that everything runs.
    #[arg(long)]
    quick: bool,
}

/// The vat with the rows.
#[derive(Serialize, Deserialize)]
struct Hoard {
    rows: u64,
}

impl Vat for Hoard {
    const KIND: &'static str = "hoard";
    const VERSION: u32 = 1;
    type Env = ();

    fn create(_cx: &Crank<'_>, _env: &(), _start: &Message<'_>) -> Result<Self, Rejection> {
        Ok(Self { rows: 0 })
    }

    fn receive(&mut self, cx: &Crank<'_>, _env: &(), message: &Message<'_>) -> Answer {
        match message.method() {
            "fill" => {
                let (rows, held): (u64, Ref) = message.args()?;
                for _ in 0..rows.div_ceil(2) {
                    let key = self.rows.to_be_bytes();
                    cx.set(&key, &key);
                    cx.set_holding(&key, &held);
                    self.rows += 2;
                }
            }
            "end" => cx.exit(Exit::Success),
            other => return Err(Rejection::new("no_such_method", other)),
        }
        Ok(Payload::empty())
    }
}

/// Has the object that all rows hold.
#[derive(Serialize, Deserialize)]
struct Witness;

impl Vat for Witness {
    const KIND: &'static str = "witness";
    const VERSION: u32 = 1;
    type Env = Sender<Instant>;

    fn create(_cx: &Crank<'_>, _env: &Self::Env, _start: &Message<'_>) -> Result<Self, Rejection> {
        Ok(Self)
    }

    fn receive(&mut self, cx: &Crank<'_>, _env: &Self::Env, message: &Message<'_>) -> Answer {
        // Given to the vat with the rows in the crank that makes it: a reference in the host's hand
        // alone holds nothing.
        let (hoard, rows): (Ref, u64) = message.args()?;
        let object = cx.object("witnessed", &());
        let mut left = rows;
        while left > 0 {
            let now = left.min(AT_ONCE);
            cx.send(hoard, "fill", &(now, object));
            left -= now;
        }
        Ok(Payload::empty())
    }

    fn dropped(
        &mut self,
        cx: &Crank<'_>,
        dropped: &Self::Env,
        object: u64,
    ) -> Result<(), Rejection> {
        // When the host has left, nobody measures any more.
        let _ = dropped.send(Instant::now());
        cx.remove_object(object);
        Ok(())
    }
}

/// One run's kernel: the vat with the rows, and those that work beside it.
struct Bed {
    scratch: Scratch,
    kernel: Kernel,
    hoard: VatId,
    dropped: Receiver<Instant>,
}

fn open(scratch: &Scratch, drops: Sender<Instant>) -> Fallible<Kernel> {
    let track = Track {
        payload_bytes: 16,
        turns: 0,
    };
    Ok(Kernel::builder(scratch.join("journal"))
        .kind::<Hoard>(())
        .kind::<Witness>(drops)
        .kind::<Runner>(track)
        .open()?)
}

impl Bed {
    fn new(rows: u64, options: &Options) -> Fallible<Self> {
        let scratch = Scratch::new(options.dir.as_deref())?;
        let kernel = open(&scratch, channel().0)?;
        let hoard = kernel.spawn(Hoard::KIND, &())?.wait()??;
        let witness = kernel.spawn(Witness::KIND, &())?.wait()??;
        let mut batch = kernel.batch();
        for _ in 0..options.vats {
            batch.spawn(Runner::KIND, &())?;
        }
        for made in batch.submit()?.wait()? {
            made?;
        }
        kernel
            .send(witness, "fill", &(Ref::to(hoard), rows))?
            .wait()??;
        kernel.run_until_idle()?;
        // So that the tables have the rows: what is measured is cleaning up, and not filling.
        kernel.close(CLOSING)?;
        let (drops, dropped) = channel();
        let bed = Self {
            kernel: open(&scratch, drops)?,
            scratch,
            hoard,
            dropped,
        };
        // And that the others are in memory: what loading them takes is measured elsewhere.
        let warm = (0..options.vats).map(|vat| bed.send(vat, options));
        for ticket in warm.collect::<Fallible<Vec<_>>>()? {
            ticket.wait()??;
        }
        bed.scratch.wait_until_quiet()?;
        Ok(bed)
    }

    /// The vats behind the first two take their turns.
    fn send(
        &self,
        send: u64,
        options: &Options,
    ) -> Fallible<crankcase::Ticket<crankcase::Outcome>> {
        let vat = VatId::new(VatNumber::HOST, 3 + send % options.vats);
        Ok(self.kernel.send(vat, "start", &LAPS)?)
    }

    /// Closes the kernel, and only then removes its directory.
    fn close(self) -> Fallible<()> {
        Ok(self.kernel.close(CLOSING)?)
    }

    fn paced(&self, rate: f64, options: &Options) -> Fallible<Vec<Settled>> {
        let [settled] = load::paced(rate, options.seconds, |send| self.send(send, options))?;
        Ok(settled)
    }
}

fn main() -> Fallible<()> {
    let mut options = Options::parse();
    if options.quick {
        options.rounds = 1;
        options.seconds = 2.0;
        options.rows = 200_000;
        options.vats = 1_000;
    }
    let bed = Bed::new(0, &options)?;
    let saturated = load::saturated_rate(options.seconds / 4.0, |send| bed.send(send, &options))?;
    bed.close()?;
    let paced = saturated / 2.0;
    println!(
        "saturated: {} sends, paced: {} sends\n",
        rate(saturated),
        rate(paced)
    );
    let [mut during, mut whole, mut without, mut took] = [const { Vec::new() }; 4];
    for _ in 0..options.rounds.max(1) {
        let bed = Bed::new(options.rows, &options)?;
        let ended = bed.kernel.send(bed.hoard, "end", &())?;
        let begun = Instant::now();
        let settled = bed.paced(paced, &options)?;
        ended.wait()??;
        // A large vat is not cleaned up by then, and need not be to know how the others fared.
        let over = bed.dropped.try_recv().ok();
        let span = (begun, over.unwrap_or_else(Instant::now));
        during.push(p99_millis(
            settled.iter().filter(|send| send.overlaps(span)),
        )?);
        whole.push(p99_millis(&settled)?);
        took.extend(over.map(|over| (over - begun).as_secs_f64()));
        bed.close()?;

        let bed = Bed::new(0, &options)?;
        without.push(p99_millis(&bed.paced(paced, &options)?)?);
        bed.close()?;
    }
    println!(
        "{}",
        head(&[
            "99th percentile",
            "ms with the clean-up",
            "ms without",
            "with / without (goal: 2)"
        ])
    );
    for (name, with) in [
        ("until the last reference is let go", during),
        ("the whole run", whole),
    ] {
        println!(
            "{}",
            row(&[
                name.to_owned(),
                Samples::of(with.iter().copied()).to_string(),
                Samples::of(without.iter().copied()).to_string(),
                Samples::ratios(&with, &without).to_string(),
            ])
        );
    }
    let seconds = options.seconds;
    match took.is_empty() {
        true => println!("\nThe clean-up went on in all of the {seconds} s of each run."),
        false => {
            let took = Samples::of(took);
            println!("\nLetting go of the references took {took} s of {seconds} s.");
        }
    }
    Ok(())
}
