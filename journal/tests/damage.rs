//! Harm done to a directory that was closed or killed: what is refused, in which words, and that refusing and looking
//! leave every byte as it was.

mod harness;

use std::fs;
use std::path::PathBuf;

use crankcase_journal::{Group, OpenError, Opened, PrivateCopy, ReadError, RowBatch, WINDOW, open};
use crankcase_vat::Seq;
use fjall::{Database, KeyspaceCreateOptions, PersistMode};
use harness::{
    FRESH, Scratch, batch_around, check_records, commit, edit, files_below, flip, offset_of,
    record, settings, thirty,
};

const LARGE_RECORD_BYTES: usize = 4 << 20;

/// A journal whose old groups stand in blob files, with a checkpoint at its end that does not need the first of them.
fn large() -> Scratch {
    let scratch = Scratch::new();
    let mut journal = scratch.open();
    commit(&mut journal, WINDOW, WINDOW);
    let mut group = Group::new();
    // fjall moves groups from its log to blob files in its own time. Once its first log file is gone, they hold what
    // stood there.
    let first_log_file = scratch.dir().join("log/0.jnl");
    while first_log_file.exists() {
        let seq = journal.committer.last().next();
        group.reset(seq);
        let mut record = record(seq.get()).into_bytes();
        record.resize(LARGE_RECORD_BYTES, b'.');
        group.push(&record);
        journal.committer.commit(&mut group).unwrap();
    }
    let durable = journal.committer.durable();
    journal
        .checkpointer
        .write(durable.seq(), &durable, RowBatch::new())
        .unwrap();
    close(journal);
    scratch
}

fn blob_files(scratch: &Scratch) -> Vec<PathBuf> {
    fs::read_dir(scratch.dir().join("log/keyspaces/1/blobs"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect()
}

fn close(journal: Opened) {
    journal.committer.close().unwrap();
}

#[track_caller]
fn check_verify_fails(scratch: &Scratch, word: &str) {
    let before = files_below(&scratch.dir());
    let copy = PrivateCopy::of(&scratch.dir()).unwrap();
    let error = copy.verify_log(&mut |_, _| Ok(())).unwrap_err();
    assert!(matches!(error, ReadError::Damaged(_)));
    assert!(
        error.to_string().contains(word),
        "{error} does not say {word:?}"
    );
    drop(copy);
    assert!(
        before == files_below(&scratch.dir()),
        "looking changed the directory"
    );
}

#[test]
fn looking_at_a_sound_journal_passes_and_changes_nothing() {
    let scratch = thirty();
    let before = files_below(&scratch.dir());
    let copy = PrivateCopy::of(&scratch.dir()).unwrap();
    assert_eq!(*copy.identity(), FRESH);
    assert_eq!(copy.witnessed(), Seq::new(30));
    let mut seen = Vec::new();
    let report = copy
        .verify_log(&mut |seq, bytes| {
            seen.push((seq.get(), String::from_utf8(bytes.to_vec()).unwrap()));
            Ok(())
        })
        .unwrap();
    assert_eq!(
        (report.groups, report.records, report.hash),
        (10, 30, copy.recovered().hash)
    );
    assert_eq!(
        seen,
        (1..=30).map(|seq| (seq, record(seq))).collect::<Vec<_>>()
    );
    copy.verify_tables_digest().unwrap();
    drop(copy);
    assert!(
        before == files_below(&scratch.dir()),
        "looking changed the directory"
    );
    check_records(&scratch.open(), 1, 30);
}

#[test]
fn flipped_bit_in_an_old_group_in_fjalls_log() {
    let scratch = thirty();
    let file = scratch.log_file("log");
    flip(&file, offset_of(&file, record(8).as_bytes()) + 3);
    scratch.check_refused("acknowledged batches follow behind");
}

#[test]
fn flipped_bit_in_an_old_group_in_a_blob_file_is_found_by_verify_and_by_a_read() {
    let scratch = large();
    let needle = record(2);
    let blob = blob_files(&scratch)
        .into_iter()
        .find(|path| harness::holds(path, needle.as_bytes()))
        .expect("the first groups stand in a blob file");
    flip(&blob, offset_of(&blob, needle.as_bytes()) + 3);
    check_verify_fails(&scratch, "group");
    let journal = scratch.open();
    let error = journal.groups.containing(Seq::new(2)).unwrap_err();
    assert!(matches!(error, ReadError::Damaged(_)));
}

#[test]
fn old_groups_out_of_fjalls_log_reopen_and_verify() {
    let scratch = large();
    let copy = PrivateCopy::of(&scratch.dir()).unwrap();
    let report = copy.verify_log(&mut |_, _| Ok(())).unwrap();
    assert_eq!(report.records, report.last.get());
    drop(copy);
    let journal = scratch.open();
    assert_eq!(journal.recovered.last, report.last);
    let group = journal.groups.containing(Seq::new(2)).unwrap().unwrap();
    assert_eq!(group.record(Seq::new(2)), Some(record(2).as_bytes()));
}

#[test]
fn missing_blob_file_that_recovery_needs() {
    let scratch = large();
    fs::remove_dir_all(scratch.dir().join("log/keyspaces/1/blobs")).unwrap();
    scratch.check_refused("damaged");
}

/// Deletes the group at `first` behind the journal's back.
fn delete_group(scratch: &Scratch, first: u64) {
    let db = Database::builder(scratch.dir().join("log")).open().unwrap();
    let groups = db
        .keyspace("groups", KeyspaceCreateOptions::default)
        .unwrap();
    groups.remove(first.to_be_bytes()).unwrap();
    db.persist(PersistMode::SyncAll).unwrap();
}

#[test]
fn missing_group_that_recovery_needs() {
    let scratch = thirty();
    delete_group(&scratch, 7);
    scratch.check_refused("a group is missing");
}

#[test]
fn missing_group_below_the_checkpoint_is_found_by_verify_and_by_a_read() {
    let scratch = Scratch::new();
    let mut journal = scratch.open();
    commit(&mut journal, 5000, 100);
    let durable = journal.committer.durable();
    journal
        .checkpointer
        .write(durable.seq(), &durable, RowBatch::new())
        .unwrap();
    close(journal);
    delete_group(&scratch, 201);
    check_verify_fails(&scratch, "a group is missing");
    let journal = scratch.open();
    assert!(journal.groups.containing(Seq::new(250)).is_err());
    assert!(journal.groups.containing(Seq::new(150)).unwrap().is_some());
}

#[test]
fn truncated_tail_of_acknowledged_groups() {
    for seq in [8, 29] {
        let scratch = thirty();
        let file = scratch.log_file("log");
        let at = offset_of(&file, record(seq).as_bytes());
        edit(&file, |bytes| bytes.truncate(at));
        scratch.check_refused("acknowledged groups are missing");
    }
}

#[test]
fn damaged_header_in_the_middle_of_fjalls_log() {
    let scratch = thirty();
    let file = scratch.log_file("log");
    let bytes = fs::read(&file).unwrap();
    let group = offset_of(&file, record(10).as_bytes());
    // The batch begins behind the trailer of the one before.
    let header = bytes[..group]
        .windows(4)
        .rposition(|window| window == b"FJL\x03")
        .unwrap()
        + 4;
    flip(&file, header);
    scratch.check_refused("acknowledged batches follow behind");
}

/// Flips a bit of the number that fjall gives to the batch in which the record stands: no checksum covers it.
fn renumbered(in_batch_of: u64, bit: usize) -> Scratch {
    let scratch = thirty();
    let file = scratch.log_file("log");
    let bytes = fs::read(&file).unwrap();
    let group = offset_of(&file, record(in_batch_of).as_bytes());
    let header = bytes[..group]
        .windows(4)
        .rposition(|window| window == b"FJL\x03")
        .unwrap()
        + 4;
    edit(&file, |bytes| bytes[header + 5 + bit / 8] ^= 1 << (bit % 8));
    scratch
}

#[test]
fn a_batch_with_another_number_in_the_middle_of_fjalls_log() {
    for bit in [6, 20, 62] {
        renumbered(10, bit).check_refused("the numbers of two batches do not rise");
    }
    renumbered(10, 63).check_refused("or one is none");
}

#[test]
fn a_batch_with_another_number_at_the_end_of_fjalls_log_is_refused_or_goes_on() {
    renumbered(30, 63).check_refused("or one is none");
    // A later number than it had says nothing else, and leaves room for more than will ever be written.
    let scratch = renumbered(30, 62);
    let mut journal = scratch.open();
    commit(&mut journal, 3, 1);
    drop(journal);
    check_records(&scratch.open(), 1, 33);
}

#[test]
fn flipped_bit_in_a_list_of_fjalls_files() {
    let scratch = thirty();
    for database in ["log", "tables"] {
        for entry in fs::read_dir(scratch.dir().join(database).join("keyspaces")).unwrap() {
            let folder = entry.unwrap().path();
            let current = fs::read(folder.join("current")).unwrap();
            let number = u64::from_le_bytes(current[..8].try_into().unwrap());
            let list = folder.join(format!("v{number}"));
            for (file, offset) in [(&list, 0), (&list, 40), (&folder.join("current"), 12)] {
                flip(file, offset);
                scratch.check_refused("does not match its checksum");
                flip(file, offset);
            }
            flip(&folder.join("current"), 0);
            scratch.check_refused("a list of the store's files is named that is not there");
            flip(&folder.join("current"), 0);
        }
    }
    check_records(&scratch.open(), 1, 30);
}

#[test]
fn flipped_bit_in_the_contents_of_a_file_of_fjalls() {
    let scratch = large();
    let mut files = 0;
    for (file, _) in files_below(&scratch.dir()) {
        let file = scratch.dir().join(file);
        let written_once = ["tables", "blobs"].iter().any(|folder| {
            let above = file.parent().unwrap();
            above.ends_with(folder) && above.ancestors().any(|above| above.ends_with("keyspaces"))
        });
        if !written_once || !file.is_file() {
            continue;
        }
        files += 1;
        let bytes = fs::read(&file).unwrap();
        let contents = bytes
            .windows(4)
            .rposition(|window| window == b"TOC!")
            .unwrap();
        // How many entries there are, of which fjall takes its word.
        flip(&file, contents + 7);
        scratch.check_refused("do not match their checksum");
        flip(&file, contents + 7);
    }
    assert!(files > 1, "blobs among them");
    let journal = scratch.open();
    let large = journal.groups.containing(Seq::new(WINDOW + 1)).unwrap();
    assert!(large.is_some());
}

#[test]
fn missing_log_file() {
    let scratch = thirty();
    fs::remove_file(scratch.log_file("log")).unwrap();
    scratch.check_refused("acknowledged groups are missing");
}

#[test]
fn tables_ahead_of_the_log() {
    let scratch = thirty();
    let older = scratch.copy();
    let mut journal = scratch.open();
    commit(&mut journal, 30, 3);
    let durable = journal.committer.durable();
    journal
        .checkpointer
        .write(durable.seq(), &durable, RowBatch::new())
        .unwrap();
    close(journal);
    for part in ["log", "witness"] {
        let (from, to) = (older.dir().join(part), scratch.dir().join(part));
        if from.is_dir() {
            fs::remove_dir_all(&to).unwrap();
            harness::copy_folder(&from, &to);
        } else {
            fs::copy(from, to).unwrap();
        }
    }
    scratch.check_refused("acknowledged groups are missing");
}

#[test]
fn another_history_under_the_same_witness() {
    let (scratch, other) = (thirty(), Scratch::new());
    let mut journal = other.open();
    let mut group = Group::new();
    for _ in 0..30 {
        group.push(b"not what was said");
    }
    journal.committer.commit(&mut group).unwrap();
    close(journal);
    fs::remove_dir_all(scratch.dir().join("log")).unwrap();
    harness::copy_folder(&other.dir().join("log"), &scratch.dir().join("log"));
    scratch.check_refused("not those that the witness saw");
}

#[test]
fn one_group_of_another_history_among_those_that_the_witness_saw() {
    let (scratch, other) = (thirty(), Scratch::new());
    let mut journal = other.open();
    let mut group = Group::new();
    for seq in 1..=30 {
        let said = record(seq);
        let said = if seq == 8 { said.to_uppercase() } else { said };
        group.push(said.as_bytes());
        if seq % 3 == 0 {
            journal.committer.commit(&mut group).unwrap();
            group.reset(Seq::new(seq + 1));
        }
    }
    close(journal);
    let (file, foreign) = (scratch.log_file("log"), other.log_file("log"));
    let (start, end) = batch_around(&file, record(8).as_bytes());
    let foreign = fs::read(foreign).unwrap();
    edit(&file, |bytes| {
        bytes[start..end].copy_from_slice(&foreign[start..end])
    });
    // The batch is whole, and so is the group in it. Only the hash of the order tells.
    scratch.check_refused("the activity hash");
}

#[test]
fn lost_or_torn_witness() {
    let scratch = thirty();
    let witness = scratch.dir().join("witness");
    let lost = scratch.copy();
    fs::remove_file(lost.dir().join("witness")).unwrap();
    lost.check_refused("the witness file is missing");
    // One slot torn: the other one still speaks.
    for slot in [0, 4096] {
        let torn = scratch.copy();
        edit(&torn.dir().join("witness"), |bytes| {
            bytes[slot + 20..slot + 60].fill(0xee)
        });
        check_records(&torn.open(), 1, 30);
    }
    edit(&witness, |bytes| bytes.fill(0xee));
    scratch.check_refused("neither slot");
}

#[test]
fn older_format() {
    let scratch = thirty();
    edit(&scratch.dir().join("crankcase"), |bytes| {
        bytes[8] = 1;
        let checksum = xxhash_rust::xxh3::xxh3_64(&bytes[..72]);
        bytes[72..80].copy_from_slice(&checksum.to_le_bytes());
    });
    let opened = scratch.try_open(&settings());
    assert!(
        matches!(&opened, Err(OpenError::OlderFormat { found: 1, supported }) if *supported > 1),
        "{opened:?}"
    );
    scratch.check_refused("format 1");
}

#[test]
fn newer_format() {
    let scratch = thirty();
    edit(&scratch.dir().join("crankcase"), |bytes| bytes[8] = 3);
    assert!(matches!(
        scratch.try_open(&settings()),
        Err(OpenError::NewerFormat {
            found: 3,
            supported: 2
        })
    ));
    scratch.check_refused("newer");
}

#[test]
fn damaged_identity() {
    let scratch = thirty();
    flip(&scratch.dir().join("crankcase"), 20);
    scratch.check_refused("identity file does not match");
}

#[test]
fn foreign_directory_file_and_missing_identity() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.dir()).unwrap();
    fs::write(scratch.dir().join("holiday.txt"), "sun").unwrap();
    scratch.check_refused("is not a journal");
    let file = scratch.dir().join("holiday.txt");
    assert!(matches!(
        open(Some(&file), &settings(), &FRESH),
        Err(OpenError::NotAJournal { .. })
    ));
    let scratch = thirty();
    fs::remove_file(scratch.dir().join("crankcase")).unwrap();
    scratch.check_refused("its identity file is missing");
}

#[test]
fn empty_or_absent_directory_is_nothing_to_look_at_and_looking_makes_nothing() {
    let scratch = Scratch::new();
    assert!(matches!(
        PrivateCopy::of(&scratch.dir()),
        Err(OpenError::NotAJournal { .. })
    ));
    assert!(!scratch.dir().exists());
    fs::create_dir(scratch.dir()).unwrap();
    assert!(matches!(
        PrivateCopy::of(&scratch.dir()),
        Err(OpenError::NotAJournal { .. })
    ));
    assert!(files_below(&scratch.dir()).is_empty());
}

#[test]
fn interrupted_making_begins_again() {
    let scratch = thirty();
    fs::write(scratch.dir().join("creating"), "").unwrap();
    fs::remove_file(scratch.dir().join("crankcase")).unwrap();
    let journal = scratch.open();
    assert!(journal.recovered.created);
    assert_eq!(journal.recovered.last, Seq::ZERO);
    drop(journal);
    // With the identity in place the journal was made, and only the marker is left to remove.
    let scratch = thirty();
    fs::write(scratch.dir().join("creating"), "").unwrap();
    check_records(&scratch.open(), 1, 30);
    assert!(!scratch.dir().join("creating").exists());
}

#[test]
fn open_elsewhere() {
    let scratch = Scratch::new();
    let journal = scratch.open();
    assert!(matches!(
        scratch.try_open(&settings()),
        Err(OpenError::OpenElsewhere)
    ));
    assert!(matches!(
        PrivateCopy::of(&scratch.dir()),
        Err(OpenError::OpenElsewhere)
    ));
    drop(journal);
    let (one, two) = (
        PrivateCopy::of(&scratch.dir()).unwrap(),
        PrivateCopy::of(&scratch.dir()).unwrap(),
    );
    assert!(matches!(
        scratch.try_open(&settings()),
        Err(OpenError::OpenElsewhere)
    ));
    drop((one, two));
    scratch.open();
}

#[test]
fn lost_row_of_the_tables_is_found_by_their_digest() {
    let scratch = Scratch::new();
    let mut journal = scratch.open();
    commit(&mut journal, 5, 5);
    let durable = journal.committer.durable();
    let mut rows = RowBatch::new();
    rows.put(1, b"account", b"100");
    rows.put(1, b"other", b"200");
    journal
        .checkpointer
        .write(durable.seq(), &durable, rows)
        .unwrap();
    close(journal);
    let db = Database::builder(scratch.dir().join("tables"))
        .open()
        .unwrap();
    db.keyspace("rows", KeyspaceCreateOptions::default)
        .unwrap()
        .remove(b"\x01account")
        .unwrap();
    db.persist(PersistMode::SyncAll).unwrap();
    drop(db);
    let error = PrivateCopy::of(&scratch.dir())
        .unwrap()
        .verify_tables_digest()
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("are not the 2 that the checkpoint"),
        "{error}"
    );
}

#[test]
fn refusal_takes_its_lock_file_away_again() {
    let scratch = thirty();
    fs::remove_file(scratch.dir().join("lock")).unwrap();
    fs::remove_file(scratch.dir().join("witness")).unwrap();
    scratch.check_refused("the witness file is missing");
}
