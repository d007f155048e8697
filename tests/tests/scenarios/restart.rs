//! Restarts in the middle of everything: what waits goes on as if nothing had been.

use std::collections::BTreeMap;

use crankcase::{ActivityHash, CommitOrder, KernelBuilder, Ref, Seq};
use crankcase_tests::host::settled;
use crankcase_tests::stage::play;
use crankcase_tests::stage::player::{PLAY, described};
use crankcase_tests::watch::Watch;
use crankcase_tests::{Player, Shape, Stage, in_each_order_with_one_and_four_workers};

/// Where it all ends: the order, and who remembers what.
type Standing = (Seq, ActivityHash, BTreeMap<Ref, Player>);

/// A play in dispatch order that has something in every queue: inboxes, promises with messages and
/// watches and host tickets in them, news of promises that came to their end, drops, and the
/// clean-up of a vat with thousands of rows. It is run in pieces, between which it may be restarted.
fn perform(
    workers: usize,
    budget: u64,
    restarts: Option<fn(KernelBuilder) -> KernelBuilder>,
) -> Standing {
    let _watch = Watch::new(format!("{workers} workers"));
    let order = CommitOrder::Dispatch;
    let mut stage = Stage::open(Shape { order, workers });
    let [alice, bob, victim] = stage.players();
    let with = [
        ("alice", alice.into()),
        ("bob", bob.into()),
        ("victim", victim.into()),
    ];
    stage.go(bob, "promise p door; keep p door alice", &with);
    let (p, door) = (stage.kept(bob, "p"), stage.kept(bob, "door"));
    let given = [
        ("alice", alice.into()),
        ("p", p.clone()),
        ("door", door),
        ("bob", bob.into()),
        ("victim", victim.into()),
    ];
    stage.go(
        victim,
        "keep p; repeat 1500 { store r# bob }; object mine; keep mine",
        &given,
    );
    stage.go(
        alice,
        "object o; keep o; send victim { repeat 600 { store o# o } } with [o]",
        &[("victim", victim.into())],
    );
    stage.go(alice, "keep p; repeat 300 { store r# p }", &given);
    stage.go(victim, "promise made; keep made; send alice { keep made; watch made lost } with [made]; watch p unheard", &[("alice", alice.into())]);
    let inputs = [
        (
            alice,
            "repeat 5 { send p { say queued-# } as r; watch r answered }; watch p got",
        ),
        (
            alice,
            "object q; send door { say through; keep q } with [q]; send door { object z; answer z } as z; watch z z",
        ),
        (
            victim,
            "send bob { say from-the-victim; answer 'x } as r; watch r unheard; send alice { keep mine } with [mine alice]",
        ),
        (alice, "send victim { say in-time } as r; watch r in-time"),
        (
            bob,
            "send alice { known p; watch p late } with [p]; fulfil p me; forget p",
        ),
        (victim, "say last; exit"),
        (
            alice,
            "send victim { say never } as r; watch r too-late; send made { say never } as s; watch s s",
        ),
        (
            bob,
            "object d; send alice { keep d } with [d]; send alice { forget d }; say fulfils; fulfil door me",
        ),
        (bob, "forget door q"),
        (alice, "forget made mine o p; repeat 300 { erase r# }"),
    ];
    for (number, (to, program)) in inputs.iter().enumerate() {
        let request = stage.request(format!("input {number}"));
        let _ = request.send(*to, PLAY, &play(program, &given)).unwrap();
    }
    let watched = stage.watch(&p).unwrap();
    // The first run takes the inputs; from then on they are in the journal.
    stage.run(0).unwrap();
    while stage.stats().waiting > 0 {
        stage.run(budget).unwrap();
        if let Some(settings) = restarts {
            stage = stage.reopen_with(settings);
        }
    }
    drop(watched);
    stage.idle();
    stage.go(bob, "forget q", &[]);
    // Who asks again is told what came of it the first time.
    for (number, (to, program)) in inputs.iter().enumerate() {
        let request = stage.request(format!("input {number}"));
        let again = request.send(*to, PLAY, &play(program, &given)).unwrap();
        assert_eq!(described(&settled(&again)), "'done", "{program}");
    }
    stage.check_known(0, 0);
    let stats = stage.stats();
    let standing = (stats.durable, stats.activity_hash, stage.all());
    stage.close();
    standing
}

#[test]
fn restart_queues_everything_that_waits_goes_on_as_without() {
    let without = perform(1, u64::MAX, None);
    let log = |number: u64| {
        let found = without
            .2
            .iter()
            .find(|(player, _)| player.vat().counter == number);
        found.unwrap().1.log.clone()
    };
    assert!(
        log(1).contains(&"lost: no vat_ended".to_owned()),
        "{:?}",
        log(1)
    );
    assert!(log(2).contains(&"queued-4".to_owned()), "{:?}", log(2));
    assert!(
        !without.2.keys().any(|player| player.vat().counter == 3),
        "it has ended"
    );
    let plain = |builder: KernelBuilder| builder;
    let often = |builder: KernelBuilder| builder.checkpoint_every(2, 1);
    let tight = |builder: KernelBuilder| builder.checkpoint_every(5, 1).vats_in_memory(0);
    for (workers, budget, settings) in [
        (4, 1, plain as fn(_) -> _),
        (1, 3, plain),
        (1, 1, often),
        (4, 2, often),
        (4, 5, tight),
    ] {
        let here = format!("{workers} workers, {budget} at a time");
        let plain = perform(1, budget, None);
        let restarted = perform(workers, budget, Some(settings));
        assert_eq!(plain.2, without.2, "{here}");
        assert_eq!(restarted.2, without.2, "{here}");
        assert_eq!((restarted.0, restarted.1), (plain.0, plain.1), "{here}");
    }
}

#[test]
fn restart_queues_in_the_middle_of_a_crowd() {
    // In completion order a restart comes wherever it comes, and what waits is as in the journal.
    for workers in [1, 4] {
        let order = CommitOrder::Completion;
        let mut stage = Stage::open(Shape { order, workers });
        let [alice, bob] = stage.players();
        stage.go(alice, "keep bob", &[("bob", bob.into())]);
        for round in 0..6 {
            let program = "
                repeat 20 { object o; send bob { object z; answer z } as p# with [o]
                send p# { say #; answer 'x } as r#; keep r#; watch r# got; store row# p# }";
            let _ = stage.send(alice, program, &[]);
            // The answer is given when all that was handed in before has its place.
            assert_eq!(stage.root("nobody").unwrap(), None);
            stage = stage.reopen_with(|builder| builder.checkpoint_every(30, 1));
            stage.idle();
            assert_eq!(stage.log(bob).len(), 20 * (round + 1));
            assert_eq!(stage.log(alice).len(), 20 * (round + 1));
            stage.go(alice, "repeat 20 { forget r#; erase row# }", &[]);
        }
        let dropped = stage.dropped(bob);
        assert_eq!(dropped.len(), 120, "each is dropped once: {dropped:?}");
        stage.check_known(0, 0);
        stage.end();
    }
}

#[test]
fn restart_tickets_answers_that_are_promises_are_asked_for_again() {
    in_each_order_with_one_and_four_workers(|shape| {
        let mut stage = Stage::open(shape);
        let [alice] = stage.players();
        let mut tickets = Vec::new();
        for request in ["first", "second"] {
            let program = format!(
                "promise p; keep p; send me {{ keep {request} }} with [{request}=p]; answer p"
            );
            let ask = stage.request(request);
            tickets.push(ask.send(alice, PLAY, &play(&program, &[])).unwrap());
            stage.idle();
        }
        drop(tickets);
        stage = stage.reopen();
        // Asked again before the answer is there, and after, and after another restart.
        let ask = |stage: &Stage, request: &str| {
            let program = format!(
                "promise p; keep p; send me {{ keep {request} }} with [{request}=p]; answer p"
            );
            let ask = stage.request(request);
            ask.send(alice, PLAY, &play(&program, &[])).unwrap()
        };
        let early = ask(&stage, "first");
        stage.go(
            alice,
            "fulfil first 'answer; reject second nope; forget p first second",
            &[],
        );
        assert_eq!(described(&settled(&early)), "'answer");
        for _ in 0..2 {
            assert_eq!(described(&settled(&ask(&stage, "first"))), "'answer");
            assert_eq!(described(&settled(&ask(&stage, "second"))), "no nope");
            stage = stage.reopen();
        }
        stage.check_known(0, 0);
        stage.end();
    });
}

#[test]
fn restart_tickets_of_a_vat_that_died_meanwhile() {
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open(shape);
        let [alice] = stage.players();
        let program = "promise p; keep p; answer p";
        let ticket = stage
            .request("it")
            .send(alice, PLAY, &play(program, &[]))
            .unwrap();
        stage.idle();
        drop(ticket);
        let stage = stage.reopen();
        let _ = stage.play(alice, "exit", &[]);
        let stage = stage.reopen();
        let again = stage
            .request("it")
            .send(alice, PLAY, &play(program, &[]))
            .unwrap();
        assert_eq!(described(&settled(&again)), "no vat_ended");
        stage.check_known(0, 0);
        stage.end();
    });
}

#[test]
fn restart_objects_and_numbers_go_on_where_they_were() {
    in_each_order_with_one_and_four_workers(|shape| {
        let mut stage = Stage::open_with(shape, |builder| builder.checkpoint_every(1, 1));
        let [alice, bob] = stage.players();
        for round in 1..=4u64 {
            let program = "object o; promise p; spawn v; keep o p v; send bob { keep o } with [o]";
            stage.go(alice, program, &[("bob", bob.into())]);
            let kept = |name| stage.kept(alice, name);
            assert_eq!(kept("o").object().unwrap().object().number, round);
            assert_eq!(kept("v").object().unwrap().vat().counter, round);
            // The promise before is decided by a vat that was brought back, and is its own still.
            stage.go(alice, "fulfil p 'text; watch p got", &[]);
            stage = stage.reopen_with(|builder| builder.checkpoint_every(1, 1).vats_in_memory(0));
        }
        assert_eq!(stage.log(alice), ["got: 'text"; 4]);
        assert_eq!(stage.dropped(alice), [1, 2, 3]);
        stage.go(bob, "send o { say hello }; forget o", &[]);
        assert_eq!(stage.dropped(alice), [1, 2, 3, 4]);
        stage.end();
    });
}
