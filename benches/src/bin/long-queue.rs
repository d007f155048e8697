//! Memory while one vat is held up and millions of messages wait for it, and until they are drained.
//!
//! The host's own inputs are bounded, so another vat sends them. The receiver's first crank waits
//! until all are queued; it takes the messages in the order in which they were sent, or fails.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use clap::Parser;
use crankcase::raw::{Crank, Message, Vat};
use crankcase::{Answer, Kernel, Payload, Ref, Rejection};
use crankcase_benches::Fallible;
use crankcase_benches::blob::Blob;
use crankcase_benches::measure::{head, rate, row};
use crankcase_benches::memory::peak_resident_bytes;
use crankcase_benches::scratch::Scratch;
use crankcase_benches::trial::CLOSING;
use serde::{Deserialize, Serialize};

/// What one crank of the sender queues.
const AT_ONCE: u64 = 1_000;

/// What the messages of a crank carry beside their bytes.
const HEAD_BYTES: usize = 16;

/// The most resident memory while a long queue fills and drains.
#[derive(Parser)]
struct Options {
    /// How many messages wait.
    #[arg(long, default_value_t = 10_000_000)]
    messages: u64,
    /// Bytes of each.
    #[arg(long, default_value_t = 1_000)]
    bytes: usize,
    /// MiB of bodies that the kernel keeps in memory.
    #[arg(long, default_value_t = 32)]
    inbox_mib: usize,
    /// Where the journal goes: it takes more than twice what all messages have together.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// A few seconds in all, to see that everything runs.
    #[arg(long)]
    quick: bool,
}

/// What holds the receiver up: it says that it is there, and waits for word.
struct Gate {
    arrived: SyncSender<()>,
    opened: Mutex<Receiver<()>>,
}

/// Takes numbered messages in their order.
#[derive(Serialize, Deserialize)]
struct Taker {
    next: u64,
}

impl Vat for Taker {
    const KIND: &'static str = "taker";
    const VERSION: u32 = 1;
    type Env = Gate;

    fn create(_cx: &Crank<'_>, _gate: &Gate, _start: &Message<'_>) -> Result<Self, Rejection> {
        Ok(Self { next: 0 })
    }

    fn receive(&mut self, _cx: &Crank<'_>, gate: &Gate, message: &Message<'_>) -> Answer {
        match message.method() {
            "hold" => {
                let gone = |_| Rejection::new("gone", "the host is gone");
                gate.arrived.send(()).map_err(|_| gone(()))?;
                let opened = gate.opened.lock().unwrap_or_else(PoisonError::into_inner);
                opened.recv().map_err(|_| gone(()))?;
            }
            "take" => {
                let (number, _): (u64, Blob) = message.args()?;
                if number != self.next {
                    let found = format!("{number} came instead of {}", self.next);
                    return Err(Rejection::new("order", found));
                }
                self.next += 1;
            }
            other => return Err(Rejection::new("no_such_method", other)),
        }
        Ok(Payload::empty())
    }
}

/// Sends numbered messages.
#[derive(Serialize, Deserialize)]
struct Giver {
    taker: Ref,
    next: u64,
}

impl Vat for Giver {
    const KIND: &'static str = "giver";
    const VERSION: u32 = 1;
    type Env = usize;

    fn create(_cx: &Crank<'_>, _bytes: &usize, start: &Message<'_>) -> Result<Self, Rejection> {
        Ok(Self {
            taker: start.args()?,
            next: 0,
        })
    }

    fn receive(&mut self, cx: &Crank<'_>, bytes: &usize, message: &Message<'_>) -> Answer {
        let blob = Blob(vec![0x5a; *bytes]);
        for _ in 0..message.args::<u64>()? {
            cx.send(self.taker, "take", &(self.next, &blob));
            self.next += 1;
        }
        Ok(Payload::empty())
    }
}

fn main() -> Fallible<()> {
    let mut options = Options::parse();
    if options.quick {
        options.messages = 50_000;
    }
    let scratch = Scratch::new(options.dir.as_deref())?;
    let (arrived, arrives) = sync_channel(1);
    let (open, opened) = sync_channel(1);
    let gate = Gate {
        arrived,
        opened: Mutex::new(opened),
    };
    let kernel = Kernel::builder(scratch.join("journal"))
        // One is held up with the receiver.
        .workers(2)
        .inbox_bytes(options.inbox_mib << 20)
        .kind::<Taker>(gate)
        .kind::<Giver>(options.bytes.saturating_sub(HEAD_BYTES))
        .open()?;
    let taker = kernel.spawn(Taker::KIND, &())?.wait()??;
    let giver = kernel.spawn(Giver::KIND, &Ref::to(taker))?.wait()??;
    let held = kernel.send(taker, "hold", &())?;
    arrives.recv()?;

    let begun = Instant::now();
    let mut left = options.messages;
    let mut last = None;
    while left > 0 {
        let now = left.min(AT_ONCE);
        left -= now;
        last = Some(kernel.send(giver, "give", &now)?);
    }
    if let Some(last) = last {
        last.wait()??;
    }
    let queued = begun.elapsed();
    let peak_queued = peak_resident_bytes()?;
    let waiting = kernel.stats().waiting;
    open.send(())?;
    held.wait()??;
    let begun = Instant::now();
    kernel.run_until_idle()?;
    let drained = begun.elapsed();
    let taken = kernel.read(taker, |taker: &Taker| taker.next)?;
    let peak = peak_resident_bytes()?;
    let abandoned = kernel.stats().abandoned;
    kernel.close(CLOSING)?;
    if taken != options.messages || abandoned != 0 {
        let sent = options.messages;
        return Err(format!("{taken} of {sent} messages were taken in order").into());
    }
    println!(
        "{}",
        head(&[
            "waiting at once",
            "queued",
            "drained",
            "peak MiB until queued",
            "peak MiB (goal: 512)"
        ])
    );
    let mib = |bytes: u64| format!("{:.0}", bytes as f64 / f64::from(1 << 20));
    println!(
        "{}",
        row(&[
            waiting.to_string(),
            rate(options.messages as f64 / queued.as_secs_f64()),
            rate(options.messages as f64 / drained.as_secs_f64()),
            mib(peak_queued),
            mib(peak),
        ])
    );
    Ok(())
}
