//! All that a crank did happens, or none of it does, and nobody else notices.

use crankcase::{Cause, Limits, Outcome, Ref, VatId, VatNumber};
use crankcase_tests::{Gate, Said, Scratch, Step, in_every_shape};

#[track_caller]
fn cause(outcome: &Outcome) -> Cause {
    match outcome {
        Ok(answer) => panic!("the delivery was not rejected: {answer:?}"),
        Err(rejection) => rejection.cause(),
    }
}

/// Everything that a crank can do to itself and to `other`.
fn deeds(other: Ref) -> Vec<Step> {
    vec![
        Step::Add(1),
        Step::Set(b"row".to_vec(), b"new".to_vec()),
        Step::Delete(b"kept".to_vec()),
        Step::Send(other, vec![Step::Add(1)]),
        Step::Spawn(vec![Step::Send(other, vec![Step::Add(100)])]),
    ]
}

#[test]
fn abandoned_cranks_leave_nothing_whatever_ended_them() {
    in_every_shape(|shape| {
        let scratch = Scratch::new();
        let mut limits = Limits::default();
        (limits.calls, limits.payload_bytes, limits.key_bytes) = (200, 10_000, 100);
        (limits.output_bytes, limits.state_bytes, limits.value_bytes) = (100_000, 5_000, 1_000);
        let host = shape.open_with(scratch.dir(), |builder| builder.limits(limits));
        let [vat, other, neighbour] = host.actors(3)[..] else {
            panic!("three actors")
        };
        let kept = Step::Set(b"kept".to_vec(), b"old".to_vec());
        host.play(vat, &[Step::Add(5), kept]).unwrap();

        let hear_much = (0..2_000)
            .map(|number| Step::Hear(vat.vat(), number))
            .collect::<Vec<_>>();
        let ends: Vec<(Cause, Vec<Step>)> = vec![
            (Cause::Refused, vec![Step::Refuse("no".to_owned())]),
            (Cause::Panicked, vec![Step::Panic]),
            (Cause::State, vec![Step::RefuseEncoding]),
            (Cause::Panicked, vec![Step::PanicEncoding]),
            (Cause::Illegal, vec![Step::SendNameless(other)]),
            (Cause::Illegal, vec![Step::SendBytes(other, 20_000)]),
            (Cause::Illegal, vec![Step::SpawnKind("nobody".to_owned())]),
            (Cause::Illegal, vec![Step::Set(Vec::new(), Vec::new())]),
            (Cause::Illegal, vec![Step::Set(vec![1; 101], Vec::new())]),
            (Cause::Illegal, vec![Step::Set(vec![1], vec![0; 1_001])]),
            (
                Cause::Illegal,
                vec![Step::Exit, Step::Send(other, Vec::new())],
            ),
            (Cause::Illegal, vec![Step::Exit, Step::Get(vec![1])]),
            (Cause::Limit, vec![Step::Tell(other, 1_000)]),
            (Cause::Limit, vec![Step::SendBytes(other, 9_000); 12]),
        ];
        for (expected, end) in ends {
            let shown = format!("{end:?}");
            let neighbour_ticket = host.tell(neighbour, &[Step::Add(1)]).unwrap();
            let outcome = host.play(vat, &[deeds(other), end].concat());
            assert_eq!(cause(&outcome), expected, "{shown}");
            host.idle();
            host.settled(&neighbour_ticket).unwrap();
            let after = host.look(vat);
            assert_eq!((after.count, after.made.len()), (5, 0), "{shown}");
            assert_eq!(host.look(other).count, 0, "{shown}");
            let rows = host.said(
                vat,
                &[Step::Get(b"row".to_vec()), Step::Get(b"kept".to_vec())],
            );
            assert_eq!(
                rows,
                [Said::Row(None), Said::Row(Some(b"old".to_vec()))],
                "{shown}"
            );
        }
        // A message may be too large for a state, too.
        let outcome = host.play(vat, &hear_much[..1_900]);
        assert_eq!(cause(&outcome), Cause::Limit);
        assert_eq!(host.look(vat).heard, []);
        assert_eq!(host.look(neighbour).count, 14, "the neighbour went on");
        assert_eq!(host.stats().vats, 3, "no vat was left behind");
        host.close();
    });
}

#[test]
fn committed_cranks_happen_whole() {
    in_every_shape(|shape| {
        let scratch = Scratch::new();
        let host = shape.open(scratch.dir());
        let [vat, other] = host.actors(2)[..] else {
            panic!("two actors")
        };
        host.play(vat, &deeds(other)).unwrap();
        host.idle();
        assert_eq!((host.look(vat).count, host.look(other).count), (1, 101));
        assert_eq!(
            host.said(vat, &[Step::Get(b"row".to_vec())]),
            [Said::Row(Some(b"new".into()))]
        );
        let child = host.look(vat).made[0];
        assert_eq!(host.look(child).count, 0);
        host.close();
    });
}

#[test]
fn ids_of_vats_made_in_an_abandoned_crank_are_given_again() {
    in_every_shape(|shape| {
        let scratch = Scratch::new();
        let host = shape.open(scratch.dir());
        let vat = host.actor();
        let refused = [
            Step::Spawn(vec![Step::Add(1)]),
            Step::Refuse("no".to_owned()),
        ];
        host.play(vat, &refused).unwrap_err();
        let said = host.said(vat, &[Step::Spawn(vec![Step::Add(2)])]);
        let [Said::Vat(child)] = said[..] else {
            panic!("a vat was made: {said:?}")
        };
        assert_eq!(child.vat().counter, 1);
        host.idle();
        assert_eq!(host.look(child).count, 2);
        host.close();
    });
}

#[test]
fn exit_success_commits_and_ends_the_vat() {
    in_every_shape(|shape| {
        let scratch = Scratch::new();
        let host = shape.open(scratch.dir());
        let [vat, other] = host.actors(2)[..] else {
            panic!("two actors")
        };
        host.play(vat, &[deeds(other), vec![Step::Exit]].concat())
            .unwrap();
        host.idle();
        assert_eq!(host.look(other).count, 101);
        assert!(matches!(
            host.read(vat, crankcase_tests::Actor::clone),
            Err(crankcase::ReadError::NoSuchVat { vat: named }) if named == vat.vat()
        ));
        assert_eq!(cause(&host.play(vat, &[])), Cause::NoSuchVat);
        assert_eq!(cause(&host.play(vat, &[])), Cause::NoSuchVat);
        host.close();
    });
}

#[test]
fn exit_failure_abandons_and_ends_the_vat() {
    in_every_shape(|shape| {
        let scratch = Scratch::new();
        let host = shape.open(scratch.dir());
        let [vat, other] = host.actors(2)[..] else {
            panic!("two actors")
        };
        let outcome = host.play(vat, &[deeds(other), vec![Step::Fail]].concat());
        assert_eq!(cause(&outcome), Cause::ExitFailure);
        host.idle();
        assert_eq!(host.look(other).count, 0);
        assert_eq!(cause(&host.play(vat, &[])), Cause::NoSuchVat);
        assert_eq!(host.stats().vats, 1);
        host.close();
    });
}

#[test]
fn exit_of_an_abandoned_crank_does_not_end_the_vat() {
    in_every_shape(|shape| {
        let scratch = Scratch::new();
        let host = shape.open(scratch.dir());
        let vat = host.actor();
        let outcome = host.play(vat, &[Step::Exit, Step::Refuse("not now".to_owned())]);
        assert_eq!(cause(&outcome), Cause::Refused);
        assert_eq!(
            cause(&host.play(vat, &[Step::Exit, Step::Panic])),
            Cause::Panicked
        );
        assert_eq!(host.said(vat, &[Step::Add(1)]), [Said::Number(1)]);
        host.close();
    });
}

#[test]
fn messages_behind_an_exit_are_rejected() {
    in_every_shape(|shape| {
        let scratch = Scratch::new();
        let host = shape.open(scratch.dir());
        for (end, ends_well) in [(Step::Exit, true), (Step::Fail, false)] {
            let vat = host.actor();
            let gate = Gate::closed();
            let held = std::sync::Arc::clone(&gate);
            host.yard.on("gate", move || held.pass());
            let ending = host
                .tell(vat, &[Step::Call("gate".to_owned()), end])
                .unwrap();
            // They enter the inbox while the vat still lives.
            let mut batch = host.batch();
            for _ in 0..100 {
                batch.send(vat, "play", &vec![Step::Add(1)]).unwrap();
            }
            let behind = batch.submit().unwrap();
            gate.open();
            assert_eq!(host.settled(&ending).is_ok(), ends_well);
            for outcome in host.settled(&behind) {
                assert!(matches!(
                    cause(&outcome),
                    Cause::VatEnded | Cause::NoSuchVat
                ));
            }
            assert_eq!(cause(&host.play(vat, &[])), Cause::NoSuchVat);
        }
        // What is left of them is cleaned up behind the last rejection.
        host.idle();
        assert_eq!(host.stats().waiting, 0);
        host.close();
    });
}

#[test]
fn messages_to_vats_that_never_were_are_rejected() {
    in_every_shape(|shape| {
        let scratch = Scratch::new();
        let host = shape.open(scratch.dir());
        let vat = host.actor();
        let nobody = VatId::new(VatNumber::HOST, 1_000_000);
        assert_eq!(cause(&host.play(nobody, &[])), Cause::NoSuchVat);
        // A reference that leads nowhere is not let in.
        let told = host.play(vat, &[Step::Send(Ref::to(nobody), vec![]), Step::Add(1)]);
        assert_eq!(cause(&told), Cause::NoSuchVat);
        assert_eq!(host.look(vat).count, 0);
        host.close();
    });
}

#[test]
fn starts_that_fail_leave_no_vat_and_reject_what_waits() {
    in_every_shape(|shape| {
        let scratch = Scratch::new();
        let host = shape.open(scratch.dir());
        let other = host.actor();
        for end in [
            Step::Refuse("no".to_owned()),
            Step::Panic,
            Step::SendNameless(other),
        ] {
            let mut batch = host.batch();
            let start = [deeds(other), vec![end]].concat();
            let never = batch.spawn("actor", &start).unwrap();
            batch.send(never, "play", &vec![Step::Add(1)]).unwrap();
            batch.send(other, "play", &Vec::<Step>::new()).unwrap();
            let outcomes = host.settled(&batch.submit().unwrap());
            assert_ne!(
                cause(&outcomes[0]),
                Cause::NotStarted,
                "the start says why it failed"
            );
            assert!(matches!(
                cause(&outcomes[1]),
                Cause::NotStarted | Cause::NoSuchVat
            ));
            outcomes[2].as_ref().unwrap();
            assert!(host.read(never, crankcase_tests::Actor::clone).is_err());
        }
        host.idle();
        assert_eq!(host.look(other).count, 0);
        assert_eq!(host.stats().vats, 1);

        let refused = host
            .spawn("actor", &vec![Step::Refuse("no".to_owned())])
            .unwrap();
        assert_eq!(host.settled(&refused).unwrap_err().code(), "no");
        let misread = host.spawn("actor", &"no steps at all").unwrap();
        assert!(host.settled(&misread).is_err());
        host.close();
    });
}

#[test]
fn batches_are_one_input_and_each_delivery_is_its_own_crank() {
    in_every_shape(|shape| {
        let scratch = Scratch::new();
        let host = shape.open(scratch.dir());
        let vat = host.actor();
        let inputs = host.stats().inputs;
        let mut batch = host.batch();
        let made = batch.spawn("actor", &vec![Step::Add(7)]).unwrap();
        batch.send(made, "play", &vec![Step::Add(1)]).unwrap();
        batch
            .send(vat, "play", &vec![Step::Add(1), Step::Panic])
            .unwrap();
        batch.send(vat, "play", &vec![Step::Add(10)]).unwrap();
        assert!(
            batch.send(vat, "", &()).is_err(),
            "refused, and the batch is as it was"
        );
        assert!(batch.spawn("nobody", &()).is_err());
        assert_eq!(batch.len(), 4);
        let outcomes = host.settled(&batch.submit().unwrap());
        assert_eq!(outcomes.len(), 4);
        assert_eq!(
            outcomes[0].as_ref().unwrap().decode::<VatId>().unwrap(),
            made
        );
        assert_eq!(crankcase_tests::host::said(&outcomes[1]), [Said::Number(8)]);
        assert_eq!(cause(&outcomes[2]), Cause::Panicked);
        assert_eq!(
            crankcase_tests::host::said(&outcomes[3]),
            [Said::Number(10)]
        );
        assert_eq!(host.stats().inputs, inputs + 1);
        host.close();
    });
}

#[test]
fn abandoned_cranks_stay_abandoned_over_reopening() {
    in_every_shape(|shape| {
        let scratch = Scratch::new();
        let host = shape.open(scratch.dir());
        let [vat, other] = host.actors(2)[..] else {
            panic!("two actors")
        };
        host.play(vat, &[Step::Add(3)]).unwrap();
        for end in [
            Step::Panic,
            Step::Refuse("no".to_owned()),
            Step::SendNameless(vat),
        ] {
            host.play(vat, &[deeds(other), vec![end]].concat())
                .unwrap_err();
        }
        host.close();
        let host = shape.open(scratch.dir());
        host.idle();
        assert_eq!((host.look(vat).count, host.look(other).count), (3, 0));
        host.close();
    });
}
