//! Checkpoints: they bound what recovery reads, and change nothing else.

use std::sync::Arc;

use crankcase::{ActivityHash, Clock, CommitOrder, KernelBuilder, Retention, Seq};
use crankcase_tests::luck::Luck;
use crankcase_tests::watch::Watch;
use crankcase_tests::{Actor, Gate, Host, Said, Scratch, Shape, Step, in_every_shape, workload};

const BLOCKS: u64 = 8;

fn often(builder: KernelBuilder) -> KernelBuilder {
    builder.clock(Clock::Manual).checkpoint_every(50, u64::MAX)
}

/// Runs the blocks in dispatch order, where the states follow from the blocks alone.
fn run(
    workers: usize,
    restarts: Option<u64>,
    settings: impl Fn(KernelBuilder) -> KernelBuilder,
) -> (Seq, ActivityHash, Vec<Actor>) {
    let _watch = Watch::new(format!("{workers} workers, restarts {restarts:?}"));
    let scratch = Scratch::new();
    let shape = Shape {
        order: CommitOrder::Dispatch,
        workers,
    };
    let open = || -> Host {
        shape.open_with(scratch.dir(), |builder| {
            settings(builder.clock(Clock::Manual))
        })
    };
    let mut luck = Luck::new(restarts.unwrap_or_default());
    let mut host = open();
    for block in 0..=BLOCKS {
        let _ = workload::submit(&host, block).unwrap();
        for budget in [30, 20, u64::MAX] {
            host.run(budget).unwrap();
            if restarts.is_some() && luck.below(3) == 0 {
                host.close();
                host = open();
            }
        }
    }
    let (seq, hash) = workload::standing(&host);
    let states = workload::states(&host);
    host.close();
    (seq, hash, states)
}

#[test]
fn many_checkpoints_and_restarts_change_nothing() {
    let without = run(2, None, |builder| builder);
    for (workers, restarts) in [(1, None), (2, Some(1)), (4, Some(2)), (2, Some(3))] {
        assert_eq!(
            run(workers, restarts, often),
            without,
            "{workers} workers, {restarts:?}"
        );
    }
    let tight = |builder: KernelBuilder| often(builder).checkpoint_every(7, 1).vats_in_memory(0);
    assert_eq!(run(2, Some(4), tight), without, "tight");
    let bare = |builder: KernelBuilder| tight(builder).store_cache_bytes(0);
    assert_eq!(run(2, Some(5), bare), without, "with no rows in memory");
}

#[test]
fn retention_drops_groups_and_changes_nothing() {
    let drops = |builder: KernelBuilder| {
        often(builder)
            .retention(Retention::DropBelowCheckpoint)
            .group_bytes(200)
    };
    let without = run(2, None, |builder| builder);
    for (workers, restarts) in [(1, None), (2, Some(5)), (4, Some(6))] {
        assert_eq!(
            run(workers, restarts, drops),
            without,
            "{workers} workers, {restarts:?}"
        );
    }
}

#[test]
fn retention_may_change_between_incarnations() {
    in_every_shape(|shape| {
        let scratch = Scratch::new();
        let mut vat = None;
        for round in 0..6u64 {
            let retention =
                [Retention::KeepAll, Retention::DropBelowCheckpoint][round as usize % 2];
            let host = shape.open_with(scratch.dir(), |builder| {
                builder.retention(retention).checkpoint_every(15, u64::MAX)
            });
            let vat = *vat.get_or_insert_with(|| host.actor());
            for number in 1..=40 {
                let expected = round * 40 + number;
                assert_eq!(host.said(vat, &[Step::Add(1)]), [Said::Number(expected)]);
            }
            host.close();
        }
    });
}

#[test]
fn checkpoints_are_written_by_themselves() {
    in_every_shape(|shape| {
        let scratch = Scratch::new();
        let host = shape.open_with(scratch.dir(), |b| b.checkpoint_every(50, u64::MAX));
        let vat = host.actor();
        let mut count = 0;
        while host.stats().checkpoints < 3 {
            count += 1;
            assert_eq!(host.said(vat, &[Step::Add(1)]), [Said::Number(count)]);
        }
        host.close();
        let host = shape.open(scratch.dir());
        assert!(host.recovered().checkpoint >= Seq::new(100));
        assert_eq!(host.look(vat).count, count);
        host.close();
    });
}

#[test]
fn everything_survives_in_the_tables_alone() {
    in_every_shape(|shape| {
        let scratch = Scratch::new();
        let settings = |builder: KernelBuilder| {
            let builder = builder.retention(Retention::DropBelowCheckpoint);
            builder.checkpoint_every(5, u64::MAX).group_bytes(1)
        };
        let host = shape.open_with(scratch.dir(), settings);
        let named = host
            .spawn_named("root", "actor", &vec![Step::Add(1)])
            .unwrap();
        let root = host.settled(&named).unwrap();
        let asked = host
            .request("asked")
            .send(root, "play", &vec![Step::Add(1)])
            .unwrap();
        let first = host.settled(&asked);
        host.play(
            root,
            &[
                Step::Set(b"row".to_vec(), b"value".to_vec()),
                Step::Spawn(Vec::new()),
            ],
        )
        .unwrap();
        let child = host.look(root).made[0];
        // Push all of that below many checkpoints.
        let busy = host.actor();
        for _ in 0..60 {
            host.play(busy, &[Step::Add(1)]).unwrap();
        }
        host.close();
        let host = shape.open_with(scratch.dir(), settings);
        assert_eq!(host.root("root").unwrap(), Some(root));
        let again = host
            .request("asked")
            .send(root, "play", &vec![Step::Add(1)])
            .unwrap();
        assert_eq!(host.settled(&again), first);
        assert_eq!(host.look(root).count, 2);
        assert_eq!(host.said(child, &[Step::Add(3)]), [Said::Number(3)]);
        let said = host.said(root, &[Step::Get(b"row".to_vec()), Step::Spawn(Vec::new())]);
        let [Said::Row(Some(value)), Said::Vat(second)] = &said[..] else {
            panic!("{said:?}")
        };
        assert_eq!((&value[..], second.vat().counter), (&b"value"[..], 2));
        host.close();
    });
}

/// Tables that are written only once a gate is open.
struct SlowTables(Arc<Gate>);

impl crankcase_journal::Faults for SlowTables {
    fn checkpoint_write(&self, _number: u64) -> std::io::Result<()> {
        self.0.pass();
        Ok(())
    }
}

#[test]
fn tables_that_are_slower_than_the_log_hold_it_up_and_no_longer() {
    in_every_shape(|shape| {
        let scratch = Scratch::new();
        let gate = Gate::closed();
        let slow = Arc::new(SlowTables(Arc::clone(&gate)));
        let host = shape.open_with(scratch.dir(), |builder| {
            builder.checkpoint_every(5, 1).group_bytes(1).faults(slow)
        });
        std::thread::scope(|scope| {
            let load = scope.spawn(|| {
                let vats = host.actors(3);
                for round in 1..=20 {
                    for &vat in &vats {
                        assert_eq!(host.said(vat, &[Step::Add(1)]), [Said::Number(round)]);
                    }
                }
            });
            // The first checkpoint is being written; the log may go on until twice as much has
            // gathered again, and goes on when the tables have caught up.
            gate.wait_for_arrivals(1);
            gate.open();
            load.join().expect("the load comes to its end");
        });
        host.close();
    });
}
