//! What a Crankcase vat is.
//!
//! A [`Vat`] is a value that is handed one delivery at a time. Handling one is a **crank**: a
//! transaction of which either everything happens or nothing. This crate holds the ids, the
//! payloads and messages, the [`Crank`] that a vat acts through, its ordered store, the running of
//! one crank ([`LiveVat::run`]) and the [`record`] that a crank leaves.
//!
//! It knows no threads and no disk, and nothing of other vats: what a crank does is a function of
//! its vat's own earlier cranks and of the delivery. That is what makes it sound to run cranks of
//! different vats in parallel before any of them has a place in the order.
//!
//! Hosts use the `crankcase` crate, which re-exports what they need from here.

mod body;
mod call;
pub mod codec;
pub mod collections;
mod combine;
mod crank;
mod cursor;
mod delivery;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod held;
mod ids;
mod interface;
mod key;
mod kind_shape;
mod limits;
mod live;
mod mutants;
mod payload;
pub mod record;
mod reference;
mod rejection;
mod rooms;
mod shape;
mod slots;
mod store;
pub mod typed;
mod vat;

pub use body::{Body, Resolution, outcome_bytes};
pub use codec::DecodeError;
pub use combine::{join, race};
pub use crank::{Crank, Exit, Shared};
pub use cursor::{Cursor, HoldingCursor};
pub use delivery::{
    ActAt, Delivery, DeliveryHead, Message, Notice, Object, Other, RecordBytes, Span, What,
};
pub use ids::{
    CrankNumber, DeliveryId, ObjectId, ObjectIdError, PromiseId, PromiseIdError, Seq, Time, VatId,
    VatIdError, VatNumber,
};
pub use interface::{Any, Callee, Client, Interface, Nameless};
pub use kind_shape::{KindShape, PartWriter, ShapeChanged, ShapeWriter};
pub use limits::{Limits, is_name};
pub use live::{Finished, LiveVat, Progress, StoreUnread, Stored, Workspace};
#[doc(hidden)]
pub use mutants::mutant;
pub use payload::{Outcome, Payload, PayloadError};
pub use reference::{Promise, Promised, Ref, Reference, Slot, Target, each_reference, sole_body};
pub use rejection::{Cause, Refusal, Rejection};
pub use rooms::{ROOMS_THAT_HOLD, object_of_row, row_holds_references};
pub use shape::{NoShape, ShapeError, shape_of};
pub use store::{Backing, Chunk, ChunkLimit, KeyBounds, Row, Store};
pub use vat::{Answer, AnyKind, AnyVat, KindError, Kinds, Vat};
