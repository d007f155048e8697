#![allow(unused)]

use crankcase::{Answer, Crank, Outcome, Promise};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Account {
    balance: u64,
}

#[crankcase::vat(kind = "account", version = 1)]
impl Account {
    #[create]
    fn open(_cx: &Crank<Self>, balance: u64) -> Answer<Self> {
        Ok(Account { balance })
    }

    pub fn clone(&self, _cx: &Crank<Self>) -> Answer<u64> {
        Ok(self.balance)
    }

    pub fn vat(&self, _cx: &Crank<Self>) -> Answer<u64> {
        Ok(self.balance)
    }
}

fn main() {}
