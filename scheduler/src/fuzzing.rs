//! Every decoder of this crate behind one function each, for fuzzing. Compiled with the feature `fuzzing` only.

pub use crankcase_vat::fuzzing::{Decoder, run};

use crate::explain::Question;
pub use crate::state::fuzzing::DECODERS;

/// What asks about something, from text.
pub(crate) fn question(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = text.parse::<Question>();
    }
}
