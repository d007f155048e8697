//! Promises between vats: who is told what a promise came to, and where messages go that wait in it.

use crankcase::{Cause, Limits, Promise, Ref};
use crankcase_tests::host::settled;
use crankcase_tests::stage::player::{describe, described};
use crankcase_tests::{Gate, Stage, in_each_order_with_one_and_four_workers};

/// Whose word the promise of a row of the table waits for.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Decider {
    /// The vat that made it.
    Maker,
    /// The vat that answers a message.
    Answer,
    /// What the vat that made it says once it has heard of another promise.
    Continuation,
}

/// Who wants to know what the promise came to.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Watcher {
    /// The vat that decides it.
    Decider,
    /// Another vat.
    Other,
    /// The host, by watching it.
    Host,
    /// The host, because a vat answered it with the promise.
    Ticket,
    /// A vat that only keeps it.
    Keeper,
    /// A vat that keeps it in a row.
    Row,
}

/// What the promise comes to.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Value {
    Data,
    List,
    Rejection,
    OwnObject,
    OthersObject,
    Root,
    LaterPromise,
    LaterObject,
    LaterRejection,
    ResolvedPromise,
    RejectedPromise,
    Itself,
    LongerCycle,
}

const DECIDERS: [Decider; 3] = [Decider::Maker, Decider::Answer, Decider::Continuation];
const WATCHERS: [Watcher; 6] = [
    Watcher::Decider,
    Watcher::Other,
    Watcher::Host,
    Watcher::Ticket,
    Watcher::Keeper,
    Watcher::Row,
];
const VALUES: [Value; 13] = [
    Value::Data,
    Value::List,
    Value::Rejection,
    Value::OwnObject,
    Value::OthersObject,
    Value::Root,
    Value::LaterPromise,
    Value::LaterObject,
    Value::LaterRejection,
    Value::ResolvedPromise,
    Value::RejectedPromise,
    Value::Itself,
    Value::LongerCycle,
];

impl Value {
    /// What a vat does first, and what it decides with then.
    const fn program(self) -> (&'static str, &'static str) {
        match self {
            Self::Data => ("", "'text"),
            Self::List => ("", "[theirs third]"),
            Self::Rejection => ("promise z; reject z nope", "z"),
            Self::OwnObject => ("object o", "o"),
            Self::OthersObject => ("", "theirs"),
            Self::Root => ("", "third"),
            Self::LaterPromise | Self::LaterObject | Self::LaterRejection => ("", "later"),
            Self::ResolvedPromise => ("promise z; fulfil z 'text", "z"),
            Self::RejectedPromise => ("", "refused"),
            Self::Itself => ("", "p"),
            Self::LongerCycle => ("promise x y; fulfil x y; fulfil y p", "x"),
        }
    }

    /// What the third vat does to the promise `later` afterwards.
    const fn afterwards(self) -> &'static str {
        match self {
            Self::LaterObject => "fulfil later me",
            Self::LaterRejection => "reject later nope",
            _ => "fulfil later 'late",
        }
    }

    fn expected(self, own: Ref, theirs: &Promise, third: Ref) -> String {
        match self {
            Self::Data | Self::ResolvedPromise => "'text".to_owned(),
            Self::List => format!("[{} {third}]", describe(theirs)),
            Self::Rejection | Self::LaterRejection | Self::RejectedPromise => "no nope".to_owned(),
            Self::OwnObject => format!("{own}/1"),
            Self::OthersObject => describe(theirs),
            Self::Root | Self::LaterObject => third.to_string(),
            Self::LaterPromise => "'late".to_owned(),
            Self::Itself | Self::LongerCycle => "no cycle".to_owned(),
        }
    }
}

/// Walks one row of the table: whoever watches is told what the promise came to, once, whether it
/// watched before that was known or after.
fn walk(stage: &Stage, decider: Decider, watcher: Watcher, value: Value, late: bool) {
    let [keeper, answerer, other, third] = stage.players();
    let others = "promise later refused; reject refused nope; object theirs
        keep later theirs refused";
    stage.go(third, others, &[]);
    let others = stage.given(third, "answer [later theirs refused]", &[]);
    let with = |name| {
        (
            name,
            others[["later", "theirs", "refused"]
                .iter()
                .position(|&n| n == name)
                .unwrap()]
            .clone(),
        )
    };
    let (first, decision) = value.program();
    let given = [
        with("later"),
        with("theirs"),
        with("refused"),
        ("third", third.into()),
    ];
    // What the promise came to is decided by a program of its own, so that it can be watched before.
    let own = match decider {
        Decider::Maker => {
            stage.go(keeper, "promise p; keep p", &[]);
            keeper
        }
        Decider::Answer => {
            let ask = "send answerer { promise d; keep d; answer d } as p; keep p";
            stage.go(keeper, ask, &[("answerer", answerer.into())]);
            answerer
        }
        Decider::Continuation => {
            let program = format!(
                "promise d; watch d heard {{ {first}; answer {decision} }} \
                 with [later theirs refused third] as p; keep d p"
            );
            stage.go(keeper, &program, &given);
            keeper
        }
    };
    let decide = || {
        let p = stage.kept(keeper, "p");
        let mut with = given.to_vec();
        let (to, program) = match decider {
            Decider::Maker => (keeper, format!("{first}; fulfil p {decision}")),
            Decider::Answer => {
                with.push(("p", p));
                (answerer, format!("{first}; fulfil d {decision}"))
            }
            Decider::Continuation => (keeper, "fulfil d 'go".to_owned()),
        };
        stage.go(to, &program, &with);
        stage.go(third, value.afterwards(), &[]);
    };
    let at = match watcher {
        Watcher::Decider => own,
        _ => other,
    };
    let mut ticket = None;
    let mut watch = || {
        let p = [("p", stage.kept(keeper, "p"))];
        match watcher {
            Watcher::Decider | Watcher::Other => stage.go(at, "watch p got", &p),
            Watcher::Host => ticket = Some(stage.watch(&p[0].1).unwrap()),
            Watcher::Ticket => ticket = Some(stage.send(keeper, "answer p", &[])),
            Watcher::Keeper => stage.go(at, "keep p", &p),
            Watcher::Row => stage.go(at, "store row p", &p),
        }
    };
    if late {
        decide();
        watch();
    } else {
        watch();
        stage.idle();
        decide();
    }
    stage.idle();
    let expected = value.expected(own, &others[1], third);
    let row = || format!("{decider:?} {watcher:?} {value:?} late: {late}");
    let told = match (watcher, ticket) {
        (_, Some(ticket)) => vec![described(&settled(&ticket))],
        (Watcher::Keeper, _) => vec![describe(&stage.kept(at, "p"))],
        (Watcher::Row, _) => {
            stage.go(at, "load row p; known p", &[]);
            let mut log = stage.log(at);
            log.iter_mut()
                .for_each(|line| *line = line.replace("p is ", ""));
            log
        }
        _ => {
            let log = stage.log(at);
            let got = log.iter().filter_map(|line| line.strip_prefix("got: "));
            got.map(str::to_owned).collect()
        }
    };
    assert_eq!(told, std::slice::from_ref(&expected), "{}", row());
    // Who kept it keeps what it came to.
    assert_eq!(describe(&stage.kept(keeper, "p")), expected, "{}", row());
    for player in [keeper, answerer, other, third] {
        stage.go(player, "forget p d later theirs refused; erase row", &[]);
    }
    stage.check_known(0, 0);
}

#[test]
fn promises_watch_every_decider_every_watcher_every_value() {
    in_each_order_with_one_and_four_workers(|shape| {
        for decider in DECIDERS {
            let stage = Stage::open(shape);
            for watcher in WATCHERS {
                for value in VALUES {
                    for late in [false, true] {
                        walk(&stage, decider, watcher, value, late);
                    }
                }
            }
            stage.end();
        }
    });
}

#[test]
fn promises_watch_in_the_crank_that_decides() {
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open(shape);
        let [alice] = stage.players();
        let program = "
            promise p q; watch p before; fulfil p 'text; watch p after
            watch q before; reject q nope; watch q after; say here";
        stage.go(alice, program, &[]);
        // What is known already is told in a crank of its own, never within the one that asks.
        let mut log = stage.log(alice);
        assert_eq!(log.remove(0), "here");
        log.sort();
        let heard = [
            "after: 'text",
            "after: no nope",
            "before: 'text",
            "before: no nope",
        ];
        assert_eq!(log, heard);
        stage.check_known(0, 0);
        stage.end();
    });
}

#[test]
fn promises_watch_twice_is_told_twice_in_the_order_of_the_watches() {
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open(shape);
        let [alice, bob] = stage.players();
        stage.go(bob, "promise p; keep p", &[]);
        let p = stage.kept(bob, "p");
        let program = "watch p first { known one; known two } with [one=me two=p]; watch p second";
        stage.go(alice, program, &[("p", p)]);
        stage.go(bob, "fulfil p 'text", &[]);
        let one = format!("one is {alice}");
        // The context comes back with what has become of the references in it.
        let log = stage.log(alice);
        assert_eq!(log[..2], ["first: 'text".to_owned(), one]);
        assert_eq!(log[3], "second: 'text");
        stage.end();
    });
}

#[test]
fn promises_watch_by_two_vats_tells_both() {
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open(shape);
        let [alice, bob, carol] = stage.players();
        stage.go(bob, "promise p; keep p", &[]);
        let p = [("p", stage.kept(bob, "p"))];
        stage.go(alice, "watch p got { send it { say hello } }", &p);
        stage.go(carol, "watch p got { send it { say hello } }", &p);
        stage.go(bob, "object o; fulfil p o; forget p", &[]);
        let got = [format!("got: {bob}/1")];
        assert_eq!(stage.log(alice), got);
        assert_eq!(stage.log(carol), got);
        assert_eq!(stage.log(bob), ["1:hello", "1:hello"]);
        assert_eq!(stage.dropped(bob), [1]);
        stage.check_known(0, 0);
        stage.end();
    });
}

#[test]
fn promises_watch_what_the_continuation_says_is_what_the_watch_comes_to() {
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open(shape);
        let [alice, bob] = stage.players();
        let program = "
            send bob { answer 'text } as p
            watch p one { answer 'good } as good; watch good then
            watch p two { say lost; refuse bad } as bad; watch bad then
            watch p three { say lost; panic } as ugly; watch ugly then";
        stage.go(alice, program, &[("bob", bob.into())]);
        let mut log = stage.log(alice);
        log.sort();
        // A continuation that fails leaves nothing, its own log included.
        let heard = [
            "one: 'text",
            "then: 'good",
            "then: no bad",
            "then: no panicked",
        ];
        assert_eq!(log, heard);
        stage.check_known(0, 0);
        stage.end();
    });
}

#[test]
fn promises_watch_of_an_object_that_watches_comes_to_that_object() {
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open(shape);
        let [alice] = stage.players();
        let program = "
            object o; keep o; promise p; keep p
            send o { watch p got { say done } } with [p]";
        stage.go(alice, program, &[]);
        stage.go(alice, "fulfil p 'text", &[]);
        assert_eq!(stage.log(alice), ["1:got: 'text", "1:done"]);
        stage.end();
    });
}

#[test]
fn promises_watch_is_told_before_messages_that_waited_longer() {
    // What is watched for and what is sent to a promise stand in one queue, in the order in which
    // they came, whoever they are for.
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open(shape);
        let [alice] = stage.players();
        stage.go(alice, "promise p; keep p", &[]);
        let program = "
            send p { say one }; watch p two
            send p { say three }; watch p four";
        stage.go(alice, program, &[]);
        stage.go(alice, "fulfil p me", &[]);
        let me = alice.to_string();
        let log = [
            "one".to_owned(),
            format!("two: {me}"),
            "three".to_owned(),
            format!("four: {me}"),
        ];
        assert_eq!(stage.log(alice), log);
        stage.end();
    });
}

#[test]
fn promises_pipelining_each_message_goes_to_what_the_one_before_came_to() {
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open(shape);
        let [alice, bob] = stage.players();
        let program = "
            send bob { say one; object o; answer o } as p1
            send p1 { say two; object o; answer o } as p2
            send p2 { say three; answer 'three } as p3
            watch p1 one; watch p2 two; watch p3 three; say sent";
        stage.go(alice, program, &[("bob", bob.into())]);
        assert_eq!(stage.log(bob), ["one", "1:two", "2:three"]);
        let heard = [
            "sent".to_owned(),
            format!("one: {bob}/1"),
            format!("two: {bob}/2"),
            "three: 'three".to_owned(),
        ];
        assert_eq!(stage.log(alice), heard);
        stage.check_known(0, 0);
        stage.end();
    });
}

#[test]
fn promises_pipelining_over_a_promise_that_is_decided_later() {
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open(shape);
        let [alice, bob] = stage.players();
        let program = "
            send bob { promise d; keep d; answer d } as p0
            send p0 { say one; object o; answer o } as p1
            send p1 { say two; answer 'two } as p2
            watch p2 got";
        stage.go(alice, program, &[("bob", bob.into())]);
        assert_eq!(stage.log(bob), <[&str; 0]>::default());
        stage.go(bob, "say decides; fulfil d me", &[]);
        assert_eq!(stage.log(bob), ["decides", "one", "1:two"]);
        assert_eq!(stage.log(alice), ["got: 'two"]);
        stage.end();
    });
}

#[test]
fn promises_pipelining_a_failure_at_the_head_reaches_the_tail() {
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open(shape);
        let [alice, bob] = stage.players();
        let program = |head: &str| {
            format!(
                "send bob {{ {head} }} as p1
                send p1 {{ say never }} as p2
                send p2 {{ say never }} as p3
                watch p3 got"
            )
        };
        let with = [("bob", bob.into())];
        for head in [
            "refuse nope",
            "answer 'text",
            "promise z; reject z nope; answer z",
            "panic",
        ] {
            stage.go(alice, &program(head), &with);
        }
        assert_eq!(stage.log(bob), <[&str; 0]>::default());
        let heard = [
            "got: no nope",
            "got: no not_callable",
            "got: no nope",
            "got: no panicked",
        ];
        assert_eq!(stage.log(alice), heard);
        stage.check_known(0, 0);
        stage.end();
    });
}

#[test]
fn promises_pipelining_keeps_its_order_after_the_promise_came_to_its_end() {
    // Ten messages through a promise before it is decided and ten after, of which some are sent
    // before the sender has heard of it: all of them arrive in the order in which they were sent.
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open(shape);
        let [alice, bob, carol] = stage.players();
        stage.go(bob, "promise p; keep p", &[]);
        stage.go(alice, "keep p", &[("p", stage.kept(bob, "p"))]);
        let mut tickets = Vec::new();
        for round in 0..20 {
            if round == 10 {
                tickets.push(stage.send(bob, "fulfil p carol", &[("carol", carol.into())]));
            }
            tickets.push(stage.send(alice, &format!("send p {{ say {round} }}"), &[]));
        }
        stage.idle();
        let all: Vec<String> = (0..20).map(|round| round.to_string()).collect();
        assert_eq!(stage.log(carol), all);
        stage.end();
    });
}

#[test]
fn promises_pipelining_a_host_sends_through_a_promise() {
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open(shape);
        let [bob] = stage.players();
        stage.go(bob, "promise p; keep p", &[]);
        let p = stage.kept(bob, "p");
        let first = stage.send(&p, "say one; answer 'one", &[]);
        let second = stage.send(&p, "say two; answer this", &[]);
        stage.idle();
        stage.go(bob, "object o; fulfil p o; keep o", &[]);
        assert_eq!(described(&settled(&first)), "'one");
        assert_eq!(described(&settled(&second)), format!("{bob}/1"));
        assert_eq!(stage.log(bob), ["1:one", "1:two"]);
        stage.end();
    });
}

#[test]
fn promises_send_to_oneself_comes_after_the_crank() {
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open(shape);
        let [alice] = stage.players();
        let program = "
            object o; send me { say root } as p; send o { say object; answer 'o } as q
            watch p p; watch q q; say first";
        stage.go(alice, program, &[]);
        let heard = ["first", "root", "1:object", "p: 'done", "q: 'o"];
        assert_eq!(stage.log(alice), heard);
        stage.check_known(0, 0);
        stage.end();
    });
}

#[test]
fn promises_send_without_anyone_who_waits_leaves_nothing() {
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open(shape);
        let [alice, bob] = stage.players();
        let program = "
            repeat 50 { send bob { answer 'text }; send bob { refuse nope }; send bob { answer me } }
            promise p; promise q; fulfil q 'text";
        stage.go(alice, program, &[("bob", bob.into())]);
        stage.check_known(0, 0);
        stage.end();
    });
}

#[test]
fn promises_argument_every_order_of_giving_and_deciding() {
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open(shape);
        let [alice, bob] = stage.players();
        let with = [("bob", bob.into())];
        let watch = "send bob { say heard; watch p got { send it { say hello } } } with [p]";
        // Decided before it is sent, in the same crank after, and in a later crank.
        stage.go(alice, &format!("promise p; fulfil p me; {watch}"), &with);
        stage.go(alice, &format!("promise p; {watch}; fulfil p me"), &with);
        stage.go(
            alice,
            &format!("promise p; keep p; {watch} as r; watch r replied"),
            &with,
        );
        stage.go(alice, "fulfil p me", &[]);
        let got = format!("got: {alice}");
        let heard = ["heard", got.as_str()].repeat(3);
        assert_eq!(stage.log(bob), heard);
        assert_eq!(
            stage.log(alice),
            ["hello", "hello", "replied: 'done", "hello"]
        );
        stage.end();
    });
}

#[test]
fn promises_argument_a_result_is_passed_on_before_it_is_known() {
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open(shape);
        let [alice, bob, carol] = stage.players();
        let program = "
            send bob { promise d; keep d; answer d } as r
            send carol { keep r; watch r got; send r { say through-carol } } with [r]
            send bob { same d r; watch r got } with [r]
            watch r got";
        stage.go(
            alice,
            program,
            &[("bob", bob.into()), ("carol", carol.into())],
        );
        assert_eq!(stage.log(carol), <[&str; 0]>::default());
        stage.go(bob, "fulfil d me", &[]);
        let got = format!("got: {bob}");
        assert_eq!(stage.log(carol), std::slice::from_ref(&got));
        assert_eq!(stage.log(alice), std::slice::from_ref(&got));
        // The result is another promise than the one that it follows, and comes to the same.
        let mut log = stage.log(bob);
        log.sort();
        assert_eq!(log, ["another".to_owned(), got, "through-carol".to_owned()]);
        assert_eq!(describe(&stage.kept(carol, "r")), bob.to_string());
        stage.end();
    });
}

#[test]
fn promises_argument_the_same_promise_is_the_same_whoever_gives_it() {
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open(shape);
        let [alice, bob, carol] = stage.players();
        let with = [("bob", bob.into()), ("carol", carol.into())];
        let program = "
            promise p; keep p
            send bob { keep p } with [p]
            send bob { same p q } with [q=p]
            send carol { send bob { same p q } with [q] } with [bob q=p]";
        stage.go(alice, program, &with);
        stage.go(
            bob,
            "send alice { same p q } with [q=p]",
            &[("alice", alice.into())],
        );
        assert_eq!(stage.log(bob), ["same", "same"]);
        assert_eq!(stage.log(alice), ["same"]);
        // Its maker may decide what came home.
        stage.go(alice, "fulfil p 'text", &[]);
        assert_eq!(describe(&stage.kept(bob, "p")), "'text");
        stage.end();
    });
}

#[test]
fn promises_argument_a_promise_that_goes_to_the_object_it_comes_to() {
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open(shape);
        let [alice, bob] = stage.players();
        stage.go(bob, "promise p; keep p", &[]);
        let program = "send p { known q; watch q got; same q me } with [q=p]";
        stage.go(alice, program, &[("p", stage.kept(bob, "p"))]);
        stage.go(bob, "fulfil p me", &[]);
        // A promise in a message stays a promise, and whoever watches it is told.
        let log = [
            "q is open".to_owned(),
            "another".to_owned(),
            format!("got: {bob}"),
        ];
        assert_eq!(stage.log(bob), log);
        stage.end();
    });
}

#[test]
fn promises_argument_that_came_to_its_end_while_it_waited() {
    // The only one who names the promise is a message that waits in another one.
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open(shape);
        let [alice, bob] = stage.players();
        stage.go(bob, "promise door; keep door", &[]);
        let program = "
            promise p; send door { known p; watch p got } with [p]
            keep p";
        stage.go(alice, program, &[("door", stage.kept(bob, "door"))]);
        stage.go(alice, "object o; fulfil p o; forget p", &[]);
        stage.check_known(2, 1);
        assert_eq!(stage.dropped(alice), <[u64; 0]>::default());
        stage.go(bob, "fulfil door me; forget door", &[]);
        assert_eq!(
            stage.log(bob),
            ["p is open".to_owned(), format!("got: {alice}/1")]
        );
        assert_eq!(stage.dropped(alice), [1]);
        stage.check_known(0, 0);
        stage.end();
    });
}

#[test]
fn promises_argument_in_rows_and_states_of_vats_that_were_put_away() {
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open_with(shape, |builder| builder.vats_in_memory(0));
        let [alice, bob, carol] = stage.players();
        stage.go(bob, "promise p; keep p", &[]);
        let p = [("p", stage.kept(bob, "p"))];
        stage.go(alice, "keep p; store row p", &p);
        stage.go(carol, "watch p got; store row p", &p);
        let stage = stage.reopen_with(|builder| builder.vats_in_memory(0));
        stage.go(bob, "object o; fulfil p o", &[]);
        for player in [alice, carol] {
            stage.go(player, "load row q; known q; send q { say hello }", &[]);
        }
        let known = format!("q is {bob}/1");
        assert_eq!(stage.log(alice), std::slice::from_ref(&known));
        assert_eq!(stage.log(carol), [format!("got: {bob}/1"), known]);
        assert_eq!(stage.log(bob), ["1:hello", "1:hello"]);
        stage.end();
    });
}

#[test]
fn promises_forward_an_answer_over_three_vats() {
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open(shape);
        let [alice, bob, carol] = stage.players();
        for (end, heard) in [
            ("answer me", carol.to_string()),
            ("refuse nope", "no nope".to_owned()),
        ] {
            let program = format!(
                "send bob {{ send carol {{ {end} }} as r; answer r }} with [carol] as p
                send p {{ say came }}; watch p got"
            );
            stage.go(
                alice,
                &program,
                &[("bob", bob.into()), ("carol", carol.into())],
            );
            assert_eq!(stage.log(alice).last(), Some(&format!("got: {heard}")));
        }
        assert_eq!(stage.log(carol), ["came"]);
        stage.check_known(0, 0);
        stage.end();
    });
}

#[test]
fn promises_forward_takes_along_what_waits_in_both() {
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open(shape);
        let [alice, bob, carol] = stage.players();
        stage.go(bob, "promise p; keep p", &[]);
        stage.go(carol, "promise q; keep q", &[]);
        let (p, q) = (stage.kept(bob, "p"), stage.kept(carol, "q"));
        let program = "
            send p { say p1 }; watch p p; send q { say q1 }; watch q q
            keep p q";
        stage.go(alice, program, &[("p", p), ("q", q.clone())]);
        let by_host = stage.watch(&stage.kept(bob, "p")).unwrap();
        stage.idle();
        stage.go(bob, "fulfil p q; forget p", &[("q", q)]);
        stage.go(alice, "send p { say p2 }; send q { say q2 }", &[]);
        assert_eq!(stage.log(carol), <[&str; 0]>::default());
        stage.go(carol, "fulfil q me; forget q", &[]);
        // What waited in the one comes behind what waited in the other, each in its order.
        assert_eq!(stage.log(carol), ["q1", "p1", "p2", "q2"]);
        let mut log = stage.log(alice);
        log.sort();
        assert_eq!(log, [format!("p: {carol}"), format!("q: {carol}")]);
        assert_eq!(described(&settled(&by_host)), carol.to_string());
        for name in ["p", "q"] {
            assert_eq!(describe(&stage.kept(alice, name)), carol.to_string());
        }
        stage.check_known(0, 0);
        stage.end();
    });
}

#[test]
fn promises_forward_to_one_whose_decider_ends() {
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open(shape);
        let [alice, bob, carol] = stage.players();
        stage.go(carol, "promise q; keep q", &[]);
        let q = stage.kept(carol, "q");
        stage.go(bob, "promise p; keep p; fulfil p q", &[("q", q)]);
        let program = "watch p got; send p { say never } as r; watch r late";
        stage.go(alice, program, &[("p", stage.kept(bob, "p"))]);
        let _ = stage.play(carol, "exit", &[]);
        assert_eq!(
            stage.log(alice),
            ["got: no vat_ended", "late: no vat_ended"]
        );
        stage.go(bob, "known p; forget p", &[]);
        assert_eq!(stage.log(bob), ["p is no vat_ended"]);
        stage.check_known(0, 0);
        stage.end();
    });
}

#[test]
fn promises_cycle_of_three_deciders() {
    // Each of three vats makes its promise follow the next one's. Whoever closes the circle has
    // its own rejected, and the others with it, whatever waits in them.
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open(shape);
        let [alice, bob, carol, watcher] = stage.players();
        let vats = [alice, bob, carol];
        for vat in vats {
            stage.go(vat, "promise p; keep p", &[]);
        }
        let promises = vats.map(|vat| stage.kept(vat, "p"));
        for (at, p) in promises.iter().enumerate() {
            let program = "watch p got; send p { say never } as r; watch r late";
            stage.go(watcher, program, &[("p", p.clone())]);
            // The one who keeps what it follows can be sure that it is not gone by then.
            stage.go(vats[(at + 2) % 3], "keep next", &[("next", p.clone())]);
        }
        let decide = vats
            .iter()
            .map(|vat| stage.send(*vat, "fulfil p next", &[]));
        let tickets: Vec<_> = decide.collect();
        stage.idle();
        for ticket in tickets {
            assert_eq!(described(&settled(&ticket)), "'done");
        }
        let mut log = stage.log(watcher);
        log.sort();
        assert_eq!(log, [["got: no cycle"; 3], ["late: no cycle"; 3]].concat());
        for vat in vats {
            stage.go(vat, "known p; forget p next", &[]);
            assert_eq!(stage.log(vat), ["p is no cycle"]);
        }
        stage.check_known(0, 0);
        stage.end();
    });
}

#[test]
fn promises_cycle_through_data_is_none() {
    // Crossing resolutions: each comes to a list that holds the other. Nothing follows anything, so
    // both are fulfilled, in one crank, in two, or by two vats at once.
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open(shape);
        for how in ["one crank", "two cranks", "two vats"] {
            let [alice, bob, watcher] = stage.players();
            let other = if how == "two vats" { bob } else { alice };
            stage.go(alice, "promise p; keep p", &[]);
            stage.go(other, "promise q; keep q", &[]);
            let with = [("p", stage.kept(alice, "p")), ("q", stage.kept(other, "q"))];
            let program = "
                watch p p { watch it0 p-of-p { known it0 } }
                watch q q { watch it0 q-of-q }";
            stage.go(watcher, program, &with);
            match how {
                "one crank" => stage.go(alice, "fulfil p [q]; fulfil q [p]", &[]),
                _ => {
                    // Else the first may have come to its end and be gone when the host names it.
                    let held = stage.hold(&with[0].1).unwrap();
                    assert_eq!(stage.settled(&held), Ok(()));
                    let one = stage.send(alice, "fulfil p [q]", &with[1..]);
                    let two = stage.send(other, "fulfil q [p]", &with[..1]);
                    stage.idle();
                    assert_eq!(described(&settled(&one)), "'done");
                    assert_eq!(described(&settled(&two)), "'done");
                }
            }
            let log = stage.log(watcher);
            for begins in ["p: [", "q: [", "p-of-p: [", "q-of-q: ["] {
                let lines = log.iter().filter(|line| line.starts_with(begins));
                assert_eq!(lines.count(), 1, "{how}: {begins} in {log:?}");
            }
            // They hold each other from now on. Who keeps one has the list in its place, and in the
            // list the other stays a promise.
            stage.go(alice, "known p; watch p again", &[]);
            let log = stage.log(alice);
            assert!(log[0].starts_with("p is ["), "{how}: {log:?}");
            assert!(log[1].starts_with("again: ["), "{how}: {log:?}");
            for player in [alice, bob, watcher] {
                stage.go(player, "forget p q", &[]);
            }
        }
        stage.end();
    });
}

#[test]
fn promises_cycle_crossing_answers_of_two_vats() {
    // Two vats fulfil each other's promises with each other's promises, at the same time: whichever
    // comes second closes the circle, and both are rejected.
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open(shape);
        let [alice, bob] = stage.players();
        for round in 0..20 {
            stage.go(alice, "promise p; keep p", &[]);
            stage.go(bob, "promise p; keep p", &[]);
            // Who keeps what is sent to it later can be sure that it is not gone by then.
            let (of_alice, of_bob) = (stage.kept(alice, "p"), stage.kept(bob, "p"));
            stage.go(alice, "keep q", &[("q", of_bob)]);
            stage.go(bob, "keep q", &[("q", of_alice)]);
            let one = stage.send(alice, "watch p got; watch q got; fulfil p q", &[]);
            let two = stage.send(bob, "watch p got; watch q got; fulfil p q", &[]);
            stage.idle();
            assert_eq!(described(&settled(&one)), "'done");
            assert_eq!(described(&settled(&two)), "'done");
            for vat in [alice, bob] {
                let log = stage.log(vat);
                assert_eq!(log.len(), 2 * (round + 1), "each is told of both");
                assert!(log.iter().all(|line| line == "got: no cycle"), "{log:?}");
                stage.go(vat, "forget p q", &[]);
            }
            stage.check_known(0, 0);
        }
        stage.end();
    });
}

#[test]
fn promises_chain_of_lists_is_walked_to_its_end() {
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open(shape);
        let [alice, bob] = stage.players();
        stage.go(bob, "promise p0; keep p0", &[]);
        let walk = (0..8).rev().fold("known it0".to_owned(), |inner, _| {
            format!("watch it0 got {{ {inner} }}")
        });
        let p = [("it0", stage.kept(bob, "p0"))];
        stage.go(alice, &walk, &p);
        for round in 0..7 {
            let next = round + 1;
            let program = format!(
                "promise p{next}; keep p{next}; fulfil p{round} [p{next}]; forget p{round}"
            );
            stage.go(bob, &program, &[]);
        }
        stage.go(bob, "fulfil p7 [me]; forget p7", &[]);
        let log = stage.log(alice);
        assert_eq!(log[..7], ["got: [open]"; 7]);
        assert_eq!(log[7..], [format!("got: [{bob}]"), format!("it0 is {bob}")]);
        stage.check_known(0, 0);
        stage.end();
    });
}

#[test]
fn promises_result_an_err_abandons_and_a_rejected_answer_keeps() {
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open(shape);
        let [alice, bob] = stage.players();
        let with = [("bob", bob.into())];
        let act = "say acted; keep x; send x { say sent }";
        for (tag, end) in [
            ("err", "refuse nope"),
            ("rejected", "promise z; reject z nope; answer z"),
            ("kept", "promise z; reject z nope; keep z; answer z"),
        ] {
            let program = format!("send bob {{ {act}; {end} }} with [x=me] as p; watch p {tag}");
            stage.go(alice, &program, &with);
        }
        assert_eq!(stage.log(bob), ["acted", "acted"]);
        let mut log = stage.log(alice);
        log.sort();
        let heard = [
            "err: no nope",
            "kept: no nope",
            "rejected: no nope",
            "sent",
            "sent",
        ];
        assert_eq!(log, heard);
        // The host is told the same.
        assert_eq!(stage.play(bob, "say lost; refuse nope", &[]), "no nope");
        assert_eq!(
            stage.play(bob, "say acted; promise z; reject z nope; answer z", &[]),
            "no nope"
        );
        assert_eq!(stage.log(bob), ["acted", "acted", "acted"]);
        stage.go(bob, "forget x z", &[]);
        stage.check_known(0, 0);
        stage.end();
    });
}

#[test]
fn promises_result_of_a_message_that_is_refused_leaves_the_receiver_as_it_was() {
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open(shape);
        let [alice, bob] = stage.players();
        let program = "
            send bob { say before }
            ask bob unheard-of text as p; watch p got
            ask bob say after as q; watch q got";
        stage.go(alice, program, &[("bob", bob.into())]);
        assert_eq!(stage.log(alice), ["got: no no_such_method", "got: 'after"]);
        assert_eq!(stage.log(bob), ["before", "after"]);
        stage.end();
    });
}

#[test]
fn promises_result_of_a_late_send_to_one_that_came_to_its_end() {
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open(shape);
        let [alice, bob] = stage.players();
        for value in ["'text", "[me]", "z"] {
            stage.go(
                bob,
                &format!("promise p z; keep p; reject z nope; fulfil p {value}"),
                &[],
            );
            let p = [("p", stage.kept(bob, "p"))];
            stage.go(alice, "send p { say never } as r; watch r got", &p);
        }
        let log = stage.log(alice);
        let reasons = [
            "got: no not_callable",
            "got: no not_callable",
            "got: no nope",
        ];
        assert_eq!(log, reasons);
        stage.end();
    });
}

#[test]
fn promises_rows_a_thousand_kept_ones_leave_none() {
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open(shape);
        let [alice, bob] = stage.players();
        // Of a thousand of bob's answers alice keeps half in its state and half in rows; a hundred
        // that bob made for itself to decide are kept by both.
        let program = "
            repeat 500 { send bob { answer 'x# } as p; store r# p }
            repeat 500 { send bob { refuse x# } as p#; keep p# }";
        stage.go(alice, program, &[("bob", bob.into())]);
        stage.check_known(0, 0);
        let known = "load r499 q; known q; known p499; repeat 500 { forget p# }";
        stage.go(alice, known, &[]);
        let program = "
            repeat 100 { promise p; store d# p; fulfil p 'y#
            send alice { store d# p; keep p } with [p] }";
        stage.go(bob, program, &[("alice", alice.into())]);
        stage.go(alice, "load d7 q; known q; known p", &[]);
        let log = ["q is 'x499", "p499 is no x499", "q is 'y7", "p is 'y99"];
        assert_eq!(stage.log(alice), log);
        stage.check_known(0, 0);
        stage.end();
    });
}

#[test]
fn promises_rows_one_promise_in_a_thousand_rows() {
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open(shape);
        let [alice, bob] = stage.players();
        stage.go(bob, "promise p; keep p", &[]);
        stage.go(
            alice,
            "repeat 1000 { store r# p }; keep p",
            &[("p", stage.kept(bob, "p"))],
        );
        stage.check_known(1, 0);
        stage.go(bob, "object o; fulfil p o; forget p", &[]);
        stage.go(
            alice,
            "load r0 a; load r999 b; known a; same a b; same p a",
            &[],
        );
        assert_eq!(
            stage.log(alice),
            [
                format!("a is {bob}/1"),
                "same".to_owned(),
                "same".to_owned()
            ]
        );
        stage.check_known(0, 1);
        assert_eq!(stage.dropped(bob), <[u64; 0]>::default());
        stage.go(alice, "repeat 1000 { erase r# }; forget p", &[]);
        assert_eq!(stage.dropped(bob), [1]);
        stage.check_known(0, 0);
        stage.end();
    });
}

#[test]
fn promises_settled_news_meets_a_row_that_was_erased() {
    // The news of the end is on its way to a vat that lets go of the promise and takes it up again
    // elsewhere in the meantime.
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open(shape);
        let [alice, bob] = stage.players();
        for way in [
            "load row p; keep p; erase row",
            "load row p; erase row; store other p",
            "erase row",
            "load row p; send bob { keep q; say got } with [q=p]; erase row",
            "load row p; watch p got; erase row",
            "load row p; send p { say through }; erase row",
        ] {
            stage.go(bob, "promise p; keep p", &[]);
            stage.go(alice, "store row p", &[("p", stage.kept(bob, "p"))]);
            let gate = Gate::closed();
            let at_gate = std::sync::Arc::clone(&gate);
            stage.yard().on("gate", move || at_gate.pass());
            let held = stage.send(alice, &format!("gate gate; {way}"), &[("bob", bob.into())]);
            let decided = stage.send(bob, "fulfil p me; forget p", &[]);
            // With one worker nothing else runs while the gate is closed.
            gate.open();
            stage.idle();
            assert_eq!(described(&settled(&held)), "'done", "{way}");
            assert_eq!(described(&settled(&decided)), "'done", "{way}");
            stage.go(alice, "forget p; erase row; erase other", &[]);
            stage.go(bob, "forget q", &[]);
            stage.check_known(0, 0);
        }
        assert_eq!(stage.log(alice), [format!("got: {bob}")]);
        let mut log = stage.log(bob);
        log.sort();
        assert_eq!(log, ["got", "through"]);
        stage.end();
    });
}

#[test]
fn promises_settled_is_still_named_by_a_vat_that_has_not_heard() {
    // Bob decides while a crank of alice runs that was begun before. What it does with the promise
    // gets its place behind the decision, and is as good as if it had come first.
    for workers in [2, 4] {
        let shape = crankcase_tests::Shape {
            order: crankcase::CommitOrder::Completion,
            workers,
        };
        let stage = Stage::open(shape);
        let [alice, bob, carol] = stage.players();
        stage.go(bob, "promise p; keep p", &[]);
        stage.go(alice, "keep p", &[("p", stage.kept(bob, "p"))]);
        let gate = Gate::closed();
        let at_gate = std::sync::Arc::clone(&gate);
        stage.yard().on("gate", move || at_gate.pass());
        let program = "
            gate gate; known p; send p { say through }; watch p got
            store row p; keep q; send carol { keep p; watch p got } with [p]; answer p";
        let with = [("carol", carol.into()), ("q", stage.kept(bob, "p"))];
        let held = stage.send(alice, program, &with);
        gate.wait_for_arrivals(1);
        assert_eq!(
            described(&stage.outcome(bob, "fulfil p me; forget p", &[])),
            "'done"
        );
        gate.open();
        stage.idle();
        assert_eq!(described(&settled(&held)), bob.to_string());
        let got = format!("got: {bob}");
        assert_eq!(stage.log(alice), ["p is open".to_owned(), got.clone()]);
        assert_eq!(stage.log(bob), ["through"]);
        assert_eq!(stage.log(carol), [got]);
        stage.go(alice, "load row r; known r; known q", &[]);
        assert_eq!(
            stage.log(alice)[2..],
            [format!("r is {bob}"), format!("q is {bob}")]
        );
        stage.check_known(0, 0);
        stage.end();
    }
}

#[test]
fn promises_depth_wrapping_stops_nobody() {
    // Each round wraps what the round before left. Beyond a depth, what is kept stays a promise.
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open(shape);
        let [alice, bob] = stage.players();
        stage.go(alice, "promise p; fulfil p 'text; keep p", &[]);
        for _ in 0..80 {
            stage.go(alice, "promise q; fulfil q [p]; keep q", &[]);
            stage.go(alice, "send me { keep p } with [p=q]", &[]);
        }
        let program = "send bob { keep p; watch p got { watch it0 inner } } with [p]; say fine";
        stage.go(alice, program, &[("bob", bob.into())]);
        stage.go(bob, "say fine", &[]);
        assert_eq!(stage.log(alice), ["fine"]);
        assert_eq!(stage.log(bob).len(), 3, "both are told");
        stage.go(alice, "forget p q", &[]);
        stage.go(bob, "forget p", &[]);
        stage.check_known(0, 0);
        stage.end();
    });
}

#[test]
fn promises_illegal_decisions_doom_the_crank() {
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open(shape);
        let [alice, bob] = stage.players();
        stage.go(
            bob,
            "promise p q; keep p q; send alice { keep p } with [p]",
            &[("alice", alice.into())],
        );
        let programs = [
            (alice, "fulfil p 'mine"),
            (alice, "reject p mine"),
            (bob, "fulfil p 'one; fulfil p 'two"),
            (bob, "fulfil p 'one; reject p two"),
            (bob, "fulfil me 'object"),
            (bob, "send me { answer 'text } as r; fulfil r 'own-result"),
            (bob, "watch p got as r; fulfil r 'own-watch"),
        ];
        for (vat, program) in programs {
            let outcome = stage.outcome(vat, &format!("say lost; {program}"), &[]);
            let why = outcome.unwrap_err();
            assert_eq!(
                (why.cause(), why.code()),
                (Cause::Illegal, "not_decider"),
                "{program}"
            );
        }
        stage.go(bob, "fulfil p 'first", &[]);
        let why = stage.outcome(bob, "fulfil p 'again", &[]).unwrap_err();
        assert_eq!(why.code(), "not_decider");
        assert_eq!(describe(&stage.kept(alice, "p")), "'first");
        assert_eq!(stage.log(bob), <[&str; 0]>::default());
        stage.go(bob, "fulfil q 'second; forget p q", &[]);
        stage.check_known(0, 0);
        stage.end();
    });
}

#[test]
fn promises_depth_a_long_chain_of_lists_is_kept_by_its_head() {
    // A stream: each value holds the promise of the next. Who keeps the head keeps all of it.
    in_each_order_with_one_and_four_workers(|shape| {
        let stage = Stage::open(shape);
        let [alice, bob] = stage.players();
        stage.go(bob, "promise p; keep p", &[]);
        stage.go(alice, "keep p", &[("p", stage.kept(bob, "p"))]);
        for _ in 0..100 {
            stage.go(bob, "promise q; fulfil p [q]; keep q; forget p", &[]);
            stage.go(bob, "send me { keep p; forget q } with [p=q]", &[]);
        }
        stage.go(alice, "say fine", &[]);
        stage.go(bob, "fulfil p 'end; say fine; forget p", &[]);
        stage.go(alice, "say fine; forget p", &[]);
        stage.check_known(0, 0);
        stage.end();
    });
}

#[test]
fn promises_depth_what_branches_does_not_outgrow_who_keeps_it() {
    // Each comes to a list that holds the one before twice. Written out, the last is a list of a
    // million; a vat that keeps it must not become as large as that.
    in_each_order_with_one_and_four_workers(|shape| {
        let mut limits = Limits::default();
        limits.state_bytes = 10_000;
        let stage = Stage::open_with(shape, |builder| builder.limits(limits));
        let [alice, bob] = stage.players();
        stage.go(
            bob,
            "promise p q; keep p q; send alice { keep p } with [p=q]",
            &[("alice", alice.into())],
        );
        for _ in 0..20 {
            stage.go(bob, "promise r; keep r; fulfil q [r r]", &[]);
            stage.go(bob, "send me { keep q; forget r } with [q=r]", &[]);
        }
        stage.go(bob, "fulfil q 'end; forget p q", &[]);
        stage.go(alice, "say fine; forget p", &[]);
        stage.check_known(0, 0);
        stage.end();
    });
}

#[test]
fn promises_limits_what_does_not_fit_stays_a_promise() {
    in_each_order_with_one_and_four_workers(|shape| {
        let mut limits = Limits::default();
        (limits.state_bytes, limits.value_bytes) = (10_000, 5_000);
        let stage = Stage::open_with(shape, |builder| builder.limits(limits));
        let [alice, bob, carol] = stage.players();
        stage.go(bob, "promise p q; keep p q", &[]);
        let both = [("p", stage.kept(bob, "p")), ("q", stage.kept(bob, "q"))];
        stage.go(alice, "keep p q", &both);
        stage.go(carol, "store small p; store large q", &both);
        let (small, large) = ("1".repeat(1_000), "2".repeat(9_500));
        for (name, text) in [("p", &small), ("q", &large)] {
            stage.go(bob, &format!("fulfil {name} '{text}; forget {name}"), &[]);
        }
        let stage = stage.reopen_with(|builder| builder.limits(limits));
        // Whoever keeps them goes on.
        stage.go(carol, "load small p; load large q; keep p q", &[]);
        stage.go(alice, "say fine", &[]);
        for player in [alice, carol] {
            let (p, q) = (stage.kept(player, "p"), stage.kept(player, "q"));
            assert_eq!(describe(&p), format!("'{small}"));
            assert_eq!(describe(&q), "open");
            let heard = stage.watch(&q).unwrap();
            stage.idle();
            assert_eq!(described(&settled(&heard)), format!("'{large}"));
        }
        // What would be too much is the fault of who asks for it.
        let p = stage.kept(alice, "p");
        let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
        let copies = names.map(|name| (name, p.clone()));
        let refused = stage.outcome(alice, &format!("keep {}", names.join(" ")), &copies);
        let refused = refused.unwrap_err();
        assert_eq!(
            (refused.cause(), refused.code()),
            (Cause::Limit, "state_bytes")
        );
        stage.go(alice, "forget p q", &[]);
        stage.go(carol, "forget p q; erase small; erase large", &[]);
        stage.check_known(0, 0);
        // Not run again: that would be without limits.
        stage.close();
    });
}

#[test]
fn promises_limits_what_goes_along_counts_as_output() {
    in_each_order_with_one_and_four_workers(|shape| {
        let mut limits = Limits::default();
        limits.output_bytes = 10_000;
        let stage = Stage::open_with(shape, |builder| builder.limits(limits));
        let [alice, bob] = stage.players();
        stage.go(bob, "promise p; keep p", &[]);
        stage.go(alice, "keep p", &[("p", stage.kept(bob, "p"))]);
        let text = "1".repeat(3_000);
        stage.go(bob, &format!("fulfil p '{text}; forget p"), &[]);
        let with = [("bob", bob.into())];
        for program in [
            "answer [p p p p]",
            "send bob { say never } with [p a=p b=p c=p]",
        ] {
            let refused = stage.outcome(alice, program, &with).unwrap_err();
            assert_eq!(
                (refused.cause(), refused.code()),
                (Cause::Limit, "output_bytes"),
                "{program}"
            );
        }
        stage.go(alice, "send bob { say fine } with [p a=p]", &with);
        assert_eq!(stage.log(bob), ["fine"]);
        // Not run again: that would be without limits.
        stage.close();
    });
}
