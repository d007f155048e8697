#![allow(unused)]

use crankcase::{Answer, Crank};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Other {
    size: u64,
}

#[crankcase::vat(kind = "other", version = 1)]
impl Other {
    #[create]
    fn new(_cx: &Crank<Self>) -> Answer<Self> {
        Ok(Other { size: 0 })
    }
}

#[derive(Serialize, Deserialize)]
struct Account {
    balance: u64,
}

#[crankcase::vat(kind = "account", version = 2)]
impl Account {
    #[create]
    fn new(_cx: &Crank<Self>) -> Answer<Self> {
        Ok(Account { balance: 0 })
    }

    #[migrate]
    fn from_other(_cx: &Crank<Self>, old: Other) -> Answer<Self> {
        Ok(Account { balance: old.size })
    }
}

fn main() {}
