//! Patterns of messages and promises, from a message with nothing in it to promises that cross.
//!
//! Their names are those of the message patterns of SwingSet, the kernel of the Agoric chain, which
//! pin the same situations for vats there. Each is played with everybody in one vat, with alice
//! apart from the others, and with each in a vat of their own; in both orders; with one and with
//! four workers. In each of them references are counted again from nothing after every record, every
//! crank commits that is not meant to be abandoned, and at the end, when all players have forgotten
//! everything, nothing is left.

use crankcase_tests::Pattern;
use crankcase_tests::pattern::players::{
    Part, answer, ask, fulfil, object, on, promise, refuse, reject, remember, say, send, watch,
    watch_as,
};

#[test]
fn a10_a_message_with_nothing_in_it() {
    Pattern::new([
        on(
            "start",
            "",
            [ask("r", "bob", "b10", ""), watch("r", "done")],
        ),
        on("done", "", [say("done")]),
    ])
    .bob([on("b10", "", [say("called")])])
    .says(&["bob: called", "alice: done"]);
}

#[test]
fn a11_a_message_with_text() {
    Pattern::new([
        on(
            "start",
            "",
            [ask("r", "bob", "b11", "'data'"), watch("r", "done")],
        ),
        on("done", "", [say("done")]),
    ])
    .bob([on("b11", "d", [say("got {d}")])])
    .says(&["bob: got data", "alice: done"]);
}

#[test]
fn a12_a_message_with_a_record() {
    Pattern::new([
        on(
            "start",
            "",
            [ask("r", "bob", "b12", "{key: 'value'}"), watch("r", "done")],
        ),
        on("done", "", [say("done")]),
    ])
    .bob([on("b12", "d", [say("got {d.key}")])])
    .says(&["bob: got value", "alice: done"]);
}

#[test]
fn a20_an_object_of_the_senders_is_the_same_each_time() {
    Pattern::new([
        on(
            "start",
            "",
            [ask("r", "bob", "b20_1", "amy"), watch("r", "again")],
        ),
        on(
            "again",
            "",
            [ask("r", "bob", "b20_2", "amy"), watch("r", "done")],
        ),
        on("done", "", [say("done")]),
    ])
    .bob([
        on("b20_1", "x", [say("got {x}")]),
        on("b20_2", "y", [say("match {x == y}")]),
    ])
    .says(&["bob: got an object", "bob: match true", "alice: done"]);
}

#[test]
fn a21_an_object_in_two_different_records_is_the_same() {
    Pattern::new([
        on(
            "start",
            "",
            [ask("r", "bob", "b21_1", "{one: amy}"), watch("r", "again")],
        ),
        on(
            "again",
            "",
            [ask("r", "bob", "b21_2", "{two: amy}"), watch("r", "done")],
        ),
        on("done", "", [say("done")]),
    ])
    .bob([
        on("b21_1", "x", [say("got {x.one}")]),
        on("b21_2", "y", [say("match {x.one == y.two}")]),
    ])
    .says(&["bob: got an object", "bob: match true", "alice: done"]);
}

#[test]
fn a30_the_receiver_is_given_itself() {
    Pattern::new([
        on(
            "start",
            "",
            [ask("r", "bob", "b30", "bob"), watch("r", "again")],
        ),
        on(
            "again",
            "",
            [ask("r", "bob", "b30", "bob"), watch("r", "done")],
        ),
        on("done", "", [say("done")]),
    ])
    .bob([on("b30", "x", [say("got {x}, match {x == bob}")])])
    .says(&[
        "bob: got an object, match true",
        "bob: got an object, match true",
        "alice: done",
    ]);
}

#[test]
fn a31_the_receiver_is_given_another_object_of_its_own() {
    Pattern::new([
        on(
            "start",
            "",
            [ask("r", "bob", "b31", "bert"), watch("r", "again")],
        ),
        on(
            "again",
            "",
            [ask("r", "bob", "b31", "bert"), watch("r", "done")],
        ),
        on("done", "", [say("done")]),
    ])
    .bob([on("b31", "x", [say("got {x}, match {x == bert}")])])
    .says(&[
        "bob: got an object, match true",
        "bob: got an object, match true",
        "alice: done",
    ]);
}

#[test]
fn a40_the_receiver_answers_with_itself() {
    Pattern::new([
        on(
            "start",
            "",
            [ask("r", "bob", "b40", ""), watch("r", "again")],
        ),
        on(
            "again",
            "r",
            [ask("s", "bob", "b40", ""), watch("s", "done")],
        ),
        on("done", "s", [say("match {r == bob} {r == s}")]),
    ])
    .bob([on("b40", "", [answer("bob")])])
    .says(&["alice: match true true"]);
}

#[test]
fn a41_the_receiver_answers_with_another_object_that_is_known() {
    Pattern::new([
        on(
            "start",
            "",
            [ask("r", "bob", "b41", ""), watch("r", "again")],
        ),
        on(
            "again",
            "r",
            [ask("s", "bob", "b41", ""), watch("s", "done")],
        ),
        on("done", "s", [say("match {r == bert} {r == s}")]),
    ])
    .bob([on("b41", "", [answer("bert")])])
    .says(&["alice: match true true"]);
}

#[test]
fn a42_the_receiver_answers_with_an_object_that_is_new() {
    Pattern::new([
        on(
            "start",
            "",
            [ask("r", "bob", "b42", ""), watch("r", "again")],
        ),
        on(
            "again",
            "r",
            [ask("s", "bob", "b42", ""), watch("s", "done")],
        ),
        on("done", "s", [say("got {r}, match {r == s}")]),
    ])
    .bob([on("b42", "", [answer("bill")])])
    .says(&["alice: got an object, match true"]);
}

/// There are two ways to say no: an answer that is a rejected promise keeps what the crank did, and
/// a crank that is abandoned keeps nothing of it.
#[test]
fn a43_the_receiver_says_no() {
    Pattern::new([
        on(
            "start",
            "",
            [
                ask("r", "bob", "b43_answers", ""),
                watch("r", "r"),
                ask("s", "bob", "b43_refuses", ""),
                watch("s", "s"),
            ],
        ),
        on("r_rejected", "why", [say("rejected with {why}")]),
        on("s_rejected", "why", [say("rejected with {why}")]),
    ])
    .bob([
        on(
            "b43_answers",
            "",
            [
                say("answers"),
                promise("q"),
                reject("q", "nope"),
                answer("q"),
            ],
        ),
        on("b43_refuses", "", [say("refuses"), refuse("never")]),
    ])
    .refusals(1)
    .says(&[
        "bob: answers",
        "alice: rejected with nope",
        "alice: rejected with never",
    ]);
}

#[test]
fn a44_a_rejected_promise_inside_of_an_answer() {
    Pattern::new([
        on("start", "", [ask("r", "bob", "b44", ""), watch("r", "got")]),
        on("got", "r", [say("got {r}"), watch("r.0", "inside")]),
        on("inside_rejected", "why", [say("rejected with {why}")]),
    ])
    .bob([on(
        "b44",
        "",
        [promise("q"), reject("q", "nope"), answer("[q]")],
    )])
    .says(&["alice: got a list of 1", "alice: rejected with nope"]);
}

#[test]
fn a50_a_promise_of_text_inside_of_an_answer() {
    Pattern::new([
        on("start", "", [ask("r", "bob", "b50", ""), watch("r", "got")]),
        on("got", "r", [watch("r.promise", "inside")]),
        on("inside", "x", [say("got {x}")]),
    ])
    .bob([on(
        "b50",
        "",
        [promise("q"), fulfil("q", "'data'"), answer("{promise: q}")],
    )])
    .says(&["alice: got data"]);
}

#[test]
fn a51_a_promise_of_a_known_object_inside_of_an_answer() {
    Pattern::new([
        on("start", "", [ask("r", "bob", "b51", ""), watch("r", "got")]),
        on("got", "r", [watch("r.promise", "inside")]),
        on(
            "inside",
            "x",
            [ask("y", "bob", "b51_2", ""), watch("y", "done")],
        ),
        on("done", "y", [say("got {x}, match {x == y} {x == bert}")]),
    ])
    .bob([
        on(
            "b51",
            "",
            [promise("q"), fulfil("q", "bert"), answer("{promise: q}")],
        ),
        on("b51_2", "", [answer("bert")]),
    ])
    .says(&["alice: got an object, match true true"]);
}

#[test]
fn a52_a_promise_of_a_new_object_inside_of_an_answer() {
    Pattern::new([
        on("start", "", [ask("r", "bob", "b52", ""), watch("r", "got")]),
        on("got", "r", [watch("r.promise", "inside")]),
        on(
            "inside",
            "x",
            [ask("y", "bob", "b52_2", ""), watch("y", "done")],
        ),
        on("done", "y", [say("got {x}, match {x == y}")]),
    ])
    .bob([
        on(
            "b52",
            "",
            [promise("q"), fulfil("q", "bill"), answer("{promise: q}")],
        ),
        on("b52_2", "", [answer("bill")]),
    ])
    .says(&["alice: got an object, match true"]);
}

#[test]
fn a53_an_object_comes_home_in_a_promise_inside_of_an_answer() {
    Pattern::new([
        on(
            "start",
            "",
            [ask("r", "bob", "b53", "amy"), watch("r", "got")],
        ),
        on("got", "r", [watch("r.promise", "inside")]),
        on("inside", "x", [say("match {x == amy}")]),
    ])
    .bob([on(
        "b53",
        "x",
        [promise("q"), fulfil("q", "x"), answer("{promise: q}")],
    )])
    .says(&["alice: match true"]);
}

#[test]
fn a60_a_promise_that_is_resolved_after_it_was_sent() {
    Pattern::new([
        on(
            "start",
            "",
            [
                promise("p1"),
                ask("p2", "bob", "b60", "{promise: p1}"),
                fulfil("p1", "amy"),
                watch("p2", "done"),
            ],
        ),
        on("done", "x", [say("match {x == amy}")]),
    ])
    .bob([
        on(
            "b60",
            "r",
            [watch_as("a", "r.promise", "came"), answer("a")],
        ),
        on("came", "v", [answer("v")]),
    ])
    .says(&["alice: match true"]);
}

#[test]
fn a61_a_promise_that_is_resolved_before_it_is_sent() {
    Pattern::new([
        on(
            "start",
            "",
            [
                promise("p1"),
                fulfil("p1", "amy"),
                ask("p2", "bob", "b61", "{promise: p1}"),
                watch("p2", "done"),
            ],
        ),
        on("done", "x", [say("match {x == amy}")]),
    ])
    .bob([
        on(
            "b61",
            "r",
            [watch_as("a", "r.promise", "came"), answer("a")],
        ),
        on("came", "v", [answer("v")]),
    ])
    .says(&["alice: match true"]);
}

#[test]
fn a62_a_promise_of_the_receivers_that_it_fulfils_later() {
    Pattern::new([
        on(
            "start",
            "",
            [ask("r", "bob", "b62_1", ""), watch("r", "got")],
        ),
        on(
            "got",
            "r",
            [send("bob", "b62_2", ""), watch("r.promise", "inside")],
        ),
        on("inside", "x", [say("got {x}")]),
    ])
    .bob([
        on("b62_1", "", [promise("q"), answer("{promise: q}")]),
        on("b62_2", "", [fulfil("q", "bill")]),
    ])
    .says(&["alice: got an object"]);
}

#[test]
fn a63_an_object_comes_home_in_a_promise_that_is_fulfilled_later() {
    Pattern::new([
        on(
            "start",
            "",
            [ask("r", "bob", "b63_1", "amy"), watch("r", "got")],
        ),
        on(
            "got",
            "r",
            [send("bob", "b63_2", ""), watch("r.promise", "inside")],
        ),
        on("inside", "x", [say("match {x == amy}")]),
    ])
    .bob([
        on("b63_1", "x", [promise("q"), answer("{promise: q}")]),
        on("b63_2", "", [fulfil("q", "x")]),
    ])
    .says(&["alice: match true"]);
}

#[test]
fn a64_promises_go_there_and_back() {
    Pattern::new([
        on(
            "start",
            "",
            [
                promise("y"),
                ask("x", "bob", "b64_one", ""),
                ask("r", "bob", "b64_two", "x, y"),
                watch("r", "got"),
            ],
        ),
        on(
            "got",
            "r",
            [
                remember("x2", "r.0"),
                remember("y2", "r.1"),
                send("bob", "b64_three", "amy"),
                watch("x", "x"),
            ],
        ),
        on("x", "v", [watch("x2", "x2")]),
        on(
            "x2",
            "v2",
            [
                say("{amy == v} {v == v2}"),
                fulfil("y", "alice"),
                watch("y", "y"),
            ],
        ),
        on("y", "w", [watch("y2", "y2")]),
        on("y2", "w2", [say("{alice == w} {w == w2}")]),
    ])
    .bob([
        on("b64_one", "", [promise("q"), answer("q")]),
        on("b64_two", "a, b", [answer("[a, b]")]),
        on("b64_three", "x", [fulfil("q", "x")]),
    ])
    .over_restarts()
    .says(&["alice: true true", "alice: true true"]);
}

#[test]
fn a65_a_promise_of_the_receivers_that_it_rejects_later() {
    Pattern::new([
        on(
            "start",
            "",
            [ask("r", "bob", "b65_1", ""), watch("r", "got")],
        ),
        on(
            "got",
            "r",
            [send("bob", "b65_2", ""), watch("r.promise", "inside")],
        ),
        on("inside_rejected", "why", [say("rejected with {why}")]),
    ])
    .bob([
        on("b65_1", "", [promise("q"), answer("{promise: q}")]),
        on("b65_2", "", [reject("q", "nope")]),
    ])
    .says(&["alice: rejected with nope"]);
}

#[test]
fn a66_the_receiver_watches_the_outcome_of_a_message_that_it_will_get() {
    Pattern::new([
        on(
            "start",
            "",
            [
                ask("p1", "bob", "b66_wait", ""),
                ask("p2", "p1", "two", ""),
                ask("p3", "bob", "b66_watch", "p2"),
                ask("r", "bob", "b66_flush", ""),
                watch("r", "flushed"),
            ],
        ),
        on(
            "flushed",
            "",
            [send("bob", "b66_resolve", ""), watch("p1", "p1")],
        ),
        on("p1", "", [watch("p2", "p2")]),
        on("p2", "", [watch("p3", "p3")]),
        on("p3", "", [say("done")]),
    ])
    .bob([
        on("b66_wait", "", [promise("q"), answer("q")]),
        on("b66_watch", "p", [say("one"), watch("p", "resolved")]),
        on("resolved", "res", [say("p2 is {res}")]),
        on("b66_flush", "", []),
        on(
            "b66_resolve",
            "",
            [
                object("t", [on("two", "", [say("two"), answer("'res'")])]),
                fulfil("q", "t"),
            ],
        ),
    ])
    .over_restarts()
    .says_with_causes(
        &["bob: one", "bob: two", "bob: p2 is res", "alice: done"],
        &[("bob: two", "alice: done")],
    );
}

/// What waits in a promise waits in one line, messages and watches alike, in the order in which they
/// came; there, watches are told first. So `pipe2`, which was sent before `p1` was watched, comes
/// before alice is told of `p1`.
#[test]
fn a70_messages_to_the_outcomes_of_messages() {
    Pattern::new([
        on(
            "start",
            "",
            [
                ask("p1", "bob", "pipe1", ""),
                ask("p2", "p1", "pipe2", ""),
                ask("p3", "p2", "pipe3", ""),
                watch("p1", "p1"),
                watch("p2", "p2"),
                watch("p3", "p3"),
            ],
        ),
        on("p1", "", [say("p1")]),
        on("p2", "", [say("p2")]),
        on("p3", "", [say("p3")]),
    ])
    .bob([pipe1()])
    .over_restarts()
    .says_with_causes(&PIPES, &PIPE_CAUSES);
}

/// Answers with an object that answers with an object that answers with nothing.
fn pipe1() -> Part {
    let pipe3 = on("pipe3", "", [say("pipe3")]);
    let pipe2 = [say("pipe2"), object("o3", [pipe3]), answer("o3")];
    let pipe2 = on("pipe2", "", pipe2);
    on(
        "pipe1",
        "",
        [say("pipe1"), object("o2", [pipe2]), answer("o2")],
    )
}

const PIPES: [&str; 6] = [
    "bob: pipe1",
    "bob: pipe2",
    "alice: p1",
    "bob: pipe3",
    "alice: p2",
    "alice: p3",
];

const PIPE_CAUSES: [(&str, &str); 3] = [
    ("bob: pipe1", "alice: p1"),
    ("bob: pipe2", "alice: p2"),
    ("bob: pipe3", "alice: p3"),
];

/// When each promise is watched before the next message is sent to it, who watches is told first.
#[test]
fn a70_messages_to_outcomes_that_were_watched_before() {
    Pattern::new([
        on(
            "start",
            "",
            [
                ask("p1", "bob", "pipe1", ""),
                watch("p1", "p1"),
                ask("p2", "p1", "pipe2", ""),
                watch("p2", "p2"),
                ask("p3", "p2", "pipe3", ""),
                watch("p3", "p3"),
            ],
        ),
        on("p1", "", [say("p1")]),
        on("p2", "", [say("p2")]),
        on("p3", "", [say("p3")]),
    ])
    .bob([pipe1()])
    .says_with_causes(
        &[
            "bob: pipe1",
            "alice: p1",
            "bob: pipe2",
            "alice: p2",
            "bob: pipe3",
            "alice: p3",
        ],
        &PIPE_CAUSES,
    );
}

#[test]
fn a71_messages_to_outcomes_behind_a_promise_that_is_resolved_behind_them() {
    Pattern::new([
        on(
            "start",
            "",
            [
                ask("px", "bob", "b71_get", ""),
                ask("p1", "px", "pipe1", ""),
                ask("p2", "p1", "pipe2", ""),
                ask("p3", "p2", "pipe3", ""),
                watch("p1", "p1"),
                watch("p2", "p2"),
                watch("p3", "p3"),
                send("bob", "b71_resolve", ""),
            ],
        ),
        on("p1", "", [say("p1")]),
        on("p2", "", [say("p2")]),
        on("p3", "", [say("p3")]),
    ])
    .bob([
        on("b71_get", "", [promise("q"), answer("q")]),
        on(
            "b71_resolve",
            "",
            [object("x", [pipe1()]), fulfil("q", "x")],
        ),
    ])
    .over_restarts()
    .says_with_causes(&PIPES, &PIPE_CAUSES);
}

#[test]
fn a72_messages_to_outcomes_that_have_long_waited_when_the_promise_is_resolved() {
    Pattern::new([
        on(
            "start",
            "",
            [
                ask("px", "bob", "b72_get", ""),
                ask("p1", "px", "pipe1", ""),
                ask("p2", "p1", "pipe2", ""),
                ask("p3", "p2", "pipe3", ""),
                watch("p1", "p1"),
                watch("p2", "p2"),
                watch("p3", "p3"),
                ask("r", "bob", "b72_wait", ""),
                watch("r", "waited"),
            ],
        ),
        on("waited", "", [send("bob", "b72_resolve", "")]),
        on("p1", "", [say("p1")]),
        on("p2", "", [say("p2")]),
        on("p3", "", [say("p3")]),
    ])
    .bob([
        on("b72_get", "", [promise("q"), answer("q")]),
        on("b72_wait", "", []),
        on(
            "b72_resolve",
            "",
            [object("x", [pipe1()]), fulfil("q", "x")],
        ),
    ])
    .over_restarts()
    .says_with_causes(&PIPES, &PIPE_CAUSES);
}

#[test]
fn a73_a_message_crosses_the_answer_that_says_where_it_goes() {
    Pattern::new([on(
        "start",
        "",
        [ask("p", "bob", "b73_one", ""), send("p", "two", "")],
    )])
    .bob([on(
        "b73_one",
        "",
        [object("o", [on("two", "", [say("two")])]), answer("o")],
    )])
    .says(&["bob: two"]);
}

#[test]
fn a80_a_message_to_a_promise_in_an_answer_that_comes_to_the_sender() {
    Pattern::new([
        on(
            "start",
            "",
            [ask("r", "bob", "b80_one", ""), watch("r", "got")],
        ),
        on(
            "got",
            "r",
            [
                send("bob", "b80_two", "alice"),
                send("r.0", "a80_three", "'calling alice'"),
            ],
        ),
        on("a80_three", "text", [say("three, {text}")]),
    ])
    .bob([
        on("b80_one", "", [promise("q"), answer("[q]")]),
        on("b80_two", "x", [fulfil("q", "x")]),
    ])
    .says(&["alice: three, calling alice"]);
}

#[test]
fn a81_a_promise_in_an_answer_is_sent_on_when_it_has_come_to_the_sender() {
    Pattern::new([
        on(
            "start",
            "",
            [ask("r", "bob", "b81_one", ""), watch("r", "got")],
        ),
        on(
            "got",
            "r",
            [
                send("bob", "b81_two", "alice"),
                send("bob", "b81_three", "alice, r.0"),
            ],
        ),
        on("a81_four", "", [say("four")]),
    ])
    .bob([
        on("b81_one", "", [promise("q"), answer("[q]")]),
        on("b81_two", "x", [fulfil("q", "x")]),
        on("b81_three", "a, p", [watch("p", "came")]),
        on("came", "v", [say("{v == a}"), send("p", "a81_four", "")]),
    ])
    .says(&["bob: true", "alice: four"]);
}

#[test]
fn a82_a_message_to_a_promise_in_an_answer_that_comes_to_an_object_of_the_receivers() {
    Pattern::new([
        on(
            "start",
            "",
            [ask("r", "bob", "b82_one", ""), watch("r", "got")],
        ),
        on(
            "got",
            "r",
            [send("bob", "b82_two", ""), send("r.0", "log", "'three'")],
        ),
    ])
    .bob([
        on("b82_one", "", [promise("q"), answer("[q]")]),
        on("b82_two", "", [fulfil("q", "bill")]),
    ])
    .says(&["bill: three"]);
}

#[test]
fn a83_a_promise_in_an_answer_is_sent_back_when_it_has_come_to_an_object_there() {
    Pattern::new([
        on(
            "start",
            "",
            [ask("r", "bob", "b83_one", ""), watch("r", "got")],
        ),
        on(
            "got",
            "r",
            [send("bob", "b83_two", ""), send("bob", "b83_three", "r.0")],
        ),
    ])
    .bob([
        on("b83_one", "", [promise("q"), answer("[q]")]),
        on("b83_two", "", [fulfil("q", "bill")]),
        on("b83_three", "p", [watch("p", "came")]),
        on(
            "came",
            "v",
            [say("{v == bill}"), send("p", "log", "'three'")],
        ),
    ])
    .says(&["bob: true", "bill: three"]);
}

#[test]
fn a84_a_message_to_an_outcome_that_comes_to_the_sender() {
    Pattern::new([
        on(
            "start",
            "",
            [
                ask("p", "bob", "b84_one", ""),
                send("bob", "b84_two", "alice"),
                send("p", "a84_three", "'calling alice'"),
            ],
        ),
        on("a84_three", "text", [say("three, {text}")]),
    ])
    .bob([
        on("b84_one", "", [promise("q"), answer("q")]),
        on("b84_two", "x", [fulfil("q", "x")]),
    ])
    .says(&["alice: three, calling alice"]);
}

#[test]
fn a85_an_outcome_is_sent_on_when_it_has_come_to_the_sender() {
    Pattern::new([
        on(
            "start",
            "",
            [
                ask("p", "bob", "b85_one", ""),
                send("bob", "b85_two", "alice"),
                send("bob", "b85_three", "alice, p"),
            ],
        ),
        on("a85_four", "", [say("four")]),
    ])
    .bob([
        on("b85_one", "", [promise("q"), answer("q")]),
        on("b85_two", "x", [fulfil("q", "x")]),
        on("b85_three", "a, p", [watch("p", "came")]),
        on("came", "v", [say("{v == a}"), send("p", "a85_four", "")]),
    ])
    .says(&["bob: true", "alice: four"]);
}

#[test]
fn a86_a_message_to_an_outcome_that_comes_to_an_object_of_the_receivers() {
    Pattern::new([on(
        "start",
        "",
        [
            ask("p", "bob", "b86_one", ""),
            send("bob", "b86_two", ""),
            send("p", "log", "'three'"),
        ],
    )])
    .bob([
        on("b86_one", "", [promise("q"), answer("q")]),
        on("b86_two", "", [fulfil("q", "bill")]),
    ])
    .says(&["bill: three"]);
}

#[test]
fn a87_an_outcome_is_sent_back_when_it_has_come_to_an_object_there() {
    Pattern::new([on(
        "start",
        "",
        [
            ask("p", "bob", "b87_one", ""),
            send("bob", "b87_two", ""),
            send("bob", "b87_three", "p"),
        ],
    )])
    .bob([
        on("b87_one", "", [promise("q"), answer("q")]),
        on("b87_two", "", [fulfil("q", "bill")]),
        on("b87_three", "p", [watch("p", "came")]),
        on(
            "came",
            "v",
            [say("{v == bill}"), send("p", "log", "'three'")],
        ),
    ])
    .says(&["bob: true", "bill: three"]);
}

#[test]
fn a90_a_third_is_given_an_object_of_the_seconds() {
    Pattern::new([
        on(
            "start",
            "",
            [ask("r", "carol", "c90", "bert"), watch("r", "done")],
        ),
        on("done", "", [say("done")]),
    ])
    .carol([on(
        "c90",
        "x",
        [say("got {x}"), send("x", "log", "'hi bert'")],
    )])
    .says_with_causes(
        &["carol: got an object", "bert: hi bert", "alice: done"],
        &[
            ("carol: got an object", "bert: hi bert"),
            ("carol: got an object", "alice: done"),
        ],
    );
}

#[test]
fn a91_a_third_is_given_a_promise_that_comes_to_an_object_of_the_seconds() {
    Pattern::new([
        on(
            "start",
            "",
            [
                promise("p"),
                ask("r", "carol", "c91", "p"),
                watch("r", "sent"),
            ],
        ),
        on("sent", "", [say("fulfils"), fulfil("p", "bert")]),
    ])
    .carol([on(
        "c91",
        "p",
        [say("got {p}"), send("p", "log", "'hi bert'")],
    )])
    .over_restarts()
    .says(&["carol: got a promise", "alice: fulfils", "bert: hi bert"]);
}

/// A promise that a vat keeps becomes what it came to in the vat's hands, so alice compares while
/// she is told, before that. Promises that hold each other are held for ever: nothing looks for
/// circles.
#[test]
fn a100_two_promises_come_to_each_other() {
    Pattern::new([
        on(
            "start",
            "",
            [ask("r", "bob", "b100_1", ""), watch("r", "one")],
        ),
        on(
            "one",
            "r",
            [
                remember("pa", "r.0"),
                ask("r", "bob", "b100_2", ""),
                watch("r", "two"),
            ],
        ),
        on(
            "two",
            "r",
            [
                remember("pb", "r.0"),
                watch("pa", "a"),
                watch("pb", "b"),
                send("bob", "b100_3", "[pa], [pb]"),
            ],
        ),
        on(
            "a",
            "va",
            [
                say("{va.0 == pb}"),
                remember("pa2", "va.0"),
                watch("pa2", "a2"),
            ],
        ),
        on(
            "b",
            "vb",
            [
                say("{vb.0 == pa}"),
                remember("pb2", "vb.0"),
                watch("pb2", "b2"),
            ],
        ),
        on("a2", "va2", [say("in it is {va2.0}"), watch("va2.0", "a3")]),
        on("b2", "vb2", [say("in it is {vb2.0}"), watch("vb2.0", "b3")]),
        on("a3", "va3", [say("in it is {va3}")]),
        on("b3", "vb3", [say("in it is {vb3}")]),
    ])
    .bob([
        on("b100_1", "", [promise("p1"), answer("[p1]")]),
        on("b100_2", "", [promise("p2"), answer("[p2]")]),
        on("b100_3", "a, b", [fulfil("p1", "b"), fulfil("p2", "a")]),
    ])
    .promises_left(2)
    .over_restarts()
    .says(&[
        "alice: true",
        "alice: true",
        "alice: in it is a promise",
        "alice: in it is a promise",
        "alice: in it is a list of 1",
        "alice: in it is a list of 1",
    ]);
}

/// What waited in a promise that is answered with another waits there from then on, behind what
/// waited there before.
#[test]
fn messages_follow_an_answer_that_is_answered_with_an_answer() {
    Pattern::new([
        on(
            "start",
            "",
            [
                ask("p", "bob", "get", "carol"),
                send("p", "log", "'from alice'"),
                ask("r", "bob", "wait", ""),
                watch("r", "waited"),
                watch("p", "came"),
            ],
        ),
        on("waited", "", [send("carol", "resolve", "bert")]),
        on("came", "x", [say("match {x == bert}")]),
    ])
    .bob([
        on(
            "get",
            "whom",
            [
                ask("q", "whom", "get", ""),
                send("q", "log", "'from bob'"),
                answer("q"),
            ],
        ),
        on("wait", "", []),
    ])
    .carol([
        on("get", "", [promise("z"), answer("z")]),
        on("resolve", "x", [fulfil("z", "x")]),
    ])
    .over_restarts()
    .says_with_causes(
        &["bert: from bob", "bert: from alice", "alice: match true"],
        &[],
    );
}

/// Promises that came to text take no messages, and those that were rejected hand on why.
#[test]
fn messages_to_what_takes_none_are_rejected_in_turn() {
    Pattern::new([
        on(
            "start",
            "",
            [
                ask("p", "bob", "text", ""),
                ask("q", "p", "first", "amy"),
                ask("r", "q", "second", "amy"),
                watch("r", "r"),
                ask("s", "bob", "no", ""),
                ask("t", "s", "third", "p"),
                watch("t", "t"),
            ],
        ),
        on("r_rejected", "why", [say("r is {why}")]),
        on("t_rejected", "why", [say("t is {why}")]),
    ])
    .bob([
        on("text", "", [answer("'text'")]),
        on("no", "", [promise("q"), reject("q", "nope"), answer("q")]),
    ])
    .over_restarts()
    .says(&["alice: r is not_callable", "alice: t is nope"]);
}

#[test]
fn a_player_sends_to_itself_through_a_promise_of_its_own() {
    Pattern::new([
        on(
            "start",
            "",
            [
                promise("p"),
                ask("r", "p", "one", "p, alice"),
                ask("s", "alice", "two", ""),
                fulfil("p", "alice"),
                watch("r", "done"),
            ],
        ),
        on(
            "one",
            "p, a",
            [say("one, {p}"), watch("p", "p"), answer("a")],
        ),
        on("two", "", [say("two")]),
        on("p", "p", [say("p is {p}, match {p == alice}")]),
        on("done", "x", [say("done, match {x == alice}")]),
    ])
    .says(&[
        "alice: two",
        "alice: one, a promise",
        "alice: p is an object, match true",
        "alice: done, match true",
    ]);
}
