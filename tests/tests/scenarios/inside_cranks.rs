//! Cranks that are not as simple as most.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crankcase_tests::{Gate, Said, Scratch, Shape, Step, in_every_shape};
use rayon::prelude::*;

thread_local! {
    /// How many cranks are on this thread's stack.
    static DEPTH: Cell<u64> = const { Cell::new(0) };
}

#[test]
fn cranks_that_use_rayon_neither_deadlock_nor_nest() {
    in_every_shape(|shape| {
        let scratch = Scratch::new();
        let host = shape.open(scratch.dir());
        let deepest = Arc::new(AtomicU64::new(0));
        let seen = Arc::clone(&deepest);
        host.yard.on("rayon", move || {
            let depth = DEPTH.get() + 1;
            DEPTH.set(depth);
            seen.fetch_max(depth, Ordering::SeqCst);
            let sum: u64 = (0..1_000usize)
                .into_par_iter()
                .with_max_len(10)
                .map(|n| n as u64)
                .sum();
            let (left, right) = rayon::join(|| sum, || (0..100u64).into_par_iter().sum::<u64>());
            assert_eq!(left + right, 499_500 + 4_950);
            rayon::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|_| {
                        std::hint::black_box(0);
                    });
                }
            });
            DEPTH.set(depth - 1);
        });
        let vats = host.actors(8);
        let mut tickets = Vec::new();
        for _ in 0..20 {
            for &vat in &vats {
                let steps = [Step::Call("rayon".to_owned()), Step::Add(1)];
                tickets.push(host.tell(vat, &steps).unwrap());
            }
        }
        for ticket in &tickets {
            host.settled(ticket).unwrap();
        }
        assert_eq!(
            deepest.load(Ordering::SeqCst),
            1,
            "no crank ran on the stack of another"
        );
        host.close();
    });
}

#[test]
fn a_crank_that_takes_long_holds_up_nobody_else() {
    // In dispatch order a crank may run ahead, and its outcome waits for its turn all the same.
    let shape = Shape {
        workers: 2,
        ..crankcase_tests::host::PLAIN
    };
    let scratch = Scratch::new();
    let host = shape.open(scratch.dir());
    let [slow, quick] = host.actors(2)[..] else {
        panic!("two actors")
    };
    let gate = Gate::closed();
    let held = Arc::clone(&gate);
    host.yard.on("gate", move || held.pass());
    let waits = host
        .tell(slow, &[Step::Call("gate".to_owned()), Step::Add(1)])
        .unwrap();
    gate.wait_for_arrivals(1);
    for count in 1..=200 {
        assert_eq!(host.said(quick, &[Step::Add(1)]), [Said::Number(count)]);
    }
    // A look at a vat whose crank runs sees what was before.
    assert_eq!(host.look(slow).count, 0);
    assert!(host.stats().running_for.is_some());
    gate.open();
    assert_eq!(
        crankcase_tests::host::said(&host.settled(&waits)),
        [Said::Number(1)]
    );
    host.close();
}

#[test]
fn a_crank_may_hand_in_inputs() {
    in_every_shape(|shape| {
        let scratch = Scratch::new();
        let host = Arc::new(shape.open(scratch.dir()));
        let [vat, other] = host.actors(2)[..] else {
            panic!("two actors")
        };
        let inner = Arc::downgrade(&host);
        host.yard.on("hands in", move || {
            let host = inner.upgrade().expect("the test holds the host");
            let _ = host.tell(other, &[Step::Add(1)]).unwrap();
        });
        // The input is the host's, and stays when the crank is abandoned.
        host.play(vat, &[Step::Call("hands in".to_owned()), Step::Panic])
            .unwrap_err();
        host.idle();
        assert_eq!(host.look(other).count, 1);
        host.yard.on("hands in", || {});
        Arc::into_inner(host).expect("nobody else holds it").close();
    });
}

#[test]
fn a_vat_runs_one_crank_at_a_time() {
    in_every_shape(|shape| {
        let scratch = Scratch::new();
        let host = shape.open(scratch.dir());
        let (inside, most) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (within, peak) = (Arc::clone(&inside), Arc::clone(&most));
        host.yard.on("alone", move || {
            let now = within.fetch_add(1, Ordering::SeqCst) + 1;
            peak.fetch_max(now, Ordering::SeqCst);
            std::thread::yield_now();
            within.fetch_sub(1, Ordering::SeqCst);
        });
        let vat = host.actor();
        for _ in 0..300 {
            let _ = host
                .tell(vat, &[Step::Call("alone".to_owned()), Step::Add(1)])
                .unwrap();
        }
        host.idle();
        assert_eq!(most.load(Ordering::SeqCst), 1);
        assert_eq!(host.look(vat).count, 300);
        host.close();
    });
}

#[test]
fn states_that_are_not_canonical_are_caught_on_request() {
    let scratch = Scratch::new();
    let shape = crankcase_tests::host::PLAIN;
    let host = shape.open_with(scratch.dir(), |builder| builder.check_canonical(true));
    let vat = host.actor();
    assert_eq!(host.said(vat, &[Step::Add(1)]), [Said::Number(1)]);
    host.close();
}

/// Opens a gate when the piece that holds it ends, however it ends.
struct Opens(Arc<Gate>);

impl Drop for Opens {
    fn drop(&mut self) {
        self.0.open();
    }
}

#[test]
fn a_piece_that_a_crank_spawned_may_panic() {
    in_every_shape(|shape| {
        let scratch = Scratch::new();
        let host = shape.open(scratch.dir());
        let gate = Gate::closed();
        let opens = Arc::clone(&gate);
        host.yard.on("spawn", move || {
            let opens = Opens(Arc::clone(&opens));
            rayon::spawn(move || {
                let _opens = opens;
                panic!("in a piece");
            });
        });
        let vat = host.actor();
        host.play(vat, &[Step::Call("spawn".to_owned())]).unwrap();
        gate.pass();
        assert_eq!(host.said(vat, &[Step::Add(1)]), [Said::Number(1)]);
        host.close();
    });
}
