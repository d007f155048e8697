//! A vat whose objects play the parts that a scenario writes for them.
//!
//! A scenario is a handful of parts: what alice does when she is told to `start`, what bob does when
//! `b10` comes. Each is a list of [`Play`]s, which travels to the vat as data, so that a pattern of
//! messages reads as a page and not as a program. There is nothing to wait with inside of a crank:
//! what is to happen when a promise has come to its end is a part of its own, named in a
//! [`watch`].
//!
//! What players say goes to a [`Scribe`], a vat of its own. A message takes its place behind those
//! that were sent in earlier records, so the scribe's list is the one order of the journal, whatever
//! vats the players are in.

use std::collections::BTreeMap;

use crankcase::Rejection;
use crankcase::raw::Vat;
use crankcase::raw::{Crank, Message, Notice, Object};
use crankcase::{Answer, ObjectId, Payload, Promise, Ref};
use serde::{Deserialize, Serialize};

/// What players hand to each other and remember.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Thing {
    /// Nothing.
    #[default]
    Nothing,
    /// Text.
    Text(String),
    /// An object or a promise.
    Reference(Promise),
    /// Several things.
    List(Vec<Thing>),
    /// Things with names.
    Record(BTreeMap<String, Thing>),
}

impl Thing {
    fn inside(&self, name: &str) -> Option<&Thing> {
        match self {
            Self::List(things) => things.get(name.parse::<usize>().ok()?),
            Self::Record(things) => things.get(name),
            _ => None,
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Nothing => "nothing".to_owned(),
            Self::Text(text) => text.clone(),
            Self::Reference(what) if what.object().is_some() => "an object".to_owned(),
            Self::Reference(what) if what.id().is_some() => "a promise".to_owned(),
            Self::Reference(_) => "a settled promise".to_owned(),
            Self::List(things) => format!("a list of {}", things.len()),
            Self::Record(things) => format!("a record of {}", things.len()),
        }
    }

    /// A reference that stands alone must be encoded alone: only then does it resolve a promise.
    fn payload(&self) -> Result<Payload, Rejection> {
        match self {
            Self::Reference(what) => Ok(what.clone().into()),
            other => Ok(Payload::of(other)?),
        }
    }

    fn of(payload: &Payload) -> Result<Self, Rejection> {
        match (payload.slots(), payload.bytes()) {
            ([_], [0]) => Ok(Self::Reference(payload.decode()?)),
            _ => Ok(payload.decode()?),
        }
    }
}

/// How a player comes by a thing.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Expr {
    /// It remembers it under that name; a further name or number leads into it.
    Path(Vec<String>),
    /// Text.
    Text(String),
    /// Several.
    List(Vec<Expr>),
    /// One under a name.
    Record(String, Box<Expr>),
}

/// Reads expressions with commas between them: `p`, `r.promise`, `r.0`, `'text'`, `[p, q]`,
/// `{name: p}`.
fn exprs(text: &str) -> Vec<Expr> {
    let (mut parts, mut depth, mut from) = (Vec::new(), 0, 0);
    for (at, letter) in text.char_indices() {
        match letter {
            '[' | '{' => depth += 1,
            ']' | '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[from..]);
    let parts = parts.into_iter().map(str::trim);
    parts.filter(|part| !part.is_empty()).map(expr).collect()
}

fn expr(text: &str) -> Expr {
    let between = |open, close| text.strip_prefix(open)?.strip_suffix(close);
    if let Some(text) = between('\'', '\'') {
        Expr::Text(text.to_owned())
    } else if let Some(list) = between('[', ']') {
        Expr::List(exprs(list))
    } else if let Some(record) = between('{', '}') {
        let (name, value) = record.split_once(':').expect("a record names what it has");
        Expr::Record(name.trim().to_owned(), Box::new(expr(value.trim())))
    } else {
        Expr::Path(text.split('.').map(str::to_owned).collect())
    }
}

/// One thing that a player does.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Play {
    /// Sends a message, and remembers the promise of its outcome.
    Send {
        /// Whom to.
        to: Expr,
        /// The part that the receiver has for it.
        method: String,
        /// What comes with it.
        args: Vec<Expr>,
        /// The name of the promise, if it is kept.
        keep_as: Option<String>,
    },
    /// Watches a promise.
    Watch {
        /// The promise.
        promise: Expr,
        /// The part to be played with what it comes to. When it is rejected the part of that name
        /// with `_rejected` behind it is played.
        then: String,
        /// The name of the promise of what the part answers, if it is kept.
        keep_as: Option<String>,
    },
    /// Makes a promise.
    Promise(String),
    /// Makes an object that has those parts.
    Object(String, Vec<Part>),
    /// Remembers a thing.
    Remember(String, Expr),
    /// Fulfils a promise.
    Fulfil(String, Expr),
    /// Rejects a promise.
    Reject(String, String),
    /// Has the scribe write that down. `{p}` stands for what p is, `{p == q}` for whether the two
    /// are one.
    Say(String),
    /// Answers, once all of the part is played.
    Answer(Expr),
    /// Abandons the crank.
    Refuse(String),
}

/// What a player does when a message of that name comes, or what it watched.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Part {
    method: String,
    params: Vec<String>,
    plays: Vec<Play>,
}

/// A part; `params` are the names for what comes with the message, with commas between them.
pub fn on(method: &str, params: &str, plays: impl Into<Vec<Play>>) -> Part {
    let params = params.split(',').map(str::trim);
    let params = params.filter(|name| !name.is_empty()).map(str::to_owned);
    Part {
        method: method.to_owned(),
        params: params.collect(),
        plays: plays.into(),
    }
}

/// Sends a message; nobody keeps the promise of its outcome.
#[must_use]
pub fn send(to: &str, method: &str, args: &str) -> Play {
    Play::Send {
        to: expr(to),
        method: method.to_owned(),
        args: exprs(args),
        keep_as: None,
    }
}

/// Sends a message and keeps the promise of its outcome under that name.
#[must_use]
pub fn ask(name: &str, to: &str, method: &str, args: &str) -> Play {
    Play::Send {
        to: expr(to),
        method: method.to_owned(),
        args: exprs(args),
        keep_as: Some(name.to_owned()),
    }
}

/// Watches a promise.
#[must_use]
pub fn watch(promise: &str, then: &str) -> Play {
    Play::Watch {
        promise: expr(promise),
        then: then.to_owned(),
        keep_as: None,
    }
}

/// Watches a promise and keeps the promise of what the part answers.
#[must_use]
pub fn watch_as(name: &str, promise: &str, then: &str) -> Play {
    Play::Watch {
        promise: expr(promise),
        then: then.to_owned(),
        keep_as: Some(name.to_owned()),
    }
}

/// Makes a promise.
#[must_use]
pub fn promise(name: &str) -> Play {
    Play::Promise(name.to_owned())
}

/// Makes an object.
#[must_use]
pub fn object(name: &str, parts: impl Into<Vec<Part>>) -> Play {
    Play::Object(name.to_owned(), parts.into())
}

/// Remembers a thing.
#[must_use]
pub fn remember(name: &str, what: &str) -> Play {
    Play::Remember(name.to_owned(), expr(what))
}

/// Fulfils a promise.
#[must_use]
pub fn fulfil(name: &str, what: &str) -> Play {
    Play::Fulfil(name.to_owned(), expr(what))
}

/// Rejects a promise.
#[must_use]
pub fn reject(name: &str, code: &str) -> Play {
    Play::Reject(name.to_owned(), code.to_owned())
}

/// Has the scribe write that down.
#[must_use]
pub fn say(what: &str) -> Play {
    Play::Say(what.to_owned())
}

/// Answers.
#[must_use]
pub fn answer(what: &str) -> Play {
    Play::Answer(expr(what))
}

/// Abandons the crank.
#[must_use]
pub fn refuse(code: &str) -> Play {
    Play::Refuse(code.to_owned())
}

/// Who a player is, and what it remembers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    name: String,
    memory: BTreeMap<String, Thing>,
}

/// The method by which a vat's root is told to make a player. It answers with the player.
pub const ENTER: &str = "enter";
/// The method by which a player is told of another.
pub const MEET: &str = "meet";
/// The method by which a vat's root is told that all of its players are to forget everything.
pub const LEAVE: &str = "leave";

const ROLE: &str = "role";

/// A vat of players: its root, and the objects in it.
///
/// The root remembers in the vat's state, and an object in its own: the two ways in which a vat can
/// hold a promise.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Player {
    scribe: Ref,
    root: Role,
    /// The number of the last object made.
    last: u64,
    /// The parts, by the number of the object. They hold nothing, so they do not stand in the
    /// objects' states.
    parts: BTreeMap<u64, Vec<Part>>,
}

/// A crank of one player.
struct Scene<'c, 'k> {
    cx: &'c Crank<'k>,
    role: &'c mut Role,
    player: &'c mut Player,
}

impl Scene<'_, '_> {
    fn thing(&self, what: &Expr) -> Result<Thing, Rejection> {
        Ok(match what {
            Expr::Path(names) => {
                let found = self.role.memory.get(&names[0]);
                let mut inside = names[1..].iter();
                let found = inside.try_fold(found, |thing, name| Some(thing?.inside(name)));
                let found = found.flatten().cloned();
                let why = || Rejection::new("remembers_nothing", names.join("."));
                found.ok_or_else(why)?
            }
            Expr::Text(text) => Thing::Text(text.clone()),
            Expr::List(items) => {
                let items = items.iter().map(|item| self.thing(item));
                Thing::List(items.collect::<Result<_, _>>()?)
            }
            Expr::Record(name, value) => Thing::Record([(name.clone(), self.thing(value)?)].into()),
        })
    }

    fn reference(&self, what: &Expr) -> Result<Promise, Rejection> {
        match self.thing(what)? {
            Thing::Reference(reference) => Ok(reference),
            other => Err(Rejection::new("no_reference", other.show())),
        }
    }

    fn remember(&mut self, name: &str, thing: Thing) {
        self.role.memory.insert(name.to_owned(), thing);
    }

    fn say(&self, text: &str) -> Result<(), Rejection> {
        let mut said = format!("{}: ", self.role.name);
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (inside, after) = after.split_once('}').unwrap_or((after, ""));
            said += before;
            said += &match inside.split_once("==") {
                Some((one, two)) => {
                    let (one, two) = (expr(one.trim()), expr(two.trim()));
                    (self.thing(&one)? == self.thing(&two)?).to_string()
                }
                None => self.thing(&expr(inside.trim()))?.show(),
            };
            rest = after;
        }
        said += rest;
        self.cx.send(self.player.scribe, Scribe::WRITE, &said);
        Ok(())
    }

    fn make(&mut self, name: &str, parts: &[Part]) -> Ref {
        let role = Role {
            name: name.to_owned(),
            memory: BTreeMap::new(),
        };
        let made = self.cx.object(ROLE, &role);
        self.player.last = made.object().number;
        self.player.parts.insert(self.player.last, parts.to_vec());
        made
    }

    /// Plays a part with what came, and gives what it answers.
    fn play(&mut self, part: &Part, came: Vec<Thing>) -> Answer {
        for (name, thing) in part.params.iter().zip(came) {
            self.remember(name, thing);
        }
        let mut says = Thing::Nothing;
        for play in &part.plays {
            self.step(play, &mut says)?;
        }
        says.payload()
    }

    fn step(&mut self, play: &Play, says: &mut Thing) -> Result<(), Rejection> {
        match play {
            Play::Send {
                to,
                method,
                args,
                keep_as,
            } => {
                let args = args.iter().map(|arg| self.thing(arg));
                let args = args.collect::<Result<Vec<_>, _>>()?;
                let result = self.cx.send(self.reference(to)?, method, &args);
                if let Some(name) = keep_as {
                    self.remember(name, Thing::Reference(result));
                }
            }
            Play::Watch {
                promise,
                then,
                keep_as,
            } => {
                let result = self.cx.watch(self.reference(promise)?, then, &());
                if let Some(name) = keep_as {
                    self.remember(name, Thing::Reference(result));
                }
            }
            Play::Promise(name) => self.remember(name, Thing::Reference(self.cx.promise())),
            Play::Object(name, parts) => {
                let made = self.make(&self.role.name.clone(), parts);
                self.remember(name, Thing::Reference(made.into()));
            }
            Play::Remember(name, what) => self.remember(name, self.thing(what)?),
            Play::Fulfil(name, what) => {
                let promise = self.reference(&expr(name))?;
                match self.thing(what)? {
                    Thing::Reference(reference) => self.cx.fulfil(&promise, &reference),
                    other => self.cx.fulfil(&promise, &other),
                }
            }
            Play::Reject(name, code) => {
                let promise = self.reference(&expr(name))?;
                let why = Rejection::new(code.clone(), "rejected by the script");
                self.cx.reject(&promise, why);
            }
            Play::Say(text) => self.say(text)?,
            Play::Answer(what) => *says = self.thing(what)?,
            Play::Refuse(code) => {
                return Err(Rejection::new(code.clone(), "refused by the script"));
            }
        }
        Ok(())
    }
}

/// What happens to a player.
enum Event {
    Message(String, Vec<Thing>),
    Outcome(String, crankcase::Outcome),
}

impl Player {
    /// Has one of the players do its part.
    fn act(&mut self, cx: &Crank<'_>, number: u64, role: &mut Role, event: Event) -> Answer {
        let parts = self.parts.get(&number).cloned().unwrap_or_default();
        let part = |method: &str| parts.iter().find(|part| part.method == method);
        let mut scene = Scene {
            cx,
            role,
            player: self,
        };
        match event {
            Event::Message(method, came) => match part(&method) {
                Some(part) => scene.play(part, came),
                None => Err(Rejection::new("no_such_part", method)),
            },
            Event::Outcome(then, Ok(value)) => match part(&then) {
                Some(part) => scene.play(part, vec![Thing::of(&value)?]),
                None => {
                    scene.say(&format!("{then}: was fulfilled all the same"))?;
                    Ok(Payload::empty())
                }
            },
            Event::Outcome(then, Err(why)) => match part(&format!("{then}_rejected")) {
                Some(part) => scene.play(part, vec![Thing::Text(why.code().to_owned())]),
                None => {
                    scene.say(&format!("{then}: was rejected with {}", why.code()))?;
                    Ok(Payload::empty())
                }
            },
        }
    }

    fn act_as(&mut self, cx: &Crank<'_>, number: u64, event: Event) -> Answer {
        if number == ObjectId::ROOT {
            let mut role = std::mem::take(&mut self.root);
            let said = self.act(cx, number, &mut role, event);
            self.root = role;
            return said;
        }
        let object = cx.read_object(number);
        let object = object.ok_or_else(|| Rejection::new("gone", "the player has gone"))?;
        let mut role = object.state()?;
        let said = self.act(cx, number, &mut role, event)?;
        cx.set_object(number, &role);
        Ok(said)
    }
}

impl Vat for Player {
    const KIND: &'static str = "player";
    const VERSION: u32 = 1;
    type Env = ();

    fn create(_cx: &Crank<'_>, _env: &(), start: &Message<'_>) -> Result<Self, Rejection> {
        let (scribe, name, parts): (Ref, String, Vec<Part>) = start.args()?;
        Ok(Self {
            scribe,
            root: Role {
                name,
                memory: BTreeMap::new(),
            },
            last: 0,
            parts: [(ObjectId::ROOT, parts)].into(),
        })
    }

    fn receive(&mut self, cx: &Crank<'_>, _env: &(), message: &Message<'_>) -> Answer {
        match message.method() {
            ENTER => {
                let (name, parts): (String, Vec<Part>) = message.args()?;
                let mut nobody = Role::default();
                let mut scene = Scene {
                    cx,
                    role: &mut nobody,
                    player: self,
                };
                Ok(scene.make(&name, &parts).into())
            }
            MEET => {
                let (name, who): (String, Ref) = message.args()?;
                let thing = Thing::Reference(who.into());
                self.root.memory.insert(name, thing);
                Ok(Payload::empty())
            }
            LEAVE => {
                self.root.memory.clear();
                for number in 1..=self.last {
                    if let Some(object) = cx.read_object(number) {
                        let mut role: Role = object.state()?;
                        role.memory.clear();
                        cx.set_object(number, &role);
                    }
                }
                Ok(Payload::empty())
            }
            method => {
                let event = Event::Message(method.to_owned(), message.args()?);
                self.act_as(cx, ObjectId::ROOT, event)
            }
        }
    }

    fn receive_at(
        &mut self,
        cx: &Crank<'_>,
        _env: &(),
        object: &Object,
        message: &Message<'_>,
    ) -> Answer {
        if message.method() == MEET {
            let (name, who): (String, Ref) = message.args()?;
            let mut role: Role = object.state()?;
            role.memory.insert(name, Thing::Reference(who.into()));
            cx.set_object(object.number(), &role);
            return Ok(Payload::empty());
        }
        let event = Event::Message(message.method().to_owned(), message.args()?);
        self.act_as(cx, object.number(), event)
    }

    fn notified(&mut self, cx: &Crank<'_>, _env: &(), notice: &Notice<'_>) -> Answer {
        let event = Event::Outcome(notice.method().to_owned(), notice.outcome().clone());
        self.act_as(cx, notice.object(), event)
    }

    /// Objects stay: a scenario goes on using those that only its own vat still remembers.
    fn dropped(&mut self, _cx: &Crank<'_>, _env: &(), _object: u64) -> Result<(), Rejection> {
        Ok(())
    }
}

/// A vat that writes down what players say, in the order in which it hears it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Scribe {
    /// What was said.
    pub said: Vec<String>,
}

impl Scribe {
    const WRITE: &'static str = "write";
}

impl Vat for Scribe {
    const KIND: &'static str = "scribe";
    const VERSION: u32 = 1;
    type Env = ();

    fn create(_cx: &Crank<'_>, _env: &(), _start: &Message<'_>) -> Result<Self, Rejection> {
        Ok(Self::default())
    }

    fn receive(&mut self, _cx: &Crank<'_>, _env: &(), message: &Message<'_>) -> Answer {
        self.said.push(message.args()?);
        Ok(Payload::empty())
    }
}
