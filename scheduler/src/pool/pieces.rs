//! A pool of a schedule's threads, and `join` over it, with rayon's rules as far as they matter to
//! workers and cranks:
//!
//! * one half of a join lies open to the pool's other threads while the first half is done;
//! * a thread that has done its half takes the other one back, or waits until who took it has done
//!   it, and does other pieces meanwhile;
//! * a worker with nothing to do does pieces of others ([`help_along`]) before it sleeps;
//! * a panic in a piece is a panic of the join.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use crate::sync::thread::{self, JoinHandle, ThreadId};
use crate::sync::{Condvar, Mutex, lock, mpsc, wait};

type Work = Arc<dyn Fn(usize) + Send + Sync>;

/// One half of a join: done by whoever takes it out.
type Half = Arc<Mutex<Option<Box<dyn FnOnce() + Send>>>>;

/// The pieces that lie open.
#[derive(Default)]
struct Pieces {
    open: VecDeque<Half>,
}

struct Shared {
    pieces: Mutex<Pieces>,
    /// A piece was laid open, or done.
    changed: Condvar,
}

/// The threads that workers run on.
pub(crate) struct Pool {
    threads: Vec<(mpsc::Sender<Work>, JoinHandle<()>)>,
}

shuttle::thread_local! {
    /// The pool that this thread is one of.
    static POOL: RefCell<Option<Arc<Shared>>> = RefCell::new(None);
}

impl Pool {
    /// Threads that have nothing to do yet.
    pub(crate) fn new(threads: usize) -> Result<Self, Infallible> {
        let shared = Arc::new(Shared {
            pieces: Mutex::new(Pieces::default()),
            changed: Condvar::new(),
        });
        let threads = (0..threads).map(|index| {
            let (start, started) = mpsc::channel::<Work>();
            let shared = Arc::clone(&shared);
            let thread = thread::Builder::new().name(format!("crankcase-worker-{index}"));
            let thread = thread.spawn(move || {
                POOL.with(|pool| *pool.borrow_mut() = Some(shared));
                // A kernel that could not be opened drops its pool unused.
                if let Ok(work) = started.recv() {
                    work(index);
                }
            });
            (
                start,
                thread.expect("a schedule has as many threads as it likes"),
            )
        });
        Ok(Self {
            threads: threads.collect(),
        })
    }

    /// Who they are.
    pub(crate) fn ids(&self) -> Vec<ThreadId> {
        let threads = self.threads.iter();
        threads.map(|(_, thread)| thread.thread().id()).collect()
    }

    /// Has each of them do that, with its index.
    pub(crate) fn start(&self, work: impl Fn(usize) + Send + Sync + 'static) {
        let work: Work = Arc::new(work);
        for (start, _) in &self.threads {
            start
                .send(Arc::clone(&work))
                .expect("a thread of the pool waits for its work");
        }
    }
}

impl Shared {
    /// Does a piece of someone's, if one lies open.
    fn do_one(&self) -> bool {
        let half = lock(&self.pieces).open.pop_front();
        let Some(half) = half else {
            return false;
        };
        let piece = lock(&half).take();
        if let Some(piece) = piece {
            piece();
        }
        true
    }
}

/// Does pieces of cranks on other threads of the pool, as long as there are any.
pub(crate) fn help_along() {
    let pool = POOL.with(|pool| pool.borrow().clone());
    if let Some(pool) = pool {
        while pool.do_one() {}
    }
}

/// Does two things that may be done at once, and gives what they give. For cranks of a schedule.
///
/// # Panics
///
/// When one of them does, or when it is called from outside of a pool.
pub fn join<A, B>(first: impl FnOnce() -> A, second: impl FnOnce() -> B + Send + 'static) -> (A, B)
where
    B: Send + 'static,
{
    let pool = POOL.with(|pool| pool.borrow().clone());
    let pool = pool.expect("a crank runs on a thread of a pool");
    let done = Arc::new(Mutex::new(None));
    let half: Half = {
        let (done, pool) = (Arc::clone(&done), Arc::clone(&pool));
        Arc::new(Mutex::new(Some(Box::new(move || {
            let result = catch_unwind(AssertUnwindSafe(second));
            *lock(&done) = Some(result);
            drop(lock(&pool.pieces));
            pool.changed.notify_all();
        }))))
    };
    lock(&pool.pieces).open.push_back(Arc::clone(&half));
    pool.changed.notify_all();
    let first = catch_unwind(AssertUnwindSafe(first));
    // Bound before it is done, or the lock would be held meanwhile.
    let taken_back = lock(&half).take();
    if let Some(piece) = taken_back {
        piece();
    }
    let second = loop {
        if let Some(second) = lock(&done).take() {
            break second;
        }
        if pool.do_one() {
            continue;
        }
        let pieces = lock(&pool.pieces);
        if pieces.open.is_empty() && lock(&done).is_none() {
            drop(wait(&pool.changed, pieces));
        }
    };
    match (first, second) {
        (Ok(first), Ok(second)) => (first, second),
        (Err(panic), _) | (_, Err(panic)) => resume_unwind(panic),
    }
}
