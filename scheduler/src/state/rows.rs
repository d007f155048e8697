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
//! | 8     | vat id of a vat that ended     | the store key up to which it is swept, or nothing |
//! | 9     | vat id                         | encoded state, a body; no row before the start committed |
//! | 10    | promise (16 bytes)             | a promise (`promises.rs`)                        |
//! | 11    | vat id, object number (8 bytes)| how the object is held (`counts.rs`)             |
//! | 12    | a reference                    | how often the host holds it                      |
//!
//! Numbers in keys are big endian, so that rows sort as their numbers do.

use crankcase_vat::codec::{Reader, put_bytes, put_varint};
use crankcase_vat::{
    CrankNumber, DecodeError, ObjectId, Progress, Reference, Slot, Time, VatId, VatNumber, mutant,
};

use super::vats::Ended;
use super::{JournalKind, KindIndex, OpenRun};

/// The version of the rows' layout.
pub(crate) const ROWS_VERSION: u64 = 2;

pub(crate) const VATS: u8 = 1;
pub(crate) const INBOXES: u8 = 2;
pub(crate) const STORES: u8 = 3;
pub(crate) const NAMES: u8 = 4;
pub(crate) const REQUESTS: u8 = 5;
pub(crate) const KINDS: u8 = 6;
pub(crate) const COUNTERS: u8 = 7;
pub(crate) const SWEEPS: u8 = 8;
pub(crate) const STATES: u8 = 9;
pub(crate) const PROMISES: u8 = 10;
pub(crate) const OBJECTS: u8 = 11;
pub(crate) const HOLDS: u8 = 12;

/// The key of an object.
pub(crate) fn object_key(object: ObjectId) -> Vec<u8> {
    inbox_key(object.vat, object.number)
}

/// The object whose key that is.
pub(crate) fn object_of_key(key: &[u8]) -> Option<ObjectId> {
    let number = key.get(16..)?.try_into().ok().map(u64::from_be_bytes)?;
    Some(ObjectId::new(vat_of_key(key)?, number))
}

/// The key of a reference that the host holds.
pub(crate) fn reference_key(reference: Reference) -> Vec<u8> {
    let mut key = Vec::new();
    Slot::from(reference).write(&mut key);
    key
}

/// The reference whose key that is.
pub(crate) fn reference_of_key(key: &[u8]) -> Option<Reference> {
    let mut reader = Reader::new(key);
    let slot = Slot::read(&mut reader).ok()?;
    reader.finish().ok()?;
    slot.reference()
}

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
    /// Whether it lives no more.
    pub(crate) ended: Option<Ended>,
}

impl VatRow {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(32);
        put_varint(&mut out, self.number.get());
        put_varint(&mut out, u64::from(self.kind));
        put_varint(&mut out, self.progress.crank.get());
        put_varint(&mut out, self.progress.spawned);
        let promised = match mutant("numbers-are-given-twice-after-a-restart") {
            false => self.progress.promised,
            true => 0,
        };
        put_varint(&mut out, promised);
        put_varint(&mut out, self.progress.objects);
        put_varint(&mut out, self.progress.now.get());
        match self.ended {
            None => out.push(0),
            Some(ended) => {
                out.push(if ended.started { 1 } else { 2 });
                put_varint(&mut out, ended.promises_from);
            }
        }
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
        let offset = reader.offset();
        let crank = CrankNumber::new(reader.varint("crank number")?);
        if crank.get() >> 44 != 0 {
            // Chunks of the inbox are numbered in 32 bits.
            return Err(DecodeError::Invalid {
                what: "crank number",
                offset,
            });
        }
        let spawned = reader.varint("vats made")?;
        let promised = reader.varint("promises made")?;
        let objects = reader.varint("objects made")?;
        let now = Time::new(reader.varint("now")?);
        let offset = reader.offset();
        let ended = match reader.byte("whether it lives")? {
            0 => None,
            code @ (1 | 2) => Some(Ended {
                started: code == 1,
                promises_from: reader.varint("promise counter")?,
            }),
            _ => {
                return Err(DecodeError::Invalid {
                    what: "whether it lives",
                    offset,
                });
            }
        };
        reader.finish()?;
        Ok(Self {
            number,
            kind,
            progress: Progress {
                crank,
                spawned,
                promised,
                objects,
                now,
            },
            ended,
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
            promised: 1000,
            objects: 5,
            now: Time::new(1 << 40),
        };
        for ended in [None, Some(true), Some(false)] {
            let row = VatRow {
                number: VatNumber::new(7),
                kind: 3,
                progress: progress.clone(),
                ended: ended.map(|started| Ended {
                    started,
                    promises_from: 256,
                }),
            };
            assert_eq!(VatRow::decode(&row.encode()), Ok(row));
        }
        let object = ObjectId::new(VatId::new(VatNumber::new(3), 4), 5);
        assert_eq!(object_of_key(&object_key(object)), Some(object));
        let held = Reference::Object(object);
        assert_eq!(reference_of_key(&reference_key(held)), Some(held));
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
