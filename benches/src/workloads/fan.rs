//! Fork and join: bursts of a thousand deliveries to a thousand vats, and one mailbox that takes
//! all the answers.

use serde::{Deserialize, Serialize};

use super::{Actor, Machine, Method, Note, Plan, Step};

const WORKERS: u32 = 1_000;

/// Hands out work in rounds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Master {
    rounds: u64,
    missing: u32,
}

/// Does it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Worker {
    handled: u64,
}

impl Machine for Master {
    #[inline]
    fn receive(&mut self, me: u32, note: Note, send: &mut impl FnMut(u32, Note)) -> Step {
        match note.method {
            Method::Start => {}
            Method::Worked => {
                self.missing = self.missing.saturating_sub(1);
                if self.missing > 0 {
                    return Step::Going;
                }
            }
            _ => return Step::Unexpected,
        }
        let Some(rounds) = self.rounds.checked_sub(1) else {
            return Step::Done;
        };
        self.rounds = rounds;
        self.missing = WORKERS;
        for worker in 1..=WORKERS {
            send(worker, Note::from(me, Method::Work));
        }
        Step::Going
    }
}

impl Machine for Worker {
    #[inline]
    fn receive(&mut self, me: u32, note: Note, send: &mut impl FnMut(u32, Note)) -> Step {
        if note.method != Method::Work {
            return Step::Unexpected;
        }
        self.handled += 1;
        send(note.args.from, Note::from(me, Method::Worked));
        Step::Going
    }
}

/// `rounds` rounds.
pub(super) fn plan(rounds: u64) -> Plan {
    let mut actors = vec![Actor::Master(Master { rounds, missing: 0 })];
    actors.extend((0..WORKERS).map(|_| Actor::Worker(Worker { handled: 0 })));
    let messages = 2 * u64::from(WORKERS) * rounds;
    Plan {
        actors,
        near: Vec::new(),
        books: vec![(0, 1..1 + WORKERS)],
        starts: vec![0],
        first: Note::from(0, Method::Start),
        dones: 1,
        messages,
        received: messages + 1,
    }
}
