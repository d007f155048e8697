//! What comes before what.

use std::collections::BTreeMap;

use crankcase::{Seq, VatId};
use crankcase_tests::{Actor, Scratch, Step, in_every_shape};

/// What an actor heard, by who said it.
fn heard(actor: &Actor) -> BTreeMap<VatId, Vec<u64>> {
    let mut by_sender = BTreeMap::<VatId, Vec<u64>>::new();
    for &(from, number) in &actor.heard {
        by_sender.entry(from).or_default().push(number);
    }
    by_sender
}

#[test]
fn messages_of_one_vat_to_another_arrive_in_the_order_sent() {
    in_every_shape(|shape| {
        let scratch = Scratch::new();
        let host = shape.open(scratch.dir());
        let ids = host.actors(10);
        let (senders, receivers) = ids.split_at(8);
        // Many senders, each over many cranks, each to both receivers in the same crank.
        let mut batch = host.batch();
        for _ in 0..20 {
            for &sender in senders {
                let both = receivers
                    .iter()
                    .map(|&to| Step::Tell(to, 3))
                    .collect::<Vec<_>>();
                batch.send(sender, "play", &both).unwrap();
            }
        }
        let sent = batch.submit().unwrap();
        host.settled(&sent);
        host.idle();
        for (at, &receiver) in receivers.iter().enumerate() {
            let heard = heard(&host.look(receiver));
            let all: Vec<VatId> = senders.iter().map(|sender| sender.vat()).collect();
            assert_eq!(
                heard.keys().copied().collect::<Vec<_>>(),
                all,
                "all were heard"
            );
            for (sender, numbers) in heard {
                // Of each crank's six numbers the first receiver gets three, and then the other.
                let expected: Vec<u64> = (0..120).filter(|n| (n / 3) % 2 == at as u64).collect();
                assert_eq!(numbers, expected, "from {sender}");
            }
        }
        host.close();
    });
}

#[test]
fn messages_of_one_thread_arrive_in_the_order_sent() {
    in_every_shape(|shape| {
        let scratch = Scratch::new();
        let host = shape.open(scratch.dir());
        let vat = host.actor();
        let threads: Vec<VatId> = (1..=4)
            .map(|number| VatId::new(crankcase::VatNumber::new(900), number))
            .collect();
        std::thread::scope(|scope| {
            for &thread in &threads {
                let host = &host;
                scope.spawn(move || {
                    for number in 0..100 {
                        let _ = host.tell(vat, &[Step::Hear(thread, number)]).unwrap();
                    }
                });
            }
        });
        host.idle();
        let heard = heard(&host.look(vat));
        for thread in threads {
            assert_eq!(heard[&thread], (0..100).collect::<Vec<_>>());
        }
        host.close();
    });
}

#[test]
fn a_message_sent_before_its_receivers_start_comes_after_it() {
    in_every_shape(|shape| {
        let scratch = Scratch::new();
        let host = shape.open(scratch.dir());
        let vat = host.actor();
        for _ in 0..50 {
            let steps = [
                Step::Spawn(vec![Step::Add(1)]),
                Step::SendToLast(vec![Step::Hear(vat.vat(), 1)]),
                Step::SendToLast(vec![Step::Hear(vat.vat(), 2)]),
            ];
            let _ = host.tell(vat, &steps).unwrap();
        }
        host.idle();
        let children = host.look(vat).made;
        assert_eq!(children.len(), 50);
        for child in children {
            let child = host.look(child);
            assert_eq!(
                (child.count, child.heard),
                (1, vec![(vat.vat(), 1), (vat.vat(), 2)])
            );
        }
        host.close();
    });
}

#[test]
fn places_are_given_without_a_gap() {
    in_every_shape(|shape| {
        let scratch = Scratch::new();
        let host = shape.open(scratch.dir());
        let vat = host.actor();
        for round in 0..30 {
            let _ = host
                .tell(
                    vat,
                    &[Step::Add(1), Step::Send(vat, vec![Step::Add(round)])],
                )
                .unwrap();
        }
        host.idle();
        let stats = host.stats();
        assert_eq!(stats.sequenced, Seq::new(stats.inputs + stats.cranks));
        assert_eq!(stats.sequenced, stats.durable);
        assert_eq!(stats.sequenced, stats.released);
        assert_eq!(stats.cranks, 61);
        host.close();
        let host = shape.open(scratch.dir());
        host.idle();
        assert_eq!(
            host.stats().sequenced,
            stats.sequenced,
            "a restart leaves no trace"
        );
        assert_eq!(host.stats().activity_hash, stats.activity_hash);
        host.close();
    });
}
