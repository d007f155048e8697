//! What the vats of a test can reach of the test: calls that it has left there under a name.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

type Call = Arc<dyn Fn() + Send + Sync>;

/// Calls by name, for [`Step::Call`](crate::Step::Call). A name that nobody left a call under does
/// nothing, so that a journal can be reopened by a test that no longer wants to interfere.
#[derive(Default)]
pub struct Yard(RwLock<BTreeMap<String, Call>>);

impl Yard {
    /// A yard in which nothing happens.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Leaves a call under a name, in place of the one before.
    pub fn on(&self, name: &str, call: impl Fn() + Send + Sync + 'static) {
        let mut calls = self.0.write().unwrap_or_else(PoisonError::into_inner);
        calls.insert(name.to_owned(), Arc::new(call));
    }

    /// Does what was left under the name.
    pub fn call(&self, name: &str) {
        let calls = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let call = calls.get(name).cloned();
        // The call may block for as long as it likes, so the lock must not be held meanwhile.
        drop(calls);
        if let Some(call) = call {
            call();
        }
    }
}

impl fmt::Debug for Yard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Yard")
    }
}
