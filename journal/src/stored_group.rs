//! Reads a stored group back. Survives any bytes: whatever does not check out is [`Damage`], never a panic.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use crankcase_vat::Seq;
use xxhash_rust::xxh3::xxh3_64;

use crate::activity_hash::ActivityHash;
use crate::error::Damage;
use crate::layout::{GROUP_FORMAT, GROUP_HEADER_BYTES, group_header};

/// The bytes of a group, wherever they live.
#[derive(Clone)]
pub(crate) enum GroupBytes {
    Stored(fjall::Slice),
    Memory(Arc<[u8]>),
}

impl Deref for GroupBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Stored(bytes) => bytes,
            Self::Memory(bytes) => bytes,
        }
    }
}

/// What a group's header says, once the whole group has been checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GroupHeader {
    pub(crate) first: Seq,
    pub(crate) last: Seq,
    pub(crate) hash: ActivityHash,
}

/// Checks `value` from its first byte to its last: format, checksum, and that its frames are whole and as many as the
/// header says. `key` is the place under which it was found.
pub(crate) fn check_group(value: &[u8], key: Seq) -> Result<GroupHeader, Damage> {
    let damage = |what: String| Damage::new(what, format!("the group at {key}"));
    if value.len() < GROUP_HEADER_BYTES {
        return Err(damage(format!(
            "a group of {} bytes has no whole header",
            value.len()
        )));
    }
    let (header, frames) = value.split_at(GROUP_HEADER_BYTES);
    if header[group_header::FORMAT] != GROUP_FORMAT {
        return Err(damage(format!(
            "the group has format {} instead of {GROUP_FORMAT}",
            header[group_header::FORMAT]
        )));
    }
    if xxh3_64(&value[group_header::CHECKED]) != le_u64(&header[group_header::CHECKSUM]) {
        return Err(damage("the group does not match its checksum".into()));
    }
    if header[group_header::RESERVED] != [0; 3] {
        return Err(damage(
            "the group's header holds what this format does not have".into(),
        ));
    }
    let first = Seq::new(le_u64(&header[group_header::FIRST]));
    let count = u64::from(u32::from_le_bytes(array(&header[group_header::COUNT])));
    if first != key {
        return Err(damage(format!("the group says that it starts at {first}")));
    }
    if le_u64(&header[group_header::PAYLOAD_BYTES]) != frames.len() as u64 {
        return Err(damage("the group is not as long as its header says".into()));
    }
    let mut rest = frames;
    let mut found = 0_u64;
    while !rest.is_empty() {
        let Some((_, behind)) = split_frame(rest) else {
            return Err(damage(format!(
                "record {} of the group is not whole",
                found + 1
            )));
        };
        rest = behind;
        found += 1;
    }
    let last = first
        .get()
        .checked_add(count)
        .and_then(|end| end.checked_sub(1));
    match last {
        Some(last) if found == count && count > 0 && first > Seq::ZERO => Ok(GroupHeader {
            first,
            last: Seq::new(last),
            hash: ActivityHash(array(&header[group_header::HASH])),
        }),
        _ => Err(damage(format!(
            "the group holds {found} records and its header says {count}"
        ))),
    }
}

/// The frames of a checked group.
pub(crate) fn frames_of(value: &[u8]) -> &[u8] {
    &value[GROUP_HEADER_BYTES..]
}

/// Splits the first frame off `bytes`: the record, and what follows the frame.
pub(crate) fn split_frame(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut length = 0_u64;
    for (index, &byte) in bytes.iter().enumerate().take(9) {
        length |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            let behind = &bytes[index + 1..];
            return behind.split_at_checked(usize::try_from(length).ok()?);
        }
    }
    None
}

pub(crate) fn le_u64(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(array(bytes))
}

/// Copies a slice whose length the caller took from the layout.
pub(crate) fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes
        .try_into()
        .expect("the layout gives the field this length")
}

/// A group as it stands in the journal, checked against its checksum.
#[derive(Clone)]
pub struct StoredGroup {
    bytes: GroupBytes,
    header: GroupHeader,
}

impl fmt::Debug for StoredGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredGroup")
            .field("header", &self.header)
            .field("bytes", &self.bytes.len())
            .finish()
    }
}

impl StoredGroup {
    pub(crate) fn decode(bytes: GroupBytes, key: Seq) -> Result<Self, Damage> {
        let header = check_group(&bytes, key)?;
        Ok(Self { bytes, header })
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The place of the first record.
    #[must_use]
    pub fn first(&self) -> Seq {
        self.header.first
    }

    /// The place of the last record.
    #[must_use]
    pub fn last(&self) -> Seq {
        self.header.last
    }

    /// The activity hash after the last record, as stored with the group.
    #[must_use]
    pub fn hash(&self) -> ActivityHash {
        self.header.hash
    }

    /// The bytes that the group takes, in bytes.
    #[must_use]
    pub fn bytes_len(&self) -> usize {
        self.bytes.len()
    }

    /// The records in order, each with its place.
    #[must_use]
    pub fn records(&self) -> Records<'_> {
        Records {
            rest: frames_of(&self.bytes),
            next: self.header.first,
        }
    }

    /// The record at `seq`, if it is in this group. It walks there from the first.
    #[must_use]
    pub fn record(&self, seq: Seq) -> Option<&[u8]> {
        self.record_from(&mut RecordPlace::default(), seq)
    }

    /// As [`record`](Self::record), walking on from where the last call with that place found one in
    /// this group, unless it stood behind `seq`. So reading all of a group costs what it is long, and
    /// not the square of that.
    #[must_use]
    pub fn record_from(&self, place: &mut RecordPlace, seq: Seq) -> Option<&[u8]> {
        if seq < self.header.first || seq > self.header.last {
            return None;
        }
        let mut records = self.records();
        if let Some((next, left)) = place.0
            && (self.header.first..=seq).contains(&next)
        {
            let read = records.rest.len().checked_sub(left)?;
            records = Records {
                rest: &records.rest[read..],
                next,
            };
        }
        let (_, record) = records.find(|(found, _)| *found == seq)?;
        place.0 = Some((records.next, records.rest.len()));
        Some(record)
    }
}

/// Where in a group reading goes on; see [`StoredGroup::record_from`]. For another group, take a new
/// one.
#[derive(Debug, Clone, Copy, Default)]
pub struct RecordPlace(Option<(Seq, usize)>);

/// The records of a [`StoredGroup`], in order.
#[derive(Debug, Clone)]
pub struct Records<'a> {
    rest: &'a [u8],
    next: Seq,
}

impl<'a> Iterator for Records<'a> {
    type Item = (Seq, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (record, rest) = split_frame(self.rest)?;
        let seq = self.next;
        self.rest = rest;
        self.next = seq.next();
        Some((seq, record))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::group::Group;

    fn sealed(first: u64, records: &[Vec<u8>]) -> Vec<u8> {
        let mut group = Group::new();
        group.reset(Seq::new(first));
        for record in records {
            group.push(record);
        }
        group.seal(ActivityHash([9; 32])).to_vec()
    }

    #[test]
    fn reserved_bytes_of_a_header_are_zeros() {
        let mut bytes = sealed(1, &[b"record".to_vec()]);
        bytes[group_header::RESERVED.start] = 1;
        let checksum = xxh3_64(&bytes[group_header::CHECKED]);
        bytes[group_header::CHECKSUM].copy_from_slice(&checksum.to_le_bytes());
        let refused = check_group(&bytes, Seq::new(1)).unwrap_err();
        assert!(refused.to_string().contains("header"), "{refused}");
    }

    proptest! {
        #[test]
        fn stored_group_gives_back_what_was_pushed(
            first in 1_u64..1 << 40,
            records in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..20),
        ) {
            let bytes = GroupBytes::Memory(sealed(first, &records).into());
            let group = StoredGroup::decode(bytes, Seq::new(first)).expect("it was sealed");
            let found: Vec<_> = group.records().map(|(_, record)| record.to_vec()).collect();
            prop_assert_eq!(&found, &records);
            prop_assert_eq!(group.last(), Seq::new(first + records.len() as u64 - 1));
            prop_assert_eq!(group.record(group.last()), records.last().map(Vec::as_slice));
            prop_assert_eq!(group.record(group.last().next()), None);
        }

        #[test]
        fn stored_group_gives_the_same_record_wherever_reading_goes_on(
            records in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..20),
            asked in prop::collection::vec(0_u64..25, 1..40),
        ) {
            let bytes = GroupBytes::Memory(sealed(3, &records).into());
            let group = StoredGroup::decode(bytes, Seq::new(3)).expect("it was sealed");
            let mut place = RecordPlace::default();
            for seq in asked {
                let index = usize::try_from(seq).expect("it is small").checked_sub(3);
                let expected = index.and_then(|index| records.get(index));
                let found = group.record_from(&mut place, Seq::new(seq));
                prop_assert_eq!(found, expected.map(Vec::as_slice));
            }
        }

        #[test]
        fn stored_group_with_any_one_byte_changed_is_damage(at in any::<prop::sample::Index>(), by in 1_u8..) {
            let mut bytes = sealed(7, &[b"one".to_vec(), b"two".to_vec()]);
            let at = at.index(bytes.len());
            bytes[at] ^= by;
            prop_assert!(check_group(&bytes, Seq::new(7)).is_err());
        }

        #[test]
        fn stored_group_of_hostile_bytes_is_damage_and_never_a_panic(
            mut bytes in prop::collection::vec(any::<u8>(), 0..400),
            mend in any::<bool>(),
        ) {
            if mend && bytes.len() >= GROUP_HEADER_BYTES {
                // Past the checksum, so that the checks behind it are reached.
                bytes[group_header::FORMAT] = GROUP_FORMAT;
                bytes[group_header::FIRST].copy_from_slice(&u64::MAX.to_le_bytes());
                let payload = (bytes.len() - GROUP_HEADER_BYTES) as u64;
                bytes[group_header::PAYLOAD_BYTES].copy_from_slice(&payload.to_le_bytes());
                let checksum = xxh3_64(&bytes[group_header::CHECKED]);
                bytes[group_header::CHECKSUM].copy_from_slice(&checksum.to_le_bytes());
            }
            let _ = check_group(&bytes, Seq::new(u64::MAX));
        }
    }
}
