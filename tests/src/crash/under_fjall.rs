//! Rounds on a disk that fails below the journal: that writes short, says no, is full, or loses its
//! power with what was not synced.
//!
//! Above fjall the same is done by `crate::disk`, at chosen groups and without a child.

use std::fs;
use std::path::Path;
use std::process::Command;

use crankcase_journal::crash_points::CrashPoint;

use super::figures::CrashFigures;
use super::plan::Plan;
use super::power::Recording;
use super::shim::{self, Fault};
use super::told::Told;
use super::{BAD_NEWS, Death, Round, was_killed};
use crate::child::{Victim, program};
use crate::luck::Luck;
use crate::scratch::Scratch;

/// Whether a disk that fails below the journal can be put under children of this system; says on the
/// standard error when it cannot.
#[must_use]
pub fn can_fail_below() -> bool {
    shim::library().is_some()
}

/// Whether the machine goes on when a child has died.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Power {
    Stays,
    /// Of what was not synced some is there, and some is not.
    Goes,
    /// Nothing is there but what was synced.
    GoesWithAllUnsynced,
}

impl Power {
    fn of(luck: &mut Luck) -> Self {
        match luck.below(4) {
            0 => Self::GoesWithAllUnsynced,
            _ => Self::Goes,
        }
    }
}

impl Round {
    /// Has a child work on a disk that does something wrong, and then perhaps loses its power.
    fn child_on(&mut self, death: Death, fault: &Fault, power: Power) {
        let dir = self.scratch.dir();
        // The journal's own folder is there, so that what is lost is what is in it.
        fs::create_dir_all(&dir).expect("a folder can be made");
        let dir = fs::canonicalize(dir).expect("the folder is there");
        let recording = Recording::begin(&dir);
        let variables = shim::variables(&recording, fault);
        let lines = self.child_with(death, &variables);
        let disk = recording.end();
        disk.check_complete();
        let told = lines
            .iter()
            .filter(|line| !line.starts_with(['t', 'r', 's']) || line.starts_with("stopped"));
        self.history.extend(told.cloned());
        let bad: Vec<&String> = lines
            .iter()
            .filter(|line| BAD_NEWS.iter().any(|bad| line.starts_with(bad)))
            .collect();
        if fault.is_harmless() || disk.faults.is_empty() {
            assert!(bad.is_empty(), "{fault:?} is to be gone on from: {bad:?}");
        }
        for line in &bad {
            assert!(!line.contains("panicked"), "{fault:?} is no bug: {line}");
        }
        self.figures.stopped += u64::from(bad.iter().any(|line| line.starts_with("stopped")));
        self.figures.refused += u64::from(bad.iter().any(|line| line.starts_with("refused")));
        if let Some(fault) = disk.faults.first() {
            *self.figures.faults.entry(fault.clone()).or_default() += 1;
        }
        if power != Power::Stays {
            let after = Scratch::new();
            let cut = disk.cut(
                &after.dir(),
                &mut self.luck,
                power == Power::GoesWithAllUnsynced,
            );
            self.figures.power_cuts += 1;
            self.history.push("the power was cut".to_owned());
            self.history.extend(cut.lines);
            self.figures.writes_lost += cut.changes;
            self.scratch = after;
            if self.plan.buffered {
                // It may be gone, and something else may be told in its place.
                self.told = Told::default();
            }
        }
    }
}

/// One round on a disk below the journal that loses its power, fails, writes short or is full.
///
/// # Panics
///
/// As [`round`](super::round).
#[must_use]
pub fn disk_round(seed: u64) -> CrashFigures {
    let mut round = Round::new(seed, Plan::of(seed));
    for _ in 0..2 + round.luck.below(3) {
        let death = round.death();
        let power = Power::of(&mut round.luck);
        let (fault, power) = match round.luck.below(3) {
            0 => (Fault::None, power),
            1 => (Fault::of(&mut round.luck), Power::Stays),
            _ => (Fault::of(&mut round.luck), power),
        };
        round.child_on(death, &fault, power);
        if round.luck.below(3) == 0 {
            // The next opening is interrupted as well.
            let death = round.death_in_recovery();
            let power = match round.luck.below(2) {
                0 => Power::Stays,
                _ => Power::of(&mut round.luck),
            };
            round.child_on(death, &Fault::None, power);
        }
        if round.luck.below(3) != 0 {
            round.check();
        }
    }
    round.child(Death::Natural);
    round.check();
    std::mem::take(&mut round.figures)
}

/// A round in which the power goes when a child has come to that point, and with it everything that
/// was not synced.
///
/// # Panics
///
/// As [`round`](super::round).
#[must_use]
pub fn power_cut_at(point: CrashPoint, seed: u64) -> CrashFigures {
    let mut round = Round::new(seed, Plan::of(seed));
    round.plan.buffered = false;
    round.child_on(
        Death::At(point, 1),
        &Fault::None,
        Power::GoesWithAllUnsynced,
    );
    round.check();
    round.child(Death::Natural);
    round.check();
    std::mem::take(&mut round.figures)
}

/// Has the power go when a new journal has just been made, a few folders below one that was there, and
/// with it everything that was not synced; says whether the journal is there afterwards.
///
/// # Panics
///
/// When the child ends otherwise.
#[must_use]
pub fn is_there_after_power_cut_below_new_folders() -> bool {
    const BELOW: &str = "of/a/host";
    let (before, after) = (Scratch::new(), Scratch::new());
    fs::create_dir_all(before.dir()).expect("a folder can be made");
    let root = fs::canonicalize(before.dir()).expect("the folder is there");
    let recording = Recording::begin(&root);
    let mut variables = shim::variables(&recording, &Fault::None);
    let at = format!("{}:1", CrashPoint::MakingUnmarked.name());
    variables.push(("CRANKCASE_CRASH_AT".to_owned(), at));
    let mut plan = Plan::of(1);
    plan.buffered = false;
    let words: Vec<String> = ["load".to_owned()]
        .into_iter()
        .chain(plan.words())
        .collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let variables: Vec<(&str, &str)> = variables
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let child = Victim::start_with(&program("victim"), &root.join(BELOW), &words, &variables);
    let (_, status) = child.end();
    assert!(was_killed(status), "the child ended otherwise: {status}");
    let disk = recording.end();
    disk.check_complete();
    disk.cut(&after.dir(), &mut Luck::new(1), true);
    let made = crankcase_journal::identity_of(&after.dir().join(BELOW));
    made.is_ok_and(|identity| identity.is_some())
}

/// A file system of a few kilobytes, for as long as this lives.
struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    /// Nothing, and a line on the standard error, where the system does not let us.
    fn mount(at: &'a Path, bytes: u64) -> Option<Self> {
        fs::create_dir_all(at).expect("a folder can be made");
        let size = format!("size={bytes}");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(at)
            .output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(at)),
            other => {
                eprintln!("skipped: a small file system cannot be mounted here: {other:?}");
                None
            }
        }
    }

    fn make_room(&self) {
        let made = Command::new("mount")
            .args(["-o", "remount,size=512m"])
            .arg(self.0)
            .status();
        assert!(made.expect("mount runs").success(), "room is made");
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        // What stays mounted is small, and goes with the machine.
        let _ = Command::new("umount").arg(self.0).status();
    }
}

/// A round on a file system that is full before the load is done, and gets room then; nothing where
/// none can be mounted.
///
/// # Panics
///
/// As [`round`](super::round), and when the disk is not full.
#[must_use]
pub fn small_disk_round(seed: u64) -> Option<CrashFigures> {
    let mut plan = Plan::of(seed);
    plan.padding = 5_000;
    plan.requests = 60;
    let mut round = Round::new(seed, plan);
    let at = round.scratch.dir();
    let bytes = (100 << 10) + round.luck.below(200 << 10);
    let disk = SmallDisk::mount(&at, bytes)?;
    let mut full = false;
    for _ in 0..3 {
        let lines = round.child_with(Death::Natural, &[]);
        for line in &lines {
            let bad = BAD_NEWS.iter().any(|bad| line.starts_with(bad));
            assert!(
                !bad || !line.contains("panicked"),
                "a full disk is no bug: {line}"
            );
            round.figures.stopped += u64::from(line.starts_with("stopped"));
            round.figures.refused += u64::from(line.starts_with("refused"));
            full |= bad;
        }
    }
    assert!(full, "{bytes} bytes are too few for the load");
    disk.make_room();
    *round.figures.faults.entry("full".to_owned()).or_default() += 1;
    round.check();
    round.child(Death::Natural);
    round.check();
    drop(disk);
    Some(std::mem::take(&mut round.figures))
}
