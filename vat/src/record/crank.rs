//! What a finished crank leaves.
//!
//! ```text
//! byte     version and kind
//! vat      the vat whose crank it is
//! number   the crank's number in its vat
//! delivery the delivery it consumed, by identity
//! number   now
//! byte     how it ended: 0 committed, 1 committed and the vat ended,
//!                        2 abandoned, 3 abandoned and the vat ended
//! committed:  byte flags (1: state follows, 2: answer follows)
//!             [bytes state] [bytes answer] acts to the end
//! abandoned:  byte cause, text code, text message
//! ```

use crate::codec::{DecodeError, Reader, put_bytes, put_delivery_id, put_varint, put_vat};
use crate::ids::{CrankNumber, DeliveryId, Time, VatId};
use crate::record::act::Acts;
use crate::record::{KIND_CRANK, head};
use crate::rejection::{Cause, Rejection};

const COMMITTED: u8 = 0;
const COMMITTED_ENDED: u8 = 1;
const ABANDONED: u8 = 2;
const ABANDONED_ENDED: u8 = 3;

const HAS_STATE: u8 = 1;
const HAS_ANSWER: u8 = 2;

/// How a crank ended. In order of priority, first wins: a doomed crank (illegal call, limit,
/// panic) is abandoned whatever else it did; then `exit(failure)`; then an `Err`; then
/// `exit(success)`; then a plain commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CrankEnd<'a> {
    /// Everything it did happened.
    Committed {
        /// The vat's new encoded state, when its bytes differ from those before.
        state: Option<&'a [u8]>,
        /// The encoded answer, when someone outside asked.
        answer: Option<&'a [u8]>,
        /// Whether the vat ended itself as succeeded.
        vat_ended: bool,
    },
    /// Nothing of it happened.
    Abandoned {
        /// Why.
        rejection: Rejection,
        /// Whether the vat ended: it exited as failed, or could not be started.
        vat_ended: bool,
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
    #[inline]
    pub(super) fn parse(bytes: &'a [u8], mut reader: Reader<'a>) -> Result<Self, DecodeError> {
        let vat = reader.vat("vat")?;
        let number = reader.crank_number("crank number")?;
        let consumed = reader.delivery_id("consumed delivery")?;
        let now = reader.time("now")?;
        let offset = reader.offset();
        let ending = reader.byte("how the crank ended")?;
        let end = match ending {
            COMMITTED | COMMITTED_ENDED => {
                let offset = reader.offset();
                let flags = reader.byte("flags")?;
                if flags & !(HAS_STATE | HAS_ANSWER) != 0 {
                    return Err(DecodeError::Invalid {
                        what: "flags",
                        offset,
                    });
                }
                let state = (flags & HAS_STATE != 0)
                    .then(|| reader.bytes("state"))
                    .transpose()?;
                let answer = (flags & HAS_ANSWER != 0)
                    .then(|| reader.bytes("answer"))
                    .transpose()?;
                CrankEnd::Committed {
                    state,
                    answer,
                    vat_ended: ending == COMMITTED_ENDED,
                }
            }
            ABANDONED | ABANDONED_ENDED => {
                let rejection = read_rejection(&mut reader)?;
                reader.finish()?;
                CrankEnd::Abandoned {
                    rejection,
                    vat_ended: ending == ABANDONED_ENDED,
                }
            }
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

    /// What the crank did, in order; nothing when it was abandoned.
    #[must_use]
    #[inline]
    pub fn acts(&self) -> Acts<'a> {
        Acts::to_the_end(self.acts.clone())
    }

    /// Appends the encoding of a record of which `acts` are the encoded acts.
    pub(crate) fn write(&self, acts: &[u8], out: &mut Vec<u8>) {
        out.push(head(KIND_CRANK));
        put_vat(out, self.vat);
        put_varint(out, self.number.get());
        put_delivery_id(out, self.consumed);
        put_varint(out, self.now.get());
        match &self.end {
            CrankEnd::Committed {
                state,
                answer,
                vat_ended,
            } => {
                out.push(if *vat_ended {
                    COMMITTED_ENDED
                } else {
                    COMMITTED
                });
                let mut flags = 0;
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
                out.extend_from_slice(acts);
            }
            CrankEnd::Abandoned {
                rejection,
                vat_ended,
            } => {
                out.push(if *vat_ended {
                    ABANDONED_ENDED
                } else {
                    ABANDONED
                });
                write_rejection(out, rejection);
            }
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

/// Appends a rejection; also used by rows that keep outcomes.
pub fn write_rejection(out: &mut Vec<u8>, rejection: &Rejection) {
    out.push(rejection.cause().code());
    put_bytes(out, rejection.code().as_bytes());
    put_bytes(out, rejection.message().as_bytes());
}

/// Reads what [`write_rejection`] wrote.
///
/// # Errors
///
/// [`DecodeError`] when no rejection stands there.
pub fn read_rejection(reader: &mut Reader<'_>) -> Result<Rejection, DecodeError> {
    let offset = reader.offset();
    let cause = Cause::from_code(reader.byte("cause")?).ok_or(DecodeError::Invalid {
        what: "cause",
        offset,
    })?;
    Ok(Rejection::with_cause(
        cause,
        reader.text("code")?,
        reader.text("message")?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Seq, VatNumber};
    use crate::record::{Act, Record};

    fn sample<'a>(end: CrankEnd<'a>) -> CrankRecord<'a> {
        CrankRecord::new(
            VatId::new(VatNumber::new(3), 1_000),
            CrankNumber::new(77),
            DeliveryId::new(Seq::new(123_456), 5),
            Time::new(9),
            end,
        )
    }

    #[test]
    fn a_committed_crank_comes_back() {
        let acts = [
            Act::Send {
                to: VatId::new(VatNumber::HOST, 2),
                method: "credit",
                args: &[1, 2],
            },
            Act::Spawn {
                counter: 4,
                kind: "account",
                version: 1,
                args: &[],
                name: "",
            },
            Act::Put {
                key: b"k",
                value: b"v",
            },
            Act::Delete { key: b"old" },
        ];
        let mut encoded = Vec::new();
        for act in &acts {
            act.write(&mut encoded);
        }
        let mut bytes = Vec::new();
        let end = CrankEnd::Committed {
            state: Some(b"s"),
            answer: Some(b""),
            vat_ended: true,
        };
        sample(end.clone()).write(&encoded, &mut bytes);
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
    fn an_abandoned_crank_keeps_its_rejection_and_nothing_else() {
        let rejection = Rejection::new("insufficient", "balance is 3, value is 5");
        let end = CrankEnd::Abandoned {
            rejection,
            vat_ended: false,
        };
        let mut bytes = Vec::new();
        sample(end.clone()).write(&[], &mut bytes);
        let Ok(Record::Crank(read)) = Record::parse(&bytes) else {
            panic!("not a crank record")
        };
        assert_eq!(read.end, end);
        assert_eq!(read.acts().count(), 0);
        bytes.push(0);
        assert!(
            Record::parse(&bytes).is_err(),
            "bytes behind the rejection are refused"
        );
    }

    #[test]
    fn every_cut_of_a_record_is_refused() {
        let mut acts = Vec::new();
        Act::Put {
            key: b"key",
            value: b"value",
        }
        .write(&mut acts);
        let mut bytes = Vec::new();
        sample(CrankEnd::Committed {
            state: Some(b"state"),
            answer: None,
            vat_ended: false,
        })
        .write(&acts, &mut bytes);
        let whole_without_acts = bytes.len() - acts.len();
        for len in 0..bytes.len() {
            // Without its acts it is a record of its own; the frame around it knows the length.
            if len == whole_without_acts {
                continue;
            }
            let read = Record::parse(&bytes[..len]).and_then(|record| record.validate());
            assert!(read.is_err(), "cut at {len}");
        }
    }
}
