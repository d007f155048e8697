//! The line of runnable vats and the sleep of the workers.
#![cfg(crankcase_loom)]

use crankcase::model::{HandOver, RunQueue};
use crankcase_loom_tests::{explore, explore_preempted};
use loom::sync::Arc;
use loom::thread;

#[test]
fn a_vat_pushed_while_the_only_worker_goes_to_sleep_is_run() {
    explore(
        &[
            "in the order of the other pusher first",
            "ended by the stop",
        ],
        |seen| {
            let queue = Arc::new(RunQueue::new(1));
            let both_ran = Arc::new(HandOver::new());
            let worker = {
                let (queue, both_ran, seen) =
                    (Arc::clone(&queue), Arc::clone(&both_ran), seen.clone());
                thread::spawn(move || {
                    // Were a push missed, this would sleep for ever, which loom calls a deadlock.
                    let ran = [(); 2].map(|()| queue.next().expect("it is not stopped yet"));
                    seen.note_if(ran == [1, 0], "in the order of the other pusher first");
                    let mut ran = ran.to_vec();
                    ran.sort_unstable();
                    assert_eq!(ran, [0, 1], "a vat was run twice, another not at all");
                    both_ran.give(()).expect("nobody closes it");
                    assert_eq!(queue.next(), None);
                    seen.note("ended by the stop");
                })
            };
            let pusher = {
                let queue = Arc::clone(&queue);
                thread::spawn(move || queue.push(1))
            };
            queue.push(0);
            pusher.join().unwrap();
            both_ran.take();
            queue.stop();
            worker.join().unwrap();
        },
    );
}

#[test]
fn with_two_workers_asleep_a_push_of_two_vats_gets_both_run() {
    const STATES: [&str; 2] = ["one worker ran both", "each worker ran one"];
    explore_preempted(3, &STATES, |seen| {
        let queue = Arc::new(RunQueue::new(2));
        // Where the workers say what they ran.
        let ran = Arc::new(HandOver::new());
        let workers = [0, 1].map(|worker| {
            let (queue, ran) = (Arc::clone(&queue), Arc::clone(&ran));
            thread::spawn(move || {
                while let Some(vat) = queue.next() {
                    ran.give((vat, worker)).expect("nobody closes it");
                }
            })
        });
        queue.push_all([10, 11]);
        let first = ran.take().expect("nobody closes it");
        let second = ran.take().expect("nobody closes it");
        let mut vats = [first.0, second.0];
        vats.sort_unstable();
        assert_eq!(vats, [10, 11], "a vat was run twice, another not at all");
        seen.note_if(first.1 == second.1, "one worker ran both");
        seen.note_if(first.1 != second.1, "each worker ran one");
        queue.stop();
        for worker in workers {
            worker.join().unwrap();
        }
    });
}

#[test]
fn a_vat_behind_a_worker_that_is_stuck_in_a_crank_is_taken_over_by_the_watcher() {
    const STATES: [&str; 2] = ["the stuck one was first", "the watcher was first"];
    explore_preempted(3, &STATES, |seen| {
        let queue = Arc::new(RunQueue::new(2));
        let freed = Arc::new(HandOver::new());
        // The crank of vat 0 ends only when vat 1 has been run: by nobody but the other worker.
        let workers = [0, 1].map(|worker| {
            let (queue, freed, seen) = (Arc::clone(&queue), Arc::clone(&freed), seen.clone());
            thread::spawn(move || {
                while let Some(vat) = queue.next() {
                    if vat == 0 {
                        seen.note_if(worker == 0, "the stuck one was first");
                        seen.note_if(worker == 1, "the watcher was first");
                        freed.take();
                        queue.stop();
                    } else {
                        freed.give(()).expect("nobody closes it");
                    }
                    queue.note(1, false);
                }
            })
        });
        queue.push(0);
        queue.push(1);
        for worker in workers {
            worker.join().unwrap();
        }
    });
}

#[test]
fn costly_cranks_wake_a_second_worker_for_a_vat_left_in_the_line() {
    explore_preempted(3, &["run side by side"], |seen| {
        let queue = Arc::new(RunQueue::new(2));
        queue.note(1, true);
        let (to_first, to_second) = (Arc::new(HandOver::new()), Arc::new(HandOver::new()));
        // Each crank ends when the other has begun, so one worker alone cannot end either.
        let workers = [(), ()].map(|()| {
            let queue = Arc::clone(&queue);
            let (to_first, to_second) = (Arc::clone(&to_first), Arc::clone(&to_second));
            let seen = seen.clone();
            thread::spawn(move || {
                while let Some(vat) = queue.next() {
                    let (mine, other) = if vat == 0 {
                        (&to_first, &to_second)
                    } else {
                        (&to_second, &to_first)
                    };
                    other.give(()).expect("nobody closes it");
                    mine.take();
                    seen.note("run side by side");
                    queue.note(1, true);
                    queue.stop();
                }
            })
        });
        queue.push_all([0, 1]);
        for worker in workers {
            worker.join().unwrap();
        }
    });
}

#[test]
fn a_worker_that_exchanges_its_vat_leaves_it_to_the_line() {
    explore(&["exchanged for the one pushed", "kept its own"], |seen| {
        let queue = Arc::new(RunQueue::new(1));
        let pusher = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || queue.push(1))
        };
        // This thread is the worker, and holds vat 0 that nobody else knows of.
        let first = queue.exchange(Some(0)).expect("its own at least");
        seen.note_if(first == 1, "exchanged for the one pushed");
        seen.note_if(first == 0, "kept its own");
        let second = queue.next().expect("nobody stops it");
        assert_eq!(first + second, 1, "vats {first} and {second} were run");
        pusher.join().unwrap();
        assert!(queue.looks_empty());
    });
}
