//! Cranks that do things at once with others inside, call the kernel, or are stuck.

use std::sync::{Arc, Weak};
use std::time::Duration;

use crankcase::schedule::join;
use crankcase::{CloseError, CommitOrder, Kernel, RunError, SendError, WaitError};
use crankcase_shuttle_tests::explore;
use crankcase_shuttle_tests::world::{FOR_EVER, Gate, below, narrow, one_of, open};
use crankcase_tests::actor::PLAY;
use crankcase_tests::host::said;
use crankcase_tests::{Said, Step};
use shuttle::sync::atomic::{AtomicU64, Ordering};
use shuttle::thread;

/// Adds up a range in pieces that are done at once.
fn in_pieces(from: u64, to: u64) -> u64 {
    // Others of the pool get a look at what lies open.
    thread::yield_now();
    if to - from < 2 {
        return (from..to).sum();
    }
    let middle = from.midpoint(to);
    let (low, high) = join(
        move || in_pieces(from, middle),
        move || in_pieces(middle, to),
    );
    low + high
}

#[test]
fn cranks_that_do_pieces_at_once_inside_neither_hang_nor_mix() {
    const STATES: [&str; 2] = ["pieces on two threads", "pieces on one thread"];
    explore(&STATES, |seen| {
        let host = open(CommitOrder::Completion, one_of(&[1, 2, 3]), narrow);
        let helped = Arc::new(AtomicU64::new(0));
        {
            let (helped, seen) = (Arc::clone(&helped), seen.clone());
            host.yard.on("pieces", move || {
                let me = thread::current().id();
                let (_, other) = join(|| in_pieces(0, 6), || thread::current().id());
                seen.note(STATES[usize::from(other == me)]);
                assert_eq!(in_pieces(0, 5), 10);
                helped.fetch_add(1, Ordering::SeqCst);
            });
        }
        host.yard.on("panicking piece", || {
            join(
                || in_pieces(0, 3),
                || -> u64 { panic!("a piece panics on purpose") },
            );
        });
        let actors = host.actors(3);
        let mut tickets = Vec::new();
        for (at, &actor) in actors.iter().enumerate() {
            let call = match at {
                0 => "panicking piece",
                _ => "pieces",
            };
            let steps = [Step::Call(call.to_owned()), Step::Add(1)];
            tickets.push(host.tell(actor, &steps).expect("it is taken"));
            tickets.push(host.tell(actor, &[Step::Add(1)]).expect("it is taken"));
        }
        let told: Vec<_> = tickets
            .iter()
            .map(|t| t.wait().expect("it settles"))
            .collect();
        assert!(told[0].is_err(), "a panic in a piece is one of the crank");
        assert_eq!(said(&told[1]), [Said::Number(1)]);
        for at in 1..3 {
            assert_eq!(said(&told[2 * at]), [Said::Number(1)]);
            assert_eq!(said(&told[2 * at + 1]), [Said::Number(2)]);
        }
        assert_eq!(helped.load(Ordering::SeqCst), 2);
        host.into_kernel().close(FOR_EVER).expect("it closes");
    });
}

#[test]
fn a_crank_that_calls_the_kernel_never_waits_for_itself() {
    explore(&["sent from a crank", "no room for a crank"], |seen| {
        let host = open(CommitOrder::Completion, one_of(&[1, 2]), |builder| {
            narrow(builder).host_input_bytes(one_of(&[1, 64 << 20]))
        });
        let actor = host.actor();
        let yard = Arc::clone(&host.yard);
        let kernel = Arc::new(host.into_kernel());
        {
            let (kernel, seen) = (Arc::downgrade(&kernel), seen.clone());
            yard.on("from inside", move || {
                let kernel = Weak::<Kernel>::upgrade(&kernel).expect("it is open");
                match kernel.send(actor, PLAY, &vec![Step::Add(10)]) {
                    Ok(ticket) => {
                        // It may have settled, which is no waiting.
                        if let Err(error) = ticket.wait() {
                            assert!(matches!(error, WaitError::InsideCrank), "{error:?}");
                        }
                        seen.note("sent from a crank");
                    }
                    Err(SendError::NoRoom { .. }) => seen.note("no room for a crank"),
                    Err(error) => panic!("a crank is told {error:?}"),
                }
                let idle = kernel.run_until_idle();
                assert!(
                    matches!(idle, Err(RunError::Wait(WaitError::InsideCrank))),
                    "{idle:?}"
                );
            });
        }
        let steps = vec![Step::Call("from inside".to_owned()), Step::Add(1)];
        let ticket = kernel.send(actor, PLAY, &steps).expect("it is taken");
        assert_eq!(said(&ticket.wait().expect("it settles")), [Said::Number(1)]);
        kernel.run_until_idle().expect("it becomes idle");
        // What a crank holds of the kernel it has dropped.
        let kernel = Arc::into_inner(kernel).expect("nobody else holds it");
        kernel.close(FOR_EVER).expect("it closes");
    });
}

#[test]
fn a_kernel_whose_last_handle_is_dropped_in_a_crank_closes_behind_it() {
    explore(&["dropped in a crank", "dropped outside"], |seen| {
        let host = open(CommitOrder::Completion, one_of(&[1, 2]), narrow);
        let actor = host.actor();
        let yard = Arc::clone(&host.yard);
        let kernel = Arc::new(host.into_kernel());
        let weak = Arc::downgrade(&kernel);
        {
            let seen = seen.clone();
            yard.on("holds it", move || {
                if let Some(kernel) = weak.upgrade() {
                    thread::yield_now();
                    let last = Arc::into_inner(kernel);
                    seen.note_if(last.is_some(), "dropped in a crank");
                }
            });
        }
        let steps = vec![Step::Call("holds it".to_owned()), Step::Add(1)];
        let ticket = kernel.send(actor, PLAY, &steps).expect("it is taken");
        for _ in 0..below(30) {
            thread::yield_now();
        }
        seen.note_if(Arc::into_inner(kernel).is_some(), "dropped outside");
        match ticket.wait() {
            Ok(outcome) => assert_eq!(said(&outcome), [Said::Number(1)]),
            Err(WaitError::Closed) => {}
            Err(error) => panic!("the ticket is told {error:?}"),
        }
    });
}

#[test]
fn closing_does_not_wait_for_ever_for_a_stuck_crank() {
    const STATES: [&str; 2] = ["a crank was still there", "nobody had begun"];
    explore(&STATES, |seen| {
        let gate = Gate::closed();
        let host = open(CommitOrder::Completion, one_of(&[1, 2, 3]), narrow);
        let (stuck, other) = (host.actor(), host.actor());
        {
            let gate = Arc::clone(&gate);
            host.yard.on("stuck", move || gate.pass());
        }
        let steps = [Step::Call("stuck".to_owned()), Step::Add(1)];
        let never = host.tell(stuck, &steps).expect("it is taken");
        let told = host.tell(other, &[Step::Add(1)]).expect("it is taken");
        let waiting = thread::spawn(move || (never.wait(), told.wait()));
        let closed = host.into_kernel().close(Duration::from_millis(5));
        match closed {
            Err(CloseError::Timeout { running, .. }) => {
                assert!(running >= 1);
                seen.note(STATES[0]);
            }
            Ok(()) => seen.note(STATES[1]),
            Err(error) => panic!("closing says {error:?}"),
        }
        // Both are told while the crank is stuck.
        let (never, told) = waiting.join().expect("who waits is told");
        assert!(matches!(never, Err(WaitError::Closed)), "{never:?}");
        if let Ok(outcome) = &told {
            assert_eq!(said(outcome), [Said::Number(1)]);
        } else {
            assert!(matches!(told, Err(WaitError::Closed)), "{told:?}");
        }
        gate.open();
    });
}
