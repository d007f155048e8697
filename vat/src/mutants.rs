//! Seeded faults. Each breaks one guarantee or one guard, so that a test can show that it would see
//! that; `tests/mutants/table`, `loom-tests/mutants` and `shuttle-tests/mutants` name it. Without the
//! feature `mutants` there are none.

/// Whether the fault of that name is to be there. One at most is: the environment's
/// `CRANKCASE_MUTANT` names it.
#[cfg(feature = "mutants")]
#[must_use]
pub fn mutant(name: &str) -> bool {
    use std::sync::OnceLock;
    static WOKEN: OnceLock<Option<String>> = OnceLock::new();
    let woken = WOKEN.get_or_init(|| std::env::var("CRANKCASE_MUTANT").ok());
    woken.as_deref() == Some(name)
}

/// There are none without the feature.
#[cfg(not(feature = "mutants"))]
#[must_use]
#[inline(always)]
pub const fn mutant(_name: &str) -> bool {
    false
}
