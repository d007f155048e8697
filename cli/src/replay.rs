//! `crankcase replay`: whether the code at hand still leaves the records of a journal.
//!
//! The kernel's library runs the cranks; this only says what it found.

use std::path::Path;

use crankcase::{Kernel, KernelBuilder};

use crate::console::Console;
use crate::error::CommandError;

pub(crate) fn execute(
    journal: &Path,
    kinds: impl FnOnce(KernelBuilder) -> KernelBuilder,
    console: &mut Console<'_>,
) -> Result<(), CommandError> {
    if !journal.is_dir() {
        let path = journal.to_owned();
        return Err(CommandError::NoDirectory { path });
    }
    let report = kinds(Kernel::builder(journal)).replay()?;
    writeln!(console.out, "{report}")?;
    match report.difference {
        None => Ok(()),
        Some(difference) => Err(CommandError::Differs {
            seq: difference.seq.get(),
        }),
    }
}
