//! `crankcase verify`: whether a journal is sound from end to end.
//!
//! The kernel's library looks; this only says what it found.

use std::path::Path;

use crate::console::Console;
use crate::error::CommandError;

pub(crate) fn execute(journal: &Path, console: &mut Console<'_>) -> Result<(), CommandError> {
    if !journal.is_dir() {
        let path = journal.to_owned();
        return Err(CommandError::NoDirectory { path });
    }
    let report = crankcase::verify::verify(journal)?;
    writeln!(console.out, "{report}")?;
    Ok(())
}
