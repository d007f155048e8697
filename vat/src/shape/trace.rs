//! What is known of a type, and what is handed over in the next pass over it.
//!
//! **What is known** is a tree of [`Node`]s: one for each place in a value where something of its
//! own is asked for. All elements of a sequence are one place. A place that holds a type which
//! stands around it already is a [`Kind::Back`], and the tree ends there.
//!
//! **A pass** runs `Deserialize` once. It picks, in each place that leaves a choice (which variant,
//! whether there is something, how many, which number), what leads to places not seen yet. Where
//! nothing is left to see, and inside of a `Back`, it picks what is shortest. So each pass that
//! succeeds sees something new, and the work is done when there is nothing new left.
//!
//! **A pass that fails** and saw something new is as good. Otherwise a place is to [`Blame`]: the
//! innermost whose reading ended with the error. The choices that were made inside of it are
//! varied, one after the other and then together, until it takes them. What it took stays the
//! choice. There are two exceptions. A place that took its values before, when those around it did
//! not search, is at the mercy of the one that does. And a value that would have no end, because
//! it always contains one of its own type, can be due to a choice further out.
//!
//! Everything is bounded: places, depth, the choices tried for one place, and the steps of all
//! passes together.

use std::any::{Any, type_name};
use std::panic::{AssertUnwindSafe, catch_unwind};

use rustc_hash::{FxHashMap, FxHashSet};
use serde::de::DeserializeOwned;

use super::hand::{Hand, Stop};
use super::{NoShape, ShapeError};

/// The place of the whole value.
pub(super) const ROOT: usize = 0;

/// How deep places may be nested; what a stack of 2 MiB has room for in a debug build.
const DEEPEST: usize = 128;
const MOST_NODES: usize = 1 << 17;
const MOST_STEPS: usize = 1 << 21;
/// How many times choices are varied one by one, and how many times all together.
const MOST_TURNS: usize = 1000;
const MOST_MIXES: usize = 500;

/// What is asked for in a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing (yet).
    Nothing,
    /// A value without parts.
    Leaf(&'static str),
    Newtype,
    Option,
    Seq,
    Map,
    Tuple,
    Struct(&'static [&'static str]),
    /// Its parts are its variants, and their kind is that of what they hold.
    Enum(&'static [&'static str]),
    /// A variant that has a name, but whose index is refused.
    Refused,
    /// The type of the node of that number, which stands around this one.
    Back(usize),
}

pub(super) struct Node {
    parent: usize,
    pub(super) kind: Kind,
    pub(super) parts: Vec<usize>,
    /// What reads it, if that has a name in serde's eyes. It tells types apart.
    visitor: &'static str,
    type_name: &'static str,
    /// When it was first read to its end, counted in news; 0 for never.
    pub(super) read_at: usize,
    /// Whether it and all that it consists of was read.
    complete: bool,
    /// Which of its choices is handed over.
    offer: usize,
    search: Search,
}

/// The varying of the choices inside of a place, until it takes them.
#[derive(Default)]
struct Search {
    /// How many new things had been seen. It begins anew with the next.
    news: usize,
    tries: usize,
    limit: usize,
    /// What the place said before.
    said: String,
    /// What was handed over before, where something else was since.
    before: FxHashMap<usize, usize>,
    /// Whether it began since a value had no end, which no number helps against.
    endless: bool,
    /// Whether it was ever read inside of its own type, so that choices further out may help.
    inside: bool,
    /// Whether it was in vain.
    spent: bool,
}

/// Who ended a pass.
struct Blame {
    node: usize,
    /// How many choices had been made when its reading began.
    start: usize,
    said: String,
    /// Whether it would have gone on for ever.
    endless: bool,
    /// Whether that was inside of its own type.
    inside: bool,
}

pub(super) struct Trace {
    pub(super) nodes: Vec<Node>,
    /// The places that are being read, with how many choices had been made before.
    stack: Vec<(usize, usize)>,
    /// The choices of this pass: where, and out of how many.
    choices: Vec<(usize, usize)>,
    blame: Option<Blame>,
    /// What no other choice will help against.
    fatal: Option<ShapeError>,
    /// How many new things were seen.
    news: usize,
    steps: usize,
}

impl Trace {
    pub(super) fn new() -> Self {
        let mut trace = Self {
            nodes: Vec::new(),
            stack: Vec::new(),
            choices: Vec::new(),
            blame: None,
            fatal: None,
            news: 0,
            steps: 0,
        };
        trace.push_node(ROOT);
        trace
    }

    pub(super) fn is_complete(&mut self) -> bool {
        self.complete(ROOT)
    }

    /// Reads a `T` once.
    pub(super) fn pass<T: DeserializeOwned>(&mut self) -> Result<(), ShapeError> {
        let news = self.news;
        self.stack.clear();
        self.choices.clear();
        self.blame = None;
        // Nothing of what a panic interrupts is used afterwards, but for where it was.
        let read = AssertUnwindSafe(|| {
            let hand = |trace: &mut Self| T::deserialize(Hand::new(trace, ROOT, false)).map(drop);
            self.enter(ROOT, type_name::<T>(), hand)
        });
        let end = catch_unwind(read);
        if let Some(error) = self.fatal.take() {
            return Err(error);
        }
        match end {
            Err(panic) => {
                let node = self.stack.last().map_or(ROOT, |&(node, _)| node);
                let said = panic_text(panic.as_ref());
                Err(self.error(node, NoShape::Panics { said }))
            }
            Ok(_) if self.news > news => Ok(()),
            Ok(Err(Stop(said))) => self.vary(said),
            Ok(Ok(())) if self.is_complete() => Ok(()),
            Ok(Ok(())) => {
                let mut node = ROOT;
                while let Some(part) = self.incomplete_part(node) {
                    node = part;
                }
                let said = "it was not asked for again".to_owned();
                Err(self.error(node, NoShape::Refuses { said }))
            }
        }
    }

    /// Reads what stands in a place.
    pub(super) fn enter<R>(
        &mut self,
        node: usize,
        type_name: &'static str,
        read: impl FnOnce(&mut Self) -> Result<R, Stop>,
    ) -> Result<R, Stop> {
        self.steps += 1;
        if self.steps > MOST_STEPS || self.stack.len() == DEEPEST {
            return Err(self.fail(NoShape::TooLarge));
        }
        self.nodes[node].type_name = type_name;
        self.stack.push((node, self.choices.len()));
        let result = read(self);
        match &result {
            Ok(_) => self.was_read(node),
            Err(Stop(said)) if self.blame.is_none() => self.put_blame(said, false),
            Err(_) => {}
        }
        self.stack.pop();
        result
    }

    fn was_read(&mut self, node: usize) {
        // Whoever swallowed an error inside took the blame from it.
        self.blame = None;
        let found = &mut self.nodes[node];
        if found.read_at == 0 {
            self.news += 1;
            found.read_at = self.news;
            let parent = found.parent;
            if let Kind::Enum(_) = self.nodes[parent].kind {
                // There is one variant more, or one less to be seen: its choices are others now.
                self.nodes[parent].offer = 0;
            }
        }
        let around = &self.stack[..self.stack.len() - 1];
        // Inside of itself it may have been read while outside it is still searching.
        if !around.iter().any(|&(other, _)| other == node) {
            self.nodes[node].search = Search::default();
        }
    }

    /// Notes what is asked for in a place.
    pub(super) fn note(&mut self, node: usize, kind: Kind) -> Result<(), Stop> {
        let found = &mut self.nodes[node];
        if found.kind == kind {
            return Ok(());
        }
        if found.kind != Kind::Nothing || found.read_at > 0 {
            let (before, now) = (found.kind.to_string(), kind.to_string());
            return Err(self.fail(NoShape::Wavers { before, now }));
        }
        found.kind = kind;
        self.news += 1;
        if let Kind::Enum(names) = kind {
            for index in 0..names.len() {
                self.part(node, index)?;
            }
        }
        Ok(())
    }

    /// Notes that a type with a name is asked for. Returns the place where it stands in the tree,
    /// which is further out when it contains itself.
    pub(super) fn note_type(
        &mut self,
        node: usize,
        kind: Kind,
        visitor: &'static str,
    ) -> Result<usize, Stop> {
        if self.nodes[node].kind == Kind::Nothing {
            let mut outer = node;
            while outer != ROOT {
                outer = self.nodes[outer].parent;
                if self.nodes[outer].visitor == visitor && self.nodes[outer].kind == kind {
                    self.note(node, Kind::Back(outer))?;
                    break;
                }
            }
        }
        if let Kind::Back(outer) = self.nodes[node].kind {
            let around = &self.stack[..self.stack.len() - 1];
            if around.iter().any(|&(other, _)| other == node) {
                // In here the shortest is picked, so what led here once would lead here again.
                let said = "a value of it would never end";
                self.put_blame(said, true);
                return Err(Stop(said.to_owned()));
            }
            self.note(outer, kind)?;
            return Ok(outer);
        }
        self.note(node, kind)?;
        self.nodes[node].visitor = visitor;
        Ok(node)
    }

    /// Notes that a variant has a name but no index.
    pub(super) fn note_refusal(&mut self, variant: usize) {
        if self.nodes[variant].read_at == 0 {
            self.nodes[variant].kind = Kind::Refused;
            self.was_read(variant);
        }
    }

    /// The place of a part.
    pub(super) fn part(&mut self, node: usize, index: usize) -> Result<usize, Stop> {
        while self.nodes[node].parts.len() <= index {
            if self.nodes.len() == MOST_NODES {
                return Err(self.fail(NoShape::TooLarge));
            }
            let part = self.push_node(node);
            self.nodes[node].parts.push(part);
        }
        Ok(self.nodes[node].parts[index])
    }

    fn push_node(&mut self, parent: usize) -> usize {
        self.nodes.push(Node {
            parent,
            kind: Kind::Nothing,
            parts: Vec::new(),
            visitor: "",
            type_name: "",
            read_at: 0,
            complete: false,
            offer: 0,
            search: Search::default(),
        });
        self.nodes.len() - 1
    }

    /// Whether all of it was seen.
    pub(super) fn complete(&mut self, node: usize) -> bool {
        if !self.nodes[node].complete && self.nodes[node].read_at > 0 {
            self.nodes[node].complete = self.incomplete_part(node).is_none();
        }
        self.nodes[node].complete
    }

    fn incomplete_part(&mut self, node: usize) -> Option<usize> {
        for index in 0..self.nodes[node].parts.len() {
            let part = self.nodes[node].parts[index];
            if !self.complete(part) {
                return Some(part);
            }
        }
        None
    }

    /// Picks one of that many.
    pub(super) fn pick(&mut self, node: usize, count: usize) -> usize {
        self.choices.push((node, count));
        self.nodes[node].offer % count
    }

    /// The variants to pick from.
    pub(super) fn variants(&mut self, node: usize, shortest: bool) -> Vec<usize> {
        let all = 0..self.nodes[node].parts.len();
        let unseen = all.filter(|&index| !self.complete(self.nodes[node].parts[index]));
        let unseen: Vec<usize> = unseen.collect();
        if !shortest && !unseen.is_empty() {
            return unseen;
        }
        // One that was read before all others was read without them, and will be again.
        let variant = |&index: &usize| &self.nodes[self.nodes[node].parts[index]];
        let mut picks: Vec<usize> = (0..self.nodes[node].parts.len())
            .filter(|index| variant(index).read_at > 0 && variant(index).kind != Kind::Refused)
            .collect();
        picks.sort_by_key(|index| variant(index).read_at);
        picks.extend(unseen);
        picks
    }

    /// The choices made since then that could have been others, the last first.
    fn choices_since(
        &self,
        start: usize,
        endless: bool,
    ) -> impl Iterator<Item = (usize, usize)> + '_ {
        let made = self.choices[start..].iter().rev().copied();
        // No number makes a value end.
        let helps = move |node: usize| !endless || !matches!(self.nodes[node].kind, Kind::Leaf(_));
        made.filter(move |&(node, count)| count > 1 && helps(node))
    }

    /// The search that is under way in a place.
    fn search(&self, node: usize) -> Option<&Search> {
        let search = &self.nodes[node].search;
        (search.tries > 0 && search.news == self.news).then_some(search)
    }

    /// Puts the blame on a place that is being read.
    fn put_blame(&mut self, said: &str, endless: bool) {
        let Some(&top) = self.stack.last() else {
            return;
        };
        let frames = self.stack.iter().rev().copied();
        let mut open = frames.filter(|&(node, start)| {
            let search = self.search(node);
            let endless = search.map_or(endless, |search| search.endless);
            !search.is_some_and(|search| search.spent)
                && self.choices_since(start, endless).next().is_some()
        });
        let further_out = endless || self.search(top.0).is_some_and(|search| search.spent);
        let mut blamed = None;
        if further_out || self.nodes[top.0].read_at > 0 {
            let mut searching = open.clone();
            blamed = searching.find(|&(node, _)| self.search(node).is_some());
        }
        if further_out {
            blamed = blamed.or_else(|| open.next());
        }
        let (node, start) = blamed.unwrap_or(top);
        let is_back = |&(node, _): &(usize, usize)| matches!(self.nodes[node].kind, Kind::Back(_));
        self.blame = Some(Blame {
            node,
            start,
            said: said.to_owned(),
            endless,
            inside: endless || self.stack.iter().any(is_back),
        });
    }

    /// Varies the choices inside of the place that is to blame.
    fn vary(&mut self, said: String) -> Result<(), ShapeError> {
        let Some(blame) = self.blame.take() else {
            return Err(self.error(ROOT, NoShape::Refuses { said }));
        };
        let node = blame.node;
        if self.search(node).is_none() {
            self.nodes[node].search = Search {
                news: self.news,
                said: blame.said,
                endless: blame.endless,
                ..Search::default()
            };
        }
        let mut search = std::mem::take(&mut self.nodes[node].search);
        for (&choice, &before) in &search.before {
            self.nodes[choice].offer = before;
        }
        let mut seen = FxHashSet::default();
        let choices: Vec<(usize, usize)> = self
            .choices_since(blame.start, search.endless)
            .filter(|&(choice, _)| seen.insert(choice))
            .collect();
        let turns: usize = choices.iter().map(|&(_, count)| count - 1).sum();
        let turns = turns.min(MOST_TURNS);
        let mixes = if choices.len() > 1 { MOST_MIXES } else { 0 };
        // What is chosen decides what else there is to choose from.
        search.limit = search.limit.max(turns + mixes);
        search.inside |= blame.inside;
        search.tries += 1;
        if search.tries > search.limit {
            if !search.inside || search.spent || choices.is_empty() {
                return Err(self.error(node, NoShape::Refuses { said: search.said }));
            }
            search.spent = true;
        } else {
            let mut left = search.tries;
            for (rank, (choice, count)) in choices.into_iter().enumerate() {
                let shift = match left {
                    _ if search.tries > turns => mix(search.tries, rank) % count,
                    _ if left < count => left,
                    _ => 0,
                };
                left = left.saturating_sub(count - 1);
                let offer = &mut self.nodes[choice].offer;
                *offer = shift + *search.before.entry(choice).or_insert(*offer);
            }
        }
        self.nodes[node].search = search;
        Ok(())
    }

    /// Ends all passes. The place is the one that is being read.
    pub(super) fn fail(&mut self, why: NoShape) -> Stop {
        let node = self.stack.last().map_or(ROOT, |&(node, _)| node);
        let said = why.to_string();
        let error = self.error(node, why);
        self.fatal.get_or_insert(error);
        Stop(said)
    }

    pub(super) fn error(&self, node: usize, why: NoShape) -> ShapeError {
        let mut steps = Vec::new();
        let mut inner = node;
        while inner != ROOT {
            let outer = self.nodes[inner].parent;
            let parts = &self.nodes[outer].parts;
            let index = parts.iter().position(|&part| part == inner).unwrap_or(0);
            steps.push(match self.nodes[outer].kind {
                Kind::Struct(names) => format!(".{}", names.get(index).unwrap_or(&"?")),
                Kind::Tuple => format!(".{index}"),
                Kind::Seq => "[]".to_owned(),
                Kind::Map => ["{key}", "{value}"][index.min(1)].to_owned(),
                Kind::Enum(names) => format!("::{}", names.get(index).unwrap_or(&"?")),
                _ => String::new(),
            });
            inner = outer;
        }
        steps.reverse();
        let path = steps.concat();
        ShapeError {
            type_name: self.nodes[node].type_name,
            path: path.trim_start_matches(['.', ':']).to_owned(),
            why,
        }
    }

    pub(super) fn type_name(&self, node: usize) -> &'static str {
        self.nodes[node].type_name
    }

    /// The kind of what stands in a place, past the newtypes around it.
    pub(super) fn unwrapped(&self, mut node: usize) -> Kind {
        while self.nodes[node].kind == Kind::Newtype {
            node = self.nodes[node].parts[0];
        }
        self.nodes[node].kind
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Nothing | Self::Refused => "nothing",
            Self::Leaf(name) => name,
            Self::Newtype => "a newtype struct",
            Self::Option => "an option",
            Self::Seq => "a sequence",
            Self::Map => "a map",
            Self::Tuple => "a tuple",
            Self::Struct(_) => "a struct",
            Self::Enum(_) => "an enum",
            Self::Back(_) => "what stands around it",
        })
    }
}

/// A number that looks like chance and is the same each time.
fn mix(tries: usize, rank: usize) -> usize {
    let seed = (tries as u64) << 32 | rank as u64;
    let mixed = (seed ^ seed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    ((mixed ^ mixed >> 32).wrapping_mul(0x94d0_49bb_1331_11eb) >> 33) as usize
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default()
}
