//! Big: a hundred actors, each with one ping of its own under way to a random other.

use serde::{Deserialize, Serialize};

use super::draws::Draws;
use super::{Actor, Machine, Method, Note, Plan, Step};

const ACTORS: u32 = 100;

/// Pings others, one at a time, and answers them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Peer {
    left: u64,
    answered: u64,
    draws: Draws,
}

impl Machine for Peer {
    #[inline]
    fn receive(&mut self, me: u32, note: Note, send: &mut impl FnMut(u32, Note)) -> Step {
        match note.method {
            Method::Ping => {
                self.answered += 1;
                send(note.args.from, Note::from(me, Method::Pong));
                Step::Going
            }
            Method::Start | Method::Pong if self.left == 0 => Step::Done,
            Method::Start | Method::Pong => {
                self.left -= 1;
                send(self.draws.below(ACTORS), Note::from(me, Method::Ping));
                Step::Going
            }
            _ => Step::Unexpected,
        }
    }
}

/// `pings` pings by each.
pub(super) fn plan(pings: u64) -> Plan {
    let peer = |index| {
        Actor::Peer(Peer {
            left: pings,
            answered: 0,
            draws: Draws::of(u64::from(index) + 7),
        })
    };
    let messages = 2 * u64::from(ACTORS) * pings;
    Plan {
        actors: (0..ACTORS).map(peer).collect(),
        near: Vec::new(),
        books: (0..ACTORS).map(|index| (index, 0..ACTORS)).collect(),
        starts: (0..ACTORS).collect(),
        first: Note::from(0, Method::Start),
        dones: ACTORS as usize,
        messages,
        received: messages + u64::from(ACTORS),
    }
}
