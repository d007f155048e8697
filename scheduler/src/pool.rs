//! The threads that workers run on: a private rayon pool, so that pieces of a crank that uses rayon
//! stay among them.
//!
//! Under shuttle they are threads of a schedule, and `pool/pieces.rs` is what cranks use there in
//! place of rayon.

#[cfg(crankcase_shuttle)]
mod pieces;

#[cfg(not(crankcase_shuttle))]
use crate::sync::thread::ThreadId;

#[cfg(crankcase_shuttle)]
pub use pieces::join;
#[cfg(crankcase_shuttle)]
pub(crate) use pieces::{Pool, help_along};

/// See the module's text.
#[cfg(not(crankcase_shuttle))]
pub(crate) struct Pool(rayon::ThreadPool);

#[cfg(not(crankcase_shuttle))]
impl Pool {
    /// Threads that have nothing to do yet.
    ///
    /// # Errors
    ///
    /// Why the system does not give them.
    pub(crate) fn new(threads: usize) -> Result<Self, rayon::ThreadPoolBuildError> {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|index| format!("crankcase-worker-{index}"))
            // Without one, rayon aborts the process when a piece that a crank spawned panics.
            .panic_handler(|_| tracing::error!("something spawned on a worker panicked"))
            .build()
            .map(Self)
    }

    /// Who they are.
    pub(crate) fn ids(&self) -> Vec<ThreadId> {
        self.0.broadcast(|_| crate::sync::thread::current().id())
    }

    /// Has each of them do that, with its index.
    pub(crate) fn start(&self, work: impl Fn(usize) + Send + Sync + 'static) {
        self.0.spawn_broadcast(move |context| work(context.index()));
    }
}

/// Does pieces of cranks on other threads of the pool, as long as there are any.
#[cfg(not(crankcase_shuttle))]
pub(crate) fn help_along() {
    while let Some(rayon::Yield::Executed) = rayon::yield_now() {}
}
