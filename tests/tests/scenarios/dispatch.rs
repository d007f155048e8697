//! In dispatch order the journal is a function of the host's calls.

use crankcase::{ActivityHash, Clock, CommitOrder, KernelBuilder, Seq, VatId, VatNumber};
use crankcase_tests::luck::Luck;
use crankcase_tests::watch::Watch;
use crankcase_tests::{Actor, Host, Scratch, Shape, Step, workload};

const BLOCKS: u64 = 6;

fn with(workers: usize) -> Shape {
    Shape {
        order: CommitOrder::Dispatch,
        workers,
    }
}

fn manual(builder: KernelBuilder) -> KernelBuilder {
    builder.clock(Clock::Manual)
}

type Standing = (Seq, ActivityHash, Vec<Actor>);

fn standing(host: &Host) -> Standing {
    let (seq, hash) = workload::standing(host);
    (seq, hash, workload::states(host))
}

/// Runs all blocks, with a budget for each before the run that empties it, and with a restart
/// where chance has it.
fn run(
    shape: Shape,
    budget: Option<u64>,
    restarts: Option<u64>,
    settings: impl Fn(KernelBuilder) -> KernelBuilder,
) -> Standing {
    let scratch = Scratch::new();
    let _watch = Watch::new(format!(
        "{shape:?}, budget {budget:?}, restarts {restarts:?}"
    ));
    let open = || shape.open_with(scratch.dir(), |builder| settings(manual(builder)));
    let mut luck = restarts.map(Luck::new);
    let mut maybe_reopen = |host: Host| {
        let Some(luck) = luck.as_mut() else {
            return host;
        };
        match luck.below(4) {
            0 => host.close(),
            // Dropping closes, too.
            1 => drop(host),
            _ => return host,
        }
        open()
    };
    let mut host = open();
    for block in 0..=BLOCKS {
        host.set_time(block).unwrap();
        let ticket = workload::submit(&host, block).unwrap();
        if let Some(budget) = budget {
            host.run(budget).unwrap();
            host = maybe_reopen(host);
            host.run(budget).unwrap();
            host = maybe_reopen(host);
        }
        host.run_until_idle().unwrap();
        // A ticket outlives the kernel that gave it, and one of a kernel that closed may have
        // failed: asking again under the request id tells.
        drop(ticket);
        let again = workload::submit(&host, block).unwrap();
        assert_eq!(again.wait().unwrap().len() as u64, workload::ACTORS);
        host = maybe_reopen(host);
    }
    let standing = standing(&host);
    host.close();
    let host = open();
    assert_eq!(self::standing(&host), standing, "reopening changes nothing");
    host.close();
    standing
}

#[test]
fn journals_are_the_same_with_any_number_of_workers() {
    let one = run(with(1), None, None, |builder| builder);
    for workers in [2, 8] {
        assert_eq!(
            run(with(workers), None, None, |builder| builder),
            one,
            "{workers} workers"
        );
    }
}

#[test]
fn journals_are_the_same_with_and_without_restarts() {
    let one = run(with(1), None, None, |builder| builder);
    for (workers, seed) in [(1, 1), (2, 2), (8, 3), (2, 4)] {
        let other = run(with(workers), None, Some(seed), |builder| builder);
        assert_eq!(other, one, "{workers} workers, restarts {seed}");
    }
}

#[test]
fn journals_are_the_same_with_budgets_and_restarts_within_a_block() {
    for budget in [1, 7, 40] {
        let one = run(with(1), Some(budget), None, |builder| builder);
        for (workers, restarts) in [
            (2, None),
            (8, None),
            (1, Some(5)),
            (2, Some(6)),
            (8, Some(7)),
        ] {
            let other = run(with(workers), Some(budget), restarts, |builder| builder);
            assert_eq!(
                other, one,
                "budget {budget}, {workers} workers, restarts {restarts:?}"
            );
        }
    }
}

#[test]
fn journals_are_the_same_with_any_settings() {
    let one = run(with(1), Some(9), None, |builder| builder);
    for workers in [1, 2, 8] {
        let tight = |builder: KernelBuilder| {
            let builder = builder.reorder_records(1).group_bytes(1).undurable_bytes(1);
            builder.checkpoint_every(10, u64::MAX).vats_in_memory(1)
        };
        assert_eq!(
            run(with(workers), Some(9), Some(8), tight),
            one,
            "tight, {workers} workers"
        );
        let few = |builder: KernelBuilder| builder.reorder_records(3).check_canonical(true);
        assert_eq!(
            run(with(workers), Some(9), None, few),
            one,
            "few, {workers} workers"
        );
        let durability = crankcase::Durability::Buffered;
        let buffered = |builder: KernelBuilder| builder.durability(durability);
        assert_eq!(run(with(workers), Some(9), None, buffered), one, "buffered");
    }
}

#[test]
fn budgets_are_kept_to_the_crank() {
    for workers in [1, 2, 4] {
        let _watch = Watch::new("budgets".to_owned());
        let scratch = Scratch::new();
        let host = with(workers).open(scratch.dir());
        let vats = host.actors(4);
        for round in 0..20 {
            for (at, &vat) in vats.iter().enumerate() {
                // One crank leads to another, at the vat that is next.
                let on = Step::Send(vats[(at + round) % 4], vec![Step::Add(1)]);
                let _ = host.tell(vat, &[Step::Add(1), on]).unwrap();
            }
        }
        let begun = host.stats().cranks;
        let mut expected = begun;
        for budget in [0, 1, 2, 3, 64, 65, 0, 10, 1] {
            host.run(budget).unwrap();
            expected += budget;
            let stats = host.stats();
            assert_eq!(
                stats.cranks, expected,
                "after a run of {budget}, {workers} workers"
            );
            assert_eq!(stats.sequenced, stats.released);
        }
        host.idle();
        let stats = host.stats();
        assert_eq!((stats.waiting, stats.cranks), (0, begun + 160));
        host.close();
    }
}

#[test]
fn nothing_runs_between_runs() {
    let scratch = Scratch::new();
    let host = with(2).open(scratch.dir());
    let vat = host.actor();
    let before = host.stats().sequenced;
    let ticket = host.tell(vat, &[Step::Add(1)]).unwrap();
    assert_eq!(host.look(vat).count, 0);
    assert_eq!(host.stats().sequenced, before);
    host.run(0).unwrap();
    assert_eq!(
        host.look(vat).count,
        0,
        "the input is in, and its crank is not"
    );
    host.idle();
    assert_eq!(ticket.wait().unwrap().map(|_| ()), Ok(()));
    let after = host.stats().sequenced;
    host.idle();
    host.run(100).unwrap();
    assert_eq!(
        host.stats().sequenced,
        after,
        "a run with nothing to do leaves no record"
    );
    host.close();
}

#[test]
fn cranks_stand_in_the_order_of_one_queue() {
    for workers in [1, 2, 4] {
        let scratch = Scratch::new();
        let host = with(workers).open(scratch.dir());
        let ids = host.actors(5);
        let (&sink, senders) = ids.split_last().unwrap();
        // Round for round, whichever of them is slow.
        host.yard.on("slow", || {
            (0..20_000u64).for_each(|n| {
                std::hint::black_box(n);
            });
        });
        for round in 0..30 {
            for (at, &sender) in senders.iter().enumerate() {
                let name = if (round + at) % 3 == 0 {
                    "slow"
                } else {
                    "quick"
                };
                let told = [Step::Call(name.to_owned()), Step::Tell(sink, 1)];
                let _ = host.tell(sender, &told).unwrap();
            }
        }
        host.idle();
        let expected: Vec<(VatId, u64)> = (0..30)
            .flat_map(|round| senders.iter().map(move |sender| (sender.vat(), round)))
            .collect();
        assert_eq!(host.look(sink).heard, expected);
        host.close();
    }
}

#[test]
fn several_threads_may_run_at_once() {
    let scratch = Scratch::new();
    let _watch = Watch::new("runs".to_owned());
    let host = with(2).open(scratch.dir());
    let vat = host.actor();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..10 {
                    let ticket = host.tell(vat, &[Step::Add(1)]).unwrap();
                    host.run_until_idle().unwrap();
                    ticket.wait().unwrap().unwrap();
                }
            });
        }
    });
    assert_eq!(host.look(vat).count, 40);
    host.close();
}

#[test]
fn vat_ids_of_the_host_do_not_depend_on_restarts() {
    let scratch = Scratch::new();
    for counter in 1..=6 {
        let host = with(2).open(scratch.dir());
        assert_eq!(host.actor().vat(), VatId::new(VatNumber::HOST, counter));
        host.close();
    }
}
