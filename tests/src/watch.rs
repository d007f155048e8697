//! A scenario that hangs ends the test program with its name, instead of hanging it for ever.

use std::io::{Write, stderr};
use std::panic::Location;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// How many seconds a scenario may take, unless [`LONGEST_VARIABLE`] says otherwise. Nothing is measured by
/// it: it is far above what any needs.
const LONGEST: u64 = 600;

/// The variable with which those who expect a hang wait for less time.
const LONGEST_VARIABLE: &str = "CRANKCASE_LONGEST_SECONDS";

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
        let longest = std::env::var(LONGEST_VARIABLE).ok();
        let longest = longest.map_or(LONGEST, |said| said.parse().expect("seconds"));
        std::thread::spawn(move || {
            let longest = Duration::from_secs(longest);
            if let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(longest) {
                // Past what keeps the words of a test until it has ended, which it will not.
                let _ = writeln!(stderr(), "the scenario at {place} hangs ({what})");
                std::process::abort();
            }
        });
        Self { _alive: alive }
    }
}
