//! What becomes of a vat's promises, messages and references when it ends.

use std::sync::Arc;

use crankcase::{Cause, CommitOrder, Promise};
use crankcase_journal::PrivateCopy;
use crankcase_tests::host::settled;
use crankcase_tests::stage::player::{describe, described};
use crankcase_tests::watch::Watch;
use crankcase_tests::{
    Gate, Host, Said, Scratch, Shape, Stage, Step, in_each_order_with_one_and_four_workers,
};

const NONE: [&str; 0] = [];

/// The ways in which a vat ends, and what whoever sent the last message is told.
const ENDS: [(&str, &str); 4] = [
    ("exit", "'done"),
    ("fail", "no exit_failure"),
    ("exit; fail", "no exit_failure"),
    ("fail; exit", "no exit_failure"),
];

#[test]
fn termination_outbox_what_was_sent_before_is_delivered_and_the_last_crank_decides_for_itself() {
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open(shape);
        let [friend] = stage.players();
        for (end, told) in ENDS {
            let [victim] = stage.players();
            let with = [("friend", friend.into())];
            stage.go(victim, "send friend { say earlier }", &with);
            let last = format!("send friend {{ say last }}; {end}");
            assert_eq!(stage.play(victim, &last, &with), told, "{end}");
            let mut expected = vec!["earlier"];
            if told == "'done" {
                expected.push("last");
            }
            let log = stage.log(friend);
            assert_eq!(log[log.len() - expected.len()..], expected, "{end}");
        }
        assert_eq!(stage.log(friend).len(), 5);
        stage.check_known(0, 0);
        stage.end();
    });
}

#[test]
fn termination_outbox_in_one_input_with_the_end() {
    // The sends of the first crank are on their way when the second ends the vat.
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open(shape);
        let [victim, friend] = stage.players();
        stage.go(victim, "keep friend", &[("friend", friend.into())]);
        let sent = stage.send(
            victim,
            "send friend { say delivered; answer 'x } as r; watch r never",
            &[],
        );
        let fatal = stage.send(victim, "send friend { say lost }; fail", &[]);
        let behind = stage.send(victim, "send friend { say never }", &[]);
        stage.idle();
        assert_eq!(described(&settled(&sent)), "'done");
        assert_eq!(described(&settled(&fatal)), "no exit_failure");
        let why = settled(&behind).unwrap_err();
        // With many workers the message behind may come when the vat has ended already.
        assert!(
            matches!(why.cause(), Cause::VatEnded | Cause::NoSuchVat),
            "{why}"
        );
        assert_eq!(stage.log(friend), ["delivered"]);
        stage.check_known(0, 0);
        stage.end();
    });
}

#[test]
fn termination_inbox_the_message_behind_the_fatal_one_is_rejected_unexecuted() {
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open(shape);
        let [friend] = stage.players();
        for (end, told) in ENDS {
            let [victim] = stage.players();
            let with = [("victim", victim.into()), ("end", friend.into())];
            // One crank sends all three, so they stand behind each other in the inbox.
            let program = format!(
                "send victim {{ say first; keep end }} with [end] as p1; watch p1 one
                send victim {{ say last; {end} }} as p2; watch p2 two
                send victim {{ send end {{ say never }} }} with [end] as p3; watch p3 three
                send p3 {{ say never }} as p4; watch p4 four"
            );
            stage.go(friend, &program, &with);
            let log = stage.log(friend);
            let heard = [
                "one: 'done".to_owned(),
                format!("two: {told}"),
                "three: no vat_ended".to_owned(),
                "four: no vat_ended".to_owned(),
            ];
            assert_eq!(log[log.len() - 4..], heard, "{end}");
        }
        stage.check_known(0, 0);
        stage.end();
    });
}

#[test]
fn termination_inbox_with_news_and_drops_in_it() {
    // The inbox of the victim holds a message, the outcome of a watch, the news of a promise that
    // it keeps and the drop of one of its objects when the fatal message is handled.
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open(shape);
        let [victim, friend] = stage.players();
        let program = "
            object o; keep o; send friend { keep o } with [o]
            send friend { promise p; keep p; answer p } as p; keep p; watch p got as w
            send friend { keep w; watch w after } with [w]";
        stage.go(victim, program, &[("friend", friend.into())]);
        let gate = Gate::closed();
        let at_gate = Arc::clone(&gate);
        stage.yard().on("gate", move || at_gate.pass());
        let fatal = stage.send(victim, "gate gate; fail", &[]);
        let news = stage.send(friend, "fulfil p 'text; forget o", &[]);
        let message = stage.send(victim, "say never", &[]);
        gate.open();
        stage.idle();
        assert_eq!(described(&settled(&fatal)), "no exit_failure");
        assert_eq!(described(&settled(&news)), "'done");
        assert!(settled(&message).is_err());
        assert_eq!(stage.log(friend), ["after: no vat_ended"]);
        assert_eq!(describe(&stage.kept(friend, "w")), "no vat_ended");
        stage.check_known(0, 0);
        stage.end();
    });
}

#[test]
fn termination_decided_everything_that_a_dead_vat_was_to_decide_is_rejected() {
    in_each_order_with_one_and_four_workers(|shape| {
        for (end, _) in ENDS {
            let stage = Stage::open(shape);
            let [victim, friend, other] = stage.players();
            stage.go(other, "promise open; keep open", &[]);
            // Made by it; what its continuation will say; the result of a message that it answered
            // with one of its promises; and one that follows one of its promises.
            let program = "
                promise made; keep made
                watch open never as said; keep said
                send friend { keep made said } with [made said]";
            let with = [
                ("friend", friend.into()),
                ("open", stage.kept(other, "open")),
            ];
            stage.go(victim, program, &with);
            let program = "
                send victim { answer made } as answered; keep answered
                promise follows; fulfil follows made; keep follows
                watch made 1; watch said 2; watch answered 3; watch follows 4
                send made { say never } as late; watch late 5";
            stage.go(friend, program, &[("victim", victim.into())]);
            let by_host = stage.watch(&stage.kept(friend, "made")).unwrap();
            let ticket = stage.send(victim, "answer made", &[]);
            stage.idle();
            let _ = stage.play(victim, end, &[]);
            let mut log = stage.log(friend);
            log.sort();
            let heard = [1, 2, 3, 4, 5].map(|number| format!("{number}: no vat_ended"));
            assert_eq!(log, heard, "{end}");
            for name in ["made", "said", "answered", "follows"] {
                assert_eq!(
                    describe(&stage.kept(friend, name)),
                    "no vat_ended",
                    "{name}"
                );
            }
            assert_eq!(described(&settled(&by_host)), "no vat_ended");
            assert_eq!(described(&settled(&ticket)), "no vat_ended");
            stage.go(other, "fulfil open 'text; forget open", &[]);
            stage.check_known(0, 0);
            stage.end();
        }
    });
}

#[test]
fn termination_decided_promises_are_rejected_in_the_order_in_which_they_were_made() {
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open(shape);
        let [victim, friend] = stage.players();
        let program = "
            repeat 600 { promise p; keep p; send friend { watch p #; keep p } with [p] }";
        stage.go(victim, program, &[("friend", friend.into())]);
        // All but the last are known to the friend alone, by its watches.
        let _ = stage.play(victim, "exit", &[]);
        let heard: Vec<String> = (0..600)
            .map(|round| format!("{round}: no vat_ended"))
            .collect();
        assert_eq!(stage.log(friend), heard);
        stage.go(friend, "forget p", &[]);
        stage.check_known(0, 0);
        stage.end();
    });
}

#[test]
fn termination_exit_in_the_crank_that_decides() {
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open(shape);
        let [friend] = stage.players();
        for (end, heard) in [("exit", "got: 'decided"), ("fail", "got: no vat_ended")] {
            let [victim] = stage.players();
            stage.go(victim, "promise p; keep p", &[]);
            stage.go(friend, "watch p got", &[("p", stage.kept(victim, "p"))]);
            let _ = stage.play(victim, &format!("fulfil p 'decided; {end}"), &[]);
            assert_eq!(stage.log(friend).last().unwrap(), heard);
        }
        stage.check_known(0, 0);
        stage.end();
    });
}

#[test]
fn termination_exit_answers_with_a_reference_or_a_promise() {
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open(shape);
        let [victim, second, friend] = stage.players();
        let with = [("victim", victim.into()), ("second", second.into())];
        let program = "
            object mine
            send victim { answer o; exit } with [o=mine] as a; watch a got { send it { say home } }
            send second { promise p; keep p; answer p; exit } as b; watch b own";
        stage.go(friend, program, &with);
        let mut log = stage.log(friend);
        log.sort();
        // What it leaves undecided is rejected, also when it was the last thing that it said.
        assert_eq!(
            log,
            [
                "1:home".to_owned(),
                format!("got: {friend}/1"),
                "own: no vat_ended".to_owned()
            ]
        );
        assert_eq!(stage.dropped(friend), [1]);
        stage.check_known(0, 0);
        stage.end();
    });
}

#[test]
fn termination_exit_nothing_may_follow_it() {
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open(shape);
        let [alice, bob] = stage.players();
        let with = [("bob", bob.into()), ("p", Promise::from(bob))];
        let acts = [
            "send bob { say never }",
            "promise q",
            "watch p got",
            "object o",
            "spawn v",
            "store row bob",
            "load row q",
            "erase row",
        ];
        for act in acts {
            for end in ["exit", "fail"] {
                let why = stage
                    .outcome(alice, &format!("{end}; {act}"), &with)
                    .unwrap_err();
                assert_eq!(
                    (why.cause(), why.code()),
                    (Cause::Illegal, "after_exit"),
                    "{end}; {act}"
                );
            }
        }
        stage.go(alice, "say lives", &[]);
        assert_eq!(stage.log(bob), NONE);
        stage.end();
    });
}

#[test]
fn termination_watch_of_a_dead_vat_is_told_to_nobody() {
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open(shape);
        let [victim, friend] = stage.players();
        stage.go(friend, "promise p; keep p", &[]);
        let program =
            "watch p never; keep p; store row p; send p { say queued; answer 'x } as r; keep r";
        stage.go(victim, program, &[("p", stage.kept(friend, "p"))]);
        let _ = stage.play(victim, "exit", &[]);
        let stage = stage.reopen();
        stage.go(friend, "fulfil p me; forget p", &[]);
        // What it sent is delivered all the same.
        assert_eq!(stage.log(friend), ["queued"]);
        stage.check_known(0, 0);
        stage.end();
    });
}

#[test]
fn termination_late_sends_are_rejected_and_change_nothing() {
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open(shape);
        let [victim, friend, third] = stage.players();
        let with = [("friend", friend.into())];
        stage.go(
            victim,
            "object o; send friend { keep o victim } with [o victim=me]",
            &with,
        );
        let _ = stage.play(victim, "exit", &[]);
        let program = "
            send victim { say never } as p; watch p root
            send o { say never } as p; watch p object
            send third { send victim { say never } with [o] as p; watch p third } with [victim o]";
        for _ in 0..2 {
            stage.go(friend, program, &[("third", third.into())]);
        }
        let heard = ["object: no no_such_vat", "root: no no_such_vat"];
        let mut log = stage.log(friend);
        log.sort();
        log.dedup();
        assert_eq!(log, heard);
        assert_eq!(stage.log(third), ["third: no no_such_vat"; 2]);
        let why = stage.outcome(victim, "say never", &[]).unwrap_err();
        assert_eq!(why.cause(), Cause::NoSuchVat);
        stage.go(friend, "forget o victim; say lives", &[]);
        stage.check_known(0, 0);
        stage.end();
    });
}

#[test]
fn termination_references_what_the_dead_held_is_dropped() {
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open(shape);
        let [victim, owner] = stage.players();
        let program = "
            object a; object b; object c; object d; promise p; keep p
            send victim { keep a; store row b; object mine; facet mine c; watch p got with [d] } with [a b c d p]";
        for (end, _) in &ENDS[..1] {
            stage.go(owner, program, &[("victim", victim.into())]);
            assert_eq!(stage.dropped(owner), <[u64; 0]>::default());
            stage.check_known(1, 4);
            let _ = stage.play(victim, end, &[]);
            let mut dropped = stage.dropped(owner);
            dropped.sort_unstable();
            // What the context of its watch holds stays until there is nothing to wait for.
            assert_eq!(dropped, [1, 2, 3]);
            stage.go(owner, "fulfil p 'text; forget p", &[]);
            let mut dropped = stage.dropped(owner);
            dropped.sort_unstable();
            assert_eq!(dropped, [1, 2, 3, 4]);
        }
        stage.check_known(0, 0);
        stage.end();
    });
}

#[test]
fn termination_references_of_the_dead_that_wait_elsewhere() {
    // An object of the dead is known to a message only, which waits in a promise of a third vat.
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open(shape);
        for end in ["fulfil door me", "reject door shut", "fulfil door 'text"] {
            let [victim, keeper] = stage.players();
            stage.go(keeper, "promise door; keep door", &[]);
            let program =
                "object o; send door { say came; send o { say never } as r; watch r got } with [o]";
            stage.go(victim, program, &[("door", stage.kept(keeper, "door"))]);
            let _ = stage.play(victim, "exit", &[]);
            stage.go(keeper, &format!("{end}; forget door"), &[]);
            let came = if end.contains("me") {
                vec!["came", "got: no no_such_vat"]
            } else {
                vec![]
            };
            assert_eq!(stage.log(keeper), came, "{end}");
            stage.check_known(0, 0);
        }
        stage.end();
    });
}

#[test]
fn termination_clean_up_of_thousands_of_rows() {
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open(shape);
        let [victim, owner, friend] = stage.players();
        let program = "
            object o; keep victim
            send victim { repeat 1000 { store r# o }; object p; send friend { keep p } with [p] } with [o friend]";
        stage.go(
            owner,
            program,
            &[("victim", victim.into()), ("friend", friend.into())],
        );
        stage.check_known(0, 2);
        let _ = stage.play(victim, "exit", &[]);
        assert_eq!(stage.dropped(owner), [1]);
        // Nobody else is held up, and what it gave away leads nowhere.
        stage.go(
            friend,
            "say lives; send p { say never } as r; watch r got",
            &[],
        );
        assert_eq!(stage.log(friend), ["lives", "got: no no_such_vat"]);
        stage.check_known(0, 0);
        stage.end();
    });
}

/// How many rows of stores stand in the tables.
fn rows_of_stores(scratch: &Scratch) -> usize {
    const STORES: u8 = 3;
    let copy = PrivateCopy::of(&scratch.dir()).unwrap();
    let tables = copy.tables().snapshot().unwrap();
    tables.prefix(STORES, &[]).count()
}

/// Waits until that many rows were swept since the kernel opened, and not one more.
fn wait_until_swept(host: &Host, rows: u64) {
    while host.stats().swept_rows < rows {
        std::thread::yield_now();
    }
    assert_eq!(host.stats().swept_rows, rows);
}

#[test]
fn termination_rows_that_hold_nothing_are_swept_even_from_an_idle_kernel() {
    // More than go in two steps.
    const MANY: u64 = 10_000;
    const FEW: u64 = 10;
    let _watch = Watch::new("sweeping".to_owned());
    let scratch = Scratch::new();
    let shape = Shape {
        order: CommitOrder::Completion,
        workers: 2,
    };
    let host = shape.open(scratch.dir());
    // Those that end lie between those that live, in the order of their keys too.
    let vats: [_; 7] = std::array::from_fn(|_| host.actor());
    let row = |row: u64| Step::Set(row.to_be_bytes().to_vec(), b"row".to_vec());
    for (vat, rows) in vats.iter().zip([FEW, FEW, FEW, MANY, FEW, FEW, FEW]) {
        let _ = host.said(*vat, &(0..rows).map(row).collect::<Vec<_>>());
    }
    host.close();
    // Now the tables have them. While a kernel closes, nothing is swept.
    let host = shape.open(scratch.dir());
    for vat in [vats[3], vats[5]] {
        let _ = host.said(vat, &[Step::Exit]);
    }
    host.close();
    assert_eq!(rows_of_stores(&scratch) as u64, MANY + 6 * FEW);
    let host = shape.open(scratch.dir());
    wait_until_swept(&host, MANY + FEW);
    host.close();
    assert_eq!(rows_of_stores(&scratch) as u64, 5 * FEW);
    // And after a checkpoint, in front of what was swept last.
    let host = shape.open_with(scratch.dir(), |builder| builder.checkpoint_every(1, 1));
    let _ = host.said(vats[1], &[Step::Exit]);
    wait_until_swept(&host, FEW);
    host.close();
    assert_eq!(rows_of_stores(&scratch) as u64, 4 * FEW);
    let host = shape.open(scratch.dir());
    for vat in [vats[0], vats[2], vats[4], vats[6]] {
        let said = host.said(vat, &[Step::Get((FEW - 1).to_be_bytes().to_vec())]);
        assert_eq!(said, [Said::Row(Some(b"row".to_vec()))]);
    }
    host.close();
}

#[test]
fn termination_illegal_call_ends_no_vat() {
    // The offending crank is lost, and nothing before or behind it.
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open(shape);
        let [victim, friend] = stage.players();
        stage.go(victim, "memorize friend", &[("friend", friend.into())]);
        let with = [("victim", victim.into())];
        let program = "
            send victim { say before; promise p; keep p; answer p } as a; watch a a
            send victim { say lost; fulfil p 'lost; recall friend; send friend { say never } } as b; watch b b
            send victim { say behind; answer 'c } as c; watch c c
            keep a";
        stage.go(friend, program, &with);
        assert_eq!(stage.log(victim), ["before", "behind"]);
        assert_eq!(stage.log(friend), ["b: no reference", "c: 'c"]);
        stage.go(victim, "fulfil p 'late; forget p", &[]);
        assert_eq!(stage.log(friend)[2], "a: 'late");
        stage.check_known(0, 0);
        stage.end();
    });
}

#[test]
fn termination_start_that_is_refused() {
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open(shape);
        let [alice, bob] = stage.players();
        for start in ["refuse nope", "panic", "fail", "recall nothing"] {
            let program = format!(
                "object o
                spawn v {{ keep o; send bob {{ say never }}; {start} }} with [o bob]
                send v {{ say never }} with [o] as r; watch r got; send r {{ say never }} as s; watch s got"
            );
            stage.go(alice, &program, &[("bob", bob.into())]);
        }
        assert_eq!(stage.log(alice), ["got: no not_started"; 8]);
        assert_eq!(stage.log(bob), NONE);
        assert_eq!(stage.dropped(alice), [1, 2, 3, 4]);
        stage.check_known(0, 0);
        stage.end();
    });
}

#[test]
fn termination_object_is_dropped_while_its_vat_dies() {
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open(shape);
        for (first, second) in [
            ("fail", "forget o"),
            ("exit", "forget o"),
            ("exit", "send o { say never }; forget o"),
        ] {
            let [owner, holder] = stage.players();
            let program =
                "object o; keep o; send holder { keep o } with [o]; repeat 300 { store r# holder }";
            stage.go(owner, program, &[("holder", holder.into())]);
            let gate = Gate::closed();
            let at_gate = Arc::clone(&gate);
            stage.yard().on("gate", move || at_gate.pass());
            let fatal = stage.send(owner, &format!("gate gate; {first}"), &[]);
            let drop = stage.send(holder, second, &[]);
            gate.open();
            stage.idle();
            let _ = (settled(&fatal), settled(&drop));
            stage.go(holder, "say lives", &[]);
            stage.check_known(0, 0);
        }
        stage.end();
    });
}

#[test]
fn termination_by_the_last_message_of_the_last_holder() {
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open(shape);
        let [owner, holder] = stage.players();
        let program = "object o; keep o; send holder { keep o } with [o]";
        stage.go(owner, program, &[("holder", holder.into())]);
        stage.go(
            holder,
            "send o { exit; answer this } as r; watch r got; forget o",
            &[],
        );
        assert_eq!(stage.log(holder), [format!("got: {owner}/1")]);
        stage.check_known(0, 0);
        stage.end();
    });
}
