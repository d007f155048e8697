//! Acts: the single things that records do, in order.
//!
//! | tag | act    | fields                                                        |
//! |-----|--------|---------------------------------------------------------------|
//! | 1   | send   | receiver (vat), method (text), arguments (bytes)              |
//! | 2   | spawn  | counter (number), kind (text), version (number), arguments (bytes), root name (text, empty for none) |
//! | 3   | put    | key (bytes), value (bytes)                                    |
//! | 4   | delete | key (bytes)                                                   |
//! | 5   | forget | request id (text)                                             |
//!
//! Sends and spawns are deliveries to be; a delivery's index in its identity counts just these.

use crate::codec::{DecodeError, Reader, put_bytes, put_varint, put_vat};
use crate::ids::VatId;

const SEND: u8 = 1;
const SPAWN: u8 = 2;
const PUT: u8 = 3;
const DELETE: u8 = 4;
const FORGET: u8 = 5;

/// One thing that a record does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Act<'a> {
    /// A message for a vat.
    Send {
        /// The receiver.
        to: VatId,
        /// The method's name.
        method: &'a str,
        /// The encoded arguments.
        args: &'a [u8],
    },
    /// A new vat and its start.
    Spawn {
        /// The counter in the new vat's id; its creator is whoever made the record.
        counter: u64,
        /// The kind's name.
        kind: &'a str,
        /// The version of the kind's code that its maker knew.
        version: u32,
        /// The encoded arguments of its `create`.
        args: &'a [u8],
        /// The root name that the host gave it, or nothing.
        name: &'a str,
    },
    /// A store row written.
    Put {
        /// The key.
        key: &'a [u8],
        /// The value.
        value: &'a [u8],
    },
    /// A store row removed.
    Delete {
        /// The key.
        key: &'a [u8],
    },
    /// A request id that the host needs no longer.
    Forget {
        /// The id.
        request: &'a str,
    },
}

impl<'a> Act<'a> {
    /// Whether it makes a delivery, and so counts for the index of deliveries.
    #[must_use]
    #[inline]
    pub const fn is_delivery(&self) -> bool {
        matches!(self, Self::Send { .. } | Self::Spawn { .. })
    }

    /// Appends the encoding.
    pub fn write(&self, out: &mut Vec<u8>) {
        match *self {
            Act::Send { to, method, args } => {
                write_send_head(out, to, method);
                put_bytes(out, args);
            }
            Act::Spawn {
                counter,
                kind,
                version,
                args,
                name,
            } => {
                write_spawn_head(out, counter, kind, version);
                put_bytes(out, args);
                put_bytes(out, name.as_bytes());
            }
            Act::Put { key, value } => {
                out.push(PUT);
                put_bytes(out, key);
                put_bytes(out, value);
            }
            Act::Delete { key } => {
                out.push(DELETE);
                put_bytes(out, key);
            }
            Act::Forget { request } => {
                out.push(FORGET);
                put_bytes(out, request.as_bytes());
            }
        }
    }

    /// Reads one act.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] when no act stands there.
    #[inline]
    pub fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let offset = reader.offset();
        Ok(match reader.byte("act")? {
            SEND => Self::Send {
                to: reader.vat("receiver")?,
                method: reader.text("method")?,
                args: reader.bytes("arguments")?,
            },
            SPAWN => Self::Spawn {
                counter: reader.varint("spawn counter")?,
                kind: reader.text("kind")?,
                version: reader.varint_u32("kind version")?,
                args: reader.bytes("arguments")?,
                name: reader.text("root name")?,
            },
            PUT => Self::Put {
                key: reader.bytes("key")?,
                value: reader.bytes("value")?,
            },
            DELETE => Self::Delete {
                key: reader.bytes("key")?,
            },
            FORGET => Self::Forget {
                request: reader.text("request id")?,
            },
            _ => {
                return Err(DecodeError::Invalid {
                    what: "act",
                    offset,
                });
            }
        })
    }
}

/// Appends a send up to its arguments, which the caller appends with their length.
#[inline]
pub(crate) fn write_send_head(out: &mut Vec<u8>, to: VatId, method: &str) {
    out.push(SEND);
    put_vat(out, to);
    put_bytes(out, method.as_bytes());
}

/// Appends a spawn up to its arguments; they follow with their length, then the root name.
pub(crate) fn write_spawn_head(out: &mut Vec<u8>, counter: u64, kind: &str, version: u32) {
    out.push(SPAWN);
    put_varint(out, counter);
    put_bytes(out, kind.as_bytes());
    put_varint(out, u64::from(version));
}

/// The acts of a record or of an entry, with the offset at which each stands in the record.
#[derive(Debug, Clone)]
pub struct Acts<'a> {
    reader: Reader<'a>,
    left: u64,
    to_the_end: bool,
    failed: bool,
}

impl<'a> Acts<'a> {
    /// All acts up to the end of the bytes.
    pub(crate) const fn to_the_end(reader: Reader<'a>) -> Self {
        Self {
            reader,
            left: 0,
            to_the_end: true,
            failed: false,
        }
    }

    /// The next `count` acts.
    pub(crate) const fn counted(reader: Reader<'a>, count: u64) -> Self {
        Self {
            reader,
            left: count,
            to_the_end: false,
            failed: false,
        }
    }

    /// The next act and its offset in the record.
    #[inline]
    pub fn next_at(&mut self) -> Option<Result<(usize, Act<'a>), DecodeError>> {
        let done = if self.to_the_end {
            self.reader.is_at_end()
        } else {
            self.left == 0
        };
        if done || self.failed {
            return None;
        }
        self.left = self.left.wrapping_sub(1);
        let offset = self.reader.offset();
        let act = Act::read(&mut self.reader);
        self.failed = act.is_err();
        Some(act.map(|act| (offset, act)))
    }

    pub(crate) fn into_reader(self) -> Reader<'a> {
        self.reader
    }
}

impl<'a> Iterator for Acts<'a> {
    type Item = Result<Act<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_at().map(|act| act.map(|(_, act)| act))
    }
}
