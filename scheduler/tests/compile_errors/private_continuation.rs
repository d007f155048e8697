#![allow(unused)]

use crankcase::{Crank, Promise};

mod bank {
    use crankcase::{Answer, Crank, Outcome};
    use serde::{Deserialize, Serialize};

    #[derive(Serialize, Deserialize)]
    pub struct Account {
        balance: u64,
    }

    #[crankcase::vat(kind = "account", version = 1)]
    impl Account {
        #[create]
        fn open(_cx: &Crank<Self>, balance: u64) -> Answer<Self> {
            Ok(Account { balance })
        }

        #[watcher]
        fn credited(&mut self, _cx: &Crank<Self>, outcome: Outcome<()>) -> Answer<()> {
            outcome
        }
    }
}

fn watch(cx: &Crank<bank::Account>, promise: &Promise<()>) {
    cx.watch(promise, bank::Account::CREDITED, ());
}

fn main() {}
