//! What is left to say after a run: one line that two correct runs have in common.

use std::fmt;

use crankcase::{ActivityHash, Seq};
use sha2::{Digest, Sha256};

use super::address::Address;

/// The SHA-256 over the lines `address,balance\n` of all accounts, in the order of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BalanceDigest([u8; 32]);

impl BalanceDigest {
    /// Digests balances, which may come in any order.
    #[must_use]
    pub fn of(balances: impl IntoIterator<Item = (Address, u128)>) -> Self {
        let mut balances: Vec<_> = balances.into_iter().collect();
        balances.sort_unstable();
        let mut hasher = Sha256::new();
        for (address, balance) in balances {
            hasher.update(format!("{address},{balance}\n"));
        }
        Self(hasher.finalize().into())
    }
}

impl fmt::Display for BalanceDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// How a ledger stands after its last block. Shown, it is the last line of `ledger run`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Transfers that happened, those of earlier runs of the journal included.
    pub accepted: u64,
    /// Transfers that were refused for want of money.
    pub rejected: u64,
    /// What all accounts hold together, in wei.
    pub total_wei: u128,
    /// What each account holds.
    pub balances_sha256: BalanceDigest,
    /// The last place in the kernel's order.
    pub seq: Seq,
    /// The hash of everything up to there.
    pub activity_hash: ActivityHash,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "accepted={} rejected={} total_wei={} balances_sha256={} seq={} activity_hash={}",
            self.accepted,
            self.rejected,
            self.total_wei,
            self.balances_sha256,
            self.seq,
            self.activity_hash,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_that_of_the_lines_in_the_order_of_addresses() {
        let address = |last: u8| {
            let mut bytes = [0; Address::LEN];
            bytes[19] = last;
            Address::new(bytes)
        };
        // printf '0x%040x,%s\n' 10 7 255 340282366920938463463374607431768211455 | sha256sum
        let expected = "aa8790510214c80adbcbdc2f317459efd7278c15f9d1a59d617ca8282009c4be";
        let digest = BalanceDigest::of([(address(255), u128::MAX), (address(10), 7)]);
        assert_eq!(digest.to_string(), expected);
        // printf '' | sha256sum
        assert_eq!(
            BalanceDigest::of([]).to_string(),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }
}
