//! Harms small journals in every way that `crankcase_tests::damage` knows, and holds the law that stands there.
//!
//! `cargo run --release -p crankcase-tests --bin damage` flips one bit of every byte, cuts the logs at every byte and
//! puts zeros into every sector; `-- 7` does it with another seed, `-- all` flips every bit, and
//! `-- some` one bit of one byte in 32.

use crankcase_tests::Fallible;
use crankcase_tests::damage::flips::Which;
use crankcase_tests::damage::{Ended, flips, tails};

fn main() -> Fallible<()> {
    let asked = std::env::args().nth(1);
    let (seed, which) = match asked.as_deref() {
        Some("all") => (0, Which::All),
        Some("some") => (1, Which::OneOfOneByteIn(32)),
        Some(seed) => (seed.parse()?, Which::OneOfEachByte),
        None => (1, Which::OneOfEachByte),
    };
    let mut all = flips::round(seed, which);
    for ended in [Ended::Closed, Ended::Killed, Ended::Unwitnessed] {
        for (what, figures) in [
            ("cuts", tails::every_cut(ended, 1)),
            ("holes", tails::every_hole(ended)),
        ] {
            println!("{what}, {ended:?}: {figures:?}");
            all.add(figures);
        }
    }
    println!("all: {all:?}");
    Ok(())
}
