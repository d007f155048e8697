//! What a vat that is not loaded costs in memory, measured with a million of them.

use std::path::{Path, PathBuf};

use clap::Parser;
use crankcase::Kernel;
use crankcase_benches::Fallible;
use crankcase_benches::child::{Helper, say_and_wait};
use crankcase_benches::measure::{Samples, head, row};
use crankcase_benches::memory::resident_bytes;
use crankcase_benches::runner::{self, Runner, Track};
use crankcase_benches::scratch::Scratch;
use crankcase_benches::trial::CLOSING;

/// Resident bytes per vat that is not loaded, above those of an empty kernel.
#[derive(Parser)]
struct Options {
    /// How many vats.
    #[arg(long, default_value_t = 1_000_000)]
    vats: u32,
    /// How many times the journal is opened and measured.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Where the journals go.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// A few seconds in all, to see that everything runs.
    #[arg(long)]
    quick: bool,
    /// The program itself sets this: make a journal with that many vats.
    #[arg(long, hide = true, value_name = "JOURNAL")]
    make: Option<PathBuf>,
    /// The program itself sets this: open the journal and say what is resident.
    #[arg(long, hide = true, value_name = "JOURNAL")]
    open: Option<PathBuf>,
}

fn main() -> Fallible<()> {
    let mut options = Options::parse();
    if let Some(journal) = &options.make {
        return make(journal, options.vats);
    }
    if let Some(journal) = &options.open {
        return open(journal);
    }
    if options.quick {
        options.vats = 20_000;
        options.rounds = 1;
    }
    let scratch = Scratch::new(options.dir.as_deref())?;
    let (full, empty) = (scratch.join("full"), scratch.join("empty"));
    for (journal, vats) in [(&full, options.vats), (&empty, 0)] {
        let arguments = [
            format!("--make={}", journal.display()),
            format!("--vats={vats}"),
        ];
        Helper::start(&arguments)?.0.join()?;
    }
    let mut per_vat = Vec::new();
    let (mut with, mut without, mut loaded) = (Vec::new(), Vec::new(), 0);
    for _ in 0..options.rounds.max(1) {
        let [resident, vats, in_memory] = look(&full)?;
        let [alone, ..] = look(&empty)?;
        if vats != u64::from(options.vats) {
            return Err(format!("{vats} vats live instead of {}", options.vats).into());
        }
        loaded = in_memory;
        with.push(resident as f64 / 1e6);
        without.push(alone as f64 / 1e6);
        per_vat.push((resident as f64 - alone as f64) / f64::from(options.vats));
    }
    println!(
        "{}",
        head(&[
            "vats",
            "loaded",
            "MB resident",
            "MB of an empty kernel",
            "bytes per vat"
        ])
    );
    println!(
        "{}",
        row(&[
            options.vats.to_string(),
            loaded.to_string(),
            Samples::of(with).to_string(),
            Samples::of(without).to_string(),
            Samples::of(per_vat).to_string(),
        ])
    );
    Ok(())
}

fn make(journal: &Path, vats: u32) -> Fallible<()> {
    let kernel = Kernel::builder(journal)
        .kind::<Runner>(Track::default())
        .open()?;
    runner::spawn(&kernel, vats)?;
    kernel.close(CLOSING)?;
    println!("made");
    Ok(())
}

/// Resident bytes, vats and vats in memory of a process that has just opened the journal.
fn look(journal: &Path) -> Fallible<[u64; 3]> {
    let (helper, said) = Helper::start(&[format!("--open={}", journal.display())])?;
    helper.kill()?;
    let mut numbers = said.split_whitespace().map(str::parse::<u64>);
    let mut next = || numbers.next().ok_or("the helper said too little");
    Ok([next()??, next()??, next()??])
}

fn open(journal: &Path) -> Fallible<()> {
    let kernel = Kernel::builder(journal)
        .kind::<Runner>(Track::default())
        .open()?;
    let stats = kernel.stats();
    let line = format!(
        "{} {} {}",
        resident_bytes()?,
        stats.vats,
        stats.vats_in_memory
    );
    say_and_wait(&line)
}
