//! Backpressure: room for inputs, and workers that sleep while nothing more may be sequenced.
#![cfg(crankcase_loom)]

use std::future::poll_fn;
use std::task::Poll;

use crankcase::model::{Admission, Stall};
use crankcase_loom_tests::{Pace, Pipeline, explore, explore_preempted};
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;

/// Gives room back as the kernel does: wakers are called after it, under no lock.
fn leave(admission: &Admission, bytes: u64) {
    for waker in admission.leave(bytes) {
        waker.wake();
    }
}

#[test]
fn whoever_waits_for_room_gets_in_when_it_is_given_back() {
    explore(&["room at once", "had to come back"], |seen| {
        let admission = Arc::new(Admission::new(0));
        // An input larger than the bound gets in while the bound is not exceeded.
        assert!(
            admission.try_enter(5),
            "the first input is admitted whatever its size"
        );
        assert!(!admission.try_enter(1), "the bound is exceeded");
        let holder = {
            let admission = Arc::clone(&admission);
            thread::spawn(move || leave(&admission, 5))
        };
        let at_once = admission.try_enter(1);
        if at_once {
            seen.note("room at once");
        } else {
            // Were the wake-up lost, this would wait for ever.
            assert!(admission.enter(1), "nobody closes it");
            seen.note("had to come back");
        }
        leave(&admission, 1);
        holder.join().unwrap();
        assert!(admission.try_enter(1), "room was lost");
    });
}

#[test]
fn two_that_wait_for_the_same_room_both_get_in_one_after_the_other() {
    explore_preempted(2, &["got in first", "got in second"], |seen| {
        let admission = Arc::new(Admission::new(0));
        assert!(admission.try_enter(5));
        let inside = Arc::new(AtomicBool::new(false));
        let pass = |admission: &Admission, inside: &AtomicBool| {
            assert!(admission.enter(1), "nobody closes it");
            assert!(
                !inside.swap(true, Ordering::Relaxed),
                "two are inside a bound of one"
            );
            inside.store(false, Ordering::Relaxed);
            leave(admission, 1);
        };
        let first = Arc::new(AtomicBool::new(true));
        let other = {
            let (admission, inside) = (Arc::clone(&admission), Arc::clone(&inside));
            let (first, seen) = (Arc::clone(&first), seen.clone());
            thread::spawn(move || {
                pass(&admission, &inside);
                let was_first = first.swap(false, Ordering::Relaxed);
                seen.note(if was_first {
                    "got in first"
                } else {
                    "got in second"
                });
            })
        };
        let holder = {
            let admission = Arc::clone(&admission);
            thread::spawn(move || leave(&admission, 5))
        };
        pass(&admission, &inside);
        first.store(false, Ordering::Relaxed);
        other.join().unwrap();
        holder.join().unwrap();
        assert!(admission.try_enter(1), "room was lost");
    });
}

#[test]
fn a_task_that_awaits_room_is_woken() {
    explore(&["had to wait", "room at once"], |seen| {
        let admission = Arc::new(Admission::new(0));
        assert!(admission.try_enter(1));
        let holder = {
            let admission = Arc::clone(&admission);
            thread::spawn(move || leave(&admission, 1))
        };
        let mut polls = 0;
        loom::future::block_on(poll_fn(|context| {
            polls += 1;
            if admission.poll_room(context.waker()) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        }));
        seen.note(if polls > 1 {
            "had to wait"
        } else {
            "room at once"
        });
        assert!(admission.try_enter(1), "woken without room");
        holder.join().unwrap();
    });
}

#[test]
fn a_stall_whose_condition_ends_wakes_its_sleeper() {
    explore(&["woke up"], |seen| {
        let stall = Arc::new(Stall::new());
        let holds = Arc::new(AtomicBool::new(true));
        let sleeper = {
            let (stall, holds, seen) = (Arc::clone(&stall), Arc::clone(&holds), seen.clone());
            thread::spawn(move || {
                stall.sleep_while(|| holds.load(Ordering::Relaxed));
                seen.note("woke up");
            })
        };
        holds.store(false, Ordering::Relaxed);
        stall.announce();
        sleeper.join().unwrap();
    });
}

#[test]
fn workers_that_sleep_while_the_role_is_full_are_woken_by_the_commit() {
    explore_preempted(
        2,
        &["slept until the commit", "never saw it full"],
        |seen| {
            // One undurable record is one too many, so each record fills it.
            let pace = Pace {
                group: 1,
                undurable: 0,
                ..Pace::idle_after(9)
            };
            let pipeline = Pipeline::new(pace);
            let committer = {
                let pipeline = Arc::clone(&pipeline);
                thread::spawn(move || pipeline.commit_all())
            };
            let other = {
                let pipeline = Arc::clone(&pipeline);
                thread::spawn(move || {
                    pipeline.submit(1);
                    pipeline.pause_if_full()
                })
            };
            pipeline.submit(0);
            let slept = pipeline.pause_if_full();
            seen.note(if slept {
                "slept until the commit"
            } else {
                "never saw it full"
            });
            let mut told = [pipeline.wait_for_one(), pipeline.wait_for_one()];
            told.sort_unstable();
            assert_eq!(
                told,
                [(0, true), (1, true)],
                "a record that waited was lost"
            );
            other.join().unwrap();
            pipeline.close();
            committer.join().unwrap();
            assert_eq!(
                pipeline.groups(),
                [1, 1],
                "more was sequenced than the bound allows"
            );
        },
    );
}
