//! The decoders of rows, for [`crate::fuzzing`]. What decodes encodes to the same bytes: a row has one spelling, or the
//! digest of the tables would say more than the rows do.

use crankcase_vat::fuzzing::Decoder;

use super::JournalKind;
use super::counts::Count;
use super::inbox::{CHUNK, Inbox, decode_chunk};
use super::promises::Promise;
use super::requests::RequestState;
use super::rows::{
    Counters, VatRow, object_key, object_of_key, reference_key, reference_of_key, vat_of_key,
};

/// All of them. The first byte of a fuzzer's input is a place in this list, so new ones go to its end.
pub const DECODERS: &[Decoder] = &[
    ("vat_row", vat_row),
    ("counters", counters),
    ("kind", kind),
    ("request", request),
    ("count", count),
    ("promise", promise),
    ("inbox_chunk", inbox_chunk),
    ("row_keys", row_keys),
    ("question", crate::fuzzing::question),
];

fn vat_row(bytes: &[u8]) {
    if let Ok(row) = VatRow::decode(bytes) {
        assert_eq!(row.encode(), bytes);
    }
}

fn counters(bytes: &[u8]) {
    if let Ok(counters) = Counters::decode(bytes) {
        assert_eq!(Counters::decode(&counters.encode()).ok(), Some(counters));
    }
}

fn kind(bytes: &[u8]) {
    if let Ok(kind) = JournalKind::decode(bytes) {
        assert_eq!(kind.encode(), bytes);
    }
}

fn request(bytes: &[u8]) {
    if let Ok(request) = RequestState::decode(bytes) {
        assert_eq!(request.encode(), bytes);
    }
}

fn count(bytes: &[u8]) {
    if let Ok(count) = Count::decode(bytes) {
        assert_eq!(count.encode(), bytes);
    }
}

fn promise(bytes: &[u8]) {
    if let Ok(promise) = Promise::decode(bytes) {
        assert_eq!(promise.encode(), bytes);
    }
}

fn inbox_chunk(bytes: &[u8]) {
    if let Ok((_, deliveries)) = decode_chunk(bytes) {
        assert!(deliveries.len() as u64 <= CHUNK);
        let mut inbox = Inbox::default();
        deliveries.iter().for_each(|waiting| inbox.push(*waiting));
        let mut again = Vec::new();
        // A chunk that is not the first of its inbox says so in its number.
        inbox.chunks_from(0, 0, |_, bytes| {
            again.extend(decode_chunk(&bytes).expect("it was just encoded").1);
        });
        assert_eq!(again, deliveries);
    }
}

fn row_keys(bytes: &[u8]) {
    if let Some(reference) = reference_of_key(bytes) {
        assert_eq!(reference_key(reference), bytes);
    }
    if let Some(object) = object_of_key(bytes) {
        assert_eq!(object_key(object), bytes);
    }
    if let Some(vat) = vat_of_key(bytes) {
        assert_eq!(vat.to_bytes(), bytes[..16]);
    }
}
