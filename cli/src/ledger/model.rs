//! The ledger without a kernel: the same rules on a plain vector, one transfer after the other.
//!
//! It says what a kernel in dispatch order must come to, so tests compare with it, and the
//! generator uses it to see how many transfers its accounts can afford.

use super::workload::{Block, Workload};

/// The accounts of a workload, and how its transfers went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// What each account holds, in wei, in the order of [`Workload::accounts`].
    pub balances: Vec<u128>,
    /// Transfers that happened.
    pub accepted: u64,
    /// Transfers that were refused for want of money.
    pub rejected: u64,
}

impl Model {
    /// Runs all blocks of `workload`.
    #[must_use]
    pub fn run(workload: &Workload) -> Self {
        let openings = workload.accounts.iter().map(|account| account.balance_wei);
        Self::run_from(openings.collect(), &workload.blocks)
    }

    /// Runs `blocks` on accounts that hold `balances`.
    #[must_use]
    pub fn run_from(balances: Vec<u128>, blocks: &[Block]) -> Self {
        let mut model = Self {
            balances,
            accepted: 0,
            rejected: 0,
        };
        for block in blocks {
            model.run_block(block);
        }
        model
    }

    /// In dispatch order all transfers of a block stand in the queue before the first credit that
    /// one of them sends. So within a block nobody spends what the block brought.
    fn run_block(&mut self, block: &Block) {
        let mut credits = Vec::new();
        for transfer in &block.transfers {
            let balance = &mut self.balances[transfer.from];
            match balance.checked_sub(transfer.value_wei) {
                Some(rest) => {
                    *balance = rest;
                    credits.push((transfer.to, transfer.value_wei));
                    self.accepted += 1;
                }
                None => self.rejected += 1,
            }
        }
        for (to, value_wei) in credits {
            self.balances[to] += value_wei;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::csv_input::read_workload;
    use super::super::report::BalanceDigest;
    use super::*;
    use std::path::PathBuf;

    /// The folder with the Ethereum blocks; the tests that need it say so and pass where it is
    /// not, because a checkout does not carry it.
    fn ethereum() -> Option<PathBuf> {
        let data = std::env::var_os("CRANKCASE_DATA").map_or_else(
            || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data")),
            PathBuf::from,
        );
        let folder = data.join("ethereum");
        if folder.is_dir() {
            return Some(folder);
        }
        eprintln!("skipped: no Ethereum blocks there; set CRANKCASE_DATA to the data folder");
        None
    }

    #[track_caller]
    fn check(accounts: &str, accepted: u64, rejected: u64, total_wei: u128, digest: &str) {
        let Some(folder) = ethereum() else { return };
        let workload = read_workload(&folder.join(accounts), &folder.join("transfers.csv"))
            .expect("sound files");
        let model = Model::run(&workload);
        assert_eq!((model.accepted, model.rejected), (accepted, rejected));
        assert_eq!(model.balances.iter().sum::<u128>(), total_wei);
        let balances = workload
            .accounts
            .iter()
            .zip(&model.balances)
            .map(|(account, &balance)| (account.address, balance));
        assert_eq!(BalanceDigest::of(balances).to_string(), digest);
    }

    #[test]
    fn ethereum_blocks_with_the_balances_of_the_chain() {
        check(
            "accounts.csv",
            13069,
            2,
            16_627_102_792_995_555_698_948_326,
            "06296c377d6e89e92c8e6c0bbe4cc35f01c46c6a865d4c718d53490b58ca830b",
        );
    }

    #[test]
    fn ethereum_blocks_with_too_little_money() {
        check(
            "accounts-tight.csv",
            5868,
            7203,
            13_198_639_676_423_864_337_844,
            "ee07a188eef0b6b334729328fc74d4d90146e00eb0693a1addee55d6525e9e8c",
        );
    }
}
