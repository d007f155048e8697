//! What a kernel relies on day by day: the order and its hash, the tables, restarts, retention, memory.

mod harness;

use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use crankcase_journal::{
    ActivityHash, CheckpointError, CommitError, Durability, Faults, Group, Identity, PrivateCopy,
    Retention, RowBatch, Settings, WINDOW, open,
};
use crankcase_vat::Seq;
use harness::{FRESH, Scratch, buffered, check_records, commit, record, settings};
use proptest::prelude::*;

fn in_memory() -> crankcase_journal::Opened {
    let settings = Settings {
        durability: Durability::None,
        ..Settings::default()
    };
    open(None, &settings, &FRESH).unwrap()
}

/// The hash as the definition has it, computed record by record.
fn defined_hash(last: u64) -> ActivityHash {
    let mut start = [0; 32];
    let mut hasher = blake3::Hasher::new();
    hasher.update(&start);
    for seq in 1..=last {
        let record = record(seq);
        hasher.update(&[u8::try_from(record.len()).unwrap()]);
        hasher.update(record.as_bytes());
        if seq.is_multiple_of(WINDOW) {
            start = *hasher.finalize().as_bytes();
            hasher = blake3::Hasher::new();
            hasher.update(&start);
        }
    }
    ActivityHash(if last.is_multiple_of(WINDOW) {
        start
    } else {
        *hasher.finalize().as_bytes()
    })
}

#[test]
fn order_hash_at_window_edges_is_the_defined_one_however_grouped() {
    for last in [
        1,
        WINDOW - 1,
        WINDOW,
        WINDOW + 1,
        2 * WINDOW,
        2 * WINDOW + 5,
    ] {
        for group in [7, WINDOW, 3 * WINDOW] {
            let mut journal = in_memory();
            commit(&mut journal, last, group);
            assert_eq!(
                journal.committer.hash(),
                defined_hash(last),
                "{last} records in groups of {group}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]
    #[test]
    fn order_hash_does_not_depend_on_grouping(groups in prop::collection::vec(1_u64..3000, 1..6)) {
        let total = groups.iter().sum();
        let (mut one, mut many) = (in_memory(), in_memory());
        for group in groups {
            commit(&mut many, group, group);
        }
        commit(&mut one, total, total);
        prop_assert_eq!(one.committer.hash(), many.committer.hash());
    }
}

#[test]
fn order_restart_in_the_middle_of_a_window_leaves_no_trace_in_the_hash() {
    let scratch = Scratch::new();
    for count in [10, WINDOW, 100, 2 * WINDOW - 110, 5] {
        let mut journal = scratch.open();
        commit(&mut journal, count, 1000);
        journal.committer.close().unwrap();
    }
    let journal = scratch.open();
    assert_eq!(journal.recovered.last, Seq::new(3 * WINDOW + 5));
    assert_eq!(journal.recovered.hash, defined_hash(3 * WINDOW + 5));
    assert!(!journal.recovered.unclean);
    check_records(&journal, 3 * WINDOW - 2, 3 * WINDOW + 5);
}

#[test]
fn order_unclean_end_loses_nothing_acknowledged() {
    let scratch = Scratch::new();
    let mut journal = scratch.open();
    commit(&mut journal, 50, 7);
    drop(journal);
    let journal = scratch.open();
    assert!(journal.recovered.unclean);
    assert_eq!(journal.identity, FRESH);
    check_records(&journal, 1, 50);
}

#[test]
fn order_ten_thousand_groups_reopen() {
    let scratch = Scratch::new();
    let mut journal = scratch.open_with(&buffered());
    commit(&mut journal, 20_000, 2);
    let hash = journal.committer.hash();
    journal.committer.close().unwrap();
    drop((journal.checkpointer, journal.groups, journal.tables));
    let journal = scratch.open();
    assert_eq!(
        (journal.recovered.last, journal.recovered.hash),
        (Seq::new(20_000), hash)
    );
    check_records(&journal, 19_990, 20_000);
}

#[test]
fn order_reads_and_notes_by_place() {
    let scratch = Scratch::new();
    for mut journal in [scratch.open(), in_memory()] {
        commit(&mut journal, 9, 3);
        let mut group = Group::new();
        group.reset(Seq::new(10));
        group.push(b"noted");
        group.push_note(Seq::new(10), "why it failed".into());
        journal.committer.commit(&mut group).unwrap();
        let groups = &journal.groups;
        let found = groups.containing(Seq::new(5)).unwrap().unwrap();
        assert_eq!((found.first(), found.last()), (Seq::new(4), Seq::new(6)));
        assert_eq!(found.record(Seq::new(5)), Some(record(5).as_bytes()));
        assert!(groups.containing(Seq::new(11)).unwrap().is_none());
        assert!(groups.containing(Seq::ZERO).unwrap().is_none());
        assert_eq!(
            groups.note(Seq::new(10)).unwrap().as_deref(),
            Some("why it failed")
        );
        assert_eq!(groups.note(Seq::new(9)).unwrap(), None);
        assert_eq!(groups.from(Seq::new(5)).count(), 3);
        assert_eq!(groups.from(Seq::new(11)).count(), 0);
    }
}

#[test]
fn order_group_that_does_not_follow_is_refused_and_the_committer_goes_on() {
    let mut journal = in_memory();
    let mut group = Group::new();
    group.reset(Seq::new(2));
    group.push(b"too early");
    let error = journal.committer.commit(&mut group).unwrap_err();
    assert!(matches!(error, CommitError::OutOfOrder { .. }));
    commit(&mut journal, 3, 1);
    check_records(&journal, 1, 3);
}

fn some_rows() -> RowBatch {
    let mut rows = RowBatch::new();
    rows.put(1, b"a", b"first");
    rows.put(1, b"b", b"kept");
    rows.put(2, b"a", b"other table");
    rows.delete(1, b"never there");
    let mut later = RowBatch::new();
    later.put(1, b"a", b"second");
    later.put(1, b"c", b"gone");
    later.delete(1, b"c");
    rows.merge(later);
    rows
}

#[test]
fn tables_last_change_of_a_row_wins_and_survives_a_restart() {
    let scratch = Scratch::new();
    let mut journal = scratch.open();
    commit(&mut journal, 5, 2);
    let durable = journal.committer.durable();
    journal
        .checkpointer
        .write(Seq::new(4), &durable, some_rows())
        .unwrap();
    drop(journal);
    let journal = scratch.open();
    assert_eq!(journal.recovered.checkpoint, Seq::new(4));
    let snapshot = journal.tables.snapshot().unwrap();
    assert_eq!(snapshot.checkpoint(), Seq::new(4));
    let rows: Vec<_> = snapshot.prefix(1, b"").map(Result::unwrap).collect();
    assert_eq!(
        rows,
        [
            (b"a".to_vec(), b"second".to_vec()),
            (b"b".to_vec(), b"kept".to_vec())
        ]
    );
    assert_eq!(
        snapshot.get(2, b"a").unwrap().as_deref(),
        Some(&b"other table"[..])
    );
    check_records(&journal, 5, 5);
    drop((snapshot, journal));
    let copy = PrivateCopy::of(&scratch.dir()).unwrap();
    assert_eq!(copy.verify_tables_digest().unwrap().rows, 3);
    assert_eq!(copy.verify_log(&mut |_, _| Ok(())).unwrap().records, 5);
}

#[test]
fn tables_in_memory_behave_alike() {
    let mut journal = in_memory();
    commit(&mut journal, 5, 2);
    let durable = journal.committer.durable();
    journal
        .checkpointer
        .write(Seq::new(4), &durable, some_rows())
        .unwrap();
    let snapshot = journal.tables.snapshot().unwrap();
    assert_eq!(snapshot.checkpoint(), Seq::new(4));
    assert_eq!(snapshot.prefix(1, b"").count(), 2);
    assert_eq!(
        snapshot.prefix(1, b"b").map(Result::unwrap).next(),
        Some((b"b".to_vec(), b"kept".to_vec()))
    );
}

#[test]
fn tables_ranges_come_in_order_from_both_ends() {
    let scratch = Scratch::new();
    for mut journal in [scratch.open(), in_memory()] {
        // Tables beside each other, and a prefix whose last byte is the largest there is.
        let mut rows = RowBatch::new();
        let rests: Vec<[u8; 2]> = (0..40u16)
            .map(|number| (number * 100).to_be_bytes())
            .collect();
        for table in [6, 7, 8] {
            for prefix in [[1, 255], [2, 0], [2, 1]] {
                rows.put(table, &prefix, b"itself");
                for rest in &rests {
                    rows.put(table, &[prefix, *rest].concat(), rest.to_vec());
                }
            }
        }
        commit(&mut journal, 1, 1);
        let durable = journal.committer.durable();
        journal
            .checkpointer
            .write(Seq::new(1), &durable, rows)
            .unwrap();
        let view = journal.tables.view();
        let edges = [
            vec![],
            rests[0].to_vec(),
            rests[7].to_vec(),
            vec![3, 3],
            vec![255; 3],
        ];
        let edges = edges
            .iter()
            .flat_map(|edge| [Bound::Included(&edge[..]), Bound::Excluded(&edge[..])]);
        let edges: Vec<_> = edges.chain([Bound::Unbounded]).collect();
        for prefix in [[1, 255], [2, 0]] {
            for &low in &edges {
                for &high in &edges {
                    let mut expected: Vec<Vec<u8>> = [vec![]]
                        .into_iter()
                        .chain(rests.iter().map(|rest| rest.to_vec()))
                        .filter(|rest| (low, high).contains(&rest[..]))
                        .map(|rest| [&prefix[..], &rest].concat())
                        .collect();
                    for forward in [true, false] {
                        let found: Vec<Vec<u8>> = view
                            .range(7, &prefix, (low, high), forward)
                            .map(|row| row.unwrap().0)
                            .collect();
                        assert_eq!(found, expected, "{low:?} {high:?} {forward}");
                        expected.reverse();
                    }
                }
            }
        }
    }
}

#[test]
fn tables_checkpoint_never_passes_the_durable_place_or_goes_back() {
    let scratch = Scratch::new();
    let mut journal = scratch.open();
    commit(&mut journal, 5, 2);
    let durable = journal.committer.durable();
    let ahead = journal
        .checkpointer
        .write(Seq::new(6), &durable, RowBatch::new())
        .unwrap_err();
    assert!(matches!(ahead, CheckpointError::OutOfRange { .. }));
    journal
        .checkpointer
        .write(Seq::new(5), &durable, RowBatch::new())
        .unwrap();
    let back = journal
        .checkpointer
        .write(Seq::new(4), &durable, RowBatch::new())
        .unwrap_err();
    assert!(matches!(back, CheckpointError::OutOfRange { .. }));
}

#[test]
fn retention_drops_below_the_checkpoints_window_and_the_rest_reopens() {
    let scratch = Scratch::new();
    let dropping = Settings {
        retention: Retention::DropBelowCheckpoint,
        ..settings()
    };
    let mut journal = scratch.open_with(&dropping);
    commit(&mut journal, 2 * WINDOW + 500, 1000);
    let durable = journal.committer.durable();
    journal
        .checkpointer
        .write(Seq::new(2 * WINDOW + 100), &durable, some_rows())
        .unwrap();
    let progress = journal
        .committer
        .retain_from(Seq::new(2 * WINDOW + 100))
        .unwrap();
    // The group 8001..=8692 holds the start of the checkpoint's window, at 8193.
    assert_eq!((progress.dropped, progress.done), (8, true));
    assert_eq!(journal.groups.first_retained(), Seq::new(8001));
    let hash = journal.committer.hash();
    drop(journal);
    let mut journal = scratch.open_with(&dropping);
    assert_eq!(journal.recovered.hash, hash);
    assert_eq!(journal.groups.first_retained(), Seq::new(8001));
    assert!(journal.groups.containing(Seq::new(1)).unwrap().is_none());
    commit(&mut journal, 10, 5);
    assert_eq!(journal.committer.hash(), defined_hash(2 * WINDOW + 510));
    drop(journal);
    let report = PrivateCopy::of(&scratch.dir())
        .unwrap()
        .verify_log(&mut |_, _| Ok(()))
        .unwrap();
    assert_eq!(
        (report.first, report.hashed_from),
        (Seq::new(8001), Seq::new(2 * WINDOW + 1))
    );
}

#[test]
fn retention_keep_all_drops_nothing() {
    let scratch = Scratch::new();
    let mut journal = scratch.open();
    commit(&mut journal, WINDOW + 5, 100);
    let durable = journal.committer.durable();
    journal
        .checkpointer
        .write(durable.seq(), &durable, RowBatch::new())
        .unwrap();
    assert_eq!(
        journal
            .committer
            .retain_from(durable.seq())
            .unwrap()
            .dropped,
        0
    );
    check_records(&journal, 1, WINDOW + 5);
}

#[test]
fn memory_lets_go_below_the_floor() {
    let mut journal = in_memory();
    commit(&mut journal, 100, 10);
    assert_eq!(
        journal.committer.retain_from(Seq::new(55)).unwrap().dropped,
        5
    );
    assert_eq!(journal.groups.first_retained(), Seq::new(51));
    assert!(journal.groups.containing(Seq::new(50)).unwrap().is_none());
    check_records(&journal, 51, 100);
}

#[test]
fn buffered_unclean_end_raises_the_timeline_once_and_a_clean_one_does_not() {
    let scratch = Scratch::new();
    let mut journal = scratch.open_with(&buffered());
    commit(&mut journal, 5, 2);
    drop(journal);
    let raised = Identity {
        timeline: 2,
        ..FRESH
    };
    let journal = scratch.open_with(&buffered());
    assert_eq!(journal.identity, raised);
    check_records(&journal, 1, 5);
    journal.committer.close().unwrap();
    drop((journal.checkpointer, journal.groups, journal.tables));
    assert_eq!(scratch.open().identity, raised);
}

#[test]
fn syncs_are_counted_one_for_each_group() {
    let scratch = Scratch::new();
    let mut journal = scratch.open();
    commit(&mut journal, 300, 1);
    assert_eq!(
        (
            journal.committer.syncs().groups,
            journal.committer.syncs().witness
        ),
        (300, 2)
    );
}

struct FailCheckpoint;
impl Faults for FailCheckpoint {
    fn checkpoint_write(&self, _: u64) -> std::io::Result<()> {
        Err(std::io::Error::other("no"))
    }
}

#[test]
fn tables_failed_checkpoint_is_final_and_the_old_tables_stand() {
    let scratch = Scratch::new();
    let mut journal = scratch.open_with(&Settings {
        faults: Some(Arc::new(FailCheckpoint)),
        ..settings()
    });
    commit(&mut journal, 5, 2);
    let durable = journal.committer.durable();
    let failed = journal
        .checkpointer
        .write(Seq::new(5), &durable, some_rows())
        .unwrap_err();
    assert!(matches!(failed, CheckpointError::Indeterminate { .. }));
    let stopped = journal
        .checkpointer
        .write(Seq::new(5), &durable, some_rows())
        .unwrap_err();
    assert!(matches!(stopped, CheckpointError::Stopped));
    drop(journal);
    let journal = scratch.open();
    assert_eq!(journal.recovered.checkpoint, Seq::ZERO);
    assert_eq!(journal.tables.snapshot().unwrap().prefix(1, b"").count(), 0);
}
