//! The tables: every kind of row, its key and its value, in one place.
//!
//! | table | key                            | value                                            |
//! |-------|--------------------------------|--------------------------------------------------|
//! | 1     | vat id (16 bytes)              | [`VatRow`]                                        |
//! | 2     | vat id, chunk number (8 bytes) | a chunk of the inbox (`inbox.rs`)                |
//! | 3     | vat id, store key              | store value                                      |
//! | 4     | root name                      | vat id (16 bytes)                                |
//! | 5     | request id                     | request state (`requests.rs`)                    |
//! | 6     | kind number (2 bytes)          | version, name, live vats                         |
//! | 7     | empty                          | [`Counters`]                                     |
//! | 8     | vat id of a vat that ended     | empty: store rows of it may be left to be swept  |
//! | 9     | vat id                         | encoded state; no row before the start committed |
//!
//! Numbers in keys are big endian, so that rows sort as their numbers do.

use crankcase_vat::codec::{Reader, put_bytes, put_varint};
use crankcase_vat::{CrankNumber, DecodeError, Progress, Time, VatId, VatNumber};

use super::{JournalKind, KindIndex, OpenRun};

/// The version of the rows' layout.
pub(crate) const ROWS_VERSION: u64 = 1;

pub(crate) const VATS: u8 = 1;
pub(crate) const INBOXES: u8 = 2;
pub(crate) const STORES: u8 = 3;
pub(crate) const NAMES: u8 = 4;
pub(crate) const REQUESTS: u8 = 5;
pub(crate) const KINDS: u8 = 6;
pub(crate) const COUNTERS: u8 = 7;
pub(crate) const SWEEPS: u8 = 8;
pub(crate) const STATES: u8 = 9;

/// The key of a chunk of an inbox.
pub(crate) fn inbox_key(vat: VatId, chunk: u64) -> Vec<u8> {
    let mut key = vat.to_bytes().to_vec();
    key.extend_from_slice(&chunk.to_be_bytes());
    key
}

/// The key of a store row.
pub(crate) fn store_key(vat: VatId, key: &[u8]) -> Vec<u8> {
    let mut full = vat.to_bytes().to_vec();
    full.extend_from_slice(key);
    full
}

/// The vat whose id a key starts with.
pub(crate) fn vat_of_key(key: &[u8]) -> Option<VatId> {
    key.first_chunk::<16>()
        .map(|bytes| VatId::from_bytes(*bytes))
}

/// A vat as its row holds it. The state, the inbox and the store have rows of their own, so that
/// a delivery to a vat, or a crank that changes no state, writes no state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VatRow {
    pub(crate) number: VatNumber,
    pub(crate) kind: KindIndex,
    pub(crate) progress: Progress,
    /// Deliveries it has consumed.
    pub(crate) head: u64,
}

impl VatRow {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(32);
        put_varint(&mut out, self.number.get());
        put_varint(&mut out, u64::from(self.kind));
        put_varint(&mut out, self.progress.crank.get());
        put_varint(&mut out, self.progress.spawned);
        put_varint(&mut out, self.progress.now.get());
        put_varint(&mut out, self.head);
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let number = VatNumber::new(reader.varint("vat number")?);
        let offset = reader.offset();
        let kind =
            KindIndex::try_from(reader.varint("kind")?).map_err(|_| DecodeError::Invalid {
                what: "kind",
                offset,
            })?;
        let crank = CrankNumber::new(reader.varint("crank number")?);
        let spawned = reader.varint("vats made")?;
        let now = Time::new(reader.varint("now")?);
        let offset = reader.offset();
        let head = reader.varint("deliveries consumed")?;
        if head >> 44 != 0 {
            // Chunks of the inbox are numbered in 32 bits.
            return Err(DecodeError::Invalid {
                what: "deliveries consumed",
                offset,
            });
        }
        reader.finish()?;
        Ok(Self {
            number,
            kind,
            progress: Progress {
                crank,
                spawned,
                now,
            },
            head,
        })
    }
}

/// The numbers that belong to no vat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Counters {
    pub(crate) host_spawned: u64,
    pub(crate) last_number: VatNumber,
    pub(crate) time: Time,
    pub(crate) run: Option<OpenRun>,
}

impl Counters {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_varint(&mut out, ROWS_VERSION);
        put_varint(&mut out, self.host_spawned);
        put_varint(&mut out, self.last_number.get());
        put_varint(&mut out, self.time.get());
        match self.run {
            None => out.push(0),
            Some(OpenRun { left: None }) => out.push(1),
            Some(OpenRun { left: Some(left) }) => {
                out.push(2);
                put_varint(&mut out, left);
            }
        }
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let version = reader.varint("version of the rows")?;
        if version > ROWS_VERSION {
            let found = u8::try_from(version).unwrap_or(u8::MAX);
            return Err(DecodeError::Newer {
                found,
                supported: ROWS_VERSION as u8,
            });
        }
        let host_spawned = reader.varint("vats made by the host")?;
        let last_number = VatNumber::new(reader.varint("last vat number")?);
        let time = Time::new(reader.varint("time")?);
        let offset = reader.offset();
        let run = match reader.byte("open run")? {
            0 => None,
            1 => Some(OpenRun { left: None }),
            2 => Some(OpenRun {
                left: Some(reader.varint("budget left")?),
            }),
            _ => {
                return Err(DecodeError::Invalid {
                    what: "open run",
                    offset,
                });
            }
        };
        reader.finish()?;
        Ok(Self {
            host_spawned,
            last_number,
            time,
            run,
        })
    }
}

impl JournalKind {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_varint(&mut out, u64::from(self.version));
        put_bytes(&mut out, self.name.as_bytes());
        put_varint(&mut out, self.live);
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let version = reader.varint_u32("kind version")?;
        let name = reader.text("kind name")?.to_owned();
        let live = reader.varint("live vats")?;
        reader.finish()?;
        Ok(Self {
            name,
            version,
            live,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back() {
        let progress = Progress {
            crank: CrankNumber::new(300),
            spawned: 2,
            now: Time::new(1 << 40),
        };
        let row = VatRow {
            number: VatNumber::new(7),
            kind: 3,
            progress,
            head: 299,
        };
        assert_eq!(VatRow::decode(&row.encode()), Ok(row));
        for run in [
            None,
            Some(OpenRun { left: None }),
            Some(OpenRun { left: Some(4) }),
        ] {
            let counters = Counters {
                host_spawned: 5,
                last_number: VatNumber::new(6),
                time: Time::new(7),
                run,
            };
            assert_eq!(Counters::decode(&counters.encode()), Ok(counters));
        }
    }
}
