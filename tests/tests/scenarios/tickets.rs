//! What a host learns of what it handed in, when, and from which thread.

use std::sync::{Arc, Mutex, mpsc};
use std::task::Poll;
use std::time::Duration;

use crankcase::{CommitOrder, RunError, Ticket, WaitError};
use crankcase_tests::executor::{Unparker, block_on, block_on_with, poll_once};
use crankcase_tests::host::{PATIENCE, PLAIN, failed, said, settled};
use crankcase_tests::watch::Watch;
use crankcase_tests::{Gate, Host, Said, Scratch, Shape, Step, in_every_shape};

const DISPATCH: Shape = Shape {
    order: CommitOrder::Dispatch,
    workers: 2,
};

/// A gate in the host's yard, closed.
fn gate_in(host: &Host) -> Arc<Gate> {
    let gate = Gate::closed();
    let held = Arc::clone(&gate);
    host.yard.on("gate", move || held.pass());
    gate
}

fn at_gate() -> Step {
    Step::Call("gate".to_owned())
}

#[test]
fn waiting_gives_the_outcome_again_and_again() {
    in_every_shape(|shape| {
        let scratch = Scratch::new();
        let host = shape.open(scratch.dir());
        let vat = host.actor();
        let ticket = host.tell(vat, &[Step::Add(2)]).unwrap();
        assert_eq!(said(&host.settled(&ticket)), [Said::Number(2)]);
        assert_eq!(said(&ticket.wait().unwrap()), [Said::Number(2)]);
        assert_eq!(said(&block_on(ticket).unwrap()), [Said::Number(2)]);
        host.close();
    });
}

#[test]
fn a_wait_that_times_out_can_be_repeated() {
    let scratch = Scratch::new();
    let host = PLAIN.open(scratch.dir());
    let vat = host.actor();
    let gate = gate_in(&host);
    let ticket = host.tell(vat, &[at_gate(), Step::Add(1)]).unwrap();
    gate.wait_for_arrivals(1);
    assert!(
        ticket
            .wait_timeout(Duration::from_millis(1))
            .unwrap()
            .is_none()
    );
    assert!(ticket.wait_timeout(Duration::ZERO).unwrap().is_none());
    gate.open();
    assert_eq!(said(&settled(&ticket)), [Said::Number(1)]);
    assert!(ticket.wait_timeout(Duration::MAX).unwrap().is_some());
    host.close();
}

#[test]
fn wakers_are_called_by_a_thread_that_neither_runs_cranks_nor_commits() {
    let scratch = Scratch::new();
    let _watch = Watch::new("await".to_owned());
    for workers in [1, 2, 4] {
        let host = Shape { workers, ..PLAIN }.open(scratch.dir());
        let vat = host.actor();
        for _ in 0..20 {
            let gate = gate_in(&host);
            let ticket = host.tell(vat, &[at_gate()]).unwrap();
            gate.wait_for_arrivals(1);
            let unparker = Unparker::new();
            let opened = std::thread::spawn(move || gate.open());
            block_on_with(&unparker, ticket).unwrap().unwrap();
            opened.join().unwrap();
            for thread in unparker.woken_by() {
                for forbidden in ["worker", "committer", "checkpointer"] {
                    assert!(!thread.contains(forbidden), "woken by {thread}");
                }
                assert_ne!(Some(&*thread), std::thread::current().name());
            }
        }
        host.close();
    }
}

#[test]
fn a_waker_may_call_the_kernel() {
    struct Asks(
        Arc<Host>,
        crankcase::Ref,
        Mutex<mpsc::Sender<Ticket<crankcase::Outcome>>>,
    );
    impl std::task::Wake for Asks {
        fn wake(self: Arc<Self>) {
            let ticket = self.0.tell(self.1, &[Step::Add(1)]).unwrap();
            let asked = self.2.lock().unwrap().clone();
            // Before anyone hears of it: the host is then the test's alone.
            drop(self);
            asked.send(ticket).unwrap();
        }
    }
    let scratch = Scratch::new();
    let _watch = Watch::new("waker".to_owned());
    let host = Arc::new(PLAIN.open(scratch.dir()));
    let vat = host.actor();
    let gate = gate_in(&host);
    let mut future = std::pin::pin!(std::future::IntoFuture::into_future(
        host.tell(vat, &[at_gate()]).unwrap()
    ));
    let (asked, tickets) = mpsc::channel();
    let waker = std::task::Waker::from(Arc::new(Asks(Arc::clone(&host), vat, Mutex::new(asked))));
    let mut context = std::task::Context::from_waker(&waker);
    assert!(std::future::Future::poll(future.as_mut(), &mut context).is_pending());
    drop(waker);
    gate.open();
    let second = tickets.recv().unwrap();
    assert_eq!(said(&settled(&second)), [Said::Number(1)]);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(std::future::Future::poll(future.as_mut(), &mut context).is_ready());
    Arc::into_inner(host).expect("the waker is gone").close();
}

#[test]
fn dropping_a_ticket_cancels_nothing() {
    in_every_shape(|shape| {
        let scratch = Scratch::new();
        let host = shape.open(scratch.dir());
        let vat = host.actor();
        for _ in 0..50 {
            drop(host.tell(vat, &[Step::Add(1)]).unwrap());
        }
        let ticket = host.tell(vat, &[Step::Add(1)]).unwrap();
        let _ = poll_once(ticket);
        host.idle();
        assert_eq!(host.look(vat).count, 51);
        host.close();
    });
}

#[test]
fn a_ticket_outlives_the_kernel_with_its_outcome() {
    in_every_shape(|shape| {
        let scratch = Scratch::new();
        let host = shape.open(scratch.dir());
        let vat = host.actor();
        let (first, second) = (
            host.tell(vat, &[Step::Add(1)]),
            host.tell(vat, &[Step::Add(1)]),
        );
        host.idle();
        host.close();
        // Everything was released before the kernel closed, asked for or not.
        assert_eq!(said(&settled(&first.unwrap())), [Said::Number(1)]);
        assert_eq!(said(&block_on(second.unwrap()).unwrap()), [Said::Number(2)]);
        // A ticket that is still there does not keep the journal locked.
        shape.open(scratch.dir()).close();
    });
}

#[test]
fn waiting_inside_a_crank_is_an_error_and_no_deadlock() {
    in_every_shape(|shape| {
        let scratch = Scratch::new();
        let host = Arc::new(shape.open(scratch.dir()));
        let [vat, other] = host.actors(2)[..] else {
            panic!("two actors")
        };
        let gate = gate_in(&host);
        let (found, finds) = mpsc::channel::<(&str, bool)>();
        let (found, inner) = (Mutex::new(found), Arc::downgrade(&host));
        host.yard.on("host calls", move || {
            let host = inner.upgrade().expect("the test holds the host");
            let found = found.lock().unwrap();
            let ticket = host.tell(other, &[at_gate(), Step::Add(1)]).unwrap();
            // In dispatch order it is also true that no run has taken it.
            let refused = |error| matches!(error, WaitError::InsideCrank | WaitError::NotTaken);
            found
                .send(("wait", ticket.wait().is_err_and(refused)))
                .unwrap();
            let timed = ticket.wait_timeout(PATIENCE);
            found
                .send(("wait_timeout", timed.is_err_and(refused)))
                .unwrap();
            let run = host.run_until_idle();
            let refused = matches!(run, Err(RunError::Wait(WaitError::InsideCrank)));
            found.send(("run_until_idle", refused)).unwrap();
            let read = host.read(other, |actor: &crankcase_tests::Actor| actor.count);
            found.send(("read", read.is_err())).unwrap();
            found.send(("root", host.root("name").is_err())).unwrap();
        });
        host.play(vat, &[Step::Call("host calls".to_owned())])
            .unwrap();
        gate.open();
        let finds: Vec<_> = finds.try_iter().collect();
        assert_eq!(finds.len(), 5);
        for (call, refused) in finds {
            assert!(refused, "{call} inside a crank");
        }
        host.idle();
        assert_eq!(host.look(other).count, 1, "the input itself is kept");
        Arc::into_inner(host).expect("nobody else holds it").close();
    });
}

#[test]
fn awaiting_inside_a_crank_is_an_error_and_no_deadlock() {
    let scratch = Scratch::new();
    let host = Arc::new(PLAIN.open(scratch.dir()));
    let [vat, other] = host.actors(2)[..] else {
        panic!("two actors")
    };
    let (found, finds) = mpsc::channel();
    let (found, inner) = (Mutex::new(found), Arc::downgrade(&host));
    let gate = gate_in(&host);
    host.yard.on("awaits", move || {
        let host = inner.upgrade().expect("the test holds the host");
        let polled = poll_once(host.tell(other, &[at_gate()]).unwrap());
        found.lock().unwrap().send(polled).unwrap();
    });
    host.play(vat, &[Step::Call("awaits".to_owned())]).unwrap();
    let polled = finds.recv().unwrap();
    gate.open();
    assert_eq!(polled, Poll::Ready(Err(WaitError::InsideCrank)));
}

#[test]
fn closing_inside_a_crank_is_an_error_and_no_deadlock() {
    let scratch = Scratch::new();
    let host = PLAIN.open(scratch.dir());
    let _watch = Watch::new("close".to_owned());
    let vat = host.actor();
    let kernel = Arc::new(Mutex::new(None));
    let (told, tells) = mpsc::channel();
    let (inner, told, gate) = (Arc::clone(&kernel), Mutex::new(told), Gate::closed());
    let held = Arc::clone(&gate);
    host.yard.on("closes", move || {
        held.pass();
        let kernel: crankcase::Kernel = inner.lock().unwrap().take().expect("it was put there");
        let inside = matches!(
            kernel.close(PATIENCE),
            Err(crankcase::CloseError::InsideCrank)
        );
        told.lock().unwrap().send(inside).unwrap();
    });
    let _ = host.tell(vat, &[Step::Call("closes".to_owned())]).unwrap();
    gate.wait_for_arrivals(1);
    *kernel.lock().unwrap() = Some(host.into_kernel());
    gate.open();
    assert!(tells.recv().unwrap());
}

#[test]
fn in_dispatch_order_a_ticket_that_no_run_has_taken_says_so() {
    let scratch = Scratch::new();
    let host = DISPATCH.open(scratch.dir());
    let vat = host.actor();
    let ticket = host.tell(vat, &[Step::Add(1)]).unwrap();
    assert_eq!(ticket.wait().unwrap_err(), WaitError::NotTaken);
    assert_eq!(
        ticket.wait_timeout(PATIENCE).unwrap_err(),
        WaitError::NotTaken
    );
    // The input is kept, and the next run takes it.
    host.run_until_idle().unwrap();
    assert_eq!(said(&settled(&ticket)), [Said::Number(1)]);

    let kept = host.tell(vat, &[Step::Add(1)]).unwrap();
    host.close();
    assert_eq!(failed(&kept), WaitError::Closed);
    let host = DISPATCH.open(scratch.dir());
    host.idle();
    assert_eq!(
        host.look(vat).count,
        1,
        "an input that no run took is in no journal"
    );
    host.close();
}

#[test]
fn in_dispatch_order_a_budget_that_ends_before_a_delivery_leaves_its_ticket_open() {
    let scratch = Scratch::new();
    let host = DISPATCH.open(scratch.dir());
    let vat = host.actor();
    let tickets: Vec<_> = (0..3)
        .map(|_| host.tell(vat, &[Step::Add(1)]).unwrap())
        .collect();
    host.run(2).unwrap();
    assert!(settled(&tickets[0]).is_ok() && settled(&tickets[1]).is_ok());
    assert!(
        tickets[2]
            .wait_timeout(Duration::from_millis(1))
            .unwrap()
            .is_none()
    );
    host.run(1).unwrap();
    assert_eq!(said(&settled(&tickets[2])), [Said::Number(3)]);
    host.close();
}

#[test]
fn in_completion_order_run_with_a_budget_is_an_error() {
    let scratch = Scratch::new();
    let host = PLAIN.open(scratch.dir());
    assert_eq!(host.run(1), Err(RunError::RunsByItself));
    host.close();
}

#[test]
fn one_lone_send_costs_one_sync() {
    let scratch = Scratch::new();
    let host = PLAIN.open(scratch.dir());
    let vat = host.actor();
    host.idle();
    for _ in 0..20 {
        let before = host.stats().group_syncs;
        host.tell(vat, &[Step::Add(1)])
            .unwrap()
            .wait()
            .unwrap()
            .unwrap();
        assert_eq!(host.stats().group_syncs, before + 1);
    }
    host.close();
}
