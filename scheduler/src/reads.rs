//! What a host looks up without a record: names, kinds and states.
//!
//! The holder of the role looks, so that what is seen is the state between two records; the answer is
//! given when all of them are released.

use std::sync::Arc;

use crankcase_vat::{Body, DecodeError, Interface, Ref, Vat, VatId, mutant};

use crate::engine::asked;
use crate::error::{ReadError, WaitError};
use crate::housekeeper::stored_state;
use crate::kernel::Kernel;
use crate::sequencer::{FoundState, Sequencer};
use crate::ticket::{Ticket, TicketCell};

/// The kind of a vat, and the version of its code.
pub(crate) type KindAndVersion = (String, u32);

impl Kernel {
    /// What the holder of the role finds, once everything that it can have seen is released.
    fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Sequencer) -> T + Send + 'static,
    ) -> Result<T, WaitError> {
        self.check_outside()?;
        let cell = TicketCell::new(true);
        let settled = Arc::clone(&cell);
        let found = self.engine().ask(move |sequencer| {
            let found = look(sequencer);
            if mutant("reads-are-answered-before-the-sync") {
                drop(settled.settle(Arc::default()));
            } else {
                sequencer.settle_when_released(settled);
            }
            found
        });
        Ticket::new(cell, asked(self.engine()), |_| ()).wait()?;
        Ok(found)
    }

    /// The vat that a root name stands for, if one was ever given that name. The answer is given
    /// when what it rests on is released.
    ///
    /// # Errors
    ///
    /// [`ReadError::Wait`].
    pub fn root(&self, name: &str) -> Result<Option<VatId>, ReadError> {
        let name = name.to_owned();
        Ok(self.look(move |sequencer| sequencer.state().root(&name))?)
    }

    /// The vat that a root name stands for, as a reference to a vat of that kind; see
    /// [`root`](Self::root).
    ///
    /// # Errors
    ///
    /// [`ReadError::OtherKind`] when it is of another kind. Its version is not looked at: all
    /// versions of a kind understand what has one name in the same way.
    pub fn root_as<V: Vat + Interface>(&self, name: &str) -> Result<Option<Ref<V>>, ReadError> {
        let wanted = name.to_owned();
        let found = self.look(move |sequencer| {
            let vat = sequencer.state().root(&wanted)?;
            Some((vat, sequencer.kind_of(vat)))
        })?;
        match found {
            Some((vat, Some((found, _)))) if found != V::KIND => Err(ReadError::OtherKind {
                vat,
                found,
                asked: V::KIND,
            }),
            found => Ok(found.map(|(vat, _)| Ref::to(vat).cast())),
        }
    }

    /// The kind of a vat that lives, and the version of its code. The answer is given when what it
    /// rests on is released.
    ///
    /// # Errors
    ///
    /// [`ReadError::Wait`].
    pub fn kind_of(&self, vat: impl Into<VatId>) -> Result<Option<KindAndVersion>, ReadError> {
        let vat = vat.into();
        Ok(self.look(move |sequencer| sequencer.kind_of(vat))?)
    }

    /// The vats of a kind that live, with the versions of their code, in the order of their ids. It
    /// looks at every vat. The answer is given when what it rests on is released.
    ///
    /// # Errors
    ///
    /// [`ReadError::Wait`].
    pub fn vats_of(&self, kind: &str) -> Result<Vec<(VatId, u32)>, ReadError> {
        let kind = kind.to_owned();
        Ok(self.look(move |sequencer| sequencer.vats_of(&kind))?)
    }

    /// Reads a vat's state between two of its cranks, without a record. The answer is given when
    /// what was seen is released. It is the state as sequenced: what a crank that is still running
    /// will make of it is not seen.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    pub fn read<V: Vat, R>(
        &self,
        vat: impl Into<VatId>,
        look: impl FnOnce(&V) -> R,
    ) -> Result<R, ReadError> {
        let vat = vat.into();
        let (found, kind) = self.look(move |sequencer| sequencer.read(vat))?;
        check_kind::<V>(vat, kind)?;
        let bytes = match found {
            FoundState::Nobody => None,
            FoundState::Bytes(bytes) => Some(bytes),
            FoundState::InTables(tables) => {
                stored_state(&tables, vat).map_err(ReadError::Journal)?
            }
            FoundState::Unreadable(why) => return Err(ReadError::Journal(why)),
        };
        let bytes = bytes.ok_or(ReadError::NoSuchVat { vat })?;
        Ok(look(&decoded_state(&bytes)?))
    }

    fn check_outside(&self) -> Result<(), WaitError> {
        if self.engine().parts.is_own_thread() {
            return Err(WaitError::InsideCrank);
        }
        if self.engine().parts.poison.get().is_some() {
            return Err(self.engine().parts.why_unsettled());
        }
        Ok(())
    }
}

/// The state that the bytes hold.
pub(crate) fn decoded_state<V: Vat>(bytes: &[u8]) -> Result<V, ReadError> {
    let unreadable = |error: DecodeError| ReadError::Journal(error.to_string());
    let body = Body::read(bytes).map_err(unreadable)?;
    Ok(body.to_payload().map_err(unreadable)?.decode()?)
}

/// Whether a vat that was found is of the kind that was asked for.
pub(crate) fn check_kind<V: Vat>(
    vat: VatId,
    found: Option<KindAndVersion>,
) -> Result<(), ReadError> {
    match found {
        Some((found, _)) if found != V::KIND => Err(ReadError::OtherKind {
            vat,
            found,
            asked: V::KIND,
        }),
        Some((kind, found)) if found != V::VERSION => Err(ReadError::OtherVersion {
            vat,
            kind,
            found,
            asked: V::VERSION,
        }),
        _ => Ok(()),
    }
}
