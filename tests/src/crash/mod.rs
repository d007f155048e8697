//! Rounds of a real child that is killed again and again while it works on a journal, and what must
//! hold after each: the journal is sound and its cranks run again to the same records, whatever a
//! ticket or a read had told is there, each request has happened once, no money came or went, and
//! the kernel goes on.

pub mod figures;
pub mod load;
pub mod plan;
#[cfg(unix)]
mod power;
#[cfg(unix)]
mod shim;
pub mod till;
mod told;
#[cfg(unix)]
mod under_fjall;

use std::fs;
use std::path::Path;
use std::process::ExitStatus;

use crankcase::{CommitOrder, verify};
use crankcase_journal::crash_points::CrashPoint;

pub use self::figures::CrashFigures;
pub use self::plan::Plan;
use self::told::Told;
#[cfg(unix)]
pub use self::under_fjall::{
    can_fail_below, disk_round, is_there_after_power_cut_below_new_folders, power_cut_at,
    small_disk_round,
};
use crate::child::{Victim, program};
use crate::host::PATIENCE;
use crate::laws::{self, Laws};
use crate::luck::Luck;
use crate::scratch::Scratch;
use crate::watch::Watch;

/// The points that an opening passes, for crashes in the recovery from a crash.
fn in_recovery() -> impl Iterator<Item = CrashPoint> {
    let all = CrashPoint::ALL.iter().copied();
    all.filter(|point| {
        let area = point.name().split('.').next();
        matches!(area, Some("recovery" | "identity"))
    })
}

/// Whether a point is passed only while a journal is made.
fn is_in_making(point: CrashPoint) -> bool {
    let area = point.name().split('.').next();
    matches!(area, Some("making" | "identity"))
}

/// How often a point may be passed before the process is to die there. Some are passed once in a
/// life, some a thousand times.
fn times(point: CrashPoint, luck: &mut Luck) -> u64 {
    let most = match point.name().split('.').next() {
        Some("sequencer") => 300,
        Some("committer") => 40,
        Some("checkpoint" | "clean-up" | "load") => 4,
        _ => 1,
    };
    1 + luck.below(most)
}

/// How a child's words begin when its kernel has stopped, or did not open or close.
const BAD_NEWS: [&str; 3] = ["refused", "stopped", "not-closed"];

/// How a child ends.
#[derive(Debug, Clone, Copy)]
enum Death {
    /// It is killed after it has said so many lines, and a moment.
    Kill(u64),
    /// It kills itself the nth time that it passes the point, or closes its journal before.
    At(CrashPoint, u64),
    /// It closes its journal.
    Natural,
}

/// A journal, those who work on it one after the other, and what they have told.
struct Round {
    seed: u64,
    plan: Plan,
    luck: Luck,
    scratch: Scratch,
    told: Told,
    figures: CrashFigures,
    /// What was done, for whoever has to find out why something failed.
    history: Vec<String>,
    /// Ends the program when one child, or one check, hangs.
    watch: Option<Watch>,
}

impl Drop for Round {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self { seed, plan, .. } = self;
            for line in &self.history {
                eprintln!("… {line}");
            }
            let kept = std::env::temp_dir().join(format!("crankcase-crash-{seed}"));
            // What cannot be kept is not there to be looked at; the failure is told all the same.
            let _ = fs::remove_dir_all(&kept);
            if fs::rename(self.scratch.dir(), &kept).is_ok() {
                eprintln!("… the journal is kept in {}", kept.display());
            }
            eprintln!(
                "… in the crash round of seed {seed}, {plan:?}. The moments are the machine's, so \
                 it need not fail again: CRANKCASE_CRASH_SEED={seed} CRANKCASE_CRASH_ROUNDS=100 \
                 repeats it a hundred times"
            );
        }
    }
}

impl Round {
    fn new(seed: u64, plan: Plan) -> Self {
        Self {
            seed,
            plan,
            luck: Luck::new(!seed),
            scratch: Scratch::new(),
            told: Told::default(),
            figures: CrashFigures {
                rounds: 1,
                ..CrashFigures::default()
            },
            history: Vec::new(),
            watch: None,
        }
    }

    fn watch(&mut self, what: String) {
        // The last one first: it ends its watching when it is dropped.
        self.watch = None;
        self.watch = Some(Watch::new(format!("crash round {}: {what}", self.seed)));
    }

    /// Has a child work, on a disk with which nothing is wrong, until it dies.
    fn child(&mut self, death: Death) {
        let lines = self.child_with(death, &[]);
        for bad in BAD_NEWS {
            let found = lines.iter().find(|line| line.starts_with(bad));
            assert_eq!(found, None, "nothing is wrong with the disk");
        }
    }

    /// Has a child work until it dies, with more variables; gives its words as well.
    fn child_with(&mut self, death: Death, more_variables: &[(String, String)]) -> Vec<String> {
        self.watch(format!("{death:?}"));
        self.plan.starts = self.told.starts();
        let mut words = vec!["load".to_owned()];
        words.extend(self.plan.words());
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let armed = match death {
            Death::At(point, times) => format!("{}:{times}", point.name()),
            _ => String::new(),
        };
        let mut variables = vec![("CRANKCASE_CRASH_AT", armed.as_str())];
        let more = more_variables.iter();
        variables.extend(more.map(|(name, value)| (name.as_str(), value.as_str())));
        let dir = self.scratch.dir();
        let mut victim = Victim::start_with(&program("victim"), &dir, &words, &variables);
        self.figures.children += 1;
        self.history.push(format!("{death:?} {more_variables:?}"));
        let (mut lines, status) = match death {
            Death::Kill(count) => {
                let mut lines = victim.lines(count);
                linger(&mut self.luck);
                let (more, status) = victim.kill();
                lines.extend(more);
                (lines, status)
            }
            Death::At(..) | Death::Natural => victim.end(),
        };
        let crashed = !status.success();
        assert!(
            !crashed || was_killed(status),
            "the child ended otherwise: {status}"
        );
        match death {
            Death::Kill(_) if crashed => {
                self.figures.kills += 1;
                // The last line may be half a line.
                if lines.last().is_some_and(|line| !line.starts_with("closed")) {
                    lines.pop();
                }
            }
            Death::At(point, _) if crashed => {
                *self.figures.points_hit.entry(point.name()).or_default() += 1;
            }
            Death::Natural => assert!(!crashed, "the child ended otherwise: {status}"),
            Death::Kill(_) | Death::At(..) => {}
        }
        self.told.note(&lines);
        self.figures.crashes += u64::from(crashed);
        let opened = lines.iter().any(|line| line.starts_with("open "));
        self.figures.died_opening += u64::from(crashed && !opened);
        lines
    }

    /// A way to die, from the seed.
    fn death(&mut self) -> Death {
        let all = CrashPoint::ALL.len() as u64;
        match self.luck.below(10) {
            0..4 => Death::Kill(match self.luck.below(4) {
                0 => 1,
                1 => self.luck.below(10),
                _ => self.luck.below(u64::from(u8::MAX)),
            }),
            4..9 => {
                let point = CrashPoint::ALL[self.luck.below(all) as usize];
                Death::At(point, times(point, &mut self.luck))
            }
            _ => Death::Natural,
        }
    }

    /// A crash in the recovery from a crash.
    fn death_in_recovery(&mut self) -> Death {
        let points: Vec<CrashPoint> = in_recovery().collect();
        let point = points[self.luck.below(points.len() as u64) as usize];
        Death::At(point, 1 + self.luck.below(2))
    }

    /// Leaves the beginning of a batch behind the last whole one of the newest log file, as a write
    /// that power cut short would.
    fn tear(&mut self) {
        for folder in ["log", "tables"] {
            let mut logs = self.scratch.files(".jnl");
            logs.retain(|path| path.parent().is_some_and(|above| above.ends_with(folder)));
            let number = |path: &Path| -> Option<u64> { path.file_stem()?.to_str()?.parse().ok() };
            logs.sort_by_key(|path| number(path));
            let Some(newest) = logs.last() else { continue };
            let mut bytes = fs::read(newest).expect("a log file can be read");
            let Some(last) = bytes.iter().rposition(|&byte| byte != 0) else {
                continue;
            };
            // A batch begins with a one, the number of its items and a number of its own.
            let torn = [1, 2, 0, 0, 0, 255, 255, 0, 0, 0, 0, 0, 0, 2, 0, 0, 9];
            let len = 1 + self.luck.below(torn.len() as u64) as usize;
            bytes.truncate(last + 1);
            bytes.extend(&torn[..len]);
            fs::write(newest, &bytes).expect("a log file can be written");
        }
    }

    /// Everything that must hold.
    fn check(&mut self) {
        self.watch("a check".to_owned());
        let dir = self.scratch.dir();
        let made =
            crankcase_journal::identity_of(&dir).expect("a journal, or the beginnings of one");
        if made.is_some() {
            self.figures.records_checked += check_journal(&dir);
            self.figures.journals_checked += 1;
            self.told.check_hashes(&dir, &mut self.figures);
            if !self.plan.drops {
                let report = self.plan.builder(&dir).replay();
                let report = report.expect("the journal can be run again");
                assert_eq!(report.difference, None, "{report}");
                self.figures.cranks_replayed += report.cranks;
            }
        } else {
            assert!(
                self.told.is_empty(),
                "nothing was told of a journal that is not there"
            );
        }
        let kernel = match self.plan.builder(&dir).open() {
            Ok(kernel) => kernel,
            Err(error) => panic!("the journal does not open: {error}"),
        };
        let founding = load::found(&kernel).expect("the founding is taken");
        told::idle(&kernel);
        crate::host::settled(&founding);
        told::check_money(&kernel);
        self.told
            .check_running(&kernel, &self.plan, &mut self.figures);
        told::check_money(&kernel);
        if self.luck.below(2) == 0 {
            told::idle(&kernel);
            kernel.close(PATIENCE).expect("the kernel closes");
            if let Some(laws) = check_laws(&dir)
                && let Err(broken) = laws.nothing_waits()
            {
                panic!("a message is lost: {broken}");
            }
        }
    }
}

fn was_killed(status: ExitStatus) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::process::ExitStatusExt;
        status.signal() == Some(9)
    }
    #[cfg(not(unix))]
    {
        !status.success()
    }
}

/// Burns a moment that differs from round to round: no clock, and no event to wait for.
fn linger(luck: &mut Luck) {
    for n in 0..luck.below(400_000) {
        std::hint::black_box(n);
    }
}

/// Checks the journal in a directory that nobody has open, as far as that can be done from the
/// journal alone; gives the number of records that were gone through.
///
/// This is the one place where the rounds look at the records themselves.
///
/// # Panics
///
/// When it is not in order.
pub fn check_journal(dir: &Path) -> u64 {
    let report = match verify::verify(dir) {
        Ok(report) => report,
        Err(error) => panic!("the journal is not in order: {error}"),
    };
    check_laws(dir);
    report.records
}

/// Holds the records of a journal against the laws of an order. They are those of an order from its
/// first record, so of one that has dropped records there is nothing to say.
fn check_laws(dir: &Path) -> Option<Laws> {
    let records = laws::records_of(dir)?;
    Some(Laws::check(&records).unwrap_or_else(|broken| panic!("a law is broken: {broken}")))
}

/// One round: a journal with a few lives, each ended in its own way, and checks between them.
///
/// # Panics
///
/// When something does not hold, or the child's program is not there.
#[must_use]
pub fn round(seed: u64) -> CrashFigures {
    let mut round = Round::new(seed, Plan::of(seed));
    for _ in 0..2 + round.luck.below(3) {
        let death = round.death();
        round.child(death);
        if round.luck.below(4) == 0 {
            round.tear();
        }
        while round.luck.below(2) == 0 {
            let death = round.death_in_recovery();
            round.child(death);
        }
        if round.luck.below(3) != 0 {
            round.check();
        }
    }
    round.child(Death::Natural);
    round.check();
    std::mem::take(&mut round.figures)
}

/// All crash points, in groups: each for one journal, in an order in which children come to pass them
/// one after the other.
#[must_use]
pub fn points_by_journal() -> Vec<Vec<CrashPoint>> {
    use CrashPoint as P;
    let mut groups = vec![
        // A making that was interrupted begins anew, until there is an identity.
        vec![
            P::MakingMarked,
            P::MakingLog,
            P::MakingTables,
            P::MakingWitness,
            P::IdentityWritten,
            P::MakingIdentity,
        ],
        vec![P::MakingUnmarked, P::FactsBegun, P::FactsWritten],
        vec![P::IdentityRenamed],
        // These need another load than the others.
        vec![P::CommitterMadeRoom],
        vec![P::CommitterWitnessSynced],
        vec![P::RetentionBegun, P::RetentionDropped],
    ];
    let placed: Vec<CrashPoint> = groups.iter().flatten().copied().collect();
    let others = P::ALL.iter().filter(|point| !placed.contains(point));
    for (number, point) in others.enumerate() {
        groups[number % 3].push(*point);
    }
    groups
}

/// A round in which a child dies at each of those points, one after the other.
///
/// # Panics
///
/// As [`round`], and when a child does not come to die at one.
#[must_use]
pub fn round_through(points: &[CrashPoint], seed: u64) -> CrashFigures {
    let mut plan = Plan::of(seed);
    plan.padding = 0;
    plan.drops = points.contains(&CrashPoint::RetentionBegun);
    if points.contains(&CrashPoint::CommitterMadeRoom) {
        plan.padding = 400_000;
        plan.requests = 60;
    }
    if points.contains(&CrashPoint::CommitterWitnessSynced) {
        // A client waits at least 300 times for a group that is written after its request came.
        plan.buffered = false;
        plan.shape.order = CommitOrder::Completion;
        plan.requests = 1500;
    }
    let mut round = Round::new(seed, plan);
    for (number, &point) in points.iter().enumerate() {
        if matches!(
            point,
            CrashPoint::RecoverySetAside | CrashPoint::RecoveryCut
        ) {
            round.tear();
        }
        round.child(Death::At(point, 1));
        let hit = round.figures.points_hit.contains_key(point.name());
        assert!(hit, "no child passes {}", point.name());
        // Now and then, so that crashes follow on crashes; and not while the journal is being made,
        // which a check would do.
        let making = matches!(points.get(number + 1), Some(next) if is_in_making(*next));
        if number % 4 == 3 && !making {
            round.check();
        }
    }
    round.child(Death::Natural);
    round.check();
    std::mem::take(&mut round.figures)
}
