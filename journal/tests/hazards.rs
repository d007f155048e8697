//! One scenario for each hazard of the store below: the guard holds, and without the guard the harm is done. The second
//! half keeps the first honest: if the store ever changes so that the harm cannot be done, it says so.

mod harness;

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crankcase_journal::{
    CommitError, Durability, Faults, Group, Opened, Retention, RowBatch, Settings, Tables, WINDOW,
};
use crankcase_vat::Seq;
use harness::{
    Scratch, batch_around, check_records, commit, edit, flip, holds, record, settings, thirty,
    without,
};

/// Thirty acknowledged records, and behind them a batch with a hole that never reached the disk.
fn torn() -> Scratch {
    let scratch = thirty();
    let file = scratch.log_file("log");
    let (start, end) = batch_around(&file, record(30).as_bytes());
    edit(&file, |bytes| {
        let mut batch = bytes[start..end].to_vec();
        let hole = batch.len() - 40..batch.len() - 20;
        batch[hole].fill(0);
        bytes[end..end + batch.len()].copy_from_slice(&batch);
    });
    scratch
}

#[test]
fn torn_last_batch_is_set_aside_and_does_not_lock_the_user_out() {
    let scratch = torn();
    let (_, end) = batch_around(&scratch.log_file("log"), record(28).as_bytes());
    let mut journal = scratch.open();
    let tail = journal
        .recovered
        .torn_tail
        .clone()
        .expect("a torn tail was found");
    assert_eq!(tail.offset, end as u64);
    assert!(holds(
        &scratch.dir().join(&tail.evidence),
        record(29).as_bytes()
    ));
    check_records(&journal, 1, 30);
    commit(&mut journal, 3, 1);
    drop(journal);
    check_records(&scratch.open(), 1, 33);
}

#[test]
fn torn_last_batch_without_the_guard_locks_the_user_out() {
    let scratch = torn();
    assert!(
        scratch
            .try_open(&without(|guards| guards.cut_torn_tail = false))
            .is_err()
    );
}

/// Thirty records, one byte of a batch header in the middle flipped.
fn flipped_header() -> Scratch {
    let scratch = thirty();
    let file = scratch.log_file("log");
    let (start, _) = batch_around(&file, record(10).as_bytes());
    flip(&file, start);
    scratch
}

#[test]
fn flipped_header_is_seen_before_fjall_cuts_the_log() {
    flipped_header().check_refused("acknowledged batches follow behind");
}

#[test]
fn flipped_header_without_the_guard_loses_synced_groups_for_good() {
    let scratch = flipped_header();
    let journal = scratch.open_with(&without(|guards| {
        guards.look_first = false;
        guards.witness = false;
    }));
    assert_eq!(journal.recovered.last, Seq::new(9));
    drop(journal);
    assert!(
        !holds(&scratch.log_file("log"), record(20).as_bytes()),
        "the later batches were cut off"
    );
}

/// Thirty acknowledged records of which the last nine were cut off at the border of a batch.
fn cut_tail() -> Scratch {
    let scratch = thirty();
    let file = scratch.log_file("log");
    let (_, end) = batch_around(&file, record(20).as_bytes());
    edit(&file, |bytes| bytes[end..].fill(0));
    scratch
}

#[test]
fn lost_tail_is_seen_by_the_witness() {
    cut_tail().check_refused("acknowledged groups are missing");
}

#[test]
fn lost_tail_without_the_guard_goes_unnoticed() {
    let journal = cut_tail().open_with(&without(|guards| guards.witness = false));
    assert_eq!(journal.recovered.last, Seq::new(21));
}

struct FailSync(u64);
impl Faults for FailSync {
    fn group_sync(&self, number: u64) -> io::Result<()> {
        if number == self.0 {
            Err(io::Error::other("the disk is gone"))
        } else {
            Ok(())
        }
    }
}

fn group_of(first: u64, text: &str) -> Group {
    let mut group = Group::new();
    group.reset(Seq::new(first));
    group.push(text.as_bytes());
    group
}

#[test]
fn failed_sync_is_final_and_the_next_open_tells_what_became_of_the_group() {
    let scratch = Scratch::new();
    let mut journal = scratch.open_with(&Settings {
        faults: Some(Arc::new(FailSync(3))),
        ..settings()
    });
    commit(&mut journal, 2, 1);
    let failed = journal
        .committer
        .commit(&mut group_of(3, &record(3)))
        .unwrap_err();
    assert!(matches!(failed, CommitError::Indeterminate { .. }));
    assert_eq!(journal.committer.last(), Seq::new(2));
    assert!(
        journal.groups.containing(Seq::new(3)).unwrap().is_none(),
        "readers see only what is durable"
    );
    let stopped = journal
        .committer
        .commit(&mut group_of(3, "something else"))
        .unwrap_err();
    assert!(matches!(stopped, CommitError::Stopped));
    assert!(journal.committer.close().is_err());
    drop((journal.checkpointer, journal.groups, journal.tables));
    // This disk kept the bytes. A journal without the group would be as sound.
    check_records(&scratch.open(), 1, 3);
}

#[test]
fn failed_sync_without_the_guard_writes_another_history_over_the_first() {
    let scratch = Scratch::new();
    let mut settings = without(|guards| guards.failure_is_final = false);
    settings.faults = Some(Arc::new(FailSync(3)));
    let mut journal = scratch.open_with(&settings);
    commit(&mut journal, 2, 1);
    assert!(
        journal
            .committer
            .commit(&mut group_of(3, &record(3)))
            .is_err()
    );
    // The same place is given out twice, and the hash goes on from a record that is no longer there.
    journal
        .committer
        .commit(&mut group_of(3, "something else"))
        .unwrap();
    drop(journal);
    assert!(scratch.try_open(&harness::settings()).is_err());
}

struct FailWitness;
impl Faults for FailWitness {
    fn witness_write(&self, number: u64) -> io::Result<()> {
        if number == 2 {
            Err(io::Error::other("the disk is gone"))
        } else {
            Ok(())
        }
    }
}

#[test]
fn failed_witness_is_final_too() {
    let scratch = Scratch::new();
    let mut journal = scratch.open_with(&Settings {
        faults: Some(Arc::new(FailWitness)),
        ..settings()
    });
    commit(&mut journal, 1, 1);
    assert!(matches!(
        journal.committer.commit(&mut group_of(2, &record(2))),
        Err(CommitError::Indeterminate { .. })
    ));
    drop(journal);
    check_records(&scratch.open(), 1, 2);
}

const ROWS: u32 = 4_000;
const GENERATIONS: u32 = 60;

/// Puts the same generation into every row, over and over, while a reader compares the first row with the last. Returns
/// whether the reader ever saw two generations at once.
fn reader_sees_half_a_batch(journal: Opened) -> bool {
    let (mut checkpointer, tables) = (journal.checkpointer, journal.tables);
    let durable = journal.committer.durable();
    let write = |checkpointer: &mut crankcase_journal::Checkpointer, generation: u32| {
        let mut rows = RowBatch::new();
        for row in 0..ROWS {
            rows.put(1, &row.to_be_bytes(), generation.to_be_bytes());
        }
        checkpointer.write(Seq::ZERO, &durable, rows).unwrap();
    };
    write(&mut checkpointer, 0);
    let finished = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut torn = false;
            while !torn && !finished.load(Ordering::Acquire) {
                torn = first_and_last_differ(&tables);
            }
            torn
        });
        for generation in 1..GENERATIONS {
            write(&mut checkpointer, generation);
            if reader.is_finished() {
                break;
            }
        }
        finished.store(true, Ordering::Release);
        reader.join().unwrap()
    })
}

fn first_and_last_differ(tables: &Tables) -> bool {
    let snapshot = tables.snapshot().unwrap();
    // The last row is read first: a batch is put in by the order of its keys, so a half batch shows its first rows.
    let last = snapshot.get(1, &(ROWS - 1).to_be_bytes()).unwrap();
    let first = snapshot.get(1, &0_u32.to_be_bytes()).unwrap();
    first != last
}

#[test]
fn half_a_batch_is_never_seen() {
    assert!(!reader_sees_half_a_batch(Scratch::new().open()));
}

#[test]
fn half_a_batch_is_seen_outside_a_snapshot() {
    let scratch = Scratch::new();
    assert!(reader_sees_half_a_batch(
        scratch.open_with(&without(|guards| guards.snapshot_reads = false))
    ));
}

#[test]
fn half_a_batch_is_seen_by_a_snapshot_taken_while_it_is_put_in() {
    // It takes a flush or a compaction that ends while a batch is put in, so one run in many may not meet it.
    let met = (0..500).any(|_| {
        let scratch = Scratch::new();
        reader_sees_half_a_batch(
            scratch.open_with(&without(|guards| guards.settled_snapshots = false)),
        )
    });
    assert!(met);
}

/// Commits one large record that compresses well, and tells whether it stands in fjall's log as it is.
fn record_is_plain(settings: &Settings) -> bool {
    let scratch = Scratch::new();
    let mut journal = scratch.open_with(settings);
    let text = "the same words again ".repeat(1000);
    journal.committer.commit(&mut group_of(1, &text)).unwrap();
    holds(&scratch.log_file("log"), text.as_bytes())
}

#[test]
fn large_groups_are_not_compressed_in_fjalls_log() {
    assert!(record_is_plain(&settings()));
}

#[test]
fn large_groups_are_compressed_without_the_guard() {
    assert!(!record_is_plain(
        &without(|guards| guards.plain_log = false)
    ));
}

const LOG_BOUND_BYTES: u64 = 160 << 20;

fn log_bytes(scratch: &Scratch) -> u64 {
    let files: Vec<PathBuf> = fs::read_dir(scratch.dir().join("log"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "jnl"))
        .collect();
    // A file may be deleted between being listed and being measured.
    files
        .iter()
        .filter_map(|path| fs::metadata(path).ok())
        .map(|found| found.len())
        .sum()
}

/// Writes more than the log may hold, then small groups until the log is within its bound, or many of them.
fn log_stays_bounded(mut settings: Settings, most: u64) -> bool {
    settings.durability = Durability::Buffered;
    let scratch = Scratch::new();
    let mut journal = scratch.open_with(&settings);
    let large = "x".repeat(8 << 20);
    for seq in 1..=24 {
        journal
            .committer
            .commit(&mut group_of(seq, &large))
            .unwrap();
    }
    (25..most).any(|seq| {
        journal
            .committer
            .commit(&mut group_of(seq, "small"))
            .unwrap();
        log_bytes(&scratch) <= LOG_BOUND_BYTES
    })
}

#[test]
fn fjalls_log_is_bounded() {
    // As many as it takes on a busy machine.
    assert!(log_stays_bounded(settings(), 1_000_000));
}

#[test]
fn fjalls_log_grows_for_ever_without_the_guard() {
    let unbounded = without(|guards| guards.bounded_log = false);
    assert!(!log_stays_bounded(unbounded, 10_000));
}

#[cfg(target_os = "linux")]
const ROWS_OF_A_FILE: u64 = 300_000;

#[cfg(target_os = "linux")]
fn file_row_key(row: u64) -> [u8; 8] {
    row.to_be_bytes()
}

/// Bytes that this thread has asked the system for.
#[cfg(target_os = "linux")]
fn bytes_read() -> u64 {
    let counts = fs::read_to_string("/proc/thread-self/io").unwrap();
    let read = counts.lines().find_map(|line| line.strip_prefix("rchar: "));
    read.unwrap().parse().unwrap()
}

/// Bytes that it takes to look for one row, in tables whose rows are all in one file and that were opened anew.
#[cfg(target_os = "linux")]
fn bytes_read_for_a_row(mut settings: Settings) -> u64 {
    const LOOKS: u64 = 100;
    settings.cache_bytes = 1 << 20;
    let scratch = Scratch::new();
    let mut journal = scratch.open_with(&settings);
    commit(&mut journal, 1, 1);
    let durable = journal.committer.durable();
    let mut rows = RowBatch::new();
    for row in 0..ROWS_OF_A_FILE {
        rows.put(1, &file_row_key(row), row.to_be_bytes().to_vec());
    }
    let at = durable.seq();
    journal.checkpointer.write(at, &durable, rows).unwrap();
    drop(journal);
    let db = fjall::Database::builder(scratch.dir().join("tables"))
        .open()
        .unwrap();
    let rows = db
        .keyspace("rows", fjall::KeyspaceCreateOptions::default)
        .unwrap();
    rows.rotate_memtable_and_wait().unwrap();
    // fjall's worker moves the file to the last level as it is.
    while rows.l0_table_count() > 0 {
        std::thread::yield_now();
    }
    drop((rows, db));
    let journal = scratch.open_with(&settings);
    let tables = journal.tables.snapshot().unwrap();
    let before = bytes_read();
    for look in 0..LOOKS {
        let row = look * (ROWS_OF_A_FILE / LOOKS);
        let found = tables.get(1, &file_row_key(row)).unwrap();
        assert_eq!(found.as_deref(), Some(&row.to_be_bytes()[..]));
    }
    (bytes_read() - before) / LOOKS
}

#[cfg(target_os = "linux")]
#[test]
fn row_of_a_large_file_is_found_by_reading_little() {
    assert!(bytes_read_for_a_row(settings()) < 32 << 10);
}

#[cfg(target_os = "linux")]
#[test]
fn row_of_a_large_file_is_found_by_reading_its_whole_filter_without_the_guard() {
    assert!(bytes_read_for_a_row(without(|guards| guards.files_in_parts = false)) > 128 << 10);
}

/// A journal whose retention dropped old groups, and that then lost the first of those that should be there.
fn lost_first_group(cursor: bool) -> Opened {
    let scratch = Scratch::new();
    let dropping = Settings {
        retention: Retention::DropBelowCheckpoint,
        ..without(|guards| guards.cursor = cursor)
    };
    let mut journal = scratch.open_with(&dropping);
    commit(&mut journal, 3 * WINDOW, 1000);
    let durable = journal.committer.durable();
    journal
        .checkpointer
        .write(Seq::new(WINDOW + 10), &durable, RowBatch::new())
        .unwrap();
    journal.committer.retain_from(durable.seq()).unwrap();
    journal
        .checkpointer
        .write(durable.seq(), &durable, RowBatch::new())
        .unwrap();
    let lost = journal.groups.first_retained();
    assert_eq!(lost, Seq::new(4001));
    drop(journal);
    let db = fjall::Database::builder(scratch.dir().join("log"))
        .open()
        .unwrap();
    let groups = db
        .keyspace("groups", fjall::KeyspaceCreateOptions::default)
        .unwrap();
    groups.remove(lost.get().to_be_bytes()).unwrap();
    db.persist(fjall::PersistMode::SyncAll).unwrap();
    drop((groups, db));
    scratch.open_with(&dropping)
}

#[test]
fn scans_start_at_the_cursor_and_know_what_must_be_there() {
    let journal = lost_first_group(true);
    assert!(journal.groups.from(Seq::new(1)).next().unwrap().is_err());
}

#[test]
fn scans_without_the_cursor_take_a_lost_group_for_a_dropped_one() {
    let journal = lost_first_group(false);
    assert_eq!(
        journal
            .groups
            .from(Seq::new(1))
            .next()
            .unwrap()
            .unwrap()
            .first(),
        Seq::new(5001)
    );
}
