//! The ledger: accounts as vats, transfers as messages, and the three things a user does with it.
//!
//! The rooms: [`workload`] is what is to be done, which [`csv_input`] reads and [`generate`]
//! makes up; [`account`] is the vat; [`run`] does it on a kernel; [`report`] is the line that is
//! left; [`model`] is the same ledger without a kernel, for comparison.

pub mod account;
pub mod address;
pub mod csv_input;
pub mod generate;
pub mod input_error;
pub mod model;
pub mod report;
pub mod run;
mod table;
pub mod workload;

use std::fs;
use std::io;
use std::path::PathBuf;

use crankcase::{CommitOrder, Durability, KernelBuilder};
use indicatif::{ProgressBar, ProgressStyle};

use crate::args::{GenerateArguments, LedgerCommand, RunArguments};
use crate::console::Console;
use crate::error::CommandError;
use generate::Shape;
use run::{Ran, Settings};
use workload::Workload;

/// The kinds of a ledger's journal.
pub(crate) fn kinds(builder: KernelBuilder) -> KernelBuilder {
    builder.kind::<account::Account>(())
}

/// What `ledger` runs when it is given nothing: large enough to measure, small enough to wait for.
const SHOWN: Shape = Shape {
    accounts: 10_000,
    transfers: 200_000,
    blocks: 40,
    seed: 1,
};

pub(crate) fn execute(
    command: Option<&LedgerCommand>,
    console: &mut Console<'_>,
) -> Result<(), CommandError> {
    match command {
        None => show(console),
        Some(LedgerCommand::Run(arguments)) => run_files(arguments, console),
        Some(LedgerCommand::Generate(arguments)) => generate_files(arguments, console),
    }
}

fn run_files(arguments: &RunArguments, console: &mut Console<'_>) -> Result<(), CommandError> {
    let workload = csv_input::read_workload(&arguments.accounts, &arguments.transfers)?;
    let settings = Settings {
        journal: arguments.journal.clone(),
        workers: arguments.workers,
        order: arguments.order.into(),
        durability: arguments.durability.into(),
    };
    let ran = run_with_bar(&workload, &settings, console)?;
    let known = workload.transfer_count() - ran.new_transfers;
    if known > 0 {
        let all = workload.transfer_count();
        writeln!(
            console.out,
            "{known} of {all} transfers were in the journal already"
        )?;
    }
    writeln!(console.out, "{}", ran.report)?;
    Ok(())
}

fn generate_files(
    arguments: &GenerateArguments,
    console: &mut Console<'_>,
) -> Result<(), CommandError> {
    let generated = generate::generate(Shape {
        accounts: arguments.accounts,
        transfers: arguments.transfers,
        blocks: arguments.blocks,
        seed: arguments.seed,
    });
    generate::write_files(&generated, &arguments.out)?;
    let out = arguments.out.display();
    writeln!(
        console.out,
        "wrote accounts.csv, accounts-tight.csv and transfers.csv in {out}"
    )?;
    Ok(())
}

fn show(console: &mut Console<'_>) -> Result<(), CommandError> {
    let Shape {
        accounts,
        transfers,
        blocks,
        seed,
    } = SHOWN;
    let workload = generate::generate(SHOWN).workload;
    let journal = new_directory()?;
    let named = journal.display();
    writeln!(
        console.out,
        "{transfers} transfers between {accounts} accounts, in {blocks} blocks; journal: {named}"
    )?;
    let settings = Settings {
        journal: journal.clone(),
        workers: None,
        order: CommitOrder::Completion,
        durability: Durability::Sync,
    };
    let ran = run_with_bar(&workload, &settings, console)?;
    let seconds = ran.took.as_secs_f64();
    writeln!(
        console.out,
        "{seconds:.2} s, every block synced to disk before the next: {:.0} transfers and {:.0} \
         records per second",
        ran.new_transfers as f64 / seconds,
        ran.new_records as f64 / seconds,
    )?;
    writeln!(
        console.out,
        "look closer: crankcase inspect {named}; crankcase verify {named}; the same as files: \
         crankcase ledger generate --accounts {accounts} --transfers {transfers} --blocks {blocks} \
         --seed {seed} --out DIR"
    )?;
    writeln!(console.out, "{}", ran.report)?;
    Ok(())
}

fn run_with_bar(
    workload: &Workload,
    settings: &Settings,
    console: &Console<'_>,
) -> Result<Ran, CommandError> {
    let progress = if console.shows_progress {
        // It draws on standard error, and only where that is a terminal.
        ProgressBar::new(workload.transfer_count()).with_style(
            ProgressStyle::with_template("{wide_bar} {pos}/{len} transfers, {eta} left")
                .expect("the template is well-formed"),
        )
    } else {
        ProgressBar::hidden()
    };
    let ran = run::run(workload, settings, &progress);
    progress.finish_and_clear();
    Ok(ran?)
}

/// Makes the first of `crankcase-ledger-1`, `-2`, … that is free, below the current directory.
fn new_directory() -> Result<PathBuf, CommandError> {
    let mut number = 1u64;
    loop {
        let path = PathBuf::from(format!("crankcase-ledger-{number}"));
        match fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            Err(source) => return Err(CommandError::Directory { path, source }),
        }
    }
}
