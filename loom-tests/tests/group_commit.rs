//! Groups handed to the committer, and the three watermarks.
#![cfg(crankcase_loom)]

use crankcase_loom_tests::{Pace, Pipeline, explore_preempted};
use loom::sync::Arc;
use loom::thread;

fn spawn_committer(pipeline: &Arc<Pipeline>) -> thread::JoinHandle<()> {
    let pipeline = Arc::clone(pipeline);
    thread::spawn(move || pipeline.commit_all())
}

/// Waits for the tickets of authors 0, 1 … and checks that each is settled, once.
#[track_caller]
fn check_settled(pipeline: &Pipeline, count: u8) {
    let mut authors: Vec<u8> = (0..count)
        .map(|_| {
            let (author, settled) = pipeline.wait_for_one();
            assert!(settled, "the ticket of {author} failed on a sound disk");
            author
        })
        .collect();
    authors.sort_unstable();
    assert_eq!(
        authors,
        (0..count).collect::<Vec<_>>(),
        "a ticket was settled twice"
    );
}

#[test]
fn whoever_makes_the_kernel_idle_has_the_last_group_committed() {
    explore_preempted(2, &["the last place is released"], |seen| {
        let pipeline = Pipeline::new(Pace::idle_after(2));
        let committer = spawn_committer(&pipeline);
        let other = {
            let pipeline = Arc::clone(&pipeline);
            thread::spawn(move || pipeline.submit(1))
        };
        pipeline.submit(0);
        // Were the group not cut, or its hand-over not heard, this would wait for ever.
        check_settled(&pipeline, 2);
        assert_eq!(pipeline.look(), [2, 2, 2]);
        seen.note("the last place is released");
        other.join().unwrap();
        pipeline.close();
        committer.join().unwrap();
        assert_eq!(pipeline.groups(), [2]);
    });
}

#[test]
fn a_group_that_fills_while_another_is_committed_follows_it() {
    const STATES: [&str; 2] = ["one group after the other", "both in one group"];
    explore_preempted(2, &STATES, |seen| {
        let pipeline = Pipeline::new(Pace {
            group: 1,
            ..Pace::idle_after(9)
        });
        let committer = spawn_committer(&pipeline);
        let other = {
            let pipeline = Arc::clone(&pipeline);
            thread::spawn(move || pipeline.submit(1))
        };
        pipeline.submit(0);
        check_settled(&pipeline, 2);
        other.join().unwrap();
        pipeline.close();
        committer.join().unwrap();
        let groups = pipeline.groups();
        seen.note_if(groups == [1, 1], "one group after the other");
        seen.note_if(groups == [2], "both in one group");
        assert_eq!(groups.iter().sum::<usize>(), 2, "{groups:?}");
    });
}

#[test]
fn who_waits_for_a_sequenced_record_has_it_committed_though_the_kernel_is_busy() {
    const STATES: [&str; 2] = ["the waiter asked", "the holder knew that someone waits"];
    explore_preempted(2, &STATES, |seen| {
        let pipeline = Pipeline::new(Pace::idle_after(9));
        let committer = spawn_committer(&pipeline);
        let other = {
            let pipeline = Arc::clone(&pipeline);
            thread::spawn(move || pipeline.submit(1))
        };
        let demanded = pipeline.submit_and_ask(0);
        seen.note(if demanded { STATES[0] } else { STATES[1] });
        // Whatever it shares a group with; the other may still wait for more.
        while pipeline.wait_for_one() != (0, true) {}
        other.join().unwrap();
        pipeline.close();
        committer.join().unwrap();
    });
}

#[test]
fn nothing_is_seen_released_or_durable_that_is_not_on_disk() {
    const STATES: [&str; 3] = ["nothing yet", "durable and not released", "released"];
    explore_preempted(4, &STATES, |seen| {
        let pipeline = Pipeline::new(Pace::idle_after(1));
        let committer = spawn_committer(&pipeline);
        let observer = {
            let (pipeline, seen) = (Arc::clone(&pipeline), seen.clone());
            thread::spawn(move || {
                let look = pipeline.look();
                seen.note_if(look == [0, 0, 0], "nothing yet");
                seen.note_if(look == [0, 1, 1], "durable and not released");
                seen.note_if(look == [1, 1, 1], "released");
            })
        };
        pipeline.submit(0);
        check_settled(&pipeline, 1);
        observer.join().unwrap();
        pipeline.close();
        committer.join().unwrap();
    });
}
