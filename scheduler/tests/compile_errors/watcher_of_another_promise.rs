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

    pub fn credit(&mut self, _cx: &Crank<Self>, value: u64) -> Answer<u64> {
        self.balance += value;
        Ok(self.balance)
    }

    pub fn pass_on(&mut self, cx: &Crank<Self>, to: crankcase::Ref<Account>) -> Answer<Promise<()>> {
        Ok(cx.watch(&to.credit(cx, 5), Self::CREDITED, 5))
    }

    #[watcher]
    fn credited(&mut self, _cx: &Crank<Self>, value: u64, outcome: Outcome<()>) -> Answer<()> {
        self.balance += value;
        outcome
    }
}

fn main() {}
