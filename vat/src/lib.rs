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

pub mod codec;
mod crank;
mod delivery;
mod ids;
mod limits;
mod live;
mod payload;
pub mod record;
mod rejection;
mod store;
mod vat;

pub use codec::DecodeError;
pub use crank::{Crank, Cursor, Exit, Shared};
pub use delivery::{Delivery, Message, RecordBytes};
pub use ids::{CrankNumber, DeliveryId, Seq, Time, VatId, VatIdError, VatNumber};
pub use limits::{Limits, is_name};
pub use live::{Finished, LiveVat, Progress, Workspace};
pub use payload::{Payload, PayloadError};
pub use rejection::{Cause, Rejection};
pub use store::Rows;
pub use vat::{Answer, AnyKind, AnyVat, KindError, Kinds, Vat};
