//! What the author of a vat writes, and how the kernel sees it without knowing its type.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::crank::Crank;
use crate::delivery::{Message, Notice, Object};
use crate::limits::is_name;
use crate::payload::{Payload, PayloadError, decode, encode_into};
use crate::reference::Slot;
use crate::rejection::Rejection;

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
    /// the object is removed, if the vat's own state does not hold it either.
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
    /// Two kinds have one name.
    #[error("the kind {name:?} is registered twice: give each kind a name of its own")]
    Twice {
        /// The name.
        name: &'static str,
    },
    /// The name cannot be a kind's.
    #[error("{name:?} cannot name a kind: use 1 to 255 bytes without control characters")]
    Name {
        /// The name.
        name: &'static str,
    },
}

/// The kinds of vats that a host knows, by name.
#[derive(Default, Clone)]
pub struct Kinds(BTreeMap<&'static str, Arc<dyn AnyKind>>);

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
    /// [`KindError`] when the name is taken or malformed; nothing is added then.
    pub fn add<V: Vat>(&mut self, env: V::Env) -> Result<(), KindError> {
        if !is_name(V::KIND) {
            return Err(KindError::Name { name: V::KIND });
        }
        if self.0.contains_key(V::KIND) {
            return Err(KindError::Twice { name: V::KIND });
        }
        self.0
            .insert(V::KIND, Arc::new(Kind::<V> { env: Arc::new(env) }));
        Ok(())
    }

    /// The kind of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<dyn AnyKind>> {
        self.0.get(name)
    }

    /// The kinds in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn AnyKind>> {
        self.0.values()
    }
}

impl std::fmt::Debug for Kinds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
