//! The hand-over of work to a thread of its own, and its end.
#![cfg(crankcase_loom)]

use crankcase::model::{HandOver, Taken};
use crankcase_loom_tests::explore;
use loom::sync::Arc;
use loom::thread;

/// (giver, number of the piece of that giver)
type Work = (u8, u8);

#[track_caller]
fn check_taken(taken: &[Work], given: &[&[Work]]) {
    assert_eq!(
        taken.len(),
        given.iter().map(|of_one| of_one.len()).sum::<usize>(),
        "{taken:?}"
    );
    for of_one in given.iter().filter(|of_one| !of_one.is_empty()) {
        let order: Vec<_> = taken
            .iter()
            .copied()
            .filter(|taken| taken.0 == of_one[0].0)
            .collect();
        assert_eq!(order, *of_one, "work of one giver out of order");
    }
}

#[test]
fn work_of_two_givers_is_taken_exactly_once_and_wakes_the_sleeping_taker() {
    explore(&["taken in turns"], |seen| {
        let line = Arc::new(HandOver::new());
        let givers = [(1, 2), (2, 1)].map(|(giver, count)| {
            let line = Arc::clone(&line);
            thread::spawn(move || {
                for number in 0..count {
                    line.give((giver, number)).expect("nobody closes it");
                }
            })
        });
        let taken: Vec<Work> = (0..3)
            .map(|_| line.take().expect("nobody closes it"))
            .collect();
        for giver in givers {
            giver.join().unwrap();
        }
        seen.note_if(taken[1].0 == 2, "taken in turns");
        check_taken(&taken, &[&[(1, 0), (1, 1)], &[(2, 0)]]);
    });
}

#[test]
fn closing_it_loses_nothing_that_was_given_and_hands_the_rest_back() {
    const STATES: [&str; 3] = [
        "all given",
        "handed back",
        "closed before anything was given",
    ];
    explore(&STATES, |seen| {
        let line = Arc::new(HandOver::new());
        let giver = {
            let line = Arc::clone(&line);
            thread::spawn(move || {
                let mut given = Vec::new();
                for number in 0..2 {
                    match line.give((1, number)) {
                        Ok(()) => given.push((1, number)),
                        Err(back) => assert_eq!(back, (1, number), "other work came back"),
                    }
                }
                given
            })
        };
        let closer = {
            let line = Arc::clone(&line);
            thread::spawn(move || line.close())
        };
        let taken: Vec<Work> = std::iter::from_fn(|| line.take()).collect();
        let given = giver.join().unwrap();
        closer.join().unwrap();
        seen.note_if(given.len() == 2, "all given");
        seen.note_if(given.len() < 2, "handed back");
        seen.note_if(given.is_empty(), "closed before anything was given");
        check_taken(&taken, &[&given]);
        assert_eq!(
            line.give((1, 9)),
            Err((1, 9)),
            "a closed hand-over took work"
        );
        assert_eq!(line.take(), None);
    });
}

#[test]
fn who_takes_with_an_eye_on_the_clock_misses_nothing_that_is_given() {
    const STATES: [&str; 2] = ["late before it was given", "given in time"];
    explore(&STATES, |seen| {
        let line = Arc::new(HandOver::new());
        let giver = {
            let line = Arc::clone(&line);
            thread::spawn(move || {
                line.give((1, 0)).expect("nobody closes it");
                line.close();
            })
        };
        // A model has no clock, so this one may always be late.
        let mut taken: Vec<Work> = Vec::new();
        match line.take_until(Some(std::time::Instant::now())) {
            Taken::Work(work) => {
                seen.note("given in time");
                taken.push(work);
            }
            Taken::TimeUp => seen.note("late before it was given"),
            Taken::Closed => panic!("closed before what was given was taken"),
        }
        taken.extend(std::iter::from_fn(|| line.take()));
        giver.join().unwrap();
        check_taken(&taken, &[&[(1, 0)]]);
    });
}
