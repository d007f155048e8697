//! A host that is there to be killed. `victim DIR WHAT WORDS…` works on the journal in DIR and says,
//! a line each, what its tickets reported, and only once they did.

use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};

use crankcase::{Clock, CommitOrder, Durability, Kernel, KernelBuilder, Ref, VatId, VatNumber};
use crankcase_tests::actor::PLAY;
use crankcase_tests::crash::{Plan, load};
use crankcase_tests::host::{Shape, said};
use crankcase_tests::{Gate, Host, Said, Step, workload};

type Failed = Box<dyn std::error::Error>;

fn main() -> Result<(), Failed> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let dir = PathBuf::from(words.first().ok_or("which directory?")?);
    let number = |at: usize| words.get(at).and_then(|word| word.parse::<u64>().ok());
    match words.get(1).map(String::as_str) {
        Some("hold") => hold(&dir),
        Some("requests") => requests(&dir, durability(words.get(2)), number(3).unwrap_or(4)),
        Some("blocks") => blocks(&dir, number(2).unwrap_or(1), number(3).unwrap_or(2)),
        Some("load") => {
            let plan = Plan::from_words(&words[2..]).ok_or("what is the plan?")?;
            load::run(&dir, &plan);
            Ok(())
        }
        Some("stuck-run") => stuck_run(&dir, number(2).unwrap_or(1)),
        what => Err(format!("what is {what:?}?").into()),
    }
}

/// One line, whole, even with several threads.
fn tell(line: &str) {
    let mut out = std::io::stdout().lock();
    // The parent may have stopped listening; then there is nobody to tell.
    let _ = out
        .write_all(format!("{line}\n").as_bytes())
        .and_then(|()| out.flush());
}

fn durability(word: Option<&String>) -> Durability {
    match word.map(String::as_str) {
        Some("buffered") => Durability::Buffered,
        _ => Durability::Sync,
    }
}

/// Settings with which everything that happens now and then happens all the time.
fn restless(builder: KernelBuilder) -> KernelBuilder {
    builder
        .checkpoint_every(100, u64::MAX)
        .vats_in_memory(4)
        .group_bytes(512)
}

/// Opens the journal and stays.
fn hold(dir: &std::path::Path) -> Result<(), Failed> {
    let host = Shape {
        order: CommitOrder::Completion,
        workers: 1,
    }
    .open(dir);
    tell("open");
    std::io::stdin().read_line(&mut String::new())?;
    host.close();
    Ok(())
}

/// Threads, each with an actor of its own, that count in it under request ids for ever. They begin
/// from 0 each time: what was done before is only told again.
fn requests(dir: &std::path::Path, durability: Durability, threads: u64) -> Result<(), Failed> {
    tell("opening");
    let shape = Shape {
        order: CommitOrder::Completion,
        workers: 2,
    };
    let host = shape.open_with(dir, |builder| restless(builder).durability(durability));
    tell("open");
    let mut batch = host.request("actors").batch();
    for _ in 0..=threads {
        batch.spawn("actor", &Vec::<Step>::new())?;
    }
    batch.submit()?.wait()?;
    let kernel: &Kernel = &host;
    std::thread::scope(|scope| {
        for thread in 1..=threads {
            scope.spawn(move || {
                let id = |counter| VatId::new(VatNumber::HOST, counter);
                let (to, sink) = (id(thread), id(threads + 1));
                let begin = kernel.read(to, |actor: &crankcase_tests::Actor| actor.count);
                for number in begin.unwrap_or(0).saturating_sub(3).. {
                    let steps = vec![
                        Step::Add(1),
                        Step::Send(Ref::to(sink), vec![Step::Hear(to, number)]),
                    ];
                    let asked = kernel.request(format!("{thread}:{number}"));
                    let Ok(ticket) = asked.send(to, PLAY, &steps) else {
                        return;
                    };
                    let Ok(outcome) = ticket.wait() else { return };
                    if let Some(Said::Number(count)) = said(&outcome).first() {
                        tell(&format!("{thread} {number} {count}"));
                    }
                }
            });
        }
    });
    Ok(())
}

/// Runs blocks in dispatch order up to a last one, those that are done already left out, and says
/// where the order stands after each.
fn blocks(dir: &std::path::Path, last: u64, workers: u64) -> Result<(), Failed> {
    let shape = Shape {
        order: CommitOrder::Dispatch,
        workers: usize::try_from(workers)?,
    };
    let manual = |builder| restless(builder).clock(Clock::Manual);
    let host = shape.open_with(dir, manual);
    tell("open");
    // A run that was cut short goes to its end before the clock is set for the next block.
    host.run(0)?;
    for block in 0..=last {
        // The clock stands where the last block left it, and a block behind it is done.
        let _ = host.set_time(block);
        let ticket = workload::submit(&host, block)?;
        host.run_until_idle()?;
        ticket.wait()?;
        let (seq, hash) = workload::standing(&host);
        tell(&format!("{block} {seq} {hash}"));
    }
    host.close();
    Ok(())
}

/// Begins a run, and gets stuck in the middle of it, with part of it durable.
fn stuck_run(dir: &std::path::Path, workers: u64) -> Result<(), Failed> {
    let shape = Shape {
        order: CommitOrder::Dispatch,
        workers: usize::try_from(workers)?,
    };
    let host: Arc<Host> =
        Arc::new(shape.open_with(dir, |builder| builder.clock(Clock::Manual).group_bytes(1)));
    let (gate, (stuck, is_stuck)) = (Gate::closed(), mpsc::channel());
    let calls = AtomicU64::new(0);
    host.yard.on("middle", move || {
        if calls.fetch_add(1, Ordering::SeqCst) == 0 {
            let _ = stuck.send(());
        }
        gate.pass();
    });
    let runs = Arc::clone(&host);
    std::thread::spawn(move || middle_run(&runs).map_err(|error| error.to_string()));
    is_stuck.recv()?;
    let before = host.stats().durable;
    tell(&format!("stuck {before}"));
    std::io::stdin().read_line(&mut String::new())?;
    Ok(())
}

/// A block, and a run that does not come to its end in it.
fn middle_run(host: &Host) -> Result<(), Failed> {
    let _ = workload::submit(host, 0)?;
    let _ = workload::submit(host, 1)?;
    host.run_until_idle()?;
    let _ = workload::submit(host, 2)?;
    let _ = host.tell(
        VatId::new(VatNumber::HOST, 1),
        &[Step::Call("middle".to_owned())],
    )?;
    let _ = workload::submit(host, 3)?;
    host.run(workload::ACTORS * 3)?;
    Ok(())
}
