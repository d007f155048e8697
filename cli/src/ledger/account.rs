//! The vat behind one account.
//!
//! An account knows its own balance and nobody else's. A transfer is its decision alone; the
//! money that left it is in the credit that its crank sent, so it is never in two places and
//! never in none.

use crankcase::{Answer, Crank, Ref, Refusal, Rejection};
use serde::{Deserialize, Serialize};

/// An account that holds wei.
#[derive(Debug, Serialize, Deserialize)]
pub struct Account {
    balance_wei: u128,
}

/// Why an account does not transfer: it has less. Nothing happened.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("the account holds {holds_wei} wei")]
pub struct TooLittle {
    /// What it holds, in wei.
    pub holds_wei: u128,
}

impl Refusal for TooLittle {
    const CODE: &'static str = "too_little";
}

#[crankcase::vat(kind = "account", version = 1)]
impl Account {
    #[create]
    fn open(_cx: &Crank<Self>, balance_wei: u128) -> Answer<Self> {
        Ok(Self { balance_wei })
    }

    /// Takes wei from this account and credits them to another.
    pub fn transfer(&mut self, cx: &Crank<Self>, to: Ref<Self>, value_wei: u128) -> Answer<()> {
        let holds_wei = self.balance_wei;
        let rest = holds_wei.checked_sub(value_wei);
        self.balance_wei = rest.ok_or(TooLittle { holds_wei })?;
        to.credit(cx, value_wei);
        Ok(())
    }

    /// Adds wei. Only accounts send it.
    pub fn credit(&mut self, _cx: &Crank<Self>, value_wei: u128) -> Answer<()> {
        // Opening balances sum to no more than a balance can hold, so this is a mistake of whoever
        // sent the credit and not of the ledger.
        let sum = self.balance_wei.checked_add(value_wei);
        self.balance_wei =
            sum.ok_or_else(|| Rejection::new("overflow", "no account can hold that much"))?;
        Ok(())
    }

    /// What the account holds.
    pub(crate) const fn balance_wei(&self) -> u128 {
        self.balance_wei
    }
}
