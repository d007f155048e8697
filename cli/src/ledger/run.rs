//! A workload on a kernel: open the accounts, run the blocks, read the balances.
//!
//! Every step enters under a request id (`accounts`, then `block:<number>`), so a journal that
//! holds a step already gives back how it went the first time and nothing runs twice. That is all
//! there is to going on after an interruption: a run never asks how far the last one came.
//!
//! Before it reports, a run settles the books: what each account holds must be what it opened
//! with, less what its accepted transfers took, plus what they brought.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crankcase::{
    Clock, ClockError, CloseError, CommitOrder, Durability, Kernel, OpenError, Outcome, ReadError,
    Ref, Rejection, RunError as KernelRunError, SendError, Ticket, WaitError,
};
use indicatif::ProgressBar;

use super::account::{Account, TooLittle};
use super::address::Address;
use super::report::{BalanceDigest, Report};
use super::workload::{Block, Workload};

/// The key of all randomness in a ledger's journal. Accounts use none, so that it is fixed is all
/// that matters.
const SEED: [u8; 32] = *b"crankcase ledger, version 1     ";

/// How long closing waits for what is still on its way to the disk; after a run that is nothing.
const CLOSING: Duration = Duration::from_secs(60);

/// The kernel that a workload runs on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The journal's directory; untouched with [`Durability::None`].
    pub journal: PathBuf,
    /// How many workers run cranks; by default one per core.
    pub workers: Option<NonZeroUsize>,
    /// In which order cranks are committed.
    pub order: CommitOrder,
    /// What is survived.
    pub durability: Durability,
}

/// A workload that has run to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// How the ledger stands.
    pub report: Report,
    /// Transfers that this run has run; the others were in the journal.
    pub new_transfers: u64,
    /// Records that those transfers left: inputs and cranks.
    pub new_records: u64,
    /// How long they took, from the first block to the last sync.
    pub took: Duration,
}

/// Why a workload did not run to its end.
///
/// Whatever the kernel had made durable by then is in the journal, and running the same workload
/// again goes on from there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The kernel did not open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The journal was begun with other accounts. Nothing was added to it.
    #[error("{}: this journal was begun with other accounts or opening balances", journal.display())]
    OtherAccounts {
        /// The journal.
        journal: PathBuf,
    },
    /// The journal holds other transfers for a block. Nothing was added to it.
    #[error("{}: this journal holds other transfers for block {block}", journal.display())]
    OtherTransfers {
        /// The journal.
        journal: PathBuf,
        /// The block.
        block: u64,
    },
    /// The journal had run a later block, but not this one.
    #[error("{}: this journal had run later blocks before block {block}, which these transfers put first", journal.display())]
    BlockLeftOut {
        /// The journal.
        journal: PathBuf,
        /// The block that was left out.
        block: u64,
    },
    /// The balances are not what the transfers make them.
    #[error(
        "{}: account {address} holds {holds} wei where these transfers leave {expected}: the \
         journal holds blocks or messages that are not in the transfers given", journal.display()
    )]
    OtherHistory {
        /// The journal.
        journal: PathBuf,
        /// The first account that is off.
        address: Address,
        /// What it holds, in wei.
        holds: u128,
        /// What it should hold, in wei.
        expected: u128,
    },
    /// An account is missing from the journal.
    #[error("{}: the journal has no account {address}", journal.display())]
    NoAccount {
        /// The journal.
        journal: PathBuf,
        /// The account.
        address: Address,
    },
    /// A delivery failed in a way that no ledger's does.
    #[error("{what} failed: {rejection}")]
    Failed {
        /// What was delivered.
        what: String,
        /// How it failed.
        rejection: Rejection,
    },
    /// An input was not taken.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The kernel stopped.
    #[error(transparent)]
    Kernel(#[from] KernelRunError),
    /// The time of a block could not be set.
    #[error(transparent)]
    Clock(#[from] ClockError),
    /// An outcome did not come.
    #[error(transparent)]
    Wait(#[from] WaitError),
    /// A balance could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The kernel did not close in order.
    #[error(transparent)]
    Close(#[from] CloseError),
}

/// Runs `workload` on a kernel with these settings, and closes the kernel.
///
/// Blocks that the journal holds already are not run again and count as they went.
///
/// # Errors
///
/// [`RunError`]. Running again with the same arguments goes on where it stopped.
pub fn run(
    workload: &Workload,
    settings: &Settings,
    progress: &ProgressBar,
) -> Result<Ran, RunError> {
    let mut builder = Kernel::builder(&settings.journal)
        .order(settings.order)
        .durability(settings.durability)
        .seed(SEED)
        .clock(Clock::Manual);
    builder = super::kinds(builder);
    if let Some(workers) = settings.workers {
        builder = builder.workers(workers.get());
    }
    let kernel = builder.open()?;
    // What an interrupted run left in the inboxes is finished first.
    kernel.run_until_idle()?;

    let mut ledger = Ledger {
        kernel: &kernel,
        journal: &settings.journal,
        workload,
        vats: Vec::new(),
        expected_wei: workload
            .accounts
            .iter()
            .map(|account| account.balance_wei)
            .collect(),
        accepted: 0,
        rejected: 0,
    };
    ledger.open_accounts()?;
    let opened = ledger.records();
    let mut new_transfers = 0;
    let mut first_new = None;
    let started = Instant::now();
    for block in &workload.blocks {
        match (ledger.run_block(block)?, first_new) {
            (true, _) => {
                new_transfers += block.transfers.len() as u64;
                first_new.get_or_insert(block.number);
            }
            (false, None) => {}
            // The journal knows a block behind one that it did not know.
            (false, Some(block)) => return Err(ledger.left_out(block)),
        }
        progress.inc(block.transfers.len() as u64);
    }
    let took = started.elapsed();
    let new_records = ledger.records() - opened;
    let report = ledger.report()?;
    kernel.close(CLOSING)?;
    Ok(Ran {
        report,
        new_transfers,
        new_records,
        took,
    })
}

/// A run under way.
struct Ledger<'a> {
    kernel: &'a Kernel,
    journal: &'a Path,
    workload: &'a Workload,
    /// The vat of each account.
    vats: Vec<Ref<Account>>,
    /// What each account holds as far as the outcomes of its transfers say, modulo 2^128: what
    /// passes through an account may be more than it can hold at once.
    expected_wei: Vec<u128>,
    accepted: u64,
    rejected: u64,
}

impl Ledger<'_> {
    fn open_accounts(&mut self) -> Result<(), RunError> {
        let accounts = &self.workload.accounts;
        if !accounts.is_empty() {
            let mut batch = self.kernel.request("accounts").batch();
            for account in accounts {
                let name = account.address.to_string();
                Account::spawn_named(&mut batch, &name, account.balance_wei)?;
            }
            let ticket = batch.submit().map_err(|error| match error {
                SendError::Conflict { .. } => RunError::OtherAccounts {
                    journal: self.journal.to_owned(),
                },
                other => other.into(),
            })?;
            let outcomes = self.settle(ticket)?;
            for (account, outcome) in accounts.iter().zip(outcomes) {
                outcome.map_err(|rejection| RunError::Failed {
                    what: format!("opening account {}", account.address),
                    rejection,
                })?;
            }
        }
        for account in accounts {
            // The names are asked and not the batch: the vats may be those of an earlier run.
            let address = account.address;
            let account = self.kernel.root_as(&address.to_string())?;
            self.vats.push(account.ok_or_else(|| RunError::NoAccount {
                journal: self.journal.to_owned(),
                address,
            })?);
        }
        Ok(())
    }

    /// Runs a block, or takes its outcomes from the journal. Says whether it was new.
    fn run_block(&mut self, block: &Block) -> Result<bool, RunError> {
        let before = self.records();
        // In a journal that has run the block already it may be later than that.
        let too_late = match self.kernel.set_time(block.number) {
            Ok(()) => false,
            Err(ClockError::Backwards { .. }) => true,
            Err(other) => return Err(other.into()),
        };
        let mut batch = self
            .kernel
            .request(format!("block:{}", block.number))
            .batch();
        for transfer in &block.transfers {
            let [from, to] = [transfer.from, transfer.to].map(|account| self.vats[account]);
            from.transfer(&mut batch, to, transfer.value_wei)?;
        }
        let ticket = batch.submit().map_err(|error| match error {
            SendError::Conflict { .. } => RunError::OtherTransfers {
                journal: self.journal.to_owned(),
                block: block.number,
            },
            other => other.into(),
        })?;
        let outcomes = self.settle(ticket)?;
        for (transfer, outcome) in block.transfers.iter().zip(outcomes) {
            match outcome {
                Ok(_) => {
                    self.accepted += 1;
                    let [from, to] = [transfer.from, transfer.to];
                    let value_wei = transfer.value_wei;
                    self.expected_wei[from] = self.expected_wei[from].wrapping_sub(value_wei);
                    self.expected_wei[to] = self.expected_wei[to].wrapping_add(value_wei);
                }
                Err(rejection) if is_too_little(&rejection) => self.rejected += 1,
                Err(rejection) => {
                    return Err(RunError::Failed {
                        what: format!("a transfer of block {}", block.number),
                        rejection,
                    });
                }
            }
        }
        let is_new = self.records() > before;
        if is_new && too_late {
            return Err(self.left_out(block.number));
        }
        Ok(is_new)
    }

    /// Runs until idle, and gives the outcomes of what has just been sent.
    fn settle(&self, ticket: Ticket<Vec<Outcome>>) -> Result<Vec<Outcome>, RunError> {
        self.kernel.run_until_idle()?;
        Ok(ticket.wait()?)
    }

    fn left_out(&self, block: u64) -> RunError {
        let journal = self.journal.to_owned();
        RunError::BlockLeftOut { journal, block }
    }

    fn records(&self) -> u64 {
        self.kernel.stats().sequenced.get()
    }

    fn report(&self) -> Result<Report, RunError> {
        let accounts = &self.workload.accounts;
        let mut balances = Vec::with_capacity(accounts.len());
        let mut total_wei = 0u128;
        for ((account, &vat), &expected) in accounts.iter().zip(&self.vats).zip(&self.expected_wei)
        {
            let holds = self.kernel.read::<Account, _>(vat, Account::balance_wei)?;
            if holds != expected {
                return Err(RunError::OtherHistory {
                    journal: self.journal.to_owned(),
                    address: account.address,
                    holds,
                    expected,
                });
            }
            balances.push((account.address, holds));
            // Each is what it must be, so together they are the opening balances.
            total_wei += holds;
        }
        let stats = self.kernel.stats();
        Ok(Report {
            accepted: self.accepted,
            rejected: self.rejected,
            total_wei,
            balances_sha256: BalanceDigest::of(balances),
            seq: stats.durable,
            activity_hash: stats.activity_hash,
        })
    }
}

fn is_too_little(rejection: &Rejection) -> bool {
    rejection.refusal::<TooLittle>().is_some()
}
