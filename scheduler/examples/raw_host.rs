//! A host without `#[vat]`: names of methods, payloads, and a match over them, as a bridge or an
//! interpreter would have it.

use std::time::Duration;

use crankcase::raw::{Crank, Message, Vat};
use crankcase::{Answer, Kernel, Payload, Ref, Rejection};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Account {
    balance: u64,
}

impl Vat for Account {
    const KIND: &'static str = "account";
    const VERSION: u32 = 1;
    type Env = ();

    fn create(_cx: &Crank<'_>, _env: &(), start: &Message<'_>) -> Result<Self, Rejection> {
        Ok(Account {
            balance: start.args()?,
        })
    }

    fn receive(&mut self, cx: &Crank<'_>, _env: &(), message: &Message<'_>) -> Answer {
        match message.method() {
            "pay" => {
                let (to, value): (Ref, u64) = message.args()?;
                if self.balance < value {
                    return Err(Rejection::new("insufficient", "nothing was paid"));
                }
                self.balance -= value;
                cx.send(to, "credit", &value);
            }
            "credit" => self.balance += message.args::<u64>()?,
            other => return Err(Rejection::new("no_such_method", other)),
        }
        Ok(Payload::of(&self.balance)?)
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::temp_dir().join(format!("raw-host-{}", std::process::id()));
    let kernel = Kernel::builder(&directory).kind::<Account>(()).open()?;
    let ann = kernel.spawn("account", &100u64)?.wait()??;
    let bob = kernel.spawn("account", &0u64)?.wait()??;
    let left = kernel.send(ann, "pay", &(Ref::to(bob), 30u64))?.wait()??; // durable before it is answered
    println!("ann has {} left", left.decode::<u64>()?);
    let refused = kernel.send(ann, "pay", &(Ref::to(bob), 1_000u64))?.wait()?;
    println!("the second payment: {}", refused.unwrap_err());
    kernel.run_until_idle()?;
    kernel.close(Duration::from_secs(10))?;

    let kernel = Kernel::builder(&directory).kind::<Account>(()).open()?;
    println!(
        "after reopening, bob has {}",
        kernel.read(bob, |bob: &Account| bob.balance)?
    );
    kernel.close(Duration::from_secs(10))?;
    std::fs::remove_dir_all(directory)?;
    Ok(())
}
