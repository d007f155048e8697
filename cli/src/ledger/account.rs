//! The vat behind one account.
//!
//! An account knows its own balance and nobody else's. A transfer is its decision alone; the
//! money that left it is in the credit that its crank sent, so it is never in two places and
//! never in none.

use crankcase::raw::{Crank, Message, Vat};
use crankcase::{Answer, Payload, Ref, Rejection};
use serde::{Deserialize, Serialize};

/// An account that holds wei.
///
/// It is created with its opening balance (`u128`), and understands two messages:
///
/// - `transfer` with `(Ref, u128)`: takes the wei from this account and credits them to the
///   vat. With less balance than that it answers with a rejection of the code
///   [`Account::TOO_LITTLE`], and nothing happened.
/// - `credit` with `u128`: adds the wei. Only accounts send it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Account {
    balance_wei: u128,
}

impl Account {
    /// The method that moves money away.
    pub const TRANSFER: &'static str = "transfer";
    /// The method that brings it.
    pub const CREDIT: &'static str = "credit";
    /// The code of the rejection of a transfer that the account cannot afford.
    pub const TOO_LITTLE: &'static str = "too_little";

    /// What the account holds.
    #[must_use]
    pub const fn balance_wei(&self) -> u128 {
        self.balance_wei
    }
}

impl Vat for Account {
    const KIND: &'static str = "account";
    const VERSION: u32 = 1;
    type Env = ();

    fn create(_crank: &Crank<'_>, _env: &(), start: &Message<'_>) -> Result<Self, Rejection> {
        Ok(Self {
            balance_wei: start.args()?,
        })
    }

    fn receive(&mut self, crank: &Crank<'_>, _env: &(), message: &Message<'_>) -> Answer {
        match message.method() {
            Self::TRANSFER => {
                let (to, value_wei): (Ref, u128) = message.args()?;
                self.balance_wei = self.balance_wei.checked_sub(value_wei).ok_or_else(|| {
                    let holds = self.balance_wei;
                    Rejection::new(Self::TOO_LITTLE, format!("the account holds {holds} wei"))
                })?;
                crank.send(to, Self::CREDIT, &value_wei);
                Ok(Payload::empty())
            }
            Self::CREDIT => {
                let value_wei: u128 = message.args()?;
                // Opening balances sum to no more than a balance can hold, so this is a mistake
                // of whoever sent the credit and not of the ledger.
                self.balance_wei = self
                    .balance_wei
                    .checked_add(value_wei)
                    .ok_or_else(|| Rejection::new("overflow", "no account can hold that much"))?;
                Ok(Payload::empty())
            }
            other => Err(Rejection::new("no_such_method", other)),
        }
    }
}
