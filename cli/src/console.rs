//! Where a command writes.

use std::io::Write;

/// Where a command writes: standard output and standard error, or what stands for them in a test.
pub struct Console<'a> {
    /// What was asked for.
    pub out: &'a mut dyn Write,
    /// Why it could not be had.
    pub err: &'a mut dyn Write,
    /// Whether long work may draw a progress bar on the process's own standard error. It does so
    /// only where that is a terminal.
    pub shows_progress: bool,
}

impl std::fmt::Debug for Console<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Console")
            .field("shows_progress", &self.shows_progress)
            .finish_non_exhaustive()
    }
}
