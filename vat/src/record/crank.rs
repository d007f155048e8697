//! What a finished crank leaves.
//!
//! ```text
//! byte     version and kind
//! vat      the vat whose crank it is
//! number   the crank's number in its vat
//! delivery the delivery it consumed, by identity
//! number   now
//! byte     how it ended: 0 committed, 1 committed and the vat ended,
//!                        2 abandoned, 3 abandoned and the vat ended, 4 cleaned
//! committed:  byte flags (1: state follows, 2: answer follows, 4: rows are left of the vat)
//!             [bytes state] [bytes answer] acts to the end
//! abandoned:  byte cause, text code, text message, [byte flags (4), when the vat ended]
//!             acts to the end
//! cleaned:    byte flags (4), acts to the end
//! ```
//!
//! The state is a body and the answer a resolution. An abandoned crank's acts are none of its own
//! doing: what it took from its delivery, and, when the vat ended, what the vat's state held.

use crate::codec::{DecodeError, Reader, put_bytes, put_delivery_id, put_varint, put_vat};
use crate::ids::{CrankNumber, DeliveryId, Time, VatId};
use crate::record::act::Acts;
use crate::record::{KIND_CRANK, head};
use crate::rejection::{Cause, Rejection};

const COMMITTED: u8 = 0;
const COMMITTED_ENDED: u8 = 1;
const ABANDONED: u8 = 2;
const ABANDONED_ENDED: u8 = 3;
const CLEANED: u8 = 4;

const HAS_STATE: u8 = 1;
const HAS_ANSWER: u8 = 2;
const ROWS_LEFT: u8 = 4;

/// What becomes of a vat with its crank.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VatEnd {
    /// It lives on.
    Lives,
    /// It ends with this crank.
    Ended {
        /// Whether rows of its store hold references, which are to be let go of in cranks to come.
        rows_left: bool,
    },
}

impl VatEnd {
    /// Whether the vat ends.
    #[must_use]
    pub const fn has_ended(self) -> bool {
        matches!(self, Self::Ended { .. })
    }

    const fn flags(self) -> u8 {
        match self {
            Self::Ended { rows_left: true } => ROWS_LEFT,
            _ => 0,
        }
    }
}

/// How a crank ended. In order of priority, first wins: a doomed crank (illegal call, limit,
/// panic) is abandoned whatever else it did; then `exit(failure)`; then an `Err`; then
/// `exit(success)`; then a plain commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CrankEnd<'a> {
    /// Everything it did happened.
    Committed {
        /// The vat's new encoded state, a body, when it differs from the one before.
        state: Option<&'a [u8]>,
        /// The encoded answer, a resolution, when someone waits for it.
        answer: Option<&'a [u8]>,
        /// Whether the vat ended itself as succeeded.
        vat: VatEnd,
    },
    /// Nothing of it happened.
    Abandoned {
        /// Why.
        rejection: Rejection,
        /// Whether the vat ended: it exited as failed, or could not be started.
        vat: VatEnd,
    },
    /// Not of the vat's own doing: rows of a vat that had ended were let go of.
    Cleaned {
        /// Whether there are more.
        rows_left: bool,
    },
}

/// A crank's record, read in place.
#[derive(Debug, Clone)]
pub struct CrankRecord<'a> {
    /// The vat whose crank it is.
    pub vat: VatId,
    /// The crank's number in its vat.
    pub number: CrankNumber,
    /// The delivery it consumed.
    pub consumed: DeliveryId,
    /// What the crank saw as `now`.
    pub now: Time,
    /// How it ended.
    pub end: CrankEnd<'a>,
    acts: Reader<'a>,
}

impl<'a> CrankRecord<'a> {
    #[inline(always)]
    pub(super) fn parse(bytes: &'a [u8], mut reader: Reader<'a>) -> Result<Self, DecodeError> {
        let vat = reader.vat("vat")?;
        let number = reader.crank_number("crank number")?;
        let consumed = reader.delivery_id("consumed delivery")?;
        let now = reader.time("now")?;
        let offset = reader.offset();
        let ending = reader.byte("how the crank ended")?;
        let flags = |reader: &mut Reader<'a>, may_have: u8| {
            let offset = reader.offset();
            match reader.byte("flags")? {
                flags if flags & !may_have == 0 => Ok(flags),
                _ => Err(DecodeError::Invalid {
                    what: "flags",
                    offset,
                }),
            }
        };
        let vat_end = |ended: bool, flags: u8| match ended {
            true => VatEnd::Ended {
                rows_left: flags & ROWS_LEFT != 0,
            },
            false => VatEnd::Lives,
        };
        let end = match ending {
            COMMITTED | COMMITTED_ENDED => {
                let ended = ending == COMMITTED_ENDED;
                let may_have = HAS_STATE | HAS_ANSWER | if ended { ROWS_LEFT } else { 0 };
                let flags = flags(&mut reader, may_have)?;
                let state = (flags & HAS_STATE != 0)
                    .then(|| reader.bytes("state"))
                    .transpose()?;
                let answer = (flags & HAS_ANSWER != 0)
                    .then(|| reader.bytes("answer"))
                    .transpose()?;
                CrankEnd::Committed {
                    state,
                    answer,
                    vat: vat_end(ended, flags),
                }
            }
            ABANDONED | ABANDONED_ENDED => {
                let rejection = read_rejection(&mut reader)?;
                let ended = ending == ABANDONED_ENDED;
                let flags = if ended {
                    flags(&mut reader, ROWS_LEFT)?
                } else {
                    0
                };
                CrankEnd::Abandoned {
                    rejection,
                    vat: vat_end(ended, flags),
                }
            }
            CLEANED => CrankEnd::Cleaned {
                rows_left: flags(&mut reader, ROWS_LEFT)? != 0,
            },
            _ => {
                return Err(DecodeError::Invalid {
                    what: "how the crank ended",
                    offset,
                });
            }
        };
        let acts = Reader::starting_at(bytes, reader.offset());
        Ok(Self {
            vat,
            number,
            consumed,
            now,
            end,
            acts,
        })
    }

    /// What the crank did, in order.
    #[must_use]
    #[inline]
    pub fn acts(&self) -> Acts<'a> {
        Acts::to_the_end(self.acts.clone())
    }

    /// Appends the encoding of a record of which `acts` are the encoded acts, in two parts.
    pub(crate) fn write(&self, acts: [&[u8]; 2], out: &mut Vec<u8>) {
        out.push(head(KIND_CRANK));
        put_vat(out, self.vat);
        put_varint(out, self.number.get());
        put_delivery_id(out, self.consumed);
        put_varint(out, self.now.get());
        match &self.end {
            CrankEnd::Committed { state, answer, vat } => {
                out.push(if vat.has_ended() {
                    COMMITTED_ENDED
                } else {
                    COMMITTED
                });
                let mut flags = vat.flags();
                if state.is_some() {
                    flags |= HAS_STATE;
                }
                if answer.is_some() {
                    flags |= HAS_ANSWER;
                }
                out.push(flags);
                if let Some(state) = state {
                    put_bytes(out, state);
                }
                if let Some(answer) = answer {
                    put_bytes(out, answer);
                }
            }
            CrankEnd::Abandoned { rejection, vat } => {
                out.push(if vat.has_ended() {
                    ABANDONED_ENDED
                } else {
                    ABANDONED
                });
                write_rejection(out, rejection);
                if vat.has_ended() {
                    out.push(vat.flags());
                }
            }
            CrankEnd::Cleaned { rows_left } => {
                out.push(CLEANED);
                out.push(if *rows_left { ROWS_LEFT } else { 0 });
            }
        }
        for part in acts {
            out.extend_from_slice(part);
        }
    }

    /// A record to be written; its acts are given to [`write`](Self::write).
    #[inline]
    pub(crate) const fn new(
        vat: VatId,
        number: CrankNumber,
        consumed: DeliveryId,
        now: Time,
        end: CrankEnd<'a>,
    ) -> Self {
        Self {
            vat,
            number,
            consumed,
            now,
            end,
            acts: Reader::new(&[]),
        }
    }
}

/// In the byte of a rejection's cause: its detail stands behind the message.
const HAS_DETAIL: u8 = 0x80;

/// Appends a rejection; also used by rows that keep outcomes.
pub fn write_rejection(out: &mut Vec<u8>, rejection: &Rejection) {
    let detail = rejection.detail();
    let flag = if detail.is_some() { HAS_DETAIL } else { 0 };
    out.push(rejection.cause().code() | flag);
    put_bytes(out, rejection.code().as_bytes());
    put_bytes(out, rejection.message().as_bytes());
    if let Some(detail) = detail {
        put_bytes(out, detail);
    }
}

/// Reads what [`write_rejection`] wrote.
///
/// # Errors
///
/// [`DecodeError`] when no rejection stands there.
pub fn read_rejection(reader: &mut Reader<'_>) -> Result<Rejection, DecodeError> {
    let offset = reader.offset();
    let first = reader.byte("cause")?;
    let cause = Cause::from_code(first & !HAS_DETAIL).ok_or(DecodeError::Invalid {
        what: "cause",
        offset,
    })?;
    let mut rejection = Rejection::with_cause(cause, reader.text("code")?, reader.text("message")?);
    if first & HAS_DETAIL != 0 {
        rejection.set_detail(reader.bytes("detail")?.to_vec());
    }
    Ok(rejection)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::Body;
    use crate::ids::{ObjectId, PromiseId, Seq, VatNumber};
    use crate::record::{Act, Record};
    use crate::reference::Slot;

    fn sample<'a>(end: CrankEnd<'a>) -> CrankRecord<'a> {
        CrankRecord::new(
            VatId::new(VatNumber::new(3), 1_000),
            CrankNumber::new(77),
            DeliveryId::new(Seq::new(123_456), 5),
            Time::new(9),
            end,
        )
    }

    fn acts() -> Vec<Act<'static>> {
        let vat = VatId::new(VatNumber::HOST, 2);
        let object = Slot::Object(ObjectId::new(vat, 9));
        let promise = Slot::Promise(PromiseId::new(VatNumber::new(3), 4));
        let body = Body::read(&[1, 2, 5, 0]).expect("a promise and a byte");
        vec![
            Act::Send {
                to: Slot::Object(vat.into()),
                method: "credit",
                args: Body::read(&[0, 1, 2]).expect("a body"),
                kept: false,
            },
            Act::Send {
                to: promise.clone(),
                method: "later",
                args: body,
                kept: true,
            },
            Act::Spawn {
                counter: 4,
                kind: "account",
                version: 1,
                args: Body::empty(),
                name: "",
            },
            Act::Put {
                key: b"k",
                value: b"v",
            },
            Act::Delete { key: b"old" },
            Act::Promise { kept: true },
            Act::Settle {
                counter: 1,
                resolution: &[0, 0, 7],
            },
            Act::Watch {
                on: promise.clone(),
                object: 3,
                method: "done",
                context: body,
                kept: true,
            },
            Act::Keep {
                what: promise.clone(),
                times: 1,
            },
            Act::LetGo {
                what: object.clone(),
                times: 300,
            },
            Act::Took {
                what: object.clone(),
                times: 2,
            },
            Act::Hold {
                what: object.clone(),
            },
            Act::Release { what: object },
            Act::Await { on: promise },
        ]
    }

    #[test]
    fn a_committed_crank_comes_back() {
        let acts = acts();
        let mut encoded = Vec::new();
        for act in &acts {
            act.write(&mut encoded);
        }
        let mut bytes = Vec::new();
        let end = CrankEnd::Committed {
            state: Some(b"\0s"),
            answer: Some(b"\0\0"),
            vat: VatEnd::Ended { rows_left: true },
        };
        sample(end.clone()).write([&encoded, &[]], &mut bytes);
        let Ok(Record::Crank(read)) = Record::parse(&bytes) else {
            panic!("not a crank record")
        };
        assert_eq!(read.vat, VatId::new(VatNumber::new(3), 1_000));
        assert_eq!(read.number, CrankNumber::new(77));
        assert_eq!(read.consumed, DeliveryId::new(Seq::new(123_456), 5));
        assert_eq!(read.end, end);
        let read: Vec<_> = read.acts().collect::<Result<_, _>>().expect("acts");
        assert_eq!(read, acts);
    }

    #[test]
    fn an_abandoned_and_a_cleaned_crank_come_back() {
        let rejection = Rejection::new("insufficient", "balance is 3, value is 5");
        let abandoned = |vat| CrankEnd::Abandoned {
            rejection: rejection.clone(),
            vat,
        };
        for end in [
            abandoned(VatEnd::Lives),
            abandoned(VatEnd::Ended { rows_left: false }),
            abandoned(VatEnd::Ended { rows_left: true }),
            CrankEnd::Cleaned { rows_left: false },
            CrankEnd::Cleaned { rows_left: true },
        ] {
            let mut bytes = Vec::new();
            sample(end.clone()).write([&[], &[]], &mut bytes);
            let Ok(Record::Crank(read)) = Record::parse(&bytes) else {
                panic!("not a crank record")
            };
            assert_eq!(read.end, end);
            assert_eq!(read.acts().count(), 0);
        }
    }

    #[test]
    fn every_cut_of_a_record_is_refused() {
        let acts = acts();
        let end = CrankEnd::Committed {
            state: Some(b"\0state"),
            answer: None,
            vat: VatEnd::Lives,
        };
        let mut bytes = Vec::new();
        sample(end).write([&[], &[]], &mut bytes);
        // Cut at the end of an act it is a record of its own; the frame around it knows the length.
        let mut whole = vec![bytes.len()];
        for act in &acts {
            act.write(&mut bytes);
            whole.push(bytes.len());
        }
        for len in (0..bytes.len()).filter(|len| !whole.contains(len)) {
            let read = Record::parse(&bytes[..len]).and_then(|record| record.validate());
            assert!(read.is_err(), "cut at {len}");
        }
    }
}
