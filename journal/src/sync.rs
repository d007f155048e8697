//! The primitives of what the journal's threads share, from one place: the standard library's,
//! loom's under `--cfg crankcase_loom`, shuttle's under `--cfg crankcase_shuttle`.

#[cfg(not(any(crankcase_loom, crankcase_shuttle)))]
use std::sync as primitives;

#[cfg(crankcase_loom)]
use loom::sync as primitives;

#[cfg(crankcase_shuttle)]
use shuttle::sync as primitives;

pub(crate) use primitives::{
    Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard,
    atomic::{AtomicU64, Ordering},
};
