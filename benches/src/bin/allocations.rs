//! Allocations for each message in steady state, and the size of a record.

// The only way to count allocations is to be the allocator.
#![expect(
    unsafe_code,
    reason = "an allocator that counts is an unsafe trait by its nature"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::Parser;
use crankcase::Kernel;
use crankcase_benches::Fallible;
use crankcase_benches::measure::{head, row};
use crankcase_benches::scratch::Scratch;
use crankcase_benches::trial::{CLOSING, KernelRun};
use crankcase_benches::workloads::Workload;

/// Allocations per message, and bytes per record, of workloads on the kernel.
#[derive(Parser)]
struct Options {
    /// Messages of the shorter run; the longer has five times as many, and what it allocates more
    /// is divided by the messages that it has more.
    #[arg(long, default_value_t = 500_000)]
    messages: u64,
    /// The workloads.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Workload::PingPong, Workload::Bank])]
    workloads: Vec<Workload>,
    /// Where the journals go.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// A few seconds in all, to see that everything runs.
    #[arg(long)]
    quick: bool,
}

/// The system's allocator, counted.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static ALLOCATED_BYTES: AtomicU64 = AtomicU64::new(0);

fn count(bytes: usize) {
    // Read only while the kernel is idle, so nothing needs to be ordered.
    ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    ALLOCATED_BYTES.fetch_add(bytes as u64, Ordering::Relaxed);
}

// SAFETY: every call goes to the system's allocator as it came; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller keeps the contract of `alloc`, which is the same there.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(new_size);
        // SAFETY: the block came from the system's allocator, through this one.
        unsafe { System.realloc(block, layout, new_size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What one run used.
struct Used {
    messages: f64,
    allocations: f64,
    allocated_bytes: f64,
    record_bytes: f64,
}

fn main() -> Fallible<()> {
    let mut options = Options::parse();
    if options.quick {
        options.messages = 20_000;
    }
    println!(
        "{}",
        head(&[
            "workload",
            "allocations per message",
            "bytes allocated per message",
            "bytes per record"
        ])
    );
    for &workload in &options.workloads {
        let short = run(workload, options.messages, &options)?;
        let long = run(workload, 5 * options.messages, &options)?;
        let messages = long.messages - short.messages;
        println!(
            "{}",
            row(&[
                workload.name().to_owned(),
                format!("{:.3}", (long.allocations - short.allocations) / messages),
                format!(
                    "{:.1}",
                    (long.allocated_bytes - short.allocated_bytes) / messages
                ),
                format!("{:.1}", long.record_bytes),
            ])
        );
    }
    Ok(())
}

fn run(workload: Workload, messages: u64, options: &Options) -> Fallible<Used> {
    let scratch = Scratch::new(options.dir.as_deref())?;
    let one = workload.plan(1).messages;
    let plan = workload.plan((messages / one).max(1));
    let run = KernelRun::prepare(Kernel::builder(scratch.join("journal")).workers(2), &plan)?;
    let before = run.kernel.stats();
    let count = || {
        (
            ALLOCATIONS.load(Ordering::Relaxed),
            ALLOCATED_BYTES.load(Ordering::Relaxed),
        )
    };
    let counted = count();
    let trial = run.start(&plan)?;
    let now = count();
    let after = run.kernel.stats();
    run.kernel.close(CLOSING)?;
    let records = after.sequenced.get() - before.sequenced.get();
    Ok(Used {
        messages: trial.messages as f64,
        allocations: (now.0 - counted.0) as f64,
        allocated_bytes: (now.1 - counted.1) as f64,
        record_bytes: (after.group_bytes - before.group_bytes) as f64 / records as f64,
    })
}
