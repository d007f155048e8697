//! Why a delivery had no effect: the class of the cause, and what the vat or the kernel says of it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The class of what made a delivery fail. It is part of the record, so it never depends on
/// anything but the vat and the delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Cause {
    /// The vat returned `Err`.
    Refused,
    /// The vat's code panicked.
    Panicked,
    /// The vat did what no vat may do: used the crank after `exit`, gave a malformed or oversized
    /// key, name or payload, made a vat of a kind the host does not have.
    Illegal,
    /// The crank went over one of the host's [`Limits`](crate::Limits).
    Limit,
    /// The vat's state could not be encoded, or its last state could not be decoded again.
    State,
    /// The vat ended itself as failed in this crank.
    ExitFailure,
    /// No vat has that id: it was never made, or it has ended.
    NoSuchVat,
    /// The vat ended while the delivery waited in its inbox.
    VatEnded,
    /// The vat could not be started, so what waited for it cannot be delivered.
    NotStarted,
    /// The vat lives and has no object of that number any more.
    NoSuchObject,
    /// The message was sent to a promise that came to something that takes no messages.
    NotCallable,
    /// The promise would have followed itself.
    Cycle,
    /// The promise is not known any more: nobody holds it.
    NoSuchPromise,
}

impl Cause {
    const ALL: [Self; 13] = [
        Self::Refused,
        Self::Panicked,
        Self::Illegal,
        Self::Limit,
        Self::State,
        Self::ExitFailure,
        Self::NoSuchVat,
        Self::VatEnded,
        Self::NotStarted,
        Self::NoSuchObject,
        Self::NotCallable,
        Self::Cycle,
        Self::NoSuchPromise,
    ];

    /// The byte that stands for it in records and rows.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Refused => 1,
            Self::Panicked => 2,
            Self::Illegal => 3,
            Self::Limit => 4,
            Self::State => 5,
            Self::ExitFailure => 6,
            Self::NoSuchVat => 7,
            Self::VatEnded => 8,
            Self::NotStarted => 9,
            Self::NoSuchObject => 10,
            Self::NotCallable => 11,
            Self::Cycle => 12,
            Self::NoSuchPromise => 13,
        }
    }

    /// The cause that a byte stands for.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.code() == code)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "refused",
            Self::Panicked => "panicked",
            Self::Illegal => "illegal",
            Self::Limit => "limit",
            Self::State => "state",
            Self::ExitFailure => "exit failure",
            Self::NoSuchVat => "no such vat",
            Self::VatEnded => "vat ended",
            Self::NotStarted => "not started",
            Self::NoSuchObject => "no such object",
            Self::NotCallable => "not callable",
            Self::Cycle => "cycle",
            Self::NoSuchPromise => "no such promise",
        })
    }
}

/// The answer to a delivery that had no effect.
///
/// A vat makes one with [`Rejection::new`] and returns it as `Err`: its crank is abandoned, and
/// this is all that remains of it. The kernel makes the others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{}: {} [{}]", .0.cause, .0.message, .0.code)]
#[serde(transparent)]
pub struct Rejection(
    /// Boxed, so that answers and ends of cranks, which may hold one, are no larger for it.
    Box<Why>,
);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Why {
    cause: Cause,
    code: String,
    message: String,
}

impl Rejection {
    /// The longest code and the longest message that are kept, in bytes; longer ones are cut.
    pub const MAX_TEXT_BYTES: usize = 1024;

    /// A vat's own rejection: a code for programs and a message for people.
    #[must_use]
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::with_cause(Cause::Refused, code, message)
    }

    /// A rejection of any class. Hosts meet these and rarely make them; what a vat returns as
    /// `Err` is recorded as [`Cause::Refused`] whatever it says here.
    #[must_use]
    pub fn with_cause(cause: Cause, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self(Box::new(Why {
            cause,
            code: cut(code.into()),
            message: cut(message.into()),
        }))
    }

    /// The class of the cause.
    #[must_use]
    pub fn cause(&self) -> Cause {
        self.0.cause
    }

    /// The code, for programs.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.0.code
    }

    /// The message, for people.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    pub(crate) fn refused(mut self) -> Self {
        self.0.cause = Cause::Refused;
        self
    }
}

/// The text, cut to what is kept of one.
pub(crate) fn cut(mut text: String) -> String {
    if text.len() > Rejection::MAX_TEXT_BYTES {
        let mut end = Rejection::MAX_TEXT_BYTES;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_has_a_byte_of_its_own() {
        for cause in Cause::ALL {
            assert_eq!(Cause::from_code(cause.code()), Some(cause));
        }
        assert_eq!(Cause::from_code(0), None);
        assert_eq!(Cause::from_code(200), None);
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let rejection = Rejection::new("code", "ä".repeat(1000));
        assert_eq!(rejection.message().len(), 1024);
        let odd = Rejection::new("code", format!("x{}", "ä".repeat(1000)));
        assert_eq!(odd.message().len(), 1023);
    }
}
