//! Promises between vats.

use crankcase_tests::{Stage, alone_and_with_many};

#[test]
fn promises_pipelining_each_message_goes_to_what_the_one_before_came_to() {
    alone_and_with_many(|shape| {
        let stage = Stage::open(shape);
        let [alice, bob] = stage.players();
        let program = "
            send bob { say one; object o; answer o } as p1
            send p1 { say two; object o; answer o } as p2
            send p2 { say three; answer 'three } as p3
            watch p1 one; watch p2 two; watch p3 three";
        stage.go(alice, program, &[("bob", bob.into())]);
        assert_eq!(stage.log(bob), ["one", "1:two", "2:three"]);
        let bob = bob.object();
        let heard = [
            format!("one: {bob}/1"),
            format!("two: {bob}/2"),
            "three: 'three".to_owned(),
        ];
        assert_eq!(stage.log(alice), heard);
        stage.end();
    });
}
