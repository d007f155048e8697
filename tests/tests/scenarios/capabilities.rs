//! What a vat may use: what it was given, what it made, what it keeps. Nothing else.

use crankcase::raw::Vat;
use crankcase::{Cause, ObjectId, Payload, Promise, PromiseId, Ref, SendError, Slot, VatNumber};
use crankcase_tests::stage::player::{PLAY, Player, data, described};
use crankcase_tests::{Stage, in_each_order_with_one_and_four_workers};

const NONE: [&str; 0] = [];

/// What can be done with a reference that leaves the crank or is kept.
const USES: [&str; 9] = [
    "send x { say never }",
    "send bob { say never } with [x]",
    "keep x",
    "store row x",
    "answer x",
    "answer [x]",
    "facet f x",
    "spawn v { say never } with [x]",
    "promise p; fulfil p x",
];

#[test]
fn caps_forged_references_doom_every_use_and_nothing_else() {
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open(shape);
        let [alice, bob, carol] = stage.players();
        stage.go(carol, "object x; promise p; keep x p", &[]);
        let p = stage.kept(carol, "p");
        let with = [("bob", bob.into())];
        let forged = [Promise::from(carol), stage.kept(carol, "x"), p];
        for (at, x) in forged.iter().enumerate() {
            // The vat knows the numbers, by having been given the reference once.
            stage.go(alice, "memorize x", &[("x", x.clone())]);
            let watched = ["watch x got", "watch bob got with [x]"];
            for act in USES.iter().chain(&watched) {
                let program =
                    format!("say lost; store other bob; send bob {{ say never }}; recall x; {act}");
                let why = stage.outcome(alice, &program, &with).unwrap_err();
                assert_eq!(
                    (why.cause(), why.code()),
                    (Cause::Illegal, "reference"),
                    "{at} {act}"
                );
            }
        }
        stage.idle();
        assert_eq!(stage.play(alice, "load other y", &[]), "no no_such_row");
        stage.go(alice, "say lives", &[]);
        assert_eq!(stage.log(alice), ["lives"]);
        assert_eq!((stage.log(bob).len(), stage.log(carol).len()), (0, 0));
        stage.go(carol, "forget p", &[]);
        stage.check_known(0, 0);
        stage.end();
    });
}

#[test]
fn caps_forged_names_of_what_never_was() {
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open(shape);
        let [alice, bob] = stage.players();
        // A vat cannot be given these: the host that tries is told that they lead nowhere, and
        // nothing of its message happens.
        let none = [
            (
                Promise::pending(PromiseId::new(VatNumber::HOST, 1)),
                Cause::NoSuchPromise,
            ),
            (
                Promise::pending(PromiseId::new(VatNumber::new(1), 99)),
                Cause::NoSuchPromise,
            ),
            (
                Promise::pending(PromiseId::new(VatNumber::new(u64::MAX >> 2), u64::MAX)),
                Cause::NoSuchPromise,
            ),
            (
                Ref::to(crankcase::VatId::new(VatNumber::HOST, 77)).into(),
                Cause::NoSuchVat,
            ),
            (
                Ref::to(crankcase::VatId::new(
                    VatNumber::new(u64::MAX >> 2),
                    u64::MAX,
                ))
                .into(),
                Cause::NoSuchVat,
            ),
        ];
        for (x, cause) in none {
            let why = stage
                .outcome(alice, "say never", &[("x", x.clone())])
                .unwrap_err();
            assert_eq!(why.cause(), cause, "{x:?}");
            let why = stage.outcome(&x, "say never", &[]).unwrap_err();
            assert_eq!(why.cause(), cause, "{x:?}");
            let held = stage.hold(&x).unwrap();
            assert_eq!(stage.settled(&held).unwrap_err().cause(), cause, "{x:?}");
            let released = stage.release(&x).unwrap();
            stage.settled(&released);
        }
        // Of a living vat's objects nobody keeps a list but the vat.
        let x = Ref::to(ObjectId::new(bob.vat(), 77));
        let why = stage.outcome(x, "say never", &[]).unwrap_err();
        assert_eq!(why.cause(), Cause::NoSuchObject);
        stage.go(
            alice,
            "send x { say never } as r; watch r got",
            &[("x", x.into())],
        );
        assert_eq!(stage.log(alice), ["got: no no_such_object"]);
        assert_eq!(stage.log(bob), NONE);
        // Its own objects a vat may name as it likes, once it has made them.
        stage.go(
            alice,
            "memorize x",
            &[("x", Ref::to(ObjectId::new(alice.vat(), 1)).into())],
        );
        let why = stage
            .outcome(alice, "recall x; send x { say never }", &[])
            .unwrap_err();
        assert_eq!(why.code(), "reference");
        stage.go(alice, "object made; recall x; send x { say own }", &[]);
        assert_eq!(stage.log(alice)[1..], ["1:own"]);
        stage.end();
    });
}

#[test]
fn caps_kept_what_came_may_be_used_later_only_if_it_was_kept() {
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open(shape);
        let [alice, bob] = stage.players();
        stage.go(bob, "object x; promise p; keep x p", &[]);
        for name in ["x", "p"] {
            let x = [("x", stage.kept(bob, name))];
            for (keeping, may_use, letting_go) in [
                ("", false, ""),
                ("keep x", true, "forget x"),
                ("store row x", false, "erase row"),
                ("facet f x; memorize f", false, "recall f; remove f"),
            ] {
                stage.go(alice, &format!("memorize x; {keeping}"), &x);
                let later = stage.play(alice, "recall x; send x { say came }", &[]);
                assert_eq!(
                    later,
                    if may_use { "'done" } else { "no reference" },
                    "{keeping}"
                );
                if keeping.starts_with("store") {
                    // What was read may be used in that crank, whoever names it, and not in the next.
                    stage.go(
                        alice,
                        "load row y; recall x; same x y; send x { say came }",
                        &[],
                    );
                    assert_eq!(
                        stage.play(alice, "recall x; send x { say came }", &[]),
                        "no reference"
                    );
                }
                if keeping.starts_with("facet") {
                    stage.go(alice, "recall f; ask f say came", &[]);
                    assert_eq!(
                        stage.play(alice, "recall x; send x { say came }", &[]),
                        "no reference"
                    );
                }
                stage.go(alice, letting_go, &[]);
                let later = stage.play(alice, "recall x; send x { say never }", &[]);
                assert_eq!(later, "no reference", "{keeping}");
            }
        }
        stage.go(bob, "fulfil p x; forget p", &[]);
        assert_eq!(stage.log(bob), ["1:came"; 6]);
        stage.go(bob, "forget x", &[]);
        stage.check_known(0, 0);
        stage.end();
    });
}

#[test]
fn caps_kept_in_a_crank_that_is_lost_is_not_kept() {
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open(shape);
        let [alice, bob] = stage.players();
        let x = [("x", bob.into())];
        stage.go(alice, "memorize x", &x);
        for end in ["refuse nope", "panic", "recall y", "answer y"] {
            let _ = stage.play(alice, &format!("keep x; store row x; facet f x; {end}"), &x);
            assert_eq!(
                stage.play(alice, "recall x; send x { say never }", &[]),
                "no reference"
            );
            assert_eq!(stage.play(alice, "load row x", &[]), "no no_such_row");
        }
        assert_eq!(stage.log(bob), NONE);
        stage.end();
    });
}

#[test]
fn caps_made_in_a_crank_that_is_lost_was_never_made() {
    // The numbers are given out again: who remembers them has nothing by that.
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open(shape);
        let [alice] = stage.players();
        assert_eq!(
            stage.play(
                alice,
                "object o; promise p; spawn v; keep o p v; refuse nope",
                &[]
            ),
            "no nope"
        );
        stage.check_known(0, 0);
        let program = "object o; promise p; spawn v { say born }; keep o p v; send o { say fresh }; send v { say me }";
        stage.go(alice, program, &[]);
        assert_eq!(stage.log(alice), ["1:fresh"]);
        let child = stage.kept(alice, "v").object().unwrap();
        assert_eq!(stage.log(child), ["born", "me"]);
        assert_eq!(stage.kept(alice, "o").object().unwrap().object().number, 1);
        stage.go(alice, "fulfil p 'text; forget p o", &[]);
        stage.check_known(0, 0);
        stage.end();
    });
}

#[test]
fn caps_spawn_gives_a_reference_that_can_be_used_at_once() {
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open(shape);
        let [alice, bob] = stage.players();
        let program = "
            object o
            spawn v { say born; keep giver } with [giver=o]
            send v { say one; send giver { say hello } } as r; watch r got
            send bob { send v { say three } } with [v]
            send v { say two } with [v]
            keep v";
        stage.go(alice, program, &[("bob", bob.into())]);
        let child = stage.kept(alice, "v").object().unwrap();
        assert_eq!(stage.log(child), ["born", "one", "two", "three"]);
        assert_eq!(stage.log(alice), ["1:hello", "got: 'done"]);
        // A later crank may use it because it was kept.
        stage.go(alice, "send v { forget giver }", &[]);
        assert_eq!(stage.dropped(alice), [1]);
        stage.check_known(0, 0);
        stage.end();
    });
}

#[test]
fn caps_introduction_of_a_third_party() {
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open(shape);
        let [alice, bob, carol] = stage.players();
        let with = [("bob", bob.into()), ("carol", carol.into())];
        // With an object, with a promise that is decided before it arrives, and with one that is
        // decided later: carol reaches bob, and alice has no part in it any more.
        let program = "
            send carol { send bob { say root } } with [bob]
            promise p; fulfil p bob; send carol { send p { say soon } } with [p]
            promise q; keep q bob; send carol { send q { say late } as r; watch r got } with [q]";
        stage.go(alice, program, &with);
        assert_eq!(stage.log(carol), NONE);
        stage.go(alice, "fulfil q bob; forget q", &[]);
        assert_eq!(stage.log(bob), ["root", "soon", "late"]);
        assert_eq!(stage.log(carol), ["got: 'done"]);
        // An object that bob gave to alice, alice to carol, and carol gives home is bob's own again.
        let program = "
            send bob { object o; keep o; answer o } as o
            send carol { send bob { same o p; send p { say home } } with [p=o] } with [bob o]";
        stage.go(alice, program, &with);
        stage.go(
            bob,
            "send carol { send bob { same o p; send p { say home } } with [p] } with [bob=me p=o]",
            &with,
        );
        let log = stage.log(bob);
        // The first came as a promise, the second as the object itself.
        assert_eq!(log[3..], ["another", "1:home", "same", "1:home"]);
        stage.go(bob, "forget o", &[]);
        stage.check_known(0, 0);
        stage.end();
    });
}

#[test]
fn caps_introduction_does_not_spread() {
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open(shape);
        let [alice, bob, carol] = stage.players();
        let with = [("bob", bob.into()), ("carol", carol.into())];
        // Bob hands a message on to carol; carol learns of what is in it and not of who sent it.
        let program = "send bob { send carol { memorize x; say came } with [x] } with [carol x=me]";
        stage.go(alice, program, &with);
        stage.go(carol, "say later", &[]);
        assert_eq!(
            stage.play(carol, "recall x; send x { say never }", &[]),
            "no reference"
        );
        assert_eq!(
            stage.play(carol, "send bob { say never }", &[]),
            "no no_such_name"
        );
        assert_eq!(stage.log(carol), ["came", "later"]);
        stage.end();
    });
}

#[test]
fn caps_attenuation_by_a_facet() {
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open(shape);
        let [alice, bob, carol] = stage.players();
        let with = [("bob", bob.into()), ("carol", carol.into())];
        let program = "facet f carol; send bob { keep f; memorize f } with [f]; keep carol";
        stage.go(alice, program, &with);
        let program = "
            ask f say allowed as r; watch r one
            send f { say never; exit } as s; watch s two";
        stage.go(bob, program, &[]);
        assert_eq!(stage.log(bob), ["two: no not_offered", "one: 'allowed"]);
        assert_eq!(stage.log(carol), ["allowed"]);
        // Revoked by removing it: bob's reference stays and leads nowhere.
        let facet = [("f", stage.kept(bob, "f"))];
        stage.go(alice, "remove f", &facet);
        for _ in 0..2 {
            stage.go(bob, "ask f say never as r; watch r three", &[]);
        }
        assert_eq!(stage.log(bob)[2..], ["three: no no_such_object"; 2]);
        assert_eq!(stage.log(carol), ["allowed"]);
        stage.go(bob, "forget f", &[]);
        stage.check_known(0, 0);
        stage.end();
    });
}

#[test]
fn caps_attenuation_a_facet_holds_what_it_leads_to() {
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open(shape);
        let [alice, bob, carol] = stage.players();
        stage.go(
            carol,
            "object x; send alice { facet f x; send bob { keep f } with [f] } with [x bob]",
            &[("alice", alice.into()), ("bob", bob.into())],
        );
        stage.check_known(0, 2);
        stage.go(bob, "ask f say through", &[]);
        assert_eq!(stage.log(carol), ["1:through"]);
        assert_eq!(stage.dropped(carol), <[u64; 0]>::default());
        // One drop leads to the next.
        stage.go(bob, "forget f", &[]);
        assert_eq!(stage.dropped(alice), [1]);
        assert_eq!(stage.dropped(carol), [1]);
        stage.check_known(0, 0);
        stage.end();
    });
}

#[test]
fn caps_notice_reaches_no_method() {
    // What is told of a promise comes to where no message comes, so nobody can make it up.
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open(shape);
        let [alice, bob] = stage.players();
        let program = "ask bob got 'made-up as r; watch r got";
        stage.go(alice, program, &[("bob", bob.into())]);
        assert_eq!(stage.log(bob), NONE);
        assert_eq!(stage.log(alice), ["got: no no_such_method"]);
        stage.end();
    });
}

#[test]
fn caps_host_holds_survive_restarts_and_release_drops() {
    in_each_order_with_one_and_four_workers(|shape| {
        let mut stage = Stage::open(shape);
        let [alice] = stage.players();
        let given = stage.given(alice, "object o; promise p; keep p; answer [o p]", &[]);
        let (o, p) = (given[0].clone(), given[1].clone());
        for thing in [&o, &o, &p] {
            let held = stage.hold(thing).unwrap();
            assert_eq!(stage.settled(&held), Ok(()));
        }
        // The vat decides and forgets the promise; the host's hold keeps it.
        stage.go(alice, "fulfil p 'text; forget p", &[]);
        for _ in 0..2 {
            stage = stage.reopen();
            stage.check_known(1, 1);
            let watched = stage.watch(&p).unwrap();
            assert_eq!(described(&stage.settled(&watched)), "'text");
            assert_eq!(stage.play(&o, "say held", &[]), "'done");
        }
        for (releases, dropped) in [(1, vec![]), (2, vec![1]), (3, vec![1])] {
            let released = stage.release(&o).unwrap();
            stage.settled(&released);
            stage.idle();
            assert_eq!(stage.dropped(alice), dropped, "{releases}");
        }
        let released = stage.release(&p).unwrap();
        stage.settled(&released);
        stage.check_known(0, 0);
        let gone = stage.watch(&p).unwrap();
        assert_eq!(
            stage.settled(&gone).unwrap_err().cause(),
            Cause::NoSuchPromise
        );
        let gone = stage.outcome(&o, "say never", &[]).unwrap_err();
        assert_eq!(gone.cause(), Cause::NoSuchObject);
        let gone = stage.hold(&p).unwrap();
        assert_eq!(
            stage.settled(&gone).unwrap_err().cause(),
            Cause::NoSuchPromise
        );
        stage.end();
    });
}

#[test]
fn caps_host_what_is_in_no_hand_is_gone() {
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open(shape);
        let [alice, bob] = stage.players();
        // Nobody keeps the promise that the host is told of, so it is gone at once.
        let p = stage.given(alice, "promise p; answer [p]", &[]).remove(0);
        stage.idle();
        for ticket in [
            stage.watch(&p).unwrap(),
            stage.send(&p, "say never", &[]),
            stage.send(bob, "say never", &[("p", p)]),
        ] {
            assert_eq!(
                stage.settled(&ticket).unwrap_err().cause(),
                Cause::NoSuchPromise
            );
        }
        assert_eq!(stage.log(bob), NONE);
        // In a batch the one does not harm the other.
        let o = stage.given(
            alice,
            "object o; keep o; send bob { keep o } with [o]; answer [o]",
            &[("bob", bob.into())],
        );
        stage.idle();
        stage.go(bob, "forget o", &[]);
        stage.go(alice, "remove o; forget o", &[]);
        let why = stage.outcome(&o[0], "say never", &[]).unwrap_err();
        assert_eq!(why.cause(), Cause::NoSuchObject);
        stage.check_known(0, 0);
        stage.end();
    });
}

#[test]
fn caps_host_a_hold_in_a_batch_has_an_outcome_of_its_own() {
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open(shape);
        let [alice, bob] = stage.players();
        let gone = stage.given(alice, "promise p; answer [p]", &[]).remove(0);
        let kept = "object o; promise p; keep o p; answer [o p]";
        let kept = stage.given(alice, kept, &[]);
        stage.idle();
        let mut batch = stage.batch();
        batch.hold(&gone).unwrap();
        batch.send(bob, "say", &data("one")).unwrap();
        batch.hold(&kept[0]).unwrap();
        batch.release(&kept[1]).unwrap();
        batch.hold(&gone).unwrap();
        batch.hold(&kept[1]).unwrap();
        batch.send(bob, "say", &data("two")).unwrap();
        assert_eq!(batch.len(), 6);
        let outcomes = stage.settled(&batch.submit().unwrap());
        let causes = outcomes.iter().map(|outcome| match outcome {
            Ok(_) => None,
            Err(why) => Some(why.cause()),
        });
        let causes: Vec<_> = causes.collect();
        let no = Some(Cause::NoSuchPromise);
        assert_eq!(causes, [no, None, None, no, None, None]);
        assert_eq!(described(&outcomes[1]), "'one");
        assert_eq!(stage.log(bob), ["one", "two"]);
        stage.check_known(1, 1);
        for thing in &kept {
            let released = stage.release(thing).unwrap();
            stage.settled(&released);
        }
        stage.go(alice, "fulfil p 'text; forget p", &[]);
        stage.check_known(0, 0);
        stage.end();
    });
}

#[test]
fn a_host_that_hands_in_what_is_no_outcome_is_refused() {
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open(shape);
        let [alice] = stage.players();
        for garbage in [&[][..], &[9], &[0, 1], &[0, 1, 3, 1, 9, 0]] {
            let forged = Payload::of_slot(Slot::Settled(garbage.into()));
            let sent = stage.send_payload(alice, PLAY, &forged).map(drop);
            assert!(matches!(sent, Err(SendError::Malformed { .. })), "{sent:?}");
            let promise: Promise = forged.decode().expect("it is in a promise's place");
            let watched = stage.watch(&promise).map(drop);
            assert!(matches!(watched, Err(SendError::Malformed { .. })));
            let spawned = stage.spawn(Player::KIND, &promise).map(drop);
            assert!(matches!(spawned, Err(SendError::Malformed { .. })));
        }
        stage.go(alice, "say well", &[]);
        stage.end();
    });
}
