//! What an object understands, as a type: the parameter of a [`Ref`](crate::Ref).

use std::hash::Hash;

use crate::ids::ObjectId;
use crate::reference::{Promise, Target};

/// What objects of one sort understand. A kind is one; `#[vat]` and `#[object]` make it so.
pub trait Interface: Sized + 'static {
    /// The methods of a reference to such an object.
    type Client: Client;

    /// The methods of a promise of one.
    type Eventual: From<Promise>;
}

/// The methods of a reference, with the object that they are sent to.
pub trait Client: Copy + Send + Sync + 'static {
    /// Those of a reference to this object.
    fn to(object: ObjectId) -> Self;

    /// The object.
    fn object(&self) -> ObjectId;
}

/// What the methods of a client are sent to: an object, or a promise of one.
pub trait Callee: Send + Sync {
    /// The receiver.
    fn target(&self) -> Target;
}

impl Callee for ObjectId {
    #[inline]
    fn target(&self) -> Target {
        Target::from(*self)
    }
}

impl Callee for Promise {
    fn target(&self) -> Target {
        Target::from(self)
    }
}

/// Any object: nothing is known of what it understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Any {}

/// An object of which nothing is known but its name.
#[derive(Debug, Clone, Copy)]
pub struct Nameless(ObjectId);

impl Client for Nameless {
    #[inline]
    fn to(object: ObjectId) -> Self {
        Self(object)
    }

    #[inline]
    fn object(&self) -> ObjectId {
        self.0
    }
}

impl Interface for Any {
    type Client = Nameless;
    type Eventual = Promise;
}
