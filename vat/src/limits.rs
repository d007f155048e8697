//! How much one crank may do. A crank over a limit is abandoned; nothing else happens to anyone.

/// Bounds for each crank. What exceeds one costs that crank ([`Cause::Limit`](crate::Cause::Limit)
/// or [`Cause::Illegal`](crate::Cause::Illegal)) and nothing else.
///
/// Limits belong to the host's configuration, not to the journal: raising or lowering them between
/// runs is allowed, and only cranks that run afterwards see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Calls on [`Crank`](crate::Crank) that leave something in the record, per crank.
    pub calls: u32,
    /// Bytes of one crank's sends, spawns and writes together, and of its answer, with what settled
    /// promises that go along came to.
    pub output_bytes: usize,
    /// Bytes of one message's arguments, or of one answer, beside what settled promises in them came
    /// to.
    pub payload_bytes: usize,
    /// Bytes of a vat's encoded state, with what settled promises in it came to. A promise in a state
    /// that comes to more than fits stays one there.
    pub state_bytes: usize,
    /// Bytes of one store key. At most [`Limits::MAX_KEY_BYTES`] whatever is set here.
    pub key_bytes: usize,
    /// Bytes of one store value. A promise in a value that comes to more than fits stays one there.
    pub value_bytes: usize,
}

impl Limits {
    /// The longest name of a method, a kind or a root, in bytes.
    pub const MAX_NAME_BYTES: usize = 255;
    /// The longest store key that the tables can hold, in bytes.
    pub const MAX_KEY_BYTES: usize = 32 * 1024;
    /// The most output one record can carry, in bytes, whatever is set.
    pub const MAX_OUTPUT_BYTES: usize = 512 << 20;

    /// What [`output_bytes`](Self::output_bytes) comes to.
    pub(crate) fn most_output(&self) -> usize {
        self.output_bytes.min(Self::MAX_OUTPUT_BYTES)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            calls: 1 << 24,
            output_bytes: 512 << 20,
            payload_bytes: 16 << 20,
            state_bytes: 16 << 20,
            key_bytes: 4 << 10,
            value_bytes: 16 << 20,
        }
    }
}

/// Whether `name` can name a method, a kind or a root: 1 to 255 bytes, no control characters.
#[must_use]
#[inline]
pub fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= Limits::MAX_NAME_BYTES
        && (name
            .bytes()
            .all(|byte| byte.is_ascii_graphic() || byte == b' ')
            || !name.chars().any(char::is_control))
}
