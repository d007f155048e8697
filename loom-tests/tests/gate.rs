//! The gate of `Dispatch` order: whoever it turned away gets in when it lets them.
#![cfg(crankcase_loom)]

use crankcase::model::{Gate, OPEN, SHUT};
use crankcase_loom_tests::explore;
use loom::sync::Arc;
use loom::thread;

#[test]
fn nobody_is_left_outside_of_a_gate_that_is_moved() {
    const STATES: [&str; 3] = [
        "passed at the last look",
        "let in by who moved it",
        "never turned away",
    ];
    explore(&STATES, |seen| {
        let gate = Arc::new(Gate::new());
        // Vat 1 comes while only vat 7 may pass.
        gate.move_to(7, |_: u8| panic!("nobody was turned away"));
        let worker = {
            let (gate, seen) = (Arc::clone(&gate), seen.clone());
            thread::spawn(move || {
                if gate.lets_pass(1) {
                    seen.note("never turned away");
                    return 1;
                }
                let passed = gate.turn_away(1, 1u8).is_some();
                seen.note_if(passed, "passed at the last look");
                u8::from(passed)
            })
        };
        let mut let_in = 0;
        gate.move_to(OPEN, |vat| let_in += vat);
        let passed = worker.join().unwrap();
        seen.note_if(let_in > 0, "let in by who moved it");
        assert_eq!(
            let_in + passed,
            1,
            "a vat was left outside, or let in twice"
        );
    });
}

#[test]
fn the_turn_of_a_vat_outside_lets_in_that_one_alone() {
    explore(&["the one was let in", "the one passed"], |seen| {
        let gate = Arc::new(Gate::new());
        gate.move_to(7, |_: u8| panic!("nobody was turned away"));
        assert_eq!(gate.turn_away(2, 2u8), None);
        let worker = {
            let gate = Arc::clone(&gate);
            thread::spawn(move || gate.turn_away(1, 1u8))
        };
        let mut let_in = Vec::new();
        gate.move_to(1, |vat| let_in.push(vat));
        match worker.join().unwrap() {
            Some(vat) => {
                assert_eq!((vat, let_in.as_slice()), (1, [].as_slice()));
                seen.note("the one passed");
            }
            None => {
                assert_eq!(let_in, [1], "the one whose turn it is was left outside");
                seen.note("the one was let in");
            }
        }
        gate.move_to(SHUT, |_| panic!("a shut gate lets in nobody"));
        gate.move_to(OPEN, |vat| assert_eq!(vat, 2, "one was let in twice"));
    });
}
