//! The smallest async runtime there can be, to show that the kernel needs no larger one.

use std::future::{Future, IntoFuture};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

/// Unparks a thread, and remembers from which threads it was told to.
#[derive(Debug)]
pub struct Unparker {
    thread: Thread,
    wakers: Mutex<Vec<String>>,
}

impl Unparker {
    /// One for the calling thread.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            thread: std::thread::current(),
            wakers: Mutex::default(),
        })
    }

    /// The names of the threads that have woken the future.
    #[must_use]
    pub fn woken_by(&self) -> Vec<String> {
        self.wakers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Wake for Unparker {
    fn wake(self: Arc<Self>) {
        let name = std::thread::current()
            .name()
            .unwrap_or("(unnamed)")
            .to_owned();
        self.wakers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(name);
        self.thread.unpark();
    }
}

/// Runs a future to its end on the calling thread.
pub fn block_on<F: IntoFuture>(future: F) -> F::Output {
    block_on_with(&Unparker::new(), future)
}

/// Runs a future to its end on the calling thread, for which `unparker` was made.
pub fn block_on_with<F: IntoFuture>(unparker: &Arc<Unparker>, future: F) -> F::Output {
    let waker = Waker::from(Arc::clone(unparker));
    let mut future = pin!(future.into_future());
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// Polls a future once.
pub fn poll_once<F: IntoFuture>(future: F) -> Poll<F::Output> {
    let waker = Waker::from(Unparker::new());
    pin!(future.into_future()).poll(&mut Context::from_waker(&waker))
}
