//! Every name, key and byte position of a journal directory, in one place.
//!
//! ```text
//! DIR/crankcase            identity: written once, replaced only when the timeline rises     (identity.rs)
//! DIR/witness              two slots: what was durable last                                  (witness.rs)
//! DIR/lock                 advisory lock, empty                                              (lock.rs)
//! DIR/creating             there only while a journal is being made
//! DIR/evidence/            what a torn tail held before it was cut off
//! DIR/log/                 fjall database written by the committer alone
//!     groups  (id 1)       first Seq, u64 big endian          -> group value, below
//!     notes   (id 2)       Seq, u64 big endian                -> UTF-8 text
//!     meta    (id 3)       "retained"                         -> first retained Seq, u64 big endian
//!                          "fact/" || key                     -> what the owner of the journal keeps beside the order
//! DIR/tables/              fjall database written by the checkpointer alone
//!     rows    (id 1)       table, u8 || key                   -> row
//!     meta    (id 2)       "checkpoint"                       -> checkpoint row                  (checkpointer.rs)
//! ```
//!
//! Two databases and not one: fjall holds its log's lock for a whole batch, and a checkpoint's large batch would stall
//! the commit groups behind it.

use std::ops::{Range, RangeFrom};

/// The version of the whole directory, in the identity file. Format 1 had records and rows without references.
pub(crate) const DIRECTORY_FORMAT: u16 = 2;
/// The version of a group's value.
pub(crate) const GROUP_FORMAT: u8 = 1;
/// Bytes before a group's first frame.
pub(crate) const GROUP_HEADER_BYTES: usize = 64;

/// Where things stand in a group's value. Frames follow from [`GROUP_HEADER_BYTES`] on.
pub(crate) mod group_header {
    use super::{Range, RangeFrom};

    /// XXH3 of everything behind it, little endian.
    pub(crate) const CHECKSUM: Range<usize> = 0..8;
    /// What the checksum covers.
    pub(crate) const CHECKED: RangeFrom<usize> = 8..;
    /// [`super::GROUP_FORMAT`].
    pub(crate) const FORMAT: usize = 8;
    /// Zeros.
    pub(crate) const RESERVED: Range<usize> = 9..12;
    /// Number of records, u32 little endian.
    pub(crate) const COUNT: Range<usize> = 12..16;
    /// Place of the first record, u64 little endian.
    pub(crate) const FIRST: Range<usize> = 16..24;
    /// Length of the frames, u64 little endian.
    pub(crate) const PAYLOAD_BYTES: Range<usize> = 24..32;
    /// Activity hash after the last record.
    pub(crate) const HASH: Range<usize> = 32..64;
}

pub(crate) const IDENTITY_FILE: &str = "crankcase";
pub(crate) const IDENTITY_TEMPORARY: &str = "crankcase.new";
pub(crate) const WITNESS_FILE: &str = "witness";
pub(crate) const LOCK_FILE: &str = "lock";
pub(crate) const CREATING_FILE: &str = "creating";
pub(crate) const EVIDENCE_FOLDER: &str = "evidence";
pub(crate) const LOG_FOLDER: &str = "log";
pub(crate) const TABLES_FOLDER: &str = "tables";

/// What fjall calls things. The journal reads these before fjall does.
pub(crate) mod fjall_names {
    pub(crate) const VERSION_FILE: &str = "version";
    pub(crate) const LOG_EXTENSION: &str = "jnl";
    pub(crate) const KEYSPACES_FOLDER: &str = "keyspaces";
    /// In a keyspace's folder: which list of its files holds, and that list's checksum.
    pub(crate) const CURRENT_LIST: &str = "current";
    /// Folders of a keyspace whose files are written once and never changed.
    pub(crate) const IMMUTABLE_FOLDERS: [&str; 2] = ["tables", "blobs"];
}

/// The keyspaces by name and by the number that fjall gives them, which is the order in which they are made.
pub(crate) struct KeyspaceName {
    pub(crate) name: &'static str,
    pub(crate) id: u64,
}

pub(crate) const GROUPS: KeyspaceName = KeyspaceName {
    name: "groups",
    id: 1,
};
pub(crate) const NOTES: KeyspaceName = KeyspaceName {
    name: "notes",
    id: 2,
};
pub(crate) const LOG_META: KeyspaceName = KeyspaceName {
    name: "meta",
    id: 3,
};
pub(crate) const ROWS: KeyspaceName = KeyspaceName {
    name: "rows",
    id: 1,
};
pub(crate) const TABLES_META: KeyspaceName = KeyspaceName {
    name: "meta",
    id: 2,
};

/// Row of [`LOG_META`]: the first `Seq` that retention left.
pub(crate) const RETAINED_KEY: &[u8] = b"retained";
/// Rows of [`LOG_META`]: what stands beside the order.
pub(crate) const FACT_PREFIX: &[u8] = b"fact/";
/// Row of [`TABLES_META`]: what the tables stand for.
pub(crate) const CHECKPOINT_KEY: &[u8] = b"checkpoint";

/// The key of a group or a note.
pub(crate) fn seq_key(seq: crankcase_vat::Seq) -> [u8; 8] {
    seq.get().to_be_bytes()
}

/// The inverse of [`seq_key`].
pub(crate) fn seq_of_key(key: &[u8]) -> Option<crankcase_vat::Seq> {
    Some(crankcase_vat::Seq::new(u64::from_be_bytes(
        key.try_into().ok()?,
    )))
}
