//! Acts: the single things that records do, in order.
//!
//! The low half of an act's first byte says which act it is; the two bits above are flags.
//!
//! | tag | act     | fields                                                                  |
//! |-----|---------|-------------------------------------------------------------------------|
//! | 1   | send    | receiver: a vat, or with flag 0x20 a slot; method (text), arguments     |
//! | 2   | spawn   | counter (number), kind (text), version (number), arguments, root name (text, empty for none) |
//! | 3   | put     | key (bytes), value (bytes)                                              |
//! | 4   | delete  | key (bytes)                                                             |
//! | 5   | forget  | request id (text)                                                       |
//! | 6   | promise | nothing                                                                 |
//! | 7   | settle  | counter of the promise (number), resolution (bytes)                     |
//! | 8   | watch   | slot, number of the object that watches, method (text), context         |
//! | 9   | keep    | slot, how often (number)                                                |
//! | 10  | let go  | slot, how often (number)                                                |
//! | 11  | took    | slot, how often (number)                                                |
//! | 12  | hold    | slot                                                                    |
//! | 13  | release | slot                                                                    |
//! | 14  | await   | slot                                                                    |
//! | 15  | rarer   | a byte that says which: 1 upgrade: vat, kind (text), version (number); 2 became: version (number) |
//!
//! Arguments and contexts are bodies, with their length before them. Sends, spawns, watches,
//! awaits and upgrades are deliveries to be; a delivery's index in its identity counts just these. Sends,
//! watches and promises of a crank make a promise each: the vat's next ones, in order. With flag
//! 0x10 someone keeps it; without, nobody will ever ask for it.

use crate::body::Body;
use crate::codec::{DecodeError, Reader, put_bytes, put_varint, put_vat};
use crate::ids::{ObjectId, VatId};
use crate::reference::Slot;

const SEND: u8 = 1;
const SPAWN: u8 = 2;
const PUT: u8 = 3;
const DELETE: u8 = 4;
const FORGET: u8 = 5;
const PROMISE: u8 = 6;
const SETTLE: u8 = 7;
const WATCH: u8 = 8;
const KEEP: u8 = 9;
const LET_GO: u8 = 10;
const TOOK: u8 = 11;
const HOLD: u8 = 12;
const RELEASE: u8 = 13;
const AWAIT: u8 = 14;
const RARER: u8 = 15;

/// Which of the rarer acts.
const UPGRADE: u8 = 1;
const BECAME: u8 = 2;

const TAG: u8 = 0x0f;
/// The promise that the act makes is kept by someone.
pub(crate) const KEPT: u8 = 0x10;
/// The receiver is a slot.
const TO_SLOT: u8 = 0x20;
const SEND_KEPT: u8 = SEND | KEPT;

/// One thing that a record does.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Act<'a> {
    /// A message.
    Send {
        /// The receiver: an object or a promise.
        to: Slot,
        /// The method's name.
        method: &'a str,
        /// The encoded arguments.
        args: Body<'a>,
        /// Whether the promise of its outcome is kept by someone.
        kept: bool,
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
        args: Body<'a>,
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
    /// A promise that the vat itself decides.
    Promise {
        /// Whether anyone keeps it.
        kept: bool,
    },
    /// The decision of a promise that the vat made.
    Settle {
        /// The promise's counter.
        counter: u64,
        /// The encoded [`Resolution`](crate::Resolution).
        resolution: &'a [u8],
    },
    /// A durable continuation: when the promise comes to its end, the vat is told.
    Watch {
        /// What is watched.
        on: Slot,
        /// The number of the vat's object that is told.
        object: u64,
        /// The name of the continuation.
        method: &'a str,
        /// What the vat wants to know then.
        context: Body<'a>,
        /// Whether the promise of its outcome is kept by someone.
        kept: bool,
    },
    /// The vat's state and store hold a reference more often.
    Keep {
        /// The reference.
        what: Slot,
        /// How much more often.
        times: u64,
    },
    /// The vat's state and store hold a reference less often.
    LetGo {
        /// The reference.
        what: Slot,
        /// How much less often.
        times: u64,
    },
    /// A reference came with the delivery that was consumed, and is on its way no longer.
    Took {
        /// The reference.
        what: Slot,
        /// How often it stood there.
        times: u64,
    },
    /// The host holds a reference from now on.
    Hold {
        /// The reference.
        what: Slot,
    },
    /// The host holds a reference no longer.
    Release {
        /// The reference.
        what: Slot,
    },
    /// The host wants to know what a promise comes to.
    Await {
        /// The promise.
        on: Slot,
    },
    /// The host wants a vat to go on with another version of its kind's code.
    Upgrade {
        /// The vat.
        vat: VatId,
        /// The kind that it must be of.
        kind: &'a str,
        /// The version.
        version: u32,
    },
    /// The vat goes on with another version of its kind's code.
    Became {
        /// The version.
        version: u32,
    },
}

#[cold]
const fn no_method(offset: usize) -> DecodeError {
    DecodeError::Invalid {
        what: "method",
        offset,
    }
}

/// A message to a vat's root, which most acts are: they are read apart, because an [`Act`] is made
/// for all of them and costs as much as the largest.
#[derive(Debug, Clone, Copy)]
pub struct ToRoot<'a> {
    /// The receiver.
    pub to: VatId,
    /// The bytes of the method's name.
    method: &'a [u8],
    /// The encoded arguments.
    pub args: Body<'a>,
    /// Whether the promise of its outcome is kept by someone.
    pub kept: bool,
}

impl<'a> ToRoot<'a> {
    /// Reads one, if one stands there; if not, nothing is taken.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] when it begins as one and is none.
    #[inline(always)]
    pub fn read(reader: &mut Reader<'a>) -> Result<Option<Self>, DecodeError> {
        let (SEND_KEPT | SEND) = reader.peek() else {
            return Ok(None);
        };
        let first = reader.byte("act")?;
        let to = reader.vat("receiver")?;
        let offset = reader.offset();
        let method = reader.bytes("method")?;
        // Most names are, and to find that out takes a quarter of the time.
        if !method.is_ascii() && std::str::from_utf8(method).is_err() {
            return Err(no_method(offset));
        }
        Ok(Some(Self {
            to,
            method,
            args: Body::read(reader.bytes("arguments")?)?,
            kept: first & KEPT != 0,
        }))
    }

    /// The method's name.
    ///
    /// # Errors
    ///
    /// None that reading it has not excluded.
    #[inline(always)]
    pub fn method(&self) -> Result<&'a str, DecodeError> {
        std::str::from_utf8(self.method).map_err(|_| no_method(0))
    }
}

impl<'a> Act<'a> {
    /// Whether it makes a delivery or has an outcome of its own, and so counts for the index of
    /// deliveries.
    #[must_use]
    #[inline]
    pub const fn is_delivery(&self) -> bool {
        matches!(
            self,
            Self::Send { .. }
                | Self::Spawn { .. }
                | Self::Watch { .. }
                | Self::Await { .. }
                | Self::Hold { .. }
                | Self::Upgrade { .. }
        )
    }

    /// Whether it makes a promise, and if so whether that is kept.
    #[must_use]
    #[inline]
    pub const fn made_promise(&self) -> Option<bool> {
        match self {
            Self::Send { kept, .. } | Self::Promise { kept } | Self::Watch { kept, .. } => {
                Some(*kept)
            }
            _ => None,
        }
    }

    /// Appends the encoding.
    pub fn write(&self, out: &mut Vec<u8>) {
        let flag = |tag: u8, kept: &bool| if *kept { tag | KEPT } else { tag };
        let one = |out: &mut Vec<u8>, tag: u8, slot: &Slot| {
            out.push(tag);
            slot.write(out);
        };
        let counted = |out: &mut Vec<u8>, tag: u8, slot: &Slot, times: u64| {
            out.push(tag);
            slot.write(out);
            put_varint(out, times);
        };
        match self {
            Act::Send {
                to,
                method,
                args,
                kept,
            } => {
                let at = out.len();
                write_send_head(out, to, method);
                out[at] = flag(out[at], kept);
                put_bytes(out, args.raw());
            }
            Act::Spawn {
                counter,
                kind,
                version,
                args,
                name,
            } => {
                write_spawn_head(out, *counter, kind, *version);
                put_bytes(out, args.raw());
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
            Act::Promise { kept } => out.push(flag(PROMISE, kept)),
            Act::Settle {
                counter,
                resolution,
            } => {
                out.push(SETTLE);
                put_varint(out, *counter);
                put_bytes(out, resolution);
            }
            Act::Watch {
                on,
                object,
                method,
                context,
                kept,
            } => {
                let at = out.len();
                write_watch_head(out, on, *object, method);
                out[at] = flag(out[at], kept);
                put_bytes(out, context.raw());
            }
            Act::Keep { what, times } => counted(out, KEEP, what, *times),
            Act::LetGo { what, times } => counted(out, LET_GO, what, *times),
            Act::Took { what, times } => counted(out, TOOK, what, *times),
            Act::Hold { what } => one(out, HOLD, what),
            Act::Release { what } => one(out, RELEASE, what),
            Act::Await { on } => one(out, AWAIT, on),
            Act::Upgrade { vat, kind, version } => {
                out.extend_from_slice(&[RARER, UPGRADE]);
                put_vat(out, *vat);
                put_bytes(out, kind.as_bytes());
                put_varint(out, u64::from(*version));
            }
            Act::Became { version } => {
                out.extend_from_slice(&[RARER, BECAME]);
                put_varint(out, u64::from(*version));
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
        if let Some(message) = ToRoot::read(reader)? {
            return Ok(Self::Send {
                to: Slot::Object(ObjectId::root(message.to)),
                method: message.method()?,
                args: message.args,
                kept: message.kept,
            });
        }
        let offset = reader.offset();
        let first = reader.byte("act")?;
        let kept = first & KEPT != 0;
        let tag = first & TAG;
        let may_have = match tag {
            SEND => KEPT | TO_SLOT,
            PROMISE | WATCH => KEPT,
            _ => 0,
        };
        if first & !TAG & !may_have != 0 {
            return Err(DecodeError::Invalid {
                what: "flags of an act",
                offset,
            });
        }
        Ok(match tag {
            SEND => Self::Send {
                to: match Slot::read(reader)? {
                    // Those have a spelling of their own, above.
                    Slot::Object(to) if to.is_root() => {
                        return Err(DecodeError::Invalid {
                            what: "receiver",
                            offset: offset + 1,
                        });
                    }
                    to => to,
                },
                method: reader.text("method")?,
                args: Body::read(reader.bytes("arguments")?)?,
                kept,
            },
            SPAWN => Self::Spawn {
                counter: reader.varint("spawn counter")?,
                kind: reader.text("kind")?,
                version: reader.varint_u32("kind version")?,
                args: Body::read(reader.bytes("arguments")?)?,
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
            PROMISE => Self::Promise { kept },
            SETTLE => Self::Settle {
                counter: reader.varint("promise counter")?,
                resolution: reader.bytes("resolution")?,
            },
            WATCH => Self::Watch {
                on: Slot::read(reader)?,
                object: reader.varint("object number")?,
                method: reader.text("method")?,
                context: Body::read(reader.bytes("context")?)?,
                kept,
            },
            KEEP => Self::Keep {
                what: Slot::read(reader)?,
                times: reader.varint("times")?,
            },
            LET_GO => Self::LetGo {
                what: Slot::read(reader)?,
                times: reader.varint("times")?,
            },
            TOOK => Self::Took {
                what: Slot::read(reader)?,
                times: reader.varint("times")?,
            },
            HOLD => Self::Hold {
                what: Slot::read(reader)?,
            },
            RELEASE => Self::Release {
                what: Slot::read(reader)?,
            },
            AWAIT => Self::Await {
                on: Slot::read(reader)?,
            },
            RARER => match reader.byte("act")? {
                UPGRADE => Self::Upgrade {
                    vat: reader.vat("vat")?,
                    kind: reader.text("kind")?,
                    version: reader.varint_u32("kind version")?,
                },
                BECAME => Self::Became {
                    version: reader.varint_u32("kind version")?,
                },
                _ => {
                    return Err(DecodeError::Invalid {
                        what: "act",
                        offset: offset + 1,
                    });
                }
            },
            _ => {
                return Err(DecodeError::Invalid {
                    what: "act",
                    offset,
                });
            }
        })
    }

    /// Walks what stands inside of it, so that a later walk cannot fail.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] with the first thing that is wrong.
    pub fn validate(&self) -> Result<(), DecodeError> {
        let slot = |slot: &Slot| slot.each_reference(&mut |_| {});
        match self {
            Self::Send { to, args, .. } => slot(to).and_then(|()| args.each_reference(&mut |_| {})),
            Self::Spawn { args, .. } => args.each_reference(&mut |_| {}),
            Self::Watch { on, context, .. } => {
                slot(on).and_then(|()| context.each_reference(&mut |_| {}))
            }
            Self::Settle { resolution, .. } => match crate::Resolution::read(resolution)? {
                crate::Resolution::Value(body) => body.each_reference(&mut |_| {}),
                crate::Resolution::Rejected(_) => Ok(()),
            },
            Self::Keep { what, .. }
            | Self::LetGo { what, .. }
            | Self::Took { what, .. }
            | Self::Hold { what }
            | Self::Release { what } => slot(what),
            Self::Await { on } => slot(on),
            Self::Put { .. }
            | Self::Delete { .. }
            | Self::Forget { .. }
            | Self::Promise { .. }
            | Self::Upgrade { .. }
            | Self::Became { .. } => Ok(()),
        }
    }
}

/// Appends a send up to its arguments, which the caller appends with their length.
#[inline(always)]
pub(crate) fn write_send_head(out: &mut Vec<u8>, to: &Slot, method: &str) {
    match to {
        Slot::Object(ObjectId {
            vat,
            number: ObjectId::ROOT,
        }) => {
            out.push(SEND);
            put_vat(out, *vat);
        }
        other => {
            out.push(SEND | TO_SLOT);
            other.write(out);
        }
    }
    put_bytes(out, method.as_bytes());
}

/// Appends a watch up to its context, which the caller appends with its length.
pub(crate) fn write_watch_head(out: &mut Vec<u8>, on: &Slot, object: u64, method: &str) {
    out.push(WATCH);
    on.write(out);
    put_varint(out, object);
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

    /// Where in the record the next act begins.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.reader.offset()
    }

    /// Whether none is left.
    #[inline]
    fn is_done(&self) -> bool {
        let none_left = match self.to_the_end {
            true => self.reader.is_at_end(),
            false => self.left == 0,
        };
        none_left || self.failed
    }

    /// The next act, if it is a message to a vat's root; if not, it is left there.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] when it begins as one and is none.
    #[inline(always)]
    pub fn next_to_root(&mut self) -> Result<Option<ToRoot<'a>>, DecodeError> {
        if self.is_done() {
            return Ok(None);
        }
        let read = ToRoot::read(&mut self.reader);
        match &read {
            Ok(None) => {}
            Ok(Some(_)) => self.left = self.left.wrapping_sub(1),
            Err(_) => self.failed = true,
        }
        read
    }

    /// The next act and its offset in the record.
    #[inline]
    pub fn next_at(&mut self) -> Option<Result<(usize, Act<'a>), DecodeError>> {
        if self.is_done() {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a message to a vat's root is, read the plain way.
    fn plain<'a>(reader: &mut Reader<'a>) -> Result<Act<'a>, DecodeError> {
        let first = reader.byte("act")?;
        Ok(Act::Send {
            to: Slot::Object(ObjectId::root(reader.vat("receiver")?)),
            method: reader.text("method")?,
            args: Body::read(reader.bytes("arguments")?)?,
            kept: first & KEPT != 0,
        })
    }

    #[test]
    fn a_message_to_a_root_has_one_spelling() {
        let mut bytes = vec![SEND | TO_SLOT];
        Slot::Object(ObjectId::root(VatId::new(crate::ids::VatNumber::HOST, 1))).write(&mut bytes);
        bytes.extend_from_slice(&[1, b'm', 1, 0]);
        let read = Act::read(&mut Reader::new(&bytes));
        assert!(matches!(
            read,
            Err(DecodeError::Invalid {
                what: "receiver",
                ..
            })
        ));
    }

    proptest! {
        #[test]
        fn messages_to_a_root_are_read_as_acts_are_and_nothing_else_is(
            first in prop_oneof![Just(SEND), Just(SEND | KEPT), any::<u8>()],
            rest in proptest::collection::vec(prop_oneof![0u8..8, any::<u8>()], 0..24),
        ) {
            let mut bytes = vec![first];
            bytes.extend(rest);
            let to_root = first == SEND || first == SEND | KEPT;
            let (mut apart, mut whole) = (Reader::new(&bytes), Reader::new(&bytes));
            let act = Act::read(&mut whole);
            match ToRoot::read(&mut apart) {
                Ok(None) => {
                    prop_assert!(!to_root);
                    prop_assert_eq!(apart.offset(), 0);
                }
                Ok(Some(read)) => {
                    let mut reader = Reader::new(&bytes);
                    prop_assert_eq!(&act, &plain(&mut reader));
                    prop_assert_eq!(apart.offset(), reader.offset());
                    prop_assert_eq!(whole.offset(), reader.offset());
                    let Ok(Act::Send { to: Slot::Object(to), method, args, kept }) = act else {
                        return Err(TestCaseError::fail("it is a message"));
                    };
                    prop_assert_eq!(to, ObjectId::root(read.to));
                    prop_assert_eq!(Ok(method), read.method());
                    prop_assert_eq!((args, kept), (read.args, read.kept));
                }
                Err(error) => {
                    prop_assert!(to_root);
                    prop_assert_eq!(plain(&mut Reader::new(&bytes)), Err(error.clone()));
                    prop_assert_eq!(act, Err(error));
                }
            }
        }
    }
}
