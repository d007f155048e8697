use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::*;
use crate::limits::Limits;
use crate::record::Record;
use crate::{Answer, DeliveryHead, DeliveryId, Kinds, Message, Outcome, Payload, Ref, Seq, Vat};

/// A vat that does what the message tells it to.
#[derive(Serialize, Deserialize)]
struct Actor {
    count: u64,
}

impl Vat for Actor {
    const KIND: &'static str = "actor";
    const VERSION: u32 = 1;
    type Env = ();

    fn create(cx: &Crank<'_>, (): &(), start: &Message<'_>) -> Result<Self, Rejection> {
        cx.set(b"born", b"yes");
        match start.args::<u64>()? {
            0 => Err(Rejection::new("zero", "starts at one")),
            count => Ok(Self { count }),
        }
    }

    fn receive(&mut self, cx: &Crank<'_>, (): &(), message: &Message<'_>) -> Answer {
        self.count += 1;
        match message.method() {
            "add" => {}
            "refuse" => {
                cx.send(cx.me(), "add", &());
                cx.set(b"key", b"value");
                return Err(Rejection::new("no", "refused"));
            }
            "panic" => {
                cx.send(cx.me(), "add", &());
                panic!("on purpose");
            }
            "store" => {
                cx.set(b"b", b"2");
                cx.set(b"a", b"1");
                cx.delete(b"born");
                assert_eq!(cx.get(b"born"), None);
                let keys: Vec<_> = cx.prefix(b"").map(|(key, _)| key).collect();
                assert_eq!(keys, [b"a".to_vec(), b"b".to_vec()]);
            }
            "look_far" => {
                let found = catch_unwind(AssertUnwindSafe(|| cx.get(b"far")));
                let found = found.ok().flatten();
                cx.send(cx.me(), "add", &());
                return Ok(Payload::of(&(found, cx.prefix(b"far").count()))?);
            }
            "big_key" => cx.set(&[0; 5000], b""),
            "empty_key" => cx.set(b"", b""),
            "bad_method" => drop(cx.send(cx.me(), "line\nbreak", &())),
            "big_args" => drop(cx.send(cx.me(), "add", &vec![0u8; 200])),
            "unknown_kind" => drop(cx.spawn("nobody", &())),
            "spawn" => {
                let child = cx.spawn("actor", &5u64);
                cx.send(child, "add", &());
                return Ok(Payload::of(&child)?);
            }
            "many" => (0..200).for_each(|_| drop(cx.send(cx.me(), "add", &()))),
            "decide_many" => {
                for _ in 0..20 {
                    cx.resolved(&vec![0u8; 90]);
                }
            }
            "exit" => cx.exit(Exit::Success),
            "fail" => {
                cx.exit(Exit::Success);
                cx.exit(Exit::Failure);
            }
            "caught" => {
                let sent = catch_unwind(AssertUnwindSafe(|| {
                    cx.spawn("actor", &Hostile(cx, |_| panic!("in an argument")))
                }));
                assert!(sent.is_err());
            }
            "nested_get" => drop(cx.send(cx.me(), "add", &Hostile(cx, |cx| drop(cx.get(b"born"))))),
            "nested_range" => {
                let walk = |cx: &Crank<'_>| assert_eq!(cx.prefix(b"").count(), 0);
                cx.send(cx.me(), "add", &Hostile(cx, walk));
            }
            "nested_send" => {
                let send = |cx: &Crank<'_>| drop(cx.send(cx.me(), "add", &()));
                cx.send(cx.me(), "add", &Hostile(cx, send));
            }
            "after_exit" => {
                cx.exit(Exit::Success);
                cx.send(cx.me(), "add", &());
            }
            "random" => return Ok(Payload::of(&(cx.random(), cx.random()))?),
            "count" => {
                self.count -= 1;
                return Ok(Payload::of(&self.count)?);
            }
            other => return Err(Rejection::new("no_such_method", other)),
        }
        Ok(Payload::empty())
    }
}

/// An argument whose encoding runs code over the crank.
struct Hostile<'c, 'a>(&'c Crank<'a>, fn(&Crank<'a>));

impl Serialize for Hostile<'_, '_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.1)(self.0);
        serializer.serialize_unit()
    }
}

struct Bench {
    vat: LiveVat,
    shared: Shared,
    space: Workspace,
    delivered: u64,
}

/// What the tests look at in a record.
#[derive(Debug)]
struct Seen {
    abandoned: Option<Rejection>,
    answer: Option<Outcome>,
    state: bool,
    acts: usize,
    vat_ended: bool,
    note: Option<String>,
}

impl Bench {
    fn unstarted() -> Self {
        let mut kinds = Kinds::new();
        kinds.add::<Actor>(()).expect("one kind");
        let limits = Limits {
            payload_bytes: 100,
            output_bytes: 1000,
            ..Limits::default()
        };
        let shared = Shared {
            kinds,
            limits,
            seed: [3; 32],
            check_canonical: true,
        };
        let kind = Arc::clone(shared.kinds.get("actor").expect("registered"));
        let vat = LiveVat::unborn(VatId::new(VatNumber::HOST, 1), VatNumber::new(1), kind);
        Self {
            vat,
            shared,
            space: Workspace::new(),
            delivered: 0,
        }
    }

    fn started() -> Self {
        let mut bench = Self::unstarted();
        assert!(bench.start(1).abandoned.is_none());
        bench
    }

    fn deliver(&mut self, act: &Act<'_>) -> Seen {
        let mut record = Vec::new();
        act.write(&mut record);
        self.delivered += 1;
        let id = DeliveryId::new(Seq::new(self.delivered), 0);
        let act = crate::Span::new(0, record.len()).of(&record.into());
        let delivery = Delivery::new(DeliveryHead::new(id, Time::new(7), true), What::Act(act));
        let finished = self.vat.run(&delivery, &self.shared, &mut self.space);
        let finished = finished.expect("a store in memory can be read");
        let Ok(Record::Crank(record)) = Record::parse(&finished.record) else {
            panic!("not a crank record")
        };
        assert_eq!(record.consumed, id);
        assert_eq!(record.number, CrankNumber::new(self.delivered));
        let acts = record
            .acts()
            .collect::<Result<Vec<_>, _>>()
            .expect("acts")
            .len();
        let (abandoned, answer, state, vat) = match record.end {
            CrankEnd::Committed { state, answer, vat } => {
                let answer = answer.map(|answer| Resolution::read(answer).expect("a resolution"));
                (
                    None,
                    answer.map(|answer| answer.to_outcome()),
                    state.is_some(),
                    vat,
                )
            }
            CrankEnd::Abandoned { rejection, vat } => (Some(rejection), None, false, vat),
            CrankEnd::Cleaned { .. } => panic!("nothing is cleaned here"),
        };
        Seen {
            abandoned,
            answer,
            state,
            acts,
            vat_ended: vat.has_ended(),
            note: finished.note,
        }
    }

    fn start(&mut self, count: u64) -> Seen {
        let args = Payload::of(&count).expect("encodes");
        let mut body = Vec::new();
        Body::put(&mut body, args.slots(), args.bytes());
        self.deliver(&Act::Spawn {
            counter: 1,
            kind: "actor",
            version: 1,
            args: Body::read(&body).expect("a body"),
            name: "",
        })
    }

    fn send(&mut self, method: &str) -> Seen {
        self.deliver(&Act::Send {
            to: Slot::Object(self.vat.id().into()),
            method,
            args: Body::empty(),
            kept: false,
        })
    }

    fn count(&mut self) -> u64 {
        self.send("count")
            .answer
            .expect("an answer")
            .expect("a value")
            .decode()
            .expect("a number")
    }

    #[track_caller]
    fn check_nothing_happened(&mut self, method: &str, cause: Cause, code: &str) {
        let (count, rows) = (self.count(), self.vat.store.rows_in_memory());
        let seen = self.send(method);
        let rejection = seen.abandoned.expect("abandoned");
        assert_eq!(
            (rejection.cause(), rejection.code()),
            (cause, code),
            "{rejection}"
        );
        assert_eq!(seen.acts, 0);
        assert_eq!(self.count(), count, "the state is what it was");
        assert_eq!(
            self.vat.store.rows_in_memory(),
            rows,
            "the store is what it was"
        );
    }
}

#[test]
fn abort_every_way_to_lose_a_crank_leaves_the_vat_as_it_was() {
    let mut bench = Bench::started();
    bench.check_nothing_happened("refuse", Cause::Refused, "no");
    bench.check_nothing_happened("panic", Cause::Panicked, "panicked");
    bench.check_nothing_happened("big_key", Cause::Illegal, "key");
    bench.check_nothing_happened("empty_key", Cause::Illegal, "key");
    bench.check_nothing_happened("bad_method", Cause::Illegal, "method_name");
    bench.check_nothing_happened("big_args", Cause::Illegal, "arguments");
    bench.check_nothing_happened("unknown_kind", Cause::Illegal, "unknown_kind");
    for nested in ["nested_get", "nested_range", "nested_send"] {
        bench.check_nothing_happened(nested, Cause::Illegal, "nested_call");
    }
    bench.check_nothing_happened("many", Cause::Limit, "output_bytes");
    bench.check_nothing_happened("decide_many", Cause::Limit, "output_bytes");
    bench.check_nothing_happened("after_exit", Cause::Illegal, "after_exit");
    bench.check_nothing_happened("whatever", Cause::Refused, "no_such_method");
}

#[test]
fn abort_panic_keeps_its_text_beside_the_record() {
    let mut bench = Bench::started();
    assert_eq!(bench.send("panic").note.as_deref(), Some("on purpose"));
}

#[test]
fn commit_state_is_written_only_when_its_bytes_differ() {
    let mut bench = Bench::started();
    assert!(bench.send("add").state);
    assert!(!bench.send("count").state);
    assert_eq!(bench.count(), 2);
}

#[test]
fn store_writes_stand_in_the_record_in_key_order() {
    let mut bench = Bench::started();
    let seen = bench.send("store");
    assert!(seen.abandoned.is_none(), "{seen:?}");
    assert_eq!(seen.acts, 3);
    let rows = bench.vat.store.rows_in_memory();
    let keys: Vec<_> = rows.keys().map(|key| key.to_vec()).collect();
    assert_eq!(keys, [b"\0a".to_vec(), b"\0b".to_vec()]);
}

#[test]
fn spawn_ids_are_counted_per_vat_and_rolled_back_with_an_abort() {
    let mut bench = Bench::started();
    let child = |seen: Seen| {
        seen.answer
            .expect("an answer")
            .expect("a value")
            .decode::<Ref>()
            .expect("a reference")
            .vat()
    };
    assert_eq!(child(bench.send("spawn")), VatId::new(VatNumber::new(1), 1));
    bench.send("unknown_kind");
    assert_eq!(child(bench.send("spawn")), VatId::new(VatNumber::new(1), 2));
}

#[test]
fn spawn_that_was_not_written_is_not_counted() {
    let mut bench = Bench::started();
    assert!(bench.send("caught").abandoned.is_none());
    let child = bench
        .send("spawn")
        .answer
        .expect("an answer")
        .expect("a value")
        .decode::<Ref>();
    assert_eq!(
        child.map(Ref::vat),
        Ok(VatId::new(VatNumber::new(1), 1)),
        "as a vat loaded from its row would"
    );
}

#[test]
fn exit_failure_wins_over_success() {
    let mut bench = Bench::started();
    let seen = bench.send("fail");
    assert!(seen.vat_ended);
    assert_eq!(
        seen.abandoned.expect("abandoned").cause(),
        Cause::ExitFailure
    );
    let mut bench = Bench::started();
    let seen = bench.send("exit");
    assert!(seen.vat_ended && seen.abandoned.is_none());
    assert!(!seen.state, "what it has become matters to nobody");
}

#[test]
fn start_that_is_refused_ends_the_vat() {
    let mut bench = Bench::unstarted();
    let seen = bench.start(0);
    assert!(seen.vat_ended);
    assert_eq!(seen.abandoned.expect("abandoned").code(), "zero");
    assert!(bench.vat.store.rows_in_memory().is_empty());
}

#[test]
fn random_is_a_function_of_seed_vat_and_crank() {
    let draw = |seen: Seen| {
        seen.answer
            .expect("answer")
            .expect("a value")
            .decode::<(u64, u64)>()
            .expect("two")
    };
    let (mut one, mut two) = (Bench::started(), Bench::started());
    let first = draw(one.send("random"));
    assert_eq!(first, draw(two.send("random")));
    assert_ne!(first.0, first.1);
    assert_ne!(
        first,
        draw(one.send("random")),
        "another crank draws something else"
    );
}

/// A state whose encoding depends on the hash seed of the process.
#[derive(Serialize, Deserialize)]
struct Unordered(HashMap<u64, u64>);

impl Vat for Unordered {
    const KIND: &'static str = "unordered";
    const VERSION: u32 = 1;
    type Env = ();

    fn create(_: &Crank<'_>, (): &(), _: &Message<'_>) -> Result<Self, Rejection> {
        Ok(Self((0..1000).map(|n| (n, n)).collect()))
    }

    fn receive(&mut self, _: &Crank<'_>, (): &(), _: &Message<'_>) -> Answer {
        Ok(Payload::empty())
    }
}

#[test]
fn debug_switch_catches_a_state_that_is_not_canonical() {
    let mut kinds = Kinds::new();
    kinds.add::<Unordered>(()).expect("one kind");
    let mut bench = Bench::unstarted();
    let kind = Arc::clone(kinds.get("unordered").expect("registered"));
    bench.vat = LiveVat::unborn(VatId::new(VatNumber::HOST, 1), VatNumber::new(1), kind);
    let seen = bench.start(1);
    assert_eq!(seen.abandoned.expect("abandoned").code(), "not_canonical");
}

#[test]
fn a_crank_that_needs_a_row_that_cannot_be_read_leaves_nothing() {
    for panics in [false, true] {
        let mut bench = Bench::started();
        let tables = crate::store::tests::FakeTables::default();
        let row = (b"\0far".to_vec(), b"away".to_vec());
        {
            let mut fake = tables.lock();
            fake.history.push([row].into());
            fake.included = 1;
            fake.panics = panics;
        }
        bench.space = Workspace::with_tables(Box::new(tables.clone()), 0);
        let rows = tables.lock().history[0].clone();
        let rows = rows.into_iter().map(Ok::<_, ()>);
        bench.vat.store =
            crate::Store::load([], CrankNumber::new(1), rows, 0).expect("no row fails");
        let act = Act::Send {
            to: Slot::Object(bench.vat.id().into()),
            method: "look_far",
            args: Body::empty(),
            kept: false,
        };
        let mut record = Vec::new();
        act.write(&mut record);
        let id = DeliveryId::new(Seq::new(2), 0);
        let act = crate::Span::new(0, record.len()).of(&record.into());
        let delivery = Delivery::new(DeliveryHead::new(id, Time::new(7), true), What::Act(act));
        for reads in 0..2 {
            tables.lock().reads_left = Some(reads);
            let ran = bench.vat.run(&delivery, &bench.shared, &mut bench.space);
            let unread = ran.expect_err("a read fails");
            assert_eq!(unread.vat, bench.vat.id());
            assert!(
                unread
                    .why
                    .contains(if panics { "panicked" } else { "on purpose" })
            );
            assert_eq!(bench.vat.crank(), CrankNumber::new(1));
        }
        // As if it had not been tried before.
        tables.lock().reads_left = None;
        let seen = bench.send("look_far");
        assert!(seen.abandoned.is_none(), "{seen:?}");
        assert_eq!((seen.acts, bench.count()), (1, 2));
    }
}

/// The records that let go of a hundred rows of a vat that has ended, with so much of its store in memory.
fn cleaned(budget_bytes: usize, fails_between: bool) -> Vec<Vec<u8>> {
    let mut bench = Bench::started();
    let held = Slot::Object(VatId::new(VatNumber::HOST, 2).into());
    let mut rows = std::collections::BTreeMap::new();
    for row in 0..100u8 {
        let mut value = Vec::new();
        Body::put(&mut value, std::slice::from_ref(&held), &[row]);
        rows.insert(vec![rooms::WITH_REFS, row], value);
    }
    let tables = crate::store::tests::FakeTables::default();
    tables.lock().history.push(rows.clone());
    tables.lock().included = 1;
    bench.space = Workspace::with_tables(Box::new(tables.clone()), budget_bytes);
    let rows = rows.into_iter().map(Ok::<_, ()>);
    bench.vat.store =
        crate::Store::load([], CrankNumber::new(1), rows, budget_bytes).expect("no row fails");
    assert!(bench.send("exit").vat_ended);
    let mut records = Vec::new();
    for step in 0.. {
        let id = DeliveryId::new(Seq::new(10 + step), 0);
        let head = DeliveryHead::new(id, Time::new(7), false);
        let delivery = Delivery::new(head, What::Other(Box::new(Other::Clean)));
        if fails_between {
            tables.lock().reads_left = Some(0);
            let failed = bench.vat.run(&delivery, &bench.shared, &mut bench.space);
            assert!(failed.is_err());
            tables.lock().reads_left = None;
        }
        let finished = bench.vat.run(&delivery, &bench.shared, &mut bench.space);
        let record = finished.expect("rows can be read").record;
        let Ok(Record::Crank(crank)) = Record::parse(&record) else {
            panic!("not a crank record")
        };
        let CrankEnd::Cleaned { rows_left } = crank.end else {
            panic!("nothing was cleaned")
        };
        records.push(record.to_vec());
        if !rows_left {
            break;
        }
    }
    records
}

#[test]
fn a_clean_up_lets_go_of_each_row_once_wherever_they_are_and_whatever_fails() {
    let in_memory = cleaned(1 << 20, false);
    assert_eq!(in_memory.len(), 100usize.div_ceil(ROWS_AT_ONCE));
    let bytes = in_memory.concat();
    for row in 0..100u8 {
        let key = [2, rooms::WITH_REFS, row];
        assert_eq!(bytes.windows(3).filter(|three| *three == key).count(), 1);
    }
    assert_eq!(cleaned(0, false), in_memory);
    assert_eq!(cleaned(0, true), in_memory);
}
