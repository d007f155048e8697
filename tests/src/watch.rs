//! A scenario that hangs ends the test program with its name, instead of hanging it for ever.

use std::io::{Write, stderr};
use std::panic::Location;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// How long a scenario may take. Nothing is measured by it: it is far above what any needs.
const LONGEST: Duration = Duration::from_secs(120);

/// Watches from when it is made to when it is dropped.
#[derive(Debug)]
pub struct Watch {
    _alive: Sender<()>,
}

impl Watch {
    /// Begins to watch the scenario at the caller's line.
    #[must_use]
    #[track_caller]
    pub fn new(what: String) -> Self {
        let place = Location::caller();
        let (alive, ended) = channel();
        std::thread::spawn(move || {
            if let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(LONGEST) {
                // Past what keeps the words of a test until it has ended, which it will not.
                let _ = writeln!(stderr(), "the scenario at {place} hangs ({what})");
                std::process::abort();
            }
        });
        Self { _alive: alive }
    }
}
