//! The `crankcase` command, as a library.
//!
//! It turns words on a command line into calls of the [`crankcase`] kernel, and what comes back
//! into lines and an exit status. It knows what a ledger is, and nothing of how a kernel works.
//!
//! A host that wants the command under its own name, beside commands of its own, calls
//! [`main_with`] or, to catch what is written, [`execute`].

mod args;
mod console;
mod error;
mod inspect;
pub mod ledger;
mod verify;

use std::ffi::OsString;
use std::io;
use std::process::ExitCode;

use clap::Parser;

use args::{Arguments, Command};
pub use console::Console;
pub use error::{CommandError, Status};

/// Does what `arguments` say, the first of which is the program's name, on the standard streams
/// of the process.
pub fn main_with<I>(arguments: I) -> ExitCode
where
    I: IntoIterator,
    I::Item: Into<OsString> + Clone,
{
    // Both streams are locked for each line and not for the whole run: the progress bar, which
    // has its own handle, must not wait for the end of it.
    let mut console = Console {
        out: &mut io::stdout(),
        err: &mut io::stderr(),
        shows_progress: true,
    };
    execute(arguments, &mut console).into()
}

/// Does what `arguments` say, the first of which is the program's name, and writes to `console`.
pub fn execute<I>(arguments: I, console: &mut Console<'_>) -> Status
where
    I: IntoIterator,
    I::Item: Into<OsString> + Clone,
{
    let command = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments.command,
        Err(answer) => return answer_usage(&answer, console),
    };
    let done = match &command {
        Command::Ledger { command } => ledger::execute(command.as_ref(), console),
        Command::Inspect(arguments) => inspect::execute(arguments, console),
        Command::Verify { journal } => verify::execute(journal, console),
    };
    match done.and_then(|()| Ok(console.out.flush()?)) {
        Ok(()) => Status::Done,
        Err(error) => {
            // When standard error is gone too, the status still says it.
            let _ = writeln!(console.err, "{}", error.line());
            error.status()
        }
    }
}

/// Help that was asked for is what the command is to do; any other answer is an error.
fn answer_usage(answer: &clap::Error, console: &mut Console<'_>) -> Status {
    let text = answer.render();
    if answer.use_stderr() {
        let _ = write!(console.err, "{text}");
        Status::Failed
    } else if write!(console.out, "{text}").is_ok() {
        Status::Done
    } else {
        Status::Failed
    }
}
