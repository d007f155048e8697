//! What the targets share: an allocator that ends the program when a decoder asks for more memory than its input can
//! mean.

use std::alloc::{GlobalAlloc, Layout, System};

/// The most that one allocation may take. Inputs have at most 4096 bytes, and no decoder makes a thousand of one.
const MOST_BYTES: usize = 4 << 20;

/// The system's allocator, with a bound on single allocations.
#[derive(Debug)]
pub struct Bounded;

impl Bounded {
    fn check(bytes: usize) {
        if bytes > MOST_BYTES {
            // Nothing that allocates may run here. The fuzzer takes the abort for a crash and keeps the input.
            std::process::abort();
        }
    }
}

// SAFETY: each method hands its arguments to the system's allocator, which keeps the contract for them.
unsafe impl GlobalAlloc for Bounded {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::check(layout.size());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        Self::check(bytes);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(at, layout, bytes) }
    }
}

/// Makes a target of a list of decoders.
#[macro_export]
macro_rules! target {
    ($decoders:path, $run:path) => {
        #[global_allocator]
        static BOUNDED: $crate::Bounded = $crate::Bounded;

        libfuzzer_sys::fuzz_target!(|input: &[u8]| $run($decoders, input));
    };
}
