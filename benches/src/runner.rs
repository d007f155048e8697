//! A vat that keeps itself busy: each message that it takes sends it the next one, until it has
//! taken as many as it was told.

use std::hint::black_box;
use std::time::{Duration, Instant};

use crankcase::raw::{Crank, Message, Vat};
use crankcase::{Answer, Kernel, Payload, Rejection};
use serde::{Deserialize, Serialize};

use crate::Fallible;
use crate::actor::vat_of;
use crate::blob::Blob;
use crate::trial::{Trial, check_cranks, spawn_all};

/// A vat that sends itself its next message.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Runner {
    taken: u64,
    left: u64,
}

/// What the host gives to all runners.
#[derive(Debug, Clone, Copy, Default)]
pub struct Track {
    /// The bytes that each message carries.
    pub payload_bytes: usize,
    /// How many turns of [`spin`] each crank takes.
    pub turns: u64,
}

impl Vat for Runner {
    const KIND: &'static str = "runner";
    const VERSION: u32 = 1;
    type Env = Track;

    fn create(_cx: &Crank<'_>, _track: &Track, _start: &Message<'_>) -> Result<Self, Rejection> {
        Ok(Self { taken: 0, left: 0 })
    }

    fn receive(&mut self, cx: &Crank<'_>, track: &Track, message: &Message<'_>) -> Answer {
        match message.method() {
            "start" => self.left = message.args()?,
            "lap" => {
                let mut blob: Blob = message.args()?;
                self.taken += 1;
                spin(track.turns);
                if self.left > 0 {
                    self.left -= 1;
                    if let Some(first) = blob.0.first_mut() {
                        *first = first.wrapping_add(1);
                    }
                    cx.send(cx.me(), "lap", &blob);
                }
                return Ok(Payload::empty());
            }
            other => return Err(Rejection::new("no_such_method", other)),
        }
        if self.left > 0 {
            self.left -= 1;
            cx.send(cx.me(), "lap", &Blob(vec![0x5a; track.payload_bytes]));
        }
        Ok(Payload::empty())
    }
}

/// Makes `vats` runners, the first vats of their kernel.
///
/// # Errors
///
/// Whatever went wrong.
pub fn spawn(kernel: &Kernel, vats: u32) -> Fallible<()> {
    spawn_all(kernel, &vec![Runner { taken: 0, left: 0 }; vats as usize])
}

/// Lets each of the first `vats` runners take `laps` messages of its own, and waits until all is
/// durable.
///
/// # Errors
///
/// Whatever went wrong.
pub fn run(kernel: &Kernel, vats: u32, laps: u64) -> Fallible<Trial> {
    let before = kernel.stats();
    let begun = Instant::now();
    let mut batch = kernel.batch();
    for vat in 0..vats {
        batch.send(vat_of(vat), "start", &laps)?;
    }
    // What became of each start shows in the count of cranks.
    drop(batch.submit()?);
    kernel.run_until_idle()?;
    let elapsed = begun.elapsed();
    let messages = u64::from(vats) * laps;
    check_cranks(&before, &kernel.stats(), messages + u64::from(vats))?;
    Ok(Trial { messages, elapsed })
}

/// Work that takes a processor and touches no memory.
pub fn spin(turns: u64) {
    let mut word = 1_u64;
    for turn in 0..turns {
        word = black_box(word.wrapping_mul(31).wrapping_add(turn));
    }
    black_box(word);
}

/// How many turns of [`spin`] take so long on an undisturbed processor: the fastest of several
/// tries says it. A count of turns, unlike a clock, shows when two workers share one processor.
#[must_use]
pub fn turns_of(time: Duration) -> u64 {
    const TRY: u64 = 1_000_000;
    let fastest = (0..20).map(|_| {
        let begun = Instant::now();
        spin(TRY);
        begun.elapsed()
    });
    let fastest = fastest.min().unwrap_or(time).as_secs_f64();
    (time.as_secs_f64() / fastest * TRY as f64) as u64
}
