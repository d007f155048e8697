//! What came from outside, as one record.
//!
//! ```text
//! byte     version and kind
//! number   time
//! byte     flags (1: a run opens; 2: its budget follows)
//! [number  budget of the run, in cranks]
//! number   entries
//! entry:   text request id (empty for none) [32 bytes digest of the request's body]
//!          number acts, acts
//! ```
//!
//! In `Completion` order each thing the host does is a record with one entry. In `Dispatch` order
//! all that waited for a run is one record, with the budget of the run in it.

use crate::codec::{DecodeError, Reader, put_bytes, put_varint};
use crate::ids::Time;
use crate::record::act::{Act, Acts};
use crate::record::{KIND_INPUT, head};

const OPENS_RUN: u8 = 1;
const HAS_BUDGET: u8 = 2;

/// The digest of a request's body.
pub type RequestDigest = [u8; 32];

/// A request id with the digest of what was requested under it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestRef<'a> {
    /// The id the host gave.
    pub id: &'a str,
    /// The digest of the request's body.
    pub digest: RequestDigest,
}

/// One thing that the host did: all of its acts or none.
#[derive(Debug, Clone)]
pub struct Entry<'a> {
    /// The request id it came under, if it did.
    pub request: Option<RequestRef<'a>>,
    acts: Acts<'a>,
}

impl<'a> Entry<'a> {
    /// What was asked for, in order.
    #[must_use]
    pub fn acts(&self) -> Acts<'a> {
        self.acts.clone()
    }
}

/// An input, read in place.
#[derive(Debug, Clone)]
pub struct InputRecord<'a> {
    /// The clock when the input was taken.
    pub time: Time,
    /// Whether the input opens a run (`Dispatch` order), and for how many cranks at most.
    pub run: Option<Option<u64>>,
    count: u64,
    entries: Reader<'a>,
}

impl<'a> InputRecord<'a> {
    pub(super) fn parse(_bytes: &'a [u8], mut reader: Reader<'a>) -> Result<Self, DecodeError> {
        let time = reader.time("time")?;
        let offset = reader.offset();
        let flags = reader.byte("flags")?;
        let run = match flags {
            0 => None,
            OPENS_RUN => Some(None),
            f if f == OPENS_RUN | HAS_BUDGET => Some(Some(reader.varint("budget")?)),
            _ => {
                return Err(DecodeError::Invalid {
                    what: "flags",
                    offset,
                });
            }
        };
        let count = reader.varint("entries")?;
        Ok(Self {
            time,
            run,
            count,
            entries: reader,
        })
    }

    /// The entries, in order.
    #[must_use]
    pub fn entries(&self) -> Entries<'a> {
        Entries {
            reader: self.entries.clone(),
            left: self.count,
            failed: false,
        }
    }
}

/// The entries of an input.
#[derive(Debug, Clone)]
pub struct Entries<'a> {
    reader: Reader<'a>,
    left: u64,
    failed: bool,
}

impl<'a> Entries<'a> {
    fn read(&mut self) -> Result<Entry<'a>, DecodeError> {
        let id = self.reader.text("request id")?;
        let request = if id.is_empty() {
            None
        } else {
            let mut digest = [0; 32];
            digest.copy_from_slice(self.reader.take(32, "request digest")?);
            Some(RequestRef { id, digest })
        };
        let count = self.reader.varint("acts")?;
        let acts = Acts::counted(self.reader.clone(), count);
        let mut walked = acts.clone();
        while let Some(act) = walked.next_at() {
            act?;
        }
        self.reader = walked.into_reader();
        Ok(Entry { request, acts })
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<Entry<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        if self.left == 0 {
            // Nothing may stand behind the last entry.
            return match self.reader.finish() {
                Ok(()) => None,
                Err(error) => {
                    self.failed = true;
                    Some(Err(error))
                }
            };
        }
        self.left -= 1;
        let entry = self.read();
        self.failed = entry.is_err();
        Some(entry)
    }
}

/// Puts an input record together, entry by entry.
#[derive(Debug, Clone, Default)]
pub struct InputWriter {
    entries: Vec<u8>,
    count: u64,
}

impl InputWriter {
    /// An input with nothing in it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether nothing is in it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes of the entries so far.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        self.entries.len()
    }

    /// Appends an entry: `acts` are `act_count` encoded acts.
    pub fn push(&mut self, request: Option<RequestRef<'_>>, act_count: u64, acts: &[u8]) {
        match request {
            Some(request) => {
                put_bytes(&mut self.entries, request.id.as_bytes());
                self.entries.extend_from_slice(&request.digest);
            }
            None => put_bytes(&mut self.entries, b""),
        }
        put_varint(&mut self.entries, act_count);
        self.entries.extend_from_slice(acts);
        self.count += 1;
    }

    /// Appends an entry of one act.
    pub fn push_act(&mut self, request: Option<RequestRef<'_>>, act: &Act<'_>) {
        let mut encoded = Vec::new();
        act.write(&mut encoded);
        self.push(request, 1, &encoded);
    }

    /// The finished record.
    #[must_use]
    pub fn finish(&self, time: Time, run: Option<Option<u64>>) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.entries.len() + 32);
        out.push(head(KIND_INPUT));
        put_varint(&mut out, time.get());
        match run {
            None => out.push(0),
            Some(None) => out.push(OPENS_RUN),
            Some(Some(budget)) => {
                out.push(OPENS_RUN | HAS_BUDGET);
                put_varint(&mut out, budget);
            }
        }
        put_varint(&mut out, self.count);
        out.extend_from_slice(&self.entries);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::Body;
    use crate::ids::{VatId, VatNumber};
    use crate::record::Record;
    use crate::reference::Slot;

    #[test]
    fn an_input_comes_back() {
        let mut writer = InputWriter::new();
        let send = Act::Send {
            to: Slot::Object(VatId::new(VatNumber::HOST, 1).into()),
            method: "m",
            args: Body::read(b"\0abc").expect("a body"),
            kept: false,
        };
        let spawn = Act::Spawn {
            counter: 9,
            kind: "k",
            version: 1,
            args: Body::empty(),
            name: "root",
        };
        writer.push_act(None, &send);
        let mut both = Vec::new();
        spawn.write(&mut both);
        send.write(&mut both);
        let request = RequestRef {
            id: "block:1",
            digest: [7; 32],
        };
        writer.push(Some(request), 2, &both);
        for run in [None, Some(None), Some(Some(0)), Some(Some(u64::MAX))] {
            let bytes = writer.finish(Time::new(5), run);
            let Ok(Record::Input(input)) = Record::parse(&bytes) else {
                panic!("not an input")
            };
            assert_eq!((input.time, input.run), (Time::new(5), run));
            let entries: Vec<_> = input.entries().collect::<Result<_, _>>().expect("entries");
            assert_eq!(entries.len(), 2);
            assert_eq!(entries[0].request, None);
            assert_eq!(entries[1].request, Some(request));
            let acts: Vec<_> = entries[1].acts().collect::<Result<_, _>>().expect("acts");
            assert_eq!(acts, [spawn.clone(), send.clone()]);
            for len in 0..bytes.len() {
                let cut = Record::parse(&bytes[..len]).and_then(|record| record.validate());
                assert!(cut.is_err(), "cut at {len}");
            }
            let mut longer = bytes.clone();
            longer.push(0);
            assert!(
                Record::parse(&longer)
                    .and_then(|record| record.validate())
                    .is_err()
            );
        }
    }
}
