//! A vat that plays the programs that messages bring: it sends, keeps, stores, watches, decides and
//! forges what they say, and writes down what it hears.
//!
//! A program is a text of statements, divided by `;` or line ends. Names stand for references: those
//! that came with the message, those that the program makes, those that the vat keeps, and `me` and
//! `this`.
//!
//! ```text
//! say WORD                      writes the word down
//! known NAME                    writes down what is known of a reference
//! same NAME NAME                writes down whether two references are the same
//! keep NAME …    forget NAME …  in the vat's state
//! store KEY NAME   load KEY NAME   erase KEY      in rows of its store
//! promise NAME …   fulfil NAME VALUE   reject NAME CODE
//! send NAME {PROGRAM} [with LIST] [as NAME]       a program for another player
//! ask NAME METHOD WORD [as NAME]                  a message that is no program
//! watch NAME TAG [{PROGRAM}] [with LIST] [as NAME]
//! object NAME   facet NAME NAME   remove NAME     objects beside the root
//! spawn NAME [{PROGRAM}] [with LIST]
//! answer VALUE   refuse CODE   panic   exit   fail
//! memorize NAME   recall NAME   a reference as numbers in the state, and made up again from them
//! gate NAME                     does what the test left in the yard
//! repeat COUNT {PROGRAM}        with `#` in it replaced by the number of the round
//!
//! VALUE: 'WORD, or NAME for a bare reference, or LIST for a list of them
//! LIST:  [NAME NAME=NAME …], the second form under another name
//! ```
//!
//! A program that runs because a watched promise came to its end finds it as `it`, or the parts of a
//! list as `it0`, `it1` and so on.

use std::collections::BTreeMap;
use std::sync::Arc;

use crankcase::raw::{Crank, Message, Notice, Object, Vat};
use crankcase::{
    Answer, Exit, ObjectId, Outcome, Payload, Promise, PromiseId, Ref, Rejection, Slot,
};
use serde::{Deserialize, Serialize};

use crate::yard::Yard;

/// A program on its way, with what its names stand for.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Play {
    /// The statements.
    pub program: String,
    /// What comes with them.
    pub with: BTreeMap<String, Promise>,
}

/// A value that is no bare reference.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Data {
    /// The text in it.
    pub text: String,
    /// The references in it.
    pub things: Vec<Promise>,
}

/// A reference as plain numbers, which are no reference to the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Plain {
    Object(ObjectId),
    Promise(PromiseId),
}

/// A vat that plays programs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Player {
    /// What it keeps, by name.
    pub kept: BTreeMap<String, Promise>,
    /// What it has written down, in order.
    pub log: Vec<String>,
    memory: BTreeMap<String, Plain>,
}

/// The method of messages that bring programs.
pub const PLAY: &str = "play";
/// How a line begins that says which object was dropped.
pub const DROPPED: &str = "dropped ";
/// The method of messages whose text is written down and answered with.
pub const SAY: &str = "say";

enum Token {
    Word(String),
    Block(String),
    List(Vec<String>),
}

fn bad(program: &str) -> Rejection {
    Rejection::new("bad_program", program)
}

/// The statements of a program.
fn statements(program: &str) -> Result<Vec<Vec<Token>>, Rejection> {
    let mut all = Vec::new();
    let mut tokens = Vec::new();
    let mut word = String::new();
    let mut chars = program.chars();
    while let Some(char) = chars.next() {
        if !char.is_whitespace() && !"{[;".contains(char) {
            word.push(char);
            continue;
        }
        if !word.is_empty() {
            tokens.push(Token::Word(std::mem::take(&mut word)));
        }
        match char {
            '{' => {
                let mut depth = 1;
                let mut block = String::new();
                for char in chars.by_ref() {
                    match char {
                        '{' => depth += 1,
                        '}' => depth -= 1,
                        _ => {}
                    }
                    if depth == 0 {
                        break;
                    }
                    block.push(char);
                }
                if depth > 0 {
                    return Err(bad(program));
                }
                tokens.push(Token::Block(block));
            }
            '[' => {
                let list: String = chars.by_ref().take_while(|char| *char != ']').collect();
                tokens.push(Token::List(
                    list.split_whitespace().map(str::to_owned).collect(),
                ));
            }
            ';' | '\n' => all.push(std::mem::take(&mut tokens)),
            _ => {}
        }
    }
    if !word.is_empty() {
        tokens.push(Token::Word(word));
    }
    all.push(tokens);
    all.retain(|tokens| !tokens.is_empty());
    Ok(all)
}

/// What is known of a reference, in words.
#[must_use]
pub fn describe(thing: &Promise) -> String {
    match (thing.object(), thing.outcome()) {
        (Some(object), _) => object.to_string(),
        (None, Some(outcome)) => described(&outcome),
        (None, None) => "open".to_owned(),
    }
}

/// An outcome in words: `'text`, a list of what stands in it, an object's name, or `no` and the code
/// of a rejection.
#[must_use]
pub fn described(outcome: &Outcome) -> String {
    let payload = match outcome {
        Err(rejection) => return format!("no {}", rejection.code()),
        Ok(payload) => payload,
    };
    if let ([0], [_]) = (payload.bytes(), payload.slots()) {
        return payload
            .decode()
            .map_or_else(|error| error.to_string(), |thing| describe(&thing));
    }
    match payload.decode::<Data>() {
        Ok(Data { text, things }) if things.is_empty() => format!("'{text}"),
        Ok(Data { things, .. }) => {
            let things: Vec<String> = things.iter().map(describe).collect();
            format!("[{}]", things.join(" "))
        }
        Err(error) => error.to_string(),
    }
}

/// One crank's go through a program.
struct Scene<'a, 'c> {
    cx: &'a Crank<'c>,
    yard: &'a Yard,
    names: BTreeMap<String, Promise>,
    answer: Option<Payload>,
}

impl Player {
    fn play(&mut self, cx: &Crank<'_>, yard: &Yard, play: Play) -> Answer {
        let mut scene = Scene {
            cx,
            yard,
            names: play.with,
            answer: None,
        };
        self.run(&mut scene, &play.program)?;
        match scene.answer {
            Some(answer) => Ok(answer),
            None => Ok(Payload::of(&data("done"))?),
        }
    }

    fn run(&mut self, scene: &mut Scene<'_, '_>, program: &str) -> Result<(), Rejection> {
        for statement in statements(program)? {
            self.statement(scene, statement)?;
        }
        Ok(())
    }

    fn find(&self, scene: &Scene<'_, '_>, name: &str) -> Result<Promise, Rejection> {
        let known = scene.names.get(name).or_else(|| self.kept.get(name));
        match (known, name) {
            (Some(known), _) => Ok(known.clone()),
            (None, "me") => Ok(scene.cx.me().into()),
            (None, "this") => Ok(scene.cx.this().into()),
            (None, _) => Err(Rejection::new("no_such_name", name)),
        }
    }

    fn find_all(
        &self,
        scene: &Scene<'_, '_>,
        list: &[String],
    ) -> Result<BTreeMap<String, Promise>, Rejection> {
        list.iter()
            .map(|entry| {
                let (name, from) = entry.split_once('=').unwrap_or((entry, entry));
                Ok((name.to_owned(), self.find(scene, from)?))
            })
            .collect()
    }

    fn value(&self, scene: &Scene<'_, '_>, token: &Token) -> Result<Payload, Rejection> {
        Ok(match token {
            Token::Word(word) => match word.strip_prefix('\'') {
                Some(text) => Payload::of(&data(text))?,
                None => self.find(scene, word)?.into(),
            },
            Token::List(names) => {
                let things = names.iter().map(|name| self.find(scene, name));
                let things = things.collect::<Result<_, _>>()?;
                let text = String::new();
                Payload::of(&Data { text, things })?
            }
            Token::Block(block) => return Err(bad(block)),
        })
    }

    /// Writes something down; an object's words bear its number.
    fn note(&mut self, cx: &Crank<'_>, text: &str) {
        let object = cx.this().object();
        self.log.push(match object.is_root() {
            true => text.to_owned(),
            false => format!("{}:{text}", object.number),
        });
    }

    fn statement(
        &mut self,
        scene: &mut Scene<'_, '_>,
        tokens: Vec<Token>,
    ) -> Result<(), Rejection> {
        let cx = scene.cx;
        let words: Vec<&str> = tokens
            .iter()
            .map_while(|token| match token {
                Token::Word(word) => Some(word.as_str()),
                _ => None,
            })
            .collect();
        let mut options = Options::default();
        let mut rest = tokens.iter();
        while let Some(token) = rest.next() {
            match token {
                Token::Block(block) => options.block = block.clone(),
                Token::Word(word) if word == "with" => {
                    if let Some(Token::List(list)) = rest.next() {
                        options.with = self.find_all(scene, list)?;
                    }
                }
                Token::Word(word) if word == "as" => {
                    if let Some(Token::Word(name)) = rest.next() {
                        options.result = Some(name.clone());
                    }
                }
                _ => {}
            }
        }
        let play = Play {
            program: options.block.clone(),
            with: options.with,
        };
        let mut made = None;
        match words.as_slice() {
            ["say", word] => self.note(cx, word),
            ["known", name] => {
                let text = format!("{name} is {}", describe(&self.find(scene, name)?));
                self.note(cx, &text);
            }
            ["same", one, two] => {
                let same = self.find(scene, one)? == self.find(scene, two)?;
                self.note(cx, if same { "same" } else { "another" });
            }
            ["keep", names @ ..] => {
                for name in names {
                    let thing = self.find(scene, name)?;
                    self.kept.insert((*name).to_owned(), thing);
                }
            }
            ["forget", names @ ..] => {
                for name in names {
                    self.kept.remove(*name);
                }
            }
            ["store", key, name] => cx.set_holding(key.as_bytes(), &self.find(scene, name)?),
            ["load", key, name] => {
                let row = cx.get_holding(key.as_bytes())?;
                let row = row.ok_or_else(|| Rejection::new("no_such_row", *key))?;
                scene.names.insert((*name).to_owned(), row);
            }
            ["erase", key] => cx.delete_holding(key.as_bytes()),
            ["promise", names @ ..] => {
                for name in names {
                    scene.names.insert((*name).to_owned(), cx.promise());
                }
            }
            ["fulfil", name, ..] => {
                let promise = self.find(scene, name)?;
                let value = tokens.get(2).ok_or_else(|| bad("fulfil"))?;
                let value = self.value(scene, value)?;
                fulfil(cx, &promise, &value)?;
            }
            ["reject", name, code] => {
                cx.reject(&self.find(scene, name)?, Rejection::new(*code, ""));
            }
            ["send", to, ..] => made = Some(cx.send(&self.find(scene, to)?, PLAY, &play)),
            ["ask", to, method, word, ..] => {
                made = Some(cx.send(&self.find(scene, to)?, method, &data(word)));
            }
            ["watch", on, tag, ..] => {
                made = Some(cx.watch(&self.find(scene, on)?, tag, &play));
            }
            ["object", name] => {
                let object = cx.object("thing", &());
                scene.names.insert((*name).to_owned(), object.into());
            }
            ["facet", name, to] => {
                let object = cx.object("facet", &self.find(scene, to)?);
                scene.names.insert((*name).to_owned(), object.into());
            }
            ["remove", name] => {
                if let Some(object) = self.find(scene, name)?.object() {
                    cx.remove_object(object.object().number);
                }
            }
            ["spawn", name, ..] => {
                let vat = cx.spawn(Self::KIND, &play);
                scene.names.insert((*name).to_owned(), vat.into());
            }
            ["answer", ..] => {
                let value = tokens.get(1).ok_or_else(|| bad("answer"))?;
                scene.answer = Some(self.value(scene, value)?);
            }
            ["refuse", code] => return Err(Rejection::new(*code, "refused on purpose")),
            ["panic"] => panic!("a player panics on purpose"),
            ["exit"] => cx.exit(Exit::Success),
            ["fail"] => cx.exit(Exit::Failure),
            ["memorize", name] => {
                let plain = match self.find(scene, name)?.slot() {
                    Slot::Object(object) => Plain::Object(*object),
                    Slot::Promise(promise) => Plain::Promise(*promise),
                    Slot::Settled(_) => return Err(Rejection::new("settled", *name)),
                };
                self.memory.insert((*name).to_owned(), plain);
            }
            ["recall", name] => {
                let thing = match self.memory.get(*name) {
                    Some(Plain::Object(object)) => Ref::to(*object).into(),
                    Some(Plain::Promise(promise)) => Promise::pending(*promise),
                    None => return Err(Rejection::new("no_such_name", *name)),
                };
                scene.names.insert((*name).to_owned(), thing);
            }
            ["gate", name] => scene.yard.call(name),
            ["repeat", count] => {
                let count: usize = count.parse().map_err(|_| bad(count))?;
                for round in 0..count {
                    let block = options.block.replace('#', &round.to_string());
                    self.run(scene, &block)?;
                }
            }
            other => return Err(bad(&other.join(" "))),
        }
        if let (Some(made), Some(name)) = (made, options.result) {
            scene.names.insert(name, made);
        }
        Ok(())
    }
}

#[derive(Default)]
struct Options {
    block: String,
    with: BTreeMap<String, Promise>,
    result: Option<String>,
}

/// The value that a text is.
#[must_use]
pub fn data(text: &str) -> Data {
    Data {
        text: text.to_owned(),
        things: Vec::new(),
    }
}

fn fulfil(cx: &Crank<'_>, promise: &Promise, value: &Payload) -> Result<(), Rejection> {
    if let ([0], [_]) = (value.bytes(), value.slots()) {
        cx.fulfil(promise, &value.decode::<Promise>()?);
    } else {
        cx.fulfil(promise, &value.decode::<Data>()?);
    }
    Ok(())
}

impl Vat for Player {
    const KIND: &'static str = "player";
    const VERSION: u32 = 1;
    type Env = Arc<Yard>;

    fn create(cx: &Crank<'_>, yard: &Arc<Yard>, start: &Message<'_>) -> Result<Self, Rejection> {
        let mut player = Self::default();
        player.play(cx, yard, start.args()?)?;
        Ok(player)
    }

    fn receive(&mut self, cx: &Crank<'_>, yard: &Arc<Yard>, message: &Message<'_>) -> Answer {
        match message.method() {
            PLAY => self.play(cx, yard, message.args()?),
            SAY => {
                let said: Data = message.args()?;
                self.note(cx, &said.text);
                Ok(Payload::of(&said)?)
            }
            other => Err(Rejection::new("no_such_method", other)),
        }
    }

    fn receive_at(
        &mut self,
        cx: &Crank<'_>,
        yard: &Arc<Yard>,
        object: &Object,
        message: &Message<'_>,
    ) -> Answer {
        match (object.kind(), message.method()) {
            ("facet", SAY) => {
                let behind: Promise = object.state()?;
                Ok(cx.send(&behind, SAY, &message.args::<Data>()?).into())
            }
            ("facet", other) => Err(Rejection::new("not_offered", other)),
            _ => self.receive(cx, yard, message),
        }
    }

    fn notified(&mut self, cx: &Crank<'_>, yard: &Arc<Yard>, notice: &Notice<'_>) -> Answer {
        let text = format!("{}: {}", notice.method(), described(notice.outcome()));
        self.note(cx, &text);
        let mut play: Play = notice.context()?;
        if let Ok(value) = notice.outcome() {
            if let ([0], [_]) = (value.bytes(), value.slots()) {
                play.with.insert("it".to_owned(), value.decode()?);
            } else if let Ok(data) = value.decode::<Data>() {
                for (at, thing) in data.things.into_iter().enumerate() {
                    play.with.insert(format!("it{at}"), thing);
                }
            }
        }
        self.play(cx, yard, play)
    }

    fn dropped(&mut self, cx: &Crank<'_>, _yard: &Arc<Yard>, object: u64) -> Result<(), Rejection> {
        self.log.push(format!("{DROPPED}{object}"));
        if !cx.keeps_object(object) {
            cx.remove_object(object);
        }
        Ok(())
    }
}
