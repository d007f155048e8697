//! What a vat keeps becomes what it came to, as far as that can be kept.

use crankcase::raw::{Crank, Message, Vat};
use crankcase::{Answer, Limits, Payload, Promise, Ref, Rejection};
use crankcase_tests::pattern::players::{
    answer, ask, fulfil, on, promise, remember, say, send, watch,
};
use crankcase_tests::{Pattern, Scratch, in_every_shape};
use serde::{Deserialize, Serialize};

#[test]
fn a_promise_inside_of_an_outcome_is_settled_once_it_is_kept_for_itself() {
    Pattern::new([
        on(
            "start",
            "",
            [
                ask("r", "bob", "give", ""),
                ask("s", "bob", "wait", ""),
                watch("s", "later"),
            ],
        ),
        on("later", "", [say("r is {r}"), watch("r", "got")]),
        // What was held inside of r is held for itself from here on, and as often as before.
        on(
            "got",
            "v",
            [
                remember("r", "'nothing'"),
                say("in it is {v.0}"),
                ask("s", "bob", "wait", ""),
                watch("s", "at_last"),
            ],
        ),
        on("at_last", "", [say("it is {v.0} now")]),
    ])
    .bob([
        on(
            "give",
            "",
            [promise("q"), fulfil("q", "'text'"), answer("[q]")],
        ),
        on("wait", "", []),
    ])
    .says(&[
        "alice: r is a settled promise",
        "alice: in it is a promise",
        "alice: it is a settled promise now",
    ]);
}

/// Were it all put where the promise was kept, it would be 2⁴⁰ texts.
#[test]
fn a_promise_of_ever_more_promises_is_kept_in_little_room() {
    let mut plays = vec![promise("p0")];
    for depth in 0..40 {
        let (this, next) = (format!("p{depth}"), format!("p{}", depth + 1));
        plays.push(promise(&next));
        plays.push(fulfil(&this, &format!("[{next}, {next}]")));
    }
    plays.extend([fulfil("p40", "'the end'"), answer("{promise: p0}")]);
    Pattern::new([
        on(
            "start",
            "",
            [ask("r", "bob", "give", ""), watch("r", "got")],
        ),
        on(
            "got",
            "r",
            [ask("s", "bob", "wait", ""), watch("s", "later")],
        ),
        on(
            "later",
            "",
            [say("got {r.promise}"), watch("r.promise", "in_it")],
        ),
        on("in_it", "v", [say("in it is {v}")]),
    ])
    .bob([on("give", "", plays), on("wait", "", [])])
    .says(&[
        "alice: got a settled promise",
        "alice: in it is a list of 2",
    ]);
}

/// Promises that came to their end may be wrapped in each other up to a bound. A vat that has
/// wrapped what it keeps up to there keeps the promise, and goes on.
#[test]
fn a_vat_wraps_what_it_keeps_for_ever() {
    let parts = (0..70).map(|number| {
        let (this, next) = (format!("wrap{number}"), format!("wrap{}", number + 1));
        on(&this, "", [ask("r", "bob", "wrap", ""), watch("r", &next)])
    });
    let mut parts: Vec<_> = parts.collect();
    parts.push(on(
        "start",
        "",
        [ask("r", "bob", "begin", ""), watch("r", "wrap0")],
    ));
    parts.push(on("wrap70", "", [send("bob", "end", "")]));
    Pattern::new(parts)
        .bob([
            on("begin", "", [remember("x", "'core'")]),
            on(
                "wrap",
                "",
                [promise("q"), fulfil("q", "[x]"), remember("x", "q")],
            ),
            on("end", "", [say("x is {x}")]),
        ])
        .says(&["bob: x is a settled promise"]);
}

/// A vat that keeps a promise of its own in many rows.
#[derive(Debug, Serialize, Deserialize)]
struct Shelf {
    kept: Option<Promise>,
}

const ROWS: u16 = 600;

impl Vat for Shelf {
    const KIND: &'static str = "shelf";
    const VERSION: u32 = 1;
    type Env = ();

    fn create(_cx: &Crank<'_>, _env: &(), _start: &Message<'_>) -> Result<Self, Rejection> {
        Ok(Self { kept: None })
    }

    fn receive(&mut self, cx: &Crank<'_>, _env: &(), message: &Message<'_>) -> Answer {
        let row = |number: u16| number.to_be_bytes();
        match message.method() {
            "fill" => {
                let promise = cx.promise();
                (0..ROWS).for_each(|number| cx.set_holding(&row(number), &promise));
            }
            "fulfil_with" => {
                let promise: Promise = cx.get_holding(&row(0))?.expect("the shelf is full");
                cx.fulfil(&promise, &message.args::<String>()?);
            }
            "fulfil" => {
                let promise: Promise = cx.get_holding(&row(0))?.expect("the shelf is full");
                match message.args()? {
                    true => cx.fulfil(&promise, &(&promise, "and more")),
                    false => cx.fulfil(&promise, "text"),
                }
            }
            "keep" => self.kept = cx.get_holding(&row(0))?,
            "settled" => {
                let rows = cx.range_holding::<Promise, &[u8], _>(..);
                let known = rows.filter(
                    |(_, promise)| matches!(promise, Ok(promise) if promise.outcome().is_some()),
                );
                return Ok(Payload::of(&(known.count() as u64))?);
            }
            "clear" => (0..ROWS).for_each(|number| cx.delete_holding(&row(number))),
            other => return Err(Rejection::new("no_such_method", other)),
        }
        Ok(Payload::empty())
    }
}

#[test]
fn a_promise_in_more_rows_than_one_crank_rewrites_is_settled_in_all_of_them() {
    in_every_shape(|shape| {
        for holds_itself in [false, true] {
            let scratch = Scratch::new();
            let host = shape.open_with(scratch.dir(), |builder| builder.kind::<Shelf>(()));
            let shelf = host.settled(&host.spawn("shelf", &()).unwrap()).unwrap();
            let tell = |method: &str, what: bool| {
                let told = host.send(Ref::to(shelf), method, &what).unwrap();
                let told = host.settled(&told).expect("the shelf does as it is told");
                host.idle();
                told
            };
            tell("fill", false);
            assert_eq!(tell("settled", false).decode::<u64>().unwrap(), 0);
            tell("fulfil", holds_itself);
            let settled = tell("settled", false).decode::<u64>().unwrap();
            assert_eq!(settled, u64::from(ROWS), "holds itself: {holds_itself}");
            tell("clear", false);
            assert_eq!(host.stats().promises, u64::from(holds_itself));
            host.close();
        }
    });
}

#[test]
fn a_promise_that_is_too_large_for_the_state_is_settled_in_rows_a_crank_of_bounded_output_at_a_time()
 {
    in_every_shape(|shape| {
        let scratch = Scratch::new();
        let mut limits = Limits::default();
        (limits.state_bytes, limits.value_bytes, limits.output_bytes) = (300, 4_000, 50_000);
        let host = shape.open_with(scratch.dir(), |builder| {
            builder.kind::<Shelf>(()).limits(limits)
        });
        let shelf = host.settled(&host.spawn("shelf", &()).unwrap()).unwrap();
        let tell = |method: &str, what: &str| {
            let told = host.send(Ref::to(shelf), method, &what).unwrap();
            let told = host.settled(&told).expect("the shelf does as it is told");
            host.idle();
            told
        };
        tell("fill", "");
        tell("keep", "");
        let cranks = host.stats().cranks;
        tell("fulfil_with", &"text".repeat(750));
        // The 32 rows that a crank may rewrite at once would be twice as much as it may write.
        let steps = host.stats().cranks - cranks - 1;
        assert!(steps > 2 * u64::from(ROWS) / 32 - 5, "{steps}");
        let settled = tell("settled", "").decode::<u64>().unwrap();
        assert_eq!(settled, u64::from(ROWS));
        let kept = host
            .read(shelf, |shelf: &Shelf| shelf.kept.clone())
            .unwrap();
        assert_eq!(kept.and_then(|kept| kept.outcome()), None);
        host.close();
    });
}

/// The news of what the promise came to is on its way to alice when she lets go of it.
#[test]
fn a_promise_is_let_go_of_before_its_holder_hears_what_it_came_to() {
    Pattern::new([
        on(
            "start",
            "",
            [
                ask("p", "bob", "give", ""),
                send("bob", "ask_to_forget", "alice"),
                ask("r", "bob", "wait", ""),
                watch("r", "done"),
            ],
        ),
        on("forget", "", [remember("p", "'nothing'")]),
        on("done", "", [say("p is {p}")]),
    ])
    .bob([
        on("give", "", [promise("q"), answer("q")]),
        on(
            "ask_to_forget",
            "whom",
            [send("whom", "forget", ""), fulfil("q", "'text'")],
        ),
        on("wait", "", []),
    ])
    .over_restarts()
    .says(&["alice: p is nothing"]);
}
