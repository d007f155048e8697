//! A bank: accounts that pay each other, where a payment that cannot be credited comes back.

use std::time::Duration;

use crankcase::{Answer, Crank, Kernel, Outcome, Promise, Ref, Refusal};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
pub(crate) struct Account {
    pub(crate) balance: u128,
}

/// Why a payment was not made.
#[derive(Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("{balance} are there, {value} were to be paid")]
struct Insufficient {
    balance: u128,
    value: u128,
}

impl Refusal for Insufficient {
    const CODE: &'static str = "insufficient";
}

#[crankcase::vat(kind = "account", version = 1)]
impl Account {
    #[create]
    fn open(_cx: &Crank<Self>, balance: u128) -> Answer<Self> {
        Ok(Account { balance })
    }

    /// What is there.
    pub fn balance(&self, _cx: &Crank<Self>) -> Answer<u128> {
        Ok(self.balance)
    }

    /// Takes money in.
    pub fn credit(&mut self, _cx: &Crank<Self>, value: u128) -> Answer<()> {
        self.balance += value;
        Ok(())
    }

    /// Pays another account, and answers when it has the money.
    pub fn transfer(
        &mut self,
        cx: &Crank<Self>,
        to: Ref<Account>,
        value: u128,
    ) -> Answer<Promise<()>> {
        if self.balance < value {
            let balance = self.balance;
            return Err(Insufficient { balance, value }.into()); // nothing happened
        }
        self.balance -= value;
        Ok(cx.watch(&to.credit(cx, value), Self::CREDITED, value)) // goes on after any crash
    }

    #[watcher]
    fn credited(
        &mut self,
        cx: &Crank<Self>,
        value: u128,
        outcome: Outcome<()>,
    ) -> Answer<Promise<()>> {
        let Err(why) = outcome else {
            return Ok(cx.resolved(()));
        };
        self.balance += value; // kept …
        Ok(cx.rejected(why)) // … and whoever asked is told no
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::temp_dir().join(format!("bank-{}", std::process::id()));
    let kernel = Kernel::builder(&directory).kind::<Account>(()).open()?;
    let ann = Account::spawn(&kernel, 100)?.wait()??;
    let bob = Account::spawn(&kernel, 0)?.wait()??;

    ann.transfer(&kernel, bob, 30)?.wait()??; // durable before it is answered
    println!("bob has {}", bob.balance(&kernel)?.wait()??);

    let why = ann.transfer(&kernel, bob, 1_000)?.wait()?.unwrap_err();
    if let Some(Insufficient { balance, .. }) = why.refusal() {
        println!("ann has only {balance}");
    }
    kernel.close(Duration::from_secs(10))?;

    let kernel = Kernel::builder(&directory).kind::<Account>(()).open()?;
    let balance = kernel.read(bob, |bob: &Account| bob.balance)?;
    println!("after reopening, bob has {balance}");
    kernel.close(Duration::from_secs(10))?;
    std::fs::remove_dir_all(directory)?;
    Ok(())
}
