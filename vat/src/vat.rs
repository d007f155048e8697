//! What the author of a vat writes, and how the kernel sees it without knowing its type.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::crank::Crank;
use crate::delivery::{Message, Notice, Object};
use crate::kind_shape::{KindShape, ShapeChanged, ShapeWriter};
use crate::limits::is_name;
use crate::payload::{Payload, PayloadError, decode, encode_into};
use crate::reference::Slot;
use crate::rejection::Rejection;

use crate::shape::ShapeError;

/// What a vat says to a delivery: an answer, with which everything the crank did happens; or a
/// rejection, with which nothing of it happened.
pub type Answer<T = Payload> = Result<T, Rejection>;

/// The code of a vat: a serde value that is handed one delivery at a time.
///
/// Each call is a **crank**, and a crank is a transaction. `Ok` keeps the changed value, the
/// writes and the sends; `Err` or a panic drops all of them, and the value is again what it was.
///
/// A vat must act on nothing but its own value, its store, the message, [`Crank::now`] and
/// [`Crank::random`]: no clocks, files, statics or threads whose result reaches its state or its
/// sends. Its `Serialize` must write the same bytes for the same value (so no `HashMap` in the
/// state: use a `BTreeMap`).
///
/// ```
/// use crankcase_vat::{Answer, Crank, Message, Payload, Rejection, Vat};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Counter {
///     count: u64,
/// }
///
/// impl Vat for Counter {
///     const KIND: &'static str = "counter";
///     const VERSION: u32 = 1;
///     type Env = ();
///
///     fn create(_cx: &Crank<'_>, _env: &(), start: &Message<'_>) -> Result<Self, Rejection> {
///         Ok(Counter { count: start.args()? })
///     }
///
///     fn receive(&mut self, _cx: &Crank<'_>, _env: &(), message: &Message<'_>) -> Answer {
///         match message.method() {
///             "add" => {
///                 self.count += message.args::<u64>()?;
///                 Ok(Payload::of(&self.count)?)
///             }
///             other => Err(Rejection::new("no_such_method", other)),
///         }
///     }
/// }
/// ```
pub trait Vat: Serialize + DeserializeOwned + Send + 'static {
    /// The kind's name in the journal: 1 to 255 bytes without control characters.
    const KIND: &'static str;

    /// The version of the code and of the state's shape. Raise it when the state changes shape.
    const VERSION: u32;

    /// What the host gives to all vats of the kind at every start: configuration, connections
    /// for reading. It is not in the journal, so nothing that decides an outcome belongs there
    /// unless it is the same on every run.
    type Env: Send + Sync + 'static;

    /// The vat's first crank: makes the value from what the maker sent with `spawn`. The start's
    /// method is the kind's name.
    ///
    /// # Errors
    ///
    /// A rejection: the vat never lives, and messages that wait for it are rejected.
    fn create(cx: &Crank<'_>, env: &Self::Env, start: &Message<'_>) -> Result<Self, Rejection>;

    /// Every later crank.
    ///
    /// # Errors
    ///
    /// A rejection: nothing that the crank did happens, and whoever waits is told why.
    fn receive(&mut self, cx: &Crank<'_>, env: &Self::Env, message: &Message<'_>) -> Answer;

    /// The version whose states [`migrate`](Self::migrate) takes over, if it takes any.
    const MIGRATES_FROM: Option<u32> = None;

    /// Says how states and messages of the kind stand in bytes, so that a journal is not opened with
    /// code that would read other values from them. `#[vat]` writes this; a kind that says nothing
    /// is not checked.
    fn describe(shape: &mut ShapeWriter) {
        let _ = shape;
    }

    /// Makes the value from the state of a vat of the version
    /// [`MIGRATES_FROM`](Self::MIGRATES_FROM), in a crank of its own. The vat's store and its objects
    /// are there and can be rewritten.
    ///
    /// # Errors
    ///
    /// A rejection: nothing happens, and the vat goes on with the version that it has.
    fn migrate(cx: &Crank<'_>, env: &Self::Env, old: &Payload) -> Result<Self, Rejection> {
        let _ = (cx, env, old);
        let why = format!("version {} takes over no states", Self::VERSION);
        Err(Rejection::new("cannot_migrate", why))
    }

    /// A message for an [object](Crank::object) of the vat beside its root. A kind that makes no
    /// objects needs none of it.
    ///
    /// # Errors
    ///
    /// As for [`receive`](Self::receive).
    fn receive_at(
        &mut self,
        cx: &Crank<'_>,
        env: &Self::Env,
        object: &Object,
        message: &Message<'_>,
    ) -> Answer {
        let _ = (cx, env, message);
        Err(Rejection::new("no_such_object_kind", object.kind()))
    }

    /// A promise that the vat [watched](Crank::watch) came to its end. Nothing but that leads here:
    /// no message does. What is returned is what the watch's own promise comes to.
    ///
    /// # Errors
    ///
    /// As for [`receive`](Self::receive); the promise of the watch is rejected.
    fn notified(&mut self, cx: &Crank<'_>, env: &Self::Env, notice: &Notice<'_>) -> Answer {
        let _ = (cx, env);
        Err(Rejection::new("no_such_continuation", notice.method()))
    }

    /// Nobody outside of the vat holds one of its objects any more. Unless the vat says otherwise
    /// the object is removed, if the vat's own state does not hold it either. It may be called for a
    /// number whose object is gone already, when somebody took up what was on its way out.
    ///
    /// # Errors
    ///
    /// A rejection: nothing happens, and the object stays.
    fn dropped(&mut self, cx: &Crank<'_>, env: &Self::Env, object: u64) -> Result<(), Rejection> {
        let _ = env;
        if !cx.keeps_object(object) {
            cx.remove_object(object);
        }
        Ok(())
    }
}

/// A kind with its type erased.
pub trait AnyKind: Send + Sync {
    /// The kind's name.
    fn name(&self) -> &'static str;
    /// The version of its code.
    fn version(&self) -> u32;
    /// The version whose states it can take over; see [`Vat::MIGRATES_FROM`].
    fn migrates_from(&self) -> Option<u32>;
    /// How its states and messages stand in bytes, if it says so.
    fn shape(&self) -> Option<&KindShape>;
    /// Makes a value of the state of another version.
    ///
    /// # Errors
    ///
    /// What [`Vat::migrate`] returned.
    fn migrate(&self, cx: &Crank<'_>, old: &Payload) -> Result<Box<dyn AnyVat>, Rejection>;
    /// Makes a value.
    ///
    /// # Errors
    ///
    /// What [`Vat::create`] returned.
    fn create(&self, cx: &Crank<'_>, start: &Message<'_>) -> Result<Box<dyn AnyVat>, Rejection>;
    /// Makes the value that its encoding says.
    ///
    /// # Errors
    ///
    /// [`PayloadError::Decode`] when the bytes are no value of the kind.
    fn decode(&self, state: &[u8], slots: &[Slot]) -> Result<Box<dyn AnyVat>, PayloadError>;
}

/// A vat's value with its type erased.
pub trait AnyVat: Send {
    /// Hands it a message.
    ///
    /// # Errors
    ///
    /// What [`Vat::receive`] returned.
    fn receive(&mut self, cx: &Crank<'_>, message: &Message<'_>) -> Answer;
    /// Hands it a message for one of its objects.
    ///
    /// # Errors
    ///
    /// What [`Vat::receive_at`] returned.
    fn receive_at(&mut self, cx: &Crank<'_>, object: &Object, message: &Message<'_>) -> Answer;
    /// Tells it what a promise came to.
    ///
    /// # Errors
    ///
    /// What [`Vat::notified`] returned.
    fn notified(&mut self, cx: &Crank<'_>, notice: &Notice<'_>) -> Answer;
    /// Tells it that nobody holds an object of it.
    ///
    /// # Errors
    ///
    /// What [`Vat::dropped`] returned.
    fn dropped(&mut self, cx: &Crank<'_>, object: u64) -> Result<(), Rejection>;
    /// Appends its encoding, and its references.
    ///
    /// # Errors
    ///
    /// [`PayloadError::Encode`] when its `Serialize` says no.
    fn encode(&self, out: &mut Vec<u8>, slots: &mut Vec<Slot>) -> Result<(), PayloadError>;
}

struct Kind<V: Vat> {
    env: Arc<V::Env>,
    shape: Option<KindShape>,
}

struct Value<V: Vat> {
    value: V,
    env: Arc<V::Env>,
}

impl<V: Vat> AnyKind for Kind<V> {
    fn name(&self) -> &'static str {
        V::KIND
    }

    fn version(&self) -> u32 {
        V::VERSION
    }

    fn migrates_from(&self) -> Option<u32> {
        V::MIGRATES_FROM
    }

    fn shape(&self) -> Option<&KindShape> {
        self.shape.as_ref()
    }

    fn migrate(&self, cx: &Crank<'_>, old: &Payload) -> Result<Box<dyn AnyVat>, Rejection> {
        let value = V::migrate(cx, &self.env, old)?;
        Ok(Box::new(Value {
            value,
            env: Arc::clone(&self.env),
        }))
    }

    fn create(&self, cx: &Crank<'_>, start: &Message<'_>) -> Result<Box<dyn AnyVat>, Rejection> {
        let value = V::create(cx, &self.env, start)?;
        Ok(Box::new(Value {
            value,
            env: Arc::clone(&self.env),
        }))
    }

    fn decode(&self, state: &[u8], slots: &[Slot]) -> Result<Box<dyn AnyVat>, PayloadError> {
        Ok(Box::new(Value::<V> {
            value: decode(state, slots)?,
            env: Arc::clone(&self.env),
        }))
    }
}

impl<V: Vat> AnyVat for Value<V> {
    #[inline]
    fn receive(&mut self, cx: &Crank<'_>, message: &Message<'_>) -> Answer {
        self.value.receive(cx, &self.env, message)
    }

    fn receive_at(&mut self, cx: &Crank<'_>, object: &Object, message: &Message<'_>) -> Answer {
        self.value.receive_at(cx, &self.env, object, message)
    }

    fn notified(&mut self, cx: &Crank<'_>, notice: &Notice<'_>) -> Answer {
        self.value.notified(cx, &self.env, notice)
    }

    fn dropped(&mut self, cx: &Crank<'_>, object: u64) -> Result<(), Rejection> {
        self.value.dropped(cx, &self.env, object)
    }

    #[inline]
    fn encode(&self, out: &mut Vec<u8>, slots: &mut Vec<Slot>) -> Result<(), PayloadError> {
        encode_into(&self.value, out, slots)
    }
}

/// Why a kind cannot be registered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KindError {
    /// Two kinds have one name and one version.
    #[error(
        "version {version} of the kind {name:?} is registered twice: give each kind a name of its \
         own, and each version of its code a number"
    )]
    Twice {
        /// The name.
        name: &'static str,
        /// The version.
        version: u32,
    },
    /// The name cannot be a kind's.
    #[error("{name:?} cannot name a kind: use 1 to 255 bytes without control characters")]
    Name {
        /// The name.
        name: &'static str,
    },
    /// How values of a type stand in bytes cannot be found out.
    #[error("version {version} of the kind {name:?}: {part}: {why}")]
    Shape {
        /// The name.
        name: &'static str,
        /// The version.
        version: u32,
        /// The method or the state that is about.
        part: String,
        /// Why not.
        why: Box<ShapeError>,
    },
    /// Two parts of a kind have one name.
    #[error("version {version} of the kind {name:?} has two of {part}: give one another name")]
    PartTwice {
        /// The name.
        name: &'static str,
        /// The version.
        version: u32,
        /// What is there twice.
        part: String,
    },
    /// Two versions of a kind read a message differently.
    #[error(transparent)]
    Changed(Box<ShapeChanged>),
}

/// The kinds of vats that a host knows, by name and version.
#[derive(Default, Clone)]
pub struct Kinds {
    known: BTreeMap<&'static str, BTreeMap<u32, Arc<dyn AnyKind>>>,
    /// Versions that stand for the newest, for those who run again what was run when they were.
    newest: BTreeMap<String, u32>,
}

impl Kinds {
    /// No kinds.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a kind with what the host gives to its vats.
    ///
    /// # Errors
    ///
    /// [`KindError`] when the name is taken or malformed, or when it reads messages otherwise than
    /// another version of it that was added; nothing is added then.
    pub fn add<V: Vat>(&mut self, env: V::Env) -> Result<(), KindError> {
        let (name, version) = (V::KIND, V::VERSION);
        if !is_name(name) {
            return Err(KindError::Name { name });
        }
        if self.get_version(name, version).is_some() {
            return Err(KindError::Twice { name, version });
        }
        let shape = KindShape::of::<V>()?;
        if let Some(shape) = &shape {
            for other in self.versions(name).filter_map(|other| other.shape()) {
                let beside = shape.check_beside(other);
                beside.map_err(|changed| KindError::Changed(Box::new(changed)))?;
            }
        }
        let env = Arc::new(env);
        self.known
            .entry(name)
            .or_default()
            .insert(version, Arc::new(Kind::<V> { env, shape }));
        Ok(())
    }

    /// The newest version of the kind of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<dyn AnyKind>> {
        if let Some(newest) = self.newest.get(name) {
            return self.get_version(name, *newest);
        }
        Some(self.known.get(name)?.last_key_value()?.1)
    }

    /// Has that version be the newest of its kind from now on, whether there are newer ones or not.
    pub fn set_newest(&mut self, name: &str, version: u32) {
        self.newest.insert(name.to_owned(), version);
    }

    /// That version of the kind of that name.
    #[must_use]
    pub fn get_version(&self, name: &str, version: u32) -> Option<&Arc<dyn AnyKind>> {
        self.known.get(name)?.get(&version)
    }

    /// All versions of the kind of that name, the oldest first.
    pub fn versions(&self, name: &str) -> impl DoubleEndedIterator<Item = &Arc<dyn AnyKind>> {
        self.known.get(name).into_iter().flat_map(BTreeMap::values)
    }

    /// The kinds in the order of their names, and of their versions.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn AnyKind>> {
        self.known.values().flat_map(BTreeMap::values)
    }
}

impl std::fmt::Debug for Kinds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set()
            .entries(self.iter().map(|kind| (kind.name(), kind.version())))
            .finish()
    }
}
