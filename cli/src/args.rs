//! The words of the command line. What they do is decided elsewhere.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use crankcase::{CommitOrder, Durability};

const EXIT_STATUS: &str = "\
Exit status:
  0  it is done
  1  verify: the directory is no journal, or one that is damaged or of a newer format;
     standard error names the first thing wrong, on one line
     replay: a crank leaves another record than the journal has; standard output shows both
  2  anything else kept the command from being done: usage, input (with file and line), a journal
     that was begun with something else, is in use, or cannot be read or written; standard error
     says what, on one line";

/// Run a ledger on a crankcase kernel, look into a kernel's journal, verify it.
#[derive(Debug, Parser)]
#[command(name = "crankcase", version, after_help = EXIT_STATUS, after_long_help = EXIT_STATUS)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// A ledger of accounts, one vat each. Alone: generate a workload and run it.
    ///
    /// Alone, it generates a workload, runs it in a new directory below the current one, which it
    /// names, and prints the throughput and how the ledger stands at the end.
    #[command(after_help = EXIT_STATUS, after_long_help = EXIT_STATUS)]
    Ledger {
        #[command(subcommand)]
        command: Option<LedgerCommand>,
    },
    #[command(flatten)]
    Journal(HostCommand),
}

/// Look into a journal, verify it, run it again.
#[derive(Debug, Parser)]
#[command(version, after_help = EXIT_STATUS, after_long_help = EXIT_STATUS)]
pub(crate) struct HostArguments {
    #[command(subcommand)]
    pub(crate) command: HostCommand,
}

/// What a host's own program can do with its journals.
#[derive(Debug, Subcommand)]
pub(crate) enum HostCommand {
    /// Show what a journal holds, or one of its records. Leaves every byte as it was.
    Inspect(InspectArguments),
    /// Check a journal from end to end: chain, contiguity, witness, tables. Leaves every byte as
    /// it was.
    #[command(after_help = EXIT_STATUS, after_long_help = EXIT_STATUS)]
    Verify {
        /// The journal's directory.
        #[arg(value_name = "DIR")]
        journal: PathBuf,
    },
    /// Run the journal's cranks again with this program's code, and compare what they leave with the
    /// records. Leaves every byte as it was.
    #[command(after_help = EXIT_STATUS, after_long_help = EXIT_STATUS)]
    Replay {
        /// The journal's directory.
        #[arg(value_name = "DIR")]
        journal: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum LedgerCommand {
    /// Run transfers from CSV files, going on where an interrupted run stopped.
    ///
    /// Each block enters as one atomic input, and the kernel runs until idle before the next. The
    /// last line on standard output says how the ledger stands.
    #[command(after_help = EXIT_STATUS, after_long_help = EXIT_STATUS)]
    Run(RunArguments),
    /// Write accounts.csv, accounts-tight.csv and transfers.csv from a seed.
    Generate(GenerateArguments),
}

#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    /// The accounts: a CSV file with the columns address and balance_wei.
    #[arg(long, value_name = "FILE")]
    pub(crate) accounts: PathBuf,
    /// The transfers: a CSV file with the columns block, from, to and value_wei, blocks rising.
    #[arg(long, value_name = "FILE")]
    pub(crate) transfers: PathBuf,
    /// The journal's directory, made where it is missing; untouched with --durability none.
    #[arg(long, value_name = "DIR")]
    pub(crate) journal: PathBuf,
    /// How many workers run cranks [default: one per core].
    #[arg(long, value_name = "N")]
    pub(crate) workers: Option<NonZeroUsize>,
    /// In which order cranks are committed; fixed when the journal is made.
    #[arg(long, value_enum, default_value_t = Order::Completion)]
    pub(crate) order: Order,
    /// What is survived.
    #[arg(long, value_enum, default_value_t = Safety::Sync)]
    pub(crate) durability: Safety,
}

#[derive(Debug, Args)]
pub(crate) struct GenerateArguments {
    /// How many accounts.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) accounts: u32,
    /// How many transfers.
    #[arg(long, value_name = "M")]
    pub(crate) transfers: u32,
    /// How many blocks to spread them over.
    #[arg(long, value_name = "B", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) blocks: u32,
    /// What all choices come from: the same seed gives the same files.
    #[arg(long, value_name = "S")]
    pub(crate) seed: u64,
    /// The folder for the files, made where it is missing.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct InspectArguments {
    /// The journal's directory.
    #[arg(value_name = "DIR")]
    pub(crate) journal: PathBuf,
    /// Show the record at this place of the order instead of the summary.
    #[arg(long, value_name = "N")]
    pub(crate) seq: Option<u64>,
    /// Show who holds this object or promise: v0.1 for a vat's root, v0.1/2 for another of its
    /// objects, p3.1 for a promise.
    #[arg(long, value_name = "OBJECT", conflicts_with = "seq")]
    pub(crate) holders: Option<String>,
    /// Show how this stands and why: a promise as p3.1, a vat as v0.1, a delivery as 12/0, a
    /// request as request:ID.
    #[arg(long, value_name = "WHAT", conflicts_with_all = ["seq", "holders"])]
    pub(crate) explain: Option<String>,
    /// As JSON, on one line.
    #[arg(long)]
    pub(crate) json: bool,
}

/// The commit orders, as words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Order {
    /// As cranks complete: the fastest.
    Completion,
    /// As if one worker ran one queue: the same journal on every run.
    Dispatch,
}

impl From<Order> for CommitOrder {
    fn from(order: Order) -> Self {
        match order {
            Order::Completion => Self::Completion,
            Order::Dispatch => Self::Dispatch,
        }
    }
}

/// The durabilities, as words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Safety {
    /// The machine may die.
    Sync,
    /// The process may die.
    Buffered,
    /// Nothing is kept, and the directory stays untouched.
    None,
}

impl From<Safety> for Durability {
    fn from(safety: Safety) -> Self {
        match safety {
            Safety::Sync => Self::Sync,
            Safety::Buffered => Self::Buffered,
            Safety::None => Self::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[track_caller]
    fn parse(line: &str) -> Result<Command, clap::error::ErrorKind> {
        Arguments::try_parse_from(line.split(' '))
            .map(|arguments| arguments.command)
            .map_err(|error| error.kind())
    }

    #[test]
    fn a_ledger_needs_no_words_and_a_run_needs_its_files() {
        assert!(matches!(
            parse("crankcase ledger"),
            Ok(Command::Ledger { command: None })
        ));
        let run =
            parse("crankcase ledger run --accounts a --transfers t --journal j --order dispatch");
        match run {
            Ok(Command::Ledger {
                command: Some(LedgerCommand::Run(run)),
            }) => {
                assert_eq!((run.order, run.durability), (Order::Dispatch, Safety::Sync));
                assert_eq!(run.workers, None);
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn wrong_words_are_refused() {
        for line in [
            "crankcase",
            "crankcase ledger run --accounts a --transfers t",
            "crankcase ledger run --accounts a --transfers t --journal j --workers 0",
            "crankcase ledger run --accounts a --transfers t --journal j --order random",
            "crankcase ledger generate --accounts 0 --transfers 1 --blocks 1 --seed 1 --out d",
            "crankcase inspect",
            "crankcase inspect d --seq -1",
            "crankcase verify a b",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
