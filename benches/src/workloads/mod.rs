//! The workloads: small state machines after the [Savina] actor benchmarks, numbered from 0, that
//! react to a note by sending notes.
//!
//! They know nothing of who runs them. The kernel runs them as vats ([`crate::actor`]), the floor
//! as they are ([`crate::floor`]), so that both do the same work and count the same messages. Every
//! note changes the state of the actor that takes it.
//!
//! [Savina]: https://doi.org/10.1145/2687357.2687368

mod bank;
mod big;
mod counting;
mod draws;
mod fan;
mod ping_pong;
mod ring;

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// What a note asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "the names say it, and the workloads say what they do with them"
)]
#[repr(u8)]
pub enum Method {
    Start,
    Ping,
    Pong,
    Token,
    Increment,
    Get,
    Total,
    Work,
    Worked,
    Debit,
    Credit,
    Transferred,
}

impl Method {
    const ALL: [(Self, &'static str); 12] = [
        (Self::Start, "start"),
        (Self::Ping, "ping"),
        (Self::Pong, "pong"),
        (Self::Token, "token"),
        (Self::Increment, "increment"),
        (Self::Get, "get"),
        (Self::Total, "total"),
        (Self::Work, "work"),
        (Self::Worked, "worked"),
        (Self::Debit, "debit"),
        (Self::Credit, "credit"),
        (Self::Transferred, "transferred"),
    ];

    /// The method's name in a message.
    #[must_use]
    pub const fn name(self) -> &'static str {
        Self::ALL[self as usize].1
    }

    /// The method of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .find(|(_, known)| *known == name)
            .map(|(method, _)| *method)
    }
}

/// The arguments of a note: 16 bytes encoded, whatever the values.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Args {
    /// The actor that is to be answered.
    #[serde(with = "postcard::fixint::le")]
    pub from: u32,
    /// Another actor that the note is about.
    #[serde(with = "postcard::fixint::le")]
    pub other: u32,
    /// A number or an amount.
    #[serde(with = "postcard::fixint::le")]
    pub value: u64,
}

/// A message between actors.
#[derive(Debug, Clone, Copy)]
pub struct Note {
    /// What it asks for.
    pub method: Method,
    /// With what.
    pub args: Args,
}

impl Note {
    /// A note that carries nothing but who sent it.
    #[must_use]
    pub const fn from(from: u32, method: Method) -> Self {
        Self {
            method,
            args: Args {
                from,
                other: 0,
                value: 0,
            },
        }
    }
}

/// What an actor made of a note.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Step {
    /// It goes on.
    Going,
    /// This actor has done all that the run asks of it.
    Done,
    /// It is no note that this actor takes.
    Unexpected,
}

/// How an actor reacts.
trait Machine {
    /// Takes a note; `me` is the actor's own number, and `send` takes the number of another.
    fn receive(&mut self, me: u32, note: Note, send: &mut impl FnMut(u32, Note)) -> Step;
}

/// The state of any of the workloads' actors.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each is documented where it is defined")]
pub enum Actor {
    Pinger(ping_pong::Pinger),
    Ponger(ping_pong::Ponger),
    Link(ring::Link),
    Producer(counting::Producer),
    Counter(counting::Counter),
    Master(fan::Master),
    Worker(fan::Worker),
    Peer(big::Peer),
    Teller(bank::Teller),
    Account(bank::Account),
}

impl Actor {
    /// Takes a note; `me` is the actor's own number, and `send` takes the number of another.
    #[inline]
    pub fn receive(&mut self, me: u32, note: Note, send: &mut impl FnMut(u32, Note)) -> Step {
        match self {
            Self::Pinger(actor) => actor.receive(me, note, send),
            Self::Ponger(actor) => actor.receive(me, note, send),
            Self::Link(actor) => actor.receive(me, note, send),
            Self::Producer(actor) => actor.receive(me, note, send),
            Self::Counter(actor) => actor.receive(me, note, send),
            Self::Master(actor) => actor.receive(me, note, send),
            Self::Worker(actor) => actor.receive(me, note, send),
            Self::Peer(actor) => actor.receive(me, note, send),
            Self::Teller(actor) => actor.receive(me, note, send),
            Self::Account(actor) => actor.receive(me, note, send),
        }
    }
}

/// A run of a workload, laid out.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The actors, by number.
    pub actors: Vec<Actor>,
    /// For an actor that sends all that it sends unasked to one other: which.
    pub near: Vec<(u32, u32)>,
    /// For an actor that does so to many others: which.
    pub books: Vec<(u32, Range<u32>)>,
    /// The actors that are sent the first note.
    pub starts: Vec<u32>,
    /// The first note.
    pub first: Note,
    /// How many actors say [`Step::Done`] by the end.
    pub dones: usize,
    /// The messages that are counted for a rate.
    pub messages: u64,
    /// All notes that are received, with the starts and what frames the counted ones.
    pub received: u64,
}

/// Which workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Workload {
    /// Two actors and one ball.
    #[value(name = "pingpong")]
    PingPong,
    /// A token that goes around a hundred actors.
    Ring,
    /// One actor that sends all its increments to another in one crank.
    Counting,
    /// One actor that hands out work to a thousand and gathers it again.
    Fan,
    /// A hundred actors, each pinging random others.
    Big,
    /// A teller with a thousand transfers under way between a thousand accounts.
    Bank,
}

impl Workload {
    /// All of them, in the order of the tables.
    pub const ALL: [Self; 6] = [
        Self::PingPong,
        Self::Ring,
        Self::Counting,
        Self::Fan,
        Self::Big,
        Self::Bank,
    ];

    /// The name in tables and on command lines.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PingPong => "pingpong",
            Self::Ring => "ring",
            Self::Counting => "counting",
            Self::Fan => "fan",
            Self::Big => "big",
            Self::Bank => "bank",
        }
    }

    /// Lays out a run; `scale` is the workload's own: round trips, hops, increments, rounds, pings
    /// by each actor, transfers.
    #[must_use]
    pub fn plan(self, scale: u64) -> Plan {
        match self {
            Self::PingPong => ping_pong::plan(scale),
            Self::Ring => ring::plan(scale),
            Self::Counting => counting::plan(scale),
            Self::Fan => fan::plan(scale),
            Self::Big => big::plan(scale),
            Self::Bank => bank::plan(scale),
        }
    }

    /// A scale to begin calibrating with: some thousand messages.
    #[must_use]
    pub const fn first_scale(self) -> u64 {
        match self {
            Self::PingPong | Self::Ring | Self::Counting | Self::Bank => 2_000,
            Self::Fan => 5,
            Self::Big => 50,
        }
    }

    /// The largest scale that a run may have: a mailbox has no bound, and counting fills one.
    #[must_use]
    pub const fn max_scale(self) -> u64 {
        match self {
            Self::Counting => 5_000_000,
            _ => u64::MAX,
        }
    }
}
