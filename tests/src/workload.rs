//! A load of blocks that touches everything a vat can do, for tests that compare whole journals.

use crankcase::{ActivityHash, Kernel, Outcome, Ref, SendError, Seq, Ticket, VatId, VatNumber};

use crate::actor::{Actor, PLAY, Step};
use crate::luck::Luck;

/// How many actors the blocks wander over.
pub const ACTORS: u64 = 24;

/// The request id of a block.
#[must_use]
pub fn request(block: u64) -> String {
    format!("block:{block}")
}

/// Hands in a block as one input under its request id. Block 0 makes the actors.
///
/// # Errors
///
/// What the kernel says.
pub fn submit(kernel: &Kernel, block: u64) -> Result<Ticket<Vec<Outcome>>, SendError> {
    let mut batch = kernel.request(request(block)).batch();
    let mut luck = Luck::new(block);
    let among: Vec<Ref> = (1..=ACTORS)
        .map(|counter| Ref::to(actor(counter)))
        .collect();
    for _ in 0..ACTORS {
        if block == 0 {
            batch.spawn("actor", &Vec::<Step>::new())?;
        } else {
            let to = actor(1 + luck.below(ACTORS));
            let hops = luck.below(12) as u32;
            batch.send(to, PLAY, &vec![Step::Wander(hops, among.clone())])?;
        }
    }
    batch.submit()
}

/// The actor of that number, from 1.
fn actor(number: u64) -> VatId {
    VatId::new(VatNumber::HOST, number)
}

/// Where an order stands: two journals that agree in it are the same.
#[must_use]
pub fn standing(kernel: &Kernel) -> (Seq, ActivityHash) {
    let stats = kernel.stats();
    (stats.durable, stats.activity_hash)
}

/// All of the host's actors as they are.
///
/// # Panics
///
/// When one cannot be read.
#[must_use]
pub fn states(kernel: &Kernel) -> Vec<Actor> {
    (1..=ACTORS)
        .map(actor)
        .map(|id| {
            kernel
                .read(id, Actor::clone)
                .expect("the actor can be read")
        })
        .collect()
}
