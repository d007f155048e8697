//! Who holds what: when a vat is told that nobody holds an object of it any more, and when not.

use std::sync::Arc;

use crankcase::{Cause, CommitOrder, ObjectId, Promise, Ref};
use crankcase_tests::host::settled;
use crankcase_tests::stage::player::described;
use crankcase_tests::{Gate, Shape, Stage, in_each_order_with_one_and_four_workers};

const NONE: [u64; 0] = [];

#[test]
fn gc_drop_by_every_way_of_letting_go() {
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open(shape);
        let ways = [
            ("", ""),
            ("keep o", "forget o"),
            ("store row o", "erase row"),
            ("store row o", "store row me"),
            ("facet f o; memorize f", "recall f; remove f"),
            ("keep o; keep o; store row o", "forget o; erase row"),
            ("promise p; fulfil p o; keep p", "forget p"),
            ("promise p; fulfil p [o]; keep p", "forget p"),
            (
                "promise p; watch p got with [o]; keep p",
                "fulfil p 'text; forget p",
            ),
            (
                "promise p; send p { say never } with [o]; keep p",
                "reject p nope; forget p",
            ),
            (
                "promise p; send p { say never } with [o]; keep p",
                "fulfil p 'text; forget p",
            ),
            (
                "promise p; send p { known o } with [o]; keep p",
                "fulfil p me; forget p",
            ),
        ];
        for (taking, letting_go) in ways {
            let [owner, holder] = stage.players();
            let program = format!("object o; send holder {{ {taking} }} with [o]");
            stage.go(owner, &program, &[("holder", holder.into())]);
            if !taking.is_empty() {
                assert_eq!(stage.dropped(owner), NONE, "{taking}");
            }
            stage.go(holder, letting_go, &[]);
            assert_eq!(stage.dropped(owner), [1], "{taking} / {letting_go}");
            stage.check_known(0, 0);
        }
        stage.end();
    });
}

#[test]
fn gc_drop_after_the_last_of_many_holders() {
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open(shape);
        let [owner, first, second, third] = stage.players();
        stage.go(owner, "object o; keep o", &[]);
        let o = [("o", stage.kept(owner, "o")), ("owner", owner.into())];
        for holder in [first, second, third] {
            stage.go(holder, "keep o; store row o", &o);
        }
        for holder in [first, second, third] {
            stage.go(holder, "forget o", &[]);
        }
        for holder in [third, first] {
            stage.go(holder, "erase row", &[]);
            assert_eq!(stage.dropped(owner), NONE);
        }
        // Whom it was taken from may be given it again.
        stage.go(
            second,
            "load row o; send first { keep o } with [o]; erase row",
            &[("first", first.into())],
        );
        assert_eq!(stage.dropped(owner), NONE);
        stage.go(first, "send o { say still }; forget o", &[]);
        assert_eq!(stage.log(owner), ["1:still"]);
        assert_eq!(stage.dropped(owner), [1]);
        stage.check_known(0, 0);
        stage.end();
    });
}

#[test]
fn gc_drop_not_for_a_message_to_oneself_that_is_still_to_come() {
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open(shape);
        let [alice] = stage.players();
        let program = "object o; send me { say got; send me { say again } with [o] } with [o]";
        stage.go(alice, program, &[]);
        let log = crankcase_tests::Stage::player_at(&stage, alice).log;
        assert_eq!(log, ["got", "again", "dropped 1"]);
        stage.check_known(0, 0);
        stage.end();
    });
}

#[test]
fn gc_queue_a_promise_that_holds_the_only_reference() {
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open(shape);
        let [owner, holder] = stage.players();
        stage.go(holder, "promise p; keep p", &[]);
        let program = "object o; send p { say ran; send o { say reached } } with [o]";
        stage.go(owner, program, &[("p", stage.kept(holder, "p"))]);
        stage.check_known(1, 1);
        let stage = stage.reopen();
        assert_eq!(stage.dropped(owner), NONE);
        stage.go(holder, "fulfil p me; forget p", &[]);
        assert_eq!(stage.log(holder), ["ran"]);
        // The message to it was on its way when the last reference went; it came first.
        assert_eq!(stage.player_at(owner).log.len(), 2);
        assert_eq!(stage.dropped(owner), [1]);
        stage.check_known(0, 0);
        stage.end();
    });
}

#[test]
fn gc_queue_over_two_promises() {
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open(shape);
        let [owner, holder] = stage.players();
        stage.go(holder, "promise p q; keep p q", &[]);
        let with = [
            ("p", stage.kept(holder, "p")),
            ("q", stage.kept(holder, "q")),
        ];
        stage.go(
            owner,
            "object o; send p { send q { say ran } with [o] } with [o q]",
            &with,
        );
        stage.go(holder, "fulfil p me; forget p", &[]);
        assert_eq!(stage.dropped(owner), NONE);
        stage.go(holder, "fulfil q me; forget q", &[]);
        assert_eq!(stage.log(holder), ["ran"]);
        assert_eq!(stage.dropped(owner), [1]);
        stage.check_known(0, 0);
        stage.end();
    });
}

#[test]
fn gc_own_object_that_the_vat_keeps_stays() {
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open(shape);
        let [owner, holder] = stage.players();
        let with = [("holder", holder.into())];
        stage.go(
            owner,
            "object o; keep o; send holder { keep o } with [o]",
            &with,
        );
        stage.go(holder, "forget o", &[]);
        assert_eq!(stage.dropped(owner), [1]);
        // It was told, and has it still: given away again it is dropped again.
        stage.go(
            owner,
            "send holder { send o { say stays } } with [o]",
            &with,
        );
        assert_eq!(stage.log(owner), ["1:stays"]);
        assert_eq!(stage.dropped(owner), [1, 1]);
        stage.check_known(0, 0);
        stage.end();
    });
}

#[test]
fn gc_removed_object_rejects_what_comes_later() {
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open(shape);
        let [owner, holder] = stage.players();
        let with = [("holder", holder.into())];
        let program = "object o; keep o; send holder { keep o; send o { say one } as r; watch r one } with [o]";
        stage.go(owner, program, &with);
        stage.go(owner, "remove o; forget o", &[]);
        stage.go(
            holder,
            "send o { say two } as r; watch r two; send r { say three } as s; watch s three",
            &[],
        );
        let heard = [
            "one: 'done",
            "two: no no_such_object",
            "three: no no_such_object",
        ];
        assert_eq!(stage.log(holder), heard);
        stage.check_known(0, 1);
        stage.go(holder, "forget o", &[]);
        stage.check_known(0, 0);
        stage.end();
    });
}

#[test]
fn gc_forwarded_result_is_held_by_nobody_in_between() {
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open(shape);
        let [alice, middle, owner] = stage.players();
        let program = "send middle { send owner { object o; answer o } as r; answer r } with [owner] as p; keep p";
        stage.go(
            alice,
            program,
            &[("middle", middle.into()), ("owner", owner.into())],
        );
        stage.check_known(0, 1);
        stage.go(alice, "send p { say here }; forget p", &[]);
        assert_eq!(stage.log(owner), ["1:here"]);
        assert_eq!(stage.dropped(owner), [1]);
        stage.check_known(0, 0);
        stage.end();
    });
}

#[test]
fn gc_cycle_of_two_vats_stays_until_one_lets_go() {
    // Counting does not see that nobody else is left; whoever lets go frees both.
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open(shape);
        let [alice, bob] = stage.players();
        let with = [("bob", bob.into()), ("alice", alice.into())];
        let program = "
            object a; send bob { facet b a; send alice { facet a2 b; keep a2 } with [b] } with [a alice=me]";
        stage.go(alice, program, &with);
        stage.check_known(0, 2);
        stage.go(alice, "remove a2; forget a2", &[]);
        assert_eq!(stage.dropped(bob), [1]);
        assert_eq!(stage.dropped(alice), [1]);
        stage.check_known(0, 0);
        stage.end();
    });
}

/// The owner gives an object away again while the last holder lets go of it.
fn drop_against_giving_away(stage: &Stage, owner: Ref, first: Ref, second: Ref, wait: bool) {
    let with = [("first", first.into()), ("second", second.into())];
    stage.go(
        owner,
        "object o; keep o first second; send first { keep o } with [o]; memorize o",
        &with,
    );
    let gate = Gate::closed();
    let at_gate = Arc::clone(&gate);
    stage.yard().on("gate", move || at_gate.pass());
    let giving = stage.send(
        owner,
        "send second { keep o } with [o]; forget o; gate gate",
        &[],
    );
    if wait {
        gate.wait_for_arrivals(1);
        // The giving crank runs and has no place; the drop gets one in the meantime.
        let dropping = stage.outcome(first, "forget o", &[]);
        assert_eq!(described(&dropping), "'done");
        gate.open();
    } else {
        let dropping = stage.send(first, "forget o", &[]);
        gate.open();
        stage.idle();
        assert_eq!(described(&settled(&dropping)), "'done");
    }
    stage.idle();
    assert_eq!(described(&settled(&giving)), "'done");
    // The news that nobody holds it, if there was any, was void.
    assert_eq!(stage.dropped(owner), NONE);
    stage.go(second, "send o { say alive } as r; watch r got", &[]);
    assert_eq!(
        stage.log(owner).last().unwrap().split_once(':').unwrap().1,
        "alive"
    );
    assert_eq!(stage.log(second), ["got: 'done"]);
    stage.go(second, "forget o", &[]);
    assert_eq!(stage.dropped(owner), [1]);
    stage.check_known(0, 0);
}

#[test]
fn gc_reexport_against_a_drop_in_any_order() {
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open(shape);
        for _ in 0..5 {
            let [owner, first, second] = stage.players();
            drop_against_giving_away(&stage, owner, first, second, false);
        }
        stage.end();
    });
}

#[test]
fn gc_reexport_in_a_crank_that_has_no_place_when_the_drop_is_sequenced() {
    for workers in [2, 4] {
        let order = CommitOrder::Completion;
        let stage = Stage::open(Shape { order, workers });
        let [owner, first, second] = stage.players();
        drop_against_giving_away(&stage, owner, first, second, true);
        stage.end();
    }
}

#[test]
fn gc_reexport_as_an_answer_while_the_drop_is_on_its_way() {
    // Given away as what a promise comes to, to a vat and to the host, instead of in a message.
    for workers in [2, 4] {
        for program in [
            "gate gate; answer o",
            "gate gate; fulfil p [o]; answer o",
            "gate gate; promise q; fulfil q o; answer q",
        ] {
            let order = CommitOrder::Completion;
            let stage = Stage::open(Shape { order, workers });
            let [owner, first, second] = stage.players();
            let with = [("first", first.into())];
            stage.go(
                owner,
                "object o; promise p; keep o p; send first { keep o } with [o]",
                &with,
            );
            let gate = Gate::closed();
            let at_gate = Arc::clone(&gate);
            stage.yard().on("gate", move || at_gate.pass());
            let ask = format!("send owner {{ {program} }} as r; keep r; watch r got");
            assert_eq!(
                described(&stage.outcome(second, &ask, &[("owner", owner.into())])),
                "'done"
            );
            gate.wait_for_arrivals(1);
            assert_eq!(described(&stage.outcome(first, "forget o", &[])), "'done");
            gate.open();
            stage.idle();
            assert_eq!(stage.dropped(owner), NONE, "{program}");
            stage.go(second, "send r { say alive }; forget r", &[]);
            assert_eq!(stage.log(owner), ["1:alive"], "{program}");
            stage.go(owner, "forget p", &[]);
            assert_eq!(stage.dropped(owner), [1], "{program}");
            stage.check_known(0, 0);
            stage.end();
        }
    }
}

#[test]
fn an_object_that_never_was_takes_no_number() {
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open(shape);
        let [owner] = stage.players();
        for number in [7, u64::MAX] {
            let never = Ref::to(crankcase::ObjectId::new(owner.vat(), number));
            stage.go(owner, "remove never", &[("never", never.into())]);
        }
        let stage = stage.reopen();
        stage.go(owner, "object o; keep o", &[]);
        let made = stage.kept(owner, "o").object();
        assert_eq!(made.map(|made| made.object().number), Some(1));
        stage.end();
    });
}

#[test]
fn gc_given_to_nobody_while_the_drop_is_on_its_way() {
    // Whether the news is void must not depend on what the vat has in memory: what was given to
    // nobody is told of, at once or once more.
    for program in [
        "gate gate; send dead { say never } with [o]",
        "gate gate; send s { say never } with [o]",
        "gate gate; promise q; fulfil q o",
        "gate gate; promise q; fulfil q [o]",
        "gate gate; answer o",
    ] {
        let order = CommitOrder::Completion;
        let stage = Stage::open(Shape { order, workers: 2 });
        let [owner, first, second, dead] = stage.players();
        stage.go(second, "keep dead", &[("dead", dead.into())]);
        stage.go(dead, "exit", &[]);
        stage.go(owner, "promise s; keep s; fulfil s 'text", &[]);
        let with = [("first", first.into())];
        let give = "object o; keep o; send first { keep o } with [o]";
        stage.go(owner, give, &with);
        let gate = Gate::closed();
        let at_gate = Arc::clone(&gate);
        stage.yard().on("gate", move || at_gate.pass());
        let ask = format!("send owner {{ {program} }} with [dead] as r; keep r");
        let with = [("owner", owner.into())];
        assert_eq!(described(&stage.outcome(second, &ask, &with)), "'done");
        gate.wait_for_arrivals(1);
        assert_eq!(described(&stage.outcome(second, "forget r", &[])), "'done");
        assert_eq!(described(&stage.outcome(first, "forget o", &[])), "'done");
        gate.open();
        stage.idle();
        assert_eq!(stage.dropped(owner), [1], "{program}");
        stage.go(owner, "forget s", &[]);
        stage.check_known(0, 0);
        stage.end();
    }
}

#[test]
fn gc_two_drops_on_their_way_around_an_answer_to_the_host() {
    // The answer makes the second one void, with the vat in memory and after a restart.
    for restarts in [false, true] {
        let order = CommitOrder::Completion;
        let stage = Stage::open(Shape { order, workers: 2 });
        let [owner, other] = stage.players();
        stage.go(owner, "object o; keep o", &[]);
        let o = stage.given(owner, "answer [o]", &[]).remove(0);
        let gates = ["first", "last"].map(|name| {
            let gate = Gate::closed();
            let at_gate = Arc::clone(&gate);
            stage.yard().on(name, move || at_gate.pass());
            gate
        });
        let [first, last] = &gates;
        let _ = stage.send(owner, "gate first", &[]);
        first.wait_for_arrivals(1);
        let pass_by = || {
            let seen = stage.outcome(other, "say seen", &[("o", o.clone())]);
            assert_eq!(described(&seen), "'done");
        };
        pass_by();
        let _ = stage.send(owner, "answer o", &[]);
        let _ = stage.send(owner, "gate last", &[]);
        pass_by();
        first.open();
        last.wait_for_arrivals(1);
        let stage = if restarts {
            stage.reopen_in_a_crank()
        } else {
            stage
        };
        last.open();
        stage.idle();
        assert_eq!(stage.dropped(owner), [1], "restarts: {restarts}");
        stage.end();
    }
}

/// An owner that is held at a gate while the host lets go of an object that nobody else holds.
fn owner_about_to_hear(stage: &Stage, owner: Ref, program: &str) -> (Promise, [Arc<Gate>; 2]) {
    let o = stage
        .given(owner, "object o; memorize o; answer [o]", &[])
        .remove(0);
    let gates = ["first", "last"].map(|name| {
        let gate = Gate::closed();
        let at_gate = Arc::clone(&gate);
        stage.yard().on(name, move || at_gate.pass());
        gate
    });
    let _ = stage.send(owner, program, &[]);
    let _ = stage.send(owner, "gate last", &[]);
    gates[0].wait_for_arrivals(1);
    settled(&stage.hold(o.clone()).unwrap()).unwrap();
    settled(&stage.release(o.clone()).unwrap());
    (o, gates)
}

#[test]
fn gc_host_does_not_hold_what_its_owner_is_about_to_remove() {
    for workers in [1, 4] {
        let order = CommitOrder::Completion;
        let stage = Stage::open(Shape { order, workers });
        let [owner, other] = stage.players();
        let (o, [first, last]) = owner_about_to_hear(&stage, owner, "gate first");
        let held = settled(&stage.hold(o.clone()).unwrap());
        assert_eq!(held.unwrap_err().cause(), Cause::NoSuchObject);
        // Nor when it is held again: that comes too late.
        let _ = stage.send(other, "keep o", &[("o", o.clone())]);
        let held = settled(&stage.hold(o.clone()).unwrap());
        assert_eq!(held.unwrap_err().cause(), Cause::NoSuchObject);
        let never = Ref::to(ObjectId::new(owner.vat(), 77));
        let held = settled(&stage.hold(never).unwrap());
        assert_eq!(held.unwrap_err().cause(), Cause::NoSuchObject);
        first.open();
        last.open();
        stage.idle();
        // It was not held, so it is let go of once.
        settled(&stage.release(o.clone()).unwrap());
        settled(&stage.release(never).unwrap());
        stage.idle();
        assert_eq!(stage.dropped(owner), [1]);
        let gone = stage.outcome(&o, "say never", &[]).unwrap_err();
        assert_eq!(gone.cause(), Cause::NoSuchObject);
        stage.end();
    }
}

#[test]
fn gc_host_holds_what_its_owner_gave_away_after_the_drop() {
    for workers in [1, 4] {
        let order = CommitOrder::Completion;
        let stage = Stage::open(Shape { order, workers });
        let [owner] = stage.players();
        let (o, [first, last]) =
            owner_about_to_hear(&stage, owner, "recall o; gate first; answer o");
        first.open();
        last.wait_for_arrivals(1);
        settled(&stage.hold(o.clone()).unwrap()).expect("it was given away anew");
        last.open();
        stage.idle();
        assert_eq!(stage.dropped(owner), NONE);
        assert_eq!(stage.play(&o, "say held", &[]), "'done");
        settled(&stage.release(o).unwrap());
        stage.idle();
        assert_eq!(stage.dropped(owner), [1]);
        stage.check_known(0, 0);
        stage.end();
    }
}

#[test]
fn gc_end_when_everybody_forgets_everything_nothing_is_known() {
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open(shape);
        let players: [Ref; 4] = stage.players();
        // Everybody gives everybody an object and a promise, over and over, and decides some.
        for round in 0..3 {
            for (at, &player) in players.iter().enumerate() {
                for (to, &other) in players.iter().enumerate() {
                    let program = format!(
                        "object o; promise p q; keep p q
                        send other {{ keep o{at} p{at}; store row{at} q; watch p{at} got }} with [o{at}=o p{at}=p q] as r
                        keep r; store r{to} r; fulfil p [o other]; fulfil q p"
                    );
                    let _ = stage.send(player, &program, &[("other", other.into())]);
                }
            }
            stage.idle();
            for &player in &players {
                let forget = "repeat 4 { forget o# p#; erase row#; erase r# }; forget p q r";
                stage.go(player, forget, &[]);
            }
            stage.check_known(0, 0);
            for &player in &players {
                let mut dropped = stage.dropped(player);
                dropped.sort_unstable();
                let all: Vec<u64> = (1..=4 * (round + 1)).collect();
                assert_eq!(dropped, all, "each object once");
            }
        }
        stage.end();
    });
}
