//! Handing records over: a crossbeam channel against a locked queue, in the two ways in which the
//! kernel does it.
//!
//! *In place*: the thread that gives also takes, as when it finds the sequencer's role free.
//! *Across*: another thread gives a burst while this one takes, as when the role is held.

use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crankcase_benches::trial::Trial;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use crossbeam_channel::{Receiver, Sender, unbounded};

/// As large as what a worker hands over, about.
type Record = [u64; 8];

const BURST: u64 = 1_000;

trait Queue: Send + Sync + 'static {
    fn push(&self, record: Record);
    fn pop(&self) -> Option<Record>;
}

struct Channel(Sender<Record>, Receiver<Record>);

impl Queue for Channel {
    fn push(&self, record: Record) {
        self.0
            .send(record)
            .expect("the receiver stands beside the sender");
    }

    fn pop(&self) -> Option<Record> {
        self.1.try_recv().ok()
    }
}

struct Locked(Mutex<VecDeque<Record>>);

impl Queue for Locked {
    fn push(&self, record: Record) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push_back(record);
    }

    fn pop(&self) -> Option<Record> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front()
    }
}

/// The time until this thread has taken what another gave.
fn across(queue: &Arc<impl Queue>, records: u64) -> Trial {
    let giver = Arc::clone(queue);
    let begun = Instant::now();
    let giving = thread::spawn(move || (0..records).for_each(|at| giver.push([at; 8])));
    let mut taken = 0;
    while taken < records {
        match queue.pop() {
            Some(record) => {
                black_box(record);
                taken += 1;
            }
            None => std::hint::spin_loop(),
        }
    }
    let elapsed = begun.elapsed();
    giving.join().expect("giving does not panic");
    Trial {
        messages: records,
        elapsed,
    }
}

fn measure(criterion: &mut Criterion, name: &str, queue: impl Queue) {
    let queue = Arc::new(queue);
    let mut group = criterion.benchmark_group(format!("hand over, {name}"));
    group.throughput(Throughput::Elements(1));
    group.bench_function("in place", |bencher| {
        bencher.iter(|| {
            queue.push(black_box([1; 8]));
            queue.pop()
        });
    });
    group.throughput(Throughput::Elements(BURST));
    group.bench_function("across", |bencher| {
        // Many bursts at once, so that the start of the thread that gives them does not count.
        bencher.iter_custom(|bursts| -> Duration { across(&queue, bursts * BURST).elapsed });
    });
    group.finish();
}

fn hand_over(criterion: &mut Criterion) {
    let (sender, receiver) = unbounded();
    measure(criterion, "crossbeam channel", Channel(sender, receiver));
    measure(criterion, "locked queue", Locked(Mutex::default()));
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = hand_over
}
criterion_main!(benches);
