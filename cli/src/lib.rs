//! The `crankcase` command, as a library.
//!
//! It turns words on a command line into calls of the [`crankcase`] kernel, and what comes back
//! into lines and an exit status. It knows what a ledger is, and nothing of how a kernel works.
//!
//! A host that wants to look into its journals with its own program calls [`main`] with its kinds:
//! then `inspect`, `verify` and `replay` are there under its own name, and `replay` runs its own
//! code. [`main_with`] is the `crankcase` command itself. To catch what is written there are
//! [`execute_host`] and [`execute`].

mod args;
mod console;
mod error;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod inspect;
pub mod ledger;
mod replay;
mod verify;

use std::ffi::OsString;
use std::io;
use std::process::ExitCode;

use clap::Parser;
use crankcase::KernelBuilder;

use args::{Arguments, Command, HostArguments, HostCommand};
pub use console::Console;
pub use error::{CommandError, Status};

/// Does what the words say that the program was called with: `inspect`, `verify` and `replay` for
/// the journals of a host whose kinds are registered by `kinds`.
///
/// ```no_run
/// # use crankcase::{Answer, Crank};
/// # #[derive(serde::Serialize, serde::Deserialize)]
/// # struct Account(u64);
/// # #[crankcase::vat(kind = "account", version = 1)]
/// # impl Account {
/// #     #[create]
/// #     fn open(_cx: &Crank<Self>) -> Answer<Self> { Ok(Account(0)) }
/// # }
/// fn main() -> std::process::ExitCode {
///     crankcase_cli::main(|builder| builder.kind::<Account>(()))
/// }
/// ```
pub fn main(kinds: impl FnOnce(KernelBuilder) -> KernelBuilder) -> ExitCode {
    let mut console = Console {
        out: &mut io::stdout(),
        err: &mut io::stderr(),
        shows_progress: true,
    };
    execute_host(std::env::args_os(), kinds, &mut console).into()
}

/// As [`main`], with `arguments`, the first of which is the program's name, and writing to
/// `console`.
pub fn execute_host<I>(
    arguments: I,
    kinds: impl FnOnce(KernelBuilder) -> KernelBuilder,
    console: &mut Console<'_>,
) -> Status
where
    I: IntoIterator,
    I::Item: Into<OsString> + Clone,
{
    let command = match HostArguments::try_parse_from(arguments) {
        Ok(arguments) => arguments.command,
        Err(answer) => return answer_usage(&answer, console),
    };
    let done = look(&command, kinds, console);
    finish(done, console)
}

/// Looks into a journal.
fn look(
    command: &HostCommand,
    kinds: impl FnOnce(KernelBuilder) -> KernelBuilder,
    console: &mut Console<'_>,
) -> Result<(), CommandError> {
    match command {
        HostCommand::Inspect(arguments) => inspect::execute(arguments, console),
        HostCommand::Verify { journal } => verify::execute(journal, console),
        HostCommand::Replay { journal } => replay::execute(journal, kinds, console),
    }
}

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
        Command::Journal(command) => look(command, ledger::kinds, console),
    };
    finish(done, console)
}

/// Says how a command ended.
fn finish(done: Result<(), CommandError>, console: &mut Console<'_>) -> Status {
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
