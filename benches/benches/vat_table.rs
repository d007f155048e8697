//! Finding a vat's cell: by id in a table that all threads share, by id in a map of one owner, and
//! by slot in a plain vector of one owner.
//!
//! Only the holder of the sequencer's role looks cells up, so the vector and the map need no
//! synchronisation; the shared table is measured without anyone else in it, which is its best case.

use std::hash::BuildHasherDefault;
use std::hint::black_box;
use std::sync::Arc;

use crankcase::VatId;
use crankcase_benches::actor::vat_of;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dashmap::DashMap;
use rustc_hash::{FxHashMap, FxHasher};

const VATS: u32 = 10_000;
const LOOKUPS: usize = 1_000;

/// As large as a cell is about, so that cells share no cache line.
type Cell = [u64; 16];

fn vat_table(criterion: &mut Criterion) {
    // A walk over the vats that no prefetcher foresees: steps by a number coprime to theirs.
    let walk: Vec<u32> = (0..LOOKUPS as u32)
        .map(|step| step * 7_919 % VATS)
        .collect();
    let ids: Vec<VatId> = walk.iter().map(|&vat| vat_of(vat)).collect();
    let cell = |vat: u32| Arc::new([u64::from(vat); 16]);

    let mut group = criterion.benchmark_group("vat table");
    group.throughput(Throughput::Elements(LOOKUPS as u64));

    let slots: Vec<Option<Arc<Cell>>> = (0..VATS).map(|vat| Some(cell(vat))).collect();
    group.bench_function("slot in a vector", |bencher| {
        bencher.iter(|| -> u64 {
            let found = walk
                .iter()
                .filter_map(|&slot| slots[black_box(slot) as usize].as_ref());
            found.map(|cell| Arc::clone(cell)[0]).sum()
        });
    });

    let owned: FxHashMap<VatId, Arc<Cell>> =
        (0..VATS).map(|vat| (vat_of(vat), cell(vat))).collect();
    group.bench_function("id in a map of one owner", |bencher| {
        bencher.iter(|| -> u64 {
            let found = ids.iter().filter_map(|id| owned.get(black_box(id)));
            found.map(|cell| Arc::clone(cell)[0]).sum()
        });
    });

    let shared: DashMap<VatId, Arc<Cell>, BuildHasherDefault<FxHasher>> =
        (0..VATS).map(|vat| (vat_of(vat), cell(vat))).collect();
    group.bench_function("id in a dashmap, same hasher", |bencher| {
        bencher.iter(|| -> u64 {
            let found = ids.iter().filter_map(|id| shared.get(black_box(id)));
            found.map(|cell| Arc::clone(&*cell)[0]).sum()
        });
    });

    let default: DashMap<VatId, Arc<Cell>> =
        (0..VATS).map(|vat| (vat_of(vat), cell(vat))).collect();
    group.bench_function("id in a dashmap", |bencher| {
        bencher.iter(|| -> u64 {
            let found = ids.iter().filter_map(|id| default.get(black_box(id)));
            found.map(|cell| Arc::clone(&*cell)[0]).sum()
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = vat_table
}
criterion_main!(benches);
