//! What a crank may know of time and chance.

use crankcase::{Clock, ClockError, CommitOrder, KernelBuilder};
use crankcase_tests::host::PLAIN;
use crankcase_tests::{Host, Said, Scratch, Shape, Step, in_every_shape};

fn number(said: &[Said]) -> u64 {
    let [Said::Number(number)] = said[..] else {
        panic!("one number: {said:?}")
    };
    number
}

fn manual(builder: KernelBuilder) -> KernelBuilder {
    builder.clock(Clock::Manual)
}

#[test]
fn a_manual_clock_stands_where_the_host_set_it() {
    in_every_shape(|shape| {
        let scratch = Scratch::new();
        let host = shape.open_with(scratch.dir(), manual);
        let vat = host.actor();
        assert_eq!(number(&host.said(vat, &[Step::Now])), 0);
        host.set_time(46_147).unwrap();
        host.set_time(46_147).unwrap();
        assert_eq!(number(&host.said(vat, &[Step::Now])), 46_147);
        let back = ClockError::Backwards {
            now: 46_147,
            asked: 46_146,
        };
        assert_eq!(host.set_time(46_146), Err(back.clone()));
        assert_eq!(number(&host.said(vat, &[Step::Now])), 46_147);
        host.close();
        // It goes on where the journal left it.
        let host = shape.open_with(scratch.dir(), manual);
        assert_eq!(number(&host.said(vat, &[Step::Now])), 46_147);
        assert_eq!(host.set_time(46_146), Err(back));
        host.close();
    });
}

#[test]
fn a_message_carries_the_time_of_the_input_that_caused_it() {
    in_every_shape(|shape| {
        let scratch = Scratch::new();
        let host = shape.open_with(scratch.dir(), manual);
        let [vat, other] = host.actors(2)[..] else {
            panic!("two actors")
        };
        host.set_time(10).unwrap();
        let relay = vec![Step::Call("later".to_owned()), Step::Now];
        let gate = crankcase_tests::Gate::closed();
        if let CommitOrder::Completion = shape.order {
            // The clock goes on while the message is on its way.
            let held = std::sync::Arc::clone(&gate);
            host.yard.on("later", move || held.pass());
        }
        let old = host.tell(other, &relay).unwrap();
        host.set_time(20).unwrap();
        gate.open();
        let old = number(&crankcase_tests::host::said(&host.settled(&old)));
        match shape.order {
            CommitOrder::Completion => assert_eq!(old, 10),
            // Inputs enter with the run.
            CommitOrder::Dispatch => assert_eq!(old, 20),
        }
        // In a vat time does not go back, whatever the messages carry.
        assert_eq!(number(&host.said(vat, &[Step::Now])), 20);
        assert!(number(&host.said(other, &[Step::Now])) >= old);
        host.close();
    });
}

#[test]
fn the_systems_clock_cannot_be_set() {
    let scratch = Scratch::new();
    let host = PLAIN.open(scratch.dir());
    assert_eq!(host.set_time(1), Err(ClockError::NotManual));
    let vat = host.actor();
    let first = number(&host.said(vat, &[Step::Now]));
    assert!(
        first > 1_700_000_000_000,
        "milliseconds since 1970: {first}"
    );
    assert!(number(&host.said(vat, &[Step::Now])) >= first);
    host.close();
}

/// Ten numbers from two vats, with an abandoned crank and, where asked for, restarts between.
fn numbers(shape: Shape, seed: [u8; 32], restarts: bool) -> Vec<u64> {
    let scratch = Scratch::new();
    let open = || shape.open_with(scratch.dir(), |builder| builder.seed(seed));
    let mut host: Host = open();
    let vats = host.actors(2);
    let mut numbers = Vec::new();
    for _ in 0..5 {
        for &vat in &vats {
            numbers.push(number(&host.said(vat, &[Step::Random])));
            host.play(vat, &[Step::Random, Step::Panic]).unwrap_err();
        }
        if restarts {
            host.close();
            host = open();
        }
    }
    host.close();
    numbers
}

#[test]
fn random_numbers_follow_from_the_seed_and_the_history() {
    let plain = numbers(PLAIN, [1; 32], false);
    let mut distinct = plain.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), plain.len());
    in_every_shape(|shape| {
        assert_eq!(numbers(shape, [1; 32], false), plain);
        assert_eq!(numbers(shape, [1; 32], true), plain, "with restarts");
    });
    assert_ne!(numbers(PLAIN, [2; 32], false), plain);
}

#[test]
fn two_random_numbers_of_one_crank_differ() {
    let scratch = Scratch::new();
    let host = PLAIN.open(scratch.dir());
    let vat = host.actor();
    let said = host.said(vat, &[Step::Random, Step::Random]);
    assert_ne!(said[0], said[1]);
    host.close();
}
