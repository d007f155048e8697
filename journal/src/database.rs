//! Opens the two fjall databases with the settings that the guards ask for, and reads them through snapshots.
//!
//! What each setting is for:
//!
//! - the filter and the index of a file of the tables are read in parts. By default fjall has them whole, but for levels
//!   that most tables never reach: the filter of a file with a million rows then takes megabytes, stays in no cache, and
//!   is read anew for each row that is looked for;
//! - values of groups go to blob files, which compaction does not rewrite;
//! - the log is plain (no compression) and bounded, because closing a fjall database does not empty its log and opening
//!   reads all of it;
//! - merges of the tables' files rest between pieces of work (`merges.rs`);
//! - one worker thread, because flushing competes with the sync of groups for the same disk;
//! - a private copy gets no worker at all: it is read and thrown away.

use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use fjall::compaction::filter::Factory;
use fjall::config::{BloomConstructionPolicy, FilterPolicy, FilterPolicyEntry, PartitioningPolicy};
use fjall::{
    CompressionType, Database, DatabaseBuilder, Guard, Iter, Keyspace, KeyspaceCreateOptions,
    KvSeparationOptions, OwnedWriteBatch, Readable, Snapshot, UserValue,
};

use crate::crash_points::{CrashPoint, pass};
use crate::layout::{GROUPS, KeyspaceName, LOG_META, NOTES, ROWS, TABLES_META};
use crate::lock::DirectoryLock;
use crate::merges::{HurryAtEnd, Merges, Pace};
use crate::settings::Guards;
use crate::sync::RwLock;

const MIB: u64 = 1024 * 1024;
/// Groups are written a second time, to blob files, when this much has gathered. fjall halts writes when four times as
/// much waits to be written.
const GROUPS_MEMTABLE_BYTES: u64 = 16 * MIB;
/// What fjall counts for a group besides its bytes, generously: it is not to find out before we do.
const GROUP_OVERHEAD_BYTES: u64 = 256;
const ROWS_MEMTABLE_BYTES: u64 = 8 * MIB;
const SMALL_MEMTABLE_BYTES: u64 = MIB;
/// What fjall's log may hold before the keyspaces that hold it up are flushed. fjall takes no less than 64 MiB.
const LOG_LIMIT_BYTES: u64 = 128 * MIB;
const BLOB_FILE_BYTES: u64 = 256 * MIB;
const BLOB_THRESHOLD_BYTES: u32 = 4096;

/// How to open the databases of one journal.
#[derive(Clone)]
pub(crate) struct DatabaseOptions {
    pub(crate) cache_bytes: u64,
    pub(crate) guards: Guards,
    /// For a private copy: nothing runs beside the reader.
    pub(crate) idle: bool,
    /// Whether keyspaces are made that are not there. In a journal that was made once they are all there: a lack of one
    /// is damage, and fjall would go on with an empty one.
    pub(crate) create: bool,
}

/// The database that the committer writes.
#[derive(Clone)]
pub(crate) struct LogDatabase {
    pub(crate) groups: Keyspace,
    pub(crate) notes: Keyspace,
    pub(crate) meta: Keyspace,
    pub(crate) db: Database,
    snapshot_reads: bool,
    bounded: bool,
    /// Dropped last: the directory is free only when fjall has let go of it.
    _lock: Option<Arc<DirectoryLock>>,
}

/// The database that the checkpointer writes.
#[derive(Clone)]
pub(crate) struct TablesDatabase {
    /// Dropped first, and with the last clone.
    _hurry: Arc<HurryAtEnd>,
    pub(crate) rows: Keyspace,
    pub(crate) meta: Keyspace,
    pub(crate) db: Database,
    guards: Guards,
    pub(crate) pace: Arc<Pace>,
    /// The snapshot that readers clone, taken while no batch is being put in. fjall's worker makes a batch visible that
    /// is only half in memory whenever it finishes a flush or a compaction at that moment: each takes a later number
    /// from the same counter as the batch and shows everything before it.
    settled: Arc<RwLock<Snapshot>>,
    _lock: Option<Arc<DirectoryLock>>,
}

impl LogDatabase {
    pub(crate) fn open(
        path: &Path,
        options: &DatabaseOptions,
        lock: Option<Arc<DirectoryLock>>,
    ) -> fjall::Result<Self> {
        let db = database(path, options).open()?;
        let memtable_bytes = if options.guards.bounded_log {
            GROUPS_MEMTABLE_BYTES
        } else {
            u64::MAX
        };
        let groups = open_keyspace(&db, options.create, &GROUPS, || {
            KeyspaceCreateOptions::default()
                .max_memtable_size(memtable_bytes)
                .filter_policy(FilterPolicy::all(FilterPolicyEntry::Bloom(
                    BloomConstructionPolicy::BitsPerKey(10.0),
                )))
                .with_kv_separation(Some(
                    KvSeparationOptions::default()
                        .compression(CompressionType::None)
                        .file_target_size(BLOB_FILE_BYTES)
                        .separation_threshold(BLOB_THRESHOLD_BYTES),
                ))
        })?;
        let small = || KeyspaceCreateOptions::default().max_memtable_size(SMALL_MEMTABLE_BYTES);
        let notes = open_keyspace(&db, options.create, &NOTES, small)?;
        let meta = open_keyspace(&db, options.create, &LOG_META, small)?;
        Ok(Self {
            groups,
            notes,
            meta,
            db,
            snapshot_reads: options.guards.snapshot_reads,
            bounded: options.guards.bounded_log,
            _lock: lock,
        })
    }

    /// Makes room in memory for so many bytes of groups, when `gathered` have come since it last did; keeps count there.
    ///
    /// fjall's worker would do it in its own time, which may be after a compaction of seconds, and take whatever comes
    /// into memory until then. Asking it to flush waits for it while a thousand other requests do.
    pub(crate) fn make_room(&self, gathered: &mut u64, bytes: usize) -> fjall::Result<()> {
        let bytes = bytes as u64 + GROUP_OVERHEAD_BYTES;
        *gathered += bytes;
        if self.bounded && *gathered > GROUPS_MEMTABLE_BYTES {
            *gathered = bytes;
            self.groups.rotate_memtable()?;
            pass(CrashPoint::CommitterMadeRoom);
        }
        Ok(())
    }

    /// The groups of this moment. Half a batch may show, which is why readers go no further than what is durable.
    pub(crate) fn view(&self) -> View {
        View::of(&self.db, self.snapshot_reads)
    }
}

impl TablesDatabase {
    pub(crate) fn open(
        path: &Path,
        options: &DatabaseOptions,
        lock: Option<Arc<DirectoryLock>>,
    ) -> fjall::Result<Self> {
        let pace = Arc::new(Pace::new());
        let merges = Arc::new(Merges(Arc::clone(&pace)));
        let db = database(path, options)
            .with_compaction_filter_factories(Arc::new(move |keyspace| {
                (keyspace == ROWS.name).then(|| Arc::clone(&merges) as Arc<dyn Factory>)
            }))
            .open()?;
        let rows = open_keyspace(&db, options.create, &ROWS, || {
            let rows = KeyspaceCreateOptions::default().max_memtable_size(ROWS_MEMTABLE_BYTES);
            if !options.guards.files_in_parts {
                return rows;
            }
            rows.filter_block_partitioning_policy(PartitioningPolicy::all(true))
                .index_block_partitioning_policy(PartitioningPolicy::all(true))
        })?;
        let meta = open_keyspace(&db, options.create, &TABLES_META, || {
            KeyspaceCreateOptions::default().max_memtable_size(SMALL_MEMTABLE_BYTES)
        })?;
        let settled = Arc::new(RwLock::new(db.snapshot()));
        Ok(Self {
            _hurry: Arc::new(HurryAtEnd(Arc::clone(&pace))),
            rows,
            meta,
            db,
            guards: options.guards,
            pace,
            settled,
            _lock: lock,
        })
    }

    /// The tables as the last whole batch left them.
    pub(crate) fn view(&self) -> View {
        if self.guards.snapshot_reads && self.guards.settled_snapshots {
            let settled = self
                .settled
                .read()
                .expect("no code that can panic runs under this lock");
            View {
                snapshot: Some(settled.clone()),
            }
        } else {
            View::of(&self.db, self.guards.snapshot_reads)
        }
    }

    /// Writes a batch of so many bytes. No merge rests meanwhile.
    pub(crate) fn commit(&self, batch: OwnedWriteBatch, bytes: u64) -> fjall::Result<()> {
        self.pace.begin_batch(bytes);
        let committed = batch.commit();
        self.pace.end_batch(self.rows.l0_table_count());
        committed
    }

    /// Shows readers what was written. To be called by the one writer, with no batch under way.
    pub(crate) fn settle(&self) {
        let snapshot = self.db.snapshot();
        *self
            .settled
            .write()
            .expect("no code that can panic runs under this lock") = snapshot;
    }
}

fn database(path: &Path, options: &DatabaseOptions) -> DatabaseBuilder<Database> {
    let mut builder = Database::builder(path)
        .manual_journal_persist(true)
        .cache_size(options.cache_bytes);
    builder = if options.idle {
        builder.worker_threads_unchecked(0)
    } else {
        builder.worker_threads(1)
    };
    if options.guards.plain_log {
        builder = builder.journal_compression(CompressionType::None);
    }
    builder.max_journaling_size(if options.guards.bounded_log {
        LOG_LIMIT_BYTES
    } else {
        u64::MAX
    })
}

fn open_keyspace(
    db: &Database,
    create: bool,
    keyspace: &KeyspaceName,
    options: impl FnOnce() -> KeyspaceCreateOptions,
) -> fjall::Result<Keyspace> {
    if !create && !db.keyspace_exists(keyspace.name) {
        return Err(fjall::Error::Unrecoverable);
    }
    let found = db.keyspace(keyspace.name, options)?;
    // The look at fjall's log tells keyspaces apart by number, so a database with other numbers is not one of ours.
    if found.id() == keyspace.id {
        Ok(found)
    } else {
        Err(fjall::Error::Unrecoverable)
    }
}

/// One consistent view of a database, for as long as it lives.
///
/// fjall's own `get` and `range` see a batch while it is being put into memory, row by row.
#[derive(Clone)]
pub(crate) struct View {
    /// Absent only where a test switched the guard off.
    snapshot: Option<Snapshot>,
}

impl View {
    fn of(db: &Database, snapshot_reads: bool) -> Self {
        Self {
            snapshot: snapshot_reads.then(|| db.snapshot()),
        }
    }

    pub(crate) fn get(&self, keyspace: &Keyspace, key: &[u8]) -> fjall::Result<Option<UserValue>> {
        match &self.snapshot {
            Some(snapshot) => snapshot.get(keyspace, key),
            None => keyspace.get(key),
        }
    }

    pub(crate) fn range<R: std::ops::RangeBounds<[u8; 8]>>(
        &self,
        keyspace: &Keyspace,
        range: R,
    ) -> Iter {
        match &self.snapshot {
            Some(snapshot) => snapshot.range(keyspace, range),
            None => keyspace.range(range),
        }
    }

    pub(crate) fn between(
        &self,
        keyspace: &Keyspace,
        bounds: (Bound<Vec<u8>>, Bound<Vec<u8>>),
    ) -> Iter {
        match &self.snapshot {
            Some(snapshot) => snapshot.range(keyspace, bounds),
            None => keyspace.range(bounds),
        }
    }

    pub(crate) fn last(&self, keyspace: &Keyspace) -> Option<Guard> {
        self.range(keyspace, ..).next_back()
    }
}
