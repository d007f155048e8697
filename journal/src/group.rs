//! A commit group under construction: the buffer that later is, unchanged, the stored value.
//!
//! The header's room is reserved at the front, so sealing a group writes 64 bytes and copies nothing. The layout is in
//! [`crate::layout`]; decoding is in [`crate::stored_group`].

use crankcase_vat::Seq;
use xxhash_rust::xxh3::xxh3_64;

use crate::activity_hash::{ActivityHash, ends_window};
use crate::layout::{GROUP_FORMAT, GROUP_HEADER_BYTES, group_header};

/// A reusable buffer that collects the records of one commit group.
///
/// ```
/// use crankcase_journal::Group;
/// use crankcase_vat::Seq;
///
/// let mut group = Group::new();
/// group.reset(Seq::new(5));
/// assert_eq!(group.push(b"a"), Seq::new(5));
/// assert_eq!(group.push(b"b"), Seq::new(6));
/// assert_eq!(group.last(), Seq::new(6));
/// ```
#[derive(Debug)]
pub struct Group {
    /// Room for the header, then one frame after the other.
    buffer: Vec<u8>,
    /// Offsets behind the header at which a hash window's last frame ends.
    edges: Vec<usize>,
    notes: Vec<(Seq, String)>,
    first: Seq,
    count: u32,
}

impl Default for Group {
    fn default() -> Self {
        Self::new()
    }
}

impl Group {
    /// An empty group that starts at `Seq` 1.
    #[must_use]
    pub fn new() -> Self {
        Self::with_capacity(0)
    }

    /// An empty group that starts at `Seq` 1, with room for `bytes` of records.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        let mut buffer = Vec::with_capacity(GROUP_HEADER_BYTES + bytes);
        buffer.resize(GROUP_HEADER_BYTES, 0);
        Self {
            buffer,
            edges: Vec::new(),
            notes: Vec::new(),
            first: Seq::ZERO.next(),
            count: 0,
        }
    }

    /// Forgets all records and notes, keeps the memory, and starts again at `first`.
    pub fn reset(&mut self, first: Seq) {
        self.buffer.truncate(GROUP_HEADER_BYTES);
        self.edges.clear();
        self.notes.clear();
        self.first = first;
        self.count = 0;
    }

    /// Appends `record` and returns its place.
    pub fn push(&mut self, record: &[u8]) -> Seq {
        let seq = Seq::new(self.first.get() + u64::from(self.count));
        let mut length = record.len() as u64;
        while length >= 0x80 {
            self.buffer.push(length as u8 | 0x80);
            length >>= 7;
        }
        self.buffer.push(length as u8);
        self.buffer.extend_from_slice(record);
        self.count += 1;
        if ends_window(seq) {
            self.edges.push(self.buffer.len() - GROUP_HEADER_BYTES);
        }
        seq
    }

    /// Adds a diagnostic text about the record at `seq`. It is stored beside the order and not hashed.
    pub fn push_note(&mut self, seq: Seq, text: String) {
        self.notes.push((seq, text));
    }

    /// The place of the first record, also when there is none yet.
    #[must_use]
    pub fn first(&self) -> Seq {
        self.first
    }

    /// The place of the last record; the place before [`first`](Self::first) when the group is empty.
    #[must_use]
    pub fn last(&self) -> Seq {
        Seq::new((self.first.get() + u64::from(self.count)).saturating_sub(1))
    }

    /// The number of records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there is no record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The bytes that the group takes when stored, notes not counted.
    #[must_use]
    pub fn bytes_len(&self) -> usize {
        self.buffer.len()
    }

    pub(crate) fn frames(&self) -> &[u8] {
        &self.buffer[GROUP_HEADER_BYTES..]
    }

    pub(crate) fn edges(&self) -> &[usize] {
        &self.edges
    }

    pub(crate) fn notes(&self) -> &[(Seq, String)] {
        &self.notes
    }

    /// Fills in the header and returns the stored value.
    pub(crate) fn seal(&mut self, hash: ActivityHash) -> &[u8] {
        let payload = (self.buffer.len() - GROUP_HEADER_BYTES) as u64;
        let header = &mut self.buffer[..GROUP_HEADER_BYTES];
        header[group_header::FORMAT] = GROUP_FORMAT;
        header[group_header::COUNT].copy_from_slice(&self.count.to_le_bytes());
        header[group_header::FIRST].copy_from_slice(&self.first.get().to_le_bytes());
        header[group_header::PAYLOAD_BYTES].copy_from_slice(&payload.to_le_bytes());
        header[group_header::HASH].copy_from_slice(&hash.0);
        let checksum = xxh3_64(&self.buffer[group_header::CHECKED]);
        self.buffer[group_header::CHECKSUM].copy_from_slice(&checksum.to_le_bytes());
        &self.buffer
    }
}
