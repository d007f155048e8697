//! The end of a kernel, in all its ways.

use std::sync::Arc;
use std::time::Duration;

use crankcase::{CloseError, WaitError};
use crankcase_tests::host::{PLAIN, failed, settled};
use crankcase_tests::watch::Watch;
use crankcase_tests::{Gate, Host, PATIENCE, Scratch, Shape, Step, in_every_shape};

fn gate_in(host: &Host) -> Arc<Gate> {
    let gate = Gate::closed();
    let held = Arc::clone(&gate);
    host.yard.on("gate", move || held.pass());
    gate
}

#[test]
fn closing_waits_for_cranks_that_run() {
    for workers in [1, 2, 4] {
        let (scratch, shape) = (Scratch::new(), Shape { workers, ..PLAIN });
        let host = shape.open(scratch.dir());
        let vat = host.actor();
        let gate = gate_in(&host);
        let ticket = host
            .tell(vat, &[Step::Call("gate".to_owned()), Step::Add(1)])
            .unwrap();
        gate.wait_for_arrivals(1);
        let kernel = host.into_kernel();
        std::thread::scope(|scope| {
            let closes = scope.spawn(|| kernel.close(PATIENCE));
            gate.open();
            closes.join().unwrap().unwrap();
        });
        assert!(settled(&ticket).is_ok());
        let host = shape.open(scratch.dir());
        assert_eq!(host.look(vat).count, 1);
        host.close();
    }
}

#[test]
fn deliveries_behind_a_crank_that_runs_wait_in_the_journal() {
    let (scratch, shape) = (
        Scratch::new(),
        Shape {
            workers: 1,
            ..PLAIN
        },
    );
    let host = shape.open(scratch.dir());
    let vat = host.actor();
    let gate = gate_in(&host);
    let _ = host
        .tell(vat, &[Step::Call("gate".to_owned()), Step::Add(1)])
        .unwrap();
    gate.wait_for_arrivals(1);
    let behind: Vec<_> = (0..500)
        .map(|_| host.tell(vat, &[Step::Add(1)]).unwrap())
        .collect();
    let kernel = host.into_kernel();
    std::thread::scope(|scope| {
        let closes = scope.spawn(|| kernel.close(PATIENCE));
        gate.open();
        closes.join().unwrap().unwrap();
    });
    // As many as the worker got to before it saw the closing have settled; the others say why not.
    for ticket in behind {
        match ticket.wait() {
            Ok(outcome) => assert!(outcome.is_ok()),
            Err(error) => assert_eq!(error, WaitError::Closed),
        }
    }
    let host = shape.open(scratch.dir());
    host.idle();
    assert_eq!(host.look(vat).count, 501, "each ran once, before or after");
    host.close();
}

#[test]
fn a_crank_that_does_not_end_is_named_and_runs_again() {
    for workers in [1, 2, 4] {
        let shape = Shape { workers, ..PLAIN };
        let scratch = Scratch::new();
        let host = shape.open(scratch.dir());
        let [vat, other] = host.actors(2)[..] else {
            panic!("two actors")
        };
        let gate = gate_in(&host);
        host.play(other, &[Step::Add(7)]).unwrap();
        let stuck = host
            .tell(vat, &[Step::Call("gate".to_owned()), Step::Add(1)])
            .unwrap();
        gate.wait_for_arrivals(1);
        let behind = host.tell(vat, &[Step::Add(1)]).unwrap();
        match host.into_kernel().close(Duration::from_millis(1)) {
            // A worker that has nothing to do may need longer than that to see that it is over.
            Err(CloseError::Timeout { running, .. }) => assert!(running >= 1),
            other => panic!("one crank does not end: {other:?}"),
        }
        assert_eq!(failed(&stuck), WaitError::Closed);
        assert_eq!(failed(&behind), WaitError::Closed);
        // What it makes of its delivery is nobody's any more: the journal is free, and there the
        // delivery waits.
        let host = shape.open(scratch.dir());
        host.idle();
        let counts = [vat, other].map(|id| host.look(id).count);
        assert_eq!(counts, [2, 7]);
        gate.open();
        host.play(vat, &[Step::Add(1)]).unwrap();
        assert_eq!(
            host.look(vat).count,
            3,
            "the crank that was left behind has no effect"
        );
        host.close();
    }
}

#[test]
fn closing_under_load_loses_nothing() {
    for workers in [1, 2, 4] {
        let shape = Shape { workers, ..PLAIN };
        let scratch = Scratch::new();
        let _watch = Watch::new("load".to_owned());
        let mut host = shape.open(scratch.dir());
        let vats = host.actors(4);
        let mut sent = 0;
        for round in 0..8 {
            for _ in 0..100 {
                for (at, &vat) in vats.iter().enumerate() {
                    let on = Step::Send(vats[(at + 1) % 4], vec![Step::Add(1)]);
                    let _ = host.tell(vat, &[on]).unwrap();
                    sent += 1;
                }
            }
            // In the middle of it, with deliveries in every inbox.
            if round % 2 == 0 {
                host.close()
            } else {
                drop(host)
            }
            host = shape.open(scratch.dir());
        }
        host.idle();
        let counted: u64 = vats.iter().map(|&vat| host.look(vat).count).sum();
        assert_eq!(counted, sent);
        host.close();
    }
}

#[test]
fn deliveries_that_wait_in_a_budgeted_run_wait_over_reopening() {
    for workers in [1, 2, 4] {
        let shape = Shape {
            order: crankcase::CommitOrder::Dispatch,
            workers,
        };
        let scratch = Scratch::new();
        let mut host = shape.open(scratch.dir());
        let vat = host.actor();
        let _ = host.tell(vat, &[Step::Wander(50, vec![vat])]).unwrap();
        let _ = host.tell(vat, &[Step::Add(1_000)]).unwrap();
        host.run(1).unwrap();
        for _ in 0..5 {
            let waiting = host.stats().waiting;
            host.close();
            host = shape.open(scratch.dir());
            assert_eq!(host.stats().waiting, waiting);
            host.run(2).unwrap();
        }
        host.idle();
        assert!(host.look(vat).count >= 1_000);
        host.close();
    }
}

#[test]
fn dropping_without_closing_keeps_everything() {
    in_every_shape(|shape| {
        let scratch = Scratch::new();
        let host = shape.open(scratch.dir());
        let vats = host.actors(3);
        for &vat in &vats {
            let _ = host.tell(vat, &[Step::Wander(20, vats.clone())]).unwrap();
        }
        host.idle();
        let before = (host.stats().sequenced, host.stats().activity_hash);
        drop(host);
        let host = shape.open(scratch.dir());
        assert!(!host.recovered().unclean, "dropping closes");
        assert_eq!((host.stats().sequenced, host.stats().activity_hash), before);
        host.close();
    });
}

#[test]
fn opening_and_closing_again_and_again_changes_nothing() {
    in_every_shape(|shape| {
        let scratch = Scratch::new();
        let host = shape.open(scratch.dir());
        let vat = host.actor();
        host.play(vat, &[Step::Add(1)]).unwrap();
        let before = (host.stats().sequenced, host.stats().activity_hash);
        host.close();
        for _ in 0..5 {
            let host = shape.open(scratch.dir());
            assert_eq!((host.stats().sequenced, host.stats().activity_hash), before);
            host.close();
        }
    });
}
