//! What a child does to a journal until it is killed, and how it says what its tickets told it.
//!
//! Every request is a function of the round's seed, its client and its number, so that whoever knows
//! those can ask for the same again.
//!
//! ```text
//! open SEQ                      the kernel is open, and the journal reached so far
//! t CLIENT NUMBER OUTCOME       a ticket has settled
//! r TILL MOVES MONEY            a read was answered
//! s SEQ HASH                    so far is durable
//! stopped WHY                   a ticket or a call said that the kernel has stopped
//! refused WHY                   the journal did not open
//! closed, or not-closed WHY
//! ```

use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use crankcase::{
    Batch, CommitOrder, Kernel, Outcome, ReadError, Ref, RunError, SendError, Ticket, VatId,
    VatNumber, WaitError,
};

use super::plan::{CLIENTS, Plan};
use super::till::{Spoil, Till, sign};
use crate::host::PATIENCE;
use crate::luck::Luck;

/// How many tills the host makes.
pub const TILLS: u64 = 5;
/// What each has at first.
pub const START: u64 = 1000;
/// The request that makes everything.
pub const FOUNDING: &str = "founding";
/// How many records a load needs for old groups to be dropped, with room to spare.
const PATTER: u64 = 4_500;

/// The till of that number, from 0.
#[must_use]
pub fn till(number: u64) -> Ref<Till> {
    Ref::to(VatId::new(VatNumber::HOST, 1 + number)).cast()
}

/// The sign.
#[must_use]
pub fn sign() -> Ref<sign::Sign> {
    Ref::to(VatId::new(VatNumber::HOST, 1 + TILLS)).cast()
}

/// The request of a client with that number.
#[must_use]
pub fn id(client: usize, number: u64) -> String {
    format!("{client}:{number}")
}

/// Makes the vats.
///
/// # Errors
///
/// What the kernel says.
pub fn found(kernel: &Kernel) -> Result<Ticket<Vec<Outcome>>, SendError> {
    let mut batch = kernel.request(FOUNDING).batch();
    for _ in 0..TILLS {
        let _made: Ref<Till> = Till::spawn(&mut batch, START)?;
    }
    let _made: Ref<sign::Sign> = sign::Sign::spawn(&mut batch)?;
    batch.submit()
}

/// Hands in a request; what it is stands in the plan's seed.
///
/// # Errors
///
/// What the kernel says.
pub fn ask(
    kernel: &Kernel,
    plan: &Plan,
    client: usize,
    number: u64,
) -> Result<Ticket<Vec<Outcome>>, SendError> {
    let mut luck = Luck::new(plan.seed ^ ((client as u64) << 48) ^ (number << 16));
    let mut batch = kernel.request(id(client, number)).batch();
    fill(&mut batch, plan, &mut luck, client, number)?;
    batch.submit()
}

fn fill(
    batch: &mut Batch<'_>,
    plan: &Plan,
    luck: &mut Luck,
    client: usize,
    number: u64,
) -> Result<(), SendError> {
    let from = till(luck.below(TILLS));
    let to = till(luck.below(TILLS));
    // One request may take two numbers.
    let payment = client as u64 * 10_000_000 + number * 10;
    let amount = luck.below(40);
    // Which of the batch's outcomes is whose is known: it has but one.
    match luck.below(100) {
        // The journal must come past a window of the hash before anything can be dropped.
        _ if plan.drops && number == 0 => {
            from.patter(batch, PATTER, client == 0)?;
        }
        0..40 => {
            let spoil = match luck.below(12) {
                0 => Spoil::Refuse,
                1 => Spoil::Panic,
                _ => Spoil::Nothing,
            };
            let padding = vec![7; plan.padding as usize];
            from.pay(batch, to, payment, amount, spoil, padding)?;
        }
        40..55 => {
            from.give(batch, to, payment, amount)?;
        }
        55..68 => {
            from.cash(batch, payment, luck.below(3) == 0)?;
        }
        68..80 => {
            from.employ(batch, payment, amount, luck.below(90))?;
        }
        80..86 => {
            let count = luck.below(40);
            from.patter(batch, count, luck.below(2) == 0)?;
        }
        86..97 => {
            sign().turn(batch)?;
        }
        _ => batch.upgrade::<sign::two::Sign>(sign())?,
    }
    Ok(())
}

/// An outcome in one word.
#[must_use]
pub fn word(outcomes: &[Outcome]) -> String {
    let one = |outcome: &Outcome| match outcome {
        Ok(payload) => {
            let hex = payload.bytes().iter().map(|byte| format!("{byte:02x}"));
            format!("ok:{}", hex.collect::<String>())
        }
        Err(rejection) => format!("no:{:?}:{}", rejection.cause(), rejection.code()),
    };
    let words: Vec<String> = outcomes.iter().map(one).collect();
    words.join(",").replace(' ', "_")
}

/// One line, whole, even with several threads.
fn tell(line: &str) {
    let mut out = std::io::stdout().lock();
    // The parent may have stopped listening; then there is nobody to tell.
    let _ = out
        .write_all(format!("{line}\n").as_bytes())
        .and_then(|()| out.flush());
}

/// The end of a child's work: the kernel has stopped, and said so.
struct Stopped;

fn stopped(why: &dyn std::fmt::Display) -> Stopped {
    tell(&format!("stopped {why}"));
    Stopped
}

/// Works on the journal in `dir` as planned, and then closes it.
///
/// # Panics
///
/// When the kernel says what it may not say.
pub fn run(dir: &Path, plan: &Plan) {
    tell("opening");
    let kernel = match plan.builder(dir).open() {
        Ok(kernel) => kernel,
        Err(error) => return tell(&format!("refused {error}")),
    };
    tell(&format!("open {}", kernel.recovered().last));
    // What stops one client stops them all.
    let _stopped = match plan.shape.order {
        CommitOrder::Completion => all_at_once(&kernel, plan),
        CommitOrder::Dispatch => in_runs(&kernel, plan),
    };
    match kernel.close(PATIENCE) {
        Ok(()) => tell("closed"),
        Err(error) => tell(&format!("not-closed {error}")),
    }
}

/// Settles a ticket and tells what it told.
fn settle(
    ticket: &Ticket<Vec<Outcome>>,
    told: impl FnOnce(&[Outcome]) -> Option<String>,
) -> Result<(), Stopped> {
    match ticket.wait_timeout(PATIENCE) {
        Ok(Some(outcomes)) => {
            if let Some(line) = told(&outcomes) {
                tell(&line);
            }
            Ok(())
        }
        Ok(None) => panic!("a ticket does not settle: {ticket:?}"),
        Err(error @ (WaitError::Indeterminate(_) | WaitError::Closed | WaitError::NotTaken)) => {
            Err(stopped(&error))
        }
        Err(error) => panic!("a ticket says {error}"),
    }
}

fn taken<T>(sent: Result<T, SendError>) -> Result<T, Stopped> {
    match sent {
        Ok(taken) => Ok(taken),
        Err(error @ (SendError::Poisoned(_) | SendError::Closing)) => Err(stopped(&error)),
        Err(error) => panic!("a request is not taken: {error}"),
    }
}

fn all_at_once(kernel: &Kernel, plan: &Plan) -> Result<(), Stopped> {
    settle(&taken(found(kernel))?, |_| None)?;
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let over = &over;
            scope.spawn(move || {
                if work(kernel, plan, client, over).is_err() {
                    over.store(true, Ordering::SeqCst);
                }
            });
        }
    });
    match over.into_inner() {
        true => Err(Stopped),
        false => Ok(()),
    }
}

/// One client's requests, a few at a time.
fn work(kernel: &Kernel, plan: &Plan, client: usize, over: &AtomicBool) -> Result<(), Stopped> {
    let start = plan.starts[client];
    let mut luck = Luck::new(plan.seed ^ start ^ client as u64);
    let mut number = start;
    while number < start + plan.requests && !over.load(Ordering::SeqCst) {
        let window = 1 + luck.below(5);
        let mut tickets = Vec::new();
        for number in number..number + window {
            tickets.push((number, taken(ask(kernel, plan, client, number))?));
        }
        for (number, ticket) in tickets {
            settle(&ticket, |outcomes| {
                Some(format!("t {client} {number} {}", word(outcomes)))
            })?;
        }
        number += window;
        look(kernel, &mut luck)?;
    }
    Ok(())
}

/// Looks at something, now and then.
fn look(kernel: &Kernel, luck: &mut Luck) -> Result<(), Stopped> {
    if luck.below(3) == 0 {
        let number = luck.below(TILLS);
        match kernel.read(till(number), |till: &Till| (till.moves, till.money)) {
            Ok((moves, money)) => tell(&format!("r {number} {moves} {money}")),
            Err(ReadError::Wait(error)) => return Err(stopped(&error)),
            Err(ReadError::Journal(why)) => return Err(stopped(&why)),
            Err(error) => panic!("a read says {error}"),
        }
    }
    if luck.below(3) == 0 {
        let stats = kernel.stats();
        tell(&format!("s {} {}", stats.durable, stats.activity_hash));
    }
    Ok(())
}

/// All clients' requests, between runs.
fn in_runs(kernel: &Kernel, plan: &Plan) -> Result<(), Stopped> {
    let founding = taken(found(kernel))?;
    ran(kernel.run_until_idle())?;
    settle(&founding, |_| None)?;
    let start = plan.starts.iter().sum::<u64>();
    let mut luck = Luck::new(plan.seed ^ start);
    let mut done = 0;
    while done < plan.requests {
        let window = 1 + luck.below(5);
        let mut tickets = Vec::new();
        for number in done..done + window {
            for (client, start) in plan.starts.iter().enumerate() {
                let number = start + number;
                let ticket = taken(ask(kernel, plan, client, number))?;
                tickets.push((client, number, ticket));
            }
        }
        // Some runs end in the middle of what there is to do.
        if luck.below(3) == 0 {
            ran(kernel.run(luck.below(60)))?;
        }
        ran(kernel.run_until_idle())?;
        for (client, number, ticket) in tickets {
            settle(&ticket, |outcomes| {
                Some(format!("t {client} {number} {}", word(outcomes)))
            })?;
        }
        done += window;
        look(kernel, &mut luck)?;
    }
    Ok(())
}

fn ran(run: Result<(), RunError>) -> Result<(), Stopped> {
    match run {
        Ok(()) => Ok(()),
        Err(
            error @ (RunError::Poisoned(_)
            | RunError::Closing
            | RunError::Wait(WaitError::Indeterminate(_) | WaitError::Closed)),
        ) => Err(stopped(&error)),
        Err(error) => panic!("a run says {error}"),
    }
}
