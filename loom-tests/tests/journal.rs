//! What the threads of a journal know of each other: places that say that something is on disk.
#![cfg(crankcase_loom)]

use crankcase_journal::ActivityHash;
use crankcase_journal::model::Shared;
use crankcase_loom_tests::explore;
use crankcase_vat::Seq;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, Ordering};
use loom::thread;

fn shared() -> Arc<Shared> {
    let none = [(Seq::ZERO, ActivityHash::ZERO)].into();
    Arc::new(Shared::new(Seq::ZERO, Seq::new(1), Seq::ZERO, none))
}

/// What stands on disk. It is written and read without any order of its own, so that who relies on it
/// must have its order from the place.
type Disk = Arc<AtomicU64>;

#[test]
fn who_reads_a_durable_place_finds_its_group() {
    explore(&["not there yet", "found"], |seen| {
        let (shared, disk) = (shared(), Disk::default());
        let committer = {
            let (shared, disk) = (Arc::clone(&shared), Arc::clone(&disk));
            thread::spawn(move || {
                disk.store(5, Ordering::Relaxed);
                shared.set_durable(Seq::new(5));
            })
        };
        let durable = shared.durable();
        if durable == Seq::new(5) {
            assert_eq!(disk.load(Ordering::Relaxed), 5, "durable, and not on disk");
            seen.note("found");
        } else {
            seen.note("not there yet");
        }
        committer.join().unwrap();
    });
}

#[test]
fn who_drops_what_a_checkpoint_holds_sees_its_tables() {
    explore(&["nothing may be dropped", "the tables hold it"], |seen| {
        let (shared, disk) = (shared(), Disk::default());
        let checkpointer = {
            let (shared, disk) = (Arc::clone(&shared), Arc::clone(&disk));
            thread::spawn(move || {
                disk.store(9, Ordering::Relaxed);
                shared.set_checkpoint(Seq::new(9));
            })
        };
        if shared.checkpoint() == Seq::new(9) {
            assert_eq!(disk.load(Ordering::Relaxed), 9, "the tables are not there");
            seen.note("the tables hold it");
        } else {
            seen.note("nothing may be dropped");
        }
        checkpointer.join().unwrap();
    });
}

#[test]
fn edges_are_there_for_the_checkpoint_that_needs_them_while_others_are_added() {
    explore(&["both edges"], |seen| {
        let shared = shared();
        let window = crankcase_journal::WINDOW;
        let edge = move |windows: u64| Seq::new(windows * window);
        let hash = |byte: u8| ActivityHash([byte; 32]);
        shared.add_edge(edge(1), hash(1));
        let committer = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.add_edge(edge(2), hash(2)))
        };
        // A checkpoint within the second window keeps the edge before it.
        let found = shared.edge(edge(1));
        shared.set_checkpoint(Seq::new(window + 3));
        committer.join().unwrap();
        assert_eq!(found, Some(hash(1)));
        assert_eq!(shared.edge(edge(1)), Some(hash(1)), "its start was trimmed");
        assert_eq!(shared.edge(edge(2)), Some(hash(2)), "a new edge was lost");
        seen.note("both edges");
    });
}
