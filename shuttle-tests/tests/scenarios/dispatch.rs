//! `Dispatch` order: the journal is a function of the host's calls, whatever the schedule.

use std::sync::{Arc, OnceLock};

use crankcase::{
    ActivityHash, CommitOrder, Poison, Ref, RunError, Seq, VatId, VatNumber, WaitError,
};
use crankcase_journal::Kept;
use crankcase_shuttle_tests::crowd::{Fate, steps};
use crankcase_shuttle_tests::disk::{Disk, Fault};
use crankcase_shuttle_tests::explore;
use crankcase_shuttle_tests::world::{FOR_EVER, below, narrow, one_of, open};
use crankcase_tests::actor::PLAY;
use crankcase_tests::{Host, Step};
use shuttle::thread;

/// Where an order stands.
type Standing = (Seq, ActivityHash);

/// The actors of the program.
const ACTORS: u64 = 3;

fn actor(number: u64) -> Ref {
    Ref::to(VatId::new(VatNumber::HOST, 1 + number))
}

fn dispatching(kept: &Kept) -> Host {
    open(CommitOrder::Dispatch, one_of(&[1, 2, 3]), |builder| {
        narrow(builder.kept(kept.clone()))
    })
}

/// One block of the host's calls. They are under request ids, so that they can be made again after a
/// crash; block 0 makes the actors.
fn submit(host: &Host, block: u64) {
    let mut batch = host.request(format!("block {block}")).batch();
    for number in 0..ACTORS {
        if block == 0 {
            batch
                .spawn("actor", &Vec::<Step>::new())
                .expect("the batch takes it");
            continue;
        }
        let fate = match (block + number) % 4 {
            0 => Fate::Panicked,
            1 => Fate::Refused,
            _ => Fate::Heard,
        };
        let among: Vec<Ref> = (0..ACTORS).map(actor).collect();
        let mut program = vec![
            Step::Wander(2, among),
            Step::Tell(actor((number + 1) % ACTORS), 2),
        ];
        program.extend(steps(number, block, fate));
        batch
            .send(actor(number), PLAY, &program)
            .expect("the batch takes it");
    }
    let _ = batch.submit().expect("the batch is taken");
}

/// Where the program's order ends, which the first schedule says and all others must agree with.
#[track_caller]
fn check_the_same(expected: &OnceLock<Standing>, host: &Host) {
    let stats = host.stats();
    let standing = (stats.durable, stats.activity_hash);
    assert_eq!(
        *expected.get_or_init(|| standing),
        standing,
        "another schedule has another journal"
    );
}

const BLOCKS: u64 = 3;

/// Every block in a run of its own. A host that asks for all of them again after a crash so has the
/// order that one without a crash has.
fn run_all(host: &Host) -> Result<(), RunError> {
    for block in 0..BLOCKS {
        submit(host, block);
        host.run_until_idle()?;
    }
    Ok(())
}

/// Every block in two runs. Runs are part of the order, so their budgets are the same in every
/// schedule.
fn run_in_two(host: &Host) -> Result<(), RunError> {
    for block in 0..BLOCKS {
        submit(host, block);
        host.run(2)?;
        host.run_until_idle()?;
    }
    Ok(())
}

#[test]
fn every_schedule_writes_one_journal() {
    let expected = OnceLock::new();
    explore(&["with several workers", "with one worker"], move |seen| {
        let workers = one_of(&[1, 2, 3, 4]);
        let host = open(CommitOrder::Dispatch, workers, narrow);
        run_in_two(&host).expect("the runs end well");
        check_the_same(&expected, &host);
        host.into_kernel().close(FOR_EVER).expect("it closes");
        seen.note(match workers {
            1 => "with one worker",
            _ => "with several workers",
        });
    });
}

#[test]
fn a_run_that_a_crash_cut_short_ends_in_the_same_journal() {
    const STATES: [&str; 2] = ["a run was open", "no run was open"];
    let expected = OnceLock::new();
    explore(&STATES, move |seen| {
        let kept = Kept::new();
        let host = Arc::new(dispatching(&kept));
        let running = {
            let host = Arc::clone(&host);
            thread::spawn(move || run_all(&host).expect("the runs end well"))
        };
        for _ in 0..below(600) {
            thread::yield_now();
        }
        let crashed = kept.crashed();
        running.join().expect("the host thread ends");
        check_the_same(&expected, &host);
        let host = Arc::into_inner(host).expect("the host thread has ended");
        host.into_kernel().close(FOR_EVER).expect("it closes");
        // The host asks for everything again, and has the run that was cut short finished first.
        let host = dispatching(&crashed);
        let before = host.stats().sequenced;
        host.run(0).expect("the run ends well");
        seen.note(match host.stats().sequenced == before {
            true => STATES[1],
            false => STATES[0],
        });
        run_all(&host).expect("the runs end well");
        check_the_same(&expected, &host);
        host.into_kernel().close(FOR_EVER).expect("it closes");
    });
}

#[test]
fn a_run_in_which_the_disk_fails_ends_with_the_reason_and_in_the_same_journal_later() {
    const STATES: [&str; 2] = ["a run was told", "the fault never came about"];
    let expected = OnceLock::new();
    explore(&STATES, move |seen| {
        let kept = Kept::new();
        let fault = Fault::GroupWrite(1 + below(8));
        let host = open(CommitOrder::Dispatch, one_of(&[1, 2, 3]), |builder| {
            narrow(builder.kept(kept.clone())).faults(Disk::failing(fault))
        });
        match run_all(&host) {
            Ok(()) => seen.note(STATES[1]),
            Err(
                RunError::Poisoned(Poison::Commit(_))
                | RunError::Wait(WaitError::Indeterminate(Poison::Commit(_))),
            ) => seen.note(STATES[0]),
            Err(error) => panic!("{fault:?} shows as {error:?}"),
        }
        let _ = host.into_kernel().close(FOR_EVER);
        let host = dispatching(&kept);
        run_all(&host).expect("the runs end well");
        check_the_same(&expected, &host);
        host.into_kernel().close(FOR_EVER).expect("it closes");
    });
}
