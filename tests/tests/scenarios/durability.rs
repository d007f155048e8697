//! How long things last, for each of the three durabilities.

use crankcase::{CommitOrder, Durability};
use crankcase_tests::child::Victim;
use crankcase_tests::host::PLAIN;
use crankcase_tests::{Said, Scratch, Step, in_every_shape};

#[test]
fn without_durability_no_directory_is_made_or_touched() {
    in_every_shape(|shape| {
        let scratch = Scratch::new();
        let none = |builder: crankcase::KernelBuilder| builder.durability(Durability::None);
        let host = shape.open_with(scratch.dir(), none);
        let vat = host.actor();
        assert_eq!(host.said(vat, &[Step::Add(1)]), [Said::Number(1)]);
        host.idle();
        assert_eq!(host.stats().group_syncs, 0);
        host.close();
        assert!(!scratch.dir().exists());

        // Not even one that is a journal.
        let host = shape.open(scratch.dir());
        let vat = host.actor();
        host.play(vat, &[Step::Add(5)]).unwrap();
        host.close();
        let before = scratch.contents();
        let host = shape.open_with(scratch.dir(), none);
        assert_eq!(host.stats().vats, 0, "and nothing of it is read");
        let _fresh = host.actor();
        host.close();
        scratch.check_unchanged(&before);
    });
}

#[test]
fn without_durability_orders_have_the_same_hash() {
    let hash = |durability| {
        let scratch = Scratch::new();
        let shape = crankcase_tests::Shape {
            order: CommitOrder::Dispatch,
            workers: 2,
        };
        let host = shape.open_with(scratch.dir(), |builder| {
            builder
                .durability(durability)
                .clock(crankcase::Clock::Manual)
        });
        for block in 0..3 {
            let ticket = crankcase_tests::workload::submit(&host, block).unwrap();
            host.settled(&ticket);
        }
        let standing = crankcase_tests::workload::standing(&host);
        host.close();
        standing
    };
    let sync = hash(Durability::Sync);
    assert_eq!(hash(Durability::None), sync);
    assert_eq!(hash(Durability::Buffered), sync);
}

/// Starts a child on the journal, waits for a few outcomes, and kills it.
fn kill_one(scratch: &Scratch, durability: &str) {
    let words = ["requests", durability, "2"];
    let mut victim = Victim::start(env!("CARGO_BIN_EXE_victim"), &scratch.dir(), &words);
    assert_eq!(victim.lines(12).len(), 12, "it gets to work");
    victim.kill();
}

#[test]
fn buffered_raises_the_timeline_after_an_unclean_end_only() {
    let scratch = Scratch::new();
    let open = || PLAIN.open_with(scratch.dir(), |b| b.durability(Durability::Buffered));
    let host = open();
    let (kernel_id, timeline) = (host.identity().kernel_id, host.identity().timeline);
    host.close();
    let host = open();
    assert_eq!(host.identity().timeline, timeline, "after a clean end");
    host.close();
    let scratch = &scratch;
    // The actors of the child, under the ids that it expects.
    kill_one(scratch, "buffered");
    let host = open();
    assert_eq!(host.identity().timeline, timeline + 1);
    assert_eq!(host.identity().kernel_id, kernel_id);
    host.close();
    let host = open();
    assert_eq!(host.identity().timeline, timeline + 1);
    host.close();
}

#[test]
fn sync_keeps_the_timeline_after_an_unclean_end() {
    let scratch = Scratch::new();
    kill_one(&scratch, "sync");
    let host = PLAIN.open(scratch.dir());
    assert!(host.recovered().unclean);
    assert_eq!(host.identity().timeline, 1);
    host.close();
}

#[test]
fn a_journal_may_change_its_durability() {
    let scratch = Scratch::new();
    let mut vat = None;
    for (round, durability) in [Durability::Sync, Durability::Buffered, Durability::Sync]
        .into_iter()
        .enumerate()
    {
        let host = PLAIN.open_with(scratch.dir(), |builder| builder.durability(durability));
        let vat = *vat.get_or_insert_with(|| host.actor());
        assert_eq!(
            host.said(vat, &[Step::Add(1)]),
            [Said::Number(round as u64 + 1)]
        );
        assert_eq!(host.stats().group_syncs > 0, durability == Durability::Sync);
        host.close();
    }
}
