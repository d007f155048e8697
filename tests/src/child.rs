//! A child process that works on a journal until it is killed.

use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

/// A running child. It is killed when it is dropped.
#[derive(Debug)]
pub struct Victim {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Victim {
    /// Starts the program with those words after the journal's directory.
    ///
    /// # Panics
    ///
    /// When the system does not start it.
    #[must_use]
    pub fn start(program: &str, dir: &Path, words: &[&str]) -> Self {
        let mut command = Command::new(program);
        command
            .arg(dir)
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().expect("the child starts");
        let output = child.stdout.take().expect("its output is piped");
        Self {
            child,
            lines: BufReader::new(output).lines(),
        }
    }

    /// The next line that it says; none when it has ended, or its last line was cut short.
    pub fn line(&mut self) -> Option<String> {
        self.lines.next().and_then(Result::ok)
    }

    /// Reads up to that many lines, or until it ends.
    pub fn lines(&mut self, count: u64) -> Vec<String> {
        (0..count).map_while(|_| self.line()).collect()
    }

    /// Kills it (SIGKILL) and gives what it had said and was not read yet.
    ///
    /// # Panics
    ///
    /// When the system does not tell how it ended.
    pub fn kill(mut self) -> Vec<String> {
        // It may have ended by itself, which is what the caller wants.
        let _ = self.child.kill();
        self.child.wait().expect("the child ends");
        std::iter::from_fn(|| self.line()).collect()
    }

    /// Waits for its end, and says whether that was a success.
    ///
    /// # Panics
    ///
    /// When the system does not tell how it ended.
    #[must_use]
    pub fn ended_well(mut self) -> bool {
        while self.line().is_some() {}
        self.child.wait().expect("the child ends").success()
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
