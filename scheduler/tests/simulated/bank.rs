//! The bank of `examples/bank.rs`: no money is made or lost, and each payment is made once.

#[expect(dead_code, reason = "its own `main` is for the example")]
#[path = "../../examples/bank.rs"]
mod example;

use crankcase::Ref;
use crankcase::testing::{Checked, Options, Simulation};
use example::Account;

const ACCOUNTS: usize = 4;
const OPENING: u128 = 100;

pub fn options() -> Options {
    Options::new().kind::<Account>(())
}

/// Payments among accounts, each asked for until its outcome is told.
pub fn payments(sim: &Simulation) -> Checked {
    sim.law("no money is made or lost", |look| {
        let (mut opened, mut sum) = (0, 0);
        look.each::<Account>(|_, account| {
            opened += OPENING;
            sum += account.balance;
        })?;
        // What is on its way is on no account.
        match sum > opened || look.is_idle() && sum < opened {
            true => Err(format!("{opened} were paid in, and {sum} are there").into()),
            false => Ok(()),
        }
    });

    let mut accounts: Vec<Ref<Account>> = Vec::new();
    for number in 0..ACCOUNTS {
        let opened = sim.insist(&format!("open {number}"), |request| {
            Account::spawn(request, OPENING)
        })?;
        accounts.push(opened?);
    }
    // In the order in which they are told, which need not be the one in which they were made.
    let mut expected = [OPENING as i128; ACCOUNTS];
    for round in 0..6 {
        let mut asked = Vec::new();
        for payment in 0..5 {
            let from = sim.below(ACCOUNTS as u64) as usize;
            let to = (from + 1 + sim.below(ACCOUNTS as u64 - 1) as usize) % ACCOUNTS;
            let (id, value) = (
                format!("payment {round}.{payment}"),
                u128::from(sim.below(80)),
            );
            // Several are on their way together, and nobody waits for them yet.
            drop(accounts[from].transfer(sim.request(&id), accounts[to], value)?);
            asked.push((id, from, to, value));
        }
        for (id, from, to, value) in asked {
            let paid = sim.insist(&id, |request| {
                accounts[from].transfer(request, accounts[to], value)
            })?;
            if paid.is_ok() {
                expected[from] -= value as i128;
                expected[to] += value as i128;
            }
        }
    }
    sim.settle();
    for (account, expected) in accounts.iter().zip(expected) {
        let found = sim.read(*account, |account: &Account| account.balance)?;
        if found as i128 != expected {
            return Err(format!("{found} are there, and {expected} by what was told").into());
        }
    }
    Ok(())
}
