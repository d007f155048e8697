//! Rounds of children that are killed at named places and at random moments; what must hold after
//! each stands in `crankcase_tests::crash`.
//!
//! `CRANKCASE_CRASH_ROUNDS` says how many rounds, and `CRANKCASE_CRASH_SEED` with which they begin.

use crankcase_journal::crash_points::CrashPoint;
use crankcase_tests::crash::{self, CrashFigures};

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |number| {
        number
            .parse()
            .unwrap_or_else(|_| panic!("{variable} is a number"))
    })
}

fn rounds(default: u64, round: fn(u64) -> CrashFigures) -> CrashFigures {
    let first = number("CRANKCASE_CRASH_SEED", 1);
    let count = number("CRANKCASE_CRASH_ROUNDS", default);
    let mut figures = CrashFigures::default();
    for seed in first..first + count {
        figures.add(&round(seed));
    }
    println!("{figures:#?}");
    figures
}

#[test]
fn whatever_was_told_outlives_deaths_at_any_place() {
    let figures = rounds(6, crash::round);
    assert!(figures.crashes > 0, "some child died");
}

#[test]
fn a_child_dies_at_each_crash_point_and_nothing_that_was_told_is_lost() {
    let first = number("CRANKCASE_CRASH_SEED", 1);
    let mut figures = CrashFigures::default();
    for (seed, points) in (first..).zip(crash::points_by_journal()) {
        figures.add(&crash::round_through(&points, seed));
    }
    println!("{figures:#?}");
    let all = CrashPoint::ALL.iter().map(|point| point.name());
    let missed: Vec<&str> = all
        .filter(|name| !figures.points_hit.contains_key(name))
        .collect();
    assert!(missed.is_empty(), "no round reaches {missed:?}");
}

#[cfg(unix)]
#[test]
fn a_disk_that_fails_or_loses_power_below_the_journal_loses_nothing_that_was_told() {
    if !crash::can_fail_below() {
        return;
    }
    let figures = rounds(8, crash::disk_round);
    assert!(figures.power_cuts > 0, "the power was cut");
    assert!(!figures.faults.is_empty(), "some call failed");
    assert!(figures.writes_lost > 0, "something was not synced");
}

#[cfg(unix)]
#[test]
fn a_new_journal_is_synced_with_all_its_folders_before_it_is_one() {
    if !crash::can_fail_below() {
        return;
    }
    let points = CrashPoint::ALL.iter();
    for &point in points.filter(|point| point.name().starts_with("making.")) {
        let figures = crash::power_cut_at(point, 1);
        assert_eq!(figures.points_hit.get(point.name()), Some(&1));
    }
}

#[cfg(unix)]
#[test]
fn a_new_journal_is_synced_with_the_folders_that_were_made_above_it() {
    if crash::can_fail_below() {
        assert!(crash::is_there_after_power_cut_below_new_folders());
    }
}

#[cfg(unix)]
#[test]
fn a_full_disk_is_told_and_with_room_again_the_kernel_goes_on() {
    for seed in 1..3 {
        if let Some(figures) = crash::small_disk_round(seed) {
            assert!(figures.stopped + figures.refused > 0);
        }
    }
}

/// What tests put into the code is not there for those who measure it, build on it or build all that
/// is shipped.
#[test]
fn crash_points_are_compiled_for_tests_alone() {
    let packages = [
        &["--package", "crankcase-benches"][..],
        &["--package", "crankcase-cli"],
        &["--package", "crankcase"],
        &[],
    ];
    for package in packages {
        let mut tree = std::process::Command::new(env!("CARGO"));
        tree.args(["tree", "--offline", "--edges", "normal,features"])
            .args(package)
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
        let tree = tree.output().expect("cargo runs");
        let lines = String::from_utf8_lossy(&tree.stdout).into_owned();
        assert!(lines.contains("crankcase-journal"), "{tree:?}");
        assert!(!lines.contains("crash-points"), "{package:?}: {lines}");
    }
}
