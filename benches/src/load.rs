//! Sending from the host at a rate, and how long each send takes to settle.
//!
//! First the rate is found at which the kernel is saturated, then measurements run at half of it: what
//! takes longer there is what was put beside the load, and not a queue that grows.

use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};
use std::time::{Duration, Instant};

use crankcase::{Outcome, Ticket};

use crate::Fallible;
use crate::measure::Samples;

/// Sends that may be under way while the saturated rate is looked for.
const UNDER_WAY: usize = 4_096;

/// A send and how long it took to settle.
#[derive(Debug, Clone, Copy)]
pub struct Settled {
    /// When it was due.
    pub at: Instant,
    /// From then until its ticket had settled.
    pub took: Duration,
}

impl Settled {
    /// Whether it was under way at some time within the span.
    #[must_use]
    pub fn overlaps(&self, span: (Instant, Instant)) -> bool {
        self.at <= span.1 && self.at + self.took >= span.0
    }
}

/// The 99th percentile of how long they took, in milliseconds.
///
/// # Errors
///
/// When there are none.
pub fn p99_millis<'a>(settled: impl IntoIterator<Item = &'a Settled>) -> Fallible<f64> {
    let took: Vec<f64> = settled
        .into_iter()
        .map(|send| send.took.as_secs_f64() * 1e3)
        .collect();
    if took.is_empty() {
        return Err("no send was under way when it mattered: give the run more time".into());
    }
    Ok(Samples::of(took).quantile(0.99))
}

/// Sends per second with as many under way as the host can have; `send` is called with 0, 1, 2 …
///
/// # Errors
///
/// Whatever went wrong.
pub fn saturated_rate(
    seconds: f64,
    mut send: impl FnMut(u64) -> Fallible<Ticket<Outcome>>,
) -> Fallible<f64> {
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
    let end = begun + Duration::from_secs_f64(seconds);
    for index in 0.. {
        if Instant::now() >= end || give.send(send(index)?).is_err() {
            break;
        }
    }
    drop(give);
    let settled = waiter.join().map_err(|_| "the waiter panicked")??;
    Ok(settled as f64 / begun.elapsed().as_secs_f64())
}

/// Sends at that rate, `send` called with 0, 1, 2 …, and gives what became of each.
///
/// Sends go into lanes by turns, and one lane's tickets are waited for by one thread in their order:
/// what a slow one holds up is then seen in its own lane alone.
///
/// # Errors
///
/// Whatever went wrong.
pub fn paced<const LANES: usize>(
    rate: f64,
    seconds: f64,
    send: impl FnMut(u64) -> Fallible<Ticket<Outcome>>,
) -> Fallible<[Vec<Settled>; LANES]> {
    std::thread::scope(|scope| {
        let mut give = Vec::new();
        let waiters: [_; LANES] = std::array::from_fn(|_| {
            let (sender, take) = channel();
            give.push(sender);
            scope.spawn(move || wait_for_all(&take))
        });
        let sent = send_paced(rate, seconds, &give, send);
        drop(give);
        let mut lanes: [Vec<Settled>; LANES] = std::array::from_fn(|_| Vec::new());
        for (waiter, lane) in waiters.into_iter().zip(&mut lanes) {
            *lane = waiter.join().map_err(|_| "the waiter panicked")??;
        }
        sent?;
        Ok(lanes)
    })
}

/// Each send has its time on a timetable, and is counted from that time even when the host was
/// late, because a real client would have waited for that too.
fn send_paced(
    rate: f64,
    seconds: f64,
    lanes: &[Sender<(Instant, Ticket<Outcome>)>],
    mut send: impl FnMut(u64) -> Fallible<Ticket<Outcome>>,
) -> Fallible<()> {
    let begun = Instant::now();
    let sends = (rate * seconds) as u64;
    for (index, lane) in (0..sends).zip(lanes.iter().cycle()) {
        let due = begun + Duration::from_secs_f64(index as f64 / rate);
        if let Some(early) = due.checked_duration_since(Instant::now()) {
            // Below that a sleep is coarser than the timetable, and sends come in small bursts.
            std::thread::sleep(early.max(Duration::from_micros(200)));
        }
        if lane.send((due, send(index)?)).is_err() {
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
