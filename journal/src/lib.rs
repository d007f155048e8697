//! The journal makes the one total order durable and gives it back: commit groups, the tables built from them,
//! recovery after a crash, verification of what is stored.
//!
//! It must not know what a vat, a promise or a mailbox is: it stores encoded records and rows, both plain bytes, and
//! returns them in order. What is on disk, file by file and key by key, is written down in `layout.rs`; what is checked
//! before a directory is touched, and in which order, in `look.rs`.
//!
//! ```
//! use crankcase_journal::{Durability, Group, Identity, RowBatch, Settings, open};
//! use crankcase_vat::Seq;
//!
//! let folder = tempfile::tempdir()?;
//! let fresh = Identity { kernel_id: [7; 16], timeline: 1, order: 0, seed: [0; 32] };
//! let mut journal = open(Some(&folder.path().join("journal")), &Settings::default(), &fresh)?;
//!
//! let mut group = Group::new();
//! group.reset(Seq::ZERO.next());
//! group.push(b"first record");
//! let durable = journal.committer.commit(&mut group)?;
//!
//! let mut rows = RowBatch::new();
//! rows.put(1, b"key", b"value");
//! journal.checkpointer.write(durable.seq(), &durable, rows)?;
//! assert_eq!(journal.tables.snapshot()?.get(1, b"key")?.as_deref(), Some(&b"value"[..]));
//! journal.committer.close()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod activity_hash;
mod checkpointer;
mod committer;
#[doc(hidden)]
pub mod crash_points;
mod database;
mod digest;
mod error;
mod faults;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod group;
mod groups;
mod identity;
#[cfg(crankcase_shuttle)]
mod kept;
mod layout;
mod lock;
mod log_file;
mod look;
mod manifests;
mod memory;
mod merges;
mod open;
mod private_copy;
mod rows;
mod settings;
mod shared;
mod stored_group;
mod sync;
mod tables;
mod verify;
mod witness;

/// What the journal's threads know of each other, for the models in `loom-tests/`.
#[cfg(crankcase_loom)]
#[doc(hidden)]
#[allow(missing_docs)]
pub mod model {
    pub use crate::shared::Shared;
}

/// The newest version of the directory's format that this version reads, and the one that it writes.
pub const FORMAT: u16 = layout::DIRECTORY_FORMAT;

pub use activity_hash::{ActivityHash, WINDOW};
pub use checkpointer::Checkpointer;
pub use committer::{Committer, Durable, RetainProgress, SyncCounts};
pub use error::{CheckpointError, CloseError, CommitError, Damage, OpenError, ReadError};
#[doc(hidden)]
pub use faults::Faults;
pub use group::Group;
pub use groups::{Fact, Groups, GroupsFrom};
pub use identity::Identity;
#[cfg(crankcase_shuttle)]
#[doc(hidden)]
pub use kept::Kept;
pub use open::{Opened, Recovered, TornTail, identity_of, open};
pub use private_copy::PrivateCopy;
pub use rows::RowBatch;
#[doc(hidden)]
pub use settings::Guards;
pub use settings::{Durability, Retention, Settings};
pub use stored_group::{RecordPlace, Records, StoredGroup};
pub use tables::{Rows, TableSnapshot, TableView, Tables};
pub use verify::{LogReport, OnRecord, TablesReport};
