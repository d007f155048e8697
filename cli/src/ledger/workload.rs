//! What a ledger is given to do: accounts to open, and blocks of transfers between them.
//!
//! A [`Workload`] is sound once it exists: whoever makes one (the CSV reader, the generator) has
//! checked what the fields say. It knows neither files nor kernels.

use super::address::Address;

/// An account, and what it holds before the first block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opening {
    /// The account.
    pub address: Address,
    /// What it holds, in wei.
    pub balance_wei: u128,
}

/// Money that one account is to send to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transfer {
    /// The sender: its position in [`Workload::accounts`].
    pub from: usize,
    /// The receiver: its position in [`Workload::accounts`]. It may be the sender.
    pub to: usize,
    /// How much, in wei.
    pub value_wei: u128,
}

/// Transfers that enter the kernel together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Its number, which is also the time at which it happens.
    pub number: u64,
    /// Its transfers, in order.
    pub transfers: Vec<Transfer>,
}

/// Accounts, and what is to happen between them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Workload {
    /// The accounts in the order in which they are opened. No address stands there twice, and
    /// the balances sum to at most [`u128::MAX`], so that no credit can ever overflow.
    pub accounts: Vec<Opening>,
    /// The blocks, in rising order of their numbers.
    pub blocks: Vec<Block>,
}

impl Workload {
    /// How many transfers the blocks hold.
    #[must_use]
    pub fn transfer_count(&self) -> u64 {
        self.blocks
            .iter()
            .map(|block| block.transfers.len() as u64)
            .sum()
    }

    /// What all accounts hold together, in wei; no transfer changes it.
    #[must_use]
    pub fn total_wei(&self) -> u128 {
        self.accounts
            .iter()
            .map(|account| account.balance_wei)
            .sum()
    }
}
