//! What crash rounds came to, for those who add up many.

use std::collections::BTreeMap;

/// Counters of one round, or of many.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CrashFigures {
    /// Rounds.
    pub rounds: u64,
    /// Children that worked on a journal.
    pub children: u64,
    /// Those that were killed or killed themselves.
    pub crashes: u64,
    /// Those that were killed from outside, at a moment that nobody chose.
    pub kills: u64,
    /// Those that died before their journal was open.
    pub died_opening: u64,
    /// How often a child died at each crash point.
    pub points_hit: BTreeMap<&'static str, u64>,
    /// Times that power was cut: what was not synced was lost, or some of it.
    pub power_cuts: u64,
    /// Unsynced writes that were lost in power cuts.
    pub writes_lost: u64,
    /// Calls to the system that were made to fail, by what was asked and which error it gave.
    pub faults: BTreeMap<String, u64>,
    /// Children whose kernel stopped because of one.
    pub stopped: u64,
    /// Openings that were refused because of one.
    pub refused: u64,
    /// Journals that were checked.
    pub journals_checked: u64,
    /// Records among them that verification went through.
    pub records_checked: u64,
    /// Cranks that were run again and compared.
    pub cranks_replayed: u64,
    /// Outcomes that tickets had told, and were asked for again.
    pub outcomes_checked: u64,
    /// Reads and figures that had been told, and were held against the journal.
    pub reads_checked: u64,
}

impl CrashFigures {
    /// Adds those of another round.
    pub fn add(&mut self, other: &Self) {
        self.rounds += other.rounds;
        self.children += other.children;
        self.crashes += other.crashes;
        self.kills += other.kills;
        self.died_opening += other.died_opening;
        for (point, times) in &other.points_hit {
            *self.points_hit.entry(point).or_default() += times;
        }
        self.power_cuts += other.power_cuts;
        self.writes_lost += other.writes_lost;
        for (fault, times) in &other.faults {
            *self.faults.entry(fault.clone()).or_default() += times;
        }
        self.stopped += other.stopped;
        self.refused += other.refused;
        self.journals_checked += other.journals_checked;
        self.records_checked += other.records_checked;
        self.cranks_replayed += other.cranks_replayed;
        self.outcomes_checked += other.outcomes_checked;
        self.reads_checked += other.reads_checked;
    }
}
