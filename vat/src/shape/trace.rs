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
//! **A pass that fails** and saw something new is as good. Otherwise the innermost place whose
//! reading ended with the error is to blame, and a [`Search`] begins there: the choices that were
//! made inside of it are varied, one after the other and then together, until it takes them. What
//! it took stays the choice. Two things may be to blame in its stead:
//!
//! - A search further out, or elsewhere, that varied what the place had taken before.
//! - A variant further out. A value that contains one of its own type, and so on for ever, ends
//!   only where another variant is picked. Which one leads to no end is learned from the
//!   innermost outwards, and forgotten when something new is seen ([`Trace::block`]).
//!
//! This is no proof: a value that is checked in many ways at once is not always found, and one that
//! is checked and contains its own type is found less often. Then there is an error, not a wrong
//! shape.
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
/// How often a place is read in all passes together.
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
    pub(super) type_name: &'static str,
    /// When it was first read to its end, counted in news; 0 for never.
    read_at: usize,
    /// Whether it and all that it consists of was read.
    complete: bool,
    /// What is handed over where new things are looked for, and where the shortest is.
    offers: [Offer; 2],
}

/// A node as it is read: either to see what is new, or the shortest way, inside of a `Back`.
/// Neither way disturbs what the other has found.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) node: usize,
    pub(super) shortest: bool,
}

impl Place {
    pub(super) const ROOT: Self = Self {
        node: ROOT,
        shortest: false,
    };
}

/// What is handed over in a place.
#[derive(Default)]
struct Offer {
    /// Which of the choices.
    choice: usize,
    was_taken: bool,
    search: Search,
}

/// The varying of the choices inside of a place, until it takes them.
#[derive(Default)]
struct Search {
    tries: usize,
    limit: usize,
    /// What the place said before.
    said: String,
    /// What was handed over before, where something else was since.
    before: FxHashMap<Place, usize>,
}

/// What ended a pass.
struct Blame {
    /// The places that were being read, as in [`Trace::stack`].
    stack: Vec<(Place, usize)>,
    said: String,
    /// Whether it would have gone on for ever.
    endless: bool,
}

pub(super) struct Trace {
    pub(super) nodes: Vec<Node>,
    /// The places that are being read, with how many choices had been made before.
    stack: Vec<(Place, usize)>,
    /// The choices of this pass: where, and out of how many.
    choices: Vec<(Place, usize)>,
    blame: Option<Blame>,
    /// Variants that lead to no end, as far as is known after so many news.
    blocked: FxHashSet<usize>,
    /// Where a search began since then, and how many those news are.
    searches: Vec<Place>,
    known: usize,
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
            blocked: FxHashSet::default(),
            searches: Vec::new(),
            known: 0,
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
        if self.known != news {
            self.known = news;
            self.blocked.clear();
            self.end_searches();
        }
        // Nothing of what a panic interrupts is used afterwards, but for where it was.
        let read = AssertUnwindSafe(|| {
            let hand = |trace: &mut Self| T::deserialize(Hand::new(trace, Place::ROOT)).map(drop);
            self.enter(Place::ROOT, type_name::<T>(), hand)
        });
        let end = catch_unwind(read);
        if let Some(error) = self.fatal.take() {
            return Err(error);
        }
        match end {
            Err(panic) => {
                let said = panic_text(panic.as_ref());
                Err(self.error(self.innermost(), NoShape::Panics { said }))
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
        place: Place,
        type_name: &'static str,
        read: impl FnOnce(&mut Self) -> Result<R, Stop>,
    ) -> Result<R, Stop> {
        self.steps += 1;
        if self.steps > MOST_STEPS || self.stack.len() == DEEPEST {
            return Err(self.fail(NoShape::TooLarge));
        }
        self.nodes[place.node].type_name = type_name;
        self.stack.push((place, self.choices.len()));
        let result = read(self);
        match &result {
            Ok(_) => self.was_read(place),
            Err(Stop(said)) if self.blame.is_none() => self.put_blame(said, false),
            Err(_) => {}
        }
        self.stack.pop();
        result
    }

    fn was_read(&mut self, place: Place) {
        // Whoever swallowed an error inside took the blame from it.
        self.blame = None;
        let found = &mut self.nodes[place.node];
        if found.read_at == 0 {
            self.news += 1;
            found.read_at = self.news;
            let parent = found.parent;
            if let Kind::Enum(_) = self.nodes[parent].kind {
                // There is one variant more, or one less to be seen: its choices are others now.
                for offer in &mut self.nodes[parent].offers {
                    offer.choice = 0;
                }
            }
        }
        let offer = self.offer(place);
        offer.was_taken = true;
        let mut search = std::mem::take(&mut offer.search);
        if search.tries > 0 {
            // It says nothing about what was not asked for this time.
            let start = self.stack.last().map_or(0, |&(_, start)| start);
            for (made, _) in self.choices[start..].iter().filter(|made| made.1 > 1) {
                search.before.remove(made);
            }
            self.take_back(&search);
        }
    }

    fn offer(&mut self, place: Place) -> &mut Offer {
        &mut self.nodes[place.node].offers[usize::from(place.shortest)]
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
            if around.iter().any(|&(other, _)| other.node == node) {
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
            self.was_read(Place {
                node: variant,
                shortest: false,
            });
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
            offers: Default::default(),
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
    pub(super) fn pick(&mut self, place: Place, count: usize) -> usize {
        self.choices.push((place, count));
        self.offer(place).choice % count
    }

    /// The variants to pick from.
    pub(super) fn variants(&mut self, Place { node, shortest }: Place) -> Vec<usize> {
        let parts = self.nodes[node].parts.clone();
        let all = 0..parts.len();
        let unseen: Vec<usize> = all
            .clone()
            .filter(|&at| !self.complete(parts[at]))
            .collect();
        let variant = |&at: &usize| &self.nodes[parts[at]];
        let mut picks: Vec<usize> = all
            .filter(|at| variant(at).read_at > 0 && variant(at).kind != Kind::Refused)
            .collect();
        // One that was read before all others was read without them, and will be again.
        picks.sort_by_key(|at| variant(at).read_at);
        if shortest || unseen.is_empty() {
            picks.extend(unseen);
        } else {
            picks = unseen;
        }
        let is_open = |at: &usize| !self.blocked.contains(&parts[*at]);
        if picks.iter().any(is_open) {
            picks.retain(is_open);
        }
        picks
    }

    /// Keeps the innermost variant from being picked again that another can stand in for. Says
    /// whether there is one.
    fn block(&mut self, stack: &[(Place, usize)]) -> bool {
        stack.iter().rev().any(|&(Place { node, .. }, _)| {
            let parent = &self.nodes[self.nodes[node].parent];
            let mut others = parent.parts.iter();
            matches!(parent.kind, Kind::Enum(_))
                && self.blocked.insert(node)
                && others.any(|other| {
                    self.nodes[*other].kind != Kind::Refused && !self.blocked.contains(other)
                })
        })
    }

    fn put_blame(&mut self, said: &str, endless: bool) {
        self.blame = Some(Blame {
            stack: self.stack.clone(),
            said: said.to_owned(),
            endless,
        });
    }

    /// Varies the choices inside of the place that is to blame.
    fn vary(&mut self, said: String) -> Result<(), ShapeError> {
        let Some(Blame {
            stack,
            said,
            endless,
        }) = self.blame.take()
        else {
            return Err(self.error(ROOT, NoShape::Refuses { said }));
        };
        let searching = stack.iter().any(|&(place, _)| self.is_searching(place));
        let top = stack.last().map_or(Place::ROOT, |&(place, _)| place);
        if !searching && (endless || self.offer(top).was_taken) {
            // Something that was tried elsewhere may be in the way.
            if self.pause_searches() || endless && self.block(&stack) {
                return Ok(());
            }
        }
        let mut spent = None;
        for (depth, &(place, start)) in stack.iter().enumerate().rev() {
            let is_top = depth + 1 == stack.len();
            let is_others = searching && (endless || self.offer(place).was_taken);
            if !self.is_searching(place) && (!is_top || is_others) {
                continue;
            }
            if self.turn(place, start, &said) {
                return Ok(());
            }
            spent.get_or_insert((depth, place));
        }
        let (depth, place) = spent.unwrap_or((0, Place::ROOT));
        if place.shortest && self.block(&stack[..depth]) {
            self.end_searches();
            return Ok(());
        }
        let said = std::mem::take(&mut self.offer(place).search.said);
        Err(self.error(place.node, NoShape::Refuses { said }))
    }

    /// Hands over something else in a place. Says no when all has been tried.
    fn turn(&mut self, place: Place, start: usize, said: &str) -> bool {
        let mut search = std::mem::take(&mut self.offer(place).search);
        if search.tries == 0 {
            self.searches.push(place);
            search.said = said.to_owned();
        }
        self.take_back(&search);
        let mut seen = FxHashSet::default();
        let made = self.choices[start..].iter().rev();
        let choices = made.filter(|&&(choice, count)| count > 1 && seen.insert(choice));
        let choices: Vec<(Place, usize)> = choices.copied().collect();
        let turns: usize = choices.iter().map(|&(_, count)| count - 1).sum();
        let turns = turns.min(MOST_TURNS);
        let mixes = if choices.len() > 1 { MOST_MIXES } else { 0 };
        // What is chosen decides what else there is to choose from.
        search.limit = search.limit.max(turns + mixes);
        search.tries += 1;
        let is_left = search.tries <= search.limit;
        if is_left {
            let mut left = search.tries;
            for (rank, (choice, count)) in choices.into_iter().enumerate() {
                let shift = match left {
                    _ if search.tries > turns => mix(search.tries, rank) % count,
                    _ if left < count => left,
                    _ => 0,
                };
                left = left.saturating_sub(count - 1);
                let offer = &mut self.offer(choice).choice;
                *offer = shift + *search.before.entry(choice).or_insert(*offer);
            }
        }
        self.offer(place).search = search;
        is_left
    }

    fn is_searching(&mut self, place: Place) -> bool {
        self.offer(place).search.tries > 0
    }

    fn end_searches(&mut self) {
        self.pause_searches();
        for place in std::mem::take(&mut self.searches) {
            self.offer(place).search = Search::default();
        }
    }

    /// Hands over again what was handed over before all searches. Says whether that is something
    /// else.
    fn pause_searches(&mut self) -> bool {
        let mut is_other = false;
        for index in (0..self.searches.len()).rev() {
            let place = self.searches[index];
            let search = std::mem::take(&mut self.offer(place).search);
            is_other |= self.take_back(&search);
            self.offer(place).search = search;
        }
        is_other
    }

    fn take_back(&mut self, search: &Search) -> bool {
        let mut is_other = false;
        for (&place, &before) in &search.before {
            is_other |= std::mem::replace(&mut self.offer(place).choice, before) != before;
        }
        is_other
    }

    fn innermost(&self) -> usize {
        self.stack.last().map_or(ROOT, |(place, _)| place.node)
    }

    /// Ends all passes. The place is the one that is being read.
    pub(super) fn fail(&mut self, why: NoShape) -> Stop {
        let said = why.to_string();
        let error = self.error(self.innermost(), why);
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
