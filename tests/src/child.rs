//! A child process that works on a journal until it is killed.

use std::io::{BufRead, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

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
        Self::start_with(Path::new(program), dir, words, &[])
    }

    /// Starts the program with those words after the journal's directory, and with those variables
    /// in its environment.
    ///
    /// # Panics
    ///
    /// When the system does not start it.
    #[must_use]
    pub fn start_with(
        program: &Path,
        dir: &Path,
        words: &[&str],
        variables: &[(&str, &str)],
    ) -> Self {
        let mut command = Command::new(program);
        command
            .arg(dir)
            .args(words)
            .envs(variables.iter().copied())
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
    pub fn kill(mut self) -> (Vec<String>, ExitStatus) {
        // It may have ended by itself, which its status tells.
        let _ = self.child.kill();
        let status = self.child.wait().expect("the child ends");
        (std::iter::from_fn(|| self.line()).collect(), status)
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

    /// Waits for its end; gives what it had said and was not read yet, and how it ended.
    ///
    /// # Panics
    ///
    /// When the system does not tell how it ended.
    #[must_use]
    pub fn end(mut self) -> (Vec<String>, ExitStatus) {
        let lines = std::iter::from_fn(|| self.line()).collect();
        (lines, self.child.wait().expect("the child ends"))
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program of that name that stands beside the one that runs, for code that is in no test and so
/// is not told by cargo where its programs are.
///
/// # Panics
///
/// When it is not there.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("the system knows what runs");
    // Tests stand in a folder below that of the programs.
    let folders = own.ancestors().skip(1).take(2);
    let name = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    let mut places = folders.map(|folder| folder.join(&name));
    places.find(|place| place.is_file()).unwrap_or_else(|| {
        panic!(
            "{name} is not beside {}: `cargo build -p crankcase-tests --bins` makes it",
            own.display()
        )
    })
}
