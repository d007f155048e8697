//! What happens when more comes than can be handled.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crankcase::{CommitOrder, KernelBuilder, Ref, SendError, TrySendError, VatId};
use crankcase_tests::actor::PLAY;
use crankcase_tests::executor::{block_on, poll_once};
use crankcase_tests::host::PLAIN;
use crankcase_tests::watch::Watch;
use crankcase_tests::{Gate, Host, Scratch, Shape, Step, in_every_shape};

/// Fills the inputs of a host whose actor is held at a gate.
fn full(host: &Host, vat: Ref) -> (Arc<Gate>, u64) {
    let gate = Gate::closed();
    let held = Arc::clone(&gate);
    host.yard.on("gate", move || held.pass());
    let _ = host.tell(vat, &[Step::Call("gate".to_owned())]).unwrap();
    gate.wait_for_arrivals(1);
    let mut taken = 0;
    let refused = loop {
        match host.try_send(vat, PLAY, &vec![Step::Add(1)]) {
            Ok(_dropped) => taken += 1,
            Err(error) => break error,
        }
    };
    let TrySendError::Full(unsent) = refused else {
        panic!("it is full: {refused}")
    };
    // The message comes back as it would have been sent.
    assert_eq!((unsent.to, &*unsent.method), (vat.into(), PLAY));
    let steps: Vec<Step> = unsent.args.decode().unwrap();
    assert!(matches!(steps[..], [Step::Add(1)]));
    (gate, taken)
}

#[test]
fn send_waits_for_room_and_try_send_says_no() {
    for workers in [1, 2, 4] {
        let scratch = Scratch::new();
        let _watch = Watch::new("send".to_owned());
        let shape = Shape { workers, ..PLAIN };
        let host = shape.open_with(scratch.dir(), |builder| builder.host_input_bytes(200));
        let vat = host.actor();
        let (gate, taken) = full(&host, vat);
        assert!(taken > 0);
        let sent = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let _ = host.tell(vat, &[Step::Add(1)]).unwrap();
                        sent.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
            assert_eq!(sent.load(Ordering::SeqCst), 0, "the gate is closed");
            gate.open();
        });
        host.idle();
        assert_eq!(host.look(vat).count, taken + 200);
        host.close();
    }
}

#[test]
fn room_can_be_awaited() {
    for workers in [1, 2, 4] {
        let scratch = Scratch::new();
        let _watch = Watch::new("room".to_owned());
        let shape = Shape { workers, ..PLAIN };
        let host = shape.open_with(scratch.dir(), |builder| builder.host_input_bytes(200));
        block_on(host.room());
        let vat = host.actor();
        let (gate, taken) = full(&host, vat);
        assert!(poll_once(host.room()).is_pending());
        std::thread::scope(|scope| {
            let waits = (0..4).map(|_| {
                scope.spawn(|| {
                    block_on(host.room());
                    // There may be room, and another may take it first: then one waits again.
                    while let Err(error) = host.try_send(vat, PLAY, &vec![Step::Add(1)]) {
                        assert!(matches!(error, TrySendError::Full(_)), "{error}");
                        block_on(host.room());
                    }
                })
            });
            let waits: Vec<_> = waits.collect();
            gate.open();
            waits.into_iter().for_each(|wait| wait.join().unwrap());
        });
        host.idle();
        assert_eq!(host.look(vat).count, taken + 4);
        host.close();
    }
}

#[test]
fn in_dispatch_order_a_send_that_would_wait_for_a_run_says_so() {
    let scratch = Scratch::new();
    let shape = Shape {
        order: CommitOrder::Dispatch,
        workers: 2,
    };
    let host = shape.open_with(scratch.dir(), |builder| builder.host_input_bytes(200));
    let vat = host.actor();
    let mut taken = 0;
    let refused = loop {
        match host.tell(vat, &[Step::Add(1)]) {
            Ok(_dropped) => taken += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, SendError::NoRoom { .. }), "{refused}");
    assert!(matches!(
        host.try_send(vat, PLAY, &()),
        Err(TrySendError::Full(_))
    ));
    host.idle();
    assert_eq!(host.look(vat).count, taken);
    host.play(vat, &[Step::Add(1)]).unwrap();
    host.close();
}

#[test]
fn a_send_inside_a_crank_without_room_says_so() {
    let scratch = Scratch::new();
    let settings = |builder: KernelBuilder| builder.host_input_bytes(200);
    let host = Arc::new(PLAIN.open_with(scratch.dir(), settings));
    let [vat, other] = host.actors(2)[..] else {
        panic!("two actors")
    };
    let inner = Arc::downgrade(&host);
    host.yard.on("fills", move || {
        let host = inner.upgrade().expect("the test holds the host");
        // Its own input is among those that are on their way, so this must come to an end.
        let gate_of_other = vec![Step::Send(vat, Vec::new()); 20];
        loop {
            match host.tell(other, &gate_of_other) {
                Ok(_dropped) => {}
                Err(SendError::NoRoom { .. }) => break,
                Err(error) => panic!("{error}"),
            }
        }
    });
    let outcome = host.play(vat, &[Step::Call("fills".to_owned())]);
    outcome.unwrap();
    host.idle();
    Arc::into_inner(host).expect("nobody else holds it").close();
}

#[test]
fn what_is_larger_than_every_bound_goes_through() {
    in_every_shape(|shape| {
        let scratch = Scratch::new();
        let host = shape.open_with(scratch.dir(), |builder| {
            let builder = builder
                .host_input_bytes(1)
                .undurable_bytes(1)
                .group_bytes(1);
            builder
                .reorder_records(1)
                .checkpoint_every(1, 1)
                .vats_in_memory(0)
        });
        // Making them one by one: in dispatch order a second input would wait for the run.
        let (vat, other) = (host.actor(), host.actor());
        let large = vec![7; 300_000];
        for round in 0..4 {
            let keep = Step::Set(vec![round], large.clone());
            host.play(
                vat,
                &[
                    keep,
                    Step::Send(other, vec![Step::Set(vec![round], large.clone())]),
                ],
            )
            .unwrap();
            host.play(vat, &[Step::Tell(other, 20)]).unwrap();
        }
        host.idle();
        assert_eq!(host.look(other).heard.len(), 80);
        host.close();
        let host = shape.open(scratch.dir());
        let said = host.said(other, &[Step::Get(vec![3])]);
        assert_eq!(said, [crankcase_tests::Said::Row(Some(large))]);
        host.close();
    });
}

#[test]
fn a_load_far_above_every_bound_comes_to_its_end() {
    in_every_shape(|shape| {
        let scratch = Scratch::new();
        let host = shape.open_with(scratch.dir(), |builder| {
            builder
                .undurable_bytes(300)
                .group_bytes(100)
                .reorder_records(2)
        });
        let ids = host.actors(8);
        // Each sends to the next, which sends on: all of them at once.
        let mut batch = host.batch();
        for _ in 0..10 {
            for &id in &ids {
                batch
                    .send(id, PLAY, &vec![Step::Wander(10, ids.clone())])
                    .unwrap();
            }
        }
        let sent = batch.submit().unwrap();
        assert_eq!(host.settled(&sent).len(), 80);
        host.idle();
        let stats = host.stats();
        assert_eq!((stats.waiting, stats.sequenced), (0, stats.released));
        host.close();
    });
}

/// Has an actor send ten times sixty messages of near a kilobyte to another.
fn tell_a_lot(host: &Host, sender: Ref, receiver: Ref) -> Vec<(VatId, u64)> {
    for round in 0..10 {
        let mut steps = Vec::new();
        for number in 0..60 {
            let heard = Step::Hear(sender.vat(), round * 60 + number);
            let told = vec![heard, Step::Get(vec![7; 900])];
            steps.push(Step::Send(receiver, told));
        }
        let _ = host.tell(sender, &steps).unwrap();
    }
    (0..600).map(|number| (sender.vat(), number)).collect()
}

#[test]
fn an_inbox_far_above_its_share_of_memory_drains_in_order() {
    in_every_shape(|shape| {
        let scratch = Scratch::new();
        let host = shape.open_with(scratch.dir(), |builder| builder.inbox_bytes(1));
        let (sender, receiver) = (host.actor(), host.actor());
        let expected = tell_a_lot(&host, sender, receiver);
        host.idle();
        assert_eq!(host.look(receiver).heard, expected);
        assert!(host.stats().inbox_refills > 0, "it did not fit");
        host.close();
    });
}

#[test]
fn an_inbox_far_above_its_share_of_memory_goes_on_after_a_restart() {
    for workers in [1, 4] {
        let order = CommitOrder::Dispatch;
        let shape = Shape { order, workers };
        let scratch = Scratch::new();
        let open = || shape.open_with(scratch.dir(), |builder| builder.inbox_bytes(1));
        let host = open();
        let (sender, receiver) = (host.actor(), host.actor());
        let expected = tell_a_lot(&host, sender, receiver);
        host.run(9).unwrap();
        assert!(host.stats().waiting >= 500, "most of it waits");
        host.close();
        let host = open();
        host.idle();
        assert_eq!(host.look(receiver).heard, expected);
        assert!(host.stats().inbox_refills > 0, "it did not fit");
        host.close();
    }
}

#[test]
fn a_vat_that_waits_for_a_run_does_not_run_far_ahead() {
    for workers in [1, 4] {
        let scratch = Scratch::new();
        let shape = Shape {
            order: CommitOrder::Dispatch,
            workers,
        };
        let _watch = Watch::new(format!("{shape:?}"));
        let host = shape.open_with(scratch.dir(), |builder| {
            // A recount would hold the role, and a gate is moved by who has that.
            builder.reorder_records(2).audit_counts(false)
        });
        let vat = host.actor();
        let ran = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&ran);
        host.yard.on("count", move || {
            counted.fetch_add(1, Ordering::SeqCst);
        });
        let mut batch = host.batch();
        for _ in 0..20_000 {
            batch
                .send(vat, PLAY, &vec![Step::Call("count".to_owned())])
                .unwrap();
        }
        let _ = batch.submit().unwrap();
        // Its turn is the next for as long as no run takes it.
        for _ in 0..1_000 {
            host.run(1).unwrap();
        }
        let ran = ran.load(Ordering::SeqCst);
        assert!(
            (1_000..6_000).contains(&ran),
            "{ran} cranks in a thousand runs of one"
        );
        host.close();
    }
}
