//! Request ids: asked again, the first outcome; asked for something else, a conflict.

use crankcase::{Ref, SendError, VatId};
use crankcase_tests::actor::PLAY;
use crankcase_tests::host::said;
use crankcase_tests::{Gate, Host, Said, Scratch, Step, in_every_shape};

#[track_caller]
fn request(host: &Host, id: &str, to: Ref, more: u64) -> crankcase::Ticket<crankcase::Outcome> {
    host.request(id)
        .send(to, PLAY, &vec![Step::Add(more)])
        .expect("the request is taken")
}

#[track_caller]
fn check_conflict(host: &Host, id: &str, to: Ref, more: u64) {
    let asked = host.request(id).send(to, PLAY, &vec![Step::Add(more)]);
    assert_eq!(
        asked.unwrap_err(),
        SendError::Conflict { id: id.to_owned() }
    );
}

#[test]
fn the_same_request_runs_once_and_gives_the_first_outcome() {
    in_every_shape(|shape| {
        let scratch = Scratch::new();
        let host = shape.open(scratch.dir());
        let vat = host.actor();
        let gate = Gate::closed();
        let held = std::sync::Arc::clone(&gate);
        host.yard.on("gate", move || held.pass());
        let _ = host.tell(vat, &[Step::Call("gate".to_owned())]).unwrap();
        // Twice before it has settled, and once more with another body.
        let first = request(&host, "once", vat, 5);
        let second = request(&host, "once", vat, 5);
        check_conflict(&host, "once", vat, 6);
        gate.open();
        assert_eq!(said(&host.settled(&first)), [Said::Number(5)]);
        assert_eq!(said(&host.settled(&second)), [Said::Number(5)]);
        host.play(vat, &[Step::Add(100)]).unwrap();
        // And after that, when another outcome would come of it.
        let third = request(&host, "once", vat, 5);
        assert_eq!(said(&host.settled(&third)), [Said::Number(5)]);
        check_conflict(&host, "once", vat, 6);
        host.idle();
        assert_eq!(host.look(vat).count, 105);
        host.close();

        let host = shape.open(scratch.dir());
        let fourth = request(&host, "once", vat, 5);
        assert_eq!(said(&host.settled(&fourth)), [Said::Number(5)]);
        check_conflict(&host, "once", vat, 6);
        host.idle();
        assert_eq!(host.look(vat).count, 105);
        host.close();
    });
}

#[test]
fn a_rejection_is_an_outcome_too() {
    in_every_shape(|shape| {
        let scratch = Scratch::new();
        let host = shape.open(scratch.dir());
        let vat = host.actor();
        let ask = |host: &Host| {
            let steps = vec![Step::Refuse("never".to_owned())];
            host.settled(&host.request("refused").send(vat, PLAY, &steps).unwrap())
        };
        let first = ask(&host).unwrap_err();
        assert_eq!(ask(&host).unwrap_err(), first);
        host.close();
        let host = shape.open(scratch.dir());
        assert_eq!(ask(&host).unwrap_err(), first);
        assert_eq!(host.stats().cranks, 0, "it was not run again");
        host.close();
    });
}

#[test]
fn an_answer_that_waits_when_the_kernel_closes_comes_after_reopening() {
    in_every_shape(|shape| {
        let scratch = Scratch::new();
        let host = shape.open(scratch.dir());
        let vat = host.actor();
        let _ = request(&host, "soon", vat, 1);
        if let crankcase::CommitOrder::Dispatch = shape.order {
            host.run(0).unwrap();
        }
        host.close();
        let host = shape.open(scratch.dir());
        assert_eq!(
            said(&host.settled(&request(&host, "soon", vat, 1))),
            [Said::Number(1)]
        );
        host.idle();
        assert_eq!(host.look(vat).count, 1);
        host.close();
    });
}

#[test]
fn a_forgotten_id_can_be_used_for_something_else() {
    in_every_shape(|shape| {
        let scratch = Scratch::new();
        let host = shape.open(scratch.dir());
        let vat = host.actor();
        host.settled(&request(&host, "id", vat, 1)).unwrap();
        host.settled(&request(&host, "other", vat, 1)).unwrap();
        host.settled(&host.forget("id").unwrap());
        host.settled(&host.forget("never heard of").unwrap());
        assert_eq!(
            said(&host.settled(&request(&host, "id", vat, 7))),
            [Said::Number(9)]
        );
        check_conflict(&host, "other", vat, 7);
        host.settled(&host.forget("id").unwrap());
        host.close();

        let host = shape.open(scratch.dir());
        check_conflict(&host, "other", vat, 7);
        assert_eq!(
            said(&host.settled(&request(&host, "id", vat, 1))),
            [Said::Number(10)]
        );
        host.close();
        let host = shape.open(scratch.dir());
        assert_eq!(
            said(&host.settled(&request(&host, "id", vat, 1))),
            [Said::Number(10)]
        );
        host.close();
    });
}

#[test]
fn a_batch_under_an_id_is_one_request() {
    in_every_shape(|shape| {
        let scratch = Scratch::new();
        let host = shape.open(scratch.dir());
        let vat = host.actor();
        let ask = |host: &Host, more: u64| {
            let mut batch = host.request("batch").batch();
            let made = batch
                .spawn_named("made", "actor", &vec![Step::Add(1)])
                .unwrap();
            // The id that it gets differs from try to try, and is no part of the body.
            batch.send(made, PLAY, &vec![Step::Add(1)]).unwrap();
            batch.send(vat, PLAY, &vec![Step::Add(more)]).unwrap();
            batch.submit()
        };
        let first = host.settled(&ask(&host, 4).unwrap());
        let made: VatId = first[0].as_ref().unwrap().decode().unwrap();
        assert_eq!(host.root("made").unwrap(), Some(made));
        assert_eq!(host.settled(&ask(&host, 4).unwrap()), first);
        assert!(matches!(ask(&host, 5), Err(SendError::Conflict { .. })));
        host.close();

        let host = shape.open(scratch.dir());
        assert_eq!(host.settled(&ask(&host, 4).unwrap()), first);
        assert!(matches!(ask(&host, 5), Err(SendError::Conflict { .. })));
        host.idle();
        assert_eq!((host.look(vat).count, host.look(made).count), (4, 2));
        assert_eq!(host.stats().vats, 2);
        host.close();
    });
}

#[test]
fn a_spawn_under_an_id_gives_the_first_vats_id() {
    in_every_shape(|shape| {
        let scratch = Scratch::new();
        let host = shape.open(scratch.dir());
        let ask = |host: &Host| {
            let asked = host.request("spawn").spawn("actor", &vec![Step::Add(3)]);
            host.settled(&asked.unwrap()).unwrap()
        };
        let first = ask(&host);
        let _another = host.actor();
        assert_eq!(ask(&host), first);
        host.close();
        let host = shape.open(scratch.dir());
        assert_eq!(ask(&host), first);
        assert_eq!(host.stats().vats, 2);
        host.close();
    });
}

#[test]
fn the_order_of_two_messages_is_part_of_the_body() {
    in_every_shape(|shape| {
        let scratch = Scratch::new();
        let host = shape.open(scratch.dir());
        let vat = host.actor();
        let ask = |host: &Host, numbers: [u64; 2]| {
            let mut batch = host.request("order").batch();
            for number in numbers {
                batch.send(vat, PLAY, &vec![Step::Add(number)]).unwrap();
            }
            batch.submit()
        };
        let _ = ask(&host, [1, 2]).unwrap();
        assert!(matches!(
            ask(&host, [2, 1]),
            Err(SendError::Conflict { .. })
        ));
        assert!(ask(&host, [1, 2]).is_ok());
        host.idle();
        assert_eq!(host.look(vat).count, 3);
        host.close();
    });
}

#[test]
fn many_threads_with_one_id_run_it_once() {
    in_every_shape(|shape| {
        let scratch = Scratch::new();
        let host = shape.open(scratch.dir());
        let vat = host.actor();
        for round in 0..10 {
            let id = format!("round {round}");
            let tickets = std::thread::scope(|scope| {
                let asks = (0..4).map(|_| scope.spawn(|| request(&host, &id, vat, 1)));
                let asks: Vec<_> = asks.collect();
                asks.into_iter()
                    .map(|ask| ask.join().unwrap())
                    .collect::<Vec<_>>()
            });
            for ticket in tickets {
                assert_eq!(said(&host.settled(&ticket)), [Said::Number(round + 1)]);
            }
        }
        host.close();
    });
}

#[test]
fn a_malformed_id_is_refused() {
    in_every_shape(|shape| {
        let scratch = Scratch::new();
        let host = shape.open(scratch.dir());
        let vat = host.actor();
        for id in ["", "line\nbreak", &"x".repeat(256)] {
            let asked = host.request(id).send(vat, PLAY, &Vec::<Step>::new());
            assert!(matches!(asked, Err(SendError::Malformed { .. })), "{id:?}");
            assert!(
                matches!(host.forget(id), Err(SendError::Malformed { .. })),
                "{id:?}"
            );
        }
        // What was refused left no room taken and no input behind.
        host.idle();
        assert_eq!(host.stats().inputs, 1);
        host.close();
    });
}

#[test]
fn forgetting_again_and_again_takes_no_room() {
    in_every_shape(|shape| {
        let scratch = Scratch::new();
        let host = shape.open_with(scratch.dir(), |builder| builder.host_input_bytes(1000));
        let vat = host.actor();
        for round in 0..200 {
            let _ = host.forget(&format!("request {round}")).unwrap();
            host.run_if_needed().unwrap();
        }
        host.idle();
        assert_eq!(host.said(vat, &[Step::Add(1)]), [Said::Number(1)]);
    });
}
