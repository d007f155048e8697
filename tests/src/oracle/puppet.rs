//! The language of random programs, and the vat that speaks it.
//!
//! Every program means something: names are numbers that point into what the vat has at hand, taken
//! round and round, so a program that was made up or cut down stays a program.

use std::fmt;

use crankcase::raw::{Crank, Message, Notice, Object, Vat, join, race};
use crankcase::{Answer, Exit, Outcome, Payload, Promise, Ref, Rejection, VatId, VatNumber};
use serde::{Deserialize, Serialize};

/// One thing that a puppet does. A number stands for a reference that it has at hand, counted from
/// the last: what it made or read in this crank, what came with the delivery, what its state keeps,
/// `me`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Word {
    /// A message to what is at hand, with references; its promise comes to hand.
    Send {
        /// The receiver.
        to: u8,
        /// What it is to do.
        script: Script,
        /// The references that come with it.
        with: Vec<u8>,
    },
    /// A promise of its own.
    Promise,
    /// That many promises of its own, all of them kept.
    Promises(u8),
    /// One of its own promises comes to that.
    Fulfil(u8, Value),
    /// One of its own promises is rejected.
    Reject(u8),
    /// As many promises of its own, each of which comes to the next, and the last to the first.
    Circle(u8),
    /// A promise at hand comes to that, whether it may decide it or not.
    Usurp(u8, Value),
    /// Watches what is at hand; the promise of the watch comes to hand.
    Watch {
        /// What is watched.
        on: u8,
        /// What to do then.
        script: Script,
        /// The references that are wanted then.
        with: Vec<u8>,
    },
    /// All of them, as one promise.
    Join(Vec<u8>),
    /// The first of them, as one promise.
    Race(Vec<u8>),
    /// Keeps it in the state.
    Keep(u8),
    /// Keeps one thing less in the state.
    Forget(u8),
    /// Writes references into a row.
    Store(u8, Vec<u8>),
    /// Writes a reference into that many rows.
    StoreMany(u8, u8),
    /// Reads the references of a row; they come to hand.
    Load(u8),
    /// Removes a row with references.
    Erase(u8),
    /// Walks all rows with references; they come to hand.
    LoadAll,
    /// Writes a row of bytes.
    Put(u8, u16),
    /// Removes a row of bytes.
    Delete(u8),
    /// Walks the rows of bytes from a key on, this way or that.
    Scan(u8, bool),
    /// Makes an object that holds references.
    Object(Vec<u8>),
    /// Makes that many objects, and keeps none.
    Objects(u8),
    /// Changes what an object of its own holds.
    SetObject(u8, Vec<u8>),
    /// Removes an object of its own.
    Remove(u8),
    /// Makes a puppet of one of the versions.
    Spawn {
        /// Whether it is of the newer version.
        newer: bool,
        /// What it does at its start.
        script: Script,
        /// The references that come with it.
        with: Vec<u8>,
    },
    /// What the delivery is answered with.
    Answer(Value),
    /// Says no; nothing of the crank happens.
    Refuse,
    /// Says no, and what the crank did happens.
    Decline,
    /// Panics.
    Panic,
    /// Ends the vat.
    Exit,
    /// Ends the vat as failed.
    Fail,
    /// Uses a reference that it was never given.
    Forge(u8),
    /// Takes the time and a random number into its state.
    Chance,
}

/// What a promise or a delivery comes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Value {
    /// A number.
    Number(u8),
    /// What is at hand, and nothing beside it.
    Thing(u8),
    /// What is at hand, in a list.
    Things(Vec<u8>),
}

/// What a puppet does in one crank.
pub type Script = Vec<Word>;

/// A script on its way.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// What the host knows it by; 0 between vats.
    pub tag: u64,
    /// What is to be done.
    pub script: Script,
    /// What comes with it.
    pub with: Vec<Promise>,
}

/// A value that is no bare reference.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Things {
    /// A number.
    pub number: u64,
    /// References.
    pub things: Vec<Promise>,
}

/// A vat that does what scripts say. Two versions of its code stand beside each other.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Puppet<const VERSION: u32> {
    /// All that it has seen, mixed.
    pub digest: u64,
    /// What it keeps.
    pub kept: Vec<Promise>,
    /// Promises that it is to decide.
    pub own: Vec<Promise>,
}

/// The first version.
pub type Older = Puppet<1>;
/// The version that takes over from it.
pub type Newer = Puppet<2>;

/// The method of messages that bring scripts.
pub const DO: &str = "do";
/// How many references a state keeps at most.
const KEEPS: usize = 6;

impl<const VERSION: u32> fmt::Debug for Puppet<VERSION> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { digest, kept, own } = self;
        write!(f, "puppet {VERSION} {digest:016x} {kept:?} {own:?}")
    }
}

/// What one crank has at hand.
struct Hand<'a, 'c> {
    cx: &'a Crank<'c>,
    things: Vec<Promise>,
    answer: Option<Payload>,
}

impl Hand<'_, '_> {
    /// Counted from what came to hand last.
    fn at(&self, number: u8) -> &Promise {
        let count = self.things.len();
        &self.things[count - 1 - usize::from(number) % count]
    }

    fn all(&self, numbers: &[u8]) -> Vec<Promise> {
        numbers
            .iter()
            .map(|number| self.at(*number).clone())
            .collect()
    }

    fn call(&self, script: &Script, with: &[u8]) -> Call {
        Call {
            tag: 0,
            script: script.clone(),
            with: self.all(with),
        }
    }

    fn things(&self, number: u64, things: &[u8]) -> Things {
        let things = self.all(things);
        Things { number, things }
    }

    fn value(&self, value: &Value) -> Result<Payload, Rejection> {
        Ok(match value {
            Value::Number(number) => Payload::of(&self.things(u64::from(*number), &[]))?,
            Value::Thing(thing) => self.at(*thing).clone().into(),
            Value::Things(things) => Payload::of(&self.things(0, things))?,
        })
    }

    fn fulfil(&self, promise: &Promise, value: &Value) {
        match value {
            Value::Number(number) => {
                let number = u64::from(*number);
                self.cx.fulfil(promise, &self.things(number, &[]));
            }
            Value::Thing(thing) => self.cx.fulfil(promise, self.at(*thing)),
            Value::Things(things) => self.cx.fulfil(promise, &self.things(0, things)),
        }
    }

    /// The number of an object of the vat's own that is at hand.
    fn own_object(&self, number: u8) -> Option<u64> {
        let object = self.at(number).object()?.object();
        (object.vat == self.cx.id() && !object.is_root()).then_some(object.number)
    }
}

impl<const VERSION: u32> Puppet<VERSION> {
    fn see(&mut self, what: u64) {
        let mixed = self.digest.rotate_left(7) ^ what.wrapping_add(u64::from(VERSION));
        self.digest = mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (mixed >> 29);
    }

    /// Looks at a reference as closely as a vat can.
    fn look(&mut self, thing: &Promise) {
        match (thing.object(), thing.outcome()) {
            (Some(object), _) => self.see(object.object().number + 1),
            (None, Some(outcome)) => self.hear(&outcome),
            (None, None) => self.see(0),
        }
    }

    fn hear(&mut self, outcome: &Outcome) {
        match outcome {
            Ok(payload) => self.see(payload.bytes().len() as u64 + payload.slots().len() as u64),
            Err(why) => why
                .code()
                .bytes()
                .for_each(|byte| self.see(u64::from(byte))),
        }
    }

    fn perform(&mut self, cx: &Crank<'_>, call: Call, more: Vec<Promise>) -> Answer {
        let mut things: Vec<Promise> = vec![cx.me().into(), cx.this().into()];
        things.extend(self.kept.iter().cloned());
        things.extend(more);
        things.extend(call.with);
        for thing in &things {
            self.look(thing);
        }
        let answer = None;
        let mut hand = Hand { cx, things, answer };
        for word in &call.script {
            self.word(&mut hand, word)?;
        }
        match hand.answer {
            Some(answer) => Ok(answer),
            None => Ok(Payload::of(&hand.things(self.digest, &[]))?),
        }
    }

    fn word(&mut self, hand: &mut Hand<'_, '_>, word: &Word) -> Result<(), Rejection> {
        let cx = hand.cx;
        match word {
            Word::Send { to, script, with } => {
                let call = hand.call(script, with);
                let promise = cx.send(hand.at(*to), DO, &call);
                hand.things.push(promise);
            }
            Word::Promise => {
                let promise = cx.promise();
                self.own.push(promise.clone());
                hand.things.push(promise);
            }
            Word::Promises(count) => {
                for _ in 0..*count {
                    self.own.push(cx.promise());
                }
            }
            Word::Fulfil(which, value) => {
                if let Some(promise) = self.take_own(*which) {
                    hand.fulfil(&promise, value);
                }
            }
            Word::Reject(which) => {
                if let Some(promise) = self.take_own(*which) {
                    cx.reject(&promise, Rejection::new("rejected", "on purpose"));
                }
            }
            Word::Circle(count) => {
                let circle: Vec<_> = (0..*count).map(|_| cx.promise()).collect();
                for (promise, next) in circle.iter().zip(circle.iter().cycle().skip(1)) {
                    cx.fulfil(promise, next);
                }
                hand.things.extend(circle.into_iter().next());
            }
            Word::Usurp(which, value) => hand.fulfil(hand.at(*which), value),
            Word::Watch { on, script, with } => {
                let call = hand.call(script, with);
                let promise = cx.watch(hand.at(*on), "heard", &call);
                hand.things.push(promise);
            }
            Word::Join(which) => hand.things.push(join(cx, &hand.all(which))),
            Word::Race(which) => hand.things.push(race(cx, &hand.all(which))),
            Word::Keep(thing) => {
                if self.kept.len() >= KEEPS {
                    self.kept.remove(0);
                }
                self.kept.push(hand.at(*thing).clone());
            }
            Word::Forget(which) => {
                if !self.kept.is_empty() {
                    let at = usize::from(*which) % self.kept.len();
                    self.kept.remove(at);
                }
            }
            Word::Store(key, things) => cx.set_holding(&[*key], &hand.all(things)),
            Word::StoreMany(count, thing) => {
                let thing = hand.all(&[*thing]);
                for number in 0..*count {
                    cx.set_holding(&[0xff, number], &thing);
                }
            }
            Word::Load(key) => {
                let things: Option<Vec<Promise>> = cx.get_holding(&[*key])?;
                self.see(things.as_ref().map_or(0, |things| things.len() as u64 + 1));
                for thing in things.unwrap_or_default() {
                    self.look(&thing);
                    hand.things.push(thing);
                }
            }
            Word::Erase(key) => cx.delete_holding(&[*key]),
            Word::LoadAll => {
                let rows = cx.range_holding::<Vec<Promise>, &[u8], _>(..);
                for row in rows.collect::<Vec<_>>() {
                    let (key, things) = row;
                    self.see(key.len() as u64);
                    hand.things.extend(things?);
                }
            }
            Word::Put(key, value) => {
                let row = vec![*value as u8; usize::from(*value >> 8)];
                cx.set(&[*key], &row);
            }
            Word::Delete(key) => cx.delete(&[*key]),
            Word::Scan(from, back) => {
                let rows = cx.range(&[*from][..]..);
                let rows: Vec<_> = if *back {
                    rows.rev().collect()
                } else {
                    rows.collect()
                };
                for (key, value) in rows {
                    let first = value.first().copied().unwrap_or_default();
                    self.see(u64::from(key[0]) << 32 | u64::from(first));
                    self.see(value.len() as u64);
                }
            }
            Word::Object(things) => {
                let object = cx.object("thing", &hand.all(things));
                hand.things.push(object.into());
            }
            Word::Objects(count) => {
                for _ in 0..*count {
                    let object = cx.object("thing", &Vec::<Promise>::new());
                    hand.things.push(object.into());
                }
            }
            Word::SetObject(which, things) => {
                if let Some(object) = hand.own_object(*which)
                    && cx.read_object(object).is_some()
                {
                    cx.set_object(object, &hand.all(things));
                }
            }
            Word::Remove(which) => {
                if let Some(object) = hand.own_object(*which) {
                    cx.remove_object(object);
                }
            }
            Word::Spawn {
                newer,
                script,
                with,
            } => {
                let call = hand.call(script, with);
                let version = if *newer {
                    Newer::VERSION
                } else {
                    Older::VERSION
                };
                let vat = cx.spawn_version(Self::KIND, version, &call);
                hand.things.push(vat.into());
            }
            Word::Answer(value) => hand.answer = Some(hand.value(value)?),
            Word::Refuse => return Err(Rejection::new("refused", "on purpose")),
            Word::Decline => {
                let why = Rejection::new("declined", "on purpose");
                hand.answer = Some(cx.rejected(why).into());
            }
            Word::Panic => panic!("a puppet panics on purpose"),
            Word::Exit => cx.exit(Exit::Success),
            Word::Fail => cx.exit(Exit::Failure),
            Word::Forge(number) => {
                let forged = VatId::new(VatNumber::HOST, 1_000_000 + u64::from(*number));
                cx.send(Ref::to(forged), DO, &Call::default());
            }
            Word::Chance => {
                self.see(cx.now().get());
                self.see(cx.random());
            }
        }
        Ok(())
    }

    fn take_own(&mut self, which: u8) -> Option<Promise> {
        if self.own.is_empty() {
            return None;
        }
        let at = usize::from(which) % self.own.len();
        Some(self.own.remove(at))
    }
}

impl<const VERSION: u32> Vat for Puppet<VERSION> {
    const KIND: &'static str = "puppet";
    const VERSION: u32 = VERSION;
    const MIGRATES_FROM: Option<u32> = if VERSION == 1 {
        None
    } else {
        Some(VERSION - 1)
    };
    type Env = ();

    fn create(cx: &Crank<'_>, _env: &(), start: &Message<'_>) -> Result<Self, Rejection> {
        let mut puppet = Self::default();
        puppet.perform(cx, start.args()?, Vec::new())?;
        Ok(puppet)
    }

    fn receive(&mut self, cx: &Crank<'_>, _env: &(), message: &Message<'_>) -> Answer {
        self.perform(cx, message.args()?, Vec::new())
    }

    fn receive_at(
        &mut self,
        cx: &Crank<'_>,
        _env: &(),
        object: &Object,
        message: &Message<'_>,
    ) -> Answer {
        self.see(object.number());
        self.perform(cx, message.args()?, object.state()?)
    }

    fn notified(&mut self, cx: &Crank<'_>, _env: &(), notice: &Notice<'_>) -> Answer {
        self.hear(notice.outcome());
        let things = match notice.outcome() {
            Ok(payload) => things_in(payload),
            Err(_) => Vec::new(),
        };
        self.perform(cx, notice.context()?, things)
    }

    fn dropped(&mut self, cx: &Crank<'_>, _env: &(), object: u64) -> Result<(), Rejection> {
        self.see(object);
        // Some stay, to be given away again.
        if !object.is_multiple_of(3) && !cx.keeps_object(object) {
            cx.remove_object(object);
        }
        Ok(())
    }

    fn migrate(cx: &Crank<'_>, _env: &(), old: &Payload) -> Result<Self, Rejection> {
        let old: Older = old.decode()?;
        let Older { digest, kept, own } = old;
        let mut puppet = Self { digest, kept, own };
        puppet.see(cx.now().get());
        cx.set(b"migrated", &puppet.digest.to_le_bytes());
        // Some say no.
        match puppet.digest % 4 {
            0 => Err(Rejection::new("refused", "on purpose")),
            _ => Ok(puppet),
        }
    }
}

/// The references in what came.
#[must_use]
pub fn things_in(payload: &Payload) -> Vec<Promise> {
    if let ([0], [_]) = (payload.bytes(), payload.slots()) {
        return payload
            .decode()
            .map_or_else(|_| Vec::new(), |thing| vec![thing]);
    }
    let things = payload.decode::<Things>();
    things.map_or_else(|_| Vec::new(), |things| things.things)
}
