//! The vat of the tests: it does what the message tells it to.

use std::sync::Arc;

use crankcase::raw::{Crank, Message, Vat};
use crankcase::{Answer, Exit, Payload, Ref, Rejection, VatId};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::yard::Yard;

/// One thing that an [`Actor`] does.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Step {
    /// Adds to the count, and says what it has become.
    Add(u64),
    /// Remembers a number and who it came from.
    Hear(VatId, u64),
    /// Sends those steps to a vat.
    Send(Ref, Vec<Step>),
    /// Sends to a vat that its own `count` of messages have been sent: [`Step::Hear`] with the next
    /// number each time.
    Tell(Ref, u64),
    /// Makes an actor that begins with those steps, and says its id.
    Spawn(Vec<Step>),
    /// Sends those steps to the vat that it made last.
    SendToLast(Vec<Step>),
    /// Makes a vat of that kind.
    SpawnKind(String),
    /// Writes a row.
    Set(Vec<u8>, Vec<u8>),
    /// Removes a row.
    Delete(Vec<u8>),
    /// Says a row.
    Get(Vec<u8>),
    /// Says the rows from a key up to another, which is not among them.
    Range(Vec<u8>, Vec<u8>),
    /// Says the rows that begin so, the last one first.
    PrefixBackwards(Vec<u8>),
    /// Says the time.
    Now,
    /// Says a random number.
    Random,
    /// Returns `Err` with that code.
    Refuse(String),
    /// Panics.
    Panic,
    /// Ends the vat well.
    Exit,
    /// Ends the vat as failed.
    Fail,
    /// Sends a message whose method has no name.
    SendNameless(Ref),
    /// Sends that many bytes to a vat.
    SendBytes(Ref, u32),
    /// Makes its state refuse to be encoded.
    RefuseEncoding,
    /// Makes the encoding of its state panic.
    PanicEncoding,
    /// Does what the test left in the [`Yard`] under that name.
    Call(String),
    /// Wanders for that many hops over those vats, leaving rows, new vats and abandoned cranks behind
    /// as chance has it.
    Wander(u32, Vec<Ref>),
}

/// What an [`Actor`] says while it goes through its steps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Said {
    /// A number.
    Number(u64),
    /// A row.
    Row(Option<Vec<u8>>),
    /// Rows.
    Rows(Vec<(Vec<u8>, Vec<u8>)>),
    /// A vat.
    Vat(Ref),
}

/// A part of the state whose encoding can be made to fail.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Brittle {
    #[default]
    Whole,
    Refuses,
    Panics,
}

impl Serialize for Brittle {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Whole => serializer.serialize_unit(),
            Self::Refuses => Err(serde::ser::Error::custom("refused on purpose")),
            Self::Panics => panic!("encoding panics on purpose"),
        }
    }
}

impl<'de> Deserialize<'de> for Brittle {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <()>::deserialize(deserializer).map(|()| Self::Whole)
    }
}

/// A vat that does what it is told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// What it has counted.
    pub count: u64,
    /// What it was told to remember, in the order in which it was told.
    pub heard: Vec<(VatId, u64)>,
    /// The vats that it has made.
    pub made: Vec<Ref>,
    brittle: Brittle,
}

/// The method of all messages between actors.
pub const PLAY: &str = "play";

/// Arrays are encoded without their length, and a receiver asks for a list: so this takes a slice.
fn send(cx: &Crank<'_>, to: Ref, steps: &[Step]) {
    cx.send(to, PLAY, steps);
}

impl Actor {
    fn play(&mut self, cx: &Crank<'_>, yard: &Yard, steps: Vec<Step>) -> Answer {
        let mut said = Vec::new();
        for step in steps {
            self.step(cx, yard, step, &mut said)?;
        }
        Ok(Payload::of(&said)?)
    }

    fn step(
        &mut self,
        cx: &Crank<'_>,
        yard: &Yard,
        step: Step,
        said: &mut Vec<Said>,
    ) -> Result<(), Rejection> {
        match step {
            Step::Add(more) => {
                self.count += more;
                said.push(Said::Number(self.count));
            }
            Step::Hear(from, number) => self.heard.push((from, number)),
            Step::Send(to, steps) => drop(cx.send(to, PLAY, &steps)),
            Step::Tell(to, times) => {
                for _ in 0..times {
                    send(cx, to, &[Step::Hear(cx.id(), self.count)]);
                    self.count += 1;
                }
            }
            Step::Spawn(steps) => {
                let id = cx.spawn(Self::KIND, &steps);
                self.made.push(id);
                said.push(Said::Vat(id));
            }
            Step::SendToLast(steps) => {
                let last = self.made.last().copied();
                let last = last.ok_or_else(|| Rejection::new("made_none", ""))?;
                cx.send(last, PLAY, &steps);
            }
            Step::SpawnKind(kind) => self.made.push(cx.spawn(&kind, &())),
            Step::Set(key, value) => cx.set(&key, &value),
            Step::Delete(key) => cx.delete(&key),
            Step::Get(key) => said.push(Said::Row(cx.get(&key))),
            Step::Range(low, high) => said.push(Said::Rows(cx.range(low..high).collect())),
            Step::PrefixBackwards(prefix) => {
                said.push(Said::Rows(cx.prefix(&prefix).rev().collect()));
            }
            Step::Now => said.push(Said::Number(cx.now().get())),
            Step::Random => said.push(Said::Number(cx.random())),
            Step::Refuse(code) => return Err(Rejection::new(code, "refused on purpose")),
            Step::Panic => panic!("a vat panics on purpose"),
            Step::Exit => cx.exit(Exit::Success),
            Step::Fail => cx.exit(Exit::Failure),
            Step::SendNameless(to) => drop(cx.send(to, "", &())),
            Step::SendBytes(to, len) => drop(cx.send(to, PLAY, &vec![7u8; len as usize])),
            Step::RefuseEncoding => self.brittle = Brittle::Refuses,
            Step::PanicEncoding => self.brittle = Brittle::Panics,
            Step::Call(name) => yard.call(&name),
            Step::Wander(hops, among) => self.wander(cx, hops, &among)?,
        }
        Ok(())
    }

    fn wander(&mut self, cx: &Crank<'_>, hops: u32, among: &[Ref]) -> Result<(), Rejection> {
        self.count += 1;
        let chance = cx.random();
        cx.set(&[(chance % 5) as u8], &self.count.to_be_bytes());
        if chance.is_multiple_of(7) {
            cx.delete(&[(chance % 3) as u8]);
        }
        if hops == 0 {
            return Ok(());
        }
        let to = among[(cx.random() % among.len() as u64) as usize];
        send(cx, to, &[Step::Wander(hops - 1, among.to_vec())]);
        match cx.random() % 40 {
            0 => return Err(Rejection::new("lost", "the wanderer was lost on purpose")),
            1 => panic!("a wanderer panics on purpose"),
            2 => {
                let child = cx.spawn(Self::KIND, &vec![Step::Add(1)]);
                send(cx, child, &[Step::Tell(cx.me(), 1), Step::Exit]);
                send(cx, child, &[Step::Add(1)]);
            }
            _ => {}
        }
        Ok(())
    }
}

impl Vat for Actor {
    const KIND: &'static str = "actor";
    const VERSION: u32 = 1;
    type Env = Arc<Yard>;

    fn create(cx: &Crank<'_>, yard: &Arc<Yard>, start: &Message<'_>) -> Result<Self, Rejection> {
        let mut actor = Self::default();
        actor.play(cx, yard, start.args()?)?;
        Ok(actor)
    }

    fn receive(&mut self, cx: &Crank<'_>, yard: &Arc<Yard>, message: &Message<'_>) -> Answer {
        match message.method() {
            PLAY => self.play(cx, yard, message.args()?),
            other => Err(Rejection::new("no_such_method", other)),
        }
    }
}
