//! Shutdown and poison: everyone who sleeps is let go, and nothing that was begun is lost.
#![cfg(crankcase_loom)]

use crankcase::model::{Admission, RunQueue};
use crankcase_loom_tests::{Pace, Pipeline, explore, explore_preempted};
use loom::sync::Arc;
use loom::thread;

#[test]
fn workers_that_ask_for_a_vat_while_the_queue_stops_are_all_let_go() {
    explore_preempted(3, &["all let go"], |seen| {
        let queue = Arc::new(RunQueue::<u8>::new(2));
        let other = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || assert_eq!(queue.next(), None))
        };
        let stopper = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || queue.stop())
        };
        assert_eq!(queue.next(), None);
        other.join().unwrap();
        stopper.join().unwrap();
        seen.note("all let go");
    });
}

#[test]
fn a_stop_against_a_push_runs_the_vat_or_leaves_it_and_ends_the_worker() {
    explore(&["run before the stop", "left by the stop"], |seen| {
        let queue = Arc::new(RunQueue::new(1));
        let pusher = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || queue.push(0))
        };
        let stopper = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || queue.stop())
        };
        let mut ran = 0;
        while queue.next().is_some() {
            ran += 1;
        }
        pusher.join().unwrap();
        stopper.join().unwrap();
        assert!(ran <= 1, "a vat was run twice");
        seen.note(if ran == 1 {
            "run before the stop"
        } else {
            "left by the stop"
        });
    });
}

#[test]
fn a_close_lets_go_of_the_host_that_waits_for_room() {
    explore(
        &["turned away", "a task was woken to be turned away"],
        |seen| {
            let admission = Arc::new(Admission::new(0));
            assert!(admission.try_enter(1));
            let closer = {
                let (admission, seen) = (Arc::clone(&admission), seen.clone());
                thread::spawn(move || {
                    for waker in admission.close() {
                        seen.note("a task was woken to be turned away");
                        waker.wake();
                    }
                })
            };
            loom::future::block_on(std::future::poll_fn(|context| {
                if admission.poll_room(context.waker()) {
                    std::task::Poll::Ready(())
                } else {
                    std::task::Poll::Pending
                }
            }));
            assert!(
                !admission.enter(1),
                "there was room in a full kernel that closes"
            );
            seen.note("turned away");
            closer.join().unwrap();
        },
    );
}

#[test]
fn a_close_while_someone_blocks_for_room_turns_them_away() {
    explore(&["turned away"], |seen| {
        let admission = Arc::new(Admission::new(0));
        assert!(admission.try_enter(1));
        let closer = {
            let admission = Arc::clone(&admission);
            thread::spawn(move || assert!(admission.close().is_empty()))
        };
        assert!(
            !admission.enter(1),
            "there was room in a full kernel that closes"
        );
        seen.note("turned away");
        closer.join().unwrap();
    });
}

#[test]
fn closing_with_records_in_flight_makes_every_one_of_them_durable_first() {
    const STATES: [&str; 2] = [
        "closed with a record in flight",
        "both records committed at once",
    ];
    explore_preempted(2, &STATES, |seen| {
        let pipeline = Pipeline::new(Pace::idle_after(9));
        let committer = {
            let pipeline = Arc::clone(&pipeline);
            thread::spawn(move || pipeline.commit_all())
        };
        let worker = {
            let pipeline = Arc::clone(&pipeline);
            thread::spawn(move || {
                let mut submitted = 0;
                while submitted < 2 && !pipeline.is_stopping() {
                    pipeline.submit(submitted);
                    submitted += 1;
                }
                submitted
            })
        };
        // As a close does: the workers leave, what they left is committed, then the committer ends.
        pipeline.stop();
        let submitted = worker.join().unwrap();
        pipeline.demand();
        pipeline.wait_until_released();
        pipeline.close();
        committer.join().unwrap();
        let [released, _, sequenced] = pipeline.look();
        assert_eq!(
            released,
            u64::from(submitted),
            "a record in flight was not made durable"
        );
        assert_eq!(sequenced, u64::from(submitted));
        for author in 0..submitted {
            assert_eq!(pipeline.wait_for_one(), (author, true));
        }
        seen.note_if(submitted == 1, "closed with a record in flight");
        seen.note_if(pipeline.groups() == [2], "both records committed at once");
    });
}

#[test]
fn a_failed_commit_lets_the_sleeping_workers_go_and_tells_every_ticket() {
    const STATES: [&str; 2] = ["was let go while it was full", "left without having slept"];
    explore_preempted(2, &STATES, |seen| {
        // The disk takes nothing, and one undurable record fills the role.
        let pace = Pace {
            group: 1,
            undurable: 0,
            disk_holds: 0,
            ..Pace::idle_after(9)
        };
        let pipeline = Pipeline::new(pace);
        let committer = {
            let pipeline = Arc::clone(&pipeline);
            thread::spawn(move || pipeline.commit_all())
        };
        let worker = {
            let pipeline = Arc::clone(&pipeline);
            thread::spawn(move || {
                pipeline.submit(1);
                pipeline.pause_if_full()
            })
        };
        pipeline.submit(0);
        let mut told = [pipeline.wait_for_one(), pipeline.wait_for_one()];
        told.sort_unstable();
        assert_eq!(
            told,
            [(0, false), (1, false)],
            "a ticket was told that its record is durable"
        );
        let slept = worker.join().unwrap();
        seen.note(if slept { STATES[0] } else { STATES[1] });
        pipeline.close();
        committer.join().unwrap();
        let [released, durable, _] = pipeline.look();
        assert_eq!(
            (released, durable),
            (0, 0),
            "a failed commit moved a watermark"
        );
    });
}
