//! Random programs on the kernel and on one that is as simple as can be.
//!
//! `CRANKCASE_PROGRAMS` says how many of each; more find more. `CRANKCASE_SEED` says from which seed
//! on; a failure names the seed that it came from.

use crankcase_tests::oracle::{Comparison, round};

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |number| {
        // The test kit says more behind a comma.
        let parsed = number.split(',').next().unwrap_or_default().parse();
        parsed.unwrap_or_else(|_| panic!("{name} is a number, and not {number:?}"))
    })
}

fn compare(comparison: Comparison, programs: u64) {
    let programs = number("CRANKCASE_PROGRAMS", programs);
    let programs = u32::try_from(programs).expect("CRANKCASE_PROGRAMS is not that many");
    let figures = round(comparison, number("CRANKCASE_SEED", 1), programs);
    println!("{comparison:?}: {figures:?}");
    assert!(
        figures.records > 0 && figures.outcomes > 0,
        "programs that do nothing show nothing"
    );
    let trouble = match comparison {
        Comparison::Crashes => figures.crashes,
        Comparison::Completion | Comparison::Dispatch => figures.reopenings,
    };
    assert!(trouble > 0, "programs without trouble show little");
}

#[test]
fn oracle_dispatch_order_is_the_serial_kernels_with_any_workers_and_settings() {
    compare(Comparison::Dispatch, 60);
}

#[test]
fn oracle_completion_order_is_one_that_the_serial_kernel_could_have_written() {
    compare(Comparison::Completion, 150);
}

#[test]
fn oracle_a_kernel_that_is_lost_comes_back_as_a_prefix_that_covers_what_was_told() {
    compare(Comparison::Crashes, 100);
}
