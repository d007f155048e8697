//! Several promises as one.

use crankcase::raw::{Crank, Message, Notice, Vat, join, race};
use crankcase::{Answer, Cause, Kernel, Limits, Payload, Promise, Ref, Rejection};
use crankcase_tests::host::settled;
use crankcase_tests::{Host, PATIENCE, Scratch, Shape, in_every_shape};
use serde::{Deserialize, Serialize};

/// Decides promises when it is told to, and combines those of others.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Desk {
    own: Vec<Option<Promise>>,
}

impl Vat for Desk {
    const KIND: &'static str = "desk";
    const VERSION: u32 = 1;
    type Env = ();

    fn create(_: &Crank<'_>, (): &(), _: &Message<'_>) -> Result<Self, Rejection> {
        Ok(Self::default())
    }

    fn receive(&mut self, cx: &Crank<'_>, (): &(), message: &Message<'_>) -> Answer {
        match message.method() {
            "later" => {
                let promise = cx.promise();
                self.own.push(Some(promise.clone()));
                Ok(promise.into())
            }
            "decide" => {
                let (which, value): (usize, Option<u64>) = message.args()?;
                let own = self.own.get_mut(which).and_then(Option::take);
                let own = own.ok_or_else(|| Rejection::new("nothing_to_decide", ""))?;
                match value {
                    Some(value) => cx.fulfil(&own, &value),
                    None => cx.reject(&own, Rejection::new("no", "decided so")),
                }
                Ok(Payload::empty())
            }
            how => {
                let others: Vec<Ref> = message.args()?;
                let asked: Vec<Promise> = others
                    .iter()
                    .map(|other| cx.send(other, "later", &()))
                    .collect();
                match how {
                    "join" => Ok(cx.watch(join(cx, &asked), "sum", &()).into()),
                    "race" => Ok(race(cx, &asked).into()),
                    other => Err(Rejection::new("no_such_method", other)),
                }
            }
        }
    }

    fn notified(&mut self, _: &Crank<'_>, (): &(), notice: &Notice<'_>) -> Answer {
        let parts: Vec<Promise> = notice.value()?;
        let mut values = Vec::new();
        for part in parts {
            let outcome = part.outcome().expect("each has come to its end")?;
            values.push(outcome.decode::<u64>()?);
        }
        Ok(Payload::of(&values)?)
    }
}

fn desks(shape: Shape, scratch: &Scratch) -> (Host, Vec<Ref>) {
    let host = shape.open_with(scratch.dir(), |builder| builder.kind::<Desk>(()));
    let made = (0..4).map(|_| {
        let made = host.spawn("desk", &()).unwrap();
        Ref::to(host.settled(&made).unwrap())
    });
    let made = made.collect();
    (host, made)
}

fn decide(host: &Host, desk: Ref, value: Option<u64>) {
    let told = host.send(desk, "decide", &(0usize, value)).unwrap();
    host.settled(&told).unwrap();
}

#[test]
fn join_has_all_values_in_the_order_asked_whatever_the_order_of_deciding() {
    in_every_shape(|shape| {
        let scratch = Scratch::new();
        let (host, desks) = desks(shape, &scratch);
        let ticket = host.send(desks[0], "join", &desks[1..].to_vec()).unwrap();
        host.idle();
        for (desk, value) in [(2, 20), (3, 30), (1, 10)] {
            decide(&host, desks[desk], Some(value));
        }
        let values = host.settled(&ticket).unwrap();
        assert_eq!(values.decode::<Vec<u64>>().unwrap(), [10, 20, 30]);
        host.idle();
        assert_eq!(host.stats().promises, 0, "nothing is left of it");
        host.close();
    });
}

#[test]
fn join_is_rejected_with_the_first_rejection_and_forgets_the_rest() {
    in_every_shape(|shape| {
        let scratch = Scratch::new();
        let (host, desks) = desks(shape, &scratch);
        let ticket = host.send(desks[0], "join", &desks[1..].to_vec()).unwrap();
        host.idle();
        decide(&host, desks[1], Some(10));
        decide(&host, desks[2], None);
        assert_eq!(host.settled(&ticket).unwrap_err().code(), "no");
        decide(&host, desks[3], Some(30));
        host.idle();
        assert_eq!(host.stats().promises, 0, "nothing is left of it");
        host.close();
    });
}

#[test]
fn race_comes_to_what_the_first_comes_to() {
    in_every_shape(|shape| {
        for value in [Some(20), None] {
            let scratch = Scratch::new();
            let (host, desks) = desks(shape, &scratch);
            let ticket = host.send(desks[0], "race", &desks[1..].to_vec()).unwrap();
            host.idle();
            decide(&host, desks[2], value);
            match (value, host.settled(&ticket)) {
                (Some(value), Ok(won)) => assert_eq!(won.decode::<u64>().unwrap(), value),
                (None, Err(why)) => assert_eq!(why.code(), "no"),
                (_, other) => panic!("{other:?}"),
            }
            decide(&host, desks[1], Some(1));
            decide(&host, desks[3], Some(3));
            host.idle();
            assert_eq!(host.stats().promises, 0, "nothing is left of it");
            host.close();
        }
    });
}

#[test]
fn join_and_race_of_nothing_are_settled_at_once() {
    in_every_shape(|shape| {
        let scratch = Scratch::new();
        let (host, desks) = desks(shape, &scratch);
        let none = Vec::<Ref>::new();
        let joined = host.send(desks[0], "join", &none).unwrap();
        let joined = host.settled(&joined).unwrap();
        assert!(joined.decode::<Vec<u64>>().unwrap().is_empty());
        let raced = host.send(desks[0], "race", &none).unwrap();
        let raced = host.settled(&raced).unwrap_err();
        assert_eq!(
            (raced.cause(), raced.code()),
            (Cause::Refused, "empty_race")
        );
        host.close();
    });
}

#[test]
fn join_goes_on_after_a_restart() {
    let scratch = Scratch::new();
    let open = || {
        Kernel::builder(scratch.dir())
            .audit_counts(true)
            .kind::<Desk>(())
            .open()
            .unwrap()
    };
    let kernel = open();
    let desks: Vec<Ref> = (0..3)
        .map(|_| Ref::to(settled(&kernel.spawn("desk", &()).unwrap()).unwrap()))
        .collect();
    let asked = kernel.request("sum");
    let ticket = asked.send(desks[0], "join", &desks[1..].to_vec()).unwrap();
    kernel.run_until_idle().unwrap();
    settled(
        &kernel
            .send(desks[1], "decide", &(0usize, Some(1u64)))
            .unwrap(),
    )
    .unwrap();
    kernel.close(PATIENCE).unwrap();
    drop(ticket);
    let kernel = open();
    settled(
        &kernel
            .send(desks[2], "decide", &(0usize, Some(2u64)))
            .unwrap(),
    )
    .unwrap();
    let again = kernel.request("sum");
    let ticket = again.send(desks[0], "join", &desks[1..].to_vec()).unwrap();
    let sum = settled(&ticket).unwrap().decode::<Vec<u64>>();
    assert_eq!(sum.unwrap(), [1, 2]);
    kernel.close(PATIENCE).unwrap();
}

/// Wraps and gathers what it makes itself.
#[derive(Debug, Serialize, Deserialize)]
struct Wrapper;

impl Vat for Wrapper {
    const KIND: &'static str = "wrapper";
    const VERSION: u32 = 1;
    type Env = ();

    fn create(_: &Crank<'_>, (): &(), _: &Message<'_>) -> Result<Self, Rejection> {
        Ok(Self)
    }

    fn receive(&mut self, cx: &Crank<'_>, (): &(), message: &Message<'_>) -> Answer {
        let number: usize = message.args()?;
        let wrapped = || (0..number).fold(cx.resolved(&7u8), |inner, _| join(cx, &[inner]));
        Ok(match message.method() {
            "bytes" => return Ok(Payload::of(&vec![7u8; number])?),
            "wrap" => wrapped().into(),
            "wrap_and_race" => race(cx, &[wrapped()]).into(),
            "join_often" => join(cx, &vec![cx.resolved(&7u8); number]).into(),
            "gather" => {
                let parts: Vec<_> = (0..number)
                    .map(|_| cx.send(cx.me(), "bytes", &6_000usize))
                    .collect();
                join(cx, &parts).into()
            }
            other => return Err(Rejection::new("no_such_method", other)),
        })
    }
}

#[test]
fn what_cannot_be_put_together_is_rejected_and_nobody_waits_for_ever() {
    in_every_shape(|shape| {
        let scratch = Scratch::new();
        let mut limits = Limits::default();
        limits.output_bytes = 20_000;
        let host = shape.open_with(scratch.dir(), |builder| {
            builder.kind::<Wrapper>(()).limits(limits)
        });
        let made = host.spawn("wrapper", &()).unwrap();
        let wrapper = Ref::to(host.settled(&made).unwrap());
        let ask = |method, number: usize| {
            let asked = host.send(wrapper, method, &number).unwrap();
            host.idle();
            settled(&asked)
        };
        let mut deepest = 0;
        let why = loop {
            match ask("wrap", deepest + 1) {
                Ok(_) => deepest += 1,
                Err(why) => break why,
            }
        };
        assert_eq!((why.cause(), why.code()), (Cause::Limit, "combined"));
        assert!(deepest > 10, "{deepest}");
        // A race adds nothing around what wins it.
        let raced = ask("wrap_and_race", deepest).expect("it is as deep as may be");
        assert_eq!(raced, ask("wrap", deepest).unwrap());
        assert!(ask("gather", 3).is_ok());
        let why = ask("gather", 4).unwrap_err();
        assert_eq!((why.cause(), why.code()), (Cause::Limit, "combined"));
        // As many as a crank may name: what is known of them is let go of, whatever that takes.
        let often = |number| ask("join_often", number).map_err(|why| why.code().to_owned());
        let most = (11..)
            .map(|more| more * 50)
            .find(|number| often(*number).is_err());
        let most = most.expect("there is a limit");
        assert!(most > 750, "{most}");
        assert_eq!(often(most), Err("output_bytes".to_owned()));
        let stats = host.stats();
        assert_eq!((stats.promises, stats.objects), (0, 0));
        host.close();
    });
}
