//! Why a command was not done, and what status the process then leaves with.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use crankcase::InspectError;
use crankcase::JournalError;
use crankcase::replay::ReplayError;
use crankcase::verify::VerifyError;

use crate::ledger::generate::WriteError;
use crate::ledger::input_error::InputError;
use crate::ledger::run::RunError;

/// How a command ended: the exit status of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It is done: 0.
    Done,
    /// `verify` cannot vouch for the journal, or `replay` found a difference: 1.
    Unsound,
    /// Anything else kept it from being done: 2.
    Failed,
}

impl Status {
    /// The number.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Unsound => 1,
            Self::Failed => 2,
        }
    }
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        Self::from(status.code())
    }
}

/// Why a command was not done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// A word of the command line means nothing.
    #[error("{0}")]
    Usage(String),
    /// A CSV file is no input.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The generated files could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The ledger did not run to its end.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The journal could not be looked into.
    #[error(transparent)]
    Inspect(#[from] InspectError),
    /// The journal could not be verified, or is not sound.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// The journal could not be run again.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The code leaves another record than the journal has.
    #[error("record {seq} is not what this code leaves")]
    Differs {
        /// The first such record.
        seq: u64,
    },
    /// The journal's directory does not exist, or is something else.
    #[error("{}: there is no such directory", path.display())]
    NoDirectory {
        /// What was named.
        path: PathBuf,
    },
    /// A directory could not be made.
    #[error("{}: {source}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Standard output does not take what is written to it.
    #[error("standard output: {0}")]
    Output(#[from] io::Error),
    /// What was found cannot be written as JSON.
    #[error("the JSON could not be written: {0}")]
    Json(#[from] serde_json::Error),
}

impl CommandError {
    /// The status that the process leaves with.
    #[must_use]
    pub const fn status(&self) -> Status {
        match self {
            // Trouble with the disk, or someone who has it open, says nothing about the journal.
            Self::Verify(VerifyError::Open(
                JournalError::OpenElsewhere | JournalError::Io { .. },
            )) => Status::Failed,
            Self::Verify(VerifyError::Open(_) | VerifyError::Damaged { .. })
            | Self::Differs { .. } => Status::Unsound,
            _ => Status::Failed,
        }
    }

    /// The error and what is behind it, on one line.
    #[must_use]
    pub fn line(&self) -> String {
        let mut text = self.to_string();
        let mut source = self.source();
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            // Some errors tell their cause themselves.
            if !text.contains(&cause_text) {
                text.push_str(": ");
                text.push_str(&cause_text);
            }
            source = cause.source();
        }
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        lines.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line_however_many_its_cause_has() {
        let source = io::Error::other("the first line\n  and the second");
        let path = PathBuf::from("there");
        let error = CommandError::Directory { path, source };
        assert_eq!(error.line(), "there: the first line and the second");
        assert_eq!(error.status(), Status::Failed);
    }
}
