//! The tables as the stores of vats in memory read them.
//!
//! # Why any view of the tables will do
//!
//! A store keeps every row that its vat wrote in a crank above the last that the tables are known
//! to hold, and asks here for the rest (see [`Backing`]). A checkpoint is one batch, with the
//! vat's row, which names its crank, among the store rows of that crank. So
//!
//! * each view shows the vat as of one of its cranks, and a later view as of the same or a later
//!   one. On disk a view is a snapshot of whole batches. With `Durability::None` each single read
//!   sees the tables of its moment; these too are written whole, under a lock.
//! * [`included`](Backing::included) reads the vat's row in a view that is taken then, and every
//!   later read takes a view of its own, which is as new or newer. So no read ever sees less than
//!   what was included.
//!
//! Therefore nothing holds a snapshot between two reads, which would keep old rows on disk, and
//! nothing has to know when to take a new one.

use std::sync::Arc;

use crankcase_journal::{ReadError, TableView};
use crankcase_vat::{Backing, Chunk, ChunkLimit, CrankNumber, KeyBounds, VatId};

use crate::parts::Parts;
use crate::state::rows::{STORES, VATS, VatRow, store_key};
use crate::sync::Ordering;

/// See the module's text.
pub(crate) struct StoreTables<T> {
    tables: T,
}

/// Where the tables are.
pub(crate) trait HasTables: Send {
    /// Looks at the rows as they are now.
    fn look<R>(
        &self,
        look: impl FnOnce(&TableView) -> Result<R, ReadError>,
    ) -> Result<R, ReadError>;

    /// How many checkpoints were written.
    fn checkpoints(&self) -> u64;
}

impl HasTables for Arc<Parts> {
    fn look<R>(
        &self,
        look: impl FnOnce(&TableView) -> Result<R, ReadError>,
    ) -> Result<R, ReadError> {
        Parts::look(self, look)
    }

    fn checkpoints(&self) -> u64 {
        self.counters.checkpoints.load(Ordering::Relaxed)
    }
}

impl<T: HasTables> StoreTables<T> {
    /// What stands behind the stores of vats.
    pub(crate) const fn of(tables: T) -> Self {
        Self { tables }
    }

    fn look<R>(&self, look: impl FnOnce(&TableView) -> Result<R, ReadError>) -> Result<R, String> {
        self.tables.look(look).map_err(|error| error.to_string())
    }
}

impl<T: HasTables> Backing for StoreTables<T> {
    fn get(&self, vat: VatId, key: &[u8]) -> Result<Option<Vec<u8>>, String> {
        self.look(|view| view.get(STORES, &store_key(vat, key)))
    }

    fn rows(
        &self,
        vat: VatId,
        bounds: KeyBounds<'_>,
        forward: bool,
        limit: ChunkLimit,
    ) -> Result<Chunk, String> {
        self.look(|view| {
            let mut chunk = Chunk::default();
            let mut bytes = 0;
            let id = vat.to_bytes();
            for row in view.range(STORES, &id, bounds, forward) {
                let (mut key, value) = row?;
                key.drain(..id.len());
                bytes += key.len() + value.len();
                chunk.rows.push((key, value));
                if chunk.rows.len() >= limit.rows || bytes >= limit.bytes {
                    chunk.more = true;
                    break;
                }
            }
            Ok(chunk)
        })
    }

    fn included(&self, vat: VatId) -> Result<CrankNumber, String> {
        let Some(row) = self.look(|view| view.get(VATS, &vat.to_bytes()))? else {
            return Ok(CrankNumber::ZERO);
        };
        let row = VatRow::decode(&row);
        let row = row.map_err(|why| format!("the row of vat {vat} cannot be decoded: {why}"))?;
        Ok(row.progress.crank)
    }

    fn generation(&self) -> u64 {
        // Behind by a checkpoint, it has a store ask later and nothing else.
        self.tables.checkpoints()
    }
}
