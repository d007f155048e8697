//! Opens a journal, or makes one.
//!
//! Making one, by what a crash in the middle leaves:
//!
//! 1. nothing, or an empty directory with a lock file: the next open begins again;
//! 2. the file `creating` and no identity: the next open clears what is there and begins again;
//! 3. the identity (written last, as a whole): the journal is made, `creating` is removed when seen.
//!
//! Opening one: read the identity; take the lock; look ([`crate::look`]), which may refuse and has changed nothing; and
//! only then set torn tails aside and cut them, raise the timeline, let fjall open, and mark the witness open.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crankcase_vat::{Seq, mutant};
use fjall::PersistMode;

use crate::activity_hash::ActivityHash;
use crate::checkpointer::{Checkpointer, TableStore};
use crate::committer::{Committer, LogStore, stored_first_retained};
use crate::crash_points::{CrashPoint, pass};
use crate::database::{DatabaseOptions, LogDatabase, TablesDatabase};
use crate::error::{Damage, OpenError, ReadError, fjall_to_io};
use crate::groups::{GroupSource, Groups};
use crate::identity::{Identity, sync_folder, sync_folders_below};
use crate::layout::{
    CREATING_FILE, EVIDENCE_FOLDER, IDENTITY_TEMPORARY, LOCK_FILE, LOG_FOLDER, TABLES_FOLDER,
    WITNESS_FILE, seq_of_key,
};
use crate::lock::DirectoryLock;
use crate::look::{Cut, Looked, look, open_error, open_guarded, read_state};
use crate::memory::MemoryParts;
use crate::settings::{Durability, Settings};
use crate::shared::Shared;
use crate::stored_group::check_group;
use crate::tables::{TableSource, Tables};
use crate::witness::{Testimony, Witness};

/// An open journal, in the parts that different threads use.
#[derive(Debug)]
pub struct Opened {
    /// Who the journal is.
    pub identity: Identity,
    /// For the thread that makes groups durable.
    pub committer: Committer,
    /// For the thread that moves the tables.
    pub checkpointer: Checkpointer,
    /// Reads groups back.
    pub groups: Groups,
    /// Reads the tables.
    pub tables: Tables,
    /// What was found.
    pub recovered: Recovered,
}

/// What an open found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// Whether the journal was made by this open.
    pub created: bool,
    /// Where the tables stand.
    pub checkpoint: Seq,
    /// The last durable place.
    pub last: Seq,
    /// The activity hash there.
    pub hash: ActivityHash,
    /// What was cut off behind the last whole group, if anything.
    pub torn_tail: Option<TornTail>,
    /// Whether the last incarnation ended without [`Committer::close`].
    pub unclean: bool,
}

/// The rest of a batch that was being written when the last incarnation ended. It was never acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TornTail {
    /// The log file, relative to the journal's directory.
    pub file: PathBuf,
    /// Where in it the tail began, in bytes.
    pub offset: u64,
    /// What is wrong with it.
    pub why: String,
    /// The file in the journal's directory to which it was set aside.
    pub evidence: PathBuf,
}

enum Found {
    Absent,
    Empty,
    Unfinished,
    Journal(Identity),
}

/// Opens the journal in `dir`, or makes one named `fresh` when `dir` is absent or empty. With [`Durability::None`] there
/// is no directory, and `dir` must be `None`.
///
/// # Errors
///
/// [`OpenError`] says why not. A refusal has not changed one byte of the directory.
pub fn open(
    dir: Option<&Path>,
    settings: &Settings,
    fresh: &Identity,
) -> Result<Opened, OpenError> {
    match (dir, settings.durability) {
        (None, Durability::None) => Ok(open_in_memory(settings, fresh)),
        (Some(dir), Durability::Sync | Durability::Buffered) => open_on_disk(dir, settings, fresh),
        (None, _) => Err(OpenError::Settings {
            why: "a durable journal needs a directory",
        }),
        (Some(_), Durability::None) => Err(OpenError::Settings {
            why: "a journal in memory takes no directory",
        }),
    }
}

fn open_in_memory(settings: &Settings, fresh: &Identity) -> Opened {
    #[cfg(not(crankcase_shuttle))]
    let parts = MemoryParts::fresh(fresh);
    #[cfg(crankcase_shuttle)]
    let parts = settings.kept.open(fresh);
    let MemoryParts {
        identity,
        memory,
        shared,
        chain,
    } = parts;
    let recovered = Recovered {
        created: chain.at() == Seq::ZERO,
        checkpoint: shared.checkpoint(),
        last: chain.at(),
        hash: chain.hash(),
        torn_tail: None,
        unclean: false,
    };
    Opened {
        identity,
        committer: Committer::new(
            LogStore::Memory(Arc::clone(&memory)),
            Arc::clone(&shared),
            chain,
            settings,
        ),
        checkpointer: Checkpointer::new(
            TableStore::Memory(Arc::clone(&memory)),
            Arc::clone(&shared),
            settings.durability,
            settings.faults.clone(),
        ),
        groups: Groups::new(GroupSource::Memory(Arc::clone(&memory)), shared, true),
        tables: Tables::new(TableSource::Memory(memory), settings.faults.clone()),
        recovered,
    }
}

/// Tells apart what may stand at the path of a journal.
fn classify(dir: &Path) -> Result<Found, OpenError> {
    let not_a_journal = |why: String| OpenError::NotAJournal {
        path: dir.to_path_buf(),
        why,
    };
    match fs::metadata(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Absent),
        Err(source) => return Err(OpenError::io(format!("reading {}", dir.display()))(source)),
        Ok(found) if !found.is_dir() => return Err(not_a_journal("it is not a directory".into())),
        Ok(_) => {}
    }
    if let Some(identity) = Identity::read(dir)? {
        return Ok(Found::Journal(identity));
    }
    let reading = || OpenError::io(format!("reading {}", dir.display()));
    let mut unfinished = false;
    let mut ours = Vec::new();
    for entry in fs::read_dir(dir).map_err(reading())? {
        let name = entry.map_err(reading())?.file_name();
        match name.to_str() {
            Some(LOCK_FILE) => {}
            Some(CREATING_FILE) => unfinished = true,
            Some(LOG_FOLDER | TABLES_FOLDER | WITNESS_FILE | IDENTITY_TEMPORARY) => ours.push(name),
            _ => {
                return Err(not_a_journal(format!(
                    "it holds `{}` and no identity file",
                    name.to_string_lossy()
                )));
            }
        }
    }
    match ours.first() {
        _ if unfinished => Ok(Found::Unfinished),
        None => Ok(Found::Empty),
        Some(name) => Err(not_a_journal(format!(
            "its identity file is missing, though it holds `{}`",
            name.to_string_lossy()
        ))),
    }
}

/// Who the journal in `dir` is, without opening it; nothing when none is there yet and [`open()`] would make one.
///
/// # Errors
///
/// [`OpenError::NotAJournal`], [`OpenError::NewerFormat`], [`OpenError::Damaged`] or [`OpenError::Io`]; nothing was
/// changed.
pub fn identity_of(dir: &Path) -> Result<Option<Identity>, OpenError> {
    Ok(match classify(dir)? {
        Found::Journal(identity) => Some(identity),
        Found::Absent | Found::Empty | Found::Unfinished => None,
    })
}

/// The identity of the journal in `dir`, for those who only read.
pub(crate) fn existing_identity(dir: &Path) -> Result<Identity, OpenError> {
    let why = match classify(dir)? {
        Found::Journal(identity) => return Ok(identity),
        Found::Absent => "it does not exist",
        Found::Empty => "it is empty",
        Found::Unfinished => "its making was interrupted before anything was stored",
    };
    Err(OpenError::NotAJournal {
        path: dir.to_path_buf(),
        why: why.into(),
    })
}

fn open_on_disk(dir: &Path, settings: &Settings, fresh: &Identity) -> Result<Opened, OpenError> {
    if matches!(classify(dir)?, Found::Absent) {
        make_folders(dir).map_err(OpenError::io(format!("making {}", dir.display())))?;
    }
    let (lock, made_lock_file) = DirectoryLock::exclusive(dir)?;
    let lock = Arc::new(lock);
    let options = DatabaseOptions {
        cache_bytes: settings.cache_bytes,
        guards: settings.guards,
        idle: false,
        create: false,
    };
    // Under the lock, what was found before may have changed.
    let opened = match classify(dir)? {
        Found::Absent | Found::Empty | Found::Unfinished => {
            let options = DatabaseOptions {
                create: true,
                ..options
            };
            create(dir, settings, fresh, &options, lock)
        }
        Found::Journal(identity) => open_existing(dir, settings, identity, &options, lock),
    }?;
    made_lock_file.keep();
    Ok(opened)
}

fn create(
    dir: &Path,
    settings: &Settings,
    fresh: &Identity,
    options: &DatabaseOptions,
    lock: Arc<DirectoryLock>,
) -> Result<Opened, OpenError> {
    let (log, tables) = make_parts(dir, fresh, settings.durability, options, &lock)?;
    let witness = Witness::open(dir, 1).map_err(OpenError::io("opening the witness"))?;
    let state = read_state(&log, &tables, None)?;
    let found = Recovered {
        created: true,
        checkpoint: Seq::ZERO,
        last: Seq::ZERO,
        hash: ActivityHash::ZERO,
        torn_tail: None,
        unclean: false,
    };
    assemble(dir, settings, *fresh, found, log, tables, witness, state)
}

fn make_parts(
    dir: &Path,
    fresh: &Identity,
    durability: Durability,
    options: &DatabaseOptions,
    lock: &Arc<DirectoryLock>,
) -> Result<(LogDatabase, TablesDatabase), OpenError> {
    let making = |what: &str| OpenError::io(format!("making {}", dir.join(what).display()));
    let marker = dir.join(CREATING_FILE);
    fs::write(&marker, b"").map_err(making(CREATING_FILE))?;
    sync_folder(dir).map_err(making(CREATING_FILE))?;
    pass(CrashPoint::MakingMarked);
    for folder in [LOG_FOLDER, TABLES_FOLDER] {
        match fs::remove_dir_all(dir.join(folder)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(making(folder)(error));
            }
            _ => {}
        }
    }
    let log = open_guarded(dir, LOG_FOLDER, || {
        LogDatabase::open(&dir.join(LOG_FOLDER), options, Some(Arc::clone(lock)))
    })?;
    let tables = open_guarded(dir, TABLES_FOLDER, || {
        TablesDatabase::open(&dir.join(TABLES_FOLDER), options, Some(Arc::clone(lock)))
    })?;
    pass(CrashPoint::MakingLog);
    // The first checkpoint's row is there from the start, so that the look finds it in fjall's log.
    let mut batch = tables.db.batch().durability(Some(PersistMode::SyncAll));
    batch.insert(
        &tables.meta,
        crate::layout::CHECKPOINT_KEY,
        crate::checkpointer::CheckpointRow::default().encode(),
    );
    batch
        .commit()
        .map_err(fjall_to_io)
        .map_err(making(TABLES_FOLDER))?;
    tables.settle();
    log.db
        .persist(PersistMode::SyncAll)
        .map_err(fjall_to_io)
        .map_err(making(LOG_FOLDER))?;
    pass(CrashPoint::MakingTables);
    // fjall syncs what it puts into the folders of its keyspaces, and not the names of the folders.
    for folder in [LOG_FOLDER, TABLES_FOLDER] {
        sync_folders_below(&dir.join(folder)).map_err(making(folder))?;
    }
    let testimony = Testimony {
        last: Seq::ZERO,
        hash: ActivityHash::ZERO,
        durability,
        closed: false,
    };
    Witness::create(dir, &testimony).map_err(making(WITNESS_FILE))?;
    sync_folder(dir).map_err(making(WITNESS_FILE))?;
    pass(CrashPoint::MakingWitness);
    fresh.write(dir).map_err(making("the identity"))?;
    pass(CrashPoint::MakingIdentity);
    remove_marker(dir)?;
    pass(CrashPoint::MakingUnmarked);
    // Again, because the folder may have been there before.
    sync_folder(parent_of(dir)).map_err(making(""))?;
    Ok((log, tables))
}

/// Makes a folder and those above it that are missing, each with its name synced: what is below it
/// is no safer than that.
fn make_folders(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let parent = parent_of(dir);
    // Of what has nothing above it the system says why it cannot be made.
    if parent != dir {
        make_folders(parent)?;
    }
    match fs::create_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => {}
        made => made?,
    }
    sync_folder(parent)
}

/// The folder in which the name of a path stands.
fn parent_of(dir: &Path) -> &Path {
    match dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        // A name alone is in the folder that the process is in, and the root is in itself.
        Some(_) => Path::new("."),
        None => dir,
    }
}

fn remove_marker(dir: &Path) -> Result<(), OpenError> {
    match fs::remove_file(dir.join(CREATING_FILE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed
            .and_then(|()| sync_folder(dir))
            .map_err(OpenError::io(format!(
                "removing {}",
                dir.join(CREATING_FILE).display()
            ))),
    }
}

fn open_existing(
    dir: &Path,
    settings: &Settings,
    mut identity: Identity,
    options: &DatabaseOptions,
    lock: Arc<DirectoryLock>,
) -> Result<Opened, OpenError> {
    let guards = settings.guards;
    let looked = if guards.look_first {
        Some(look(dir, options)?)
    } else {
        None
    };
    let (witness_counter, testimony) = match &looked {
        Some(looked) => (looked.witness_counter, looked.testimony),
        None => Testimony::read(dir)?,
    };
    pass(CrashPoint::RecoveryLooked);
    // From here on nothing is refused that the look could have found; what still fails is the system's.
    let mut torn_tail = None;
    if guards.cut_torn_tail {
        for cut in looked.iter().flat_map(|looked| &looked.cuts) {
            torn_tail = Some(set_aside(dir, cut)?);
        }
    }
    remove_marker(dir)?;
    let unclean = !testimony.closed;
    if unclean && testimony.durability == Durability::Buffered {
        identity.timeline += u64::from(!mutant("timeline-stays"));
        identity
            .write(dir)
            .map_err(OpenError::io("raising the timeline"))?;
    }
    pass(CrashPoint::RecoveryTimeline);
    let log = open_guarded(dir, LOG_FOLDER, || {
        LogDatabase::open(&dir.join(LOG_FOLDER), options, Some(Arc::clone(&lock)))
    })?;
    pass(CrashPoint::RecoveryLog);
    let tables = open_guarded(dir, TABLES_FOLDER, || {
        TablesDatabase::open(&dir.join(TABLES_FOLDER), options, Some(lock))
    })?;
    pass(CrashPoint::RecoveryTables);
    let state = match looked {
        Some(Looked { state, .. }) => state,
        None => read_state(&log, &tables, guards.witness.then_some(&testimony))?,
    };
    let newest = newest_place(&log).map_err(open_error)?;
    if newest != state.last {
        return Err(Damage::new(
            format!(
                "the store gives records up to {newest} where {} were seen",
                state.last
            ),
            format!("the records behind {}", newest.min(state.last)),
        )
        .into());
    }
    let witness =
        Witness::open(dir, witness_counter).map_err(OpenError::io("opening the witness"))?;
    let found = Recovered {
        created: false,
        checkpoint: state.checkpoint.at,
        last: state.last,
        hash: state.chain.hash(),
        torn_tail,
        unclean,
    };
    assemble(dir, settings, identity, found, log, tables, witness, state)
}

fn newest_place(log: &LogDatabase) -> Result<Seq, ReadError> {
    let Some(newest) = log.view().last(&log.groups) else {
        return Ok(Seq::ZERO);
    };
    let place = "the newest group";
    let (key, value) = newest
        .into_inner()
        .map_err(|error| ReadError::from_fjall(error, place))?;
    let first =
        seq_of_key(&key).ok_or_else(|| Damage::new("a group's key is not a place", place))?;
    Ok(check_group(&value, first)?.last)
}

#[expect(
    clippy::too_many_arguments,
    reason = "the parts of a journal, put together in this one place"
)]
fn assemble(
    dir: &Path,
    settings: &Settings,
    identity: Identity,
    recovered: Recovered,
    log: LogDatabase,
    tables: TablesDatabase,
    mut witness: Witness,
    state: crate::look::OrderState,
) -> Result<Opened, OpenError> {
    // What the witness saw is durable before it says that this incarnation is open, and for which promise.
    log.db
        .persist(PersistMode::SyncData)
        .map_err(fjall_to_io)
        .and_then(|()| {
            pass(CrashPoint::RecoverySynced);
            witness.write(&Testimony {
                last: recovered.last,
                hash: recovered.hash,
                durability: settings.durability,
                closed: false,
            })
        })
        .and_then(|()| {
            pass(CrashPoint::RecoveryWitnessed);
            witness.sync()
        })
        .map_err(OpenError::io("writing the witness"))?;
    let first_retained = stored_first_retained(&log).map_err(open_error)?;
    let shared = Arc::new(Shared::new(
        recovered.last,
        first_retained,
        recovered.checkpoint,
        state.edges,
    ));
    let witness_to_sync = fs::OpenOptions::new()
        .write(true)
        .open(dir.join(WITNESS_FILE))
        .map_err(OpenError::io("opening the witness"))?;
    let groups = Groups::new(
        GroupSource::Disk(log.clone()),
        Arc::clone(&shared),
        settings.guards.cursor,
    );
    Ok(Opened {
        identity,
        committer: Committer::new(
            LogStore::Disk {
                log: log.clone(),
                witness,
            },
            Arc::clone(&shared),
            state.chain,
            settings,
        ),
        checkpointer: Checkpointer::new(
            TableStore::Disk {
                tables: tables.clone(),
                log,
                witness: witness_to_sync,
            },
            shared,
            settings.durability,
            settings.faults.clone(),
        ),
        groups,
        tables: Tables::new(TableSource::Disk(tables), settings.faults.clone()),
        recovered,
    })
}

/// Keeps the bytes of a torn tail in a file of their own, durably, and then cuts them off.
fn set_aside(dir: &Path, cut: &Cut) -> Result<TornTail, OpenError> {
    let doing = || {
        OpenError::io(format!(
            "setting aside the torn tail of {}",
            cut.path.display()
        ))
    };
    let bytes = fs::read(&cut.path).map_err(doing())?;
    let tail = &bytes[usize::try_from(cut.whole_bytes)
        .unwrap_or(bytes.len())
        .min(bytes.len())..];
    let meant = tail
        .iter()
        .rposition(|&byte| byte != 0)
        .map_or(0, |last| last + 1);
    let file_name = cut.path.file_name().unwrap_or_default();
    let folder = dir.join(EVIDENCE_FOLDER);
    fs::create_dir_all(&folder).map_err(doing())?;
    let base = format!(
        "{}-{}-{}",
        cut.folder,
        file_name.to_string_lossy(),
        cut.whole_bytes
    );
    // A crash between here and the cut leaves the same evidence twice under one name; other evidence gets another.
    let name = (0..)
        .map(|number| {
            if number == 0 {
                base.clone()
            } else {
                format!("{base}-{number}")
            }
        })
        .find(|name| fs::read(folder.join(name)).map_or(true, |there| there == tail[..meant]))
        .expect("the names do not end");
    fs::write(folder.join(&name), &tail[..meant])
        .and_then(|()| fs::File::open(folder.join(&name))?.sync_all())
        .and_then(|()| sync_folder(&folder))
        .and_then(|()| sync_folder(dir))
        .map_err(doing())?;
    pass(CrashPoint::RecoverySetAside);
    let file = fs::OpenOptions::new()
        .write(true)
        .open(&cut.path)
        .map_err(doing())?;
    file.set_len(cut.whole_bytes)
        .and_then(|()| file.sync_all())
        .map_err(doing())?;
    pass(CrashPoint::RecoveryCut);
    Ok(TornTail {
        file: Path::new(cut.folder).join(file_name),
        offset: cut.whole_bytes,
        why: cut.why.into(),
        evidence: Path::new(EVIDENCE_FOLDER).join(name),
    })
}
