#![allow(unused)]

use crankcase::{Answer, Crank, Kernel, Ref};
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

    fn help(&self, _cx: &Crank<Self>) -> Answer<u64> {
        Ok(self.balance)
    }
}

fn call(kernel: &Kernel, account: Ref<Account>) {
    account.help(kernel);
}

fn main() {}
