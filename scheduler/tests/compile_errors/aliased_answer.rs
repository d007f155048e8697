#![allow(unused)]

use crankcase::{Answer, Crank, Outcome, Promise};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Account {
    balance: u64,
}

type Reply<T> = Answer<T>;

#[crankcase::vat(kind = "account", version = 1)]
impl Account {
    #[create]
    fn open(_cx: &Crank<Self>, balance: u64) -> Answer<Self> {
        Ok(Account { balance })
    }

    pub fn balance(&self, _cx: &Crank<Self>) -> Reply<u64> {
        Ok(self.balance)
    }
}

fn main() {}
