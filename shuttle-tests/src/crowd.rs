//! Host threads that send numbered messages and note what they are told, and the laws that hold
//! between that and what the vats have heard.

use std::future::{Future, IntoFuture};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use crankcase::{
    Cause, Outcome, Ref, SendError, Ticket, TrySendError, VatId, VatNumber, WaitError,
};
use crankcase_tests::actor::PLAY;
use crankcase_tests::{Host, Step};
use shuttle::future::block_on;

use crate::world::below;

/// What the crank of a message comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The actor remembers it.
    Heard,
    /// The actor remembers it and then says no, so it does not.
    Refused,
    /// The actor remembers it and then panics, so it does not.
    Panicked,
}

/// A message that someone was told the outcome of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// Whose message.
    pub author: u64,
    /// Which of theirs.
    pub number: u64,
    /// To which actor.
    pub to: Ref,
    /// What it came to.
    pub fate: Fate,
}

/// Everything that the host threads were told so far.
#[derive(Debug, Clone, Default)]
pub struct Witness(Arc<Mutex<Vec<Told>>>);

/// How a host thread was turned away for good.
#[derive(Debug)]
pub enum TurnedAway {
    /// Its message was not taken.
    Unsent(SendError),
    /// Its ticket failed.
    Untold(WaitError),
}

impl Witness {
    /// What was told up to now. No step of a schedule, so it is of one moment with what stands
    /// beside it.
    #[must_use]
    pub fn told(&self) -> Vec<Told> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn note(&self, told: Told) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(told);
    }

    /// Checks what an outcome says of a message, and notes it.
    ///
    /// # Panics
    ///
    /// When it says anything but what the message comes to.
    pub fn hear(&self, told: Told, outcome: &Outcome) {
        match (told.fate, outcome) {
            (Fate::Heard, Ok(_)) => {}
            (Fate::Refused, Err(why)) if why.cause() == Cause::Refused => {}
            (Fate::Panicked, Err(why)) if why.cause() == Cause::Panicked => {}
            _ => panic!("{told:?} came to {outcome:?}"),
        }
        self.note(told);
    }
}

/// What an author sends: mostly what is heard.
fn a_fate() -> Fate {
    match below(6) {
        0 => Fate::Refused,
        1 => Fate::Panicked,
        _ => Fate::Heard,
    }
}

fn label(author: u64) -> VatId {
    VatId::new(VatNumber::HOST, (1 << 40) + author)
}

/// The steps of a message.
#[must_use]
pub fn steps(author: u64, number: u64, fate: Fate) -> Vec<Step> {
    let mut steps = vec![Step::Hear(label(author), number)];
    match fate {
        Fate::Heard => {}
        Fate::Refused => steps.push(Step::Refuse("no".to_owned())),
        Fate::Panicked => steps.push(Step::Panic),
    }
    steps
}

/// Sends a message in one of the ways there are, and waits for its ticket in one of the ways there
/// are; or does not.
fn send_one(host: &Host, told: Told, witness: &Witness) -> Result<(), TurnedAway> {
    let steps = steps(told.author, told.number, told.fate);
    let ticket = match below(3) {
        0 => loop {
            match host.try_send(told.to, PLAY, &steps) {
                Ok(ticket) => break ticket,
                Err(TrySendError::Full(back)) => {
                    assert_eq!(back.method, PLAY, "another message was handed back");
                    let steps: Vec<Step> = back.args.decode().expect("the message is whole");
                    assert_eq!(steps.len(), self::steps(0, 0, told.fate).len());
                    block_on(host.room());
                }
                Err(TrySendError::Refused(error)) => return Err(TurnedAway::Unsent(error)),
                Err(error) => panic!("try_send says {error}"),
            }
        },
        _ => host.tell(told.to, &steps).map_err(TurnedAway::Unsent)?,
    };
    wait_one(ticket, told, witness)
}

fn wait_one(ticket: Ticket<Outcome>, told: Told, witness: &Witness) -> Result<(), TurnedAway> {
    match below(5) {
        // Nobody waits.
        0 => {}
        // A future that was polled once and is dropped.
        1 => {
            let mut future = pin!(ticket.into_future());
            let polled = future
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()));
            if let Poll::Ready(Ok(outcome)) = polled {
                witness.hear(told, &outcome);
            }
        }
        2 => {
            let outcome = block_on(ticket.into_future()).map_err(TurnedAway::Untold)?;
            witness.hear(told, &outcome);
        }
        _ => {
            let outcome = ticket.wait().map_err(TurnedAway::Untold)?;
            witness.hear(told, &outcome);
        }
    }
    Ok(())
}

/// Sends some messages to actors, one after the other, until there are none left or nothing more is
/// taken.
///
/// # Errors
///
/// How it was turned away.
pub fn talk(
    host: &Host,
    author: u64,
    messages: u64,
    to: &[Ref],
    witness: &Witness,
) -> Result<(), TurnedAway> {
    for number in 0..messages {
        let told = Told {
            author,
            number,
            to: to[below(to.len() as u64) as usize],
            fate: a_fate(),
        };
        send_one(host, told, witness)?;
    }
    Ok(())
}

/// Checks what actors have heard against what was told: nothing twice, each author's messages in
/// their order, everything that was told to be heard, and nothing that was told not to be.
///
/// # Panics
///
/// When that does not hold.
pub fn check(host: &Host, actors: &[Ref], told: &[Told]) {
    for &actor in actors {
        let heard = host.look(actor).heard;
        for author in 0..8 {
            let numbers = heard.iter().filter(|(from, _)| *from == label(author));
            let numbers: Vec<u64> = numbers.map(|(_, number)| *number).collect();
            assert!(
                numbers.is_sorted_by(|one, next| one < next),
                "{actor:?} has heard of {author}: {numbers:?}"
            );
            for told in told.iter().filter(|t| t.to == actor && t.author == author) {
                assert_eq!(
                    numbers.contains(&told.number),
                    told.fate == Fate::Heard,
                    "{told:?} was told, and heard is {numbers:?}"
                );
            }
        }
    }
}
