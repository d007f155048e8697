//! Every decoder of this crate behind one function each, for fuzzing. Compiled with the feature `fuzzing` only.
//!
//! What stands behind a checksum is reached twice: with the bytes as they are, and with the checksum mended, so that a
//! fuzzer gets past it.

use std::io::Cursor;
use std::path::Path;

use crankcase_vat::Seq;
pub use crankcase_vat::fuzzing::{Decoder, run};
use xxhash_rust::xxh3::xxh3_64;

use crate::checkpointer::CheckpointRow;
use crate::digest::TablesDigest;
use crate::group::Group;
use crate::identity::Identity;
use crate::layout::{GROUP_HEADER_BYTES, group_header, seq_key, seq_of_key};
use crate::log_file::{read_batch, scan_bytes};
use crate::manifests::{ends_well, listed_files};
use crate::stored_group::{GroupBytes, StoredGroup, check_group, frames_of, split_frame};
use crate::witness::Testimony;

/// All of them. The first byte of a fuzzer's input is a place in this list, so new ones go to its end.
pub const DECODERS: &[Decoder] = &[
    ("group", group),
    ("frames", frames),
    ("identity", identity),
    ("witness", witness),
    ("checkpoint_row", checkpoint_row),
    ("log_file", log_file),
    ("group_key", group_key),
    ("digest", digest),
    ("list_of_files", list_of_files),
];

/// `bytes`, and `bytes` with the checksum of `of` put where it belongs.
fn mended(
    bytes: &[u8],
    sum: std::ops::Range<usize>,
    of: impl std::slice::SliceIndex<[u8], Output = [u8]>,
) -> Vec<Vec<u8>> {
    let mut all = vec![bytes.to_vec()];
    if let Some(checked) = bytes.get(of)
        && bytes.len() >= sum.end
    {
        let checksum = xxh3_64(checked).to_le_bytes();
        let mut mended = bytes.to_vec();
        mended[sum].copy_from_slice(&checksum);
        all.push(mended);
    }
    all
}

fn group(bytes: &[u8]) {
    for bytes in mended(bytes, group_header::CHECKSUM, group_header::CHECKED) {
        if bytes.len() < GROUP_HEADER_BYTES {
            continue;
        }
        let key = Seq::new(crate::stored_group::le_u64(&bytes[group_header::FIRST]));
        let Ok(header) = check_group(&bytes, key) else {
            continue;
        };
        let stored = StoredGroup::decode(GroupBytes::Memory(bytes.clone().into()), key);
        let stored = stored.expect("it was checked");
        let mut again = Group::new();
        again.reset(header.first);
        for (seq, record) in stored.records() {
            assert_eq!(again.push(record), seq);
        }
        assert_eq!(again.last(), header.last);
        // The lengths of its frames may be spelled in more bytes than they need. What it says has one meaning.
        let sealed = again.seal(header.hash);
        assert_eq!(check_group(sealed, key).ok(), Some(header));
        frames(frames_of(&bytes));
    }
}

fn frames(bytes: &[u8]) {
    let mut rest = bytes;
    while let Some((_, behind)) = split_frame(rest) {
        assert!(behind.len() < rest.len(), "a frame takes at least a byte");
        rest = behind;
    }
}

fn identity(bytes: &[u8]) {
    for bytes in mended(bytes, 72..80, 0..72) {
        if let Ok(identity) = Identity::decode(&bytes, Path::new("dir/crankcase")) {
            let again = Identity::decode(&identity.encode(), Path::new("dir/crankcase"));
            assert_eq!(again.ok(), Some(identity));
        }
    }
}

fn witness(bytes: &[u8]) {
    for bytes in mended(bytes, 64..72, 0..64) {
        if let Some((counter, testimony)) = Testimony::decode(&bytes) {
            let again = Testimony::decode(&testimony.encode(counter));
            assert_eq!(again, Some((counter, testimony)));
        }
    }
}

fn checkpoint_row(bytes: &[u8]) {
    for bytes in mended(bytes, 88..96, 0..88) {
        if let Ok(row) = CheckpointRow::decode(&bytes) {
            assert_eq!(CheckpointRow::decode(&row.encode()).ok(), Some(row));
            let _ = row.at.get().checked_add(1).map(|_| row.chain_start_at());
        }
    }
}

fn log_file(bytes: &[u8]) {
    let mut end = 0;
    let scan = scan_bytes(Path::new("dir/0.jnl"), bytes, &mut None, &mut |batch| {
        assert!(batch.end > end && batch.end <= bytes.len());
        let carried: usize = batch
            .items
            .iter()
            .map(|item| item.key.len() + item.value.map_or(0, <[u8]>::len))
            .sum();
        assert!(
            carried < batch.end - end,
            "a batch holds more than it can carry"
        );
        end = batch.end;
    });
    assert_eq!(scan.whole_bytes, end);
    // Past the checksum, by the first batch alone: the trailer says where it ends.
    if let Some(trailer) = bytes.windows(4).position(|at| at == b"FJL\x03")
        && let Some(checked) = bytes.get(13..trailer.saturating_sub(9))
    {
        let mut mended = bytes.to_vec();
        mended[trailer - 8..trailer].copy_from_slice(&xxh3_64(checked).to_le_bytes());
        let _ = read_batch(&mended, 0);
    }
}

fn group_key(bytes: &[u8]) {
    if let Some(seq) = seq_of_key(bytes) {
        assert_eq!(seq_key(seq), bytes);
    }
}

fn digest(bytes: &[u8]) {
    if let Ok(bytes) = <[u8; TablesDigest::BYTES]>::try_from(bytes) {
        assert_eq!(TablesDigest::from_bytes(bytes).to_bytes(), bytes);
    }
}

/// The sections are under the checksum of the list, which stands elsewhere; what says where they are is under one here.
fn list_of_files(bytes: &[u8]) {
    if ends_well(Cursor::new(bytes)).expect("nothing fails in memory")
        && let Ok(files) = listed_files(bytes)
    {
        assert!(
            files.len() <= bytes.len() / 8,
            "more files than it has room for"
        );
    }
}
