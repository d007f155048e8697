//! Ping-pong: one delivery is under way at any time, so this measures the way around the kernel.

use serde::{Deserialize, Serialize};

use super::{Actor, Machine, Method, Note, Plan, Step};

/// Sends the ball and takes it back.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Pinger {
    left: u64,
}

/// Sends the ball back.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ponger {
    returned: u64,
}

impl Machine for Pinger {
    #[inline]
    fn receive(&mut self, me: u32, note: Note, send: &mut impl FnMut(u32, Note)) -> Step {
        match note.method {
            Method::Start | Method::Pong if self.left == 0 => Step::Done,
            Method::Start | Method::Pong => {
                self.left -= 1;
                send(1, Note::from(me, Method::Ping));
                Step::Going
            }
            _ => Step::Unexpected,
        }
    }
}

impl Machine for Ponger {
    #[inline]
    fn receive(&mut self, me: u32, note: Note, send: &mut impl FnMut(u32, Note)) -> Step {
        if note.method != Method::Ping {
            return Step::Unexpected;
        }
        self.returned += 1;
        send(note.args.from, Note::from(me, Method::Pong));
        Step::Going
    }
}

/// `round_trips` round trips.
pub(super) fn plan(round_trips: u64) -> Plan {
    Plan {
        actors: vec![
            Actor::Pinger(Pinger { left: round_trips }),
            Actor::Ponger(Ponger { returned: 0 }),
        ],
        near: vec![(0, 1)],
        books: Vec::new(),
        starts: vec![0],
        first: Note::from(0, Method::Start),
        dones: 1,
        messages: 2 * round_trips,
        received: 2 * round_trips + 1,
    }
}
