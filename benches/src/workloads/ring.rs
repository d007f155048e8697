//! Thread ring: one token, a hundred actors; a vat is touched once in a hundred cranks.

use serde::{Deserialize, Serialize};

use super::{Actor, Args, Machine, Method, Note, Plan, Step};

const ACTORS: u32 = 100;

/// Passes the token on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Link {
    next: u32,
    passed: u64,
}

impl Machine for Link {
    #[inline]
    fn receive(&mut self, me: u32, note: Note, send: &mut impl FnMut(u32, Note)) -> Step {
        if note.method != Method::Token {
            return Step::Unexpected;
        }
        self.passed += 1;
        let Some(left) = note.args.value.checked_sub(1) else {
            return Step::Done;
        };
        let args = Args {
            from: me,
            other: 0,
            value: left,
        };
        send(
            self.next,
            Note {
                method: Method::Token,
                args,
            },
        );
        Step::Going
    }
}

/// `hops` hops.
pub(super) fn plan(hops: u64) -> Plan {
    let link = |index| {
        Actor::Link(Link {
            next: (index + 1) % ACTORS,
            passed: 0,
        })
    };
    Plan {
        actors: (0..ACTORS).map(link).collect(),
        near: (0..ACTORS)
            .map(|index| (index, (index + 1) % ACTORS))
            .collect(),
        books: Vec::new(),
        starts: vec![0],
        first: Note {
            method: Method::Token,
            args: Args {
                value: hops,
                ..Args::default()
            },
        },
        dones: 1,
        messages: hops,
        received: hops + 1,
    }
}
