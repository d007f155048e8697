//! A disk that says no: callers are told exactly what is known, and nothing acknowledged is lost.

use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use crankcase::{CloseError, CommitOrder, Ref, RunError, SendError, WaitError};
use crankcase_tests::actor::PLAY;
use crankcase_tests::disk::FailingDisk;
use crankcase_tests::host::said;
use crankcase_tests::{Actor, Gate, Host, PATIENCE, Said, Scratch, Shape, Step, in_every_shape};

fn open(shape: Shape, scratch: &Scratch, disk: &Arc<FailingDisk>) -> Host {
    let disk: Arc<dyn crankcase_journal::Faults> = Arc::<FailingDisk>::clone(disk);
    shape.open_with(scratch.dir(), |builder| builder.faults(disk))
}

/// Adds one after the other until the disk says no. Gives the last count that was acknowledged.
fn add_until_it_fails(host: &Host, vat: Ref) -> u64 {
    let mut acknowledged = 0;
    for number in 0..10_000 {
        let asked = host.request(format!("add {number}"));
        let ticket = match asked.send(vat, PLAY, &vec![Step::Add(1)]) {
            Ok(ticket) => ticket,
            Err(SendError::Poisoned(_)) => return acknowledged,
            Err(error) => panic!("{error}"),
        };
        if let Err(error) = host.run_if_needed() {
            let known = matches!(
                error,
                RunError::Poisoned(_) | RunError::Wait(WaitError::Indeterminate(_))
            );
            assert!(known, "{error}");
        }
        match ticket.wait_timeout(PATIENCE) {
            Ok(Some(outcome)) => {
                let said = said(&outcome);
                assert_eq!(said, [Said::Number(acknowledged + 1)]);
                acknowledged += 1;
            }
            Ok(None) => panic!("the ticket neither settles nor fails"),
            Err(WaitError::Indeterminate(_) | WaitError::NotTaken) => return acknowledged,
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the disk does not fail");
}

/// After a failure: everything says so, and the journal opens to a prefix that covers what was
/// acknowledged, from which the same requests go on.
fn check_poisoned_and_reopen(
    shape: Shape,
    scratch: &Scratch,
    host: Host,
    vat: Ref,
    acknowledged: u64,
) {
    assert!(host.stats().poison.is_some());
    assert!(matches!(
        host.tell(vat, &[Step::Add(1)]),
        Err(SendError::Poisoned(_))
    ));
    assert!(matches!(host.run_until_idle(), Err(RunError::Poisoned(_))));
    assert!(
        host.read(vat, |actor: &crankcase_tests::Actor| actor.count)
            .is_err()
    );
    assert!(host.root("name").is_err());
    match host.into_kernel().close(PATIENCE) {
        Err(CloseError::Poisoned(_)) => {}
        other => panic!("closing says that it had stopped: {other:?}"),
    }

    let host = shape.open(scratch.dir());
    host.idle();
    let count = host.look(vat).count;
    assert!(
        count == acknowledged || count == acknowledged + 1,
        "{acknowledged} were acknowledged, and {count} are there"
    );
    // Asked again, each happens once, whether it was there or not.
    for number in 0..acknowledged + 3 {
        let asked = host.request(format!("add {number}"));
        let ticket = asked.send(vat, PLAY, &vec![Step::Add(1)]).unwrap();
        assert_eq!(said(&host.settled(&ticket)), [Said::Number(number + 1)]);
    }
    assert_eq!(host.look(vat).count, acknowledged + 3);
    host.close();
    shape.open(scratch.dir()).close();
}

#[test]
fn a_failed_sync_is_final_and_indeterminate() {
    in_every_shape(|shape| {
        for after in [1, 5] {
            let (scratch, disk) = (Scratch::new(), FailingDisk::new());
            let host = open(shape, &scratch, &disk);
            let vat = host.actor();
            host.idle();
            disk.group_sync
                .store(disk.groups() + after, Ordering::SeqCst);
            let acknowledged = add_until_it_fails(&host, vat);
            check_poisoned_and_reopen(shape, &scratch, host, vat, acknowledged);
        }
    });
}

#[test]
fn a_failed_write_is_final_and_indeterminate() {
    in_every_shape(|shape| {
        let (scratch, disk) = (Scratch::new(), FailingDisk::new());
        let host = open(shape, &scratch, &disk);
        let vat = host.actor();
        host.idle();
        disk.group_write.store(disk.groups() + 4, Ordering::SeqCst);
        let acknowledged = add_until_it_fails(&host, vat);
        check_poisoned_and_reopen(shape, &scratch, host, vat, acknowledged);
    });
}

#[test]
fn a_failed_witness_loses_nothing_acknowledged() {
    in_every_shape(|shape| {
        let (scratch, disk) = (Scratch::new(), FailingDisk::new());
        let host = open(shape, &scratch, &disk);
        let vat = host.actor();
        host.idle();
        disk.witness_write
            .store(disk.groups() + 4, Ordering::SeqCst);
        let acknowledged = add_until_it_fails(&host, vat);
        check_poisoned_and_reopen(shape, &scratch, host, vat, acknowledged);
    });
}

#[test]
fn a_failed_checkpoint_loses_nothing_acknowledged() {
    in_every_shape(|shape| {
        let (scratch, disk) = (Scratch::new(), FailingDisk::new());
        let faults: Arc<dyn crankcase_journal::Faults> = Arc::<FailingDisk>::clone(&disk);
        let host = shape.open_with(scratch.dir(), |builder| {
            builder.faults(faults).checkpoint_every(20, u64::MAX)
        });
        let vat = host.actor();
        disk.checkpoint_write.store(2, Ordering::SeqCst);
        let acknowledged = add_until_it_fails(&host, vat);
        check_poisoned_and_reopen(shape, &scratch, host, vat, acknowledged);
    });
}

#[test]
fn a_failure_under_load_fails_every_open_ticket() {
    in_every_shape(|shape| {
        let (scratch, disk) = (Scratch::new(), FailingDisk::new());
        let host = open(shape, &scratch, &disk);
        let vats = host.actors(4);
        host.idle();
        disk.group_sync.store(disk.groups() + 1, Ordering::SeqCst);
        let mut tickets = Vec::new();
        for _ in 0..200 {
            for &vat in &vats {
                match host.tell(vat, &[Step::Add(1)]) {
                    Ok(ticket) => tickets.push(ticket),
                    Err(error) => assert!(matches!(error, SendError::Poisoned(_)), "{error}"),
                }
            }
        }
        if let Err(error) = host.run_if_needed() {
            assert!(!matches!(error, RunError::Closing), "{error}");
        }
        let mut indeterminate = 0;
        for ticket in &tickets {
            match ticket.wait_timeout(PATIENCE) {
                Err(WaitError::Indeterminate(_)) => indeterminate += 1,
                Err(WaitError::NotTaken) => {}
                other => panic!("nothing was synced, so nothing is known: {other:?}"),
            }
        }
        assert!(indeterminate > 0);
        drop(host);
        let host = shape.open(scratch.dir());
        host.idle();
        for &vat in &vats {
            assert!(host.look(vat).count <= 200);
        }
        host.close();
    });
}

/// Somebody reads what stands in a group that is not written yet, and then its write fails. What was read
/// must be there afterwards, like what a ticket told.
#[test]
fn a_read_never_shows_what_a_failed_write_takes_away() {
    for workers in [1, 4] {
        let shape = Shape {
            order: CommitOrder::Completion,
            workers,
        };
        let (scratch, disk) = (Scratch::new(), FailingDisk::new());
        let _watch = crankcase_tests::watch::Watch::new(format!("a read, {workers} workers"));
        let host = open(shape, &scratch, &disk);
        let vat = host.actor();
        host.idle();
        disk.hold();
        disk.group_write.store(disk.groups() + 1, Ordering::SeqCst);
        let before = host.stats().cranks;
        let told = host.tell(vat, &[Step::Add(1)]).unwrap();
        while host.stats().cranks == before {
            std::thread::yield_now();
        }
        let (answers, answer) = mpsc::channel();
        let (early, read) = std::thread::scope(|scope| {
            let (begins, begun) = mpsc::channel();
            let (host, answers) = (&host, &answers);
            scope.spawn(move || {
                begins.send(()).unwrap();
                answers.send(host.read(vat, |actor: &Actor| actor.count))
            });
            begun.recv().unwrap();
            // That it is not answered is no event, so this waits for a while.
            let early = answer.recv_timeout(Duration::from_millis(300)).ok();
            disk.let_go();
            let read = early.is_none().then(|| answer.recv().unwrap());
            (early, read)
        });
        assert!(early.is_none(), "before its group is written: {early:?}");
        assert!(matches!(read, Some(Err(_))), "{read:?}");
        let outcome = told.wait_timeout(PATIENCE);
        assert!(
            matches!(outcome, Err(WaitError::Indeterminate(_))),
            "{outcome:?}"
        );
        drop(host);
        let host = shape.open(scratch.dir());
        host.idle();
        assert_eq!(host.look(vat).count, 0);
        host.close();
    }
}

#[test]
fn who_asks_again_while_the_disk_fails_is_told() {
    let shape = Shape {
        order: CommitOrder::Completion,
        workers: 2,
    };
    let (scratch, disk) = (Scratch::new(), FailingDisk::new());
    let _watch = crankcase_tests::watch::Watch::new("asking again".to_owned());
    let faults: Arc<dyn crankcase_journal::Faults> = Arc::<FailingDisk>::clone(&disk);
    let host = shape.open_with(scratch.dir(), |builder| {
        builder.faults(faults).undurable_bytes(1)
    });
    let (held, other) = (host.actor(), host.actor());
    host.idle();
    let gate = Gate::closed();
    let arrived = Arc::clone(&gate);
    host.yard.on("gate", move || arrived.pass());
    let ask = || {
        let request = host.request("known, and not answered");
        request.send(held, PLAY, &vec![Step::Call("gate".to_owned())])
    };
    let first = ask().unwrap();
    gate.wait_for_arrivals(1);
    disk.hold();
    disk.group_write.store(disk.groups() + 1, Ordering::SeqCst);
    let last = host.tell(other, &[Step::Add(1)]).unwrap();
    // While a group waits for the disk, what asks waits behind it.
    let (answers, answer) = mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| answers.send(ask()));
        let early = answer.recv_timeout(Duration::from_millis(300)).ok();
        disk.let_go();
        match early.unwrap_or_else(|| answer.recv().unwrap()) {
            Ok(again) => {
                let told = again.wait_timeout(PATIENCE);
                assert!(matches!(told, Err(WaitError::Indeterminate(_))), "{told:?}");
            }
            Err(error) => assert!(matches!(error, SendError::Poisoned(_)), "{error}"),
        }
        for ticket in [first, last] {
            let told = ticket.wait_timeout(PATIENCE);
            assert!(matches!(told, Err(WaitError::Indeterminate(_))), "{told:?}");
        }
        gate.open();
    });
    drop(host);
}

#[test]
fn threads_that_wait_for_room_are_told() {
    let shape = crankcase_tests::host::PLAIN;
    let (scratch, disk) = (Scratch::new(), FailingDisk::new());
    let _watch = crankcase_tests::watch::Watch::new("room".to_owned());
    let faults: Arc<dyn crankcase_journal::Faults> = Arc::<FailingDisk>::clone(&disk);
    let host = shape.open_with(scratch.dir(), |builder| {
        builder
            .faults(faults)
            .host_input_bytes(500)
            .undurable_bytes(500)
    });
    let vat = host.actor();
    host.idle();
    disk.group_sync.store(disk.groups() + 3, Ordering::SeqCst);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    match host.tell(vat, &[Step::Add(1)]) {
                        Ok(ticket) => drop(ticket.wait_timeout(std::time::Duration::ZERO)),
                        Err(SendError::Poisoned(_)) => break,
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        }
    });
    crankcase_tests::executor::block_on(host.room());
    drop(host);
    shape.open(scratch.dir()).close();
}

/// A bug in a thread of the kernel, in the place where tests can put one.
struct Bug;

impl crankcase_journal::Faults for Bug {
    fn group_sync(&self, number: u64) -> std::io::Result<()> {
        assert!(number < 2, "a bug in the committer");
        Ok(())
    }
}

#[test]
fn a_committer_that_is_gone_leaves_nobody_waiting() {
    in_every_shape(|shape| {
        let scratch = Scratch::new();
        let host = shape.open_with(scratch.dir(), |builder| builder.faults(Arc::new(Bug)));
        let vat = host.actor();
        let ticket = host.tell(vat, &[Step::Add(1)]).unwrap();
        let _ = host.run_if_needed();
        let ended = ticket.wait_timeout(PATIENCE);
        assert!(
            matches!(ended, Err(WaitError::Indeterminate(_))),
            "{ended:?}"
        );
        let closed = host.into_kernel().close(PATIENCE);
        assert!(matches!(closed, Err(CloseError::Poisoned(_))), "{closed:?}");
        shape.open(scratch.dir()).close();
    });
}
