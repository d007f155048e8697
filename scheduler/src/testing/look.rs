//! What a law sees: the simulation between two records.

use std::fmt;

use crankcase_vat::{Interface, Ref, Seq, Time, Vat, VatId};

use super::world::World;
use crate::error::ReadError;
use crate::housekeeper::stored_state;
use crate::inspect::RecordView;
use crate::reads::{check_kind, decoded_state};

/// The simulation between two records, as everything sequenced so far has made it, released or not.
/// Looking leaves no record and releases nothing.
pub struct Look<'w> {
    pub(super) world: &'w World,
    pub(super) after_crash: bool,
}

impl Look<'_> {
    /// The last record.
    #[must_use]
    pub fn seq(&self) -> Seq {
        self.world.bench.state.last()
    }

    /// The last record with all that stands in it, as `crankcase inspect` shows it; nothing before
    /// the first.
    #[must_use]
    pub fn record(&self) -> Option<RecordView> {
        self.world.last_record()
    }

    /// Whether a crash has just happened: the last record is then the last that was not lost.
    #[must_use]
    pub const fn after_crash(&self) -> bool {
        self.after_crash
    }

    /// Whether nothing waits for any vat, so that no message is on its way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.world.bench.state.waiting() == 0
    }

    /// The time of the last input.
    #[must_use]
    pub fn time(&self) -> Time {
        self.world.bench.state.time()
    }

    /// The vat that a root name stands for, as [`Kernel::root`](crate::Kernel::root).
    #[must_use]
    pub fn root(&self, name: &str) -> Option<VatId> {
        self.world.bench.state.root(name)
    }

    /// The vat that a root name stands for, as [`Kernel::root_as`](crate::Kernel::root_as).
    ///
    /// # Errors
    ///
    /// [`ReadError::OtherKind`].
    pub fn root_as<V: Vat + Interface>(&self, name: &str) -> Result<Option<Ref<V>>, ReadError> {
        let Some(vat) = self.root(name) else {
            return Ok(None);
        };
        match self.world.kind_of(vat) {
            Some((found, _)) if found != V::KIND => Err(ReadError::OtherKind {
                vat,
                found,
                asked: V::KIND,
            }),
            _ => Ok(Some(Ref::to(vat).cast())),
        }
    }

    /// Reads a vat's state, as [`Kernel::read`](crate::Kernel::read).
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
        check_kind::<V>(vat, self.world.kind_of(vat))?;
        let bytes = self.state_of(vat)?;
        let bytes = bytes.ok_or(ReadError::NoSuchVat { vat })?;
        Ok(look(&decoded_state(&bytes)?))
    }

    /// Goes through the states of all vats of a kind and version that live and have started, in the
    /// order of their ids: for totals over vats.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    pub fn each<V: Vat + Interface>(
        &self,
        mut look: impl FnMut(Ref<V>, &V),
    ) -> Result<(), ReadError> {
        let state = &self.world.bench.state;
        let mut found: Vec<VatId> = (state.vats().iter())
            .filter(|(_, vat)| vat.ended().is_none())
            .filter(|(_, vat)| {
                let kind = &state.kinds()[usize::from(vat.kind)];
                kind.name == V::KIND && kind.version == V::VERSION
            })
            .map(|(_, vat)| vat.id)
            .collect();
        found.sort_unstable();
        for vat in found {
            if let Some(bytes) = self.state_of(vat)? {
                look(Ref::to(vat).cast(), &decoded_state(&bytes)?);
            }
        }
        Ok(())
    }

    fn state_of(&self, vat: VatId) -> Result<Option<Vec<u8>>, ReadError> {
        let state = &self.world.bench.state;
        let Some(slot) = state.find(vat) else {
            return Ok(None);
        };
        let entry = state.vat(slot);
        match entry.newer_state() {
            Some(state) => Ok(Some(state.to_vec())),
            None if entry.stored => {
                let tables = self.world.tables.snapshot();
                let tables = tables.map_err(|error| ReadError::Journal(error.to_string()))?;
                stored_state(&tables, vat).map_err(ReadError::Journal)
            }
            None => Ok(None),
        }
    }
}

impl fmt::Debug for Look<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Look")
            .field("seq", &self.seq())
            .field("after_crash", &self.after_crash)
            .finish_non_exhaustive()
    }
}
