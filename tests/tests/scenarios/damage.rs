//! A harmed directory opens as it was or is refused, whatever bit, byte or sector of it was harmed.
//!
//! The program `damage` does the same with every byte, or with every bit: see its text.

use crankcase_tests::damage::flips::Which;
use crankcase_tests::damage::{Ended, flips, tails};

#[test]
fn a_flipped_bit_changes_nothing_or_is_refused() {
    let figures = flips::round(1, Which::OneOfOneByteIn(32));
    assert!(figures.refused > 0 && figures.same > 0, "{figures:?}");
}

#[test]
fn a_log_that_was_cut_in_its_last_group_loses_what_no_witness_saw_and_nothing_else() {
    for ended in [Ended::Closed, Ended::Killed, Ended::Unwitnessed] {
        println!("{ended:?}: {:?}", tails::every_cut(ended, 40));
    }
}

#[test]
fn a_sector_of_zeros_changes_nothing_or_is_refused() {
    for ended in [Ended::Closed, Ended::Killed, Ended::Unwitnessed] {
        println!("{ended:?}: {:?}", tails::every_hole(ended));
    }
}
