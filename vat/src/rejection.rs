//! Why a delivery had no effect: the class of the cause, and what the vat or the kernel says of it.

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::payload::Payload;

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
    /// The encoded [`Refusal`].
    detail: Option<Vec<u8>>,
}

/// A reason of a vat's own, with what a program wants to know of it. It becomes a [`Rejection`] with
/// `?` or `into()`, and whoever gets that has it back with [`Rejection::refusal`], however many
/// vats passed it on.
///
/// Its code and its fields are for ever: programs decide by them, and rejections that a journal keeps
/// have them. Nothing checks that they stay as they are; a reason that changes gets another code.
///
/// ```
/// use crankcase_vat::{Refusal, Rejection};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
/// #[error("{balance} are there, {value} were asked for")]
/// struct Insufficient {
///     balance: u64,
///     value: u64,
/// }
///
/// impl Refusal for Insufficient {
///     const CODE: &'static str = "insufficient";
/// }
///
/// let why = Rejection::from(Insufficient { balance: 3, value: 5 });
/// assert_eq!(why.code(), "insufficient");
/// assert_eq!(why.message(), "3 are there, 5 were asked for");
/// let Some(Insufficient { balance, .. }) = why.refusal() else {
///     panic!("another rejection")
/// };
/// assert_eq!(balance, 3);
/// ```
pub trait Refusal: Serialize + DeserializeOwned + fmt::Display {
    /// What tells it from all others that a caller may meet, for programs.
    const CODE: &'static str;
}

impl<R: Refusal> From<R> for Rejection {
    /// What cannot be encoded, holds references or takes more than
    /// [`MAX_DETAIL_BYTES`](Rejection::MAX_DETAIL_BYTES) is not kept as a refusal; the code and the
    /// message are, and the message says so.
    fn from(refusal: R) -> Self {
        let mut rejection = Self::new(R::CODE, refusal.to_string());
        let why = match Payload::of(&refusal) {
            Err(error) => error.to_string(),
            Ok(detail) if !detail.slots().is_empty() => "it holds references".to_owned(),
            Ok(detail) if detail.bytes().len() > Self::MAX_DETAIL_BYTES => {
                format!("it takes {} bytes", detail.bytes().len())
            }
            Ok(detail) => {
                rejection.set_detail(detail.bytes().to_vec());
                return rejection;
            }
        };
        rejection.0.message = cut(format!("{refusal} (and more, that was not kept: {why})"));
        rejection
    }
}

impl Rejection {
    /// The longest code and the longest message that are kept, in bytes; longer ones are cut.
    pub const MAX_TEXT_BYTES: usize = 1024;

    /// The largest [`Refusal`] that is kept, in bytes of its encoding.
    pub const MAX_DETAIL_BYTES: usize = 4096;

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
            detail: None,
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

    /// The vat's own reason, if it is this one.
    #[must_use]
    pub fn refusal<R: Refusal>(&self) -> Option<R> {
        if self.code() != R::CODE {
            return None;
        }
        let detail = Payload::from_bytes(self.0.detail.clone()?);
        detail.decode().ok()
    }

    /// The encoded [`Refusal`], if it was made of one.
    #[must_use]
    pub fn detail(&self) -> Option<&[u8]> {
        self.0.detail.as_deref()
    }

    pub(crate) fn set_detail(&mut self, detail: Vec<u8>) {
        self.0.detail = Some(detail);
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
