//! Why something has not come about: what it waits for, who decides that, where it stands.
//!
//! The answer is found in the kernel's state and is what a restart would find too; a
//! running kernel adds which mailbox, group or watermark holds things up just now. Nothing here
//! changes anything, and nothing is a promise: the answer may be out of date when it is read.

use std::fmt;
use std::str::FromStr;

use crankcase_vat::{DeliveryId, ObjectId, Promise, PromiseId, Ref, Reference, Seq, VatId};
use serde::Serialize;

/// What is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Question {
    /// A promise.
    Promise(PromiseId),
    /// A vat.
    Vat(VatId),
    /// A delivery, by its identity.
    Delivery(DeliveryId),
    /// What came under a request id.
    Request(String),
}

impl From<PromiseId> for Question {
    fn from(promise: PromiseId) -> Self {
        Self::Promise(promise)
    }
}

impl From<&Promise> for Question {
    fn from(promise: &Promise) -> Self {
        match (promise.id(), promise.object()) {
            (Some(id), _) => Self::Promise(id),
            (None, Some(object)) => Self::Vat(object.vat()),
            // It came to its end in the asker's hand, so nothing is known of it any more.
            (None, None) => Self::Promise(PromiseId::new(crankcase_vat::VatNumber::HOST, 0)),
        }
    }
}

impl From<VatId> for Question {
    fn from(vat: VatId) -> Self {
        Self::Vat(vat)
    }
}

impl From<Ref> for Question {
    fn from(object: Ref) -> Self {
        Self::Vat(object.vat())
    }
}

impl From<DeliveryId> for Question {
    fn from(delivery: DeliveryId) -> Self {
        Self::Delivery(delivery)
    }
}

/// A text that asks about nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} asks about nothing: write a promise as p3.1, a vat as v0.1, a delivery as 12/0, a \
     request as request:ID"
)]
pub struct QuestionError {
    /// The text as it was given.
    pub text: String,
}

impl FromStr for Question {
    type Err = QuestionError;

    fn from_str(text: &str) -> Result<Self, QuestionError> {
        if let Some(id) = text.strip_prefix("request:") {
            return Ok(Self::Request(id.to_owned()));
        }
        if let Ok(promise) = text.parse() {
            return Ok(Self::Promise(promise));
        }
        if let Ok(object) = text.parse::<ObjectId>() {
            return Ok(Self::Vat(object.vat));
        }
        let delivery = text
            .split_once('/')
            .and_then(|(seq, index)| Some((seq.parse().ok()?, index.parse().ok()?)));
        match delivery {
            Some((seq, index)) => Ok(Self::Delivery(DeliveryId::new(Seq::new(seq), index))),
            None => Err(QuestionError {
                text: text.to_owned(),
            }),
        }
    }
}

/// One thing that is so, and what it is so because of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Explanation {
    /// What it is about: a promise, a vat, a delivery, a request, or the journal.
    pub about: String,
    /// How it stands.
    pub says: String,
    /// What that waits for or rests on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub because: Vec<Explanation>,
}

impl Explanation {
    pub(crate) fn new(about: impl fmt::Display, says: impl Into<String>) -> Self {
        Self {
            about: about.to_string(),
            says: says.into(),
            because: Vec::new(),
        }
    }

    pub(crate) fn because(mut self, reasons: impl IntoIterator<Item = Self>) -> Self {
        self.because.extend(reasons);
        self
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, depth: usize) -> fmt::Result {
        if depth > 0 {
            writeln!(f)?;
        }
        write!(f, "{:1$}{2} {3}", "", depth * 2, self.about, self.says)?;
        self.because
            .iter()
            .try_for_each(|reason| reason.write(f, depth + 1))
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, 0)
    }
}

/// Someone who holds a reference.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[non_exhaustive]
pub struct Holder {
    /// Who: a vat, a delivery that is on its way, a promise, or the host.
    pub who: String,
    /// Where in it.
    pub place: String,
    /// How often.
    pub times: u64,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.who, self.place)?;
        match self.times {
            1 => Ok(()),
            times => write!(f, ", {times} times"),
        }
    }
}

/// Who holds a reference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Holders {
    /// The reference.
    pub of: String,
    /// Its holders.
    pub holders: Vec<Holder>,
}

impl fmt::Display for Holders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.holders.len() {
            0 => write!(f, "nobody holds {}", self.of),
            1 => write!(f, "{} is held at 1 place", self.of),
            many => write!(f, "{} is held at {many} places", self.of),
        }?;
        self.holders
            .iter()
            .try_for_each(|holder| write!(f, "\n  {holder}"))
    }
}

impl Holders {
    pub(crate) fn new(of: Reference, mut holders: Vec<Holder>) -> Self {
        holders.sort();
        Self {
            of: of.to_string(),
            holders,
        }
    }
}

impl Holder {
    pub(crate) fn new(who: impl fmt::Display, place: impl Into<String>, times: u64) -> Self {
        Self {
            who: who.to_string(),
            place: place.into(),
            times,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crankcase_vat::VatNumber;

    #[test]
    fn questions_are_read_and_others_are_refused() {
        let vat = VatId::new(VatNumber::HOST, 1);
        for (text, question) in [
            ("p3.1", PromiseId::new(VatNumber::new(3), 1).into()),
            ("v0.1", vat.into()),
            ("v0.1/7", vat.into()),
            ("12/0", DeliveryId::new(Seq::new(12), 0).into()),
            ("request:block:1", Question::Request("block:1".to_owned())),
        ] {
            assert_eq!(text.parse(), Ok(question), "{text}");
        }
        for text in ["", "p3", "v", "12", "12/", "block:1"] {
            assert!(text.parse::<Question>().is_err(), "{text}");
        }
    }
}
