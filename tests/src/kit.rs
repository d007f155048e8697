//! The test kit (`crankcase::testing`) over the examples' vats, as often as one likes.

use std::ops::AddAssign;

use crankcase::CommitOrder;
use crankcase::testing::{Checked, Figures, Options, Simulation};

#[path = "../../scheduler/tests/simulated/bank.rs"]
mod bank;
#[path = "../../scheduler/tests/simulated/order_book.rs"]
mod order_book;

/// What rounds came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KitFigures {
    /// Runs of the bank and the order book.
    pub programs: u64,
    /// Crashes that were recovered from.
    pub crashes_survived: u64,
    /// Records that were looked at by laws and run again.
    pub records_checked: u64,
    /// How often a law was looked at.
    pub laws_checked: u64,
}

impl AddAssign<Figures> for KitFigures {
    fn add_assign(&mut self, run: Figures) {
        self.programs += run.runs;
        self.crashes_survived += run.crashes;
        self.records_checked += run.records;
        self.laws_checked += run.laws_checked;
    }
}

/// The bank and the order book in both orders, with and without crashes, by one seed.
///
/// # Panics
///
/// When a law is broken, with the name of the program and the seed of the run.
#[must_use]
pub fn round(seed: u64) -> KitFigures {
    type Program = (&'static str, fn() -> Options, fn(&Simulation) -> Checked);
    let programs: [Program; 2] = [
        ("bank", bank::options, bank::payments),
        ("order book", order_book::options, order_book::session),
    ];
    let mut figures = KitFigures::default();
    for (name, options, body) in programs {
        for order in [CommitOrder::Completion, CommitOrder::Dispatch] {
            for crash_every in [0, 40, 400] {
                let options = options().order(order).crash_every(crash_every);
                match options.run(seed, body) {
                    Ok(run) => figures += run,
                    Err(failure) => panic!(
                        "kit::round({seed}), the {name}, {order:?}, crash_every({crash_every}): \
                         {failure}"
                    ),
                }
            }
        }
    }
    figures
}
