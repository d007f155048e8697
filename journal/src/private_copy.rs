//! Reads a journal without changing it: on a copy, because fjall changes what it opens.
//!
//! Only small and changing files are copied. Files that fjall writes once (tables and blobs) are linked: fjall may remove
//! a link, never what it points to.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use crankcase_vat::Seq;
use tempfile::TempDir;

use crate::checkpointer::CheckpointRow;
use crate::committer::stored_first_retained;
use crate::database::{DatabaseOptions, LogDatabase, TablesDatabase};
use crate::error::OpenError;
use crate::groups::{GroupSource, Groups};
use crate::identity::Identity;
use crate::layout::{LOG_FOLDER, TABLES_FOLDER, fjall_names};
use crate::lock::DirectoryLock;
use crate::log_file::{read_written, without_zeros_at_the_end};
use crate::look::{Cut, look, open_error, open_guarded};
use crate::open::{Recovered, TornTail, existing_identity};
use crate::settings::Settings;
use crate::shared::Shared;
use crate::tables::{TableSource, Tables};
use crate::witness::Testimony;

/// The two databases of a journal, copied to a temporary folder that goes away with this.
pub(crate) struct CopiedFolders {
    folder: TempDir,
}

impl CopiedFolders {
    pub(crate) fn make(dir: &Path, cuts: &[Cut]) -> Result<Self, OpenError> {
        let folder = tempfile::Builder::new()
            .prefix("crankcase-")
            .tempdir()
            .map_err(OpenError::io("making a folder for a private copy"))?;
        for name in [LOG_FOLDER, TABLES_FOLDER] {
            copy_folder(&dir.join(name), &folder.path().join(name), cuts).map_err(
                OpenError::io(format!("copying {}", dir.join(name).display())),
            )?;
        }
        Ok(Self { folder })
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }
}

fn copy_folder(from: &Path, to: &Path, cuts: &[Cut]) -> io::Result<()> {
    fs::create_dir_all(to)?;
    let immutable = from
        .file_name()
        .and_then(|name| name.to_str())
        .is_some_and(|name| from.parent().is_some() && fjall_names::IMMUTABLE_FOLDERS.contains(&name))
        // The journal's own folder `tables` has the name of fjall's.
        && from.ancestors().skip(1).any(|above| above.ends_with(fjall_names::KEYSPACES_FOLDER));
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy_folder(&source, &target, cuts)?;
        } else if immutable {
            link(&source, &target)?;
        } else if source
            .extension()
            .is_some_and(|extension| extension == fjall_names::LOG_EXTENSION)
        {
            let mut bytes = read_written(&source)?;
            if let Some(cut) = cuts.iter().find(|cut| cut.path == source) {
                bytes.truncate(usize::try_from(cut.whole_bytes).unwrap_or(usize::MAX));
            }
            // The preallocated zeros at the end are not worth a copy: fjall cuts them off first thing.
            fs::write(&target, without_zeros_at_the_end(&bytes))?;
        } else {
            fs::copy(&source, &target)?;
        }
    }
    Ok(())
}

#[cfg(unix)]
fn link(source: &Path, target: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(fs::canonicalize(source)?, target)
}

#[cfg(not(unix))]
fn link(source: &Path, target: &Path) -> io::Result<()> {
    fs::copy(source, target).map(|_| ())
}

/// A journal opened for reading only. Every byte of its directory stays as it was, and nobody can open it for writing
/// while this lives.
pub struct PrivateCopy {
    identity: Identity,
    recovered: Recovered,
    groups: Groups,
    tables: Tables,
    checkpoint: CheckpointRow,
    testimony: Testimony,
    bytes_on_disk: u64,
    // Dropped in this order: fjall lets go of the copy, the copy goes away, the lock is let go.
    _copy: CopiedFolders,
    _lock: DirectoryLock,
}

impl std::fmt::Debug for PrivateCopy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PrivateCopy")
            .field("recovered", &self.recovered)
            .finish_non_exhaustive()
    }
}

impl PrivateCopy {
    /// Looks at the journal in `dir` as [`open`](crate::open()) does, and refuses what it refuses; then opens a copy.
    ///
    /// # Errors
    ///
    /// [`OpenError`], as from [`open`](crate::open()); an absent or empty directory is not a journal here.
    pub fn of(dir: &Path) -> Result<Self, OpenError> {
        existing_identity(dir)?;
        let lock = DirectoryLock::shared(dir)?;
        let identity = existing_identity(dir)?;
        let settings = Settings::default();
        let options = DatabaseOptions {
            cache_bytes: settings.cache_bytes,
            guards: settings.guards,
            idle: true,
            create: false,
        };
        let looked = look(dir, &options)?;
        let copy = CopiedFolders::make(dir, &looked.cuts)?;
        let log = open_guarded(dir, LOG_FOLDER, || {
            LogDatabase::open(&copy.path().join(LOG_FOLDER), &options, None)
        })?;
        let tables = open_guarded(dir, TABLES_FOLDER, || {
            TablesDatabase::open(&copy.path().join(TABLES_FOLDER), &options, None)
        })?;
        let first_retained = stored_first_retained(&log).map_err(open_error)?;
        let state = looked.state;
        let recovered = Recovered {
            created: false,
            checkpoint: state.checkpoint.at,
            last: state.last,
            hash: state.chain.hash(),
            torn_tail: looked.cuts.last().map(|cut| TornTail {
                file: cut
                    .path
                    .strip_prefix(dir)
                    .unwrap_or(&cut.path)
                    .to_path_buf(),
                offset: cut.whole_bytes,
                why: cut.why.into(),
                evidence: cut
                    .path
                    .strip_prefix(dir)
                    .unwrap_or(&cut.path)
                    .to_path_buf(),
            }),
            unclean: !looked.testimony.closed,
        };
        let shared = Arc::new(Shared::new(
            state.last,
            first_retained,
            state.checkpoint.at,
            state.edges,
        ));
        let bytes_on_disk =
            bytes_below(dir).map_err(OpenError::io(format!("measuring {}", dir.display())))?;
        Ok(Self {
            identity,
            recovered,
            groups: Groups::new(GroupSource::Disk(log), shared, true),
            tables: Tables::new(TableSource::Disk(tables), None),
            checkpoint: state.checkpoint,
            testimony: looked.testimony,
            bytes_on_disk,
            _copy: copy,
            _lock: lock,
        })
    }

    /// Who the journal is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// What an open would find. A torn tail still stands in its log file.
    #[must_use]
    pub fn recovered(&self) -> &Recovered {
        &self.recovered
    }

    /// Reads groups.
    #[must_use]
    pub fn groups(&self) -> &Groups {
        &self.groups
    }

    /// Reads the tables.
    #[must_use]
    pub fn tables(&self) -> &Tables {
        &self.tables
    }

    /// The space that the directory's files take, in bytes; preallocated but unwritten space is not counted where the
    /// system tells.
    #[must_use]
    pub fn bytes_on_disk(&self) -> u64 {
        self.bytes_on_disk
    }

    /// What the witness says was durable last, which after a crash may lag.
    #[must_use]
    pub fn witnessed(&self) -> Seq {
        self.testimony.last
    }

    pub(crate) fn checkpoint_row(&self) -> &CheckpointRow {
        &self.checkpoint
    }

    pub(crate) fn testimony(&self) -> &Testimony {
        &self.testimony
    }
}

fn bytes_below(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        bytes += if entry.file_type()?.is_dir() {
            bytes_below(&entry.path())?
        } else {
            taken(&entry.metadata()?)
        };
    }
    Ok(bytes)
}

#[cfg(unix)]
fn taken(file: &fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::blocks(file) * 512
}

#[cfg(not(unix))]
fn taken(file: &fs::Metadata) -> u64 {
    file.len()
}
