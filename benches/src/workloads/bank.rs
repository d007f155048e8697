//! Bank: a teller keeps a thousand transfers under way between a thousand accounts; each is a
//! debit, a credit and word back.

use serde::{Deserialize, Serialize};

use super::draws::Draws;
use super::{Actor, Args, Machine, Method, Note, Plan, Step};

const ACCOUNTS: u32 = 1_000;
const WINDOW: u64 = 1_000;

/// Orders transfers, and a new one for each that is through.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Teller {
    left: u64,
    under_way: u64,
    draws: Draws,
}

/// Holds money.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Account {
    balance: i64,
}

impl Teller {
    fn order(&mut self, me: u32, send: &mut impl FnMut(u32, Note)) {
        self.left -= 1;
        self.under_way += 1;
        let payer = self.draws.below(ACCOUNTS);
        let payee = self.draws.below(ACCOUNTS);
        let payee = if payee == payer {
            (payee + 1) % ACCOUNTS
        } else {
            payee
        };
        let amount = u64::from(self.draws.below(100));
        let args = Args {
            from: me,
            other: 1 + payee,
            value: amount,
        };
        send(
            1 + payer,
            Note {
                method: Method::Debit,
                args,
            },
        );
    }
}

impl Machine for Teller {
    #[inline]
    fn receive(&mut self, me: u32, note: Note, send: &mut impl FnMut(u32, Note)) -> Step {
        match note.method {
            Method::Start => {
                for _ in 0..WINDOW.min(self.left) {
                    self.order(me, send);
                }
            }
            Method::Transferred => {
                self.under_way = self.under_way.saturating_sub(1);
                if self.left > 0 {
                    self.order(me, send);
                }
            }
            _ => return Step::Unexpected,
        }
        if self.under_way == 0 {
            Step::Done
        } else {
            Step::Going
        }
    }
}

impl Machine for Account {
    #[inline]
    fn receive(&mut self, me: u32, note: Note, send: &mut impl FnMut(u32, Note)) -> Step {
        // No amount is near the range of the balance.
        let amount = note.args.value as i64;
        match note.method {
            Method::Debit => {
                self.balance -= amount;
                send(
                    note.args.other,
                    Note {
                        method: Method::Credit,
                        args: note.args,
                    },
                );
            }
            Method::Credit => {
                self.balance += amount;
                send(note.args.from, Note::from(me, Method::Transferred));
            }
            _ => return Step::Unexpected,
        }
        Step::Going
    }
}

/// `transfers` transfers.
pub(super) fn plan(transfers: u64) -> Plan {
    let teller = Teller {
        left: transfers,
        under_way: 0,
        draws: Draws::of(42),
    };
    let mut actors = vec![Actor::Teller(teller)];
    actors.extend((0..ACCOUNTS).map(|_| Actor::Account(Account { balance: 1_000_000 })));
    Plan {
        actors,
        near: Vec::new(),
        books: vec![(0, 1..1 + ACCOUNTS)],
        starts: vec![0],
        first: Note::from(0, Method::Start),
        dones: 1,
        messages: 3 * transfers,
        received: 3 * transfers + 1,
    }
}
