#![allow(unused)]

use crankcase::{Answer, Crank, Outcome, Promise};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Account {
    balance: u64,
}

#[crankcase::vat(kind = "account", version = 1)]
impl Account {
    pub fn balance(&self, _cx: &Crank<Self>) -> Answer<u64> {
        Ok(self.balance)
    }
}

fn main() {}
