//! Counting: one crank sends everything, and one mailbox takes it.

use serde::{Deserialize, Serialize};

use super::{Actor, Args, Machine, Method, Note, Plan, Step};

/// Sends all increments at once and asks for the total behind them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Producer {
    left: u64,
    total: Option<u64>,
}

/// Counts.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Counter {
    count: u64,
    answered: u64,
}

impl Machine for Producer {
    fn receive(&mut self, me: u32, note: Note, send: &mut impl FnMut(u32, Note)) -> Step {
        match note.method {
            Method::Start => {
                for _ in 0..std::mem::take(&mut self.left) {
                    send(1, Note::from(me, Method::Increment));
                }
                send(1, Note::from(me, Method::Get));
                Step::Going
            }
            Method::Total => {
                self.total = Some(note.args.value);
                Step::Done
            }
            _ => Step::Unexpected,
        }
    }
}

impl Machine for Counter {
    #[inline]
    fn receive(&mut self, me: u32, note: Note, send: &mut impl FnMut(u32, Note)) -> Step {
        match note.method {
            Method::Increment => self.count += 1,
            Method::Get => {
                self.answered += 1;
                let args = Args {
                    from: me,
                    other: 0,
                    value: self.count,
                };
                send(
                    note.args.from,
                    Note {
                        method: Method::Total,
                        args,
                    },
                );
            }
            _ => return Step::Unexpected,
        }
        Step::Going
    }
}

/// `increments` increments.
pub(super) fn plan(increments: u64) -> Plan {
    Plan {
        actors: vec![
            Actor::Producer(Producer {
                left: increments,
                total: None,
            }),
            Actor::Counter(Counter {
                count: 0,
                answered: 0,
            }),
        ],
        near: vec![(0, 1)],
        books: Vec::new(),
        starts: vec![0],
        first: Note::from(0, Method::Start),
        dones: 1,
        messages: increments,
        // The start, the question for the total and its answer.
        received: increments + 3,
    }
}
