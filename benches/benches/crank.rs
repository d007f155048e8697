//! One crank without threads or disk: delivery in, record out; and reading that record again.

use std::hint::black_box;
use std::sync::Arc;

use crankcase_benches::actor::{Member, vat_of};
use crankcase_benches::workloads::{Args, Method, Workload};
use crankcase_vat::record::{Act, Record};
use crankcase_vat::{
    Body, Delivery, DeliveryHead, DeliveryId, Kinds, Limits, LiveVat, ObjectId, Payload, Ref, Seq,
    Shared, Slot, Span, Time, Vat, VatNumber, What, Workspace,
};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// A vat with an actor in it, and the ping that it is handed over and over.
struct Bed {
    vat: LiveVat,
    shared: Shared,
    space: Workspace,
    ping: Delivery,
}

fn delivery(act: &Act<'_>) -> Delivery {
    let mut record = Vec::new();
    act.write(&mut record);
    let act = Span::new(0, record.len()).of(&record.into());
    let id = DeliveryId::new(Seq::new(1), 0);
    Delivery::new(DeliveryHead::new(id, Time::ZERO, false), What::Act(act))
}

/// A payload as it stands in an act.
fn body(payload: &Payload) -> Vec<u8> {
    let mut raw = Vec::new();
    Body::put(&mut raw, payload.slots(), payload.bytes());
    raw
}

impl Bed {
    fn new() -> Self {
        let mut kinds = Kinds::new();
        kinds.add::<Member>(()).expect("the only kind has no rival");
        let kind = Arc::clone(kinds.get(Member::KIND).expect("it was added above"));
        let shared = Shared {
            kinds,
            limits: Limits::default(),
            seed: [0; 32],
            check_canonical: false,
        };
        let mut vat = LiveVat::unborn(vat_of(1), VatNumber::new(2), kind);
        let ponger = &Workload::PingPong.plan(1).actors[1];
        let start = Payload::of(&Member::from(ponger)).expect("the state is plain data");
        let start = body(&start);
        let spawn = Act::Spawn {
            counter: 2,
            kind: Member::KIND,
            version: Member::VERSION,
            args: Body::read(&start).expect("it was put together above"),
            name: "",
        };
        let mut space = Workspace::new();
        let ran = vat.run(&delivery(&spawn), &shared, &mut space);
        ran.expect("the store is in memory");
        let ping = Payload::of(&(Args::default(), Ref::to(vat_of(0))));
        let ping = body(&ping.expect("the arguments are plain data"));
        let send = Act::Send {
            to: Slot::Object(ObjectId::root(vat_of(1))),
            method: Method::Ping.name(),
            args: Body::read(&ping).expect("it was put together above"),
            kept: false,
        };
        Self {
            vat,
            shared,
            space,
            ping: delivery(&send),
        }
    }
}

fn crank(criterion: &mut Criterion) {
    let mut bed = Bed::new();
    let ran = bed.vat.run(&bed.ping, &bed.shared, &mut bed.space);
    let record = ran.expect("the store is in memory").record;
    let mut group = criterion.benchmark_group("crank");
    group.throughput(Throughput::Elements(1));
    group.bench_function("run a ping", |bencher| {
        bencher.iter(|| {
            bed.vat
                .run(black_box(&bed.ping), &bed.shared, &mut bed.space)
        });
    });
    group.throughput(Throughput::Bytes(record.len() as u64));
    group.bench_function("parse its record", |bencher| {
        bencher.iter(|| match Record::parse(black_box(&record)) {
            Ok(Record::Crank(record)) => record.acts().filter(Result::is_ok).count(),
            other => panic!("a crank leaves a crank's record, and not {other:?}"),
        });
    });
    group.bench_function("validate its record", |bencher| {
        bencher.iter(|| Record::parse(black_box(&record)).and_then(|record| record.validate()));
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = crank
}
criterion_main!(benches);
