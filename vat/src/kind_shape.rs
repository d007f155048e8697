//! How the states and messages of a version of a kind stand in bytes, and whether another version
//! reads them as it wrote them.
//!
//! Bytes do not say what they are. A vat's state, the messages on their way to it and the contexts
//! of its watchers may be read by code that is newer than the code which wrote them, so:
//!
//! - a **version** has one shape for ever: its state, and whatever else is said here;
//! - a **name** of a method, of a watcher or of a sort of objects has one shape in all versions of
//!   its kind, since a message outlives the version of who sent it. What changes gets a new name.
//!
//! Methods, watchers and objects can be added to a version; what a version had, it keeps.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::DeserializeOwned;

use crate::payload::Payload;
use crate::shape::{ShapeError, shape_of};
use crate::typed::VatObject;
use crate::vat::{KindError, Vat};

const STATE: &str = "state";
const METHOD: &str = "method";
const WATCHER: &str = "watcher";
const OBJECT: &str = "object";

/// The shape of a version of a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KindShape {
    kind: String,
    version: u32,
    /// What there is (`state`, `create`, `method credit`), and how it stands in bytes.
    parts: BTreeMap<String, String>,
}

/// Code reads bytes otherwise than they were written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShapeChanged {
    /// The kind's name.
    pub kind: String,
    /// Which part of it: `state`, `create`, `method …`, `watcher …`, `object …`.
    pub part: String,
    /// The version that had the older shape.
    pub was_version: u32,
    /// The older shape.
    pub was: String,
    /// The version that has another.
    pub version: u32,
    /// That shape, if the part is there at all.
    pub is: Option<String>,
}

impl ShapeChanged {
    fn remedy(&self) -> &'static str {
        match self.part.split(' ').next() {
            Some(STATE) => {
                "states that are stored would be read as something else. Give the code a new \
                 version, with a `#[migrate]` that takes over the old states"
            }
            Some(METHOD | WATCHER) if self.is.is_some() => {
                "messages that are on their way would be read as something else. Leave it as it was \
                 and give what is new another name"
            }
            Some(METHOD | WATCHER) => {
                "messages may be on their way to it. Leave it in, or give the code a new version"
            }
            _ => "what is stored would be read as something else. Leave it as it was",
        }
    }
}

impl std::error::Error for ShapeChanged {}

impl fmt::Display for ShapeChanged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kind, part, was, ..
        } = self;
        let is = match &self.is {
            Some(is) => format!("is {is}"),
            None => "is not there".to_owned(),
        };
        match self.version == self.was_version {
            true => write!(
                f,
                "the {part} of version {} of the kind {kind:?} was {was} when this journal was \
                 opened last, and now {is}",
                self.version
            ),
            false => write!(
                f,
                "the {part} of the kind {kind:?} was {was} in version {}, and {is} in version {}",
                self.was_version, self.version
            ),
        }?;
        write!(f, ": {}", self.remedy())
    }
}

/// Why a vat cannot go on with another version of its code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "version {version} of the kind {kind:?} has no {part}, which version {was_version} has, and \
     something may still lead there: leave it in"
)]
pub(crate) struct LeftOut {
    kind: String,
    part: String,
    was_version: u32,
    version: u32,
}

impl KindShape {
    /// What the kind says of itself; nothing when it says nothing.
    pub(crate) fn of<V: Vat>() -> Result<Option<Self>, KindError> {
        let mut writer = ShapeWriter::default();
        V::describe(&mut writer);
        if let Some((part, why)) = writer.failed {
            let (name, version) = (V::KIND, V::VERSION);
            return Err(KindError::Shape {
                name,
                version,
                part,
                why: Box::new(why),
            });
        }
        if let Some(part) = writer.twice {
            let (name, version) = (V::KIND, V::VERSION);
            return Err(KindError::PartTwice {
                name,
                version,
                part,
            });
        }
        Ok((!writer.parts.is_empty()).then(|| Self {
            kind: V::KIND.to_owned(),
            version: V::VERSION,
            parts: writer.parts,
        }))
    }

    /// The kind's name.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The version.
    #[must_use]
    pub const fn version(&self) -> u32 {
        self.version
    }

    /// What there is (`state`, `create`, `method credit`), and how each stands in bytes.
    pub fn parts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.parts.iter().map(|(part, shape)| (&**part, &**shape))
    }

    /// The parts, as a journal keeps them.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let payload = Payload::of(&self.parts).expect("texts can be encoded");
        payload.bytes().to_vec()
    }

    /// What a journal kept; nothing when it is no shape.
    #[must_use]
    pub fn from_bytes(kind: &str, version: u32, bytes: &[u8]) -> Option<Self> {
        let parts = Payload::from_bytes(bytes.to_vec()).decode().ok()?;
        Some(Self {
            kind: kind.to_owned(),
            version,
            parts,
        })
    }

    /// Whether this code reads what the journal holds, which was written by code of the shape
    /// `stored`, of which there were vats or not.
    ///
    /// # Errors
    ///
    /// [`ShapeChanged`] with the first part that differs.
    pub fn check_stored(&self, stored: &Self, had_vats: bool) -> Result<(), ShapeChanged> {
        // Of a version that never had a vat nothing is stored but what may be on its way.
        match self.version == stored.version && had_vats {
            true => stored
                .parts()
                .try_for_each(|(part, was)| self.check_part(stored, part, was, true)),
            false => self.check_beside(stored),
        }
    }

    /// Whether this version reads the messages that another version's callers send.
    pub(crate) fn check_beside(&self, other: &Self) -> Result<(), ShapeChanged> {
        let is_named = |part: &str| {
            [METHOD, WATCHER, OBJECT]
                .iter()
                .any(|sort| is_a(part, sort))
        };
        other
            .parts()
            .filter(|(part, _)| is_named(part))
            .try_for_each(|(part, was)| self.check_part(other, part, was, false))
    }

    fn check_part(
        &self,
        other: &Self,
        part: &str,
        was: &str,
        must_be: bool,
    ) -> Result<(), ShapeChanged> {
        let is = self.parts.get(part);
        if is.map_or(!must_be, |is| is == was) {
            return Ok(());
        }
        Err(ShapeChanged {
            kind: self.kind.clone(),
            part: part.to_owned(),
            was_version: other.version,
            was: was.to_owned(),
            version: self.version,
            is: is.cloned(),
        })
    }

    /// Whether everything that may lead to a vat of the older version without being a message finds
    /// its way in this one.
    pub(crate) fn check_takes_over(&self, old: &Self) -> Result<(), LeftOut> {
        let left_out = old.parts.keys().find(|part| {
            (is_a(part, WATCHER) || is_a(part, OBJECT)) && !self.parts.contains_key(*part)
        });
        match left_out {
            None => Ok(()),
            Some(part) => Err(LeftOut {
                kind: self.kind.clone(),
                part: part.clone(),
                was_version: old.version,
                version: self.version,
            }),
        }
    }
}

/// Gathers the shape of a kind, in [`Vat::describe`].
#[derive(Debug, Default)]
pub struct ShapeWriter {
    parts: BTreeMap<String, String>,
    failed: Option<(String, ShapeError)>,
    /// A part that was there already.
    twice: Option<String>,
    /// What stands before the names of an object's methods.
    within: String,
}

impl ShapeWriter {
    /// The state.
    pub fn state<T: DeserializeOwned>(&mut self) {
        let shape = shape_of::<T>();
        self.put(STATE.to_owned(), shape);
    }

    /// What makes the vat; its arguments follow.
    pub fn create(&mut self) -> PartWriter<'_> {
        self.part("create", "")
    }

    /// A method; its arguments follow, then its answer.
    pub fn method(&mut self, name: &str) -> PartWriter<'_> {
        self.part(METHOD, name)
    }

    /// A watcher; its context follows, then what it hears, then its answer.
    pub fn watcher(&mut self, name: &str) -> PartWriter<'_> {
        self.part(WATCHER, name)
    }

    /// A sort of objects.
    pub fn object<O: VatObject>(&mut self) {
        let shape = shape_of::<O>();
        self.put(format!("{OBJECT} {}", O::KIND), shape);
        let within = std::mem::replace(&mut self.within, format!(" of {}", O::KIND));
        O::describe(self);
        self.within = within;
    }

    fn part(&mut self, sort: &str, name: &str) -> PartWriter<'_> {
        let space = if name.is_empty() { "" } else { " " };
        PartWriter {
            part: format!("{sort}{space}{name}{}", self.within),
            text: String::new(),
            writer: self,
        }
    }

    fn put(&mut self, part: String, shape: Result<String, ShapeError>) {
        match shape {
            Ok(shape) => {
                if self.parts.insert(part.clone(), shape).is_some() {
                    self.twice.get_or_insert(part);
                }
            }
            Err(why) => drop(self.failed.get_or_insert((part, why))),
        }
    }
}

/// Gathers the shape of a method.
#[derive(Debug)]
pub struct PartWriter<'a> {
    writer: &'a mut ShapeWriter,
    part: String,
    text: String,
}

impl PartWriter<'_> {
    /// An argument. Its name is a part of the shape, so that two that change places are seen.
    #[must_use]
    pub fn takes<T: DeserializeOwned>(mut self, name: &str) -> Self {
        let comma = if self.text.is_empty() { "" } else { ", " };
        let shape = self.shape::<T>();
        self.text += &format!("{comma}{name}: {shape}");
        self
    }

    /// What the promise comes to that is watched.
    #[must_use]
    pub fn hears<T: DeserializeOwned>(mut self) -> Self {
        let shape = self.shape::<T>();
        self.text += &format!("; {shape}");
        self
    }

    /// What it answers with. That is the end of it.
    pub fn gives<T: DeserializeOwned>(mut self) {
        let shape = self.shape::<T>();
        let text = format!("({}) -> {shape}", self.text);
        self.writer.put(self.part, Ok(text));
    }

    /// What makes a vat gives no more than that. That is the end of it.
    pub fn gives_vat(self) {
        let text = format!("({})", self.text);
        self.writer.put(self.part, Ok(text));
    }

    fn shape<T: DeserializeOwned>(&mut self) -> String {
        shape_of::<T>().unwrap_or_else(|why| {
            self.writer.put(self.part.clone(), Err(why));
            String::new()
        })
    }
}

/// Whether a part is of that sort.
fn is_a(part: &str, sort: &str) -> bool {
    part.strip_prefix(sort)
        .is_some_and(|rest| rest.starts_with(' '))
}
